"""Finds every match of new pictures among the known ones and among themselves.

`candidates` leaves over few pairs; these are measured exactly on the thumbnails. Nothing is missed: see
`descriptors`.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from dupwatchd.arrays import Thumbnails
from dupwatchd.compare import measures
from dupwatchd.compare.candidates import Candidates
from dupwatchd.compare.descriptors import Descriptors
from dupwatchd.model import Limits, Match, PictureId

_PAIRS_AT_ONCE = 2048  # 50 MB of float64 at 32 px, if every one is of another known picture
_DENSE = 8  # a pair of a grid costs less than an eighth of one measured alone

ReadThumbnails = Callable[[list[int]], Thumbnails]


class Matcher:
    """All known pictures, as far as comparing needs them; used by one thread."""

    def __init__(self, limits: Limits, read_thumbnails: ReadThumbnails) -> None:
        self._limits = limits
        self._read_thumbnails = read_thumbnails
        self._candidates = Candidates(limits)
        self._ids: list[PictureId] = []  # by row of the candidates

    def add(self, ids: list[PictureId], described: Descriptors) -> None:
        """Make pictures known, from their descriptors (N, 32)."""
        self._candidates.add(described)
        self._ids += ids

    def match(self, ids: list[PictureId], thumbnails: Thumbnails, described: Descriptors) -> list[Match]:
        """All matches of new pictures with the known ones and with each other; adds nothing.

        Takes their thumbnails (N, S, S, 3) and descriptors (N, 32). The values of a match are exact and do not depend
        on which of the two was there first.
        """
        found: list[Match] = []
        for new, known in self._candidates.of(described):
            for some in _parts(len(new)):
                found += self._measured(ids, thumbnails, new[some], [self._ids[row] for row in known[some]])
        among_themselves = Candidates(self._limits)
        among_themselves.add(described)
        for first, second in among_themselves.of(described):
            once = first < second
            first, second = first[once], second[once]
            for some in _parts(len(first)):
                found += self._measured(ids, thumbnails, first[some], second[some])
        return found

    def _measured(
        self,
        ids: list[PictureId],
        thumbnails: Thumbnails,
        new: NDArray[np.intp],
        others: NDArray[np.intp] | list[PictureId],
    ) -> Iterator[Match]:
        """The matches among pairs of a new picture and another: a new one too (a row), or a known one (its id)."""
        firsts, first_places = np.unique(new, return_inverse=True)
        seconds, second_places = np.unique(np.asarray(others), return_inverse=True)
        if isinstance(others, list):
            second_ids, of_seconds = seconds.tolist(), self._read_thumbnails(seconds.tolist())
        else:
            second_ids, of_seconds = [ids[row] for row in seconds], thumbnails[seconds]
        of_firsts = thumbnails[firsts]
        dense = len(firsts) * len(seconds) <= _DENSE * len(new)
        for mirrored in (False, True) if self._limits.mirrored else (False,):
            if dense:
                grid = measures.measure_grid(of_firsts, of_seconds, mirrored=mirrored)
                mse, structure = grid.mse[first_places, second_places], grid.structure[first_places, second_places]
            else:
                pairs = measures.measure_pairs(of_firsts[first_places], of_seconds[second_places], mirrored=mirrored)
                mse, structure = pairs.mse, pairs.structure
            within = (mse <= self._limits.keep_mse) | (structure <= self._limits.keep_structure)
            for i in np.flatnonzero(within):
                a, b = sorted((ids[new[i]], second_ids[second_places[i]]))
                yield Match(a, b, mirrored, float(mse[i]), float(structure[i]))


def _parts(count: int) -> Iterator[slice]:
    for start in range(0, count, _PAIRS_AT_ONCE):
        yield slice(start, start + _PAIRS_AT_ONCE)
