"""JPEG 2000 of more than 8 bits a colour, by OpenCV: Pillow turns what is nearly white in it into black.

A header that Pillow has opened and the bytes of the file go in, its pixels come out. Both use OpenJPEG. Pillow decodes
first, since OpenCV takes most damaged files for good ones.
"""

import cv2
import numpy as np
from PIL import Image

from dupwatchd.index.depth import bits_a_colour
from dupwatchd.index.pillow_formats import Still
from dupwatchd.index.reasons import DecodeError
from dupwatchd.model import BYTE_BITS

_ORDERS = {"RGB": cv2.COLOR_BGR2RGB, "RGBA": cv2.COLOR_BGRA2RGBA}


def load_deep_jpeg2000(data: bytes, image: Image.Image) -> Still | None:
    """The colours of a picture; None if it is grey, or of 8 bits. Raises DecodeError, and what Pillow raises."""
    bits = bits_a_colour(image, data)
    if bits <= BYTE_BITS or image.mode not in _ORDERS:
        return None
    image.load()
    deep = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if deep is None or deep.dtype != np.uint16 or deep.shape != (image.height, image.width, len(image.mode)):
        raise DecodeError(f"JPEG 2000 of {bits} bits is not supported")
    most = (1 << bits) - 1
    levels = (cv2.cvtColor(deep, _ORDERS[image.mode]).astype(np.float32) * (255 / most)).round()
    return Still(Image.fromarray(levels.clip(0, 255).astype(np.uint8)))
