"""What lies on disk is taken over, wherever one looks, and costs no more than what has changed."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from dupwatchd.db import files, roots
from dupwatchd.db.connection import Database
from dupwatchd.update.changes import Survey
from dupwatchd.update.look import look
from dupwatchd.update.pipeline import bring_up_to_date, catch_up
from dupwatchd.update.survey import survey
from dupwatchd.watch import walk
from dupwatchd.watch.hints import Due
from tests.update.small_index import LIMITS, RULES, FilePool, Silent, intake_on_demand, known_paths, new_database, write

_SHARE = 0.5


class Rig:
    """One root, and the index of it."""

    def __init__(self, place: Path) -> None:
        self.state = place / "state"
        self.root = place / "root"
        self.root.mkdir()
        self.path = os.fsencode(self.root)
        self.database = new_database(self.state)
        self.pool = FilePool()
        self.intake = intake_on_demand(self.database, self.state, self.pool)

    def scan(self) -> Survey:
        found, _ = bring_up_to_date(self.database, [self.path], RULES, LIMITS, self.intake, Silent())
        return found

    def look(self, **due: list[Path]) -> Survey:
        hints = Due(**{kind: [os.fsencode(path) for path in paths] for kind, paths in due.items()})
        found = look(self.database, [self.path], RULES, hints, _SHARE)
        catch_up(self.database, [self.path], LIMITS, self.intake)
        return found

    def names(self) -> set[str]:
        return {os.fsdecode(path[len(self.path) + 1 :]) for path in known_paths(self.database)}


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    rig = Rig(tmp_path)
    write(rig.root / "a.jpg", b"one")
    write(rig.root / "deep" / "b.jpg", b"two")
    write(rig.root / "deep" / "deeper" / "c.jpg", b"three")
    rig.scan()
    return rig


def test_a_survey_takes_over_what_is_new_changed_and_gone(rig: Rig) -> None:
    assert rig.names() == {"a.jpg", "deep/b.jpg", "deep/deeper/c.jpg"}
    write(rig.root / "a.jpg", b"changed")
    write(rig.root / "new.jpg", b"four")
    shutil.rmtree(rig.root / "deep" / "deeper")
    rig.pool.read.clear()
    rig.scan()
    assert rig.names() == {"a.jpg", "new.jpg", "deep/b.jpg"}
    assert sorted(rig.pool.read) == [rig.path + b"/a.jpg", rig.path + b"/new.jpg"]


def test_a_survey_without_news_reads_no_row_of_a_file(rig: Rig) -> None:
    with statements(rig.database) as asked:
        survey(rig.database, [rig.path], RULES, Silent())
    assert not [sql for sql in asked if "FROM file WHERE folder_id" in sql or sql.startswith("INSERT")]


def test_a_survey_tells_what_moved_and_what_was_removed(rig: Rig) -> None:
    (rig.root / "a.jpg").rename(rig.root / "deep" / "moved.jpg")
    (rig.root / "deep" / "b.jpg").unlink()
    found = survey(rig.database, [rig.path], RULES, Silent(), tell=True)
    assert found.moved == [(rig.path + b"/a.jpg", rig.path + b"/deep/moved.jpg")]
    assert found.removed == [rig.path + b"/deep/b.jpg"]


def test_a_moved_file_keeps_its_picture_without_being_decoded_again(rig: Rig) -> None:
    before = roots.count_pictures(rig.database)
    (rig.root / "a.jpg").rename(rig.root / "moved.jpg")
    found = rig.look(files=[rig.root / "a.jpg", rig.root / "moved.jpg"])
    assert found.moved == [(rig.path + b"/a.jpg", rig.path + b"/moved.jpg")]
    assert roots.count_pictures(rig.database) == before


def test_a_picture_whose_last_file_goes_is_forgotten_with_its_matches(rig: Rig) -> None:
    write(rig.root / "copy.jpg", b"one and the same")  # another content, the same picture
    rig.look(files=[rig.root / "copy.jpg"])
    assert roots.count_pictures(rig.database) == 3
    (rig.root / "copy.jpg").unlink()
    rig.look(files=[rig.root / "copy.jpg"])
    assert roots.count_pictures(rig.database) == 3
    (rig.root / "a.jpg").unlink()
    rig.look(files=[rig.root / "a.jpg"])
    assert roots.count_pictures(rig.database) == 2
    assert rig.database.rows("SELECT id FROM free_slot") != []


def test_a_look_goes_where_the_hint_points_and_nowhere_else(rig: Rig) -> None:
    write(rig.root / "seen.jpg")
    write(rig.root / "deep" / "not_looked_at.jpg")
    rig.look(files=[rig.root / "seen.jpg"])
    assert "seen.jpg" in rig.names()
    assert "deep/not_looked_at.jpg" not in rig.names()
    rig.look(folders=[rig.root / "deep"])
    assert "deep/not_looked_at.jpg" in rig.names()


def test_a_hint_for_a_folder_finds_folders_that_came_or_went(rig: Rig) -> None:
    write(rig.root / "deep" / "new" / "d.jpg")
    shutil.rmtree(rig.root / "deep" / "deeper")
    rig.look(folders=[rig.root / "deep"])
    assert rig.names() == {"a.jpg", "deep/b.jpg", "deep/new/d.jpg"}


def test_a_hint_below_a_folder_that_the_rules_leave_out_takes_nothing_up(rig: Rig) -> None:
    write(rig.root / "ignored" / "deep" / "x.jpg")
    folder = rig.root / "ignored" / "deep"
    rig.look(files=[folder / "x.jpg"], folders=[folder], trees=[folder])
    assert rig.names() == {"a.jpg", "deep/b.jpg", "deep/deeper/c.jpg"}


def test_if_much_of_a_root_is_gone_at_once_nothing_is_taken_away_and_a_survey_is_asked_for(rig: Rig) -> None:
    shutil.rmtree(rig.root / "deep")
    found = rig.look(trees=[rig.root / "deep"])
    assert found.held_back == [rig.path]
    assert len(rig.names()) == 3
    rig.scan()
    assert rig.names() == {"a.jpg"}


def test_an_empty_root_is_offline_and_forgets_nothing(rig: Rig) -> None:
    (rig.root / "a.jpg").unlink()
    shutil.rmtree(rig.root / "deep")
    for found in (rig.look(files=[rig.root / "a.jpg"]), rig.scan()):
        assert found.offline == [rig.path]
    rig.root.rmdir()
    assert rig.look(files=[rig.root / "a.jpg"]).offline == [rig.path]
    assert len(rig.names()) == 3


def test_a_folder_on_another_device_than_before_is_offline_only_without_anything_known_in_it(rig: Rig) -> None:
    rig.database.rows("UPDATE folder SET device = 12345")  # as if another disk had been there
    assert rig.look(files=[rig.root / "a.jpg"]).offline == []
    (rig.root / "a.jpg").rename(rig.root / "unknown.jpg")
    shutil.rmtree(rig.root / "deep")
    rig.database.rows("UPDATE folder SET device = 12345")
    assert rig.look(files=[rig.root / "unknown.jpg"]).offline == [rig.path]


def test_a_root_that_was_never_seen_is_not_offline(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    write(rig.root / "a.jpg")
    roots.put_in_force(rig.database, [rig.path])
    assert rig.look(files=[rig.root / "a.jpg"]).offline == []
    assert rig.names() == {"a.jpg"}


def test_what_could_not_be_looked_at_stays_told_until_it_can() -> None:
    before = Survey(unreadable=[(b"/a/x", "denied"), (b"/b", "denied")], offline=[b"/c"])
    after = before.not_looked_at_after(Survey(walked=[b"/a"], listed=[b"/c"], offline=[b"/d"]))
    assert after.unreadable == [(b"/b", "denied")]
    assert after.offline == [b"/d"]


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """The statements that are run."""
    asked: list[str] = []

    def note(_cursor: object, sql: str, _bindings: object) -> bool:
        asked.append(sql)
        return True

    database._connection.exec_trace = note
    try:
        yield asked
    finally:
        database._connection.exec_trace = None


def steps_of(database: Database, act: Callable[[], object]) -> int:
    """How many steps of SQLite's virtual machine an act takes: they grow with the rows it passes over."""
    steps = [0]

    def note(event: dict[str, object]) -> None:
        status = event["stmt_status"]
        assert isinstance(status, dict)
        steps[0] += status["SQLITE_STMTSTATUS_VM_STEP"]

    database._connection.trace_v2(apsw.SQLITE_TRACE_PROFILE, note)
    try:
        act()
    finally:
        database._connection.trace_v2(0)
    return steps[0]


