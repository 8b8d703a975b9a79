"""Records what a program does to a folder, and makes of it what a power cut at any moment may leave there.

A file system with a journal keeps what it was told to sync, and this much of the rest: of each write since the last
sync of its file all, nothing, some of its sectors, or zeros in a file that has grown already; in any order. Names
(files made, renamed and removed) come back in the order in which they were changed, up to some point after the last
sync of a folder they lie in, whether or not what they name was written.
"""

import os
import random
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

_SECTOR_BYTES = 512
_CALLS = (
    "openat,lseek,write,pwrite64,ftruncate,fsync,fdatasync,unlink,unlinkat,rename,mkdir,rmdir,writev,pwritev,pwritev2,"
    "fallocate,truncate,renameat,renameat2,mkdirat,link,linkat,symlink,symlinkat,copy_file_range,sendfile,creat"
)
_CALL = re.compile(
    rb"(?P<name>\w+)\((?:AT_FDCWD<[^>]*>, |(?P<number>\d+)<(?P<of>[^>]*)>(?P<deleted>\(deleted\))?(?:, )?)?"
    rb'(?:"(?P<text>[^"]*)"(?:, )?)?(?P<rest>.*)\) += (?P<result>-?\d+)'
)


class Step(NamedTuple):
    """One thing that was done; paths begin below the folder."""

    what: str  # file, folder, write, cut, sync, move or remove
    path: str
    place: int = 0  # of what was written; the length of a file that was cut
    data: bytes = b""
    target: str = ""  # of a move


def recorded(
    folder: Path, command: Sequence[str], log: Path
) -> "tuple[list[Step], subprocess.CompletedProcess[bytes]]":
    """Run a command, and tell all that it does below a folder; its other threads and children change nothing there."""
    traced = ["strace", "-qq", "-y", "-xx", "-s", str(1 << 24), "-e", f"trace={_CALLS}", "-o", str(log), *command]
    there = {os.path.relpath(path, folder) for path in folder.rglob("*")}
    done = subprocess.run(traced, capture_output=True, check=False)
    return list(_steps(log, os.fsencode(folder), there)), done


def _steps(log: Path, folder: bytes, there: set[str]) -> Iterator[Step]:
    positions: dict[bytes, int] = {}  # by file descriptor
    hexed = b"".join(b"\\x%02x" % byte for byte in folder)
    with log.open("rb") as lines:
        for line in lines:
            if hexed not in line:
                continue
            call = _CALL.match(line)
            assert call is not None, line[:200]
            name, number, result = call["name"].decode(), call["number"], int(call["result"])
            at, text, rest = _plain(call["of"]), _plain(call["text"]), call["rest"]
            if result < 0 or call["deleted"]:
                continue
            path = _below(folder, at if at is not None and name not in ("openat", "unlinkat") else _joined(at, text))
            if path is None:
                continue
            match name:
                case "openat":
                    positions[str(result).encode()] = 0
                    if b"O_CREAT" in rest and path not in there:
                        there.add(path)
                        yield Step("file", path)
                    elif b"O_TRUNC" in rest:
                        yield Step("cut", path)
                case "lseek":
                    positions[number] = result
                case "write":
                    assert text is not None
                    yield Step("write", path, positions[number], text[:result])
                    positions[number] += result
                case "pwrite64":
                    assert text is not None
                    yield Step("write", path, int(rest.rpartition(b",")[2]), text[:result])
                case "ftruncate":
                    yield Step("cut", path, int(rest))
                case "fsync" | "fdatasync":
                    yield Step("sync", path)
                case "mkdir":
                    there.add(path)
                    yield Step("folder", path)
                case "unlink" | "unlinkat" | "rmdir":
                    there.discard(path)
                    yield Step("remove", path)
                case "rename":
                    target = _below(folder, _plain(rest.strip(b'"')))
                    assert target is not None, "it was moved out of sight"
                    moved = {one for one in there if one == path or one.startswith(f"{path}/")}
                    there -= moved
                    there |= {target + one.removeprefix(path) for one in moved}
                    yield Step("move", path, target=target)
                case _:
                    raise AssertionError(f"{name} is not known here")


