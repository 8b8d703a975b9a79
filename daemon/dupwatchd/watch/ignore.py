"""Which names are not looked at: junk that NAS systems, sync tools and trash cans leave among the photos.

Our own quarantine is not among them: its name alone does not tell it (see `walk.WalkRules.never_enters`).
"""

import fnmatch
import os
import re
from collections.abc import Iterable

DEFAULT_IGNORE = (
    "@eaDir",  # Synology: thumbnails of every photo
    "#recycle",
    "@Recycle",
    "@Recently-Snapshot",
    ".@__thumb",  # QNAP
    "#snapshot",
    ".snapshot",
    ".snapshots",
    ".zfs",
    ".Trash",
    ".Trash-*",
    ".Trashes",
    "$RECYCLE.BIN",
    "System Volume Information",
    "lost+found",
    ".stfolder",  # Syncthing
    ".stversions",
    ".syncthing.*.tmp",
    "~syncthing~*.tmp",
    ".*.[A-Za-z0-9][A-Za-z0-9][A-Za-z0-9][A-Za-z0-9][A-Za-z0-9][A-Za-z0-9]",  # rsync: .IMG_1.jpg.aB3xYz
    ".~tmp~",  # rsync --delay-updates
    ".rsync-partial",
    "*.part",
    "*.crdownload",
    "._*",  # macOS resource forks: no pictures, whatever their suffix says
    ".thumbnails",
    ".dropbox.cache",
)


class IgnoredNames:
    """Globs for names; a glob with a slash is for the path below the root. Case matters."""

    def __init__(self, patterns: Iterable[str]) -> None:
        patterns = tuple(patterns)
        self._name = _compiled(pattern for pattern in patterns if "/" not in pattern)
        self._path = _compiled(pattern.strip("/") for pattern in patterns if "/" in pattern)

    @property
    def knows_paths(self) -> bool:
        """Does the answer depend on where a root lies?"""
        return self._path is not None

    def covers(self, name: bytes, path_below_root: bytes) -> bool:
        """Is a file or folder to be passed over?"""
        # As text, so that a question mark stands for a letter, and not for one byte of it.
        return bool(
            (self._name and self._name.fullmatch(os.fsdecode(name)))
            or (self._path and self._path.fullmatch(os.fsdecode(path_below_root)))
        )


def _compiled(patterns: Iterable[str]) -> re.Pattern[str] | None:
    expressions = [fnmatch.translate(pattern) for pattern in patterns]
    return re.compile("|".join(expressions), re.DOTALL) if expressions else None
