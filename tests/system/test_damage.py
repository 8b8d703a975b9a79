"""Damage to the state directory of a service, running or stopped: answers stay true, or it says what is wrong."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import apsw
import numpy as np
import pytest
from PIL import Image

from dupwatch.errors import RequestFailedError
from tests.conftest import encoded, photo_like
from tests.system.in_process import scan
from tests.system.service import Service, as_scanned, scanned, until
from tests.system.test_scan import names

T = TypeVar("T")
PHOTOS = 8


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_photos(tmp_path / "photos")


def make_photos(folder: Path) -> Path:
    folder.mkdir()
    for seed in range(PHOTOS):
        (folder / f"{seed}.jpg").write_bytes(encoded(photo_like(seed, 160, 120)))
    return folder


def copy_of(root: Path, seed: int, number: int) -> None:
    smaller = Image.fromarray(photo_like(seed, 160, 120)).resize((120 - number, 90 - number))
    (root / f"copy {number} of {seed}.jpg").write_bytes(encoded(np.asarray(smaller), quality=80))


def cut(path: Path) -> None:
    os.truncate(path, 0)


def cut_in_the_middle(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 - 7)


def lose(path: Path) -> None:
    path.unlink()


def fill_with_zeros(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))


def flip_a_bit_of_each(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for start in range(0, len(data), len(data) // PHOTOS):
        data[start + 50] ^= 4
    path.write_bytes(data)


def tell_or_answer(ask: Callable[[], T]) -> T | None:
    """The answer, or None if the service says that it cannot answer before thumbnails are mended."""
    try:
        return ask()
    except RequestFailedError as error:
        if "made again from the photos" not in str(error):
            raise
        return None


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Photos with a copy of each, and an index that was made before there were copies."""
    place = tmp_path_factory.mktemp("copied")
    folder, state = make_photos(place / "photos"), place / "state"
    scan(folder, state=state)
    for seed in range(PHOTOS):
        copy_of(folder, seed, 1)
    return folder, state


@pytest.mark.parametrize("kind", ["thumbnails", "descriptors"])
@pytest.mark.parametrize("damage", [cut, cut_in_the_middle, lose, fill_with_zeros, flip_a_bit_of_each])
def test_a_scan_finds_new_copies_of_all_photos_though_their_blocks_are_damaged(
    tmp_path: Path, copied: tuple[Path, Path], kind: str, damage: Callable[[Path], None]
) -> None:
    state = tmp_path / "state"
    shutil.copytree(copied[1], state)
    damage(state / "blocks" / f"000000.{kind}")
    assert names(scan(copied[0], state=state)) == [{f"{seed}.jpg", f"copy 1 of {seed}.jpg"} for seed in range(PHOTOS)]


@pytest.mark.parametrize("kind", ["thumbnails", "descriptors"])
def test_a_service_finds_copies_of_photos_whose_blocks_were_cut_while_it_was_stopped(
    tmp_path: Path, root: Path, kind: str
) -> None:
    with Service(tmp_path / "s", root) as service:
        service.settled()
    cut(service.state / "blocks" / f"000000.{kind}")
    with service:
        service.settled()
        copy_of(root, 3, 1)
        until(lambda: service.shown() == {"3.jpg", "copy 1 of 3.jpg"})
        service.settled()
        assert as_scanned(service.clusters()) == scanned(tmp_path / "fresh", root)
        assert service.ask("status")["problems"] == []
    assert "damaged" in service.lines() or "lost" in service.lines()


@pytest.mark.parametrize("damage", [cut, lose, flip_a_bit_of_each])
def test_a_service_whose_thumbnails_are_damaged_under_its_hands_goes_on_and_mends_them(
    tmp_path: Path, root: Path, damage: Callable[[Path], None]
) -> None:
    copy_of(root, 1, 1)
    with Service(tmp_path / "s", root) as service:
        service.settled()
        damage(service.state / "blocks" / "000000.thumbnails")
        tell_or_answer(service.clusters)
        tell_or_answer(lambda: service.find(root / "5.jpg"))
        for seed in range(4):
            copy_of(root, seed, 2)
        until(lambda: len(tell_or_answer(service.shown) or ()) == 9)
        service.settled()
        assert as_scanned(service.clusters()) == scanned(tmp_path / "fresh", root)
        assert service.ask("status")["problems"] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_photo_with_a_file_of_proc_mounted_over_it_is_failed_and_nobody_waits_for_it(
    tmp_path: Path, root: Path
) -> None:
    over = root / "liar.jpg"
    over.write_bytes(b"")
    if subprocess.run(["mount", "--bind", "/proc/cpuinfo", over], check=False, capture_output=True).returncode:
        pytest.skip("no right to mount")
    try:
        with Service(tmp_path / "s", root) as service:
            service.settled()
            [failed] = service.ask("failed")["failed"]
            assert failed["path"] == os.fsencode(over)
            assert failed["error"] == "it holds other than the 0 bytes that the file system says"
            assert service.ask("status")["pending"] == 0
    finally:
        subprocess.run(["umount", over], check=True)


