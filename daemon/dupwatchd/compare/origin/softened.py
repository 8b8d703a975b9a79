"""Whether the softer of two pictures of one size has lost what the sharper one shows, or is what that was made from.

Sharpening, undone by a filter, gives back what it was made from, and a filter makes the one about as well from the
other. What was blurred, freed of noise, or made small and large again, gives nothing back.
"""

import numpy as np

from dupwatchd.compare.origin.filtered import filtered
from dupwatchd.compare.origin.fit import MIN_BLOCKS, TEXTURE_LEVELS, middle
from dupwatchd.compare.origin.laying import Laid
from dupwatchd.pixels.blocks import Floats, blocks_of

# How much worse the sharper one comes out of the softer one than the reverse: 1.7 and more for photos that were made
# small and large again or freed of noise; at most 1.4 for sharpened ones that are not recognised by their steps.
LOST = 1.65


def lost_its_detail(sharper: Laid, softer: Laid) -> bool:
    """Does no filter make the sharper one from the softer one about as well as the reverse? Both of one shape."""
    window = middle(sharper, softer)
    if window is None:
        return False
    top, left, side = window
    sharp, soft = (one.pixels[top : top + side, left : left + side].astype(np.float32) for one in (sharper, softer))
    return _left_over(soft, sharp) > LOST * _left_over(sharp, soft)


def _left_over(source: Floats, target: Floats) -> float:
    """What a typical textured place is off by, in grey levels, after the best filter."""
    targets = blocks_of(target, 0, 0)
    off = np.abs(blocks_of(filtered(source, target), 0, 0) - targets).mean(axis=1)
    textured = targets.std(axis=1) > TEXTURE_LEVELS
    return float(np.median(off[textured])) if np.count_nonzero(textured) >= MIN_BLOCKS else 0.0
