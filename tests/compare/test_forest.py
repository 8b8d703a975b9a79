"""Few matches join what all of them join, at every threshold: forests against all edges in the plainest way."""

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dupwatchd.arrays import Matches
from dupwatchd.compare.forest import spanning
from dupwatchd.model import Limits

LIMITS = Limits(keep_mse=50.0, keep_structure=0.04, mirrored=True)
MEASURES = {"mse": 50.0, "structure": 0.04, "custom": math.inf}
SHAPES = ["random", "clustered", "path", "star", "complete", "grid"]

Row = tuple[int, int, bool, float, float, float]  # as the fields of Matches, own NaN where there is none
Edge = tuple[float, int, int, bool]  # value, a, b, mirrored


def pairs(random: np.random.Generator, shape: str, count: int) -> NDArray[np.int64]:
    """Edges (E, 2) between vertices 0 ... count - 1, each once."""
    low, high = np.triu_indices(count, 1)
    if shape == "random":
        some = random.random(len(low)) < random.random()
    elif shape == "clustered":
        some = (low % 4 == high % 4) | (random.random(len(low)) < 0.02)
    elif shape == "path":
        some = high == low + 1
    elif shape == "star":
        some = low == 0
    elif shape == "complete":
        some = low == low
    else:
        some = (high == low + 5) | ((high == low + 1) & (high % 5 > 0))
    return random.permutation(count)[np.column_stack([low[some], high[some]])]


def values(random: np.random.Generator, count: int, most: float, steps: int) -> NDArray[np.float64]:
    """Multiples of a step, a third of them beyond the limit; with few steps many are equal, with one all are 0."""
    return np.floor(random.random(count) * steps) / steps * 1.5 * most


def some_matches(seed: int, shape: str, count: int = 14, steps: int = 8) -> Matches:
    random = np.random.default_rng(seed)
    ids = np.sort(random.choice(random.choice([20, 500, 2**50]), count, replace=False))
    edges = np.sort(ids[pairs(random, shape, count)], axis=1)
    flipped = edges[random.random(len(edges)) < 0.3]
    mirrored = np.repeat([False, True], [len(edges), len(flipped)])
    edges = np.concatenate([edges, flipped])
    custom = values(random, len(edges), 1.0, steps)
    custom[random.random(len(edges)) < random.choice([0, 0.5, 1])] = np.nan
    made = Matches(
        edges[:, 0],
        edges[:, 1],
        mirrored,
        values(random, len(edges), LIMITS.keep_mse, steps),
        values(random, len(edges), LIMITS.keep_structure, steps),
        custom,
    )
    again = made[random.random(len(made)) < 0.3]  # found twice, one time without the own measure
    again.custom[:] = np.nan
    made = Matches.joined([made, again])
    return made[random.permutation(len(made))]


def rows(matches: Matches) -> list[Row]:
    columns = [getattr(matches, name).tolist() for name in Matches.__slots__]
    return list(zip(*columns, strict=True))


def as_set(matches: Matches) -> set[tuple[int, int, bool, float, float, float | None]]:
    found = {(a, b, bool(m), mse, structure, custom) for a, b, m, mse, structure, custom in matches.rows()}
    assert len(found) == len(matches), "a match was kept twice"
    return found


def graphs(matches: Matches) -> Iterator[list[Edge]]:
    """The six graphs: one of each measure, without mirror images and with them."""
    for measure, limit in MEASURES.items():
        edges = [
            (value, a, b, mirrored)
            for (a, b, mirrored, *_), value in zip(rows(matches), getattr(matches, measure).tolist(), strict=True)
            if value <= limit
        ]
        yield [edge for edge in edges if not edge[3]]
        yield edges


def joined(edges: list[Edge], threshold: float) -> set[frozenset[int]]:
    """The sets of two pictures and more that are joined."""
    group: dict[int, set[int]] = {}
    for value, a, b, _ in edges:
        if value <= threshold:
            both = group.get(a, {a}) | group.get(b, {b})
            group.update(dict.fromkeys(both, both))
    return {frozenset(members) for members in group.values()}


def assert_joined_alike(some: Matches, every: Matches) -> None:
    """At each value of each graph, just below and just above it."""
    for edges, all_edges in zip(graphs(some), graphs(every), strict=True):
        for value in {edge[0] for edge in all_edges}:
            for threshold in (math.nextafter(value, -1), value, math.nextafter(value, math.inf)):
                assert joined(edges, threshold) == joined(all_edges, threshold)


