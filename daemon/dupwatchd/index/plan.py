"""Which files a worker gets next, and what to do with those it left unfinished; decides, does nothing.

A chunk whose worker died or hung is suspect: its unfinished files are tried again, each alone, and one that fails
again is to blame.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dupwatchd.model import Job, Stamp

# A chunk costs about 0.2 ms of talk, as much as half a small photo: sixteen make that little. A photo of 2 MB takes
# 15 ms and more, so there a chunk is one file, and the last ones are shared evenly among the workers.
CHUNK_FILES = 16
CHUNK_BYTES = 2 << 20
# A worker reads one chunk ahead while it decodes another, unless that would hold too much at once.
READ_AHEAD_BYTES = 16 << 20
MAX_ATTEMPTS = 2


@dataclass(slots=True)
class File:
    """One job on its way."""

    job: Job
    attempts: int = 0  # how often it was in a chunk that killed its worker
    stamp: Stamp | None = None  # of the bytes last read
    claimed: bytes | None = None  # the digest that `known` did not know: this file decodes it
    done: bool = False  # its outcome is out


@dataclass(slots=True, eq=False)
class Chunk:
    """Files that go to a worker together."""

    files: list[File]
    size_bytes: int
    suspect: bool = False  # it failed before: alone in its worker, so that nobody else is blamed

    @property
    def solitary(self) -> bool:
        """It must have a worker for itself."""
        return self.suspect or self.size_bytes > READ_AHEAD_BYTES


class Plan:
    """Hands out chunks; takes no more jobs from the iterable than it needs for the next one."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._jobs: Iterator[Job] = iter(jobs)
        self._put_back: Job | None = None
        self._again: deque[Chunk] = deque()

    def next_chunk(self) -> Chunk | None:
        """None if nothing is left, for now: chunks may still come back."""
        if self._again:
            return self._again.popleft()
        files: list[File] = []
        size_bytes = 0
        while len(files) < CHUNK_FILES and (job := self._next_job()):
            if files and size_bytes + job.stamp.size_bytes > CHUNK_BYTES:
                self._put_back = job
                break
            files.append(File(job))
            size_bytes += job.stamp.size_bytes
        return Chunk(files, size_bytes) if files else None

    def again(self, chunk: Chunk) -> None:
        """Hand out what is left of this chunk once more, as it was: it is not to blame."""
        chunk.files = [file for file in chunk.files if not file.done]
        if chunk.files:
            self._again.append(chunk)

    def retry(self, chunk: Chunk) -> list[File]:
        """Plan another try for what is left of this chunk, each file alone; gives back the files that had theirs."""
        hopeless = []
        for file in chunk.files:
            if file.done:
                continue
            file.attempts += 1
            if file.attempts >= MAX_ATTEMPTS:
                hopeless.append(file)
            else:
                self._again.append(Chunk([file], file.job.stamp.size_bytes, suspect=True))
        return hopeless

    def _next_job(self) -> Job | None:
        if self._put_back is not None:
            job, self._put_back = self._put_back, None
            return job
        return next(self._jobs, None)
