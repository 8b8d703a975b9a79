"""What a file holds beside its picture: films, maps, sound, other pictures, layers; and what is no more than notes."""

import io
import re
import struct
import zlib

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from dupwatchd.index.decode import decode
from dupwatchd.index.heif_items import held_by_items
from dupwatchd.index.held_beside import held_beside
from dupwatchd.index.limits import DecodeLimits
from dupwatchd.index.picture_ends import private_of_tiff
from tests.conftest import encoded, photo_like
from tests.index.files import views


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


PHOTO, OTHER = photo_like(1, 120, 90), photo_like(2, 60, 40)
JPEG = encoded(PHOTO)
FILM = box(b"ftyp", b"mp42" + bytes(12)) + box(b"mdat", b"film" * 9999)


def held(data: bytes) -> list[str]:
    """By name."""
    holds = decode(data, 32, DecodeLimits(), b"").facts.holds
    return [line.partition(" (")[0] for line in holds.split("\n") if line]


def with_segments(*segments: tuple[int, bytes]) -> bytes:
    built = b"".join(bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body for marker, body in segments)
    return JPEG[:2] + built + JPEG[2:]


def in_xmp(name: bytes, before: bytes = b"", value: bytes = b"aGVsbG8=") -> bytes:
    """In as many segments as it takes, of which the last one stands first: each says where in all its part stands."""
    whole = b"<rdf:Description " + before + name + b':Data="' + value + b'"/>'
    parts = []
    for at in range(0, len(whole), 65_020):
        head = b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 32 + struct.pack(">II", len(whole), at)
        parts.append((0xE1, head + whole[at : at + 65_020]))
    return with_segments(*reversed(parts))


def in_png(*chunks: tuple[bytes, bytes]) -> bytes:
    data = encoded(PHOTO, "PNG")
    built = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    ]
    return data[:-12] + b"".join(built) + data[-12:]


def in_webp(kind: bytes, body: bytes) -> bytes:
    data = encoded(PHOTO, "WEBP", lossless=True) + kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]


def in_gif(name: bytes, count: int) -> bytes:
    extension = b"\x21\xff\x0b" + name + (b"\xff" + b"f" * 255) * count + b"\0"
    return encoded(PHOTO, "GIF")[:-1] + extension + b";"


def in_bmp(colours: bytes, profile: bytes, profile_bytes: int) -> bytes:
    """A BMP of the newest kind with a profile behind its rows, said to be so long."""
    plain = encoded(PHOTO, "BMP")
    rows = plain[54:]
    head = plain[:10] + struct.pack("<II", 14 + 124, 124) + plain[18:54]
    more = bytes(16) + colours + bytes(52) + struct.pack("<III", 124 + len(rows), profile_bytes, 0)
    return head + more + rows + profile


def told(data: bytes) -> str:
    return decode(data, 32, DecodeLimits(), b"").facts.holds


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
        (encoded(PHOTO, "HEIF") + box(b"mpvd", FILM), ["film"]),
        (encoded(PHOTO, "AVIF") + struct.pack(">I4s", 16, b"free") + bytes(8), []),
        (encoded(PHOTO, "HEIF") + FILM, ["film"]),
        (encoded(PHOTO, "AVIF") + FILM, ["film"]),
        (encoded(PHOTO, "HEIF") + struct.pack(">I4s", 8, b"free") * 1000 + box(b"mpvd", FILM), ["film"]),
        (encoded(PHOTO, "HEIF") + box(b"note", b"short"), []),
        (encoded(PHOTO, "HEIF") + box(b"moov", b""), ["film"]),
        *[(encoded(PHOTO, name), []) for name in ("TIFF", "GIF", "BMP", "JPEG2000")],
        *[(encoded(PHOTO, name) + b"note", []) for name in ("TIFF", "GIF", "BMP", "JPEG2000")],
        *[(encoded(PHOTO, name) + FILM, ["film"]) for name in ("TIFF", "GIF", "BMP")],
        (encoded(PHOTO, "JPEG2000") + box(b"uuid", FILM), ["film"]),
        (encoded(PHOTO, "TIFF", compression="tiff_lzw") + b"zipped" * 9999, ["other data"]),
        (encoded(PHOTO, "TIFF", big_tiff=True) + FILM, ["film"]),
        (encoded(PHOTO, "TIFF", save_all=True, append_images=[Image.fromarray(OTHER)]) + FILM, ["film"]),
        (encoded(PHOTO, "JPEG2000", no_jp2=True) + FILM, ["film"]),
        (encoded(PHOTO, "JPEG2000") + box(b"jp2c", b"\xff\x4f" + b"codes" * 9999), ["other data"]),
        (in_bmp(b"DEBM", b"profile" * 9999, 7 * 9999), []),
        (in_bmp(b"BGRs", FILM, len(FILM)), ["film"]),
        (in_bmp(b"DEBM", FILM, 1 << 31), ["film"]),
        (in_xmp(b"GDepth", b" " * 65_000), ["map of depth"]),
        (with_segments((0xE1, b"http://ns.adobe.com/xap/1.0/\0<GAudio:Data>aGVsbG8=</GAudio:Data>")), ["sound"]),
        (with_segments(*[(0xE5, b"")] * 2000), ["other data"]),
        (in_png(*[(b"mkBS", b"layer" * 2000)] * 2), ["other data"]),
        (in_png((b"mkBS", b"note"), (b"eXIf", bytes(50_000))), []),
        (in_webp(b"FILM", FILM), ["other data"]),
        (in_webp(b"FILM", b"note"), []),
        (in_webp(b"XMP ", b" " * 50_001), []),
        (in_gif(b"MYFILM  1.0", 99), ["other data"]),
        (in_gif(b"MYFILM  1.0", 9), []),
        (in_gif(b"ICCRGBG1012", 99), []),
        *[(encoded(PHOTO, "TIFF", tiffinfo={60000: FILM}, big_tiff=big), ["other data"]) for big in (False, True)],
        (encoded(PHOTO, "TIFF", tiffinfo={60000: b"note" * 99, 34377: FILM, 34675: FILM}), []),
    ],
)
def test_what_a_file_holds_beside_its_picture_is_named(data: bytes, names: list[str]) -> None:
    assert held(data) == names


