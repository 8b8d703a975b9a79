"""All pixels of a file go in, what tells two files of one picture apart comes out.

Two files with equal digests show the same in every pixel of every frame or page, for as long and in the same colours;
whoever has one of them has all that can be seen of the other. How the pixels are coded, how a file is turned by its
orientation and what its metadata say does not count; nor does the film behind a motion photo, which changes nothing of
the photo: that a file with one goes for none without it follows from `held_beside`. Of a file whose pixels are not
decoded as it holds them (more than 8 bits, inks, layers, the preview in a RAW photo) nobody can say so. A PNG or TIFF
of more bits has a digest that no other file shares, so that it can be looked at beside one of 8 bits, unless it holds
inks; all else has none.
"""

import numpy as np
from blake3 import blake3
from PIL import Image as PillowImage
from PIL.Image import Image

from dupwatchd.index.colours import profile_of
from dupwatchd.index.decode import OpenPicture, open_picture, quietly, told_as
from dupwatchd.index.depth import bits_a_colour
from dupwatchd.index.facts import has_layers, stored_as
from dupwatchd.index.frames import Open, count_frames
from dupwatchd.index.held_beside import is_film_told
from dupwatchd.index.jpeg_segments import held_behind, read_scans
from dupwatchd.index.limits import DecodeLimits
from dupwatchd.index.pillow_formats import load
from dupwatchd.index.profiles import is_srgb, other_colours
from dupwatchd.index.reasons import DecodeError
from dupwatchd.index.thumbnail import upright
from dupwatchd.model import BYTE_BITS, KIND_BYTES, PIXELS_BYTES

MAX_PIXELS = 500_000_000  # of all frames or pages; more take longer than one file may
_ROWS_AT_ONCE = 256
_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA"})  # which Pillow brings to RGB without loss
_DEEP_FORMATS = frozenset({"PNG", "TIFF"})
_OTHER_COLOURS = frozenset({"CMYK", "LAB", "YCbCr"})  # which it brings to RGB with losses
_INKS = 4  # components of a JPEG


class _NotAsHeldError(DecodeError):
    """What is decoded is not all that the file holds of its pixels."""

    def __init__(self) -> None:
        super().__init__("its pixels are not decoded as the file holds them")


class _Sums:
    """What is gathered of a file, frame by frame."""

    def __init__(self) -> None:
        self._kind = blake3()  # of what it holds beside the colours that a look at it sees
        self._pixels = blake3()

    def say(self, *values: object) -> None:
        """Something that the file holds beside its colours."""
        self._kind.update(f"{values} ".encode())

    def add(self, image: Image, orientation: int) -> None:
        """The pixels of one frame. Raises _NotAsHeldError."""
        if image.mode not in _MODES:
            raise _NotAsHeldError
        mode = "RGBA" if image.has_transparency_data else "RGB"
        if orientation != 1:
            image = PillowImage.fromarray(upright(np.asarray(image.convert(mode)), orientation))
        alpha, is_opaque = blake3(), True
        self._pixels.update(f"{image.width} {image.height} ".encode())
        for top in range(0, image.height, _ROWS_AT_ONCE):
            rows = image.crop((0, top, image.width, min(top + _ROWS_AT_ONCE, image.height)))
            seen = np.asarray(rows.convert(mode))
            if mode == "RGBA":
                opacity = np.ascontiguousarray(seen[..., 3])
                alpha.update(opacity.data)
                is_opaque = is_opaque and bool(opacity.min() == np.iinfo(np.uint8).max)
                seen = seen[..., :3] * (opacity > 0)[..., None]  # what nobody sees does not count
            self._pixels.update(np.ascontiguousarray(seen).data)
        if not is_opaque:
            self._kind.update(alpha.digest())

    def add_file(self, data: bytes) -> None:
        """All of a file, of which not all that it holds of its pixels is decoded."""
        self._pixels.update(data)

    @property
    def digest(self) -> bytes:
        kind = self._kind.digest(length=KIND_BYTES)
        return kind + blake3(kind + self._pixels.digest()).digest(length=PIXELS_BYTES - KIND_BYTES)


