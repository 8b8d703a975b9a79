"""How long does a page of the clusters of a big library take?

    python -m tests.bench.cluster_pages [--pictures 1000000 --clusters 100000]

Writes a state directory as the service would have left it: a million pictures in clusters of two and more and alone,
matches measured on the thumbnails that lie in the blocks (those of pictures without copies are holes), a tenth of the
clustered pictures with a second, byte-equal file, ten bursts of 50. A picture has matches with the first one of its
cluster and with a few neighbours; nine tenths are the same, and so many of these for certain as ``--confirmed`` says.
Then the library is loaded, and each threshold is asked for the first time (cold), asked again, and for its next pages.
Times are of CPU, of the one thread that does all this; on a quiet machine with all in memory that is how long it takes.
The photos themselves do not exist; asking for them costs what it would cost if they did.
"""

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from statistics import median

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the program does

import numpy as np
from numpy.typing import NDArray
from tests.bench.arguments import add_count, add_folder, make_parser
from tests.bench.report import Report

from dupwatchd.arrays import Thumbnails
from dupwatchd.blocks.store import SLOTS_PER_BLOCK, BlockStore, thumbnail_store
from dupwatchd.compare.measures.exact import measure_best, measure_pairs
from dupwatchd.db import files, pictures
from dupwatchd.db.answers import Copy
from dupwatchd.db.connection import FILE_NAME, Database, open_database
from dupwatchd.db.pictures import NewContent, NewPicture
from dupwatchd.model import FileId, PictureId, Stamp, Verdict
from dupwatchd.serve.clusters import LiveChecks, Measured, Pair, Question
from dupwatchd.serve.library import Library
from dupwatchd.serve.plan_policy import Policy
from dupwatchd.serve.plan_rules import keep_rules

SIDE_PX = 32
KEEP_MSE, KEEP_STRUCTURE = 50.0, 0.04  # the defaults
PER_FOLDER = 500
SIZES_PX = ((4000, 3000), (3000, 2000), (1600, 1200), (640, 480))
BURSTS = 10
BURST = 50
MOST_NOISE = 10  # grey levels; up to about structure 0.04
NEIGHBOURS = 6
SAME = 0.9  # share of the matches; the others are retouched
TWICE = 0.1  # share of the clustered pictures with a second, byte-equal file
NEXT_PAGES = 5
LONG_PAGE = 1000  # groups at once, as a plan is made
THRESHOLDS = (("structure", (0.02, 0.001, 0.005, 0.01, 0.04)), ("mse", (25.0, 5.0, 50.0)))

Whole = NDArray[np.int64]


def main() -> None:
    arguments = _arguments()
    report = Report("Pages of clusters")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as scratch:
        state = arguments.state or os.path.join(scratch, "state")
        if not os.path.exists(os.path.join(state, FILE_NAME)):
            write_library(state, arguments.pictures, arguments.clusters, arguments.per_cluster, arguments.confirmed)
        database = open_database(state)
        with _timed() as loading:
            before = _resident_mb()
            library = Library.load(database)
            taken = _resident_mb() - before
        report.say(
            f"{_count(database, 'picture'):,} pictures, {_count(database, 'file'):,} files, "
            f"{_count(database, 'match'):,} matches; pages of {arguments.limit} clusters; milliseconds of CPU."
        )
        report.say(
            f"Loaded in {loading():.1f} s of CPU. The columns take {library.memory_bytes / 1e6:.0f} MB, the process "
            f"grew by {taken:.0f} MB and had {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB at most."
        )
        rows = [
            _row(library, database, state, Question(measure, threshold, mirrored=False), arguments.limit)
            for measure, thresholds in THRESHOLDS
            for threshold in thresholds
        ]
        headings = ["asked for", "clusters", "first page", "again", "next pages", "slowest", "files on the first page"]
        report.table(headings, rows)
        report.say(
            f"{arguments.groups:,} groups one after the other, {LONG_PAGE:,} a page, in ms of CPU for 1,000 groups."
        )
        report.table(["what", "groups", "ms of CPU for 1,000", "MB more"], _in_a_row(database, state, arguments.groups))
        database.close()
    report.write(arguments.out)


def _row(library: Library, database: Database, state: str, question: Question, limit: int) -> list[str]:
    live_checks = _live_checks(state)
    with _timed() as cold:
        total, page = library.page(database, question, live_checks, limit)
    with _timed() as warm:
        library.page(database, question, live_checks, limit)
    following = []
    for number in range(1, NEXT_PAGES + 1):
        with _timed() as one:
            library.page(database, question, live_checks, limit, number * limit)
        following.append(one())
    return [
        f"{question.measure} ≤ {question.threshold:g}",
        f"{total:,}",
        f"{cold() * 1e3:.0f}",
        f"{warm() * 1e3:.2f}",
        f"{median(following) * 1e3:.1f}",
        f"{max(following) * 1e3:.1f}",
        str(sum(len(cluster["files"]) for cluster in page)),
    ]


