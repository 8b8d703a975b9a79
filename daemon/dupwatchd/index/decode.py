"""The bytes of one file go in, its thumbnail, proof and facts come out, or its pixels at the size that is asked for.

`open_picture` chooses the decoder, and says why if none can read the file; `preview` uses it as well.
"""

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image as PillowImage
from PIL import UnidentifiedImageError
from PIL.Image import Image

from dupwatch.suffixes import RAW_SUFFIXES
from dupwatchd.arrays import Thumbnail
from dupwatchd.index import depth, facts, metadata
from dupwatchd.index.frames import Open, look_at_frames
from dupwatchd.index.held_beside import held_beside
from dupwatchd.index.jpeg import JpegPixels
from dupwatchd.index.jpeg2000 import load_deep_jpeg2000
from dupwatchd.index.jpeg_segments import Head, read_head, with_height
from dupwatchd.index.limits import DecodeLimits
from dupwatchd.index.messages import MAX_LUMA_PX, Detail
from dupwatchd.index.pillow_formats import (
    DeepGrey,
    Still,
    ends_blank,
    exif_orientation,
    jpeg_orientation,
    load_still,
    open_image,
)
from dupwatchd.index.png_chunks import lacks_rows
from dupwatchd.index.raw import RawPhoto, open_raw, preview_orientation
from dupwatchd.index.reasons import DecodeError, too_many_pixels, why_not_decoded, why_not_opened
from dupwatchd.index.thumbnail import Pixels, to_bytes, upright
from dupwatchd.index.unsupported import unsupported_kind
from dupwatchd.index.webp import check_memory, load_webp
from dupwatchd.index.zero_filled import zero_filled_end
from dupwatchd.model import RAW_BITS, Decoded, Facts
from dupwatchd.pixels import levels
from dupwatchd.pixels.blocks import Luma
from dupwatchd.pixels.frames import Frames
from dupwatchd.pixels.keypoints import keypoints_of
from dupwatchd.pixels.proof import Proof, make_proof, proof_size
from dupwatchd.pixels.signs import has_colour, has_jpeg_grid

_GRID_ROWS = 24  # of 8 × 8 blocks, that the grid of a JPEG is looked for in
_JPEG_SIGNATURE = b"\xff\xd8\xff"
_BROKEN_FRAME = "one of its frames or pages is broken or missing"
_SEVERAL = b"MPF\0"  # begins the list of the pictures in a JPEG file

# An image, what opens it again and its bytes go in; what is known of its frames and the index of the one to decode
# come out, or None if there is but one.
ChooseFrame = Callable[[Image, Open, bytes], tuple[Frames | None, int] | None]


def decode(data: bytes, thumbnail_px: int, limits: DecodeLimits, suffix: bytes) -> Decoded:
    """Decodes a whole file; ``suffix`` is its lower-case suffix with the dot, or empty.

    Raises NotAPicture if this is no image, DecodeError if it cannot be decoded, MemoryError.
    """
    with quietly():
        picture = open_picture(data, suffix, limits)
        with told_as(picture.decoder, data):
            thumbnail = upright(to_bytes(picture.pixels.average(thumbnail_px)), picture.orientation)
            proof = replace(_proof(picture), frames=picture.frames)
        return Decoded(
            thumbnail,
            picture.upright_width,
            picture.upright_height,
            picture.format,
            picture.damage,
            proof.to_bytes(),
            *((picture.frames.count, picture.frames.digest) if picture.frames else (1, b"")),
            facts=_facts(picture, data, thumbnail),
            keypoints=keypoints_of(proof).to_bytes() if limits.with_keypoints else b"",
        )


