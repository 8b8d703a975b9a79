"""Are copies found that were changed as those of the DISC benchmark are, and is nothing else taken for one?

    python -m tests.bench.disc PHOTOS... --keep DIR --augly-python VENV/bin/python [--limit N] [--seed N] [--out FILE]

Photos out of the folders are changed by AugLy, as for the image similarity challenge of 2021 (DISC): cut, turned,
written over, shown on a screen, pixelated, ..., each photo in a few of these ways, and each way alone or after others.
The changed files are kept in DIR for the next run. One scan of the real program indexes them and all photos. What
counts are pairs of a changed file and a photo; all but that of its own photo are wrong. In folders with a truth.csv,
pairs of one group are not scored, nor are photos that were used as a background.

Joined is what has a verdict that says that one is made of the other; told is also what shares a part at most. For
recall at precision 1 and the mean precision (micro-AP, that of DISC) pairs are ordered: those that are joined first,
and among these and among the others by keypoints that agree; pairs that are near as a whole have the most. PDQ, if
that interpreter has pdqhash as well, hashes the same files; there the score is the Hamming distance. With
--sscd-python, an interpreter that has immaculate[sscd], numpy and Pillow, its networks read them, too; the score is the
cosine in thousandths, and 0.75 is what immaculate joins from on.

Exit status 1: a pair is joined that is wrong.
"""

import argparse
import hashlib
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import combinations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tests.bench import processes, truth
from tests.bench.arguments import add_command, add_count, make_parser
from tests.bench.disc_job import KINDS, SSCD_MODELS
from tests.bench.processes import Run
from tests.bench.report import Report

from dupwatchd.model import VERSIONS, Verdict
from dupwatchd.pixels.keypoints import MOST_KEYPOINTS

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
CHAINS = {"chain of 2": 2, "chain of 3": 3}
ALL = "all"
BACKGROUNDS = 50
PDQ_DISTANCE = 31  # that its authors recommend
SSCD_COSINE = 750  # thousandths; from there on immaculate joins
ONE_PICTURE = (Verdict.IDENTICAL, Verdict.SAME)
JOINED_SCORE = 100  # of a pair that is joined, more than its votes
MOST_SHOWN = 60  # wrong pairs
_JOB = os.path.join(os.path.dirname(os.path.abspath(__file__)), "disc_job.py")


@dataclass(frozen=True)
class Copy:
    """A changed file."""

    path: str
    source: str
    kind: str


@dataclass
class Scores:
    """How many pairs have each score, the higher the more alike; right ones by kind."""

    copies: Counter[str]
    right: defaultdict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    wrong: Counter[int] = field(default_factory=Counter)

    def recall(self, kind: str, least: int) -> float:
        """Share of the copies whose pair has a score of at least that."""
        return sum(count for score, count in self.right[kind].items() if score >= least) / self.copies[kind]

    def first_wrong(self) -> int:
        """The least score that no wrong pair has."""
        return max(self.wrong, default=0) + 1

    def mean_precision(self) -> float:
        """Precision at each right pair, from the highest score on; what is not found counts as 0. Ties count as one."""
        found = every = 0
        summed = 0.0
        for score in sorted(self.right[ALL].keys() | self.wrong.keys(), reverse=True):
            here = self.right[ALL][score]
            found += here
            every += here + self.wrong[score]
            summed += here * found / every
        return summed / self.copies[ALL]


