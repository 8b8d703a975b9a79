"""Two proofs go in, what the one is to the other comes out.

`look` lays one proof onto the other and gathers what differs, `verdict_of` says what that means, and `doubtful` and
`nearly_the_same` whether only a look at more pixels can tell. All are functions of the two proofs alone: the finer one
is laid onto the coarser, and where they are equally fine their digests decide, so that the order in which a pair is
given does not matter.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from dupwatchd.compare.verdict.colour import Colours, colours, places_of_other_colour
from dupwatchd.compare.verdict.laid import NARROW_RIM, RIM, Planes, edges, laid_onto, lean, without_rim
from dupwatchd.compare.verdict.light import lit_alike
from dupwatchd.compare.verdict.register import overlap, register, whole_onto_whole
from dupwatchd.compare.verdict.values import Differences, Lens, differences
from dupwatchd.model import Verdict
from dupwatchd.pixels import levels
from dupwatchd.pixels.levels import Levels, Map
from dupwatchd.pixels.proof import PROOF_AREA_PX, Proof, wants_a_closer_look

# The last size shows differences of 5 · 4 cells. Proofs are averaged from pixels hardly smaller: how those fall on the
# grid makes 3 % of plain half-size copies differ somewhere at a score of 100, and none where both are blurred first.
OF_PROOF = Lens(sides_px=(48, 96), sizes=3, softness_px=0.7, ringing_px=0, samples=3_000)

# Scores, in hundredths, from which on something in one picture is not in the other. Of 4,790 plain copies of photos one
# exceeds 110, and of 240 brightened ones two; of 460 with a small text, a small object or a watermark five do not, and
# of 46 pairs of other shots of one thing none. Where text is finer than proofs show, copies stay below 85, and 10,440
# pairs of different documents of one layout all exceed 100.
DIFFERENT, DIFFERENT_TEXT = 110, 100
# Between these a look at more pixels decides.
DOUBTFUL = (60, 250)
# A copy whose fine texture falls otherwise on the grid, as in a turned one, may exceed those: of 13,000 pairs of copies
# of photos 45 do, and none of them exceeds 185. Of 1,240 pairs with a watermark 70 stay below.
NEARLY_THE_SAME = 185
# Where something differs and so much of the rest does not lie still either, it is another shot or another page.
RESTLESS = 45
WIDESPREAD = 450
APART = 120
SAME_SHAPES = 600
# Only of a pair so alike is it asked whether nothing but light differs.
_LIT_SHAPES = 500
# Of two plain photos, skies or walls, what differs is too smooth to be seen in any place. Of 17,000 pairs of copies
# none exceeds 162, and of 24 pairs of smooth pictures none stays below 480.
ALL_APART = 300
# Colours, see `Colours`: less strength than that is none, a picture without colours of its own is in shades of one, and
# tones that rise so much, or colours turned by so many degrees, are others. What follows are places of another colour;
# and one, in tenths of a level, that has a colour beside a picture without any: a flower in a grey photo. Of 900 copies
# of photos, toned or at quality 25, the 60 without colours stay below 46 in any place.
BOTH_GREY, GREY = 30, 15
COLOURED_PLACE = 100
OWN_COLOURS, OWN_SHARE = 30, 0.25
RISE, RISE_IF_PALER = 70, 25
# But not if they rise along a straight line, to within a share of them per mille, and colours become stronger as much
# as contrast does: of 40 photos whose contrast was taken away and stretched again none exceeds 11, and of 40
# made brighter with clipped tones, or by a gamma, none with enough tones stays below 38.
STRAIGHT, STRETCHED_ALIKE = 15, 1.35
# Goods on white in a near colour look like a copy that was toned. Where tones are few (a bend of all of them), so much
# per mille has no colour, and as much as a ground stays as it is, it is another shade if so much else was changed a
# lot, or some place by so many tenths of a level of colour. Text that was made darker or paper that was made white is
# none: the one is a little of a page, the other is the ground.
FEW_TONES, MOSTLY_NEUTRAL, SHADE_GROUND = 1000, 450, 300
SHADE_MOVED, SHADE_UNFITTED = 100, 200
ANGLE = 22
LIKENESS = 850
WORST, STANDS_OUT = 120, 300
# Where few things have a colour, such as lamps on a screen, a fit turns that of one of them as it likes. As they are,
# of 775 copies of photos and drawings, down to quality 25, one has a place that stands out by 300, and none by 310.
ODD, ODD_PLACE = 350, 40
# A thing in another shade before skin, wood or a landscape, all in colour: what tones a whole picture changes all that
# is as colourful. Of 413 copies, toned, small or of low quality, two left more than half of that as it was, among those
# that are off by 10 levels anywhere, and neither has a place that is off by as many tenths of a level as this.
STAYED, PAINTED = 600, 150
# At an edge filters may end otherwise than the picture did. Of 200 copies none exceeds 220, and of 16 marks at an edge
# that are seen at all none stays below 440.
EDGE = 320
# A small place of another colour, see `Seen.places`: a date stamp of another day on sand, or a car in another paint, as
# bright as before. Of 480 copies those whose tones are as they were stay below that, but for some that were reduced to
# 256 colours; of those in other tones, whose colours may be clipped, none exceeds the other. Tones that rise by so many
# levels are others, and by so many no pair is certain, whatever its colours.
PLACES, PLACES_IF_TONED, OTHER_TONES, FAR_OTHER_TONES = 200, 350, 12, 35
WHOLE = 980  # per mille: a picture that shows less of the other is a crop, or within a frame
# Where a part seems to be missing, the sides found may be wrong: on a page with hardly anything on it, or by a pixel of
# a tiny picture, which is many per mille. There, its whole fits a plain copy as well as what was found (a score higher
# by at most 4, in 195 of 195), and a crop by 3 % worse (by 18 and more at 70² px).
_TINY_AREA_PX = 80 * 80
_AS_WELL, _AS_WELL_TINY = 0, 10
# Icons, and drawings like them: turned, they are others. So much of their area lies in few grey levels. Of 128 tiny
# icons all but a few exceed that, and one tiny photo in five; of 240 larger icons 239, and one photo in a hundred.
# Of pictures that are no icons by their size, such as flags, only those are drawings that a few levels cover all but
# whole: 976 and more; pages of text stay below 900, and of 434 photos none exceeds 930. What is all but black has no
# say there: a lamp or the moon in the night is no drawing.
_DRAWN_TINY, _DRAWN_SMALL, _DRAWN_LARGE = 380, 870, 950
_FEW_LEVELS = 8  # steps of two grey levels, the most frequent ones
_NIGHT_STEPS = 12  # of two grey levels
_BLANK = 25  # tenths of a grey level of deviation; there is nothing to compare


class Bounds(NamedTuple):
    """What a verdict depends on besides what was seen: it is not the same for proofs and for photos."""

    photo: int  # the score that no copy of a photo exceeds
    text: int  # and of text
    small_area_px: int  # a turned drawing of no more pixels is another one


# A picture whose proof has its full size may be of any size.
OF_PROOFS = Bounds(DIFFERENT, DIFFERENT_TEXT, PROOF_AREA_PX * 19 // 20)


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found when one picture was laid onto the other; all in whole numbers."""

    shared: tuple[int, int]  # per mille of the finer and of the coarser one that the other shows
    luma: Differences | None  # None: they share too little to be compared, or were not
    chroma: Colours | None
    turned: bool  # or mirrored
    area_px: int  # of the smaller one
    # Per mille of the smaller one that a few grey levels cover, most of an icon, and of what is not black in it; both
    # are 0 where it is not turned.
    drawn: tuple[int, int]
    fine: bool  # one of them holds lines finer than its proof shows: text, most likely
    lean: int = 0  # ten-thousandths of a side by which the one is turned to lie on the other, beside quarter turns
    places: int = 0  # hundredths, how far the worst small place has another colour; 0: not looked for
    edge: int = 0  # hundredths, the score of what lies at the edges; 0: likewise
    in_one_light: Differences | None = None  # of luma, once slow changes of light are taken away; None: not tried


