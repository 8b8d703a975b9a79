"""The library in memory: gives pages of clusters at any threshold, without looking at all clusters.

In: a database, once; then questions. Out: pages. What was found for the last few questions of each user is kept.
"""

import os
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Generic, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dupwatchd.db import answers, remembered
from dupwatchd.db.answers import Copy, Look
from dupwatchd.db.connection import Database
from dupwatchd.db.contents import ContentLook, looks_at_contents
from dupwatchd.model import Verdict
from dupwatchd.serve.clusters import (
    ClusterCandidate,
    LiveChecks,
    LookedAt,
    Pair,
    Question,
    measured,
)
from dupwatchd.serve.columns import Columns, Units, load_columns, units_at
from dupwatchd.serve.fair_lock import FairLock
from dupwatchd.serve.filters import Linkage
from dupwatchd.serve.filters_order import Ordering, ordering
from dupwatchd.serve.filters_pairs import LinkedGroup, PairPages, as_linked, measured_rows
from dupwatchd.serve.groups import Group, as_clusters, groups_of
from dupwatchd.serve.indexed_groups import IndexedGroups
from dupwatchd.serve.plan_families import NO_FAMILIES, Families, partners, shot_of, spellings
from dupwatchd.serve.plan_groups import Planned, as_planned
from dupwatchd.serve.ranking import Candidates, Item, RankedClusters, candidates, further_joined
from dupwatchd.serve.results import Cluster, FoundPair, NotLookedAt, PlannedGroup
from dupwatchd.serve.rows import Whole
from dupwatchd.serve.usage import User

_PICTURES_AT_ONCE = 128  # whose files are read before another question has its turn: some milliseconds
_QUESTIONS = 4  # of one user, of which is kept what was found
_REMEMBERED_BYTES = 64 << 20  # of what was found for all of them; for the last one more if that alone takes more


