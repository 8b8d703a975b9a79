"""The clusters of a library in the plainest way: everything is looked at, nothing comes from the database."""

import datetime as dt
from dataclasses import replace
from typing import Any

from dupwatchd.db.answers import Copy
from dupwatchd.model import Facts, Verdict
from dupwatchd.serve.clusters import Measured, Question
from dupwatchd.serve.keep import keep_order
from dupwatchd.serve.spare import SameFile
from tests.serve.made import File, Made, Match, Seen

NOTHING = Seen(near=False, verdict=None, confirmed=None)


def clusters(made: Made, question: Question) -> list[dict[str, Any]]:
    """What `Library.page` has to give, without a limit."""
    found = [_cluster(made, part, question) for part in shown(made, question)]
    return sorted(found, key=lambda one: (-one["reclaimable_bytes"], one["id"], one["files"][0]["path"]))


def further_groups(made: Made, question: Question) -> dict[Verdict, int]:
    """What `Library.further_groups` has to give, if all files are there."""
    if question.measure == "custom":
        return {}

    def paths(verdicts: frozenset[Verdict]) -> set[frozenset[bytes]]:
        asked = replace(question, verdicts=verdicts)
        return {frozenset(file.path for file in part) for part in shown(made, asked)}

    now = paths(question.verdicts)
    return {one: len(paths(question.verdicts | {one}) - now) for one in Verdict if one not in question.verdicts}


def shown(made: Made, question: Question) -> list[list[File]]:
    """The files of each cluster that is asked for."""
    parts = [part for whole in groups(made, question) for part in not_ignored(made, whole, question)]
    return [part for part in parts if _wanted(part, question)]


def count_ignored(made: Made, question: Question) -> int:
    """What `Library.count_ignored` has to give, if all files are there."""
    wholes = [whole for whole in groups(made, question) if _wanted(whole, question)]
    return sum(not any(_wanted(part, question) for part in not_ignored(made, whole, question)) for whole in wholes)


def not_ignored(made: Made, whole: list[File], question: Question) -> list[list[File]]:
    """The files of a group by what joins them when two contents are joined unless somebody said: no duplicates."""
    parts: list[list[File]] = []
    for file in whole:
        joining = [part for part in parts if any(not _ignored(made, file, other, question) for other in part)]
        parts = [part for part in parts if part not in joining]
        parts.append([file, *(other for part in joining for other in part)])
    return parts


def _ignored(made: Made, one: File, other: File, question: Question) -> bool:
    return question.ignored.holds(made.contents[one.content].digest, made.contents[other.content].digest)


def groups(made: Made, question: Question) -> list[list[File]]:
    """The files that are there, by what joins them."""
    matches = {(match.a, match.b, match.mirrored): match for match in made.matches()}
    parts: list[list[File]] = []
    for file in (file for file in made.files if file.there):
        joining = [part for part in parts if any(_joined(made, matches, file, other, question) for other in part)]
        parts = [part for part in parts if part not in joining]
        parts.append([file, *(other for part in joining for other in part)])
    return parts


def _pictures(made: Made, one: File, other: File) -> tuple[int, int]:
    a, b = sorted((made.contents[one.content].picture, made.contents[other.content].picture))
    return a, b


def _joined(made: Made, matches: dict[tuple[int, int, int], Match], one: File, other: File, question: Question) -> bool:
    a, b = _pictures(made, one, other)
    flat = made.pictures[a].flat or made.pictures[b].flat
    if question.measure == "custom" and not flat:
        return a == b or _apart(made, one, other, question) <= question.threshold
    if flat or not (made.pictures[a].has_proof and made.pictures[b].has_proof):
        return one.content == other.content
    return a == b or any(
        (match := matches.get((a, b, mirrored))) is not None
        and made.seen_of(match).near
        and made.seen_of(match).verdict in question.verdicts
        and getattr(match, question.measure) <= question.threshold
        for mirrored in range(question.mirrored + 1)
    )


def _apart(made: Made, one: File, other: File, question: Question) -> float:
    return float(getattr(_measured(made, one, other, question), question.measure))


def _measured(made: Made, one: File, other: File, question: Question) -> Measured:
    a, b = _pictures(made, one, other)
    return Measured(0.0, 0.0, 0, False) if a == b else made.measured(a, b, question.measure, question.mirrored)


def _wanted(part: list[File], question: Question) -> bool:
    folders = [b"/"] if question.touching is None else question.touching
    return len(part) > 1 and any(
        file.path.startswith(folder.rstrip(b"/") + b"/") for file in part for folder in folders
    )


def _seen(made: Made, a: int, b: int, question: Question) -> Seen:
    """The strongest that was found of two pictures."""
    if a == b or not (made.pictures[a].has_proof and made.pictures[b].has_proof):
        return NOTHING
    looks = [
        (seen.verdict.code, seen.confirmed is not True, match.mirrored, seen)
        for match in made.matches()
        if (match.a, match.b) == (min(a, b), max(a, b)) and match.mirrored <= question.mirrored
        for seen in [made.seen_of(match)]
        if seen.near and seen.verdict is not None
    ]
    return min(looks)[-1] if looks else NOTHING


