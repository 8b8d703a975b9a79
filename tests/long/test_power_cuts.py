"""A power cut at each moment of scans, of a restore and of a repair, several times each.

And cuts at random moments on real file systems, which are told to stop as if the power was gone: what is in their log
is not written to it any more. After that they are mounted again, and recover by themselves.
"""

import contextlib
import fcntl
import os
import random
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dupwatch.act.apply import Action, apply_plan
from dupwatch.act.errors import ActError
from dupwatch.act.plan_file import Plan
from dupwatch.act.undo import runs_to_undo, undo
from dupwatch.progress import Bars
from dupwatchd.check import check
from dupwatchd.settings import Settings
from tests.act.mounts import Mounts
from tests.act.trees import plan_for, seen, write
from tests.power_cuts import recorded
from tests.system.test_power_cuts import (
    SCAN,
    Scans,
    assert_it_is_sound,
    cuts,
    faults,
    nothing,
    pytestmark,
    record_repair,
    said,
    say,
    scans,
    state,
)
from tests.system.test_scan import COMMAND, many, run, scan

__all__ = ["nothing", "pytestmark", "scans", "state"]

_SCANNED_EVERY = 20
_SEEDS = range(3)
_CUTS = 15
_SHUT_DOWN, _WITHOUT_ITS_LOG = 0x8004587D, 2  # FS_IOC_SHUTDOWN of Linux


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", _SEEDS)
def test_no_power_cut_in_a_scan_leaves_anything_that_is_counted_and_wrong(
    tmp_path: Path, nothing: Path, scans: Scans, seed: int
) -> None:
    for number, cut in enumerate(cuts(scans.steps, nothing, tmp_path, seed, range(len(scans.steps)))):
        assert_it_is_sound(scans, cut, scanned=number % _SCANNED_EVERY == 0)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", _SEEDS)
def test_a_power_cut_in_a_restore_leaves_the_old_index_or_the_new_one(tmp_path: Path, state: Path, seed: int) -> None:
    older, saved = said(state), tmp_path / "b.zip"
    assert run("backup", saved, state=state).returncode == 0
    say(state, b"b")
    newer, before = said(state), Path(shutil.copytree(state, tmp_path / "before"))
    steps, done = recorded(state, [*COMMAND, "restore", str(saved), "--state", str(state)], tmp_path / "log")
    assert done.returncode == 0, done.stderr
    for cut in cuts(steps, before, tmp_path, seed, range(len(steps))):
        found = said(cut)
        assert found in (older, newer)
        assert faults(cut) == []
    assert found == older


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", _SEEDS)
def test_a_power_cut_in_a_repair_loses_nothing_that_was_said(tmp_path: Path, state: Path, seed: int) -> None:
    expected = said(state)
    steps, before = record_repair(tmp_path, state)
    for cut in cuts(steps, before, tmp_path, seed, range(len(steps))):
        check(Settings(state=str(cut)), repair=True, progress=Bars())
        assert said(cut) == expected
        assert faults(cut) == []


class Disk:
    """A file system in a file, mounted; what is done to it can be cut off."""

    def __init__(self, mounts: Mounts, kind: str, folder: Path) -> None:
        self.folder = folder
        self._mounts, self._image = mounts, mounts.image(kind)
        self._mount()

    def _mount(self) -> None:
        self._mounts.mount(self.folder, "-o", "loop", self._image)

    def cut_off(self, process: "subprocess.Popen[bytes] | int", seconds: float) -> None:
        """Stop it as if the power was gone, after so long, and mount it again once the process has ended."""
        time.sleep(seconds)  # what is tried here is the moment itself
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _SHUT_DOWN, struct.pack("I", _WITHOUT_ITS_LOG))
        finally:
            os.close(descriptor)
        if isinstance(process, int):
            os.waitpid(process, 0)
        else:
            assert b"Traceback" not in process.communicate()[1]
        subprocess.run(["umount", self.folder], check=True)
        self._mount()

    def remove(self) -> None:
        subprocess.run(["umount", self.folder], check=True)
        self._image.unlink()


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_a_file_system_that_is_shut_down_in_a_scan_loses_nothing_that_was_committed(tmp_path: Path, kind: str) -> None:
    root = many(tmp_path / "photos", 60)
    began = time.monotonic()
    expected = scan(root, state=tmp_path / "undisturbed")
    whole_seconds = time.monotonic() - began
    with Mounts(tmp_path) as mounts:
        for _ in range(_CUTS):
            disk = Disk(mounts, kind, tmp_path / "disk")
            state = disk.folder / "state"
            state.mkdir()
            subprocess.run(["sync", "--file-system", state], check=True)
            command = [sys.executable, "-c", SCAN, "scan", str(root), "--state", str(state)]
            scanning = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            disk.cut_off(scanning, random.uniform(0.3, 1.2) * whole_seconds)
            if (state / "dupwatch.sqlite").exists():
                assert faults(state) == []
            assert scan(root, state=state) == expected
            assert faults(state) == []
            disk.remove()


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
@pytest.mark.parametrize("action", ["quarantine", "hardlink"])
def test_an_apply_on_a_file_system_that_is_shut_down_is_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, action: str
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "disk" / "home"))
    plan = plan_for_many(tmp_path / "measured")
    began = time.monotonic()
    apply_plan(plan, Action(action))
    whole_seconds = time.monotonic() - began
    with Mounts(tmp_path) as mounts:
        for _ in range(_CUTS):
            disk = Disk(mounts, kind, tmp_path / "disk")
            root = disk.folder / "root"
            plan, before = plan_for_many(root), seen(root)
            subprocess.run(["sync", "--file-system", root], check=True)
            acting = os.fork()
            if acting == 0:
                try:
                    apply_plan(plan, Action(action))
                finally:
                    os._exit(0)
            disk.cut_off(acting, random.uniform(0, 1.1) * whole_seconds)
            with contextlib.suppress(ActError):  # there may be nothing to undo
                assert undo(runs_to_undo(every=True)).is_complete
            assert seen(root) == before
            disk.remove()


def plan_for_many(root: Path) -> Plan:
    contents = [b"%d" % number * 50 for number in range(300)]
    return plan_for(
        root,
        [
            (
                write(root / f"spare/{number % 5}/{number}.jpg", one),
                write(root / f"best/{number % 7}/{number}.jpg", one),
            )
            for number, one in enumerate(contents)
        ],
    )