@dataclass(eq=False, slots=True)
class _Ranked(Generic[Item]):
    """The clusters, or groups of a plan, of one question; whoever looks for more of them holds the lock."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    clusters: RankedClusters[Item] | None = None
    further: dict[Verdict, int] | None = None
    indexed: IndexedGroups | None = None
    ordering: Ordering | None = None
    pages: PairPages | None = None

    @property
    def memory_bytes(self) -> int:
        """About how much memory this takes; any thread may ask."""
        clusters = self.clusters
        return 0 if clusters is None else clusters.memory_bytes


class _Members(NamedTuple):
    """What some clusters hold, by cluster."""

    pictures: dict[int, set[int]]
    by_content: defaultdict[int, set[int]]  # those of the pictures of which only equal bytes are copies
    cluster_of: dict[tuple[int, int], int]  # by picture and content; the latter -1 if all contents belong to it
    copies: defaultdict[int, list[Copy]]


class _Remembered(Generic[Item]):
    """What was found for the last few questions of each user, bounded in bytes; any thread may ask.

    Whoever asks ever other questions, or for long pages, neither takes from others what was found for theirs nor makes
    them wait: of a question that two users ask each has a page of his own.
    """

    def __init__(self) -> None:
        self._found: OrderedDict[Question, _Ranked[Item]] = OrderedDict()  # the question asked last comes last
        self._lock = threading.Lock()

    def of(self, question: Question) -> _Ranked[Item]:
        with self._lock:
            ranked = self._found.setdefault(question, _Ranked())
            self._found.move_to_end(question)
            of_user = [one for one in self._found if one.asked_by == question.asked_by]
            if len(of_user) > _QUESTIONS:
                del self._found[of_user[0]]
            self._make_room(question)
            return ranked

    def clear(self) -> None:
        with self._lock:
            self._found.clear()

    def _make_room(self, question: Question) -> None:
        """Holding the lock: the user for whom most is kept loses the oldest of it; this question stays."""
        while True:
            sizes = {one: ranked.memory_bytes for one, ranked in self._found.items()}
            others = [one for one in sizes if one != question]
            if sum(sizes.values()) <= _REMEMBERED_BYTES or not others:
                return
            of_user: defaultdict[User, int] = defaultdict(int)
            for one, size_bytes in sizes.items():
                of_user[one.asked_by] += size_bytes
            greediest = max((one.asked_by for one in others), key=lambda user: of_user[user])
            del self._found[next(one for one in others if one.asked_by == greediest)]


class Library:
    """What answers need of a database, as it was when loaded.

    Any thread may ask. Pages of different questions are made at the same time; those of one question one after the
    other, for each goes on from where the last one stopped.
    """

    def __init__(self, columns: Columns, roots: Sequence[bytes] | None = None) -> None:
        self._columns = columns
        self._inside = None if roots is None else tuple(root.rstrip(b"/") + b"/" for root in roots)
        self._clusters: _Remembered[LookedAt] = _Remembered()
        self._plans: _Remembered[Planned] = _Remembered()
        self._pairs: _Remembered[LinkedGroup] = _Remembered()
        self._units_of: dict[bytes, list[int]] = {}  # of contents in ignored pairs, by digest; guarded by the next
        self._reading = FairLock()  # a connection is for one thread at a time

    @classmethod
    def load(cls, database: Database, roots: Sequence[bytes] | None = None) -> "Library":
        """Read all that is needed, a few seconds for a million files. Raises StateError.

        Files that do not lie below one of the ``roots`` are left out; None: all files count.
        """
        return cls(load_columns(database, roots), roots)

    def forget_answers(self) -> None:
        """Look anew at the files of what is asked from now on, as if no question had been answered before."""
        for remembered_answers in (self._clusters, self._plans, self._pairs):
            remembered_answers.clear()

    @property
    def memory_bytes(self) -> int:
        """What the library takes, without the clusters that it remembers."""
        return self._columns.memory_bytes

    def page(
        self, database: Database, question: Question, live_checks: LiveChecks, limit: int | None, offset: int = 0
    ) -> tuple[int, list[Cluster]]:
        """How many clusters there are, and ``limit`` of them from ``offset`` on; in the order that is asked for.

        A cluster is as in the JSON of `scan`, paths as bytes; it is remembered, so leave it as it is. The number comes
        from the index. Files that are missing at this moment can make a cluster none, or several: that is known of the
        clusters that were looked at by now, so that the number may differ from page to page; it is exact once the last
        page was asked for, or with limit None.

        ``database`` must hold what it held when the library was loaded, and be the same one for all callers. Raises
        ValueError for an unknown measure, StateError.
        """
        ranked = self._clusters.of(question)
        with ranked.lock:
            clusters = self._clusters_of(ranked, database, question, live_checks)
            found, value = clusters.candidates, self._ordering(ranked, database, question).value

            def look_at(some: Whole) -> list[list[LookedAt]]:
                return [
                    as_clusters(groups, question, value)
                    for groups in self._groups(database, question, live_checks, found, some)
                ]

            total, page = clusters.page(look_at, limit, offset)
            return total, measured(page, question, live_checks)

    def pairs_page(
        self, database: Database, question: Question, live_checks: LiveChecks, limit: int | None, offset: int = 0
    ) -> tuple[int, list[FoundPair]]:
        """How many pairs of files are linked in the clusters of a question, and ``limit`` of them from ``offset`` on.

        In the order of the clusters; within one in that of its files. The number comes from the index, as that of
        `page` does. All else is as of `page`.
        """
        assert question.pairs
        ranked = self._pairs.of(question)
        with ranked.lock:
            if ranked.pages is None:
                ranked.pages = PairPages(self._clusters_of(ranked, database, question, live_checks))
            found, value = ranked.pages.candidates, self._ordering(ranked, database, question).value

            def look_at(some: Whole) -> list[list[LinkedGroup]]:
                groups = self._groups(database, question, live_checks, found, some)
                candidates = self._with_files(database, question, found.joined, some)
                return [
                    as_linked(candidate, of_candidate, question, live_checks, value)
                    for candidate, of_candidate in zip(candidates, groups, strict=True)
                ]

            total, page = ranked.pages.page(look_at, limit, offset)
            return total, measured_rows(page, question, live_checks)

    def plan_page(
        self, database: Database, question: Question, live_checks: LiveChecks, limit: int | None, offset: int = 0
    ) -> tuple[int, list[PlannedGroup]]:
        """How many groups a plan has, and ``limit`` of them from ``offset`` on; those that free most come first.

        Only groups in which something goes, or would if a person had looked at them. All else is as of `page`.
        """
        ranked = self._plans.of(question)
        with ranked.lock:
            if ranked.clusters is None:
                found = self._candidates(database, question, that_free=True)
                indexed = self._indexed_groups(ranked, database, question, live_checks)
                ranked.clusters = RankedClusters(indexed.without_hidden(found))
            found = ranked.clusters.candidates

            def look_at(some: Whole) -> list[list[Planned]]:
                return [as_planned(groups) for groups in self._groups(database, question, live_checks, found, some)]

            total, page = ranked.clusters.page(look_at, limit, offset)
            return total, [planned.group for planned in page]

    def group_of(self, database: Database, question: Question, live_checks: LiveChecks, path: bytes) -> Group | None:
        """The group that holds a file; None if there is no copy of it."""
        question = replace(question, holding=frozenset([path]))
        found = self._candidates(database, question)
        groups = self._groups(database, question, live_checks, found, found.cluster)
        return next((group for some in groups for group in some), None)

    def _groups(
        self, database: Database, question: Question, live_checks: LiveChecks, found: Candidates, some: Whole
    ) -> list[list[Group]]:
        candidates = self._with_files(database, question, found.joined, some)
        families = NO_FAMILIES
        if self._columns.raw_folders and not question.policy.pairs:
            further, families = self._families(database, question, found, some, candidates)
            candidates += further
        return groups_of(candidates, question, live_checks, families)[: len(some)]

    def _families(
        self,
        database: Database,
        question: Question,
        found: Candidates,
        some: Whole,
        candidates: Sequence[ClusterCandidate],
    ) -> tuple[list[ClusterCandidate], Families]:
        """What shares a shot with some of the candidates, directly or through others, and the shots of them all."""
        seen = set(some.tolist())
        further: list[ClusterCandidate] = []
        beside: dict[bytes, list[Copy]] = {}
        new = list(candidates)
        while new:
            files = self._shots_of(database, [copy for candidate in new for copy in candidate.copies])
            beside.update(partner for shot in files for partner in partners(shot))
            ids = [(copy.picture_id, copy.content_id) for shot in files for copy in shot]
            clusters = {int(found.joined[unit]) for unit in units_at(self._columns, ids) if unit >= 0} - seen
            seen |= clusters
            some_more = np.array(sorted(clusters), np.int64)
            new = self._with_files(database, question, found.joined, some_more) if clusters else []
            further += new
        return further, Families(beside)

    def _shots_of(self, database: Database, copies: Sequence[Copy]) -> list[list[Copy]]:
        """The files of each shot that one of these files may belong to, of folders that hold RAW photos."""
        shots: dict[tuple[bytes, bytes], set[bytes]] = {}
        for copy in copies:
            folder, stem = shot_of(copy.path)
            if folder in self._columns.raw_folders:
                name = os.path.splitext(os.path.basename(copy.path))[0]
                shots.setdefault((folder, stem), set()).update(spellings(name))
        with self._reading:
            return [answers.copies_named(database, folder, names) for (folder, _), names in shots.items()]

    def further_groups(self, database: Database, question: Question, live_checks: LiveChecks) -> dict[Verdict, int]:
        """How many groups there would be beyond those of the answer, by the verdict that would be asked for as well.

        As the index knows them; nothing for a measure of the user's own, or if only equal bytes are asked for.
        Arguments and errors as of `page`.
        """
        if question.filters.exact:
            return {}
        ranked = self._clusters.of(question)
        with ranked.lock:
            if ranked.further is None:
                found = self._clusters_of(ranked, database, question, live_checks).candidates
                indexed = self._indexed_groups(ranked, database, question, live_checks)
                ranked.further = {
                    further.verdict: indexed.count_further(found, further)
                    for further in further_joined(self._columns, question, found)
                }
            return ranked.further

    def count_ignored(self, database: Database, question: Question, live_checks: LiveChecks) -> int:
        """How many groups are not shown because all pairs of their contents are ignored, as the index knows them.

        Arguments and errors as of `page`.
        """
        ranked = self._clusters.of(question)
        with ranked.lock:
            return self._clusters_of(ranked, database, question, live_checks).candidates.hidden

    def count_not_looked_at(self, database: Database, question: Question, live_checks: LiveChecks) -> NotLookedAt:
        """How many pairs within the threshold may belong together, but nobody has looked at them.

        Where each pair within a group counts, also those that are not stored. Arguments and errors as of `page`.
        """
        if question.joining is None or question.filters.exact:
            return NotLookedAt(0, 0)
        matches = self._columns.matches[question.measure]
        yet, left_out = matches.count_not_looked_at(question.threshold, mirrored=question.mirrored)
        found = NotLookedAt(yet + self._columns.not_looked_at, left_out)
        if question.filters.linkage is Linkage.TRANSITIVE and not question.pairs:
            return found
        if question.pairs:
            counted = self._counted(self._pairs.of(question), database, question, live_checks)
        else:
            counted = self._counted(self._clusters.of(question), database, question, live_checks)
        return NotLookedAt(found.yet, found.left_out + counted.not_looked_at, counted.too_large)

    def _counted(
        self, ranked: _Ranked[Item], database: Database, question: Question, live_checks: LiveChecks
    ) -> Candidates:
        with ranked.lock:
            return self._clusters_of(ranked, database, question, live_checks).candidates

    def _clusters_of(
        self, ranked: _Ranked[Item], database: Database, question: Question, live_checks: LiveChecks
    ) -> RankedClusters[Item]:
        """Holding the lock of the question."""
        if ranked.clusters is None:
            bound = self._ordering(ranked, database, question).bound
            found = self._candidates(database, question, order_bound=bound)
            indexed = self._indexed_groups(ranked, database, question, live_checks)
            ranked.clusters = RankedClusters(indexed.without_hidden(found))
        return ranked.clusters

    def _ordering(self, ranked: _Ranked[Item], database: Database, question: Question) -> Ordering:
        """Holding the lock of the question."""
        if ranked.ordering is None:
            with self._reading:
                ranked.ordering = ordering(question.order, self._columns, database)
        return ranked.ordering

    def _indexed_groups(
        self, ranked: _Ranked[Item], database: Database, question: Question, live_checks: LiveChecks
    ) -> IndexedGroups:
        """Holding the lock of the question."""
        if ranked.indexed is None:
            with self._reading:
                self._locate(database, question.ignored.contents)
                pairs = [
                    (one, other)
                    for a, b in question.ignored.among(self._units_of)
                    for one in self._units_of[a]
                    for other in self._units_of[b]
                ]
            ends = np.array(pairs, np.int32).reshape(-1, 2)
            ranked.indexed = IndexedGroups(
                ends[:, 0],
                ends[:, 1],
                question,
                live_checks,
                lambda asked, joined, clusters: self._with_files(database, asked, joined, clusters),
            )
        return ranked.indexed

    def _locate(self, database: Database, digests: Iterable[bytes]) -> None:
        """Note the units of the contents with these digests; of one there are several if it is read in several ways."""
        new = [digest for digest in digests if digest not in self._units_of]
        self._units_of.update((digest, []) for digest in new)
        contents = list(remembered.contents_of(database, new))
        units = units_at(self._columns, [(picture, content) for _, picture, content in contents])
        for (digest, _, _), unit in zip(contents, units, strict=True):
            if unit >= 0:
                self._units_of[digest].append(unit)

    def _candidates(
        self,
        database: Database,
        question: Question,
        *,
        that_free: bool = False,
        order_bound: Callable[[Units], Whole] | None = None,
    ) -> Candidates:
        folders = pictures = None
        with self._reading:
            needed = [
                answers.folders_of_files_at_or_under(database, some) for some in question.filters.folders_needed()
            ]
            if question.touching is not None:
                folders = answers.folders_under(database, question.touching)
            if question.holding is not None:
                pictures = answers.pictures_of_files(database, question.holding)
        return candidates(
            self._columns,
            question,
            folders,
            pictures,
            that_free=that_free,
            needed=needed,
            order_bound=order_bound,
        )

    def _copies_of(self, database: Database, pictures: list[int]) -> list[Copy]:
        copies: list[Copy] = []
        for start in range(0, len(pictures), _PICTURES_AT_ONCE):
            with self._reading:
                copies += answers.copies_of(database, pictures[start : start + _PICTURES_AT_ONCE])
        return copies if self._inside is None else [copy for copy in copies if copy.path.startswith(self._inside)]

    def _looks_between(self, database: Database, pictures: Iterable[set[int]]) -> list[Look]:
        wanted = sorted(set().union(*pictures))
        if not wanted:
            return []
        with self._reading:
            return answers.looks_between(database, wanted)

    def _looks_at_contents(self, database: Database, pictures: Iterable[set[int]]) -> list[ContentLook]:
        wanted = sorted(set().union(*pictures))
        if not wanted:
            return []
        with self._reading:
            return looks_at_contents(database, wanted)

    def _with_files(
        self, database: Database, question: Question, joined: Units, clusters: Whole
    ) -> list[ClusterCandidate]:
        """Some of the clusters, ``joined`` gives that of each unit, with their pictures and files."""
        members = self._members(database, joined, clusters)
        looks: defaultdict[int, list[Look]] = defaultdict(list)
        for look in self._looks_between(database, (some for some in members.pictures.values() if len(some) > 1)):
            home = members.cluster_of.get((look.a, -1))
            if home is not None and home == members.cluster_of.get((look.b, -1)):
                looks[home].append(look)

        of_contents: defaultdict[int, list[ContentLook]] = defaultdict(list)
        for at_contents in self._looks_at_contents(database, members.pictures.values()):
            home = members.cluster_of.get((at_contents.picture_id, -1))
            if home is not None:
                of_contents[home].append(at_contents)

        matches = cache(lambda: self._matches_inside(question, joined, clusters))
        return [
            ClusterCandidate(
                members.pictures[cluster],
                members.copies[cluster],
                looks[cluster],
                members.by_content[cluster],
                of_contents[cluster],
                partial(lambda cluster: matches()[cluster], cluster),
            )
            for cluster in clusters.tolist()
        ]

    def _members(self, database: Database, joined: Units, clusters: Whole) -> _Members:
        """The pictures and files of some clusters; ``joined`` gives the cluster of each unit."""
        units = np.flatnonzero(_chosen(joined, clusters)[joined])
        members = _Members({}, defaultdict(set), {}, defaultdict(list))
        of_units = (joined[units], self._columns.picture[units], self._columns.content[units])
        for cluster, picture, content in zip(*(column.tolist() for column in of_units), strict=True):
            members.pictures.setdefault(cluster, set()).add(picture)
            members.cluster_of[picture, content] = cluster
            if content >= 0:
                members.by_content[cluster].add(picture)
        cluster_of = members.cluster_of
        for copy in self._copies_of(database, sorted({picture for picture, _ in cluster_of})):
            home = cluster_of.get((copy.picture_id, -1), cluster_of.get((copy.picture_id, copy.content_id)))
            if home is not None:  # else of a content that was not asked for
                members.copies[home].append(copy)
        return members

    def _matches_inside(self, question: Question, joined: Units, clusters: Whole) -> dict[int, list[Pair]]:
        """The matches within each of the chosen clusters, as pictures, whatever a look says of them."""
        matches = self._columns.matches[question.measure]
        a, b = matches.within(question.threshold, mirrored=question.mirrored, verdicts=None)
        inside = np.flatnonzero(_chosen(joined, clusters)[joined[a]])
        ends = (joined[a[inside]], self._columns.picture[a[inside]], self._columns.picture[b[inside]])
        pairs: defaultdict[int, list[Pair]] = defaultdict(list)
        for cluster, first, second in zip(*(end.tolist() for end in ends), strict=True):
            pairs[cluster].append((first, second))
        return pairs


def _chosen(joined: Units, clusters: Whole) -> NDArray[np.bool_]:
    """Whether a cluster is one of these, (U,) by the unit that names it."""
    chosen = np.zeros(len(joined), bool)
    chosen[clusters] = True
    return chosen
