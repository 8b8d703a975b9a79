"""The child: reads files, hashes them, decodes what it is told to, and dies rather than do harm.

It runs in a process of its own (see ``nursery``), owns nothing but its socket, and may be killed at any moment.
"""

import ctypes
import errno
import os
import resource
import signal
import socket
import stat
import time
from collections import deque
from io import BytesIO
from typing import Any, NoReturn

from blake3 import blake3

from dupwatchd.index import messages
from dupwatchd.index.decode import decode
from dupwatchd.index.limits import DecodeLimits
from dupwatchd.index.messages import NotDecoded, NotRead, ReadFile
from dupwatchd.index.reasons import EXIT_OUT_OF_MEMORY, DecodeError, NotAPicture
from dupwatchd.model import Decoded, ReadStatus, Stamp, within_int64
from dupwatchd.suffixes import claims_to_be_a_picture, suffix

SIGN_OF_LIFE_SECONDS = 0.5
READ_ATTEMPTS = 3
PIECE_BYTES = 16 << 20  # a bigger file is read in pieces, with a sign of life between them

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15


def run(connection: socket.socket, parent_pid: int, thumbnail_px: int, limits: DecodeLimits) -> NoReturn:
    """Serve the pool until its end of the connection closes; never returns."""
    status = 1
    try:
        _harden(parent_pid, limits.memory_mb)
        _Worker(connection, thumbnail_px, limits).serve()
        status = 0
    except MemoryError:
        status = EXIT_OUT_OF_MEMORY
    finally:
        os._exit(status)  # nothing above may reach the nursery's own loop, of which this process is a copy


class _Worker:
    def __init__(self, connection: socket.socket, thumbnail_px: int, limits: DecodeLimits) -> None:
        self._connection = connection
        self._stream = connection.makefile("rb")
        self._thumbnail_px = thumbnail_px
        self._limits = limits
        self._chunks: deque[list[tuple[bytes, bytes | None]]] = deque()  # (path, content) read, not yet decoded
        self._last_sent = 0.0

    def serve(self) -> None:
        self._send(messages.frame({"ready": True}))
        while prefix := self._stream.read(messages.LENGTHS_BYTES):
            header_bytes, _ = messages.frame_lengths(prefix)
            header = messages.header_of(self._stream.read(header_bytes))
            if "read" in header:
                self._read([path.encode("utf-8", "surrogateescape") for path in header["read"]])
            else:
                self._decode(header["decode"])

    def _read(self, paths: list[bytes]) -> None:
        results, contents = [], []
        for path in paths:
            result, content = self._read_file(path)
            results.append(result)
            contents.append((path, content))
        self._chunks.append(contents)
        self._send(messages.read_reply(results))

    def _decode(self, indexes: list[int]) -> None:
        contents = self._chunks.popleft()
        results: list[tuple[int, Decoded | NotDecoded]] = []
        for index in indexes:
            path, content = contents[index]
            assert content is not None
            results.append((index, self._decode_file(path, content)))
            if time.monotonic() - self._last_sent > SIGN_OF_LIFE_SECONDS:
                self._send(messages.decode_reply(results))
                results = []
        if results:
            self._send(messages.decode_reply(results))

    def _decode_file(self, path: bytes, content: bytes) -> Decoded | NotDecoded:
        try:
            return decode(content, self._thumbnail_px, self._limits, suffix(path))
        except NotAPicture as error:
            return NotDecoded(str(error), picture=False)
        except DecodeError as error:
            return NotDecoded(str(error), picture=True)

    def _read_file(self, path: bytes) -> tuple[ReadFile | NotRead, bytes | None]:
        try:
            for _ in range(READ_ATTEMPTS):
                if (read := self._read_once(path)) is not None:
                    stamp, content = read
                    return ReadFile(stamp, blake3(content).digest()), content
            return NotRead(ReadStatus.CHANGED, None), None
        except _Refused as refused:
            return refused.result, None
        except OSError as error:
            return _not_read(error), None

    def _too_big(self, path: bytes, stamp: Stamp) -> NotRead:
        if claims_to_be_a_picture(path):
            return NotRead(ReadStatus.UNREADABLE, f"larger than max_file_mb = {self._limits.max_file_mb}", stamp)
        return NotRead(ReadStatus.NOT_A_PICTURE, None, stamp)  # a video, most likely

    def _read_once(self, path: bytes) -> tuple[Stamp, bytes] | None:
        """The whole file and its stamp; None if it changed meanwhile."""
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                raise _Refused(NotRead(ReadStatus.UNREADABLE, "not a regular file"))
            if before.st_size > self._limits.max_file_mb << 20:
                raise _Refused(self._too_big(path, _stamp(before)))
            content = self._content(descriptor, before.st_size)
            after = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        # A file renamed over this one leaves us holding the old one: no name points to it any more.
        unchanged = len(content) == before.st_size and _unchanging(before) == _unchanging(after) and after.st_nlink
        return (_stamp(after), content) if unchanged else None

    def _content(self, descriptor: int, size: int) -> bytes:
        """What is there, up to one byte more than expected."""
        if size < PIECE_BYTES:
            return os.read(descriptor, size + 1)
        buffer = BytesIO()  # whose buffer becomes the bytes: a second copy of a big file would count against it
        while piece := os.read(descriptor, min(PIECE_BYTES, size + 1 - buffer.tell())):
            buffer.write(piece)
            if time.monotonic() - self._last_sent > SIGN_OF_LIFE_SECONDS:
                self._send(messages.frame({"busy": True}))
        return buffer.getvalue()

    def _send(self, message: bytes) -> None:
        self._connection.sendall(message)
        self._last_sent = time.monotonic()


class _Refused(Exception):  # noqa: N818 - it names the outcome
    """This file is not read at all."""

    def __init__(self, result: NotRead) -> None:
        super().__init__()
        self.result = result


def _not_read(error: OSError) -> NotRead:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return NotRead(ReadStatus.VANISHED, None)
    if error.errno == errno.EAGAIN:  # somebody holds a lease on it (Samba): it is about to change
        return NotRead(ReadStatus.CHANGED, None)
    if error.errno == errno.ELOOP:
        return NotRead(ReadStatus.UNREADABLE, "a symbolic link")
    return NotRead(ReadStatus.UNREADABLE, (error.strerror or "unknown error").lower())


def _stamp(status: os.stat_result) -> Stamp:
    return Stamp(status.st_size, *map(within_int64, (status.st_mtime_ns, status.st_dev, status.st_ino)))


def _unchanging(status: os.stat_result) -> tuple[Any, ...]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev


def _harden(parent_pid: int, memory_mb: int) -> None:
    """Bind this process to its parent's life, and bound what a hostile picture can do to the machine."""
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:  # it died before the line above
        os._exit(0)
    libc.prctl(_PR_SET_NAME, b"dupwatch-decode", 0, 0, 0)
    with open("/proc/self/statm", "rb") as statm:
        address_space = int(statm.read().split()[0]) * resource.getpagesize()
    limit = address_space + (memory_mb << 20)
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    if most != resource.RLIM_INFINITY:
        limit = min(limit, most)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
