"""Works on requests: some lanes of threads, bounded queues, and who is told what came of it. Knows nothing of sockets.

In: requests, on one thread. Out: for each one either a result, an error, or nothing if its client has gone. A request
ends exactly once. Handlers that return a Future hold no thread while it is open.

Each command belongs to a lane with threads of its own, so that slow questions never hold up the others: a picture
that takes a minute to decode stands in nobody's way but in that of other pictures. Within a lane the connections take
turns, and when a lane is full it is the connection with most requests in it that gives way.
"""

import logging
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from typing import Any

log = logging.getLogger(__name__)

WAITING_MAX = 128  # requests of one lane that nobody has taken up yet
OPEN_PER_CONNECTION_MAX = 16
READING = "reading"
REMEMBERING = "remembering"
LANES = {
    "status": "quick", "version": "quick", "wait": "quick", "pause": "quick", "resume": "quick", "rescan": "quick",
    "clusters": READING, "failed": READING, "plan": READING, "explain": READING,
    "send": "receiving",
    "find": "finding",
    "ignore": REMEMBERING, "unignore": REMEMBERING, "decide": REMEMBERING, "removed": REMEMBERING,
    "restored": REMEMBERING, "ignored": READING,
    "preview": "previewing",
}  # fmt: skip


@dataclass(eq=False, slots=True)
class Peer:
    """One connection of a client, and who is at its other end as far as the socket knows.

    ``closed`` is set when the connection has closed, or will be because the service stops.
    """

    connection: bytes  # another one after the client connects again
    uid: int | None = None  # of a local process
    gid: int | None = None
    pid: int | None = None
    key: str = ""  # its public key, where keys are demanded
    closed: threading.Event = field(default_factory=threading.Event)

    @property
    def user(self) -> int | str | None:
        """What all connections of one user have in common."""
        return self.uid if self.uid is not None else self.key


class RequestError(Exception):
    """A handler's answer that the request cannot be fulfilled; ``code`` is one of PROTOCOL.md."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


Result = Mapping[str, Any]


@dataclass(eq=False, slots=True)
class OpenRequest:
    """One request that has not been answered yet."""

    envelope: list[bytes]  # the frames that lead back
    request_id: int
    do: str
    args: dict[str, Any]
    peer: Peer
    deadline: float | None = None  # on the monotonic clock: after it nobody waits for the answer any more

    @property
    def is_abandoned(self) -> bool:
        """Nobody waits for the answer: the client has gone, or said that it would have given up by now."""
        return self.peer.closed.is_set() or (self.deadline is not None and time.monotonic() >= self.deadline)


Handler = Callable[[OpenRequest], "Result | Future[Result]"]
# What came of a request; may be called on any thread.
Finish = Callable[[OpenRequest, "Result | RequestError"], None]


class FairQueue:
    """Requests that wait, bounded; the connections take turns. Any thread may call."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._changed = threading.Condition()
        self._of_connection: OrderedDict[Peer, deque[OpenRequest]] = OrderedDict()  # whose turn it is comes first
        self._count = 0
        self._closed = False

    def put(self, request: OpenRequest) -> OpenRequest | None:
        """Add a request; returns the one that had to give way to it, which may be itself, or None."""
        with self._changed:
            evicted = None
            if self._count >= self._most:
                greediest = max(self._of_connection.values(), key=len)
                if len(greediest) <= len(self._of_connection.get(request.peer, ())) + 1:
                    return request
                evicted = greediest.pop()
                self._count -= 1
            self._of_connection.setdefault(request.peer, deque()).append(request)
            self._count += 1
            self._changed.notify()
            return evicted

    def get(self) -> OpenRequest | None:
        """The next request, once there is one; None when the queue is closed."""
        with self._changed:
            while not self._count and not self._closed:
                self._changed.wait()
            if self._closed:
                return None
            peer, requests = next(iter(self._of_connection.items()))
            request = requests.popleft()
            self._count -= 1
            if requests:
                self._of_connection.move_to_end(peer)
            else:
                del self._of_connection[peer]
            return request

    def remove(self, peer: Peer) -> None:
        """Forget the requests of a connection."""
        with self._changed:
            self._count -= len(self._of_connection.pop(peer, ()))

    def close(self) -> None:
        """Forget all requests; whoever waits in `get`, or comes later, gets None."""
        with self._changed:
            self._of_connection.clear()
            self._count = 0
            self._closed = True
            self._changed.notify_all()


