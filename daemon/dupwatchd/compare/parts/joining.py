"""From meetings of keypoints to candidates: meetings are gathered by pair of pictures, and each pair votes."""

import numpy as np

from dupwatchd.compare.compiled import compiled
from dupwatchd.compare.parts import meeting
from dupwatchd.compare.parts.voting import CODE, size, vote
from dupwatchd.pixels.keypoints import MOST_KEYPOINTS

_meets = compiled("boolean(int64, int64, int64)")(meeting.meets)


@compiled("int64(int8[:, ::1], int8[:, ::1], int32[::1], int32[::1])")
def keep_meetings(queries, points, of_query, of_point):  # type: ignore[no-untyped-def]
    """Moves those of some pairs of rows that meet to the front; returns how many these are."""
    count = 0
    for pair in range(len(of_query)):
        i, j = of_query[pair], of_point[pair]
        apart, ours, theirs = np.int64(0), np.int64(0), np.int64(0)
        for n in range(16):
            a, b = np.int64(queries[i, n]), np.int64(points[j, n])
            apart += (a - b) * (a - b)
            ours += a * a
            theirs += b * b
        if _meets(apart, ours, theirs):
            of_query[count], of_point[count] = i, j
            count += 1
    return count


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
    count, votes = seen[new, MOST_KEYPOINTS], MOST_KEYPOINTS
    while count < best and votes > least:
        votes -= 1
        count += seen[new, votes]
    return votes


@compiled(
    "int64("
    "int32[:, ::1], int64[::1], int16[:, ::1], int32[::1], "
    "int32[:, ::1], int64[::1], int16[:, ::1], int32[::1], "
    "int64[::1], boolean[::1], int16[::1], int64, int64[:, ::1], boolean, "
    "int32[::1], int32[::1], int64, int32[::1], "
    "int32[::1], int32[::1], int32[::1])"
)
def join(  # type: ignore[no-untyped-def]
    new_sizes, new_starts, new_geometry, new_owners,
    sizes, starts, geometry, owners,
    all_before, alive, reach, best, seen, themselves,
    of_new, of_known, offset, latest,
    found_new, found_known, found_votes,
):  # fmt: skip
    """Writes down the candidates among pairs of a new picture and a known one; returns how many.

    The first two lines are `Packed` pictures. Only known ones take part that lie before a row, ``all_before`` (new
    pictures,), and are ``alive``. Unless ``best`` is 0, those may be left out that have fewer votes than so many others
    of the new picture, and fewer than the ``reach`` of the known one. ``seen`` (new pictures, MOST_KEYPOINTS + 1)
    counts the candidates of each by votes. If the known pictures are the new ones ``themselves``, in the same rows and
    in one segment, the reach of each is told as soon as it is known.

    Meetings come as numbers of keypoints, those of each new picture together and in order; ``offset`` is to be added to
    those of known ones. ``latest`` (known pictures,) is all -1, and is again.
    """
    count = 0
    before = np.empty(len(of_new), np.int32)  # by meeting: the one before it of the same pair
    met = np.empty(len(of_new), np.int32)  # known pictures
    codes = np.empty(CODE * CODE, np.int64)
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
            meetings, ours, theirs = 0, np.int64(0), np.int64(0)  # keypoints, as bits
            while meeting >= 0:
                i, j = of_new[meeting] - a, of_known[meeting] + offset - starts[known]
                codes[meetings] = CODE * i + j
                ours |= np.int64(1) << i
                theirs |= np.int64(1) << j
                meetings += 1
                meeting = before[meeting]
            if min(size(ours), size(theirs)) < min(max(2, least), max(2, reach[known])):
                continue
            votes = vote(
                new_geometry[a:b], max(new_sizes[new, 0], new_sizes[new, 1]),
                geometry[starts[known] : starts[known + 1]], max(sizes[known, 0], sizes[known, 1]),
                codes, meetings,
            )  # fmt: skip
            if not votes:
                continue
            seen[new, votes] += 1
            if best and votes > least:
                least = _least(seen, new, best, least)
            if votes >= min(least, reach[known]):
                found_new[count], found_known[count], found_votes[count] = new, known, votes
                count += 1
        if themselves and best:
            reach[new] = least
        start = stop
    return count
