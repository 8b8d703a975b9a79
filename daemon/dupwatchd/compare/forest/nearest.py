"""Of all matches, those that are looked at again: each picture's nearest few.

The matches of one picture are ordered by structure, then mse, unmirrored before mirrored, and at last by the digest of
the other picture. That order follows from the pictures alone, so it does not matter when which of them came.

What is among the nearest of a part of the matches only may fall out when the rest comes; what is not among them never
comes back. So the nearest may be taken part by part.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from dupwatchd.arrays import Matches
from dupwatchd.components import renumbered

Mask = NDArray[np.bool_]
Ids = NDArray[np.int64]
Reach = NDArray[np.float64]  # by picture id: no match with a larger structure is among its nearest
Prefixes = Callable[[Ids], NDArray[np.uint64]]  # the first 8 bytes of the digests of pictures, as numbers


def nearest(matches: Matches, count: int, prefixes: Prefixes, reach: Reach) -> tuple[Mask, Mask]:
    """Which matches are among the ``count`` nearest of their picture a, and of b: (M,) bool each.

    Each match is there once. ``reach`` holds every picture in them, and is lowered where this is known now.
    ``prefixes`` is called only where all else is equal.
    """
    of_end = np.zeros((2, len(matches)), bool)
    ends, others = np.stack([matches.a, matches.b]), np.stack([matches.b, matches.a])
    side, row = np.nonzero(matches.structure <= reach[ends])
    if count and len(row):
        possible = np.flatnonzero(_among_smallest(ends[side, row], matches.structure[row], count))
        side, row = side[possible], row[possible]
        end, other = ends[side, row], others[side, row]
        order = _ordered(end, other, matches[row], prefixes)
        place = _places_within(end[order])
        chosen = order[place < count]
        of_end[side[chosen], row[chosen]] = True
        last = order[place == count - 1]
        reach[end[last]] = matches.structure[row[last]]
    return of_end[0], of_end[1]


def grown(reach: Reach, most: int) -> Reach:
    """A reach that holds pictures up to the id ``most``, too; of what is added nothing is known."""
    if most < len(reach):
        return reach
    return np.concatenate([reach, np.full(most + 1 + most // 2 - len(reach), np.inf)])


def _among_smallest(end: Ids, structure: NDArray[np.float64], count: int) -> Mask:
    """Which may be among the smallest of each end, as far as float32 tells: in one sort of whole numbers."""
    _, end, _ = renumbered(end, end)
    rounded = structure.astype(np.float32)  # keeps the order, but for what becomes equal
    key = (end.astype(np.uint64) << np.uint64(32)) | rounded.view(np.uint32)  # bits of floats from 0 on are in order
    order = np.argsort(key)
    last = order[_places_within(end[order]) == count - 1]
    most = np.full(int(end.max()) + 1, np.inf, np.float32)
    most[end[last]] = rounded[last]
    return np.asarray(rounded <= most[end])


def _ordered(end: Ids, other: Ids, matches: Matches, prefixes: Prefixes) -> NDArray[np.intp]:
    """The order of each end's matches, one end after the other."""
    keys = (matches.mirrored, matches.mse, matches.structure, end)
    order = np.lexsort(keys)
    again = np.ones(max(len(order) - 1, 0), bool)
    for key in keys:
        again &= key[order[1:]] == key[order[:-1]]
    if not again.any():
        return order
    tied = np.zeros(len(order), bool)
    tied[order[1:][again]] = tied[order[:-1][again]] = True
    asked, places = np.unique(other[tied], return_inverse=True)
    prefix = np.zeros(len(order), np.uint64)
    prefix[tied] = prefixes(asked)[places]
    return np.lexsort((prefix, *keys))


def _places_within(sorted_ends: Ids) -> Ids:
    """For each of equal numbers that stand together: which of them it is, from 0."""
    places = np.arange(len(sorted_ends))
    starts = np.ones(len(sorted_ends), bool)
    starts[1:] = sorted_ends[1:] != sorted_ends[:-1]
    return np.asarray(places - np.maximum.accumulate(np.where(starts, places, 0)))
