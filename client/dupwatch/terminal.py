"""Makes text fit for a terminal: safe to show, measured in cells, shortened to the width.

In: paths as bytes, and text from outside (messages of decoders, replies). Out: text that cannot steer a terminal, and
lines no wider than it. Everything from outside passes `printable` before a terminal or a log gets it. rich, which
knows how many cells a character takes, needs 10 ms to import: it is imported for text that is not plain ASCII.
"""

import codecs
import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TextIO

WIDTH_MIN = 40  # cells; a narrower terminal gets lines for this width, and wraps them

_NAMED_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\"}
# Not "printable" for Python, yet plain text: the space of Japanese and the non-joiner of Persian names.
_HARMLESS = frozenset("\u3000\u200c")

_STYLES = {  # ANSI SGR codes
    "keep": "1;32",
    "spare": "33",
    "head": "1",
    "quiet": "2",
    "trouble": "31",
    "remark": "36",
}
_ASCII = str.maketrans({"·": "-", "×": "x", "≤": "<=", "°": "", "…": "~", "—": "-"})


def printable(path: bytes | str) -> str:
    r"""Return a path, or other text from outside, in a form that is safe to show on a terminal or in a log.

    Control and format characters, among them bidi overrides, come out as ``\n``, ``\x1b``, ``\u202e``, bytes
    that are not UTF-8 as ``\xff``, and a backslash as ``\\``: different paths stay different.
    """
    text = path.decode("utf-8", "surrogateescape") if isinstance(path, bytes) else path
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(c if (c.isprintable() and c != "\\") or c in _HARMLESS else _escape(c) for c in text)


