"""What is kept of each picture, in files of 4,096 slots each, memory-mapped for reading: thumbnails, descriptors.

The slot of a picture is its id. A slot counts only once a committed row of the database names it, so writing needs
no journal: `write`, then `sync`, then the transaction. What a killed run wrote without committing is overwritten.
One process writes (it holds the lock of the state directory).
"""

import errno
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dupwatchd.arrays import Thumbnail
from dupwatchd.errors import DamagedStateError, StateError, UsageError

SLOTS_PER_BLOCK = 4096  # 12.6 MB at 32 px: big enough for few files, small enough to map, copy and mend
DIGEST_BYTES = 16
_MAPS = 64


def thumbnail_store(folder: str, thumbnail_px: int) -> "BlockStore":
    """The thumbnails (S, S, 3) uint8; what everything else about a picture can be made from."""
    return BlockStore(folder, "thumbnails", (thumbnail_px, thumbnail_px, 3), np.uint8)


def descriptor_store(folder: str, numbers: int) -> "BlockStore":
    """The descriptors (numbers,) float32, kept so that starting need not read all thumbnails."""
    return BlockStore(folder, "descriptors", (numbers,), np.float32)


def thumbnail_digest(thumbnail: Thumbnail) -> bytes:
    """16 bytes that identify a thumbnail: two files of the same digest show the same picture.

    It is the checksum as well: SQLite and most file systems would not notice a flipped bit.
    """
    return hashlib.blake2b(thumbnail.tobytes(), digest_size=DIGEST_BYTES).digest()


class BlockStore:
    """One array of the same shape and type for each picture of a state directory."""

    def __init__(self, folder: str, kind: str, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self._folder = folder
        self._kind = kind  # ending of the files' names
        self._shape = shape
        self._dtype = np.dtype(dtype)
        self._slot_bytes = int(np.prod(shape)) * self._dtype.itemsize
        self._maps: dict[int, NDArray[Any]] = {}
        self._unsynced: set[int] = set()

    def write(self, slots: Sequence[int], values: NDArray[Any]) -> None:
        """Put values (N, ...) into their slots; not durable before `sync`.

        Raises StateError when the disk is full, UsageError when it cannot be written.
        """
        values = np.asarray(values, self._dtype)
        for block, members in _by_block(slots):
            with (
                self._disk_errors(),
                open(os.open(self._path(block), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b") as file,
            ):
                for member in members:
                    offset = slots[member] % SLOTS_PER_BLOCK * self._slot_bytes
                    written = os.pwrite(file.fileno(), values[member].tobytes(), offset)
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

    def read(self, slots: Sequence[int]) -> NDArray[Any]:
        """The values (N, ...) of these slots, copied.

        Raises DamagedStateError if a block is missing or too short.
        """
        values = np.empty((len(slots), *self._shape), self._dtype)
        for block, members in _by_block(slots):
            places = [slots[member] % SLOTS_PER_BLOCK for member in members]
            mapped = self._map(block)
            if max(places) >= len(mapped):
                raise DamagedStateError(f"{self._path(block)} is too short; run `dupwatchd check --repair`")
            values[members] = mapped[places]
        return values

    def _map(self, block: int) -> NDArray[Any]:
        if block not in self._maps:
            path = self._path(block)
            try:
                slots = os.path.getsize(path) // self._slot_bytes
                while len(self._maps) >= _MAPS:  # each holds a file descriptor
                    self._maps.pop(next(iter(self._maps)))
                self._maps[block] = np.memmap(path, self._dtype, "r", shape=(slots, *self._shape))
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.EISDIR):
                    raise StateError(f"cannot read {path}: {error.strerror}") from error
                raise DamagedStateError(f"{path} is missing; run `dupwatchd check --repair`") from error
            except ValueError as error:  # the file is empty
                raise DamagedStateError(f"cannot read {path}: {error}; run `dupwatchd check --repair`") from error
        return self._maps[block]

    def _path(self, block: int) -> str:
        return os.path.join(self._folder, f"{block:06d}.{self._kind}")

    def _disk_errors(self) -> "_DiskErrors":
        return _DiskErrors(self._folder)


@dataclass(frozen=True)
class Stores:
    """What is kept of each picture beside the database."""

    thumbnails: BlockStore
    descriptors: BlockStore


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


def _by_block(slots: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
    """(block, positions in ``slots``), so that each block is touched once."""
    blocks: dict[int, list[int]] = {}
    for position, slot in enumerate(slots):
        blocks.setdefault(slot // SLOTS_PER_BLOCK, []).append(position)
    yield from sorted(blocks.items())
