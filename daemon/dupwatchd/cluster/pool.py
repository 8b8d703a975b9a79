"""`ClusterPool`: reads files on a cluster, or on this machine where that is better; the outcomes are the same.

Jobs go in, outcomes come out, as with `index.pool.WorkerPool`, which does what is read here. A machine of the cluster
says what the bytes of a file are. What the file *is* (gone, not to be read, changing), only this machine says: whatever
is not plainly read there, or with another size or time than the index has, is read again here.
"""

import os
from collections.abc import Callable, Generator, Iterable
from dataclasses import replace
from itertools import islice
from typing import Self

from dupwatchd.cluster import library, messages
from dupwatchd.cluster.backlog import Backlog
from dupwatchd.cluster.connection import ClusterLost, Connection
from dupwatchd.cluster.machines import Machines
from dupwatchd.cluster.reading import Sample
from dupwatchd.errors import DupwatchError
from dupwatchd.index.limits import DecodeLimits
from dupwatchd.index.messages import BadReply, Looked, PixelsRead
from dupwatchd.index.pool import Known, WorkerPool
from dupwatchd.model import Job, Outcome, ReadStatus
from dupwatchd.settings.model import ClusterSettings
from dupwatchd.state import decoder_versions

KnownDigests = Callable[[set[int]], dict[int, list[bytes]]]

_SAMPLES = 4  # files by which a machine shows that it sees the photos
_HERE_SECONDS = 20.0  # for so long photos are read here before a lost cluster is looked for again
_WITHOUT_MACHINES_SECONDS = 5.0  # after so long without any machine, too
_ATTEND_SECONDS = 0.5
_CLOCK_GRAIN_NS = 2_000_000_000  # some shares keep times to two seconds; they are told otherwise on each machine
_PLAINLY_READ = (ReadStatus.DECODED, ReadStatus.KNOWN, ReadStatus.FAILED, ReadStatus.NOT_A_PICTURE)


