"""Takes pending files in: index → blocks → compare → db. They become contents, pictures and matches, batch by batch.

The order within a batch: its thumbnails and proofs are written and synced, then one transaction stores them together
with their files and matches. If that transaction does not happen, nothing of the batch counts.
"""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

from dupwatchd.blocks.store import Stores
from dupwatchd.db import files, pictures
from dupwatchd.db.connection import Database
from dupwatchd.db.pictures import ContentKey, NewContent
from dupwatchd.index.messages import Looked, PixelsRead
from dupwatchd.model import FileId, Job, Limits, Outcome, PictureId, Progress, ReadStatus
from dupwatchd.suffixes import way_of_reading
from dupwatchd.update.comparing import Comparing, OpenSearch
from dupwatchd.update.looking import Looking
from dupwatchd.update.mending import forget_lost_thumbnails
from dupwatchd.update.parting import Parting
from dupwatchd.update.placing import place
from dupwatchd.update.renew import Renewal

# Of work that a kill loses at most, beside the files being decoded; or as long as it took to store the last batch: in a
# crowd that is long, and hardly longer for more pictures.
_BATCH_SECONDS = 2.0
_BATCH_PICTURES = 1024  # thumbnails and proofs held in memory: 25 MB at 32 px
_JOBS_AT_ONCE = 1000
_PASSES = 3


class Pool(Protocol):
    """Reads and decodes files: `index.pool.WorkerPool`."""

    def index(self, jobs: Iterable[Job], known: Callable[[Job, bytes], bool]) -> Generator[Outcome, None, None]:
        """The outcome of each job, in any order; ``known`` says of a job and its digest that it need not be decoded."""

    def detail(self, path: bytes, most_px: int, digest: bytes | None = None) -> Looked:
        """The pixels of a file with that content, while nothing is indexed; or why there are none."""

    def pixels(self, path: bytes, digest: bytes | None = None) -> PixelsRead:
        """What tells a file with that content from others of its picture, likewise."""


@dataclass(frozen=True)
class CommittedBatch:
    """A batch of files that has become durable."""

    outcomes: list[Outcome]
    picture_of: dict[FileId, PictureId]  # for the files that show a picture


@dataclass
class _Unsettled:
    changing: int = 0  # files that changed while they were read
    deferred: int = 0  # files that waited for another file's decoding of the same content, in vain


