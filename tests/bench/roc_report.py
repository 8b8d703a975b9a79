"""The results of `roc` as a table of numbers, a page to read and a plot."""

import csv
from collections.abc import Sequence

import numpy as np
from tests.bench import evaluate, plot
from tests.bench.report import Report
from tests.bench.roc_curves import DEFAULT_PX, KEPT, MEASURES, THRESHOLDS, TONE_KINDS, Curve, FlatAccount
from tests.bench.truth import Label, LabelledSet

from dupwatchd.settings import DEFAULT_THRESHOLDS

_NEAREST_LISTED = 12
_COLUMNS = (
    f"*needed*: the smallest threshold at which each kind to be found has recall {evaluate.RECALL:g}, and that kind",
    "*tone apart*: the same without bright, contrast and grey",
    "*different*: for each picture the nearest that shows something else: the smallest value, 0.1 % and 1 % quantile",
    "*unrelated*: the smallest if cuts of one photo count as one",
    "*with flat*: the smallest if flat pictures took part",
    "*in the wild*: the smallest in the sets found in the wild",
)


def write_csv(curves: Sequence[Curve], path: str) -> None:
    kinds = sorted({kind for curve in curves for kind in curve.copies})
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["measure", "thumbnail_px", "orientations", "threshold", "wrong_share", *kinds])
        for curve in curves:
            for threshold in THRESHOLDS[curve.measure]:
                recalls = [f"{curve.recall(kind, threshold):.4f}" for kind in kinds]
                wrong = f"{curve.wrong_share(threshold):.6f}"
                name = [curve.measure, curve.thumbnail_px, 8 if curve.mirrored else 4, f"{threshold:g}"]
                table.writerow([*name, wrong, *recalls])


def write_report(sets: Sequence[LabelledSet], curves: Sequence[Curve], flat: FlatAccount, failed: list[str]) -> Report:
    report = Report("Copies and different pictures, by measure and thumbnail size")
    report.say("Sets: " + ", ".join(f"{labelled.name} ({len(labelled.labels)} files)" for labelled in sets) + ".")
    if failed:
        report.say(f"{len(failed)} files could not be decoded:")
        report.lines(failed)
    report.heading("The nearest different picture, and the threshold the copies need")
    report.lines(_COLUMNS)
    report.table(
        [
            *("measure, size, views", "needed", "tone apart", "different: min", "0.1 %", "1 %"),
            *("unrelated", "with flat", "in the wild"),
        ],
        [_nearest_row(curve) for curve in curves],
    )
    for mirrored in (False, True):
        report.heading(f"Recall by kind, {'eight orientations' if mirrored else 'four turns'}")
        _recall_table(report, [curve for curve in curves if curve.mirrored == mirrored])
    report.heading(f"The closest different pictures at {DEFAULT_PX} px, four turns")
    for curve in curves:
        if curve.thumbnail_px == DEFAULT_PX and not curve.mirrored:
            report.say(f"{curve.measure}:")
            report.lines(_closest_lines(curve))
    report.heading(f"Flat pictures at {DEFAULT_PX} px")
    report.say(f"{len(flat.flat)} of {flat.pictures} pictures are flat; {len(flat.lost)} copies are lost by that.")
    report.lines([f"flat: {label.role} {label.kind} of {label.group}: {label.name}" for label in flat.flat])
    report.lines(
        [f"lost: {copy.kind} of {original.name}, structure {value:.4f}" for original, copy, value in flat.lost]
    )
    return report


def _nearest_row(curve: Curve) -> list[str]:
    number = "{:.4f}".format if curve.measure == "structure" else "{:.1f}".format
    needed = [
        f"{number(value)} {kind}" for value, kind in (curve.needed_threshold(), curve.needed_threshold(TONE_KINDS))
    ]
    smallest, thousandth, hundredth = np.quantile(curve.nearest, [0, 0.001, 0.01]) if curve.nearest else [np.inf] * 3
    return [
        f"{curve.name}, {8 if curve.mirrored else 4}",
        *needed,
        *(number(value) if np.isfinite(value) else "-" for value in (smallest, thousandth, hundredth)),
        *(
            number(min(values)) if values and np.isfinite(min(values)) else "-"
            for values in (curve.nearest_unrelated, curve.nearest_with_flat, curve.nearest_in_the_wild)
        ),
    ]


