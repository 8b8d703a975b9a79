"""Keeps one root under watch: an observer of watchdog with an emitter for that root alone.

The observer's thread turns events into hints, and checks every two seconds that the root is there, and still the same
folder on the same disk. Whatever may have been missed (a queue that overflowed, a disk that came back, an
emitter that died) is made good by one hint for the whole root, given when the root is under watch again. Each root has
an observer and an emitter, two threads, so that a root that hangs keeps no other waiting.
"""

import logging
import os
import queue
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from watchdog.observers.api import BaseObserver, EventQueue, ObservedWatch

from dupwatchd.watch.emitter import EventBuffer, Stopped, TreeEmitter
from dupwatchd.watch.handler import HintingHandler
from dupwatchd.watch.hints import Hints
from dupwatchd.watch.inotify import WatchesRanOut
from dupwatchd.watch.mounts import Mount, current_mounts
from dupwatchd.watch.place import Place, place_of, why_offline, why_only_polled
from dupwatchd.watch.walk import WalkRules, is_empty_folder

_log = logging.getLogger(__name__)
_LOOK_SECONDS = 2.0  # between two looks at the root: one stat and the list of mounts, 0.1 ms
_CALM_SECONDS = 1.0  # after events were lost: the watches are made anew, and another overflow would make that futile
_SIGN_SECONDS = 20.0  # the emitter gives a sign of life at least this often
_SILENT_SECONDS = 60.0  # a root whose threads give no sign of life for so long does not answer
_MOST_EVENTS = 32_768  # waiting in the queue, about 350 bytes each; beyond them the root is surveyed
_NEWS = object()  # in the queue: the observer is to look at the root now


@dataclass(frozen=True, slots=True)
class RootState:
    """How well a root is watched."""

    online: bool
    mode: Literal["inotify", "polled"]
    line: str  # for a person
    folders: int  # under watch by the kernel


