"""The pool's end of the connection to one worker: its socket, and the replies that are still to come.

Requests and chunks go in, whole messages come out; what they mean is decided in ``pool``.
"""

import socket
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dupwatchd.index import messages
from dupwatchd.index.chunks import Chunk
from dupwatchd.index.messages import Looked, PixelsRead, Previewed, PreviewWish

RECEIVE_BYTES = 256 * 1024
# A worker is replaced after so many files, which costs 3 ms: decoders leak memory, and a worker has a fixed limit.
FILES_PER_WORKER = 5000


class WorkerGone(Exception):  # noqa: N818 - it says what happened
    """The worker closed its end: it is dead or dying."""


@dataclass(frozen=True, slots=True)
class Look:
    """The pixels of one file are wanted."""

    path: bytes
    most_px: int

    def request(self) -> bytes:
        """The message that asks for them."""
        return messages.look_request(self.path, self.most_px)

    @property
    def max_raw_bytes(self) -> int:
        """How long the answer may be."""
        return messages.max_look_bytes(self.most_px)

    def parse(self, header: dict[str, Any], raw: memoryview) -> Looked:
        """The answer. Raises BadReply."""
        return messages.parse_look_reply(header, raw, self.most_px)


@dataclass(frozen=True, slots=True)
class LookForPreview:
    """A preview of one file is wanted; the methods are those of `Look`."""

    path: bytes
    wish: PreviewWish

    def request(self) -> bytes:
        """The message that asks for it."""
        return messages.preview_request(self.path, self.wish)

    @property
    def max_raw_bytes(self) -> int:
        """How long the answer may be."""
        return messages.max_preview_bytes(self.wish)

    def parse(self, header: dict[str, Any], raw: memoryview) -> Previewed:
        """The answer. Raises BadReply."""
        return messages.parse_preview_reply(header, bytes(raw), self.wish)


@dataclass(frozen=True, slots=True)
class LookForPixels:
    """What tells a file from others that show the same picture is wanted; the methods are those of `Look`."""

    path: bytes

    def request(self) -> bytes:
        """The message that asks for it."""
        return messages.pixels_request(self.path)

    @property
    def max_raw_bytes(self) -> int:
        """How long the answer may be."""
        return 0

    def parse(self, header: dict[str, Any], raw: memoryview) -> PixelsRead:  # noqa: ARG002 - there are none
        """The answer. Raises BadReply."""
        return messages.parse_pixels_reply(header)


AnyLook = Look | LookForPreview | LookForPixels


@dataclass(slots=True, eq=False)
class Owed:
    """One reply that a worker owes; it answers in the order it was asked."""

    chunk: Chunk | None  # None: its greeting, or what a look asks for
    undecoded: set[int] = field(default_factory=set)  # indexes of files still to be decoded; empty: it reads
    look: AnyLook | None = None


