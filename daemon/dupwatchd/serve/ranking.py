"""Finds which clusters there may be, from numbers alone, and puts them in the order of what they free.

In: the columns and a question. Out: `Candidates`, then the clusters in order, looked at only as far as somebody reads.

What a cluster frees is certain only once its files have been looked at. An upper bound is known at once: the bytes of
all its files without the one to keep. It holds whatever is found:

- A file that is missing, too far from the one that stays, or a second name of another, only takes away from the sum.
- What remains of a cluster that falls apart is a part of it: the parts of the sum are smaller, too.
- If the file to keep is missing, another stays, and what is missing frees nothing. If another name of it is there,
  the one that stays instead has as many pixels and bytes, being better than that name.

The id, which is the first bytes of the smallest digest of a content, cannot become smaller either. So if clusters are
looked at in the order of (bound, digest), one that was looked at has its final place in the answer as soon as it comes
before the next one that was not.
"""

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

from dupwatchd.components import components
from dupwatchd.serve.clusters import Question
from dupwatchd.serve.columns import Columns, Units, Whole
from dupwatchd.serve.results import Cluster

LookAt = Callable[[Whole], Sequence[Sequence[Cluster]]]  # candidates → for each the clusters that it is

_LOOK_AT_LEAST = 16  # clusters at once; as much again goes into finding them among all units
_LOOK_AT_MOST = 4096  # about 15 MB of paths and figures
_REMEMBERED = 10_000  # clusters of an answer, about 1 kB each; who goes back further waits once more


@dataclass(frozen=True, slots=True)
class Candidates:
    """The clusters there may be; each is named by its unit of the smallest number, which has the file to keep."""

    joined: Units  # (U,) the cluster of each unit
    cluster: Whole  # (K,) those of several files, in the order in which to look at them
    bound: Whole  # (K,) bytes, descending
    digest: NDArray[np.uint64]  # (K,) ascending where bounds are equal


def candidates(columns: Columns, question: Question, folders: Sequence[int] | None) -> Candidates:
    """The clusters of a question, of those that touch the ``folders`` (ids; None: all).

    Raises ValueError for an unknown measure.
    """
    if question.measure not in columns.matches:
        raise ValueError(question.measure)
    units = len(columns.picture)
    a, b = columns.matches[question.measure].within(question.threshold, mirrored=question.mirrored)
    joined = components(units, a.astype(np.int64), b.astype(np.int64)).astype(np.int32)
    several = np.bincount(joined, columns.files, units) > 1
    if folders is not None:
        touched = np.zeros(units, bool)
        touched[joined[columns.file_unit[np.isin(columns.file_folder, folders)]]] = True
        several &= touched
    cluster = np.flatnonzero(several)
    # sums of float64 are exact below 9 petabytes
    bound = np.bincount(joined, columns.all_bytes, units)[cluster].astype(np.int64) - columns.kept_bytes[cluster]
    smallest = columns.digest.copy()
    np.minimum.at(smallest, joined, columns.digest)
    digest = smallest[cluster]
    order = np.lexsort((digest, -bound))
    return Candidates(joined, cluster[order], bound[order], digest[order])


class RankedClusters:
    """The clusters of one question in order, looked at only as far as somebody reads; for one thread at a time."""

    def __init__(self, candidates: Candidates) -> None:
        self.candidates = candidates
        self._start()

    def _start(self) -> None:
        self._total = len(self.candidates.cluster)
        self._looked_at = 0
        self._waiting: list[tuple[int, str, bytes, Cluster]] = []  # a heap: looked at, place not yet certain
        self._certain: list[Cluster] = []  # in their places, but for the first ones
        self._forgotten = 0

    def page(self, look_at: LookAt, limit: int | None, offset: int) -> tuple[int, list[Cluster]]:
        """How many clusters there are, as far as is known by now, and ``limit`` of them (None: all) from ``offset``."""
        if offset < self._forgotten:
            self._start()
        end = offset + (sys.maxsize if limit is None else limit)
        tried = 0
        while self._known() < end and self._looked_at < len(self.candidates.cluster):
            # Most often few more than asked for are enough; where bounds say little, all may have to be looked at.
            batch = min(max(end - self._known(), tried // 2, _LOOK_AT_LEAST), _LOOK_AT_MOST)
            self._look_at(look_at, batch)
            self._forget(offset)
            tried += batch
        found = self._certain[offset - self._forgotten : end - self._forgotten]
        self._forget(end)
        return self._total, found

    def _known(self) -> int:
        """How many places of the answer are certain."""
        return self._forgotten + len(self._certain)

    def _look_at(self, look_at: LookAt, batch: int) -> None:
        some = self.candidates.cluster[self._looked_at : self._looked_at + batch]
        for clusters in look_at(some):
            self._total += len(clusters) - 1
            for cluster in clusters:
                key = (-cluster["reclaimable_bytes"], cluster["id"], cluster["files"][0]["path"])
                heappush(self._waiting, (*key, cluster))
        self._looked_at += len(some)
        before = self._first_unknown()
        while self._waiting and self._waiting[0][:2] < before:
            self._certain.append(heappop(self._waiting)[-1])

    def _first_unknown(self) -> tuple[float, str]:
        """No cluster that was not looked at comes before this."""
        if self._looked_at == len(self.candidates.cluster):
            return math.inf, ""
        return -int(self.candidates.bound[self._looked_at]), f"{self.candidates.digest[self._looked_at]:016x}"

    def _forget(self, end: int) -> None:
        """Keep few of the clusters before ``end``."""
        surplus = min(len(self._certain) - _REMEMBERED, end - self._forgotten)
        if surplus > 0:
            del self._certain[:surplus]
            self._forgotten += surplus
