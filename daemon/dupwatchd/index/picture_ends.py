"""The bytes of a file go in, where that ends which its format needs comes out: what stands behind is something else.

For TIFF, GIF, BMP and JPEG 2000. Where the file does not say it, that is its end, so that nothing stands behind. Of a
TIFF, whose parts lie anywhere, what is in private tags comes out as well.
"""

import struct
from collections.abc import Container, Iterator
from typing import NamedTuple

from dupwatchd.index.metadata_blocks import gif_blocks

_MAX_NUMBERS = 1_000_000  # directories, tags, and pieces of pixels of a TIFF; slides have some 100,000
_MAX_TAGS = 65_535  # of one directory: as many as there are numbers for
_UNIT_BYTES = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8, 129: 1,
}  # fmt: skip
_DIRECTORIES = frozenset({330, 34665, 34853, 40965})  # tags that say where others begin
_PIECES = ((273, 279), (324, 325), (513, 514))  # tags that say where pixels begin, and how long they are
_OF_MANY = _DIRECTORIES.union(*_PIECES)
_BIG_TIFF = 43
_FIRST_PRIVATE = 32768

_CORE_HEADER_BYTES, _NEWEST_HEADER_BYTES = 12, 124  # of BMP
_COLOURS_AT, _WITH_PROFILE = 14 + 56, (b"DEBM", b"KNIL")  # "MBED" and "LINK", from the last letter to the first
_PLAIN = frozenset({0, 3, 6})  # ways of packing in which each row has its full length

_START_OF_TILE, _END_OF_CODES = b"\xff\x90", b"\xff\xd9"


def end_of_tiff(data: bytes) -> int:
    """Behind all directories, and all that they say where it lies.

    Raises ValueError or struct.error for a broken one.
    """
    end, form = 0, _form(data)
    for behind, entries in _directories(data, form):
        tags = dict(entries)
        end = max(end, behind, *(tag.end for tag in tags.values()), _pixels_end(data, tags, form.order))
    return min(end, len(data))


def private_of_tiff(data: bytes, known: Container[int]) -> bytes:
    """Private tags that are not ``known``, of all directories, each with its value if that lies outside of these.

    Raises ValueError or struct.error for a broken one, and if its tags share their bytes.
    """
    found, size = [], 0
    for _, entries in _directories(data, _form(data)):
        for number, tag in entries:
            if number >= _FIRST_PRIVATE and number not in known and not tag.within:
                size += tag.size
                if size > len(data):
                    raise ValueError("tags share their bytes")
                found.append(struct.pack(">H", number) + data[tag.at : tag.end])
    return b"".join(found)


class _Form(NamedTuple):
    """How directories are written, for `struct`."""

    order: str
    entries: str  # how many there are
    offset: str
    entry: str
    value_bytes: int  # of what has room within an entry, and of where the next directory begins


def _form(data: bytes) -> _Form:
    order = "<" if data[:1] == b"I" else ">"
    if _BIG_TIFF in data[2:4]:
        return _Form(order, f"{order}Q", f"{order}Q", f"{order}HHQ8s", 8)
    return _Form(order, f"{order}H", f"{order}I", f"{order}HHI4s", 4)


class _Tag(NamedTuple):
    at: int  # where its value begins if that has no room within the entry
    size: int  # bytes
    unit: int
    within: bytes

    @property
    def end(self) -> int:
        return 0 if self.within else self.at + self.size

    @property
    def length(self) -> int:
        return self.size // self.unit

    def numbers(self, data: bytes, order: str) -> list[int]:
        value = self.within[: self.size] or data[self.at : self.at + self.size]
        letter = {2: "H", 4: "I", 8: "Q"}.get(self.unit)
        return [] if letter is None else list(struct.unpack(f"{order}{len(value) // self.unit}{letter}", value))


