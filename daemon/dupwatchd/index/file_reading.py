"""The path of a file goes in, its bytes and its stamp come out, provided that it does not change meanwhile."""

import errno
import os
import stat
from collections.abc import Callable
from io import BytesIO

from blake3 import blake3

from dupwatchd.index.messages import NotRead, ReadFile
from dupwatchd.model import ReadStatus, Stamp, within_int64
from dupwatchd.opening import open_without_links
from dupwatchd.suffixes import claims_to_be_a_picture

READ_ATTEMPTS = 3
PIECE_BYTES = 16 << 20  # a bigger file is read in pieces, so that the reader can show that it is alive

# What changes whenever a file is written to: size, modification and change time (ns), inode, device.
_Version = tuple[int, int, int, int, int]


def read_file(path: bytes, max_file_mb: int, after_piece: Callable[[], None]) -> tuple[ReadFile | NotRead, bytes]:
    """A file's stamp and digest together with its bytes, or why it was not read and no bytes.

    A file that changes while it is read is read again, three times at most. One that stays as it is but never has the
    size that the file system says, such as a file of /proc mounted there, is unreadable. Raises MemoryError.
    """
    try:
        for attempt in range(READ_ATTEMPTS):
            is_last = attempt == READ_ATTEMPTS - 1
            if (read := _read_once(path, max_file_mb, after_piece, is_last=is_last)) is not None:
                return read
        return NotRead(ReadStatus.CHANGED, None), b""
    except OSError as error:
        return _not_read(error), b""


def read_to_end(read: Callable[[int], bytes], expected_bytes: int, after_piece: Callable[[], None]) -> bytes:
    """All that ``read(count)`` returns until it returns nothing, but at most one byte more than expected.

    A single read may return less than there is: network file systems and FUSE do that in the middle of a file.
    """
    first = read(min(PIECE_BYTES, expected_bytes + 1))
    more = read(1) if len(first) == expected_bytes else b""
    if len(first) == expected_bytes and not more:  # nearly always; it saves a copy
        return first
    buffer = BytesIO()  # its buffer becomes the result: a second copy of a big file would not fit into memory_mb
    buffer.writelines((first, more))
    del first
    after_piece()
    while piece := read(min(PIECE_BYTES, expected_bytes + 1 - buffer.tell())):
        buffer.write(piece)
        after_piece()
    return buffer.getvalue()


def _read_once(
    path: bytes, max_file_mb: int, after_piece: Callable[[], None], *, is_last: bool
) -> tuple[ReadFile | NotRead, bytes] | None:
    """As `read_file`, but None if the file changed, or, unless it ``is_last``, had another size than it should.

    Raises OSError, MemoryError.
    """
    descriptor = open_without_links(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            return NotRead(ReadStatus.UNREADABLE, "not a regular file"), b""
        if before.st_size > max_file_mb << 20:
            return _too_big(path, max_file_mb, _stamp(before)), b""
        content = read_to_end(lambda count: os.read(descriptor, count), before.st_size, after_piece)
        after = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    # A link count of zero: another file was renamed over this one, and no name leads to these bytes any more.
    if _version(before) != _version(after) or not after.st_nlink:
        return None
    if len(content) != before.st_size:
        wrong_size = f"it holds other than the {before.st_size} bytes that the file system says"
        return (NotRead(ReadStatus.UNREADABLE, wrong_size, _stamp(after)), b"") if is_last else None
    return ReadFile(_stamp(after), blake3(content).digest()), content


def _too_big(path: bytes, max_file_mb: int, stamp: Stamp) -> NotRead:
    if claims_to_be_a_picture(path):
        return NotRead(ReadStatus.UNREADABLE, f"larger than max_file_mb = {max_file_mb}", stamp)
    return NotRead(ReadStatus.NOT_A_PICTURE, None, stamp)  # most likely a video


def _not_read(error: OSError) -> NotRead:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return NotRead(ReadStatus.VANISHED, None)
    if error.errno == errno.EAGAIN:  # somebody, often Samba, holds a lease on the file: it is about to change
        return NotRead(ReadStatus.CHANGED, None)
    if error.errno == errno.ELOOP:
        return NotRead(ReadStatus.UNREADABLE, "a symbolic link")
    return NotRead(ReadStatus.UNREADABLE, (error.strerror or "unknown error").lower())


def _stamp(status: os.stat_result) -> Stamp:
    return Stamp(status.st_size, *map(within_int64, (status.st_mtime_ns, status.st_dev, status.st_ino)))


def _version(status: os.stat_result) -> _Version:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev
