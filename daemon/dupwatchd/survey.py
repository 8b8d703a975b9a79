"""Watch → db: what lies under the roots is taken over; new and changed files become pending, gone ones are removed.

`survey` walks all of the roots. `look` looks only where something may have changed; should more of a root be gone than
is likely, it takes nothing away and leaves that to a survey.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from dupwatchd.db import facts, files
from dupwatchd.db.connection import Database
from dupwatchd.db.files import KnownFile, KnownFolder
from dupwatchd.model import Progress
from dupwatchd.paths import at_or_below, outermost
from dupwatchd.watch.hints import Due
from dupwatchd.watch.walk import Entry, Listing, WalkRules, list_folder, stamped_files, walk

_FILES_AT_ONCE = 20_000  # changed files per transaction: bounds memory and what a kill costs

_Known = dict[bytes, KnownFolder]


@dataclass
class Survey:
    """What was found."""

    files: int = 0
    unreadable: list[tuple[bytes, str]] = field(default_factory=list)  # folders and why
    offline: list[bytes] = field(default_factory=list)  # folders whose disk is not there, see `_is_offline`
    removed: list[bytes] = field(default_factory=list)  # files that are gone; only if they are asked for
    moved: list[tuple[bytes, bytes]] = field(default_factory=list)  # likewise: from, to
    held_back: list[bytes] = field(default_factory=list)  # roots of which so much is gone that a survey must tell
    walked: list[bytes] = field(default_factory=list)  # folders that were walked with all below them
    listed: list[bytes] = field(default_factory=list)  # folders that are there and can be listed, beside those

    def gaps_after(self, later: "Survey") -> "Survey":
        """What could not be looked at, now that some of it has been looked at again; with nothing else in it."""

        def holds(path: bytes) -> bool:
            return path not in later.listed and not any(at_or_below(path, top) for top in later.walked)

        unreadable = [(path, why) for path, why in self.unreadable if holds(path)] + later.unreadable
        offline = [path for path in self.offline if holds(path)] + later.offline
        return Survey(unreadable=unreadable, offline=list(dict.fromkeys(offline)))


@dataclass(frozen=True)
class _Difference:
    """One folder: how it is not as it is known."""

    path: bytes
    device: int
    digest: bytes | None
    changed: list[Entry]
    gone: dict[bytes, KnownFile]  # by name
    replaces: bool  # a file that is changed has had another content


def survey(
    database: Database, roots: Sequence[bytes], rules: WalkRules, progress: Progress, *, tell: bool = False
) -> Survey:
    """Walk the roots and take over what is new, changed and gone; ``tell`` names what was removed and moved."""
    found = Survey()
    changes = _Changes(database, found, tell)
    progress.stage("looking for photos", None)
    for root in roots:
        files.retry_unreadable(database, root)
        _walked(database, root, [root], rules, changes, progress)
        changes.apply()
    changes.tell_moves()
    return found


def look(database: Database, roots: Sequence[bytes], rules: WalkRules, hints: Due, hold_back_share: float) -> Survey:
    """Take over what is new, changed and gone where the hints point.

    If more than this share of a root's files is gone, nothing of that is taken away: the root is ``held_back``.
    """
    found = Survey()
    changes = _Changes(database, found, tell=True)
    for root in roots:
        if not any(at_or_below(path, root) for path in (*hints.files, *hints.folders, *hints.trees)):
            continue
        if _root_is_offline(database, root, rules):
            found.offline.append(root)
            continue
        found.listed.append(root)
        trees = [path for path in hints.trees if at_or_below(path, root) and not rules.leaves_out(path, root)]
        for folder, names in _by_folder(path for path in hints.files if path != root and at_or_below(path, root)):
            known = files.known_folder(database, folder)
            if known is None:
                trees.append(folder)
            elif (difference := _difference_of_files(database, folder, known, names, root, rules)) is not None:
                changes.add(difference)
            else:
                trees.append(folder)
        for folder in (path for path in hints.folders if at_or_below(path, root)):
            known = files.known_folder(database, folder)
            listing = list_folder(folder, root, rules) if known else None
            if known is None or listing is None or listing.error is not None:
                trees.append(folder)
                continue
            found.listed.append(folder)
            changes.add(_difference(database, listing, known))
            below = {path for path in files.known_folders(database, folder) if os.path.dirname(path) == folder}
            trees += below.symmetric_difference(listing.folders)
        _walked(database, root, outermost(trees), rules, changes, None)
        gone = changes.count_gone()
        if gone > 1 and files.has_at_most(database, root, int(gone / hold_back_share)):
            found.held_back.append(root)
            changes.drop_gone()
        changes.apply()
    changes.tell_moves()
    return found


class _Changes:
    """What is to be taken over, applied some at a time."""

    def __init__(self, database: Database, found: Survey, tell: bool) -> None:
        self._database = database
        self._found = found
        self._tell = tell
        self._differences: list[_Difference] = []
        self._missing: dict[bytes, KnownFolder] = {}
        self._appeared: dict[tuple[int, int, int], bytes] = {}  # size, time, inode -> path
        self._vanished: list[tuple[bytes, KnownFile]] = []

    @property
    def found(self) -> Survey:
        return self._found

    def add(self, difference: _Difference) -> None:
        self._differences.append(difference)

    def add_missing(self, folders: dict[bytes, KnownFolder]) -> None:
        self._missing |= folders

    @property
    def many(self) -> bool:
        return sum(len(difference.changed) for difference in self._differences) >= _FILES_AT_ONCE

    def count_gone(self) -> int:
        """How many files are gone, without those that have only moved."""
        appeared = {(size, time, inode) for one in self._differences for _, size, time, _, inode in one.changed}
        gone = [row for one in self._differences for row in one.gone.values()]
        for known in self._missing.values():
            gone += files.files_of_folder(self._database, known.folder_id).values()
        return sum((row.size_bytes, row.mtime_ns, row.inode) not in appeared for row in gone)

    def drop_gone(self) -> None:
        """Take nothing away; folders that lose files are not taken for known as they are now."""
        self._missing.clear()
        self._differences = [
            _Difference(one.path, one.device, None if one.gone else one.digest, one.changed, {}, one.replaces)
            for one in self._differences
        ]

    def apply(self) -> None:
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
            if self._missing or any(one.gone or one.replaces for one in self._differences):
                facts.write(database, {"untidy": 1})
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
        """A file that is gone, and one of the same inode, size and time that is new, are one that moved."""
        for path, row in self._vanished:
            to = self._appeared.get((row.size_bytes, row.mtime_ns, row.inode))
            if to is None:
                self._found.removed.append(path)
            else:
                self._found.moved.append((path, to))


def _walked(
    database: Database,
    root: bytes,
    starts: Sequence[bytes],
    rules: WalkRules,
    changes: _Changes,
    progress: Progress | None,
) -> None:
    """Walk what is at and below these folders and collect how it differs from what is known."""
    if not starts:
        return
    known = {path: folder for start in starts for path, folder in files.known_folders(database, start).items()}
    missing = set(known)
    found = changes.found
    found.walked += starts
    for listing in walk(root, rules, starts):
        if listing.error is not None or _is_offline(database, listing, root, known.get(listing.path), set(known)):
            if listing.error is not None:
                found.unreadable.append((listing.path, listing.error))
            else:
                found.offline.append(listing.path)
            missing = {path for path in missing if not at_or_below(path, listing.path)}
            continue
        missing.discard(listing.path)
        found.files += listing.seen_files
        if progress is not None:
            progress.advance(listing.seen_files)
        before = known.get(listing.path)
        if before is None or before.listing != listing.digest:
            changes.add(_difference(database, listing, before))
            if progress is not None and changes.many:
                changes.apply()
    changes.add_missing({path: known[path] for path in missing})


def _root_is_offline(database: Database, root: bytes, rules: WalkRules) -> bool:
    known = files.known_folder(database, root)
    if known is None:
        return False
    listing = list_folder(root, root, rules)
    if listing is None or listing.error is not None:
        return True
    return _is_offline(database, listing, root, known, None)


def _is_offline(
    database: Database, listing: Listing, root: bytes, before: KnownFolder | None, known: set[bytes] | None
) -> bool:
    """Is this the bare mount point of a disk that is not there? Then nothing known below it is forgotten.

    It is if photos are known below it, and either it is a root in which nothing lies at all, or it lies on another
    device than before and has nothing left of what was known in it.
    """
    if before is None or (before.device == listing.device and not (listing.is_empty and listing.path == root)):
        return False
    if not files.count(database, listing.path):
        return False
    names = {entry[0] for entry in listing.entries()}
    kept_files = names & set(files.files_of_folder(database, before.folder_id))
    folders = set(files.known_folders(database, listing.path)) if known is None else known
    return not kept_files and not any(folder in folders for folder in listing.folders)


def _difference(database: Database, listing: Listing, before: KnownFolder | None) -> _Difference:
    rows = files.files_of_folder(database, before.folder_id) if before else {}
    return _compared(listing.path, listing.device, listing.digest, listing.entries(), rows, listing.inodes_are_stable)


def _difference_of_files(
    database: Database, folder: bytes, known: KnownFolder, names: set[bytes], root: bytes, rules: WalkRules
) -> _Difference | None:
    """Of some files of a known folder; None if the folder cannot be opened."""
    listed = stamped_files(folder, names, root, rules)
    if listed is None:
        return None
    device, stable, entries = listed
    if device != known.device:
        return None  # something is mounted there, or no more: look at all of it
    rows = files.files_of_folder(database, known.folder_id, names)
    return _compared(folder, device, None, entries, rows, stable)


def _compared(
    path: bytes,
    device: int,
    digest: bytes | None,
    entries: list[Entry],
    rows: dict[bytes, KnownFile],
    inodes_are_stable: bool,
) -> _Difference:
    changed = []
    replaces = False
    for entry in entries:
        name, size_bytes, mtime_ns, _, inode = entry
        row = rows.pop(name, None)
        if (
            row is None
            or (row.size_bytes, row.mtime_ns) != (size_bytes, mtime_ns)
            or (row.inode != inode and inodes_are_stable)
        ):
            changed.append(entry)
            replaces |= row is not None
    return _Difference(path, device, digest, changed, rows, replaces)


def _by_folder(paths: Iterable[bytes]) -> list[tuple[bytes, set[bytes]]]:
    folders: dict[bytes, set[bytes]] = {}
    for path in paths:
        folder, name = os.path.split(path)
        folders.setdefault(folder, set()).add(name)
    return sorted(folders.items())
