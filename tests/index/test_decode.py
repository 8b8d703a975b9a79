import io
import random
import zlib
from typing import Any

import numpy as np
import pytest
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from dupwatchd.index.decode import decode
from dupwatchd.index.jpeg_segments import bare_jpeg, read_head
from dupwatchd.index.limits import DecodeLimits
from dupwatchd.index.reasons import MAX_REASON_CHARS, DecodeError, NotAPicture
from dupwatchd.model import Decoded
from tests.conftest import Rgb, encoded, photo_like
from tests.index.files import PNG_SIGNATURE, apng_crasher, as_stored, luma, png_chunk, png_of_zeros

LIMITS = DecodeLimits()
PHOTO = photo_like(7, 200, 150)

# What each format may cost in fidelity: mse against the picture that went in.
FORMATS: list[tuple[str, dict[str, object], float]] = [
    ("JPEG", {}, 3), ("JPEG", {"progressive": True}, 3), ("PNG", {}, 0.3), ("WEBP", {"quality": 90}, 6),
    ("WEBP", {"lossless": True}, 0.3), ("TIFF", {}, 0.3), ("TIFF", {"compression": "tiff_lzw"}, 0.3),
    ("TIFF", {"compression": "jpeg", "quality": 92}, 6), ("BMP", {}, 0.3), ("GIF", {}, 60),
    ("AVIF", {"quality": 90}, 6),
    ("HEIF", {"quality": 90}, 6), ("JPEG2000", {}, 1), ("PPM", {}, 0.3), ("SGI", {}, 0.3), ("DDS", {}, 0.3),
    ("QOI", {}, 0.3), ("PCX", {}, 0.3),
]  # fmt: skip
FORMAT_IDS = [kind + "".join(f"-{value}" for value in options.values()) for kind, options, _ in FORMATS]
PADDED = {"GIF", "BMP", "QOI", "JPEG", "PNG"}  # they end in bytes that carry nothing


def decoded(data: bytes, suffix: bytes = b"", thumbnail_px: int = 32) -> Decoded:
    return decode(data, thumbnail_px, LIMITS, suffix)


def expected(picture: Rgb, side: int = 32) -> Rgb:
    return decoded(encoded(picture, "PNG"), b"", side).thumbnail


def mse(one: NDArray[Any], other: NDArray[Any]) -> float:
    return float(((one.astype(float) - other) ** 2).mean())


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def reason_for(data: bytes, suffix: bytes = b".jpg", limits: DecodeLimits = LIMITS) -> str:
    with pytest.raises(DecodeError) as caught:
        decode(data, 32, limits, suffix)
    reason = str(caught.value)
    assert reason
    assert "\n" not in reason
    assert len(reason) <= MAX_REASON_CHARS
    return reason


@pytest.mark.parametrize(("kind", "options", "tolerance"), FORMATS, ids=FORMAT_IDS)
def test_every_format_gives_the_picture_that_went_in(kind: str, options: dict[str, object], tolerance: float) -> None:
    result = decoded(encoded(PHOTO, kind, **options))
    assert mse(result.thumbnail, expected(PHOTO)) <= tolerance
    assert (result.width, result.height, result.format) == (200, 150, kind)
    assert result.thumbnail.shape == (32, 32, 3)
    assert result.thumbnail.dtype == np.uint8


