"""How long does it take from the moment a new photo is closed to the event that names what it is a copy of?

    python -m tests.bench.latency [--sizes N...]

Makes a library of small distinct JPEG files, scans it, starts the service on it with the smallest settling time, and
puts copies into it one after the other, each when the one before has been told of. The settling time is taken off.
"""

import argparse
import os
import queue
import shutil
import tempfile
import threading
import time
from statistics import median

from tests.bench import processes
from tests.bench.report import Report
from tests.bench.running import Library, Running, made_library, percentile, running, write_copy

from dupwatch.client import Client
from dupwatch.missed_events import Notice

_SETTLE_SECONDS = 0.05
_LOST_SECONDS = 10.0


def main() -> None:
    arguments = _arguments()
    report = Report("From the close of a new photo to the event that it is a copy")
    report.say(
        f"{len(os.sched_getaffinity(0))} cores, {arguments.copies} copies one after the other, in milliseconds beyond "
        f"the settling time of {_SETTLE_SECONDS * 1000:.0f} ms"
    )
    rows = []
    with tempfile.TemporaryDirectory(prefix="dw") as scratch:
        for size in arguments.sizes:
            library = made_library(arguments.keep or scratch, size, arguments.dupwatchd)
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
    new = os.path.join(library.folder, "new")
    shutil.rmtree(new, ignore_errors=True)
    os.mkdir(new)
    time.sleep(1)  # for the folder to be watched, and the listener to be heard
    taken: list[float | None] = []
    for number in range(-1, copies):  # the first one opens what is opened on demand
        path = os.path.join(new, f"{number}.jpg")
        write_copy(library.path(max(0, number) * library.files // copies % library.files), path)
        closed = time.monotonic()
        seconds = _told_after(told, closed, os.fsencode(path))
        if number >= 0:
            taken.append(seconds)
    shutil.rmtree(new)
    return taken


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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[1000, 100_000], metavar="N", help="pictures [default: 1000 100000]"
    )
    parser.add_argument("--copies", type=int, default=200, metavar="N", help="how many are put in [default: 200]")
    parser.add_argument("--keep", metavar="DIR", help="make the libraries here and keep them for the next run")
    parser.add_argument("--dupwatchd", default=processes.default_command(), help="the command to run")
    parser.add_argument("--out", metavar="FILE", help="write the report as Markdown")
    return parser.parse_args()


if __name__ == "__main__":
    main()
