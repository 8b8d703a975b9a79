"""Finds which clusters there may be, from numbers alone, and puts them in the order of what they free.

In: the columns and a question. Out: `Candidates`, then the clusters in order, looked at only as far as somebody reads.

What a cluster frees is certain only once its files have been looked at. Two upper bounds are known at once:

- The bytes of all its files without those of the file to keep, for that one stays. Which one that is depends on what
  is there and on rules that the columns do not hold, so of all those that it may be, the smallest counts. If a policy
  has rules of its own, or names files that stay, it may be any file.
- The most that each unit can free. If its picture was never confirmed to be the same as another one, of each of its
  contents one file stays, or of all contents that hold the picture bit by bit. This does not hold if lesser verdicts
  let files go as well.

The smaller one holds whatever is found: a file that is missing, or a second name of another, only takes away from
both, and what remains of a cluster that falls apart is a part of it, of which both are smaller, too.

Which files may be the one to keep, see `keep`: let K be the first by the rules if all files are there and no direction
is known. Its rank is the lowest, given which files are far smaller than the largest one. If K is missing, its bytes
cannot be freed. If K is there and another file comes before it by the rules, then the largest files are missing, and
the other one is no longer far smaller than what is left: its rank as the larger one is not above that of K. And a
direction leads only to a file of a picture that is shown to be nearer the original than another one.

The id, which is the first bytes of the smallest digest of a content, cannot become smaller either. So if clusters are
looked at in the order of (bound, digest), one that was looked at has its final place in the answer as soon as it comes
before the next one that was not.
"""

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from dupwatchd.components import components
from dupwatchd.model import Verdict
from dupwatchd.serve.clusters import Question
from dupwatchd.serve.columns import Columns, Units
from dupwatchd.serve.keep import SMALL, ranks_if_made_smaller
from dupwatchd.serve.plan_policy import Policy
from dupwatchd.serve.rows import Whole


class InOrder(Protocol):
    """A cluster, or group of a plan, that somebody has looked at."""

    @property
    def order_key(self) -> tuple[int, str, bytes]:
        """What it frees in bytes, negated; its id; the path of its first file."""

    @property
    def files(self) -> int:
        """How many it has, which tells about how much memory it takes."""


Item = TypeVar("Item", bound=InOrder)
LookAt = Callable[[Whole], Sequence[Sequence[Item]]]  # candidates → for each the clusters that it is

_LOOK_AT_LEAST = 16  # clusters at once; as much again goes into finding them among all units
_LOOK_AT_MOST = 4096  # about 15 MB of paths and figures
_REMEMBERED = 20_000  # files in clusters of an answer; who goes back further waits once more
_FILE_BYTES = 800  # in memory, about, with its share of its cluster


@dataclass(frozen=True, slots=True)
class Candidates:
    """The clusters there may be; each is named by its unit of the smallest number."""

    joined: Units  # (U,) the cluster of each unit
    cluster: Whole  # (K,) those of several files, in the order in which to look at them
    bound: Whole  # (K,) of bytes, or of what else clusters are put in order by; descending
    digest: NDArray[np.uint64]  # (K,) ascending where bounds are equal
    touching: Units | None  # units with a file in the folders asked for; None: all
    parts: Mapping[int, int] = field(default_factory=dict)  # as how many groups to show a cluster, if not as one
    hidden: int = 0  # groups that are not shown because all their pairs are ignored
    pairs: Mapping[int, int] = field(default_factory=dict)  # of files of a cluster; only if they are asked for
    not_looked_at: int = 0  # pairs of pictures within groups that are not stored, where each pair counts
    too_large: int = 0  # groups in which nobody has counted these

    @property
    def memory_bytes(self) -> int:
        """How much memory the columns take."""
        touching_bytes = 0 if self.touching is None else self.touching.nbytes
        return self.joined.nbytes + self.cluster.nbytes + self.bound.nbytes + self.digest.nbytes + touching_bytes


