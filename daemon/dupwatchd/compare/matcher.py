"""Finds every match of new pictures among the known ones and among themselves.

All descriptors are compared with all (matrix products, 16 numbers a picture and measure); what they leave over is
measured exactly on the thumbnails. Nothing is missed: see `descriptors`.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from dupwatchd.arrays import Thumbnails
from dupwatchd.compare import descriptors, measures
from dupwatchd.model import Limits, Match, PictureId

_KNOWN_AT_ONCE = 8192  # × _NEW_AT_ONCE × 4 bytes = 8 MB a product: stays in the cache of a server
_NEW_AT_ONCE = 256
_FIRST_CAPACITY = 4096
_PAIRS_AT_ONCE = 4096

ReadThumbnails = Callable[[list[int]], Thumbnails]


class Matcher:
    """Holds the descriptors (128 bytes a picture) of all known pictures; used by one thread."""

    def __init__(self, limits: Limits, read_thumbnails: ReadThumbnails) -> None:
        self._limits = limits
        self._read_thumbnails = read_thumbnails
        self._count = 0
        self._ids = np.empty(_FIRST_CAPACITY, np.int64)
        self._descriptors = np.empty((_FIRST_CAPACITY, 2 * descriptors.LENGTHS), np.float32)

    def add(self, ids: list[PictureId], described: NDArray[np.float32]) -> None:
        """Make pictures known, from their descriptors (N, 32)."""
        needed = self._count + len(ids)
        if needed > len(self._ids):
            capacity = max(needed, 2 * len(self._ids))
            self._ids = np.resize(self._ids, capacity)
            self._descriptors = np.resize(self._descriptors, (capacity, self._descriptors.shape[1]))
        self._ids[self._count : needed] = ids
        self._descriptors[self._count : needed] = described
        self._count = needed

    def match(self, ids: list[PictureId], thumbnails: Thumbnails, described: NDArray[np.float32]) -> list[Match]:
        """All matches of new pictures with the known ones and with each other; adds nothing.

        Takes their thumbnails (N, S, S, 3) and descriptors (N, 32).
        The values of a match are exact and do not depend on which of the two was there first.
        """
        found: list[Match] = []
        for new, known in self._known_candidates(described):
            found += self._exact(ids, thumbnails, new, self._ids[known])
        for first, second in _candidates(described, described, self._limits):
            later = first < second
            found += self._exact_new(ids, thumbnails, first[later], second[later])
        return found

    def _known_candidates(self, described: NDArray[np.float32]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        for start in range(0, self._count, _KNOWN_AT_ONCE):
            known = self._descriptors[start : min(start + _KNOWN_AT_ONCE, self._count)]
            for new, place in _candidates(described, known, self._limits):
                yield new, place + start

    def _exact(
        self, ids: list[PictureId], thumbnails: Thumbnails, new: NDArray[np.intp], known_ids: NDArray[np.int64]
    ) -> Iterator[Match]:
        for start in range(0, len(new), _PAIRS_AT_ONCE):
            some, others = new[start : start + _PAIRS_AT_ONCE], known_ids[start : start + _PAIRS_AT_ONCE]
            distinct, places = np.unique(others, return_inverse=True)
            known = self._read_thumbnails(distinct.tolist())
            yield from self._measured([ids[i] for i in some], others.tolist(), thumbnails[some], known[places])

    def _exact_new(
        self, ids: list[PictureId], thumbnails: Thumbnails, first: NDArray[np.intp], second: NDArray[np.intp]
    ) -> Iterator[Match]:
        for start in range(0, len(first), _PAIRS_AT_ONCE):
            some, others = first[start : start + _PAIRS_AT_ONCE], second[start : start + _PAIRS_AT_ONCE]
            yield from self._measured(
                [ids[i] for i in some], [ids[i] for i in others], thumbnails[some], thumbnails[others]
            )

    def _measured(
        self, first_ids: list[PictureId], second_ids: list[PictureId], first: Thumbnails, second: Thumbnails
    ) -> Iterator[Match]:
        for mirrored in (False, True) if self._limits.mirrored else (False,):
            values = measures.measure_pairs(first, second, mirrored=mirrored)
            within = (values.mse <= self._limits.keep_mse) | (values.structure <= self._limits.keep_structure)
            for i in np.flatnonzero(within):
                a, b = sorted((first_ids[i], second_ids[i]))
                yield Match(a, b, mirrored, float(values.mse[i]), float(values.structure[i]))


def _candidates(
    new: NDArray[np.float32], known: NDArray[np.float32], limits: Limits
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Pairs (rows of new, rows of known) that the lower bounds leave over, in parts."""
    halves = (
        (slice(0, descriptors.LENGTHS), limits.keep_structure + descriptors.STRUCTURE_SLACK),
        (slice(descriptors.LENGTHS, None), limits.keep_mse + descriptors.MSE_SLACK),
    )
    prepared = []
    for half, bound in halves:
        of_known = np.ascontiguousarray(known[:, half].T)  # (16, K)
        prepared.append((half, bound, of_known, (of_known * of_known).sum(axis=0)))
    for start in range(0, len(new), _NEW_AT_ONCE):
        near: NDArray[np.bool_] | None = None
        for half, bound, of_known, known_squares in prepared:
            of_new = new[start : start + _NEW_AT_ONCE, half]  # (N, 16)
            products = of_new @ of_known  # (N, K) float32
            # |p|² + |q|² − 2·p·q ≤ bound, with one pass over the products
            products -= known_squares / 2
            reach = ((of_new * of_new).sum(axis=1) - np.float32(bound)) / 2
            within = products >= reach[:, None]
            near = within if near is None else near | within
        if near is not None and near.any():
            rows, columns = np.nonzero(near)
            yield rows + start, columns
