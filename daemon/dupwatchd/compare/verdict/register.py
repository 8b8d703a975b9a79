"""One picture laid onto another: which place of the one shows what a place of the other shows.

Luma of two pictures goes in, an affine map comes out (x and y scales apart, so that a squeezed copy fits too), found
by least squares from the place where their outlines match; shapes decide, not tones. Whoever calls says which picture
is laid onto which, so that the result does not depend on the order in which two pictures are given.
"""

from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np

from dupwatchd.pixels import levels
from dupwatchd.pixels.levels import Floats, Levels, Map, Size

_ITERATIONS = 6  # at most, at each
_RIM = 0.06  # of each side is left out: borders and what only one of the two shows
_SOFTNESS_PX = 0.9  # both are blurred by this deviation, so that slopes reach to where the other one lies
_SETTLED_PX = 0.01  # a step that moves no corner by more ends a search, at the size it is made at
_NEAR_PX = 0.8  # that slopes reach
_UNMOVED_PX = 0.03  # too little to be worth interpolating
_MOST_STRETCH = 1.6  # in area; what is stretched further is no copy that this search is for
_LEAST_SHARED = 0.3  # of the target
_WORTH = 0.98  # another map than the first is taken only if it lowers the misfit to this share
_MOST_ERROR = 40.0  # grey levels that one place counts as at most
_OUTLINES = np.eye(2, 3)  # the map that lays outlines onto each other, in halves of their sides


@dataclass(frozen=True, slots=True)
class Overlap:
    """The share of each picture that the other one shows."""

    source: float
    target: float


def whole_onto_whole(source: Levels | Floats, target: Levels | Floats) -> Map:
    """The map that lays the outlines of two planes onto each other."""
    x, y = source.shape[1] / target.shape[1], source.shape[0] / target.shape[0]
    return np.array([[x, 0, 0.5 * x - 0.5], [0, y, 0.5 * y - 0.5]])


def joined(*maps: Map) -> Map:
    """The map that makes the last one's step first."""
    result, *others = maps
    for map_ in others:
        moved = result[:, :2] @ map_
        moved[:, 2] += result[:, 2]
        result = moved
    return result


def inverse(map_: Map) -> Map:
    """The map from the source to the target."""
    (a, b, x), (c, d, y) = map_.tolist()
    area = a * d - b * c
    a, b, c, d = d / area, -b / area, -c / area, a / area
    return np.array([[a, b, -a * x - b * y], [c, d, -c * x - d * y]])


def register(source: Levels, target: Levels, sides_px: tuple[int, ...], start: Map | None = None) -> Map:
    """The map from a target (H, W) to a source (h, w), both luma; the start, or that of outlines, if none fits better.

    It is looked for at several sizes, from coarse to fine, each about so many pixels squared in area.
    """
    first = _OUTLINES if start is None else joined(inverse(_halves(source)), start, _halves(target))
    finest = _Pair.shrunk(source, target, sides_px[-1])
    at_first = finest.fit(first)
    found = finest.descend(first, at_first, first)
    if found is None or finest.moved_px(found, first) > _NEAR_PX:  # slopes do not reach that far; smaller sizes' do
        found = first
        for side in sides_px:
            pair = finest if side == sides_px[-1] else _Pair.shrunk(source, target, side)
            better = pair.descend(found, pair.fit(found), first)
            found = found if better is None else better
    if finest.moved_px(found, first) < _UNMOVED_PX or _misfit(finest.fit(found)) > _WORTH * _misfit(at_first):
        return whole_onto_whole(source, target) if start is None else start
    return joined(_halves(source), found, inverse(_halves(target)))


def overlap(map_: Map, source_size: Size, target_size: Size) -> Overlap:
    """How much of each picture lies within the other, by their outlines."""
    outline = (corners(target_size) @ map_.T).astype(np.float32)  # of the target, in the source
    frame = corners(source_size)[:, :2].astype(np.float32)
    shared, area = levels.shared_area(outline, frame)
    return Overlap(shared / (source_size[0] * source_size[1]), shared / max(1e-6, area))


def corners(size: Size) -> Map:
    """The corners of a plane, around: (4, 3), each (x, y, 1)."""
    right, bottom = size[0] - 0.5, size[1] - 0.5
    return np.array([[-0.5, -0.5, 1], [right, -0.5, 1], [right, bottom, 1], [-0.5, bottom, 1]])


class _Fit(NamedTuple):
    """What two pictures differ by where one map lays them; (N,) each."""

    residual: Floats  # grey levels
    weights: Floats  # how much each place counts
    known: Floats  # 1 where the source shows something, 0 elsewhere


