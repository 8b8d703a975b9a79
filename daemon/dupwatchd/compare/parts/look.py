"""What two pictures that seem to share a part are to one another.

Two proofs go in, and a placement: how the keypoints of one lie on those of the other. The part that both show is cut
out of both and registered, and what differs in it is found in the way of `verdict`, with the same bounds. Out comes a
verdict, which of the two shows more, and where the other one lies in it.

As there, the finer picture is laid onto the coarser one, so that the order of the two does not matter.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dupwatchd.compare.parts.agreement import Placement
from dupwatchd.compare.parts.surround import Box, is_frame
from dupwatchd.compare.verdict.laid import Planes
from dupwatchd.compare.verdict.register import corners, inverse, joined, register
from dupwatchd.compare.verdict.verdict import OF_PROOF, Seen, compare_at, verdict_of
from dupwatchd.model import Verdict
from dupwatchd.pixels.levels import Levels, Map, Size
from dupwatchd.pixels.proof import Proof, wants_a_closer_look

Places = NDArray[np.float64]
Outline = tuple[float, float, float, float, float, float, float, float]

_LEAST_SIDE_PX = 16  # of the part that both show
_ROUNDS = 2  # of cutting out what both show and registering it: the first cut may be off by some pixels
_STILL_PX = 1.0  # a corner that is moved by less needs no other round
CONTAINED = 930  # per mille of one of them that the other shows: of two pieces of one picture, each has its own
LEAST_SHARED = 200  # per mille of the one that shows more
_EQUALLY_MUCH = 10  # per mille


@dataclass(frozen=True, slots=True)
class PartSeen:
    """What was found."""

    verdict: Verdict | None  # None: they share a part at most, which joins nothing
    shows_more: int  # -1: the first, 1: the second, 0: neither
    outline: Outline | None  # see `look_at_part`; None: they could not be laid onto each other
    is_framed: bool  # what the one that shows more has beyond the outline is a border, bars or a strip
    placement: Placement
    seen: Seen | None  # the values that the verdict comes from


def look_at_part(first: Proof, second: Proof, placement: Placement) -> PartSeen:
    """Compares two proofs of which the second lies on the first as the placement says.

    The outline is that of the one that shows less within the other: x and y of its upper left, upper right, lower right
    and lower left corner, as fractions of the width and the height of the other. If neither shows more, it is that of
    the second within the first.
    """
    pair = _Pair.of(first, second, placement)
    map_ = pair.registered()
    if map_ is None:
        return PartSeen(None, 0, None, False, placement, None)
    fine = wants_a_closer_look(first) or wants_a_closer_look(second)
    turned = bool(placement.turn_degrees % 360) or placement.mirrored
    seen = compare_at(map_, pair.source, pair.target, OF_PROOF, turned=turned, fine=fine)
    shared = seen.shared if pair.first_is_source else seen.shared[::-1]  # of the first and of the second
    difference = shared[1] - shared[0]
    shows_more = 0 if abs(difference) < _EQUALLY_MUCH else -1 if difference > 0 else 1
    larger = second if shows_more > 0 else first
    outline = pair.outline(map_, of_first=shows_more > 0)
    is_framed = shows_more != 0 and is_frame(larger.luma, _box(outline, larger.luma))
    return PartSeen(_verdict(seen), shows_more, outline, is_framed, placement, seen)


def _verdict(seen: Seen) -> Verdict | None:
    """None where a part of both lies beyond the other, and where what both show is too little to be certain."""
    verdict = verdict_of(seen)
    if max(seen.shared) < CONTAINED or min(seen.shared) < LEAST_SHARED or verdict is Verdict.SIMILAR:
        return None
    return verdict


def _box(outline: Outline, luma: Levels) -> Box:
    """The sides of an outline in pixels, 0 being the outer edge of the first one."""
    x, y = np.sort(outline[::2]) * luma.shape[1], np.sort(outline[1::2]) * luma.shape[0]
    return Box((y[0] + y[1]) / 2, (y[2] + y[3]) / 2, (x[0] + x[1]) / 2, (x[2] + x[3]) / 2)


class _Pair(NamedTuple):
    """The finer picture beside the coarser one."""

    source: Planes  # the finer one, oriented as the coarser one
    target: Planes
    map: Map  # from the target's pixels to the source's
    oriented: Map  # from the finer one's pixels as it is stored to the source's
    first_is_source: bool

    @classmethod
    def of(cls, first: Proof, second: Proof, placement: Placement) -> "_Pair":
        """As the placement says."""
        turn, mirrored = placement.turn_degrees, placement.mirrored
        first_is_source = placement.scale > 1 or (placement.scale == 1 and first.digest < second.digest)
        finer, coarser = (first, second) if first_is_source else (second, first)
        forwards = not first_is_source or mirrored  # mirrored, a turn and its reverse are the same
        turn = turn if forwards else -turn % 360
        source = Planes(finer.luma, finer.chroma).oriented(turn, mirrored=mirrored)
        oriented = _orientation(_size(finer.luma), _size(source.luma), turn, mirrored=mirrored)
        moved = np.array([placement.dx, placement.dy]) * _size(first.luma)
        scale = placement.scale if first_is_source else 1 / placement.scale
        shift = oriented[:, :2] @ moved if first_is_source else -scale * moved
        at = _centre(_size(source.luma)) + shift - scale * _centre(_size(coarser.luma))
        map_ = np.array([[scale, 0, at[0]], [0, scale, at[1]]])
        return cls(source, Planes(coarser.luma, coarser.chroma), map_, oriented, first_is_source)

    def registered(self) -> Map | None:
        """A better map, found on what both show; None if that is too little."""
        map_ = self.map
        around = corners(_size(self.target.luma))
        for _ in range(_ROUNDS):
            cut = _cut_out(self.source.luma, self.target.luma, map_)
            if cut is None:
                return None
            source, target, source_at, target_at = cut
            found = register(source, target, OF_PROOF.sides_px)
            better = joined(_shift(source_at), found, _shift(-target_at))
            moved = np.abs(around @ (better - map_).T).max()
            map_ = better
            if moved < _STILL_PX:
                break
        return map_

    def outline(self, map_: Map, *, of_first: bool) -> Outline:
        """Where the corners of one of the two lie in the other one, both as they are stored."""
        stored, target = inverse(self.oriented), _size(self.target.luma)
        source = _size(self.source.luma) if self.oriented[0, 0] else _size(self.source.luma)[::-1]
        if of_first == self.first_is_source:
            places, size = corners(source) @ joined(inverse(map_), self.oriented).T, target
        else:
            places, size = corners(target) @ joined(stored, map_).T, source
        x, y = ((places + 0.5) / size).T.tolist()
        return x[0], y[0], x[1], y[1], x[2], y[2], x[3], y[3]


def _size(luma: Levels) -> Size:
    return luma.shape[1], luma.shape[0]


def _centre(size: Size) -> Places:
    return (np.array(size) - 1) / 2


def _orientation(stored: Size, oriented: Size, turn_degrees: int, *, mirrored: bool) -> Map:
    """From the pixels of a plane to those of the plane mirrored, if asked, and then turned clockwise."""
    x, y = ((1, 0), (0, 1), (-1, 0), (0, -1))[turn_degrees // 90 % 4]  # where what lies to the right comes to lie
    turn = np.array([[-x if mirrored else x, -y], [-y if mirrored else y, x]])
    return np.column_stack([turn, _centre(oriented) - turn @ _centre(stored)])


def _shift(by: Places) -> Map:
    return np.array([[1, 0, by[0]], [0, 1, by[1]]])


def _cut_out(source: Levels, target: Levels, map_: Map) -> tuple[Levels, Levels, Places, Places] | None:
    """What both show, of both, in whole pixels, and where its first pixel lies; None if it is too little."""
    placed = np.sort(corners(_size(source)) @ inverse(map_).T, axis=0) + 0.5  # from the outer edge of the first pixel
    first = np.ceil(np.maximum(placed[1], 0))
    last = np.floor(np.minimum(placed[2], _size(target)))
    if (last - first < _LEAST_SIDE_PX).any():
        return None
    ends = np.array([[first[0], first[1], 1], [last[0], last[1], 1]]) - (0.5, 0.5, 0)
    its_first, its_last = np.clip(np.rint(np.sort(ends @ map_.T, axis=0) + 0.5), 0, _size(source))
    if (its_last - its_first < _LEAST_SIDE_PX).any():
        return None
    return _piece(source, its_first, its_last), _piece(target, first, last), its_first, first


def _piece(plane: Levels, first: Places, last: Places) -> Levels:
    (left, top), (right, bottom) = first.astype(int).tolist(), last.astype(int).tolist()
    return np.ascontiguousarray(plane[top:bottom, left:right])
