"""What `dupwatchd run` says, on a terminal and in a file."""

import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import dupwatchd
from tests.conftest import encoded, photo_like
from tests.system.service import Service, until
from tests.system.test_scan import COMMAND


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    root.mkdir()
    for seed in (1, 2, 3):
        (root / f"{seed}.jpg").write_bytes(encoded(photo_like(seed)))
    (root / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    return root


def test_the_end_of_the_scan_at_the_start_is_told_once(photos: Path, tmp_path: Path) -> None:
    with Service(tmp_path / "s", photos) as service:
        until(lambda: "up to date" in service.lines())
        (photos / "4.jpg").write_bytes(encoded(photo_like(4)))
        until(lambda: service.ask("status")["files"] == 5)
        service.settled()
    assert re.findall(r"up to date.*", service.lines()) == ["up to date: 4 photos, 1 of them not readable"]
    assert f"dupwatchd: watching {photos}\n" in service.lines()
    assert "1.jpg" not in service.lines()


@pytest.mark.parametrize(("flag", "has_names", "has_news"), [("-v", True, True), ("-q", False, False)])
def test_how_much_is_said_can_be_chosen(
    photos: Path, tmp_path: Path, flag: str, has_names: bool, has_news: bool
) -> None:
    (photos / "2 again.jpg").write_bytes((photos / "2.jpg").read_bytes())
    os.rename(photos / "1.jpg", os.fsencode(photos) + b"/caf\xe9\x1b[31m.jpg")
    with Service(tmp_path / "s", photos, flags=[flag]) as service:
        service.settled()
        if has_news:
            until(lambda: "up to date" in service.lines())
    lines = service.lines()
    assert (f"dupwatchd: indexed {photos}/caf\\xe9\\x1b[31m.jpg\n" in lines) == has_names
    assert (f"dupwatchd: failed {photos}/broken.jpg: " in lines) == has_names
    pairs = [(f"{photos}/2.jpg", f"{photos}/2 again.jpg"), (f"{photos}/2 again.jpg", f"{photos}/2.jpg")]
    assert any(f"dupwatchd: matched {one} = {other}\n" in lines for one, other in pairs) == has_names
    assert ("up to date" in lines) == ("serving" in lines) == lines.endswith("dupwatchd: stopped\n") == has_news


def test_a_root_that_is_not_there_is_told_in_one_line(photos: Path, tmp_path: Path) -> None:
    with Service(tmp_path / "s", photos, tmp_path / "missing") as service:
        service.settled()
        service.ask("rescan")
        service.settled()
        until(lambda: "up to date" in service.lines())
    about = [line for line in service.lines().splitlines() if "missing" in line and "watching" not in line]
    assert about == [f"dupwatchd: {tmp_path}/missing: offline: there is no such folder"]
    assert "up to date: 4 photos, 1 of them not readable; 1 folder offline\n" in service.lines()


def test_progress_and_log_lines_share_a_terminal(tmp_path: Path) -> None:
    root = tmp_path / "many"
    root.mkdir()
    picture = encoded(photo_like(1, 1600, 1200), "PNG")
    for number in range(60):
        (root / f"{number}.png").write_bytes(picture + bytes([number]))
    ours, theirs = pty.openpty()
    service = subprocess.Popen(
        [*COMMAND, "run", "--root", str(root), "--endpoint", f"ipc://{tmp_path}/s"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={
            **os.environ,
            "DUPWATCH_STATE": str(tmp_path / "state"),
            "TERM": "xterm",
            "COLUMNS": "100",
            "DUPWATCH_INDEX__WORKERS": "1",
        },
    )
    os.close(theirs)
    received = b""
    try:
        while b"up to date" not in received:
            received += os.read(ours, 65536)
        service.send_signal(signal.SIGINT)
        while chunk := os.read(ours, 65536):
            received += chunk
    except OSError:
        pass  # that is how a pty ends
    finally:
        os.close(ours)
        assert service.wait(20) == 0
    shown = re.sub(r"\x1b\[\d+m|\x1b\[0m", "", received.decode())
    assert re.search(r"\r\x1b\[Kindexing \d+/60 files \(\d+ %\)", shown)
    assert "\r\x1b[Kdupwatchd: up to date: 60 photos\r\n" in shown
    assert shown.endswith("\r\x1b[K")


def test_bytes_are_never_shown_as_python_writes_them() -> None:
    code = (
        "import logging\nfrom dupwatchd.run_log import logging_of_run\n"
        "with logging_of_run(logging.INFO):\n"
        "    logging.getLogger('dupwatchd').warning('cannot list %s: %s', b'/caf\\xe9\\n/x', 'gone')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stderr == b"dupwatchd: cannot list /caf\\xe9\\n/x: gone\n"


def test_no_line_of_the_log_asks_for_the_python_form_of_bytes() -> None:
    source = Path(dupwatchd.__path__[0])
    lines = [line for path in source.rglob("*.py") for line in path.read_text().splitlines() if "_log." in line]
    assert lines
    assert not [line for line in lines if "%r" in line]
