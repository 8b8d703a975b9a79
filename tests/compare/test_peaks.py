import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dupwatchd.pixels.peaks import find_peaks


def peaks_by_hand(planes: NDArray[np.float32], faintest: float) -> list[int]:
    """Every place against its 26 neighbours, one by one."""
    count, height, width = planes.shape
    found = []
    for plane in range(1, count - 1):
        for y in range(1, height - 1):
            for x in range(1, width - 1):
                around = planes[plane - 1 : plane + 2, y - 1 : y + 2, x - 1 : x + 2]
                value = planes[plane, y, x]
                if abs(value) > faintest and (value == around.max() or value == around.min()):
                    found.append((plane * height + y) * width + x)
    return found


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(3, 5), st.integers(1, 12), st.integers(1, 40)),
    levels=st.sampled_from([2, 3, 50, 10**6]),  # few levels: plateaus and places as high as their neighbours
    faintest=st.sampled_from([0.0, 0.15, 0.4]),
)
def test_peaks_are_those_that_a_look_at_all_neighbours_finds(
    seed: int, shape: tuple[int, int, int], levels: int, faintest: float
) -> None:
    drawn = np.random.default_rng(seed).integers(-levels, levels + 1, shape) / levels
    planes = drawn.astype(np.float32)
    assert find_peaks(planes, faintest).tolist() == peaks_by_hand(planes, float(np.float32(faintest)))


def test_plane_of_one_value_is_all_peaks_but_for_its_rim_unless_it_is_faint() -> None:
    planes = np.full((5, 9, 30), 3, np.float32)
    assert len(find_peaks(planes, 2.9)) == 3 * 7 * 28
    assert len(find_peaks(planes, 3)) == 0
