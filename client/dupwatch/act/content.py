"""Reads files whole and compares them with what a plan says of them.

In: a file of a plan. Out: an open file of which it is certain that, a moment ago, all of it was as planned; or a
SkipError that says why not. `KeptFiles` remembers files that stay, so that each is read once for an apply; before and
after each use it is told by its stamp that nothing has happened to it since.
"""

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from blake3 import blake3

from dupwatch.act.errors import HaltError, SkipError
from dupwatch.act.folders import Place, may_answer_from_memory, open_file, place_of
from dupwatch.act.kernel import asked_ctime_ns
from dupwatch.act.traits import Traits, traits_of
from dupwatch.terminal import printable

_READ_BYTES = 1 << 20
# A file changed within one tick of the clock before it was read may change again without another time: file systems
# keep times in steps of up to two seconds.
_SETTLED_SECONDS = 3.0
# What a file system says that is never written to, or that knows no such call.
_NOTHING_TO_SYNC = frozenset([errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])


class Stamp(NamedTuple):
    """What changes when a file changes."""

    device: int
    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int

    def is_renamed(self, other: "Stamp") -> bool:
        """Return whether another stamp is that of the same file, unchanged except perhaps for its name."""
        return self[:4] == other[:4]


class OpenFile(NamedTuple):
    """A file that was read whole."""

    place: Place
    descriptor: int
    stamp: Stamp
    digest: bytes
    status: os.stat_result

    @property
    def traits(self) -> Traits:
        """What it has beside its content."""
        return traits_of(self.descriptor, self.status)


def stamp_of(status: os.stat_result) -> Stamp:
    """Return the stamp of a file."""
    return Stamp(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def digest_of(descriptor: int) -> bytes:
    """Return the BLAKE3 of an open file from its beginning to its end, 32 bytes; raises OSError."""
    hasher = blake3()
    # No larger than the file, and one byte: else making it takes longer than reading a small file.
    buffer = memoryview(bytearray(min(_READ_BYTES, os.fstat(descriptor).st_size + 1)))
    offset = 0
    while count := os.preadv(descriptor, [buffer], offset):
        hasher.update(buffer[:count])
        offset += count
    return hasher.digest()


@contextmanager
def unchanged(path: bytes, root: bytes, size_bytes: int, digest: bytes) -> Iterator[OpenFile]:
    """Open a file whose whole content is as planned, and close it at the end; raises SkipError."""
    with opened(path, root) as (place, descriptor):
        before = os.fstat(descriptor)
        if before.st_size != size_bytes:
            raise SkipError(f"{printable(path)} has changed: it has another size")
        try:
            found = digest_of(descriptor)
        except OSError as error:
            raise SkipError(f"cannot read {printable(path)}: {error.strerror}") from None
        after = os.fstat(descriptor)
        if found != digest or stamp_of(before) != stamp_of(after):
            raise SkipError(f"{printable(path)} has changed: it has another content")
        yield OpenFile(place, descriptor, stamp_of(after), found, after)


@contextmanager
def opened(path: bytes, root: bytes) -> Iterator[tuple[Place, int]]:
    """Open a file, and close it at the end; raises SkipError if it is not there or no regular file."""
    try:
        folder = place_of(path, root)
        place = folder.__enter__()
    except OSError as error:
        raise SkipError(why_not_there(path, root, error)) from None
    try:
        try:
            descriptor = open_file(place)
        except OSError as error:
            raise SkipError(why_not_there(path, root, error)) from None
        try:
            yield place, descriptor
        finally:
            os.close(descriptor)
    finally:
        folder.__exit__(None, None, None)


def why_not_there(path: bytes, root: bytes, error: OSError) -> str:
    """Return in words why a file could not be opened."""
    name = printable(path)
    try:
        is_online = os.path.isdir(root) and bool(os.listdir(root))
    except OSError:
        is_online = os.path.isdir(root)
    if not is_online:
        return f"{name} is out of reach: its root {printable(root)} is offline"
    if isinstance(error, FileNotFoundError):
        return f"{name} is gone"
    return f"cannot open {name}: {error.strerror}"


def put_on_disk(file: OpenFile) -> None:
    """Write a file that stays to the disk, with its name, before the other one is removed for good; raises HaltError.

    What was copied a moment ago may be in memory only, and a power cut would take it after the other is gone. Linux
    tells only once that it could not be written: whatever else goes for this file would be told that all is well.
    """
    for descriptor in (file.descriptor, file.place.folder):
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in _NOTHING_TO_SYNC:
                name = printable(file.place.path)
                raise HaltError(f"{name}, which stays, cannot be put on the disk: {error.strerror}") from None


class KeptFiles:
    """The files that stay, each read once."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[Stamp, bytes]] = {}  # by path: what it was when it was read

    @contextmanager
    def unchanged(self, path: bytes, root: bytes, size_bytes: int, digest: bytes) -> Iterator[OpenFile]:
        """Open a file that stays, as `content.unchanged` does, but read it only if it was not read before."""
        known = self._known.get(path)
        if known is not None and known[1] == digest:
            with opened(path, root) as (place, descriptor):
                status = os.fstat(descriptor)
                if stamp_of(status) == known[0] and status.st_size == size_bytes:
                    yield OpenFile(place, descriptor, known[0], digest, status)
                    return
        with unchanged(path, root, size_bytes, digest) as file:
            newest_ns = max(file.stamp.mtime_ns, file.stamp.ctime_ns)
            if abs(time.time_ns() - newest_ns) > _SETTLED_SECONDS * 1e9:
                self._known[path] = (file.stamp, digest)
            else:
                self._known.pop(path, None)
            yield file

    def relinked(self, path: bytes, file: OpenFile) -> None:
        """Note that we have given a file another name ourselves, which changes the time of its status."""
        known = self._known.get(path)
        now = stamp_of(os.fstat(file.descriptor))
        if known is not None and known[0].is_renamed(now):
            self._known[path] = (now, known[1])


class KeptLost(NamedTuple):
    """What has become of a file that was to stay."""

    because: str
    is_gone: bool  # then it may be that it and the file that went are one


def is_listed(place: Place) -> bool:
    """Return whether a name is in the listing of its folder, which is asked for anew; raises OSError."""
    return os.fsdecode(place.name) in os.listdir(place.folder)


def look_again(
    path: bytes,
    root: bytes,
    file: OpenFile,
    linked: bool = False,
    is_in_listing: Callable[[Place], bool] = is_listed,
) -> KeptLost | None:
    """Return what is wrong with a file that stays, found by its path anew; None if it is what it was a moment ago.

    What renames another file leaves the time of its own change alone: if that has changed too, both may be one file.
    ``linked``: whether it was given another name meanwhile. ``is_in_listing`` is asked where a name may still be
    answered after it is gone.
    """
    try:
        with opened(path, root) as (place, descriptor):
            if not file.stamp.is_renamed(stamp_of(os.fstat(descriptor))):
                return KeptLost(f"{printable(path)} has changed", is_gone=False)
            if not linked and asked_ctime_ns(descriptor) != file.stamp.ctime_ns:
                return KeptLost(f"{printable(path)} has just changed, or is the same file", is_gone=False)
            if may_answer_from_memory(place.folder) and not is_in_listing(place):
                return KeptLost(f"{printable(path)} is gone", is_gone=True)
    except SkipError as error:
        return KeptLost(str(error), is_gone=True)
    except OSError as error:
        return KeptLost(f"cannot look at {printable(path)}: {error.strerror}", is_gone=True)
    return None
