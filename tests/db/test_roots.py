"""What triggers keep, held against counting every row, after anything that may happen to the index."""

import itertools
import random
from contextlib import nullcontext
from pathlib import Path

import pytest

from dupwatchd.db import files, pictures, roots, upkeep
from dupwatchd.db.connection import Database, open_database
from dupwatchd.db.pictures import NewContent, NewPicture
from dupwatchd.db.roots import FileCounts
from dupwatchd.model import FileId, PictureId, Stamp
from dupwatchd.paths import at_or_below

_ROOTS = [b"/a", b"/a b", b"/b/c", b"/d"]
_FOLDERS = [b"/", b"/a", b"/a/x", b"/a/x/y", b"/a b", b"/ab", b"/b", b"/b/c", b"/b/cc", b"/b/c/z", b"/d/e/f"]
_NAMES = [b"1.jpg", b"2.JPG", b"no suffix", b"film.mp4"]


@pytest.fixture
def database(tmp_path: Path) -> Database:
    (tmp_path / "blocks").mkdir()
    database = open_database(str(tmp_path))
    database.rows("PRAGMA synchronous = OFF")
    return database


def put(database: Database, folder: bytes, *names: bytes) -> list[FileId]:
    """Files that were seen and not read yet."""
    files.record_folder(database, folder, 1, None, [(name, 1, 1, 1, 1) for name in names], [])
    known = files.known_folder(database, folder)
    assert known is not None
    return [FileId(row.file_id) for row in files.files_of_folder(database, known.folder_id, names).values()]


class Storm:
    """Does anything that the program does to files, contents, pictures and matches."""

    def __init__(self, database: Database, seed: int) -> None:
        self.database = database
        self.dice = random.Random(seed)
        self.contents = 0

    def step(self) -> None:
        acts = [
            self.see, self.see, self.see, self.read, self.read, self.read, self.lose, self.lose_folder,
            self.choose_roots, self.match, self.tidy, self.retry, self.mend,
        ]  # fmt: skip
        with self.database.transaction() if (act := self.dice.choice(acts)) != self.choose_roots else nullcontext():
            act()

    def see(self) -> None:
        put(self.database, self.dice.choice(_FOLDERS), *self.dice.sample(_NAMES, 2))

    def read(self) -> None:
        for (file_id,) in self.some("file"):
            error = self.dice.choice([None, None, "cannot be read"])
            content_id = None if error or self.dice.random() < 0.2 else self.content()
            files.settle(self.database, FileId(file_id), Stamp(1, 1, 1, 1), content_id, error)

    def content(self) -> int:
        known = self.some("content")
        if known and self.dice.random() < 0.4:
            return int(known[0][0])
        self.contents += 1
        key = (self.contents.to_bytes(32, "big"), 0)
        if self.dice.random() < 0.5:
            is_image = self.dice.random() < 0.5
            return pictures.add_content(
                self.database, NewContent(key, None, None, None, None, "damaged", is_image=is_image)
            )
        [slot] = pictures.next_slots(self.database, 1)
        pictures.add_pictures(self.database, [NewPicture(slot, key[0], False, b"", None)])
        return pictures.add_content(self.database, NewContent(key, slot, 1, 1, "JPEG", None))

    def match(self) -> None:
        ids = sorted(row[0] for row in self.some("picture", 4))
        rows = [(a, b, 0, 1.0, 1.0, None, 1, 1) for a, b in itertools.pairwise(ids)]
        pictures.add_matches(self.database, rows * 2)
        pictures.remove_matches(self.database, [row[:3] for row in rows[:1]])

    def lose(self) -> None:
        for (file_id,) in self.some("file"):
            files.remove(self.database, FileId(file_id))

    def lose_folder(self) -> None:
        files.forget_folders(self.database, [row[0] for row in self.some("folder", 1)])

    def choose_roots(self) -> None:
        roots.put_in_force(self.database, self.dice.sample(_ROOTS, self.dice.randrange(len(_ROOTS) + 1)))

    def tidy(self) -> None:
        pictures.remove(self.database, pictures.remove_unused_contents(self.database))

    def retry(self) -> None:
        if self.dice.random() < 0.5:
            files.retry_undecodable(self.database)
        else:
            files.retry_unreadable(self.database, b"/a")

    def mend(self) -> None:
        lost = [PictureId(row[0]) for row in self.some("picture", 1)]
        upkeep.forget_contents(self.database, lost)
        pictures.remove(self.database, lost)
        upkeep.drop_dangling(self.database)

    def some(self, table: str, most: int = 3) -> list[tuple[int]]:
        rows = self.database.rows(f"SELECT id FROM {table}")
        return self.dice.sample(rows, min(most, len(rows)))


