"""The three kinds of measures, and how a function is tried before it is used.

`load_custom` calls the function with a sample of thumbnails. What it takes and gives decides the kind; whether it
keeps what the kind promises is seen from calling it again, with one thumbnail alone, and the other way round.
"""

from typing import Any

import numpy as np

from dupwatchd.arrays import Thumbnails
from dupwatchd.compare.custom.function import Hash, UserFunction, as_array, rounding_of
from dupwatchd.compare.custom.measure import Best, PairMeasure, Values, parts
from dupwatchd.compare.dense.device import Device
from dupwatchd.compare.measures import exact
from dupwatchd.compare.measures.matches import Places
from dupwatchd.compare.measures.turns import TURNS, turned


class FeatureMeasure(PairMeasure):
    """Vectors (N, D), compared by their squared distance."""

    def __init__(self, function: UserFunction, numbers: int, rounding: float, sample: Thumbnails) -> None:
        super().__init__(function)
        self.numbers = numbers  # D
        self.rounding = rounding  # by what share of its length a vector may change from call to call
        features = self.prepared(sample)
        alone = np.concatenate([self.prepared(one[None]) for one in sample])
        length = np.sqrt((features * features).sum(axis=1))
        for other, when in ((self.prepared(sample), "called again"), (alone, "called with one thumbnail, not many")):
            apart = np.sqrt(self.compared(features, other))
            worst = int((apart - rounding * length).argmax())
            if apart[worst] > rounding * length[worst]:
                raise function.wrong(
                    f"gives other features when {when}: {apart[worst]:.3g} apart, at a length of {length[worst]:.3g}"
                )

    def prepared(self, thumbnails: Thumbnails) -> Values:
        """The vectors (N, D) float64 of thumbnails (N, S, S, 3)."""
        found = np.empty((len(thumbnails), self.numbers))
        for part in parts(len(thumbnails), thumbnails):
            count = part.stop - part.start
            expected = f"({count}, {self.numbers}) numbers as before"
            found[part] = self._function.numbers(self._function(thumbnails[part]), expected, count, self.numbers)
        return found

    def compared(self, first: Values, second: Values) -> Values:
        """The squared distances (M,) of pairs of vectors (M, D)."""
        difference = first - second
        return np.asarray((difference * difference).sum(axis=1))


class DistanceMeasure(PairMeasure):
    """Numbers from 0, for pairs of thumbnails; called on the device if the function asks for that."""

    def __init__(self, function: UserFunction, rounding: float, sample: Thumbnails) -> None:
        super().__init__(function)
        self._rounding = rounding  # values that are below 0 by no more than this are 0
        self.device: Device | None = None
        first, second = _pairs_of(sample)
        distances = self.compared(first, second)
        alone = [self.compared(first[i : i + 1], second[i : i + 1]) for i in range(len(sample))]
        for other, one_is, other_is in (
            (self.compared(first, second), "for two thumbnails", "when called again"),
            (np.concatenate(alone), "among other pairs", "alone"),
            (self.compared(second, first), "for two thumbnails", "the other way round"),
        ):
            apart = np.abs(distances[: len(other)] - other)
            worst = int(apart.argmax())
            if apart[worst] > rounding:
                raise function.wrong(f"gives {distances[worst]:.9g} {one_is} and {other[worst]:.9g} {other_is}")
        of_same = self.compared(sample, sample).max()
        if of_same > rounding:
            raise function.wrong(f"gives {of_same:.9g} for a thumbnail and itself, not 0")

    def compared(self, first: Thumbnails, second: Thumbnails) -> Values:
        """What the function gives for pairs of thumbnails (M, S, S, 3): (M,)."""
        result = self._function(first, second, device=self.device)
        numbers = self._function.numbers(result, f"({len(first)},) numbers", len(first))
        if numbers.min(initial=0) < -self._rounding:
            raise self._function.wrong(f"gives {numbers.min():.9g}, not numbers from 0")
        return np.maximum(numbers, 0.0)


