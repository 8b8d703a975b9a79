"""Goes through every pair of a new picture with a known one and with another new one, in stacks of pictures.

Our own measures rule out most pairs before they are measured (`dense.matcher`). For a distance function of the user's
nothing can be ruled out (`every_pair`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from dupwatchd.arrays import Matches, Thumbnails
from dupwatchd.compare.measures.exact import ReadThumbnails
from dupwatchd.compare.measures.matches import MatchesOf, Pictures, Places, tiles
from dupwatchd.model import PictureId

_READ_BYTES = 16 << 20  # thumbnails that are read at once: 5,461 at 32 px
_NEW_AT_ONCE = 1024
_TILE_PICTURES = (256, 1024)  # whose pairs are measured together, at 32 px
_ROWS_AT_ONCE = 64  # × 5,461 pairs at 32 px

# thumbnails of two stacks -> pairs of rows that may match, each with whether one of the two is mirrored for it
PairsOf = Callable[[Thumbnails, Thumbnails], Iterable[tuple[bool, Places, Places]]]


class AllPairs:
    """All known pictures, by their ids alone: thumbnails are read anew each time. Used by one thread."""

    def __init__(self, read_thumbnails: ReadThumbnails, pairs_of: PairsOf, matches_of: MatchesOf) -> None:
        """``pairs_of`` says which pairs of two stacks may match, ``matches_of`` which do."""
        self._pairs_of = pairs_of
        self._matches_of = matches_of
        self._read_thumbnails = read_thumbnails
        # used as a set that keeps its order, so that neighbours in the blocks are read together
        self._known: dict[PictureId, None] = {}

    def add(self, ids: Sequence[PictureId], _thumbnails: Thumbnails | None = None) -> None:
        """Make pictures known."""
        self._known.update(dict.fromkeys(ids))

    def remove(self, ids: Sequence[PictureId]) -> None:
        """Make pictures unknown; ids that are not known are ignored."""
        for picture_id in ids:
            self._known.pop(picture_id, None)

    def match(self, ids: Sequence[PictureId], thumbnails: Thumbnails) -> Iterator[Matches]:
        """All matches of pictures (N, S, S, 3) with the known ones and with each other, some at a time; adds nothing.

        Each pair comes once, also where some of the pictures are known already.
        """
        new = [
            Pictures(np.array(ids[start : start + _NEW_AT_ONCE], np.int64), thumbnails[start : start + _NEW_AT_ONCE])
            for start in range(0, len(ids), _NEW_AT_ONCE)
        ]
        if not new:
            return
        asked = set(ids)
        known = [picture_id for picture_id in self._known if picture_id not in asked]
        at_once = max(1, _READ_BYTES // thumbnails[0].nbytes)
        for start in range(0, len(known), at_once):
            read = known[start : start + at_once]
            others = Pictures(np.array(read, np.int64), self._read_thumbnails(list(read)))
            for stack in new:
                yield from self._between(stack, others)
        for place, stack in enumerate(new):
            yield from self._between(stack, stack)
            for others in new[place + 1 :]:
                yield from self._between(stack, others)

    def _between(self, first: Pictures, second: Pictures) -> Iterator[Matches]:
        """The matches of two stacks of pictures, or of one within itself."""
        side = first.thumbnails.shape[1]
        height, width = (max(1, pictures * 32 * 32 // (side * side)) for pictures in _TILE_PICTURES)
        for mirrored, rows, columns in self._pairs_of(first.thumbnails, second.thumbnails):
            if first is second:
                once = rows < columns
                rows, columns = rows[once], columns[once]
            for tile in tiles(rows, columns, height, width):
                of_first, i = np.unique(rows[tile], return_inverse=True)
                of_second, j = np.unique(columns[tile], return_inverse=True)
                found = self._matches_of(first.chosen(of_first), second.chosen(of_second), i, j, mirrored=mirrored)
                if len(found):
                    yield found


def every_pair(first: Thumbnails, second: Thumbnails, *, mirrored: bool) -> Iterator[tuple[bool, Places, Places]]:
    """Every pair of rows, upright and, if asked, ``mirrored`` as well."""
    for start in range(0, len(first), _ROWS_AT_ONCE):
        rows, columns = np.indices((min(_ROWS_AT_ONCE, len(first) - start), len(second)))
        for flip in (False, True) if mirrored else (False,):
            yield flip, rows.ravel() + start, columns.ravel()
