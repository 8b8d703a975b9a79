"""A stand-in for the service: tries, inside the unit's sandbox, what the service needs and what it must not get.

It writes what it found to its state directory, then behaves as a service does: ready, alive, reload, stop.
"""

import ctypes
import importlib
import json
import logging
import multiprocessing
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from dupwatchd import systemd
from dupwatchd.settings.model import default_state

STATE = default_state()
RUNTIME, CACHE = os.environ["RUNTIME_DIRECTORY"], os.environ["CACHE_DIRECTORY"]


def compiles() -> None:
    """numba compiles, and keeps what it compiled."""
    import numpy as np

    from dupwatchd.compare.tree import boxtree  # noqa: F401 - it is here that numba is at home

    sys.path.insert(0, STATE)
    Path(STATE, "compiled.py").write_text(
        "import numba\n@numba.njit('i8(i8)', cache=True)\ndef double(n):\n    return 2 * n\n"
    )
    import compiled  # type: ignore[import-not-found]

    assert compiled.double(np.int64(21)) == 42
    assert any(Path(CACHE).rglob("*.nbi")), "nothing was kept"


def has_workers() -> None:
    """Processes can be made that stand back, with limits of their own."""
    context = multiprocessing.get_context("forkserver")
    worker = context.Process(target=stand_back)
    worker.start()
    worker.join(20)
    assert worker.exitcode == 0, f"the worker ended with {worker.exitcode}"


def stand_back() -> None:
    """What a worker does first."""
    os.nice(10)
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    os.sched_setaffinity(0, os.sched_getaffinity(0))
    libc = ctypes.CDLL(None, use_errno=True)
    idle = 3 << 13  # ioprio_set(2): the class is in the upper bits
    assert libc.syscall(251 if os.uname().machine == "x86_64" else 30, 1, 0, idle) == 0, os.strerror(ctypes.get_errno())


def sees_changes() -> None:
    """The kernel can be asked to report changes under the photos."""
    libc = ctypes.CDLL(None, use_errno=True)
    watching = libc.inotify_init1(os.O_CLOEXEC)
    assert libc.inotify_add_watch(watching, b"/srv/photos", 0x100) > 0, os.strerror(ctypes.get_errno())
    os.close(watching)


def has_sockets() -> None:
    """ZeroMQ, once it is installed, answers itself over a socket file and on loopback."""
    try:
        zmq = importlib.import_module("zmq")
    except ImportError:
        return
    with zmq.Context() as context:
        for endpoint in (f"ipc://{RUNTIME}/try.sock", "tcp://127.0.0.1:7999"):
            with context.socket(zmq.REP) as server, context.socket(zmq.REQ) as client:
                server.bind(endpoint)
                client.connect(endpoint)
                client.send(b"?")
                assert server.poll(3000), endpoint


def gives_to_its_group() -> None:
    """A socket may be handed to a group that the service is in."""
    path = Path(RUNTIME, "given")
    path.touch()
    os.chown(path, -1, os.getgid())
    path.chmod(0o660)


def writes(folder: str) -> Callable[[], object]:
    """Can a file be made there?"""
    return Path(folder, "probe").touch


def found(attempt: Callable[[], object]) -> str:
    """How an attempt went: empty if well."""
    try:
        attempt()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what was to be found out
        return f"{type(error).__name__}: {error}"
    return ""


def findings() -> dict[str, str]:
    """What went wrong, by what was tried."""
    tried = {
        attempt.__name__: found(attempt)
        for attempt in (compiles, has_workers, sees_changes, has_sockets, gives_to_its_group)
    }
    for folder in (STATE, RUNTIME, CACHE, "/tmp", "/srv/photos", "/home", "/root", "/etc/dupwatch", "/usr", "/var/lib"):
        tried[f"writes {folder}"] = found(writes(folder))
    return tried


def main() -> None:
    """Find out if asked to, then serve."""
    systemd.set_up_logging()
    log = logging.getLogger("probe")
    os.makedirs(STATE, exist_ok=True)
    if "try" in sys.argv:
        Path(STATE, "findings.json").write_text(json.dumps(findings()))

    stop = reload = False

    def on_signal(number: int, _frame: FrameType | None) -> None:
        nonlocal stop, reload
        stop, reload = stop or number == signal.SIGTERM, reload or number == signal.SIGHUP

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGHUP, on_signal)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{RUNTIME}/probe.sock")
        Path(RUNTIME, "probe.sock").chmod(0o660)
        listening.listen()
        log.info("ready in %s", RUNTIME)
        systemd.ready("probing")
        while not stop:
            systemd.alive()
            if reload:
                reload = False
                systemd.reloading()
                Path(STATE, "photos").write_text("\n".join(os.listdir("/srv/photos")))
                systemd.ready("reloaded")
            time.sleep((systemd.watchdog_seconds() or 2) / 10)
    systemd.stopping()


if __name__ == "__main__":
    main()
