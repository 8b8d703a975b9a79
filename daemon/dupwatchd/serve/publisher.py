"""The socket on which listeners are told of events, with a thread and a ZeroMQ context of its own.

In: events, from any thread, through a bounded queue and an eventfd. Out: messages to all listeners, as PROTOCOL.md
says.

It is apart from the socket for requests because listeners decide what it costs: libzmq keeps all subscriptions in one
tree, and walks all of it whenever a listener goes. (Measured: after 50,000 long subscriptions over 170 connections it
was busy for 50 s, over 700 for more than 90 s.) Meanwhile requests are answered all the same, and events wait.

What a listener has missed it sees by the numbers of events: of `EVENTS_MAX` not yet sent the oldest are dropped; of
`LISTENER_MAX` that one listener has not read, further ones are. A tick names the last number of each topic, for
whoever hears nothing else.
"""

import logging
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any

import zmq

from dupwatch import wire
from dupwatchd.problems import Fault, Problems
from dupwatchd.serve.binding import GOODBYE_SECONDS, BoundSocket, Keys, new_socket
from dupwatchd.serve.connections import Connections
from dupwatchd.serve.wake_up import WakeUp

log = logging.getLogger(__name__)

EVENTS_MAX = 20_000
LISTENER_MAX = 10_000
TICK_SECONDS = 5.0
TURN_MS = 1000
SUBSCRIPTIONS_BURST_MAX = 1024  # taken in one turn; libzmq holds the rest without a limit, so they are taken quickly
STUCK_SECONDS = 15.0  # without a turn, which takes a second at most unless libzmq is busy
UNREAD_MAX = 64  # messages of one listener that libzmq keeps for us
# Of what a listener may send in one message. It bounds the handshake, too, whose messages are larger with keys.
SUBSCRIPTION_BYTES_MAX, SUBSCRIPTION_WITH_KEYS_BYTES_MAX = 128, 512


class Publisher:
    """Tells listeners at one endpoint of events; ``open``, ``start``, then ``stop``, each once, from one thread."""

    def __init__(self, endpoint: str, keys: Keys | None, group: str | None, problems: Problems) -> None:
        self._endpoint = endpoint
        self._keys = keys
        self._group = group
        self._problems = problems
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._bound: BoundSocket | None = None
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._wake_up = WakeUp()
        self._stopping = False
        self._publishing = threading.Lock()  # numbers are given in the order of the queue
        self._events: deque[wire.Event] = deque(maxlen=EVENTS_MAX)
        self._given: Counter[str] = Counter()  # the last number given, by topic
        self._told: dict[str, int] = {}  # the last number that was sent or dropped, by topic
        self._run_id = os.urandom(8).hex()
        self._tick_at = 0.0
        self._turned_at = time.monotonic()

    def open(self) -> "zmq.Socket[bytes]":
        """Make the socket, which is not bound yet; raises UsageError for keys that will not do."""
        self._socket = new_socket(self._context, zmq.XPUB, self._endpoint)
        self._socket.xpub_verbose = 1  # tells of every new listener, who gets a tick at once
        self._socket.maxmsgsize = SUBSCRIPTION_BYTES_MAX if self._keys is None else SUBSCRIPTION_WITH_KEYS_BYTES_MAX
        self._socket.rcvhwm = UNREAD_MAX
        self._socket.sndhwm = LISTENER_MAX
        if self._keys is not None:
            self._keys.demand(self._context, self._socket)
        return self._socket

    def bind(self) -> None:
        """Listen; raises UsageError if that is not possible."""
        self._bound = BoundSocket(self._socket, self._endpoint, self._group, Fault.EVENTS, self._problems)

    def start(self, connections: Connections) -> None:
        """Begin to tell listeners of events; ``connections`` is told what they subscribe to."""
        self._connections = connections
        self._wake_up.open()
        self._thread.start()

    def publish(self, topic: str, event: Mapping[str, Any]) -> None:
        """Tell all listeners of something; any thread may call, and nobody waits."""
        with self._publishing:
            self._given[topic] += 1
            self._events.append(wire.Event(topic, self._run_id, self._given[topic], time.time(), dict(event)))
        self._wake_up.wake()

    def note_if_stuck(self) -> None:
        """Note it while listeners are told nothing; any other thread may call."""
        if time.monotonic() - self._turned_at > STUCK_SECONDS:
            self._problems.note(
                Fault.LISTENERS, "events are not told at the moment: what listeners have sent keeps the service busy"
            )
        else:
            self._problems.clear(Fault.LISTENERS)

    def remove_file(self) -> None:
        """Let nobody new find the socket."""
        if self._bound is not None:
            self._bound.remove_file()

    def stop(self) -> None:
        """End, at once or, if libzmq is still busy with what listeners said, together with the process."""
        self.remove_file()
        self._stopping = True
        self._wake_up.wake()
        if self._thread.ident:
            self._thread.join(GOODBYE_SECONDS)
        if self._thread.is_alive():
            log.debug("the thread of the events is still busy and ends with the process")
            return
        self._context.destroy(linger=int(GOODBYE_SECONDS * 1000))
        self._wake_up.close()

    # ---- on the thread of the events

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._wake_up, zmq.POLLIN)
        while not self._stopping:
            try:
                poller.poll(TURN_MS)
                self._turn()
            except Exception:
                log.exception("the loop of the events failed in one turn and goes on")
                time.sleep(0.01)  # if every turn fails, the log must not fill the disk in no time
            else:
                self._turned_at = time.monotonic()

    def _turn(self) -> None:
        self._wake_up.take()
        self._take_subscriptions()
        self._send_events()
        if self._bound is not None and not self._stopping:
            self._bound.keep_in_place()

    def _take_subscriptions(self) -> None:
        wants_tick = False
        for _ in range(SUBSCRIPTIONS_BURST_MAX):
            try:
                frame = self._socket.recv(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                break
            told = frame.bytes
            if told.startswith(b"\x01"):
                self._connections.subscribed(frame)
                wants_tick |= told[1:] == wire.TICK.encode()
        if wants_tick:
            self._tick_at = 0.0

    def _send_events(self) -> None:
        while (event := self._next_event()) is not None:
            self._send(event)
        now = time.monotonic()
        if now >= self._tick_at:
            self._tick_at = now + TICK_SECONDS
            self._send(wire.Event(wire.TICK, self._run_id, 0, time.time(), dict(self._told)))

    def _next_event(self) -> wire.Event | None:
        """The oldest event that waits; if there is none, all numbers given so far were sent or dropped."""
        with self._publishing:
            if self._events:
                return self._events.popleft()
            self._told = dict(self._given)
            return None

    def _send(self, event: wire.Event) -> None:
        try:
            self._socket.send_multipart(wire.encode_event(event), zmq.NOBLOCK)
        except (wire.WireError, ValueError, TypeError, OverflowError, zmq.ZMQError):
            # Its number will be missing, so that listeners know that they have to ask anew.
            log.exception("an event could not be sent: %s", event.topic)
