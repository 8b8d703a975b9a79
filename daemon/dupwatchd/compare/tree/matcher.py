"""Finds every match of pictures among the known ones and among themselves.

Few pairs are left as candidates (`candidates`); these are measured exactly, on the thumbnails. `measures.descriptors`
proves that no match is missed. The search is the same for our own measures and for the user's features.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from dupwatchd.arrays import Matches, Thumbnails
from dupwatchd.compare.measures.exact import ReadThumbnails
from dupwatchd.compare.measures.matches import MatchesOf, Pictures, matches_within, tiles
from dupwatchd.compare.tree.candidates import Candidates, Described, Pairs, Rows
from dupwatchd.compare.tree.descriptor_candidates import DescriptorCandidates
from dupwatchd.model import Limits, PictureId

_PAIRS_AT_ONCE = 2048  # 60 MB at 32 px, if all are of different pictures
_GRID = (1024, 1024)  # pictures by pictures: 40 MB of values, 30 MB of pictures at 32 px
_GRID_SHARE = 8  # a pair in a grid costs less than an eighth of a pair measured alone
_CROWD_CANDIDATES = 32  # a picture with so many candidates is looked for in a crowd

Ids = NDArray[np.int64]  # (N,) picture ids


class TreeMatcher:
    """All known pictures, as far as comparing needs them; used by one thread."""

    def __init__(
        self,
        new_candidates: Callable[[], Candidates],
        matches_of: MatchesOf,
        read_thumbnails: ReadThumbnails,
        *,
        mirrored: bool,
    ) -> None:
        """``new_candidates`` makes the search for candidates, ``matches_of`` says which of these match."""
        self._new_candidates = new_candidates
        self._matches_of = matches_of
        self._flips = (False, True) if mirrored else (False,)
        self._read_thumbnails = read_thumbnails
        self._candidates = new_candidates()
        self._ids: Ids = np.empty(0, np.int64)  # by row of the candidates
        self._rows: Rows = np.empty(0, np.int64)  # by id; -1: not known
        self._living = 0

    def __len__(self) -> int:
        return self._living

    def add(self, ids: Sequence[PictureId], described: Described) -> None:
        """Make pictures known, from what candidates are found by (N, numbers)."""
        if not len(ids):
            return
        added = np.asarray(ids, np.int64)
        self._candidates.add(described)
        rows = len(self._ids) + np.arange(len(added))
        self._ids = np.concatenate([self._ids, added])
        if added.max() >= len(self._rows):
            more = np.full(max(int(added.max()) + 1, 5 * len(self._rows) // 4) - len(self._rows), -1, np.int64)
            self._rows = np.concatenate([self._rows, more])
        self._rows[added] = rows
        self._living += len(added)

    def remove(self, ids: Sequence[PictureId]) -> None:
        """Make pictures unknown; what is not known is passed over. Their ids may be added again."""
        gone = np.asarray(ids, np.int64)
        gone = gone[gone < len(self._rows)]
        rows = self._rows[gone]
        self._candidates.remove(rows[rows >= 0])
        self._rows[gone] = -1
        self._living -= int((rows >= 0).sum())
        if self._living < len(self._ids) // 2:
            self._compact()

    def match(self, ids: Sequence[PictureId], thumbnails: Thumbnails, described: Described) -> Iterator[Matches]:
        """All matches of new pictures with the known ones and with each other, some at a time; adds nothing.

        Takes their thumbnails (N, S, S, 3) and what candidates are found by (N, numbers). The values of a match are
        exact and do not depend on which of the two was there first.
        """
        asked = Pictures(np.asarray(ids, np.int64), thumbnails)
        for new, known in self._candidates.of(described):
            yield from self._measured(asked, new, self._ids[known], self._pictures)
        among_themselves = self._new_candidates()
        among_themselves.add(described)
        for new, other in among_themselves.of(described, np.arange(len(ids)), only_earlier=True):
            yield from self._measured(asked, new, other, asked.chosen)

    def known(self) -> Ids:
        """The ids of all known pictures, similar ones together: the quickest order for `match_known`."""
        rows = self._candidates.in_order()
        living = rows[self._rows[self._ids[rows]] == rows]
        return np.asarray(self._ids[living])

    def match_known(
        self, ids: Sequence[PictureId], *, only_earlier: bool = False, threads: int = 1
    ) -> Iterator[Matches]:
        """All matches of known pictures with all known ones, each pair once; or only with those added before each.

        What is not known (any more) is passed over.
        """
        asked = np.asarray(ids, np.int64)
        asked = asked[asked < len(self._rows)]
        rows = self._rows[asked]
        asked, rows = asked[rows >= 0], rows[rows >= 0]
        pairs = self._candidates.of(self._candidates.known(rows), rows, only_earlier=only_earlier, threads=threads)
        for new, known in pairs:
            distinct, places = np.unique(new, return_inverse=True)
            yield from self._measured(self._pictures(asked[distinct]), places, self._ids[known], self._pictures)

    def _compact(self) -> None:
        """Forget the rows of removed pictures."""
        living = np.flatnonzero(self._rows[self._ids] == np.arange(len(self._ids)))
        described = self._candidates.known(living)
        self._candidates = self._new_candidates()
        self._candidates.add(described)
        self._ids = self._ids[living]
        self._rows[self._ids] = np.arange(len(living))

    def _pictures(self, ids: Ids) -> Pictures:
        return Pictures(ids, self._read_thumbnails(ids.tolist()))

    def _measured(
        self, asked: Pictures, new: Rows, others: Ids, pictures_of: Callable[[Ids], Pictures]
    ) -> Iterator[Matches]:
        """The matches among the pairs of row ``new[i]`` of ``asked`` and ``others[i]``, as ``pictures_of`` takes it."""
        for new_rows, other_ids in _portions(new, others):
            of_new, rows = np.unique(new_rows, return_inverse=True)
            of_others, columns = np.unique(other_ids, return_inverse=True)
            first, second = asked.chosen(of_new), pictures_of(of_others)
            for mirrored in self._flips:
                found = self._matches_of(first, second, rows, columns, mirrored=mirrored)
                if len(found):
                    yield found


class Matcher(TreeMatcher):
    """Our own measures: candidates from descriptors (N, 32), measured in whole numbers."""

    def __init__(self, limits: Limits, read_thumbnails: ReadThumbnails) -> None:
        super().__init__(
            partial(DescriptorCandidates, limits),
            partial(matches_within, limits),
            read_thumbnails,
            mirrored=limits.mirrored,
        )


def _portions(new: Rows, others: Ids) -> Iterator[Pairs]:
    """Divides pairs into portions to be measured at once; a crowd becomes grids, in which a pair costs far less."""
    starts = np.flatnonzero(np.diff(new, prepend=-1))
    counts = np.diff(np.append(starts, len(new)))
    # Pictures of one crowd, such as frames of a film, have nearly the same candidates. Sharing the first candidate
    # therefore tells crowds apart well enough.
    in_crowd = np.repeat(counts >= _CROWD_CANDIDATES, counts)
    crowded = np.flatnonzero(in_crowd)
    first_other = np.repeat(others[starts], counts)[crowded]
    by_crowd = np.argsort(first_other, kind="stable")
    alone = [np.flatnonzero(~in_crowd)]
    for members in np.split(crowded[by_crowd], np.flatnonzero(np.diff(first_other[by_crowd])) + 1):
        if not len(members):
            continue
        of_new, rows = np.unique(new[members], return_inverse=True)
        of_others, columns = np.unique(others[members], return_inverse=True)
        if len(of_new) * len(of_others) > _GRID_SHARE * len(members):
            alone.append(members)
            continue
        for tile in tiles(rows, columns, *_GRID):
            yield new[members[tile]], others[members[tile]]
    rest = np.sort(np.concatenate(alone))
    for start in range(0, len(rest), _PAIRS_AT_ONCE):
        portion = rest[start : start + _PAIRS_AT_ONCE]
        yield new[portion], others[portion]
