"""Pixels as a JPEG sees them: 8 × 8 blocks on its grid, and their cosine transform."""

import numpy as np
from numpy.typing import NDArray

Luma = NDArray[np.uint8]
Floats = NDArray[np.float32]

MAX_BLOCKS = 2048  # of one picture, evenly spread; what is decided by means over them gains nothing from more


def _transform() -> Floats:
    """(64, 64) float32: a block's 64 pixels, as a row, times this are its 64 coefficients."""
    place = np.arange(8)
    waves = np.sqrt(2 / 8) * np.cos((2 * place[None, :] + 1) * place[:, None] * np.pi / 16)
    waves[0] /= np.sqrt(2)
    return np.ascontiguousarray(np.kron(waves, waves).T.astype(np.float32))


_TRANSFORM = _transform()


def blocks_of(pixels: Luma | Floats, top: int, left: int, most: int = MAX_BLOCKS) -> Floats:
    """At most about ``most`` whole blocks of a grid that begins at (top, left): (n, 64) float32; n may be 0."""
    rows, columns = max(0, (pixels.shape[0] - top) // 8), max(0, (pixels.shape[1] - left) // 8)
    step = max(1, int(np.ceil(np.sqrt(rows * columns / most))))
    grid = pixels[top : top + rows * 8, left : left + columns * 8].reshape(rows, 8, columns, 8)
    return grid[::step, :, ::step].swapaxes(1, 2).reshape(-1, 64).astype(np.float32)


def coefficients(blocks: Floats) -> Floats:
    """The cosine transform of (n, 64) pixels: (n, 64) float32, rows of rising vertical frequency."""
    result: Floats = blocks @ _TRANSFORM
    return result
