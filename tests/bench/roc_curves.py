"""What a measure makes of labelled pictures: values of copies and of different pictures, and what follows from them."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
from tests.bench import evaluate
from tests.bench.truth import Label

from dupwatchd.settings.model import CompareSettings, IndexSettings, Measure

TONE_KINDS = ("bright", "contrast", "grey")  # mse is not made for them
MEASURES: tuple[Measure, ...] = ("structure", "mse")
THRESHOLDS: dict[Measure, list[float]] = {
    "structure": [
        *(0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.008, 0.01, 0.0125, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.045),
        *(0.05, 0.055, 0.06, 0.07, 0.08, 0.1, 0.12, 0.15, 0.2, 0.3, 0.4),
    ],
    "mse": [
        *(1, 2, 3, 5, 7, 10, 12, 15, 18, 20, 25, 30, 35, 40, 50, 60, 80, 100, 125, 150, 200, 250, 300, 400, 500, 700),
        *(1000, 1500, 2000),
    ],
}
KEPT: dict[Measure, float] = {"structure": CompareSettings().keep_structure, "mse": CompareSettings().keep_mse}
DEFAULT_PX = IndexSettings().thumbnail_px
CLOSEST_KEPT = 50


@dataclass
class Curve:
    """What one measure makes of all sets, at one size; with mirror images or without."""

    measure: Measure
    thumbnail_px: int
    mirrored: bool
    copies: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))  # kind: value to the original
    nearest: list[float] = field(default_factory=list)  # per picture: the nearest different one
    nearest_unrelated: list[float] = field(default_factory=list)  # likewise, if cuts of one photo count as related
    nearest_with_flat: list[float] = field(default_factory=list)  # likewise, flat pictures not left out
    nearest_in_the_wild: list[float] = field(default_factory=list)  # as `nearest`, in sets found in the wild
    closest: list[tuple[float, Label, Label]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.measure} {self.thumbnail_px} px"

    def recall(self, kind: str, threshold: float) -> float:
        return _share_within(self.copies[kind], threshold)

    def needed_kinds(self) -> list[str]:
        """Kinds with the strict bound."""
        return [kind for kind in self.copies if evaluate.must_be_near(kind, mirrored=self.mirrored)]

    def mean_recall(self, threshold: float) -> float:
        return float(np.mean([self.recall(kind, threshold) for kind in self.needed_kinds()]))

    def wrong_share(self, threshold: float) -> float:
        """Share of the pictures that have a different one within the threshold."""
        return _share_within(self.nearest, threshold)

    def needed_threshold(self, apart: Collection[str] = ()) -> tuple[float, str]:
        """The smallest threshold at which all needed kinds reach their recall, and the kind that needs it."""
        needed = [
            (float(np.quantile(self.copies[kind], evaluate.RECALL, method="higher")), kind)
            for kind in self.needed_kinds()
            if kind not in apart
        ]
        return max(needed, default=(np.inf, "-"))


@dataclass
class FlatAccount:
    """What leaving flat pictures out costs and saves, at the default size."""

    pictures: int = 0
    flat: list[Label] = field(default_factory=list)
    lost: list[tuple[Label, Label, float]] = field(default_factory=list)  # original, copy, structure


def _share_within(values: Sequence[float], threshold: float) -> float:
    return float(np.mean(np.asarray(values) <= threshold)) if values else 0.0
