"""Decides that a folder is offline: the bare mount point of a disk that is not there.

Nothing known below such a folder is forgotten, and nothing of it is shown. This is for what is stored;
`watch/place.py` decides it for watching.
"""

from dupwatchd.db import files
from dupwatchd.db.connection import Database
from dupwatchd.db.files import KnownFolder
from dupwatchd.watch.walk import Listing, WalkRules, folder_device, list_folder


def root_is_offline(database: Database, root: bytes, rules: WalkRules) -> bool:
    """Is a known root not there, not to be listed, or a bare mount point?

    Costs the same however much lies in it, as long as it is on the same device as before.
    """
    known = files.known_folder(database, root)
    if known is None:
        return False
    try:
        device, is_empty = folder_device(root)
    except OSError:
        return True
    if device == known.device and not is_empty:
        return False
    listing = list_folder(root, root, rules)
    if listing is None or listing.error is not None:
        return True
    return is_offline(database, listing, root, known)


def is_offline(database: Database, listing: Listing, root: bytes, before: KnownFolder | None) -> bool:
    """Is a listed folder the bare mount point of a disk that is not there? ``before`` is what was known of it.

    It is if files are known at or below it, and either it is a root in which nothing lies at all, or it lies on
    another device than before and holds neither a file nor a folder that was known in it.
    """
    if before is None or (before.device == listing.device and not (listing.is_empty and listing.path == root)):
        return False
    if not files.any_under(database, listing.path):
        return False
    keeps_a_file = any(files.files_of_folder(database, before.folder_id, [entry[0]]) for entry in listing.entries())
    return not keeps_a_file and not any(files.known_folder(database, folder) for folder in listing.folders)
