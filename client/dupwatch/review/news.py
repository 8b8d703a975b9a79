"""Tells open pages what happens: a thread listens to the service, each page gets its share.

In: events of the service. Out: short messages for every open page, and a call of ``changed`` once events have come
and been quiet for a moment. A service that is away is waited for.
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from dupwatch.client import Client
from dupwatch.errors import ClientError
from dupwatch.missed_events import Notice

CHANGING_TOPICS = ("matched", "removed", "moved")  # what changes groups
QUIET_SECONDS = 1.0  # after the last event, until the groups are read anew
LONGEST_WAIT_SECONDS = 10.0  # while events keep coming
AWAY_SECONDS = 2.0  # until a service that is away is asked again
MESSAGES_MAX = 1_000  # of one page that does not read; then the oldest are dropped


class News:
    """Messages from threads to all open pages."""

    def __init__(self) -> None:
        self._pages: set[asyncio.Queue[dict[str, Any]]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_over = False

    def begin(self) -> None:
        """Remember the loop that pages are served in; called in it."""
        self._loop = asyncio.get_running_loop()

    def tell(self, message: dict[str, Any]) -> None:
        """Send a message to all pages; any thread may call."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._hand_out, message)

    def end(self) -> None:
        """End what pages listen to."""
        self._is_over = True
        self._hand_out({"kind": "over"})

    async def listen(self, first: Callable[[], dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
        """Yield a message about how things are now, and all that follow, until `end`."""
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(MESSAGES_MAX)
        self._pages.add(queue)
        try:
            yield first()  # asked for once nothing new can be missed
            while not self._is_over:
                yield await queue.get()
        finally:
            self._pages.discard(queue)

    def _hand_out(self, message: dict[str, Any]) -> None:
        for queue in self._pages:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(message)


class Listening:
    """The thread that listens to the service, and the one that reads groups anew when it has become quiet."""

    def __init__(
        self, make_client: Callable[[], Client], news: News, changed: Callable[[], None], look: Callable[[], None]
    ) -> None:
        """``look`` is called several times a second, for what no event tells of."""
        self._make_client = make_client
        self._news = news
        self._changed = changed
        self._look = look
        self._first_event: float | None = None
        self._last_event = 0.0
        self._is_away = False
        self._stopping = threading.Event()

    def start(self) -> None:
        """Start both threads; they end with the process."""
        threading.Thread(target=self._listen, name="events", daemon=True).start()
        threading.Thread(target=self._read_anew, name="reading", daemon=True).start()

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopping.set()

    def _listen(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._make_client() as client:
                    for event in client.events(CHANGING_TOPICS):
                        if self._stopping.is_set():
                            return
                        if isinstance(event, Notice) and event.kind == "away":
                            self._set_away(True, event.reason)
                        else:
                            self._set_away(False)
                            self.note()
            except ClientError as error:
                self._set_away(True, str(error))
                self._stopping.wait(AWAY_SECONDS)
                if not self._stopping.is_set():
                    self.note()

    def _set_away(self, is_away: bool, reason: str = "") -> None:
        if is_away != self._is_away:
            self._is_away = is_away
            self._news.tell({"kind": "service", "away": is_away, "reason": reason})

    def note(self) -> None:
        """Have the groups read anew once it is quiet; any thread may call."""
        now = time.monotonic()
        self._last_event = now
        if self._first_event is None:
            self._first_event = now

    def _read_anew(self) -> None:
        while not self._stopping.wait(0.2):
            self._look()
            now = time.monotonic()
            first = self._first_event
            if first is None or self._is_away:
                continue
            if now - self._last_event >= QUIET_SECONDS or now - first >= LONGEST_WAIT_SECONDS:
                self._first_event = None
                self._changed()
