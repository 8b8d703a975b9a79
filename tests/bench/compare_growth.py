"""How the cost of comparing grows with the library: all pairs of N distinct pictures, four turns, both measures.

    python -m tests.bench.compare_growth FOLDER_OF_PHOTOS

The thumbnails are cut from the photos: two or three random crops, their colours shifted, merged along soft borders;
many share a source, so they are more alike than those of a real library. They arrive in batches of 1,024, as in a
scan; each batch is compared with all before it and with itself.
"""

import argparse
import os
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the program does

import numpy as np
from PIL import Image, ImageOps
from tests.bench.report import Report

from dupwatchd.arrays import Thumbnails
from dupwatchd.compare import descriptors
from dupwatchd.compare.matcher import Matcher
from dupwatchd.model import Limits, PictureId

SIDE_PX = 32
BATCH = 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", help="a folder of photos to cut the thumbnails from")
    parser.add_argument("--sizes", type=int, nargs="+", default=[5_000, 10_000, 20_000, 50_000])
    parser.add_argument("--keep-structure", type=float, default=0.04)
    parser.add_argument("--keep-mse", type=float, default=50.0)
    parser.add_argument("--out", help="write the table to this file, too")
    arguments = parser.parse_args()
    limits = Limits(arguments.keep_mse, arguments.keep_structure, mirrored=False)
    thumbnails = synthetic_thumbnails(sources(arguments.photos), max(arguments.sizes))
    rows = []
    before: tuple[int, float] | None = None
    for size in sorted(arguments.sizes):
        describing, comparing, matches = compare_all(thumbnails[:size], limits)
        exponent = np.log(comparing / before[1]) / np.log(size / before[0]) if before else float("nan")
        rows.append(
            [f"{size:,}", f"{describing:.2f}", f"{comparing:.2f}", f"{comparing / size * 1e6:.0f}",
             f"{exponent:.2f}" if before else "", str(matches)]
        )  # fmt: skip
        before = (size, comparing)
    headings = ["pictures", "describing, CPU s", "comparing, CPU s", "µs a picture", "exponent", "matches"]
    said = Report("How the cost of comparing grows")
    said.say(
        f"All pairs, four turns, structure ≤ {limits.keep_structure:g} or mse ≤ {limits.keep_mse:g}; one core. "
        "The exponent is that of the growth from the row above."
    )
    said.table(headings, rows)
    said.write(arguments.out)


def compare_all(thumbnails: Thumbnails, limits: Limits) -> tuple[float, float, int]:
    """CPU seconds for descriptors and for comparing, and the matches found."""
    matcher = Matcher(limits, lambda ids: thumbnails[ids])
    describing = comparing = 0.0
    matches = 0
    for start in range(0, len(thumbnails), BATCH):
        batch = thumbnails[start : start + BATCH]
        ids = [PictureId(start + place) for place in range(len(batch))]
        began = time.process_time()
        described = descriptors.describe(batch)
        between = time.process_time()
        matches += len(matcher.match(ids, batch, described))
        matcher.add(ids, described)
        describing += between - began
        comparing += time.process_time() - between
    return describing, comparing, matches


def sources(folder: str) -> list[Image.Image]:
    found = []
    for path, _, names in os.walk(folder):
        for name in sorted(names):
            try:
                with Image.open(os.path.join(path, name)) as image:
                    image.draft("RGB", (384, 384))
                    small = ImageOps.exif_transpose(image).convert("RGB")
                    small.thumbnail((384, 384))
                    found.append(small)
            except (OSError, ValueError, SyntaxError):
                continue  # no photo
    return found


def synthetic_thumbnails(photos: list[Image.Image], count: int) -> Thumbnails:
    """(count, 32, 32, 3) uint8; the same for the same photos."""
    random = np.random.default_rng(1)
    masks = [_mask(random) for _ in range(200)]
    made = np.empty((count, SIDE_PX, SIDE_PX, 3), np.uint8)
    for place in range(count):
        picture = _crop(photos, random)
        for _ in range(random.integers(1, 3)):
            mask = masks[random.integers(len(masks))]
            picture = picture * mask + _crop(photos, random) * (1 - mask)
        made[place] = np.clip(picture, 0, 255)
    return made


def _crop(
    photos: list[Image.Image], random: np.random.Generator
) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    photo = photos[random.integers(len(photos))]
    width = min(photo.size) * random.uniform(0.35, 0.95)
    height = width * random.uniform(0.8, 1)
    left, top = random.uniform(0, photo.width - width), random.uniform(0, photo.height - height)
    box = (left, top, left + width, top + height)
    part = np.asarray(photo.resize((SIDE_PX, SIDE_PX), Image.Resampling.BOX, box), np.float64)
    return part * random.uniform(0.85, 1.15, 3) + random.uniform(-12, 12)


def _mask(random: np.random.Generator) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    cells = int(random.integers(2, 6))
    field = Image.fromarray(random.random((cells, cells)).astype(np.float32))
    grown = np.asarray(field.resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC), np.float64)
    return np.clip((grown - np.median(grown)) * random.uniform(2, 10) + 0.5, 0, 1)[..., None]


if __name__ == "__main__":
    main()
