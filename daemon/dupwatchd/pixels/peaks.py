"""Where planes that lie above each other have a value that no neighbour exceeds, or none falls below.

A neighbour is any of the 26 places around one in its plane and in those above and below.
"""

import numpy as np
from numpy.typing import NDArray

from dupwatchd.pixels import levels
from dupwatchd.pixels.levels import Floats


def find_peaks(planes: Floats, faintest: float) -> NDArray[np.intp]:
    """The places (N,) of all peaks in planes (P, H, W) laid out one after the other, row by row, from the first on.

    None lies in the first or the last plane, on a rim, or has a size of ``faintest`` or less.
    """
    _, height, width = planes.shape
    finer, between, coarser = planes[:-2], planes[1:-1], planes[2:]
    # All planes at once, one below the other: what rows of two planes make of each other lies on the rims.
    own, most, least = (
        one.reshape(-1, width) for one in (between, np.maximum(finer, coarser), np.minimum(finer, coarser))
    )
    around = np.empty_like(own)
    levels.highest_into(around, np.maximum(most, own, out=most))
    is_peak = own >= around
    levels.lowest_into(around, np.minimum(least, own, out=least))
    is_peak |= own <= around
    at = np.flatnonzero(is_peak) + height * width
    at = at[np.abs(planes.reshape(-1)[at]) > np.float32(faintest)]
    y, x = np.divmod(at % (height * width), width)
    inner: NDArray[np.intp] = at[(y > 0) & (y < height - 1) & (x > 0) & (x < width - 1)]
    return inner
