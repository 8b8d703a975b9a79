"""The bytes of one file go in, its thumbnail comes out: chooses the decoder, and says why if none can read it."""

import warnings

from PIL import UnidentifiedImageError
from PIL.Image import Image

from dupwatchd.index.jpeg import average_jpeg
from dupwatchd.index.limits import DecodeLimits
from dupwatchd.index.pillow_formats import average_bitmap, average_still, exif_orientation, open_image
from dupwatchd.index.raw import RawPhoto, open_raw, preview_orientation
from dupwatchd.index.reasons import DecodeError, too_many_pixels, why_not_decoded, why_not_opened
from dupwatchd.index.thumbnail import Floats, to_bytes, upright
from dupwatchd.index.webp import average_webp, check_memory
from dupwatchd.model import Decoded
from dupwatchd.suffixes import RAW_SUFFIXES

_JPEGS = ("JPEG", "MPO")  # MPO: several JPEGs in one file, the first is the picture


def decode(data: bytes, thumbnail_px: int, limits: DecodeLimits, suffix: bytes) -> Decoded:
    """Decodes a whole file; ``suffix`` is its lower-case suffix with the dot, or empty.

    Raises NotAPicture if this is no image, DecodeError if it cannot be decoded, MemoryError.
    """
    if not data:
        raise DecodeError("zero bytes")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # decoders warn of broken metadata, which do not matter here
        if suffix in RAW_SUFFIXES and (photo := open_raw(data, limits.max_pixels)):
            return _decode_raw(photo, thumbnail_px, limits)
        image = _opened(data, suffix, limits)
        values = _averaged(image, data, thumbnail_px)
        orientation = exif_orientation(image) or 1
        width, height = image.size
        if orientation > 4:
            width, height = height, width
        return Decoded(upright(to_bytes(values), orientation), width, height, _format_name(image))


def _decode_raw(photo: RawPhoto, thumbnail_px: int, limits: DecodeLimits) -> Decoded:
    if isinstance(photo.preview, bytes):
        image = _opened(photo.preview, b"", limits)
        own, (width, height) = exif_orientation(image), image.size
        values = _averaged(image, photo.preview, thumbnail_px)
    else:
        own, (height, width) = None, photo.preview.shape[:2]
        values = average_bitmap(photo.preview, thumbnail_px)
    orientation = preview_orientation(photo, own, width, height)
    return Decoded(upright(to_bytes(values), orientation), photo.width, photo.height, "RAW")


def _opened(data: bytes, suffix: bytes, limits: DecodeLimits) -> Image:
    try:
        image = open_image(data, suffix)
    except (MemoryError, DecodeError):
        raise
    except UnidentifiedImageError:
        raise why_not_opened(data) from None
    except Exception as error:  # broken files make decoders raise anything
        if data[8:12] == b"WEBP":
            check_memory(data)
        raise why_not_opened(data, error) from error
    if image.width * image.height > limits.max_pixels:
        raise too_many_pixels(image.width, image.height, limits.max_pixels)
    return image


def _averaged(image: Image, data: bytes, thumbnail_px: int) -> Floats:
    """(S, S, 3) float32 RGB, not yet turned upright."""
    try:
        if image.format in _JPEGS:
            return average_jpeg(data, image, thumbnail_px)
        if image.format == "WEBP":
            return average_webp(data, image, thumbnail_px)
        return average_still(image, thumbnail_px)
    except (MemoryError, DecodeError):
        raise
    except Exception as error:  # broken files make decoders raise anything
        raise why_not_decoded(error, _format_name(image)) from error


def _format_name(image: Image) -> str:
    return "JPEG" if image.format in _JPEGS else str(image.format)
