"""A watcher on real folders, and a small index that knows the disk through hints alone."""

import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dupwatch.suffixes import IMAGE_SUFFIXES
from dupwatchd.watch.hints import Due, Hints
from dupwatchd.watch.ignore import DEFAULT_IGNORE
from dupwatchd.watch.walk import WalkRules, walk
from dupwatchd.watch.watcher import RootState, Watcher

RULES = WalkRules(IMAGE_SUFFIXES | {b""}, DEFAULT_IGNORE)
Stamps = dict[bytes, tuple[int, int, int]]  # path → size, mtime, inode


@dataclass
class Index:
    """What is known of some roots, brought up to date by looking where the hints say."""

    roots: list[bytes]
    hints: Hints
    watcher: Watcher
    said: list[str]
    known: Stamps = field(default_factory=dict)
    handed_out: list[Due] = field(default_factory=list)

    @property
    def root(self) -> Path:
        return Path(os.fsdecode(self.roots[0]))

    def look(self) -> Due:
        due = self.hints.due()
        if due:
            self.handed_out.append(due)
        for path in due.files:
            self.known.pop(path, None)
        self.known |= stamps_of(due.files)
        for folder in due.folders:
            self._forget(lambda path, folder=folder: os.path.dirname(path) == folder)  # type: ignore[misc]
            self.known |= files_in(folder)
        for top in due.trees + due.roots:
            self._forget(lambda path, top=top: path.startswith(top + b"/"))  # type: ignore[misc]
            self.known |= on_disk([top])
        return due

    def _forget(self, is_concerned: Callable[[bytes], bool]) -> None:
        for path in [path for path in self.known if is_concerned(path)]:
            del self.known[path]

    def is_right(self) -> bool:
        return self.known == on_disk(self.roots)

    def catch_up(self, seconds: float = 20) -> None:
        """Look where the hints say until the index is right; fails if that does not come about."""
        self.until(self.is_right, seconds)

    def state(self) -> RootState:
        return self.watcher.states()[self.roots[0]]

    def until(self, is_done: Callable[[], bool], seconds: float = 20) -> None:
        end = time.monotonic() + seconds
        while True:
            self.watcher.check()
            self.look()
            if not self.hints.pending() and is_done():
                return
            if time.monotonic() > end:
                assert self.known == on_disk(self.roots), self.said
                raise AssertionError(f"not done: {self.said}")
            self.hints.wait(min(0.05, self.hints.seconds_until_due() or 0.05))

    def assert_hears_every_folder(self) -> None:
        """Nothing is deaf, and nothing is heard under a wrong name."""
        self.catch_up()
        time.sleep(0.1)  # what is still on its way must not help
        self.catch_up()
        before = len(self.handed_out)
        folders = [folder for root in self.roots for folder, _, _ in os.walk(root)]
        for folder in folders:
            write(Path(os.fsdecode(folder)) / "probe.jpg")
        self.catch_up()
        assert not [due for due in self.handed_out[before:] if due.trees or due.roots]
        assert self.folders_watched() == len([folder for folder in folders if b"/.~tmp~" not in folder])

    def folders_watched(self) -> int:
        """As the kernel counts them."""
        count = 0
        for descriptor in os.listdir("/proc/self/fdinfo"):
            try:
                with open(f"/proc/self/fdinfo/{descriptor}") as lines:
                    count += sum(line.startswith("inotify wd:") for line in lines)
            except OSError:
                pass  # closed meanwhile: the listing's own
        return count


def stamps_of(paths: list[bytes]) -> Stamps:
    stamps = {}
    for path in paths:
        try:
            status = os.lstat(path)
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode):
            stamps[path] = (status.st_size, status.st_mtime_ns, status.st_ino)
    return stamps


def files_in(folder: bytes) -> Stamps:
    return {path: stamp for path, stamp in on_disk([folder]).items() if os.path.dirname(path) == folder}


def on_disk(tops: list[bytes]) -> Stamps:
    return {
        listing.path + b"/" + name: (size_bytes, mtime_ns, inode)
        for top in tops
        if os.path.isdir(top)
        for listing in walk(top, RULES)
        for name, size_bytes, mtime_ns, _, inode in listing.entries()
    }


def write(path: Path, data: bytes = b"x") -> Path:
    path.write_bytes(data)
    return path


@contextmanager
def watching(
    *roots: Path, settle_seconds: float = 0.05, hints: Hints | None = None, poll_seconds: float = 300
) -> Iterator[Index]:
    """A running watcher whose roots are under watch."""
    hints = hints or Hints(settle_seconds, 5.0, 1000)
    said: list[str] = []
    paths = [os.path.realpath(os.fsencode(root)) for root in roots]
    watcher = Watcher(paths, RULES, hints, said.append, poll_seconds)
    index = Index(paths, hints, watcher, said)
    watcher.start()
    try:
        index.until(lambda: len({root for due in index.handed_out for root in due.roots}) == len(roots))
        yield index
    finally:
        watcher.stop()
