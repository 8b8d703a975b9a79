"""A real database and real files, taken in by a pool that reads files itself instead of asking processes."""

import functools
import hashlib
import io
import os
from collections.abc import Callable, Generator, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from dupwatchd.blocks.store import DescriptorStore, Stores, thumbnail_store
from dupwatchd.compare.dense.device import open_device
from dupwatchd.compare.measures.descriptors import NUMBERS
from dupwatchd.compare.measures.exact import ReadThumbnails
from dupwatchd.compare.search import Search
from dupwatchd.db.connection import Database, open_database
from dupwatchd.db.proofs import Proofs
from dupwatchd.index.all_pixels import digest_of_all
from dupwatchd.index.decode import decode, decode_detail
from dupwatchd.index.limits import DecodeLimits
from dupwatchd.index.messages import AllPixels, Detail, Looked, NotRead, PixelsRead
from dupwatchd.index.thumbnail import average, to_bytes
from dupwatchd.model import KIND_BYTES, PIXELS_BYTES, Decoded, Job, Limits, Outcome, Progress, ReadStatus, Stamp
from dupwatchd.pixels.proof import make_proof
from dupwatchd.suffixes import suffix
from dupwatchd.update.intake import CommittedBatch, Intake, Pool
from dupwatchd.update.pipeline import IntakeOnDemand
from dupwatchd.watch.walk import WalkRules

RULES = WalkRules(frozenset([b".jpg"]), ("ignored*",))
LIMITS = Limits(25.0, 0.02, mirrored=False, looks_per_picture=3)
_SIDE = 32


class FilePool:
    """Reads files in the caller's own thread. The bytes are the picture: equal first words show equal pictures.

    They show noise, so that no two of them match. A file that begins with `damaged` cannot be decoded.
    """

    def __init__(self) -> None:
        self.read: list[bytes] = []  # the paths that were read, in order

    def index(self, jobs: Iterable[Job], known: Callable[[Job, bytes], bool]) -> Generator[Outcome, None, None]:
        for job in jobs:
            self.read.append(job.path)
            try:
                with open(job.path, "rb") as file:
                    data, status = file.read(), os.fstat(file.fileno())
            except FileNotFoundError:
                yield Outcome(job, ReadStatus.VANISHED)
                continue
            stamp = Stamp(status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino)
            digest = _digest(data)
            if known(job, digest):
                yield Outcome(job, ReadStatus.KNOWN, stamp, digest)
            elif data.startswith(b"damaged"):
                yield Outcome(job, ReadStatus.FAILED, stamp, digest, error="damaged")
            else:
                yield Outcome(job, ReadStatus.DECODED, stamp, digest, self.decoded(data))

    def decoded(self, data: bytes) -> Decoded:
        thumbnail = _thumbnail(data)
        return Decoded(thumbnail, 400, 300, "JPEG", proof=make_proof(thumbnail).to_bytes())

    def detail(self, path: bytes, most_px: int, digest: bytes | None = None) -> Looked:
        """As `WorkerPool.detail`."""
        data = _read(path, digest)
        return data if isinstance(data, NotRead) else self.looked(path, data, most_px)

    def pixels(self, path: bytes, digest: bytes | None = None) -> PixelsRead:
        """As `WorkerPool.pixels`."""
        data = _read(path, digest)
        return data if isinstance(data, NotRead) else AllPixels(self.all_pixels(data), _digest(data))

    def all_pixels(self, data: bytes) -> bytes:
        """Files that show one picture here are equal in their first words only."""
        return bytes(KIND_BYTES) + hashlib.blake2b(data, digest_size=PIXELS_BYTES - KIND_BYTES).digest()

    def looked(self, path: bytes, data: bytes, most_px: int) -> Detail:
        return Detail(_thumbnail(data))


class PhotoPool(FilePool):
    """Decodes real pictures in the caller's own thread, with their proofs while ``with_proofs`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.with_proofs = True
        self.looked_at: list[bytes] = []  # the paths whose pixels were asked for, in order

    def detail(self, path: bytes, most_px: int, digest: bytes | None = None) -> Looked:
        self.looked_at.append(path)
        return super().detail(path, most_px, digest)

    def looked(self, path: bytes, data: bytes, most_px: int) -> Detail:
        return decode_detail(data, most_px, DecodeLimits(), suffix(path))

    def pixels(self, path: bytes, digest: bytes | None = None) -> PixelsRead:
        self.looked_at.append(path)
        return super().pixels(path, digest)

    def all_pixels(self, data: bytes) -> bytes:
        return digest_of_all(data, DecodeLimits(), b".jpg")

    def decoded(self, data: bytes) -> Decoded:
        found = _decoded_photo(data)
        return found if self.with_proofs else replace(found, proof=b"")


@functools.lru_cache(maxsize=100)  # what is interrupted at every step reads the same few photos again each time
def _decoded_photo(data: bytes) -> Decoded:
    found = decode(data, _SIDE, DecodeLimits(), b".jpg")
    rgb = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    thumbnail = to_bytes(average(rgb, found.width, found.height, _SIDE))
    thumbnail.setflags(write=False)
    return replace(found, thumbnail=thumbnail, proof=make_proof(rgb).to_bytes())


def _read(path: bytes, digest: bytes | None) -> bytes | NotRead:
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return NotRead(ReadStatus.VANISHED, None)
    return data if digest in (None, _digest(data)) else NotRead(ReadStatus.CHANGED, None)


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=32).digest()


def _thumbnail(data: bytes) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    seed = int.from_bytes(hashlib.blake2b(data.partition(b" ")[0], digest_size=8).digest())
    return np.random.default_rng(seed).integers(0, 256, (_SIDE, _SIDE, 3), np.uint8)


class Silent:
    """Progress that nobody reads."""

    def stage(self, description: str, total: int | None, unit: str = "files") -> None: ...
    def advance(self, steps: int) -> None: ...


def new_database(state: Path) -> Database:
    (state / "blocks").mkdir(parents=True, exist_ok=True)
    return open_database(str(state))


def intake_on_demand(
    database: Database,
    state: Path,
    pool: Pool,
    progress: Progress | None = None,
    announce: Callable[[CommittedBatch], None] = lambda _: None,
    *,
    frames: bool = True,
) -> IntakeOnDemand:
    blocks = str(state / "blocks")
    stores = Stores(thumbnail_store(blocks, _SIDE), DescriptorStore(blocks, NUMBERS), Proofs(str(state)))

    def open_search(limits: Limits, read_thumbnails: ReadThumbnails) -> Search:
        return Search(limits, read_thumbnails, None, open_device("cpu"), on_device=False)

    return IntakeOnDemand(
        lambda: Intake(database, stores, pool, LIMITS, open_search, progress or Silent(), 1, announce, frames=frames)
    )


def write(path: Path, data: bytes = b"picture") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def known_paths(database: Database) -> set[bytes]:
    """All files of the index."""
    rows = database.rows("SELECT path, name FROM file JOIN folder ON folder.id = folder_id")
    return {folder + b"/" + name for folder, name in rows}
