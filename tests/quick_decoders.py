"""Decode processes for tests with many short jobs, forked from a process that has imported the decoders already.

How a fork server starts by itself is tested in tests/index, and by all that start a program; elsewhere it would be most
of what the tests take.
"""

import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from dupwatchd.index import fork_server

_START = """
import os, signal, socket, sys
from dupwatchd.index import fork_server, worker

def reap(*_):
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass

signal.signal(signal.SIGCHLD, reap)
asked = socket.socket(fileno=int(sys.argv[1]))
while True:
    message, descriptors, _, _ = socket.recv_fds(asked, 1, 1)
    if not message:
        break
    if (pid := os.fork()) == 0:
        asked.close()
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        fork_server.main(descriptors[0])
    os.close(descriptors[0])
    asked.send(pid.to_bytes(8))
"""


class _Forked:
    """What a pool asks of the process of its fork server."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        try:
            self._ended = os.pidfd_open(pid)
        except ProcessLookupError:  # it has ended already
            self._ended = -1

    def wait(self, timeout: float | None = None) -> None:
        if self._ended < 0:
            return
        if not select.select([self._ended], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired("fork server", timeout or 0)
        os.close(self._ended)
        self._ended = -1

    def kill(self) -> None:
        if self._ended >= 0:
            signal.pidfd_send_signal(self._ended, signal.SIGKILL)


@pytest.fixture(scope="session")
def fork_servers() -> Iterator[socket.socket]:
    """Where a fork server can be asked for."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-P", "-W", "ignore", "-c", _START, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
                start_new_session=True,
            )
        yield ours
        ours.close()
        process.wait()


@pytest.fixture
def quick_decoders(fork_servers: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """For each pool of this process, a fork server that need not import anything."""
    lock = threading.Lock()

    def start(descriptor: int) -> _Forked:
        with lock:
            socket.send_fds(fork_servers, [b"f"], [descriptor])
            return _Forked(int.from_bytes(fork_servers.recv(8)))

    monkeypatch.setattr(fork_server, "_start", start)
