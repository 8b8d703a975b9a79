"""Watch → db: a walk over the roots, taken over; new and changed files become pending, gone ones are removed."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from dupwatchd.db import facts, files
from dupwatchd.db.connection import Database
from dupwatchd.db.files import KnownFolder
from dupwatchd.model import Progress
from dupwatchd.watch.walk import Listing, WalkRules, walk

_FILES_AT_ONCE = 20_000  # changed files per transaction: bounds memory and what a kill costs

_Known = dict[bytes, KnownFolder]


@dataclass
class Survey:
    """What a walk over the roots found."""

    files: int = 0
    unreadable: list[tuple[bytes, str]] = field(default_factory=list)  # folders and why
    offline: list[bytes] = field(default_factory=list)  # folders whose disk is not there, see `_is_offline`


def survey(database: Database, roots: Sequence[bytes], rules: WalkRules, progress: Progress) -> Survey:
    """Walk the roots and take over what is new, changed and gone."""
    found = Survey()
    progress.stage("looking for photos", None)
    for root in roots:
        files.retry_unreadable(database, root)
        _survey_root(database, root, rules, found, progress)
    return found


def _survey_root(database: Database, root: bytes, rules: WalkRules, found: Survey, progress: Progress) -> None:
    known = files.known_folders(database, root)
    missing = set(known)
    changes: list[Listing] = []
    changed_files = 0
    for listing in walk([root], rules):
        if listing.error is not None or _is_offline(database, listing, root, known):
            if listing.error is not None:
                found.unreadable.append((listing.path, listing.error))
            else:
                found.offline.append(listing.path)
            missing = {path for path in missing if not _at_or_below(path, listing.path)}
            continue
        missing.discard(listing.path)
        found.files += listing.seen_files
        progress.advance(listing.seen_files)
        before = known.get(listing.path)
        if before is None or before.listing != listing.digest:
            changes.append(listing)
            changed_files += listing.seen_files
            if changed_files >= _FILES_AT_ONCE:
                _take_over(database, changes, known)
                changes, changed_files = [], 0
    _take_over(database, changes, known)
    if missing:
        with database.transaction():
            files.forget_folders(database, [known[path].folder_id for path in missing])
            facts.write(database, {"untidy": 1})


def _is_offline(database: Database, listing: Listing, root: bytes, known: _Known) -> bool:
    """Is this the bare mount point of a disk that is not there? Then nothing known below it is forgotten.

    It is if photos are known below it, and either it is a root in which nothing lies at all, or it lies on another
    device than before and has nothing left of what was known in it.
    """
    before = known.get(listing.path)
    if before is None or (before.device == listing.device and not (listing.is_empty and listing.path == root)):
        return False
    if not files.count(database, listing.path):
        return False
    names = {entry[0] for entry in listing.entries()}
    kept_files = names & set(files.files_of_folder(database, before.folder_id))
    return not kept_files and not any(folder in known for folder in listing.folders)


def _take_over(database: Database, listings: list[Listing], known: _Known) -> None:
    if not listings:
        return
    with database.transaction():
        untidy = False
        for listing in listings:
            before = known.get(listing.path)
            rows = files.files_of_folder(database, before.folder_id) if before else {}
            changed = []
            for entry in listing.entries():
                name, size_bytes, mtime_ns, _, inode = entry
                row = rows.pop(name, None)
                if (
                    row is None
                    or (row.size_bytes, row.mtime_ns) != (size_bytes, mtime_ns)
                    or (row.inode != inode and listing.inodes_are_stable)
                ):
                    changed.append(entry)
                    untidy |= row is not None
            untidy |= bool(rows)
            gone = [row.file_id for row in rows.values()]
            files.record_folder(database, listing.path, listing.device, listing.digest, changed, gone)
        if untidy:
            facts.write(database, {"untidy": 1})


def _at_or_below(path: bytes, folder: bytes) -> bool:
    return path == folder or path.startswith(folder.rstrip(b"/") + b"/")
