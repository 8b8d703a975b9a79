"""The candidates among few pictures: every keypoint is compared with every other.

It needs nothing but numpy. The search by trees is quicker as soon as there are many pictures, but to load the compiler
takes longer than this does until then, and to compile takes ten times as long again.
"""

import numpy as np

from dupwatchd.compare.parts.agreement import meetings_of, votes_of_each
from dupwatchd.compare.parts.meeting import meetings, table_of
from dupwatchd.compare.parts.packed import Alive, Found, Packed, Rows


def candidates(new: Packed, known: Packed, all_before: Rows, alive: Alive, most_pairs: int) -> Found | None:
    """All candidates among pairs of a new picture and a known one; None if more than so many pairs have to vote.

    Only known ones take part that lie before a row, ``all_before`` (new pictures,), and are ``alive`` (known ones,).
    It takes 44 numbers of memory for each keypoint that is known.
    """
    found: list[tuple[int, int, int]] = []
    table = table_of(known.coefficients)
    voting = 0
    for row, before in enumerate(all_before.tolist()):
        ours = new.picture(row)
        of_ours, of_known = meetings(ours.coefficients, table[:, : known.starts[before]])
        owners = known.owners[of_known]
        met, times = np.unique(owners[alive[owners]], return_counts=True)
        others = met[times > 1].tolist()
        voting += len(others)
        if voting > most_pairs:
            return None
        for other in others:
            mine = owners == other
            theirs = known.picture(other)
            pairs = meetings_of(ours, theirs, of_ours[mine], of_known[mine] - known.starts[other])
            votes = int(votes_of_each(pairs, ours, theirs).max())
            if votes > 1:
                found.append((row, other, votes))
    new_rows, known_rows, agreeing = np.array(found, np.int64).reshape(-1, 3).T
    return new_rows, known_rows, agreeing
