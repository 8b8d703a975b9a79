"""What is read of an index after changes: only what has changed, and the same as if all were read."""

import random
from contextlib import closing, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dupwatchd.db import change_log
from dupwatchd.db.connection import Database, open_for_reading
from dupwatchd.model import Verdict
from dupwatchd.serve.plan_families import RAW
from dupwatchd.serve.rows import fed, read_rows
from tests.serve.made import Content, File, Made, Picture, written
from tests.serve.same_rows import assert_same

ROOTS = (b"/photos", b"/more")
VERDICTS = (None, *(verdict.code for verdict in Verdict))


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**32))
def test_what_is_read_after_changes_is_what_would_be_read_anew(seed: int) -> None:
    chance = random.Random(seed)
    with TemporaryDirectory() as folder, closing(written(made(chance), Path(folder))) as database:
        log = database.note_changes()
        rows, commit = None, None
        for _ in range(5):
            with closing(open_for_reading(folder)) as reader, reader.snapshot():
                commit, changed = log.snapshot(reader.begin_reading, commit)
                anew = read_rows(reader, ROOTS)
                if rows is None:
                    assert changed is None
                    rows = anew
                else:
                    assert changed is not None
                    rows = fed(rows, reader, ROOTS, changed)
                assert_same(rows, anew)
            for _ in range(chance.randint(0, 3)):
                change(database, chance)


@pytest.mark.parametrize("how_many", [2, 3])
def test_after_too_many_changes_all_is_read_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how_many: int
) -> None:
    monkeypatch.setattr(change_log, "NOTED_MAX", 2)
    with closing(written(made(random.Random(1)), tmp_path)) as database:
        log = database.note_changes()
        commit, changed = log.snapshot(database.begin_reading, None)
        assert changed is None
        with database.transaction():
            database.rows("UPDATE picture SET flat = 1 - flat WHERE id < ?", (how_many,))
        first, changed = log.snapshot(database.begin_reading, commit)
        assert (changed and changed.pictures) == ({0, 1} if how_many == 2 else None)
        assert log.snapshot(database.begin_reading, first) == (first, (set(), set()))
        with database.transaction():
            database.rows("UPDATE picture SET flat = 1 - flat WHERE id = 5")
        assert log.snapshot(database.begin_reading, commit)[1] is None  # what came first is forgotten
        second, changed = log.snapshot(database.begin_reading, first)
        assert changed == ({5}, set())
        database.rows("UPDATE picture SET flat = 1 - flat WHERE id = 6")  # a transaction of its own
        assert log.snapshot(database.begin_reading, second)[1] == ({6}, set())


def test_what_was_noted_of_a_transaction_that_failed_does_no_harm(tmp_path: Path) -> None:
    with closing(written(made(random.Random(1)), tmp_path)) as database:
        log = database.note_changes()
        commit, _ = log.snapshot(database.begin_reading, None)
        with pytest.raises(ZeroDivisionError):
            _fail_in_a_transaction(database)
        assert log.snapshot(database.begin_reading, commit) == (commit, (set(), set()))
        with database.transaction():
            database.rows("UPDATE picture SET flat = 1 - flat WHERE id = 2")
        assert log.snapshot(database.begin_reading, commit) == (commit + 1, ({1, 2}, set()))


def _fail_in_a_transaction(database: Database) -> None:
    with database.transaction():
        database.rows("UPDATE picture SET flat = 1 - flat WHERE id = 1")
        raise ZeroDivisionError


def made(chance: random.Random) -> Made:
    pictures = [
        Picture(chance.randrange(9), chance.randrange(9), chance.random() < 0.2, chance.random() < 0.8)
        for _ in range(12)
    ]
    contents = [Content(bytes([n]) * 32, chance.randrange(12)) for n in range(16)]
    folders = (b"/photos", b"/photos/a", b"/more", b"/elsewhere")
    return Made(pictures, contents, [File(chance.choice(folders), b"%d" % n, chance.randrange(16)) for n in range(24)])