def look(first: Proof, second: Proof, turn_degrees: int, *, mirrored: bool) -> Seen:
    """Compares two proofs, the second mirrored, if asked, and then turned clockwise so that it shows the first."""
    finer, coarser = sorted((first, second), key=lambda proof: (-proof.luma.size, proof.digest))
    planes = [Planes(proof.luma, proof.chroma) for proof in (finer, coarser)]
    turned = bool(turn_degrees % 360) or mirrored
    if turned:
        # The coarser one always keeps its place. Mirrored, a turn and its reverse are the same.
        forwards = finer is second or mirrored
        planes[0] = planes[0].oriented(turn_degrees if forwards else -turn_degrees, mirrored=mirrored)
    fine = wants_a_closer_look(first) or wants_a_closer_look(second)
    return compare(planes[0], planes[1], OF_PROOF, turned=turned, fine=fine)


def compare(source: Planes, target: Planes, lens: Lens, *, turned: bool, fine: bool) -> Seen:
    """Lays the source onto the target and gathers what differs.

    Where something does, or a part seems to be missing, it is tried as well with outline on outline: a dark scene or an
    empty page may have misled the registration.
    """
    outlines = whole_onto_whole(source.luma, target.luma)
    found = register(source.luma, target.luma, lens.sides_px)
    one = _Laid.by(found, source, target, lens, turned=turned, fine=fine)
    seen = one.seen
    differs = seen.luma is None or seen.luma.score > DIFFERENT_TEXT
    part = min(seen.shared) < WHOLE
    if np.array_equal(found, outlines) or not (differs or part):
        return one.in_full(lens)
    other = _Laid.by(outlines, source, target, lens, turned=turned, fine=fine)
    if seen.luma is None or other.seen.luma is None:
        return (one if other.seen.luma is None else other).in_full(lens)
    as_well = _AS_WELL_TINY if seen.area_px < _TINY_AREA_PX else _AS_WELL
    worse_by = other.seen.luma.score - seen.luma.score
    return (other if worse_by < 0 or (part and worse_by <= as_well) else one).in_full(lens)


