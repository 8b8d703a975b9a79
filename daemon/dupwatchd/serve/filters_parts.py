"""Finds the groups that a cluster of the index is, once files are missing, left out, or may not be compared.

In: a candidate with its files and what looks have found, a question, and what is to be known at this moment. Out: the
files of each group. Two files belong together if their pictures do and the filters of the question let them be held
against each other; or through others of which that is true.

Pictures belong together by a look at both. By a measure of the user's own the value alone decides, and the index holds
only as many matches as join all: of pictures whose join is gone the others are measured again.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from dupwatchd.db.answers import Copy
from dupwatchd.serve.clusters import ClusterCandidate, LiveChecks, Pair, Question, is_asked_for, measured_pairs
from dupwatchd.serve.filters import Kind, Linkage
from dupwatchd.serve.filters_linkage import linked_parts
from dupwatchd.serve.filters_links import count_not_looked_at, links_of, upright_distances
from dupwatchd.serve.ignored import NONE_IGNORED


@dataclass(eq=False, slots=True)
class _Node:
    """The files of one picture of which the filters tell none from another."""

    picture: int
    kind: Kind
    files: list[Copy] = field(default_factory=list)
    is_joined: bool = False  # its files are joined with each other, directly or through another node


def wholes_of(candidate: ClusterCandidate, question: Question, live_checks: LiveChecks) -> list[list[Copy]]:
    """The files that are there and take part, in one group for each set that is joined, whatever is ignored.

    A file that is not there joins nothing: there may be several groups, or none; or groups of one file. The files
    joined do not depend on the order in which they were indexed.
    """
    present = [copy for copy in candidate.copies if live_checks.is_there(copy)]
    filters = question.filters
    if not filters.restrict:
        alive = {copy.picture_id for copy in present}
        return (
            [present] if len(alive) == len(candidate.pictures) else _joined(candidate, present, question, live_checks)
        )
    sets = [files for files in filters.sets(present) if len(files) > 1]
    return [part for files in sets for part in _joined(candidate, files, question, live_checks)]


def parts_of(candidate: ClusterCandidate, question: Question, live_checks: LiveChecks) -> list[list[Copy]]:
    """The groups, taken apart where somebody said that files are no duplicates, and by the linkage asked for."""
    wholes = wholes_of(candidate, question, live_checks)
    return [files for whole in wholes for files in _parts(candidate, whole, question, live_checks)]


def _parts(
    candidate: ClusterCandidate, whole: list[Copy], question: Question, live_checks: LiveChecks
) -> list[list[Copy]]:
    parts = question.ignored.parts(whole)
    return [files for part in parts for files in linked_parts(candidate, part, question, live_checks)]


class Counted(NamedTuple):
    """What a candidate is if all files are there."""

    shown: int  # groups
    hidden: int  # groups that are not shown because all of their pairs are ignored
    not_looked_at: int = 0  # pairs of pictures within the threshold in its groups, if each of them counts
    too_large: int = 0  # groups of which nobody knows that
    pairs: int = 0  # of files that are linked, if pairs are asked for


def count_as_indexed(candidate: ClusterCandidate, question: Question, live_checks: LiveChecks) -> Counted:
    """What a candidate is if all files are there, as ``live_checks`` must say."""
    shown = hidden = not_looked_at = too_large = pairs = 0
    every_pair_counts = question.pairs or question.filters.linkage is not Linkage.TRANSITIVE
    without_ignored = replace(question, ignored=NONE_IGNORED)
    for whole in wholes_of(candidate, question, live_checks):
        asked_for = [
            files for files in _parts(candidate, whole, question, live_checks) if is_asked_for(files, question)
        ]
        shown += len(asked_for)
        if question.pairs:
            pairs += sum(links_of(candidate, files, question, live_checks).count() for files in asked_for)
        if not asked_for:
            parts = _parts(candidate, whole, without_ignored, live_checks)
            hidden += any(is_asked_for(files, question) for files in parts)
        elif every_pair_counts:
            count = count_not_looked_at(candidate, whole, question, live_checks)
            not_looked_at, too_large = not_looked_at + (count or 0), too_large + (count is None)
    return Counted(shown, hidden, not_looked_at, too_large, pairs)


def _joined(
    candidate: ClusterCandidate, files: Sequence[Copy], question: Question, live_checks: LiveChecks
) -> list[list[Copy]]:
    """These files by what joins them."""
    nodes = _nodes(files, question)
    if question.joining is None:
        parts = _connected(nodes, candidate.matches(), question)
        found = list(_rejoined(parts, question, live_checks))
    else:
        # Two pictures belong together only if somebody has looked at them, so nothing is found by measuring.
        found = _connected(nodes, _linked(candidate, nodes, question, live_checks), question)
    return [[copy for node in part for copy in node.files] for part in found if len(part) > 1 or part[0].is_joined]


def _linked(
    candidate: ClusterCandidate, nodes: Sequence[_Node], question: Question, live_checks: LiveChecks
) -> list[Pair]:
    """The pairs of pictures of these nodes that a look joins and the filters leave."""
    shown = {node.picture for node in nodes}
    joined = [look for look in candidate.looks if look.a in shown and look.b in shown and question.joins(look)]
    if question.filters.upright:
        return sorted(upright_distances(joined, question, live_checks))
    return sorted({(look.a, look.b) for look in joined})


def _nodes(files: Sequence[Copy], question: Question) -> list[_Node]:
    nodes: dict[tuple[int, Kind], _Node] = {}
    for copy in files:
        kind = question.filters.kind(copy)
        nodes.setdefault((copy.picture_id, kind), _Node(copy.picture_id, kind)).files.append(copy)
    return list(nodes.values())


def _connected(nodes: list[_Node], matches: Iterable[Pair], question: Question) -> list[list[_Node]]:
    """The nodes by the part they are joined to: by one picture, and by those of the matches that join two."""
    of_picture: defaultdict[int, list[_Node]] = defaultdict(list)
    for node in nodes:
        of_picture[node.picture].append(node)
    part_of = {id(node): [node] for node in nodes}
    allow = question.filters.allow
    one_picture = ((picture, picture) for picture in of_picture)
    for a, b in (*one_picture, *matches):
        for one in of_picture.get(a, ()):
            for other in of_picture.get(b, ()):
                if allow(one.kind, other.kind):
                    one.is_joined = other.is_joined = True
                    _merge(part_of, one, other)
    return list({id(part): part for part in part_of.values()}.values())


def _merge(part_of: dict[int, list[_Node]], one: _Node, other: _Node) -> None:
    small, large = sorted((part_of[id(one)], part_of[id(other)]), key=len)
    if small is not large:
        large += small
        part_of.update((id(node), large) for node in small)


def _rejoined(parts: list[list[_Node]], question: Question, live_checks: LiveChecks) -> Iterator[list[_Node]]:
    """The parts by what joins them by the user's own measure, when others of the cluster are gone or left out.

    Two of them may match without a stored match, if those that are gone joined them as well. So what falls apart is
    measured: each node of a part with those of all other parts, until nothing more is within reach.
    """
    allow = question.filters.allow
    apart = sorted(parts, key=lambda part: min(node.picture for node in part))
    while apart:
        part, *apart = apart
        reached = list(part)
        while reached and apart:
            node = reached.pop()
            others = [other for one in apart for other in one if allow(node.kind, other.kind)]
            near = _near(node, others, question, live_checks)
            joining = [one for one in apart if any(id(other) in near for other in one)]
            apart = [one for one in apart if not any(id(other) in near for other in one)]
            for one in joining:
                part += one
                reached += one
            for other in (node, *(other for other in others if id(other) in near)) if near else ():
                other.is_joined = True
        yield part


def _near(node: _Node, others: Sequence[_Node], question: Question, live_checks: LiveChecks) -> set[int]:
    """Which of the other nodes, by ``id``, lie within the threshold of this one by the user's own measure."""
    pairs = [(node.picture, other.picture) for other in others]
    values = measured_pairs(pairs, question, live_checks)
    return {id(other) for other, value in zip(others, values, strict=True) if value.custom <= question.threshold}
