"""Keeps every root under watch, and says of each how well: by events, by looking from time to time, or not at all.

One thread owns all watches, reads the events and looks after the roots. Others call `start`, `stop` and `check`, and
get copies. Whatever may have been missed — a full queue, a disk that came back, a thread that died — is made good by
one hint for the whole root, given when the root is under watch again.
"""

import logging
import os
import select
import stat
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from dupwatchd.watch.hints import Hints
from dupwatchd.watch.inotify import TreeWatch, WatchesRanOut
from dupwatchd.watch.mounts import Mount, current_mounts, mount_of, mounts_below
from dupwatchd.watch.walk import WalkRules

_LOG = logging.getLogger(__name__)
_LOOK_SECONDS = 2.0  # between two looks at the roots: one stat each and the list of mounts, 0.1 ms
_GATHER_SECONDS = 0.02  # from the first event to reading: the kernel joins repeated ones, and we wake 50 times a second
_CALM_SECONDS = 1.0  # after the queue ran over; the watches are made anew, which another overflow would make futile
_SILENT_SECONDS = 60.0  # the thread gives a sign of life at least every two seconds, if the disk lets it
_STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class RootState:
    """How well a root is watched."""

    online: bool
    mode: Literal["inotify", "polled"]
    line: str  # for a person
    folders: int  # under watch by the kernel


@dataclass(frozen=True)
class _Place:
    """What lies at a root's path: another value means another disk or folder, and the watches are worth nothing."""

    mount: int | None
    device_and_inode: tuple[int, int] | None  # None on a network, which is not touched here: it may hang
    below: frozenset[tuple[int, bytes]]  # mounts below it


@dataclass
class _Root:
    path: bytes
    place: _Place | None = None
    tree: TreeWatch | None = None
    why_polled: str = ""
    why_offline: str = ""
    renew_at: float | None = 0.0  # when the watches are to be made anew, whatever the place
    polled_at: float = 0.0
    was_seen: bool = False
    told: tuple[str, str] = ("", "")  # why_offline and why_polled as last said


