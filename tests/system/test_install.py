"""The README's way to install the service, word for word, in a booted Debian system, and what comes after it.

The registry of packages is out of reach there. In its place, all that dupwatch needs is made a part of the system's
Python, as `apt install python3-numpy …` would; systemd's bindings come from the distribution.
"""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import encoded, photo_like
from tests.system.booted import SOURCE, CannotBootError, Machine, booted, wait_until

pytestmark = pytest.mark.timeout(180)  # pip works for 10 s on an idle machine, and for a minute on a busy one
UNIT = "dupwatchd.service"
SYSTEM_PYTHON = "/usr/bin/python3"
NO_REGISTRY = {
    "PIP_NO_INDEX": "1",
    "PIP_NO_BUILD_ISOLATION": "0",  # pip's way to say that it is switched off
    "EDITOR": "sed -i s/^#roots/roots/",  # the example's folder is /srv/photos
}
ON_PATH = {"PATH": "/usr/local/bin:/usr/bin:/bin"}  # what anybody has; not the folder of the program


def steps(name: str) -> list[str]:
    """The commands of a block of the README, by the name in the comment above it."""
    block = re.search(rf"<!-- {name} -->\n```\n(.*?)```", (SOURCE / "README.md").read_text(), re.DOTALL)
    assert block, f"the README has no block {name}"
    return block[1].splitlines()


