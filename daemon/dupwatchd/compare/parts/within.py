"""What two pictures that seem to share a part are to one another by what lies within margins, a frame or a circle.

One of them is a piece of a picture, or a picture, in something of its own. That is cut off, and what is left is
compared.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from dupwatchd.compare.parts.agreeing import agreeing
from dupwatchd.compare.parts.agreement import Placement
from dupwatchd.compare.parts.beyond import Extent, shows_no_other
from dupwatchd.compare.parts.placed import (
    NOTHING_DIFFERS,
    Outline,
    PartSeen,
    Places,
    in_pixels,
    is_enough,
    look_as_placed,
    outline_of,
    rotation,
    size_of,
)
from dupwatchd.compare.parts.surround import extent_of, goes_on, is_frame_all_round, is_round, within_circle
from dupwatchd.compare.verdict.register import inverse
from dupwatchd.model import Verdict
from dupwatchd.pixels.levels import Map, Size
from dupwatchd.pixels.margins import within_margins
from dupwatchd.pixels.proof import CHROMA_SHRINK, Proof

_EQUALLY_MUCH = 60  # per mille; what lies within margins is told to some pixels only
_PLACES_OF_CIRCLE, _CAP = 64, 0.02  # where it is looked at; of a side, that a picture may lack of it
_OF_BOX, _OF_WIDE_AND_TALL = 45, (20, 70)  # degrees, see `within_circle`
_UNIT = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])


class Inner(NamedTuple):
    """A picture without its margins, its frame, or what lies about a circle."""

    proof: Proof
    sides: Extent
    whole: Size

    @classmethod
    def of(cls, proof: Proof) -> "Inner":
        """What lies within its margins."""
        sides = within_margins(proof.luma)
        height, width = proof.luma.shape
        if sides == (0, height, 0, width) or not shows_no_other(proof.luma, Extent(*sides)):
            return cls.all_of(proof)
        return cls.cut(proof, Extent(*sides))

    @classmethod
    def all_of(cls, proof: Proof) -> "Inner":
        """All of it."""
        height, width = proof.luma.shape
        return cls(proof, Extent(0, height, 0, width), (width, height))

    @classmethod
    def cut(cls, proof: Proof, sides: Extent) -> "Inner":
        """What lies between these sides, in whole pixels of chroma; all of it if there are none."""
        top, left = -int(-sides.top // CHROMA_SHRINK), -int(-sides.left // CHROMA_SHRINK)
        bottom, right = int(sides.bottom // CHROMA_SHRINK), int(sides.right // CHROMA_SHRINK)
        if bottom <= top or right <= left:
            return cls.all_of(proof)
        chroma = proof.chroma[:, top:bottom, left:right]
        top, bottom, left, right = (CHROMA_SHRINK * side for side in (top, bottom, left, right))
        inner = Proof(proof.luma[top:bottom, left:right], chroma, proof.fineness)
        return cls(inner, Extent(top, bottom, left, right), size_of(proof.luma))

    @property
    def is_whole(self) -> bool:
        """Whether nothing was cut off."""
        return self.proof.luma.shape[1::-1] == self.whole

    def from_centre(self) -> Places:
        """The way from the middle of the whole to that of what lies within: to the right and down, in pixels."""
        top, bottom, left, right = self.sides
        return (np.array([left + right, top + bottom]) - self.whole) / 2

    def in_whole(self, outline: Outline) -> Outline:
        """An outline within what lies within, in the whole."""
        places = np.reshape(outline, (4, 2)) * size_of(self.proof.luma) + (self.sides.left, self.sides.top)
        return outline_of(places / self.whole)

    def of_whole(self, outline: Outline) -> Outline:
        """The outline of the whole, by that of what lies within, in another picture."""
        top, bottom, left, right = self.sides
        places = (_UNIT * self.whole - (left, top)) / (right - left, bottom - top)
        return outline_of(np.column_stack([places, np.ones(4)]) @ _from_fractions(outline).T)


def look_within(one: Inner, other: Inner, placement: Placement) -> PartSeen | None:
    """Compares what lies within two pictures that are placed so; None unless nothing differs there."""
    within = look_as_placed(one.proof, other.proof, _moved(placement, one, other), _EQUALLY_MUCH)
    if within.verdict not in NOTHING_DIFFERS or within.outline is None:
        return None
    outline = (other if within.shows_more > 0 else one).in_whole(within.outline)
    return replace(within, verdict=Verdict.CROPPED, outline=outline, placement=placement)


def look_within_frame(first: Proof, second: Proof, seen: PartSeen) -> PartSeen | None:
    """Of a piece of a picture that was framed by more than margins, such as by the screen of a phone; None: it is none.

    Then all that the one shows beyond the other is a frame, and the other goes on there. Where both are framed, as of
    two collages with one photo, each shows something that the other does not. The inner edge of the frame is the
    outline, or where both begin to show the same, if the outline of the other one reaches over the frame.
    """
    if seen.seen is None or seen.outline is None:
        return None
    larger = 1 if seen.shows_more > 0 else 0
    proofs = (first, second)
    if not is_enough(seen.seen.shared):
        parts = _shared_parts(seen.outline)
        boxes = [
            extent_of(in_pixels(part, proof.luma))
            for part, proof in zip(parts if larger == 0 else parts[::-1], proofs, strict=True)
        ]
        for framed in (0, 1):
            if _is_framed(proofs, boxes, framed):
                return _look_within_box(proofs, framed, boxes[framed], seen.placement)
    for framed in (0, 1):
        outline = seen.outline if framed != larger else _other_way(seen.outline)  # of the framed one within the other
        to_other = _in_pixels_of(
            _from_fractions(outline), size_of(proofs[framed].luma), size_of(proofs[1 - framed].luma)
        )
        box = agreeing(proofs[framed].luma, proofs[1 - framed].luma, to_other)
        if box is None:
            continue
        its = extent_of((_corners_of(box) - 0.5) @ to_other[:, :2].T + to_other[:, 2] + 0.5)
        if _is_framed(proofs, [box, its] if framed == 0 else [its, box], framed):
            return _look_within_box(proofs, framed, box, seen.placement)
    return None


def _is_framed(proofs: tuple[Proof, Proof], boxes: list[Extent], framed: int) -> bool:
    """Whether one of two has a frame around a box, beyond which the other goes on."""
    other = 1 - framed
    return is_frame_all_round(proofs[framed].luma, boxes[framed]) and goes_on(proofs[other].luma, boxes[other])


def _look_within_box(proofs: tuple[Proof, Proof], framed: int, box: Extent, placement: Placement) -> PartSeen | None:
    inner = [Inner.all_of(proof) for proof in proofs]
    inner[framed] = Inner.cut(proofs[framed], box)
    return look_within(inner[0], inner[1], placement)


def look_within_circle(first: Proof, second: Proof, placement: Placement) -> PartSeen | None:
    """Of a picture that was cut to a circle, a box in it is looked at; None: it is none, or both are.

    The other shows more only if it reaches as far as the circle does, and if nothing differs in a wide and a tall box
    either. If the circle shows more, the other lies in the box.
    """
    rounds = is_round(first.luma), is_round(second.luma)
    if rounds[0] == rounds[1]:
        return None

    def inner_at(degrees: float) -> tuple[Inner, Inner]:
        if rounds[0]:
            return Inner.cut(first, within_circle(first.luma, degrees)), Inner.all_of(second)
        return Inner.all_of(first), Inner.cut(second, within_circle(second.luma, degrees))

    inner = inner_at(_OF_BOX)
    within = look_within(*inner, placement)
    if within is None or within.outline is None or within.shows_more == 0:
        return within
    more = int(within.shows_more > 0)
    if rounds[more]:
        return within
    outline = inner[1 - more].of_whole(within.outline)
    if _reaches_round(outline) and all(look_within(*inner_at(at), placement) for at in _OF_WIDE_AND_TALL):
        return replace(within, outline=outline)
    return replace(within, shows_more=0, is_framed=False, outline=_other_way(outline) if more else outline)


def _reaches_round(outline: Outline) -> bool:
    """Whether the largest ellipse in an outline lies in the picture that the outline lies in, less hardly anything."""
    angles = np.linspace(0, 2 * np.pi, _PLACES_OF_CIRCLE, endpoint=False)
    places = np.column_stack([np.cos(angles), np.sin(angles)]) / 2 + 0.5
    x, y = (np.column_stack([places, np.ones(len(places))]) @ _from_fractions(outline).T).T
    return bool(min(x.min(), y.min()) >= -_CAP and max(x.max(), y.max()) <= 1 + _CAP)


def _moved(placement: Placement, first: Inner, second: Inner) -> Placement:
    """A placement of two pictures, of what lies within their margins."""
    there = rotation(placement.turn_degrees, placement.lean_degrees) @ second.from_centre()
    way = np.array([placement.dx, placement.dy]) * first.whole + placement.scale * there - first.from_centre()
    dx, dy = (way / size_of(first.proof.luma)).tolist()
    return replace(placement, dx=dx, dy=dy)


def _shared_parts(outline: Outline) -> tuple[Outline, Outline]:
    """What both show, in the picture that an outline lies in and in the other, whose outline it is."""
    theirs, ours = (np.clip(np.reshape(one, (4, 2)), 0, 1) for one in (outline, _other_way(outline)))
    return outline_of(theirs), outline_of(ours)


def _from_fractions(outline: Outline) -> Map:
    """From fractions of the picture that an outline is of to those of the picture that it lies in."""
    upper_left, upper_right, _, lower_left = np.reshape(outline, (4, 2))
    return np.column_stack([upper_right - upper_left, lower_left - upper_left, upper_left])


def _in_pixels_of(of_fractions: Map, size: Size, other: Size) -> Map:
    """A map of fractions of two pictures of these sizes, for their pixels, of which the first one's centre is 0."""
    linear = of_fractions[:, :2] * np.array(other)[:, None] / size
    return np.column_stack([linear, of_fractions[:, 2] * other - 0.5 + linear @ (0.5, 0.5)])


def _corners_of(box: Extent) -> Places:
    return np.array([[x, y] for y in (box.top, box.bottom) for x in (box.left, box.right)])


def _other_way(outline: Outline) -> Outline:
    """The outline of the picture that an outline lies in, within the other."""
    return outline_of(np.column_stack([_UNIT, np.ones(4)]) @ inverse(_from_fractions(outline)).T)
