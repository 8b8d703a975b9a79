"""The thread that keeps the index current: what it announces, what it counts, and what interrupts it."""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dupwatchd.db.connection import open_database, open_for_reading
from dupwatchd.problems import Problems
from dupwatchd.serve.rows import fed, read_rows
from dupwatchd.update.updater import Updater, Work
from dupwatchd.watch.hints import Hints
from tests.conftest import encoded, photo_like
from tests.serve.same_rows import assert_same
from tests.update.small_index import (
    LIMITS,
    RULES,
    FilePool,
    PhotoPool,
    intake_on_demand,
    known_paths,
    new_database,
    write,
)

_PATIENCE_SECONDS = 20.0


class Running:
    """An updater in a thread of its own, on real files and a real database."""

    def __init__(self, place: Path, roots: list[Path], pool: FilePool | None = None) -> None:
        self.state = place / "state"
        is_new = not self.state.exists()
        self.database = new_database(self.state) if is_new else open_database(str(self.state))
        self.hints = Hints(0.02, 1.0, 1000)
        self.pool = pool or FilePool()
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.may_work = True
        self.problems = Problems()
        self.updater = Updater(
            self.database, self.work(roots), self.hints, self._publish, lambda: self.may_work, self.problems
        )
        intake = intake_on_demand(self.database, self.state, self.pool, self.updater.progress, self.updater.announce)
        self.thread = threading.Thread(target=self.updater.run, args=(intake,))

    def work(self, roots: list[Path]) -> Work:
        return Work([os.fsencode(root) for root in roots], RULES, LIMITS, 0.5, 3600.0)

    def _publish(self, topic: str, event: dict[str, Any]) -> None:
        self.events.append((topic, event))

    def until(self, is_true: Callable[[], bool]) -> None:
        end = time.monotonic() + _PATIENCE_SECONDS
        while not is_true():
            assert time.monotonic() < end, (self.updater.state, self.updater.counts, self.events)
            assert self.thread.is_alive()
            time.sleep(0.01)

    def until_quiet(self) -> None:
        self.until(lambda: self.updater.is_quiet)

    def touch(self, path: Path, data: bytes) -> None:
        """Write a file, and say that it has changed."""
        write(path, data)
        self.hints.touched(os.fsencode(path), closed=True)

    def told(self, topic: str) -> list[bytes]:
        return [event["path"] for name, event in self.events if name == topic]

    def names(self) -> set[str]:
        reader = open_for_reading(str(self.state))
        try:
            return {os.path.basename(os.fsdecode(path)) for path in known_paths(reader)}
        finally:
            reader.close()


@contextmanager
def running(
    place: Path, *roots: Path, before: Callable[[Running], None] = lambda _: None, pool: FilePool | None = None
) -> Iterator[Running]:
    """Started after ``before`` was called; a second one in the same place goes on with the state of the first.

    In the end whatever the updater has stored must have been noted, so that readers know what to read anew.
    """
    one = Running(place, list(roots), pool)
    log, was = one.updater.change_log, read_rows(one.database, None)
    commit, _ = log.snapshot(lambda: None, None)
    before(one)
    one.thread.start()
    try:
        yield one
    finally:
        one.updater.stop()
        one.thread.join(20)
        with one.database.snapshot():
            _, changed = log.snapshot(one.database.begin_reading, commit)
            rows = read_rows(one.database, None)
            noted = rows if changed is None else fed(was, one.database, None, changed)
        one.database.close()
    assert not one.thread.is_alive()
    assert changed is not None
    assert_same(noted, rows)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path / "root" / "a.jpg", b"one")
    return tmp_path / "root"


def test_what_lies_there_at_the_start_and_what_comes_later_is_taken_in_and_announced(
    tmp_path: Path, root: Path
) -> None:
    with running(tmp_path, root) as one:
        one.until_quiet()
        assert one.told("indexed") == [os.fsencode(root / "a.jpg")]
        one.touch(root / "b.jpg", b"one again")
        one.until(lambda: len(one.told("matched")) == 1)
        [matched] = [event for topic, event in one.events if topic == "matched"]
        assert (matched["path"], matched["other"]) == (os.fsencode(root / "b.jpg"), os.fsencode(root / "a.jpg"))
        one.touch(root / "c.jpg", b"damaged")
        one.until(lambda: one.told("failed") == [os.fsencode(root / "c.jpg")])
        one.until_quiet()
        (root / "a.jpg").rename(root / "moved.jpg")
        for name in ("a.jpg", "moved.jpg"):
            one.hints.touched(os.fsencode(root / name), closed=True)
        one.until(lambda: one.told("moved") == [os.fsencode(root / "moved.jpg")])
        (root / "b.jpg").unlink()
        one.hints.touched(os.fsencode(root / "b.jpg"), closed=True)
        one.until(lambda: one.told("removed") == [os.fsencode(root / "b.jpg")])
        one.until_quiet()
        counts = one.updater.counts
        assert (counts["files"], counts["failed"], counts["unread"], counts["pictures"]) == (2, 1, 0, 1)


