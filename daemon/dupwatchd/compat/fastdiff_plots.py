"""Draws two pictures side by side with their difference, as a PNG file: fast-diff-py's diff plots."""

import os
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from dupwatch.terminal import printable
from dupwatchd.index.pool import NoSuchFrame, NotDecoded, NotRead, PreviewKind, PreviewWish, WorkerPool

_PICTURE_PX = 480  # longest side of each picture
_GAP_PX = 16
_TEXT_PX = 20
_LINE_PX = 28


def draw(pool: WorkerPool, paths: Sequence[bytes], dif: float, file: str) -> None:
    """Write a plot of two files to a PNG file; raises OSError. A picture that cannot be read is an empty square."""
    pictures = [_picture(pool, path) for path in paths]
    width = sum(one.width for one in pictures) + 3 * _GAP_PX
    height = max(one.height for one in pictures) + 2 * _LINE_PX + 2 * _GAP_PX
    plot = Image.new("RGB", (width, height), "white")
    pen, font = ImageDraw.Draw(plot), ImageFont.load_default(_TEXT_PX)
    pen.text((width / 2, _GAP_PX), f"MSE: {dif:.2f}", "black", font, anchor="mt")
    left = _GAP_PX
    for path, picture in zip(paths, pictures, strict=True):
        name = printable(os.fsdecode(os.path.basename(path)))
        while len(name) > 1 and pen.textlength(name, font) > picture.width:
            name = name[:-2] + "…"
        pen.text((left + picture.width / 2, _GAP_PX + _LINE_PX), name, "black", font, anchor="mt")
        plot.paste(picture, (left, _GAP_PX + 2 * _LINE_PX))
        left += picture.width + _GAP_PX
    plot.save(file, "PNG")


def _picture(pool: WorkerPool, path: bytes) -> Image.Image:
    seen = pool.preview(path, PreviewWish(_PICTURE_PX, kind=PreviewKind.RGB))
    if isinstance(seen, NoSuchFrame | NotRead | NotDecoded):
        return Image.new("RGB", (_PICTURE_PX, _PICTURE_PX), "lightgrey")
    return Image.frombytes("RGB", (seen.width, seen.height), seen.data)
