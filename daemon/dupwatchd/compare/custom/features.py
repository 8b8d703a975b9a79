"""Finds pictures whose features are near each other, exactly, and without looking at all of them.

Features are vectors of any length and scale. Sixteen numbers stand for each: its coefficients in the 15 directions in
which the features of a few pictures vary most, after their mean was subtracted, and the length of the rest. The search
is that of our own measures (`tree`): what the sixteen numbers rule out is ruled out for certain, and the candidates are
measured on the features themselves, which are made again from the thumbnails.

Why nothing is missed. Distances are the same in any orthonormal basis. Leaving coefficients out shortens them, two
lengths differ by no more than the vectors do, and limiting numbers to a range brings no two of them farther apart. So
the squared distance of the sixteen is at most the value, apart from rounding. Let u = 2**-24, s the scale, m the mean,
and r = s·(|f| + |m|) the reach of a picture with features f.

- From call to call a function may give features that differ by a share δ of their length (`rounding`): by δ·r.
- Taking the sixteen in float64 errs by less than u·r up to a million numbers, keeping them in float32 by u·r.
- The tree sums sixteen squares in float32, which errs by a share of less than 20·u.

A pair within ``keep`` is therefore no farther apart, as the tree calculates it, than

    (s·sqrt(keep) + (1.01·δ + 2·u)·(r + r') + 2**-40)² · (1 + 2**-18)

with the largest reach of the pictures searched and of those asked for; 2**-40 is for numbers too small for float32.

The value of two pictures takes the features of one of them as it lies and those of the other in all orientations
(`measure`). Known pictures are therefore kept in all orientations, at about 200 bytes each.
"""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from dupwatchd.arrays import Matches, Thumbnails
from dupwatchd.compare.custom.kinds import FeatureMeasure
from dupwatchd.compare.custom.measure import TURNS, Values, turned
from dupwatchd.compare.measures.exact import ReadThumbnails
from dupwatchd.compare.tree.boxtree import NUMBERS, BoxTree
from dupwatchd.compare.tree.candidates import Candidates, Described, Pairs
from dupwatchd.compare.tree.matcher import TreeMatcher
from dupwatchd.model import PictureId

_FEATURE_BYTES = 16 << 20  # of float64, while the sixteen numbers are made
_FITTED_TO = 128  # pictures, each in another orientation; more make the directions hardly better
_FITTED_ENOUGH = 1024  # once chosen from so many pictures, the directions stay
_LIMIT = 2.0**20  # of the sixteen numbers; unused places of the tree lie at 1e9
_FARTHEST = 2.0**25  # more than two points within the limit can be apart, less than an unused place is from them
_LARGEST_REACH = 1e30  # larger ones rule nothing out, either
_SMALLEST_LENGTH = 1e-40  # so that the squares of the scale and of the largest number allowed, 1e100, fit into float64


