"""The bytes of a PNG go in, the same picture comes out as Pillow reads it, provided that all of it is there.

Pillow does not check the checksums of the picture's data, but refuses a file for a damaged text. Of data that end too
early in good order it says nothing, and leaves the rest black.
"""

import zlib

from dupwatchd.index.reasons import DecodeError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = b"\0\0\0\0IEND\xaeB\x60\x82"
_DEPTH_AT, _KIND_AT, _INTERLACED_AT = 8, 9, 12  # in its header
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a pixel, by kind of colours
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_PIECE_BYTES, _PACKED_PIECE_BYTES = 1 << 18, 1 << 16  # that are unpacked at once
# Pillow refuses a file for one of these that is shorter, and every other program passes over it.
_LEAST_BYTES = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"pHYs": 9, b"acTL": 8}
_TRANSPARENT_BYTES = {0: 2, 2: 6}  # likewise, by kind of colours
_PACKED = frozenset({b"iCCP", b"zTXt"})  # a name, the number of the only way of packing, and what is packed
# Ancillary chunks that change what one sees: transparency, and the frames of an animation.
_SEEN = frozenset({b"tRNS", b"acTL", b"fcTL", b"fdAT"})


def lacks_rows(data: bytes, width: int, height: int) -> bool:
    """Whether the data of a PNG, whose header says so many pixels, hold fewer; False if they cannot be unpacked.

    Of any bytes this can be asked. As many are unpacked as the pixels take, whatever the data would become.
    """
    missing, unpacker = 0, zlib.decompressobj()
    at, view = len(SIGNATURE), memoryview(data)
    is_begun = False
    while at + 8 <= len(data) and not unpacker.eof and not (is_begun and missing <= 0):
        kind, end = data[at + 4 : at + 8], at + 12 + int.from_bytes(data[at : at + 4], "big")
        if kind == b"IEND":
            break
        if kind == b"IHDR" and not is_begun:
            missing = _packed_bytes(data[at + 8 : end - 4], width, height)
        elif kind == b"IDAT":
            is_begun = True
            try:
                missing -= _unpacked_bytes(unpacker, view[at + 8 : end - 4], missing)
            except zlib.error:
                return False
        at = end
    return missing > 0


def _packed_bytes(header: bytes, width: int, height: int) -> int:
    """How many bytes the rows of so many pixels take before they are compressed; 0 if the header does not tell."""
    samples = _SAMPLES.get(header[_KIND_AT], 0) if len(header) > _INTERLACED_AT else 0
    if not samples:
        return 0
    bits = header[_DEPTH_AT] * samples
    passes = _PASSES if header[_INTERLACED_AT] else ((0, 0, 1, 1),)
    sizes = [(-(-(width - left) // across), -(-(height - top) // down)) for left, top, across, down in passes]
    return sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in sizes if columns > 0 and rows > 0)


def _unpacked_bytes(unpacker: "zlib._Decompress", packed: memoryview, most: int) -> int:
    """How many bytes come of one chunk, about ``most`` at most. Raises zlib.error.

    What it does not take at once is copied each time, so that it gets little.
    """
    count = 0
    for begin in range(0, len(packed), _PACKED_PIECE_BYTES):
        rest: bytes | memoryview = packed[begin : begin + _PACKED_PIECE_BYTES]
        while len(rest) > 0 and count < most and not unpacker.eof:
            count += len(unpacker.decompress(rest, _PIECE_BYTES))
            rest = unpacker.unconsumed_tail
    return count


def whole_png(data: bytes) -> bytes:
    """The PNG itself, or if parts that nobody sees are damaged, a copy without them.

    Such parts are texts and other metadata with a wrong checksum or of a wrong build, a second header,
    what tells of an animation that has no frames, and the chunk that ends the file. Whether the compressed data are
    complete is for the decoder to find out. Raises DecodeError.
    """
    kept: list[bytes] = []
    dropped = False
    header = b""
    at = len(SIGNATURE)
    while at + 8 <= len(data):
        kind, end = data[at + 4 : at + 8], at + 12 + int.from_bytes(data[at : at + 4], "big")
        if kind == b"CgBI":
            raise DecodeError("CgBI PNG (Apple's own kind) is not supported")
        if kind == b"IEND" or not kind.isalpha():
            break
        if end > len(data):
            raise DecodeError("truncated PNG")
        if zlib.crc32(data[at + 4 : end - 4]) == int.from_bytes(data[end - 4 : end], "big"):
            if (kind == b"IHDR" and header) or _is_passed_over(kind, data[at + 8 : end - 4], header):
                dropped = True
            else:
                kept.append(data[at:end])
            header = header or (data[at + 8 : end - 4] if kind == b"IHDR" else b"")
        elif kind[:1].isupper() or kind in _SEEN:
            raise DecodeError(f"damaged PNG (wrong checksum of {kind.decode('ascii')})")
        else:
            dropped = True
        at = end
    if not any(chunk[4:8] == b"IDAT" for chunk in kept):
        raise DecodeError("truncated PNG")
    kinds = {chunk[4:8] for chunk in kept}
    if b"acTL" in kinds and b"fcTL" not in kinds:
        kept, dropped = [chunk for chunk in kept if chunk[4:8] != b"acTL"], True
    if not dropped and data[at : at + len(_END)] == _END:
        return data
    return b"".join([SIGNATURE, *kept, _END])


def _is_passed_over(kind: bytes, body: bytes, header: bytes) -> bool:
    """Is a chunk that nobody needs to see the picture built otherwise than it must be?"""
    if kind in _PACKED:
        name, _, packed = body.partition(b"\0")
        return not name or packed[:1] != b"\0"
    least = _LEAST_BYTES.get(kind, 0)
    if kind == b"tRNS" and len(header) > _KIND_AT:
        least = _TRANSPARENT_BYTES.get(header[_KIND_AT], 0)
    return len(body) < least
