"""How do the time and the memory of finding shared parts grow with the library?

    python -m tests.bench.part_search FOLDER_OF_PHOTOS --keep KEYPOINTS.npz

For each size, in a process of its own: so many pictures are made known, a tree is built of them, as at every start, and
pictures that are not known yet are looked up: a thousand at once, one at a time, and one at a time, each becoming known
at once, as a service sees them come. All pictures are cut from real photos (`cut_keypoints`).

Then a crowd: the frames of a film, whose keypoints come and go and move a little, so that each pair is a candidate.
They come in batches, and the twelve best of each are kept.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise

import numpy as np
from tests.bench import processes
from tests.bench.arguments import add_count, add_sizes, make_parser
from tests.bench.cut_keypoints import grown, kept_keypoints
from tests.bench.report import Report

from dupwatchd.compare.parts import trees  # noqa: F401 - compiled, or loaded, before anything is measured
from dupwatchd.compare.parts.search import PartSearch
from dupwatchd.model import PictureId
from dupwatchd.pixels.keypoints import Keypoints

_NEW = 2000
_SINGLES = 500
_BEST = 12
_FILM_BATCH = 512

Row = dict[str, float]


def main() -> None:
    arguments = _arguments()
    if arguments.one:
        print(json.dumps(_measured(arguments.one, arguments)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        arguments.keep = arguments.keep or os.path.join(scratch, "keypoints.npz")
        kept_keypoints(arguments.photos, arguments.cut, arguments.keep)
        report = Report("Shared parts: how time and memory grow with the library")
        report.say(
            f"{processes.cores()} cores, one thread; CPU time. Up to {arguments.cut - _NEW:,} pictures are cut from "
            f"photos; larger libraries also hold their mirror images, then their negatives."
        )
        rows = [_of_process(arguments, size) for size in sorted(arguments.sizes)]
    report.table(
        ["pictures", "keypoints each", "build s", "KB each", "batched ms", "alone ms", "99 % ms", "and added ms",
         "candidates each"],
        [
            [f"{row['size']:,.0f}", f"{row['keypoints']:.1f}", f"{row['build']:.2f}", f"{row['bytes'] / 1000:.2f}",
             *(f"{row[name]:.2f}" for name in ("batched", "alone", "slow", "added", "candidates"))]
            for row in rows
        ],
    )  # fmt: skip
    for before, after in pairwise(rows):
        grows = {
            name: math.log(after[name] / before[name]) / math.log(after["size"] / before["size"])
            for name in ("batched", "alone")
        }
        report.say(
            f"from {before['size']:,.0f} to {after['size']:,.0f} a look-up grows with the {grows['batched']:.2f}th "
            f"power of the library in batches, with the {grows['alone']:.2f}th alone"
        )
    report.table(
        ["frames of a film", "s", "pairs", "of them given", "peak MiB more"],
        [_film(arguments, frames) for frames in sorted(arguments.frames)],
    )
    report.write(arguments.out)


def _of_process(arguments: argparse.Namespace, size: int) -> Row:
    command = [sys.executable, "-m", "tests.bench.part_search", arguments.photos, "--keep", arguments.keep]
    command += ["--cut", str(arguments.cut), "--one", str(size)]
    told: Row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return told


def _measured(size: int, arguments: argparse.Namespace) -> Row:
    every = kept_keypoints(arguments.photos, arguments.cut, arguments.keep)
    new, cut = every[:_NEW], every[_NEW:]
    search = PartSearch()
    before = _resident_bytes()
    for start in range(0, size, len(cut)):
        some = grown(cut[: size - start], start // len(cut))
        ids = [PictureId(start + number) for number in range(len(some))]
        search.add(ids, some)
        del some, ids
    started = time.process_time()
    list(search.match([PictureId(size)], new[:1]))
    build = time.process_time() - started
    taken = _resident_bytes() - before
    ids = [PictureId(size + number) for number in range(_NEW)]
    started = time.process_time()
    candidates = sum(1 for _ in search.match(ids, new))
    batched = (time.process_time() - started) / _NEW
    alone = [_seconds(search, one, keypoints) for one, keypoints in zip(ids[:_SINGLES], new, strict=False)]
    started = time.process_time()
    for one, keypoints in zip(ids[:_SINGLES], new, strict=False):
        list(search.match([one], [keypoints]))
        search.add([one], [keypoints])
    added = (time.process_time() - started) / _SINGLES
    return {
        "size": size,
        "keypoints": sum(map(len, cut)) / len(cut),
        "build": build,
        "bytes": taken / size,
        "batched": 1000 * batched,
        "alone": 1000 * sum(alone) / len(alone),
        "slow": 1000 * sorted(alone)[int(0.99 * len(alone))],
        "added": 1000 * added,
        "candidates": candidates / _NEW,
    }


def _seconds(search: PartSearch, one: PictureId, keypoints: Keypoints) -> float:
    started = time.process_time()
    list(search.match([one], [keypoints]))
    return time.process_time() - started


def _resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _film(arguments: argparse.Namespace, frames: int) -> list[str]:
    """Frames come in batches."""
    still = max(kept_keypoints(arguments.photos, arguments.cut, arguments.keep)[:_NEW], key=len)
    made = [_frame(still, number) for number in range(frames)]
    search = PartSearch()
    before = most = _resident_bytes()
    given = 0
    started = time.process_time()
    for start in range(0, frames, _FILM_BATCH):
        ids = [PictureId(number) for number in range(start, min(start + _FILM_BATCH, frames))]
        votes: list[list[int]] = [[] for _ in ids]
        for a, b, agreeing in search.match(ids, made[start : start + _FILM_BATCH], _BEST):
            given += 1
            for one in (a, b):
                if one >= start:
                    votes[one - start].append(agreeing)
        reach = [sorted([*each, *[0] * _BEST], reverse=True)[_BEST - 1] for each in votes]
        search.add(ids, made[start : start + _FILM_BATCH], reach)
        most = max(most, _resident_bytes())
    seconds = time.process_time() - started
    pairs = frames * (frames - 1) // 2
    return [f"{frames:,}", f"{seconds:.1f}", f"{pairs:,}", f"{given:,}", f"{(most - before) / 2**20:.0f}"]


def _frame(still: Keypoints, number: int) -> Keypoints:
    random = np.random.default_rng(number)
    kept = np.flatnonzero(random.random(len(still)) < 0.8)
    coefficients = still.coefficients[kept] + random.integers(-2, 3, (len(kept), 16))
    x, y = (places[kept] + random.integers(-3, 4, len(kept)) for places in (still.x, still.y))
    return Keypoints(
        still.width,
        still.height,
        x.astype(np.int16),
        y.astype(np.int16),
        still.scale[kept],
        still.turn[kept],
        np.clip(coefficients, -127, 127).astype(np.int8),
    )


def _arguments() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument("photos", help="a folder of photos to cut pictures from")
    parser.add_argument("--keep", metavar="FILE", help="keep the keypoints there for the next time")
    add_count(parser, "--cut", 202_000, "pictures cut from the photos, the first 2,000 of which are looked up")
    add_sizes(parser, (20_000, 60_000, 200_000))
    add_sizes(parser, (2_000, 8_000), "--frames")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
