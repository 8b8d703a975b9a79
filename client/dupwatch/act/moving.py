"""Moves a file without ever overwriting another, and copies one where it cannot be renamed.

In: places in open folders. Out: the file at its new place, or OSError and nothing has changed.

Linux renames names, not files: between the look at a file and its renaming, another file may get its name. So a file
is first taken into a private folder, a quarantine, which nobody else writes to; there it is compared with the file that
was looked at (`is_same_file`). Whatever is removed for good is removed there.
"""

import errno
import os
from collections.abc import Callable
from contextlib import suppress

from dupwatch.act.content import Stamp, digest_of, stamp_of
from dupwatch.act.folders import Place, open_file, status_at
from dupwatch.act.kernel import CANNOT_LINK, NOT_OFFERED, rename_without_replacing
from dupwatch.act.traits import Traits, give_traits

_COPY_BYTES = 1 << 20


def take(place: Place, private: Place) -> None:
    """Rename a file into a private folder; raises FileExistsError, or OSError (EXDEV: it is another file system)."""
    try:
        rename_without_replacing(place.folder, place.name, private.folder, private.name)
    except OSError as error:
        if error.errno not in NOT_OFFERED:
            raise
        _take_over_placeholder(place, private)


def _take_over_placeholder(place: Place, private: Place) -> None:
    """Rename over an empty file of our own: the private folder is ours alone, so nothing else can be replaced."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    os.close(os.open(private.name, flags, 0o600, dir_fd=private.folder))
    try:
        os.rename(place.name, private.name, src_dir_fd=place.folder, dst_dir_fd=private.folder)
    except OSError:
        os.unlink(private.name, dir_fd=private.folder)
        raise


def put(private: Place, place: Place, traits: Traits, partial_name: bytes) -> None:
    """Move a file out of a private folder; raises FileExistsError if the place is taken, or OSError.

    It is renamed, else linked, else copied with these traits, which are those it should have.
    """
    if _is_renamed(private, place):
        return
    descriptor = open_file(private)
    try:
        _name_again(private, descriptor, place, traits, partial_name)
        try:
            os.unlink(private.name, dir_fd=private.folder)
        except OSError:
            remove_copy(place, digest_of(descriptor), partial_name)
            raise
    finally:
        os.close(descriptor)


def _name_again(private: Place, descriptor: int, place: Place, traits: Traits, partial_name: bytes) -> None:
    """Link a file to a place that is free, or copy it there."""
    try:
        os.link(private.name, place.name, src_dir_fd=private.folder, dst_dir_fd=place.folder, follow_symlinks=False)
    except OSError as error:
        if error.errno not in CANNOT_LINK:
            raise
        copy(descriptor, place, traits, partial_name)


def _is_renamed(place: Place, new: Place) -> bool:
    """Rename without replacing; False where this is not offered, or not to another file system. Raises OSError."""
    try:
        rename_without_replacing(place.folder, place.name, new.folder, new.name)
    except OSError as error:
        if error.errno not in NOT_OFFERED | {errno.EXDEV}:
            raise
        return False
    return True


def copy(source: int, target: Place, traits: Traits, partial_name: bytes) -> None:
    """Copy an open file to a place that is free, with these traits; raises OSError, FileExistsError.

    The copy is synced and read back before it gets its name; until then it is called ``partial_name``, and what was
    left over under that name is replaced.
    """
    partial = target._replace(name=partial_name)
    with suppress(FileNotFoundError):
        os.unlink(partial.name, dir_fd=partial.folder)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(partial.name, flags, 0o600, dir_fd=partial.folder)
    try:
        _copy_bytes(source, descriptor)
        give_traits(descriptor, traits)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)  # what is read back comes from the disk
        _check_equal(descriptor, source)
        _name_new_file(partial, target)
        try:
            os.fsync(target.folder)
        except OSError:
            remove_copy(target, digest_of(source), partial_name)
            raise
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(partial.name, dir_fd=partial.folder)
        raise
    finally:
        os.close(descriptor)


def _name_new_file(partial: Place, target: Place) -> None:
    """Give a copy its name; on a file system that can neither rename without replacing nor link, look first."""
    if _is_renamed(partial, target):
        return
    try:
        os.link(partial.name, target.name, src_dir_fd=partial.folder, dst_dir_fd=target.folder)
        os.unlink(partial.name, dir_fd=partial.folder)
    except OSError as error:
        if error.errno not in CANNOT_LINK:
            raise
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        os.close(os.open(target.name, flags, 0o600, dir_fd=target.folder))  # raises if the name is taken
        os.rename(partial.name, target.name, src_dir_fd=partial.folder, dst_dir_fd=target.folder)


def remove_copy(place: Place, digest: bytes, aside: bytes, is_elsewhere: Callable[[], bool] = lambda: True) -> None:
    """Remove a file if it has this content; it is renamed ``aside`` before it is looked at. Raises OSError.

    ``is_elsewhere`` tells whether another file holds it, and is asked while this one is aside: by way of a link or a
    mount both may be one.
    """
    private = place._replace(name=aside)
    rename_without_replacing(place.folder, place.name, place.folder, aside)
    descriptor = open_file(private)
    try:
        is_copy = digest_of(descriptor) == digest and is_elsewhere()
    finally:
        os.close(descriptor)
    if is_copy:
        os.unlink(aside, dir_fd=place.folder)
    else:
        rename_without_replacing(place.folder, aside, place.folder, place.name)


def remove_empty_folders(folder: bytes, top: bytes) -> None:
    """Remove a folder below another one, and those between them, as far as they are empty."""
    while len(folder) > len(top):
        try:
            os.rmdir(folder)
        except FileNotFoundError:
            pass
        except OSError:
            return
        folder = os.path.dirname(folder)


def is_same_file(place: Place, stamp: Stamp, digest: bytes) -> bool:
    """Return whether the file at a place is the one with this stamp; where numbers change, its content decides."""
    status = status_at(place)
    if status is None:
        return False
    if stamp.is_renamed(stamp_of(status)):
        return True
    if (status.st_size, status.st_mtime_ns) != (stamp.size_bytes, stamp.mtime_ns):
        return False
    try:
        descriptor = open_file(place)
    except OSError:
        return False
    try:
        return digest_of(descriptor) == digest
    finally:
        os.close(descriptor)


def _check_equal(copy: int, source: int) -> None:
    if digest_of(copy) != digest_of(source):
        raise OSError(errno.EIO, "the copy differs from its original")


def _copy_bytes(source: int, target: int) -> None:
    buffer = memoryview(bytearray(_COPY_BYTES))
    offset = 0
    while count := os.preadv(source, [buffer], offset):
        written = 0
        while written < count:
            written += os.pwrite(target, buffer[written:count], offset + written)
        offset += count
