"""The library in memory: a page of clusters, at any threshold, without looking at all of them."""

from collections import OrderedDict, defaultdict
from collections.abc import Callable
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from dupwatchd.db import answers
from dupwatchd.db.answers import Copy
from dupwatchd.db.connection import Database
from dupwatchd.serve.clusters import ClusterCandidate, LiveChecks, Pair, Question, look_at
from dupwatchd.serve.columns import Columns, Whole, load_columns
from dupwatchd.serve.ranking import Answer, Candidates, Cluster, candidates

_ANSWERS = 4  # questions whose answers are kept: 4 bytes a picture, and the clusters that were looked at


class Library:
    """What answers need of a database, as it was when loaded; for one thread at a time."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._answers: OrderedDict[Question, Answer] = OrderedDict()

    @classmethod
    def load(cls, database: Database, are_linked: Callable[[Copy, Copy], bool] | None = None) -> "Library":
        """Read all that is needed, a few seconds for a million files.

        ``are_linked`` is asked about files that the index takes for hard links of each other. Answers are the same
        without it, but in a library full of hard links the first page then has to look at all of them.
        """
        return cls(load_columns(database, are_linked))

    @property
    def memory_bytes(self) -> int:
        """What the library takes, without the answers."""
        return self._columns.memory_bytes

    def page(
        self, database: Database, question: Question, live_checks: LiveChecks, limit: int | None, offset: int = 0
    ) -> tuple[int, list[Cluster]]:
        """How many clusters there are, and ``limit`` of them from ``offset`` on; those that free most come first.

        A cluster is as in the JSON of `scan`, paths as bytes; it is remembered, so leave it as it is. The number comes
        from the index. Files that are missing at this moment can make a cluster none, or several: that is known of the
        clusters that were looked at by now, so that the number may differ from page to page; it is exact once the last
        page was asked for, or with limit None.

        ``database`` must hold what it held when the library was loaded. Raises ValueError for an unknown measure.
        """
        answer = self._answer(database, question)
        return answer.page(
            lambda some: look_at(self._joined(database, question, answer.candidates, some), question, live_checks),
            limit,
            offset,
        )

    def _answer(self, database: Database, question: Question) -> Answer:
        if question not in self._answers:
            folders = None if question.touching is None else answers.folders_under(database, question.touching)
            self._answers[question] = Answer(candidates(self._columns, question, folders))
            if len(self._answers) > _ANSWERS:
                self._answers.popitem(last=False)
        self._answers.move_to_end(question)
        return self._answers[question]

    def _joined(
        self, database: Database, question: Question, found: Candidates, clusters: Whole
    ) -> list[ClusterCandidate]:
        """The pictures and files of some of the candidates."""
        chosen = np.zeros(len(found.joined), bool)
        chosen[clusters] = True
        units = np.flatnonzero(chosen[found.joined])
        members: defaultdict[int, list[int]] = defaultdict(list)
        cluster_of: dict[tuple[int, int], int] = {}  # by picture and, if it is flat, content
        of_units = (found.joined[units], self._columns.picture[units], self._columns.content[units])
        for cluster, picture, content in zip(*(column.tolist() for column in of_units), strict=True):
            members[cluster].append(picture)
            cluster_of[picture, content] = cluster
        copies: defaultdict[int, list[Copy]] = defaultdict(list)
        for copy in answers.copies_of(database, sorted({picture for picture, _ in cluster_of})):
            home = cluster_of.get((copy.picture_id, -1), cluster_of.get((copy.picture_id, copy.content_id)))
            if home is not None:  # else of a flat picture, but not a content that was asked for
                copies[home].append(copy)

        matches = cache(lambda: self._matches_inside(question, found, chosen))
        return [
            ClusterCandidate(members[cluster], copies[cluster], partial(lambda cluster: matches()[cluster], cluster))
            for cluster in clusters.tolist()
        ]

    def _matches_inside(
        self, question: Question, found: Candidates, chosen: NDArray[np.bool_]
    ) -> dict[int, list[Pair]]:
        """The matches within each of the chosen clusters, as pictures."""
        a, b = self._columns.matches[question.measure].within(question.threshold, mirrored=question.mirrored)
        inside = np.flatnonzero(chosen[found.joined[a]])
        ends = (found.joined[a[inside]], self._columns.picture[a[inside]], self._columns.picture[b[inside]])
        pairs: defaultdict[int, list[Pair]] = defaultdict(list)
        for cluster, first, second in zip(*(end.tolist() for end in ends), strict=True):
            pairs[cluster].append((first, second))
        return pairs
