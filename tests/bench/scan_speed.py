"""How long does a whole scan take, against the fastest other programs on the same photos?

    python -m tests.bench.scan_speed --photos DIR... --peers-python VENV/bin/python...

Every tool runs as a process of its own, from nothing to its answer, in turn (A B C A B C ...), after all photos were
read once; shown are medians. CPU time is that of the whole process tree. Memory comes from a run of its own: the
largest sum of proportional set sizes (shared pages count once). Each DIR is a comparison of its own; with a truth.csv
in it the table also tells what was found. Each tool is run by the first PYTHON that can import it; one that none can
import is left out.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from tests.bench import processes, truth
from tests.bench.arguments import add_command, add_photo_folders, add_runs, make_parser
from tests.bench.processes import Run
from tests.bench.report import Report
from tests.bench.truth import TURNED_KINDS, LabelledSet

PEERS = ("czkawka", "imagededup", "difpy", "fastdup", "immaculate")
OURS = "dupwatchd"
_PEER_SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "peer.py")


@dataclass
class Tool:
    """One program and what its runs cost."""

    name: str
    python: str = ""  # the interpreter that has it, for other programs than ours
    runs: list[Run] = field(default_factory=list)
    peak_mib: float = 0.0
    clusters: list[list[str]] = field(default_factory=list)
    gave_up: bool = False  # it ran into the time limit or failed: not tried again

    @property
    def wall_s(self) -> float:
        return median(run.wall_s for run in self.runs)

    @property
    def cpu_s(self) -> float:
        return median(run.cpu_s for run in self.runs)


def main() -> None:
    arguments = _arguments()
    report = Report("Whole scans, against other programs")
    report.say(
        f"{processes.cores()} cores, load before the start {os.getloadavg()[0]:.1f}; "
        f"medians of {arguments.runs} runs in turn"
    )
    peers = _importable(report, arguments.peers_python, arguments.peers)
    for folder in arguments.photos:
        compare(report, os.path.realpath(folder), peers, arguments)
    report.write(arguments.out)


def compare(report: Report, folder: str, peers: dict[str, str], arguments: argparse.Namespace) -> None:
    """All tools over one folder."""
    labelled = truth.load(folder)
    photos, photo_bytes = _read_all(labelled)
    report.heading(f"{labelled.name}: {photos} photos, {photo_bytes / 1e6:.0f} MB")
    tools = [Tool(OURS), *(Tool(name, python) for name, python in peers.items())]
    for _ in range(arguments.runs):
        for tool in tools:
            _run(tool, folder, arguments, memory=False)
    for tool in tools if arguments.memory else []:
        _run(tool, folder, arguments, memory=True)
    known = labelled if labelled.pairs_to_find() else None
    report.table(
        [
            *("tool", "wall s", "CPU s", "CPU ms/photo", "wall, ours/its", "CPU, ours/its"),
            *(["peak MiB"] if arguments.memory else []),
            *(["turned found", "others found", "wrong clusters"] if known else []),
        ],
        [_row(tool, tools[0], photos, known, arguments) for tool in tools],
    )
    if arguments.list_runs:
        report.lines(
            [f"{tool.name}: " + ", ".join(f"{r.wall_s:.2f}/{r.cpu_s:.2f}" for r in tool.runs) for tool in tools]
        )


def _run(tool: Tool, folder: str, arguments: argparse.Namespace, *, memory: bool) -> None:
    if tool.gave_up:
        return
    with tempfile.TemporaryDirectory() as scratch:
        answer = os.path.join(scratch, "answer.json")
        if tool.name == OURS:
            command = processes.scan_command(arguments.dupwatchd, os.path.join(scratch, "state"), [folder])
            limit = None
        else:
            command = [tool.python, _PEER_SCRIPT, tool.name, folder]
            limit = arguments.limit_seconds
        # A cache that one run leaves behind must not help the next.
        run = processes.measured(
            command,
            stdout=answer,
            env={"HOME": scratch, "XDG_CACHE_HOME": os.path.join(scratch, "cache")},
            limit_seconds=limit,
            memory=memory,
            quiet=True,
        )
        if run.status:
            tool.gave_up = True
            if not run.timed_out:
                sys.exit(f"{' '.join(command)} ended with status {run.status}")
        else:
            with open(answer, encoding="utf-8") as file:
                tool.clusters = _clusters(json.load(file))
    if memory:
        tool.peak_mib = run.peak_mib
    else:
        tool.runs.append(run)


def _clusters(answer: Any) -> list[list[str]]:
    if isinstance(answer, dict):  # ours
        return [[file["path"] for file in cluster["files"]] for cluster in answer["clusters"]]
    return [[str(path) for path in cluster] for cluster in answer]


def _row(tool: Tool, ours: Tool, photos: int, labelled: LabelledSet | None, arguments: argparse.Namespace) -> list[str]:
    over, under = ("> ", "< ") if tool.gave_up else ("", "")
    row = [tool.name, f"{over}{tool.wall_s:.2f}", f"{over}{tool.cpu_s:.2f}", f"{over}{1000 * tool.cpu_s / photos:.3f}"]
    if tool is ours:
        row += ["", ""]
    else:
        row += [f"{under}{ours.wall_s / tool.wall_s:.2f}", f"{under}{ours.cpu_s / tool.cpu_s:.2f}"]
    if arguments.memory:
        row.append(f"{tool.peak_mib:.0f}" if tool.peak_mib and not tool.gave_up else "-")
    if labelled is not None:
        row += _found(tool, labelled)
    return row


def _found(tool: Tool, labelled: LabelledSet) -> list[str]:
    """[turned copies found, other copies found, clusters that join different pictures]."""
    if tool.gave_up:
        return ["-", "-", "-"]
    joined = _joined(tool.clusters)
    found = {True: 0, False: 0}
    wanted = {True: 0, False: 0}
    for original, copy in labelled.pairs_to_find():
        turned = copy.kind in TURNED_KINDS
        wanted[turned] += 1
        found[turned] += original.path in joined and joined[original.path] == joined.get(copy.path)
    members: dict[str, list[truth.Label]] = {}
    for path, leader in joined.items():
        if path in labelled.labels:
            members.setdefault(leader, []).append(labelled.labels[path])
    wrong = sum(not truth.may_be_joined(labels) for labels in members.values() if len(labels) > 1)
    return [f"{found[turned]}/{wanted[turned]}" for turned in (True, False)] + [str(wrong)]


def _joined(clusters: list[list[str]]) -> dict[str, str]:
    """Each path → one path that stands for all joined with it; the lists may overlap."""
    leader: dict[str, str] = {}

    def find(path: str) -> str:
        leader.setdefault(path, path)
        while leader[path] != path:
            leader[path] = leader[leader[path]]
            path = leader[path]
        return path

    for cluster in clusters:
        for path in cluster[1:]:
            leader[find(path)] = find(cluster[0])
    return {path: find(path) for path in leader}


def _read_all(labelled: LabelledSet) -> tuple[int, int]:
    """(photos, their bytes); afterwards they are in the page cache."""
    read_bytes = 0
    for path in labelled.labels:
        with open(path, "rb") as file:
            read_bytes += len(file.read())
    return len(labelled.labels), read_bytes


def _importable(report: Report, pythons: list[str], wanted: list[str]) -> dict[str, str]:
    """Each program that can be run, with the interpreter that has it."""
    found, versions = {}, []
    for peer in wanted:
        for python in pythons:
            tried = subprocess.run(
                [python, _PEER_SCRIPT, "--version", peer], capture_output=True, text=True, check=False
            )
            if tried.returncode == 0:
                found[peer] = python
                versions.append(f"{peer} {tried.stdout.split()[-1]}")
                break
        else:
            report.say(f"{peer} is left out: none of the interpreters named by --peers-python can import it")
    report.say(", ".join(versions))
    return found


def _arguments() -> argparse.Namespace:
    parser = make_parser(__doc__)
    add_photo_folders(parser)
    parser.add_argument(
        "--peers-python", nargs="+", default=[], metavar="PYTHON", help="interpreters that have the other programs"
    )
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS), help="which of them [default: all]")
    add_runs(parser, 5, "timed runs of each tool")
    parser.add_argument(
        "--limit-seconds", type=float, default=600, help="when another program is stopped [default: 600]"
    )
    parser.add_argument("--no-memory", dest="memory", action="store_false", help="leave out the runs for memory")
    parser.add_argument("--list-runs", action="store_true", help="also show every run, as wall/CPU seconds")
    add_command(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
