"""Which of the known pictures may match others: never fewer than do, and few more.

Known pictures lie in segments, each with search trees of its own, so that adding one picture does not build a tree of
all. Segments of similar size are merged: there are few, and a picture is built into a tree only as often as the
library has doubled since it came. What the points in the trees are is for the subclasses to say:
`descriptor_candidates` for our own measures, `custom.features` for the user's.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dupwatchd.arrays import with_room

if TYPE_CHECKING:  # numba takes 0.3 s to load: only libraries that need a tree pay for it
    from dupwatchd.compare.tree.boxtree import BoxTree

_FIRST_CAPACITY = 4096
_BLOCK = 4096  # new pictures looked up at once, by each thread
_CROWDED = 16  # if more than one of so many places is taken, a table of all places is cheaper than a sorted list
_MOST_PAIRS = 1 << 22  # held at once; if there are more, fewer new pictures are looked up at a time

Rows = NDArray[np.int64]
Pairs = tuple[Rows, Rows]  # rows of new pictures, rows of known ones
Described = NDArray[np.float32]  # (N, numbers): what is known of each picture


@dataclass(frozen=True)
class Segment:
    """Known pictures start ... stop in trees."""

    start: int
    stop: int
    trees: tuple["BoxTree", ...]  # in the first one the points are the pictures, one for each
    largest: NDArray[np.float32]  # (numbers,) of these pictures


class Candidates(ABC):
    """The numbers of all known pictures; used by one thread.

    Rows count from 0 in order of `add`; a removed picture keeps its row.
    """

    def __init__(self, numbers: int, tail: int) -> None:
        """``tail`` is how many of the latest pictures may be in no tree; `_found` compares them in another way."""
        self._known = np.empty((_FIRST_CAPACITY, numbers), np.float32)
        self._alive = np.empty(_FIRST_CAPACITY, bool)
        self._count = 0
        self._tail = tail
        self._segments: list[Segment] = []

    def add(self, described: Described) -> None:
        """Make pictures known, from (N, numbers) float32."""
        needed = self._count + len(described)
        self._known, self._alive = with_room(self._known, needed), with_room(self._alive, needed)
        self._alive[self._count : needed] = True
        self._known[self._count : needed] = self._kept(described)
        self._count = needed

    def remove(self, rows: Rows) -> None:
        """Make pictures unknown."""
        self._alive[rows] = False

    def known(self, rows: Rows) -> Described:
        """What is kept of pictures (N, numbers); it can be added again."""
        return self._known[rows]

    def in_order(self) -> Rows:
        """All rows, removed ones too, with similar pictures next to each other: the quickest order to look them up."""
        self._seal_if_many()
        sealed = [segment.trees[0].order + segment.start for segment in self._segments]
        return np.concatenate([*sealed, np.arange(self._sealed, self._count)])

    def of(
        self, described: Described, own_rows: Rows | None = None, *, only_earlier: bool = False, threads: int = 1
    ) -> Iterator[Pairs]:
        """Candidates for pictures (N, numbers) among the known ones, each pair once, all of one picture together.

        For known pictures ``own_rows`` (N,) says which row is their own: no picture is its own candidate, and a pair
        of two of them comes once. With ``only_earlier`` they are only compared with rows before theirs.
        """
        self._seal_if_many()
        asked = None
        if own_rows is not None and not only_earlier:
            asked = np.zeros(self._count, bool)
            asked[own_rows] = True
        start, size = 0, _BLOCK * threads
        while start < len(described):
            rows = slice(start, min(start + size, len(described)))
            own = None if own_rows is None else own_rows[rows]
            pairs = self._of_block(described[rows], own, asked, threads)
            if pairs is None:
                size = (rows.stop - start + 1) // 2
                continue
            if len(pairs[0]):
                yield pairs[0] + start, pairs[1]
            start = rows.stop
            size = min(2 * size, _BLOCK * threads)

    @abstractmethod
    def _kept(self, described: Described) -> Described:
        """What is kept of pictures as points to be searched (N, numbers)."""

    @abstractmethod
    def _trees(self, known: Described) -> tuple["BoxTree", ...]:
        """The trees of a segment."""

    @abstractmethod
    def _found(self, described: Described, threads: int) -> Iterator[Pairs]:
        """Candidates for pictures in all segments and in the tail; pairs may come twice, and removed ones too."""

    @property
    def _sealed(self) -> int:
        return self._segments[-1].stop if self._segments else 0

    def _seal_if_many(self) -> None:
        """Build trees; only done when they are searched, so that adding many pictures at once makes one tree."""
        if self._count - self._sealed <= self._tail:
            return
        start = self._sealed
        while self._segments and self._segments[-1].stop - self._segments[-1].start <= self._count - start:
            start = self._segments.pop().start
        rows = self._known[start : self._count]
        self._segments.append(Segment(start, self._count, self._trees(rows), rows.max(axis=0)))

    def _of_block(
        self, described: Described, own_rows: Rows | None, asked: NDArray[np.bool_] | None, threads: int
    ) -> Pairs | None:
        """All candidates of a few pictures; None if there are too many to be held and the pictures can be divided."""
        codes: list[Rows] = []
        held = 0
        for new, known in self._found(described, threads):
            keep = self._alive[known]
            if own_rows is not None:
                earlier = known < own_rows[new]
                keep &= earlier if asked is None else earlier | ~asked[known]
            codes.append(new[keep] * self._count + known[keep])
            held += len(codes[-1])
            if held > _MOST_PAIRS and len(described) > 1:
                return None
        distinct = _distinct(codes, len(described) * self._count)
        return distinct // max(self._count, 1), distinct % max(self._count, 1)


def _distinct(codes: list[Rows], size: int) -> Rows:
    """Numbers below ``size``, each once, ascending."""
    every = np.concatenate([np.empty(0, np.int64), *codes])
    if _CROWDED * len(every) < size:
        return np.unique(every)
    taken = np.zeros(size, bool)
    taken[every] = True
    return np.flatnonzero(taken)
