"""Every point within the bound and no other: the tree against all distances."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dupwatchd.compare.tree import boxtree
from dupwatchd.compare.tree.boxtree import BoxTree, Points

SIZES = [1, 2, 15, 16, 17, 31, 33, 100, 255, 257, 1000, 4097]


def points(seed: int, count: int) -> Points:
    """Whole numbers, so that every distance is exact in float32; some points are there many times."""
    random = np.random.default_rng(seed)
    spread = random.permutation(np.geomspace(100, 1, 16))
    made = np.asarray(np.rint(random.normal(size=(count, 16)) * spread), np.float32)
    made[:: random.integers(1, 50)] = made[0]
    return made


def found(tree: BoxTree, queries: Points, bound: float, threads: int) -> list[tuple[int, int]]:
    pairs: list[tuple[int, int]] = []
    for of_query, of_point in tree.within(queries, bound, threads):
        assert len(of_query) == len(of_point) > 0
        pairs += zip(of_query.tolist(), of_point.tolist(), strict=True)
    return pairs


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    count=st.one_of(st.sampled_from(SIZES), st.integers(1, 700)),
    threads=st.sampled_from([1, 3]),
    share=st.floats(0, 1),
)
def test_all_points_within_the_bound_are_found_once(seed: int, count: int, threads: int, share: float) -> None:
    known = points(seed, count)
    queries = np.concatenate([known[:40], points(seed + 1, 20)])
    distances = ((queries[:, None] - known[None]) ** 2).sum(axis=2)
    bound = float(np.quantile(distances, share, method="lower"))  # one of the distances: at the bound counts as within
    tree = BoxTree(known)
    for limit in (bound, np.nextafter(np.float32(bound), np.float32(0))):
        pairs = found(tree, queries, float(limit), threads)
        expected = list(zip(*(axis.tolist() for axis in np.nonzero(distances <= limit)), strict=True))
        assert sorted(pairs) == expected


@pytest.mark.parametrize("room", [1, 7, 4096])
def test_more_pairs_than_room_lose_nothing(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    monkeypatch.setattr(boxtree, "_MOST_PAIRS", room)
    monkeypatch.setattr(boxtree, "_QUERIES_PER_TASK", 5)
    known = points(3, 300)
    for threads in (1, 2):
        pairs = found(BoxTree(known), known[:50], 1e12, threads)
        assert sorted(pairs) == [(query, point) for query in range(50) for point in range(300)]


def test_the_pairs_of_a_query_come_together_and_in_order() -> None:
    known = points(5, 5000)
    parts = list(BoxTree(known).within(known[:2000], 50.0))
    queries = np.concatenate([of_query for of_query, _ in parts])
    assert (np.diff(queries) >= 0).all()


def test_equal_points_are_no_burden() -> None:
    known = np.zeros((3000, 16), np.float32)
    assert len(found(BoxTree(known), known[:2], 0.0, 1)) == 6000
    assert found(BoxTree(known), known[:2] + 1, 15.9, 1) == []


def test_nothing_is_asked() -> None:
    assert found(BoxTree(points(1, 20)), np.empty((0, 16), np.float32), 1.0, 1) == []
