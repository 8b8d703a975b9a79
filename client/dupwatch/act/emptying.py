"""Removes names that may be gone already, and trees of folders as far as they are empty.

In: an open folder and a name in it. Out: whether nothing is left; what is not empty stays.
"""

import os


def remove_empty(folder: int, name: bytes) -> bool:
    """Remove a tree of empty folders as far as it is empty; returns whether nothing is left of it."""
    try:
        below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        with os.scandir(below) as entries:
            folders = [(os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries]
        left = [child for child, is_folder in folders if not (is_folder and remove_empty(below, child))]
    finally:
        os.close(below)
    return not left and rmdir_if_empty(name, folder)


def rmdir_if_empty(name: bytes, folder: int) -> bool:
    """Remove a folder if it is empty; returns whether nothing is left of it."""
    try:
        os.rmdir(name, dir_fd=folder)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def unlink_if_there(name: bytes, folder: int) -> None:
    """Remove a file if it is there; raises OSError."""
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        pass
