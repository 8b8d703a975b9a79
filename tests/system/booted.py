"""A second system on this machine, under a real systemd: its own processes, mounts, network and control groups.

Its root is this machine's, with a layer in memory over it, so nothing has to be installed and nothing is changed:
systemd boots in half a second. The program under test lies where the unit expects it, in /opt/dupwatch, unless a test
is about how it gets there.
"""

import json
import os
import shutil
import signal
import site
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

SOURCE = Path(__file__).parent.parent.parent
_SYSTEMD = "/lib/systemd/systemd"
_BOOT_SECONDS = 20

# Run as the first process of the new namespaces; the control groups are those of the group it was put into.
_BOOT = r"""
set -e
mount -t tmpfs tmpfs "$LAYER"
mkdir "$LAYER/upper" "$LAYER/work" "$LAYER/root"
R=$LAYER/root
mount -t overlay -o "lowerdir=/,upperdir=$LAYER/upper,workdir=$LAYER/work" overlay "$R"
mount -t proc proc "$R/proc"
mount --bind "$R/proc/sys" "$R/proc/sys"
mount -o remount,bind,ro "$R/proc/sys"   # the kernel's settings are this machine's, too
mount -t sysfs -o ro sysfs "$R/sys"
mount -t cgroup2 cgroup2 "$R/sys/fs/cgroup"
for folder in dev run srv home; do mount -t tmpfs -o mode=755 tmpfs "$R/$folder"; done
mkdir "$R/dev/pts" "$R/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$R/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$R/dev/shm"
for device in null zero full random urandom tty; do
    touch "$R/dev/$device"
    mount --bind "/dev/$device" "$R/dev/$device"
done
ln -s pts/ptmx "$R/dev/ptmx"
ln -s /proc/self/fd "$R/dev/fd"

# the interpreter stays where it is, but strangers may have no way to it
mkdir -p "$R$PREFIX"
mount --bind "$PREFIX" "$R$PREFIX"
way=$PREFIX
while way=$(dirname "$way"); [ "$way" != / ]; do chmod o+x "$R$way"; done
mkdir -p "$R/opt/source" "$R/opt/libraries"
mount --bind "$SOURCE" "$R/opt/source"
mount -o remount,bind,ro "$R/opt/source"
mount --bind "$LIBRARIES" "$R/opt/libraries"
mount -o remount,bind,ro "$R/opt/libraries"
rm -rf "$R/opt/dupwatch"
if [ -n "$INSTALLED" ]; then cp -r "$INSTALLED" "$R/opt/dupwatch"; fi
mount -t tmpfs -o mode=1777 tmpfs "$R/tmp"

# none of the services that are enabled on this machine, and nothing that would reach for its hardware
mount -t tmpfs -o mode=755 tmpfs "$R/etc/systemd/system"
for unit in systemd-modules-load systemd-udevd systemd-udev-trigger systemd-remount-fs systemd-random-seed; do
    ln -s /dev/null "$R/etc/systemd/system/$unit.service"
done
mount --make-rshared "$R"   # as on any host: what is mounted later reaches the services
exec env -i container=dupwatch-test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    chroot "$R" /lib/systemd/systemd --system --unit=basic.target --log-target=journal --show-status=0
"""


class CannotBootError(Exception):
    """This machine does not allow it; the message says why."""


