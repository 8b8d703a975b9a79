"""Are pictures that show a part of another one found, and are any called so that are not?

    python -m tests.bench.parts DIR... [--limit N] [--seed N] [--least-px N] [--others DIR...] [--out FILE]

Of each photo in the folders, copies are made that are cut, framed, captioned, shown on a phone or written over. All of
them, and the pictures of the other folders, are searched for pairs that share a part, as the program does it, and each
pair of an original and its copy, and each pair of different photos, is looked at.

Tables: the verdicts by kind; how often what shows more, and whether it is a frame, is told rightly; pairs of different
photos that got a verdict, to be judged by hand; milliseconds and bytes.
"""

import argparse
import os
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from PIL import Image, ImageOps
from tests.bench import truth
from tests.bench.arguments import add_count, make_parser
from tests.bench.part_copies import CUT, DEEP, FRAMED, KINDS, jpeg, shifted, side_by_side
from tests.bench.report import Report

from dupwatchd.compare.parts.agreement import Placement, placement_of
from dupwatchd.compare.parts.look import look_at_part
from dupwatchd.compare.parts.placed import PartSeen
from dupwatchd.compare.parts.search import PartSearch
from dupwatchd.model import PictureId, Verdict
from dupwatchd.pixels.keypoints import Keypoints, keypoints_of
from dupwatchd.pixels.proof import Proof, make_proof

LONG_SIDE_PX = 800  # of the photos that copies are made of
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
PIECES = "two pieces, 20 %", "two pieces, 40 %"  # neither shows all of the other: to be joined by nothing
HALF_AND_HALF = "half of another"
VERDICTS = [verdict for verdict in Verdict if verdict is not Verdict.IDENTICAL]


@dataclass(frozen=True)
class Made:
    """A picture that takes part."""

    group: str  # pictures of one group show the same photo or a part of it
    kind: str
    proof: bytes  # as it is stored
    keypoints: Keypoints
    seconds: float  # that keypoints took


@dataclass
class Kind:
    """What was found of the copies of one kind."""

    copies: int = 0
    candidates: int = 0
    seen: list[PartSeen] = field(default_factory=list)  # the original is the first


def read(path: str) -> Image.Image:
    """Upright, on white, at most so large that copies are made quickly."""
    with Image.open(path) as opened:
        opened.draft("RGB", (LONG_SIDE_PX, LONG_SIDE_PX))
        image = ImageOps.exif_transpose(opened)
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = image.convert("RGB")
        image.thumbnail((LONG_SIDE_PX, LONG_SIDE_PX), Image.Resampling.LANCZOS)
        return image


def made(group: str, kind: str, image: Image.Image, quality: int) -> Made:
    """What is kept of a picture."""
    proof = make_proof(np.asarray(jpeg(image, quality)))
    started = time.process_time()
    keypoints = keypoints_of(proof)
    return Made(group, kind, proof.to_bytes(), keypoints, time.process_time() - started)


def photo_and_copies(pair: tuple[str, str], seed: int) -> list[Made]:
    """The photo of a path and all copies of it; the second path is that of another photo."""
    path, other = pair
    original = read(path)
    pictures = [made(path, "original", original, 95)]
    for kind, make in KINDS.items():
        rng = random.Random(f"{seed} {os.path.basename(path)} {kind}")
        pictures.append(made(path, kind, make(original, rng), rng.randint(75, 93)))
    rng = random.Random(f"{seed} {os.path.basename(path)}")
    for kind, percent in zip(PIECES, (20, 40), strict=True):
        pictures += [made(path, kind, piece, 90) for piece in shifted(original, rng, percent)]
    pictures.append(made(path, HALF_AND_HALF, side_by_side(original, read(other)), 90))
    return pictures


def another(path: str) -> Made | None:
    """A picture of the other folders; None if it cannot be read."""
    try:
        return made(path, "other", read(path), 95)
    except OSError:
        return None


def originals(folder: str) -> list[str]:
    """Of a set with a truth.csv, what copies were made of; else all pictures."""
    labels = truth.load(folder).labels.values()
    paths = [one.path for one in labels if one.role == "original" or one.kind == "unlabelled"]
    return [path for path in paths if path.lower().endswith(SUFFIXES)]


def long_side_px(path: str) -> int:
    with Image.open(path) as opened:
        return max(opened.size)


def candidates(pictures: list[Made]) -> Iterator[tuple[PictureId, PictureId, Placement]]:
    """Pairs of an original and its copy, of two pieces of one photo, and of different photos."""
    keypoints = [one.keypoints for one in pictures]
    for first, second, _ in PartSearch().match([PictureId(at) for at in range(len(pictures))], keypoints):
        one, other = pictures[first], pictures[second]
        pieces = one.kind == other.kind and one.kind in PIECES
        if one.group != other.group or (one.kind == "original" and other.kind not in PIECES) or pieces:
            placement = placement_of(one.keypoints, other.keypoints)
            assert placement is not None, "the search finds what the rule finds"
            yield first, second, placement


def look(pair: tuple[bytes, bytes, Placement]) -> tuple[PartSeen, float]:
    """What is said of a pair, and in how many seconds."""
    first, second = Proof.from_bytes(pair[0]), Proof.from_bytes(pair[1])
    started = time.process_time()
    return look_at_part(first, second, pair[2]), time.process_time() - started


