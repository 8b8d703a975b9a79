"""The bytes of one file go in, a preview comes out: the picture as a person sees it, at the size that is asked for.

The preview shows what the index compares: it is decoded on the same way as thumbnail and proof, with the same checks,
and transparency lies over the same ground (white, or grey where nothing could be seen on white: a picture and the JPEG
made from it look alike). Two things differ: colours are converted to sRGB, as the embedded profile says, and any frame
or page can be asked for.

JPEG is the usual form: at 2,048 px it takes 5 ms and 200 to 560 kB, WebP 50 to 160 ms for a third to half of the bytes.
At 160 px WebP takes 1.4 ms and 2.2 kB on average, JPEG 0.1 ms and 4.8 kB: that is for whoever keeps thousands of them.
"""

import io

import numpy as np
import simplejpeg
from PIL import Image as PillowImage
from PIL.Image import Image

from dupwatchd.index.colours import in_srgb
from dupwatchd.index.decode import open_picture, quietly, told_as
from dupwatchd.index.frames import Open, count_frames, look_at_frames, shows_nothing, usual_index
from dupwatchd.index.limits import DecodeLimits
from dupwatchd.index.messages import NoSuchFrame, Preview, PreviewKind, PreviewWish
from dupwatchd.index.thumbnail import Bytes, upright
from dupwatchd.pixels import levels
from dupwatchd.pixels.frames import Frames

_JPEG_QUALITY, _SUBSAMPLING = 85, "420"
_WEBP_QUALITY, _WEBP_METHOD = 70, 4


def make_preview(data: bytes, wish: PreviewWish, limits: DecodeLimits, suffix: bytes) -> Preview | NoSuchFrame:
    """A preview of a whole file; ``suffix`` is its lower-case suffix with the dot, or empty.

    Raises NotAPicture if this is no image, DecodeError if it cannot be decoded, MemoryError.
    """
    choice = _FrameChoice(wish.frame)
    with quietly():
        try:
            picture = open_picture(data, suffix, limits, choice)
        except _NoSuchFrameError as error:
            return NoSuchFrame(error.frames)
        if wish.frame is not None and wish.frame >= choice.frames:
            return NoSuchFrame(choice.frames)
        scale = min(1.0, wish.most_px / max(picture.width, picture.height))
        size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
        with told_as(picture.decoder, data):
            reduced = picture.pixels.reduced(size)
            extent = reduced.extent_width, reduced.extent_height
            rgb = levels.averaged_over(reduced.rgb, extent, size)
            rgb = upright(in_srgb(rgb, picture), picture.orientation)
    height, width = rgb.shape[:2]
    full = picture.upright_width, picture.upright_height
    return Preview(_encoded(rgb, wish.kind), width, height, *full, choice.shown, choice.frames)


class _NoSuchFrameError(Exception):
    def __init__(self, frames: int) -> None:
        super().__init__(f"there are {frames} frames")
        self.frames = frames


class _FrameChoice:
    """Chooses a frame or page by its number; without one, the frame that the index compares."""

    def __init__(self, wanted: int | None) -> None:
        self._wanted = wanted
        self.frames = 1
        self.shown = 0  # its number, from 0

    def __call__(self, image: Image, reopen: Open, data: bytes) -> tuple[Frames | None, int] | None:
        """As `decode.ChooseFrame`. Raises _NoSuchFrameError."""
        counted = count_frames(image, reopen)
        if counted is None:
            return None
        sequence, indexes = counted
        self.frames = len(indexes)
        if self._wanted is None:
            index = self._standing_for_all(image, sequence, indexes, reopen, data)
        elif self._wanted < self.frames:
            index = indexes[self._wanted]
        else:
            raise _NoSuchFrameError(self.frames)
        self.shown = indexes.index(index) if index in indexes else 0
        return None, index

    def _standing_for_all(self, image: Image, sequence: Image, indexes: list[int], reopen: Open, data: bytes) -> int:
        """What `look_at_frames` would say. That looks at 256 frames, which is needed only if the first is flat."""
        usual = usual_index(image, indexes)
        try:
            if usual != indexes[0] or len(indexes) == 1 or not shows_nothing(sequence, usual):
                return usual
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - broken files make decoders raise anything; decoding it says what is wrong
            return usual
        looked = look_at_frames(image, reopen, data)
        return looked[1] if looked else usual


def _encoded(rgb: Bytes, kind: PreviewKind) -> bytes:
    if kind is PreviewKind.RGB:
        return rgb.tobytes()
    if kind is PreviewKind.JPEG:
        return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(rgb), _JPEG_QUALITY, "RGB", _SUBSAMPLING))
    buffer = io.BytesIO()
    PillowImage.fromarray(rgb).save(buffer, "WEBP", quality=_WEBP_QUALITY, method=_WEBP_METHOD)
    return buffer.getvalue()
