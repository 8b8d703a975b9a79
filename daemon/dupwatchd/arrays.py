"""The array types that the packages share; apart from `model`, so that a command without pixels loads no numpy."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Thumbnail = NDArray[np.uint8]  # (S, S, 3) RGB, upright
Thumbnails = NDArray[np.uint8]  # (N, S, S, 3) RGB, upright
MatchRow = tuple[int, int, int, float, float, float | None]  # a, b, mirrored, mse, structure, custom

_Rows = TypeVar("_Rows", bound=np.generic)


def with_room(array: NDArray[_Rows], needed: int) -> NDArray[_Rows]:
    """The array (N, …) with room for so many rows and some more, in which nothing is written yet; itself if it has it.

    It grows by a quarter at least, so that adding many rows one after the other copies each a few times only. Pages of
    the room take no memory before they are written to; those of `numpy.resize` do, twice over.
    """
    if needed <= len(array):
        return array
    room = np.empty((max(needed, 5 * len(array) // 4), *array.shape[1:]), array.dtype)
    room[: len(array)] = array
    return room


@dataclass(frozen=True, slots=True)
class Matches:
    """M pairs of pictures that resemble each other, by column; each value is the smallest over the four turns.

    ``mirrored`` says that one of the two was mirrored left to right before they were compared.
    """

    a: NDArray[np.int64]  # (M,) picture ids, a < b
    b: NDArray[np.int64]
    mirrored: NDArray[np.bool_]
    mse: NDArray[np.float64]  # 0 ... 65025
    structure: NDArray[np.float64]  # 0 ... 4
    custom: NDArray[np.float64]  # the user's measure; NaN where there is none or the value is above the limit

    @classmethod
    def none(cls) -> "Matches":
        """No matches."""
        return cls.from_rows([])

    @classmethod
    def from_rows(cls, rows: Sequence[MatchRow]) -> "Matches":
        """The matches in these rows; ``custom`` is None where there is no such value."""
        a, b, mirrored, mse, structure, custom = zip(*rows, strict=True) if rows else ((),) * 6
        return cls(
            np.array(a, np.int64),
            np.array(b, np.int64),
            np.array(mirrored, bool),
            np.array(mse, np.float64),
            np.array(structure, np.float64),
            np.array(custom, np.float64),  # None becomes NaN
        )

    @classmethod
    def between(
        cls,
        first: NDArray[np.int64],
        second: NDArray[np.int64],
        mse: NDArray[np.float64],
        structure: NDArray[np.float64],
        custom: NDArray[np.float64] | None = None,
        *,
        mirrored: bool,
    ) -> "Matches":
        """Of pairs of ids (M,) in any order with their values (M,); without ``custom`` that column is NaN."""
        return cls(
            np.minimum(first, second),
            np.maximum(first, second),
            np.full(len(first), mirrored),
            mse,
            structure,
            np.full(len(first), np.nan) if custom is None else custom,
        )

    @classmethod
    def joined(cls, parts: Iterable["Matches"]) -> "Matches":
        """All of the parts, one after the other."""
        every = [cls.none(), *parts]
        return cls(*(np.concatenate([getattr(part, name) for part in every]) for name in cls.__slots__))

    def __len__(self) -> int:
        return len(self.a)

    def __getitem__(self, rows: NDArray[np.bool_] | NDArray[np.intp] | slice) -> "Matches":
        """The matches in these rows."""
        return Matches(*(getattr(self, name)[rows] for name in self.__slots__))

    def rows(self) -> list[MatchRow]:
        """The matches as `from_rows` takes them, in plain Python numbers."""
        custom: Any = np.where(np.isnan(self.custom), None, self.custom)  # type: ignore[call-overload]
        columns = (self.a, self.b, self.mirrored.astype(np.int64), self.mse, self.structure, custom)
        return list(zip(*(column.tolist() for column in columns), strict=True))
