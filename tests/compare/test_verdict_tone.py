"""How far a curve of tones lies beside a straight line is what numpy's fit of least squares says."""

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from dupwatchd.compare.verdict import tone


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.4, 2.5))
@example(3, 1.5)
def test_the_bend_of_a_curve_is_that_beside_the_fitted_line(seed: int, power: float) -> None:
    random = np.random.default_rng(seed)
    low, high = sorted(random.choice(256, 2, replace=False))
    tones = random.integers(low, high + 1, 3000).astype(np.uint8)
    curve = (255 * (np.arange(256) / 255) ** power).astype(np.float32)
    first, last = (int(np.sort(tones)[int(share * 3000)]) for share in (0.02, 0.98))
    occur, counts = np.unique(tones[(first <= tones) & (tones <= last)], return_counts=True)
    bend = tone._bend(curve, tones)
    assume(last - first >= 30)  # else there are too few tones to tell
    line = np.poly1d(np.polyfit(occur, curve[occur].astype(np.float64), 1, w=np.sqrt(counts)))
    to = curve[first : last + 1].astype(np.float64)
    off = np.abs(to - line(np.arange(first, last + 1))).max() / max(1.0, np.ptp(to))
    assert bend == pytest.approx(off, abs=1e-9)


def test_a_parabola_lies_a_sixth_beside_its_line_and_few_tones_tell_nothing() -> None:
    """The least squares line of t² on 0 … 1 is t - 1/6, which is as far off at both ends."""
    line = np.arange(256, dtype=np.float32)
    tones = np.arange(256).repeat(12).astype(np.uint8)
    assert tone._bend((line**2 / 255).astype(np.float32), tones) == pytest.approx(
        0.96 / 6, abs=0.002
    )  # between two shares of all tones
    assert tone._bend((line / 2 + 40).astype(np.float32), tones) == pytest.approx(0, abs=1e-6)
    assert tone._bend(line, tones[1200:1500]) == 1.0
    assert tone._bend(line, np.concatenate([tones[:200], tones[-1500:]])) == 1.0  # none in between
