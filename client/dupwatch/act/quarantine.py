"""The folders into which files are moved: one on each file system, at the top of the root or of what is mounted in it.

In: a file that goes. Out: a place for it in a folder that only the caller may enter. A quarantine holds a marker, by
which the service leaves it out, and one folder for each run:

    .dupwatch-quarantine/dupwatch-marker
    .dupwatch-quarantine/RUN/journal          what was moved from where, see `journal`
    .dupwatch-quarantine/RUN/files/a/b/c.jpg  the tree below the top

Whoever has one open holds its lock: two runs never work in one quarantine at once.
"""

import errno
import fcntl
import os
from collections.abc import Iterable
from contextlib import suppress

from dupwatch.act.emptying import remove_empty, rmdir_if_empty, unlink_if_there
from dupwatch.act.errors import SkipError
from dupwatch.act.folders import (
    Place,
    make_below,
    open_folder,
    parts_below,
)
from dupwatch.act.kernel import NOT_OFFERED, rename_without_replacing
from dupwatch.act.quarantine_place import check_quarantine, quarantine_above
from dupwatch.quarantine_name import MARKER_NAME, QUARANTINE_NAME
from dupwatch.terminal import printable

_NAME_ASIDE = QUARANTINE_NAME + b".new"  # of one that is being made or removed

FILES = b"files"
JOURNAL = b"journal"

_MARKER = b"""\
Files that `dupwatch apply` has moved away lie here. `dupwatch undo` puts them back, `dupwatch quarantine list` shows
them, `dupwatch purge` deletes those that are old enough. While this file is here, dupwatch does not look into this
folder for pictures.
"""


def quarantined_path(quarantine: bytes, run: str, path: bytes) -> bytes:
    """Return where a file below the top of a quarantine has its place in it."""
    return b"/".join([quarantine, run.encode("ascii"), FILES, *parts_below(path, os.path.dirname(quarantine))])