def change(database: Database, chance: random.Random) -> None:
    """A few changes, of all kinds that there are, in one transaction or in one each."""
    n, m = sorted(chance.sample(range(12), 2))
    number, verdict = chance.randrange(1 << 30), chance.choice(VERDICTS)
    one = {
        table: f"(SELECT id FROM {table} ORDER BY id LIMIT 1 OFFSET {number} % max(1, (SELECT count(*) FROM {table})))"
        for table in ("picture", "content", "file", "folder")
    }
    pair = f"a = {n} AND b = {m}"
    statements = [
        f"INSERT OR IGNORE INTO folder (path, device) VALUES (CAST('/photos/{number % 3}' AS BLOB), 1)",
        (
            "INSERT INTO file (folder_id, name, size_bytes, mtime_ns, device, inode, pending, content_id) "
            f"VALUES ({one['folder']}, CAST('{number}' AS BLOB), {number % 999}, 0, 1, {number}, 0, {one['content']})"
        ),
        f"DELETE FROM file WHERE id = {one['file']}",
        f"UPDATE file SET content_id = {one['content']} WHERE id = {one['file']}",
        f"UPDATE file SET content_id = NULL, pending = 1 WHERE id = {one['file']}",
        f"UPDATE file SET size_bytes = {number % 999}, folder_id = {one['folder']} WHERE id = {one['file']}",
        (
            "INSERT INTO content (digest, way, picture_id, width, height, format, foreign_kind, keywords) "
            f"VALUES (randomblob(32), 0, {one['picture']}, 9, 9, 'JPEG', 0, '')"
        ),
        f"UPDATE content SET picture_id = {one['picture']} WHERE id = {one['content']}",
        f"UPDATE content SET damage = 'cut', width = {number % 99} WHERE id = {one['content']}",
        f"UPDATE content SET scan_digest = CAST('{number % 2:08}' AS BLOB) WHERE id = {one['content']}",
        f"UPDATE content SET format = '{chance.choice([RAW, 'JPEG'])}' WHERE id = {one['content']}",
        f"UPDATE content SET pixels = CAST('{number % 3:018}' AS BLOB) WHERE id = {one['content']}",
        f"UPDATE content SET pixels = NULL WHERE id = {one['content']}",
        (
            f"INSERT OR REPLACE INTO content_look VALUES ({n}, CAST('{0:018}' AS BLOB), CAST('{1:018}' AS BLOB), "
            f"{Verdict.SAME.code}, {number % 2})"
        ),
        f"DELETE FROM content_look WHERE picture_id = {m}",
        "DELETE FROM content WHERE NOT EXISTS (SELECT 1 FROM file WHERE content_id = content.id)",
        f"UPDATE picture SET flat = 1 - flat WHERE id = {n}",
        f"UPDATE picture SET proof_digest = {chance.choice(['NULL', '''x'00' '''])} WHERE id = {n}",
        f"INSERT OR REPLACE INTO match (a, b, mirrored, mse, structure, near) VALUES ({n}, {m}, 0, 1, 0.01, 1)",
        f"DELETE FROM match WHERE a = {n} OR b = {n}",
        f"UPDATE match SET near = {number % 2} WHERE {pair}",
        f"UPDATE match SET verdict = {verdict or 'NULL'}, confirmed = {number % 2} WHERE a = {n}",
        f"UPDATE match SET nearer = {number % 3 - 1}, verdict = {Verdict.SAME.code} WHERE b = {m}",
        f"INSERT OR IGNORE INTO part_match (a, b, votes, mse, structure, within) VALUES ({n}, {m}, 9, 99, 0.9, 0)",
        f"UPDATE part_match SET verdict = {verdict or 'NULL'}, within = {number % 4 // 3}",
        f"DELETE FROM part_match WHERE a = {n}",
    ]
    with database.transaction() if chance.random() < 0.7 else nullcontext():
        for statement in chance.sample(statements, chance.randint(1, 6)):
            database.rows(statement)
