"""Which of two files that show the same picture is shown to be nearer the original.

Not "made from": of two copies of one original, the coarser looks like a JPEG of the finer, and is further away.
"""

from enum import IntEnum

from dupwatchd.compare.origin.candidate import Candidate
from dupwatchd.compare.origin.fit import Fit, detail_ratio, fit, fit_scaled, has_detail
from dupwatchd.compare.origin.grain import differ_by_grain
from dupwatchd.compare.origin.laying import Pair, laid_upon
from dupwatchd.compare.origin.sharpened import LEAST_GROWTH, enlarged_and_sharpened
from dupwatchd.compare.origin.softened import lost_its_detail

CLEARLY = 0.15  # by so much one explanation must be better than its reverse
CLEARLY_TONED = 0.3  # where a tone curve had to be guessed
COARSER = 1.2  # times the sum of steps: coarser, and not the same quality by another encoder
FINER = 6.0  # times the energy of fine detail: more than sharpening adds
EQUAL_LOSSY = 0.12  # the same of two decoders of one lossy format
RECODINGS = frozenset({"WEBP", "AVIF"})  # cameras write JPEG and HEIF; these are made from other files, unless shown
# Times the energy of fine detail of another one of equal size. Of 14 photos that were blurred by a pixel, or made small
# and large again, 12 exceed that; copies of which no direction is shown, at other qualities and tones, stay below 1.7.
# What was rounded may have more than the former, from the blocks of its coding, but not than the latter.
SOFTER, FAR_SOFTER = 2.0, 3.0
# Enlarged, the smaller one explains the larger one so much better than that explains it, made smaller. Of 40 photos and
# drawings that were enlarged by any way of resizing, and saved as JPEG, AVIF, GIF or PNG, all but three stay below the
# first or are shown otherwise. Copies that were made smaller lie above that: of 12 that were sharpened none below .73,
# of 27 others of which nothing is shown none below 1, of 216 of soft photos with noise none below .80. Of a picture
# without much detail any size explains any, unless it is a drawing.
ENLARGED, MAY_BE_ENLARGED, ENLARGED_DRAWING = 0.65, 0.8, 0.3
DITHERED = frozenset({"GIF"})  # dots that stand for shades look like fine detail
# Median differences of textured blocks, in grey levels, within which a picture counts as explained by another:
NO_LOSS = 0.02  # equal pixels
ROUNDED = 0.1  # equal but for the rounding of colours
NEAR_JPEG = 0.6  # a JPEG of steps too fine for its lattice to be seen
RESIZED = 0.3  # an enlargement, by the right way of resizing
NEARLY_RESIZED = 0.75  # by a similar one
MOST_STRETCHED = 2.0  # times the aspect of the other: more than what is cut off or turned explains
MIN_VALUES = 60  # coefficients, for "this is no JPEG of that"


# Times the energy of fine detail of a copy. Of 10 photos and 100 copies: saved anew at qualities of 88 to 95, or made
# brighter, at most 1.15; blurred by .6 to .8 pixels 1.38 to 18, made small by a quarter and large again 1.7 to 5.7.
LOST_DETAIL = 1.3


class Direction(IntEnum):
    """Which of two is nearer the original."""

    FIRST = -1
    NEITHER = 0  # nothing is shown
    SECOND = 1


def nearer(first: Candidate, second: Candidate) -> Direction:
    """Which of two files that show the same picture is shown to be nearer the original.

    ``nearer(a, b) == -nearer(b, a)``. No pixels are looked at where the coded pictures are equal, one is a RAW photo
    or only one has colour. Else about 12 ms, 25 if one is resized; and nothing is shown if one has no luma, or if
    their shapes are far from each other.
    """
    if first.scan and first.scan == second.scan:
        return Direction(int(second.from_camera) - int(first.from_camera))
    if (first.format == "RAW") != (second.format == "RAW"):
        return Direction.FIRST if first.format == "RAW" else Direction.SECOND
    if first.has_colour != second.has_colour:  # no colour comes from grey
        return Direction.FIRST if first.has_colour else Direction.SECOND
    if not (first.luma.size and second.luma.size and _alike_in_shape(first, second)):
        return Direction.NEITHER
    pair = laid_upon(first, second)
    detailed = not pair.scaled or has_detail(min(first.luma, second.luma, key=lambda luma: (luma.size, luma.shape)))
    how = fit_scaled if pair.scaled else fit
    to_second, to_first = how(pair.first, pair.second), how(pair.second, pair.first)
    is_first = detailed and _precedes(first, second, to_second, to_first, pair.scaled)
    is_second = detailed and _precedes(second, first, to_first, to_second, pair.scaled)
    shown = Direction(int(is_second) - int(is_first))
    if not pair.scaled and has_more_than_its_source(shown, pair, to_first, to_second):
        return Direction.NEITHER
    if shown is not Direction.NEITHER:
        return shown
    if not pair.scaled:
        return _unsoftened(first, second, pair)
    finer = _finer(first, second, pair) if detailed else Direction.NEITHER
    if finer is not Direction.NEITHER:
        return finer
    return _smaller_explains(first, second, to_first, to_second, ENLARGED if detailed else ENLARGED_DRAWING)


