"""Crops and framed copies, as a user meets them."""

import os
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import numpy as np
import pytest

from dupwatchd.db.connection import FILE_NAME
from dupwatchd.db.proofs import FILE_NAME as PROOFS_NAME
from tests.conftest import Rgb, encoded, photo_like
from tests.system import test_scan
from tests.system.in_process import run, scan
from tests.system.service import Service, until
from tests.system.test_scan import names

PHOTO = photo_like(5, 640, 480)


def part(photo: Rgb = PHOTO) -> Rgb:
    """What is left if a tenth is cut off on each side."""
    return photo[48:-48, 64:-64].copy()


def framed(photo: Rgb = PHOTO) -> Rgb:
    return np.pad(photo, ((40, 40), (40, 40), (0, 0)), constant_values=255)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    root.mkdir()
    (root / "whole.jpg").write_bytes(encoded(PHOTO))
    (root / "part.jpg").write_bytes(encoded(part(), quality=85))
    for seed in (6, 7, 8):
        (root / f"{seed}.jpg").write_bytes(encoded(photo_like(seed, 640, 480)))
    return root


def by_name(cluster: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {os.path.basename(os.fsdecode(file["path"])): file for file in cluster["files"]}


def middle(outline: list[list[float]]) -> tuple[float, ...]:
    return tuple(round(sum(corner[axis] for corner in outline) / 4, 2) for axis in (0, 1))


def test_a_part_is_a_group_only_if_it_is_asked_for_and_the_whole_is_kept(root: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    plain = scan(root, state=state)
    assert (plain["total_clusters"], plain["also"]["cropped"]) == (0, 1)
    found = scan("--also", "cropped", root, state=state)
    assert names(found) == [{"whole.jpg", "part.jpg"}]
    files = by_name(found["clusters"][0])
    assert files["whole.jpg"]["keep"]
    assert files["whole.jpg"]["reason"] == "shows more of the picture"
    lesser = files["part.jpg"]
    assert (lesser["verdict"], lesser["confirmed"], lesser["shows_more"], lesser["may_go"]) == (
        "cropped", None, False, False,
    )  # fmt: skip
    assert lesser["outline"] == [
        pytest.approx(corner, abs=0.02) for corner in ((0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.1, 0.9))
    ]
    assert run("scan", "--also", "cropped", "--print0", "--spare", root, state=state).stdout == b""


def test_of_a_crop_that_nearly_matches_the_distance_does_not_count(tmp_path: Path) -> None:
    """A little is cut off: as wholes both pictures are near, but not as near as is asked for."""
    root, state = tmp_path / "photos", tmp_path / "state"
    root.mkdir()
    (root / "whole.jpg").write_bytes(encoded(PHOTO))
    (root / "part.jpg").write_bytes(encoded(PHOTO[8:-8, 10:-10].copy(), quality=85))
    (root / "again.jpg").write_bytes(encoded(PHOTO, quality=60))
    strict = ("--threshold", "0.00001")
    plain = scan(*strict, root, state=state)
    assert (names(plain), plain["also"]["cropped"]) == ([], 1)  # whether "again" is a copy is left to the distance
    for more in ((), ("--no-rotate",)):
        [group] = names(scan(*strict, "--also", "cropped", *more, root, state=state))
        assert "part.jpg" in group
    (root / "part.jpg").rename(tmp_path / "part.jpg")
    (root / "again.jpg").unlink()
    with Service(tmp_path / "s", root) as service:
        service.settled()
        [copy] = service.ask("find", data=(tmp_path / "part.jpg").read_bytes(), threshold=0.00001)["copies"]
        assert copy["verdict"] == "cropped"


def test_of_a_framed_copy_the_picture_alone_is_kept(tmp_path: Path) -> None:
    root, state = tmp_path / "photos", tmp_path / "state"
    root.mkdir()
    (root / "bare.jpg").write_bytes(encoded(PHOTO))
    (root / "framed.jpg").write_bytes(encoded(framed()))
    [cluster] = scan("--also", "cropped", root, state=state)["clusters"]
    files = by_name(cluster)
    assert (files["bare.jpg"]["keep"], files["bare.jpg"]["reason"]) == (True, "without the frame around it")
    assert files["framed.jpg"]["shows_more"] is True
    assert middle(files["framed.jpg"]["outline"]) == (0.5, 0.5)


def test_a_turned_part_is_found_unless_pictures_may_not_be_turned(root: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    (root / "part.jpg").write_bytes(encoded(np.rot90(part()).copy(), quality=85))
    assert names(scan("--also", "cropped", root, state=state)) == [{"whole.jpg", "part.jpg"}]
    assert names(scan("--also", "cropped", "--no-rotate", root, state=state)) == []


def test_with_parts_switched_off_none_is_searched(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = tmp_path / "state"
    monkeypatch.setenv("DUPWATCH_INDEX__FRAMES", "false")
    assert names(scan("--also", "cropped", root, state=state)) == []
    monkeypatch.setenv("DUPWATCH_INDEX__FRAMES", "true")
    assert names(scan("--also", "cropped", root, state=state)) == [{"whole.jpg", "part.jpg"}]


def test_the_service_finds_parts_plans_for_them_only_if_asked_and_finds_what_is_sent(
    root: Path, tmp_path: Path
) -> None:
    with Service(tmp_path / "s", root) as service:
        service.settled()
        assert service.ask("clusters")["clusters"] == []
        [cluster] = service.ask("clusters", also="cropped")["clusters"]
        assert by_name(cluster).keys() == {"whole.jpg", "part.jpg"}
        assert service.ask("plan")["groups"] == []
        assert service.ask("plan", policy={"also": "retouched,recoloured"})["groups"] == []
        [group] = service.ask("plan", policy={"also": "cropped", "ask_when": []})["groups"]
        planned = by_name(group)
        assert {name: file["goes"] for name, file in planned.items()} == {"whole.jpg": False, "part.jpg": True}
        sent = encoded(PHOTO[30:-70, 90:-40].copy(), quality=80)
        found = {os.path.basename(os.fsdecode(copy["path"])): copy for copy in service.ask("find", data=sent)["copies"]}
        assert (found["whole.jpg"]["verdict"], found["whole.jpg"]["shows_more"]) == ("cropped", True)
        assert not any(copy["as_good"] for copy in found.values())
        assert found.keys() <= {"whole.jpg", "part.jpg"}
        (root / "new part.jpg").write_bytes(sent)
        service.settled()
        [cluster] = service.ask("clusters", also="cropped")["clusters"]
        assert by_name(cluster).keys() >= {"whole.jpg", "new part.jpg"}
        (root / "whole.jpg").unlink()
        service.settled()
        for cluster in service.ask("clusters", also="cropped")["clusters"]:
            assert "whole.jpg" not in by_name(cluster)


def test_a_small_library_is_scanned_and_served_without_loading_the_compiler_or_an_event_loop(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    service = Service(tmp_path / "s", root)
    scanned = test_scan.run("scan", "--json", "--also", "cropped", root, state=service.state)
    assert b"whole.jpg" in scanned.stdout, scanned.stderr
    with service:
        (root / "new part.jpg").write_bytes(encoded(PHOTO[30:-70, 90:-40].copy(), quality=80))
        service.settled()
        [cluster] = service.ask("clusters", also="cropped")["clusters"]
        assert by_name(cluster).keys() == {"whole.jpg", "part.jpg", "new part.jpg"}
        assert service.find(root / "new part.jpg")
    for loaded in (scanned.stderr.decode(), service.lines()):
        assert "compare.parts.few" in loaded
        assert "numba" not in loaded
        assert "asyncio" not in loaded


def test_the_finer_part_of_a_small_picture_never_goes(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    root.mkdir()
    (root / "small.jpg").write_bytes(encoded(PHOTO[::2, ::2].copy()))
    (root / "part.jpg").write_bytes(encoded(part()))
    with Service(tmp_path / "s", root) as service:
        service.settled()
        [cluster] = service.ask("clusters", also="cropped")["clusters"]
        assert by_name(cluster).keys() == {"small.jpg", "part.jpg"}
        assert service.ask("plan", policy={"also": "cropped", "ask_when": []})["groups"] == []


def test_an_older_index_is_searched_when_there_is_time_and_says_so_until_then(root: Path, tmp_path: Path) -> None:
    service = Service(tmp_path / "s", root)
    scan(root, state=service.state)
    with closing(apsw.Connection(str(service.state / FILE_NAME))) as index:
        index.execute("DELETE FROM part_match")
        index.execute("UPDATE picture SET parted = 0")
    with closing(apsw.Connection(str(service.state / PROOFS_NAME))) as proofs:
        proofs.execute("DROP TABLE keypoints")
    with service:
        until(lambda: len(service.ask("clusters", also="cropped")["clusters"]) == 1)
        until(lambda: service.ask("clusters", also="cropped")["complete"])
