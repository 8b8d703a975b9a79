"""Which files belong to a picture without being pictures: sidecars, voice memos, and the movie of a Live Photo.

In: a picture's name and the names in its folder. Out: its companions. They are not indexed by the service; where a
picture goes they go along, or the picture stays (see `planning`). Upper and lower case count as equal. What there is
stands in one table, `_FORMS`; Google names its own in a way of its own (see `_takeout_keys`).
"""

import os
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from enum import Enum
from functools import cached_property
from typing import NamedTuple

from dupwatch.suffixes import IMAGE_SUFFIXES, RAW_SUFFIXES

_PICTURE_SUFFIXES = IMAGE_SUFFIXES | RAW_SUFFIXES
_WITH_MOVIE = frozenset([b".heic", b".heif", b".hif", b".jpg", b".jpeg", b".jpe"])
# A phone that takes RAW and JPEG calls them X.RAW-01.COVER.jpg and X.RAW-02.ORIGINAL.dng.
_ROLES = (b".raw-01.cover", b".raw-02.original", b"-01.cover")


class Kind(Enum):
    """What a companion is."""

    SIDECAR = "sidecar"
    MOVIE = "movie"
    MEMO = "voice memo"

    @property
    def must_have_equal(self) -> bool:
        """Whether it may go only if an equal file lies beside the picture that stays."""
        return self is not Kind.SIDECAR


class Named(Enum):
    """How a companion is called after its picture, say `a.jpg`."""

    BY_NAME = "a.jpg.xmp"
    BY_STEM = "a.xmp"  # then it belongs to every picture of that stem
    IS_STEM = "a"  # of a picture `a.mp.jpg` it is `a.mp`


class _Form(NamedTuple):
    """One form of companions."""

    suffix: bytes
    kind: Kind
    named: tuple[Named, ...]
    pictures: frozenset[bytes] = frozenset()  # the suffixes of the pictures that have such ones; empty: all


_FORMS = (
    _Form(b".xmp", Kind.SIDECAR, (Named.BY_NAME, Named.BY_STEM)),  # Adobe, darktable, digiKam
    _Form(b".aae", Kind.SIDECAR, (Named.BY_STEM,)),  # edits on an iPhone
    _Form(b".dop", Kind.SIDECAR, (Named.BY_NAME,)),  # DxO PhotoLab
    _Form(b".pp3", Kind.SIDECAR, (Named.BY_NAME,)),  # RawTherapee
    _Form(b".arp", Kind.SIDECAR, (Named.BY_NAME,)),  # ART
    _Form(b".on1", Kind.SIDECAR, (Named.BY_NAME, Named.BY_STEM)),  # ON1 Photo RAW
    _Form(b".acr", Kind.SIDECAR, (Named.BY_STEM,)),  # masks and what else Adobe keeps beside .xmp
    _Form(b".vrd", Kind.SIDECAR, (Named.BY_STEM,)),  # Canon's Digital Photo Professional
    _Form(b".dr4", Kind.SIDECAR, (Named.BY_STEM,)),
    _Form(b".thm", Kind.SIDECAR, (Named.BY_STEM,)),  # a small picture with the camera's data, beside RAW photos
    _Form(b".wav", Kind.MEMO, (Named.BY_STEM,)),
    _Form(b".mp3", Kind.MEMO, (Named.BY_STEM,)),
    _Form(b".mov", Kind.MOVIE, (Named.BY_STEM,), _WITH_MOVIE),
    _Form(b".mp4", Kind.MOVIE, (Named.BY_STEM,), _WITH_MOVIE),  # exports to other systems make it of .mov
    _Form(b".mp", Kind.MOVIE, (Named.IS_STEM,), _WITH_MOVIE),  # of a Pixel, as Google Takeout names it
)
_BY_SUFFIX = {form.suffix: form for form in _FORMS}

# Google Takeout writes what it knows of `a.jpg` to `a.jpg.json`, since 2024 to `a.jpg.supplemental-metadata.json`, cut
# to 46 characters before `.json`. Of `a(1).jpg` the number stands at the end: `a.jpg(1).json`. An edited copy has none.
_TAKEOUT, _TAKEOUT_WORDS = b".json", b".supplemental-metadata"
_TAKEOUT_CHARS = 46
_TAKEOUT_NAME = re.compile(rb"(.+?)(\(\d+\))?\.json", re.DOTALL)
_NUMBERED = re.compile(rb"(.+)(\(\d+\))(\.[^.]*)", re.DOTALL)
# As Google calls it in the languages of its users.
_EDITED = tuple(
    f"-{word}".encode()
    for edited in (
        "edited", "bearbeitet", "modifié", "editado", "editada", "ha editado", "modificato", "modificata", "bewerkt",
        "edytowane", "upraveno", "redigeret", "redigerad", "redigert", "muokattu", "düzenlendi", "szerkesztett",
        "editat", "измененный", "відредаговано", "編集済み", "已修改", "已編輯", "수정됨",
    )
    for word in dict.fromkeys((edited, unicodedata.normalize("NFD", edited)))
)  # fmt: skip