def kruskal(edges: list[Edge]) -> set[tuple[int, int, bool]]:
    group: dict[int, set[int]] = {}
    chosen = set()
    for _, a, b, mirrored in sorted(edges):
        if b not in group.get(a, {a}):
            chosen.add((a, b, mirrored))
            both = group.get(a, {a}) | group.get(b, {b})
            group.update(dict.fromkeys(both, both))
    return chosen


def reduced(matches: Matches) -> Matches:
    return matches[spanning.spanning(matches, LIMITS)]


ANY_MATCHES = {
    "seed": st.integers(0, 100_000),
    "shape": st.sampled_from(SHAPES),
    "steps": st.sampled_from([1, 3, 20, 10**9]),
}


@settings(max_examples=60, deadline=None)
@given(**ANY_MATCHES)
def test_what_is_kept_joins_the_same_pictures_at_every_threshold(seed: int, shape: str, steps: int) -> None:
    matches = some_matches(seed, shape, steps=steps)
    assert_joined_alike(reduced(matches), matches)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(**ANY_MATCHES, count=st.integers(1, 30), light_edges=st.sampled_from([1, 3, 1000]))
def test_the_forests_are_kept_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, seed: int, shape: str, steps: int, count: int, light_edges: int
) -> None:
    monkeypatch.setattr(spanning, "_LIGHT_EDGES", light_edges)
    matches = some_matches(seed, shape, min(count, 20), steps)
    forests = [kruskal(edges) for edges in graphs(matches)]
    kept = reduced(matches)
    assert {(a, b, mirrored) for a, b, mirrored, *_ in rows(kept)} == set().union(*forests)
    pictures = {*matches.a.tolist(), *matches.b.tolist()}
    assert len(kept) <= len(forests) * max(0, len(pictures) - 1)
    assert as_set(kept) <= as_set(spanning.merged(matches))


@settings(max_examples=60, deadline=None)
@given(**ANY_MATCHES)
def test_the_order_of_the_rows_does_not_matter(seed: int, shape: str, steps: int) -> None:
    matches = some_matches(seed, shape, steps=steps)
    shuffled = matches[np.random.default_rng(seed + 1).permutation(len(matches))]
    assert as_set(reduced(shuffled)) == as_set(reduced(matches))


@settings(max_examples=100, deadline=None)
@given(**ANY_MATCHES, parts=st.integers(1, 12))
def test_part_by_part_gives_the_same_as_all_at_once(seed: int, shape: str, steps: int, parts: int) -> None:
    matches = some_matches(seed, shape, steps=steps)
    kept = Matches.none()
    for part in np.array_split(np.random.default_rng(seed).permutation(len(matches)), parts):
        kept = reduced(Matches.joined([kept, matches[part]]))
    assert as_set(kept) == as_set(reduced(matches))
    assert_joined_alike(kept, matches)


def test_a_match_found_twice_is_kept_once_and_with_its_own_value() -> None:
    once, twice = (4, 9, False, 7.0, 0.01, None), (4, 9, False, 7.0, 0.01, 0.3)
    mirrored = (4, 9, True, 7.0, 0.01, None)
    for found in ([once, twice, mirrored], [twice, mirrored, once, once]):
        kept = reduced(Matches.from_rows(found))
        assert as_set(kept) == {twice}  # its mirror image joins nothing that is not joined already
        assert as_set(spanning.merged(Matches.from_rows(found))) == {twice, mirrored}


def test_identical_frames_leave_a_star() -> None:
    a, b = np.triu_indices(400, 1)
    same = np.zeros(len(a))
    matches = Matches(a, b, np.zeros(len(a), bool), same, same, np.full(len(a), np.nan))
    assert reduced(matches).rows() == [(0, other, 0, 0.0, 0.0, None) for other in range(1, 400)]


def test_a_path_is_kept_whole_however_long_and_whatever_its_values() -> None:
    count = 100_000
    random = np.random.default_rng(1)
    for vertices in (np.arange(count), random.permutation(count)):
        ends = np.sort([vertices[:-1], vertices[1:]], axis=0)
        ascending = np.linspace(0, 50, count - 1)
        absent = np.full(count - 1, np.nan)
        matches = Matches(ends[0], ends[1], np.zeros(count - 1, bool), ascending, random.random(count - 1), absent)
        assert spanning.spanning(matches, LIMITS).all()


