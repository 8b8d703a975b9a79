"""Replaces the index of a state directory by another one, so that a kill leaves the old index or the new one.

In: a locked state directory. An index is several files, which no system call replaces at once. So the new one is made
in a folder of its own, `begin_replacing`. When that is complete and synced, one renaming decides that it counts,
`replace`. From then on whoever gets the lock of the state directory next moves the parts that are still to be moved,
`finish_replacing`. What was there before is moved aside and never deleted.
"""

import errno
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager

from dupwatchd.db.connection import FILE_NAME
from dupwatchd.db.proofs import FILE_NAME as PROOFS_NAME
from dupwatchd.errors import StateError

REPLACED, DAMAGED = "replaced-", "damaged-"  # the folder of the index that was there: what its name begins with
_UNFINISHED = "restoring"  # the folder of an index that does not count yet
_COMPLETE = "restored-"  # begins the name of the folder of one that does; the rest is the name of the old one's
_PARTS = ("blocks", PROOFS_NAME, FILE_NAME)
_BESIDE = ("-wal", "-shm", "")  # what SQLite keeps beside a database, and the database itself


def begin_replacing(state: str) -> str:
    """Make a folder for the parts of another index, all of them there and empty; returns its path."""
    folder = os.path.join(state, _UNFINISHED)
    with disk_errors(state):
        shutil.rmtree(folder, ignore_errors=True)
        os.mkdir(folder, 0o700)
        os.mkdir(os.path.join(folder, "blocks"), 0o700)
        os.close(os.open(os.path.join(folder, PROOFS_NAME), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    return folder


def abandon_replacing(state: str) -> None:
    """Remove what `begin_replacing` made; the index is as it was."""
    shutil.rmtree(os.path.join(state, _UNFINISHED), ignore_errors=True)


def replace(state: str, *, aside: str = REPLACED) -> str | None:
    """Put the index that was made, closed and synced in place of the one that is there; returns where that is now.

    ``aside`` begins the name of the folder where that is.
    """
    with disk_errors(state):
        stamp = time.strftime("%Y%m%d-%H%M%S")
        sync_folder(os.path.join(state, _UNFINISHED))
        complete = os.path.join(state, f"{_COMPLETE}{aside}{stamp}-{os.getpid()}")
        os.rename(os.path.join(state, _UNFINISHED), complete)
        sync_folder(state)
    return finish_replacing(state)


def finish_replacing(state: str) -> str | None:
    """Finish what `replace` began, if anything, and remove what does not count; returns where the old index is now."""
    with disk_errors(state):
        names = os.listdir(state)
        if _UNFINISHED in names:
            abandon_replacing(state)
        for name in names:
            if name.startswith(_COMPLETE):
                return _put_in_place(state, os.path.join(state, name), name.removeprefix(_COMPLETE))
    return None


def is_replacing(state: str) -> bool:
    """Whether `replace` was killed before all parts were in place: the index counts, but may be in two places."""
    try:
        return any(name.startswith(_COMPLETE) for name in os.listdir(state))
    except OSError:
        return False


def sync_folder(folder: str) -> None:
    """Make durable which files are in a folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _put_in_place(state: str, complete: str, aside_name: str) -> str | None:
    """Move each part that is not in place yet: the old one aside, then the new one to where it was."""
    aside = os.path.join(state, aside_name)
    for part in _PARTS:
        if os.path.lexists(os.path.join(complete, part)):  # else it is in place
            for ending in _BESIDE:
                _set_aside(os.path.join(state, part + ending), aside)
            os.rename(os.path.join(complete, part), os.path.join(state, part))
    sync_folder(state)
    if os.path.isdir(aside):
        sync_folder(aside)
    os.rmdir(complete)
    return aside if os.path.isdir(aside) else None


def _set_aside(path: str, aside: str) -> None:
    if not os.path.lexists(path):
        return
    if os.path.isdir(path) and not os.listdir(path):
        os.rmdir(path)  # blocks of a state directory that was made just now
        return
    os.makedirs(aside, mode=0o700, exist_ok=True)
    os.rename(path, os.path.join(aside, os.path.basename(path)))


@contextmanager
def disk_errors(state: str) -> Iterator[None]:
    """Raise StateError, which says what to do, for what cannot be written to a state directory."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StateError(f"no space left for the state directory {state}; make room and run again") from error
        raise StateError(f"cannot write {state}: {error.strerror}; check its rights and run again") from error
