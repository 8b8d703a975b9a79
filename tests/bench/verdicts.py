"""What are pairs of pictures called, at which scores, in what time, and for how many bytes?

    python -m tests.bench.verdicts SET... [--limit N] [--drawn N] [--closely] [--out FILE]

Of a set with a truth.csv, each duplicate is looked at beside its original. Of a folder without one, each photo beside
copies and changed copies made here, and beside the three others that are nearest to it. `--drawn N` adds documents,
N of each kind, beside others of their layout and beside their copies. `--closely` looks at up to 1,600 px as well.

Tables: the verdicts by kind; the share of each kind whose score exceeds each bound; milliseconds and bytes.
"""

import argparse
import os
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps
from tests.bench import drawn, truth
from tests.bench.report import Report
from tests.compare import altered
from tests.compare.altered import Rgb

from dupwatchd.compare.measures import exact
from dupwatchd.compare.verdict.fine import look_closely
from dupwatchd.compare.verdict.verdict import Seen, doubtful, look, verdict_of
from dupwatchd.model import Verdict
from dupwatchd.pixels.proof import Proof, make_proof

TURNS_BACK = {"rot90": 270, "rot180": 180, "rot270": 90}  # degrees clockwise that show the original again
BOUNDS = (40, 60, 80, 100, 115, 130, 150, 175, 200, 250, 300)
NEAREST = 3


@dataclass
class Kind:
    """What was found of the pairs of one kind."""

    verdicts: Counter[Verdict] = field(default_factory=Counter)
    scores: list[int] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)  # by proofs
    doubtful: int = 0
    fine: int = 0  # whose picture holds lines finer than its proof shows
    closely: Counter[bool | None] = field(default_factory=Counter)
    close_scores: list[int] = field(default_factory=list)
    seen_closely: list[Seen] = field(default_factory=list)


@dataclass
class Costs:
    """Seconds and bytes of one of each."""

    proof: list[float] = field(default_factory=list)
    encode: list[float] = field(default_factory=list)
    decode: list[float] = field(default_factory=list)
    look: list[float] = field(default_factory=list)
    closely: list[float] = field(default_factory=list)
    bytes: list[int] = field(default_factory=list)


class Bench:
    """Looks at pairs and keeps what was found."""

    def __init__(self, *, closely: bool) -> None:
        self.kinds: defaultdict[str, Kind] = defaultdict(Kind)
        self.costs = Costs()
        self._closely = closely

    def proof(self, rgb: Rgb) -> Proof:
        """As it comes back from storage."""
        started = time.process_time()
        proof = make_proof(rgb)
        made = time.process_time()
        data = proof.to_bytes()
        encoded = time.process_time()
        proof = Proof.from_bytes(data)
        self.costs.decode.append(time.process_time() - encoded)
        self.costs.encode.append(encoded - made)
        self.costs.proof.append(made - started)
        self.costs.bytes.append(len(data))
        return proof

    def pair(self, kind: str, first: Rgb, second: Rgb, turn: int = 0, *, mirrored: bool = False) -> None:
        """Looks at one."""
        a, b = self.proof(first), self.proof(second)
        started = time.process_time()
        seen = look(a, b, turn, mirrored=mirrored)
        verdict = verdict_of(seen)
        self.costs.look.append(time.process_time() - started)
        found = self.kinds[kind]
        found.verdicts[verdict] += 1
        found.scores.append(seen.luma.score if seen.luma else 9999)
        found.seen.append(seen)
        found.doubtful += doubtful(seen)
        found.fine += seen.fine
        if self._closely:
            started = time.process_time()
            suspect = verdict is not Verdict.SAME
            closer = look_closely(first, second, turn, mirrored=mirrored, suspect=suspect)
            self.costs.closely.append(time.process_time() - started)
            found.seen_closely.append(closer.seen)
            found.closely[closer.confirmed] += 1
            found.close_scores.append(closer.seen.luma.score if closer.seen.luma else 0)


def read(path: str) -> Rgb:
    """Upright pixels on white."""
    with Image.open(path) as opened:
        image = ImageOps.exif_transpose(opened)
        if image.has_transparency_data:
            image = image.convert("RGBA")
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image)
        return np.asarray(image.convert("RGB"))


