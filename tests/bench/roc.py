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
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tests.bench import evaluate, processes, truth
from tests.bench.arguments import add_sets, make_parser
from tests.bench.decoding import job, never_known
from tests.bench.roc_curves import CLOSEST_KEPT, DEFAULT_PX, MEASURES, Curve, FlatAccount
from tests.bench.roc_report import draw, write_csv, write_report
from tests.bench.truth import Label, LabelledSet

from dupwatchd.compare.measures import exact, turns
from dupwatchd.index.pool import DecodeLimits, WorkerPool
from dupwatchd.settings.model import Measure

_QUERIES_AT_ONCE = 256

Floats = NDArray[np.float64]
Thumbnails = NDArray[np.uint8]  # (N, S, S, 3)


@dataclass
class Pictures:
    """The decoded pictures of one set at one size."""

    labels: list[Label]
    thumbnails: Thumbnails  # (N, S, S, 3)
    failed: list[str]

    def __post_init__(self) -> None:
        self.flat = exact.flat(self.thumbnails)  # (N,) bool


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
            if thumbnail_px == DEFAULT_PX:
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
    jobs = [job(number, path) for number, path in enumerate(labelled.labels)]
    thumbnails: dict[int, NDArray[np.uint8]] = {}
    failed = []
    with WorkerPool(processes.cores(), thumbnail_px, DecodeLimits()) as pool:
        for outcome in pool.index(jobs, never_known):
            if outcome.decoded is not None:
                thumbnails[outcome.job.file_id] = outcome.decoded.thumbnail
            else:
                failed.append(f"{labelled.place(os.fsdecode(outcome.job.path))}: {outcome.error}")
    decoded = sorted(thumbnails)
    labels = list(labelled.labels.values())
    return Pictures([labels[number] for number in decoded], np.stack([thumbnails[n] for n in decoded]), failed)


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
    plain = exact.measure_pairs(thumbnails[first], thumbnails[second], mirrored=False)
    mirror = exact.measure_pairs(thumbnails[first], thumbnails[second], mirrored=True)
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
        if not in_the_wild:
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
        curve.closest = sorted(curve.closest, key=lambda entry: entry[0])[:CLOSEST_KEPT]
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
            for quarters in range(turns.TURNS):
                # All turns of the query, or of the other one: the same set of values.
                square = queries.reshape(len(queries), side, side, -1)
                moved = turns.turned(square, quarters, curve.mirrored).reshape(len(queries), -1)
                np.maximum(best, moved @ flat_vectors.T, out=best)
            yield curve, _Distances(first, squares[first : first + len(queries), None] + squares - 2 * best)


def _vectors(thumbnails: Thumbnails, measure: Measure) -> tuple[NDArray[np.float32], int]:
    """(N, cells, channels) float32 whose squared distance is the measure, and the cells along a side."""
    if measure == "structure":
        cells = exact.normalised_luma(thumbnails).reshape(len(thumbnails), exact.CELLS, 1)
        return (cells / np.sqrt(exact.CELLS)).astype(np.float32), exact.CELLS_PX
    side = thumbnails.shape[1]
    values = (thumbnails.reshape(len(thumbnails), side * side, 3) - np.float32(127.5)) / np.float32(side * np.sqrt(3))
    return np.asarray(values, np.float32), side


def _exact_to_nearest(pictures: Pictures, curve: Curve, first: int, distances: NDArray[np.float32]) -> Floats:
    queries = np.arange(first, first + len(distances))
    nearest = distances.argmin(axis=1)
    exact = _values(pictures.thumbnails, queries, nearest)[curve.measure, curve.mirrored]
    return np.where(np.isfinite(distances.min(axis=1)), exact, np.inf)


def _numbers(names: Iterable[str]) -> NDArray[np.intp]:
    return np.unique(list(names), return_inverse=True)[1].astype(np.intp)


def _arguments() -> argparse.Namespace:
    parser = make_parser(__doc__, report=False)
    add_sets(parser)
    parser.add_argument("--out", required=True, metavar="DIR", help="where roc.csv, roc.md and roc.svg are written")
    parser.add_argument(
        "--thumbnail-px", type=int, nargs="+", default=[16, 32, 64], metavar="PX", help="thumbnail sizes"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
