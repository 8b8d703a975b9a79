"""How well one picture is explained by another: as equal pixels, and as what a JPEG's rounding makes of them.

A JPEG keeps each coefficient as a whole multiple of a step. Coefficients of the picture it was made from lie anywhere
within half a step of these multiples: on average a quarter of a step away. Those of a picture that was made from it lie
on the multiples, but for the rounding of pixels; once sharpening is undone, where they were sharpened since.
"""

from dataclasses import dataclass, replace

import numpy as np

from dupwatchd.compare.origin.filtered import filtered
from dupwatchd.compare.origin.laying import Laid
from dupwatchd.compare.origin.resample import KERNELS, resampled
from dupwatchd.compare.origin.tone import tone_curve, toned
from dupwatchd.pixels.blocks import Floats, Luma, blocks_of, coefficients

WINDOW_PX = 256  # of a scaled picture: its middle is resized, for each way of resizing
MIN_WINDOW_PX = 128  # where the source is many times as large
MIN_BLOCKS = 20
TEXTURE_LEVELS = 3.0  # standard deviation within a block
ROUNDING_ENERGY = 0.5  # of a coefficient: what rounding of pixels, and a little noise, leave
DETAILED_SHARE = 0.1  # of the blocks
# Of the pixels of a block with lines or text. What is drawn has one level in .62 to .88 of them, its JPEGs up to
# quality 97 in at most .56 and always .18 less, photos in about .1.
DRAWN_SHARE, LEFT_BY_JPEG = 0.6, 0.15
# Blocks that a JPEG keeps as plain ground: .77 to .91 of documents and screens, at most .4 of photos.
GROUND_LEVELS, GROUND_SHARE = 0.5, 0.6  # standard deviation within a block; share of blocks
# What lies on the multiples once a filter is undone. Of 26 JPEGs of photos, enlarged and sharpened by filters, all but
# one stay below .2 and .07, and so do 40 of 60 that were only sharpened; of 30 that were made smaller none falls below
# .26, and of 48 originals beside their sharpened copies one below .22, whose copy lies on its multiples as well.
UNFILTERED_OFF, UNFILTERED_BEYOND, UNFILTERED_VALUES = 0.2, 0.07, 200
_FINE = np.array([row >= 4 or column >= 4 for row in range(8) for column in range(8)])


@dataclass(frozen=True, slots=True)
class Fit:
    """How well a target is explained by a source; the defaults say: not at all."""

    off: float = 9.0  # mean distance of the source's coefficients from the target's multiples, in steps
    beyond: float = 1.0  # share of them more than half a step away
    values: int = 0  # how many coefficients that is
    difference: float = 99.0  # median over textured blocks of the mean |difference|, in grey levels
    toned: bool = False  # the tones had to be changed
    drawn: bool = False  # the source has clean ground around its lines, and the target has not
    unfiltered: bool = False  # sharpening, or the like, had to be undone

    @property
    def rounded(self) -> bool:
        """The target may be a JPEG of the source's pixels."""
        return not self.unfiltered and 0.18 <= self.off <= 0.42 and self.beyond <= (0.04 if self.toned else 0.08)

    @property
    def carried(self) -> bool:
        """The source's pixels lie on the target's multiples."""
        return self.unfiltered or (self.off < 0.17 and self.beyond < 0.05)

    @property
    def badness(self) -> float:
        """0: exactly what rounding makes. Steps near the noise put ``off`` above 0.3, hardly anything below 0.22."""
        drift = float(np.log(max(self.off, 1e-3) / 0.3))
        return (0.6 * drift if drift > 0 else -1.3 * drift) + 12 * self.beyond


def fit(source: Laid, target: Laid) -> Fit:
    """Both of one shape and laid upon each other."""
    sources = blocks_of(source.pixels, target.top, target.left)
    targets = blocks_of(target.pixels, target.top, target.left)
    if len(targets) < MIN_BLOCKS:
        return Fit()
    found = _fit(sources, targets, target.steps, tone_curve(sources, targets))
    found = replace(found, drawn=_is_drawn(sources, targets))
    window = middle(source, target)
    if window is None or not _may_be_filtered(found, target):
        return found
    top, left, side = window
    seen = source.pixels[top : top + side, left : left + side].astype(np.float32)
    return _unfiltered(found, seen, target, window)


