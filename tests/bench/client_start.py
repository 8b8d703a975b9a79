"""How long does `dupwatch status` take in all, and where does the time go?

    python -m tests.bench.client_start [--runs N]

Serves a small status in this process, and runs the installed command against it in turn with a bare interpreter,
which nobody can be faster than; then prints the dearest imports of the command.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from statistics import median

from tests.bench import processes
from tests.bench.arguments import add_runs, make_parser
from tests.bench.processes import measured
from tests.bench.report import Report
from tests.client.small_service import SmallService

from dupwatchd.serve.server import Server

_IMPORTS_SHOWN = 12


def main() -> None:
    arguments = _arguments()
    command = os.path.join(os.path.dirname(sys.executable), "dupwatch")
    report = Report("Start-up of the client")
    with tempfile.TemporaryDirectory(prefix="dw", dir="/tmp") as folder:
        server = Server(f"{folder}/query.sock", SmallService().handlers())
        server.start()
        try:
            status = [command, "--endpoint", f"{folder}/query.sock", "status"]
            candidates = {
                "python -c pass": [sys.executable, "-c", "pass"],
                "dupwatch --help": [command, "--help"],
                "dupwatch status": status,
                "dupwatch status --json": [*status, "--json"],
            }
            runs = {name: [measured(words) for _ in range(arguments.runs)] for name, words in candidates.items()}
            imports = _dearest_imports([sys.executable, "-X", "importtime", *status])
        finally:
            server.stop()
    report.say(f"{processes.cores()} cores, {arguments.runs} runs, in milliseconds")
    rows = [
        [
            name,
            f"{1000 * median(run.wall_s for run in of_it):.0f}",
            f"{1000 * min(run.wall_s for run in of_it):.0f}",
            f"{1000 * max(run.wall_s for run in of_it):.0f}",
            f"{1000 * median(run.cpu_s for run in of_it):.0f}",
        ]
        for name, of_it in runs.items()
    ]
    report.table(["command", "median", "fastest", "slowest", "CPU"], rows)
    report.say("The dearest imports of `dupwatch status`, each with what it imports itself:")
    report.table(["module", "ms"], imports)
    report.write(arguments.out)


def _dearest_imports(command: Sequence[str]) -> list[list[str]]:
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True, text=True)
    lines = [line.removeprefix("import time:").split("|") for line in done.stderr.splitlines() if line.count("|") == 2]
    costs = sorted(((int(total), name.strip()) for _, total, name in lines if total.strip().isdigit()), reverse=True)
    return [[name, f"{total / 1000:.1f}"] for total, name in costs[:_IMPORTS_SHOWN]]


def _arguments() -> argparse.Namespace:
    parser = make_parser(__doc__)
    add_runs(parser, 25)
    return parser.parse_args()


if __name__ == "__main__":
    main()
