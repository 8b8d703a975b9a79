"""Whether a RAW file is shorter than its own directory says.

In a half-copied RAW file the preview is whole, because it lies in front, and LibRaw returns it without a warning. But
a damaged photo must never count as a copy.
"""

import struct

_OFFSETS = {273, 324, 513}  # of strips, tiles and an embedded JPEG
_LENGTHS = {279, 325, 514}  # in the same order
_SUB_DIRECTORIES = 330
_NUMBERS = {3: "H", 4: "I", 13: "I"}  # TIFF's short, long and directory offset
_MAX_DIRECTORIES = 64
_MAX_VALUES = 1 << 20


def is_shorter_than_it_says(data: bytes) -> bool:
    """Whether bytes are missing at the end; False for kinds of files that do not tell their length."""
    try:
        if data[:4] in (b"II*\0", b"MM\0*"):
            return _tiff_end(data) > len(data)
        if data[4:8] == b"ftyp":  # CR3
            return _boxes_end(data) > len(data)
    except struct.error:  # a directory lies beyond the end of the file
        return True
    return False


def _boxes_end(data: bytes) -> int:
    """Where the last of the top-level boxes of an ISO media file ends."""
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if size < 8:  # 0: up to the end of the file
            break
        at += size
    return at


def _tiff_end(data: bytes) -> int:
    """The furthest byte that a strip, a tile or a preview needs. Raises struct.error."""
    order = "<" if data[:2] == b"II" else ">"
    pending = [struct.unpack_from(order + "I", data, 4)[0]]
    seen: set[int] = set()
    end = 0
    while pending and len(seen) < _MAX_DIRECTORIES:
        at = pending.pop()
        if at == 0 or at in seen:
            continue
        seen.add(at)
        (entries,) = struct.unpack_from(order + "H", data, at)
        offsets: list[int] = []
        lengths: list[int] = []
        for number in range(entries):
            tag, values = _entry(data, at + 2 + 12 * number, order)
            if tag in _OFFSETS:
                offsets += values
            elif tag in _LENGTHS:
                lengths += values
            elif tag == _SUB_DIRECTORIES:
                pending += values
        end = max([end, *map(sum, zip(offsets, lengths, strict=False))])
        pending.append(struct.unpack_from(order + "I", data, at + 2 + 12 * entries)[0])
    return end


def _entry(data: bytes, at: int, order: str) -> tuple[int, list[int]]:
    """A directory entry's tag and, if they are whole numbers that matter here, its values. Raises struct.error."""
    tag, kind, count = struct.unpack_from(order + "HHI", data, at)
    if kind not in _NUMBERS or tag not in _OFFSETS | _LENGTHS | {_SUB_DIRECTORIES} or count > _MAX_VALUES:
        return tag, []
    values = f"{order}{count}{_NUMBERS[kind]}"
    if struct.calcsize(values) > 4:
        (at,) = struct.unpack_from(order + "I", data, at + 8)
    else:
        at += 8
    return tag, list(struct.unpack_from(values, data, at))
