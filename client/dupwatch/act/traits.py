"""What a file has beside its content: mode, owner, times and extended attributes (access lists among them).

In: an open file. Out: its traits, or another file that has them as far as rights and file system allow.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple


class Traits(NamedTuple):
    """What a file has beside its content."""

    mode: int
    uid: int
    gid: int
    atime_ns: int
    mtime_ns: int
    xattrs: Mapping[str, bytes]


def traits_of(descriptor: int, status: os.stat_result) -> Traits:
    """Return what an open file has beside its content."""
    xattrs = {}
    with suppress(OSError):
        for name in os.listxattr(descriptor):
            with suppress(OSError):
                xattrs[name] = os.getxattr(descriptor, name)
    return Traits(
        status.st_mode & 0o7777, status.st_uid, status.st_gid, status.st_atime_ns, status.st_mtime_ns, xattrs
    )  # fmt: skip


def give_traits(descriptor: int, traits: Traits) -> None:
    """Give an open file these traits, as far as rights and file system allow; times always. Raises OSError."""
    with suppress(PermissionError):
        os.fchown(descriptor, traits.uid, traits.gid)
    for name, value in traits.xattrs.items():
        with suppress(OSError):
            os.setxattr(descriptor, name, value)
    with suppress(PermissionError):
        os.fchmod(descriptor, traits.mode)
    os.utime(descriptor, ns=(traits.atime_ns, traits.mtime_ns))
