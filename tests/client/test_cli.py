"""The real `dupwatch` command against a real server: what people and scripts see, and the exit status."""

import fcntl
import functools
import io
import json
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from rich.cells import cell_len

from dupwatch.__main__ import main
from dupwatch.act import asking
from dupwatch.act.asking import wait_for_close_looks
from dupwatch.cli import cli
from dupwatch.client import Client
from dupwatch.progress import Bars
from dupwatch.show import found_lines, human_seconds
from dupwatch.terminal import page_on
from dupwatchd.serve.request_queue import RequestError
from dupwatchd.serve.server import Server
from tests.client.small_service import FILE_BYTES_MAX, KNOWN, ODD, SMALLER, SmallService, make_clusters, make_file
from tests.conftest import WITH_PLAIN_RIGHTS
from tests.system.in_process import called

COMMAND = [sys.executable, "-m", "dupwatch"]
ODD_TEXT = os.fsdecode(ODD)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="dw", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    running = Server(f"{folder}/query.sock", {})
    running.start()
    yield running
    running.stop()


@pytest.fixture
def service(server: Server) -> SmallService:
    """Fresh answers behind the one server."""
    fresh = SmallService()
    server._request_queue._handlers = fresh.handlers()
    return fresh


@pytest.fixture
def environment(server: Server) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DUPWATCH", "XDG_", "COLUMNS"))}
    return {**kept, "DUPWATCH_ENDPOINT": server.endpoint, "PYTHONUTF8": "1"}


@pytest.fixture
def dupwatch(service: SmallService, environment: dict[str, str]) -> Callable[..., "subprocess.CompletedProcess[bytes]"]:
    def call(*arguments: object, **options: Any) -> "subprocess.CompletedProcess[bytes]":
        words = [argument if isinstance(argument, bytes) else str(argument) for argument in arguments]
        options.setdefault("env", environment)
        return subprocess.run([*COMMAND, *words], capture_output=True, timeout=30, check=False, **options)

    return call


Dupwatch = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def dupwatch_here(service: SmallService, server: Server) -> Dupwatch:
    """The command in this process, for what ends before it does anything: else its start is all that it takes."""
    return functools.partial(called, main, DUPWATCH_ENDPOINT=server.endpoint)


def test_status_tells_everything_to_people_and_to_programs(dupwatch: Dupwatch) -> None:
    shown = dupwatch("status")
    assert (shown.returncode, shown.stderr) == (0, b"")
    assert shown.stdout.decode().splitlines() == [
        "idle · 6 files · 5 pictures · 4 matches · 2 failed · 2 pending",
        "indexing 250/1,000 files (25 %) · 12 files/s · 1 min left",
        "  online   /srv/photos",
        "  offline  /srv/caf\\xe9",
        "! part of the folders is not watched",
    ]
    document = json.loads(dupwatch("status", "--json").stdout)
    assert {"state", "files", "failed", "pending", "pictures", "matches", "roots"} <= set(document)
    assert document["roots"][1] == {"path": "/srv/caf\udce9", "state": "offline"}


def test_clusters_come_in_all_forms_of_scan(dupwatch: Dupwatch) -> None:
    document = json.loads(dupwatch("clusters", "--json").stdout)
    assert set(document) == {
        "measure", "threshold", "verdicts", "also", "complete", "pending", "incomplete_because", "total_clusters",
        "reclaimable_at_most", "clusters", "failed",
    }  # fmt: skip
    assert (document["measure"], document["threshold"], document["total_clusters"]) == ("structure", 0.02, 3)
    assert set(document["clusters"][0]) == {"id", "reclaimable_bytes", "files"}
    assert document["clusters"][0]["files"][0]["path"] == ODD_TEXT
    assert [one["path"] for one in document["failed"]] == ["/srv/photos/broken.jpg", ODD_TEXT]
    table = dupwatch("clusters").stdout
    assert b"3 groups" in table
    assert b"\x1b" not in table
    assert ODD in dupwatch("clusters", "--print0").stdout.split(b"\0")
    assert dupwatch("clusters", "--print0", "--spare").stdout == b""  # nobody can tell what lies beside them
    assert b"3 held back" in table
    assert "cannot be listed" in document["clusters"][0]["files"][1]["held_back"]
    assert {cluster["reclaimable_bytes"] for cluster in document["clusters"]} == {0}
    assert ODD in dupwatch("clusters", "--csv").stdout