@pytest.mark.parametrize(("kind", "options", "tolerance"), FORMATS, ids=FORMAT_IDS)
def test_a_file_cut_short_fails(kind: str, options: dict[str, object], tolerance: float) -> None:
    data = encoded(PHOTO, kind, **options)
    lengths = {len(data) * part // 1000 for part in (20, 100, 300, 500, 700, 900, 970, 990)}
    lengths |= {len(data) - 1, len(data) - 2} if kind not in PADDED else set()
    for length in lengths:
        assert "not an image" not in reason_for(data[:length]) or length < 30


def test_a_truncated_photo_is_called_truncated() -> None:
    for kind in ("JPEG", "PNG", "TIFF", "GIF", "BMP", "HEIF"):
        data = encoded(PHOTO, kind)
        assert reason_for(data[: len(data) * 9 // 10]) == f"truncated {kind}"


# ---- orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF", "MPO"])
def test_orientation_is_applied_in_every_container(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    tall = photo_like(3, 120, 200)
    stored = as_stored(tall, orientation)
    stored.info["exif"] = exif.tobytes()  # from here pillow_heif turns it into a box, as cameras do
    options: dict[str, object] = {"save_all": True, "append_images": [stored]} if kind == "MPO" else {}
    if kind != "HEIF":
        options["exif"] = exif
    result = decoded(saved(stored, kind, quality=90, **options))
    assert mse(result.thumbnail, expected(tall)) < 12
    assert (result.width, result.height) == (120, 200)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_an_orientation_that_does_not_exist_means_upright(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    result = decoded(saved(Image.fromarray(PHOTO), kind, exif=exif, quality=90))
    assert mse(result.thumbnail, expected(PHOTO)) < 6


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0", b"Exif\0\0MM", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0" + b"\xff" * 200, b"garbage"]
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_broken_exif_never_makes_a_picture_fail(kind: str, exif: bytes) -> None:
    result = decoded(saved(Image.fromarray(PHOTO), kind, exif=exif, quality=90))
    assert mse(result.thumbnail, expected(PHOTO)) < 6


# ---- as a person sees it


def half_transparent() -> tuple[Image.Image, Rgb]:
    """A picture whose right half is transparent over garish colours, and what a person sees of it."""
    seen = PHOTO.copy()
    seen[:, 100:] = 255
    garish = PHOTO.copy()
    garish[:, 100:] = (255, 0, 255)
    alpha = np.full((150, 200), 255, np.uint8)
    alpha[:, 100:] = 0
    return Image.fromarray(np.dstack([garish, alpha])), seen


@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("AVIF", {"quality": 95}), ("HEIF", {"quality": 95})],
)
def test_transparency_lies_over_white(kind: str, options: dict[str, object]) -> None:
    image, seen = half_transparent()
    thumbnail = decoded(saved(image, kind, **options)).thumbnail
    assert mse(thumbnail[:, :15], expected(seen)[:, :15]) < 12
    assert (thumbnail[:, 18:] > 247).all()


def test_half_transparency_mixes_with_white() -> None:
    image = Image.new("RGBA", (64, 64), (100, 0, 0, 51))
    assert (decoded(saved(image, "PNG")).thumbnail == (224, 204, 204)).all()


def test_colour_hidden_under_transparency_does_not_bleed() -> None:
    image = np.zeros((400, 400, 4), np.uint8)
    image[::2] = (10, 200, 30, 255)
    image[1::2] = (255, 0, 255, 0)  # every second row is hidden, and they meet in every thumbnail pixel
    thumbnail = decoded(saved(Image.fromarray(image), "PNG")).thumbnail.astype(int)
    assert np.abs(thumbnail - [132, 228, 142]).max() <= 2


def test_grey_with_alpha_lies_over_white() -> None:
    image = Image.merge("LA", (Image.new("L", (40, 40), 0), Image.new("L", (40, 40), 0)))
    assert (decoded(saved(image, "PNG")).thumbnail == 255).all()


def test_transparent_colours_of_a_palette_lie_over_white() -> None:
    image = Image.new("P", (40, 40))
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.paste(1, (20, 0, 40, 40))
    for kind in ("PNG", "GIF"):
        thumbnail = decoded(saved(image, kind, transparency=0)).thumbnail
        assert (thumbnail[:, :15] == 255).all()
        assert (thumbnail[:, 17:] == (10, 20, 30)).all()


def test_transparent_colour_key_lies_over_white() -> None:
    for image, key in ((Image.new("RGB", (8, 8), (1, 2, 3)), (1, 2, 3)), (Image.new("L", (8, 8), 7), 7)):
        assert (decoded(saved(image, "PNG", transparency=key)).thumbnail == 255).all()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF"])
def test_the_first_frame_of_an_animation_counts(kind: str) -> None:
    frames = [Image.fromarray(photo_like(seed, 96, 64)) for seed in (7, 8, 9)]
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)
    assert mse(decoded(data).thumbnail, expected(np.asarray(frames[0]))) < 80


@pytest.mark.parametrize("quality", [80, 95])
def test_cmyk_looks_like_its_rgb(quality: int) -> None:
    image = Image.fromarray(PHOTO)
    result = decoded(saved(image.convert("CMYK"), "JPEG", quality=quality))
    assert mse(result.thumbnail, expected(PHOTO)) < 12
    assert mse(decoded(saved(image.convert("CMYK"), "TIFF")).thumbnail, expected(PHOTO)) < 2


@pytest.mark.parametrize(("kind", "mode"), [("PNG", "I;16"), ("TIFF", "I;16"), ("TIFF", "I;16B"), ("PPM", "I")])
def test_16_bits_are_scaled_not_clipped(kind: str, mode: str) -> None:
    grey = luma(PHOTO)
    if mode == "I":
        image = Image.fromarray((grey * 257).astype(np.int32))
    else:
        image = Image.fromarray((grey * 257).astype(">u2" if mode == "I;16B" else "<u2"))
    shown = np.repeat(np.rint(grey).astype(np.uint8)[..., None], 3, axis=2)
    assert mse(decoded(saved(image, kind)).thumbnail, expected(shown)) < 1


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("brightest", [1023, 4095])
def test_10_or_12_bits_in_16_are_no_dark_picture(kind: str, brightest: int) -> None:
    grey = luma(PHOTO)
    image = Image.fromarray((grey * brightest / 255).astype("<u2"))
    shown = np.repeat(np.rint(grey).astype(np.uint8)[..., None], 3, axis=2)
    assert mse(decoded(saved(image, kind)).thumbnail, expected(shown)) < 1


def test_12_bits_of_16_where_zero_is_white_are_inverted() -> None:
    grey = luma(PHOTO)
    image = Image.fromarray((4095 - grey * 4095 / 255).astype("<u2"))
    shown = np.repeat(np.rint(grey).astype(np.uint8)[..., None], 3, axis=2)
    assert mse(decoded(saved(image, "TIFF", tiffinfo={262: 0})).thumbnail, expected(shown)) < 1


@pytest.mark.parametrize(
    ("factor", "offset"), [(1 / 255, 0.0), (1.0, 0.0), (1000.0, -90_000.0)], ids=["0..1", "0..255", "anything"]
)
def test_floats_are_scaled(factor: float, offset: float) -> None:
    grey = luma(PHOTO)
    grey = (grey - grey.min()) / (grey.max() - grey.min()) * 255
    image = Image.fromarray((grey * factor + offset).astype(np.float32))
    shown = np.repeat(np.rint(grey).astype(np.uint8)[..., None], 3, axis=2)
    assert mse(decoded(saved(image, "TIFF")).thumbnail, expected(shown)) < 1


def test_floats_that_are_no_numbers_do_not_spoil_the_rest() -> None:
    grey = np.full((64, 64), 0.5, np.float32)
    grey[0, 0], grey[0, 1], grey[0, 2] = np.nan, np.inf, -np.inf
    thumbnail = decoded(saved(Image.fromarray(grey), "TIFF")).thumbnail
    assert (thumbnail[8:] == 128).all()
    assert reason_for(saved(Image.fromarray(np.full((8, 8), np.nan, np.float32)), "TIFF")) == "no finite pixel values"


def test_32_bit_integers_are_scaled() -> None:
    ramp = np.linspace(0, 2_000_000_000, 64 * 64).reshape(64, 64).astype(np.int32)
    thumbnail = decoded(saved(Image.fromarray(ramp), "TIFF")).thumbnail
    assert thumbnail[0].max() <= 8
    assert thumbnail[-1].min() >= 247


@pytest.mark.parametrize("mode", ["1", "L", "P"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "GIF"])
def test_few_colours_look_like_what_they_stand_for(mode: str, kind: str) -> None:
    image = Image.fromarray(PHOTO).convert(mode)
    shown = np.asarray(image.convert("RGB"))
    assert mse(decoded(saved(image, kind)).thumbnail, expected(shown)) < 1


def test_lab_looks_like_its_rgb() -> None:
    image = Image.new("LAB", (16, 16), (255, 128, 128))
    assert (decoded(saved(image, "TIFF")).thumbnail > 240).all()


def test_grey_jpeg_is_grey() -> None:
    thumbnail = decoded(saved(Image.fromarray(PHOTO).convert("L"), "JPEG", quality=92)).thumbnail
    assert (thumbnail == thumbnail[..., :1]).all()
    assert mse(luma(thumbnail), luma(expected(PHOTO))) < 3


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 700), (700, 1), (7, 5), (16, 16)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_tiny_and_thin_pictures_have_thumbnails(kind: str, width: int, height: int) -> None:
    result = decoded(encoded(np.full((height, width, 3), 77, np.uint8), kind))
    assert (result.width, result.height) == (width, height)
    assert np.abs(result.thumbnail.astype(int) - 77).max() <= 1


