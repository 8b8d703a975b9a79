"""Tells which user is to stand back, because he has lately taken most of the processor while others are about.

In: who asks, and how much processor time each answer took. Out: whether a user may have more than one thread of a lane
at the moment. All threads share one interpreter, and whoever keeps several of them busy is in the way of all others.
A user who is alone never has to stand back. What was used counts less and less with time.
"""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

FORGOTTEN_SECONDS = 10.0  # in which what was used falls to a third, and after which who asks nothing is not about
MUCH_SECONDS = 1.0  # of processor time: beyond this a user stands back

User = int | str  # a number of the system, or a public key; empty for all who come over TCP without one


@dataclass(slots=True)
class _Record:
    """Of one user; times are seconds of the clock."""

    used_seconds: float = 0.0
    counted_at: float = 0.0
    asked_at: float = -math.inf


class Usage:
    """What the users have used of late; any thread may call."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._records: dict[User, _Record] = {}
        self._lock = threading.Lock()

    def asks(self, user: User) -> None:
        """A user has asked for something."""
        with self._lock:
            self._record(user).asked_at = self._clock()

    def used(self, user: User, seconds: float) -> None:
        """What was asked for has taken so much processor time."""
        with self._lock:
            self._record(user).used_seconds += seconds

    def must_stand_back(self, user: User) -> bool:
        """Whether a user has used much, and more than anybody else, while others are about."""
        with self._lock:
            used_seconds = self._record(user).used_seconds
            if used_seconds <= MUCH_SECONDS:
                return False
            since = self._clock() - FORGOTTEN_SECONDS
            others = [other for other, record in self._records.items() if other != user and record.asked_at > since]
            return bool(others) and used_seconds >= max(self._record(other).used_seconds for other in others)

    def _record(self, user: User) -> _Record:
        """Holding the lock: the record of a user, as of now."""
        now = self._clock()
        if user not in self._records:
            old = now - 10 * FORGOTTEN_SECONDS  # by then nothing of it is left
            self._records = {
                one: record for one, record in self._records.items() if max(record.asked_at, record.counted_at) > old
            }
        record = self._records.setdefault(user, _Record(counted_at=now))
        record.used_seconds *= math.exp((record.counted_at - now) / FORGOTTEN_SECONDS)
        record.counted_at = now
        return record