# ---- what keeps answers from being true is told: by `status`, to the service manager, and in every answer


def is_told(service: Service, line: str) -> bool:
    """Do `status` and an answer say so?"""
    if not any(line in problem for problem in service.ask("status")["problems"]):
        return False
    answer = service.ask("failed")
    return not answer["complete"] and any(line in reason for reason in answer["incomplete_because"])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("no right to mount")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def test_a_full_disk_is_told_until_there_is_room(tmp_path: Path, root: Path, small_disk: Path) -> None:
    with Service(tmp_path / "s", root, DUPWATCH_STATE=str(small_disk / "state")) as service:
        service.settled()
        with (small_disk / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
            while True:
                filler.write(bytes(4096))
        for seed in range(20, 40):
            (root / f"{seed}.jpg").write_bytes(encoded(photo_like(seed, 160, 120)))
        until(lambda: is_told(service, "no space left"))
        assert service.ask("status")["state"] == "failing"
        (small_disk / "filler").unlink()
        service.settled()
        status = service.ask("status")
        assert (status["problems"], status["files"], status["state"]) == ([], PHOTOS + 20, "idle")
    assert service.lines().count("no longer so: changes are not taken in: no space left") == 1


@contextlib.contextmanager
def dying_as_soon_as_they_start(server: int) -> Iterator[None]:
    """All workers that this fork server starts meanwhile are killed when they limit their memory, before they greet."""
    if shutil.which("strace") is None:
        pytest.skip("strace ends the processes")
    inject = ["-e", "trace=prlimit64", "-e", "inject=prlimit64:signal=KILL"]
    tracer = subprocess.Popen(["strace", "-f", "-qq", "-o", os.devnull, *inject, "-p", str(server)])
    try:
        while not re.search(r"TracerPid:\t[1-9]", Path(f"/proc/{server}/status").read_text()):
            if tracer.poll() is not None:
                pytest.skip("strace may not trace here")
            time.sleep(0.001)
        yield
    finally:
        tracer.terminate()
        tracer.wait()


def test_decoders_that_cannot_start_are_told_until_they_can(tmp_path: Path, root: Path) -> None:
    with Service(tmp_path / "s", root, DUPWATCH_INDEX__WORKERS="1") as service:
        service.settled()
        [server] = children_of(service.process.pid)
        with dying_as_soon_as_they_start(server):
            for worker in children_of(server):
                os.kill(worker, signal.SIGKILL)
            for seed in range(20, 40):
                (root / f"{seed}.jpg").write_bytes(encoded(photo_like(seed, 160, 120)))
            until(lambda: is_told(service, "die as soon as they start"))
            assert service.ask("status")["state"] == "failing"
        service.settled()
        status = service.ask("status")
        assert (status["problems"], status["files"]) == ([], PHOTOS + 20)


def children_of(pid: int) -> list[int]:
    return [
        int(child)
        for tasks in Path(f"/proc/{pid}/task").iterdir()
        for child in (tasks / "children").read_text().split()
    ]


def test_a_state_directory_that_was_removed_is_told_to_everybody(tmp_path: Path, root: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        with Service(tmp_path / "s", root, NOTIFY_SOCKET=str(tmp_path / "notify")) as service:
            service.settled()
            service.state.rename(tmp_path / "moved")
            line = "was removed or replaced while the service runs"
            until(lambda: is_told(service, line))
            while line not in manager.recv(65536).decode():
                pass
            (tmp_path / "moved").rename(service.state)
            until(lambda: not service.ask("status")["problems"])


def root_page(database: Path, name: str) -> int:
    connection = apsw.Connection(str(database))
    found = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchall()
    connection.close()
    return int(str(found[0][0]))


def flip_the_end_of_an_index(database: Path) -> None:
    """As a bit that a disk has lost: SQLite itself does not notice it as long as nobody looks for that row."""
    page = root_page(database, "sqlite_autoindex_content_1")
    data = bytearray(database.read_bytes())
    data[page * 4096 - 10] ^= 1
    database.write_bytes(data)


def spoil_all_matches(database: Path) -> None:
    with database.open("r+b") as file:
        file.seek((root_page(database, "match") - 1) * 4096)
        file.write(os.urandom(4096))


@pytest.mark.parametrize("damage", [flip_the_end_of_an_index, spoil_all_matches])
def test_a_database_that_is_damaged_is_told(tmp_path: Path, root: Path, damage: Callable[[Path], None]) -> None:
    copy_of(root, 1, 1)
    with Service(tmp_path / "s", root) as service:
        service.settled()
    damage(service.state / "dupwatch.sqlite")
    with service:
        until(lambda: is_told(service, "dupwatch.sqlite is damaged"))
        assert "check --repair" in service.ask("status")["problems"][0]
