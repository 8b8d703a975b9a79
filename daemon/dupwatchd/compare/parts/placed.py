"""What two pictures that seem to share a part are to one another, taken as they are.

Two proofs go in, and a placement: how the keypoints of one lie on those of the other. The part that both show is cut
out of both and registered, and what differs in it is found in the way of `verdict`, with the same bounds. Out comes a
verdict, which of the two shows more, and where the other one lies in it.

As there, the finer picture is laid onto the coarser one, so that the order of the two does not matter.
"""

from dataclasses import dataclass
from operator import ge
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dupwatchd.compare.parts.agreement import Placement
from dupwatchd.compare.parts.surround import is_framed
from dupwatchd.compare.verdict.laid import RIM, Planes, laid_onto, leans
from dupwatchd.compare.verdict.register import corners, inverse, joined, register, whole_onto_whole
from dupwatchd.compare.verdict.values import Differences, Shapes, shapes
from dupwatchd.compare.verdict.verdict import (
    OF_PROOF,
    WHOLE,
    Seen,
    compare_at,
    not_compared_at,
    shares_of_few_levels,
    verdict_of,
)
from dupwatchd.model import Verdict
from dupwatchd.pixels.levels import Levels, Map, Size, resized
from dupwatchd.pixels.proof import CHROMA_SHRINK, Proof, wants_a_closer_look

Places = NDArray[np.float64]
Outline = tuple[float, float, float, float, float, float, float, float]

_LEAST_SIDE_PX = 16  # of the part that both show
_ROUNDS = 2  # of cutting out what both show and registering it: the first cut may be off by some pixels
_UPRIGHT_DEGREES = 3.0  # a picture that leans by less is registered from where it would lie upright
_ABOUT_WHOLE = 0.06  # of the longer side: as far as few keypoints may be off in a corner
_STILL_PX = 1.0  # a corner that is moved by less needs no other round
# Per mille, see `values.Differences`. Of 4,000 cut and framed copies of photos none exceeds 20 and 95, and all but four
# stay below 12 and 65. Two shots of one shelf that differ by little in any place, and would be taken for a crop, have
# 74 and 90.
MOST_UNREST, MOST_APART = 30, 75
# Letters over a photo reach 230, half of another picture 300 and more.
MOST_SPREAD = 260
# Of pages, screens, charts and maps, few grey levels cover more than 865 of 1,000 pixels; of ten photos with lines as
# fine, written over, nine stay below 730, and none is off by more than 4 in what has structure.
MOST_DRAWN, MOST_UNREST_OF_FINE = 780, 10
# Of 150 copies with another light, a filter or a vignette nine in ten reach both. Of 2,600 candidates among different
# photos the shapes of 16 are as alike in as many places, all of them other shots of one shelf; typically 977 at most.
IN_ANOTHER_LIGHT = Shapes(978, 960)
# Likewise of 30 photos with large letters above and below, whose spread is up to 334.
MOST_SPREAD_OF_WHOLE, WRITTEN_OVER = 350, Shapes(950, 620)
CONTAINED = 930  # per mille of one of them that the other shows: of two pieces of one picture, each has its own
LEAST_SHARED = 100  # per mille of the one that shows more
_EQUALLY_MUCH = 10  # per mille
NOTHING_DIFFERS = Verdict.SAME, Verdict.CROPPED


@dataclass(frozen=True, slots=True)
class PartSeen:
    """What was found."""

    verdict: Verdict | None  # None: they share a part at most, which joins nothing
    shows_more: int  # -1: the first, 1: the second, 0: neither
    outline: Outline | None  # see `look.look_at_part`; None: they could not be laid onto each other
    is_framed: bool  # what the one that shows more has beyond the outline is a border, bars or a strip
    placement: Placement
    seen: Seen | None  # what the verdict comes from; without values where one does not show enough of the other


def outline_of(places: Places) -> Outline:
    """Of four corners (4, 2)."""
    x, y = places.T.tolist()
    return x[0], y[0], x[1], y[1], x[2], y[2], x[3], y[3]


