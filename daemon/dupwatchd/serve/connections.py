"""Knows the connections of clients: who is at the other end, and when one has closed; and limits what they cost.

In: the monitor sockets of libzmq, and the frames that clients send. Out: a `Peer` for each connection that has asked
something, and once more when it has closed. `Connections` belongs to the thread of the sockets, but for
`watch_listeners`, which is the function of a thread of its own.

libzmq aborts the whole process when it runs out of file descriptors. (Tried: 4.3.5, `ipc_listener.cpp`, "Too many open
files", SIGABRT after a few hundred idle connections.) So the limit of the process is raised as far as it goes, and
there are at most a small part of it as connections. When another one comes, the user who has most of them loses one
that never said anything, or else the one that was idle for longest: nobody can shut out the others, and a client that
is idle connects again by itself.

libzmq keeps every subscription of a listener while it is connected, at some 30 bytes of memory for each byte of it, and
takes them all within a single call as long as they come quickly enough: that call may never return. When a listener
goes, libzmq walks the subscriptions of all. So a listener is ended from two sides: here, when it has subscribed to
more, or to longer names, than any client needs; and by `watch_listeners`, when more bytes wait to be read from it than
all that a client ever says. Its user's other attempts to listen are then turned away for a while, for each of them
would cost as much before it is noticed; how often anybody may begin to listen is bounded as well, see `admission.py`.
That is decided within the handshake (ZAP, https://rfc.zeromq.org/spec/27/), before the first subscription is read.

Who sends requests without waiting for answers keeps the thread of the sockets busy, however cheaply they are refused,
and nothing tells libzmq to read less from one connection. So a user of whom more such requests were refused than
`admission.py` allows loses the connections over which more come, and is turned away for a while: whoever connects again
waits in the handshake until then. (If it were ended there, it would come again ten times a second, with new requests
each time.) With keys, whose handshake is not ours, it is ended.
"""

import contextlib
import fcntl
import logging
import os
import resource
import socket
import struct
import termios
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import zmq

from dupwatchd.serve.admission import (
    LISTENERS_AT_ONCE,
    LISTENERS_PER_SECOND,
    REFUSALS_AT_ONCE,
    REFUSALS_PER_SECOND,
    Admission,
    User,
)
from dupwatchd.serve.request_queue import Peer
from dupwatchd.serve.wake_up import WakeUp

log = logging.getLogger(__name__)

CONNECTIONS_MAX = 512
FILES_WANTED = 65_536
SUBSCRIPTIONS_MAX = 32  # of one listener; there are seven topics
TOPIC_BYTES_MAX = 64
UNREAD_BYTES_MAX = 4096  # of one listener
HANDSHAKES_AT_ONCE = 64
_ADMITTED_AT_ONCE = 8  # by the thread of the sockets: requests get their turn in between
HELD_MAX = 1024  # handshakes of one user that wait; beyond that none is answered
_AT_ONCE_BYTES = 1 << 16
_BREATH_SECONDS = 0.002  # between two looks at listeners that say something
_GATE = "inproc://zeromq.zap.01"  # where libzmq asks whether a connection is welcome
_GATE_DOMAIN = b"dupwatch"
_WELCOME, _NOT_WELCOME = (b"200", b"OK", b"", b""), (b"300", b"too many", b"", b"")
_EVENTS = zmq.Event.ACCEPTED | zmq.Event.DISCONNECTED
_CREDENTIALS = struct.Struct("3i")  # process, user, group
_COUNT = struct.Struct("i")


@dataclass(eq=False, slots=True)
class _Connection:
    """One that is open, by the descriptor that libzmq has for it."""

    descriptor: int
    process: int | None  # at the other end; None over TCP
    user: User  # of that process, or the address over TCP
    last_used: float  # on the monotonic clock
    unanswered: int = 0  # requests
    subscriptions: int = 0
    is_admitted: bool = False  # a listener that may go on
    is_ended: bool = False  # by us, because too much came over it; libzmq will notice
    peers: list[Peer] = field(default_factory=list)  # that have asked something over it