def counted_one_by_one(database: Database, root: bytes) -> FileCounts:
    rows = database.rows("SELECT path, pending, failed FROM file JOIN folder ON folder.id = folder_id")
    below = [row for row in rows if at_or_below(row[0], root)]
    return FileCounts(len(below), sum(row[1] > 0 for row in below), sum(row[2] for row in below))


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens_the_counts_are_those_of_all_rows(database: Database, seed: int) -> None:
    storm = Storm(database, seed)
    for _ in range(250):
        storm.step()
        by_root = roots.counts_by_root(database)
        assert by_root == {root: counted_one_by_one(database, root) for root in by_root}
        everywhere = counted_one_by_one(database, b"/")
        assert sum(by_root.values(), roots.counts_outside(database)) == everywhere
        assert everywhere.failed == len(files.failures(database, b"/"))
        assert roots.count_pictures(database) == database.value("SELECT count(*) FROM picture")
        assert roots.count_matches(database) == database.value("SELECT count(*) FROM match")
        assert not roots.are_miscounted(database)
    storm.tidy()
    assert not database.rows("SELECT 1 FROM content WHERE id NOT IN (SELECT content_id FROM file WHERE content_id)")
    assert not database.rows(
        "SELECT 1 FROM picture WHERE id NOT IN (SELECT picture_id FROM content WHERE picture_id >= 0)"
    )


def test_a_file_that_is_no_image_has_failed_only_if_its_name_promised_one(database: Database) -> None:
    content_id = pictures.add_content(
        database, NewContent((b"x" * 32, 0), None, None, None, None, "no image", is_image=False)
    )
    for file_id in put(database, b"/a", b"1.jpg", b"no suffix"):
        files.settle(database, file_id, Stamp(1, 1, 1, 1), content_id, None)
    assert [failure.path for failure in files.failures(database, b"/")] == [b"/a/1.jpg"]
    assert roots.counts_outside(database).failed == 1


def test_files_outside_the_roots_are_not_to_be_read_until_their_root_is_in_force_again(database: Database) -> None:
    roots.put_in_force(database, [b"/a", b"/d"])
    put(database, b"/a", b"1.jpg")
    put(database, b"/d", b"2.jpg", b"3.jpg")
    roots.put_in_force(database, [b"/a"])
    assert roots.counts_by_root(database) == {b"/a": FileCounts(1, 1, 0)}
    assert roots.counts_outside(database) == FileCounts(2, 2, 0)
    assert files.count_pending(database, b"/") == 1
    roots.put_in_force(database, [b"/d"])
    assert [job.path for job in files.pending_jobs(database, b"/", FileId(-1), 9)] == [b"/d/2.jpg", b"/d/3.jpg"]


def test_a_wrong_count_is_found_and_mended(database: Database) -> None:
    put(database, b"/a", b"1.jpg")
    database.rows("UPDATE root SET files = 7")
    assert upkeep.faults(database) == ["the counts of files, pictures and matches are wrong"]
    upkeep.drop_dangling(database)
    assert upkeep.faults(database) == []


@pytest.mark.parametrize("seed", range(5))
def test_the_folders_directly_in_one_are_those_without_a_further_slash(database: Database, seed: int) -> None:
    dice = random.Random(seed)
    parts = [b"a", b"a-b", b"a.b", b"a0", b"b", b"\xff", b"a b"]
    paths = {b"/r" + b"".join(b"/" + dice.choice(parts) for _ in range(dice.randrange(4))) for _ in range(60)}
    for path in paths:
        files.record_folder(database, path, 1, None, [], [])
    for folder in (b"/r", b"/r/a", b"/r/a-b", b"/r/nothing"):
        expected = {path for path in paths if path.rpartition(b"/")[0] == folder}
        # a folder of which only something deeper is known is not known itself
        assert files.folders_directly_in(database, folder) == expected