# ---- damage


def damaged(data: bytes, seed: int, start: int, changes: int) -> bytes:
    dice = random.Random(seed)
    content = bytearray(data)
    for _ in range(changes):
        content[dice.randrange(start, len(content) - 2)] = dice.randrange(256)
    return bytes(content)


@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=["baseline", "progressive"])
def test_a_jpeg_whose_decoder_noticed_damage_never_passes_for_sound(options: dict[str, object]) -> None:
    intact = encoded(photo_like(2, 400, 300), "JPEG", **options)
    noticed = refused = 0
    for seed in range(60):
        data = damaged(intact, seed, intact.index(b"\xff\xda") + 14, 40)
        try:
            simplejpeg.decode_jpeg(data, "RGB")
        except ValueError:
            noticed += 1
            try:
                assert decoded(data).damage is not None
            except DecodeError:
                refused += 1
    assert noticed > 20
    assert refused > 5


def test_a_damaged_cmyk_jpeg_fails() -> None:
    intact = saved(Image.fromarray(photo_like(2, 400, 300)).convert("CMYK"), "JPEG", quality=90)
    start = intact.index(b"\xff\xda") + 16
    assert "JPEG" in reason_for(intact[: start + 2000] + b"\0" * 2000 + intact[start + 4000 :])


def stuffed(data: bytes, stray: bytes) -> bytes:
    """A JPEG with something in front of its quantisation tables."""
    at = data.index(b"\xff\xdb")
    return data[:at] + stray + data[at:]


