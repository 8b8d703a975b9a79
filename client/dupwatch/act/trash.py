"""Puts a file into the desktop's trash, and finds it there again.

In: a file that was read and taken into quarantine a moment ago. Out: its path in the trash, from which `undo`, or any
file manager, puts it back. The trash is refused where it would be lost with the next start of the machine, and where
the file would have to be copied; nothing is ever deleted instead.
"""

import errno
import os
import stat
import urllib.parse

from dupwatch.act.content import digest_of
from dupwatch.act.errors import SkipError
from dupwatch.act.folders import MountPoint, Place, mount_point, open_file, open_folder
from dupwatch.act.moving import put
from dupwatch.act.traits import traits_of
from dupwatch.file_systems import kinds_by_device
from dupwatch.terminal import printable

_FLEETING = frozenset(["tmpfs", "ramfs", "rootfs"])
_INFO_SUFFIX = b".trashinfo"
_PARTIAL_NAME = b".dupwatch-from-trash.part"


def put_into_trash(held: bytes, path: bytes) -> bytes:
    """Move a file that lies in quarantine to the trash, and return its path there; raises OSError.

    The trash notes ``path``, from which it was taken into the quarantine.
    """
    from send2trash.plat_other import send2trash

    send2trash(held)
    trashed = find_in_trash(held)
    if trashed is None:
        raise FileNotFoundError(errno.ENOENT, "it is not found there again")
    try:
        _note_original(trashed, path)
    except OSError:
        restore_from_trash(trashed, held)
        raise
    return trashed


def _note_original(trashed: bytes, path: bytes) -> None:
    """Change the note on where a file in the trash came from."""
    info = _info_of(trashed)
    trash = os.path.dirname(os.path.dirname(trashed))
    named = path if trash == _home_trash() else os.path.relpath(path, _top_of(trash))
    with open(info, "rb") as stream:
        lines = [line for line in stream if not line.startswith(b"Path=")]
    lines.insert(1, b"Path=" + urllib.parse.quote(named).encode("ascii") + b"\n")
    new = info.removesuffix(_INFO_SUFFIX) + b".new"
    with open(new, "wb") as stream:
        stream.writelines(lines)
    os.replace(new, info)


def _info_of(trashed: bytes) -> bytes:
    folder, name = os.path.split(trashed)
    return os.path.join(os.path.dirname(folder), b"info", name + _INFO_SUFFIX)


def _top_of(trash: bytes) -> bytes:
    """Return the folder to which the notes of a trash are relative."""
    top = os.path.dirname(trash)
    return os.path.dirname(top) if os.path.basename(top) == b".Trash" else top


def find_in_trash(path: bytes) -> bytes | None:
    """Return the path in the trash of the file that was last moved there from ``path``; None if there is none."""
    found: list[tuple[float, bytes]] = []
    for trash in _trashes(path):
        info_folder = os.path.join(trash, b"info")
        try:
            names = os.listdir(info_folder)
        except OSError:
            continue
        for name in names:
            info = os.path.join(info_folder, name)
            held = os.path.join(trash, b"files", name.removesuffix(_INFO_SUFFIX))
            if name.endswith(_INFO_SUFFIX) and _original(info, trash) == path and os.path.lexists(held):
                found.append((os.lstat(info).st_mtime, held))
    return max(found)[1] if found else None


def restore_from_trash(place: bytes, path: bytes) -> None:
    """Move a file from the trash to where it was; raises OSError, FileExistsError if something is there."""
    folder, name = os.path.split(place)
    target, new_name = os.path.split(path)
    source_folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        source = Place(source_folder, name, place)
        descriptor = open_file(source)
        try:
            traits = traits_of(descriptor, os.fstat(descriptor))
        finally:
            os.close(descriptor)
        target_folder = open_folder(target)
        try:
            put(source, Place(target_folder, new_name, path), traits, _PARTIAL_NAME)
        finally:
            os.close(target_folder)
    finally:
        os.close(source_folder)
    try:
        os.unlink(_info_of(place))
    except OSError:
        pass  # a trash shows an entry without a file as broken; nothing is lost


def trashed_file_is(place: bytes, digest: bytes) -> bool:
    """Return whether the file at a place in the trash has this content."""
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return digest_of(descriptor) == digest
    except OSError:
        return False
    finally:
        os.close(descriptor)


def check_trash(path: bytes) -> None:
    """Raise SkipError if the trash would be lost with the next start, or the file would have to be copied into it."""
    device = os.lstat(path).st_dev
    if kinds_by_device().get(device) in _FLEETING:
        raise SkipError(f"the trash for {printable(path)} would lie in memory and not persist: choose --action move")
    trash = _top_of_trash(path, device)
    if _mount_point_of(trash) != _mount_point_of(os.path.dirname(path)):  # then the library would copy it
        raise SkipError(f"the trash in {printable(trash)} is on another file system than {printable(path)}")
    for folder in _trashes_at(trash):
        _check_is_own(folder)


def _check_is_own(trash: bytes) -> None:
    """Raise SkipError if somebody else has made a trash of the caller's name: the library takes it as it is."""
    for folder in (trash, os.path.join(trash, b"files"), os.path.join(trash, b"info")):
        try:
            status = os.lstat(folder)
        except OSError:
            continue  # the library makes it
        if not stat.S_ISDIR(status.st_mode) or status.st_uid not in (os.geteuid(), 0):
            raise SkipError(f"the trash {printable(folder)} is not yours: choose another --action")


def _top_of_trash(path: bytes, device: int) -> bytes:
    """Return the nearest folder above the trash that the library chooses for a file."""
    from send2trash.plat_other import find_mount_point

    if device != os.lstat(os.path.realpath(os.path.expanduser(b"~"))).st_dev:
        return bytes(find_mount_point(path))
    nearest = _home_trash()
    while not os.path.lexists(nearest):
        nearest = os.path.dirname(nearest)
    return nearest


def _mount_point_of(folder: bytes) -> MountPoint:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return mount_point(descriptor)
    finally:
        os.close(descriptor)


def _home_trash() -> bytes:
    from send2trash.plat_other import HOMETRASH_B

    return bytes(HOMETRASH_B)


def _trashes(path: bytes) -> list[bytes]:
    """The trashes in which a file with this path may lie."""
    top = os.path.dirname(path)
    while not os.path.ismount(top):
        top = os.path.dirname(top)
    return [_home_trash(), *_trashes_at(top)]


def _trashes_at(top: bytes) -> list[bytes]:
    """The caller's trashes at the top of a file system."""
    user = str(os.getuid()).encode("ascii")
    return [os.path.join(top, b".Trash", user), os.path.join(top, b".Trash-" + user)]


def _original(info: bytes, trash: bytes) -> bytes | None:
    """Return the path that a note in the trash names."""
    try:
        with open(info, "rb") as lines:
            for line in lines:
                if line.startswith(b"Path="):
                    named = urllib.parse.unquote_to_bytes(line[len(b"Path=") :].rstrip(b"\n"))
                    return os.path.normpath(os.path.join(_top_of(trash), named))
    except OSError:
        pass
    return None
