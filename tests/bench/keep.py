"""How often the file that is kept is the original, on sets of labelled variants.

    python -m tests.bench.keep SET...

SET holds truth.csv (columns file, group, role, kind) and the files. Prints the share of groups whose kept file is the
original or equal to it byte for byte, what the others are lost to, how often a pair's direction is right by kind, and
what it costs. With `--no-exif` and `--no-times` metadata or times of change count as unknown.
"""

import argparse
import csv
import io
import itertools
import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np
from PIL import Image

from dupwatchd.compare.origin.candidate import Candidate
from dupwatchd.compare.origin.direction import nearer
from dupwatchd.db.answers import Copy
from dupwatchd.index import pillow_formats  # noqa: F401 - registers HEIF with Pillow
from dupwatchd.index.decode import decode
from dupwatchd.index.facts import is_lossless, jpeg_steps, scan_digest, stored_luma
from dupwatchd.index.limits import DecodeLimits
from dupwatchd.index.metadata import read_metadata
from dupwatchd.pixels.signs import has_colour, has_jpeg_grid
from dupwatchd.serve.keep import Direction, KeepOrder, Kept

P = ParamSpec("P")
R = TypeVar("R")
TIMES: dict[str, list[float]] = defaultdict(list)


@dataclass(frozen=True)
class Looked:
    """One file of a set."""

    copy: Copy
    candidate: Candidate
    kind: str
    original: bool
    data: bytes


def timed(name: str, function: Callable[P, R], *args: P.args, **more: P.kwargs) -> R:
    """Calls it and notes the CPU time of this thread: the machine may be busy."""
    begun = time.thread_time()
    result = function(*args, **more)
    TIMES[name].append((time.thread_time() - begun) * 1e3)
    return result


def look_at(place: int, path: Path, kind: str, exif: bool, times: bool) -> Looked:
    data = path.read_bytes()
    suffix = path.suffix.lower().encode()
    image = Image.open(io.BytesIO(data))
    found = decode(data, 32, DecodeLimits(), suffix)
    metadata = timed("metadata", read_metadata, image, data)
    steps, scan = jpeg_steps(data), timed("scan digest", scan_digest, data)
    luma = timed("decode luma", stored_luma, image, data)
    lossless = is_lossless(image, data)
    colour = timed("has_colour", has_colour, found.thumbnail)
    grid = lossless and timed("has_jpeg_grid", has_jpeg_grid, luma)
    camera, captured = (metadata.camera, metadata.captured) if exif else ("", "")
    stat = path.stat()
    mtime_ns = stat.st_mtime_ns if times else 0
    copy = Copy(
        os.fsencode(path), stat.st_size, mtime_ns, 0, 0, place, b"", place, found.width, found.height, found.format,
        has_colour=colour, camera=camera, captured=captured, edited=metadata.edited, jpeg_grid=grid,
    )  # fmt: skip
    from_camera = bool(camera and captured and not metadata.edited)
    candidate = Candidate(luma, found.format, lossless, colour, grid, steps, scan, from_camera)
    return Looked(copy, candidate, kind, kind == "original", data)


def directions(files: list[Looked]) -> dict[tuple[int, int], int]:
    return {
        (i, j): int(timed("direction", nearer, files[i].candidate, files[j].candidate))
        for i, j in itertools.combinations(range(len(files)), 2)
        if files[i].data != files[j].data
    }


def kept_first(files: list[Looked], found: dict[tuple[int, int], int]) -> tuple[Looked, str]:
    pairs = [Direction(i, j) if way < 0 else Direction(j, i) for (i, j), way in found.items() if way]
    first: Kept = KeepOrder([file.copy for file in files], pairs).kept[0]
    return next(file for file in files if file.copy == first.copy), first.reason


def groups_of(root: Path) -> dict[str, list[dict[str, str]]]:
    groups: dict[str, list[dict[str, str]]] = defaultdict(list)
    with open(root / "truth.csv", encoding="utf-8", newline="") as table:
        for row in csv.DictReader(table):
            groups[row["group"]].append(row)
    return {name: rows for name, rows in groups.items() if len(rows) > 1}


def evaluate(root: Path, exif: bool, times: bool, show: bool) -> None:
    outcome, lost, reasons, ways = (
        Counter[str](),
        Counter[str](),
        Counter[str](),
        defaultdict[str, Counter[int]](Counter),
    )
    for name, rows in groups_of(root).items():
        files = [look_at(place, root / row["file"], row["kind"], exif, times) for place, row in enumerate(rows)]
        found = directions(files)
        best, reason = kept_first(files, found)
        original = next(file for file in files if file.original)
        reasons[reason] += 1
        outcome["groups"] += 1
        if best.data == original.data:
            outcome["original"] += 1
        elif best.candidate.scan and best.candidate.scan == original.candidate.scan:
            outcome["equal scan"] += 1
        if best.data != original.data:
            lost[best.kind] += 1
            if show:
                print(f"  {name}: {best.kind} ({reason}) of {[file.kind for file in files]}")
        for (i, j), way in found.items():
            if files[i].original or files[j].original:
                kind = files[j].kind if files[i].original else files[i].kind
                ways[kind][-way if files[i].original else way] += 1
    print(f"{root}: original kept {outcome['original'] / outcome['groups']:.1%} of {outcome['groups']} groups,")
    print(
        f"  its coded picture with other metadata {outcome['equal scan'] / outcome['groups']:.1%}; lost to {dict(lost)}"
    )
    print("  reasons:", dict(reasons.most_common()))
    print(
        "  original before copy: right, nothing shown, wrong; in all",
        [sum(c[n] for c in ways.values()) for n in (1, 0, -1)],
    )
    print("   ", ", ".join(f"{kind} {c[1]} {c[0]} {c[-1]}" for kind, c in sorted(ways.items())))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.keep", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", nargs="+", type=Path)
    parser.add_argument("--no-exif", action="store_true", help="as if no file said anything about its camera")
    parser.add_argument("--no-times", action="store_true", help="as if all files were changed at one time")
    parser.add_argument("--show", action="store_true", help="name each group whose original is not kept")
    args = parser.parse_args()
    for root in args.sets:
        evaluate(root, not args.no_exif, not args.no_times, args.show)
    for name, values in TIMES.items():
        middle, high = np.quantile(values, [0.5, 0.95])
        print(f"  {name}: ms CPU, median {middle:.2f}, 95 % {high:.2f}, most {max(values):.1f}, n {len(values)}")


if __name__ == "__main__":
    main()
