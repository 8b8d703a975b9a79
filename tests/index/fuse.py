"""A file system that answers reads with fewer bytes than were asked for, as network file systems do.

It speaks the kernel's FUSE protocol (linux/fuse.h, version 7.31) over /dev/fuse and needs no library, but the right
to mount. One folder of read-only files; every read reaches it, because files are opened with FOPEN_DIRECT_IO.
"""

import ctypes
import errno
import functools
import os
import stat
import struct
import tempfile
import threading
from pathlib import Path
from typing import Self

_LOOKUP, _GETATTR, _OPEN, _READ, _STATFS, _RELEASE, _FLUSH, _INIT = 1, 3, 14, 15, 17, 18, 25, 26
_FORGETS = (2, 42)  # FORGET and BATCH_FORGET have no reply
_FOPEN_DIRECT_IO = 1
_ROOT = 1
_IN_HEADER = struct.Struct("=IIQQIIII")
_OUT_HEADER = struct.Struct("=IiQ")
_MNT_DETACH = 2


class ShortReadingFiles:
    """Mounts the files, name → content, at a folder while it is entered."""

    def __init__(self, folder: Path, files: dict[bytes, bytes], most_bytes: int, missing_bytes: int = 0) -> None:
        self._folder = os.fsencode(folder)
        self._names = list(files)
        self._contents = list(files.values())
        self._most_bytes = most_bytes
        self._missing_bytes = missing_bytes  # so many bytes less can be read than the size says
        self.reads = 0
        self._holds = False
        self._held: list[int] = []

    def __enter__(self) -> Self:
        self._device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self._device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}".encode()
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"test", self._folder, b"fuse", 0, options):
            os.close(self._device)
            raise OSError(ctypes.get_errno(), "cannot mount")
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        ctypes.CDLL(None).umount2(self._folder, _MNT_DETACH)
        self._thread.join()
        os.close(self._device)

    def hold(self) -> None:
        """Answer no read any more: whoever reads cannot even be killed, as with a disk that hangs."""
        self._holds = True

    def let_go(self) -> None:
        """Answer again, beginning with an error for all that was asked meanwhile."""
        self._holds = False
        while self._held:
            os.write(self._device, _OUT_HEADER.pack(_OUT_HEADER.size, -errno.EIO, self._held.pop()))

    def _serve(self) -> None:
        while True:
            try:
                request = os.read(self._device, 1 << 17)
            except OSError as failure:
                if failure.errno == errno.ENOENT:  # the request was given up before it was read
                    continue
                return  # it was unmounted
            _, opcode, unique, node, *_ = _IN_HEADER.unpack_from(request)
            if opcode in _FORGETS:
                continue
            if opcode == _READ and self._holds:
                self._held.append(unique)
                continue
            reply = self._reply(opcode, node, request[_IN_HEADER.size :])
            error, content = (-reply, b"") if isinstance(reply, int) else (0, reply)
            try:
                os.write(self._device, _OUT_HEADER.pack(_OUT_HEADER.size + len(content), error, unique) + content)
            except OSError:
                pass  # nobody waits for this answer any more: it was given up, or unmounted meanwhile

    def _reply(self, opcode: int, node: int, body: bytes) -> bytes | int:
        """The reply's content, or an errno."""
        if opcode == _INIT:
            _, _, readahead, _ = struct.unpack_from("=IIII", body)
            return struct.pack("=IIIIHHIIHHI28x", 7, 31, readahead, 0, 0, 0, 1 << 16, 1, 32, 0, 0)
        if opcode == _LOOKUP:
            name = body.rstrip(b"\0")
            if node != _ROOT or name not in self._names:
                return errno.ENOENT
            found = self._names.index(name) + 2
            return struct.pack("=QQQQII", found, 0, 3600, 3600, 0, 0) + self._attributes(found)
        if opcode == _GETATTR:
            return struct.pack("=QII", 3600, 0, 0) + self._attributes(node)
        if opcode == _OPEN:
            return struct.pack("=QII", 0, _FOPEN_DIRECT_IO, 0)
        if opcode == _READ:
            _, offset, size = struct.unpack_from("=QQI", body)
            self.reads += 1
            content = self._contents[node - 2]
            end = min(offset + size, offset + self._most_bytes, len(content) - self._missing_bytes)
            return content[offset : max(offset, end)]
        if opcode == _STATFS:
            return struct.pack("=QQQQQIIII24x", 0, 0, 0, 0, 0, 4096, 255, 4096, 0)
        return b"" if opcode in (_FLUSH, _RELEASE) else errno.ENOSYS

    def _attributes(self, node: int) -> bytes:
        mode, size = (
            (stat.S_IFDIR | 0o755, 0) if node == _ROOT else (stat.S_IFREG | 0o644, len(self._contents[node - 2]))
        )
        times = (1_700_000_000,) * 3 + (0,) * 3
        return struct.pack("=QQQQQQIIIIIIIIII", node, size, 0, *times[:3], *times[3:], mode, 1, 0, 0, 0, 4096, 0)


@functools.cache
def can_mount_fuse() -> bool:
    """Whether this process may mount such a file system here."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            with ShortReadingFiles(Path(folder), {}, 1):
                return True
        except OSError:
            return False
