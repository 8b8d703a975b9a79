"""How well do the measures tell copies from different pictures, at which thumbnail size and threshold?

    python -m tests.bench.roc SET... --out DIR

Decodes labelled sets with the program's own worker pool at several thumbnail sizes, measures every copy against its
original, and looks for the nearest picture of another kind by brute force. Writes DIR/roc.csv (every measure, size,
orientation and threshold), DIR/roc.md (tables) and DIR/roc.svg.

Zooms, shifted crops and collages count as different from the photo they were cut from. Copies in sets found in the
wild are not counted, but their look-alikes are. Flat pictures (see `measures.flat`) are left out where the program
leaves them out, and accounted for apart.
"""

import argparse
import csv
import os
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from tests.bench import evaluate, plot, truth
from tests.bench.report import Report
from tests.bench.truth import Label, LabelledSet

from dupwatchd.compare import measures
from dupwatchd.index.pool import DecodeLimits, WorkerPool
from dupwatchd.model import FileId, Job, Stamp, Thumbnails
from dupwatchd.settings import DEFAULT_THRESHOLDS, CompareSettings, IndexSettings

Measure = Literal["structure", "mse"]
MEASURES: tuple[Measure, ...] = ("structure", "mse")
THRESHOLDS: dict[Measure, list[float]] = {
    "structure": [
        *(0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.008, 0.01, 0.0125, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.045),
        *(0.05, 0.055, 0.06, 0.07, 0.08, 0.1, 0.12, 0.15, 0.2, 0.3, 0.4),
    ],
    "mse": [
        *(1, 2, 3, 5, 7, 10, 12, 15, 18, 20, 25, 30, 35, 40, 50, 60, 80, 100, 125, 150, 200, 250, 300, 400, 500, 700),
        *(1000, 1500, 2000),
    ],
}
_KEPT: dict[Measure, float] = {"structure": CompareSettings().keep_structure, "mse": CompareSettings().keep_mse}
_DEFAULT_PX = IndexSettings().thumbnail_px
_QUERIES_AT_ONCE = 256
_NEAREST_LISTED = 12

Floats = NDArray[np.float64]


@dataclass
class Pictures:
    """The decoded pictures of one set at one size."""

    labels: list[Label]
    thumbnails: Thumbnails  # (N, S, S, 3)
    failed: list[str]

    def __post_init__(self) -> None:
        self.flat = measures.flat(self.thumbnails)  # (N,) bool


@dataclass
class Curve:
    """What one measure makes of all sets, at one size; with mirror images or without."""

    measure: Measure
    thumbnail_px: int
    mirrored: bool
    copies: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))  # kind: value to the original
    nearest: list[float] = field(default_factory=list)  # per picture: the nearest different one
    nearest_unrelated: list[float] = field(default_factory=list)  # likewise, if cuts of one photo count as related
    nearest_with_flat: list[float] = field(default_factory=list)  # likewise, flat pictures not left out
    nearest_in_the_wild: list[float] = field(default_factory=list)  # as `nearest`, in sets found in the wild
    closest: list[tuple[float, Label, Label]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.measure} {self.thumbnail_px} px"

    def recall(self, kind: str, threshold: float) -> float:
        return _share_within(self.copies[kind], threshold)

    def needed_kinds(self) -> list[str]:
        """Kinds with the strict bound."""
        return [kind for kind in self.copies if evaluate.bound_of(kind, mirrored=self.mirrored) == evaluate.RECALL]

    def mean_recall(self, threshold: float) -> float:
        return float(np.mean([self.recall(kind, threshold) for kind in self.needed_kinds()]))

    def wrong_share(self, threshold: float) -> float:
        """Share of the pictures that have a different one within the threshold."""
        return _share_within(self.nearest, threshold)

    def needed_threshold(self) -> float:
        """The smallest threshold at which every needed kind reaches its recall."""
        return max(
            float(np.quantile(self.copies[kind], evaluate.RECALL, method="higher")) for kind in self.needed_kinds()
        )


@dataclass
class FlatAccount:
    """What leaving flat pictures out costs and saves, at the default size."""

    pictures: int = 0
    flat: list[Label] = field(default_factory=list)
    lost: list[tuple[Label, Label, float]] = field(default_factory=list)  # original, copy, structure


