"""Finds pictures whose coded data end in zeros: a copy that broke off, in a file that already had its full size.

In go the bytes of a file and its format, out comes what is wrong with it, or None. libaom and libde265 decode such a
file without complaint, but HEVC and AV1 end each picture with a bit that is set. Only media data are looked at: what
programs add behind a picture may well end in zeros. A sound WebP may, if it ends in one colour, so there it cannot be
told, nor in what stores pixels as they are (BMP, PPM, most TIFF and TGA), which may end in black.
"""

from collections.abc import Iterator

_ZEROS = bytes(64)
_DAMAGE = "the end of its data is filled with zeros"


def zero_filled_end(data: bytes, format_name: str) -> str | None:
    """What is wrong with a HEIF or AVIF whose data end in 64 zeros; None if nothing is, or for other formats."""
    if format_name not in ("HEIF", "AVIF"):
        return None
    is_hollow = any(data[max(0, end - len(_ZEROS)) : end] == _ZEROS for end in _media_ends(data))
    return _DAMAGE if is_hollow else None


def _media_ends(data: bytes) -> Iterator[int]:
    """Where the media data of an ISO base media file end."""
    at = 0
    while at + 8 <= len(data):
        length, kind, head = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], 8
        if length == 1:
            length, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        elif length == 0:  # up to the end of the file
            length = len(data) - at
        if length < head:
            return
        at = min(at + length, len(data))
        if kind == b"mdat":
            yield at
