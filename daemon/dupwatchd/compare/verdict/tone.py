"""One picture given the tones of another, so that what still differs is not brightness, contrast or tint.

Samples of both go in, a curve comes out that rises (a picture and its negative are not copies) and that follows most
of the samples, not those that a caption or a sticker changed. Luma may also depend on colour, in whole: a photo made
warmer or turned to grey with other weights is the same photo.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from dupwatchd.compare.verdict.order import at_places
from dupwatchd.pixels import levels
from dupwatchd.pixels.levels import Floats, Levels

_BIN = 8  # grey levels a bin
_BINS = 256 // _BIN
_TONES = np.arange(256.0)
_FEWEST = 6  # samples a bin needs to have a say
# Where nothing is clipped, tones rise at least so steeply: else a caption could vanish in a curve that is flat there.
_LEAST_SLOPE = 0.35
_DARKEST, _BRIGHTEST = 8, 247  # beyond these a picture may be clipped, and the curve flat
# How a curve runs is told by so many levels, of which each part has a share: any two tones lie on a straight line.
_FEWEST_TONES, _STRETCHES, _LEAST_SHARE = 30, 8, 0.015
_ROUNDS = 3  # of fitting, each trusting less what the last one left over
_FITS_WELL = 0.03  # deviations: what leaves no more need not be fitted better
_UNCHANGED = 3.0  # grey levels that noise moves a curve by
_WORTH = 0.9  # curves a channel are taken if they lower the misfit to this share
# What most places between these tones are off by if no tone is changed, as a share of what is left by the fit: below it
# large letters, in black and white, have misled the fit. (The white ground of a brightened copy stays white.)
_CLEARLY, _BLACK, _WHITE = 0.5, 16, 240
_MOST_APART = 50  # grey levels between the curves of two channels
_LEAST_COLOUR = 0.01  # less is not worth the time
_MOST_COLOUR = 0.6  # grey levels of luma a level of chroma may make


class Samples(NamedTuple):
    """Some places of a picture, (N,) each."""

    luma: Levels
    blue: Levels  # Cb
    red: Levels  # Cr

    def channels(self) -> Levels:
        """Red, green and blue: (3, N)."""
        return _rgb(self.luma.astype(np.float32), self.blue.astype(np.float32), self.red.astype(np.float32))


class Tone(Protocol):
    """How luma of one picture follows from luma and chroma of another."""

    @property
    def misfit(self) -> float:
        """What is left of the samples, in deviations of what was to be found."""

    @property
    def rise(self) -> float:
        """The largest distance of a curve from no change, over the tones that occur."""

    @property
    def bend(self) -> float:
        """Likewise from a straight line, as a share of the tones that it leads to; 1 where too few occur."""

    def of(self, luma: Levels, chroma: Levels) -> Floats:
        """Luma (H, W) in the other picture's tones; chroma (2, h, w) is of the same area."""


@dataclass(frozen=True, slots=True)
class LumaTone:
    """A curve of luma, and a share of chroma: brightness, contrast, a white balance, a filter before turning grey."""

    curve: Floats  # (256,)
    blue: float  # grey levels a level of Cb
    red: float  # grey levels a level of Cr
    misfit: float
    rise: float
    tones: Levels  # of the samples, (N,)

    @property
    def bend(self) -> float:
        """See `Tone`."""
        return _bend(self.curve, self.tones)

    def of(self, luma: Levels, chroma: Levels) -> Floats:
        """See `Tone`."""
        found = levels.looked_up(luma, self.curve)
        if max(abs(self.blue), abs(self.red)) < _LEAST_COLOUR:
            return found
        by_colour = chroma.astype(np.float32) - 128
        change = by_colour[0] * np.float32(self.blue) + by_colour[1] * np.float32(self.red)
        found += levels.stretched(change, luma.shape[1::-1])
        np.clip(found, 0, 255, out=found)
        return found


@dataclass(frozen=True, slots=True)
class ChannelTone:
    """A curve each of red, green and blue: what brightness and contrast do where a channel is clipped."""

    curves: tuple[Floats, Floats, Floats]  # (256,) each
    misfit: float
    rise: float
    tones: Levels  # of the samples, (3, N)

    @property
    def bend(self) -> float:
        """See `Tone`."""
        return max(map(_bend, self.curves, self.tones))

    def of(self, luma: Levels, chroma: Levels) -> Floats:
        """See `Tone`."""
        blue, red = (levels.stretched(plane, luma.shape[1::-1]).astype(np.float32) for plane in chroma)
        return _mixed([levels.looked_up(*one) for one in zip(_rgb(luma, blue, red), self.curves, strict=True)])


def fit(source: Samples, target: Samples) -> Tone:
    """How the target's luma follows from the source; the samples are of the same places."""
    by_luma = _fit_luma(source, target)
    if not may_fit_better(by_luma):
        return by_luma
    by_channel = _fit_channels(source, target)
    return by_channel if by_channel is not None and by_channel.misfit < _WORTH * by_luma.misfit else by_luma


