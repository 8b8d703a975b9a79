"""What metadata say of a photo: the blocks of a file go in, a few bounded values come out.

Metadata come from anywhere: whatever is broken or absurd in them counts as absent and never makes a picture fail.
"""

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from operator import gt

from PIL import Image

from dupwatchd.index.captions import captions, people, user_comment
from dupwatchd.index.iptc import data_sets
from dupwatchd.index.jpeg_segments import Head
from dupwatchd.index.keywords import keywords
from dupwatchd.index.metadata_blocks import read_boxes, read_gif, read_psd
from dupwatchd.index.places import is_zero, place, place_in_words
from dupwatchd.index.png_metadata import read_png
from dupwatchd.index.texts import comment, decoded_utf16
from dupwatchd.index.xmp import MAX_PACKET_BYTES, values

MAX_TAGS = 1000  # of one EXIF directory; cameras write about fifty
MAX_NAME_CHARS = 64
# Names that programs give in Software or CreatorTool when they write a picture anew. Cameras and phones write a
# version there, so only names known to belong to editors, converters and messengers count.
_EDITORS = re.compile(
    "photoshop|lightroom|camera raw|gimp|snapseed|picsart|paint|affinity|darktable|rawtherapee|capture one|pixelmator|"
    "luminar|dxo|acdsee|irfanview|faststone|xnview|imagemagick|graphicsmagick|canva|vsco|facetune|picasa|aperture|"
    "photoscape|krita|inkscape|digikam|gegl|shotwell|instagram|snapchat|whatsapp|telegram|facebook|wechat|polarr|"
    "topaz|gigapixel|photolab|meitu|beautyplus|pixlr|fotor|photodirector|nik collection|silkypix|zoner|corel|"
    "windows photo (?:editor|viewer|gallery)|photo editor|iphoto|quicktime|photos [0-9]|google$|capture nx|viewnx|"
    "nx studio|digital photo professional|photomatix|photoimpact|acd systems|hugin|nero |arcsoft|magix|skylum|"
    "on1 photo|remini|playmemories|imaging edge|raw studio|olympus workspace|lightx|photoplus|showfoto|gthumb|"
    "image composite|ptgui",
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
_WANTED = frozenset({
    _DESCRIBED, _MAKE, _MODEL, _SOFTWARE, _RATING, _PERCENT, _EXIF_IFD, _GPS_IFD, _TAKEN, _DIGITISED, _COMMENT,
    _TAKEN_FRACTION, _NORTH, _LATITUDE, _EAST, _LONGITUDE, _XMP, _IPTC, _RESOURCES, _WINDOWS_KEYWORDS, _UNIQUE_ID,
    *_EXPOSURE.values(), *_WINDOWS_CAPTIONS,
})  # fmt: skip
_ORDERS = {b"II": "<", b"MM": ">"}  # of bytes, by how a TIFF begins
_SHORT, _LONG, _IFD = 3, 4, 13
# By type: bytes, text, numbers, fractions, anything, fractions with a sign (some phones write places so).
_UNIT_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 10: 8, 13: 4, 129: 1}


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
