"""Every match by whatever is compared with: our two measures, and the user's own if there is one.

This is the door of the package: the program makes its search with `open_search`, tries a function of the user's with
`load_custom`, takes the values of single pairs from `best_values`, and has matches looked at again by `look_again`,
`look_closely`, `nearer_the_original`, `may_be_worse` and `lost_detail`. What shares a part is found by `keypoints_of`
and `open_part_search`, and looked at by `look_for_part`. Beside it, `measures.exact`, `measures.descriptors`, `forest`,
`parts.nearest` and `origin` are public.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from dupwatchd.arrays import Matches, Thumbnails
from dupwatchd.compare.custom.hashes import HashSearch
from dupwatchd.compare.custom.kinds import CustomMeasure, DistanceMeasure, HashMeasure, load_custom
from dupwatchd.compare.dense.all_pairs import AllPairs, every_pair
from dupwatchd.compare.dense.device import Device, open_device
from dupwatchd.compare.dense.matcher import DenseMatcher
from dupwatchd.compare.measures import exact
from dupwatchd.compare.measures.descriptors import Descriptors
from dupwatchd.compare.measures.exact import ReadThumbnails
from dupwatchd.compare.tree.matcher import Matcher
from dupwatchd.model import CloserLook, Limits, PartTold, PictureId, Verdict

if TYPE_CHECKING:  # OpenCV takes a tenth of a second to load: it is there once something is looked at again
    from dupwatchd.compare.origin.candidate import Candidate
    from dupwatchd.compare.parts.search import PartSearch
    from dupwatchd.pixels.keypoints import Keypoints
    from dupwatchd.pixels.proof import Proof

__all__ = [
    "CLOSE_PX",
    "CustomMeasure",
    "Search",
    "are_keypoints",
    "best_values",
    "custom_search",
    "keypoints_of",
    "keypoints_version",
    "load_custom",
    "load_verdicts",
    "look_again",
    "look_closely",
    "look_for_part",
    "lost_detail",
    "may_be_worse",
    "nearer_the_original",
    "open_part_search",
    "open_search",
    "read_keypoints",
    "read_keypoints_of_each",
    "read_proof",
    "votes_for_part",
]

CLOSE_PX = 1600  # the longest side of photos that `look_closely` is given
_PICTURES_AT_ONCE = 8192
_PAIRS_AT_ONCE = 2048


class _ByThumbnails(Protocol):
    """A search that needs thumbnails, not descriptors: by the user's measure, or all with all."""

    def add(self, ids: Sequence[PictureId], thumbnails: Thumbnails, /) -> None: ...
    def remove(self, ids: Sequence[PictureId], /) -> None: ...
    def match(self, ids: Sequence[PictureId], thumbnails: Thumbnails, /) -> Iterator[Matches]: ...


