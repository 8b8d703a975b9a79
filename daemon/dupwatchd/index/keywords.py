"""The keywords of a picture: blocks of metadata go in, one text comes out, a keyword a line.

They are taken from XMP (``dc:subject``), from IPTC (record 2, data set 25) and from ``XPKeywords``, which Windows
writes. Programs write one, two or all of them, and not always the same into each, so all of them count. Whatever is
broken in a block counts as absent; nothing here raises.
"""

import html
import struct
import unicodedata
from collections.abc import Iterable, Iterator

from blake3 import blake3

MAX_KEYWORD_CHARS = 64  # IPTC has room for so many bytes
MAX_KEYWORDS_CHARS = 1000  # of all together; stock photos have up to fifty keywords
_MAX_BLOCK_BYTES = 1 << 18
_LOOKED_AT_CHARS = 4096  # of one keyword: to normalise a long run of accents takes the square of its length
_MAX_KEYWORDS = 10_000  # that are looked at
_IPTC_RESOURCE = 0x0404  # among the resources of Photoshop
_UTF8 = b"\x1b%G"  # IPTC's name of it


def keywords(xmp: bytes = b"", iptc: bytes = b"", windows: bytes = b"") -> str:
    """The distinct keywords in alphabetical order, one a line; "" if there are none.

    ``iptc``: the records themselves, or the resources of Photoshop that hold them. ``windows``: UTF-16 text. What is
    more than MAX_KEYWORDS_CHARS in all is replaced by a last line that differs if what was left out does.
    """
    found = (
        *_of_xmp(xmp[:_MAX_BLOCK_BYTES]),
        *_of_iptc(_records(iptc[:_MAX_BLOCK_BYTES])),
        *windows[:_MAX_BLOCK_BYTES].decode("utf-16-le", "replace").split(";"),
    )
    distinct = {keyword.casefold(): keyword for keyword in map(_plain, found[:_MAX_KEYWORDS]) if keyword}
    return "\n".join(_bounded([distinct[name] for name in sorted(distinct)]))


def _plain(text: str) -> str:
    composed = unicodedata.normalize("NFC", text.strip()[:_LOOKED_AT_CHARS])
    printable = "".join(c if c.isprintable() else " " for c in composed)
    return " ".join(printable.split())[:MAX_KEYWORD_CHARS].rstrip()


def _bounded(ordered: list[str]) -> list[str]:
    if len("\n".join(ordered)) <= MAX_KEYWORDS_CHARS:
        return ordered
    room, kept = MAX_KEYWORDS_CHARS - 2 * MAX_KEYWORD_CHARS, 0
    while (room := room - len(ordered[kept]) - 1) >= 0:
        kept += 1
    rest = ordered[kept:]
    digest = blake3("\n".join(rest).encode()).hexdigest(length=4)
    return [*ordered[:kept], f"and {len(rest):,} more ({digest})"]


def _of_xmp(packet: bytes) -> Iterator[str]:
    begin = packet.find(b"<dc:subject")
    end = packet.find(b"</dc:subject>", begin)
    if begin < 0 or end < 0:
        return
    for item in packet[begin:end].split(b"</rdf:li>")[:-1]:
        text = item.rpartition(b"<rdf:li")[2].partition(b">")[2]
        yield html.unescape(text.decode("utf-8", "replace"))


def _records(block: bytes) -> bytes:
    """The IPTC records in the resources of Photoshop; what holds none of these are records already."""
    if not block.startswith(b"8BIM"):
        return block
    at = 0
    while block[at : at + 4] == b"8BIM" and at + 7 <= len(block):
        (kind,) = struct.unpack_from(">H", block, at + 4)
        name_bytes = block[at + 6] + 1
        at += 6 + name_bytes + name_bytes % 2
        if at + 4 > len(block):
            break
        (length,) = struct.unpack_from(">I", block, at)
        if kind == _IPTC_RESOURCE:
            return block[at + 4 : at + 4 + length]
        at += 4 + length + length % 2
    return b""


def _of_iptc(records: bytes) -> Iterable[str]:
    found, is_utf8 = [], False
    at = 0
    while records[at : at + 1] == b"\x1c" and at + 5 <= len(records):
        record, data_set, length = struct.unpack_from(">BBH", records, at + 1)
        if length > 0x7FFF:  # an extended data set: nothing that is looked for is so long
            break
        value = records[at + 5 : at + 5 + length]
        if (record, data_set) == (1, 90):
            is_utf8 = value.startswith(_UTF8)
        elif (record, data_set) == (2, 25):
            found.append(value)
        at += 5 + length
    return [_text(value, is_utf8=is_utf8) for value in found]


def _text(value: bytes, *, is_utf8: bool) -> str:
    """Many programs write UTF-8 without saying so; a value cut inside a character is still that."""
    if is_utf8:
        return value.decode("utf-8", "ignore")
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        is_cut = error.reason == "unexpected end of data" and error.start > 0
        return value.decode("utf-8", "ignore") if is_cut else value.decode("latin-1")
