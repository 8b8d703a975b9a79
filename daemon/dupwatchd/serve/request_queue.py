"""Works on requests: a few threads, a bounded queue, and who is told what came of it. Knows nothing of sockets.

A ticket ends exactly once: with its result, with an error, or by `close`. Handlers that return a Future hold no
thread while it is open.
"""

import logging
import queue
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from typing import Any

log = logging.getLogger(__name__)

WAITING_MAX = 128  # requests not yet taken up
WAITING_BYTES_MAX = 256 * 1024 * 1024  # what they hold: pictures sent along
OPEN_MAX = 1024  # all that were not answered yet, the waiting ones included
OPEN_PER_CONNECTION_MAX = 16
QUICK_COMMANDS = frozenset({"status", "version", "wait", "pause", "resume", "rescan"})  # answered from memory


@dataclass(frozen=True, slots=True)
class Peer:
    """Who asks, as far as the socket knows."""

    connection: bytes  # one client's socket; another after it connects again
    uid: int | None = None  # of a local process
    gid: int | None = None
    pid: int | None = None
    key: str = ""  # its public key, where keys are demanded


class RequestError(Exception):
    """A handler's answer that the request cannot be fulfilled; ``code`` is one of PROTOCOL.md."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


Result = dict[str, Any]
Handler = Callable[[dict[str, Any], Peer], "Result | Future[Result]"]


@dataclass(eq=False, slots=True)
class Ticket:
    """One request on its way."""

    envelope: list[bytes]  # the frames that lead back
    request_id: int
    do: str
    args: dict[str, Any]
    peer: Peer
    size_bytes: int


# what came of a ticket: a result, or an error's code and message; may be called on any thread
Finish = Callable[[Ticket, "Result | RequestError"], None]


class RequestQueue:
    """Takes tickets on one thread, works on them on others."""

    def __init__(self, handlers: Mapping[str, Handler], threads: int, finish: Finish) -> None:
        self._handlers = handlers
        self._finish = finish
        self._lock = threading.Lock()
        self._open: dict[Ticket, Future[Result] | None] = {}  # with what a handler returned for later
        self._of_connection: Counter[bytes] = Counter()
        self._waiting_bytes = 0
        self._closed = False
        # A quick question never stands behind slow ones: it has a queue and a thread of its own.
        self._slow: queue.Queue[Ticket | None] = queue.Queue(WAITING_MAX)
        self._quick: queue.Queue[Ticket | None] = queue.Queue(WAITING_MAX)
        self._threads = [
            threading.Thread(target=self._work, args=(tickets,), name=f"serve {number}", daemon=True)
            for number, tickets in enumerate([self._quick] + [self._slow] * threads)
        ]

    def open(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def take(self, ticket: Ticket) -> None:
        """Put a ticket in its queue; raises RequestError if it cannot be."""
        if ticket.do not in self._handlers:
            raise RequestError("unknown_command", f"this service does not know {ticket.do}")
        tickets = self._quick if ticket.do in QUICK_COMMANDS else self._slow
        with self._lock:
            if self._closed:
                raise RequestError("stopping", "the service is stopping")
            if self._of_connection[ticket.peer.connection] >= OPEN_PER_CONNECTION_MAX:
                raise RequestError("busy", "too many requests of yours are open; wait for their answers")
            if len(self._open) >= OPEN_MAX or self._waiting_bytes + ticket.size_bytes > WAITING_BYTES_MAX:
                raise RequestError("busy", "the service is busy; try again")
            try:
                tickets.put_nowait(ticket)
            except queue.Full:
                raise RequestError("busy", "the service is busy; try again") from None
            self._open[ticket] = None
            self._of_connection[ticket.peer.connection] += 1
            self._waiting_bytes += ticket.size_bytes

    def close(self) -> None:
        """End all open tickets with `stopping`; threads end with what they are at, and nobody waits for them."""
        with self._lock:
            self._closed = True
            left = list(self._open.items())
        for ticket, later in left:
            self._end(ticket, RequestError("stopping", "the service is stopping"))
            if later is not None:
                later.cancel()
        for tickets in (self._quick, self._slow):
            try:
                while True:
                    tickets.get_nowait()
            except queue.Empty:
                pass
        for thread in self._threads:
            (self._quick if thread is self._threads[0] else self._slow).put_nowait(None)

    def _work(self, tickets: "queue.Queue[Ticket | None]") -> None:
        while (ticket := tickets.get()) is not None:
            try:
                answer = self._handlers[ticket.do](ticket.args, ticket.peer)
            except BaseException as error:  # noqa: BLE001 - a handler's bug must not end the thread
                self._end(ticket, _as_request_error(ticket, error))
            else:
                if isinstance(answer, Future):
                    self._keep(ticket, answer)
                else:
                    self._end(ticket, answer)
            finally:
                ticket.args = {}  # pictures are large
                with self._lock:
                    self._waiting_bytes -= ticket.size_bytes
                ticket = None  # nothing is held while the queue is empty

    def _keep(self, ticket: Ticket, answer: "Future[Result]") -> None:
        with self._lock:
            if ticket in self._open:
                self._open[ticket] = answer
        if self._closed:
            answer.cancel()

        def done(future: "Future[Result]") -> None:
            try:
                result: Result | RequestError = future.result()
            except BaseException as error:  # noqa: BLE001 - as above
                result = _as_request_error(ticket, error)
            self._end(ticket, result)

        answer.add_done_callback(done)

    def _end(self, ticket: Ticket, result: "Result | RequestError") -> None:
        with self._lock:
            if ticket not in self._open:
                return  # close() was quicker
            del self._open[ticket]
            connection = ticket.peer.connection
            self._of_connection[connection] -= 1
            if not self._of_connection[connection]:
                del self._of_connection[connection]
        self._finish(ticket, result)


def _as_request_error(ticket: Ticket, error: BaseException) -> RequestError:
    if isinstance(error, RequestError):
        return error
    if isinstance(error, CancelledError):
        return RequestError("stopping", "the service gave this request up")
    log.error("request %s failed", ticket.do, exc_info=error)
    return RequestError("internal", "the service failed; its log says why")