def test_the_question_is_handed_on(dupwatch: Dupwatch, service: SmallService, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/srv")
    dupwatch(
        "clusters", "--csv", "--measure", "mse", "--threshold", "0.5", "--mirrored", "--limit", "2", "--offset", "1",
        "--under", tmp_path / "link" / "photos",
    )  # fmt: skip
    assert service.asked == [
        (
            "clusters",
            {"measure": "mse", "threshold": 0.5, "mirrored": True, "limit": 2, "offset": 1, "under": b"/srv/photos"},
        )
    ]


def test_under_keeps_failures_elsewhere_out(dupwatch: Dupwatch) -> None:
    document = json.loads(dupwatch("clusters", "--json", "--under", "/srv/more").stdout)
    assert (document["total_clusters"], document["failed"]) == (3, [])


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], range(2500)),
        (["--limit", "0"], range(0)),
        (["--limit", "7"], range(7)),
        (["--limit", "1500", "--offset", "900"], range(900, 2400)),
        (["--offset", "2490"], range(2490, 2500)),
        (["--offset", "9999"], range(0)),
    ],
)
def test_pages_are_put_together(dupwatch: Dupwatch, service: SmallService, flags: list[str], expected: range) -> None:
    service.clusters = make_clusters(2500)
    document = json.loads(dupwatch("clusters", "--json", *flags).stdout)
    assert [cluster["id"] for cluster in document["clusters"]] == [f"{number:016x}" for number in expected]
    assert document["total_clusters"] == 2500


def test_a_list_that_changes_while_it_is_read_is_read_again(dupwatch: Dupwatch, service: SmallService) -> None:
    service.clusters = make_clusters(1500)
    plain = service.do_clusters

    def changing(args: dict[str, Any]) -> dict[str, Any]:
        if args["offset"] and service.revision == 1:
            service.revision = 2
            service.clusters = make_clusters(1600)[10:]
        return plain(args)

    service.do_clusters = changing  # type: ignore[method-assign]
    document = json.loads(dupwatch("clusters", "--json").stdout)
    assert [cluster["id"] for cluster in document["clusters"]] == [f"{number:016x}" for number in range(10, 1600)]


def test_find_sends_the_bytes_of_each_file_and_no_path(
    dupwatch: Dupwatch, service: SmallService, tmp_path: Path
) -> None:
    known, private, other = tmp_path / "known.jpg", tmp_path / "private.jpg", tmp_path / "other.jpg"
    known.write_bytes(KNOWN)
    private.write_bytes(KNOWN)
    other.write_bytes(b"something else")
    done = dupwatch("find", "--json", "known.jpg", private, other, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, b"")
    files = json.loads(done.stdout)["files"]
    assert [(file["path"], file["known"]) for file in files] == [
        ("known.jpg", True), (str(private), True), (str(other), False),
    ]  # fmt: skip
    assert files[0]["copies"][0]["path"] == ODD_TEXT
    sent = [(do, args["data"], args["suffix"]) for do, args in service.asked]
    assert sent == [("find", data, ".jpg") for data in (KNOWN, KNOWN, b"something else")]
    shown = dupwatch("find", known, other).stdout.decode()
    assert "1 known" in shown
    assert "other.jpg: not known" in shown
    assert "\x1b" not in shown


def test_find_that_knows_none_ends_with_4(dupwatch: Dupwatch, tmp_path: Path) -> None:
    (tmp_path / "b.jpg").write_bytes(b"else")
    assert dupwatch("find", tmp_path / "b.jpg").returncode == 4


@pytest.mark.parametrize(
    ("name", "error"),
    [("private gone.jpg", "No such file"), ("private pipe", "not a file"),
     ("private.txt", "not a picture"), ("private large", "larger than")],
)  # fmt: skip
def test_a_file_that_cannot_be_looked_for_is_told_and_the_others_go_on(
    dupwatch: Dupwatch, tmp_path: Path, name: str, error: str
) -> None:
    (tmp_path / "known.jpg").write_bytes(KNOWN)
    os.mkfifo(tmp_path / "private pipe")
    (tmp_path / "private.txt").write_bytes(b"text")
    with open(tmp_path / "private large", "wb") as sparse:
        sparse.truncate(FILE_BYTES_MAX + 1)
    done = dupwatch("find", "--json", tmp_path / name, tmp_path / "known.jpg")
    assert done.returncode == 1
    first, second = json.loads(done.stdout)["files"]
    assert error in first["error"]
    assert second["known"]


def test_find_takes_folders_and_lists_and_sums_up(dupwatch: Dupwatch, tmp_path: Path) -> None:
    below = tmp_path / "card" / "DCIM"
    below.mkdir(parents=True)
    (below / "KNOWN.JPG").write_bytes(KNOWN)
    (below / "new.heic").write_bytes(b"else")
    (below / "broken.tif.1").write_bytes(b"text")
    (below / "notes.txt").write_bytes(KNOWN)
    (below / "link.jpg").symlink_to(below / "KNOWN.JPG")
    (below / "up").symlink_to(tmp_path)
    names = ["KNOWN.JPG", "broken.tif.1", "new.heic"]
    by_folder = dupwatch("find", "--json", tmp_path / "card")
    files = json.loads(by_folder.stdout)["files"]
    assert [os.path.basename(file["path"]) for file in files] == names
    assert ["error" in file for file in files] == [False, True, False]
    odd = os.fsencode(below) + b"/a\nb.jpg"
    with open(odd, "wb") as file:
        file.write(KNOWN)
    lines = b"".join(b"%b/%b\n" % (os.fsencode(below), name.encode()) for name in names)
    for listed, known in ((lines, [True, False, False]), (odd + b"\0", [True])):
        answer = json.loads(dupwatch("find", "--json", "-", input=listed).stdout)
        assert [file["known"] for file in answer["files"]] == known
    done = dupwatch("find", tmp_path / "card")
    assert (done.returncode, done.stderr) == (1, b"dupwatch: 2 known, 1 not known, 1 unreadable\n")


