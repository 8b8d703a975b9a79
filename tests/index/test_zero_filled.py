import io

import numpy as np
import pytest
from PIL import Image

from dupwatchd.index.decode import decode
from dupwatchd.index.limits import DecodeLimits
from dupwatchd.index.reasons import DecodeError

KINDS = ("AVIF", "HEIF")


def encoded(kind: str, picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind)
    return stream.getvalue()


def photo() -> Image.Image:
    coarse = np.random.default_rng(3).integers(0, 256, (24, 32, 3), np.uint8)
    return Image.fromarray(coarse).resize((320, 240), Image.Resampling.BICUBIC)


def damage(data: bytes) -> str | None:
    return decode(data, 32, DecodeLimits(), b"").damage


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.9, 0.95])
def test_a_file_whose_end_is_zeros_is_refused_or_told_as_damaged(kind: str, share: float) -> None:
    whole = encoded(kind, photo())
    assert damage(whole) is None
    kept = int(len(whole) * share)
    try:
        told = damage(whole[:kept] + bytes(len(whole) - kept))
    except DecodeError:
        return
    assert told == "the end of its data is filled with zeros"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("grey", [0, 128, 255])
@pytest.mark.parametrize("has_detail", [False, True])
def test_a_sound_picture_that_ends_in_one_colour_is_not_told_as_damaged(kind: str, grey: int, has_detail: bool) -> None:
    picture = Image.new("RGB", (1000, 750), (grey, grey, grey))
    if has_detail:
        picture.paste(photo(), (0, 0))
    assert damage(encoded(kind, picture)) is None


@pytest.mark.parametrize("kind", KINDS)
def test_zeros_behind_the_picture_are_no_damage(kind: str) -> None:
    behind = (5008).to_bytes(4, "big") + b"free" + bytes(5000)
    assert damage(encoded(kind, photo()) + behind) is None
