"""What did a change do to a benchmark? Runs it with two checkouts in turn and prints medians and ratios.

    python -m tests.bench.before_after BEFORE AFTER NAME [ARGUMENTS...]
    python -m tests.bench.before_after ../old . rescan --files 100000
    python -m tests.bench.before_after ../old . --rounds 3 all_pairs /srv/photos --sizes 50000 --runs 1

BEFORE and AFTER are checkouts, each with dupwatch installed (`pip install -e .`) in its own .venv. They take turns:
B A B A …, so that a busy machine disturbs both alike. A benchmark that has the option --dupwatchd drives the program
from outside: the one of this checkout is run with the command of either. Any other one is part of the program it
measures: each checkout runs its own, in its own folder, so give absolute paths. Shown is every cell of the benchmark's
tables that holds a number on both sides: the medians of all rounds, and AFTER / BEFORE.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from statistics import median

from tests.bench.arguments import add_count, make_parser
from tests.bench.report import Report

HERE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DRIVEN_FROM_OUTSIDE = (
    "acting", "acting_speed", "crowds", "disc", "evaluate", "idle", "latency", "rescan", "scan_speed", "under_load"
)  # fmt: skip
SIDES = ("before", "after")

Place = tuple[int, str, int, str]  # which table, the name of the row, which column, its heading
Values = dict[Place, float]


def main() -> None:
    arguments = _arguments()
    checkouts = {side: os.path.abspath(getattr(arguments, side)) for side in SIDES}
    report = Report(f"{arguments.name}, before and after")
    report.say(f"`{' '.join([arguments.name, *arguments.arguments])}`; {arguments.rounds} rounds in turn")
    rounds: dict[str, list[Values]] = {side: [] for side in SIDES}
    for _ in range(arguments.rounds):
        for side in SIDES:
            rounds[side].append(_run(checkouts[side], arguments.name, arguments.arguments))
    report.table(["row", "column", *SIDES, "after / before"], _rows(rounds["before"], rounds["after"]))
    report.write(arguments.out)


def _run(checkout: str, name: str, more: list[str]) -> Values:
    """What one run of the benchmark says."""
    binaries = os.path.join(checkout, ".venv", "bin")
    with tempfile.TemporaryDirectory() as scratch:
        out = os.path.join(scratch, "report.md")
        command = [os.path.join(binaries, "python"), "-m", f"tests.bench.{name}", *more, "--out", out]
        if name in DRIVEN_FROM_OUTSIDE:
            command[0] = sys.executable
            command += ["--dupwatchd", os.path.join(binaries, "dupwatchd")]
            checkout = HERE
        done = subprocess.run(command, cwd=checkout, stdout=subprocess.DEVNULL, check=False)
        if done.returncode:
            raise SystemExit(f"in {checkout}, {' '.join(command)} ended with status {done.returncode}")
        with open(out, encoding="utf-8") as file:
            return dict(numbers(file.read()))


def numbers(markdown: str) -> Iterator[tuple[Place, float]]:
    """Every cell of the tables of a report that is a number; a second row of the same name replaces the first."""
    table, headings = 0, list[str]()
    for line in markdown.splitlines():
        if not line.startswith("| "):
            table, headings = table + bool(headings), []
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not headings:
            headings = cells
            continue
        for column, (heading, cell) in enumerate(zip(headings[1:], cells[1:], strict=True)):
            try:
                yield (table, cells[0], column, heading), float(cell.replace(",", "").removesuffix("%"))
            except ValueError:
                pass  # words, or nothing


def _rows(before: list[Values], after: list[Values]) -> list[list[str]]:
    rows = []
    for place in before[0]:
        if all(place in values for values in (*before, *after)):
            was = median(values[place] for values in before)
            now = median(values[place] for values in after)
            ratio = f"{now / was:.2f}" if was else "-"
            rows.append([place[1], place[3], f"{was:g}", f"{now:g}", ratio])
    return rows


def _arguments() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument("before", metavar="BEFORE", help="a checkout with a .venv")
    parser.add_argument("after", metavar="AFTER", help="another one")
    add_count(parser, "--rounds", 2, "runs of each, in turn")
    parser.add_argument("name", metavar="NAME", help="the benchmark")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGUMENTS", help="its own arguments")
    return parser.parse_args()


if __name__ == "__main__":
    main()