def test_a_file_that_may_not_be_read_keeps_no_other_from_being_looked_up(
    service: SmallService, environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "known.jpg").write_bytes(KNOWN)
    (tmp_path / "locked.jpg").write_bytes(KNOWN)
    (tmp_path / "locked.jpg").chmod(0)
    (tmp_path / "locked").mkdir(0)
    asked = ["find", *(str(tmp_path / name) for name in ("locked.jpg", "locked", "known.jpg"))]
    done = subprocess.run([*WITH_PLAIN_RIGHTS, *COMMAND, *asked], capture_output=True, env=environment, check=False)
    assert done.returncode == 1
    assert b"locked.jpg: Permission denied" in done.stdout
    assert b"locked: cannot list it: Permission denied" in done.stdout
    assert b"known.jpg: 1 known" in done.stdout


def test_a_file_of_which_only_a_smaller_copy_is_known_is_not_safe_to_delete(dupwatch: Dupwatch, tmp_path: Path) -> None:
    for name, data, status in (("known", KNOWN, 0), ("smaller", SMALLER, 1), ("new", b"else", 4)):
        (tmp_path / f"{name}.jpg").write_bytes(data)
        assert dupwatch("find", tmp_path / f"{name}.jpg").returncode == status
    done = dupwatch("find", tmp_path)
    summary = b"dupwatch: 1 known, 1 only smaller, of lower quality or with less beside it, 1 not known\n"
    assert (done.returncode, done.stderr) == (1, summary)
    assert b"smaller.jpg: 1 known, none as good" in done.stdout


def test_a_copy_that_is_asked_for_as_well_makes_no_file_safe_to_delete(
    dupwatch: Dupwatch, service: SmallService, tmp_path: Path
) -> None:
    folder = tmp_path / "phone"
    folder.mkdir()
    one, other, elsewhere = folder / "one.jpg", folder / "other.jpg", tmp_path / "elsewhere.jpg"
    for path in (one, other, elsewhere):
        path.write_bytes(KNOWN)
    (tmp_path / "way").symlink_to(folder)
    service.known_as = [os.fsencode(path) for path in (one, other)]
    assert dupwatch("find", one).returncode == 0  # the other one stays
    for asked in (folder, tmp_path / "way"):
        done = dupwatch("find", asked)
        assert done.returncode == 1
        assert done.stderr == b"dupwatch: 0 known, 2 only among the files asked for, 0 not known\n"
    assert b"one.jpg: 2 known, none but what is asked for" in done.stdout
    assert re.search(rb"phone/one.jpg .* this file itself\n  .*phone/other.jpg .* asked for as well\n", done.stdout)
    files = json.loads(dupwatch("find", "--json", folder).stdout)["files"]
    assert [[copy["itself"] for copy in file["copies"]] for file in files] == [[True, False], [False, True]]
    assert not any(copy["as_good"] for file in files for copy in file["copies"])
    service.known_as.append(os.fsencode(elsewhere))
    assert dupwatch("find", folder).returncode == 0


def test_a_folder_that_is_not_there_is_no_mistake_while_its_disk_is_away(
    dupwatch: Dupwatch, service: SmallService
) -> None:
    service.completeness = {"complete": False, "incomplete_because": ["offline"], "pending": 0}
    done = dupwatch("clusters", "--under", b"/srv/caf\xe9/2042")
    assert done.returncode == 0
    assert b"not complete: offline" in done.stderr


@pytest.mark.parametrize("is_on_one_file_system", [True, False])
def test_a_file_seen_through_an_overlay_is_no_copy_of_itself(
    dupwatch: Dupwatch, service: SmallService, tmp_path: Path, *, is_on_one_file_system: bool
) -> None:
    """Of layers on several file systems the device of a file is none that is mounted."""
    for name in ("lower", "over", "seen"):
        (tmp_path / name).mkdir()
    (tmp_path / "lower/photo.jpg").write_bytes(KNOWN)
    layers = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/over/upper,workdir={tmp_path}/over/work"
    try:
        if not is_on_one_file_system:
            _mount("-t", "tmpfs", "tmpfs", tmp_path / "over")
        for name in ("upper", "work"):
            (tmp_path / "over" / name).mkdir()
        _mount("-t", "overlay", "overlay", "-o", layers, tmp_path / "seen")
        service.known_as = [os.fsencode(tmp_path / "lower/photo.jpg")]
        done = dupwatch("find", tmp_path / "seen")
        assert done.returncode == 1
        assert b"may be this file itself" in done.stdout
        shutil.copy2(tmp_path / "lower/photo.jpg", tmp_path / "copy.jpg")  # of one name, size and time
        assert dupwatch("find", tmp_path / "copy.jpg").returncode == 0
    finally:
        for name in ("seen", "over"):
            subprocess.run(["umount", "-l", tmp_path / name], capture_output=True, check=False)


