"""A power cut at each moment of scans, of a restore and of a repair, several times each."""

import shutil
from pathlib import Path

import pytest

from dupwatch.progress import Bars
from dupwatchd.check import check
from dupwatchd.settings import Settings
from tests.power_cuts import recorded
from tests.system.test_power_cuts import (
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
from tests.system.test_scan import COMMAND, run

__all__ = ["nothing", "pytestmark", "scans", "state"]

_SCANNED_EVERY = 20
_SEEDS = range(3)


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
