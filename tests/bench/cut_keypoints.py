"""Keypoints of any number of pictures, cut from real photos.

Each picture is two squares that lie over one another, half of each. Both are cut out of photos at any angle and any
size down to that of a proof, stretched by up to a third and perhaps mirrored. A spot of a photo has other keypoints
below another spot: a few hundred photos give a library as large as is wanted, and no descriptor is made up.
"""

import math
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dupwatchd.pixels.keypoints import _FREQUENCIES, PLACES_A_PX, TURNS, Keypoints, keypoints_of, read_many
from dupwatchd.pixels.proof import Proof

_SIDE_PX = 192  # of a proof
_LARGEST_PX = 4096  # side of a photo that is cut from
_MOST_STRETCHED = 4 / 3
_AT_ONCE = 500
_ODD_ACROSS = np.array([-1 if across % 2 else 1 for _, across in _FREQUENCIES], np.int8)
_ODD_DOWN = np.array([-1 if down % 2 else 1 for down, _ in _FREQUENCIES], np.int8)
_NO_CHROMA = np.full((2, _SIDE_PX // 3, _SIDE_PX // 3), 128, np.uint8)


def kept_keypoints(photos: str, count: int, path: str) -> list[Keypoints]:
    """Of so many pictures, from a file that is made if it is not there or too short; fewer are the first of more."""
    if os.path.exists(path):
        with np.load(path) as kept:
            if len(kept["stops"]) >= count:
                return _unpacked(kept["stops"][:count], kept["data"])
    numbers = [range(start, min(start + _AT_ONCE, count)) for start in range(0, count, _AT_ONCE)]
    with ProcessPoolExecutor() as pool:
        made = [data for part in pool.map(partial(_cut_part, _photos_in(photos)), numbers) for data in part]
    stops, data = np.cumsum([len(each) for each in made]), np.frombuffer(b"".join(made), np.uint8)
    np.savez(path, stops=stops, data=data)
    return _unpacked(stops, data)


def grown(keypoints: list[Keypoints], times: int) -> list[Keypoints]:
    """Those of other pictures of the same kind: 0 of the same, 1 of their mirror images, 2 and 3 of the negatives."""
    if times % 2:
        keypoints = [_mirrored(each) for each in keypoints]
    if times >= 2:
        keypoints = [_negative(each) for each in keypoints]
    return keypoints


def _mirrored(keypoints: Keypoints) -> Keypoints:
    """A canonical patch that is mirrored and turned upside down is canonical again: rows in reverse order."""
    x = (PLACES_A_PX * (keypoints.width - 1) - keypoints.x).astype(np.int16)
    turn = np.uint8(TURNS // 2) - keypoints.turn
    return replace(keypoints, x=x, turn=turn, coefficients=keypoints.coefficients * _ODD_DOWN)


def _negative(keypoints: Keypoints) -> Keypoints:
    """A patch whose brighter half has become the darker one is turned upside down."""
    half_turned = -keypoints.coefficients * _ODD_ACROSS * _ODD_DOWN
    turn = keypoints.turn + np.uint8(TURNS // 2)
    return replace(keypoints, turn=turn, coefficients=half_turned)


def _unpacked(stops: NDArray[np.int64], data: NDArray[np.uint8]) -> list[Keypoints]:
    every, ends = data.tobytes(), [0, *stops.tolist()]
    made: list[Keypoints] = []
    for first in range(0, len(stops), _AT_ONCE):
        many = read_many([every[start:stop] for start, stop in pairwise(ends[first : first + _AT_ONCE + 1])])
        columns = (many.x, many.y, many.scale, many.turn, many.coefficients)
        parts = (np.split(each, np.cumsum(many.counts)[:-1]) for each in columns)
        made += [Keypoints(*size, *each) for size, *each in zip(many.sizes.tolist(), *parts, strict=True)]
    return made


def _photos_in(folder: str) -> list[str]:
    paths = [os.path.join(at, name) for at, _, names in os.walk(folder) for name in names]
    return sorted(path for path in paths if path.lower().endswith((".jpg", ".jpeg", ".png")))


def _cut_part(photos: list[str], numbers: range) -> list[bytes]:
    """All pictures of a part come from a few photos, each of which is decoded once."""
    random = np.random.default_rng(numbers.start)
    made: list[bytes] = []
    while len(made) < len(numbers):
        shrunk = [_opened(photos[int(random.integers(len(photos)))]) for _ in range(2)]
        if min(min(each[0].size) for each in shrunk) < _SIDE_PX:
            continue
        cut = min(25, len(numbers) - len(made))
        made += [keypoints_of(_laid_over(shrunk, random)).to_bytes() for _ in range(cut)]
    return made


def _opened(path: str) -> list[Image.Image]:
    """A photo in grey, and the same at half the size, a quarter, ..."""
    with Image.open(path) as image:
        image.draft("L", (_LARGEST_PX, _LARGEST_PX))
        grey = image.convert("L")
    grey.thumbnail((_LARGEST_PX, _LARGEST_PX))
    shrunk = [grey]
    while min(shrunk[-1].size) >= 2 * _SIDE_PX:
        shrunk.append(shrunk[-1].reduce(2))
    return shrunk


def _laid_over(shrunk: list[list[Image.Image]], random: np.random.Generator) -> Proof:
    """As contrasty as one of them."""
    one, other = (_cut(each, random).astype(np.float32) for each in shrunk)
    both = (one - one.mean() + other - other.mean()) / 2**0.5 + (one.mean() + other.mean()) / 2
    return Proof(np.clip(np.rint(both), 0, 255).astype(np.uint8) & np.uint8(254), _NO_CHROMA, 0)


def _cut(shrunk: list[Image.Image], random: np.random.Generator) -> NDArray[np.uint8]:
    width, height = shrunk[0].size
    largest = min(width, height)
    side = math.exp(random.uniform(math.log(_SIDE_PX), math.log(largest)))
    angle = random.uniform(0, 2 * math.pi)
    stretch = _MOST_STRETCHED ** random.uniform(-0.5, 0.5)
    # the axes of the picture, in pixels of the photo for each of its own
    across = np.array([math.cos(angle), math.sin(angle)]) * side * stretch / _SIDE_PX
    down = np.array([-math.sin(angle), math.cos(angle)]) * side / stretch / _SIDE_PX
    if random.random() < 0.5:
        across = -across
    # what would reach over the edge is moved inwards, or shrunk if it does not fit at all
    reach = (np.abs(across) + np.abs(down)) * _SIDE_PX / 2
    fit = min(1.0, float(((np.array([width, height]) - 2) / (2 * reach)).min()))
    across, down, reach = across * fit, down * fit, reach * fit
    middle = random.uniform(reach, np.array([width, height]) - reach)
    level = max(0, min(len(shrunk) - 1, int(math.log2(max(1.0, side * fit / _SIDE_PX)))))
    scale = 0.5**level
    corner = middle - (across + down) * _SIDE_PX / 2
    coefficients = np.array([across[0], down[0], corner[0], across[1], down[1], corner[1]]) * scale
    cut = shrunk[level].transform(
        (_SIDE_PX, _SIDE_PX), Image.Transform.AFFINE, coefficients.tolist(), Image.Resampling.BILINEAR
    )
    return np.asarray(cut, np.uint8)