def _tags(data: bytes, entries: bytes, form: _Form) -> Iterator[tuple[int, _Tag]]:
    size = struct.calcsize(form.entry)
    for tag, kind, count, value in struct.iter_unpack(form.entry, entries[: len(entries) // size * size]):
        unit = _UNIT_BYTES.get(kind, 1)
        if count * unit <= form.value_bytes:
            yield tag, _Tag(0, count * unit, unit, value)
        else:
            (at,) = struct.unpack(form.offset, value)
            if at + count * unit <= len(data):
                yield tag, _Tag(at, count * unit, unit, b"")


def _directories(data: bytes, form: _Form) -> Iterator[tuple[int, list[tuple[int, _Tag]]]]:
    """Of each: where it ends, and its tags."""
    left = _MAX_NUMBERS
    seen: set[int] = set()
    begins = [struct.unpack_from(form.offset, data, form.value_bytes)[0]]
    while begins:
        at = begins.pop()
        if at in seen or not 0 < at < len(data):
            continue
        seen.add(at)
        (count,) = struct.unpack_from(form.entries, data, at)
        if count > _MAX_TAGS:
            raise ValueError("too many tags")
        first = at + struct.calcsize(form.entries)
        behind = first + count * struct.calcsize(form.entry)
        entries = list(_tags(data, data[first:behind], form))
        tags = dict(entries)
        left -= 1 + count + sum(tags[one].length for one in _OF_MANY & tags.keys())
        if left < 0:
            raise ValueError("too many directories, tags or pieces")
        begins += struct.unpack_from(form.offset, data, behind) if behind + form.value_bytes <= len(data) else ()
        begins += [one for tag in _DIRECTORIES & tags.keys() for one in tags[tag].numbers(data, form.order)]
        yield behind + form.value_bytes, entries


def _pixels_end(data: bytes, tags: dict[int, _Tag], order: str) -> int:
    """Of one directory; the end of the file if it does not tell how long all of its pieces are."""
    end = 0
    for begins, lengths in _PIECES:
        if begins in tags:
            at = tags[begins].numbers(data, order)
            sizes = tags[lengths].numbers(data, order) if lengths in tags else []
            if len(sizes) < len(at) or not any(sizes):
                return len(data)
            end = max(end, *(one + size for one, size in zip(at, sizes, strict=False)))
    return end


def end_of_gif(data: bytes) -> int:
    """Behind the last block, and the byte that ends them."""
    return max((end + 2 for *_, end in gif_blocks(data)), default=len(data))


def end_of_bmp(data: bytes) -> int:
    """Behind its rows, and a colour profile behind them. Raises struct.error for a broken one."""
    pixels_at, header_bytes = struct.unpack_from("<II", data, 10)
    if header_bytes == _CORE_HEADER_BYTES:
        width, height, _, bits = struct.unpack_from("<4H", data, 18)
        packing = 0
    else:
        width, height, _, bits, packing, size = struct.unpack_from("<iiHHII", data, 18)
        if packing not in _PLAIN:
            return pixels_at + size if size else len(data)
    end = pixels_at + (width * bits + 31) // 32 * 4 * abs(height)
    if header_bytes >= _NEWEST_HEADER_BYTES:
        profile_at, profile_bytes = struct.unpack_from("<II", data, 14 + 112)
        behind = 14 + profile_at + profile_bytes
        if data[_COLOURS_AT : _COLOURS_AT + 4] in _WITH_PROFILE and behind <= len(data):  # else they mean nothing
            end = max(end, behind)
    return int(end)


def end_of_jpeg2000(codes: bytes | memoryview) -> int:
    """Behind the marker that ends the codes, which begin with the first byte. Raises struct.error for broken ones."""
    at = 2
    while codes[at : at + 2] != _START_OF_TILE and at + 4 <= len(codes):  # the main header
        at += 2 + int.from_bytes(codes[at + 2 : at + 4], "big")
    while codes[at : at + 2] == _START_OF_TILE:
        (size,) = struct.unpack_from(">I", codes, at + 6)
        if not size:  # the last one; within its codes the marker cannot stand
            end = bytes(codes).find(_END_OF_CODES, at)
            at = end if end >= 0 else len(codes)
            break
        at += max(size, 2)
    return at + 2 if codes[at : at + 2] == _END_OF_CODES else at
