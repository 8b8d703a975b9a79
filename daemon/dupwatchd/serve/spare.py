"""Decides which files of a group go, for the sake of which file that stays.

In: the files of a group in the order in which they would be kept, what second looks have found, which of them are other
names of one file, and a policy. Out: for each file what becomes of it. This is the only place that decides it: `scan`,
`clusters`, ``--spare``, ``reclaimable_bytes`` and plans all show what comes out here.

A file may go if it is equal byte by byte to a file that stays, or the same picture as one by a closer look, or one of
the lesser versions that were asked for. Of a picture and a part of it only the part may go, or the one with a frame
around it, and only if it does not show that part finer. Being joined with it through others is not enough. What is
another name of a file that stays never goes.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from enum import Enum
from typing import NamedTuple

from dupwatchd.db.answers import Copy, Look
from dupwatchd.db.contents import ContentLook
from dupwatchd.model import NO_PART, PartTold, Verdict
from dupwatchd.serve.ignored import NONE_IGNORED, IgnoredPairs
from dupwatchd.serve.keep import SHOWS_LESS, SHOWS_MORE, WITH_FRAME, WITHOUT_FRAME, Direction
from dupwatchd.serve.lacks import held_only_by, shows_less
from dupwatchd.serve.plan_doubts import doubt, exposed_apart, is_read, of_one_burst
from dupwatchd.serve.plan_families import RAW
from dupwatchd.serve.plan_policy import Pin, Policy


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

    verdict: Verdict | None  # None: not looked at, joined only through others, or somebody said: no duplicates
    confirmed: bool | None  # by equal bytes, equal pixels, or a look at many more pixels


_AS_FINE = 0.94  # of the pixels that one file has for a part of a picture: then another one shows that part as fine
_OF_PARTS = Verdict.CROPPED, Verdict.RECOLOURED  # a part may have been recoloured as well
_NO_THUMBNAIL = 0.4  # of those pixels: screenshots enlarge a photo as far as the screen is wide


class Looks:
    """What second looks have found of the pictures of a cluster."""

    def __init__(
        self,
        looks: Iterable[Look],
        *,
        mirrored: bool,
        without_proof: Collection[int] = (),
        ignored: IgnoredPairs = NONE_IGNORED,
        joining: Collection[Verdict] = (),
        of_contents: Iterable[ContentLook] = (),
    ) -> None:
        """``mirrored``: whether mirror images count. Of pictures without a proof only equal bytes are certain.

        What was found of ``ignored`` pairs of contents does not count: somebody said that they are no duplicates.
        ``joining``: the verdicts that are asked for. ``of_contents``: what was found of contents of one picture.
        """
        self._of_contents = {(look.picture_id, look.a, look.b): look for look in of_contents}
        self._of_several = {look.picture_id for look in self._of_contents.values() if look.confirmed is False}
        self._joining = joining
        self._without_proof = without_proof
        self._ignored = ignored
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
        if self.is_ignored(one, other):
            return Told(None, None)
        if one.picture_id == other.picture_id and one.picture_id in self._without_proof:
            return Told(None, None)
        if one.picture_id == other.picture_id:
            return self._told_of_contents(one, other)
        look = self._of_pair.get(_pair(one, other))
        if look is None:
            return Told(None, None)
        # A look reads one file of each picture. Where two contents of one differ, it tells nothing of the other one.
        if look.confirmed and not self._of_several.isdisjoint((one.picture_id, other.picture_id)):
            return Told(look.verdict, None)
        return Told(look.verdict, look.confirmed)

    def is_ignored(self, one: Copy, other: Copy) -> bool:
        """Whether somebody said that two files are no duplicates of each other."""
        return bool(self._ignored.count) and self._ignored.holds(one.content_digest, other.content_digest)

    def _told_of_contents(self, one: Copy, other: Copy) -> Told:
        """What one file is to another one that shows the same picture with other bytes."""
        if (one.scan_digest and one.scan_digest == other.scan_digest) or equal_in_all_pixels(one, other):
            return _SAME
        a, b = sorted((one.pixels, other.pixels))
        look = self._of_contents.get((one.picture_id, a, b))
        return Told(Verdict.SAME, None) if look is None else Told(look.verdict, look.confirmed)

    def that_let_go(self, also: Collection[Verdict] = ()) -> defaultdict[int, list[int]]:
        """For each picture the others that are the same by a closer look, or have one of the verdicts ``also``."""
        found: defaultdict[int, list[int]] = defaultdict(list)
        for (a, b), look in self._of_pair.items():
            asked_for = look.verdict in also and (look.verdict is Verdict.CROPPED or not look.by_parts)
            if (look.verdict is Verdict.SAME and look.confirmed) or asked_for:
                found[a].append(b)
                found[b].append(a)
        return found

    def part(self, one: Copy, other: Copy) -> tuple[bool, PartTold]:
        """Whether ``one`` shows more of what both show, and how the other one lies in it, as far as that is known."""
        look = self._of_pair.get(_pair(one, other))
        if look is None or not look.part.shows_more or self.told(one, other).verdict is not look.verdict:
            return False, NO_PART
        return (one.picture_id < other.picture_id) == (look.part.shows_more < 0), look.part

    def is_nearer(self, one: Copy, other: Copy) -> bool:
        """Is a file shown to be nearer the original than another, by a look at both?"""
        look = self._of_pair.get(_pair(one, other))
        return look is not None and look.nearer == (-1 if one.picture_id < other.picture_id else 1)

    def turn(self, one: Copy, other: Copy) -> int | None:
        """By how many degrees a file is turned clockwise to show the other, if it was found by a part of it; else None.

        As wholes they do not show how they lie.
        """
        look = self._of_pair.get(_pair(one, other))
        if look is None or not look.by_parts or self.told(one, other).verdict is not look.verdict:
            return None
        return look.part.turn_degrees if one.picture_id > other.picture_id else -look.part.turn_degrees % 360

    def has_all_of(self, one: Copy, other: Copy) -> bool:
        """Does a file show all of the picture that the other one shows, of which it is a part, and as fine?"""
        shows_more, part = self.part(one, other)
        if not part.shows_more or shows_more == part.is_framed:
            return False
        mine, its = _pixels(one), _pixels(other)
        return mine >= _AS_FINE * part.share * its if part.is_framed else part.share * mine >= _AS_FINE * its

    def nearer(self, copies: Iterable[Copy]) -> Iterator[Direction]:
        """Which pictures of some files are shown to be nearer the original than others, by verdicts that are asked for.

        A picture comes before a part of it, and before the same in a frame if it is not far smaller than in there.
        """
        pixels: dict[int, int] = {}
        for copy in copies:
            pixels[copy.picture_id] = max(pixels.get(copy.picture_id, 0), _pixels(copy))
        for (a, b), look in self._of_pair.items():
            if look.nearer and look.verdict in (Verdict.SAME, Verdict.RECOLOURED):
                yield Direction(a, b) if look.nearer < 0 else Direction(b, a)
            elif look.verdict in _OF_PARTS and look.part.shows_more and look.verdict in self._joining:
                more, less = (a, b) if look.part.shows_more < 0 else (b, a)
                if not look.part.is_framed:
                    yield Direction(more, less, SHOWS_MORE, SHOWS_LESS)
                elif pixels.get(less, 0) >= _NO_THUMBNAIL * look.part.share * pixels.get(more, 0):
                    yield Direction(less, more, WITHOUT_FRAME, WITH_FRAME)


def equal_in_all_pixels(one: Copy, other: Copy) -> bool:
    """Are two files known to have equal pixels, in each of their frames or pages?"""
    return one.picture_id == other.picture_id and one.pixels == other.pixels != b""


def _pixels(copy: Copy) -> int:
    return copy.width * copy.height


def _pair(one: Copy, other: Copy) -> tuple[int, int]:
    a, b = sorted((one.picture_id, other.picture_id))
    return a, b


def _strength(look: Look) -> tuple[int, bool, bool]:
    return look.verdict.code, look.confirmed is not True, look.mirrored


_EQUAL, _SAME = Told(Verdict.IDENTICAL, confirmed=True), Told(Verdict.SAME, confirmed=True)


class Decision(NamedTuple):
    """What becomes of one file."""

    goes: bool
    held_by: int | None = None  # the place of the file that stays and holds all that this one shows
    told: Told = Told(None, None)  # what it is to that one
    pin: Pin | None = None


class Decided(NamedTuple):
    """What becomes of the files of a group."""

    files: list[Decision]
    asked: str | None = None  # why a person has to look at it first; then nothing goes

    @property
    def any_goes(self) -> bool:
        """Whether anything goes, or would if nobody had to be asked."""
        return any(one.held_by is not None for one in self.files)


def decide(
    ordered: Sequence[Copy],
    other_names: Sequence[OtherName | None],
    looks: Looks,
    policy: Policy,
    pins: Sequence[Pin | None],
    paired: Sequence[bool],
    by_rules: Sequence[int],
) -> Decided:
    """What becomes of each file, the one to keep first; that one never goes.

    A file goes if one that stays holds all that it shows: one that is pinned, or comes before it in that order.
    ``pins``: why files stay in any case; all names of one file have one pin. ``paired``: whether it is a RAW photo with
    a picture beside it, or such a picture: then it goes for one of its own kind only. ``by_rules``: the place that each
    file would have if none was pinned: no file goes for a lesser one that only a pin puts before it.
    """
    staying = _Staying(looks, policy, by_rules)
    for place, (copy, pin) in enumerate(zip(ordered, pins, strict=True)):
        if pin is not None and other_names[place] is None:
            staying.add(place, copy, pin)
    files: list[Decision] = []
    for place, (copy, other, pin) in enumerate(zip(ordered, other_names, pins, strict=True)):
        if other is None:
            held_by = staying.holder_of(place, copy, paired=paired[place]) if place and pin is None else None
            if held_by is not None:
                files.append(Decision(True, *held_by))
                continue
            if pin is None:
                staying.add(place, copy, pin)
            files.append(Decision(False, pin=pin))
        else:  # the names of one file go together; whether something is one file at all must be certain
            same = files[other.place]
            goes = other.how is SameFile.LINK and same.goes
            files.append(same._replace(pin=pin) if goes else Decision(False, pin=pin))
    asked = _asked(ordered, files, looks, policy)
    return Decided([one._replace(goes=False) for one in files] if asked else files, asked)


def _asked(ordered: Sequence[Copy], files: Sequence[Decision], looks: Looks, policy: Policy) -> str | None:
    """Why a person has to look at a group before anything of it goes."""
    for copy, one in zip(ordered, files, strict=True):
        if one.held_by is not None and one.told.verdict is not Verdict.IDENTICAL:
            holder = ordered[one.held_by]
            is_nearer = looks.is_nearer(holder, copy) or equal_in_all_pixels(holder, copy)
            words = doubt(copy, holder, one.told.verdict, policy.ask_when, is_nearer=is_nearer)
            if words is not None:
                return words
    return None


def objection(copy: Copy, other: Copy, policy: Policy, *, paired: bool) -> str | None:
    """Why a file does not go for another one although that is the same picture, or a version that was asked for."""
    if not (is_read(copy) and is_read(other)):
        return "an earlier version indexed one of them, which is being read again: then this is decided"
    if max(copy.frames, other.frames) > 1 and not equal_in_all_pixels(copy, other):
        return "a look sees one of its frames or pages only"
    if other.damaged and not copy.damaged:
        return "that one is damaged"
    if copy.bits > other.bits and copy.picture_id == other.picture_id:
        return "that one has fewer bits a colour"
    if held := held_only_by(copy, other):
        return f"that one lacks what this one holds beside the picture: {', '.join(held)}"
    if paired and (other.format == RAW) != (copy.format == RAW):
        return "one of them is a RAW photo, and the other a picture beside one"
    if not policy.bursts and of_one_burst(other, copy):
        return "both are shots of one burst"
    if not policy.bursts and exposed_apart(other, copy):
        return "one camera took both, with other exposures or as two shots"
    return None


class _Holder(NamedTuple):
    """A file that stays."""

    place: int
    copy: Copy
    is_pinned: bool  # without having been chosen


class _Staying:
    """The files that stay, so that looking for one that holds what another shows takes no look at each of them."""

    def __init__(self, looks: Looks, policy: Policy, by_rules: Sequence[int]) -> None:
        self._looks, self._policy, self._by_rules = looks, policy, by_rules
        self._near = looks.that_let_go(policy.also)
        self._by_content: dict[bytes, int] = {}
        self._by_picture: defaultdict[int, list[_Holder]] = defaultdict(list)
        self._known: set[tuple[int, bool]] = set()  # one holder of each content is enough, pinned and not pinned

    def add(self, place: int, copy: Copy, pin: Pin | None) -> None:
        """A file stays; if there are reference files, only those hold what others show."""
        if self._policy.reference and pin is not Pin.REFERENCE:
            return
        # Equal bytes may be two contents, read in two ways; the one that comes first may be added later.
        self._by_content[copy.content_digest] = min(place, self._by_content.get(copy.content_digest, place))
        is_pinned = pin is not None and copy.path not in self._policy.keep_files
        if (copy.content_id, is_pinned) not in self._known:
            self._known.add((copy.content_id, is_pinned))
            self._by_picture[copy.picture_id].append(_Holder(place, copy, is_pinned))

    def holder_of(self, place: int, copy: Copy, *, paired: bool) -> tuple[int, Told] | None:
        """The first of these files that holds all that this one shows, for certain; one of equal bytes first."""
        equal = self._by_content.get(copy.content_digest)
        if equal is not None:
            return equal, _EQUAL
        best: tuple[int, Told] | None = None
        for picture in (copy.picture_id, *self._near.get(copy.picture_id, ())):
            for one in self._by_picture.get(picture, ()):
                if best is None or one.place < best[0]:
                    told = self._told_if_held(one, place, copy, paired=paired)
                    best = best if told is None else (one.place, told)
        return best

    def _told_if_held(self, one: _Holder, place: int, copy: Copy, *, paired: bool) -> Told | None:
        """What a file is to another one that holds all that it shows; None if that does not."""
        other = one.copy
        told = self._looks.told(other, copy)
        if told != _SAME and (told.verdict not in self._policy.also or self._shows_more(copy, other, told)):
            return None
        if objection(copy, other, self._policy, paired=paired) is not None:
            return None
        is_lesser = one.is_pinned and self._by_rules[one.place] > self._by_rules[place] and shows_less(other, copy)
        return None if is_lesser else told

    def _shows_more(self, copy: Copy, other: Copy, told: Told) -> bool:
        """May a version of a picture show what the other one does not: what was cut off, finer lines, or colours?"""
        if told.verdict is Verdict.CROPPED:
            return copy.has_colour > other.has_colour or not self._looks.has_all_of(other, copy)
        return _pixels(copy) > _pixels(other) or copy.has_colour > other.has_colour
