"""The fork server: a small process that has imported the decoders and forks a worker on request.

A worker that died is replaced within milliseconds, because nothing has to be imported again; and the daemon, which has
threads, never forks. The fork server of the standard library's multiprocessing does not fit: it pickles, keeps another
process (the resource tracker) beside itself, lives until the daemon ends, and imports the daemon's main program again
in every worker.

The pool holds one end of a socket, the fork server the other. The first message is the settings, as JSON. Each request
after that is one byte and a process id, and its reply one signed 8-byte number:

    "s" + a file descriptor   fork a worker that talks over the descriptor → its process id, or -errno
    "e" + process id          kill it if it lives → its wait status, or -n if n killed workers have not died yet
    "c" + 0                   → how many killed workers have not died yet

Workers that have died are reaped at once, also those that nobody asks about: whoever kills an idle worker, such as the
kernel when memory is short, would else leave a zombie.

When the pool's end closes, for whatever reason, the fork server exits, and its workers die with it
(PR_SET_PDEATHSIG).
"""

import gc
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from dataclasses import asdict
from typing import Any, NoReturn

from dupwatchd.index.limits import DecodeLimits

REAP_SECONDS = 1.0  # a killed worker that takes longer to die waits in the kernel for a disk
REPLY_SECONDS = 60.0  # the first reply comes after the imports, on a machine that may be busy

_REQUEST = struct.Struct("!cq")
_REPLY = struct.Struct("!q")
_SPAWN, _END, _COUNT_STUCK = b"s", b"e", b"c"
_SETTINGS_BYTES = 64 * 1024

_START = (
    "import sys; sys.path.append(sys.argv[1]); from dupwatchd.index.fork_server import main; main(int(sys.argv[2]))"
)


class ForkServerLost(Exception):  # noqa: N818 - it says what happened
    """The fork server has died, and with it all its workers."""


class ForkServer:
    """The pool's end of the connection to a fork server; used by one thread.

    Raises OSError if it cannot be started.
    """

    def __init__(self, thumbnail_px: int, limits: DecodeLimits) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket = ours
        with theirs:
            ours.settimeout(REPLY_SECONDS)
            ours.send(_settings_to_json(thumbnail_px, limits))
            try:
                self._process = _start(theirs.fileno())
            except OSError:
                ours.close()
                raise

    def spawn(self, connection: socket.socket) -> int:
        """Start a worker that serves the other end of ``connection``; returns its process id.

        Raises ForkServerLost; OSError if the system cannot fork now.
        """
        try:
            socket.send_fds(self._socket, [_REQUEST.pack(_SPAWN, 0)], [connection.fileno()])
        except OSError as error:
            raise ForkServerLost from error
        pid = self._reply()
        if pid < 0:
            raise OSError(-pid, os.strerror(-pid))
        return pid

    def end(self, pid: int) -> int:
        """Kill a worker unless it is dead already: its wait status, or -n if this and n-1 others will not die.

        Raises ForkServerLost.
        """
        try:
            self._socket.send(_REQUEST.pack(_END, pid))
        except OSError as error:
            raise ForkServerLost from error
        return self._reply()

    def stuck_workers(self) -> int:
        """How many workers that were killed have not died yet. Raises ForkServerLost."""
        try:
            self._socket.send(_REQUEST.pack(_COUNT_STUCK, 0))
        except OSError as error:
            raise ForkServerLost from error
        return self._reply()

    def close(self) -> None:
        """End the fork server and all its workers; may be called twice."""
        self._socket.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _reply(self) -> int:
        try:
            reply = self._socket.recv(_REPLY.size)
        except OSError as error:
            raise ForkServerLost from error
        if len(reply) != _REPLY.size:
            raise ForkServerLost
        number: int = _REPLY.unpack(reply)[0]
        return number


def _start(descriptor: int) -> subprocess.Popen[bytes]:
    package_parent = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return subprocess.Popen(
        # -P: a file numpy.py in the current directory, which may hold photos of anybody, must not be imported.
        [sys.executable, "-P", "-W", "ignore", "-c", _START, package_parent, str(descriptor)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=[descriptor],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        start_new_session=True,  # Ctrl-C in the terminal is for the daemon alone
    )


def main(descriptor: int) -> NoReturn:
    """Run the fork server over an inherited socket, until the other end closes; never returns."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # systemd sends them to the whole group
        signal.signal(ignored, signal.SIG_IGN)
    gc.disable()  # to look for rubbish among what is imported, which all stays, is a tenth of the start
    from dupwatchd.index import worker  # imports all decoders, once for all workers

    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.dup2(null, 2)  # decoders write to stderr; from here on nobody needs it. Errors of the imports above were shown
    gc.freeze()
    gc.enable()
    children = _Children()
    with socket.socket(fileno=descriptor) as control:
        thumbnail_px, limits = _settings_from_json(control.recv(_SETTINGS_BYTES))
        while True:
            request, descriptors, _, _ = socket.recv_fds(control, _REQUEST.size, 1)
            if len(request) != _REQUEST.size:
                os._exit(0)
            kind, pid = _REQUEST.unpack(request)
            if kind == _END:
                status = children.end(pid)
                reply = -len(children.stuck) if status is None else status
            elif kind == _COUNT_STUCK:
                children.reap()
                reply = len(children.stuck)
            else:
                parent = os.getpid()
                try:
                    reply = os.fork()
                except OSError as error:
                    reply = -(error.errno or 1)
                if reply == 0:
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    control.close()
                    worker.run(socket.socket(fileno=descriptors[0]), parent, thumbnail_px, limits)
                os.close(descriptors[0])
                if reply > 0:
                    children.living.add(reply)
            control.send(_REPLY.pack(reply))


class _Children:
    """The workers, by process id; reaped whenever one has died."""

    def __init__(self) -> None:
        self.living: set[int] = set()
        self.stuck: set[int] = set()  # killed, but not dead yet
        self._statuses: dict[int, int] = {}  # of those that died by themselves, until the pool asks
        signal.signal(signal.SIGCHLD, lambda *_: self.reap())

    def reap(self) -> None:
        """Take note of all that have died."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if pid in self.stuck:
                self.stuck.discard(pid)
            else:
                self._statuses[pid] = status

    def end(self, pid: int) -> int | None:
        """Kill a worker unless it is dead already: its wait status, or None if it will not die for now."""
        # Nothing is reaped behind our back: its number could belong to another process before we kill.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        try:
            return self._end(pid)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})

    def _end(self, pid: int) -> int | None:
        self.reap()
        if pid not in self.living:  # forked by an earlier fork server; it died together with that
            return signal.SIGKILL
        self.living.discard(pid)
        deadline = time.monotonic() + REAP_SECONDS
        pause_seconds = 0.0005
        while pid not in self._statuses:
            os.kill(pid, signal.SIGKILL)  # if it dies by itself at this moment, its wait status stays as it is
            if time.monotonic() > deadline:
                self.stuck.add(pid)
                return None
            time.sleep(pause_seconds)
            pause_seconds = min(0.02, pause_seconds * 2)
            self.reap()
        return self._statuses.pop(pid)


def _settings_to_json(thumbnail_px: int, limits: DecodeLimits) -> bytes:
    return json.dumps({"thumbnail_px": thumbnail_px, **asdict(limits)}).encode()


def _settings_from_json(text: bytes) -> tuple[int, DecodeLimits]:
    fields: dict[str, Any] = json.loads(text)
    return fields.pop("thumbnail_px"), DecodeLimits(**fields)
