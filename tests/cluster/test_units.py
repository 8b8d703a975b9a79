"""The units under a real systemd, in their sandboxes: scheduler, worker and service find each other, and come back."""

import json
from collections.abc import Iterator

import pytest

from tests.conftest import encoded, photo_like
from tests.system.booted import SOURCE, CannotBootError, Machine, booted, wait_until

pytest.importorskip("distributed", reason="the extra cluster is not installed")

SCHEDULER, WORKER, SERVICE = "dupwatch-cluster-scheduler", "dupwatch-cluster-worker", "dupwatchd"
SETTINGS = """
roots = ["/srv/photos"]
[watch]
settle_seconds = 0.1
[cluster]
scheduler = "tcp://127.0.0.1:8786"
min_pending = 5
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A booted system with all three units and some photos."""
    try:
        with booted(tmp_path_factory.mktemp("booted")) as machine:
            machine.write("/etc/sysusers.d/dupwatch.conf", (SOURCE / "systemd" / "dupwatch.sysusers").read_text())
            machine.run("systemd-sysusers")
            for unit in (SCHEDULER, WORKER, SERVICE):
                text = (SOURCE / "systemd" / f"{unit}.service").read_text()
                machine.write(f"/etc/systemd/system/{unit}.service", text.replace("RestartSec=5", "RestartSec=100ms"))
            machine.write("/etc/dupwatch/dupwatch.toml", SETTINGS)
            photos = machine.path("/srv/photos")
            photos.mkdir()
            for seed in range(12):
                (photos / f"{seed}.jpg").write_bytes(encoded(photo_like(seed, 80, 60)))
            machine.run("ip", "link", "set", "lo", "up")
            machine.run("systemctl", "daemon-reload")
            yield machine
    except CannotBootError as error:
        pytest.skip(f"no systemd can be booted here: {error}")


def takes_part(machine: Machine) -> bool:
    done = machine.run("dupwatchd", "cluster", "check", "--json", check=False)
    return done.returncode == 0 and json.loads(done.stdout)["samples"] == 3


def main_process(machine: Machine, unit: str) -> int:
    return int(machine.properties(unit, "MainPID")["MainPID"])


@pytest.mark.timeout(240)  # of a busy machine; it boots a system, and starts four programs one after the other
def test_the_units_read_the_photos_of_the_service_and_come_back_when_they_die(machine: Machine) -> None:
    started = machine.run("systemctl", "start", SCHEDULER, WORKER, check=False)
    assert started.returncode == 0, "\n".join(str(entry.get("MESSAGE")) for entry in machine.journal(SCHEDULER))
    wait_until(lambda: takes_part(machine), 40)
    machine.run("systemctl", "start", SERVICE)
    machine.run("dupwatch", "wait", "--timeout", "40", timeout=60)
    status = json.loads(machine.run("dupwatch", "status", "--json").stdout)
    assert (status["files"], status["failed"]) == (12, 0)
    assert [one["files"] for one in status["cluster"]["machines"]] == [12]

    worker = main_process(machine, WORKER)
    machine.run("systemctl", "kill", "--signal=KILL", "--kill-whom=main", SCHEDULER)
    wait_until(lambda: main_process(machine, WORKER) not in (0, worker), 40)  # it ended with its scheduler
    wait_until(lambda: takes_part(machine), 40)
    assert machine.properties(WORKER, "Result")["Result"] == "success"
    machine.run("systemctl", "stop", SERVICE, WORKER, SCHEDULER)
    assert machine.properties(WORKER, "Result")["Result"] == "success"
