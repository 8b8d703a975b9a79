"""What the pixels of one picture say about its history: numpy alone, no more than some thousand of its pixels."""

import numpy as np

from dupwatchd.arrays import Thumbnail
from dupwatchd.pixels.blocks import Floats, Luma, blocks_of, coefficients

# Grey pictures have equal channels; re-encoding a faint tint moves them by a level or two. A colour of 5 pixels of a
# 32 × 32 thumbnail is a stamp on a page.
COLOUR_LEVELS = 8
COLOUR_SHARE = 5 / 1024

GRID_BLOCKS = 512
# The low coefficients, without the mean: many blocks have values there beyond half a step, whatever the step.
_LOW = np.array([row * 8 + column for row in range(4) for column in range(4) if 0 < row + column <= 4])
_STEPS = np.arange(3, 41, dtype=np.float32)
# Mean cosine of a coefficient's place between two multiples of the step: 1 on the lattice, about 0 off it. Rounding of
# pixels to whole numbers leaves 0.6 at a step of 3.
ON_LATTICE = 0.5
MIN_VALUES = 30


def has_colour(thumbnail: Thumbnail) -> bool:
    """Is there any colour in this (S, S, 3) uint8 thumbnail?"""
    red, green, blue = (thumbnail[..., channel] for channel in range(3))  # ten times as fast as max(axis=2)
    brightest, darkest = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    return int(np.count_nonzero(brightest - darkest >= COLOUR_LEVELS)) >= COLOUR_SHARE * red.size


def has_jpeg_grid(luma: Luma) -> bool:
    """Were these (H, W) uint8 pixels, stored without loss, decoded from a JPEG, on its own grid of 8 × 8 blocks?

    Steps below 3, qualities above about 95, hide in the rounding of pixels: then the answer is no.
    """
    blocks = blocks_of(luma, 0, 0, GRID_BLOCKS)
    blocks = blocks[(blocks.min(axis=1, initial=255) > 3) & (blocks.max(axis=1, initial=0) < 252)]  # (n, 64)
    if len(blocks) < 2 * MIN_VALUES:
        return False
    values = np.abs(coefficients(blocks)[:, _LOW])  # (n, low)
    return bool(np.median([_best_step(column) for column in values.T]) >= ON_LATTICE)


def _best_step(values: Floats) -> float:
    """How well (n,) absolute coefficients lie on multiples of one step: up to 1."""
    steps_away = values[None, :] / _STEPS[:, None]  # (steps, n)
    beyond = steps_away > 0.5  # those that round to 0 lie on any lattice
    counts = beyond.sum(axis=1)
    cosines = np.where(beyond, np.cos(steps_away * np.float32(2 * np.pi)), 0).sum(axis=1)
    return float(np.max(np.where(counts >= MIN_VALUES, cosines / np.maximum(counts, 1), 0)))
