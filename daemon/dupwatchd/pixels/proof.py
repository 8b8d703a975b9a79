"""What is kept of a picture so that it can be looked at again without its file: about 192² pixels.

Pixels go in, a `Proof` comes out. Luma is kept at the full size of the proof and chroma at a third of it, both in
steps of two grey levels: 18 KB a photo, where single grey levels take 23 KB and tell copies from others no better.

Equal pixels give equal proofs on one machine. On another one, OpenCV may round a few pixels differently, as thumbnails
may differ there, too: then one picture is kept as two that are the same.

Stored are the differences of each row to the one above, deflated by ISA-L: half the time that zlib takes for the same
bytes. What it writes depends on its version and on the processor, so that stored bytes say nothing about whether two
proofs are equal: each carries the digest of all that it holds, taken before it is packed. Only zlib reads the bytes
again, because a worker process that a picture has taken over may have written anything.
"""

import hashlib
import struct
import zlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from blake3 import blake3
from isal import isal_zlib

from dupwatchd.pixels import levels
from dupwatchd.pixels.frames import Frames
from dupwatchd.pixels.levels import Levels, Size

PROOF_AREA_PX = 192 * 192
CHROMA_SHRINK = 3  # colour differs in areas, not in lines; a third of the side costs 2 KB instead of 5.5 for a half
MAX_SIDE_PX = 4096  # of a strip that is very long and thin
_STEP_BITS = np.uint8(1)
_STEP = 2  # grey levels that one step of a stored value stands for: 2 ** _STEP_BITS
_ROUNDED = ((np.minimum(np.arange(256), 255 - _STEP // 2) + _STEP // 2) & (256 - _STEP)).astype(np.uint8)
# Shrunk by no more than this, pixels are interpolated instead of averaged: luma of a JPEG of 500 px, decoded at half
# its size, differs by 1.7 instead of 1.6 grey levels from that of the whole picture.
_LINEAR_LUMA, _LINEAR_CHROMA = 1.5, 2.0
_PIXELS_LEFT = 2  # at least so many pixels a side are left for each cell where whole boxes are averaged first

# Text and drawings are strokes on a calm ground, at 2 to 4 pixels a cell; photos hardly ever are. Of what lies within
# so many pixels of a stroke, 460 to 720 of 1,000 pixels are calm in drawn documents, 180 to 550 in their JPEG copies
# at quality 50, and 140 in half of all photos, 330 in one of ten.
_STROKE_LEVELS, _CALM_LEVELS, _NEAR_PX = 64, 10, 4
_FEWEST_STROKES = 10  # in a thousand pixels
FINE_PER_MILLE = 350

_DIGEST_BYTES = 16
_HEADER = struct.Struct("<BHHHH")  # format, width, height, fineness, bytes of frames; then the digest
HEAD_BYTES = _HEADER.size + _DIGEST_BYTES
_FORMAT = 3
_EFFORT = 1  # of 0 … 3: 0 packs to a fifth more bytes in nine tenths of the time, 3 takes longer and gains nothing
_MOST_PX = 2 * PROOF_AREA_PX  # that a proof may claim to have; sides are rounded, so that some have more than the area
MAX_PROOF_BYTES = 64 * 1024  # of a proof that does not compress at all, with room to spare


@dataclass(frozen=True, eq=False)
class Proof:
    """A small picture to look at; two are equal if their pixels are."""

    luma: Levels  # (H, W), even
    chroma: Levels  # (2, h, w) Cb and Cr, even, 128 is grey
    fineness: int  # per mille of what lies near strokes that is calm, 0 where there are no strokes

    frames: Frames | None = None  # what else the file holds; None: this is its only picture

    @cached_property
    def digest(self) -> bytes:
        """16 bytes that equal pixels share."""
        size = struct.pack("<HHHH", *self.luma.shape, *self.chroma.shape[1:])
        return hashlib.blake2b(size + self.luma.tobytes() + self.chroma.tobytes(), digest_size=16).digest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Proof) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def to_bytes(self) -> bytes:
        """Compressed, to be read by `from_bytes`; about 20 KB for a photo."""
        height, width = self.luma.shape
        planes = b"".join(_row_differences(plane).tobytes() for plane in (self.luma, *self.chroma))
        frames = self.frames.to_bytes() if self.frames else b""
        header = _HEADER.pack(_FORMAT, width, height, self.fineness, len(frames))
        content = blake3(header + frames + planes).digest(length=_DIGEST_BYTES)
        packed = isal_zlib.compress(planes, _EFFORT, -zlib.MAX_WBITS)
        return b"".join((header, content, frames, packed))

    @classmethod
    def from_bytes(cls, data: bytes) -> "Proof":
        """Raises ValueError if these are not the bytes of a proof."""
        if len(data) < HEAD_BYTES:
            raise ValueError("a proof is cut short")
        form, width, height, fineness, frames_bytes = _HEADER.unpack_from(data)
        if form != _FORMAT:
            raise ValueError(f"a proof of the unknown format {form}")
        if not 0 < width * height <= _MOST_PX:
            raise ValueError("a proof's size is not one that proofs have")
        small = _shrunk_side(width), _shrunk_side(height)
        sides = [(height, width), (small[1], small[0]), (small[1], small[0])]
        count = sum(rows * columns for rows, columns in sides)
        pixels_at = HEAD_BYTES + frames_bytes
        frames = Frames.from_bytes(data[HEAD_BYTES:pixels_at]) if frames_bytes else None
        values = _inflated(memoryview(data)[pixels_at:], count)
        luma_px = width * height
        luma = _from_row_differences(values[:luma_px].reshape(height, width))
        chroma = values[luma_px:].reshape(2, small[1], small[0])
        return cls(luma, np.stack([_from_row_differences(plane) for plane in chroma]), fineness, frames)


def content_digest(stored: bytes) -> bytes:
    """16 bytes of a stored proof that all proofs share which hold the same, however they are packed."""
    return stored[_HEADER.size : HEAD_BYTES]


def _row_differences(plane: Levels) -> Levels:
    """The steps of a plane (H, W), each less the one above it."""
    steps = plane >> _STEP_BITS
    steps[1:] -= steps[:-1].copy()
    return steps


def _from_row_differences(differences: Levels) -> Levels:
    return np.cumsum(differences, axis=0, dtype=np.uint8) << _STEP_BITS


def _inflated(data: memoryview, count: int) -> Levels:
    """Exactly ``count`` bytes; raises ValueError."""
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        values = unpacker.decompress(data, count + 1)
    except zlib.error as error:
        raise ValueError(f"a proof cannot be read ({error})") from error
    if len(values) != count or not unpacker.eof or unpacker.unused_data:
        raise ValueError("a proof's pixels do not have the size that it names")
    return np.frombuffer(values, np.uint8)


def _shrunk_side(side_px: int) -> int:
    return -(-side_px // CHROMA_SHRINK)


def wants_a_closer_look(proof: Proof) -> bool:
    """Whether the picture may hold lines finer than its proof shows: text, screens, receipts, maps, charts."""
    return proof.fineness >= FINE_PER_MILLE


def holds_fine_lines(rgb: Levels) -> bool:
    """`wants_a_closer_look` of the proof of (H, W, 3) uint8 RGB pixels, which is not made for that."""
    reduced, _ = _reduced(rgb, *proof_size(rgb.shape[1], rgb.shape[0]))
    return _fineness(levels.grey(reduced)) >= FINE_PER_MILLE


def make_proof(rgb: Levels, extent_width: float | None = None, extent_height: float | None = None) -> Proof:
    """The proof of (H, W, 3) uint8 RGB pixels, upright; a picture smaller than a proof is kept at its own size.

    A picture decoded smaller covers its last column and row only in part: the extents say how many of them it covers.
    """
    extent = extent_width or float(rgb.shape[1]), extent_height or float(rgb.shape[0])
    size = proof_size(*extent)
    reduced, boxes = _reduced(rgb, *size)
    extent = extent[0] / boxes[0], extent[1] / boxes[1]
    grey = levels.grey(reduced)
    luma = levels.averaged_over(grey, extent, size, linear_up_to=_LINEAR_LUMA)
    small = _shrunk_side(size[0]), _shrunk_side(size[1])
    doubled = levels.averaged_over(reduced, extent, (2 * small[0], 2 * small[1]), linear_up_to=_LINEAR_CHROMA)
    chroma = levels.blue_and_red(levels.averaged(doubled, small))
    return Proof(_in_steps(luma), _in_steps(chroma), _fineness(grey))


def _fineness(grey: Levels) -> int:
    ranges = levels.range_around(grey)
    strokes = levels.strokes(ranges, _STROKE_LEVELS)
    if levels.per_mille(strokes) < _FEWEST_STROKES:
        return 0
    return levels.calm_beside(strokes, ranges, _CALM_LEVELS, _NEAR_PX)


def proof_size(width: float, height: float) -> Size:
    """Columns and rows of the proof of a picture of that many pixels."""
    scale = min(1.0, (PROOF_AREA_PX / (width * height)) ** 0.5, MAX_SIDE_PX / max(width, height))
    return max(1, int(width * scale + 0.5)), max(1, int(height * scale + 0.5))


def _reduced(rgb: Levels, columns: int, rows: int) -> tuple[Levels, tuple[int, int]]:
    """The picture averaged in whole boxes to a few pixels a cell, and the sides of the boxes."""
    height, width = rgb.shape[:2]
    across, down = max(1, width // (_PIXELS_LEFT * columns)), max(1, height // (_PIXELS_LEFT * rows))
    if across == down == 1:
        return rgb, (1, 1)
    more_columns, more_rows = -width % across, -height % down
    if more_columns or more_rows:
        rgb = levels.edged(rgb, more_columns, more_rows)
    size = (width + more_columns) // across, (height + more_rows) // down
    return levels.averaged(rgb, size), (across, down)


def _in_steps(plane: Levels) -> Levels:
    """Rounded to multiples of ``_STEP`` that fit a byte."""
    return levels.looked_up(plane.reshape(-1, plane.shape[-1]), _ROUNDED).reshape(plane.shape)
