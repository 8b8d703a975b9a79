"""What a file says about its own history: its metadata and how its JPEG is built go in, a few bounded values come out.

Nothing here decodes pixels: Pillow has opened the image (its header), and the bytes of the file are at hand. Metadata
come from anywhere: whatever is broken or absurd in them counts as absent and never makes a picture fail.
"""

import re
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from operator import gt
from typing import Any

import numpy as np
import simplejpeg
from blake3 import blake3
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from dupwatchd.index.captions import captions, people, user_comment
from dupwatchd.index.depth import bits_a_colour
from dupwatchd.index.iptc import data_sets
from dupwatchd.index.jpeg_segments import Head, first_end_marker, held_behind, read_head
from dupwatchd.index.keywords import keywords
from dupwatchd.index.metadata_blocks import read_boxes, read_gif, read_psd
from dupwatchd.index.pillow_formats import Still
from dupwatchd.index.places import is_zero, place, place_in_words
from dupwatchd.index.png_metadata import read_png
from dupwatchd.index.profiles import is_srgb, other_colours
from dupwatchd.index.texts import comment, decoded_utf16
from dupwatchd.index.xmp import MAX_PACKET_BYTES, values

MAX_TAGS = 1000  # of one EXIF directory; cameras write about fifty
MAX_NAME_CHARS = 64
FINE_STEPS = 110  # the sum of a JPEG's luma steps, as `compare.origin.candidate` has it: quality 97
MAX_SEGMENTS = 2000  # of a JPEG before its picture data, or chunks of a PNG

# Names that programs give in Software or CreatorTool when they write a picture anew. Cameras and phones write a
# version there, so only names known to belong to editors, converters and messengers count.
_EDITORS = re.compile(
    "photoshop|lightroom|camera raw|gimp|snapseed|picsart|paint|affinity|darktable|rawtherapee|capture one|pixelmator|"
    "luminar|dxo|acdsee|irfanview|faststone|xnview|imagemagick|graphicsmagick|canva|vsco|facetune|picasa|aperture|"
    "photoscape|krita|inkscape|digikam|gegl|shotwell|instagram|snapchat|whatsapp|telegram|facebook|wechat|polarr|"
    "topaz|gigapixel|photolab|meitu|beautyplus|pixlr|fotor|photodirector|nik collection|silkypix|zoner|corel",
    re.IGNORECASE,
)
# Pillow finds what follows the picture data of a PNG only by decoding all of it, and nothing in the others.
_READ_BLOCKS = {"PNG": read_png, "GIF": read_gif, "PSD": read_psd, "JPEG2000": read_boxes, "JXL": read_boxes}
_TIME = re.compile(r"(\d{4})[:\-/.](\d\d?)[:\-/.](\d\d?)[ T]+(\d\d?):(\d\d?)(?::(\d\d?))?(?:\.(\d{1,6}))?")
_MOST_OF_A_TIME = (9999, 12, 31, 24, 59, 60)  # year to second; some cameras call midnight 24
_EARLIEST_YEAR = 1826  # of the oldest photo that there is; programs that know no time write the year 1
# Where clocks begin to count: nobody has set them.
_UNSET = frozenset(f"{year}-01-01T00:00:00" for year in (1904, 1970, 1980))
_XMP_RATING = re.compile(rb"""(?:xmp|xap):Rating\s*(?:=\s*["']|>)\s*([0-5])""")
_XMP_STARS = re.compile(rb"""acdsee:rating\s*(?:=\s*["']|>)\s*([0-5])""")
_XMP_PERCENT = re.compile(rb"""MicrosoftPhoto:Rating\s*(?:=\s*["']|>)\s*(\d{1,3})""")
_XMP_TIMES = (b"exif:DateTimeOriginal", b"photoshop:DateCreated", b"exif:DateTimeDigitized")
_IPTC_DATE, _IPTC_TIME = 55, 60
_XMP_TOOL = re.compile(rb"""xmp:CreatorTool\s*(?:=\s*["']|>)([^"'<]{1,200})""")

