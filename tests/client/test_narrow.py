"""Everything that is listed for people fits the terminal, whatever files are called, and its columns stand in line."""

import io
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import pytest
from rich.cells import cell_len

from dupwatch.act.apply import Summary
from dupwatch.act.plan_file import AskedGroup, GoingFile, HeldBack, Plan, PlannedFile, PlannedGroup
from dupwatch.act.undo import Undone
from dupwatch.act_output import plan_lines, summary_lines, undone_lines
from dupwatch.render import write_failures, write_pairs_table, write_table
from dupwatch.show import found_lines, status_lines
from dupwatch.terminal import Page, page_on
from tests.client.test_render import HOSTILE_NAMES, make_document, make_file

WIDE_NAMES = [
    "\u5199\u771f" * 30,
    "\U0001f44d\U0001f3fd" * 20,
    "\u0928\u093f" * 30,
    "e\u0301" * 40,
    "\u2764\ufe0f" * 30,
]
PATHS = [b"/srv/some folder/" + name for name in [*HOSTILE_NAMES, *(name.encode() for name in WIDE_NAMES), b"a.jpg"]]
WORDS = "it cannot be read: the file is cut off after some 2,048 of 300,000 bytes, or was never whole"
SENTENCE = f"{WORDS} \u5199\u771f"


def planned(path: bytes, size: int = 123_456_789) -> PlannedFile:
    return PlannedFile(path, size, 1, 2, 3, bytes(32), SENTENCE)


def a_plan() -> Plan:
    groups = [
        PlannedGroup("c1", (planned(path),), (GoingFile(planned(b"/srv/b/" + path), path, "same", True, (SENTENCE,)),))
        for path in PATHS
    ]
    held_back = tuple(HeldBack(path, SENTENCE) for path in PATHS[-19:])
    asked = (AskedGroup("c2", SENTENCE, tuple(map(planned, PATHS))),)
    return Plan("2026-11-28T05:30:00Z", (b"/srv",), (), ("same",), tuple(groups), asked, held_back)


def found(path: bytes, **other: Any) -> dict[str, Any]:
    return {"path": path, "known": False, "copies": [], "complete": True, **other}


def text_of(write: Callable[[io.StringIO], None]) -> list[str]:
    stream = io.StringIO()
    write(stream)
    return stream.getvalue().splitlines()


def clusters(page: Page) -> list[str]:
    groups = [[make_file(path, keep=True), make_file(b"/srv/x" + path)] for path in PATHS]
    document = make_document(*groups, failed=[{"path": path, "error": SENTENCE} for path in PATHS])
    return text_of(lambda stream: write_table(document, stream, page.width))


def pairs(page: Page) -> list[str]:
    known = {"structure": 0.0123, "mse": 2.0, "turn": 90, "mirrored": True, "verdict": "recoloured"}
    listed = [{"first": path, "second": b"/srv" + path, **known} for path in PATHS]
    document = {"measure": "structure", "threshold": 0.02, "total_pairs": len(listed)}
    return text_of(lambda stream: write_pairs_table(listed, document, stream, page.width))


def failures(page: Page) -> list[str]:
    listed = [{"path": path, "error": SENTENCE} for path in PATHS]
    return text_of(lambda stream: write_failures(listed, page._replace(stream=stream)))


def finds(page: Page) -> Iterator[str]:
    for path in PATHS:
        yield from found_lines(found(path), page)
        yield from found_lines(found(path, error=SENTENCE), page)
        yield from found_lines(found(path, copies=[make_file(path, lacks=SENTENCE)]), page)


def plans(page: Page) -> Iterator[str]:
    yield from plan_lines(a_plan(), page)


def runs(page: Page) -> Iterator[str]:
    skipped = [(path, SENTENCE) for path in PATHS]
    yield from summary_lines(Summary("quarantine", skipped=skipped, halted=SENTENCE), page)
    yield from undone_lines(Undone(skipped=skipped, halted=SENTENCE), page)


def status(page: Page) -> Iterator[str]:
    machine = {"state": "reading", "name": SENTENCE, "files": 1_234_567}
    told = {
        "state": "idle", "files": 1_234_567, "pictures": 1_234_567, "problems": [SENTENCE],
        "roots": [{"path": path, "state": "offline"} for path in PATHS],
        "quarantine": {"files": 12_345, "bytes": 10**11},
        "cluster": {"line": SENTENCE, "machines": [machine], "total_machines": 1, "files_here": 0},
    }  # fmt: skip
    yield from status_lines(told, page)


@pytest.mark.parametrize("columns", [40, 50, 60, 71])
@pytest.mark.parametrize("listed", [clusters, pairs, failures, finds, plans, runs, status])
def test_nothing_that_is_listed_is_wider_than_the_terminal(
    listed: Callable[[Page], Iterable[str]], columns: int
) -> None:
    lines = list(listed(page_on(io.StringIO(), columns)))
    assert lines
    assert [line for line in lines if cell_len(line) > columns] == []


def test_columns_stand_in_line_below_words_of_any_script() -> None:
    errors = ["cut off", "\u5199\u771f", "e\u0301te\u0301", "\U0001f4f7 gone", "\u0928\u093f"]
    listed = [{"path": b"/srv/at.jpg", "error": error} for error in errors]
    lines = text_of(lambda stream: write_failures(listed, page_on(stream, 80)))
    assert {cell_len(line[: line.index("at.jpg")]) for line in lines if "at.jpg" in line} == {2 + 7 + 2}


def test_a_narrow_terminal_has_the_whole_paths_of_pairs() -> None:
    path = b"/srv/" + b"0123456789" * 12 + b".jpg"
    pair = {"first": path, "second": b"/srv/b.jpg", "structure": 0.01, "turn": 0, "mirrored": False, "verdict": "same"}
    document = {"measure": "structure", "threshold": 0.02, "total_pairs": 1}
    for columns in (40, 80):
        lines = text_of(partial(write_pairs_table, [pair], document, width=columns))
        assert path.decode() in "".join(line.strip() for line in lines).replace("0.0100  same          ", "")
