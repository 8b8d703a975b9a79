"""The clusters of a library in the plainest way: everything is looked at, nothing comes from the database."""

import datetime as dt
import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from dupwatchd.db.answers import Copy
from dupwatchd.model import Facts, Verdict
from dupwatchd.serve.clusters import Measured, Order, Question
from dupwatchd.serve.filters import Linkage, Within
from dupwatchd.serve.ignored import NONE_IGNORED
from dupwatchd.serve.keep import Direction, KeepOrder
from dupwatchd.serve.lacks import shows_less
from dupwatchd.serve.plan_policy import Doubt
from dupwatchd.serve.spare import SameFile
from tests.serve.made import Content, File, Made, Match, Seen

PINS = ["reference", "chosen", "protected", "family"]
NEAR, FAR = "48.13715, 11.57540", "48.20123, 11.60123"
NOTHING = Seen(near=False, verdict=None, confirmed=None)


@dataclass
class PlainGroup:
    """The files of a group in their order, and what becomes of them."""

    files: list[File]
    reasons: list[str]
    holders: list[File | None]  # for whose sake each one goes, or would go
    pins: list[str | None]
    asked: bool

    @property
    def going(self) -> list[File]:
        return [] if self.asked else [file for file, one in zip(self.files, self.holders, strict=True) if one]


def clusters(made: Made, question: Question) -> list[dict[str, Any]]:
    """What `Library.page` has to give, without a limit."""
    found = [(_cluster(made, group, question), group.files[0]) for group in decided(made, question)]

    def key(one: tuple[dict[str, Any], File]) -> tuple[object, str, bytes]:
        cluster, kept = one
        captured = made.contents[kept.content].facts.captured
        date = dt.datetime.fromisoformat(captured + "+00:00").timestamp() if captured else kept.mtime_ns // 10**9
        first = {
            Order.BYTES: -cluster["reclaimable_bytes"],
            Order.FILES: -len(cluster["files"]),
            Order.FOLDER: kept.folder,
            Order.DATE: -date,
        }[question.order]
        return first, cluster["id"], kept.path

    return [cluster for cluster, _ in sorted(found, key=key)]


def pairs(made: Made, question: Question) -> list[dict[str, Any]]:
    """What `Library.pairs_page` has to give, without a limit."""
    by_path = {file.path: file for file in made.files}
    found = []
    for cluster in clusters(made, question):
        files = [by_path[row["path"]] for row in cluster["files"]]
        for one, other in itertools.combinations(files, 2):
            if distance(made, one, other, question) is None:
                continue
            measured, (verdict, confirmed) = _measured(made, one, other, question), _told(made, one, other, question)
            measured = _as_it_lies(made, one, other, question, measured)
            row = {
                "cluster": cluster["id"],
                "first": one.path,
                "second": other.path,
                "mse": measured.mse,
                "structure": measured.structure,
                "turn": measured.turn,
                "mirrored": measured.mirrored,
                "verdict": None if verdict is None else verdict.value,
                "confirmed": confirmed,
            }
            found.append(row | {"custom": measured.custom} if question.measure == "custom" else row)
    return found


def plan(made: Made, question: Question) -> list[dict[str, Any]]:
    """What `Library.plan_page` has to give, without a limit, in part."""
    groups = [group for group in decided(made, question) if any(group.holders)]

    def key(group: PlainGroup) -> tuple[int, str, bytes]:
        return -_freed(made, replace(group, asked=False)), _id(made, group.files), group.files[0].path

    return [
        {
            "id": _id(made, group.files),
            "asked": group.asked,
            "files": [
                {
                    "path": file.path,
                    "goes": file in group.going,
                    "held_by": holder and holder.path,
                    "pinned": pin,
                    "reason": reason,
                }
                for file, holder, pin, reason in zip(group.files, group.holders, group.pins, group.reasons, strict=True)
            ],
        }
        for group in sorted(groups, key=key)
    ]