def with_depth(picture: NDArray[np.uint8], depth: int, kind: str) -> bytes:
    """A HEIC or AVIF with a map of depth: a transparent one that calls what it adds otherwise."""
    opacity = np.full((*picture.shape[:2], 1), depth, np.uint8)
    data = encoded(np.concatenate([picture, opacity], axis=2), kind)
    return data.replace(b"auxid:1\0", b"auxid:2\0").replace(b"auxiliary:alpha", b"auxiliary:depth")


def layered(kind: str, layers: bytes) -> bytes:
    if kind == "TIFF":
        return encoded(PHOTO, "TIFF", tiffinfo={37724: b"Adobe Photoshop Document Data Block\0" + layers})
    head = struct.pack(">4sH6xHIIHHII", b"8BPS", 1, 3, 90, 120, 8, 3, 0, 0)
    inner = struct.pack(">I", len(layers)) + layers
    return head + struct.pack(">I", len(inner)) + inner + b"\0\0" + PHOTO.transpose(2, 0, 1).tobytes()


@pytest.mark.parametrize(
    ("name", "first", "again", "other"),
    [
        ("film", JPEG + FILM, encoded(PHOTO, quality=60) + FILM, JPEG + FILM.replace(b"film", b"fihm")),
        ("film", JPEG + FILM, encoded(PHOTO, "HEIF") + box(b"mpvd", FILM), encoded(PHOTO, "GIF") + FILM + b"more"),
        *[
            ("map of depth", with_depth(PHOTO, 9, kind), with_depth(255 - PHOTO, 9, kind), with_depth(PHOTO, 8, kind))
            for kind in ("HEIF", "AVIF")
        ],
        *[
            ("layers", layered(kind, b"A" * 99), layered(kind, b"A" * 99) + b"note", layered(kind, b"B" * 99))
            for kind in ("PSD", "TIFF")
        ],
        (
            "map of depth",
            in_xmp(b"GDepth", b"", b"A" * 99_999),
            in_xmp(b"GDepth", b"other ", b"A" * 99_999),
            in_xmp(b"GDepth", b"", b"A" * 99_998 + b"B"),
        ),
    ],
)
def test_two_of_a_kind_are_told_apart_and_one_is_itself(name: str, first: bytes, again: bytes, other: bytes) -> None:
    assert held(first) == held(again) == held(other) == [name]
    assert told(first) == told(again) != told(other)
    assert re.fullmatch(rf"{name} \([0-9a-f]{{16}}\)", told(first))  # fewer could be met by trying


def test_a_map_that_is_not_found_is_that_of_the_same_file_only() -> None:
    """Such as one of a file whose list of what lies where is broken."""
    broken = with_depth(PHOTO, 9, "AVIF").replace(b"auxl", b"axul").replace(b"infe", b"infy")
    opened = Image.open(io.BytesIO(with_depth(PHOTO, 9, "AVIF")))
    first, other = (held_beside(opened, None, data) for data in (broken, broken + b"note"))
    assert first.startswith("map of depth (")
    assert first != other


