"""Whether what lies around a part of a picture is a frame: a border, bars, a caption, the screen of a phone.

The luma of a picture and the sides of the part go in. Beyond a frame's inner edge everything is another, and along it
nothing changes: it has one tone there, or that of a blurred copy. A picture that goes on beyond a part cut from it has
as much structure on one side of the cut as on the other.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dupwatchd.pixels.levels import Levels

_LEAST_PX, _LEAST_SHARE = 2, 0.01  # of a side: less around the part says nothing
_APART_PX = 3  # between pixels that are compared: edges are averaged over less
_EDGE_PX = 1  # beside the sides of the part that the edge may reach
# Of 1,300 cut pictures none is called framed, and of 760 framed ones 97 of 100, and 91 where the frame is blurred.
_LEAST_STEP, _ENOUGH = 1.1, 3.0  # times what the part changes by over that distance
_SMOOTH = 0.1  # of the step: along a frame no more than that share of what changes along the part


class Box(NamedTuple):
    """A part of a picture, in pixels: 0 is the outer edge of its first row and column."""

    top: float
    bottom: float
    left: float
    right: float


def is_frame(luma: Levels, part: Box) -> bool:
    """Whether what a picture (H, W) shows beyond a part of it is a frame around that part."""
    sides = [_Side.of(rows, at) for rows, at in _sides(luma, part)]
    if not sides:
        return False
    told = np.array(sides)
    across, within, beyond, along = np.average(told[:, 1:], axis=0, weights=told[:, 0]).tolist()
    step, smoothness = across / max(1.0, within), beyond / max(1.0, along)
    return bool(step >= _LEAST_STEP and smoothness <= _SMOOTH * min(step, _ENOUGH))


def _sides(luma: Levels, part: Box) -> Iterator[tuple[NDArray[np.int16], int]]:
    """Rows or columns from each edge of the picture inwards, as long as the part is, and how many lie beyond it."""
    height, width = luma.shape
    limits = height, height, width, width
    top, bottom, left, right = (round(min(max(at, 0), limit)) for at, limit in zip(part, limits, strict=True))
    rows, columns = luma[:, left:right].astype(np.int16), luma[top:bottom].T.astype(np.int16)
    for plane, at in ((rows, top), (rows[::-1], height - bottom), (columns, left), (columns[::-1], width - right)):
        if at >= max(_LEAST_PX, _LEAST_SHARE * len(plane)) and min(len(plane) - at, plane.shape[1]) > 4 * _APART_PX:
            yield plane, at


class _Side(NamedTuple):
    """How much changes at one side of the part, in grey levels over a short distance."""

    length: int  # pixels
    across: float  # from what lies beyond to the part
    within: float  # in the part, in the same direction
    beyond: float  # along the side, beyond it
    along: float  # in the part, in the same direction

    @classmethod
    def of(cls, rows: NDArray[np.int16], at: int) -> "_Side":
        """Of rows of which ``at`` lie beyond the part."""
        part = rows[at + _EDGE_PX :]
        part = part[: max(2 * _APART_PX, len(part) // 4)]
        outer = max(0, at - _EDGE_PX - 1)  # the last row beyond that the edge does not reach
        across = np.abs(rows[outer] - rows[outer + _APART_PX]).mean()
        within = np.abs(part[_APART_PX:] - part[:-_APART_PX]).mean()
        beyond = rows[max(0, outer - 1) : outer + 1]
        return cls(rows.shape[1], float(across), float(within), _along(beyond), _along(part))


def _along(rows: NDArray[np.int16]) -> float:
    return float(np.abs(rows[:, _APART_PX:] - rows[:, :-_APART_PX]).mean())