def decided(made: Made, question: Question) -> list[PlainGroup]:
    """The groups that are asked for; all groups are decided, for files of one shot may lie in any two of them."""
    parts = [part for part in parts_of(made, question) if len(part) > 1]
    of_family: set[bytes] = set()
    while True:
        found = [_decide(made, part, question, of_family) for part in parts]
        going = {file.path for group in found for file in group.going}
        pinned = {file.path for group in found for file, pin in zip(group.files, group.pins, strict=True) if pin}
        grouped = {file.path for group in found for file in group.files}
        split = {
            file.path: any(other.path in pinned or other.path not in grouped for other in staying)
            for group in found
            for file, holder in zip(group.files, group.holders, strict=True)
            if holder and file.path in going and _shot(file) != _shot(holder)
            if (staying := [other for other in _partners(made, file, question) if other.path not in going])
        }
        if not split:
            return [group for group in found if _wanted(group.files, question)]
        certain = {path for path, is_certain in split.items() if is_certain}
        of_family |= certain or {min(split)}


def _partners(made: Made, file: File, question: Question) -> list[File]:
    """The RAW photos beside a picture, or the pictures beside a RAW photo."""
    if question.policy.pairs:
        return []
    return [
        other
        for other in made.files
        if other.there and b"." in other.name and b"." in file.name
        if _shot(other) == _shot(file) and _is_raw(made, other) != _is_raw(made, file)
    ]


def _shot(file: File) -> tuple[bytes, bytes]:
    return file.folder, file.name.rpartition(b".")[0].lower() or file.name.lower()


def _is_raw(made: Made, file: File) -> bool:
    return made.contents[file.content].format == "RAW"


def further_groups(made: Made, question: Question) -> dict[Verdict, int]:
    """What `Library.further_groups` has to give, if all files are there."""
    if question.measure == "custom" or question.filters.exact:
        return {}

    def paths(verdicts: frozenset[Verdict]) -> set[frozenset[bytes]]:
        asked = replace(question, verdicts=verdicts)
        return {frozenset(file.path for file in part) for part in shown(made, asked)}

    now = paths(question.verdicts)
    return {one: len(paths(question.verdicts | {one}) - now) for one in Verdict if one not in question.verdicts}


def shown(made: Made, question: Question) -> list[list[File]]:
    """The files of each cluster that is asked for."""
    return [part for part in parts_of(made, question) if _wanted(part, question)]


def count_ignored(made: Made, question: Question) -> int:
    """What `Library.count_ignored` has to give, if all files are there."""
    nothing_ignored = replace(question, ignored=NONE_IGNORED)

    def any_shown(whole: list[File], asked: Question) -> bool:
        parts = [linked for part in not_ignored(made, whole, asked) for linked in linked_parts(made, part, asked)]
        return any(_wanted(part, asked) for part in parts)

    wholes = groups(made, question)
    return sum(any_shown(whole, nothing_ignored) and not any_shown(whole, question) for whole in wholes)


def parts_of(made: Made, question: Question) -> list[list[File]]:
    """All groups, and what is left of files that belong to none."""
    parts = [part for whole in groups(made, question) for part in not_ignored(made, whole, question)]
    return [linked for part in parts for linked in linked_parts(made, part, question)]


def linked_parts(made: Made, part: list[File], question: Question) -> list[list[File]]:
    """A group by the linkage that is asked for."""
    if question.filters.linkage is Linkage.TRANSITIVE:
        return [part]
    if question.filters.linkage is Linkage.STAR:
        stars: list[list[File]] = []
        left = [file for file, _ in _in_order(made, part, question, {})] if part else []
        while left:
            stars.append([left[0], *(file for file in left[1:] if distance(made, left[0], file, question) is not None)])
            left = [file for file in left if file not in stars[-1]]
        return stars
    return _complete(made, part, question)


