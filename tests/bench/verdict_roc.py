"""What does each bound of a verdict cost and gain? Shares of copies and of changed pictures beyond it, as it moves.

    python -m tests.bench.verdict_roc SET... --out DIR [--limit N] [--drawn N]

Of each SET with a truth.csv the first N originals are taken, each beside its copies, beside changed copies made here,
and beside the three others nearest to it; `--drawn N` adds N documents of each kind. All pairs are looked at by their
proofs and at up to 1,600 px. Writes DIR/verdict_roc.md, a table for each bound, and DIR/verdict_roc.svg, the curves.

A bound is judged by itself, on the kinds that it is there for: what a verdict takes from several bounds together is
shown by `verdicts` and `evaluate`.
"""

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from tests.bench import plot, truth
from tests.bench.arguments import add_sets, make_parser
from tests.bench.report import Report
from tests.bench.verdicts import Bench, Kind, of_drawn, of_photos, of_set

from dupwatchd.compare.verdict import fine, verdict
from dupwatchd.compare.verdict.colour import Colours
from dupwatchd.compare.verdict.values import Differences
from dupwatchd.compare.verdict.verdict import Seen

STEPS = (0.4, 0.6, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0)  # of the bound in use
LEAST_SHARE = 0.001  # where "none" is drawn
COPIES = frozenset(
    """stripped retagged png tiff bmp webp avif q90 q75 q50 size75 size50 size25 messenger exifrot rot90 rot180 rot270
    contrast bright""".split()  # noqa: SIM905 - one literal a line would be a page
) | {"copy q50", "copy half", "copy quarter", "copy brighter", "copy darker"}
PAGE_COPIES = frozenset({"page q50", "page half q70"})
CHANGED = frozenset({"watermark", "captioned", "small object", "object"})
OTHER_PAGES = frozenset({"another page", "another page, half q50"})
OTHERS = OTHER_PAGES | {"another photo", "mirror"}
CUT = frozenset({"cut", "framed", "crop2", "crop5", "border"})
IN_GREY = frozenset({"grey"})
RECOLOURED = frozenset({"hues turned", "thing recoloured"})


@dataclass(frozen=True, slots=True)
class Rule:
    """One bound: what is beyond it, on which kinds it must be beyond, and on which not."""

    panel: str  # of the plot
    name: str
    value: Callable[[Seen], float]
    bound: float
    within: frozenset[str]
    beyond: frozenset[str]
    above: bool = True  # False: what is beyond lies below the bound
    closely: bool = False  # at 1,600 px


def _luma(read: Callable[[Differences], float]) -> Callable[[Seen], float]:
    """A value of luma; none where too little is shared to be compared, which leaves the pair out."""
    return lambda seen: np.nan if seen.luma is None else read(seen.luma)


def _chroma(read: Callable[[Colours], float]) -> Callable[[Seen], float]:
    return lambda seen: np.nan if seen.chroma is None else read(seen.chroma)


def _own_share(chroma: Colours) -> float:
    """Colours of one's own, of the poorer against the richer; those of a grey pair tell nothing."""
    return min(chroma.own) / max(chroma.own) if max(chroma.own) >= verdict.OWN_COLOURS else np.nan


def _weaker(chroma: Colours) -> float:
    return min(chroma.strength)


def _both_turned(chroma: Colours) -> float:
    return min(abs(chroma.angle), abs(chroma.turned))


def _likeness(chroma: Colours) -> float:
    return max(chroma.likeness, chroma.centred)


def _shared(seen: Seen) -> float:
    return min(seen.shared)


def _shapes(luma: Differences) -> float:
    """Asked for only where something differs."""
    return luma.shapes if luma.score > verdict.DIFFERENT else np.nan


