"""Works on requests: some lanes of threads, bounded queues, and who is told what came of it. Knows nothing of sockets.

In: requests, on one thread. Out: for each one either a result, an error, or nothing if its client has gone. A request
ends exactly once. Handlers that return a Future hold no thread while it is open.

Each command belongs to a lane with threads of its own, so that slow questions never hold up the others: a picture
that takes a minute to decode stands in nobody's way but in that of other pictures. Within a lane the users take turns,
and the connections of one user; where a lane has several threads, no user has all of them, and who takes most of the
processor there while others are about has one, and rests between two requests. When a lane is full, in number or in
bytes, the user with most requests in it gives way, with the connection that has most of them.
"""

import logging
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from typing import Any

from dupwatchd.serve.usage import Usage, User

log = logging.getLogger(__name__)

WAITING_MAX = 128  # requests of one lane that nobody has taken up yet
LANE_BYTES_MAX = 32 << 20  # of those, as they came: pieces of pictures, lists of paths
OPEN_PER_CONNECTION_MAX = 16
RESTS_PER_REQUEST = 3.0  # of a user who stands back, each as long as the request took
REST_SECONDS_MAX = 2.0  # after one request: who asks little, but for much, is not to wait for long
READING = "reading"
REMEMBERING = "remembering"
LANES = {
    "status": "quick", "version": "quick", "wait": "quick", "pause": "quick", "resume": "quick", "rescan": "quick",
    "clusters": READING, "pairs": READING, "failed": READING, "plan": READING, "explain": READING,
    "send": "receiving",
    "find": "finding",
    "ignore": REMEMBERING, "unignore": REMEMBERING, "decide": REMEMBERING, "removed": REMEMBERING,
    "restored": REMEMBERING, "ignored": READING,
    "preview": "previewing",
}  # fmt: skip

# What does more than answer: refused where anybody may ask.
CHANGING = frozenset({"pause", "resume", "rescan", "ignore", "unignore", "decide", "removed", "restored"})


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
    def user(self) -> "User":
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
    size_bytes: int = 0  # as it came

    @property
    def is_abandoned(self) -> bool:
        """Nobody waits for the answer: the client has gone, or said that it would have given up by now."""
        return self.peer.closed.is_set() or (self.deadline is not None and time.monotonic() >= self.deadline)


Handler = Callable[[OpenRequest], "Result | Future[Result]"]
# What came of a request; may be called on any thread.
Finish = Callable[[OpenRequest, "Result | RequestError"], None]


