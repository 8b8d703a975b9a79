"""Still WebP pictures, by OpenCV: for 12 megapixels it takes three quarters of the CPU time that Pillow takes.

Both use libwebp, and their pixels are equal. OpenCV decodes nothing else: it accepts damaged PNGs, TIFFs and JPEGs, its
decoder of animated PNGs crashes, and for other formats it is not faster. Pillow reads the header, animations, and
whatever OpenCV refuses or does not check.
"""

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dupwatchd.index.pillow_formats import Still, load_still
from dupwatchd.index.thumbnail import Pixels

cv2.setNumThreads(1)  # there is one worker process for each processor already

_ANIMATED = 0x02  # a flag in the header of the extended kind of WebP, VP8X
_HEADER_BYTES = 12  # "RIFF", the length of the rest, "WEBP"


def load_webp(data: bytes, header: Image.Image) -> Pixels:
    """A WebP, not yet turned upright; ``header`` is what Pillow opened from the same bytes.

    Raises MemoryError, and what Pillow raises if the picture is damaged.
    """
    still = _bare_still(data)
    pixels = None if still is None else _decode(still)
    if pixels is None or pixels.shape != (header.height, header.width, len(header.getbands())):
        return load_still(header)  # an animation; damage, and Pillow says which; unannounced alpha
    return Still(Image.fromarray(pixels), blue_first=True)


def check_memory(data: bytes) -> None:
    """Raises MemoryError if there is not enough for what Pillow allocates to open a WebP; it calls that damage."""
    kind, header = data[12:16], data[20:30]
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(header[at : at + 3], "little") for at in (4, 7))
    elif kind == b"VP8L":
        bits = int.from_bytes(header[1:5], "little")
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    else:
        width, height = (int.from_bytes(header[at : at + 2], "little") & 0x3FFF for at in (6, 8))
    np.empty((2, height, width, 4), np.uint8)  # this frame of an animation and the one before


def _decode(data: bytes) -> NDArray[np.uint8] | None:
    """(H, W, 3) BGR or (H, W, 4) BGRA; None if OpenCV refuses. Raises MemoryError."""
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError from error
        return None
    if pixels is None or pixels.dtype != np.uint8 or pixels.ndim != 3:
        return None
    colours: NDArray[np.uint8] = pixels.astype(np.uint8, copy=False)
    return colours


def _bare_still(data: bytes) -> bytes | None:
    """The same picture without the chunks behind it; None if this is an animation, or if chunks are missing.

    Given a damaged picture together with its EXIF, libwebp would read on there and not notice that bits are missing.
    """
    if data[12:16] == b"VP8X" and data[20] & _ANIMATED:
        return None
    file_end = 8 + int.from_bytes(data[4:8], "little")
    picture_end = None
    at = _HEADER_BYTES
    while at + 8 <= file_end:
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + length + length % 2
        if picture_end is None and kind in (b"VP8 ", b"VP8L"):
            picture_end = at
    if at != file_end or file_end > len(data) or picture_end is None:
        return None
    if picture_end == len(data):
        return data
    return b"RIFF" + (picture_end - 8).to_bytes(4, "little") + data[8:picture_end]
