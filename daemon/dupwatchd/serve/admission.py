"""Decides which users may connect at the moment: to listen to events, and to ask.

In: what a user does that is bounded, and who has overdone it, with the time. Out: yes or no. There is no socket and no
clock here.

Each user may do it some times at once, and again as time goes by: begin to listen `LISTENERS_AT_ONCE` times, for a
client listens once and for long; go on asking, without waiting for answers, after `REFUSALS_AT_ONCE` refusals. Whoever
overdoes it is turned away for a second, the next time for two, and so on up to `TURNED_AWAY_SECONDS_MAX`; after
`FORGIVEN_SECONDS` without another offence all is forgotten. Clients that are turned away come back by themselves.
"""

from dataclasses import dataclass

LISTENERS_AT_ONCE = 32
LISTENERS_PER_SECOND = 4.0
# Of requests that came before an earlier one was answered. Who does not wait for answers was refused 2,700 times in a
# second, as quickly as the thread of the socket could, and others waited in its line.
REFUSALS_AT_ONCE = 200
REFUSALS_PER_SECOND = 10.0
TURNED_AWAY_SECONDS, TURNED_AWAY_SECONDS_MAX = 1.0, 60.0
FORGIVEN_SECONDS = 600.0

User = int | str | None  # over TCP the address; None: the connection had gone before it was looked at


@dataclass(slots=True)
class _Record:
    """What is known of one user; times are seconds on the monotonic clock."""

    left: float  # how often it may do it now
    counted_at: float
    until: float = 0.0  # turned away
    seconds: float = 0.0  # for how long it was turned away last


class Admission:
    """What is remembered of the users that do one such thing; not to be used by two threads at once."""

    def __init__(self, at_once: float, per_second: float) -> None:
        self._at_once = at_once
        self._per_second = per_second
        self._records: dict[User, _Record] = {}

    def may(self, user: User, now: float) -> bool:
        """Whether a user may do it once more, which counts."""
        record = self._record(user, now)
        record.left = min(record.left + (now - record.counted_at) * self._per_second, self._at_once)
        record.counted_at = now
        if now < record.until or record.left < 1:
            return False
        record.left -= 1
        return True

    def has_overdone(self, user: User, now: float) -> None:
        """A connection of this user had to be ended; what its others do meanwhile is no further offence."""
        record = self._record(user, now)
        if now >= record.until:
            record.seconds = min(max(TURNED_AWAY_SECONDS, record.seconds * 2), TURNED_AWAY_SECONDS_MAX)
            record.until = now + record.seconds

    def is_turned_away(self, user: User, now: float) -> bool:
        """Whether a user has overdone it a short while ago."""
        record = self._records.get(user)
        return record is not None and now < record.until

    def _record(self, user: User, now: float) -> _Record:
        record = self._records.get(user)
        if record is None:
            self._records = {one: other for one, other in self._records.items() if not _is_forgiven(other, now)}
        if record is None or _is_forgiven(record, now):
            record = self._records[user] = _Record(self._at_once, now)
        return record


def _is_forgiven(record: _Record, now: float) -> bool:
    return now - max(record.until, record.counted_at) > FORGIVEN_SECONDS