def _is_drawn(sources: Floats, targets: Floats) -> bool:
    """Whether lines and text of (n, 64) sources lie on ground of one level, where that of the targets is uneven."""
    contrast = targets.std(axis=1)
    lined = np.minimum(sources.std(axis=1), contrast) > TEXTURE_LEVELS
    if lined.sum() < MIN_BLOCKS or np.mean(contrast < GROUND_LEVELS) < GROUND_SHARE:
        return False
    share, left = (_share_of_one_level(blocks[lined]) for blocks in (sources, targets))
    return share >= DRAWN_SHARE and share - left >= LEFT_BY_JPEG


def _share_of_one_level(blocks: Floats) -> float:
    """The share of the pixels of (n, 64) blocks that have the most frequent level of their block: the median of all."""
    ordered = np.sort(blocks, axis=1)
    run = np.ones(len(blocks), np.int64)
    longest = run.copy()
    for place in range(1, blocks.shape[1]):
        run = np.where(ordered[:, place] == ordered[:, place - 1], run + 1, 1)
        np.maximum(longest, run, out=longest)
    return float(np.median(longest) / blocks.shape[1])


def fit_scaled(source: Laid, target: Laid) -> Fit:
    """The middle of ``source`` brought to the size of ``target``, by the way of resizing that explains it best."""
    window = middle(source, target)
    if window is None:
        return Fit()
    targets = blocks_of(_cut(target, window), 0, 0)
    ways = [blocks_of(resized(source, target, window, kernel), 0, 0) for kernel in KERNELS]
    curve = tone_curve(ways[0], targets)
    found = min((_fit(way, targets, target.steps, curve) for way in ways), key=lambda f: (f.beyond, f.difference))
    if source.pixels.size < target.pixels.size or not _may_be_filtered(found, target):
        return found
    return _unfiltered(found, resized(source, target, window, "bicubic"), target, window)


def _may_be_filtered(found: Fit, target: Laid) -> bool:
    """Whether it is worth looking for a filter."""
    return target.steps is not None and not found.carried and not found.drawn


def _unfiltered(found: Fit, seen: Floats, target: Laid, window: tuple[int, int, int]) -> Fit:
    """A fit, or what it becomes once a filter of what the source shows in a window is undone."""
    wanted = _cut(target, window)
    sources, targets = blocks_of(filtered(seen, wanted.astype(np.float32)), 0, 0), blocks_of(wanted, 0, 0)
    without = _fit(sources, targets, target.steps, None)
    carried = without.off < UNFILTERED_OFF and without.beyond < UNFILTERED_BEYOND
    return replace(found, unfiltered=carried and without.values >= UNFILTERED_VALUES)


def has_detail(pixels: Luma) -> bool:
    """Does detail reach the pixel grid in enough places? Of a smooth picture any size explains any other."""
    side = min(2 * WINDOW_PX, *pixels.shape)
    top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
    energy = _fine_energy(pixels[top : top + side, left : left + side])
    return bool(np.sum(energy > 4 * ROUNDING_ENERGY) >= max(MIN_BLOCKS, DETAILED_SHARE * len(energy)))


