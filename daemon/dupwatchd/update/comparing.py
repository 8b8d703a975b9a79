"""The search among all known pictures, and the stored matches: pictures go in, changes of the database come out.

The thread that updates the index changes the search; `find` may be called from any thread.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import compress
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from dupwatch.terminal import counted
from dupwatchd.arrays import Matches, Thumbnail, with_room
from dupwatchd.blocks.store import CheckedThumbnails, Digests, Stores, as_digests
from dupwatchd.compare.forest.gathering import Gathering, StoredRow
from dupwatchd.compare.measures import descriptors, exact
from dupwatchd.compare.measures.exact import ReadThumbnails
from dupwatchd.compare.search import Search, load_verdicts
from dupwatchd.db import facts, parts, pictures
from dupwatchd.db.connection import Database
from dupwatchd.db.pictures import MatchRow
from dupwatchd.errors import DamagedBlocksError
from dupwatchd.model import Limits, PictureId, Progress
from dupwatchd.update.looking import Looking
from dupwatchd.update.placing import Placed

_log = logging.getLogger("dupwatchd")
_COMPARE_AT_ONCE = 8192
_READ_AT_ONCE = 65_536  # descriptors: 8 MB

T = TypeVar("T")
OpenSearch = Callable[[Limits, ReadThumbnails], Search]


class Comparing:
    """Compares the pictures of one state directory, and keeps the matches there."""

    def __init__(
        self,
        database: Database,
        stores: Stores,
        limits: Limits,
        open_search: OpenSearch,
        progress: Progress,
        threads: int,
        looking: Looking,
    ) -> None:
        """``looking`` is told which matches are stored that may have to be looked at again."""
        self._looking = looking
        self._database = database
        self._stores = stores
        self._limits = limits
        self._open_search = open_search
        self._progress = progress
        self._threads = threads
        self._lock = threading.RLock()  # held while the search is used or changed
        self._search: Search | None = None
        # By picture, of its thumbnail: `find` checks what it reads on any thread, without asking the database.
        self._digests: Digests = np.empty(0, np.uint64)
        self._thumbnails = CheckedThumbnails(stores.thumbnails, lambda ids: self._digests[np.asarray(ids, np.int64)])
        # By picture: how far its nearest matches reach, so that a new one in a crowd loads few of the stored ones.
        self._reach = np.empty(0)
        self._new_prefixes: dict[int, int] = {}  # of pictures that are not in the database yet

    def compare_anew_if_needed(self) -> None:
        """Compare all pictures if the settings ask for more (thresholds, mirror images) than was compared before."""
        self._ready_search()

    def be_ready(self) -> None:
        """`compare_anew_if_needed`, and make one comparison: the first one builds trees and is slow, half a second.

        What looks at matches again is loaded, too.
        """
        load_verdicts()
        search = self._ready_search()
        last = self._thumbnails.read(pictures.searchable(self._database)[-1:])
        if len(last):
            with self._lock:
                Matches.joined(search.match([PictureId(-1)], last, descriptors.describe(last)))

    @property
    def can_find(self) -> bool:
        """Whether `find` looks among all pictures; until the search is ready it knows none."""
        return self._search is not None

    def find(self, thumbnail: Thumbnail) -> Matches:
        """The matches of a picture (S, S, 3) that need not be known; its id in them is -1. Any thread may call this.

        It must not be flat.
        """
        described = descriptors.describe(thumbnail[None])
        with self._lock:
            if self._search is None:
                return Matches.none()
            return Matches.joined(self._search.match([PictureId(-1)], thumbnail[None], described))

    def measure(self, a: int, b: int, *, mirrored: bool) -> tuple[float, float, int, bool]:
        """How far two pictures are apart: mse, structure, turn and mirroring as `exact.measure_best` gives them."""
        [found] = exact.measure_best(self._thumbnails.read, [(a, b)], "structure", mirrored=mirrored)
        return found

    def gathered(self, placed: Placed) -> Gathering:
        """All matches of new pictures, to be stored by `store` once the pictures are in the database."""
        search = self._ready_search()
        self._new_prefixes = {one.picture_id: pictures.digest_prefix(one.digest) for one in placed.fresh}
        chosen = placed.searchable
        with self._lock:
            return self._gather(
                search.match(placed.searchable_ids, placed.thumbnails[chosen], placed.described[chosen])
            )

    def store(self, gathering: Gathering) -> None:
        """Store and remove matches, within a `transaction`."""
        near = [row[:3] for row in self._stored(gathering) if row[6]]
        ends = np.array(near, np.int64).reshape(-1, 3)[:, :2]
        crowded = np.isfinite(np.max(self._reach[ends], axis=1))
        # Where one of both has room for more matches, this one stays near for now.
        passing = set(compress(near, crowded.tolist()))
        self._looking.expect(set(near) - passing, passing)

    def _stored(self, gathering: Gathering) -> Sequence[StoredRow]:
        changes = gathering.changes()
        pictures.remove_matches(self._database, changes.needless)
        pictures.add_matches(self._database, changes.new)
        self._reach = gathering.reach
        return changes.new

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A transaction of the database around `store`."""
        try:
            with self._database.transaction():
                yield
        except BaseException:
            self._reach = np.empty(0)  # it may tell of matches that are not stored now
            raise

    def add(self, placed: Placed) -> None:
        """Make new pictures known to the search, after their transaction."""
        self._new_prefixes = {}
        with self._lock:
            self._note_digests(placed.searchable_ids, placed.digests[placed.searchable])
            self._ready_search().add(placed.searchable_ids, placed.described[placed.searchable])

    def forget(self, gone: Sequence[PictureId]) -> None:
        """Take pictures out of the search that have been removed from the database."""
        self._know_nothing_of(gone)
        if self._search is not None:
            with self._lock:
                self._search.remove(gone)

    def start_anew(self) -> None:
        """Load what is known again before the next search."""
        with self._lock:
            self._search = None
            self._reach = np.empty(0)

    def rejoin(self) -> None:
        """Search again for pictures whose links to others went through a picture that is gone."""
        search = self._ready_search()
        lost = pictures.to_rejoin(self._database)
        self._progress.stage("comparing", len(lost), "pictures")
        self._know_nothing_of(lost)
        for ids in _parts(lost, _COMPARE_AT_ONCE):
            with self._lock:
                gathering = self._gather(search.match_known(ids, self._threads))
            with self.transaction():
                self.store(gathering)
                pictures.rejoined(self._database, ids)
            self._progress.advance(len(ids))

    def _know_nothing_of(self, ids: Sequence[PictureId]) -> None:
        if len(self._reach) and ids:
            places = np.array(ids)
            self._reach[places[places < len(self._reach)]] = np.inf

    def _gather(self, matches: Iterable[Matches]) -> Gathering:
        gathering = Gathering(self.limits, _Stored(self._database), self._prefixes, self._reach)
        for part in matches:
            gathering.add(part)
        return gathering

    def _prefixes(self, ids: NDArray[np.int64]) -> NDArray[np.uint64]:
        wanted = ids.tolist()
        found = pictures.digest_prefixes(self._database, wanted) | self._new_prefixes
        return np.array([found[one] for one in wanted], np.uint64)

    @property
    def limits(self) -> Limits:
        """The limits of comparing: as wide as is asked for now and was ever compared."""
        compared = facts.compared_within(self._database)
        return self._limits.widened(compared) if compared else self._limits

    def _ready_search(self) -> Search:
        """The search among all known pictures; compares all of them anew if more is asked for than was compared."""
        if self._search is not None:
            return self._search
        limits = self.limits
        if self._stores.thumbnails.is_cut_short(pictures.count_slots(self._database)):
            raise DamagedBlocksError("thumbnails are missing from the blocks; run `dupwatchd check --repair`")
        known = pictures.searchable(self._database)
        for ids in _parts(known, _READ_AT_ONCE):
            self._note_digests(ids, as_digests(pictures.thumbnail_digests(self._database, ids)))
        search = self._search_of(known, limits)
        if facts.compared_within(self._database) != limits:
            self._compare_anew(search, known, limits)
        self._search = search
        return search

    def _search_of(self, known: list[PictureId], limits: Limits) -> Search:
        is_current = facts.read(self._database).get("descriptors") == descriptors.VERSION
        lost_count = 0
        search = self._open_search(limits, self._thumbnails.read)
        for ids in _parts(known, _READ_AT_ONCE):
            digests = self._digests[np.array(ids, np.int64)]
            described, sound = self._stores.descriptors.read(ids, digests)
            lost_count += int(np.count_nonzero(~sound))
            for rows in _parts(np.flatnonzero(~(sound & is_current)).tolist(), _COMPARE_AT_ONCE):
                lost = [ids[row] for row in rows]
                described[rows] = descriptors.describe(self._thumbnails.read(lost))
                self._stores.descriptors.write(lost, described[rows], digests[rows])
            search.add(ids, described)
        self._stores.descriptors.sync()
        if not is_current:
            facts.write(self._database, {"descriptors": descriptors.VERSION})
        elif lost_count:
            _log.warning("%s in the blocks were damaged and were made again", counted(lost_count, "descriptor"))
        return search

    def _note_digests(self, ids: Sequence[PictureId], digests: Digests) -> None:
        self._digests = with_room(self._digests, max(ids, default=-1) + 1)
        self._digests[np.array(ids, np.int64)] = digests

    def _compare_anew(self, search: Search, known: list[PictureId], limits: Limits) -> None:
        if known:
            self._progress.stage("comparing", len(known), "pictures")
        with self.transaction():
            pictures.set_verdicts_aside(self._database)
            pictures.remove_all_matches(self._database)
            facts.write_compared(self._database, limits)
            parts.limits_changed(self._database, limits)
            for count, matches in search.match_all(known, self._threads):
                self._stored(self._gather(matches))
                self._progress.advance(count)
            pictures.bring_verdicts_back(self._database)
        self._looking.expect_any()


class _Stored:
    """The matches in the database, as `Gathering` asks for them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def around(self, picture_ids: list[int]) -> list[MatchRow]:
        return pictures.matches_around(self._database, picture_ids)

    def beside(self, picture_ids: list[int]) -> list[MatchRow]:
        return pictures.matches_beside(self._database, picture_ids)


def _parts(ids: list[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(ids), size):
        yield ids[start : start + size]