STRAY = [b"\0\0\0\x17", b"\xff\xe2\0\x12ICC_PROFILE\0\x07\x03xy", b"\xff\xfe\0\x05abc", b"\xff\xe1\0\x08Exif\0\0"]


@pytest.mark.parametrize("stray", STRAY, ids=["bytes", "bad ICC", "comment", "empty EXIF"])
def test_what_surrounds_a_jpeg_may_be_broken(stray: bytes) -> None:
    intact = encoded(PHOTO)
    assert np.array_equal(decoded(stuffed(intact, stray)).thumbnail, decoded(intact).thumbnail)


def test_harmless_complaints_do_not_hide_serious_ones() -> None:
    intact = encoded(photo_like(2, 400, 300))
    cut = intact[: len(intact) // 2] + b"\xff\xd9"
    assert "JPEG" in reason_for(cut)
    assert "JPEG" in reason_for(stuffed(cut, b"\0\0\0\x17"))


@pytest.mark.parametrize("tail", [b"\0" * 5000, b"\0\0\0\x18ftypmp42" + b"video" * 1000, encoded(PHOTO[:50])])
def test_what_follows_a_jpeg_does_not_matter(tail: bytes) -> None:
    intact = encoded(PHOTO)
    assert np.array_equal(decoded(intact + tail).thumbnail, decoded(intact).thumbnail)


def test_a_jpeg_without_its_metadata_is_the_same_picture() -> None:
    exif = Image.Exif()
    exif[0x010E] = "a text"
    data = saved(Image.fromarray(PHOTO), "JPEG", exif=exif, comment=b"hello", icc_profile=b"x" * 500, progressive=True)
    head = read_head(data)
    assert head is not None
    bare = bare_jpeg(data, head)
    assert len(bare) < len(data) - 500
    assert np.array_equal(simplejpeg.decode_jpeg(bare, "RGB"), simplejpeg.decode_jpeg(data, "RGB"))
    assert read_head(b"\xff\xd8") is None


def test_a_png_with_a_wrong_checksum_fails() -> None:
    data = bytearray(encoded(PHOTO, "PNG"))
    at = data.index(b"IDAT") + 4000
    data[at] ^= 1
    assert reason_for(bytes(data)) == "damaged PNG (wrong checksum of IDAT)"


def test_a_png_with_a_long_text_is_a_picture() -> None:
    text = png_chunk(b"zTXt", b"history\0\0" + zlib.compress(b"x" * (8 << 20)))
    data = encoded(PHOTO, "PNG")
    assert np.array_equal(decoded(data[:33] + text + data[33:]).thumbnail, expected(PHOTO))


def test_the_apng_that_kills_opencv_is_harmless() -> None:
    data = apng_crasher()
    assert len(data) == 169
    assert (decoded(data).thumbnail == (0x10, 0x20, 0x30)).all()


# ---- what is refused


def test_too_many_pixels_are_refused_before_decoding() -> None:
    header = b"\x7f\xff\xff\xff\x7f\xff\xff\xff\x08\x06\0\0\0"
    bomb = PNG_SIGNATURE + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", b"") + png_chunk(b"IEND", b"")
    assert reason_for(bomb) == "2147483647 × 2147483647 pixels exceed max_pixels = 300 million"
    small = DecodeLimits(max_pixels=1_000_000)
    assert "exceed max_pixels = 1 million" in reason_for(png_of_zeros(1001, 1000), b".png", small)
    assert decode(png_of_zeros(1000, 1000), 32, small, b".png").width == 1000


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"<!DOCTYPE html><p>404", "not an image (HTML text)"),
        (b"\n <html>", "not an image (HTML text)"),
        (b"just some words\n", "not an image (text)"),
        (b"\0\0\0\x18ftypmp42" + b"\0" * 50, "not an image (MP4 video)"),
        (b"\0\0\0\x14ftypqt  " + b"\0" * 50, "not an image (QuickTime video)"),
        (b"%PDF-1.7", "not an image (PDF)"),
        (b"\0" * 4096, "not an image (nothing but zeros)"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image (PostScript)"),
        (b'<?xml version="1.0"?>\n<!-- by hand -->\n<svg width="9">', "not an image (SVG drawing)"),
        (b"\0\x05\x16\x07\0\x02\0\0Mac OS X        ", "not an image (what macOS notes of a file)"),
        (bytes(range(128, 256)), "not an image"),
        (b"x", "not an image (text)"),
    ],
)
def test_what_is_no_image_is_called_by_its_name(data: bytes, reason: str) -> None:
    with pytest.raises(NotAPicture) as caught:
        decoded(data, b".jpg")
    assert str(caught.value) == reason