_SCORE = _luma(lambda luma: luma.score)
_APART = _luma(lambda luma: luma.apart)
_RISE = _luma(lambda luma: luma.rise)
DIFFERS, ELSEWHERE, COLOURED = "Something differs", "Another shot or page", "A part, other tones, other colours"
RULES = (
    Rule(DIFFERS, "score, photos", _SCORE, verdict.DIFFERENT, COPIES, CHANGED),
    Rule(DIFFERS, "score, pages", _SCORE, verdict.DIFFERENT_TEXT, PAGE_COPIES, OTHER_PAGES),
    Rule(DIFFERS, "score up to which a closer look may help", _SCORE, verdict.NEARLY_THE_SAME, COPIES, CHANGED),
    Rule(DIFFERS, "score at 1,600 px, photos", _SCORE, fine.BOUNDS.photo, COPIES, CHANGED, closely=True),
    Rule(DIFFERS, "score at 1,600 px, pages", _SCORE, fine.BOUNDS.text, PAGE_COPIES, OTHER_PAGES, closely=True),
    Rule(DIFFERS, "score at 1,600 px, certain", _SCORE, fine.UNCERTAIN_SCORE, COPIES, CHANGED, closely=True),
    Rule(ELSEWHERE, "unrest", _luma(lambda luma: luma.unrest), verdict.RESTLESS, CHANGED, OTHERS),
    Rule(ELSEWHERE, "spread", _luma(lambda luma: luma.spread), verdict.WIDESPREAD, CHANGED, OTHERS),
    Rule(ELSEWHERE, "apart", _APART, verdict.APART, CHANGED, OTHERS),
    Rule(ELSEWHERE, "apart, of what seems the same", _APART, verdict.ALL_APART, COPIES | PAGE_COPIES, OTHERS),
    Rule(ELSEWHERE, "shapes, where something differs", _luma(_shapes), verdict.SAME_SHAPES, OTHERS, RECOLOURED),
    Rule(COLOURED, "shared", _shared, verdict.WHOLE, COPIES, CUT, above=False),
    Rule(COLOURED, "rise", _RISE, verdict.RISE, COPIES, IN_GREY | RECOLOURED),
    Rule(COLOURED, "rise at 1,600 px, certain", _RISE, verdict.FAR_OTHER_TONES, COPIES, RECOLOURED, closely=True),
    Rule(COLOURED, "strength of the weaker", _chroma(_weaker), verdict.GREY, COPIES, IN_GREY, above=False),
    Rule(COLOURED, "own colours", _chroma(_own_share), verdict.OWN_SHARE, COPIES, IN_GREY, above=False),
    Rule(COLOURED, "angle", _chroma(_both_turned), verdict.ANGLE, COPIES, RECOLOURED),
    Rule(COLOURED, "likeness", _chroma(_likeness), verdict.LIKENESS, COPIES, RECOLOURED, above=False),
    Rule(COLOURED, "worst place of colour", _chroma(lambda one: one.worst), verdict.WORST, COPIES, RECOLOURED),
    Rule(COLOURED, "it stands out", _chroma(lambda one: one.stands_out), verdict.STANDS_OUT, COPIES, RECOLOURED),
)
LINES = tuple(
    (colour, dashes) for dashes in ("", "6 4") for colour in (plot.BLUE, plot.ORANGE, plot.GREEN, plot.RED, plot.PURPLE)
)


