"""Decides whether a user may have folders looked through once more at the moment.

In: who asks, the time, and how long the last such look took. Out: yes or no. There is no socket and no clock here.

A look keeps the whole service from being up to date, and everybody who waits for that. So each user may ask
`RESCANS_AT_ONCE` times, which mostly becomes a look or two, and then once in `SECONDS_PER_RESCAN`, or in several times
as long as a look takes: in between there is time in which nothing is left to do.
"""

from dupwatchd.serve.usage import User

RESCANS_AT_ONCE = 16
SECONDS_PER_RESCAN = 2.0
_LOOKS_PER_RESCAN = 4.0


class Rescans:
    """What is remembered of the users who ask for folders to be looked through; for one thread at a time."""

    def __init__(self) -> None:
        self._asked: dict[User, tuple[float, float]] = {}  # how often that still counts, and when it was counted

    def may_ask(self, user: User, now: float, look_seconds: float) -> bool:
        """Whether a user may ask once more, which counts; ``now`` is on the monotonic clock."""
        forgotten_per_second = 1 / max(SECONDS_PER_RESCAN, _LOOKS_PER_RESCAN * look_seconds)
        self._asked = {
            one: (left, now)
            for one, (count, counted_at) in self._asked.items()
            if (left := count - (now - counted_at) * forgotten_per_second) > 0
        }
        count, _ = self._asked.get(user, (0.0, now))
        if count > RESCANS_AT_ONCE - 1:
            return False
        self._asked[user] = count + 1, now
        return True