def test_in_a_pause_nothing_is_read_and_afterwards_everything_is(tmp_path: Path, root: Path) -> None:
    with running(tmp_path, root) as one:
        one.until_quiet()
        one.updater.pause()
        one.until(lambda: one.updater.state == "paused")
        one.touch(root / "b.jpg", b"two")
        one.until(lambda: one.updater.pending == 1)
        time.sleep(0.2)
        assert not one.updater.is_quiet
        assert one.names() == {"a.jpg"}
        one.updater.resume()
        one.until_quiet()
        assert one.names() == {"a.jpg", "b.jpg"}


def test_outside_its_hours_it_rests(tmp_path: Path, root: Path) -> None:
    with running(tmp_path, root) as one:
        one.until_quiet()
        one.may_work = False
        one.updater.rescan([os.fsencode(root)])
        one.until(lambda: one.updater.state == "paused")
        one.may_work = True
        one.updater.resume()
        one.until_quiet()


def test_a_rescan_of_a_folder_finds_what_no_hint_told(tmp_path: Path, root: Path) -> None:
    with running(tmp_path, root) as one:
        one.until_quiet()
        write(root / "deep" / "b.jpg", b"two")
        one.updater.rescan([os.fsencode(root / "deep")])
        one.until_quiet()
        assert one.names() == {"a.jpg", "b.jpg"}


def test_folders_without_end_that_are_to_be_looked_through_take_little_memory_and_nothing_is_missed(
    tmp_path: Path, root: Path
) -> None:
    with running(tmp_path, root) as one:
        one.until_quiet()
        one.updater.pause()
        one.until(lambda: one.updater.state == "paused")
        write(root / "deep" / "b.jpg", b"two")
        one.updater.rescan([os.fsencode(root / "deep")])
        for number in range(3000):
            one.updater.rescan([os.fsencode(root / f"gone {number}")])
        assert one.updater.pending < 500
        one.updater.resume()
        one.until_quiet()
        assert one.names() == {"a.jpg", "b.jpg"}


def test_a_look_that_finds_nothing_new_is_told_apart_from_a_change_of_what_is_stored(
    tmp_path: Path, root: Path
) -> None:
    with running(tmp_path, root) as one:
        one.until_quiet()
        for folder, is_new in ((root / "gone", False), (root, False), (root, True)):
            changes, commits = one.updater.changes, one.updater.commits
            if is_new:
                write(root / "new" / "b.jpg", b"two")
            one.updater.rescan([os.fsencode(folder)])
            one.until_quiet()
            assert one.updater.changes > changes
            assert (one.updater.commits > commits) == is_new


def test_files_of_a_root_that_is_watched_no_more_are_not_counted_but_named_apart(tmp_path: Path, root: Path) -> None:
    write(tmp_path / "other" / "x.jpg", b"damaged")
    write(tmp_path / "other" / "y.jpg", b"why")
    with running(tmp_path, root, tmp_path / "other") as one:
        one.until_quiet()
        assert (one.updater.counts["files"], one.updater.counts["failed"]) == (3, 1)
        one.updater.change(one.work([root]), one.hints)
        one.until_quiet()
        counts = one.updater.counts
        assert (counts["files"], counts["failed"], counts["files_outside"]) == (1, 0, 2)
        assert one.updater.pending == 0


def test_what_waits_for_a_root_that_is_offline_is_not_pending_and_is_read_when_it_is_back(
    tmp_path: Path, root: Path
) -> None:
    other = tmp_path / "other"
    write(other / "x.jpg", b"two")
    with running(tmp_path, root, other) as one:
        one.until_quiet()

    def lose_disk(two: Running) -> None:
        """Of a file that was seen and not read yet."""
        two.database.rows("UPDATE file SET pending = 1, content_id = NULL WHERE name = CAST('x.jpg' AS BLOB)")
        shutil.move(other, tmp_path / "away")
        other.mkdir()

    with running(tmp_path, root, other, before=lose_disk) as two:
        two.until_quiet()
        assert (two.updater.counts["unread"], two.updater.counts["unread_offline"], two.updater.pending) == (0, 1, 0)
        assert two.names() == {"a.jpg", "x.jpg"}
        other.rmdir()
        shutil.move(tmp_path / "away", other)
        two.updater.rescan([os.fsencode(other)])
        two.until(lambda: two.updater.is_quiet and two.updater.counts["unread_offline"] == 0)
        assert os.fsencode(other / "x.jpg") in two.told("indexed")