class ClusterPool:
    """Reads what is pending on a cluster if it is much; connected only while it does."""

    def __init__(
        self,
        here: WorkerPool,
        cluster: ClusterSettings,
        thumbnail_px: int,
        limits: DecodeLimits,
        known_digests: KnownDigests,
        machines: Machines,
        attend: Callable[[], None] = lambda: None,
    ) -> None:
        """``known_digests`` gives digests of contents that are known, by the size of their files in bytes.

        Raises UsageError if Dask is not installed, or the certificates will not do.
        """
        library.require()
        library.security_of(cluster)
        self._here = here
        self._cluster = cluster
        self._thumbnail_px = thumbnail_px
        self._limits = limits
        self._known_digests = known_digests
        self._machines = machines
        self._attend = attend

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes on this machine."""
        self._here.close()

    def detail(self, path: bytes, most_px: int, digest: bytes | None = None) -> Looked:
        """As `WorkerPool.detail`: it is read on this machine."""
        return self._here.detail(path, most_px, digest)

    def pixels(self, path: bytes, digest: bytes | None = None) -> PixelsRead:
        """As `WorkerPool.pixels`: it is read on this machine."""
        return self._here.pixels(path, digest)

    def index(self, jobs: Iterable[Job], known: Known) -> Generator[Outcome, None, None]:
        """As `WorkerPool.index`. Raises DupwatchError, too, if the cluster is lost and reading is to stop then."""
        backlog = Backlog(jobs)
        if len(backlog.peek(self._cluster.min_pending)) < self._cluster.min_pending:
            yield from self._here.index(backlog.one_by_one(float("inf")), known)
            return
        while not backlog.is_over():
            try:
                first = backlog.peek(self._cluster.min_pending)
                samples = [_sample(job) for job in islice(filter(_is_there, first), _SAMPLES)]
                with Connection(self._cluster, self._machines, decoder_versions(), samples) as connection:
                    yield from self._index_there(connection, backlog, known)
            except ClusterLost as lost:
                self._machines.left(str(lost))
                if self._cluster.when_lost == "stop":
                    raise DupwatchError(
                        f"the cluster cannot be used, and cluster.when_lost = stop: {lost}; what is done is kept"
                    ) from lost
                yield from self._counted(self._here.index(backlog.one_by_one(_HERE_SECONDS), known))

    def _index_there(self, connection: Connection, backlog: Backlog, known: Known) -> Generator[Outcome, None, None]:
        """Read the backlog on the cluster; raises ClusterLost with all of it put back that did not come out."""
        idle_seconds = 0.0
        try:
            while connection.under_way or not backlog.is_over():
                self._hand_out(connection, backlog)
                self._attend()
                done = connection.next_done(_ATTEND_SECONDS)
                idle_seconds = 0.0 if done or connection.has_machines else idle_seconds + _ATTEND_SECONDS
                if idle_seconds >= _WITHOUT_MACHINES_SECONDS:
                    raise ClusterLost("no machine takes part")  # noqa: TRY301 - it is dealt with as the others are
                if done is None:
                    continue
                if done.reply is None:
                    yield from self._counted(self._here.index(done.jobs, known))
                else:
                    yield from self._taken_over(connection, backlog, done.jobs, done.reply, known)
        except ClusterLost:
            for jobs in connection.under_way:
                backlog.put_back(jobs)
            raise

    def _hand_out(self, connection: Connection, backlog: Backlog) -> None:
        """Submit as much as will soon be read."""
        while connection.has_machines and connection.takes_more:
            jobs = backlog.next_batch(self._cluster.batch_files, self._cluster.batch_mb << 20)
            if not jobs:
                return
            digests = self._known_digests({job.stamp.size_bytes for job in jobs})
            connection.submit(jobs, messages.request(jobs, digests, self._thumbnail_px, self._limits))

    def _taken_over(
        self, connection: Connection, backlog: Backlog, jobs: list[Job], reply: bytes, known: Known
    ) -> Generator[Outcome, None, None]:
        """The outcomes of a batch: those of a machine where they hold, else our own."""
        try:
            told = messages.parse_reply(reply, jobs, self._thumbnail_px)
        except BadReply:  # from another version, or broken on its way
            yield from self._counted(self._here.index(jobs, known))
            return
        if told.error is not None:
            connection.refuse(told.worker, told.error)
            backlog.put_back(jobs)
            return
        again: list[Job] = []
        claimed: set[tuple[int, bytes]] = set()  # files that are to be decoded here, although `known` was asked
        for outcome in told.outcomes:
            settled = _as_seen_here(outcome)
            if settled is None:
                again.append(outcome.job)
            elif settled.digest is None:
                yield settled
            elif known(settled.job, settled.digest):
                yield replace(settled, status=ReadStatus.KNOWN, decoded=None, error=None)
            elif settled.status is ReadStatus.KNOWN:  # not to us: another reading of the bytes, or a chance
                claimed.add((settled.job.file_id, settled.digest))
                again.append(settled.job)
            else:
                yield settled
        self._machines.read(told.worker, len(told.outcomes) - len(again))
        if again:
            missed = [_sample(job) for job in again if _is_there(job)][:1]
            if missed and not claimed:
                connection.doubt(told.worker, missed)
            yield from self._counted(
                self._here.index(again, lambda job, digest: (job.file_id, digest) not in claimed and known(job, digest))
            )

    def _counted(self, outcomes: Iterable[Outcome]) -> Generator[Outcome, None, None]:
        for outcome in outcomes:
            self._machines.read_here(1)
            yield outcome


def _as_seen_here(outcome: Outcome) -> Outcome | None:
    """The outcome with the stamp that the index has; None if this machine must look for itself."""
    listed, read = outcome.job.stamp, outcome.stamp
    if outcome.status not in _PLAINLY_READ or read is None or read.size_bytes != listed.size_bytes:
        return None
    if read.mtime_ns == listed.mtime_ns:
        return replace(outcome, stamp=listed)
    # A share may keep times less exactly, or tell them so there. Else the file is another by now.
    if abs(read.mtime_ns - listed.mtime_ns) < _CLOCK_GRAIN_NS and _is_there(outcome.job):
        return replace(outcome, stamp=listed)
    return None


def _is_there(job: Job) -> bool:
    """Whether this machine finds the file as it was listed."""
    try:
        found = os.stat(job.path, follow_symlinks=False)
    except OSError:
        return False
    return (found.st_size, found.st_mtime_ns) == (job.stamp.size_bytes, job.stamp.mtime_ns)


def _sample(job: Job) -> Sample:
    return Sample(job.path.decode("utf-8", "surrogateescape"), job.stamp.size_bytes)
