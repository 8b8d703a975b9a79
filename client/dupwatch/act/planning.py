"""Makes a plan of the groups that the service's command `plan` gives, or a scan without a service.

In: groups with the files that go and stay. Out: a `Plan` of what is so at this moment: a file that is not what the
index says, that cannot be moved, or whose movie would be lost is held back, with the reason. Sidecars and the like
beside the files, which the service does not know, go along (see `beside`). Files are opened and hashed, and nothing
is changed.
"""

import os
import stat
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dupwatch.act.companions import Companions
from dupwatch.act.errors import PlanError
from dupwatch.act.movable import Movable
from dupwatch.act.plan_file import (
    CHOSEN,
    AskedGroup,
    GoingFile,
    HeldBack,
    Plan,
    PlannedFile,
    PlannedGroup,
    deepest_root,
    is_below,
)
from dupwatch.beside import BELONGS, NO_EQUAL, Beside, beside_of
from dupwatch.families import Folders, Kind, asks_for_sidecars

PlanPage = Mapping[str, Any]  # a result of the service's command `plan`; one that is enough has all groups


def held_for_sidecar(held: HeldBack) -> bool:
    """Whether a file is held back only because what stays would have no sidecar like its own."""
    return held.because.startswith(BELONGS + Kind.SIDECAR.value) and held.because.endswith(NO_EQUAL)


def make_plan(pages: Iterable[PlanPage]) -> Plan:
    """Return the plan of these groups, which are of one revision of the index; raises PlanError."""
    groups: list[Mapping[str, Any]] = []
    head: PlanPage = {}
    for head in pages:
        groups += head["groups"]
    return _Planning(head).plan(groups)


class _Planning:
    """One plan in the making."""

    def __init__(self, head: PlanPage) -> None:
        self._head = head
        self._roots: tuple[bytes, ...] = tuple(head.get("roots", ()))
        self._asks_for_sidecars = asks_for_sidecars(head.get("ask_when", ()))
        self._movable = Movable()
        self._folders = Folders()
        self._companions = Companions(self._movable, self._roots)
        self._held_back: list[HeldBack] = []

    def plan(self, groups: Sequence[Mapping[str, Any]]) -> Plan:
        pictures = frozenset(file["path"] for group in groups for file in group["files"])
        asked = tuple(
            AskedGroup(group["id"], group["asked"], tuple(map(_planned_file, group["files"])))
            for group in groups
            if group.get("asked") is not None
        )
        checked = self._without_second_names([self._checked(group) for group in groups if group.get("asked") is None])
        kept_whole = self._without_lost_companions(checked, pictures)
        planned = _with_companions(kept_whole, self._beside(kept_whole, pictures), self._companions)
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
        try:
            status = os.lstat(file["path"])
        except OSError as error:  # it was there a moment ago
            return f"it is not there: {error.strerror}"
        if (status.st_dev, status.st_ino) == (stays[held_by].device, stays[held_by].inode):
            return "it is another name of the file that would stay for it"
        return self._movable.why_not(file["path"], deepest_root(file["path"], self._roots))

    def _beside(
        self, groups: Sequence[PlannedGroup], pictures: Collection[bytes], *, asks_for_sidecars: bool = False
    ) -> Beside:
        going = {going.file.path for group in groups for going in group.goes}
        return Beside(going, pictures, self._companions, self._folders, asks_for_sidecars=asks_for_sidecars)

    def _without_lost_companions(
        self, groups: Sequence[PlannedGroup], pictures: Collection[bytes]
    ) -> list[PlannedGroup]:
        """Return groups without the files that stay for what lies beside them.

        What goes only because a person chose so, with its sidecar beside it, has been asked about.
        """
        asking, not_asking = (
            self._beside(groups, pictures, asks_for_sidecars=asks) for asks in (self._asks_for_sidecars, False)
        )
        found = []
        for group in groups:
            goes = []
            for going in group.goes:
                assert going.held_by is not None
                beside = not_asking if going.verdict == CHOSEN else asking
                objection = beside.objection(going.file.path, going.held_by)
                if objection is None:
                    goes.append(going)
                else:
                    self._held_back.append(HeldBack(going.file.path, objection.because))
            found.append(replace(group, goes=tuple(goes)))
        return found


def _with_companions(groups: Sequence[PlannedGroup], those: Beside, companions: Companions) -> list[PlannedGroup]:
    """Return the groups in which something goes, with what goes along."""
    pictures = [going.file.path for group in groups for going in group.goes]
    along = {path: those.along(path) for path in pictures}
    # One of several pictures goes with the last of them: then none is left to need it.
    last = {beside_of(path, one.name): path for path in pictures for one in along[path]}
    found = []
    for group in groups:
        goes: list[GoingFile] = []
        for going in group.goes:
            picture, lacks = going.file.path, list(going.lacks)
            members = []
            assert going.held_by is not None
            for companion in along[picture]:
                path = beside_of(picture, companion.name)
                if last[path] != picture:
                    continue
                holder = those.holder_of(picture, companion, going.held_by)
                if holder is None:
                    lacks.append(f"{companion.kind.value} {os.fsdecode(companion.name)}")
                members.append(companions.going(path, picture, holder))
            goes += [replace(going, lacks=tuple(lacks)), *members]
        if goes:
            found.append(replace(group, goes=tuple(goes)))
    return found


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