def look_as_placed(first: Proof, second: Proof, placement: Placement, equally_much: int = _EQUALLY_MUCH) -> PartSeen:
    """Compares them; neither shows more if what it shows beyond the other is less than so many per mille."""
    pair = _Pair.of(first, second, placement)
    map_ = pair.registered()
    if map_ is None:
        return PartSeen(None, 0, None, False, placement, None)
    fine = wants_a_closer_look(first) or wants_a_closer_look(second)
    turned = bool(placement.turn_degrees % 360)
    seen = not_compared_at(map_, pair.source, pair.target, turned=turned, fine=fine)
    is_about_whole = pair.is_about_whole()
    if is_about_whole or is_enough(seen.shared):  # of two accidental candidates in three neither holds
        seen = compare_at(map_, pair.source, pair.target, OF_PROOF, turned=turned, fine=fine)
    if is_about_whole and verdict_of(seen) not in NOTHING_DIFFERS:
        outlines = whole_onto_whole(pair.source.luma, pair.target.luma)
        other = compare_at(outlines, pair.source, pair.target, OF_PROOF, turned=turned, fine=fine)
        if _lies_stiller(other, seen):
            map_, seen = outlines, other
    shared = seen.shared if pair.first_is_source else seen.shared[::-1]  # of the first and of the second
    difference = shared[1] - shared[0]
    shows_more = 0 if abs(difference) < equally_much else -1 if difference > 0 else 1
    larger = second if shows_more > 0 else first
    outline = pair.outline(map_, of_first=shows_more > 0)
    is_leaning = leans(map_)
    framed = shows_more != 0 and is_framed(larger.luma, in_pixels(outline, larger.luma), leans=is_leaning)
    if framed is None:  # what lies beyond may be another picture, which must not go, nor be taken for more of this one
        shows_more, outline = 0, pair.outline(map_, of_first=False)
    verdict = _verdict(seen, (first, second))
    if verdict is None and _may_be_told_by_shapes(seen, (first, second)):
        both = laid_onto(pair.source, pair.target, map_, RIM)
        verdict = _told_by_shapes(seen, shapes(*both)) if both is not None else None
    if verdict is Verdict.SAME and is_leaning:
        verdict = Verdict.CROPPED
    return PartSeen(verdict, shows_more, outline, bool(framed), placement, seen)


def _lies_stiller(one: Seen, other: Seen) -> bool:
    if one.luma is None or other.luma is None:
        return one.luma is not None
    return one.luma.unrest + one.luma.spread < other.luma.unrest + other.luma.spread


def _verdict(seen: Seen, proofs: tuple[Proof, Proof]) -> Verdict | None:
    """None where a part of both lies beyond the other, and where what both show is too little to be certain."""
    verdict = verdict_of(seen)
    if seen.luma is None or verdict is Verdict.SIMILAR or not is_enough(seen.shared):
        return None
    return verdict if _is_certain(seen.luma, verdict, fine=seen.fine, is_drawn=_is_drawn(proofs)) else None


def _may_be_told_by_shapes(seen: Seen, proofs: tuple[Proof, Proof]) -> bool:
    """Of pages, all have those of letters."""
    return seen.luma is not None and is_enough(seen.shared) and not (seen.fine and _is_drawn(proofs))


def _told_by_shapes(seen: Seen, found: Shapes) -> Verdict | None:
    """What they are if light, tones or much writing hide it: an edited version, if anything."""
    verdict = verdict_of(seen)
    if all(map(ge, found, IN_ANOTHER_LIGHT)):
        return verdict if verdict is Verdict.RECOLOURED else Verdict.RETOUCHED
    is_whole = min(seen.shared) >= WHOLE and verdict is Verdict.RETOUCHED
    if is_whole and seen.luma is not None and seen.luma.unrest <= MOST_UNREST_OF_FINE:
        is_still = seen.luma.spread <= MOST_SPREAD_OF_WHOLE and all(map(ge, found, WRITTEN_OVER))
        return verdict if is_still else None
    return None


def _is_drawn(proofs: tuple[Proof, Proof]) -> bool:
    return max(shares_of_few_levels(one.luma)[0] for one in proofs) > MOST_DRAWN


def is_enough(shared: tuple[int, int]) -> bool:
    """Whether one of the two shows the other, and enough of it, by what both share of each in per mille."""
    return max(shared) >= CONTAINED and min(shared) >= LEAST_SHARED


