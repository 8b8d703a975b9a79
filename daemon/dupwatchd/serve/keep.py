"""The files of a cluster go in, the order in which they would be kept comes out, each with its reason in words.

The first difference decides. Two differences always come first: a damaged file stands behind a sound one, and a file
with fewer frames or pages behind one with more. After them come the files that stay in any case, then the rules that
were asked for (see `plan_rules`), then the default order, which ends with the path, so that no two files are equal.

A direction, found by looking at two pictures, says which of them is shown to be nearer the original: it is the one that
the other was made from, or shows more of the picture, or the picture without a frame around it. Directions decide
among files that are alike in all that somebody asked for, and in having colour. As directions of several pairs may
contradict each other, they only say which file comes first: the first one by the rules gives way to one that is shown
to be nearer, and that to another, until none is or a circle closes.
"""

import os
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from dupwatchd.db.answers import Copy
from dupwatchd.serve.lacks import names_held, pixel_steps
from dupwatchd.serve.plan_rules import KeepRule, time_in_words

SMALL = 0.6  # of the most pixels in the cluster: what is smaller was made smaller, whatever its metadata say

# Archives and memory cards without a clock give files a time of 1970 or of 1980; this is the third day of 1980.
_CLOCKS_BEGIN_NS = 315_705_600 * 10**9

_CAMERA_FORMATS = ("HEIF", "JPEG")  # in this order
_LOSSLESS_FORMATS = frozenset({"PNG", "TIFF", "PPM", "PSD", "TGA", "QOI", "JPEG2000", "JXL"})  # if saved without loss
_LOSSLESS_RANK = 2
_LOSSY_FORMATS = frozenset({"WEBP", "AVIF", "JPEG2000", "JXL"})


class Kept(NamedTuple):
    """One file in its place."""

    copy: Copy
    reason: str  # of the first: why it is kept; of the others: what they lack against it


_Key = tuple[Any, ...]

_Reasons = tuple[tuple[str, str], ...]  # of each part of a key: why a file is kept, what the others lack

_ALWAYS_FIRST: _Reasons = (
    ("not damaged", "damaged"),
    ("most frames or pages", "fewer frames or pages"),
    ("stays in any case", "behind one that stays in any case"),
)
_DEFAULT: _Reasons = (
    ("in colour", "without colour"),
    ("the camera's data in it", "without the camera's data"),
    ("not edited", "edited"),
    ("not saved with loss before", "saved with loss before"),
    ("RAW", "not the RAW file"),
    ("most pixels", "far fewer pixels"),
    ("saved without loss", "saved with loss"),
    ("better format", "lesser format"),
    ("most pixels", "fewer pixels"),
    ("more bits a colour", "fewer bits a colour"),
    ("transparent where the other is not", "without its transparency"),
    ("a film, a map or other data beside it", "without what the other holds beside it"),
    ("taken earliest", "taken later"),
    ("a place, stars, keywords, a caption or people with it", "without its place, stars, keywords, caption or people"),
    ("a time of its last change", "no time of its last change that can be true"),
    ("modified earliest", "modified later"),
    ("most bytes", "fewer bytes"),
    ("a sidecar beside it", "no sidecar beside it"),
    ("shortest path", "longer path"),
    ("first by name", "later by name"),
)
_DEFAULT_ABOVE_DIRECTIONS = 1  # so many parts of the default order stand above any direction, as all before them do

# The bits of each rule in a rank, see `ranks`, from the highest to the lowest.
_BITS = {
    "damaged": 1,
    "frames": 32,
    "grey": 1,
    "not_from_camera": 1,
    "edited": 1,
    "jpeg_grid": 1,
    "not_raw": 1,
    "made_smaller": 1,
    "lossy": 1,
    "format": 3,
    "steps": 12,
}
_SHIFT = {name: sum(list(_BITS.values())[place + 1 :]) for place, name in enumerate(_BITS)}
_MOST_FRAMES, _MOST_STEPS = (1 << _BITS["frames"]) - 1, (1 << _BITS["steps"]) - 2

if TYPE_CHECKING:  # a scan without copies does without the array library
    import numpy as np
    from numpy.typing import NDArray

    Whole = NDArray[np.int64]


