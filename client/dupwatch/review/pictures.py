"""Pictures for the page: previews that the service makes of bytes that we read, and the bytes themselves on demand.

In: the digest of a content that the index's groups hold. Out: a picture, or why there is none. Files are opened here,
with the rights of whoever started the page; links are not followed, and a file that is not as it was indexed is
refused: its digest would no longer be true.

Previews are kept in `$XDG_CACHE_HOME/dupwatch/previews`, readable by their owner only, by digest and size. The folder
stays below CACHE_BYTES: what was used longest ago goes first. A folder that is a link, or that others can write to, is
not used: they could show another picture than the one that is decided on. What is not called like a preview is never
removed. They are not synced, which would take longer than to make them; so each has a checksum behind it, and what a
power cut or a bad disk has left of one is made again.
"""

import hashlib
import os
import re
import stat
import tempfile
import threading
from io import FileIO
from typing import NamedTuple

from dupwatch.client import Client
from dupwatch.errors import ClientError
from dupwatch.review.library import HeldFile
from dupwatch.sending import Kind, preview_stream, suffix_of

SIZES_PX = (160, 320, 1024, 2048)  # longest sides; a few sizes only, so that the cache is found again
SMALL_PX = 160  # up to here WebP, which is half as large; above it takes too long to make
CACHE_BYTES = 512 << 20
FULL_BYTES_MAX = 256 << 20  # of a file that is sent to the browser as it is
_CHECKSUM_BYTES = 16  # behind each preview that is kept
_NAME = re.compile(r"[0-9a-f]{64}-[0-9]+(-[0-9]+)?(\.[a-z0-9_]+)?")  # of a preview, and of one that is being written
# What browsers show by themselves, by the first bytes of a file; never SVG or HTML, whatever a file is called.
_SHOWN: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"GIF8", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (4, b"ftypavif", "image/avif"),
)


class NoPictureError(Exception):
    """There is no picture of a content, and why, for a person."""


class Picture(NamedTuple):
    """The bytes of a picture, and their type as in HTTP."""

    data: bytes
    type: str


def opened(file: HeldFile) -> FileIO:
    """Open a file as it was indexed; raises NoPictureError if it cannot be read, or has changed since."""
    try:
        descriptor = os.open(file.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise NoPictureError(f"the file cannot be opened: {error.strerror}") from None
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or (found.st_size, found.st_mtime_ns) != (file.bytes, file.mtime_ns):
        os.close(descriptor)
        raise NoPictureError("the file has changed since it was indexed")
    return FileIO(descriptor, "rb")


def full_picture(files: list[HeldFile]) -> Picture | None:
    """Return the bytes of a file if browsers show its format by themselves, else None; raises NoPictureError."""
    with _first_opened(files)[0] as stream:
        head = stream.read(16)
        for place, mark, kind in _SHOWN:
            if head[place : place + len(mark)] == mark and files[0].bytes <= FULL_BYTES_MAX:
                stream.seek(0)
                with os.fdopen(os.dup(stream.fileno()), "rb") as whole:
                    return Picture(whole.read(), kind)
    return None


class Previews:
    """Makes previews and keeps them; made for several threads."""

    def __init__(self, folder: str, cache_bytes: int = CACHE_BYTES) -> None:
        self._folder = folder
        self._cache_bytes = cache_bytes
        self._lock = threading.Lock()
        self._held_bytes: int | None = None  # unknown until something is kept

    def picture(self, client: Client, files: list[HeldFile], px: int, frame: int | None) -> Picture:
        """Return a preview of one content, of at most ``px`` on its longest side; raises NoPictureError.

        Without ``frame`` it shows the frame or page that stands for the file.
        """
        place = self._place(files[0].digest, px, frame)
        kept = _kept(place) if self._is_own() else None
        if kept is not None:
            return kept
        stream, file = _first_opened(files)
        with stream:
            try:
                kind: Kind = "webp" if px <= SMALL_PX else "jpeg"
                made = preview_stream(client, stream, suffix_of(file.path), px, frame, kind)
            except ClientError as error:
                raise NoPictureError(str(error)) from None
            except OSError as error:
                raise NoPictureError(error.strerror or str(error)) from None
        picture = Picture(made["data"], made["type"])
        self._keep(place, picture.data)
        return picture

    def _place(self, digest: bytes, px: int, frame: int | None) -> str:
        name = digest.hex()
        return os.path.join(self._folder, name[:2], f"{name}-{px}" if frame is None else f"{name}-{px}-{frame}")

    def _is_own(self) -> bool:
        """Return whether the folder is one to which nobody but its user can write."""
        try:
            status = os.lstat(self._folder)
        except OSError:
            return False
        return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022

    def _keep(self, place: str, data: bytes) -> None:
        """Write a preview as a whole or not at all; a full disk only means that it is made again."""
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            if not self._is_own():
                return
            os.makedirs(os.path.dirname(place), mode=0o700, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(place), prefix=f"{os.path.basename(place)}.")
            with open(descriptor, "wb") as file:
                file.write(data + _checksum(data))
            os.rename(temporary, place)
        except OSError:
            return
        with self._lock:
            if self._held_bytes is None:
                self._held_bytes = sum(size for _, size, _ in self._held())
            else:
                self._held_bytes += len(data) + _CHECKSUM_BYTES
            if self._held_bytes > self._cache_bytes:
                self._make_room()

    def _make_room(self) -> None:
        """Remove what was used longest ago until a tenth is free."""
        held = sorted(self._held())
        total = sum(size for _, size, _ in held)
        for _, size, path in held:
            if total <= self._cache_bytes * 0.9:
                break
            try:
                os.unlink(path)
            except FileNotFoundError:
                pass  # another page of the same person makes room as well
            total -= size
        self._held_bytes = total

    def _held(self) -> list[tuple[float, int, str]]:
        """Return when each file of the cache was last used, its bytes and its path."""
        held = []
        for folder, _, names in os.walk(self._folder):
            for name in filter(_NAME.fullmatch, names):
                path = os.path.join(folder, name)
                try:
                    found = os.lstat(path)
                except FileNotFoundError:
                    continue
                held.append((found.st_mtime, found.st_size, path))
        return held


def _kept(place: str) -> Picture | None:
    try:
        with open(place, "rb") as file:
            held = file.read()
        os.utime(place)
    except OSError:
        return None
    data = held[:-_CHECKSUM_BYTES]
    if held[len(data) :] != _checksum(data):
        return None
    return Picture(data, "image/jpeg" if data.startswith(b"\xff\xd8") else "image/webp")


def _checksum(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_CHECKSUM_BYTES).digest()


def _first_opened(files: list[HeldFile]) -> tuple[FileIO, HeldFile]:
    """Open the first of the files of one content that can be read; raises NoPictureError of the last."""
    for file in files[:-1]:
        try:
            return opened(file), file
        except NoPictureError:
            continue
    return opened(files[-1]), files[-1]