def listing(*parts: bytes, kind: bytes = b"grid") -> bytes:
    """A file of boxes with two items, of which one is the picture and the other one lies in its first byte."""
    entries = b"".join(box(b"infe", struct.pack(">IHH4s", 2 << 24, one, 0, kind)) for one in (1, 2))
    lies = struct.pack(">IBBH", 0, 0x44, 0, 1) + struct.pack(">HHHII", 2, 0, 1, 0, 1)
    lists = [box(b"pitm", bytes(5) + b"\1"), box(b"iinf", bytes(5) + b"\2" + entries), box(b"iloc", lies)]
    return box(b"meta", bytes(4) + b"".join([*lists, *parts]))


@pytest.mark.parametrize("kind", [b"pitm", b"iinf", b"iloc"])
def test_two_lists_of_items_say_nothing_for_certain(kind: bytes) -> None:
    whole = listing()
    assert held_by_items(whole)
    begin = whole.index(kind) - 4
    again = whole[begin : begin + int.from_bytes(whole[begin : begin + 4], "big")]
    with pytest.raises(ValueError, match="two lists"):
        held_by_items(listing(again))


def test_places_of_items_that_take_no_bytes_are_not_counted_for_long() -> None:
    lies = struct.pack(">IBBH", 1 << 24, 0, 0, 40) + b"".join(
        struct.pack(">4H", one, 0, 0, 65_535) for one in range(40)
    )
    whole = listing()
    begin = whole.index(b"iloc") - 4
    with pytest.raises(ValueError, match="too many"):
        held_by_items(whole[:begin].replace(whole[:4], b"\0\0\0\0", 1) + box(b"iloc", lies))


def test_a_file_without_layers_holds_none() -> None:
    head = struct.pack(">4sH6xHIIHHII", b"8BPS", 1, 3, 90, 120, 8, 3, 0, 0)
    assert held(head + struct.pack(">I", 0) + b"\0\0" + PHOTO.transpose(2, 0, 1).tobytes()) == []


def test_what_breaks_while_it_is_looked_through_holds_something_and_nothing_found_is_lost() -> None:
    tiff = layered("TIFF", b"A" * 99)
    opened = Image.open(io.BytesIO(tiff))
    assert isinstance(opened, TiffImageFile)
    assert 37724 in opened.tag_v2
    lines = held_beside(opened, None, tiff[:9]).split("\n")
    assert [line.partition(" (")[0] for line in lines] == ["layers", "other data"]


def test_tags_of_a_tiff_that_share_their_bytes_take_no_more_than_the_file() -> None:
    data = struct.pack("<2sHIH", b"II", 42, 8, 60_000) + struct.pack("<HHII", 60_000, 1, 700_000, 0) * 60_000 + bytes(9)
    with pytest.raises(ValueError, match="share"):
        private_of_tiff(data, ())


def test_a_list_of_pictures_that_calls_a_film_a_preview_hides_nothing() -> None:
    whole = views([PHOTO, photo_like(2, 640, 480)], 0x010001)
    begin = whole.rindex(b"\xff\xd8\xff")
    assert held(whole) == []
    for start in (b"", whole[begin : begin + 99]):
        film = (start + FILM)[: len(whole) - begin]
        assert len(film) > 20_000
        assert held(whole[:begin] + film.ljust(len(whole) - begin)) == ["film"]


@pytest.mark.parametrize(
    ("behind", "name"), [(FILM, "film ("), (JPEG, "other picture ("), (b"\xff\xd8\xff" + b"codes" * 9999, "")]
)
def test_codes_of_jpeg_xl_in_no_box_hide_no_film_and_no_jpeg(behind: bytes, name: str) -> None:
    """Their decoder is an extra: what has opened them only tells their format here."""
    opened = Image.fromarray(PHOTO)
    opened.format = "JXL"
    line = held_beside(opened, None, b"\xff\x0a" + b"codes" * 99 + behind)
    assert line.startswith(name)
    assert bool(line) == bool(name)


def test_a_list_of_pictures_that_is_broken_hides_none_of_them() -> None:
    whole = views([PHOTO, OTHER], 0)  # a map of brightness
    for at in range(whole.index(b"MPF\0") + 4, whole.index(b"MPF\0") + 90):
        broken = bytearray(whole)
        broken[at] = 255
        assert held(bytes(broken)) == ["other picture"]
