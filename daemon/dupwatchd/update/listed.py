"""Watch → db, for a list instead of whole trees: single files, and folders without what lies below them.

In go the list; out come rows in the database and a `Survey` of what was found. What is known of other files stays as it
is. A path of the list that is no picture to be taken up is told, with the reason.
"""

import os
import stat
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from dupwatchd.db import files
from dupwatchd.db.connection import Database
from dupwatchd.model import Progress
from dupwatchd.paths import at_or_below
from dupwatchd.update.changes import Changes, Difference, Survey, difference, difference_of_files
from dupwatchd.update.offline import is_offline
from dupwatchd.watch.walk import WalkRules, list_folder, stamped_files


@dataclass(frozen=True)
class Listed:
    """What is to be looked at; absolute paths, their folders without links."""

    files: tuple[bytes, ...] = ()
    folders: tuple[bytes, ...] = ()  # without the folders below them


def survey_listed(
    database: Database, roots: Sequence[bytes], listed: Listed, rules: WalkRules, progress: Progress
) -> Survey:
    """Take over what is new, changed and gone of the list; each path of it lies below one of the roots."""
    found = Survey()
    changes = Changes(database, found, tell=False)
    progress.stage("looking for photos", None)

    def root_of(path: bytes) -> bytes:
        return next(root for root in roots if at_or_below(path, root))

    for folder in listed.folders:
        _look_at_folder(database, folder, root_of(folder), rules, changes)
        progress.advance(found.files)
    names: defaultdict[bytes, set[bytes]] = defaultdict(set)
    for path in listed.files:
        names[os.path.dirname(path)].add(os.path.basename(path))
    for folder, wanted in sorted(names.items()):
        _look_at_files(database, folder, wanted, root_of(folder), rules, changes)
        progress.advance(len(wanted))
    changes.apply()
    return found


def _look_at_folder(database: Database, folder: bytes, root: bytes, rules: WalkRules, changes: Changes) -> None:
    found = changes.found
    before = files.known_folder(database, folder)
    listing = list_folder(folder, root, rules)
    if listing is None or listing.error is not None:
        found.unreadable.append((folder, "no such folder" if listing is None else str(listing.error)))
    elif is_offline(database, listing, root, before):
        found.offline.append(folder)
    else:
        if before is not None:
            files.retry_unreadable_ones(database, before.folder_id)
        found.files += listing.seen_files
        found.listed.append(folder)
        if before is None or before.listing != listing.digest:
            changes.add(difference(database, listing, before))


def _look_at_files(
    database: Database, folder: bytes, names: set[bytes], root: bytes, rules: WalkRules, changes: Changes
) -> None:
    """A file that is gone is forgotten only if its folder is there, on the device on which it was."""
    found = changes.found
    known = files.known_folder(database, folder)
    listed = stamped_files(folder, names, root, rules)
    if known is None and listed is not None:
        device, _, entries = listed
        changed: Difference | None = Difference(folder, device, None, entries, {})
    elif known is not None:
        files.retry_unreadable_ones(database, known.folder_id, names)
        changed = difference_of_files(database, folder, known, names, root, rules)
    else:
        changed = None
    if changed is not None and (changed.changed or changed.gone):
        changes.add(changed)
    taken = set() if listed is None or changed is None else {entry[0] for entry in listed[2]}
    found.files += len(taken)
    found.not_taken += [(folder.rstrip(b"/") + b"/" + name, _why_not(folder, name)) for name in sorted(names - taken)]


def _why_not(folder: bytes, name: bytes) -> str:
    """Why a path of the list is not taken up."""
    try:
        mode = os.lstat(os.path.join(folder, name)).st_mode
    except OSError as error:
        return error.strerror or str(error)
    if stat.S_ISLNK(mode):
        return "a symbolic link, which is not followed"
    if stat.S_ISDIR(mode):
        return "a folder: the list is of files"
    if not stat.S_ISREG(mode):
        return "not a file"
    return "not taken up: its name is not that of a picture, or it lies on another disk than before"
