"""What really happens on a file system reaches an index that looks only where the hints say."""

import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dupwatch.act.apply import Action, apply_plan
from dupwatch.act.undo import runs_to_undo, undo
from tests.act.trees import plan_for
from tests.watch.watching import Index, watching, write


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    root = tmp_path / "root"
    (root / "old" / "deep").mkdir(parents=True)
    write(root / "old" / "deep" / "a.jpg")
    with watching(root) as index:
        yield index


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    outside = tmp_path / "outside"
    (outside / "tree" / "deep").mkdir(parents=True)
    for number in range(20):
        write(outside / "tree" / "deep" / f"{number}.jpg")
    return outside


def test_files_made_changed_renamed_and_deleted(index: Index) -> None:
    root = index.root
    write(root / "new.jpg")
    write(root / "new.jpg.1")
    write(root / "old" / "b.jpg")
    index.catch_up()
    assert os.fsencode(root / "new.jpg.1") in index.known
    write(root / "new.jpg", b"longer")
    (root / "old" / "b.jpg").rename(root / "old" / "deep" / "c.jpg")
    index.catch_up()
    os.utime(root / "new.jpg", ns=(1, 1))
    (root / "old" / "deep" / "c.jpg").unlink()
    index.catch_up()
    os.truncate(root / "new.jpg", 1)
    index.catch_up()


def test_a_file_replaced_by_rename_and_files_that_are_linked_in(index: Index, outside: Path) -> None:
    root = index.root
    write(root / ".a.jpg.aB3xYz", b"new").rename(root / "old" / "deep" / "a.jpg")
    os.link(outside / "tree" / "deep" / "1.jpg", root / "linked.jpg")
    give_a_name_to_a_nameless_file(root / "tmpfile.jpg")
    index.catch_up()
    assert len(index.known) == 3


def give_a_name_to_a_nameless_file(path: Path) -> None:
    descriptor = os.open(path.parent, os.O_TMPFILE | os.O_WRONLY)
    own = os.open("/proc/self/fd", os.O_PATH)  # only with it does os.link follow the link
    os.write(descriptor, b"data")
    os.link(str(descriptor), path, src_dir_fd=own, follow_symlinks=True)
    os.close(own)
    os.close(descriptor)


def test_trees_moved_in_within_and_out(index: Index, outside: Path) -> None:
    root = index.root
    (outside / "tree").rename(root / "tree")
    index.assert_hears_every_folder()
    (root / "tree").rename(root / "old" / "moved")
    index.assert_hears_every_folder()
    (root / "old" / "moved").rename(outside / "back")
    index.catch_up()
    write(outside / "back" / "deep" / "elsewhere.jpg")
    time.sleep(0.1)
    assert not index.look()
    shutil.rmtree(root / "old")
    index.catch_up()
    assert list(index.known) == [os.fsencode(root / "probe.jpg")]


