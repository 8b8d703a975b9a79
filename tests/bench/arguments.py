"""The argument lines that the benchmarks share: each option is worded once, and means the same everywhere.

A benchmark calls `make_parser` with its own docstring, which `--help` shows, and adds what it needs.
"""

import argparse
from collections.abc import Sequence

from tests.bench import processes


def make_parser(docstring: str | None, *, report: bool = True) -> argparse.ArgumentParser:
    """A parser whose `--help` shows the docstring as it is; with ``report``, `--out FILE` keeps the tables."""
    made = argparse.ArgumentParser(description=docstring, formatter_class=argparse.RawDescriptionHelpFormatter)
    if report:
        made.add_argument("--out", metavar="FILE", help="write the report as Markdown")
    return made


def add_runs(to: argparse.ArgumentParser, default: int, of: str = "timed runs of each") -> None:
    """`--runs N`."""
    to.add_argument("--runs", type=int, default=default, metavar="N", help=f"{of} [default: {default}]")


def add_count(to: argparse.ArgumentParser, flag: str, default: int, of: str) -> None:
    """A whole number, ``flag`` N."""
    to.add_argument(flag, type=int, default=default, metavar="N", help=f"{of} [default: {default}]")


def add_sizes(to: argparse.ArgumentParser, default: Sequence[int], flag: str = "--sizes") -> None:
    """How many pictures, several numbers for several measurements."""
    shown = " ".join(map(str, default))
    to.add_argument(
        flag, type=int, nargs="+", default=list(default), metavar="N", help=f"pictures, each size apart [{shown}]"
    )


def add_command(to: argparse.ArgumentParser) -> None:
    """`--dupwatchd COMMAND`, the program that is measured."""
    to.add_argument(
        "--dupwatchd", default=processes.default_command(), metavar="COMMAND", help="the command to run [this one]"
    )


def add_libraries(to: argparse.ArgumentParser) -> None:
    """`--keep DIR`, where `running.made_library` makes and finds its libraries."""
    to.add_argument("--keep", metavar="DIR", help="make the libraries here and keep them for the next run")


def add_folder(to: argparse.ArgumentParser) -> None:
    """`--folder DIR`, the disk that is used."""
    to.add_argument("--folder", metavar="DIR", help="where the files are made and removed again [default: temporary]")


def add_thumbnails(to: argparse.ArgumentParser) -> None:
    """The photos that `thumbnails.thumbnails` cuts from, and `--keep FILE` for what came of them."""
    to.add_argument("photos", help="a folder of photos to cut the thumbnails from")
    to.add_argument("--keep", metavar="FILE", help="keep the thumbnails there (3 GB a million) for the next time")


def add_threads(to: argparse.ArgumentParser) -> None:
    """`--threads N`."""
    to.add_argument("--threads", type=int, default=processes.cores(), metavar="N", help="[default: one per core]")


def add_photo_folders(to: argparse.ArgumentParser) -> None:
    """`--photos DIR...`."""
    to.add_argument("--photos", nargs="+", required=True, metavar="DIR", help="folders, each measured for itself")


def add_sets(to: argparse.ArgumentParser) -> None:
    """SET..., labelled sets as `truth.load` reads them."""
    to.add_argument("sets", nargs="+", metavar="SET", help="folder with photos and a truth.csv")
