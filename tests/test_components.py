"""Who hangs together with whom: whole arrays at a time against one edge after the other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dupwatchd.components import Vertices, components, renumbered

MANY = 200_000


def plain(count: int, a: Vertices, b: Vertices) -> list[int]:
    """Union-find: the smallest vertex of each component."""
    leader = list(range(count))

    def find(vertex: int) -> int:
        while leader[vertex] != vertex:
            leader[vertex] = leader[leader[vertex]]
            vertex = leader[vertex]
        return vertex

    for first, second in zip(a.tolist(), b.tolist(), strict=True):
        low, high = sorted((find(first), find(second)))
        leader[high] = low
    return [find(vertex) for vertex in range(count)]


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 100_000), count=st.integers(1, 60), per_vertex=st.sampled_from([0, 0.3, 0.7, 1, 3]))
def test_the_smallest_vertex_stands_for_all_that_are_joined(seed: int, count: int, per_vertex: float) -> None:
    random = np.random.default_rng(seed)
    a, b = random.integers(0, count, (2, int(count * per_vertex)))  # loops and doubles, too
    assert components(count, a, b).tolist() == plain(count, a, b)


@pytest.mark.parametrize("order", ["ascending", "descending", "shuffled", "low and high", "bits reversed"])
def test_a_long_path_is_one_component(order: str) -> None:
    vertices = np.arange(MANY)
    path = {
        "ascending": vertices,
        "descending": vertices[::-1],
        "shuffled": np.random.default_rng(1).permutation(MANY),
        "low and high": vertices.reshape(2, -1).T.ravel(),
        "bits reversed": np.argsort([int(f"{vertex:018b}"[::-1], 2) for vertex in range(MANY)]),
    }[order]
    assert not components(MANY, path[:-1], path[1:]).any()
    edges = np.random.default_rng(2).permutation(MANY - 1)
    cut = edges[path[edges] != 0]  # behind vertex 0, wherever it lies
    assert (components(MANY, path[cut + 1], path[cut]) == plain(MANY, path[cut], path[cut + 1])).all()


@pytest.mark.parametrize("hub", [0, MANY // 2, MANY - 1])
def test_a_star_is_one_component(hub: int) -> None:
    assert not components(MANY, np.full(MANY, hub), np.arange(MANY)).any()


def test_many_small_components_stay_apart() -> None:
    members = np.random.default_rng(3).permutation(MANY).reshape(-1, 10)
    found = components(MANY, members[:, :-1].ravel(), members[:, 1:].ravel())
    assert (found[members] == members.min(axis=1)[:, None]).all()


def test_without_edges_every_vertex_is_alone() -> None:
    none = np.empty(0, np.int64)
    assert components(3, none, none).tolist() == [0, 1, 2]
    assert components(0, none, none).tolist() == []


def test_the_edges_are_left_as_they_were() -> None:
    a, b = np.array([3, 1, 2]), np.array([1, 0, 2])
    components(4, a, b)
    assert (a.tolist(), b.tolist()) == ([3, 1, 2], [1, 0, 2])


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 100_000), edges=st.integers(0, 40), most=st.sampled_from([1, 30, 10**6, 2**62]))
def test_renumbered_vertices_keep_their_order(seed: int, edges: int, most: int) -> None:
    a, b = np.random.default_rng(seed).integers(0, most, (2, edges))
    used, from_, to = renumbered(a, b)
    assert used.tolist() == sorted({*a.tolist(), *b.tolist()})
    assert used[from_].tolist() == a.tolist()
    assert used[to].tolist() == b.tolist()
