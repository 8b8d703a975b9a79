"""What the three kinds of the user's own measures have in common.

| kind | the function takes | and gives | the value of two pictures |
|---|---|---|---|
| features | thumbnails (N, S, S, 3) uint8 | (N, D) numbers | squared Euclidean distance |
| hash | thumbnails (N, S, S, 3) uint8 | N whole numbers, str or bytes | 0 if equal, else infinite |
| distance | two stacks (M, S, S, 3) uint8 | (M,) numbers from 0 | that number |

The function need not know of turns. The value of a and b is the smallest, over the four turns, of f(a) with
f(turned(b)), where a is the one whose thumbnail's bytes compare smaller; so it does not matter which came first.
Hashes are equal if any turn of one has the hash of any turn of the other. With ``mirrored``, b is mirrored first.
"""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dupwatchd.arrays import Matches, Thumbnails
from dupwatchd.compare.custom.function import UserFunction
from dupwatchd.compare.measures import exact
from dupwatchd.compare.measures.matches import Pictures, Places, tiles
from dupwatchd.compare.measures.turns import TURNS, turned

_BYTES_AT_ONCE = 3 << 20  # of thumbnails in a call: 1,024 at 32 px
_TILE_PICTURES = 128  # × 128 pictures whose pairs are measured together: each picture is prepared once for all of them

Values = NDArray[np.float64]
Best = tuple[Values, NDArray[np.int64]]  # values (M,), and turns (M,) in degrees


class PairMeasure(ABC):
    """Features or distances: a value for each pair and turn, of which the smallest counts.

    Every method raises UsageError if the function fails or gives what it must not.
    """

    def __init__(self, function: UserFunction) -> None:
        self._function = function

    def best(self, first: Thumbnails, second: Thumbnails, rows: Places, columns: Places, *, mirrored: bool) -> Best:
        """The values of the M pairs (first[rows[i]], second[columns[i]]), and the turns that give them.

        With ``mirrored`` the second of each is first mirrored left to right. The turn is by how many degrees the
        second must then be turned clockwise to show the first.
        """
        values, quarters = np.empty(len(rows)), np.empty(len(rows), np.int64)
        for tile in tiles(rows, columns, _TILE_PICTURES, _TILE_PICTURES):
            (of_first, i), (of_second, j) = (np.unique(one[tile], return_inverse=True) for one in (rows, columns))
            stacks = first[of_first], second[of_second]
            lying = [self.prepared(stack) for stack in stacks]
            turns = [[self.prepared(turned(stack, turn, mirrored)) for turn in range(TURNS)] for stack in stacks]
            for part in parts(len(tile), lying[0]):
                swapped = _second_is_smaller(stacks[0][i[part]], stacks[1][j[part]])
                smaller = _where(swapped, lying[1][j[part]], lying[0][i[part]])
                of_turns = np.stack(
                    [
                        self.compared(smaller, _where(swapped, one[i[part]], other[j[part]]))
                        for one, other in zip(*turns, strict=True)
                    ]
                )  # (4, M)
                values[tile[part]] = of_turns.min(axis=0)
                # a = turned_k(b) is b = turned_-k(a), but a = turned_k(mirror(b)) is b = turned_k(mirror(a))
                sign = 1 if mirrored else np.where(swapped, -1, 1)
                quarters[tile[part]] = sign * of_turns.argmin(axis=0)
        return values, quarters % TURNS * 90

    def matches(
        self, keep: float, first: Pictures, second: Pictures, rows: Places, columns: Places, *, mirrored: bool
    ) -> Matches:
        """The matches among the pairs (first[rows[i]], second[columns[i]]): those whose value is at most ``keep``."""
        values, _ = self.best(first.thumbnails, second.thumbnails, rows, columns, mirrored=mirrored)
        near = np.flatnonzero(values <= keep)
        (of_first, i), (of_second, j) = (np.unique(one[near], return_inverse=True) for one in (rows, columns))
        first, second = first.chosen(of_first), second.chosen(of_second)
        own = exact.measure_chosen(first.thumbnails, second.thumbnails, i, j, mirrored=mirrored)
        return Matches.between(first.ids[i], second.ids[j], own.mse, own.structure, values[near], mirrored=mirrored)

    def prepared(self, thumbnails: Thumbnails) -> NDArray[Any]:
        """What of each of the thumbnails (N, S, S, 3) is compared: (N, ...)."""
        return thumbnails

    @abstractmethod
    def compared(self, first: NDArray[Any], second: NDArray[Any]) -> Values:
        """The values (M,) of M pairs of what was `prepared`, without turning anything."""


def parts(count: int, rows: NDArray[Any]) -> list[slice]:
    """Divides so many of such rows into as many at a time as are worked on at once."""
    size = max(1, _BYTES_AT_ONCE // max(1, rows[:1].nbytes))
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def _second_is_smaller(first: Thumbnails, second: Thumbnails) -> NDArray[np.bool_]:
    a, b = first.reshape(len(first), -1), second.reshape(len(second), -1)
    rows, place = np.arange(len(a)), (a != b).argmax(axis=1)
    return np.asarray(b[rows, place] < a[rows, place])


def _where(chosen: NDArray[np.bool_], one: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
    return np.where(chosen.reshape(-1, *[1] * (one.ndim - 1)), one, other)
