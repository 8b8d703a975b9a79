"""Whether what lies around a part of a picture is a frame: a border, bars, a caption, the screen of a phone.

The luma of a picture and the sides of the part go in. Beyond a frame's inner edge everything is another, and along it
nothing changes: it has one tone there, or that of a blurred copy. A picture that goes on beyond a part cut from it has
as much structure on one side of the cut as on the other.
"""

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dupwatchd.compare.parts.beyond import Extent, shows_another, shows_no_other
from dupwatchd.pixels.levels import Levels

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]  # (H, W)

_LEAST_PX, _LEAST_SHARE = 2, 0.01  # of a side: less around the part says nothing
_APART_PX = 3  # between pixels that are compared: edges are averaged over less
_EDGE_PX = 1  # beside the sides of the part that the edge may reach
# Of 1,300 cut pictures none is called framed, and of 760 framed ones 97 of 100, and 91 where the frame is blurred.
_LEAST_STEP, _ENOUGH = 1.1, 3.0  # times what the part changes by over that distance
_MOST_STEP = 1.3  # likewise: where a picture goes on, hardly more changes than within
_MOST_STEP_OF_ALL, _NEAR_PX = 2.0, 12  # likewise, if as much changes at each side within so many rows of it
_SMOOTH = 0.1  # of the step: along a frame no more than that share of what changes along the part

_BLURRED_PX, _RIM_PX = 2, 3  # beside the outline of a part; what is looked at within it
_TONE_LEVELS, _STRAYS, _EDGE = 12, 0.03, 0.6  # as of margins
# Of 4,560 cuts through 380 photos, 120 of them of clothes, 2 look like that beside all their sides, of 24 dates 23.
_GROUND_LEVELS, _GROUND, _BESIDE = 2, 0.5, 0.95
_STRAYS_ASLANT = 0.003  # of the ground around what lies aslant: fewer than a photo of lights at night has


def is_framed(luma: Levels, corners: Floats, *, leans: bool) -> bool | None:
    """Whether what a picture (H, W) shows beyond a part is a frame; None: it may be one, or another, quiet picture.

    The corners (4, 2) of the part go round it, in pixels; 0 is the outer edge of the first row and column.
    """
    part = extent_of(corners)
    is_blank = is_blank_around(luma, corners)
    if not is_blank and (leans or not is_frame(luma, part)):
        return False
    is_certain = is_blank_around(luma, corners, _STRAYS_ASLANT) if leans else shows_no_other(luma, part)
    return True if is_certain else None


def extent_of(corners: Floats) -> Extent:
    """The sides of a part that lies upright, or nearly so."""
    x, y = np.sort(corners, axis=0).T
    return Extent((y[0] + y[1]) / 2, (y[2] + y[3]) / 2, (x[0] + x[1]) / 2, (x[2] + x[3]) / 2)


def is_frame(luma: Levels, part: Extent) -> bool:
    """Whether what a picture (H, W) shows beyond a part of it is a frame around that part."""
    return (_is_frame(_told(luma, part)) or _begins_on_one_tone(luma, part)) and not shows_another(luma, part)


def is_frame_all_round(luma: Levels, part: Extent) -> bool:
    """Likewise, certainly, on two opposite sides at least, and at none of its sides the picture goes on.

    Beyond one of two pieces of a picture, each of which reaches farther than the other, never both of such sides lie.
    """
    height, width = luma.shape
    room = part.top, height - part.bottom, part.left, width - part.right
    top, bottom, left, right = (at >= _LEAST_PX for at in room)
    if not ((top and bottom) or (left and right)):
        return False
    told = _told(luma, part)
    is_smooth = bool((told.beyond <= _SMOOTH * _ENOUGH * np.maximum(1, told.along)).all())
    return is_smooth and is_frame(luma, part) and shows_no_other(luma, part)


