"""The pool of worker processes: jobs go in, outcomes come out; a path goes in, that file's pixels or preview come out.

Each file is read once and hashed; it is decoded only if its content is not known yet. A worker may die, hang, take too
much memory or, taken over by a hostile picture, send anything; what it sends is checked in ``messages``. What a dead
worker held is tried again file by file, see ``chunks``. Everything here belongs to the one thread that iterates over
`WorkerPool.index` and, while it does not, asks for pixels or previews.
"""

import selectors
import signal
import socket
import time
from collections.abc import Callable, Generator, Iterable
from typing import Any, Self

from dupwatchd.errors import DupwatchError
from dupwatchd.index import messages
from dupwatchd.index.chunks import CHUNK_FILES, Chunk, ChunkQueue, File
from dupwatchd.index.fork_server import ForkServer, ForkServerLost
from dupwatchd.index.limits import DecodeLimits
from dupwatchd.index.messages import (
    AllPixels,
    BadReply,
    Detail,
    Looked,
    NoSuchFrame,
    NotDecoded,
    NotRead,
    PixelsRead,
    Preview,
    Previewed,
    PreviewKind,
    PreviewWish,
    ReadFile,
)
from dupwatchd.index.reasons import why_died, why_too_slow
from dupwatchd.index.worker_connection import (
    AnyLook,
    Look,
    LookForPixels,
    LookForPreview,
    Owed,
    WorkerConnection,
    WorkerGone,
)
from dupwatchd.model import Decoded, Job, Outcome, ReadStatus
from dupwatchd.pixels.keypoints import MAX_KEYPOINTS_BYTES
from dupwatchd.pixels.proof import MAX_PROOF_BYTES

__all__ = [
    "AllPixels", "DecodeLimits", "Detail", "NoSuchFrame", "NotDecoded", "NotRead", "Preview", "PreviewKind",
    "PreviewWish", "WorkerPool",
]  # fmt: skip

Known = Callable[[Job, bytes], bool]
_AnyLooked = Looked | Previewed | PixelsRead

# A process that waits in the kernel for a dead disk or network share cannot be killed. So many of them are tolerated.
MAX_STUCK_WORKERS = 8
MAX_FAILED_STARTS = 3
_ATTEND_SECONDS = 0.5


