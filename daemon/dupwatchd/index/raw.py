"""RAW photos by LibRaw: the camera's own preview, which is what people see of them.

Developing a RAW costs seconds and gives another rendering than the camera's JPEG beside it; only a file without any
preview is developed, at half size.
"""

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dupwatchd.index.cut_short import seems_cut_short
from dupwatchd.index.reasons import DecodeError, too_many_pixels

# LibRaw's `flip` in terms of EXIF.
_EXIF_OF_FLIP = {0: 1, 3: 3, 5: 8, 6: 6}


@dataclass(frozen=True, slots=True)
class RawPhoto:
    """What LibRaw finds in a RAW file."""

    preview: bytes | NDArray[np.uint8]  # a whole JPEG, or (H, W, 3) RGB
    width: int  # px, of the RAW picture, upright
    height: int
    flip: int  # EXIF orientation of the RAW picture


def open_raw(data: bytes, max_pixels: int) -> RawPhoto | None:
    """The largest preview of a RAW file; None if LibRaw cannot read it. Raises DecodeError, MemoryError."""
    import rawpy  # costs 50 ms, and most collections never need it

    try:
        with rawpy.imread(io.BytesIO(data)) as raw:
            width, height, flip = raw.sizes.width, raw.sizes.height, _EXIF_OF_FLIP.get(raw.sizes.flip, 1)
            if width * height > max_pixels:
                raise too_many_pixels(width, height, max_pixels)
            if seems_cut_short(data):
                raw.unpack()  # half a second, but it knows for certain
            try:
                preview = raw.extract_thumb().data
            except (rawpy.LibRawNoThumbnailError, rawpy.LibRawUnsupportedThumbnailError):
                preview = raw.postprocess(half_size=True, use_camera_wb=True, user_flip=0)
            if flip > 4:
                width, height = height, width
            return RawPhoto(preview, width, height, flip)
    except rawpy.LibRawUnsufficientMemoryError as error:
        raise MemoryError from error
    except rawpy.LibRawError as error:
        if seems_cut_short(data):
            raise DecodeError("truncated RAW") from error
        return None


def preview_orientation(photo: RawPhoto, own: int | None, width: int, height: int) -> int:
    """The EXIF orientation of a preview of this size, in pixels, whose own EXIF says ``own`` (None: nothing).

    Some cameras turn the preview, some only say how to turn it, some leave that to the RAW's own flag: what gives the
    shape of the upright RAW picture is right, and the preview's own word comes first.
    """
    asked = [photo.flip, 1] if own is None else [own, photo.flip, 1]
    for orientation in asked:
        tall = width > height if orientation > 4 else height > width
        if tall == (photo.height > photo.width):
            return orientation
    return asked[0]
