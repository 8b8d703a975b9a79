import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dupwatch.suffixes import IMAGE_SUFFIXES
from dupwatchd import opening
from dupwatchd.index.file_reading import read_file
from dupwatchd.index.messages import NotRead
from dupwatchd.model import ReadStatus
from dupwatchd.opening import open_without_links
from dupwatchd.watch.inotify import TreeWatch
from dupwatchd.watch.walk import WalkRules, list_folder, stamped_files, walk

RULES = WalkRules(IMAGE_SUFFIXES | {b""}, ())
LOOKS = 100  # of each kind


@pytest.fixture(params=["at once", "by parts"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of opening: the one for kernels without openat2 is tried on every kernel."""
    if request.param == "by parts":
        monkeypatch.setattr(opening, "_has_openat2", lambda: False)
    elif not opening._has_openat2():
        pytest.skip("this kernel has no openat2")
    return str(request.param)


class Swapped:
    """A root with a folder ``up/real/b`` that can be swapped for a link to a folder of the same shape outside."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.outside = folder / "outside"
        self.real = self.root / "up" / "real"
        self.inner = self.real / "b"
        for place, content in ((self.real, b"inside"), (self.outside, b"from outside")):
            (place / "b").mkdir(parents=True)
            (place / "b" / "a.jpg").write_bytes(content)

    def swap(self) -> None:
        self.real.rename(self.real.with_suffix(".aside"))
        self.real.symlink_to(self.outside)

    @contextmanager
    def swapping(self) -> Iterator[None]:
        """Another process puts the link there and takes it away, again and again."""
        program = (
            "import os, sys, time\n"
            "real, outside = sys.argv[1:]\n"
            "print(flush=True)\n"
            "while True:\n"
            "    os.rename(real, real + '.aside'); os.symlink(outside, real)\n"
            "    time.sleep(0.0003)\n"
            "    os.unlink(real); os.rename(real + '.aside', real)\n"
            "    time.sleep(0.0003)\n"
        )
        command = [sys.executable, "-c", program, str(self.real), str(self.outside)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as swapper:
            try:
                assert swapper.stdout is not None
                swapper.stdout.readline()
                yield
                assert swapper.poll() is None
            finally:
                swapper.kill()


@pytest.fixture
def swapped(tmp_path: Path) -> Swapped:
    return Swapped(tmp_path)


def sizes_of_walk(root: Path, before_each: Callable[[bytes], None] = lambda _path: None) -> set[int]:
    sizes = set()
    for listing in walk(os.fsencode(root), RULES):
        sizes |= {entry[1] for entry in listing.entries()}
        before_each(listing.path)
    return sizes


def test_a_folder_swapped_for_a_link_during_the_walk_leads_nowhere(swapped: Swapped) -> None:
    def swap(listed: bytes) -> None:
        if listed == os.fsencode(swapped.real):
            swapped.swap()

    assert sizes_of_walk(swapped.root, swap) == set()


def test_names_below_a_folder_that_became_a_link_are_not_stamped_nor_listed(swapped: Swapped) -> None:
    root, inner = os.fsencode(swapped.root), os.fsencode(swapped.inner)
    stamped = stamped_files(inner, [b"a.jpg"], root, RULES)
    assert stamped is not None
    assert [entry[1] for entry in stamped[2]] == [len(b"inside")]
    swapped.swap()
    assert stamped_files(inner, [b"a.jpg"], root, RULES) is None
    assert list_folder(inner, root, RULES) is None


def test_a_file_below_a_folder_that_became_a_link_has_vanished(swapped: Swapped) -> None:
    path = os.fsencode(swapped.inner / "a.jpg")
    assert read_file(path, 1, lambda: None)[1] == b"inside"
    swapped.swap()
    assert read_file(path, 1, lambda: None) == (NotRead(ReadStatus.VANISHED, None), b"")


def test_no_watch_is_set_in_a_tree_that_a_folder_was_swapped_for(swapped: Swapped) -> None:
    (swapped.outside / "c").mkdir()
    watched: list[int] = []

    def going_on() -> None:
        watched.append(1)
        if len(watched) == 3:  # root and up are listed; real is watched, and listed next
            swapped.swap()

    tree = TreeWatch(os.fsencode(swapped.root), RULES, frozenset(), lambda _event: None, going_on)
    try:
        assert len(tree) == 3
    finally:
        tree.close()


def test_nothing_from_outside_is_listed_or_read_while_another_process_swaps(swapped: Swapped) -> None:
    path = os.fsencode(swapped.inner / "a.jpg")
    read, not_read = 0, 0
    with swapped.swapping():
        while read < LOOKS or not_read < LOOKS:
            assert sizes_of_walk(swapped.root) <= {len(b"inside")}
            result, content = read_file(path, 1, lambda: None)
            assert content in (b"", b"inside")
            read += content == b"inside"
            not_read += not content
            if isinstance(result, NotRead):
                assert result.status in (ReadStatus.VANISHED, ReadStatus.CHANGED)


def test_a_link_as_the_last_part_is_told_from_one_in_between(swapped: Swapped) -> None:
    link = swapped.root / "link.jpg"
    link.symlink_to(swapped.inner / "a.jpg")
    folder_link = swapped.root / "link"
    folder_link.symlink_to(swapped.inner)
    for path, flags, number in (
        (link, os.O_RDONLY, errno.ELOOP),
        (folder_link, os.O_RDONLY | os.O_DIRECTORY, errno.ENOTDIR),
        (folder_link / "a.jpg", os.O_RDONLY, errno.ENOTDIR),
        (swapped.inner / "a.jpg" / "x", os.O_RDONLY, errno.ENOTDIR),
        (swapped.inner / "gone", os.O_RDONLY, errno.ENOENT),
        (swapped.root / "gone" / "a.jpg", os.O_RDONLY, errno.ENOENT),
    ):
        with pytest.raises(OSError, match=r"\w") as caught:
            open_without_links(os.fsencode(path), flags)
        assert caught.value.errno == number, path


def test_the_top_of_the_file_system_can_be_opened() -> None:
    for path in (b"/", b"//"):
        descriptor = open_without_links(path, os.O_RDONLY | os.O_DIRECTORY)
        assert os.path.samestat(os.fstat(descriptor), os.stat("/"))
        os.close(descriptor)


def test_no_descriptor_is_left_open(swapped: Swapped) -> None:
    def open_descriptors() -> list[str]:
        return os.listdir("/proc/self/fd")

    (swapped.root / "link").symlink_to(swapped.inner)
    before = len(open_descriptors())
    for path in ("up/real/b/a.jpg", "up/gone/a.jpg", "link/a.jpg", "up/real/b/a.jpg/x"):
        read_file(os.fsencode(swapped.root / path), 1, lambda: None)
    sizes_of_walk(swapped.root)
    assert len(open_descriptors()) == before


def test_a_folder_that_may_be_passed_but_not_listed_is_passed(way: str) -> None:
    program = (
        "import os, sys\n"
        "from dupwatchd import opening\n"
        "if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "if sys.argv[2] == 'by parts': opening._has_openat2 = lambda: False\n"
        "sys.stdout.buffer.write(os.read(opening.open_without_links(os.fsencode(sys.argv[1]), os.O_RDONLY), 99))\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "passed" / "a.jpg"
        file.parent.mkdir()
        file.write_bytes(b"inside")
        for above in (file.parent, Path(folder)):
            above.chmod(0o311 if os.geteuid() else 0o711)
        command = [sys.executable, "-c", program, str(file), way]
        done = subprocess.run(command, capture_output=True, check=False)
        for above in (Path(folder), file.parent):
            above.chmod(0o700)
    assert done.stdout == b"inside", done.stderr.decode()


def test_mount_points_below_a_root_are_walked_and_read(swapped: Swapped) -> None:
    place = swapped.root / "disk"
    place.mkdir()
    if subprocess.run(["mount", "--bind", str(swapped.outside), str(place)], capture_output=True).returncode:
        pytest.skip("needs the right to mount")
    try:
        assert sizes_of_walk(swapped.root) == {len(b"inside"), len(b"from outside")}
        assert read_file(os.fsencode(place / "b" / "a.jpg"), 1, lambda: None)[1] == b"from outside"
    finally:
        subprocess.run(["umount", str(place)], check=True)
