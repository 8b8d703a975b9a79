"""Lost events, exhausted limits, disks that come and go, threads that die: found out, said, and made good."""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dupwatchd.watch import emitter, mounts, observer
from dupwatchd.watch.hints import Hints
from tests.watch.watching import Index, watching, write


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "a" / "b").mkdir(parents=True)
    write(root / "a" / "b" / "a.jpg")
    return root


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Mounts like the command of that name; all is undone afterwards."""
    places: list[Path] = []

    def mount(*arguments: str | Path) -> None:
        done = subprocess.run(["mount", *arguments], capture_output=True, check=False)
        if done.returncode:
            pytest.skip(f"this user may not mount: {done.stderr.decode().strip()}")
        places.append(Path(arguments[-1]))

    yield mount
    for place in reversed(places):
        subprocess.run(["umount", "-l", place], capture_output=True, check=False)


class StalledHints(Hints):
    """Takes no hint for a file until it may: the reader of events stands still."""

    def __init__(self) -> None:
        super().__init__(0.05, 5.0, 1000)
        self.may = threading.Event()

    def touched(self, path: bytes, closed: bool) -> None:
        self.may.wait(30)
        super().touched(path, closed)


def test_when_the_kernel_drops_events_everything_is_looked_through(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with watching(root) as index:
        monkeypatch.setattr(emitter, "_GATHER_SECONDS", 4.0)  # the reader of the kernel's queue is late
        write_more_files_than(int(Path("/proc/sys/fs/inotify/max_queued_events").read_text()), root / "a")
        monkeypatch.undo()
        assert_all_is_looked_through_twice(index)


def test_when_our_own_queue_is_full_everything_is_looked_through(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observer, "_MOST_EVENTS", 500)
    hints = StalledHints()
    with watching(root, hints=hints) as index:
        write_more_files_than(1000, root / "a")
        [watching_root] = index.watcher._observers
        [reading] = watching_root.emitters
        index.until(lambda: reading.lost_events)  # type: ignore[attr-defined]
        hints.may.set()
        assert_all_is_looked_through_twice(index)


def write_more_files_than(number: int, folder: Path) -> None:
    for one in range(number + 1):
        os.close(os.open(folder / f"{one % 1000}.jpg", os.O_WRONLY | os.O_CREAT))
    (folder / "deaf?").mkdir()
    write(folder / "deaf?" / "a.jpg")


def assert_all_is_looked_through_twice(index: Index) -> None:
    index.until(lambda: index.is_right() and len(index.said) > 0)
    index.until(lambda: len([due for due in index.handed_out if due.roots]) >= 3)  # once more when watched anew
    index.assert_hears_every_folder()
    assert "more happened than could be kept" in index.said[0]


def in_a_namespace_of_its_own(function: str, root: Path) -> None:
    program = f"import sys; from {__name__} import {function} as run; run(sys.argv[1])"
    command = ["unshare", "-U", "-r", sys.executable, "-c", program, str(root)]
    if subprocess.run(["unshare", "-U", "-r", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user may not make a user namespace")
    here = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False, cwd=here)
    if done.returncode == 77:
        pytest.skip("the number of watches cannot be limited here")
    assert done.returncode == 0, done.stderr


def allow_watches(number: int) -> None:
    try:
        Path("/proc/sys/user/max_inotify_watches").write_text(str(number))
    except OSError:
        sys.exit(77)


def run_out_at_the_start(path: str) -> None:
    root = Path(path)
    for number in range(30):
        (root / str(number)).mkdir()
    allow_watches(20)
    with watching(root, poll_seconds=0.5) as index:
        assert index.state().mode == "polled"
        assert "gives no more watches; raise sysctl fs.inotify.max_user_watches (now " in index.state().line
        assert index.state().folders == index.folders_watched() == 0
        write(root / "29" / "a.jpg")
        index.catch_up()
        allow_watches(1000)
        index.until(lambda: index.state().mode == "inotify")
        index.assert_hears_every_folder()
        assert len(index.said) == 2


def run_out_later(path: str) -> None:
    root = Path(path)
    allow_watches(20)
    with watching(root, poll_seconds=0.5) as index:
        assert index.state().mode == "inotify"
        for number in range(30):
            (root / f"{number}" / "b").mkdir(parents=True)
            write(root / f"{number}" / "b" / "a.jpg")
        index.until(lambda: index.state().mode == "polled")
        write(root / "29" / "b" / "b.jpg")
        index.catch_up()
        assert "fs.inotify.max_user_watches" in index.said[0]


@pytest.mark.parametrize("function", ["run_out_at_the_start", "run_out_later"])
def test_without_watches_left_a_root_is_polled_and_the_setting_is_named(root: Path, function: str) -> None:
    in_a_namespace_of_its_own(function, root)


def test_a_root_deleted_goes_offline_and_is_watched_again_when_it_is_made_anew(root: Path) -> None:
    with watching(root) as index:
        shutil.rmtree(root)
        index.until(lambda: not index.state().online)
        assert index.state().line == "offline: there is no such folder"
        root.mkdir()
        index.until(lambda: "empty" in index.state().line)
        write(root / "a.jpg")
        index.until(lambda: index.state().online)
        index.assert_hears_every_folder()
        assert len(index.said) == 3


def test_a_root_renamed_away_is_heard_no_more_and_its_successor_is(root: Path) -> None:
    with watching(root) as index:
        root.rename(root.parent / "away")
        index.until(lambda: not index.state().online)
        write(root.parent / "away" / "a" / "b.jpg")
        time.sleep(0.1)
        assert not index.look()
        (root / "c").mkdir(parents=True)
        write(root / "c" / "a.jpg")
        index.until(lambda: index.state().online)
        index.assert_hears_every_folder()


def test_a_root_whose_parent_was_swapped_is_watched_where_it_is_now(tmp_path: Path) -> None:
    (tmp_path / "parent" / "root").mkdir(parents=True)
    (tmp_path / "other" / "root" / "b").mkdir(parents=True)
    write(tmp_path / "other" / "root" / "b" / "a.jpg")
    with watching(tmp_path / "parent" / "root") as index:
        (tmp_path / "parent").rename(tmp_path / "gone")
        (tmp_path / "other").rename(tmp_path / "parent")
        index.catch_up()
        index.assert_hears_every_folder()


def test_a_root_that_is_missing_at_the_start_is_watched_when_it_comes(tmp_path: Path) -> None:
    with watching(tmp_path / "later") as index:
        assert not index.state().online
        (tmp_path / "later").mkdir()
        write(tmp_path / "later" / "a.jpg")
        index.until(lambda: index.state().online)
        index.assert_hears_every_folder()


def test_a_disk_unmounted_goes_offline_and_is_watched_again_when_mounted(
    tmp_path: Path, mount: Callable[..., None]
) -> None:
    root, disk = tmp_path / "root", tmp_path / "disk"
    root.mkdir()
    disk.mkdir()
    mount("-t", "tmpfs", "disk", disk)
    (disk / "a").mkdir()
    write(disk / "a" / "a.jpg")
    mount("--bind", disk, root)
    with watching(root) as index:
        assert len(index.known) == 1
        subprocess.run(["umount", root], check=True)
        index.until(lambda: not index.state().online)
        assert "its disk seems to be missing" in index.state().line
        write(disk / "a" / "b.jpg")
        mount("--bind", disk, root)
        index.until(lambda: index.state().online)
        index.assert_hears_every_folder()
        assert len(index.said) == 2


@pytest.mark.parametrize("place", ["a", "a/b"])
def test_a_disk_mounted_over_a_folder_is_seen_and_so_is_its_going(
    root: Path, place: str, mount: Callable[..., None]
) -> None:
    with watching(root) as index:
        mount("-t", "tmpfs", "disk", root / place)
        write(root / place / "c.jpg")
        index.assert_hears_every_folder()
        subprocess.run(["umount", root / place], check=True)
        index.assert_hears_every_folder()


def test_a_network_file_system_is_polled(
    root: Path, mount: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mounts, "_REMOTE", {"tmpfs"})
    mount("-t", "tmpfs", "share", root)
    (root / "a").mkdir()
    with watching(root, poll_seconds=0.2) as index:
        assert (index.state().mode, index.folders_watched()) == ("polled", 0)
        assert index.state().line == "looked through every 0.2 s: tmpfs does not tell what others change"
        write(root / "a" / "a.jpg")
        index.catch_up()


def test_a_root_with_a_network_file_system_in_it_is_polled_and_the_rest_is_watched(
    root: Path, mount: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mounts, "_REMOTE", {"tmpfs"})
    mount("-t", "tmpfs", "share", root / "a" / "b")
    with watching(root, poll_seconds=300) as index:
        assert (index.state().mode, index.folders_watched()) == ("polled", 2)
        write(root / "a" / "heard.jpg")
        index.catch_up()


@pytest.mark.parametrize("source", ["", "a"])
def test_a_root_that_holds_a_folder_twice_is_polled_and_watched(
    root: Path, source: str, mount: Callable[..., None]
) -> None:
    (root / "z").mkdir()
    mount("--bind", root / source, root / "z")
    with watching(root, poll_seconds=0.5) as index:
        assert index.state().mode == "polled"
        write(root / "a" / "b" / "b.jpg")
        index.catch_up()
        write(root / "a" / "b" / "c.jpg")
        index.catch_up()


def test_a_large_tree_that_moves_does_not_make_the_queue_run_over(root: Path) -> None:
    for number in range(6_000):
        os.makedirs(root / "a" / str(number // 100) / str(number))
    with watching(root) as index:
        for _ in range(10):
            (root / "a").rename(root / "b")
            (root / "b").rename(root / "a")
        index.catch_up()
        (root / "a").rename(root.parent / "outside")
        index.until(lambda: index.folders_watched() == 1)
        assert index.said == []


def test_an_overlay_is_polled_and_watched(tmp_path: Path, mount: Callable[..., None]) -> None:
    for name in ("disk", "root"):
        (tmp_path / name).mkdir()
    mount("-t", "tmpfs", "disk", tmp_path / "disk")
    for name in ("lower", "upper", "work"):
        (tmp_path / "disk" / name).mkdir()
    (tmp_path / "disk" / "lower" / "a").mkdir()
    layers = f"lowerdir={tmp_path}/disk/lower,upperdir={tmp_path}/disk/upper,workdir={tmp_path}/disk/work"
    mount("-t", "overlay", "-o", layers, "overlay", tmp_path / "root")
    with watching(tmp_path / "root") as index:
        assert index.state().mode == "polled"
        write(index.root / "a" / "a.jpg")
        index.assert_hears_every_folder()


class FaultyHints(Hints):
    """Fails at the first files, in a way that ends a thread or in one that should not."""

    def __init__(self, fault: type[BaseException]) -> None:
        super().__init__(0.05, 5.0, 1000)
        self.fault: type[BaseException] | None = fault

    def touched(self, path: bytes, closed: bool) -> None:
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault
        super().touched(path, closed)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("fault", [ValueError, SystemExit])
def test_no_fault_makes_it_deaf(root: Path, fault: type[BaseException]) -> None:
    with watching(root, hints=FaultyHints(fault)) as index:
        [before] = index.watcher._observers
        assert index.watcher.healthy()
        write(root / "a" / "lost.jpg")
        index.catch_up()
        index.assert_hears_every_folder()
        assert index.watcher.healthy()
        assert (index.watcher._observers == [before]) == (fault is ValueError)
        assert len(index.said) == (fault is SystemExit)


def test_after_the_end_nothing_runs_and_nothing_is_held(root: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with watching(root) as index:
        pass
    index.watcher.stop()
    index.watcher.check()
    assert not index.watcher.healthy()
    assert index.folders_watched() == 0
    assert len(os.listdir("/proc/self/fd")) == before


def test_two_roots_hand_files_to_each_other(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "a").mkdir(parents=True)
    write(tmp_path / "one" / "a" / "a.jpg")
    with watching(tmp_path / "one", tmp_path / "two") as index:
        (tmp_path / "one" / "a").rename(tmp_path / "two" / "b")
        index.assert_hears_every_folder()
        (tmp_path / "two" / "b" / "a.jpg").rename(tmp_path / "one" / "a.jpg")
        index.assert_hears_every_folder()


def test_mounts_are_found_by_their_longest_path_and_the_last_of_a_place() -> None:
    table = [
        mounts.Mount(1, b"/", "ext4"), mounts.Mount(2, b"/p", "autofs"), mounts.Mount(3, b"/p", "nfs4"),
        mounts.Mount(4, b"/p/q", "fuse.sshfs"), mounts.Mount(5, b"/pq", "fuseblk"),
    ]  # fmt: skip
    found = {path: mounts.mount_of(path, table) for path in (b"/x", b"/p", b"/p/x", b"/p/q/x", b"/pq")}
    assert [mount and (mount.number, mount.is_remote) for mount in found.values()] == [
        (1, False), (3, True), (3, True), (4, True), (5, False),
    ]  # fmt: skip
    assert [mount.number for mount in mounts.mounts_below(b"/p", table)] == [4]
    assert mounts._parsed(b"36 35 98:0 /m /a\\040b\\134 rw - ext3 /dev/root rw\n") == mounts.Mount(
        36, b"/a b\\", "ext3", b"/m", b"/dev/root", (b"rw",)
    )