# An iPhone writes how IMG_1.HEIC was edited to IMG_O1.AAE, if it keeps the edited one as IMG_E1.HEIC.
_OF_EDITED = re.compile(rb"(img_)o(\d.*)", re.DOTALL)
# darktable writes a second version of a.cr2 to a_01.cr2.xmp; where a picture a_01.cr2 lies, it is that one's.
_OF_VERSION = re.compile(rb"(.+)_\d\d(\.[^.]+)", re.DOTALL)


def asks_for_sidecars(ask_when: Iterable[str]) -> bool:
    """Return whether a picture goes only if an equal of its sidecar stays, by what a plan leaves to a person."""
    return "lacks metadata" in ask_when


class Companion(NamedTuple):
    """A file that belongs to a picture, or to several pictures."""

    name: bytes
    kind: Kind


_Key = tuple[object, bytes]  # equal for a picture and what belongs to it


def companion_kind(picture: bytes, name: bytes) -> Kind | None:
    """Return what a name may be to a picture's name in the same folder, or None."""
    lower = name.lower()
    kind = _kind(lower)
    if kind is None or lower == picture.lower() or set(_keys(lower)).isdisjoint(_picture_keys(picture.lower())):
        return None
    return kind


def likely_companions(picture: bytes) -> Iterator[bytes]:
    """Yield what the sidecars and memos of a picture may be called, for whoever does not list the folder."""
    stem = picture[: -len(_suffix(picture.lower())) or None]
    for form in _FORMS:
        if form.kind is not Kind.MOVIE:
            for suffix in (form.suffix, form.suffix.upper()):
                yield from ((picture if how is Named.BY_NAME else stem) + suffix for how in form.named)
    for name, number in _takeout_names(picture):
        yield from (body + number + _TAKEOUT for body in (name, _cut(name + _TAKEOUT_WORDS)))


class FolderNames:
    """The names of one folder, so that the companions of many pictures are found without listing it again."""

    def __init__(self, names: Iterable[bytes]) -> None:
        self._names = frozenset(names)
        self._lower = frozenset(name.lower() for name in self._names)
        self._companions: dict[_Key, list[bytes]] = {}
        self._found: dict[bytes, list[Companion]] = {}  # by picture: plans and answers ask several times
        for name in self._names:
            for key in _keys(name.lower(), self._lower):
                self._companions.setdefault(key, []).append(name)

    def lists(self, name: bytes) -> bool:
        """Return whether a name is listed as it is written: some file systems open a file by other spellings, too."""
        return name in self._names

    def companions(self, picture: bytes) -> list[Companion]:
        """Return the companions of a picture, in order of their names."""
        if picture not in self._found:
            lower = picture.lower()
            found = {
                name for key in _picture_keys(lower) for name in self._companions.get(key, ()) if name.lower() != lower
            }
            companions = [Companion(name, kind) for name in sorted(found) if (kind := _kind(name.lower())) is not None]
            self._found[picture] = companions
        return self._found[picture]

    def sharing(self, picture: bytes, companion: bytes) -> list[bytes]:
        """Return the other pictures to which a companion of a picture belongs as well, in order.

        A movie belongs to all pictures of its stem then, RAW ones, too.
        """
        found = {name for key in _keys(companion.lower(), self._lower) for name in self._pictures.get(key, ())}
        return sorted(found - {picture, companion})

    @cached_property
    def _pictures(self) -> dict[_Key, list[bytes]]:
        """The pictures that have companions, by the keys of these."""
        found: dict[_Key, list[bytes]] = {}
        for name in self._names:
            if _suffix(name.lower()) in _PICTURE_SUFFIXES:
                for key in _picture_keys(name.lower(), of_any_suffix=True):
                    if key in self._companions:
                        found.setdefault(key, []).append(name)
        return found


