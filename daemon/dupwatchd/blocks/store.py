"""Arrays of one shape for each picture (thumbnails, descriptors), in files of 4,096 slots, memory-mapped for reading.

The slot of a picture is its id. A slot counts only once a committed row of the database names it, so writing needs
no journal: `write`, then `sync`, then the transaction. What a killed run wrote without committing is overwritten.

One process writes: the one that holds the lock of the state directory. Within it one thread at a time writes, and any
number of threads read the same store meanwhile.
"""

import errno
import hashlib
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dupwatchd.arrays import Thumbnail
from dupwatchd.errors import DamagedStateError, StateError, UsageError
from dupwatchd.model import Decoded, PictureId

SLOTS_PER_BLOCK = 4096  # 12.6 MB at 32 px: big enough for few files, small enough to map, copy and mend
DIGEST_BYTES = 16
_MAPS = 64  # mapped at a time: each map holds a file descriptor


def thumbnail_store(folder: str, thumbnail_px: int) -> "BlockStore":
    """The thumbnails (S, S, 3) uint8, S = ``thumbnail_px``; all else about a picture can be made from its thumbnail."""
    return BlockStore(folder, "thumbnails", (thumbnail_px, thumbnail_px, 3), np.uint8)


def descriptor_store(folder: str, numbers: int) -> "BlockStore":
    """The descriptors (numbers,) float32, kept so that a start need not read all thumbnails."""
    return BlockStore(folder, "descriptors", (numbers,), np.float32)


def thumbnail_digest(thumbnail: Thumbnail) -> bytes:
    """16 bytes that identify a thumbnail: two files of the same digest show the same picture.

    It also serves as a checksum: SQLite and most file systems do not notice a flipped bit.
    """
    return hashlib.blake2b(thumbnail.tobytes(), digest_size=DIGEST_BYTES).digest()


def picture_digest(decoded: Decoded) -> bytes:
    """16 bytes that identify a picture: files of the same digest show the same frames, as far as the index can tell."""
    whole = hashlib.blake2b(decoded.thumbnail.tobytes(), digest_size=DIGEST_BYTES)
    if decoded.proof or decoded.frames_digest:  # without them it is the digest of the thumbnail
        from dupwatchd.pixels.proof import content_digest  # OpenCV takes a tenth of a second to load

        whole.update(content_digest(decoded.proof) + decoded.frames_digest)
    return whole.digest()


class BlockStore:
    """One array of the same shape and type for each picture of a state directory; any thread may read."""

    def __init__(self, folder: str, kind: str, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self._folder = folder
        self._kind = kind  # ending of the files' names
        self._shape = shape
        self._dtype = np.dtype(dtype)
        self._slot_bytes = int(np.prod(shape)) * self._dtype.itemsize
        self._maps: dict[int, NDArray[Any]] = {}  # by block; the one mapped first goes first
        self._maps_lock = threading.Lock()
        self._unsynced: set[int] = set()  # blocks; only the writing thread uses it

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
            with self._maps_lock:
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
        """The values (N, ...) of these slots, copied, in the order asked for.

        Raises DamagedStateError if a block is missing or too short, StateError if it cannot be read.
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
        # The size is taken and the map noted under one lock. Else a reader could note a map of the old size after the
        # writer has dropped the old maps, and everything written since would seem to be missing from then on.
        with self._maps_lock:
            mapped = self._maps.get(block)
            if mapped is None:
                mapped = self._mapped(self._path(block))
                while len(self._maps) >= _MAPS:
                    self._maps.pop(next(iter(self._maps)))
                self._maps[block] = mapped
            return mapped

    def _mapped(self, path: str) -> NDArray[Any]:
        try:
            slots = os.path.getsize(path) // self._slot_bytes
            return np.memmap(path, self._dtype, "r", shape=(slots, *self._shape))
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EISDIR):
                raise StateError(f"cannot read {path}: {error.strerror}") from error
            raise DamagedStateError(f"{path} is missing; run `dupwatchd check --repair`") from error
        except ValueError as error:  # the file is empty
            raise DamagedStateError(f"cannot read {path}: {error}; run `dupwatchd check --repair`") from error

    def _path(self, block: int) -> str:
        return os.path.join(self._folder, f"{block:06d}.{self._kind}")

    def _disk_errors(self) -> "_DiskErrors":
        return _DiskErrors(self._folder)


class ProofStore(Protocol):
    """The proofs of pictures: `db.proofs.Proofs`."""

    def write(self, proofs: Mapping[PictureId, bytes]) -> None:
        """Store the proofs of these pictures, durably."""

    def read(self, expected: Mapping[PictureId, bytes]) -> Iterable[tuple[PictureId, bytes]]:
        """The proofs of these pictures that have the expected digests."""

    def remove(self, picture_ids: Iterable[PictureId]) -> None:
        """Remove the proofs of pictures that are gone."""


@dataclass(frozen=True)
class Stores:
    """All stores of a state directory, beside the database."""

    thumbnails: BlockStore
    descriptors: BlockStore
    proofs: ProofStore


class _DiskErrors:
    """Turns an OSError into an error that names the folder and says what to do."""

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
    """Each block once, ascending, with the positions in ``slots`` that lie in it."""
    blocks: dict[int, list[int]] = {}
    for position, slot in enumerate(slots):
        blocks.setdefault(slot // SLOTS_PER_BLOCK, []).append(position)
    yield from sorted(blocks.items())
