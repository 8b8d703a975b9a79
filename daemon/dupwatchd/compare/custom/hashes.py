"""Finds pictures with equal hashes: not every pair of them, but all that a minimum spanning forest can contain.

Let U be the pictures that have a hash in one of their turns, and V those whose mirror image has it. All of U match each
other, and each of U matches each of V mirrored. Of these pairs only those with the smallest id of U or of V are given.

Why that is enough (see `forest.spanning`). All values are 0, so a forest prefers the pair that comes first in the order
of (smaller id, larger id, mirrored). Let m be the smallest id of U and n that of V. Replacing one end of a pair by a
smaller id gives an earlier pair, so each pair that is left out is the last one of a cycle:

- upright, x and y of U without m: the pairs x–m and m–y come before x–y;
- mirrored, x of U and y of V, where x is not m and y is not n: x–n, n–m and m–y come before x–y. Where two of the four
  are one picture, the way is shorter; where x = n, it is x–m, m–y, and where y = m, it is x–m, upright.

Memory: for each picture its hashes are kept, and for each hash its pictures.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from dupwatchd.arrays import Matches, Thumbnail, Thumbnails
from dupwatchd.compare.custom.function import Hash
from dupwatchd.compare.custom.kinds import HashMeasure
from dupwatchd.compare.measures import exact
from dupwatchd.compare.measures.exact import ReadThumbnails
from dupwatchd.model import PictureId

_PAIRS_AT_ONCE = 2048

Pair = tuple[int, int, bool]  # two ids, the smaller one first, and whether one is mirrored
Group = tuple[set[int], set[int]]  # who has a hash upright, and who has it mirrored
Hashes = dict[PictureId, list[set[Hash]]]  # of the upright and of the mirrored turns of each picture


class HashSearch:
    """The hashes of all known pictures; used by one thread."""

    def __init__(self, measure: HashMeasure, mirrored: bool, read_thumbnails: ReadThumbnails) -> None:
        self._measure = measure
        self._flips = (False, True) if mirrored else (False,)
        self._read_thumbnails = read_thumbnails
        self._hashes: Hashes = {}
        self._groups: dict[Hash, Group] = {}

    def add(self, ids: Sequence[PictureId], thumbnails: Thumbnails) -> None:
        """Make pictures known."""
        hashes = self._hashes_of(ids, thumbnails)
        self._hashes.update(hashes)
        _fill(self._groups, hashes)

    def remove(self, ids: Sequence[PictureId]) -> None:
        """Make pictures unknown; ids that are not known are ignored."""
        for picture_id in ids:
            for flip, hashes in enumerate(self._hashes.pop(picture_id, ())):
                for one in hashes:
                    self._groups[one][flip].discard(picture_id)
                    if not any(self._groups[one]):
                        del self._groups[one]

    def match(self, ids: Sequence[PictureId], thumbnails: Thumbnails) -> Iterator[Matches]:
        """The matches of pictures that are not known with the known ones and with each other, as the module says."""
        new: dict[Hash, Group] = {}
        _fill(new, self._hashes_of(ids, thumbnails))
        pairs: set[Pair] = set()
        for one, of_new in new.items():
            of_known = self._groups.get(one, (set(), set()))
            everyone = of_known[0] | of_new[0], of_known[1] | of_new[1]
            for flip, other_flip in ((0, 0), (0, 1), (1, 0)):
                # the smallest of one side with all of the other; if it is known, only with those that are new
                if everyone[flip]:
                    hub = min(everyone[flip])
                    others = everyone[other_flip] if hub in of_new[flip] else of_new[other_flip]
                    pairs |= {(min(hub, x), max(hub, x), flip != other_flip) for x in others if x != hub}
        yield from self._measured(sorted(pairs), dict(zip(ids, thumbnails, strict=True)))

    def _hashes_of(self, ids: Sequence[PictureId], thumbnails: Thumbnails) -> Hashes:
        of_flips = [self._measure.of_turns(thumbnails, mirrored=mirrored) for mirrored in self._flips]
        return {one: list(hashes) for one, *hashes in zip(ids, *of_flips, strict=True)}

    def _measured(self, pairs: list[Pair], new: dict[PictureId, Thumbnail]) -> Iterator[Matches]:
        """The matches with the values of our own measures; the new pictures need not be in the blocks yet."""
        for start in range(0, len(pairs), _PAIRS_AT_ONCE):
            a, b, flips = np.array(pairs[start : start + _PAIRS_AT_ONCE]).T
            ids, places = np.unique([a, b], return_inverse=True)
            rows, columns = places.reshape(2, -1)
            known = [one for one in ids.tolist() if one not in new]
            at_hand = {**new, **dict(zip(known, self._read_thumbnails(known), strict=True))}
            thumbnails = np.stack([at_hand[one] for one in ids.tolist()])
            for mirrored in self._flips:
                of_flip = np.flatnonzero(flips == mirrored)
                own = exact.measure_chosen(thumbnails, thumbnails, rows[of_flip], columns[of_flip], mirrored=mirrored)
                equal = np.zeros(len(of_flip))
                yield Matches.between(a[of_flip], b[of_flip], own.mse, own.structure, equal, mirrored=mirrored)


def _fill(groups: dict[Hash, Group], hashes: Hashes) -> None:
    for picture_id, of_flips in hashes.items():
        for flip, distinct in enumerate(of_flips):
            for one in distinct:
                groups.setdefault(one, (set(), set()))[flip].add(picture_id)
