"""How do the time and the memory of comparing grow with the library? All pairs of N pictures, four turns.

    python -m tests.bench.all_pairs FOLDER_OF_PHOTOS --keep THUMBNAILS.npy

For each N, in a process of its own: N thumbnails are described (the part that a scan does as pictures come in), the
matcher is made ready from the descriptors as at every start, and all pictures are compared with all others in both
measures. Then pictures that are not known yet are looked up, one at a time and a thousand at once. One picture in a
hundred is an altered copy of another; all of them must be found.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from statistics import median
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the program does

import numpy as np
from tests.bench import processes, thumbnails
from tests.bench.arguments import add_runs, add_sizes, add_threads, add_thumbnails, make_parser
from tests.bench.report import Report

from dupwatchd.arrays import Matches
from dupwatchd.compare.measures import descriptors, exact
from dupwatchd.compare.tree import boxtree
from dupwatchd.compare.tree.matcher import Matcher
from dupwatchd.model import Limits, PictureId

_SINGLES = 300
_BATCH = 1000
_NEW = _SINGLES + _BATCH
_AT_ONCE = 8192
_ALIKE_SAMPLE = 500
_ALIKE_AMONG = 20_000


def main() -> None:
    arguments = _arguments()
    if arguments.one:
        print(json.dumps(_measured(arguments, arguments.one)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        path = arguments.keep or os.path.join(scratch, "thumbnails.npy")
        some = thumbnails.thumbnails(arguments.photos, max(arguments.sizes) + _NEW, path)
        report = Report("All pairs: how time and memory grow with the library")
        report.say(
            f"{arguments.threads} threads; four turns; structure ≤ {arguments.structure:g} or mse ≤ {arguments.mse:g}; "
            f"medians of {arguments.runs} runs. Thumbnails of {thumbnails.SIDE_PX} px, each of two or three crops of "
            f"real photos. {_how_alike(some)}"
        )
        found = [_of_runs(arguments, path, size) for size in sorted(arguments.sizes)]
    _tell(report, found)
    report.write(arguments.out)


def _tell(report: Report, found: list[dict[str, Any]]) -> None:
    report.heading("All pairs")
    headings = ["pictures", "describe, CPU s", "ready, CPU s", "compare, CPU s", "compare, s", "µs a picture"]
    report.table(
        [*headings, "copies found", "other pairs", "resident MiB"],
        [
            [
                f"{one['size']:,}",
                f"{one['describe_cpu_s']:.2f}",
                f"{one['ready_cpu_s']:.2f}",
                f"{one['compare_cpu_s']:.2f}",
                f"{one['compare_s']:.2f}",
                f"{1e6 * one['compare_cpu_s'] / one['size']:.1f}",
                f"{one['copies_found']:,} of {one['copies']:,}",
                f"{one['others']:,}",
                f"{one['resident_mib']:.0f}",
            ]
            for one in found
        ],
    )
    report.say("Resident memory is the peak of what is not mapped from a file, of the whole process.")
    for one, other in pairwise(found):
        steps = np.log(other["size"] / one["size"])
        comparing = np.log(other["compare_cpu_s"] / one["compare_cpu_s"]) / steps
        whole = np.log(_whole(other) / _whole(one)) / steps
        report.say(
            f"From {one['size']:,} to {other['size']:,}: comparing grows as N^{comparing:.2f}, "
            f"everything from thumbnails to matches as N^{whole:.2f}."
        )
    report.heading("New pictures")
    report.table(
        ["known", "one: median ms of CPU", "99 %", f"{_BATCH:,} at once: CPU s"],
        [
            [f"{one['size']:,}", f"{one['one_ms']:.2f}", f"{one['one_p99_ms']:.2f}", f"{one['batch_cpu_s']:.3f}"]
            for one in found
        ],
    )


def _whole(one: dict[str, Any]) -> float:
    return float(one["describe_cpu_s"] + one["ready_cpu_s"] + one["compare_cpu_s"])


def _of_runs(arguments: argparse.Namespace, path: str, size: int) -> dict[str, Any]:
    runs = []
    for _ in range(arguments.runs):
        command = [sys.executable, "-m", "tests.bench.all_pairs", arguments.photos, "--one", str(size), "--keep", path]
        command += ["--threads", str(arguments.threads), "--mse", str(arguments.mse)]
        command += ["--structure", str(arguments.structure)]
        runs.append(json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout))
    return {key: median(run[key] for run in runs) for key in runs[0]}


def _measured(arguments: argparse.Namespace, size: int) -> dict[str, Any]:
    known = thumbnails.thumbnails(arguments.photos, size + _NEW, arguments.keep)
    boxtree.BoxTree(np.zeros((1, 16), np.float32))  # compiled
    resident = processes.Peak(_resident_kib)
    began = time.process_time()
    parts = [descriptors.describe(np.asarray(known[rows])) for rows in _parts(size, size)]
    described = time.process_time() - began
    matcher = Matcher(Limits(arguments.mse, arguments.structure, mirrored=False), lambda ids: np.asarray(known[ids]))
    began = time.process_time()
    for rows, part in zip(_parts(size, size), parts, strict=True):
        matcher.add([PictureId(row) for row in range(rows.start, rows.stop)], part)
    parts.clear()
    ids = matcher.known()
    ready = time.process_time() - began
    began, began_wall = time.process_time(), time.monotonic()
    found = [
        part
        for start in range(0, size, _AT_ONCE)
        for part in matcher.match_known(
            ids[start : start + _AT_ONCE].tolist(), only_earlier=True, threads=arguments.threads
        )
    ]
    compared, compared_wall = time.process_time() - began, time.monotonic() - began_wall
    pairs = {(a, b) for a, b, *_ in Matches.joined(found).rows()}
    copies = {(number - 1, number) for number in range(size) if thumbnails.is_copy(number)}
    singles = []
    for number in range(size, size + _SINGLES):
        began = time.process_time()
        _look_up(matcher, np.asarray(known[number : number + 1]), number)
        singles.append(1000 * (time.process_time() - began))
    batch = np.asarray(known[size + _SINGLES : size + _NEW])
    began = time.process_time()
    _look_up(matcher, batch, size + _SINGLES)
    return {
        "size": size,
        "describe_cpu_s": described,
        "ready_cpu_s": ready,
        "compare_cpu_s": compared,
        "compare_s": compared_wall,
        "copies": len(copies),
        "copies_found": len(copies & pairs),
        "others": len(pairs - copies),
        "one_ms": median(singles),
        "one_p99_ms": float(np.quantile(singles, 0.99)),
        "batch_cpu_s": time.process_time() - began,
        "resident_mib": resident.mib(),
    }


def _look_up(matcher: Matcher, new: "np.ndarray", first: int) -> None:
    ids = [PictureId(first + place) for place in range(len(new))]
    list(matcher.match(ids, new, descriptors.describe(new)))


def _parts(size: int, step: int) -> list[slice]:
    return [slice(start, min(start + _AT_ONCE, size)) for start in range(0, step, _AT_ONCE)]


def _how_alike(some: "np.ndarray") -> str:
    """How near the nearest other picture is, the copies apart: told by all distances among some of them."""
    rows = [number for number in range(min(_ALIKE_AMONG, len(some))) if not thumbnails.is_copy(number)]
    rows = [row for row in rows if not thumbnails.is_copy(row + 1)]
    vectors = (exact.normalised_luma(np.asarray(some[rows])).reshape(len(rows), -1) / 16).astype(np.float32)
    asked = vectors[:: max(1, len(rows) // _ALIKE_SAMPLE)]
    squares = (asked @ vectors.T) * -2 + (vectors * vectors).sum(axis=1)
    squares += (asked * asked).sum(axis=1)[:, None]
    squares[np.arange(len(asked)), np.arange(len(asked)) * max(1, len(rows) // _ALIKE_SAMPLE)] = 9
    nearest = squares.min(axis=1)
    low, middle = np.quantile(nearest, [0.01, 0.5])
    return (
        f"Among {len(rows):,} that are no copies, the nearest as they lie is at structure {middle:.2f} (median), "
        f"{low:.2f} for one in a hundred."
    )


def _resident_kib() -> int:
    """The resident memory of this process that no file backs."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        line = next(line for line in file if line.startswith("RssAnon:"))
    return int(line.split()[1])


def _arguments() -> argparse.Namespace:
    parser = make_parser(__doc__)
    add_thumbnails(parser)
    add_sizes(parser, [20_000, 50_000, 200_000, 1_000_000])
    add_threads(parser)
    add_runs(parser, 3, "runs of each size")
    parser.add_argument("--structure", type=float, default=0.02, help="threshold [default: 0.02]")
    parser.add_argument("--mse", type=float, default=25.0, help="threshold [default: 25]")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
