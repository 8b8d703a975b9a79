"""The keypoints of many pictures in a few arrays, as compiled code takes them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dupwatchd.arrays import with_room
from dupwatchd.compare.parts.meeting import taking_part
from dupwatchd.pixels.keypoints import COEFFICIENTS, MOST_KEYPOINTS, Keypoints, ManyKeypoints, read_many

Rows = NDArray[np.int64]
Alive = NDArray[np.bool_]  # (pictures,)
Found = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]  # candidates: rows of new pictures, of known ones, votes


class Picture(NamedTuple):
    """The keypoints of one picture that take part."""

    geometry: NDArray[np.int16]  # (K, 4): x, y, scale and turn
    coefficients: NDArray[np.int8]  # (K, 16)
    width: int  # of the proof, in pixels
    height: int


class Growing:
    """An array that grows at its end."""

    def __init__(self, row_shape: tuple[int, ...], dtype: Any) -> None:  # as numpy takes it
        self._room = np.empty((0, *row_shape), dtype)
        self._count = 0

    @property
    def rows(self) -> NDArray[Any]:
        """All that was appended."""
        return self._room[: self._count]

    def append(self, more: NDArray[Any]) -> None:
        """Further rows."""
        count = self._count + len(more)
        self._room = with_room(self._room, count)
        self._room[self._count : count] = more
        self._count = count


class Packed:
    """Pictures by row, from 0, and their keypoints one after the other.

    It takes 28 bytes a keypoint and 24 a picture, and up to a quarter more.
    """

    def __init__(self) -> None:
        self._ids = Growing((), np.int64)
        self._sizes = Growing((2,), np.int32)
        self._starts = Growing((), np.int64)
        self._geometry = Growing((4,), np.int16)
        self._coefficients = Growing((COEFFICIENTS,), np.int8)
        self._owners = Growing((), np.int32)
        self._starts.append(np.zeros(1, np.int64))

    @classmethod
    def of(cls, ids: Sequence[int], keypoints: Sequence[Keypoints]) -> "Packed":
        """Of some pictures; keypoints that do not take part, see `agreement`, are left out."""
        if not len(ids):
            return cls()
        columns = ("x", "y", "scale", "turn", "coefficients")
        sizes = np.array([(each.width, each.height) for each in keypoints], np.int32)
        counts = np.array([len(each) for each in keypoints])
        together = (np.concatenate([getattr(each, name) for each in keypoints]) for name in columns)
        return cls._of_many(ids, ManyKeypoints(sizes, counts, *together))

    @classmethod
    def stored(cls, ids: Sequence[int], stored: Sequence[bytes]) -> "Packed":
        """Likewise, from what `Keypoints.to_bytes` gave of each; raises ValueError if these are not such bytes."""
        return cls._of_many(ids, read_many(stored)) if len(ids) else cls()

    @classmethod
    def _of_many(cls, ids: Sequence[int], many: ManyKeypoints) -> "Packed":
        assert many.counts.max() <= MOST_KEYPOINTS, "compiled code does not look whether there is room"
        starts = np.concatenate([[0], np.cumsum(many.counts)])
        kept = taking_part(many.coefficients, starts)
        counts = np.diff(np.concatenate([[0], np.cumsum(kept)])[starts])
        geometry = np.empty((int(counts.sum()), 4), np.int16)
        for column, name in enumerate(("x", "y", "scale", "turn")):
            geometry[:, column] = getattr(many, name)[kept]
        made = cls()
        made._append(np.asarray(ids, np.int64), many.sizes, counts, geometry, many.coefficients[kept])
        return made

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def ids(self) -> NDArray[np.int64]:
        """(N,)."""
        return self._ids.rows

    @property
    def sizes(self) -> NDArray[np.int32]:
        """(N, 2) width and height of the proofs, in pixels."""
        return self._sizes.rows

    @property
    def geometry(self) -> NDArray[np.int16]:
        """(K, 4), see `Picture`."""
        return self._geometry.rows

    @property
    def starts(self) -> NDArray[np.int64]:
        """(N + 1,) the first keypoint of each picture, and the number of all keypoints."""
        return self._starts.rows

    @property
    def coefficients(self) -> NDArray[np.int8]:
        """(K, 16)."""
        return self._coefficients.rows

    @property
    def owners(self) -> NDArray[np.int32]:
        """(K,) the picture of each keypoint."""
        return self._owners.rows

    def picture(self, row: int) -> Picture:
        """One of the pictures."""
        keypoints = slice(self.starts[row], self.starts[row + 1])
        width, height = self.sizes[row].tolist()
        return Picture(self.geometry[keypoints], self.coefficients[keypoints], width, height)

    def arrays(self) -> tuple[NDArray[Any], ...]:
        """What `joining.join` takes."""
        return self.sizes, self.starts, self.geometry, self.owners

    def extend(self, more: "Packed") -> None:
        """Further pictures."""
        self._append(more.ids, more.sizes, np.diff(more.starts), more.geometry, more.coefficients)

    def chosen(self, rows: Rows) -> "Packed":
        """Some of the pictures, in this order."""
        made = Packed()
        starts, counts = self.starts[rows], np.diff(self.starts)[rows]
        new_starts = np.cumsum(counts) - counts
        keypoints = np.arange(counts.sum()) + np.repeat(starts - new_starts, counts)
        made._append(self.ids[rows], self.sizes[rows], counts, self.geometry[keypoints], self.coefficients[keypoints])
        return made

    def _append(
        self,
        ids: NDArray[np.int64],
        sizes: NDArray[np.int32],
        counts: NDArray[np.int64],
        geometry: NDArray[np.int16],
        coefficients: NDArray[np.int8],
    ) -> None:
        rows = np.arange(len(self), len(self) + len(ids), dtype=np.int32)
        self._owners.append(np.repeat(rows, counts))
        self._starts.append(self.starts[-1] + np.cumsum(counts))
        self._ids.append(ids)
        self._sizes.append(sizes)
        self._geometry.append(geometry)
        self._coefficients.append(coefficients)