def _is_certain(luma: Differences, verdict: Verdict, *, fine: bool, is_drawn: bool) -> bool:
    """Whether the verdict holds if no more is known of the two than that they share a part.

    Pages of one layout share a letterhead: what differs in the rest does not make one of them of the other. A photo
    with fine lines is no page, and what is not written over in it lies still.
    """
    if verdict is Verdict.RETOUCHED:
        is_page = fine and (is_drawn or luma.unrest > MOST_UNREST_OF_FINE)
        return not is_page and luma.spread <= MOST_SPREAD
    return luma.unrest <= MOST_UNREST and luma.apart <= MOST_APART


def in_pixels(outline: Outline, luma: Levels) -> Places:
    """The corners of an outline in pixels, 0 being the outer edge of the first one."""
    return np.reshape(outline, (4, 2)) * size_of(luma)


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
        if abs(placement.lean_degrees) > _UPRIGHT_DEGREES:
            return cls._leaning(first, second, placement)
        first_is_source = placement.scale > 1 or (placement.scale == 1 and first.digest < second.digest)
        finer, coarser = (first, second) if first_is_source else (second, first)
        turn = -placement.turn_degrees % 360 if first_is_source else placement.turn_degrees
        source = Planes(finer.luma, finer.chroma).oriented(turn, mirrored=False)
        oriented = _orientation(size_of(finer.luma), size_of(source.luma), rotation(turn))
        moved = np.array([placement.dx, placement.dy]) * size_of(first.luma)
        scale = placement.scale if first_is_source else 1 / placement.scale
        shift = oriented[:, :2] @ moved if first_is_source else -scale * moved
        at = _centre(size_of(source.luma)) + shift - scale * _centre(size_of(coarser.luma))
        map_ = np.array([[scale, 0, at[0]], [0, scale, at[1]]])
        return cls(source, Planes(coarser.luma, coarser.chroma), map_, oriented, first_is_source)

    @classmethod
    def _leaning(cls, first: Proof, second: Proof, placement: Placement) -> "_Pair":
        """Both as they are stored and equally fine; the target is the smaller one, all of which may be in the other."""
        planes = [Planes(one.luma, one.chroma) for one in (first, second)]
        sizes = [size_of(one.luma) for one in planes]
        turn = placement.scale * rotation(placement.turn_degrees, placement.lean_degrees)
        middle = _centre(sizes[0]) + np.array([placement.dx, placement.dy]) * sizes[0]
        to_first = np.column_stack([turn, middle - turn @ _centre(sizes[1])])
        finer = 0 if placement.scale > 1 else 1
        planes[finer] = _shrunk(planes[finer], min(placement.scale, 1 / placement.scale))
        steps = [whole_onto_whole(old.luma, new.luma) for old, new in zip((first, second), planes, strict=True)]
        to_first = joined(inverse(steps[0]), to_first, steps[1])
        areas = planes[0].luma.size, planes[1].luma.size
        first_is_source = areas[0] > areas[1] or (areas[0] == areas[1] and first.digest < second.digest)
        source, target = planes if first_is_source else planes[::-1]
        return cls(source, target, to_first if first_is_source else inverse(to_first), np.eye(2, 3), first_is_source)

    def is_about_whole(self) -> bool:
        """Whether all of one lies on all of the other, or nearly so: a caption may have misled the registration."""
        outlines = whole_onto_whole(self.source.luma, self.target.luma)
        off = np.abs(corners(size_of(self.target.luma)) @ (self.map - outlines).T).max()
        return bool(off <= _ABOUT_WHOLE * max(size_of(self.source.luma)))

    def registered(self) -> Map | None:
        """A better map, found on what both show; None if that is too little."""
        if leans(self.map):
            return self._registered_leaning()
        map_ = self.map
        around = corners(size_of(self.target.luma))
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

    def _registered_leaning(self) -> Map | None:
        """Likewise, from the map as it is: what both show is no box in either."""
        source, target = size_of(self.source.luma), size_of(self.target.luma)
        first, last = _around(corners(source) @ inverse(self.map).T, target)
        ends = np.array([[x, y, 1] for x in (first[0], last[0]) for y in (first[1], last[1])]) - (0.5, 0.5, 0)
        its_first, its_last = _around(ends @ self.map.T, source)
        if min(*(last - first), *(its_last - its_first)) < _LEAST_SIDE_PX:
            return None
        pieces = _piece(self.source.luma, its_first, its_last), _piece(self.target.luma, first, last)
        start = joined(_shift(-its_first), self.map, _shift(first))
        return joined(_shift(its_first), register(*pieces, OF_PROOF.sides_px, start), _shift(-first))

    def outline(self, map_: Map, *, of_first: bool) -> Outline:
        """Where the corners of one of the two lie in the other one, both as they are stored."""
        stored, target = inverse(self.oriented), size_of(self.target.luma)
        source = size_of(self.source.luma) if self.oriented[0, 0] else size_of(self.source.luma)[::-1]
        if of_first == self.first_is_source:
            places, size = corners(source) @ joined(inverse(map_), self.oriented).T, target
        else:
            places, size = corners(target) @ joined(stored, map_).T, source
        return outline_of((places + 0.5) / size)


