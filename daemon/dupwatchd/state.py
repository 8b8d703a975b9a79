"""The state directory: its lock, its stores, and what was fixed when it was made."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dupwatchd.db import facts, files, pictures
from dupwatchd.db.connection import Database
from dupwatchd.errors import StateError, StateInUseError, UsageError
from dupwatchd.settings import Settings

if TYPE_CHECKING:
    from dupwatchd.blocks.store import BlockStore, Stores

_DECODERS = ("pillow", "pillow-heif", "pillow-jxl-plugin", "rawpy", "simplejpeg", "dupwatch")


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
            raise StateInUseError(
                f"the state directory {state} is in use by process {owner or '?'}; "
                "wait for it, or name another with --state",
                int(owner) if owner else None,
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
    from dupwatchd.compare.measures.descriptors import NUMBERS

    return Stores(thumbnails_of(state, side), descriptor_store(os.path.join(state, "blocks"), NUMBERS))


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
