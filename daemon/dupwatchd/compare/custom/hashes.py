"""Finds pictures with equal hashes: as few matches as keep together what is equal, not every pair of it.

All pictures that have one hash in some turn are a group, in the order of their ids: each is linked to the next one. A
picture that has the hash only in a mirrored turn is linked, mirrored, to the one of the group before it, or to the
first. That is one link a picture and hash, and follows from who is known alone: not from the order of arrival, nor
from what was known in between. `remove` gives the links that close the gaps. Links that were given earlier stay right.

For each picture its hashes are kept, and for each hash its pictures: 650 bytes a picture, twice that if mirrored.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from dupwatchd.arrays import Thumbnails
from dupwatchd.compare.custom.function import Hash
from dupwatchd.compare.custom.measure import CustomMatches, HashMeasure

Link = tuple[int, int, bool]  # two ids, and whether the one is the other mirrored
Members = tuple[int, ...]  # ids in ascending order


class HashSearch:
    """The hashes of all known pictures; used by one thread."""

    def __init__(self, measure: HashMeasure, mirrored: bool) -> None:
        self._measure = measure
        self._mirrored = mirrored
        self._upright = _Groups()
        self._flipped = _Groups()

    def add(self, ids: Sequence[int], thumbnails: Thumbnails) -> None:
        """Make pictures known."""
        upright, flipped = self._hashes(ids, thumbnails)
        self._upright.add(upright)
        self._flipped.add(flipped)

    def remove(self, ids: Sequence[int]) -> CustomMatches:
        """Forget pictures; gives the links that those need which were linked through them."""
        gone = set(ids)
        groups = self._upright.remove(gone)
        self._flipped.remove(gone)
        links: set[Link] = set()
        for one, members in groups.items():
            left = self._upright.of(one)
            gaps = {bisect_left(left, member) for member in members}
            links |= _links(left, self._flipped.of(one), gaps)
        return _as_matches(links)

    def match(self, ids: Sequence[int], thumbnails: Thumbnails) -> Iterator[CustomMatches]:
        """The links of pictures with known ones and with each other; adds nothing."""
        upright, flipped = (_by_hash(hashes) for hashes in self._hashes(ids, thumbnails))
        new = set(ids)
        links: set[Link] = set()
        for one in upright.keys() | flipped.keys():
            some, others = upright.get(one, ()), flipped.get(one, ())
            members = _merged(self._upright.of(one), some, new)
            mirrored = _merged(self._flipped.of(one), others, new)
            if len(members) + len(mirrored) > 1:
                gaps = {place for member in some for place in _beside(members, member)}
                links |= _links(members, mirrored, gaps)
                links |= {link for member in others for link in _hung(members, member)}
        if links:
            yield _as_matches(links)

    def _hashes(
        self, ids: Sequence[int], thumbnails: Thumbnails
    ) -> tuple[dict[int, tuple[Hash, ...]], dict[int, tuple[Hash, ...]]]:
        """The distinct hashes of each picture's turns, and of those of its mirror image, if these count."""
        upright = zip(*self._measure.hashes_of_turns(thumbnails, False), strict=True)
        flipped = zip(*self._measure.hashes_of_turns(thumbnails, True), strict=True) if self._mirrored else ()
        return (
            {picture_id: tuple(dict.fromkeys(hashes)) for picture_id, hashes in zip(ids, upright, strict=True)},
            {picture_id: tuple(dict.fromkeys(hashes)) for picture_id, hashes in zip(ids, flipped, strict=False)},
        )


class _Groups:
    """Who has which hash."""

    def __init__(self) -> None:
        self._hashes: dict[int, tuple[Hash, ...]] = {}
        self._members: dict[Hash, Members] = {}

    def of(self, one: Hash) -> Members:
        """Those who have it."""
        return self._members.get(one, ())

    def add(self, hashes: dict[int, tuple[Hash, ...]]) -> None:
        """Take in pictures with their hashes."""
        self._hashes.update(hashes)
        for one, members in _by_hash(hashes).items():
            self._members[one] = _merged(self.of(one), members, set())

    def remove(self, ids: set[int]) -> dict[Hash, Members]:
        """Forget pictures; gives those of each group that lost some."""
        gone = _by_hash({picture_id: self._hashes.pop(picture_id) for picture_id in ids & self._hashes.keys()})
        for one in gone:
            left = tuple(member for member in self._members.pop(one) if member not in ids)
            if left:
                self._members[one] = left
        return gone


def _links(members: Members, mirrored: Members, gaps: Iterable[int]) -> set[Link]:
    """The links across gaps of a group: gap i is that before its member i, the last one that after all of them."""
    links: set[Link] = set()
    for gap in gaps:
        start, stop = 0, len(mirrored)
        if gap:
            start = bisect_right(mirrored, members[gap - 1])
        if gap < len(members):
            stop = bisect_right(mirrored, members[gap])
        if 0 < gap < len(members):
            links.add((members[gap - 1], members[gap], False))
        for member in mirrored[start:stop]:
            links |= _hung(members, member)
    return links


def _hung(members: Members, member: int) -> set[Link]:
    """The link of a mirrored one to its group; none if it is in the group anyway."""
    place = bisect_left(members, member)
    if not members or (place < len(members) and members[place] == member):
        return set()
    other = members[max(place - 1, 0)]
    return {(min(other, member), max(other, member), True)}


def _beside(members: Members, member: int) -> tuple[int, int]:
    """The gaps before and after a member."""
    place = bisect_left(members, member)
    return place, place + 1


def _merged(known: Members, more: Iterable[int], without: set[int]) -> Members:
    return tuple(sorted({*(set(known) - without), *more}))


def _by_hash(hashes: dict[int, tuple[Hash, ...]]) -> dict[Hash, Members]:
    groups: dict[Hash, list[int]] = {}
    for picture_id, some in sorted(hashes.items()):
        for one in some:
            groups.setdefault(one, []).append(picture_id)
    return {one: tuple(members) for one, members in groups.items()}


def _as_matches(links: set[Link]) -> CustomMatches:
    if not links:
        return CustomMatches.none()
    a, b, mirrored = zip(*sorted(links), strict=True)
    return CustomMatches.of(np.array(a, np.int64), np.array(b, np.int64), np.array(mirrored, bool), 0.0)
