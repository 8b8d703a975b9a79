import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dupwatchd.arrays import with_room


@given(st.integers(0, 300), st.integers(0, 900), st.integers(0, 3))
def test_an_array_with_room_keeps_its_rows_and_takes_no_more_than_it_says(rows: int, needed: int, width: int) -> None:
    array = np.arange(rows * width).reshape(rows, width)
    made = with_room(array, needed)
    assert len(made) == (max(needed, 5 * rows // 4) if needed > rows else rows)
    assert made.dtype == array.dtype
    assert np.array_equal(made[:rows], array)
    assert made is array or made.base is None  # else it holds another one, as what `numpy.resize` gives does
