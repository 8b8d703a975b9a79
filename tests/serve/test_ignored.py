"""Pairs that are not duplicates, against a plain set of pairs."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from dupwatchd.serve.ignored import NONE_IGNORED

DIGESTS = [bytes([number]) * 32 for number in range(7)]
PAIRS = list(itertools.combinations(DIGESTS, 2))


@given(
    st.lists(st.tuples(st.booleans(), st.sets(st.sampled_from(PAIRS))), max_size=6), st.sets(st.sampled_from(DIGESTS))
)
def test_pairs_are_those_that_were_added_and_not_taken_away(
    changes: list[tuple[bool, set[tuple[bytes, bytes]]]], some: set[bytes]
) -> None:
    ignored, expected = NONE_IGNORED, set[tuple[bytes, bytes]]()
    for is_added, pairs in changes:
        if is_added:
            ignored = ignored.with_pairs(pairs - expected)
            expected |= pairs
        else:
            ignored = ignored.without_pairs(pairs & expected)
            expected -= pairs
    assert ignored.count == len(expected)
    assert set(ignored.contents) == {digest for pair in expected for digest in pair}
    assert sorted(ignored.among(DIGESTS)) == sorted(expected)
    assert {*ignored.among(some)} == {pair for pair in expected if some.issuperset(pair)}
    for one, other in PAIRS:
        assert ignored.holds(one, other) == ignored.holds(other, one) == ((one, other) in expected)
