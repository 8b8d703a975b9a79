"""Clusters: files joined by matches within a threshold; which one to keep, and how far the others are from it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dupwatchd.db import answers
from dupwatchd.db.answers import Copy
from dupwatchd.db.connection import Database
from dupwatchd.serve import keep

# pairs of pictures (kept, other) -> for each: mse, structure, turn in degrees, mirrored
MeasurePairs = Callable[[list[tuple[int, int]]], list[tuple[float, float, int, bool]]]


@dataclass(frozen=True, slots=True)
class Question:
    """Which copies are asked for."""

    measure: str  # "mse" or "structure"
    threshold: float
    mirrored: bool
    touching: Sequence[bytes]  # only clusters with a file under one of these folders


def find_clusters(
    database: Database,
    question: Question,
    measure_pairs: MeasurePairs,
    is_there: Callable[[Copy], bool],
    are_linked: Callable[[Copy, Copy], bool],
) -> list[dict[str, Any]]:
    """The clusters as in the JSON of `scan`, paths as bytes; the one that frees most bytes first.

    A file for which ``is_there`` says no is left out, and joins nothing. The files joined do not depend on the order
    in which they were indexed, and neither does anything else here.
    """
    ordered = [keep.in_order(copies) for copies in _groups_of_copies(database, question, is_there)]
    pairs = sorted({(files[0].picture_id, copy.picture_id) for files in ordered for copy in files[1:]})
    values = dict(zip(pairs, measure_pairs(pairs), strict=True))
    found = [_cluster(files, values, question, are_linked) for files in ordered]
    return sorted(found, key=lambda cluster: (-cluster["reclaimable_bytes"], cluster["id"]))


def _groups_of_copies(database: Database, question: Question, is_there: Callable[[Copy], bool]) -> Iterator[list[Copy]]:
    """The files of each cluster, in no order."""
    pairs = answers.matched_pairs(database, question.measure, question.threshold, mirrored=question.mirrored)
    flat = answers.flat_pictures(database)
    shared = answers.shared_pictures(database)
    copies = answers.copies_of(database, {*shared, *(picture for pair in pairs for picture in pair)})
    touched = [group for group in _grouped(copies, pairs, flat) if _touches(group, question.touching)]
    pairs_of = _by_member(pairs)
    for group in touched:
        present = [copy for copy in group if is_there(copy)]
        if len(present) == len(group):
            parts: Iterable[list[Copy]] = [group]
        else:
            # what only a missing file joined falls apart
            alive = {copy.picture_id for copy in present}
            inner = [(a, b) for a in alive for b in pairs_of.get(a, ()) if b in alive]
            parts = _grouped(present, inner, flat)
        yield from (part for part in parts if len(part) > 1 and _touches(part, question.touching))


def _grouped(copies: list[Copy], pairs: Iterable[tuple[int, int]], flat: set[int]) -> Iterable[list[Copy]]:
    """Files by cluster, those that are alone included."""
    leaders = _joined(pairs)
    groups: dict[tuple[int, int], list[Copy]] = {}
    for copy in copies:
        # Two flat files may have one thumbnail and be no copies at all: only equal bytes join them.
        part = copy.content_id if copy.picture_id in flat else -1
        groups.setdefault((leaders.get(copy.picture_id, copy.picture_id), part), []).append(copy)
    return groups.values()


def _by_member(pairs: Iterable[tuple[int, int]]) -> dict[int, list[int]]:
    members: dict[int, list[int]] = {}
    for a, b in pairs:
        members.setdefault(a, []).append(b)
    return members


def _touches(copies: list[Copy], folders: Sequence[bytes]) -> bool:
    prefixes = tuple(folder.rstrip(b"/") + b"/" for folder in folders)
    return any(copy.path.startswith(prefixes) for copy in copies)


def _joined(pairs: Iterable[tuple[int, int]]) -> dict[int, int]:
    """Each picture of the pairs → one picture that stands for all that are joined with it (union-find)."""
    leader: dict[int, int] = {}

    def find(member: int) -> int:
        leader.setdefault(member, member)
        while leader[member] != member:
            leader[member] = leader[leader[member]]
            member = leader[member]
        return member

    for a, b in pairs:
        first, second = find(a), find(b)
        if first != second:
            leader[max(first, second)] = min(first, second)
    return {member: find(member) for member in leader}


def _cluster(
    files: list[Copy],
    values: dict[tuple[int, int], tuple[float, float, int, bool]],
    question: Question,
    are_linked: Callable[[Copy, Copy], bool],
) -> dict[str, Any]:
    kept = files[0]
    seen: list[Copy] = [kept]
    reclaimable_bytes = 0
    rows = []
    for copy, reason in zip(files, keep.reasons(files), strict=True):
        mse, structure, turn, mirrored = (
            (0.0, 0.0, 0, False) if copy is kept else values[kept.picture_id, copy.picture_id]
        )
        if copy is not kept:
            linked = [other for other in seen if are_linked(other, copy)]
            # Joined through others, a file may be far from the one that stays: then it cannot go.
            near = (mse if question.measure == "mse" else structure) <= question.threshold
            if near and not linked:
                reclaimable_bytes += copy.size_bytes
                seen.append(copy)
            if kept in linked:
                reason = "hard link of the kept file"
        rows.append(
            {
                "path": copy.path,
                "bytes": copy.size_bytes,
                "width": copy.width,
                "height": copy.height,
                "mse": mse,
                "structure": structure,
                "turn": turn,
                "mirrored": mirrored,
                "keep": copy is kept,
                "reason": reason,
            }
        )
    return {
        "id": min(copy.content_digest for copy in files).hex()[:16],
        "reclaimable_bytes": reclaimable_bytes,
        "files": rows,
    }
