"""When the keypoints of two pictures show that the pictures may share a part, and how one then lies on the other.

A keypoint of one picture and a keypoint of another *meet* if their coefficients hardly differ, see `meeting`. A meeting
says turned by what angle, at what scale and where one picture would lie on the other. Unrelated pictures have meetings
too, but theirs contradict each other. Two meetings of the same two pictures *agree* if they are of different keypoints
in both pictures and

- need turns that differ by at most 7 degrees,
- need scales whose ratio is at most 1.19, a quarter of an octave,
- and, after a turn half way between these, the way from the one keypoint to the other is the same in both pictures.
  Ways are measured in units of the two keypoints' mean scale in that picture, so that no scale has to be assumed. They
  may differ by 1.2 units, or by two hundredths of the longer side of one of the pictures, whichever is more.

Two pictures are *candidates* if two of their meetings agree. The votes of a meeting are the keypoints, in the picture
that has fewer of them, of the meetings that agree with it, and its own; the meeting with most votes, and of several the
one with the smallest squared distance, tells how the pictures lie on each other.

A keypoint that meets more than `meeting.MOST_ALIKE` others of its own picture says nothing about where it is, and
takes no part: in stripes, dots and lines of text each keypoint would meet all those of every other such picture. That
is the case for 2 of 100,000 keypoints of photos.

All of this is decided by the two pictures alone, and is the same whichever of them comes first: in whole numbers, and
for what is left of a way after a turn in floats of 64 bits, which are the same bit by bit with the pictures exchanged.
Where exactly two candidates lie is then worked out in floats, too.

`described` and `agree` are written so that they take single numbers as well as arrays: compiled code calls them for one
meeting at a time (`voting`), this module for many at once.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dupwatchd.compare.parts.meeting import meetings, table_of
from dupwatchd.compare.parts.packed import Packed, Picture, Rows
from dupwatchd.pixels.keypoints import PLACES_A_PX, SCALES_A_PX, TURNS, Keypoints

_X, _Y, _SCALE, _TURN = range(4)  # columns of geometry
# What is told of a meeting: both keypoints, the turn that it needs, scales, and places.
OURS, THEIRS, TURN, OUR_SCALE, THEIR_SCALE, OUR_X, OUR_Y, THEIR_X, THEIR_Y = range(9)
TOLD = 9

# Numerator and denominator of each bound; ways are in places, scales in the steps in which they are stored.
_RATIO, _RATIO_OF = 119, 100
_UNIT, _UNIT_OF = 6 * PLACES_A_PX, 5 * 2 * SCALES_A_PX  # 1.2 mean scales, half the sum of two
_SIDE, _SIDE_OF = PLACES_A_PX, 50  # two hundredths
_SPREAD_PX = 15.0  # how far apart keypoints lie at which their places tell the scale as well as their own scales do
_MOST_TURN = 5  # between meetings that agree, 7 degrees: 95 of 100 keypoints are off by less than 3
# of half steps; rounded, so that those of a turn and its reverse are the same
_COSINES, _SINES = (np.round(of(np.arange(2 * TURNS) * (np.pi / TURNS)), 12) for of in (np.cos, np.sin))

_MEETINGS_AT_ONCE = 256  # of two pictures, held against all of theirs

Meetings = NDArray[np.int64]  # (9, M)


@dataclass(frozen=True, slots=True)
class Placement:
    """How the second of two pictures lies on the first, in pixels of their proofs.

    The second is turned clockwise about its centre, by quarters and then by a rest, and enlarged. Then its centre lies
    by ``dx`` widths of the first to the right of the first one's centre, and by ``dy`` heights below it.
    """

    turn_degrees: int  # 0, 90, 180 or 270
    lean_degrees: float  # the rest, -45 ... 45
    scale: float  # pixels of the first for each pixel of the second
    dx: float
    dy: float
    votes: int  # keypoints that agree on it; 2 or more
    distance: int  # the squared distances of the meetings that agree on it, summed


def placement_of(first: Keypoints, second: Keypoints) -> Placement | None:
    """How the second picture lies on the first; None if they are no candidates.

    With the pictures exchanged it is the inverse, apart from rounding.
    """
    both = Packed.of((0, 1), (first, second))
    one, other = both.picture(0), both.picture(1)
    ours, theirs = meetings(one.coefficients, table_of(other.coefficients))
    if len(ours) < 2:
        return None
    met = meetings_of(one, other, ours, theirs)
    votes = votes_of_each(met, one, other)
    most = int(votes.max())
    if most < 2:
        return None
    apart = np.square(one.coefficients[ours].astype(np.int64) - other.coefficients[theirs]).sum(axis=1)
    # of meetings that are equally good, the same one is chosen when the pictures are exchanged
    order = (ours, theirs) if _sort_key(one) <= _sort_key(other) else (theirs, ours)
    best = min(np.flatnonzero(votes == most).tolist(), key=lambda m: (apart[m], *(axis[m] for axis in order)))
    chosen = agree(met, met[:, best, None], *_sides(one, other))
    chosen[best] = True
    return _fit(met[:, chosen], one, other, most, int(apart[chosen].sum()))


def votes_of_each(met: Meetings, first: Picture, second: Picture) -> NDArray[np.int64]:
    """The votes of each meeting (M,) of two pictures; one that agrees with no other has a single vote."""
    # sets of keypoints, each of which is a bit
    ends = np.left_shift(1, met[OURS]), np.left_shift(1, met[THEIRS])
    votes = np.empty(met.shape[1], np.int64)
    for start in range(0, len(votes), _MEETINGS_AT_ONCE):
        some = slice(start, start + _MEETINGS_AT_ONCE)
        together = agree(met[:, some, None], met[:, None, :], *_sides(first, second))
        sizes = [
            np.bitwise_count(np.bitwise_or.reduce(np.where(together, bits, 0), axis=1) | bits[some]) for bits in ends
        ]
        votes[some] = np.minimum(*sizes)
    return votes


def meetings_of(first: Picture, second: Picture, ours: Rows, theirs: Rows) -> Meetings:
    """What is told of meetings of keypoints of two pictures, by the numbers of both."""
    geometry = [each.geometry[rows].astype(np.int64).T for each, rows in ((first, ours), (second, theirs))]
    return np.array(described(geometry[0], ours, geometry[1], theirs))


def described(ours: Any, i: Any, theirs: Any, j: Any) -> tuple[Any, ...]:
    """What is told of a meeting of keypoints i and j, from their geometry (4,); or of many, from arrays (4, M)."""
    turn = (theirs[_TURN] - ours[_TURN]) & (TURNS - 1)
    return i, j, turn, ours[_SCALE], theirs[_SCALE], ours[_X], ours[_Y], theirs[_X], theirs[_Y]


def agree(one: Any, other: Any, our_side: int, their_side: int) -> Any:
    """Do two meetings agree, each (9,)? Or any numbers of them, (9, …) each, that can be held against each other.

    The sides are the longer ones of both pictures, in pixels.
    """
    # Ways are multiplied by the sums of scales in both pictures, so that they are whole numbers.
    our_sum, their_sum = one[OUR_SCALE] + other[OUR_SCALE], one[THEIR_SCALE] + other[THEIR_SCALE]
    our_x, our_y = (one[OUR_X] - other[OUR_X]) * their_sum, (one[OUR_Y] - other[OUR_Y]) * their_sum
    their_x, their_y = (one[THEIR_X] - other[THEIR_X]) * our_sum, (one[THEIR_Y] - other[THEIR_Y]) * our_sum
    by_side = np.maximum(our_side * their_sum, their_side * our_sum) * _SIDE // _SIDE_OF
    room = np.maximum(our_sum * their_sum * _UNIT // _UNIT_OF, by_side)
    ratio, inverse = one[OUR_SCALE] * other[THEIR_SCALE], other[OUR_SCALE] * one[THEIR_SCALE]
    # Half way between the turns of both. The square of what is left of a way after that turn is told from products
    # that are the same, bit by bit, with the pictures or the meetings exchanged.
    more = ((other[TURN] - one[TURN] + TURNS // 2) & (TURNS - 1)) - TURNS // 2
    half = (2 * one[TURN] + more) & (2 * TURNS - 1)
    along = 1.0 * our_x * their_x + 1.0 * our_y * their_y
    aside = 1.0 * our_y * their_x - 1.0 * our_x * their_y
    squares = (1.0 * our_x * our_x + 1.0 * our_y * our_y) + (1.0 * their_x * their_x + 1.0 * their_y * their_y)
    left = squares - 2.0 * (_COSINES[half] * along + _SINES[half] * aside)
    return (
        (abs(more) <= _MOST_TURN)
        & (one[OURS] != other[OURS])
        & (one[THEIRS] != other[THEIRS])
        & (left <= 1.0 * room * room)
        & (ratio * _RATIO_OF <= inverse * _RATIO)
        & (inverse * _RATIO_OF <= ratio * _RATIO)
    )


def _sides(first: Picture, second: Picture) -> tuple[int, int]:
    return max(first.width, first.height), max(second.width, second.height)


def _sort_key(picture: Picture) -> tuple[Any, ...]:
    """An order of pictures that follows from their keypoints alone."""
    rows = np.concatenate([picture.geometry, picture.coefficients], axis=1)
    return len(rows), picture.width, picture.height, rows.tolist()


def _fit(met: Meetings, first: Picture, second: Picture, votes: int, distance: int) -> Placement:
    """The placement that suits best meetings that agree."""
    half_px = PLACES_A_PX / 2
    # places from the middle of each picture; a complex number is a place, or a turn clockwise and a scale
    ours = (met[OUR_X] - half_px * (first.width - 1)) + 1j * (met[OUR_Y] - half_px * (first.height - 1))
    theirs = (met[THEIR_X] - half_px * (second.width - 1)) + 1j * (met[THEIR_Y] - half_px * (second.height - 1))
    our_mean, their_mean = ours.mean(), theirs.mean()
    # the scale at which both sets of places have the same spread, and the turn, unless that spread is small
    by_scales = 2.0 ** np.log2(met[OUR_SCALE] / met[THEIR_SCALE]).mean()
    by_turns = np.exp(2j * np.pi / TURNS * met[TURN]).mean()
    expected = met.shape[1] * (_SPREAD_PX * PLACES_A_PX) ** 2
    our_spread = expected * by_scales + np.square(np.abs(ours - our_mean)).sum()
    their_spread = expected / by_scales + np.square(np.abs(theirs - their_mean)).sum()
    scale = float(np.sqrt(our_spread / their_spread))
    both = expected * by_turns / abs(by_turns) + ((ours - our_mean) * (theirs - their_mean).conj()).sum()
    turn = both / abs(both)
    degrees = float(np.degrees(np.angle(turn)))
    quarters = round(degrees / 90)
    shift = (our_mean - scale * turn * their_mean) / PLACES_A_PX
    dx, dy = float(shift.real) / first.width, float(shift.imag) / first.height
    return Placement(90 * (quarters % 4), degrees - 90 * quarters, scale, dx, dy, votes, distance)
