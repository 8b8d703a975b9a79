"""`dupwatch show` as a person sees it: a real service, and terminals of several kinds."""

import base64
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.conftest import WITH_PLAIN_RIGHTS, Rgb, encoded, photo_like
from tests.system.service import Service

HOSTILE = b"a\x1b[31m\n\xff.png"
COPIES = photo_like(1, 300, 200)
_OF_THE_TERMINAL = ("COLORTERM", "KITTY_WINDOW_ID", "COLUMNS", "LINES")  # in which the tests themselves run


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("s") / "photos"
    folder.mkdir()
    (folder / "large.jpg").write_bytes(encoded(COPIES))
    Image.fromarray(COPIES).resize((150, 100)).save(folder / "small.png")
    whole = photo_like(7, 640, 480)
    (folder / "whole.png").write_bytes(encoded(whole, "PNG"))
    (folder / "part.png").write_bytes(encoded(whole[48:-48, 64:-64].copy(), "PNG"))
    for name in (b"other.png", HOSTILE):
        with open(os.path.join(os.fsencode(folder), name), "wb") as file:
            file.write(encoded(photo_like(2, 120, 180), "PNG"))
    return folder


@pytest.fixture(scope="module")
def service(photos: Path) -> Iterator[Service]:
    with Service(photos.parent, photos) as running:
        running.settled()
        yield running


def group_id(service: Service, name: str) -> str:
    """The id of the group with a file of this name."""
    wanted = os.fsencode(name)
    found = [one for one in service.clusters() if any(file["path"].endswith(wanted) for file in one["files"])]
    return str(found[0]["id"])


