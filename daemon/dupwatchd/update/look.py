"""Watch → db, where something may have changed: what the hints point at is compared with what is known."""

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

    If more than this share of a root's files is gone, nothing of that is taken away: the root is ``held_back``.
    """
    found = Survey()
    changes = Changes(database, found, tell=True)
    for root in roots:
        if not any(at_or_below(path, root) for path in (*hints.files, *hints.folders, *hints.trees)):
            continue
        if root_is_offline(database, root, rules):
            found.offline.append(root)
            continue
        found.listed.append(root)
        trees = [path for path in hints.trees if at_or_below(path, root) and not rules.leaves_out(path, root)]
        for folder, names in _by_folder(path for path in hints.files if path != root and at_or_below(path, root)):
            known = files.known_folder(database, folder)
            if known is None:
                trees.append(folder)
            elif (changed := difference_of_files(database, folder, known, names, root, rules)) is not None:
                changes.add(changed)
            else:
                trees.append(folder)
        for folder in (path for path in hints.folders if at_or_below(path, root)):
            known = files.known_folder(database, folder)
            listing = list_folder(folder, root, rules) if known else None
            if known is None or listing is None or listing.error is not None:
                trees.append(folder)
                continue
            found.listed.append(folder)
            changes.add(difference(database, listing, known))
            trees += files.folders_directly_in(database, folder).symmetric_difference(listing.folders)
        walk_and_compare(database, root, outermost(trees), rules, changes, None)
        gone = changes.count_gone()
        if gone > 1 and files.has_at_most(database, root, int(gone / hold_back_share)):
            found.held_back.append(root)
            changes.drop_gone()
        changes.apply()
    changes.tell_moves()
    return found


def _by_folder(paths: Iterable[bytes]) -> list[tuple[bytes, set[bytes]]]:
    folders: dict[bytes, set[bytes]] = {}
    for path in paths:
        folder, name = os.path.split(path)
        folders.setdefault(folder, set()).add(name)
    return sorted(folders.items())
