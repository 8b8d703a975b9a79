"""The value at a place of sorted values is the one that sorting finds."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dupwatchd.compare.verdict.order import at_place
from dupwatchd.pixels.levels import Floats

NOT_NEGATIVE = st.floats(0, width=32) | st.sampled_from((0.0, -0.0, 0.5, 0.5000001))  # many of them equal


@settings(deadline=None)
@given(arrays.arrays(np.float32, st.integers(1, 60), elements=NOT_NEGATIVE), st.sampled_from((1, 2000)), st.data())
def test_the_value_at_a_place_is_that_of_the_sorted_ones(values: Floats, least: int, data: st.DataObject) -> None:
    """Of few and of many."""
    values = np.resize(values, max(least, len(values)))
    place = data.draw(st.integers(0, len(values) - 1))
    before = values.copy()
    assert at_place(values, place) == np.sort(values)[place]
    assert np.array_equal(values, before, equal_nan=True)
