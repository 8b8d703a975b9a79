"""How long does the second scan of an unchanged tree take, against `find` over the same tree?

    python -m tests.bench.rescan [--files N...]

Makes a tree of small JPEG files, scans it once, then runs the scan of the unchanged tree and
`find -printf '%s %T@ %p\\n'` in turn; shown are medians. The tree grows from one size to the next.
"""

import argparse
import io
import os
import tempfile
from collections.abc import Iterable
from statistics import median

import numpy as np
from PIL import Image
from tests.bench import processes
from tests.bench.arguments import add_command, add_count, add_folder, add_runs, add_sizes, make_parser
from tests.bench.processes import Run
from tests.bench.report import Report

_SIDE_PX = 48
_PATCHES = 8  # a side: many enough that no two pictures are alike by chance


def main() -> None:
    arguments = _arguments()
    report = Report("The second scan of an unchanged tree, against find")
    report.say(
        f"{processes.cores()} cores, medians of {arguments.runs} runs in turn, {arguments.per_folder} files a folder"
    )
    with tempfile.TemporaryDirectory(dir=arguments.folder) as scratch:
        tree, state = os.path.join(scratch, "tree"), os.path.join(scratch, "state")
        rows = []
        made = 0
        for files in sorted(arguments.files):
            make_files(tree, range(made, files), arguments.per_folder)
            rows.append(_measured_row(arguments, tree, state, files - made, files))
            made = files
    report.table(
        ["files", "new, scanned first s", "scan again s", "scan CPU s", "find s", "find CPU s", "scan/find", "MiB"],
        rows,
    )
    report.write(arguments.out)


def _measured_row(arguments: argparse.Namespace, tree: str, state: str, new: int, files: int) -> list[str]:
    scan = processes.scan_command(arguments.dupwatchd, state, [tree])
    find = ["find", tree, "-printf", r"%s %T@ %p\n"]
    first = _checked(scan)
    scans, finds = [], []
    for _ in range(arguments.runs):
        scans.append(_checked(scan))
        finds.append(_checked(find))
    peak_mib = processes.measured(scan, memory=True).peak_mib
    scan_s, find_s = median(run.wall_s for run in scans), median(run.wall_s for run in finds)
    return [
        f"{files:,}",
        f"{new:,} in {first.wall_s:.1f}",
        f"{scan_s:.3f}",
        f"{median(run.cpu_s for run in scans):.3f}",
        f"{find_s:.3f}",
        f"{median(run.cpu_s for run in finds):.3f}",
        f"{scan_s / find_s:.2f}",
        f"{peak_mib:.0f}",
    ]


def _checked(command: list[str]) -> Run:
    run = processes.measured(command)
    if run.status:
        raise SystemExit(f"{' '.join(command)} ended with status {run.status}")
    return run


def path_of(tree: str, number: int, per_folder: int | None) -> str:
    """Where `make_files` puts one file; without ``per_folder`` all lie in the tree's top folder."""
    name = f"{number:07d}.jpg"
    return os.path.join(tree, name if per_folder is None else f"{number // per_folder:04d}/{name}")


def make_files(tree: str, numbers: Iterable[int], per_folder: int | None, side_px: int = _SIDE_PX) -> None:
    """Small, distinct JPEG files, of about 1 kB unless they are larger; the same ones for the same numbers."""
    for number in numbers:
        path = path_of(tree, number, per_folder)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        patches = np.random.default_rng(number).integers(0, 256, (_PATCHES, _PATCHES, 3), np.uint8)
        picture = Image.fromarray(patches).resize((side_px, side_px), Image.Resampling.BILINEAR)
        encoded = io.BytesIO()
        picture.save(encoded, "JPEG", quality=40 + number % 40)
        with open(path, "wb") as file:
            file.write(encoded.getbuffer())


def _arguments() -> argparse.Namespace:
    parser = make_parser(__doc__)
    add_sizes(parser, [10_000, 30_000, 100_000], "--files")
    add_count(parser, "--per-folder", 500, "files in a folder")
    add_folder(parser)
    add_runs(parser, 7)
    add_command(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
