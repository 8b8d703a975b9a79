"""What both forms of the program, `scan` and `run`, are put together from; everything that needs numpy comes late."""

import errno
import fcntl
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from dupwatchd.db import facts, files, pictures
from dupwatchd.db.answers import Copy
from dupwatchd.db.connection import Database
from dupwatchd.errors import StateError, UsageError
from dupwatchd.model import Limits
from dupwatchd.paths import outermost
from dupwatchd.serve.clusters import Measured, Pair
from dupwatchd.settings import Settings
from dupwatchd.suffixes import IMAGE_SUFFIXES, RAW_SUFFIXES
from dupwatchd.watch.ignore import DEFAULT_IGNORE
from dupwatchd.watch.walk import WalkRules

if TYPE_CHECKING:
    from dupwatchd.blocks.store import BlockStore, Stores
    from dupwatchd.compare.measures import ReadThumbnails
    from dupwatchd.compare.own import OwnMeasure
    from dupwatchd.compare.search import Search
    from dupwatchd.index.pool import WorkerPool
    from dupwatchd.intake import OpenSearch

_DECODERS = ("pillow", "pillow-heif", "pillow-jxl-plugin", "rawpy", "simplejpeg", "dupwatch")


def limits_of(settings: Settings) -> Limits:
    """What counts as a match."""
    compare = settings.compare
    own = (compare.measure, compare.kept or 0.0) if compare.is_own else ("", 0.0)
    return Limits(compare.keep_mse, compare.keep_structure, compare.mirrored, *own)


def resolve_roots(folders: Sequence[bytes]) -> list[bytes]:
    """Absolute, resolved roots, without those inside another; raises UsageError for what is no folder."""
    for folder in folders:
        if not os.path.lexists(folder):
            raise UsageError(f"no such folder: {os.fsdecode(folder)}")
        if not os.path.isdir(folder):
            what = "a file" if os.path.isfile(folder) else "no folder"
            raise UsageError(f"{os.fsdecode(folder)} is {what}; name the folder it lies in")
    return outermost(os.path.realpath(folder) for folder in folders)