def _plain(hexed: bytes | None) -> bytes | None:
    return None if hexed is None else bytes.fromhex(hexed.decode().replace("\\x", ""))


def _joined(folder: bytes | None, name: bytes | None) -> bytes | None:
    return name if folder is None or name is None else os.path.join(folder, name)


def _below(folder: bytes, path: bytes | None) -> str | None:
    if path is None or not (path == folder or path.startswith(folder + b"/")):
        return None
    return os.fsdecode(os.path.relpath(path, folder))


@dataclass(eq=False)
class _File:
    durable: bytearray = field(default_factory=bytearray)
    unsynced: list[Step] = field(default_factory=list)

    def synced(self) -> None:
        for step in self.unsynced:
            _apply(self.durable, step)
        self.unsynced.clear()

    def after_cut(self, dice: random.Random) -> bytes:
        found = bytearray(self.durable)
        for step in self.unsynced:
            match dice.choice(("kept", "kept", "torn", "zeros", "lost")):
                case "kept":
                    _apply(found, step)
                case "torn" if step.what == "write":
                    for start in range(0, len(step.data), _SECTOR_BYTES):
                        if dice.random() < 0.5:
                            part = step.data[start : start + _SECTOR_BYTES]
                            _apply(found, step._replace(place=step.place + start, data=part))
                case "zeros" if step.what == "write":
                    found.extend(bytes(max(0, step.place + len(step.data) - len(found))))
        return bytes(found)


def _apply(content: bytearray, step: Step) -> None:
    end = step.place + len(step.data)
    content.extend(bytes(max(0, end - len(content))))
    if step.what == "cut":
        del content[step.place :]
    content[step.place : end] = step.data


_Names = dict[str, _File | None]  # by path; None: a folder


class Disk:
    """A folder while things are done to it, one after the other."""

    def __init__(self, folder: Path) -> None:
        """It begins as it is, on disk."""
        self._begin: _Names = {
            os.path.relpath(path, folder): None if path.is_dir() else _File(bytearray(path.read_bytes()))
            for path in sorted(folder.rglob("*"))
        }
        self._now = dict(self._begin)
        self._changes: list[tuple[Step, _File | None]] = []  # of names, with what was made
        self._durable_changes = 0

    def do(self, step: Step) -> None:
        """Do one thing more."""
        match step.what:
            case "file" | "folder" | "move" | "remove":
                made = _File() if step.what == "file" else None
                self._changes.append((step, made))
                _change(self._now, step, made)
            case "sync" if self._now.get(step.path) is None:  # a folder
                for number, (change, _) in enumerate(self._changes, 1):
                    if step.path in {os.path.dirname(path) or "." for path in (change.path, change.target)}:
                        self._durable_changes = max(self._durable_changes, number)
            case "sync":
                self._file(step).synced()
            case _:
                self._file(step).unsynced.append(step)

    def _file(self, step: Step) -> _File:
        file = self._now[step.path]
        assert file is not None
        return file

    def written(self) -> dict[str, bytes]:
        """The files as a program sees them now."""
        for file in filter(None, self._now.values()):
            file.synced()
        return {path: bytes(file.durable) for path, file in self._now.items() if file is not None}

    def put_after_cut(self, dice: random.Random, folder: Path) -> None:
        """Make an empty folder what this one may be after a power cut now."""
        names = dict(self._begin)
        for change, made in self._changes[: dice.randint(self._durable_changes, len(self._changes))]:
            _change(names, change, made)
        for path, file in names.items():
            if file is None:
                (folder / path).mkdir(parents=True, exist_ok=True)
            else:
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(file.after_cut(dice))


def _change(names: _Names, step: Step, made: _File | None) -> None:
    if step.what in ("file", "folder"):
        names[step.path] = made
        return
    for path in [one for one in names if one == step.path or one.startswith(f"{step.path}/")]:
        moved = names.pop(path)
        if step.what == "move":
            names[step.target + path.removeprefix(step.path)] = moved
