"""What the client shows: nothing lost for programs, nothing harmful and nothing misaligned for people."""

import codecs
import contextlib
import csv
import fcntl
import io
import itertools
import json
import os
import pty
import random
import re
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TextIO

import pytest
from rich.cells import cell_len

from dupwatch.json_text import write_json
from dupwatch.progress import progress
from dupwatch.render import write_csv, write_paths0, write_table
from dupwatch.terminal import human_bytes, printable

LINK = "hard link of the kept file"
HOSTILE_NAMES = [
    b"new\nline.jpg",
    b"carriage\rreturn.jpg",
    b"tab\there.jpg",
    b"\x1b[31mred\x1b[0m \x1b]0;title\x07.jpg",
    b"\x7fdelete \x01.jpg",
    "c1 \u009b31m control.jpg".encode(),
    "bidi \u202egpj.exe".encode(),
    "".join(map(chr, [*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x61C])).encode(),
    "line\u2028paragraph\u2029.jpg".encode(),
    b"latin1 caf\xe9.jpg",
    b"\xff\xfe\x80.jpg",
    b"encoded surrogate \xed\xa0\x80\xed\xb2\x80.jpg",
    b"[red]markup[/red] [/] [link=http://x]y[/link].jpg",
    b"quote \" comma , semicolon ; '.jpg",
    b"back\\slash \\n \\x1b.jpg",
    b" leading and trailing ",
    b"-rf",
    b"=1+1.jpg",
    ("写真" * 42).encode() + b".j",
    b"n" * 251 + b".jpg",
    b"\xf0" * 255,
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 family \u2764\ufe0f \U0001f1e9\U0001f1ea.jpg".encode(),
    b"zalgo " + ("e" + "\u0301" * 20).encode() * 5 + b".jpg",
    "Ko\u0308ln 한글.jpg".encode(),
    "Persian \u0645\u06cc\u200c\u062e\u0648\u0627\u0646.jpg".encode(),
]


def make_file(path: bytes, keep: bool = False, **other: Any) -> dict[str, Any]:
    standard = {
        "path": path,
        "bytes": 4_200_000,
        "width": 4000,
        "height": 3000,
        "mse": 0.0 if keep else 3.25,
        "structure": 0.0 if keep else 0.0123,
        "turn": 0,
        "mirrored": False,
        "verdict": "identical" if keep else "same",
        "confirmed": True,
        "same_file_as": None,
        "damaged": False,
        "may_go": not keep,
        "keep": keep,
        "reason": "most pixels" if keep else "",
    }
    return standard | other


def make_document(*clusters: list[dict[str, Any]], **other: Any) -> dict[str, Any]:
    listed = [
        {
            "id": f"c{number}",
            "reclaimable_bytes": sum(file["bytes"] for file in files if not file["keep"]),
            "files": files,
        }
        for number, files in enumerate(clusters)
    ]
    standard = {"measure": "structure", "threshold": 0.02, "total_clusters": len(listed), "clusters": listed}
    return standard | {"failed": []} | other


def hostile_document() -> dict[str, Any]:
    """All hostile names kept, and spare in a deep folder, turned and mirrored; and all of them unreadable."""
    folders = [b"/srv/photos/", b"/srv/photos/" + "旅行/".encode() + b"very long folder name/" * 6]
    turns = itertools.cycle([0, 90, 180, 270])
    clusters = [
        [
            make_file(folders[0] + name, keep=True, reason=f"in {printable(name)}"),
            make_file(folders[1] + name, turn=next(turns), mirrored=bool(len(name) % 2)),
            make_file(folders[1] + b"x" + name, mse=None, structure=None),
        ]
        for name in HOSTILE_NAMES
    ]
    failed = [{"path": folders[1] + name, "error": f"bad \x1b[2J {name!r}"} for name in HOSTILE_NAMES[:19]]
    failed.append({"path": b"/srv/photos/plain.jpg", "error": "\u202e\udcff写真 truncated\nJPEG"})
    return make_document(*clusters, failed=failed)


