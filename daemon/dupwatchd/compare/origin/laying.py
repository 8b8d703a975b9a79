"""Two pictures laid upon each other: turned alike, shifted, cut to what both show."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from dupwatchd.compare.origin.candidate import Candidate
from dupwatchd.pixels.blocks import Floats, Luma

_Number = TypeVar("_Number", np.uint8, np.float32)

SHIFT_WINDOW_PX = 256
MIN_OVERLAP = 0.75  # of the smaller picture's width and height
MIN_CORRELATION = 0.93
MIN_SIDE_PX = 48
SAME_ASPECT = 0.03


@dataclass(frozen=True, slots=True)
class Laid:
    """One of two pictures, turned as the other one is."""

    pixels: Luma  # (H, W), a view
    top: int  # where its own JPEG grid begins, 0 … 7
    left: int
    steps: Floats | None  # (8, 8), turned with the pixels


@dataclass(frozen=True, slots=True)
class Pair:
    """Two pictures laid upon each other; of different shape if one is scaled."""

    first: Laid
    second: Laid

    @property
    def scaled(self) -> bool:
        """One of them must be resized before pixels can be compared."""
        return self.first.pixels.shape != self.second.pixels.shape


def laid_upon(first: Candidate, second: Candidate) -> Pair:
    """``first`` turned as ``second`` is stored; both cut to what they share if one is a part of the other, unscaled."""
    likeness = [float((_turned(first.small, turn) * second.small).sum()) for turn in range(8)]
    turns = sorted(range(8), key=lambda turn: (-likeness[turn], turn))
    upright = _laid(second, 0)
    laid = _laid(first, turns[0])
    if laid.pixels.shape == upright.pixels.shape:
        return Pair(laid, upright)
    if pair := _shifted(laid, upright):
        return pair
    if not _same_aspect(laid.pixels, upright.pixels):  # cut from a picture: its own cells lie elsewhere
        for turn in turns[1:]:
            if likeness[turn] > 0 and (pair := _shifted(_laid(first, turn), upright)):
                return pair
    return Pair(laid, upright)


def _turned(pixels: NDArray[_Number], turn: int) -> NDArray[_Number]:
    """A view: 4 in ``turn`` swaps rows and columns, then 2 flips the rows, 1 the columns."""
    if turn & 4:
        pixels = pixels.swapaxes(0, 1)
    return pixels[:: -1 if turn & 2 else 1, :: -1 if turn & 1 else 1]


def _laid(candidate: Candidate, turn: int) -> Laid:
    pixels = _turned(candidate.luma, turn)
    height, width = pixels.shape
    steps = candidate.steps.T if turn & 4 and candidate.steps is not None else candidate.steps
    return Laid(pixels, height % 8 if turn & 2 else 0, width % 8 if turn & 1 else 0, steps)


def _same_aspect(first: Luma, second: Luma) -> bool:
    aspects = first.shape[0] / first.shape[1], second.shape[0] / second.shape[1]
    return bool(max(aspects) < (1 + SAME_ASPECT) * min(aspects))


def _shifted(first: Laid, second: Laid) -> Pair | None:
    """Both cut to what they share, if one is the other moved by whole pixels."""
    rows, columns = _offset(first.pixels, second.pixels)
    a, top_a, top_b, height = _shared(first.pixels.shape[0], second.pixels.shape[0], rows)
    b, left_a, left_b, width = _shared(first.pixels.shape[1], second.pixels.shape[1], columns)
    if not (a and b):
        return None
    pair = Pair(_cut(first, top_a, left_a, height, width), _cut(second, top_b, left_b, height, width))
    if _correlation(pair.first.pixels[::3, ::3], pair.second.pixels[::3, ::3]) < MIN_CORRELATION:
        return None
    return pair


def _shared(first: int, second: int, offset: int) -> tuple[bool, int, int, int]:
    """Of two sides, the first moved by ``offset``: is enough shared, where it begins in each, and how long it is."""
    begin_second = max(0, -offset)
    length = min(second, first - offset) - begin_second
    return length >= max(MIN_SIDE_PX, MIN_OVERLAP * min(first, second)), begin_second + offset, begin_second, length


def _cut(laid: Laid, top: int, left: int, height: int, width: int) -> Laid:
    pixels = laid.pixels[top : top + height, left : left + width]
    return Laid(pixels, (laid.top - top) % 8, (laid.left - left) % 8, laid.steps)


def _offset(first: Luma, second: Luma) -> tuple[int, int]:
    """(rows, columns) so that second[y, x] is about first[y + rows, x + columns], from the middles of both."""
    side = min(SHIFT_WINDOW_PX, *first.shape, *second.shape)
    starts = [((p.shape[0] - side) // 2, (p.shape[1] - side) // 2) for p in (first, second)]
    window = np.hanning(side).astype(np.float32)
    spectra = []
    for pixels, (top, left) in zip((first, second), starts, strict=True):
        part = pixels[top : top + side, left : left + side].astype(np.float32)
        spectra.append(np.fft.rfft2((part - part.mean()) * window[:, None] * window))
    cross = spectra[1] * np.conj(spectra[0])
    size = np.abs(cross)
    peaks = np.fft.irfft2(cross / (size + 1e-3 * size.mean() + 1e-9), s=(side, side))
    row, column = (int(i) for i in np.unravel_index(int(peaks.argmax()), peaks.shape))
    row, column = (i - side if i > side // 2 else i for i in (row, column))
    return starts[0][0] - starts[1][0] - row, starts[0][1] - starts[1][1] - column


def _correlation(first: Luma, second: Luma) -> float:
    a, b = first.astype(np.float32), second.astype(np.float32)
    a -= a.mean()
    b -= b.mean()
    return float((a * b).sum() / (np.linalg.norm(a) * np.linalg.norm(b) + 1e-6))
