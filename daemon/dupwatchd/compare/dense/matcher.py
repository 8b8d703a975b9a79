"""Compares every new picture with every known one by our own measures: for a GPU, and to test the tree against.

Products of float32 on the device rule out the pairs that are farther apart than the limits, rounding allowed for. The
pairs left over are measured on the CPU, in whole numbers. So neither a value nor the set of matches depends on where
the products were made, in what order they were added up, or how they were rounded.

Proof that rounding loses no pair. Let x and y be the vectors whose mean squared difference over n numbers is the
measure, d their largest scalar product over the turns, and u = 2**-24. `turns.grid_products` adds up K products or
less for each of its four parts. In any order each part errs by at most γ = (K + 2)·u / (1 − (K + 2)·u) times the sum of
its absolute products, its factors being rounded once (Higham, Accuracy and Stability of Numerical Algorithms, section
3.1). With the lengths of the parts |level|² + |alternating|² + 2·|opposite|² = 4·|x|² these sums come to
4·|x||y| ≤ 2·(|x|² + |y|²), by Cauchy and Schwarz. Three more additions, and those of the bounds, add no more than 12·u
of the same. A pair within t has 4·d = 2·(|x|² + |y|²) − 2·n·t at least, and is therefore never lost by the test

    4·d ≥ 2·(1 − g)·(|x|² + |y|²) − 2·n·t·(1 + 2**-20),    g = 1.01 · (K + 16)·u

At 32 px the test lets pairs through up to 0.6 beyond the limit of `mse` (of photos; 3 at most), and 0.00004 beyond that
of `structure`.
"""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dupwatchd.arrays import Thumbnails
from dupwatchd.compare.dense.all_pairs import AllPairs
from dupwatchd.compare.dense.device import Device
from dupwatchd.compare.measures import exact, turns
from dupwatchd.compare.measures.exact import ReadThumbnails
from dupwatchd.compare.measures.matches import matches_within
from dupwatchd.model import Limits

_BYTES_PER_NUMBER = 32  # of memory for each number of a thumbnail, while its spectrum is made and multiplied
_BYTES_PER_PAIR = 32  # seven products of float32, and bits
_MOST_AT_ONCE = 8192

Rows = NDArray[np.intp]


class DenseMatcher(AllPairs):
    """All known pictures, compared by our own measures; used by one thread."""

    def __init__(self, limits: Limits, read_thumbnails: ReadThumbnails, device: Device) -> None:
        super().__init__(read_thumbnails, self._may_match, partial(matches_within, limits))
        self._limits = limits
        self._device = device

    def _may_match(self, first: Thumbnails, second: Thumbnails) -> list[tuple[bool, Rows, Rows]]:
        return self._device.run(lambda: list(self._left_over(first, second)))

    def _left_over(self, first: Thumbnails, second: Thumbnails) -> Iterator[tuple[bool, Rows, Rows]]:
        """Pairs of rows that may match, and whether the first is mirrored for it, each once; works on the device."""
        device = self._device
        size = _side_of_tile(device.memory_bytes, first[0].size)
        for top in range(0, len(first), size):
            upright = device.to_device(first[top : top + size])
            flips = [(False, _Vectors.of(upright, device.xp))]
            if self._limits.mirrored:  # whichever of the two is mirrored, the measures are the same
                flips.append((True, _Vectors.of(upright[:, :, ::-1], device.xp)))
            for left in range(0, len(second), size):
                others = _Vectors.of(device.to_device(second[left : left + size]), device.xp)
                for mirrored, vectors in flips:
                    within = vectors.within(others, self._limits, device.xp)  # (F, K) bool
                    places = device.to_host(device.xp.flatnonzero(within))
                    rows, columns = np.divmod(places, within.shape[1])
                    yield mirrored, rows + top, columns + left


class _Vectors(NamedTuple):
    """N pictures on the device: for each measure a spectrum and the squared lengths (N,)."""

    pixels: turns.Spectrum  # float32
    pixel_squares: turns.Array  # float64
    luma: turns.Spectrum  # float32
    luma_squares: turns.Array  # float64

    @classmethod
    def of(cls, thumbnails: turns.Array, xp: turns.ArrayModule) -> "_Vectors":
        """From (N, S, S, 3) thumbnails."""
        sums = exact.sums(thumbnails, xp)
        squares, total, variance, divisor = sums.per_picture
        normalised = (exact.CELLS * sums.luma - total[:, None, None]) / xp.sqrt(divisor)[:, None, None]
        luma = turns.Spectrum(*(part.astype(np.float32) for part in turns.spectrum(normalised, xp)))
        return cls(turns.spectrum(sums.pixels, xp), squares, luma, exact.CELLS * variance / divisor)

    def within(self, others: "_Vectors", limits: Limits, xp: turns.ArrayModule) -> turns.Array:
        """Which pairs may be within either limit: (F, K) bool."""
        numbers = 4 * self.pixels.level.shape[1]
        near = _near(
            (self.pixels, self.pixel_squares), (others.pixels, others.pixel_squares), numbers * limits.keep_mse, xp
        )
        near |= _near(
            (self.luma, self.luma_squares),
            (others.luma, others.luma_squares),
            exact.CELLS * limits.keep_structure,
            xp,
        )
        return near


def _near(
    first: tuple[turns.Spectrum, turns.Array],
    second: tuple[turns.Spectrum, turns.Array],
    bound: float,
    xp: turns.ArrayModule,
) -> turns.Array:
    """Which pairs may be within a squared distance of each other, in one of the turns: (F, K) bool."""
    terms = first[0].opposite.shape[1]
    share = 2 * (1 - 1.01 * (terms + 16) * 2.0**-24)
    rows, columns = ((share * squares - bound * (1 + 2.0**-20)).astype(np.float32) for squares in (first[1], second[1]))
    even, odd = turns.larger(turns.grid_products(first[0], second[0], xp), xp)
    products = xp.maximum(even, odd, out=even)
    products -= columns
    return products >= rows[:, None]


def _side_of_tile(memory_bytes: int, numbers: int) -> int:
    """How many pictures with how many others fit: the n of a·n² + b·n = memory."""
    a, b = _BYTES_PER_PAIR, 2 * _BYTES_PER_NUMBER * numbers
    fitting = (np.sqrt(b * b + 4.0 * a * memory_bytes) - b) / (2 * a)
    return int(np.clip(fitting, 1, _MOST_AT_ONCE))
