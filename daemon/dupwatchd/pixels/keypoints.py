"""Keypoints of a picture: small patches by which a part of it is found again in another picture.

The luma of a proof goes in, up to 44 keypoints come out, as whole numbers. A keypoint is a blob, darker or brighter
than what is around it: an extremum of the differences of Gaussians in place and scale, as in SIFT. What describes it
is the square patch around it, as many times its size, in the terms that the measure `structure` uses for a whole
picture: less its mean, divided by its deviation, and of its cosine transform the lowest coefficients. A copy that was
cropped, framed or captioned shows the same blobs at other places; two keypoints of two pictures whose coefficients
hardly differ *meet*, and `compare.parts` decides what follows from that.

Each patch is turned so that it is brighter on its left than on its right, and no more above than below: a copy that
was turned by any angle has nearly equal coefficients. Towards its corners a patch counts less and less.
Equal proofs give equal keypoints on one machine; they can always be made again from the stored proof.
"""

import itertools
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from dupwatchd.pixels import levels
from dupwatchd.pixels.levels import Floats, Levels
from dupwatchd.pixels.margins import within_margins
from dupwatchd.pixels.peaks import OWN, Peaks, Places, find_peaks
from dupwatchd.pixels.proof import PROOF_AREA_PX, Proof

VERSION = 2  # to be raised when other keypoints are found: those that are stored are made anew then
COEFFICIENTS = 16
MOST_COEFFICIENT = 127  # the sum of the squares of a keypoint's coefficients is at most the square of this
PLACES_A_PX = 8  # x and y are in eighths of a pixel of the proof
SCALES_A_PX = 256  # the scale is in parts of a pixel
TURNS = 256  # parts of a full turn in which turns are told
QUOTAS = (16, 16, 12)  # keypoints kept of each octave, the strongest
MOST_KEYPOINTS = sum(QUOTAS)

_LEVELS = 3  # scales looked at in an octave
_BLURS = _LEVELS + 3  # of an octave: one more at either end of what is looked at, and one that its differences need
_FINEST_PX = 1.8  # deviation of the Gaussian of the first scale
_OWN_BLUR_PX = 0.5  # that averaged pixels have already
_REACH = 3.0  # deviations at which a Gaussian is cut off
# deviations that make of each blur of an octave the next one
_FURTHER_PX = [_FINEST_PX * (4 ** (one / _LEVELS) - 4 ** ((one - 1) / _LEVELS)) ** 0.5 for one in range(1, _BLURS)]
_LEAST_RESPONSE = 0.15  # grey levels of difference at a blob: calm pictures have few, and weak ones
_EDGE_RATIO = 12.0  # of the curvatures across and along: a blob that is longer lies on an edge, and slides along it
_LEAST_SIDE_PX = 20  # of an octave that is looked at
_MOST_ENLARGED = 3.0  # a picture smaller than a proof is enlarged to its area by no more than this
_HALF_SIDE = 5.4  # of a patch, in scales of its keypoint; at 6 less is found of what is cut or shown small
_OUTSIDE_PX = 1.0  # by which an upright patch may reach over the edge
_PATCH_PX = 16
_COARSE_PX = 8  # of the patch that its turn is told from
_DISC_PX = 4.1  # radius of what counts there: beyond it, a turned picture shows something else
_SOFT_PX = 6.5  # deviation of the Gaussian by which a patch counts less away from its middle
_LEAST_DEVIATION = 3.0  # grey levels: what is flatter is not stretched further
_SAMPLING_PX = 1.2  # patches are sampled from the picture halved until their pixels are at most twice this apart

# Which of the values around a peak are asked for, see `Peaks`: those to the left, above and finer; to the right, below
# and coarser; the corners of its layer.
_BEFORE, _BEHIND = np.array([12, 10, 4]), np.array([14, 16, 22])
_CORNERS = np.array([17, 15, 11, 9])

