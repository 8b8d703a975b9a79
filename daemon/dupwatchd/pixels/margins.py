"""Margins of one colour around a picture: borders, bars, passe-partouts.

The luma of a picture goes in, the part without margins comes out. A margin is a run of rows or columns of one tone that
ends in a straight edge, so that sky, snow or the ground of a drawing are none.
"""

from typing import NamedTuple

import numpy as np

from dupwatchd.pixels.levels import Levels

_LEVELS = 12  # grey levels around its tone that belong to a margin
_STRAYS = 0.03  # of a row of a margin may have another tone: noise, dust
_FIRST_ROWS = 2  # tell the tone
_EDGE_ROWS = 3  # within which a margin ends: edges are averaged over some rows
_EDGE = 0.6  # of a row at the edge has another tone
_LEAST_SIDE = 0.2  # of each side is left
_LEAST_PX = 8
_ROUNDS = 3  # frames within frames
_RINGING_PX = 1  # beside an edge


class Inner(NamedTuple):
    """What lies within the margins, in rows and columns of the picture."""

    top: int
    bottom: int
    left: int
    right: int

    def of(self, plane: Levels) -> Levels:
        """That part of a plane."""
        return plane[self.top : self.bottom, self.left : self.right]


def within_margins(luma: Levels) -> Inner:
    """What is left of a picture (H, W) without margins; all of it if there are none, or if hardly anything is left."""
    height, width = luma.shape
    inner = Inner(0, height, 0, width)
    for _ in range(_ROUNDS):
        less = _less(inner, luma)
        if less == inner:
            break
        inner = less
    if inner.bottom - inner.top < _LEAST_SIDE * height or inner.right - inner.left < _LEAST_SIDE * width:
        return Inner(0, height, 0, width)
    return inner


def _less(inner: Inner, luma: Levels) -> Inner:
    rows = inner.of(luma)
    top, bottom = _margin(rows), _margin(rows[::-1])
    columns = rows[top : len(rows) - bottom].T
    left, right = _margin(columns), _margin(columns[::-1])
    return Inner(inner.top + top, inner.bottom - bottom, inner.left + left, inner.right - right)


def _margin(rows: Levels) -> int:
    """How many rows at the top are a margin, with what rings beside it; at most a half of all."""
    count = len(rows) // 2
    if count < _LEAST_PX or rows.shape[1] < _LEAST_PX:
        return 0
    first = rows[:_FIRST_ROWS].ravel()
    tone = np.partition(first, len(first) // 2)[len(first) // 2]
    lowest, highest = np.uint8(max(0, int(tone) - _LEVELS)), np.uint8(min(255, int(tone) + _LEVELS))
    if np.count_nonzero((first < lowest) | (first > highest)) / len(first) > _STRAYS:
        return 0
    other = ((rows[:count] < lowest) | (rows[:count] > highest)).mean(axis=1)
    ends = np.flatnonzero(other > _STRAYS)
    if not len(ends):
        return 0
    edge = np.flatnonzero(other[ends[0] : ends[0] + _EDGE_ROWS] >= _EDGE)
    return int(ends[0] + edge[0]) + _RINGING_PX if len(edge) else 0
