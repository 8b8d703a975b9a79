"""Finds pictures that share a part: proofs go in, the pairs that are to be looked at come out, in the database.

A picture that was not searched yet, because it is new, or was indexed before there were keypoints, or because another
one that had a place among its best has gone, is marked so in the database. The keypoints of a new picture come
with it, others are made from the proof. They are stored; then what was found and the mark are committed together. So it
does not matter who is interrupted or killed when, nor in which order and how many at once pictures are searched.

The thread that updates the index changes the search; `find` may be called from any thread.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING

from dupwatchd.blocks.store import CheckedThumbnails, Stores, as_digests
from dupwatchd.compare import search
from dupwatchd.compare.measures import exact
from dupwatchd.compare.parts.nearest import BestParts
from dupwatchd.db import facts, parts, pictures
from dupwatchd.db.connection import Database
from dupwatchd.db.parts import PartRow
from dupwatchd.model import Decoded, Limits, PictureId, Progress
from dupwatchd.update.looking import Looking

if TYPE_CHECKING:  # OpenCV takes a tenth of a second to load
    from dupwatchd.compare.parts.search import PartSearch
    from dupwatchd.pixels.keypoints import Keypoints

_AT_ONCE = 512  # pictures; with their proofs some 40 MB
_AT_A_TIME = 64  # when there is nothing else to do: a new photo waits for no more of them
_LOADED_AT_ONCE = 8_192
_PAIRS_AT_ONCE = 16_384


class Parting:
    """Finds what shares a part in one state directory; used by the thread that writes to the database."""

    def __init__(
        self,
        database: Database,
        stores: Stores,
        limits: Callable[[], Limits],
        looking: Looking,
        progress: Progress,
        threads: int,
        *,
        enabled: bool,
    ) -> None:
        """``limits``: what counts as a match. Unless ``enabled`` nothing is searched, and what was found stays."""
        self._database = database
        self._stores = stores
        self._limits = limits
        self._looking = looking
        self._progress = progress
        self._threads = threads
        self._enabled = enabled
        self._thumbnails = CheckedThumbnails(
            stores.thumbnails, lambda ids: as_digests(pictures.thumbnail_digests(database, ids))
        )
        self._lock = threading.Lock()  # held while the search is used or changed
        self._search: PartSearch | None = None
        self._best = 0  # so many of the best pairs of each picture are kept
        self._expected = 0  # pictures that are still to come, as far as that is known

    def be_ready(self) -> None:
        """Load the keypoints of all pictures, so that the first new one need not wait for it."""
        if self._enabled:
            ready = self._ready_search()
            with self._lock:
                ready.be_ready()

    def expect(self, pictures: int) -> None:
        """About so many new pictures are going to be taken, some at a time; 0: no more."""
        self._expected = pictures

    def take(self, new: Mapping[PictureId, Decoded], digests: Mapping[PictureId, bytes]) -> None:
        """Search for new pictures, whose keypoints come with them; ``digests`` are those of their proofs."""
        if not self._enabled or not new:
            return
        self._expected = max(0, self._expected - len(new))
        # a decode process may have made none, or been taken over by a picture
        read = search.read_keypoints_of_each([decoded.keypoints for decoded in new.values()])
        keypoints = dict(zip(new, read, strict=True))
        lost = {one: new[one].proof for one, found in keypoints.items() if found is None}
        self._find(
            digests,
            {one: found for one, found in keypoints.items() if found is not None} | self._keypoints(lost),
        )

    def find_all(self) -> None:
        """Search for all pictures that were not searched yet."""
        if not self._enabled or not parts.any_to_search(self._database):
            return
        self._progress.stage("finding shared parts", parts.count_to_search(self._database), "pictures")
        while count := self._find_next(_AT_ONCE):
            self._progress.advance(count)

    def find_some(self) -> bool:
        """Search for some of them; returns whether there were any."""
        return self._enabled and self._find_next(_AT_A_TIME) > 0

    def find(self, keypoints: "Keypoints") -> list[tuple[PictureId, int]]:
        """The pictures that most likely share a part with one that need not be known, and how many keypoints agree.

        Nothing is found while the pictures are not loaded. Any thread may call this.
        """
        asked = PictureId(-1)
        with self._lock:
            found = [] if self._search is None else [*self._search.match([asked], [keypoints], self._best)]
        return [(other, votes) for _, other, votes in found]

    def forget(self, gone: Sequence[PictureId]) -> None:
        """Take pictures out of the search that have been removed from the database."""
        if self._search is not None:
            with self._lock:
                self._search.remove(gone)

    def start_anew(self) -> None:
        """Load what is known again before the next search."""
        with self._lock:
            self._search = None

    def _find_next(self, count: int) -> int:
        expected = parts.to_search(self._database, count)
        if expected:
            self._find(expected, self._keypoints(dict(self._stores.proofs.read(expected))))
        return len(expected)

    def _find(self, digests: Mapping[PictureId, bytes], keypoints: "Mapping[PictureId, Keypoints]") -> None:
        """Search for pictures, given the digests of their proofs and their keypoints, as far as they could be made."""
        known = self._ready_search()
        self._stores.proofs.write_keypoints({one: (digests[one], found.to_bytes()) for one, found in keypoints.items()})
        ids = list(keypoints)
        database = self._database
        limits = self._limits()
        best = BestParts(
            limits.looks_per_picture,
            lambda some: parts.beside(database, some),
            lambda some: parts.digests(database, some),
        )
        with self._lock:
            known.remove(ids)
            found = known.match(ids, list(keypoints.values()), limits.looks_per_picture, self._expected)
            while some := [(int(a), int(b), votes) for a, b, votes in islice(found, _PAIRS_AT_ONCE)]:
                best.add(some)
        changes = best.changes()
        rows = list(self._measured(changes.new, limits))
        with database.transaction():
            parts.store(database, rows, changes.needless)
            parts.mark_searched(database, ids)
            pictures.forget_proofs(database, digests.keys() - keypoints.keys())  # they are made again from the photos
        with self._lock:
            known.add(ids, list(keypoints.values()), best.reach(ids))
        self._looking.expect_parts([(a, b) for a, b, *_, is_match in rows if not is_match])

    def _keypoints(self, proofs: Mapping[PictureId, bytes]) -> "dict[PictureId, Keypoints]":
        """The keypoints of each picture whose proof can be read, made on all processors."""
        if not proofs:
            return {}
        with ThreadPoolExecutor(self._threads) as pool:
            made = list(pool.map(_keypoints_of, proofs.values()))
        return {one: found for one, found in zip(proofs, made, strict=True) if found is not None}

    def _measured(self, pairs: Sequence[tuple[int, int, int]], limits: Limits) -> Iterator[PartRow]:
        """The pairs as they are stored."""
        for start in range(0, len(pairs), _AT_ONCE):
            some = pairs[start : start + _AT_ONCE]
            first, second = (self._thumbnails.read([pair[end] for pair in some]) for end in (0, 1))
            values = exact.measure_pairs(first, second, mirrored=False)
            within = (values.mse <= limits.keep_mse) | (values.structure <= limits.keep_structure)
            for pair, *rest in zip(
                some, values.mse.tolist(), values.structure.tolist(), within.astype(int).tolist(), strict=True
            ):
                yield (*pair, *rest)

    def _ready_search(self) -> "PartSearch":
        """The search among all pictures that were searched; those whose keypoints are lost are searched again."""
        if self._search is not None:
            return self._search
        version = search.keypoints_version()
        if facts.read(self._database).get("keypoints") != version:
            with self._database.transaction():
                parts.forget_all(self._database)
                facts.write(self._database, {"keypoints": version})
        opened = search.open_part_search()
        best = self._limits().looks_per_picture
        reach = parts.reach(self._database, best)
        last = -1
        while expected := parts.searched(self._database, last, _LOADED_AT_ONCE):
            last = max(expected)
            stored = dict(self._stores.proofs.read_keypoints(expected))
            lost = expected.keys() - stored.keys()
            if lost:
                with self._database.transaction():
                    parts.search_again(self._database, lost)
            opened.add_stored(list(stored), list(stored.values()), [reach.get(one, 0) for one in stored])
        with self._lock:
            self._search, self._best = opened, best
        return opened


def _keypoints_of(proof: bytes) -> "Keypoints | None":
    try:
        return search.keypoints_of(search.read_proof(proof))
    except ValueError:  # made by another version
        return None