class Search:
    """All known pictures; used by one thread at a time.

    Our own measures are searched in trees, or, where a GPU is asked for, by comparing all with all.
    """

    def __init__(
        self,
        limits: Limits,
        read_thumbnails: ReadThumbnails,
        custom: CustomMeasure | None,
        device: Device,
        *,
        on_device: bool,
    ) -> None:
        """With ``on_device`` our own measures are compared on the device, all with all."""
        self._read_thumbnails = read_thumbnails
        self._tree = None if on_device else Matcher(limits, read_thumbnails)
        self._others: list[_ByThumbnails] = []
        if on_device:
            self._others.append(DenseMatcher(limits, read_thumbnails, device))
        if custom is not None:
            self._others.append(custom_search(custom, limits, read_thumbnails, device))
        self._needs_thumbnails = custom is not None
        self._ids: dict[PictureId, None] = {}  # known to the others, in order; used as a set

    def add(self, ids: Sequence[PictureId], described: Descriptors) -> None:
        """Make pictures known, from their descriptors (N, 32)."""
        if self._tree is not None:
            self._tree.add(ids, described)
        self._add_to_others(ids)

    def remove(self, ids: Sequence[PictureId]) -> None:
        """Make pictures unknown; what is not known is passed over. Their ids may be added again."""
        if self._tree is not None:
            self._tree.remove(ids)
        self._remove_from_others([one for one in ids if one in self._ids])

    def match(self, ids: Sequence[PictureId], thumbnails: Thumbnails, described: Descriptors) -> Iterator[Matches]:
        """All matches of new pictures with the known ones and with each other, some at a time; adds nothing.

        Takes their thumbnails (N, S, S, 3) and descriptors (N, 32). A pair may come twice: with a value of the user's
        measure and without. Raises UsageError if the user's function goes wrong. Hashes: see `custom.hashes`.
        """
        if self._tree is not None:
            yield from self._tree.match(ids, thumbnails, described)
        yield from self._match_others(ids, thumbnails)

    def match_known(self, ids: Sequence[PictureId], threads: int) -> Iterator[Matches]:
        """All matches of known pictures with all known ones; what is not known (any more) is passed over."""
        if self._tree is not None:
            yield from self._tree.match_known(ids, threads=threads)
        if self._others:
            again = [one for one in ids if one in self._ids]
            self._remove_from_others(again)
            yield from self._match_others(again, self._read_thumbnails(list(again)))
            self._add_to_others(again)

    def match_all(self, ids: Sequence[PictureId], threads: int) -> Iterator[tuple[int, Iterable[Matches]]]:
        """All matches of all known pictures, whose ids are given, in parts: a number of pictures and their matches."""
        if self._tree is not None:
            in_order: list[PictureId] = self._tree.known().tolist()
            for part in _parts(in_order):
                yield len(part), self._tree.match_known(part, only_earlier=True, threads=threads)
        if not self._others:
            return
        self._remove_from_others(ids)
        for part in _parts(ids):
            yield 0 if self._tree else len(part), self._match_others(part, self._read_thumbnails(list(part)))
            self._add_to_others(part)

    def _add_to_others(self, ids: Sequence[PictureId]) -> None:
        if not self._others:
            return
        self._ids.update(dict.fromkeys(ids))
        for part in _parts(ids):
            thumbnails = self._read_thumbnails(list(part) if self._needs_thumbnails else [])
            for other in self._others:
                other.add(part, thumbnails)

    def _remove_from_others(self, ids: Sequence[PictureId]) -> None:
        for one in ids:
            self._ids.pop(one, None)
        for other in self._others:
            other.remove(ids)

    def _match_others(self, ids: Sequence[PictureId], thumbnails: Thumbnails) -> Iterator[Matches]:
        for other in self._others:
            yield from other.match(ids, thumbnails)


def open_search(
    limits: Limits,
    read_thumbnails: ReadThumbnails,
    thumbnail_px: int,
    device: str,
    memory_mb: int | None,
    warn: Callable[[str], None],
) -> Search:
    """The search within these limits; ``device`` is ``auto``, ``cpu`` or ``cuda``.

    ``warn`` is called with one line if that device cannot be used, or fails later. Raises UsageError if the user's
    measure, named in the limits, is not one.
    """
    custom = load_custom(limits.custom, thumbnail_px) if limits.custom else None
    # a tree is faster than any GPU for our own measures: a GPU takes part if it is asked for, or for the user's
    opened = open_device(device if custom or device == "cuda" else "cpu", memory_mb, warn)
    return Search(limits, read_thumbnails, custom, opened, on_device=device == "cuda" and opened.name != "cpu")


def custom_search(
    custom: CustomMeasure, limits: Limits, read_thumbnails: ReadThumbnails, device: Device
) -> _ByThumbnails:
    """The search by the user's measure: all matches by it, with the values of our own measures as well."""
    if isinstance(custom, HashMeasure):
        return HashSearch(custom, limits.mirrored, read_thumbnails)
    if isinstance(custom, DistanceMeasure):
        custom.device = device
        pairs_of = partial(every_pair, mirrored=limits.mirrored)
        return AllPairs(read_thumbnails, pairs_of, partial(custom.matches, limits.keep_custom))
    from dupwatchd.compare.custom.features import FeatureSearch  # numba takes 0.3 s to load

    return FeatureSearch(custom, limits.keep_custom, limits.mirrored, read_thumbnails)


