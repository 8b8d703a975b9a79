"""Where planes that lie above each other have a value that no neighbour exceeds, or none falls below.

A neighbour is any of the 26 places around one in its plane and in those above and below. Most places are ruled out by
six of them, for all places at once; the others are asked for only of what is left.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dupwatchd.pixels.levels import Floats

Places = NDArray[np.intp]

_STEPS = np.stack(np.meshgrid(*3 * [(-1, 0, 1)], indexing="ij"), axis=-1).reshape(27, 3)  # planes, rows, columns
OWN = 13  # which of the 27 values around a peak is its own


class Peaks(NamedTuple):
    """Peaks (N,), in the order of what follows."""

    stack: Places
    plane: Places
    y: Places
    x: Places
    around: Floats  # (27, N) the values at and around each, in the same order


def find_peaks(every: Floats, shapes: Sequence[tuple[int, int, int]], faintest: float) -> Peaks:
    """All peaks in stacks of planes: these lie one after the other in one array, and of each (P, H, W) is given.

    None lies in the first or the last plane, on a rim, or has a size of ``faintest`` or less.
    """
    found = []
    sides = []  # of each stack: where it begins, its height and width, and the steps to planes, rows and columns
    start = 0
    for planes, height, width in shapes:
        steps = 1, width, height * width
        stop = start + planes * steps[-1]
        found.append(_not_on_a_slope(every[start:stop], steps) + start)
        sides.append((start, height, width, *steps[::-1]))
        start = stop
    at = np.concatenate(found)
    strong = np.flatnonzero(np.abs(every.take(at)) > np.float32(faintest))
    at, which = at[strong], np.repeat(np.arange(len(shapes)), [len(some) for some in found])[strong]
    of_each = np.array(sides).T
    begin, height, width = of_each[:3].take(which, axis=1)
    rows, x = np.divmod(at - begin, width)
    plane, y = np.divmod(rows, height)
    around = every.take((_STEPS @ of_each[3:]).take(which, axis=1) + at, mode="clip")
    own = around[OWN]
    is_peak = (own >= around.max(axis=0)) | (own <= around.min(axis=0))
    kept = np.flatnonzero(is_peak & (y > 0) & (y < height - 1) & (x > 0) & (x < width - 1))
    return Peaks(which[kept], plane[kept], y[kept], x[kept], around[:, kept])


def _not_on_a_slope(stack: Floats, steps: tuple[int, int, int]) -> Places:
    """Places that neither of the two neighbours exceeds, or neither falls below, whichever of three ways is taken.

    Steps are ascending; the largest one is a plane. Of the first and the last plane there are none. On rims, neighbours
    are of other rows or planes: what is said of these means nothing.
    """
    first = steps[-1]
    count = len(stack) - 2 * first
    rises, falls = _against(stack, first, count, steps[0])
    tops, bottoms = rises[:count] & falls[steps[0] :], falls[:count] & rises[steps[0] :]
    for step in steps[1:]:
        rises, falls = _against(stack, first, count, step)
        tops &= rises[:count]
        tops &= falls[step:]
        bottoms &= falls[:count]
        bottoms &= rises[step:]
    tops |= bottoms
    return np.flatnonzero(tops) + first


def _against(stack: Floats, first: int, count: int, step: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which places from the first on do not fall below the one a step before, and which do not exceed it."""
    ahead, behind = stack[first : first + count + step], stack[first - step : first + count]
    return ahead >= behind, ahead <= behind
