"""Where the caller's journals are kept; imports nothing, so that `status` can look whether there are any."""

import os


def state_folder() -> bytes:
    """Return the folder in which this user's state is kept."""
    base = os.environb.get(b"XDG_STATE_HOME", b"")
    if not base.startswith(b"/"):
        base = os.path.expanduser(b"~/.local/state")
    return os.path.join(base, b"dupwatch")


def journal_folder() -> bytes:
    """Return the folder of this user's journals."""
    return os.path.join(state_folder(), b"journal")
