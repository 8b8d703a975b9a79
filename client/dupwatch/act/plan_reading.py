"""Reads a plan and believes nothing in it: whoever wrote it, an edited plan is checked as strictly as our own.

In: a file. Out: a `Plan` in which every file that goes has a file that stays, below the plan's roots, or a PlanError
with one line that says what is wrong and where. Nothing but the plan itself is opened; `check_links` looks at the
files' folders before an apply.
"""

import os
import re
import stat
from collections.abc import Mapping
from typing import Any

from dupwatch.act.errors import PlanError
from dupwatch.act.plan_file import (
    PLAN_VERSION,
    VERDICTS,
    AskedGroup,
    GoingFile,
    HeldBack,
    Plan,
    PlannedFile,
    PlannedGroup,
    is_below,
)
from dupwatch.act.plan_values import INTEGER_LEAST, Values, in_words, parsed_json, shown
from dupwatch.families import companion_kind
from dupwatch.quarantine_name import QUARANTINE_NAME, has_marker
from dupwatch.terminal import printable

PLAN_BYTES_MAX = 1 << 30
_FILE_KEYS = frozenset(["path", "bytes", "mtime_ns", "device", "inode", "blake3", "reason"])
_GOING_KEYS = _FILE_KEYS | {"held_by", "verdict", "confirmed", "lacks", "goes_with"}
_PLAN_KEYS = frozenset([
    "dupwatch_plan", "made", "roots", "rules", "verdicts", "complete", "incomplete_because", "summary", "groups",
    "asked", "held_back",
])  # fmt: skip
_MADE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def read_plan(path: bytes) -> Plan:
    """Read and check a plan; raises PlanError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        raise PlanError(f"cannot open the plan {printable(path)}: {in_words(error)}") from None
    try:
        _check_owner(os.fstat(descriptor), path)
        with open(descriptor, "rb", closefd=False) as stream:
            data = stream.read(PLAN_BYTES_MAX + 1)
    except OSError as error:
        raise PlanError(f"cannot read the plan {printable(path)}: {in_words(error)}") from None
    finally:
        os.close(descriptor)
    if len(data) > PLAN_BYTES_MAX:
        raise PlanError(f"{printable(path)} is no plan: it is larger than {PLAN_BYTES_MAX:,} bytes")
    return parsed_plan(data, printable(path))


def parsed_plan(data: bytes, name: str) -> Plan:
    """Parse and check the bytes of a plan, which errors call ``name``; raises PlanError."""
    document = parsed_json(data, name)
    reader = _Reader(name)
    plan = reader.plan(document)
    _check_sides(plan, reader)
    return plan


def check_links(plan: Plan) -> None:
    """Raise PlanError if a file of the plan, or a folder between it and its root, is a link or a quarantine."""
    checked: set[bytes] = set()
    for group in plan.groups:
        paths = [file.path for file in group.stays] + [going.file.path for going in group.goes]
        paths += [going.held_by for going in group.goes if going.held_by is not None]
        for path in paths:
            root = plan.root_of(path)
            while path not in checked:
                checked.add(path)
                if os.path.islink(path):
                    raise PlanError(
                        f"{printable(path)} is a symbolic link: a plan names files themselves; nothing was touched"
                    )
                if os.path.basename(path).lower() == QUARANTINE_NAME and has_marker(path):  # NTFS ignores case
                    raise PlanError(f"{printable(path)} is a quarantine: what lies in it neither goes nor stays")
                if path == root:
                    break
                path = os.path.dirname(path)


def _check_owner(status: os.stat_result, path: bytes) -> None:
    name = printable(path)
    if not stat.S_ISREG(status.st_mode):
        raise PlanError(f"{name} is no plan: it is not a regular file")
    if status.st_uid not in (os.geteuid(), 0):
        raise PlanError(f"the plan {name} belongs to another user (uid {status.st_uid}): make one yourself")
    may_others_write = status.st_mode & stat.S_IWOTH
    may_group_write = status.st_mode & stat.S_IWGRP and status.st_gid != os.getegid()
    if may_others_write or may_group_write:
        raise PlanError(f"the plan {name} can be written by others: check it, then `chmod go-w` it")


class _Reader(Values):
    """Checks a document from its head to its files."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._roots: tuple[bytes, ...] = ()
        self._verdicts: tuple[str, ...] = ()

    def plan(self, document: object) -> Plan:
        if not isinstance(document, dict) or "dupwatch_plan" not in document:
            raise PlanError(f"{self._name} is no plan: it has no `dupwatch_plan`")
        version = document["dupwatch_plan"]
        if type(version) is not int or version != PLAN_VERSION:
            raise PlanError(
                f"{self._name} is a plan of version {shown(version)}, this program knows {PLAN_VERSION}: "
                "make it anew with `dupwatch plan`"
            )
        self.object_at(document, "the plan", _PLAN_KEYS, _PLAN_KEYS - {"summary", "asked", "held_back", "complete"})
        made = self.text(document["made"], "made")
        if not _MADE.fullmatch(made):
            self.fail("made", f"{shown(made)} is no time such as 2026-11-28T05:30:00Z")
        self._roots = self.each(document["roots"], "roots", self.path)
        self._verdicts = self.each(document["verdicts"], "verdicts", self._verdict)
        if type(document.get("complete", True)) is not bool:
            self.fail("complete", "must be true or false")
        if not isinstance(document.get("summary", {}), dict):
            self.fail("summary", "must be an object")
        return Plan(
            made=made,
            roots=self._roots,
            rules=self.each(document["rules"], "rules", self.text),
            verdicts=self._verdicts,
            groups=self.each(document["groups"], "groups", self._group),
            asked=self.each(document.get("asked", []), "asked", self._asked),
            held_back=self.each(document.get("held_back", []), "held_back", self._held_back),
            incomplete_because=self.each(document["incomplete_because"], "incomplete_because", self.text),
        )

    def _group(self, value: object, where: str) -> PlannedGroup:
        keys = frozenset(["id", "stays", "goes"])
        group = self.object_at(value, where, keys, keys)
        stays = self.each(group["stays"], f"{where}.stays", self._file)
        goes = self.each(group["goes"], f"{where}.goes", self._going)
        if not stays:
            self.fail(where, "no file stays")
        if not goes:
            self.fail(where, "no file goes")
        made = PlannedGroup(self.text(group["id"], f"{where}.id"), stays, goes)
        pictures = {going.file.path: going for going in goes if going.goes_with is None}
        staying = {file.path: file for file in stays}
        for number, going in enumerate(goes):
            place = f"{where}.goes[{number}]"
            if going.goes_with is None:
                self._check_copy(going, staying, place)
            else:
                self._check_companion(going, pictures, place)
        return made

    def _check_copy(self, going: GoingFile, staying: Mapping[bytes, PlannedFile], where: str) -> None:
        if going.held_by is None:
            self.fail(where, "`held_by` must name the file that stays for it")
        holder = staying.get(going.held_by)
        if holder is None:
            self.fail(where, f"`held_by` {printable(going.held_by)} is no file that stays in this group")
        if going.verdict not in self._verdicts:
            self.fail(where, f"verdict {shown(going.verdict)} is not among the plan's verdicts")
        if going.verdict == "identical" and holder.blake3 != going.file.blake3:
            self.fail(where, "it is called identical to a file of another content")
        if going.verdict == "same" and going.confirmed is not True:
            self.fail(where, "a file that is `same` goes only if this is `confirmed`")

    def _check_companion(self, going: GoingFile, pictures: Mapping[bytes, GoingFile], where: str) -> None:
        assert going.goes_with is not None
        if going.goes_with not in pictures:
            self.fail(where, f"`goes_with` {printable(going.goes_with)} is no picture that goes in this group")
        folder, name = os.path.split(going.file.path)
        picture_folder, picture = os.path.split(going.goes_with)
        kind = companion_kind(picture, name) if folder == picture_folder else None
        if kind is None:
            self.fail(where, f"it is no sidecar of {printable(going.goes_with)}")
        if going.held_by is None and kind.must_have_equal:
            self.fail(where, f"a {kind.value} goes only if an equal one stays: `held_by` must name it")
        if (going.verdict, going.confirmed) not in ((None, None), ("identical", True), ("identical", None)):
            self.fail(where, "a file that goes along is identical to what `held_by` names, or nothing holds it")

    def _asked(self, value: object, where: str) -> AskedGroup:
        keys = frozenset(["id", "because", "files"])
        group = self.object_at(value, where, keys, keys)
        return AskedGroup(
            self.text(group["id"], f"{where}.id"),
            self.text(group["because"], f"{where}.because"),
            self.each(group["files"], f"{where}.files", self._file),
        )

    def _held_back(self, value: object, where: str) -> HeldBack:
        keys = frozenset(["path", "because"])
        one = self.object_at(value, where, keys, keys)
        return HeldBack(self.path(one["path"], f"{where}.path"), self.text(one["because"], f"{where}.because"))

    def _file(self, value: object, where: str) -> PlannedFile:
        return self._checked_file(self.object_at(value, where, _FILE_KEYS, _FILE_KEYS - {"reason"}), where)

    def _going(self, value: object, where: str) -> GoingFile:
        one = self.object_at(value, where, _GOING_KEYS, _GOING_KEYS - {"reason", "lacks", "goes_with"})
        held_by, verdict, confirmed = one["held_by"], one["verdict"], one["confirmed"]
        goes_with = one.get("goes_with")
        if confirmed is not None and type(confirmed) is not bool:
            self.fail(f"{where}.confirmed", "must be true, false or null")
        return GoingFile(
            self._checked_file(one, where),
            None if held_by is None else self._path_in_root(held_by, f"{where}.held_by"),
            None if verdict is None else self._verdict(verdict, f"{where}.verdict"),
            confirmed,
            self.each(one.get("lacks", []), f"{where}.lacks", self.text),
            None if goes_with is None else self._path_in_root(goes_with, f"{where}.goes_with"),
        )

    def _checked_file(self, one: Mapping[str, Any], where: str) -> PlannedFile:
        digest = self.text(one["blake3"], f"{where}.blake3")
        if not re.fullmatch("[0-9a-f]{64}", digest):
            self.fail(f"{where}.blake3", "must be 64 hexadecimal digits in lower case")
        return PlannedFile(
            self._path_in_root(one["path"], f"{where}.path"),
            self.integer(one["bytes"], f"{where}.bytes"),
            self.integer(one["mtime_ns"], f"{where}.mtime_ns", least=INTEGER_LEAST),
            self.integer(one["device"], f"{where}.device", least=INTEGER_LEAST),
            self.integer(one["inode"], f"{where}.inode", least=INTEGER_LEAST),
            bytes.fromhex(digest),
            self.text(one.get("reason", ""), f"{where}.reason"),
        )

    def _verdict(self, value: object, where: str) -> str:
        if value not in VERDICTS:
            self.fail(where, f"{shown(value)} is no verdict for which a file may go")
        assert isinstance(value, str)
        return value

    def _path_in_root(self, value: object, where: str) -> bytes:
        path = self.path(value, where)
        if not any(is_below(path, root) for root in self._roots):
            self.fail(where, f"{printable(path)} lies under none of the plan's roots")
        return path