def paths_of(document: dict[str, Any]) -> list[bytes]:
    return [file["path"] for cluster in document["clusters"] for file in cluster["files"]]


def table(document: dict[str, Any], width: int | None = None) -> str:
    stream = io.StringIO()
    write_table(document, stream, width)
    return stream.getvalue()


class Terminal:
    """Our end of a pseudo-terminal, and the stream that writes to it."""

    def __init__(self, columns: int, encoding: str) -> None:
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.stream: TextIO = open(theirs, "w", encoding=encoding)  # noqa: SIM115 - closed by shown()
        self._encoding = encoding
        self._received = b""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # EIO: the other end is closed
            while chunk := os.read(self.ours, 65536):
                self._received += chunk

    def shown(self) -> str:
        """Hang up, and return all that came."""
        self.stream.close()
        self._reader.join()
        return self._received.decode(self._encoding).replace("\r\n", "\n")


MakeTerminal = Callable[..., Terminal]


@pytest.fixture
def make_terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeTerminal]:
    for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    opened: list[Terminal] = []

    def make(columns: int = 80, encoding: str = "utf-8") -> Terminal:
        opened.append(Terminal(columns, encoding))
        return opened[-1]

    yield make
    for terminal in opened:
        terminal.stream.close()
        os.close(terminal.ours)


def without_colour(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def is_harmless(text: str) -> bool:
    return all(c.isprintable() or c in "\n\u3000\u200c" for c in text)


# printable


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=ascii)
def test_printable_shows_no_character_that_could_act_on_a_terminal(name: bytes) -> None:
    shown = printable(name)
    assert is_harmless(shown)
    assert "\n" not in shown
    shown.encode("utf-8")  # no surrogates


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (b"/a/b c.jpg", "/a/b c.jpg"),
        ("/写真/Köln \U0001f3d6.jpg".encode(), "/写真/Köln \U0001f3d6.jpg"),
        (b"a\nb\rc\td", r"a\nb\rc\td"),
        (b"\x1b[31m", r"\x1b[31m"),
        (b"\xff", r"\xff"),
        ("\x85".encode(), r"\u0085"),
        ("\u202e".encode(), r"\u202e"),
        ("\U000e0041".encode(), r"\U000e0041"),
        (b"a\\nb", r"a\\nb"),
        ("\udcff \ud800", r"\xff \ud800"),
    ],
)
def test_printable_names_what_it_hides(path: bytes | str, shown: str) -> None:
    assert printable(path) == shown


def test_printable_keeps_different_paths_different() -> None:
    alphabet = [
        b"\\",
        b"\n",
        b"n",
        b"x",
        b"u",
        b"0",
        b"8",
        b"5",
        b"\x85",
        b"\xc2\x85",
        b"\xff",
        b"\xed\xb3\xbf",
    ]
    paths = {b"".join(parts) for length in range(6) for parts in itertools.product(alphabet, repeat=length)}
    assert len({printable(path) for path in paths}) == len(paths)


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (99_949, "99.9 kB"),
        (99_950, "100 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (4_200_000, "4.2 MB"),
        (123_456_789_012, "123 GB"),
        (10**15, "1.0 PB"),
        (10**18, "1000 PB"),
    ],
)
def test_human_bytes_rounds_into_the_next_unit(count: int, shown: str) -> None:
    assert human_bytes(count) == shown


# for programs


def test_json_gives_back_the_document_whatever_the_paths() -> None:
    document = hostile_document() | {
        "unreadable_folders": [{"path": b"/no\xff/", "error": "Permission denied"}],
        "files": 7,
    }
    stream = io.StringIO()
    write_json(document, stream)
    text = stream.getvalue()
    assert text.isascii()
    assert text.endswith("}\n")
    read = json.loads(text)
    assert list(read) == list(document)
    for entries in (read["failed"], read["unreadable_folders"], *(c["files"] for c in read["clusters"])):
        for entry in entries:
            entry["path"] = os.fsencode(entry["path"])
    assert read == document


