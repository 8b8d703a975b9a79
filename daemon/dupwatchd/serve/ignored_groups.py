"""Tells from the index alone which groups are hidden, and which fall apart, for pairs that are not duplicates.

In: the candidates of a question, the units of the contents of ignored pairs, and files as the index knows them. Out:
the candidates without those that are hidden, and how many groups there are, so that every page tells the same number.
Only clusters that hold both contents of a pair are looked at.

A cluster that is hidden by the index stays so whatever file is missing: what is left of it has no pair more.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from dupwatchd.db.answers import Copy
from dupwatchd.serve.clusters import Question, parts_as_indexed
from dupwatchd.serve.columns import Units, Whole
from dupwatchd.serve.ranking import Candidates, FurtherJoined

_CLUSTERS_AT_ONCE = 4096  # about 15 MB of paths and figures

# the cluster of each unit (U,), and some clusters → the files of each of these
FilesOf = Callable[[Units, Whole], Mapping[int, list[Copy]]]


class IgnoredGroups(NamedTuple):
    """Where the ignored pairs of a question lie in one library: the units of their contents, a (P,) and b (P,)."""

    a: Units
    b: Units
    question: Question
    files_of: FilesOf

    def without_hidden(self, found: Candidates) -> Candidates:
        """The candidates of which something is to be shown."""
        numbers = {
            cluster: len(parts_as_indexed(files, self.question))
            for some in _batches(np.intersect1d(self._clusters(found.joined), found.cluster))
            for cluster, files in self.files_of(found.joined, some).items()
        }
        hidden = [cluster for cluster, number in numbers.items() if not number]
        shown = np.isin(found.cluster, hidden, invert=True)
        return replace(
            found,
            cluster=found.cluster[shown],
            bound=found.bound[shown],
            digest=found.digest[shown],
            parts={cluster: number for cluster, number in numbers.items() if number > 1},
            hidden=len(hidden),
        )

    def count_further(self, found: Candidates, further: FurtherJoined) -> int:
        """How many groups there would be with one verdict more that are not there now."""
        apart = np.intersect1d(self._clusters(further.joined), further.cluster)
        count = len(further.cluster) - len(apart)
        for some in _batches(apart):
            now = np.unique(found.joined[np.isin(further.joined, some)]).astype(np.int64)
            count += len(self._groups(further.joined, some) - self._groups(found.joined, now))
        return count

    def _clusters(self, joined: Units) -> Whole:
        """Those of the clusters, given as that of each unit, that hold both contents of a pair."""
        clusters: Whole = np.unique(joined[self.a][joined[self.a] == joined[self.b]]).astype(np.int64)
        return clusters

    def _groups(self, joined: Units, clusters: Whole) -> set[frozenset[bytes]]:
        """The paths of each group as which some clusters are to be shown, if all their files are there."""
        return {
            frozenset(copy.path for copy in group)
            for files in self.files_of(joined, clusters).values()
            for group in parts_as_indexed(files, self.question)
        }


def _batches(clusters: Whole) -> Iterator[Whole]:
    """Some of the clusters at a time, which bounds the memory for their paths."""
    for start in range(0, len(clusters), _CLUSTERS_AT_ONCE):
        yield clusters[start : start + _CLUSTERS_AT_ONCE]
