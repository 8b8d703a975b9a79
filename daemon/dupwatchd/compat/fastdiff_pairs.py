"""Which pairs of files belong into the table of differences of fast-diff-py, and how far they differ.

In: files in the order of their keys, with what is known of each, and pairs of their pictures. Out: pairs of files with
their difference, some at a time. With two partitions a pair is of a file in each, else of any two files; a file never
makes a pair with itself. A difference is the sum over the three channels of the mean squared difference.

Of two files that share a hash nothing else is asked, if hashes count; of files whose sides do not agree, neither.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from traceback import format_exc
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dupwatchd.arrays import Thumbnail, Thumbnails
from dupwatchd.compat.pairs import Groups, Ints, Pairs

CHANNELS = 3  # a difference of fast-diff-py is so many times an mse
COMPARED, EQUAL_HASHES, UNLIKE_SIDES = 1, 2, 3  # what `success` says of a pair
_FILES_AT_ONCE = 256
_PAIRS_AT_ONCE = 1 << 20

Bools = NDArray[np.bool_]
Difference = Callable[[Thumbnail, Thumbnail, bool], float]  # two thumbnails, whether they are to be turned


class Found(NamedTuple):
    """M pairs: rows of files, difference, and what `success` says of all of them."""

    a: Ints
    b: Ints
    dif: NDArray[np.float64]
    success: int


class Error(NamedTuple):
    """A pair that a user's function could not compare."""

    a: int
    b: int
    trace: str


@dataclass(frozen=True)
class Files:
    """N files in the order of their keys; those of the smaller partition come first."""

    paths: Sequence[bytes]  # without links, to know a file that is in both partitions
    part_b: Bools  # (N,)
    picture: Ints  # (N,)
    thumbnail: Ints  # (N,) equal numbers: equal thumbnails
    height: Ints  # (N,) px
    width: Ints
    hashes: Ints  # (N, 4) keys of hashes by quarter turns; (N, 0): there are none

    @cached_property
    def has_two_partitions(self) -> bool:
        """Whether only pairs across partitions count."""
        return bool(self.part_b.any())

    @property
    def pair_count(self) -> int:
        """How many pairs there are."""
        in_b = int(self.part_b.sum())
        rest = len(self.paths) - in_b
        return rest * in_b if self.has_two_partitions else rest * (rest - 1) // 2

    def are_pairs(self, a: Ints, b: Ints) -> Bools:
        """Which pairs of rows count."""
        others = self._path_number[a] != self._path_number[b]
        return np.asarray(others & (self.part_b[a] != self.part_b[b])) if self.has_two_partitions else others

    @cached_property
    def _path_number(self) -> Ints:
        numbers: dict[bytes, int] = {}
        return np.array([numbers.setdefault(path, len(numbers)) for path in self.paths], np.int64)

    def share_hash(self, a: Ints, b: Ints) -> Bools:
        """Which pairs of rows have a hash in common."""
        equal = self.hashes[a][:, :, None] == self.hashes[b][:, None, :]
        return np.asarray((equal & (self.hashes[a] >= 0)[:, :, None]).any(axis=(1, 2)))


@dataclass(frozen=True)
class Rules:
    """What a pair has to fulfil beside its difference."""

    match_aspect_by: float | None = None  # 0: equal sides, in either order; else the largest factor between the ratios
    skip_matching_hash: bool = False

    def sides_agree(self, files: Files, a: Ints, b: Ints) -> Bools:
        """Which pairs of rows may be compared, by the sides of the pictures."""
        if self.match_aspect_by is None:
            return np.ones(len(a), bool)
        long, short = np.maximum(files.height, files.width), np.minimum(files.height, files.width)
        if self.match_aspect_by == 0:
            return np.asarray((long[a] == long[b]) & (short[a] == short[b]))
        ratio_a, ratio_b = long[a] / short[a], long[b] / short[b]
        by = self.match_aspect_by
        return np.asarray((ratio_a <= ratio_b * by) & (ratio_b <= ratio_a * by))


def near_pairs(files: Files, rules: Rules, near: Iterable[Pairs], side_px: int) -> Iterator[Found]:
    """Yield the pairs within a threshold; ``near`` are all pairs of pictures within it, each once."""
    of_picture = Groups(files.picture)
    for a, b in _within_each(of_picture):
        yield from _if_compared(files, rules, a, b, np.zeros(len(a)))
    for some in near:
        sums = np.rint(some.mse * (CHANNELS * side_px * side_px))  # whole numbers, but for the rounding of a quotient
        for part, a, b in _between(of_picture, some.a, some.b):
            yield from _if_compared(files, rules, a, b, sums[part] / (side_px * side_px))


