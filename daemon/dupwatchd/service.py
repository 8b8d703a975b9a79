"""`dupwatchd run`: starts the threads that watch, keep and serve, looks after them, and ends them in order.

watch     events of the file system become hints (watch.watcher)
keeper    looks where hints point, takes in what changed; alone it writes to the database (keeper)
serve     the sockets, and a few threads that answer from what was committed (serve.server, serve.questions)
main      signals, the service manager; says that all is well only while the others turn
"""

import ctypes
import logging
import os
import signal
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime
from types import FrameType
from typing import Any

from dupwatchd import __version__, systemd
from dupwatchd.compare import measures
from dupwatchd.db import answers, facts, pictures
from dupwatchd.db.answers import Copy
from dupwatchd.db.connection import Database, open_database, open_for_reading
from dupwatchd.errors import DupwatchError, StateError, UsageError
from dupwatchd.intake import Intake
from dupwatchd.keeper import Keeper, Work
from dupwatchd.model import FileId, Job, Stamp
from dupwatchd.parts import (
    are_linked,
    decoders,
    limits_of,
    locked_state,
    measurer,
    processors,
    retry_after_upgrade,
    search_opener,
    stores_of,
    thumbnail_px_of,
    walk_rules,
    worker_pool,
)
from dupwatchd.paths import outermost
from dupwatchd.pipeline import IntakeOnDemand
from dupwatchd.serve.binding import default_endpoint
from dupwatchd.serve.clusters import Question, Witness
from dupwatchd.serve.questions import Asked, Questions
from dupwatchd.serve.server import Peer, RequestError, Server
from dupwatchd.settings import DEFAULT_THRESHOLDS, Loaded, Settings, reload
from dupwatchd.watch.hints import Hints
from dupwatchd.watch.watcher import Watcher

_log = logging.getLogger("dupwatchd")
_MOST_FILES_PER_FOLDER = 200  # unsettled at once; beyond it the folder is listed as a whole
_TURN_SECONDS = 1.0
_CHECK_SECONDS = 10.0
_STUCK_KEEPER_SECONDS = 120.0  # the longest piece of work between two signs of life, on a slow disk
_STUCK_SERVER_SECONDS = 15.0
_STOP_SECONDS = 4.0
_FIND_BYTES = 64 << 20


