"""Draws pictures on a terminal, side by side: by kitty's graphics protocol, or in half blocks of two pixels a cell.

In: pixels as `preview` sends them (RGB, row by row). Out: text with escape sequences that a terminal shows as pictures.
What the terminal is capable of is told by its environment and by what it answers when it is asked.
"""

import base64
import fcntl
import os
import re
import select
import struct
import termios
import time
import tty
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

ANSWER_SECONDS = 2.0  # for a terminal behind a slow line; all that are known answer the last question, so few wait

_KITTY_QUESTION = b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\"  # can it show a picture of one pixel?
_CELL_QUESTION = b"\x1b[16t"  # how many pixels has a cell?
_LAST_QUESTION = b"\x1b[c"  # what are you? Every terminal answers that, also one that knows nothing of the others
_KITTY_ANSWER = b"\x1b_Gi=31;OK\x1b\\"
_CELL_ANSWER = re.compile(rb"\x1b\[6;(\d{1,4});(\d{1,4})t")
_LAST_ANSWER = re.compile(rb"\x1b\[\?[0-9;]*c")
_PAYLOAD_BYTES = 4096  # of base64 in one escape sequence, by the protocol
_UPPER_HALF = "▀"
_NO_COLOURS = "\x1b[0m"
_OUTLINE_RGB = bytes((255, 95, 0))
_OUTLINE_SHARE = 150  # of the shorter side: so much of it is as wide as an outline


class Pixels(NamedTuple):
    """A picture."""

    rgb: bytes
    width: int
    height: int