def _complete(made: Made, part: list[File], question: Question) -> list[list[File]]:
    found: list[list[File]] = []
    for file in part:
        equal = [
            group
            for group in found
            if _pictures(made, file, group[0])[0] == _pictures(made, file, group[0])[1]
            and made.contents[file.content].digest == made.contents[group[0].content].digest
            and _sides(file, question) == _sides(group[0], question)
            and distance(made, file, group[0], question) is not None
        ]
        equal[0].append(file) if equal else found.append([file])
    while True:
        joinable = []
        for one, other in itertools.combinations(found, 2):
            apart = [distance(made, a, b, question) for a in one for b in other]
            known = [value for value in apart if value is not None]
            if len(known) == len(apart):
                paths = sorted(min(file.path for file in group) for group in (one, other))
                joinable.append((max(known), paths, one, other))
        if not joinable:
            return found
        _, _, one, other = min(joinable, key=lambda each: each[:2])
        found = [group for group in found if group is not one and group is not other] + [one + other]


def _sides(file: File, question: Question) -> tuple[bool, bool]:
    return _lies_in(file, question.filters.across), _lies_in(file, question.filters.against)


def distance(made: Made, one: File, other: File, question: Question) -> float | None:
    """How far two files are apart that are linked directly; None: they are not."""
    matches = {(match.a, match.b, match.mirrored): match for match in made.matches()}
    if _ignored(made, one, other, question) or not may_meet(made, one, other, question):
        return None
    if not _joined(made, matches, one, other, question):
        return None
    a, b = _pictures(made, one, other)
    if a == b:
        return 0.0
    if question.measure == "custom" or question.filters.upright:
        return _apart(made, one, other, question)
    seen = [
        getattr(match, question.measure)
        for mirrored in range(question.mirrored + 1)
        if (match := matches.get((a, b, mirrored))) is not None
        if made.seen_of(match).near and made.seen_of(match).verdict in question.verdicts
    ]
    by_part = [made.upright(a, b)[question.measure == "structure"]] if _joined_by_part(made, a, b, question) else []
    return float(min(*by_part, *(value for value in seen if value <= question.threshold), math.inf))


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
        joining = [
            part
            for part in parts
            if any(
                may_meet(made, file, other, question) and _joined(made, matches, file, other, question)
                for other in part
            )
        ]
        parts = [part for part in parts if part not in joining]
        parts.append([file, *(other for part in joining for other in part)])
    return parts


def may_meet(made: Made, one: File, other: File, question: Question) -> bool:
    """May two files be held against each other?"""
    filters, content, another = question.filters, made.contents[one.content], made.contents[other.content]
    folder = _deepest(one, question)
    sizes = [sorted((c.width, c.height)) for c in (content, another)]
    ratios = [Fraction(longer, shorter) for shorter, longer in sizes]
    return (
        (not filters.exact or content.digest == another.digest)
        and (not filters.same_size or sizes[0] == sizes[1])
        and (filters.aspect is None or max(ratios) <= Fraction(filters.aspect) * min(ratios))
        and (not filters.across or _lies_across(one, other, question) or _lies_across(other, one, question))
        and (filters.within is not Within.EACH or one.folder == other.folder)
        and (filters.within is not Within.NAMED or (folder is not None and folder == _deepest(other, question)))
    )


def _lies_across(one: File, other: File, question: Question) -> bool:
    return _lies_in(one, question.filters.across) and _lies_in(other, question.filters.against)


def _deepest(file: File, question: Question) -> bytes | None:
    return max((folder for folder in question.filters.named if _lies_in(file, [folder])), key=len, default=None)


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
    if a != b and _joined_by_part(made, a, b, question):
        return True
    if (
        question.filters.upright
        and getattr(made.measured(a, b, question.measure, False), question.measure) > question.threshold
    ):
        return False
    return a == b or any(
        (match := matches.get((a, b, mirrored))) is not None
        and made.seen_of(match).near
        and made.seen_of(match).verdict in question.verdicts
        and getattr(match, question.measure) <= question.threshold
        for mirrored in range(question.mirrored + 1)
    )