@contextmanager
def locked_state(path: str) -> Iterator[str]:
    """Make the state directory if need be and hold its lock; gives its resolved path.

    The lock goes with the process, however it ends.
    """
    state = os.path.realpath(path)
    try:
        os.makedirs(state, mode=0o700, exist_ok=True)
        os.makedirs(os.path.join(state, "blocks"), mode=0o700, exist_ok=True)
        lock = os.open(os.path.join(state, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StateError(f"no space left for the state directory {state}; make room and run again") from error
        raise UsageError(
            f"cannot use the state directory {state}: {error.strerror}; name another with --state"
        ) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = bytes(byte for byte in os.pread(lock, 20, 0) if byte in b"0123456789").decode()
            raise StateError(
                f"the state directory {state} is in use by process {owner or '?'}; "
                "wait for it, or name another with --state"
            ) from None
        try:
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        except OSError:
            pass  # the number is a courtesy; a full disk is reported by who needs the room
        yield state
    finally:
        os.close(lock)


def thumbnail_px_of(database: Database, settings: Settings) -> int:
    """The side of the thumbnails of a state directory, which its first picture fixed."""
    wanted = settings.index.thumbnail_px
    side = facts.read(database).get("thumbnail_px")
    if side is None or (side != wanted and not pictures.exist(database)):
        facts.write(database, {"thumbnail_px": wanted})
        return wanted
    if side != wanted:
        raise UsageError(
            f"setting index.thumbnail_px is {wanted}, but {database.path} is made with thumbnails of {side} px; "
            "set it back, or name another --state"
        )
    return int(side)


def thumbnails_of(state: str, side: int) -> "BlockStore":
    """The thumbnails of a state directory."""
    from dupwatchd.blocks.store import thumbnail_store

    return thumbnail_store(os.path.join(state, "blocks"), side)


def stores_of(state: str, side: int) -> "Stores":
    """All that is kept beside the database of a state directory."""
    from dupwatchd.blocks.store import Stores, descriptor_store
    from dupwatchd.compare.descriptors import NUMBERS

    return Stores(thumbnails_of(state, side), descriptor_store(os.path.join(state, "blocks"), NUMBERS))


def search_opener(settings: Settings, side: int) -> "OpenSearch":
    """Makes what compares, as the settings say."""
    compare = settings.compare

    def open_search(limits: Limits, read_thumbnails: "ReadThumbnails") -> "Search":
        from dupwatchd.compare.device import open_device
        from dupwatchd.compare.own import load_own
        from dupwatchd.compare.search import Search

        own = load_own(limits.own, side) if limits.own else None
        # for our own measures the index is faster than any GPU: it takes part when it is asked for, or for the user's
        wanted = compare.device if own or compare.device == "cuda" else "cpu"
        device = open_device(wanted, compare.device_memory_mb, _warn)
        on_device = compare.device == "cuda" and device.name != "cpu"
        return Search(limits, read_thumbnails, own, device, on_device=on_device)

    return open_search


def _warn(line: str) -> None:
    logging.getLogger("dupwatchd").warning("%s", line)


def processors() -> int:
    """How many processors this program may use."""
    return len(os.sched_getaffinity(0))


def worker_pool(
    settings: Settings, thumbnail_px: int, attend: Callable[[], None] = lambda: None, workers: int | None = None
) -> "WorkerPool":
    """The processes that read and decode, not started yet; ``attend`` is called while they work."""
    from dupwatchd.index.pool import DecodeLimits, WorkerPool

    index = settings.index
    limits = DecodeLimits(
        decode_seconds=index.decode_seconds,
        memory_mb=index.memory_mb,
        max_pixels=index.max_pixels,
        max_file_mb=index.max_file_mb,
    )
    return WorkerPool(workers or index.workers or processors(), thumbnail_px, limits, attend)


def walk_rules(settings: Settings, state: str) -> WalkRules:
    """Which files are taken up."""
    watch = settings.watch
    wanted = frozenset(os.fsencode(suffix) for suffix in watch.suffixes)
    return WalkRules(
        suffixes=wanted or IMAGE_SUFFIXES | RAW_SUFFIXES | {b""},
        ignore=(*watch.ignore, *(DEFAULT_IGNORE if watch.ignore_junk else ())),
        left_out=frozenset([os.fsencode(state)]),
    )


def retry_after_upgrade(database: Database, settings: Settings) -> None:
    """Another version of a decoder, or more generous limits, may read what could not be read last time."""
    if files.any_undecodable(database) and facts.read(database).get("decoders") != decoders(settings):
        with database.transaction():
            files.retry_undecodable(database)


def decoders(settings: Settings) -> str:
    """Everything that decides whether a file can be decoded, as one line."""
    index = settings.index
    limits = (index.decode_seconds, index.memory_mb, index.max_pixels)
    return " ".join([*(f"{name}={_version(name)}" for name in _DECODERS), *map(str, limits)])


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def are_linked(one: Copy, other: Copy) -> bool:
    """Are they names of one file, now? The index only says that they were: numbers of devices are used again."""
    if (one.device, one.inode) != (other.device, other.inode):
        return False
    try:
        return os.path.samestat(os.lstat(one.path), os.lstat(other.path))
    except OSError:
        return False


def measurer(settings: Settings, state: str, side: int) -> Callable[[list[Pair], str, bool], list[Measured]]:
    """Measures pairs of pictures on their thumbnails, which are read for it."""

    @cache
    def blocks() -> "BlockStore":
        return thumbnails_of(state, side)

    @cache
    def own() -> "OwnMeasure":
        from dupwatchd.compare.own import load_own

        return load_own(settings.compare.measure, side)

    def measure_pairs(pairs: list[Pair], measure: str, mirrored: bool) -> list[Measured]:
        from dupwatchd.compare.measures import measure_best
        from dupwatchd.compare.own import own_best

        if measure == "own":
            return [Measured(*one) for one in own_best(own(), blocks().read, pairs, mirrored=mirrored)]
        return [Measured(*one) for one in measure_best(blocks().read, pairs, measure, mirrored=mirrored)]

    return measure_pairs
