"""Finds what difPy calls its result: files and their pictures go in, groups of a first file and its matches come out.

A file belongs to the first file before it that it matches. So of all matches only the first one of each file is kept,
however many there are. Pictures, not files, are compared: files of one picture match each other at an mse of 0.

All arrays of a search have the length of its units. A unit stands for the files of one picture that may be compared
with each other: those of one folder, if folders are searched apart, and of the same sides, if these must agree.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dupwatchd.compat.pairs import Groups, Ints, Pairs


@dataclass(frozen=True, slots=True)
class Searched:
    """A file that takes part in a search."""

    shown: str
    path: bytes
    folder: str
    picture: int
    sides: tuple[int, int]  # px, the shorter first
    size_bytes: int
    was_jpeg: bool = False  # saved without loss, from the pixels of a JPEG

    @property
    def resolution(self) -> int:
        """Its pixels."""
        return self.sides[0] * self.sides[1]


@dataclass
class Group:
    """A file, and the later ones whose first match it is."""

    first: Searched
    matches: list[tuple[Searched, float]]  # file, mse

    @property
    def files(self) -> list[Searched]:
        """All of them."""
        return [self.first, *(file for file, _ in self.matches)]

    def lower_quality(self) -> list[Searched]:
        """All but the one with most pixels; of several one that was no JPEG before, with most bytes, first by name."""
        best = min(self.files, key=lambda file: (-file.resolution, file.was_jpeg, -file.size_bytes, file.path))
        return [file for file in self.files if file is not best]


def groups_of(files: Sequence[Searched], pairs: Iterable[Pairs], *, same_dim: bool) -> list[Group]:
    """Put files into groups, in their order; ``pairs`` are all pairs of their pictures within the threshold."""
    units = _Units(files, same_dim=same_dim)
    for some in pairs:
        units.take(some)
    groups: dict[int, Group] = {}
    for place, file in enumerate(files):
        first, mse = units.first_match(place)
        if first < place:
            groups.setdefault(first, Group(files[first], [])).matches.append((file, mse))
    return [groups[first] for first in sorted(groups)]


class _Units:
    """What may be compared, and what was found of it."""

    def __init__(self, files: Sequence[Searched], *, same_dim: bool) -> None:
        classes: dict[tuple[str, tuple[int, int]], int] = {}
        numbers: dict[tuple[int, int], int] = {}  # picture, class → unit
        self._unit_of_file: list[int] = []
        first: list[int] = []
        for place, file in enumerate(files):
            key = file.folder, file.sides if same_dim else (0, 0)
            unit = numbers.setdefault((file.picture, classes.setdefault(key, len(classes))), len(numbers))
            if unit == len(first):
                first.append(place)
            self._unit_of_file.append(unit)
        self._first_file: Ints = np.array(first, np.int64)  # (U,) its place
        self._class: Ints = np.array([one for _, one in numbers], np.int64)  # (U,)
        self._of_picture = Groups(np.array([picture for picture, _ in numbers], np.int64))  # units
        self._best: Ints = self._first_file.copy()  # (U,) the first file that matches
        self._best_mse = np.zeros(len(first))

    def take(self, pairs: Pairs) -> None:
        """Note for each unit the first file of the units that it may be compared with and matches."""
        one, other, mse = self._of_pictures(pairs)
        for units, others in ((one, other), (other, one)):
            firsts = self._first_file[others]
            in_order = np.lexsort((firsts, units))
            chosen = in_order[np.flatnonzero(np.diff(units[in_order], prepend=-1))]  # the first one of each unit
            better = chosen[firsts[chosen] < self._best[units[chosen]]]
            self._best[units[better]] = firsts[better]
            self._best_mse[units[better]] = mse[better]

    def _of_pictures(self, pairs: Pairs) -> tuple[Ints, Ints, NDArray[np.float64]]:
        """Pairs of units of one class, from pairs of pictures."""
        row, one, other = self._of_picture.between(pairs.a, pairs.b)
        alike = self._class[one] == self._class[other]
        return one[alike], other[alike], pairs.mse[row[alike]]

    def first_match(self, place: int) -> tuple[int, float]:
        """Return the first file that matches a file, maybe itself, and the mse of both."""
        unit = self._unit_of_file[place]
        return int(self._best[unit]), float(self._best_mse[unit])