def plan(photos: list[str], asked: argparse.Namespace) -> tuple[list[dict[str, Any]], set[str]]:
    """The jobs of `disc_job`, and the photos that serve as backgrounds and therefore are no references."""
    rng = random.Random(asked.seed)
    shuffled = rng.sample(photos, len(photos))
    spare = min(BACKGROUNDS, len(photos) // 10)
    backgrounds, sources = shuffled[:spare], [path for path in shuffled[spare:] if _is_large(path, asked.least_px)]
    names = [*KINDS, *CHAINS]
    jobs = []
    for number, source in enumerate(sources[: asked.limit]):
        for turn in range(asked.copies):
            kind = names[(number * asked.copies + turn) % len(names)]
            kinds = rng.sample(list(KINDS), CHAINS[kind]) if kind in CHAINS else [kind]
            jobs.append({
                "source": source,
                "target": os.path.join(asked.keep, "changed", f"{number:05}-{names.index(kind):02}.jpg"),
                "kind": kind,
                "kinds": kinds,
                "seed": f"{asked.seed} {number} {kind}",
                "background": rng.choice(backgrounds),
            })  # fmt: skip
    return jobs, set(backgrounds)


def _is_large(path: str, least_px: int) -> bool:
    try:
        with Image.open(path) as image:
            return min(image.size) >= least_px
    except OSError:
        return False


def make(jobs: list[dict[str, Any]], asked: argparse.Namespace, report: Report) -> None:
    """The changed files, unless they are there."""
    made = os.path.join(asked.keep, "made.json")
    if os.path.exists(made):
        with open(made, encoding="utf-8") as file:
            if json.load(file) != jobs:
                sys.exit(f"{asked.keep} holds what was made of other photos, or in another way: name another folder")
        return
    os.makedirs(os.path.join(asked.keep, "changed"), exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        run, failed = _run_job(asked.augly_python, "change", jobs, scratch)
    report.say(f"AugLy: {1000 * run.cpu_s / len(jobs):.1f} ms of CPU a file; {len(failed)} could not be made")
    report.lines(failed)
    with open(made, "w", encoding="utf-8") as file:
        json.dump(jobs, file)


def _run_job(python: str, what: str, asked: list[Any], scratch: str) -> tuple[Run, Any]:
    listed, answer = os.path.join(scratch, "asked.json"), os.path.join(scratch, "answer.json")
    with open(listed, "w", encoding="utf-8") as file:
        json.dump(asked, file)
    command = [python, _JOB, what, listed]
    run = processes.measured(command, stdout=answer)
    if run.status:
        sys.exit(f"{' '.join(command)} ended with status {run.status}")
    with open(answer, encoding="utf-8") as file:
        return run, json.load(file)


class Judge:
    """Tells whether a pair of a copy and a photo is right, wrong or not scored."""

    def __init__(self, copies: list[Copy], groups: dict[str, str], unscored: set[str]) -> None:
        """``groups``: of each photo, as labelled, or its own path."""
        self.copies = {copy.path: copy for copy in copies}
        self.groups = {path: group for path, group in groups.items() if path not in unscored}
        counts = Counter(copy.kind for copy in copies)
        self.counts = counts + Counter({ALL: len(copies)})

    def take(self, scores: Scores, path: str, other: str, score: int) -> bool:
        """Count a pair of files; returns whether it is wrong."""
        if other in self.copies:
            path, other = other, path
        copy = self.copies.get(path)
        if copy is None or other not in self.groups:
            return False
        if other == copy.source:
            scores.right[copy.kind][score] += 1
            scores.right[ALL][score] += 1
        elif self.groups[other] != self.groups[copy.source]:
            scores.wrong[score] += 1
            return True
        return False


def ours(state: str, judge: Judge, threshold: float) -> tuple[Scores, list[str]]:
    """From the index of a scan; and the joined pairs that are wrong, in words."""
    scores, wrong = Scores(judge.counts), []
    database = sqlite3.connect(os.path.join(state, "dupwatch.sqlite"))
    for paths, verdict, votes in _told(database, threshold):
        score = votes + (JOINED_SCORE if verdict else 0)
        if judge.take(scores, *paths, score) and verdict:
            wrong.append(f"{verdict.value}, {votes} votes: {' and '.join(paths)}")
    database.close()
    return scores, wrong


def _told(database: sqlite3.Connection, threshold: float) -> Iterator[tuple[tuple[str, str], Verdict | None, int]]:
    """Pairs of files, what joins them and their votes; None: they share a part, or look alike, at most."""
    files: defaultdict[int, list[str]] = defaultdict(list)
    for folder, name, picture in database.execute(
        "SELECT folder.path, name, picture_id FROM file JOIN folder ON folder.id = folder_id "
        "JOIN content ON content.id = content_id WHERE picture_id IS NOT NULL"
    ):
        files[picture].append(os.path.join(os.fsdecode(folder), os.fsdecode(name)))
    for paths in files.values():
        for one, other in combinations(paths, 2):
            yield (one, other), Verdict.SAME, MOST_KEYPOINTS
    verdicts = (None, *Verdict)
    told: dict[tuple[int, int], tuple[Verdict | None, int]] = {}
    for a, b, code, votes in database.execute("SELECT a, b, coalesce(verdict, 0), votes FROM part_match"):
        told[a, b] = verdicts[code], votes
    for a, b, code, structure in database.execute(
        "SELECT a, b, verdict, structure FROM match WHERE near = 1 AND mirrored = 0 AND verdict IS NOT NULL"
    ):
        verdict, votes = verdicts[code], told[a, b][1] if (a, b) in told else 0
        # a version of a picture that shares a part with it counts whatever the distance
        if structure > threshold and not (votes and verdict in VERSIONS):
            verdict = None
        told[a, b] = verdict, votes if structure > threshold else MOST_KEYPOINTS
    for (a, b), (verdict, votes) in told.items():
        for one, other in product(files.get(a, ()), files.get(b, ())):
            yield (one, other), verdict if verdict in (*ONE_PICTURE, *VERSIONS) else None, votes


@dataclass(frozen=True)
class Peer:
    """What another program says of the same pairs."""

    name: str
    scores: Scores
    least: dict[str, int]  # scores from which on a pair is joined, with their names, the usual one first


def pdq(asked: argparse.Namespace, judge: Judge, report: Report) -> Peer:
    """From the hashes of all pairs of a copy and a photo."""
    hashes = _of_all("PDQ", asked.augly_python, "hash", judge, report)
    numbers = {path: np.frombuffer(bytes.fromhex(one), np.uint64) for path, one in hashes.items()}

    def alike(ours: NDArray[Any], theirs: NDArray[Any]) -> NDArray[np.int64]:
        return np.asarray(256 - np.bitwise_count(theirs ^ ours).sum(axis=1, dtype=np.int64))

    least = {f"{distance} bits": 256 - distance for distance in (PDQ_DISTANCE, 60, 90)}
    return Peer("PDQ", _scores_of_pairs(judge, numbers, alike, 256), least)


def sscd(model: str, asked: argparse.Namespace, judge: Judge, report: Report) -> Peer:
    """From the cosines of all pairs of a copy and a photo."""
    embedded = _of_all(model, asked.sscd_python, model, judge, report)
    numbers = {path: np.frombuffer(bytes.fromhex(one), np.float32) for path, one in embedded.items()}

    def alike(ours: NDArray[Any], theirs: NDArray[Any]) -> NDArray[np.int64]:
        return np.asarray(np.rint(1000 * (theirs @ ours)).clip(0, 1000), np.int64)

    return Peer(model, _scores_of_pairs(judge, numbers, alike, 1000), {"0.75": SSCD_COSINE, "0.6": 600, "0.5": 500})


def _of_all(name: str, python: str, what: str, judge: Judge, report: Report) -> dict[str, str]:
    """What a job of `disc_job` says of each file that it can read."""
    paths = [*judge.copies, *judge.groups]
    with tempfile.TemporaryDirectory() as scratch:
        run, told = _run_job(python, what, paths, scratch)
    report.say(f"{name}: {1000 * run.cpu_s / len(paths):.2f} ms of CPU a picture, without comparing")
    return {path: one for path, one in told.items() if one}


def _scores_of_pairs(
    judge: Judge, numbers: dict[str, NDArray[Any]], alike: Callable[[NDArray[Any], NDArray[Any]], NDArray[np.int64]],
    most: int,
) -> Scores:  # fmt: skip
    """Counts all pairs; ``alike`` gives the scores, 0 to ``most``, of one file and others."""
    photos = [path for path in judge.groups if path in numbers]
    theirs = np.stack([numbers[path] for path in photos])
    place = {path: at for at, path in enumerate(photos)}
    groups = np.unique([judge.groups[path] for path in photos], return_inverse=True)[1]
    scores = Scores(judge.counts)
    for path, copy in judge.copies.items():
        if path not in numbers:
            continue
        found = alike(numbers[path], theirs)
        own = place.get(copy.source)
        if own is not None:
            judge.take(scores, path, copy.source, int(found[own]))
            found = found[groups != groups[own]]
        counts = np.bincount(found, minlength=most + 1)
        scores.wrong.update({score: int(counts[score]) for score in np.flatnonzero(counts).tolist()})
    return scores


def tell(kinds: list[str], us: Scores, peers: list[Peer], report: Report) -> None:
    """A row for each kind."""
    report.heading("Copies that are found, by kind")
    columns = ["kind", "copies", "joined", "told", "at precision 1"]
    for peer in peers:
        columns += [f"{peer.name}, {next(iter(peer.least))}", f"{peer.name}, at precision 1"]
    rows = []
    for kind in kinds:
        shares = [us.recall(kind, least) for least in (JOINED_SCORE, 1, us.first_wrong())]
        for peer in peers:
            usual = next(iter(peer.least.values()))
            shares += [peer.scores.recall(kind, least) for least in (usual, peer.scores.first_wrong())]
        rows.append([kind, str(us.copies[kind]), *(f"{share:.3f}" for share in shares)])
    report.table(columns, rows)
    report.heading("All pairs of a copy and a photo")
    rows = [_row("joined", us, JOINED_SCORE), _row("told", us, 1)]
    rows += [_row(f"{peer.name}, {name}", peer.scores, least) for peer in peers for name, least in peer.least.items()]
    report.table(["", "found", "wrong pairs", "recall", "recall at precision 1", "micro-AP"], rows)


def _row(name: str, scores: Scores, least: int) -> list[str]:
    found = sum(count for score, count in scores.right[ALL].items() if score >= least)
    wrong = sum(count for score, count in scores.wrong.items() if score >= least)
    whole = [scores.recall(ALL, least), scores.recall(ALL, scores.first_wrong()), scores.mean_precision()]
    return [name, f"{found:,}", f"{wrong:,}", *(f"{share:.3f}" for share in whole)]


def photos_of(folders: list[str]) -> dict[str, str]:
    """The group of each picture in the folders, by path; equal files are of one group."""
    groups: dict[str, str] = {}
    of_bytes: dict[bytes, str] = {}
    for folder in folders:
        for label in truth.load(folder).labels.values():
            if label.path.lower().endswith(SUFFIXES):
                with open(label.path, "rb") as file:
                    digest = hashlib.file_digest(file, "sha256").digest()
                groups[label.path] = of_bytes.setdefault(digest, f"{folder} {label.group}")
    return groups


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__)
    parser.add_argument("photos", nargs="+", metavar="PHOTOS", help="folders of photos")
    parser.add_argument("--keep", required=True, metavar="DIR", help="where the changed files are made and kept")
    parser.add_argument("--augly-python", required=True, metavar="PYTHON", help="interpreter with AugLy and pdqhash")
    parser.add_argument("--sscd-python", metavar="PYTHON", help="interpreter with immaculate[sscd], numpy and Pillow")
    parser.add_argument("--sscd", nargs="+", choices=SSCD_MODELS, default=SSCD_MODELS, help="which of its networks")
    add_count(parser, "--limit", 2000, "photos that are changed")
    add_count(parser, "--copies", 4, "changed files of each of them")
    add_count(parser, "--seed", 1, "other photos and other changes for each")
    add_count(parser, "--least-px", 200, "photos with a shorter side than that are not changed")
    add_command(parser)
    asked = parser.parse_args()
    asked.keep = os.path.realpath(asked.keep)
    return asked


def scan(asked: argparse.Namespace, state: str) -> tuple[Run, float]:
    """Indexes all; what it cost, and the threshold that it joins by."""
    answer = os.path.join(state, "answer.json")
    folders = [*map(os.path.realpath, asked.photos), os.path.join(asked.keep, "changed")]
    command = processes.scan_command(asked.dupwatchd, os.path.join(state, "state"), folders)
    run = processes.measured(command, stdout=answer, quiet=True)
    if run.status:
        sys.exit(f"{' '.join(command)} ended with status {run.status}")
    with open(answer, encoding="utf-8") as file:
        return run, json.load(file)["threshold"]


def main() -> int:
    """The command line."""
    asked = arguments()
    report = Report("Pictures changed as those of DISC are")
    groups = photos_of(asked.photos)
    jobs, backgrounds = plan(sorted(groups), asked)
    make(jobs, asked, report)
    copies = [Copy(job["target"], job["source"], job["kind"]) for job in jobs if os.path.exists(job["target"])]
    judge = Judge(copies, groups, backgrounds)
    kinds = [kind for kind in (*KINDS, *CHAINS) if judge.counts[kind]]
    report.say(
        f"{len(copies):,} files made of {len({copy.source for copy in copies}):,} photos, among {len(judge.groups):,} "
        f"photos; seed {asked.seed}"
    )
    with tempfile.TemporaryDirectory() as state:
        run, threshold = scan(asked, state)
        every = len(groups) + len(copies)
        report.say(f"dupwatchd scan: {1000 * run.cpu_s / every:.2f} ms of CPU a picture, {every:,} pictures")
        us, wrong = ours(os.path.join(state, "state"), judge, threshold)
    has_pdq = subprocess.run([asked.augly_python, "-c", "import pdqhash"], capture_output=True, check=False)
    peers = [] if has_pdq.returncode else [pdq(asked, judge, report)]
    if asked.sscd_python:
        peers += [sscd(model, asked, judge, report) for model in asked.sscd]
    tell([*kinds, ALL], us, peers, report)
    if wrong:
        report.heading(f"Joined and wrong, {len(wrong)} pairs")
        report.lines(sorted(wrong)[:MOST_SHOWN])
    report.write(asked.out)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
