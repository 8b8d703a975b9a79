"""The socket side of the service: requests in, replies and events out, as PROTOCOL.md says.

One thread owns all sockets; it never waits for a handler nor for a client. Handlers run on the threads of the
`RequestQueue`; what they return, and what `publish` is given, comes back to the socket thread through deques and an
eventfd. The socket thread also learns which connections have closed, and tells the queue.
Nothing a client sends or fails to read may stop the loop, and each queue has an end:

- connections: see `connections.py`
- requests: see `request_queue.py`; beyond that the answer is "busy"
- replies to one client that does not read: `REPLIES_MAX`, then they are dropped
- events: `EVENTS_MAX` not yet sent, then the oldest are dropped; per slow listener `LISTENER_MAX`, then new ones are.
  Either way numbers are missing, which the listener sees.
"""

import logging
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any

import zmq
from zmq.auth.thread import ThreadAuthenticator

from dupwatch import wire
from dupwatch.endpoints import checked, events_endpoint, socket_path
from dupwatch.errors import WrongUsageError
from dupwatchd.errors import UsageError
from dupwatchd.problems import Fault, Problems
from dupwatchd.serve.binding import SocketFile, bind, demand_keys, make_room_again
from dupwatchd.serve.connections import Connections
from dupwatchd.serve.request_queue import (
    CHANGING,
    OPEN_PER_CONNECTION_MAX,
    Handler,
    OpenRequest,
    Peer,
    RequestError,
    RequestQueue,
    Result,
)

log = logging.getLogger(__name__)

REPLIES_MAX = OPEN_PER_CONNECTION_MAX  # a client that reads gets all it may have asked for
EVENTS_MAX = 20_000
LISTENER_MAX = 10_000
TICK_SECONDS = 5.0
FILES_CHECK_SECONDS = 5.0
UNBIND_SECONDS = 0.5  # until libzmq has removed the file of a socket that it was told to unbind; it takes milliseconds
TURN_MS = 1000  # the loop turns at least as often, for the watchdog
UNREAD_MAX = 4  # requests of one connection that libzmq keeps for us; a piece of a picture has a megabyte
BURST_MAX = 64  # requests taken in one turn: replies and events get theirs in between
SUBSCRIPTIONS_BURST_MAX = 1024  # taken in one turn; libzmq holds the rest without a limit, so they are taken quickly
HANDSHAKE_MS = 5_000
HEARTBEAT_MS = 5_000
GOODBYE_SECONDS = 0.3  # for the last replies to leave
ENVELOPE_FRAME_BYTES_MAX = 16
# Of what a listener may send in one message. It bounds the handshake, too, whose messages are larger with keys.
SUBSCRIPTION_BYTES_MAX, SUBSCRIPTION_WITH_KEYS_BYTES_MAX = 128, 512