def test_what_goes_into_a_quarantine_is_gone_and_comes_back(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    root = index.root
    monkeypatch.setenv("XDG_STATE_HOME", str(root.parent / "state"))
    spare = write(root / "old" / "b.jpg")
    index.catch_up()
    apply_plan(plan_for(root, [(os.fsencode(spare), os.fsencode(root / "old" / "deep" / "a.jpg"))]), Action())
    assert list(root.glob(".dupwatch-quarantine/*/files/old/b.jpg"))
    index.catch_up()
    assert list(index.known) == [os.fsencode(root / "old" / "deep" / "a.jpg")]
    undo(runs_to_undo())
    index.catch_up()
    assert len(index.known) == 2


def test_names_that_are_no_text(index: Index) -> None:
    folder = os.fsencode(index.root) + b"/caf\xe9\nnew"
    os.mkdir(folder)
    index.catch_up()
    for name in (b"\xff\xfe.jpg", b"new\nline.jpg", b"x" * 251 + b".jpg"):
        with open(folder + b"/" + name, "wb"):
            pass
    index.catch_up()
    assert len(index.known) == 4


def test_folders_made_at_once_with_what_is_in_them(index: Index, outside: Path, tmp_path: Path) -> None:
    root = index.root
    for number in range(30):
        os.makedirs(root / f"{number}/b/c/d")
        write(root / f"{number}/b/c/d/a.jpg")
        write(root / f"{number}/b/a.jpg")
    index.assert_hears_every_folder()
    subprocess.run(["cp", "-r", outside / "tree", root / "copied"], check=True)
    subprocess.run(["tar", "cf", tmp_path / "a.tar", "-C", root, "."], check=True)
    (root / "unpacked").mkdir()
    subprocess.run(["tar", "xf", tmp_path / "a.tar", "-C", root / "unpacked"], check=True)
    index.assert_hears_every_folder()


def test_folders_made_and_renamed_at_once_are_heard_afterwards(index: Index) -> None:
    for number in range(300):
        upload = index.root / f".~tmp~{number}" if number % 2 else index.root / f"tmp{number}"
        (upload / "b" / "c").mkdir(parents=True)
        write(upload / "b" / "c" / "a.jpg")
        upload.rename(index.root / f"final{number}")
    index.assert_hears_every_folder()
    assert index.watcher.states()[index.roots[0]].line


def test_a_folder_swapped_with_one_of_its_own_is_heard_afterwards(index: Index) -> None:
    root = index.root
    for _ in range(50):
        (root / "a" / "b").mkdir(parents=True)
        write(root / "a" / "b" / "x.jpg")
        (root / "a" / "b").rename(root / "b")
        (root / "a").rename(root / "b" / "a")
        (root / "b" / "a").rename(root / "c")
        (root / "b").rename(root / "c" / "a")
        (root / "c").rename(root / "a")
        shutil.rmtree(root / "a" / "a")
        write(root / "a" / "y.jpg")
        shutil.rmtree(root / "a")
    (root / "a" / "b" / "c").mkdir(parents=True)
    index.assert_hears_every_folder()


@pytest.mark.parametrize("seed", range(6))
def test_after_a_random_storm_the_index_is_right_and_no_folder_is_deaf(index: Index, seed: int) -> None:
    storm(index.root, random.Random(seed), steps=1500)
    index.assert_hears_every_folder()


def storm(root: Path, dice: random.Random, steps: int) -> None:
    """Anything a program may do to folders and files, as fast as it goes."""
    folders = [root]
    for step in range(steps):
        folder = dice.choice(folders)
        try:
            match dice.randrange(10):
                case 0 | 1 | 2:
                    folders.append(folder / f"d{dice.randrange(8)}")
                    folders[-1].mkdir()
                case 3 | 4:
                    source, target = dice.choice(folders[1:]), folder / f"d{dice.randrange(8)}"
                    source.rename(target)
                    folders.append(target)
                case 5:
                    shutil.rmtree(dice.choice(folders[1:]))
                case 6 | 7:
                    write(folder / f"f{dice.randrange(8)}.jpg", b"x" * step)
                case 8:
                    (folder / f"f{dice.randrange(8)}.jpg").rename(dice.choice(folders) / f"f{dice.randrange(8)}.jpg")
                case 9:
                    (folder / f"f{dice.randrange(8)}.jpg").unlink()
        except (OSError, IndexError):
            folders = [folder for folder in folders if folder.is_dir()] or [root]


def test_names_that_are_left_alone_give_no_hint(index: Index) -> None:
    root = index.root
    (root / "@eaDir").mkdir()
    for name in ("@eaDir/a.jpg", "notes.txt", "._a.jpg", ".a.jpg.aB3xYz", "film.mp4", "a.jpg.part"):
        write(root / name)
    (root / "loop").symlink_to(root)
    time.sleep(0.2)
    assert [due for due in index.handed_out[1:] if due.files != [os.fsencode(root / "loop")]] == []
    index.look()
    assert index.hints.pending() == 0


def test_reading_gives_no_hint(index: Index) -> None:
    for _ in range(3):
        (index.root / "old" / "deep" / "a.jpg").read_bytes()
        list(index.root.rglob("*"))
    time.sleep(0.1)
    assert index.hints.pending() == 0


def test_a_slow_writer_is_left_in_peace_until_it_rests(tmp_path: Path) -> None:
    with watching(tmp_path, settle_seconds=0.3) as index, open(tmp_path / "slow.jpg", "wb") as file:
        for _ in range(8):
            file.write(b"slice")
            file.flush()
            time.sleep(0.1)
            assert not index.look()
        file.close()
        index.catch_up()
        assert [due.files for due in index.handed_out[1:]] == [[os.fsencode(tmp_path / "slow.jpg")]]


def test_twenty_thousand_files_at_once_are_all_found(tmp_path: Path) -> None:
    with watching(tmp_path) as index:
        for number in range(20):
            (tmp_path / str(number)).mkdir()
        for number in range(20_000):
            os.close(os.open(tmp_path / str(number % 20) / f"{number}.jpg", os.O_WRONLY | os.O_CREAT))
            assert index.hints.pending() <= 50_000 or index.look()
        index.catch_up(20)
        assert len(index.known) == 20_000
        # On a busy machine the kernel's queue may overflow before it is read.
        assert set(index.said) <= {f"{tmp_path}: more happened than could be kept; the root is looked through"}
