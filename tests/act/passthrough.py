"""A FUSE file system, run as a program, that shows another folder and can write to it: `passthrough LOWER FOLDER FOLD`.

It speaks the kernel's protocol (linux/fuse.h, version 7.31) over /dev/fuse and needs no library, but the right to
mount. Like many such programs it numbers files by the path at which they were looked up, so that one file has a number
of its own here, and two numbers under two spellings of its name.

FOLD says which spellings are one name: `case`, `unicode` (NFC and NFD), or `none`; then the kernel may keep what it is
told for an hour. With `handles` the program also keeps every file open that it has seen, so that a file is still found
after it has gone elsewhere; and the kernel keeps what lies in a folder.
"""

import ctypes
import errno
import os
import stat
import struct
import sys
import unicodedata
from collections.abc import Callable
from typing import Final

_IN_HEADER: Final = struct.Struct("=IIQQIIII")
_OUT_HEADER: Final = struct.Struct("=IiQ")
_FORGETS: Final = (2, 42)  # FORGET and BATCH_FORGET have no reply
_ROOT: Final = 1
_LONG_SECONDS: Final = 3600
_RENAME_NOREPLACE: Final = 1
_KEEP_CACHE: Final = 2
_CACHE_DIR: Final = 8


def _folded(name: bytes, fold: str) -> bytes:
    text = name.decode("utf-8", "surrogateescape")
    if fold == "case":
        text = text.lower()
    elif fold == "unicode":
        text = unicodedata.normalize("NFC", text)
    return text.encode("utf-8", "surrogateescape")


