"""The jobs that wait to be read, as batches for machines or as single jobs for this one."""

import time
from collections import deque
from collections.abc import Iterable, Iterator

from dupwatchd.model import Job


class Backlog:
    """Takes jobs from an iterable as late as it can, and takes back those that came to nothing."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._jobs = iter(jobs)
        self._first: deque[Job] = deque()  # before those of the iterable

    def is_over(self) -> bool:
        """Whether no job is left; jobs that are put back may follow."""
        return not self.peek(1)

    def peek(self, most: int) -> list[Job]:
        """The next jobs, at most so many; they stay."""
        while len(self._first) < most and (job := next(self._jobs, None)) is not None:
            self._first.append(job)
        return [self._first[place] for place in range(min(most, len(self._first)))]

    def put_back(self, jobs: Iterable[Job]) -> None:
        """These are to be handed out again, before all others."""
        self._first.extendleft(jobs)

    def next_batch(self, most_files: int, most_bytes: int) -> list[Job]:
        """At most so many jobs, and so many bytes of files unless it is one; empty: none is left."""
        batch: list[Job] = []
        size_bytes = 0
        while len(batch) < most_files and (found := self.peek(1)):
            size_bytes += found[0].stamp.size_bytes
            if batch and size_bytes > most_bytes:
                break
            batch.append(self._first.popleft())
        return batch

    def one_by_one(self, seconds: float) -> Iterator[Job]:
        """The jobs that are asked for within so many seconds."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self.is_over():
            yield self._first.popleft()
