"""Two proofs go in, what the one is to the other comes out.

`look` lays one proof onto the other and gathers what differs, `verdict_of` says what that means, and `doubtful` whether
only a look at more pixels can tell. All are functions of the two proofs alone: the finer one is laid onto the coarser,
and where they are equally fine their digests decide, so that the order in which a pair is given does not matter.
"""

from dataclasses import dataclass

import numpy as np

from dupwatchd.compare.verdict.colour import Colours, colours
from dupwatchd.compare.verdict.laid import Planes, laid_onto
from dupwatchd.compare.verdict.register import overlap, register, whole_onto_whole
from dupwatchd.compare.verdict.values import Differences, Lens, differences
from dupwatchd.model import Verdict
from dupwatchd.pixels import levels
from dupwatchd.pixels.levels import Map
from dupwatchd.pixels.proof import Proof, wants_a_closer_look

# The last size shows differences of 5 · 4 cells. Proofs are averaged from pixels hardly smaller: how those fall on the
# grid makes 3 % of plain half-size copies differ somewhere at a score of 100, and none where both are blurred first.
_LENS = Lens(sides_px=(48, 96), sizes=3, softness_px=0.7, ringing_px=0, samples=3_000)

# Scores, in hundredths, from which on something in one picture is not in the other. Of 4,790 plain copies of photos one
# exceeds 110, and of 240 brightened ones two; of 460 with a small text, a small object or a watermark five do not, and
# of 46 pairs of other shots of one thing none. Where text is finer than proofs show, copies stay below 85, and 10,440
# pairs of different documents of one layout all exceed 100.
DIFFERENT, DIFFERENT_TEXT = 110, 100
# Between these a look at more pixels decides.
DOUBTFUL = (60, 250)
# Where something differs and so much of the rest does not lie still either, it is another shot or another page.
_RESTLESS = 45
_WIDESPREAD = 450
_APART = 120
_SAME_SHAPES = 600
_WHOLE = 980  # per mille: a picture that shows less of the other is a crop, or within a frame
_SMALL_AREA_PX = 80 * 80  # icons, and drawings like them: turned, they are others
_BLANK = 25  # tenths of a grey level of deviation; there is nothing to compare


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found when one picture was laid onto the other; all in whole numbers."""

    shared: tuple[int, int]  # per mille of the finer and of the coarser one that the other shows
    luma: Differences | None  # None: they share too little to be compared
    chroma: Colours | None
    turned: bool  # or mirrored
    area_px: int  # of the smaller one
    fine: bool  # one of them holds lines finer than its proof shows: text, most likely


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
    return compare(planes[0], planes[1], _LENS, turned=turned, fine=fine)


def compare(source: Planes, target: Planes, lens: Lens, *, turned: bool, fine: bool) -> Seen:
    """Lays the source onto the target and gathers what differs.

    Where something does, it is tried as well with outline on outline: a dark scene may have misled the registration.
    """
    outlines = whole_onto_whole(source.luma, target.luma)
    found = register(source.luma, target.luma, lens.sides_px)
    seen = _compare_at(found, source, target, lens, turned=turned, fine=fine)
    if np.array_equal(found, outlines) or (seen.luma is not None and seen.luma.score <= DIFFERENT_TEXT):
        return seen
    other = _compare_at(outlines, source, target, lens, turned=turned, fine=fine)
    better = other.luma is not None and (seen.luma is None or other.luma.score < seen.luma.score)
    return other if better else seen


def _compare_at(map_: Map, source: Planes, target: Planes, lens: Lens, *, turned: bool, fine: bool) -> Seen:
    parts = overlap(map_, source.luma.shape[1::-1], target.luma.shape[1::-1])
    shared = round(1000 * parts.source), round(1000 * parts.target)
    area = min(source.luma.size, target.luma.size)
    both = laid_onto(source, target, map_)
    if both is None:
        return Seen(shared, None, None, turned, area, fine)
    seen, wanted = both
    luma = differences(seen, wanted, lens)
    size = seen.chroma.shape[:0:-1]
    light = [levels.resized(planes.luma, size) for planes in both]
    return Seen(shared, luma, colours(seen.chroma, wanted.chroma, light[0], light[1]), turned, area, fine)


def verdict_of(seen: Seen, different: tuple[int, int] = (DIFFERENT, DIFFERENT_TEXT)) -> Verdict:
    """What it means; ``different`` are the scores of photos and of text that no copy exceeds."""
    if seen.luma is None or seen.chroma is None or (seen.turned and seen.area_px < _SMALL_AREA_PX):
        return Verdict.SIMILAR
    other_colours = _in_other_colours(seen.luma, seen.chroma)
    if seen.luma.score > different[seen.fine]:
        if other_colours and seen.luma.shapes >= _SAME_SHAPES:
            return Verdict.RECOLOURED
        return Verdict.SIMILAR if _at_odds(seen.luma) else Verdict.RETOUCHED
    if other_colours or _differs_in_colour(seen.chroma):
        return Verdict.RECOLOURED
    return Verdict.CROPPED if min(seen.shared) < _WHOLE else Verdict.SAME


def doubtful(seen: Seen) -> bool:
    """Whether only a look at more pixels can tell what `verdict_of` tells."""
    return seen.luma is None or blank(seen) or DOUBTFUL[0] <= seen.luma.score <= DOUBTFUL[1]


def blank(seen: Seen) -> bool:
    """Whether there is nothing to compare."""
    return seen.luma is None or max(seen.luma.contrast) < _BLANK


def _at_odds(luma: Differences) -> bool:
    """Whether what differs is not in some places only."""
    return luma.unrest >= _RESTLESS or luma.spread >= _WIDESPREAD or luma.apart >= _APART


def _in_other_colours(luma: Differences, chroma: Colours) -> bool:
    """Whether the colours of one, all in all, are not those of the other, or there are none."""
    weaker, stronger = sorted(chroma.strength)
    if stronger < 30:
        return luma.rise > 70  # both are grey
    if weaker < 15:
        return True
    own = sorted(chroma.own)
    if own[1] >= 30 and own[0] < 0.25 * own[1]:
        return True  # one is in shades of one colour
    if luma.rise > 70 or (weaker < stronger / 2 and luma.rise > 25):
        return True
    if stronger >= 80 and abs(chroma.angle) > 60:
        return True
    if abs(chroma.angle) > 22 and abs(chroma.turned) > 22:
        return True
    return stronger >= 120 and max(chroma.likeness, chroma.centred) < 850


def _differs_in_colour(chroma: Colours) -> bool:
    """Whether some place has another colour."""
    return chroma.worst > 120 and chroma.stands_out > 300
