"""What does the service cost while nothing happens: processor time and memory of its whole process tree?

    python -m tests.bench.idle [--sizes N...] [--seconds N]

Makes a library of small distinct JPEG files, scans it, starts the service on it, puts one photo into it so that all
that is opened on demand is open, waits until nothing is left to do, and counts.
"""

import argparse
import os
import tempfile
import time

from tests.bench import processes
from tests.bench.arguments import add_command, add_libraries, add_sizes, make_parser
from tests.bench.report import Report
from tests.bench.running import Running, made_library, running, write_copy

from dupwatch.client import Client

_SETTLE_SECONDS = 0.1
_CALM_SECONDS = 5.0


def main() -> None:
    arguments = _arguments()
    report = Report("What the idle service costs")
    report.say(
        f"{processes.cores()} cores; all processes of the service over {arguments.seconds:g} s; "
        "memory is the proportional set size"
    )
    rows = []
    with tempfile.TemporaryDirectory(prefix="dw") as scratch:
        for size in arguments.sizes:
            library = made_library(arguments.keep or scratch, size, arguments.dupwatchd)
            new = os.path.join(library.folder, "new.jpg")
            with running(library, arguments.dupwatchd, _SETTLE_SECONDS) as service:
                write_copy(library.path(0), new)
                time.sleep(_CALM_SECONDS)
                _wait(service)
                before = processes.cpu_seconds(service.pid)
                time.sleep(arguments.seconds)
                spent = processes.cpu_seconds(service.pid) - before
                tree = processes.tree(service.pid)
                memory_mib = processes.tree_pss_kib(service.pid) / 1024
            os.unlink(new)
            share = spent / arguments.seconds
            rows.append([f"{size:,}", f"{spent:.2f}", f"{share:.3%}", f"{len(tree)}", f"{memory_mib:.0f}"])
    report.table(["pictures in the library", "CPU s", "of a core", "processes", "MiB"], rows)
    report.write(arguments.out)


def _wait(service: Running) -> None:
    with Client(service.endpoint, timeout_seconds=70) as client:
        client.request("wait", timeout=60)


def _arguments() -> argparse.Namespace:
    parser = make_parser(__doc__)
    add_sizes(parser, [1000, 100_000])
    parser.add_argument("--seconds", type=float, default=600, help="how long to count [default: 600]")
    add_libraries(parser)
    add_command(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
