"""Arrays of one shape for each picture (thumbnails, descriptors), in files of 4,096 slots.

The slot of a picture is its id. A slot counts only once a committed row of the database names it, so writing needs
no journal: `write`, then `sync`, then the transaction. What a killed run wrote without committing is overwritten.

Files can be cut, emptied or overwritten by a broken disk, a repaired file system or a restored backup. So they are read
with `pread`, which reports a file that is too short (reading a memory map would end the process by SIGBUS), a block is
never written beyond its end (the gap would read as zeros, which look like a thumbnail), and what decides something is
compared with a checksum: `CheckedThumbnails` and `DescriptorStore`.

One process writes: the one that holds the lock of the state directory. Within it one thread at a time writes, and any
number of threads read the same store meanwhile.
"""

import errno
import hashlib
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dupwatchd.arrays import Thumbnail, Thumbnails
from dupwatchd.errors import DamagedBlocksError, StateError, UsageError
from dupwatchd.model import Decoded, PictureId

SLOTS_PER_BLOCK = 4096  # 12.6 MB at 32 px: big enough for few files, small enough to copy and mend
DIGEST_BYTES = 16
_CHECKED_BYTES = 8  # of a digest: no accident changes a thumbnail into another one that agrees in so many

Digests = NDArray[np.uint64]  # (N,) the first 8 bytes of the digests of thumbnails, as numbers


def thumbnail_store(folder: str, thumbnail_px: int) -> "BlockStore":
    """The thumbnails (S, S, 3) uint8, S = ``thumbnail_px``; all else about a picture can be made from its thumbnail."""
    return BlockStore(folder, "thumbnails", (thumbnail_px, thumbnail_px, 3), np.uint8)


def thumbnail_digest(thumbnail: Thumbnail) -> bytes:
    """16 bytes that identify a thumbnail: two files of the same digest show the same picture.

    It also serves as a checksum: SQLite and most file systems do not notice a flipped bit.
    """
    return hashlib.blake2b(thumbnail.tobytes(), digest_size=DIGEST_BYTES).digest()


