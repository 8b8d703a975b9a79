"""How folders differ from what is known of them.

In go listings and what the database knows; out come a `Survey`, which says what was found, and, through `Changes`,
rows in the database: some at a time, each time in one transaction. `survey` and `look` fill both.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from dupwatchd.db import files
from dupwatchd.db.connection import Database
from dupwatchd.db.files import KnownFile, KnownFolder
from dupwatchd.paths import at_or_below
from dupwatchd.watch.walk import Entry, Listing, WalkRules, stamped_files

_FILES_AT_ONCE = 20_000  # changed files per transaction: bounds memory and what a kill costs


@dataclass
class Survey:
    """What was found."""

    files: int = 0
    unreadable: list[tuple[bytes, str]] = field(default_factory=list)  # folders and why
    offline: list[bytes] = field(default_factory=list)  # folders whose disk is not there, see `is_offline`
    removed: list[bytes] = field(default_factory=list)  # files that are gone; filled only if asked for
    moved: list[tuple[bytes, bytes]] = field(default_factory=list)  # from and to; filled only if asked for
    held_back: list[bytes] = field(default_factory=list)  # roots of which much is gone: a survey has to confirm it
    walked: list[bytes] = field(default_factory=list)  # folders that were walked with all below them
    listed: list[bytes] = field(default_factory=list)  # folders that were listed without those below them
    not_taken: list[tuple[bytes, str]] = field(default_factory=list)  # paths of a list that are no pictures, and why

    def online_of(self, roots: Sequence[bytes]) -> list[bytes]:
        """Those of the roots that were there and could be listed; files under the others are not to be read now."""
        away = {*self.offline, *(path for path, _ in self.unreadable)}
        return [root for root in roots if root not in away]

    def not_looked_at_after(self, later: "Survey") -> "Survey":
        """What could not be looked at, now that ``later`` has looked at some of it again; no other field is filled."""

        def holds(path: bytes) -> bool:
            return path not in later.listed and not any(at_or_below(path, top) for top in later.walked)

        unreadable = [(path, why) for path, why in self.unreadable if holds(path)] + later.unreadable
        offline = [path for path in self.offline if holds(path)] + later.offline
        return Survey(unreadable=unreadable, offline=list(dict.fromkeys(offline)))


@dataclass(frozen=True)
class Difference:
    """How one folder differs from what is known of it."""

    path: bytes
    device: int
    digest: bytes | None
    changed: list[Entry]
    gone: dict[bytes, KnownFile]  # by name


class Changes:
    """What is to be taken over, applied some at a time."""

    def __init__(self, database: Database, found: Survey, tell: bool) -> None:
        self._database = database
        self._found = found
        self._tell = tell
        self._differences: list[Difference] = []
        self._missing: dict[bytes, KnownFolder] = {}
        self._appeared: dict[tuple[int, int, int], bytes] = {}  # size, time, inode -> path
        self._vanished: list[tuple[bytes, KnownFile]] = []

    @property
    def found(self) -> Survey:
        """What was found so far, besides the changes."""
        return self._found

    def add(self, difference: Difference) -> None:
        """Note how one folder differs."""
        self._differences.append(difference)

    def add_missing(self, folders: dict[bytes, KnownFolder]) -> None:
        """Note folders, by path, that are known and no longer there."""
        self._missing |= folders

    @property
    def are_many(self) -> bool:
        """Is it time to apply, so that memory and what a kill costs stay bounded?"""
        return sum(len(difference.changed) for difference in self._differences) >= _FILES_AT_ONCE

    def count_gone(self) -> int:
        """How many files are gone, without those that have only moved."""
        appeared = {(size, time, inode) for one in self._differences for _, size, time, _, inode in one.changed}
        gone = [row for one in self._differences for row in one.gone.values()]
        for known in self._missing.values():
            gone += files.files_of_folder(self._database, known.folder_id).values()
        return sum((row.size_bytes, row.mtime_ns, row.inode) not in appeared for row in gone)

    def drop_gone(self) -> None:
        """Remove no file; folders that lost files are listed again the next time."""
        self._missing.clear()
        self._differences = [
            Difference(one.path, one.device, None if one.gone else one.digest, one.changed, {})
            for one in self._differences
        ]

    def apply(self) -> None:
        """Take over in one transaction what was noted since the last call."""
        if not self._differences and not self._missing:
            return
        database = self._database
        with database.transaction():
            if self._tell:
                self._note()
            for one in self._differences:
                gone = [row.file_id for row in one.gone.values()]
                files.record_folder(database, one.path, one.device, one.digest, one.changed, gone)
            files.forget_folders(database, [known.folder_id for known in self._missing.values()])
        self._differences.clear()
        self._missing.clear()

    def _note(self) -> None:
        for one in self._differences:
            prefix = one.path.rstrip(b"/") + b"/"
            self._vanished += [(prefix + name, row) for name, row in one.gone.items()]
            for name, size_bytes, mtime_ns, _, inode in one.changed:
                self._appeared[size_bytes, mtime_ns, inode] = prefix + name
        for path, known in self._missing.items():
            prefix = path.rstrip(b"/") + b"/"
            rows = files.files_of_folder(self._database, known.folder_id)
            self._vanished += [(prefix + name, row) for name, row in rows.items()]

    def tell_moves(self) -> None:
        """Sort files that are gone into moved and removed: one moved if its inode, size and time came up elsewhere."""
        for path, row in self._vanished:
            to = self._appeared.get((row.size_bytes, row.mtime_ns, row.inode))
            if to is None:
                self._found.removed.append(path)
            else:
                self._found.moved.append((path, to))


def difference(database: Database, listing: Listing, before: KnownFolder | None) -> Difference:
    """How a folder that was listed differs from what is known of it."""
    rows = files.files_of_folder(database, before.folder_id) if before else {}
    return _compared(listing.path, listing.device, listing.digest, listing.entries(), rows, listing.inodes_are_stable)


def difference_of_files(
    database: Database, folder: bytes, known: KnownFolder, names: set[bytes], root: bytes, rules: WalkRules
) -> Difference | None:
    """How some files of a known folder differ; None if it cannot be opened or lies on another device than before."""
    listed = stamped_files(folder, names, root, rules)
    if listed is None:
        return None
    device, stable, entries = listed
    if device != known.device:
        return None  # something was mounted or unmounted there: all of it is to be walked
    rows = files.files_of_folder(database, known.folder_id, names)
    return _compared(folder, device, None, entries, rows, stable)


def _compared(
    path: bytes,
    device: int,
    digest: bytes | None,
    entries: list[Entry],
    rows: dict[bytes, KnownFile],
    inodes_are_stable: bool,
) -> Difference:
    changed = []
    for entry in entries:
        name, size_bytes, mtime_ns, _, inode = entry
        row = rows.pop(name, None)
        if (
            row is None
            or (row.size_bytes, row.mtime_ns) != (size_bytes, mtime_ns)
            or (row.inode != inode and inodes_are_stable)
        ):
            changed.append(entry)
    return Difference(path, device, digest, changed, rows)
