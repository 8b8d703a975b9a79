"""A real database and real files, taken in by a pool that reads files itself instead of asking processes."""

import hashlib
import os
from collections.abc import Callable, Generator, Iterable
from pathlib import Path

import numpy as np

from dupwatchd.blocks.store import Stores, descriptor_store, thumbnail_store
from dupwatchd.compare.dense.device import open_device
from dupwatchd.compare.measures.descriptors import NUMBERS
from dupwatchd.compare.measures.exact import ReadThumbnails
from dupwatchd.compare.search import Search
from dupwatchd.db.connection import Database, open_database
from dupwatchd.model import Decoded, Job, Limits, Outcome, Progress, ReadStatus, Stamp
from dupwatchd.update.intake import CommittedBatch, Intake
from dupwatchd.update.pipeline import IntakeOnDemand
from dupwatchd.watch.walk import WalkRules

RULES = WalkRules(frozenset([b".jpg"]), ("ignored*",))
LIMITS = Limits(25.0, 0.02, mirrored=False)
_SIDE = 32


class FilePool:
    """Reads files in the caller's own thread. The bytes are the picture: equal first words show equal pictures.

    A file that begins with `damaged` cannot be decoded.
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
            digest = hashlib.blake2b(data, digest_size=32).digest()
            if known(job, digest):
                yield Outcome(job, ReadStatus.KNOWN, stamp, digest)
            elif data.startswith(b"damaged"):
                yield Outcome(job, ReadStatus.FAILED, stamp, digest, error="damaged")
            else:
                yield Outcome(job, ReadStatus.DECODED, stamp, digest, Decoded(_thumbnail(data), 400, 300, "JPEG"))


def _thumbnail(data: bytes) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    seed = int.from_bytes(hashlib.blake2b(data.partition(b" ")[0], digest_size=8).digest())
    return np.random.default_rng(seed).integers(0, 256, (_SIDE, _SIDE, 3), np.uint8)


class Silent:
    """Progress that nobody reads."""

    def stage(self, description: str, total: int | None) -> None: ...
    def advance(self, steps: int) -> None: ...


def new_database(state: Path) -> Database:
    (state / "blocks").mkdir(parents=True)
    return open_database(str(state))


def intake_on_demand(
    database: Database,
    state: Path,
    pool: FilePool,
    progress: Progress | None = None,
    announce: Callable[[CommittedBatch], None] = lambda _: None,
) -> IntakeOnDemand:
    blocks = str(state / "blocks")
    stores = Stores(thumbnail_store(blocks, _SIDE), descriptor_store(blocks, NUMBERS))

    def open_search(limits: Limits, read_thumbnails: ReadThumbnails) -> Search:
        return Search(limits, read_thumbnails, None, open_device("cpu"), on_device=False)

    return IntakeOnDemand(
        lambda: Intake(database, stores, pool, LIMITS, open_search, progress or Silent(), 1, announce)
    )


def write(path: Path, data: bytes = b"picture") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def known_paths(database: Database) -> set[bytes]:
    """All files of the index."""
    rows = database.rows("SELECT path, name FROM file JOIN folder ON folder.id = folder_id")
    return {folder + b"/" + name for folder, name in rows}
