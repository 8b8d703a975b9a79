"""What is dropped from the index, and which known folders no root covers, against brute force over all rows."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dupwatchd.db import facts, files, forgetting
from dupwatchd.db.connection import Database, open_database
from dupwatchd.paths import at_or_below

# "-" and "." sort before "/", "0" directly after it; the last is not UTF-8
SEGMENTS = st.sampled_from([b"a", b"a-b", b"a.b", b"a0", b"b", b"\xff", b"0", b"-"])
PATHS = st.lists(SEGMENTS, max_size=4).map(lambda segments: b"/" + b"/".join(segments))


@pytest.fixture
def database(tmp_path: Path) -> Database:
    (tmp_path / "blocks").mkdir()
    return open_database(str(tmp_path))


def fill(database: Database, paths: set[bytes]) -> None:
    with database.transaction():
        database.rows("DELETE FROM file")
        database.rows("DELETE FROM folder")
        for path in paths:
            files.record_folder(database, path, 1, None, [(b"1.jpg", 1, 1, 1, 1), (b"2.jpg", 1, 1, 1, 1)], [])


def known(database: Database) -> set[bytes]:
    return {row[0] for row in database.rows("SELECT path FROM folder")}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(st.sets(PATHS), st.lists(PATHS, max_size=3))
def test_folders_outside_all_roots_are_found_as_by_looking_at_every_row(
    database: Database, paths: set[bytes], roots: list[bytes]
) -> None:
    fill(database, paths)
    outside = {path for path in paths if not any(at_or_below(path, root) for root in roots)}
    topmost = [p for p in sorted(outside) if not any(p != q and at_or_below(p, q) for q in outside)]
    assert forgetting.folders_outside(database, roots) == topmost


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(st.sets(PATHS), PATHS, st.lists(PATHS, max_size=2))
def test_exactly_what_is_below_is_forgotten_and_kept_roots_stay(
    database: Database, paths: set[bytes], folder: bytes, kept: list[bytes]
) -> None:
    fill(database, paths)
    gone = {p for p in paths if at_or_below(p, folder) and not any(at_or_below(p, root) for root in kept)}
    assert forgetting.forget(database, folder, kept) == forgetting.Forgotten(2 * len(gone), len(gone))
    assert known(database) == paths - gone
    assert database.value("SELECT count(*) FROM file") == 2 * len(paths - gone)


def test_only_files_that_are_forgotten_leave_something_to_tidy(database: Database) -> None:
    fill(database, {b"/a", b"/b"})
    forgetting.forget(database, b"/nowhere")
    assert not facts.read(database).get("untidy")
    forgetting.forget(database, b"/a")
    assert facts.read(database)["untidy"] == 1


def test_the_search_for_folders_outside_does_not_look_at_every_folder(database: Database) -> None:
    fill(database, {b"/root/%d" % n for n in range(3000)} | {b"/root", b"/old", b"/older/x"})
    asked: list[str] = []
    rows = database.rows
    database.rows = lambda sql, bindings=None: asked.append(sql) or rows(sql, bindings)  # type: ignore[method-assign, func-returns-value]
    assert forgetting.folders_outside(database, [b"/root"]) == [b"/old", b"/older/x"]
    assert len(asked) < 12
