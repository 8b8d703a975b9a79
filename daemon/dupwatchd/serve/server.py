"""The socket side of the service: requests in, replies and events out, as PROTOCOL.md says.

One thread owns the socket for requests; it never waits for a handler nor for a client. Handlers run on the threads of
the `RequestQueue`; what they return comes back to the socket thread through a deque and an eventfd. The socket thread
also learns which connections have closed, and tells the queue. Events have a socket and a thread of their own, see
`publisher.py`: what listeners do costs nobody else an answer.
Nothing a client sends or fails to read may stop the loop, and each queue has an end:

- connections: see `connections.py`
- requests: see `request_queue.py`; beyond that the answer is "busy", and who goes on and on is turned away for a while
- replies to one client that does not read: `REPLIES_MAX`, then they are dropped
- events: see `publisher.py`
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import zmq

from dupwatch import wire
from dupwatch.endpoints import checked, events_endpoint, socket_path
from dupwatch.errors import WrongUsageError
from dupwatchd.errors import UsageError
from dupwatchd.problems import Fault, Problems
from dupwatchd.serve.binding import GOODBYE_SECONDS, BoundSocket, keys_for, new_socket
from dupwatchd.serve.connections import Connections
from dupwatchd.serve.publisher import Publisher
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
from dupwatchd.serve.wake_up import WakeUp

log = logging.getLogger(__name__)

REPLIES_MAX = OPEN_PER_CONNECTION_MAX  # a client that reads gets all it may have asked for
TURN_MS = 1000  # the loop turns at least as often, for the watchdog
UNREAD_MAX = 4  # requests of one connection that libzmq keeps for us; a piece of a picture has a megabyte
BURST_MAX = 16  # requests taken in one turn: replies get theirs in between
ENVELOPE_FRAME_BYTES_MAX = 16


class Server:
    """Serves one endpoint; ``start``, then ``stop``, both once, from one thread.

    ``handlers`` maps commands to functions of the request that return the result, or a Future of it; they run on the
    threads of the `RequestQueue`, ``threads`` of them for what is read from the index, and raise RequestError for what
    cannot be. ``connection_closed`` is told of each client that has gone, on the socket thread. ``group`` may use the
    socket file besides the owner. ``keys`` is the folder of `binding.Keys`.
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
        self._problems = problems or Problems()
        self._is_read_only = socket_path(self.endpoint) is None and keys is None  # whoever is on this machine may ask
        self._request_queue = RequestQueue(handlers, threads, self._finish)
        self._connection_closed = connection_closed
        self._keys = keys_for(self.endpoint, keys)
        self._publisher = Publisher(events_endpoint(self.endpoint), self._keys, group, self._problems)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._bound: BoundSocket | None = None
        self._thread = threading.Thread(target=self._run, name="serve", daemon=True)
        self._wake_up = WakeUp()
        self._stopping = False
        self._replies: deque[tuple[list[bytes], bytes, bool]] = deque()  # where to, what, and whether it is a refusal
        self.last_turn_monotonic = time.monotonic()
        """When the loop last went round without failing; older than some seconds means that it hangs."""

    def start(self) -> None:
        """Bind the sockets and serve; raises UsageError with one line."""
        try:
            self._requests = new_socket(self._context, zmq.ROUTER, self.endpoint)
            self._requests.router_mandatory = 1  # a reply nobody takes is an error here, not a silent loss
            self._requests.maxmsgsize = wire.PIECE_BYTES_MAX
            self._requests.sndhwm = REPLIES_MAX
            self._requests.rcvhwm = UNREAD_MAX
            if self._keys is not None:
                self._keys.demand(self._context, self._requests)
            self._connections = Connections(
                self._requests,
                self._publisher.open(),
                self._request_queue.has_open,
                asks_whom_to_admit=self._keys is None,
            )
            self._bound = BoundSocket(self._requests, self.endpoint, self._group, Fault.SOCKETS, self._problems)
            self._publisher.bind()
        except BaseException:
            self._close()
            raise
        self._wake_up.open()
        self._request_queue.open()
        self._thread.start()
        self._listeners_thread = threading.Thread(
            target=self._connections.watch_listeners, name="listeners", daemon=True
        )
        self._listeners_thread.start()
        self._publisher.start(self._connections)

    def stop(self) -> None:
        """Answer what is open with `stopping`, and close."""
        if not self._thread.ident or self._stopping:
            return
        assert self._bound is not None
        self._bound.remove_file()  # whoever comes now is told at once that nobody serves
        self._publisher.remove_file()
        self._request_queue.close()
        self._stopping = True
        self._wake_up.wake()
        self._connections.stop_watching()
        self._listeners_thread.join()
        self._thread.join()
        self._close()
        self._wake_up.close()

    def publish(self, topic: str, event: Mapping[str, Any]) -> None:
        """Tell all listeners of something; any thread may call, and nobody waits."""
        self._publisher.publish(topic, event)

    def _close(self) -> None:
        if self._bound is not None:
            self._bound.remove_file()
        if self._keys is not None:
            self._keys.close()
        self._publisher.stop()
        self._context.destroy(linger=int(GOODBYE_SECONDS * 1000))

    # ---- on the socket thread

    def _run(self) -> None:
        poller = zmq.Poller()
        for readable in (self._requests, self._wake_up, self._connections.monitor, self._connections.gate):
            if readable is not None:
                poller.register(readable, zmq.POLLIN)
        more_to_admit = False
        while not self._stopping:
            try:
                poller.poll(0 if more_to_admit else TURN_MS)
                more_to_admit = self._turn()
            except Exception:
                log.exception("the serving loop failed in one turn and goes on")
                time.sleep(0.01)  # if every turn fails, the log must not fill the disk in no time
            else:
                self.last_turn_monotonic = time.monotonic()
        self._take_requests()  # what came meanwhile is answered with "stopping"
        self._send_replies()

    def _turn(self) -> bool:
        """Do what is to be done; returns whether there may be more handshakes to be answered."""
        self._wake_up.take()
        self._take_leave()
        more_to_admit = self._connections.admit()
        self._take_requests()
        self._send_replies()
        if self._bound is not None and not self._stopping:
            self._bound.keep_in_place()
        self._publisher.note_if_stuck()
        return more_to_admit

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
        self._take_leave()  # of an older connection that had the same name or descriptor
        peer = self._connections.peer(envelope[0], frames[envelope_length])
        if peer.closed.is_set():
            return  # nobody waits for an answer
        try:
            request = wire.decode_request([frame.bytes for frame in frames[envelope_length : envelope_length + 3]])
        except wire.WireError as error:
            self._refuse(envelope, error.request_id, error.code, str(error))
            return
        if self._is_read_only and request.do in CHANGING:
            refusal = f"{request.do} is refused over TCP without keys; use the socket file, or set serve.curve_keys"
            self._refuse(envelope, request.id, "not_allowed", refusal)
            return
        deadline = time.monotonic() + request.args["timeout"] if _is_bounded(request) else None
        try:
            size_bytes = sum(map(len, frames))
            self._request_queue.take(
                OpenRequest(envelope, request.id, request.do, request.args, peer, deadline, size_bytes)
            )
        except RequestError as error:
            self._refuse(envelope, request.id, error.code, str(error))

    def _refuse(self, envelope: list[bytes], request_id: int | None, code: str, message: str) -> None:
        self._replies.append((envelope, wire.encode_error(request_id, code, message), True))

    def _send_replies(self) -> None:
        while self._replies:
            envelope, payload, is_refusal = self._replies.popleft()
            self._connections.answered(envelope[0], is_refused=is_refusal)
            try:
                self._requests.send_multipart([*envelope, payload], zmq.NOBLOCK)
            except zmq.ZMQError as error:
                # EAGAIN: it does not read its replies; EHOSTUNREACH: it is gone
                log.debug("a reply was dropped: %s", error)

    # ---- on the threads of the request queue

    def _finish(self, request: OpenRequest, result: "Result | RequestError") -> None:
        """Turn what came of a request into a reply."""
        is_refusal = isinstance(result, RequestError) and result.code == "busy"
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
        self._replies.append((request.envelope, payload, is_refusal))
        self._wake_up.wake()


def _envelope_length(frames: list[zmq.Frame]) -> int:
    """How many frames lead back to the client: its connection, at most one number of its own, an empty one; 0: none."""
    for length in (2, 3):
        if len(frames) > length and not len(frames[length - 1]) and len(frames[1]) <= ENVELOPE_FRAME_BYTES_MAX:
            return length
    return 0


def _is_bounded(request: wire.Request) -> bool:
    """Whether an answer after the request's timeout is of no use. (`wait` answers at that time.)"""
    return request.do in ("find", "preview") and "timeout" in request.args