class Quarantine:
    """A quarantine that is open and locked."""

    def __init__(self, path: bytes) -> None:
        """Open a quarantine that is there; raises SkipError if it is not ours or another run works in it."""
        self.path = path
        try:
            self.descriptor = open_folder(path)
        except OSError as error:
            raise SkipError(f"cannot open the quarantine {printable(path)}: {error.strerror}") from None
        try:
            check_quarantine(path, self.descriptor)
            _lock(path, self.descriptor)
        except BaseException:
            os.close(self.descriptor)
            raise

    @property
    def top(self) -> bytes:
        """The folder whose files it takes."""
        return os.path.dirname(self.path)

    def place(self, run: str, path: bytes) -> Place:
        """Make the folders for a file and open the last of them, which the caller closes; raises OSError."""
        *parts, name = parts_below(path, self.top)
        folder = make_below(self.descriptor, [run.encode("ascii"), FILES, *parts])
        return Place(folder, name, quarantined_path(self.path, run, path))

    def run_folder(self, run: str) -> int:
        """Open the folder of a run, which the caller closes, and make it if need be; raises OSError."""
        return make_below(self.descriptor, [run.encode("ascii")])

    def is_there(self) -> bool:
        """Return whether this is still the quarantine at its path: its disk may have been taken away."""
        try:
            return os.path.samestat(os.lstat(self.path), os.fstat(self.descriptor))
        except OSError:
            return False

    def tidy(self, run: str) -> None:
        """Remove the empty folders of a run, its journal when no file is left, and the quarantine with its last run."""
        name = run.encode("ascii")
        try:
            folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.descriptor)
        except OSError:
            pass  # it had none yet
        else:
            try:
                if remove_empty(folder, FILES):
                    unlink_if_there(JOURNAL, folder)
            finally:
                os.close(folder)
            rmdir_if_empty(name, self.descriptor)
        if os.listdir(self.descriptor) == [os.fsdecode(MARKER_NAME)]:
            self._remove()

    def close(self) -> None:
        """Give up the lock; a second call does nothing."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def _remove(self) -> None:
        """Remove the quarantine itself: under another name first, for without marker it must not have this one."""
        top = open_folder(self.top)
        try:
            _rename_folder(top, QUARANTINE_NAME, _NAME_ASIDE)
            unlink_if_there(MARKER_NAME, self.descriptor)
            os.rmdir(_NAME_ASIDE, dir_fd=top)
        except OSError:
            pass  # it is empty: left where it is, it does no harm
        finally:
            os.close(top)


class Quarantines:
    """The quarantines of a run, opened when they are first needed and closed together."""

    def __init__(self) -> None:
        self._open: dict[bytes, Quarantine] = {}
        self._of_folder: dict[bytes, bytes] = {}

    def path_for(self, path: bytes, root: bytes) -> bytes:
        """Return the path of the quarantine for a file below a root, which need not be there.

        Raises SkipError if there can be none, and OSError.
        """
        folder = os.path.dirname(path)
        if folder not in self._of_folder:
            self._of_folder[folder] = quarantine_above(folder, root)
        return self._of_folder[folder]

    def made(self, path: bytes) -> Quarantine:
        """Return a quarantine by its path, made if need be; raises SkipError and OSError."""
        if path not in self._open and not os.path.lexists(path):
            _make(os.path.dirname(path))
        return self.opened(path)

    def opened(self, path: bytes) -> Quarantine:
        """Return a quarantine that is there, by its path; raises SkipError."""
        if path not in self._open:
            self._open[path] = Quarantine(path)
        return self._open[path]

    def close(self) -> None:
        """Close them all."""
        for quarantine in self._open.values():
            quarantine.close()
        self._open.clear()


def tidy_all(paths: Iterable[bytes], run: str) -> None:
    """Remove what a run has left in quarantines but no file: also of those that it was just making."""
    for path in paths:
        with suppress(SkipError, OSError):
            _tidy_away(path, run)


def _tidy_away(path: bytes, run: str) -> None:
    top = os.path.dirname(path)
    try:
        folder = open_folder(top)
    except OSError:
        return
    try:
        _remove_aside(folder)
    finally:
        os.close(folder)
    if os.path.lexists(path):
        quarantine = Quarantine(path)
        try:
            quarantine.tidy(run)
        finally:
            quarantine.close()


def _remove_aside(folder: int) -> None:
    """Remove a quarantine that was being made or removed, if nothing but its marker lies in it."""
    try:
        aside = os.open(_NAME_ASIDE, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return
    try:
        if os.fstat(aside).st_uid == os.geteuid() and os.listdir(aside) in ([], [os.fsdecode(MARKER_NAME)]):
            unlink_if_there(MARKER_NAME, aside)
            rmdir_if_empty(_NAME_ASIDE, folder)
    finally:
        os.close(aside)


def _make(top: bytes) -> None:
    """Make a quarantine that has its marker from its first moment on; raises OSError.

    It is made under another name, and what was left there by one that was cut off is used.
    """
    folder = open_folder(top)
    try:
        new = make_below(folder, [_NAME_ASIDE])
        try:
            with suppress(FileExistsError):
                _write_new(MARKER_NAME, _MARKER, new)
            _rename_folder(folder, _NAME_ASIDE, QUARANTINE_NAME)
        except BaseException:
            unlink_if_there(MARKER_NAME, new)
            rmdir_if_empty(_NAME_ASIDE, folder)
            raise
        finally:
            os.close(new)
        os.fsync(folder)
    finally:
        os.close(folder)


def _rename_folder(folder: int, name: bytes, new_name: bytes) -> None:
    try:
        rename_without_replacing(folder, name, folder, new_name)
    except OSError as error:
        if error.errno not in NOT_OFFERED:
            raise
        os.rename(name, new_name, src_dir_fd=folder, dst_dir_fd=folder)  # of folders it replaces only an empty one


def _lock(path: bytes, descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise SkipError(f"another run is at work in {printable(path)}; try again when it is over") from None
        raise
    if not os.path.samestat(os.lstat(path), os.fstat(descriptor)):
        raise SkipError(f"another run has just finished in {printable(path)}; try again")


def _write_new(name: bytes, data: bytes, folder: int) -> None:
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
    with open(descriptor, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(descriptor)
