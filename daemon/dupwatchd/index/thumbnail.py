"""Pixels go in, a thumbnail comes out: averaged over areas, squeezed to a square, turned upright.

A JPEG decoded at a fraction of its size is rounded up: 500 px at 1/8 give 63 columns, the last of which covers half a
block. Averaging over 62.5 columns instead of 63 makes the thumbnail independent of how far the picture was reduced: at
64 px the difference is an mse of 0.2 instead of 3 (at most 13). So every size here comes with its *extent*, a float.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dupwatchd.pixels import levels

# A reduced picture keeps at least this many pixels per thumbnail pixel, along both sides. The mse between thumbnails
# from reduced and from full decoding (JPEG, 32 px) is 0.24 on average and 4 at most for 5; 0.4 for 3.5; 2.5 (at most
# 12) for 2. tests/index/test_reduced.py checks it.
MIN_REDUCTION_REST = 5

# Most weights of a cell are zero: only the few pixels that it averages count. Multiplying four rows or columns of cells
# at a time skips most zeros, and the products are still large enough for BLAS: 0.08 instead of 0.23 ms for 250 by 188
# pixels.
BAND_CELLS = 4

# By EXIF orientation: how far pixels are turned clockwise, once they are mirrored.
_UPRIGHT = {
    2: (0, True),
    3: (180, False),
    4: (180, True),
    5: (270, True),
    6: (90, False),
    7: (90, True),
    8: (270, False),
}

Samples = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.int32] | NDArray[np.uint32] | NDArray[np.float32]
Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Size = tuple[int, int]  # (columns, rows)


@dataclass(frozen=True, slots=True)
class Reduced:
    """A picture with fewer pixels than its file has, not yet turned upright."""

    rgb: Bytes  # (H, W, 3)
    extent_width: float  # how many of its columns the picture covers; the last one may be covered in part
    extent_height: float


class Pixels(Protocol):
    """A picture that can be decoded; each method raises what decoders raise."""

    def average(self, side_px: int) -> Floats:
        """The picture squeezed to (S, S, 3) float32 RGB."""

    def reduced(self, least: Size) -> Reduced:
        """The picture with at least so many columns and rows, if it has them, and not many more."""


def power_of_two_reduction(width: int, height: int, thumbnail_px: int) -> int:
    """The largest of 1, 2, 4, 8 by which both sides of a picture (px) may be divided in decoding."""
    rest = min(width, height) // (thumbnail_px * MIN_REDUCTION_REST)
    return next((by for by in (8, 4, 2) if rest >= by), 1)


def free_reduction(side_px: int, thumbnail_px: int) -> int:
    """By which integer ≥ 1 one side (px) may be divided by a box average before the exact averaging here."""
    return max(1, side_px // (thumbnail_px * MIN_REDUCTION_REST))


def box_sides(width: int, height: int, least: Size) -> tuple[int, int]:
    """The sides of the largest boxes (columns, rows) that leave at least so many of them."""
    return max(1, width // least[0]), max(1, height // least[1])


def average(samples: Samples, extent_width: float, extent_height: float, side_px: int) -> Floats:
    """Averages (H, W, C) samples over a grid of equal cells: (side, side, C) float32.

    The picture covers ``extent_height`` of the H rows and ``extent_width`` of the W columns; the last row and the last
    column count only as far as it reaches.
    """
    height, width, channels = samples.shape
    lines = samples.reshape(height, width * channels)
    rows = np.empty((side_px, width * channels), np.float32)
    for top, covered, weights in _bands(extent_height, height, side_px):
        band = lines[covered].astype(np.float32, copy=False)
        np.matmul(weights, band, out=rows[top : top + len(weights)])
    columns = rows.reshape(side_px, width, channels)
    cells = np.empty((side_px, side_px, channels), np.float32)
    for left, covered, weights in _bands(extent_width, width, side_px):
        np.matmul(weights, columns[:, covered], out=cells[:, left : left + len(weights)])
    return cells


def to_bytes(values: Floats) -> Bytes:
    """Rounds grey levels of any shape to uint8, clipped to 0 … 255."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def upright(pixels: Bytes, exif_orientation: int) -> Bytes:
    """Turns pixels (H, W) or (H, W, C > 1) as EXIF orientation 1 … 8 asks; any other value leaves them as they are."""
    turn_degrees, mirrored = _UPRIGHT.get(exif_orientation, (0, False))
    return np.ascontiguousarray(levels.turned(pixels, turn_degrees, mirrored=mirrored))


@lru_cache(maxsize=64)
def _weights(extent: float, pixels: int, cells: int) -> Floats:
    """How much each pixel counts in each cell: (cells, pixels) float32, rows sum to 1."""
    edges = np.linspace(0.0, extent, cells + 1)
    pixel = np.arange(pixels)
    overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    weights = np.clip(overlap, 0.0, None)
    normalised: Floats = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return normalised


@lru_cache(maxsize=64)
def _bands(extent: float, pixels: int, cells: int) -> tuple[tuple[int, slice, Floats], ...]:
    """`_weights` cut into bands: (first cell, the pixels it needs, (cells in the band, those pixels) float32)."""
    weights = _weights(extent, pixels, cells)
    bands = []
    for top in range(0, cells, BAND_CELLS):
        used = np.flatnonzero(weights[top : top + BAND_CELLS].any(axis=0))
        covered = slice(int(used[0]), int(used[-1]) + 1)
        bands.append((top, covered, np.ascontiguousarray(weights[top : top + BAND_CELLS, covered])))
    return tuple(bands)
