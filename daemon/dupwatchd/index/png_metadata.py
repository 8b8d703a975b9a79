"""The bytes of a PNG go in, its metadata come out. Picture data are skipped without being read.

Whatever is broken counts as absent; nothing here raises.
"""

import struct
import zlib
from collections.abc import Iterator

from dupwatchd.index.metadata_blocks import MAX_BLOCK_BYTES, MAX_TEXT_BYTES, MAX_TEXTS, Blocks
from dupwatchd.index.texts import decoded

_MAX_CHUNKS = 100_000  # libpng cuts picture data into pieces of 8 KB, and metadata may follow them
_XMP = b"XML:com.adobe.xmp"
# How ImageMagick, exiv2 and ExifTool keep what other formats have segments for: in digits. APP1 is either EXIF or XMP.
_PROFILES = {
    b"raw profile type exif": "exif",
    b"raw profile type xmp": "xmp",
    b"raw profile type iptc": "iptc",
    b"raw profile type 8bim": "resources",
    b"raw profile type app1": "segment",
}
_MAX_DIGITS_BYTES = 2 * MAX_BLOCK_BYTES + (MAX_BLOCK_BYTES >> 4)  # two digits a byte, in lines
_XMP_SEGMENT = b"http://ns.adobe.com/xap/1.0/\0"
_CAPTIONS = frozenset({b"title", b"description", b"comment", b"caption"})
_LONGEST_NAME_BYTES = 79


def read_png(data: bytes) -> Blocks:
    """The first one of each block of metadata, and the texts that are called title, description, comment or caption."""
    found: dict[str, bytes] = {}
    texts: list[str] = []
    for kind, body in _chunks(data):
        if kind == b"eXIf":
            found.setdefault("exif", bytes(body[:MAX_BLOCK_BYTES]))
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            name, _, _ = bytes(body[: _LONGEST_NAME_BYTES + 1]).partition(b"\0")
            held = body[len(name) + 1 :]
            if name == _XMP:
                if "xmp" not in found:  # to unpack each of many would take minutes
                    found["xmp"] = _value(kind, held, MAX_BLOCK_BYTES)
            elif which := _PROFILES.get(name.lower()):
                if which not in found:
                    found[which] = _profile(_value(kind, held, _MAX_DIGITS_BYTES))
            elif name.lower() in _CAPTIONS and len(texts) < MAX_TEXTS:
                texts.append(decoded(_value(kind, held, MAX_TEXT_BYTES), is_utf8=kind == b"iTXt"))
    exif, xmp, segment = found.get("exif", b""), found.get("xmp", b""), found.get("segment", b"")
    if segment.startswith(_XMP_SEGMENT):
        xmp = xmp or segment
    else:
        exif = exif or segment
    iptc = found.get("iptc") or found.get("resources") or b""
    return Blocks(exif.removeprefix(b"Exif\0\0"), xmp.removeprefix(_XMP_SEGMENT), iptc, tuple(texts))


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    at = 8
    for _ in range(_MAX_CHUNKS):
        if at + 12 > len(data):
            break
        length, kind = struct.unpack_from(">I4s", data, at)
        yield kind, memoryview(data)[at + 8 : at + 8 + length]
        at += 12 + length


def _value(kind: bytes, body: memoryview, most: int) -> bytes:
    """What a chunk holds behind its name, at most so many bytes."""
    if kind == b"tEXt":
        return bytes(body[:most])
    if kind == b"zTXt":  # behind the number of the only way of packing
        return _unpacked(body[1:], most)
    head = bytes(body[:MAX_TEXT_BYTES])
    if len(head) < 2:
        return b""
    at = 2
    for _ in range(2):  # its language, and its name in that
        at = head.find(b"\0", at) + 1
        if not at:
            return b""
    return _unpacked(body[at:], most) if head[0] else bytes(body[at : at + most])


def _unpacked(packed: memoryview, most: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(packed, most)
    except zlib.error:
        return b""


def _profile(text: bytes) -> bytes:
    """The bytes that are written in hexadecimal digits behind a line with their kind, and one with their number."""
    digits = b"".join(b"".join(text.lstrip().split(b"\n", 2)[2:]).split())
    try:
        return bytes.fromhex(digits[: len(digits) // 2 * 2].decode("ascii"))
    except ValueError:
        return b""
