"""Captions and people of a picture, from wherever programs put them; how finely it holds its colours."""

import io
import time
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from dupwatchd.index.captions import MAX_CAPTION_CHARS, captions, people, user_comment
from dupwatchd.index.decode import decode
from dupwatchd.index.limits import DecodeLimits
from dupwatchd.index.metadata import metadata_of
from dupwatchd.index.metadata_blocks import Blocks, read_boxes, read_gif, read_psd
from dupwatchd.index.png_metadata import read_png
from dupwatchd.index.texts import MAX_LINES_CHARS
from dupwatchd.model import Facts
from tests.conftest import encoded, photo_like
from tests.index.test_keywords import data_set, jpeg_with

PICTURE = photo_like(1, 80, 60)
XMP = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF>
<rdf:Description photoshop:Headline="A headline" exif:GPSLatitude="48,8.229N" exif:GPSLongitude="11,34,31.44E">
<dc:title><rdf:Alt><rdf:li xml:lang="x-default">A &amp; title</rdf:li></rdf:Alt></dc:title>
<dc:description><rdf:Alt>
 <rdf:li xml:lang="x-default">By the
 sea</rdf:li>
 <rdf:li xml:lang="de">Am Meer</rdf:li></rdf:Alt></dc:description>
<exif:UserComment><rdf:Alt><rdf:li xml:lang="x-default">A comment</rdf:li></rdf:Alt></exif:UserComment>
<Iptc4xmpExt:PersonInImage><rdf:Bag><rdf:li>Anna</rdf:li></rdf:Bag></Iptc4xmpExt:PersonInImage>
<mwg-rs:Regions rdf:parseType="Resource"><mwg-rs:RegionList><rdf:Bag>
 <rdf:li><rdf:Description mwg-rs:Name="Bert" mwg-rs:Type="Face"><mwg-rs:Area stArea:x="0.5"/></rdf:Description></rdf:li>
 <rdf:li rdf:parseType="Resource"><mwg-rs:Name>ANNA</mwg-rs:Name><mwg-rs:Type>Face</mwg-rs:Type></rdf:li>
 <rdf:li rdf:parseType="Resource"><mwg-rs:Type>Focus</mwg-rs:Type></rdf:li>
</rdf:Bag></mwg-rs:RegionList></mwg-rs:Regions>
<MP:RegionInfo><rdf:Description><MPRI:Regions><rdf:Bag>
 <rdf:li><rdf:Description MPReg:Rectangle="0.1" MPReg:PersonDisplayName="Carla"/></rdf:li>
