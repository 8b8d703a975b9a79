"""Every format but JPEG and RAW, by Pillow: recognised, decoded, brought to RGB "as a person sees it".

Transparency lies over white, 16 bits and floats are scaled instead of clipped, colour profiles are ignored (messengers
drop them: two copies of a photo would drift apart).

OpenCV is not used: it decodes WebP of 12 megapixels in three quarters of the time, but gains nothing for small ones or
other formats, reads none of our odd files that Pillow cannot read, and its APNG decoder crashes.
"""

import io
import zlib
from typing import Any

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import (  # noqa: F401 - the plugins register themselves; named here, so that EPS never reaches Ghostscript
    AvifImagePlugin,
    BmpImagePlugin,
    DdsImagePlugin,
    GifImagePlugin,
    IcnsImagePlugin,
    IcoImagePlugin,
    Image,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    MpoImagePlugin,
    PcxImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    PsdImagePlugin,
    QoiImagePlugin,
    SgiImagePlugin,
    TgaImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from dupwatchd.index.reasons import DecodeError
from dupwatchd.index.thumbnail import Floats, average, free_reduction

# Without TGA, which anything might be: it counts for files of that name only. In the order they are tried.
_FORMATS: tuple[str, ...] = (
    "JPEG", "PNG", "HEIF", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "JPEG2000", "PPM", "PSD", "ICO", "ICNS", "SGI", "DDS",
    "QOI", "PCX",
)  # fmt: skip

_EXIF_ORIENTATION = 0x0112

pillow_heif.register_heif_opener(decode_threads=1, thumbnails=False, depth_images=False, aux_images=False)
AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # the worker is one of many, and each thread costs address space
# Pictures made by programs carry their whole history as text, and 1 MB of it makes Pillow refuse them.
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = 64 << 20
Image.MAX_IMAGE_PIXELS = None  # DecodeLimits.max_pixels decides
try:
    import pillow_jxl  # noqa: F401 - registers itself

    _FORMATS += ("JXL",)
except ImportError:  # the extra dupwatch[jxl] is not installed
    pass


def open_image(data: bytes, suffix: bytes) -> Image.Image:
    """Reads the header only; raises whatever the decoders raise."""
    formats = (*_FORMATS, "TGA") if suffix in (b".tga", b".tpic") else _FORMATS
    image = Image.open(io.BytesIO(data), formats=formats)
    if image.format == "PNG":
        _check_png(data)
    return image


def exif_orientation(image: Image.Image) -> int | None:
    """1 … 8, or None if there is none that makes sense. TIFF: ask after loading, for Pillow turns it while loading."""
    try:
        value = image.getexif().get(_EXIF_ORIENTATION)
    except Exception:  # noqa: BLE001 - broken metadata raise anything, and never make a picture fail
        return None
    return value if isinstance(value, int) and 1 <= value <= 8 else None


def average_still(image: Image.Image, thumbnail_px: int) -> Floats:
    """Decodes and averages: (S, S, 3) float32 RGB, 0 … 255; turned upright only where Pillow does so itself."""
    image.load()
    if image.mode.startswith("I;16"):
        return _grey(np.asarray(image), 255 / 65535, 0.0, thumbnail_px)
    if image.mode in ("I", "F"):
        return _grey(*_scaled(np.asarray(image)), thumbnail_px)
    if image.has_transparency_data:
        # With colours multiplied by alpha, averaging and laying over white may change places.
        mixed = _average_image(image.convert("RGBA").convert("RGBa"), thumbnail_px)  # (S, S, 4)
        return mixed[..., :3] + (255.0 - mixed[..., 3:])
    if image.mode not in ("RGB", "L"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    return _average_image(image, thumbnail_px)


def _average_image(image: Image.Image, thumbnail_px: int) -> Floats:
    """8-bit image to (S, S, C) float32, C ≥ 3; Pillow's box reduction does the bulk, cheaply."""
    width, height = image.size
    by = free_reduction(width, thumbnail_px), free_reduction(height, thumbnail_px)
    samples = np.asarray(image.reduce(by) if by != (1, 1) else image)
    if samples.ndim == 2:
        samples = samples[..., None]
    values = average(samples, width / by[0], height / by[1], thumbnail_px)
    return np.repeat(values, 3, axis=2) if values.shape[2] == 1 else values


def average_bitmap(pixels: NDArray[np.uint8], thumbnail_px: int) -> Floats:
    """(H, W, 3) RGB to (S, S, 3) float32."""
    return _average_image(Image.fromarray(pixels), thumbnail_px)


def _grey(samples: NDArray[Any], factor: float, offset: float, thumbnail_px: int) -> Floats:
    """(H, W) of any number type to (S, S, 3) float32: value * factor + offset."""
    height, width = samples.shape
    values = average(samples[..., None], width, height, thumbnail_px)
    return np.repeat(values * np.float32(factor) + np.float32(offset), 3, axis=2)


def _scaled(samples: NDArray[Any]) -> tuple[NDArray[Any], float, float]:
    """Finite samples, and the factor and offset that bring them to 0 … 255."""
    finite = samples[np.isfinite(samples)]
    if not finite.size:
        raise DecodeError("no finite pixel values")
    low, high = float(finite.min()), float(finite.max())
    if finite.size < samples.size:
        samples = np.nan_to_num(samples, nan=low, posinf=high, neginf=low)
    if samples.dtype.kind == "f" and low >= -0.5 and high <= 2:  # 0 … 1, and what sharpening adds to it
        return np.clip(samples, 0, 1), 255.0, 0.0
    if low >= 0 and high <= 255:
        return samples, 1.0, 0.0
    if samples.dtype.kind == "i" and low >= 0 and high <= 65535:
        return samples, 255 / 65535, 0.0
    factor = 255 / (high - low) if high > low else 1.0
    return samples, factor, -low * factor


def _check_png(data: bytes) -> None:
    """Raises DecodeError unless all that matters in a PNG is there and has its checksum: Pillow does not look."""
    at = 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        kind = data[at + 4 : at + 8]
        end = at + 12 + length
        if end > len(data):
            break
        if kind[:1].isupper() and zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise DecodeError(f"damaged PNG (wrong checksum of {kind.decode('ascii', 'replace')})")
        if kind == b"IEND":
            return
        at = end
    raise DecodeError("truncated PNG")
