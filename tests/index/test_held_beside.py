"""What a file holds beside its picture: films, maps, sound, other pictures, layers; and what is no more than notes."""

import io
import struct

import pytest
from PIL import Image

from dupwatchd.index.decode import decode
from dupwatchd.index.limits import DecodeLimits
from tests.conftest import encoded, photo_like
from tests.index.files import views

PHOTO, OTHER = photo_like(1, 120, 90), photo_like(2, 60, 40)
JPEG = encoded(PHOTO)
FILM = b"\0\0\0\x18ftypmp42" + b"film" * 9999


def held(data: bytes) -> list[str]:
    """By name."""
    holds = decode(data, 32, DecodeLimits(), b"").facts.holds
    return [line.partition(" (")[0] for line in holds.split("\n") if line]


def with_segments(*segments: tuple[int, bytes]) -> bytes:
    built = b"".join(bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body for marker, body in segments)
    return JPEG[:2] + built + JPEG[2:]


def in_xmp(name: bytes) -> bytes:
    head = b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 32 + struct.pack(">II", 999, 0)
    return with_segments((0xE1, head + b"<rdf:Description " + name + b':Data="aGVsbG8="/>'))


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (JPEG, []),
        (JPEG + b"SEFT" * 999, []),
        (JPEG + bytes(99_999), []),
        (JPEG + FILM, ["film"]),
        (JPEG[:-2] + FILM, ["film"]),
        (JPEG + b"zipped" * 9999, ["other data"]),
        (JPEG + encoded(OTHER), ["other picture"]),
        (views([PHOTO, OTHER], 0), ["other picture"]),  # a map of brightness, as phones list it
        (views([PHOTO, OTHER], 0x010001), []),  # a preview
        (views([PHOTO, OTHER], 0x010002) + FILM, ["film"]),
        (in_xmp(b"GDepth"), ["map of depth"]),
        (in_xmp(b"GAudio"), ["sound"]),
        (with_segments(*[(0xE2, b"FPXR\0" + b"sound" * 9999)] * 2), ["other data"]),
        (with_segments(*[(0xE1, b"FLIR\0\1" + b"heat" * 9999)] * 2), ["other data"]),
        (with_segments((0xE5, b"notes" * 999), (0xE2, b"ICC_PROFILE\0\1\1" + b"i" * 50_000)), []),
        (with_segments(*[(0xED, b"Photoshop 3.0\0" + bytes(50_000))] * 2), []),
        (encoded(PHOTO, "PNG") + FILM, ["film"]),
        (encoded(PHOTO, "PNG") + b"note", []),
        (encoded(PHOTO, "WEBP", lossless=True) + encoded(OTHER), ["other picture"]),
        (encoded(PHOTO, "HEIF"), []),
        (encoded(PHOTO, "HEIF") + struct.pack(">I4s", 8 + len(FILM), b"mpvd") + FILM, ["film"]),
        (encoded(PHOTO, "AVIF") + struct.pack(">I4s", 16, b"free") + bytes(8), []),
    ],
)
def test_what_a_file_holds_beside_its_picture_is_named(data: bytes, names: list[str]) -> None:
    assert held(data) == names


def test_two_films_are_told_apart_and_one_is_itself() -> None:
    again, other = encoded(PHOTO, quality=60), FILM.replace(b"film", b"fihm")
    first, second, third = (decode(data, 32, DecodeLimits(), b"").facts.holds for data in (
        JPEG + FILM, again + FILM, JPEG + other
    ))  # fmt: skip
    assert first == second != third


def test_layers_of_photoshop_are_named() -> None:
    buffer = io.BytesIO()
    Image.fromarray(PHOTO).save(buffer, "TIFF", tiffinfo={37724: b"Adobe Photoshop Document Data Block\0" + bytes(99)})
    assert held(buffer.getvalue()) == ["layers"]
    head = struct.pack(">4sH6xHIIHHII", b"8BPS", 1, 3, 90, 120, 8, 3, 0, 0)
    planes = b"\0\0" + PHOTO.transpose(2, 0, 1).tobytes()
    assert held(head + struct.pack(">II", 8, 4) + b"name" + planes) == ["layers"]
    assert held(head + struct.pack(">I", 0) + planes) == []


def test_a_list_of_pictures_that_is_broken_makes_nothing_fail() -> None:
    whole = views([PHOTO, OTHER], 0x010001)
    for at in range(whole.index(b"MPF\0") + 4, whole.index(b"MPF\0") + 90):
        broken = bytearray(whole)
        broken[at] = 255
        assert held(bytes(broken)) in ([], ["other picture"])
