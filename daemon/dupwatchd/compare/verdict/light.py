"""One picture lit as another, where light changes slowly from place to place: a vignette, one side darkened.

Both on one grid go in, and come out with luma in the same light. What changes so is no other shot; it is no plain copy
either, for somebody has painted with light.
"""

import numpy as np

from dupwatchd.compare.verdict.laid import Planes
from dupwatchd.pixels import levels
from dupwatchd.pixels.levels import Floats, Levels, Size

_CELLS = 24  # of the longer side
_ROUNDS = 4  # of fitting, each trusting less what the last one left over
_FLOOR = np.float32(6)  # grey levels that are added to both, so that black has no say
_DARKEST, _BRIGHTEST = 10, 245  # of a cell that is surely not clipped
_FEWEST = 60  # cells that light is told from
_LEAST_NOISE = 0.02  # of the light of a cell
_LEAST_CHANGE = 0.1  # of light over the picture: less is none
_STEEPEST = 1.6  # of the logarithm of light, either way


def lit_alike(source: Planes, target: Planes) -> tuple[Planes, Planes] | None:
    """Each darkened where the other is darker; None if their light is the same, or cannot be told."""
    height, width = source.luma.shape
    scale = _CELLS / max(height, width)
    size = max(4, round(width * scale)), max(4, round(height * scale))
    cells = [levels.resized(planes.luma, size).astype(np.float32) for planes in (source, target)]
    terms = _terms(size[1], size[0])  # (T, cells)
    light = np.log((cells[1] + _FLOOR) / (cells[0] + _FLOOR)).ravel()
    clear = (np.minimum(*cells) > _DARKEST) & (np.maximum(*cells) < _BRIGHTEST)
    if np.count_nonzero(clear) < _FEWEST:
        return None
    field = np.clip(_fitted(terms[:, clear.ravel()], light[clear.ravel()]) @ terms, -_STEEPEST, _STEEPEST)
    if float(np.ptp(field)) < _LEAST_CHANGE:
        return None
    return _darkened(source, field, size), _darkened(target, -field, size)


def _darkened(planes: Planes, field: Floats, size: Size) -> Planes:
    """Where the field is below 0, by its power of e. (What is made brighter shows more noise than there is.)"""
    gain = np.exp(np.minimum(field, 0)).astype(np.float32).reshape(size[::-1])
    lit = (planes.luma + _FLOOR) * levels.stretched(gain, planes.luma.shape[1::-1]) - _FLOOR
    luma: Levels = np.clip(np.rint(lit), 0, 255).astype(np.uint8)
    return Planes(luma, planes.chroma)


def _terms(height: int, width: int) -> Floats:
    """What slow changes are made of: slopes, a bowl of any shape, and round ones that are steep at their rim."""
    longer = max(height, width)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    y, x = (2 * y - height + 1) / longer, (2 * x - width + 1) / longer
    square = x * x + y * y
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y, square**2, square**3]).reshape(8, -1)


def _fitted(terms: Floats, light: Floats) -> Floats:
    """Of least squares that follow most of the cells."""
    weights = np.ones_like(light)
    for _ in range(_ROUNDS):
        weighted = terms * weights
        normal = (weighted @ terms.T).astype(np.float64)
        normal.reshape(-1)[:: len(normal) + 1] += 1e-3
        found = np.linalg.solve(normal, (weighted @ light).astype(np.float64)).astype(np.float32)
        error = np.abs(light - found @ terms)
        scale = np.float32(2.5 * max(_LEAST_NOISE, float(np.median(error))))
        weights = (1 / (1 + np.square(error / scale))).astype(np.float32)
    return found