def why_not_here() -> str | None:
    """Why the steps cannot be tried here; None if they can."""
    wanted = f"{sys.version_info.major}.{sys.version_info.minor}"
    version = f"import sys, venv, ensurepip, systemd.journal; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})"
    if not shutil.which("apt"):
        return "this is no Debian"
    if subprocess.run([SYSTEM_PYTHON, "-c", version], capture_output=True, check=False).returncode:
        return f"{SYSTEM_PYTHON} is not {wanted}, or python3-venv or python3-systemd is not installed"
    if importlib.util.find_spec("hatchling") is None:
        return "hatchling is not installed, and there is no registry inside"
    return None


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A system on which every step has been done, with Alice, who may ask."""
    if reason := why_not_here():
        pytest.skip(reason)
    try:
        with booted(tmp_path_factory.mktemp("booted"), installed=False) as machine:
            packages = f"/usr/local/lib/python3.{sys.version_info.minor}/dist-packages"
            machine.write(f"{packages}/registry.pth", "/opt/libraries\n")
            machine.run("mkdir", "-p", "/srv/photos", "/opt/clone")
            tracked = subprocess.run(["git", "ls-files", "-z"], cwd=SOURCE, capture_output=True, check=False).stdout
            names = [name for name in os.fsdecode(tracked).split("\0") if name and not name.startswith("tests/")]
            machine.write("/opt/names", "\0".join(names))
            pack = "tar --create --directory=/opt/source --null --files-from=/opt/names --mode=644 --owner=root"
            machine.run("sh", "-c", f"{pack} | tar --extract --directory=/opt/clone")
            machine.run("rm", "-f", "/usr/bin/kill", "/bin/kill")  # not every system has it
            assert not machine.path("/etc/sysusers.d").exists()
            for line in steps("service"):
                if not line.startswith("apt "):  # no registry; `why_not_here` has seen to it that they are there
                    machine.run("sh", "-c", f"cd /opt/clone && {line}", timeout=120, environment=NO_REGISTRY)
            machine.run("useradd", "--create-home", "alice")
            machine.run("usermod", "-aG", "dupwatch", "alice")
            yield machine
    except CannotBootError as error:
        pytest.skip(f"no systemd can be booted here: {error}")


def ask(machine: Machine, *arguments: object, status: int = 0) -> str:
    done = machine.run("dupwatch", *arguments, user="alice", check=False, environment=ON_PATH)
    assert done.returncode == status, f"{done.stdout}{done.stderr}"
    return done.stdout


def test_the_service_runs_and_alice_may_ask_it(installed: Machine) -> None:
    assert installed.properties(UNIT, "ActiveState", "NRestarts") == {"ActiveState": "active", "NRestarts": "0"}
    for name in ("one.jpg", "again.jpg"):
        installed.path(f"/srv/photos/{name}").write_bytes(encoded(photo_like(1)))
    wait_until(lambda: json.loads(ask(installed, "clusters", "--json"))["total_clusters"] == 1)


def test_entries_of_the_journal_have_fields(installed: Machine) -> None:
    entries = [entry for entry in installed.journal(UNIT) if str(entry.get("MESSAGE", "")).startswith("serving ")]
    assert entries
    assert {entry["LOGGER"] for entry in entries} == {"dupwatchd"}
    assert {entry["PRIORITY"] for entry in entries} == {"6"}
    assert {Path(entry["CODE_FILE"]).name for entry in entries} == {"service.py"}


def test_a_path_in_the_journal_is_a_field_of_its_own_bytes(installed: Machine) -> None:
    program = (
        "import logging; from dupwatchd import systemd; systemd.set_up_logging(); "
        "log = logging.getLogger('dupwatchd.update'); "
        "log.warning('cannot list it', extra={'DUPWATCH_PATH': b'/srv/\\xff', 'raw': 'x'})"
    )
    installed.run("systemd-run", "--wait", "--unit=fields", "/opt/dupwatch/bin/python", "-c", program)
    [entry] = [entry for entry in installed.journal("fields.service") if entry.get("MESSAGE") == "cannot list it"]
    assert bytes(entry["DUPWATCH_PATH"]) == b"/srv/\xff"
    assert (entry["PRIORITY"], entry["LOGGER"]) == ("4", "dupwatchd.update")
    assert "RAW" not in entry


def test_a_reload_needs_no_program_called_kill(installed: Machine) -> None:
    installed.run("mkdir", "-p", "/srv/more")
    installed.path("/srv/more/one.jpg").write_bytes(encoded(photo_like(2)))
    before = json.loads(ask(installed, "status", "--json"))["files"]
    settings = installed.path("/etc/dupwatch/dupwatch.toml")
    settings.write_text(settings.read_text().replace('roots = ["/srv/photos"]', 'roots = ["/srv/photos", "/srv/more"]'))
    installed.run("systemctl", "reload", UNIT)
    wait_until(lambda: json.loads(ask(installed, "status", "--json"))["files"] == before + 1)


def test_root_is_shown_the_settings_and_the_index_of_the_service(installed: Machine) -> None:
    shown = json.loads(installed.run("dupwatchd", "config", "--json", environment=ON_PATH).stdout)
    assert shown["file"] == "/etc/dupwatch/dupwatch.toml"
    assert shown["settings"]["state"] == {"value": "/var/lib/dupwatch", "from": "default"}
    own = "/root/.config/dupwatch/dupwatch.toml"
    installed.write(own, 'roots = ["/root"]')
    both = installed.run("dupwatchd", "config", "--json", environment={**ON_PATH, "HOME": "/root"})
    installed.run("rm", own)
    assert json.loads(both.stdout)["file"] == own
    assert "the system's service has its settings in /etc/dupwatch/dupwatch.toml" in both.stderr
    held = installed.run("dupwatchd", "check", check=False, environment=ON_PATH)
    assert held.returncode == 1
    assert "/var/lib/dupwatch is in use by process" in held.stderr


def test_what_root_mends_and_forgets_belongs_to_the_service(installed: Machine) -> None:
    wait_until(lambda: json.loads(ask(installed, "status", "--json"))["files"] >= 1)
    ask(installed, "wait", "--timeout", 20)
    installed.run("systemctl", "stop", UNIT)
    block = installed.path("/var/lib/dupwatch/blocks/000000.thumbnails")
    block.unlink()
    mended = installed.run("dupwatchd", "check", "--repair", check=False, environment=ON_PATH)
    assert mended.returncode == 0, mended.stdout + mended.stderr
    assert "mended:" in mended.stdout
    assert "this is about the index of the service, /var/lib/dupwatch" in mended.stderr
    assert "all is sound in /var/lib/dupwatch" in installed.run("dupwatchd", "check", environment=ON_PATH).stdout
    assert "forgotten in /var/lib/dupwatch: /srv/photos" in (
        installed.run("dupwatchd", "forget", "/srv/photos", environment=ON_PATH).stdout
    )
    assert installed.run("find", "/var/lib/dupwatch", "!", "-user", "dupwatch").stdout == ""
    installed.run("systemctl", "start", UNIT)
    wait_until(lambda: json.loads(ask(installed, "status", "--json"))["state"] == "idle")
    assert installed.properties(UNIT, "Result")["Result"] == "success"


def test_a_user_s_own_service_is_installed_likewise(installed: Machine) -> None:
    number = installed.run("id", "-u", "alice").stdout.strip()
    installed.run("systemctl", "start", f"user@{number}")
    home = {
        "HOME": "/home/alice",
        "XDG_RUNTIME_DIR": f"/run/user/{number}",
        "PATH": f"/home/alice/.local/bin:{ON_PATH['PATH']}",
        **NO_REGISTRY,
    }
    installed.run("chown", "-R", "alice", "/opt/clone")
    for line in steps("user service"):
        # there is no registry: what the program needs is a part of the system's Python here
        line = line.replace("python3 -m venv", f"{SYSTEM_PYTHON} -m venv --system-site-packages")
        done = installed.run(
            "sh", "-c", f"cd /opt/clone && {line}", user="alice", timeout=120, check=False, environment=home
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    wait_until(
        lambda: (
            json.loads(installed.run("dupwatch", "status", "--json", user="alice", environment=home).stdout)["state"]
            == "idle"
        )
    )
    assert installed.path("/home/alice/.local/state/dupwatch/dupwatch.sqlite").exists()
    installed.run("systemctl", "--user", "reload", UNIT, user="alice", environment=home)
    installed.run("systemctl", "stop", f"user@{number}")
