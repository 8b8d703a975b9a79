"""Resizing as common programs do it, of one square window only."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dupwatchd.pixels.blocks import Floats, Luma

Doubles = NDArray[np.float64]


def _cubic(a: float) -> Callable[[Doubles], Doubles]:
    def weights(x: Doubles) -> Doubles:
        x = np.absolute(x)
        near = ((a + 2) * x - (a + 3)) * x * x + 1
        far = ((x - 5) * x + 8) * x * a - 4 * a
        return np.asarray(np.where(x < 1, near, np.where(x < 2, far, 0)), np.float64)

    return weights


def _lanczos(x: Doubles) -> Doubles:
    return np.asarray(np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0), np.float64)


def _linear(x: Doubles) -> Doubles:
    return np.asarray(np.maximum(0, 1 - np.abs(x)), np.float64)


def _box(x: Doubles) -> Doubles:
    return ((x > -0.5) & (x <= 0.5)).astype(np.float64)


# By name: weights by distance, and how far they reach. Bicubic with -0.5 is Pillow's and Photoshop's, -0.75 OpenCV's.
_WAYS: dict[str, tuple[Callable[[Doubles], Doubles], float]] = {
    "bicubic": (_cubic(-0.5), 2),
    "lanczos": (_lanczos, 3),
    "bilinear": (_linear, 1),
    "bicubic-0.75": (_cubic(-0.75), 2),
    "box": (_box, 0.5),
}
KERNELS = tuple(_WAYS)


def resampled(source: Luma, shape: tuple[int, int], corner: tuple[int, int], side_px: int, kernel: str) -> Floats:
    """A window of ``source`` as resized to ``shape``: the (side_px, side_px) float32 square at ``corner``, 0 … 255."""
    rows, (top, bottom) = _weights(source.shape[0], shape[0], corner[0], side_px, kernel)
    columns, (left, right) = _weights(source.shape[1], shape[1], corner[1], side_px, kernel)
    result: Floats = rows @ source[top:bottom, left:right].astype(np.float32) @ columns.T
    return np.clip(np.rint(result), 0, 255, out=result)


@lru_cache(maxsize=64)
def _weights(source_px: int, target_px: int, start: int, side_px: int, kernel: str) -> tuple[Floats, tuple[int, int]]:
    """(side_px, n) float32 weights of the n source pixels in the range given with them; rows sum to 1."""
    weigh, reach = _WAYS[kernel]
    scale = source_px / target_px
    spread = max(scale, 1.0)  # made smaller, a pixel averages all that it covers
    centres = (np.arange(start, start + side_px) + 0.5) * scale - 0.5
    first = max(0, int(np.floor(centres[0] - reach * spread)))
    last = min(source_px, int(np.ceil(centres[-1] + reach * spread)) + 1)
    weights = weigh((np.arange(first, last)[None, :] - centres[:, None]) / spread)
    sums = weights.sum(axis=1, keepdims=True)
    return (weights / np.where(sums == 0, 1, sums)).astype(np.float32), (first, last)