class Folders:
    """The names in folders anywhere; each is listed once, as it was then."""

    def __init__(self) -> None:
        self._known: dict[bytes, FolderNames | OSError] = {}

    def names_in(self, folder: bytes) -> FolderNames:
        """Return the names in a folder; raises OSError, each time, if it cannot be listed."""
        if folder not in self._known:
            try:
                self._known[folder] = FolderNames(os.listdir(folder))
            except OSError as error:
                self._known[folder] = error
        known = self._known[folder]
        if isinstance(known, OSError):
            raise known
        return known

    def companions(self, path: bytes) -> list[bytes]:
        """Return the names of what belongs to a picture, in order; none if its folder cannot be listed."""
        folder, name = os.path.split(path)
        try:
            return [one.name for one in self.names_in(folder).companions(name)]
        except OSError:  # gone, or on another machine
            return []


def _kind(lower: bytes) -> Kind | None:
    """Return what a name is, if a picture is there to which it belongs."""
    form = _BY_SUFFIX.get(_suffix(lower))
    if form is not None:
        return form.kind
    return Kind.SIDECAR if lower.endswith(_TAKEOUT) else None


def _keys(lower: bytes, beside: Collection[bytes] = ()) -> Iterator[_Key]:
    """Yield the keys of a name that may be a companion, beside these names in lower case; none if it cannot."""
    suffix = _suffix(lower)
    form = _BY_SUFFIX.get(suffix)
    if form is not None:
        of = {Named.BY_NAME: lower[: -len(suffix)], Named.BY_STEM: _stem(lower), Named.IS_STEM: lower}
        yield from (((how, suffix), of[how]) for how in form.named)
        if suffix == b".aae" and (original := _OF_EDITED.fullmatch(of[Named.BY_STEM])):
            yield (Named.BY_STEM, suffix), original[1] + original[2]
        elif (
            suffix == b".xmp"
            and of[Named.BY_NAME] not in beside
            and (version := _OF_VERSION.fullmatch(of[Named.BY_NAME]))
        ):
            yield (Named.BY_NAME, suffix), version[1] + version[2]
    elif suffix == _TAKEOUT:
        yield from _takeout_keys(lower)


def _picture_keys(lower: bytes, *, of_any_suffix: bool = False) -> Iterator[_Key]:
    """Yield the keys of all that may belong to a picture; or to one of its stem, ``of_any_suffix``."""
    suffix = _suffix(lower)
    of = {Named.BY_NAME: lower, Named.BY_STEM: _stem(lower), Named.IS_STEM: lower[: -len(suffix) or None]}
    for form in _FORMS:
        if of_any_suffix or not form.pictures or suffix in form.pictures:
            yield from (((how, form.suffix), of[how]) for how in form.named)
    for name, number in _takeout_names(lower):
        yield _TAKEOUT, name + number
        yield (_TAKEOUT, number), _cut(name + _TAKEOUT_WORDS)


def _takeout_names(picture: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield how Google calls a picture, and the number that it puts behind the name of what it tells of it."""
    numbered = _NUMBERED.fullmatch(picture)
    for name, number in ((picture, b""), *([(numbered[1] + numbered[3], numbered[2])] if numbered else [])):
        yield name, number
        suffix = _suffix(name)
        stem = name[: -len(suffix) or None]
        if edited := next((one for one in _EDITED if stem.endswith(one)), b""):
            yield stem[: -len(edited)] + suffix, number


def _takeout_keys(lower: bytes) -> Iterator[_Key]:
    """Yield the keys of a name such as ``a.jpg.supplemental-metad(1).json``."""
    matched = _TAKEOUT_NAME.fullmatch(lower)
    if matched is None:
        return
    counter = matched[2] or b""
    for body, number in {(matched[1], counter), (matched[1] + counter, b"")}:
        name, dot, words = body.rpartition(b".")
        if dot and _TAKEOUT_WORDS.startswith(dot + words):
            yield _TAKEOUT, name + number
        yield _TAKEOUT, body + number
        if _cut(body + b"x") == body:  # it is as long as can be, and perhaps cut within the picture's own name
            yield (_TAKEOUT, number), body


def _cut(name: bytes) -> bytes:
    """Return a name cut to as many characters as Google gives it; those beyond the 65,536 first ones count twice."""
    text, room = os.fsdecode(name), _TAKEOUT_CHARS
    for place, char in enumerate(text):
        room -= 2 if char > "\uffff" else 1
        if room < 0:
            return os.fsencode(text[:place])
    return name


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