def size_of(luma: Levels) -> Size:
    """Width and height."""
    return luma.shape[1], luma.shape[0]


def _centre(size: Size) -> Places:
    return (np.array(size) - 1) / 2


def rotation(turn_degrees: int, lean_degrees: float = 0) -> Places:
    """What makes of a way in a picture the way in the picture turned clockwise: (2, 2)."""
    x, y = ((1, 0), (0, 1), (-1, 0), (0, -1))[turn_degrees // 90 % 4]  # where what lies to the right comes to lie
    cosine, sine = np.cos(np.radians(lean_degrees)), np.sin(np.radians(lean_degrees))
    turned: Places = np.array([[x, -y], [y, x]], np.float64) @ np.array([[cosine, -sine], [sine, cosine]])
    return turned


def _shrunk(planes: Planes, scale: float) -> Planes:
    """Averaged, luma and chroma alike."""
    height, width = planes.luma.shape
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = max(1, round(size[0] / CHROMA_SHRINK)), max(1, round(size[1] / CHROMA_SHRINK))
    return Planes(resized(planes.luma, size), np.stack([resized(plane, small) for plane in planes.chroma]))


def _around(places: Places, size: Size) -> tuple[Places, Places]:
    """The first pixel of a plane and that behind the last one that lie between these places."""
    return (
        np.clip(np.floor(places.min(axis=0) + 0.5), 0, size),
        np.clip(np.ceil(places.max(axis=0) + 0.5), 0, size),
    )


def _orientation(stored: Size, oriented: Size, rotation: Places) -> Map:
    """From the pixels of a plane to those of the oriented plane."""
    return np.column_stack([rotation, _centre(oriented) - rotation @ _centre(stored)])


def _shift(by: Places) -> Map:
    return np.array([[1, 0, by[0]], [0, 1, by[1]]])


def _cut_out(source: Levels, target: Levels, map_: Map) -> tuple[Levels, Levels, Places, Places] | None:
    """What both show, of both, in whole pixels, and where its first pixel lies; None if it is too little."""
    placed = np.sort(corners(size_of(source)) @ inverse(map_).T, axis=0) + 0.5  # from the outer edge of the first pixel
    first = np.ceil(np.maximum(placed[1], 0))
    last = np.floor(np.minimum(placed[2], size_of(target)))
    if (last - first < _LEAST_SIDE_PX).any():
        return None
    ends = np.array([[first[0], first[1], 1], [last[0], last[1], 1]]) - (0.5, 0.5, 0)
    its_first, its_last = np.clip(np.rint(np.sort(ends @ map_.T, axis=0) + 0.5), 0, size_of(source))
    if (its_last - its_first < _LEAST_SIDE_PX).any():
        return None
    return _piece(source, its_first, its_last), _piece(target, first, last), its_first, first


def _piece(plane: Levels, first: Places, last: Places) -> Levels:
    (left, top), (right, bottom) = first.astype(int).tolist(), last.astype(int).tolist()
    return np.ascontiguousarray(plane[top:bottom, left:right])
