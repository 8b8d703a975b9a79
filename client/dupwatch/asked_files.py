"""Which files a `find` means: those named, those listed on stdin, and the pictures below folders; and what came of it.

In: the arguments of the command, and a client to ask. Out: one path per file to look for, or a path with the reason why
it, or what lies below it, could not be looked at; and the answers. Links are followed only where they are named
themselves.

Whoever asks wants to know what is left if these files go. So a copy that is one of them, under whatever name, is told
as such and is as good as none.
"""

import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from dupwatch.file_systems import kinds_by_device
from dupwatch.sending import Question, find_file
from dupwatch.suffixes import IMAGE_SUFFIXES, RAW_SUFFIXES, suffix_of_name

if TYPE_CHECKING:
    from dupwatch.client import Client

STDIN = b"-"
_INODE_BITS = (1 << 32) - 1
# File systems whose devices are theirs alone. Of all others the same files may be seen under another device as well:
# layers, shares, snapshots, programs that show others. So may those of a device that no mount has, as layers on several
# file systems and parts of a btrfs have them.
_OF_ONE_DEVICE = frozenset({
    "ext2", "ext3", "ext4", "xfs", "f2fs", "jfs", "reiserfs", "vfat", "exfat", "ntfs", "ntfs3", "fuseblk", "hfsplus",
    "udf", "iso9660", "tmpfs", "ramfs",
})  # fmt: skip
_WANTED = IMAGE_SUFFIXES | RAW_SUFFIXES  # below folders; of files that are named one by one any suffix will do


class AskedFile(NamedTuple):
    """A file to look for, or one that cannot be looked for."""

    path: bytes
    error: str | None = None


def asked_files(arguments: Iterable[bytes], stdin: BinaryIO) -> Iterator[AskedFile]:
    """Yield the files that the arguments stand for, in their order; what cannot be listed is a value, not an error."""
    for argument in arguments:
        for path in listed_paths(stdin.read()) if argument == STDIN else [argument]:
            if os.path.isdir(path):
                yield from _pictures_below(path)
            else:
                yield AskedFile(path)


class _Certain(NamedTuple):
    device: int
    inode: int


class _Likely(NamedTuple):
    inode: int  # without the bits that an overlay uses to tell its layers
    size_bytes: int
    mtime_ns: int


class _Numbers(NamedTuple):
    """What the names of one file have in common."""

    certain: _Certain  # by links, and by mounts of one file system
    likely: _Likely  # what an overlay, or a share that is mounted twice, leaves of it under a device of its own


class Asked:
    """The files that are asked for together."""

    def __init__(self, files: Iterable[AskedFile]) -> None:
        self._plain = {device for device, kind in kinds_by_device().items() if kind in _OF_ONE_DEVICE}
        numbers = [one for file in files if (one := _numbers(file.path)) is not None]
        self._certain = {one.certain for one in numbers}
        self._likely: dict[_Likely, bool] = {}  # whether one of them may be seen through another file system
        for one in numbers:
            self._likely[one.likely] = self._likely.get(one.likely, False) or one.certain.device not in self._plain

    def mark_in(self, found: dict[str, Any]) -> None:
        """Mark those copies of an answer to `find` that are among the files asked for; they are not as good any more.

        ``asked_for`` is true of each such copy, ``itself`` as well of those that are the file in question, and
        ``unsure`` of those that only may be.
        """
        own = _numbers(found["path"])
        for copy in found["copies"]:
            numbers = _numbers(copy["path"])
            if numbers is None:
                continue
            is_certain = numbers.certain in self._certain
            if is_certain or self._may_be_asked_for(numbers):
                is_own = own is not None and (
                    numbers.certain == own.certain if is_certain else numbers.likely == own.likely
                )
                copy |= {"asked_for": True, "itself": is_own, "unsure": not is_certain, "as_good": False}

    def _may_be_asked_for(self, numbers: _Numbers) -> bool:
        """Is it one of them by its number, size and time, and may one of the two be seen through another file system?

        Disks that were filled alike give equal numbers to what are two files.
        """
        may_be_seen_twice = self._likely.get(numbers.likely)
        return may_be_seen_twice is not None and (may_be_seen_twice or numbers.certain.device not in self._plain)