class Service:
    """The running service of one state directory."""

    def __init__(self, settings: Settings, flags: dict[str, Any], file: str | None, stack: ExitStack) -> None:
        self._settings = settings
        self._flags, self._file = flags, file
        self._wake = threading.Event()
        self._stop = False
        self._failed = False
        self._reload = False
        for number in _SIGNALS:
            stack.callback(signal.signal, number, signal.signal(number, self._on_signal))
        self._state = stack.enter_context(locked_state(settings.state))
        self._database = open_database(self._state)
        stack.callback(self._database.close)
        self._side = thumbnail_px_of(self._database, settings)
        retry_after_upgrade(self._database, settings)
        self._hints = self._new_hints()
        self._roots = _resolved(settings.roots)
        self._keeper = Keeper(self._database, self._work(), self._hints, self._publish, self._may_work)
        self._watcher = self._new_watcher()
        self._finder = worker_pool(settings, self._side, workers=1)
        stack.callback(self._finder.close)
        self._finding = threading.Lock()
        self._questions = Questions(
            lambda: open_for_reading(self._state),
            self,
            lambda: self._roots,
            self._asked(),
            self._witness,
            self._find,
            __version__,
        )
        self._server = Server(
            settings.endpoint or default_endpoint(),
            self._questions.handlers(),
            threads=settings.serve.threads,
            group=settings.socket_group,
            keys=settings.serve.curve_keys,
        )

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT; raises DupwatchError if the service ends for another reason."""
        thread = threading.Thread(target=self._keep, name="keeper")
        try:
            self._server.start()
            self._watcher.start()
            thread.start()
            _log.info("serving %s", self._server.endpoint)
            systemd.ready(self._status_line())
            self._look_after(thread)
        finally:
            systemd.stopping("stopping")
            self._keeper.stop()
            self._watcher.stop()
            self._server.stop()
            self._questions.close()
            if thread.ident:
                thread.join(_STOP_SECONDS)
            if thread.is_alive():
                _log.warning("stopped in the middle of work; the next start goes on from what is committed")
                os._exit(0)
        if self._failed:
            raise StateError("the service failed; the line above says where")

    # what `Questions` asks of us, on any thread

    @property
    def changes(self) -> int:
        """Another number whenever the index has changed."""
        return self._keeper.changes

    @property
    def is_quiet(self) -> bool:
        """Nothing is pending."""
        return self._keeper.is_quiet

    @property
    def is_long_at_it(self) -> bool:
        """The index changes all the time."""
        return self._keeper.is_long_at_it

    def status(self) -> dict[str, Any]:
        """The result of the command `status`."""
        keeper, progress = self._keeper, self._keeper.progress
        offline = {*keeper.survey.offline}
        states = self._watcher.states()
        result: dict[str, Any] = {
            "state": keeper.state,
            **{name: keeper.counts.get(name, 0) for name in ("files", "failed", "pictures", "matches")},
            "pending": keeper.pending,
            "roots": [
                {
                    "path": root,
                    "state": "online" if root not in offline and states[root].online else "offline",
                    "watched": states[root].mode,
                }
                for root in self._roots
                if root in states
            ],
            "problems": [states[root].line for root in self._roots if root in states and states[root].mode == "polled"]
            + [f"{os.fsdecode(path)}: {error}" for path, error in keeper.survey.unreadable[:20]],
        }
        if keeper.state not in ("idle", "paused", "stopping"):
            elapsed = time.monotonic() - progress.began
            rate = progress.done / elapsed if progress.done and elapsed > 0 else None
            left = None if progress.total is None or not rate else max(0.0, progress.total - progress.done) / rate
            result["progress"] = {
                "stage": progress.stage_name,
                "done": progress.done,
                "total": progress.total,
                "unit": "pictures" if progress.stage_name == "comparing" else "files",
                "rate": rate,
                "seconds_left": left,
            }
        return result

    def rescan(self, folders: Sequence[bytes]) -> None:
        """Look through these folders soon."""
        self._keeper.rescan(folders)

    def pause(self) -> None:
        """Read no more files."""
        self._keeper.pause()

    def resume(self) -> None:
        """Go on."""
        self._keeper.resume()

    # the threads

    def _keep(self) -> None:
        settings = self._settings
        pool = worker_pool(settings, self._side, self._keeper.attend)
        _stand_back(settings.index.nice, settings.index.io_class)

        def open_intake() -> Intake:
            facts.write(self._database, {"decoders": decoders(settings)})
            return Intake(
                self._database,
                stores_of(self._state, self._side),
                pool,
                limits_of(settings),
                search_opener(settings, self._side),
                self._keeper.progress,
                processors(),
                self._keeper.announce,
            )

        try:
            self._keeper.run(IntakeOnDemand(open_intake))
        except Exception:  # noqa: BLE001 - a thread that is gone must not go unnoticed
            _log.exception("the thread that keeps the index failed; this is a bug")
            self._failed = self._stop = True
            self._wake.set()
        finally:
            pool.close()

    def _look_after(self, keeper: threading.Thread) -> None:
        """Until told to stop: tell the service manager how things are, while they are well."""
        watchdog_seconds = systemd.watchdog_seconds()
        turn_seconds = min(_TURN_SECONDS, watchdog_seconds / 3) if watchdog_seconds else _TURN_SECONDS
        next_check, last_line = 0.0, ""
        while not self._stop:
            self._wake.wait(turn_seconds)
            self._wake.clear()
            if self._reload:
                self._reload = False
                self._take_up_settings()
            now = time.monotonic()
            if now >= next_check:
                next_check = now + _CHECK_SECONDS
                self._watcher.check()
            self._questions.let_go()
            well = (
                keeper.is_alive()
                and now - self._keeper.last_sign < _STUCK_KEEPER_SECONDS
                and now - self._server.last_turn_monotonic < _STUCK_SERVER_SECONDS
                and self._watcher.healthy()
            )
            if well:
                systemd.alive()
            if (line := self._status_line()) != last_line:
                last_line = line
                systemd.status(line)

    def _status_line(self) -> str:
        counts = self._keeper.counts
        return f"{self._keeper.state}; {counts.get('files', 0):,} files, {self._keeper.pending:,} pending"

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self._reload = True
        else:
            self._stop = True
        self._wake.set()

    def _take_up_settings(self) -> None:
        systemd.reloading()
        try:
            taken = reload(self._settings, self._flags, self._file)
            _check_roots(taken.settings)
        except DupwatchError as error:
            _log.error("settings are left as they were: %s", error)
        else:
            if taken.need_restart:
                _log.warning("only a restart takes up: %s", ", ".join(taken.need_restart))
            if taken.applied:
                _log.info("taken up: %s", ", ".join(taken.applied))
                self._settings = taken.settings
                self._roots = _resolved(taken.settings.roots)
                self._watcher.stop()
                self._hints = self._new_hints()
                self._keeper.change(self._work(), self._hints)
                self._watcher = self._new_watcher()
                self._watcher.start()
        systemd.ready(self._status_line())

    # parts

    def _work(self) -> Work:
        settings = self._settings
        return Work(
            self._roots,
            walk_rules(settings, self._state),
            limits_of(settings),
            settings.watch.hold_back_share,
            settings.watch.rescan_hours * 3600,
        )

    def _new_hints(self) -> Hints:
        watch = self._settings.watch
        return Hints(watch.settle_seconds, watch.longest_wait_seconds, _MOST_FILES_PER_FOLDER)

    def _new_watcher(self) -> Watcher:
        rules = walk_rules(self._settings, self._state)
        poll_seconds = self._settings.watch.poll_seconds
        return Watcher(self._roots, rules, self._hints, lambda line: _log.warning("%s", line), poll_seconds)

    def _publish(self, topic: str, event: dict[str, Any]) -> None:
        self._server.publish(topic, event)

    def _may_work(self) -> bool:
        return self._settings.index.may_run_at(datetime.now().time())

    def _asked(self) -> Asked:
        compare = self._settings.compare
        kept = {"mse": compare.keep_mse, "structure": compare.keep_structure}
        if compare.is_own:
            kept["own"] = compare.kept or 0.0
        return Asked(
            "own" if compare.is_own else compare.measure,
            self._settings.threshold,
            compare.mirrored,
            kept,
            dict(DEFAULT_THRESHOLDS),
            compare.measure if compare.is_own else "",
        )

    def _witness(self, _reader: Database) -> Witness:
        away = tuple(
            root.rstrip(b"/") + b"/" for root, state in self._watcher.states().items() if not state.online
        ) + tuple(folder.rstrip(b"/") + b"/" for folder in self._keeper.survey.offline)

        def is_there(copy: Copy) -> bool:
            if copy.path.startswith(away):
                return False
            try:
                status = os.lstat(copy.path)
            except OSError:
                return False
            return (status.st_size, status.st_mtime_ns) == (copy.size_bytes, copy.mtime_ns)

        return Witness(measurer(self._settings, self._state, self._side), is_there, are_linked)

    def _find(
        self, reader: Database, path: bytes | None, data: bytes | None, question: Question, peer: Peer
    ) -> list[dict[str, Any]]:
        """The files that show what this one does; raises RequestError if it cannot be read or decoded."""
        if data is not None:
            with tempfile.NamedTemporaryFile(dir=self._state, prefix="asked-") as file:
                file.write(data)
                file.flush()
                outcome = self._decoded(os.fsencode(file.name))
        else:
            assert path is not None
            if not _may_read(path, peer):
                raise RequestError("unreadable", "the service may not read it for you")
            outcome = self._decoded(path)
        if outcome.digest is None:
            raise RequestError("unreadable", outcome.error or "it cannot be read")
        if outcome.decoded is None:
            raise RequestError("not_a_picture", outcome.error or "it is no picture")
        thumbnail = outcome.decoded.thumbnail[None]
        same = answers.copies_of_digest(reader, outcome.digest)
        if measures.flat(thumbnail)[0]:
            return [_row(copy, 0.0, 0.0, 0, False) for copy in same]
        found = self._keeper.find(outcome.decoded.thumbnail)
        if found is None:
            if pictures.exist(reader):
                raise RequestError("starting", "what is known is still being loaded; ask again")
            return []
        near = getattr(found, question.measure) <= question.threshold
        if not question.mirrored:
            near &= ~found.mirrored
        others = sorted({int(max(a, b)) for a, b in zip(found.a[near], found.b[near], strict=True)})
        read = stores_of(self._state, self._side).thumbnails.read
        rows: list[dict[str, Any]] = []
        copies = answers.copies_of(reader, others)
        values = measures.measure_best(
            lambda ids: thumbnail.repeat(len(ids), axis=0) if ids and ids[0] == -1 else read(ids),
            [(-1, copy.picture_id) for copy in copies],
            "structure" if question.measure == "own" else question.measure,
            mirrored=question.mirrored,
        )
        for copy, (mse, structure, turn, mirrored) in zip(copies, values, strict=True):
            rows.append(_row(copy, mse, structure, turn, mirrored))
        return sorted(rows, key=lambda row: (row["structure"], row["path"]))

    def _decoded(self, path: bytes) -> Any:
        try:
            status = os.stat(path)
        except OSError as error:
            raise RequestError("unreadable", f"cannot read it: {error.strerror}") from error
        if status.st_size > _FIND_BYTES * 16:
            raise RequestError("too_large", "the file is too large")
        job = Job(FileId(0), path, Stamp(status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino))
        with self._finding:
            [outcome] = list(self._finder.index([job], lambda *_: False))
        return outcome


_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}  # no library of Python's own knows the call
_IO_CLASSES = {"best-effort": 2, "idle": 3}
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def run(loaded: Loaded, flags: dict[str, Any]) -> None:
    """Run the service until it is told to stop; raises UsageError or StateError if it cannot start."""
    settings = loaded.settings
    _check_roots(settings)
    systemd.set_up_logging()
    with ExitStack() as stack:
        Service(settings, flags, loaded.file, stack).run()


def _check_roots(settings: Settings) -> None:
    if not settings.roots:
        raise UsageError("there is nothing to watch: name folders with --root DIR, or as roots in the settings file")


def _stand_back(nice: int, io_class: str) -> None:
    """Let others go before this thread, and before the processes that it starts; as far as the system allows it."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), max(nice, os.getpriority(os.PRIO_PROCESS, 0)))
    number = _IOPRIO_SET.get(os.uname().machine)
    if io_class != "none" and number is not None:
        value = _IO_CLASSES[io_class] << 13 | (7 if io_class == "best-effort" else 0)
        ctypes.CDLL(None).syscall(number, 1, 0, value)  # ioprio_set(2), of this thread


def _resolved(roots: Sequence[str]) -> list[bytes]:
    """Without links, and without those inside another; one that is not there now is watched for."""
    return outermost(os.path.realpath(os.fsencode(root)) for root in roots)


def _may_read(path: bytes, peer: Peer) -> bool:
    """Whether the asking user could read the file without us, as far as its rights tell without being that user."""
    if peer.uid in (os.geteuid(), 0):
        return True
    try:
        status = os.stat(path)
    except OSError:
        return False
    return bool(status.st_mode & 0o004) or (status.st_uid == peer.uid and bool(status.st_mode & 0o400))


def _row(copy: Copy, mse: float, structure: float, turn: int, mirrored: bool) -> dict[str, Any]:
    return {
        "path": copy.path,
        "bytes": copy.size_bytes,
        "width": copy.width,
        "height": copy.height,
        "mse": mse,
        "structure": structure,
        "turn": turn,
        "mirrored": mirrored,
    }
