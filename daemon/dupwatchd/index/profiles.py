"""ICC profiles: whether one means other colours than sRGB, and pixels converted to that; and what else a PNG says."""

import io
from functools import cache, lru_cache

import numpy as np
from PIL import Image, ImageCms

from dupwatchd.index.thumbnail import Bytes

GREY, RGB, INKS = "GRAY", "RGB", "CMYK"  # as profiles call the colours that they are for
_NUMBERS = b"\0\0\0\4cICP"  # begins the chunk of a PNG that tells its colours by numbers
_MOST_BYTES = 1 << 20  # of a profile that is looked into; those of screens have 500 bytes to 60 KB
# As PNGs in sRGB say it: by its numbers in a standard, by gamma, and by where white and the primary colours lie.
_SRGB_NUMBERS = b"\1\x0d\0\1"
_GAMMA, _CHROMATICITY = 1 / 2.2, (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
_UNSEEN_LEVELS = 3  # profiles that mean sRGB differ in how they write its curve


def is_srgb(profile: bytes) -> bool:
    """Does an ICC profile mean the colours that a picture without one is shown in? Not if it is broken, or huge."""
    return len(profile) <= _MOST_BYTES and _is_srgb(profile)


def other_colours(image: Image.Image, data: bytes) -> tuple[object, ...]:
    """What a PNG says of its colours without a profile; empty if they are those of sRGB, or for other formats."""
    if image.format != "PNG":
        return ()
    at = data.find(_NUMBERS, 0, max(0, data.find(b"IDAT")))
    if at >= 0:  # comes before all else
        numbers = data[at + len(_NUMBERS) : at + len(_NUMBERS) + len(_SRGB_NUMBERS)]
        return () if numbers == _SRGB_NUMBERS else (numbers,)
    if "srgb" in image.info or "icc_profile" in image.info:
        return ()
    said = image.info.get("gamma", _GAMMA), *image.info.get("chromaticity", _CHROMATICITY)
    return () if np.allclose(said, [_GAMMA, *_CHROMATICITY], atol=0.001) else said


@lru_cache(maxsize=16)  # most photos of a library have the profile of one of few devices
def _is_srgb(profile: bytes) -> bool:
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        colours = opened.profile.xcolor_space.strip()
        if colours not in (GREY, RGB):
            return False
        source = _all_kinds_of_colours()
        if colours == GREY:
            source = source.convert("L")
        shown = converted(source, opened).astype(np.int16)
        return bool(np.abs(shown - np.asarray(source.convert("RGB"))).max() <= _UNSEEN_LEVELS)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - broken profiles make lcms and Pillow raise anything
        return False


@cache
def _all_kinds_of_colours() -> Image.Image:
    """(9 · 9, 9) pixels, nine levels of each channel."""
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    return Image.fromarray(np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(81, 9, 3))


def converted(source: Image.Image, profile: ImageCms.ImageCmsProfile) -> Bytes:
    """Pixels in the colours of a profile as (H, W, 3) in sRGB; raises what Pillow raises."""
    found = ImageCms.profileToProfile(
        source,
        profile,
        _srgb(),
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    assert found is not None  # it is None only for a conversion in place
    return np.asarray(found)


@cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
