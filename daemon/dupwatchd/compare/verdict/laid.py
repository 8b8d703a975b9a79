"""One picture as another sees it: the part that both show, on the other's grid.

Planes of both and a map between them go in, pieces that can be compared place by place come out.
"""

import math
from typing import NamedTuple

import numpy as np

from dupwatchd.compare.verdict.register import corners, inverse, joined, whole_onto_whole
from dupwatchd.pixels import levels
from dupwatchd.pixels.levels import Levels, Map, Size

Box = tuple[slice, slice]  # rows and columns

# Of each side of what both show that is left out, as edges are averaged over what lies beyond; and at the least.
RIM, NARROW_RIM = 0.015, 0.002
_STRIP, _LEAST_STRIP_PX = 0.03, 24  # of each side is an edge, looked at by itself
_LEAST_LEAN = 0.061  # tangent of 3.5 degrees
_LEAST_SHARED_PX = 16  # of each side; less cannot be compared


class Planes(NamedTuple):
    """A picture to be compared."""

    luma: Levels  # (H, W)
    chroma: Levels  # (2, h, w) Cb and Cr of the same area
    fine_chroma: Levels | None = None  # the same with more pixels, if small places of another colour are looked for

    def oriented(self, turn_degrees: int, *, mirrored: bool) -> "Planes":
        """Mirrored, if asked, and then turned clockwise."""

        def turned(plane: Levels) -> Levels:
            return levels.turned(plane, turn_degrees, mirrored=mirrored)

        chroma, fine = (None if one is None else np.stack([*map(turned, one)]) for one in self[1:])
        assert chroma is not None
        return Planes(turned(self.luma), chroma, fine)


def laid_onto(source: Planes, target: Planes, map_: Map, rim_share: float) -> tuple[Planes, Planes] | None:
    """Of both, what they share, on the target's grid, less that share of a rim on each side; None: it is too little."""
    box = shared_box(map_, source.luma.shape[1::-1], target.luma.shape[1::-1], rim_share)
    if box is None:
        return None
    seen, its = _chroma_laid(source, target, map_, box, source.chroma, target.chroma)
    fine, its_fine = None, None
    if source.fine_chroma is not None and target.fine_chroma is not None:
        fine, its_fine = _chroma_laid(source, target, map_, box, source.fine_chroma, target.fine_chroma)
    luma = seen_at(source.luma, map_, target.luma, box)
    return Planes(luma, seen, fine), Planes(np.ascontiguousarray(target.luma[box]), its, its_fine)


def _chroma_laid(
    source: Planes, target: Planes, map_: Map, box: Box, chroma: Levels, its_chroma: Levels
) -> tuple[Levels, Levels]:
    """Chroma of what they share, of the source on the grid of the target's, and of the target."""
    is_whole = np.array_equal(map_, whole_onto_whole(source.luma, target.luma))
    up = whole_onto_whole(chroma[0], source.luma)
    down = whole_onto_whole(target.luma, its_chroma[0])
    small_map = whole_onto_whole(chroma[0], its_chroma[0]) if is_whole else joined(up, map_, down)
    small_box = _scaled(box, target.luma.shape, its_chroma.shape[1:])
    seen = np.stack([seen_at(plane, small_map, its_chroma[0], small_box) for plane in chroma])
    return seen, np.ascontiguousarray(its_chroma[(slice(None), *small_box)])


def without_rim(planes: Planes, share: float) -> Planes:
    """Less that share of each side."""
    height, width = planes.luma.shape
    rows, columns = math.ceil(share * height), math.ceil(share * width)
    return _cut(planes, (slice(rows, height - rows), slice(columns, width - columns)))


