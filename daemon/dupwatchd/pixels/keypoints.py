"""Keypoints of a picture: small patches by which a part of it is found again in another picture.

The luma of a proof goes in, up to 44 keypoints come out, as whole numbers. A keypoint is a blob, darker or brighter
than what is around it: an extremum of the differences of Gaussians in place and scale, as in SIFT. What describes it
is the square patch around it, as many times its size, in the terms that the measure `structure` uses for a whole
picture: less its mean, divided by its deviation, and of its cosine transform the lowest coefficients. A copy that was
cropped, framed or captioned shows the same blobs at other places; two keypoints of two pictures whose coefficients
hardly differ *meet*, and `compare.parts` decides what follows from that.

Patches are upright, and turned by quarters to a canonical form, so that a turned copy has equal coefficients.
Equal proofs give equal keypoints on one machine; they can always be made again from the stored proof.
"""

import itertools
import struct
import threading
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dupwatchd.pixels import levels
from dupwatchd.pixels.levels import Floats, Levels
from dupwatchd.pixels.margins import within_margins
from dupwatchd.pixels.peaks import find_peaks
from dupwatchd.pixels.proof import PROOF_AREA_PX, Proof

Places = NDArray[np.intp]

VERSION = 1  # to be raised when other keypoints are found: those that are stored are made anew then
COEFFICIENTS = 16
MOST_COEFFICIENT = 127  # the sum of the squares of a keypoint's coefficients is at most the square of this
PLACES_A_PX = 8  # x and y are in eighths of a pixel of the proof
SCALES_A_PX = 64  # the scale is in sixty-fourths
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
_HALF_SIDE = 6.0  # of a patch, in scales of its keypoint
_OUTSIDE_PX = 1.0  # by which a patch may reach over the edge
_PATCH_PX = 16
_LEAST_DEVIATION = 3.0  # grey levels: what is flatter is not stretched further
_SAMPLING_PX = 1.2  # patches are sampled from the picture halved until their pixels are at most twice this apart

# Steps to what is asked for of a blob: layers, rows and columns. Itself; the neighbours before it, to the left, above,
# finer; those behind it; the corners of its layer.
_AROUND = np.array(
    [
        (0, 0, 0),
        (0, 0, -1), (0, -1, 0), (-1, 0, 0),
        (0, 0, 1), (0, 1, 0), (1, 0, 0),
        (0, 1, 1), (0, 1, -1), (0, -1, 1), (0, -1, -1),
    ]
)  # fmt: skip