class Passthrough:
    """Answers the kernel's requests."""

    def __init__(self, lower: bytes, fold: str) -> None:
        self._fold = fold
        self._kept_seconds = 0 if fold in ("case", "unicode") else _LONG_SECONDS
        self._paths = {_ROOT: lower}  # below, as looked up, by number
        self._numbers = {lower: _ROOT}
        self._handles: dict[int, int] = {}
        self._handlers: dict[int, Callable[[int, bytes], bytes]] = {
            1: self._lookup, 3: self._getattr, 4: self._setattr, 9: self._mkdir, 10: self._unlink, 11: self._rmdir,
            12: self._rename, 13: self._link, 14: self._open, 15: self._read, 16: self._write, 17: self._statfs,
            18: self._release, 20: self._fsync, 26: self._init, 27: self._opendir, 28: self._readdir,
            29: self._nothing, 30: self._nothing, 35: self._create, 45: self._rename2,
        }  # fmt: skip

    def serve(self, device: int) -> None:
        while True:
            try:
                request = os.read(device, 1 << 18)
            except OSError as failure:
                if failure.errno in (errno.ENOENT, errno.EINTR):
                    continue
                return  # it was unmounted
            _, opcode, unique, node, *_ = _IN_HEADER.unpack_from(request)
            if opcode in _FORGETS:
                continue
            error, content = 0, b""
            handler = self._handlers.get(opcode, self._not_offered)
            try:
                content = handler(node, request[_IN_HEADER.size :])
            except OSError as failure:
                error = -(failure.errno or errno.EIO)
            try:
                os.write(device, _OUT_HEADER.pack(_OUT_HEADER.size + len(content), error, unique) + content)
            except OSError:
                pass  # nobody waits for this answer any more

    def _below(self, node: int, name: bytes) -> bytes:
        """The path below for a name in a folder, spelled as it is there if it is there."""
        folder = self._real(self._paths[node])
        path = os.path.join(folder, name)
        if self._fold in ("none", "handles") or os.path.lexists(path):
            return path
        wanted = _folded(name, self._fold)
        return next(
            (os.path.join(folder, one) for one in os.listdir(folder) if _folded(one, self._fold) == wanted), path
        )

    def _real(self, path: bytes) -> bytes:
        """The path below as it is spelled there, of one that was looked up."""
        top = self._paths[_ROOT]
        found = top
        for part in path[len(top) + 1 :].split(b"/") if path != top else ():
            step = os.path.join(found, part)
            if not os.path.lexists(step):
                wanted = _folded(part, self._fold)
                same = [one for one in os.listdir(found) if _folded(one, self._fold) == wanted]
                step = os.path.join(found, same[0]) if same else step
            found = step
        return found

    def _at(self, node: int) -> bytes:
        if node in self._handles:
            return b"/proc/self/fd/%d" % self._handles[node]
        return self._real(self._paths[node])

    def _attributes(self, number: int, status: os.stat_result) -> bytes:
        times = (status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns)
        return struct.pack(
            "=QQQQQQIIIIIIIIII", number, status.st_size, status.st_blocks, *(one // 10**9 for one in times),
            *(one % 10**9 for one in times), status.st_mode, status.st_nlink, status.st_uid, status.st_gid, 0, 4096, 0,
        )  # fmt: skip

    def _entry(self, node: int, name: bytes) -> bytes:
        status = os.lstat(self._below(node, name))
        path = os.path.join(self._paths[node], name)
        number = self._numbers.setdefault(path, max(self._paths) + 1)
        self._paths[number] = path
        if self._fold == "handles" and number not in self._handles:
            self._handles[number] = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        return struct.pack("=QQQQII", number, 0, self._kept_seconds, self._kept_seconds, 0, 0) + self._attributes(
            number, status
        )

    def _lookup(self, node: int, body: bytes) -> bytes:
        return self._entry(node, body.rstrip(b"\0"))

    def _getattr(self, node: int, _: bytes) -> bytes:
        return struct.pack("=QII", self._kept_seconds, 0, 0) + self._attributes(node, os.stat(self._at(node)))

    def _setattr(self, node: int, body: bytes) -> bytes:
        valid, _, _, size, _, atime, mtime, _, atime_ns, mtime_ns, _, mode, _, uid, gid = struct.unpack_from(
            "=IIQQQQQQIIIIIII", body
        )
        path = self._at(node)
        if valid & 2 or valid & 4:
            os.chown(path, uid if valid & 2 else -1, gid if valid & 4 else -1)
        if valid & 1:
            os.chmod(path, stat.S_IMODE(mode))
        if valid & 8:
            os.truncate(path, size)
        if valid & 48:
            now = os.lstat(path)
            new = (
                atime * 10**9 + atime_ns if valid & 16 else now.st_atime_ns,
                mtime * 10**9 + mtime_ns if valid & 32 else now.st_mtime_ns,
            )
            os.utime(path, ns=new)
        return self._getattr(node, b"")

    def _mkdir(self, node: int, body: bytes) -> bytes:
        mode, _ = struct.unpack_from("=II", body)
        name = body[8:].rstrip(b"\0")
        self._check_free(node, name)
        os.mkdir(self._below(node, name), stat.S_IMODE(mode))
        return self._entry(node, name)

    def _check_free(self, node: int, name: bytes) -> None:
        if os.path.lexists(self._below(node, name)):
            raise OSError(errno.EEXIST, "")

    def _unlink(self, node: int, body: bytes) -> bytes:
        os.unlink(self._below(node, body.rstrip(b"\0")))
        return b""

    def _rmdir(self, node: int, body: bytes) -> bytes:
        os.rmdir(self._below(node, body.rstrip(b"\0")))
        return b""

    def _rename(self, node: int, body: bytes) -> bytes:
        return self._renamed(node, struct.unpack_from("=Q", body)[0], body[8:], 0)

    def _rename2(self, node: int, body: bytes) -> bytes:
        new_node, flags, _ = struct.unpack_from("=QII", body)
        return self._renamed(node, new_node, body[16:], flags)

    def _renamed(self, node: int, new_node: int, names: bytes, flags: int) -> bytes:
        old, new, *_ = names.split(b"\0")
        if flags & ~_RENAME_NOREPLACE:
            raise OSError(errno.EINVAL, "")
        if flags:
            self._check_free(new_node, new)
        os.rename(self._below(node, old), self._below(new_node, new))
        was, now = os.path.join(self._paths[node], old), os.path.join(self._paths[new_node], new)
        for number, path in list(self._paths.items()):  # a number goes along with its name
            if path == was or path.startswith(was + b"/"):
                self._numbers.pop(path, None)
                self._paths[number] = now + path[len(was) :]
                self._numbers[self._paths[number]] = number
        return b""

    def _link(self, node: int, body: bytes) -> bytes:
        name = body[8:].rstrip(b"\0")
        self._check_free(node, name)
        os.link(self._at(struct.unpack_from("=Q", body)[0]), self._below(node, name))
        return self._entry(node, name)

    def _open(self, node: int, body: bytes) -> bytes:
        flags = struct.unpack_from("=I", body)[0] & (os.O_ACCMODE | os.O_APPEND)
        return struct.pack("=QII", os.open(self._at(node), flags), 0, 0)

    def _create(self, node: int, body: bytes) -> bytes:
        flags, mode = struct.unpack_from("=II", body)
        name = body[16:].rstrip(b"\0")
        self._check_free(node, name)
        wanted = (flags & (os.O_ACCMODE | os.O_APPEND)) | os.O_CREAT | os.O_EXCL
        handle = os.open(self._below(node, name), wanted, stat.S_IMODE(mode))
        return self._entry(node, name) + struct.pack("=QII", handle, 0, 0)

    def _read(self, _: int, body: bytes) -> bytes:
        handle, offset, size = struct.unpack_from("=QQI", body)
        return os.pread(handle, size, offset)

    def _write(self, _: int, body: bytes) -> bytes:
        handle, offset, size = struct.unpack_from("=QQI", body)
        return struct.pack("=II", os.pwrite(handle, body[40 : 40 + size], offset), 0)

    def _release(self, _: int, body: bytes) -> bytes:
        os.close(struct.unpack_from("=Q", body)[0])
        return b""

    def _fsync(self, _: int, body: bytes) -> bytes:
        os.fsync(struct.unpack_from("=Q", body)[0])
        return b""

    def _opendir(self, _: int, __: bytes) -> bytes:
        return struct.pack("=QII", 0, _CACHE_DIR | _KEEP_CACHE if self._fold == "handles" else 0, 0)

    def _not_offered(self, _: int, __: bytes) -> bytes:
        raise OSError(errno.ENOSYS, "")

    def _nothing(self, _: int, __: bytes) -> bytes:
        return b""

    def _readdir(self, node: int, body: bytes) -> bytes:
        _, offset, size = struct.unpack_from("=QQI", body)
        found = b""
        for number, name in enumerate(sorted(os.listdir(self._at(node))), 1):
            entry = struct.pack("=QQII", 1 << 40, number, len(name), 0) + name
            entry += bytes(-len(entry) % 8)
            if number > offset and len(found) + len(entry) <= size:
                found += entry
            elif number > offset:
                break
        return found

    def _statfs(self, _: int, __: bytes) -> bytes:
        return struct.pack("=QQQQQIIII24x", 1 << 20, 1 << 19, 1 << 19, 0, 0, 4096, 255, 4096, 0)

    def _init(self, _: int, body: bytes) -> bytes:
        _, _, readahead, _ = struct.unpack_from("=IIII", body)
        return struct.pack("=IIIIHHIIHHI28x", 7, 31, readahead, 0, 0, 0, 1 << 16, 1, 32, 0, 0)


def main(lower: str, folder: str, fold: str) -> None:
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}".encode()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"passthrough", os.fsencode(folder), b"fuse.passthrough", 0, options):
        sys.exit(f"cannot mount: {os.strerror(ctypes.get_errno())}")
    os.write(1, b"mounted\n")
    Passthrough(os.fsencode(lower), fold).serve(device)


if __name__ == "__main__":
    main(*sys.argv[1:])