def decode_detail(data: bytes, most_px: int, limits: DecodeLimits, suffix: bytes) -> Detail:
    """The pixels of a file, upright and at most ``most_px`` on the longer side, and luma; raises as `decode` does."""
    with quietly():
        picture = open_picture(data, suffix, limits)
        scale = min(1.0, most_px / max(picture.width, picture.height))
        size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
        with told_as(picture.decoder, data):
            reduced = picture.pixels.reduced(size)
            extent = reduced.extent_width, reduced.extent_height
            rgb = upright(levels.averaged_over(reduced.rgb, extent, size), picture.orientation)
            luma = steps = None
            if picture.width * picture.height <= MAX_LUMA_PX:
                with suppress(ValueError, MemoryError):  # inks, for example
                    luma = _luma(picture)
                steps = facts.luma_steps(picture.head.segments) if picture.head else None
        return Detail(rgb, luma, steps)


@dataclass(frozen=True, slots=True)
class OpenPicture:
    """A picture that a decoder was found for, as it is stored: not turned upright."""

    pixels: Pixels
    width: int  # px
    height: int
    orientation: int  # 1 … 8
    format: str  # that is told
    decoder: str  # the format of what is decoded: that of the preview in a RAW photo
    data: bytes  # of what is decoded
    says_orientation: bool = True
    image: Image | None = None  # by Pillow; None: a JPEG, or the preview of a RAW photo that is no file of its own
    head: Head | None = None  # of a JPEG
    frames: Frames | None = None  # of a file that holds several pictures
    full_size: tuple[int, int] | None = None  # of the RAW photo, upright
    zero_filled_end: str | None = None  # see `zero_filled`

    @property
    def upright_width(self) -> int:
        """How wide it is for whoever looks at it, px; of a RAW photo, not of the preview in it."""
        return self._upright_size[0]

    @property
    def upright_height(self) -> int:
        """Likewise its height."""
        return self._upright_size[1]

    @property
    def damage(self) -> str | None:
        """What is wrong with a picture that could be decoded; known once it was decoded."""
        damage = self.pixels.damage if isinstance(self.pixels, JpegPixels) else self.zero_filled_end
        return damage or (_BROKEN_FRAME if self.frames is not None and self.frames.is_damaged else None)

    @property
    def _upright_size(self) -> tuple[int, int]:
        if self.full_size:
            return self.full_size
        return (self.height, self.width) if self.orientation in (5, 6, 7, 8) else (self.width, self.height)


def open_picture(
    data: bytes, suffix: bytes, limits: DecodeLimits, choose_frame: ChooseFrame = look_at_frames
) -> OpenPicture:
    """The picture in a file, found but not decoded yet, or only as far as its decoder must.

    ``choose_frame`` is asked for every file that may hold several pictures; by default the one is taken that stands
    for all of them. Raises NotAPicture, DecodeError, MemoryError.
    """
    if not data:
        raise DecodeError("zero bytes")
    if suffix in RAW_SUFFIXES and (photo := open_raw(data, limits.max_pixels)):
        return _open_preview(photo, limits, choose_frame)
    if data.startswith(_JPEG_SIGNATURE):
        return _open_jpeg(data, limits, choose_frame)
    opened = _open_by_pillow(data, suffix, limits, choose_frame)
    # What only Pillow can read of a RAW photo, such as a DNG of pixels that are developed already, is one all the same:
    # it belongs to the picture beside it.
    return replace(opened, format="RAW") if suffix in RAW_SUFFIXES else opened


def _open_preview(photo: RawPhoto, limits: DecodeLimits, choose_frame: ChooseFrame) -> OpenPicture:
    if isinstance(photo.preview, bytes):
        preview = open_picture(photo.preview, b"", limits, choose_frame)
    else:
        height, width = photo.preview.shape[:2]
        preview = OpenPicture(
            Still(PillowImage.fromarray(photo.preview)), width, height, 1, "RAW", "RAW", b"", says_orientation=False
        )
    own = preview.orientation if preview.says_orientation else None
    orientation = preview_orientation(photo, own, preview.width, preview.height)
    size = photo.width, photo.height
    return replace(preview, orientation=orientation, format="RAW", full_size=size)


