"""Thumbnails in files of 4,096 slots each, memory-mapped for reading.

The slot of a picture is its id. A slot counts only once a committed row of the database names it, so writing needs
no journal: `write`, then `sync`, then the transaction. What a killed run wrote without committing is overwritten.
One process writes (it holds the lock of the state directory).
"""

import errno
import hashlib
import os
from collections.abc import Iterator

import numpy as np

from dupwatchd.arrays import Thumbnail, Thumbnails
from dupwatchd.errors import DamagedStateError, StateError, UsageError

SLOTS_PER_BLOCK = 4096  # 12.6 MB at 32 px: big enough for few files, small enough to map, copy and mend
DIGEST_BYTES = 16
_MAPS = 64


def thumbnail_digest(thumbnail: Thumbnail) -> bytes:
    """16 bytes that identify a thumbnail: two files of the same digest show the same picture.

    It is the checksum as well: SQLite and most file systems would not notice a flipped bit.
    """
    return hashlib.blake2b(thumbnail.tobytes(), digest_size=DIGEST_BYTES).digest()


class BlockStore:
    """The thumbnails of one state directory, S × S × 3 uint8 each."""

    def __init__(self, folder: str, thumbnail_px: int) -> None:
        self._folder = folder
        self._shape = (thumbnail_px, thumbnail_px, 3)
        self._slot_bytes = thumbnail_px * thumbnail_px * 3
        self._maps: dict[int, np.memmap[tuple[int, ...], np.dtype[np.uint8]]] = {}
        self._unsynced: set[int] = set()

    def write(self, slots: list[int], thumbnails: Thumbnails) -> None:
        """Put thumbnails (N, S, S, 3) into their slots; not durable before `sync`.

        Raises StateError when the disk is full, UsageError when it cannot be written.
        """
        for block, members in _by_block(slots):
            with (
                self._disk_errors(),
                open(os.open(self._path(block), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b") as file,
            ):
                for member in members:
                    offset = slots[member] % SLOTS_PER_BLOCK * self._slot_bytes
                    written = os.pwrite(file.fileno(), thumbnails[member].tobytes(), offset)
                    if written != self._slot_bytes:  # what a nearly full disk answers before it says ENOSPC
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._maps.pop(block, None)  # the file may have grown beyond the map
            self._unsynced.add(block)

    def sync(self) -> None:
        """Make all that was written durable, new files included."""
        if not self._unsynced:
            return
        with self._disk_errors():
            for path in (*map(self._path, self._unsynced), self._folder):
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
        self._unsynced.clear()

    def read(self, slots: list[int]) -> Thumbnails:
        """The thumbnails (N, S, S, 3) of these slots, copied.

        Raises DamagedStateError if a block is missing or too short.
        """
        thumbnails = np.empty((len(slots), *self._shape), np.uint8)
        for block, members in _by_block(slots):
            places = [slots[member] % SLOTS_PER_BLOCK for member in members]
            mapped = self._map(block)
            if max(places) >= len(mapped):
                raise DamagedStateError(f"{self._path(block)} is too short; run `dupwatchd check --repair`")
            thumbnails[members] = mapped[places]
        return thumbnails

    def _map(self, block: int) -> "np.memmap[tuple[int, ...], np.dtype[np.uint8]]":
        if block not in self._maps:
            path = self._path(block)
            try:
                slots = os.path.getsize(path) // self._slot_bytes
                while len(self._maps) >= _MAPS:  # each holds a file descriptor
                    self._maps.pop(next(iter(self._maps)))
                self._maps[block] = np.memmap(path, np.uint8, "r", shape=(slots, *self._shape))
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.EISDIR):
                    raise StateError(f"cannot read {path}: {error.strerror}") from error
                raise DamagedStateError(f"{path} is missing; run `dupwatchd check --repair`") from error
            except ValueError as error:  # the file is empty
                raise DamagedStateError(f"cannot read {path}: {error}; run `dupwatchd check --repair`") from error
        return self._maps[block]

    def _path(self, block: int) -> str:
        return os.path.join(self._folder, f"{block:06d}.thumbnails")

    def _disk_errors(self) -> "_DiskErrors":
        return _DiskErrors(self._folder)


class _DiskErrors:
    """Turns OSError into our errors, naming the folder."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, OSError):
            return
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StateError(
                f"no space left for {self._folder}: what was committed is safe; make room and run again"
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise UsageError(f"cannot write {self._folder}: {error.strerror}; check its rights") from error
        raise StateError(f"cannot write {self._folder}: {error.strerror}; check the disk and run again") from error


def _by_block(slots: list[int]) -> Iterator[tuple[int, list[int]]]:
    """(block, positions in ``slots``), so that each block is touched once."""
    blocks: dict[int, list[int]] = {}
    for position, slot in enumerate(slots):
        blocks.setdefault(slot // SLOTS_PER_BLOCK, []).append(position)
    yield from sorted(blocks.items())
