"""Pillow recognises every format but RAW, and decodes all but JPEG, RAW and still WebP.

The bytes of a file go in, its average colours come out as a person sees them: transparent pixels lie over white, 16-bit
and floating-point values are scaled instead of clipped. Colour profiles are ignored: messengers drop them, and copies
of one photo would get different thumbnails.
"""

import io
import re

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
    PcxImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    PsdImagePlugin,
    QoiImagePlugin,
    SgiImagePlugin,
    TgaImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
    XbmImagePlugin,
    XpmImagePlugin,
)

from dupwatchd.index.png_chunks import SIGNATURE, whole_png
from dupwatchd.index.reasons import DecodeError
from dupwatchd.index.thumbnail import Floats, Samples, average, free_reduction

# In the order in which they are tried. TGA has no signature, so that it is tried only for files of that name.
_FORMATS: tuple[str, ...] = (
    "PNG", "HEIF", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "JPEG2000", "PPM", "PSD", "ICO", "ICNS", "SGI", "DDS",
    "QOI", "PCX", "XPM", "XBM",
)  # fmt: skip

_ORIENTATION = 0x0112  # EXIF's number of it
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0  # of TIFF
_NEARLY_WHITE = 250  # grey level; where everything is lighter, nothing can be seen
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"  # how these metadata begin in a JPEG
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')

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
    """Reads the header only; raises DecodeError, UnidentifiedImageError, and whatever else a decoder raises."""
    formats = (*_FORMATS, "TGA") if suffix in (b".tga", b".tpic") else _FORMATS
    return Image.open(io.BytesIO(whole_png(data) if data.startswith(SIGNATURE) else data), formats=formats)


def exif_orientation(image: Image.Image) -> int | None:
    """1 … 8, or None if there is none that makes sense. TIFF: ask after loading, for Pillow turns it while loading."""
    try:
        return _valid_orientation(image.getexif().get(_ORIENTATION))
    except Exception:  # noqa: BLE001 - broken metadata raise anything, and never make a picture fail
        return None


def jpeg_orientation(segments: list[bytes]) -> int | None:
    """As `exif_orientation`, of the segments in front of a JPEG's first scan."""
    xmp = None
    for segment in segments:
        if segment.startswith(_EXIF, 4):
            exif = Image.Exif()
            try:
                exif.load(segment[4:])
                if (orientation := _valid_orientation(exif.get(_ORIENTATION))) is not None:
                    return orientation
            except Exception:  # noqa: BLE001, S112 - as above
                continue
        elif segment.startswith(_XMP, 4):
            xmp = _XMP_ORIENTATION.search(segment) or xmp
    return _valid_orientation(int(xmp[1])) if xmp else None


def _valid_orientation(value: object) -> int | None:
    return value if isinstance(value, int) and 1 <= value <= 8 else None


def average_still(image: Image.Image, thumbnail_px: int) -> Floats:
    """Decodes and averages: (S, S, 3) float32 RGB, 0 … 255; turned upright only where Pillow does so itself."""
    image.load()
    if image.mode.startswith("I;16"):
        return _average_16_bits(image, thumbnail_px)
    if image.mode in ("I", "F"):
        return _grey(*_scaled(np.asarray(image)), thumbnail_px)
    if image.has_transparency_data:
        image = image.convert("RGBA")
    elif image.mode not in ("RGB", "L"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    return average_colours(image, thumbnail_px)


def average_colours(image: Image.Image, thumbnail_px: int, *, blue_first: bool = False) -> Floats:
    """An image of mode L, RGB or RGBA as (S, S, 3) float32 RGB; ``blue_first`` if its bands are in fact B, G, R (A)."""
    if image.mode == "RGBA":
        # With colours multiplied by alpha, averaging and laying over white may change places.
        mixed = _average_image(image.convert("RGBa"), thumbnail_px, blue_first)  # (S, S, 4)
        over_white = mixed[..., :3] + (255.0 - mixed[..., 3:])
        if over_white.min() < _NEARLY_WHITE or not mixed[..., 3].any():
            return over_white
        return mixed[..., :3] + (255.0 - mixed[..., 3:]) * np.float32(0.5)  # over grey: a white logo can be seen then
    return _average_image(image, thumbnail_px, blue_first)


def _average_image(image: Image.Image, thumbnail_px: int, blue_first: bool) -> Floats:
    """8-bit image to (S, S, C) float32, C ≥ 3; Pillow's box reduction does most of the work cheaply."""
    width, height = image.size
    by = free_reduction(width, thumbnail_px), free_reduction(height, thumbnail_px)
    samples = np.asarray(image.reduce(by) if by != (1, 1) else image)
    if samples.ndim == 2:
        samples = samples[..., None]
    if blue_first:
        samples = samples[..., [2, 1, 0, 3][: samples.shape[2]]]
    values = average(samples, width / by[0], height / by[1], thumbnail_px)
    return np.repeat(values, 3, axis=2) if values.shape[2] == 1 else values


def average_bitmap(pixels: NDArray[np.uint8], thumbnail_px: int) -> Floats:
    """(H, W, 3) RGB to (S, S, 3) float32."""
    return average_colours(Image.fromarray(pixels), thumbnail_px)


def _average_16_bits(image: Image.Image, thumbnail_px: int) -> Floats:
    """A grey picture of 16 bits to (S, S, 3) float32."""
    samples = np.asarray(image)
    key = image.info.get("transparency")
    if isinstance(key, int):
        visible = samples != key
        both = np.stack([samples * visible, visible * np.uint16(65535)], axis=2)
        mixed = average(both, image.width, image.height, thumbnail_px) * np.float32(255 / 65535)  # (S, S, 2)
        return np.repeat(mixed[..., :1] + (255 - mixed[..., 1:]), 3, axis=2)
    if isinstance(image, TiffImagePlugin.TiffImageFile) and image.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        return _grey(samples, -255 / 65535, 255.0, thumbnail_px)  # Pillow inverts such pictures of 8 bits only
    return _grey(samples, 255 / 65535, 0.0, thumbnail_px)


def _grey(samples: Samples, factor: float, offset: float, thumbnail_px: int) -> Floats:
    """(H, W) of any number type to (S, S, 3) float32: value * factor + offset."""
    height, width = samples.shape
    values = average(samples[..., None], width, height, thumbnail_px)
    return np.repeat(values * np.float32(factor) + np.float32(offset), 3, axis=2)


def _scaled(samples: Samples) -> tuple[Samples, float, float]:
    """Finite samples, and the factor and offset that bring them to 0 … 255."""
    finite = samples[np.isfinite(samples)]
    if not finite.size:
        raise DecodeError("no finite pixel values")
    low, high = float(finite.min()), float(finite.max())
    if finite.size < samples.size:
        samples = np.nan_to_num(samples, nan=low, posinf=high, neginf=low).astype(np.float32, copy=False)
    if samples.dtype == np.float32 and low >= -0.5 and high <= 2:  # the scale 0 … 1; sharpening may exceed it
        return samples.clip(0, 1), 255.0, 0.0
    if low >= 0 and high <= 255:
        return samples, 1.0, 0.0
    if samples.dtype == np.int32 and low >= 0 and high <= 65535:
        return samples, 255 / 65535, 0.0
    factor = 255 / (high - low) if high > low else 1.0
    return samples, factor, -low * factor
