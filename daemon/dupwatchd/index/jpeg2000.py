"""JPEG 2000 of more than 8 bits a colour, by OpenCV: Pillow turns what is nearly white in it into black.

A header that Pillow has opened and the bytes of the file go in, its pixels come out. Both use OpenJPEG. Pillow decodes
first, since OpenCV takes most damaged files for good ones.
"""

import re

import cv2
import numpy as np
from PIL import Image

from dupwatchd.index.pillow_formats import Still
from dupwatchd.index.reasons import DecodeError
from dupwatchd.model import BYTE_BITS

_ORDERS = {"RGB": [2, 1, 0], "RGBA": [2, 1, 0, 3]}  # of colours as OpenCV gives them
_SIZES = re.compile(rb"\xff\x4f\xff\x51.{36}(..)", re.DOTALL)  # up to the number of components
_COMPONENT_BYTES = 3  # how many bits less one, with a sign or without; how many columns and rows a sample stands for
_SIGNED = 0x80
_HEAD_BYTES = 1 << 16
_ROWS_AT_ONCE = 64  # numbers between levels take four times the memory


def load_deep_jpeg2000(data: bytes, image: Image.Image) -> Still | None:
    """The colours of a picture; None if it is grey, or of 8 bits. Raises DecodeError, and what Pillow raises."""
    kinds = _kinds_of_samples(data)
    depths = sorted({(kind & ~_SIGNED) + 1 for kind in kinds})
    if not depths or depths[-1] <= BYTE_BITS or image.mode not in _ORDERS:
        return None
    signed = "signed samples of " if max(kinds) & _SIGNED else ""
    told = f"JPEG 2000 of {signed}{' and '.join(map(str, depths))} bits is not supported"
    if len(depths) > 1 or signed:  # neither library brings them to one scale
        raise DecodeError(told)
    image.load()
    deep = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if deep is None or deep.dtype != np.uint16 or deep.shape != (image.height, image.width, len(image.mode)):
        raise DecodeError(told)
    most = (1 << depths[0]) - 1
    levels = np.empty(deep.shape, np.uint8)
    for top in range(0, len(deep), _ROWS_AT_ONCE):
        rows = slice(top, top + _ROWS_AT_ONCE)
        values = (deep[rows][..., _ORDERS[image.mode]] * np.float32(255 / most)).round()
        levels[rows] = values.clip(0, 255)
    return Still(Image.fromarray(levels))


def _kinds_of_samples(data: bytes) -> bytes:
    """What the file says of each component's samples: a byte each, none if it does not say so."""
    found = _SIZES.search(data, 0, _HEAD_BYTES)
    if found is None:
        return b""
    count = int.from_bytes(found[1], "big")
    return data[found.end() : min(found.end() + _COMPONENT_BYTES * count, _HEAD_BYTES) : _COMPONENT_BYTES]
