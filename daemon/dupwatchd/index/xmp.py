"""XMP: a packet goes in, the values of a property come out.

No parser of XML reads it: packets come cut off and broken, may ask for files or for entities that grow without bound,
and programs write the names of properties in one way only. What is broken counts as absent; nothing here raises.
"""

import html
import re
from collections.abc import Iterator
from functools import cache

MAX_PACKET_BYTES = 1 << 18  # what is asked for stands at the beginning; edits in Lightroom make packets of megabytes


def values(packet: bytes, name: bytes) -> Iterator[str]:
    """The values of a property such as ``dc:title``: an attribute, a text, or each item of a list."""
    packet = packet[:MAX_PACKET_BYTES]
    if name not in packet:
        return
    for one in _attribute(name).finditer(packet):
        yield _text(one[1] if one[1] is not None else one[2])
    begin, close = _begin(name), b"</" + name + b">"
    at = 0
    # Each step goes on behind what was read, and the first one that does not end is the last.
    while (opening := begin.search(packet, at)) and (end := packet.find(close, opening.end())) >= 0:
        at = end + len(close)
        *items, rest = packet[opening.end() : end].split(b"</rdf:li>")
        for item in items:
            yield _text(item.rpartition(b"<rdf:li")[2].partition(b">")[2])
        if not items and b"<" not in rest:
            yield _text(rest)


@cache
def _attribute(name: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"\s" + re.escape(name) + rb"""\s*=\s*(?:"([^"<]*)"|'([^'<]*)')""")


@cache
def _begin(name: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"<" + re.escape(name) + rb"(?:\s[^<>]*(?<!/))?>")


def _text(value: bytes) -> str:
    return html.unescape(value.decode("utf-8", "replace"))