def goes_on(luma: Levels, part: Extent) -> bool:
    """Whether a picture (H, W) shows more beyond a part of it, and goes on there as it does within."""
    told = _told(luma, part)
    if not told.length.size or told.mean(told.beyond) <= _SMOOTH * _ENOUGH * told.mean(told.along):
        return False
    step = _step(told)
    return step <= _MOST_STEP or (step <= _MOST_STEP_OF_ALL and all(_changes_so(*side) for side in _sides(luma, part)))


def is_blank_around(luma: Levels, corners: Floats, strays: float = _STRAYS) -> bool:
    """Whether a picture (H, W) is of one tone beyond a part that may lie aslant, and another where that begins.

    Of ``corners`` see `is_framed`; but for so many ``strays``.
    """
    return _is_blank_beyond(luma, *_around_and_rim(_depth(luma.shape, corners)), strays)


def is_round(luma: Levels) -> bool:
    """Whether a picture (H, W) was cut to the largest circle or ellipse in it, as portraits of users are."""
    return _is_blank_beyond(luma, *_of_ellipse(*luma.shape))


def within_circle(luma: Levels, degrees: float) -> Extent:
    """A box that lies within that ellipse: at 45 degrees of its shape, wider at less, taller at more."""
    height, width = luma.shape
    across, down = (1 - math.cos(math.radians(degrees))) / 2, (1 - math.sin(math.radians(degrees))) / 2
    return Extent(down * height, (1 - down) * height, across * width, (1 - across) * width)


@lru_cache(maxsize=16)  # most proofs have one of few shapes
def _of_ellipse(height: int, width: int) -> tuple[Mask, Mask]:
    """`_around_and_rim` of the largest ellipse in a picture."""
    half = np.array([height, width]) / 2
    rows, columns = ((np.arange(side) + 0.5) / a_half - 1 for side, a_half in zip((height, width), half, strict=True))
    return _around_and_rim((1 - np.hypot(rows[:, None], columns)) * float(half.min()))


def _around_and_rim(within: Floats) -> tuple[Mask, Mask]:
    """What lies beyond a part, and along its edge in it, by how far within it each pixel lies."""
    return within < -_BLURRED_PX, (within > _BLURRED_PX) & (within < _BLURRED_PX + _RIM_PX)


def _is_blank_beyond(luma: Levels, beyond: Mask, along: Mask, strays: float = _STRAYS) -> bool:
    around, rim = luma[beyond], luma[along]
    if len(around) < _LEAST_SHARE * luma.size or not len(rim):
        return False
    tone = int(np.median(around))
    is_other, is_other_within = (np.abs(some.astype(np.int16) - tone) > _TONE_LEVELS for some in (around, rim))
    return bool(is_other.mean() <= strays and is_other_within.mean() >= _EDGE)


def _depth(shape: tuple[int, ...], corners: Floats) -> Floats:
    """How far within a part each pixel lies, in pixels; below 0 beyond it."""
    rows, columns = np.arange(shape[0])[:, None] + 0.5, np.arange(shape[1]) + 0.5
    following = np.roll(corners, -1, axis=0)
    one, other = corners[1] - corners[0], corners[2] - corners[1]
    turning = np.sign(one[0] * other[1] - one[1] * other[0])
    depth = np.full(shape, np.inf)
    for (x, y), (next_x, next_y) in zip(corners, following, strict=True):
        length = max(1e-6, float(np.hypot(next_x - x, next_y - y)))
        from_side = turning * ((next_x - x) * (rows - y) - (next_y - y) * (columns - x)) / length
        np.minimum(depth, from_side, out=depth)
    return depth


def _is_frame(told: "_Sides") -> bool:
    if not told.length.size:
        return False
    step, smoothness = _step(told), told.mean(told.beyond) / max(1.0, told.mean(told.along))
    return step >= _LEAST_STEP and smoothness <= _SMOOTH * min(step, _ENOUGH)


