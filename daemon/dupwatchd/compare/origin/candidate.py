"""One of two files that show the same picture, as far as `direction` looks at it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dupwatchd.pixels.blocks import Floats, Luma

SMALL_PX = 32
FINE_STEPS = 110  # the sum of all 64: quality 97 and above, where rounding of pixels hides the lattice


@dataclass(frozen=True)
class Candidate:
    """Pixels and facts of one file."""

    luma: Luma  # (H, W) uint8 at full size, as stored: not turned by EXIF; (0, 0): there is none to look at
    format: str  # "JPEG", "PNG", …
    lossless: bool  # the file stores its pixels without loss
    has_colour: bool
    jpeg_grid: bool = False  # lossless pixels that were a JPEG before
    steps: Floats | None = None  # (8, 8) float32 quantisation of a JPEG's luma, rows of rising vertical frequency
    scan: bytes = b""  # digest of a JPEG's coded picture, b"": unknown
    from_camera: bool = False  # camera and capture time, and no editor's name

    @cached_property
    def small(self) -> Floats:
        """(32, 32) float32 luma, mean 0, length 1: some pixels of each cell averaged."""
        height, width = self.luma.shape
        rows = np.linspace(0, height - 1, SMALL_PX * 4).astype(int)
        columns = np.linspace(0, width - 1, SMALL_PX * 4).astype(int)
        cells = self.luma[rows[:, None], columns].astype(np.float32)
        small = cells.reshape(SMALL_PX, 4, SMALL_PX, 4).mean(axis=(1, 3))
        small -= small.mean()
        result: Floats = small / (np.linalg.norm(small) + 1e-6)
        return result

    @property
    def coarseness(self) -> float:
        """The sum of a JPEG's luma steps; 0 for others."""
        return 0.0 if self.steps is None else float(self.steps.sum())

    @property
    def has_fine_steps(self) -> bool:
        """A JPEG of so high a quality that its lattice cannot be seen in pixels."""
        return self.steps is not None and self.coarseness <= FINE_STEPS
