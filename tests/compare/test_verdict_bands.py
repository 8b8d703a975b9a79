"""What looks do in a way that takes less time is what they did in the plain way."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dupwatchd.compare.verdict import colour, fine, values
from dupwatchd.compare.verdict.fine import look_closely
from dupwatchd.compare.verdict.laid import Planes
from dupwatchd.pixels import levels
from dupwatchd.pixels.proof import holds_fine_lines, make_proof, wants_a_closer_look
from tests.compare import altered
from tests.compare.test_verdict import CHANGED, COPIES

seeds = st.integers(0, 2**32 - 1)


def unlike(seed: int, height: int, width: int, faint: float) -> values._Unlike:
    random = np.random.default_rng(seed)
    error = (random.random((height, width), np.float32) ** 8 * np.float32(faint)).astype(np.float32)
    return values._Unlike(error, random.random((height, width), np.float32) * np.float32(40), seed % 4, 1.0 + seed % 3)


@settings(deadline=None, max_examples=60)
@given(seeds, st.integers(1, 70), st.integers(1, 70), st.sampled_from([0.0, 0.1, 5.0, 90.0]), st.integers(1, 300))
def test_the_worst_place_is_the_worst_of_all(seed: int, height: int, width: int, faint: float, band_px: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(values, "_BAND_PX", band_px)
        found = unlike(seed, height, width, faint)
        assert found.most() == float(found.everywhere.max())
        whole = found.everywhere
    assert np.array_equal(whole, unlike(seed, height, width, faint).everywhere)


@pytest.mark.parametrize("kind", ["q50", *CHANGED])
def test_what_is_seen_does_not_depend_on_how_many_rows_are_worked_on_at_once(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = altered.photo(21, 300, 260)
    changed = COPIES[kind](picture) if kind in COPIES else CHANGED[kind][0](picture)
    seen = []
    for band_px in (1, 3000, 1 << 30):
        monkeypatch.setattr(values, "_BAND_PX", band_px)
        seen.append(look_closely(picture, changed, 0, mirrored=False))
    assert seen[0] == seen[1] == seen[2]


@settings(deadline=None, max_examples=40)
@given(seeds, st.integers(2, 60), st.integers(2, 60), st.integers(0, 60))
def test_a_small_place_of_another_colour_is_told_exactly_where_it_counts(
    seed: int, height: int, width: int, most: int
) -> None:
    """Below that more may be told than there is, which no verdict depends on."""
    random = np.random.default_rng(seed)
    chroma = random.integers(100, 156, (2, height, width), np.uint8)
    other = (chroma + random.integers(0, most + 1, chroma.shape) * (random.random(chroma.shape) < 0.03)).astype(
        np.uint8
    )
    lumas = random.integers(0, 256, (2, height, width), np.uint8)
    told = colour.places_of_other_colour(chroma, other, *lumas)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(colour, "_told_at_most", lambda *_: None)
        plain = colour.places_of_other_colour(chroma, other, *lumas)
    assert fine.UNCERTAIN_PLACES > colour.TOLD_EXACTLY_ABOVE
    assert told == plain or plain <= told <= colour.TOLD_EXACTLY_ABOVE


@pytest.mark.parametrize("picture", [altered.photo(3, 700, 500), altered.page("483 206"), altered.photo(4, 90, 61)])
def test_fine_lines_are_those_of_the_proof(picture: altered.Rgb) -> None:
    assert holds_fine_lines(picture) is wants_a_closer_look(make_proof(picture))


@settings(deadline=None, max_examples=40)
@given(seeds, st.integers(1, 90), st.integers(1, 90), st.sampled_from([-90, 0, 90, 180, 270, 360]), st.booleans())
def test_planes_are_turned_and_counted_as_numpy_does_it(
    seed: int, height: int, width: int, turn: int, mirrored: bool
) -> None:
    random = np.random.default_rng(seed)
    plane, other = random.integers(0, 256, (2, height, width), np.uint8)
    rgb = random.integers(0, 256, (height, width, 3), np.uint8)
    expected = np.rot90(plane[:, ::-1] if mirrored else plane, -turn // 90)
    planes = Planes(plane, np.stack([plane, other]), None).oriented(turn, mirrored=mirrored)
    assert np.array_equal(planes.luma, expected)
    assert planes.luma.flags.c_contiguous
    assert np.array_equal(levels.histogram(plane), np.bincount(plane.ravel(), minlength=256))
    both = levels.fine_detail(plane, other)
    assert np.array_equal(both, [levels.fine_detail(one)[0] for one in (plane, other)])
    in_order = cv2.cvtColor(rgb, cv2.COLOR_RGB2YCrCb)[..., [2, 1]]
    assert np.array_equal(levels.blue_and_red(rgb), np.moveaxis(in_order, -1, 0))


@settings(deadline=None, max_examples=80)
@given(seeds, st.integers(8, 90), st.integers(8, 90), st.integers(1, 90), st.integers(1, 90), st.booleans())
def test_planes_resized_together_are_what_they_are_alone(
    seed: int, height: int, width: int, rows: int, columns: int, halved: bool
) -> None:
    planes = [*np.random.default_rng(seed).integers(0, 256, (2, height, width), np.uint8)]
    size = (width // 2, height // 2) if halved else (columns, rows)
    expected = [levels.resized(plane, size) for plane in planes]
    assert np.array_equal(levels.resized_together(planes, size), expected)
    planes[0] = planes[0][1:]
    assert np.array_equal(levels.resized_together(planes, size)[1], expected[1])