def _open_jpeg(data: bytes, limits: DecodeLimits, choose_frame: ChooseFrame) -> OpenPicture:
    head = read_head(data)
    if head is not None and head.frame.height == 0 and (told := with_height(data, head)):
        data, head = told, read_head(told)
    if head is None:  # it ends before its first scan
        raise DecodeError("truncated JPEG")
    if head.frame.unsupported:
        raise DecodeError(f"{head.frame.unsupported} is not supported")
    if head.frame.height == 0:
        raise DecodeError("damaged JPEG (it does not tell its height)")
    width, height = head.frame.width, head.frame.height
    _check_pixels(width, height, limits)
    several = _views(data, head, choose_frame)
    if several and several[1]:
        view = _open_jpeg(_view(data, several[1]), limits, lambda *_: None)
        return replace(view, frames=several[0])
    orientation = jpeg_orientation(head.segments)
    return OpenPicture(
        JpegPixels(data, head),
        width,
        height,
        orientation or 1,
        "JPEG",
        "JPEG",
        data,
        says_orientation=orientation is not None,
        head=head,
        frames=several[0] if several else None,
    )


def _views(data: bytes, head: Head, choose_frame: ChooseFrame) -> tuple[Frames | None, int] | None:
    """What is chosen of a JPEG file that says it holds several pictures; None: it does not, or they cannot be found."""
    if data.find(_SEVERAL, 0, head.scan_at) < 0:
        return None
    try:
        image = PillowImage.open(io.BytesIO(data), formats=["JPEG"])
    except Exception:  # noqa: BLE001 - its first picture may be sound
        return None
    return choose_frame(image, lambda: PillowImage.open(io.BytesIO(data), formats=["JPEG"]), data)


def _view(data: bytes, number: int) -> bytes:
    """One of the pictures in a JPEG file, behind the first; ``number`` is one that was chosen."""
    with told_as("JPEG", data):
        image = PillowImage.open(io.BytesIO(data), formats=["JPEG"])
        image.seek(number)
        return data[image.offset :]  # type: ignore[attr-defined]


def _open_by_pillow(data: bytes, suffix: bytes, limits: DecodeLimits, choose_frame: ChooseFrame) -> OpenPicture:
    image = _opened(data, suffix)
    _check_pixels(image.width, image.height, limits)
    name = str(image.format)
    several = choose_frame(image, lambda: _opened(data, suffix), data)
    with told_as(name, data):
        if several and several[1] != image.tell():
            image.seek(several[1])
            _check_pixels(image.width, image.height, limits)
        pixels = _load(data, image, name)
    # TIFF: asked after decoding, because Pillow turns it while decoding and forgets its orientation then.
    orientation = exif_orientation(image)
    says = orientation is not None
    return OpenPicture(
        pixels,
        image.width,
        image.height,
        orientation or 1,
        name,
        name,
        data,
        says_orientation=says,
        image=image,
        frames=several[0] if several else None,
        zero_filled_end=zero_filled_end(data, name),
    )


def _load(data: bytes, image: Image, name: str) -> Pixels:
    if name == "WEBP":
        return load_webp(data, image)
    if name == "JPEG2000" and (deep := load_deep_jpeg2000(data, image)):
        return deep
    pixels = load_still(image)
    if name == "PNG" and image.tell() == 0 and ends_blank(image) and lacks_rows(data, image.width, image.height):
        raise DecodeError("damaged PNG (the last rows are missing)")
    return pixels


def _proof(picture: OpenPicture) -> Proof:
    reduced = picture.pixels.reduced(proof_size(picture.width, picture.height))
    proof = make_proof(reduced.rgb, reduced.extent_width, reduced.extent_height)
    if picture.orientation == 1:
        return proof
    chroma = np.stack([upright(plane, picture.orientation) for plane in proof.chroma])
    return Proof(upright(proof.luma, picture.orientation), chroma, proof.fineness)