class FairQueue:
    """Requests that wait, bounded in number and bytes; users take turns, and so do the connections of one user.

    A user holds at most so many ``shares`` of the threads at once, the one that is left is there for somebody else.
    Whoever is to stand back by ``usage`` (None: nobody is) holds one, and rests after each request for
    `RESTS_PER_REQUEST` times as long as that took. Any thread may call.
    """

    def __init__(
        self, most: int, most_bytes: int = LANE_BYTES_MAX, shares: int = 1, usage: Usage | None = None
    ) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._shares = shares
        self._usage = usage
        self._changed = threading.Condition()
        # Whose turn it is comes first, on both levels.
        self._of_user: OrderedDict[User, OrderedDict[Peer, deque[OpenRequest]]] = OrderedDict()
        self._working: Counter[User] = Counter()  # requests that were taken and are not done
        self._rests_until: dict[User, float] = {}  # on the monotonic clock; of users who stand back
        self._count = 0
        self._bytes = 0
        self._closed = False

    def put(self, request: OpenRequest) -> list[OpenRequest]:
        """Add a request; returns those that had to give way to it, which may be itself."""
        evicted: list[OpenRequest] = []
        with self._changed:
            while self._count >= self._most or self._bytes + request.size_bytes > self._most_bytes:
                greediest = self._greedier_than(request.peer)
                if greediest is None:
                    return [*evicted, request]
                evicted.append(self._take(greediest, last=True))
            connections = self._of_user.setdefault(request.peer.user, OrderedDict())
            connections.setdefault(request.peer, deque()).append(request)
            self._count += 1
            self._bytes += request.size_bytes
            self._changed.notify()
        return evicted

    def get(self) -> OpenRequest | None:
        """The next request, once there is one; None when the queue is closed. To be followed by `done`."""
        with self._changed:
            while not self._closed:
                user = next(filter(self._may_begin, self._of_user), None)
                if user is not None:
                    return self._next_of(user)
                self._changed.wait(self._seconds_to_rest())
            return None

    def done(self, request: OpenRequest, used_seconds: float = 0.0, took_seconds: float = 0.0) -> None:
        """A request that was got needs no thread any more; it used so much processor time, and took so long."""
        user = request.peer.user
        if self._usage is not None:
            self._usage.used(user, used_seconds)
        must_stand_back = self._must_stand_back(user)
        with self._changed:
            self._working[user] -= 1
            if not self._working[user]:
                del self._working[user]
            if must_stand_back:
                self._rests_until[user] = time.monotonic() + min(RESTS_PER_REQUEST * took_seconds, REST_SECONDS_MAX)
            self._changed.notify()

    def remove(self, peer: Peer) -> None:
        """Forget the requests of a connection."""
        with self._changed:
            while peer in self._of_user.get(peer.user, ()):
                self._take(peer, last=True)

    def close(self) -> None:
        """Forget all requests; whoever waits in `get`, or comes later, gets None."""
        with self._changed:
            self._of_user.clear()
            self._count = self._bytes = 0
            self._closed = True
            self._changed.notify_all()

    def _may_begin(self, user: "User") -> bool:
        """Holding the lock: whether a user may have one thread more."""
        working = self._working[user]
        if working >= self._shares or not self._must_stand_back(user):
            self._rests_until.pop(user, None)
            return working < self._shares
        return not working and self._rests_until.get(user, 0.0) <= time.monotonic()

    def _must_stand_back(self, user: User) -> bool:
        return self._usage is not None and self._usage.must_stand_back(user)

    def _seconds_to_rest(self) -> float | None:
        """Holding the lock: how long until a user who rests may go on; None: nobody rests."""
        now = time.monotonic()
        return min((until - now for until in self._rests_until.values() if until > now), default=None)

    def _next_of(self, user: "User") -> OpenRequest:
        """Holding the lock: the request whose turn it is; its user and its connection come last from now on."""
        connections = self._of_user[user]
        peer = next(iter(connections))
        request = self._take(peer, last=False)
        if peer in connections:
            connections.move_to_end(peer)
        if user in self._of_user:
            self._of_user.move_to_end(user)
        self._working[user] += 1
        return request

    def _take(self, peer: Peer, *, last: bool) -> OpenRequest:
        connections = self._of_user[peer.user]
        requests = connections[peer]
        request = requests.pop() if last else requests.popleft()
        if not requests:
            del connections[peer]
        if not connections:
            del self._of_user[peer.user]
        self._count -= 1
        self._bytes -= request.size_bytes
        return request

    def _greedier_than(self, peer: Peer) -> Peer | None:
        """Holding the lock: the connection that is to give way to a newcomer; None if it is the newcomer itself."""

        def held(user: "User") -> int:
            return sum(map(len, self._of_user[user].values())) if user in self._of_user else 0

        user = max(self._of_user, key=held, default=peer.user)
        own = held(user) <= held(peer.user) + 1
        connections = self._of_user.get(peer.user if own else user)
        if connections is None:
            return None
        greediest = max(connections, key=lambda one: len(connections[one]))
        is_no_greedier = own and len(connections[greediest]) <= len(connections.get(peer, ())) + 1
        return None if is_no_greedier else greediest


class RequestQueue:
    """Takes requests on one thread, works on them on others."""

    def __init__(self, handlers: Mapping[str, Handler], reading_threads: int, finish: Finish) -> None:
        self._handlers = handlers
        self._finish = finish
        self._lock = threading.Lock()
        self._open: dict[OpenRequest, Future[Result] | None] = {}  # with what a handler returned for later
        self._of_connection: Counter[Peer] = Counter()
        self._closed = False
        threads = {lane: reading_threads if lane == READING else 1 for lane in dict.fromkeys(LANES.values())}
        self._usage = Usage()
        self._lanes = {
            lane: FairQueue(WAITING_MAX, shares=max(1, most - 1), usage=self._usage if most > 1 else None)
            for lane, most in threads.items()
        }
        self._threads = [
            threading.Thread(target=self._work, args=(waiting,), name=f"{lane} {number}", daemon=True)
            for lane, waiting in self._lanes.items()
            for number in range(threads[lane])
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
        self._usage.asks(request.peer.user)
        for evicted in self._lanes[LANES.get(request.do, READING)].put(request):
            self._end(evicted, RequestError("busy", "the service is busy; try again"))

    def has_open(self, peer: Peer) -> bool:
        """Does a client wait for an answer?"""
        with self._lock:
            return peer in self._of_connection

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
            began, began_using = time.monotonic(), time.thread_time()
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
                waiting.done(request, time.thread_time() - began_using, time.monotonic() - began)
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
