"""Finds all candidates: pairs of pictures that may share a part, without comparing each picture with all others.

Keypoints go in, pairs with their placement come out: exactly those that `agreement.placement_of` finds. Known pictures
lie in segments, each with a tree of its own, so that adding one picture does not build a tree of all. Segments of
similar size are merged: there are few, and a picture is built into a tree only as often as the library has doubled
since it came.

What it costs. A known picture takes 2 KB of memory. Of unrelated pictures few keypoints meet: a new one is looked up
in two milliseconds among 800,000. In a crowd of pictures that all show one thing, such as the frames of a film, each
pair is a candidate indeed. Memory does not grow with their number but time does, by 5 to 10 microseconds a pair, or by
one if only the best of each picture are asked for.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dupwatchd.compare.parts.agreement import MOST_DISTANCE, Placement
from dupwatchd.compare.parts.joining import MOST_VOTES, join, sorted_by_first
from dupwatchd.compare.parts.keypoint_tree import KeypointTree
from dupwatchd.compare.parts.packed import Growing, Packed, Rows
from dupwatchd.compare.parts.voting import TOLD, placement_told
from dupwatchd.model import PictureId
from dupwatchd.pixels.keypoints import Keypoints

_AT_ONCE = 1024  # new pictures looked up at once
_MANY = 1024  # keypoints that are looked up in the quickest order rather than in their own
_MOST_MEETINGS = 1 << 22  # held at once; if there are more, fewer new pictures are looked up at a time
_SMALL = 64  # pictures in a segment that is merged with what is new in any case

Meetings = NDArray[np.int32]
Seen = NDArray[np.int64]  # (N, MOST_VOTES + 1)
Candidate = tuple[PictureId, PictureId, Placement]


@dataclass(frozen=True)
class _Segment:
    """Known pictures start ... stop, and the tree of their keypoints; None if they have none."""

    start: int
    stop: int
    tree: KeypointTree | None


class PartSearch:
    """The keypoints of all known pictures; used by one thread at a time."""

    def __init__(self) -> None:
        self._rows: Rows = np.empty(0, np.int64)  # by id; -1: not known
        self._living = 0
        self._pictures = _Pictures()

    def __len__(self) -> int:
        return self._living

    def add(self, ids: Sequence[PictureId], keypoints: Sequence[Keypoints], reach: Sequence[int] | None = None) -> None:
        """Make pictures known that are not.

        ``reach`` (N,) says for each how many votes the weakest of its best candidates has, 0 where that is not known or
        it has too few of them: see `match`.
        """
        if not len(ids):
            return
        new = Packed.of(ids, keypoints)
        most = int(new.ids.max())
        if most >= len(self._rows):
            more = np.full(max(most + 1, 5 * len(self._rows) // 4) - len(self._rows), -1, np.int64)
            self._rows = np.concatenate([self._rows, more])
        self._rows[new.ids] = len(self._pictures) + np.arange(len(new))
        self._living += len(new)
        self._pictures.add(new, np.zeros(len(new), np.int16) if reach is None else np.asarray(reach, np.int16))

    def remove(self, ids: Sequence[PictureId]) -> None:
        """Make pictures unknown; what is not known is passed over. Their ids may be added again."""
        gone = np.unique(np.asarray(ids, np.int64))
        gone = gone[(gone >= 0) & (gone < len(self._rows))]
        rows = self._rows[gone]
        self._pictures.alive[rows[rows >= 0]] = False
        self._rows[gone] = -1
        self._living -= int((rows >= 0).sum())
        if self._living < len(self._pictures) // 2:
            self._pictures = self._pictures.living()
            living = self._pictures.known.ids
            self._rows[living] = np.arange(len(living))

    def match(self, ids: Sequence[PictureId], keypoints: Sequence[Keypoints], best: int = 0) -> Iterator[Candidate]:
        """All candidates of new pictures with the known ones and with each other, smaller id first; adds nothing.

        A pair comes once. The placement says how the picture with the larger id lies on the other one.

        With ``best``, fewer may come of pictures that have very many: of a new and a known picture only if not so many
        other pictures have more votes with the new one, or if the votes are not below the known one's reach. What is
        among the best of a picture when all are known has been so before, and therefore comes, in whatever order
        pictures are added. If one of them is removed, those must be searched again that it was among the best of.
        """
        new = Packed.of(ids, keypoints)
        seen = np.zeros((len(new), MOST_VOTES + 1), np.int64)  # candidates by votes, for `join`
        yield from self._pictures.candidates(new, best, seen)
        if len(new) > 1:
            among_themselves = _Pictures()
            among_themselves.add(new, np.zeros(len(new), np.int16))
            yield from among_themselves.candidates_among_themselves(best, seen)


class _Pictures:
    """Known pictures by row; a removed one keeps its row."""

    def __init__(self) -> None:
        self.known = Packed()
        self._alive = Growing((), np.bool_)
        self._reach = Growing((), np.int16)
        self._latest = Growing((), np.int32)  # for `join`
        self._segments: list[_Segment] = []

    def __len__(self) -> int:
        return len(self.known)

    @property
    def alive(self) -> NDArray[np.bool_]:
        """Which have not been removed (N,); may be written to."""
        return self._alive.rows

    def add(self, new: Packed, reach: NDArray[np.int16]) -> None:
        """Further rows."""
        self.known.extend(new)
        self._reach.append(reach)
        self._alive.append(np.ones(len(new), np.bool_))
        self._latest.append(np.full(len(new), -1, np.int32))

    def living(self) -> "_Pictures":
        """Those that have not been removed, in their order."""
        rows = np.flatnonzero(self.alive)
        made = _Pictures()
        made.add(self.known.chosen(rows), self._reach.rows[rows])
        return made

    def candidates(self, new: Packed, best: int, seen: Seen) -> Iterator[Candidate]:
        """Pairs of a new picture and one of these; ``best`` as for `PartSearch.match`, ``seen`` as for `join`."""
        return self._candidates(new, np.full(len(new), len(self)), best, seen)

    def candidates_among_themselves(self, best: int, seen: Seen) -> Iterator[Candidate]:
        """Pairs of these, which have been added at once."""
        return self._candidates(self.known, np.arange(len(self)), best, seen)

    def _candidates(self, new: Packed, all_before: Rows, best: int, seen: Seen) -> Iterator[Candidate]:
        """Pairs of a new picture and one of the rows before the one that is named for it (N,)."""
        self._build()
        start, size = 0, _AT_ONCE
        while start < len(new):
            stop = min(start + size, len(new))
            meetings = self._meetings(new, start, stop)
            if meetings is None:
                size = (stop - start + 1) // 2
                continue
            for segment, (of_new, of_known) in zip(self._segments, meetings, strict=True):
                yield from self._joined(new, all_before, best, seen, segment, of_new, of_known)
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
        meetings: list[tuple[Meetings, Meetings]] = []
        held = 0
        for segment in self._segments:
            parts = [(np.empty(0, np.int32), np.empty(0, np.int32))]
            for of_query, of_known in segment.tree.within(queries, MOST_DISTANCE) if segment.tree else ():
                parts.append((order[of_query], of_known))
                held += len(of_query)
                if held > _MOST_MEETINGS and stop - start > 1:
                    return None
            of_new, of_known = (np.concatenate(each) for each in zip(*parts, strict=True))
            if len(queries) > _MANY:
                of_new, of_known = sorted_by_first(of_new, of_known, len(queries))
            meetings.append((of_new + np.int32(first), of_known))
        return meetings

    def _joined(
        self,
        new: Packed,
        all_before: Rows,
        best: int,
        seen: Seen,
        segment: _Segment,
        of_new: Meetings,
        of_known: Meetings,
    ) -> list[Candidate]:
        """The candidates among the pairs that meet in a segment."""
        room = min(len(of_new) // 2, len(new) * (segment.stop - segment.start)) + 1
        rows, others, votes = (np.empty(room, np.int32) for _ in range(3))
        told = np.empty((room, TOLD))
        count = join(
            *new.arrays(),
            *self.known.arrays(),
            all_before,
            self.alive,
            self._reach.rows,
            best,
            seen,
            new is self.known,
            of_new,
            of_known,
            int(self.known.starts[segment.start]),
            self._latest.rows,
            rows,
            others,
            votes,
            told,
        )
        ends = new.ids[rows[:count]], self.known.ids[others[:count]]
        lower, higher = np.minimum(*ends).tolist(), np.maximum(*ends).tolist()
        placements = map(placement_told, votes[:count].tolist(), told[:count].tolist())
        return [
            (PictureId(a), PictureId(b), placement) for a, b, placement in zip(lower, higher, placements, strict=True)
        ]

    def _build(self) -> None:
        """Build trees; only done when they are searched, so that adding many pictures at once makes one tree."""
        start, stop = self._segments[-1].stop if self._segments else 0, len(self)
        if start == stop:
            return
        while self._segments and self._segments[-1].stop - self._segments[-1].start <= max(stop - start, _SMALL):
            start = self._segments.pop().start
        points = self.known.coefficients[self.known.starts[start] :]
        self._segments.append(_Segment(start, stop, KeypointTree(points) if len(points) else None))