class HashMeasure:
    """Values that are equal or not."""

    def __init__(self, function: UserFunction, sample: Thumbnails) -> None:
        self._function = function
        hashes, again = self.prepared(sample), self.prepared(sample)
        alone = np.concatenate([self.prepared(one[None]) for one in sample])
        for other, when in ((again, "called again"), (alone, "called with one thumbnail, not many")):
            for one, another in zip(hashes, other, strict=True):
                if one != another:
                    raise function.wrong(f"gives another hash when {when}: {one!r:.40} and {another!r:.40}")

    def prepared(self, thumbnails: Thumbnails) -> np.ndarray[Any, np.dtype[np.object_]]:
        """The hashes (N,) of thumbnails (N, S, S, 3)."""
        found = np.empty(len(thumbnails), object)
        for part in parts(len(thumbnails), thumbnails):
            count = part.stop - part.start
            expected = f"{count} whole numbers, str or bytes"
            found[part] = self._function.hashes(self._function(thumbnails[part]), expected, count)
        return found

    def of_turns(self, thumbnails: Thumbnails, *, mirrored: bool) -> list[set[Hash]]:
        """The hashes that each of the thumbnails has in one of its turns, after mirroring if asked."""
        turns = [self.prepared(turned(thumbnails, quarters, mirrored)) for quarters in range(TURNS)]
        return [set(hashes) for hashes in zip(*turns, strict=True)]

    def best(self, first: Thumbnails, second: Thumbnails, rows: Places, columns: Places, *, mirrored: bool) -> Best:
        """As `PairMeasure.best`; equal hashes say little about the turn, so it is the one by ``structure``."""
        ways = [(self.of_turns(first, mirrored=False), self.of_turns(second, mirrored=mirrored))]
        if mirrored:
            ways.append((self.of_turns(first, mirrored=True), self.of_turns(second, mirrored=False)))
        equal = [any(one[i] & other[j] for one, other in ways) for i, j in zip(rows, columns, strict=True)]
        own = exact.measure_chosen(first, second, rows, columns, mirrored=mirrored)
        return np.where(equal, 0.0, np.inf), own.structure_turn


CustomMeasure = FeatureMeasure | DistanceMeasure | HashMeasure


def load_custom(spec: str, thumbnail_px: int) -> CustomMeasure:
    """The measure that ``package.module:name`` is, for thumbnails of this side; tried on a few pictures.

    Raises UsageError with one line that says what was expected of the function, and what came.
    """
    function, sample = UserFunction(spec), _sample(thumbnail_px)
    count = len(sample)
    if function.takes(1):
        result = function(sample)
        if as_array(result).ndim == 2:
            features = function.numbers(result, f"({count}, D) numbers", count, None)
            return FeatureMeasure(function, features.shape[1], rounding_of(result), sample)
        function.hashes(result, f"({count}, D) numbers, nor {count} whole numbers, str or bytes", count)
        return HashMeasure(function, sample)
    if function.takes(2):
        result = function(*_pairs_of(sample))
        largest = np.abs(function.numbers(result, f"({3 * count},) numbers", 3 * count)).max()
        return DistanceMeasure(function, rounding_of(result) * float(largest), sample)
    raise function.wrong("takes neither one stack of thumbnails nor two")


def _pairs_of(sample: Thumbnails) -> tuple[Thumbnails, Thumbnails]:
    """Each thumbnail with the one, two and three places before it: (3·N, S, S, 3) each."""
    return np.concatenate([sample] * 3), np.concatenate([np.roll(sample, shift, axis=0) for shift in (1, 2, 3)])


def _sample(side_px: int) -> Thumbnails:
    """Twelve pictures of blocks and noise, two of noise alone, four of one colour: (18, S, S, 3), always the same."""
    random = np.random.default_rng(20)
    blocks = random.integers(0, 256, (14, 4, 4, 3)).repeat(side_px // 4, axis=1).repeat(side_px // 4, axis=2)
    blocks[12:] = 128
    strength = np.array([0, 1, 4, 10] * 3 + [40, 120])[:, None, None, None]
    pictures = np.clip(blocks + strength * random.normal(size=blocks.shape), 0, 255).astype(np.uint8)
    colours = np.array([[0, 0, 0], [255, 255, 255], [128, 128, 128], [200, 30, 60]], np.uint8)[:, None, None]
    return np.concatenate([pictures, np.broadcast_to(colours, (4, side_px, side_px, 3))])
