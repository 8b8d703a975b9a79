"""All pairs of 20,000 pictures: the index against comparing all with all, ours and that of faiss.

    PEERS/bin/pip install faiss-cpu
    python -m tests.bench.against_dense FOLDER_OF_PHOTOS --keep THUMBNAILS.npy --peers-python PEERS/bin/python

One measure at a time, four turns, the same number of threads. faiss searches an IndexFlatL2 over the same thumbnails
(for structure: over their normalised luma) for each of their four turns; as it adds in float32, pairs that lie within
a millionth of the threshold may differ. Its time is that of `range_search` alone. Ours is told twice: comparing, from
the descriptors that are stored; and everything, from the thumbnails on.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the program does

import numpy as np
from tests.bench import thumbnails
from tests.bench.arguments import add_count, add_folder, add_threads, add_thumbnails, make_parser
from tests.bench.report import Report

from dupwatchd.arrays import Matches, Thumbnails
from dupwatchd.compare.dense.device import open_device
from dupwatchd.compare.dense.matcher import DenseMatcher
from dupwatchd.compare.measures import descriptors, exact
from dupwatchd.compare.tree import boxtree
from dupwatchd.compare.tree.matcher import Matcher
from dupwatchd.model import Limits, PictureId

Found = dict[tuple[int, int], float]
_AT_ONCE = 8192
_FAISS = """
import json, sys, time
import faiss, numpy as np
vectors, turned, radius, threads, out = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
faiss.omp_set_num_threads(threads)
known = np.load(vectors)
index = faiss.IndexFlatL2(known.shape[1])
index.add(known)
took, pairs = 0.0, []
for turn, asked in enumerate(np.load(turned, mmap_mode="r")):
    asked = np.ascontiguousarray(asked)
    began = time.monotonic()
    limits, _, other = index.range_search(asked, radius)
    took += time.monotonic() - began
    pairs.append(np.stack([np.repeat(np.arange(len(asked)), np.diff(limits.astype(np.int64))), other]))
np.save(out, np.concatenate(pairs, axis=1))
print(json.dumps({"version": faiss.__version__, "took": took}))
"""


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as scratch:
        path = arguments.keep or os.path.join(scratch, "thumbnails.npy")
        some = np.array(thumbnails.thumbnails(arguments.photos, arguments.pictures, path))
        boxtree.BoxTree(np.zeros((1, 16), np.float32))  # compiled
        report = Report("The index against comparing all with all")
        report.say(f"{len(some):,} thumbnails of {thumbnails.SIDE_PX} px, {arguments.threads} threads, four turns")
        rows = []
        for measure, threshold in (("mse", 25.0), ("structure", 0.02)):
            rows += _compared(arguments, scratch, some, measure, threshold)
        headings = ["measure, who", "s", "against comparing", "against everything", "pairs", "not found", "too many"]
        report.table(headings, rows)
        report.write(arguments.out)


def _compared(
    arguments: argparse.Namespace, scratch: str, some: Thumbnails, measure: str, threshold: float
) -> list[list[str]]:
    limits = Limits(threshold if measure == "mse" else 0.0, threshold if measure == "structure" else 0.0, False)
    describing, comparing, ours = min((_indexed(some, limits, arguments.threads) for _ in range(5)), key=_two)
    dense_s, dense = _dense(some, limits)
    faiss_s, faiss, name = _faiss(arguments, scratch, some, measure, threshold)
    within = {pair: value for pair, value in _values(dense, measure).items() if value <= threshold}
    rows = [[f"{measure} ≤ {threshold:g}: comparing", f"{comparing:.3f}", "", "", f"{len(within)}", "0", "0"]]
    rows.append([f"{measure}: everything", f"{describing + comparing:.3f}", "", "", "", "", ""])
    for who, took, found in (("our dense kernel", dense_s, set(within)), (name, faiss_s, faiss)):
        mine = {pair for pair, value in _values(ours, measure).items() if value <= threshold}
        rows.append(
            [
                f"{measure}: {who}",
                f"{took:.1f}",
                f"{took / comparing:.0f} x",
                f"{took / (describing + comparing):.0f} x",
                f"{len(found)}",
                f"{len(found - mine)}",
                f"{len(mine - found)}",
            ]
        )
    return rows


def _two(run: tuple[float, float, Matches]) -> float:
    return run[0] + run[1]


def _values(matches: Matches, measure: str) -> Found:
    return dict(zip(zip(matches.a.tolist(), matches.b.tolist(), strict=True), getattr(matches, measure), strict=True))


def _indexed(some: Thumbnails, limits: Limits, threads: int) -> tuple[float, float, Matches]:
    """Seconds for describing and for comparing."""
    ids = [PictureId(number) for number in range(len(some))]
    began = time.monotonic()
    described = descriptors.describe(some)
    between = time.monotonic()
    matcher = Matcher(limits, lambda asked: some[asked])
    matcher.add(ids, described)
    known = [PictureId(number) for number in matcher.known().tolist()]
    found = [
        part
        for start in range(0, len(known), _AT_ONCE)
        for part in matcher.match_known(known[start : start + _AT_ONCE], only_earlier=True, threads=threads)
    ]
    return between - began, time.monotonic() - between, Matches.joined(found)


def _dense(some: Thumbnails, limits: Limits) -> tuple[float, Matches]:
    matcher = DenseMatcher(limits, lambda asked: some[asked], open_device("cpu", None, print))
    ids = [PictureId(number) for number in range(len(some))]
    began = time.monotonic()
    found = list(matcher.match(ids, some))
    return time.monotonic() - began, Matches.joined(found)


def _faiss(
    arguments: argparse.Namespace, scratch: str, some: Thumbnails, measure: str, threshold: float
) -> tuple[float, set[tuple[int, int]], str]:
    if not arguments.peers_python:
        return float("nan"), set(), "faiss: not asked for (--peers-python)"
    vectors, turned, out = (os.path.join(scratch, name) for name in ("vectors.npy", "turned.npy", "pairs.npy"))
    of: Callable[[Thumbnails], Any] = _structure_vectors if measure == "structure" else _mse_vectors
    np.save(vectors, of(some))
    np.save(turned, np.stack([of(np.rot90(some, turn, axes=(1, 2))) for turn in range(4)]))
    command = [arguments.peers_python, "-c", _FAISS, vectors, turned, repr(threshold), str(arguments.threads), out]
    told = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    first, second = np.load(out)
    pairs = {(a, b) for a, b in zip(first.tolist(), second.tolist(), strict=True) if a < b}
    pairs |= {(b, a) for a, b in zip(first.tolist(), second.tolist(), strict=True) if b < a}
    return told["took"], pairs, f"faiss {told['version']}, IndexFlatL2.range_search"


def _mse_vectors(some: Thumbnails) -> "np.ndarray":
    flat = some.reshape(len(some), -1).astype(np.float32)
    return np.asarray(flat / np.float32(np.sqrt(flat.shape[1])))


def _structure_vectors(some: Thumbnails) -> "np.ndarray":
    return np.asarray(exact.normalised_luma(some).reshape(len(some), -1) / 16, np.float32)


def _arguments() -> argparse.Namespace:
    parser = make_parser(__doc__)
    add_thumbnails(parser)
    add_count(parser, "--pictures", 20_000, "thumbnails")
    add_threads(parser)
    parser.add_argument("--peers-python", metavar="PYTHON", help="an interpreter that has faiss")
    add_folder(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
