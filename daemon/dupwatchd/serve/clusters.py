"""Looks at clusters: which of their files are there, which one to keep, and how far the others are from it.

In: candidates, which `library` finds from numbers alone. Out: the clusters as they are in answers.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import NamedTuple

from dupwatchd.db.answers import Copy
from dupwatchd.serve import keep
from dupwatchd.serve.results import Cluster, ClusterFile, FoundFile

Pair = tuple[int, int]  # pictures


class Measured(NamedTuple):
    """How far two pictures are apart."""

    mse: float
    structure: float
    turn: int  # degrees by which the second must be turned to show the first
    mirrored: bool
    custom: float = 0.0  # by the user's own measure, if that is asked for


ITSELF = Measured(0.0, 0.0, 0, False)


@dataclass(frozen=True, slots=True)
class Question:
    """Which copies are asked for."""

    measure: str  # "mse", "structure" or "custom"
    threshold: float
    mirrored: bool
    touching: tuple[bytes, ...] | None = None  # only clusters with a file under one of these folders; None: all


@dataclass(frozen=True, slots=True)
class LiveChecks:
    """What the index does not know: how thumbnails compare, and how the files are at this moment."""

    measure_pairs: Callable[[list[Pair], str, bool], list[Measured]]  # pairs, measure, mirrored allowed
    is_there: Callable[[Copy], bool]
    are_linked: Callable[[Copy, Copy], bool]  # only asked for files of equal device and inode


@dataclass(frozen=True, slots=True)
class ClusterCandidate:
    """Pictures joined by matches within a threshold, or one flat picture of one content; and their files."""

    pictures: list[int]
    copies: list[Copy]  # their files, as the index knows them
    matches: Callable[[], list[Pair]]  # between them, enough to join them all; only asked if a file is missing


def look_at(candidates: Sequence[ClusterCandidate], question: Question, live_checks: LiveChecks) -> list[list[Cluster]]:
    """For each candidate the clusters that it is, as in the JSON of `scan`, paths as bytes.

    A file that is not there is left out, and joins nothing: there may be several clusters, or none. The files joined
    do not depend on the order in which they were indexed, and neither does anything else here.
    """
    parts = [
        [keep.in_order(part) for part in _parts(candidate, question, live_checks) if _counts(part, question)]
        for candidate in candidates
    ]
    pairs = sorted({(files[0].picture_id, copy.picture_id) for some in parts for files in some for copy in files[1:]})
    values = dict(zip(pairs, _measured(pairs, question, live_checks), strict=True))
    return [[_cluster(files, values, question, live_checks.are_linked) for files in some] for some in parts]


def _counts(files: list[Copy], question: Question) -> bool:
    """Are these files a cluster that is asked for?"""
    if question.touching is None:
        return len(files) > 1
    prefixes = tuple(folder.rstrip(b"/") + b"/" for folder in question.touching)
    return len(files) > 1 and any(copy.path.startswith(prefixes) for copy in files)


def _measured(pairs: list[Pair], question: Question, live_checks: LiveChecks) -> list[Measured]:
    """How far the pictures of each pair are apart; one picture is not far from itself, whatever it shows."""
    apart = [(a, b) for a, b in pairs if a != b]
    values = iter(live_checks.measure_pairs(apart, question.measure, question.mirrored) if apart else ())
    return [next(values) if a != b else ITSELF for a, b in pairs]


def _near(measured: Measured, question: Question) -> bool:
    return bool(getattr(measured, question.measure) <= question.threshold)


def _parts(candidate: ClusterCandidate, question: Question, live_checks: LiveChecks) -> list[list[Copy]]:
    """The files that are there, in one part for each set of pictures that is still joined."""
    present = [copy for copy in candidate.copies if live_checks.is_there(copy)]
    alive = {copy.picture_id for copy in present}
    if len(alive) == len(candidate.pictures):
        return [present]
    parts = _rejoined(alive, candidate.matches(), question, live_checks)
    return [[copy for copy in present if copy.picture_id in part] for part in parts]


def _rejoined(alive: set[int], matches: list[Pair], question: Question, live_checks: LiveChecks) -> Iterator[set[int]]:
    """The pictures by what joins them when the others of the cluster are gone.

    Two of them may match without a stored match, if those that are gone joined them as well. So what falls apart is
    measured: each picture of a part with those of all other parts, until nothing more is within reach.
    """
    apart = _connected(alive, [(a, b) for a, b in matches if a in alive and b in alive])
    while apart:
        part, *apart = apart
        reached = sorted(part)
        while reached and apart:
            picture = reached.pop()
            pairs = [(picture, other) for others in apart for other in sorted(others)]
            values = _measured(pairs, question, live_checks)
            near = {other for (_, other), measured in zip(pairs, values, strict=True) if _near(measured, question)}
            joining = set().union(*(others for others in apart if others & near))
            apart = [others for others in apart if not others & near]
            reached += sorted(joining)
            part |= joining
        yield part


def _connected(pictures: set[int], matches: list[Pair]) -> list[set[int]]:
    """Pictures by the part they are joined to."""
    part_of = {picture: {picture} for picture in pictures}
    for a, b in matches:
        small, large = sorted((part_of[a], part_of[b]), key=len)
        if small is not large:
            large |= small
            part_of.update(dict.fromkeys(small, large))
    return list({id(part): part for part in part_of.values()}.values())


def _cluster(
    files: list[Copy],
    values: dict[Pair, Measured],
    question: Question,
    are_linked: Callable[[Copy, Copy], bool],
) -> Cluster:
    kept = files[0]
    names: dict[tuple[int, int], list[Copy]] = {}  # by device and inode: one path of each file
    reclaimable_bytes = 0
    rows: list[ClusterFile] = []
    for copy, reason in zip(files, keep.reasons(files), strict=True):
        measured = ITSELF if copy is kept else values[kept.picture_id, copy.picture_id]
        known = names.setdefault((copy.device, copy.inode), [])
        same_file = next((other for other in known if are_linked(other, copy)), None)
        if same_file is None:
            known.append(copy)
            # Joined only through other copies, a file may be far from the kept one: then it must stay, too.
            if copy is not kept and _near(measured, question):
                reclaimable_bytes += copy.size_bytes
        row: ClusterFile = {
            **found_file(copy, measured),
            "verdict": "identical" if copy.content_digest == kept.content_digest else None,
            "same_file_as": None if same_file is None else same_file.path,
            "keep": copy is kept,
            "reason": "hard link of the kept file" if same_file is kept else reason,
        }
        if question.measure == "custom":
            row["custom"] = measured.custom if isfinite(measured.custom) else None
        rows.append(row)
    return {
        "id": min(copy.content_digest for copy in files).hex()[:16],
        "reclaimable_bytes": reclaimable_bytes,
        "files": rows,
    }


def found_file(copy: Copy, measured: Measured) -> FoundFile:
    """A file and how far it is from another one, as in answers."""
    return {
        "path": copy.path,
        "bytes": copy.size_bytes,
        "width": copy.width,
        "height": copy.height,
        "mse": measured.mse,
        "structure": measured.structure,
        "turn": measured.turn,
        "mirrored": measured.mirrored,
    }