def _facts(picture: OpenPicture, data: bytes, thumbnail: Thumbnail) -> Facts:
    colour = has_colour(thumbnail)
    try:
        return _facts_of_file(picture, data, colour)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - what a file says of itself never makes its picture fail
        return Facts(has_colour=colour)


def _facts_of_file(picture: OpenPicture, data: bytes, colour: bool) -> Facts:
    said = _metadata(picture, data)
    lossless = picture.image is not None and facts.is_lossless(picture.image, data)
    grid = (
        lossless and isinstance(picture.pixels, Still) and has_jpeg_grid(picture.pixels.luma_of_block_rows(_GRID_ROWS))
    )
    jpeg = picture.head is not None and picture.format == "JPEG"
    return Facts(
        said.camera,
        said.captured,
        said.has_place,
        said.rating,
        said.edited,
        colour,
        lossless,
        grid,
        facts.jpeg_quality(facts.luma_steps(picture.head.segments)) if jpeg and picture.head else 0,
        facts.scan_digest(data) if jpeg and picture.frames is None else _pixel_digest(picture, data),
        said.keywords,
        said.place,
        said.captions,
        said.people,
        _bits(picture),
        isinstance(picture.pixels, Still | DeepGrey) and picture.pixels.is_transparent,
        said.exposure,
        "" if picture.format == "RAW" else held_beside(picture.image, picture.head, data),
    )


def _bits(picture: OpenPicture) -> int:
    """How many bits a colour has in the file, see `model.Facts`."""
    if picture.format == "RAW":
        return RAW_BITS
    return depth.bits_a_colour(picture.image, picture.data) if picture.image is not None else 8


def _pixel_digest(picture: OpenPicture, data: bytes) -> bytes:
    """Of a file that holds one picture, all of whose pixels are decoded."""
    if picture.frames is not None or picture.image is None or not isinstance(picture.pixels, Still):
        return b""
    return facts.pixel_digest(picture.image, data, picture.pixels)


def _metadata(picture: OpenPicture, data: bytes) -> metadata.Metadata:
    if data[:2] in (b"II", b"MM"):  # TIFF, and most RAW formats
        return metadata.metadata_of(data)
    if picture.head is not None:
        return metadata.jpeg_metadata(picture.head)
    return metadata.read_metadata(picture.image, data) if picture.image else metadata.Metadata()


def _luma(picture: OpenPicture) -> Luma | None:
    image = picture.image
    if picture.head is not None:
        image = PillowImage.open(io.BytesIO(picture.data), formats=["JPEG"])
    return facts.stored_luma(image, picture.data) if image else None


def _opened(data: bytes, suffix: bytes) -> Image:
    try:
        return open_image(data, suffix)
    except (MemoryError, DecodeError):
        raise
    except Exception as error:  # broken files make decoders raise anything
        if data[8:12] == b"WEBP":
            check_memory(data)
        if kind := unsupported_kind(data):
            raise DecodeError(f"{kind} is not supported") from error
        raise why_not_opened(data, None if isinstance(error, UnidentifiedImageError) else error) from error


def _check_pixels(width: int, height: int, limits: DecodeLimits) -> None:
    if width * height > limits.max_pixels:
        raise too_many_pixels(width, height, limits.max_pixels)


@contextmanager
def quietly() -> Iterator[None]:
    """Decoders warn of broken metadata, which do not matter here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def told_as(format_name: str, data: bytes) -> Iterator[None]:
    """Turns whatever a decoder raises into a DecodeError."""
    try:
        yield
    except (MemoryError, DecodeError):
        raise
    except Exception as error:  # broken files make decoders raise anything
        if kind := unsupported_kind(data):
            raise DecodeError(f"{kind} is not supported") from error
        raise why_not_decoded(error, format_name) from error
