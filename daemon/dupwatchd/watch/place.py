"""What lies at a root's path: which mount, which folder, and whether its disk seems to be missing."""

import os
import stat
from dataclasses import dataclass

from dupwatchd.watch.mounts import Mount, mount_of, mounts_below
from dupwatchd.watch.walk import is_empty_folder


@dataclass(frozen=True)
class Place:
    """What lies at a root's path. Another value means another disk or folder, and that its watches are worthless."""

    mount: int | None
    device_and_inode: tuple[int, int] | None  # None on a remote file system, which is not asked: it may hang
    below: frozenset[tuple[int, bytes]]  # number and place of each mount below the root


def place_of(path: bytes, mounts: list[Mount]) -> Place | None:
    """What lies at a path now; None if there is no folder."""
    mount = mount_of(path, mounts)
    number = mount.number if mount is not None else None
    below = frozenset((one.number, one.place) for one in mounts_below(path, mounts))
    if mount is not None and mount.is_remote:
        return Place(number, None, below)
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return Place(number, (status.st_dev, status.st_ino), below) if stat.S_ISDIR(status.st_mode) else None


def why_offline(path: bytes, before: Place | None, now: Place | None, *, was_seen: bool) -> str:
    """Why a root counts as offline, for a person; empty if it does not. ``was_seen``: it has been there before."""
    if now is None:
        return "there is no such folder"
    if was_seen and now != before and now.device_and_inode is not None and is_empty_folder(path):
        return "it is another folder than before, and empty: its disk seems to be missing"
    return ""


def why_only_polled(path: bytes, mounts: list[Mount]) -> tuple[str, bool]:
    """Why events alone do not tell of every change, for a person (empty: they do), and whether there are any events."""
    mount = mount_of(path, mounts)
    remote = [below for below in mounts_below(path, mounts) if below.is_remote]
    if mount is not None and mount.is_remote:
        return f"{mount.kind} does not tell what others change", False
    if remote:
        return f"{os.fsdecode(remote[0].place)} in it is {remote[0].kind}, which does not tell what others change", True
    if mount is not None and mount.is_layered:
        return f"{mount.kind} does not tell what changes in its layers", True
    return "", True