def may_fit_better(found: Tone) -> bool:
    """Whether another way is worth a try: something is left, and tones were changed."""
    return found.misfit > _FITS_WELL and found.rise > _UNCHANGED


def _fit_luma(source: Samples, target: Samples) -> LumaTone:
    y = target.luma.astype(np.float32)
    blues, reds = source.blue.astype(np.float32) - 128, source.red.astype(np.float32) - 128
    binned = _Binned(source.luma)
    weights = np.ones(len(y), np.float32)
    by_blue = by_red = 0.0
    for number in range(_ROUNDS):
        rest = y - by_blue * blues - by_red * reds
        total = binned.sums(weights)
        curve = binned.rising(rest, weights, total)
        residual = y - curve.take(source.luma)
        by_blue, by_red = _colour_slopes(binned, blues, reds, residual, weights, total + 1e-6)
        error = np.abs(residual - by_blue * blues - by_red * reds)
        if number < _ROUNDS - 1:
            weights = _weights(error)
    unchanged = np.abs(y - source.luma)
    between = (np.minimum(source.luma, target.luma) > _BLACK) & (np.maximum(source.luma, target.luma) < _WHITE)
    if between.any() and _parts(unchanged[between], 0.5)[0] < _CLEARLY * _parts(error[between], 0.5)[0]:
        return LumaTone(_TONES.astype(np.float32), 0.0, 0.0, _misfit(unchanged, y), 0.0, source.luma)
    return LumaTone(curve, by_blue, by_red, _misfit(error, y), _rise(curve, source.luma), source.luma)


def _fit_channels(source: Samples, target: Samples) -> ChannelTone | None:
    """None if the channels change too differently for one picture: that is another colour."""
    given, wanted = source.channels(), target.channels().astype(np.float32)
    y = target.luma.astype(np.float32)
    binned = [_Binned(one) for one in given]
    weights = np.ones(len(y), np.float32)
    for number in range(_ROUNDS):
        curves = [one.rising(its, weights, one.sums(weights)) for one, its in zip(binned, wanted, strict=True)]
        error = np.abs(_mixed([curve.take(one) for curve, one in zip(curves, given, strict=True)]) - y)
        if number < _ROUNDS - 1:
            weights = _weights(error)
    for one, curve in zip(given, curves, strict=True):
        low, high = map(int, _parts(one, 0.02, 0.98))
        if max(np.abs(curve - other)[low : high + 1].max() for other in curves) > _MOST_APART:
            return None
    rise = max(_rise(curve, one) for curve, one in zip(curves, given, strict=True))
    return ChannelTone((curves[0], curves[1], curves[2]), _misfit(error, y), rise, given)


def _rgb(luma: Levels | Floats, blue: Floats, red: Floats) -> Levels:
    """Red, green and blue as JPEG defines them: (3, …)."""
    b, r = blue - np.float32(128), red - np.float32(128)
    half = luma + np.float32(0.5)
    green = half - np.float32(0.344) * b - np.float32(0.714) * r
    channels = (half + np.float32(1.402) * r, green, half + np.float32(1.772) * b)
    rgb = np.empty((3, *green.shape), np.uint8)
    for channel, values in zip(rgb, channels, strict=True):
        np.minimum(values, 255, out=values)
        channel[...] = np.maximum(values, 0, out=values)
    return rgb


def _mixed(channels: list[Floats]) -> Floats:
    """Luma of red, green and blue."""
    red, green, blue = channels
    mixed = np.float32(0.299) * red
    mixed += np.float32(0.587) * green
    mixed += np.float32(0.114) * blue
    return mixed


def _weights(error: Floats) -> Floats:
    """What most places are off by counts in full."""
    scale = max(2.0, 2.5 * _parts(error, 0.5)[0])
    weights: Floats = error * np.float32(1 / scale)
    weights *= weights
    weights += 1
    np.divide(np.float32(1), weights, out=weights)
    return weights


def _misfit(error: Floats, wanted: Floats) -> float:
    return sum(_parts(error, 0.5, 0.9, 0.98)) / max(4.0, float(wanted.std()))


def _rise(curve: Floats, levels: Levels) -> float:
    low, high = map(int, _parts(levels, 0.01, 0.99))
    return float(np.abs(curve - _TONES)[low : high + 1].max())


def _bend(curve: Floats, levels: Levels) -> float:
    low, high = map(int, _parts(levels, 0.02, 0.98))
    if high - low < _FEWEST_TONES:
        return 1.0
    counts = np.bincount(levels, minlength=256)[low : high + 1]
    length, longer = divmod(len(counts), _STRETCHES)  # so many of the stretches are longer by one
    begins = [length * stretch + min(stretch, longer) for stretch in range(_STRETCHES)]
    if np.add.reduceat(counts, begins).min() < _LEAST_SHARE * counts.sum():
        return 1.0
    tones, to = _TONES[low : high + 1], curve[low : high + 1].astype(np.float64)
    # What lies beside the straight line of least squares, in which each tone counts as often as it occurs.
    middle = float(counts @ to) / counts.sum()
    off, along = to - middle, tones - float(counts @ tones) / counts.sum()
    off -= float((counts * along) @ off) / float((counts * along) @ along) * along
    return float(np.abs(off).max() / max(1.0, float(np.ptp(to))))


