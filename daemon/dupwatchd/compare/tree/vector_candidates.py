"""Candidates among vectors of any length and scale, which are compared by their squared distance.

Each picture has one vector as it lies and one for each other orientation. The value of two pictures takes the vector of
one of them as it lies and those of the other in all orientations, so known pictures are kept in all orientations.

Sixteen numbers stand for each vector: its coefficients in the 15 directions in which a few vectors vary most, after
their mean was subtracted, and the length of the rest. What these rule out is ruled out for certain. Distances are the
same in any orthonormal basis. Leaving coefficients out shortens them, two lengths differ by no more than the vectors
do, and limiting numbers to a range brings no two of them farther apart. So the squared distance of the sixteen is at
most that of the vectors, apart from rounding. Let u = 2**-24, s the scale, m the mean, and r = s·(|f| + |m|) the reach
of a picture with the vectors f.

- When a vector is made again it may differ by a share δ of its length (``rounding``): by δ·r.
- Taking the sixteen in float64 errs by less than u·r up to a million numbers, keeping them in float32 by u·r.
- The tree sums sixteen squares in float32, which errs by a share of less than 20·u.

A pair within a distance d is therefore no farther apart, as the tree calculates it, than

    (s·d + (1.01·δ + 2·u)·(r + r') + 2**-40)² · (1 + 2**-18)

with the largest reach of the pictures searched and of those asked for; 2**-40 is for numbers too small for float32.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from dupwatchd.compare.tree.boxtree import NUMBERS, BoxTree
from dupwatchd.compare.tree.candidates import Candidates, Described, Pairs

_LIMIT = 2.0**20  # of the sixteen numbers; unused places of the tree lie at 1e9
_FARTHEST = 2.0**25  # more than two points within the limit can be apart, less than an unused place is from them
_LARGEST_REACH = 1e30  # a larger one would rule nothing out, either
_SMALLEST_LENGTH = 1e-40  # so that the squares of the scale and of the largest number allowed, 1e100, fit into float64

Vectors = NDArray[np.float64]


class VectorCandidates(Candidates):
    """Two trees for each segment: of the pictures as they lie, and of all their other orientations."""

    def __init__(self, orientations: int, distance: float, rounding: float) -> None:
        """``distance`` is the largest one, times the scale; ``rounding`` is a share, as the module says."""
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
            # either of the two may be the one that is taken as it lies: the known one ...
            for queries, places in as_they_lie.within(every, bound, threads):
                yield queries // orientations, places + segment.start
            # ... or the new one
            for queries, places in turned.within(lying, bound, threads):
                yield queries, places // (orientations - 1) + segment.start


class Projection:
    """Directions, a mean and a scale, with which vectors become sixteen numbers."""

    def __init__(self, vectors: Vectors) -> None:
        """From a few vectors (N, D)."""
        self._mean = vectors.mean(axis=0)
        centred = vectors - self._mean
        self.scale = 1 / max(float(_lengths(centred).max()), _SMALLEST_LENGTH)
        _, _, directions = np.linalg.svd(centred * self.scale, full_matrices=False)
        self._directions = directions[: NUMBERS - 1].T  # (D, 15 or less)

    def described(self, vectors: Vectors) -> Described:
        """Sixteen numbers for each of the vectors (N, orientations, D), and the reach: (N, orientations · 16 + 1)."""
        centred = (vectors - self._mean) * self.scale
        coefficients = centred @ self._directions
        rest = centred - coefficients @ self._directions.T
        numbers = np.zeros((*vectors.shape[:2], NUMBERS), np.float32)
        numbers[..., : coefficients.shape[-1]] = np.clip(coefficients, -_LIMIT, _LIMIT)
        numbers[..., -1] = np.minimum(_lengths(rest), _LIMIT)
        reaches = (_lengths(vectors).max(axis=1) + _lengths(self._mean)) * self.scale
        rounded_up = np.nextafter(np.minimum(reaches, _LARGEST_REACH).astype(np.float32), np.float32(np.inf))
        return np.concatenate([numbers.reshape(len(vectors), -1), rounded_up[:, None]], axis=1)


def _lengths(vectors: Vectors) -> NDArray[np.float64]:
    return np.asarray(np.sqrt((vectors * vectors).sum(axis=-1)))