def as_digests(digests: Iterable[bytes]) -> Digests:
    """What `CheckedThumbnails` and `DescriptorStore` take of the digests of thumbnails."""
    return np.frombuffer(b"".join(digest[:_CHECKED_BYTES] for digest in digests), np.uint64)


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
        self._unsynced: set[int] = set()  # blocks; only the writing thread uses it

    def write(self, slots: Sequence[int], values: NDArray[Any]) -> None:
        """Put values (N, ...) into their slots; not durable before `sync`.

        Raises StateError when the disk is full, UsageError when it cannot be written, DamagedBlocksError if slots
        before one of these are missing from its file.
        """
        values = np.asarray(values, self._dtype)
        for block, members in _by_block(slots):
            self._unsynced.add(block)
            with self._disk_errors(), self._open_to_write(block) as descriptor:
                end = os.fstat(descriptor).st_size
                for member in sorted(members, key=slots.__getitem__):
                    offset = slots[member] % SLOTS_PER_BLOCK * self._slot_bytes
                    if offset > end:
                        raise self._damaged(block, "is too short")
                    written = os.pwrite(descriptor, values[member].tobytes(), offset)
                    if written != self._slot_bytes:  # what a nearly full disk answers before it says ENOSPC
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    end = max(end, offset + written)

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

        Raises DamagedBlocksError if a block is missing or too short, StateError if it cannot be read.
        """
        values = np.empty((len(slots), *self._shape), self._dtype)
        if not len(slots):
            return values
        target = memoryview(values.reshape(-1).view(np.uint8).data)
        for block, members in _by_block(slots):
            with self._open_to_read(block) as descriptor:
                for member, count in _runs(members, slots):
                    room = target[member * self._slot_bytes : (member + count) * self._slot_bytes]
                    if not self._fill_from(descriptor, room, slots[member] % SLOTS_PER_BLOCK * self._slot_bytes):
                        raise self._damaged(block, "is too short")
        return values

    def is_cut_short(self, slot_count: int) -> bool:
        """Whether any of the first ``slot_count`` slots lies beyond the end of its file; costs one `stat` a block."""
        return any(self._size(block) < needed for block, needed in self._needed(slot_count))

    def extend(self, slot_count: int) -> None:
        """Let all files have the size that so many slots need; what is new holds zeros. Raises as `write`."""
        for block, needed in self._needed(slot_count):
            if self._size(block) < needed:
                self._unsynced.add(block)
                with self._disk_errors(), self._open_to_write(block) as descriptor:
                    os.ftruncate(descriptor, needed)

    def _needed(self, slot_count: int) -> Iterator[tuple[int, int]]:
        """Each block of the first so many slots, and how many bytes it must have at least."""
        for first in range(0, slot_count, SLOTS_PER_BLOCK):
            yield first // SLOTS_PER_BLOCK, min(SLOTS_PER_BLOCK, slot_count - first) * self._slot_bytes

    def _size(self, block: int) -> int:
        try:
            return os.stat(self._path(block)).st_size
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise StateError(f"cannot read {self._path(block)}: {error.strerror}") from error

    def _fill_from(self, descriptor: int, room: memoryview, offset: int) -> bool:
        """Read exactly so much from there; False if the file ends before."""
        while len(room):
            count = os.preadv(descriptor, [room], offset)
            if not count:
                return False
            room, offset = room[count:], offset + count
        return True

    @contextmanager
    def _open_to_write(self, block: int) -> Iterator[int]:
        descriptor = os.open(self._path(block), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def _open_to_read(self, block: int) -> Iterator[int]:
        # Opened for each reading (8 µs): so a file that was replaced, or has grown, is never taken for the old one.
        try:
            descriptor = os.open(self._path(block), os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            if error.errno == errno.ENOENT:
                raise self._damaged(block, "is missing") from error
            raise StateError(f"cannot read {self._path(block)}: {error.strerror}") from error
        try:
            yield descriptor
        except OSError as error:
            if error.errno == errno.EISDIR:
                raise self._damaged(block, "is a folder") from error
            raise StateError(f"cannot read {self._path(block)}: {error.strerror}; check the disk") from error
        finally:
            os.close(descriptor)

    def _damaged(self, block: int, what: str) -> DamagedBlocksError:
        return DamagedBlocksError(f"{self._path(block)} {what}; run `dupwatchd check --repair`")

    def _path(self, block: int) -> str:
        return os.path.join(self._folder, f"{block:06d}.{self._kind}")

    def _disk_errors(self) -> "_DiskErrors":
        return _DiskErrors(self._folder)


class CheckedThumbnails:
    """Reads thumbnails and compares each with the digest that the database has of it."""

    def __init__(self, store: BlockStore, digests_of: Callable[[Sequence[int]], Digests]) -> None:
        """``digests_of`` gives the digests of pictures, in the order asked for."""
        self._store = store
        self._digests_of = digests_of

    def read(self, slots: Sequence[int]) -> Thumbnails:
        """The thumbnails (N, S, S, 3) of these pictures.

        Raises DamagedBlocksError if one is not what it was when the picture was stored, StateError.
        """
        thumbnails = self._store.read(slots)
        found = as_digests(map(thumbnail_digest, thumbnails))
        wrong = np.flatnonzero(found != self._digests_of(slots))
        if len(wrong):
            raise DamagedBlocksError(
                f"the thumbnail of picture {slots[wrong[0]]} is damaged; run `dupwatchd check --repair`"
            )
        return thumbnails


class DescriptorStore:
    """The descriptors (numbers,) float32 of pictures, kept so that a start need not read all thumbnails.

    Each has a checksum beside it, which also covers the digest of the thumbnail that it was made from: a descriptor
    that is damaged, or was left there by another picture, would rule out matches without a word.
    """

    def __init__(self, folder: str, numbers: int) -> None:
        self._store = BlockStore(folder, "descriptors", (numbers + 1,), np.float32)

    def write(self, slots: Sequence[int], descriptors: NDArray[np.float32], digests: Digests) -> None:
        """Put descriptors (N, numbers) into their slots, with the digests of their thumbnails. Raises StateError."""
        self._store.extend(max(slots, default=-1) + 1)  # what is missing before is not sound, and will be noticed
        sums = _checksums(descriptors, digests).view(np.float32)
        self._store.write(slots, np.concatenate([descriptors, sums[:, None]], axis=1, dtype=np.float32))

    def sync(self) -> None:
        """Make all that was written durable."""
        self._store.sync()

    def read(self, slots: Sequence[int], digests: Digests) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """The descriptors (N, numbers) of these slots, and which of them are sound (N,). Raises StateError."""
        try:
            stored = self._store.read(slots)
        except DamagedBlocksError:
            stored = np.concatenate([self._read_one(slot) for slot in slots])
        descriptors, sums = np.ascontiguousarray(stored[:, :-1]), stored[:, -1].view(np.uint32)
        return descriptors, _checksums(descriptors, digests) == sums

    def _read_one(self, slot: int) -> NDArray[np.float32]:
        try:
            return self._store.read([slot])
        except DamagedBlocksError:
            return np.full_like(self._store.read([]), np.nan, shape=(1, *self._store.read([]).shape[1:]))


def _checksums(descriptors: NDArray[np.float32], digests: Digests) -> NDArray[np.uint32]:
    starts = (digests & np.uint64(0xFFFFFFFF)).tolist()
    rows = np.ascontiguousarray(descriptors, np.float32)
    return np.fromiter(map(zlib.crc32, rows, starts), np.uint32, len(rows))


class ProofStore(Protocol):
    """The proofs of pictures: `db.proofs.Proofs`."""

    def write(self, proofs: Mapping[PictureId, bytes]) -> None:
        """Store the proofs of these pictures, durably."""

    def read(self, expected: Mapping[PictureId, bytes]) -> Iterable[tuple[PictureId, bytes]]:
        """The proofs of these pictures that have the expected digests."""

    def write_keypoints(self, keypoints: Mapping[PictureId, tuple[bytes, bytes]]) -> None:
        """Store digests of proofs and the keypoints made from these, durably."""

    def read_keypoints(self, expected: Mapping[PictureId, bytes]) -> Iterable[tuple[PictureId, bytes]]:
        """The keypoints of these pictures, in order, that were made from proofs of the expected digests."""

    def read_some_keypoints(self, expected: Mapping[PictureId, bytes]) -> Iterable[tuple[PictureId, bytes]]:
        """Likewise, of few pictures that may lie far apart; in no order."""

    def remove(self, picture_ids: Iterable[PictureId]) -> None:
        """Remove the proofs and keypoints of pictures that are gone."""


@dataclass(frozen=True)
class Stores:
    """All stores of a state directory, beside the database."""

    thumbnails: BlockStore
    descriptors: DescriptorStore
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


def _runs(members: list[int], slots: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The positions ``members`` in ``slots``, divided into stretches whose slots follow each other: (first, count)."""
    first = previous = members[0]
    for member in members[1:]:
        if member != previous + 1 or slots[member] != slots[previous] + 1:
            yield first, previous + 1 - first
            first = member
        previous = member
    yield first, previous + 1 - first