class Watcher:
    """Watches roots: absolute, resolved, none inside another."""

    def __init__(
        self,
        roots: Sequence[bytes],
        rules: WalkRules,
        hints: Hints,
        say: Callable[[str], None],
        poll_seconds: float = 300.0,
    ) -> None:
        self._rules = rules
        self._hints = hints
        self._say = say
        self._poll_seconds = poll_seconds
        self._roots = [_Root(root) for root in roots]
        self._states = {root: RootState(True, "inotify", "not watched yet", 0) for root in roots}
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._look_at = 0.0
        self._alive_at = 0.0

    def start(self) -> None:
        """Begin; each root gets a hint for everything once it is under watch, so that nothing falls between."""
        self._alive_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End; no hint comes after it. May be called twice."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        os.eventfd_write(self._wake, 1)
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS)  # it is a daemon: a disk that hangs does not keep the program
        if not (self._thread and self._thread.is_alive()):
            os.close(self._wake)

    def check(self) -> None:
        """Have the roots looked at now, and replace the thread if it died."""
        if self._thread is None or self._stopping.is_set():
            return
        if not self._thread.is_alive():
            self._say("the thread that watches died; it is started again, and every root is looked through")
            for root in self._roots:
                root.renew_at = 0.0
            self.start()
        self._look_at = 0.0
        os.eventfd_write(self._wake, 1)

    def states(self) -> dict[bytes, RootState]:
        """How each root is watched, as of the last look."""
        return dict(self._states)

    def healthy(self) -> bool:
        """Does the thread live, and has it not been stuck for long?"""
        lives = self._thread is not None and self._thread.is_alive()
        return lives and time.monotonic() - self._alive_at < _SILENT_SECONDS

    # From here on all is done by the thread.

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    self._turn()
                except _Stopped:
                    return
                except Exception:  # noqa: BLE001 - whatever it was: better a scan too many than deaf for ever
                    _LOG.exception("watching failed; all roots are watched anew")
                    for root in self._roots:
                        root.renew_at = time.monotonic() + _CALM_SECONDS
                    self._stopping.wait(_CALM_SECONDS)
        finally:
            for root in self._roots:
                self._close(root)

    def _turn(self) -> None:
        """Look after the roots if it is time, then wait for events and pass them on."""
        self._going_on()
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + _LOOK_SECONDS
            self._look_after_roots()
        if self._await_events():
            self._stopping.wait(_GATHER_SECONDS)
            for root in self._roots:
                if root.tree is not None:
                    self._read(root, root.tree)

    def _going_on(self) -> None:
        self._alive_at = time.monotonic()
        if self._stopping.is_set():
            raise _Stopped

    def _await_events(self) -> bool:
        poller = select.poll()
        poller.register(self._wake, select.POLLIN)
        for root in self._roots:
            if root.tree is not None:
                poller.register(root.tree.fileno(), select.POLLIN)
        ready = poller.poll(max(0.0, self._look_at - time.monotonic()) * 1000)
        if any(descriptor == self._wake for descriptor, _ in ready):
            os.eventfd_read(self._wake)
        return any(descriptor != self._wake for descriptor, _ in ready)

    def _read(self, root: _Root, tree: TreeWatch) -> None:
        try:
            tree.read()
        except WatchesRanOut as error:
            self._fall_back(root, str(error))
            self._hints.everything(root.path)
            return
        if tree.lost_events:
            tree.lost_events = False
            if root.renew_at is None:
                self._say(f"{os.fsdecode(root.path)}: more happened than the kernel kept; the root is looked through")
            root.renew_at = time.monotonic() + _CALM_SECONDS
            self._hints.everything(root.path)
        elif tree.is_stale:
            self._look_at = 0.0
        elif self._hints.are_too_many:
            self._hints.everything(root.path)

    def _look_after_roots(self) -> None:
        mounts = current_mounts()
        for root in self._roots:
            self._look_after(root, mounts)
        self._states = {root.path: self._state(root) for root in self._roots}
        for root in self._roots:
            told = (root.why_offline, root.why_polled)
            if told != root.told:
                root.told = told
                self._say(f"{os.fsdecode(root.path)}: {self._states[root.path].line}")

    def _look_after(self, root: _Root, mounts: list[Mount]) -> None:
        now = time.monotonic()
        place = _place_of(root.path, mounts)
        is_stale = root.tree is not None and root.tree.is_stale
        is_overdue = root.renew_at is not None and now >= root.renew_at
        may_poll = root.why_polled != "" and place is not None and now >= root.polled_at + self._poll_seconds
        if place != root.place or is_stale or is_overdue:
            self._close(root)
            root.renew_at = None
            root.why_offline = _why_offline(root, place)
            root.place = place
            if place is not None:
                root.was_seen = True
                self._open(root, mounts)
            root.polled_at = now
            self._hints.everything(root.path)
        elif may_poll:
            root.polled_at = now
            if root.tree is None:
                self._open(root, mounts)  # there may be room for its watches by now
            self._hints.everything(root.path)
        if root.why_offline and place is not None and not _is_empty(root.path):
            root.why_offline = ""

    def _open(self, root: _Root, mounts: list[Mount]) -> None:
        """Watch a root as well as its file systems allow."""
        mount = mount_of(root.path, mounts)
        remote = [below for below in mounts_below(root.path, mounts) if below.is_remote]
        root.why_polled = ""
        if mount is not None and mount.is_remote:
            root.why_polled = f"{mount.kind} does not tell what others change"
            return
        if remote:
            where = os.fsdecode(remote[0].place)
            root.why_polled = f"{where} in it is {remote[0].kind}, which does not tell what others change"
        elif mount is not None and mount.is_layered:
            root.why_polled = f"{mount.kind} does not tell what changes in its layers"
        skipped = frozenset(below.place for below in remote)
        try:
            root.tree = TreeWatch(root.path, self._rules, skipped, self._hints, self._going_on)
            if root.tree.doubled is not None:
                root.why_polled = f"{os.fsdecode(root.tree.doubled)} is in it twice, and heard under one name only"
        except WatchesRanOut as error:
            self._fall_back(root, str(error))
        except OSError as error:
            root.renew_at = time.monotonic() + self._poll_seconds
            root.why_offline = error.strerror or str(error)

    def _fall_back(self, root: _Root, why: str) -> None:
        self._close(root)
        root.why_polled = why
        root.polled_at = time.monotonic()
        self._look_at = 0.0

    def _close(self, root: _Root) -> None:
        if root.tree is not None:
            root.tree.close()
            root.tree = None

    def _state(self, root: _Root) -> RootState:
        folders = len(root.tree) if root.tree is not None else 0
        mode: Literal["inotify", "polled"] = "polled" if root.why_polled else "inotify"
        if root.why_offline:
            line = f"offline: {root.why_offline}"
        elif root.why_polled:
            line = f"looked through every {self._poll_seconds:g} s: {root.why_polled}"
        else:
            line = f"{folders} folders are watched"
        return RootState(not root.why_offline, mode, line, folders)


class _Stopped(Exception):  # noqa: N818 - it ends the thread, from however deep
    """`stop` was called."""


def _place_of(path: bytes, mounts: list[Mount]) -> _Place | None:
    """What lies at a path; None if there is no folder."""
    mount = mount_of(path, mounts)
    number = mount.number if mount is not None else None
    below = frozenset((one.number, one.place) for one in mounts_below(path, mounts))
    if mount is not None and mount.is_remote:
        return _Place(number, None, below)
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return _Place(number, (status.st_dev, status.st_ino), below) if stat.S_ISDIR(status.st_mode) else None


def _why_offline(root: _Root, place: _Place | None) -> str:
    if place is None:
        return "there is no such folder"
    if root.was_seen and place != root.place and place.device_and_inode is not None and _is_empty(root.path):
        return "it is another folder than before, and empty: its disk seems to be missing"
    return ""


def _is_empty(path: bytes) -> bool:
    try:
        with os.scandir(path) as entries:
            return next(entries, None) is None
    except OSError:
        return True
