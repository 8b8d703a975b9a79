"""The bytes of a PNG go in, the same picture comes out as Pillow reads it, provided that all of it is there.

Pillow does not check the checksums of the picture's data, but refuses a file for a damaged text.
"""

import zlib

from dupwatchd.index.reasons import DecodeError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = b"\0\0\0\0IEND\xaeB\x60\x82"
# Ancillary chunks that change what one sees: transparency, and the frames of an animation.
_SEEN = frozenset({b"tRNS", b"acTL", b"fcTL", b"fdAT"})


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
