"""Keep-rules: texts such as ``folder /a /b`` or ``bytes most`` go in, what they say of a file comes out.

A plan has an ordered list of them; the first one that separates two files decides which of both is kept, and is the
stated reason. What each rule means stands in `_RULES`; `keep` puts files in order by them.
"""

import datetime as dt
import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from dupwatchd.db.answers import Copy
from dupwatchd.errors import UsageError
from dupwatchd.paths import at_or_below

Key = Callable[[Copy, bool], Any]  # a file, and whether it is an original of its group → the smaller one is kept
Value = Callable[[Copy, bool], str]  # the same in words

FORMATS = {  # what a rule may call a format, and how the index calls it
    "raw": "RAW", "heic": "HEIF", "heif": "HEIF", "jpeg": "JPEG", "jpg": "JPEG", "png": "PNG", "tiff": "TIFF",
    "tif": "TIFF", "webp": "WEBP", "avif": "AVIF", "jxl": "JXL", "jp2": "JPEG2000", "psd": "PSD", "gif": "GIF",
    "bmp": "BMP", "tga": "TGA", "ppm": "PPM", "qoi": "QOI",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class KeepRule:
    """One rule; two rules of one text are equal."""

    text: str
    key: Key = field(compare=False)  # may be compared with that of another file by this rule only
    value: Value = field(compare=False)
    won: str = field(compare=False)  # why a file is kept, in words
    lost: str = field(compare=False)  # what the others lack
    folders: tuple[bytes, ...] = field(default=(), compare=False)  # that the rule names


def keep_rules(texts: Sequence[str]) -> tuple[KeepRule, ...]:
    """The rules of a list; raises UsageError with one line that says which is wrong, and what is allowed."""
    return tuple(map(keep_rule, texts))


def keep_rule(text: str) -> KeepRule:
    """The rule of a text, with words quoted as in a shell; raises UsageError."""
    try:
        name, *words = shlex.split(text)
    except ValueError:
        raise _wrong(text, f"allowed are {ALLOWED}") from None
    if name not in _RULES:
        raise _wrong(text, f"allowed are {ALLOWED}")
    usage, made = _RULES[name]
    rule = made(text, words)
    if rule is None:
        raise _wrong(text, f"write {usage}")
    return rule


def _wrong(text: str, allowed: str) -> UsageError:
    return UsageError(f"keep rule {text!r}: {allowed}")


def _folder(text: str, words: Sequence[str]) -> KeepRule | None:
    if not words or not all(map(os.path.isabs, words)):
        return None
    folders = tuple(os.path.realpath(os.fsencode(word)) for word in words)

    def rank(copy: Copy) -> int:
        return next((place for place, folder in enumerate(folders) if at_or_below(copy.path, folder)), len(folders))

    def value(copy: Copy, _original: bool) -> str:
        return "in none of the folders" if rank(copy) == len(folders) else f"in {os.fsdecode(folders[rank(copy)])}"

    lost = "not in the folder to keep" if len(folders) == 1 else "in none of the folders to keep, or in a later one"
    return KeepRule(text, lambda copy, _: rank(copy), value, "in the folder to keep", lost, folders)


def _name(text: str, words: Sequence[str]) -> KeepRule | None:
    if len(words) < 2 or words[0] != "not":
        return None
    globs = [glob.casefold() for glob in words[1:]]

    def hit(copy: Copy) -> str | None:
        name = os.fsdecode(os.path.basename(copy.path)).casefold()
        return next((glob for glob in globs if fnmatchcase(name, glob)), None)

    def value(copy: Copy, _original: bool) -> str:
        found = hit(copy)
        return "a name like none of them" if found is None else f"a name like {found}"

    won, lost = "no name to avoid", f"a name to avoid ({' '.join(words[1:])})"
    return KeepRule(text, lambda copy, _: hit(copy) is not None, value, won, lost)


def _format(text: str, words: Sequence[str]) -> KeepRule | None:
    if not words or any(word.lower() not in FORMATS for word in words):
        return None
    order = [FORMATS[word.lower()] for word in words]

    def rank(copy: Copy, _original: bool) -> int:
        return order.index(copy.format) if copy.format in order else len(order)

    return KeepRule(text, rank, lambda copy, _: copy.format, "format to keep", "another format")


def _colour(text: str, words: Sequence[str]) -> KeepRule | None:
    return _plain(text, words, lambda copy, _: not copy.has_colour, _colour_value, "in colour", "without colour")


def _colour_value(copy: Copy, _original: bool) -> str:
    return "in colour" if copy.has_colour else "without colour"


def _original(text: str, words: Sequence[str]) -> KeepRule | None:
    def value(_copy: Copy, original: bool) -> str:
        return "nothing is nearer the original" if original else "another one is nearer the original"

    return _plain(text, words, lambda _, original: not original, value, "original", "made from another one")


def _plain(text: str, words: Sequence[str], key: Key, value: Value, won: str, lost: str) -> KeepRule | None:
    return None if words else KeepRule(text, key, value, won, lost)


def _measured(key: Key, value: Value, **directions: tuple[str, str]) -> Callable[[str, Sequence[str]], KeepRule | None]:
    """A rule with one word for its direction; ``key`` is of the first one, and is negated for the second."""
    first = next(iter(directions))

    def made(text: str, words: Sequence[str]) -> KeepRule | None:
        if len(words) != 1 or words[0] not in directions:
            return None
        signed: Key = key if words[0] == first else lambda copy, original: -key(copy, original)
        return KeepRule(text, signed, value, *directions[words[0]])

    return made


def metadata_of(copy: Copy) -> dict[str, str]:
    """What a file tells of its photo beside the picture, in words, by what it is about."""
    told = {
        "camera": copy.camera,
        "capture time": copy.captured,
        "place": "known" if copy.has_place else "",
        "rating": f"{copy.rating} stars" if copy.rating else "",
        "keywords": (copy.keywords or "").replace("\n", ", "),
        "caption": (copy.captions or "").replace("\n", ", "),
        "people": copy.people.replace("\n", ", "),
    }
    return {name: value for name, value in told.items() if value}


def _metadata_value(copy: Copy, _original: bool) -> str:
    return ", ".join(f"{name} {value}" for name, value in metadata_of(copy).items()) or "no metadata"


def time_in_words(mtime_ns: int) -> str:
    """A time of change, in UTC, as fine as it is known: of two files the later one may be so by less than a second."""
    seconds, rest_ns = divmod(mtime_ns, 10**9)
    fraction = f".{rest_ns:09d}".rstrip("0") if rest_ns else ""
    try:
        return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat().replace("+00:00", f"{fraction}Z")
    except (OverflowError, ValueError, OSError):
        return f"{seconds} s after 1970"


_RULES: dict[str, tuple[str, Callable[[str, Sequence[str]], KeepRule | None]]] = {  # by name: usage, maker
    "folder": ("folder DIR..., with absolute paths, the best one first", _folder),
    "name": ("name not GLOB...", _name),
    "format": (f"format FORMAT..., the best one first, of {' '.join(FORMATS)}", _format),
    "colour": ("colour, and nothing behind it", _colour),
    "original": ("original, and nothing behind it", _original),
    "metadata": (
        "metadata most",
        _measured(
            lambda copy, _: -len(metadata_of(copy)),
            _metadata_value,
            most=("most metadata", "less metadata"),
        ),
    ),
    "pixels": (
        "pixels most",
        _measured(
            lambda copy, _: -copy.width * copy.height,
            lambda copy, _: f"{copy.width} × {copy.height}",
            most=("most pixels", "fewer pixels"),
        ),
    ),
    "taken": (
        "taken earliest",
        _measured(
            lambda copy, _: (copy.captured == "", copy.captured),
            lambda copy, _: f"taken {copy.captured}" if copy.captured else "no capture time",
            earliest=("taken earliest", "taken later"),
        ),
    ),
    "modified": (
        "modified earliest",
        _measured(
            lambda copy, _: copy.mtime_ns,
            lambda copy, _: f"modified {time_in_words(copy.mtime_ns)}",
            earliest=("modified earliest", "modified later"),
        ),
    ),
    "bytes": (
        "bytes most, or bytes least",
        _measured(
            lambda copy, _: -copy.size_bytes,
            lambda copy, _: f"{copy.size_bytes:,} bytes",
            most=("most bytes", "fewer bytes"),
            least=("fewest bytes", "more bytes"),
        ),
    ),
    "path": (
        "path shortest",
        _measured(
            lambda copy, _: len(copy.path),
            lambda copy, _: f"a path of {len(copy.path)} bytes",
            shortest=("shortest path", "longer path"),
        ),
    ),
}
ALLOWED = (
    "folder DIR..., name not GLOB..., format FORMAT..., colour, original, metadata most, pixels most, taken earliest, "
    "modified earliest, bytes most|least, path shortest"
)
