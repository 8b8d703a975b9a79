"""Shows clients out when there are too many: libzmq aborts the whole process when it runs out of file descriptors.

(Tried: 4.3.5, `ipc_listener.cpp`, "Too many open files", SIGABRT after a few hundred idle connections.) So the limit
of the process is raised as far as it goes, and connections beyond a small part of it are ended as they come.
"""

import os
import resource
import socket
import struct

import zmq

CONNECTIONS_MAX = 512
FILES_WANTED = 65_536
_EVENTS = zmq.Event.ACCEPTED | zmq.Event.DISCONNECTED


class ConnectionLimit:
    """Counts the connections of some sockets that are not bound yet; belongs to the thread that calls ``watch``."""

    def __init__(self, sockets: "list[zmq.Socket[bytes]]") -> None:
        self.monitors = [made.get_monitor_socket(_EVENTS) for made in sockets]
        self._connections_max = min(CONNECTIONS_MAX, _raise_file_limit() // 4)
        self._open: set[int] = set()

    def watch(self) -> None:
        """Take note of who came and went since the last call."""
        for monitor in self.monitors:
            try:
                while True:
                    self._note(monitor.recv_multipart(zmq.NOBLOCK)[0])
            except zmq.Again:
                pass

    def _note(self, frame: bytes) -> None:
        event, descriptor = struct.unpack("=Hi", frame)
        if event != zmq.Event.ACCEPTED:
            self._open.discard(descriptor)
        elif len(self._open) < self._connections_max:
            self._open.add(descriptor)
        else:
            _end(descriptor)


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
