"""Which files belong to a picture without being pictures: sidecars, and the movie of a Live Photo.

In: a picture's name and the names in its folder. Out: its companions. They are not indexed by the service; where a
picture goes they go along, or the picture stays (see `planning`). Upper and lower case count as equal.
"""

import os
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import NamedTuple

from dupwatch.suffixes import IMAGE_SUFFIXES, RAW_SUFFIXES

_PICTURE_SUFFIXES = IMAGE_SUFFIXES | RAW_SUFFIXES
_MOVIE_SUFFIXES = frozenset([b".mov", b".mp4"])  # phones write .mov; exports to other systems make .mp4 of it
_WITH_MOVIE = frozenset([b".heic", b".heif", b".hif", b".jpg", b".jpeg", b".jpe"])
# A phone that takes RAW and JPEG calls them X.RAW-01.COVER.jpg and X.RAW-02.ORIGINAL.dng.
_ROLES = (b".raw-01.cover", b".raw-02.original", b"-01.cover")


class Kind(Enum):
    """What a companion is."""

    SIDECAR = "sidecar"
    MOVIE = "movie"

    @property
    def must_have_equal(self) -> bool:
        """Whether it may go only if an equal file lies beside the picture that stays."""
        return self is Kind.MOVIE


class Companion(NamedTuple):
    """A file that belongs to a picture, or to several pictures of one stem."""

    name: bytes
    kind: Kind
    spelling: bytes  # equal for the companions of two pictures that play the same part
    is_shared_by_stem: bool  # whether it belongs to every picture of its stem


def companion_kind(picture: bytes, name: bytes) -> Kind | None:
    """Return what a name is to a picture's name in the same folder, or None."""
    companion = _companion(picture.lower(), name)
    return None if companion is None else companion.kind


class FolderNames:
    """The names of one folder, by stem, so that the companions of many pictures are found without listing it again."""

    def __init__(self, names: Iterable[bytes]) -> None:
        self._by_stem: dict[bytes, list[bytes]] = {}
        for name in names:
            for stem in _stems(name.lower()):
                self._by_stem.setdefault(stem, []).append(name)

    def companions(self, picture: bytes) -> list[Companion]:
        """Return the companions of a picture, in order of their names."""
        found = {}
        for stem in _stems(picture.lower()):
            for name in self._by_stem.get(stem, ()):
                companion = _companion(picture.lower(), name)
                if companion is not None:
                    found[name] = companion
        return [found[name] for name in sorted(found)]

    def sharing(self, picture: bytes) -> list[bytes]:
        """Return the other pictures of the same stem, which share some companions with it."""
        stem = _stem(picture.lower())
        names = self._by_stem.get(stem, ())
        return sorted(
            name for name in names if name != picture and _suffix(name.lower()) in _PICTURE_SUFFIXES
            and _stem(name.lower()) == stem
        )  # fmt: skip


class Companions:
    """The companions of pictures anywhere; each folder is listed once, as it was then."""

    def __init__(self) -> None:
        self._names: dict[bytes, FolderNames] = {}

    def of(self, path: bytes) -> list[bytes]:
        """Return the names of what belongs to a picture, in order; none if its folder cannot be listed."""
        folder, name = os.path.split(path)
        if folder not in self._names:
            try:
                self._names[folder] = FolderNames(os.listdir(folder))
            except OSError:  # gone, or on another machine
                self._names[folder] = FolderNames([])
        return [one.name for one in self._names[folder].companions(name)]


def _companion(picture: bytes, name: bytes) -> Companion | None:
    """Return what ``name`` is to a picture, whose name is in lower case."""
    lower = name.lower()
    if lower == picture:
        return None
    if lower == picture + b".xmp":
        return Companion(name, Kind.SIDECAR, b"name.xmp", is_shared_by_stem=False)
    stem, suffix = _stem(lower), _suffix(lower)
    if stem != _stem(picture):
        return None
    if suffix in (b".xmp", b".aae"):
        return Companion(name, Kind.SIDECAR, suffix, is_shared_by_stem=True)
    if suffix in _MOVIE_SUFFIXES and _suffix(picture) in _WITH_MOVIE:
        return Companion(name, Kind.MOVIE, b"movie", is_shared_by_stem=True)
    return None


def _stems(lower: bytes) -> Iterator[bytes]:
    """Yield the stems under which a name has to be found."""
    stem = _stem(lower)
    yield stem
    whole = lower[: -len(b".xmp")] if lower.endswith(b".xmp") else b""
    if whole and _stem(whole) != stem:
        yield _stem(whole)


def _stem(lower: bytes) -> bytes:
    """Return a name without its suffix, and without the part that it plays in a pair of RAW and JPEG."""
    stem = lower[: -len(_suffix(lower)) or None]
    for role in _ROLES:
        if stem.endswith(role) and len(stem) > len(role):
            return stem[: -len(role)]
    return stem


def _suffix(lower: bytes) -> bytes:
    dot = lower.rfind(b".")
    return lower[dot:] if dot > 0 else b""
