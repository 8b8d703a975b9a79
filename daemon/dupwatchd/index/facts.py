"""How a picture was coded: the bytes of its file go in, what tells originals from what was made of them comes out.

Pillow has opened the image (its header), and the bytes of the file are at hand.
"""

from contextlib import suppress
from typing import Any

import numpy as np
import simplejpeg
from blake3 import blake3
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from dupwatchd.index.depth import bits_a_colour
from dupwatchd.index.jpeg_segments import first_end_marker, held_behind, read_head
from dupwatchd.index.pillow_formats import Still
from dupwatchd.index.profiles import is_srgb, other_colours

FINE_STEPS = 110  # the sum of a JPEG's luma steps, as `compare.origin.candidate` has it: quality 97
MAX_SEGMENTS = 2000  # of a JPEG before its picture data, or chunks of a PNG
_OF_BYTES = frozenset(
    {"BMP", "GIF", "WEBP", "MPO", "PNG", "TIFF"}
)  # formats that are decoded as they are, if of 8 bits
_LAYERS = 37724  # of a TIFF: what Photoshop keeps beside the picture that all of them give
# Without GIF, which keeps its pixels as they are, but had to bring them down to 256 colours first.
_LOSSLESS_FORMATS = frozenset({"PNG", "BMP", "PPM", "TGA", "PCX", "QOI", "SGI", "ICO", "PSD", "DDS", "ICNS"})
# Table K.1 of the JPEG standard, rows of rising vertical frequency: quality 50 of the common encoders.
_LUMA_STEPS_AT_50 = np.fromstring(
    """16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62
    18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99""",
    sep=" ",
)
# Where the numbers of a quantisation table stand in its 8 × 8 square: along diagonals, to and fro.
_ZIGZAG = sorted(range(64), key=lambda i: (i // 8 + i % 8, i // 8 if (i // 8 + i % 8) % 2 else i % 8))
_DQT, _ADOBE = 0xDB, 0xEE
_PROFILE = b"ICC_PROFILE\0"  # how parts of a colour profile begin
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def is_lossless(image: Image.Image, data: bytes) -> bool:
    """Does the file store its pixels without loss? Unknown counts as lossy."""
    if image.format == "TIFF":
        return image.info.get("compression") not in ("jpeg", "tiff_jpeg", "webp", "jpeg2000")
    if image.format == "WEBP":
        return _first_coding(data) == b"VP8L"
    return image.format in _LOSSLESS_FORMATS


def luma_steps(segments: list[bytes]) -> NDArray[np.float32] | None:
    """(8, 8) float32 quantisation steps of a JPEG's luma, rows of rising vertical frequency; None: it has no luma.

    Of the segments in front of its first scan.
    """
    tables: dict[int, NDArray[Any]] = {}
    table, components, coded_as_rgb = None, 0, False
    for segment in segments:
        marker, body = segment[1], segment[4:]
        if marker == _DQT:
            tables |= _quantisation(body)
        elif marker in _FRAME_MARKERS and len(body) >= 9:
            table, components, coded_as_rgb = body[8], body[5], coded_as_rgb or body[6] == ord("R")
        elif marker == _ADOBE and body.startswith(b"Adobe") and len(body) >= 12:
            coded_as_rgb = coded_as_rgb or body[11] == 0
    if table not in tables or components not in (1, 3) or (components == 3 and coded_as_rgb):
        return None
    steps = np.empty(64, np.float32)
    steps[_ZIGZAG] = tables[table]
    return np.maximum(steps, 1).reshape(8, 8)


def jpeg_steps(data: bytes) -> NDArray[np.float32] | None:
    """Likewise of the bytes of any file; None if it is no JPEG."""
    head = read_head(data) if data.startswith(b"\xff\xd8") else None
    return luma_steps(head.segments) if head else None


def _quantisation(body: bytes) -> dict[int, NDArray[Any]]:
    """The tables of one DQT segment by their number, in zigzag order."""
    tables, at = {}, 0
    while at < len(body):
        kind = ">u2" if body[at] >> 4 else "u1"
        end = at + 1 + 64 * np.dtype(kind).itemsize
        if end > len(body):
            break
        tables[body[at] & 15] = np.frombuffer(body[at + 1 : end], kind)
        at = end
    return tables


def jpeg_quality(steps: NDArray[np.float32] | None) -> int:
    """1 … 100: the quality at which the common encoders use steps as coarse as these; 0 for None."""
    if steps is None:
        return 0
    below = steps.ravel() < 255  # where baseline JPEGs are cut off
    percent = float(np.mean((steps.ravel() / _LUMA_STEPS_AT_50)[below])) * 100 if below.any() else 5000.0
    quality = (200 - percent) / 2 if percent <= 100 else 5000 / percent
    return int(min(100, max(1, round(quality))))


def scan_digest(data: bytes) -> bytes:
    """16 bytes that two JPEGs share if their coded pictures are equal and only metadata differ; b"" if unknown.

    Covers tables, frame headers, colour transform, a profile of other colours than sRGB, coded data, and what is held
    behind the end marker, such as a film.
    """
    if data[:2] != b"\xff\xd8":
        return b""
    digest, at, profile = blake3(), 2, b""
    for _ in range(MAX_SEGMENTS):
        if at + 4 > len(data) or data[at] != 0xFF:
            return b""
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker == 0xDA:
            end = first_end_marker(data, at)
            if profile and not is_srgb(profile):
                digest.update(profile)
            digest.update(memoryview(data)[at : end if end >= 0 else len(data)])
            if end >= 0:
                digest.update(held_behind(data, end))
            return digest.digest(length=16)
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data.startswith(_PROFILE, at + 4):
            profile += data[at + 4 + len(_PROFILE) + 2 : end]  # behind which part it is, of how many
        if (not 0xE0 <= marker <= 0xEF and marker != 0xFE) or data[at + 4 : at + 9] == b"Adobe":
            digest.update(data[at:end])
        at = end
    return b""


def pixel_digest(image: Image.Image, data: bytes, pixels: Still) -> bytes:
    """16 bytes that two files share if their pixels are equal, and so are their depth and colour profile; else b"".

    ``image`` is what Pillow opened, and ``pixels`` what came of it. The formats that hold 8 bits a channel may share
    theirs; files that may hold more do so only with others of their format.
    """
    depth = stored_as(image, data)
    if not depth:
        return b""
    profile = image.info.get("icc_profile")
    digest = blake3(depth.encode() + b"\0" + (profile if isinstance(profile, bytes) else b"") + b"\0")
    if other := other_colours(image, data):
        digest.update(f"{other} ".encode())
    pixels.add_to(digest)
    return digest.digest(length=16)


def stored_as(image: Image.Image, data: bytes) -> str:
    """What a file has to share with another one; empty where what is decoded may not be all that the file holds."""
    name = str(image.format)
    if name in ("HEIF", "AVIF"):
        return name
    if has_layers(image):
        return ""
    return "bytes" if name in _OF_BYTES and bits_a_colour(image, data) <= 8 else ""


def has_layers(image: Image.Image) -> bool:
    """Does a file of Photoshop hold more than the picture that all of it give?"""
    return isinstance(image, TiffImagePlugin.TiffImageFile) and _LAYERS in image.tag_v2


def _first_coding(webp: bytes) -> bytes:
    """The name of the first chunk of a WebP that holds pixels; b"" if there is none among the first."""
    at = 12
    for _ in range(MAX_SEGMENTS):
        name, length = webp[at : at + 4], int.from_bytes(webp[at + 4 : at + 8], "little")
        if name in (b"VP8 ", b"VP8L"):
            return name
        if name == b"ANMF":  # an animation's frame: a header of 16 bytes, then chunks of its own
            length = 16
        at += 8 + length + length % 2
        if at >= len(webp):
            break
    return b""


def stored_luma(image: Image.Image, data: bytes) -> NDArray[np.uint8]:
    """(H, W) uint8 luma at full size, not turned. Raises ValueError if it cannot be decoded.

    Of a JPEG as it is coded, for its lattice; but by way of RGB if its steps are so fine that only equality with the
    pixels of a lossless file counts.
    """
    try:
        steps = jpeg_steps(data)
        if steps is not None and steps.sum() > FINE_STEPS:
            with suppress(ValueError):  # more damaged than Pillow minds
                return _coded_luma(data)
        if image.mode.startswith("I;16"):
            return (np.asarray(image) >> 8).astype(np.uint8)
        if image.has_transparency_data:
            white = Image.new("RGBA", image.size, "white")
            white.alpha_composite(image.convert("RGBA"))
            image = white
        return np.asarray(image.convert("L"))
    except MemoryError:
        raise
    except Exception as error:  # broken files make decoders raise anything
        raise ValueError(f"cannot be decoded: {error}") from error


def _coded_luma(jpeg: bytes) -> NDArray[np.uint8]:
    luma: NDArray[np.uint8] = simplejpeg.decode_jpeg(jpeg, "GRAY", strict=False)[..., 0]
    return luma