def _begins_on_one_tone(luma: Levels, part: Extent) -> bool:
    """Whether beside each side everything is of the tone of most of what lies beyond, and little within.

    So it is of a narrow strip full of letters, such as a date. Where a photo of goods on white is cut, white is on both
    sides of the cut.
    """
    sides = list(_sides(luma, part))
    return bool(sides) and all(_begins_so(rows, at) for rows, at in sides)


def _begins_so(rows: NDArray[np.int16], at: int) -> bool:
    outer = max(0, at - _EDGE_PX - 1)
    beyond, within = rows[: outer + 1], rows[at + _EDGE_PX :][:_RIM_PX].mean(axis=0)
    tone = int(np.bincount(beyond.ravel()).argmax())
    is_ground, begins = np.abs(beyond[-1] - tone) <= _TONE_LEVELS, np.abs(within - tone) > _TONE_LEVELS
    of_tone = np.mean(np.abs(beyond - tone) <= _GROUND_LEVELS)
    return bool(of_tone >= _GROUND and is_ground.mean() >= _BESIDE and np.mean(begins & is_ground) >= _EDGE)


def _step(told: "_Sides") -> float:
    return told.mean(told.across) / max(1.0, told.mean(told.within))


def _changes_so(rows: NDArray[np.int16], at: int) -> bool:
    """Whether rows change as much somewhere near an edge, on both sides of it, as they do at the edge."""
    steps = np.abs(rows[:-_APART_PX] - rows[_APART_PX:]).mean(axis=1)
    outer = max(0, at - _EDGE_PX - 1)
    beyond, within = steps[max(0, outer - _NEAR_PX) : max(0, outer - _APART_PX)], steps[at + _EDGE_PX :][:_NEAR_PX]
    return all(float(some.max(initial=0)) >= steps[outer] for some in (beyond, within))


def _told(luma: Levels, part: Extent) -> "_Sides":
    return _Sides(*np.array([_side(rows, at) for rows, at in _sides(luma, part)], np.float64).reshape(-1, 5).T)


def _sides(luma: Levels, part: Extent) -> Iterator[tuple[NDArray[np.int16], int]]:
    """Rows or columns from each edge of the picture inwards, as long as the part is, and how many lie beyond it."""
    height, width = luma.shape
    limits = height, height, width, width
    top, bottom, left, right = (round(min(max(at, 0), limit)) for at, limit in zip(part, limits, strict=True))
    rows, columns = luma[:, left:right].astype(np.int16), luma[top:bottom].T.astype(np.int16)
    for plane, at in ((rows, top), (rows[::-1], height - bottom), (columns, left), (columns[::-1], width - right)):
        if at >= max(_LEAST_PX, _LEAST_SHARE * len(plane)) and min(len(plane) - at, plane.shape[1]) > 4 * _APART_PX:
            yield plane, at


class _Sides(NamedTuple):
    """How much changes at sides of the part, (S,) each, in grey levels over a short distance."""

    length: Floats  # pixels
    across: Floats  # from what lies beyond to the part
    within: Floats  # in the part, in the same direction
    beyond: Floats  # along the side, beyond it
    along: Floats  # in the part, in the same direction

    def mean(self, values: Floats) -> float:
        """Of the pixels of all sides."""
        return float(np.average(values, weights=self.length))


def _side(rows: NDArray[np.int16], at: int) -> tuple[float, float, float, float, float]:
    """What is told of a side, from rows of which ``at`` lie beyond the part."""
    part = rows[at + _EDGE_PX :]
    part = part[: max(2 * _APART_PX, len(part) // 4)]
    outer = max(0, at - _EDGE_PX - 1)  # the last row beyond that the edge does not reach
    across = np.abs(rows[outer] - rows[outer + _APART_PX]).mean()
    within = np.abs(part[_APART_PX:] - part[:-_APART_PX]).mean()
    beyond = rows[max(0, outer - 1) : outer + 1]
    return rows.shape[1], float(across), float(within), _along(beyond), _along(part)


def _along(rows: NDArray[np.int16]) -> float:
    return float(np.abs(rows[:, _APART_PX:] - rows[:, :-_APART_PX]).mean())