def _joined_by_part(made: Made, a: int, b: int, question: Question) -> bool:
    """Do two pictures, a < b, belong together by a part that both show, however far they are apart?"""
    version = made.version_of(a, b)
    if version is not None:
        return version in question.verdicts
    seen = made.part_of(a, b)
    if seen is None or (question.filters.upright and seen.part.turn_degrees):
        return False
    return seen.verdict in question.verdicts


def _apart(made: Made, one: File, other: File, question: Question) -> float:
    return float(getattr(_measured(made, one, other, question), question.measure))


def _measured(made: Made, one: File, other: File, question: Question) -> Measured:
    a, b = _pictures(made, one, other)
    return (
        Measured(0.0, 0.0, 0, False)
        if a == b
        else made.measured(a, b, question.measure, question.mirrored and not question.filters.upright)
    )


def _as_it_lies(made: Made, one: File, other: File, question: Question, measured: Measured) -> Measured:
    """By how much the second is turned, if it was found by a part, and not as a whole."""
    a, b = _pictures(made, one, other)
    seen = _seen(made, a, b, question)
    if not seen.by_part or _told(made, one, other, question)[0] is not seen.verdict:
        return measured
    turn = seen.part.turn_degrees
    return measured._replace(turn=turn if made.contents[other.content].picture == b else -turn % 360, mirrored=False)


