"""How the colours of two pictures that lie on each other differ, beyond what a white balance or a filter does.

Chroma and luma of both on one small grid go in, values in whole steps come out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dupwatchd.compare.verdict.order import at_place
from dupwatchd.pixels import levels
from dupwatchd.pixels.levels import Floats, Levels

_SAMPLES = 1_500  # places that a fit is made on
_ROUNDS = 4  # of fitting, each trusting less what the last one left over
_PLACE_PX = 5
_NEUTRAL = 5.0  # levels of chroma: white, grey or black, also in a JPEG
# What a small place of another colour has to exceed: noise, structure, and levels.
_NOISE, _STRUCTURE, _VISIBLE, _AROUND_PX, _SHIFT_PX, _OWN_NOISE_FINE = 4.0, 0.35, 6.0, 11, 0.25, 0.5
# Places of so much of the colour of the worst one are as colourful, and those off by less than that stayed the same.
_AS_COLOURFUL, _STAYED, _STAYED_SHARE = 0.35, 2.0, 0.12
_OWN_SAMPLES = 8_000  # places that tell which of two has more colours of its own
TOLD_EXACTLY_ABOVE = 100  # of `places_of_other_colour`: at this a place is just of another colour
_OWN_NOISE = 2.0  # levels of chroma below which nothing is read out of a difference


@dataclass(frozen=True, slots=True)
class Colours:
    """What chroma shows; levels are those of Cb and Cr."""

    strength: tuple[int, int]  # tenths of a level, the mean distance from grey of each
    own: tuple[int, int]  # tenths of a level, what of it does not follow from brightness: none in a sepia
    angle: int  # degrees by which the colours of one are turned against the other's, all in all
    likeness: int  # per mille, of the colours as they are
    centred: int  # per mille, of the colours less their mean
    turned: int  # degrees by which a fit turns them
    worst: int  # tenths of a level that the worst place is off by after that fit
    stands_out: int  # hundredths, the worst place against the pair's own noise and colours
    unfitted: int  # tenths of a level that the worst place is off by as it is, without any fit
    odd: int  # hundredths, the worst place as it is against the pair's own noise and colours
    neutral: int  # per mille of all places that are without colour in both
    stayed: int  # per mille of the places as colourful as that worst one whose colours stayed what they are


def colours(source: Levels, target: Levels, source_luma: Levels, target_luma: Levels) -> Colours:
    """Compares (2, h, w) chroma of two pictures on one grid; luma is (h, w)."""
    chroma = [_smooth(plane) for plane in (source, target)]  # (2, h, w)
    light = [(plane.astype(np.float32) - 128) * np.float32(1 / 128) for plane in (source_luma, target_luma)]
    sizes = [np.hypot(*one) for one in chroma]
    strongest = np.maximum(*sizes)
    strength = [float(size.mean()) for size in sizes]
    own = [_own(one, its) for one, its in zip(chroma, light, strict=True)]
    angle, likeness = _turned(*(one[0] + 1j * one[1] for one in chroma))
    _, centred = _turned(*(one[0] - one[0].mean() + 1j * (one[1] - one[1].mean()) for one in chroma))
    if own[0] > own[1]:  # the more colourful one tells the colours of the other, not the reverse
        turned, worst, out = _fitted(chroma[0], chroma[1], light[0], strongest)
    else:
        turned, worst, out = _fitted(chroma[1], chroma[0], light[1], strongest)
    unfitted, stayed = _worst_as_they_are(chroma[0], chroma[1])
    return Colours(
        (round(10 * strength[0]), round(10 * strength[1])),
        (round(10 * own[0]), round(10 * own[1])),
        round(angle),
        round(1000 * likeness),
        round(1000 * centred),
        round(turned),
        round(10 * worst),
        round(100 * out),
        round(10 * unfitted),
        round(100 * _stands_out(chroma[0] - chroma[1], strongest)[1]),
        round(1000 * float((strongest < _NEUTRAL).mean())),
        round(1000 * stayed),
    )


def places_of_other_colour(source: Levels, target: Levels, source_luma: Levels, target_luma: Levels) -> int:
    """Hundredths: how far the worst small place has another colour, 100 where it is just another one.

    Up to `TOLD_EXACTLY_ABOVE` it may be less than that: it is told without a look at the colours around that place.
    Chroma (2, h, w) of two pictures on one grid, as fine as both have it; luma is (h, w). A place has another colour
    only if it stands out against the noise of this very pair, against the colours around it, and to the eye.
    """
    chroma = [_smooth(plane) for plane in (source, target)]
    light = [plane.astype(np.float32) for plane in (source_luma, target_luma)]
    for plane in light:
        plane -= np.float32(128)
        plane *= np.float32(1 / 128)
    step = max(1, int((light[0].size / _OWN_SAMPLES) ** 0.5))
    own = [_own(one[:, ::step, ::step], its[::step, ::step]) for one, its in zip(chroma, light, strict=True)]
    known, wanted, luma = (chroma[0], chroma[1], light[0]) if own[0] > own[1] else (chroma[1], chroma[0], light[1])
    rest = _length(_fit(known, wanted, luma)[1])
    rest -= np.float32(_SHIFT_PX) * np.maximum(*(_length(list(map(levels.range_around, one))) for one in chroma))
    np.maximum(rest, np.float32(0), out=rest)
    rest *= rest
    error = levels.root(levels.box_mean(rest, _PLACE_PX))
    noise = max(_OWN_NOISE_FINE, at_place(error[::2, ::2].ravel(), error[::2, ::2].size // 2))
    least = np.float32(max(_NOISE * noise, _VISIBLE))
    if (told := _told_at_most(error, least)) is not None:
        return told
    structure = np.maximum(*(_structure(one) for one in chroma))
    structure += np.float32(2)
    structure *= np.float32(_STRUCTURE)
    np.maximum(structure, least, out=structure)
    error /= structure
    return round(TOLD_EXACTLY_ABOVE * float(error.max()))


def _told_at_most(error: Floats, least: np.float32) -> int | None:
    """How far the worst place can have another colour if that is too little to count, else None."""
    most = float(error.max() / least)
    return round(TOLD_EXACTLY_ABOVE * most) if most <= 1 else None


def _length(planes: Sequence[Floats] | Floats) -> Floats:
    """Of two coordinates at each place."""
    square = planes[0] * planes[0]
    square += planes[1] * planes[1]
    return levels.root(square)


def _structure(chroma: Floats) -> Floats:
    """How far colours around each place lie apart."""
    return _length([levels.box_mean_and_deviation(plane, _AROUND_PX)[1] for plane in chroma])


def _smooth(chroma: Levels) -> Floats:
    return np.stack([levels.blurred(plane.astype(np.float32) - 128, 0.8) for plane in chroma])


def _worst_as_they_are(chroma: Floats, other: Floats) -> tuple[float, float]:
    """Levels that the worst place is off by, and the share of places of as much colour that are not.

    What runs over an edge, and is lost within it, is no other colour. What changes the colours of a whole picture
    changes all strong ones.
    """
    both = [np.stack([levels.box_mean(plane, _PLACE_PX) for plane in one]) for one in (chroma, other)]
    off = _length(both[0] - both[1]).ravel()
    colourful = np.maximum(*map(_length, both)).ravel()
    worst = int(off.argmax())
    peers = off[colourful >= _AS_COLOURFUL * colourful[worst]]
    stayed = np.count_nonzero(peers <= max(_STAYED, _STAYED_SHARE * float(off[worst]))) / len(peers)
    return float(off[worst]), stayed


def _own(chroma: Floats, light: Floats) -> float:
    """The deviation of chroma from what follows from luma alone."""
    known = np.stack([np.ones(light.size, np.float32), light.ravel(), np.square(light.ravel())])
    flat = chroma.reshape(2, -1)
    rest = flat - _solved(known, flat, np.ones(light.size, np.float32)) @ known
    return float(np.sqrt(np.square(rest).sum(axis=0).mean()))


def _turned(a: NDArray[np.complex64], b: NDArray[np.complex64]) -> tuple[float, float]:
    """The angle between two planes of colours in degrees, and how alike they are, 1 being the same hue everywhere."""
    product = complex(np.vdot(b, a))
    size = float(np.sqrt(np.square(np.abs(a)).sum() * np.square(np.abs(b)).sum())) + 1e-3
    return float(np.degrees(np.angle(product))), product.real / size


def _fitted(known: Floats, wanted: Floats, light: Floats, strongest: Floats) -> tuple[float, float, float]:
    """Degrees that the best linear map turns colours, and the worst place after it: levels, and against the rest."""
    found, off = _fit(known, wanted, light)
    turned = float(np.degrees(np.arctan2(found[1, 0] - found[0, 1], found[0, 0] + found[1, 1])))
    return turned, *_stands_out(off, strongest)


def _fit(known: Floats, wanted: Floats, light: Floats) -> tuple[Floats, Floats]:
    """The best linear map (2, 4) of colours and luma to the wanted colours, and what it leaves over: (2, h, w)."""
    terms = np.stack([known[0].ravel(), known[1].ravel(), np.ones(light.size, np.float32), light.ravel()])  # (4, N)
    flat = wanted.reshape(2, -1)
    step = max(1, light.size // _SAMPLES)
    some, its = np.ascontiguousarray(terms[:, ::step]), np.ascontiguousarray(flat[:, ::step])
    found = _solved(some, its, np.ones(some.shape[1], np.float32))
    for _ in range(_ROUNDS - 1):
        off = its - found @ some
        error = np.hypot(off[0], off[1])
        scale = 2 * max(_OWN_NOISE, at_place(error, len(error) // 2))
        found = _solved(some, its, 1 / (1 + np.square(error * np.float32(1 / scale))))
    return found, (flat - found @ terms).reshape(wanted.shape)


def _stands_out(off: Floats, strongest: Floats) -> tuple[float, float]:
    """The worst place of what (2, h, w) colours are off by: levels, and against the rest."""
    around = levels.root(levels.box_mean(np.square(off).sum(axis=0), 3))
    noise = max(_OWN_NOISE, at_place(around.ravel(), around.size // 2))
    strong = levels.box_mean(strongest, 3)
    against = around / np.sqrt(noise * noise + np.square(0.25 * strong))
    return float(around.max()), float(against.max())


def _solved(terms: Floats, wanted: Floats, weights: Floats) -> Floats:
    """Weighted least squares of (K, N) by (T, N) terms, with little weight on large factors: (K, T)."""
    weighted = terms * weights
    normal = (weighted @ terms.T).astype(np.float64)
    normal.reshape(-1)[:: len(normal) + 1] += 1e-3 * terms.shape[1]
    return np.linalg.solve(normal, (weighted @ wanted.T).astype(np.float64)).T.astype(np.float32)
