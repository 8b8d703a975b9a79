"""The service under a real systemd, in the sandbox of its unit; and a stand-in that tries what that sandbox allows."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import encoded, photo_like
from tests.jumping_clock import JumpingClock
from tests.system.booted import SOURCE, CannotBootError, Machine, booted, wait_until

UNIT = "dupwatchd.service"
WATCHDOG_SECONDS = 3
MOST_EXPOSURE = 16  # of 100, as systemd-analyze judges: 1.6 of 10
PROBE = "/opt/dupwatch/bin/python /opt/source/tests/system/probe.py"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A booted system with all that we ship in its place, an Alice who may ask, and a stranger."""
    try:
        with booted(tmp_path_factory.mktemp("booted")) as machine:
            units = SOURCE / "systemd"
            machine.write("/etc/sysusers.d/dupwatch.conf", (units / "dupwatch.sysusers").read_text())
            machine.write(
                "/etc/sysusers.d/people.conf", "u alice - - /home/alice /bin/sh\nm alice dupwatch\nu stranger -\n"
            )
            machine.run("systemd-sysusers")
            machine.write(f"/etc/systemd/system/{UNIT}", (units / UNIT).read_text())
            machine.write(
                f"/etc/systemd/system/{UNIT}.d/quick.conf",
                f"[Unit]\nStartLimitIntervalSec=0\n[Service]\nWatchdogSec={WATCHDOG_SECONDS}\nRestartSec=100ms\n",
            )
            yield machine
    except CannotBootError as error:
        pytest.skip(f"no systemd can be booted here: {error}")


@pytest.fixture
def photos(machine: Machine) -> Iterator[Path]:
    """/srv/photos, on a file system of its own, with the settings that name it."""
    machine.run("mkdir", "-p", "/srv/photos", "/etc/dupwatch")
    machine.run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/srv/photos")
    machine.write("/etc/dupwatch/dupwatch.toml", 'roots = ["/srv/photos"]\n[watch]\nsettle_seconds = 0.1\n')
    yield machine.path("/srv/photos")
    machine.run("umount", "-l", "/srv/photos")


def started(machine: Machine, command: str | None) -> Iterator[Machine]:
    program = f"[Service]\nExecStart=\nExecStart={command}\n" if command else ""
    machine.write(f"/etc/systemd/system/{UNIT}.d/program.conf", program)
    machine.run("systemctl", "daemon-reload")
    machine.turn_page()
    done = machine.run("systemctl", "start", UNIT, check=False)
    lines = [str(entry.get("MESSAGE")) for entry in machine.journal(UNIT)[-30:]]
    assert done.returncode == 0, "\n".join(lines)
    yield machine
    machine.run("systemctl", "stop", UNIT)
    machine.run("systemctl", "reset-failed", UNIT, check=False)
    machine.run("systemctl", "clean", "--what=state", UNIT)


@pytest.fixture
def probe(machine: Machine, photos: Path) -> Iterator[Machine]:
    """The machine with the stand-in running."""
    yield from started(machine, PROBE)


@pytest.fixture
def trying_probe(machine: Machine, photos: Path) -> Iterator[Machine]:
    """Likewise, once it has tried what the sandbox allows."""
    yield from started(machine, f"{PROBE} try")


@pytest.fixture
def service(machine: Machine, photos: Path) -> Iterator[Machine]:
    """The machine with dupwatchd running."""
    yield from started(machine, None)


@pytest.fixture
def clock(machine: Machine) -> Iterator[JumpingClock]:
    """What time of day the service is given; to be asked for before `service`."""
    clock = JumpingClock(machine.path("/opt/clock"), "/opt/clock")
    drop_in = f"/etc/systemd/system/{UNIT}.d/clock.conf"
    machine.write(
        drop_in, "".join(["[Service]\n", *(f"Environment={one}={it}\n" for one, it in clock.environment.items())])
    )
    yield clock
    machine.path(drop_in).unlink()


@pytest.fixture(params=["probe", "service"])
def either(request: pytest.FixtureRequest) -> Machine:
    """What holds for any service in this unit."""
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


def main_process(machine: Machine) -> int:
    return int(machine.properties(UNIT, "MainPID")["MainPID"])