def test_a_stop_in_the_middle_keeps_what_was_read_and_the_next_run_goes_on(tmp_path: Path, root: Path) -> None:
    for number in range(50):
        write(root / f"{number}.jpg", b"%d" % number)
    with running(tmp_path, root) as one:
        one.until(lambda: len(one.pool.read) > 10)
        one.updater.stop()
        one.thread.join(20)
        read = len(one.pool.read)
    with running(tmp_path, root) as two:
        two.until_quiet()
        assert two.updater.counts["files"] == 51
        assert two.updater.counts["pictures"] == 51
        assert len(two.pool.read) <= 51 - read + 2


def test_when_there_is_nothing_else_to_do_an_older_index_gets_verdicts_and_they_are_confirmed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for seed in range(3):
        write(root / f"{seed}.jpg", encoded(photo_like(seed, 320, 240), "PNG"))
        write(root / f"{seed} q80.jpg", encoded(photo_like(seed, 320, 240), quality=80))
    pool = PhotoPool()
    pool.with_proofs = False
    with running(tmp_path, root, pool=pool) as one:
        one.until_quiet()
    pool.with_proofs = True
    with running(tmp_path, root, pool=pool) as one:
        reader = open_for_reading(str(one.state))
        confirmed = "SELECT count(*) FROM match WHERE verdict = 2 AND confirmed = 1"
        one.until(lambda: bool(reader.value(confirmed) == 3))
        one.touch(root / "copy.jpg", encoded(photo_like(1, 320, 240), quality=70))
        one.until(lambda: "matched" in {topic for topic, _ in one.events})
        assert [event["verdict"] for topic, event in one.events if topic == "matched"] == ["same"]
        one.until(lambda: bool(reader.value("SELECT count(*) FROM match WHERE closely = 2") == 5))
        reader.close()


def test_what_is_left_to_be_looked_at_is_told_as_done_only_once_answers_know_of_it(tmp_path: Path) -> None:
    """Else a plan of the moment before would pass for a complete one."""
    root, left = tmp_path / "root", list[int | None]()
    write(root / "1.jpg", encoded(photo_like(1, 320, 240), "PNG"))
    write(root / "1 q80.jpg", encoded(photo_like(1, 320, 240), quality=80))

    def note_what_is_left(one: Running) -> None:
        changed = one.updater._changed

        def noting() -> None:
            if one.database.value("SELECT count(*) FROM match WHERE closely = 2"):
                left.append(one.updater.left_to_confirm)
            changed()

        one.updater._changed = noting  # type: ignore[method-assign]  # the very moment before answers know of it

    with running(tmp_path, root, before=note_what_is_left, pool=PhotoPool()) as one:
        one.until(lambda: bool(left))
        one.until(lambda: one.updater.left_to_confirm == 0)
    assert left == [1]


def test_a_turned_part_of_a_known_photo_is_told_of_as_such(tmp_path: Path) -> None:
    root = tmp_path / "root"
    whole = photo_like(2, 640, 480)
    write(root / "whole.jpg", encoded(whole, "PNG"))
    write(root / "other.jpg", encoded(photo_like(3, 640, 480), "PNG"))
    with running(tmp_path, root, pool=PhotoPool()) as one:
        one.until_quiet()
        part = np.rot90(whole[50:-50, 60:-60]).copy()
        one.touch(root / "part.jpg", encoded(part, "PNG"))
        one.until(lambda: len(one.told("matched")) == 1)
        [event] = [event for topic, event in one.events if topic == "matched"]
        assert (event["path"], event["other"]) == (os.fsencode(root / "part.jpg"), os.fsencode(root / "whole.jpg"))
        assert (event["verdict"], event["turn"], event["mirrored"]) == ("cropped", 90, False)
        assert event["structure"] > 0.04


def test_thumbnails_in_doubt_are_checked_once_the_pause_is_over_and_no_problem_is_left_if_all_are_sound(
    tmp_path: Path, root: Path
) -> None:
    with running(tmp_path, root) as one:
        one.until_quiet()
        one.updater.pause()
        one.updater.doubt_blocks()
        one.until(lambda: one.updater.state == "paused")
        assert "thumbnails in the state directory are damaged" in one.problems.lines()[0]
        assert not one.updater.is_quiet
        one.updater.resume()
        one.until_quiet()
        assert one.problems.lines() == []
        assert one.names() == {"a.jpg"}


def test_a_lost_thumbnail_is_made_again_and_later_copies_are_matched(tmp_path: Path, root: Path) -> None:
    with running(tmp_path, root) as one:
        one.until_quiet()
        os.truncate(one.state / "blocks" / "000000.thumbnails", 0)
        one.touch(root / "b.jpg", b"two")
        one.until(lambda: b"b.jpg" in map(os.path.basename, one.told("indexed")))
        one.until_quiet()
        assert one.told("indexed").count(os.fsencode(root / "a.jpg")) == 2
        assert one.problems.lines() == []
