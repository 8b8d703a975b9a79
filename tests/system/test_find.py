"""Looking up a picture in a real index, with a real decode process."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter
from PIL.TiffImagePlugin import IFDRational

from dupwatchd.arrays import Matches
from dupwatchd.db.connection import Database, open_database
from dupwatchd.find import Finder
from dupwatchd.serve.clusters import LiveChecks, Question
from dupwatchd.serve.request_queue import OpenRequest, Peer, RequestError
from dupwatchd.settings import Settings
from tests.compare.test_origin_direction import scene
from tests.conftest import encoded, photo_like
from tests.index.files import png_chunk
from tests.system.in_process import scan
from tests.system.service import Service

QUESTION = Question("structure", 0.02, mirrored=False)
LIVE_CHECKS = LiveChecks(lambda *_: [], lambda _copy: True, lambda copies: [None] * len(copies), lambda _: False)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    (tmp_path / "blocks").mkdir()
    opened = open_database(str(tmp_path))
    yield opened
    opened.close()


@pytest.fixture
def finder(tmp_path: Path) -> Iterator[Finder]:
    made = Finder(
        Settings(), str(tmp_path), 32, lambda _thumbnail: Matches.none(), lambda _keypoints: [], lambda: LIVE_CHECKS
    )
    yield made
    made.close()


def test_what_nobody_waits_for_any_more_is_not_decoded_to_its_end(
    finder: Finder, database: Database, tmp_path: Path
) -> None:
    large, small = tmp_path / "large.png", tmp_path / "small.jpg"
    large.write_bytes(encoded(np.zeros((14_000, 14_000, 3), np.uint8), "PNG"))
    small.write_bytes(encoded(photo_like(1, 160, 120)))
    wanted = OpenRequest([], 1, "find", {}, Peer(b""))
    assert finder.find(database, bytes(small), QUESTION, wanted) == []
    began = time.monotonic()
    assert finder.find(database, bytes(large), QUESTION, wanted) == []
    whole_seconds = time.monotonic() - began
    gone = Peer(b"")
    gone.closed.set()
    for abandoned in (
        OpenRequest([], 2, "find", {}, gone),
        OpenRequest([], 3, "find", {}, Peer(b""), deadline=time.monotonic()),
    ):
        began = time.monotonic()
        with pytest.raises(RequestError) as given_up:
            finder.find(database, bytes(large), QUESTION, abandoned)
        assert given_up.value.code == "busy"
        assert time.monotonic() - began < whole_seconds
    assert finder.find(database, bytes(small), QUESTION, wanted) == []


@pytest.mark.parametrize("worse_ones", [3, 5])
def test_what_is_read_for_files_of_lower_quality_is_not_missing_for_others(tmp_path: Path, worse_ones: int) -> None:
    photos, state, photo = tmp_path / "photos", tmp_path / "state", photo_like(5, 640, 480)
    photos.mkdir()
    still = encoded(photo)
    files = {f"{number} worse.jpg": encoded(photo, quality=70 + number) for number in range(worse_ones)}
    for name, data in files.items():
        (photos / name).write_bytes(data)
    scan(photos, state=state)
    (photos / "still of a motion photo.jpg").write_bytes(still)
    scan(photos, state=state)
    sent = tmp_path / "motion photo.jpg"
    sent.write_bytes(still + b"film" * 9999)
    assert as_good(state, sent) == {os.fsencode(name): False for name in ("still of a motion photo.jpg", *files)}


def test_another_shot_of_a_series_is_not_as_good(tmp_path: Path) -> None:
    """However alike they are: they may be a series of exposures."""
    photos, state, photo = tmp_path / "photos", tmp_path / "state", photo_like(6, 640, 480)
    photos.mkdir()

    def shot(seconds: int, quality: int) -> bytes:
        exif = Image.Exif()
        exif[0x0110] = "Lumen L1"
        exif.get_ifd(0x8769).update({0x9003: "2024:05:01 10:11:12", 0x829A: IFDRational(1, seconds)})
        return encoded(photo, quality=quality, exif=exif.tobytes())

    (photos / "a.jpg").write_bytes(shot(100, 95))
    scan(photos, state=state)
    sent = tmp_path / "sent.jpg"
    for seconds in (100, 200):
        sent.write_bytes(shot(seconds, 90))
        assert as_good(state, sent) == {b"a.jpg": seconds == 100}


def test_a_softer_copy_is_not_as_good(tmp_path: Path) -> None:
    photos, state, sent = tmp_path / "photos", tmp_path / "state", tmp_path / "sent.jpg"
    photos.mkdir()
    sent.write_bytes(encoded(np.asarray(scene(6, 800, 600)), quality=92))
    with Image.open(sent) as opened:
        soft = opened.filter(ImageFilter.GaussianBlur(0.8))
        (photos / "soft.jpg").write_bytes(encoded(np.asarray(soft), quality=95))
        (photos / "anew.jpg").write_bytes(encoded(np.asarray(opened), quality=95))
    scan(photos, state=state)
    assert as_good(state, sent) == {b"soft.jpg": False, b"anew.jpg": True}


def test_one_copy_that_is_as_good_is_enough_unless_it_is_asked_for_itself(tmp_path: Path) -> None:
    """A look at a photo costs some twenty times as much as all else."""
    photos, photo = tmp_path / "photos", photo_like(9, 800, 600)
    photos.mkdir()
    brighter = (photo.astype(np.int64) + 3).clip(0, 255).astype(np.uint8)
    (photos / "equal.jpg").write_bytes(encoded(photo, quality=90))
    (photos / "near.jpg").write_bytes(encoded(brighter, quality=95))
    sent = tmp_path / "sent.jpg"
    sent.write_bytes((photos / "equal.jpg").read_bytes())
    with Service(tmp_path / "service", photos) as service:
        service.settled()

        def found(*files: Path) -> tuple[int, dict[str, bool]]:
            command: list[str | Path] = [
                sys.executable,
                "-m",
                "dupwatch",
                "find",
                "--json",
                "--endpoint",
                service.endpoint,
                *files,
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            [first, *_] = json.loads(done.stdout)["files"]
            return done.returncode, {os.path.basename(copy["path"]): copy["as_good"] for copy in first["copies"]}

        assert found(sent) == (0, {"equal.jpg": True, "near.jpg": False})
        assert found(photos / "equal.jpg") == (0, {"equal.jpg": False, "near.jpg": True})
        assert found(photos / "equal.jpg", photos / "near.jpg") == (1, {"equal.jpg": False, "near.jpg": False})
        assert {os.path.basename(row["path"]): row["as_good"] for row in service.find(sent)} == {
            b"equal.jpg": True, b"near.jpg": True,
        }  # fmt: skip


def test_of_more_files_of_a_picture_than_are_read_nobody_says_that_they_are_as_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dupwatchd.scan._CONFIRMED_AT_ONCE", -1)  # or all of them would have been read before
    photos, state = tmp_path / "photos", tmp_path / "state"
    photos.mkdir()
    plain = encoded(photo_like(5, 640, 480), "PNG")
    for number in range(6):
        (photos / f"{number}.png").write_bytes(plain[:33] + png_chunk(b"tEXt", b"Comment\0%d" % number) + plain[33:])
        (photos / f"other {number}.png").write_bytes(plain[:33] + gamma(40_000 + 1000 * number) + plain[33:])
    scan(photos, state=state)
    sent = tmp_path / "sent.png"
    sent.write_bytes(plain)
    found = as_good(state, sent)
    assert len(found) == 12
    assert all(found[b"%d.png" % number] for number in range(6))  # those of equal pixels need not be read
    assert not any(found[b"other %d.png" % number] for number in range(6))


def test_a_small_mark_makes_a_copy_no_copy_that_is_as_good(tmp_path: Path) -> None:
    """Which a proof does not show: the photos themselves are looked at."""
    photos, state, photo = tmp_path / "photos", tmp_path / "state", photo_like(5, 800, 600)
    photos.mkdir()
    marked = photo.copy()
    marked[348:354, 448:460] = (marked[348:354, 448:460].astype(int) + 40).clip(0, 255)
    (photos / "sent again.jpg").write_bytes(encoded(photo, quality=96))
    (photos / "marked.jpg").write_bytes(encoded(marked, quality=97))
    scan(photos, state=state)
    sent = tmp_path / "sent.jpg"
    sent.write_bytes(encoded(photo, quality=92))
    assert as_good(state, sent) == {b"sent again.jpg": True, b"marked.jpg": False}


def test_a_picture_without_detail_is_known_by_its_bytes(tmp_path: Path) -> None:
    photos, state, black = tmp_path / "photos", tmp_path / "state", np.zeros((60, 80, 3), np.uint8)
    photos.mkdir()
    (photos / "black.png").write_bytes(encoded(black, "PNG"))
    (photos / "other.png").write_bytes(encoded(black, "PNG", compress_level=1))
    scan(photos, state=state)
    (tmp_path / "sent.png").write_bytes((photos / "black.png").read_bytes())
    assert as_good(state, tmp_path / "sent.png") == {b"black.png": True}


def gamma(value: int) -> bytes:
    return png_chunk(b"gAMA", value.to_bytes(4, "big"))


def as_good(state: Path, sent: Path) -> dict[bytes, bool]:
    """By name, of all that an index holds."""
    reader = open_database(str(state))
    try:
        near = Matches.from_rows([(-1, picture, False, 0.0, 0.0, None) for picture in range(20)])
        made = Finder(Settings(), str(state), 32, lambda _: near, lambda _: [], lambda: LIVE_CHECKS)
        try:
            rows = made.find(reader, bytes(sent), QUESTION, OpenRequest([], 1, "find", {}, Peer(b"")))
        finally:
            made.close()
    finally:
        reader.close()
    return {os.path.basename(row["path"]): row["as_good"] for row in rows}
