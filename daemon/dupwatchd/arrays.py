"""The array types everybody shares; apart from `model`, so that a command that touches no pixel loads no numpy."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Thumbnail = NDArray[np.uint8]  # (S, S, 3) RGB, upright
Thumbnails = NDArray[np.uint8]  # (N, S, S, 3) RGB, upright


@dataclass(frozen=True, slots=True)
class Matches:
    """M pairs of pictures that resemble each other, by column; each value is the smallest over the four turns.

    Where ``mirrored``, it is the mirror image of the one that resembles the other.
    """

    a: NDArray[np.int64]  # (M,) picture ids, a < b
    b: NDArray[np.int64]
    mirrored: NDArray[np.bool_]
    mse: NDArray[np.float64]  # 0 ... 65025
    structure: NDArray[np.float64]  # 0 ... 4
    custom: NDArray[np.float64]  # the user's own measure; NaN where there is none, or it is beyond what is kept

    @classmethod
    def none(cls) -> "Matches":
        """No matches."""
        return cls.from_rows([])

    @classmethod
    def from_rows(cls, rows: Sequence[tuple[Any, ...]]) -> "Matches":
        """From (a, b, mirrored, mse, structure, custom) each, custom None where there is none."""
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
    def joined(cls, parts: Iterable["Matches"]) -> "Matches":
        """All of the parts, one after the other."""
        some = [cls.none(), *parts]
        return cls(*(np.concatenate([getattr(part, name) for part in some]) for name in cls.__slots__))

    def __len__(self) -> int:
        return len(self.a)

    def __getitem__(self, which: Any) -> "Matches":
        """Some of them, chosen as rows of an array are."""
        return Matches(*(getattr(self, name)[which] for name in self.__slots__))

    def rows(self) -> list[tuple[int, int, int, float, float, float | None]]:
        """As `from_rows` takes them, in plain Python numbers."""
        custom: Any = np.where(np.isnan(self.custom), None, self.custom)  # type: ignore[call-overload]
        columns = (self.a, self.b, self.mirrored.astype(np.int64), self.mse, self.structure, custom)
        return list(zip(*(column.tolist() for column in columns), strict=True))
