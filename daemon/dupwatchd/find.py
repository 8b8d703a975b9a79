"""Which files show what one picture shows: bytes → thumbnail → matches → rows of the answer.

Who may ask: whoever may ask anything. The bytes come from the client (`serve.uploads` keeps them in a file), so that
the service never opens a path for somebody who could not open it without the service.
"""

import os
import threading
from collections.abc import Callable

from dupwatchd.arrays import Matches, Thumbnail
from dupwatchd.assembly import worker_pool
from dupwatchd.compare.measures import exact
from dupwatchd.db import answers, pictures
from dupwatchd.db.answers import Copy
from dupwatchd.db.connection import Database
from dupwatchd.errors import Interrupted
from dupwatchd.model import FileId, Job, Outcome, Stamp
from dupwatchd.serve.clusters import ITSELF, LiveChecks, Measured, Question, found_file
from dupwatchd.serve.request_queue import OpenRequest, RequestError
from dupwatchd.serve.results import FoundFile
from dupwatchd.settings import Settings
from dupwatchd.state import stores_of

_ASKED = -1  # stands for the picture that was sent, among the ids of those that are known


class Finder:
    """Answers `find` for the service, with a decode process of its own, which decodes one picture at a time."""

    def __init__(
        self,
        settings: Settings,
        state: str,
        thumbnail_px: int,
        search: Callable[[Thumbnail], Matches | None],
        live_checks: Callable[[], LiveChecks],
    ) -> None:
        """``search`` gives the matches of a thumbnail among the known pictures, None while they are being loaded."""
        self._state, self._thumbnail_px = state, thumbnail_px
        self._search = search
        self._live_checks = live_checks
        self._request: OpenRequest | None = None
        self._decoding = threading.Lock()
        self._pool = worker_pool(settings, thumbnail_px, self._give_up_if_abandoned, workers=1)

    def close(self) -> None:
        """End the decode process, once a picture that is being decoded was given up."""
        with self._decoding:
            self._pool.close()

    def find(self, reader: Database, path: bytes, question: Question, request: OpenRequest) -> list[FoundFile]:
        """The files that show what this one does, and are there at this moment; the nearest first.

        Raises RequestError if it is no picture, if the index is being loaded, or if nobody waits for the answer any
        more; StateError.
        """
        digest, thumbnail = self._decoded(path, request)
        is_there = self._live_checks().is_there
        if exact.flat(thumbnail[None])[0]:
            copies = [copy for copy in answers.copies_of_digest(reader, digest) if is_there(copy)]
            return [found_file(copy, ITSELF) for copy in copies]
        near = self._near(reader, thumbnail, question)
        copies = [copy for copy in answers.copies_of(reader, near) if is_there(copy)]
        rows = map(found_file, copies, self._measured(thumbnail, copies, question))
        return sorted(rows, key=lambda row: (row["structure"], row["path"]))

    def _decoded(self, path: bytes, request: OpenRequest) -> tuple[bytes, Thumbnail]:
        """The digest of a file and its thumbnail."""
        status = os.stat(path)
        job = Job(FileId(0), path, Stamp(status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino))
        outcome = self._outcome(job, request)
        if outcome.digest is None:
            raise RequestError("unreadable", outcome.error or "it cannot be read")
        if outcome.decoded is None:
            raise RequestError("not_a_picture", outcome.error or "it is no picture")
        return outcome.digest, outcome.decoded.thumbnail

    def _outcome(self, job: Job, request: OpenRequest) -> Outcome:
        with self._decoding:
            self._request = request
            try:
                [outcome] = list(self._pool.index([job], lambda *_: False))
            except Interrupted:
                raise RequestError("busy", "it could not be decoded in the time given; try again") from None
            finally:
                self._request = None
        return outcome

    def _give_up_if_abandoned(self) -> None:
        """Called often while a picture is decoded; what it raises ends the decoding."""
        if self._request is not None and self._request.is_abandoned:
            raise Interrupted("nobody waits for it")

    def _near(self, reader: Database, thumbnail: Thumbnail, question: Question) -> list[int]:
        """The ids of the known pictures within the threshold."""
        found = self._search(thumbnail)
        if found is None:
            if pictures.exist(reader):
                raise RequestError("starting", "what is known is still being loaded; ask again")
            return []
        near = getattr(found, question.measure) <= question.threshold
        if not question.mirrored:
            near &= ~found.mirrored
        # one end of each match is the picture asked for, whose id is smaller than all that are known
        return sorted({int(max(a, b)) for a, b in zip(found.a[near], found.b[near], strict=True)})

    def _measured(self, thumbnail: Thumbnail, copies: list[Copy], question: Question) -> list[Measured]:
        """How far each of the copies is from the picture asked for."""
        read = stores_of(self._state, self._thumbnail_px).thumbnails.read
        values = exact.measure_best(
            lambda ids: thumbnail[None].repeat(len(ids), axis=0) if ids and ids[0] == _ASKED else read(ids),
            [(_ASKED, copy.picture_id) for copy in copies],
            "structure" if question.measure == "custom" else question.measure,
            mirrored=question.mirrored,
        )
        return [Measured(*value) for value in values]
