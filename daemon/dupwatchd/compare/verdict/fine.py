"""The look at up to 1,600 px: does a pair that seems to be one picture show the same, everywhere?

Decoded pixels of both go in, whether they are the same comes out. It is `verdict.look` with many more pixels: one digit
of a page is seen down to about 6 px of the smaller of the two. What is too small or too blurred for that stays untold.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from dupwatchd.compare.verdict.colour import Colours
from dupwatchd.compare.verdict.laid import Planes
from dupwatchd.compare.verdict.values import Differences, Lens
from dupwatchd.compare.verdict.verdict import (
    FAR_OTHER_TONES,
    FEW_TONES,
    MOSTLY_NEUTRAL,
    OTHER_TONES,
    SHADE_GROUND,
    Bounds,
    Seen,
    at_odds,
    blank,
    compare,
    has_odd_place,
    is_painted,
    verdict_of,
)
from dupwatchd.model import Verdict
from dupwatchd.pixels import levels
from dupwatchd.pixels.levels import Levels, Size
from dupwatchd.pixels.proof import holds_fine_lines

LONG_SIDE_PX = 1600
_CHROMA_SIDE_PX = 96  # as in proofs: finer, noise of chroma that was kept coarsely counts
_FINE_CHROMA_PX = 800  # most pictures hold colours at half the size of luma
_LENS = Lens(
    sides_px=(96, 320),
    sizes=4,
    softness_px=0.0,
    ringing_px=5,  # blocks of JPEG are 8 px
    samples=12_000,
    edge=True,
    noisy=True,
)
# See `verdict.Bounds`. Of 420 pages with another digit none that is told stays below 140, but for digits of 5 px on a
# darkened page, and of 96 copies of pages five exceed it, all at a quarter of the size. Of 3,200 copies of photos one
# exceeds 185, and most small retouches lie above 120: between 100 and 185 a photo stays uncertain.
BOUNDS = Bounds(photo=185, text=140, small_area_px=256 * 256)
# A pair whose proofs differ in places has to be better than that: of 45 pairs of copies that seem to be changed by a
# little 38 stay below 90, and of 1,220 with a watermark one does. The other seven are brightened: where all tones
# differ, and nothing else does but in places, copies reach 180, and those with a watermark begin at 196.
BOUNDS_IF_SUSPECT = BOUNDS._replace(photo=100, text=100)
# Less than that does not make two pictures different, but more than these not certainly the same either: another digit
# on a date stamp had a score of 114, a black and a dark grey shirt tones apart by 40 levels, a black and a navy car
# colours that agree by half. Who is not certain may not let a photo go.
UNCERTAIN_SCORE = 100
# Of a suspect pair, and of pages in other tones: a watermark had 77, and another digit of 5 px on a darkened page 100.
_LESS_CERTAIN_SCORE = 75
UNCERTAIN_STRENGTH, UNCERTAIN_LIKENESS = 50, 850
# Two lipsticks of near shades on white, or two red shirts, are like one that was toned: the colours of all that has any
# differ. Of 500 copies, down to quality 25 and a quarter of the size, none is off by more than 52 tenths of a level in
# any place; of 450 that were brightened, warmed or made more colourful 19 are by 90, if so much is without colour.
UNCERTAIN_SHADE = 90
# Of a drawing, or goods of few tones, so much of another shade is seen as well without white around it; and with white
# around it, half of that, if its tones lie that many levels apart and the ground stays: a navy and a darker navy dial.
UNCERTAIN_DRAWN_SHADE, _DRAWN_RISE = 40, 8
# A place that stands out in colour less than a recoloured one; and a small one, see `PLACES`: of 240 copies that were
# only made smaller or saved at quality 40 one exceeds that. It has to stay above `colour.TOLD_EXACTLY_ABOVE`.
UNCERTAIN_ODD, UNCERTAIN_PLACES = 300, 120
# What lies at the edges, of photos and of pages: of 160 copies of photos two exceed that, of 43 of pages none.
UNCERTAIN_EDGE, UNCERTAIN_EDGE_TEXT = 140, 240
# One that leans has lost its corners, or shows a ground there, and one that was cut by a percent has lost that:
# whichever of the two goes, it may be the one that shows more. Of 1,000 plain copies of photos, down to 128 px, none
# leans by more than 4 ten-thousandths or shares less than 998 per mille; of 40 turned by 0.3 degrees none leans by less
# than 40.
UNCERTAIN_LEAN, UNCERTAIN_SHARED = 20, 990
# Two files that are equal in all but so few pixels per mille came from one, and what is left differs because somebody
# changed it: of 775 copies of photos and drawings one of such a kind has a score of more than that.
_ALL_BUT_EQUAL, _EQUAL_SCORE = 20, 30
_WORTH_HALVING = 2  # shrunk so much, a picture is halved first, which takes far less time
_LEAST_SIDE_PX = 100  # of what is compared: less shows faces and numbers too small to tell
# Text of a page shrunk to a quarter is lost by 0.3 to 0.9 of its strokes, and of 80 photos one in twenty exceeds 0.25.
LOST_PER_MILLE = 400
_BLURRED = 1.5  # so many deviations of the blur that one of them had to be given count as a pixel


@dataclass(frozen=True, slots=True)
class Closer:
    """What came of the look."""

    confirmed: bool | None  # None: nobody can be certain
    verdict: Verdict | None  # what the pair is now; None: too small, too blurred or too blank to tell
    seen: Seen


def look_closely(
    first_rgb: Levels, second_rgb: Levels, turn_degrees: int, *, mirrored: bool, suspect: bool = False
) -> Closer:
    """Compares two pictures (H, W, 3) uint8 RGB, the second mirrored, if asked, and then turned clockwise.

    As in `look`, the finer one is laid onto the coarser, so that the order of the two does not matter. ``suspect``: by
    their proofs they are not the same, so that more is asked for.
    """
    pictures = first_rgb, second_rgb
    lumas = [levels.resized(luma, _size_to_look_at(luma)) for luma in map(levels.grey, pictures)]
    areas = [rgb.shape[0] * rgb.shape[1] for rgb in pictures]
    is_first = areas[0] > areas[1] or (areas[0] == areas[1] and _digest(lumas[0]) <= _digest(lumas[1]))
    finer, coarser = (0, 1) if is_first else (1, 0)
    target_size = lumas[coarser].shape[1::-1]
    size = target_size if turn_degrees % 180 == 0 else target_size[::-1]
    source = Planes(levels.resized(lumas[finer], size), *_chroma(pictures[finer], size))
    target = Planes(lumas[coarser], *_chroma(pictures[coarser], target_size))
    forwards = finer == 1 or mirrored  # mirrored, a turn and its reverse are the same
    source = source.oriented(turn_degrees if forwards else -turn_degrees, mirrored=mirrored)
    turned = bool(turn_degrees % 360) or mirrored
    is_text = any(map(holds_fine_lines, pictures))
    seen = compare(source, target, _LENS, turned=turned, fine=is_text)
    differs = seen.luma is not None and seen.luma.score > (BOUNDS.text if is_text else BOUNDS.photo)
    if not differs and _too_little(seen, lumas[finer], lumas[coarser], size):
        return Closer(None, None, seen)
    verdict = verdict_of(seen, BOUNDS_IF_SUSPECT if suspect and not _only_in_other_tones(seen) else BOUNDS)
    if verdict is Verdict.SAME and (_uncertain(seen, suspect=suspect) or _is_changed_in_a_place(seen, source, target)):
        return Closer(None, verdict, seen)
    return Closer(verdict is Verdict.SAME, verdict, seen)


def _only_in_other_tones(seen: Seen) -> bool:
    """Whether one is brighter or darker, and else they lie on each other everywhere: two plain photos do not."""
    return seen.luma is not None and seen.luma.rise >= OTHER_TONES and not at_odds(seen.luma)


def _uncertain(seen: Seen, *, suspect: bool) -> bool:
    """Whether something may differ, in a place, in tone, in colour or at a side, that is too little to say so."""
    luma, chroma = seen.luma, seen.chroma
    if luma is None or chroma is None:
        return True
    if seen.lean > UNCERTAIN_LEAN or min(seen.shared) < UNCERTAIN_SHARED:
        return True
    toned_page = seen.fine and luma.rise >= OTHER_TONES
    other_colours = max(chroma.likeness, chroma.centred) < UNCERTAIN_LIKENESS
    return (
        luma.score > (_LESS_CERTAIN_SCORE if suspect or toned_page else UNCERTAIN_SCORE)
        or luma.rise > FAR_OTHER_TONES
        or (max(chroma.strength) >= UNCERTAIN_STRENGTH and other_colours)
        or (chroma.unfitted > UNCERTAIN_SHADE and (chroma.neutral > MOSTLY_NEUTRAL or luma.bend >= FEW_TONES))
        or _may_be_another_shade(luma, chroma)
        or has_odd_place(chroma, UNCERTAIN_ODD)
        or is_painted(chroma, UNCERTAIN_SHADE)
        or seen.edge > (UNCERTAIN_EDGE_TEXT if seen.fine else UNCERTAIN_EDGE)
        or (seen.places > UNCERTAIN_PLACES and luma.rise < OTHER_TONES)
    )


def _may_be_another_shade(luma: Differences, chroma: Colours) -> bool:
    """Whether it may be goods, or a drawing, in a near shade of its colour; the ground around it is as it was."""
    if luma.bend < FEW_TONES or chroma.neutral <= MOSTLY_NEUTRAL or luma.moved[1] < SHADE_GROUND:
        return False
    return luma.rise >= _DRAWN_RISE and chroma.unfitted > UNCERTAIN_DRAWN_SHADE


def _is_changed_in_a_place(seen: Seen, source: Planes, target: Planes) -> bool:
    """Whether all but a few pixels are equal, and those are not just a little off."""
    if seen.luma is None or seen.luma.score <= _EQUAL_SCORE or source.luma.shape != target.luma.shape:
        return False
    unequal = int(np.count_nonzero(source.luma != target.luma))
    return 1000 * unequal <= _ALL_BUT_EQUAL * target.luma.size


def _too_little(seen: Seen, finer: Levels, coarser: Levels, size: Size) -> bool:
    """Whether a difference that matters could not be seen: too small, too blurred, blank, or with strokes lost."""
    blur_px = seen.luma.blur / 100 if seen.luma else 0.0
    if blank(seen) or min(size) / max(1.0, _BLURRED * blur_px) < _LEAST_SIDE_PX:
        return True
    sizes = size, coarser.shape[1::-1]
    lost = (levels.lost_strokes(luma, one, blur_px) for luma, one in zip((finer, coarser), sizes, strict=True))
    return any(share > LOST_PER_MILLE for share in lost)


def _size_to_look_at(luma: Levels) -> Size:
    height, width = luma.shape
    scale = min(1.0, LONG_SIDE_PX / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _digest(luma: Levels) -> bytes:
    return hashlib.blake2b(luma.data, digest_size=8).digest()


def _chroma(rgb: Levels, size: Size) -> tuple[Levels, Levels]:
    """Of a picture that is looked at in that size: (2, h, w), and the same with more pixels."""
    shrunk = max(2.0, max(size) / _FINE_CHROMA_PX)
    fine_size = max(1, int(size[0] / shrunk)), max(1, int(size[1] / shrunk))
    if min(rgb.shape[1] // fine_size[0], rgb.shape[0] // fine_size[1]) >= _WORTH_HALVING:
        rgb = levels.halved_in_boxes(rgb)
    fine = levels.blue_and_red(levels.resized(rgb, fine_size))
    scale = min(1.0, _CHROMA_SIDE_PX / max(fine_size))
    small = max(1, round(fine_size[0] * scale)), max(1, round(fine_size[1] * scale))
    return np.stack(levels.resized_together([*fine], small)), fine
