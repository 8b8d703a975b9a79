"""How long do questions take while photos are being indexed, against the idle service?

    python -m tests.bench.under_load [--photos N] [--clients N]

Makes a library of small JPEG files with some copies, scans it, and starts the service on it. A number of clients, each
a process of its own, ask for clusters, for the copies of a photo and for the status, one after the other with a pause
in between; first with nothing else to do, then while a folder full of new photos, a tenth of them copies, comes in.
"""

import argparse
import multiprocessing
import os
import random
import shutil
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.synchronize import Event
from statistics import median
from typing import Any, Self

from tests.bench import processes
from tests.bench.arguments import add_command, add_count, add_libraries, make_parser
from tests.bench.report import Report
from tests.bench.rescan import make_files
from tests.bench.running import Library, Running, made_library, percentile, running, write_copy

from dupwatch.client import Client
from dupwatch.errors import ClientError

_SETTLE_SECONDS = 0.5
_KNOWN_COPIES = 500
_ONE_IN = 10  # of the new photos is a copy
_MOST_SECONDS = 300.0
_QUESTIONS = ("clusters", "find", "status")

Answer = tuple[str, float | None]  # the question, seconds; None: lost


def main() -> None:
    arguments = _arguments()
    report = Report("Questions while photos are indexed")
    with tempfile.TemporaryDirectory(prefix="dw") as scratch:
        library, new = made_with_new_photos(arguments, arguments.keep or scratch)
        inside = os.path.join(library.folder, "new")
        shutil.rmtree(inside, ignore_errors=True)
        with running(library, arguments.dupwatchd, _SETTLE_SECONDS) as service:
            with asking(service, library, arguments) as clients:
                time.sleep(arguments.seconds)
                idle = clients.answers()
            with asking(service, library, arguments) as clients:
                indexing_s = brought_in(service, new, inside, arguments.photos)
                loaded = clients.answers()
        shutil.rmtree(inside)
    report.say(
        f"{processes.cores()} cores; {arguments.clients} clients, {arguments.pause:g} s between an answer "
        f"and the next question; {arguments.library:,} pictures in the library, {arguments.photos:,} photos of "
        f"{arguments.side}×{arguments.side} px indexed in {indexing_s:.1f} s; milliseconds"
    )
    rows = [row(question, idle, loaded) for question in _QUESTIONS]
    headings = ["question", "idle: asked", "median", "99 %", "indexing: asked", "median", "99 %", "99 % more", "lost"]
    report.table(headings, rows)
    report.write(arguments.out)


def made_with_new_photos(arguments: argparse.Namespace, place: str) -> tuple[Library, str]:
    """The library with some copies, and beside it the folder of photos that come in later."""
    place = os.path.join(place, "under_load")
    library = made_library(place, arguments.library, arguments.dupwatchd)
    copies = os.path.join(library.folder, "copies")
    if not os.path.isdir(copies):
        os.mkdir(copies)
        for number in range(_KNOWN_COPIES):
            write_copy(library.path(number), os.path.join(copies, f"{number}.jpg"))
    new = os.path.join(place, f"new-{arguments.photos}-{arguments.side}")
    if not os.path.isdir(new):
        begin = 10_000_000  # others than in the library
        with multiprocessing.Pool() as pool:
            parts = [
                (new, range(start, min(start + 500, begin + arguments.photos)), 500, arguments.side)
                for start in range(begin, begin + arguments.photos, 500)
            ]
            pool.starmap(make_files, parts)
        for number in range(0, arguments.photos, _ONE_IN):
            path = os.path.join(new, f"{(begin + number) // 500:04d}", f"{begin + number:07d}.jpg")
            write_copy(library.path(number % library.files), path)
    return library, new