def state(machine: Machine) -> tuple[str, str, int]:
    shown = machine.properties(UNIT, "ActiveState", "Result", "NRestarts")
    return shown["ActiveState"], shown["Result"], int(shown["NRestarts"])


# ---- what the sandbox of the unit allows


def test_the_sandbox_allows_what_is_needed_and_no_more(trying_probe: Machine) -> None:
    findings = json.loads(trying_probe.path("/var/lib/dupwatch/findings.json").read_text())
    allowed = {f"writes {folder}" for folder in ("/var/lib/dupwatch", "/run/dupwatch", "/var/cache/dupwatch", "/tmp")}
    allowed |= {name for name in findings if not name.startswith("writes ")}
    assert {name: error for name, error in findings.items() if error and name in allowed} == {}
    refused = {name: error for name, error in findings.items() if name not in allowed}
    assert set(refused) == {
        f"writes {folder}" for folder in ("/srv/photos", "/home", "/root", "/etc/dupwatch", "/usr", "/var/lib")
    }
    assert "Permission denied" in refused.pop("writes /etc/dupwatch")  # a directory of the unit's, but root's
    assert all("Read-only file system" in error for error in refused.values()), refused


def test_the_group_may_come_to_the_socket_and_nobody_else(probe: Machine) -> None:
    knock = "import socket; socket.socket(socket.AF_UNIX).connect('/run/dupwatch/probe.sock')"
    assert probe.run("/opt/dupwatch/bin/python", "-c", knock, user="alice").returncode == 0
    refused = probe.run("/opt/dupwatch/bin/python", "-c", knock, user="stranger", check=False)
    assert "PermissionError" in refused.stderr
    for folder in ("/var/lib/dupwatch", "/var/cache/dupwatch"):
        assert probe.run("ls", folder, user="alice", check=False).returncode != 0


def test_log_lines_have_their_priority_in_the_journal(probe: Machine) -> None:
    [entry] = [entry for entry in probe.journal(UNIT) if str(entry.get("MESSAGE", "")).startswith("ready in")]
    assert (entry["MESSAGE"], entry["PRIORITY"]) == ("ready in /run/dupwatch", "6")


def test_a_disk_that_is_mounted_later_is_seen(probe: Machine, photos: Path) -> None:
    """The service lives in a mount namespace of its own; what is mounted outside must reach it."""
    probe.run("mount", "-t", "tmpfs", "tmpfs", "/srv/photos")
    try:
        (photos / "on the disk.jpg").touch()
        probe.run("systemctl", "reload", UNIT)
        seen = probe.path("/var/lib/dupwatch/photos")
        wait_until(lambda: seen.exists() and seen.read_text() == "on the disk.jpg")
    finally:
        probe.run("umount", "/srv/photos")
    probe.run("systemctl", "reload", UNIT)
    wait_until(lambda: seen.read_text() == "")


