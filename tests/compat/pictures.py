"""A folder of pictures as users of difPy have them."""

import numpy as np
from PIL import Image

from tests.conftest import Rgb, encoded, photo_like


def flat(level: int, width: int = 60, height: int = 40) -> Rgb:
    """A picture of one grey level."""
    return np.full((height, width, 3), level, np.uint8)


def smaller(picture: Rgb) -> Rgb:
    height, width = picture.shape[:2]
    return np.asarray(Image.fromarray(picture).resize((width // 2, height // 2)))


def as_png(picture: Rgb) -> bytes:
    return encoded(picture, "PNG")


ONE, TWO, THREE = (photo_like(seed, 240, 180) for seed in (1, 2, 3))