def find_marked(client: "Client", path: bytes, question: Question, asked: Asked) -> dict[str, Any]:
    """What the service knows of a file, as `find_file` returns it, its copies marked.

    One copy that is as good is enough, so that the photos of others need not be looked at; but if all of these are
    asked for themselves, the others are.
    """
    found = find_file(client, path, {**question, "enough": True})
    had_one = _has_as_good(found)
    asked.mark_in(found)
    if had_one and not _has_as_good(found) and any(_may_be_as_good(copy) for copy in found["copies"]):
        found = find_file(client, path, question)
        asked.mark_in(found)
    return found


def _may_be_as_good(copy: Mapping[str, Any]) -> bool:
    """Whether the photo itself may show that a copy is as good: a JPEG may have all pixels of one saved finer, too."""
    return copy["verdict"] == "same" and not copy.get("asked_for")


def _numbers(path: bytes) -> _Numbers | None:
    """Return None if there is no file."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return _Numbers(
        _Certain(status.st_dev, status.st_ino),
        _Likely(status.st_ino & _INODE_BITS, status.st_size, status.st_mtime_ns),
    )


def listed_paths(text: bytes) -> list[bytes]:
    """Return the paths of a list, one per line; if there is a NUL byte in it, then one before each NUL byte."""
    return [path for path in text.split(b"\0" if b"\0" in text else b"\n") if path]


def _pictures_below(folder: bytes) -> Iterator[AskedFile]:
    unreadable: list[OSError] = []
    for parent, folders, names in os.walk(folder, onerror=unreadable.append):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(parent, name)
            if _suffix(name) in _WANTED and _is_regular(path):
                yield AskedFile(path)
        yield from _failures(unreadable)
    yield from _failures(unreadable)


def _suffix(name: bytes) -> bytes:
    return os.fsencode(suffix_of_name(os.fsdecode(name)))


def _failures(unreadable: list[OSError]) -> Iterator[AskedFile]:
    while unreadable:
        error = unreadable.pop()
        yield AskedFile(os.fsencode(error.filename), f"cannot list it: {error.strerror}")


def _is_regular(path: bytes) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return True  # whoever opens it will say why it cannot be read


def found_summary(found: Sequence[Mapping[str, Any]]) -> str:
    """Return in one line how many of the files asked for are known, and how well."""
    if not found:
        return "no picture was named, and none lies in the folders named"
    known, unreadable = sum(map(_has_as_good, found)), sum("error" in one for one in found)
    others = [one for one in found if one["known"] and not _has_as_good(one)]
    itself = sum(any(copy.get("asked_for") for copy in one["copies"]) for one in others)
    smaller = sum(_lacks_something(one) and not any(copy.get("asked_for") for copy in one["copies"]) for one in others)
    unsure = len(others) - itself - smaller
    counts = [f"{known:,} known"]
    counts += [f"{itself:,} only among the files asked for"] if itself else []
    counts += [f"{smaller:,} only smaller, of lower quality or with less beside it"] if smaller else []
    counts += [f"{unsure:,} not certain"] if unsure else []
    counts.append(f"{len(found) - known - len(others) - unreadable:,} not known")
    counts += [f"{unreadable:,} unreadable"] if unreadable else []
    return ", ".join(counts)


def _has_as_good(one: Mapping[str, Any]) -> bool:
    """Return whether a file that was asked for has a copy as good as itself."""
    return any(copy.get("as_good") for copy in one["copies"])


def _lacks_something(one: Mapping[str, Any]) -> bool:
    """Return whether there is a copy for certain that only shows less."""
    return any(copy.get("lacks") and copy.get("verdict") == "same" for copy in one["copies"])


def found_status(found: Sequence[Mapping[str, Any]]) -> int:
    """Return the exit status of `find`; no file at all counts as none known, for nothing may be concluded from it."""
    if found and all(map(_has_as_good, found)):
        return 0
    return 1 if any(one["known"] or "error" in one for one in found) else 4
