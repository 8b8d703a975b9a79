"""A measure of the user's own, from the settings to the answer."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import encoded, photo_like
from tests.system.test_scan import names

MODULE = """
import numpy as np

def brightness_map(thumbnails):
    "features: grey level of 4 x 4 cells"
    return thumbnails.mean(axis=3).reshape(len(thumbnails), 4, 8, 4, 8).mean(axis=(2, 4)).reshape(len(thumbnails), 16)

def largest_difference(first, second):
    "a distance"
    return np.abs(first.astype(int) - second.astype(int)).reshape(len(first), -1).mean(axis=1)

def average_hash(thumbnails):
    grey = thumbnails.mean(axis=3).reshape(len(thumbnails), 8, 4, 8, 4).mean(axis=(2, 4)).reshape(len(thumbnails), 64)
    bits = grey > grey.mean(axis=1, keepdims=True)
    return [row.tobytes() for row in bits]

def lopsided(first, second):
    return first.reshape(len(first), -1).mean(axis=1)

def broken(thumbnails):
    raise RuntimeError("no such luck")
"""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "my_measures.py").write_text(MODULE)
    root = tmp_path / "photos"
    root.mkdir()
    for seed in range(4):
        picture = photo_like(seed, 300, 200)
        (root / f"{seed}.jpg").write_bytes(encoded(picture))
        (root / f"{seed} turned.jpg").write_bytes(encoded(np.rot90(picture).copy(), quality=85))
    return root


def scan(photos: Path, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(photos.parent / "modules"), os.environ.get("PYTHONPATH", "")]),
        "DUPWATCH_STATE": str(photos.parent / "state"),
    }
    command = [sys.executable, "-m", "dupwatchd", "scan", "--json", *arguments, str(photos)]
    return subprocess.run(command, capture_output=True, timeout=100, env=environment, check=False)


def answer(photos: Path, *arguments: str) -> dict[str, Any]:
    done = scan(photos, *arguments)
    assert done.returncode == 0, done.stderr.decode()
    return dict(json.loads(done.stdout))


PAIRS = [{f"{seed} turned.jpg", f"{seed}.jpg"} for seed in range(4)]


@pytest.mark.parametrize(
    ("name", "threshold"), [("brightness_map", "100"), ("largest_difference", "6"), ("average_hash", "0")]
)
def test_each_kind_finds_the_copies_and_keeps_up_with_changes(photos: Path, name: str, threshold: str) -> None:
    asked = ("--measure", f"my_measures:{name}", "--threshold", threshold)
    document = answer(photos, *asked)
    assert document["measure"] == f"my_measures:{name}"
    if name != "average_hash":  # which noise in one cell changes
        assert names(document) == PAIRS
    for file in (file for cluster in document["clusters"] for file in cluster["files"]):
        assert 0 <= file["custom"] <= float(threshold)
        assert file["turn"] in (0, 90, 180, 270)
    again = photo_like(2, 300, 200)
    (photos / "2 again.png").write_bytes(encoded(again, "PNG"))
    (photos / "2 once more.bmp").write_bytes(encoded(again, "BMP"))
    (photos / "1 turned.jpg").unlink()
    document = answer(photos, *asked)
    fresh = scan(photos, *asked, "--state", str(photos.parent / "fresh"))
    assert names(document) == names(json.loads(fresh.stdout))
    assert any({"2 again.png", "2 once more.bmp"} <= cluster for cluster in names(document))
    if name == "brightness_map":
        plain = scan(photos, "--state", str(photos.parent / "plain"))
        assert names(answer(photos)) == names(json.loads(plain.stdout))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("my_measures:lopsided", b"the other way round"),
        ("my_measures:broken", b"no such luck"),
        ("my_measures:missing", b"there is no missing"),
        ("no_such_module:name", b"no_such_module"),
    ],
)
def test_what_is_wrong_with_a_measure_is_said_in_one_line_before_the_work_begins(
    photos: Path, name: str, said: bytes
) -> None:
    done = scan(photos, "--measure", name, "--threshold", "1")
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count(b"\n") == 1
    assert done.stdout == b""
    assert not (photos.parent / "state" / "blocks" / "000000.thumbnails").exists()
