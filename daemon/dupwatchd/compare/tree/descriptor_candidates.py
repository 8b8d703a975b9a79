"""Candidates by our own measures, from descriptors: 128 bytes a picture, and about 200 in trees.

The latest known pictures are compared with all new ones, as matrix products of `lengths`; the others are in segments
with one tree for each measure. Both ways end in the same test: the 16 numbers of a measure, in each orientation in
which two pictures can match, are no farther apart than the limit.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dupwatchd.compare.measures import descriptors
from dupwatchd.compare.measures.descriptors import MSE, STRUCTURE, Descriptors, SketchLayout
from dupwatchd.compare.tree.candidates import Candidates, Pairs, Rows
from dupwatchd.model import Limits

if TYPE_CHECKING:
    from dupwatchd.compare.tree.boxtree import BoxTree

_TAIL = 4096  # without a tree, so many are compared in 25 µs a picture
_KNOWN_AT_ONCE = 4096  # × _NEW_AT_ONCE × 4 bytes = 4 MB a product
_NEW_AT_ONCE = 256
_CROWDED = 16  # if more than one pair of so many passes the products, a closer look would let most pass as well


class DescriptorCandidates(Candidates):
    """The descriptors of all known pictures, each measure's numbers turned as `canonical` does."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(descriptors.NUMBERS, _TAIL)
        self._sketches = (
            (STRUCTURE, limits.keep_structure + STRUCTURE.slack),
            (MSE, limits.keep_mse + MSE.slack),
        )
        self._flips = (False, True) if limits.mirrored else (False,)

    def _kept(self, described: Descriptors) -> Descriptors:
        return np.concatenate(
            [descriptors.canonical(described[:, layout.columns], layout) for layout, _ in self._sketches], axis=1
        )

    def _trees(self, known: Descriptors) -> tuple["BoxTree", ...]:
        from dupwatchd.compare.tree.boxtree import BoxTree

        return tuple(BoxTree(np.ascontiguousarray(known[:, layout.columns])) for layout, _ in self._sketches)

    def _found(self, described: Descriptors, threads: int) -> Iterator[Pairs]:
        if self._segments:
            for place, (layout, bound) in enumerate(self._sketches):
                new, points = self._orientations(described, layout, bound)
                for segment in self._segments:
                    for of_query, of_point in segment.trees[place].within(points, bound, threads):
                        yield new[of_query], of_point + segment.start
        for start in range(self._sealed, self._count, _KNOWN_AT_ONCE):
            known = slice(start, min(start + _KNOWN_AT_ONCE, self._count))
            for first in range(0, len(described), _NEW_AT_ONCE):
                yield from self._in_product(described, slice(first, min(first + _NEW_AT_ONCE, len(described))), known)

    def _orientations(
        self, described: Descriptors, layout: SketchLayout, bound: float
    ) -> tuple[Rows, NDArray[np.float32]]:
        """Rows of new pictures (M,) with their numbers (M, 16) in each orientation in which they can match."""
        rows: list[Rows] = []
        points: list[NDArray[np.float32]] = []
        for mirrored in self._flips:
            for quarters in range(4):
                turned = descriptors.turned(described[:, layout.columns], layout, quarters, mirrored=mirrored)
                rows.append(np.flatnonzero(descriptors.distance_from_canonical(turned, layout) <= np.sqrt(bound)))
                points.append(turned[rows[-1]])
        of_all = np.concatenate(rows)
        by_row = np.argsort(of_all, kind="stable")
        return of_all[by_row], np.concatenate(points)[by_row]

    def _in_product(self, described: Descriptors, new: slice, known: slice) -> Iterator[Pairs]:
        hits: NDArray[np.bool_] | None = None  # (N, K)
        for layout, bound in self._sketches:
            of_new = descriptors.lengths(described[new, layout.columns], layout)  # (N, L)
            of_known = descriptors.lengths(self._known[known, layout.columns], layout)  # (K, L)
            # |p|² + |q|² − 2·p·q ≤ bound, rearranged so that it takes one pass over the products
            products = of_new @ of_known.T  # (N, K) float32
            products -= (of_known * of_known).sum(axis=1) / 2
            reach = ((of_new * of_new).sum(axis=1) - np.float32(bound)) / 2
            near = products >= reach[:, None]
            rows, places = np.nonzero(near)
            if not len(rows):
                continue
            if _CROWDED * len(rows) < near.size:  # otherwise most pairs would pass the closer look as well
                near = np.zeros_like(near)
                ours = described[new, layout.columns][rows]
                theirs = self._known[known, layout.columns][places]
                for mirrored in self._flips:
                    for quarters in range(4):
                        difference = descriptors.turned(ours, layout, quarters, mirrored=mirrored) - theirs
                        within = (difference * difference).sum(axis=1) <= bound
                        near[rows[within], places[within]] = True
            hits = near if hits is None else hits | near
        if hits is not None:
            rows, places = np.nonzero(hits)
            yield rows + new.start, places + known.start