def _recall_table(report: Report, curves: Sequence[Curve]) -> None:
    columns = [
        (curve, threshold) for curve in curves for threshold in (DEFAULT_THRESHOLDS[curve.measure], KEPT[curve.measure])
    ]
    kinds = sorted({kind for curve in curves for kind in curve.copies}, key=lambda kind: _order(kind, columns[0]))
    rows = [[kind, *(f"{curve.recall(kind, threshold):.3f}" for curve, threshold in columns)] for kind in kinds]
    rows.append(["*wrong share*", *(f"{curve.wrong_share(threshold):.4f}" for curve, threshold in columns)])
    report.table(["kind", *(f"{curve.name} ≤ {threshold:g}" for curve, threshold in columns)], rows)


def _order(kind: str, column: tuple[Curve, float]) -> tuple[float, str]:
    curve, threshold = column
    return -curve.recall(kind, threshold), kind


def _closest_lines(curve: Curve) -> list[str]:
    lines: dict[frozenset[str], str] = {}
    for value, one, other in curve.closest:
        lines.setdefault(
            frozenset([one.path, other.path]),
            f"{value:.4f}  {_described(one)}  and  {_described(other)}",
        )
    return list(lines.values())[:_NEAREST_LISTED]


def _described(label: Label) -> str:
    near = f" near {label.near_group}" if label.near_group else ""
    return f"{label.name} ({label.role} {label.kind}, {label.group}{near})"


def draw(curves: Sequence[Curve]) -> str:
    """The trade-off of all measures and sizes, then what the threshold does at the default size."""
    turned = [curve for curve in curves if not curve.mirrored]
    panels = [_trade_off(turned)]
    panels += [_sweep(curve) for curve in turned if curve.thumbnail_px == DEFAULT_PX]
    return plot.figure(panels)


def _trade_off(curves: Sequence[Curve]) -> plot.Panel:
    pictures = max(len(curve.nearest) for curve in curves)
    none = 0.3 / pictures  # where "none" is drawn on the logarithmic axis
    ticks = [(none, "none"), *((10.0**e, f"{10.0 ** (e + 2):g} %") for e in (-4, -3, -2, -1) if 10.0**e > 2 * none)]
    panel = plot.Panel(
        "Copies found, pictures wrongly matched (large dots: defaults)",
        plot.Axis("pictures with a different one within the threshold", none, 0.2, ticks, log=True),
        plot.Axis("mean recall of the kinds to be found", 0.5, 1.0, [(v / 10, f"{v / 10:g}") for v in range(5, 11)]),
    )
    colours = {"structure": (plot.SKY, plot.BLUE, "#003d66"), "mse": ("#f5c971", plot.ORANGE, plot.RED)}
    for measure in MEASURES:
        some = [curve for curve in curves if curve.measure == measure]
        for curve, colour in zip(some, colours[measure], strict=False):
            points = [(max(curve.wrong_share(t), none), curve.mean_recall(t)) for t in THRESHOLDS[measure]]
            panel.line(points, colour, curve.name, dots=True)
            default = DEFAULT_THRESHOLDS[measure]
            panel.dot(max(curve.wrong_share(default), none), curve.mean_recall(default), colour)
    return panel


def _sweep(curve: Curve) -> plot.Panel:
    thresholds = THRESHOLDS[curve.measure]
    decades = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
    ticks = decades if curve.measure == "structure" else (1, 3, 10, 30, 100, 300, 1000)
    panel = plot.Panel(
        f"{curve.name}, four turns: what the threshold does",
        plot.Axis("threshold", thresholds[0], thresholds[-1], [(tick, f"{tick:g}") for tick in ticks], log=True),
        plot.Axis("share", 0.0, 1.0, [(v / 5, f"{v / 5:g}") for v in range(6)]),
    )
    needed = curve.needed_kinds()
    rest = [kind for kind in needed if kind not in TONE_KINDS]
    for kinds, colour, label in (
        (rest, plot.BLUE, "re-encoded, resized, turned: lowest recall of these kinds"),
        (TONE_KINDS, plot.SKY, "bright, contrast, grey: lowest recall"),
        (["watermark"], plot.GREEN, "watermark"),
        (["crop2"], plot.PURPLE, "cropped by 2 %"),
    ):
        known = [kind for kind in kinds if kind in curve.copies]
        if known:
            panel.line([(t, min(curve.recall(kind, t) for kind in known)) for t in thresholds], colour, label)
    panel.line([(t, curve.wrong_share(t)) for t in thresholds], plot.RED, "pictures with a different one", dashes="6 4")
    default, kept = DEFAULT_THRESHOLDS[curve.measure], KEPT[curve.measure]
    panel.mark(default, "#222222", f"default {default:g}")
    panel.mark(kept, plot.GREY, f"kept {kept:g}")
    for nearest, label in ((curve.nearest_in_the_wild, "nearest look-alike"), (curve.nearest, "nearest different")):
        if nearest:
            panel.mark(min(nearest), plot.RED, f"{label} {min(nearest):.3g}")
    return panel
