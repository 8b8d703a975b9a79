"""The keywords of a picture: blocks of metadata go in, one text comes out, a keyword a line.

They are taken from XMP (``dc:subject``), from IPTC (record 2, data set 25) and from ``XPKeywords``, which Windows
writes. Programs write one, two or all of them, and not always the same into each, so all of them count. Whatever is
broken in a block counts as absent; nothing here raises.
"""

from dupwatchd.index import iptc as iptc_records
from dupwatchd.index import xmp as xmp_packet
from dupwatchd.index.texts import lines, plain

MAX_KEYWORD_CHARS = 64  # IPTC has room for so many bytes
_KEYWORDS = 25
_MAX_BLOCK_BYTES = 1 << 18


def keywords(xmp: bytes = b"", iptc: bytes = b"", windows: bytes = b"") -> str:
    """The distinct keywords in alphabetical order, one a line, at most `MAX_LINES_CHARS`; "" if there are none.

    ``iptc``: the records themselves, or the resources of Photoshop that hold them. ``windows``: UTF-16 text.
    """
    found = (
        *xmp_packet.values(xmp, b"dc:subject"),
        *iptc_records.data_sets(iptc, _KEYWORDS),
        *windows[:_MAX_BLOCK_BYTES].decode("utf-16-le", "replace").split(";"),
    )
    return lines((plain(keyword)[:MAX_KEYWORD_CHARS].rstrip() for keyword in found), MAX_KEYWORD_CHARS)