def a_library_of(number: int, place: Path) -> Rig:
    """So many files in one folder, all read, and as many folders with one file each that are only in the index."""
    rig = Rig(place)
    for one in range(number):
        write(rig.root / f"{one}.jpg", b"%d" % one)
    rig.scan()
    with rig.database.transaction():
        for one in range(number):
            files.record_folder(rig.database, b"/elsewhere/%d" % one, 1, None, [(b"a.jpg", 1, 1, 1, 1)], [])
    roots.put_in_force(rig.database, [rig.path])
    return rig


def test_neither_rows_nor_entries_passed_over_for_one_file_grow_with_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = [0]
    stamped = walk._stamped

    def counting(entries: list["os.DirEntry[str]"], suffixes: frozenset[str]) -> object:
        listed[0] += len(entries)
        return stamped(entries, suffixes)

    monkeypatch.setattr(walk, "_stamped", counting)
    costs = []
    for number in (50, 400):
        (tmp_path / str(number)).mkdir()
        rig = a_library_of(number, tmp_path / str(number))
        new, old = rig.root / "new.jpg", rig.root / "0.jpg"
        listed[0] = 0
        acts: list[Callable[[], object]] = [
            lambda new=new, rig=rig: (write(new, b"new"), rig.look(files=[new])),  # type: ignore[misc]
            lambda old=old, rig=rig: (write(old, b"changed"), rig.look(files=[old])),  # type: ignore[misc]
            lambda old=old, rig=rig: (old.unlink(), rig.look(files=[old])),  # type: ignore[misc]
            lambda rig=rig: roots.counts_by_root(rig.database),  # type: ignore[misc]
        ]
        costs.append([steps_of(rig.database, act) for act in acts])
        assert listed[0] == 0
        rig.database.close()
    small, large = costs
    assert all(more <= 1.2 * less + 20 for less, more in zip(small, large, strict=True)), costs
