"""What a report has to know of what lies beside its files, to plan in the browser as `dupwatch plan` does.

In: groups as the page has them. Out: of each file its sidecars, memos and movies as a plan has them, with the pictures
that share one and the contents that say all that it says; and which files a plan would hold back of those proposed to
go. What lies there is read whole, once.
"""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from dupwatch.act.companions import Companions
from dupwatch.act.movable import Movable
from dupwatch.act.plan_file import is_below
from dupwatch.beside import Beside, beside_of
from dupwatch.families import Folders, Kind
from dupwatch.review.library import path_of, text_of

# A sidecar is held against those of so many files of its group, the kept one first, for what it says in other words;
# of a group of thousands each against each would be millions of pairs. Equal ones are found in any case.
_HOLDERS_MAX = 16

Row = dict[str, Any]


class _Member(NamedTuple):
    """What lies beside a picture and belongs to it."""

    path: bytes
    kind: Kind
    shares: list[bytes]  # names of the other pictures to which it belongs


class ReportFamilies:
    """Looks at what lies beside the files of a report."""

    def __init__(
        self,
        going: Mapping[bytes, bytes],
        pictures: Collection[bytes],
        roots: Sequence[bytes],
        *,
        asks_for_sidecars: bool,
    ) -> None:
        """``going``: files that are proposed to go, each with the one that stays; the rest: see `Beside`."""
        self._going, self._roots = going, roots
        self._look, self._folders = Companions(Movable(), roots), Folders()
        self._beside = Beside(going, pictures, self._look, self._folders, asks_for_sidecars=asks_for_sidecars)

    def tell(self, files: Sequence[Row]) -> None:
        """Tell the files of a group, as the page has them, what lies beside them and what a plan holds back."""
        members = [self._members(path_of(file["path"])) for file in files]
        numbers: dict[bytes, int] = {}
        for place, file in enumerate(files):
            if members[place]:
                holders = {
                    *range(_HOLDERS_MAX),
                    *(at for at, one in enumerate(files) if one["path"] == file.get("held_by")),
                }
                others = [one for at in sorted(holders - {place}) if at < len(files) for one in members[at]]
                file["family"] = [self._told(one, others, file.get("device"), numbers) for one in members[place]]
            path = path_of(file["path"])
            if file.pop("undecided", None) and path in self._going:
                objection = self._beside.objection(path, self._going[path])
                if objection is not None:
                    file["held_back"] = objection.because
                    file.pop("goes", None)

    def _members(self, path: bytes) -> list[_Member]:
        if not any(is_below(path, root) for root in self._roots):
            return []
        folder, name = os.path.split(path)
        try:
            names = self._folders.names_in(folder)
        except OSError:
            return []
        return [
            _Member(beside_of(path, one.name), one.kind, names.sharing(name, one.name))
            for one in names.companions(name)
        ]  # fmt: skip

    def _told(self, member: _Member, others: Iterable[_Member], device: str | None, numbers: dict[bytes, int]) -> Row:
        """Return what the page is told of a member, its ``device`` only if it is not this one, that of its picture.

        ``numbers`` stand for the contents in its group: they take less room than digests.
        """
        told: Row = {"name": text_of(os.path.basename(member.path)), "kind": member.kind.value}
        if member.shares:
            told["shares"] = [text_of(name) for name in member.shares]
        if not self._look.can_go(member.path):
            told["fixed"] = True
        file = self._look.file(member.path)
        if file is None:
            return told
        said_by = {
            numbers.setdefault(theirs.blake3, len(numbers))
            for other in others
            if other.kind is member.kind
            and (theirs := self._look.file(other.path)) is not None
            and theirs.blake3 != file.blake3
            and self._look.holds(other.path, member.path)
        }
        return {
            **told,
            "bytes": file.size_bytes,
            # as text: they may be more than a number of the browser holds
            "mtime_ns": str(file.mtime_ns),
            **({} if str(file.device) == device else {"device": str(file.device)}),
            "inode": str(file.inode),
            "digest": file.blake3.hex(),
            "content": numbers.setdefault(file.blake3, len(numbers)),
            **({"said_by": sorted(said_by)} if said_by else {}),
        }
