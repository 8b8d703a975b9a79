"""The clock of the machine jumps while the service runs: what it does is measured by a clock that does not."""

import os
import socket
import time
from functools import partial
from pathlib import Path
from typing import Any

from tests.conftest import encoded, photo_like
from tests.jumping_clock import JumpingClock
from tests.system.service import Listener, Service, until

_YEAR_SECONDS = 365 * 24 * 3600
_JUMPS = {"ten years ahead": 10 * _YEAR_SECONDS, "back to before 1990": -40 * _YEAR_SECONDS, "back to now": 0}


def test_a_clock_that_jumps_changes_nothing_but_the_times_that_are_told(tmp_path: Path) -> None:
    clock, root = JumpingClock(tmp_path / "clock"), tmp_path / "root"
    root.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        told: dict[str, Any] = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "600000"}
        with Service(tmp_path / "s", root, **(told | clock.environment)) as service:
            service.settled()
            listener = Listener(service.endpoint)
            for number, (jumped, seconds) in enumerate(_JUMPS.items()):
                clock.jump(seconds)
                # Their times are those of the machine: in the past of the service, in its future, then right.
                names = {f"{number}.jpg", f"{number} again.jpg"}
                for quality, name in zip((92, 80), sorted(names), strict=True):
                    (root / name).write_bytes(encoded(photo_like(number, 160, 120), quality=quality))
                service.settled()
                assert names <= service.shown(), jumped
                assert service.ask("status")["state"] == "idle"
                assert service.ask("status")["problems"] == []
                until(partial(has_told_of, listener, root, names))
                await_sign_of_life(manager)
                service.ask("ignore", paths=[os.fsencode(root / name) for name in sorted(names)])
                assert not names & service.shown()
            ahead = sorted(one["made_at"] - time.time() for one in service.ask("ignored")["ignored"])
            assert [round(seconds / _YEAR_SECONDS) for seconds in ahead] == [-40, 0, 10]  # it did jump
            assert "Traceback" not in service.lines()


def has_told_of(listener: Listener, root: Path, names: set[str]) -> bool:
    return all(listener.has("indexed", path=os.fsencode(root / name)) for name in names)


def await_sign_of_life(manager: socket.socket) -> None:
    """Wait until the service keeps its watchdog quiet again, twice."""
    manager.setblocking(False)
    try:
        while manager.recv(65536):
            pass  # what it said before
    except BlockingIOError:
        pass
    manager.settimeout(20)
    signs = 0
    while signs < 2:
        signs += "WATCHDOG=1" in manager.recv(65536).decode()
