"""Pillow recognises every format but RAW, and decodes all but JPEG, RAW and still WebP.

The bytes of a file go in, its average colours come out as a person sees them: transparent pixels lie over white, 16-bit
and floating-point values are scaled instead of clipped. Colour profiles are ignored: messengers drop them, and copies
of one photo would get different thumbnails.
"""

import io
import re
from typing import Protocol

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
    ImagePalette,
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
from dupwatchd.index.thumbnail import (
    Floats,
    Pixels,
    Reduced,
    Samples,
    Size,
    average,
    box_sides,
    free_reduction,
    to_bytes,
)
from dupwatchd.pixels import levels

Mask = NDArray[np.bool_]


class Digest(Protocol):
    """What takes bytes and makes a digest of them."""

    def update(self, data: bytes, /) -> object:
        """Adds some bytes."""


# In the order in which they are tried. TGA has no signature, so that it is tried only for files of that name.
_FORMATS: tuple[str, ...] = (
    "PNG", "HEIF", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "JPEG2000", "PPM", "PSD", "ICO", "ICNS", "SGI", "DDS",
    "QOI", "PCX", "XPM", "XBM",
)  # fmt: skip

_BRAND_OF_BOTH = re.compile(rb"....ftypm[is]f1", re.DOTALL)  # of HEIF and AVIF; behind it stands which others it is
_AVIF_TOO = re.compile(rb"avi[fs]")
_ROWS_AT_ONCE = 64  # that are digested, or scaled, so that they stay in the processor's cache
_ORIENTATION = 0x0112  # EXIF's number of it
_SENSORS = (1023, 4095)  # largest values of 10 and of 12 bits; no photo of 16 is all so dark
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0  # of TIFF
_BITS, _COLOURS, _SAMPLE_FORMAT, _SIGNED = 258, 320, 339, 2
_SAMPLES, _PLANES, _EACH_APART = 277, 284, 2
_WIDTH, _HEIGHT = 256, 257
_STRIPS, _ROWS_OF_STRIP, _TILES, _TILE_WIDTH, _TILE_HEIGHT = 273, 278, 324, 322, 323
_GREY_STEPS = {"L;2": 85, "L;4": 17}  # between two grey levels, by how Pillow unpacks them
_LEVEL_IN_FILE = "dupwatch: transparency as the file says it"
_OPAQUE = 255
_NEARLY_WHITE = 250  # grey level; where everything is lighter, nothing can be seen
_GROUND_PX = 32  # what lies behind transparency is decided on so small a picture, if no thumbnail was made before
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"  # how these metadata begin in a JPEG
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')

# What Pillow reads in one order of bytes, and could in the other: 16 bits of which zero is white, 12 and 32 bits.
TiffImagePlugin.OPEN_INFO.update(
    {
        (b"MM", 0, (1,), 1, (16,), ()): ("I;16B", "I;16B"),
        (b"MM", 1, (1,), 1, (12,), ()): ("I;16", "I;12"),
        (b"MM", 1, (1,), 1, (32,), ()): ("I", "I;32B"),
    }
)
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
    if _BRAND_OF_BOTH.match(data) and _AVIF_TOO.search(data, 16, int.from_bytes(data[:4], "big")):
        formats = ("AVIF",)  # the other one would open it, and not decode it
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


