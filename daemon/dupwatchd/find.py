"""Which files show what one picture shows: bytes → thumbnail → matches → rows of the answer."""

import os
import tempfile
import threading
from collections.abc import Callable
from typing import Any

from dupwatchd.arrays import Matches, Thumbnail
from dupwatchd.assembly import worker_pool
from dupwatchd.compare.measures import exact
from dupwatchd.db import answers, pictures
from dupwatchd.db.answers import Copy
from dupwatchd.db.connection import Database
from dupwatchd.model import FileId, Job, Outcome, Stamp
from dupwatchd.serve.clusters import Question
from dupwatchd.serve.request_queue import Peer, RequestError
from dupwatchd.settings import Settings
from dupwatchd.state import stores_of

_FIND_BYTES = 64 << 20


class Finder:
    """Answers `find` for the service, with a decode worker of its own; any thread may ask."""

    def __init__(
        self, settings: Settings, state: str, side: int, search: Callable[[Thumbnail], Matches | None]
    ) -> None:
        """``search`` gives the matches of a thumbnail among the known pictures, None while they are being loaded."""
        self._state, self._side = state, side
        self._search = search
        self._pool = worker_pool(settings, side, workers=1)
        self._decoding = threading.Lock()

    def close(self) -> None:
        """End the decode worker."""
        self._pool.close()

    def find(
        self, reader: Database, path: bytes | None, data: bytes | None, question: Question, peer: Peer
    ) -> list[dict[str, Any]]:
        """The files that show what this one does; raises RequestError if it cannot be read or decoded."""
        if data is not None:
            with tempfile.NamedTemporaryFile(dir=self._state, prefix="asked-") as file:
                file.write(data)
                file.flush()
                outcome = self._decoded(os.fsencode(file.name))
        else:
            assert path is not None
            if not _may_read(path, peer):
                raise RequestError("unreadable", "the service may not read it for you")
            outcome = self._decoded(path)
        if outcome.digest is None:
            raise RequestError("unreadable", outcome.error or "it cannot be read")
        if outcome.decoded is None:
            raise RequestError("not_a_picture", outcome.error or "it is no picture")
        thumbnail = outcome.decoded.thumbnail[None]
        same = answers.copies_of_digest(reader, outcome.digest)
        if exact.flat(thumbnail)[0]:
            return [_row(copy, 0.0, 0.0, 0, False) for copy in same]
        found = self._search(outcome.decoded.thumbnail)
        if found is None:
            if pictures.exist(reader):
                raise RequestError("starting", "what is known is still being loaded; ask again")
            return []
        near = getattr(found, question.measure) <= question.threshold
        if not question.mirrored:
            near &= ~found.mirrored
        others = sorted({int(max(a, b)) for a, b in zip(found.a[near], found.b[near], strict=True)})
        read = stores_of(self._state, self._side).thumbnails.read
        rows: list[dict[str, Any]] = []
        copies = answers.copies_of(reader, others)
        values = exact.measure_best(
            lambda ids: thumbnail.repeat(len(ids), axis=0) if ids and ids[0] == -1 else read(ids),
            [(-1, copy.picture_id) for copy in copies],
            "structure" if question.measure == "custom" else question.measure,
            mirrored=question.mirrored,
        )
        for copy, (mse, structure, turn, mirrored) in zip(copies, values, strict=True):
            rows.append(_row(copy, mse, structure, turn, mirrored))
        return sorted(rows, key=lambda row: (row["structure"], row["path"]))

    def _decoded(self, path: bytes) -> Outcome:
        try:
            status = os.stat(path)
        except OSError as error:
            raise RequestError("unreadable", f"cannot read it: {error.strerror}") from error
        if status.st_size > _FIND_BYTES * 16:
            raise RequestError("too_large", "the file is too large")
        job = Job(FileId(0), path, Stamp(status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino))
        with self._decoding:
            [outcome] = list(self._pool.index([job], lambda *_: False))
        return outcome


def _may_read(path: bytes, peer: Peer) -> bool:
    """Whether the asking user could read the file without us, as far as its rights tell without being that user."""
    if peer.uid in (os.geteuid(), 0):
        return True
    try:
        status = os.stat(path)
    except OSError:
        return False
    return bool(status.st_mode & 0o004) or (status.st_uid == peer.uid and bool(status.st_mode & 0o400))


def _row(copy: Copy, mse: float, structure: float, turn: int, mirrored: bool) -> dict[str, Any]:
    return {
        "path": copy.path,
        "bytes": copy.size_bytes,
        "width": copy.width,
        "height": copy.height,
        "mse": mse,
        "structure": structure,
        "turn": turn,
        "mirrored": mirrored,
    }
