"""A database of each older schema opens as one of today, with all that was in it."""

from pathlib import Path

import apsw
import pytest

from dupwatchd.db import contents, facts, files, pictures, renewing, roots, schema, upkeep, verdicts
from dupwatchd.db.connection import FILE_NAME, Database, open_database
from dupwatchd.db.roots import FileCounts
from dupwatchd.model import FileId

_FILLED = """
INSERT INTO fact VALUES ('thumbnail_px', 32), ('untidy', 1);
INSERT INTO folder (id, path, device, listing) VALUES (1, x'2f61', 7, x'00'), (2, x'2f61622f63', 7, NULL);
INSERT INTO picture (id, digest, flat) VALUES (0, x'01', 0), (1, x'02', 0), (2, x'03', 1);
INSERT INTO free_slot VALUES (3);
INSERT INTO content (id, digest, way, picture_id, width, height, format, error, foreign_kind) VALUES
    (1, x'01', 0, 0, 4, 3, 'JPEG', NULL, 0), (2, x'02', 0, 1, 4, 3, 'JPEG', NULL, 0),
    (3, x'03', 0, 2, 4, 3, 'PNG', NULL, 0), (4, x'04', 0, NULL, NULL, NULL, NULL, 'damaged', 0),
    (5, x'05', 0, NULL, NULL, NULL, NULL, 'no image', 1);
INSERT INTO file (id, folder_id, name, size_bytes, mtime_ns, device, inode, pending, content_id, error) VALUES
    (1, 1, CAST('a.jpg' AS BLOB), 1, 1, 7, 1, 0, 1, NULL), (2, 1, CAST('b.jpg' AS BLOB), 1, 1, 7, 2, 0, 2, NULL),
    (3, 1, CAST('damaged' AS BLOB), 1, 1, 7, 3, 0, 4, NULL), (4, 1, CAST('no.jpg' AS BLOB), 1, 1, 7, 4, 0, 5, NULL),
    (5, 2, CAST('foreign' AS BLOB), 1, 1, 7, 5, 0, 5, NULL),
    (6, 2, CAST('locked' AS BLOB), 1, 1, 7, 6, 0, NULL, 'EACCES'),
    (7, 2, CAST('new.jpg' AS BLOB), 1, 1, 7, 7, 1, NULL, NULL);
INSERT INTO match (a, b, mirrored, mse, structure) VALUES (0, 1, 0, 1.5, 0.01);
"""


def made_by_version(version: int, state: Path) -> None:
    """As the program of that schema left it."""
    (state / "blocks").mkdir()
    connection = apsw.Connection(str(state / FILE_NAME))
    database = Database(connection, "")
    for step in schema._STEPS[:version]:
        step(database)
    connection.execute(_FILLED)
    if version == 2:
        connection.execute("""INSERT INTO fact VALUES ('compared', '{"own": "", "keep_own": 0.0}')""")
        connection.execute("UPDATE match SET own = 0.5")
    if version >= 4:  # from then on whoever stores a failure says so, and whoever takes a file away
        connection.execute("UPDATE file SET failed = 1 WHERE id IN (3, 4, 6); INSERT INTO loose_content VALUES (3)")
    connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}; PRAGMA user_version = {version}")
    connection.close()


@pytest.mark.parametrize("version", range(1, schema.VERSION))
def test_an_older_database_opens_with_all_that_was_in_it(tmp_path: Path, version: int) -> None:
    made_by_version(version, tmp_path)
    database = open_database(str(tmp_path))
    assert database.value("PRAGMA user_version") == schema.VERSION
    assert upkeep.faults(database) == []
    assert roots.counts_outside(database) == FileCounts(7, 1, 3)
    failed = {(failure.path, failure.error) for failure in files.failures(database, b"/")}
    assert failed == {(b"/a/damaged", "damaged"), (b"/a/no.jpg", "no image"), (b"/ab/c/locked", "EACCES")}
    assert [job.file_id for job in files.pending_jobs(database, b"/", FileId(-1), 9)] == [7]
    assert [row[:5] for row in pictures.matches_around(database, [0])] == [(0, 1, 0, 1.5, 0.01)]
    roots.put_in_force(database, [b"/a"])
    assert roots.counts_by_root(database) == {b"/a": FileCounts(4, 0, 2)}
    with database.transaction():
        assert pictures.remove_unused_contents(database) == [2]
    database.close()