class _Pair(NamedTuple):
    """Two pictures at one size, a little blurred. Maps between them are in halves of their sides, from the middle."""

    source: Floats
    target: Floats
    inner: tuple[slice, slice]  # of the target: what is looked at
    wanted: Floats  # the target there: (N,)
    slopes: Floats  # likewise, see `_slopes`: (6, N)
    to_source: Map  # from halves of its sides
    from_target: Map  # to halves of its sides

    @classmethod
    def shrunk(cls, source: Levels, target: Levels, side_px: int) -> "_Pair":
        """To side_px² pixels in area, where they are larger."""
        sizes = _shrunk_size(source, side_px), _shrunk_size(target, side_px)
        if sizes[0] == sizes[1]:
            both = levels.resized_together([source, target], sizes[0])
        else:
            both = [levels.resized(*one) for one in zip((source, target), sizes, strict=True)]
        large, small = (levels.blurred(one.astype(np.float32), _SOFTNESS_PX) for one in both)
        height, width = small.shape
        top, left = max(1, int(_RIM * height)), max(1, int(_RIM * width))
        inner = slice(top, height - top), slice(left, width - left)
        slopes = _slopes(small, inner)
        return cls(large, small, inner, small[inner].ravel(), slopes, _halves(large), inverse(_halves(small)))

    def fit(self, map_: Map) -> _Fit | None:
        """The source as the target sees it, against the target, where it is looked at; None: too little is seen."""
        between = joined(self.to_source, map_, self.from_target)
        seen = levels.warped(self.source, between, self.target.shape[1::-1])[self.inner].ravel()
        return _fit(seen, self.wanted)

    def descend(self, start: Map, fit: _Fit | None, first: Map) -> Map | None:
        """Gauss-Newton steps on the target's slopes, weighted so that what differs in few places pulls little.

        ``fit`` is that of the start. None if they lead astray: to what is stretched otherwise than the first map.
        """
        slopes = self.slopes
        map_ = start
        for left in reversed(range(_ITERATIONS)):
            if fit is None:
                return None
            residual, weights, _ = fit
            weighted = slopes * weights
            normal = (weighted @ slopes.T).astype(np.float64)
            diagonal = normal.reshape(-1)[::7]
            diagonal *= 1.0001
            diagonal += 1e-3
            step = cast("Map", np.linalg.solve(normal, (weighted @ residual).astype(np.float64)).reshape(2, 3))
            map_ = joined(map_, inverse(_OUTLINES + step))
            if not 1 / _MOST_STRETCH < _stretch(map_) / _stretch(first) < _MOST_STRETCH:
                return None
            if self._px(step) < _SETTLED_PX or not left:
                break
            fit = self.fit(map_)
        return map_

    def moved_px(self, map_: Map, first: Map) -> float:
        """The most that a corner is moved from where the first map has it."""
        return self._px(map_ - first)

    def _px(self, change: Map) -> float:
        longer: int = max(self.target.shape)
        return float(np.abs(change).sum(axis=1).max()) * longer / 2


def _misfit(fit: _Fit | None) -> float:
    """Grey levels that the two differ by on average, and more where they share less."""
    if fit is None:
        return float("inf")
    error = np.minimum(np.abs(fit.residual), _MOST_ERROR)
    known = np.count_nonzero(fit.known)
    if known < error.size:
        error = error[fit.known > 0]
    return float(error.mean()) * (2 - known / fit.known.size)


def _shrunk_size(plane: Levels, side_px: int) -> Size:
    height, width = plane.shape
    scale = min(1.0, side_px / (width * height) ** 0.5)
    return max(8, round(width * scale)), max(8, round(height * scale))


def _halves(plane: Levels | Floats) -> Map:
    """The map from halves of a plane's sides, from its middle, to its pixels."""
    height, width = plane.shape
    return np.array([[width / 2, 0, (width - 1) / 2], [0, height / 2, (height - 1) / 2]])


def _stretch(map_: Map) -> float:
    """How much larger an area becomes."""
    (a, b, _), (c, d, _) = map_.tolist()
    area: float = a * d - b * c
    return area


def _slopes(target: Floats, inner: tuple[slice, slice]) -> Floats:
    """How luma changes with each number of a step: (6, N)."""
    height, width = target.shape
    x = np.arange(1 - width, width, 2, dtype=np.float32)[inner[1]] / width
    y = np.arange(1 - height, height, 2, dtype=np.float32)[inner[0], None] / height
    parts = np.empty((6, len(y), len(x)), np.float32)
    for at, slope, side in zip((0, 3), levels.slopes(target), (width, height), strict=True):
        np.multiply(slope[inner], np.float32(side / 2), out=parts[at + 2])
        np.multiply(parts[at + 2], x, out=parts[at])
        np.multiply(parts[at + 2], y, out=parts[at + 1])
    return parts.reshape(6, -1)


def _fit(seen: Floats, wanted: Floats) -> _Fit | None:
    """What is seen (N,), in the tones of what is wanted, against that; None if too little is seen, or nothing in it."""
    known = (seen > -1).astype(np.float32)
    weights = known
    for _ in range(2):
        total = float(weights.sum())
        if total < _LEAST_SHARED * known.size and weights is known:
            return None
        residual, off = seen - (weights @ seen) / total, wanted - (weights @ wanted) / total
        spread = float(weights @ (residual * residual))
        if spread < 1e-3 * total:
            return None
        residual *= np.float32(float(weights @ (residual * off)) / spread)
        residual -= off
        size = np.abs(residual)
        scale = max(1.0, 3.0 * float(weights @ np.minimum(size, _MOST_ERROR, out=off)) / total)
        size *= np.float32(1 / scale)
        size *= size
        size += 1
        weights = np.divide(known, size, out=size)
    return _Fit(residual, weights, known)