def human_bytes(count: int) -> str:
    """Return a number of bytes in decimal units, as disks are sold: ``999 B``, ``4.2 MB``, ``120 GB``."""
    if count < 1000:
        return f"{count} B"
    value = float(count)
    for unit in ("kB", "MB", "GB", "TB", "PB"):
        value /= 1000
        if value < 99.95:
            return f"{value:.1f} {unit}"
        if value < 999.5:
            return f"{value:.0f} {unit}"
    return f"{value:.0f} PB"


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return a number and what is counted, as in ``1 file`` and ``1,200 files``; ``many``: if it does not end in s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _escape(character: str) -> str:
    code = ord(character)
    if character in _NAMED_ESCAPES:
        return _NAMED_ESCAPES[character]
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:  # C1 controls are \u0085, for \x85 is a byte
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class Page(NamedTuple):
    """A stream for people to read, and what can be shown on it."""

    stream: TextIO
    width: int | None  # in cells; None: no limit
    colour: bool
    encoding: str
    signs_known: bool  # whether the encoding has the signs that we use

    def write(self, lines: Iterable[str]) -> None:
        """Write lines, in one go."""
        self.stream.write("".join(f"{line}\n" for line in lines))

    def own(self, text: str) -> str:
        """Return text of this program, with ASCII in place of signs such as ≤ and × where the encoding lacks them."""
        return text if self.signs_known else text.translate(_ASCII)

    def name(self, path: bytes | str) -> str:
        """Return a path or other text from outside, safe to show, with escapes for what the encoding lacks."""
        text = printable(path)
        return text if self.signs_known else text.encode(self.encoding, "backslashreplace").decode(self.encoding)

    def paint(self, text: str, style: str) -> str:
        """Return text in a style, where there are colours."""
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self.colour and text else text

    def shorten(self, path: str, room: int) -> str:
        """Return a path in at most ``room`` cells.

        The folders are shortened first, down to a quarter of the room, then the name of the file.
        """
        if self.width is None or cell_count(path) <= room:
            return path
        parent, slash, name = path.rpartition("/")
        if not slash:
            return self.cut(name, room)
        # Copies often have one name in several folders, so something of the folder has to stay.
        parent = self.cut(parent, max(room - cell_count(name) - 1, min(cell_count(parent), room // 4)))
        return f"{parent}/{self.cut(name, room - cell_count(parent) - 1)}"

    def cut(self, text: str, room: int) -> str:
        """Return text in at most ``room`` cells; what is too long loses its middle."""
        if self.width is None or cell_count(text) <= room:
            return text
        tail = _tail(text, (room - 1) // 2)
        return _head(text, room - 1 - cell_count(tail)) + self.own("…") + tail

    def join(self, parts: Iterable[str], *, indent: int = 0, between: str = " · ") -> list[str]:
        """Return parts with dots, or what is said, ``between`` them, on as few lines as they fit.

        All lines but the first begin with ``indent`` spaces. A part that fits on no line is broken anywhere.
        """
        lines: list[str] = []
        for part in parts:
            joined = f"{lines[-1]}{self.own(between)}{part}" if lines else part
            if lines and (self.width is None or cell_count(joined) <= self.width):
                lines[-1] = joined
            else:
                lines += fold(" " * indent + part if lines else part, self.width, indent)
        return lines

    def words(self, text: str, *, first: int = 0, indent: int = 0) -> list[str]:
        """Return text in lines that fit, broken between words where that is possible.

        The first line begins with ``first`` spaces, all others with ``indent``.
        """
        word, *others = text.split(" ")
        return self.join([" " * first + word, *others], indent=indent, between=" ")

    def said_of(self, name: str, text: str, style: str, *, indent: int) -> list[str]:
        """Return a name, whole, and what is said of it in a style: behind it if it fits, else below, indented."""
        line = f"{name}: "
        if self.width is None or cell_count(line + text) <= self.width:
            return [line + self.paint(text, style)]
        below = self.words(text, first=indent, indent=indent)
        return [*fold(f"{name}:", self.width, indent), *(self.paint(one, style) for one in below)]


def page_on(stream: TextIO, width: int | None = None) -> Page:
    """Return the page for a stream: as wide as its terminal, or as ``width`` says; without limit if it is none."""
    terminal = stream.isatty()
    encoding = getattr(stream, "encoding", None) or "utf-8"
    if width is None and terminal:
        width = _terminal_width(stream)
    return Page(
        stream=stream,
        width=None if width is None else max(width, WIDTH_MIN),
        colour=terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb",
        encoding=encoding,
        signs_known=codecs.lookup(encoding).name.startswith("utf"),
    )


def cell_count(text: str) -> int:
    """Return how many cells of a terminal text takes; for emoji sequences, on which terminals differ, the most."""
    if text.isascii():
        return len(text)
    from rich.cells import get_character_cell_size

    # "Show as emoji" may widen by one; a tint of skin stands for itself where it is not joined with what is before it.
    more = text.count("\ufe0f") + 2 * sum("\U0001f3fb" <= character <= "\U0001f3ff" for character in text)
    return sum(map(get_character_cell_size, text)) + more


def fold(text: str, room: int | None, indent: int = 0) -> Iterator[str]:
    """Yield text in lines of at most ``room`` cells, broken anywhere: for what must not be shortened.

    All lines but the first begin with ``indent`` spaces more.
    """
    while room is not None and cell_count(text) > room:
        line = _head(text, room) or text[0]
        yield line
        text = " " * indent + text[len(line) :]
    yield text


def _terminal_width(stream: TextIO) -> int:
    """Return COLUMNS, else the width of this very terminal (stdout may be another one), else 80."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns):
        return int(columns)
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except OSError:
        return 80


def _head(text: str, room: int) -> str:
    for index, character in enumerate(text):
        room -= cell_count(character)
        if room < 0:
            return text[:index]
    return text


def _tail(text: str, room: int) -> str:
    start = len(text)
    for index in range(len(text) - 1, -1, -1):
        taken = cell_count(text[index])
        room -= taken
        if room < 0:
            break
        if taken:  # an accent stays with the letter before it
            start = index
    return text[start:]
