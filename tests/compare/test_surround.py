import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dupwatchd.compare.parts.surround import is_blank_around, is_round

Within = NDArray[np.float64]  # (H, W) how far within a part each pixel lies


def told_by_hand(luma: NDArray[np.uint8], within: Within) -> bool:
    """Whether it is of one tone beyond a part and another at its edge, by all pixels."""
    around, rim = luma[within < -2], luma[(within > 2) & (within < 5)]
    if len(around) < 0.01 * luma.size or not len(rim):
        return False
    tone = int(np.median(around))
    other, other_within = (np.mean(np.abs(some.astype(int) - tone) > 12) for some in (around, rim))
    return bool(other <= 0.03 and other_within >= 0.6)


def within_ellipse(height: int, width: int) -> Within:
    half = np.array([height, width])[:, None, None] / 2
    rows, columns = (np.mgrid[:height, :width] + 0.5) / half - 1
    within: Within = (1 - np.hypot(rows, columns)) * float(half.min())
    return within


def within_box(shape: tuple[int, int], corners: Within) -> Within:
    (left, top), (right, bottom) = corners[0], corners[2]
    rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
    within: Within = np.min([rows - top, bottom - rows, columns - left, right - columns], axis=0)
    return within


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), sides=st.tuples(st.integers(1, 70), st.integers(1, 70)), strays=st.booleans())
def test_what_lies_around_a_part_is_told_by_all_its_pixels(seed: int, sides: tuple[int, int], strays: bool) -> None:
    random = np.random.default_rng(seed)
    luma = random.integers(90, 256, sides).astype(np.uint8)
    corners = np.sort(random.integers(-3, 73, (2, 2)).astype(float), axis=0)[[[0, 0], [1, 0], [1, 1], [0, 1]], [0, 1]]
    beyond_box, beyond_ellipse = within_box(sides, corners), within_ellipse(*sides)
    for within in (beyond_box, beyond_ellipse):
        framed = np.where(within < random.choice([0, -4]), 40, luma).astype(np.uint8)
        if strays:
            framed[random.random(sides) < random.choice([0.01, 0.05])] = 200
        assert is_round(framed) == told_by_hand(framed, beyond_ellipse)
        assert is_blank_around(framed, corners) == told_by_hand(framed, beyond_box)


def test_a_portrait_in_a_circle_is_round_and_a_photo_is_not() -> None:
    photo = np.random.default_rng(1).integers(0, 200, (60, 80)).astype(np.uint8)
    assert is_round(np.where(within_ellipse(60, 80) < 0, 255, photo).astype(np.uint8))
    assert not is_round(photo)
