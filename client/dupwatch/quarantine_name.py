"""How a quarantine is known, by whoever makes one and by whoever must not look into it.

A folder is a quarantine if it has this name *and* the marker lies in it: a person's own folder of that name is treated
as any other. `dupwatch.act` makes quarantines; the service leaves them out of every walk and watch.
"""

import os
import stat

QUARANTINE_NAME = b".dupwatch-quarantine"
MARKER_NAME = b"dupwatch-marker"


def is_quarantine(path: bytes) -> bool:
    """Return whether a folder is a quarantine, by its name and its marker."""
    return os.path.basename(path) == QUARANTINE_NAME and has_marker(path)


def has_marker(path: bytes) -> bool:
    """Return whether the marker lies in a folder."""
    try:
        return stat.S_ISREG(os.lstat(os.path.join(path, MARKER_NAME)).st_mode)
    except OSError:
        return False
