"""How two pictures lie on each other, by the votes of their meetings: the compiled form of the rule in `agreement`.

Whole numbers until two pictures are found to be candidates; only where exactly they lie is then worked out in floats.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dupwatchd.compare.compiled import compiled
from dupwatchd.compare.parts.agreement import Placement
from dupwatchd.pixels.keypoints import MOST_KEYPOINTS, PLACES_A_PX, SCALES_A_PX, Keypoints

_X, _Y, _SCALE, _TURN = range(4)  # columns of geometry
_QUARTERS, _ENLARGED, _DX, _DY, _DISTANCE = range(5)  # of what is told of a placement
TOLD = 5

# Numerator and denominator of each bound; ways are in places, scales in the steps in which they are stored.
_RATIO, _RATIO_OF = 119, 100
_UNIT, _UNIT_OF = 6 * PLACES_A_PX, 5 * 2 * SCALES_A_PX  # 1.2 mean scales, half the sum of two
_SIDE, _SIDE_OF = PLACES_A_PX, 50  # two hundredths
_SPREAD_PX = 15.0  # how far apart keypoints lie at which their places tell the scale as well as their own scales do
_CODE = 64  # a meeting is number of the first's keypoint times this, and number of the second's

assert MOST_KEYPOINTS < _CODE - 1, "a set of keypoints is one number of 64 bits with a sign"

Geometry = NDArray[np.int16]  # (N, 4) x, y, scale, turn
Coefficients = NDArray[np.int8]  # (N, 16)


@dataclass(frozen=True)
class Pair:
    """Two pictures as the compiled rule takes them."""

    first: tuple[Geometry, Coefficients, int, int]  # and width and height of the proof in pixels
    second: tuple[Geometry, Coefficients, int, int]

    @classmethod
    def of(cls, first: Keypoints, second: Keypoints) -> "Pair":
        """Of keypoints that take part, see `agreement.telling`."""
        one, other = ((geometry_of(each), each.coefficients, each.width, each.height) for each in (first, second))
        return cls(one, other)


def geometry_of(keypoints: Keypoints) -> Geometry:
    """(N, 4)."""
    return np.stack([keypoints.x, keypoints.y, keypoints.scale, keypoints.turn.astype(np.int16)], axis=1)


def placed(pair: Pair, of_first: NDArray[np.intp], of_second: NDArray[np.intp]) -> Placement | None:
    """How the second lies on the first, by all their meetings: numbers of keypoints of both (M,); None: not at all."""
    told = np.empty(TOLD)
    codes = of_first * _CODE + of_second
    votes = vote(*pair.first, *pair.second, codes, len(codes), told)
    return placement_told(votes, told.tolist()) if votes else None


def placement_told(votes: int, told: list[float]) -> Placement:
    """A placement from the votes and the numbers that `vote` told."""
    quarters, enlarged, dx, dy, distance = told
    return Placement(90 * int(quarters), False, enlarged, dx, dy, votes, int(distance))


@compiled("boolean(int16[:, ::1], int64, int64, int16[:, ::1], int64, int64, int64, int64)")
def _agree(ours, i, k, theirs, j, m, our_side, their_side):  # type: ignore[no-untyped-def]
    """Does the meeting of our keypoint i and their j agree with that of k and m?"""
    if i == k or j == m:
        return False
    quarters = (np.int64(theirs[j, _TURN]) - ours[i, _TURN]) & 3
    if (np.int64(theirs[m, _TURN]) - ours[k, _TURN]) & 3 != quarters:
        return False
    our_i, our_k = np.int64(ours[i, _SCALE]), np.int64(ours[k, _SCALE])
    their_j, their_m = np.int64(theirs[j, _SCALE]), np.int64(theirs[m, _SCALE])
    one, other = our_i * their_m, our_k * their_j
    if one * _RATIO_OF > other * _RATIO or other * _RATIO_OF > one * _RATIO:
        return False
    # Ways are multiplied by the sums of scales in both pictures, so that they are whole numbers.
    our_sum, their_sum = our_i + our_k, their_j + their_m
    u, v = np.int64(theirs[j, _X]) - theirs[m, _X], np.int64(theirs[j, _Y]) - theirs[m, _Y]
    for _ in range(quarters):
        u, v = -v, u
    across = abs((np.int64(ours[i, _X]) - ours[k, _X]) * their_sum - u * our_sum)
    down = abs((np.int64(ours[i, _Y]) - ours[k, _Y]) * their_sum - v * our_sum)
    room = max(
        our_sum * their_sum * _UNIT // _UNIT_OF, max(our_side * their_sum, their_side * our_sum) * _SIDE // _SIDE_OF
    )
    # less than 2**30, because all fields have 16 bits: no square overflows
    return across <= room and down <= room and across * across + down * down <= room * room


@compiled("void(int64[::1], int64)")
def _sort(numbers, count):  # type: ignore[no-untyped-def]
    """Sorts the first few of the numbers; they mostly come in order."""
    for place in range(1, count):
        number, to = numbers[place], place
        while to and numbers[to - 1] > number:
            numbers[to] = numbers[to - 1]
            to -= 1
        numbers[to] = number


@compiled("int64(int64)")
def _size(keypoints):  # type: ignore[no-untyped-def]
    """How many keypoints are in a set, each of which is a bit."""
    size = 0
    while keypoints:
        keypoints &= keypoints - 1
        size += 1
    return size


@compiled("int64(int8[:, ::1], int64, int8[:, ::1], int64)")
def _apart(ours, i, theirs, j):  # type: ignore[no-untyped-def]
    """The squared distance of two keypoints."""
    total = np.int64(0)
    for n in range(16):
        difference = np.int64(ours[i, n]) - np.int64(theirs[j, n])
        total += difference * difference
    return total


@compiled("boolean(int16[:, ::1], int8[:, ::1], int64, int64, int16[:, ::1], int8[:, ::1], int64, int64)")
def _sorts_before(  # type: ignore[no-untyped-def]
    ours, our_coefficients, our_width, our_height, theirs, their_coefficients, their_width, their_height
):
    """An order of pictures that follows from their keypoints alone; equal ones sort before each other."""
    if len(ours) != len(theirs):
        return len(ours) < len(theirs)
    if our_width != their_width:
        return our_width < their_width
    if our_height != their_height:
        return our_height < their_height
    for i in range(len(ours)):
        for n in range(4):
            if ours[i, n] != theirs[i, n]:
                return ours[i, n] < theirs[i, n]
        for n in range(16):
            if our_coefficients[i, n] != their_coefficients[i, n]:
                return our_coefficients[i, n] < their_coefficients[i, n]
    return True


@compiled(
    "void(int16[:, ::1], int64, int64, int16[:, ::1], int64, int64, int64[::1], int64, int64, boolean[::1], "
    "float64[::1])"
)
def _fit(  # type: ignore[no-untyped-def]
    ours, our_width, our_height, theirs, their_width, their_height, codes, count, best, agrees, told
):
    """Tells the placement that suits the meetings that agree best."""
    quarters = (theirs[codes[best] % _CODE, _TURN] - ours[codes[best] // _CODE, _TURN]) & 3
    x, y, u, v = np.empty(count), np.empty(count), np.empty(count), np.empty(count)
    mean_x = mean_y = mean_u = mean_v = octaves = 0.0
    taken = 0
    for q in range(count):
        if not agrees[q]:
            continue
        i, j = codes[q] // _CODE, codes[q] % _CODE
        # pixels from the picture's centre
        x[taken] = ours[i, _X] / PLACES_A_PX - (our_width - 1) / 2
        y[taken] = ours[i, _Y] / PLACES_A_PX - (our_height - 1) / 2
        across = theirs[j, _X] / PLACES_A_PX - (their_width - 1) / 2
        down = theirs[j, _Y] / PLACES_A_PX - (their_height - 1) / 2
        for _ in range(quarters):
            across, down = -down, across
        u[taken], v[taken] = across, down
        mean_x, mean_y, mean_u, mean_v = mean_x + x[taken], mean_y + y[taken], mean_u + across, mean_v + down
        octaves += np.log2(ours[i, _SCALE] / theirs[j, _SCALE])
        taken += 1
    mean_x, mean_y, mean_u, mean_v = mean_x / taken, mean_y / taken, mean_u / taken, mean_v / taken
    # the scale at which both sets of places have the same spread, unless that is small
    by_scales, expected = 2.0 ** (octaves / taken), taken * _SPREAD_PX**2
    our_spread, their_spread = expected * by_scales, expected / by_scales
    for q in range(taken):
        our_spread += (x[q] - mean_x) ** 2 + (y[q] - mean_y) ** 2
        their_spread += (u[q] - mean_u) ** 2 + (v[q] - mean_v) ** 2
    enlarged = np.sqrt(our_spread / their_spread)
    told[_QUARTERS] = quarters
    told[_ENLARGED] = enlarged
    told[_DX] = (mean_x - enlarged * mean_u) / our_width
    told[_DY] = (mean_y - enlarged * mean_v) / our_height


@compiled(
    "int64(int16[:, ::1], int8[:, ::1], int64, int64, int16[:, ::1], int8[:, ::1], int64, int64, int64[::1], int64, "
    "float64[::1])"
)
def vote(  # type: ignore[no-untyped-def]
    ours, our_coefficients, our_width, our_height, theirs, their_coefficients, their_width, their_height, codes, count,
    told,
):  # fmt: skip
    """The votes for the best placement, 0 if there is none; ``told`` then holds it.

    ``codes`` holds all meetings, ``count`` of them, each once; they are sorted in place.
    """
    if count < 2:
        return 0
    _sort(codes, count)
    our_side, their_side = max(our_width, our_height), max(their_width, their_height)
    our_sets, their_sets = np.empty(count, np.int64), np.empty(count, np.int64)  # of keypoints, as bits
    most = 0
    for m in range(count):
        i, j = codes[m] // _CODE, codes[m] % _CODE
        our_sets[m], their_sets[m] = np.int64(1) << i, np.int64(1) << j
        for q in range(m):
            k, n = codes[q] // _CODE, codes[q] % _CODE
            if _agree(ours, i, k, theirs, j, n, our_side, their_side):
                our_sets[m] |= np.int64(1) << k
                their_sets[m] |= np.int64(1) << n
                our_sets[q] |= np.int64(1) << i
                their_sets[q] |= np.int64(1) << j
                most = 2
    if most == 0:
        return 0
    best, least = -1, np.int64(0)
    swaps = not _sorts_before(
        ours, our_coefficients, our_width, our_height, theirs, their_coefficients, their_width, their_height
    )
    for m in range(count):
        votes = min(_size(our_sets[m]), _size(their_sets[m]))
        if votes < most:
            continue
        i, j = codes[m] // _CODE, codes[m] % _CODE
        place = j * _CODE + i if swaps else codes[m]
        order = _apart(our_coefficients, i, their_coefficients, j) * _CODE * _CODE + place
        if votes > most or best < 0 or order < least:
            most, best, least = votes, m, order
    agrees = np.zeros(count, np.bool_)
    i, j = codes[best] // _CODE, codes[best] % _CODE
    distance = np.int64(0)
    for q in range(count):
        k, n = codes[q] // _CODE, codes[q] % _CODE
        agrees[q] = q == best or _agree(ours, i, k, theirs, j, n, our_side, their_side)
        if agrees[q]:
            distance += _apart(our_coefficients, k, their_coefficients, n)
    told[_DISTANCE] = distance
    _fit(ours, our_width, our_height, theirs, their_width, their_height, codes, count, best, agrees, told)
    return most