def _told(made: Made, one: File, other: File, question: Question) -> tuple[Verdict | None, bool | None]:
    content, another = made.contents[one.content], made.contents[other.content]
    if content.digest == another.digest:
        return Verdict.IDENTICAL, True
    if _ignored(made, one, other, question):
        return None, None
    if content.picture == another.picture:
        scan = content.facts.scan_digest
        known = made.pictures[content.picture].has_proof
        return (Verdict.SAME, True if scan and scan == another.facts.scan_digest else None) if known else (None, None)
    seen = _seen(made, *_pictures(made, one, other), question)
    return seen.verdict, seen.confirmed


def _can_replace(made: Made, one: File, other: File, question: Question) -> bool:
    """Is all that the other file shows certain to be in the first one?"""
    verdict, confirmed = _told(made, one, other, question)
    if verdict is Verdict.IDENTICAL:
        return True
    content, another = made.contents[one.content], made.contents[other.content]
    spoilt = content.damage is not None and another.damage is None
    is_one_frame = content.frames == another.frames == 1
    return (
        verdict is Verdict.SAME
        and confirmed is True
        and not spoilt
        and is_one_frame
        and not _is_burst(made, one, other)
    )


def _is_burst(made: Made, one: File, other: File) -> bool:
    facts, others = made.contents[one.content].facts, made.contents[other.content].facts
    if not (facts.camera and facts.captured and others.captured) or facts.camera != others.camera:
        return False
    apart = dt.datetime.fromisoformat(facts.captured) - dt.datetime.fromisoformat(others.captured)
    return 0 < abs(apart.total_seconds()) <= 10


def _in_order(made: Made, part: list[File], question: Question) -> list[tuple[File, str]]:
    shown = {made.contents[file.content].picture for file in part}
    nearer = [
        (a, b) if seen.nearer < 0 else (b, a)
        for a in shown
        for b in shown
        if a < b and (seen := _seen(made, a, b, question)).nearer
        if seen.verdict in (Verdict.SAME, Verdict.RECOLOURED)
    ]
    by_path = {file.path: file for file in part}
    return [(by_path[copy.path], reason) for copy, reason in keep_order([_copy(made, file) for file in part], nearer)]


def _copy(made: Made, file: File) -> Copy:
    content, facts = made.contents[file.content], made.contents[file.content].facts
    return Copy(
        file.path, content.size_bytes, file.mtime_ns, 0, 0, file.content, content.digest, content.picture,
        content.width, content.height, content.format, content.damage, content.frames, facts.camera, facts.captured,
        facts.edited, facts.has_colour, facts.lossless, facts.jpeg_grid, has_place=facts.has_place, rating=facts.rating,
    )  # fmt: skip


def _cluster(made: Made, part: list[File], question: Question) -> dict[str, Any]:
    ordered = _in_order(made, part, question)
    files = [file for file, _ in ordered]
    kept, rows, freed = files[0], [], 0
    stays: list[File] = []
    going: list[File] = []
    asked = False
    for place, (file, reason) in enumerate(ordered):
        linked = [other for other in files[:place] if made.linked(other, file)]
        if linked:
            goes = file.how is SameFile.LINK and linked[0] in going
            reason = f"{file.how.value} {'the kept file' if linked[0] is kept else 'a file above'}"
        else:
            holders = [other for other in stays if _can_replace(made, other, file, question)]
            equal = [other for other in holders if _told(made, other, file, question)[0] is Verdict.IDENTICAL]
            goes = bool(holders)
            asked |= bool(holders) and not equal and _is_doubtful(made, file, holders[0])
            freed += made.contents[file.content].size_bytes if goes else 0
            (going if goes else stays).append(file)
        rows.append(_row(made, file, kept, question, reason, goes, linked))
    if asked:
        freed, rows = 0, [row | {"may_go": False} for row in rows]
    return {
        "id": min(made.contents[file.content].digest for file in part).hex()[:16],
        "reclaimable_bytes": freed,
        "files": rows,
    }


def _is_doubtful(made: Made, file: File, holder: File) -> bool:
    """Would metadata be lost, or do they say that these are two photos?"""
    facts, others = made.contents[file.content].facts, made.contents[holder.content].facts
    lost = any(mine and not theirs for mine, theirs in zip(_metadata(facts), _metadata(others), strict=True))
    return lost or any(
        mine and theirs and mine != theirs
        for mine, theirs in zip(_metadata(facts)[:3], _metadata(others)[:3], strict=True)
    )


def _metadata(facts: Facts) -> tuple[str | int, ...]:
    return facts.camera, facts.captured, facts.rating, facts.has_place


def _row(
    made: Made, file: File, kept: File, question: Question, reason: str, goes: bool, linked: list[File]
) -> dict[str, Any]:
    content = made.contents[file.content]
    measured = Measured(0.0, 0.0, 0, False) if file is kept else _measured(made, kept, file, question)
    verdict, confirmed = _told(made, kept, file, question)
    row = {
        "path": file.path,
        "bytes": content.size_bytes,
        "width": content.width,
        "height": content.height,
        "mse": measured.mse,
        "structure": measured.structure,
        "turn": measured.turn,
        "mirrored": measured.mirrored,
        "verdict": None if verdict is None else verdict.value,
        "confirmed": confirmed,
        "same_file_as": linked[0].path if linked else None,
        "damaged": content.damage is not None,
        "may_go": goes,
        "keep": file is kept,
        "reason": reason,
    }
    return row | {"custom": measured.custom} if question.measure == "custom" else row