def test_json_of_no_clusters_is_a_document() -> None:
    stream = io.StringIO()
    write_json(make_document(), stream)
    assert json.loads(stream.getvalue()) == make_document()


def test_json_has_one_line_per_cluster() -> None:
    stream = io.StringIO()
    write_json(make_document([make_file(b"/a\nb", keep=True)], [make_file(b"/c", keep=True)]), stream)
    lines = [line.rstrip(",") for line in stream.getvalue().splitlines() if line.startswith("{")]
    assert [json.loads(line)["id"] for line in lines[1:]] == ["c0", "c1"]


def test_json_is_never_written_with_a_number_that_json_does_not_have() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(make_document(threshold=float("nan")), io.StringIO())


def test_csv_gives_back_every_path_and_value() -> None:
    document = hostile_document()
    stream = io.BytesIO()
    write_csv(document, stream)
    assert not stream.closed
    text = io.TextIOWrapper(stream, encoding="utf-8", errors="surrogateescape", newline="")
    text.seek(0)
    records = list(csv.DictReader(text, strict=True))
    files = [(cluster, file) for cluster in document["clusters"] for file in cluster["files"]]
    assert len(records) == len(files)
    for record, (cluster, file) in zip(records, files, strict=True):
        assert os.fsencode(record["path"]) == file["path"]
        assert record["cluster"] == cluster["id"]
        assert record["keep"] == ("true" if file["keep"] else "false")
        assert record["mirrored"] == ("true" if file["mirrored"] else "false")
        assert record["structure"] == ("" if file["structure"] is None else str(file["structure"]))
        assert (int(record["bytes"]), int(record["turn"])) == (file["bytes"], file["turn"])
        assert record["reason"] == file["reason"]


def test_csv_contains_the_raw_bytes_and_ends_its_records_with_crlf() -> None:
    stream = io.BytesIO()
    write_csv(make_document([make_file(b'/a\xff"b.jpg', keep=True), make_file(b"/c\nd.jpg")]), stream)
    header, first, second, second_rest, end = re.split(rb"\r\n|\n", stream.getvalue())
    columns = "path,bytes,width,height,mse,structure,turn,mirrored,verdict,confirmed,same_file_as,damaged,may_go,reason"
    columns += ",held_back,undecided"
    assert header == f"cluster,keep,{columns}".encode()
    assert (
        first == b'c0,true,"/a\xff""b.jpg",4200000,4000,3000,0.0,0.0,0,false,identical,true,,false,false,most pixels,,'
    )
    assert (
        second + b"\n" + second_rest
        == b'c0,false,"/c\nd.jpg",4200000,4000,3000,3.25,0.0123,0,false,same,true,,false,true,,,'
    )
    assert end == b""
    assert stream.getvalue().count(b"\r\n") == 3


def test_paths0_gives_back_every_path_kept_first() -> None:
    document = hostile_document()
    stream = io.BytesIO()
    write_paths0(document, stream)
    assert stream.getvalue().split(b"\0") == [*paths_of(document), b""]


def test_paths0_of_the_spare_files_has_no_kept_one() -> None:
    document = hostile_document()
    stream = io.BytesIO()
    write_paths0(document, stream, spare_only=True)
    spare = [f["path"] for c in document["clusters"] for f in c["files"] if not f["keep"]]
    assert stream.getvalue().split(b"\0") == [*spare, b""]


# for people


@pytest.mark.parametrize("columns", [40, 66, 70, 80, 120])
def test_no_line_is_wider_than_the_terminal(columns: int, make_terminal: MakeTerminal) -> None:
    terminal = make_terminal(columns)
    write_table(hostile_document(), terminal.stream)
    lines = without_colour(terminal.shown()).splitlines()
    assert len(lines) > 3 * len(HOSTILE_NAMES)
    assert max(map(cell_len, lines)) <= columns


