"""Does a scan find the copies, and only the copies? Runs the real command over labelled sets.

    python -m tests.bench.evaluate SET...

Each SET is a folder with photos and a truth.csv. A duplicate is found if one cluster holds it and its original. A
cluster is wrong if it holds files of different pictures; look-alikes, zooms and shifted crops count as different,
bursts are not scored. Exit status 1: a bound is broken (recall of each set by kind, no wrong cluster).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from typing import Any

from tests.bench import processes, truth
from tests.bench.arguments import add_command, add_sets, make_parser
from tests.bench.report import Report
from tests.bench.truth import Label, LabelledSet

RECALL = 0.99
RECALL_BY_KIND = {"watermark": 0.9, "crop2": 0.0, "crop5": 0.0, "border": 0.0}
# What the kinds of photos found in the wild are called depends on who labelled them: shown, not bounded.


@dataclass(frozen=True, slots=True)
class Findings:
    """What a scan of one set found and missed."""

    labelled: LabelledSet
    found: Counter[str]  # by kind
    missed: list[tuple[Label, Label]]  # original, duplicate
    wrong: list[list[tuple[Label, float]]]  # clusters: label and measure against the kept file
    clusters: int
    failed: list[str]
    setting: str  # measure and threshold, as the command reports them

    @property
    def wanted(self) -> Counter[str]:
        """How many duplicates of each kind there are."""
        return self.found + Counter(duplicate.kind for _, duplicate in self.missed)


def main() -> int:
    arguments = _arguments()
    report = Report("Recall and wrong clusters")
    all_findings = []
    for folder in arguments.sets:
        labelled = truth.load(folder)
        document = scan(arguments.dupwatchd, labelled.folder, arguments.scan_option, mirrored=arguments.mirrored)
        all_findings.append(judge(labelled, document))
    report.say(f"{all_findings[0].setting}{', mirror images asked for' if arguments.mirrored else ''}")
    broken = show(report, all_findings, mirrored=arguments.mirrored, list_missed=arguments.list_missed)
    report.write(arguments.out)
    return 1 if broken else 0


def scan(dupwatchd: str, folder: str, options: list[str], *, mirrored: bool) -> dict[str, Any]:
    """The answer of `dupwatchd scan --json` with a fresh state directory."""
    more = [*options, "--mirrored"] if mirrored else options
    with tempfile.TemporaryDirectory() as state:
        command = processes.scan_command(dupwatchd, os.path.join(state, "state"), [folder], *more)
        done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with status {done.returncode}")
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def judge(labelled: LabelledSet, document: dict[str, Any]) -> Findings:
    """Hold the answer of a scan against the truth."""
    cluster_of: dict[str, int] = {}
    wrong: list[list[tuple[Label, float]]] = []
    for number, cluster in enumerate(document["clusters"]):
        members = []
        for file in cluster["files"]:
            cluster_of[file["path"]] = number
            if file["path"] in labelled.labels:
                members.append((labelled.labels[file["path"]], float(file[document["measure"]])))
        if not truth.may_be_joined([label for label, _ in members]):
            wrong.append(members)
    found: Counter[str] = Counter()
    missed = []
    for original, duplicate in labelled.pairs_to_find():
        if duplicate.path in cluster_of and cluster_of.get(original.path) == cluster_of[duplicate.path]:
            found[duplicate.kind] += 1
        else:
            missed.append((original, duplicate))
    return Findings(
        labelled=labelled,
        found=found,
        missed=missed,
        wrong=wrong,
        clusters=len(document["clusters"]),
        failed=[f"{labelled.place(entry['path'])}: {entry['error']}" for entry in document["failed"]],
        setting=f"{document['measure']} ≤ {document['threshold']:g}",
    )


def show(report: Report, all_findings: list[Findings], *, mirrored: bool, list_missed: bool) -> int:
    """Print all findings; returns how many bounds are broken."""
    natural = [findings for findings in all_findings if found_in_the_wild(findings.labelled)]
    generated = [findings for findings in all_findings if findings not in natural and findings.wanted]
    broken = 0
    if generated:
        report.heading("Recall by kind of copy")
        broken += _show_recall(report, generated, mirrored=mirrored, bounded=True)
    for findings in natural:
        report.heading(f"Recall by kind, photos found in the wild ({findings.labelled.name})")
        _show_recall(report, [findings], mirrored=mirrored, bounded=False)
    report.heading("Wrong clusters")
    for findings in all_findings:
        bursts = {label.group for label in findings.labelled.labels.values() if label.role == "burst"}
        report.say(
            f"{findings.labelled.name}: {len(findings.wrong)} of {findings.clusters} clusters join different pictures"
            + (f" ({len(bursts)} bursts not scored)" if bursts else "")
        )
        for members in findings.wrong:
            report.lines([_one_line(findings.labelled, label, value) for label, value in members])
        broken += len(findings.wrong)
    if any(findings.failed for findings in all_findings):
        report.heading("Files that could not be read")
        report.lines([line for findings in all_findings for line in findings.failed])
    if list_missed:
        report.heading("Copies not found")
        report.lines(
            [
                f"{duplicate.kind}  {findings.labelled.place(duplicate.path)}  of {original.name}"
                for findings in all_findings
                for original, duplicate in findings.missed
                if findings in natural or bound_of(duplicate.kind, mirrored=mirrored)
            ]
        )
    report.say(f"\n{broken} bounds broken" if broken else "\nall bounds hold")
    return broken


def _show_recall(report: Report, all_findings: list[Findings], *, mirrored: bool, bounded: bool) -> int:
    pooled_found = sum((findings.found for findings in all_findings), Counter[str]())
    pooled = sum((findings.wanted for findings in all_findings), Counter[str]())
    broken = 0
    rows = []
    for kind in sorted(pooled, key=lambda kind: (-pooled_found[kind] / pooled[kind], kind)):
        bound = bound_of(kind, mirrored=mirrored) if bounded else 0.0
        holds = all(findings.found[kind] >= bound * findings.wanted[kind] for findings in all_findings)
        broken += not holds
        rows.append(
            [
                kind,
                *(f"{findings.found[kind]}/{findings.wanted[kind]}" for findings in all_findings),
                f"{pooled_found[kind] / pooled[kind]:.4f}",
                f"{bound:g}" if bound else "-",
                "" if holds else "BROKEN",
            ]
        )
    names = [findings.labelled.name for findings in all_findings]
    report.table(["kind", *names, "recall", "bound", ""], rows)
    return broken


def bound_of(kind: str, *, mirrored: bool) -> float:
    """The recall that a set has to reach for this kind; 0: none."""
    if kind == "mirror" and not mirrored:
        return 0.0
    return RECALL_BY_KIND.get(kind, RECALL)


def found_in_the_wild(labelled: LabelledSet) -> bool:
    return any(label.role in ("burst", "hardneg") for label in labelled.labels.values())


def _one_line(labelled: LabelledSet, label: Label, value: float) -> str:
    near = f" near {label.near_group}" if label.near_group else ""
    return f"{label.group}{near}  {label.role} {label.kind}  {value:.4f}  {labelled.place(label.path)}"


def _arguments() -> argparse.Namespace:
    parser = make_parser(__doc__)
    add_sets(parser)
    parser.add_argument("--mirrored", action="store_true", help="ask for mirror images, too, and expect them")
    parser.add_argument(
        "--scan-option", action="append", default=[], metavar="OPTION", help="further option of the scan (with an =)"
    )
    parser.add_argument("--list-missed", action="store_true", help="name the copies that were not found")
    add_command(parser)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
