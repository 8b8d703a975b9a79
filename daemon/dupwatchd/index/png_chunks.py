"""The bytes of a PNG go in, the same picture comes out as Pillow reads it, provided that all of it is there.

Pillow does not check the checksums of the picture's data, but refuses a file for a damaged text. Of data that end too
early in good order it says nothing, and leaves the rest black.
"""

import zlib

from dupwatchd.index.reasons import DecodeError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = b"\0\0\0\0IEND\xaeB\x60\x82"
_DEPTH_AT, _KIND_AT, _INTERLACED_AT = 24, 25, 28  # in its header, which comes first
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a pixel, by kind of colours
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_PIECE_BYTES = 1 << 18
# Ancillary chunks that change what one sees: transparency, and the frames of an animation.
_SEEN = frozenset({b"tRNS", b"acTL", b"fcTL", b"fdAT"})


def lacks_rows(data: bytes, width: int, height: int) -> bool:
    """Whether the data of a PNG, whose header says so many pixels, hold fewer; False if they cannot be unpacked."""
    bits = data[_DEPTH_AT] * _SAMPLES[data[_KIND_AT]]
    passes = _PASSES if data[_INTERLACED_AT] else ((0, 0, 1, 1),)
    sizes = [(-(-(width - left) // across), -(-(height - top) // down)) for left, top, across, down in passes]
    missing = sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in sizes if columns > 0 and rows > 0)
    unpacker, at = zlib.decompressobj(), len(SIGNATURE)
    while missing > 0 and at + 8 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        packed = data[at + 8 : end - 4] if data[at + 4 : at + 8] == b"IDAT" else b""
        try:
            while packed and missing > 0:
                missing -= len(unpacker.decompress(packed, _PIECE_BYTES))
                packed = unpacker.unconsumed_tail
        except zlib.error:
            return False
        at = end
    return missing > 0


def whole_png(data: bytes) -> bytes:
    """The PNG itself, or if parts that nobody sees are damaged, a copy without them.

    Such parts are texts and other metadata with a wrong checksum, and the chunk that ends the file. Whether the
    compressed data are complete is for the decoder to find out. Raises DecodeError.
    """
    kept: list[bytes] = []
    dropped = False
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
            kept.append(data[at:end])
        elif kind[:1].isupper() or kind in _SEEN:
            raise DecodeError(f"damaged PNG (wrong checksum of {kind.decode('ascii')})")
        else:
            dropped = True
        at = end
    if not any(chunk[4:8] == b"IDAT" for chunk in kept):
        raise DecodeError("truncated PNG")
    if not dropped and data[at : at + len(_END)] == _END:
        return data
    return b"".join([SIGNATURE, *kept, _END])
