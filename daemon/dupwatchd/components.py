"""Connected components of large graphs, a few passes over whole arrays at a time.

An edge is a pair (a[i], b[i]) of vertices, which are numbers from 0. Edges may repeat, and may join a vertex with
itself.
"""

import numpy as np
from numpy.typing import NDArray

Vertices = NDArray[np.int64]

_TABLE = 4  # places per edge: if ids are no larger, a table of them takes a tenth of the time of sorting
_SMALL_TABLE = 1_000_000  # places, 9 MB, always allowed: memory that is not used is never touched


def components(count: int, a: Vertices, b: Vertices) -> Vertices:
    """The smallest vertex of each vertex's component: (count,).

    A million vertices take 30 to 60 ms with a million edges (a grid with two million: 100 ms), 2 ms with a few.
    """
    # Every vertex with a smaller neighbour follows the smallest of them. Each other vertex has then either won a
    # follower, or its neighbours follow a vertex that is smaller still, which it will follow in the next round. So two
    # rounds halve what is left.
    parent = np.arange(count)
    apart = a != b
    if not apart.all():
        a, b = a[apart], b[apart]
    if not len(a):
        return parent
    np.minimum.at(parent, np.maximum(a, b), np.minimum(a, b))
    parent = followed(parent)
    a, b = parent[a], parent[b]
    apart = a != b
    if apart.any():
        roots, a, b = renumbered(a[apart], b[apart])
        parent[roots] = roots[components(len(roots), a, b)]
        parent = parent[parent]
    return parent


def followed(parent: Vertices) -> Vertices:
    """The root (count,) that each vertex reaches from parent to parent; a root is its own parent."""
    while True:
        further = parent[parent]
        if np.array_equal(further, parent):
            return parent
        parent = further


def renumbered(a: Vertices, b: Vertices) -> tuple[Vertices, Vertices, Vertices]:
    """The vertices (V,) that have an edge, ascending, and the edges as pairs of places in that list."""
    most = max(a.max(initial=0), b.max(initial=0))
    if most > _TABLE * len(a) + _SMALL_TABLE:
        used, places = np.unique(np.concatenate([a, b]), return_inverse=True)
        return used, places[: len(a)], places[len(a) :]
    there = np.zeros(most + 1, bool)
    there[a] = True
    there[b] = True
    used = np.flatnonzero(there)
    place = np.empty(most + 1, np.int64)
    place[used] = np.arange(len(used))
    return used, place[a], place[b]