def has_more_than_its_source(shown: Direction, pair: Pair, to_first: Fit, to_second: Fit) -> bool:
    """Whether the one that seems to be rounded from the other shows more fine detail: then the other was made softer.

    Of a soft photo a JPEG keeps only what is broad, and that is about the same in both.
    """
    if shown is Direction.FIRST:
        seems_rounded = to_second.rounded and not (to_second.toned or to_first.carried)
        return seems_rounded and detail_ratio(pair.second, pair.first) > FAR_SOFTER
    if shown is Direction.SECOND:
        seems_rounded = to_first.rounded and not (to_first.toned or to_second.carried)
        return seems_rounded and detail_ratio(pair.first, pair.second) > FAR_SOFTER
    return False


def may_be_enlarged(first: Candidate, second: Candidate) -> bool:
    """Whether the larger of two pictures may be the smaller one, enlarged and sharpened: then neither is a spare.

    A soft photo that was sharpened at its own size looks like that as well beside a small copy of it, so that no
    direction follows. A camera's photo was not enlarged, unless both have the data of one: programs keep them. About
    15 ms if one is much larger, else nothing.
    """
    smaller, larger = (first, second) if first.luma.size < second.luma.size else (second, first)
    if not smaller.luma.size or larger.luma.size < LEAST_GROWTH * smaller.luma.size:
        return False
    is_cameras = larger.from_camera and not smaller.from_camera
    if is_cameras or not _alike_in_shape(smaller, larger) or not has_detail(smaller.luma):
        return False
    pair = laid_upon(smaller, larger)
    return pair.scaled and enlarged_and_sharpened(pair.first, pair.second)


def may_be_softened(first: Candidate, second: Candidate) -> bool:
    """Whether one of two pictures, of which nothing shows the direction, may be the other made softer, or enlarged.

    Then neither is a spare: it may as well have been sharpened, or got film grain. A camera's photo that is sharper
    than one without its data is the original; a softer one may be made from that, with the data kept. About 12 ms.
    """
    if first.scan == second.scan != b"":
        return False
    if not (first.luma.size and second.luma.size and _alike_in_shape(first, second)):
        return False
    pair = laid_upon(first, second)
    smaller, larger = (pair.first, pair.second) if first.luma.size < second.luma.size else (pair.second, pair.first)
    if first.from_camera == second.from_camera and differ_by_grain(smaller, larger):
        return True
    if pair.scaled:
        to_second, to_first = fit_scaled(pair.first, pair.second), fit_scaled(pair.second, pair.first)
        return _smaller_explains(first, second, to_first, to_second, MAY_BE_ENLARGED) is not Direction.NEITHER
    ratio = detail_ratio(pair.first, pair.second)
    sharper, softer = (first, second) if ratio > 1 else (second, first)
    return max(ratio, 1 / ratio) > SOFTER and (softer.from_camera or not sharper.from_camera)


def lost_detail(first: Candidate, second: Candidate) -> bool:
    """Whether the second of two pictures of one size is softer than the first; about 5 ms."""
    if not (first.luma.size and second.luma.size and _alike_in_shape(first, second)):
        return False
    pair = laid_upon(first, second)
    return not pair.scaled and detail_ratio(pair.first, pair.second) > LOST_DETAIL


def _alike_in_shape(first: Candidate, second: Candidate) -> bool:
    """Copies are; and a strip of millions of pixels, as a hostile file has it, would take minutes to resize."""
    aspects = [max(one.luma.shape) / min(one.luma.shape) for one in (first, second)]
    return bool(max(aspects) < MOST_STRETCHED * min(aspects))


def _finer(first: Candidate, second: Candidate, pair: Pair) -> Direction:
    """The one with fine detail that the other lacks: that was enlarged from something smaller than both.

    Only for pictures of different size: of two equally large ones the finer may as well have got film grain added.
    """
    ratio = detail_ratio(pair.first, pair.second)
    if ratio > FINER and first.format not in DITHERED:
        return Direction.FIRST
    return Direction.SECOND if ratio < 1 / FINER and second.format not in DITHERED else Direction.NEITHER


def _smaller_explains(first: Candidate, second: Candidate, to_first: Fit, to_second: Fit, better: float) -> Direction:
    """The smaller of two of different size, if the larger one shows nothing that an enlargement of it does not."""
    is_first_smaller = first.luma.size < second.luma.size
    smaller, larger = (first, second) if is_first_smaller else (second, first)
    enlarged, made_smaller = (to_second, to_first) if is_first_smaller else (to_first, to_second)
    is_cameras = larger.from_camera and not smaller.from_camera
    if is_cameras or enlarged.difference >= better * made_smaller.difference:
        return Direction.NEITHER
    return Direction.FIRST if is_first_smaller else Direction.SECOND