def _mount(*arguments: str | Path) -> None:
    if subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")


def test_disks_that_were_filled_alike_hold_copies(dupwatch: Dupwatch, service: SmallService, tmp_path: Path) -> None:
    """Their files have equal numbers, sizes and times."""
    disks = [tmp_path / "one", tmp_path / "other"]
    try:
        for disk in disks:
            disk.mkdir()
            _mount("-t", "tmpfs", "tmpfs", disk)
            (disk / "photo.jpg").write_bytes(KNOWN)
            os.utime(disk / "photo.jpg", (1_000_000_000, 1_000_000_000))
        assert len({(disk / "photo.jpg").stat().st_ino for disk in disks}) == 1
        service.known_as = [os.fsencode(disks[0] / "photo.jpg")]
        assert dupwatch("find", disks[1]).returncode == 0
    finally:
        for disk in disks:
            subprocess.run(["umount", "-l", disk], capture_output=True, check=False)


def test_also_takes_words_in_lists_and_one_by_one_and_names_the_right_ones(
    dupwatch: Dupwatch, service: SmallService
) -> None:
    done = dupwatch("clusters", "--also", "cropped, similar", "--also", "recoloured", "--json")
    assert json.loads(done.stdout)["verdicts"] == ["identical", "same", "cropped", "similar", "recoloured"]
    assert ("clusters", "cropped,similar,recoloured") in [(do, args.get("also")) for do, args in service.asked]
    wrong = dupwatch("clusters", "--also", "cropped,edited")
    assert wrong.returncode == 2
    assert b"there is no 'edited'; choose from cropped, retouched, recoloured, similar" in wrong.stderr
    assert b"further groups: 2 cropped (--also cropped)" in dupwatch("clusters").stdout


def test_find_explains_its_figures_in_words() -> None:
    copies = [
        make_file(b"/a.jpg", keep=False) | {"verdict": "identical", "as_good": True},
        make_file(b"/b.jpg", keep=False) | {"structure": 0.0, "turn": 90, "lacks": "smaller", "as_good": False},
        make_file(b"/c.jpg", keep=False) | {"lacks": None, "as_good": False},
        make_file(b"/d.jpg", keep=False) | {"verdict": None, "lacks": None, "as_good": False},
        make_file(b"/e.jpg", keep=False) | {"verdict": "cropped", "lacks": None, "as_good": False},
    ]
    stream = io.StringIO()
    lines = found_lines({"path": b"x.jpg", "measure": "structure", "copies": copies}, page_on(stream))
    assert list(lines) == [
        "x.jpg: 5 known",
        "  /a.jpg · 1.0 kB · 40×30 · identical (equal bytes)",
        "  /b.jpg · 1.0 kB · 40×30 · same (structure 0.0000) · smaller · turned 90°",
        "  /c.jpg · 1.0 kB · 40×30 · same (structure 0.0010) · not certain",
        "  /d.jpg · 1.0 kB · 40×30 · not looked at (structure 0.0010)",
        "  /e.jpg · 1.0 kB · 40×30 · cropped (structure 0.0010)",
    ]


def test_what_find_says_of_a_copy_hangs_together_on_a_narrow_terminal() -> None:
    copies = [make_file(b"/photos/a-name-that-is-long/IMG_0001.jpg", keep=False) | {"as_good": True}]
    found = {"path": b"Downloads/one-that-is-long/IMG_0001.jpg", "copies": copies}
    assert list(found_lines(found, page_on(io.StringIO(), 40))) == [
        "Downloads/one-that-is-long/IMG_0001.jpg:",
        "    1 known",
        "  /photos/a-name-that-is-long/IMG_0001.j",
        "    pg · 1.0 kB · 40×30",
        "    same (structure 0.0010)",
    ]


def test_find_of_a_folder_without_pictures_says_so_and_does_not_succeed(dupwatch: Dupwatch, tmp_path: Path) -> None:
    done = dupwatch("find", tmp_path)
    assert (done.returncode, done.stdout) == (4, b"")
    assert b"no picture was named" in done.stderr


