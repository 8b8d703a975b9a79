import io

import numpy as np
import pytest
from PIL import Image

from dupwatchd.index.decode import decode
from dupwatchd.index.limits import DecodeLimits
from dupwatchd.index.thumbnail import average, power_of_two_reduction, to_bytes
from tests.conftest import encoded, photo_like

LIMITS = DecodeLimits()
SIZES = [(320, 320), (333, 457), (500, 375), (641, 643), (1283, 967), (1300, 1301), (2567, 1447), (165, 1999)]


def mse_to_full_decoding(data: bytes, thumbnail_px: int = 32) -> float:
    with Image.open(io.BytesIO(data)) as image:
        pixels = np.asarray(image.convert("RGB"))
    full = average(pixels, pixels.shape[1], pixels.shape[0], thumbnail_px)
    thumbnail = decode(data, thumbnail_px, LIMITS, b".jpg").thumbnail
    return float(((thumbnail.astype(float) - to_bytes(full)) ** 2).mean())


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}], ids=["420", "progressive", "444"])
def test_thumbnail_of_a_reduced_jpeg_is_that_of_the_whole(width: int, height: int, options: dict[str, object]) -> None:
    assert mse_to_full_decoding(encoded(photo_like(width, width, height), "JPEG", **options)) <= 0.5


def test_a_noisy_picture_with_sharp_edges_stays_within_the_bound() -> None:
    # The worst for a reduced decoder, short of pure noise: that clips when decoded whole, and differs by 46.
    random = np.random.default_rng(1)
    edges = np.where(random.random((40, 40)).repeat(20, 0).repeat(30, 1)[:725, :1031, None] < 0.5, 40, 215)
    noisy = np.clip(edges + random.normal(0, 15, (725, 1031, 3)), 0, 255).astype(np.uint8)
    assert mse_to_full_decoding(encoded(noisy)) <= 4


def test_reduction_is_used_where_it_can_be() -> None:
    assert [power_of_two_reduction(width, height, 32) for width, height in SIZES] == [2, 2, 2, 4, 4, 8, 8, 1]


@pytest.mark.parametrize("thumbnail_px", [8, 16, 64])
def test_bound_holds_for_other_thumbnails(thumbnail_px: int) -> None:
    assert mse_to_full_decoding(encoded(photo_like(3, 1003, 751)), thumbnail_px) <= 0.5


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
@pytest.mark.parametrize(("width", "height"), [(1031, 725), (4001, 33), (31, 2999)])
def test_pillows_reduction_leaves_the_same_thumbnail(kind: str, width: int, height: int) -> None:
    pixels = photo_like(5, width, height)
    full = to_bytes(average(pixels, width, height, 32))
    thumbnail = decode(encoded(pixels, kind), 32, LIMITS, b"").thumbnail
    assert ((thumbnail.astype(float) - full) ** 2).mean() <= 0.5
    assert np.abs(thumbnail.astype(int) - full).max() <= 8


def test_a_resized_copy_has_nearly_the_same_thumbnail() -> None:
    big = Image.fromarray(photo_like(9, 1600, 1200))
    small = big.resize((777, 583), Image.Resampling.LANCZOS)
    one, other = (decode(encoded(np.asarray(i)), 32, LIMITS, b"").thumbnail.astype(float) for i in (big, small))
    assert ((one - other) ** 2).mean() < 1