class Machine:
    """The booted system, as its administrator sees it."""

    def __init__(self, leader: int) -> None:
        self.leader = leader  # the process here that is number 1 in there
        self._journal_start: list[str] = []

    def path(self, inside: str) -> Path:
        """A path of that system, for our own hands."""
        return Path(f"/proc/{self.leader}/root{inside}")

    def write(self, inside: str, text: str) -> None:
        """Write a file, making its folder if need be."""
        path = self.path(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def run(
        self,
        *command: object,
        user: str | None = None,
        check: bool = True,
        timeout: float = 30,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command there, as root or as somebody else; ``environment`` is added to a clean one."""
        enter = ["nsenter", f"--target={self.leader}", "-m", "-p", "-n", "-u", "-i", "-C", "-r", "-w", "--"]
        clean = ["env", "-i", "PATH=/opt/dupwatch/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "COLUMNS=200"]
        clean += [f"{name}={value}" for name, value in environment.items()]
        whose = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"] if user else []
        done = subprocess.run(
            [*enter, *clean, *whose, *map(str, command)], capture_output=True, text=True, timeout=timeout, check=False
        )
        if check and done.returncode:
            raise AssertionError(f"{command}: status {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def properties(self, unit: str, *names: str) -> dict[str, str]:
        """What systemd knows of a unit."""
        shown = self.run("systemctl", "show", unit, f"--property={','.join(names)}").stdout
        return dict(line.split("=", 1) for line in shown.splitlines())

    def journal(self, unit: str) -> list[dict[str, Any]]:
        """The entries about and of a unit since `turn_page`, oldest first."""
        self.run("journalctl", "--sync")
        lines = self.run("journalctl", "--no-pager", "--unit", unit, "--output=json", *self._journal_start).stdout
        return [json.loads(line) for line in lines.splitlines()]

    def turn_page(self) -> None:
        """Forget the journal up to now."""
        shown = self.run("journalctl", "--no-pager", "--lines=1", "--show-cursor").stdout
        self._journal_start = [f"--after-cursor={shown.split('-- cursor: ')[1].strip()}"]


def wait_until(claim: Callable[[], object], seconds: float = 60) -> None:
    """Wait until something holds; fails if it does not in time."""
    end = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.05)


@contextmanager
def booted(scratch: Path, *, installed: bool = True) -> Iterator[Machine]:
    """Boot a system, with the program ``installed`` or without it. Nothing of it is left afterwards.

    Raises CannotBootError where that is not possible.
    """
    _check_means()
    group = _control_group() / f"dupwatch-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        raise CannotBootError(f"no control group can be made: {error}") from error
    try:
        process = _start(scratch, group, installed)
        try:
            machine = Machine(_wait_for_boot(process, scratch / "console"))
            yield machine
            os.kill(machine.leader, signal.SIGRTMIN + 4)  # power off
            process.wait(15)
        finally:
            process.kill()  # takes number 1 with it, and that everything else
            process.wait()
    finally:
        _remove_group(group)


def _check_means() -> None:
    if os.geteuid() != 0:
        raise CannotBootError("only root can boot a system")
    for program in (_SYSTEMD, "unshare", "nsenter", "setpriv", "systemctl", "journalctl", "systemd-sysusers"):
        if not shutil.which(program):
            raise CannotBootError(f"{program} is not installed")


def _control_group() -> Path:
    """Our own group in the unified hierarchy."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    own = [line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::")]
    for mount in mounts:
        if mount[2] == "cgroup2" and own:
            return Path(mount[1]) / own[0].strip("/")
    raise CannotBootError("there is no unified hierarchy of control groups")


def _start(scratch: Path, group: Path, installed: bool) -> "subprocess.Popen[bytes]":
    (scratch / "layer").mkdir()
    if installed:
        _install(scratch / "installed")
    given = {
        "LAYER": scratch / "layer",
        "PREFIX": sys.base_prefix,
        "SOURCE": SOURCE,
        "LIBRARIES": site.getsitepackages()[0],
        "INSTALLED": scratch / "installed" if installed else "",
    }
    unshare = "exec unshare --fork --kill-child --pid --mount --uts --ipc --net --cgroup --propagation=private"
    with open(scratch / "console", "wb") as console:
        return subprocess.Popen(
            ["sh", "-c", f'echo $$ >"$0/cgroup.procs" && {unshare} sh -c "$1"', group, _BOOT],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **{name: str(value) for name, value in given.items()}},
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
        )


def _install(folder: Path) -> None:
    """A virtual environment as an administrator would make it, that finds our sources and our libraries."""
    (folder / "bin").mkdir(parents=True)
    python = Path(sys.base_prefix, "bin", f"python3.{sys.version_info.minor}")
    (folder / "pyvenv.cfg").write_text(f"home = {python.parent}\n")
    (folder / "bin" / "python").symlink_to(python)
    packages = folder / "lib" / python.name / "site-packages"
    packages.mkdir(parents=True)
    (packages / "all.pth").write_text("/opt/source/daemon\n/opt/source/client\n/opt/libraries\n")
    scripts = tomllib.loads((SOURCE / "pyproject.toml").read_text())["project"]["scripts"]
    for name, target in scripts.items():
        module, _, function = target.partition(":")
        program = folder / "bin" / name
        program.write_text(f"#!/opt/dupwatch/bin/python\nfrom {module} import {function}\n{function}()\n")
        program.chmod(0o755)


def _wait_for_boot(process: "subprocess.Popen[bytes]", console: Path) -> int:
    end = time.monotonic() + _BOOT_SECONDS
    state = "nothing"
    while time.monotonic() < end and process.poll() is None:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        if children:
            state = Machine(int(children[0])).run("systemctl", "is-system-running", check=False).stdout.strip()
            if state in ("running", "degraded"):
                return int(children[0])
        time.sleep(0.05)
    raise CannotBootError(f"systemd got as far as {state!r}; {console.read_text(errors='replace')[-500:]}")


def _remove_group(group: Path) -> None:
    for _ in range(100):  # the kernel takes its time to empty them
        for folder in sorted(group.rglob("*/"), key=lambda path: -len(path.parts)):
            _remove(folder)
        _remove(group)
        if not group.exists():
            return
        time.sleep(0.05)


def _remove(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        pass  # still in use, or gone