def test_hostile_names_reach_a_terminal_only_in_their_safe_form(make_terminal: MakeTerminal) -> None:
    terminal = make_terminal(120)
    write_table(hostile_document(), terminal.stream)
    assert is_harmless(without_colour(terminal.shown()))


def test_piped_output_has_no_escape_codes_and_whole_paths() -> None:
    document = hostile_document()
    text = table(document)
    assert is_harmless(text)
    lines = text.splitlines()
    for path in paths_of(document):
        assert any(f"  {printable(path)}" in line for line in lines)
    for failure in document["failed"]:
        assert any(f"  {printable(failure['path'])}" in line for line in lines)


def test_a_terminal_and_a_pipe_say_the_same_where_there_is_room(make_terminal: MakeTerminal) -> None:
    document = make_document([make_file(b"/a.jpg", keep=True), make_file(b"/b/c.jpg", turn=90)])
    terminal = make_terminal(120)
    write_table(document, terminal.stream)
    shown = terminal.shown()
    assert "\x1b[" in shown
    assert without_colour(shown) == table(document)


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colour_can_be_refused(
    variable: str, value: str, make_terminal: MakeTerminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    terminal = make_terminal()
    write_table(hostile_document(), terminal.stream)
    assert "\x1b" not in terminal.shown()


def test_columns_variable_overrules_the_terminal(make_terminal: MakeTerminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    terminal = make_terminal(200)
    write_table(hostile_document(), terminal.stream)
    assert max(map(cell_len, without_colour(terminal.shown()).splitlines())) <= 50


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "shift_jis"])
def test_a_terminal_that_is_not_utf8_gets_what_it_can_show(encoding: str, make_terminal: MakeTerminal) -> None:
    document = make_document([make_file("/写真/Köln.jpg".encode(), keep=True), make_file(b"/x/" + b"y" * 90)])
    terminal = make_terminal(80, encoding)
    write_table(document, terminal.stream)
    shown = terminal.shown()
    assert "4000x3000" in shown
    assert "/写真/K\\xf6ln.jpg" in shown if encoding == "shift_jis" else "/\\u5199\\u771f/K" in shown
    assert max(map(cell_len, without_colour(shown).splitlines())) <= 80


def test_the_kept_file_its_reason_and_every_copy_are_told() -> None:
    document = make_document(
        [
            make_file(b"/p/a.jpg", keep=True),
            make_file(b"/p/b.jpg", width=2000, height=1500, bytes=212_000, turn=90),
            make_file(b"/p/c.jpg", mirrored=True),
            make_file(b"/p/d.jpg", verdict="identical"),
            make_file(b"/p/e.jpg", verdict="identical", may_go=False, same_file_as=b"/p/a.jpg", reason=LINK),
            make_file(b"/p/f.jpg", same_file_as=b"/p/c.jpg", reason="hard link of a file above"),
            make_file(
                b"/p/g.jpg", may_go=False, same_file_as=b"/p/c.jpg", reason="may be the same file as a file above"
            ),
            make_file(b"/p/h.jpg", confirmed=None, may_go=False),
            make_file(b"/p/i.jpg", verdict="retouched", may_go=False, width=2000),
            make_file(b"/p/j.jpg", damaged=True),
            make_file(b"/p/k.jpg", structure=0.03, verdict=None, confirmed=None, may_go=False),
        ]
    )
    assert table(document, 110) == (
        "Copies, structure ≤ 0.02 · in /p/\n"
        "\n"
        "           size     pixels    verdict  file\n"
        "group c0 · 11 files · 38.0 MB to win · kept: most pixels\n"
        "  keep   4.2 MB  4000×3000             a.jpg\n"
        "  spare  212 kB  2000×1500       same  b.jpg  smaller, turned 90°\n"
        "  spare  4.2 MB  4000×3000       same  c.jpg  mirrored\n"
        "  spare  4.2 MB  4000×3000  identical  d.jpg\n"
        "  link   4.2 MB  4000×3000  identical  e.jpg  hard link of the kept file\n"
        "  spare  4.2 MB  4000×3000       same  f.jpg  hard link of a file above\n"
        "  link   4.2 MB  4000×3000       same  g.jpg  may be the same file as a file above\n"
        "  other  4.2 MB  4000×3000       same  h.jpg  not certain\n"
        "  other  4.2 MB  2000×3000  retouched  i.jpg  smaller\n"
        "  spare  4.2 MB  4000×3000       same  j.jpg  damaged\n"
        "  other  4.2 MB  4000×3000     0.0300  k.jpg  near another copy only\n"
        "\n"
        "1 group · 5 spare files · 38.0 MB to win\n"
    )


