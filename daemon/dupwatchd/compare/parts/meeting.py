"""Which keypoints meet: points of 16 small whole numbers go in, pairs of rows come out.

All is counted in whole numbers. They are held as float32, in which matrix products are quickest, and in which they are
exact: no sum here comes near 2**24.
"""

import numpy as np
from numpy.typing import NDArray

MOST_DISTANCE = 240  # squared, of 16 coefficients: 1.5 hundredths of the square of 127
MOST_ALIKE = 3

_PICTURES_AT_ONCE = 256
_FAR = 1 << 23  # added to the squared distance of what is there only to fill a table

Points = NDArray[np.int8]  # (N, 16), -127 … 127
Rows = NDArray[np.int64]
Table = NDArray[np.float32]  # (17, N)


def table_of(points: Points) -> Table:
    """Points in the form in which `meetings` compares with them."""
    across = points.T.astype(np.float32)
    return np.concatenate([-2 * across, np.square(across).sum(axis=0, keepdims=True)])


def meetings(points: Points, table: Table) -> tuple[Rows, Rows]:
    """Pairs of rows, of points (M, 16) and of those in a table, that meet; in the order of both.

    It takes M times N numbers of memory.
    """
    ours = points.astype(np.float32)
    # The square of what a point of the table lies from ours is the sum of three parts, the last one of which is ours.
    two_parts = np.concatenate([ours, np.ones((len(ours), 1), np.float32)], axis=1) @ table
    near = two_parts <= MOST_DISTANCE - np.square(ours).sum(axis=1, keepdims=True)
    of_ours, of_table = np.divmod(np.flatnonzero(near), max(1, near.shape[1]))
    return of_ours, of_table


def taking_part(points: Points, starts: Rows) -> NDArray[np.bool_]:
    """Which keypoints take part (K,), of pictures each of which has those from its start to the start of the next.

    The others meet more than `MOST_ALIKE` keypoints of their own picture.
    """
    counts = np.diff(starts)
    takes_part = np.ones(len(points), np.bool_)
    for first in range(0, len(counts), _PICTURES_AT_ONCE):
        some = counts[first : first + _PICTURES_AT_ONCE]
        rows = np.arange(starts[first], starts[first + len(some)])
        is_there = np.arange(some.max()) < some[:, None]
        by_picture = np.zeros((*is_there.shape, points.shape[1]), np.float32)
        by_picture[is_there] = points[rows]
        squares = np.square(by_picture).sum(axis=2) + np.where(is_there, 0, np.float32(_FAR))
        distances = by_picture @ by_picture.swapaxes(1, 2)
        distances *= -2
        distances += squares[:, None, :]
        distances += squares[:, :, None]
        others = np.count_nonzero(distances <= MOST_DISTANCE, axis=2) - 1
        takes_part[rows] = others[is_there] <= MOST_ALIKE
    return takes_part