def compare_at(map_: Map, source: Planes, target: Planes, lens: Lens, *, turned: bool, fine: bool) -> Seen:
    """Lays the source onto the target by a map that is known, and gathers what differs where both show something."""
    return _Laid.by(map_, source, target, lens, turned=turned, fine=fine).in_full(lens)


class _Laid(NamedTuple):
    """Two pictures that lie on each other, of which luma was compared; of two ways only one is seen in full."""

    seen: Seen
    both: tuple[Planes, Planes] | None  # what they share, less a rim; None: too little
    all_of_both: tuple[Planes, Planes] | None  # with that rim, if edges are looked at
    smaller: Levels

    @classmethod
    def by(cls, map_: Map, source: Planes, target: Planes, lens: Lens, *, turned: bool, fine: bool) -> "_Laid":
        """Laid onto each other by a map."""
        unseen = not_compared_at(map_, source, target, turned=turned, fine=fine)
        all_of_both = both = laid_onto(source, target, map_, NARROW_RIM if lens.edge else RIM)
        if both is not None and lens.edge:
            both = without_rim(both[0], RIM - NARROW_RIM), without_rim(both[1], RIM - NARROW_RIM)
        luma = differences(*both, lens) if both is not None else None
        return cls(replace(unseen, luma=luma), both, all_of_both, min(source.luma, target.luma, key=np.size))

    def in_full(self, lens: Lens) -> Seen:
        """What else is told of them."""
        seen = self.seen
        if seen.turned:
            seen = replace(seen, drawn=shares_of_few_levels(self.smaller))
        if self.both is None or seen.luma is None:
            return seen
        one, other = self.both
        size = one.chroma.shape[:0:-1]
        lumas = levels.resized_together([planes.luma for planes in self.both], size)
        its_colours = colours(one.chroma, other.chroma, *lumas)
        places = 0
        if one.fine_chroma is not None and other.fine_chroma is not None:
            size = one.fine_chroma.shape[:0:-1]
            lumas = [levels.stretched(planes.luma, size) for planes in self.both]
            places = places_of_other_colour(one.fine_chroma, other.fine_chroma, *lumas)
        edge = 0
        if lens.edge and self.all_of_both is not None:
            strips = zip(*map(edges, self.all_of_both), strict=True)
            edge = max((differences(one, other, lens).score for one, other in strips), default=0)
        in_one_light = None
        alike = min(seen.shared) >= WHOLE and seen.luma.shapes >= _LIT_SHAPES
        if alike and seen.luma.score > DIFFERENT_TEXT and at_odds(seen.luma):
            lit = lit_alike(*self.both)
            in_one_light = differences(*lit, lens) if lit is not None else None
        return replace(seen, chroma=its_colours, in_one_light=in_one_light, places=places, edge=edge)


