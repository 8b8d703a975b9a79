"""A power cut at any moment of what is done to an index: all that it counts is sound, and it ends in the same answer.

Here some moments are tried, others each time; tests/long tries many.
"""

import json
import logging
import random
import shutil
import sys
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from dupwatch.progress import Bars
from dupwatchd.check import Findings, check, verify
from dupwatchd.db import remembered
from dupwatchd.db.connection import Row, open_database
from dupwatchd.db.proofs import Proofs
from dupwatchd.settings import Settings
from dupwatchd.state import locked_state, stores_of
from tests.conftest import encoded, photo_like
from tests.power_cuts import Disk, Step, recorded
from tests.system.in_process import scan
from tests.system.test_scan import COMMAND

_log = logging.getLogger(__name__)
_TRIED = 12
# Few pictures in a batch, so that there are many.
SCAN = """
import sys
from dupwatchd.update import intake
intake._BATCH_PICTURES = 3
from dupwatchd import cli
cli.main()
"""

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


class Scans(NamedTuple):
    """What scans did to a state directory that was empty before, and what they ended in."""

    root: Path
    steps: list[Step]
    state: Path
    answer: dict[str, Any]


def record_scans(place: Path) -> Scans:
    """Three scans of changing photos: thumbnails are written over those of pictures that are gone."""
    root, state = place / "photos", place / "state"
    for folder in (root, state):
        folder.mkdir()
    larger = np.asarray(Image.fromarray(photo_like(0, 200, 150)).resize((400, 300)))
    (root / "part.jpg").write_bytes(encoded(larger[40:260, 50:350].copy()))
    command = [sys.executable, "-c", SCAN, "scan", "--json", str(root), "--state", str(state)]
    steps: list[Step] = []
    for come, gone in ((range(6), ()), ((), (1, 2, 3)), (range(6, 12), ())):
        for seed in gone:
            (root / f"{seed}.jpg").unlink()
        for seed in come:
            picture = photo_like(seed - seed % 2, 200, 150)
            (root / f"{seed}.jpg").write_bytes(encoded(picture, quality=80 + seed))
        more, done = recorded(state, command, place / "log")
        assert done.returncode == 0, done.stderr
        steps += more
    return Scans(root, steps, state, json.loads(done.stdout))


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Scans:
    return record_scans(tmp_path_factory.mktemp("recorded"))


@pytest.fixture
def nothing(tmp_path: Path) -> Path:
    """An empty folder."""
    (tmp_path / "nothing").mkdir()
    return tmp_path / "nothing"


def cuts(steps: list[Step], before: Path, place: Path, seed: int, moments: Collection[int]) -> Iterator[Path]:
    """What a power cut may leave of a folder at each of these moments, one after the other, and once all is done."""
    dice, disk, state = random.Random(seed), Disk(before), place / "cut"
    for number, step in enumerate([*steps, None]):
        if step is not None:
            disk.do(step)
        if number in moments or step is None:
            _log.warning("seed %d, cut after step %d of %d: %.100s", seed, number, len(steps), step)  # told if it fails
            state.mkdir()
            disk.put_after_cut(dice, state)
            yield state
            shutil.rmtree(state)


def some(steps: list[Step]) -> tuple[int, set[int]]:
    """A seed, and moments."""
    return random.randrange(1 << 32), set(random.sample(range(len(steps)), _TRIED))


def faults(state: Path) -> list[str]:
    """All that `check` finds, of an index that can be opened."""
    findings = Findings()
    with (
        locked_state(str(state)),
        closing(open_database(str(state))) as database,
        closing(Proofs(str(state))) as proofs,
    ):
        verify(database, stores_of(str(state), 32), proofs, findings)
    return findings.faults


def assert_it_is_sound(scans: Scans, state: Path, *, scanned: bool) -> None:
    """All that the index counts is what it should be, and a scan ends in the answer of an undisturbed one."""
    if (state / "dupwatch.sqlite").exists():
        assert faults(state) == []
    if scanned:
        assert scan(scans.root, state=state) == scans.answer
        assert faults(state) == []


def test_what_is_recorded_is_all_that_was_written(nothing: Path, scans: Scans) -> None:
    disk = Disk(nothing)
    for step in scans.steps:
        disk.do(step)
    there = [path for path in scans.state.rglob("*") if path.is_file()]
    assert disk.written() == {str(path.relative_to(scans.state)): path.read_bytes() for path in there}
    thumbnails = [step.place for step in scans.steps if step.what == "write" and step.path.endswith(".thumbnails")]
    assert len(set(thumbnails)) < len(thumbnails)  # some were written over others


def test_what_is_counted_after_a_power_cut_in_a_scan_is_sound(tmp_path: Path, nothing: Path, scans: Scans) -> None:
    seed, moments = some(scans.steps)
    for number, state in enumerate(cuts(scans.steps, nothing, tmp_path, seed, moments)):
        assert_it_is_sound(scans, state, scanned=number == _TRIED // 2)


def test_thumbnails_that_are_not_synced_would_be_lost(tmp_path: Path, nothing: Path, scans: Scans) -> None:
    steps = [step for step in scans.steps if step.what != "sync" or not step.path.startswith("blocks")]
    for state in cuts(steps, nothing, tmp_path, 1, ()):
        assert "thumbnails in the blocks are missing or damaged" in faults(state)[0]


# ---- what puts another index in place: afterwards the old one is there or the new one, with what people said


def said(state: Path) -> dict[str, list[Row]]:
    with locked_state(str(state)), closing(open_database(str(state))) as database:
        return remembered.everything(database)


def say(state: Path, what: bytes) -> None:
    with closing(open_database(str(state))) as database:
        remembered.take_over(database, {"ignored_pair": [(what * 32, b"z" * 32, 1)]})


@pytest.fixture
def state(tmp_path: Path, scans: Scans) -> Path:
    """An index, of which something was said."""
    state = Path(shutil.copytree(scans.state, tmp_path / "state"))
    say(state, b"a")
    return state


def test_a_power_cut_in_a_repair_loses_nothing_that_was_said(tmp_path: Path, state: Path) -> None:
    expected = said(state)
    steps, before = record_repair(tmp_path, state)
    seed, moments = some(steps)
    moves = {number for number, step in enumerate(steps) if step.what == "move"}
    for cut in cuts(steps, before, tmp_path, seed, moments | moves):
        check(Settings(state=str(cut)), repair=True, progress=Bars())
        assert said(cut) == expected
        assert faults(cut) == []


def record_repair(place: Path, state: Path) -> tuple[list[Step], Path]:
    """What a repair does to a database that is beyond help, and the state directory before."""
    with closing(open_database(str(state))) as database:
        page = database.value("SELECT rootpage FROM sqlite_master WHERE name = 'picture'") - 1
        page_bytes = database.value("PRAGMA page_size")
    with (state / "dupwatch.sqlite").open("r+b") as file:
        file.seek(page * page_bytes)
        file.write(random.randbytes(page_bytes))
    before = Path(shutil.copytree(state, place / "before"))
    steps, done = recorded(state, [*COMMAND, "check", "--repair", "--state", str(state)], place / "log")
    assert done.returncode == 0, done.stdout
    return steps, before