def main() -> None:
    arguments = _arguments()
    sets = [truth.load(folder) for folder in arguments.sets]
    curves: list[Curve] = []
    flat = FlatAccount()
    failed: set[str] = set()
    for thumbnail_px in arguments.thumbnail_px:
        both = {(m, mirrored): Curve(m, thumbnail_px, mirrored) for m in MEASURES for mirrored in (False, True)}
        for labelled in sets:
            started = time.monotonic()
            pictures = decode(labelled, thumbnail_px)
            failed.update(pictures.failed)
            measure_copies(pictures, labelled, both)
            for measure in MEASURES:
                measure_different(pictures, labelled, both[measure, False], both[measure, True])
            if thumbnail_px == _DEFAULT_PX:
                account_for_flat(pictures, labelled, flat)
            print(f"{labelled.name} at {thumbnail_px} px: {time.monotonic() - started:.0f} s", flush=True)
        curves += both.values()
    os.makedirs(arguments.out, exist_ok=True)
    write_csv(curves, os.path.join(arguments.out, "roc.csv"))
    with open(os.path.join(arguments.out, "roc.svg"), "w", encoding="utf-8") as file:
        file.write(draw(curves))
    write_report(sets, curves, flat, sorted(failed)).write(os.path.join(arguments.out, "roc.md"))


# ---- pictures


def decode(labelled: LabelledSet, thumbnail_px: int) -> Pictures:
    """All files of a set, by the program's own worker pool."""
    jobs = [_job(number, path) for number, path in enumerate(labelled.labels)]
    thumbnails: dict[int, NDArray[np.uint8]] = {}
    failed = []
    with WorkerPool(len(os.sched_getaffinity(0)), thumbnail_px, DecodeLimits()) as pool:
        for outcome in pool.index(jobs, _never_known):
            if outcome.decoded is not None:
                thumbnails[outcome.job.file_id] = outcome.decoded.thumbnail
            else:
                failed.append(f"{os.fsdecode(outcome.job.path)}: {outcome.error}")
    decoded = sorted(thumbnails)
    labels = list(labelled.labels.values())
    return Pictures([labels[number] for number in decoded], np.stack([thumbnails[n] for n in decoded]), failed)


def _job(number: int, path: str) -> Job:
    status = os.stat(path)
    stamp = Stamp(status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino)
    return Job(FileId(number), os.fsencode(path), stamp)


def _never_known(digest: bytes) -> bool:
    return False


# ---- copies


def measure_copies(pictures: Pictures, labelled: LabelledSet, both: dict[tuple[Measure, bool], Curve]) -> None:
    """Every copy against its original."""
    if evaluate.found_in_the_wild(labelled):
        return
    pairs, values = _copies(pictures, labelled)
    for (measure, mirrored), curve in both.items():
        for (_, copy), value in zip(pairs, values[measure, mirrored], strict=True):
            curve.copies[copy.kind].append(float(value))


def _copies(
    pictures: Pictures, labelled: LabelledSet
) -> tuple[list[tuple[Label, Label]], dict[tuple[Measure, bool], Floats]]:
    place = {label.path: number for number, label in enumerate(pictures.labels)}
    pairs = [pair for pair in labelled.pairs_to_find() if pair[0].path in place and pair[1].path in place]
    first = np.array([place[original.path] for original, _ in pairs], np.intp)
    second = np.array([place[copy.path] for _, copy in pairs], np.intp)
    return pairs, _values(pictures.thumbnails, first, second)


def _values(
    thumbnails: Thumbnails, first: NDArray[np.intp], second: NDArray[np.intp]
) -> dict[tuple[Measure, bool], Floats]:
    """Exact values of pairs, each (M,), over four turns and (True) over mirror images as well."""
    plain = measures.measure_pairs(thumbnails[first], thumbnails[second], mirrored=False)
    mirror = measures.measure_pairs(thumbnails[first], thumbnails[second], mirrored=True)
    return {
        ("mse", False): plain.mse,
        ("mse", True): np.minimum(plain.mse, mirror.mse),
        ("structure", False): plain.structure,
        ("structure", True): np.minimum(plain.structure, mirror.structure),
    }


def account_for_flat(pictures: Pictures, labelled: LabelledSet, account: FlatAccount) -> None:
    """Which pictures are flat, and which copies are lost by that."""
    account.pictures += len(pictures.labels)
    flat_paths = {label.path for label, is_flat in zip(pictures.labels, pictures.flat, strict=True) if is_flat}
    account.flat += [label for label in pictures.labels if label.path in flat_paths]
    pairs, values = _copies(pictures, labelled)
    for (original, copy), structure in zip(pairs, values["structure", False], strict=True):
        if {original.path, copy.path} & flat_paths and copy.kind != "exact":
            account.lost.append((original, copy, float(structure)))