def not_compared_at(map_: Map, source: Planes, target: Planes, *, turned: bool, fine: bool) -> Seen:
    """Lays the source onto the target likewise, and tells only how much they share."""
    parts = overlap(map_, source.luma.shape[1::-1], target.luma.shape[1::-1])
    shared = round(1000 * parts.source), round(1000 * parts.target)
    area_px, leaning = min(source.luma.size, target.luma.size), round(10_000 * lean(map_))
    return Seen(shared, None, None, turned, area_px, (0, 0), fine, leaning)


def shares_of_few_levels(luma: Levels) -> tuple[int, int]:
    """Per mille of a plane that its most frequent grey levels cover, and of what is not black in it."""
    counts = levels.histogram(luma).reshape(-1, 2).sum(axis=1)  # in steps of two grey levels
    whole, lit = (
        1000 * int(np.sort(some)[-_FEW_LEVELS:].sum()) // max(1, int(some.sum()))
        for some in (counts, counts[_NIGHT_STEPS:])
    )
    return whole, lit


def verdict_of(seen: Seen, bounds: Bounds = OF_PROOFS) -> Verdict:
    """What it means."""
    if seen.luma is None or seen.chroma is None or _is_turned_drawing(seen, bounds.small_area_px):
        return Verdict.SIMILAR
    other_colours = _in_other_colours(seen.luma, seen.chroma) or _in_another_shade(seen.luma, seen.chroma)
    if seen.luma.score > (bounds.text if seen.fine else bounds.photo):
        if other_colours and seen.luma.shapes >= SAME_SHAPES:
            return Verdict.RECOLOURED
        return Verdict.SIMILAR if at_odds(seen.in_one_light or seen.luma) else Verdict.RETOUCHED
    if seen.edge > EDGE:
        return Verdict.RETOUCHED
    if other_colours or _differs_in_colour(seen.chroma) or _has_small_place(seen.luma, seen.places):
        return Verdict.RECOLOURED
    if seen.luma.apart >= ALL_APART:
        return Verdict.SIMILAR
    return Verdict.CROPPED if min(seen.shared) < WHOLE else Verdict.SAME


def doubtful(seen: Seen) -> bool:
    """Whether only a look at more pixels can tell what `verdict_of` tells."""
    return seen.luma is None or blank(seen) or DOUBTFUL[0] <= seen.luma.score <= DOUBTFUL[1]


def nearly_the_same(seen: Seen) -> bool:
    """Whether it is called changed for so little that a look at more pixels may show that it is the same."""
    if seen.luma is None or verdict_of(seen) not in (Verdict.RETOUCHED, Verdict.SIMILAR):
        return False
    return DIFFERENT_TEXT < seen.luma.score <= NEARLY_THE_SAME and min(seen.shared) >= WHOLE


