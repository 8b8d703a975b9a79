"""Looks at what lies beside pictures that may go: sidecars, memos and movies, by all their content.

In: paths below roots. Out: what they are at this moment, and which of them says all that another one says. Files are
opened and hashed, and nothing is changed.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from blake3 import blake3

from dupwatch.act.content import digest_of, opened
from dupwatch.act.errors import SkipError
from dupwatch.act.movable import Movable
from dupwatch.act.plan_file import GoingFile, PlannedFile, deepest_root
from dupwatch.act.sidecars import TEXT_BYTES_MAX, says_all_of
from dupwatch.beside import SAME_IN_OTHER_WORDS, common_suffix
from dupwatch.terminal import printable


class Companions:
    """Looks at what lies beside pictures by all its content; each is read once."""

    def __init__(self, movable: Movable, roots: Sequence[bytes]) -> None:
        """``roots``: above all files that are asked about."""
        self._movable, self._roots = movable, roots
        self._known: dict[bytes, PlannedFile | None] = {}

    def can_go(self, path: bytes) -> bool:
        """Return whether a file can be read and moved."""
        return self.file(path) is not None and self._movable.why_not(path, deepest_root(path, self._roots)) is None

    def holds(self, other: bytes, path: bytes) -> bool:
        """Return whether another file holds all that this one says, and is not the same file."""
        own, theirs = self.file(path), self.file(other)
        if own is None or theirs is None or (theirs.device, theirs.inode) == (own.device, own.inode):
            return False
        suffix = common_suffix(path, other)
        if _is_equal(own, theirs) or suffix not in SAME_IN_OTHER_WORDS:
            return _is_equal(own, theirs)
        return says_all_of(self._text(theirs), self._text(own), suffix)

    def going(self, path: bytes, picture: bytes, holder: bytes | None) -> GoingFile:
        """Return a companion as it goes along with its picture; ``holder`` is what holds all that it says."""
        own, theirs = self.file(path), None if holder is None else self.file(holder)
        assert own is not None  # else its picture is held back
        if theirs is None:
            return GoingFile(own, None, goes_with=picture)
        if _is_equal(own, theirs):
            return GoingFile(own, theirs.path, "identical", confirmed=True, goes_with=picture)
        reason = f"what it says of the photo stands in {printable(theirs.path)} as well"
        return GoingFile(replace(own, reason=reason), None, goes_with=picture)

    def file(self, path: bytes) -> PlannedFile | None:
        """Return a file as it is; None if it cannot be read, or is no regular file."""
        if path not in self._known:
            self._known[path] = None
            with suppress(SkipError, OSError), opened(path, deepest_root(path, self._roots)) as (_, descriptor):
                status, digest = os.fstat(descriptor), digest_of(descriptor)
                self._known[path] = PlannedFile(
                    path, status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino, digest
                )
        return self._known[path]

    def _text(self, file: PlannedFile) -> bytes:
        """Return what a small file holds, if it is still what was read before; else nothing."""
        if file.size_bytes > TEXT_BYTES_MAX:
            return b""
        text = b""
        with suppress(SkipError, OSError), opened(file.path, deepest_root(file.path, self._roots)) as (_, descriptor):
            text = os.pread(descriptor, TEXT_BYTES_MAX + 1, 0)
        return text if blake3(text).digest() == file.blake3 else b""


def _is_equal(one: PlannedFile, other: PlannedFile) -> bool:
    return (one.size_bytes, one.blake3) == (other.size_bytes, other.blake3)
