"""From meetings of keypoints to candidates: meetings are gathered by pair of pictures, and each pair votes."""

import numpy as np

from dupwatchd.compare.compiled import compiled
from dupwatchd.compare.parts.voting import CODE, TOLD, size, vote
from dupwatchd.pixels.keypoints import MOST_KEYPOINTS

MOST_VOTES = MOST_KEYPOINTS


@compiled("UniTuple(int32[::1], 2)(int32[::1], int32[::1], int64)")
def sorted_by_first(first, second, count):  # type: ignore[no-untyped-def]
    """Pairs of numbers in the order of the first ones, which are below ``count``; else in the order they have."""
    places = np.zeros(count + 1, np.int64)
    for number in first:
        places[number + 1] += 1
    for number in range(count):
        places[number + 1] += places[number]
    sorted_first, sorted_second = np.empty_like(first), np.empty_like(second)
    for pair in range(len(first)):
        place = places[first[pair]]
        places[first[pair]] += 1
        sorted_first[place], sorted_second[place] = first[pair], second[pair]
    return sorted_first, sorted_second


@compiled("int64(int64[:, ::1], int64, int64, int64)")
def _least(seen, new, best, least):  # type: ignore[no-untyped-def]
    """The votes of the weakest of so many best candidates of a picture, which had been ``least``; 0 if it has fewer."""
    count, votes = seen[new, MOST_VOTES], MOST_VOTES
    while count < best and votes > least:
        votes -= 1
        count += seen[new, votes]
    return votes


@compiled(
    "int64("
    "int64[::1], int32[:, ::1], int64[::1], int16[:, ::1], int8[:, ::1], int32[::1], "
    "int64[::1], int32[:, ::1], int64[::1], int16[:, ::1], int8[:, ::1], int32[::1], "
    "int64[::1], boolean[::1], int16[::1], int64, int64[:, ::1], boolean, "
    "int32[::1], int32[::1], int64, int32[::1], "
    "int32[::1], int32[::1], int32[::1], float64[:, ::1])"
)
def join(  # type: ignore[no-untyped-def]
    new_ids, new_sizes, new_starts, new_geometry, new_coefficients, new_owners,
    ids, sizes, starts, geometry, coefficients, owners,
    all_before, alive, reach, best, seen, themselves,
    of_new, of_known, offset, latest,
    found_new, found_known, found_votes, found_told,
):  # fmt: skip
    """Writes down the candidates among pairs of a new picture and a known one; returns how many.

    The first two lines are `Packed` pictures. Only known ones take part that lie before a row, ``all_before`` (new
    pictures,), and are ``alive``. Unless ``best`` is 0, those may be left out that have fewer votes than so many others
    of the new picture, and fewer than the ``reach`` of the known one. ``seen`` (new pictures, MOST_VOTES + 1) counts
    the candidates of each by votes. If the known pictures are the new ones ``themselves``, in the same rows and in one
    segment, the reach of each is told as soon as it is known.

    Meetings come as numbers of keypoints, those of each new picture together and in order; ``offset`` is to be added to
    those of known ones. ``latest`` (known pictures,) is all -1, and is again.
    """
    count = 0
    before = np.empty(len(of_new), np.int32)  # by meeting: the one before it of the same pair
    met = np.empty(len(of_new), np.int32)  # known pictures
    codes = np.empty(CODE * CODE, np.int64)
    told = np.empty(TOLD)
    start = 0
    while start < len(of_new):
        new = new_owners[of_new[start]]
        a, b = new_starts[new], new_starts[new + 1]
        stop, pictures = start, 0
        while stop < len(of_new) and of_new[stop] < b:
            known = owners[of_known[stop] + offset]
            if alive[known] and known < all_before[new]:
                if latest[known] < 0:
                    met[pictures] = known
                    pictures += 1
                before[stop] = latest[known]
                latest[known] = stop
            stop += 1
        least = _least(seen, new, best, 0) if best else 0
        for place in range(pictures):
            known = met[place]
            meeting = latest[known]
            latest[known] = -1
            if before[meeting] < 0:
                continue
            is_first = new_ids[new] < ids[known]
            meetings, ours, theirs = 0, np.int64(0), np.int64(0)  # keypoints, as bits
            while meeting >= 0:
                i, j = of_new[meeting] - a, of_known[meeting] + offset - starts[known]
                codes[meetings] = CODE * i + j if is_first else CODE * j + i
                ours |= np.int64(1) << i
                theirs |= np.int64(1) << j
                meetings += 1
                meeting = before[meeting]
            if min(size(ours), size(theirs)) < min(max(2, least), max(2, reach[known])):
                continue
            for n in range(meetings // 2):  # they came in the order opposite to that in which `vote` sorts them
                codes[n], codes[meetings - 1 - n] = codes[meetings - 1 - n], codes[n]
            one, one_coefficients = new_geometry[a:b], new_coefficients[a:b]
            c, d = starts[known], starts[known + 1]
            other, other_coefficients = geometry[c:d], coefficients[c:d]
            one_width, one_height, other_width, other_height = (
                new_sizes[new, 0], new_sizes[new, 1], sizes[known, 0], sizes[known, 1]
            )  # fmt: skip
            if not is_first:
                one, other = other, one
                one_coefficients, other_coefficients = other_coefficients, one_coefficients
                one_width, one_height, other_width, other_height = other_width, other_height, one_width, one_height
            # In one place only, so that the compiler merges it into this loop; called in two it takes three times as
            # long.
            votes = vote(
                one, one_coefficients, one_width, one_height,
                other, other_coefficients, other_width, other_height, codes, meetings, told,
            )  # fmt: skip
            if not votes:
                continue
            seen[new, votes] += 1
            if best and votes > least:
                least = _least(seen, new, best, least)
            if votes >= min(least, reach[known]):
                found_new[count], found_known[count], found_votes[count] = new, known, votes
                for n in range(TOLD):  # a whole row takes the compiler two seconds
                    found_told[count, n] = told[n]
                count += 1
        if themselves and best:
            reach[new] = least
        start = stop
    return count