class FeatureSearch:
    """All known pictures, in trees; used by one thread."""

    def __init__(self, measure: FeatureMeasure, keep: float, mirrored: bool, read_thumbnails: ReadThumbnails) -> None:
        self._measure = measure
        self._keep = keep
        self._orientations = [
            (turn, flip) for flip in ((False, True) if mirrored else (False,)) for turn in range(TURNS)
        ]
        self._read_thumbnails = read_thumbnails
        self._at_once = max(1, _FEATURE_BYTES // (8 * measure.numbers * len(self._orientations)))  # pictures
        self._fitted_from = 0  # how many pictures were known when the directions were chosen
        self._latest: tuple[list[PictureId], Described] | None = None  # of the last `match`: often added next

    def add(self, ids: Sequence[PictureId], thumbnails: Thumbnails) -> None:
        """Make pictures known, from their thumbnails (N, S, S, 3)."""
        if not len(ids):
            return
        latest, self._latest = self._latest, None
        described = latest[1] if latest and latest[0] == list(ids) else self._described(thumbnails)
        self._matcher.add(ids, described)
        if self._fitted_from < _FITTED_ENOUGH and len(self._matcher) >= 2 * self._fitted_from:
            # the directions were chosen when few pictures were known, perhaps only one
            known = [PictureId(one) for one in self._matcher.known().tolist()]
            self._fit(self._read_thumbnails(list(known[:: -(-len(known) // _FITTED_TO)])), len(known))
            self._matcher.add(known, self._described(self._read_thumbnails(list(known))))

    def remove(self, ids: Sequence[PictureId]) -> None:
        """Make pictures unknown; ids that are not known are ignored."""
        if self._fitted_from:
            self._matcher.remove(ids)

    def match(self, ids: Sequence[PictureId], thumbnails: Thumbnails) -> Iterator[Matches]:
        """All matches of pictures that are not known with the known ones and with each other, each once."""
        if len(ids):
            self._latest = list(ids), self._described(thumbnails)
            yield from self._matcher.match(ids, thumbnails, self._latest[1])

    def _fit(self, thumbnails: Thumbnails, fitted_from: int) -> None:
        """Choose directions by some pictures (N, S, S, 3), and forget all that is known."""
        features = self._features(thumbnails[:: -(-len(thumbnails) // _FITTED_TO)])
        places = np.arange(len(features))
        self._space = _Space(features[places, places % len(self._orientations)])
        self._fitted_from = fitted_from
        distance = self._space.scale * float(np.sqrt(self._keep))
        self._matcher = TreeMatcher(
            partial(_FeatureCandidates, len(self._orientations), distance, self._measure.rounding),
            partial(self._measure.matches, self._keep),
            self._read_thumbnails,
            mirrored=len(self._orientations) > TURNS,
        )

    def _described(self, thumbnails: Thumbnails) -> Described:
        """The sixteen numbers in all orientations, and the reach: (N, orientations · 16 + 1) float32."""
        if not self._fitted_from:
            self._fit(thumbnails, len(thumbnails))
        parts = [thumbnails[start : start + self._at_once] for start in range(0, len(thumbnails), self._at_once)]
        return np.concatenate([self._space.described(self._features(part)) for part in parts])

    def _features(self, thumbnails: Thumbnails) -> Values:
        """(N, 4 or 8 orientations, D); the first is the picture as it lies."""
        return np.stack([self._measure.prepared(turned(thumbnails, *one)) for one in self._orientations], axis=1)


class _FeatureCandidates(Candidates):
    """Two trees for each segment: of the pictures as they lie, and of all their other orientations."""

    def __init__(self, orientations: int, distance: float, rounding: float) -> None:
        """``distance`` is the largest distance in the scale of the sixteen numbers."""
        super().__init__(orientations * NUMBERS + 1, tail=0)
        self._distance, self._rounding = distance, rounding

    def _kept(self, described: Described) -> Described:
        return described

    def _trees(self, known: Described) -> tuple[BoxTree, ...]:
        return BoxTree(known[:, :NUMBERS].copy()), BoxTree(known[:, NUMBERS:-1].reshape(-1, NUMBERS))

    def _found(self, described: Described, threads: int) -> Iterator[Pairs]:
        lying, every = described[:, :NUMBERS], described[:, :-1].reshape(-1, NUMBERS)
        orientations = len(every) // len(described)
        for segment in self._segments:
            as_they_lie, turned = segment.trees
            reach = float(segment.largest[-1]) + float(described[:, -1].max())
            slack = (1.01 * self._rounding + 2.0**-23) * reach + 2.0**-40
            bound = min(self._distance + slack, _FARTHEST) ** 2 * (1 + 2.0**-18)
            # the one whose features are taken as it lies may be either: the known one ...
            for queries, places in as_they_lie.within(every, bound, threads):
                yield queries // orientations, places + segment.start
            # ... or the new one
            for queries, places in turned.within(lying, bound, threads):
                yield queries, places // (orientations - 1) + segment.start


class _Space:
    """Directions, a middle and a scale, in which features become sixteen numbers."""

    def __init__(self, features: Values) -> None:
        """From those of a few pictures (N, D)."""
        self._middle = features.mean(axis=0)
        centred = features - self._middle
        self.scale = 1 / max(float(_lengths(centred).max()), _SMALLEST_LENGTH)
        _, _, directions = np.linalg.svd(centred * self.scale, full_matrices=False)
        self._directions = directions[: NUMBERS - 1].T  # (D, 15 or less)

    def described(self, features: Values) -> Described:
        """The sixteen numbers of features (N, orientations, D), and the reach: (N, orientations · 16 + 1) float32."""
        vectors = (features - self._middle) * self.scale
        coefficients = vectors @ self._directions
        rest = vectors - coefficients @ self._directions.T
        numbers = np.zeros((*features.shape[:2], NUMBERS), np.float32)
        numbers[..., : coefficients.shape[-1]] = np.clip(coefficients, -_LIMIT, _LIMIT)
        numbers[..., -1] = np.minimum(_lengths(rest), _LIMIT)
        reaches = (_lengths(features).max(axis=1) + _lengths(self._middle)) * self.scale
        rounded_up = np.nextafter(np.minimum(reaches, _LARGEST_REACH).astype(np.float32), np.float32(np.inf))
        return np.concatenate([numbers.reshape(len(features), -1), rounded_up[:, None]], axis=1)


def _lengths(vectors: Values) -> NDArray[np.float64]:
    return np.asarray(np.sqrt((vectors * vectors).sum(axis=-1)))