def _check_contents(plan: Plan, reader: _Reader) -> None:
    """Refuse a file that stays in several groups and is said to have another content in each."""
    contents: dict[bytes, tuple[int, bytes]] = {}
    for number, group in enumerate(plan.groups):
        for file in group.stays:
            content = (file.size_bytes, file.blake3)
            if contents.setdefault(file.path, content) != content:
                reader.fail(f"groups[{number}]", f"{printable(file.path)} is named with two contents")


def _check_sides(plan: Plan, reader: _Reader) -> None:
    """Refuse a file that goes and stays, or goes twice, in whatever groups."""
    staying = {file.path for group in plan.groups for file in group.stays}
    staying |= {going.held_by for going in plan.going if going.held_by is not None}
    numbers = {(file.device, file.inode): file.path for group in plan.groups for file in group.stays}
    _check_contents(plan, reader)
    seen: set[bytes] = set()
    for group_number, group in enumerate(plan.groups):
        for number, going in enumerate(group.goes):
            file, where = going.file, f"groups[{group_number}].goes[{number}]"
            if file.path in staying:
                reader.fail(where, f"{printable(file.path)} goes and stays")
            if file.path in seen:
                reader.fail(where, f"{printable(file.path)} goes twice")
            seen.add(file.path)
            other = numbers.get((file.device, file.inode))
            if other is not None:
                reader.fail(
                    where, f"{printable(file.path)} is the same file (device, inode) as {printable(other)}, which stays"
                )
