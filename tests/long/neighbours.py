"""Does a client in the socket's group that means no good take anything from the others?

    python -m tests.long.neighbours                                         ten minutes, 100,000 pictures
    python -m tests.long.neighbours --library 20000 --photos 1000 --seconds 60

Makes a library, starts the service on it, and lets clients ask for `clusters`, `find` and `status` all the time:

idle      with nothing else to do
beside    while `hostile.py` does all that it can, as another user if root runs this, to *another* service on the same
          machine, which has ten pictures
attacked  while it does so to this one, and new photos come in

Clients, attackers and whoever else is about share the processors. What that costs whatever the service does is in
"beside" as well; what the service lets an attacker take from its neighbours is what "attacked" takes longer.
Ends with status 1 if an answer was lost, or if a promise is not kept: 99 % of the answers to `status` and `clusters`
within 100 ms beyond those of the service that is idle on a machine as busy ("beside"), memory flat. How much longer
they take than with nothing else to do is told as well.
"""

import argparse
import os
import shutil
import sys
import tempfile
import threading
import time
from statistics import median
from typing import NamedTuple

from tests.bench import processes
from tests.bench.arguments import add_command, add_count, add_libraries, make_parser
from tests.bench.report import Report
from tests.bench.running import made_library, percentile, running
from tests.bench.under_load import Answer, asking, brought_in, made_with_new_photos, row
from tests.long.hostile import WAYS, hostile

_SETTLE_SECONDS = 0.5
_MOST_MORE_MS = 100.0
_MOST_MORE_MB = 300.0  # at any moment: requests and answers under way, what was used for others, the new photos
_MOST_LATER_MB = 16.0  # from the second to the last quarter of the time, and for each new photo:
_PHOTO_MB = 0.0025  # descriptor, keypoints, and their trees
_QUARTERS = ("first quarter", "second", "third", "last")


class _Memory(NamedTuple):
    own_mb: float  # anonymous
    of_files_mb: float  # shared with whoever maps them, and can be read again


def main() -> None:
    arguments = _arguments()
    report = Report("A hostile client beside others")
    with tempfile.TemporaryDirectory(prefix="dw") as scratch:
        os.chmod(scratch, 0o711)
        library, new = made_with_new_photos(arguments, arguments.keep or scratch)
        small = made_library(os.path.join(scratch, "small"), 10, arguments.dupwatchd)
        inside = os.path.join(library.folder, "new")
        shutil.rmtree(inside, ignore_errors=True)
        with running(library, arguments.dupwatchd, _SETTLE_SECONDS) as service:
            with asking(service, library, arguments) as clients:
                time.sleep(arguments.seconds / 4)
                idle = clients.answers()
            with (
                running(small, arguments.dupwatchd, _SETTLE_SECONDS) as another,
                asking(service, library, arguments) as clients,
                hostile(another.endpoint),
            ):
                time.sleep(arguments.seconds / 4)
                beside = clients.answers()
            idle_memory = _memory_of(service.pid)
            memory: list[_Memory] = []
            descriptors: list[int] = []

            def bring_in() -> None:  # folders that somebody wants to be looked through without end leave it no rest
                brought_in(service, new, inside, arguments.photos, until_idle=False)

            with asking(service, library, arguments) as clients:
                with hostile(service.endpoint) as is_other_user:
                    ends = time.monotonic() + arguments.seconds
                    bringing = threading.Thread(target=bring_in)
                    bringing.start()
                    while time.monotonic() < ends or bringing.is_alive():
                        time.sleep(min(arguments.seconds / 50, 5.0))
                        memory.append(_memory_of(service.pid))
                        descriptors.append(len(os.listdir(f"/proc/{service.pid}/fd")))
                attacked = clients.answers()
        shutil.rmtree(inside)
    report.say(
        f"{processes.cores()} cores, load {os.getloadavg()[0]:.0f}; {arguments.clients} clients, {library.files:,} "
        f"pictures, {arguments.photos:,} new ones, {len(WAYS)} hostile processes "
        f"({'as another user' if is_other_user else 'as the same user'}) for {arguments.seconds:.0f} s; milliseconds"
    )
    phases = {"idle": idle, "beside": beside, "attacked": attacked}
    headings = ["question", *(f"{phase}: {what}" for phase in phases for what in ("asked", "median", "99 %"))]
    headings += ["more than idle", "more than beside", "lost"]
    report.table(headings, [row(question, *phases.values()) for question in ("clusters", "find", "status")])
    report.say("Memory of the service, MB; that of a quarter of the time is the median of its moments:")
    report.table(
        ["", "idle", "most", *_QUARTERS],
        [
            [name, *(f"{amount:.0f}" for amount in (getattr(idle_memory, column), max(used), *_by_quarter(used)))]
            for name, column in (("its own", "own_mb"), ("pages of files, such as libraries", "of_files_mb"))
            for used in [[getattr(moment, column) for moment in memory]]
        ],
    )
    report.say(f"At most {max(descriptors):,} open files.")
    report.write(arguments.out)
    sys.exit(not _is_kept(idle, beside, attacked, idle_memory, memory, arguments.photos))


def _is_kept(
    idle: list[Answer],
    beside: list[Answer],
    attacked: list[Answer],
    idle_memory: _Memory,
    memory: list[_Memory],
    photos: int,
) -> bool:
    lost = sum(seconds is None for _, seconds in (*idle, *beside, *attacked))
    more_ms = [1000 * (_slow(attacked, question) - _slow(beside, question)) for question in ("status", "clusters")]
    own_mb = [moment.own_mb for moment in memory]
    _, second, _, fourth = _by_quarter(own_mb)
    is_flat = fourth - second <= _MOST_LATER_MB + photos * _PHOTO_MB
    is_little = max(own_mb) - idle_memory.own_mb <= _MOST_MORE_MB
    return lost == 0 and max(more_ms) <= _MOST_MORE_MS and is_flat and is_little


def _slow(answers: list[Answer], question: str) -> float:
    return percentile([seconds for asked, seconds in answers if asked == question and seconds is not None], 0.99)


def _memory_of(pid: int) -> _Memory:
    """Resident memory of a process alone."""
    with open(f"/proc/{pid}/status") as status:
        kib = {name: int(value.split()[0]) for name, value in (line.split(":", 1) for line in status) if "Rss" in name}
    return _Memory(kib["RssAnon"] / 1024, (kib["RssFile"] + kib["RssShmem"]) / 1024)


def _by_quarter(values: list[float]) -> list[float]:
    """The median in each quarter of the time."""
    return [median(values[quarter * len(values) // 4 : (quarter + 1) * len(values) // 4]) for quarter in range(4)]


def _arguments() -> argparse.Namespace:
    parser = make_parser(__doc__)
    add_count(parser, "--library", 100_000, "pictures known before")
    add_count(parser, "--photos", 5_000, "new photos")
    add_count(parser, "--clients", 24, "who asks")
    parser.add_argument("--side", type=int, default=640, metavar="PX", help="side of the new photos [default: 640]")
    parser.add_argument("--pause", type=float, default=0.5, metavar="S", help="between two questions [default: 0.5]")
    parser.add_argument("--seconds", type=float, default=600, metavar="S", help="of hostility [default: 600]")
    add_libraries(parser)
    add_command(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
