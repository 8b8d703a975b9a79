"""Watch → db: walks all of the roots. New and changed files become pending, files that are gone are removed.

In go roots and rules; out come rows in the database and a `Survey` of what was found. `look.py` does the same where
something may have changed, and nowhere else.
"""

from collections.abc import Sequence

from dupwatchd.db import files
from dupwatchd.db.connection import Database
from dupwatchd.model import Progress
from dupwatchd.paths import at_or_below
from dupwatchd.update.changes import Changes, Survey, difference
from dupwatchd.update.offline import is_offline
from dupwatchd.watch.walk import WalkRules, walk


def survey(
    database: Database, roots: Sequence[bytes], rules: WalkRules, progress: Progress, *, tell: bool = False
) -> Survey:
    """Walk the roots and take over what is new, changed and gone; ``tell`` names what was removed and moved."""
    found = Survey()
    changes = Changes(database, found, tell)
    progress.stage("looking for photos", None)
    for root in roots:
        files.retry_unreadable(database, root)
        walk_and_compare(database, root, [root], rules, changes, progress)
        changes.apply()
    changes.tell_moves()
    return found


def walk_and_compare(
    database: Database,
    root: bytes,
    starts: Sequence[bytes],
    rules: WalkRules,
    changes: Changes,
    progress: Progress | None,
) -> None:
    """Walk what is at and below ``starts``, folders of the root, and collect in ``changes`` how it differs."""
    if not starts:
        return
    known = {path: folder for start in starts for path, folder in files.known_folders(database, start).items()}
    missing = set(known)
    found = changes.found
    found.walked += starts
    for listing in walk(root, rules, starts):
        if listing.error is not None or is_offline(database, listing, root, known.get(listing.path)):
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
            changes.add(difference(database, listing, before))
            if progress is not None and changes.are_many:
                changes.apply()
    changes.add_missing({path: known[path] for path in missing})
