"""Opens files by way of open folders, from a root downwards, so that a symbolic link never leads elsewhere.

In: a root and a path below it. Out: an open folder and the file's last name, or an open file. Whoever opens one closes
it. What is not there, or is a link, is an OSError of the kernel (ELOOP, ENOTDIR, ENOENT).
"""

import os
import re
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import NamedTuple

from dupwatch.act.plan_file import is_below

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


_ANSWERING_FROM_MEMORY = frozenset([
    b"9p", b"afs", b"aufs", b"beegfs", b"ceph", b"cifs", b"fuse", b"fuseblk", b"glusterfs", b"lustre", b"nfs", b"nfs4",
    b"overlay", b"smb3", b"virtiofs", b"",
])  # fmt: skip


class Place(NamedTuple):
    """A name in an open folder."""

    folder: int  # descriptor
    name: bytes
    path: bytes  # of both together, as it was when the folder was opened


class MountPoint(NamedTuple):
    """Where a folder is mounted; two of them are equal if files can be renamed from one to the other."""

    mount: int
    device: int


def open_folder(path: bytes) -> int:
    """Open a folder that is no link; raises OSError."""
    return os.open(path, _FOLDER)


def parts_below(path: bytes, root: bytes) -> list[bytes]:
    """Return the names from a root down to a path below it; none for the root itself."""
    if path == root:
        return []
    assert is_below(path, root)
    return path[len(root.rstrip(b"/")) + 1 :].split(b"/")


def open_below(root: bytes, parts: list[bytes]) -> int:
    """Open the folder that names lead to, link by no link; raises OSError."""
    descriptor = open_folder(root)
    for part in parts:
        try:
            below = os.open(part, _FOLDER, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = below
    return descriptor


def root_above(folder: bytes, roots: Sequence[bytes]) -> bytes | None:
    """Return the root in which a folder lies, also by way of links and of mounts of the whole root."""
    numbers = {}
    for root in roots:
        with suppress(OSError):
            status = os.stat(root)
            numbers[status.st_dev, status.st_ino] = root
    folder = os.path.realpath(folder)
    while True:
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in numbers:
            return numbers[status.st_dev, status.st_ino]
        if folder == os.path.dirname(folder):
            return None
        folder = os.path.dirname(folder)


@contextmanager
def place_of(path: bytes, root: bytes) -> Iterator[Place]:
    """Open the folder in which a path below a root lies, and close it at the end; raises OSError."""
    *parts, name = parts_below(path, root)
    folder = open_below(root, parts)
    try:
        yield Place(folder, name, path)
    finally:
        os.close(folder)


def make_below(root: int, parts: list[bytes], mode: int = 0o700) -> int:
    """Open the folder that names lead to below an open folder, making those that are missing; raises OSError."""
    descriptor = os.dup(root)
    for part in parts:
        try:
            below = _opened_or_made(descriptor, part, mode)
        finally:
            os.close(descriptor)
        descriptor = below
    return descriptor


def _opened_or_made(folder: int, name: bytes, mode: int) -> int:
    try:
        os.mkdir(name, mode, dir_fd=folder)
    except FileExistsError:
        pass
    return os.open(name, _FOLDER, dir_fd=folder)


def open_file(place: Place) -> int:
    """Open a regular file for reading; raises OSError, also if it is a link or no file."""
    descriptor = os.open(place.name, _FILE, dir_fd=place.folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(0, "not a regular file")
    return descriptor


def status_at(place: Place) -> os.stat_result | None:
    """Return what lies at a place, a link for itself; None if nothing does. Raises OSError if that cannot be told."""
    try:
        return os.stat(place.name, dir_fd=place.folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def may_answer_from_memory(folder: int) -> bool:
    """Return whether a name in an open folder may still be answered after it is gone: from a share, FUSE, an overlay.

    A listing of the folder is asked for anew.
    """
    try:
        return _mount_of(mount_point(folder)).kind in _ANSWERING_FROM_MEMORY
    except OSError:
        return True


def mounted_at(folder: int) -> bytes:
    """Return the path at which the file system of an open folder is mounted; raises OSError."""
    return _mount_of(mount_point(folder)).path


def keeps_rights(folder: int) -> bool:
    """Return whether the file system of an open folder keeps owners and modes; on FAT, say, all files have the same.

    A file is made in the folder to find out, and removed at once: once for each file system. Raises OSError.
    """
    device = os.fstat(folder).st_dev
    if device not in _keeping_rights:
        name = b".dupwatch-" + secrets.token_hex(8).encode("ascii")
        made = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
        try:
            os.unlink(name, dir_fd=folder)
            status = os.fstat(made)
        finally:
            os.close(made)
        _keeping_rights[device] = status.st_uid == os.geteuid() and not status.st_mode & 0o022
    return _keeping_rights[device]


_keeping_rights: dict[int, bool] = {}  # by device


def forget_mounts() -> None:
    """Forget what was mounted where: numbers of mounts and devices are used again."""
    _mount_of.cache_clear()
    _keeping_rights.clear()


class _Mount(NamedTuple):
    path: bytes
    kind: bytes  # without the name of its program


@lru_cache(maxsize=256)
def _mount_of(point: MountPoint) -> _Mount:
    """Return what is mounted there; nothing if it is not in the list."""
    with open("/proc/self/mountinfo", "rb") as lines:
        for line in lines:
            before, _, after = line.partition(b" - ")
            fields = before.split(b" ")
            if int(fields[0]) == point.mount:
                path = re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal[1], 8)]), fields[4])
                return _Mount(path, after.split(b" ", 1)[0].partition(b".")[0])
    return _Mount(b"", b"")


def mount_point(folder: int) -> MountPoint:
    """Return where an open folder is mounted; raises OSError."""
    number = 0
    with open(f"/proc/self/fdinfo/{folder}", "rb") as lines:
        for line in lines:
            if line.startswith(b"mnt_id:"):
                number = int(line.split()[1])
    return MountPoint(number, os.fstat(folder).st_dev)
