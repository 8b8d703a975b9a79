"""Reduces any number of new matches to the few that are stored, in bounded memory.

Stored are the matches of the minimum spanning forests (`spanning` says which), and of each picture the nearest few, to
be looked at again (`nearest` says which). New matches go in, part by part; out comes what is to be changed among those
that are stored.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dupwatchd.arrays import Matches, MatchRow
from dupwatchd.compare.forest import spanning
from dupwatchd.compare.forest.nearest import Ids, Mask, Prefixes, Reach, grown, nearest
from dupwatchd.model import Limits

_HELD = 1 << 20  # matches, 42 bytes each; `spanning` takes some 150 bytes more for each while it runs

StoredRow = tuple[int, int, int, float, float, float | None, int, int]  # a match, whether near, whether in a forest


class StoredMatches(Protocol):
    """The matches that are stored already."""

    def around(self, picture_ids: list[int], /) -> Sequence[StoredRow]:
        """The matches in forests of everything that is joined with these pictures, directly or through others."""

    def beside(self, picture_ids: list[int], /) -> Sequence[StoredRow]:
        """All matches of these pictures."""


@dataclass(frozen=True)
class Changes:
    """What is to be changed among the stored matches."""

    new: list[StoredRow]  # to be added, or stored with other values
    needless: list[tuple[int, int, int]]  # a, b, mirrored of those to be removed


class Gathering:
    """Takes new matches in parts and holds at most a million of them beyond those that are to be stored."""

    def __init__(self, limits: Limits, stored: StoredMatches, prefixes: Prefixes, reach: Reach) -> None:
        """``reach``: see `nearest.Reach`; infinite, or not there, for pictures of which nothing is known."""
        self._limits = limits
        self._source = stored
        self._prefixes = prefixes
        self.reach = reach.copy()  # of all pictures, with the changes stored
        self._joined = _Marks()  # pictures whose forests have been loaded
        self._surrounded = _Marks()  # pictures of which all stored matches have been loaded
        self._stored: dict[tuple[int, int, int], StoredRow] = {}
        self._held: list[Matches] = []
        self._count = 0  # of those held
        self._kept = 0  # of those held, how many the last thinning left

    def add(self, matches: Matches) -> None:
        """Take in new matches, between pictures that are stored or are about to be."""
        if not len(matches):
            return
        self.reach = grown(self.reach, int(matches.b.max()))
        self._hold(matches)
        fresh = self._joined.fresh(np.concatenate([matches.a, matches.b]))
        if len(fresh):
            loaded = self._load(self._source.around, fresh)
            self._joined.fresh(np.concatenate([loaded.a, loaded.b]))
        if self._limits.looks_per_picture:
            closer = [end[matches.structure <= self.reach[end]] for end in (matches.a, matches.b)]
            self._surround(np.concatenate(closer))
        if self._count > self._kept + _HELD:
            self._thin()

    def changes(self) -> Changes:
        """What is to be stored and removed; to be called once, after all matches."""
        self._thin()
        self._surround(self._pushed_out())
        held = spanning.merged(Matches.joined(self._held))
        joins = spanning.spanning(held, self._limits)
        rows = held.rows()
        near = self._near(held, rows)
        new: list[StoredRow] = []
        needless: list[tuple[int, int, int]] = []
        for row, is_near, is_joining in zip(rows, near.tolist(), joins.tolist(), strict=True):
            before = self._stored.pop(row[:3], None)
            now = (*row, int(is_near), int(is_joining))
            if is_near or is_joining:
                if now != before:
                    new.append(now)
            elif before is not None:
                needless.append(row[:3])
        needless += self._stored  # what thinning has ruled out
        return Changes(new, sorted(needless))

    def _near(self, held: Matches, rows: list[MatchRow]) -> Mask:
        """Which of the matches are among the nearest of one of their two pictures: (M,) bool."""
        of_a, of_b = nearest(held, self._limits.looks_per_picture, self._prefixes, self.reach)
        known_a, known_b = self._surrounded.among(held.a), self._surrounded.among(held.b)
        # For a picture that no new match comes near, nothing has changed.
        was_near = np.array([_was_near(self._stored.get(row[:3])) for row in rows], bool)
        return np.asarray((of_a & known_a) | (of_b & known_b) | (was_near & ~(known_a & known_b)))

    def _pushed_out(self) -> Ids:
        """Pictures whose nearest must be known, because a match may be stored only as one of theirs from now on."""
        stored = Matches.from_rows([row[:6] for row in self._stored.values() if row[6]])
        if not len(stored):
            return np.empty(0, np.int64)
        held = spanning.merged(Matches.joined(self._held))
        of_a, of_b = nearest(held, self._limits.looks_per_picture, self._prefixes, self.reach)
        known_a, known_b = self._surrounded.among(held.a), self._surrounded.among(held.b)
        settled = {row[:3] for row in held[(of_a & known_a) | (of_b & known_b)].rows()}
        open_ = np.array([row[:3] not in settled for row in stored.rows()], bool)
        known_a, known_b = self._surrounded.among(stored.a), self._surrounded.among(stored.b)
        return np.concatenate([stored.b[open_ & known_a & ~known_b], stored.a[open_ & known_b & ~known_a]])

    def _surround(self, ids: Ids) -> None:
        fresh = self._surrounded.fresh(ids)
        if len(fresh):
            self._load(self._source.beside, fresh)

    def _load(self, source: Callable[[list[int]], Sequence[StoredRow]], ids: Ids) -> Matches:
        rows = source(ids.tolist())
        self._stored.update((row[:3], row) for row in rows)
        loaded = Matches.from_rows([row[:6] for row in rows])
        self.reach = grown(self.reach, int(loaded.b.max(initial=0)))
        self._hold(loaded)
        return loaded

    def _hold(self, matches: Matches) -> None:
        self._held.append(matches)
        self._count += len(matches)

    def _thin(self) -> None:
        everything = Matches.joined(self._held)
        kept = spanning.spanning(everything, self._limits)
        if self._limits.looks_per_picture:
            close = np.flatnonzero(
                (everything.structure <= self.reach[everything.a]) | (everything.structure <= self.reach[everything.b])
            )
            close = close[spanning.once_each(everything[close])]
            of_a, of_b = nearest(everything[close], self._limits.looks_per_picture, self._prefixes, self.reach)
            kept[close[of_a | of_b]] = True
        self._held = [everything[kept]]
        self._count = self._kept = int(np.count_nonzero(kept))


class _Marks:
    """A set of pictures, by id."""

    def __init__(self) -> None:
        self._marked = np.zeros(0, bool)

    def fresh(self, ids: Ids) -> Ids:
        """Those of the pictures that were not marked yet, ascending; they are now."""
        most = int(ids.max(initial=-1))
        if most >= len(self._marked):
            self._marked = np.concatenate([self._marked, np.zeros(2 * most + 1 - len(self._marked), bool)])
        fresh = np.unique(ids[~self._marked[ids]])
        self._marked[fresh] = True
        return fresh

    def among(self, ids: Ids) -> NDArray[np.bool_]:
        """Which of these pictures are marked: (N,) bool."""
        inside = ids < len(self._marked)
        found = np.zeros(len(ids), bool)
        found[inside] = self._marked[ids[inside]]
        return found


def _was_near(row: StoredRow | None) -> bool:
    return row is not None and bool(row[6])
