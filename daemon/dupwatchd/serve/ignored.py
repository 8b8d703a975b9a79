"""Takes the files of a group apart where somebody said that they are no duplicates of each other.

In: pairs of contents that are not duplicates, and the files of a group. Out: the parts of it that are to be shown.

Two contents of a group belong together unless their pair is ignored, or through others with which neither's pair is.
So a group in which every pair is ignored is shown no more, but for files of equal bytes, which are never taken apart;
and a new content joins all of it again.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from dupwatchd.db.answers import Copy
from dupwatchd.db.remembered import Pair


class IgnoredPairs:
    """Pairs of contents, by digest, that are not duplicates. Nobody changes it; each is equal to itself only."""

    def __init__(self, others: Mapping[bytes, tuple[bytes, ...]], count: int, revision: int) -> None:
        """``others``: for each content all those that it is no duplicate of; ``count``: pairs. See `of`."""
        self._others = others
        self.count = count
        self.revision = revision
        """A higher number whenever pairs come or go."""

    @classmethod
    def of(cls, pairs: Iterable[Pair]) -> "IgnoredPairs":
        """These pairs, each given once."""
        return NONE_IGNORED.with_pairs(pairs)

    def with_pairs(self, pairs: Iterable[Pair]) -> "IgnoredPairs":
        """These pairs as well, of which none is known yet."""
        new: defaultdict[bytes, list[bytes]] = defaultdict(list)
        count = self.count
        for a, b in pairs:
            new[a].append(b)
            new[b].append(a)
            count += 1
        added = {one: (*self._of(one), *others) for one, others in new.items()}
        return IgnoredPairs({**self._others, **added}, count, self.revision + bool(new))

    def without_pairs(self, pairs: Iterable[Pair]) -> "IgnoredPairs":
        """All but these pairs, of which each is known."""
        gone: defaultdict[bytes, set[bytes]] = defaultdict(set)
        count = self.count
        for a, b in pairs:
            gone[a].add(b)
            gone[b].add(a)
            count -= 1
        left = {one: tuple(other for other in self._of(one) if other not in others) for one, others in gone.items()}
        kept = {one: others for one, others in {**self._others, **left}.items() if others}
        return IgnoredPairs(kept, count, self.revision + 1)

    def without_all(self) -> "IgnoredPairs":
        """No pair any more."""
        return IgnoredPairs({}, 0, self.revision + 1)

    @property
    def contents(self) -> Collection[bytes]:
        """All contents that are in a pair."""
        return self._others.keys()

    def among(self, digests: Iterable[bytes]) -> list[Pair]:
        """The pairs whose contents are both among these."""
        wanted = set(digests)
        return [(one, other) for one in wanted for other in self._of(one) if one < other and other in wanted]

    def holds(self, one: bytes, other: bytes) -> bool:
        """Are these two contents no duplicates?"""
        of_one, of_other = self._of(one), self._of(other)
        return other in of_one if len(of_one) <= len(of_other) else one in of_other

    def parts(self, copies: Sequence[Copy]) -> list[list[Copy]]:
        """The files of a group by what still belongs together; all of them in one part if nothing was said of them."""
        digests = {copy.content_digest for copy in copies}
        if not any(digest in self._others for digest in digests) or not self.among(digests):
            return [list(copies)]
        part_of = {digest: part for part, inside in enumerate(self._connected(digests)) for digest in inside}
        found: defaultdict[int, list[Copy]] = defaultdict(list)
        for copy in copies:
            found[part_of[copy.content_digest]].append(copy)
        return list(found.values())

    def _of(self, digest: bytes) -> tuple[bytes, ...]:
        return self._others.get(digest, ())

    def _connected(self, digests: set[bytes]) -> list[set[bytes]]:
        """The contents by what they are joined to; each one is joined to all but those of its pairs.

        Each step either takes a content out of those that were not reached yet, or passes over one for a pair that is
        ignored: the cost is the number of contents and of pairs.
        """
        unreached, found = sorted(digests), []
        while unreached:
            part: set[bytes] = set()
            reached = [unreached.pop()]
            while reached:
                one = reached.pop()
                part.add(one)
                apart = set(self._of(one))
                reached += (other for other in unreached if other not in apart)
                unreached = [other for other in unreached if other in apart]
            found.append(part)
        return found


NONE_IGNORED = IgnoredPairs({}, 0, 0)
