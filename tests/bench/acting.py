"""Does acting on copies lose anything, and is the best file kept? Runs the real commands on labelled photos.

    python -m tests.bench.acting SET... [--scratch DIR] [--list]

Each SET is a folder with photos and a truth.csv (without one: different pictures only). It is copied; to a generated
set, families, bursts and documents are added (`acting_set`). Then `dupwatchd scan --plan`, `dupwatch apply`,
`dupwatch undo`, all with the default settings. By the truth:

- *shown no more*: files that went though no file that stays shows all of their picture: it is of another group, is cut,
  covered, grey or mirrored, or has clearly fewer pixels;
- *held by another picture*: files that went for the sake of one of another group;
- *original kept*: of the groups that lost a file and hold their original, those in which it, or a file equal to
  it, is still there;
- *torn*: families of which some files went, and some did not;
- *undo*: files and folders whose name, bytes, times or mode are not what they were.

Exit status 1: one of these is not as it must be. In generated sets, whose originals have to hold the camera's data,
0.99 of the originals are kept; the others are 0.
"""

import argparse
import hashlib
import json
import os
import stat
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.bench import truth
from tests.bench.acting_set import Library, is_generated, made_library
from tests.bench.arguments import add_command, add_sets, make_parser
from tests.bench.report import Report
from tests.bench.truth import Label

from dupwatch.quarantine_name import QUARANTINE_NAME

KEPT = 0.99
PARTIAL = frozenset({"crop2", "crop5", "watermark", "grey", "mirror"})  # kinds that do not show all of their original
CLEARLY_SMALLER = 0.8  # of the pixels
_TO_MIB = 1 << 20
_NOTHING_DONE: dict[str, Any] = {"skipped": [], "halted": None}
_QUARANTINE = os.fsdecode(QUARANTINE_NAME)


@dataclass(frozen=True, slots=True)
class Entry:
    """What undo has to bring back of a file or folder."""

    mode: int
    mtime_ns: int  # of a file: the times of folders change with what is in them
    digest: bytes  # of a file


@dataclass(slots=True)
class Findings:
    """What became of one set."""

    name: str
    is_generated: bool  # with the camera's data in the originals, so that they can be told
    files: int
    files_bytes: int
    documents: dict[str, Any]  # what apply and undo said
    planned: dict[str, Any]
    gone: list[str] = field(default_factory=list)
    gone_bytes: int = 0
    not_shown: list[str] = field(default_factory=list)  # paths and why
    held_by_another: list[str] = field(default_factory=list)
    groups_with_original: int = 0
    original_lost: list[str] = field(default_factory=list)
    families: int = 0
    families_gone: int = 0
    torn: list[str] = field(default_factory=list)
    not_put_back: list[str] = field(default_factory=list)
    went: Counter[str] = field(default_factory=Counter)  # duplicates, by kind
    there: Counter[str] = field(default_factory=Counter)

    @property
    def broken(self) -> int:
        """How many demands are not met."""
        demands = (self.not_shown, self.held_by_another, self.torn, self.not_put_back)
        too_many = len(self.original_lost) > (1 - KEPT) * self.groups_with_original
        return sum(map(bool, demands)) + (self.is_generated and too_many)


def main() -> int:
    arguments = _arguments()
    report = Report("Plan, apply and undo on labelled photos")
    all_findings = []
    for folder in arguments.sets:
        with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
            all_findings.append(acted_on(folder, os.path.realpath(scratch), arguments.dupwatchd))
    show(report, all_findings, with_list=arguments.list)
    report.write(arguments.out)
    return 1 if any(findings.broken for findings in all_findings) else 0


