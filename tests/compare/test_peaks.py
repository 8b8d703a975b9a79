import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dupwatchd.pixels.peaks import OWN, Peaks, find_peaks


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


def found(stacks: list[NDArray[np.float32]], faintest: float) -> list[list[int]]:
    """The places of the peaks of each stack, counted as by hand."""
    every = np.concatenate([stack.ravel() for stack in stacks])
    peaks = find_peaks(every, [stack.shape for stack in stacks], faintest)
    for number, stack in enumerate(stacks):
        values = peaks.around[:, peaks.stack == number]
        for at, around in zip(places(peaks, stacks)[number], values.T, strict=True):
            plane, y, x = np.unravel_index(at, stack.shape)
            assert (around == stack[plane - 1 : plane + 2, y - 1 : y + 2, x - 1 : x + 2].ravel()).all()
            assert around[OWN] == stack[plane, y, x]
    return places(peaks, stacks)


def places(peaks: Peaks, stacks: list[NDArray[np.float32]]) -> list[list[int]]:
    return [
        np.ravel_multi_index(tuple(each[peaks.stack == number] for each in peaks[1:4]), stack.shape).tolist()
        for number, stack in enumerate(stacks)
    ]


shapes = st.tuples(st.integers(3, 5), st.integers(1, 12), st.integers(1, 40))


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    shapes=st.lists(shapes, min_size=1, max_size=3),
    levels=st.sampled_from([1, 2, 3, 50, 10**6]),  # few levels: plateaus and places as high as their neighbours
    faintest=st.sampled_from([0.0, 0.15, 0.4]),
)
def test_peaks_are_those_that_a_look_at_all_neighbours_finds(
    seed: int, shapes: list[tuple[int, int, int]], levels: int, faintest: float
) -> None:
    random = np.random.default_rng(seed)
    stacks = [(random.integers(-levels, levels + 1, shape) / levels).astype(np.float32) for shape in shapes]
    assert found(stacks, faintest) == [peaks_by_hand(stack, float(np.float32(faintest))) for stack in stacks]


def test_plane_of_one_value_is_all_peaks_but_for_its_rim_unless_it_is_faint() -> None:
    planes = np.full((5, 9, 30), 3, np.float32)
    assert len(found([planes], 2.9)[0]) == 3 * 7 * 28
    assert found([planes], 3) == [[]]
