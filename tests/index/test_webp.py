"""WebP is decoded by OpenCV; Pillow's pixels are what it is measured against."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dupwatchd.index import webp
from dupwatchd.index.decode import decode
from dupwatchd.index.limits import DecodeLimits
from dupwatchd.index.pillow_formats import load_still, open_image
from dupwatchd.index.reasons import DecodeError
from dupwatchd.index.thumbnail import Pixels, to_bytes, upright
from tests.conftest import encoded, photo_like

LIMITS = DecodeLimits()
ORIENTED = Image.Exif()
ORIENTED[0x0112] = 1
EXIF = ORIENTED.tobytes()


def picture(seed: int, width: int, height: int, alpha: str) -> Image.Image:
    """A photo with noise; ``alpha`` is what its alpha channel is like."""
    random = np.random.default_rng(seed)
    noise = random.normal(0, 9, (height, width, 3))
    pixels = np.clip(photo_like(seed, width, height) + noise, 0, 255).astype(np.uint8)
    if alpha == "none":
        return Image.fromarray(pixels)
    if alpha == "some":
        values = random.integers(0, 256, (height, width), np.uint8)
    else:
        values = np.full((height, width), 255 if alpha == "opaque" else 0, np.uint8)
    return Image.fromarray(np.dstack([pixels, values]))


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def by_pillow(data: bytes, orientation: int, thumbnail_px: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return upright(to_bytes(load_still(open_image(data, b"")).average(thumbnail_px)), orientation)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 99),
    st.integers(1, 700),
    st.integers(1, 700),
    st.sampled_from(["none", "some", "opaque", "clear"]),
    st.booleans(),
    st.integers(1, 8),
    st.sampled_from([8, 32]),
)
def test_equal_pixels_have_equal_thumbnails_whatever_the_container(
    seed: int, width: int, height: int, alpha: str, lossless: bool, orientation: int, thumbnail_px: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, object] = {"lossless": lossless, "exact": True, "method": 0, "quality": 70}
    data = saved(picture(seed, width, height, alpha), "WEBP", exif=exif, **options)
    result = decode(data, thumbnail_px, LIMITS, b".webp")
    assert np.array_equal(result.thumbnail, by_pillow(data, orientation, thumbnail_px))
    with Image.open(io.BytesIO(data)) as image:
        png = saved(image, "PNG", exif=exif, compress_level=1)
    assert np.array_equal(result.thumbnail, decode(png, thumbnail_px, LIMITS, b".png").thumbnail)
    assert (result.width, result.height) == ((height, width) if orientation > 4 else (width, height))


def test_opencv_decodes_stills_and_pillow_decodes_animations(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Image.Image] = []

    def counting(image: Image.Image) -> Pixels:
        asked.append(image)
        return load_still(image)

    monkeypatch.setattr(webp, "load_still", counting)
    frames = [picture(seed, 90, 60, "none") for seed in range(3)]
    decode(saved(frames[0], "WEBP"), 32, LIMITS, b".webp")
    assert not asked
    animation = saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    thumbnail = decode(animation, 32, LIMITS, b".webp").thumbnail
    assert len(asked) == 1
    assert np.array_equal(thumbnail, decode(saved(frames[0], "PNG"), 32, LIMITS, b".png").thumbnail)


def test_alpha_that_the_container_does_not_announce_counts_as_with_pillow() -> None:
    data = bytearray(saved(picture(1, 60, 40, "some"), "WEBP", lossless=True, exif=EXIF))
    assert data[12:16] == b"VP8X"
    data[20] &= ~0x10
    assert np.array_equal(decode(bytes(data), 32, LIMITS, b".webp").thumbnail, by_pillow(bytes(data), 1, 32))


def accepted(data: bytes) -> bool:
    try:
        decode(data, 32, LIMITS, b".webp")
    except DecodeError:
        return False
    return True


def accepted_by_pillow(data: bytes) -> bool:
    try:
        load_still(open_image(data, b".webp"))
    except Exception:  # noqa: BLE001 - a damaged file makes it raise anything
        return False
    return True


WEBPS = [
    saved(picture(1, 90, 70, alpha), "WEBP", lossless=lossless, exif=EXIF if extended else b"")
    for alpha in ("none", "some")
    for lossless in (False, True)
    for extended in (False, True)
]


@pytest.mark.parametrize("data", WEBPS, ids=range(len(WEBPS)))
def test_a_damaged_webp_is_refused_wherever_pillow_refuses_it(data: bytes) -> None:
    random = np.random.default_rng(0)
    mutants = [data[:length] for length in range(12, len(data), max(1, len(data) // 150))]
    for _ in range(150):
        content = bytearray(data)
        for at in random.integers(4, len(data), random.integers(1, 12)):
            content[at] = random.integers(0, 256)
        mutants.append(bytes(content))
    refused = 0
    for mutant in mutants:
        if not accepted_by_pillow(mutant):
            refused += 1
            assert not accepted(mutant)
    assert refused > 100


def test_a_webp_whose_length_is_made_to_fit_a_cut_is_refused() -> None:
    data = encoded(photo_like(1, 400, 300), "WEBP", quality=90)
    for length in range(100, len(data) - 2, len(data) // 50):
        cut = data[: length - length % 2]
        cut = b"RIFF" + struct.pack("<I", len(cut) - 8) + cut[8:16] + struct.pack("<I", len(cut) - 20) + cut[20:]
        assert accepted(cut) <= accepted_by_pillow(cut)