def candidates(
    columns: Columns,
    question: Question,
    folders: Sequence[int] | None,
    pictures: Sequence[int] | None = None,
    *,
    that_free: bool = False,
    needed: Iterable[Sequence[int]] = (),
    order_bound: Callable[[Units], Whole] | None = None,
) -> Candidates:
    """The clusters of a question.

    Of those that touch the ``folders`` (ids; None: all), hold one of the ``pictures`` (ids; None: all) and, if only
    those ``that_free`` something are asked for, may do so. Each has a file in one of the folders of each list
    ``needed`` (ids). ``order_bound``: what the order of clusters is bounded by, see `filters_order`; None: by what they
    free. Raises ValueError for an unknown measure.
    """
    joined = _joined(columns, question)
    units = len(columns.picture)
    several = np.bincount(joined, columns.files, units) >= question.min_files
    touching = None
    if folders is not None:
        touching = columns.file_unit[np.isin(columns.file_folder, folders)]
        several &= _touched(joined, touching)
    for some in needed:
        several &= _touched(joined, columns.file_unit[np.isin(columns.file_folder, some)])
    if pictures is not None:
        held = np.zeros(units, bool)
        held[joined[np.isin(columns.picture, pictures)]] = True
        several &= held
    bound = _bound(columns, joined, question.policy)
    if that_free:
        several &= bound > 0
    if order_bound is not None:
        bound = order_bound(joined)
    cluster = np.flatnonzero(several)
    bound = bound[cluster]
    smallest = columns.digest.copy()
    np.minimum.at(smallest, joined, columns.digest)
    digest = smallest[cluster]
    order = np.lexsort((digest, -bound))
    return Candidates(joined, cluster[order], bound[order], digest[order], touching)


def _touched(joined: Units, units: Units) -> NDArray[np.bool_]:
    """Whether a cluster holds one of these units, (U,) by the unit that names it."""
    touched = np.zeros(len(joined), bool)
    touched[joined[units]] = True
    return touched


def _joined(columns: Columns, question: Question) -> Units:
    """The cluster (U,) of each unit."""
    if question.measure not in columns.matches:
        raise ValueError(question.measure)
    matches = columns.matches[question.measure]
    a, b = matches.within(question.threshold, mirrored=question.mirrored, verdicts=question.joining)
    return components(len(columns.picture), a.astype(np.int64), b.astype(np.int64)).astype(np.int32)


def _bound(columns: Columns, joined: Units, policy: Policy) -> Whole:
    """The most that a cluster can free, (U,) by the unit that names it."""
    units = len(joined)
    in_default_order = not policy.rules and not policy.pins
    kept = (
        _kept_bytes(columns, joined, policy)
        if in_default_order
        else _least(columns.file_bytes, joined[columns.file_unit], units)
    )
    # sums of float64 are exact below 9 petabytes
    bound = np.bincount(joined[columns.file_unit], columns.file_bytes, units) - kept
    if not policy.also:
        bound = np.minimum(bound, np.bincount(joined, columns.free_bytes, units))
    result: Whole = bound.astype(np.int64)
    return result


def _kept_bytes(columns: Columns, joined: Units, policy: Policy) -> Whole:
    """The size of the smallest file that may be the one to keep, (U,) by the unit that names a cluster."""
    cluster = joined[columns.file_unit]  # (F,)
    most_pixels = np.zeros(len(joined), np.int64)
    np.maximum.at(most_pixels, cluster, columns.file_pixels)
    smaller = columns.file_pixels < SMALL * most_pixels[cluster]
    rank = np.where(smaller, ranks_if_made_smaller(columns.file_rank), columns.file_rank)
    lowest = _least(rank, cluster, len(joined))[cluster]
    may_be_kept = (rank == lowest) | (smaller & (columns.file_rank <= lowest))
    may_be_kept |= columns.shown_nearer[columns.file_unit]
    if columns.raw_folders and not policy.pairs:  # a file may stay, and come first, because one of its shot stays
        may_be_kept |= np.isin(columns.file_folder, list(columns.raw_folders.values()))
    return _least(columns.file_bytes[may_be_kept], cluster[may_be_kept], len(joined))


