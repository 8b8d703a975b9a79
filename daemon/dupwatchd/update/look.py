"""Watch → db, where something may have changed: what the hints point at is compared with what is known.

In go the hints that are due; out come rows in the database and a `Survey` of what was found. Nothing here costs more
the more files a root holds: only what the hints name is listed, and only what is known of that is read.
"""

import os
from collections.abc import Iterable, Sequence

from dupwatchd.db import files
from dupwatchd.db.connection import Database
from dupwatchd.paths import at_or_below, outermost
from dupwatchd.update.changes import Changes, Survey, difference, difference_of_files
from dupwatchd.update.offline import root_is_offline
from dupwatchd.update.survey import walk_and_compare
from dupwatchd.watch.hints import Due
from dupwatchd.watch.walk import WalkRules, list_folder


def look(database: Database, roots: Sequence[bytes], rules: WalkRules, hints: Due, hold_back_share: float) -> Survey:
    """Take over what is new, changed and gone where the hints point.

    Files there that could not be read before are tried again. If more than this share of a root's files is gone,
    nothing of that is taken away: the root is ``held_back``.
    """
    found = Survey()
    changes = Changes(database, found, tell=True)
    for root in roots:
        here = _part_below(hints, root, rules)
        if not here:
            continue
        if root_is_offline(database, root, rules):
            found.offline.append(root)
            continue
        found.listed.append(root)
        trees = [
            *here.trees,
            *_compare_files(database, root, here.files, rules, changes),
            *_compare_folders(database, root, here.folders, rules, changes),
        ]
        trees = outermost(trees)
        for tree in trees:
            files.retry_unreadable(database, tree)
        walk_and_compare(database, root, trees, rules, changes, None)
        gone = changes.count_gone()
        if gone > 1 and files.has_at_most(database, root, int(gone / hold_back_share)):
            found.held_back.append(root)
            changes.drop_gone()
        changes.apply()
    changes.tell_moves()
    return found


def _part_below(hints: Due, root: bytes, rules: WalkRules) -> Due:
    """Those of the hints that lie at or below a root and are not left out by the rules."""

    def wanted(paths: Iterable[bytes]) -> list[bytes]:
        return [path for path in paths if at_or_below(path, root) and not rules.leaves_out(path, root)]

    return Due([path for path in wanted(hints.files) if path != root], wanted(hints.folders), wanted(hints.trees), [])


def _compare_files(
    database: Database, root: bytes, paths: Iterable[bytes], rules: WalkRules, changes: Changes
) -> list[bytes]:
    """Compare single files; returns the folders that must be walked instead, as they are new, gone or remounted."""
    to_walk = []
    for folder, names in _by_folder(paths):
        known = files.known_folder(database, folder)
        if known is not None:  # that a file may be read now changes neither its size nor its time
            files.retry_unreadable_ones(database, known.folder_id, names)
        changed = difference_of_files(database, folder, known, names, root, rules) if known else None
        if changed is None:
            to_walk.append(folder)
        else:
            changes.add(changed)
    return to_walk


def _compare_folders(
    database: Database, root: bytes, folders: Iterable[bytes], rules: WalkRules, changes: Changes
) -> list[bytes]:
    """Compare the files that lie directly in some folders; returns the folders that must be walked."""
    to_walk: list[bytes] = []
    for folder in folders:
        known = files.known_folder(database, folder)
        listing = list_folder(folder, root, rules) if known else None
        if known is None or listing is None or listing.error is not None:
            to_walk.append(folder)
            continue
        changes.found.listed.append(folder)
        files.retry_unreadable_ones(database, known.folder_id)
        changes.add(difference(database, listing, known))
        to_walk += files.folders_directly_in(database, folder).symmetric_difference(listing.folders)
    return to_walk


def _by_folder(paths: Iterable[bytes]) -> list[tuple[bytes, set[bytes]]]:
    folders: dict[bytes, set[bytes]] = {}
    for path in paths:
        folder, name = os.path.split(path)
        folders.setdefault(folder, set()).add(name)
    return sorted(folders.items())
