"""Says whether a file that a person names for a result may be replaced: one of an earlier result, and nothing else.

In: a path, and what results of that kind begin with. Out: nothing, or an error. A slip of the hand, such as the name of
a photo after ``--out``, must not cost a file.
"""

import errno
import os
import stat

_HEAD_BYTES = 1024


def check_replaceable(path: bytes | str, mark: bytes) -> None:
    """Raise FileExistsError for anything but an empty file, or one that has ``mark`` in its first KiB; OSError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        head = os.read(descriptor, _HEAD_BYTES) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b"no regular file"
    finally:
        os.close(descriptor)
    if head and mark not in head:
        raise FileExistsError(errno.EEXIST, "another file is there, which is not replaced; choose another name")