class Connections:
    """The connections of the sockets for requests and for events, which are not bound yet.

    ``is_busy`` tells whether a peer waits for an answer; such a connection is ended last. ``asks_whom_to_admit``: the
    sockets, each alone in its context, ask within each handshake whether the user may come. `admit` answers the one,
    `watch_listeners` the other. With keys they cannot, for then the handshake asks for the key.

    A connection of the first socket is known by two names: the first frame of its messages, and the descriptor that
    libzmq's monitor names; both come with each message. A descriptor is used again after its connection has closed. The
    monitor of a socket tells of that before the first message of the socket's next connection can be read, so `closed`
    is called before each message is dealt with, and `subscribed` reads the other monitor first. Between two monitors
    there is no order: each has its own descriptors. The monitor of listeners is read by two threads, holding the lock.
    """

    def __init__(
        self,
        requests: "zmq.Socket[bytes]",
        events: "zmq.Socket[bytes]",
        is_busy: Callable[[Peer], bool],
        *,
        asks_whom_to_admit: bool = False,
    ) -> None:
        self.monitor = requests.get_monitor_socket(_EVENTS)  # readable when `closed` has something to do
        self._listeners_monitor = events.get_monitor_socket(_EVENTS)
        self._connections_max = min(CONNECTIONS_MAX, _raise_file_limit() // 8)  # a listener takes two descriptors
        self._peers: dict[bytes, tuple[Peer, _Connection]] = {}
        self._is_busy = is_busy
        # By descriptor. The first belongs to the thread of the sockets, which is never to wait for the one that watches
        # listeners, however much they say; the second is changed within the lock. Any thread may copy either at once.
        self._asking: dict[int, _Connection] = {}
        self._listening: dict[int, _Connection] = {}
        self._lock = threading.Lock()
        self._admission = Admission(LISTENERS_AT_ONCE, LISTENERS_PER_SECOND)  # within the lock
        self._refusals = Admission(REFUSALS_AT_ONCE, REFUSALS_PER_SECOND)  # of requests
        self.gate = _new_gate(requests, zmq.ROUTER) if asks_whom_to_admit else None
        """Readable when `admit` has something to do; None: nobody asks."""
        self._held: dict[User, list[list[bytes]]] = {}  # replies to handshakes that wait
        self._listeners_gate = _new_gate(events, zmq.REP) if asks_whom_to_admit else None
        self._is_stopping = False
        self._wake_up = WakeUp()
        self._wake_up.open()

    def peer(self, connection: bytes, frame: zmq.Frame) -> Peer:
        """Who has the connection that this frame of a request came from; call `closed` before, and `answered` once.

        If it is closed already, which happens while its last messages are still being read, so is the peer.
        """
        known = self._peers.get(connection)
        if known is not None:
            known[1].last_used = time.monotonic()
            known[1].unanswered += 1
            return known[0]
        peer = _who(connection, frame)
        opened = self._asking.get(int(frame.get(zmq.SRCFD)))
        if opened is not None:
            self._peers[connection] = peer, opened
            opened.peers.append(peer)
            opened.last_used = time.monotonic()
            opened.unanswered += 1
        if opened is None or opened.is_ended:
            peer.closed.set()
        return peer

    def subscribed(self, frame: zmq.Frame) -> None:
        """A listener has subscribed to something; it is ended if that is more than any client needs."""
        with self._lock:
            if self._hear_of_listeners():
                self._wake_up.wake()
            listener = self._listening.get(int(frame.get(zmq.SRCFD)))
            if listener is None:
                return  # it has gone
            listener.subscriptions += 1
            if listener.subscriptions > SUBSCRIPTIONS_MAX or len(frame) - 1 > TOPIC_BYTES_MAX:
                self._end_listener(listener)

    def answered(self, connection: bytes, *, is_refused: bool) -> None:
        """A request over a connection is answered; who is refused on and on, and does not wait for it, is ended."""
        known = self._peers.get(connection)
        if known is None or known[1].is_ended:
            return
        opened, now = known[1], time.monotonic()
        is_waited_for = opened.unanswered == 1
        opened.unanswered -= 1
        if is_refused and not is_waited_for and not self._refusals.may(opened.user, now):
            self._refusals.has_overdone(opened.user, now)
            _end(opened)
            for peer in opened.peers:
                peer.closed.set()

    def admit(self) -> bool:
        """Let those go on who are shaking hands to ask something, but for users who are turned away: they wait.

        Some at a time; returns whether there may be more.
        """
        if self.gate is None:
            return False
        now, is_more = time.monotonic(), False
        for user in [user for user in self._held if not self._refusals.is_turned_away(user, now)]:
            for reply in self._held[user][:_ADMITTED_AT_ONCE]:
                self.gate.send_multipart(reply)
            del self._held[user][:_ADMITTED_AT_ONCE]
            if self._held[user]:
                is_more = True
            else:
                del self._held[user]
        with contextlib.suppress(zmq.Again):
            for _ in range(_ADMITTED_AT_ONCE):
                who, _, version, request, _, address = self.gate.recv_multipart(zmq.NOBLOCK)[:6]
                user, _ = _user_at(address)
                reply = [who, b"", version, request, *_WELCOME]
                if not self._refusals.is_turned_away(user, now):
                    self.gate.send_multipart(reply)
                elif len(held := self._held.setdefault(user, [])) < HELD_MAX:
                    held.append(reply)
            is_more = True
        return is_more

    def closed(self) -> list[Peer]:
        """Who asked something and has closed the connection since the last call; too many connections are ended."""
        gone: list[Peer] = []
        is_news = False
        for has_come, descriptor in _news(self.monitor):
            is_news = True
            before = self._asking.pop(descriptor, None)
            gone += before.peers if before is not None else []
            if has_come:
                now = time.monotonic()
                opened = self._asking[descriptor] = _Connection(descriptor, *_credentials(descriptor), now)
                if self.gate is None and self._refusals.is_turned_away(opened.user, now):
                    _end(opened)
        if is_news:
            self._make_room()
        for peer in gone:
            self._peers.pop(peer.connection, None)
        return gone

    def watch_listeners(self) -> None:
        """Admit listeners, note who comes and goes, and end those that say too much, until `stop_watching`."""
        poller = zmq.Poller()
        poller.register(self._wake_up, zmq.POLLIN)
        poller.register(int(self._listeners_monitor.get(zmq.FD)), zmq.POLLIN)
        if self._listeners_gate is not None:
            poller.register(self._listeners_gate, zmq.POLLIN)
        watched: dict[_Connection, int] = {}  # our own descriptor of each: libzmq's may become another's
        try:
            while not self._is_stopping:
                try:
                    self._watch_once(poller, watched)
                except Exception:  # without this thread nobody new could listen
                    log.exception("watching listeners failed in one turn and goes on")
                    time.sleep(0.01)  # if every turn fails, the log must not fill the disk in no time
                time.sleep(_BREATH_SECONDS)
        finally:
            for own in watched.values():
                os.close(own)
            self._wake_up.close()

    def _watch_once(self, poller: zmq.Poller, watched: dict[_Connection, int]) -> None:
        ready = dict(poller.poll())
        self._wake_up.take()
        if self._listeners_gate is not None:
            self._answer_at(self._listeners_gate)
        with self._lock:
            self._hear_of_listeners()
            self._watch_those_open(poller, watched)
            for listener, own in watched.items():
                if own in ready and _unread_bytes(own) > UNREAD_BYTES_MAX:
                    self._end_listener(listener)

    def stop_watching(self) -> None:
        """End `watch_listeners`, now or as soon as it begins."""
        self._is_stopping = True
        self._wake_up.wake()

    def _watch_those_open(self, poller: zmq.Poller, watched: dict[_Connection, int]) -> None:
        """Holding the lock: poll each listener that is open and was not ended, by a descriptor of our own."""
        still_open = {each for each in self._listening.values() if not each.is_ended}
        for listener in watched.keys() - still_open:
            own = watched.pop(listener)
            poller.unregister(own)
            os.close(own)
        for listener in still_open - watched.keys():
            try:
                watched[listener] = os.dup(listener.descriptor)
            except OSError:
                continue  # it has gone already
            poller.register(watched[listener], zmq.POLLIN)

    def _end_listener(self, listener: _Connection) -> None:
        """Holding the lock: end a listener that said too much."""
        _end(listener)
        self._admission.has_overdone(listener.user, time.monotonic())

    def _answer_at(self, gate: "zmq.Socket[bytes]") -> None:
        """Say of each connection that is shaking hands whether it may listen; one that may not is ended.

        (libzmq alone would keep it until the time for shaking hands is over.) It may come again later. In one turn at
        most `HANDSHAKES_AT_ONCE` are answered: however fast others come, listeners that say too much are ended.
        """
        with contextlib.suppress(zmq.Again):
            for _ in range(HANDSHAKES_AT_ONCE):
                version, request, _, address = gate.recv_multipart(zmq.NOBLOCK)[:4]
                user, process = _user_at(address)
                with self._lock:
                    self._hear_of_listeners()
                    is_welcome = self._admission.may(user, time.monotonic())
                    # Of several connections of one process it does not matter which is which.
                    for listener in self._listening.values():
                        if (listener.user, listener.process) != (user, process) or listener.is_admitted:
                            continue
                        if not listener.is_ended:
                            listener.is_admitted = is_welcome
                            if not is_welcome:
                                _end(listener)
                            break
                gate.send_multipart([version, request, *(_WELCOME if is_welcome else _NOT_WELCOME)])

    def _hear_of_listeners(self) -> bool:
        """Holding the lock: take note of listeners that have come or gone; returns whether there were any."""
        is_news = False
        for has_come, descriptor in _news(self._listeners_monitor):
            is_news = True
            self._listening.pop(descriptor, None)
            if has_come:
                listener = _Connection(descriptor, *_credentials(descriptor), time.monotonic())
                self._listening[descriptor] = listener
                if self._admission.is_turned_away(listener.user, time.monotonic()):
                    _end(listener)
        if is_news:
            self._make_room()
        return is_news

    def _make_room(self) -> None:
        """End connections until there are no more than there may be."""
        every = [one for one in (*self._asking.values(), *self._listening.values()) if not one.is_ended]
        while len(every) > self._connections_max:
            of_user: dict[User, list[_Connection]] = {}
            for connection in every:
                of_user.setdefault(connection.user, []).append(connection)
            most = max(of_user.values(), key=len)
            victim = min(most, key=self._worth)
            _end(victim)
            every.remove(victim)

    def _worth(self, connection: _Connection) -> tuple[bool, bool, float]:
        """Of two connections the one of less worth is ended first: nobody waits, nothing was ever said, long idle."""
        has_said_something = bool(connection.peers or connection.subscriptions)
        return any(map(self._is_busy, connection.peers)), has_said_something, connection.last_used


def _new_gate(of: "zmq.Socket[bytes]", kind: int) -> "zmq.Socket[bytes]":
    """Where a socket, which is not bound yet, asks of each connection whether it is welcome."""
    gate: zmq.Socket[bytes] = of.context.socket(kind)
    gate.linger = 0
    gate.bind(_GATE)
    of.zap_domain = _GATE_DOMAIN
    return gate


def _user_at(address: bytes) -> tuple[User, int | None]:
    """The user and the process at an address as libzmq tells it at the gate; over TCP the address, and None."""
    told = address.decode(errors="replace")
    user, _, process = _local_ids(told) or (_plain_address(told), None, None)
    return user, process


def _news(monitor: "zmq.Socket[bytes]") -> Iterator[tuple[bool, int]]:
    """What the monitor of a socket tells: has a connection come, or gone, and its descriptor."""
    while True:
        try:
            event, descriptor = struct.unpack("=Hi", monitor.recv_multipart(zmq.NOBLOCK)[0])
        except zmq.Again:
            return
        yield event == zmq.Event.ACCEPTED, descriptor


def _unread_bytes(descriptor: int) -> int:
    """How much waits to be read from a connection."""
    try:
        return int(_COUNT.unpack(fcntl.ioctl(descriptor, termios.FIONREAD, bytes(_COUNT.size)))[0])
    except OSError:
        return 0


def _who(connection: bytes, frame: zmq.Frame) -> Peer:
    """Who sent a frame: the system tells of local processes, the handshake of keys."""
    key = _property(frame, "User-Id")
    ids = _local_ids(_property(frame, "Peer-Address"))
    return Peer(connection, key=key) if ids is None else Peer(connection, *ids, key)


def _local_ids(address: str) -> tuple[int, int, int] | None:
    """User, group and process of a peer on a socket file, from what libzmq calls its address; None over TCP."""
    parts = address.split(":")
    if len(parts) != 4 or parts[0] != "localhost" or not all(part.isdecimal() for part in parts[1:]):
        return None
    uid, gid, pid = map(int, parts[1:])
    return uid, gid, pid


def _property(frame: zmq.Frame, name: str) -> str:
    try:
        return str(frame.get(name))
    except zmq.ZMQError:
        return ""


def _credentials(descriptor: int) -> tuple[int | None, User]:
    """The process at the other end of a connection, and its user; over TCP None, and the address."""
    try:
        with _socket_at(descriptor) as connection:
            return _other_end(connection)
    except OSError:  # it has gone already
        return None, None


def _other_end(connection: socket.socket) -> tuple[int | None, User]:
    if connection.family != socket.AF_UNIX:
        return None, _plain_address(str(connection.getpeername()[0]))
    process, user, _ = _CREDENTIALS.unpack(
        connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    )
    return process, user


@contextlib.contextmanager
def _socket_at(descriptor: int) -> Iterator[socket.socket]:
    """The socket that libzmq has under a number; raises OSError if a file has that number by now, or nothing."""
    own = os.dup(descriptor)
    try:
        connection = socket.socket(fileno=own)
    except OSError:
        os.close(own)
        raise
    with connection:
        yield connection


def _plain_address(address: str) -> str:
    """An address as it is told of a socket for IPv4, also where the socket is for both."""
    return address.removeprefix("::ffff:")


def _end(ended: _Connection) -> None:
    """End a connection that libzmq owns; it notices and closes the descriptor itself.

    What libzmq tells of connections is read some moments later. By then it may have closed this one, and the number may
    be that of another file, or of the connection of somebody else who has just come: those are left alone.
    """
    ended.is_ended = True
    try:
        with _socket_at(ended.descriptor) as connection:
            # those that we connect ourselves have no name
            if connection.getsockname() and _other_end(connection) == (ended.process, ended.user):
                connection.shutdown(socket.SHUT_RDWR)
                while connection.recv(_AT_ONCE_BYTES, socket.MSG_DONTWAIT):
                    pass  # what has come already, libzmq would still read
    except OSError:
        pass  # it went by itself


def _raise_file_limit() -> int:
    """Allow this process as many open files as it may have; returns how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_WANTED if hard == resource.RLIM_INFINITY else min(FILES_WANTED, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return FILES_WANTED if soft == resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted
