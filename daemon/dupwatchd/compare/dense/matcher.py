"""Every new picture with every known one: the second way to find all matches, for a GPU, and to hold the first against.

Products of float32 on the device rule out all pairs that are farther apart than the limits and than rounding can
explain. What is left is measured by `measures`, on the CPU, in whole numbers. So it makes no difference to any value,
nor to which pairs match, where the products were made, in what order they were added up, or how they were rounded.

Rounding: let x and y be the vectors whose mean squared difference over n numbers is the measure, d their largest
scalar product over the turns, and u = 2**-24. `turns.grid_products` adds up K products or less for each of its parts.
In any order each part errs by at most γ = (K + 2)·u / (1 − (K + 2)·u) times the sum of its absolute products, its
factors being rounded once (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1). With the lengths of
the parts |level|² + |alternating|² + 2·|opposite|² = 4·|x|² these sums come to 4·|x||y| ≤ 2·(|x|² + |y|²), by Cauchy
and Schwarz. Three more additions, and those of the bounds, add no more than 12·u of the same. A pair within t has
4·d = 2·(|x|² + |y|²) − 2·n·t at least, and is therefore never lost by the test

    4·d ≥ 2·(1 − g)·(|x|² + |y|²) − 2·n·t·(1 + 2**-20),    g = 1.01 · (K + 16)·u

At 32 px that lets through pairs up to 0.6 beyond the limit of `mse` (of photos; 3 at most), and 0.00004 of `structure`.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dupwatchd.arrays import Matches, Thumbnails
from dupwatchd.compare.dense.device import Device
from dupwatchd.compare.measures import exact, turns
from dupwatchd.compare.measures.descriptors import Descriptors
from dupwatchd.compare.measures.exact import ReadThumbnails
from dupwatchd.model import Limits, PictureId

_READ_BYTES = 16 << 20  # thumbnails that are read at once: 5,461 at 32 px
_NEW_AT_ONCE = 1024
_BYTES_PER_NUMBER = 32  # of a thumbnail, while its spectrum is made and multiplied
_BYTES_PER_PAIR = 32  # seven products of float32, and bits
_MOST_AT_ONCE = 8192
_CELL = (256, 1024)  # pictures whose pairs are measured together, at 32 px

Rows = NDArray[np.intp]


class DenseMatcher:
    """All known pictures, by their ids alone: thumbnails are read anew each time. Used by one thread."""

    def __init__(self, limits: Limits, read_thumbnails: ReadThumbnails, device: Device) -> None:
        self._limits = limits
        self._read_thumbnails = read_thumbnails
        self._device = device
        self._known: dict[
            PictureId, None
        ] = {}  # a set that keeps its order: neighbours in the blocks are read together

    def add(self, ids: Sequence[PictureId], described: Descriptors | None = None) -> None:  # noqa: ARG002 - as `Matcher`
        """Make pictures known."""
        self._known.update(dict.fromkeys(ids))

    def remove(self, ids: Sequence[PictureId]) -> None:
        """Forget pictures; ids that are not known are ignored."""
        for picture_id in ids:
            self._known.pop(picture_id, None)

    def match(
        self,
        ids: Sequence[PictureId],
        thumbnails: Thumbnails,
        described: Descriptors | None = None,  # noqa: ARG002 - as `Matcher`
    ) -> Iterator[Matches]:
        """All matches of pictures (N, S, S, 3) with the known ones and with each other, some at a time; adds nothing.

        Each pair comes once, also where some of the pictures are known already.
        """
        new = [
            _Pictures(np.array(ids[start : start + _NEW_AT_ONCE], np.int64), thumbnails[start : start + _NEW_AT_ONCE])
            for start in range(0, len(ids), _NEW_AT_ONCE)
        ]
        if not new:
            return
        asked = set(ids)
        known = [picture_id for picture_id in self._known if picture_id not in asked]
        at_once = max(1, _READ_BYTES // thumbnails[0].nbytes)
        for start in range(0, len(known), at_once):
            some = known[start : start + at_once]
            others = _Pictures(np.array(some, np.int64), self._read_thumbnails(list(some)))
            for part in new:
                yield from self._between(part, others)
        for place, part in enumerate(new):
            yield from self._between(part, part)
            for others in new[place + 1 :]:
                yield from self._between(part, others)

    def _between(self, first: "_Pictures", second: "_Pictures") -> Iterator[Matches]:
        """The matches of two stacks of pictures, or of one within itself."""
        left = self._device.run(lambda: list(self._left_over(first.thumbnails, second.thumbnails)))
        for mirrored, rows, columns in left:
            if first is second:
                once = rows < columns
                rows, columns = rows[once], columns[once]
            for some in _cells(rows, columns, first.thumbnails.shape[1]):
                yield self._measured(first, second, rows[some], columns[some], mirrored)

    def _left_over(self, first: Thumbnails, second: Thumbnails) -> Iterator[tuple[bool, Rows, Rows]]:
        """Pairs of rows that may match, upright or mirrored, each once; works on the device."""
        device = self._device
        size = _side_of_tile(device.memory_bytes, first[0].size)
        for top in range(0, len(first), size):
            some = device.to_device(first[top : top + size])
            turned = [(False, _Vectors.of(some, device.xp))]
            if self._limits.mirrored:  # whichever of the two is mirrored, the measures are the same
                turned.append((True, _Vectors.of(some[:, :, ::-1], device.xp)))
            for left in range(0, len(second), size):
                others = _Vectors.of(device.to_device(second[left : left + size]), device.xp)
                for mirrored, vectors in turned:
                    within = vectors.within(others, self._limits, device.xp)  # (F, K) bool
                    places = device.to_host(device.xp.flatnonzero(within))
                    rows, columns = np.divmod(places, within.shape[1])
                    yield mirrored, rows + top, columns + left

    def _measured(self, first: "_Pictures", second: "_Pictures", rows: Rows, columns: Rows, mirrored: bool) -> Matches:
        some_rows, row_places = np.unique(rows, return_inverse=True)
        some_columns, column_places = np.unique(columns, return_inverse=True)
        values = exact.measure_chosen(
            first.thumbnails[some_rows], second.thumbnails[some_columns], row_places, column_places, mirrored=mirrored
        )
        near = (values.mse <= self._limits.keep_mse) | (values.structure <= self._limits.keep_structure)
        a, b = first.ids[rows[near]], second.ids[columns[near]]
        return Matches(
            np.minimum(a, b),
            np.maximum(a, b),
            np.full(len(a), mirrored),
            values.mse[near],
            values.structure[near],
            np.full(len(a), np.nan),
        )


class _Pictures(NamedTuple):
    ids: NDArray[np.int64]  # (N,)
    thumbnails: Thumbnails


class _Vectors(NamedTuple):
    """What N pictures are compared by on the device: for each measure a spectrum and the squared lengths (N,)."""

    pixels: turns.Spectrum  # float32
    pixel_squares: Any  # float64
    luma: turns.Spectrum  # float32
    luma_squares: Any  # float64

    @classmethod
    def of(cls, thumbnails: Any, xp: Any) -> "_Vectors":
        """From (N, S, S, 3) thumbnails."""
        sums = exact.sums(thumbnails, xp)
        squares, total, variance, divisor = sums.per_picture
        normalised = (exact.CELLS * sums.luma - total[:, None, None]) / xp.sqrt(divisor)[:, None, None]
        luma = turns.Spectrum(*(part.astype(np.float32) for part in turns.spectrum(normalised, xp)))
        return cls(turns.spectrum(sums.pixels, xp), squares, luma, exact.CELLS * variance / divisor)

    def within(self, others: "_Vectors", limits: Limits, xp: Any) -> Any:
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


def _near(first: tuple[turns.Spectrum, Any], second: tuple[turns.Spectrum, Any], bound: float, xp: Any) -> Any:
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


def _cells(rows: Rows, columns: Rows, side_px: int) -> Iterator[Rows]:
    """Places of pairs, in parts whose pictures are few enough to be measured together."""
    height, width = (max(1, pictures * 32 * 32 // (side_px * side_px)) for pictures in _CELL)
    cells = (rows // height) * (columns.max(initial=0) // width + 1) + columns // width
    order = np.argsort(cells, kind="stable")
    if len(order):
        yield from np.split(order, np.flatnonzero(np.diff(cells[order])) + 1)
