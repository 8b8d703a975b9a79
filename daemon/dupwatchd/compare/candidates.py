"""Which of the known pictures may match a new one: never fewer than do, and few more.

The latest known pictures are compared one by one, as matrix products of lengths. As soon as they are many they are
sealed into a segment with a k-d tree for each measure; segments of similar size are merged, so that there are few
(a binary counter: each picture is built into a tree as often as the library has doubled since).

Both ways end in the same test on the 16 numbers of a descriptor in each orientation that can match.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dupwatchd.compare import descriptors
from dupwatchd.compare.descriptors import MSE, STRUCTURE, Descriptors, Half
from dupwatchd.model import Limits

if TYPE_CHECKING:  # scipy takes 0.3 s to load: only libraries that have a use for it pay that
    from scipy.spatial import cKDTree

_TAIL = 16_384  # a tree of so many answers as fast as the product (0.1 ms a picture)
_TREE_NUMBERS = 10  # of 16: more make the tree slower than they make the candidates fewer
_LEAF = 32
_KNOWN_AT_ONCE = 8192  # × _NEW_AT_ONCE × 4 bytes = 8 MB a product
_NEW_AT_ONCE = 256
_FIRST_CAPACITY = 4096

Pairs = tuple[NDArray[np.intp], NDArray[np.intp]]  # rows of new pictures, rows of known ones


@dataclass(frozen=True)
class _Segment:
    """Known pictures start ... stop in trees, one per measure."""

    start: int
    stop: int
    trees: tuple["cKDTree", "cKDTree"]


class Candidates:
    """The descriptors of all known pictures (128 bytes each, and 160 in trees); rows count from 0 in order of `add`."""

    def __init__(self, limits: Limits) -> None:
        self._halves = (
            (STRUCTURE, limits.keep_structure + STRUCTURE.slack),
            (MSE, limits.keep_mse + MSE.slack),
        )
        self._mirrored = (False, True) if limits.mirrored else (False,)
        self._known = np.empty((_FIRST_CAPACITY, 32), np.float32)  # canonical
        self._count = 0
        self._segments: list[_Segment] = []

    def add(self, described: Descriptors) -> None:
        """Make pictures known."""
        needed = self._count + len(described)
        if needed > len(self._known):
            grown = np.empty((max(needed, 2 * len(self._known)), 32), np.float32)
            grown[: self._count] = self._known[: self._count]
            self._known = grown
        for half, _ in self._halves:
            part = descriptors.canonical(described[:, half.columns], half)
            self._known[self._count : needed, half.columns] = part
        self._count = needed
        if self._count - self._sealed > _TAIL:
            self._seal()

    def of(self, described: Descriptors) -> Iterator[Pairs]:
        """Candidates for new pictures (N, 32) among the known ones, each pair once."""
        for segment in self._segments:
            yield _distinct(self._in_segment(segment, described), self._count)
        for start in range(self._sealed, self._count, _KNOWN_AT_ONCE):
            known = slice(start, min(start + _KNOWN_AT_ONCE, self._count))
            for first in range(0, len(described), _NEW_AT_ONCE):
                new = slice(first, min(first + _NEW_AT_ONCE, len(described)))
                yield _distinct(self._in_product(described, new, known), self._count)

    @property
    def _sealed(self) -> int:
        return self._segments[-1].stop if self._segments else 0

    def _seal(self) -> None:
        start = self._sealed
        while self._segments and self._segments[-1].stop - self._segments[-1].start <= self._count - start:
            start = self._segments.pop().start
        from scipy.spatial import cKDTree

        rows = self._known[start : self._count]
        structure, mse = (
            cKDTree(rows[:, half.columns][:, :_TREE_NUMBERS].astype(np.float64), leafsize=_LEAF)
            for half, _ in self._halves
        )
        self._segments.append(_Segment(start, self._count, (structure, mse)))

    def _in_segment(self, segment: _Segment, described: Descriptors) -> Iterator[Pairs]:
        for (half, bound), tree in zip(self._halves, segment.trees, strict=True):
            for new, part in self._orientations(described, half, bound):
                for first in range(0, len(new), _NEW_AT_ONCE):
                    some = slice(first, first + _NEW_AT_ONCE)
                    near = tree.query_ball_point(part[some, :_TREE_NUMBERS].astype(np.float64), np.sqrt(bound))
                    counts = np.fromiter(map(len, near), np.intp, len(near))
                    places = np.fromiter(chain.from_iterable(near), np.intp, int(counts.sum()))
                    rows = np.repeat(np.arange(len(near)), counts)
                    yield self._within(half, bound, new[some][rows], part[some][rows], places + segment.start)

    def _in_product(self, described: Descriptors, new: slice, known: slice) -> Iterator[Pairs]:
        for half, bound in self._halves:
            of_new = descriptors.lengths(described[new, half.columns], half)  # (N, L)
            of_known = descriptors.lengths(self._known[known, half.columns], half)  # (K, L)
            # |p|² + |q|² − 2·p·q ≤ bound, with one pass over the products
            products = of_new @ of_known.T  # (N, K) float32
            products -= (of_known * of_known).sum(axis=1) / 2
            reach = ((of_new * of_new).sum(axis=1) - np.float32(bound)) / 2
            rows, places = np.nonzero(products >= reach[:, None])
            if not len(rows):
                continue
            some = described[new][:, half.columns][rows]
            for mirrored in self._mirrored:
                for quarters in range(4):
                    part = descriptors.turned(some, half, quarters, mirrored=mirrored)
                    yield self._within(half, bound, rows + new.start, part, places + known.start)

    def _orientations(
        self, described: Descriptors, half: Half, bound: float
    ) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float32]]]:
        """Rows of new pictures with their numbers (M, 16), for each orientation in which they can match."""
        for mirrored in self._mirrored:
            for quarters in range(4):
                part = descriptors.turned(described[:, half.columns], half, quarters, mirrored=mirrored)
                rows = np.flatnonzero(descriptors.distance_from_canonical(part, half) <= np.sqrt(bound))
                yield rows, part[rows]

    def _within(
        self, half: Half, bound: float, new: NDArray[np.intp], part: NDArray[np.float32], known: NDArray[np.intp]
    ) -> Pairs:
        """Of pairs of rows those whose 16 numbers are no farther apart than the bound."""
        difference = part - self._known[known, half.columns]
        near = (difference * difference).sum(axis=1) <= bound
        return new[near], known[near]


def _distinct(parts: Iterator[Pairs], count: int) -> Pairs:
    """All pairs of the parts, each once, in ascending order."""
    codes = [new * count + known for new, known in parts]
    distinct = np.unique(np.concatenate(codes)) if codes else np.empty(0, np.intp)
    return distinct // max(count, 1), distinct % max(count, 1)