# ---- different pictures


def measure_different(pictures: Pictures, labelled: LabelledSet, turned: Curve, mirrored: Curve) -> None:
    """For every picture the nearest one that shows something else: found by brute force, then measured exactly."""
    groups = _numbers(label.path if label.role == "hardneg" else label.group for label in pictures.labels)
    origins = _numbers(label.near_group or label.group for label in pictures.labels)
    in_the_wild = evaluate.found_in_the_wild(labelled)
    for curve, distances in _distances(pictures, turned, mirrored):
        other = distances.other_than(groups)
        value = _exact_to_nearest(pictures, curve, distances.first, other)
        curve.nearest_with_flat += list(value)
        known_flat = pictures.flat[distances.first : distances.first + len(other)]
        other[:, pictures.flat] = np.inf
        nearest = other.argmin(axis=1)
        value = _exact_to_nearest(pictures, curve, distances.first, other)
        kept = np.flatnonzero(~known_flat)
        (curve.nearest_in_the_wild if in_the_wild else curve.nearest).extend(float(value[row]) for row in kept)
        curve.closest += [
            (float(value[row]), pictures.labels[distances.first + row], pictures.labels[nearest[row]]) for row in kept
        ]
        curve.closest = sorted(curve.closest, key=lambda entry: entry[0])[: 4 * _NEAREST_LISTED]
        unrelated = distances.other_than(origins)
        unrelated[:, pictures.flat] = np.inf
        value = _exact_to_nearest(pictures, curve, distances.first, unrelated)
        if not in_the_wild:
            curve.nearest_unrelated += [float(value[row]) for row in kept]


@dataclass
class _Distances:
    """Approximate values of some queries (from ``first`` on) to all pictures: (Q, N) float32."""

    first: int
    values: NDArray[np.float32]

    def other_than(self, numbers: NDArray[np.intp]) -> NDArray[np.float32]:
        """The same, infinite where query and picture have one number."""
        queries = numbers[self.first : self.first + len(self.values)]
        return np.where(queries[:, None] == numbers, np.float32(np.inf), self.values)


def _distances(pictures: Pictures, turned: Curve, mirrored: Curve) -> Iterator[tuple[Curve, _Distances]]:
    vectors, side = _vectors(pictures.thumbnails, turned.measure)  # (N, cells, channels)
    flat_vectors = vectors.reshape(len(vectors), -1)
    squares = (flat_vectors * flat_vectors).sum(axis=1)
    for first in range(0, len(vectors), _QUERIES_AT_ONCE):
        queries = vectors[first : first + _QUERIES_AT_ONCE]
        best = np.full((len(queries), len(vectors)), -np.inf, np.float32)
        for curve in (turned, mirrored):
            for turn in measures.TURNS:
                # All turns of the query, or of the other one: the same set of values.
                moved = queries[:, measures.orientation(side, turn, curve.mirrored)].reshape(len(queries), -1)
                np.maximum(best, moved @ flat_vectors.T, out=best)
            yield curve, _Distances(first, squares[first : first + len(queries), None] + squares - 2 * best)


def _vectors(thumbnails: Thumbnails, measure: Measure) -> tuple[NDArray[np.float32], int]:
    """(N, cells, channels) float32 whose squared distance is the measure, and the cells along a side."""
    if measure == "structure":
        cells = measures.normalised_luma(thumbnails).reshape(len(thumbnails), measures.CELLS, 1)
        return (cells / np.sqrt(measures.CELLS)).astype(np.float32), measures.CELLS_PX
    side = thumbnails.shape[1]
    values = (thumbnails.reshape(len(thumbnails), side * side, 3) - np.float32(127.5)) / np.float32(side * np.sqrt(3))
    return np.asarray(values, np.float32), side


def _exact_to_nearest(pictures: Pictures, curve: Curve, first: int, distances: NDArray[np.float32]) -> Floats:
    queries = np.arange(first, first + len(distances))
    nearest = distances.argmin(axis=1)
    exact = _values(pictures.thumbnails, queries, nearest)[curve.measure, curve.mirrored]
    return np.where(np.isfinite(distances.min(axis=1)), exact, np.inf)


def _numbers(names: Iterator[str]) -> NDArray[np.intp]:
    return np.unique(list(names), return_inverse=True)[1].astype(np.intp)


# ---- what is written


