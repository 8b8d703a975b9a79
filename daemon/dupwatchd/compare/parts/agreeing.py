"""Where a picture in a frame shows the same as another one that goes on beyond the frame's inner edge.

Of a photo that was cut and then framed, the outline of the whole photo reaches over the frame. What lies in the frame
is told by what both show alike: rows and columns in which they differ are none of it.
"""

import numpy as np
from numpy.typing import NDArray

from dupwatchd.compare.parts.beyond import Extent
from dupwatchd.compare.verdict.laid import seen_at, shared_box
from dupwatchd.compare.verdict.register import corners, inverse
from dupwatchd.pixels import levels
from dupwatchd.pixels.levels import Levels, Map, Size

_OFF_LEVELS, _BLUR_PX = 16, 1.0  # how far apart pixels are that show another thing
_MOST_OFF = (0.5, 0.35, 0.2)  # of the pixels of a row or column, in rounds in which less and less of the frame is left
_AT_ONCE = 3  # rows: one that agrees between two that do not is none of the picture, nor the other way round
_EDGE_PX = 3  # the edge of the frame is the strongest one within so many rows
_ABOUT_PX = 2  # as far as outlines are off
_LEAST_PX = 16


def agreeing(framed: Levels, other: Levels, to_other: Map) -> Extent | None:
    """The box in which ``framed`` shows what the other does there, by a map to its pixels; None: it is too small."""
    box = shared_box(to_other, _size_of(other), _size_of(framed), 0)
    if box is None:
        return None
    here, there = (
        levels.blurred(plane.astype(np.float32), _BLUR_PX)
        for plane in (np.ascontiguousarray(framed[box]), seen_at(other, to_other, framed, box))
    )
    is_off = levels.difference(here, there) > _OFF_LEVELS
    rows, columns = slice(0, is_off.shape[0]), slice(0, is_off.shape[1])
    for most in _MOST_OFF:
        rows = _longest(is_off[:, columns].mean(axis=1) <= most)
        columns = _longest(is_off[rows].mean(axis=0) <= most) if rows.stop > rows.start else rows
        if min(rows.stop - rows.start, columns.stop - columns.start) < _LEAST_PX:
            return None
    (top, bottom), (left, right) = (
        (outer.start + inner.start, outer.start + inner.stop) for inner, outer in zip((rows, columns), box, strict=True)
    )
    across, down = framed[:, left:right].astype(np.int16), framed[top:bottom].T.astype(np.int16)
    placed = _placed(to_other, _size_of(other), _size_of(framed))
    return Extent(
        _edge(across, top, placed.top), _edge(across, bottom, placed.bottom),
        _edge(down, left, placed.left), _edge(down, right, placed.right),
    )  # fmt: skip


def _longest(agrees: NDArray[np.bool_]) -> slice:
    """The longest run of rows that agree."""
    padded = np.pad(agrees, _AT_ONCE // 2, mode="edge")
    most = np.convolve(padded, np.ones(_AT_ONCE), "valid") > _AT_ONCE / 2
    ends = np.flatnonzero(np.diff(np.concatenate([[False], most, [False]]).astype(np.int8))).reshape(-1, 2)
    if not len(ends):
        return slice(0, 0)
    start, stop = ends[np.argmax(ends[:, 1] - ends[:, 0])].tolist()
    return slice(start, stop)


def _edge(rows: NDArray[np.int16], near: int, placed: float) -> float:
    """Where the picture ends: with the framed one, if it is placed so; else before the strongest edge near a row."""
    if abs(near - placed) <= _EDGE_PX + 1 and min(placed, len(rows) - placed) < _ABOUT_PX:
        return placed
    first, last = max(1, near - _EDGE_PX), min(len(rows) - 1, near + _EDGE_PX)
    steps = np.abs(rows[first : last + 1] - rows[first - 1 : last]).mean(axis=1)
    return float(first + int(steps.argmax()))


def _placed(to_other: Map, other: Size, framed: Size) -> Extent:
    """What both show, in pixels of the framed one."""
    places = corners(other) @ inverse(to_other).T + 0.5
    x, y = np.clip(np.sort(places, axis=0), 0, framed).T.tolist()
    return Extent(y[1], y[2], x[1], x[2])


def _size_of(luma: Levels) -> Size:
    return luma.shape[1], luma.shape[0]
