"""Says where the quarantine for a file is, or can be made, and whether one can be relied on.

In: a folder below a root. Out: the path of a quarantine, or SkipError with the reason. Nothing is made or changed, but
for a file that tells whether a file system keeps owners and modes, in a quarantine that others seem to share.
"""

import os
from collections.abc import Iterable

from dupwatch.act.errors import SkipError
from dupwatch.act.folders import MountPoint, keeps_rights, mount_point, open_below, parts_below
from dupwatch.act.plan_file import is_below
from dupwatch.quarantine_name import MARKER_NAME, QUARANTINE_NAME, is_quarantine
from dupwatch.terminal import printable


def quarantine_paths(root: bytes, paths: Iterable[bytes]) -> list[bytes]:
    """Return the quarantines that are there in the folders between a root and some files."""
    folders: set[bytes] = set()
    for path in paths:
        while is_below(path, root) and (path := os.path.dirname(path)) not in folders:
            folders.add(path)
    found = (os.path.join(folder, QUARANTINE_NAME) for folder in sorted(folders))
    return [path for path in found if is_quarantine(path)]


def quarantine_above(folder: bytes, root: bytes) -> bytes:
    """Return the path at which the quarantine for the files of a folder is, or would be made.

    It is the highest folder from which files can be renamed and in which the caller may make one. Raises SkipError with
    the reason if there is none, OSError if the folder cannot be opened.
    """
    parts = parts_below(folder, root)
    inner = open_below(root, parts)
    try:
        wanted = mount_point(inner)
    finally:
        os.close(inner)
    refusals = []
    for depth in range(len(parts) + 1):
        top = b"/".join([root.rstrip(b"/"), *parts[:depth]]) or b"/"
        refusal = _why_not_at(top, root, parts[:depth], wanted)
        if refusal is None:
            return top.rstrip(b"/") + b"/" + QUARANTINE_NAME
        refusals.append(refusal)
    raise SkipError(f"no quarantine can be made for it: {next(filter(None, refusals), 'nothing can be renamed there')}")


def _why_not_at(top: bytes, root: bytes, parts: list[bytes], wanted: MountPoint) -> str | None:
    """Return why no quarantine can be at the top of a tree; None if it can, or is there. Nothing is made."""
    descriptor = open_below(root, parts)
    try:
        if mount_point(descriptor) != wanted:
            return ""
        try:
            there = os.open(QUARANTINE_NAME, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor)
        except FileNotFoundError:
            may_make = os.access(".", os.W_OK | os.X_OK, dir_fd=descriptor, effective_ids=True)
            return None if may_make else f"you may not write to {printable(top)}"
        except OSError as error:
            return f"{printable(top)}/{QUARANTINE_NAME.decode()} is in the way: {error.strerror}"
        try:
            check_quarantine(top.rstrip(b"/") + b"/" + QUARANTINE_NAME, there)
        except SkipError as error:
            return str(error)
        finally:
            os.close(there)
        return None
    finally:
        os.close(descriptor)


def check_quarantine(path: bytes, descriptor: int) -> None:
    """Raise SkipError if an open folder is no quarantine that the caller can rely on."""
    name, status = printable(path), os.fstat(descriptor)
    if not is_quarantine(path):
        raise SkipError(f"{name} is in the way: it is no quarantine, for there is no {MARKER_NAME.decode()} in it")
    if not os.access(".", os.W_OK | os.X_OK | os.R_OK, dir_fd=descriptor, effective_ids=True):
        raise SkipError(f"you may not write to the quarantine {name}")
    is_of_another, is_open = status.st_uid != os.geteuid(), bool(status.st_mode & 0o022)
    if not is_of_another and not is_open:
        return
    above = os.stat(os.path.dirname(path))
    try:
        if (status.st_uid, status.st_mode) == (above.st_uid, above.st_mode) and not keeps_rights(descriptor):
            return  # nobody can have a folder of his own there
    except OSError as error:
        raise SkipError(f"cannot write to the quarantine {name}: {error.strerror}") from None
    if is_of_another:
        raise SkipError(f"the quarantine {name} belongs to another user (uid {status.st_uid})")
    raise SkipError(f"the quarantine {name} can be written by others: `chmod 700` it")
