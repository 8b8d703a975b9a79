"""Which files a `find` means: those named, those listed on stdin, and the pictures below folders.

In: the arguments of the command. Out: one path per file to look for, or a path with the reason why it, or what lies
below it, could not be looked at. Links are followed only where they are named themselves.

Whoever asks wants to know what is left if these files go. So a copy that is one of them, under whatever name, is told
as such and is as good as none.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, NamedTuple

from dupwatch.suffixes import IMAGE_SUFFIXES, RAW_SUFFIXES, suffix_of_name

STDIN = b"-"
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


class Asked:
    """The files that are asked for together."""

    def __init__(self, files: Iterable[AskedFile]) -> None:
        self._numbers = {numbers for file in files if (numbers := _numbers(file.path)) is not None}

    def mark_in(self, found: dict[str, Any]) -> None:
        """Mark those copies of an answer to `find` that are among the files asked for; they are not as good any more.

        ``asked_for`` is true of each such copy, and ``itself`` as well of those that are the file in question.
        """
        own = _numbers(found["path"])
        for copy in found["copies"]:
            numbers = _numbers(copy["path"])
            if numbers in self._numbers:
                copy |= {"asked_for": True, "itself": numbers == own, "as_good": False}


def _numbers(path: bytes) -> tuple[int, int] | None:
    """Return what all names of one file have in common, by links and mounts as well; None if there is no file."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


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
