"""Finds all points within a distance of given ones: a tree of boxes over points of 16 numbers, a CPU vector's length.

A leaf holds sixteen points and a node sixteen boxes, both stored number by number: one pass over 16 numbers compares a
query with all sixteen at once. A box is the smallest one around its points in all 16 numbers. A box of few points is
small in each number, and therefore rules much out.

The tree is built by halving at the median of the number that varies most, until sixteen points or fewer are left.
It never changes. The search is compiled when it is first needed, and kept in numba's cache where one can be written.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from dupwatchd.compare.compiled import compiled

NUMBERS = 16
_WIDTH = 16  # points in a leaf, boxes in a node
_LEVELS = 4  # 2**4 = _WIDTH: halvings from a node to its boxes
_FAR = np.float32(1e9)  # where unused places lie: beyond every bound, and its square still fits into float32
_MOST_PAIRS = 1 << 20  # 16 MB at once
_QUERIES_PER_TASK = 256
_SAMPLE = 64  # points that tell in which number a group is widest; any choice gives a correct tree

Rows = NDArray[np.int64]
Points = NDArray[np.float32]  # (N, 16)


class BoxTree:
    """A tree over points (N, 16) float32, N > 0; it takes 80 to 140 bytes a point."""

    def __init__(self, points: Points) -> None:
        halvings = max(0, int(np.ceil(np.log2(len(points) / _WIDTH))))
        leaf_size = -(-len(points) >> halvings)
        total = leaf_size << halvings
        order = np.arange(total) % len(points)  # the last places repeat points until the tree is built
        points = points[order]
        for level in range(halvings):
            places = _halved(points.reshape(1 << level, -1, NUMBERS))
            order, points = order[places], points[places]
        leaves = np.full((1 << halvings, NUMBERS, _WIDTH), _FAR, np.float32)
        rows = np.zeros((1 << halvings, _WIDTH), np.int64)
        rows[:, :leaf_size] = order.reshape(-1, leaf_size)
        leaves[:, :, :leaf_size] = points.reshape(-1, leaf_size, NUMBERS).swapaxes(1, 2)
        in_leaves = points.reshape(-1, leaf_size, NUMBERS)
        low, high = in_leaves.min(axis=1), in_leaves.max(axis=1)
        _, first_places = np.unique(order, return_index=True)
        twice = np.ones(total, bool)
        twice[first_places] = False
        of_leaf, column = np.divmod(np.flatnonzero(twice), leaf_size)
        leaves[of_leaf, :, column] = _FAR
        self.order: Rows = order[~twice]  # rows of the points, near ones together
        self._leaves = leaves
        self._rows = rows.ravel()
        self._nodes, self._first_child = _nodes(low, high)

    def within(self, queries: Points, bound: float, threads: int = 1) -> Iterator[tuple[Rows, Rows]]:
        """Pairs of rows: of a query (M, 16) and of a point, whose squared distance is at most the bound.

        A million pairs at most at a time, or as many as there are points; all pairs of one query come together,
        queries in their order. The distance is taken in float32; the caller allows for its rounding.
        """
        queries = np.ascontiguousarray(queries, np.float32)
        size = max(_QUERIES_PER_TASK, -(-len(queries) // (8 * threads)))
        parts = [slice(start, min(start + size, len(queries))) for start in range(0, len(queries), size)]
        if threads == 1 or len(parts) < 2:
            for part in parts:
                yield from self._search(queries, part, bound)
            return
        with ThreadPoolExecutor(threads) as pool:
            for found in pool.map(lambda part: list(self._search(queries, part, bound)), parts):
                yield from found

    def _search(self, queries: Points, part: slice, bound: float) -> Iterator[tuple[Rows, Rows]]:
        start, room = part.start, min(_MOST_PAIRS, 64 * (part.stop - part.start) + 1024)
        while start < part.stop:
            of_query, places = np.empty(room, np.int64), np.empty(room, np.int64)
            done, count = _search(
                queries[start : part.stop],
                np.float32(bound),
                self._nodes,
                self._first_child,
                self._leaves,
                of_query,
                places,
            )
            if count:
                yield of_query[:count] + start, self._rows[places[:count]]
            start += done
            room = min(_MOST_PAIRS, 8 * room) if done else max(2 * room, len(self._rows))


def _halved(groups: Points) -> NDArray[np.int64]:
    """The order of points (K, 2·m, 16) that halves each of the K groups in the number in which it is widest."""
    count, size, _ = groups.shape
    sample = groups[:, :: max(1, size // _SAMPLE)]
    number = (np.einsum("kmn,kmn->kn", sample, sample) / sample.shape[1] - sample.mean(axis=1) ** 2).argmax(
        axis=1
    )  # (K,)
    values = np.take_along_axis(groups, number[:, None, None], axis=2)[:, :, 0]
    places = np.argpartition(values, size // 2, axis=1)
    places += size * np.arange(count)[:, None]
    return places.ravel()


def _nodes(low: NDArray[np.float32], high: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """From the boxes of the leaves: nodes (K, 2, 16 numbers, 16 boxes) from the root down, and the first child of each.

    A child numbered K + i is leaf i; nodes of one level lie side by side, and so do their children.
    """
    levels: list[NDArray[np.float32]] = []
    while len(low) > 1:
        width = min(_WIDTH, len(low))
        count = len(low) // width
        node = np.full((count, 2, NUMBERS, _WIDTH), _FAR, np.float32)
        node[:, 0, :, :width] = low.reshape(count, width, NUMBERS).swapaxes(1, 2)
        node[:, 1, :, :width] = high.reshape(count, width, NUMBERS).swapaxes(1, 2)
        levels.insert(0, node)
        low, high = low.reshape(count, width, NUMBERS).min(axis=1), high.reshape(count, width, NUMBERS).max(axis=1)
    first_child: list[NDArray[np.int64]] = []
    next_level = 0
    for level, node in enumerate(levels):
        next_level += len(node)
        width = len(levels[level + 1]) // len(node) if level + 1 < len(levels) else _WIDTH
        first_child.append(next_level + width * np.arange(len(node)))
    none = np.empty((0, 2, NUMBERS, _WIDTH), np.float32)
    return np.concatenate([*levels, none]), np.concatenate([*first_child, np.empty(0, np.int64)])


@compiled(
    "UniTuple(int64, 2)(float32[:, ::1], float32, float32[:, :, :, ::1], int64[::1], float32[:, :, ::1], int64[::1], "
    "int64[::1])",
    any_order=True,
)
def _search(queries, bound, nodes, first_child, leaves, of_query, places):  # type: ignore[no-untyped-def]
    """Writes pairs until those of a query do not fit; returns how many queries are done, and how many pairs."""
    zero = np.float32(0)
    apart = np.empty(16, np.float32)
    stack = np.empty(256, np.int64)
    count = 0
    for i in range(len(queries)):
        count_before = count
        query = queries[i]
        stack[0] = 0
        top = 1
        while top:
            top -= 1
            here = stack[top]
            apart[:] = zero
            if here < len(nodes):
                node = nodes[here]
                # four numbers at a time, so that the sums are loaded and stored a quarter as often
                for n in range(0, 16, 4):
                    a, b, c, d = query[n], query[n + 1], query[n + 2], query[n + 3]
                    for k in range(16):
                        e = max(max(node[0, n, k] - a, a - node[1, n, k]), zero)
                        f = max(max(node[0, n + 1, k] - b, b - node[1, n + 1, k]), zero)
                        g = max(max(node[0, n + 2, k] - c, c - node[1, n + 2, k]), zero)
                        h = max(max(node[0, n + 3, k] - d, d - node[1, n + 3, k]), zero)
                        apart[k] += (e * e + f * f) + (g * g + h * h)
                child = first_child[here]
                for k in range(16):
                    if apart[k] <= bound:
                        stack[top] = child + k
                        top += 1
            else:
                leaf = leaves[here - len(nodes)]
                for n in range(0, 16, 4):
                    a, b, c, d = query[n], query[n + 1], query[n + 2], query[n + 3]
                    for k in range(16):
                        e = leaf[n, k] - a
                        f = leaf[n + 1, k] - b
                        g = leaf[n + 2, k] - c
                        h = leaf[n + 3, k] - d
                        apart[k] += (e * e + f * f) + (g * g + h * h)
                nearest = apart[0]
                for k in range(1, 16):
                    nearest = min(nearest, apart[k])
                if nearest > bound:
                    continue
                for k in range(16):
                    if apart[k] <= bound:
                        if count == len(places):
                            return i, count_before
                        of_query[count] = i
                        places[count] = (here - len(nodes)) * 16 + k
                        count += 1
    return len(queries), count
