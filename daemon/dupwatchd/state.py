"""The state directory: which one is meant, its lock, its stores, and what was fixed when it was made.

It also decides which files are read again because the decoders or their limits are others than last time
(`retry_after_upgrade`).
Going in: the settings. Coming out: a locked directory with its database and stores. Only whoever holds the lock may
write there; `locked_state` gives it, and it ends with the process.
"""

import errno
import fcntl
import hashlib
import os
import pwd
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from dupwatchd.backup_folder import remove_what_a_killed_backup_left
from dupwatchd.db import facts, files, pictures
from dupwatchd.db.connection import FILE_NAME, Database
from dupwatchd.errors import StateError, StateInUseError, UsageError
from dupwatchd.replacing_index import finish_replacing, is_replacing
from dupwatchd.settings import Loaded, Settings
from dupwatchd.settings.services import installed

if TYPE_CHECKING:
    from dupwatchd.blocks.store import BlockStore, Stores

_DECODERS = ("opencv-python-headless", "pillow", "pillow-heif", "pillow-jxl-plugin", "rawpy", "simplejpeg", "dupwatch")


def has_index(state: str) -> bool:
    """Whether there is an index in a state directory, as far as the caller may look into it."""
    return os.path.exists(os.path.join(state, FILE_NAME)) or is_replacing(state)


def require_index(state: str) -> None:
    """Raise UsageError if there is no index in a state directory, or if the caller may not look into it."""
    try:
        os.stat(os.path.join(state, FILE_NAME))
    except PermissionError:
        raise UsageError(f"cannot look into {state}: permission denied; run it as the owner of the index") from None
    except OSError:
        if not is_replacing(state):  # by a `restore` that was killed; whoever gets the lock finishes it
            raise UsageError(f"no index in {state}; name its directory with --state") from None


def index_meant(loaded: Loaded, say: Callable[[str], None]) -> Settings:
    """The settings for a command that looks at an index which exists already.

    If nobody named a state directory and the user has no index of their own, they are those of the service that has
    one. ``say`` gets a line for a person if another index is taken than one may think, or could be meant as well.
    """
    own = loaded.settings
    if loaded.origins["state"] != "default":
        return own
    services = [one for one in installed() if has_index(one.state) and not _same(one.state, own.state)]
    if services and not has_index(own.state):
        say(f"this is about the index of the service, {services[0].state}")
        return services[0]
    for one in services:
        say(f"this is about {own.state}; there is an index in {one.state}, too: name it with --state to look at it")
    return own


def act_as_owner(state: str) -> None:
    """Give up root's rights for those of the owner of a state directory, for the rest of this process.

    What root writes there the service could not read afterwards. The owner of a directory that is still to be made is
    that of the folder that it will be in.
    """
    owner = os.stat(_there(state))
    if os.geteuid() != 0 or owner.st_uid == 0:
        return
    _take_groups_of(owner)
    os.setresgid(owner.st_gid, owner.st_gid, owner.st_gid)
    os.setresuid(owner.st_uid, owner.st_uid, owner.st_uid)


def _there(path: str) -> str:
    """The path, or else the first folder above it that is there."""
    path = os.path.realpath(path)
    while not os.path.isdir(path) and path != "/":
        path = os.path.dirname(path)
    return path


@contextmanager
def acting_as_owner(state: str) -> Iterator[None]:
    """As `act_as_owner`, until the block is left: what is outside the state directory is the caller's own."""
    owner = os.stat(state)
    if os.geteuid() != 0 or owner.st_uid == 0:
        yield
        return
    groups, group = os.getgroups(), os.getegid()
    _take_groups_of(owner)
    os.setegid(owner.st_gid)
    os.seteuid(owner.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)


def _take_groups_of(owner: os.stat_result) -> None:
    try:
        os.initgroups(pwd.getpwuid(owner.st_uid).pw_name, owner.st_gid)
    except KeyError:  # a user without a name
        os.setgroups([owner.st_gid])


def _same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


@contextmanager
def locked_state(path: str) -> Iterator[str]:
    """Make the state directory if need be and hold its lock; gives its resolved path.

    A `restore` that was killed while it put another index in place is finished first, and what a `backup` that was
    killed has left is removed.

    Raises UsageError if the directory cannot be used, StateError if another process holds the lock or no space
    is left. The lock ends with the process, however that ends.
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
                f"the state directory {state} is in use by process {owner or '?'}. If that is the service, "
                "ask it (dupwatch clusters) or stop it first (systemctl stop dupwatchd); "
                "if it is another command, wait for it",
                int(owner) if owner else None,
            ) from None
        try:
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        except OSError:
            pass  # the number only serves a message; a full disk is reported by whoever needs the room
        finish_replacing(state)
        remove_what_a_killed_backup_left(state)
        yield state
    finally:
        os.close(lock)


def thumbnail_px_of(database: Database, settings: Settings) -> int:
    """The side of the thumbnails of a state directory in px, which was fixed when it got its first picture.

    Raises UsageError if the settings ask for another one.
    """
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
    from dupwatchd.blocks.store import DescriptorStore, Stores
    from dupwatchd.compare.measures.descriptors import NUMBERS
    from dupwatchd.db.proofs import Proofs

    descriptors = DescriptorStore(os.path.join(state, "blocks"), NUMBERS)
    return Stores(thumbnails_of(state, side), descriptors, Proofs(state))


def retry_after_upgrade(database: Database, settings: Settings) -> None:
    """Mark files that could not be decoded to be read again if the decoders or the limits are others than last time."""
    if files.any_undecodable(database) and facts.read(database).get("decoders") != decoders(settings):
        with database.transaction():
            files.retry_undecodable(database)


def decoders(settings: Settings) -> str:
    """Everything that decides whether a file can be decoded, in one line: versions of decoders, and limits."""
    index = settings.index
    limits = (index.decode_seconds, index.memory_mb, index.max_pixels)
    return " ".join([*_versions(_DECODERS), *map(str, limits)])


def decoder_versions() -> str:
    """The versions of all that decides what a file is decoded to, in one line, and what our own code is."""
    return " ".join([*_versions((*_DECODERS, "numpy")), f"code={_code()}"])


@cache
def _code() -> str:
    """What tells our code from that of another state of the repository, which may have the same version."""
    digest = hashlib.sha256()
    for folder, folders, names in os.walk(os.path.dirname(__file__)):
        folders.sort()
        for name in sorted(name for name in names if name.endswith(".py")):
            with open(os.path.join(folder, name), "rb") as file:
                digest.update(name.encode() + b"\0" + hashlib.sha256(file.read()).digest())
    return digest.hexdigest()[:8]


def _versions(packages: Iterable[str]) -> list[str]:
    return [f"{name}={_version(name)}" for name in packages]


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
