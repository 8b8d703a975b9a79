"""What lies beside pictures that would go, and which of these stay for it: the one function of plans and answers.

In: pictures that would go, each with the file that stays for it. Out: for each of them why it stays after all (its
movie would be lost, say), and what goes along with it. A plan looks at what lies there by all its content; an answer,
which must come at once, goes by names and sizes, and says where only a plan can tell.
"""

import os
from collections.abc import Collection
from typing import NamedTuple, Protocol

from dupwatch.families import Companion, FolderNames, Folders

NO_EQUAL = "of which no equal lies beside the file that would stay"
BELONGS = "it belongs to the "
NOT_KNOWN = "what belongs to it is not known"
DECIDED_LATER = "decided when a plan is made"
# Two of these may say the same of a photo in other words (see `act.sidecars`), so that their sizes tell nothing.
SAME_IN_OTHER_WORDS = frozenset([b".json", b".xmp"])


class Look(Protocol):
    """How closely what lies beside pictures is looked at."""

    def can_go(self, path: bytes) -> bool:
        """Return whether it can be read and moved."""

    def holds(self, other: bytes, path: bytes) -> bool | None:
        """Return whether another file holds all that this one says and is not the same file; None: a plan can tell."""


class Objection(NamedTuple):
    """Why a picture that would go stays after all."""

    because: str
    is_certain: bool = True  # else it may go: a plan decides


class Beside:
    """What lies beside some pictures that would go."""

    def __init__(
        self,
        going: Collection[bytes],
        pictures: Collection[bytes],
        look: Look,
        folders: Folders,
        *,
        asks_for_sidecars: bool,
        knows_all: bool = True,
    ) -> None:
        """``going``: paths of pictures; ``pictures``: those of all in their groups.

        ``asks_for_sidecars``: whether a sidecar must have an equal as well. ``knows_all``: whether every picture that
        goes is in ``going``; else one in no group may go or stay.
        """
        self._going, self._pictures = going, pictures
        self._look, self._folders = look, folders
        self._asks_for_sidecars, self._knows_all = asks_for_sidecars, knows_all

    def objection(self, path: bytes, held_by: bytes) -> Objection | None:
        """Return why a picture stays for what lies beside it, though another file stays for it."""
        folder, name = os.path.split(path)
        try:
            if not self._folders.names_in(folder).lists(name):
                return Objection(f"{NOT_KNOWN}: its folder lists it by another name, or no more")
        except OSError as error:
            return Objection(f"{NOT_KNOWN}: its folder cannot be listed ({error.strerror})")
        companions = self._alone(path)
        found = [
            objection._replace(is_certain=objection.is_certain and is_alone)
            for one, is_alone in companions
            if (objection := self._objection_for(one, path, held_by)) is not None
        ]
        certain = next((one for one in found if one.is_certain), None)
        if certain is not None or not found:
            return certain
        what = found[0].because.removeprefix(BELONGS).partition(",")[0]
        return Objection(f"{what}: {DECIDED_LATER}", is_certain=False)

    def along(self, path: bytes) -> list[Companion]:
        """Return what goes along with a picture: what is no picture, and in which no picture that stays has a share."""
        return [one for one, _ in self._alone(path)]

    def holder_of(self, path: bytes, companion: Companion, held_by: bytes) -> bytes | None:
        """Return the file beside the picture that stays which holds all that a companion of this one says."""
        own = beside_of(path, companion.name)
        return next((other for other in self._candidates(companion, held_by) if self._look.holds(other, own)), None)

    def _objection_for(self, companion: Companion, path: bytes, held_by: bytes) -> Objection | None:
        own = beside_of(path, companion.name)
        what = f"{BELONGS}{companion.kind.value} {os.fsdecode(companion.name)}"
        if not self._look.can_go(own):
            return Objection(f"{what}, which cannot be moved")
        if not (companion.kind.must_have_equal or self._asks_for_sidecars):
            return None
        is_certain = True
        for other in self._candidates(companion, held_by):
            is_held = self._look.holds(other, own)
            if is_held:
                return None
            is_certain &= is_held is not None
        return Objection(f"{what}, {NO_EQUAL}", is_certain)

    def _candidates(self, companion: Companion, held_by: bytes) -> list[bytes]:
        folder, name = os.path.split(held_by)
        try:
            found = self._folders.names_in(folder).companions(name)
        except OSError:
            return []
        return [os.path.join(folder, one.name) for one in found if one.kind is companion.kind]

    def _alone(self, path: bytes) -> list[tuple[Companion, bool]]:
        """Return what goes along with a picture, and whether that is certain; raises OSError."""
        folder, name = os.path.split(path)
        names = self._folders.names_in(folder)
        found = []
        for one in names.companions(name):
            if os.path.join(folder, one.name) in self._pictures:
                continue
            others = [other for other in self._sharing(names, folder, name, one) if other not in self._going]
            if not others:
                found.append((one, True))
            elif not self._knows_all and not any(other in self._pictures for other in others):
                found.append((one, False))
        return found

    def _sharing(self, names: FolderNames, folder: bytes, name: bytes, companion: Companion) -> list[bytes]:
        return [os.path.join(folder, other) for other in names.sharing(name, companion.name)]


def beside_of(picture: bytes, name: bytes) -> bytes:
    """Return the path of a name in the folder of a picture."""
    return os.path.join(os.path.dirname(picture), name)


def common_suffix(path: bytes, other: bytes) -> bytes:
    """Return the suffix of two files, in small letters; nothing if they have different ones."""
    suffix, its = (os.path.splitext(one)[1].lower() for one in (path, other))
    return suffix if suffix == its else b""
