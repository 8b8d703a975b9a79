"""Any number of realistic thumbnails, cut from photos: what comparing is measured with.

Two or three random crops of real photos, their colours shifted, merged along soft borders. Many share a source, so
they are more alike than those of a library. One in a hundred is an altered copy of the one before it: turned, with
noise.
"""

import os
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from itertools import repeat

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from dupwatchd.arrays import Thumbnails

SIDE_PX = 32
COPIES_EVERY = 100
_PART = 10_000
_NOISE = 1.5  # grey levels
_SOURCE_PX = 384


def thumbnails(photos: str, count: int, path: str) -> Thumbnails:
    """(count, 32, 32, 3) uint8, mapped from a file that is made if it is not there or too short.

    The same for the same photos; fewer are the first of more.
    """
    if os.path.exists(path):
        made = np.load(path, mmap_mode="r")
        if len(made) >= count:
            return np.asarray(made[:count])
    parts = -(-count // _PART)
    out = np.lib.format.open_memmap(path, "w+", np.uint8, (parts * _PART, SIDE_PX, SIDE_PX, 3))
    with ProcessPoolExecutor() as pool:
        for part, some in enumerate(pool.map(_part, repeat(photos), range(parts))):
            out[part * _PART : (part + 1) * _PART] = some
    out.flush()
    del out
    return np.asarray(np.load(path, mmap_mode="r")[:count])


def is_copy(number: int) -> bool:
    """Is the thumbnail of this number an altered copy of the one before it?"""
    return number % COPIES_EVERY == COPIES_EVERY - 1


def _part(photos: str, part: int) -> Thumbnails:
    return pictures(photos, np.random.default_rng([1, part]), _PART, SIDE_PX)


def pictures(photos: str, random: np.random.Generator, count: int, side_px: int) -> Thumbnails:
    """(count, S, S, 3) uint8 pictures, cut from photos."""
    masks = [_mask(random, side_px) for _ in range(100)]
    made = np.empty((count, side_px, side_px, 3), np.uint8)
    for place in range(count):
        if is_copy(place):
            noise = random.normal(0, _NOISE, made[0].shape)
            picture = np.rot90(made[place - 1], int(random.integers(4))) + noise
        else:
            picture = _crop(_sources(photos), random, side_px)
            for _ in range(random.integers(1, 3)):
                mask = masks[random.integers(len(masks))]
                picture = picture * mask + _crop(_sources(photos), random, side_px) * (1 - mask)
        made[place] = np.clip(np.rint(picture), 0, 255)
    return made


@lru_cache
def _sources(folder: str) -> list[Image.Image]:
    found = []
    for path, _, names in sorted(os.walk(folder)):
        for name in sorted(names):
            try:
                with Image.open(os.path.join(path, name)) as image:
                    image.draft("RGB", (_SOURCE_PX, _SOURCE_PX))
                    small = ImageOps.exif_transpose(image).convert("RGB")
                    small.thumbnail((_SOURCE_PX, _SOURCE_PX))
                    found.append(small)
            except (OSError, ValueError, SyntaxError):
                continue  # no photo
    if not found:
        raise SystemExit(f"no photos in {folder}")
    return found


def _crop(photos: list[Image.Image], random: np.random.Generator, side_px: int) -> NDArray[np.float64]:
    photo = photos[random.integers(len(photos))]
    width = min(photo.size) * random.uniform(0.35, 0.95)
    height = width * random.uniform(0.8, 1)
    left, top = random.uniform(0, photo.width - width), random.uniform(0, photo.height - height)
    box = (left, top, left + width, top + height)
    part = np.asarray(photo.resize((side_px, side_px), Image.Resampling.BOX, box), np.float64)
    if random.random() < 0.5:
        part = part[:, ::-1]
    return part * random.uniform(0.85, 1.15, 3) + random.uniform(-12, 12)


def _mask(random: np.random.Generator, side_px: int) -> NDArray[np.float64]:
    cells = int(random.integers(2, 6))
    field = Image.fromarray(random.random((cells, cells)).astype(np.float32))
    grown = np.asarray(field.resize((side_px, side_px), Image.Resampling.BICUBIC), np.float64)
    return np.clip((grown - np.median(grown)) * random.uniform(2, 10) + 0.5, 0, 1)[..., None]
