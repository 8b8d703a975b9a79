"""Both measures in the plainest way: one pair, one orientation at a time, whole numbers until the last line."""

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
    found: Found = set()
    for a, b in itertools.combinations(range(len(thumbnails)), 2):
        for mirrored in (False, True) if limits.mirrored else (False,):
            of_pair = mse(thumbnails[a], thumbnails[b], mirrored), structure(thumbnails[a], thumbnails[b], mirrored)
            if of_pair[0] <= limits.keep_mse or of_pair[1] <= limits.keep_structure:
                found.add((a, b, mirrored, of_pair[0], round(of_pair[1], 12)))
    return found


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
    x, y = _cells(a), _cells(b)
    floor = (256 * 4 * 256 * (a.shape[0] // 16) ** 2) ** 2
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
