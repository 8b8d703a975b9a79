"""Makes a plan of the groups that the service's command `plan` gives, or a scan without a service.

In: groups with the files that go and stay. Out: a `Plan` of what is so at this moment: a file that is not what the
index says, that cannot be moved, or whose movie would be lost is held back, with the reason. Sidecars and the like
beside the files, which the service does not know, go along (see `families`). Files are opened and hashed, and nothing
is changed.
"""

import os
import stat
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dupwatch.act.content import digest_of, opened
from dupwatch.act.errors import PlanError, SkipError
from dupwatch.act.movable import Movable
from dupwatch.act.plan_file import AskedGroup, GoingFile, HeldBack, Plan, PlannedFile, PlannedGroup, is_below
from dupwatch.families import Companion, FolderNames, Kind

_BELONGS, _NO_EQUAL = "it belongs to the ", "of which no equal lies beside the file that would stay"

PlanPage = Mapping[str, Any]  # a result of the service's command `plan`; one that is enough has all groups


def held_for_sidecar(held: HeldBack) -> bool:
    """Whether a file is held back only because what stays would have no sidecar like its own."""
    return held.because.startswith(_BELONGS + Kind.SIDECAR.value) and held.because.endswith(_NO_EQUAL)


def make_plan(pages: Iterable[PlanPage]) -> Plan:
    """Return the plan of these groups, which are of one revision of the index; raises PlanError."""
    groups: list[Mapping[str, Any]] = []
    head: PlanPage = {}
    for head in pages:
        groups += head["groups"]
    return _Planning(head).plan(groups)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A file that goes, unless it is held back."""

    going: GoingFile
    root: bytes
    group: int


class _Planning:
    """One plan in the making."""

    def __init__(self, head: PlanPage) -> None:
        self._head = head
        self._roots: tuple[bytes, ...] = tuple(head.get("roots", ()))
        self._keeps_sidecars = "lacks metadata" in head.get("ask_when", ())
        self._movable = Movable()
        self._names: dict[bytes, FolderNames] = {}
        self._digests: dict[bytes, PlannedFile | None] = {}  # of companions
        self._held_back: list[HeldBack] = []
        self._pictures: frozenset[bytes] = frozenset()  # paths of all that the groups name
        self._going: set[bytes] = set()  # paths of pictures that go
        self._last_of_companion: dict[bytes, bytes] = {}  # the picture with which each companion goes

    def plan(self, groups: Sequence[Mapping[str, Any]]) -> Plan:
        self._pictures = frozenset(file["path"] for group in groups for file in group["files"])
        asked = tuple(
            AskedGroup(group["id"], group["asked"], tuple(map(_planned_file, group["files"])))
            for group in groups
            if group.get("asked") is not None
        )
        checked = self._without_second_names([self._checked(group) for group in groups if group.get("asked") is None])
        self._going = {going.file.path for group in checked for going in group.goes}
        kept_whole = [self._without_lost_companions(group) for group in checked]
        self._going = {going.file.path for group in kept_whole for going in group.goes}
        self._last_of_companion = {
            self._beside(going.file.path, one.name): going.file.path
            for group in kept_whole
            for going in group.goes
            for one in self._alone(going.file.path)
        }
        planned = [self._with_companions(group) for group in kept_whole if group.goes]
        return Plan(
            made=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            roots=self._roots,
            rules=tuple(self._head.get("rules", ())),
            verdicts=tuple(self._head.get("verdicts", ("identical", "same"))),
            groups=tuple(planned),
            asked=asked,
            held_back=tuple(self._held_back),
            incomplete_because=tuple(map(str, self._head.get("incomplete_because", ()))),
        )

    def _checked(self, group: Mapping[str, Any]) -> PlannedGroup:
        """Return a group with those files that are what the index says and can be moved."""
        changed = {file["path"]: why for file in group["files"] if (why := self._why_changed(file)) is not None}
        stays = {
            file["path"]: _planned_file(file)
            for file in group["files"]
            if not file["goes"] and file["path"] not in changed
        }
        goes = []
        for file in group["files"]:
            if not file["goes"]:
                continue
            why = changed.get(file["path"]) or self._why_not(file, stays, changed)
            if why is None:
                goes.append(_going_file(file))
            else:
                self._held_back.append(HeldBack(file["path"], why))
        return PlannedGroup(str(group["id"]), tuple(stays.values()), tuple(goes))

    def _without_second_names(self, groups: list[PlannedGroup]) -> list[PlannedGroup]:
        """Return the groups without those files that stay but are other paths to a file that goes: they go with it."""
        numbers = {(going.file.device, going.file.inode) for group in groups for going in group.goes}
        found = []
        for group in groups:
            stays = {file.path: file for file in group.stays if (file.device, file.inode) not in numbers}
            goes = [going for going in group.goes if going.held_by in stays]
            why = "the file that would stay for it goes by another path"
            self._held_back += [HeldBack(going.file.path, why) for going in group.goes if going.held_by not in stays]
            found.append(replace(group, stays=tuple(stays.values()), goes=tuple(goes)))
        return found

    def _why_changed(self, file: Mapping[str, Any]) -> str | None:
        if not any(is_below(file["path"], root) for root in self._roots):
            return "it lies under no root"
        try:
            status = os.lstat(file["path"])
        except OSError as error:
            return f"it is not there: {error.strerror}"
        known = (file["bytes"], file["mtime_ns"])
        if not stat.S_ISREG(status.st_mode) or (status.st_size, _within_int64(status.st_mtime_ns)) != known:
            return "it has changed since it was indexed"
        return None

    def _why_not(
        self, file: Mapping[str, Any], stays: Mapping[bytes, PlannedFile], changed: Mapping[bytes, str]
    ) -> str | None:
        held_by = file["held_by"]
        if held_by not in stays:
            return f"the file that would stay for it: {changed.get(held_by, 'none was named')}"
        if os.path.samestat(os.lstat(file["path"]), os.lstat(held_by)):
            return "it is another name of the file that would stay for it"
        return self._movable.why_not(file["path"], self._root_of(file["path"]))

    def _without_lost_companions(self, group: PlannedGroup) -> PlannedGroup:
        """Return a group without the files of whose movie or memo, or sidecar if that matters, no equal would stay."""
        goes = []
        for going in group.goes:
            lost = next((one for one in self._alone(going.file.path) if self._would_be_lost(going, one)), None)
            if lost is None:
                goes.append(going)
            else:
                which = "which cannot be moved" if self._is_fixed(going, lost) else _NO_EQUAL
                why = f"{_BELONGS}{lost.kind.value} {os.fsdecode(lost.name)}, {which}"
                self._held_back.append(HeldBack(going.file.path, why))
        return replace(group, goes=tuple(goes))

    def _is_fixed(self, going: GoingFile, companion: Companion) -> bool:
        """Whether a companion cannot be read or moved, so that it could not go along."""
        path = self._beside(going.file.path, companion.name)
        return self._companion_file(path) is None or self._movable.why_not(path, self._root_of(path)) is not None

    def _would_be_lost(self, going: GoingFile, companion: Companion) -> bool:
        matters = companion.kind.must_have_equal or self._keeps_sidecars
        return self._is_fixed(going, companion) or (matters and self._equal_of(going, companion) is None)

    def _with_companions(self, group: PlannedGroup) -> PlannedGroup:
        goes: list[GoingFile] = []
        for going in group.goes:
            along, lacks = [], list(going.lacks)
            for companion in self._alone(going.file.path):
                path = self._beside(going.file.path, companion.name)
                if self._last_of_companion[path] != going.file.path:
                    continue  # it goes with the last picture of its stem
                file = self._companion_file(path)
                assert file is not None  # else its picture is held back
                equal = self._equal_of(going, companion)
                if equal is None:
                    lacks.append(f"{companion.kind.value} {os.fsdecode(companion.name)}")
                verdict, confirmed = (None, None) if equal is None else ("identical", True)
                along.append(GoingFile(file, equal, verdict, confirmed, goes_with=going.file.path))
            goes += [replace(going, lacks=tuple(lacks)), *along]
        return replace(group, goes=tuple(goes))

    def _alone(self, path: bytes) -> list[Companion]:
        """Return the companions of a picture that no picture which stays has a share in, and that are no pictures."""
        folder, name = os.path.split(path)
        names = self._names_in(folder)

        def stays(other: bytes) -> bool:
            return os.path.join(folder, other) not in self._going

        return [
            one
            for one in names.companions(name)
            if os.path.join(folder, one.name) not in self._pictures
            and not any(map(stays, names.sharing(name, one.name)))
        ]

    def _equal_of(self, going: GoingFile, companion: Companion) -> bytes | None:
        """Return the equal of a companion beside the file that stays, if there is one."""
        assert going.held_by is not None
        own = self._companion_file(self._beside(going.file.path, companion.name))
        folder, name = os.path.split(going.held_by)
        for other in self._names_in(folder).companions(name):
            path = os.path.join(folder, other.name)
            if other.kind is not companion.kind or own is None or path == own.path:
                continue
            theirs = self._companion_file(path)
            if theirs is None or theirs.size_bytes != own.size_bytes or theirs.blake3 != own.blake3:
                continue
            if (theirs.device, theirs.inode) != (own.device, own.inode):
                return path
        return None

    def _companion_file(self, path: bytes) -> PlannedFile | None:
        """Read a companion; None if it cannot be read."""
        if path not in self._digests:
            self._digests[path] = _read(path, self._root_of(path))
        return self._digests[path]

    def _beside(self, picture: bytes, name: bytes) -> bytes:
        return os.path.join(os.path.dirname(picture), name)

    def _names_in(self, folder: bytes) -> FolderNames:
        if folder not in self._names:
            try:
                self._names[folder] = FolderNames(os.listdir(folder))
            except OSError:
                self._names[folder] = FolderNames([])
        return self._names[folder]

    def _root_of(self, path: bytes) -> bytes:
        return max((root for root in self._roots if is_below(path, root)), key=len)


def _read(path: bytes, root: bytes) -> PlannedFile | None:
    try:
        with opened(path, root) as (_, descriptor):
            status, digest = os.fstat(descriptor), digest_of(descriptor)
    except (SkipError, OSError):
        return None
    return PlannedFile(path, status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino, digest)


def _planned_file(file: Mapping[str, Any]) -> PlannedFile:
    """Return a file of a group, with the numbers that it has now: some change with every mount."""
    if len(file["digest"]) != 32:
        raise PlanError("the service sent a digest that is none")
    try:
        status = os.lstat(file["path"])
        device, inode = status.st_dev, status.st_ino
    except OSError:
        device, inode = file["device"], file["inode"]
    digest, reason = bytes(file["digest"]), str(file.get("reason") or "")
    return PlannedFile(file["path"], file["bytes"], file["mtime_ns"], device, inode, digest, reason)


def _going_file(file: Mapping[str, Any]) -> GoingFile:
    return GoingFile(
        _planned_file(file), file["held_by"], file["verdict"], file["confirmed"], tuple(map(str, file.get("lacks", ())))
    )


def _within_int64(number: int) -> int:
    """Return a number as the index has it, in which the largest ones have become negative."""
    return number if number < 1 << 63 else number - (1 << 64)
