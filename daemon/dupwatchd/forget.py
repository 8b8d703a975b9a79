"""`dupwatchd forget DIR`: drops a folder from the index. Photos are neither asked nor touched.

Going in: the settings, which name the index and the roots that stay, and the folder. Coming out: what was dropped.
Pictures that no file shows any more go with their files; what only they held together is compared again by the next
scan, or when the service starts.
"""

import os
from dataclasses import dataclass

from dupwatchd.assembly import limits_of
from dupwatchd.db import forgetting
from dupwatchd.db.connection import open_database
from dupwatchd.errors import UsageError
from dupwatchd.paths import at_or_below
from dupwatchd.settings import Settings
from dupwatchd.state import act_as_owner, locked_state, require_index
from dupwatchd.update.tidy import tidy

_MOST_FOLDERS_NAMED = 5


@dataclass(frozen=True)
class Forgotten:
    """What `forget` dropped from an index."""

    state: str
    folder: bytes
    files: int
    folders: int
    pictures: int  # those that no other file shows
    kept_roots: list[bytes]  # roots of the settings below the folder: they stay in the index
    in_root: bytes | None  # the root of the settings that the folder lies in: the service will read it again


def forget(settings: Settings, folder: bytes) -> Forgotten:
    """Drop a folder and all below it from the index, but for roots of the settings that lie below it.

    Raises UsageError if there is no index, nothing of the folder is in it, or none is named; StateError if another
    process holds it.
    """
    if not folder:  # else it would be the working directory
        raise UsageError("no folder is named: the name is empty")
    require_index(settings.state)
    act_as_owner(settings.state)
    roots = [os.path.realpath(os.fsencode(root)) for root in settings.roots]
    with locked_state(settings.state) as state:
        return _forget(settings, state, folder, roots)


def _forget(settings: Settings, state: str, folder: bytes, roots: list[bytes]) -> Forgotten:
    database = open_database(state)
    try:
        # The index holds paths without links; a folder that is gone may have been reached by one that is gone, too.
        for path in dict.fromkeys([os.path.realpath(folder), os.path.abspath(folder)]):
            kept = [root for root in roots if root != path and at_or_below(root, path)]
            dropped = forgetting.forget(database, path, kept)
            if dropped.folders:
                pictures = len(tidy(database, limits_of(settings)))
                in_root = next((root for root in roots if at_or_below(path, root)), None)
                return Forgotten(state, path, dropped.files, dropped.folders, pictures, kept, in_root)
        raise UsageError(_not_known(state, folder, forgetting.topmost_folders(database)))
    finally:
        database.close()


def _not_known(state: str, folder: bytes, known: list[bytes]) -> str:
    named = ", ".join(os.fsdecode(path) for path in known[:_MOST_FOLDERS_NAMED])
    more = f" and {len(known) - _MOST_FOLDERS_NAMED} more" if len(known) > _MOST_FOLDERS_NAMED else ""
    there = f"known are {named}{more}, and what lies below" if known else "it is empty"
    return f"nothing at or below {os.fsdecode(folder)} is in the index {state}; {there}"
