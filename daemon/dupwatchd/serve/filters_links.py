"""Which files of a group are linked directly, and how far they are apart.

In: the files of a group that belong together, directly or through others. Out: its links, and the pairs of files that
they stand for.

Two files are linked if the filters let them be held against each other, nobody said that they are no duplicates, and
they show one picture, or two that a look joins; by a measure of the user's own, two that are measured to lie within the
threshold. A match that was looked at is always stored, with its distance; all other distances are measured.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations, combinations_with_replacement

from dupwatchd.db.answers import Copy, Look
from dupwatchd.serve.clusters import ClusterCandidate, LiveChecks, Pair, Question, measured_pairs
from dupwatchd.serve.filters import Kind

_COUNTED_PICTURES = 300  # of a group whose pairs are all measured, 0.2 s


@dataclass(eq=False, slots=True)
class Node:
    """The files of one content that the filters do not tell apart."""

    picture: int
    kind: Kind
    digest: bytes
    places: list[int] = field(default_factory=list)  # of its files in the group, ascending


@dataclass(frozen=True, slots=True)
class Links:
    """The links of a group."""

    nodes: list[Node]
    distance: dict[tuple[int, int], float]
    """Of linked nodes, given by their places i ≤ j; (i, i): its files are linked with each other."""

    def count(self) -> int:
        """How many pairs of files are linked."""
        size = [len(node.places) for node in self.nodes]
        return sum(size[i] * size[j] if i != j else size[i] * (size[i] - 1) // 2 for i, j in self.distance)

    def pairs(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """The linked pairs of files, by their places, in ascending order: those from ``start`` on, before ``stop``."""
        partners = self._partners()
        home = {place: n for n, node in enumerate(self.nodes) for place in node.places}
        before = 0
        for place in sorted(home):
            others = partners[home[place]]
            first = bisect_right(others, place)
            count = len(others) - first
            for other in others[first + max(start - before, 0) : first + max(stop - before, 0)]:
                yield place, other
            before += count
            if before >= stop:
                return

    def _partners(self) -> list[list[int]]:
        """For each node the places of all files that its files are linked with, ascending."""
        partners: list[list[int]] = [[] for _ in self.nodes]
        for i, j in self.distance:
            partners[i] += self.nodes[j].places
            if i != j:
                partners[j] += self.nodes[i].places
        return [sorted(places) for places in partners]


def links_of(candidate: ClusterCandidate, files: Sequence[Copy], question: Question, live_checks: LiveChecks) -> Links:
    """The links of a group."""
    filters, ignored = question.filters, question.ignored
    by_key: dict[tuple[int, Kind, bytes], Node] = {}
    for place, copy in enumerate(files):
        key = copy.picture_id, filters.kind(copy), copy.content_digest
        by_key.setdefault(key, Node(*key)).places.append(place)
    nodes = list(by_key.values())
    of_picture: defaultdict[int, list[int]] = defaultdict(list)
    for n, node in enumerate(nodes):
        of_picture[node.picture].append(n)
    distance: dict[tuple[int, int], float] = {}

    def link(i: int, j: int, value: float) -> None:
        one, other = nodes[i], nodes[j]
        if filters.allow(one.kind, other.kind) and not (ignored.count and ignored.holds(one.digest, other.digest)):
            distance[min(i, j), max(i, j)] = value

    for inside in of_picture.values():
        for i, j in combinations_with_replacement(inside, 2):
            link(i, j, 0.0)
    for (a, b), value in _distances(candidate, list(of_picture), question, live_checks).items():
        for i in of_picture[a]:
            for j in of_picture[b]:
                link(i, j, value)
    return Links(nodes, distance)


def _distances(
    candidate: ClusterCandidate, pictures: Sequence[int], question: Question, live_checks: LiveChecks
) -> dict[Pair, float]:
    """Of each two of the pictures that belong together directly, how far they are apart."""
    shown = set(pictures)
    if question.joining is None:
        pairs = list(combinations(sorted(shown), 2))
    else:
        joined = [look for look in candidate.looks if look.a in shown and look.b in shown and question.joins(look)]
        if not question.filters.upright:
            known: dict[Pair, float] = {}
            for look in joined:
                value = look.mse if question.measure == "mse" else look.structure
                known[look.a, look.b] = min(value, known.get((look.a, look.b), value))
            return known
        return upright_distances(joined, question, live_checks)
    values = map(question.value_of, measured_pairs(pairs, question, live_checks))
    return {pair: value for pair, value in zip(pairs, values, strict=True) if value <= question.threshold}


def upright_distances(looks: Sequence[Look], question: Question, live_checks: LiveChecks) -> dict[Pair, float]:
    """Those pairs that these looks join as the pictures lie, not turned, and how far they are apart.

    What is stored of a match is its distance in the best turn; of a part how it lies.
    """
    pairs = sorted({(look.a, look.b) for look in looks})
    upright_parts = {(look.a, look.b) for look in looks if look.by_parts and not look.part.turn_degrees}
    most: dict[Pair, float] = {}  # for each match the distance up to which it lies upright
    for look in looks:
        if not look.by_parts:
            best = look.mse if question.measure == "mse" else look.structure
            allowed = max(question.threshold, best) if look.at_any_distance else question.threshold
            most[look.a, look.b] = max(allowed, most.get((look.a, look.b), allowed))
    values = map(question.value_of, measured_pairs(pairs, question, live_checks))
    return {
        pair: value
        for pair, value in zip(pairs, values, strict=True)
        if pair in upright_parts or (pair in most and value <= most[pair])
    }


def count_not_looked_at(
    candidate: ClusterCandidate, files: Sequence[Copy], question: Question, live_checks: LiveChecks
) -> int | None:
    """How many pairs of pictures of a group lie within the threshold, and are neither stored nor looked at.

    None for a group that is too large to measure all of its pairs.
    """
    if question.joining is None or question.filters.exact:
        return 0
    pictures = {copy.picture_id for copy in files}
    known = {(look.a, look.b) for look in candidate.looks if look.a in pictures and look.b in pictures}
    if len(known) == len(pictures) * (len(pictures) - 1) // 2:
        return 0
    if len(pictures) > _COUNTED_PICTURES:
        return None
    known |= {(min(pair), max(pair)) for pair in candidate.matches()}
    pairs = [pair for pair in combinations(sorted(pictures), 2) if pair not in known]
    values = measured_pairs(pairs, question, live_checks)
    return sum(question.value_of(value) <= question.threshold for value in values)
