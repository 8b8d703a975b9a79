"""The running service: real processes, real files, and the answers of a fresh scan to compare with."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import encoded, photo_like
from tests.system.service import Listener, Service, as_scanned, scanned, until


def picture(seed: int, width: int = 160, height: int = 120) -> bytes:
    return encoded(photo_like(seed, width, height))


def smaller(seed: int) -> bytes:
    return encoded(np.asarray(Image.fromarray(photo_like(seed, 160, 120)).resize((120, 90))))


def library(root: Path) -> Path:
    """Ten photos in two folders, four of them with a smaller copy."""
    (root / "phone").mkdir(parents=True)
    for seed in range(10):
        (root / f"{seed}.jpg").write_bytes(picture(seed))
        if seed < 4:
            (root / "phone" / f"{seed} small.jpg").write_bytes(smaller(seed))
    return root


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for what does not disturb the others: each test has a folder of its own in its root."""
    root = tmp_path_factory.mktemp("root")
    with Service(tmp_path_factory.mktemp("s"), root) as service:
        yield service


@pytest.fixture
def root(service: Service, tmp_path: Path) -> Iterator[Path]:
    assert isinstance(service.roots[0], Path)
    top = service.roots[0]
    yield library(top / "photos")
    for path in (tmp_path / "state", *top.iterdir()):
        shutil.rmtree(path, ignore_errors=True)
    (top / "something").write_text("so that the root is not empty, as the place of a missing disk is")
    service.settled()


# ---- answers are those of a fresh scan, whatever happened


def slowly(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        for start in range(0, len(data), len(data) // 10):
            file.write(data[start : start + len(data) // 10])
            file.flush()
            time.sleep(0.1)


def burst(root: Path) -> None:
    for place in range(300):
        (root / f"burst {place % 3}").mkdir(exist_ok=True)
        (root / f"burst {place % 3}" / f"{place}.jpg").write_bytes(encoded(photo_like(place % 200, 64, 48)))


def replace_by_rename(root: Path) -> None:
    (root / "new.tmp").write_bytes(picture(2))
    (root / "new.tmp").replace(root / "1.jpg")


def make_deep(root: Path) -> None:
    os.makedirs(root / "a" / "b" / "c")
    (root / "a" / "b" / "c" / "deep.jpg").write_bytes(picture(7))
    (root / "a" / "side.jpg").write_bytes(smaller(8))


def come_in(root: Path) -> None:
    outside = root.parent.with_name("outside")
    (outside / "below").mkdir(parents=True)
    (outside / "below" / "5 again.jpg").write_bytes(picture(5))
    outside.rename(root / "came in")


def go_out(root: Path) -> None:
    (root / "phone").rename(root.parent.with_name("went out"))
    shutil.rmtree(root.parent.with_name("went out"))


def back_and_forth(root: Path) -> None:
    for _ in range(20):
        (root / "phone").rename(root / "fax")
        (root / "0.jpg").rename(root / "00.jpg")
        (root / "fax").rename(root / "phone")
        (root / "00.jpg").rename(root / "0.jpg")


def swap(root: Path) -> None:
    (root / "0.jpg").rename(root / "x.jpg")
    (root / "1.jpg").rename(root / "0.jpg")
    (root / "x.jpg").rename(root / "1.jpg")


CHANGES: dict[str, Callable[[Path], object]] = {
    "copy": lambda root: shutil.copy(root / "9.jpg", root / "phone" / "9 again.jpg"),
    "overwrite": lambda root: (root / "8.jpg").write_bytes(picture(9)),
    "overwrite slowly": lambda root: slowly(root / "8.jpg", picture(9, 480, 360)),
    "rename": lambda root: (root / "0.jpg").rename(root / "zero.jpg"),
    "rename to what is no picture": lambda root: (root / "0.jpg").rename(root / "zero.txt"),
    "move a tree in": come_in,
    "move a tree out": go_out,
    "move a tree": lambda root: (root / "phone").rename(root / "fax"),
    "move a tree deeper": lambda root: ((root / "x").mkdir(), (root / "phone").rename(root / "x" / "phone")),
    "delete": lambda root: (root / "phone" / "0 small.jpg").unlink(),
    "delete a tree": lambda root: shutil.rmtree(root / "phone"),
    "replace by rename": replace_by_rename,
    "hard link": lambda root: os.link(root / "6.jpg", root / "phone" / "6 linked.jpg"),
    "deep folders at once": make_deep,
    "back and forth": back_and_forth,
    "swap": swap,
    "break": lambda root: (root / "0.jpg").write_bytes(b"\xff\xd8\xff broken"),
    "burst": burst,
}


@pytest.mark.parametrize("change", CHANGES)
def test_answers_are_those_of_a_fresh_scan_after(change: str, service: Service, root: Path, tmp_path: Path) -> None:
    service.settled()
    CHANGES[change](root)
    service.settled()
    assert as_scanned(service.clusters()) == scanned(tmp_path / "state", root)
