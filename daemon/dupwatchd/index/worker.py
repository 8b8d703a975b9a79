"""The worker process: reads and hashes the files that the pool names, decodes those with new content, hands out pixels.

New is a content that `update/intake` does not know. The process is forked by the fork server, owns nothing but its
socket, and may be killed at any moment. What it may cost is bounded by the kernel: if a picture needs more memory than
it may have, the process exits and the pool blames the file.
"""

import ctypes
import os
import resource
import signal
import socket
import time
from collections import deque
from dataclasses import replace
from typing import NoReturn

from dupwatchd.heap import keep_large_pieces
from dupwatchd.index import messages
from dupwatchd.index.all_pixels import digest_of_all
from dupwatchd.index.decode import decode, decode_detail
from dupwatchd.index.file_reading import read_file
from dupwatchd.index.limits import DecodeLimits
from dupwatchd.index.messages import (
    AllPixels,
    Detail,
    NotDecoded,
    NotRead,
    PixelsRead,
    Previewed,
    PreviewWish,
    ReadFile,
)
from dupwatchd.index.preview import make_preview
from dupwatchd.index.reasons import EXIT_OUT_OF_MEMORY, DecodeError, NotAPicture
from dupwatchd.model import Decoded
from dupwatchd.suffixes import suffix

SIGN_OF_LIFE_SECONDS = 0.5  # after so long without a message the pool is told that work goes on

_KEPT_BYTES = 32 << 20  # of memory: a photo of 12 megapixels takes as much when it is looked at closely
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15


def run(connection: socket.socket, parent_pid: int, thumbnail_px: int, limits: DecodeLimits) -> NoReturn:
    """Serve the pool until its end of the connection closes; never returns."""
    status = 1
    try:
        _restrict(parent_pid, limits.memory_mb)
        _Worker(connection, thumbnail_px, limits).serve()
        status = 0
    except MemoryError:
        status = EXIT_OUT_OF_MEMORY
    finally:
        os._exit(status)  # this process is a copy of the fork server and must not run the rest of its program


class _Worker:
    def __init__(self, connection: socket.socket, thumbnail_px: int, limits: DecodeLimits) -> None:
        self._connection = connection
        self._stream = connection.makefile("rb")
        self._thumbnail_px = thumbnail_px
        self._limits = limits
        self._chunks: deque[list[tuple[bytes, bytes]]] = deque()  # chunks of (path, content), read but not yet decoded
        self._last_sent = 0.0

    def serve(self) -> None:
        self._send(messages.frame({"ready": True}))
        while prefix := self._stream.read(messages.LENGTHS_BYTES):
            header_bytes, _ = messages.frame_lengths(prefix)
            header = messages.header_of(self._stream.read(header_bytes))
            if "look" in header:
                self._look(header["look"].encode("utf-8", "surrogateescape"), header["px"])
            elif "all_pixels" in header:
                self._read_pixels(header["all_pixels"].encode("utf-8", "surrogateescape"))
            elif "preview" in header:
                self._preview(header["preview"].encode("utf-8", "surrogateescape"), messages.wish_of(header))
            elif "read" in header:
                self._read([path.encode("utf-8", "surrogateescape") for path in header["read"]])
            else:
                self._decode(header["decode"])

    def _read(self, paths: list[bytes]) -> None:
        results: list[ReadFile | NotRead] = []
        contents: list[tuple[bytes, bytes]] = []
        for path in paths:
            result, content = read_file(path, self._limits.max_file_mb, self._show_life)
            results.append(result)
            contents.append((path, content))
        self._chunks.append(contents)
        self._send(messages.read_reply(results))

    def _decode(self, indexes: list[int]) -> None:
        contents = self._chunks.popleft()
        results: list[tuple[int, Decoded | NotDecoded]] = []
        for index in indexes:
            path, content = contents[index]
            results.append((index, self._decode_file(path, content)))
            if self._is_overdue():
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

    def _look(self, path: bytes, most_px: int) -> None:
        result: ReadFile | NotRead | NotDecoded | Detail
        result, content = read_file(path, self._limits.max_file_mb, self._show_life)
        if isinstance(result, ReadFile):
            try:
                found = decode_detail(content, most_px, self._limits, suffix(path))
                result = replace(found, digest=result.digest)
            except NotAPicture as error:
                result = NotDecoded(str(error), picture=False)
            except DecodeError as error:
                result = NotDecoded(str(error), picture=True)
        self._send(*messages.look_reply(result))

    def _read_pixels(self, path: bytes) -> None:
        result: ReadFile | PixelsRead
        result, content = read_file(path, self._limits.max_file_mb, self._show_life)
        if isinstance(result, ReadFile):
            try:
                result = AllPixels(digest_of_all(content, self._limits, suffix(path)), result.digest)
            except NotAPicture as error:
                result = NotDecoded(str(error), picture=False)
            except DecodeError as error:
                result = NotDecoded(str(error), picture=True)
        self._send(messages.pixels_reply(result))

    def _preview(self, path: bytes, wish: PreviewWish) -> None:
        result: ReadFile | Previewed
        result, content = read_file(path, self._limits.max_file_mb, self._show_life)
        if isinstance(result, ReadFile):
            try:
                result = make_preview(content, wish, self._limits, suffix(path))
            except NotAPicture as error:
                result = NotDecoded(str(error), picture=False)
            except DecodeError as error:
                result = NotDecoded(str(error), picture=True)
        self._send(messages.preview_reply(result))

    def _show_life(self) -> None:
        if self._is_overdue():
            self._send(messages.frame({"busy": True}))

    def _is_overdue(self) -> bool:
        return time.monotonic() - self._last_sent > SIGN_OF_LIFE_SECONDS

    def _send(self, *parts: bytes | memoryview) -> None:
        """One message, maybe in several parts."""
        for part in parts:
            self._connection.sendall(part)
        self._last_sent = time.monotonic()


def _restrict(parent_pid: int, memory_mb: int) -> None:
    """Let this process die with its parent, and limit its memory: a picture may be made to do harm.

    ``memory_mb`` counts from the address space that the process has now, with all decoders imported, and so it is what
    reading and decoding a file may take.
    """
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:  # the parent died before the line above
        os._exit(0)
    libc.prctl(_PR_SET_NAME, b"dupwatch-decode", 0, 0, 0)
    keep_large_pieces(_KEPT_BYTES)
    with open("/proc/self/statm", "rb") as statm:
        address_space = int(statm.read().split()[0]) * resource.getpagesize()
    limit = address_space + (memory_mb << 20)
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    if most != resource.RLIM_INFINITY:
        limit = min(limit, most)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
