"""Two files of one picture go in, what one of them lacks against the other comes out, in words.

Pixels, bits, quality, and what a file holds beside its picture; not what metadata tell (see `plan_doubts.lacking`).
"""

import math
from functools import cache

from dupwatchd.db.answers import Copy

PIXEL_STEP = 0.03  # pictures whose numbers of pixels differ by less count as equally large
WORSE_QUALITY = 5  # steps of 100 by which the quality of one JPEG is clearly below that of another
# Qualities of JPEGs below which the eye loses more each time. Above the first, a photo that was saved again may have a
# higher number than its original.
_LEAST_LOSS = (85, 70, 50)

LOWER_QUALITY = "lower quality"


def shows_less(copy: Copy, other: Copy) -> str | None:
    """What a file lacks against another one that shows the same picture, as far as one can see it; None: nothing.

    Where a file lies and when it was changed does not matter here.
    """
    lacks = (
        ("damaged", copy.damaged > other.damaged),
        ("fewer frames or pages", copy.frames < other.frames),
        ("without colour", copy.has_colour < other.has_colour),
        ("smaller", _steps(copy) < _steps(other) - 1),
        ("fewer bits a colour", copy.bits < other.bits and other.format != "RAW"),
        ("without transparency", copy.transparent < other.transparent),
        ("without what it holds beside the picture", bool(held_only_by(other, copy))),
        ("not the RAW file", (copy.format != "RAW") > (other.format != "RAW")),
        (LOWER_QUALITY, _is_of_lower_quality(copy, other)),
    )
    return next((words for words, is_so in lacks if is_so), None)


def _is_of_lower_quality(copy: Copy, other: Copy) -> bool:
    """Was it saved with more loss? Of pictures without loss that were a JPEG before, nothing is known."""
    if copy.quality and other.quality:
        return copy.quality < other.quality - WORSE_QUALITY
    return other.lossless and not other.jpeg_grid and (copy.jpeg_grid or not copy.lossless)


def held_only_by(copy: Copy, other: Copy) -> list[str]:
    """What a file holds beside its picture that another one does not, by name: a film, a map, layers."""
    if not copy.holds:
        return []
    known = other.holds.split("\n")
    return list(dict.fromkeys(_held_name(line) for line in copy.holds.split("\n") if line and line not in known))


def names_held(copy: Copy) -> list[str]:
    """What a file holds beside its picture, by name."""
    return list(dict.fromkeys(_held_name(line) for line in copy.holds.split("\n") if line))


def _held_name(line: str) -> str:
    return line.partition(" (")[0]  # behind it stands what tells it from others of its name


def loss_class(copy: Copy) -> int:
    """How much the eye loses in a JPEG: 0 hardly anything, as in all other formats, to 3."""
    return sum(copy.quality < least for least in _LEAST_LOSS) if copy.quality else 0


def _steps(copy: Copy) -> int:
    return pixel_steps(copy.width * copy.height)


@cache
def pixel_steps(pixels: int) -> int:
    """How large a picture is, in steps of `PIXEL_STEP`; -1 if it has none."""
    return round(math.log(pixels) / PIXEL_STEP) if pixels > 0 else -1