def load(image: Image.Image) -> None:
    """Decodes an image, or a frame or page of one, without Pillow's mistakes; raises what decoders raise."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        _correct_tiff(image)
    elif isinstance(image, PngImagePlugin.PngImageFile):
        _correct_transparency(image)
    image.load()


def load_still(image: Image.Image) -> Pixels:
    """Decodes an image; its pixels are turned upright only where Pillow does so itself. Raises what decoders raise."""
    load(image)
    if image.mode.startswith("I;16"):
        return _sixteen_bits(image)
    if image.mode in ("I", "F"):
        return DeepGrey(*_scaled(_unsigned(image) if _is_unsigned(image) else np.asarray(image)))
    if image.has_transparency_data:
        image = image.convert("RGBA")
    elif image.mode not in ("RGB", "L"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    return Still(image)


def ends_blank(image: Image.Image) -> bool:
    """Whether one of the last two rows of a decoded image is all zeros, as rows are that no data were found for."""
    rows = np.asarray(image.crop((0, max(0, image.height - 2), image.width, image.height)))
    return any(not row.any() for row in rows)


def _correct_tiff(image: TiffImagePlugin.TiffImageFile) -> None:
    """Corrects what Pillow does not see in a TIFF that is not decoded yet; raises DecodeError if it would be wrong."""
    bits = image.tag_v2.get(_BITS, (1,))
    if bits[0] == 8 and _SIGNED in image.tag_v2.get(_SAMPLE_FORMAT, ()):
        raise DecodeError(f"TIFF with {len(bits)} signed sample{'s' * (len(bits) > 1)} of 8 bits is not supported")
    colours = image.tag_v2.get(_COLOURS, ())
    if image.mode in ("P", "PA") and max(colours) <= 255:  # of programs that write them as bytes
        image.palette = ImagePalette.raw("RGB;L", bytes(colours))
    if bits[0] == 16 and image.tag_v2.get(_PLANES, 1) == _EACH_APART:
        # Pillow reads the planes as if they had 8 bits.
        planes = image.tag_v2.get(_SAMPLES, 1)
        if planes > 1 and image.mode not in ("RGB", "RGBA"):
            raise DecodeError(f"TIFF with planes of 16 bits, {planes} of them, is not supported")
        order = ";16L" if image.tag_v2.prefix == b"II" else ";16B"
        image.tile = [
            tile._replace(args=(image.mode if planes == 1 else tile.args[0] + order, *tile.args[1:]))
            if isinstance(tile.args, tuple) and tile.codec_name == "raw"
            else tile
            for tile in image.tile
        ]
    if _lacks_pieces(image):
        raise DecodeError("damaged TIFF (it lists fewer pieces than its rows need)")


def _lacks_pieces(image: TiffImagePlugin.TiffImageFile) -> bool:
    """Are there fewer strips or tiles than it takes to cover the picture? Pillow leaves the rest black."""
    tags = image.tag_v2
    width, height = tags[_WIDTH], tags[_HEIGHT]  # the size of the image is that of the upright one
    if _TILES in tags:
        across, down = tags.get(_TILE_WIDTH, width), tags.get(_TILE_HEIGHT, height)
        count, listed = -(-width // max(1, across)) * -(-height // max(1, down)), tags[_TILES]
    else:
        rows = tags.get(_ROWS_OF_STRIP, 0) or height
        count, listed = -(-height // rows), tags.get(_STRIPS, ())
    planes = tags.get(_SAMPLES, 1) if tags.get(_PLANES, 1) == _EACH_APART else 1
    return bool(0 < len(listed) < count * planes)


def _correct_transparency(image: PngImagePlugin.PngImageFile) -> None:
    """Brings the transparent one of 4 or 16 grey levels to 0 … 255, as Pillow does with the pixels."""
    tile = next(iter(image.tile), None)
    steps = _GREY_STEPS.get(tile.args) if tile and isinstance(tile.args, str) else None
    # All frames of an animation share what is known of the file.
    level = image.info.setdefault(_LEVEL_IN_FILE, image.info.get("transparency"))
    if steps and isinstance(level, int):
        image.info["transparency"] = min(level, 255 // steps) * steps


def _is_unsigned(image: Image.Image) -> bool:
    return isinstance(image, TiffImagePlugin.TiffImageFile) and image.tag_v2.get(_SAMPLE_FORMAT, (1,))[0] == 1


def _unsigned(image: Image.Image) -> Samples:
    samples: NDArray[np.uint32] = np.asarray(image).view(np.uint32)
    return samples


class Still:
    """A decoded image of mode L, RGB or RGBA; ``blue_first`` if its bands are in fact B, G, R (A)."""

    def __init__(self, image: Image.Image, *, blue_first: bool = False) -> None:
        self._image = image
        self._blue_first = blue_first
        self._ground: float | None = None  # what lies behind transparency: 1 is white; None: not decided yet
        if image.mode == "RGBA":
            # With colours multiplied by alpha, averaging and laying over white may change places.
            self._image = image.convert("RGBa")

    def average(self, side_px: int) -> Floats:
        """The picture squeezed to (S, S, 3) float32 RGB."""
        by = free_reduction(self._image.width, side_px), free_reduction(self._image.height, side_px)
        samples, width, height = self._in_boxes(by)
        values = average(samples, width, height, side_px)
        if values.shape[2] == 1:
            return np.repeat(values, 3, axis=2)
        if values.shape[2] == 3:
            return values
        over_white = values[..., :3] + (255.0 - values[..., 3:])
        if over_white.min() < _NEARLY_WHITE or not values[..., 3].any():
            self._ground = 1.0
            return over_white
        self._ground = 0.5  # over grey: a white logo can be seen then
        return values[..., :3] + (255.0 - values[..., 3:]) * np.float32(0.5)

    def reduced(self, least: Size) -> Reduced:
        """The picture with at least twice as many columns and rows, if it has them: whoever asks averages again."""
        enough = 2 * least[0], 2 * least[1]
        samples, width, height = self._in_boxes(box_sides(*self._image.size, enough))
        if samples.shape[2] == 1:
            samples = np.repeat(samples, 3, axis=2)
        elif samples.shape[2] == 4:
            if self._ground is None:
                self.average(_GROUND_PX)
            behind = (255 - samples[..., 3:]) // (1 if self._ground == 1.0 else 2)
            samples = samples[..., :3] + np.minimum(behind, 255 - samples[..., :3])
        return Reduced(np.ascontiguousarray(samples), width, height)

    @property
    def is_transparent(self) -> bool:
        """Whether anything behind the picture could be seen."""
        return self._image.mode == "RGBa" and self._image.getchannel(3).getextrema()[0] != _OPAQUE

    def luma_of_block_rows(self, most: int) -> NDArray[np.uint8]:
        """(8 n, W) uint8 luma of n ≤ ``most`` rows of 8 × 8 blocks, evenly spread over the picture."""
        image, blocks = self._image, self._image.height // 8
        rows = np.unique(np.linspace(0, blocks - 1, min(blocks, most)).astype(int)).tolist() if blocks else []
        strips = [np.asarray(image.crop((0, 8 * row, image.width, 8 * row + 8))) for row in rows]
        if not strips:
            return np.empty((0, image.width), np.uint8)
        pixels = np.concatenate(strips)
        if pixels.ndim == 2:
            return pixels
        return levels.grey(np.ascontiguousarray(pixels[..., [2, 1, 0] if self._blue_first else [0, 1, 2]]))

    def add_to(self, digest: Digest) -> None:
        """Every pixel; equal pictures add the same if they hold as many bands in one order."""
        image = self._image
        digest.update(f"{image.mode} {image.width} {image.height} {self._blue_first:d} ".encode())
        for top in range(0, image.height, _ROWS_AT_ONCE):
            bottom = min(top + _ROWS_AT_ONCE, image.height)
            digest.update(image.crop((0, top, image.width, bottom)).tobytes())

    def _in_boxes(self, by: tuple[int, int]) -> tuple[NDArray[np.uint8], float, float]:
        """(H, W, C) means of boxes of that size, RGB first, and how many of them the picture covers."""
        image = self._image
        # Pillow's box reduction does most of the work cheaply.
        samples = np.asarray(image.reduce(by) if by != (1, 1) else image)
        if samples.ndim == 2:
            samples = samples[..., None]
        if self._blue_first:
            samples = samples[..., [2, 1, 0, 3][: samples.shape[2]]]
        return samples, image.width / by[0], image.height / by[1]


class DeepGrey:
    """A grey picture of more than 8 bits: its grey levels are value * factor + offset, white where a mask says so."""

    def __init__(self, samples: Samples, factor: float, offset: float, visible: Mask | None = None) -> None:
        self._samples = samples  # (H, W)
        self._factor = factor
        self._offset = offset
        self._visible = visible

    @property
    def is_transparent(self) -> bool:
        """Whether anything behind the picture could be seen."""
        return self._visible is not None and not self._visible.all()

    def average(self, side_px: int) -> Floats:
        """The picture squeezed to (S, S, 3) float32 RGB."""
        height, width = self._samples.shape
        if self._visible is not None:
            both = np.stack([self._samples * self._visible, self._visible * np.uint16(65535)], axis=2).astype(np.uint16)
            mixed = average(both, width, height, side_px) * np.float32(255 / 65535)  # (S, S, 2)
            return np.repeat(mixed[..., :1] + (255 - mixed[..., 1:]), 3, axis=2)
        values = average(self._samples[..., None], width, height, side_px)
        return np.repeat(values * np.float32(self._factor) + np.float32(self._offset), 3, axis=2)

    def reduced(self, least: Size) -> Reduced:
        """The picture with at least so many columns and rows, if it has them."""
        return Still(Image.fromarray(self._grey_levels())).reduced(least)

    def _grey_levels(self) -> NDArray[np.uint8]:
        """(H, W), some rows at a time: the numbers in between take four times the memory."""
        grey = np.empty(self._samples.shape, np.uint8)
        for top in range(0, len(grey), _ROWS_AT_ONCE):
            rows = slice(top, top + _ROWS_AT_ONCE)
            values = self._samples[rows].astype(np.float32) * np.float32(self._factor) + np.float32(self._offset)
            grey[rows] = to_bytes(values)
            if self._visible is not None:
                grey[rows][~self._visible[rows]] = 255
        return grey


def _sixteen_bits(image: Image.Image) -> DeepGrey:
    samples = np.asarray(image)
    key = image.info.get("transparency")
    if isinstance(key, int):
        return DeepGrey(samples, 255 / 65535, 0.0, samples != key)
    if isinstance(image, TiffImagePlugin.TiffImageFile) and image.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        return DeepGrey(samples, -255 / _full_scale(samples), 255.0)  # Pillow inverts such pictures of 8 bits only
    return DeepGrey(samples, 255 / _full_scale(samples), 0.0)


def _full_scale(samples: Samples) -> int:
    """What white is in 16 bits: of microscopes and X-rays, which fill the lower 10 or 12 of them, less than 65535."""
    brightest = int(samples.max())
    return next((full for full in _SENSORS if brightest <= full), 65535)


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
    if samples.dtype.kind in "iu" and low >= 0 and high <= 65535:
        return samples, 255 / 65535, 0.0
    factor = 255 / (high - low) if high > low else 1.0
    return samples, factor, -low * factor
