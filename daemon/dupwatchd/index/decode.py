"""The bytes of one file go in, its thumbnail comes out: chooses the decoder, and says why if none can read it."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import UnidentifiedImageError
from PIL.Image import Image

from dupwatch.suffixes import RAW_SUFFIXES
from dupwatchd.index.jpeg import average_jpeg
from dupwatchd.index.jpeg_segments import read_head
from dupwatchd.index.limits import DecodeLimits
from dupwatchd.index.pillow_formats import average_bitmap, average_still, exif_orientation, jpeg_orientation, open_image
from dupwatchd.index.raw import RawPhoto, open_raw, preview_orientation
from dupwatchd.index.reasons import DecodeError, too_many_pixels, why_not_decoded, why_not_opened
from dupwatchd.index.thumbnail import Floats, to_bytes, upright
from dupwatchd.index.unsupported import unsupported_kind
from dupwatchd.index.webp import average_webp, check_memory
from dupwatchd.model import Decoded

_JPEG_SIGNATURE = b"\xff\xd8\xff"


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
        picture = _average(data, suffix, thumbnail_px, limits)
        width, height = picture.width, picture.height
        if picture.orientation in (5, 6, 7, 8):
            width, height = height, width
        thumbnail = upright(to_bytes(picture.values), picture.orientation or 1)
        return Decoded(thumbnail, width, height, picture.format, picture.damage)


@dataclass(frozen=True, slots=True)
class _Averaged:
    """A decoded picture as it is stored, not yet turned upright."""

    values: Floats  # (S, S, 3) RGB
    width: int  # px
    height: int
    orientation: int | None  # 1 … 8; None if the file does not say
    format: str
    damage: str | None = None


def _decode_raw(photo: RawPhoto, thumbnail_px: int, limits: DecodeLimits) -> Decoded:
    if isinstance(photo.preview, bytes):
        preview = _average(photo.preview, b"", thumbnail_px, limits)
    else:
        height, width = photo.preview.shape[:2]
        preview = _Averaged(average_bitmap(photo.preview, thumbnail_px), width, height, None, "RAW")
    orientation = preview_orientation(photo, preview.orientation, preview.width, preview.height)
    thumbnail = upright(to_bytes(preview.values), orientation)
    return Decoded(thumbnail, photo.width, photo.height, "RAW", preview.damage)


def _average(data: bytes, suffix: bytes, thumbnail_px: int, limits: DecodeLimits) -> _Averaged:
    """Raises NotAPicture, DecodeError, MemoryError."""
    if data.startswith(_JPEG_SIGNATURE):
        return _average_jpeg(data, thumbnail_px, limits)
    image = _opened(data, suffix)
    _check_pixels(image.width, image.height, limits)
    name = str(image.format)
    with _told_as(name, data):
        values = average_webp(data, image, thumbnail_px) if name == "WEBP" else average_still(image, thumbnail_px)
    # TIFF: asked after decoding, because Pillow turns it while decoding and forgets its orientation then.
    return _Averaged(values, image.width, image.height, exif_orientation(image), name)


def _average_jpeg(data: bytes, thumbnail_px: int, limits: DecodeLimits) -> _Averaged:
    head = read_head(data)
    if head is None:  # it ends before its first scan
        raise DecodeError("truncated JPEG")
    if head.frame.unsupported:
        raise DecodeError(f"{head.frame.unsupported} is not supported")
    _check_pixels(head.frame.width, head.frame.height, limits)
    with _told_as("JPEG", data):
        values, damage = average_jpeg(data, head, thumbnail_px)
    return _Averaged(values, head.frame.width, head.frame.height, jpeg_orientation(head.segments), "JPEG", damage)


def _opened(data: bytes, suffix: bytes) -> Image:
    try:
        return open_image(data, suffix)
    except (MemoryError, DecodeError):
        raise
    except Exception as error:  # broken files make decoders raise anything
        if data[8:12] == b"WEBP":
            check_memory(data)
        if kind := unsupported_kind(data):
            raise DecodeError(f"{kind} is not supported") from error
        raise why_not_opened(data, None if isinstance(error, UnidentifiedImageError) else error) from error


def _check_pixels(width: int, height: int, limits: DecodeLimits) -> None:
    if width * height > limits.max_pixels:
        raise too_many_pixels(width, height, limits.max_pixels)


@contextmanager
def _told_as(format_name: str, data: bytes) -> Iterator[None]:
    """Turns whatever a decoder raises into a DecodeError."""
    try:
        yield
    except (MemoryError, DecodeError):
        raise
    except Exception as error:  # broken files make decoders raise anything
        if kind := unsupported_kind(data):
            raise DecodeError(f"{kind} is not supported") from error
        raise why_not_decoded(error, format_name) from error
