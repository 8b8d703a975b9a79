"""Two files have one digest of all pixels if they show the same in each of them, and only then."""

import io
import itertools
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blake3 import blake3
from PIL import Image, ImageCms

from dupwatchd.index import all_pixels, messages
from dupwatchd.index.all_pixels import digest_of_all
from dupwatchd.index.decode import decode
from dupwatchd.index.messages import BadReply
from dupwatchd.index.pool import AllPixels, DecodeLimits, NotDecoded, NotRead, WorkerPool
from dupwatchd.index.reasons import DecodeError
from dupwatchd.model import KIND_BYTES, PIXELS_BYTES, ReadStatus
from tests.conftest import Rgb, encoded, photo_like
from tests.index.files import PNG_SIGNATURE, dng, png_chunk, views
from tests.index.profiles import display_p3

PHOTO = photo_like(7, 161, 120)
GREY = np.repeat(PHOTO[..., :1], 3, axis=2)


def digest(data: bytes, suffix: bytes = b"") -> bytes:
    return digest_of_all(data, DecodeLimits(), suffix)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def exif(orientation: int = 1) -> bytes:
    tags = Image.Exif()
    tags[0x0112], tags[0x010F] = orientation, "Lumen"
    return tags.tobytes()


def shaded(opacity: int = 0) -> Image.Image:
    """The photo with a corner that is not opaque."""
    alpha = np.full(PHOTO.shape[:2], 255, np.uint8)
    alpha[:40, :40] = opacity
    return Image.fromarray(np.dstack([PHOTO, alpha]))