def _wanted(part: list[File], question: Question) -> bool:
    folders = [b"/"] if question.touching is None else question.touching
    if question.holding is not None and not any(file.path in question.holding for file in part):
        return False
    across, against = question.filters.across, question.filters.against
    if across and not all(any(_lies_in(file, side) for file in part) for side in (across, against)):
        return False
    return len(part) >= question.min_files and any(
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
    by_part = made.part_of(min(a, b), max(a, b))
    if by_part is not None and by_part.verdict is not None:
        looks.append((by_part.verdict.code, True, 0, by_part))
    return min(looks)[-1] if looks else NOTHING


def _told(made: Made, one: File, other: File, question: Question) -> tuple[Verdict | None, bool | None]:
    content, another = made.contents[one.content], made.contents[other.content]
    if content.digest == another.digest:
        return Verdict.IDENTICAL, True
    if _ignored(made, one, other, question):
        return None, None
    if content.picture == another.picture:
        if not made.pictures[content.picture].has_proof:
            return None, None
        scan = content.facts.scan_digest
        if (scan and scan == another.facts.scan_digest) or _equal_pixels(content, another):
            return Verdict.SAME, True
        found = [
            (look.verdict, look.confirmed)
            for look in made.at_contents
            if look.picture_id == content.picture and {look.a, look.b} == {content.pixels, another.pixels}
        ]
        return found[0] if found else (Verdict.SAME, None)
    seen = _seen(made, *_pictures(made, one, other), question)
    shown = {content.picture, another.picture}
    if seen.confirmed and any(look.confirmed is False and look.picture_id in shown for look in made.at_contents):
        return seen.verdict, None
    return seen.verdict, seen.confirmed


def _can_replace(made: Made, one: File, other: File, question: Question, paired: bool) -> bool:
    """Is all that the other file shows certain to be in the first one, or is it a version that was asked for?"""
    verdict, confirmed = _told(made, one, other, question)
    if verdict is Verdict.IDENTICAL:
        return True
    policy, content, another = question.policy, made.contents[one.content], made.contents[other.content]
    if content.damage is not None and another.damage is None:
        return False
    if max(content.frames, another.frames) > 1 and not _equal_pixels(content, another):
        return False
    if content.picture == another.picture and another.facts.bits > content.facts.bits:
        return False
    if paired and _is_raw(made, one) != _is_raw(made, other):
        return False
    if not policy.bursts and (_is_burst(made, one, other) or _is_other_shot(content.facts, another.facts)):
        return False
    if _lines(another.facts.holds) - _lines(content.facts.holds):
        return False
    if verdict is Verdict.SAME:
        return confirmed is True
    if verdict not in policy.also or another.facts.has_colour > content.facts.has_colour:
        return False
    mine, theirs = content.width * content.height, another.width * another.height
    a, b = _pictures(made, one, other)
    seen = _seen(made, a, b, question)
    if verdict is not Verdict.CROPPED:
        return mine >= theirs and not seen.by_part
    if not seen.part.shows_more:
        return False
    has_more = content.picture == (a if seen.part.shows_more < 0 else b)
    if seen.part.is_framed:
        return not has_more and mine >= 0.94 * (seen.part.share * theirs)
    return has_more and seen.part.share * mine >= 0.94 * theirs


def _equal_pixels(one: Content, other: Content) -> bool:
    return one.picture == other.picture and one.pixels == other.pixels != b""


def _was_lossy(made: Made, content: Content) -> bool:
    """Is it known to be made from something that has lost, by the blocks of a JPEG or by being equal to it?"""
    sources = [one for one in made.contents if _lost_something(one) and _equal_pixels(one, content)]
    return content.facts.jpeg_grid or (content.facts.lossless and bool(sources))


def _lost_something(content: Content) -> bool:
    if content.facts.lossless:
        return False
    return content.format == "JPEG" or (content.format in {"WEBP", "AVIF", "HEIF"} and not content.facts.transparent)


def _is_burst(made: Made, one: File, other: File) -> bool:
    facts, others = made.contents[one.content].facts, made.contents[other.content].facts
    if not (facts.camera and facts.captured and others.captured) or facts.camera != others.camera:
        return False
    apart = dt.datetime.fromisoformat(facts.captured) - dt.datetime.fromisoformat(others.captured)
    return 0 < abs(apart.total_seconds()) <= 10


def _is_other_shot(facts: Facts, others: Facts) -> bool:
    """As drawn, exposures differ in one number."""
    told = {facts.exposure, others.exposure}
    return facts.camera == others.camera and len(told) > 1 and "" not in told


def _in_order(made: Made, part: list[File], question: Question, pinned: dict[bytes, int]) -> list[tuple[File, str]]:
    shown = {made.contents[file.content].picture for file in part}
    most = {one: max(_area(made, file) for file in part if made.contents[file.content].picture == one) for one in shown}
    nearer = []
    for a, b in itertools.combinations(sorted(shown), 2):
        seen = _seen(made, a, b, question)
        if seen.verdict in (Verdict.SAME, Verdict.RECOLOURED) and seen.nearer:
            nearer.append(Direction(*((a, b) if seen.nearer < 0 else (b, a))))
            continue
        of_part = seen.verdict in (Verdict.CROPPED, Verdict.RECOLOURED) and seen.part.shows_more
        if not of_part or seen.verdict not in question.verdicts:
            continue
        more, less = (a, b) if seen.part.shows_more < 0 else (b, a)
        if not seen.part.is_framed:
            nearer.append(Direction(more, less, "shows more of the picture", "shows less of the picture"))
        elif most[less] >= 0.4 * seen.part.share * most[more]:
            nearer.append(Direction(less, more, "without the frame around it", "with a frame around it"))
    by_path = {file.path: file for file in part}
    order = KeepOrder(
        [_copy(made, file) for file in part],
        nearer,
        question.policy.rules,
        pinned,
        lambda copy: by_path[copy.path].sidecar,
    )
    return [(by_path[copy.path], reason) for copy, reason in order.kept]


def _area(made: Made, file: File) -> int:
    content = made.contents[file.content]
    return content.width * content.height


def _copy(made: Made, file: File) -> Copy:
    content, facts = made.contents[file.content], made.contents[file.content].facts
    return Copy(
        file.path, content.size_bytes, file.mtime_ns, 0, 0, file.content, content.digest, content.picture,
        content.width, content.height, content.format, content.damage, content.frames, facts.camera, facts.captured,
        facts.edited, facts.has_colour, facts.lossless, _was_lossy(made, content), has_place=facts.has_place,
        rating=facts.rating, keywords=facts.keywords, pixels=content.pixels, place=facts.place,
        captions=facts.captions, people=facts.people, bits=facts.bits, transparent=facts.transparent,
        exposure=facts.exposure, holds=facts.holds,
        quality=facts.quality,
    )  # fmt: skip


def _decide(made: Made, part: list[File], question: Question, of_family: set[bytes]) -> PlainGroup:
    policy = question.policy
    pin_of: dict[bytes, int] = {}  # by path
    for file in part:
        for name in _names(made, part, file):
            if _lies_in(file, policy.reference):
                pin_of[name.path] = 0
            elif file.path in policy.keep_files:
                pin_of[name.path] = min(1, pin_of.get(name.path, 1))
            elif _lies_in(file, policy.protect):
                pin_of[name.path] = min(2, pin_of.get(name.path, 2))
            elif file.path in of_family:
                pin_of[name.path] = min(3, pin_of.get(name.path, 3))
    ordered = _in_order(made, part, question, {path: -(path in policy.keep_files) or n for path, n in pin_of.items()})
    files = [file for file, _ in ordered]
    by_rules = [file for file, _ in _in_order(made, part, question, {})]
    stays = [file for file in files if file.path in pin_of]
    reasons, holders = [], list[File | None]()
    asked = False
    for place, (file, reason) in enumerate(ordered):
        linked = [other for other in files[:place] if made.linked(other, file)]
        holder = None
        if linked:
            reason = f"{file.how.value} {'the kept file' if linked[0] is files[0] else 'a file above'}"
            holder = holders[files.index(linked[0])] if file.how is SameFile.LINK else None
        elif place and file.path not in pin_of:
            paired = any(_partners(made, name, question) for name in _names(made, part, file))
            may_hold = [one for one in stays if not policy.reference or pin_of.get(one.path) == 0]
            hold = [
                other
                for other in may_hold
                if _can_replace(made, other, file, question, paired)
                if not (
                    other.path in pin_of
                    and other.path not in policy.keep_files
                    and _is_lesser(made, other, file, by_rules)
                )
            ]
            equal = [other for other in hold if _told(made, other, file, question)[0] is Verdict.IDENTICAL]
            holder = min(equal or hold, key=files.index, default=None)
            asked |= holder is not None and not equal and _is_doubtful(made, file, holder, question)
        if not linked and holder is None:
            stays.append(file)
        reasons.append(reason)
        holders.append(holder)
    return PlainGroup(
        files, reasons, holders, [PINS[pin_of[file.path]] if file.path in pin_of else None for file in files], asked
    )


def _is_lesser(made: Made, one: File, other: File, by_rules: list[File]) -> bool:
    """Does a file show less than another one that comes before it by the rules, and is not equal to it?"""
    if made.contents[one.content].digest == made.contents[other.content].digest:
        return False
    return by_rules.index(one) > by_rules.index(other) and bool(shows_less(_copy(made, one), _copy(made, other)))


def _names(made: Made, part: list[File], file: File) -> list[File]:
    """All names of a file."""
    return [other for other in part if other is file or made.linked(other, file)]


def _lies_in(file: File, folders: Iterable[bytes]) -> bool:
    """A name may be that of a folder in one question and that of a file in the library: then it counts, too."""
    return any(file.path == folder or _below(file, [folder]) for folder in folders)


def _below(file: File, folders: Iterable[bytes]) -> bool:
    return any(file.path.startswith(folder.rstrip(b"/") + b"/") for folder in folders)


def _freed(made: Made, group: PlainGroup) -> int:
    linked = [any(made.linked(other, file) for other in group.files[:n]) for n, file in enumerate(group.files)]
    once = [file for file, is_linked in zip(group.files, linked, strict=True) if not is_linked]
    return sum(made.contents[file.content].size_bytes for file in once if file in group.going)


def _id(made: Made, files: list[File]) -> str:
    return min(made.contents[file.content].digest for file in files).hex()[:16]


def _cluster(made: Made, group: PlainGroup, question: Question) -> dict[str, Any]:
    rows = []
    for place, (file, reason) in enumerate(zip(group.files, group.reasons, strict=True)):
        linked = [other for other in group.files[:place] if made.linked(other, file)]
        holder = group.holders[place]
        rows.append(_row(made, file, group.files[0], question, reason, file in group.going, linked, holder))
    return {"id": _id(made, group.files), "reclaimable_bytes": _freed(made, group), "files": rows}


def _is_doubtful(made: Made, file: File, holder: File, question: Question) -> bool:
    """Is there anything between the two that a person is to be asked about?"""
    content, other = made.contents[file.content], made.contents[holder.content]
    mine, theirs = _metadata(content.facts), _metadata(other.facts)
    captions, their_captions = _lines(content.facts.captions), _lines(other.facts.captions)
    verdict, _ = _told(made, holder, file, question)
    found = {
        Doubt.ENLARGED: content.width * content.height > other.width * other.height,
        Doubt.LOSS: 0 < other.facts.quality < 85 <= content.facts.quality
        and not _is_nearer(made, holder, file, question),
        Doubt.BELOW_SAME: verdict is not Verdict.SAME,
        Doubt.LACKS: any(one and not another for one, another in zip(mine, theirs, strict=True))
        or any(_lines(one) - _lines(another) for one, another in _lists(content.facts, other.facts))
        or (content.facts.bits > other.facts.bits and content.format != "RAW"),
        Doubt.CAPTURE_TIMES: bool(mine[0] and theirs[0] and mine[0] != theirs[0]),
        Doubt.CONFLICT: any(mine[n] and theirs[n] and mine[n] != theirs[n] for n in (1, 2))
        or {content.facts.place, other.facts.place} == {NEAR, FAR}
        or not (captions <= their_captions or their_captions <= captions),
    }
    return any(found[doubt] for doubt in question.policy.ask_when)


def _is_nearer(made: Made, one: File, other: File, question: Question) -> bool:
    """Is a file shown to be nearer the original, or are both equal in all pixels?"""
    mine, its = made.contents[one.content], made.contents[other.content]
    if mine.picture == its.picture:
        return mine.pixels == its.pixels != b""
    a, b = sorted((mine.picture, its.picture))
    return _seen(made, a, b, question).nearer == (-1 if mine.picture == a else 1)


def _lines(text: str) -> set[str]:
    return set(text.lower().split("\n")) - {""}


def _lists(facts: Facts, others: Facts) -> list[tuple[str, str]]:
    return [
        (facts.keywords, others.keywords), (facts.captions, others.captions), (facts.people, others.people)
    ]  # fmt: skip


def _metadata(facts: Facts) -> tuple[str | int, ...]:
    return facts.captured, facts.camera, facts.rating, facts.has_place, facts.transparent


def _row(
    made: Made,
    file: File,
    kept: File,
    question: Question,
    reason: str,
    goes: bool,
    linked: list[File],
    holder: File | None,
) -> dict[str, Any]:
    content = made.contents[file.content]
    measured = Measured(0.0, 0.0, 0, False) if file is kept else _measured(made, kept, file, question)
    verdict, confirmed = _told(made, kept, file, question)
    measured = _as_it_lies(made, kept, file, question, measured)
    part = _seen(made, *_pictures(made, kept, file), question).part
    shows_more, outline = None, None
    if part.shows_more and verdict is not None and verdict is not Verdict.IDENTICAL:
        shows_more = (content.picture < made.contents[kept.content].picture) == (part.shows_more < 0)
        outline = [(part.outline[n], part.outline[n + 1]) for n in range(0, 8, 2)] if part.outline else None
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
        "shows_more": shows_more,
        "outline": outline,
        "same_file_as": linked[0].path if linked else None,
        "damaged": content.damage is not None,
        "may_go": goes,
        "held_by": holder and holder.path,
        "keep": file is kept,
        "reason": reason,
    }
    return row | {"custom": measured.custom} if question.measure == "custom" else row
