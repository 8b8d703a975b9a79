"""Finds every match of pictures among the known ones and among themselves.

`candidates` leaves over few pairs; these are measured exactly on the thumbnails. Nothing is missed: see
`descriptors`.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from dupwatchd.arrays import Matches, Thumbnails
from dupwatchd.compare.measures import exact
from dupwatchd.compare.measures.descriptors import Descriptors
from dupwatchd.compare.measures.exact import ReadThumbnails
from dupwatchd.compare.tree.candidates import Candidates, Pairs, Rows
from dupwatchd.model import Limits, PictureId

_PAIRS_AT_ONCE = 2048  # 60 MB at 32 px, if all are of different pictures
_GRID = (1024, 1024)  # pictures by pictures: 40 MB of values, 30 MB of pictures at 32 px
_DENSE = 8  # a pair of a grid costs less than an eighth of one measured alone
_CROWD = 32  # candidates of one picture

Ids = NDArray[np.int64]  # (N,) picture ids


class Matcher:
    """All known pictures, as far as comparing needs them; used by one thread."""

    def __init__(self, limits: Limits, read_thumbnails: ReadThumbnails) -> None:
        self._limits = limits
        self._read_thumbnails = read_thumbnails
        self._candidates = Candidates(limits)
        self._ids: Ids = np.empty(0, np.int64)  # by row of the candidates
        self._rows: Rows = np.empty(0, np.int64)  # by id; -1: not known
        self._living = 0

    def add(self, ids: Sequence[PictureId], described: Descriptors) -> None:
        """Make pictures known, from their descriptors (N, 32)."""
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

    def match(self, ids: Sequence[PictureId], thumbnails: Thumbnails, described: Descriptors) -> Iterator[Matches]:
        """All matches of new pictures with the known ones and with each other, some at a time; adds nothing.

        Takes their thumbnails (N, S, S, 3) and descriptors (N, 32). The values of a match are exact and do not depend
        on which of the two was there first.
        """
        new_ids = np.asarray(ids, np.int64)
        for new, known in self._candidates.of(described):
            yield from self._measured(new_ids, thumbnails, new, self._ids[known], self._read)
        among_themselves = Candidates(self._limits)
        among_themselves.add(described)
        for new, other in among_themselves.of(described, np.arange(len(new_ids)), only_earlier=True):
            yield from self._measured(new_ids, thumbnails, new, other, thumbnails.__getitem__, new_ids)

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
            some, places = np.unique(new, return_inverse=True)
            yield from self._measured(asked[some], self._read(asked[some]), places, self._ids[known], self._read)

    def _compact(self) -> None:
        """Forget the rows of removed pictures."""
        living = np.flatnonzero(self._rows[self._ids] == np.arange(len(self._ids)))
        described = self._candidates.known(living)
        self._candidates = Candidates(self._limits)
        self._candidates.add(described)
        self._ids = self._ids[living]
        self._rows[self._ids] = np.arange(len(living))

    def _read(self, ids: Ids) -> Thumbnails:
        return self._read_thumbnails(ids.tolist())

    def _measured(
        self,
        ids: Ids,
        thumbnails: Thumbnails,
        new: Rows,
        others: Ids,
        read: Callable[[Ids], Thumbnails],
        ids_of_others: Ids | None = None,
    ) -> Iterator[Matches]:
        """The matches among pairs of a new picture (a row) and another, by what ``read`` takes."""
        for some_new, some_others in _portions(new, others):
            of_new, new_places = np.unique(some_new, return_inverse=True)
            of_others, other_places = np.unique(some_others, return_inverse=True)
            first, second = thumbnails[of_new], read(of_others)
            for mirrored in (False, True) if self._limits.mirrored else (False,):
                values = exact.measure_chosen(first, second, new_places, other_places, mirrored=mirrored)
                mse, structure = values.mse, values.structure
                within = np.flatnonzero((mse <= self._limits.keep_mse) | (structure <= self._limits.keep_structure))
                if not len(within):
                    continue
                a = ids[some_new[within]]
                b = some_others[within] if ids_of_others is None else ids_of_others[some_others[within]]
                yield Matches(
                    np.minimum(a, b),
                    np.maximum(a, b),
                    np.full(len(within), mirrored),
                    mse[within],
                    structure[within],
                    np.full(len(within), np.nan),
                )


def _portions(new: Rows, others: Ids) -> Iterator[Pairs]:
    """Pairs in portions to be measured at once, so that crowds become grids; all of one new picture come together."""
    starts = np.flatnonzero(np.diff(new, prepend=-1))
    counts = np.diff(np.append(starts, len(new)))
    # Pictures in one crowd (frames of a film, say) have nearly the same candidates, the first one above all.
    in_crowd = np.repeat(counts >= _CROWD, counts)
    crowded = np.flatnonzero(in_crowd)
    first_other = np.repeat(others[starts], counts)[crowded]
    by_crowd = np.argsort(first_other, kind="stable")
    alone = [np.flatnonzero(~in_crowd)]
    for members in np.split(crowded[by_crowd], np.flatnonzero(np.diff(first_other[by_crowd])) + 1):
        if not len(members):
            continue
        size = len(np.unique(new[members])) * len(np.unique(others[members]))
        if size > _DENSE * len(members):
            alone.append(members)
            continue
        for tile in _tiles(new[members], others[members]):
            yield new[members[tile]], others[members[tile]]
    rest = np.sort(np.concatenate(alone))
    for start in range(0, len(rest), _PAIRS_AT_ONCE):
        some = rest[start : start + _PAIRS_AT_ONCE]
        yield new[some], others[some]


def _tiles(new: Rows, others: Ids) -> Iterator[Rows]:
    """Places of pairs, so that each part has at most 256 new pictures and 1,024 others."""
    of_new = np.unique(new, return_inverse=True)[1] // _GRID[0]
    of_others = np.unique(others, return_inverse=True)[1] // _GRID[1]
    tile = of_new * (of_others.max() + 1) + of_others
    by_tile = np.argsort(tile, kind="stable")
    yield from np.split(by_tile, np.flatnonzero(np.diff(tile[by_tile])) + 1)
