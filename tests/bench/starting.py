"""What does a start cost with a large library: how long until a new photo can be compared, and how much memory?

    python -m tests.bench.starting FOLDER_OF_PHOTOS --keep KEYPOINTS.npz

Writes, for each size, what a service leaves that has compared so many pictures and searched them for shared parts:
database, descriptors, keypoints (of pictures that are cut from real photos, see `cut_keypoints`). Then a process of its
own makes both searches ready as a service does at its start, and compares one more picture: what was left is read, and
trees are built of it. It lies in the cache of the disk.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import NoReturn

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the program does

import numpy as np
from tests.bench import processes
from tests.bench.arguments import add_count, add_folder, add_sizes, make_parser
from tests.bench.cut_keypoints import grown, kept_keypoints
from tests.bench.report import Report

from dupwatchd.assembly import limits_of, search_opener
from dupwatchd.blocks.store import SLOTS_PER_BLOCK, as_digests, thumbnail_digest
from dupwatchd.compare import search
from dupwatchd.compare.measures import descriptors
from dupwatchd.db import facts, parts, pictures
from dupwatchd.db.connection import open_database
from dupwatchd.db.pictures import NewPicture
from dupwatchd.model import PictureId
from dupwatchd.pixels.keypoints import Keypoints
from dupwatchd.settings import Settings
from dupwatchd.state import stores_of
from dupwatchd.update.comparing import Comparing
from dupwatchd.update.looking import Looking
from dupwatchd.update.parting import Parting
from dupwatchd.update.updater import Progress

_SIDE_PX = 32
_PROOF = b"digest of a proof"

Row = dict[str, float]


def main() -> None:
    arguments = _arguments()
    if arguments.one:
        print(json.dumps(_started(arguments.one)))
        return
    report = Report("A start, by the size of the library")
    report.say(f"{processes.cores()} cores; seconds of CPU, and of the clock in parentheses; the memory in MiB.")
    rows = []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as scratch:
        arguments.keep = arguments.keep or os.path.join(scratch, "keypoints.npz")
        cut = kept_keypoints(arguments.photos, arguments.cut, arguments.keep)
        for size in sorted(arguments.sizes):
            state = os.path.join(scratch, str(size))
            _write(state, cut, size)
            command = [sys.executable, "-m", "tests.bench.starting", arguments.photos, "--one", state]
            told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            rows.append([f"{size:,}", *told])
    report.table(
        [
            "pictures",
            "descriptors read",
            "their trees",
            "keypoints and their trees",
            "look-up",
            "anonymous",
            "resident",
        ],
        rows,
    )
    report.write(arguments.out)


def _started(state: str) -> list[str]:
    database, stores = open_database(state), stores_of(state, _SIDE_PX)
    progress, limits = Progress(lambda: None), limits_of(Settings())
    looking = Looking(database, stores, _never, _never, progress, 1)
    comparing = Comparing(database, stores, limits, search_opener(Settings(), _SIDE_PX), progress, 1, looking)
    parting = Parting(database, stores, lambda: limits, looking, progress, 1, enabled=True)
    search.load_verdicts()
    from dupwatchd.compare.tree import boxtree  # noqa: F401 - compiled, or loaded, before anything is measured

    last = pictures.searchable(database)[-1]
    asked = search.read_keypoints(dict(stores.proofs.read_keypoints({last: _PROOF}))[last])
    steps = (
        comparing.compare_anew_if_needed,
        comparing.be_ready,
        parting.be_ready,
        lambda: parting.find(asked),
    )
    told = []
    for step in steps:
        cpu, clock = time.process_time(), time.perf_counter()
        step()
        told.append(f"{time.process_time() - cpu:.2f} ({time.perf_counter() - clock:.2f})")
    return [*told, *(f"{_memory_mib(name):.0f}" for name in ("RssAnon", "VmRSS"))]


def _memory_mib(name: str) -> float:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(f"{name}:")) / 1024


def _never(*_: object) -> NoReturn:
    raise AssertionError("no file is read")


def _write(state: str, cut: Sequence[Keypoints], size: int) -> None:
    os.makedirs(os.path.join(state, "blocks"))
    database, stores = open_database(state), stores_of(state, _SIDE_PX)
    database.rows("PRAGMA synchronous = OFF")
    random = np.random.default_rng(1)
    keypoints = _many(cut, size)
    stores.thumbnails.extend(size)
    for start in range(0, size, SLOTS_PER_BLOCK):
        ids = [PictureId(one) for one in range(start, min(start + SLOTS_PER_BLOCK, size))]
        coarse = random.integers(0, 256, (len(ids), 4, 4, 3), np.uint8)  # no two of which resemble each other
        thumbnails = np.kron(coarse, np.ones((1, 8, 8, 1), np.uint8))
        digests = [thumbnail_digest(each) for each in thumbnails]
        stores.thumbnails.write(ids[-1:], thumbnails[-1:])
        stores.descriptors.write(ids, descriptors.describe(thumbnails), as_digests(digests))
        with database.transaction():
            pictures.add_pictures(
                database,
                [NewPicture(one, digest, False, digest, _PROOF) for one, digest in zip(ids, digests, strict=True)],
            )
            parts.mark_searched(database, ids)
        stores.proofs.write_keypoints({one: (_PROOF, next(keypoints).to_bytes()) for one in ids})
    facts.write_compared(database, limits_of(Settings()))
    facts.write(database, {"descriptors": descriptors.VERSION, "keypoints": search.keypoints_version()})
    database.close()


def _many(cut: Sequence[Keypoints], size: int) -> Iterator[Keypoints]:
    for start in range(0, size, len(cut)):
        yield from grown(list(cut[: size - start]), start // len(cut))


def _arguments() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument("photos", help="a folder of photos to cut pictures from")
    parser.add_argument("--keep", metavar="FILE", help="keep the keypoints there for the next time")
    add_count(parser, "--cut", 250_000, "pictures cut from the photos")
    add_sizes(parser, (50_000, 200_000, 1_000_000))
    add_folder(parser)
    parser.add_argument("--one", metavar="DIR", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
