"""Which file of a cluster to keep, and why: most pixels, then most bytes, then oldest, then shortest path."""

from collections.abc import Callable
from typing import Any, NamedTuple

from dupwatchd.db.answers import Copy


class _Rule(NamedTuple):
    value: Callable[[Copy], Any]  # the smallest one wins
    won: str
    lost: str


_RULES = (
    _Rule(lambda copy: -copy.width * copy.height, "most pixels", "fewer pixels"),
    _Rule(lambda copy: -copy.size_bytes, "most bytes", "fewer bytes"),
    _Rule(lambda copy: copy.mtime_ns, "oldest", "newer"),
    _Rule(lambda copy: len(copy.path), "shortest path", "longer path"),
    _Rule(lambda copy: copy.path, "first by name", "later by name"),
)


def in_order(copies: list[Copy]) -> list[Copy]:
    """The file to keep first, then the others in the order in which they would be kept."""
    return sorted(copies, key=lambda copy: tuple(rule.value(copy) for rule in _RULES))


def reasons(ordered: list[Copy]) -> list[str]:
    """For files in the order of `in_order`: why the first is kept, and what each other one lacks against it."""
    kept = ordered[0]
    lost = [next(rule for rule in _RULES if rule.value(copy) != rule.value(kept)) for copy in ordered[1:]]
    # the rule that decides is the one that tells the kept file from the second best
    return [lost[0].won, *(rule.lost for rule in lost)]
