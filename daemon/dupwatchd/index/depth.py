"""How finely a file holds its colours: a header goes in, bits come out."""

import re

from PIL import Image, TiffImagePlugin

_PNG_DEPTH_AT = 24  # in its header, which comes first
_PSD_DEPTH_AT = slice(22, 24)
_SGI_BYTES_AT = 3  # a sample
_JPEG2000_DEPTH = re.compile(rb"\xff\x4f\xff\x51.{38}(.)", re.DOTALL)  # of the first component, less one
_AVIF_DEPTH = re.compile(rb"pixi\0\0\0\0[\x01-\x04](.)", re.DOTALL)
_PPM_MOST = re.compile(rb"P[2356](?:\s+|#[^\n]*\n)+\d+(?:\s+|#[^\n]*\n)+\d+(?:\s+|#[^\n]*\n)+(\d{1,9})")
_BITS_PER_SAMPLE = 0x0102
_HEAD_BYTES = 1 << 16
_MOST_BITS = 64


def bits_a_colour(image: Image.Image, data: bytes) -> int:
    """How many bits a file that Pillow has opened holds for each colour of a pixel, 8 … 64; ``data``: all its bytes.

    Less than 8 counts as 8, as do formats that have no more.
    """
    return min(_MOST_BITS, max(8, _bits(image, data)))


def _bits(image: Image.Image, data: bytes) -> int:
    match image.format:
        case "PNG":
            return data[_PNG_DEPTH_AT] if len(data) > _PNG_DEPTH_AT else 0
        case "TIFF" if isinstance(image, TiffImagePlugin.TiffImageFile):
            told = image.tag_v2.get(_BITS_PER_SAMPLE, (1,))
            return max(
                (one for one in (told if isinstance(told, tuple) else (told,)) if isinstance(one, int)), default=0
            )
        case "HEIF":
            told = image.info.get("bit_depth")
            return told if isinstance(told, int) else 0
        case "AVIF":
            return max((depth[0] for depth in _AVIF_DEPTH.findall(data, 0, _HEAD_BYTES)), default=0)
        case "JPEG2000":
            found = _JPEG2000_DEPTH.search(data, 0, _HEAD_BYTES)
            return (found[1][0] & 0x7F) + 1 if found else 0
        case "PSD":
            return int.from_bytes(data[_PSD_DEPTH_AT], "big")
        case "SGI":
            return 8 * data[_SGI_BYTES_AT]
        case "PPM":
            found = _PPM_MOST.match(data, 0, _HEAD_BYTES)
            return int(found[1]).bit_length() if found else 0
    return 0