def _in_a_row(database: Database, state: str, groups: int) -> list[list[str]]:
    """What it costs to read many groups as somebody does who makes a plan, each with a library of its own."""
    question = Question("structure", 0.02, mirrored=False)
    own_rules = Policy(keep_rules(["folder /srv/photos/0000", "format raw jpeg", "bytes most"]))
    rows = []
    for what, policy in (("clusters", Policy()), ("plan", Policy()), ("plan by rules of one's own", own_rules)):
        library, live_checks = Library.load(database), _live_checks(state)
        read = library.page if what == "clusters" else library.plan_page
        before, count, began = _resident_mb(), 0, time.process_time()
        asked = replace(question, policy=policy)
        while count < groups and (page := read(database, asked, live_checks, LONG_PAGE, count)[1]):
            count += len(page)
        spent_ms = (time.process_time() - began) * 1e3
        rows.append([what, f"{count:,}", f"{spent_ms * 1e3 / max(count, 1):.0f}", f"{_resident_mb() - before:.0f}"])
    return rows


def _live_checks(state: str) -> LiveChecks:
    """As that of the program, but that all files are taken to be there."""
    blocks = thumbnail_store(os.path.join(state, "blocks"), SIDE_PX)

    def measure(pairs: list[Pair], by: str, mirrored: bool, turned: bool) -> list[Measured]:
        return [Measured(*values) for values in measure_best(blocks.read, pairs, by, mirrored=mirrored, turned=turned)]

    def is_there(copy: Copy) -> bool:
        return not os.path.lexists(copy.path)

    return LiveChecks(measure, is_there, lambda copies: [None] * len(copies), lambda _: False)


@contextmanager
def _timed() -> Iterator[Callable[[], float]]:
    """Gives the seconds of CPU spent inside, once it is left."""
    began = time.process_time()
    spent: list[float] = []
    yield lambda: spent[0]
    spent.append(time.process_time() - began)


def _resident_mb() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6


def _count(database: Database, table: str) -> int:
    return int(database.value(f"SELECT count(*) FROM {table}"))


