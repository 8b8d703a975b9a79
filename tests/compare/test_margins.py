import numpy as np
import pytest

from dupwatchd.pixels import levels
from dupwatchd.pixels.levels import Levels
from dupwatchd.pixels.margins import Inner, within_margins
from tests.compare.altered import Rgb, jpeg, photo, sky


def luma(picture: Rgb) -> Levels:
    return levels.grey(picture)


def framed(picture: Rgb, margins: tuple[int, int, int, int], tone: int) -> Rgb:
    top, bottom, left, right = margins
    return np.pad(picture, ((top, bottom), (left, right), (0, 0)), constant_values=tone)


@pytest.mark.parametrize("margins", [(20, 20, 20, 20), (30, 70, 12, 12), (40, 40, 0, 0), (0, 0, 0, 25)])
@pytest.mark.parametrize("tone", [0, 255, 60])
def test_margins_are_taken_off_to_a_pixel_or_two(margins: tuple[int, int, int, int], tone: int) -> None:
    picture = photo(3, 240, 180)
    top, _bottom, left, _right = margins
    exact = Inner(top, top + 180, left, left + 240)
    found = within_margins(luma(jpeg(framed(picture, margins, tone), 80)))
    assert np.abs(np.subtract(found, exact)).max() <= 3
    for kept, wanted, margin in zip(found, exact, margins, strict=True):
        assert margin or kept == wanted


def test_frame_within_a_frame_is_taken_off_too() -> None:
    twice = framed(framed(photo(4, 240, 180), (4, 4, 4, 4), 255), (12, 12, 12, 12), 10)
    found = within_margins(luma(twice))
    assert np.abs(np.subtract(found, Inner(16, 196, 16, 256))).max() <= 2


@pytest.mark.parametrize("seed", range(6))
def test_photo_without_margins_keeps_all_of_it(seed: int) -> None:
    assert within_margins(luma(photo(seed))) == Inner(0, 480, 0, 640)


def test_sky_that_fades_into_a_picture_is_no_margin() -> None:
    picture = photo(5, 300, 200).astype(np.float32)
    fade = np.clip((np.arange(200) - 40) / 60, 0, 1)[:, None, None]
    faded = (230 * (1 - fade) + picture * fade).astype(np.uint8)
    assert within_margins(luma(faded)).top == 0


@pytest.mark.parametrize("picture", [np.full((100, 120, 3), 250, np.uint8), sky(1), np.zeros((3, 500, 3), np.uint8)])
def test_flat_picture_keeps_all_of_it(picture: Rgb) -> None:
    height, width = picture.shape[:2]
    assert within_margins(luma(picture)) == Inner(0, height, 0, width)


def test_dot_on_a_large_ground_keeps_its_ground() -> None:
    dotted = framed(photo(6, 20, 20), (200, 200, 200, 200), 255)
    assert within_margins(luma(dotted)) == Inner(0, 420, 0, 420)