def test_an_answer_that_is_not_complete_says_so_to_people_and_programs(
    dupwatch: Dupwatch, service: SmallService, tmp_path: Path
) -> None:
    because = ["the first scan is not over", "1,528 changes are not read yet"]
    service.completeness = {"complete": False, "pending": 1528, "incomplete_because": because}
    service.clusters, service.failures = [], []
    (tmp_path / "b.jpg").write_bytes(b"else")
    flat = {"clusters": b"No copies,", "failed": b"Every file could be read", f"find {tmp_path}/b.jpg": b"not known\n"}
    for command, claim in flat.items():
        shown = dupwatch(*command.split())
        assert claim not in shown.stdout
        assert b"so far" in shown.stdout
        assert (
            b"this answer is not complete: the first scan is not over; 1,528 changes are not read yet." in shown.stderr
        )
        told = dupwatch(*command.split(), "--json")
        document = json.loads(told.stdout)
        assert (document["complete"], document["pending"], document["incomplete_because"]) == (False, 1528, because)
        assert b"not complete" in told.stderr
    service.completeness = {"complete": True, "pending": 0, "incomplete_because": []}
    for command, claim in flat.items():
        shown = dupwatch(*command.split())
        assert claim in shown.stdout
        assert shown.stderr == b""


def test_to_wait_is_only_advised_while_that_helps(dupwatch: Dupwatch, service: SmallService) -> None:
    service.completeness = {"complete": False, "pending": 0, "incomplete_because": ["/srv/more is offline"]}
    service.pending = 0
    assert b"/srv/more is offline. `dupwatch status` says why\n" in dupwatch("clusters").stderr
    service.state, service.pending = "paused", 2
    assert b"`dupwatch wait`" not in dupwatch("failed").stderr
    service.state, service.pending = "scanning", 0
    assert b"`dupwatch wait` returns when the rest is read" in dupwatch("clusters").stderr


def test_close_looks_that_are_left_are_told_where_they_matter(dupwatch: Dupwatch, service: SmallService) -> None:
    """As after an undo: the service is idle, and fewer files are spare than there will be."""
    line = "1,200 pairs that seem the same still to be looked at closely: until then their files stay"
    service.to_confirm = 1200
    assert line in dupwatch("status").stdout.decode().splitlines()
    assert dupwatch("clusters").stderr == b""
    service.clusters[1]["files"][1] |= {"confirmed": None, "may_go": False}
    assert dupwatch("clusters").stderr.decode() == f"dupwatch: {line}\n"
    service.to_confirm = 0
    assert dupwatch("clusters").stderr == b""