def _default_key(copy: Copy, most_pixels: int) -> _Key:
    """The smaller one of two is kept, by the default order but for its last parts; ``most_pixels``: of the cluster."""
    # what is far smaller than another was made smaller: then neither metadata nor format count for it
    made_smaller = copy.width * copy.height < SMALL * most_pixels
    from_camera = not made_smaller and copy.camera != "" and copy.captured != ""
    format_rank = _format_rank(copy.format, lossless=copy.lossless)
    return (
        not copy.has_colour,
        not from_camera,
        from_camera and bool(copy.edited),
        bool(copy.jpeg_grid),
        copy.format != "RAW",
        made_smaller,
        # Without the camera's data a JPEG is no more likely the original than a picture that was never saved as one.
        not from_camera and format_rank != _LOSSLESS_RANK,
        format_rank,
        -pixel_steps(copy.width * copy.height),
        -copy.bits,
        not copy.transparent,
        not copy.holds,
        (copy.captured == "", copy.captured),
        -len(_told_beside(copy)),
        copy.mtime_ns < _CLOCKS_BEGIN_NS,
        copy.mtime_ns,
        -copy.size_bytes,
    )


def _told_beside(copy: Copy) -> list[str]:
    """What a file tells of its photo beside camera and capture time."""
    told = {
        "place": copy.has_place,
        "stars": copy.rating,
        "keywords": copy.keywords,
        "caption": copy.captions,
        "people": copy.people,
    }
    return [name for name, value in told.items() if value]


def _default_value(part: int, copy: Copy, *, has_sidecar: bool) -> str:
    """What a file has of a part of the default order, in words."""
    values = (
        "in colour" if copy.has_colour else "without colour",
        f"{copy.camera or 'no camera'}, {copy.captured or 'no capture time'}",
        "edited" if copy.edited else "not edited",
        "from pixels saved with loss" if copy.jpeg_grid else "not from such",
        copy.format,
        f"{copy.width} × {copy.height}",
        f"{copy.format}, {'without' if copy.lossless else 'with'} loss",
        copy.format,
        f"{copy.width} × {copy.height}",
        f"{copy.bits} bits",
        "transparent" if copy.transparent else "opaque",
        ", ".join(names_held(copy)) or "nothing",
        copy.captured or "no capture time",
        ", ".join(_told_beside(copy)) or "none",
        time_in_words(copy.mtime_ns),
        time_in_words(copy.mtime_ns),
        f"{copy.size_bytes:,} bytes",
        "there is one" if has_sidecar else "none",
        f"{len(copy.path)} bytes of path",
        os.fsdecode(copy.path),
    )
    return values[part]


def ranks(
    damaged: "Whole",
    frames: "Whole",
    has_colour: "Whole",
    from_camera: "Whole",
    edited: "Whole",
    jpeg_grid: "Whole",
    lossless: "Whole",
    pixels: "Whole",
    formats: Sequence[str],
) -> "Whole":
    """The default order up to the part of pixels as one number, the lowest for the file to keep, if none is far larger.

    (F,) of F files, the truth of a fact as 0 or 1. Files of one rank are told apart by the rules that are left out.
    """
    import numpy as np

    steps = np.array([pixel_steps(count) for count in pixels.tolist()], np.int64)
    named = zip(formats, lossless.tolist(), strict=True)
    format_ranks = np.array([_format_rank(name, lossless=bool(saved)) for name, saved in named], np.int64)
    parts = {
        "damaged": damaged,
        "frames": _MOST_FRAMES - np.minimum(frames, _MOST_FRAMES),
        "grey": 1 - has_colour,
        "not_from_camera": 1 - from_camera,
        "edited": from_camera & edited,
        "jpeg_grid": jpeg_grid,
        "not_raw": np.array([name != "RAW" for name in formats], np.int64),
        "lossy": (1 - from_camera) & (format_ranks != _LOSSLESS_RANK),
        "format": format_ranks,
        "steps": _MOST_STEPS - np.minimum(steps, _MOST_STEPS),
    }
    result = np.zeros(len(pixels), np.int64)
    for name, part in parts.items():
        result |= part << _SHIFT[name]
    return result


def ranks_if_made_smaller(ranks: "Whole") -> "Whole":
    """What ranks (F,) become if another file of the cluster is far larger: none becomes lower."""
    raised = (1 << _SHIFT["not_from_camera"]) | (1 << _SHIFT["made_smaller"])
    is_lossy = (ranks >> _SHIFT["format"]) & ((1 << _BITS["format"]) - 1) != _LOSSLESS_RANK
    result: Whole = (ranks | raised | (is_lossy << _SHIFT["lossy"])) & ~(1 << _SHIFT["edited"])
    return result


