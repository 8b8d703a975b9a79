"""Takes pending files in: index → blocks → compare → db. They become contents, pictures and matches, batch by batch.

The order within a batch: its thumbnails are written and synced, then one transaction stores them together with their
files and matches. If that transaction does not happen, nothing of the batch counts.

The intake owns the search among all known pictures. The updater changes the search; any thread may call `find`.
"""

import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dupwatchd.arrays import Matches, Thumbnail, Thumbnails
from dupwatchd.blocks.store import Stores, thumbnail_digest
from dupwatchd.compare.forest.gathering import Gathering
from dupwatchd.compare.measures import descriptors, exact
from dupwatchd.compare.measures.descriptors import Descriptors
from dupwatchd.compare.measures.exact import ReadThumbnails
from dupwatchd.compare.search import Search
from dupwatchd.db import facts, files, pictures
from dupwatchd.db.connection import Database
from dupwatchd.db.pictures import ContentKey, NewContent, NewPicture
from dupwatchd.errors import DamagedStateError
from dupwatchd.model import Decoded, FileId, Job, Limits, Outcome, PictureId, Progress, ReadStatus
from dupwatchd.suffixes import way_of_reading

_BATCH_SECONDS = 2.0  # of work that a kill loses at most, beside the files being decoded
_BATCH_PICTURES = 1024  # thumbnails held in memory: 3 MB at 32 px
_JOBS_AT_ONCE = 1000
_COMPARE_AT_ONCE = 8192
_READ_AT_ONCE = 65_536  # descriptors: 8 MB
_PASSES = 3


OpenSearch = Callable[[Limits, ReadThumbnails], Search]