def digest_of_all(data: bytes, limits: DecodeLimits, suffix: bytes) -> bytes:
    """What two files share if all their pixels are equal, see `model.KIND_BYTES`; b"" if that cannot be told.

    ``suffix``: of the file, in lower case with the dot, or empty. Raises NotAPicture, DecodeError, MemoryError.
    """
    several: list[tuple[Image, list[int]]] = []

    def note(image: Image, reopen: Open, _: bytes) -> tuple[None, int] | None:
        if (counted := count_frames(image, reopen)) is None:
            return None
        if len(counted[1]) == 1:
            return None, counted[1][0]
        several.append(counted)
        return None

    sums = _Sums()
    with quietly():
        picture = open_picture(data, suffix, limits, note)
        try:
            with told_as(picture.decoder, data):
                if several:
                    _add_frames(sums, picture, *several[0])
                elif picture.head is not None:
                    _add_jpeg(sums, picture)
                else:
                    _add_still(sums, picture)
        except _NotAsHeldError:
            return b""
    return sums.digest


def _add_jpeg(sums: _Sums, picture: OpenPicture) -> None:
    if picture.head is None or picture.format == "RAW" or len(picture.head.frame.components) == _INKS:
        raise _NotAsHeldError
    rgb = picture.pixels.reduced((picture.width, picture.height)).rgb
    if picture.damage is not None or rgb.shape[:2] != (picture.height, picture.width):
        raise _NotAsHeldError
    sums.say("bytes", _colours(picture))
    behind = held_behind(picture.data, read_scans(picture.data, picture.head).end)
    if behind and not is_film_told(behind, picture.head, picture.data):
        sums.say(blake3(behind).hexdigest())
    sums.add(PillowImage.fromarray(rgb), picture.orientation)


def _add_still(sums: _Sums, picture: OpenPicture) -> None:
    image = picture.image
    if image is None or picture.format == "RAW" or picture.damage is not None:
        raise _NotAsHeldError
    image.load()  # OpenCV may have decoded it
    is_deep = image.format in _DEEP_FORMATS and bits_a_colour(image, picture.data) > BYTE_BITS
    if is_deep and image.mode in _OTHER_COLOURS:
        raise _NotAsHeldError
    sums.say("bytes" if is_deep and not has_layers(image) else _depth(image, picture.data), _colours(picture))
    if other := other_colours(image, picture.data):
        sums.say(*other)
    if is_deep:
        sums.add_file(picture.data)
    if not is_deep or image.has_transparency_data:
        sums.add(image, picture.orientation)


def _add_frames(sums: _Sums, picture: OpenPicture, sequence: Image, indexes: list[int]) -> None:
    sums.say("frames", getattr(sequence, "n_frames", 1), len(indexes), sequence.info.get("loop"))
    pixels = 0
    for index in indexes:
        sequence.seek(index)
        pixels += sequence.width * sequence.height
        if pixels > MAX_PIXELS:
            raise _NotAsHeldError
        load(sequence)
        profile = sequence.info.get("icc_profile")
        sums.say(
            _depth(sequence, picture.data),
            float(sequence.info.get("duration", 0)),  # ms
            profile if isinstance(profile, bytes) and not is_srgb(profile) else b"",
            *other_colours(sequence, picture.data),
        )
        sums.add(sequence, picture.orientation)


def _depth(image: Image, data: bytes) -> str:
    depth = stored_as(image, data)
    if not depth:
        raise _NotAsHeldError
    return depth


def _colours(picture: OpenPicture) -> bytes:
    """The colour profile of a picture; empty if it is in sRGB or has none."""
    profile = profile_of(picture)
    return b"" if profile is None or is_srgb(profile) else profile
