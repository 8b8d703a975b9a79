"""What the service manager is told, what a log line looks like, and what systemd thinks of the units."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dupwatchd import systemd
from dupwatchd.settings import printing

ROOT = Path(__file__).parent.parent
UNITS = ROOT / "systemd"
SECURITY_MAX = 16  # tenths; what `systemd-analyze security` of 252 says of the system's unit: a rise needs a reason

needs_analyze = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")


# ---- sd_notify


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The other end of sd_notify."""
    address = str(tmp_path / "notify") if request.param == "path" else f"@dupwatch-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + address[1:] if address[0] == "@" else address)
        listening.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        yield listening


def test_the_manager_is_told_in_its_own_words(manager: socket.socket) -> None:
    told = [
        (systemd.ready("all is seen"), "READY=1\nSTATUS=all is seen"),
        (systemd.ready(), "READY=1"),
        (systemd.status("3 of 4\nREADY=1"), "STATUS=3 of 4\\nREADY=1"),  # a file name cannot say that we are ready
        (systemd.alive(), "WATCHDOG=1"),
        (systemd.stopping("saving"), "STOPPING=1\nWATCHDOG_USEC=0\nSTATUS=saving"),
    ]
    for taken, words in told:
        assert taken
        assert manager.recv(1000).decode() == words


def test_a_reload_tells_when_it_began(manager: socket.socket) -> None:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert systemd.reloading()
    found = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)", manager.recv(1000).decode())
    assert found
    assert before <= int(found[1]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


@pytest.mark.parametrize("address", [None, "", "vsock:2:1", "/no/such/socket", "/" + "x" * 200])
def test_without_a_manager_nothing_happens(monkeypatch: pytest.MonkeyPatch, address: str | None) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if address is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    assert not systemd.ready()


def test_a_manager_that_does_not_listen_does_not_hold_us_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        began = time.monotonic()
        while systemd.alive():
            assert time.monotonic() - began < 20
        began = time.monotonic()
        assert not systemd.alive()
        assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("micro", "process", "seconds"),
    [("3000000", None, 3), ("3000000", "own", 3), ("3000000", "1", None), ("0", None, None), (None, None, None)],
)
def test_the_watchdog_s_patience(
    monkeypatch: pytest.MonkeyPatch, micro: str | None, process: str | None, seconds: float | None
) -> None:
    for name, value in (("WATCHDOG_USEC", micro), ("WATCHDOG_PID", str(os.getpid()) if process == "own" else process)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert systemd.watchdog_seconds() == seconds


# ---- log lines

LOGS = """
import logging, os, sys
from dupwatchd import systemd
from dupwatchd.errors import UsageError
if "journal" in sys.argv:  # as if systemd had connected stderr to the journal; systemd-python is out of the way
    found = os.fstat(2)
    os.environ["JOURNAL_STREAM"] = f"{found.st_dev}:{found.st_ino}"
    sys.modules["systemd"] = None
systemd.set_up_logging()
log = logging.getLogger("dupwatchd.watch")
log.debug("unseen")
log.info("indexed %s", "a\\nb\\udcff", extra={"DUPWATCH_PATH": "/p"})
log.warning("no reload", exc_info=UsageError("setting x is wrong"))
try:
    1 / 0
except ZeroDivisionError:
    log.exception("a surprise")
if "hang" in sys.argv:
    os.abort()
"""


def logged(*arguments: str) -> list[str]:
    environment = {name: value for name, value in os.environ.items() if name != "JOURNAL_STREAM"}
    done = subprocess.run(
        [sys.executable, "-c", LOGS, *arguments], capture_output=True, text=True, env=environment, check=False
    )
    return done.stderr.splitlines()


def test_an_event_is_one_line_and_only_a_surprise_has_a_traceback() -> None:
    lines = logged()
    assert lines[0] == "dupwatchd: indexed a\\nb\\xff"
    assert lines[1] == "dupwatchd: no reload: setting x is wrong"
    assert lines[2] == "dupwatchd: a surprise"
    assert lines[3].startswith("Traceback")
    assert lines[-1] == "ZeroDivisionError: division by zero"


def test_on_the_way_to_the_journal_every_line_has_its_priority() -> None:
    lines = logged("journal")
    assert lines[:2] == ["<6>indexed a\\nb\\xff", "<4>no reload: setting x is wrong"]
    assert lines[2:4] == ["<3>a surprise", "<3>Traceback (most recent call last):"]
    assert all(line.startswith("<3>") for line in lines[2:])


def test_who_is_ended_by_the_watchdog_shows_where_it_hung() -> None:
    assert any("Fatal Python error: Aborted" in line for line in logged("hang"))


# ---- units


def test_the_example_shipped_is_the_one_that_the_program_prints() -> None:
    assert (UNITS / "dupwatch.toml").read_text() == printing.example()


SYSTEM_UNITS = ["dupwatchd.service", "dupwatch-cluster-scheduler.service", "dupwatch-cluster-worker.service"]


@pytest.fixture(params=[*SYSTEM_UNITS, "user/dupwatchd.service"])
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A unit whose program is there, for systemd-analyze looks."""
    copy = tmp_path / Path(request.param).name
    text = (UNITS / request.param).read_text()
    copy.write_text(re.sub(r"^ExecStart=\S+", f"ExecStart={shutil.which('true')}", text, flags=re.MULTILINE))
    return copy


@needs_analyze
def test_systemd_has_nothing_to_say_against_the_units(
    unit: Path, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    whose = "--user" if "user" in request.node.callspec.params["unit"] else "--system"
    done = subprocess.run(
        ["systemd-analyze", whose, "verify", "--man=no", "--recursive-errors=no", unit],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_analyze
@pytest.mark.parametrize("unit", SYSTEM_UNITS, indirect=True)
def test_the_service_is_no_more_exposed_than_it_was(unit: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={SECURITY_MAX}", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, "\n".join(line for line in done.stdout.splitlines() if "✓" not in line)


@pytest.mark.skipif(not shutil.which("systemd-sysusers"), reason="systemd-sysusers is not installed")
def test_the_user_is_made_with_its_group(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    subprocess.run(["systemd-sysusers", f"--root={tmp_path}", UNITS / "dupwatch.sysusers"], check=True)
    assert (tmp_path / "etc/passwd").read_text().startswith("dupwatch:")
    assert (tmp_path / "etc/group").read_text().startswith("dupwatch:")