def test_the_unit_leaves_little_open() -> None:
    judged = ["systemd-analyze", "security", "--no-pager", "--offline=yes", f"--threshold={MOST_EXPOSURE}"]
    try:
        done = subprocess.run([*judged, SOURCE / "systemd" / UNIT], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no systemd-analyze here")
    if "offline" in done.stderr:
        pytest.skip("this systemd-analyze judges running units only")
    assert "Overall exposure level" in done.stdout
    assert done.returncode == 0, done.stdout


# ---- what systemd does with the service


def test_a_service_that_hangs_is_ended_by_the_watchdog_and_starts_again(either: Machine) -> None:
    hung = main_process(either)
    either.run("kill", "-STOP", hung)
    wait_until(lambda: state(either) == ("active", "success", 1))
    assert main_process(either) != hung
    assert any("Watchdog timeout" in str(entry.get("MESSAGE")) for entry in either.journal(UNIT))


def test_a_service_that_is_killed_starts_again(either: Machine) -> None:
    either.run("kill", "-KILL", main_process(either))
    wait_until(lambda: state(either) == ("active", "success", 1))


def test_a_quiet_service_is_not_taken_for_a_hung_one(either: Machine) -> None:
    time.sleep(WATCHDOG_SECONDS * 1.5)
    assert state(either) == ("active", "success", 0)


def test_a_reload_keeps_the_process(either: Machine) -> None:
    before = main_process(either)
    either.run("systemctl", "reload", UNIT)
    wait_until(lambda: state(either)[0] == "active")
    assert (main_process(either), state(either)) == (before, ("active", "success", 0))


def test_a_stop_is_clean_and_leaves_nothing_running(either: Machine) -> None:
    group = either.properties(UNIT, "ControlGroup")["ControlGroup"]
    began = time.monotonic()
    either.run("systemctl", "stop", UNIT)
    assert time.monotonic() - began < 10
    assert state(either)[:2] == ("inactive", "success")
    assert not either.path("/run/dupwatch").exists()
    assert not either.path(f"/sys/fs/cgroup{group}").exists()


SLOW_MEASURE = """
import os, time
def mean(thumbnails):
    if os.path.exists("/srv/photos/one.jpg"):
        open("/var/lib/dupwatch/begun", "w").close()
        time.sleep(3)
    return thumbnails.mean(axis=(1, 2))
"""


def test_a_stop_in_the_middle_of_work_that_nothing_can_interrupt_is_clean(service: Machine, photos: Path) -> None:
    """Such as compiling, or a measure of the user's own, as here; the watchdog has less patience than that."""
    settings = service.path("/etc/dupwatch/dupwatch.toml").read_text()
    service.write("/etc/dupwatch/dupwatch.toml", settings + '[compare]\nmeasure = "slow:mean"\nthreshold = 1\n')
    service.write("/etc/dupwatch/slow.py", SLOW_MEASURE)
    service.write(f"/etc/systemd/system/{UNIT}.d/slow.conf", "[Service]\nEnvironment=PYTHONPATH=/etc/dupwatch\n")
    service.run("systemctl", "daemon-reload")
    service.run("systemctl", "restart", UNIT)
    (photos / "one.jpg").write_bytes(encoded(photo_like(1)))
    wait_until(service.path("/var/lib/dupwatch/begun").exists)
    service.run("systemctl", "stop", UNIT)
    assert state(service)[:2] == ("inactive", "success")
    service.run("rm", f"/etc/systemd/system/{UNIT}.d/slow.conf")


# ---- a user's own service


@pytest.fixture
def alice(machine: Machine, photos: Path) -> Iterator[Callable[..., str]]:
    """Run a command as Alice, who has a service manager of her own and our unit in it."""
    number = machine.run("id", "-u", "alice").stdout.strip()
    machine.run("install", "-d", "-o", "alice", "/home/alice", "/home/alice/.local", "/home/alice/.local/bin")
    machine.run("ln", "-sf", "/opt/dupwatch/bin/dupwatchd", "/home/alice/.local/bin/dupwatchd")
    machine.write(f"/etc/systemd/user/{UNIT}", (SOURCE / "systemd" / "user" / UNIT).read_text())
    machine.write("/home/alice/.config/dupwatch/dupwatch.toml", 'roots = ["/srv/photos"]\n')
    machine.run("chown", "-R", "alice", "/home/alice")
    machine.run("systemctl", "start", f"user@{number}")

    def run(*command: object) -> str:
        home = ["env", "HOME=/home/alice", f"XDG_RUNTIME_DIR=/run/user/{number}"]
        return machine.run(*home, *command, user="alice").stdout

    yield run
    machine.run("systemctl", "stop", f"user@{number}")


@pytest.mark.parametrize("program", ["probe", "service"])
def test_a_user_s_own_service(machine: Machine, alice: Callable[..., str], photos: Path, program: str) -> None:
    text = f"[Service]\nExecStart=\nExecStart={PROBE} try\n" if program == "probe" else ""
    machine.write(f"/etc/systemd/user/{UNIT}.d/program.conf", text)
    alice("systemctl", "--user", "daemon-reload")
    alice("systemctl", "--user", "start", UNIT)
    if program == "probe":
        findings = json.loads(machine.path("/home/alice/.local/state/dupwatch/findings.json").read_text())
        assert {name for name, error in findings.items() if error and "writes" not in name} == set()
        assert findings["writes /srv/photos"]
    else:
        (photos / "one.jpg").write_bytes(encoded(photo_like(1)))
        wait_until(lambda: json.loads(alice("dupwatch", "status", "--json"))["files"] == 1)
    alice("systemctl", "--user", "reload", UNIT)
    alice("systemctl", "--user", "stop", UNIT)
    shown = alice("systemctl", "--user", "show", UNIT, "--property=Result,NRestarts")
    assert shown.split() == ["Result=success", "NRestarts=0"]


# ---- what the service does for people


def ask(machine: Machine, *arguments: object, user: str = "alice", status: int = 0) -> str:
    done = machine.run("dupwatch", *arguments, user=user, check=False)
    assert done.returncode == status, f"{done.stdout}{done.stderr}"
    return done.stdout


def test_a_photo_dropped_in_is_a_copy_for_whoever_may_ask(service: Machine, photos: Path) -> None:
    one = photo_like(1)
    (photos / "one.jpg").write_bytes(encoded(one))
    (photos / "again.jpg").write_bytes(encoded(one, quality=80))
    (photos / "other.jpg").write_bytes(encoded(photo_like(2)))
    wait_until(lambda: json.loads(ask(service, "status", "--json"))["files"] == 3)
    ask(service, "wait", "--timeout", 20)
    [cluster] = json.loads(ask(service, "clusters", "--json"))["clusters"]
    assert {file["path"] for file in cluster["files"]} == {"/srv/photos/one.jpg", "/srv/photos/again.jpg"}
    ask(service, "status", user="stranger", status=3)


def test_after_the_watchdog_the_answer_is_the_same(service: Machine, photos: Path) -> None:
    for name in ("one.jpg", "again.jpg"):
        (photos / name).write_bytes(encoded(photo_like(1)))
    wait_until(lambda: json.loads(ask(service, "clusters", "--json"))["total_clusters"] == 1)
    service.run("kill", "-STOP", main_process(service))
    wait_until(lambda: state(service) == ("active", "success", 1))
    ask(service, "wait", "--timeout", 20)
    assert json.loads(ask(service, "clusters", "--json"))["total_clusters"] == 1


def test_a_clock_that_jumps_ends_nothing(clock: JumpingClock, service: Machine, photos: Path) -> None:
    years = 365 * 24 * 3600
    process = main_process(service)
    assert "/opt/clock/clock.so" in service.path(f"/proc/{process}/maps").read_text()
    for number, seconds in enumerate((10 * years, -40 * years, 0), 1):
        clock.jump(seconds)
        for name in ("one.jpg", "again.jpg"):
            (photos / f"{number} {name}").write_bytes(encoded(photo_like(number)))
        wait_until(lambda: json.loads(ask(service, "clusters", "--json"))["total_clusters"] == number)  # noqa: B023
        time.sleep(WATCHDOG_SECONDS * 1.2)
    assert (main_process(service), state(service)) == (process, ("active", "success", 0))


def test_a_reload_takes_up_a_new_root_and_refuses_a_broken_file(service: Machine) -> None:
    service.run("mkdir", "-p", "/srv/more")
    service.path("/srv/more/one.jpg").write_bytes(encoded(photo_like(1)))
    before = main_process(service)
    service.write("/etc/dupwatch/dupwatch.toml", 'roots = ["/srv/photos"')
    service.run("systemctl", "reload", UNIT)
    wait_until(lambda: any("this is not TOML" in str(entry.get("MESSAGE")) for entry in service.journal(UNIT)))
    service.write("/etc/dupwatch/dupwatch.toml", 'roots = ["/srv/photos", "/srv/more"]')
    service.run("systemctl", "reload", UNIT)
    wait_until(lambda: json.loads(ask(service, "status", "--json"))["files"] == 1)
    assert main_process(service) == before


def test_a_wrong_setting_stops_the_start_once_with_one_line(service: Machine) -> None:
    service.run("systemctl", "stop", UNIT)
    service.write("/etc/dupwatch/dupwatch.toml", "root = []")
    assert service.run("systemctl", "start", UNIT, check=False).returncode != 0
    wait_until(lambda: state(service)[0] == "failed")
    assert service.properties(UNIT, "ExecMainStatus", "NRestarts") == {"ExecMainStatus": "2", "NRestarts": "0"}
    assert any("is roots meant?" in str(entry.get("MESSAGE")) for entry in service.journal(UNIT))


def test_the_photos_are_as_they_were(service: Machine, photos: Path) -> None:
    path = photos / "one.jpg"
    path.write_bytes(encoded(photo_like(1)))
    before = path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ctime_ns
    wait_until(lambda: json.loads(ask(service, "status", "--json"))["files"] == 1)
    assert (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ctime_ns) == before
