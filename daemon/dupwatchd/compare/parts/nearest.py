"""Of all pairs of pictures that may share a part, those that are stored and looked at: each picture's best few.

The candidates of one picture are ordered by votes, the most first, then by the digest of the other picture. That order
follows from the pictures alone, so it does not matter when which of them came. A pair is stored while it is among the
best few of one of its two pictures. What has fallen out of the best of both never comes back, unless a picture goes.

Pairs that are found go in, and the stored ones are asked for; out comes what is to be changed among those.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

Voted = tuple[int, int, int]  # pictures a < b, votes
Pair = tuple[int, int]
_Place = tuple[int, bytes, int]  # votes, negated; digest of the other picture; the other picture


class Changes(NamedTuple):
    """What is to be changed among the stored pairs."""

    new: list[Voted]
    needless: list[Pair]


class BestParts:
    """Takes pairs in parts, and holds only those that may be stored."""

    def __init__(
        self,
        count: int,
        stored: Callable[[list[int]], Iterable[Voted]],
        digests: Callable[[list[int]], dict[int, bytes]],
    ) -> None:
        """``count`` pairs of each picture are kept; ``stored`` gives all stored pairs of some pictures."""
        self._count = count
        self._source = stored
        self._digests_of = digests
        self._stored: set[Pair] = set()  # of pictures for which a pair was found
        self._best: dict[int, list[_Place]] = {}  # of the pictures whose stored pairs were loaded, in order
        self._touched: set[int] = set()  # pictures for which a pair was found

    def add(self, pairs: list[Voted]) -> None:
        """Take in pairs that were found; some of them may be stored already."""
        ends = {one for a, b, _ in pairs for one in (a, b)}
        self._stored.update((a, b) for a, b, _ in self._load(ends - self._touched))
        self._touched |= ends
        self._place(pairs, ends)

    def changes(self) -> Changes:
        """What is to be stored and removed; to be called once, after all pairs."""
        best = self._best_pairs()
        # Whether a pair stays that is no longer among the best of one picture depends on the other one.
        pushed_out = {one for pair in self._stored - best.keys() for one in pair if one not in self._best}
        self._load(pushed_out)
        best = self._best_pairs()
        new = [(*pair, votes) for pair, votes in best.items() if self._touched >= {*pair} and pair not in self._stored]
        return Changes(sorted(new), sorted(self._stored - best.keys()))

    def reach(self, pictures: Sequence[int]) -> list[int]:
        """For each picture, how many votes the weakest of its best pairs has; 0 if there are not so many of them."""
        best = [self._best.get(one, []) for one in pictures]
        return [-some[-1][0] if len(some) == self._count else 0 for some in best]

    def _load(self, pictures: set[int]) -> list[Voted]:
        """Place the stored pairs of pictures; returns them."""
        rows = [*dict.fromkeys(self._source(sorted(pictures)))] if pictures else []
        for one in pictures:
            self._best.setdefault(one, [])
        self._place(rows, pictures)
        return rows

    def _place(self, pairs: list[Voted], pictures: set[int]) -> None:
        """Put pairs among the best of those of their ends that are in ``pictures``."""
        digests = self._digests_of(sorted({one for a, b, _ in pairs for one in (a, b)})) if pairs else {}
        for a, b, votes in pairs:
            for one, other in ((a, b), (b, a)):
                if one not in pictures:
                    continue
                best = self._best[one]
                place = (-votes, digests[other], other)
                at = bisect_left(best, place)
                if at < self._count and (at == len(best) or best[at] != place):
                    best.insert(at, place)
                    del best[self._count :]

    def _best_pairs(self) -> dict[Pair, int]:
        """The pairs among the best of a picture that was loaded, with their votes."""
        return {
            (min(one, other), max(one, other)): -negated
            for one, best in self._best.items()
            for negated, _, other in best
        }
