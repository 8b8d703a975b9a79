"""The benchmarks can be started, are listed where people look, and two of their runs can be held against each other."""

import importlib
import re
import sys
from pathlib import Path

import pytest

from tests.bench.before_after import DRIVEN_FROM_OUTSIDE, numbers

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
    assert started - {"peer"} == set(SCRIPTS)  # scan_speed starts the peers


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