def object_pasted(picture: Rgb, other: Rgb, rng: random.Random, share: float) -> Rgb:
    """A round piece of another picture, so much of the shorter side wide."""
    image = Image.fromarray(picture)
    side = max(4, round(min(image.size) * share))
    piece = ImageOps.fit(Image.fromarray(other), (3 * side, 3 * side)).crop((side, side, 2 * side, 2 * side))
    mask = Image.new("L", (side, side), 0)
    ImageDraw.Draw(mask).ellipse((0, 0, side - 1, side - 1), fill=255)
    image.paste(piece, (rng.randint(0, image.width - side), rng.randint(0, image.height - side)), mask)
    return np.asarray(image)


def one_colour_changed(picture: Rgb, rng: random.Random) -> Rgb | None:
    """The most colourful thing in another colour, and darker or lighter as that is; None if nothing is colourful."""
    hsv = np.asarray(Image.fromarray(picture).convert("HSV")).astype(np.int32)
    strong = hsv[..., 1] * (hsv[..., 2] > 40)
    much = strong > max(60, float(np.percentile(strong, 70)))
    if not much.any():
        return None
    hue = np.median(hsv[..., 0][much])
    thing = much & (np.abs((hsv[..., 0] - hue + 128) % 256 - 128) < 28)
    if thing.mean() < 0.05:
        return None
    hsv[..., 0] = np.where(thing, (hsv[..., 0] + rng.randint(60, 195)) % 256, hsv[..., 0])
    return np.asarray(Image.fromarray(hsv.astype(np.uint8), "HSV").convert("RGB"))