def _least(values: Whole, cluster: Units, units: int) -> Whole:
    """The smallest of the values (F,) of each cluster: (U,)."""
    least = np.full(units, np.iinfo(np.int64).max)
    np.minimum.at(least, cluster, values)
    return least


class FurtherJoined(NamedTuple):
    """What would be joined that is not joined now, if one more verdict were asked for."""

    verdict: Verdict
    joined: Units  # (U,) the cluster of each unit then
    cluster: Whole  # (N,) those that hold what several clusters, or single pictures, hold now, or (filters) may do so


def further_joined(columns: Columns, question: Question, found: Candidates) -> Iterator[FurtherJoined]:
    """For each verdict that was not asked for the clusters there would be then that are not there now.

    As the index knows them; nothing for a measure of the user's own.
    """
    if question.joining is None:
        return
    matches = columns.matches[question.measure]
    for verdict in Verdict:
        if verdict in question.joining:
            continue
        a, b = matches.within(question.threshold, mirrored=question.mirrored, verdicts=[verdict])
        a, b = found.joined[a], found.joined[b]
        if not question.filters.restrict:  # else two pictures of one cluster may belong to groups that are apart
            a, b = a[a != b], b[a != b]
        merged = components(len(columns.picture), a.astype(np.int64), b.astype(np.int64))
        joined = merged[found.joined].astype(np.int32)
        wanted = np.bincount(joined, columns.files, len(joined)) >= question.min_files
        if found.touching is not None:
            wanted &= _touched(joined, found.touching)
        changed = np.unique(merged[a])
        yield FurtherJoined(verdict, joined, changed[wanted[changed]])


class RankedClusters(Generic[Item]):
    """The clusters of one question in order, looked at only as far as somebody reads; for one thread at a time."""

    def __init__(self, candidates: Candidates) -> None:
        self.candidates = candidates
        self._start()

    def _start(self) -> None:
        self._total = len(self.candidates.cluster) + sum(parts - 1 for parts in self.candidates.parts.values())
        self._looked_at = 0
        self._waiting: list[tuple[int, str, bytes, Item]] = []  # a heap: looked at, place not yet certain
        self._certain: list[Item] = []  # in their places, but for the first ones
        self._forgotten = 0
        self._files = 0  # in clusters that were looked at and not forgotten

    @property
    def memory_bytes(self) -> int:
        """About how much memory it takes."""
        return self.candidates.memory_bytes + self._files * _FILE_BYTES

    def page(self, look_at: LookAt[Item], limit: int | None, offset: int) -> tuple[int, list[Item]]:
        """How many clusters there are, as far as is known by now, and ``limit`` of them (None: all) from ``offset``."""
        if offset < self._forgotten:
            self._start()
        end = offset + (sys.maxsize if limit is None else limit)
        tried = 0
        while self._known() < end and self._looked_at < len(self.candidates.cluster):
            # Most often few more than asked for are enough; where bounds say little, all may have to be looked at.
            batch = min(max(end - self._known(), tried // 4, _LOOK_AT_LEAST), _LOOK_AT_MOST)
            self._look_at(look_at, batch)
            self._forget(offset)
            tried += batch
        found = self._certain[offset - self._forgotten : end - self._forgotten]
        self._forget(end)
        return self._total, found

    def _known(self) -> int:
        """How many places of the answer are certain."""
        return self._forgotten + len(self._certain)

    def _look_at(self, look_at: LookAt[Item], batch: int) -> None:
        some = self.candidates.cluster[self._looked_at : self._looked_at + batch]
        for place, clusters in zip(some.tolist(), look_at(some), strict=True):
            self._total += len(clusters) - self.candidates.parts.get(place, 1)
            for one in clusters:
                self._files += one.files
                heappush(self._waiting, (*one.order_key, one))
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
        most, surplus = min(len(self._certain), end - self._forgotten), 0
        while surplus < most and self._files > _REMEMBERED:
            self._files -= self._certain[surplus].files
            surplus += 1
        del self._certain[:surplus]
        self._forgotten += surplus
