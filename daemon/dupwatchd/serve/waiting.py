"""Who waits for the index to be up to date, and when they are told.

In: requests to `wait`, and the word that the updater rests. Out: the Future of each request, set with its result. All
of them share one thread, whose function is `Waiting.run`; it sleeps while nobody waits. Their number is bounded:
beyond it the user with most of them gets an early answer on one connection, after which its client may ask again.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from dupwatchd.serve.request_queue import Peer
from dupwatchd.serve.results import WaitResult

WAITERS_MAX = 1024
# What has changed on disk just before a client asked may not have been heard of yet. So the index must be quiet for a
# while after that; and for some looks, for on a busy machine those who would hear of it get their turn late, as we do.
QUIET_SECONDS = 0.3
QUIET_LOOKS = 6
SHORT_SECONDS = 2 * QUIET_SECONDS  # who waits no longer wants to know how it is now, and is told that
_QUIET_LOOK_SECONDS = 0.05
_BUSY_LOOK_SECONDS = 1.0  # a hint that turns out to be none ends a busy time, too, and nobody tells


@dataclass(eq=False, slots=True)
class _Waiter:
    peer: Peer
    deadline: float
    is_short: bool
    answer: "Future[WaitResult]"
    quiet_since: float = 0.0
    quiet_looks: int = 0  # since then

    def look(self, now: float, *, is_quiet: bool, was_busy: bool) -> bool:
        """Take note of how the index is; whether it was quiet for long enough since the client came."""
        if was_busy or not is_quiet:
            self.quiet_looks = 0
        if is_quiet and not self.quiet_looks:
            self.quiet_since = now
        self.quiet_looks += is_quiet
        return self.quiet_looks >= QUIET_LOOKS and now - self.quiet_since >= QUIET_SECONDS


class Waiting:
    """All clients that wait; any thread may call."""

    def __init__(self, is_quiet: Callable[[], bool], pending: Callable[[], int]) -> None:
        self._is_quiet = is_quiet
        self._pending = pending
        self._changed = threading.Condition()
        self._waiters: dict[_Waiter, None] = {}  # in the order in which they came
        self._rested = 0  # how often the updater said so
        self._closed = False

    def wait(self, peer: Peer, seconds: float) -> "Future[WaitResult]":
        """The answer for one client: set once nothing is pending, or after so many seconds; it may be cancelled.

        Whoever waits for less than SHORT_SECONDS is told at the end whether nothing is pending at that moment.
        """
        waiter = _Waiter(peer, time.monotonic() + seconds, seconds < SHORT_SECONDS, Future())
        with self._changed:
            self._forget_cancelled()
            evicted = self._most_of_one_user() if len(self._waiters) >= WAITERS_MAX else None
            if evicted is not None:
                del self._waiters[evicted]
            self._waiters[waiter] = None
            self._changed.notify()
        if evicted is not None:
            self._answer([evicted], idle=False)
        return waiter.answer

    def notify(self) -> None:
        """The updater has done all that it had to do: a moment later, if nothing comes, the index is up to date."""
        with self._changed:
            self._rested += 1
            self._changed.notify()

    def close(self) -> None:
        """End `run`, and answer nobody any more."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def run(self) -> None:
        """Answer all waiters, each in its time, until `close`; the function of a thread."""
        rested = self._rested
        while True:
            now = time.monotonic()
            is_quiet = self._is_quiet()
            with self._changed:
                if self._closed:
                    return
                self._forget_cancelled()
                was_busy, rested = rested != self._rested, self._rested
                idle = [one for one in self._waiters if one.look(now, is_quiet=is_quiet, was_busy=was_busy)]
                ended = [one for one in self._waiters if one.deadline <= now and one not in idle]
                idle += [one for one in ended if is_quiet and one.is_short]
                late = [one for one in ended if one not in idle]
                for waiter in (*idle, *late):
                    del self._waiters[waiter]
                if not idle and not late:
                    self._changed.wait(self._seconds_to_sleep(now, is_quiet=is_quiet))
            self._answer(idle, idle=True)
            self._answer(late, idle=False)

    def _seconds_to_sleep(self, now: float, *, is_quiet: bool) -> float | None:
        """Holding the lock: how long nothing can happen by itself; None: until somebody comes."""
        if not self._waiters:
            return None
        next_deadline = min(waiter.deadline for waiter in self._waiters)
        return max(0.0, min(next_deadline - now, _QUIET_LOOK_SECONDS if is_quiet else _BUSY_LOOK_SECONDS))

    def _answer(self, waiters: list[_Waiter], *, idle: bool) -> None:
        for waiter in waiters:
            if waiter.answer.set_running_or_notify_cancel():
                waiter.answer.set_result({"idle": idle, "pending": self._pending()})

    def _forget_cancelled(self) -> None:
        """Holding the lock: whose client has gone waits no more."""
        for waiter in [waiter for waiter in self._waiters if waiter.answer.cancelled()]:
            del self._waiters[waiter]

    def _most_of_one_user(self) -> _Waiter:
        """Holding the lock: the oldest waiter of the user that has most of them, on the connection with most."""
        [(user, _)] = Counter(waiter.peer.user for waiter in self._waiters).most_common(1)
        [(peer, _)] = Counter(waiter.peer for waiter in self._waiters if waiter.peer.user == user).most_common(1)
        return next(waiter for waiter in self._waiters if waiter.peer is peer)
