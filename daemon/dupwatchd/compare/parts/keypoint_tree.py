"""Finds all keypoints whose coefficients are near given ones: a tree of boxes over points of 16 small whole numbers.

Built as `compare.tree.boxtree` is: a leaf holds up to sixteen points and a node sixteen boxes, both stored number by
number. A picture has some thirty keypoints. Points of one byte a number take a quarter of the memory of floats and half
the time to search; and because building is compiled as well, the tree of a million pictures, 31 million keypoints, is
built in 15 s at each start, and need not be stored.

All is counted in whole numbers, so that what is found is exact. A tree never changes.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from dupwatchd.compare.compiled import compiled, fetch

_NUMBERS = 16
_WIDTH = 16  # points in a leaf, boxes in a node
_LOW, _HIGH = np.int8(127), np.int8(-128)  # of an unused box: no point is nearer to it than 127 in each number
_MOST_APART = 45  # in one number, as far as that counts: 16 squares of it fit into 16 bits
FARTHEST = _MOST_APART**2 - 1  # squared distance that can be asked for
_FIRST_ROOM, _MOST_ROOM = 1 << 10, 1 << 20  # pairs found in one go
_AHEAD = 4  # nodes that are fetched from memory before they are compared

Points = NDArray[np.int8]  # (N, 16), -127 … 127
Rows = NDArray[np.int32]


class KeypointTree:
    """A tree over points (N, 16), N > 0; it takes about 25 bytes a point, and a search up to half a byte more."""

    def __init__(self, points: Points) -> None:
        halvings = max(0, int(np.ceil(np.log2(len(points) / _WIDTH))))
        starts = (np.arange((1 << halvings) + 1) * len(points)) >> halvings  # of the leaves
        order = np.arange(len(points), dtype=np.int32)
        sorted_points = np.array(points, np.int8, order="C")
        _sort_into_leaves(sorted_points, order, starts)
        self._leaves = np.zeros((1 << halvings, _NUMBERS, _WIDTH), np.int8)
        self._rows = np.full((1 << halvings, _WIDTH), -1, np.int32)
        boxes = np.empty((2, 1 << halvings, _NUMBERS), np.int8)
        _fill_leaves(sorted_points, order, starts, self._leaves, self._rows, boxes)
        self._nodes, self._levels = _nodes(boxes[0], boxes[1])

    @property
    def order(self) -> Rows:
        """The rows of the points, near ones together: the quickest order to look them up in another tree."""
        return self._rows[self._rows >= 0]

    def within(self, queries: Points, reach: Rows) -> Iterator[tuple[Rows, Rows]]:
        """Pairs of rows: of a query (M, 16) and of a point, whose squared distance is at most its reach, to `FARTHEST`.

        A million pairs at most at a time, or as many as there are points; all pairs of one query come together,
        queries in their order.
        """
        queries = np.ascontiguousarray(queries)
        start, room = 0, min(_MOST_ROOM, 4 * len(queries) + _FIRST_ROOM)
        while start < len(queries):
            of_query, rows = np.empty(room, np.int32), np.empty(room, np.int32)
            stop, count = _search(
                queries,
                start,
                reach,
                self._nodes,
                self._levels,
                self._leaves,
                self._rows,
                of_query,
                rows,
            )
            if count:
                yield of_query[:count], rows[:count]
            room = min(_MOST_ROOM, 4 * room) if stop > start else max(4 * room, _MOST_ROOM)
            start = stop


def _nodes(low: Points, high: Points) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """From the boxes of the leaves: nodes (K, 2, 16 numbers, 16 boxes) from the root down, and where each level begins.

    Nodes of one level lie side by side, and so do their boxes at the next one, or leaves: box k of its node i is of
    number 16 i + k there.
    """
    levels: list[NDArray[np.int8]] = []
    while len(low) > 1:
        width = min(_WIDTH, len(low))
        node = np.empty((len(low) // width, 2, _NUMBERS, _WIDTH), np.int8)
        node[:, 0], node[:, 1] = _LOW, _HIGH
        node[:, 0, :, :width] = low.reshape(-1, width, _NUMBERS).swapaxes(1, 2)
        node[:, 1, :, :width] = high.reshape(-1, width, _NUMBERS).swapaxes(1, 2)
        levels.insert(0, node)
        low, high = low.reshape(-1, width, _NUMBERS).min(axis=1), high.reshape(-1, width, _NUMBERS).max(axis=1)
    none = np.empty((0, 2, _NUMBERS, _WIDTH), np.int8)
    return np.concatenate([*levels, none]), np.cumsum([0, *map(len, levels)])[:-1]


@compiled("int64(int8[:, ::1], int64, int64)")
def _widest(points, start, stop):  # type: ignore[no-untyped-def]
    """The number that varies most among 64 of the points."""
    sums, squares = np.zeros(16, np.int64), np.zeros(16, np.int64)
    count = 0
    for place in range(start, stop, max(1, (stop - start) // 64)):
        count += 1
        for n in range(16):
            value = np.int64(points[place, n])
            sums[n] += value
            squares[n] += value * value
    widest, most = 0, np.int64(-1)
    for n in range(16):
        spread = count * squares[n] - sums[n] * sums[n]
        if spread > most:
            widest, most = n, spread
    return widest


@compiled("void(int8[:, ::1], int32[::1], int64[::1])")
def _sort_into_leaves(points, order, starts):  # type: ignore[no-untyped-def]
    """Sorts points and their order so that those of each leaf lie between its start and the next one's.

    Halves are told apart in the number that varies most among a few of the points; any choice gives a correct tree.
    """
    spare, spare_order = np.empty_like(points), np.empty_like(order)
    counts = np.empty(256, np.int64)
    stack = np.empty((64, 2), np.int64)  # first leaf, number of leaves: a power of two
    stack[0, 0], stack[0, 1] = 0, len(starts) - 1
    depth = 1
    while depth:
        depth -= 1
        first, leaves = stack[depth, 0], stack[depth, 1]
        if leaves == 1:
            continue
        half = leaves // 2
        start, middle, stop = starts[first], starts[first + half], starts[first + leaves]
        widest = _widest(points, start, stop)
        counts[:] = 0
        for place in range(start, stop):
            counts[np.int64(points[place, widest]) + 128] += 1
        # the value at the middle, and how many points that have it belong to the left half
        value, left = 0, middle - start
        while counts[value] < left:
            left -= counts[value]
            value += 1
        value -= 128
        to_left, to_right = start, middle
        for place in range(start, stop):
            here = np.int64(points[place, widest])
            if here < value or (here == value and left > 0):
                to = to_left
                to_left += 1
                left -= here == value
            else:
                to = to_right
                to_right += 1
            for n in range(16):
                spare[to, n] = points[place, n]
            spare_order[to] = order[place]
        for place in range(start, stop):
            for n in range(16):
                points[place, n] = spare[place, n]
            order[place] = spare_order[place]
        stack[depth, 0], stack[depth, 1] = first, half
        stack[depth + 1, 0], stack[depth + 1, 1] = first + half, half
        depth += 2


@compiled("void(int8[:, ::1], int32[::1], int64[::1], int8[:, :, ::1], int32[:, ::1], int8[:, :, ::1])")
def _fill_leaves(points, order, starts, leaves, rows, boxes):  # type: ignore[no-untyped-def]
    """Fills in leaves, rows, and the box around each leaf, from points that are sorted."""
    for leaf in range(len(leaves)):
        count = starts[leaf + 1] - starts[leaf]
        for n in range(16):
            low, high = np.int8(127), np.int8(-128)
            for k in range(count):
                value = points[starts[leaf] + k, n]
                leaves[leaf, n, k] = value
                low, high = min(low, value), max(high, value)
            boxes[0, leaf, n], boxes[1, leaf, n] = low, high
        for k in range(count):
            rows[leaf, k] = order[starts[leaf] + k]


@compiled(
    "UniTuple(int64, 2)(int8[:, ::1], int64, int32[::1], int8[:, :, :, ::1], int64[::1], int8[:, :, ::1], "
    "int32[:, ::1], int32[::1], int32[::1])"
)
def _search(  # type: ignore[no-untyped-def]
    queries, start, reach, nodes, levels, leaves, rows, of_query, found
):
    """Writes pairs until those of a query do not fit; returns up to which query it came, and how many pairs."""
    # Numbers of 16 bits: twice as many as of 32 are compared at once. What lies farther off in one number than can be
    # asked for lies beyond it anyway, so that the squares of all 16 stay small enough.
    int16, unsigned = np.int16, np.uint64  # without saying so at each step, whole numbers have 64 bits and a sign
    zero, most_apart = int16(0), int16(_MOST_APART)
    wide = np.empty((16, 16), np.int16)  # each number of a query as often as there are boxes to compare it with
    bits = np.empty(16, np.int16)
    for k in range(16):
        bits[k] = int16(1 << k)
    # What is near the query at one level, and at the next. One level after the other, so that it is known beforehand
    # what is compared next: the processor works at several at a time, where it would wait for each in turn.
    near = np.empty((2, len(leaves) + 16), np.int32)
    count = 0
    for i in range(start, len(queries)):
        count_before = count
        most = int16(reach[i])
        for n in range(16):
            for k in range(16):
                wide[n, k] = queries[i, n]
        here, size = 0, np.int64(1)
        near[here, 0] = 0
        for first in levels:
            there, top = 1 - here, unsigned(0)
            for place in range(size):
                if place + _AHEAD < size:
                    for byte in range(0, 512, 64):
                        fetch(nodes, first + near[here, place + _AHEAD], byte)
                node = unsigned(first + near[here, place])
                within = zero  # as bits
                for k in range(16):  # all sixteen boxes are compared at once, as nothing is written down meanwhile
                    apart = zero
                    for n in range(16):
                        below = int16(int16(nodes[node, 0, n, k]) - wide[n, k])
                        above = int16(wide[n, k] - int16(nodes[node, 1, n, k]))
                        e = int16(min(max(max(below, above), zero), most_apart))
                        apart = int16(apart + int16(e * e))
                    within = int16(within | int16(bits[k] if apart <= most else zero))
                for k in range(16):  # to write down what does not count takes less time than to guess whether it does
                    near[there, top] = 16 * near[here, place] + k
                    top += unsigned((within >> k) & 1)
            here, size = there, np.int64(top)
        for place in range(size):
            if place + 2 * _AHEAD < size:
                for byte in range(0, 192, 64):
                    fetch(leaves, np.int64(near[here, place + 2 * _AHEAD]), byte)
            leaf = unsigned(near[here, place])
            nearest = int16(32767)
            for k in range(16):  # in the first twelve numbers nearly all points are too far off; 93 of 100 in eight
                apart = zero
                for n in range(12):
                    e = int16(min(abs(int16(int16(leaves[leaf, n, k]) - wide[n, k])), most_apart))
                    apart = int16(apart + int16(e * e))
                nearest = min(nearest, apart)
            if nearest > most:
                continue
            within = zero
            for k in range(16):
                apart = zero
                for n in range(16):
                    e = int16(min(abs(int16(int16(leaves[leaf, n, k]) - wide[n, k])), most_apart))
                    apart = int16(apart + int16(e * e))
                within = int16(within | int16(bits[k] if apart <= most else zero))
            for k in range(16 if within else 0):
                if (within >> k) & 1 and rows[leaf, k] >= 0:
                    if count == len(found):
                        return i, count_before
                    of_query[count] = i
                    found[count] = rows[leaf, k]
                    count += 1
    return len(queries), count
