"""One picture as another sees it: the part that both show, on the other's grid.

Planes of both and a map between them go in, pieces that can be compared place by place come out.
"""

from typing import NamedTuple

import numpy as np

from dupwatchd.compare.verdict.register import corners, inverse, joined, whole_onto_whole
from dupwatchd.pixels import levels
from dupwatchd.pixels.levels import Levels, Map, Size

Box = tuple[slice, slice]  # rows and columns

_RIM = 0.015  # of each side of what both show is left out: edges are averaged over what lies beyond
_LEAST_SHARED_PX = 16  # of each side; less cannot be compared


class Planes(NamedTuple):
    """A picture to be compared."""

    luma: Levels  # (H, W)
    chroma: Levels  # (2, h, w) Cb and Cr of the same area

    def oriented(self, turn_degrees: int, *, mirrored: bool) -> "Planes":
        """Mirrored, if asked, and then turned clockwise."""
        planes = [plane[:, ::-1] if mirrored else plane for plane in (self.luma, *self.chroma)]
        turned = [np.ascontiguousarray(np.rot90(plane, -turn_degrees // 90)) for plane in planes]
        return Planes(turned[0], np.stack(turned[1:]))


def laid_onto(source: Planes, target: Planes, map_: Map) -> tuple[Planes, Planes] | None:
    """Of both, what they share, on the target's grid; None if it is too little."""
    box = _shared_box(map_, source.luma.shape[1::-1], target.luma.shape[1::-1])
    if box is None:
        return None
    up = whole_onto_whole(source.chroma[0], source.luma)
    down = whole_onto_whole(target.luma, target.chroma[0])
    is_whole = np.array_equal(map_, whole_onto_whole(source.luma, target.luma))
    small_map = whole_onto_whole(source.chroma[0], target.chroma[0]) if is_whole else joined(up, map_, down)
    small_box = _scaled(box, target.luma.shape, target.chroma.shape[1:])
    seen = Planes(
        _seen_at(source.luma, map_, target.luma, box),
        np.stack([_seen_at(plane, small_map, target.chroma[0], small_box) for plane in source.chroma]),
    )
    return seen, Planes(
        np.ascontiguousarray(target.luma[box]), np.ascontiguousarray(target.chroma[(slice(None), *small_box)])
    )


def _shared_box(map_: Map, source_size: Size, target_size: Size) -> Box | None:
    """What the source shows of the target, less a rim, on the target's grid."""
    placed = corners(source_size) @ inverse(map_).T
    spans = []
    for axis, length in ((1, target_size[1]), (0, target_size[0])):
        ends = np.sort(placed[:, axis])
        low, high = max(-0.5, float(ends[1])), min(length - 0.5, float(ends[2]))
        rim = max(1.0, _RIM * (high - low))
        start, stop = int(np.ceil(low + rim)), int(np.floor(high - rim)) + 1
        if stop - start < _LEAST_SHARED_PX:
            return None
        spans.append(slice(start, stop))
    return spans[0], spans[1]


def _scaled(box: Box, large: tuple[int, ...], small: tuple[int, ...]) -> Box:
    """The same part on a grid of another shape."""
    parts = []
    for span, old, new in zip(box, large, small, strict=True):
        start = span.start * new // old
        parts.append(slice(start, max(start + 1, -(-span.stop * new // old))))
    return parts[0], parts[1]


def _seen_at(source: Levels, map_: Map, target: Levels, box: Box) -> Levels:
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
