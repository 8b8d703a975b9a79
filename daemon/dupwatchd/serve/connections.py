"""Knows the connections of clients: who is at the other end, and when one has closed; and limits their number.

In: the monitor sockets of libzmq, and the frames that clients send. Out: a `Peer` for each connection that has asked
something, and once more when it has closed. Belongs to the thread of the sockets.

libzmq aborts the whole process when it runs out of file descriptors. (Tried: 4.3.5, `ipc_listener.cpp`, "Too many open
files", SIGABRT after a few hundred idle connections.) So the limit of the process is raised as far as it goes, and
connections beyond a small part of it are ended as they come.
"""

import os
import resource
import socket
import struct
from collections import defaultdict

import zmq

from dupwatchd.serve.request_queue import Peer

CONNECTIONS_MAX = 512
FILES_WANTED = 65_536
_EVENTS = zmq.Event.ACCEPTED | zmq.Event.DISCONNECTED


class Connections:
    """The connections of the sockets for requests and for events, which are not bound yet.

    A connection of the first is known by two names: the first frame of its messages, and the descriptor that libzmq's
    monitor names; both come with each message. A descriptor is used again after its connection has closed. The monitor
    of a socket tells of that before the first message of the socket's next connection can be read, so `closed` is
    called before each message is dealt with. Between two monitors there is no order: each has its own descriptors.
    """

    def __init__(self, requests: "zmq.Socket[bytes]", events: "zmq.Socket[bytes]") -> None:
        self.monitors = [made.get_monitor_socket(_EVENTS) for made in (requests, events)]
        self._open: list[set[int]] = [set() for _ in self.monitors]
        self._connections_max = min(CONNECTIONS_MAX, _raise_file_limit() // 4)
        self._peers: dict[bytes, Peer] = {}
        self._of_descriptor: defaultdict[int, list[Peer]] = defaultdict(list)

    def peer(self, connection: bytes, frame: zmq.Frame) -> Peer:
        """Who has the connection that this frame came from; call `closed` before.

        If it is closed already, which happens while its last messages are still being read, so is the peer.
        """
        known = self._peers.get(connection)
        if known is not None:
            return known
        peer = _who(connection, frame)
        descriptor = int(frame.get(zmq.SRCFD))
        if descriptor in self._open[0]:
            self._peers[connection] = peer
            self._of_descriptor[descriptor].append(peer)
        else:
            peer.closed.set()
        return peer

    def closed(self) -> list[Peer]:
        """Who asked something and has closed the connection since the last call; too many connections are ended."""
        ended: list[int] = []
        for monitor, descriptors in zip(self.monitors, self._open, strict=True):
            try:
                while True:
                    event, descriptor = struct.unpack("=Hi", monitor.recv_multipart(zmq.NOBLOCK)[0])
                    if event == zmq.Event.ACCEPTED:
                        self._accept(descriptor, descriptors)
                    else:
                        descriptors.discard(descriptor)
                        ended += [descriptor] if monitor is self.monitors[0] else []
            except zmq.Again:
                pass
        gone = [peer for descriptor in ended for peer in self._of_descriptor.pop(descriptor, [])]
        for peer in gone:
            self._peers.pop(peer.connection, None)
        return gone

    def _accept(self, descriptor: int, descriptors: set[int]) -> None:
        if sum(map(len, self._open)) < self._connections_max:
            descriptors.add(descriptor)
        else:
            _end(descriptor)


def _who(connection: bytes, frame: zmq.Frame) -> Peer:
    """Who sent a frame: the system tells of local processes, the handshake of keys."""
    key = _property(frame, "User-Id")
    parts = _property(frame, "Peer-Address").split(":")
    if len(parts) == 4 and parts[0] == "localhost" and all(part.isdecimal() for part in parts[1:]):
        uid, gid, pid = map(int, parts[1:])
        return Peer(connection, uid, gid, pid, key)
    return Peer(connection, key=key)


def _property(frame: zmq.Frame, name: str) -> str:
    try:
        return str(frame.get(name))
    except zmq.ZMQError:
        return ""


def _end(descriptor: int) -> None:
    """End a connection that libzmq owns; it notices and closes the descriptor itself."""
    try:
        with socket.socket(fileno=os.dup(descriptor)) as connection:
            connection.shutdown(socket.SHUT_RDWR)
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
