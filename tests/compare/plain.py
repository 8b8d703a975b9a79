"""Both measures in the plainest way: one pair, one orientation at a time, whole numbers until the last line."""

import functools
import itertools
import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from dupwatchd.arrays import Matches, Thumbnails
from dupwatchd.model import Limits

Picture = NDArray[np.uint8]
Found = set[tuple[int, int, bool, float, float]]  # a, b, mirrored, mse, structure


def brute(thumbnails: Thumbnails, limits: Limits) -> Found:
    """All matches of pictures with each other."""
    measured = [_measured(thumbnails.tobytes(), thumbnails.shape, way) for way in (False, True)[: 1 + limits.mirrored]]
    return {
        (a, b, mirrored, of_mse, round(of_structure, 12))
        for a, b, mirrored, of_mse, of_structure in itertools.chain(*measured)
        if of_mse <= limits.keep_mse or of_structure <= limits.keep_structure
    }


@functools.lru_cache(maxsize=8)  # tests ask for the same pictures with other limits, or to be searched in another way
def _measured(thumbnails: bytes, shape: tuple[int, ...], mirrored: bool) -> list[tuple[int, int, bool, float, float]]:
    """Every pair with both its values."""
    pictures: Thumbnails = np.frombuffer(thumbnails, np.uint8).reshape(shape)
    upright = [_cells(picture) for picture in pictures]
    turned = [[_cells(turned) for turned in orientations(picture, mirrored)] for picture in pictures]
    floor = _floor(shape[1])
    return [
        (
            a,
            b,
            mirrored,
            mse(pictures[a], pictures[b], mirrored),
            min(_structure_of_cells(upright[a], cells, floor) for cells in turned[b]),
        )
        for a, b in itertools.combinations(range(len(pictures)), 2)
    ]


def as_set(parts: Iterable[Matches]) -> Found:
    """Matches by our own measures as `brute` gives them."""
    rows = Matches.joined(parts).rows()
    found: Found = {(a, b, bool(mirrored), mse, round(structure, 12)) for a, b, mirrored, mse, structure, _ in rows}
    assert len(found) == len(rows), "a match was given twice"
    assert all(custom is None for *_, custom in rows)
    return found


def orientations(picture: Picture, mirrored: bool) -> list[Picture]:
    """Turned clockwise by 0, 90, 180, 270 degrees, after mirroring it left to right if asked."""
    upright = picture[:, ::-1] if mirrored else picture
    return [np.rot90(upright, -turn) for turn in range(4)]


def mse(a: Picture, b: Picture, mirrored: bool) -> float:
    return min(unturned_mse(a, turned) for turned in orientations(b, mirrored))


def unturned_mse(a: Picture, b: Picture) -> float:
    difference = a.astype(np.int64) - b.astype(np.int64)
    return int((difference * difference).sum()) / a.size


def structure(a: Picture, b: Picture, mirrored: bool) -> float:
    return min(unturned_structure(a, turned) for turned in orientations(b, mirrored))


def unturned_structure(a: Picture, b: Picture) -> float:
    return _structure_of_cells(_cells(a), _cells(b), _floor(a.shape[0]))


def _floor(side: int) -> int:
    return int((256 * 4 * 256 * (side // 16) ** 2) ** 2)


def _structure_of_cells(x: NDArray[np.int64], y: NDArray[np.int64], floor: int) -> float:
    vx = 256 * int((x * x).sum()) - int(x.sum()) ** 2
    vy = 256 * int((y * y).sum()) - int(y.sum()) ** 2
    covariance = 256 * int((x * y).sum()) - int(x.sum()) * int(y.sum())
    sx, sy = max(vx, floor), max(vy, floor)
    return float(max(0.0, vx / sx + vy / sy - 2 * covariance / math.sqrt(float(sx) * float(sy))))


def _cells(picture: Picture) -> NDArray[np.int64]:
    """Luma summed over the pixels of 16 x 16 cells; whole numbers."""
    luma = picture.astype(np.int64) @ np.array([77, 150, 29])
    span = picture.shape[0] // 16
    return np.asarray(luma.reshape(16, span, 16, span).sum(axis=(1, 3)))