def write_library(state: str, count: int, clusters: int, per_cluster: float, confirmed: float) -> None:
    """A database and blocks of ``count`` pictures; those in clusters come first, the same for the same numbers."""
    random = np.random.default_rng(1)
    sizes = 1 + random.geometric(1 / (per_cluster - 1), clusters)
    sizes[random.permutation(clusters)[:BURSTS]] = BURST
    sizes = sizes[: np.searchsorted(np.cumsum(sizes), count, side="right")]
    cluster = np.repeat(np.arange(len(sizes)), sizes)  # (clustered pictures,)
    first = np.repeat(np.cumsum(sizes) - sizes, sizes)  # (clustered pictures,) the first picture of its cluster
    shown = random.integers(0, 256, (len(sizes), 8, 8, 3), np.uint8)
    os.makedirs(os.path.join(state, "blocks"), exist_ok=True)
    blocks = thumbnail_store(os.path.join(state, "blocks"), SIDE_PX)
    database = open_database(state)
    database.rows("PRAGMA synchronous = OFF")
    for start in range(0, count, SLOTS_PER_BLOCK):
        slots = np.arange(start, min(start + SLOTS_PER_BLOCK, count))
        copies = slots[slots < len(first)]
        original = np.kron(shown[cluster[copies]], np.ones((1, 4, 4, 1), np.uint8))
        with database.transaction():
            _add_files(database, slots, len(first), random)
            _add_matches(database, blocks, original, first[copies], copies, random)
            _add_verdicts(database, slots[0], slots[-1], confirmed, random)
    rest = range(max((count - 1) // SLOTS_PER_BLOCK * SLOTS_PER_BLOCK, len(first)), count)  # of the last block
    blocks.write(rest, np.zeros((len(rest), SIDE_PX, SIDE_PX, 3), np.uint8))
    database.close()


def _add_files(database: Database, slots: Whole, clustered: int, random: np.random.Generator) -> None:
    pictures.add_pictures(
        database, [NewPicture(PictureId(slot), random.bytes(16), False, b"", b"a proof") for slot in slots.tolist()]
    )
    shown = []
    for slot in slots.tolist():
        width, height = SIZES_PX[random.integers(len(SIZES_PX))]
        new = NewContent((random.bytes(32), 0), PictureId(slot), width, height, "JPEG", None)
        content = (pictures.add_content(database, new), int(width * height * random.uniform(0.1, 0.5)))
        shown += [content] * (2 if slot < clustered and random.random() < TWICE else 1)
    order = random.permutation(len(shown)).tolist()
    for start in range(0, len(order), PER_FOLDER):
        some = [shown[place] for place in order[start : start + PER_FOLDER]]
        _add_folder(
            database, b"/srv/photos/%04d/%02d" % (slots[0] // SLOTS_PER_BLOCK, start // PER_FOLDER), some, random
        )


def _add_folder(
    database: Database, folder: bytes, contents: list[tuple[int, int]], random: np.random.Generator
) -> None:
    names = [b"IMG_%05d.jpg" % number for number in range(len(contents))]
    times, inodes = (
        random.integers(10**17, 10**18, len(names)).tolist(),
        random.integers(2**40, size=len(names)).tolist(),
    )
    stamps = [Stamp(size, t, 5, inode) for (_, size), t, inode in zip(contents, times, inodes, strict=True)]
    listed = [
        (name, stamp.size_bytes, stamp.mtime_ns, stamp.device, stamp.inode)
        for name, stamp in zip(names, stamps, strict=True)
    ]
    files.record_folder(database, folder, 5, None, listed, [])
    folder_id = database.value("SELECT id FROM folder WHERE path = ?", (folder,))
    known = files.files_of_folder(database, folder_id)
    for name, stamp, (content_id, _) in zip(names, stamps, contents, strict=True):
        files.settle(database, FileId(known[name].file_id), stamp, content_id, None)


def _add_matches(
    database: Database,
    blocks: BlockStore,
    original: Thumbnails,
    first: Whole,
    copies: Whole,
    random: np.random.Generator,
) -> None:
    """Thumbnails of the copies, (N, S, S, 3) as the original but for noise, and their matches with the first one."""
    noise = random.normal(0, random.uniform(0, MOST_NOISE, (len(copies), 1, 1, 1)), (len(copies), 16, 16, 1))
    noise[copies == first] = 0
    noisy = np.clip(original + np.kron(noise, np.ones((1, 2, 2, 1))), 0, 255).astype(np.uint8)
    blocks.write(copies.tolist(), noisy)
    values = measure_pairs(original, noisy, mirrored=False)
    of_first = list(zip(first.tolist(), copies.tolist(), values.mse.tolist(), values.structure.tolist(), strict=True))
    rows = [*of_first]
    for step in range(1, NEIGHBOURS + 1):  # two noisy copies of one picture are as far apart as both together from it
        for (hub, one, *apart), (other_hub, other, *other_apart) in zip(of_first, of_first[step:], strict=False):
            if hub == other_hub and one != hub:
                rows.append((one, other, apart[0] + other_apart[0], apart[1] + other_apart[1]))
    pictures.add_matches(
        database,
        [
            (a, b, 0, mse, structure, None, 1, 1)
            for a, b, mse, structure in rows
            if a != b and (mse <= KEEP_MSE or structure <= KEEP_STRUCTURE)
        ],
    )


def _add_verdicts(database: Database, first: int, last: int, confirmed: float, random: np.random.Generator) -> None:
    """What looks have found of the matches of the pictures from first to last with others."""
    keys = database.rows("SELECT a, b, mirrored FROM match WHERE b BETWEEN ? AND ?", (int(first), int(last)))
    is_same, is_sure = random.random(len(keys)) < SAME, random.random(len(keys)) < confirmed
    rows = [
        ((Verdict.SAME if same else Verdict.RETOUCHED).code, True if sure else None, *key)
        for same, sure, key in zip(is_same.tolist(), is_sure.tolist(), keys, strict=True)
    ]
    database.many(
        "UPDATE match SET verdict = ?, confirmed = ?, nearer = 0 WHERE a = ? AND b = ? AND mirrored = ?", rows
    )


def _arguments() -> argparse.Namespace:
    parser = make_parser(__doc__)
    add_count(parser, "--pictures", 1_000_000, "pictures in the library")
    add_count(parser, "--clusters", 100_000, "clusters of them")
    parser.add_argument("--per-cluster", type=float, default=3, metavar="N", help="pictures, on average [default: 3]")
    parser.add_argument(
        "--confirmed", type=float, default=1.0, metavar="SHARE", help="of the matches [default: %(default)s]"
    )
    add_count(parser, "--limit", 50, "clusters a page")
    add_count(parser, "--groups", 10_000, "groups of a plan")
    parser.add_argument("--state", metavar="DIR", help="keep the library here, and use it if it is there")
    add_folder(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