def test_nothing_is_kept_of_nothing() -> None:
    assert len(reduced(Matches.none())) == 0
    assert len(spanning.merged(Matches.none())) == 0
    assert spanning.to_rejoin(Matches.none(), np.array([1]), LIMITS).tolist() == []


def touching(matches: Matches, pictures: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.isin(matches.a, pictures) | np.isin(matches.b, pictures)


def of_their_clusters(stored: Matches, gone: NDArray[np.int64]) -> Matches:
    found = gone
    while True:
        some = touching(stored, found)
        members = np.union1d(stored.a[some], stored.b[some])
        if len(members) <= len(found):
            return stored[some]
        found = np.union1d(found, members)


@settings(max_examples=100, deadline=None)
@given(**ANY_MATCHES, share=st.sampled_from([0.1, 0.3, 0.8]))
def test_after_a_removal_a_search_for_the_parts_cut_off_is_enough(
    seed: int, shape: str, steps: int, share: float
) -> None:
    random = np.random.default_rng(seed)
    left = some_matches(seed, shape, 18, steps)
    stored = reduced(left)
    for _ in range(3):  # what was restored serves the next removal
        pictures = np.union1d(left.a, left.b)
        gone = pictures[random.random(len(pictures)) < share]
        again = spanning.to_rejoin(of_their_clusters(stored, gone), gone, LIMITS)
        assert not np.isin(again, gone).any()
        assert again.tolist() == sorted(set(again.tolist()))
        left = left[~touching(left, gone)]
        found = left[touching(left, again)]
        stored = reduced(Matches.joined([stored[~touching(stored, gone)], found]))
        assert as_set(stored) == as_set(reduced(left))
        assert_joined_alike(stored, left)


def path(order: list[int], custom: float | None = None) -> Matches:
    """Each picture with the next one; a forest as it stands."""
    ends = [sorted(pair) for pair in pairwise(order)]
    return Matches.from_rows([(a, b, False, 3.0, 0.01, custom) for a, b in ends])


def test_what_only_hangs_on_leaves_nothing_to_search() -> None:
    star = Matches.from_rows([(0, leaf, leaf % 2, 1.0, 0.0, None) for leaf in range(1, 9)])
    assert spanning.to_rejoin(star, np.arange(2, 9), LIMITS).tolist() == []
    assert spanning.to_rejoin(path([3, 1, 4, 5, 9]), np.array([3, 9]), LIMITS).tolist() == []


def test_the_hub_of_a_star_leaves_all_but_one_to_search() -> None:
    star = Matches.from_rows([(0, leaf, False, 1.0, 0.0, None) for leaf in range(1, 9)])
    assert spanning.to_rejoin(star, np.array([0]), LIMITS).tolist() == [2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("custom", [None, 0.5])
def test_of_a_path_only_the_smaller_part_is_searched(custom: float | None) -> None:
    order = [7, 100, 3, 55, 20, 41, 8, 60]
    for gone, expected in ((100, [7]), (55, [3, 7, 100]), (41, [8, 60]), (8, [60])):
        assert spanning.to_rejoin(path(order, custom), np.array([gone]), LIMITS).tolist() == expected


def test_of_two_parts_of_one_size_the_one_with_the_first_picture_stays() -> None:
    stored = path([9, 2, 5, 1, 6])
    for some in (stored, stored[::-1]):
        assert spanning.to_rejoin(some, np.array([5]), LIMITS).tolist() == [2, 9]


def test_a_part_searched_for_one_measure_counts_for_nothing_in_the_next() -> None:
    # by mse 1 2 3 - 0 - 4 5, by structure 1 2 - 0 - 3 4 5
    shared = [(1, 2, False, 1.0, 0.01, None), (0, 4, False, 1.0, 0.01, None), (4, 5, False, 1.0, 0.01, None)]
    by_mse = [(0, 1, False, 2.0, 0.03, None), (2, 3, False, 1.0, 0.05, None)]
    by_structure = [(0, 2, False, 60.0, 0.01, None), (3, 4, False, 60.0, 0.01, None)]
    stored = Matches.from_rows([*shared, *by_mse, *by_structure])
    assert as_set(reduced(stored)) == as_set(stored)
    assert spanning.to_rejoin(stored, np.array([0]), LIMITS).tolist() == [3, 4, 5]


def test_other_clusters_are_not_searched() -> None:
    stored = Matches.joined([path([1, 2, 3, 4, 5]), path([11, 12, 13, 14, 15])])
    assert spanning.to_rejoin(stored, np.array([4, 77]), LIMITS).tolist() == [5]
