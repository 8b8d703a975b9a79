"""The keywords of a picture: blocks of metadata go in, one text comes out, a keyword a line.

They are taken from XMP (``dc:subject``, and the last names of trees of keywords), from IPTC (record 2, data set 25) and
from what Windows writes. Programs write one, two or all of them, and not always the same into each, so all of them
count. So do the names of places, and the label, which people give in the same way. Whatever is broken in a block counts
as absent; nothing here raises.
"""

import re

from dupwatchd.index import iptc as iptc_records
from dupwatchd.index import xmp as xmp_packet
from dupwatchd.index.texts import lines, plain

MAX_KEYWORD_CHARS = 64  # IPTC has room for so many bytes
_KEYWORDS = 25
_PLACES = (90, 92, 95, 101)  # city, part of it, state, country
_XMP_KEYWORDS = (
    b"dc:subject", b"MicrosoftPhoto:LastKeywordXMP", b"xmp:Label", b"photoshop:City", b"photoshop:State",
    b"photoshop:Country", b"Iptc4xmpCore:Location",
)  # fmt: skip
_XMP_TREES = (b"lr:hierarchicalSubject", b"digiKam:TagsList")  # "Travel|Rome" or "Travel/Rome"
_MAX_BLOCK_BYTES = 1 << 18


def keywords(xmp: bytes = b"", iptc: bytes = b"", windows: bytes = b"") -> str:
    """The distinct keywords in alphabetical order, one a line, at most `MAX_LINES_CHARS`; "" if there are none.

    ``iptc``: the records themselves, or the resources of Photoshop that hold them. ``windows``: UTF-16 text.
    """
    found = (
        *(keyword for name in _XMP_KEYWORDS for keyword in xmp_packet.values(xmp, name)),
        *(leaf for name in _XMP_TREES for path in xmp_packet.values(xmp, name) if (leaf := _last_name(path))),
        *iptc_records.data_sets(iptc, _KEYWORDS, *_PLACES),
        *windows[:_MAX_BLOCK_BYTES].decode("utf-16-le", "replace").split(";"),
    )
    return lines((plain(keyword)[:MAX_KEYWORD_CHARS].rstrip() for keyword in found), MAX_KEYWORD_CHARS)


def _last_name(path: str) -> str:
    """Of a keyword in a tree; "" of those that are people, see `captions.people`."""
    *above, last = re.split(r"[/|]", path)
    return "" if above and above[0].strip().casefold() == "people" else last
