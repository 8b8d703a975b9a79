"""The bytes of a HEIF or AVIF file go in, what its items hold beside the picture comes out.

Items are maps of brightness and of depth, mattes, and the parts that each is put together from. The picture itself, its
smaller versions and metadata are left out, so that what is the same in two files is told as the same however their
pictures are coded and wherever the items lie.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from blake3 import blake3

from dupwatchd.index.metadata_blocks import boxes

_METADATA = frozenset({b"Exif", b"mime", b"uri "})
_IN_FILE, _IN_DATA_BOX = 0, 1  # where an item lies

_ONCE = frozenset({b"iinf", b"iloc", b"iref", b"pitm", b"idat"})
_MAX_EXTENTS = 100_000  # of all items; they may take no byte of the list, so that its length bounds nothing

_Extents = list[tuple[int, int, int]]  # where each lies, at which byte there, and its length


def held_by_items(data: bytes) -> bytes:
    """What the same items give in every file.

    Raises ValueError, KeyError or IndexError if there are none or the file does not say for certain where they lie.
    """
    meta = next(body for kind, body in boxes(data) if kind == b"meta")
    listed = list(boxes(meta[4:]))
    parts = dict(listed)
    if sum(kind in _ONCE for kind, _ in listed) != len(_ONCE & parts.keys()):
        raise ValueError("two lists, of which others may read the other one")
    kinds, refers = _kinds(parts[b"iinf"]), _references(parts.get(b"iref", memoryview(b"\0\0\0\0")))
    (primary,) = _numbers(parts[b"pitm"][4:], 4 if parts[b"pitm"][0] else 2, 1)
    left_out = _with_parts([primary, *refers[b"thmb"]], refers[b"dimg"])
    beside = [one for one, kind in kinds.items() if one not in left_out and kind not in _METADATA]
    extents = _extents(parts[b"iloc"])
    if not beside or sum(length for one in beside for *_, length in extents[one]) > len(data):
        raise ValueError("no items, or they share their bytes")
    places = {_IN_FILE: memoryview(data), _IN_DATA_BOX: parts.get(b"idat", memoryview(b""))}
    digests = []
    for one in beside:
        digest = blake3(kinds[one])
        for where, begin, length in extents[one]:
            if not 0 < length <= len(places[where]) - begin:
                raise ValueError("an item is not there")
            digest.update(places[where][begin : begin + length])
        digests.append(digest.digest())
    return b"".join(sorted(digests))


def _kinds(body: memoryview) -> dict[int, bytes]:
    """The kind of each item."""
    found = {}
    for kind, entry in boxes(body[8 if body[0] else 6 :]):
        if kind != b"infe" or entry[0] not in (2, 3):
            raise ValueError("items of another version, or too many")
        wide = 4 if entry[0] == 3 else 2
        found[int.from_bytes(entry[4 : 4 + wide], "big")] = entry[6 + wide : 10 + wide].tobytes()
    return found


def _references(body: memoryview) -> defaultdict[bytes, dict[int, list[int]]]:
    """By kind of reference, which items each item refers to."""
    found: defaultdict[bytes, dict[int, list[int]]] = defaultdict(dict)
    wide = 4 if body[0] else 2
    for kind, entry in boxes(body[4:]):
        if not kind:
            raise ValueError("too many references")
        (count,) = _numbers(entry[wide:], 2, 1)
        found[kind].setdefault(int.from_bytes(entry[:wide], "big"), []).extend(_numbers(entry[wide + 2 :], wide, count))
    return found


def _with_parts(items: Iterable[int], made_of: Mapping[int, list[int]]) -> set[int]:
    """These items, and all that they are put together from."""
    found: set[int] = set()
    left = list(items)
    while left:
        one = left.pop()
        if one not in found:
            found.add(one)
            left += made_of.get(one, ())
    return found


def _extents(body: memoryview) -> dict[int, _Extents]:
    """Where each item lies."""
    version, at = body[0], 6
    offset_bytes, length_bytes, base_bytes, index_bytes = body[4] >> 4, body[4] & 15, body[5] >> 4, body[5] & 15

    def number(wide: int) -> int:
        nonlocal at
        at += wide
        if at > len(body):
            raise ValueError("it ends too early")
        return int.from_bytes(body[at - wide : at], "big")

    found: dict[int, _Extents] = {}
    left = _MAX_EXTENTS
    for _ in range(number(4 if version > 1 else 2)):
        item = number(4 if version > 1 else 2)
        where = number(2) & 15 if version else _IN_FILE
        number(2)  # of the file that holds it, which is this one
        base = number(base_bytes)
        extents: _Extents = []
        count = number(2)
        left -= count
        if left < 0:
            raise ValueError("too many extents")
        for _ in range(count):
            number(index_bytes if version else 0)
            extents.append((where, base + number(offset_bytes), number(length_bytes)))
        found[item] = extents
    return found


def _numbers(body: memoryview, wide: int, count: int) -> list[int]:
    if len(body) < wide * count:
        raise ValueError("it ends too early")
    return [int.from_bytes(body[at : at + wide], "big") for at in range(0, wide * count, wide)]