class Curve:
    """What a rule makes of the pairs of all kinds."""

    def __init__(self, rule: Rule, kinds: dict[str, Kind]) -> None:
        self.rule = rule
        self.within = self._values(kinds, rule.within)
        self.beyond = self._values(kinds, rule.beyond)

    def _values(self, kinds: dict[str, Kind], names: frozenset[str]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        seen = [
            one
            for name in sorted(names)
            if name in kinds
            for one in (kinds[name].seen_closely if self.rule.closely else kinds[name].seen)
        ]
        values = np.array([self.rule.value(one) for one in seen], np.float64)
        return values[~np.isnan(values)]

    def shares(self, bound: float) -> tuple[float, float]:
        """Of those that must stay within, and of those that must not: beyond a bound."""
        told = [(values > bound) if self.rule.above else (values < bound) for values in (self.within, self.beyond)]
        return float(told[0].mean()), float(told[1].mean())

    def area(self) -> float:
        """Under the curve: how often one of a pair, one of each sort, lies further out, as it should."""
        ordered = np.sort(self.within)
        less = np.searchsorted(ordered, self.beyond, "left") + np.searchsorted(ordered, self.beyond, "right")
        share = float(less.mean()) / (2 * len(ordered))
        return share if self.rule.above else 1 - share

    def points(self) -> list[tuple[float, float]]:
        """(share of those within, share of those beyond) for each bound at which one of them changes."""
        bounds = np.unique(np.concatenate([self.within, self.beyond]))
        ends = [-np.inf, *bounds, np.inf]
        return sorted(self.shares(bound) for bound in ends)


def tell(curves: Sequence[Curve], report: Report) -> None:
    """A table for each bound."""
    report.heading("All bounds")
    rows = []
    for curve in curves:
        wrong, found = curve.shares(curve.rule.bound)
        counts = [str(len(curve.within)), str(len(curve.beyond))]
        rows.append(
            [curve.rule.name, f"{curve.rule.bound:g}", f"{curve.area():.4f}", f"{wrong:.4f}", f"{found:.4f}", *counts]
        )
    report.table(
        ["bound of", "in use", "area", "wrongly beyond", "rightly beyond", "pairs within", "pairs beyond"], rows
    )
    for curve in curves:
        rule = curve.rule
        report.heading(f"{rule.name}: {'above' if rule.above else 'below'} {rule.bound:g}")
        report.lines([f"must not be beyond: {_listed(rule.within)}", f"should be: {_listed(rule.beyond)}"])
        rows = []
        for step in STEPS:
            bound = rule.bound * step
            rows.append([f"{bound:g}{' *' if step == 1 else ''}", *(f"{share:.4f}" for share in curve.shares(bound))])
        report.table(["bound", "wrongly beyond", "rightly beyond"], rows)


def _listed(kinds: frozenset[str]) -> str:
    return ", ".join(sorted(kinds))


def draw(curves: Sequence[Curve]) -> str:
    """The dots are the bounds in use."""
    ticks = [(LEAST_SHARE, "none"), (0.01, "1 %"), (0.1, "10 %"), (1.0, "100 %")]
    panels = []
    for name in dict.fromkeys(curve.rule.panel for curve in curves):
        panel = plot.Panel(
            name,
            plot.Axis("wrongly beyond the bound", LEAST_SHARE, 1.0, ticks, log=True),
            plot.Axis("rightly beyond the bound", 0.0, 1.0, [(part / 5, f"{part / 5:g}") for part in range(6)]),
        )
        its = [curve for curve in curves if curve.rule.panel == name]
        for curve, (colour, dashes) in zip(its, LINES, strict=False):
            points = [(max(wrong, LEAST_SHARE), found) for wrong, found in curve.points()]
            panel.line(points, colour, curve.rule.name, dashes=dashes)
            wrong, found = curve.shares(curve.rule.bound)
            panel.dot(max(wrong, LEAST_SHARE), found, colour)
        panels.append(panel)
    return plot.figure(panels)


def main() -> None:
    """The command line."""
    asked = _arguments()
    bench = Bench(closely=True)
    for folder in asked.sets:
        labelled = truth.load(folder)
        of_set(bench, labelled, asked.limit)
        originals = dict.fromkeys(first.path for first, _ in labelled.pairs_to_find())
        of_photos(bench, list(originals)[: asked.limit])
    if asked.drawn:
        of_drawn(bench, asked.drawn)
    curves = [curve for rule in RULES if len((curve := Curve(rule, bench.kinds)).within) and len(curve.beyond)]
    os.makedirs(asked.out, exist_ok=True)
    report = Report("Each bound of a verdict by itself")
    tell(curves, report)
    report.write(os.path.join(asked.out, "verdict_roc.md"))
    with open(os.path.join(asked.out, "verdict_roc.svg"), "w", encoding="utf-8") as file:
        file.write(draw(curves))


def _arguments() -> argparse.Namespace:
    parser = make_parser(__doc__, report=False)
    add_sets(parser)
    parser.add_argument("--limit", type=int, default=60, metavar="N", help="originals of each set [default: 60]")
    parser.add_argument("--drawn", type=int, default=0, metavar="N", help="documents of each kind as well")
    parser.add_argument("--out", required=True, metavar="DIR", help="where both files are written")
    return parser.parse_args()


if __name__ == "__main__":
    main()