def blank(seen: Seen) -> bool:
    """Whether there is nothing to compare."""
    return seen.luma is None or max(seen.luma.contrast) < _BLANK


def _is_turned_drawing(seen: Seen, small_area_px: int) -> bool:
    """Whether it is an icon or a drawing, turned or mirrored: an arrow to the left is none to the right."""
    if not seen.turned:
        return False
    whole, lit = seen.drawn
    if seen.area_px > small_area_px:
        return lit >= _DRAWN_LARGE
    return whole >= (_DRAWN_TINY if seen.area_px < _TINY_AREA_PX else _DRAWN_SMALL)


def at_odds(luma: Differences) -> bool:
    """Whether what differs is not in some places only."""
    return luma.unrest >= RESTLESS or luma.spread >= WIDESPREAD or luma.apart >= APART


def _in_other_colours(luma: Differences, chroma: Colours) -> bool:
    """Whether the colours of one, all in all, are not those of the other, or there are none."""
    weaker, stronger = sorted(chroma.strength)
    if stronger < BOTH_GREY:
        return (luma.rise > RISE and luma.bend > STRAIGHT) or chroma.unfitted > COLOURED_PLACE
    if weaker < GREY:
        return True
    own = sorted(chroma.own)
    if own[1] >= OWN_COLOURS and own[0] < OWN_SHARE * own[1]:
        return True  # one is in shades of one colour
    other_tones = luma.rise > RISE or (weaker < stronger / 2 and luma.rise > RISE_IF_PALER)
    if other_tones and not _is_stretched(luma, chroma):
        return True
    if stronger >= 80 and abs(chroma.angle) > 60:
        return True
    if abs(chroma.angle) > ANGLE and abs(chroma.turned) > ANGLE:
        return True
    return stronger >= 120 and max(chroma.likeness, chroma.centred) < LIKENESS


def _in_another_shade(luma: Differences, chroma: Colours) -> bool:
    """Whether it shows a thing of few tones on a plain ground, such as goods on white, in other ones."""
    if luma.bend < FEW_TONES or chroma.neutral < MOSTLY_NEUTRAL or luma.moved[1] < SHADE_GROUND:
        return False
    return luma.moved[0] > SHADE_MOVED or chroma.unfitted > SHADE_UNFITTED


def _is_stretched(luma: Differences, chroma: Colours) -> bool:
    """Whether all tones were moved along one straight line, and colours with them: more contrast or less of it."""
    contrast = luma.contrast[0] / max(1, luma.contrast[1])
    colour = chroma.strength[0] / max(1, chroma.strength[1])
    fits = 1 / STRETCHED_ALIKE < colour / max(1e-3, contrast) < STRETCHED_ALIKE
    return luma.bend <= STRAIGHT and fits and chroma.centred >= LIKENESS


def _differs_in_colour(chroma: Colours) -> bool:
    """Whether some place has another colour."""
    stands_out = chroma.worst > WORST and chroma.stands_out > STANDS_OUT
    return stands_out or has_odd_place(chroma, ODD) or is_painted(chroma, PAINTED)


def is_painted(chroma: Colours, least: int) -> bool:
    """Whether some place is off by more than ``least``, and most of what is as colourful stayed as it was."""
    return chroma.unfitted > least and chroma.stayed >= STAYED


def _has_small_place(luma: Differences, places: int) -> bool:
    """Whether some place that may be small has another colour."""
    most = PLACES_IF_TONED if luma.rise >= OTHER_TONES else PLACES
    return places > most and luma.rise <= FAR_OTHER_TONES


def has_odd_place(chroma: Colours, least: int) -> bool:
    """Whether of few things that have a colour one stands out, without any fit, by more than ``least``."""
    return chroma.odd > least and chroma.unfitted > ODD_PLACE and chroma.neutral > MOSTLY_NEUTRAL
