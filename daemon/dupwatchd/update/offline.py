"""Decides that a folder is offline: the bare mount point of a disk that is not there.

Nothing known below such a folder is forgotten, and nothing of it is shown.
"""

from dupwatchd.db import files
from dupwatchd.db.connection import Database
from dupwatchd.db.files import KnownFolder
from dupwatchd.watch.walk import Listing, WalkRules, list_folder


def root_is_offline(database: Database, root: bytes, rules: WalkRules) -> bool:
    """Is a root that is known not there, not to be listed, or a bare mount point?"""
    known = files.known_folder(database, root)
    if known is None:
        return False
    listing = list_folder(root, root, rules)
    if listing is None or listing.error is not None:
        return True
    return is_offline(database, listing, root, known, None)


def is_offline(
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