def write_csv(curves: Sequence[Curve], path: str) -> None:
    kinds = sorted({kind for curve in curves for kind in curve.copies})
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["measure", "thumbnail_px", "orientations", "threshold", "wrong_share", *kinds])
        for curve in curves:
            for threshold in THRESHOLDS[curve.measure]:
                recalls = [f"{curve.recall(kind, threshold):.4f}" for kind in kinds]
                wrong = f"{curve.wrong_share(threshold):.6f}"
                name = [curve.measure, curve.thumbnail_px, 8 if curve.mirrored else 4, f"{threshold:g}"]
                table.writerow([*name, wrong, *recalls])


def write_report(sets: Sequence[LabelledSet], curves: Sequence[Curve], flat: FlatAccount, failed: list[str]) -> Report:
    report = Report("Copies and different pictures, by measure and thumbnail size")
    report.say("Sets: " + ", ".join(f"{labelled.name} ({len(labelled.labels)} files)" for labelled in sets) + ".")
    if failed:
        report.say(f"{len(failed)} files could not be decoded:")
        report.lines(failed)
    report.heading("The nearest different picture, and the threshold the copies need")
    report.say(
        "*needed*: the smallest threshold at which each kind with that bound has a recall of "
        f"{evaluate.RECALL:g}. *different*: for each picture the nearest that shows something else; smallest value, 0.1 % "
        "and 1 % of the pictures. *unrelated*: the smallest if cuts of one photo do not count. *in the wild*: the "
        "smallest in the sets found in the wild. *with flat*: the smallest if flat pictures took part."
    )
    report.table(
        [
            "measure, size, orientations",
            "needed",
            "different: min",
            "0.1 %",
            "1 %",
            "unrelated",
            "in the wild",
            "with flat",
        ],
        [_nearest_row(curve) for curve in curves],
    )
    for mirrored in (False, True):
        report.heading(f"Recall by kind, {'eight orientations' if mirrored else 'four turns'}")
        _recall_table(report, [curve for curve in curves if curve.mirrored == mirrored])
    report.heading(f"The closest different pictures at {_DEFAULT_PX} px, four turns")
    for curve in curves:
        if curve.thumbnail_px == _DEFAULT_PX and not curve.mirrored:
            report.say(f"{curve.measure}:")
            report.lines(_closest_lines(curve))
    report.heading(f"Flat pictures at {_DEFAULT_PX} px")
    report.say(f"{len(flat.flat)} of {flat.pictures} pictures are flat; {len(flat.lost)} copies are lost by that.")
    report.lines([f"flat: {label.role} {label.kind} of {label.group}: {label.name}" for label in flat.flat])
    report.lines(
        [f"lost: {copy.kind} of {original.name}, structure {value:.4f}" for original, copy, value in flat.lost]
    )
    return report


def _nearest_row(curve: Curve) -> list[str]:
    number = "{:.4f}".format if curve.measure == "structure" else "{:.1f}".format
    smallest, thousandth, hundredth = np.quantile(curve.nearest, [0, 0.001, 0.01]) if curve.nearest else [np.inf] * 3
    return [
        f"{curve.name}, {8 if curve.mirrored else 4}",
        number(curve.needed_threshold()) if curve.copies else "-",
        *(number(value) if np.isfinite(value) else "-" for value in (smallest, thousandth, hundredth)),
        *(
            number(min(values)) if values else "-"
            for values in (curve.nearest_unrelated, curve.nearest_in_the_wild, curve.nearest_with_flat)
        ),
    ]


def _recall_table(report: Report, curves: Sequence[Curve]) -> None:
    columns = [
        (curve, threshold)
        for curve in curves
        for threshold in (DEFAULT_THRESHOLDS[curve.measure], _KEPT[curve.measure])
    ]
    kinds = sorted({kind for curve in curves for kind in curve.copies}, key=lambda kind: _order(kind, columns[0]))
    rows = [[kind, *(f"{curve.recall(kind, threshold):.3f}" for curve, threshold in columns)] for kind in kinds]
    rows.append(["*wrong share*", *(f"{curve.wrong_share(threshold):.4f}" for curve, threshold in columns)])
    report.table(["kind", *(f"{curve.name} ≤ {threshold:g}" for curve, threshold in columns)], rows)


def _order(kind: str, column: tuple[Curve, float]) -> tuple[float, str]:
    curve, threshold = column
    return -curve.recall(kind, threshold), kind