def brought_in(service: Running, new: str, inside: str, photos: int, *, until_idle: bool = True) -> float:
    """Copy the new photos into the library and wait until they are indexed, and all else is done; seconds."""
    began = time.monotonic()
    with Client(service.endpoint, timeout_seconds=30) as client:
        before = client.request("status")["files"]
        shutil.copytree(new, inside)
        while client.request("status")["files"] < before + photos or (
            until_idle and not client.request("wait", timeout=5)["idle"]
        ):
            if time.monotonic() > began + _MOST_SECONDS:
                raise SystemExit("the service does not come to an end with the new photos")
            time.sleep(0.2)
    return time.monotonic() - began


class asking:  # noqa: N801 - reads as what it does
    """Clients that ask all the time, until their answers are wanted."""

    def __init__(self, service: Running, library: Library, arguments: argparse.Namespace) -> None:
        context = multiprocessing.get_context("fork")
        self._over = context.Event()
        self._queue: multiprocessing.Queue[list[Answer]] = context.Queue()
        self._processes = [
            context.Process(
                target=_ask, args=(number, service.endpoint, library, arguments.pause, self._over, self._queue)
            )
            for number in range(arguments.clients)
        ]

    def __enter__(self) -> Self:
        for process in self._processes:
            process.start()
        return self

    def answers(self) -> list[Answer]:
        """All of them; nobody asks any more."""
        self._over.set()
        answers = [answer for _ in self._processes for answer in self._queue.get(timeout=60)]
        for process in self._processes:
            process.join()
        return answers

    def __exit__(self, *_: object) -> None:
        self._over.set()


def _ask(
    number: int,
    endpoint: str,
    library: Library,
    pause_seconds: float,
    over: Event,
    queue: "multiprocessing.Queue[list[Answer]]",
) -> None:
    chance = random.Random(number)
    answers: list[Answer] = []
    with Client(endpoint) as client:
        over.wait(chance.uniform(0, pause_seconds))
        for question in _QUESTIONS:  # what is opened on demand is open
            client.request(question, **_given(question, library, chance))
        while not over.wait(pause_seconds):
            question = chance.choice(_QUESTIONS)
            given = _given(question, library, chance)
            began = time.monotonic()
            try:
                client.request(question, **given)
            except ClientError as error:
                print(f"{question}: {error}", flush=True)
                answers.append((question, None))
            else:
                answers.append((question, time.monotonic() - began))
    queue.put(answers)


def _given(question: str, library: Library, chance: random.Random) -> dict[str, Any]:
    if question == "find":
        with open(library.path(chance.randrange(library.files)), "rb") as photo:
            return {"data": photo.read()}  # photos of 640 px are sent in one piece
    return {"limit": 20} if question == "clusters" else {}


def row(question: str, *phases: Sequence[Answer]) -> list[str]:
    """Of each phase how often it was asked, median and 99 %; how much more the last 99 % is than each before; lost."""
    cells: list[str] = [question]
    worst: list[float] = []
    for answers in phases:
        taken = [1000 * seconds for asked, seconds in answers if asked == question and seconds is not None]
        worst.append(percentile(taken, 0.99))
        cells += [f"{len(taken)}", f"{median(taken):.1f}", f"{worst[-1]:.1f}"]
    lost = sum(1 for answers in phases for asked, seconds in answers if asked == question and seconds is None)
    return [*cells, *(f"{worst[-1] - before:.1f}" for before in worst[:-1]), f"{lost}"]


def _arguments() -> argparse.Namespace:
    parser = make_parser(__doc__)
    add_count(parser, "--library", 10_000, "pictures known before")
    add_count(parser, "--photos", 8_000, "new photos")
    add_count(parser, "--clients", 20, "who asks")
    parser.add_argument("--side", type=int, default=640, metavar="PX", help="side of the new photos [default: 640]")
    parser.add_argument("--pause", type=float, default=0.5, metavar="S", help="between two questions [default: 0.5]")
    parser.add_argument("--seconds", type=float, default=20, metavar="S", help="of the idle service [default: 20]")
    add_libraries(parser)
    add_command(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
