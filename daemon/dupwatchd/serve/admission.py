"""Decides which users may begin to listen to events at the moment.

In: who wants to listen, and who has said too much, with the time. Out: yes or no. There is no socket and no clock here.

Each user may begin to listen `LISTENERS_AT_ONCE` times, and again as time goes by: a client listens once and for long.
Whoever says too much is turned away for a second, the next time for two, and so on up to `TURNED_AWAY_SECONDS_MAX`;
after `FORGIVEN_SECONDS` without another offence all is forgotten. A listener that was turned away comes back by itself.
"""

from dataclasses import dataclass

LISTENERS_AT_ONCE = 32
LISTENERS_PER_SECOND = 4.0
TURNED_AWAY_SECONDS, TURNED_AWAY_SECONDS_MAX = 1.0, 60.0
FORGIVEN_SECONDS = 600.0

User = int | str | None  # over TCP the address; None: the connection had gone before it was looked at


@dataclass(slots=True)
class _Record:
    """What is known of one user; times are seconds on the monotonic clock."""

    listeners: float  # how many may begin at once
    counted_at: float
    until: float = 0.0  # turned away
    seconds: float = 0.0  # for how long it was turned away last


class Admission:
    """What is remembered of the users that listen; not to be used by two threads at once."""

    def __init__(self) -> None:
        self._records: dict[User, _Record] = {}

    def may_begin(self, user: User, now: float) -> bool:
        """Whether a user may begin to listen once more, which counts."""
        record = self._record(user, now)
        earned = (now - record.counted_at) * LISTENERS_PER_SECOND
        record.listeners = min(record.listeners + earned, LISTENERS_AT_ONCE)
        record.counted_at = now
        if now < record.until or record.listeners < 1:
            return False
        record.listeners -= 1
        return True

    def said_too_much(self, user: User, now: float) -> None:
        """A listener of this user had to be ended; what others of the user say meanwhile is no further offence."""
        record = self._record(user, now)
        if now >= record.until:
            record.seconds = min(max(TURNED_AWAY_SECONDS, record.seconds * 2), TURNED_AWAY_SECONDS_MAX)
            record.until = now + record.seconds

    def is_turned_away(self, user: User, now: float) -> bool:
        """Whether a user has said too much a short while ago."""
        record = self._records.get(user)
        return record is not None and now < record.until

    def _record(self, user: User, now: float) -> _Record:
        record = self._records.get(user)
        if record is None:
            self._records = {one: other for one, other in self._records.items() if not _is_forgiven(other, now)}
        if record is None or _is_forgiven(record, now):
            record = self._records[user] = _Record(LISTENERS_AT_ONCE, now)
        return record


def _is_forgiven(record: _Record, now: float) -> bool:
    return now - max(record.until, record.counted_at) > FORGIVEN_SECONDS
