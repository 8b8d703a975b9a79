"""Makes 12-megapixel JPEG files (4000 by 3000, quality 90) from smaller photos: all distinct, the same for one seed.

    python -m tests.bench.make_12mp SRC OUT N [--turned M]

Every other file is one photo enlarged, the rest are assembled from 48 photos each, so that both smooth and detailed
pictures are there; a little noise gives them the entropy of a camera's. The last M of the N files are earlier ones
turned by 90 degrees and encoded again; OUT/truth.csv says which.
"""

import argparse
import csv
import io
import os
import sys

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from tests.bench import truth
from tests.bench.arguments import make_parser

WIDTH_PX, HEIGHT_PX = 4000, 3000
QUALITY = 90
COLUMNS, ROWS = 8, 6
NOISE_GREY_LEVELS = 2.0


def main() -> None:
    arguments = _arguments()
    random = np.random.default_rng(arguments.seed)
    sources = [path for path in truth.files_below(arguments.source) if path.lower().endswith((".jpg", ".jpeg", ".png"))]
    if len(sources) < COLUMNS * ROWS:
        sys.exit(f"{arguments.source} holds {len(sources)} photos; {COLUMNS * ROWS} are needed")
    originals = arguments.count - arguments.turned
    order = random.permutation(len(sources))
    os.makedirs(arguments.out)
    rows: list[tuple[str, str, str, str]] = []
    for number in range(originals):
        enlarged = number % 2 == 0 and number // 2 < len(sources)
        picture = _fitted(sources[order[number // 2]], WIDTH_PX, HEIGHT_PX) if enlarged else _assembled(sources, random)
        name = f"{number:05d}.jpg"
        pixels = _noisy(np.asarray(picture), random)
        _save(pixels, os.path.join(arguments.out, name))
        rows.append((name, f"g{number:05d}", "original", "original"))
        if number >= originals - arguments.turned:
            name = f"{number + arguments.turned:05d}.jpg"
            _save(np.ascontiguousarray(np.rot90(pixels, -1)), os.path.join(arguments.out, name))
            rows.append((name, f"g{number:05d}", "duplicate", "rot90"))
    with open(os.path.join(arguments.out, "truth.csv"), "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("file", "group", "role", "kind"), *sorted(rows)])


def _fitted(path: str, width: int, height: int) -> Image.Image:
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
        return ImageOps.fit(upright, (width, height), Image.Resampling.BICUBIC)


def _assembled(sources: list[str], random: np.random.Generator) -> Image.Image:
    whole = Image.new("RGB", (WIDTH_PX, HEIGHT_PX))
    width, height = WIDTH_PX // COLUMNS, HEIGHT_PX // ROWS
    for place, source in enumerate(random.choice(len(sources), COLUMNS * ROWS, replace=False)):
        whole.paste(_fitted(sources[source], width, height), (place % COLUMNS * width, place // COLUMNS * height))
    return whole


def _noisy(pixels: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    noise = random.standard_normal(pixels.shape[:2], np.float32)[..., None] * NOISE_GREY_LEVELS
    return np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)


def _save(pixels: NDArray[np.uint8], path: str) -> None:
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "JPEG", quality=QUALITY)
    with open(path, "wb") as file:
        file.write(encoded.getbuffer())


def _arguments() -> argparse.Namespace:
    parser = make_parser(__doc__, report=False)
    parser.add_argument("source", metavar="SRC", help="folder with photos")
    parser.add_argument("out", metavar="OUT", help="folder to make")
    parser.add_argument("count", metavar="N", type=int, help="how many files")
    parser.add_argument("--turned", type=int, default=0, metavar="M", help="how many of them are turned copies")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
