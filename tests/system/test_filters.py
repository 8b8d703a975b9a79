"""Filters of `scan` and `clusters`, on real files and through the real programs."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import encoded, photo_like
from tests.system.service import Service


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders with three motifs: copies beside each other, across both folders, smaller and equal ones."""
    root = tmp_path_factory.mktemp("filters") / "photos"
    for name in ("a/sub", "b"):
        (root / name).mkdir(parents=True)
    for motif in (1, 2, 3):
        (root / f"a/{motif}.png").write_bytes(encoded(photo_like(motif, 320, 240), "PNG"))
    shutil.copy(root / "a/1.png", root / "b/1.png")  # equal bytes in both
    shutil.copy(root / "a/1.png", root / "a/1 again.png")
    (root / "b/2.jpg").write_bytes(encoded(photo_like(2, 320, 240)))  # another format of one size
    (root / "a/sub/3.jpg").write_bytes(encoded(photo_like(3, 320, 240)))
    return root


@pytest.fixture(scope="module")
def service(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("filters-state"), photos / "a", photos / "b") as running:
        running.settled()
        yield running


def program(name: str, *args: object, status: int = 0) -> subprocess.CompletedProcess[bytes]:
    command = [os.path.join(os.path.dirname(sys.executable), name), *map(str, args)]
    done = subprocess.run(command, capture_output=True, timeout=50)
    assert done.returncode == status, done.stderr.decode()
    return done


def groups(document: dict[str, Any], root: Path) -> list[set[str]]:
    return [{os.path.relpath(file["path"], root) for file in cluster["files"]} for cluster in document["clusters"]]


ONES = {"a/1.png", "a/1 again.png", "b/1.png"}
TWOS = {"a/2.png", "b/2.jpg"}
THREES = {"a/3.png", "a/sub/3.jpg"}
CASES: list[tuple[list[str], list[set[str]]]] = [
    ([], [ONES, TWOS, THREES]),
    (["--exact"], [ONES]),
    (["--min-files", "3"], [ONES]),
    (["--same-size"], [ONES, TWOS, THREES]),
    (["--aspect", "1"], [ONES, TWOS, THREES]),
    (["--across", "{a}", "--against", "{b}"], [ONES, TWOS]),
    (["--across", "{a}/sub", "{b}", "--against", "{a}"], [ONES, TWOS, THREES]),
    (["--within-folder"], [{"a/1.png", "a/1 again.png"}, THREES]),
    (["--within-folder=each"], [{"a/1.png", "a/1 again.png"}]),
    (["--within-folder", "--exact"], [{"a/1.png", "a/1 again.png"}]),
]


@pytest.mark.parametrize(("flags", "expected"), CASES, ids=[" ".join(flags) for flags, _ in CASES])
def test_service_and_scan_show_what_a_filter_leaves(
    flags: list[str], expected: list[set[str]], photos: Path, service: Service, tmp_path_factory: pytest.TempPathFactory
) -> None:
    flags = [flag.format(a=photos / "a", b=photos / "b") for flag in flags]
    asked = program("dupwatch", "clusters", "--json", "--endpoint", service.endpoint, *flags)
    document = json.loads(asked.stdout)
    found = groups(document, photos)
    assert sorted(found, key=sorted) == sorted(expected, key=sorted)
    assert document["total_clusters"] == len(expected)
    state = tmp_path_factory.getbasetemp() / "filters-scan"
    scanned = program("dupwatchd", "scan", "--state", state, "--json", photos / "a", photos / "b", *flags)
    # what frees more may come first only in one of both: the service has looked closely meanwhile
    assert sorted(groups(json.loads(scanned.stdout), photos), key=sorted) == sorted(found, key=sorted)
