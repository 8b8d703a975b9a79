"""Starts and stops everything: the lock, the stores, the worker processes; in order, and in reverse.

`scan` is the one-shot form. Nothing else in the program creates processes, threads or sockets.
"""

import errno
import fcntl
import logging
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from types import FrameType
from typing import TYPE_CHECKING, Any

from dupwatchd.db import answers, facts, files, pictures
from dupwatchd.db.answers import Copy
from dupwatchd.db.connection import FILE_NAME, Database, open_database
from dupwatchd.errors import DamagedStateError, Interrupted, StateError, UsageError
from dupwatchd.model import FileId, Job, Limits, Progress, Stamp
from dupwatchd.pipeline import bring_up_to_date
from dupwatchd.serve.clusters import Measured, Pair, Question, Witness
from dupwatchd.settings import Settings
from dupwatchd.suffixes import IMAGE_SUFFIXES, RAW_SUFFIXES
from dupwatchd.survey import Survey
from dupwatchd.watch.ignore import DEFAULT_IGNORE
from dupwatchd.watch.walk import WalkRules

if TYPE_CHECKING:  # what needs numpy is imported where it is used: a scan that finds nothing new does without
    from dupwatchd.arrays import Thumbnail
    from dupwatchd.blocks.store import BlockStore, Stores
    from dupwatchd.check import Findings
    from dupwatchd.compare.measures import ReadThumbnails
    from dupwatchd.compare.own import OwnMeasure
    from dupwatchd.compare.search import Search
    from dupwatchd.index.pool import WorkerPool
    from dupwatchd.intake import Intake, OpenSearch

_DECODERS = ("pillow", "pillow-heif", "pillow-jxl-plugin", "rawpy", "simplejpeg", "dupwatch")


def scan(settings: Settings, folders: Sequence[bytes], progress: Progress) -> dict[str, Any]:
    """Index and compare what is new under the folders; returns the answer document, paths as bytes.

    Raises UsageError, StateError or Interrupted; whatever was committed before stays.
    """
    roots = resolve_roots(folders)
    with ExitStack() as stack:
        stack.enter_context(_stoppable())
        state = stack.enter_context(locked_state(settings.state))
        database = open_database(state)
        stack.callback(database.close)
        side = _thumbnail_px(database, settings)
        _retry_after_upgrade(database, settings)
        compare = settings.compare
        if compare.is_own:
            from dupwatchd.compare.own import load_own

            load_own(compare.measure, side)  # whether it is any good is said before the work begins
        own = (compare.measure, compare.kept or 0.0) if compare.is_own else ("", 0.0)
        limits = Limits(compare.keep_mse, compare.keep_structure, compare.mirrored, *own)

        def open_intake() -> "Intake":
            from dupwatchd.intake import Intake

            facts.write(database, {"decoders": _decoders(settings)})
            pool = stack.enter_context(_worker_pool(settings, side))
            stores = _stores(state, side)
            return Intake(database, stores, pool, limits, _search_opener(settings, side), progress, _processors())

        rules = _walk_rules(settings, state)
        survey, changing = bring_up_to_date(database, roots, rules, limits, open_intake, progress)
        witness = Witness(_measurer(settings, state, side), _presence(roots, survey.offline), _are_linked)
        return _answer(database, witness, settings, roots, survey, changing)


def check(settings: Settings, *, repair: bool, progress: Progress) -> "Findings":
    """Verify a state directory, and mend it if asked; raises UsageError if there is none."""
    if not os.path.exists(os.path.join(settings.state, FILE_NAME)):
        raise UsageError(f"no index in {settings.state}; name its directory with --state")
    from dupwatchd.check import Findings, mend, set_aside, verify

    findings = Findings()
    with ExitStack() as stack:
        stack.enter_context(_stoppable())
        state = stack.enter_context(locked_state(settings.state))
        progress.stage("checking", None)
        try:
            database = open_database(state)
        except DamagedStateError as error:
            findings.faults.append(str(error))
            if repair:
                findings.mended.append(f"set aside as {set_aside(state)}; the next scan starts anew from the photos")
            return findings
        stack.callback(database.close)
        try:
            side = int(facts.read(database).get("thumbnail_px", settings.index.thumbnail_px))
            stores = _stores(state, side)
            bad = verify(database, stores, findings)
            if repair and findings.faults:
                pool = stack.enter_context(_worker_pool(settings, side))
                mend(database, stores.thumbnails, bad, _thumbnail_maker(pool), findings)
                after = Findings()
                verify(database, stores, after)
                findings.left = after.faults
        except (DamagedStateError, ValueError) as error:
            findings.faults.append(str(error))
            if repair:
                database.close()
                findings.mended.append(f"set aside as {set_aside(state)}; the next scan starts anew from the photos")
    return findings


def _thumbnail_maker(pool: "WorkerPool") -> "Callable[[bytes], Thumbnail | None]":
    """Decode one file at a time in a worker process, as a scan would."""

    def make(path: bytes) -> "Thumbnail | None":
        try:
            status = os.stat(path)
        except OSError:
            return None
        job = Job(FileId(0), path, Stamp(status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino))
        [outcome] = list(pool.index([job], lambda *_: False))
        return outcome.decoded.thumbnail if outcome.decoded else None

    return make


