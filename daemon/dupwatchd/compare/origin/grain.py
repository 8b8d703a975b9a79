"""Whether two pictures differ by noise only: film grain that was added to one of them, or taken out of it.

Coding and resizing change most where there is detail, noise is the same on a wall and on leaves.
"""

import numpy as np

from dupwatchd.compare.origin.fit import middle, resized
from dupwatchd.compare.origin.laying import Laid
from dupwatchd.pixels.blocks import Floats, blocks_of

# What differs in the quarter of the blocks with most detail, against the quarter with least, and in grey levels in the
# latter. Of photos with grain of 3 and 4 levels, enlarged or not, all lie between .95 and 1.1 and above 2.5; of 73
# copies, at other sizes, qualities and tones, none lies there with more than 1.1 levels.
EVENLY, LEAST_LEVELS = (0.88, 1.15), 2.0
_CLIPPED_LEVELS = 6
_MIN_BLOCKS = 40


def differ_by_grain(smaller: Laid, larger: Laid) -> bool:
    """Is what differs, once the smaller one was enlarged, as strong in plain places as in others?"""
    window = middle(smaller, larger)
    if window is None:
        return False
    top, left, side = window
    wanted = larger.pixels[top : top + side, left : left + side].astype(np.float32)
    if smaller.pixels.shape == larger.pixels.shape:
        seen: Floats = smaller.pixels[top : top + side, left : left + side].astype(np.float32)
        ground = (seen + wanted) * np.float32(0.5)  # so that the two may change places
    else:
        ground = seen = resized(smaller, larger, window, "bicubic")
    rest, grounds = blocks_of(wanted - seen, 0, 0), blocks_of(ground, 0, 0)
    off = np.abs(rest - rest.mean(axis=1, keepdims=True)).mean(axis=1)  # brightness is no grain
    inside = (grounds.min(axis=1) > _CLIPPED_LEVELS) & (grounds.max(axis=1) < 255 - _CLIPPED_LEVELS)
    if np.count_nonzero(inside) < _MIN_BLOCKS:
        return False
    off, detail = off[inside], grounds[inside].std(axis=1)
    plain, detailed = np.quantile(detail, (0.25, 0.75))
    least, most = float(np.median(off[detail <= plain])), float(np.median(off[detail >= detailed]))
    return least >= LEAST_LEVELS and EVENLY[0] * least <= most <= EVENLY[1] * least