def test_what_more_there_would_be_is_said_with_the_flag_that_shows_it() -> None:
    also = {"cropped": 3, "retouched": 2, "recoloured": 0}
    lines = table(make_document(verdicts=["identical", "same", "similar"], also=also)).splitlines()
    assert lines[-1] == "further groups: 3 cropped, 2 retouched (--also similar,cropped,retouched)"
    assert "further" not in table(make_document(also={"cropped": 0}))


def test_what_is_hidden_is_counted_and_what_is_back_is_marked() -> None:
    files = [make_file(b"/a", keep=True), make_file(b"/b", returned=True)]
    lines = table(make_document(files, ignored_groups=1_234)).splitlines()
    assert lines[-1] == "1,234 groups not shown: not duplicates (dupwatch ignored)"
    assert [line for line in lines if line.endswith("removed before")]
    assert "not shown" not in table(make_document(files, ignored_groups=0))


def test_what_may_not_go_is_never_spare() -> None:
    document = make_document([make_file(b"/a", keep=True), make_file(b"/b", may_go=False), make_file(b"/c")])
    stream = io.BytesIO()
    write_paths0(document, stream, spare_only=True)
    assert stream.getvalue() == b"/c\0"


def test_what_a_path_alone_would_part_is_left_to_a_plan() -> None:
    files = [make_file(b"/a", keep=True), make_file(b"/b", along=[b"/b.xmp"]), make_file(b"/c", along=[])]
    stream = io.BytesIO()
    assert write_paths0(make_document(files), stream, spare_only=True) == 1
    assert stream.getvalue() == b"/c\0"
    assert write_paths0(make_document(files), io.BytesIO()) == 0


def test_what_a_plan_holds_back_or_decides_is_told() -> None:
    held, open_one = "it belongs to the movie b.mov, which", "sidecar c.xmp: decided when a plan is made"
    files = [
        make_file(b"/a", keep=True),
        make_file(b"/b", may_go=False, held_back=held),
        make_file(b"/c", undecided=open_one),
    ]
    shown = table(make_document(files, reclaimable_at_most=True))
    assert f"held back: {held}" in shown
    assert open_one in shown
    assert [line for line in shown.splitlines() if "at most" in line] == [
        "group c0 · 3 files · at most 8.4 MB to win · kept: most pixels",
        "1 group · 1 spare file · at most 8.4 MB to win · 1 held back",
    ]
    assert "cannot go along" not in shown
    on_terminal = table(make_document(files), 80)
    assert "b.mov" not in on_terminal
    assert (
        "held back: its sidecar, voice memo or movie would be lost, or cannot go along\n"
        "  (see --json)\n"
        "a plan decides: names and sizes do not tell whether its sidecar, voice memo or\n"
        "  movie would be lost\n"
    ) in on_terminal
    assert "would be lost" not in table(make_document(files[:1]), 80)


