"""What no file shows any more is removed, and what only it had joined is to be compared again."""

import os
from pathlib import Path

import pytest

from dupwatchd.db import files, pictures
from dupwatchd.db.connection import Database
from dupwatchd.db.pictures import NewContent, NewPicture
from dupwatchd.model import FileId, PictureId, Stamp
from dupwatchd.update.pipeline import bring_up_to_date
from dupwatchd.update.tidy import tidy
from tests.update.small_index import LIMITS, RULES, FilePool, Silent, intake_on_demand, known_paths, new_database, write

_STAMP = Stamp(1, 1, 1, 1)


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return new_database(tmp_path / "state")


def with_pictures(database: Database, number: int) -> list[FileId]:
    """So many files, each of which shows a picture of its own; the pictures are numbered from 0."""
    names = [b"%d.jpg" % one for one in range(number)]
    files.record_folder(database, b"/r", 1, None, [(name, 1, 1, 1, 1) for name in names], [])
    known = files.known_folder(database, b"/r")
    assert known is not None
    rows = files.files_of_folder(database, known.folder_id, names)
    for one, name in enumerate(names):
        pictures.add_pictures(database, [NewPicture(PictureId(one), name, False, b"", None)])
        content_id = pictures.add_content(database, NewContent((name, 0), PictureId(one), 1, 1, "JPEG", None))
        files.settle(database, FileId(rows[name].file_id), _STAMP, content_id, None)
    return [FileId(rows[name].file_id) for name in names]


def test_nothing_is_written_if_no_file_went(database: Database) -> None:
    with_pictures(database, 3)
    before = database.value("SELECT total_changes()")
    assert tidy(database, LIMITS) == []
    assert database.value("SELECT total_changes()") == before


def test_pictures_joined_only_through_one_that_goes_are_compared_again(database: Database) -> None:
    file_ids = with_pictures(database, 4)
    pictures.add_matches(
        database, [(0, 1, 0, 1.0, 0.01, None, 1, 1), (1, 2, 0, 1.0, 0.01, None, 1, 1), (2, 3, 0, 1.0, 0.01, None, 1, 1)]
    )
    files.remove(database, file_ids[1])
    assert tidy(database, LIMITS) == [1]
    assert pictures.matches_around(database, [0, 2]) == [(2, 3, 0, 1.0, 0.01, None, 1, 1)]
    assert pictures.to_rejoin(database) == [0]  # the smaller part: it is enough to search from there
    assert pictures.next_slots(database, 1) == [1]


def test_a_leaf_that_goes_leaves_nothing_to_compare(database: Database) -> None:
    file_ids = with_pictures(database, 3)
    pictures.add_matches(database, [(0, 1, 0, 1.0, 0.01, None, 1, 1), (1, 2, 0, 1.0, 0.01, None, 1, 1)])
    files.remove(database, file_ids[2])
    assert tidy(database, LIMITS) == [2]
    assert pictures.to_rejoin(database) == []


def test_a_content_that_another_file_has_stays(database: Database) -> None:
    file_ids = with_pictures(database, 2)
    content_id = database.value("SELECT content_id FROM file WHERE id = ?", (file_ids[0],))
    files.settle(database, file_ids[1], _STAMP, content_id, None)
    files.remove(database, file_ids[0])
    assert tidy(database, LIMITS) == [1]
    assert database.value("SELECT content_id FROM file") == content_id


def test_a_scan_reads_nothing_of_a_root_whose_disk_is_missing_and_forgets_nothing(tmp_path: Path) -> None:
    database = new_database(tmp_path / "state")
    paths = [os.fsencode(write(tmp_path / name / f"{name}.jpg", name.encode()).parent) for name in ("here", "away")]
    pool = FilePool()
    intake = intake_on_demand(database, tmp_path / "state", pool)
    bring_up_to_date(database, paths, RULES, LIMITS, intake, Silent())
    database.rows("UPDATE file SET pending = 1, content_id = NULL")  # seen, and the run was killed
    (tmp_path / "away" / "away.jpg").unlink()
    pool.read.clear()
    found, changing = bring_up_to_date(database, paths, RULES, LIMITS, intake, Silent())
    assert (found.offline, changing) == ([paths[1]], 0)
    assert pool.read == [paths[0] + b"/here.jpg"]
    assert known_paths(database) == {paths[0] + b"/here.jpg", paths[1] + b"/away.jpg"}