def acted_on(folder: str, scratch: str, dupwatchd: str) -> Findings:
    """Plan, apply and undo on a copy of a set."""
    labelled = truth.load(folder)
    library = made_library(labelled, os.path.join(scratch, "photos"))
    before = _snapshot(library.folder)
    files_bytes = sum(os.stat(path).st_size for path, entry in before.items() if entry.digest)
    state, plan_file = os.path.join(scratch, "state"), os.path.join(scratch, "copies.plan")
    scanned = _run(scratch, dupwatchd, "scan", "--json", "--state", state, "--plan", plan_file, library.folder)
    with open(plan_file, encoding="utf-8") as file:
        plan = json.load(file)
    dupwatch = os.path.join(os.path.dirname(dupwatchd), "dupwatch")
    applied = _run(scratch, dupwatch, "apply", plan_file, "--yes", "--json") if plan["groups"] else _NOTHING_DONE
    after = _snapshot(library.folder, but_for_quarantine=True)
    findings = Findings(
        labelled.name,
        is_generated(labelled),
        files=len(library.labels),
        files_bytes=files_bytes,
        documents={"apply": applied, "undo": _NOTHING_DONE},
        planned=plan,
    )
    judge(findings, library, before, after, plan, _sizes(scanned))
    if findings.gone:
        findings.documents["undo"] = _run(scratch, dupwatch, "undo", "--last", "--yes", "--json")
    back = _snapshot(library.folder)
    findings.not_put_back = sorted(path for path in before.keys() | back.keys() if before.get(path) != back.get(path))
    return findings


def _run(scratch: str, *command: str) -> dict[str, Any]:
    """What a command says as JSON, with a home of its own; the status says whether all was done, as the JSON does."""
    environment = {**os.environ, "XDG_STATE_HOME": os.path.join(scratch, "home")}
    done = subprocess.run(command, stdout=subprocess.PIPE, env=environment, check=False)
    if done.returncode not in (0, 1):
        sys.exit(f"{' '.join(command)} ended with status {done.returncode}")
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def _snapshot(folder: str, *, but_for_quarantine: bool = False) -> dict[str, Entry]:
    """All that is below a folder."""
    found = {}
    for at, folders, names in os.walk(folder):
        if but_for_quarantine:
            folders[:] = [name for name in folders if name != _QUARANTINE]
        for name in [*folders, *names]:
            path = os.path.join(at, name)
            status = os.lstat(path)
            if stat.S_ISDIR(status.st_mode):
                found[path] = Entry(status.st_mode, 0, b"")
            else:
                with open(path, "rb") as file:
                    digest = hashlib.file_digest(file, "blake2b").digest()
                found[path] = Entry(status.st_mode, status.st_mtime_ns, digest)
    return found


def _sizes(scanned: dict[str, Any]) -> dict[str, int]:
    """Pixels of the files that have copies."""
    return {file["path"]: file["width"] * file["height"] for one in scanned["clusters"] for file in one["files"]}


# ---- by the truth


def judge(
    findings: Findings,
    library: Library,
    before: dict[str, Entry],
    after: dict[str, Entry],
    plan: dict[str, Any],
    pixels: dict[str, int],
) -> None:
    """Fill in what the files that are there after an apply say, by the truth."""
    members: dict[str, list[Label]] = {}
    for label in library.labels.values():
        members.setdefault(label.group, []).append(label)
    holders = {one["path"]: one for group in plan["groups"] for one in group["goes"]}
    findings.gone = sorted(path for path in before if path not in after)
    for path in findings.gone:
        findings.gone_bytes += holders[path]["bytes"] if path in holders else 0
        if path not in library.labels:
            continue  # a sidecar or movie
        label = library.labels[path]
        there = [other for other in members[label.group] if other.path in after]
        if not any(_shows_all(other, label, before, pixels) for other in there):
            findings.not_shown.append(f"{path} ({label.kind}): {', '.join(one.kind for one in there) or 'none'} stay")
        holder = library.labels.get(holders[path]["held_by"] or "")
        if holder is None or not truth.may_be_joined([holder, label]) or "burst" in (holder.role, label.role):
            findings.held_by_another.append(f"{path} ({label.kind}) for {holders[path]['held_by']}")
    for labels in members.values():
        _judge_group(findings, labels, before, after)
    for family in library.families:
        _judge_family(findings, family, after)


def _shows_all(other: Label, label: Label, before: dict[str, Entry], pixels: dict[str, int]) -> bool:
    """Does a file that stays show all of what one that went has shown?"""
    if before[other.path].digest == before[label.path].digest:
        return True
    if other.kind in PARTIAL and other.kind != label.kind:
        return False
    return pixels.get(other.path, 0) >= CLEARLY_SMALLER * pixels[label.path]


