"""Reduces any number of new matches to the few that are stored, in bounded memory; `spanning` says which."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from dupwatchd.arrays import Matches, MatchRow
from dupwatchd.compare.forest import spanning
from dupwatchd.model import Limits

_HELD = 1 << 20  # matches, 42 bytes each; `spanning` takes some 150 bytes more for each while it runs

# ids of pictures -> all stored matches of everything that is joined with them
StoredAround = Callable[[list[int]], Matches]


class Gathering:
    """Takes new matches in parts and holds at most a million of them beyond those that are to be stored."""

    def __init__(self, limits: Limits, stored_around: StoredAround) -> None:
        self._limits = limits
        self._stored_around = stored_around
        self._reached = np.zeros(0, bool)  # by picture id: its stored matches have been loaded
        self._stored: list[Matches] = []
        self._held: list[Matches] = []
        self._count = 0  # of those held
        self._kept = 0  # of those held, how many the last thinning left

    def add(self, matches: Matches) -> None:
        """Take in new matches, between pictures that are stored or are about to be."""
        if not len(matches):
            return
        self._hold(matches)
        ids = np.unique(np.concatenate([matches.a, matches.b]))
        fresh = ids[~self._mark(ids)]
        if len(fresh):
            stored = self._stored_around(fresh.tolist())
            self._stored.append(stored)
            self._hold(stored)
            self._mark(np.concatenate([stored.a, stored.b]))
        if self._count > self._kept + _HELD:
            self._thin()

    def changes(self) -> tuple[Matches, Matches]:
        """The matches to be added or stored with other values, and the stored matches to be removed."""
        self._thin()
        [kept] = self._held
        stored = Matches.joined(self._stored)
        old, new = set(stored.rows()), set(kept.rows())
        return (
            Matches.from_rows(sorted(new - old, key=_key)),
            Matches.from_rows(sorted(old - new, key=_key)),
        )

    def _mark(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Note pictures as reached; returns which of them were reached before: (N,) bool."""
        most = int(ids.max(initial=-1))
        if most >= len(self._reached):
            self._reached = np.concatenate([self._reached, np.zeros(2 * most + 1 - len(self._reached), bool)])
        before = self._reached[ids]
        self._reached[ids] = True
        return before

    def _hold(self, matches: Matches) -> None:
        self._held.append(matches)
        self._count += len(matches)

    def _thin(self) -> None:
        everything = Matches.joined(self._held)
        kept = everything[spanning.spanning(everything, self._limits)]
        self._held = [kept]
        self._count = self._kept = len(kept)


def _key(row: MatchRow) -> tuple[int, int, int]:
    return row[:3]
