"""Keeps every root under watch, and says of each how well: by events, by looking from time to time, or not at all.

In go the roots and the rules, out come hints and, for a person, a line whenever the state of a root changes. Each root
has an observer of its own (`observer.py`); this module starts, replaces and stops them.
"""

import os
import time
from collections.abc import Callable, Sequence

from dupwatchd.watch.hints import Hints
from dupwatchd.watch.observer import RootObserver, RootState
from dupwatchd.watch.walk import WalkRules

_STOP_SECONDS = 10.0

__all__ = ["RootState", "Watcher"]


class Watcher:
    """Watches roots: absolute, resolved, none inside another. One thread calls `start`, `stop` and `check`."""

    def __init__(
        self,
        roots: Sequence[bytes],
        rules: WalkRules,
        hints: Hints,
        say: Callable[[str], None],
        poll_seconds: float = 300.0,
    ) -> None:
        self._say = say
        self._make: Callable[[bytes], RootObserver] = lambda root: RootObserver(root, rules, hints, say, poll_seconds)
        self._observers = [self._make(root) for root in roots]
        self._is_running = False

    def start(self) -> None:
        """Begin; each root gets a hint for everything once it is under watch, so that nothing falls between."""
        self._is_running = True
        for observer in self._observers:
            observer.start()

    def stop(self) -> None:
        """End; no hint comes after it, unless a disk hangs for longer than ten seconds. May be called twice."""
        if not self._is_running:
            return
        self._is_running = False
        for observer in self._observers:
            observer.stop()
        deadline = time.monotonic() + _STOP_SECONDS
        for observer in self._observers:  # daemon threads: a disk that hangs does not keep the program from ending
            observer.join(max(0.0, deadline - time.monotonic()))

    def check(self) -> None:
        """Have the roots looked at now, and replace observers whose thread died."""
        if not self._is_running:
            return
        for number, observer in enumerate(self._observers):
            if observer.is_alive():
                observer.look_soon()
            else:
                self._say(f"{os.fsdecode(observer.root)}: the thread that watches died; the root is watched anew")
                self._observers[number] = self._make(observer.root)
                self._observers[number].start()

    def states(self) -> dict[bytes, RootState]:
        """How each root is watched, as of the last look at it; any thread may ask."""
        return {observer.root: observer.state() for observer in list(self._observers)}

    def healthy(self) -> bool:
        """Do all threads live? A root that hangs is no fault of ours: `states` tells of it."""
        return self._is_running and all(observer.is_alive() for observer in self._observers)
