"""Which keypoints meet: points of 16 small whole numbers go in, pairs of rows come out.

Two points meet if their squared distance is at most `MOST_DISTANCE`, and at most a share of what both leave untold: a
patch of which 16 coefficients tell nearly all is a smooth one, and resembles all other smooth ones; its copies lie much
nearer to it than those of a patch with fine detail. Of keypoints of different photos, 19 of 20 that would meet
otherwise do not, and of those of copies one in forty.

All is counted in whole numbers. They are held as float32, in which matrix products are quickest, and in which they are
exact: no sum here comes near 2**24.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dupwatchd.pixels.keypoints import MOST_COEFFICIENT

MOST_DISTANCE = 320  # squared, of 16 coefficients: two hundredths of the square of 127
MOST_SHARE, MOST_SHARE_OF = 3, 100  # of what both leave untold, the square of 127 less the squares of the coefficients
MOST_ALIKE = 3

_FAR_APART = math.isqrt(MOST_DISTANCE)  # what differs by more in one coefficient is farther than that
_ROWS, _COLUMNS = 64, 832  # of points compared at once: such small products need not be packed, and stay in the cache
_PICTURES_AT_ONCE = 256
_FAR = 1 << 23  # added to the squared distance of what is there only to fill a table

Points = NDArray[np.int8]  # (N, 16), -127 … 127
Rows = NDArray[np.int64]
Table = NDArray[np.float32]  # (17, N)


def meets(distance: Any, our_squares: Any, their_squares: Any) -> Any:
    """Whether two points meet, by their squared distance and the sums of their squares; or many, from arrays."""
    untold = 2 * MOST_COEFFICIENT**2 - our_squares - their_squares
    return (distance <= MOST_DISTANCE) & (MOST_SHARE_OF * distance <= MOST_SHARE * untold)


def around(points: Points) -> tuple[Points, NDArray[np.int32]]:
    """Where all lies that meets each of some points: around another point (N, 16), within a squared distance (N,).

    Beside what is nearer than `MOST_DISTANCE`, q meets p if |q - p|² <= s (2 * 127² - |p|² - |q|²), s being the share.
    That is a ball around p / (1 + s): for a smooth patch a smaller one than any around p.
    """
    share = MOST_SHARE / (MOST_SHARE_OF + MOST_SHARE)  # s / (1 + s)
    exact = points.astype(np.float64)
    squares = np.square(exact).sum(axis=1)
    middles = (1 - share) * exact
    rounded = np.rint(middles)
    radius = np.sqrt(2 * share * np.maximum(0, MOST_COEFFICIENT**2 - squares) + share**2 * squares)
    off = np.sqrt(np.square(middles - rounded).sum(axis=1))
    bounds = np.floor(np.square(radius + off)) + 1  # one more than rounding can take away
    is_smaller = bounds < MOST_DISTANCE
    return np.where(is_smaller[:, None], rounded, exact).astype(np.int8), np.minimum(bounds, MOST_DISTANCE).astype(
        np.int32
    )


def table_of(points: Points) -> Table:
    """Points in the form in which `meetings` compares with them."""
    across = points.T.astype(np.float32)
    return np.concatenate([-2 * across, np.square(across).sum(axis=0, keepdims=True)])


def meetings(points: Points, table: Table) -> tuple[Rows, Rows]:
    """Pairs of rows, of points (M, 16) and of those in a table, that meet; in the order of both.

    It takes M times N numbers of memory.
    """
    ours = points.astype(np.float32)
    squares = np.square(ours).sum(axis=1)
    # The square of what a point of the table lies from ours is the sum of three parts, the last one of which is ours.
    two_parts = np.concatenate([ours, np.ones((len(ours), 1), np.float32)], axis=1) @ table
    near = np.flatnonzero(two_parts <= MOST_DISTANCE - squares[:, None])
    of_ours, of_table = np.divmod(near, max(1, two_parts.shape[1]))
    met = meets(two_parts.reshape(-1)[near] + squares[of_ours], squares[of_ours], table[-1, of_table])
    return of_ours[met], of_table[met]


class Sought:
    """Points among which those are sought that meet others; it takes 80 bytes a point.

    In order, what lies too far away by the first number alone is passed over: of keypoints two in three. To put them in
    order takes longer than to seek those of a picture or two.
    """

    def __init__(self, points: Points, *, ordered: bool) -> None:
        self._order = np.argsort(points[:, 0], kind="stable") if ordered else None
        if self._order is not None:
            points = points.take(self._order, axis=0)
        self._first = points[:, 0].astype(np.int16)
        self._table = np.empty((points.shape[1] + 2, len(points)), np.float32)
        across, squares, ones = self._table[:-2], self._table[-2], self._table[-1]
        across[...] = points.T
        np.einsum("ij,ij->j", across, across, out=squares)
        across *= -2
        ones[...] = 1

    def meetings(self, points: Points, most: int) -> tuple[Rows, Rows] | None:
        """Pairs of rows, of points (M, 16) and of those here, that meet; in no order. None if they are more than that.

        It takes little memory beside.
        """
        order = np.argsort(points[:, 0], kind="stable")
        first = points[order, 0].astype(np.int16)
        ours = points[order].astype(np.float32)
        squares = np.square(ours).sum(axis=1)
        # One column more than in `meetings`: what comes out is the squared distance, less the most that it may be.
        wanted = np.concatenate(
            [ours, np.ones((len(ours), 1), np.float32), squares[:, None] - np.float32(MOST_DISTANCE)], axis=1
        )
        found = [(np.empty(0, np.int64), np.empty(0, np.int64))]
        room = np.empty(_ROWS * _COLUMNS, np.float32)  # new memory for each product takes longer than the product
        for top in range(0, len(ours), _ROWS):
            some = wanted[top : top + _ROWS]
            start, stop = self._within_reach(first[top], first[min(top + _ROWS, len(ours)) - 1])
            for left in range(start, stop, _COLUMNS):
                columns = min(_COLUMNS, stop - left)
                beyond = room[: len(some) * columns].reshape(len(some), columns)
                np.matmul(some, self._table[:, left : left + columns], out=beyond)
                near = np.flatnonzero(beyond <= 0)
                if len(near):
                    row, column = np.divmod(near, beyond.shape[1])
                    row, column, distance = row + top, column + left, beyond.reshape(-1)[near] + MOST_DISTANCE
                    met = meets(distance, squares[row], self._table[-2, column])
                    column = column[met]
                    found.append((order[row[met]], column if self._order is None else self._order[column]))
                    most -= int(np.count_nonzero(met))
                    if most < 0:
                        return None
        of_ours, of_these = (np.concatenate(each) for each in zip(*found, strict=True))
        return of_ours, of_these

    def _within_reach(self, lowest: int, highest: int) -> tuple[int, int]:
        """Where those begin and end that may meet points whose first numbers are these or lie between."""
        if self._order is None:
            return 0, len(self._first)
        start, stop = np.searchsorted(self._first, (int(lowest) - _FAR_APART, int(highest) + _FAR_APART + 1)).tolist()
        return start, stop


def taking_part(points: Points, starts: Rows) -> NDArray[np.bool_]:
    """Which keypoints take part (K,), of pictures each of which has those from its start to the start of the next.

    The others meet more than `MOST_ALIKE` keypoints of their own picture.
    """
    counts = np.diff(starts)
    takes_part = np.ones(len(points), np.bool_)
    by_count = np.argsort(counts, kind="stable")  # so that those taken together have about as many
    for first in range(0, len(counts), _PICTURES_AT_ONCE):
        some = by_count[first : first + _PICTURES_AT_ONCE]
        is_there = np.arange(counts[some].max()) < counts[some, None]
        rows = (starts[some, None] + np.arange(is_there.shape[1]))[is_there]
        by_picture = np.zeros((*is_there.shape, points.shape[1]), np.float32)
        by_picture[is_there] = points[rows]
        squares = np.square(by_picture).sum(axis=2)
        beyond = np.where(is_there, squares, np.float32(_FAR))
        # as in `meetings`: two of the three parts of each squared distance
        two_parts = (-2 * by_picture) @ np.ascontiguousarray(by_picture.swapaxes(1, 2))
        two_parts += beyond[:, None, :]
        near = np.flatnonzero(two_parts <= MOST_DISTANCE - beyond[:, :, None])
        picture, one, other = np.unravel_index(near, two_parts.shape)
        ours, theirs = squares[picture, one], squares[picture, other]
        met = meets(two_parts[picture, one, other] + ours, ours, theirs) & (one != other)
        others = np.zeros(is_there.shape, np.int64)
        np.add.at(others, (picture[met], one[met]), 1)
        takes_part[rows] = others[is_there] <= MOST_ALIKE
    return takes_part
