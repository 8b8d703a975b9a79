"""IPTC: the records, or the resources of Photoshop that hold them, go in, the texts of data sets come out.

Whatever is broken counts as absent; nothing here raises.
"""

import struct

from dupwatchd.index.texts import decoded

IPTC_RESOURCE = 0x0404  # among the resources of Photoshop
_MAX_RESOURCES = 1000  # that are looked through; Photoshop writes some fifty
_UTF8 = b"\x1b%G"  # IPTC's name of it
_MAX_BLOCK_BYTES = 1 << 18


def data_sets(block: bytes, *numbers: int) -> list[str]:
    """The values of these data sets of record 2, in their order."""
    records = _records(block[:_MAX_BLOCK_BYTES])
    found, is_utf8 = [], False
    at = 0
    while records[at : at + 1] == b"\x1c" and at + 5 <= len(records):
        record, data_set, length = struct.unpack_from(">BBH", records, at + 1)
        if length > 0x7FFF:  # an extended data set: nothing that is looked for is so long
            break
        value = records[at + 5 : at + 5 + length]
        if (record, data_set) == (1, 90):
            is_utf8 = value.startswith(_UTF8)
        elif record == 2 and data_set in numbers:
            found.append(value)
        at += 5 + length
    return [decoded(value, is_utf8=is_utf8) for value in found]


def _records(block: bytes) -> bytes:
    """The IPTC records in the resources of Photoshop; what holds none of these are records already."""
    return resource(block, IPTC_RESOURCE) if block.startswith(b"8BIM") else block


def resource(block: bytes | memoryview, number: int, max_bytes: int = _MAX_BLOCK_BYTES) -> bytes:
    """The first one of this number among the resources of Photoshop, cut to so many bytes; b"" if there is none."""
    at = 0
    for _ in range(_MAX_RESOURCES):
        if block[at : at + 4] != b"8BIM" or at + 7 > len(block):
            break
        (kind,) = struct.unpack_from(">H", block, at + 4)
        name_bytes = block[at + 6] + 1
        at += 6 + name_bytes + name_bytes % 2
        if at + 4 > len(block):
            break
        (length,) = struct.unpack_from(">I", block, at)
        if kind == number:
            return bytes(block[at + 4 : at + 4 + min(length, max_bytes)])
        at += 4 + length + length % 2
    return b""
