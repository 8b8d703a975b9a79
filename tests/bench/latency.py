"""How long does it take from the moment a new photo is closed to the event that names what it is a copy of?

    python -m tests.bench.latency [--sizes N...] [--one-folder]

Makes a library of small distinct JPEG files, scans it, starts the service on it with the smallest settling time, and
puts copies into it one after the other, each when the one before has been told of. The settling time is taken off.
"""

import argparse
import glob
import os
import queue
import shutil
import tempfile
import threading
import time
from statistics import median

from tests.bench import processes
from tests.bench.arguments import add_command, add_count, add_libraries, add_sizes, make_parser
from tests.bench.report import Report
from tests.bench.running import Library, Running, made_library, percentile, running, write_copy

from dupwatch.client import Client
from dupwatch.missed_events import Notice

_SETTLE_SECONDS = 0.05
_LOST_SECONDS = 10.0
_NEW = "new-"  # begins the names of new photos


def main() -> None:
    arguments = _arguments()
    report = Report("From the close of a new photo to the event that it is a copy")
    report.say(
        f"{processes.cores()} cores, {arguments.copies} copies one after the other, in milliseconds beyond "
        f"the settling time of {_SETTLE_SECONDS * 1000:.0f} ms"
        f"{'; all files lie in one folder' if arguments.one_folder else ''}"
    )
    rows = []
    with tempfile.TemporaryDirectory(prefix="dw") as scratch:
        for size in arguments.sizes:
            library = made_library(
                arguments.keep or scratch, size, arguments.dupwatchd, one_folder=arguments.one_folder
            )
            with running(library, arguments.dupwatchd, _SETTLE_SECONDS) as service:
                taken = _latencies(service, library, arguments.copies)
            told = [1000 * (seconds - _SETTLE_SECONDS) for seconds in taken if seconds is not None]
            rows.append(
                [
                    f"{size:,}",
                    *(f"{value:.0f}" for value in (min(told), median(told), percentile(told, 0.99), max(told))),
                    f"{len(taken) - len(told)}",
                ]
            )
    report.table(["pictures in the library", "fastest", "median", "99 %", "worst", "not told of"], rows)
    report.write(arguments.out)


def _latencies(service: Running, library: Library, copies: int) -> list[float | None]:
    """Seconds from close to event for each copy; None: no event came."""
    told: queue.Queue[tuple[float, bytes]] = queue.Queue()
    threading.Thread(target=_listen, args=(service.endpoint, told), daemon=True).start()
    new = _place_for_new(library)
    time.sleep(1)  # for the folder to be watched, and the listener to be heard
    taken: list[float | None] = []
    for number in range(-1, copies):  # the first one opens what is opened on demand
        path = os.path.join(new, f"{_NEW}{number}.jpg")
        write_copy(library.path(max(0, number) * library.files // copies % library.files), path)
        closed = time.monotonic()
        seconds = _told_after(told, closed, os.fsencode(path))
        if number >= 0:
            taken.append(seconds)
    _remove_new(library)
    return taken


def _place_for_new(library: Library) -> str:
    """The folder that takes the new photos, without those of a run before: a new one, or the root among all others."""
    _remove_new(library)
    if library.per_folder is None:
        return library.folder
    new = os.path.join(library.folder, "new")
    os.mkdir(new)
    return new


def _remove_new(library: Library) -> None:
    shutil.rmtree(os.path.join(library.folder, "new"), ignore_errors=True)
    for path in glob.glob(os.path.join(glob.escape(library.folder), f"{_NEW}*.jpg")):
        os.unlink(path)


def _told_after(told: "queue.Queue[tuple[float, bytes]]", closed: float, path: bytes) -> float | None:
    while True:
        try:
            at, found = told.get(timeout=max(0.0, closed + _LOST_SECONDS - time.monotonic()))
        except queue.Empty:
            return None  # counted as not told of
        if found == path:
            return at - closed


def _listen(endpoint: str, told: "queue.Queue[tuple[float, bytes]]") -> None:
    with Client(endpoint) as client:
        for event in client.events(["matched"]):
            if not isinstance(event, Notice):
                told.put((time.monotonic(), event.fields["path"]))


def _arguments() -> argparse.Namespace:
    parser = make_parser(__doc__)
    add_sizes(parser, [1000, 100_000])
    parser.add_argument(
        "--one-folder", action="store_true", help="all photos, and the new ones, lie in the root itself"
    )
    add_count(parser, "--copies", 200, "how many are put in")
    add_libraries(parser)
    add_command(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
