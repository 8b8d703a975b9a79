"""The running service: real processes, real files, and the answers of a fresh scan to compare with."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq
from PIL import Image

from dupwatch import wire
from dupwatch.client import Client
from dupwatch.errors import RequestFailedError
from tests.conftest import WITH_PLAIN_RIGHTS, encoded, photo_like
from tests.system.in_process import scan
from tests.system.service import Listener, Service, as_scanned, scanned, until
from tests.system.test_scan import run


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


# ---- answers are those of a fresh scan, whatever happened


def slowly(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        for start in range(0, len(data), len(data) // 10):
            file.write(data[start : start + len(data) // 10])
            file.flush()
            time.sleep(0.1)


def burst(root: Path) -> None:
    for place in range(150):
        (root / f"burst {place % 3}").mkdir(exist_ok=True)
        (root / f"burst {place % 3}" / f"{place}.jpg").write_bytes(encoded(photo_like(place % 100, 64, 48)))


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


def move_deeper(root: Path) -> None:
    (root / "x").mkdir()
    (root / "phone").rename(root / "x" / "phone")


CHANGES: dict[str, Callable[[Path], object]] = {
    "copy": lambda root: shutil.copy(root / "9.jpg", root / "phone" / "9 again.jpg"),
    "overwrite": lambda root: (root / "8.jpg").write_bytes(picture(9)),
    "overwrite slowly": lambda root: slowly(root / "8.jpg", picture(9, 480, 360)),
    "rename": lambda root: (root / "0.jpg").rename(root / "zero.jpg"),
    "rename to what is no picture": lambda root: (root / "0.jpg").rename(root / "zero.txt"),
    "move a tree in": come_in,
    "move a tree out": go_out,
    "move a tree": lambda root: (root / "phone").rename(root / "fax"),
    "move a tree deeper": move_deeper,
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


# Each change is there once. Those of a row follow each other under one service; the last takes away what others need.
ROWS = [
    ("copy", "overwrite", "overwrite slowly", "rename", "move a tree"),
    ("hard link", "deep folders at once", "move a tree in", "rename to what is no picture", "move a tree out"),
    ("burst", "back and forth", "swap", "break", "move a tree deeper"),
    ("replace by rename", "delete", "delete a tree"),
]


def test_each_change_is_tried_once() -> None:
    assert sorted(change for row in ROWS for change in row) == sorted(CHANGES)


@pytest.mark.parametrize("row", ROWS, ids=", ".join)
def test_answers_are_those_of_a_fresh_scan_after(
    row: tuple[str, ...], service: Service, root: Path, tmp_path: Path
) -> None:
    service.settled()
    for change in row:
        CHANGES[change](root)
        service.settled()
        assert as_scanned(service.clusters()) == scanned(tmp_path / f"state after {change}", root), change


# ---- events


def test_events_tell_what_happened(service: Service, root: Path, tmp_path: Path) -> None:
    service.settled()
    listener = Listener(service.endpoint)
    new, moved = (os.fsencode(root / name) for name in ("new.jpg", "moved.jpg"))
    zero = os.fsencode(root / "0.jpg")
    turned = np.rot90(np.asarray(Image.fromarray(photo_like(77, 160, 120)).resize((120, 90)))).copy()
    (root / "new.jpg").write_bytes(picture(77))
    until(lambda: listener.has("indexed", path=new, bytes=os.path.getsize(new), width=160, height=120))
    (root / "turned.jpg").write_bytes(encoded(turned))
    turned_path = os.fsencode(root / "turned.jpg")
    until(lambda: listener.has("matched", path=turned_path, other=new, turn=90, mirrored=False))
    shutil.copy(root / "new.jpg", root / "same.jpg")
    same = os.fsencode(root / "same.jpg")
    until(lambda: listener.has("matched", path=same, mse=0.0, structure=0.0, turn=0))
    assert listener.has("indexed", path=same, width=160, height=120)
    (root / "0.jpg").rename(root / "moved.jpg")
    until(lambda: listener.has("moved", path=moved, **{"from": zero}))
    (root / "moved.jpg").unlink()
    until(lambda: listener.has("removed", path=moved))
    for name in ("broken.jpg", "broken too.jpg", "no picture.jpg"):
        (root / name).write_bytes(b"only text" if name.startswith("no") else b"\xff\xd8\xff broken")
        until(lambda name=name: listener.has("failed", path=os.fsencode(root / name)))  # type: ignore[misc]
    failed = {one["path"] for one in service.ask("failed")["failed"]}
    assert failed == {event["path"] for topic, event in listener.events if topic == "failed"}
    assert not listener.has("removed", path=zero)
    (root / "phone").rename(root / "fax")
    for seed in range(4):
        there, back = (os.fsencode(root / name / f"{seed} small.jpg") for name in ("fax", "phone"))
        until(lambda there=there, back=back: listener.has("moved", path=there, **{"from": back}))  # type: ignore[misc]


def test_black_pictures_are_no_match(service: Service, root: Path) -> None:
    service.settled()
    listener = Listener(service.endpoint)
    for side in (100, 120):
        (root / f"black {side}.png").write_bytes(encoded(np.zeros((side, side, 3), np.uint8), "PNG"))
        service.settled()
    shutil.copy(root / "black 100.png", root / "black again.png")
    until(lambda: listener.has("matched", path=os.fsencode(root / "black again.png")))
    assert listener.count("matched") == 1
    assert listener.count("indexed") == 3


# ---- roots that come and go


def test_a_root_that_vanishes_is_not_forgotten_and_not_shown(tmp_path: Path) -> None:
    here, away = library(tmp_path / "here"), library(tmp_path / "away")
    hidden = tmp_path / "hidden"
    with Service(tmp_path / "s", here, away) as service:
        service.settled()
        before = as_scanned(service.clusters())
        listener = Listener(service.endpoint)
        away.rename(hidden)
        assert not any(b"/away/" in file["path"] for one in service.clusters() for file in one["files"])
        until(lambda: sorted(service.root_states()) == ["offline", "online"])
        service.settled()
        assert as_scanned(service.clusters()) == scanned(tmp_path / "state", here)
        assert service.ask("status")["files"] == 28
        hidden.rename(away)
        until(lambda: service.root_states() == ["online", "online"])
        service.settled()
        assert as_scanned(service.clusters()) == before
        # nothing of it is read again
        assert (listener.count("removed"), listener.count("indexed")) == (0, 0)


def test_a_root_that_is_away_at_the_start_comes_by_itself(tmp_path: Path) -> None:
    here, away = library(tmp_path / "here"), library(tmp_path / "away")
    with Service(tmp_path / "s", here, away) as service:
        service.settled()
        before = as_scanned(service.clusters())
        service.stop()
        away.rename(tmp_path / "hidden")
        away.mkdir()  # as an empty mount point
        service.start()
        until(service.answers)
        service.settled()
        assert sorted(service.root_states()) == ["offline", "online"]
        assert as_scanned(service.clusters()) == scanned(tmp_path / "state", here)
        away.rmdir()
        (tmp_path / "hidden").rename(away)
        until(lambda: service.root_states() == ["online", "online"])
        service.settled()
        assert as_scanned(service.clusters()) == before


def test_files_not_read_when_their_disk_went_are_read_when_it_is_back(tmp_path: Path) -> None:
    here, away = library(tmp_path / "here"), library(tmp_path / "away")
    with Service(tmp_path / "s", here, away) as service:
        service.settled()
        service.ask("pause")
        service.stop()
    (away / "new.jpg").write_bytes(picture(3))
    # the walk sees a file, and when it is to be read its disk is gone
    import apsw

    database = apsw.Connection(str(service.state / "dupwatch.sqlite"))
    database.execute("UPDATE file SET pending = 1, content_id = NULL")
    database.close()
    away.rename(tmp_path / "hidden")
    with Service(tmp_path / "s", here, away) as service:
        service.settled()
        (tmp_path / "hidden").rename(away)
        until(lambda: service.root_states() == ["online", "online"])
        service.settled()
        assert as_scanned(service.clusters()) == scanned(tmp_path / "state", here, away)


def test_a_root_that_was_emptied_and_is_used_again_holds_what_lies_in_it(tmp_path: Path) -> None:
    root = library(tmp_path / "root")
    with Service(tmp_path / "s", root) as service:
        service.settled()
        for path in root.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        until(lambda: service.root_states() == ["offline"])
        service.settled()
        assert service.clusters() == []
        (root / "one.jpg").write_bytes(picture(1))
        (root / "same.jpg").write_bytes(picture(1))
        until(lambda: service.ask("status")["files"] == 2)
        service.settled()
        assert service.root_states() == ["online"]
        assert as_scanned(service.clusters()) == scanned(tmp_path / "state", root)


def test_half_of_a_root_is_forgotten_only_after_a_second_look(tmp_path: Path) -> None:
    root = library(tmp_path / "root")
    with Service(tmp_path / "s", root) as service:
        service.settled()
        gone = [root / f"{seed}.jpg" for seed in range(10)]
        for path in gone:
            path.unlink()
        assert not service.shown() & {path.name for path in gone}
        service.settled()
        assert "much of" in service.lines()
        assert service.ask("status")["files"] == 4
        assert as_scanned(service.clusters()) == scanned(tmp_path / "state", root)


def test_files_that_go_in_a_pause_are_not_shown(service: Service, root: Path) -> None:
    service.settled()
    assert "0 small.jpg" in service.shown()
    service.ask("pause")
    try:
        (root / "phone" / "0 small.jpg").unlink()
        assert "0.jpg" not in service.shown()
    finally:
        service.ask("resume")


def test_pictures_joined_through_one_that_is_gone_find_each_other(service: Service, root: Path, tmp_path: Path) -> None:
    wide = photo_like(99, 1200, 300)
    for place in range(12):
        (root / f"chain {place:02d}.png").write_bytes(encoded(wide[:, place * 4 : place * 4 + 400].copy(), "PNG"))
    service.settled()
    for place in (5, 6, 2, 9):
        (root / f"chain {place:02d}.png").unlink()
    service.settled()
    assert as_scanned(service.clusters()) == scanned(tmp_path / "state", root)


# ---- stopped and started


def many(root: Path, count: int = 300) -> Path:
    root.mkdir()
    for place in range(count):
        (root / f"{place}.jpg").write_bytes(encoded(photo_like(place % (count * 2 // 3), 160, 120)))
    return root


def ends_in(service: Service, expected: list[dict[str, object]]) -> None:
    with service:
        service.settled()
        assert as_scanned(service.clusters()) == expected
        service.stop()


def test_ended_at_any_moment_the_next_start_ends_in_the_same_answer(tmp_path: Path) -> None:
    """A stop and a kill, one followed by a scan, the other by another start; tests/long tries a hundred kills."""
    root = many(tmp_path / "root", 60)
    expected = scanned(tmp_path / "undisturbed", root)
    random = np.random.default_rng()
    kinds = [True, False]
    random.shuffle(kinds)
    for is_killed, is_scanned in zip((False, True), kinds, strict=True):
        service = Service(tmp_path / f"killed {is_killed}", root).start()
        until(lambda service=service: service.log.exists() and "serving" in service.lines())  # type: ignore[misc]
        time.sleep(random.uniform(0, 1.5))
        if is_killed:
            service.kill()
        else:
            service.stop()
            assert "Traceback" not in service.lines()
        if is_scanned:
            assert scanned(service.state, root) == expected
        else:
            ends_in(service, expected)


def test_a_stop_while_it_rests_or_is_paused_is_prompt(tmp_path: Path) -> None:
    service = Service(tmp_path / "s", library(tmp_path / "root"))
    for pause in (False, True):
        with service:
            service.settled()
            if pause:
                service.ask("pause")
                assert service.ask("status")["state"] == "paused"
            service.stop(signal.SIGINT if pause else signal.SIGTERM, within_seconds=5)
    assert "middle" not in service.lines()


def test_what_may_go_is_known_once_the_service_had_nothing_else_to_do(
    service: Service, root: Path, tmp_path: Path
) -> None:
    def going(clusters: list[dict[str, Any]]) -> dict[str, bool]:
        return {os.fsdecode(file["path"]): file["may_go"] for one in clusters for file in one["files"]}

    large = photo_like(70, 480, 360)  # of the others the copies are too small to tell
    (root / "large.jpg").write_bytes(encoded(large))
    (root / "large copy.jpg").write_bytes(encoded(large, quality=85))
    expected = going(scan("--confirm", root, state=tmp_path / "state")["clusters"])
    assert [os.path.basename(path) for path, goes in expected.items() if goes] == ["large copy.jpg"]
    until(lambda: going(service.clusters()) == expected)


# ---- asked about pictures


def names(files: list[dict[str, object]]) -> set[str]:
    return {os.path.basename(os.fsdecode(file["path"])) for file in files}  # type: ignore[arg-type]


def test_pictures_are_found_by_what_is_sent_of_them(service: Service, root: Path, tmp_path: Path) -> None:
    shown = photo_like(3, 160, 120)
    Image.fromarray(photo_like(50, 160, 120)).save(root / "fifty.tga")
    service.settled()
    asked = tmp_path / "asked"
    asked.mkdir()
    (asked / "3.png").write_bytes(encoded(shown, "PNG"))
    (asked / "large.bmp").write_bytes(encoded(np.repeat(np.repeat(shown, 7, 0), 7, 1), "BMP"))
    assert (asked / "large.bmp").stat().st_size > 2 * wire.PIECE_BYTES_MAX
    Image.fromarray(photo_like(50, 160, 120)).save(asked / "fifty.TGA")
    (asked / "new.jpg").write_bytes(picture(99))
    assert names(service.find(asked / "3.png")) == {"3.jpg", "3 small.jpg"}
    assert names(service.find(asked / "large.bmp")) == {"3.jpg", "3 small.jpg"}
    assert names(service.find(asked / "fifty.TGA")) == {"fifty.tga"}  # nothing in the bytes tells what it is
    assert service.find(asked / "new.jpg") == []
    found = {os.path.basename(os.fsdecode(one["path"])): one for one in service.find(asked / "large.bmp")}
    assert {name: one["verdict"] for name, one in found.items()} == {"3.jpg": "same", "3 small.jpg": "same"}
    assert {(one["lacks"], one["as_good"]) for one in found.values()} == {("smaller", False)}
    (asked / "again.jpg").write_bytes((root / "3.jpg").read_bytes())
    best = service.find(asked / "again.jpg")[0]
    assert (best["verdict"], best["as_good"], os.path.basename(best["path"])) == ("identical", True, b"3.jpg")
    (root / "3.jpg").unlink()
    assert names(service.find(asked / "3.png")) == {"3 small.jpg"}  # whether the change was noticed already or not
    for data in (b"only text", b""):
        with pytest.raises(RequestFailedError) as refused:
            service.ask("find", data=data)
        assert refused.value.code == "not_a_picture"
    assert os.listdir(service.state / "uploads") == []


def test_a_service_that_was_killed_leaves_nothing_of_what_was_sent(tmp_path: Path) -> None:
    with Service(tmp_path / "s", library(tmp_path / "root")) as service:
        service.settled()
        service.ask("send", offset=0, size=wire.PIECE_BYTES_MAX + 1, data=b"x" * wire.PIECE_BYTES_MAX)
        assert len(os.listdir(service.state / "uploads")) == 1
        service.kill()
        service.start()
        until(service.answers)
        assert os.listdir(service.state / "uploads") == []
        assert names(service.find(tmp_path / "root" / "0.jpg")) == {"0.jpg", "0 small.jpg"}


def test_many_slow_finds_of_a_client_that_leaves_hold_nobody_up(service: Service, root: Path, tmp_path: Path) -> None:
    service.settled()
    large = encoded(np.zeros((12_000, 12_000, 3), np.uint8), "PNG", compress_level=6)
    assert len(large) < wire.PIECE_BYTES_MAX
    began = time.monotonic()
    service.ask("find", data=large, timeout_seconds=60)
    decoding_seconds = time.monotonic() - began
    with zmq.Context() as context, context.socket(zmq.DEALER) as leaves:
        leaves.linger = 0
        leaves.connect(service.endpoint)
        for number in range(16):
            leaves.send_multipart([b"", *wire.encode_request(number, "find", {"data": large})])
        began = time.monotonic()
        until(lambda: len(os.listdir(service.state / "uploads")) == 1)
        assert service.ask("failed", timeout_seconds=15)["total"] == 0
        assert service.clusters()
        assert time.monotonic() - began < 16 * decoding_seconds
    assert names(service.find(root / "0.jpg")) == {"0.jpg", "0 small.jpg"}
    assert time.monotonic() - began < 16 * decoding_seconds
    until(lambda: os.listdir(service.state / "uploads") == [])


def test_clients_that_wait_and_leave_cost_no_thread_and_hold_nobody_up(tmp_path: Path) -> None:
    root = library(tmp_path / "root")
    with Service(tmp_path / "s", root) as service:

        def threads() -> int:
            return len(os.listdir(f"/proc/{service.process.pid}/task"))

        service.settled()
        service.ask("pause")
        shutil.copy(root / "9.jpg", root / "9 again.jpg")
        until(lambda: service.ask("status")["pending"] > 0)
        before = threads()
        with zmq.Context() as context:
            for _ in range(80):
                with context.socket(zmq.DEALER) as leaves:
                    leaves.linger = 0
                    leaves.rcvtimeo = 20_000
                    leaves.connect(service.endpoint)
                    for number in range(15):
                        leaves.send_multipart([b"", *wire.encode_request(number, "wait", {})])
                    leaves.send_multipart([b"", *wire.encode_request(99, "version", {})])
                    leaves.recv_multipart()
            assert threads() <= before
            assert not service.ask("wait", timeout=0)["idle"]
        service.ask("resume")
        service.settled()


def test_folders_to_be_looked_through_without_end_keep_nobody_waiting(tmp_path: Path) -> None:
    root = library(tmp_path / "root")
    over = threading.Event()

    def ask_for_ever(endpoint: str) -> int:
        refused = 0
        with Client(endpoint) as client:
            for number in itertools.count():
                if over.is_set():
                    return refused
                try:
                    client.request("rescan", dir=b"%s/%d" % (os.fsencode(root), number))
                except RequestFailedError as error:
                    refused += error.code == "busy"
        raise AssertionError

    with Service(tmp_path / "s", root) as service, ThreadPoolExecutor(1) as other:
        service.settled()
        asked = other.submit(ask_for_ever, service.endpoint)
        try:
            time.sleep(1)  # by then there was time for hundreds
            assert service.ask("wait", timeout=40)["idle"]
        finally:
            over.set()
        assert asked.result() > 0


# ---- how complete an answer is


def test_an_answer_that_is_not_complete_says_so(tmp_path: Path) -> None:
    here, away = library(tmp_path / "here"), library(tmp_path / "away")
    with Service(tmp_path / "s", here, away) as service:
        service.settled()
        for answer in (service.ask("clusters"), service.ask("failed"), service.ask("find", data=picture(1))):
            assert (answer["complete"], answer["pending"], answer["incomplete_because"]) == (True, 0, [])
        service.ask("pause")
        shutil.copy(here / "9.jpg", here / "9 again.jpg")
        until(lambda: service.ask("status")["pending"] > 0)
        answer = service.ask("clusters")
        assert not answer["complete"]
        assert answer["pending"] == service.ask("status")["pending"] == service.ask("wait", timeout=0)["pending"]
        assert any("not read yet" in line for line in answer["incomplete_because"])
        service.ask("resume")
        away.rename(tmp_path / "hidden")
        until(lambda: sorted(service.root_states()) == ["offline", "online"])
        service.settled()
        assert service.ask("failed")["incomplete_because"] == [f"{away} is offline"]


def test_what_is_no_root_any_more_is_in_no_answer_and_named(tmp_path: Path) -> None:
    stays, goes = library(tmp_path / "stays"), library(tmp_path / "goes")
    config = tmp_path / "dupwatch.toml"
    config.write_text(f'roots = ["{stays}", "{goes}"]')
    (goes / "only here.jpg").write_bytes(picture(30))
    with Service(tmp_path / "s", config=config) as service:
        service.settled()
        assert len(service.find(stays / "0.jpg")) == 4
        config.write_text(f'roots = ["{stays}"]')
        service.process.send_signal(signal.SIGHUP)
        until(lambda: service.root_states() == ["online"])
        service.settled()
        assert as_scanned(service.clusters()) == scanned(tmp_path / "state", stays)
        assert {os.path.dirname(copy["path"]) for copy in service.find(stays / "0.jpg")} == {
            os.fsencode(stays), os.fsencode(stays / "phone"),
        }  # fmt: skip
        [line] = service.ask("status")["problems"]
        assert f"{goes} is not among the roots any more" in line
        assert f"`dupwatchd forget {goes}`" in line
        listener = Listener(service.endpoint)
        (stays / "new small.jpg").write_bytes(smaller(30))
        until(lambda: listener.has("indexed", path=os.fsencode(stays / "new small.jpg")))
        (stays / "new.jpg").write_bytes(picture(30))
        until(lambda: listener.has("matched", path=os.fsencode(stays / "new.jpg")))
        others = [fields["other"] for topic, fields in listener.events if topic == "matched"]
        assert others == [os.fsencode(stays / "new small.jpg")]


def test_a_file_that_may_be_read_from_now_on_is_read(tmp_path: Path) -> None:
    root = library(tmp_path / "root")
    (root / "late.jpg").write_bytes(picture(40))
    (root / "late.jpg").chmod(0)
    with Service(tmp_path / "s", root, before=WITH_PLAIN_RIGHTS) as service:
        service.settled()
        assert service.ask("status")["failed"] == 1
        (root / "late.jpg").chmod(0o644)
        until(lambda: service.ask("status")["failed"] == 0)
        service.settled()
        assert [copy["path"] for copy in service.find(root / "late.jpg")] == [os.fsencode(root / "late.jpg")]


# ---- told what to do


def used_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_in_a_pause_nothing_is_read_and_nothing_is_forgotten(service: Service, root: Path, tmp_path: Path) -> None:
    service.settled()
    assert service.ask("pause")["state"] == "paused"
    shutil.copy(root / "9.jpg", root / "9 again.jpg")
    until(lambda: service.ask("status")["pending"] > 0)
    time.sleep(0.3)
    before = used_seconds(service.process.pid)
    waited = service.ask("wait", timeout=1)
    assert used_seconds(service.process.pid) - before < 0.5
    assert (waited["idle"], waited["pending"]) == (False, 1)
    assert "9 again.jpg" not in service.shown()
    service.ask("resume")
    service.settled()
    assert as_scanned(service.clusters()) == scanned(tmp_path / "state", root)


def test_a_pause_in_the_middle_of_the_work_stops_it(tmp_path: Path) -> None:
    root = many(tmp_path / "root", 400)
    with Service(tmp_path / "s", root, DUPWATCH_INDEX__WORKERS="1") as service:

        def rests_with_work_left() -> bool:
            pending, used = service.ask("status")["pending"], used_seconds(service.process.pid)
            waited = service.ask("wait", timeout=1)
            assert not waited["idle"]
            assert pending > 0
            return waited["pending"] == pending and used_seconds(service.process.pid) - used < 0.5

        until(lambda: service.ask("status")["state"] == "indexing")
        service.ask("pause")
        until(rests_with_work_left)  # not at once: the files in work are finished and committed
        service.ask("resume")
        service.settled()
        assert as_scanned(service.clusters()) == scanned(tmp_path / "state", root)


def test_a_folder_is_looked_through_when_asked(service: Service, root: Path, tmp_path: Path) -> None:
    service.settled()
    listener = Listener(service.endpoint)
    (root / ".thumbnails").mkdir()
    (root / ".thumbnails" / "0.jpg").write_bytes(picture(0))
    outside = tmp_path / "outside"
    library(outside)
    (root / "link").symlink_to(outside)
    for folder in (root / "link", root.parent / ".." / outside.name, tmp_path):
        with pytest.raises(RequestFailedError, match="no root"):
            service.ask("rescan", dir=os.fsencode(folder))
    for asked in (root / "phone", root / ".thumbnails", root / "not there", root / "0.jpg"):
        service.ask("rescan", dir=os.fsencode(asked))
    service.ask("rescan")
    service.settled()
    assert listener.events == []
    assert as_scanned(service.clusters()) == scanned(tmp_path / "state", root)


def test_settings_are_taken_up_and_wrong_ones_are_not(tmp_path: Path) -> None:
    one, two = library(tmp_path / "one"), library(tmp_path / "two")
    config = tmp_path / "dupwatch.toml"
    config.write_text(f'roots = ["{one}"]')
    with Service(tmp_path / "s", config=config) as service:
        service.settled()
        until(lambda: "up to date" in service.lines())  # that is said once, up to a second later
        for wrong in ("roots = [", "roots = []", "nonsense = 1"):
            before = len(service.lines().splitlines())
            config.write_text(wrong)
            service.process.send_signal(signal.SIGHUP)
            until(lambda before=before: len(service.lines().splitlines()) > before)  # type: ignore[misc]
            time.sleep(0.1)
            [line] = service.lines().splitlines()[before:]
            assert "settings are left as they were" in line
        assert service.root_states() == ["online"]
        config.write_text(f'roots = ["{one}", "{two}"]\n[index]\nworkers = 1')
        service.process.send_signal(signal.SIGHUP)
        until(lambda: "only a restart takes up: index.workers" in service.lines())
        until(lambda: service.root_states() == ["online", "online"])
        service.settled()
        assert as_scanned(service.clusters()) == scanned(tmp_path / "state", one, two)
        shutil.copy(one / "9.jpg", two / "9 again.jpg")
        service.settled()
        assert "9 again.jpg" in service.shown()


def test_how_plans_are_made_is_taken_up(tmp_path: Path) -> None:
    root = library(tmp_path / "root")
    shutil.copy(root / "5.jpg", root / "phone/5 again.jpg")
    config = tmp_path / "dupwatch.toml"
    config.write_text(f'roots = ["{root}"]')
    with Service(tmp_path / "s", config=config) as service:

        def told(text: str) -> str:
            before = len(service.lines())
            config.write_text(f'roots = ["{root}"]\n[plan]\n{text}\n')
            service.process.send_signal(signal.SIGHUP)
            until(lambda: service.lines()[before:].count("\n") > 0)
            return service.lines()[before:]

        def going() -> set[bytes]:
            marked = {file["path"] for one in service.clusters() for file in one["files"] if file["may_go"]}
            groups = service.ask("plan")["groups"]
            assert marked == {file["path"] for group in groups for file in group["files"] if file["goes"]}
            return marked

        service.settled()
        until(lambda: "up to date" in service.lines())
        until(lambda: service.ask("status")["to_confirm"] == 0)  # or a closer look lets more go between two answers
        before, revision = going(), service.ask("plan")["revision"]
        assert any(b"/phone/" in path for path in before)
        assert "taken up: plan.protect" in told(f'protect = ["{root}/phone"]')
        assert not any(b"/phone/" in path for path in going())
        assert service.ask("plan")["revision"] > revision
        assert "keep rule 'best first'" in told('keep = ["best first"]')
        assert not any(b"/phone/" in path for path in going())
        assert "taken up: plan.protect" in told("")
        assert going() == before


def test_outside_its_hours_it_answers_and_reads_nothing(tmp_path: Path) -> None:
    root = library(tmp_path / "root")
    with Service(tmp_path / "s", root) as service:
        service.settled()
        before = as_scanned(service.clusters())
        service.stop()
    now = datetime.now()
    window = f"{now + timedelta(hours=2):%H:%M}-{now + timedelta(hours=3):%H:%M}"
    with Service(tmp_path / "s", root, DUPWATCH_INDEX__LOAD_WINDOW=window) as service:
        until(lambda: service.ask("status")["state"] == "paused")
        assert as_scanned(service.clusters()) == before
        assert names(service.find(root / "0.jpg")) == {"0.jpg", "0 small.jpg"}


def refused(*arguments: object, state: Path) -> tuple[int, str]:
    done = run("run", *arguments, state=state)
    [line] = done.stderr.decode().splitlines()
    return done.returncode, line


def test_what_cannot_start_says_so_in_one_line(service: Service, tmp_path: Path) -> None:
    root, endpoint = tmp_path, f"ipc://{tmp_path}/s"
    config = tmp_path / "dupwatch.toml"
    config.write_text("[watch]\nsettle_second = 1")
    status, line = refused("--config", config, "--root", root, state=tmp_path / "state")
    assert (status, "watch.settle_seconds" in line) == (2, True)
    status, line = refused("--endpoint", endpoint, "--root", root, state=service.state)
    assert (status, "is in use by process" in line) == (1, True)
    status, line = refused("--endpoint", service.endpoint, "--root", root, state=tmp_path / "state")
    assert status in (1, 2)
    status, line = refused(state=tmp_path / "state")
    assert (status, "nothing to watch" in line) == (2, True)


# ---- many clients, strange files


def test_all_are_answered_while_photos_are_read(tmp_path: Path) -> None:
    root = many(tmp_path / "root", 200)
    asked = (root / "3.jpg").read_bytes()

    started = Service(tmp_path / "s", root)

    def ask(number: int) -> int:
        with Client(started.endpoint, timeout_seconds=30) as client:
            for _ in range(5):
                client.request("status")
                client.request("clusters", limit=50)
                if number % 4 == 0:
                    client.request("find", data=asked)
        return number

    with started as service, ThreadPoolExecutor(20) as clients:
        assert list(clients.map(ask, range(20))) == list(range(20))
        service.settled()
        assert as_scanned(service.clusters()) == scanned(tmp_path / "state", root)
        assert "Traceback" not in service.lines()


def test_names_that_are_no_text_come_back_as_they_are(service: Service, root: Path) -> None:
    service.settled()
    listener = Listener(service.endpoint)
    folder = os.path.join(os.fsencode(root), b"\xff\x1b[31m")
    os.mkdir(folder)
    strange = [os.path.join(folder, name) for name in (b"a\nb.jpg", b"\xfe\x1b]0;x\x07.jpg")]
    for path in strange:
        Path(os.fsdecode(path)).write_bytes(picture(50))
    service.settled()
    assert {file["path"] for one in service.clusters(under=folder) for file in one["files"]} == set(strange)
    until(lambda: all(listener.has("indexed", path=path) for path in strange))
    assert service.ask("rescan", dir=folder) == {}
    for command in (["status"], ["clusters"], ["clusters", "--json"]):
        done = subprocess.run(
            [sys.executable, "-m", "dupwatch", "--endpoint", service.endpoint, *command], capture_output=True
        )
        assert (done.returncode, b"\x1b" in done.stdout) == (0, False), done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to mount")
def test_a_disk_that_cannot_be_written_and_goes_away(tmp_path: Path) -> None:
    root = tmp_path / "disk"
    root.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "none", root], capture_output=True).returncode:
        pytest.skip("may not mount")
    try:
        library(root / "photos")
        subprocess.run(["mount", "-o", "remount,ro", root], check=True)
        with Service(tmp_path / "s", root) as service:
            service.settled()
            assert as_scanned(service.clusters()) == scanned(tmp_path / "state", root)
            subprocess.run(["umount", root], check=True)
            until(lambda: service.root_states() == ["offline"])
            service.settled()
            assert (service.clusters(), service.ask("status")["files"]) == ([], 14)
    finally:
        subprocess.run(["umount", root], capture_output=True)