class Server:
    """Serves one endpoint; ``start``, then ``stop``, both once, from one thread.

    ``handlers`` maps commands to functions of the request that return the result, or a Future of it; they run on the
    threads of the `RequestQueue`, ``threads`` of them for what is read from the index, and raise RequestError for what
    cannot be. ``connection_closed`` is told of each client that has gone, on the socket thread. ``group`` may use the
    socket file besides the owner. ``keys`` is the folder of `binding.demand_keys`.
    """

    def __init__(
        self,
        endpoint: str,
        handlers: Mapping[str, Handler],
        *,
        threads: int = 4,
        connection_closed: Callable[[Peer], None] = lambda _peer: None,
        group: str | None = None,
        keys: str | None = None,
        problems: Problems | None = None,
    ) -> None:
        try:
            self.endpoint = checked(endpoint)
        except WrongUsageError as error:
            raise UsageError(str(error)) from error
        self._group = group
        self._keys = keys
        self._problems = problems or Problems()
        self._is_read_only = socket_path(self.endpoint) is None and keys is None  # whoever is on this machine may ask
        self._request_queue = RequestQueue(handlers, threads, self._finish)
        self._connection_closed = connection_closed
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._authenticator: ThreadAuthenticator | None = None
        self._files: list[SocketFile | None] = []  # of the socket for requests and of that for events; None: TCP
        self._check_files_at = 0.0
        self._to_bind: list[int] = []  # of these two, those that listen nowhere at the moment
        self._thread = threading.Thread(target=self._run, name="serve", daemon=True)
        self._waking = threading.Lock()
        self._wake_fd = -1  # before start and after stop
        self._stopping = False
        self._replies: deque[tuple[list[bytes], bytes]] = deque()
        self._publishing = threading.Lock()  # numbers are given in the order of the queue
        self._events: deque[wire.Event] = deque(maxlen=EVENTS_MAX)
        self._numbers: Counter[str] = Counter()  # given out, by topic
        self._sent: Counter[str] = Counter()  # gone to the socket
        self._run_id = os.urandom(8).hex()
        self._tick_at = 0.0
        self.last_turn_monotonic = time.monotonic()
        """When the loop last went round without failing; older than some seconds means that it hangs."""

    def start(self) -> None:
        """Bind the sockets and serve; raises UsageError with one line."""
        try:
            self._requests = self._socket(zmq.ROUTER)
            self._listeners = self._socket(zmq.XPUB)
            sockets = [self._requests, self._listeners]
            self._connections = Connections(self._requests, self._listeners, self._request_queue.has_open)
            self._authenticator = demand_keys(self._context, sockets, self.endpoint, self._keys)
            self._bound = list(zip(sockets, (self.endpoint, events_endpoint(self.endpoint)), strict=True))
            for zmq_socket, endpoint in self._bound:
                self._files.append(bind(zmq_socket, endpoint, self._group))
        except BaseException:
            self._close()
            raise
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._request_queue.open()
        self._thread.start()
        self._listeners_thread = threading.Thread(
            target=self._connections.watch_listeners, name="listeners", daemon=True
        )
        self._listeners_thread.start()

    def stop(self) -> None:
        """Answer what is open with `stopping`, and close; takes less than a second."""
        if not self._thread.ident or self._stopping:
            return
        for file in filter(None, self._files):
            file.remove()  # whoever comes now is told at once that nobody serves
        self._request_queue.close()
        self._stopping = True
        self._wake()
        self._connections.stop_watching()
        self._listeners_thread.join()
        self._thread.join()
        self._close()
        with self._waking:
            os.close(self._wake_fd)
            self._wake_fd = -1

    def publish(self, topic: str, event: Mapping[str, Any]) -> None:
        """Tell all listeners of something; any thread may call, and nobody waits."""
        with self._publishing:
            self._numbers[topic] += 1
            self._events.append(wire.Event(topic, self._run_id, self._numbers[topic], time.time(), dict(event)))
        self._wake()

    def _socket(self, kind: int) -> "zmq.Socket[bytes]":
        made = self._context.socket(kind)
        made.linger = int(GOODBYE_SECONDS * 1000)
        made.sndtimeo = 0
        made.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
        if kind == zmq.ROUTER:
            made.router_mandatory = 1  # a reply nobody takes is an error here, not a silent loss
            made.maxmsgsize = wire.PIECE_BYTES_MAX
            made.sndhwm = REPLIES_MAX
            made.rcvhwm = UNREAD_MAX
        else:
            made.xpub_verbose = 1  # tells of every new listener, who gets a tick at once
            made.maxmsgsize = SUBSCRIPTION_WITH_KEYS_BYTES_MAX if self._keys else SUBSCRIPTION_BYTES_MAX
            made.rcvhwm = BURST_MAX
            made.sndhwm = LISTENER_MAX
        if socket_path(self.endpoint) is None:
            made.heartbeat_ivl = HEARTBEAT_MS
            made.heartbeat_timeout = 2 * HEARTBEAT_MS
            made.ipv6 = True
        return made

    def _close(self) -> None:
        for file in filter(None, self._files):
            file.remove()
        if self._authenticator is not None:
            self._authenticator.stop()
        self._context.destroy(linger=int(GOODBYE_SECONDS * 1000))

    def _wake(self) -> None:
        with self._waking:  # or the number could be another file's by now
            if self._wake_fd >= 0:
                os.eventfd_write(self._wake_fd, 1)

    # ---- on the socket thread

    def _run(self) -> None:
        poller = zmq.Poller()
        for readable in (self._requests, self._listeners, self._wake_fd, self._connections.monitor):
            poller.register(readable, zmq.POLLIN)
        while not self._stopping:
            try:
                poller.poll(TURN_MS)
                self._turn()
            except Exception:
                log.exception("the serving loop failed in one turn and goes on")
                time.sleep(0.01)  # if every turn fails, the log must not fill the disk in no time
            else:
                self.last_turn_monotonic = time.monotonic()
        self._take_requests()  # what came meanwhile is answered with "stopping"
        self._send_replies()

    def _turn(self) -> None:
        try:
            os.eventfd_read(self._wake_fd)
        except BlockingIOError:
            pass
        self._take_leave()
        self._take_requests()
        self._send_replies()
        self._take_subscriptions()
        self._send_events()
        self._keep_files_in_place()

    def _keep_files_in_place(self) -> None:
        """Listen again where the file of a socket was removed or replaced: nobody new could reach the service."""
        now = time.monotonic()
        if now < self._check_files_at or self._stopping:
            return
        self._check_files_at = now + FILES_CHECK_SECONDS
        try:
            for place in self._to_bind[:]:
                self._files[place] = bind(*self._bound[place], self._group)
                self._to_bind.remove(place)
                log.warning("listening again at %s, whose file was removed", self._bound[place][1])
            for place, file in enumerate(self._files):
                if file is not None and not file.is_in_place and place not in self._to_bind:
                    make_room_again(*self._bound[place], self._group)
                    self._to_bind.append(place)
                    self._check_files_at = now + UNBIND_SECONDS
        except UsageError as error:
            self._problems.note(Fault.SOCKETS, f"new clients cannot reach the service: {error}")
        else:
            if not self._to_bind:
                self._problems.clear(Fault.SOCKETS)

    def _take_leave(self) -> None:
        """Forget the clients that have gone, and all that they asked for."""
        for peer in self._connections.closed():
            self._request_queue.connection_closed(peer)
            self._connection_closed(peer)

    def _take_requests(self) -> None:
        for _ in range(BURST_MAX):
            try:
                frames = self._requests.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            self._take_request(frames)

    def _take_request(self, frames: list[zmq.Frame]) -> None:
        envelope_length = _envelope_length(frames)
        if not envelope_length:
            return  # without an envelope it cannot be answered
        envelope = [frame.bytes for frame in frames[:envelope_length]]
        try:
            request = wire.decode_request([frame.bytes for frame in frames[envelope_length : envelope_length + 3]])
        except wire.WireError as error:
            self._replies.append((envelope, wire.encode_error(error.request_id, error.code, str(error))))
            return
        self._take_leave()  # of an older connection that had the same name or descriptor
        if self._is_read_only and request.do in CHANGING:
            refusal = f"{request.do} is refused over TCP without keys; use the socket file, or set serve.curve_keys"
            self._replies.append((envelope, wire.encode_error(request.id, "not_allowed", refusal)))
            return
        peer = self._connections.peer(envelope[0], frames[envelope_length])
        deadline = time.monotonic() + request.args["timeout"] if _is_bounded(request) else None
        try:
            size_bytes = sum(map(len, frames))
            self._request_queue.take(
                OpenRequest(envelope, request.id, request.do, request.args, peer, deadline, size_bytes)
            )
        except RequestError as error:
            self._replies.append((envelope, wire.encode_error(request.id, error.code, str(error))))

    def _send_replies(self) -> None:
        while self._replies:
            envelope, payload = self._replies.popleft()
            try:
                self._requests.send_multipart([*envelope, payload], zmq.NOBLOCK)
            except zmq.ZMQError as error:
                # EAGAIN: it does not read its replies; EHOSTUNREACH: it is gone
                log.debug("a reply was dropped: %s", error)

    def _take_subscriptions(self) -> None:
        wants_tick = False
        for _ in range(SUBSCRIPTIONS_BURST_MAX):
            try:
                frame = self._listeners.recv(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                break
            told = frame.bytes
            if told.startswith(b"\x01"):
                self._connections.subscribed(frame)
                wants_tick |= told[1:] == wire.TICK.encode()
        if wants_tick:
            self._tick_at = 0.0

    def _send_events(self) -> None:
        while self._events:
            event = self._events.popleft()
            self._sent[event.topic] = event.seq
            self._send_event(event)
        now = time.monotonic()
        if now >= self._tick_at:
            self._tick_at = now + TICK_SECONDS
            self._send_event(wire.Event(wire.TICK, self._run_id, 0, time.time(), dict(self._sent)))

    def _send_event(self, event: wire.Event) -> None:
        try:
            self._listeners.send_multipart(wire.encode_event(event), zmq.NOBLOCK)
        except (wire.WireError, ValueError, TypeError, OverflowError, zmq.ZMQError):
            # Its number will be missing, so that listeners know that they have to ask anew.
            log.exception("an event could not be sent: %s", event.topic)

    # ---- on the threads of the request queue

    def _finish(self, request: OpenRequest, result: "Result | RequestError") -> None:
        """Turn what came of a request into a reply."""
        if isinstance(result, RequestError):
            payload = wire.encode_error(request.request_id, result.code, str(result))
        else:
            try:
                payload = wire.encode_result(request.request_id, result)
            except wire.WireError as error:
                payload = wire.encode_error(request.request_id, error.code, str(error))
            except Exception:
                log.exception("the result of %s cannot be sent", request.do)
                payload = wire.encode_error(request.request_id, "internal", "the service failed; its log says why")
        self._replies.append((request.envelope, payload))
        self._wake()


def _envelope_length(frames: list[zmq.Frame]) -> int:
    """How many frames lead back to the client: its connection, at most one number of its own, an empty one; 0: none."""
    for length in (2, 3):
        if len(frames) > length and not len(frames[length - 1]) and len(frames[1]) <= ENVELOPE_FRAME_BYTES_MAX:
            return length
    return 0


def _is_bounded(request: wire.Request) -> bool:
    """Whether an answer after the request's timeout is of no use. (`wait` answers at that time.)"""
    return request.do in ("find", "preview") and "timeout" in request.args