class WorkerPool:
    """Processes that read and decode files; started when the first job comes, kept until `close`."""

    def __init__(
        self, workers: int, thumbnail_px: int, limits: DecodeLimits, attend: Callable[[], None] = lambda: None
    ) -> None:
        self._worker_count = workers
        self._attend = attend  # called twice a second at least while indexing; what it raises ends that
        self._thumbnail_px = thumbnail_px
        self._limits = limits
        self._fork_server: ForkServer | None = None
        self._workers: list[WorkerConnection] = []
        self._selector = selectors.PollSelector()
        self._stuck_workers = 0
        self._failed_starts = 0
        self._indexing = False
        self._closed = False
        self._settled: list[Outcome] = []  # outcomes not yet handed to the caller
        self._looked: _AnyLooked | str | None = (
            None  # what came of a look; text: what its worker died of, if it had begun
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all processes; may be called twice, but not while `index` runs: close that generator first."""
        self._closed = True
        for worker in self._workers:
            worker.socket.close()
        self._workers.clear()
        self._selector.close()
        if self._fork_server is not None:
            self._fork_server.close()
            self._fork_server = None

    def index(self, jobs: Iterable[Job], known: Known) -> Generator[Outcome, None, None]:
        """One outcome per job, in any order; looks only a few chunks ahead in ``jobs``.

        ``known`` is asked once for each file that was read, in the caller's thread: True means that its digest is
        known or claimed already (KNOWN), False that this job is the one that decodes it. A claim comes to nothing if
        the file has to be read again, because its worker died, and has changed or gone meanwhile: then its outcome has
        another digest or none. Closing the generator drops what is under way. Raises DupwatchError if no worker can
        be started.
        """
        if self._closed or self._indexing:
            raise RuntimeError("the pool is closed" if self._closed else "the pool is indexing already")
        self._indexing = True
        try:
            queue = ChunkQueue(jobs)
            while self._hand_out(queue):
                self._listen(queue, known)
                if self._settled:
                    self._hand_out(queue)  # the workers go on while the caller deals with the outcomes
                    settled, self._settled = self._settled, []
                    yield from settled
        finally:
            self._indexing = False
            self._settled.clear()
            for worker in [worker for worker in self._workers if worker.chunks]:
                self._end(worker)

    def detail(self, path: bytes, most_px: int, digest: bytes | None = None) -> Looked:
        """The picture in a file, its longer side at most ``most_px``, averaged over areas; and luma at full size.

        Given the digest of the content that is expected, another content counts as CHANGED. To be called while `index`
        is not iterated over. Raises DupwatchError if no worker can be started.
        """
        looked = self._look(Look(path, most_px))
        assert not isinstance(looked, Preview | NoSuchFrame | AllPixels)  # `Look.parse` gives none
        if isinstance(looked, Detail) and digest not in (None, looked.digest):
            return NotRead(ReadStatus.CHANGED, None)
        return looked

    def preview(self, path: bytes, wish: PreviewWish) -> Previewed:
        """The picture in a file as a person sees it; called, and raises, as `detail`."""
        previewed = self._look(LookForPreview(path, wish))
        assert not isinstance(previewed, Detail | AllPixels)  # `LookForPreview.parse` gives none
        return previewed

    def pixels(self, path: bytes, digest: bytes | None = None) -> PixelsRead:
        """What tells a file from others that show the same picture; called, takes a digest and raises as `detail`."""
        read = self._look(LookForPixels(path))
        assert not isinstance(read, Detail | Preview | NoSuchFrame)  # `LookForPixels.parse` gives none
        if isinstance(read, AllPixels) and digest not in (None, read.digest):
            return NotRead(ReadStatus.CHANGED, None)
        return read

    def _look(self, look: AnyLook) -> _AnyLooked:
        """What comes of a look at one file; if its worker dies of it, another one tries."""
        if self._closed or self._indexing:
            raise RuntimeError("the pool is closed" if self._closed else "the pool is indexing")
        self._indexing = True
        try:
            looked = self._ask_until_begun(look, afresh=False)
            if isinstance(looked, str):  # maybe what an earlier file left in the worker is to blame
                looked = self._ask_until_begun(look, afresh=True)
        finally:
            self._indexing = False
        return NotDecoded(looked, picture=True) if isinstance(looked, str) else looked

    def _ask_until_begun(self, look: AnyLook, *, afresh: bool) -> _AnyLooked | str:
        """What comes of one attempt; text: why the worker died of it. Raises DupwatchError if no worker starts."""
        while (looked := self._ask(look, afresh=afresh)) == "":
            pass  # the worker had not got so far; the number of failed starts is limited
        return looked

    def _ask(self, look: AnyLook, *, afresh: bool) -> _AnyLooked | str:
        """As above, but empty if the worker died before it took the look up."""
        for worker in [worker for worker in self._workers if worker.worn_out or (afresh and worker.files_taken)]:
            self._end(worker)
        worker = self._workers[0] if self._workers else self._start_worker()
        try:
            worker.look(look)
        except WorkerGone:
            pass  # `_listen` notices it, too, and acts on it
        nothing_else = ChunkQueue(())
        try:
            while self._looked is None:
                self._listen(nothing_else, _never_known)
            return self._looked
        finally:
            self._looked = None
            if worker in self._workers and worker.owed:  # the wait was broken off
                self._end(worker)

    def _hand_out(self, queue: ChunkQueue) -> bool:
        """Give every worker as much as it can take; False if there is nothing left to do."""
        for worker in [worker for worker in self._workers if worker.worn_out and not worker.chunks]:
            self._end(worker)
        for chunk_limit in (1, 2):  # first something for everybody, then something to read ahead
            for place in range(self._worker_count):
                if place < len(self._workers) and not self._workers[place].takes(chunk_limit):
                    continue
                if (chunk := queue.next_chunk()) is None:
                    return any(worker.chunks for worker in self._workers)
                worker = self._workers[place] if place < len(self._workers) else self._start_worker()
                if chunk.solitary and worker.chunks:
                    queue.put_back(chunk)
                    continue
                if chunk.suspect and worker.files_taken:
                    # A suspect file gets a new worker: whatever happens to that one is the fault of this file alone.
                    self._end(worker)
                    worker = self._start_worker()
                try:
                    worker.read(chunk)
                except WorkerGone:
                    pass  # `_listen` notices it, too, and acts on it
        return True

    def _listen(self, queue: ChunkQueue, known: Known) -> None:
        """Wait until a worker sends something or its time is up, and act on that."""
        deadlines = [worker.deadline for worker in self._workers if worker.owed]
        timeout = max(0.0, min(deadlines, default=0.0) - time.monotonic())
        self._attend()
        for key, _ in self._selector.select(min(timeout, _ATTEND_SECONDS)):
            worker: WorkerConnection = key.data
            try:
                for header, raw in worker.receive():
                    self._handle(worker, header, raw, known)
            except WorkerGone:
                self._lose(worker, queue)
            except BadReply as error:
                self._lose(worker, queue, f"the decoder sent garbage ({error})")
        now = time.monotonic()
        for worker in [worker for worker in self._workers if worker.owed and worker.deadline <= now]:
            self._lose(worker, queue, why_too_slow(_decodes(worker.owed[0]), self._limits.decode_seconds))

    def _handle(self, worker: WorkerConnection, header: dict[str, Any], raw: memoryview, known: Known) -> None:
        """Act on one message from a worker. Raises BadReply, WorkerGone."""
        if header.get("busy") is True:
            return
        if not worker.owed:
            raise BadReply("unasked")
        owed = worker.owed[0]
        if owed.look is not None:
            self._looked = owed.look.parse(header, raw)
            worker.owed.popleft()
        elif owed.chunk is None:
            if header.get("ready") is not True:
                raise BadReply("no greeting")
            self._failed_starts = 0
            worker.owed.popleft()
        elif not owed.undecoded:
            results = messages.parse_read_reply(header, len(owed.chunk.files))
            worker.owed.popleft()
            worker.decode(owed.chunk, self._claimed(owed.chunk, results, known))
        else:
            decoded = messages.parse_decode_reply(header, bytes(raw), owed.undecoded, self._thumbnail_px)
            owed.undecoded.difference_update(index for index, _ in decoded)
            if not owed.undecoded:
                worker.owed.popleft()
                worker.chunks.remove(owed.chunk)
            for index, result in decoded:
                self._settle_decoded(owed.chunk.files[index], result)

    def _claimed(self, chunk: Chunk, results: list[ReadFile | NotRead], known: Known) -> list[int]:
        """The indexes of those files in a chunk that have to be decoded: their contents are not known."""
        wanted = []
        for index, (file, result) in enumerate(zip(chunk.files, results, strict=True)):
            file.stamp = result.stamp
            if isinstance(result, NotRead):
                self._settle(file, result.status, error=result.error)
            elif file.claimed != result.digest and known(file.job, result.digest):
                self._settle(file, ReadStatus.KNOWN, digest=result.digest)
            else:
                file.claimed = result.digest
                wanted.append(index)
        return wanted

    def _lose(self, worker: WorkerConnection, queue: ChunkQueue, reason: str | None = None) -> None:
        """End a worker that failed; the chunk it was working on is to blame, its other chunks are handed out again."""
        status = self._end(worker)
        blamed = worker.owed[0] if worker.owed else None
        for chunk in worker.chunks:
            if blamed is None or chunk is not blamed.chunk:
                queue.put_back(chunk)
        if any(owed.look for owed in worker.owed):
            started = blamed is not None and blamed.look is not None
            self._looked = (reason or why_died(status, True, self._limits.memory_mb)) if started else ""
        if blamed is None or blamed.look is not None:
            return
        if blamed.chunk is None:
            self._failed_starts += 1
            return
        decoding = bool(blamed.undecoded)
        reason = reason or why_died(status, decoding, self._limits.memory_mb)
        for file in queue.retry(blamed.chunk):
            if decoding:
                self._settle(file, ReadStatus.FAILED, digest=file.claimed, error=reason)
            else:
                file.stamp = None
                self._settle(file, ReadStatus.UNREADABLE, error=reason)

    def _settle_decoded(self, file: File, result: Decoded | NotDecoded) -> None:
        if isinstance(result, Decoded):
            self._settle(file, ReadStatus.DECODED, digest=file.claimed, decoded=result)
        else:
            status = ReadStatus.FAILED if result.picture else ReadStatus.NOT_A_PICTURE
            self._settle(file, status, digest=file.claimed, error=result.error)

    def _settle(
        self,
        file: File,
        status: ReadStatus,
        *,
        digest: bytes | None = None,
        decoded: Decoded | None = None,
        error: str | None = None,
    ) -> None:
        file.done = True
        self._settled.append(Outcome(file.job, status, file.stamp, digest, decoded, error))

    def _start_worker(self) -> WorkerConnection:
        """Raises DupwatchError if it cannot be done."""
        if self._failed_starts >= MAX_FAILED_STARTS:
            self._failed_starts = 0  # so that whoever comes later tries again: memory may have been short for a moment
            raise DupwatchError("the processes that decode pictures die as soon as they start")
        if self._stuck_workers >= MAX_STUCK_WORKERS and (stuck := self._count_stuck_workers()) >= MAX_STUCK_WORKERS:
            raise DupwatchError(f"{stuck} processes hang in reading: a disk or share does not answer")
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                pid = self._spawn(theirs)
            except (OSError, ForkServerLost) as error:
                ours.close()
                raise DupwatchError(f"cannot start a process that decodes pictures: {error}") from error
        max_raw_bytes = CHUNK_FILES * (3 * self._thumbnail_px**2 + MAX_PROOF_BYTES + MAX_KEYPOINTS_BYTES)
        worker = WorkerConnection(pid, ours, max_raw_bytes, self._limits.decode_seconds)
        self._selector.register(ours, selectors.EVENT_READ, worker)
        self._workers.append(worker)
        return worker

    def _count_stuck_workers(self) -> int:
        """How many still cannot die: those whose disk has answered meanwhile are gone."""
        self._stuck_workers = 0
        if self._fork_server is not None:
            try:
                self._stuck_workers = self._fork_server.stuck_workers()
            except ForkServerLost:
                self._fork_server.close()
                self._fork_server = None
        return self._stuck_workers

    def _spawn(self, connection: socket.socket) -> int:
        """The process id of a new worker; a dead fork server is replaced once. Raises ForkServerLost, OSError."""
        for _ in range(2):
            if self._fork_server is None:
                self._fork_server = ForkServer(self._thumbnail_px, self._limits)
            try:
                return self._fork_server.spawn(connection)
            except ForkServerLost:
                self._fork_server.close()
                self._fork_server = None
        raise ForkServerLost("it dies as soon as it starts")

    def _end(self, worker: WorkerConnection) -> int:
        """Kill a worker and forget it; its wait status."""
        self._workers.remove(worker)
        self._selector.unregister(worker.socket)
        worker.socket.close()
        status = signal.SIGKILL.value  # for a worker that died with its fork server, or cannot die yet
        if self._fork_server is not None:
            try:
                answer = self._fork_server.end(worker.pid)
            except ForkServerLost:
                self._fork_server.close()
                self._fork_server = None
            else:
                self._stuck_workers = max(0, -answer)
                if answer >= 0:
                    status = answer
        return status


def _decodes(owed: Owed) -> bool:
    """Whether a worker that owes this is to blame for decoding, not for reading."""
    return bool(owed.undecoded) or owed.look is not None


def _never_known(*_: object) -> bool:
    return False