def frames(kind: str, durations: int | list[int] = 80, count: int = 3, **options: Any) -> bytes:
    few_colours = [Image.fromarray(photo_like(seed, 64, 48) // 64 * 64) for seed in range(count)]
    return saved(few_colours[0], kind, save_all=True, append_images=few_colours[1:], duration=durations, **options)


def pages(compression: str, last: Rgb = PHOTO) -> bytes:
    images = [Image.fromarray(one) for one in (PHOTO, GREY, last)]
    return saved(images[0], "TIFF", save_all=True, append_images=images[1:], compression=compression)


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
JPEG = encoded(PHOTO)
DECODED = Image.open(io.BytesIO(JPEG)).convert("RGB")


def with_chunk(kind: bytes, content: bytes) -> bytes:
    data = saved(DECODED, "PNG")
    return data[:33] + png_chunk(kind, content) + data[33:]


EQUAL = {
    "coded otherwise": [
        JPEG,
        encoded(PHOTO, progressive=True, optimize=True),
        encoded(PHOTO, exif=exif()),
        encoded(PHOTO, icc_profile=SRGB),
        JPEG + b"a note of a phone",
        saved(DECODED, "PNG"),
        with_chunk(b"cICP", b"\1\x0d\0\1"),
        with_chunk(b"gAMA", b"\0\0\xb1\x8f"),
        saved(DECODED, "TIFF", compression="tiff_lzw"),
        saved(DECODED, "BMP"),
        saved(DECODED, "WEBP", lossless=True),
        saved(DECODED.convert("RGBA"), "PNG"),
        saved(DECODED.transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif(6)),
    ],
    "a grey JPEG": [saved(Image.fromarray(GREY[..., 0]), "JPEG", quality=92), encoded(GREY)],
    "grey": [encoded(GREY, "PNG"), saved(Image.fromarray(GREY[..., 0]), "PNG")],
    "not opaque": [saved(shaded(), "PNG"), saved(shaded(), "WEBP", lossless=True), saved(shaded(), "TIFF")],
    "an animation": [
        frames("GIF", loop=0), frames("WEBP", loop=0, lossless=True), frames("PNG", loop=0),
        frames("GIF", loop=0, optimize=False),
    ],
    "pages": [pages("raw"), pages("tiff_lzw"), pages("tiff_adobe_deflate")],
}  # fmt: skip
ONE_LEVEL = PHOTO.copy()
ONE_LEVEL[3, 4, 1] ^= 1
OTHER = {
    "a level of a pixel": encoded(ONE_LEVEL, "PNG"),
    "the photo without loss": encoded(PHOTO, "PNG"),
    "half the size": encoded(PHOTO[::2, ::2].copy(), "PNG"),
    "as many pixels": encoded(PHOTO.reshape(161, 120, 3), "PNG"),
    "other colours": saved(DECODED, "PNG", icc_profile=display_p3()),
    "other gamma": with_chunk(b"gAMA", b"\0\1\x86\xa0"),
    "colours of a bright screen": with_chunk(b"cICP", b"\x09\x10\0\1"),
    "more opaque": saved(shaded(9), "PNG"),
    "a film behind it": JPEG + b"ftyp" * 5000,
    "a frame more": frames("GIF", count=4, loop=0),
    "a frame that stays longer": frames("GIF", [80, 90, 80], loop=0),
    "a level of a page": pages("raw", ONE_LEVEL),
}


def test_equal_pixels_have_one_digest_however_they_are_stored() -> None:
    digests = {name: {digest(data) for data in some} for name, some in EQUAL.items()}
    assert {name: len(some) for name, some in digests.items()} == dict.fromkeys(EQUAL, 1)
    known = [*itertools.chain(*digests.values()), *map(digest, OTHER.values())]
    assert len(set(known)) == len(EQUAL) + len(OTHER)
    assert {len(one) for one in known} == {PIXELS_BYTES}


def test_a_film_tells_pixels_from_no_others_if_it_is_told_that_it_is_there() -> None:
    film = b"\0\0\0\x18ftypmp42" + b"film" * 9999
    named = b"\0\0\1\x0a\x0e\0\0\0Image_UTC_Data1700000000000"  # as Samsung writes in front of it
    assert digest(JPEG) == digest(JPEG + film) == digest(JPEG + film[:-4]) == digest(JPEG + named + film)
    listed = views([PHOTO, PHOTO[::2, ::2].copy()], 0)
    apart = [
        JPEG + encoded(PHOTO[::2, ::2].copy()) + film,  # a map of brightness, as phones add it
        listed[: listed.rindex(b"\xff\xd8\xff")] + film,  # it lists another picture
        JPEG + b"film" * 9999,
    ]
    digests = [digest(data) for data in apart]
    assert len({digest(JPEG), *digests}) == 1 + len(apart)


def test_pngs_of_other_colours_are_not_one_picture_bit_by_bit() -> None:
    names = "other gamma", "colours of a bright screen", "other colours"
    others = [saved(DECODED, "PNG"), *(OTHER[name] for name in names)]
    alike = [others[0], with_chunk(b"cICP", b"\1\x0d\0\1"), with_chunk(b"gAMA", b"\0\0\xb1\x8f")]
    assert len({decode(data, 32, DecodeLimits(), b"").facts.scan_digest for data in others}) == len(others)
    assert len({decode(data, 32, DecodeLimits(), b"").facts.scan_digest for data in alike}) == 1


def test_animations_of_other_colours_are_not_one_bit_by_bit() -> None:
    plain = frames("PNG")
    gamma, usual = (
        plain[:33] + png_chunk(b"gAMA", value.to_bytes(4, "big")) + plain[33:] for value in (100_000, 45_455)
    )
    assert digest(plain) == digest(usual) != digest(gamma)
    assert digest(gamma)[:KIND_BYTES] != digest(plain)[:KIND_BYTES]


def grey_animation(transparent: int, bits: int) -> bytes:
    """An APNG whose three frames have four grey levels, one of which is transparent."""
    side, step = 16, 1 if bits == 2 else 85
    header = struct.pack(">IIBBBBB", side, side, bits, 0, 0, 0, 0)
    key = struct.pack(">H", transparent * step)
    chunks = [(b"IHDR", header), (b"acTL", struct.pack(">II", 3, 0)), (b"tRNS", key)]
    for number in range(3):
        levels = np.roll(np.arange(side) % 4, number)
        row = levels.reshape(-1, 4) @ [64, 16, 4, 1] if bits == 2 else levels * step
        packed = zlib.compress(bytes([0, *row]) * side)
        content = (b"fdAT", struct.pack(">I", 2 * number) + packed) if number else (b"IDAT", packed)
        control = struct.pack(">IIIIIHHBB", max(0, 2 * number - 1), side, side, 0, 0, 1, 10, 0, 0)
        chunks += [(b"fcTL", control), content]
    return PNG_SIGNATURE + b"".join(png_chunk(*chunk) for chunk in [*chunks, (b"IEND", b"")])


@pytest.mark.parametrize("transparent", range(4))
def test_the_transparent_level_is_the_same_in_each_frame(transparent: int) -> None:
    few, many = (grey_animation(transparent, bits) for bits in (2, 8))
    assert digest(few) == digest(many)
    few_levels, many_levels = (decode(data, 32, DecodeLimits(), b"") for data in (few, many))
    assert few_levels.frames == 3
    assert few_levels.frames_digest == many_levels.frames_digest


def test_pages_with_a_palette_of_bytes_are_equal_to_those_with_one_of_words() -> None:
    first, second = (Image.fromarray(one).quantize(256) for one in (PHOTO, GREY))
    words = saved(first, "TIFF", save_all=True, append_images=[second])
    as_bytes = bytearray(words)
    with Image.open(io.BytesIO(words)) as opened:
        for number in range(2):
            opened.seek(number)
            colours = np.array(opened.tag_v2[320], "<u2")  # type: ignore[attr-defined]
            at = words.index(colours.tobytes())
            as_bytes[at : at + colours.nbytes] = (colours // 256).tobytes()
    assert as_bytes != words
    assert digest(bytes(as_bytes)) == digest(words)


def test_what_is_held_beside_the_colours_is_told_by_the_first_bytes() -> None:
    kind = digest(JPEG)[:KIND_BYTES]
    alike = {name for name, data in OTHER.items() if digest(data)[:KIND_BYTES] == kind}
    assert alike == {"a level of a pixel", "the photo without loss", "half the size", "as many pixels"}


def layered() -> bytes:
    from PIL import TiffImagePlugin

    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags.tagtype[37724] = 7
    tags[37724] = b"layers"
    return saved(DECODED, "TIFF", tiffinfo=tags)


def deep_inks() -> bytes:
    """A TIFF that Pillow reads and does not write."""
    tiff = saved(Image.fromarray(np.zeros((60, 160, 4), np.uint8), "CMYK"), "TIFF")
    half = tiff.replace(struct.pack("<4H", 8, 8, 8, 8), struct.pack("<4H", 16, 16, 16, 16))
    return half.replace(struct.pack("<HHII", 0x101, 4, 1, 60), struct.pack("<HHII", 0x101, 4, 1, 30))


UNTOLD = {
    "16 bits in a JPEG 2000": saved(Image.fromarray(PHOTO[..., 0].astype(np.uint16) * 257), "JPEG2000"),
    "inks": saved(DECODED.convert("CMYK"), "JPEG"),
    "inks in a TIFF": saved(DECODED.convert("CMYK"), "TIFF"),
    "inks of 16 bits in a TIFF": deep_inks(),
    "layers": layered(),
    "Lab": saved(DECODED.convert("LAB"), "TIFF"),
}


@pytest.mark.parametrize("what", UNTOLD)
def test_of_what_is_not_decoded_as_it_is_held_nobody_can_tell(what: str) -> None:
    assert digest(UNTOLD[what]) == b""


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_a_file_of_16_bits_is_of_the_kind_of_one_of_8_and_equal_to_none(kind: str) -> None:
    deep = PHOTO[..., 0].astype(np.uint16) * 257
    finer = deep.copy()
    finer[3, 3] ^= 1
    digests = [
        digest(saved(Image.fromarray(deep), kind)),
        digest(saved(Image.fromarray(finer), kind)),
        digest(saved(Image.fromarray(PHOTO[..., 0]), kind)),
    ]
    assert len(set(digests)) == 3
    assert len({one[:KIND_BYTES] for one in digests}) == 1


def test_a_raw_photo_and_a_damaged_one_have_no_digest() -> None:
    assert digest(dng(JPEG, (161, 120), (161, 120), 1, 0), b".dng") == b""
    zeros = bytes(300)
    stray = JPEG[:-2] + zeros[:9] + b"\x12" * 40 + JPEG[-2:]
    assert digest(stray) == b""
    with pytest.raises(DecodeError):
        digest(JPEG[: len(JPEG) // 2])


def test_an_animation_of_very_many_pixels_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(all_pixels, "MAX_PIXELS", 3 * 64 * 48 - 1)
    assert digest(frames("GIF")) == b""
    assert digest(frames("GIF", count=2))


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    with WorkerPool(1, 32, DecodeLimits(memory_mb=300)) as workers:
        yield workers


def test_a_worker_reads_them_and_says_which_content_they_are_of(pool: WorkerPool, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(JPEG)
    name = os.fsencode(path)
    assert pool.pixels(name) == AllPixels(digest(JPEG), blake3(JPEG).digest())
    assert pool.pixels(name, bytes(32)) == NotRead(ReadStatus.CHANGED, None)
    path.write_bytes(JPEG[:900])
    assert isinstance(pool.pixels(name), NotDecoded)
    gone = pool.pixels(name + b" which is not there")
    assert isinstance(gone, NotRead)
    assert gone.status is ReadStatus.VANISHED


@pytest.mark.parametrize(
    "entry",
    [None, [], {}, {"digest": "00", "pixels": ""}, {"digest": "00" * 32}, {"digest": "00" * 32, "pixels": "00"}],
)
def test_an_answer_that_is_not_quite_right_is_a_bad_reply(entry: object) -> None:
    with pytest.raises(BadReply):
        messages.parse_pixels_reply({"told_apart": entry})
    with pytest.raises(BadReply):
        messages.parse_pixels_reply({})