def test_an_answer_that_is_not_complete_never_says_flatly_that_there_are_no_copies() -> None:
    incomplete = {"complete": False, "pending": 1528, "incomplete_because": ["the first scan is not over"]}
    assert table(make_document(**incomplete)) == (
        "No copies found so far, structure ≤ 0.02 · not complete yet: 1,528 pending\n"
    )
    some = make_document([make_file(b"/a", keep=True), make_file(b"/b")], **incomplete)
    assert table(some).endswith(" · not complete yet: 1,528 pending\n")


def test_a_narrow_terminal_has_the_figures_below_the_path() -> None:
    document = make_document([make_file(b"/p/a.jpg", keep=True), make_file(b"/p/b.jpg", turn=180)])
    assert table(document, 40) == (
        "Copies, structure ≤ 0.02 · in /p/\n"
        "\n"
        "group c0 · 2 files · 4.2 MB to win\n"
        "kept: most pixels\n"
        "  keep   a.jpg\n"
        "         4.2 MB  4000×3000\n"
        "  spare  b.jpg\n"
        "         4.2 MB  4000×3000  same\n"
        "         turned 180°\n"
        "\n"
        "1 group · 1 spare file · 4.2 MB to win\n"
    )


def test_paths_begin_in_one_column_in_every_cluster() -> None:
    rng = random.Random(4)
    clusters = [
        [
            make_file(
                b"/p/@",
                keep=not number,
                bytes=rng.randrange(10 ** rng.randrange(1, 12)),
                width=10 ** rng.randrange(6),
            )
            for number in range(3)
        ]
        for _ in range(50)
    ]
    columns = {line.index("@") for line in table(make_document(*clusters), 100).splitlines() if "@" in line}
    assert len(columns) == 1


def test_the_distance_is_the_one_that_was_asked_for() -> None:
    document = make_document(
        [make_file(b"/a", keep=True), make_file(b"/b", mse=13.57, verdict=None)], measure="mse", threshold=25
    )
    text = table(document)
    assert "mse ≤ 25" in text
    assert " 13.6  /b" in text
    assert "0.0123" not in text


def test_the_distance_in_a_measure_of_the_users_own_is_shown() -> None:
    files = [
        make_file(b"/a", keep=True, custom=0.0),
        make_file(b"/near", custom=3.0, structure=9.0),
        make_file(b"/far", custom=7.0, structure=0.0, verdict=None, confirmed=None, may_go=False),
        make_file(b"/out of range", custom=None),
    ]
    document = make_document(files, measure="mine:average_hash", threshold=5)
    assert re.search(r"spare  4.2 MB  4000×3000 +3.0  /near", table(document))
    assert re.search(r"other  4.2 MB  4000×3000 +7.0  /far  near another copy only", table(document))
    stream = io.BytesIO()
    write_paths0(document, stream, spare_only=True)
    assert stream.getvalue() == b"/near\0/out of range\0"
    text = io.BytesIO()
    write_csv(document, text)
    records = list(csv.DictReader(io.StringIO(text.getvalue().decode())))
    assert [record["custom"] for record in records] == ["0.0", "3.0", "7.0", ""]


def test_a_long_path_gives_up_its_middle_and_keeps_the_file_name() -> None:
    long = b"/srv/" + b"very long folder name/" * 5
    document = make_document(
        [make_file(b"/srv/other/IMG_1.JPG", keep=True), make_file(long + b"IMG_2.JPG")],
    )
    (line,) = [line for line in table(document, 80).splitlines() if line.startswith("  spare")]
    assert re.fullmatch(r"  spare +4.2 MB.* very long.*….*name/IMG_2\.JPG", line)
    assert cell_len(line) in (79, 80)


def test_files_of_a_cluster_never_look_the_same_when_shortened() -> None:
    paths = [b"/p/%s/%d/%s/IMG.JPG" % (b"long" * 20, number, b"folder" * 20) for number in range(3)]
    paths.append(b"/p/x.jpg")  # so that the long folders are not the common one
    document = make_document([make_file(path, keep=not n) for n, path in enumerate(paths)])
    for width in (40, 80, 120):
        text = table(document, width)
        assert "…" not in text
        assert "longlong" in text


