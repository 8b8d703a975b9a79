"""What does indexing cost beyond what decoding and scaling cost anyway?

    python -m tests.bench.index_floor --photos DIR

Compares the worker pool with a bare loop of as many processes, which reads each JPEG file, decodes it at the same
reduction and averages it to the same thumbnail and the same proof: no hash, no checks, no facts, nobody is told. Both
run in turn, in processes of their own; start-up and the first files are not counted on either side. Shown are medians.
"""

import argparse
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.sharedctypes import Synchronized
from statistics import median

import simplejpeg
from tests.bench import processes, truth
from tests.bench.arguments import add_photo_folders, add_runs, make_parser
from tests.bench.decoding import job, never_known
from tests.bench.report import Report

from dupwatchd.index.pool import DecodeLimits, WorkerPool
from dupwatchd.index.thumbnail import average, power_of_two_reduction, to_bytes
from dupwatchd.model import ReadStatus
from dupwatchd.pixels.proof import make_proof

_WARM_UP_FILES = 32
_FILES_AT_ONCE = 16
_SIDES = ("pool", "bare")

Cost = tuple[float, float]  # wall seconds, CPU seconds


def main() -> None:
    arguments = _arguments()
    if arguments.side:
        print(json.dumps(_RUN[arguments.side](_jpegs(arguments.photos), arguments.workers, arguments.thumbnail_px)))
        return
    report = Report("Indexing alone, against a bare loop of decoding and scaling")
    cores = processes.cores()
    report.say(
        f"{arguments.workers} processes on {cores} cores, thumbnails of {arguments.thumbnail_px} px, "
        f"medians of {arguments.runs} runs in turn"
    )
    rows = []
    for folder in arguments.photos:
        paths = _jpegs([folder])
        costs: dict[str, list[Cost]] = {side: [] for side in _SIDES}
        for _ in range(arguments.runs):
            for side in _SIDES:
                costs[side].append(_in_a_process(side, folder, arguments))
        rows.append(_row(os.path.basename(os.path.realpath(folder)), len(paths) - _warm_up(paths), costs))
    report.table(
        ["photos", "files", "pool wall s", "bare wall s", "ratio", "pool CPU ms/file", "bare CPU ms/file", "ratio"],
        rows,
    )
    report.write(arguments.out)


def _row(name: str, files: int, costs: dict[str, list[Cost]]) -> list[str]:
    wall = {side: median(cost[0] for cost in costs[side]) for side in _SIDES}
    cpu = {side: median(cost[1] for cost in costs[side]) for side in _SIDES}
    wall_ratio = median(ours[0] / bare[0] for ours, bare in zip(costs["pool"], costs["bare"], strict=True))
    cpu_ratio = median(ours[1] / bare[1] for ours, bare in zip(costs["pool"], costs["bare"], strict=True))
    return [
        name,
        str(files),
        *(f"{wall[side]:.3f}" for side in _SIDES),
        f"{wall_ratio:.3f}",
        *(f"{1000 * cpu[side] / files:.3f}" for side in _SIDES),
        f"{cpu_ratio:.3f}",
    ]


def _in_a_process(side: str, folder: str, arguments: argparse.Namespace) -> Cost:
    command = [sys.executable, "-m", "tests.bench.index_floor", "--photos", folder, "--side", side]
    command += ["--workers", str(arguments.workers), "--thumbnail-px", str(arguments.thumbnail_px)]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    wall_s, cpu_s = json.loads(subprocess.check_output(command, env=environment))
    return wall_s, cpu_s


def by_pool(paths: list[str], workers: int, thumbnail_px: int) -> Cost:
    """The pool as a scan uses it."""
    jobs = [job(number, path) for number, path in enumerate(paths)]
    warm_up = _warm_up(paths)
    with WorkerPool(workers, thumbnail_px, DecodeLimits()) as pool:
        list(pool.index(jobs[:warm_up], never_known))
        before = _cpu_of_tree_s()
        started = time.monotonic()
        decoded = sum(outcome.status is ReadStatus.DECODED for outcome in pool.index(jobs[warm_up:], never_known))
        wall_s = time.monotonic() - started
        cpu_s = _cpu_of_tree_s() - before
    if decoded != len(paths) - warm_up:
        sys.exit(f"only {decoded} of {len(paths) - warm_up} files were decoded: choose a folder of sound JPEG files")
    return wall_s, cpu_s


def by_bare_loop(paths: list[str], workers: int, thumbnail_px: int) -> Cost:
    """As many processes that share the list of files, and nothing else."""
    context = multiprocessing.get_context("fork")
    next_file: Synchronized[int] = context.Value("i", _warm_up(paths))
    ready, go = context.Barrier(workers + 1), context.Event()
    results: multiprocessing.SimpleQueue[float] = context.SimpleQueue()

    def work() -> None:
        for path in paths[: _warm_up(paths)]:
            shrink(path, thumbnail_px)
        ready.wait()
        go.wait()
        before = time.process_time()
        while True:
            with next_file.get_lock():
                start = next_file.value
                next_file.value = start + _FILES_AT_ONCE
            if start >= len(paths):
                break
            for path in paths[start : start + _FILES_AT_ONCE]:
                shrink(path, thumbnail_px)
        results.put(time.process_time() - before)

    children = [context.Process(target=work) for _ in range(workers)]
    for child in children:
        child.start()
    ready.wait()
    started = time.monotonic()
    go.set()
    cpu_s = sum(results.get() for _ in children)
    wall_s = time.monotonic() - started
    for child in children:
        child.join()
    return wall_s, cpu_s


def shrink(path: str, thumbnail_px: int) -> None:
    """Read, decode at the reduction the project uses, average to a thumbnail and to a proof."""
    with open(path, "rb") as file:
        data = file.read()
    height, width, _, _ = simplejpeg.decode_jpeg_header(data)
    by = power_of_two_reduction(width, height, thumbnail_px)
    pixels = simplejpeg.decode_jpeg(data, "RGB", min_height=-(-height // by), min_width=-(-width // by))
    to_bytes(average(pixels, width / by, height / by, thumbnail_px))
    make_proof(pixels, width / by, height / by).to_bytes()


_RUN: dict[str, Callable[[list[str], int, int], Cost]] = {"pool": by_pool, "bare": by_bare_loop}


def _cpu_of_tree_s() -> float:
    """CPU time of this process and all its descendants, those included that were waited for."""
    ticks = 0
    for pid in processes.tree(os.getpid()):
        if pid != os.getpid():
            with open(f"/proc/{pid}/stat", "rb") as file:
                ticks += sum(map(int, file.read().rpartition(b")")[2].split()[11:15]))  # own and waited for
    own = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own + ticks / os.sysconf("SC_CLK_TCK")


def _warm_up(paths: list[str]) -> int:
    return min(_WARM_UP_FILES, len(paths) // 4)


def _jpegs(folders: list[str]) -> list[str]:
    paths = [path for folder in folders for path in truth.files_below(folder)]
    return [path for path in paths if path.lower().endswith((".jpg", ".jpeg"))]


def _arguments() -> argparse.Namespace:
    parser = make_parser(__doc__)
    add_photo_folders(parser)
    parser.add_argument("--workers", type=int, default=processes.cores(), metavar="N", help="[default: one per core]")
    parser.add_argument("--thumbnail-px", type=int, default=32, help="side of the thumbnails [default: 32]")
    add_runs(parser, 7)
    parser.add_argument("--side", choices=_SIDES, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
