"""The thread that reads one root's events: an emitter of watchdog that owns the root's `TreeWatch`.

In goes what the kernel tells, out come watchdog's events in the queue of the observer that made the emitter
(`observer.py`). Whatever makes the events incomplete is noted in the emitter's public attributes, for its observer.
"""

import logging
import os
import queue
import select
import threading
import time
from collections.abc import Callable

from watchdog.events import FileSystemEvent
from watchdog.observers.api import EventEmitter, EventQueue, ObservedWatch

from dupwatchd.watch.inotify import TreeWatch, WatchesRanOut
from dupwatchd.watch.mounts import current_mounts, mounts_below
from dupwatchd.watch.walk import WalkRules

_log = logging.getLogger(__name__)
# From the first event to reading: the kernel joins repeated events, and the thread wakes at most 50 times a second.
_GATHER_SECONDS = 0.02


class Stopped(Exception):  # noqa: N818 - it ends a thread, from however deep
    """The observer or the emitter was told to stop."""


class EventBuffer(EventQueue):
    """A queue of at most ``maxsize`` entries in which no producer ever waits.

    A waiting producer could never be stopped by the thread that empties the queue.
    """

    def __init__(self, maxsize: int) -> None:
        super().__init__(maxsize)
        self._producers = threading.Lock()

    def put(self, item: object, block: bool = True, timeout: float | None = None) -> None:  # noqa: ARG002
        """Add an entry at once; raises queue.Full."""
        with self._producers:  # without it watchdog's queue is Full for the second of two producers, too
            super().put(item, block=False)


class TreeEmitter(EventEmitter):
    """Emits the events of one root and of all folders below it. Made and stopped by a `RootObserver`."""

    def __init__(
        self,
        event_queue: EventQueue,
        watch: ObservedWatch,
        *,
        timeout: float,
        event_filter: list[type[FileSystemEvent]] | None = None,
        rules: WalkRules,
        going_on: Callable[[], None],
        has_news: Callable[[], None],
    ) -> None:
        super().__init__(event_queue, watch, timeout=timeout, event_filter=event_filter)
        self.lost_events = False  # the kernel's queue or ours overflowed
        self.is_stale = False  # the watches are worth nothing any more: a new emitter is needed
        self.ran_out = ""  # why the kernel gives no further watch; the emitter has ended then
        self.alive_at = time.monotonic()
        self._rules = rules
        self._going_on = going_on
        self._has_news = has_news
        self._tree: TreeWatch | None = None
        self._closing = threading.Lock()  # around `_wake`, which a stop writes to and the thread closes at its end
        self._wake: int | None = None

    @property
    def folders(self) -> int:
        """How many folders are watched."""
        return len(self._tree) if self._tree is not None else 0

    @property
    def mounted_twice(self) -> bytes | None:
        """A folder that lies in two places of the root; its events name the other place."""
        return self._tree.mounted_twice if self._tree is not None else None

    def on_thread_start(self) -> None:
        """Watch all folders, in the thread of the caller. Raises WatchesRanOut, OSError or Stopped."""
        root = os.fsencode(self.watch.raw_path)
        remote = frozenset(mount.place for mount in mounts_below(root, current_mounts()) if mount.is_remote)
        self._tree = TreeWatch(root, self._rules, remote, self.queue_event, self._go_on)
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def on_thread_stop(self) -> None:
        """End the wait for events."""
        with self._closing:
            if self._wake is not None:
                os.eventfd_write(self._wake, 1)

    def queue_event(self, event: FileSystemEvent) -> None:
        """Add an event to the queue; if that is full, the root has lost events."""
        try:
            super().queue_event(event)
        except queue.Full:
            self.lost_events = True

    def queue_events(self, timeout: float) -> None:
        """Wait for events for at most ``timeout`` seconds and queue them."""
        self.alive_at = time.monotonic()
        tree = self._tree
        assert tree is not None
        poller = select.poll()
        for descriptor in (tree.fileno(), self._wake):
            if descriptor is not None:
                poller.register(descriptor, select.POLLIN)
        if not poller.poll(timeout * 1000) or self.stopped_event.wait(_GATHER_SECONDS):
            return
        try:
            tree.read()
        except WatchesRanOut as error:
            self.ran_out = str(error)
            self.stop()
        self.lost_events |= tree.lost_events
        self.is_stale |= tree.is_stale
        tree.lost_events = False
        if self.lost_events or self.is_stale or self.ran_out:
            self._has_news()

    def run(self) -> None:
        """Emit until stopped. A fault is logged and leaves the emitter stale, which its observer mends."""
        try:
            super().run()
        except Stopped:
            pass
        except Exception:  # noqa: BLE001 - whatever it was, the root must not stay deaf
            _log.exception("%s: reading events failed; the root is watched anew", self.watch.raw_path)
            self.is_stale = True
            self._has_news()
        finally:
            self._close()

    def _go_on(self) -> None:
        self.alive_at = time.monotonic()
        self._going_on()
        if not self.should_keep_running():
            raise Stopped

    def _close(self) -> None:
        assert self._tree is not None
        self._tree.close()
        with self._closing:
            if self._wake is not None:
                os.close(self._wake)
                self._wake = None