def test_the_users_own_measure_keeps_its_values_under_its_new_name(tmp_path: Path) -> None:
    made_by_version(2, tmp_path)
    database = open_database(str(tmp_path))
    assert database.rows("SELECT custom FROM match") == [(0.5,)]
    assert facts.read(database)["compared"] == '{"custom": "", "keep_custom": 0.0}'
    database.close()


def test_contents_of_an_older_database_wait_for_what_is_told_of_them_today(tmp_path: Path) -> None:
    """Those of one picture are to be told apart, and those with a place have it read again."""
    version = schema._STEPS.index(schema._tell_contents_apart)
    made_by_version(version, tmp_path)
    connection = apsw.Connection(str(tmp_path / FILE_NAME))
    connection.execute(
        "INSERT INTO content (digest, way, picture_id, width, height, format, foreign_kind, has_place) "
        "VALUES (x'09', 0, 1, 4, 3, 'JPEG', 0, 1); UPDATE picture SET proof_digest = x'01'"
    )
    connection.close()
    database = open_database(str(tmp_path))
    assert contents.to_tell(database) == [1]
    assert database.rows("SELECT id, place FROM content") == [(one, "") for one in range(1, 6)] + [(6, None)]
    # What shows a picture is to be read again, and what could not be decoded is not.
    assert database.rows("SELECT id, captions FROM content") == [
        (1, None),
        (2, None),
        (3, None),
        (4, ""),
        (5, ""),
        (6, None),
    ]
    assert renewing.count_to_read_again(database) == 4
    database.close()


def test_what_was_read_before_comments_were_is_read_again_and_many_bits_are_told_apart_anew(tmp_path: Path) -> None:
    made_by_version(schema._STEPS.index(schema._read_more), tmp_path)
    connection = apsw.Connection(str(tmp_path / FILE_NAME))
    connection.execute(
        "INSERT INTO content (digest, way, picture_id, width, height, format, foreign_kind) "
        "VALUES (x'09', 0, 1, 4, 3, 'TIFF', 0); UPDATE content SET captions = '', pixels = x'', format = 'JPEG';"
        "UPDATE content SET bits = 16 WHERE id IN (2, 6); UPDATE picture SET proof_digest = digest;"
        "DELETE FROM picture_to_tell"
    )
    connection.close()
    database = open_database(str(tmp_path))
    rows = database.rows("SELECT id, captions, pixels FROM content WHERE picture_id >= 0 ORDER BY id")
    assert rows == [(1, None, b""), (2, None, None), (3, None, b""), (6, None, None)]
    assert contents.to_tell(database) == [1]
    assert renewing.count_to_read_again(database) == 4
    database.close()


