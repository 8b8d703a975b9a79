"""Finds pictures whose features are near each other, exactly, and without looking at all of them.

Features are vectors of any length and scale. Sixteen numbers stand for each: its coefficients in the 15 directions in
which a few of the first pictures vary most, after their mean was taken away, and the length of all that is left. What
these rule out, in a tree (`boxtree`), is ruled out for certain; the rest is measured on the features themselves, which
are made again from the thumbnails.

Why nothing is missed. In an orthonormal basis, whichever it is, distances stay what they are; leaving coefficients out
shortens them; a length differs by no more than the vectors do; and cutting off what is beyond a limit, for the tree,
brings no two numbers farther apart. So the squared distance of the sixteen is at most the value, but for rounding. Let
u = 2**-24, s the scale, m the mean, and r = s·(|f| + |m|) the reach of a picture with features f.

- From call to call a function may give features that differ by a share δ of their length (`rounding`): by δ·r.
- Taking the sixteen in float64 errs by less than u·r up to a million numbers, keeping them in float32 by u·r.
- The tree sums sixteen squares in float32, which errs by a share of less than 20·u.

A pair within ``keep`` is therefore no farther apart, as the tree calculates it, than

    (s·sqrt(keep) + (1.01·δ + 2·u)·(r + r') + 2**-40)² · (1 + 2**-18)

with the largest reach of the pictures searched and of those asked for; 2**-40 is for numbers too small for float32.

A turned picture has features of its own: known pictures are kept in all orientations, at 170 bytes each.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dupwatchd.arrays import Thumbnails
from dupwatchd.compare.custom.measure import (
    TURNS,
    CustomMatches,
    FeatureMeasure,
    Values,
    second_is_smaller,
    squared_distances,
    turned,
)
from dupwatchd.compare.measures.exact import ReadThumbnails
from dupwatchd.compare.tree.boxtree import NUMBERS, BoxTree, Points, Rows

_FEATURE_BYTES = 48 << 20  # of float64 at once
_MOST_AT_ONCE = 1024  # pictures, or pairs
_CANDIDATES_AT_ONCE = 1 << 22  # 32 MB, unless one picture has more
_FITTED_TO = 256  # pictures whose directions are taken: more make them hardly better
_FITTED_ENOUGH = 1024  # with so many to choose from, the directions stay
_LIMIT = 2.0**20  # of the sixteen numbers; what the tree puts where nothing is lies at 1e9
_FARTHEST = 2.0**25  # more than any two within the limit are apart, and less than what is nowhere is from them
_SMALLEST_LENGTH = 1e-40  # so that a square of the scale and of the largest number allowed, 1e100, is a float64


class FeatureSearch:
    """The known pictures in trees, the latest in the smallest; used by one thread."""

    def __init__(self, measure: FeatureMeasure, keep: float, mirrored: bool, read_thumbnails: ReadThumbnails) -> None:
        self._measure = measure
        self._keep = keep
        self._flips = (False, True) if mirrored else (False,)
        self._read_thumbnails = read_thumbnails
        self._space: _Space | None = None
        self._fitted_from = 0
        self._segments: list[_Segment] = []
        self._latest: _Segment | None = None  # what was asked for last: it is often added next
        bytes_each = len(self._flips) * TURNS * measure.numbers * 8
        self._at_once = int(np.clip(_FEATURE_BYTES // (3 * bytes_each), 1, _MOST_AT_ONCE))

    def add(self, ids: Sequence[int], thumbnails: Thumbnails) -> None:
        """Make pictures known, from their thumbnails (N, S, S, 3)."""
        if not len(ids):
            return
        segment, self._latest = self._latest, None
        if segment is None or segment.ids.tolist() != list(ids):
            segment = self._prepared(np.array(ids, np.int64), lambda some: thumbnails[some])
        self._append(segment)
        known = sum(len(segment.ids) for segment in self._segments)
        if self._fitted_from < _FITTED_ENOUGH and known >= 2 * self._fitted_from:
            self._choose_directions_anew()

    def remove(self, ids: Sequence[int]) -> CustomMatches:
        """Forget pictures."""
        self._segments = [left for segment in self._segments if (left := segment.without(ids)).alive.any()]
        return CustomMatches.none()

    def match(self, ids: Sequence[int], thumbnails: Thumbnails) -> Iterator[CustomMatches]:
        """All matches of pictures with the known ones and with each other, each once, some at a time.

        Nothing may be added or removed before it is through.
        """
        new = np.array(ids, np.int64)
        parts: list[_Segment] = []
        for some in self._parts(len(ids)):
            features = self._features(thumbnails[some])
            part = self._described(new[some], features)
            parts.append(part)
            for segment in self._segments:
                known = _Known(segment.ids, lambda ids: self._read_thumbnails(ids.tolist()))
                for rows, known_rows, mirrored in self._near(part, segment):
                    fresh = ~np.isin(segment.ids[known_rows], new)  # who is known already is compared as a new one
                    pairs = rows[fresh], known_rows[fresh], mirrored[fresh]
                    yield from self._measured(_New(new[some], thumbnails[some], features), known, *pairs)
        self._latest = _Segment.joined(parts) if parts else None
        if self._latest is None or len(ids) < 2:
            return
        place_of = {picture_id: place for place, picture_id in enumerate(ids)}
        of_new = _Known(new, lambda ids: thumbnails[[place_of[picture_id] for picture_id in ids.tolist()]])
        for some, part in zip(self._parts(len(ids)), parts, strict=True):
            for rows, other_rows, mirrored in self._near(part, self._latest):
                once = rows + some.start < other_rows
                pairs = rows[once], other_rows[once], mirrored[once]
                yield from self._measured(_New(new[some], thumbnails[some], None), of_new, *pairs)

    def _measured(
        self, new: "_New", known: "_Known", rows: Rows, known_rows: Rows, mirrored: NDArray[np.bool_]
    ) -> Iterator[CustomMatches]:
        """The matches among pairs of rows, which are sorted by the known ones, so that each of them is read once."""
        for start in range(0, len(rows), self._at_once):
            some = slice(start, start + self._at_once)
            new_places, i = np.unique(rows[some], return_inverse=True)
            known_places, j = np.unique(known_rows[some], return_inverse=True)
            new_thumbnails, known_thumbnails = new.thumbnails[new_places], known.read(known.ids[known_places])
            swapped = second_is_smaller(new_thumbnails[i], known_thumbnails[j])
            of_known = self._features(known_thumbnails)  # (K, orientations, D)
            of_new = self._features(new_thumbnails) if new.features is None else new.features[new_places]
            smaller = np.where(swapped[:, None], of_known[j, 0], of_new[i, 0])  # (M, D)
            for flip in self._flips:
                turns = slice(TURNS * flip, TURNS * flip + TURNS)
                which = np.flatnonzero(mirrored[some] == flip)
                larger = np.where(
                    swapped[which, None, None], of_new[i[which], turns], of_known[j[which], turns]
                )  # (M, 4, D)
                values = squared_distances(smaller[which, None], larger).min(axis=1, initial=np.inf)
                near = which[values <= self._keep]
                first, second = new.ids[new_places[i[near]]], known.ids[known_places[j[near]]]
                if len(near):
                    yield CustomMatches.of(first, second, flip, values[values <= self._keep])

    def _near(self, part: "_Segment", segment: "_Segment") -> Iterator[tuple[Rows, Rows, NDArray[np.bool_]]]:
        """Rows of a part and of a segment that may match, and whether mirrored; each once, sorted by the segment's."""
        waiting = [np.arange(len(part.ids))]
        while waiting:
            rows = waiting.pop()
            codes: list[Rows] = []
            count = 0
            for found in self._codes(part, rows, segment):
                codes.append(found)
                count += len(found)
                if count > _CANDIDATES_AT_ONCE and len(rows) > 1:  # too many at once: first one half, then the other
                    waiting += np.array_split(rows, 2)
                    break
            else:
                distinct = np.unique(np.concatenate([*codes, np.empty(0, np.int64)]))
                places, flips = np.divmod(distinct, 2)
                known_rows, new_rows = np.divmod(places, len(part.ids))
                yield new_rows, known_rows, flips.astype(bool)

    def _codes(self, part: "_Segment", rows: Rows, segment: "_Segment") -> Iterator[Rows]:
        """Pairs as (row of the segment · size of the part + row of the part) · 2 + mirrored; some more than once."""
        space, points = self._space, part.points[rows]  # (N, orientations, 16)
        assert space is not None
        reach = segment.reach + float(part.reaches[rows].max())
        slack = (1.01 * self._measure.rounding + 2.0**-23) * reach + 2.0**-40
        bound = min(space.scale * float(np.sqrt(self._keep)) + slack, _FARTHEST) ** 2 * (1 + 2.0**-18)
        orientations = points.shape[1]
        # the one whose features are taken as it lies may be either: the known one ...
        for queries, places in segment.lying.within(points.reshape(-1, NUMBERS), bound):
            of_row, orientation = np.divmod(queries, orientations)
            alive = segment.alive[places]
            yield ((places * len(part.ids) + rows[of_row]) * 2 + orientation // TURNS)[alive]
        # ... or the new one
        for queries, found in segment.turned.within(points[:, 0], bound):
            places, orientation = np.divmod(found, orientations - 1)
            alive = segment.alive[places]
            yield ((places * len(part.ids) + rows[queries]) * 2 + (orientation + 1) // TURNS)[alive]

    def _append(self, segment: "_Segment") -> None:
        """Join small segments to larger ones: each picture is built into a tree as often as their number doubles."""
        while self._segments and len(self._segments[-1].ids) <= len(segment.ids):
            segment = _Segment.joined([self._segments.pop(), segment])
        self._segments.append(segment)

    def _choose_directions_anew(self) -> None:
        """While few pictures are known the first directions may have been chosen from one."""
        ids = np.concatenate([segment.ids[segment.alive] for segment in self._segments])
        self._segments = []
        sample = ids[:: -(-len(ids) // _FITTED_TO)]
        self._fit(self._features(self._read_thumbnails(sample.tolist())), len(ids))
        self._append(self._prepared(ids, lambda some: self._read_thumbnails(ids[some].tolist())))

    def _prepared(self, ids: NDArray[np.int64], read: Callable[[slice], Thumbnails]) -> "_Segment":
        return _Segment.joined(
            [self._described(ids[some], self._features(read(some))) for some in self._parts(len(ids))]
        )

    def _described(self, ids: NDArray[np.int64], features: Values) -> "_Segment":
        if self._space is None:
            self._fit(features, len(ids))
        assert self._space is not None
        return _Segment(ids, np.ones(len(ids), bool), *self._space.described(features))

    def _fit(self, features: Values, fitted_from: int) -> None:
        """Choose directions by some of the orientations of some pictures (N, orientations, D)."""
        some = features[:: -(-len(features) // _FITTED_TO)]
        self._space = _Space(some[np.arange(len(some)), np.arange(len(some)) % features.shape[1]])
        self._fitted_from = fitted_from

    def _features(self, thumbnails: Thumbnails) -> Values:
        """(N, 4 or 8 orientations, D); the first is the picture as it lies, the last four are mirrored."""
        turns = [
            self._measure.features(turned(thumbnails, turn, flip)) for flip in self._flips for turn in range(TURNS)
        ]
        return np.stack(turns, axis=1)

    def _parts(self, count: int) -> list[slice]:
        return [slice(start, min(start + self._at_once, count)) for start in range(0, count, self._at_once)]


class _New(NamedTuple):
    """Pictures that are compared with others."""

    ids: NDArray[np.int64]
    thumbnails: Thumbnails
    features: Values | None  # (N, orientations, D), where they are at hand


class _Known(NamedTuple):
    """Pictures whose thumbnails are read when they are needed."""

    ids: NDArray[np.int64]
    read: Callable[[NDArray[np.int64]], Thumbnails]


@dataclass(frozen=True)
class _Segment:
    """Pictures in two trees, built when they are first searched."""

    ids: NDArray[np.int64]  # (N,)
    alive: NDArray[np.bool_]  # (N,)
    points: Points  # (N, orientations, 16)
    reaches: Values  # (N,)

    @classmethod
    def joined(cls, segments: Sequence["_Segment"]) -> "_Segment":
        """All that are alive."""
        return cls(
            *(
                np.concatenate([getattr(segment, name)[segment.alive] for segment in segments])
                for name in ("ids", "alive", "points", "reaches")
            )
        )

    def without(self, ids: Sequence[int]) -> "_Segment":
        """Without these pictures; it is only marked who they are until half are gone."""
        gone = np.isin(self.ids, np.array(ids, np.int64)) & self.alive
        if not gone.any():
            return self
        np.logical_and(self.alive, ~gone, out=self.alive)
        return self if 2 * self.alive.sum() > len(self.ids) else _Segment.joined([self])

    @cached_property
    def lying(self) -> BoxTree:
        """The pictures as they lie."""
        return BoxTree(np.ascontiguousarray(self.points[:, 0]))

    @cached_property
    def turned(self) -> BoxTree:
        """All other orientations of the first picture, then of the second, and so on."""
        return BoxTree(self.points[:, 1:].reshape(-1, NUMBERS))

    @cached_property
    def reach(self) -> float:
        """The largest."""
        return float(self.reaches.max())


class _Space:
    """Directions, a middle and a scale, in which features become sixteen numbers."""

    def __init__(self, features: Values) -> None:
        """From those of a few pictures (N, D)."""
        self._middle = features.mean(axis=0)
        centred = features - self._middle
        self.scale = 1 / max(float(_lengths(centred).max()), _SMALLEST_LENGTH)
        _, _, directions = np.linalg.svd(centred * self.scale, full_matrices=False)
        self._directions = directions[: NUMBERS - 1].T  # (D, 15 or less)

    def described(self, features: Values) -> tuple[Points, Values]:
        """The sixteen numbers (N, orientations, 16) and the reaches (N,) of features (N, orientations, D)."""
        vectors = (features - self._middle) * self.scale
        coefficients = vectors @ self._directions
        rest = vectors - coefficients @ self._directions.T
        points = np.zeros((*features.shape[:2], NUMBERS), np.float32)
        points[..., : coefficients.shape[-1]] = np.clip(coefficients, -_LIMIT, _LIMIT)
        points[..., -1] = np.minimum(_lengths(rest), _LIMIT)
        reaches = _lengths(features).max(axis=1) + _lengths(self._middle)
        return points, reaches * self.scale


def _lengths(vectors: Values) -> Values:
    return np.asarray(np.sqrt((vectors * vectors).sum(axis=-1)))
