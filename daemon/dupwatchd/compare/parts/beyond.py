"""Whether what a picture shows beyond a part of it may be another picture, as in a collage.

The luma of a picture and the extent of the part go in. A file may go for what lies within its frame, so that a frame
is told from a quiet photo, such as of a sky, of lights at night or of fog, by what no photo has.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dupwatchd.pixels import levels
from dupwatchd.pixels.levels import Levels

_BESIDE_PX, _LEAST_SHARE = 5, 0.01  # of the part that is left out; less around it holds nothing

# Another photo, of 40 in collages or as a ground, has structure in 21 of 100 places at least, and its eight most
# frequent tones, of two grey levels each, cover 35 of 100 at most. Wood, a page or a screen exceed 39.
_AROUND_PX, _BUSY, _BUSY_SHARE = 7, 10, 0.2
_FEW_TONES, _FEW_TONES_SHARE = 8, 0.38

# Times what the part measures in that direction: so much beside it, or so much all around, has no room for a picture.
_THIN, _THIN_ALL_ROUND, _STRIP = 0.15, 0.4, 0.3
_TONE_LEVELS, _STRAYS = 12, 0.0005  # of one tone: less than a plane in the sky
# Text, buttons and bubbles on a ground that is exactly of one tone. Of captions that covers 64 of 100 and more, of
# screens 59, and at 91 of them it is exactly that; at least 48 of 100 of their rows are blank. A night with 40 lights
# is as evenly dark, but has lights in 63 of 100 rows and more.
_GROUND_LEVELS, _GROUND, _GRAIN_LEVELS, _EXACTLY, _BLANK_ROWS = 2, 0.55, 6, 0.9, 0.45
_OPPOSITE = 0.1  # of the room at the opposite side: a screen shows a picture between two pieces of its ground
# A copy of the part that covers everything, blurred and darkened.
_BLUR_SHARES, _DARKENED, _OFF = (0.025, 0.035, 0.055), (0.3, 1.3), 0.03
_FINE_PX, _FINE, _FINE_SHARE = 2, 4, 0.01  # detail that a blurred copy hardly has: JPEG brings some


class Extent(NamedTuple):
    """The sides of a part of a picture, in pixels: 0 is the outer edge of its first row and column."""

    top: float
    bottom: float
    left: float
    right: float


def shows_another(luma: Levels, part: Extent) -> bool:
    """Whether there certainly is another photo beyond the part: much structure, and tones of all kinds.

    Text, buttons and ornaments have as much structure, on few tones; a blurred copy has many tones and no structure.
    """
    beyond = _beyond(luma, part)
    there = luma[beyond]
    if len(there) < _LEAST_SHARE * luma.size:
        return False
    _, deviation = levels.box_mean_and_deviation(luma.astype(np.float32), _AROUND_PX)
    busy = np.count_nonzero(deviation[beyond] > _BUSY) / len(there)
    counts = np.sort(np.bincount(there >> 1, minlength=128))
    few = counts[-_FEW_TONES:].sum() / len(there)
    return bool(busy >= _BUSY_SHARE and few < _FEW_TONES_SHARE)


def shows_no_other(luma: Levels, part: Extent) -> bool:
    """Whether there certainly is no other picture: too little room, one tone, text on one, or the part, blurred."""
    beyond = _beyond(luma, part)
    there = luma[beyond].astype(np.int16)
    if len(there) < _LEAST_SHARE * luma.size:
        return True
    room = _room(luma, part)
    if room.max() <= _THIN or (room.min() >= _LEAST_SHARE and room.max() <= _THIN_ALL_ROUND):
        return True
    if np.mean(np.abs(there - int(np.median(there))) > _TONE_LEVELS) <= _STRAYS:
        return True
    return _is_text_on_one_tone(luma, beyond, room) or _is_blurred_copy(luma, part, beyond)


def _beyond(luma: Levels, part: Extent) -> NDArray[np.bool_]:
    beyond = np.ones(luma.shape, np.bool_)
    top, bottom, left, right = (max(0, round(at)) for at in part)
    first_row, first_column = max(0, top - _BESIDE_PX), max(0, left - _BESIDE_PX)
    beyond[first_row : bottom + _BESIDE_PX, first_column : right + _BESIDE_PX] = False
    return beyond


def _room(luma: Levels, part: Extent) -> NDArray[np.float64]:
    """Above and below, left and right of a part: (2, 2), times what that measures in the same direction."""
    height, width = luma.shape
    room = np.array([[part.top, height - part.bottom], [part.left, width - part.right]])
    measures = np.array([[part.bottom - part.top], [part.right - part.left]])
    of_part: NDArray[np.float64] = np.maximum(0, room) / np.maximum(1, measures)
    return of_part


def _is_text_on_one_tone(luma: Levels, beyond: NDArray[np.bool_], room: NDArray[np.float64]) -> bool:
    """In a strip, or above and below the part, or left and right of it."""
    lesser, larger = np.sort(room, axis=1).T
    if room.max() > _STRIP and not ((larger > _THIN) & (lesser >= _OPPOSITE * larger)).any():
        return False
    tone = int(np.bincount(luma[beyond]).argmax())
    off = np.abs(luma.astype(np.int16) - tone)
    there = off[beyond]
    if np.mean(there <= _GROUND_LEVELS) < _GROUND:
        return False
    if room.max() <= _STRIP:
        return True
    exactly = np.count_nonzero(there == 0) / np.count_nonzero(there <= _GRAIN_LEVELS)
    rows, written = beyond.any(axis=1), (beyond & (off > _GRAIN_LEVELS)).any(axis=1)
    blank = 1 - np.count_nonzero(written) / np.count_nonzero(rows)
    return bool(exactly >= _EXACTLY and blank >= _BLANK_ROWS)


def _is_blurred_copy(luma: Levels, part: Extent, beyond: NDArray[np.bool_]) -> bool:
    plane = luma.astype(np.float32)
    fine = levels.difference(plane, levels.blurred(plane, _FINE_PX))[beyond]
    top, bottom, left, right = (max(0, round(at)) for at in part)
    inner = np.ascontiguousarray(luma[top:bottom, left:right])
    if np.mean(fine > _FINE) > _FINE_SHARE or not inner.size:
        return False
    height, width = luma.shape
    scale = max(height / inner.shape[0], width / inner.shape[1])
    size = max(width, round(scale * inner.shape[1])), max(height, round(scale * inner.shape[0]))
    first_row, first_column = (size[1] - height) // 2, (size[0] - width) // 2
    cover = levels.resized(inner, size)[first_row : first_row + height, first_column : first_column + width]
    there = plane[beyond].astype(np.float64)
    for share in _BLUR_SHARES:
        blurred = levels.blurred(np.ascontiguousarray(cover).astype(np.float32), share * max(height, width))[beyond]
        its = np.column_stack([blurred, np.ones(len(there))]).astype(np.float64)
        light, *_ = np.linalg.lstsq(its, there)
        off = np.mean(np.abs(its @ light - there) > _TONE_LEVELS)
        if off <= _OFF and _DARKENED[0] <= light[0] <= _DARKENED[1]:
            return True
    return False
