import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from dupwatchd.db import schema
from dupwatchd.db.connection import FILE_NAME, Database, open_database
from dupwatchd.errors import DamagedStateError, StateError, StateLockedError


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / "blocks").mkdir()
    return tmp_path


def test_a_new_database_is_made_and_opened_again(state: Path) -> None:
    for _ in range(2):
        database = open_database(str(state))
        assert database.value("PRAGMA user_version") == schema.VERSION
        assert database.value("PRAGMA application_id") == schema.APPLICATION_ID
        assert (database.value("PRAGMA journal_mode"), database.value("PRAGMA synchronous")) == ("wal", 2)
        database.close()


def test_a_transaction_is_all_or_nothing(state: Path) -> None:
    database = open_database(str(state))
    with pytest.raises(RuntimeError):
        _write_half(database)
    with database.transaction():
        database.rows("INSERT INTO fact VALUES ('b', 1)")
    assert database.rows("SELECT name FROM fact") == [("b",)]
    database.close()


def _write_half(database: Database) -> None:
    with database.transaction():
        database.rows("INSERT INTO fact VALUES ('a', 1)")
        raise RuntimeError


@pytest.mark.parametrize("kind", [apsw.BusyError, apsw.ProtocolError])
def test_whoever_holds_a_lock_for_long_is_told_of(state: Path, kind: type[apsw.Error]) -> None:
    database = open_database(str(state))

    def is_locked(*_: object) -> bool:  # SQLite itself tries for ten seconds
        raise kind("locking protocol")

    database._connection.exec_trace = is_locked
    with pytest.raises(StateLockedError, match="locked by another program"):
        database.rows("SELECT 1")
    database.close()


def test_a_database_of_a_newer_version_is_refused_and_untouched(state: Path) -> None:
    database = open_database(str(state))
    database.rows("PRAGMA user_version = 99")
    database.close()
    before = (state / FILE_NAME).read_bytes()
    with pytest.raises(StateError, match=r"made by a newer dupwatch .schema 99"):
        open_database(str(state))
    assert (state / FILE_NAME).read_bytes() == before


def test_somebody_elses_database_is_refused_and_untouched(state: Path) -> None:
    other = apsw.Connection(str(state / FILE_NAME))
    other.execute("CREATE TABLE precious (a); INSERT INTO precious VALUES (1)")
    other.close()
    before = (state / FILE_NAME).read_bytes()
    with pytest.raises(DamagedStateError, match="not a database of dupwatch"):
        open_database(str(state))
    assert (state / FILE_NAME).read_bytes() == before


@pytest.mark.parametrize("data", [b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_garbage_is_refused_with_the_cure(state: Path, data: bytes) -> None:
    (state / FILE_NAME).write_bytes(data)
    with pytest.raises(DamagedStateError, match=r"damaged.*check --repair"):
        open_database(str(state))


def test_an_empty_file_beside_blocks_is_not_taken_for_a_new_database(state: Path) -> None:
    (state / FILE_NAME).write_bytes(b"")
    (state / "blocks" / "000000.thumbnails").write_bytes(b"x")
    with pytest.raises(DamagedStateError, match="empty though pictures"):
        open_database(str(state))


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("nowhere")])
def test_whatever_lies_in_its_place_is_refused_with_the_cure(state: Path, make: Callable[[Path], None]) -> None:
    make(state / FILE_NAME)
    with pytest.raises(DamagedStateError, match=r"is no file.*check --repair"):
        open_database(str(state))


def test_a_failed_migration_leaves_the_old_version(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(database: object) -> None:
        database.rows("CREATE TABLE half (a)")  # type: ignore[attr-defined]
        raise RuntimeError

    open_database(str(state)).close()
    monkeypatch.setattr(schema, "_STEPS", (*schema._STEPS, broken))
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    with pytest.raises(RuntimeError):
        open_database(str(state))
    monkeypatch.undo()
    database = open_database(str(state))
    assert database.rows("SELECT name FROM sqlite_master WHERE name = 'half'") == []
    database.close()


@pytest.mark.parametrize("room", ["4k", "24k", "96k"])
def test_a_full_disk_is_not_told_to_be_broken(tmp_path: Path, room: str) -> None:
    """Whatever fails first there: the file itself, or what SQLite keeps beside it."""
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", tmp_path], check=False).returncode:
        pytest.skip("mounting a tmpfs is not allowed here")
    try:
        with pytest.raises(StateError, match="no space left"):
            open_database(str(tmp_path))
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)
