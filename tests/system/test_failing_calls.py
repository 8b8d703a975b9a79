"""A system call that writes fails, or is the last one: one line says so, and the next run ends in the same answer.

strace counts the calls of the process that holds the database, and lets one of them fail. Here some of them
are tried, others each time; tests/long tries each.
"""

import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dupwatchd.db import roots, schema, upkeep
from dupwatchd.db.connection import open_database, open_for_reading
from dupwatchd.db.roots import FileCounts
from tests.conftest import WITH_PLAIN_RIGHTS
from tests.db.test_migration import made_by_version
from tests.system.in_process import run, scan
from tests.system.test_scan import COMMAND, many

CALLS = "write,pwrite64,fsync,fdatasync,ftruncate"
ERRORS = ["EIO", "ENOSPC"]
_TRIED = 3

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


def traced_scan(root: Path, state: Path, *inject: str) -> "tuple[subprocess.CompletedProcess[bytes], list[str]]":
    """A scan, and the calls that it made; the workers and other threads are not traced."""
    log = state.with_name("calls")
    options = [option for fault in inject for option in ("-e", f"inject={fault}")]
    traced = ["strace", "-qq", "-o", str(log), "-P", str(state), "-e", f"trace={CALLS}", *options]
    paths = [f"{state}/{name}" for name in ("dupwatch.sqlite", "proofs.sqlite")]
    paths += [f"{path}{ending}" for path in paths for ending in ("-wal", "-shm")]
    paths += [f"{state}/blocks/000000.{kind}" for kind in ("thumbnails", "descriptors")]
    traced += [option for path in paths for option in ("-P", path)]
    done = subprocess.run(
        [*traced, *COMMAND, "scan", "--json", str(root), "--state", str(state)], capture_output=True, check=False
    )
    return done, log.read_text(errors="replace").splitlines()


def assert_a_failing_call_does_no_harm(
    place: Path, root: Path, expected: dict[str, Any], error: str, number: int
) -> bool:
    """Let the call of this number fail; returns whether there are so many."""
    state = place / "state"
    done, calls = traced_scan(root, state, f"{CALLS}:error={error}:when={number}")
    was_injected = any("(INJECTED)" in call for call in calls)
    assert b"Traceback" not in done.stderr, (error, number, done.stderr.decode())
    assert done.returncode == 0 or len(done.stderr.splitlines()) == 1, (error, number, done.stderr.decode())
    checked = run("check", state=state) if (state / "dupwatch.sqlite").exists() else None
    assert checked is None or checked.returncode == 0, (error, number, checked.stdout)
    assert scan(root, state=state) == expected, (error, number)
    shutil.rmtree(state)
    return was_injected


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], int]:
    """Photos, the answer of a scan of them, and how many calls a scan makes."""
    place = tmp_path_factory.mktemp("undisturbed")
    root = many(place / "photos", 20)
    _, calls = traced_scan(root, place / "measured")
    return root, scan(root, state=place / "state"), len(calls)


@pytest.mark.parametrize("error", ERRORS)
def test_a_write_that_fails_is_told_and_does_no_harm(
    tmp_path: Path, undisturbed: tuple[Path, dict[str, Any], int], error: str
) -> None:
    root, expected, calls = undisturbed
    assert calls > 10
    surely_made = calls * 3 // 4  # the next scan may make somewhat fewer
    for number in np.random.default_rng().choice(surely_made, _TRIED, replace=False).tolist():
        assert assert_a_failing_call_does_no_harm(tmp_path, root, expected, error, number + 1)


def test_a_migration_that_is_killed_at_any_write_leaves_the_old_index_or_the_new_one(tmp_path: Path) -> None:
    opening = "import sys; from dupwatchd.db.connection import open_database; open_database(sys.argv[1]).close()"
    found = []
    for number in range(1, 1000, 7):
        state = tmp_path / str(number)
        state.mkdir()
        made_by_version(1, state)
        kill = f"inject=pwrite64,fdatasync,ftruncate:signal=SIGKILL:when={number}"
        traced = ["strace", "-qq", "-o", "/dev/null", "-e", kill, sys.executable, "-c", opening, str(state)]
        is_whole = subprocess.run(traced, check=False).returncode == 0
        with closing(open_for_reading(str(state))) as database:
            found.append(database.value("PRAGMA user_version"))
        with closing(open_database(str(state))) as database:
            assert upkeep.faults(database) == []
            assert roots.counts_outside(database) == FileCounts(7, 1, 3)
        if is_whole:
            break
    assert found[0] == 1
    assert found[-1] == schema.VERSION
    assert set(found) == {1, schema.VERSION}


def test_a_state_directory_that_cannot_be_written_is_one_line_and_wrong_usage(tmp_path: Path) -> None:
    root = many(tmp_path / "photos", 3)
    state = tmp_path / "state"
    scan(root, state=state)

    def contents() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in state.rglob("*.*") if not path.name.endswith("-shm")}

    before = contents()
    for folder in (state, state / "blocks"):
        folder.chmod(0o500)
    for file in state.rglob("*.*"):
        file.chmod(0o400)
    command = [*WITH_PLAIN_RIGHTS, *COMMAND, "scan", str(root), "--state", str(state)]
    done = subprocess.run(command, capture_output=True, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert b"check the rights" in done.stderr
    assert contents() == before
    state.chmod(0o700)
