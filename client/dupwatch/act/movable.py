"""Says at planning what could not be moved at an apply: for want of rights, or because of what it lies on.

In: a file below a root. Out: the reason in words, or None. Nothing is changed, so that it can only be a forecast.
"""

import os
import stat

from dupwatch.act.errors import SkipError
from dupwatch.act.folders import Place, open_file, place_of
from dupwatch.act.kernel import is_unchangeable
from dupwatch.act.quarantine_place import quarantine_above
from dupwatch.terminal import printable


class Movable:
    """Answers for many files; what is known of a folder is remembered."""

    def __init__(self) -> None:
        self._of_folder: dict[bytes, str | None] = {}

    def why_not(self, path: bytes, root: bytes) -> str | None:
        """Return why a file cannot be moved, as far as that can be told beforehand."""
        try:
            with place_of(path, root) as place:
                folder = os.path.dirname(path)
                if folder not in self._of_folder:
                    self._of_folder[folder] = _why_not_from(place, folder, root)
                return self._of_folder[folder] or _why_not_this(place)
        except OSError as error:
            return f"cannot open it: {error.strerror}"


def _why_not_from(place: Place, folder: bytes, root: bytes) -> str | None:
    name = printable(folder)
    if os.fstatvfs(place.folder).f_flag & os.ST_RDONLY:
        return f"{name} is on a read-only file system"
    if not os.access(".", os.W_OK | os.X_OK, dir_fd=place.folder, effective_ids=True):
        return f"you may not write to {name}"
    if is_unchangeable(place.folder):
        return f"{name} is immutable or append-only (lsattr)"
    try:
        quarantine_above(folder, root)
    except SkipError as error:
        return str(error)
    return None


def _why_not_this(place: Place) -> str | None:
    folder = os.fstat(place.folder)
    try:
        descriptor = open_file(place)
    except OSError as error:
        return f"cannot open it: {error.strerror}"
    try:
        status = os.fstat(descriptor)
        if folder.st_mode & stat.S_ISVTX and os.geteuid() not in (0, folder.st_uid, status.st_uid):
            return "it belongs to another user, and its folder lets only owners move their files (sticky)"
        if is_unchangeable(descriptor):
            return "it is immutable or append-only (lsattr)"
    finally:
        os.close(descriptor)
    return None