class RequestQueue:
    """Takes requests on one thread, works on them on others."""

    def __init__(self, handlers: Mapping[str, Handler], reading_threads: int, finish: Finish) -> None:
        self._handlers = handlers
        self._finish = finish
        self._lock = threading.Lock()
        self._open: dict[OpenRequest, Future[Result] | None] = {}  # with what a handler returned for later
        self._of_connection: Counter[Peer] = Counter()
        self._closed = False
        self._lanes = {lane: FairQueue(WAITING_MAX) for lane in dict.fromkeys(LANES.values())}
        self._threads = [
            threading.Thread(target=self._work, args=(waiting,), name=f"{lane} {number}", daemon=True)
            for lane, waiting in self._lanes.items()
            for number in range(reading_threads if lane == READING else 1)
        ]

    def open(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def take(self, request: OpenRequest) -> None:
        """Put a request in the queue of its lane; raises RequestError if it cannot be."""
        if request.do not in self._handlers:
            raise RequestError("unknown_command", f"this service does not know {request.do}")
        with self._lock:
            if self._closed:
                raise RequestError("stopping", "the service is stopping")
            if self._of_connection[request.peer] >= OPEN_PER_CONNECTION_MAX:
                raise RequestError("busy", "too many requests of yours are open; wait for their answers")
            self._open[request] = None
            self._of_connection[request.peer] += 1
        evicted = self._lanes[LANES.get(request.do, READING)].put(request)
        if evicted is not None:
            self._end(evicted, RequestError("busy", "the service is busy; try again"))

    def connection_closed(self, peer: Peer) -> None:
        """Drop all that a client has asked for: it has gone. What is being worked on finds `is_abandoned` true."""
        peer.closed.set()
        for waiting in self._lanes.values():
            waiting.remove(peer)
        with self._lock:
            left = [(request, later) for request, later in self._open.items() if request.peer is peer]
        for request, later in left:
            self._end(request, RequestError("stopping", "the client has gone"))
            if later is not None:
                later.cancel()

    def close(self) -> None:
        """End all open requests with `stopping`; threads end with what they are at, and nobody waits for them."""
        with self._lock:
            self._closed = True
            left = list(self._open.items())
        for request, _ in left:
            self._end(request, RequestError("stopping", "the service is stopping"))
        for request, later in left:
            request.peer.closed.set()  # so that what is being worked on is given up
            if later is not None:
                later.cancel()
        for waiting in self._lanes.values():
            waiting.close()

    def _work(self, waiting: FairQueue) -> None:
        while (request := waiting.get()) is not None:
            try:
                answer = self._begin(request)
            except BaseException as error:  # noqa: BLE001 - a handler's bug must not end the thread
                self._end(request, _as_request_error(request, error))
            else:
                if isinstance(answer, Future):
                    self._keep(request, answer)
                else:
                    self._end(request, answer)
            finally:
                request.args = {}  # pieces of pictures are large
                request = None  # nothing is held while the queue is empty

    def _begin(self, request: OpenRequest) -> "Result | Future[Result]":
        if request.is_abandoned:
            raise RequestError("busy", "it was not begun in the time given; try again")
        return self._handlers[request.do](request)

    def _keep(self, request: OpenRequest, answer: "Future[Result]") -> None:
        with self._lock:
            is_wanted = request in self._open
            if is_wanted:
                self._open[request] = answer
        if not is_wanted:
            answer.cancel()
            return

        def done(future: "Future[Result]") -> None:
            try:
                result: Result | RequestError = future.result()
            except BaseException as error:  # noqa: BLE001 - as above
                result = _as_request_error(request, error)
            self._end(request, result)

        answer.add_done_callback(done)

    def _end(self, request: OpenRequest, result: "Result | RequestError") -> None:
        with self._lock:
            if request not in self._open:
                return  # close() or connection_closed() was quicker
            del self._open[request]
            self._of_connection[request.peer] -= 1
            if not self._of_connection[request.peer]:
                del self._of_connection[request.peer]
        if not request.peer.closed.is_set():
            self._finish(request, result)


def _as_request_error(request: OpenRequest, error: BaseException) -> RequestError:
    if isinstance(error, RequestError):
        return error
    if isinstance(error, CancelledError):
        return RequestError("stopping", "the service gave this request up")
    log.error("request %s failed", request.do, exc_info=error)
    return RequestError("internal", "the service failed; its log says why")
