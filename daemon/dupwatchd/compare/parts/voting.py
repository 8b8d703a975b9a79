"""How two pictures lie on each other, by the votes of their meetings: the compiled form of the rule in `agreement`.

Whole numbers until two pictures are found to be candidates; only where exactly they lie is then worked out in floats.
"""

import numpy as np
from numpy.typing import NDArray

from dupwatchd.compare.compiled import compiled
from dupwatchd.compare.parts.agreement import MOST_ALIKE, MOST_DISTANCE, Placement
from dupwatchd.pixels.keypoints import MOST_KEYPOINTS, PLACES_A_PX, SCALES_A_PX

_X, _Y, _SCALE, _TURN = range(4)  # columns of geometry
# columns of a meeting: both keypoints, the quarter turns that it needs, scales, places; the second picture's are turned
_OURS, _THEIRS, _TURNS, _OUR_SCALE, _THEIR_SCALE, _OUR_X, _OUR_Y, _THEIR_X, _THEIR_Y = range(9)
_COLUMNS = 9
_QUARTERS, _ENLARGED, _DX, _DY, _DISTANCE = range(5)  # of what is told of a placement
TOLD = 5

# Numerator and denominator of each bound; ways are in places, scales in the steps in which they are stored.
_RATIO, _RATIO_OF = 119, 100
_UNIT, _UNIT_OF = 6 * PLACES_A_PX, 5 * 2 * SCALES_A_PX  # 1.2 mean scales, half the sum of two
_SIDE, _SIDE_OF = PLACES_A_PX, 50  # two hundredths
_SPREAD_PX = 15.0  # how far apart keypoints lie at which their places tell the scale as well as their own scales do
CODE = 64  # a meeting is number of the first's keypoint times this, and number of the second's

assert MOST_KEYPOINTS < CODE - 1, "a set of keypoints is one number of 64 bits with a sign"

# geometry (N, 4): x, y, scale and turn; coefficients (N, 16); width and height of the proof in pixels
Picture = tuple[NDArray[np.int16], NDArray[np.int8], int, int]


def placed(first: Picture, second: Picture) -> Placement | None:
    """How the second lies on the first; None if they are no candidates. All their keypoints take part."""
    ours, theirs = first[1].astype(np.int32), second[1].astype(np.int32)
    of_first, of_second = np.nonzero(np.square(ours[:, None] - theirs).sum(axis=2) <= MOST_DISTANCE)
    told = np.empty(TOLD)
    votes = vote(*first, *second, of_first * CODE + of_second, len(of_first), told)
    return placement_told(votes, told.tolist()) if votes else None


def placement_told(votes: int, told: list[float]) -> Placement:
    """A placement from the votes and the numbers that `vote` told."""
    quarters, enlarged, dx, dy, distance = told
    return Placement(90 * int(quarters), False, enlarged, dx, dy, votes, int(distance))


@compiled("void(int16[:, ::1], int16[:, ::1], int64, int64[:, ::1], int64)")
def _describe(ours, theirs, code, met, m):  # type: ignore[no-untyped-def]
    """Fills in the meeting m from the keypoints that meet."""
    i, j = code // CODE, code % CODE
    quarters = (np.int64(theirs[j, _TURN]) - ours[i, _TURN]) & 3
    u, v = np.int64(theirs[j, _X]), np.int64(theirs[j, _Y])
    for _ in range(quarters):
        u, v = -v, u
    met[m, _OURS], met[m, _THEIRS], met[m, _TURNS] = i, j, quarters
    met[m, _OUR_SCALE], met[m, _THEIR_SCALE] = ours[i, _SCALE], theirs[j, _SCALE]
    met[m, _OUR_X], met[m, _OUR_Y], met[m, _THEIR_X], met[m, _THEIR_Y] = ours[i, _X], ours[i, _Y], u, v


@compiled("boolean(int64[:, ::1], int64, int64, int64, int64)")
def _agree(met, m, q, our_side, their_side):  # type: ignore[no-untyped-def]
    """Do the meetings m and q agree?"""
    if met[m, _TURNS] != met[q, _TURNS] or met[m, _OURS] == met[q, _OURS] or met[m, _THEIRS] == met[q, _THEIRS]:
        return False
    # Ways are multiplied by the sums of scales in both pictures, so that they are whole numbers.
    our_sum, their_sum = met[m, _OUR_SCALE] + met[q, _OUR_SCALE], met[m, _THEIR_SCALE] + met[q, _THEIR_SCALE]
    across = abs((met[m, _OUR_X] - met[q, _OUR_X]) * their_sum - (met[m, _THEIR_X] - met[q, _THEIR_X]) * our_sum)
    down = abs((met[m, _OUR_Y] - met[q, _OUR_Y]) * their_sum - (met[m, _THEIR_Y] - met[q, _THEIR_Y]) * our_sum)
    room = max(
        our_sum * their_sum * _UNIT // _UNIT_OF, max(our_side * their_sum, their_side * our_sum) * _SIDE // _SIDE_OF
    )
    # less than 2**30, because all fields have 16 bits: no square overflows
    if across > room or down > room or across * across + down * down > room * room:
        return False
    ratio, inverse = met[m, _OUR_SCALE] * met[q, _THEIR_SCALE], met[q, _OUR_SCALE] * met[m, _THEIR_SCALE]
    return ratio * _RATIO_OF <= inverse * _RATIO and inverse * _RATIO_OF <= ratio * _RATIO


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
def size(keypoints):  # type: ignore[no-untyped-def]
    """How many keypoints are in a set, each of which is a bit: sums of 2, then 4, then 8 bits side by side."""
    pairs = keypoints - ((keypoints >> 1) & 0x5555555555555555)
    fours = (pairs & 0x3333333333333333) + ((pairs >> 2) & 0x3333333333333333)
    eights = (fours + (fours >> 4)) & 0x0F0F0F0F0F0F0F0F
    return (eights * 0x0101010101010101) >> 56