</rdf:Bag></MPRI:Regions></rdf:Description></MP:RegionInfo>
<digiKam:TagsList><rdf:Seq><rdf:li>People/Family/Dora</rdf:li><rdf:li>Places/Rome</rdf:li></rdf:Seq></digiKam:TagsList>
<lr:hierarchicalSubject><rdf:Bag><rdf:li>People|Emil</rdf:li></rdf:Bag></lr:hierarchicalSubject>
</rdf:Description></rdf:RDF></x:xmpmeta>"""
CAPTIONS = "A & title\nA comment\nA headline\nAm Meer\nBy the sea"
PEOPLE = "ANNA\nBert\nCarla\nDora\nEmil"


def facts(data: bytes, suffix: bytes = b".jpg") -> Facts:
    return decode(data, 32, DecodeLimits(), suffix).facts


def exif(described: str = "", comment: bytes = b"", title: str = "") -> bytes:
    made = Image.Exif()
    if described:
        made[0x010E] = described.encode()
    if comment:
        made.get_ifd(0x8769)[0x9286] = comment
    if title:
        made[0x9C9B] = f"{title}\0".encode("utf-16-le")
    return made.tobytes()


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF", "HEIF", "TIFF", "PNG"])
def test_xmp_tells_captions_people_and_place_in_every_format(kind: str) -> None:
    if kind == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_itxt("XML:com.adobe.xmp", XMP.decode())
        found = facts(encoded(PICTURE, kind, pnginfo=text))
    else:
        found = facts(encoded(PICTURE, kind, **({"tiffinfo": {700: XMP}} if kind == "TIFF" else {"xmp": XMP})))
    assert (found.captions, found.people) == (CAPTIONS, PEOPLE)
    assert (found.has_place, found.place) == (True, "48.13715, 11.57540")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_exif_tells_captions_in_every_format(kind: str) -> None:
    data = encoded(PICTURE, kind, exif=exif("Rome, 1999", b"ASCII\0\0\0With Anna\0\0  ", "On the road"))
    assert facts(data).captions == "On the road\nRome, 1999\nWith Anna"
    assert facts(encoded(PICTURE, kind)) == facts(encoded(PICTURE, kind, exif=exif("SONY DSC", bytes(100), "  ")))


def test_what_xmp_has_no_room_for_in_one_segment_is_read() -> None:
    half = len(XMP) // 2
    plain = encoded(PICTURE, xmp=b"<x:xmpmeta/>")
    more = b""
    for place in (half, 0):
        part = XMP[half:] if place else XMP[:half]
        body = (
            b"http://ns.adobe.com/xmp/extension/\0" + b"A" * 32 + len(XMP).to_bytes(4, "big") + place.to_bytes(4, "big")
        )
        more += b"\xff\xe1" + (2 + len(body + part)).to_bytes(2, "big") + body + part
    found = facts(plain[:2] + more + plain[2:])
    assert (found.captions, found.people, found.place) == (CAPTIONS, PEOPLE, "48.13715, 11.57540")


def test_iptc_tells_captions() -> None:
    records = b"".join(data_set(2, n, text) for n, text in ((5, b"Title"), (105, b"Headline"), (120, b"By the sea")))
    resources = b"8BIM\x04\x04\0\0" + len(records).to_bytes(4, "big") + records
    assert facts(jpeg_with(b"Photoshop 3.0\0" + resources)).captions == "By the sea\nHeadline\nTitle"


@pytest.mark.parametrize("where", ["in front of", "behind"])
@pytest.mark.parametrize("packed", [False, True])
def test_texts_of_a_png_are_captions(where: str, packed: bool) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", "By the sea", zip=packed)
    text.add_text("Software", "a program", zip=packed)
    text.add_itxt("Description", "Été", lang="fr", tkey="Description", zip=packed)
    text.add_text("Comment", "Created with GIMP", zip=packed)
    data = encoded(PICTURE, "PNG", pnginfo=text)
    if where == "behind":  # the picture's data
        plain = encoded(PICTURE, "PNG")
        chunks = data[33 : len(data) - len(plain) + 33]
        data = plain[:-12] + chunks + plain[-12:]
    assert facts(data).captions == "By the sea\nÉté"


def test_texts_behind_thousands_of_chunks_are_found() -> None:
    """Libraries write picture data in pieces of 8 KB, and some programs their metadata behind them."""
    plain = encoded(PICTURE, "PNG")
    data_at = plain.index(b"IDAT") + 4
    packed = plain[data_at : data_at + int.from_bytes(plain[data_at - 8 : data_at - 4], "big")]
    pieces = [b"IDAT" + packed[at : at + 1] for at in range(2500)] + [b"IDAT" + packed[2500:], b"tEXtTitle\0By the sea"]
    chunks = [(len(one) - 4).to_bytes(4, "big") + one + zlib.crc32(one).to_bytes(4, "big") for one in pieces]
    assert facts(plain[:33] + b"".join(chunks) + plain[-12:]).captions == "By the sea"


def segment(marker: int, body: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + (2 + len(body)).to_bytes(2, "big") + body


def test_comments_of_a_jpeg_are_captions_and_what_encoders_write_there_is_none() -> None:
    plain = encoded(PICTURE)
    texts = [b"By the sea\0", "Été".encode("latin-1"), b"Lavc58.54.100", bytes(range(256)), b"", "日本".encode()]
    assert (
        facts(plain[:2] + b"".join(segment(0xFE, one) for one in texts) + plain[2:]).captions == "By the sea\nÉté\n日本"
    )


def test_a_comment_of_a_thumbnail_in_front_of_a_jpeg_is_none_of_its_own() -> None:
    plain = encoded(PICTURE)
    inner = plain[:2] + segment(0xFE, b"of the thumbnail") + plain[2:]
    assert facts(plain[:2] + b"\xff\xe1\x00\x08Exif\0\0" + inner + plain[2:]).captions == ""


def sub_blocks(body: bytes) -> bytes:
    pieces = (body[at : at + 255] for at in range(0, len(body), 255))
    return b"".join(bytes([len(one)]) + one for one in pieces) + b"\0"


GIF_XMP = b"\x21\xff\x0bXMP DataXMP" + XMP + b"\x01" + bytes(range(255, -1, -1)) + b"\0"


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("where", ["in front of", "behind"])
def test_comments_and_xmp_of_a_gif_are_read(frames: int, where: str) -> None:
    into = io.BytesIO()
    first, *rest = (Image.fromarray(PICTURE + np.uint8(9 * number)) for number in range(frames))
    first.save(into, "GIF", save_all=frames > 1, append_images=rest)
    plain = into.getvalue()
    at = 13 + (3 << (plain[10] & 7) + 1) if where == "in front of" else len(plain) - 1
    long = b"word " * 100
    comments = b"".join(b"\x21\xfe" + sub_blocks(one) for one in (b"Made with GIMP", b"GIF made with ezgif.com", long))
    found = facts(plain[:at] + comments + GIF_XMP + plain[at:])
    assert found.captions.split("\n") == sorted(
        [*CAPTIONS.split("\n"), "Made with GIMP", captions(long)], key=str.casefold
    )
    assert (found.people, found.place) == (PEOPLE, "48.13715, 11.57540")


def test_nothing_behind_xmp_of_a_gif_is_taken_for_it() -> None:
    """Where it ends early, as nothing leads to its end."""
    short = b"\x21\xff\x0bXMP DataXMP" + sub_blocks(b"short")
    comments = b"\x21\xfe" + sub_blocks(XMP) + b"\x21\xfe" + sub_blocks(bytes(400))
    assert read_gif(b"GIF89a" + bytes(7) + short + comments).xmp == b""


def hex_profile(body: bytes) -> str:
    lines = [body.hex()[at : at + 72] for at in range(0, 2 * len(body), 72)]
    return "\n".join(["", "generic profile", f"{len(body):8}", *lines, ""])


@pytest.mark.parametrize("chunk", ["tEXt", "zTXt", "iTXt"])
@pytest.mark.parametrize("kind", ["exif", "xmp", "APP1", "APP1 of XMP", "iptc", "8bim"])
def test_profiles_that_a_png_holds_in_digits_are_read(kind: str, chunk: str) -> None:
    records = data_set(2, 120, b"By the sea")
    body, told = {
        "exif": (exif("Rome"), "Rome"),
        "xmp": (XMP, CAPTIONS),
        "APP1": (exif("Rome"), "Rome"),
        "APP1 of XMP": (b"http://ns.adobe.com/xap/1.0/\0" + XMP, CAPTIONS),
        "iptc": (records, "By the sea"),
        "8bim": (b"8BIM\x04\x04\0\0" + len(records).to_bytes(4, "big") + records, "By the sea"),
    }[kind]
    text, name = PngImagePlugin.PngInfo(), f"Raw profile type {kind.split()[0]}"
    if chunk == "iTXt":
        text.add_itxt(name, hex_profile(body), zip=True)
    else:
        text.add_text(name, hex_profile(body), zip=chunk == "zTXt")
    assert facts(encoded(PICTURE, "PNG", pnginfo=text)).captions == told


def test_xmp_that_is_packed_in_a_png_is_read() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", XMP.decode(), zip=True)
    assert facts(encoded(PICTURE, "PNG", pnginfo=text)).captions == CAPTIONS


def box(kind: bytes, body: bytes) -> bytes:
    return (8 + len(body)).to_bytes(4, "big") + kind + body


@pytest.mark.parametrize("where", ["in front of", "behind"])
def test_metadata_in_boxes_are_read(where: str) -> None:
    plain = encoded(PICTURE, "JPEG2000")
    at = plain.index(b"jp2c") - 4 if where == "in front of" else len(plain)
    if where == "behind":  # a last box may say that it has no end
        length_at = plain.index(b"jp2c") - 4
        plain = plain[:length_at] + (len(plain) - length_at).to_bytes(4, "big") + plain[length_at + 4 :]
    boxes = (
        box(b"xml ", b"<gml:FeatureCollection/>")
        + box(b"uuid", b"JpgTiffExif->JP2" + exif("Rome"))
        + box(b"uuid", bytes.fromhex("be7acfcb97a942e89c71999491e3afac") + XMP)
        + box(b"uuid", bytes.fromhex("33c7a4d2b81d4723a0baf1a3e097ad38") + data_set(2, 5, b"Title"))
    )
    found = facts(plain[:at] + boxes + plain[at:], b".jp2")
    assert found.captions.split("\n") == sorted([*CAPTIONS.split("\n"), "Rome", "Title"], key=str.casefold)
    assert found.people == PEOPLE


def test_the_boxes_of_jpeg_xl_are_read() -> None:
    """Whether Pillow has a plugin for its pixels or not."""
    found = read_boxes(box(b"JXL ", b"\r\n\x87\n") + box(b"Exif", b"\0\0\0\x02ab" + exif("Rome")) + box(b"xml ", XMP))
    assert (found.exif, found.xmp) == (exif("Rome").removeprefix(b"Exif\0\0"), XMP)


def psd(resources: bytes) -> bytes:
    head = b"8BPS\0\x01" + bytes(6) + (3).to_bytes(2, "big") + (60).to_bytes(4, "big") + (80).to_bytes(4, "big")
    pixels = b"\0\0" + np.moveaxis(PICTURE, 2, 0).tobytes()
    return head + b"\0\x08\0\x03" + bytes(4) + len(resources).to_bytes(4, "big") + resources + bytes(4) + pixels


def test_metadata_of_a_psd_are_read() -> None:
    """Also behind a large profile."""
    blocks = {
        0x040F: bytes(300_001),
        0x0404: data_set(2, 5, b"Title"),
        0x0422: exif("Rome").removeprefix(b"Exif\0\0"),
        0x0424: XMP,
    }
    resources = b"".join(
        b"8BIM" + kind.to_bytes(2, "big") + b"\0\0" + len(one).to_bytes(4, "big") + one + b"\0" * (len(one) % 2)
        for kind, one in blocks.items()
    )
    found = facts(psd(resources), b".psd")
    assert found.captions.split("\n") == sorted([*CAPTIONS.split("\n"), "Rome", "Title"], key=str.casefold)
    assert found.people == PEOPLE


@given(st.binary(), st.integers(0, 400), st.integers(0, 400))
def test_broken_containers_never_raise(noise: bytes, cut: int, at: int) -> None:
    gif = b"GIF89a" + bytes(7) + b"\x21\xfe" + sub_blocks(b"By the sea") + GIF_XMP
    boxes, resources = (
        box(b"uuid", b"JpgTiffExif->JP2" + XMP[:99]) + box(b"xml ", b"x"),
        b"8BIM\x04\x04\0\0\0\0\0\x09123456789",
    )
    for whole in (gif, boxes, bytes(26) + bytes(4) + b"\0\0\0\x40" + resources):
        for data in (noise, whole[:cut] + noise + whole[at:], whole[:cut]):
            for read in (read_gif, read_boxes, read_psd):
                metadata_of(*read(data))


def packed_xmp(body: bytes) -> bytes:
    held = b"XML:com.adobe.xmp\0\x01\0\0\0" + zlib.compress(body)
    return len(held).to_bytes(4, "big") + b"iTXt" + held + bytes(4)


@pytest.mark.parametrize(
    ("read", "hostile"),
    [
        (read_gif, b"GIF89a" + bytes(7) + b"\x21\xfe\x01a\0" * 400_000),
        (read_gif, b"GIF89a" + bytes(7) + b"\x21\xfe" + b"\x01a" * 4_000_000),
        (read_gif, b"GIF89a" + bytes(7) + b"\x2c" + bytes(10) * 400_000),
        (read_boxes, b"\0\0\0\x08xml " * 1_000_000),
        (read_boxes, b"\0\0\0\x01xml " + b"\xff" * 8),
        (read_psd, bytes(30) + b"\xff" * 4 + b"8BIM\0\0\0\0\0\0\0\0" * 2_000_000),
        (read_png, b"12345678" + b"\0\x20\0\0zTXtRaw profile type exif\0\0" + zlib.compress(b"1 " * 50_000_000)),
        (read_png, b"12345678" + 1000 * packed_xmp(b"x" * (1 << 20))),
        (read_png, b"12345678" + b"\0\0\0\x20tEXtRaw profile type x%05d\0123" * 9),
    ],
)
def test_a_hostile_container_takes_no_time_to_speak_of(read: Callable[[bytes], Blocks], hostile: bytes) -> None:
    began = time.process_time()
    metadata_of(*read(hostile))
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    "text",
    [
        "OLYMPUS DIGITAL CAMERA         ", "SONY DSC", "Default", "DCIM\\100GOPRO\\GOPR0012.JPG", "Exif_JPEG_PICTURE",
        "   ", "...", "KONICA MINOLTA DIGITAL CAMERA", "Digital Still Camera", "<Digimax S500 / Kenox S500>", "dav",
        "DSC_0123.JPG", "IMG_20240501_101112.jpg", "P1010023", "Screenshot", "filter: 0; fileterIntensity: 0.0;",
        "oplus_32", '{"mirror":false,"sensor_type":"rear"}', "Created with The GIMP", "My beautiful picture", "(null)",
        '{"shape": [3, 4]}', "Processed with VSCO with f2 preset", "MINOLTA DIGITAL CAMERA", "Untitled",
        "CREATOR: gd-jpeg v1.0 (using IJG JPEG v62), quality = 90\n", "Lavc58.54.100", "AppleMark\n",
        "File written by Adobe Photoshop\xa8 4.0", "LEAD Technologies Inc. V1.01",
        "Optimized by JPEGmini 3.13.3.15 0x1f3a",
        "Intel(R) JPEG Library, version [1.51.12.44]", "Created by AccuSoft Corp.", "GIF made with ezgif.com",
        "Image resized by Some Program v3", "Compressed by jpeg-recompress", "Edited with AnyPaint®, 2003",
        "XV 3.10a  Rev: 12/29/94", "Handmade Software, Inc. Image Alchemy v1.13\n",
        "This GIF file was assembled with GIF Construction Set(TM)", "Optimized using ezgif.com", "GIFSICLE",
        "edited 1f0a93bc", "edited 20131207", "Resized 800x600", "Exported: IMG_20240501_101112 #4fa0b1",
        "rhdr", "oznorWO", "btfmdn", "mde_soft", "sdr_HDRB", "fbthdr", "ptfbty", "frontbhdp",
    ],
)  # fmt: skip
def test_what_cameras_and_programs_write_of_their_own_is_no_caption(text: str) -> None:
    assert captions(text.encode()) == ""
    assert captions(comment=user_comment(b"ASCII\0\0\0" + text.encode(), "<")) == ""


@pytest.mark.parametrize(
    "text",
    [
        "Sam 2003",
        "Anna",
        "My first digital camera",
        "Default of the year",
        "1",
        "Rome 1999",
        "Made by Anna in Rome on 1.10.99",
        "Created with love by Anna and Bert, 12.10.1999",
        "Scanned by Bert at home (c) 2003",
        "Image created by anna@home.example.com",
        "Saved by the fire brigade",
        "Creator: Anna",
        "Written with a pen in Volterra",
        "Created with GIMP: Anna on the beach",
        "P. and I",
        "Created 1999",
        "Edited at dusk",
        "Touched",
        "Created facade",
        "Saved 12345 Anna",
        "日本",
        "Robert",
        "\N{BIRTHDAY CAKE}",
    ],
)
def test_what_a_person_writes_is_a_caption(text: str) -> None:
    assert captions(text.encode()) == text


@pytest.mark.parametrize(
    ("value", "order", "told"),
    [
        (b"ASCII\0\0\0By the sea\0\0", "<", "By the sea"),
        (b"\0" * 8 + "Été".encode(), "<", "Été"),
        (b"\0" * 8 + "Été".encode("latin-1"), "<", "Été"),
        (b"UNICODE\0" + "Été".encode("utf-16-le"), "<", "Été"),
        (b"UNICODE\0" + "Été".encode("utf-16-be"), ">", "Été"),
        (b"UNICODE\0" + "By the sea".encode("utf-16-le"), ">", "By the sea"),
        (b"UNICODE\0" + "By the sea".encode("utf-16-be"), "<", "By the sea"),
        (b"UNICODE\0" + "日本".encode("utf-16"), ">", "日本"),
        (b"JIS\0\0\0\0\0" + "日本".encode("iso2022_jp"), "<", "日本"),
        (b"By the sea", "<", "By the sea"),  # without the name of a coding
        (b"", "<", ""),
        (bytes(264), "<", ""),
        (b"ASCII\0\0\0" + b" " * 200, "<", ""),
        (bytes(8) + bytes(range(1, 60)) * 4, "<", ""),  # numbers of a camera's own
    ],
)
def test_a_user_comment_is_read_in_its_coding(value: bytes, order: str, told: str) -> None:
    assert user_comment(value, order) == told


def test_a_long_caption_is_cut_and_differs_still() -> None:
    long = "word " * 2000
    one, other, same = (captions(xmp=f"<dc:title>{text}</dc:title>".encode()) for text in (long + "x", long, long))
    assert len(one) == len(other) <= MAX_CAPTION_CHARS
    assert one.startswith("word word")
    assert one != other == same


def packet(*values: bytes) -> bytes:
    return b"".join(b"<dc:title>" + value + b"</dc:title>" for value in values)


@given(st.binary(), st.integers(0, len(XMP)), st.integers(0, len(XMP)), st.binary())
def test_broken_blocks_never_raise(noise: bytes, cut: int, at: int, value: bytes) -> None:
    for block in (noise, XMP[:cut] + noise + XMP[at:], packet(noise), b"<dc:title " + noise + b">"):
        for told in (captions(noise, user_comment(value, "<"), [], noise, block), people(block)):
            assert len(told) <= MAX_LINES_CHARS
            assert all(line and line == line.strip() for line in told.split("\n") if told)
    chunks = [
        (len(body) + 6).to_bytes(4, "big") + kind + b"Title\0" + body + b"-sum"
        for kind in (b"tEXt", b"zTXt", b"iTXt")
        for body in (noise, noise[:2] + zlib.compress(value)[: cut % 20] + noise, noise[:2] + b"\0\0" + value)
    ]
    assert len(captions(texts=read_png(b"12345678" + b"".join(chunks) + noise).texts)) <= MAX_LINES_CHARS
    read_png(noise)


@pytest.mark.parametrize(
    "hostile",
    [
        b"<dc:title>" * 26_000,
        b"<dc:title " * 26_000,
        b"<dc:title><rdf:li>" * 8_000 + b"</rdf:li></dc:title>",
        b' mwg-rs:Name="' * 18_000,
        b" mwg-rs:Name=" * 18_000,
        b"<dc:title>P" + b"1" * 200_000 + b"!</dc:title>",
        packet(*(b"P" + b"1" * 4000 + b"!" for _ in range(60))),
        b"<dc:title>" + b"&lt;" * 60_000 + b"</dc:title>",
        packet(*(b"%d" % n for n in range(9000))),
        b"<dc:title>" + "a\u0301\u0327".encode() * 50_000 + b"</dc:title>",
    ],
)
def test_a_hostile_packet_takes_no_time_to_speak_of(hostile: bytes) -> None:
    began = time.process_time()
    assert len(captions(xmp=hostile)) <= MAX_LINES_CHARS
    assert len(people(hostile)) <= MAX_LINES_CHARS
    assert time.process_time() - began < 0.5


def test_a_text_that_unpacks_without_end_is_cut() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", "By the sea " * 1_000_000, zip=True)
    data = encoded(np.zeros((8, 8, 3), np.uint8), "PNG", pnginfo=text)
    assert len(data) < 200_000
    began = time.process_time()
    assert len(facts(data).captions) <= MAX_CAPTION_CHARS
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("latitude", "longitude", "place"),
    [
        ("51,30.5N", "0,7.66W", "51.50833, -0.12767"),
        ("51,30,27S", "0,7,39.6E", "-51.50750, 0.12767"),
        ("0,0.0N", "0,0.0E", ""),
        ("91,0.0N", "0,7.66W", ""),
        ("51.5N", "0,7.66W", "51.50000, -0.12767"),
        ("-51.5", "0.12767 E", "-51.50000, 0.12767"),
        ("51,5N", "0.5N", ""),
        ("91.5", "0.5", ""),
        ("51,30.5E", "0,7.66W", ""),
        ("", "0,7.66W", ""),
    ],
)
def test_a_place_that_only_xmp_tells_is_known(latitude: str, longitude: str, place: str) -> None:
    xmp = f'<rdf:Description exif:GPSLatitude="{latitude}" exif:GPSLongitude="{longitude}"/>'.encode()
    found = facts(encoded(PICTURE, xmp=xmp))
    assert (found.place, found.has_place) == (place, place != "")


def test_a_hemisphere_that_stands_apart_is_read() -> None:
    xmp = (
        b'<rdf:Description exif:GPSLatitude="43.0764" exif:GPSLatitudeRef="N" exif:GPSLongitude="79.077" '
        b'exif:GPSLongitudeRef="W"/>'
    )
    assert facts(encoded(PICTURE, xmp=xmp)).place == "43.07640, -79.07700"


def test_the_place_of_exif_comes_before_that_of_xmp() -> None:
    made = Image.Exif()
    made.get_ifd(0x8825).update({1: "N", 2: (10.0, 0.0, 0.0), 3: "E", 4: (20.0, 0.0, 0.0)})
    assert facts(encoded(PICTURE, exif=made.tobytes(), xmp=XMP)).place == "10.00000, 20.00000"


def png16() -> bytes:
    rows = b"".join(b"\0" + bytes(range(96)) for _ in range(16))
    chunks = [b"IHDR" + bytes([0, 0, 0, 16, 0, 0, 0, 16, 16, 2, 0, 0, 0]), b"IDAT" + zlib.compress(rows), b"IEND"]
    made = [(len(one) - 4).to_bytes(4, "big") + one + zlib.crc32(one).to_bytes(4, "big") for one in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(made)


def saved(image: Image.Image, kind: str) -> bytes:
    into = io.BytesIO()
    image.save(into, kind)
    return into.getvalue()


GREY16 = Image.fromarray(np.arange(4096, dtype=np.uint16).reshape(64, 64) * 16)
GREY32 = Image.fromarray(np.linspace(0, 1, 4096, dtype=np.float32).reshape(64, 64))


@pytest.mark.parametrize(
    ("data", "bits"),
    [
        (png16(), 16),
        (saved(GREY16, "PNG"), 16),
        (saved(GREY16, "TIFF"), 16),
        (saved(GREY32, "TIFF"), 32),
        (saved(GREY16, "JPEG2000"), 16),
        (b"P6 # a comment\n8 8\n# another\n65535\n" + bytes(range(128)) * 3, 16),
        (b"P6 8 8 255\n" + bytes(range(64)) * 3, 8),
        *((encoded(PICTURE, kind), 8) for kind in ("JPEG", "PNG", "TIFF", "WEBP", "AVIF", "HEIF", "JPEG2000", "BMP")),
    ],
)
def test_how_many_bits_a_colour_has(data: bytes, bits: int) -> None:
    assert facts(data, b"").bits == bits


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "AVIF"])
def test_only_what_can_be_seen_through_is_transparent(kind: str) -> None:
    rgba = np.dstack([PICTURE, np.full(PICTURE.shape[:2], 255, np.uint8)])
    opaque = Image.fromarray(rgba.copy())
    rgba[5:20, 5:20, 3] = 40
    assert facts(saved(Image.fromarray(rgba), kind)).transparent
    assert not facts(saved(opaque, kind)).transparent
    assert not facts(encoded(PICTURE, kind)).transparent


def test_a_colour_or_a_grey_level_that_stands_for_nothing_makes_a_picture_transparent() -> None:
    into = io.BytesIO()
    Image.fromarray(PICTURE).quantize(16).save(into, "PNG", transparency=3)
    assert facts(into.getvalue()).transparent
    into = io.BytesIO()
    GREY16.save(into, "PNG", transparency=160)
    assert facts(into.getvalue()).transparent