# The lowest frequencies (down, across) of a patch that are not constant; each has its partner with both exchanged.
_FREQUENCIES = (
    (0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (1, 2), (2, 1), (2, 2),
    (0, 3), (3, 0), (1, 3), (3, 1), (2, 3), (3, 2), (0, 4), (4, 0),
)  # fmt: skip
_ACROSS, _DOWN = _FREQUENCIES.index((0, 1)), _FREQUENCIES.index((1, 0))
_EXCHANGED = np.array([_FREQUENCIES.index((across, down)) for down, across in _FREQUENCIES])
_ODD_ACROSS = np.array([-1 if across % 2 else 1 for _, across in _FREQUENCIES], np.int8)

_HEADER = struct.Struct("<HHB")  # width, height, count
_TURN_BITS = 2  # of the number that keeps scale and turn
_PACKED_BYTES = 3 * 2 + COEFFICIENTS  # of a keypoint
MAX_KEYPOINTS_BYTES = _HEADER.size + MOST_KEYPOINTS * _PACKED_BYTES  # of a picture


@dataclass(frozen=True, eq=False)
class Keypoints:
    """The keypoints of one picture, N of them, from the finest octave to the coarsest; the strongest first in each."""

    width: int  # of the proof, in pixels
    height: int
    x: NDArray[np.int16]  # (N,) in 1/8 pixel of the proof, the centre of its first pixel being 0
    y: NDArray[np.int16]  # (N,)
    scale: NDArray[np.int16]  # (N,) deviation of the blob's Gaussian in 1/64 pixel of the proof
    turn: NDArray[np.uint8]  # (N,) quarter turns clockwise that brought the patch to its canonical form, 0 … 3
    coefficients: NDArray[np.int8]  # (N, 16), -127 … 127

    def __len__(self) -> int:
        return len(self.x)

    def to_bytes(self) -> bytes:
        """22 bytes a keypoint and 5 more, to be read by `from_bytes`."""
        head = _HEADER.pack(self.width, self.height, len(self))
        scale = self.scale << _TURN_BITS | self.turn
        return (
            head
            + b"".join(part.astype("<i2").tobytes() for part in (self.x, self.y, scale))
            + (self.coefficients.tobytes())
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> "Keypoints":
        """Raises ValueError if these are not the bytes of keypoints."""
        if len(data) < _HEADER.size:
            raise ValueError("a picture's keypoints are cut short")
        width, height, count = _HEADER.unpack_from(data)
        if count > MOST_KEYPOINTS or len(data) != _HEADER.size + count * _PACKED_BYTES:
            raise ValueError("a picture's keypoints do not have the number that they name")
        x, y, scale = np.frombuffer(data, "<i2", 3 * count, _HEADER.size).astype(np.int16).reshape(3, count)
        coefficients = np.frombuffer(data, np.int8, offset=_HEADER.size + 6 * count).reshape(count, COEFFICIENTS)
        within = (x >= 0) & (x < PLACES_A_PX * width) & (y >= 0) & (y < PLACES_A_PX * height)
        if not within.all() or (scale >> _TURN_BITS < 1).any() or (coefficients < -MOST_COEFFICIENT).any():
            raise ValueError("a picture's keypoints hold what no picture has")
        turn = (scale & (2**_TURN_BITS - 1)).astype(np.uint8)
        return cls(width, height, x, y, scale >> _TURN_BITS, turn, coefficients)


class _Blobs(NamedTuple):
    """Where blobs lie, (N,) each, in pixels of the plane that they were found in."""

    x: Floats
    y: Floats
    scale: Floats


class _Peaks(NamedTuple):
    """Where there may be blobs in differences of Gaussians, (N,) each, in order of octave, layer, row and column."""

    octave: Places
    layer: Places
    y: Places
    x: Places
    around: Floats  # (11, N) the values at those of `_AROUND`


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
    coefficients, turn = _canonical(_described(_patches(plane, blobs)))
    to_x, to_y = luma.shape[1] / plane.shape[1], luma.shape[0] / plane.shape[0]
    left, top = inner.left + 0.5 * to_x - 0.5, inner.top + 0.5 * to_y - 0.5
    x = _whole(PLACES_A_PX * (blobs.x * to_x + left), 0, PLACES_A_PX * (width - 1))
    y = _whole(PLACES_A_PX * (blobs.y * to_y + top), 0, PLACES_A_PX * (height - 1))
    scale = _whole(SCALES_A_PX * blobs.scale * (to_x * to_y) ** 0.5, 1, 2**13 - 1)
    return Keypoints(width, height, x, y, scale, turn, coefficients)


def _none(width: int, height: int) -> Keypoints:
    none = np.empty(0, np.int16)
    return Keypoints(width, height, none, none, none, none.astype(np.uint8), np.empty((0, COEFFICIENTS), np.int8))


def _whole(values: Floats, least: int, most: int) -> NDArray[np.int16]:
    return np.clip(np.rint(values), least, most).astype(np.int16)


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
        """A plane with the levels of another, and room for the blurs of an octave of that size: (W,)."""
        if len(self._floats) < (1 + _BLURS) * luma.size:
            self._floats = np.empty((1 + _BLURS) * luma.size, np.float32)
        plane = self._floats[: luma.size].reshape(luma.shape)
        plane[...] = luma
        return plane, self._floats[luma.size :]


_WORKSPACE = _Workspace()


def _blobs(plane: Floats, work: Floats) -> _Blobs:
    """The strongest of each octave.

    What is worked out for few places is worked out for those of all octaves at once: there, calls cost more than sums.
    """
    found = []
    octave = plane
    for number in range(len(QUOTAS)):
        if min(octave.shape) < _LEAST_SIDE_PX:
            break
        blurs = work[: _BLURS * octave.size].reshape(_BLURS, *octave.shape)
        if number:
            blurs[0] = octave
        else:
            levels.blur_into(blurs[0], octave, (_FINEST_PX**2 - _OWN_BLUR_PX**2) ** 0.5, _REACH)
        _blur_further(blurs)
        octave = levels.halved_exactly(blurs[_LEVELS])
        for finer, coarser in itertools.pairwise(blurs):
            np.subtract(coarser, finer, out=finer)
        found.append(_peaks(blurs[:-1], number))
    if not found:
        return _Blobs(*np.zeros((3, 0), np.float32))
    peaks = _Peaks(*(np.concatenate(parts, axis=-1) for parts in zip(*found, strict=True)))
    return _strongest(peaks, plane.shape)


def _blur_further(blurs: Floats) -> None:
    """From the first of them (6, H, W), the octave at its other scales, and at what lies beyond them on either side."""
    for number, deviation in enumerate(_FURTHER_PX, 1):
        levels.blur_into(blurs[number], blurs[number - 1], deviation, _REACH)


def _peaks(differences: Floats, octave: int) -> _Peaks:
    """Of the differences of Gaussians of an octave (5, H, W)."""
    _, height, width = differences.shape
    at = find_peaks(differences, _LEAST_RESPONSE)
    layer, within = np.divmod(at, height * width)
    y, x = np.divmod(within, width)
    steps = _AROUND @ (height * width, width, 1)
    around = differences.reshape(-1).take(at + steps[:, None])
    return _Peaks(np.full(len(at), octave), layer, y, x, around)


def _strongest(peaks: _Peaks, shape: tuple[int, ...]) -> _Blobs:
    """The blobs of each octave that stand out most, of those whose patch lies within a plane of that shape."""
    value, before, after = peaks.around[0], peaks.around[1:4], peaks.around[4:7]
    slopes = (after - before) * np.float32(0.5)
    bends = (after + before) - value * np.float32(2)
    one, another, a_third, a_fourth = peaks.around[7:]
    skew = (one - another - a_third + a_fourth) / 4
    area = bends[0] * bends[1] - skew * skew
    kept = np.flatnonzero((bends[0] + bends[1]) ** 2 * _EDGE_RATIO < (_EDGE_RATIO + 1) ** 2 * area)
    moved = _to_peak(slopes, bends)[:, kept]
    response = np.abs(value[kept] + (slopes[:, kept] * moved).sum(axis=0) / 2)
    octave = peaks.octave[kept]
    size = np.ldexp(np.float32(1), octave)  # of the octave's pixels
    x, y = ((places[kept] + by).astype(np.float32) for places, by in zip((peaks.x, peaks.y), moved, strict=False))
    scale = (_FINEST_PX * np.exp2((peaks.layer[kept] + moved[2]) / _LEVELS)).astype(np.float32)
    half = np.float32(0.5)
    blobs = _Blobs((x + half) * size - half, (y + half) * size - half, scale * size)
    inside = _inside(blobs, shape)
    order = inside[np.argsort(-response[inside], kind="stable")]
    chosen = np.concatenate([order[octave[order] == number][:quota] for number, quota in enumerate(QUOTAS)])
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


def _patches(plane: Floats, blobs: _Blobs) -> Floats:
    """What lies around each blob, less its mean and divided by its deviation: (N, 256), rows from the top."""
    step = blobs.scale * np.float32(2 * _HALF_SIDE / _PATCH_PX)  # between the pixels of a patch
    halvings = np.floor(np.log2(np.maximum(step / np.float32(_SAMPLING_PX), 1))).astype(np.intp)
    offsets = np.arange(_PATCH_PX, dtype=np.float32) - np.float32((_PATCH_PX - 1) / 2)
    patches = np.empty((len(step), _PATCH_PX, _PATCH_PX), np.float32)
    shrunk = plane
    for halving in range(int(halvings.max(initial=-1)) + 1):
        if halving:
            shrunk = levels.halved(shrunk)
        which = np.flatnonzero(halvings == halving)
        if len(which):
            size = np.float32(0.5**halving)
            along = step[which, None] * offsets
            x, y = ((one[which, None] + along) * size for one in (blobs.x, blobs.y))
            patches[which] = levels.sampled(shrunk, x, y)
    flat = patches.reshape(len(step), _PATCH_PX**2)
    flat -= flat.mean(axis=1, keepdims=True)
    flat /= np.maximum(np.sqrt(np.square(flat).mean(axis=1, keepdims=True)), np.float32(_LEAST_DEVIATION))
    return flat


def _basis() -> Floats:
    """What makes the wanted cosine coefficients of a patch, as rows: (16, 256).

    Divided by the side of a patch, so that their squared distance is at most the mean squared difference of patches.
    """
    at = (np.arange(_PATCH_PX) + 0.5) * np.pi / _PATCH_PX
    waves = np.cos(np.arange(_PATCH_PX)[:, None] * at) * (2 / _PATCH_PX) ** 0.5
    waves[0] /= 2**0.5
    rows = [np.outer(waves[down], waves[across]).ravel() for down, across in _FREQUENCIES]
    return (np.stack(rows) / _PATCH_PX).astype(np.float32)


_BASIS = _basis()


def _described(patches: Floats) -> Floats:
    """The lowest coefficients of each: (N, 16)."""
    described: Floats = patches @ _BASIS.T
    return described


def _canonical(described: Floats) -> tuple[NDArray[np.int8], NDArray[np.uint8]]:
    """Coefficients of each patch turned so that its brighter half is the left one, in whole numbers, and the turns."""
    turn = np.zeros(len(described), np.uint8)
    for _ in range(3):
        other = described[:, _ACROSS] < np.abs(described[:, _DOWN])
        described[other] = _turned_clockwise(described[other])
        turn[other] += 1
    whole = np.clip(np.rint(MOST_COEFFICIENT * described), -MOST_COEFFICIENT, MOST_COEFFICIENT)
    return whole.astype(np.int8), turn


def _turned_clockwise(described: Floats) -> Floats:
    return described[:, _EXCHANGED] * _ODD_ACROSS.astype(np.float32)