class Pool(Protocol):
    """Reads and decodes files: `index.pool.WorkerPool`."""

    def index(self, jobs: Iterable[Job], known: Callable[[Job, bytes], bool]) -> Generator[Outcome, None, None]:
        """The outcome of each job, in any order; ``known`` says of a job and its digest that it need not be decoded."""


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
    ) -> None:
        self._database = database
        self._open_search = open_search
        self._stores = stores
        self._pool = pool
        self._threads = threads
        self._announce = announce
        self._lock = threading.RLock()  # held while the search is used or changed
        self._limits = limits
        self._progress = progress
        self._search: Search | None = None

    def take_in(self, roots: Sequence[bytes]) -> int:
        """Read all pending files under the roots; returns how many were still being written and stay pending."""
        search = self._ready_search()
        self._progress.stage("indexing", sum(files.count_pending(self._database, root) for root in roots))
        for _ in range(_PASSES):
            unsettled = self._pass_over(roots, search)
            if not unsettled.deferred:  # otherwise the file that was to be decoded for them changed or vanished
                break
        return unsettled.changing + unsettled.deferred

    def compare_anew_if_needed(self) -> None:
        """Compare all pictures if the settings ask for more (thresholds, mirror images) than was compared before."""
        self._ready_search()

    def be_ready(self) -> None:
        """`compare_anew_if_needed`, and make one comparison: the first one builds trees and is slow, half a second."""
        search = self._ready_search()
        last = self._stores.thumbnails.read(pictures.searchable(self._database)[-1:])
        if len(last):
            with self._lock:
                Matches.joined(search.match([PictureId(-1)], last, descriptors.describe(last)))

    @property
    def can_find(self) -> bool:
        """Whether `find` looks among all pictures; until the search is ready it knows none."""
        return self._search is not None

    def forget(self, gone: Sequence[PictureId]) -> None:
        """Take pictures out of the search that have been removed from the database."""
        if self._search is not None:
            with self._lock:
                self._search.remove(gone)

    def find(self, thumbnail: Thumbnail) -> Matches:
        """The matches of a picture (S, S, 3) that need not be known; its id in them is -1. Any thread may call this."""
        if self._search is None or exact.flat(thumbnail[None])[0]:
            return Matches.none()
        described = descriptors.describe(thumbnail[None])
        with self._lock:
            return Matches.joined(self._search.match([PictureId(-1)], thumbnail[None], described))

    def measure(self, a: int, b: int, *, mirrored: bool) -> tuple[float, float, int, bool]:
        """How far two pictures are apart: mse, structure, turn and mirroring as `exact.measure_best` gives them."""
        [found] = exact.measure_best(self._stores.thumbnails.read, [(a, b)], "structure", mirrored=mirrored)
        return found

    def rejoin(self) -> None:
        """Search again for pictures whose links to others went through a picture that is gone."""
        search = self._ready_search()
        lost = pictures.to_rejoin(self._database)
        self._progress.stage("comparing", len(lost))
        for ids in _parts(lost, _COMPARE_AT_ONCE):
            with self._lock:
                gathering = self._gathered(search.match_known(ids, self._threads))
            with self._database.transaction():
                self._store(gathering)
                pictures.rejoined(self._database, ids)
            self._progress.advance(len(ids))

    def _pass_over(self, roots: Sequence[bytes], search: Search) -> _Unsettled:
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
                        batch = self._commit(taken, search)
                        decoded = 0
                        deadline = time.monotonic() + _BATCH_SECONDS
        finally:
            # when interrupted, too, the outcomes that have come in are kept
            unsettled.deferred = len(self._commit(batch, search))
        return unsettled

    def _pending(self, roots: Sequence[bytes]) -> Iterator[Job]:
        for root in roots:
            last = FileId(-1)
            while jobs := files.pending_jobs(self._database, root, last, _JOBS_AT_ONCE):
                yield from jobs
                last = jobs[-1].file_id

    def _commit(self, outcomes: list[Outcome], search: Search) -> list[Outcome]:
        """Make a batch durable; returns the outcomes that wait for another file with their content to be decoded."""
        new = [(outcome, outcome.decoded) for outcome in outcomes if outcome.decoded is not None]
        picture_of, fresh, thumbnails, described = self._place([decoded for _, decoded in new])
        searchable = np.array([not picture.flat for picture in fresh], bool)
        ids = [picture.picture_id for picture in fresh if not picture.flat]
        with self._lock:
            gathering = self._gathered(search.match(ids, thumbnails[searchable], described[searchable]))
        contents = {
            key: NewContent(key, picture_id, decoded.width, decoded.height, decoded.format, None)
            for (outcome, decoded), picture_id in zip(new, picture_of, strict=True)
            if (key := _key(outcome)) is not None
        } | {
            key: NewContent(
                key, None, None, None, None, outcome.error or "", outcome.status is not ReadStatus.NOT_A_PICTURE
            )
            for outcome in outcomes
            if outcome.status in (ReadStatus.FAILED, ReadStatus.NOT_A_PICTURE) and (key := _key(outcome)) is not None
        }
        with self._database.transaction():
            pictures.add_pictures(self._database, fresh)
            deferred = self._settle(outcomes, contents)
            self._store(gathering)
        with self._lock:
            search.add(ids, described[searchable])
        self._tell(outcomes, deferred)
        return deferred

    def _tell(self, outcomes: list[Outcome], deferred: list[Outcome]) -> None:
        waiting = {id(outcome) for outcome in deferred}
        settled = [outcome for outcome in outcomes if id(outcome) not in waiting]
        if settled:
            self._announce(
                CommittedBatch(settled, pictures.of_files(self._database, [one.job.file_id for one in settled]))
            )

    def _gathered(self, matches: Iterable[Matches]) -> Gathering:
        gathering = Gathering(self._ready_limits(), self._stored_around)
        for part in matches:
            gathering.add(part)
        return gathering

    def _stored_around(self, ids: list[int]) -> Matches:
        return Matches.from_rows(pictures.matches_around(self._database, ids))

    def _store(self, gathering: Gathering) -> None:
        """Store and remove matches, within the caller's transaction."""
        new, needless = gathering.changes()
        pictures.remove_matches(self._database, [row[:3] for row in needless.rows()])
        pictures.add_matches(self._database, new.rows())

    def _place(self, decoded: list[Decoded]) -> tuple[list[PictureId], list[NewPicture], Thumbnails, Descriptors]:
        """Find or make the picture of each decoded content.

        Returns the picture of each, the new pictures, and their thumbnails (N, S, S, 3) and descriptors (N, 32),
        which then lie in the blocks and are durable.
        """
        digests = [thumbnail_digest(one.thumbnail) for one in decoded]
        ids = pictures.picture_ids(self._database, set(digests))
        fresh = {digest: one for digest, one in zip(digests, decoded, strict=True) if digest not in ids}
        if not fresh:
            nothing = self._stores.thumbnails.read([])
            return [ids[digest] for digest in digests], [], nothing, descriptors.describe(nothing)
        slots = pictures.next_slots(self._database, len(fresh))
        thumbnails = np.stack([one.thumbnail for one in fresh.values()])
        described = descriptors.describe(thumbnails)
        for store, values in ((self._stores.thumbnails, thumbnails), (self._stores.descriptors, described)):
            store.write(slots, values)
            store.sync()
        made = [
            NewPicture(slot, digest, bool(flat))
            for slot, digest, flat in zip(slots, fresh, exact.flat(thumbnails), strict=True)
        ]
        ids.update((picture.digest, picture.picture_id) for picture in made)
        return [ids[digest] for digest in digests], made, thumbnails, described

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

    def _ready_limits(self) -> Limits:
        """The limits of comparing: as wide as is asked for now and was ever compared."""
        compared = facts.compared_within(self._database)
        return self._limits.widened(compared) if compared else self._limits

    def _ready_search(self) -> Search:
        """The search among all known pictures; compares all of them anew if more is asked for than was compared."""
        if self._search is not None:
            return self._search
        limits = self._ready_limits()
        known = pictures.searchable(self._database)
        if facts.read(self._database).get("descriptors") != descriptors.VERSION:
            self._describe_anew(known)
        try:
            search = self._search_of(known, limits)
        except DamagedStateError:  # descriptors are lost; they can be made again from the thumbnails
            self._describe_anew(known)
            search = self._search_of(known, limits)
        if facts.compared_within(self._database) != limits:
            self._compare_anew(search, known, limits)
        self._search = search
        return search

    def _search_of(self, known: list[PictureId], limits: Limits) -> Search:
        search = self._open_search(limits, self._stores.thumbnails.read)
        for ids in _parts(known, _READ_AT_ONCE):
            search.add(ids, self._stores.descriptors.read(ids))
        return search

    def _describe_anew(self, known: list[PictureId]) -> None:
        for ids in _parts(known, _COMPARE_AT_ONCE):
            self._stores.descriptors.write(ids, descriptors.describe(self._stores.thumbnails.read(ids)))
        self._stores.descriptors.sync()
        facts.write(self._database, {"descriptors": descriptors.VERSION})

    def _compare_anew(self, search: Search, known: list[PictureId], limits: Limits) -> None:
        if known:
            self._progress.stage("comparing", len(known))
        with self._database.transaction():
            pictures.remove_all_matches(self._database)
            facts.write_compared(self._database, limits)
            for count, matches in search.match_all(known, self._threads):
                self._store(self._gathered(matches))
                self._progress.advance(count)


def _key(outcome: Outcome) -> ContentKey | None:
    return None if outcome.digest is None else (outcome.digest, way_of_reading(outcome.job.path))


def _parts(ids: list[PictureId], size: int) -> Iterator[list[PictureId]]:
    for start in range(0, len(ids), size):
        yield ids[start : start + size]
