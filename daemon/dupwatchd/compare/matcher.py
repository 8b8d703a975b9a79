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

_PAIRS_AT_ONCE = 4096

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
                found += self._match_known(ids, thumbnails, new[some], [self._ids[row] for row in known[some]])
        among_themselves = Candidates(self._limits)
        among_themselves.add(described)
        for first, second in among_themselves.of(described):
            once = first < second
            first, second = first[once], second[once]
            for some in _parts(len(first)):
                found += self._measured(
                    [ids[row] for row in first[some]],
                    [ids[row] for row in second[some]],
                    thumbnails[first[some]],
                    thumbnails[second[some]],
                )
        return found

    def _match_known(
        self, ids: list[PictureId], thumbnails: Thumbnails, new: NDArray[np.intp], known: list[PictureId]
    ) -> Iterator[Match]:
        distinct, places = np.unique(np.array(known), return_inverse=True)
        of_known = self._read_thumbnails(distinct.tolist())
        return self._measured([ids[row] for row in new], known, thumbnails[new], of_known[places])

    def _measured(
        self, first_ids: list[PictureId], second_ids: list[PictureId], first: Thumbnails, second: Thumbnails
    ) -> Iterator[Match]:
        for mirrored in (False, True) if self._limits.mirrored else (False,):
            values = measures.measure_pairs(first, second, mirrored=mirrored)
            within = (values.mse <= self._limits.keep_mse) | (values.structure <= self._limits.keep_structure)
            for i in np.flatnonzero(within):
                a, b = sorted((first_ids[i], second_ids[i]))
                yield Match(a, b, mirrored, float(values.mse[i]), float(values.structure[i]))


def _parts(count: int) -> Iterator[slice]:
    for start in range(0, count, _PAIRS_AT_ONCE):
        yield slice(start, start + _PAIRS_AT_ONCE)