def test_what_a_plan_waits_for_is_told_once(
    service: SmallService, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Looks(Bars):
        def advance(self, count: int = 1) -> None:
            service.to_confirm -= 1

    said: list[str] = []
    service.to_confirm = 2
    monkeypatch.setattr(asking, "_ASK_AGAIN_SECONDS", 0)
    with Client(server.endpoint) as client:
        wait_for_close_looks(client, Looks(), said.append)
    assert said == ["waiting for 2 close looks at pairs that seem the same; --now does not wait"]


def test_a_file_in_place_of_a_folder_is_wrong_usage(dupwatch: Dupwatch, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(KNOWN)
    for command in (["clusters", "--under"], ["rescan"]):
        done = dupwatch(*command, tmp_path / "a.jpg")
        assert (done.returncode, done.stdout) == (2, b"")
        assert f"a.jpg is a file; name the folder it lies in: {tmp_path}" in done.stderr.decode()


def test_failed_lists_all_with_reasons(dupwatch: Dupwatch, service: SmallService) -> None:
    assert json.loads(dupwatch("failed", "--json").stdout)["failed"][1] == {"path": ODD_TEXT, "error": "empty"}
    service.failures = [{"path": b"/srv/%05d.jpg" % number, "error": "truncated"} for number in range(10_500)]
    done = dupwatch("failed")
    assert len(re.findall(rb"/srv/\d{5}\.jpg", done.stdout)) == 10_500
    assert len(json.loads(dupwatch("failed", "--json", "--offset", "10498").stdout)["failed"]) == 2
    assert len(json.loads(dupwatch("failed", "--json", "--limit", "3").stdout)["failed"]) == 3
    service.failures = []
    assert dupwatch("failed").stdout == b"Every file could be read.\n"


def test_rescan_pause_and_resume_are_confirmed(dupwatch: Dupwatch, service: SmallService) -> None:
    assert dupwatch("rescan").returncode == 0
    assert dupwatch("rescan", "/srv/photos/").returncode == 0
    assert json.loads(dupwatch("rescan", "--json").stdout) == {}
    assert [args for _, args in service.asked] == [{}, {"dir": b"/srv/photos"}, {}]
    assert b"dupwatch resume" in dupwatch("pause").stdout
    assert service.state == "paused"
    assert json.loads(dupwatch("resume", "--json").stdout) == {"state": "idle"}


def test_wait_returns_when_nothing_is_pending(dupwatch: Dupwatch, service: SmallService) -> None:
    assert (dupwatch("wait").returncode, dupwatch("wait", "--timeout", "0").returncode) == (0, 0)
    service.idle.clear()
    threading.Timer(1, service.idle.set).start()
    started = time.monotonic()
    assert json.loads(dupwatch("wait", "--json").stdout) == {"idle": True, "pending": 0}
    assert time.monotonic() - started > 0.5


def test_wait_that_gives_up_ends_with_1(dupwatch: Dupwatch, service: SmallService) -> None:
    service.idle.clear()
    done = dupwatch("wait", "--timeout", "0.2")
    assert (done.returncode, done.stdout, done.stderr) == (
        1, b"", b"dupwatch: still busy after 0.2 s, 2 pending\n",
    )  # fmt: skip
    assert json.loads(dupwatch("wait", "--timeout", "0.2", "--json").stdout) == {"idle": False, "pending": 2}
    service.idle.set()


def test_wait_bears_with_a_service_that_is_starting(dupwatch: Dupwatch, service: SmallService) -> None:
    service.error = RequestError("starting", "not yet")
    threading.Timer(1, setattr, [service, "error", None]).start()
    assert dupwatch("wait", "--timeout", "20").returncode == 0


def test_wait_right_after_a_start_waits_for_the_socket(dupwatch: Dupwatch, service: SmallService, folder: Path) -> None:
    late = Server(f"{folder}/late/query.sock", service.handlers())
    with subprocess.Popen(
        [*COMMAND, "wait", "--endpoint", late.endpoint], stderr=subprocess.PIPE, stdout=subprocess.PIPE
    ) as waiting:
        assert waiting.stderr is not None
        said = waiting.stderr.readline()  # that it has asked in vain
        late.start()
        try:
            assert waiting.wait(30) == 0
        finally:
            late.stop()
        assert said.decode().startswith(f"dupwatch: no service answers at {late.endpoint} yet; waiting for it up to 1")
        assert waiting.stderr.read() == b""


def test_wait_for_a_service_that_does_not_come_ends_with_3(dupwatch: Dupwatch, tmp_path: Path) -> None:
    done = dupwatch("wait", "--timeout", "0.5", "--endpoint", tmp_path / "query.sock")
    assert (done.returncode, done.stdout) == (3, b"")
    assert b"does not exist; start `dupwatchd run`" in done.stderr


def read_lines(arguments: list[str], environment: dict[str, str], count: int, act: Callable[[], object]) -> list[bytes]:
    """The first lines of a command that goes on until Ctrl-C."""
    with subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        acting = True

        def keep_acting() -> None:
            while acting:
                act()
                time.sleep(0.1)

        thread = threading.Thread(target=keep_acting)
        thread.start()
        try:
            lines = [process.stdout.readline() for _ in range(count)]
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130
            assert process.stderr.read() == b"\n"  # after the ^C that a terminal shows
        finally:
            acting = False
            thread.join()
            process.kill()
    return lines


def test_events_are_lines_for_people_and_programs(
    service: SmallService, server: Server, environment: dict[str, str]
) -> None:
    def act() -> None:
        server.publish("matched", {"path": ODD, "other": b"/b.jpg", "structure": 0.001, "mse": 2.0})

    [line] = read_lines(["events"], environment, 1, act)
    assert re.fullmatch(
        rb"\d\d:\d\d:\d\d  matched  /srv/photos/caf\\xe9\\n\\x1b\[31m\.jpg = /b\.jpg  structure 0\.001 mse 2\n", line
    )
    lines = read_lines(["events", "--json"], environment, 2, act)
    first, second = map(json.loads, lines)
    assert (first["event"], first["path"], first["other"]) == ("matched", ODD_TEXT, "/b.jpg")
    assert second["seq"] == first["seq"] + 1


def test_events_can_be_chosen(service: SmallService, server: Server, environment: dict[str, str]) -> None:
    def act() -> None:
        server.publish("indexed", {"path": b"/a"})
        server.publish("failed", {"path": b"/b", "error": "truncated"})
        server.publish("moved", {"path": b"/d", "from": b"/c"})

    lines = read_lines(["events", "--only", "failed", "--only", "moved"], environment, 4, act)
    assert {line.split(maxsplit=1)[1] for line in lines} == {b"failed   /b: truncated\n", b"moved    /c -> /d\n"}


def test_status_is_watched_until_ctrl_c(service: SmallService, environment: dict[str, str]) -> None:
    first, second = map(json.loads, read_lines(["status", "--watch", "--json"], environment, 2, lambda: None))
    assert first == second
    assert first["files"] == 6


@pytest.mark.parametrize("arguments", [["wait"], ["clusters", "--under", "/slow"]])
def test_ctrl_c_ends_every_command_with_130_and_no_traceback(
    service: SmallService, environment: dict[str, str], arguments: list[str]
) -> None:
    service.idle.clear()
    process = subprocess.Popen([*COMMAND, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with process:
        assert process.stderr is not None
        while arguments[0] not in [name for name, _ in service.asked]:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stderr.read() == b"\n"
    service.idle.set()
    service.gate.set()


@pytest.mark.parametrize("program", ["dupwatch", "dupwatchd"])
def test_ctrl_c_during_the_start_ends_without_a_traceback(program: str) -> None:
    import_watch = """
import os, signal, sys
class Watch:
    def find_spec(self, name, path, target=None):
        if name == "click":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Watch())
from {0}.__main__ import main
sys.argv = ["{0}", "--help"]
main()
"""
    done = subprocess.run([sys.executable, "-c", import_watch.format(program)], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")  # to a shell that is 130


# ---- what goes wrong


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["clusters", "--threshold", "2"], "above compare.keep_structure"),
        (["clusters", "--threshold", "nan"], "threshold must be a number from 0"),
        (["clusters", "--spare"], "--spare goes with --print0"),
        (["clusters", "--limit", "-1"], "-1"),
        (["rescan", "/elsewhere"], "it lies under no root"),
        (["events", "--only", "indexd"], "there is no event 'indexd'"),
        (["find"], "Missing argument"),
        (["clusters", "--json", "--csv"], "choose one form: --json or --csv"),
        (["clusters", "--csv", "--print0"], "choose one form: --csv or --print0"),
        (["clusters", "--under", "/elsewhere"], "/elsewhere lies under no root of the service; its roots: /srv/photos"),
        (["clusters", "--under", "/srv/photos/2042"], "there is no folder /srv/photos/2042"),
        (["nosuch"], "No such command 'nosuch'."),
        (["cluster"], "Did you mean `dupwatch clusters`?"),
        (["scann"], "Did you mean `dupwatchd scan` or"),
        (["scan", "/srv/photos"], "dupwatch has no command 'scan': that is `dupwatchd scan`"),
        (["status", "--endpoint", "http://x"], "is neither a path"),
        (["status", "--endpoint", "/tmp/" + "x" * 120], "too long"),
        (["status", "--endpoint", "tcp://127.0.0.1:9", "--keys", "/nowhere"], "cannot use the keys"),
    ],
)
def test_wrong_usage_is_one_clear_line_and_status_2(dupwatch_here: Dupwatch, arguments: list[str], line: str) -> None:
    done = dupwatch_here(*arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert line in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()


def test_a_name_of_a_file_that_is_taken_for_a_flag_steers_no_terminal(dupwatch_here: Dupwatch) -> None:
    done = dupwatch_here("find", "-\x1b]0;title\x07.jpg")
    assert done.returncode == 2
    assert b"\x1b" not in done.stderr
    assert b"\\x1b" in done.stderr
    done = dupwatch_here("pause", "\x1b[2J\u202egpj.exe", "caf\udce9\\")
    assert (done.returncode, b"\x1b" in done.stderr, "\u202e" in done.stderr.decode()) == (2, False, False)


@pytest.mark.parametrize("command", ["status", "clusters", "find", "failed", "events", "rescan", "pause"])
def test_no_service_is_one_clear_line_and_status_3(dupwatch_here: Dupwatch, command: str, tmp_path: Path) -> None:
    arguments = [command, *(["README.md"] if command == "find" else []), "--endpoint", tmp_path / "query.sock"]
    done = dupwatch_here(*arguments)
    assert (done.returncode, done.stdout) == (3, b"")
    assert done.stderr.decode() == (
        f"dupwatch: no service: {tmp_path}/{'events' if command == 'events' else 'query'}.sock does not exist; "
        "start `dupwatchd run`, or name another --endpoint\n"
    )


@pytest.mark.parametrize("code", ["busy", "starting", "internal"])
def test_a_service_that_says_no_is_one_line_and_status_1(dupwatch: Dupwatch, service: SmallService, code: str) -> None:
    service.error = RequestError(code, "not \x1b[31mnow")
    done = dupwatch("status")
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"dupwatch: not \\x1b[31mnow\n")


def test_the_flag_goes_before_the_environment_before_the_command_or_after(
    dupwatch: Dupwatch, environment: dict[str, str], server: Server
) -> None:
    wrong = {**environment, "DUPWATCH_ENDPOINT": "/nowhere/query.sock"}
    assert dupwatch("status", env=wrong).returncode == 3
    path = server.endpoint.removeprefix("ipc://")
    for arguments in (["--endpoint", path, "status"], ["status", "--endpoint", path]):
        assert dupwatch(*arguments, env=wrong).returncode == 0
    assert dupwatch("--endpoint", "/nowhere/query.sock", "status", "--endpoint", path, env=wrong).returncode == 0


def test_the_users_own_socket_is_found(
    dupwatch: Dupwatch, environment: dict[str, str], folder: Path, service: SmallService
) -> None:
    del environment["DUPWATCH_ENDPOINT"]
    own = Server(f"{folder}/dupwatch/query.sock", service.handlers())
    own.start()
    try:
        assert dupwatch("status", env={**environment, "XDG_RUNTIME_DIR": str(folder)}).returncode == 0
    finally:
        own.stop()
    done = dupwatch("status", env={**environment, "XDG_RUNTIME_DIR": str(folder)})
    if not os.path.exists("/run/dupwatch"):
        assert done.returncode == 3
        assert f"{folder}/dupwatch/query.sock" in done.stderr.decode()


def test_a_reader_that_has_seen_enough_is_no_trouble(service: SmallService, environment: dict[str, str]) -> None:
    service.clusters = make_clusters(2000)
    pipe = subprocess.Popen([*COMMAND, "clusters"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    with pipe:
        assert pipe.stdout is not None
        assert pipe.stderr is not None
        pipe.stdout.readline()
        pipe.stdout.close()
        assert pipe.stderr.read() == b""


# ---- terminals


def on_terminal(arguments: list[str], environment: dict[str, str], width: int = 60, height: int = 20) -> list[str]:
    """The lines that a command leaves on a terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
    child = subprocess.Popen(
        [*COMMAND, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env={**environment, "TERM": "xterm"}
    )
    os.close(theirs)
    received = b""
    try:
        while chunk := os.read(ours, 65536):
            received += chunk
    except OSError:
        pass  # that is how a pty ends
    os.close(ours)
    assert child.wait(20) == 0
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", received.decode()).splitlines()


@pytest.mark.parametrize("arguments", [["status"], ["clusters", "--limit", "2"], ["failed"]])
def test_what_is_shown_fits_the_terminal(
    service: SmallService, environment: dict[str, str], arguments: list[str]
) -> None:
    service.failures = [{"path": b"/srv/" + b"long/" * 40 + b"%d.jpg" % n, "error": "truncated " * 9} for n in (1, 2)]
    lines = on_terminal(arguments, {**environment, "PAGER": "cat"})
    assert max(map(cell_len, lines)) <= 60
    assert len(lines) > 2


def test_long_tables_go_through_the_pager(service: SmallService, environment: dict[str, str]) -> None:
    service.clusters = make_clusters(50)
    paged = {**environment, "PAGER": "sed s/^/P/"}
    assert all(line.startswith("P") for line in on_terminal(["clusters"], paged, height=20))
    assert not any(line.startswith("P") for line in on_terminal(["clusters"], paged, height=2000))
    assert not any(line.startswith("P") for line in on_terminal(["clusters", "--json"], paged, height=20))


# ---- help


def test_every_command_teaches_by_example_and_speaks_json() -> None:
    for name, command in cli.commands.items():
        context = click.Context(command, info_name=f"dupwatch {name}")
        assert f"Examples:\n    {'eval' if name == 'completion' else 'dupwatch ' + name}" in command.get_help(context)
        flags = {flag for parameter in command.params for flag in parameter.opts}
        assert name == "completion" or {"--json", "--endpoint"} <= flags, name


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_and_knows_commands_and_flags(
    dupwatch: Dupwatch, environment: dict[str, str], shell: str
) -> None:
    done = dupwatch("completion", shell)
    assert done.returncode == 0
    assert b"_DUPWATCH_COMPLETE" in done.stdout
    asked = {"_DUPWATCH_COMPLETE": "bash_complete", "COMP_WORDS": "dupwatch clusters --th", "COMP_CWORD": "2"}
    code = "import sys; sys.argv[0] = 'dupwatch'; from dupwatch.cli import main; main()"
    answer = subprocess.run(
        [sys.executable, "-c", code], env={**environment, **asked}, capture_output=True, check=False
    )
    assert b"--threshold" in answer.stdout


def test_the_client_loads_nothing_heavy(service: SmallService, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "dupwatch", "status"],
        env=environment, capture_output=True, check=True, text=True,
    )  # fmt: skip
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "zmq" in loaded
    assert not loaded & {"rich", "asyncio", "zmq.asyncio", "socket", "numpy", "pydantic", "dupwatchd", "email", "csv"}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.4, "0 s"), (59.6, "1 min"), (185, "3 min 5 s"), (7_800, "2 h 10 min"), (90_000, "1 d 1 h"),
     (-5, "0 s")],
)  # fmt: skip
def test_times_are_written_for_people(seconds: float, text: str) -> None:
    assert human_seconds(seconds) == text


def test_a_folder_is_missing_only_if_the_system_says_so(tmp_path: Path) -> None:
    """One that may not be looked for may be there."""
    (tmp_path / "file").touch()
    closed = tmp_path / "closed"
    (closed / "below").mkdir(parents=True)
    closed.chmod(0)
    asked = (
        "import os, sys; from dupwatch.cli import _is_missing; print(*map(_is_missing, map(os.fsencode, sys.argv[1:])))"
    )
    folders = [tmp_path, closed, closed / "below", tmp_path / "gone", tmp_path / "file" / "below"]
    done = subprocess.run([*WITH_PLAIN_RIGHTS, sys.executable, "-c", asked, *folders], capture_output=True, text=True)
    closed.chmod(0o700)
    assert (done.stdout.split(), done.stderr) == (["False", "False", "False", "True", "True"], "")
