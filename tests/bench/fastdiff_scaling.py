"""How long does a job of fast-diff-py or difPy take with 2,000, 8,000 and 32,000 photos a partition, and what memory?

    python -m tests.bench.fastdiff_scaling PHOTOS --keep DIR
    python -m tests.bench.fastdiff_scaling PHOTOS --keep DIR --peers-python PEERS312/bin/python --peers-up-to 2000

The photos of both partitions are JPEGs of 128 px, cut from real photos; one in a hundred is a turned, noisy copy of one
in the other partition. Two partitions are compared with rotation, thumbnails of 64 px and the threshold of
200 of fast-diff-py. Each job is a process of its own, from nothing; memory (proportional set size of the whole process
tree) comes from a run of its own. Shown are the steps of the job, the pairs that were found, and how many of the
copies are among them. difPy knows no partitions, and compares all files of both. With `--peers-python` fast-diff-py and
difPy themselves do the same jobs, with the same script, as far as those interpreters have them; up to so many photos a
partition, for what they take grows with the square.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat

import numpy as np
from PIL import Image
from tests.bench import processes
from tests.bench.arguments import add_count, add_sizes, make_parser
from tests.bench.report import Report
from tests.bench.thumbnails import COPIES_EVERY, is_copy, pictures

_SIDE_PX = 128
_PER_FOLDER = 1000
_JOB = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fastdiff_job.py")
_OURS, _THEIRS = ("dupwatchd.compat.fastdiff", "dupwatchd.compat.difpy"), ("fast_diff_py", "difPy")


def main() -> None:
    arguments = _arguments()
    report = Report("Two partitions, as fast-diff-py compares them")
    report.say(
        f"{processes.cores()} cores, load before the start {os.getloadavg()[0]:.1f}; JPEGs of {_SIDE_PX} px; one in "
        f"{COPIES_EVERY} is a copy of one in the other partition"
    )
    make_photos(arguments.photos, arguments.keep, max(arguments.sizes))
    ours = [(name, sys.executable) for name in _OURS]
    peers = [(name, python) for name in _THEIRS if (python := _that_imports(name, arguments.peers_python))]
    rows = [
        [name, f"{size:,}", *_measured(python, name, arguments.keep, size, memory=arguments.memory)]
        for size in arguments.sizes
        for name, python in ours + (peers if size <= arguments.peers_up_to else [])
    ]
    report.table(
        [
            "program",
            "a partition",
            "index s",
            "read s",
            "compare s",
            "its CPU s",
            "all s",
            "CPU s",
            "peak MiB",
            "disk MB",
            "pairs",
            "copies found",
        ],
        rows,
    )
    report.write(arguments.out)


def _that_imports(module: str, pythons: list[str]) -> str | None:
    """The first interpreter that has a module."""
    tries = (
        (python, subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False))
        for python in pythons
    )
    return next((python for python, tried in tries if tried.returncode == 0), None)


def make_photos(photos: str, keep: str, size: int) -> None:
    """Write the partitions ``a`` and ``b``, a thousand files a folder; folders that are there are taken as they are."""
    folders = -(-size // _PER_FOLDER)
    with ProcessPoolExecutor() as pool:
        for _ in pool.map(_make_folder, repeat(photos), repeat(keep), range(folders)):
            pass


def _make_folder(photos: str, keep: str, number: int) -> None:
    """A folder of each partition; of a picture and its copy one goes into either."""
    places = [os.path.join(keep, part, f"{number:03}") for part in "ab"]
    if all(map(os.path.isdir, places)):
        return
    for place in places:
        os.makedirs(f"{place}.part", exist_ok=True)
    made = pictures(photos, np.random.default_rng([2, number]), 2 * _PER_FOLDER, _SIDE_PX)
    for index, pixels in enumerate(made):
        part = index % 2  # a copy follows its original, and has an odd number
        kind = "copy" if is_copy(index) else "photo"
        path = os.path.join(f"{places[part]}.part", f"{kind}-{number:03}-{index // 2:04}.jpg")
        Image.fromarray(pixels).save(path, quality=90)
    for place in places:
        os.rename(f"{place}.part", place)


def _measured(python: str, module: str, keep: str, size: int, *, memory: bool) -> list[str]:
    with tempfile.TemporaryDirectory() as scratch:
        answer = os.path.join(scratch, "answer.json")
        timed = _run(python, module, keep, size, scratch, answer, memory=False)
        with open(answer, encoding="utf-8") as stream:
            told = json.load(stream)
    peak = "–"
    if memory:
        with tempfile.TemporaryDirectory() as scratch:
            sampled = _run(python, module, keep, size, scratch, os.path.join(scratch, "answer.json"), memory=True)
            peak = f"{sampled.peak_mib:.0f}"
    seconds = told["seconds"]
    # pairs come as (a, b) or, where the partitions were exchanged, as (b, a)
    names = {frozenset(os.path.basename(path) for path in pair) for pair in told["pairs"]}
    copies = [index for index in range(2 * _PER_FOLDER) if is_copy(index)]
    found = sum(
        frozenset((f"photo-{folder:03}-{(index - 1) // 2:04}.jpg", f"copy-{folder:03}-{index // 2:04}.jpg")) in names
        for folder in range(size // _PER_FOLDER)
        for index in copies
    )
    return [
        *(f"{seconds[step]:.1f}" if step in seconds else "–" for step in ("index", "read", "compare")),
        f"{told['cpu_seconds']['compare']:.1f}",
        f"{timed.wall_s:.1f}",
        f"{timed.cpu_s:.1f}",
        peak,
        f"{told['disk_bytes'] / 1e6:.0f}",
        f"{len(names):,}",
        f"{found} of {len(copies) * (size // _PER_FOLDER)}",
    ]


def _run(python: str, module: str, keep: str, size: int, scratch: str, answer: str, *, memory: bool) -> processes.Run:
    work = os.path.join(scratch, "work")
    os.mkdir(work)
    folders = [[os.path.join(keep, part, f"{number:03}") for number in range(size // _PER_FOLDER)] for part in "ab"]
    run = processes.measured(
        [python, _JOB, module, work, *folders[0], "--", *folders[1]], stdout=answer, memory=memory, quiet=True
    )
    if run.status:
        raise SystemExit(f"{module} ended with status {run.status} at {size} photos a partition")
    return run


def _arguments() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument("photos", help="a folder of photos to cut the pictures from")
    parser.add_argument("--keep", metavar="DIR", required=True, help="where the partitions are made, and kept")
    add_sizes(parser, [2000, 8000, 32000])
    parser.add_argument(
        "--peers-python", metavar="PYTHON", nargs="+", default=[], help="interpreters that have the peers"
    )
    add_count(parser, "--peers-up-to", 2000, "photos a partition that the peers are given at most")
    parser.add_argument("--memory", action=argparse.BooleanOptionalAction, default=True, help="measure memory as well")
    arguments = parser.parse_args()
    for size in arguments.sizes:
        if size % _PER_FOLDER:
            parser.error(f"--sizes: whole thousands, not {size}")
    return arguments


if __name__ == "__main__":
    main()
