"""From meetings of keypoints to candidates: meetings are gathered by pair of pictures, and each pair votes."""

import numpy as np

from dupwatchd.compare.compiled import compiled
from dupwatchd.compare.parts.voting import TOLD, vote


@compiled(
    "int64("
    "int64[::1], int32[:, ::1], int64[::1], int16[:, ::1], int8[:, ::1], int32[::1], "
    "int64[::1], int32[:, ::1], int64[::1], int16[:, ::1], int8[:, ::1], int32[::1], "
    "int64[::1], boolean[::1], "
    "int32[::1], int32[::1], int64, int32[::1], "
    "int32[::1], int32[::1], int32[::1], float64[:, ::1])"
)
def join(  # type: ignore[no-untyped-def]
    new_ids, new_sizes, new_starts, new_geometry, new_coefficients, new_owners,
    ids, sizes, starts, geometry, coefficients, owners,
    all_before, alive,
    of_new, of_known, offset, latest,
    found_new, found_known, found_votes, found_told,
):  # fmt: skip
    """Writes down all candidates among pairs of a new picture and a known one; returns how many.

    The first two lines are `Packed` pictures. Only known ones take part that lie before a row, ``all_before`` (new
    pictures,), and are ``alive``. Meetings come as numbers of keypoints, those of each new picture together and in
    order; ``offset`` is to be added to those of known ones. ``latest`` (known pictures,) is all -1, and is again.
    """
    count = 0
    before = np.empty(len(of_new), np.int32)  # by meeting: the one before it of the same pair
    met = np.empty(len(of_new), np.int32)  # known pictures
    codes = np.empty(64 * 64, np.int64)
    told = np.empty(TOLD)
    start = 0
    while start < len(of_new):
        new = new_owners[of_new[start]]
        stop, pictures = start, 0
        while stop < len(of_new) and of_new[stop] < new_starts[new + 1]:
            known = owners[of_known[stop] + offset]
            if alive[known] and known < all_before[new]:
                if latest[known] < 0:
                    met[pictures] = known
                    pictures += 1
                before[stop] = latest[known]
                latest[known] = stop
            stop += 1
        ours, our_coefficients = (
            new_geometry[new_starts[new] : new_starts[new + 1]],
            new_coefficients[new_starts[new] : new_starts[new + 1]],
        )
        for place in range(pictures):
            known = met[place]
            meeting = latest[known]
            latest[known] = -1
            if before[meeting] < 0:
                continue
            theirs, their_coefficients = (
                geometry[starts[known] : starts[known + 1]],
                coefficients[starts[known] : starts[known + 1]],
            )
            is_first = new_ids[new] < ids[known]
            meetings = 0
            while meeting >= 0:
                i, j = of_new[meeting] - new_starts[new], of_known[meeting] + offset - starts[known]
                codes[meetings] = 64 * i + j if is_first else 64 * j + i
                meetings += 1
                meeting = before[meeting]
            for n in range(meetings // 2):  # they came in the order opposite to that in which `vote` sorts them
                codes[n], codes[meetings - 1 - n] = codes[meetings - 1 - n], codes[n]
            if is_first:
                votes = vote(
                    ours, our_coefficients, new_sizes[new, 0], new_sizes[new, 1],
                    theirs, their_coefficients, sizes[known, 0], sizes[known, 1], codes, meetings, told,
                )  # fmt: skip
            else:
                votes = vote(
                    theirs, their_coefficients, sizes[known, 0], sizes[known, 1],
                    ours, our_coefficients, new_sizes[new, 0], new_sizes[new, 1], codes, meetings, told,
                )  # fmt: skip
            if votes:
                found_new[count], found_known[count], found_votes[count] = new, known, votes
                found_told[count] = told
                count += 1
        start = stop
    return count