def edges(planes: Planes) -> list[Planes]:
    """What lies at the top, the bottom, the left and the right; none of a small picture."""
    height, width = planes.luma.shape
    rows, columns = (max(_LEAST_STRIP_PX, round(_STRIP * side)) for side in (height, width))
    if min(height, width) < 4 * _LEAST_STRIP_PX:
        return []
    across, down = slice(0, width), slice(0, height)
    boxes = (slice(0, rows), across), (slice(height - rows, height), across)
    return [_cut(planes, box) for box in (*boxes, (down, slice(0, columns)), (down, slice(width - columns, width)))]


def _cut(planes: Planes, box: Box) -> Planes:
    def cut(chroma: Levels) -> Levels:
        return np.ascontiguousarray(chroma[(slice(None), *_scaled(box, planes.luma.shape, chroma.shape[1:]))])

    fine = None if planes.fine_chroma is None else cut(planes.fine_chroma)
    return Planes(np.ascontiguousarray(planes.luma[box]), cut(planes.chroma), fine)


def shared_box(map_: Map, source_size: Size, target_size: Size, rim_share: float) -> Box | None:
    """What the source shows of the target, less a rim, on the target's grid."""
    placed = corners(source_size) @ inverse(map_).T
    within = _share_within(map_, source_size, target_size) if leans(map_) else None
    spans = []
    for axis, length in ((1, target_size[1]), (0, target_size[0])):
        if within is None:
            ends = np.sort(placed[:, axis])
            low, high = max(-0.5, float(ends[1])), min(length - 0.5, float(ends[2]))
        else:
            low, high = (length * (1 + sign * within) / 2 - 0.5 for sign in (-1, 1))
        rim = max(1.0, rim_share * (high - low))
        start, stop = int(np.ceil(low + rim)), int(np.floor(high - rim)) + 1
        if stop - start < _LEAST_SHARED_PX:
            return None
        spans.append(slice(start, stop))
    return spans[0], spans[1]


def lean(map_: Map) -> float:
    """The tangent of the angle by which a map turns off a quarter turn."""
    straight, aslant = sorted(np.abs(map_[0, :2]).tolist(), reverse=True)
    return float(aslant / straight) if straight else 0.0


def leans(map_: Map) -> bool:
    """Whether a map turns by more than some degrees off a quarter turn: outlines are no boxes to each other then."""
    return lean(map_) > _LEAST_LEAN


def _share_within(map_: Map, source_size: Size, target_size: Size) -> float:
    """How much of a target's width and height, about its middle, the source shows: at most 1, 0 if not even that."""
    middle = map_ @ ((target_size[0] - 1) / 2, (target_size[1] - 1) / 2, 1)
    ways = corners(target_size) @ map_.T - middle
    room = np.where(ways > 0, np.array(source_size) - 0.5 - middle, middle + 0.5)
    share = (room / np.maximum(np.abs(ways), 1e-6)).min()
    return float(min(1.0, max(0.0, share)))


def _scaled(box: Box, large: tuple[int, ...], small: tuple[int, ...]) -> Box:
    """The same part on a grid of another shape."""
    parts = []
    for span, old, new in zip(box, large, small, strict=True):
        start = span.start * new // old
        parts.append(slice(start, max(start + 1, -(-span.stop * new // old))))
    return parts[0], parts[1]


def seen_at(source: Levels, map_: Map, target: Levels, box: Box) -> Levels:
    """What the source shows of the box of the target's grid: a plane of the box's size."""
    if np.array_equal(map_, whole_onto_whole(source, target)):
        return np.ascontiguousarray(levels.resized(source, target.shape[1::-1])[box])
    scale = float(abs(np.linalg.det(map_[:, :2])) ** 0.5)
    if scale > 1:  # averaged first, so that no detail is skipped
        height, width = source.shape
        small = levels.resized(source, (max(1, round(width / scale)), max(1, round(height / scale))))
        source, map_ = small, joined(whole_onto_whole(small, source), map_)
    rows, columns = box
    shifted = joined(map_, np.array([[1.0, 0, columns.start], [0, 1, rows.start]]))
    return levels.warped_sharply(source, shifted, (columns.stop - columns.start, rows.stop - rows.start))