def best_values(
    custom: CustomMeasure, read_thumbnails: ReadThumbnails, pairs: list[tuple[int, int]], *, mirrored: bool
) -> list[tuple[float, float, int, bool, float]]:
    """As `exact.measure_best`, in the orientation that makes the user's value smallest, which comes last."""
    own = exact.measure_best(read_thumbnails, pairs, "structure", mirrored=mirrored)
    found: list[tuple[float, float, int, bool, float]] = []
    for start in range(0, len(pairs), _PAIRS_AT_ONCE):
        part = slice(start, start + _PAIRS_AT_ONCE)
        first, second = (read_thumbnails([pair[place] for pair in pairs[part]]) for place in (0, 1))
        places = np.arange(len(first))
        values, turn = custom.best(first, second, places, places, mirrored=False)
        flipped, turn_flipped = (
            custom.best(first, second, places, places, mirrored=True) if mirrored else (values, turn)
        )
        better = flipped < values
        turns, smallest = np.where(better, turn_flipped, turn), np.minimum(values, flipped)
        for (mse, structure, *_), *rest in zip(
            own[part], turns.tolist(), better.tolist(), smallest.tolist(), strict=True
        ):
            found.append((mse, structure, *rest))
    return found


def load_verdicts() -> None:
    """Load what the functions below need, so that the first photo need not wait for it."""
    from dupwatchd.compare.verdict import fine  # noqa: F401


def read_proof(data: bytes) -> "Proof":
    """A proof as it was stored; raises ValueError if these are not the bytes of one."""
    from dupwatchd.pixels.proof import Proof

    return Proof.from_bytes(data)


def look_again(first: "Proof", second: "Proof", turn_degrees: int, *, mirrored: bool) -> tuple[Verdict, CloserLook]:
    """What two pictures are to each other, by their proofs, and what a closer look is good for.

    The second is mirrored, if asked, and then turned clockwise so that it shows the first. Of animations and files of
    several pages all pictures must agree; if they only seem to, nobody can say for certain by looking at the first one.
    Any thread may call this.
    """
    from dupwatchd.compare.verdict import verdict
    from dupwatchd.pixels.frames import agreement
    from dupwatchd.pixels.proof import wants_a_closer_look

    frames_agree = agreement(first.frames, second.frames)
    if frames_agree is False:
        return Verdict.SIMILAR, CloserLook.LATER
    seen = verdict.look(first, second, turn_degrees, mirrored=mirrored)
    found = verdict.verdict_of(seen)
    if frames_agree is None:
        return found, CloserLook.DONE if found is Verdict.SAME else CloserLook.LATER
    if found is Verdict.SAME:
        is_fine = wants_a_closer_look(first) or wants_a_closer_look(second)
        return found, CloserLook.AT_ONCE if is_fine or verdict.doubtful(seen) else CloserLook.LATER
    return found, CloserLook.AT_ONCE if verdict.nearly_the_same(seen) else CloserLook.LATER


def look_closely(
    first: NDArray[np.uint8], second: NDArray[np.uint8], turn_degrees: int, *, mirrored: bool, suspect: bool
) -> tuple[Verdict | None, bool | None]:
    """What two pictures are, by their pixels (H, W, 3), and whether they are the same for certain; None: untold.

    ``suspect``: by their proofs they are not the same, so that more is asked for.
    """
    from dupwatchd.compare.verdict import fine

    closer = fine.look_closely(first, second, turn_degrees, mirrored=mirrored, suspect=suspect)
    return closer.verdict, closer.confirmed


def nearer_the_original(first: "Candidate", second: "Candidate") -> int:
    """Which of two files that show one picture is nearer the original: -1 the first, 1 the second, 0: nothing shows it.

    The two may be turned, mirrored or of different size.
    """
    from dupwatchd.compare.origin import direction

    return int(direction.nearer(first, second))


