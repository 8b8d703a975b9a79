"""Are copies found and called what they are, is nothing else, and is the right file kept? Runs the real command.

    python -m tests.bench.evaluate SET...

Each SET is a folder with photos and a truth.csv. What counts is the verdict of a copy beside its *original*, as the
index of the scan holds it: not the one beside the kept file, and not whether other copies join the two to one group.
`-` is a copy that is not near enough to its original to be looked at, `?` one that was not looked at.

A group is wrong if it holds files of different pictures; look-alikes, zooms and shifted crops count as different,
bursts are not scored. The kept file is right if it is the original or equal to it byte by byte; groups count that hold
the original. With `--camera` 0.99 of them have to be right: for sets whose originals are the oldest files and, where
their format allows it, name their camera. In others times of change say nothing, and the share is only shown.

Exit status 1: a bound is broken (verdicts of each set by kind, no wrong group, the kept file).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from tests.bench import processes, truth
from tests.bench.arguments import add_command, add_sets, make_parser
from tests.bench.report import Report
from tests.bench.stored_looks import NOT_LOOKED_AT, NOT_MATCHED, StoredLooks
from tests.bench.truth import Label, LabelledSet

from dupwatchd.model import Verdict

RECALL = 0.99
KEPT = 0.99  # share of groups that keep the original, in sets whose originals are oldest and name their camera
CALLED_CHANGED = 0.01  # at most this share of plain copies is called retouched or recoloured
VERDICTS = [*(verdict.value for verdict in Verdict), NOT_LOOKED_AT, NOT_MATCHED]


@dataclass(frozen=True, slots=True)
class Bound:
    """Of copies of one kind at least this share has one of these verdicts."""

    share: float
    verdicts: frozenset[str]


def _bound(share: float, *verdicts: Verdict) -> Bound:
    return Bound(share, frozenset(verdict.value for verdict in verdicts))


ONE_PICTURE = (Verdict.IDENTICAL, Verdict.SAME)
PLAIN = frozenset(
    """stripped retagged png tiff bmp webp avif q90 q75 q50 size75 size50 size25 messenger exifrot rot90 rot180 rot270
    contrast""".split()  # noqa: SIM905 - one literal a line would be a page
)
BOUNDS = {
    "exact": _bound(1.0, Verdict.IDENTICAL),
    **{kind: _bound(RECALL, *ONE_PICTURE) for kind in PLAIN},
    "bright": _bound(0.98, *ONE_PICTURE),
    "grey": _bound(RECALL, *ONE_PICTURE, Verdict.RECOLOURED),
    "watermark": _bound(0.9, Verdict.RETOUCHED),
}
# A crop shows too little to be the same; most of them are too far away to be looked at, so they have no bound. Neither
# have the kinds of photos found in the wild: what they are called depends on who labelled them.
REPORTED = {
    "mirror": _bound(0.0, *ONE_PICTURE),
    "crop2": _bound(0.0, *ONE_PICTURE, Verdict.CROPPED),
    "crop5": _bound(0.0, *ONE_PICTURE, Verdict.CROPPED),
    "border": _bound(0.0, *ONE_PICTURE, Verdict.CROPPED),
}


@dataclass(frozen=True, slots=True)
class Findings:
    """What a scan of one set said of it."""

    labelled: LabelledSet
    verdicts: dict[str, Counter[str]]  # of copies beside their originals, by kind
    different: dict[str, Counter[str]]  # of negatives beside what they were cut from, by kind; pairs of a burst
    missed: list[tuple[Label, Label, str]]  # original, duplicate, what it was called
    wrong: list[list[tuple[Label, float]]]  # groups: label and measure against the kept file
    kept: "Kept"
    groups: int
    failed: list[str]
    setting: str  # measure and threshold, as the command reports them

    def called_changed(self) -> tuple[int, int]:
        """Plain copies called retouched or recoloured, and all plain copies."""
        plain = sum((told for kind, told in self.verdicts.items() if kind in PLAIN), Counter[str]())
        return plain[Verdict.RETOUCHED.value] + plain[Verdict.RECOLOURED.value], plain.total()


@dataclass(slots=True)
class Kept:
    """How often the original, or a file equal to it, is the one that is kept; of groups that hold an original."""

    groups: Counter[bool] = field(default_factory=Counter)  # True: the original says which camera took it
    right: Counter[bool] = field(default_factory=Counter)
    wrong: list[tuple[Label, Label, str]] = field(default_factory=list)  # original, the kept one, the reason told


def main() -> int:
    arguments = _arguments()
    report = Report("Verdicts, wrong groups, kept files")
    all_findings = []
    for folder in arguments.sets:
        labelled = truth.load(folder)
        with tempfile.TemporaryDirectory() as state:
            document = scan(arguments.dupwatchd, state, labelled.folder, arguments.scan_option, arguments.mirrored)
            all_findings.append(judge(labelled, document, StoredLooks(state), mirrored=arguments.mirrored))
    report.say(f"{all_findings[0].setting}{', mirror images asked for' if arguments.mirrored else ''}")
    broken = show(report, all_findings, arguments)
    report.write(arguments.out)
    return 1 if broken else 0


def scan(dupwatchd: str, state: str, folder: str, options: list[str], mirrored: bool) -> dict[str, Any]:
    """The answer of `dupwatchd scan --json` with an empty state directory."""
    more = [*options, "--mirrored"] if mirrored else options
    command = processes.scan_command(dupwatchd, state, [folder], *more)
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with status {done.returncode}")
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def judge(labelled: LabelledSet, document: dict[str, Any], looks: StoredLooks, *, mirrored: bool) -> Findings:
    """Hold the answer of a scan and its index against the truth."""
    verdicts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    missed = []
    for original, duplicate in labelled.pairs_to_find():
        told = looks.verdict(original.path, duplicate.path, document["threshold"], mirrored=mirrored)
        verdicts[duplicate.kind][told] += 1
        if told not in wanted(duplicate.kind).verdicts:
            missed.append((original, duplicate, told))
    different: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for one, other in _different_pairs(labelled):
        told = looks.verdict(one.path, other.path, document["threshold"], mirrored=mirrored)
        different[f"{other.role} {other.kind}"][told] += 1
    return Findings(
        labelled=labelled,
        verdicts=verdicts,
        different=different,
        missed=missed,
        wrong=_wrong_groups(labelled, document),
        kept=_kept(labelled, document, looks),
        groups=len(document["clusters"]),
        failed=[f"{labelled.place(entry['path'])}: {entry['error']}" for entry in document["failed"]],
        setting=f"{document['measure']} ≤ {document['threshold']:g}",
    )


def _different_pairs(labelled: LabelledSet) -> list[tuple[Label, Label]]:
    """Negatives with the original they were cut from; look-alikes and shots of one burst with each other."""
    originals = {label.group: label for label in labelled.labels.values() if label.role == "original"}
    cut = [
        (originals[label.near_group], label)
        for label in labelled.labels.values()
        if label.role == "negative" and label.near_group in originals
    ]
    alike = [
        [label for label in members if label.role in ("burst", "hardneg")] for members in labelled.groups().values()
    ]
    return cut + [pair for members in alike for pair in combinations(members, 2)]


def _wrong_groups(labelled: LabelledSet, document: dict[str, Any]) -> list[list[tuple[Label, float]]]:
    wrong = []
    for cluster in document["clusters"]:
        members = [
            (labelled.labels[file["path"]], float(file[document["measure"]]))
            for file in cluster["files"]
            if file["path"] in labelled.labels
        ]
        if not truth.may_be_joined([label for label, _ in members]):
            wrong.append(members)
    return wrong


def _kept(labelled: LabelledSet, document: dict[str, Any], looks: StoredLooks) -> Kept:
    kept = Kept()
    for cluster in document["clusters"]:
        labels = [labelled.labels[file["path"]] for file in cluster["files"] if file["path"] in labelled.labels]
        original = next((label for label in labels if label.role == "original"), None)
        first = next(file for file in cluster["files"] if file["keep"])
        if original is None or first["path"] not in labelled.labels:
            continue
        camera = looks.says_its_camera(original.path)
        kept.groups[camera] += 1
        if first["path"] == original.path or looks.equal_bytes(first["path"], original.path):
            kept.right[camera] += 1
        else:
            kept.wrong.append((original, labelled.labels[first["path"]], first["reason"]))
    return kept


# ---- the report


def show(report: Report, all_findings: list[Findings], asked: argparse.Namespace) -> int:
    """Print all findings; returns how many bounds are broken."""
    natural = [findings for findings in all_findings if found_in_the_wild(findings.labelled)]
    generated = [findings for findings in all_findings if findings not in natural and findings.verdicts]
    broken = 0
    if generated:
        report.heading("Verdict of each copy beside its original, by kind")
        broken += _show_bounds(report, generated, mirrored=asked.mirrored)
        _show_verdicts(report, [findings.verdicts for findings in generated])
        broken += _show_called_changed(report, generated)
        if any(findings.different for findings in generated):
            report.heading("Negatives beside the original they were cut from")
            _show_verdicts(report, [findings.different for findings in generated])
    for findings in natural:
        report.heading(f"Photos found in the wild ({findings.labelled.name})")
        _show_verdicts(report, [findings.verdicts, findings.different])
    report.heading("Wrong groups")
    broken += sum(_show_wrong(report, findings) for findings in all_findings)
    if generated:
        report.heading("Kept files")
        broken += sum(_show_kept(report, findings, bounded=asked.camera) for findings in generated)
        _show_kept_instead(report, generated)
    if any(findings.failed for findings in all_findings):
        report.heading("Files that could not be read")
        report.lines([line for findings in all_findings for line in findings.failed])
    if asked.list_missed:
        report.heading("Copies called otherwise")
        report.lines([line for findings in all_findings for line in _missed(findings, mirrored=asked.mirrored)])
    report.say(f"\n{broken} bounds broken" if broken else "\nall bounds hold")
    return broken


def _show_bounds(report: Report, all_findings: list[Findings], *, mirrored: bool) -> int:
    """A row for each kind: in each set, the share with a verdict that is wanted."""
    broken = 0
    rows = []
    for kind in sorted(set().union(*(findings.verdicts for findings in all_findings))):
        bound = bound_of(kind, mirrored=mirrored)
        told = [findings.verdicts.get(kind, Counter[str]()) for findings in all_findings]
        right = [sum(one[verdict] for verdict in wanted(kind).verdicts) for one in told]
        holds = bound is None or all(n >= bound.share * one.total() for n, one in zip(right, told, strict=True))
        broken += not holds
        rows.append(
            [
                kind,
                *(f"{n}/{one.total()}" for n, one in zip(right, told, strict=True)),
                f"{sum(right) / sum(one.total() for one in told):.4f}",
                " or ".join(sorted(wanted(kind).verdicts - {"identical"} or {"identical"})),
                f"{bound.share:g}" if bound else "-",
                "" if holds else "BROKEN",
            ]
        )
    names = [findings.labelled.name for findings in all_findings]
    report.table(["kind", *names, "share", "wanted", "bound", ""], rows)
    return broken


def _show_verdicts(report: Report, parts: list[dict[str, Counter[str]]]) -> None:
    """A row for each kind, a column for each verdict that occurs; all sets together."""
    pooled: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for part in parts:
        for kind, told in part.items():
            pooled[kind] += told
    columns = [verdict for verdict in VERDICTS if any(told[verdict] for told in pooled.values())]
    rows = [
        [kind, *(str(told[verdict]) if told[verdict] else "" for verdict in columns), str(told.total())]
        for kind, told in sorted(pooled.items())
    ]
    report.table(["kind", *columns, "all"], rows)


def _show_called_changed(report: Report, all_findings: list[Findings]) -> int:
    broken = 0
    for findings in all_findings:
        changed, plain = findings.called_changed()
        too_many = changed > CALLED_CHANGED * plain
        broken += too_many
        report.say(
            f"{findings.labelled.name}: {changed} of {plain} plain copies are called retouched or recoloured "
            f"(at most {CALLED_CHANGED:.0%}){' BROKEN' if too_many else ''}"
        )
    return broken


def _show_wrong(report: Report, findings: Findings) -> int:
    bursts = {label.group for label in findings.labelled.labels.values() if label.role == "burst"}
    report.say(
        f"{findings.labelled.name}: {len(findings.wrong)} of {findings.groups} groups join different pictures"
        + (f" ({len(bursts)} bursts not scored)" if bursts else "")
    )
    for members in findings.wrong:
        report.lines([_one_line(findings.labelled, label, value) for label, value in members])
    return len(findings.wrong)


def _show_kept(report: Report, findings: Findings, *, bounded: bool) -> int:
    kept = findings.kept
    broken = bounded and kept.right.total() < KEPT * kept.groups.total()
    parts = [
        f"{kept.right[camera]} of {kept.groups[camera]} groups whose original {'names' if camera else 'does not name'} "
        f"its camera ({kept.right[camera] / kept.groups[camera]:.2%})"
        for camera in sorted(kept.groups, reverse=True)
    ]
    report.say(
        f"{findings.labelled.name}: the original, or a file equal to it, is kept in {', and in '.join(parts) or 'none'}"
        f"{' BROKEN' if broken else ''}"
    )
    return int(broken)


def _show_kept_instead(report: Report, all_findings: list[Findings]) -> None:
    wrong = Counter(
        (kept.kind, os.path.splitext(original.path)[1], reason)
        for findings in all_findings
        for original, kept, reason in findings.kept.wrong
    )
    rows = [[kind, suffix, reason, str(number)] for (kind, suffix, reason), number in wrong.most_common()]
    if rows:
        report.table(["kept instead", "original", "reason told", "groups"], rows)


def _missed(findings: Findings, *, mirrored: bool) -> list[str]:
    in_the_wild = found_in_the_wild(findings.labelled)
    return [
        f"{duplicate.kind}  {told}  {findings.labelled.place(duplicate.path)}  of {original.name}"
        for original, duplicate, told in findings.missed
        if in_the_wild or bound_of(duplicate.kind, mirrored=mirrored)
    ]


# ---- bounds


def bound_of(kind: str, *, mirrored: bool) -> Bound | None:
    """What has to be said of copies of this kind, in each set; None: nothing."""
    if kind == "mirror" and mirrored:
        return _bound(RECALL, *ONE_PICTURE)
    return BOUNDS.get(kind)


def wanted(kind: str) -> Bound:
    """What is right of copies of this kind, whether or not it is bounded."""
    return BOUNDS.get(kind) or REPORTED.get(kind) or _bound(0.0, *ONE_PICTURE)


def must_be_near(kind: str, *, mirrored: bool) -> bool:
    """Whether nearly all copies of this kind have to lie within the threshold."""
    bound = bound_of(kind, mirrored=mirrored)
    return bound is not None and bound.share > 0.95


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
        "--camera", action="store_true", help="the originals are oldest and name their camera: expect them kept"
    )
    parser.add_argument(
        "--scan-option", action="append", default=[], metavar="OPTION", help="further option of the scan (with an =)"
    )
    parser.add_argument("--list-missed", action="store_true", help="name the copies that are called otherwise")
    add_command(parser)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
