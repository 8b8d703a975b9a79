"""The candidates among few pictures: every keypoint is compared with all that its first coefficient does not rule out.

It needs nothing but numpy. The search by trees is quicker as soon as there are many pictures, but to load the compiler
takes longer than this does until then, and to compile takes ten times as long again.
"""

import numpy as np
from numpy.typing import NDArray

from dupwatchd.compare.parts.agreement import Meetings, agree, described, meetings_of, votes_of_each
from dupwatchd.compare.parts.meeting import Sought
from dupwatchd.compare.parts.packed import Alive, Found, Packed, Rows

_MANY = 512  # keypoints for which it is worth to put the known ones in order
_AT_ONCE = 128  # new pictures whose meetings are held at once
_MOST_MEETINGS = 1 << 19  # of these; 60 bytes each


def candidates(new: Packed, known: Packed, all_before: Rows, alive: Alive, most_pairs: int) -> Found | None:
    """All candidates among pairs of a new picture and a known one; None if more than so many pairs have to vote.

    None as well if very many keypoints meet.
    Only known ones take part that lie before a row, ``all_before`` (new pictures,), and are ``alive`` (known ones,).
    """
    sought = Sought(known.coefficients, ordered=len(new.coefficients) > _MANY)
    found = [np.empty((2, 0), np.int64)]  # pairs, each a number, and their votes
    voting = 0
    for start in range(0, len(new), _AT_ONCE):
        first, last = new.starts[[start, min(start + _AT_ONCE, len(new))]].tolist()
        meetings = sought.meetings(new.coefficients[first:last], _MOST_MEETINGS)
        if meetings is None:
            return None
        ours, theirs = meetings[0] + first, meetings[1]
        rows, others = new.owners[ours], known.owners[theirs]
        kept = np.flatnonzero(alive[others] & (others < all_before[rows]))
        pairs = rows[kept] * np.int64(len(known)) + others[kept]
        kept = kept[np.argsort(pairs, kind="stable")]
        met, counts = np.unique(pairs, return_counts=True)
        voting += int(np.count_nonzero(counts > 1))
        if voting > most_pairs:
            return None
        found += _votes(new, known, met, counts, ours[kept], theirs[kept])
    pairs, votes = np.concatenate(found, axis=1)
    pairs, votes = pairs[votes > 1], votes[votes > 1]
    order = np.argsort(pairs)
    return *np.divmod(pairs[order], max(1, len(known))), votes[order]


def _votes(new: Packed, known: Packed, pairs: Rows, counts: Rows, ours: Rows, theirs: Rows) -> list[NDArray[np.int64]]:
    """Those pairs of pictures that have several meetings, and their votes: (2, N) each.

    Given are all pairs, each a number, how many meetings each has, and the keypoints of these, pair by pair.
    """
    ends = np.cumsum(counts)
    two = counts == 2  # of accidental ones nearly all: asked for all at once
    one, other = (_meetings(new, known, ours[ends[two] - back], theirs[ends[two] - back]) for back in (2, 1))
    rows, its_rows = np.divmod(pairs[two], max(1, len(known)))
    sides = new.sizes[rows].max(axis=1), known.sizes[its_rows].max(axis=1)
    found = [np.stack([pairs[two], 1 + agree(one, other, *sides)])]
    for pair, stop, count in zip(*(each[counts > 2].tolist() for each in (pairs, ends, counts)), strict=True):
        row, its_row = divmod(pair, len(known))
        some = slice(stop - count, stop)
        mine, its = new.picture(row), known.picture(its_row)
        met = meetings_of(mine, its, ours[some] - new.starts[row], theirs[some] - known.starts[its_row])
        found.append(np.array([[pair], [votes_of_each(met, mine, its).max()]]))
    return found


def _meetings(new: Packed, known: Packed, ours: Rows, theirs: Rows) -> Meetings:
    geometry = [each.geometry[rows].astype(np.int64).T for each, rows in ((new, ours), (known, theirs))]
    return np.array(described(geometry[0], ours, geometry[1], theirs))