def variants(picture: Rgb, other: Rgb, rng: random.Random) -> Iterator[tuple[str, Rgb]]:
    """Copies, then changed copies, each as a JPEG would bring it."""
    shorter = min(picture.shape[:2])
    plain: dict[str, Callable[[], Rgb | None]] = {
        "copy q50": lambda: altered.jpeg(picture, 50),
        "copy half": lambda: altered.resized(picture, 0.5),
        "copy quarter": lambda: altered.resized(picture, 0.25),
        "copy brighter": lambda: altered.brighter(picture, rng.uniform(1.06, 1.15)),
        "copy darker": lambda: altered.brighter(picture, rng.uniform(0.85, 0.94)),
        "cut": lambda: altered.cut(picture, 0.03),
        "framed": lambda: altered.framed(picture, max(4, shorter // 30)),
        "grey": lambda: altered.grey(picture),
        "hues turned": lambda: altered.other_colours(picture),
        "thing recoloured": lambda: one_colour_changed(picture, rng),
        "captioned": lambda: altered.captioned(picture, drawn.words(rng, 2), max(8, round(shorter * 0.05))),
        "small object": lambda: object_pasted(picture, other, rng, rng.uniform(0.05, 0.08)),
        "object": lambda: object_pasted(picture, other, rng, rng.uniform(0.12, 0.18)),
    }
    for kind, make in plain.items():
        made = make()
        if made is not None:
            yield kind, altered.jpeg(made, rng.randint(75, 93))


def of_photos(bench: Bench, paths: list[str]) -> None:
    """A folder of different photos."""
    pictures = [read(path) for path in paths]
    for number, picture in enumerate(pictures):
        rng = random.Random(f"variants {number}")
        for kind, made in variants(picture, pictures[(number * 7 + 3) % len(pictures)], rng):
            bench.pair(kind, picture, made)
    small = np.stack([np.asarray(Image.fromarray(one).resize((32, 32), Image.Resampling.BOX)) for one in pictures])
    for first, second, turn in nearest_others(small):
        bench.pair("another photo", pictures[first], pictures[second], turn)


def nearest_others(thumbnails: NDArray[np.uint8]) -> Iterator[tuple[int, int, int]]:
    """Of each picture, the others nearest to it by `structure`, and the turn of the second."""
    count = len(thumbnails)
    for first in range(count):
        values = exact.measure_pairs(np.repeat(thumbnails[first : first + 1], count, 0), thumbnails, mirrored=False)
        order = [int(other) for other in np.argsort(values.structure, kind="stable") if other != first]
        yield from ((first, other, int(values.structure_turn[other])) for other in order[:NEAREST])


def of_set(bench: Bench, labelled: truth.LabelledSet, limit: int) -> None:
    """A set with a truth.csv."""
    pairs = labelled.pairs_to_find()
    kept = set(list(dict.fromkeys(first.path for first, _ in pairs))[:limit])
    for first, second in pairs:
        if first.path in kept:
            turn, mirrored = TURNS_BACK.get(second.kind, 0), second.kind == "mirror"
            bench.pair(second.kind, read(first.path), read(second.path), turn, mirrored=mirrored)


def of_drawn(bench: Bench, count: int) -> None:
    """Documents."""
    for kind in drawn.KINDS:
        for layout in range(drawn.LAYOUTS):
            pages = [np.asarray(drawn.drawn(kind, layout, number)) for number in range(max(2, count // drawn.LAYOUTS))]
            for number, page in enumerate(pages):
                other = pages[(number + 1) % len(pages)]
                bench.pair("another page", page, other)
                bench.pair("another page, half q50", page, altered.jpeg(altered.resized(other, 0.5), 50))
                bench.pair("page q50", page, altered.jpeg(page, 50))
                bench.pair("page half q70", page, altered.jpeg(altered.resized(page, 0.5), 70))


def tell(bench: Bench, report: Report) -> None:
    """The tables."""
    report.heading("Verdicts, share of each kind")
    verdicts = [verdict for verdict in Verdict if verdict is not Verdict.IDENTICAL]
    closely = ["confirmed", "untold", "refused"] if bench.costs.closely else []
    rows = []
    for kind, found in bench.kinds.items():
        count = len(found.scores)
        told = [found.verdicts[verdict] for verdict in verdicts] + [found.doubtful, found.fine]
        told += [found.closely[answer] for answer in (True, None, False)] if closely else []
        rows.append([kind, str(count), *(f"{pairs / count:.3f}" for pairs in told)])
    report.table(["kind", "pairs", *(one.value for one in verdicts), "doubtful", "fine", *closely], rows)
    for name in ("scores", "close_scores"):
        rows = []
        for kind, found in bench.kinds.items():
            scores = np.array(getattr(found, name))
            if len(scores):
                shares = [f"{(scores > bound).mean():.3f}" for bound in BOUNDS]
                rows.append([kind, *shares, str(scores.min()), str(scores.max())])
        if rows:
            report.heading(f"Share of each kind above a score, by {'proof' if name == 'scores' else '1,600 px'}")
            report.table(["kind", *map(str, BOUNDS), "least", "most"], rows)
    tell_costs(bench.costs, report)


def tell_costs(costs: Costs, report: Report) -> None:
    """Time and space."""
    report.heading("Costs")
    shares = 0.1, 0.5, 0.95
    steps = {step: getattr(costs, step) for step in ("proof", "encode", "decode", "look", "closely")}
    rows = [
        [f"{step}, ms of CPU", *(f"{1000 * np.quantile(seconds, share):.2f}" for share in shares)]
        for step, seconds in steps.items()
        if seconds
    ]
    rows.append(["bytes", *(f"{np.quantile(costs.bytes, share):.0f}" for share in shares)])
    report.table(["of one", "10 %", "median", "95 %"], rows)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*")
    parser.add_argument("--limit", type=int, default=100, help="originals of each set")
    parser.add_argument("--drawn", type=int, default=0)
    parser.add_argument("--closely", action="store_true")
    parser.add_argument("--out")
    asked = parser.parse_args()
    bench = Bench(closely=asked.closely)
    for folder in asked.sets:
        labelled = truth.load(folder)
        if os.path.exists(os.path.join(folder, "truth.csv")):
            of_set(bench, labelled, asked.limit)
        else:
            paths = sorted(labelled.labels)
            random.Random(1).shuffle(paths)
            of_photos(bench, paths[: asked.limit])
    if asked.drawn:
        of_drawn(bench, asked.drawn)
    report = Report("Verdicts")
    tell(bench, report)
    report.write(asked.out)


if __name__ == "__main__":
    main()