def test_a_common_folder_of_a_cluster_is_said_once_if_paths_do_not_fit() -> None:
    inner = b"the folder that all of them are in, with a rather long name"
    document = make_document(
        [make_file(b"/p/" + inner + b"/a.jpg", keep=True), make_file(b"/p/" + inner + b"/b.jpg")],
        [make_file(b"/p/c.jpg", keep=True), make_file(b"/p/d.jpg")],
    )
    lines = table(document, 80).splitlines()
    assert f"  in {inner.decode()}/" in lines
    assert [line[-5:] for line in lines if line.startswith(("  keep", "  spare"))] == [
        *("a.jpg", "b.jpg"),
        *("c.jpg", "d.jpg"),
    ]


def test_a_file_beside_the_common_folder_is_shown_with_its_whole_path() -> None:
    document = make_document(
        [make_file(b"/p/abc/1.jpg", keep=True), make_file(b"/p/abd/2.jpg")],
        failed=[{"path": b"/q/3.jpg", "error": "truncated"}],
    )
    text = table(document, 80)
    assert "in /p/\n" in text
    assert "  abc/1.jpg" in text
    assert "  /q/3.jpg" in text


def test_markup_in_a_name_is_a_name(make_terminal: MakeTerminal) -> None:
    document = make_document([make_file(b"/[red]x[/red].jpg", keep=True), make_file(b"/[/].jpg")])
    terminal = make_terminal()
    write_table(document, terminal.stream)
    shown = terminal.shown()
    assert "[red]x[/red].jpg" in shown
    assert "[/].jpg" in shown


def test_twenty_failures_are_shown_and_the_others_counted() -> None:
    failed = [{"path": b"/p/%04d.jpg" % number, "error": "truncated"} for number in range(1234)]
    for width in (None, 40, 80):
        text = table(make_document(failed=failed), width)
        assert text.count(".jpg") == 20
        assert "… and 1,214 more: see --json\n" in text
        assert "1,234 files not readable\n" in text


def test_unreadable_folders_are_told() -> None:
    text = table(make_document(unreadable_folders=[{"path": b"/lost+found", "error": "Permission denied"}]))
    assert "Folders not readable: 1\n  Permission denied  /lost+found\n" in text
    assert text.endswith("1 folder not readable\n")


def test_an_answer_without_copies_says_so() -> None:
    assert table(make_document()) == "No copies, structure ≤ 0.02\n"


def test_a_page_of_the_clusters_says_how_many_there_are() -> None:
    document = make_document([make_file(b"/a", keep=True), make_file(b"/b")], total_clusters=1204)
    assert table(document).endswith("1 of 1,204 groups · 1 spare file · 4.2 MB to win\n")


