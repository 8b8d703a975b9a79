"""Which of the known pictures may match others: never fewer than do, and few more.

The latest known pictures are compared one by one, as matrix products of lengths. As soon as they are many they are
sealed into a segment with a tree for each measure; segments of similar size are merged, so that there are few (a
binary counter: each picture is built into a tree as often as the library has doubled since).

Both ways end in the same test on the 16 numbers of a descriptor in each orientation that can match.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dupwatchd.compare.measures import descriptors
from dupwatchd.compare.measures.descriptors import MSE, STRUCTURE, DescriptorHalf, Descriptors
from dupwatchd.model import Limits

if TYPE_CHECKING:  # numba takes 0.3 s to load: only libraries that have a use for it pay that
    from dupwatchd.compare.tree.boxtree import BoxTree

_TAIL = 4096  # so many are compared one by one in 25 µs a picture
_KNOWN_AT_ONCE = 4096  # × _NEW_AT_ONCE × 4 bytes = 4 MB a product
_NEW_AT_ONCE = 256
_FIRST_CAPACITY = 4096
_BLOCK = 4096  # new pictures looked up at once, by each thread
_CROWDED = 16  # one of so many places taken: better a table of all places than a list of those taken
_MOST_PAIRS = 1 << 22  # held at once; more are found with fewer new pictures at a time

Rows = NDArray[np.int64]
Pairs = tuple[Rows, Rows]  # rows of new pictures, rows of known ones


@dataclass(frozen=True)
class _Segment:
    """Known pictures start ... stop in trees, one per measure."""

    start: int
    stop: int
    trees: tuple["BoxTree", "BoxTree"]


class Candidates:
    """The descriptors of all known pictures, 128 bytes each, and about 200 in trees.

    Rows count from 0 in order of `add`; a removed picture keeps its row.
    """

    def __init__(self, limits: Limits) -> None:
        self._halves = (
            (STRUCTURE, limits.keep_structure + STRUCTURE.slack),
            (MSE, limits.keep_mse + MSE.slack),
        )
        self._mirrored = (False, True) if limits.mirrored else (False,)
        self._known = np.empty((_FIRST_CAPACITY, 32), np.float32)  # canonical
        self._alive = np.empty(_FIRST_CAPACITY, bool)
        self._count = 0
        self._segments: list[_Segment] = []

    def add(self, described: Descriptors) -> None:
        """Make pictures known."""
        needed = self._count + len(described)
        if needed > len(self._known):
            capacity = max(needed, 5 * len(self._known) // 4)
            self._known, self._alive = np.resize(self._known, (capacity, 32)), np.resize(self._alive, capacity)
        self._alive[self._count : needed] = True
        for half, _ in self._halves:
            self._known[self._count : needed, half.columns] = descriptors.canonical(described[:, half.columns], half)
        self._count = needed

    def remove(self, rows: Rows) -> None:
        """Make pictures unknown."""
        self._alive[rows] = False

    def known(self, rows: Rows) -> Descriptors:
        """Their descriptors (N, 32), turned in whatever way suited."""
        return self._known[rows]

    def in_order(self) -> Rows:
        """All rows, removed ones too, those of similar pictures together: the quickest order to look them up in."""
        self._seal_if_many()
        sealed = [segment.trees[0].order + segment.start for segment in self._segments]
        return np.concatenate([*sealed, np.arange(self._sealed, self._count)])

    def of(
        self, described: Descriptors, own_rows: Rows | None = None, *, only_earlier: bool = False, threads: int = 1
    ) -> Iterator[Pairs]:
        """Candidates for pictures (N, 32) among the known ones, each pair once, all of one picture together.

        Known pictures say which row is their own: no picture is its own candidate, and a pair of two of them comes
        once. With ``only_earlier`` they are only compared with rows before theirs.
        """
        self._seal_if_many()
        asked = None
        if own_rows is not None and not only_earlier:
            asked = np.zeros(self._count, bool)
            asked[own_rows] = True
        start, size = 0, _BLOCK * threads
        while start < len(described):
            rows = slice(start, min(start + size, len(described)))
            own = None if own_rows is None else own_rows[rows]
            pairs = self._of_block(described[rows], own, asked, threads)
            if pairs is None:
                size = (rows.stop - start + 1) // 2
                continue
            if len(pairs[0]):
                yield pairs[0] + start, pairs[1]
            start = rows.stop
            size = min(2 * size, _BLOCK * threads)

    @property
    def _sealed(self) -> int:
        return self._segments[-1].stop if self._segments else 0

    def _seal_if_many(self) -> None:
        """Only when they are searched, so that adding many at once makes one tree."""
        if self._count - self._sealed <= _TAIL:
            return
        start = self._sealed
        while self._segments and self._segments[-1].stop - self._segments[-1].start <= self._count - start:
            start = self._segments.pop().start
        from dupwatchd.compare.tree.boxtree import BoxTree

        rows = self._known[start : self._count]
        structure, mse = (BoxTree(np.ascontiguousarray(rows[:, half.columns])) for half, _ in self._halves)
        self._segments.append(_Segment(start, self._count, (structure, mse)))

    def _of_block(
        self, described: Descriptors, own_rows: Rows | None, asked: NDArray[np.bool_] | None, threads: int
    ) -> Pairs | None:
        """All candidates of a few pictures; None if they are too many to be held, and the pictures more than one."""
        codes: list[Rows] = []
        held = 0
        for new, known in self._found(described, threads):
            keep = self._alive[known]
            if own_rows is not None:
                earlier = known < own_rows[new]
                keep &= earlier if asked is None else earlier | ~asked[known]
            codes.append(new[keep] * self._count + known[keep])
            held += len(codes[-1])
            if held > _MOST_PAIRS and len(described) > 1:
                return None
        distinct = _distinct(codes, len(described) * self._count)
        return distinct // max(self._count, 1), distinct % max(self._count, 1)

    def _found(self, described: Descriptors, threads: int) -> Iterator[Pairs]:
        if self._segments:
            for place, (half, bound) in enumerate(self._halves):
                new, parts = self._orientations(described, half, bound)
                for segment in self._segments:
                    for of_query, of_point in segment.trees[place].within(parts, bound, threads):
                        yield new[of_query], of_point + segment.start
        for start in range(self._sealed, self._count, _KNOWN_AT_ONCE):
            known = slice(start, min(start + _KNOWN_AT_ONCE, self._count))
            for first in range(0, len(described), _NEW_AT_ONCE):
                yield from self._in_product(described, slice(first, min(first + _NEW_AT_ONCE, len(described))), known)

    def _orientations(
        self, described: Descriptors, half: DescriptorHalf, bound: float
    ) -> tuple[Rows, NDArray[np.float32]]:
        """Rows of new pictures with their numbers (M, 16) in each orientation in which they can match."""
        rows: list[Rows] = []
        parts: list[NDArray[np.float32]] = []
        for mirrored in self._mirrored:
            for quarters in range(4):
                part = descriptors.turned(described[:, half.columns], half, quarters, mirrored=mirrored)
                rows.append(np.flatnonzero(descriptors.distance_from_canonical(part, half) <= np.sqrt(bound)))
                parts.append(part[rows[-1]])
        of_all = np.concatenate(rows)
        by_row = np.argsort(of_all, kind="stable")
        return of_all[by_row], np.concatenate(parts)[by_row]

    def _in_product(self, described: Descriptors, new: slice, known: slice) -> Iterator[Pairs]:
        hits: NDArray[np.bool_] | None = None  # (N, K)
        for half, bound in self._halves:
            of_new = descriptors.lengths(described[new, half.columns], half)  # (N, L)
            of_known = descriptors.lengths(self._known[known, half.columns], half)  # (K, L)
            # |p|² + |q|² − 2·p·q ≤ bound, with one pass over the products
            products = of_new @ of_known.T  # (N, K) float32
            products -= (of_known * of_known).sum(axis=1) / 2
            reach = ((of_new * of_new).sum(axis=1) - np.float32(bound)) / 2
            near = products >= reach[:, None]
            rows, places = np.nonzero(near)
            if not len(rows):
                continue
            if _CROWDED * len(rows) < near.size:  # else most would pass the closer look, too
                near = np.zeros_like(near)
                some = described[new, half.columns][rows]
                others = self._known[known, half.columns][places]
                for mirrored in self._mirrored:
                    for quarters in range(4):
                        difference = descriptors.turned(some, half, quarters, mirrored=mirrored) - others
                        within = (difference * difference).sum(axis=1) <= bound
                        near[rows[within], places[within]] = True
            hits = near if hits is None else hits | near
        if hits is not None:
            rows, places = np.nonzero(hits)
            yield rows + new.start, places + known.start


def _distinct(codes: list[Rows], size: int) -> Rows:
    """Numbers below ``size``, each once, ascending."""
    every = np.concatenate([np.empty(0, np.int64), *codes])
    if _CROWDED * len(every) < size:
        return np.unique(every)
    there = np.zeros(size, bool)
    there[every] = True
    return np.flatnonzero(there)
