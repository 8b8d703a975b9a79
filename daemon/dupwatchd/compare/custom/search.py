"""Finds every match of new pictures by the user's own measure, among the known ones and among themselves.

`load_custom` makes the measure from its name in the settings. How it is searched depends on its kind: features in trees
(`own_features`), hashes in a dictionary (`own_hashes`); a distance function is called for every pair (`own_distances`).
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from dupwatchd.arrays import Thumbnails
from dupwatchd.compare.custom.distances import DistanceSearch
from dupwatchd.compare.custom.hashes import HashSearch
from dupwatchd.compare.custom.measure import (
    CustomMatches,
    CustomMeasure,
    DistanceMeasure,
    FeatureMeasure,
    HashMeasure,
    load_custom,
)
from dupwatchd.compare.dense.device import Device
from dupwatchd.compare.measures.exact import ReadThumbnails, measure_pairs

__all__ = ["CustomMatches", "CustomMeasure", "CustomSearch", "custom_best", "load_custom"]

_READ_AT_ONCE = 2048


class _Search(Protocol):
    def add(self, ids: Sequence[int], thumbnails: Thumbnails) -> None: ...
    def remove(self, ids: Sequence[int]) -> CustomMatches: ...
    def match(self, ids: Sequence[int], thumbnails: Thumbnails) -> Iterator[CustomMatches]: ...


class CustomSearch:
    """All known pictures, as far as the user's own measure needs them; used by one thread.

    Whatever the function does wrong is a UsageError.
    """

    def __init__(
        self, custom: CustomMeasure, keep: float, mirrored: bool, read_thumbnails: ReadThumbnails, device: Device
    ) -> None:
        self._search = _search_for(custom, keep, mirrored, read_thumbnails, device)

    def add(self, ids: Sequence[int], thumbnails: Thumbnails) -> None:
        """Make pictures known, from their thumbnails (N, S, S, 3)."""
        self._search.add(ids, thumbnails)

    def remove(self, ids: Sequence[int]) -> CustomMatches:
        """Forget pictures; gives matches that must be added, in place of what was linked through them.

        There are such only of hashes: of n equal ones about n matches are given, not all n²/2.
        """
        return self._search.remove(ids)

    def match(self, ids: Sequence[int], thumbnails: Thumbnails) -> Iterator[CustomMatches]:
        """The matches of pictures with the known ones and with each other, each once, some at a time; adds nothing.

        Some of them may be known already. Nothing may be added or removed before the last match was taken.
        """
        return self._search.match(ids, thumbnails)


def _search_for(
    custom: CustomMeasure, keep: float, mirrored: bool, read_thumbnails: ReadThumbnails, device: Device
) -> _Search:
    if isinstance(custom, FeatureMeasure):
        from dupwatchd.compare.custom.features import FeatureSearch  # numba takes 0.3 s to load

        return FeatureSearch(custom, keep, mirrored, read_thumbnails)
    if isinstance(custom, HashMeasure):
        return HashSearch(custom, mirrored)
    assert isinstance(custom, DistanceMeasure)
    return DistanceSearch(custom, keep, mirrored, read_thumbnails, device)


def custom_best(
    custom: CustomMeasure, read_thumbnails: ReadThumbnails, pairs: list[tuple[int, int]], *, mirrored: bool
) -> list[tuple[float, float, int, bool, float]]:
    """As `measures.measure_best`, in the orientation that makes the own value smallest, which comes last."""
    found: list[tuple[float, float, int, bool, float]] = []
    for start in range(0, len(pairs), _READ_AT_ONCE):
        some = pairs[start : start + _READ_AT_ONCE]
        first, second = read_thumbnails([a for a, _ in some]), read_thumbnails([b for _, b in some])
        values, turn = custom.best(first, second, mirrored=False)
        flipped, turn_flipped = custom.best(first, second, mirrored=True) if mirrored else (values, turn)
        better = flipped < values
        upright = measure_pairs(first, second, mirrored=False)
        of_flipped = measure_pairs(first, second, mirrored=True) if mirrored else upright
        found += zip(
            np.minimum(upright.mse, of_flipped.mse).tolist(),
            np.minimum(upright.structure, of_flipped.structure).tolist(),
            np.where(better, turn_flipped, turn).tolist(),
            better.tolist(),
            np.minimum(values, flipped).tolist(),
            strict=True,
        )
    return found
