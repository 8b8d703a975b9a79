"""The user's own measure, made from a function named in the settings.

| kind | the function takes | and gives | the value of two pictures |
|---|---|---|---|
| features | thumbnails (N, S, S, 3) uint8 | (N, D) numbers | squared Euclidean distance |
| hash | thumbnails (N, S, S, 3) uint8 | N whole numbers, str or bytes | 0 if equal, else infinite |
| distance | two stacks (M, S, S, 3) uint8 | (M,) numbers from 0 | that number |

The function need not know of turns: the value of a and b is the smallest, over the turns k, of f(a) with
f(turned_k(b)), where a is the one whose thumbnail's bytes compare smaller; so it does not matter which came first.
Hashes are equal if any turn of one has the hash of any turn of the other. With ``mirrored``, b is mirrored first.
"""

from abc import ABC, abstractmethod
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dupwatchd.arrays import Thumbnails
from dupwatchd.compare.custom.function import Hash, UserFunction, as_array, rounding_of
from dupwatchd.compare.dense.device import Device
from dupwatchd.compare.measures import exact

TURNS = 4
_BYTES_AT_ONCE = 3 << 20  # of thumbnails in a call: 1,024 at 32 px

Values = NDArray[np.float64]


class CustomMatches(NamedTuple):
    """M pairs of pictures whose value is within what is kept, as `arrays.Matches` has them."""

    a: NDArray[np.int64]  # (M,) picture ids, a < b
    b: NDArray[np.int64]
    mirrored: NDArray[np.bool_]
    value: Values

    @classmethod
    def none(cls) -> "CustomMatches":
        """No matches."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, bool), np.empty(0))

    @classmethod
    def of(cls, first: NDArray[np.int64], second: NDArray[np.int64], mirrored: Any, value: Any) -> "CustomMatches":
        """Of pairs of ids in any order; ``mirrored`` and ``value`` are one for all or one for each."""
        a, b = np.minimum(first, second), np.maximum(first, second)
        return cls(a, b, np.broadcast_to(np.asarray(mirrored, bool), a.shape), np.broadcast_to(value, a.shape))


class CustomMeasure(ABC):
    """A function that was tried on a sample and kept what its kind promises; `load_custom` makes it."""

    def __init__(self, function: UserFunction) -> None:
        self._function = function

    def values(self, first: Thumbnails, second: Thumbnails, *, mirrored: bool) -> Values:
        """The values (M,) of pairs of thumbnails (M, S, S, 3), the second of each being mirrored first if so."""
        return self.best(first, second, mirrored=mirrored)[0]

    def best(self, first: Thumbnails, second: Thumbnails, *, mirrored: bool) -> tuple[Values, NDArray[np.int64]]:
        """`values`, and by how many degrees (M,) the second must then be turned clockwise to show the first."""
        parts = [self._best(first[some], second[some], mirrored) for some in parts_of(first)]
        values, quarters = zip(*parts, strict=True) if parts else ((np.empty(0),), (np.empty(0, np.int64),))
        return np.concatenate(values), np.concatenate(quarters) % TURNS * 90

    @abstractmethod
    def _best(self, first: Thumbnails, second: Thumbnails, mirrored: bool) -> tuple[Values, NDArray[np.int64]]:
        """The values of a few pairs, and the turns in quarters, of any sign."""


class _SmallestMeasure(CustomMeasure):
    """One whose value is the smallest over the turns of the larger of two thumbnails."""

    def _best(self, first: Thumbnails, second: Thumbnails, mirrored: bool) -> tuple[Values, NDArray[np.int64]]:
        swapped = second_is_smaller(first, second)
        smaller, larger = first.copy(), second.copy()
        smaller[swapped], larger[swapped] = second[swapped], first[swapped]
        values = self._of_turns(smaller, [turned(larger, turn, mirrored) for turn in range(TURNS)])  # (4, M)
        quarters = values.argmin(axis=0)
        # a = turned_k(b) is b = turned_-k(a), but a = turned_k(mirror(b)) is b = turned_k(mirror(a))
        return values.min(axis=0), quarters if mirrored else np.where(swapped, -quarters, quarters)

    @abstractmethod
    def _of_turns(self, first: Thumbnails, turns: list[Thumbnails]) -> Values:
        """The values of thumbnails (M, S, S, 3) with each of four others: (4, M)."""


class FeatureMeasure(_SmallestMeasure):
    """Vectors, compared by their squared distance."""

    def __init__(self, function: UserFunction, numbers: int, rounding: float) -> None:
        super().__init__(function)
        self.numbers = numbers  # D
        self.rounding = rounding  # by what share of its length a vector may change from call to call

    @classmethod
    def tried(cls, function: UserFunction, sample: Thumbnails, result: Any) -> "FeatureMeasure":
        """From what the function gave for the sample."""
        features = function.numbers(result, f"({len(sample)}, D) numbers", len(sample), None)
        measure = cls(function, features.shape[1], rounding_of(result))
        length = np.sqrt((features * features).sum(axis=1))
        alone = np.concatenate([measure.features(one[None]) for one in sample])
        for other, when in ((measure.features(sample), "called again"), (alone, "called with one thumbnail, not many")):
            apart = np.sqrt(squared_distances(features, other))
            worst = int((apart - measure.rounding * length).argmax())
            if apart[worst] > measure.rounding * length[worst]:
                raise function.wrong(
                    f"gives other features when {when}: {apart[worst]:.3g} apart, at a length of {length[worst]:.3g}"
                )
        return measure

    def features(self, thumbnails: Thumbnails) -> Values:
        """The vectors (N, D) of thumbnails (N, S, S, 3)."""
        found = np.empty((len(thumbnails), self.numbers))
        for some in parts_of(thumbnails):
            count = len(thumbnails[some])
            result = self._function(thumbnails[some])
            found[some] = self._function.numbers(
                result, f"({count}, {self.numbers}) numbers as before", count, self.numbers
            )
        return found

    def _of_turns(self, first: Thumbnails, turns: list[Thumbnails]) -> Values:
        features = self.features(first)
        return np.stack([squared_distances(features, self.features(turn)) for turn in turns])


class DistanceMeasure(_SmallestMeasure):
    """Numbers from 0, for pairs."""

    def __init__(self, function: UserFunction, rounding: float = 0.0, device: Device | None = None) -> None:
        super().__init__(function)
        self._rounding = rounding  # what is below 0 by no more is 0
        self._device = device

    @classmethod
    def tried(cls, function: UserFunction, sample: Thumbnails) -> "DistanceMeasure":
        """Tries it on pairs of the sample."""
        count = len(sample)
        others = np.concatenate([np.roll(sample, shift, axis=0) for shift in (1, 2, 3)])
        pairs = np.concatenate([sample] * 3), others
        result = function(*pairs)
        numbers = function.numbers(result, f"({3 * count},) numbers", 3 * count)
        measure = cls(function, rounding_of(result) * float(np.abs(numbers).max()))
        distances = measure.distances(*pairs)
        alone = np.concatenate([measure.distances(sample[i : i + 1], others[i : i + 1]) for i in range(count)])
        same = measure.distances(sample, sample)
        for other, one_is, other_is in (
            (measure.distances(*pairs), "for two thumbnails", "when called again"),
            (alone, "among other pairs", "alone"),
            (measure.distances(pairs[1], pairs[0]), "for two thumbnails", "the other way round"),
        ):
            apart = np.abs(distances[: len(other)] - other)
            if apart.max() > measure._rounding:
                worst = int(apart.argmax())
                raise function.wrong(f"gives {distances[worst]:.9g} {one_is} and {other[worst]:.9g} {other_is}")
        if same.max() > measure._rounding:
            raise function.wrong(f"gives {same.max():.9g} for a thumbnail and itself, not 0")
        return measure

    def on(self, device: Device) -> "DistanceMeasure":
        """The same, with a function that is called for the device if it says that it wants to be."""
        return DistanceMeasure(self._function, self._rounding, device)

    def distances(self, first: Thumbnails, second: Thumbnails) -> Values:
        """What the function gives for pairs of thumbnails (M, S, S, 3): (M,)."""
        result = self._function(first, second, device=self._device)
        numbers = self._function.numbers(result, f"({len(first)},) numbers", len(first))
        if numbers.min(initial=0) < -self._rounding:
            raise self._function.wrong(f"gives {numbers.min():.9g}, not numbers from 0")
        return np.maximum(numbers, 0.0)

    def _of_turns(self, first: Thumbnails, turns: list[Thumbnails]) -> Values:
        return np.stack([self.distances(first, turn) for turn in turns])


class HashMeasure(CustomMeasure):
    """Values that are equal or not."""

    @classmethod
    def tried(cls, function: UserFunction, sample: Thumbnails) -> "HashMeasure":
        """Tries it on the sample."""
        measure = cls(function)
        hashes = measure.hashes(sample)
        alone = [measure.hashes(one[None])[0] for one in sample]
        for other, when in ((measure.hashes(sample), "called again"), (alone, "called with one thumbnail, not many")):
            for one, another in zip(hashes, other, strict=True):
                if one != another:
                    raise function.wrong(f"gives another hash when {when}: {one!r:.40} and {another!r:.40}")
        return measure

    def hashes(self, thumbnails: Thumbnails) -> list[Hash]:
        """The hashes of thumbnails (N, S, S, 3)."""
        found: list[Hash] = []
        for some in parts_of(thumbnails):
            count = len(thumbnails[some])
            result = self._function(thumbnails[some])
            found += self._function.hashes(result, f"{count} whole numbers, str or bytes", count)
        return found

    def _best(self, first: Thumbnails, second: Thumbnails, mirrored: bool) -> tuple[Values, NDArray[np.int64]]:
        values, quarters = np.full(len(first), np.inf), np.zeros(len(first), np.int64)
        of_first, of_second = self.hashes_of_turns(first, False), self.hashes_of_turns(second, mirrored)
        ways = [(of_first, of_second, 1)]
        if mirrored:
            ways.append((self.hashes_of_turns(first, True), self.hashes_of_turns(second, False), -1))
        for pair in range(len(first)):
            # turned_k(a) = turned_l(b), b mirrored or not, is a = turned_l-k(b); if a was mirrored, it is turned_k-l
            found = [
                sign * (other - turn) % TURNS
                for some, others, sign in ways
                for turn in range(TURNS)
                for other in range(TURNS)
                if some[turn][pair] == others[other][pair]
            ]
            if found:
                values[pair], quarters[pair] = 0.0, min(found)
        return values, quarters

    def hashes_of_turns(self, thumbnails: Thumbnails, mirrored: bool) -> list[list[Hash]]:
        """The hashes of each of the four turns."""
        return [self.hashes(turned(thumbnails, turn, mirrored)) for turn in range(TURNS)]


def load_custom(spec: str, thumbnail_px: int) -> CustomMeasure:
    """The measure that ``package.module:name`` is, for thumbnails of this side; tried on a few pictures.

    Raises UsageError with one line that says what was expected of the function, and what came.
    """
    function, sample = UserFunction(spec), _sample(thumbnail_px)
    if function.takes(1):
        result = function(sample)
        if as_array(result).ndim == 2:
            return FeatureMeasure.tried(function, sample, result)
        count = len(sample)
        function.hashes(result, f"({count}, D) numbers, nor {count} whole numbers, str or bytes", count)
        return HashMeasure.tried(function, sample)
    if function.takes(2):
        return DistanceMeasure.tried(function, sample)
    raise function.wrong("takes neither one stack of thumbnails nor two")


def turned(thumbnails: Thumbnails, quarters: int, mirrored: bool) -> Thumbnails:
    """Thumbnails (N, S, S, 3), mirrored left to right if so, then turned clockwise by so many quarters."""
    if not quarters and not mirrored:
        return thumbnails
    count, side = thumbnails.shape[:2]
    # twice as fast as a copy of the turned view
    return (
        thumbnails.reshape(count, side * side * 3)
        .take(_places(side, quarters, mirrored), axis=1)
        .reshape(thumbnails.shape)
    )


@lru_cache
def _places(side: int, quarters: int, mirrored: bool) -> NDArray[np.intp]:
    cells = exact.orientation(side, quarters * 90, mirrored)  # (S·S,)
    return (cells[:, None] * 3 + np.arange(3)).ravel()


def second_is_smaller(first: Thumbnails, second: Thumbnails) -> NDArray[np.bool_]:
    """Of which pairs the bytes of the second thumbnail compare smaller: (M,)."""
    a, b = first.reshape(len(first), -1), second.reshape(len(second), -1)
    rows, place = np.arange(len(a)), (a != b).argmax(axis=1)
    return np.asarray(b[rows, place] < a[rows, place])


def squared_distances(first: Values, second: Values) -> Values:
    """Of the rows of two arrays (..., D): (...)."""
    difference = first - second
    return np.asarray((difference * difference).sum(axis=-1))


def parts_of(thumbnails: Thumbnails) -> list[slice]:
    """As many at a time as a function is called with."""
    size = max(1, _BYTES_AT_ONCE // max(1, thumbnails[:1].nbytes))
    return [slice(start, start + size) for start in range(0, len(thumbnails), size)]


def _sample(side_px: int) -> Thumbnails:
    """Twelve pictures of blocks and noise, two of noise alone, four of one colour: (18, S, S, 3), always the same."""
    random = np.random.default_rng(20)
    blocks = random.integers(0, 256, (14, 4, 4, 3)).repeat(side_px // 4, axis=1).repeat(side_px // 4, axis=2)
    blocks[12:] = 128
    strength = np.array([0, 1, 4, 10] * 3 + [40, 120])[:, None, None, None]
    pictures = np.clip(blocks + strength * random.normal(size=blocks.shape), 0, 255).astype(np.uint8)
    colours = np.array([[0, 0, 0], [255, 255, 255], [128, 128, 128], [200, 30, 60]], np.uint8)[:, None, None]
    return np.concatenate([pictures, np.broadcast_to(colours, (4, side_px, side_px, 3))])