def _parts(values: NDArray[Any], *shares: float) -> list[float]:
    """The values, float32 or uint8, that these shares of all are below."""
    places = [int(share * len(values)) for share in shares]
    if values.dtype == np.uint8:
        return [float(one) for one in np.bincount(values).cumsum().searchsorted(places, side="right")]
    return at_places(values, *places)


class _Binned:
    """Tones of some places, in bins."""

    def __init__(self, tones: Levels) -> None:
        self.tones = tones.astype(np.float32)
        self.bins = (tones // _BIN).astype(np.intp)
        self._often = np.bincount(self.bins, minlength=_BINS) >= _FEWEST  # which bins have a say

    def sums(self, values: Floats) -> NDArray[np.float64]:
        """Of the values, one for each of the places, in each bin: (_BINS,)."""
        return cast("NDArray[np.float64]", np.bincount(self.bins, values, _BINS))

    def rising(self, y: Floats, weights: Floats, total: NDArray[np.float64]) -> Floats:
        """The curve through the weighted means of the bins that rises, continued straight beyond them: (256,).

        ``total``: the sums of the weights.
        """
        used = (self._often & (total > 0.1 * _FEWEST)).nonzero()[0]
        if len(used) < 2:
            change = float((weights @ (y - self.tones)) / weights.sum())
            moved: Floats = np.clip(_TONES + change, 0, 255).astype(np.float32)
            return moved
        total = total[used]
        at = self.sums(weights * self.tones)[used] / total
        to = self.sums(weights * y)[used] / total
        lean = _LEAST_SLOPE * at
        if to.min() <= _DARKEST or to.max() >= _BRIGHTEST:
            free = (to >= _BRIGHTEST) | (to <= _DARKEST)
            if not free.all():
                lean = np.where(free, np.interp(np.arange(len(at)), np.flatnonzero(~free), lean[~free]), lean)
        return _through(at, _pooled(to - lean, total) + lean)


def _through(at: NDArray[np.float64], to: NDArray[np.float64]) -> Floats:
    """The curve through these points, continued straight beyond them and cut off at 0 and 255: (256,)."""
    curve = np.interp(_TONES, at, to)
    few = min(3, len(at) - 1)
    below, above = _TONES[: math.ceil(at[0])], _TONES[math.floor(at[-1]) + 1 :]
    if len(below):
        curve[: len(below)] = to[0] + (below - at[0]) * _slope(at, to, 0, few)
    if len(above):
        curve[256 - len(above) :] = to[-1] + (above - at[-1]) * _slope(at, to, -1 - few, -1)
    within: Floats = np.minimum(np.maximum(curve, 0), 255).astype(np.float32)
    return within


def _slope(at: NDArray[np.float64], to: NDArray[np.float64], first: int, last: int) -> float:
    run = at[last] - at[first]
    return min(2.5, max(0.4, float((to[last] - to[first]) / run))) if run > _BIN else 1.0


def _pooled(values: NDArray[Any], weights: NDArray[Any]) -> NDArray[np.float64]:
    """The nearest values that never fall, by pooling neighbours that do."""
    steps = values[1:] >= values[:-1]
    if steps.all():
        return values
    pools: list[tuple[float, float, int]] = []
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        size = 1
        while pools and pools[-1][0] > value:
            before, its_weight, its_size = pools.pop()
            value = (value * weight + before * its_weight) / (weight + its_weight)
            weight += its_weight
            size += its_size
        pools.append((value, weight, size))
    return np.repeat([value for value, _, _ in pools], [size for _, _, size in pools])


def _colour_slopes(
    binned: _Binned, blues: Floats, reds: Floats, residual: Floats, weights: Floats, total: NDArray[np.float64]
) -> tuple[float, float]:
    """How far the rest depends on colour among samples of one tone; ``total``: of the weights in each bin, none 0."""
    blues, reds = (
        row - (binned.sums(weights * row) / total).astype(np.float32).take(binned.bins) for row in (blues, reds)
    )
    little = 4.0 * len(blues)
    blue_weighted, red_weighted = weights * blues, weights * reds
    blue, both, red = (
        float(blue_weighted @ blues) + little,
        float(blue_weighted @ reds),
        float(red_weighted @ reds) + little,
    )
    by_blue, by_red = float(blue_weighted @ residual), float(red_weighted @ residual)
    area = blue * red - both * both
    slopes = (red * by_blue - both * by_red) / area, (blue * by_red - both * by_blue) / area
    return tuple(max(-_MOST_COLOUR, min(_MOST_COLOUR, slope)) for slope in slopes)  # type: ignore[return-value]
