"""Whether the larger of two pictures is the smaller one, enlarged and then sharpened.

Sharpening hides the enlargement: what was enlarged does not fit the pixels any more, and has plenty of fine detail. But
sharpening is a sum of the picture and of blurred ones of it. Where the enlarged smaller picture fits the larger one
badly, and such a sum much better, there may be nothing in the larger one that is not in the smaller.
"""

import numpy as np

from dupwatchd.compare.origin.fit import TEXTURE_LEVELS, middle, resized
from dupwatchd.compare.origin.laying import Laid
from dupwatchd.pixels import levels
from dupwatchd.pixels.blocks import Floats, Luma, blocks_of

LEAST_GROWTH = 1.5  # times the pixels of the smaller one
_BLURS_PX = (0.5, 0.8, 1.2, 2.0, 3.0, 5.0)  # deviations of what is summed, of the larger picture's pixels
_KERNELS = "lanczos", "bicubic"
_MARGIN_PX = 8
# Median differences of textured blocks in grey levels. Of eight photos enlarged to twice the side and sharpened seven
# are recognised, three if sharpened by little; copies made smaller leave more than 0.8 of the difference, but for seven
# of 200, whose photos are as soft as what was enlarged.
BADLY, BETTER = 2.5, 0.55
SHARPER = 1.05  # times the share of fine detail: a copy that was made smaller and sharpened would be made softer
_MIN_BLOCKS = 20


def enlarged_and_sharpened(smaller: Laid, larger: Laid) -> bool:
    """Is the larger picture explained by the smaller one if that was sharpened, and else not?"""
    window = middle(smaller, larger)
    if window is None:
        return False
    top, left, side = window
    wanted = larger.pixels[top : top + side, left : left + side]
    for kernel in _KERNELS:
        enlarged = resized(smaller, larger, window, kernel)
        before = _difference(enlarged, wanted)
        if before < BADLY:
            return False  # one of the plain explanations
        sharper = _summed(enlarged, wanted)
        after = _difference(sharper, wanted)
        if after <= BETTER * before and _detail(sharper) > SHARPER * _detail(enlarged):
            return True
    return False


def _summed(enlarged: Floats, wanted: Luma) -> Floats:
    """The sum of a picture and its blurred ones that is nearest to another; both (side, side)."""
    terms = np.stack([enlarged, *(levels.blurred(enlarged, deviation) for deviation in _BLURS_PX)])
    inner = slice(_MARGIN_PX, -_MARGIN_PX)
    target = wanted[inner, inner].ravel().astype(np.float32)
    inside = (target > 3) & (target < 252)  # what is clipped is no sum
    some = terms[:, inner, inner].reshape(len(terms), -1)[:, inside] - 128
    normal = (some @ some.T).astype(np.float64)
    normal.reshape(-1)[:: len(normal) + 1] += 1e-4 * max(1, some.shape[1])
    weights = np.linalg.solve(normal, (some @ (target[inside] - 128)).astype(np.float64)).astype(np.float32)
    result: Floats = np.clip(np.tensordot(weights, terms - 128, 1) + 128, 0, 255)
    return result


def _detail(pixels: Floats) -> float:
    """The share of what varies that is fine."""
    return float((pixels - levels.blurred(pixels, 1.5)).std() / (pixels.std() + 1e-3))


def _difference(source: Floats, target: Luma) -> float:
    sources, targets = blocks_of(source, 0, 0), blocks_of(target, 0, 0)
    differences = np.abs(sources - targets).mean(axis=1)
    textured = targets.std(axis=1) > TEXTURE_LEVELS
    return float(np.median(differences[textured])) if np.count_nonzero(textured) >= _MIN_BLOCKS else 0.0