def test_zero_bytes_are_not_a_picture_but_a_failure() -> None:
    assert reason_for(b"") == "zero bytes"


def test_a_damaged_picture_without_a_suffix_is_still_a_picture() -> None:
    with pytest.raises(DecodeError) as caught:
        decoded(encoded(PHOTO, "PNG")[:20])
    assert not isinstance(caught.value, NotAPicture)


def test_only_a_file_named_tga_is_tried_as_tga() -> None:
    data = encoded(PHOTO, "TGA")
    assert np.array_equal(decoded(data, b".tga").thumbnail, expected(PHOTO))
    with pytest.raises(NotAPicture):
        decoded(data, b".dat")


def test_jpeg_xl_says_what_it_needs() -> None:
    data = b"\0\0\0\x0cJXL \r\n\x87\n" + b"\0" * 40
    assert reason_for(data) in ("JPEG XL needs the extra dupwatch[jxl]", "damaged or unsupported JPEG XL")


def test_a_wrong_suffix_does_not_matter() -> None:
    for kind, suffix in (("PNG", b".jpg"), ("JPEG", b".png"), ("WEBP", b".jpeg"), ("JPEG", b""), ("JPEG", b".nef")):
        assert mse(decoded(encoded(PHOTO, kind, quality=90), suffix).thumbnail, expected(PHOTO)) < 6


@pytest.mark.parametrize(("kind", "options", "tolerance"), FORMATS, ids=FORMAT_IDS)
def test_damage_raises_nothing_but_decode_errors(kind: str, options: dict[str, object], tolerance: float) -> None:
    data = encoded(PHOTO[:40, :40], kind, **options)
    for seed in range(40):
        try:
            decode(damaged(data, seed, 4, 1 + seed), 16, DecodeLimits(max_pixels=1_000_000), b".jpg")
        except (DecodeError, MemoryError):
            pass