def resolve_roots(folders: Sequence[bytes]) -> list[bytes]:
    """Absolute, resolved roots, without those inside another; raises UsageError for what is no folder."""
    for folder in folders:
        if not os.path.lexists(folder):
            raise UsageError(f"no such folder: {os.fsdecode(folder)}")
        if not os.path.isdir(folder):
            what = "a file" if os.path.isfile(folder) else "no folder"
            raise UsageError(f"{os.fsdecode(folder)} is {what}; name the folder it lies in")
    resolved = sorted({os.path.realpath(folder) for folder in folders})
    roots: list[bytes] = []
    for path in resolved:
        if not any(path.startswith(root.rstrip(b"/") + b"/") for root in roots):
            roots.append(path)
    return roots


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


def _thumbnail_px(database: Database, settings: Settings) -> int:
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


def _thumbnails(state: str, side: int) -> "BlockStore":
    from dupwatchd.blocks.store import thumbnail_store

    return thumbnail_store(os.path.join(state, "blocks"), side)


def _stores(state: str, side: int) -> "Stores":
    from dupwatchd.blocks.store import Stores, descriptor_store
    from dupwatchd.compare.descriptors import NUMBERS

    return Stores(_thumbnails(state, side), descriptor_store(os.path.join(state, "blocks"), NUMBERS))


def _search_opener(settings: Settings, side: int) -> "OpenSearch":
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


def _processors() -> int:
    """How many processors this program may use."""
    return len(os.sched_getaffinity(0))


@contextmanager
def _stoppable() -> Iterator[None]:
    """SIGINT and SIGTERM raise Interrupted in the main thread; everything is safe against being cut off anywhere."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise Interrupted("interrupted: what is done is kept; run the same command again to go on")

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _worker_pool(settings: Settings, thumbnail_px: int) -> "WorkerPool":
    from dupwatchd.index.pool import DecodeLimits, WorkerPool

    index = settings.index
    limits = DecodeLimits(
        decode_seconds=index.decode_seconds,
        memory_mb=index.memory_mb,
        max_pixels=index.max_pixels,
        max_file_mb=index.max_file_mb,
    )
    return WorkerPool(index.workers or _processors(), thumbnail_px, limits)


def _walk_rules(settings: Settings, state: str) -> WalkRules:
    watch = settings.watch
    wanted = frozenset(os.fsencode(suffix) for suffix in watch.suffixes)
    return WalkRules(
        suffixes=wanted or IMAGE_SUFFIXES | RAW_SUFFIXES | {b""},
        ignore=(*watch.ignore, *(DEFAULT_IGNORE if watch.ignore_junk else ())),
        left_out=frozenset([os.fsencode(state)]),
    )


def _retry_after_upgrade(database: Database, settings: Settings) -> None:
    """Another version of a decoder, or more generous limits, may read what could not be read last time."""
    if files.any_undecodable(database) and facts.read(database).get("decoders") != _decoders(settings):
        with database.transaction():
            files.retry_undecodable(database)


def _decoders(settings: Settings) -> str:
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


def _failures(database: Database, roots: Sequence[bytes]) -> list[dict[str, Any]]:
    found = [failure for root in roots for failure in files.failures(database, root)]
    return [{"path": failure.path, "error": failure.error} for failure in sorted(found, key=lambda one: one.path)]


def _presence(roots: Sequence[bytes], offline: Sequence[bytes]) -> Callable[[Copy], bool]:
    """Tells whether a file of the index exists; the walk has just seen those under the roots, others are checked."""
    online = tuple(root.rstrip(b"/") + b"/" for root in roots)
    away = tuple(folder.rstrip(b"/") + b"/" for folder in offline)

    def is_there(copy: Copy) -> bool:
        if copy.path.startswith(online) and not copy.path.startswith(away):
            return True
        try:
            status = os.lstat(copy.path)
        except OSError:
            return False
        return (status.st_size, status.st_mtime_ns) == (copy.size_bytes, copy.mtime_ns)

    return is_there


def _are_linked(one: Copy, other: Copy) -> bool:
    """Are they names of one file, now? The index only says that they were: numbers of devices are used again."""
    if (one.device, one.inode) != (other.device, other.inode):
        return False
    try:
        return os.path.samestat(os.lstat(one.path), os.lstat(other.path))
    except OSError:
        return False


def _measurer(settings: Settings, state: str, side: int) -> Callable[[list[Pair], str, bool], list[Measured]]:
    """Measures pairs of pictures on their thumbnails, which are read for it."""

    @cache
    def blocks() -> "BlockStore":
        return _thumbnails(state, side)

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


def _answer(
    database: Database,
    witness: Witness,
    settings: Settings,
    roots: list[bytes],
    survey: Survey,
    changing: int,
) -> dict[str, Any]:
    compare = settings.compare
    measure = "own" if compare.is_own else compare.measure
    question = Question(measure, settings.threshold, compare.mirrored, touching=tuple(roots))
    total, clusters = _all_clusters(database, question, witness)
    return {
        "measure": compare.measure,
        "threshold": settings.threshold,
        "total_clusters": total,
        "clusters": clusters,
        "failed": _failures(database, roots),
        "unreadable_folders": [{"path": path, "error": error} for path, error in survey.unreadable],
        "offline": list(survey.offline),
        "files": sum(files.count(database, root) for root in roots),
        "changing": changing,
    }


def _all_clusters(database: Database, question: Question, witness: Witness) -> tuple[int, list[dict[str, Any]]]:
    """The clusters and how many they are; the array library is loaded only if there can be any."""
    if not answers.any_copies(database, question.measure, question.threshold, mirrored=question.mirrored):
        return 0, []
    from dupwatchd.serve.library import Library

    return Library.load(database).page(database, question, witness, limit=None)
