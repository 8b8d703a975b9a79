"""What do thousands of pictures cost that all resemble each other?

    python -m tests.bench.crowds [--frames N] [--copies N] [--once]

Scans four folders, each with a fresh state directory: the frames of a film that differ by noise only; the same frames
after one was removed, with the state of the first scan; files with the very same bytes; one picture beside many that
resemble it and hardly each other. Shown are time, peak memory of the whole process tree (in a run of its own, unless
--once is given: 20,000 frames take a quarter of an hour of two processors), the database, how many of the matches it
stores belong to spanning forests and how many are near, to be looked at again (a match may be both), and how many
clusters come out.
"""

import argparse
import io
import json
import os
import shutil
import tempfile

import apsw
import numpy as np
from PIL import Image
from tests.bench import processes
from tests.bench.arguments import add_command, add_count, add_folder, make_parser
from tests.bench.report import Report

_SIDE_PX = 64
_NOISE = 6.0  # grey levels; mse about 10 between two thumbnails
_SPREAD = 5.2  # grey levels on a thumbnail: from a common middle mse about 27, from each other twice that


def main() -> None:
    arguments = _arguments()
    report = Report("Crowds: pictures that all resemble each other")
    report.say(f"{processes.cores()} cores; frames of {_SIDE_PX} px")
    rows = []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as scratch:
        film, state = os.path.join(scratch, "film"), os.path.join(scratch, "state")
        _make_film(film, arguments.frames)
        rows.append(_row(arguments, f"{arguments.frames:,} frames", film, state))
        os.unlink(os.path.join(film, f"{arguments.frames // 2:06d}.jpg"))
        rows.append(_row(arguments, "one removed", film, state))
        copies, copies_state = os.path.join(scratch, "copies"), os.path.join(scratch, "copies-state")
        _make_copies(copies, arguments.copies)
        rows.append(_row(arguments, f"{arguments.copies:,} identical files", copies, copies_state))
        star, star_state = os.path.join(scratch, "star"), os.path.join(scratch, "star-state")
        _make_star(star, arguments.copies)
        rows.append(
            _row(arguments, f"one near {arguments.copies:,}", star, star_state, "--measure", "mse", "--threshold", "30")
        )
    report.table(
        ["folder", "s", "CPU s", "peak MiB", "database MiB", "in forests", "near", "clusters", "largest"], rows
    )
    report.write(arguments.out)


def _row(arguments: argparse.Namespace, name: str, folder: str, state: str, *more: str) -> list[str]:
    answer = os.path.join(os.path.dirname(state), "answer.json")
    command = processes.scan_command(arguments.dupwatchd, state, [folder], *more)
    before = state + "-before"
    if os.path.exists(state) and not arguments.once:
        shutil.copytree(state, before)
    timed = processes.measured(command, stdout=answer)
    if timed.status:
        raise SystemExit(f"{' '.join(command)} ended with status {timed.status}")
    peak = "-"
    if not arguments.once:
        peak_state = state + "-peak"
        if os.path.exists(before):
            shutil.move(before, peak_state)
        again = processes.scan_command(arguments.dupwatchd, peak_state, [folder], *more)
        peak = f"{processes.measured(again, memory=True).peak_mib:.0f}"
        shutil.rmtree(peak_state)
    path = os.path.join(state, "dupwatch.sqlite")
    database = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
    joining = database.execute("SELECT count(*) FROM match WHERE joins = 1").get
    near = database.execute("SELECT count(*) FROM match WHERE near = 1").get
    database.close()
    with open(answer, encoding="utf-8", errors="surrogateescape") as file:
        clusters = json.load(file)["clusters"]
    return [
        name,
        f"{timed.wall_s:.1f}",
        f"{timed.cpu_s:.1f}",
        peak,
        f"{os.path.getsize(path) / 2**20:.1f}",
        f"{joining:,}",
        f"{near:,}",
        f"{len(clusters):,}",
        f"{max((len(cluster['files']) for cluster in clusters), default=0):,}",
    ]


def _make_film(folder: str, frames: int) -> None:
    os.mkdir(folder)
    still = _patches(0, 8)
    for number in range(frames):
        noise = np.random.default_rng(number + 1).normal(0, _NOISE, still.shape)
        _write(os.path.join(folder, f"{number:06d}.jpg"), still + noise, 92)


def _make_copies(folder: str, copies: int) -> None:
    os.mkdir(folder)
    first = os.path.join(folder, "000000.jpg")
    _write(first, _patches(1, 8), 90)
    for number in range(1, copies):
        shutil.copyfile(first, os.path.join(folder, f"{number:06d}.jpg"))


def _make_star(folder: str, points: int) -> None:
    os.mkdir(folder)
    middle = _patches(2, 8)
    _write(os.path.join(folder, "middle.png"), middle, None)
    for number in range(points):
        sign = np.random.default_rng(number + 1).choice([-_SPREAD, _SPREAD], (32, 32, 3))
        _write(os.path.join(folder, f"{number:06d}.png"), middle + sign.repeat(2, axis=0).repeat(2, axis=1), None)


def _patches(seed: int, side: int) -> "np.ndarray":
    """A picture of soft patches (64, 64, 3), none of them too dark or too bright."""
    patches = np.random.default_rng(seed).integers(40, 216, (side, side, 3), np.uint8)
    soft = Image.fromarray(patches).resize((_SIDE_PX, _SIDE_PX), Image.Resampling.BILINEAR)
    return np.asarray(soft, np.float64)


def _write(path: str, picture: "np.ndarray", quality: int | None) -> None:
    encoded = io.BytesIO()
    image = Image.fromarray(np.clip(np.rint(picture), 0, 255).astype(np.uint8))
    if quality is None:
        image.save(encoded, "PNG")
    else:
        image.save(encoded, "JPEG", quality=quality)
    with open(path, "wb") as file:
        file.write(encoded.getbuffer())


def _arguments() -> argparse.Namespace:
    parser = make_parser(__doc__)
    add_count(parser, "--frames", 20_000, "frames of the film")
    add_count(parser, "--copies", 10_000, "identical files, and pictures that resemble one")
    parser.add_argument("--once", action="store_true", help="do not scan all again to see how much memory it takes")
    add_folder(parser)
    add_command(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
