"""One picture as a filter makes it that brings it nearest to another: sharpening or softening is undone.

A JPEG whose pixels were sharpened, also after they were enlarged, does not show its lattice any more. Such programs
weigh each pixel with those around it, equally to all sides; the weights that undo it follow from the pixels of both.
"""

import numpy as np

from dupwatchd.pixels.blocks import Floats

_REACH_PX = 3
_MARGIN_PX = 8  # beyond which nothing of what lies around a window is missing
_STIFFNESS = 1e-3  # square of the noise, in grey levels, below which no weight follows
# Offsets at one distance have one weight: (rows, columns) by the pair of their lengths.
_SPAN = range(-_REACH_PX, _REACH_PX + 1)
_RINGS = [
    [(y, x) for y in _SPAN for x in _SPAN if (min(abs(y), abs(x)), max(abs(y), abs(x))) == (near, far)]
    for far in range(_REACH_PX + 1)
    for near in range(far + 1)
]


def filtered(source: Floats, target: Floats) -> Floats:
    """What comes nearest to a target (h, w) of 0 … 255 among all filters of the source; both lie upon each other."""
    rings = _rings(source - 128)  # (n, h, w)
    inner = slice(_MARGIN_PX, -_MARGIN_PX)
    wanted, seen = target[inner, inner].ravel(), source[inner, inner].ravel()
    inside = (wanted > 3) & (wanted < 252) & (seen > 3) & (seen < 252)  # what is clipped was filtered otherwise
    some = rings[:, inner, inner].reshape(len(rings), -1) * inside
    normal = (some @ some.T).astype(np.float64)
    normal.reshape(-1)[:: len(normal) + 1] += _STIFFNESS * max(1, int(np.count_nonzero(inside)))
    weights = np.linalg.solve(normal, (some @ (wanted - 128)).astype(np.float64)).astype(np.float32)
    result: Floats = (weights @ rings.reshape(len(rings), -1)).reshape(source.shape)
    result += np.float32(128)
    return result


def _rings(pixels: Floats) -> Floats:
    """(n, h, w) sums of the pixels at each distance."""
    height, width = pixels.shape
    padded = np.pad(pixels, _REACH_PX, mode="edge")
    sums = np.zeros((len(_RINGS), height, width), np.float32)
    for total, ring in zip(sums, _RINGS, strict=True):
        for y, x in ring:
            top, left = _REACH_PX + y, _REACH_PX + x
            total += padded[top : top + height, left : left + width]
    return sums
