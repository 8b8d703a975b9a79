"""Decides which file of a cluster to keep, and says why in words.

In: the files of a cluster, as the index knows them. Out: their order, the one to keep first, and a reason for each.
"""

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
    _Rule(lambda copy: copy.mtime_ns, "modified earliest", "modified later"),
    _Rule(lambda copy: len(copy.path), "shortest path", "longer path"),
    _Rule(lambda copy: copy.path, "first by name", "later by name"),
)


def in_order(copies: list[Copy]) -> list[Copy]:
    """Return the file to keep, then the others in the order in which they would be kept instead of it."""
    return sorted(copies, key=lambda copy: tuple(rule.value(copy) for rule in _RULES))


def reasons(ordered: list[Copy]) -> list[str]:
    """Return why the first file is kept, then what each other one lacks against it.

    The files, two or more, come in the order of `in_order`, and all have different paths; else StopIteration is raised.
    """
    kept = ordered[0]
    lost = [next(rule for rule in _RULES if rule.value(copy) != rule.value(kept)) for copy in ordered[1:]]
    # the rule that decides is the one that tells the kept file from the second best
    return [lost[0].won, *(rule.lost for rule in lost)]
