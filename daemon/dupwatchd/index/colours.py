"""Pixels as a file stores them go in, the same in sRGB come out, as the embedded ICC profile says.

Only previews need that: what is compared stays as it is stored, because copies often have lost their profile. A profile
that is broken, or meant for other colours than those of the picture, is ignored.
"""

import io
from collections.abc import Iterator

from PIL import Image, ImageCms

from dupwatchd.index.decode import OpenPicture
from dupwatchd.index.profiles import GREY, INKS, RGB, converted
from dupwatchd.index.thumbnail import Bytes

_COLOURS_OF_MODE = {
    "1": GREY, "L": GREY, "LA": GREY, "I": GREY, "F": GREY, "I;16": GREY, "I;16B": GREY, "I;16L": GREY,
    "RGB": RGB, "RGBA": RGB, "RGBX": RGB, "RGBa": RGB, "P": RGB, "PA": RGB, "YCbCr": RGB, "CMYK": INKS,
}  # fmt: skip
_COLOURS_OF_CHANNELS = {1: GREY, 3: RGB, 4: INKS}  # of a JPEG
_HOLDS_PROFILE = (b"\x02", b"\x03")  # methods of a `colr` box


def in_srgb(rgb: Bytes, picture: OpenPicture) -> Bytes:
    """The pixels (H, W, 3) of a picture, not turned upright; as they are if there is no profile that fits.

    Raises MemoryError.
    """
    try:
        stored = profile_of(picture)
        if not stored:
            return rgb
        profile = ImageCms.ImageCmsProfile(io.BytesIO(stored))
        colours = profile.profile.xcolor_space.strip()
        if colours != _colours(picture):
            return rgb
        source = _inks(picture, rgb.shape[1::-1]) if colours == INKS else Image.fromarray(rgb)
        return converted(source.convert("L") if colours == GREY else source, profile)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - broken profiles make lcms and Pillow raise anything
        return rgb


def profile_of(picture: OpenPicture) -> bytes | None:
    """The ICC profile in the file of a picture, if there is one; raises what Pillow raises."""
    if picture.decoder == "JPEG2000":  # Pillow leaves it out
        return _profile_in_boxes(picture.data)
    image = picture.image if picture.head is None else _as_image(picture)
    found = image.info.get("icc_profile") if image else None
    return found if isinstance(found, bytes) else None


def _profile_in_boxes(data: bytes) -> bytes | None:
    """The profile in the header of a JP2 file: in its box `jp2h` the box `colr`, if that says that it holds one."""
    header = next((content for kind, content in _boxes(data) if kind == b"jp2h"), b"")
    colours = (content for kind, content in _boxes(header) if kind == b"colr")
    return next((content[3:] for content in colours if content[:1] in _HOLDS_PROFILE), None)


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the kind and the content of each box; stops at what is none."""
    at = 0
    while at + 8 <= len(data):
        length, start = int.from_bytes(data[at : at + 4], "big"), at + 8
        if length == 1:
            length, start = int.from_bytes(data[at + 8 : at + 16], "big"), at + 16
        end = at + length if length else len(data)
        if end < start:
            return
        yield data[at + 4 : at + 8], data[start:end]
        at = end


def _colours(picture: OpenPicture) -> str | None:
    """What the pixels of a picture are stored as, in the words of profiles; None for Lab and the like."""
    if picture.head is not None:
        return _COLOURS_OF_CHANNELS.get(len(picture.head.frame.components))
    return _COLOURS_OF_MODE.get(picture.image.mode) if picture.image else None


def _inks(picture: OpenPicture, size: tuple[int, int]) -> Image.Image:
    """The picture in CMYK at this size, averaged; raises what Pillow raises."""
    image = picture.image
    if image is None:
        image = _as_image(picture)
        image.draft(None, size)
    return image.resize(size, Image.Resampling.BOX)


def _as_image(picture: OpenPicture) -> Image.Image:
    """A JPEG, opened by Pillow."""
    return Image.open(io.BytesIO(picture.data), formats=["JPEG"])