_DESCRIBED, _MAKE, _MODEL, _SOFTWARE, _RATING, _PERCENT = 0x010E, 0x010F, 0x0110, 0x0131, 0x4746, 0x4749
_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_TAKEN, _DIGITISED, _COMMENT, _TAKEN_FRACTION = 0x9003, 0x9004, 0x9286, 0x9291
_NORTH, _LATITUDE, _EAST, _LONGITUDE = 1, 2, 3, 4
_PLACE_IN_XMP = (b"Latitude", b"Longitude", b"LatitudeRef", b"LongitudeRef")
_CAMERA_IN_BOTH = ((_MAKE, b"tiff:Make"), (_MODEL, b"tiff:Model"))
_MORE_XMP = b"http://ns.adobe.com/xmp/extension/\0"
_MORE_XMP_HEAD_BYTES = 40  # whose it is, how long all of it is, and where in it this part stands
_MOST_MORE_XMP = 8  # segments; more is not looked at, see `MAX_PACKET_BYTES`
_XMP, _IPTC, _RESOURCES = 0x02BC, 0x83BB, 0x8649
_WINDOWS_KEYWORDS = 0x9C9E
_WINDOWS_CAPTIONS = (0x9C9B, 0x9C9C, 0x9C9F)  # title, comment, subject
_BIAS, _UNIQUE_ID, _FRACTION_BYTES = 0x9204, 0xA420, 8
_EXPOSURE = {"t": 0x829A, "f": 0x829D, "iso": 0x8827, "ev": _BIAS}  # time, aperture, sensitivity, correction
_NUMBER = re.compile(r"[\da-f]{32}")
_TELLING = frozenset({_MAKE, _MODEL, _EXIF_IFD, _GPS_IFD})
_WANTED = frozenset(
    {
        _DESCRIBED,
        _MAKE,
        _MODEL,
        _SOFTWARE,
        _RATING,
        _PERCENT,
        _EXIF_IFD,
        _GPS_IFD,
        _TAKEN,
        _DIGITISED,
        _COMMENT,
        _TAKEN_FRACTION,
        _NORTH,
        _LATITUDE,
        _EAST,
        _LONGITUDE,
        _XMP,
        _IPTC,
        _RESOURCES,
        _WINDOWS_KEYWORDS,
        _UNIQUE_ID,
        *_EXPOSURE.values(),
        *_WINDOWS_CAPTIONS,
    }
)
_OF_BYTES = frozenset(
    {"BMP", "GIF", "WEBP", "MPO", "PNG", "TIFF"}
)  # formats that are decoded as they are, if of 8 bits
_LAYERS = 37724  # of a TIFF: what Photoshop keeps beside the picture that all of them give
_ORDERS = {b"II": "<", b"MM": ">"}  # of bytes, by how a TIFF begins
_SHORT, _LONG, _IFD = 3, 4, 13
# By type: bytes, text, numbers, fractions, anything, fractions with a sign (some phones write places so).
_UNIT_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 10: 8, 13: 4, 129: 1}

# Without GIF, which keeps its pixels as they are, but had to bring them down to 256 colours first.
_LOSSLESS_FORMATS = frozenset({"PNG", "BMP", "PPM", "TGA", "PCX", "QOI", "SGI", "ICO", "PSD", "DDS", "ICNS"})

# Table K.1 of the JPEG standard, rows of rising vertical frequency: quality 50 of the common encoders.
_LUMA_STEPS_AT_50 = np.fromstring(
    """16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62
    18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99""",
    sep=" ",
)


