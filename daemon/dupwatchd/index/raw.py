"""RAW photos, by LibRaw: the bytes of a file go in, its preview comes out.

The preview is what the camera made and what people see. Developing a RAW photo costs seconds and looks different from
the JPEG that the camera saved beside it, so that only a file without a preview is developed, at half size.
"""

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dupwatchd.index.raw_length import is_shorter_than_it_says
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
    import rawpy  # the import costs 50 ms, and most collections hold no RAW photos

    try:
        with rawpy.imread(io.BytesIO(data)) as raw:
            width, height, flip = raw.sizes.width, raw.sizes.height, _EXIF_OF_FLIP.get(raw.sizes.flip, 1)
            if width * height > max_pixels:
                raise too_many_pixels(width, height, max_pixels)
            if is_shorter_than_it_says(data):
                raw.unpack()  # takes half a second and raises LibRawError if data are missing
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
        if is_shorter_than_it_says(data):
            raise DecodeError("truncated RAW") from error
        return None


def preview_orientation(photo: RawPhoto, own: int | None, width: int, height: int) -> int:
    """The EXIF orientation of a preview of this size, in pixels, whose own EXIF says ``own`` (None: nothing).

    Some cameras turn the preview itself, some write into its EXIF how to turn it, and some only into that of the RAW
    photo. The first of these that gives the preview the shape of the upright RAW picture is right.
    """
    asked = [photo.flip, 1] if own is None else [own, photo.flip, 1]
    for orientation in asked:
        tall = width > height if orientation > 4 else height > width
        if tall == (photo.height > photo.width):
            return orientation
    return asked[0]
