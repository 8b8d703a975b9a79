"""The folder in a state directory that a backup works in: made and locked, and removed however the backup ends.

In: a state directory. Out: an empty folder that is the caller's alone. A backup holds no lock of the state directory,
for a service may be at work there; so a lock of the folder's own tells a backup at work from one that was killed.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from dupwatchd.errors import StateError, UsageError

_NAME = "backing-up"
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def folder_to_work_in(state: str) -> Iterator[str]:
    """An empty folder in the state directory, which the database fits into.

    Raises UsageError if it cannot be made, StateError if another backup is at work.
    """
    folder = os.path.join(state, _NAME)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        descriptor = os.open(folder, _FLAGS)
    except OSError as error:
        raise UsageError(f"cannot write {folder}: {error.strerror}; run it as the owner of the index") from error
    try:
        if not is_locked_now(descriptor) or not is_at(descriptor, folder):
            raise StateError(f"another backup of {state} is being made; wait for it")
        _empty(folder)
        try:
            yield folder
        finally:
            _remove(folder)
    finally:
        os.close(descriptor)


def remove_what_a_killed_backup_left(state: str) -> None:
    """Remove the folder, unless a backup is at work in it."""
    folder = os.path.join(state, _NAME)
    with contextlib.suppress(OSError):  # whatever is in the way now is tried again at the next start
        descriptor = os.open(folder, _FLAGS)
        try:
            if is_locked_now(descriptor) and is_at(descriptor, folder):
                _remove(folder)
        finally:
            os.close(descriptor)


def is_at(descriptor: int, path: str) -> bool:
    """Whether this still has its name: another backup may have ended between opening and locking it."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except OSError:
        return False


def is_locked_now(descriptor: int) -> bool:
    """Lock an open file or folder; False if another process has it locked."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove(folder: str) -> None:
    _empty(folder)
    os.rmdir(folder)


def _empty(folder: str) -> None:
    for name in os.listdir(folder):
        os.unlink(os.path.join(folder, name))