def may_be_worse(first: "Candidate", second: "Candidate", nearer: int | None) -> bool:
    """Whether the one kept of two files of one picture may be made from the other, and lack what that one has.

    The larger may be the smaller one enlarged, or of two of equal size one may be the other made softer, unless one is
    shown to be ``nearer`` the original, as `nearer_the_original` says.
    """
    from dupwatchd.compare.origin import direction

    return direction.may_be_enlarged(first, second) or (not nearer and direction.may_be_softened(first, second))


def lost_detail(first: "Candidate", second: "Candidate") -> bool:
    """Whether the second of two pictures of one size is softer than the first."""
    from dupwatchd.compare.origin import direction

    return direction.lost_detail(first, second)


def open_part_search() -> "PartSearch":
    """The search for pictures that share a part, by their keypoints; it knows none yet."""
    from dupwatchd.compare.parts.search import PartSearch

    return PartSearch()


def keypoints_version() -> int:
    """Keypoints of another version cannot be compared with those of this one."""
    from dupwatchd.pixels import keypoints

    return keypoints.VERSION


def keypoints_of(proof: "Proof") -> "Keypoints":
    """The keypoints of a picture, by its proof."""
    from dupwatchd.pixels import keypoints

    return keypoints.keypoints_of(proof)


def read_keypoints(data: bytes) -> "Keypoints":
    """Keypoints as they were stored; raises ValueError if these are not the bytes of any."""
    from dupwatchd.pixels.keypoints import Keypoints

    return Keypoints.from_bytes(data)


def read_keypoints_of_each(stored: Sequence[bytes]) -> "list[Keypoints | None]":
    """Likewise of some pictures, and None for what are not the bytes of any."""
    from dupwatchd.pixels.keypoints import read_many

    try:
        return [*read_many(stored).each()]
    except ValueError:
        if len(stored) == 1:
            return [None]
    return [one for data in stored for one in read_keypoints_of_each([data])]


def are_keypoints(stored: Sequence[bytes]) -> bool:
    """Whether the bytes of each of some pictures are those of keypoints."""
    from dupwatchd.pixels import keypoints

    try:
        keypoints.read_many(stored)
    except ValueError:
        return False
    return True


def votes_for_part(first: "Keypoints", second: "Keypoints") -> int:
    """How many keypoints agree on how two pictures lie on each other; 0 if these do not show that they share a part."""
    from dupwatchd.compare.parts.agreement import placement_of

    found = placement_of(first, second)
    return found.votes if found else 0


def look_for_part(
    first: "Proof", second: "Proof", keypoints: "tuple[Keypoints, Keypoints] | None" = None
) -> tuple[Verdict | None, PartTold] | None:
    """What two pictures are to each other if one shows a part of the other, by their proofs, and how they lie.

    ``keypoints``: of the first and of the second, if they are at hand. The verdict is None if they share a part at
    most; all is None if their keypoints do not even show that. The order of the two does not matter. Any thread may
    call this.
    """
    from dupwatchd.compare.parts.agreement import placement_of
    from dupwatchd.compare.parts.look import look_at_part

    swapped = second.digest < first.digest
    one, other = (second, first) if swapped else (first, second)
    found = keypoints or (keypoints_of(first), keypoints_of(second))
    placement = placement_of(*(found[::-1] if swapped else found))
    if placement is None:
        return None
    seen = look_at_part(one, other, placement)
    turn, shows_more = seen.placement.turn_degrees, seen.shows_more
    if swapped:
        turn, shows_more = -turn % 360, -shows_more
    outline = seen.outline if shows_more and seen.outline is not None else ()
    return seen.verdict, PartTold(turn, shows_more, seen.is_framed, outline)


def _parts(ids: Sequence[PictureId]) -> Iterator[Sequence[PictureId]]:
    for start in range(0, len(ids), _PICTURES_AT_ONCE):
        yield ids[start : start + _PICTURES_AT_ONCE]
