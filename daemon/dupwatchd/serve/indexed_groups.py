"""Tells from the index alone as how many groups each candidate is shown, so that every page gives the same number.

In: the candidates of a question, the units of the contents of ignored pairs, and files as the index knows them. Out:
the candidates without those of which nothing is shown, and how many groups there are. Only those clusters are looked at
that a filter may take apart, or that hold both contents of a pair that is not a duplicate.

A cluster of which nothing is shown by the index stays so whatever file is missing: what is left of it has no pair more.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from dupwatchd.model import Verdict
from dupwatchd.serve.clusters import ClusterCandidate, LiveChecks, Question, is_asked_for
from dupwatchd.serve.columns import Units
from dupwatchd.serve.filters import Linkage
from dupwatchd.serve.filters_parts import Counted, count_as_indexed, parts_of
from dupwatchd.serve.ranking import Candidates, FurtherJoined
from dupwatchd.serve.rows import Whole

_CLUSTERS_AT_ONCE = 4096  # about 15 MB of paths and figures

# a question, the cluster of each unit (U,) by it, and some clusters → these with their files
CandidatesOf = Callable[[Question, Units, Whole], list[ClusterCandidate]]


class IndexedGroups(NamedTuple):
    """The groups of a question if all files are there.

    ``a`` (P,) and ``b`` (P,) are the units of the contents of ignored pairs.
    """

    a: Units
    b: Units
    question: Question
    live_checks: LiveChecks
    candidates_of: CandidatesOf

    @property
    def _all_there(self) -> LiveChecks:
        return replace(self.live_checks, is_there=lambda _: True)

    def without_hidden(self, found: Candidates) -> Candidates:
        """The candidates of which something is to be shown."""
        some = np.intersect1d(self._taken_apart(found.joined), found.cluster)
        numbers: dict[int, Counted] = {}
        for batch in _batches(some):
            made = self.candidates_of(self.question, found.joined, batch)
            counts = (count_as_indexed(one, self.question, self._all_there) for one in made)
            numbers.update(zip(batch.tolist(), counts, strict=True))
        # Of files that each match all others, or one of them, other groups are made where some are missing now.
        may_change = self.question.filters.linkage is not Linkage.TRANSITIVE
        nothing = [cluster for cluster, counted in numbers.items() if not counted.shown and not may_change]
        shown = np.isin(found.cluster, nothing, invert=True)
        return replace(
            found,
            cluster=found.cluster[shown],
            bound=found.bound[shown],
            digest=found.digest[shown],
            parts={
                cluster: counted.shown
                for cluster, counted in numbers.items()
                if counted.shown > 1 or (may_change and not counted.shown)
            },
            hidden=sum(counted.hidden for counted in numbers.values()),
            pairs={cluster: counted.pairs for cluster, counted in numbers.items()},
            not_looked_at=sum(counted.not_looked_at for counted in numbers.values()),
            too_large=sum(counted.too_large for counted in numbers.values()),
        )

    def count_further(self, found: Candidates, further: FurtherJoined) -> int:
        """How many groups there would be with one verdict more that are not there now."""
        apart = np.intersect1d(self._taken_apart(further.joined), further.cluster)
        count = len(further.cluster) - len(apart)
        for some in _batches(apart):
            now = np.unique(found.joined[np.isin(further.joined, some)]).astype(np.int64)
            then = self._groups(further.joined, some, {further.verdict})
            count += len(then - self._groups(found.joined, now, set()))
        return count

    def _taken_apart(self, joined: Units) -> Whole:
        """The clusters, given as that of each unit, that may be several groups."""
        if self.question.filters.restrict or self.question.pairs:
            return np.unique(joined).astype(np.int64)
        clusters: Whole = np.unique(joined[self.a][joined[self.a] == joined[self.b]]).astype(np.int64)
        return clusters

    def _groups(self, joined: Units, clusters: Whole, also: set[Verdict]) -> set[frozenset[bytes]]:
        """The paths of each group as which some clusters are to be shown."""
        question = replace(self.question, verdicts=self.question.verdicts | also)
        return {
            frozenset(copy.path for copy in files)
            for candidate in self.candidates_of(question, joined, clusters)
            for files in parts_of(candidate, question, self._all_there)
            if is_asked_for(files, question)
        }


def _batches(clusters: Whole) -> Iterator[Whole]:
    """Some of the clusters at a time, which bounds the memory for their paths."""
    for start in range(0, len(clusters), _CLUSTERS_AT_ONCE):
        yield clusters[start : start + _CLUSTERS_AT_ONCE]
