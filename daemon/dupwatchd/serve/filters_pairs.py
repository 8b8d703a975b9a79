"""Pages of pairs of files instead of groups.

In: groups in their order, looked at only as far as somebody reads, with their links. Out: the pairs of files that are
linked, group by group; within a group in the order of its files, by the first one of each pair and then by the second.

How many pairs there are is told from the index; of groups that were looked at it is what they have.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite

from dupwatchd.db.answers import Copy
from dupwatchd.serve.clusters import ClusterCandidate, LiveChecks, Measured, Question, as_turned, measured_pairs
from dupwatchd.serve.filters_links import Links, links_of
from dupwatchd.serve.groups import Group
from dupwatchd.serve.ranking import Candidates, RankedClusters
from dupwatchd.serve.results import FoundPair
from dupwatchd.serve.rows import Whole
from dupwatchd.serve.spare import Looks

_GROUPS_AT_ONCE = 64


@dataclass(slots=True)
class LinkedGroup:
    """A group with the links between its files."""

    id: str
    copies: list[Copy]
    links: Links
    looks: Looks
    value: int  # by which groups are put in order

    @property
    def order_key(self) -> tuple[int, str, bytes]:
        """Groups of an answer are in this order."""
        return -self.value, self.id, self.copies[0].path

    @property
    def files(self) -> int:
        """How many it has."""
        return len(self.copies)


def as_linked(
    candidate: ClusterCandidate,
    groups: Sequence[Group],
    question: Question,
    live_checks: LiveChecks,
    value: Callable[[Group], int],
) -> list[LinkedGroup]:
    """The groups of a candidate, with their links."""
    return [
        LinkedGroup(
            group.id,
            group.copies,
            links_of(candidate, group.copies, question, live_checks),
            group.looks,
            value(group),
        )
        for group in groups
    ]


class PairPages:
    """The pairs of one question; for one thread at a time."""

    def __init__(self, ranked: RankedClusters[LinkedGroup]) -> None:
        self._ranked = ranked
        self._pairs = dict(ranked.candidates.pairs)  # how many, by candidate
        self._ends: list[int] = []  # how many pairs there are up to the end of each group, in their order

    @property
    def candidates(self) -> Candidates:
        """The clusters there may be."""
        return self._ranked.candidates

    def page(
        self, look_at: Callable[[Whole], list[list[LinkedGroup]]], limit: int | None, offset: int
    ) -> tuple[int, list[tuple[LinkedGroup, int, int]]]:
        """How many pairs there are, as far as is known by now, and ``limit`` of them (None: all) from ``offset`` on.

        A pair is its group and the places of both files in that.
        """
        found: list[tuple[LinkedGroup, int, int]] = []
        for group, start in self._from(offset, look_at):
            stop = None if limit is None else offset + limit - start
            if stop is not None and stop <= 0:
                break
            count = group.links.count()
            pairs = group.links.pairs(max(offset - start, 0), count if stop is None else min(stop, count))
            found += ((group, one, other) for one, other in pairs)
        return sum(self._pairs.values()), found

    def _from(
        self, offset: int, look_at: Callable[[Whole], list[list[LinkedGroup]]]
    ) -> Iterator[tuple[LinkedGroup, int]]:
        """The groups from that on which holds the pair of this number, each with the number of its first pair."""

        def look_and_count(some: Whole) -> list[list[LinkedGroup]]:
            found = look_at(some)
            for place, groups in zip(some.tolist(), found, strict=True):
                self._pairs[place] = sum(group.links.count() for group in groups)
            return found

        place = bisect_right(self._ends, offset)
        while groups := self._ranked.page(look_and_count, _GROUPS_AT_ONCE, place)[1]:
            for group in groups:
                start = self._ends[place - 1] if place else 0
                if place == len(self._ends):
                    self._ends.append(start + group.links.count())
                place += 1
                yield group, start


def measured_rows(
    found: Sequence[tuple[LinkedGroup, int, int]], question: Question, live_checks: LiveChecks
) -> list[FoundPair]:
    """Pairs as in answers, each measured."""
    files = [(group, group.copies[one], group.copies[other]) for group, one, other in found]
    pairs = [(one.picture_id, other.picture_id) for _, one, other in files]
    distinct = sorted(set(pairs))
    values = dict(zip(distinct, measured_pairs(distinct, question, live_checks), strict=True))
    return [
        _row(group, one, other, values[pair], question) for (group, one, other), pair in zip(files, pairs, strict=True)
    ]


def _row(group: LinkedGroup, one: Copy, other: Copy, value: Measured, question: Question) -> FoundPair:
    told = group.looks.told(one, other)
    value = as_turned(value, group.looks.turn(other, one))
    row: FoundPair = {
        "cluster": group.id,
        "first": one.path,
        "second": other.path,
        "mse": value.mse,
        "structure": value.structure,
        "turn": value.turn,
        "mirrored": value.mirrored,
        "verdict": None if told.verdict is None else told.verdict.value,
        "confirmed": told.confirmed,
    }
    if question.measure == "custom":
        row["custom"] = value.custom if isfinite(value.custom) else None
    return row