class WorkerConnection:
    """Sends requests without ever blocking, and receives whole messages."""

    def __init__(self, pid: int, sock: socket.socket, max_raw_bytes: int, patience_seconds: float) -> None:
        sock.setblocking(False)
        self.pid = pid
        self.socket = sock
        self.owed: deque[Owed] = deque([Owed(None)])
        self.chunks: list[Chunk] = []
        self.files_taken = 0
        self.deadline = time.monotonic() + patience_seconds
        self._patience_seconds = patience_seconds
        self._max_raw_bytes = max_raw_bytes
        self._buffer = bytearray()
        self._large: memoryview | None = None  # a long message that is arriving, whose begin was in the buffer
        self._rest = memoryview(b"")  # what of it has not arrived yet

    @property
    def worn_out(self) -> bool:
        """Whether it has handled so many files that it should be replaced."""
        return self.files_taken >= FILES_PER_WORKER

    def takes(self, chunk_limit: int) -> bool:
        """Whether it may get another chunk, if it should have no more than ``chunk_limit``."""
        full = len(self.chunks) >= chunk_limit or any(chunk.solitary for chunk in self.chunks)
        return not full and not self.worn_out

    def read(self, chunk: Chunk) -> None:
        """Ask for the digests of a chunk's files. Raises WorkerGone."""
        if not self.owed:
            self.restart_deadline()
        self.chunks.append(chunk)
        self.files_taken += len(chunk.files)
        self.owed.append(Owed(chunk))
        self._send(messages.read_request([file.job.path for file in chunk.files]))

    def decode(self, chunk: Chunk, indexes: list[int]) -> None:
        """Ask for the thumbnails of these files of a chunk, or, if there are none, drop it. Raises WorkerGone."""
        if indexes:
            self.owed.append(Owed(chunk, set(indexes)))
        else:
            self.chunks.remove(chunk)
        self._send(messages.decode_request(indexes))

    def look(self, look: AnyLook) -> None:
        """Ask for what one look at one file is for. Raises WorkerGone."""
        if not self.owed:
            self.restart_deadline()
        self.files_taken += 1
        self.owed.append(Owed(None, look=look))
        self._send(look.request())

    def receive(self) -> list[tuple[dict[str, Any], memoryview]]:
        """All whole messages that have arrived, as (header, raw bytes); maybe none.

        Raises BadReply; WorkerGone if the worker has closed its end and all its messages have been handed out.
        """
        gone = False
        try:
            while self._receive_some():
                self.restart_deadline()
                if len(self._buffer) > 4 * (messages.MAX_HEADER_BYTES + self._raw_bytes_allowed()):
                    raise messages.BadReply("too much at once")
            gone = True
        except BlockingIOError:
            pass
        except OSError:  # reset: it died before it had read everything
            gone = True
        frames = []
        while (frame := self._next_frame()) is not None:
            frames.append(frame)
        if gone and not frames:
            raise WorkerGone
        return frames

    def restart_deadline(self) -> None:
        """Let its time begin anew."""
        self.deadline = time.monotonic() + self._patience_seconds

    def _raw_bytes_allowed(self) -> int:
        looks = [owed.look.max_raw_bytes for owed in self.owed if owed.look]
        return max([self._max_raw_bytes, *looks])

    def _receive_some(self) -> int:
        """How many bytes have arrived; 0 if the other end is closed. Raises OSError, BadReply."""
        if self._rest:
            count = self.socket.recv_into(self._rest)
            self._rest = self._rest[count:]
            return count
        data = self.socket.recv(RECEIVE_BYTES)
        self._buffer += data
        if self._large is None and (ends := self._ends()) and ends[1] > len(self._buffer) + RECEIVE_BYTES:
            # The pixels of a photo are received where they stay: each copy of them would take 5 ms.
            self._large = np.empty(ends[1], np.uint8).data
            self._large[: len(self._buffer)] = self._buffer
            self._rest = self._large[len(self._buffer) :]
            self._buffer.clear()
        return len(data)

    def _ends(self) -> tuple[int, int] | None:
        """Where header and raw bytes of the message end that the buffer begins with. Raises BadReply."""
        if len(self._buffer) < messages.LENGTHS_BYTES:
            return None
        header_bytes, raw_bytes = messages.frame_lengths(self._buffer)
        if header_bytes > messages.MAX_HEADER_BYTES or raw_bytes > self._raw_bytes_allowed():
            raise messages.BadReply("too long")
        header_end = messages.LENGTHS_BYTES + header_bytes
        return header_end, header_end + raw_bytes

    def _next_frame(self) -> tuple[dict[str, Any], memoryview] | None:
        if self._large is not None:
            if self._rest:
                return None
            whole, self._large = self._large.toreadonly(), None
            header_bytes, _ = messages.frame_lengths(bytes(whole[: messages.LENGTHS_BYTES]))
            header_end = messages.LENGTHS_BYTES + header_bytes
            return messages.header_of(bytes(whole[messages.LENGTHS_BYTES : header_end])), whole[header_end:]
        ends = self._ends()
        if ends is None or len(self._buffer) < ends[1]:
            return None
        header = messages.header_of(self._buffer[messages.LENGTHS_BYTES : ends[0]])
        raw = memoryview(bytes(self._buffer[ends[0] : ends[1]]))
        del self._buffer[: ends[1]]
        return header, raw

    def _send(self, message: bytes) -> None:
        # A worker that is alive has at most two short requests waiting, which always fit.
        try:
            sent = self.socket.send(message)
        except OSError as error:
            raise WorkerGone from error
        if sent != len(message):
            raise WorkerGone