def test_what_looks_have_told_is_told_anew_and_what_was_decoded_is_read_again(tmp_path: Path) -> None:
    made_by_version(schema._STEPS.index(schema._tell_all_anew), tmp_path)
    connection = apsw.Connection(str(tmp_path / FILE_NAME))
    connection.execute(
        "INSERT INTO picture (id, digest, flat, parted) VALUES (9, x'99', 0, 1);"
        "UPDATE picture SET proof_digest = x'01';"
        "UPDATE match SET near = 1, verdict = 2, confirmed = 1, closely = 2, nearer = -1, shows_more = 1, framed = 1, "
        "outline = '[]';"
        "INSERT INTO part_match (a, b, votes, mse, structure, within, verdict, turn, shows_more, framed, outline) "
        "VALUES (0, 1, 2, 1.5, 0.01, 1, NULL, 0, 0, 0, NULL), (0, 9, 2, 99.5, 0.5, 0, 3, 90, 1, 1, '[]');"
        "INSERT INTO content (id, digest, way, picture_id, width, height, format, foreign_kind, frames) VALUES "
        "(6, x'06', 0, 2, 4, 3, 'PNG', 0, 1), (7, x'07', 0, 0, 4, 3, 'JPEG', 0, 1), "
        "(8, x'08', 0, 9, 4, 3, 'JPEG', 0, 2);"
        "UPDATE content SET captions = '', pixels = digest, scan_digest = digest;"
        "INSERT INTO content_look VALUES (0, x'01', x'07', 2, 1); DELETE FROM picture_to_tell;"
        "INSERT INTO fact VALUES ('decoders', 'as of then')"
    )
    connection.close()
    database = open_database(str(tmp_path))
    looked = "verdict, turn, shows_more, framed, outline"
    assert database.rows(f"SELECT within, {looked} FROM part_match") == [
        (1, None, 0, 0, 0, None),
        (0, None, 0, 0, 0, None),
    ]
    looked = "verdict, confirmed, closely, nearer, shows_more, framed, outline"
    assert database.rows(f"SELECT near, {looked} FROM match") == [(1, None, None, 0, None, 0, 0, None)]
    assert verdicts.any_to_look_at(database)
    # What one JPEG codes tells it from others as before; of a PNG or of several pictures in a file it may be wrong.
    assert database.rows("SELECT id, pixels, scan_digest, captions FROM content WHERE picture_id >= 0 ORDER BY id") == [
        (1, b"\1", b"\1", None),
        (2, b"\2", b"\2", None),
        (3, None, b"", None),
        (6, None, b"", None),
        (7, b"\7", b"\7", None),
        (8, None, b"", None),
    ]
    assert renewing.count_to_read_again(database) == 6
    assert database.rows("SELECT * FROM content_look") == []
    assert database.rows("SELECT picture_id FROM picture_to_tell ORDER BY 1") == [(0,), (2,)]
    assert "decoders" not in facts.read(database)  # so that what was refused is tried again
    database.close()


def test_an_older_database_and_a_new_one_have_the_same_tables(tmp_path: Path) -> None:
    (tmp_path / "new" / "blocks").mkdir(parents=True)
    new = open_database(str(tmp_path / "new"))
    expected = set(new.rows("SELECT type, name, tbl_name FROM sqlite_master"))
    new.close()
    for version in range(1, schema.VERSION):
        (tmp_path / str(version)).mkdir()
        made_by_version(version, tmp_path / str(version))
        database = open_database(str(tmp_path / str(version)))
        assert set(database.rows("SELECT type, name, tbl_name FROM sqlite_master")) == expected
        database.close()


def test_what_was_told_before_files_told_what_they_hold_is_told_anew(tmp_path: Path) -> None:
    made_by_version(schema._STEPS.index(schema._know_what_is_held), tmp_path)
    connection = apsw.Connection(str(tmp_path / FILE_NAME))
    connection.execute(
        "UPDATE picture SET proof_digest = x'01'; UPDATE content SET captions = '', pixels = digest;"
        "UPDATE content SET picture_id = 0 WHERE id = 2; DELETE FROM picture_to_tell;"
        "UPDATE match SET near = 1, verdict = 2, confirmed = 1, closely = 2, nearer = -1;"
        "INSERT INTO content_look VALUES (0, x'01', x'07', 2, 1);"
        "INSERT OR REPLACE INTO fact (name, value) VALUES ('decoders', 'today''s')"
    )
    connection.close()
    database = open_database(str(tmp_path))
    assert database.rows("SELECT captions, holds FROM content WHERE picture_id >= 0") == [(None, "")] * 3
    assert renewing.count_to_read_again(database) == 3
    assert database.rows("SELECT value FROM fact WHERE name = 'decoders'") == []
    assert database.rows("SELECT near, verdict, confirmed, closely, nearer FROM match") == [(1, None, None, 0, None)]
    assert verdicts.any_to_look_at(database)
    assert database.rows("SELECT * FROM content_look") == []
    assert contents.to_tell(database) == [0]
    database.close()