def _judge_group(findings: Findings, labels: list[Label], before: dict[str, Entry], after: dict[str, Entry]) -> None:
    for label in labels:
        if label.role == "duplicate":
            findings.there[label.kind] += 1
            findings.went[label.kind] += label.path not in after
    original = next((label for label in labels if label.role == "original"), None)
    if original is None or all(label.path in after for label in labels):
        return
    findings.groups_with_original += 1
    equal = [label for label in labels if before[label.path].digest == before[original.path].digest]
    if not any(label.path in after for label in equal):
        stay = ", ".join(f"{label.kind} {label.path}" for label in labels if label.path in after)
        findings.original_lost.append(f"{original.path}: {stay}")


def _judge_family(findings: Findings, family: list[str], after: dict[str, Entry]) -> None:
    there = [path for path in family if path in after]
    findings.families += 1
    findings.families_gone += not there
    if there and len(there) < len(family):
        gone = [os.path.basename(path) for path in family if path not in after]
        findings.torn.append(f"{', '.join(there)} without {', '.join(gone)}")


# ---- the report


def show(report: Report, all_findings: list[Findings], *, with_list: bool) -> None:
    """The tables, and what is not as it must be."""
    report.table(
        ["set", "pictures", "MiB", "groups planned", "asked", "held back", "files gone", "MiB won", "of all"],
        [
            [
                one.name,
                f"{one.files:,}",
                f"{one.files_bytes / _TO_MIB:.0f}",
                f"{len(one.planned['groups']):,}",
                f"{len(one.planned['asked']):,}",
                f"{len(one.planned['held_back']):,}",
                f"{len(one.gone):,}",
                f"{one.gone_bytes / _TO_MIB:.0f}",
                f"{one.gone_bytes / one.files_bytes:.0%}",
            ]
            for one in all_findings
        ],
    )
    report.heading("By the truth")
    report.table(
        ["set", "shown no more", "held by another picture", "original kept", "families", "gone whole", "torn", "undo"],
        [
            [
                one.name,
                f"{len(one.not_shown)}",
                f"{len(one.held_by_another)}",
                f"{one.groups_with_original - len(one.original_lost)} of {one.groups_with_original}",
                f"{one.families}",
                f"{one.families_gone}",
                f"{len(one.torn)}",
                f"{len(one.not_put_back)} differ",
            ]
            for one in all_findings
        ],
    )
    report.heading("Copies that went, by kind")
    _show_kinds(report, all_findings)
    _show_asked(report, all_findings)
    for one in all_findings:
        for what in ("apply", "undo"):
            document = one.documents[what]
            report.say(
                f"{one.name}: {what} skipped {len(document['skipped'])}, {document['halted'] or 'went to its end'}"
            )
        if with_list or one.broken:
            parts = (one.not_shown, one.held_by_another, one.original_lost, one.torn, one.not_put_back)
            report.lines([line for part in parts for line in part])
    broken = sum(one.broken for one in all_findings)
    report.say(f"{broken} demands not met" if broken else "all demands met")


def _show_kinds(report: Report, all_findings: list[Findings]) -> None:
    kinds = sorted(set().union(*(one.there for one in all_findings)))
    rows = [[kind, *(f"{one.went[kind]} of {one.there[kind]}" for one in all_findings)] for kind in kinds]
    report.table(["kind", *(one.name for one in all_findings)], rows)


def _show_asked(report: Report, all_findings: list[Findings]) -> None:
    report.heading("Why groups are asked about, and files held back")
    reasons: Counter[str] = Counter()
    for one in all_findings:
        reasons.update(_kind_of(asked["because"]) for asked in one.planned["asked"])
        reasons.update("held back: " + held["because"].split(" IMG_")[0] for held in one.planned["held_back"])
    report.table(["reason", "count"], [[reason, f"{count}"] for reason, count in reasons.most_common()])


def _kind_of(because: str) -> str:
    words = {"lacks what": "metadata", "was taken": "capture times", "has the camera": "camera", "rating": "rating"}
    found = next((name for word, name in words.items() if word in because), because)
    return f"asked: {found}{' ' + because.rpartition(': ')[2] if found == 'metadata' else ''}"


def _arguments() -> argparse.Namespace:
    parser = make_parser(__doc__)
    add_sets(parser)
    parser.add_argument("--scratch", metavar="DIR", help="where the copies are made and removed again [temporary]")
    parser.add_argument("--list", action="store_true", help="name the files that are not as they must be, if few, too")
    add_command(parser)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
