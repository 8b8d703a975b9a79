"""JPEG, by libjpeg-turbo: decoded at a fraction of its size, and only if all of the picture is there.

Decoders show what they can of a damaged file and call that a warning; OpenCV and Pillow ignore most warnings. Of 600
JPEGs with 1 to 40 bytes changed in their image data, libjpeg-turbo warned of 361; Pillow decoded 296 of these, with an
mse to the intact picture of up to 40,000. So a warning refuses the file, with two exceptions. What surrounds the
picture may be broken. And bytes that do not belong to the picture, in front of a marker inside it, are what some
cameras write: all programs show such files, but they cannot be told from damaged ones, and so they are read and marked
as damaged. (The other 239 files are valid JPEGs of a wrong picture: nobody can tell.)
"""

import io
import math
import re
from dataclasses import dataclass

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from dupwatchd.index.jpeg_segments import EOI, Head, Scans, bare_jpeg, has_all_restarts, lacks_scans, read_scans
from dupwatchd.index.reasons import DecodeError, why_not_decoded
from dupwatchd.index.thumbnail import Floats, Reduced, Size, average, power_of_two_reduction

# Warnings of libjpeg that mean damage inside the compressed picture, once the metadata are gone.
_DAMAGE = ("Corrupt JPEG data", "Premature end of JPEG", "Inconsistent progression")
_EXTRANEOUS = re.compile(r"Corrupt JPEG data: (\d+) extraneous bytes before marker 0x([0-9a-f]{2})")
_PADDING = b"\0\xff"  # cameras fill up files with these bytes
_MAX_OWN_PADDING_BYTES = 3  # so many bytes like these may end the picture itself
# Phones append data of their own to panoramas and motion photos: named blocks, or a film, which begin like this.
_TRAILER = re.compile(rb"\0\0..[^\0]\0\0\0[A-Za-z0-9_]{8}|\0\0..ftyp", re.DOTALL)
_TRAILER_HEAD_BYTES = 16

_Size = tuple[int, int]  # (height, width)


@dataclass(frozen=True, slots=True)
class _Picture:
    """Pixels, and what they were decoded from."""

    pixels: NDArray[np.uint8]  # (H, W, C)
    data: bytes
    damage: str | None = None


