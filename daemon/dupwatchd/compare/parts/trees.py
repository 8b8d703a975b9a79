"""The candidates among many pictures, by trees of keypoints: compiled.

Known pictures lie in segments, each with a tree of its own, so that adding one picture does not build a tree of all.
Segments of similar size are merged: there are few, and a picture is built into a tree only as often as the library has
doubled since it came.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dupwatchd.compare.parts.joining import join, keep_meetings, sorted_by_first
from dupwatchd.compare.parts.keypoint_tree import KeypointTree
from dupwatchd.compare.parts.meeting import around
from dupwatchd.compare.parts.packed import Alive, Found, Growing, Packed, Rows

_AT_ONCE = 1024  # new pictures looked up at once
_MANY = 1024  # keypoints that are looked up in the quickest order rather than in their own
_MOST_MEETINGS = 1 << 22  # held at once; if there are more, fewer new pictures are looked up at a time
_SMALL = 64  # pictures in a segment that is merged with what is new in any case

Meetings = NDArray[np.int32]
Reach = NDArray[np.int16]  # (known pictures,)
Seen = NDArray[np.int64]  # (new pictures, MOST_KEYPOINTS + 1)


@dataclass(frozen=True)
class _Segment:
    """Known pictures start ... stop, and the tree of their keypoints; None if they have none."""

    start: int
    stop: int
    tree: KeypointTree | None


class Trees:
    """Trees over the keypoints of known pictures, of which there may be more at each search."""

    def __init__(self, known: Packed) -> None:
        self._known = known
        self._latest = Growing((), np.int32)  # for `join`
        self._segments: list[_Segment] = []

    def candidates(
        self, new: Packed, all_before: Rows, alive: Alive, reach: Reach, best: int, seen: Seen
    ) -> Iterator[Found]:
        """Candidates of a new picture and one of the rows before the one that is named for it (N,).

        See `join`, also for what may be left out with ``best``.
        """
        self.build()
        start, size = 0, _AT_ONCE
        while start < len(new):
            stop = min(start + size, len(new))
            meetings = self._meetings(new, start, stop)
            if meetings is None:
                size = (stop - start + 1) // 2
                continue
            for segment, (of_new, of_known) in zip(self._segments, meetings, strict=True):
                room = min(len(of_new) // 2, len(new) * (segment.stop - segment.start)) + 1
                rows, others, votes = (np.empty(room, np.int32) for _ in range(3))
                count = join(
                    *new.arrays(),
                    *self._known.arrays(),
                    all_before,
                    alive,
                    reach,
                    best,
                    seen,
                    new is self._known,
                    of_new,
                    of_known,
                    int(self._known.starts[segment.start]),
                    self._latest.rows,
                    rows,
                    others,
                    votes,
                )
                yield rows[:count], others[:count], votes[:count]
            start, size = stop, min(2 * size, _AT_ONCE)

    def _meetings(self, new: Packed, start: int, stop: int) -> list[tuple[Meetings, Meetings]] | None:
        """By segment, the keypoints of new pictures start ... stop and of known ones that meet, by their numbers.

        None if they are too many and the pictures can be divided.
        """
        first = int(new.starts[start])
        queries = new.coefficients[first : new.starts[stop]]
        # Near ones one after the other find what they need in the processor's cache: two thirds of the time.
        order = KeypointTree(queries).order if len(queries) > _MANY else np.arange(len(queries), dtype=np.int32)
        queries = queries[order]
        middles, bounds = around(queries)
        meetings: list[tuple[Meetings, Meetings]] = []
        held = 0
        for segment in self._segments:
            parts = [(np.empty(0, np.int32), np.empty(0, np.int32))]
            points = self._known.coefficients[self._known.starts[segment.start] : self._known.starts[segment.stop]]
            for of_query, of_known in segment.tree.within(middles, bounds) if segment.tree else ():
                count = keep_meetings(queries, points, of_query, of_known)
                parts.append((order[of_query[:count]], of_known[:count].copy()))
                held += count
                if held > _MOST_MEETINGS and stop - start > 1:
                    return None
            of_new, of_known = (np.concatenate(each) for each in zip(*parts, strict=True))
            if len(queries) > _MANY:
                of_new, of_known = sorted_by_first(of_new, of_known, len(queries))
            meetings.append((of_new + np.int32(first), of_known))
        return meetings

    def build(self) -> None:
        """Build trees of what has none: not before they are searched, so that many pictures together make one tree."""
        start, stop = self._segments[-1].stop if self._segments else 0, len(self._known)
        if start == stop:
            return
        self._latest.append(np.full(stop - start, -1, np.int32))
        while self._segments and self._segments[-1].stop - self._segments[-1].start <= max(stop - start, _SMALL):
            start = self._segments.pop().start
        points = self._known.coefficients[self._known.starts[start] :]
        self._segments.append(_Segment(start, stop, KeypointTree(points) if len(points) else None))