def pairs_one_by_one(
    files: Files,
    rules: Rules,
    read: Callable[[Sequence[int]], Thumbnails],
    difference: Difference,
    *,
    rotate: bool,
    threads: int,
    first_row: int = 0,
) -> Iterator[tuple[Found, list[Error]]]:
    """Yield the pairs of each file with those after it, compared by a user's function, which runs in threads.

    The function takes two BGR thumbnails (S, S, 3) and whether they are to be turned.
    """
    pictures, places = np.unique(files.picture, return_inverse=True)
    thumbnails = read(pictures.tolist())[..., ::-1]  # in OpenCV's order of channels: for that such functions are made

    def compare(row: int) -> tuple[Found, list[Error]]:
        a, b = _compared_rows(files, rules, *_all_from(row, len(files.paths)))
        values, errors = np.full(len(a), np.nan), list[Error]()
        for place, other in enumerate(b.tolist()):
            try:
                first, second = (np.ascontiguousarray(thumbnails[places[one]]) for one in (row, other))
                values[place] = _checked(difference(first, second, rotate))
            except Exception:  # noqa: BLE001 - whatever a user's function raises is recorded
                errors.append(Error(row, other, format_exc()))
        done = ~np.isnan(values)
        return Found(a[done], b[done], values[done], COMPARED), errors

    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(compare, range(first_row, len(files.paths)))


def _checked(value: float) -> float:
    if not value >= 0:  # nor is nan
        raise ValueError(f"a difference is a number from 0 on, not {value!r}")
    return value


def pairs_with_equal_hashes(files: Files) -> Iterator[Found]:
    """Yield all pairs that share a hash; those of equal thumbnails count as compared."""
    members: dict[int, dict[int, None]] = {}
    for row, some in enumerate(files.hashes.tolist()):
        for number in some:
            if number >= 0:
                members.setdefault(number, {})[row] = None
    seen: set[tuple[int, int]] = set()
    for rows in dict.fromkeys(tuple(some) for some in members.values() if len(some) > 1):
        chosen = [pair for pair in combinations(rows, 2) if pair not in seen]
        seen.update(chosen)
        both = np.array(chosen, np.int64).reshape(-1, 2)
        both = both[files.are_pairs(both[:, 0], both[:, 1])]
        a, b = both[:, 0], both[:, 1]
        equal = files.thumbnail[a] == files.thumbnail[b]
        yield Found(a[equal], b[equal], np.zeros(int(equal.sum())), COMPARED)
        yield Found(a[~equal], b[~equal], np.zeros(int((~equal).sum())), EQUAL_HASHES)


def pairs_of_unlike_sides(files: Files, rules: Rules) -> Iterator[Found]:
    """Yield all pairs that are not compared because of the sides of the pictures."""
    for row in range(len(files.paths)):
        a, b = _all_from(row, len(files.paths))
        keep = files.are_pairs(a, b) & ~rules.sides_agree(files, a, b)
        if rules.skip_matching_hash:
            keep &= ~files.share_hash(a, b)
        yield Found(a[keep], b[keep], np.full(int(keep.sum()), -1.0), UNLIKE_SIDES)


def _all_from(row: int, count: int) -> tuple[Ints, Ints]:
    others = np.arange(row + 1, count)
    return np.full(len(others), row), others


def _compared_rows(files: Files, rules: Rules, a: Ints, b: Ints) -> tuple[Ints, Ints]:
    keep = _is_compared(files, rules, a, b)
    return a[keep], b[keep]


def _is_compared(files: Files, rules: Rules, a: Ints, b: Ints) -> Bools:
    keep = files.are_pairs(a, b) & rules.sides_agree(files, a, b)
    return keep & ~files.share_hash(a, b) if rules.skip_matching_hash else keep


def _if_compared(files: Files, rules: Rules, one: Ints, other: Ints, dif: NDArray[np.float64]) -> Iterator[Found]:
    a, b = np.minimum(one, other), np.maximum(one, other)
    keep = _is_compared(files, rules, a, b)
    yield Found(a[keep], b[keep], dif[keep], COMPARED)


def _within_each(files: Groups) -> Iterator[tuple[Ints, Ints]]:
    """Yield the pairs of files of one picture, a picture at a time."""
    for picture in np.flatnonzero(files.count > 1).tolist():
        rows = files.order[files.start[picture] :][: files.count[picture]]
        for place in range(0, len(rows) - 1, _FILES_AT_ONCE):
            first = np.arange(place, min(place + _FILES_AT_ONCE, len(rows) - 1))
            a, b = np.nonzero(np.arange(len(rows)) > first[:, None])
            yield rows[a + place], rows[b]


def _between(files: Groups, a: Ints, b: Ints) -> Iterator[tuple[Ints, Ints, Ints]]:
    """Yield which of some pairs of pictures, and a file of each, for all pairs of their files, so many at once."""
    parts = max(1, int(files.times(a, b).sum()) // _PAIRS_AT_ONCE)
    for part in np.array_split(np.arange(len(a)), parts):
        row, one, other = files.between(a[part], b[part])
        yield part[row], one, other
