"""`dupwatchd run`: starts the threads that watch, update and serve, looks after them, and ends them in order.

watch     events of the file system become hints (watch.watcher)
updater   looks where hints point, takes in what changed; once the threads run, it alone writes to the database
          (update.updater)
serve     the sockets, and the threads that answer from what was committed (serve.server, serve.request_queue)
verifying looks now and then whether the database is sound
waiting   tells clients that wait when the index is up to date (serve.waiting)
main      signals, the service manager; says that all is well only while the others turn
"""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime
from types import FrameType
from typing import Any

from dupwatch.terminal import counted
from dupwatchd import systemd
from dupwatchd.answering import Answering
from dupwatchd.assembly import limits_of, machines_of, processors, reading_pool, search_opener, walk_rules
from dupwatchd.db import facts, roots
from dupwatchd.db.connection import open_database
from dupwatchd.errors import DupwatchError, StateError, UsageError
from dupwatchd.heap import Heap
from dupwatchd.paths import outermost
from dupwatchd.priority import stand_back
from dupwatchd.problems import Fault, Problems
from dupwatchd.run_log import ShowStatus
from dupwatchd.serve.plan_policy import policy_of
from dupwatchd.settings import Loaded, Settings, reload
from dupwatchd.state import decoders, locked_state, require_index, retry_after_upgrade, stores_of, thumbnail_px_of
from dupwatchd.update.intake import Intake
from dupwatchd.update.pipeline import IntakeOnDemand
from dupwatchd.update.updater import Updater, Work
from dupwatchd.verifier import Verifier
from dupwatchd.watch.hints import Hints
from dupwatchd.watch.watcher import Watcher

_log = logging.getLogger("dupwatchd")
_MOST_FILES_PER_FOLDER = 10_000  # unsettled at once; listing the folder as a whole is cheaper beyond that
# For so long a thread that works may keep the interpreter while that of the sockets waits for it, several times for
# each request. Measured with somebody who asks for ever other clusters, on a busy machine: with 0.5 ms `status` took 26
# to 53 ms (median) and at worst 570 ms; with Python's own 5 ms it took 39 to 92 ms, and at worst 808 ms.
_SWITCH_SECONDS = 0.0005
_TURN_SECONDS = 1.0
_CHECK_SECONDS = 10.0
_STUCK_UPDATER_SECONDS = 120.0  # the longest piece of work between two signs of life, on a slow disk
_STUCK_SERVER_SECONDS = 15.0
_STOP_SECONDS = 4.0
_VERIFY_SECONDS = 24 * 3600.0  # between two looks at the whole database
_ALSO_SAID = {"failed": (": ", "error"), "matched": (" = ", "other"), "moved": (" from ", "from")}  # of an event