class JpegPixels:
    """The picture in a JPEG file; decoded as far as it is asked for, with all checks the first time.

    Raises DecodeError if the picture is damaged, cut short or of a kind that is not supported; what Pillow raises.
    """

    def __init__(self, data: bytes, head: Head) -> None:
        self.damage: str | None = None  # what is wrong although the picture could be decoded; known once it is
        self._data = data
        self._head = head
        self._width, self._height = head.frame.width, head.frame.height
        # Only Pillow knows that Adobe inverts inks, but it does not notice damage: both have to decode such a picture.
        self._inks = len(head.frame.components) == 4
        self._checked = False
        self._for_pillow = False
        self._decoded: Reduced | None = None

    def average(self, side_px: int) -> Floats:
        """The picture squeezed to (S, S, 3) float32 RGB, not turned upright."""
        reduced = self._reduced_by(power_of_two_reduction(self._width, self._height, side_px))
        return average(reduced.rgb, reduced.extent_width, reduced.extent_height, side_px)

    def reduced(self, least: Size) -> Reduced:
        """The picture with at least so many columns and rows, if it has them."""
        had = self._decoded
        if had and had.extent_width >= least[0] and had.extent_height >= least[1]:
            return had
        rest = min(self._width / least[0], self._height / least[1])
        return self._reduced_by(next((by for by in (8, 4, 2) if rest >= by), 1))

    def _reduced_by(self, by: int) -> Reduced:
        size = math.ceil(self._height / by), math.ceil(self._width / by)
        rgb = self._decode_again(size) if self._checked else self._decode_checked(size)
        if self._for_pillow or rgb is None or rgb.shape[:2] != size:
            self._for_pillow = True
            rgb = _by_pillow(self._data, (self._width // by, self._height // by))
            by = next(f for f in (1, 2, 4, 8) if math.ceil(self._width / f) == rgb.shape[1])
        self._decoded = Reduced(rgb, self._width / by, self._height / by)
        return self._decoded

    def _decode_checked(self, size: _Size) -> NDArray[np.uint8] | None:
        """RGB pixels, or None if they are for Pillow to decode."""
        data, head = self._data, self._head
        if head.frame.arithmetic and not read_scans(data, head).has_end_marker:
            raise DecodeError("truncated JPEG")
        picture = _strictly(data, head, size, "CMYK" if self._inks else "RGB")
        if head.frame.progressive and lacks_scans(head.frame, (scans := read_scans(data, head)).headers):
            if not scans.has_end_marker:
                raise DecodeError("truncated JPEG")
            picture = picture and _Picture(picture.pixels, picture.data, "scans of the progressive JPEG are missing")
        self._checked = True
        self._data = picture.data if picture else bare_jpeg(data, head)
        self.damage = picture.damage if picture else None
        self._for_pillow = picture is None or self._inks
        return None if self._for_pillow or picture is None else picture.pixels

    def _decode_again(self, size: _Size) -> NDArray[np.uint8] | None:
        return None if self._for_pillow else _decode(self._data, size, "RGB", strict=False)


def _strictly(data: bytes, head: Head, size: _Size, colours: str) -> _Picture | None:
    """The picture by libjpeg-turbo, at least ``size`` (height, width); None if that does not know this kind of JPEG.

    Raises DecodeError if the picture is damaged.
    """
    complaint = ""
    if not head.holds_other_picture:
        try:
            return _Picture(_decode(data, size, colours), data)
        except ValueError as error:
            complaint = str(error)
    # libjpeg reports its first warning only: a harmless one about metadata may hide a serious one.
    bare = bare_jpeg(data, head)
    try:
        return _Picture(_decode(bare, size, colours), bare)
    except ValueError as error:
        scans = read_scans(data, head)
        if picture := _closed(data, head, scans, size, colours) or _with_stray_bytes(
            bare, head, scans, size, colours, str(error)
        ):
            return picture
        if str(error).startswith(_DAMAGE):
            raise why_not_decoded(error, "JPEG") from error
        if complaint.startswith(_DAMAGE) or not scans.has_end_marker:
            raise DecodeError(f"damaged JPEG ({complaint or error})") from error
        return None


def _closed(data: bytes, head: Head, scans: Scans, size: _Size, colours: str) -> _Picture | None:
    """The picture if it is whole once it is closed where it ends; None if it is not.

    There may be no end marker in the file, or stray bytes in front of it.
    """
    end, complaint = scans.end, None
    # What follows a picture that was cut short could be taken for its missing data: it has to be whole without that.
    if not scans.has_end_marker and (trailer := _TRAILER.search(data, head.scan_at, scans.end + _TRAILER_HEAD_BYTES)):
        end = trailer.start()
    elif end < len(data) and data.find(EOI, end) < 0:  # a marker that ends nothing: it is part of other data
        return None
    for picture in _without_padding(bare_jpeg(data, head, end)):
        try:
            return _Picture(_decode(picture + EOI, size, colours), picture + EOI)
        except ValueError as error:
            complaint = _EXTRANEOUS.fullmatch(str(error))
    if not scans.has_end_marker or complaint is None or complaint[2] != "d9":
        return None
    if len(scans.headers) == 1 and not has_all_restarts(head, scans.restarts):
        return None  # all that stands behind the first restart marker that is missing was skipped
    # This warning came at the very end, so that it hides no other one.
    damage = f"about {complaint[1]} bytes before the end of the JPEG are not part of its picture"
    closed = bare_jpeg(data, head, end) + EOI
    return _Picture(_decode(closed, size, colours, strict=False), closed, damage)


def _without_padding(picture: bytes) -> list[bytes]:
    """What a picture is without the bytes that fill it up: the candidates."""
    core = picture.rstrip(_PADDING)
    if len(picture) - len(core) <= _MAX_OWN_PADDING_BYTES:
        return [picture]
    own = b"\xff\0" if picture.startswith(b"\xff\0\0", len(core)) else b""
    return [core, core + own] if own else [core]


def _with_stray_bytes(
    bare: bytes, head: Head, scans: Scans, size: _Size, colours: str, complaint: str
) -> _Picture | None:
    """The picture if bytes in front of markers inside it are all that libjpeg complains of."""
    match = _EXTRANEOUS.fullmatch(complaint)
    if match is None or not scans.has_end_marker or len(scans.headers) != 1:
        return None
    if not has_all_restarts(head, scans.restarts):
        return None
    damage = f"about {match[1]} bytes inside the JPEG are not part of its picture"
    return _Picture(_decode(bare, size, colours, strict=False), bare, damage)


def _decode(data: bytes, size: _Size, colours: str, *, strict: bool = True) -> NDArray[np.uint8]:
    """(H, W, C); raises ValueError, if strict for a mere warning, too."""
    pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
        data, colours, min_height=size[0], min_width=size[1], strict=strict
    )
    return pixels


def _by_pillow(data: bytes, size: _Size) -> NDArray[np.uint8]:
    """(H, W, 3), reduced so that it is not smaller than ``size`` (width, height); raises what Pillow raises."""
    image = Image.open(io.BytesIO(data), formats=["JPEG"])
    image.draft(None, size)
    return np.asarray(image.convert("RGB"))
