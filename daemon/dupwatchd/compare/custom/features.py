"""Finds pictures whose features are near each other, exactly, and without looking at all of them.

Features are vectors. They are searched as our own measures are (`tree.matcher`): trees over sixteen numbers a vector
give candidates (`tree.vector_candidates`, which proves that nothing is missed); these are measured on the features
themselves, made again from the thumbnails. A known picture takes about 200 bytes for each orientation.
"""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from dupwatchd.arrays import Matches, Thumbnails
from dupwatchd.compare.custom.kinds import FeatureMeasure
from dupwatchd.compare.custom.measure import Values
from dupwatchd.compare.measures.exact import ReadThumbnails
from dupwatchd.compare.measures.turns import TURNS, turned
from dupwatchd.compare.tree.candidates import Described
from dupwatchd.compare.tree.matcher import TreeMatcher
from dupwatchd.compare.tree.vector_candidates import Projection, VectorCandidates
from dupwatchd.model import PictureId

_FEATURE_BYTES = 16 << 20  # of float64, while the sixteen numbers are made
_FITTED_TO = 128  # pictures, each in another orientation; more make the directions hardly better
_FITTED_ENOUGH = 1024  # once chosen from so many pictures, the directions stay


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
        self._projection = Projection(features[places, places % len(self._orientations)])
        self._fitted_from = fitted_from
        distance = self._projection.scale * float(np.sqrt(self._keep))
        self._matcher = TreeMatcher(
            partial(VectorCandidates, len(self._orientations), distance, self._measure.rounding),
            partial(self._measure.matches, self._keep),
            self._read_thumbnails,
            mirrored=len(self._orientations) > TURNS,
        )

    def _described(self, thumbnails: Thumbnails) -> Described:
        """The sixteen numbers in all orientations, and the reach: (N, orientations · 16 + 1) float32."""
        if not self._fitted_from:
            self._fit(thumbnails, len(thumbnails))
        parts = [thumbnails[start : start + self._at_once] for start in range(0, len(thumbnails), self._at_once)]
        return np.concatenate([self._projection.described(self._features(part)) for part in parts])

    def _features(self, thumbnails: Thumbnails) -> Values:
        """(N, 4 or 8 orientations, D); the first is the picture as it lies."""
        return np.stack([self._measure.prepared(turned(thumbnails, *one)) for one in self._orientations], axis=1)
