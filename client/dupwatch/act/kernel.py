"""System calls that Python does not offer: renaming without replacing, exchanging two names, sharing blocks, flags.

In: open folders and names, open files. Out: nothing, or OSError with the kernel's errno. Nothing is decided here.
"""

import array
import ctypes
import errno
import fcntl
import os
import struct

_RENAME_NOREPLACE = 1
_RENAME_EXCHANGE = 2
_FICLONE = 0x40049409
_FS_IOC_GETFLAGS = 0x80086601
_IMMUTABLE_OR_APPEND_ONLY = 0x10 | 0x20

# What a file system answers that does not know the flags of renameat2, or cannot link.
NOT_OFFERED = frozenset([errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTTY])
CANNOT_LINK = NOT_OFFERED | {errno.EPERM, errno.EMLINK, errno.EXDEV, errno.EACCES}

_AT_EMPTY_PATH, _AT_STATX_FORCE_SYNC = 0x1000, 0x2000
_STATX_CTIME = 0x80
_STATX_CTIME_OFFSET = 96

_libc = ctypes.CDLL(None, use_errno=True)


def rename_without_replacing(from_folder: int, from_name: bytes, to_folder: int, to_name: bytes) -> None:
    """Rename; raises FileExistsError if the new name is taken, OSError (EINVAL) where this is not offered."""
    _renameat2(from_folder, from_name, to_folder, to_name, _RENAME_NOREPLACE)


def exchange(one_folder: int, one_name: bytes, other_folder: int, other_name: bytes) -> None:
    """Exchange two names in one step; raises OSError."""
    _renameat2(one_folder, one_name, other_folder, other_name, _RENAME_EXCHANGE)


def share_blocks(source: int, target: int) -> None:
    """Make an empty open file a clone of another one, sharing its blocks; raises OSError."""
    fcntl.ioctl(target, _FICLONE, source)


def asked_ctime_ns(descriptor: int) -> int:
    """Return when an open file was last changed or renamed, asking the file system and not its memory; raises OSError.

    Shares and FUSE answer from memory otherwise.
    """
    status = ctypes.create_string_buffer(256)
    try:
        call = _libc.statx
    except AttributeError:  # a C library older than 2018
        return os.fstat(descriptor).st_ctime_ns
    if call(descriptor, b"", _AT_EMPTY_PATH | _AT_STATX_FORCE_SYNC, _STATX_CTIME, status) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    seconds, nanoseconds = struct.unpack_from("=qI", status, _STATX_CTIME_OFFSET)
    return int(seconds * 10**9 + nanoseconds)


def is_unchangeable(descriptor: int) -> bool:
    """Return whether an open file or folder is immutable or append-only; False where nobody can tell."""
    flags = array.array("l", [0])
    try:
        fcntl.ioctl(descriptor, _FS_IOC_GETFLAGS, flags)
    except OSError:
        return False
    return bool(flags[0] & _IMMUTABLE_OR_APPEND_ONLY)


def _renameat2(from_folder: int, from_name: bytes, to_folder: int, to_name: bytes, flags: int) -> None:
    try:
        call = _libc.renameat2
    except AttributeError:  # a C library older than 2018
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from None
    if call(from_folder, from_name, to_folder, to_name, ctypes.c_uint(flags)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