def _closest_lines(curve: Curve) -> list[str]:
    lines: dict[frozenset[str], str] = {}
    for value, one, other in curve.closest:
        lines.setdefault(
            frozenset([one.path, other.path]),
            f"{value:.4f}  {_described(one)}  and  {_described(other)}",
        )
    return list(lines.values())[:_NEAREST_LISTED]


def _described(label: Label) -> str:
    near = f" near {label.near_group}" if label.near_group else ""
    return f"{label.name} ({label.role} {label.kind}, {label.group}{near})"


# ---- the plot


def draw(curves: Sequence[Curve]) -> str:
    """The trade-off of all measures and sizes, then what the threshold does at the default size."""
    turned = [curve for curve in curves if not curve.mirrored]
    panels = [_trade_off(turned)]
    panels += [_sweep(curve) for curve in turned if curve.thumbnail_px == _DEFAULT_PX]
    return plot.figure(panels)


def _trade_off(curves: Sequence[Curve]) -> plot.Panel:
    pictures = max(len(curve.nearest) for curve in curves)
    none = 0.3 / pictures  # where "none" is drawn on the logarithmic axis
    ticks = [(none, "none"), *((10.0**e, f"{10.0 ** (e + 2):g} %") for e in (-4, -3, -2, -1) if 10.0**e > 2 * none)]
    panel = plot.Panel(
        "Copies found against pictures wrongly matched",
        plot.Axis("pictures with a different one within the threshold", none, 0.2, ticks, log=True),
        plot.Axis(
            "recall of copies (kinds with bound 0.99)", 0.5, 1.0, [(v / 10, f"{v / 10:g}") for v in range(5, 11)]
        ),
    )
    colours = {"structure": (plot.SKY, plot.BLUE, "#003d66"), "mse": ("#f5c971", plot.ORANGE, plot.RED)}
    for measure in MEASURES:
        some = [curve for curve in curves if curve.measure == measure]
        for curve, colour in zip(some, colours[measure], strict=False):
            points = [(max(curve.wrong_share(t), none), curve.mean_recall(t)) for t in THRESHOLDS[measure]]
            panel.line(points, colour, curve.name, dots=True)
            default = DEFAULT_THRESHOLDS[measure]
            panel.dot(max(curve.wrong_share(default), none), curve.mean_recall(default), colour)
    return panel


def _sweep(curve: Curve) -> plot.Panel:
    thresholds = THRESHOLDS[curve.measure]
    decades = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
    ticks = decades if curve.measure == "structure" else (1, 3, 10, 30, 100, 300, 1000)
    panel = plot.Panel(
        f"{curve.name}, four turns: what the threshold does",
        plot.Axis("threshold", thresholds[0], thresholds[-1], [(tick, f"{tick:g}") for tick in ticks], log=True),
        plot.Axis("share", 0.0, 1.0, [(v / 5, f"{v / 5:g}") for v in range(6)]),
    )
    needed = curve.needed_kinds()
    tone = [kind for kind in ("bright", "contrast", "grey") if kind in curve.copies]
    rest = [kind for kind in needed if kind not in tone]
    for kinds, colour, label in (
        (rest, plot.BLUE, "re-encoded, resized, turned: lowest recall of these kinds"),
        (tone, plot.SKY, "bright, contrast, grey: lowest recall"),
        (["watermark"], plot.GREEN, "watermark"),
        (["crop2"], plot.PURPLE, "cropped by 2 %"),
    ):
        known = [kind for kind in kinds if kind in curve.copies]
        if known:
            panel.line([(t, min(curve.recall(kind, t) for kind in known)) for t in thresholds], colour, label)
    panel.line([(t, curve.wrong_share(t)) for t in thresholds], plot.RED, "pictures with a different one", dashes="6 4")
    default, kept = DEFAULT_THRESHOLDS[curve.measure], _KEPT[curve.measure]
    panel.mark(default, "#222222", f"default {default:g}", height=0.42)
    panel.mark(kept, plot.GREY, f"kept {kept:g}", height=0.42)
    if curve.nearest:
        nearest = min(curve.nearest)
        panel.mark(nearest, plot.RED, f"nearest different {nearest:.3g}", height=0.12)
    return panel


def _share_within(values: Sequence[float], threshold: float) -> float:
    return float(np.mean(np.asarray(values) <= threshold)) if values else 0.0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="SET", help="folder with photos and a truth.csv")
    parser.add_argument("--out", required=True, metavar="DIR", help="where roc.csv, roc.md and roc.svg are written")
    parser.add_argument(
        "--thumbnail-px", type=int, nargs="+", default=[16, 32, 64], metavar="PX", help="thumbnail sizes"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
