"""Small trees of files, and plans about them as the service would make them: real files, no pictures needed."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from blake3 import blake3

from dupwatch.act.plan_file import Plan
from dupwatch.act.planning import make_plan

Seen = dict[bytes, tuple[Any, ...]]


def write(path: bytes | Path, data: bytes, mode: int = 0o640, mtime_ns: int = 1_600_000_000_123_456_789) -> bytes:
    """Write a file whose mode and time are not those of just any file."""
    raw = os.fsencode(path)
    os.makedirs(os.path.dirname(raw), exist_ok=True)
    with open(raw, "wb") as stream:
        stream.write(data)
    os.chmod(raw, mode)
    os.utime(raw, ns=(mtime_ns + 5, mtime_ns))
    return raw


def seen(folder: bytes | Path, with_numbers: bool = False) -> Seen:
    """What lies below a folder: names, kinds, bytes, modes, owners, times of files (of folders all but their times)."""
    found: Seen = {}
    top = os.fsencode(folder)
    for parent, folders, names in os.walk(top):
        for name in folders + names:
            path = os.path.join(parent, name)
            status = os.lstat(path)
            what: tuple[Any, ...] = (status.st_mode, status.st_uid, status.st_gid)
            if os.path.islink(path):
                what += (os.readlink(path),)
            elif name in names:
                with open(path, "rb") as stream:
                    what += (stream.read(), status.st_mtime_ns)
                if with_numbers:
                    what += (status.st_ino, status.st_nlink)
            found[path[len(top) + 1 :]] = what
    return found


def digest(path: bytes) -> bytes:
    with open(path, "rb") as stream:
        return blake3(stream.read()).digest()


def file_of_group(path: bytes, held_by: bytes | None = None, **more: Any) -> dict[str, Any]:
    """A file as the service's command `plan` tells it; with ``held_by`` it goes."""
    status = os.lstat(path)
    is_equal = held_by is not None and digest(held_by) == digest(path)
    return {
        "path": path, "bytes": status.st_size, "mtime_ns": status.st_mtime_ns, "device": status.st_dev,
        "inode": status.st_ino, "digest": digest(path), "format": "JPEG", "width": 40, "height": 30,
        "goes": held_by is not None, "held_by": held_by,
        "verdict": "identical" if is_equal or held_by is None else "same",
        "confirmed": True, "reason": "most pixels" if held_by is None else "fewer pixels", "lacks": [],
        "same_file_as": None, "pinned": None, **more,
    }  # fmt: skip


def group_of(*files: Mapping[str, Any], asked: str | None = None, name: str = "g") -> dict[str, Any]:
    return {"id": name, "asked": asked, "files": list(files)}


def cluster_of(group: Mapping[str, Any]) -> dict[str, Any]:
    """A group of a plan as `clusters` shows it."""
    files = [{**file, "may_go": file["goes"]} for file in group["files"]]
    freed = sum(file["bytes"] for file in files if file["may_go"] and file["same_file_as"] is None)
    return {"id": group["id"], "reclaimable_bytes": freed, "files": files}


def page_of(root: bytes | Path, *groups: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """A page of the service's command `plan`."""
    return {
        "groups": list(groups), "total_groups": len(groups), "rules": ["most pixels"], "roots": [os.fsencode(root)],
        "verdicts": ["identical", "same"], "revision": 1, "complete": True, "incomplete_because": [], **more,
    }  # fmt: skip


def plan_for(root: bytes | Path, pairs: Sequence[tuple[bytes, bytes]], ask_when: Sequence[str] = ()) -> Plan:
    """A plan in which of each pair the first goes and the second stays, a group for each file that stays."""
    kept: dict[bytes, list[bytes]] = {}
    for goes, stays in pairs:
        kept.setdefault(stays, []).append(goes)
    groups = [
        group_of(file_of_group(stays), *(file_of_group(one, stays) for one in going), name=f"g{number}")
        for number, (stays, going) in enumerate(kept.items())
    ]
    return make_plan([{**page_of(root, *groups), "ask_when": ask_when}])
