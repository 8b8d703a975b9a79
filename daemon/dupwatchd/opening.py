"""Opens files and folders below a root without following a symbolic link anywhere in their path.

In goes an absolute path without ``.`` and ``..``, out comes a descriptor, which the caller closes. A path that held no
link when it was listed may hold one now: whoever may write below a root can put a link in the place of a folder at any
moment, and the service may read files that this person may not. So the kernel is asked to refuse links in every part of
the path, in the same call that opens it (openat2, since Linux 5.6). Where there is no such call, or a filter forbids
it, the path is opened part by part. Roots are resolved before they get here; mount points in the path are no links.
"""

import ctypes
import errno
import os
import stat
from functools import cache

_SYS_OPENAT2 = 437  # on every architecture that Python's Linux wheels exist for
_AT_FDCWD = -100
_RESOLVE_NO_SYMLINKS = 0x04
_ALWAYS = os.O_CLOEXEC | os.O_NOFOLLOW

_libc = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


def open_without_links(path: bytes, flags: int) -> int:
    """A descriptor of what lies at the path, opened with ``flags`` (see `os.open`).

    Raises OSError; if a folder in the path is a link, or with O_DIRECTORY the last part of it, that is a
    NotADirectoryError, and if a file is a link, it has the number ELOOP.
    """
    return _open_at_once(path, flags) if _has_openat2() else _open_by_parts(path, flags)


def open_folder(path: bytes) -> int:
    """A descriptor of a folder, to be listed; raises OSError as `open_without_links` does."""
    return open_without_links(path, os.O_RDONLY | os.O_DIRECTORY)


@cache
def _has_openat2() -> bool:
    try:
        os.close(_openat2(b"/", os.O_RDONLY | os.O_DIRECTORY))
    except OSError:
        return False
    return True


def _open_at_once(path: bytes, flags: int) -> int:
    try:
        return _openat2(path, flags)
    except OSError as error:
        if error.errno == errno.ELOOP and (flags & os.O_DIRECTORY or not _is_link(path)):
            raise _link_in_path(path) from None
        raise


def _openat2(path: bytes, flags: int) -> int:
    how = _OpenHow(flags | _ALWAYS, 0, _RESOLVE_NO_SYMLINKS)
    while True:
        descriptor: int = _libc.syscall(
            ctypes.c_long(_SYS_OPENAT2),
            ctypes.c_int(_AT_FDCWD),
            ctypes.c_char_p(path),
            ctypes.byref(how),
            ctypes.c_size_t(ctypes.sizeof(how)),
        )
        if descriptor >= 0:
            return descriptor
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number), path)


def _open_by_parts(path: bytes, flags: int) -> int:
    *folders, name = [part for part in path.split(b"/") if part] or [b"."]
    here = os.open(b"/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for folder in folders:
            above, here = here, _step_into(folder, here, path)
            os.close(above)
        try:
            return os.open(name, flags | _ALWAYS, dir_fd=here)
        except OSError as error:
            if flags & os.O_DIRECTORY and error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise _link_in_path(path) from None
            raise
    finally:
        os.close(here)


def _step_into(folder: bytes, above: int, path: bytes) -> int:
    """A descriptor of a folder in an open one; raises OSError."""
    flags = os.O_DIRECTORY | _ALWAYS
    try:
        try:
            return os.open(folder, flags | os.O_RDONLY, dir_fd=above)  # which also mounts what is mounted on demand
        except PermissionError:  # it may be passed through, but not listed
            return os.open(folder, flags | os.O_PATH, dir_fd=above)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise _link_in_path(path) from None
        raise


def _is_link(path: bytes) -> bool:
    """Is the last part of a path a link? Only the message depends on it."""
    try:
        return stat.S_ISLNK(os.lstat(path).st_mode)
    except OSError:
        return False


def _link_in_path(path: bytes) -> OSError:
    return OSError(errno.ENOTDIR, "a symbolic link lies in its path, or no folder", path)