def detail_ratio(first: Laid, second: Laid) -> float:
    """How many times the energy of the second picture's fine detail the first one's has, at the smaller one's size.

    1.0 if there is too little of it. ``detail_ratio(a, b) == 1 / detail_ratio(b, a)`` but for rounding. Copies made
    smaller have up to 1.5 times the energy of their originals, sharpened ones up to 4; what was made small, then large
    again has lost it: a tenth is left.
    """
    smaller, larger = sorted((first, second), key=lambda laid: (laid.pixels.size, laid.pixels.shape))
    window = middle(larger, smaller)
    if window is None:
        return 1.0
    small = _fine_energy(_cut(smaller, window))
    large = _fine_energy(resized(larger, smaller, window, "bicubic"))
    detailed = small + large > 4 * ROUNDING_ENERGY
    if detailed.mean() < DETAILED_SHARE:  # a caption on a soft picture is no finer picture
        return 1.0
    ratio = np.log((small[detailed] + ROUNDING_ENERGY) / (large[detailed] + ROUNDING_ENERGY))
    median = float(np.median(ratio))
    return float(np.exp(median if smaller is first else -median))


def middle(source: Laid, target: Laid) -> tuple[int, int, int] | None:
    """(top, left, side) of a square on the target's grid, or None; smaller for a large source."""
    (height, width), larger = target.pixels.shape, max(1.0, source.pixels.shape[0] / target.pixels.shape[0])
    most = max(MIN_WINDOW_PX, min(WINDOW_PX, int(2 * WINDOW_PX / larger)))
    side = min(most, height - target.top, width - target.left) // 8 * 8
    if side < 64:
        return None
    top = target.top + (height - target.top - side) // 2 // 8 * 8
    left = target.left + (width - target.left - side) // 2 // 8 * 8
    return top, left, side


def _cut(target: Laid, window: tuple[int, int, int]) -> Luma:
    top, left, side = window
    return target.pixels[top : top + side, left : left + side]


def resized(source: Laid, target: Laid, window: tuple[int, int, int], kernel: str) -> Floats:
    """The window of the target, as the source shows it in the target's size."""
    top, left, side = window
    return resampled(source.pixels, target.pixels.shape, (top, left), side, kernel)


def _fine_energy(pixels: Luma | Floats) -> Floats:
    """(n,) for each block the mean square of the finer half of its coefficients."""
    energy: Floats = np.mean(coefficients(blocks_of(pixels, 0, 0))[:, _FINE] ** 2, axis=1)
    return energy


def _fit(sources: Floats, targets: Floats, steps: Floats | None, curve: Floats | None) -> Fit:
    """``sources``, ``targets``: (n, 64) pixels of the same places."""
    sources = toned(sources, curve)
    differences = np.abs(sources - targets).mean(axis=1)
    textured = targets.std(axis=1) > TEXTURE_LEVELS
    counted = differences[textured] if textured.sum() >= MIN_BLOCKS else differences
    difference = float(np.median(counted))
    if steps is None:
        return Fit(difference=difference, toned=curve is not None)
    low = np.minimum(sources.min(axis=1), targets.min(axis=1))
    high = np.maximum(sources.max(axis=1), targets.max(axis=1))
    alike = differences <= 3 * np.median(differences) + 1  # not under a caption
    whole = alike & (low > 3) & (high < 252)  # clipping moves coefficients
    used = whole if whole.sum() >= MIN_BLOCKS else alike
    off, beyond, values = _distances(sources[used], targets[used], steps.ravel())
    return Fit(off, beyond, values, difference, curve is not None)


def _distances(sources: Floats, targets: Floats, steps: Floats) -> tuple[float, float, int]:
    """Mean distance from the target's multiples in steps, share beyond half a step, number of coefficients.

    Of those that are not 0 in the target, with coarse steps if there are enough: in them rounding of pixels is small.
    """
    multiples = np.rint(coefficients(targets - 128) / steps)  # (n, 64)
    multiples[:, 0] = 0  # the mean of a block follows the tone
    away = np.abs(coefficients(sources - 128) / steps - multiples)
    for least, needed in ((4, 200), (3, 200), (2, 60)):
        used = (multiples != 0) & (steps >= least)
        count = int(used.sum())
        if count >= needed:
            values = away[used]
            limit = 0.55 + 0.6 / np.broadcast_to(steps, away.shape)[used]
            return float(np.minimum(values, 2).mean()), float((values > limit).mean()), count
    return 9.0, 1.0, 0