def outlined(picture: Pixels, corners: Sequence[Sequence[float]]) -> Pixels:
    """A copy of a picture with lines from corner to corner, given as [x, y] in fractions of its width and height.

    What lies outside the picture is drawn along its edge.
    """
    rgb = bytearray(picture.rgb)
    across, down = picture.width - 1, picture.height - 1
    wide = 1 + min(across, down) // _OUTLINE_SHARE
    points = [(min(max(x, 0.0), 1.0) * across, min(max(y, 0.0), 1.0) * down) for x, y in corners]
    for (x, y), (to_x, to_y) in zip(points, [*points[1:], *points[:1]], strict=True):
        steps = max(1, round(max(abs(to_x - x), abs(to_y - y))))
        for step in range(steps + 1):
            left = round(x + (to_x - x) * step / steps)
            top = round(y + (to_y - y) * step / steps)
            for row in range(max(0, top - wide // 2), min(picture.height, top - wide // 2 + wide)):
                first, last = max(0, left - wide // 2), min(picture.width, left - wide // 2 + wide)
                at = 3 * (row * picture.width + first)
                rgb[at : at + 3 * (last - first)] = _OUTLINE_RGB * (last - first)
    return Pixels(bytes(rgb), picture.width, picture.height)


class Screen(Protocol):
    """What a terminal can show."""

    @property
    def cell(self) -> tuple[int, int]:
        """How many pixels of a picture, across and down, one cell shows."""

    def draw(self, pictures: Sequence[Pixels | None], columns: int, rows: int, gap: int) -> Iterator[str]:
        """Yield text that shows pictures side by side, each in a box of so many cells, with gaps between.

        A picture must not be larger than its box; None leaves it empty. The text ends at the beginning of a line.
        """


class Blocks:
    """A terminal that shows colours, but no pictures: each cell gets one pixel above another."""

    cell = (1, 2)

    def __init__(self, *, true_colour: bool) -> None:
        """``true_colour``: the terminal knows all colours, else the 256 of xterm."""
        self._true_colour = true_colour

    def draw(self, pictures: Sequence[Pixels | None], columns: int, rows: int, gap: int) -> Iterator[str]:
        """As `Screen` says; without empty lines below."""
        drawn = [list(self._lines(picture)) if picture else [] for picture in pictures]
        widths = [picture.width if picture else 0 for picture in pictures]
        for row in range(min(rows, max(map(len, drawn), default=0))):
            line = ""
            for lines, width in zip(drawn, widths, strict=True):
                shown, cells = (lines[row], width) if row < len(lines) else ("", 0)
                line += shown + " " * (columns - cells + gap)
            yield line.rstrip(" ") + "\n"

    def _lines(self, picture: Pixels) -> Iterator[str]:
        rgb, stride = picture.rgb, 3 * picture.width
        for top in range(0, len(rgb), 2 * stride):
            upper, lower = rgb[top : top + stride], rgb[top + stride : top + 2 * stride]
            line, before = "", ""
            for at in range(0, stride, 3):
                colours = self._colour(38, upper[at : at + 3])
                colours += f";{self._colour(48, lower[at : at + 3])}" if lower else ""
                line += _UPPER_HALF if colours == before else f"\x1b[{colours}m{_UPPER_HALF}"
                before = colours
            yield line + _NO_COLOURS

    def _colour(self, place: int, rgb: bytes) -> str:
        red, green, blue = rgb
        if self._true_colour:
            return f"{place};2;{red};{green};{blue}"
        return f"{place};5;{16 + 36 * _sixth(red) + 6 * _sixth(green) + _sixth(blue)}"


class Kitty:
    """A terminal that speaks kitty's graphics protocol."""

    def __init__(self, cell: tuple[int, int]) -> None:
        self.cell = cell

    def draw(self, pictures: Sequence[Pixels | None], columns: int, rows: int, gap: int) -> Iterator[str]:
        """As `Screen` says."""
        tallest = max((picture.height for picture in pictures if picture), default=0)
        lines = min(rows, -(-tallest // self.cell[1]))
        if not lines:
            return
        yield "\n" * lines + f"\x1b[{lines}A"  # make room first: what scrolls would take pictures along
        for place, picture in enumerate(pictures):
            if picture:
                across = place * (columns + gap)
                yield "\r" + (f"\x1b[{across}C" if across else "")
                yield from _sent(picture)
        yield f"\r\x1b[{lines}B"


def screen_of(stream_fd: int, environment: Mapping[str, str]) -> Screen:
    """What the terminal behind a file descriptor can show; asks it, which takes up to `ANSWER_SECONDS`."""
    term = environment.get("TERM", "")
    if term != "linux":  # the console would print the question
        answers = _answers(_KITTY_QUESTION + _CELL_QUESTION + _LAST_QUESTION)
        cell = _cell_px(stream_fd, answers)
        if _KITTY_ANSWER in answers and cell is not None:
            return Kitty(cell)
    true_colour = environment.get("COLORTERM") in ("truecolor", "24bit") or "KITTY_WINDOW_ID" in environment
    return Blocks(true_colour=true_colour or term.endswith("-direct"))


def _answers(questions: bytes) -> bytes:
    """What the terminal of this process answers; nothing if it has none, or another job has it."""
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        if os.tcgetpgrp(terminal) != os.getpgrp():
            return b""
        before = termios.tcgetattr(terminal)
        try:
            tty.setraw(terminal, termios.TCSADRAIN)
            os.write(terminal, questions)
            return _read_answers(terminal)
        finally:
            termios.tcsetattr(terminal, termios.TCSAFLUSH, before)  # what is answered too late is no input
    except (OSError, termios.error):
        return b""
    finally:
        os.close(terminal)


def _read_answers(terminal: int) -> bytes:
    answers = b""
    deadline = time.monotonic() + ANSWER_SECONDS
    while not _LAST_ANSWER.search(answers) and (left := deadline - time.monotonic()) > 0:
        readable, _, _ = select.select([terminal], [], [], left)
        if readable:
            answers += os.read(terminal, 1024)
    return answers


def _cell_px(stream_fd: int, answers: bytes) -> tuple[int, int] | None:
    """The pixels of a cell, across and down."""
    try:
        lines, columns, width, height = struct.unpack("4H", fcntl.ioctl(stream_fd, termios.TIOCGWINSZ, bytes(8)))
        if width >= columns > 0 and height >= lines > 0:
            return width // columns, height // lines
    except OSError:
        pass
    found = _CELL_ANSWER.search(answers)
    if found and int(found[1]) and int(found[2]):
        return int(found[2]), int(found[1])
    return None


def _sent(picture: Pixels) -> Iterator[str]:
    """Yield the escape sequences that show a picture where the cursor is, which stays there."""
    payload = base64.standard_b64encode(zlib.compress(picture.rgb, 1)).decode("ascii")
    head = f"a=T,f=24,s={picture.width},v={picture.height},o=z,C=1,q=2,"
    for at in range(0, len(payload), _PAYLOAD_BYTES):
        is_more = at + _PAYLOAD_BYTES < len(payload)
        yield f"\x1b_G{head}m={int(is_more)};{payload[at : at + _PAYLOAD_BYTES]}\x1b\\"
        head = ""


def _sixth(level: int) -> int:
    """Which of the six levels of xterm's 256 colours (0, 95, 135, 175, 215, 255) is the nearest."""
    return 0 if level < 48 else 1 if level < 115 else (level - 35) // 40
