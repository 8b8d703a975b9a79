"""Jobs go in, chunks come out: the files that a worker gets together.

A chunk comes back if its worker died or hung. If the chunk is to blame, each of its unfinished files is tried again
alone, and a file that fails a second time is given up. Nothing here talks to a worker.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dupwatchd.model import Job, Stamp

# The messages about a chunk cost 0.2 ms, half as much as decoding a small photo; shared by sixteen files that is
# little. A photo of 2 MB takes 15 ms and more, so a chunk of such files is a single file, and the last files of a run
# are shared evenly among the workers.
CHUNK_FILES = 16
CHUNK_BYTES = 2 << 20
# A worker reads one chunk ahead while it decodes another, unless they are larger than this: both lie in its memory.
READ_AHEAD_BYTES = 16 << 20
MAX_ATTEMPTS = 2


@dataclass(slots=True)
class File:
    """A job, and what has come of it so far."""

    job: Job
    attempts: int = 0  # how often it was in a chunk that killed its worker
    stamp: Stamp | None = None  # of the bytes last read
    claimed: bytes | None = None  # the digest that `known` did not know: this file decodes it
    done: bool = False  # its outcome has been handed on


@dataclass(slots=True, eq=False)
class Chunk:
    """Files that a worker gets together."""

    files: list[File]
    size_bytes: int
    suspect: bool = False  # it failed before; it gets a worker for itself, so that no other file can be blamed

    @property
    def solitary(self) -> bool:
        """It must have a worker for itself."""
        return self.suspect or self.size_bytes > READ_AHEAD_BYTES


class ChunkQueue:
    """Makes chunks of jobs; takes no more jobs from the iterable than the next chunk needs."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._jobs: Iterator[Job] = iter(jobs)
        self._next_in_line: Job | None = None
        self._again: deque[Chunk] = deque()

    def next_chunk(self) -> Chunk | None:
        """The next chunk, or None if there is none now; chunks that come back may follow."""
        if self._again:
            return self._again.popleft()
        files: list[File] = []
        size_bytes = 0
        while len(files) < CHUNK_FILES and (job := self._next_job()):
            if files and size_bytes + job.stamp.size_bytes > CHUNK_BYTES:
                self._next_in_line = job
                break
            files.append(File(job))
            size_bytes += job.stamp.size_bytes
        return Chunk(files, size_bytes) if files else None

    def put_back(self, chunk: Chunk) -> None:
        """Hand out the unfinished files of this chunk again, together; its worker's end was not their fault."""
        chunk.files = [file for file in chunk.files if not file.done]
        if chunk.files:
            self._again.append(chunk)

    def retry(self, chunk: Chunk) -> list[File]:
        """Hand out each unfinished file of this chunk once more, alone; returns files that have had all attempts."""
        given_up = []
        for file in chunk.files:
            if file.done:
                continue
            file.attempts += 1
            if file.attempts >= MAX_ATTEMPTS:
                given_up.append(file)
            else:
                self._again.append(Chunk([file], file.job.stamp.size_bytes, suspect=True))
        return given_up

    def _next_job(self) -> Job | None:
        if self._next_in_line is not None:
            job, self._next_in_line = self._next_in_line, None
            return job
        return next(self._jobs, None)