@compiled("int64(int8[:, ::1], int64, int8[:, ::1], int64)")
def _apart(ours, i, theirs, j):  # type: ignore[no-untyped-def]
    """The squared distance of two keypoints."""
    total = np.int64(0)
    for n in range(16):
        difference = np.int64(ours[i, n]) - np.int64(theirs[j, n])
        total += difference * difference
    return total


@compiled("boolean[::1](int8[:, ::1], int64[::1])")
def taking_part(coefficients, starts):  # type: ignore[no-untyped-def]
    """Which keypoints take part (K,), of pictures each of which has those from its start to the start of the next."""
    alike = np.zeros(len(coefficients), np.int64)
    for picture in range(len(starts) - 1):
        for i in range(starts[picture], starts[picture + 1]):
            for j in range(starts[picture], i):
                if _apart(coefficients, i, coefficients, j) <= MOST_DISTANCE:
                    alike[i] += 1
                    alike[j] += 1
    return alike <= MOST_ALIKE


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


@compiled("void(int64[:, ::1], int64[::1], int64, int64, int64, int64, int64, float64[::1])")
def _fit(met, chosen, count, our_width, our_height, their_width, their_height, told):  # type: ignore[no-untyped-def]
    """Tells the placement that suits the meetings chosen, which agree, best."""
    quarters = met[chosen[0], _TURNS]
    if quarters % 2:
        their_width, their_height = their_height, their_width
    # the picture's centre after a turn about the first pixel, in places
    middle_u = (their_width - 1) * PLACES_A_PX / 2 * (-1 if quarters in (1, 2) else 1)
    middle_v = (their_height - 1) * PLACES_A_PX / 2 * (-1 if quarters in (2, 3) else 1)
    middle_x, middle_y = (our_width - 1) * PLACES_A_PX / 2, (our_height - 1) * PLACES_A_PX / 2
    mean_x = mean_y = mean_u = mean_v = octaves = 0.0
    for n in range(count):
        m = chosen[n]
        mean_x += met[m, _OUR_X]
        mean_y += met[m, _OUR_Y]
        mean_u += met[m, _THEIR_X]
        mean_v += met[m, _THEIR_Y]
        octaves += np.log2(met[m, _OUR_SCALE] / met[m, _THEIR_SCALE])
    mean_x, mean_y, mean_u, mean_v = mean_x / count, mean_y / count, mean_u / count, mean_v / count
    # the scale at which both sets of places have the same spread, unless that is small
    by_scales, expected = 2.0 ** (octaves / count), count * (_SPREAD_PX * PLACES_A_PX) ** 2
    our_spread, their_spread = expected * by_scales, expected / by_scales
    for n in range(count):
        m = chosen[n]
        our_spread += (met[m, _OUR_X] - mean_x) ** 2 + (met[m, _OUR_Y] - mean_y) ** 2
        their_spread += (met[m, _THEIR_X] - mean_u) ** 2 + (met[m, _THEIR_Y] - mean_v) ** 2
    enlarged = np.sqrt(our_spread / their_spread)
    told[_QUARTERS] = quarters
    told[_ENLARGED] = enlarged
    told[_DX] = (mean_x - middle_x - enlarged * (mean_u - middle_u)) / (our_width * PLACES_A_PX)
    told[_DY] = (mean_y - middle_y - enlarged * (mean_v - middle_v)) / (our_height * PLACES_A_PX)


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
    met = np.empty((count, _COLUMNS), np.int64)
    our_bits, their_bits = np.empty(count, np.int64), np.empty(count, np.int64)
    our_sets, their_sets = np.empty(count, np.int64), np.empty(count, np.int64)  # of keypoints, as bits
    most = 0
    for m in range(count):
        _describe(ours, theirs, codes[m], met, m)
        our_bits[m], their_bits[m] = np.int64(1) << met[m, _OURS], np.int64(1) << met[m, _THEIRS]
        our_sets[m], their_sets[m] = our_bits[m], their_bits[m]
        for q in range(m):
            if _agree(met, m, q, our_side, their_side):
                our_sets[m] |= our_bits[q]
                their_sets[m] |= their_bits[q]
                our_sets[q] |= our_bits[m]
                their_sets[q] |= their_bits[m]
                most = 2
    if most == 0:
        return 0
    best, least = -1, np.int64(0)
    swaps = not _sorts_before(
        ours, our_coefficients, our_width, our_height, theirs, their_coefficients, their_width, their_height
    )
    for m in range(count):
        votes = min(size(our_sets[m]), size(their_sets[m]))
        if votes < most:
            continue
        i, j = met[m, _OURS], met[m, _THEIRS]
        place = j * CODE + i if swaps else codes[m]
        order = _apart(our_coefficients, i, their_coefficients, j) * CODE * CODE + place
        if votes > most or best < 0 or order < least:
            most, best, least = votes, m, order
    chosen = np.empty(count, np.int64)  # meetings
    agreeing = 0
    distance = np.int64(0)
    for m in range(count):
        if m == best or _agree(met, m, best, our_side, their_side):
            distance += _apart(our_coefficients, met[m, _OURS], their_coefficients, met[m, _THEIRS])
            chosen[agreeing] = m
            agreeing += 1
    told[_DISTANCE] = distance
    _fit(met, chosen, agreeing, our_width, our_height, their_width, their_height, told)
    return most
