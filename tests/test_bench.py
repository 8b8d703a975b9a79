"""The benchmarks can be started, are listed where people look, and two of their runs can be held against each other."""

import importlib
import re
import sys
from pathlib import Path

import pytest

from tests.bench.acting import Entry, Findings, judge
from tests.bench.acting_set import Library
from tests.bench.before_after import DRIVEN_FROM_OUTSIDE, numbers
from tests.bench.truth import Label

BENCH = Path(__file__).parent / "bench"
SCRIPTS = re.findall(r"^\| .* \| `([a-z_0-9]+)` \|$", (BENCH / "README.md").read_text(), re.MULTILINE)


def help_of(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")  # some set it as they are imported; here it must not last
    with pytest.raises(SystemExit) as end:
        importlib.import_module(f"tests.bench.{name}").main()
    assert end.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_says_what_is_measured_and_how_it_is_run(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = help_of(name, monkeypatch, capsys)
    assert f"python -m tests.bench.{name}" in shown
    assert ("--dupwatchd" in shown) == (name in DRIVEN_FROM_OUTSIDE) or name == "before_after"


def test_every_script_is_listed() -> None:
    started = {path.stem for path in BENCH.glob("*.py") if '__name__ == "__main__"' in path.read_text()}
    assert started - {"peer", "fastdiff_job", "disc_job"} == set(SCRIPTS)  # these are started by other ones


def test_numbers_of_a_report_are_told_apart_by_table_row_and_column() -> None:
    report = (
        "# Title\n\n| files | s | CPU s | s |\n| --- | ---: | ---: | ---: |\n"
        "| 1,000 | 0.5 | 1,234 in 2 | 7 |\n| 2,000 | 1 | - | 0.06% |\n\nwords\n\n"
        "| files | s |\n| --- | ---: |\n| 1,000 | 9 |\n"
    )
    assert dict(numbers(report)) == {
        (0, "1,000", 0, "s"): 0.5,
        (0, "1,000", 2, "s"): 7,
        (0, "2,000", 0, "s"): 1,
        (0, "2,000", 2, "s"): 0.06,
        (1, "1,000", 0, "s"): 9,
    }


FILES = {  # name: group, kind, pixels, content
    "original": ("1", "original", 100, b"1"),
    "equal": ("1", "exact", 100, b"1"),
    "cut": ("1", "crop2", 95, b"2"),
    "small": ("1", "size50", 25, b"3"),
    "alike": ("2", "zoom", 100, b"4"),
}
GONE = {  # what went, for which file each: what has to be noticed
    "the original and its equal, for a cut": ({"original": "cut", "equal": "cut", "small": "cut"}, "lost original"),
    "both, for a quarter": ({"original": "small", "equal": "small"}, "lost original"),
    "the original, for its equal": ({"original": "equal", "cut": "equal", "small": "equal"}, ""),
    "a copy, for another picture": ({"small": "alike"}, "another"),
    "another picture, for the original": ({"alike": "original"}, "lost another"),
    "one of a family": ({"equal": "original"}, "torn"),
    "a whole family": ({"equal": "original", "sidecar": "sidecar of the original"}, ""),
}


@pytest.mark.parametrize("what", GONE)
def test_what_an_apply_did_wrong_is_noticed(what: str) -> None:
    held_by, expected = GONE[what]
    library = Library("", families=[["equal", "sidecar"]] if "family" in what else [])
    for name, (group, kind, _, _) in FILES.items():
        library.labels[name] = Label(name, group, "original" if name == "original" else "duplicate", kind, "")
    before = {name: Entry(0o644, 0, content) for name, (_, _, _, content) in FILES.items()}
    before["sidecar"] = Entry(0o644, 0, b"5")
    after = {name: entry for name, entry in before.items() if name not in held_by}
    goes = [{"path": name, "held_by": holder, "bytes": 1} for name, holder in held_by.items()]
    findings = Findings("set", is_generated=True, files=5, files_bytes=5, documents={}, planned={})
    pixels = {name: count for name, (_, _, count, _) in FILES.items()}
    judge(findings, library, before, after, {"groups": [{"goes": goes}]}, pixels)
    noticed = {
        "lost": findings.not_shown,
        "another": findings.held_by_another,
        "original": findings.original_lost,
        "torn": findings.torn,
    }
    assert {name for name, lines in noticed.items() if lines} == set(expected.split())
    assert findings.gone == sorted(held_by)
