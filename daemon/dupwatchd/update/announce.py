"""Tells of what was taken in, as events for whoever listens: indexed, failed, removed, returned, and matched with what.

In goes a batch that is durable; out go events, through a function given by the caller.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from dupwatchd.db import answers, files, parts, pictures, remembered, verdicts
from dupwatchd.db.answers import Copy
from dupwatchd.db.connection import Database
from dupwatchd.model import FileId, PictureId, ReadStatus, Verdict
from dupwatchd.update.intake import CommittedBatch

Publish = Callable[[str, dict[str, Any]], None]


class Measure(Protocol):
    """Measures two pictures, see `Comparing.measure`."""

    def __call__(self, a: int, b: int, *, mirrored: bool) -> tuple[float, float, int, bool]:
        """The values mse and structure, the turn, and whether mirrored."""


def announce(database: Database, publish: Publish, measure: Measure, batch: CommittedBatch) -> None:
    """Publish an event, or some, for each file of a batch."""
    for outcome in batch.outcomes:
        if outcome.status is ReadStatus.VANISHED:  # it may have been known before it changed and vanished
            publish("removed", {"path": outcome.job.path})
        elif outcome.status is not ReadStatus.CHANGED:
            _announce_file(database, publish, measure, outcome.job.file_id, outcome.job.path)


def _announce_file(database: Database, publish: Publish, measure: Measure, file_id: FileId, path: bytes) -> None:
    copy = answers.copy_of_file(database, file_id)
    if copy is None:
        error = files.why_failed(database, file_id)
        if error is not None:
            publish("failed", {"path": path, "error": error})
        return
    publish("indexed", {"path": path, "bytes": copy.size_bytes, "width": copy.width, "height": copy.height})
    if remembered.has_returned(database, copy.content_digest, file_id):
        publish("returned", {"path": path})
    _announce_match(database, publish, measure, file_id, copy)


def _announce_match(database: Database, publish: Publish, measure: Measure, file_id: FileId, copy: Copy) -> None:
    """Name one other file: one that shows the same picture, or else the nearest one.

    Files that are known from folders which are no roots any more do not count, nor does a content of which somebody
    said that it is no duplicate of this one.
    """
    found = (
        _of_same_picture(database, copy, file_id)
        or _stronger(_nearest_match(database, measure, copy), _nearest_by_part(database, copy))
    )  # fmt: skip
    if found is not None:
        told = found.verdict.value if found.verdict else None
        values = {"mse": found.mse, "structure": found.structure, "turn": found.turn, "mirrored": found.mirrored}
        publish("matched", {"path": copy.path, "other": found.other.path, "verdict": told, **values})


@dataclass(frozen=True, slots=True)
class _Found:
    other: Copy
    verdict: Verdict | None  # not looked at yet
    mse: float = 0.0
    structure: float = 0.0
    turn: int = 0
    mirrored: bool = False


def _of_same_picture(database: Database, copy: Copy, file_id: FileId) -> _Found | None:
    other = _unless_ignored(database, copy, answers.another_copy(database, copy, file_id))
    if other is None:
        return None
    if other.content_id == copy.content_id:
        return _Found(other, Verdict.IDENTICAL)
    return _Found(other, None if pictures.without_proof(database, [PictureId(copy.picture_id)]) else Verdict.SAME)


def _nearest_match(database: Database, measure: Measure, copy: Copy) -> _Found | None:
    """The nearest one in structure."""
    for picture_id, mirrored in answers.matches_from_nearest(database, copy.picture_id):
        other = _unless_ignored(database, copy, answers.any_copy_of(database, picture_id))
        if other is not None:
            verdict = verdicts.of_match(database, picture_id, copy.picture_id, mirrored=mirrored)
            return _Found(other, verdict, *measure(picture_id, copy.picture_id, mirrored=mirrored))
    return None


def _nearest_by_part(database: Database, copy: Copy) -> _Found | None:
    """One that shares a part with it: with the strongest verdict, and then the most that agrees."""
    for one in parts.told_of(database, copy.picture_id):
        other = _unless_ignored(database, copy, answers.any_copy_of(database, one.other))
        if other is not None:
            return _Found(other, one.verdict, one.mse, one.structure, one.turn_degrees)
    return None


def _stronger(match: _Found | None, by_part: _Found | None) -> _Found | None:
    if by_part is None or by_part.verdict is None or (match and _strength(match) <= by_part.verdict.code):
        return match
    return by_part


def _strength(found: _Found) -> int:
    return Verdict.SIMILAR.code if found.verdict is None else found.verdict.code


def _unless_ignored(database: Database, copy: Copy, other: Copy | None) -> Copy | None:
    if other is None or remembered.is_ignored(database, copy.content_digest, other.content_digest):
        return None
    return other
