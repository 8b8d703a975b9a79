"""Keeps the pictures that clients send to be looked up, until they have been looked up.

In: pieces of files, in order, one file at a time for each connection. Out: the path of a file that holds them all,
with the suffix that the client named, for some formats are known by nothing else. The files lie in a folder of their
own in the state directory, not in memory. They are removed once they were looked up, when their connection closes,
when the service stops, and at the next start if it was killed.

Bounded: one file by ``file_bytes_max``, the files of one user together likewise, and those of all users by twice that.
A file counts with its full size as soon as it is begun. One that nobody goes on with gives way to others after a while.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from dupwatchd.errors import StateError
from dupwatchd.serve.request_queue import Peer, RequestError

FOLDER = "uploads"
_IDLE_SECONDS = 30.0  # after so long without another piece an upload gives way to others
_SPARE_BYTES = 256 << 20  # of the disk are left alone: the index needs room more than a question does


@dataclass(eq=False, slots=True)
class _Upload:
    peer: Peer
    path: str
    size_bytes: int  # what the file will have
    received_bytes: int
    last_piece: float  # on the monotonic clock


class Uploads:
    """The files being sent; any thread may call."""

    def __init__(self, state: str, file_bytes_max: int) -> None:
        """Make the folder in the state directory, and remove what a killed service left in it; raises StateError."""
        self._folder = os.path.join(state, FOLDER)
        self._file_bytes_max = file_bytes_max
        self._lock = threading.Lock()
        self._receiving: dict[Peer, _Upload] = {}
        self._held: set[_Upload] = set()  # those, and the ones that are being looked up
        self._count = 0
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            for name in os.listdir(self._folder):
                os.unlink(os.path.join(self._folder, name))
        except OSError as error:
            raise StateError(f"cannot use {self._folder}: {error.strerror}") from error

    def close(self) -> None:
        """Remove all files; no client is connected any more."""
        try:
            names = os.listdir(self._folder)
        except OSError:
            return  # the next start says what is wrong with the folder
        for name in names:
            _unlink(os.path.join(self._folder, name))

    def add_piece(self, peer: Peer, offset: int, size_bytes: int, piece: bytes) -> int:
        """Keep a piece of a file of ``size_bytes``; returns how many bytes of it have come.

        A piece at offset 0 begins a new file, and drops one that the connection had begun before. Raises RequestError
        with `too_large`, with `busy` if there is no room now, or with `bad_request` if it does not go on where the last
        piece ended.
        """
        if not offset:
            self.drop(peer)
            self._begin(peer, size_bytes)
        with self._lock:
            upload = self._receiving.get(peer)
            if upload is None or upload.received_bytes != offset or upload.size_bytes != size_bytes:
                raise RequestError("bad_request", "the piece does not go on where the last one ended; begin anew")
            if offset + len(piece) > size_bytes:
                raise RequestError("bad_request", "there is more than the size that was named; begin anew")
        self._append(upload, piece)
        with self._lock:
            upload.received_bytes += len(piece)
            upload.last_piece = time.monotonic()
            return upload.received_bytes

    @contextmanager
    def complete(self, peer: Peer, offset: int, last_piece: bytes, suffix: str) -> Iterator[bytes]:
        """The path of the file whose last piece, or only one, this is; removed when the block is left.

        Raises RequestError as `add_piece` does.
        """
        self.add_piece(peer, offset, offset + len(last_piece), last_piece)
        with self._lock:
            upload = self._receiving.pop(peer, None)
        if upload is None:
            raise RequestError("stopping", "the client has gone")
        try:
            named = upload.path + suffix
            os.rename(upload.path, named)
            upload.path = named
            yield os.fsencode(named)
        finally:
            self._remove(upload)

    def drop(self, peer: Peer) -> None:
        """Remove what a connection has sent and not asked about."""
        with self._lock:
            upload = self._receiving.pop(peer, None)
        if upload is not None:
            self._remove(upload)

    def _begin(self, peer: Peer, size_bytes: int) -> None:
        if size_bytes > self._file_bytes_max:
            limit_mb = self._file_bytes_max >> 20
            raise RequestError("too_large", f"the file is larger than index.max_file_mb = {limit_mb} of the service")
        self._make_room(peer, size_bytes)
        with self._lock:
            if peer.closed.is_set():  # nobody would drop it any more
                raise RequestError("stopping", "the client has gone")
            self._count += 1
            path = os.path.join(self._folder, str(self._count))
            upload = _Upload(peer, path, size_bytes, 0, time.monotonic())
            self._receiving[peer] = upload
            self._held.add(upload)

    def _make_room(self, peer: Peer, size_bytes: int) -> None:
        """Raises RequestError if a file of this size would be too much now."""
        if self._has_room(peer, size_bytes):
            return
        long_ago = time.monotonic() - _IDLE_SECONDS
        with self._lock:
            idle = [upload.peer for upload in self._receiving.values() if upload.last_piece < long_ago]
        for other in idle:
            self.drop(other)
        if not self._has_room(peer, size_bytes):
            raise RequestError("busy", "there is no room for the file now; try again when others were looked up")

    def _has_room(self, peer: Peer, size_bytes: int) -> bool:
        with self._lock:
            of_all = sum(upload.size_bytes for upload in self._held)
            of_user = sum(upload.size_bytes for upload in self._held if upload.peer.user == peer.user)
            to_come = of_all - sum(upload.received_bytes for upload in self._held)
        most = self._file_bytes_max
        disk = os.statvfs(self._folder)
        is_free = to_come + size_bytes + _SPARE_BYTES <= disk.f_bavail * disk.f_frsize
        return of_user + size_bytes <= most and of_all + size_bytes <= 2 * most and is_free

    def _append(self, upload: _Upload, piece: bytes) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | (0 if upload.received_bytes else os.O_CREAT | os.O_EXCL)
        try:
            descriptor = os.open(upload.path, flags, 0o600)
            try:
                left = memoryview(piece)
                while left:
                    left = left[os.write(descriptor, left) :]
            finally:
                os.close(descriptor)
        except OSError as error:
            self.drop(upload.peer)
            raise RequestError("busy", f"the file cannot be kept: {error.strerror}; try again") from error
        with self._lock:
            is_held = upload in self._held
        if not is_held:  # it was dropped before its file was made
            _unlink(upload.path)

    def _remove(self, upload: _Upload) -> None:
        _unlink(upload.path)
        with self._lock:
            self._held.discard(upload)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass  # it was never made, or is gone; the next start removes what cannot be removed now
