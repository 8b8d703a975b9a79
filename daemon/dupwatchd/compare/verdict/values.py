"""What still differs between two pictures that lie on each other: in places, over the whole, and in colour.

Luma and chroma of both on one grid go in, values in whole steps come out. A place differs if what is left there, after
tones and sharpness are matched, stands out in three ways at once: against the noise of this very pair, against the
structure around it, and to the eye. The score is the largest of the smallest of the three.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from dupwatchd.compare.verdict import tone
from dupwatchd.compare.verdict.laid import Planes
from dupwatchd.compare.verdict.order import at_place, at_places
from dupwatchd.pixels import levels
from dupwatchd.pixels.levels import Floats, Levels

_ESTIMATES = 2_500  # places that noise is estimated from
_LEAST_SIDE_PX = 12  # of the last size that is looked at
# Noise, structure and grey levels at which a place counts as another: score 1.
_NOISE, _STRUCTURE, _VISIBLE = 8.0, 0.35, 10.0
_SHIFT_PX = (0.25, 0.15)  # what registration may be off by, at full size and at the smaller ones
_BUSY_NOISE = (0.08, 0.05, 0.04, 0.04)  # the most noise of structure itself that is taken for this pair's own
_GAIN = (60.0, 3.0)  # a picture of low contrast is judged stretched to this deviation, and by no more than this
_BLURS_PX = (0.45, 0.65, 0.9, 1.2, 1.6, 2.2, 3.0, 4.2)  # deviations that sharpness is matched by
_PLAIN = 0.6  # of a picture says nothing of sharpness
_LEAST_DETAIL = np.float32(0.05)  # grey levels
_BETTER = 0.985  # a blur is worth it if it lowers the misfit to this share
_PATIENCE = 1  # blurs that make it worse before it gets better
_TEXTURED = 1.0  # grey levels that such a place differs from those around it by
_TEXTURE_SAMPLES = 8_000  # places that sharpness is told from
_STRONG = 8  # grey levels that an edge or a dot differs from what is around it by, which no noise does in both pictures
_STRONGEST = 4_000  # at most so many of them tell how sharp they are
_EQUALLY = 1.03  # so much more fine detail is no sharper
_SHAPED = 4  # grey levels of deviation around a place that shows a shape
_SHAPE_ALIKE = 0.5
_SHAPE_PX, _SHAPE_SOFTNESS_PX = 7, 1.0  # side of what a shape is told from; finer detail has no say
_SHAPE_THE_SAME = 0.8
_SHAPED_SHARE = 0.1  # of all places have to show a shape, to tell of the whole
_FEWEST = 30  # places that say something of a picture at large
_HALF_ANOTHER = 0.6  # of the score of another place: what differs in many places differs less in each
_A_LOT, _NEXT_TO_NOTHING = 40, 10  # grey levels that a tone is changed by
_AROUND_PX = 11  # side of what is called the surroundings of a place
_BAND_PX = 1 << 16  # of a band, see `_bands`: a proof is one
_BUSY = 12  # grey levels of deviation around a place that has structure


@dataclass(frozen=True, slots=True)
class Differences:
    """What luma shows."""

    score: int  # hundredths: 100 where one place is just another
    shapes: int  # per mille of what differs in brightness and has structure that shows the same shapes
    spread: int  # per mille of all places that differ
    unrest: int  # per mille of its structure that half of what has structure is off by: high where nothing lies still
    apart: int  # per mille of the contrast that half of all places are off by
    rise: int  # grey levels, the most that a tone was changed by, of those that occur
    bend: int  # per mille of the tones that came of it, the most that they lie beside a straight line
    moved: tuple[int, int]  # per mille of all places whose tone was changed by a lot, and of those by next to nothing
    contrast: tuple[int, int]  # tenths of a grey level, the deviation of luma of both
    blur: int  # hundredths of a pixel of deviation that the sharper one was blurred by


class _Detail(NamedTuple):
    """What is around each place of two planes of luma."""

    means: tuple[Floats, Floats]
    variances: tuple[Floats, Floats]  # of what is flat they may be a little below 0
    structure: Floats  # the larger one of both deviations


class Lens(NamedTuple):
    """How closely pictures are looked at."""

    sides_px: tuple[int, ...]  # sizes at which one is laid onto the other
    sizes: int  # at which differences are looked for, each half of the last
    softness_px: float  # deviation that both are blurred by first
    ringing_px: int  # how far from an edge its compression still shows
    samples: int  # places that tones are fitted to
    edge: bool = False  # whether what lies at the edges of what both show is looked at, too
    noisy: bool = False  # whether it shows the noise of a sensor: a proof has averaged that away


def differences(source: Planes, target: Planes, lens: Lens) -> Differences:
    """Compares luma of two pictures on one grid."""
    softness = lens.softness_px
    softened = [levels.blurred(one.luma, softness) if softness else one.luma for one in (source, target)]
    first, second, blur_px, is_noise = _equally_sharp(softened[0], softened[1], noisy=lens.noisy)
    seen, wanted, used, moved = _in_one_tone(first, second, source.chroma, target.chroma, lens.samples)
    score, spread, unrest = 0.0, 0.0, 0.0
    likeness: list[Floats] = []
    deviation = levels.deviation(wanted)
    gain = min(_GAIN[1], max(1.0, _GAIN[0] / max(6.0, deviation)))
    # Noise that was left in one sets no two pictures apart: what does is as smooth as skies and walls.
    both = (levels.halved(seen), levels.halved(wanted)) if is_noise else (seen, wanted)
    apart = _median(np.abs(_some(both[0]) - _some(both[1]))) / max(4.0, deviation)
    for halving in range(lens.sizes):
        if halving:
            seen, wanted = levels.halved(seen), levels.halved(wanted)
        if min(wanted.shape) < _LEAST_SIDE_PX:
            break
        error, detail = _left_over(seen, wanted, halving)
        structure = detail.structure
        around = levels.spread(structure, lens.ringing_px) if lens.ringing_px and not halving else structure
        unlike = _Unlike(error, around, halving, gain)
        score = max(score, unlike.most())
        is_last = halving + 1 == lens.sizes or min(wanted.shape) < 2 * _LEAST_SIDE_PX - 1
        if halving == 1 or (is_last and not halving):
            unrest = _unrest(error, detail)
            spread = np.count_nonzero(unlike.everywhere > _HALF_ANOTHER) / error.size
        if score > 1:
            where = (unlike.everywhere > _HALF_ANOTHER) & (structure > _SHAPED)
            likeness.append(_likeness(seen, wanted, detail, np.flatnonzero(where)))
    alike = _share_alike(likeness)
    contrast = levels.deviation(source.luma), levels.deviation(target.luma)
    return Differences(
        score=min(9999, round(100 * score)),
        shapes=round(1000 * alike),
        spread=round(1000 * spread),
        unrest=round(1000 * unrest),
        apart=round(1000 * apart),
        rise=round(used.rise),
        bend=round(1000 * used.bend),
        moved=(round(1000 * moved[0]), round(1000 * moved[1])),
        contrast=(round(10 * contrast[0]), round(10 * contrast[1])),
        blur=round(100 * blur_px),
    )


class Shapes(NamedTuple):
    """How alike two pictures are around the places with structure, whatever their tones, light and colours."""

    typical: int  # per mille: the correlation around half of these places is at least that
    share: int  # per mille of these places around which both show the same


def shapes(source: Planes, target: Planes) -> Shapes:
    """Compares luma of two pictures on one grid; (0, 0) if too few places have structure to tell of the whole."""
    sharp = _equally_sharp(source.luma, target.luma)[:2]
    both = [levels.blurred(luma, _SHAPE_SOFTNESS_PX).astype(np.float32) for luma in sharp]
    (our_mean, ours), (their_mean, theirs) = (levels.box_mean_and_deviation(one, _SHAPE_PX) for one in both)
    shaped = np.minimum(ours, theirs) > _SHAPED
    if np.count_nonzero(shaped) < max(_FEWEST, _SHAPED_SHARE * shaped.size):
        return Shapes(0, 0)
    together = levels.box_mean(both[0] * both[1], _SHAPE_PX) - our_mean * their_mean
    alike = np.maximum(together[shaped] / (ours[shaped] * theirs[shaped] + 1), np.float32(0))
    share = np.count_nonzero(alike > _SHAPE_THE_SAME) / alike.size
    return Shapes(int(1000 * _median(alike)), int(1000 * share))


def _share_alike(likeness: list[Floats]) -> float:
    every = np.concatenate(likeness) if likeness else np.zeros(0, np.float32)
    return np.count_nonzero(every > _SHAPE_ALIKE) / len(every) if len(every) > _FEWEST else 0.0


def _likeness(seen: Floats, wanted: Floats, detail: _Detail, places: NDArray[np.intp]) -> Floats:
    """How alike the shapes around those places are, whatever their brightness: 1 the same, 0 or less another."""
    if not len(places):
        return np.zeros(0, np.float32)
    together = levels.box_mean(seen * wanted, _AROUND_PX).take(places)
    one, other = (mean.take(places) for mean in detail.means)
    together -= one * other
    together += together
    one, other = (_deviation(variance.take(places)) for variance in detail.variances)
    strength = one * one
    strength += other * other
    strength += np.float32(1)
    together /= strength
    return together


def _equally_sharp(source: Levels, target: Levels, *, noisy: bool = False) -> tuple[Levels, Levels, float, bool]:
    """Both, the sharper one blurred as much as makes it most like the other, by how many pixels, and if noise is left.

    Brightness and contrast have no say: tones can only be told of pictures that are equally sharp. Nor has, in
    noisy pictures, noise that only one of them shows, where strong edges and dots of both are less alike without it.
    """
    both = [source, target]
    means = [levels.box_mean(plane, _AROUND_PX) for plane in both]
    texture = [_texture(*one) for one in zip(both, means, strict=True)]
    strength = [float(np.abs(one).mean()) + _LEAST_DETAIL for one in texture]
    detail = levels.fine_detail(*both)
    ratio = _ratio(detail[0], detail[1]) * strength[1] / strength[0]
    if 1 / _EQUALLY < ratio < _EQUALLY:
        return source, target, 0.0, False
    textured = np.maximum(np.abs(texture[0]), np.abs(texture[1])) > _TEXTURED
    if np.count_nonzero(textured) <= _FEWEST:
        return source, target, 0.0, False
    sharper = 0 if ratio > 1 else 1
    sharp, mean, soft = both[sharper], means[sharper], texture[1 - sharper][textured]
    strong = _strongest(both, means) if noisy else np.zeros(0, np.intp)
    strong_soft = _above(both[1 - sharper].take(strong), means[1 - sharper].take(strong))
    least, since = _misfit(texture[sharper][textured], soft), 0
    least_of_strong = _misfit(_above(sharp.take(strong), mean.take(strong)), strong_soft)
    best, found, is_noise = sharp, 0.0, False
    for deviation in _BLURS_PX:
        blurred = levels.blurred(sharp, deviation)
        misfit = _misfit(_texture(blurred, mean)[textured], soft)
        if misfit > _BETTER * least:
            if since == _PATIENCE:
                break
            since += 1
            continue
        least, since = misfit, 0
        misfit = _misfit(_above(blurred.take(strong), mean.take(strong)), strong_soft)
        if misfit <= least_of_strong:
            least_of_strong, best, found = misfit, blurred, deviation
        else:
            is_noise = True
    both[sharper] = best
    return both[0], both[1], found, is_noise


def _texture(luma: Levels, mean: Levels) -> Floats:
    """How far some places lie above what is around them, below 0 if they are darker: (N,)."""
    return _above(_some(luma, _TEXTURE_SAMPLES), _some(mean, _TEXTURE_SAMPLES))


def _above(luma: Levels, mean: Levels) -> Floats:
    return cast("Floats", np.subtract(luma, mean, dtype=np.float32))


def _strongest(both: list[Levels], means: list[Levels]) -> NDArray[np.intp]:
    """The places, few at most, that stand out most from what is around them in both; none if hardly any does."""
    out = np.minimum(*(levels.difference(*one) for one in zip(both, means, strict=True)))
    more = levels.histogram(out)[::-1].cumsum()[::-1]  # how many stand out by that many levels or more
    least = max(_STRONG, int(np.count_nonzero(more > _STRONGEST)))
    strong = np.flatnonzero(out >= least)
    return strong if len(strong) > _FEWEST else strong[:0]


def _misfit(texture: Floats, other: Floats) -> float:
    """What most places are off by, whatever the contrast, as a share of the texture; 0 of no places."""
    if not len(texture):
        return 0.0
    gain = float(texture @ other) / max(1.0, float(other @ other))
    off = np.abs(texture - np.float32(gain) * other)
    most = np.float32(at_place(off, int(0.9 * len(off))))
    return float(np.minimum(off, most).mean() / (np.abs(texture).mean() + _LEAST_DETAIL))


def _ratio(detail: Floats, other: Floats) -> float:
    """How much more of it one has than the other, where both have some; what only one shows has no say."""
    least = np.minimum(detail, other)
    both = least >= at_place(least, int(_PLAIN * least.size))
    return _median((detail[both] + _LEAST_DETAIL) / (other[both] + _LEAST_DETAIL))


def _in_one_tone(
    first: Levels, second: Levels, first_chroma: Levels, second_chroma: Levels, samples: int
) -> tuple[Floats, Floats, tone.Tone, tuple[float, float]]:
    """Luma of one in the tones of the other, that of the other, how tones were changed, and of how many places.

    Whichever way round fits better: where one is clipped, it cannot tell what the other is.
    """
    step = max(1, int((first.size / samples) ** 0.5))
    a, b = (_samples(*one, step) for one in ((first, first_chroma), (second, second_chroma)))
    there = tone.fit(a, b)
    back = tone.fit(b, a) if tone.may_fit_better(there) else None
    if back is None or back.misfit >= there.misfit:
        toned = there.of(first, first_chroma)
        return toned, second.astype(np.float32), there, _moved(first, toned)
    toned = back.of(second, second_chroma)
    return toned, first.astype(np.float32), back, _moved(second, toned)


def _moved(luma: Levels, toned: Floats) -> tuple[float, float]:
    """The shares of places whose tone was changed by a lot, and by next to nothing."""
    change = np.abs(_some(toned) - _some(luma))
    return float((change > _A_LOT).mean()), float((change < _NEXT_TO_NOTHING).mean())


def _samples(luma: Levels, chroma: Levels, step: int) -> tone.Samples:
    some = levels.box_mean(luma, 3)[::step, ::step]
    blue, red = (levels.stretched(plane, some.shape[1::-1]).ravel() for plane in chroma)
    return tone.Samples(some.ravel(), blue, red)


def _left_over(seen: Floats, wanted: Floats, halving: int) -> tuple[Floats, _Detail]:
    """What differs around each place beyond a small shift, and what is around it."""
    shift = np.float32(0.5 * _SHIFT_PX[min(halving, 1)])
    rest = np.empty_like(seen)
    for rows, around in _bands(seen.shape):
        inner = slice(rows.start - around.start, rows.stop - around.start)
        slope, other = (levels.range_around(one[around])[inner] for one in (seen, wanted))
        np.maximum(slope, other, out=slope)
        slope *= shift
        some = np.subtract(seen[rows], wanted[rows], out=rest[rows])
        np.abs(some, out=some)
        some -= slope
        np.maximum(some, np.float32(0), out=some)
        some *= some
    error = levels.box_mean(rest, 5)
    means, variances = zip(*(levels.box_mean_and_square(one, _AROUND_PX) for one in (seen, wanted)), strict=True)
    structure = rest  # its memory serves again
    for rows, _ in _bands(seen.shape):
        levels.root(error[rows])
        for mean, variance in zip(means, variances, strict=True):
            variance[rows] -= np.square(mean[rows])
        levels.root(np.maximum(variances[0][rows], variances[1][rows], out=structure[rows]))
    return error, _Detail(means, variances, structure)


def _bands(shape: tuple[int, ...]) -> Iterator[tuple[slice, slice]]:
    """Some rows of a plane at a time, and those with one more on either side.

    What is done to a band in many steps stays in the processor's cache, which a plane is too large for.
    """
    height, width = shape
    rows = max(1, _BAND_PX // width)
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        yield slice(top, bottom), slice(max(0, top - 1), min(height, bottom + 1))


class _Unlike:
    """How far each place counts as another, 1 being just so."""

    def __init__(self, error: Floats, structure: Floats, halving: int, gain: float) -> None:
        some, its = _some(error), _some(structure)
        calm, restless = at_places(its, int(0.4 * len(its)), int(0.6 * len(its)))
        flat = some[its <= max(3.0, calm)]
        busy = its >= max(6.0, restless)
        share = _median(some[busy] / its[busy]) if np.count_nonzero(busy) > _FEWEST else 0.02
        self._noise = np.float32(min(5.0, max(0.3, _median(flat))))
        self._own = np.float32(min(_BUSY_NOISE[halving], max(0.01, share)))
        self._to_the_eye = np.float32(gain / _VISIBLE)
        self._error, self._structure = error, structure

    @cached_property
    def everywhere(self) -> Floats:
        """All places: (H, W)."""
        if self._error.size <= _BAND_PX:
            return self._within(slice(None))
        unlike = np.empty_like(self._error)
        for rows, _ in _bands(unlike.shape):
            unlike[rows] = self._within(rows)
        return unlike

    def most(self) -> float:
        """The largest value: no place has more than what its error is to the eye, so that most need not be asked."""
        if self._error.size <= _BAND_PX:
            return float(self.everywhere.max())
        bands = [rows for rows, _ in _bands(self._error.shape)]
        bounds = [float(self._error[rows].max() * self._to_the_eye) for rows in bands]
        most = 0.0
        for bound, number in sorted(((bound, number) for number, bound in enumerate(bounds)), reverse=True):
            if bound <= most:
                break
            most = max(most, float(self._within(bands[number]).max()))
        return most

    def _within(self, rows: slice) -> Floats:
        error, structure = self._error[rows], self._structure[rows]
        by_noise = self._own * structure
        by_noise *= by_noise
        by_noise += self._noise * self._noise
        np.sqrt(by_noise, out=by_noise)
        by_noise *= np.float32(_NOISE)
        by_structure = structure + np.float32(2)
        by_structure *= np.float32(_STRUCTURE)
        np.maximum(by_noise, by_structure, out=by_noise)
        unlike: Floats = np.divide(error, by_noise, out=by_noise)
        to_the_eye = np.multiply(error, self._to_the_eye, out=by_structure)
        np.minimum(unlike, to_the_eye, out=unlike)
        return unlike


def _unrest(error: Floats, detail: _Detail) -> float:
    """The share of its structure that half of what has structure is off by.

    What has structure in both counts: a caption over a calm place is none.
    """
    one, other = (_deviation(_some(variance)) for variance in detail.variances)
    some = _some(error)
    its: Floats = np.minimum(one, other)
    busy = its > _BUSY
    return _median(some[busy] / its[busy]) if np.count_nonzero(busy) > _FEWEST else 0.0


def _deviation(variances: Floats) -> Floats:
    return levels.root(variances.copy()).ravel()


def _some(plane: levels.Plane, count: int = _ESTIMATES) -> levels.Plane:
    """About so many of the places, or up to four times as many, evenly: (N,)."""
    step = max(1, int((plane.size / count) ** 0.5))
    return plane[::step, ::step].ravel()


def _median(values: Floats) -> float:
    return float(at_place(values, len(values) // 2))
