"""The bytes of a PNG go in, its metadata come out. Picture data are skipped without being read.

Whatever is broken counts as absent; nothing here raises.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from dupwatchd.index.texts import decoded

MAX_BLOCK_BYTES = 1 << 20  # of EXIF, XMP and IPTC
_MAX_CHUNKS = 100_000  # libpng cuts picture data into pieces of 8 KB, and metadata may follow them
_MAX_TEXTS, _MAX_TEXT_BYTES = 20, 1 << 16  # of the captions
_XMP = b"XML:com.adobe.xmp"
_IPTC = b"Raw profile type iptc"  # where ImageMagick and exiv2 keep it
_CAPTIONS = frozenset({b"title", b"description", b"comment"})
_LONGEST_NAME_BYTES = 79


class PngMetadata(NamedTuple):
    """What a PNG holds; empty where there is nothing."""

    exif: bytes  # a TIFF structure
    xmp: bytes
    iptc: bytes
    captions: list[str]  # the texts that are called title, description or comment


def read_png(data: bytes) -> PngMetadata:
    """The first one of each block of metadata, and the captions."""
    exif, xmp, iptc, captions = b"", b"", b"", list[str]()
    for kind, body in _chunks(data):
        if kind == b"eXIf":
            exif = exif or bytes(body[:MAX_BLOCK_BYTES])
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            name, _, _ = bytes(body[: _LONGEST_NAME_BYTES + 1]).partition(b"\0")
            if kind == b"iTXt" and name == _XMP:
                xmp = xmp or bytes(body[:MAX_BLOCK_BYTES])
            elif kind == b"zTXt" and name == _IPTC:
                iptc = iptc or _profile(_unpacked(body[len(name) + 2 :], MAX_BLOCK_BYTES))
            elif name.lower() in _CAPTIONS and len(captions) < _MAX_TEXTS:
                captions.append(_text(kind, body[len(name) + 1 :]))
    return PngMetadata(exif, xmp, iptc, captions)


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    at = 8
    for _ in range(_MAX_CHUNKS):
        if at + 12 > len(data):
            break
        length, kind = struct.unpack_from(">I4s", data, at)
        yield kind, memoryview(data)[at + 8 : at + 8 + length]
        at += 12 + length


def _text(kind: bytes, body: memoryview) -> str:
    """The text of a chunk behind its name."""
    if kind == b"tEXt":
        return decoded(bytes(body[:_MAX_TEXT_BYTES]))
    if kind == b"zTXt":  # behind the number of the only way of packing
        return decoded(_unpacked(body[1:], _MAX_TEXT_BYTES))
    head = bytes(body[:_MAX_TEXT_BYTES])
    if len(head) < 2:
        return ""
    at = 2
    for _ in range(2):  # its language, and its name in that
        at = head.find(b"\0", at) + 1
        if not at:
            return ""
    text = _unpacked(body[at:], _MAX_TEXT_BYTES) if head[0] else head[at:]
    return decoded(text, is_utf8=True)


def _unpacked(packed: memoryview, most: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(packed, most)
    except zlib.error:
        return b""


def _profile(text: bytes) -> bytes:
    """The bytes that are written in hexadecimal digits behind their kind and their number."""
    try:
        return bytes.fromhex(b"".join(text.split()[2:]).decode("ascii"))
    except ValueError:
        return b""