class RootObserver(BaseObserver):
    """Watches one root (absolute, resolved); made, started and stopped by `Watcher`."""

    def __init__(
        self, root: bytes, rules: WalkRules, hints: Hints, say: Callable[[str], None], poll_seconds: float
    ) -> None:
        super().__init__(
            TreeEmitter, timeout=_SIGN_SECONDS, rules=rules, going_on=self._going_on, has_news=self.look_soon
        )
        self.name = f"watch {os.fsdecode(root)}"
        self.root = root
        self._buffer = EventBuffer(_MOST_EVENTS)
        self._handler = HintingHandler(root, rules, hints)
        self._hints = hints
        self._say = say
        self._poll_seconds = poll_seconds
        self._state = RootState(True, "inotify", "not watched yet", 0)
        self._alive_at = time.monotonic()
        self._look_at = 0.0
        self._place: Place | None = None
        self._was_seen = False
        self._scheduled: ObservedWatch | None = None
        self._why_polled = ""
        self._why_offline = ""
        self._renew_at: float | None = 0.0  # when the watches are to be made anew, whatever lies at the path
        self._polled_at = 0.0
        self._said = ("", "")  # `_why_offline` and `_why_polled` when they were last said

    @property
    def event_queue(self) -> EventQueue:
        """Bounded, unlike that of other observers."""
        return self._buffer

    # what other threads may call

    def look_soon(self) -> None:
        """Have the root looked at now."""
        self._look_at = 0.0
        try:
            self._buffer.put(_NEWS)
        except queue.Full:
            pass  # the thread is busy with events, and looks at the root before the next one

    def state(self) -> RootState:
        """How the root is watched, as of the last look at it."""
        state, silent_seconds = self._state, time.monotonic() - self._last_sign()
        if silent_seconds < _SILENT_SECONDS:
            return state
        return RootState(False, state.mode, f"offline: it has not answered for {silent_seconds:.0f} s", state.folders)

    def on_thread_stop(self) -> None:
        """The emitter is ended by the observer's own thread, as it may hang with its disk, and the caller must not."""

    # From here on all is done by the observer's thread.

    def run(self) -> None:
        """Watch until stopped."""
        try:
            super().run()
        except Stopped:
            pass
        finally:
            self.unschedule_all()

    def dispatch_events(self, event_queue: EventQueue) -> None:
        """Look at the root if it is time, then turn one event into hints; raises queue.Empty if there is none."""
        self._going_on()
        try:
            if time.monotonic() >= self._look_at:
                self._look_at = time.monotonic() + _LOOK_SECONDS
                self._take_news()
                self._look_at_root()
        except Stopped:
            raise
        except Exception:  # noqa: BLE001 - whatever it was: better a survey too many than a root that stays deaf
            _log.exception("watching %s failed; it is watched anew", self.root)
            self._renew_at = time.monotonic() + _CALM_SECONDS
            self.stopped_event.wait(_CALM_SECONDS)
        entry = event_queue.get(timeout=max(0.0, self._look_at - time.monotonic()))
        if isinstance(entry, tuple):
            self._handler.dispatch(entry[0])

    def _going_on(self) -> None:
        self._alive_at = time.monotonic()
        if self.stopped_event.is_set():
            raise Stopped

    def _emitter(self) -> TreeEmitter | None:
        # a copy of the set, because `state` asks from other threads while this one changes it
        return next((emitter for emitter in list(self.emitters) if isinstance(emitter, TreeEmitter)), None)

    def _last_sign(self) -> float:
        emitter = self._emitter()
        return min(self._alive_at, emitter.alive_at) if emitter is not None else self._alive_at

    def _take_news(self) -> None:
        """Draw the consequences of what the emitter noted."""
        emitter = self._emitter()
        if emitter is None:
            return
        if emitter.ran_out:
            self._fall_back(emitter.ran_out)
            self._hints.everything(self.root)
        elif emitter.lost_events:
            emitter.lost_events = False
            if self._renew_at is None:
                self._say(f"{os.fsdecode(self.root)}: more happened than could be kept; the root is looked through")
            self._renew_at = time.monotonic() + _CALM_SECONDS
            self._hints.everything(self.root)
        elif emitter.is_stale or not emitter.is_alive():
            self._renew_at = 0.0

    def _look_at_root(self) -> None:
        mounts = current_mounts()
        now = time.monotonic()
        place = place_of(self.root, mounts)
        if place != self._place or (self._renew_at is not None and now >= self._renew_at):
            self._renew(place, mounts)
        elif self._why_polled and place is not None and now >= self._polled_at + self._poll_seconds:
            self._polled_at = now
            if self._scheduled is None:
                self._open(mounts)  # there may be room for its watches by now
            self._hints.everything(self.root)
        if self._why_offline and place is not None and not is_empty_folder(self.root):
            self._why_offline = ""
        self._tell()

    def _renew(self, place: Place | None, mounts: list[Mount]) -> None:
        self._close()
        self._renew_at = None
        self._why_offline = why_offline(self.root, self._place, place, was_seen=self._was_seen)
        self._place = place
        if place is not None:
            self._was_seen = True
            self._open(mounts)
        self._polled_at = time.monotonic()
        self._hints.everything(self.root)

    def _open(self, mounts: list[Mount]) -> None:
        """Watch the root as well as its file systems allow."""
        self._why_polled, has_events = why_only_polled(self.root, mounts)
        if not has_events:
            return
        try:
            self._scheduled = self.schedule(self._handler, os.fsdecode(self.root), recursive=True)
        except WatchesRanOut as error:
            self._fall_back(str(error))
        except OSError as error:
            self._renew_at = time.monotonic() + self._poll_seconds
            self._why_offline = error.strerror or str(error)
        else:
            emitter = self._emitter()
            if emitter is not None and emitter.mounted_twice is not None:
                self._why_polled = f"{os.fsdecode(emitter.mounted_twice)} is in it twice, and heard under one name only"

    def _fall_back(self, why: str) -> None:
        """Do without events."""
        self._close()
        self._why_polled = why
        self._polled_at = time.monotonic()

    def _close(self) -> None:
        if self._scheduled is not None:
            self.unschedule(self._scheduled)
            self._scheduled = None

    def _tell(self) -> None:
        emitter = self._emitter()
        folders = emitter.folders if emitter is not None else 0
        if self._why_offline:
            line = f"offline: {self._why_offline}"
        elif self._why_polled:
            line = f"looked through every {self._poll_seconds:g} s: {self._why_polled}"
        else:
            line = f"{folders} folders are watched"
        self._state = RootState(not self._why_offline, "polled" if self._why_polled else "inotify", line, folders)
        if (self._why_offline, self._why_polled) != self._said:
            self._said = (self._why_offline, self._why_polled)
            self._say(f"{os.fsdecode(self.root)}: {line}")