class Terminal:
    """A terminal of so many lines and columns, with a cell of 8 × 16 pixels."""

    def __init__(self, lines: int = 30, columns: int = 80, *, speaks_kitty: bool = False, answers: bool = True) -> None:
        self._size = struct.pack("4H", lines, columns, 8 * columns, 16 * lines)
        self._speaks_kitty, self._answers = speaks_kitty, answers

    def run(self, service: Service, *words: str | bytes | Path, before: Sequence[str] = (), **variables: str) -> bytes:
        """All that `dupwatch` writes on it; succeeds."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, self._size)
        kept = {name: value for name, value in os.environ.items() if name not in _OF_THE_TERMINAL}
        environment = {**kept, "DUPWATCH_ENDPOINT": service.endpoint, "TERM": "xterm", "PYTHONUTF8": "1", **variables}
        process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *before, sys.executable, "-m", "dupwatch", "show", *words],
            stdin=theirs, stdout=theirs, stderr=theirs, env=environment,
        )  # fmt: skip
        os.close(theirs)
        written = b""
        try:
            while True:
                try:
                    more = os.read(ours, 65536)
                except OSError:  # nobody has it open any more
                    break
                if b"\x1b[c" in more and self._answers:
                    os.write(ours, (b"\x1b_Gi=31;OK\x1b\\" if self._speaks_kitty else b"") + b"\x1b[?62;22c")
                written += more
            self.status = process.wait(20)
        finally:
            os.close(ours)
            process.kill()
        return written


PIXEL = re.compile("(?:\x1b\\[([0-9;]*)m)|(▀)|(.)", re.DOTALL)


def blocks(text: str) -> list[NDArray[np.int_]]:
    """The pictures that stand side by side in the first lines with half blocks."""
    lines = [line for line in text.rpartition("\x1b[c")[2].splitlines() if "▀" in line]
    rows = [list(_cells(line)) for line in lines]
    width = max(map(len, rows))
    cells = np.full((len(rows), width, 2, 3), -1)
    for y, row in enumerate(rows):
        for x, cell in enumerate(row):
            cells[y, x] = cell
    pixels = cells.transpose(0, 2, 1, 3).reshape(-1, width, 3)
    filled = (pixels >= 0).any(axis=(0, 2))
    edges = np.flatnonzero(np.diff(np.concatenate([[0], filled.astype(int), [0]])))
    found = [pixels[:, left:right] for left, right in zip(edges[::2], edges[1::2], strict=True)]
    return [picture[(picture >= 0).all(axis=(1, 2))] for picture in found]


def _cells(line: str) -> Iterator[list[list[int]]]:
    upper = lower = [-1] * 3
    for colours, block, other in PIXEL.findall(line):
        if block:
            yield [upper, lower]
        elif other:
            yield [[-1] * 3] * 2
        else:
            numbers = [int(number) for number in colours.split(";")] if colours else []
            upper = lower = [-1] * 3
            while numbers and numbers[0] in (38, 48):
                taken = 5 if numbers[1] == 2 else 3
                colour = _colour(numbers[2:taken])
                upper, lower = (colour, lower) if numbers[0] == 38 else (upper, colour)
                numbers = numbers[taken:]


def _colour(numbers: list[int]) -> list[int]:
    if len(numbers) == 3:
        return numbers
    levels = (0, 95, 135, 175, 215, 255)
    place = numbers[0] - 16
    return [levels[place // 36], levels[place // 6 % 6], levels[place % 6]]


def shrunk(picture: Rgb, size: tuple[int, int]) -> NDArray[np.int_]:
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX)).astype(int)


def test_a_file_stands_beside_its_copies_in_blocks_of_colour(service: Service, photos: Path) -> None:
    terminal = Terminal()
    text = terminal.run(service, photos / "large.jpg", COLORTERM="truecolor").decode()
    assert terminal.status == 0
    first, second = blocks(text)
    assert first.shape == second.shape == (26, 39, 3)
    for shown in (first, second):
        assert np.abs(shown - shrunk(COPIES, (39, 26))).mean() < 6
    plain = re.sub("\x1b\\[[0-9;]*m", "", text.rpartition("\x1b[c")[2])
    assert "the file asked for" in plain
    assert "same, smaller" in plain
    assert str(photos / "small.png") in plain  # the whole path, in the table below
    assert all(len(line) <= 80 for line in plain.splitlines() if "▀" in line)


def test_an_outline_shows_which_part_of_one_the_other_is(service: Service, photos: Path) -> None:
    whole, part = blocks(Terminal().run(service, photos / "whole.png", COLORTERM="truecolor").decode())
    assert not (part == [255, 95, 0]).all(axis=2).any()
    rows, columns = (whole == [255, 95, 0]).all(axis=2).nonzero()
    height, width, _ = whole.shape
    assert [rows.min() / (height - 1), rows.max() / (height - 1)] == pytest.approx([0.1, 0.9], abs=0.03)
    assert [columns.min() / (width - 1), columns.max() / (width - 1)] == pytest.approx([0.1, 0.9], abs=0.03)
    assert len(rows) < 2 * (width + height)  # lines, and nothing within
    written = Terminal(speaks_kitty=True).run(service, photos / "part.png")
    assert written.count(b"a=T") == 2


def test_a_terminal_of_256_colours_gets_those(service: Service, photos: Path) -> None:
    (shown,) = blocks(Terminal(columns=40).run(service, photos / "large.jpg", TERM="xterm-256color").decode())
    assert shown.shape == (54, 40, 3)  # one above the other
    assert np.abs(shown - np.tile(shrunk(COPIES, (40, 27)), (2, 1, 1))).mean() < 30


def test_a_tall_picture_fits_into_the_lines_of_the_terminal(service: Service, tmp_path: Path) -> None:
    tall = photo_like(5, 200, 800)
    (tmp_path / "tall.png").write_bytes(encoded(tall, "PNG"))
    (shown,) = blocks(Terminal(lines=20).run(service, tmp_path / "tall.png", COLORTERM="truecolor").decode())
    assert shown.shape == (28, 7, 3)
    assert np.abs(shown - shrunk(tall, (7, 28))).mean() < 6


def test_a_group_is_found_by_the_beginning_of_its_id(service: Service) -> None:
    asked = group_id(service, "large.jpg")
    terminal = Terminal()
    text = terminal.run(service, asked[:8]).decode()
    assert len(blocks(text)) == 2
    assert "kept: " in text
    assert f"group {asked[:16]}" in text
    text = terminal.run(service, "0" * 60).decode()
    assert terminal.status == 2
    assert "no group" in text


def test_names_cannot_steer_the_terminal(service: Service) -> None:
    written = Terminal(columns=120).run(service, group_id(service, "other.png"))
    assert b"\x1b[31m" not in written
    assert b"\xff" not in written
    assert b"a\\x1b[31m\\n\\xff.png" in written


def test_a_terminal_that_speaks_kittys_protocol_gets_pictures(service: Service, photos: Path) -> None:
    written = Terminal(speaks_kitty=True).run(service, photos / "large.jpg")
    assert "▀".encode() not in written
    commands = re.findall(rb"\x1b_G([^;]*);([^\x1b]*)\x1b\\", written)
    asked, *sent = commands
    assert asked[0].startswith(b"i=31")
    pictures: list[tuple[dict[str, str], bytes]] = []
    for head, payload in sent:
        keys = dict(pair.split("=") for pair in head.decode().split(","))
        assert len(payload) <= 4096
        if "a" in keys:
            pictures.append((keys, b""))
        pictures[-1] = (pictures[-1][0], pictures[-1][1] + payload)
        last = keys
    assert last["m"] == "0"
    assert len(pictures) == 2
    for keys, payload in pictures:
        width, height = int(keys["s"]), int(keys["v"])
        assert (keys["a"], keys["f"], keys["o"], keys["C"]) == ("T", "24", "z", "1")
        pixels = np.frombuffer(zlib.decompress(base64.b64decode(payload)), np.uint8).reshape(height, width, 3)
        assert width <= 39 * 8
        assert np.abs(pixels.astype(int) - shrunk(COPIES, (width, height))).mean() < 8
    assert b"\r\x1b[41C" in written  # the second one stands beside the first


def test_a_terminal_that_answers_nothing_is_not_waited_for_long(service: Service, photos: Path) -> None:
    terminal = Terminal(answers=False)
    assert len(blocks(terminal.run(service, photos / "large.jpg").decode())) == 2
    assert terminal.status == 0


@pytest.mark.parametrize("variable", [{"TERM": "dumb"}, {"NO_COLOR": "1"}])
def test_without_colours_there_is_the_table(service: Service, photos: Path, variable: dict[str, str]) -> None:
    text = Terminal().run(service, photos / "large.jpg", **variable).decode()
    assert "▀" not in text
    assert "\x1b" not in text
    assert "small.png" in text


def show(service: Service, *words: str | bytes | Path) -> "subprocess.CompletedProcess[bytes]":
    """Where there is no terminal."""
    environment = {**os.environ, "DUPWATCH_ENDPOINT": service.endpoint, "PYTHONUTF8": "1"}
    command = [sys.executable, "-m", "dupwatch", "show", *words]
    return subprocess.run(command, capture_output=True, env=environment, timeout=30, check=False)


def test_without_a_terminal_there_is_the_table(service: Service, photos: Path) -> None:
    for target in (photos / "large.jpg", group_id(service, "large.jpg")):
        done = show(service, target)
        assert done.returncode == 0, done.stderr
        assert os.fsencode(photos / "small.png") in done.stdout
        assert b"\x1b" not in done.stdout


def test_a_program_gets_json(service: Service, photos: Path) -> None:
    found = json.loads(show(service, "--json", photos / "large.jpg").stdout)
    assert found["known"]
    assert {os.path.basename(copy["path"]) for copy in found["copies"]} == {"large.jpg", "small.png"}
    asked = group_id(service, "large.jpg")
    document = json.loads(show(service, "--json", asked[:10]).stdout)
    assert [one["id"] for one in document["clusters"]] == [asked]


def test_what_only_a_plan_can_tell_of_one_group_is_not_said_of_another(service: Service, photos: Path) -> None:
    beside = [photos / "large.xmp", photos / "small.xmp"]
    try:
        for number, sidecar in enumerate(beside):
            sidecar.write_text(str(number))
        at_most = {
            name: json.loads(show(service, "--json", group_id(service, name)).stdout)["reclaimable_at_most"]
            for name in ("large.jpg", "other.png")
        }
    finally:
        for sidecar in beside:
            sidecar.unlink(missing_ok=True)
    assert at_most == {"large.jpg": True, "other.png": False}


def test_what_cannot_be_shown_says_why(service: Service, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_bytes(b"some text")
    done = show(service, tmp_path / "text.jpg")
    assert (done.returncode, b"not an image" in done.stdout) == (1, True)
    done = show(service, tmp_path / "gone.jpg")
    assert (done.returncode, b"No such file" in done.stdout) == (1, True)
    done = show(service, "no such thing")
    assert done.returncode == 1
    (photos / "large.jpg").chmod(0o000)
    try:
        text = Terminal().run(service, group_id(service, "large.jpg"), before=WITH_PLAIN_RIGHTS).decode()
    finally:
        (photos / "large.jpg").chmod(0o644)
    assert "Permission denied" in text
    assert len(blocks(text)) == 1
