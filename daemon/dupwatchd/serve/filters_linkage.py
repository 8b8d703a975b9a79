"""Takes groups apart so that their files are linked more closely than through others.

In: the files of a group and its links. Out: groups of linkage `star` or `complete`; what is in none of them is left
out. Both depend on the files alone, not on the order in which they were indexed.

*Star*: the files are gone through in the order in which they would be kept. One that is in no group yet becomes the
centre of a new one, which all files join that are linked with it and are in no group yet.

*Complete*: files of equal bytes begin as one group if they are linked, each other file as one of its own. Of all pairs
of groups in which each file is linked with each one of the other group, those two are joined whose files that are
farthest from each other are nearest to each other; of several such pairs the one with the first path, then with the
first path of the other group. This goes on until no two groups can be joined.
"""

import heapq
from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations

from dupwatchd.db.answers import Copy
from dupwatchd.serve.clusters import ClusterCandidate, LiveChecks, Question
from dupwatchd.serve.filters import Linkage
from dupwatchd.serve.filters_links import Links, links_of
from dupwatchd.serve.keep import KeepOrder
from dupwatchd.serve.spare import Looks


def linked_parts(
    candidate: ClusterCandidate, files: list[Copy], question: Question, live_checks: LiveChecks
) -> list[list[Copy]]:
    """A group as the groups of the linkage that is asked for."""
    linkage = question.filters.linkage
    if linkage is Linkage.TRANSITIVE or len(files) < 2:
        return [files]
    links = links_of(candidate, files, question, live_checks)
    if linkage is Linkage.COMPLETE:
        groups = _complete(files, links)
    else:
        groups = _stars(_kept_order(candidate, files, question, live_checks), links)
    return [[files[place] for place in group] for group in groups if len(group) > 1]


def _kept_order(
    candidate: ClusterCandidate, files: Sequence[Copy], question: Question, live_checks: LiveChecks
) -> list[int]:
    """The places of the files in the order in which they would be kept if none stayed in any case."""
    looks = Looks(candidate.looks, mirrored=question.mirrored, ignored=question.ignored, joining=question.verdicts)
    place_of = {copy.path: place for place, copy in enumerate(files)}
    order = KeepOrder(files, looks.nearer(files), question.policy.rules, has_sidecar=live_checks.has_sidecar)
    return [place_of[one.copy.path] for one in order.kept]


def _stars(order: Sequence[int], links: Links) -> list[list[int]]:
    home = {place: n for n, node in enumerate(links.nodes) for place in node.places}
    beside: defaultdict[int, set[int]] = defaultdict(set)
    for i, j in links.distance:
        beside[i].add(j)
        beside[j].add(i)
    free = [set(node.places) for node in links.nodes]
    found = []
    for centre in order:
        if centre not in free[home[centre]]:
            continue
        free[home[centre]].discard(centre)
        group = [centre]
        for other in sorted(beside[home[centre]]):
            group += sorted(free[other])
            free[other].clear()
        found.append(group)
    return found


class _Pool:
    """Groups that may still be joined, and how far their farthest files are apart."""

    def __init__(self, files: Sequence[Copy], links: Links) -> None:
        self.groups: dict[int, list[int]] = {}
        self._first_path: dict[int, bytes] = {}
        self._distance: defaultdict[int, dict[int, float]] = defaultdict(dict)
        self._waiting: list[tuple[float, bytes, bytes, int, int]] = []
        of_node = [self._begin(files, node.places, (n, n) in links.distance) for n, node in enumerate(links.nodes)]
        for i, j in links.distance:
            pairs = ((a, b) for a in of_node[i] for b in of_node[j]) if i != j else combinations(of_node[i], 2)
            for a, b in pairs:
                self._note(a, b, links.distance[i, j])

    def _begin(self, files: Sequence[Copy], places: list[int], are_linked: bool) -> list[int]:
        """The groups of the files of one node: one, as they are not apart, unless they are not linked."""
        begun = [places] if are_linked else [[place] for place in places]
        for group in begun:
            self.groups[group[0]] = list(group)
            self._first_path[group[0]] = min(files[place].path for place in group)
        return [group[0] for group in begun]

    def _note(self, a: int, b: int, distance: float) -> None:
        self._distance[a][b] = self._distance[b][a] = distance
        paths = sorted((self._first_path[a], self._first_path[b]))
        heapq.heappush(self._waiting, (distance, paths[0], paths[1], a, b))

    def join_nearest(self) -> bool:
        """Join two groups; False if there are none."""
        while self._waiting:
            distance, *paths, a, b = heapq.heappop(self._waiting)
            if self._distance[a].get(b) == distance and sorted((self._first_path[a], self._first_path[b])) == paths:
                self._join(a, b)
                return True
        return False

    def _join(self, a: int, b: int) -> None:
        self.groups[a] += self.groups.pop(b)
        self._first_path[a] = min(self._first_path[a], self._first_path.pop(b))
        of_a, of_b = self._distance.pop(a), self._distance.pop(b)
        for other in of_a.keys() | of_b.keys():
            self._distance[other].pop(a, None)
            self._distance[other].pop(b, None)
            if other in of_a and other in of_b:
                self._note(a, other, max(of_a[other], of_b[other]))


def _complete(files: Sequence[Copy], links: Links) -> list[list[int]]:
    pool = _Pool(files, links)
    while pool.join_nearest():
        pass
    return list(pool.groups.values())
