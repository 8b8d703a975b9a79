"""Which files of a question may be compared with each other at all.

In: the files of a cluster, as the index knows them. Out: those that take part, in sets whose members may be held
against each other, and whether two of these may be.

A filter never joins files that would be apart without it: it only takes files and pairs away. So what it leaves of a
cluster is one part, several, or none.
"""

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from dupwatchd.db.answers import Copy
from dupwatchd.paths import at_or_below


class Within(Enum):
    """What "within one folder" means."""

    NAMED = "root"  # one of the named folders with all below it
    EACH = "each"  # every single folder, without what is below it


class Linkage(Enum):
    """What holds a group together."""

    TRANSITIVE = "transitive"  # each file is linked with another one
    STAR = "star"  # each file is linked with one of them
    COMPLETE = "complete"  # each file is linked with each other one


class Side(NamedTuple):
    """Whether a file lies in the first partition, in the second one, or in both."""

    first: bool
    second: bool


class Kind(NamedTuple):
    """What tells whether a file may be held against another one of the same set; equal for most files of a set."""

    longer_px: int  # sides of the picture, if aspect ratios count; else 0
    shorter_px: int
    side: Side | None  # None: there are no partitions


@dataclass(frozen=True, slots=True)
class Filters:
    """Which pairs of files count. Folders are absolute, without links; a file belongs to the deepest that holds it."""

    exact: bool = False  # only equal bytes
    same_size: bool = False  # only pictures of the same width and height, which may be swapped
    aspect: float | None = None  # only pictures whose aspect ratios differ at most by this factor, 1 or more
    across: tuple[bytes, ...] = ()  # with ``against``: only pairs of a file in one of these folders and ...
    against: tuple[bytes, ...] = ()  # ... one in one of these
    upright: bool = False  # only pictures that are near enough as they stand, without being turned
    linkage: Linkage = Linkage.TRANSITIVE
    within: Within | None = None  # only pairs within one folder
    named: tuple[bytes, ...] = ()  # the folders for `Within.NAMED`
    only: frozenset[bytes] | None = None  # only these files; None: all
    directly_in: frozenset[bytes] | None = None  # only files that lie directly in one of these folders; None: in any

    @property
    def restrict(self) -> bool:
        """Whether any pair may be left out."""
        return self != NO_FILTERS

    def sets(self, files: Sequence[Copy]) -> list[list[Copy]]:
        """The files that take part, in sets; files of different sets are never held against each other."""
        found: defaultdict[tuple[object, ...], list[Copy]] = defaultdict(list)
        for copy in files:
            folder = self._folder(copy)
            if folder is None or not self.takes(copy.path) or (self.across and not any(self._side(copy))):
                continue
            size = tuple(sorted((copy.width, copy.height))) if self.same_size else ()
            found[folder, size, copy.content_digest if self.exact else b""].append(copy)
        return list(found.values())

    def takes(self, path: bytes) -> bool:
        """Whether a file is one of those that are asked for at all."""
        is_listed = self.only is None or path in self.only
        return is_listed and (self.directly_in is None or os.path.dirname(path) in self.directly_in)

    def kind(self, copy: Copy) -> Kind:
        """What decides whether a file may be held against another one of its set."""
        longer, shorter = (max(copy.width, copy.height), min(copy.width, copy.height)) if self.aspect else (0, 0)
        return Kind(longer, shorter, self._side(copy) if self.across else None)

    def allow(self, one: Kind, other: Kind) -> bool:
        """Whether two files of one set, of these kinds, may be held against each other."""
        if self.aspect is not None:
            # whole numbers below 2**53, so that both sides are exact but for one rounding
            a, b = one.longer_px * other.shorter_px, other.longer_px * one.shorter_px
            if max(a, b) > self.aspect * min(a, b):
                return False
        if one.side is None or other.side is None:
            return True
        return (one.side.first and other.side.second) or (one.side.second and other.side.first)

    def ask_for(self, files: Sequence[Copy]) -> bool:
        """Whether what is left of a group has what it must have: with partitions, members in both."""
        if not self.across:
            return True
        sides = [self._side(copy) for copy in files]
        return any(side.first for side in sides) and any(side.second for side in sides)

    def folders_needed(self) -> Iterator[tuple[bytes, ...]]:
        """Lists of paths; a cluster without a file at or below one of each list leaves nothing."""
        if self.across:
            yield self.across
            yield self.against

    def _side(self, copy: Copy) -> Side:
        return Side(_lies_in(copy.path, self.across), _lies_in(copy.path, self.against))

    def _folder(self, copy: Copy) -> bytes | None:
        """The folder that a file is compared within; None: it takes no part."""
        if self.within is None:
            return b""
        if self.within is Within.EACH:
            return os.path.dirname(copy.path)
        return max((folder for folder in self.named if at_or_below(copy.path, folder)), key=len, default=None)


NO_FILTERS = Filters()


def _lies_in(path: bytes, folders: Sequence[bytes]) -> bool:
    return any(at_or_below(path, folder) for folder in folders)
