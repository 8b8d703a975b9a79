"""Keywords of a picture, from wherever programs put them."""

import struct
import time
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from dupwatchd.index.decode import decode
from dupwatchd.index.keywords import keywords
from dupwatchd.index.limits import DecodeLimits
from dupwatchd.index.texts import MAX_LINES_CHARS
from tests.conftest import encoded, photo_like

PICTURE = photo_like(1, 80, 60)
XMP = (
    '<x:xmpmeta><rdf:Description><dc:subject>\n<rdf:Bag>\n<rdf:li>Beach</rdf:li>\n<rdf:li xml:lang="x">Été &amp; sun'
    "</rdf:li></rdf:Bag></dc:subject><dc:title><rdf:Alt><rdf:li>no keyword</rdf:li></rdf:Alt></dc:title>"
    "</rdf:Description></x:xmpmeta>"
).encode()
TOLD = "Beach\nÉté & sun"


def data_set(record: int, number: int, value: bytes) -> bytes:
    return struct.pack(">BBBH", 0x1C, record, number, len(value)) + value


RECORDS = data_set(2, 25, "Été & sun".encode()) + data_set(2, 120, b"a caption") + data_set(2, 25, b"Beach")
RESOURCES = b"8BIM\x03\xed\x03abc\0\0\0\x05hello\0" + struct.pack(">4sHHI", b"8BIM", 0x0404, 0, len(RECORDS)) + RECORDS


def jpeg_with(*segments: bytes) -> bytes:
    made = b"".join(b"\xff\xed" + struct.pack(">H", 2 + len(segment)) + segment for segment in segments)
    plain = encoded(PICTURE, "JPEG")
    return plain[:2] + made + plain[2:]


def png_with_profile(profile: bytes) -> bytes:
    text = f"\niptc\n{len(profile):8}\n{profile.hex()}\n".encode()
    body = b"zTXtRaw profile type iptc\0\0" + zlib.compress(text)
    plain = encoded(PICTURE, "PNG")
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return plain[:33] + chunk + plain[33:]


def png_with_xmp() -> bytes:
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", XMP.decode())
    return encoded(PICTURE, "PNG", pnginfo=text)


def windows_exif() -> bytes:
    exif = Image.Exif()
    exif[0x9C9E] = "Été & sun;Beach\0".encode("utf-16-le")
    return exif.tobytes()


def found(data: bytes) -> str:
    return decode(data, 32, DecodeLimits(), b".jpg").facts.keywords


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_keywords_of_windows_are_read_in_every_format(kind: str) -> None:
    assert found(encoded(PICTURE, kind, exif=windows_exif())) == TOLD
    assert found(encoded(PICTURE, kind)) == ""


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF", "HEIF"])
def test_keywords_in_xmp_are_read_in_every_format(kind: str) -> None:
    assert found(encoded(PICTURE, kind, xmp=XMP)) == TOLD
    assert found(encoded(PICTURE, "TIFF", tiffinfo={700: XMP})) == found(png_with_xmp()) == TOLD


def test_keywords_in_iptc_are_read() -> None:
    assert found(jpeg_with(b"Photoshop 3.0\0" + RESOURCES)) == TOLD
    halves = RESOURCES[:40], RESOURCES[40:]
    assert found(jpeg_with(*(b"Photoshop 3.0\0" + half for half in halves))) == TOLD
    assert found(encoded(PICTURE, "TIFF", tiffinfo={33723: RECORDS})) == TOLD
    assert found(encoded(PICTURE, "TIFF", tiffinfo={34377: RESOURCES})) == TOLD
    assert found(png_with_profile(RESOURCES)) == found(png_with_profile(RECORDS)) == TOLD


def test_what_several_places_say_is_said_once() -> None:
    latin, utf8 = data_set(2, 25, "été".encode("latin-1")), data_set(1, 90, b"\x1b%G") + data_set(2, 25, "été".encode())
    assert (
        keywords(iptc=latin) == keywords(iptc=utf8) == keywords(iptc=latin, windows="ÉTÉ".encode("utf-16-le")).lower()
    )
    long = "a keyword of more than sixty-four characters, which IPTC has no room for"
    xmp = XMP.replace(b"Beach", long.encode())
    assert keywords(xmp, data_set(2, 25, long[:64].encode())) == keywords(xmp) == f"{long[:64].strip()}\nÉté & sun"


def test_more_keywords_than_there_is_room_for_differ_still() -> None:
    many = [f"keyword {number:03}" for number in range(200)]
    one, other = (keywords(windows=";".join([*many, last]).encode("utf-16-le")) for last in ("x", "y"))
    assert len(one) <= MAX_LINES_CHARS
    assert one.split("\n")[:3] == many[:3]
    assert " more (" in one.split("\n")[-1]
    assert one.split("\n")[:-1] == other.split("\n")[:-1]
    assert one != other


@given(st.binary(), st.binary(), st.binary(), st.integers(0, 400), st.integers(0, 400))
def test_broken_blocks_never_raise(xmp: bytes, iptc: bytes, windows: bytes, cut: int, at: int) -> None:
    for block in (iptc, RESOURCES[:cut] + iptc, RECORDS[:cut] + iptc, RESOURCES[:at] + iptc + RESOURCES[at:]):
        told = keywords(XMP[:cut] + xmp + XMP[at:], block, windows)
        assert len(told) <= MAX_LINES_CHARS
        assert all(line and line == line.strip() for line in told.split("\n") if told)
    found(png_with_profile(iptc))


def test_a_keyword_of_many_accents_takes_no_time_to_speak_of() -> None:
    began = time.process_time()
    assert keywords(windows=("a" + "\u0301\u0327" * 65_000 + ";Beach").encode("utf-16-le")).count("\n") == 1
    assert time.process_time() - began < 2  # it took nine


def test_names_of_places_labels_and_trees_of_keywords_count() -> None:
    xmp = (
        b'<rdf:Description xmp:Label="Red" photoshop:City="Rome" Iptc4xmpCore:Location="Trastevere">'
        b"<lr:hierarchicalSubject><rdf:Bag><rdf:li>Travel|Sea</rdf:li><rdf:li>People|Anna</rdf:li></rdf:Bag>"
        b"</lr:hierarchicalSubject><digiKam:TagsList><rdf:Seq><rdf:li>Travel/Beach</rdf:li></rdf:Seq></digiKam:TagsList>"
        b"<MicrosoftPhoto:LastKeywordXMP><rdf:Bag><rdf:li>Oma</rdf:li></rdf:Bag></MicrosoftPhoto:LastKeywordXMP>"
        b"</rdf:Description>"
    )
    assert keywords(xmp) == "Beach\nOma\nRed\nRome\nSea\nTrastevere"
    assert keywords(b"", data_set(2, 90, b"Rome") + data_set(2, 101, b"Italy")) == "Italy\nRome"