def _unsoftened(first: Candidate, second: Candidate, pair: Pair) -> Direction:
    """The sharper one of two of equal size, if what it has more of does not come out of the other one by sharpening.

    A softer one with a camera's data that the other lacks may be the original, and the other no photo of that camera.
    """
    ratio = detail_ratio(pair.first, pair.second)
    if 1 / SOFTER <= ratio <= SOFTER or differ_by_grain(pair.first, pair.second):
        return Direction.NEITHER
    sharper, softer = (pair.first, pair.second) if ratio > 1 else (pair.second, pair.first)
    is_cameras = (second if ratio > 1 else first).from_camera and not (first if ratio > 1 else second).from_camera
    if is_cameras or not lost_its_detail(sharper, softer):
        return Direction.NEITHER
    return Direction.FIRST if ratio > 1 else Direction.SECOND


def _precedes(a: Candidate, b: Candidate, to_b: Fit, to_a: Fit, scaled: bool) -> bool:
    """Is ``a`` shown to be nearer the original than ``b``? ``to_b``: how well b is explained by a."""
    if _lacks_the_cameras_data(a, b):
        return False
    a_jpeg, b_jpeg = a.steps is not None, b.steps is not None
    if a_jpeg and b_jpeg:
        return _jpeg_before_jpeg(a, b, to_b, to_a, scaled)
    if a_jpeg and b.lossless:
        return _jpeg_before_lossless(a, to_b, to_a, scaled)
    if b_jpeg and a.lossless:
        return _lossless_before_jpeg(a, b, to_b, to_a, scaled)
    if a_jpeg:
        return b.format in RECODINGS and not scaled and to_a.values >= MIN_VALUES and not _jpeg_of_lossy(to_a, scaled)
    if b_jpeg:  # what programs write as a JPEG without luma, in inks or as RGB, tells nothing
        return a.format != "JPEG" and _jpeg_of_lossy(to_b, scaled)
    if a.lossless and b.lossless:
        return _lossless_before_lossless(a, b, to_b, to_a, scaled)
    if a.lossless != b.lossless and not scaled:  # the other is a WebP, AVIF, HEIF
        equal = to_b.difference < EQUAL_LOSSY
        return equal if b.lossless else not equal and b.format in RECODINGS
    return False


def _lacks_the_cameras_data(a: Candidate, b: Candidate) -> bool:
    """A JPEG without it is hardly the source of one with it, of about the same size."""
    return a.steps is not None and b.from_camera and not a.from_camera and b.luma.size >= 0.6 * a.luma.size


def _jpeg_before_jpeg(a: Candidate, b: Candidate, to_b: Fit, to_a: Fit, scaled: bool) -> bool:
    if to_b.unfiltered and to_a.unfiltered:  # as well the one as the other
        return False
    if to_b.carried and to_a.carried:  # as good as equal: the finer steps hold nothing more
        return a.coarseness > COARSER * b.coarseness
    first = to_b.rounded or to_a.carried
    second = to_a.rounded or to_b.carried
    is_toned = to_b.toned or to_a.toned
    clearly = to_b.badness < to_a.badness - (CLEARLY_TONED if is_toned else CLEARLY)
    if is_toned and not scaled:  # with a curve that was guessed, that the reverse fits less is not enough
        return first and (clearly or (to_a.carried and not second))
    return first and (clearly or not second)


def _jpeg_before_lossless(a: Candidate, to_b: Fit, to_a: Fit, scaled: bool) -> bool:
    if to_a.drawn:  # the clean ground of a drawing does not come back from a JPEG
        return False
    if to_a.carried:
        return True
    if scaled:
        no_jpeg_of_it = to_a.beyond > 0.1
        return to_b.difference < RESIZED or (to_b.difference < NEARLY_RESIZED and no_jpeg_of_it)
    return to_b.difference < (NO_LOSS if a.has_fine_steps else ROUNDED)


def _lossless_before_jpeg(a: Candidate, b: Candidate, to_b: Fit, to_a: Fit, scaled: bool) -> bool:
    """``b`` is the JPEG."""
    if to_b.drawn:
        return True
    if _jpeg_before_lossless(b, to_a, to_b, scaled):
        return False
    if b.has_fine_steps and not scaled:
        # Decoders differ by as much as such a JPEG from its source: the camera's data say more.
        return to_b.difference < NEAR_JPEG and (a.from_camera or not b.from_camera)
    return to_b.rounded


def _lossless_before_lossless(a: Candidate, b: Candidate, to_b: Fit, to_a: Fit, scaled: bool) -> bool:
    if not scaled:
        return b.jpeg_grid and not a.jpeg_grid
    if a.luma.size < b.luma.size:
        return _enlarged(to_b, to_a)
    return to_b.difference < NEARLY_RESIZED and not _enlarged(to_a, to_b)


def _enlarged(to_larger: Fit, to_smaller: Fit) -> bool:
    """The larger of two is explained by the smaller one, about as well as the reverse."""
    return to_larger.difference < min(NEARLY_RESIZED, max(RESIZED, 1.5 * to_smaller.difference))


def _jpeg_of_lossy(to_jpeg: Fit, scaled: bool) -> bool:
    """A WebP or AVIF smooths what a JPEG kept, so that little lies beyond half a step only if the JPEG came later."""
    return to_jpeg.rounded and to_jpeg.beyond <= (0.10 if scaled else 0.02)
