"""Tells of what was taken in, as events for whoever listens: indexed, failed, removed, returned, and matched with what.

In goes a batch that is durable; out go events, through a function given by the caller.
"""

from collections.abc import Callable
from typing import Any, Protocol

from dupwatchd.db import answers, files, pictures, remembered, verdicts
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
    """Name one other file: one that shows the same picture, or else the nearest one in structure.

    Files that are known from folders which are no roots any more do not count, nor does a content of which somebody
    said that it is no duplicate of this one.
    """
    other = _unless_ignored(database, copy, answers.another_copy(database, copy, file_id))
    distance = (0.0, 0.0, 0, False)
    verdict: Verdict | None = None
    if other is not None and other.content_id == copy.content_id:
        verdict = Verdict.IDENTICAL
    elif other is not None and not pictures.without_proof(database, [PictureId(copy.picture_id)]):
        verdict = Verdict.SAME
    for picture_id, mirrored in answers.matches_from_nearest(database, copy.picture_id) if other is None else ():
        other = _unless_ignored(database, copy, answers.any_copy_of(database, picture_id))
        if other is not None:
            distance = measure(picture_id, copy.picture_id, mirrored=mirrored)
            verdict = verdicts.of_match(database, picture_id, copy.picture_id, mirrored=mirrored)
            break
    if other is not None:
        values = dict(zip(("mse", "structure", "turn", "mirrored"), distance, strict=True))
        told = verdict.value if verdict else None
        publish("matched", {"path": copy.path, "other": other.path, "verdict": told, **values})


def _unless_ignored(database: Database, copy: Copy, other: Copy | None) -> Copy | None:
    if other is None or remembered.is_ignored(database, copy.content_digest, other.content_digest):
        return None
    return other