class Intake:
    """Takes in pending files of one state directory; the caller holds its lock."""

    def __init__(
        self,
        database: Database,
        stores: Stores,
        pool: Pool,
        limits: Limits,
        open_search: OpenSearch,
        progress: Progress,
        threads: int,
        announce: Callable[[CommittedBatch], None] = lambda _: None,
        *,
        frames: bool = True,
    ) -> None:
        """``frames``: whether pictures that share a part are found."""
        self._database = database
        self.stores = stores
        self._pool = pool
        self._announce = announce
        self._progress = progress
        self.looking = Looking(database, stores, pool.detail, pool.pixels, progress, threads)
        self.comparing = Comparing(database, stores, limits, open_search, progress, threads, self.looking)
        self.parting = Parting(
            database, stores, lambda: self.comparing.limits, self.looking, progress, threads, enabled=frames
        )
        self.renewal = Renewal(database, stores, pool, self.comparing, self.looking, progress)

    def take_in(self, roots: Sequence[bytes]) -> int:
        """Read all pending files under the roots; returns how many were still being written and stay pending."""
        self.comparing.compare_anew_if_needed()
        pending = sum(files.count_pending(self._database, root) for root in roots)
        self._progress.stage("indexing", pending)
        self.parting.expect(pending)
        try:
            for _ in range(_PASSES):
                unsettled = self._pass_over(roots)
                if not unsettled.deferred:  # otherwise the file that was to be decoded for them changed or vanished
                    break
        finally:
            self.parting.expect(0)
        return unsettled.changing + unsettled.deferred

    def try_again(self) -> None:
        """What could not be read for a better verdict may be there again."""
        self.looking.expect_any()
        self.renewal.begin_round()

    def improve(self, roots: Sequence[bytes], seconds: float) -> bool:
        """Do a little of what may wait; returns whether there is more. The roots are in force and online."""
        if self.renewal.renew_some(roots):
            return True
        if self.parting.find_some():
            self.looking.look_at_new()
            return True
        return self.looking.confirm_for(seconds)

    def mend_thumbnails(self) -> int:
        """Forget the pictures whose thumbnails are lost, so that their photos are read again; returns how many.

        Raises StateError if the blocks cannot be read or written at all.
        """
        self.comparing.start_anew()  # what was read of the blocks may be wrong
        lost = forget_lost_thumbnails(self._database, self.stores.thumbnails, self.comparing.limits, self._progress)
        self.stores.proofs.remove(lost)
        self.parting.forget(lost)
        return len(lost)

    def forget(self, gone: Sequence[PictureId]) -> None:
        """Forget pictures that have been removed from the database."""
        self.stores.proofs.remove(gone)
        self.comparing.forget(gone)
        self.parting.forget(gone)

    def _pass_over(self, roots: Sequence[bytes]) -> _Unsettled:
        claimed: set[ContentKey] = set()  # contents that a worker decodes in this pass
        batch: list[Outcome] = []
        unsettled = _Unsettled()
        decoded = 0
        deadline = time.monotonic() + _BATCH_SECONDS

        def known(job: Job, digest: bytes) -> bool:
            key = (digest, way_of_reading(job.path))
            if key in claimed or pictures.content_ids(self._database, [key]):
                return True
            claimed.add(key)
            return False

        try:
            with closing(self._pool.index(self._pending(roots), known)) as outcomes:
                for outcome in outcomes:
                    batch.append(outcome)
                    decoded += outcome.status is ReadStatus.DECODED
                    unsettled.changing += outcome.status is ReadStatus.CHANGED
                    self._progress.advance(1)
                    if decoded >= _BATCH_PICTURES or time.monotonic() >= deadline:
                        batch, taken = [], batch  # if this commit fails, it is not tried again below
                        began = time.monotonic()
                        batch = self._commit(taken)
                        decoded = 0
                        now = time.monotonic()
                        deadline = now + max(_BATCH_SECONDS, now - began)
        finally:
            # when interrupted, too, the outcomes that have come in are kept
            unsettled.deferred = len(self._commit(batch))
        return unsettled

    def _pending(self, roots: Sequence[bytes]) -> Iterator[Job]:
        for root in roots:
            last = FileId(-1)
            while jobs := files.pending_jobs(self._database, root, last, _JOBS_AT_ONCE):
                yield from jobs
                last = jobs[-1].file_id

    def _commit(self, outcomes: list[Outcome]) -> list[Outcome]:
        """Make a batch durable; returns the outcomes that wait for another file with their content to be decoded."""
        new = [(outcome, outcome.decoded) for outcome in outcomes if outcome.decoded is not None]
        placed = place(self._database, self.stores, [decoded for _, decoded in new])
        gathering = self.comparing.gathered(placed)
        contents = {
            key: NewContent.of(key, picture_id, decoded)
            for (outcome, decoded), picture_id in zip(new, placed.ids, strict=True)
            if (key := _key(outcome)) is not None
        } | {
            key: NewContent(
                key, None, None, None, None, outcome.error or "", outcome.status is not ReadStatus.NOT_A_PICTURE
            )
            for outcome in outcomes
            if outcome.status in (ReadStatus.FAILED, ReadStatus.NOT_A_PICTURE) and (key := _key(outcome)) is not None
        }
        with self.comparing.transaction():
            placed.add_to(self._database)
            deferred = self._settle(outcomes, contents)
            self.comparing.store(gathering)
            self.looking.expect_contents()
        self.comparing.add(placed)
        try:
            if placed.proved:
                self.looking.expect_any()
            digests = {one.picture_id: one.proof_digest for one in placed.fresh if one.proof_digest and not one.flat}
            self.parting.take(
                {one: decoded for one, (_, decoded) in zip(placed.ids, new, strict=True) if one in digests}, digests
            )
            self.looking.look_at_new()
        finally:
            self._tell(outcomes, deferred)
        return deferred

    def _tell(self, outcomes: list[Outcome], deferred: list[Outcome]) -> None:
        waiting = {id(outcome) for outcome in deferred}
        settled = [outcome for outcome in outcomes if id(outcome) not in waiting]
        if settled:
            self._announce(
                CommittedBatch(settled, pictures.of_files(self._database, [one.job.file_id for one in settled]))
            )

    def _settle(self, outcomes: list[Outcome], contents: dict[ContentKey, NewContent]) -> list[Outcome]:
        """Store the outcome of each file; returns the outcomes that wait for a content that is not stored yet."""
        database = self._database
        keys = {id(outcome): _key(outcome) for outcome in outcomes}
        content_ids = pictures.content_ids(database, [key for key in keys.values() if key is not None])
        deferred: list[Outcome] = []
        for outcome in outcomes:
            file_id, listed, key = outcome.job.file_id, outcome.job.stamp, keys[id(outcome)]
            stamp = outcome.stamp or listed
            if outcome.status is ReadStatus.VANISHED:
                files.look_again(
                    database, file_id
                )  # its disk may come back, with the folder as it was when it was listed
                files.remove(database, file_id)
            elif outcome.status is ReadStatus.CHANGED:
                pass  # stays pending
            elif key is None:
                error = outcome.error if outcome.status is ReadStatus.UNREADABLE else None
                files.settle(database, file_id, stamp, None, error)
            else:
                if key not in content_ids and key in contents:
                    content_ids[key] = pictures.add_content(database, contents[key])
                if key in content_ids:
                    files.settle(database, file_id, stamp, content_ids[key], None)
                else:
                    deferred.append(outcome)
            if (stamp.size_bytes, stamp.mtime_ns) != (listed.size_bytes, listed.mtime_ns):
                files.look_again(database, file_id)
        return deferred


def _key(outcome: Outcome) -> ContentKey | None:
    return None if outcome.digest is None else (outcome.digest, way_of_reading(outcome.job.path))
