"""Of pictures that may share a part the best pairs are stored, in whatever order they are found."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from dupwatchd.compare.parts.nearest import BestParts, Pair, Voted

PICTURES = 9


def best_of(pairs: dict[Pair, int], count: int, digest: dict[int, bytes]) -> set[Pair]:
    """All pairs that are among the best of one of their pictures."""
    kept: set[Pair] = set()
    for one in range(PICTURES):
        places = [(-votes, digest[a + b - one], (a, b)) for (a, b), votes in pairs.items() if one in (a, b)]
        kept.update(pair for *_, pair in sorted(places)[:count])
    return kept


@given(
    st.dictionaries(st.sampled_from([*itertools.combinations(range(PICTURES), 2)]), st.integers(2, 5), max_size=36),
    st.integers(1, 4),
    st.permutations(range(PICTURES)),
    st.lists(st.integers(1, 4), min_size=9, max_size=9),
    st.lists(st.integers(0, PICTURES - 1), max_size=6),
    st.integers(1, 7),
)
def test_what_is_stored_follows_from_the_pictures_alone(
    pairs: dict[Pair, int], count: int, order: list[int], sizes: list[int], gone: list[int], part: int
) -> None:
    digest = {one: bytes([one % 3, one]) for one in range(PICTURES)}
    stored: dict[Pair, int] = {}

    def beside(pictures: list[int]) -> list[Voted]:
        return [(*pair, votes) for one in pictures for pair, votes in stored.items() if one in pair]

    def search(new: list[int], known: set[int]) -> None:
        """As the program does: all pairs of new pictures with known ones and each other."""
        best = BestParts(count, beside, lambda some: {one: digest[one] for one in some})
        found = [(a, b, votes) for (a, b), votes in pairs.items() if {a, b} & {*new} and {a, b} <= known | {*new}]
        for start in range(0, len(found), part):
            best.add(found[start : start + part])
        changes = best.changes()
        assert not {(a, b) for a, b, _ in changes.new} & stored.keys()
        stored.update({(a, b): votes for a, b, votes in changes.new})
        for pair in changes.needless:
            del stored[pair]

    known: set[int] = set()
    left = list(order)
    while left:
        new, left = left[: sizes[len(left) - 1]], left[sizes[len(left) - 1] :]
        search(new, known)
        known |= {*new}
    assert stored == {pair: pairs[pair] for pair in best_of(pairs, count, digest)}
    for one in gone:
        if one not in known:
            continue
        known.discard(one)
        pairs = {pair: votes for pair, votes in pairs.items() if one not in pair}
        touched = {other for pair in stored if one in pair for other in pair} - {one}
        crowded = [other for other in touched if len(beside([other])) >= count]
        stored = {pair: votes for pair, votes in stored.items() if one not in pair}
        for other in crowded:  # one by one: what is still to be searched is not complete meanwhile
            search([other], known)
        assert stored == {pair: pairs[pair] for pair in best_of(pairs, count, digest)}