class Service:
    """The running service of one state directory."""

    def __init__(
        self,
        settings: Settings,
        flags: dict[str, Any],
        file: str | None,
        stack: ExitStack,
        show_status: ShowStatus | None,
        heap: Heap,
        *,
        as_indexed: bool = False,
    ) -> None:
        self._show_status = show_status
        self._heap = heap
        self._is_up_to_date = False  # the scan at the start is over, and that was said
        self._wake = threading.Event()
        self._stop = False
        self._failed = False
        self._reload = False
        for number in _SIGNALS:
            stack.callback(signal.signal, number, signal.signal(number, self._on_signal))
        self._state = stack.enter_context(locked_state(settings.state))
        self._database = open_database(self._state)
        stack.callback(self._database.close)
        if as_indexed:
            indexed = list(map(os.fsdecode, roots.in_force(self._database)))
            settings, flags = settings.model_copy(update={"roots": tuple(indexed)}), {**flags, "roots": indexed}
            _check_roots(settings)
        self._settings, self._flags, self._file = settings, flags, file
        self._side = thumbnail_px_of(self._database, settings)
        retry_after_upgrade(self._database, settings)
        self._hints = self._new_hints()
        self._roots: Sequence[bytes] = _resolved(settings.roots)
        self._problems = Problems()
        self._updater = Updater(
            self._database, self._work(), self._hints, self._publish, self._may_work, self._problems
        )
        self._machines = machines_of(settings)
        self._pool = reading_pool(settings, self._side, self._database, self._machines, self._updater.attend)
        self._verifier = Verifier(self._state, self._updater.started, self._problems, _VERIFY_SECONDS)
        self._watcher = self._new_watcher()
        self._answering = Answering(
            settings,
            self._state,
            self._side,
            self._updater,
            self._roots,
            lambda: self._watcher.states(),
            self._problems,
            self._machines,
            stack,
        )
        self._server = self._answering.server

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT; raises DupwatchError if the service ends for another reason."""
        thread = threading.Thread(target=self._update, name="updater")
        waiting = threading.Thread(target=self._answering.waiting.run, name="waiting", daemon=True)
        verifying = threading.Thread(target=self._verifier.run, name="verifying", daemon=True)
        try:
            self._server.start()
            waiting.start()
            self._watcher.start()
            thread.start()
            verifying.start()
            _log.info("serving %s", self._server.endpoint)
            _log.info("watching %s", ", ".join(map(os.fsdecode, self._roots)))
            systemd.ready(self._status_line())
            self._look_after(thread)
        finally:
            systemd.stopping("stopping")
            self._updater.stop()
            self._watcher.stop()
            self._verifier.stop()
            self._answering.waiting.close()
            self._server.stop()
            if thread.ident:
                thread.join(_STOP_SECONDS)
            if thread.is_alive():
                _log.warning("stopped in the middle of work; the next start goes on from what is committed")
                os._exit(0)
        if self._failed:
            raise StateError("the service failed; the line above says where")
        _log.info("stopped")

    # the threads

    def _update(self) -> None:
        settings = self._settings
        pool = self._pool
        stand_back(settings.index.nice, settings.index.io_class)

        def open_intake() -> Intake:
            facts.write(self._database, {"decoders": decoders(settings)})
            return Intake(
                self._database,
                stores_of(self._state, self._side),
                pool,
                limits_of(settings),
                search_opener(settings, self._side),
                self._updater.progress,
                processors(),
                self._updater.announce,
                frames=settings.index.frames,
            )

        try:
            self._updater.run(IntakeOnDemand(open_intake))
        except Exception:  # noqa: BLE001 - a thread that is gone must not go unnoticed
            _log.exception("the thread that updates the index failed; this is a bug")
            self._failed = self._stop = True
            self._wake.set()
        finally:
            pool.close()

    def _look_after(self, updater: threading.Thread) -> None:
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
                self._check_state_folder()
                if given_back := self._heap.give_back():  # meanwhile whoever needs memory waits: not each second
                    _log.debug("%.0f MB that nothing uses any more went back to the system", given_back / 1e6)
            self._answering.libraries.drop_stale()
            well = (
                updater.is_alive()
                and now - self._updater.last_sign < _STUCK_UPDATER_SECONDS
                and now - self._server.last_turn_monotonic < _STUCK_SERVER_SECONDS
                and self._watcher.healthy()
            )
            if well:
                systemd.alive()
            self._tell()
            if (line := self._status_line()) != last_line:
                last_line = line
                systemd.status(line)

    def _check_state_folder(self) -> None:
        """Note it if the database is not the one any more that was opened: what is stored now would be lost."""
        if self._database.is_in_place():
            self._problems.clear(Fault.STATE_FOLDER)
        else:
            self._problems.note(
                Fault.STATE_FOLDER,
                f"{self._database.path} was removed or replaced while the service runs: "
                "put it back, or restart the service to index the photos anew",
            )

    def _tell(self) -> None:
        """Say how far the work is, and once that the scan at the start is over."""
        if self._show_status is not None:
            self._show_status(self._answering.status())
        if not self._is_up_to_date and self._updater.is_quiet:
            self._is_up_to_date = True
            counts = self._updater.counts
            unreadable = f", {counts['failed']:,} of them not readable" if counts.get("failed") else ""
            away = sum(root["state"] == "offline" for root in self._answering.status()["roots"])
            offline = f"; {counted(away, 'folder')} offline" if away else ""
            _log.info("up to date: %s%s%s", counted(counts.get("files", 0), "photo"), unreadable, offline)

    def _status_line(self) -> str:
        counts = self._updater.counts
        line = f"{self._updater.state}; {counted(counts.get('files', 0), 'file')}, {self._updater.pending:,} pending"
        return "; ".join((line, *self._problems.lines()))

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
            policy = policy_of(taken.settings.plan)
        except DupwatchError as error:
            _log.error("settings are left as they were: %s", error)
        else:
            if taken.need_restart:
                _log.warning("only a restart takes up: %s", ", ".join(taken.need_restart))
            if taken.applied:
                _log.info("taken up: %s", ", ".join(taken.applied))
                self._settings = taken.settings
                self._answering.take_up_policy(policy)
                if not all(name.startswith("plan.") for name in taken.applied):
                    self._watch_anew()
        systemd.ready(self._status_line())

    def _watch_anew(self) -> None:
        self._roots = _resolved(self._settings.roots)
        self._answering.take_up_roots(self._roots)
        self._watcher.stop()
        self._hints = self._new_hints()
        self._updater.change(self._work(), self._hints)
        self._watcher = self._new_watcher()
        self._watcher.start()

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
        joint, field = _ALSO_SAID.get(topic, ("", ""))
        _log.debug("%s %s%s%s", topic, event.get("path", b""), joint, event.get(field, ""))
        self._server.publish(topic, event)

    def _may_work(self) -> bool:
        return self._settings.index.may_run_at(datetime.now().time())


_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def run(loaded: Loaded, flags: dict[str, Any], show_status: ShowStatus | None, *, as_indexed: bool = False) -> None:
    """Run the service until it is told to stop; raises UsageError or StateError if it cannot start.

    ``show_status`` is called about once a second, on the main thread, with the document of `status`. ``as_indexed``:
    the roots are those that the index was last made of, and there must be one.
    """
    settings = loaded.settings
    if as_indexed:
        require_index(settings.state)
    else:
        _check_roots(settings)
    sys.setswitchinterval(_SWITCH_SECONDS)
    heap = Heap()
    heap.set_up()
    with ExitStack() as stack:
        Service(settings, flags, loaded.file, stack, show_status, heap, as_indexed=as_indexed).run()


def _check_roots(settings: Settings) -> None:
    if not settings.roots:
        raise UsageError("there is nothing to watch: name folders with --root DIR, or as roots in the settings file")


def _resolved(folders: Sequence[str]) -> list[bytes]:
    """Without links, and without those inside another; one that is not there now is watched for."""
    return outermost(os.path.realpath(os.fsencode(root)) for root in folders)