def test_two_thousand_clusters_take_less_than_a_second() -> None:
    document = hostile_document()
    document["clusters"] = document["clusters"] * (2000 // len(HOSTILE_NAMES))
    ordinary = make_document(
        *(
            [make_file(b"/p/2019/IMG_%d.JPG" % n, keep=True), make_file(b"/p/backup/IMG_%d.JPG" % n)]
            for n in range(2000)
        )
    )
    begin = time.process_time()
    table(ordinary, 80)
    assert time.process_time() - begin < 1
    begin = time.process_time()
    table(document, 80)  # every name of the worst kind
    assert time.process_time() - begin < 5


def test_importing_the_client_imports_no_rich() -> None:
    code = "import sys, dupwatch.render, dupwatch.progress; sys.exit('rich' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


# progress


def test_progress_shows_stage_count_rate_and_time_on_a_terminal(make_terminal: MakeTerminal) -> None:
    terminal = make_terminal()
    with progress(terminal.stream) as bar:
        bar.stage("indexing [red]", total=1234)
        for _ in range(1234):
            bar.advance()
        bar.stage("comparing", total=None, unit="pictures")
        bar.advance(77)
    shown = without_colour(terminal.shown())
    assert re.search(r"indexing \[red\] .*1,234/1,234 +[\d,.]+ files/s +00:0\d", shown)
    assert re.search(r"comparing .*77/77 +[\d,.]+ pictures/s +00:0\d", shown)
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1  # the cursor comes back


def test_progress_is_silent_unless_the_stream_is_a_terminal(make_terminal: MakeTerminal) -> None:
    piped, terminal = io.StringIO(), make_terminal()
    for stream, quiet in ((piped, False), (terminal.stream, True)):
        with progress(stream, quiet) as bar:
            bar.stage("indexing", total=10)
            bar.advance(5)
    assert piped.getvalue() == ""
    assert terminal.shown() == ""


def test_progress_survives_a_terminal_that_hangs_up() -> None:
    ours, theirs = pty.openpty()
    stream = open(theirs, "w", encoding="utf-8")  # noqa: SIM115 - closed below, with an error
    with progress(stream) as bar:
        bar.stage("indexing", total=10)
        os.close(ours)
        for _ in range(3):
            bar.stage("comparing")
            bar.advance(5)
    with contextlib.suppress(OSError):
        stream.close()


def test_progress_survives_a_closed_stream(make_terminal: MakeTerminal) -> None:
    terminal = make_terminal()
    with progress(terminal.stream) as bar:
        bar.stage("indexing", total=10)
        terminal.stream.close()
        bar.stage("comparing")
        bar.advance(5)
    with progress(terminal.stream) as bar:
        bar.stage("indexing")
    terminal.shown()


def test_progress_lets_an_error_through_and_leaves_the_bar_where_it_was(make_terminal: MakeTerminal) -> None:
    terminal = make_terminal()

    def work() -> None:
        with progress(terminal.stream) as bar:
            bar.stage("indexing", total=10)
            bar.advance(4)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    (last,) = without_colour(terminal.shown()).rstrip().splitlines()[-2:-1]
    assert "4/10" in last


def test_a_million_steps_cost_a_terminal_a_few_drawings(make_terminal: MakeTerminal) -> None:
    terminal = make_terminal()
    begin, began_cpu = time.monotonic(), time.process_time()
    with progress(terminal.stream) as bar:
        bar.stage("indexing", total=10**6)
        for _ in range(10**6):
            bar.advance()
    seconds, cpu_seconds = time.monotonic() - begin, time.process_time() - began_cpu
    assert cpu_seconds < 3
    assert terminal.shown().count("indexing") < 10 * seconds + 5


def test_progress_starts_no_thread(make_terminal: MakeTerminal) -> None:
    terminal = make_terminal()
    threads = threading.active_count()
    with progress(terminal.stream) as bar:
        bar.stage("indexing", total=10)
        assert threading.active_count() == threads


def test_progress_fits_a_narrow_terminal() -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    code = (
        "import sys\nfrom dupwatch.progress import progress\nwith progress(sys.stderr) as bar:\n"
        "    bar.stage('indexing', total=123456); bar.advance(123456)\n"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    environment |= {"PYTHONPATH": os.pathsep.join(sys.path), "TERM": "xterm", "PYTHONUTF8": "1"}
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=theirs, stdout=subprocess.DEVNULL, stderr=theirs, env=environment
    )
    os.close(theirs)
    received = b""
    with contextlib.suppress(OSError):
        while chunk := os.read(ours, 65536):
            received += chunk
    os.close(ours)
    assert child.wait() == 0
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", codecs.decode(received, "utf-8"))
    lines = re.split(r"[\r\n]+", shown)
    assert any("123,456/123,456" in line for line in lines)
    assert max(map(cell_len, lines)) <= 40