NEAREST, FURTHER = "nearest to the original", "further from the original"
SHOWS_MORE, SHOWS_LESS = "shows more of the picture", "shows less of the picture"
WITHOUT_FRAME, WITH_FRAME = "without the frame around it", "with a frame around it"
BEHIND_ANOTHER = "kept after a file that is further from the original"


def _most_pixels(copies: Sequence[Copy], above: defaultdict[int, set[int]]) -> int:
    """Of a file that is not shown to be enlarged: further from the original than a smaller one."""
    pixels: dict[int, int] = {}  # by picture
    for copy in copies:
        pixels[copy.picture_id] = max(pixels.get(copy.picture_id, 0), copy.width * copy.height)
    own = [
        count
        for picture, count in pixels.items()
        if all(pixels.get(other, count) >= count for other in above.get(picture, ()))
    ]
    return max(own or pixels.values())


class Direction(NamedTuple):
    """A picture is shown to be nearer the original than another one."""

    winner: int
    loser: int
    won: str = NEAREST  # why it is kept
    lost: str = FURTHER  # what the other lacks


NONE_AHEAD: Mapping[bytes, int] = {}


class KeepOrder:
    """Files in the order in which they would be kept, and what decides between any two of them."""

    def __init__(
        self,
        copies: Sequence[Copy],
        nearer: Iterable[Direction] = (),
        rules: Sequence[KeepRule] = (),
        ahead: Mapping[bytes, int] = NONE_AHEAD,
        has_sidecar: Callable[[Copy], bool] = lambda _: False,
    ) -> None:
        """Of at least one file; no path may occur twice.

        ``nearer``: which pictures are shown to be nearer the original than others. ``rules`` come before the default
        order. ``ahead``: paths of files that come before others whatever the rules say, those with the smallest number
        first. ``has_sidecar`` is asked of files that only their paths tell apart.

        Any set of directions gives an order, and the order of the files does not matter.
        """
        self._above: defaultdict[int, set[int]] = defaultdict(set)  # pictures that are nearer, by picture
        self._words: dict[tuple[int, int], tuple[str, str]] = {}
        for winner, loser, *words in nearer:
            self._above[loser].add(winner)
            self._words[winner, loser] = (words[0], words[1])
        self._copies, self._rules = copies, rules
        self._picture = [copy.picture_id for copy in copies]
        self._keys = self._made_keys(ahead, has_sidecar)
        self._reasons = (*_ALWAYS_FIRST, *((rule.won, rule.lost) for rule in rules), *_DEFAULT)
        self._above_directions = len(_ALWAYS_FIRST) + len(rules) + _DEFAULT_ABOVE_DIRECTIONS
        order = sorted(range(len(copies)), key=self._keys.__getitem__)
        self._first = order[0]
        self._best: dict[int, int] = {}  # the first file by the rules, by picture
        for place in order:
            self._best.setdefault(self._picture[place], place)
        kept = self._nearest(self._first)
        rest = [place for place in order if place != kept]
        reasons = [self._why_kept(kept, rest), *(self._lacks(kept, place) for place in rest)]
        self.kept = [Kept(copies[place], reason) for place, reason in zip([kept, *rest], reasons, strict=True)]

    def _made_keys(self, ahead: Mapping[bytes, int], has_sidecar: Callable[[Copy], bool]) -> list[_Key]:
        most = _most_pixels(self._copies, self._above)
        keys = [
            (
                copy.damaged,
                -copy.frames,
                ahead.get(copy.path, sys.maxsize),
                *(rule.key(copy, copy.path in self._originals) for rule in self._rules),
                *_default_key(copy, most),
            )
            for copy in self._copies
        ]
        alike = Counter(keys)
        return [
            (*key, alike[key] > 1 and not has_sidecar(copy), len(copy.path), copy.path)
            for key, copy in zip(keys, self._copies, strict=True)
        ]

    @cached_property
    def _originals(self) -> frozenset[bytes]:
        """Paths of files that none is shown to be nearer the original than, and that were not saved with loss before.

        A damaged file, or one with fewer frames, is no original of a sound and whole one.
        """
        best: dict[int, tuple[bool, int]] = {}
        for copy in self._copies:
            soundness = (copy.damaged, -copy.frames)
            best[copy.picture_id] = min(best.get(copy.picture_id, soundness), soundness)

        def is_original(copy: Copy) -> bool:
            soundness = (copy.damaged, -copy.frames)
            above = self._above.get(copy.picture_id, ())
            return not copy.jpeg_grid and not any(best[other] <= soundness for other in above if other in best)

        return frozenset(copy.path for copy in self._copies if is_original(copy))

    def _nearest(self, start: int) -> int:
        """What is reached by going to a nearer file; of those that lead to each other, the first by rule."""
        chain, place = [start], {start: 0}
        while nearer := self._nearer_than(chain[-1]):
            following = min(nearer, key=self._keys.__getitem__)
            if following in place:
                return min(chain[place[following] :], key=self._keys.__getitem__)
            place[following] = len(chain)
            chain.append(following)
        return chain[-1]

    def _nearer_than(self, place: int) -> list[int]:
        best = [self._best[other] for other in self._above[self._picture[place]] if other in self._best]
        return [other for other in best if self._class(other) == self._class(self._first)]

    def _class(self, place: int) -> _Key:
        return self._keys[place][: self._above_directions]

    def _is_nearer(self, one: int, other: int) -> bool:
        return self._picture[one] in self._above[self._picture[other]]

    def _direction(self, one: int, other: int) -> tuple[str, str]:
        """Why the one is kept, and what the other lacks; if that is shown through others, it is nearer all the same."""
        return self._words.get((self._picture[one], self._picture[other]), (NEAREST, FURTHER))

    def told_apart(self, one: Copy, other: Copy) -> str:
        """What decides which of two of the files comes first, with what both have of it, in words."""
        first, second = (
            next(n for n, copy in enumerate(self._copies) if copy.path == path) for path in (one.path, other.path)
        )
        rule = self._first_difference(first, second)
        if rule >= self._above_directions and self._is_nearer(first, second):
            return self._direction(first, second)[0]
        if rule >= self._above_directions and self._is_nearer(second, first):
            return self._direction(second, first)[1]
        if self._keys[first] < self._keys[second] and self.kept[0].copy is self._copies[second]:
            return BEHIND_ANOTHER
        if self._keys[second] < self._keys[first] and self.kept[0].copy is self._copies[first]:
            return "it takes the place of a file that is further from the original"
        won, lost = self._reasons[rule]
        words = won if self._keys[first] < self._keys[second] else lost
        return f"{words} ({self._value(rule, first)}; the other: {self._value(rule, second)})"

    def _value(self, rule: int, place: int) -> str:
        """What a file has of the part of its key that is told in words of the rule."""
        copy = self._copies[place]
        by_rule = rule - len(_ALWAYS_FIRST)
        if 0 <= by_rule < len(self._rules):
            return self._rules[by_rule].value(copy, copy.path in self._originals)
        if by_rule < 0:
            return (copy.damage or "sound", f"{copy.frames} frames", "by choice or folder")[rule]
        # Where this part of the key does not decide, its value is not told.
        return _default_value(by_rule - len(self._rules), copy, has_sidecar=not self._keys[place][rule])

    def _why_kept(self, kept: int, rest: list[int]) -> str:
        """The rule that tells the kept file from the next one."""
        if not rest:
            return "the only one"
        if kept != self._first:
            return self._direction(kept, rest[0])[0]
        rule = self._first_difference(kept, rest[0])
        if rule >= self._above_directions and self._is_nearer(kept, rest[0]):
            return self._direction(kept, rest[0])[0]
        return self._reasons[rule][0]

    def _lacks(self, kept: int, other: int) -> str:
        """What a file lacks against the kept one."""
        rule = self._first_difference(kept, other)
        if rule >= self._above_directions and self._is_nearer(kept, other):
            return self._direction(kept, other)[1]
        return self._reasons[rule][1] if self._keys[kept] < self._keys[other] else BEHIND_ANOTHER

    def _first_difference(self, one: int, other: int) -> int:
        first, second = self._keys[one], self._keys[other]
        return next(place for place in range(len(first)) if first[place] != second[place])


def _format_rank(name: str, *, lossless: bool) -> int:
    if name in _CAMERA_FORMATS:
        return _CAMERA_FORMATS.index(name)
    if lossless and name in _LOSSLESS_FORMATS:
        return _LOSSLESS_RANK
    return 3 if name in _LOSSY_FORMATS else 5 if name == "BMP" else 4
