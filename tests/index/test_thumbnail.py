import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps

from dupwatchd.index.thumbnail import (
    MIN_REDUCTION_REST,
    average,
    free_reduction,
    power_of_two_reduction,
    to_bytes,
    upright,
)
from tests.conftest import photo_like


def plain_average(samples: NDArray[np.float64], width: float, height: float, side: int) -> NDArray[np.float64]:
    """The definition, pixel by pixel."""
    result = np.zeros((side, side, samples.shape[2]))
    for y, x in np.ndindex(side, side):
        top, bottom, left, right = y * height / side, (y + 1) * height / side, x * width / side, (x + 1) * width / side
        for row in range(int(top), min(samples.shape[0], int(np.ceil(bottom)))):
            for column in range(int(left), min(samples.shape[1], int(np.ceil(right)))):
                covered = max(0, min(bottom, row + 1) - max(top, row)) * max(
                    0, min(right, column + 1) - max(left, column)
                )
                result[y, x] += covered * samples[row, column]
        result[y, x] /= (bottom - top) * (right - left)
    return result


@given(
    st.integers(1, 23),
    st.integers(1, 23),
    st.floats(0.01, 1),
    st.floats(0.01, 1),
    st.sampled_from([1, 4, 6, 8]),
    st.integers(0, 9),
)
def test_average_is_what_its_definition_says(
    rows: int, columns: int, last_row: float, last_column: float, side: int, seed: int
) -> None:
    samples = np.random.default_rng(seed).integers(0, 256, (rows, columns, 3), np.uint8)
    width, height = columns - 1 + last_column, rows - 1 + last_row
    expected = plain_average(samples.astype(float), width, height, side)
    np.testing.assert_allclose(average(samples, width, height, side), expected, atol=2e-2)


def test_every_pixel_counts_the_same() -> None:
    samples = np.random.default_rng(0).integers(0, 256, (97, 131, 3), np.uint8)
    assert np.allclose(average(samples, 131, 97, 8).mean((0, 1)), samples.mean((0, 1)), atol=1e-3)


def test_last_column_counts_only_as_far_as_the_picture_reaches() -> None:
    samples = np.zeros((8, 9, 3), np.uint8)
    samples[:, 8] = 240
    half, whole = average(samples, 8.5, 8, 2)[0, 1, 0], average(samples, 9, 8, 2)[0, 1, 0]
    assert half == pytest.approx(240 * 0.5 / 4.25, abs=1e-3)
    assert whole == pytest.approx(240 * 1 / 4.5, abs=1e-3)


def test_a_picture_smaller_than_its_thumbnail_is_spread_over_it() -> None:
    samples = np.array([[[0, 0, 0], [200, 100, 50]]], np.uint8)
    values = to_bytes(average(samples, 2, 1, 4))
    assert (values[:, :2] == 0).all()
    assert (values[:, 2:] == (200, 100, 50)).all()


def test_white_stays_white() -> None:
    samples = np.full((377, 501, 3), 255, np.uint8)
    assert (to_bytes(average(samples, 500.5, 376.125, 32)) == 255).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_turns_as_pillow_does(orientation: int) -> None:
    stored = photo_like(orientation, 24, 17)
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.fromarray(stored).save(buffer, "PNG", exif=exif)
    with Image.open(buffer) as image:
        shown = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(upright(stored, orientation), shown)


@pytest.mark.parametrize("orientation", [0, 9, 65535, -1])
def test_an_orientation_that_does_not_exist_turns_nothing(orientation: int) -> None:
    stored = photo_like(1, 16, 16)
    assert np.array_equal(upright(stored, orientation), stored)


@given(st.integers(1, 70_000), st.integers(1, 70_000), st.sampled_from([8, 16, 32, 64]))
def test_a_reduced_picture_keeps_enough_pixels(width: int, height: int, thumbnail_px: int) -> None:
    by = power_of_two_reduction(width, height, thumbnail_px)
    assert by in (1, 2, 4, 8)
    enough = MIN_REDUCTION_REST * thumbnail_px
    assert by == 1 or min(width, height) / by >= enough
    assert by == 8 or min(width, height) / (2 * by) < enough
    side = free_reduction(width, thumbnail_px)
    assert side == 1 or width / side >= enough