# Where the numbers of a quantisation table stand in its 8 × 8 square: along diagonals, to and fro.
_ZIGZAG = sorted(range(64), key=lambda i: (i // 8 + i % 8, i // 8 if (i // 8 + i % 8) % 2 else i % 8))
_DQT, _ADOBE = 0xDB, 0xEE
_PROFILE = b"ICC_PROFILE\0"  # how parts of a colour profile begin
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


@dataclass(frozen=True, slots=True)
class Metadata:
    """What EXIF and XMP say; an empty string or 0 stands for "not said"."""

    camera: str = ""  # make and model
    captured: str = ""  # "2024-05-01T10:11:12", with ".345" if there are fractions of a second
    has_place: bool = False
    rating: int = 0  # 0 … 5 stars
    edited: bool = False  # Software or CreatorTool names an editor, converter or messenger
    keywords: str = ""  # in alphabetical order, one a line
    place: str = ""  # latitude and longitude in degrees: "48.13715, 11.57540"
    captions: str = ""  # likewise
    people: str = ""  # likewise
    exposure: str = ""  # "t=0.01 f=2.8 iso=100 ev=-1 id=…", as far as it is told


def read_metadata(image: Image.Image, data: bytes) -> Metadata:
    """The metadata of a file that Pillow has opened; ``data`` are all its bytes. Never raises."""
    if read := _READ_BLOCKS.get(str(image.format)):
        return metadata_of(*read(data))
    if data[:2] in _ORDERS:  # TIFF, and most RAW formats
        return metadata_of(data)
    return metadata_of(_bytes(image.info.get("exif")).removeprefix(b"Exif\0\0"), _bytes(image.info.get("xmp")))


def jpeg_metadata(head: Head) -> Metadata:
    """Likewise of a JPEG, of what stands in front of its first scan."""
    segments, mark = head.segments, b"Photoshop 3.0\0"
    exif = _exif_of([segment[10:] for segment in segments if segment.startswith(b"Exif\0\0", 4)])
    xmp = next((segment for segment in segments if segment.startswith(b"http://ns.adobe.com/xap/1.0/\0", 4)), b"")
    xmp += b"".join(_parts_of_more_xmp(segments))
    # What is too long for one segment goes on in the next one.
    iptc = b"".join(segment[4 + len(mark) :] for segment in head.resources if segment.startswith(mark, 4))
    return metadata_of(exif, xmp, iptc, [comment(segment[4:]) for segment in head.comments])


def _exif_of(blocks: list[bytes]) -> bytes:
    """The first of some blocks of EXIF that tells of the camera or the photo; programs put short ones in front."""
    telling = (block for block in blocks if not _directory(block, None).keys().isdisjoint(_TELLING))
    return next(telling, blocks[0] if blocks else b"") if len(blocks) != 1 else blocks[0]


def _parts_of_more_xmp(segments: list[bytes]) -> list[bytes]:
    """What did not fit into the first segment of XMP, in its order: face regions may stand there."""
    begin = 4 + len(_MORE_XMP) + _MORE_XMP_HEAD_BYTES
    found = [one for one in segments if one.startswith(_MORE_XMP, 4) and len(one) >= begin]
    place = slice(begin - 4, begin)
    return [one[begin:] for one in sorted(found[:_MOST_MORE_XMP], key=lambda one: one[place])]


def metadata_of(exif: bytes, xmp: bytes = b"", iptc: bytes = b"", texts: Sequence[str] = ()) -> Metadata:
    """What a TIFF structure with EXIF tags, an XMP packet, IPTC, and texts and comments say. Never raises.

    Each b"" if there is none.
    """
    if not exif and not xmp and not iptc and not texts:
        return Metadata()
    main = _directory(exif, None)
    details = _directory(exif, main.get(_EXIF_IFD))
    xmp = (xmp or _bytes(main.get(_XMP)))[:MAX_PACKET_BYTES]
    iptc = iptc or _bytes(main.get(_IPTC)) or _bytes(main.get(_RESOURCES))
    tool = _XMP_TOOL.search(xmp)
    has_place, where = _place(exif, _directory(exif, main.get(_GPS_IFD)), xmp)
    return Metadata(
        camera=_camera(*(_text(main.get(tag)) or _in_xmp(xmp, name) for tag, name in _CAMERA_IN_BOTH)),
        captured=_captured(main, details, xmp, iptc),
        has_place=has_place,
        rating=_stars(main, xmp),
        edited=any(map(_EDITORS.search, (_text(main.get(_SOFTWARE)), _text(tool[1] if tool else b"")))),
        keywords=keywords(xmp, iptc, _bytes(main.get(_WINDOWS_KEYWORDS))),
        place=where,
        captions=captions(
            _bytes(main.get(_DESCRIBED)),
            user_comment(_bytes(details.get(_COMMENT)), _ORDERS.get(exif[:2], "<")),
            [decoded_utf16(_bytes(main.get(tag))) for tag in _WINDOWS_CAPTIONS],
            iptc,
            xmp,
            texts,
        ),
        people=people(xmp),
        exposure=_exposure(details, _ORDERS.get(exif[:2], "<")),
    )


def _captured(main: dict[int, int | bytes], details: dict[int, int | bytes], xmp: bytes, iptc: bytes) -> str:
    """When the photo was taken, as the first place tells it that does."""
    # Some programs write the capture time into the main directory.
    for tag in (_TAKEN, _DIGITISED):
        for ifd in (details, main):
            if time := _iso_time(_text(ifd.get(tag)), _text(details.get(_TAKEN_FRACTION))):
                return time
    for name in _XMP_TIMES:
        if time := _iso_time(_in_xmp(xmp, name), ""):
            return time
    day, clock = ("".join(data_sets(iptc, number)[:1]) for number in (_IPTC_DATE, _IPTC_TIME))
    return _iso_time(f"{day[:4]}-{day[4:6]}-{day[6:8]} {clock[:2]}:{clock[2:4]}:{clock[4:6]}", "") if clock else ""


def _stars(main: dict[int, int | bytes], xmp: bytes) -> int:
    """0 … 5; programs tell them as such, or Windows as hundredths: 1, 25, 50, 75, 99."""
    stars, percent = main.get(_RATING, 0), main.get(_PERCENT, 0)
    if isinstance(stars, int) and 0 < stars <= 5:
        return stars
    in_xmp = _XMP_RATING.search(xmp) or _XMP_STARS.search(xmp)
    if in_xmp and in_xmp[1] != b"0":
        return int(in_xmp[1])
    if of_windows := _XMP_PERCENT.search(xmp):
        percent = percent or int(of_windows[1])
    return 1 + round((percent - 1) / 24.5) if isinstance(percent, int) and 0 < percent <= 100 else 0


def _exposure(details: dict[int, int | bytes], order: str) -> str:
    told = []
    for name, tag in _EXPOSURE.items():
        value = details.get(tag)
        if isinstance(value, bytes) and len(value) == _FRACTION_BYTES:
            above, below = struct.unpack(f"{order}ii" if tag == _BIAS else f"{order}II", value)
            value = above / below if below and (above or tag == _BIAS) else None
        if isinstance(value, int | float):
            told.append(f"{name}={value:.4g}")
    number = _text(details.get(_UNIQUE_ID)).lower()
    # Phones write one number for all photos of a kind, which is shorter.
    return " ".join([*told, f"id={number}"] if _NUMBER.fullmatch(number) and len(set(number)) > 1 else told)


def _in_xmp(xmp: bytes, name: bytes) -> str:
    return " ".join(next(values(xmp, name), "")[:MAX_NAME_CHARS].split())


def _place(exif: bytes, gps: dict[int, int | bytes], xmp: bytes) -> tuple[bool, str]:
    """Whether a place is told, and which one, as far as it can be read; EXIF comes first."""
    where = place(_ORDERS[exif[:2]], *map(gps.get, (_LATITUDE, _NORTH, _LONGITUDE, _EAST))) if gps else ""
    if not where:
        where = place_in_words(*(next(values(xmp, b"exif:GPS" + name), "") for name in _PLACE_IN_XMP))
    return where != "" or not (is_zero(gps.get(_LATITUDE)) and is_zero(gps.get(_LONGITUDE))), where


def is_lossless(image: Image.Image, data: bytes) -> bool:
    """Does the file store its pixels without loss? Unknown counts as lossy."""
    if image.format == "TIFF":
        return image.info.get("compression") not in ("jpeg", "tiff_jpeg", "webp", "jpeg2000")
    if image.format == "WEBP":
        return _first_coding(data) == b"VP8L"
    return image.format in _LOSSLESS_FORMATS


def luma_steps(segments: list[bytes]) -> NDArray[np.float32] | None:
    """(8, 8) float32 quantisation steps of a JPEG's luma, rows of rising vertical frequency; None: it has no luma.

    Of the segments in front of its first scan.
    """
    tables: dict[int, NDArray[Any]] = {}
    table, components, coded_as_rgb = None, 0, False
    for segment in segments:
        marker, body = segment[1], segment[4:]
        if marker == _DQT:
            tables |= _quantisation(body)
        elif marker in _FRAME_MARKERS and len(body) >= 9:
            table, components, coded_as_rgb = body[8], body[5], coded_as_rgb or body[6] == ord("R")
        elif marker == _ADOBE and body.startswith(b"Adobe") and len(body) >= 12:
            coded_as_rgb = coded_as_rgb or body[11] == 0
    if table not in tables or components not in (1, 3) or (components == 3 and coded_as_rgb):
        return None
    steps = np.empty(64, np.float32)
    steps[_ZIGZAG] = tables[table]
    return np.maximum(steps, 1).reshape(8, 8)


def jpeg_steps(data: bytes) -> NDArray[np.float32] | None:
    """Likewise of the bytes of any file; None if it is no JPEG."""
    head = read_head(data) if data.startswith(b"\xff\xd8") else None
    return luma_steps(head.segments) if head else None


def _quantisation(body: bytes) -> dict[int, NDArray[Any]]:
    """The tables of one DQT segment by their number, in zigzag order."""
    tables, at = {}, 0
    while at < len(body):
        kind = ">u2" if body[at] >> 4 else "u1"
        end = at + 1 + 64 * np.dtype(kind).itemsize
        if end > len(body):
            break
        tables[body[at] & 15] = np.frombuffer(body[at + 1 : end], kind)
        at = end
    return tables


def jpeg_quality(steps: NDArray[np.float32] | None) -> int:
    """1 … 100: the quality at which the common encoders use steps as coarse as these; 0 for None."""
    if steps is None:
        return 0
    below = steps.ravel() < 255  # where baseline JPEGs are cut off
    percent = float(np.mean((steps.ravel() / _LUMA_STEPS_AT_50)[below])) * 100 if below.any() else 5000.0
    quality = (200 - percent) / 2 if percent <= 100 else 5000 / percent
    return int(min(100, max(1, round(quality))))


def scan_digest(data: bytes) -> bytes:
    """16 bytes that two JPEGs share if their coded pictures are equal and only metadata differ; b"" if unknown.

    Covers tables, frame headers, colour transform, a profile of other colours than sRGB, coded data, and what is held
    behind the end marker, such as a film.
    """
    if data[:2] != b"\xff\xd8":
        return b""
    digest, at, profile = blake3(), 2, b""
    for _ in range(MAX_SEGMENTS):
        if at + 4 > len(data) or data[at] != 0xFF:
            return b""
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker == 0xDA:
            end = first_end_marker(data, at)
            if profile and not is_srgb(profile):
                digest.update(profile)
            digest.update(memoryview(data)[at : end if end >= 0 else len(data)])
            if end >= 0:
                digest.update(held_behind(data, end))
            return digest.digest(length=16)
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data.startswith(_PROFILE, at + 4):
            profile += data[at + 4 + len(_PROFILE) + 2 : end]  # behind which part it is, of how many
        if (not 0xE0 <= marker <= 0xEF and marker != 0xFE) or data[at + 4 : at + 9] == b"Adobe":
            digest.update(data[at:end])
        at = end
    return b""


def pixel_digest(image: Image.Image, data: bytes, pixels: Still) -> bytes:
    """16 bytes that two files share if their pixels are equal, and so are their depth and colour profile; else b"".

    ``image`` is what Pillow opened, and ``pixels`` what came of it. The formats that hold 8 bits a channel may share
    theirs; files that may hold more do so only with others of their format.
    """
    depth = stored_as(image, data)
    if not depth:
        return b""
    profile = image.info.get("icc_profile")
    digest = blake3(depth.encode() + b"\0" + (profile if isinstance(profile, bytes) else b"") + b"\0")
    if other := other_colours(image, data):
        digest.update(f"{other} ".encode())
    pixels.add_to(digest)
    return digest.digest(length=16)


def stored_as(image: Image.Image, data: bytes) -> str:
    """What a file has to share with another one; empty where what is decoded may not be all that the file holds."""
    name = str(image.format)
    if name in ("HEIF", "AVIF"):
        return name
    if has_layers(image):
        return ""
    return "bytes" if name in _OF_BYTES and bits_a_colour(image, data) <= 8 else ""


def has_layers(image: Image.Image) -> bool:
    """Does a file of Photoshop hold more than the picture that all of it give?"""
    return isinstance(image, TiffImagePlugin.TiffImageFile) and _LAYERS in image.tag_v2


def _camera(make: str, model: str) -> str:
    """Make and model; many models begin with the make already."""
    return model if model.lower().startswith(make.lower()) else f"{make} {model}".strip()


def _iso_time(text: str, fraction: str) -> str:
    match = _TIME.match(text.strip())
    if match is None:
        return ""
    numbers = [int(one or 0) for one in match.groups()[:6]]
    if numbers[0] < _EARLIEST_YEAR or 0 in numbers[1:3] or any(map(gt, numbers, _MOST_OF_A_TIME)):
        return ""
    year, month, day, *clock = numbers
    time = f"{year}-{month:02}-{day:02}T" + ":".join(f"{one:02}" for one in clock)
    digits = re.match(r"\d{1,6}", fraction or match[7] or "")
    return "" if time in _UNSET else time + (f".{digits[0]}" if digits else "")


def _text(value: int | bytes | None) -> str:
    """Printable text of bounded length; "" for anything that is no text."""
    text = _bytes(value)[: 4 * MAX_NAME_CHARS].split(b"\0")[0].decode("utf-8", "replace")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:MAX_NAME_CHARS]


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""


def _directory(tiff: bytes, offset: int | bytes | None) -> dict[int, int | bytes]:
    """The wanted tags of the directory at ``offset`` (None: of the first one); {} where there is none.

    Read here and not by Pillow, which keeps the value of each of up to 65,535 tags, and each may be the whole block.
    """
    order = _ORDERS.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return {}
    at = struct.unpack_from(f"{order}I", tiff, 4)[0] if offset is None else offset
    if not isinstance(at, int) or at + 2 > len(tiff):
        return {}
    (entries,) = struct.unpack_from(f"{order}H", tiff, at)
    table = tiff[at + 2 : at + 2 + 12 * min(entries, MAX_TAGS)]
    found: dict[int, int | bytes] = {}
    for tag, kind, count, value in struct.iter_unpack(f"{order}HHI4s", table[: len(table) // 12 * 12]):
        if tag in _WANTED and tag not in found and kind in _UNIT_BYTES:
            found[tag] = _value(tiff, order, kind, count, value)
    return found


def _value(tiff: bytes, order: str, kind: int, count: int, value: bytes) -> int | bytes:
    """One number as int, all else as at most MAX_PACKET_BYTES of bytes."""
    size = count * _UNIT_BYTES[kind]
    if kind in (_SHORT, _LONG, _IFD) and count == 1:
        (number,) = struct.unpack_from(order + ("H" if kind == _SHORT else "I"), value)
        return int(number)
    if size <= 4:
        return value[:size]
    (start,) = struct.unpack(f"{order}I", value)
    return tiff[start : start + min(size, MAX_PACKET_BYTES)]


def _first_coding(webp: bytes) -> bytes:
    """The name of the first chunk of a WebP that holds pixels; b"" if there is none among the first."""
    at = 12
    for _ in range(MAX_SEGMENTS):
        name, length = webp[at : at + 4], int.from_bytes(webp[at + 4 : at + 8], "little")
        if name in (b"VP8 ", b"VP8L"):
            return name
        if name == b"ANMF":  # an animation's frame: a header of 16 bytes, then chunks of its own
            length = 16
        at += 8 + length + length % 2
        if at >= len(webp):
            break
    return b""


def stored_luma(image: Image.Image, data: bytes) -> NDArray[np.uint8]:
    """(H, W) uint8 luma at full size, not turned. Raises ValueError if it cannot be decoded.

    Of a JPEG as it is coded, for its lattice; but by way of RGB if its steps are so fine that only equality with the
    pixels of a lossless file counts.
    """
    try:
        steps = jpeg_steps(data)
        if steps is not None and steps.sum() > FINE_STEPS:
            with suppress(ValueError):  # more damaged than Pillow minds
                return _coded_luma(data)
        if image.mode.startswith("I;16"):
            return (np.asarray(image) >> 8).astype(np.uint8)
        if image.has_transparency_data:
            white = Image.new("RGBA", image.size, "white")
            white.alpha_composite(image.convert("RGBA"))
            image = white
        return np.asarray(image.convert("L"))
    except MemoryError:
        raise
    except Exception as error:  # broken files make decoders raise anything
        raise ValueError(f"cannot be decoded: {error}") from error


def _coded_luma(jpeg: bytes) -> NDArray[np.uint8]:
    luma: NDArray[np.uint8] = simplejpeg.decode_jpeg(jpeg, "GRAY", strict=False)[..., 0]
    return luma
