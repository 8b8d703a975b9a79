"""Measures a JPEG against a lossless picture once more, from all pixels of both.

A thumbnail of a JPEG is made from a reduced decoding, which leaves it a little apart from that of a PNG or TIFF with
the very pixels of the JPEG (an mse of 0.2 on average, 4 at most). For difPy such files are duplicates, at an mse of 0.
So pairs of this kind are decoded in full where they come that near; everything else keeps its value.

In: pairs with their values. Out: the same pairs with the values that whole pictures have.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from dupwatchd.arrays import Thumbnails
from dupwatchd.compat.file_index import OpenIndex
from dupwatchd.compat.pairs import Pairs, mse_of
from dupwatchd.db.answers import Copy
from dupwatchd.index.messages import Detail
from dupwatchd.index.thumbnail import average, to_bytes

NEAR_MSE = 5.0  # whatever reduced decoding does, pictures with the same pixels are not farther apart than that


class Rereading:
    """The pictures of a search, of which some are decoded in full."""

    def __init__(self, index: OpenIndex, copies: Iterable[Copy], *, rotate: bool) -> None:
        self._index, self._rotate = index, rotate
        self._copies = {copy.picture_id: copy for copy in copies}
        self._thumbnails: dict[int, Thumbnails | None] = {}  # see `_turned`
        size = max(self._copies, default=-1) + 1
        self._is_jpeg, self._is_lossless = np.zeros(size, bool), np.zeros(size, bool)
        for picture, copy in self._copies.items():
            self._is_jpeg[picture] = copy.format == "JPEG"
            self._is_lossless[picture] = copy.format != "JPEG" and copy.lossless

    def measured(self, pairs: Pairs) -> Pairs:
        """Return the pairs with the values that those of a JPEG and a lossless picture have by all of their pixels."""
        of_both_kinds = (self._is_jpeg[pairs.a] & self._is_lossless[pairs.b]) | (
            self._is_lossless[pairs.a] & self._is_jpeg[pairs.b]
        )
        mse = pairs.mse.copy()
        for row in np.flatnonzero(of_both_kinds & (mse > 0) & (mse <= NEAR_MSE)).tolist():
            one, other = int(pairs.a[row]), int(pairs.b[row])
            if self._sides(one) == self._sides(other):  # else they have not the same pixels
                mse[row] = self._mse(one, other, mse[row])
        return Pairs(pairs.a, pairs.b, mse)

    def _sides(self, picture: int) -> list[int]:
        copy = self._copies[picture]
        return sorted((copy.width, copy.height))

    def _mse(self, one: int, other: int, reduced: float) -> float:
        first, turned = self._turned(one), self._turned(other)
        if first is None or turned is None:
            return reduced
        return float(mse_of(np.broadcast_to(first[0], turned.shape), turned, rotate=False).min())

    def _turned(self, picture: int) -> Thumbnails | None:
        """Return thumbnails (4, S, S, 3) of a picture from all of its pixels in each turn, or as it is (1, S, S, 3).

        The pixels are turned, not the thumbnail: averaging rounds, and not the same along both sides. None: the file
        cannot be read any more.
        """
        if picture not in self._thumbnails:
            copy = self._copies[picture]
            looked = self._index.pool.detail(copy.path, max(copy.width, copy.height), copy.content_digest)
            self._thumbnails[picture] = self._made(looked.rgb) if isinstance(looked, Detail) else None
        return self._thumbnails[picture]

    def _made(self, rgb: NDArray[np.uint8]) -> Thumbnails:
        turned = [np.rot90(rgb, quarters) for quarters in range(4 if self._rotate else 1)]
        side = self._index.thumbnail_px
        return np.stack([to_bytes(average(one, one.shape[1], one.shape[0], side)) for one in turned])
