"""Decides what a listener may have missed.

In: numbered events and ticks, as they come. Out: the same events, with a `Notice` wherever some are missing. There is
no socket and no clock here.
"""

from collections.abc import Collection, Iterator
from typing import NamedTuple

from dupwatch.wire import TICK, Event


class Notice(NamedTuple):
    """Something about the stream itself."""

    kind: str  # "away": nobody publishes at the moment; "resync": events were missed, ask anew
    reason: str


class MissedEventFinder:
    """Compares the number of each event with the last one seen of its topic."""

    def __init__(self, topics: Collection[str]) -> None:
        self._topics = frozenset(topics)
        self._run: str | None = None
        self._reached: dict[str, int] = {}
        self._away = False

    @property
    def has_begun(self) -> bool:
        """Whether anything was heard."""
        return self._run is not None

    def lost(self, reason: str) -> Iterator[Notice]:
        """The service cannot be heard: one notice, until it is heard again."""
        if not self._away:
            self._away = True
            yield Notice("away", reason)

    def take(self, event: Event) -> Iterator[Event | Notice]:
        """What to hand on for one message: the event itself, unless it was seen, and before it what was missed."""
        self._away = False
        if event.run != self._run:
            if self._run is not None:
                yield Notice("resync", "the service was started anew")
            self._run, self._reached = event.run, {}
        if event.topic == TICK:
            yield from self._compare(event.fields)
        elif event.topic in self._topics:
            before = self._reached.get(event.topic, event.seq - 1)
            if event.seq <= before:
                return  # a tick told of it before it came, and it was reported as missed
            self._reached[event.topic] = event.seq
            if event.seq > before + 1:
                yield _missed(event.seq - before - 1)
            yield event

    def _compare(self, reached: dict[str, object]) -> Iterator[Notice]:
        missed = 0
        for topic in sorted(self._topics):
            number = reached.get(topic, 0)
            if type(number) is int:
                missed += max(number - self._reached.get(topic, number), 0)
                self._reached[topic] = max(number, self._reached.get(topic, 0))
        if missed:
            yield _missed(missed)


def _missed(count: int) -> Notice:
    return Notice("resync", f"{count:,} event{'s' * (count != 1)} missed")
