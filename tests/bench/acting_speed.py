"""What do plan, apply and undo cost, against `mv` of the same files and hashing of the same files?

    python -m tests.bench.acting_speed [--groups N...] [--keep DIR]

Makes libraries of small distinct JPEG files: of each picture an original in `a`, and one or two copies in `b` and `c`,
half of them equal byte by byte and half encoded again. The service runs on them until it has nothing to do. Then
`dupwatch plan`, `dupwatch apply` and `dupwatch undo` are measured. The floor is a pass that reads and hashes (BLAKE3)
all files that go and that stay for them once, then `mv` of those that go, on the same disk, right after.

CPU time counts the client and what the service does meanwhile; memory is the largest resident set of the client and of
the service's main process. On a machine that others use, too, look at CPU times and their ratio.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

from tests.bench import processes
from tests.bench.arguments import add_command, add_libraries, add_sizes, make_parser
from tests.bench.report import Report
from tests.bench.rescan import make_files, path_of
from tests.bench.running import Library, Running, running, write_copy

from dupwatch.client import Client

_SETTLE_SECONDS = 0.5
_PER_FOLDER = 500
_SIDE_PX = 160

_HASH = """
import sys
from blake3 import blake3
for path in open(sys.argv[1]).read().split("\\0"):
    with open(path, "rb") as file:
        blake3(file.read()).digest()
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one command took."""

    wall_s: float
    cpu_s: float  # of the command and its children
    service_cpu_s: float
    client_mib: float  # 0: not measured
    service_mib: float


def main() -> None:
    arguments = _arguments()
    report = Report("Plan, apply and undo, against hashing and mv")
    report.say(f"{processes.cores()} cores; CPU seconds are those of the command and of the service together")
    rows = []
    with tempfile.TemporaryDirectory(prefix="dw") as scratch:
        for groups in sorted(arguments.groups):
            place = os.path.realpath(arguments.keep or scratch)
            rows.append(_measured_row(groups, arguments, os.path.join(place, f"{groups}-groups")))
    report.table(
        [
            "groups", "files", "go", "hash s", "mv s", "plan s", "apply s", "undo s", "(plan + apply)/(hash + mv)",
            "plan CPU", "apply CPU", "undo CPU", "floor CPU", "CPU ratio", "plan MiB", "apply MiB", "service MiB",
        ],
        rows,
    )  # fmt: skip
    report.write(arguments.out)


def _measured_row(groups: int, arguments: argparse.Namespace, own: str) -> list[str]:
    library = _made_library(own, groups, arguments.dupwatchd)
    plan = os.path.join(own, "copies.plan")
    dupwatch = os.path.join(os.path.dirname(arguments.dupwatchd), "dupwatch")
    os.environ["XDG_STATE_HOME"] = os.path.join(own, "home")
    with running(library, arguments.dupwatchd, _SETTLE_SECONDS) as service:
        planned = _measured([dupwatch, "plan", "--endpoint", service.endpoint, "--out", plan], service)
        applied = _measured([dupwatch, "apply", plan, "--yes", "--endpoint", service.endpoint], service)
        _wait_until_idle(service)
        undone = _measured([dupwatch, "undo", "--last", "--yes", "--endpoint", service.endpoint], service)
    with open(plan, encoding="utf-8") as file:
        document = json.load(file)
    goes = [one["path"] for group in document["groups"] for one in group["goes"]]
    stays = {one["held_by"] for group in document["groups"] for one in group["goes"]}
    hashed, moved = _floor(goes, [*goes, *stays])
    floor_s, floor_cpu_s = hashed.wall_s + moved.wall_s, hashed.cpu_s + moved.cpu_s
    cpu = [one.cpu_s + one.service_cpu_s for one in (planned, applied, undone)]
    return [
        f"{groups:,}",
        f"{library.files:,}",
        f"{len(goes):,}",
        *(f"{one.wall_s:.2f}" for one in (hashed, moved, planned, applied, undone)),
        f"{(planned.wall_s + applied.wall_s) / floor_s:.1f}",
        *(f"{seconds:.2f}" for seconds in (*cpu, floor_cpu_s)),
        f"{(cpu[0] + cpu[1]) / floor_cpu_s:.1f}",
        *(f"{mib:.0f}" for mib in (planned.client_mib, applied.client_mib)),
        f"{max(planned.service_mib, applied.service_mib):.0f}",
    ]


def _made_library(own: str, groups: int, dupwatchd: str) -> Library:
    """Pictures with copies, scanned; those that are there already are taken as they are."""
    folder, state = os.path.join(own, "photos"), os.path.join(own, "state")
    if not os.path.exists(state):
        make_files(os.path.join(folder, "a"), range(groups), _PER_FOLDER, _SIDE_PX)
        for number in range(groups):
            _make_copies(folder, number)
        command = processes.scan_command(dupwatchd, state, [folder], "--confirm", "--limit", "1")
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return Library(folder, state, sum(len(names) for _, _, names in os.walk(folder)), _PER_FOLDER)


def _make_copies(folder: str, number: int) -> None:
    """One copy of a picture, or two of every third."""
    original = path_of(os.path.join(folder, "a"), number, _PER_FOLDER)
    for place in ("b", "c")[: 1 + number % 3 // 2]:
        copy = os.path.join(folder, place, f"{number // _PER_FOLDER:04d}", f"{place}{number:07d}.jpg")
        os.makedirs(os.path.dirname(copy), exist_ok=True)
        if (number + (place == "c")) % 2:
            shutil.copyfile(original, copy)
        else:
            write_copy(original, copy, quality=85)


def _measured(command: list[str], service: Running | None = None) -> Cost:
    """Run a command to its end; what the service does meanwhile counts."""
    before = 0.0 if service is None else processes.cpu_seconds(service.pid)
    if service is not None:
        processes.reset_peak(service.pid)
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    service_mib = 0.0 if service is None else processes.peak_rss_mib(service.pid)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with status {process.returncode}")
    of_service = 0.0 if service is None else processes.cpu_seconds(service.pid) - before
    return Cost(wall_s, usage.ru_utime + usage.ru_stime, of_service, usage.ru_maxrss / 1024, service_mib)


def _wait_until_idle(service: Running) -> None:
    with Client(service.endpoint, timeout_seconds=70) as client:
        while not client.request("wait", timeout=60)["idle"]:
            pass


def _floor(goes: list[str], read: list[str]) -> tuple[Cost, Cost]:
    """What hashing these files once, and moving those that go, takes by itself; then they are moved back."""
    with tempfile.TemporaryDirectory(dir=os.path.dirname(os.path.commonpath(read))) as own:
        hashed = _measured([sys.executable, "-c", _HASH, _written(own, "read", read)])
        moved = os.path.join(own, "moved")
        os.mkdir(moved)
        moving = _measured(["xargs", "-0", "-a", _written(own, "goes", goes), "mv", "-t", moved])
        for path in goes:
            os.rename(os.path.join(moved, os.path.basename(path)), path)
    return hashed, moving


def _written(folder: str, name: str, paths: list[str]) -> str:
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write("\0".join(paths))
    return path


def _arguments() -> argparse.Namespace:
    parser = make_parser(__doc__)
    add_sizes(parser, [1000, 10_000, 25_000], "--groups")
    add_libraries(parser)
    add_command(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
