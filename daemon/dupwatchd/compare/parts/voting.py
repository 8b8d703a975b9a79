"""How many keypoints agree on how two pictures lie on each other: the votes of `agreement`, compiled."""

import numpy as np

from dupwatchd.compare.compiled import compiled
from dupwatchd.compare.parts import agreement
from dupwatchd.compare.parts.agreement import (
    OUR_SCALE,
    OUR_X,
    OUR_Y,
    OURS,
    THEIR_SCALE,
    THEIR_X,
    THEIR_Y,
    THEIRS,
    TOLD,
    TURN,
)
from dupwatchd.pixels.keypoints import MOST_KEYPOINTS

CODE = 64  # a meeting is number of the first's keypoint times this, and number of the second's

assert MOST_KEYPOINTS < CODE - 1, "a set of keypoints is one number of 64 bits with a sign"

_described = compiled(
    "Tuple((int64, int64, int64, int16, int16, int16, int16, int16, int16))(int16[::1], int64, int16[::1], int64)"
)(agreement.described)
_agree = compiled("boolean(int64[::1], int64[::1], int64, int64)")(agreement.agree)


@compiled("int64(int64)")
def size(keypoints):  # type: ignore[no-untyped-def]
    """How many keypoints are in a set, each of which is a bit: sums of 2, then 4, then 8 bits side by side."""
    pairs = keypoints - ((keypoints >> 1) & 0x5555555555555555)
    fours = (pairs & 0x3333333333333333) + ((pairs >> 2) & 0x3333333333333333)
    eights = (fours + (fours >> 4)) & 0x0F0F0F0F0F0F0F0F
    return (eights * 0x0101010101010101) >> 56


@compiled("int64(int16[:, ::1], int64, int16[:, ::1], int64, int64[::1], int64)")
def vote(ours, our_side, theirs, their_side, codes, count):  # type: ignore[no-untyped-def]
    """The votes for the best placement, 0 if there is none, from the geometry and the longer sides of both pictures.

    ``codes`` holds all meetings, ``count`` of them, each once.
    """
    if count < 2:
        return 0
    met = np.empty((count, TOLD), np.int64)
    our_bits, their_bits = np.empty(count, np.int64), np.empty(count, np.int64)
    our_sets, their_sets = np.empty(count, np.int64), np.empty(count, np.int64)  # of keypoints, as bits
    for m in range(count):
        i, j = codes[m] // CODE, codes[m] % CODE
        (
            met[m, OURS], met[m, THEIRS], met[m, TURN], met[m, OUR_SCALE], met[m, THEIR_SCALE],
            met[m, OUR_X], met[m, OUR_Y], met[m, THEIR_X], met[m, THEIR_Y],
        ) = _described(ours[i], i, theirs[j], j)  # fmt: skip
        our_bits[m], their_bits[m] = np.int64(1) << i, np.int64(1) << j
        our_sets[m], their_sets[m] = our_bits[m], their_bits[m]
        for q in range(m):
            if _agree(met[m], met[q], our_side, their_side):
                our_sets[m] |= our_bits[q]
                their_sets[m] |= their_bits[q]
                our_sets[q] |= our_bits[m]
                their_sets[q] |= their_bits[m]
    votes = 0
    for m in range(count):
        votes = max(votes, min(size(our_sets[m]), size(their_sets[m])))
    return votes if votes > 1 else 0
