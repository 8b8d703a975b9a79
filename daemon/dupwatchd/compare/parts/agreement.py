"""When the keypoints of two pictures show that the pictures may share a part, and how one then lies in the other.

A keypoint of one picture and a keypoint of another *meet* if the squared distance of their coefficients is at most
`MOST_DISTANCE`. A meeting says by how many quarter turns, at what scale and where one picture would lie in the other.
Unrelated pictures have meetings too, but theirs contradict each other. Two meetings of the same two pictures *agree* if
they are of different keypoints in both pictures and

- need the same quarter turn,
- need scales whose ratio is at most 1.19, a quarter of an octave,
- and, after that turn, the way from the one keypoint to the other is the same in both pictures. Ways are measured in
  units of the two keypoints' mean scale in that picture, so that no scale has to be assumed. They may differ by 1.2
  units, or by two hundredths of the longer side of one of the pictures, whichever is more.

Two pictures are *candidates* if two of their meetings agree. All of this is decided in whole numbers and is the same
whichever of the two pictures comes first.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dupwatchd.pixels.keypoints import PLACES_A_PX, SCALES_A_PX, Keypoints

MOST_DISTANCE = 161  # squared, of 16 coefficients: a hundredth of the square of 127
# Numerator and denominator of each bound.
_SCALE_RATIO = 119, 100
_UNITS = 6, 5  # the two keypoints' mean scales
_SIDE = 1, 50  # of the longer side
_SPREAD_PX = 15.0  # how far apart keypoints lie at which their places tell the scale as well as their own scales do

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Placement:
    """How the second of two pictures lies on the first, in pixels of their proofs.

    The second is mirrored left to right if ``mirrored``, turned clockwise about its centre, and enlarged. Then its
    centre lies by ``dx`` widths of the first to the right of the first one's centre, and by ``dy`` heights below it.
    """

    turn_degrees: int  # 0, 90, 180 or 270
    mirrored: bool
    scale: float  # pixels of the first for each pixel of the second
    dx: float
    dy: float
    votes: int  # keypoints in each of the pictures that agree on it; 2 or more

    @property
    def quarters(self) -> int:
        """Quarter turns clockwise."""
        return self.turn_degrees // 90


def placement_of(first: Keypoints, second: Keypoints) -> Placement | None:
    """How the second picture lies on the first; None if they are no candidates.

    The placement is the one on which most keypoints agree. With the pictures exchanged it is the inverse of it, apart
    from rounding.
    """
    of_first, of_second = meetings(first, second)
    return best_placement(first, second, of_first, of_second)


def meetings(first: Keypoints, second: Keypoints) -> tuple[Rows, Rows]:
    """The keypoints of the first and of the second that meet, by their numbers: (M,) each."""
    ours, theirs = first.coefficients.astype(np.int64), second.coefficients.astype(np.int64)
    apart = np.square(ours[:, None] - theirs[None]).sum(axis=2)  # (N, N')
    of_first, of_second = np.nonzero(apart <= MOST_DISTANCE)
    return of_first, of_second


def best_placement(first: Keypoints, second: Keypoints, of_first: Rows, of_second: Rows) -> Placement | None:
    """As `placement_of`, from all meetings (M,) of the two pictures, in any order."""
    if len(of_first) < 2:
        return None
    agree = _agreements(first, second, of_first, of_second)  # (M, M)
    if not agree.any():
        return None
    np.fill_diagonal(agree, val=True)
    votes = np.minimum(_distinct(agree, of_first), _distinct(agree, of_second))
    best = _first_of(votes, first, second, of_first, of_second)
    agreeing = np.flatnonzero(agree[best])
    # in an order that does not depend on that of the meetings, because sums of floats do
    agreeing = agreeing[np.lexsort((of_second[agreeing], of_first[agreeing]))]
    return _fitted(first, second, of_first[agreeing], of_second[agreeing], int(votes[best]))


def _agreements(first: Keypoints, second: Keypoints, of_first: Rows, of_second: Rows) -> NDArray[np.bool_]:
    """Which meetings agree with which others: (M, M), symmetric, False on the diagonal."""
    quarters = _quarters(first, second, of_first, of_second)
    ours, theirs = first.scale.astype(np.int64)[of_first], second.scale.astype(np.int64)[of_second]
    agree = (of_first[:, None] != of_first) & (of_second[:, None] != of_second) & (quarters[:, None] == quarters)
    most, least = _SCALE_RATIO
    one, other = ours[:, None] * theirs, theirs[:, None] * ours
    agree &= (least * one <= most * other) & (least * other <= most * one)

    # Both ways are multiplied by the sums of scales in both pictures, so that they are whole numbers.
    our_sum, their_sum = ours[:, None] + ours, theirs[:, None] + theirs
    x, y = first.x.astype(np.int64)[of_first], first.y.astype(np.int64)[of_first]
    u, v = _turned(second.x.astype(np.int64)[of_second], second.y.astype(np.int64)[of_second], quarters)
    over_unit = our_sum * their_sum * (_UNITS[0] * PLACES_A_PX) // (_UNITS[1] * 2 * SCALES_A_PX)
    over_side = np.maximum(max(first.width, first.height) * their_sum, max(second.width, second.height) * our_sum)
    room = np.maximum(over_unit, over_side * (_SIDE[0] * PLACES_A_PX) // _SIDE[1])
    across = np.abs((x[:, None] - x) * their_sum - (u[:, None] - u) * our_sum)
    down = np.abs((y[:, None] - y) * their_sum - (v[:, None] - v) * our_sum)
    # Room is less than 2**30, because all fields have 16 bits. What exceeds it is cut short before it is squared.
    across, down = np.minimum(across, room + 1), np.minimum(down, room + 1)
    return np.asarray(agree & (across * across + down * down <= room * room))


def _quarters(first: Keypoints, second: Keypoints, of_first: Rows, of_second: Rows) -> Rows:
    """Quarter turns clockwise after which the second picture shows the first, by each meeting."""
    return np.asarray((second.turn[of_second].astype(np.int64) - first.turn[of_first]) % 4)


def _turned(x: Rows, y: Rows, quarters: Rows) -> tuple[Rows, Rows]:
    """Places (M,) to the right and (M,) below a point after so many quarter turns clockwise about it."""
    return np.choose(quarters, (x, -y, -x, y)), np.choose(quarters, (y, x, -y, -x))


def _distinct(agree: NDArray[np.bool_], rows: Rows) -> Rows:
    """How many different keypoints each row of meetings (M, M) names: (M,)."""
    named = np.zeros((len(agree), int(rows.max()) + 1), bool)
    meeting, other = np.nonzero(agree)
    named[meeting, rows[other]] = True
    return np.asarray(named.sum(axis=1))


def _first_of(votes: Rows, first: Keypoints, second: Keypoints, of_first: Rows, of_second: Rows) -> int:
    """The meeting with most votes; of several, the one of the nearest keypoints."""
    difference = first.coefficients.astype(np.int64)[of_first] - second.coefficients[of_second]
    ends = (of_first, of_second) if _sorts_before(first, second) else (of_second, of_first)
    return int(np.lexsort((ends[1], ends[0], np.square(difference).sum(axis=1), -votes))[0])


def _sorts_before(first: Keypoints, second: Keypoints) -> bool:
    """An order of pictures that follows from their keypoints alone."""
    return first.to_bytes() <= second.to_bytes()


def _fitted(first: Keypoints, second: Keypoints, of_first: Rows, of_second: Rows, votes: int) -> Placement:
    """The placement that suits these meetings, which agree, best."""
    quarters = _quarters(first, second, of_first, of_second)
    ours = _from_centre(first, of_first, np.zeros_like(of_first))
    theirs = _from_centre(second, of_second, quarters)
    our_centre, their_centre = ours.mean(axis=1), theirs.mean(axis=1)
    by_scales = float(np.exp2(np.log2(first.scale[of_first] / second.scale[of_second]).mean()))
    # the scale at which both sets of places have the same spread, unless that is small
    expected = len(of_first) * _SPREAD_PX**2
    our_spread = float(np.square(ours - our_centre[:, None]).sum()) + expected * by_scales
    their_spread = float(np.square(theirs - their_centre[:, None]).sum()) + expected / by_scales
    scale = (our_spread / their_spread) ** 0.5
    dx, dy = (our_centre - scale * their_centre) / (first.width, first.height)
    return Placement(90 * int(quarters[0]), mirrored=False, scale=scale, dx=float(dx), dy=float(dy), votes=votes)


def _from_centre(keypoints: Keypoints, rows: Rows, quarters: Rows) -> NDArray[np.float64]:
    """Pixels from the picture's centre, to the right and down, after quarter turns clockwise: (2, M)."""
    doubled_x = 2 * keypoints.x[rows].astype(np.int64) - PLACES_A_PX * (keypoints.width - 1)
    doubled_y = 2 * keypoints.y[rows].astype(np.int64) - PLACES_A_PX * (keypoints.height - 1)
    return np.stack(_turned(doubled_x, doubled_y, quarters)) / (2 * PLACES_A_PX)