# The lowest frequencies (down, across) of a patch that are not constant; each has its partner with both exchanged.
_FREQUENCIES = (
    (0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (1, 2), (2, 1), (2, 2),
    (0, 3), (3, 0), (1, 3), (3, 1), (2, 3), (3, 2), (0, 4), (4, 0),
)  # fmt: skip

# Scales as they are stored: 32 to an octave, from half a pixel on.
_STORED_SCALES = np.rint(SCALES_A_PX / 2 * np.exp2(np.arange(256) / 32)).astype(np.int16)

_HEADER = struct.Struct("<HHB")  # width, height, count
_PACKED_BYTES = 2 * 2 + 2 + COEFFICIENTS  # of a keypoint
MAX_KEYPOINTS_BYTES = _HEADER.size + MOST_KEYPOINTS * _PACKED_BYTES  # of a picture


@dataclass(frozen=True, eq=False)
class Keypoints:
    """The keypoints of one picture, N of them, from the finest octave to the coarsest; the strongest first in each."""

    width: int  # of the proof, in pixels
    height: int
    x: NDArray[np.int16]  # (N,) in 1/8 pixel of the proof, the centre of its first pixel being 0
    y: NDArray[np.int16]  # (N,)
    scale: NDArray[np.int16]  # (N,) deviation of the blob's Gaussian in 1/256 pixel of the proof
    turn: NDArray[np.uint8]  # (N,) in 1/256 of a full turn clockwise, what brought the patch to its canonical form
    coefficients: NDArray[np.int8]  # (N, 16), -127 … 127

    def __len__(self) -> int:
        return len(self.x)

    def to_bytes(self) -> bytes:
        """22 bytes a keypoint and 5 more, to be read by `from_bytes`."""
        head = _HEADER.pack(self.width, self.height, len(self))
        parts = self.x.astype("<i2"), self.y.astype("<i2"), _stored(self.scale), self.turn, self.coefficients
        return head + b"".join(part.tobytes() for part in parts)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Keypoints":
        """Raises ValueError if these are not the bytes of keypoints."""
        return read_many([data]).each()[0]


class ManyKeypoints(NamedTuple):
    """The keypoints of N pictures, one picture after the other: K of them; else as in `Keypoints`."""

    sizes: NDArray[np.int32]  # (N, 2) width and height of the proofs
    counts: NDArray[np.int64]  # (N,)
    x: NDArray[np.int16]  # (K,)
    y: NDArray[np.int16]
    scale: NDArray[np.int16]
    turn: NDArray[np.uint8]
    coefficients: NDArray[np.int8]  # (K, 16)

    def each(self) -> list[Keypoints]:
        """Those of each picture, which share the memory of all."""
        ends = np.cumsum(self.counts)
        parts = map(slice, (ends - self.counts).tolist(), ends.tolist())
        return [
            Keypoints(width, height, self.x[own], self.y[own], self.scale[own], self.turn[own], self.coefficients[own])
            for (width, height), own in zip(self.sizes.tolist(), parts, strict=True)
        ]


def read_many(stored: Sequence[bytes]) -> ManyKeypoints:
    """What `Keypoints.to_bytes` gave of each of some pictures, all at once: 2 µs a picture.

    Raises ValueError if these are not the bytes of keypoints.
    """
    lengths = np.fromiter(map(len, stored), np.int64, len(stored))
    if (lengths < _HEADER.size).any():
        raise ValueError("a picture's keypoints are cut short")
    data = np.frombuffer(b"".join(stored), np.uint8)
    heads = data[(np.cumsum(lengths) - lengths)[:, None] + np.arange(_HEADER.size)]
    sizes, counts = heads[:, :4].copy().view("<u2").astype(np.int32), heads[:, 4].astype(np.int64)
    if (counts > MOST_KEYPOINTS).any() or (lengths != _HEADER.size + counts * _PACKED_BYTES).any():
        raise ValueError("a picture's keypoints do not have the number that they name")
    # what each byte is part of: coefficients are most of them
    is_coefficient = np.repeat(
        np.tile([False, True], len(stored)),
        np.stack([lengths - COEFFICIENTS * counts, COEFFICIENTS * counts], axis=1).ravel(),
    )
    coefficients = data[is_coefficient].view(np.int8).reshape(-1, COEFFICIENTS)
    rest = data[~is_coefficient]
    column = np.repeat(
        np.tile(np.arange(5, dtype=np.uint8), len(stored)),
        np.stack([np.full_like(counts, _HEADER.size), 2 * counts, 2 * counts, counts, counts], axis=1).ravel(),
    )
    x, y = (rest[column == which].view("<i2").astype(np.int16) for which in (1, 2))
    scale, turn = (rest[column == which] for which in (3, 4))
    most = PLACES_A_PX * np.repeat(sizes, counts, axis=0)
    within = (x >= 0) & (x < most[:, 0]) & (y >= 0) & (y < most[:, 1])
    if not within.all() or (coefficients < -MOST_COEFFICIENT).any():
        raise ValueError("a picture's keypoints hold what no picture has")
    return ManyKeypoints(sizes, counts, x, y, _STORED_SCALES[scale], turn, coefficients)


def _stored(scale: NDArray[np.int16]) -> NDArray[np.uint8]:
    """The number of the stored scale that is nearest to each."""
    number = np.rint(32 * np.log2(np.maximum(scale, 1) / (SCALES_A_PX / 2)))
    return cast("NDArray[np.uint8]", np.clip(number, 0, len(_STORED_SCALES) - 1).astype(np.uint8))


class _Blobs(NamedTuple):
    """Where blobs lie, (N,) each, in pixels of the plane that they were found in."""

    x: Floats
    y: Floats
    scale: Floats


def keypoints_of(proof: Proof) -> Keypoints:
    """Finds the keypoints of a picture; none in a flat one, or where no patch lies within it.

    None either of a file of several frames or pages: a look sees one of them.
    """
    height, width = proof.luma.shape
    if proof.frames is not None:
        return _none(width, height)
    inner = within_margins(proof.luma)
    luma = inner.of(proof.luma)
    enlarged = _enlarged(luma)
    plane, work = _WORKSPACE.divided(enlarged)
    blobs = _blobs(plane, work)
    halvings = [plane]
    darker = _patches(halvings, blobs, np.zeros_like(blobs.scale), _COARSE_PX) @ _SLOPES.T
    along = np.arctan2(darker[:, 1], darker[:, 0])
    coefficients = _described(_patches(halvings, blobs, along, _PATCH_PX))
    turn = (np.rint(along * np.float32(-TURNS / (2 * np.pi))).astype(np.int16) & (TURNS - 1)).astype(np.uint8)
    to_x, to_y = luma.shape[1] / plane.shape[1], luma.shape[0] / plane.shape[0]
    left, top = inner.left + 0.5 * to_x - 0.5, inner.top + 0.5 * to_y - 0.5
    x = _whole(PLACES_A_PX * (blobs.x * to_x + left), 0, PLACES_A_PX * (width - 1))
    y = _whole(PLACES_A_PX * (blobs.y * to_y + top), 0, PLACES_A_PX * (height - 1))
    scale = _whole(SCALES_A_PX * blobs.scale * (to_x * to_y) ** 0.5, 1, 2**15 - 1)
    return Keypoints(width, height, x, y, _STORED_SCALES[_stored(scale)], turn, coefficients)


def _none(width: int, height: int) -> Keypoints:
    none = np.empty(0, np.int16)
    return Keypoints(width, height, none, none, none, none.astype(np.uint8), np.empty((0, COEFFICIENTS), np.int8))


def _whole(values: Floats, least: int, most: int) -> NDArray[np.int16]:
    return np.minimum(np.maximum(np.rint(values), least), most).astype(np.int16)


def _enlarged(luma: Levels) -> Levels:
    """A picture smaller than a proof at about a proof's area: its blobs are those of a larger copy's proof."""
    height, width = luma.shape
    scale = min(_MOST_ENLARGED, (PROOF_AREA_PX / luma.size) ** 0.5)
    return levels.resized(luma, (round(width * scale), round(height * scale))) if scale > 1.1 else luma


class _Workspace(threading.local):
    """Memory that a thread uses again for each picture: new pages cost more time than what is done with them."""

    def __init__(self) -> None:
        self._floats = np.empty(0, np.float32)

    def divided(self, luma: Levels) -> tuple[Floats, Floats]:
        """A plane with the levels of another, and room for the blurs of all its octaves: (W,)."""
        planes = 2 + _BLURS  # an octave has a fourth of the pixels of the one before
        if len(self._floats) < planes * luma.size:
            self._floats = np.empty(planes * luma.size, np.float32)
        plane = self._floats[: luma.size].reshape(luma.shape)
        plane[...] = luma
        return plane, self._floats[luma.size :]


_WORKSPACE = _Workspace()


def _blobs(plane: Floats, work: Floats) -> _Blobs:
    """The strongest of each octave.

    What is worked out for few places is worked out for those of all octaves at once: there, calls cost more than sums.
    """
    shapes: list[tuple[int, int, int]] = []
    used = 0  # of the room: the differences of each octave follow each other
    octave = plane
    for number in range(len(QUOTAS)):
        if min(octave.shape) < _LEAST_SIDE_PX:
            break
        blurs = work[used : used + _BLURS * octave.size].reshape(_BLURS, *octave.shape)
        if number:
            blurs[0] = octave
        else:
            levels.blur_into(blurs[0], octave, (_FINEST_PX**2 - _OWN_BLUR_PX**2) ** 0.5, _REACH)
        _blur_further(blurs)
        shapes.append((_BLURS - 1, *octave.shape))
        used += (_BLURS - 1) * octave.size
        octave = levels.halved_exactly(blurs[_LEVELS])
        for finer, coarser in itertools.pairwise(blurs):
            np.subtract(coarser, finer, out=finer)
    if not shapes:
        return _Blobs(*np.zeros((3, 0), np.float32))
    return _strongest(find_peaks(work[:used], shapes, _LEAST_RESPONSE), plane.shape)


def _blur_further(blurs: Floats) -> None:
    """From the first of them (6, H, W), the octave at its other scales, and at what lies beyond them on either side."""
    for number, deviation in enumerate(_FURTHER_PX, 1):
        levels.blur_into(blurs[number], blurs[number - 1], deviation, _REACH)


def _strongest(peaks: Peaks, shape: tuple[int, ...]) -> _Blobs:
    """The blobs of each octave that stand out most, of those whose patch lies within a plane of that shape."""
    value, before, after = peaks.around[OWN], peaks.around[_BEFORE], peaks.around[_BEHIND]
    slopes = (after - before) * np.float32(0.5)
    bends = (after + before) - value * np.float32(2)
    one, another, a_third, a_fourth = peaks.around[_CORNERS]
    skew = (one - another - a_third + a_fourth) / 4
    area = bends[0] * bends[1] - skew * skew
    kept = np.flatnonzero((bends[0] + bends[1]) ** 2 * _EDGE_RATIO < (_EDGE_RATIO + 1) ** 2 * area)
    slopes = slopes[:, kept]
    moved = _to_peak(slopes, bends[:, kept])
    response = np.abs(value[kept] + (slopes * moved).sum(axis=0) / 2)
    octave = peaks.stack[kept]
    size = np.ldexp(np.float32(1), octave)  # of the octave's pixels
    x, y = ((places[kept] + by).astype(np.float32) for places, by in zip((peaks.x, peaks.y), moved, strict=False))
    scale = (_FINEST_PX * np.exp2((peaks.plane[kept] + moved[2]) / _LEVELS)).astype(np.float32)
    half = np.float32(0.5)
    blobs = _Blobs((x + half) * size - half, (y + half) * size - half, scale * size)
    inside = _inside(blobs, shape)
    order = inside[np.lexsort((-response[inside], octave[inside]))]
    ends = np.cumsum(np.bincount(octave[order], minlength=len(QUOTAS))).tolist()
    starts = (0, *ends[:-1])
    chosen = np.concatenate(
        [order[start : min(end, start + quota)] for start, end, quota in zip(starts, ends, QUOTAS, strict=True)]
    )
    return _Blobs(blobs.x[chosen], blobs.y[chosen], blobs.scale[chosen])


def _to_peak(slopes: Floats, bends: Floats) -> Floats:
    """How far a parabola's summit lies from the place where it was sampled."""
    steep = np.where(np.abs(bends) < 1e-6, np.float32(1e-6), bends)
    moved: Floats = np.minimum(np.maximum(slopes / -steep, np.float32(-0.6)), np.float32(0.6))
    return moved


def _inside(blobs: _Blobs, shape: tuple[int, ...]) -> Places:
    """Which blobs have their patch within the picture."""
    reach = _HALF_SIDE * blobs.scale - _OUTSIDE_PX
    low = np.minimum(blobs.x, blobs.y) - reach >= -0.5
    high = (blobs.x + reach <= shape[1] - 0.5) & (blobs.y + reach <= shape[0] - 0.5)
    return np.flatnonzero(low & high)


def _patches(halvings: list[Floats], blobs: _Blobs, along: Floats, side_px: int) -> Floats:
    """What lies around each blob, in so many pixels squared: (N, side_px²), rows of a patch from its top.

    ``along`` (N,): the direction of its rows, clockwise from that to the right, in radians. ``halvings``: the picture,
    and as often halved as it was asked for; more are added where they are needed.
    """
    step = blobs.scale * np.float32(2 * _HALF_SIDE / side_px)  # between the pixels of a patch
    halved = np.floor(np.log2(np.maximum(step / np.float32(_SAMPLING_PX), 1))).astype(np.int8)
    across, down = (step * of(along) for of in (np.cos, np.sin))  # from a pixel of a patch to the next one in its row
    from_middle = _FROM_MIDDLE[side_px]
    right, aside = (np.multiply.outer(way, from_middle) for way in (across, down))  # (N, side_px)
    x = blobs.x[:, None, None] + (right[:, None, :] - aside[:, :, None])
    y = blobs.y[:, None, None] + (aside[:, None, :] + right[:, :, None])
    size = np.ldexp(np.float32(1), -halved)[:, None, None]
    x *= size
    y *= size
    patches = np.empty((len(step), side_px**2), np.float32)
    x, y = x.reshape(patches.shape), y.reshape(patches.shape)
    for number in range(int(halved.max(initial=-1)) + 1):
        if number == len(halvings):
            halvings.append(levels.halved(halvings[-1]))
        which = np.flatnonzero(halved == number)
        if len(which):
            patches[which] = levels.sampled(halvings[number], x[which], y[which])
    return patches


def _offsets(side_px: int) -> Floats:
    """Of the pixels in a row of a square from its middle: (side_px,)."""
    return np.arange(side_px, dtype=np.float32) - np.float32((side_px - 1) / 2)


def _from_middle(side_px: int) -> Floats:
    """Columns and rows of the pixels of a square from its middle: (2, side_px²)."""
    offsets = _offsets(side_px)
    return np.stack([np.tile(offsets, side_px), np.repeat(offsets, side_px)])


def _slopes() -> Floats:
    """What makes of a coarse patch the way to where it is darker, to the right and down, as rows: (2, 64)."""
    from_middle = _from_middle(_COARSE_PX)
    disc = np.clip(_DISC_PX - np.hypot(*from_middle), 0, 1)
    slopes: Floats = (-from_middle * disc).astype(np.float32)
    return slopes


def _soft() -> Floats:
    """How much each pixel of a patch counts: (256,), the sum of the squares is 1."""
    weights = np.exp(-np.square(_from_middle(_PATCH_PX)).sum(axis=0) / (2 * _SOFT_PX**2))
    soft: Floats = (weights / np.sqrt(np.square(weights).sum())).astype(np.float32)
    return soft


def _basis() -> Floats:
    """What makes the wanted cosine coefficients of a patch, less towards its corners, as rows: (16, 256).

    The squares of the coefficients of a patch of deviation 1 add up to 1 at most.
    """
    at = (np.arange(_PATCH_PX) + 0.5) * np.pi / _PATCH_PX
    waves = np.cos(np.arange(_PATCH_PX)[:, None] * at) * (2 / _PATCH_PX) ** 0.5
    waves[0] /= 2**0.5
    rows = [np.outer(waves[down], waves[across]).ravel() for down, across in _FREQUENCIES]
    return (np.stack(rows) * _SOFT).astype(np.float32)


_FROM_MIDDLE = {side_px: _offsets(side_px) for side_px in (_COARSE_PX, _PATCH_PX)}
_SLOPES = _slopes()
_SOFT = _soft()
_BASIS = _basis()


def _described(patches: Floats) -> NDArray[np.int8]:
    """The lowest coefficients of each, less its mean and divided by its deviation, in whole numbers: (N, 16)."""
    weights = np.square(_SOFT)
    centred = patches - (patches @ weights)[:, None]
    deviation = np.sqrt(np.square(centred) @ weights)
    described = centred @ _BASIS.T / np.maximum(deviation, np.float32(_LEAST_DEVIATION))[:, None]
    whole = np.clip(np.rint(MOST_COEFFICIENT * described), -MOST_COEFFICIENT, MOST_COEFFICIENT).astype(np.int8)
    return cast("NDArray[np.int8]", whole)
