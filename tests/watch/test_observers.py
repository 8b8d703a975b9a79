"""Watchdog's frame: the handler under any observer, and roots that do not wait for each other."""

import ctypes
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from watchdog.events import (
    DirAttribEvent,
    DirCreatedEvent,
    DirDeletedEvent,
    DirModifiedEvent,
    DirMovedEvent,
    FileAttribEvent,
    FileClosedEvent,
    FileClosedNoWriteEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileOpenedEvent,
    FileSystemEvent,
)
from watchdog.observers.api import BaseObserver
from watchdog.observers.inotify import InotifyObserver
from watchdog.observers.polling import PollingObserver

from dupwatchd.watch import mounts, observer
from dupwatchd.watch.handler import HintingHandler
from dupwatchd.watch.hints import Due, Hints
from tests.watch.watching import RULES, on_disk, watching, write

_SETTLE_SECONDS = 2.0


@pytest.mark.parametrize(
    ("event", "due"),
    [
        (FileCreatedEvent("/r/a.jpg"), Due(files=[b"/r/a.jpg"])),
        (FileClosedEvent(b"/r/a.jpg"), Due(files=[b"/r/a.jpg"])),
        (FileDeletedEvent("/r/b/a.JPG"), Due(files=[b"/r/b/a.JPG"])),
        (FileAttribEvent("/r/caf\udce9.jpg"), Due(files=[b"/r/caf\xe9.jpg"])),
        (FileMovedEvent("/r/a.jpg", "/r/b/c.jpg"), Due(files=[b"/r/a.jpg", b"/r/b/c.jpg"])),
        (FileMovedEvent("/r/.a.jpg.aB3xYz", "/r/a.jpg"), Due(files=[b"/r/a.jpg"])),
        (FileMovedEvent("/r/a.jpg", "/elsewhere/a.jpg"), Due(files=[b"/r/a.jpg"])),
        (FileModifiedEvent("/r/a.jpg"), Due()),  # somebody is still writing
        (FileOpenedEvent("/r/a.jpg"), Due()),
        (FileClosedNoWriteEvent("/r/a.jpg"), Due()),
        (FileClosedEvent("/r/notes.txt"), Due()),
        (FileClosedEvent("/r/@eaDir/deep/a.jpg"), Due()),
        (DirCreatedEvent("/r/a"), Due(trees=[b"/r/a"])),
        (DirDeletedEvent("/r/a"), Due(trees=[b"/r/a"])),
        (DirMovedEvent("/r/a", "/r/b"), Due(trees=[b"/r/a", b"/r/b"])),
        (DirAttribEvent("/r/a"), Due(folders=[b"/r/a"])),
        (DirModifiedEvent("/r/a"), Due()),  # what came or went has an event of its own
        (DirCreatedEvent("/r/@eaDir/a"), Due()),
        (DirDeletedEvent("/r"), Due(roots=[b"/r"])),
    ],
)
def test_each_event_of_watchdog_becomes_its_hint(event: FileSystemEvent, due: Due) -> None:
    now = [0.0]
    hints = Hints(_SETTLE_SECONDS, 60.0, 100, lambda: now[0])
    HintingHandler(b"/r", RULES, hints).dispatch(event)
    now[0] = _SETTLE_SECONDS
    assert hints.due() == due


@pytest.mark.parametrize("make", [lambda: PollingObserver(timeout=0.1), lambda: InotifyObserver(timeout=0.1)])
def test_the_handler_works_under_watchdogs_own_observers(tmp_path: Path, make: Callable[[], BaseObserver]) -> None:
    (tmp_path / "old").mkdir()
    write(tmp_path / "old" / "a.jpg")
    hints = Hints(0.05, 5.0, 1000)
    stock = make()
    stock.schedule(HintingHandler(os.fsencode(tmp_path), RULES, hints), str(tmp_path), recursive=True)
    stock.start()
    try:
        write(tmp_path / "new.jpg")
        wait_for_file_hint(hints, tmp_path / "new.jpg")
        (tmp_path / "new.jpg").rename(tmp_path / "old" / "b.jpg")
        wait_for_file_hint(hints, tmp_path / "old" / "b.jpg")
        (tmp_path / "old" / "a.jpg").unlink()
        wait_for_file_hint(hints, tmp_path / "old" / "a.jpg")
    finally:
        stock.stop()
        stock.join()
    assert len(on_disk([os.fsencode(tmp_path)])) == 1


def wait_for_file_hint(hints: Hints, path: Path) -> None:
    end = time.monotonic() + 20
    while os.fsencode(path) not in hints.due().files:
        assert time.monotonic() < end
        hints.wait(0.05)


@contextmanager
def a_disk_that_hangs(place: Path) -> Iterator[None]:
    """A file system whose server never answers is mounted at a place; whoever touches it waits until the end."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        device = os.open("/dev/fuse", os.O_RDWR)
    except OSError as error:
        pytest.skip(f"no FUSE here: {error.strerror}")
    try:
        options = f"fd={device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}"
        if libc.mount(b"hanging", os.fsencode(place), b"fuse", 0, options.encode()):
            pytest.skip(f"this user may not mount: {os.strerror(ctypes.get_errno())}")
        yield
    finally:
        os.close(device)  # which ends every wait with an error
        libc.umount2(os.fsencode(place), 2)


def test_a_root_that_hangs_while_it_is_read_keeps_no_other_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mounts, "_REMOTE", frozenset())  # as a local disk that hangs
    for name in ("hangs", "works"):
        (tmp_path / name / "a").mkdir(parents=True)
    with watching(tmp_path / "works", tmp_path / "hangs") as index:
        with a_disk_that_hangs(tmp_path / "hangs"):
            time.sleep(2.5)  # by then the observer of the other root has looked at it, and waits
            index.roots.pop()
            write(tmp_path / "works" / "a" / "a.jpg")
            index.catch_up()
            (tmp_path / "works" / "b").mkdir()
            write(tmp_path / "works" / "b" / "b.jpg")
            index.catch_up()
            assert index.watcher.healthy()
        index.roots.append(os.fsencode(tmp_path / "hangs"))
        write(tmp_path / "hangs" / "a" / "c.jpg")
        index.catch_up()  # the disk answers again


def test_a_root_whose_threads_give_no_sign_of_life_is_told_as_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mounts, "_REMOTE", frozenset())
    for name, seconds in (("_SILENT_SECONDS", 2.0), ("_SIGN_SECONDS", 0.1), ("_LOOK_SECONDS", 0.1)):
        monkeypatch.setattr(observer, name, seconds)
    write(tmp_path / "a.jpg")
    with watching(tmp_path) as index:
        time.sleep(2.5)
        assert index.state().online
        with a_disk_that_hangs(tmp_path):
            end = time.monotonic() + 20
            while index.state().online:
                assert time.monotonic() < end
                time.sleep(0.05)
            assert "has not answered for" in index.state().line
        index.until(lambda: index.state().online)
