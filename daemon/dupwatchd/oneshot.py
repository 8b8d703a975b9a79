"""`scan` and `check`: all of the program, once, without the service."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from dupwatchd.db import answers, facts, files
from dupwatchd.db.answers import Copy
from dupwatchd.db.connection import FILE_NAME, Database, open_database
from dupwatchd.errors import DamagedStateError, Interrupted, UsageError
from dupwatchd.model import FileId, Job, Progress, Stamp
from dupwatchd.parts import (
    are_linked,
    decoders,
    limits_of,
    locked_state,
    measurer,
    processors,
    resolve_roots,
    retry_after_upgrade,
    search_opener,
    stores_of,
    thumbnail_px_of,
    walk_rules,
    worker_pool,
)
from dupwatchd.pipeline import IntakeOnDemand, bring_up_to_date
from dupwatchd.serve.clusters import Question, Witness
from dupwatchd.settings import Settings
from dupwatchd.survey import Survey

if TYPE_CHECKING:  # what needs numpy is imported where it is used: a scan that finds nothing new does without
    from dupwatchd.arrays import Thumbnail
    from dupwatchd.check import Findings
    from dupwatchd.index.pool import WorkerPool
    from dupwatchd.intake import Intake

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
        side = thumbnail_px_of(database, settings)
        retry_after_upgrade(database, settings)
        compare = settings.compare
        if compare.is_own:
            from dupwatchd.compare.own import load_own

            load_own(compare.measure, side)  # whether it is any good is said before the work begins
        limits = limits_of(settings)

        def open_intake() -> "Intake":
            from dupwatchd.intake import Intake

            facts.write(database, {"decoders": decoders(settings)})
            pool = stack.enter_context(worker_pool(settings, side))
            stores = stores_of(state, side)
            return Intake(database, stores, pool, limits, search_opener(settings, side), progress, processors())

        rules = walk_rules(settings, state)
        survey, changing = bring_up_to_date(database, roots, rules, limits, IntakeOnDemand(open_intake), progress)
        witness = Witness(measurer(settings, state, side), _presence(roots, survey.offline), are_linked)
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
            stores = stores_of(state, side)
            bad = verify(database, stores, findings)
            if repair and findings.faults:
                pool = stack.enter_context(worker_pool(settings, side))
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