def tell_kinds(kinds: dict[str, Kind], report: Report) -> None:
    report.heading("Copies, share of each kind")
    rows = []
    for kind, found in kinds.items():
        told = Counter(seen.verdict for seen in found.seen)
        joined = found.candidates - told[None]
        shares = [found.candidates, joined, *(told[verdict] for verdict in VERDICTS)]
        rows.append([kind, str(found.copies), *(f"{share / found.copies:.3f}" for share in shares)])
    report.table(["kind", "copies", "candidates", "joined", *(verdict.value for verdict in VERDICTS)], rows)
    report.heading("What shows more, and whether it is a frame: share of each kind that is told rightly")
    rows = []
    for kind, found in kinds.items():
        joined_pairs = [seen for seen in found.seen if seen.verdict is not None]
        more = 1 if kind in FRAMED else -1 if kind in CUT or kind in DEEP else 0
        if joined_pairs and more:
            rightly = [np.mean([seen.shows_more == more for seen in joined_pairs])]
            rightly.append(np.mean([seen.is_framed == (kind in FRAMED) for seen in joined_pairs]))
            rows.append([kind, str(len(joined_pairs)), *(f"{share:.3f}" for share in rightly)])
    report.table(["kind", "pairs", "shows more", "frame"], rows)


def tell_wrong(pairs: list[tuple[Made, Made, PartSeen]], report: Report) -> None:
    report.heading("Different photos")
    told = Counter(seen.verdict for _, _, seen in pairs)
    report.say(f"{len(pairs):,} candidates; {', '.join(f'{told[one]} {one.value}' for one in VERDICTS)}")
    lines = []
    for first, second, seen in pairs:
        if seen.verdict is not None and seen.seen is not None and seen.seen.luma is not None:
            values = f"score {seen.seen.luma.score}, shared {seen.seen.shared}, {seen.placement.votes} votes"
            ends = f"{first.group} ({first.kind}) and {second.group} ({second.kind})"
            lines.append(f"{seen.verdict.value}: {ends}: {values}")
    report.lines(sorted(lines))


def tell_costs(pictures: list[Made], searched: float, looked: list[float], report: Report) -> None:
    report.heading("Costs")
    keypoints = [one.seconds for one in pictures]
    sizes = [len(one.keypoints.to_bytes()) for one in pictures]
    counts = [len(one.keypoints) for one in pictures]
    rows = [
        [name, *(f"{np.quantile(values, share):.2f}" for share in (0.1, 0.5, 0.95)), f"{np.mean(values):.2f}"]
        for name, values in (
            ("keypoints, ms of CPU", np.multiply(1000, keypoints)),
            ("a look, ms of CPU", np.multiply(1000, looked or [0.0])),
            ("keypoints of a picture", np.array(counts)),
            ("bytes of a picture", np.array(sizes)),
        )
    ]
    report.table(["of one", "10 %", "median", "95 %", "mean"], rows)
    report.say(f"search: {1000 * searched / len(pictures):.2f} ms of CPU a picture, {len(pictures):,} pictures")


def arguments() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument("folders", nargs="+", metavar="DIR")
    parser.add_argument("--others", nargs="+", default=[], metavar="DIR", help="folders of pictures of other things")
    add_count(parser, "--limit", 100, "photos, evenly spread over all")
    add_count(parser, "--seed", 1, "other copies for each")
    add_count(parser, "--least-px", 1, "photos with a shorter long side are left out: a quarter of them is an icon")
    return parser.parse_args()


def spread(paths: list[str], limit: int) -> list[str]:
    """So many of them, from all over."""
    return [paths[at * len(paths) // limit] for at in range(limit)] if limit < len(paths) else paths


def gathered(asked: argparse.Namespace, workers: ProcessPoolExecutor) -> list[Made]:
    every = [path for folder in asked.folders for path in originals(folder)]
    paths = spread([path for path in every if long_side_px(path) >= asked.least_px], asked.limit)
    pairs = [(path, paths[(at * 7 + 3) % len(paths)]) for at, path in enumerate(paths)]
    copies: Iterable[list[Made]] = workers.map(partial(photo_and_copies, seed=asked.seed), pairs, chunksize=2)
    pictures = [one for every in copies for one in every]
    others = [path for folder in asked.others for path in truth.files_below(folder) if path.lower().endswith(SUFFIXES)]
    return pictures + [one for one in workers.map(another, others, chunksize=16) if one is not None]


def main() -> None:
    """The command line."""
    asked = arguments()
    report = Report("Pictures that share a part")
    with ProcessPoolExecutor() as workers:
        pictures = gathered(asked, workers)
        report.say(
            f"{len(pictures):,} pictures, {len({one.group for one in pictures}):,} of them different; seed {asked.seed}"
        )
        started = time.process_time()
        found = list(candidates(pictures))
        searched = time.process_time() - started
        asked_for = [(pictures[first].proof, pictures[second].proof, placement) for first, second, placement in found]
        looks = list(workers.map(look, asked_for, chunksize=16))
    kinds: defaultdict[str, Kind] = defaultdict(Kind)
    for one in pictures:
        if one.kind not in ("original", "other", *PIECES):
            kinds[one.kind].copies += 1
    for kind in PIECES:
        kinds[kind].copies = sum(one.kind == kind for one in pictures) // 2
    wrong = []
    for (first, second, _), (seen, _) in zip(found, looks, strict=True):
        if pictures[first].group == pictures[second].group:
            kinds[pictures[second].kind].candidates += 1
            kinds[pictures[second].kind].seen.append(seen)
        else:
            wrong.append((pictures[first], pictures[second], seen))
    tell_kinds(kinds, report)
    tell_wrong(wrong, report)
    tell_costs(pictures, searched, [seconds for _, seconds in looks], report)
    report.write(asked.out)


if __name__ == "__main__":
    main()
