"""Decides which files of a cluster may go, and what each one is to the kept one.

In: the files of a cluster in the order in which they would be kept, what second looks have found, and which of them are
other names of one file. Out: for each file whether it may go. This is the only place that decides it: `scan`,
`clusters`, ``--spare`` and ``reclaimable_bytes`` all show what comes out here.

A file may go if it is equal byte by byte to a file that stays, or the same picture as one by a closer look. Being
joined with it through others is not enough. What is another name of a file that stays never goes.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from enum import Enum
from typing import NamedTuple

from dupwatchd.db.answers import Copy, Look
from dupwatchd.model import Verdict


class SameFile(Enum):
    """How a path leads to a file that another path leads to as well."""

    LINK = "hard link of"  # another name that the file has
    ALIAS = "another path to"  # the same name, seen through another mount
    MAYBE = "may be the same file as"  # the file system does not tell


class OtherName(NamedTuple):
    """A file is, or may be, a second name of an earlier one in a list."""

    place: int  # of the earlier one
    how: SameFile


class Told(NamedTuple):
    """What one file is to another one."""

    verdict: Verdict | None  # None: they were not looked at, or are only joined through others
    confirmed: bool | None  # by equal bytes, equal coded pixels, or a look at many more pixels


class Looks:
    """What second looks have found of the pictures of a cluster."""

    def __init__(self, looks: Iterable[Look], *, mirrored: bool, without_proof: Collection[int] = ()) -> None:
        """``mirrored``: whether mirror images count. Of pictures without a proof only equal bytes are certain."""
        self._without_proof = without_proof
        self._of_pair: dict[tuple[int, int], Look] = {}
        for look in looks:
            if look.mirrored > mirrored:
                continue
            known = self._of_pair.get((look.a, look.b))
            if known is None or _strength(look) < _strength(
                known
            ):  # it may be like the other and like its mirror image
                self._of_pair[look.a, look.b] = look

    def told(self, one: Copy, other: Copy) -> Told:
        """What one file is to another one."""
        if one.content_digest == other.content_digest:
            return Told(Verdict.IDENTICAL, confirmed=True)
        if one.picture_id == other.picture_id and one.picture_id in self._without_proof:
            return Told(None, None)
        if one.picture_id == other.picture_id:
            return Told(Verdict.SAME, True if one.scan_digest and one.scan_digest == other.scan_digest else None)
        look = self._of_pair.get(_pair(one, other))
        return Told(None, None) if look is None else Told(look.verdict, look.confirmed)

    def known_the_same(self) -> defaultdict[int, list[int]]:
        """For each picture the others that are the same by a closer look."""
        found: defaultdict[int, list[int]] = defaultdict(list)
        for (a, b), look in self._of_pair.items():
            if look.verdict is Verdict.SAME and look.confirmed:
                found[a].append(b)
                found[b].append(a)
        return found

    def nearer(self) -> Iterable[tuple[int, int]]:
        """Pairs of pictures of which the first is shown to be nearer the original; of those that are the same."""
        for (a, b), look in self._of_pair.items():
            if look.nearer and look.verdict in (Verdict.SAME, Verdict.RECOLOURED):
                yield (a, b) if look.nearer < 0 else (b, a)


def _pair(one: Copy, other: Copy) -> tuple[int, int]:
    a, b = sorted((one.picture_id, other.picture_id))
    return a, b


def _strength(look: Look) -> tuple[int, bool, bool]:
    return look.verdict.code, look.confirmed is not True, look.mirrored


def may_go(ordered: Sequence[Copy], other_names: Sequence[OtherName | None], looks: Looks) -> list[bool]:
    """For each file, the one to keep first, whether it may go; the first one never may.

    Sound files come before damaged ones in that order, so that none of them goes for the sake of a damaged one.
    """
    staying = _Staying(looks)
    going: list[bool] = []
    for copy, other in zip(ordered, other_names, strict=True):
        if other is None:
            going.append(bool(going) and staying.justifies(copy))
            if not going[-1]:
                staying.add(copy)
        else:  # the names of one file go together; whether something is one file at all must be certain
            going.append(other.how is SameFile.LINK and going[other.place])
    return going


class _Staying:
    """The files that stay, so that looking for one that holds what another shows takes no look at each of them."""

    def __init__(self, looks: Looks) -> None:
        self._looks, self._known_the_same = looks, looks.known_the_same()
        self._by_content: dict[bytes, Copy] = {}
        self._by_picture: defaultdict[int, list[Copy]] = defaultdict(list)  # one of each content

    def add(self, copy: Copy) -> None:
        if copy.content_digest not in self._by_content:
            self._by_content[copy.content_digest] = copy
            self._by_picture[copy.picture_id].append(copy)

    def justifies(self, copy: Copy) -> bool:
        """Is all that this file shows certain to be in one of them?"""
        if copy.content_digest in self._by_content:
            return True
        pictures = (copy.picture_id, *self._known_the_same[copy.picture_id])
        return any(self._holds(other, copy) for picture in pictures for other in self._by_picture[picture])

    def _holds(self, other: Copy, copy: Copy) -> bool:
        if max(other.frames, copy.frames) > 1:
            return False  # a look sees one frame only
        return self._looks.told(other, copy) == (Verdict.SAME, True)
