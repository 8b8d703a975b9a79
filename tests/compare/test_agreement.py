"""Keypoints agree on how a picture lies in another, by the rule in its plainest form."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dupwatchd.compare.parts.agreement import Placement, placement_of
from dupwatchd.pixels.keypoints import Keypoints
from tests.compare.keypoints_made import KINDS, cropped, hostile, leaning, scattered, turned


def plain_votes(first: Keypoints, second: Keypoints) -> int:
    """How many keypoints agree on the best placement; 0 if the pictures are no candidates."""
    met = [pair for pair in itertools.product(told_by(first), told_by(second)) if meet(first, second, *pair)]
    best = 0
    for one in met:
        agreeing = [other for other in met if agree(first, second, one, other)]
        ends = {one[0]} | {i for i, _ in agreeing}, {one[1]} | {j for _, j in agreeing}
        best = max(best, min(map(len, ends)))
    return best if best >= 2 else 0


def told_by(picture: Keypoints) -> list[int]:
    """The keypoints that meet at most three others of their picture."""
    every = range(len(picture))
    return [i for i in every if sum(meet(picture, picture, i, j) for j in every if j != i) <= 3]


def meet(first: Keypoints, second: Keypoints, i: int, j: int) -> bool:
    ours, theirs = first.coefficients[i].tolist(), second.coefficients[j].tolist()
    distance = sum((c - d) ** 2 for c, d in zip(ours, theirs, strict=True))
    untold = sum(127**2 - sum(c * c for c in one) for one in (ours, theirs))
    return bool(distance <= 320 and 100 * distance <= 3 * untold)


def agree(first: Keypoints, second: Keypoints, one: tuple[int, int], other: tuple[int, int]) -> bool:
    (i, j), (k, m) = one, other
    turn, more = turn_of(first, second, i, j), turn_of(first, second, k, m) - turn_of(first, second, i, j)
    more = (more + 128) % 256 - 128
    if i == k or j == m or abs(more) > 5:
        return False
    a, b, c, d = (int(scale) for scale in (first.scale[i], second.scale[j], first.scale[k], second.scale[m]))
    if not (100 * a * d <= 119 * b * c and 100 * b * c <= 119 * a * d):
        return False
    x, y = int(first.x[i]) - int(first.x[k]), int(first.y[i]) - int(first.y[k])
    u, v = int(second.x[j]) - int(second.x[m]), int(second.y[j]) - int(second.y[m])
    over_side = max(max(first.width, first.height) * (b + d), max(second.width, second.height) * (a + c))
    room = max((a + c) * (b + d) * 48 // 2560, over_side * 8 // 50)
    way = complex(u, v) * (a + c) * turned_by((turn + more / 2) / 256)
    return abs(complex(x, y) * (b + d) - way) <= room


def turn_of(first: Keypoints, second: Keypoints, i: int, j: int) -> int:
    return (int(second.turn[j]) - int(first.turn[i])) % 256


def turned_by(share: float) -> complex:
    """Clockwise, by a share of a full turn."""
    return complex(math.cos(2 * math.pi * share), math.sin(2 * math.pi * share))


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 10**6), kind=st.sampled_from(KINDS))
def test_candidates_and_votes_are_those_of_the_rule(seed: int, kind: str) -> None:
    first, second = hostile(seed, kind), hostile(seed + 1, kind)
    found = placement_of(first, second)
    assert (found.votes if found else 0) == plain_votes(first, second)


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 10**6), kind=st.sampled_from(KINDS))
def test_exchanged_pictures_have_the_inverse_placement(seed: int, kind: str) -> None:
    first, second = hostile(seed, kind), hostile(seed + 1, kind)
    there, back = placement_of(first, second), placement_of(second, first)
    if there is None or back is None:
        assert there is back
        return
    assert back.votes == there.votes
    whole = there.turn_degrees + there.lean_degrees + back.turn_degrees + back.lean_degrees
    assert (whole + 180) % 360 - 180 == pytest.approx(0, abs=1e-6)
    assert back.scale * there.scale == pytest.approx(1)
    corner = np.array([3.0, 5.0])
    returned = moved(moved(corner, back, second, first), there, first, second)
    assert returned == pytest.approx(corner, abs=1e-6 * max(first.width, first.height, second.width, second.height))


def moved(point: np.ndarray, placement: Placement, first: Keypoints, second: Keypoints) -> np.ndarray:
    """A point of the second picture, in pixels, on the first."""
    from_centre = complex(*(point - np.array([second.width - 1, second.height - 1]) / 2))
    moved = placement.scale * from_centre * turned_by((placement.turn_degrees + placement.lean_degrees) / 360)
    centre = np.array([first.width - 1, first.height - 1]) / 2
    shift = np.array([placement.dx * first.width, placement.dy * first.height])
    return np.asarray(np.array([moved.real, moved.imag]) + centre + shift)


@pytest.mark.parametrize("quarters", range(4))
def test_a_turned_enlarged_crop_is_placed_where_it_was_cut_from(quarters: int) -> None:
    picture = scattered(1, 30, width=200, height=160)
    part = cropped(picture, left=40, top=20, width=120, height=100, scale=1.25)
    placement = placement_of(picture, turned(part, quarters))
    assert placement is not None
    assert placement.votes == len(part) > 5
    assert placement.turn_degrees == (360 - 90 * quarters) % 360
    assert placement.lean_degrees == pytest.approx(0, abs=0.3)
    assert placement.scale == pytest.approx(1 / 1.25, rel=0.005)
    # the centre of the part: 40 + 60 of 200 pixels, 20 + 50 of 160
    assert placement.dx == pytest.approx(0, abs=0.003)
    assert placement.dy == pytest.approx(-10 / 160, abs=0.003)


@pytest.mark.parametrize("degrees", [-170, -100, -44, -7, 12, 80])
def test_a_picture_that_leans_is_placed_by_its_angle(degrees: int) -> None:
    picture = scattered(1, 30, width=200, height=160)
    placement = placement_of(leaning(picture, degrees), picture)
    assert placement is not None
    assert placement.votes == 30
    assert (placement.turn_degrees + placement.lean_degrees - degrees + 180) % 360 - 180 == pytest.approx(0, abs=0.5)
    assert abs(placement.lean_degrees) <= 45
    assert placement.scale == pytest.approx(1, rel=0.005)
    assert (placement.dx, placement.dy) == pytest.approx((0, 0), abs=0.003)


def test_a_picture_lies_on_itself() -> None:
    picture = Keypoints.from_bytes(scattered(2, 44, width=192, height=192).to_bytes())
    placement = placement_of(picture, picture)
    assert placement is not None
    assert (placement.turn_degrees, placement.votes) == (0, 44)
    assert (placement.scale, placement.dx, placement.dy) == pytest.approx((1, 0, 0))


def test_pictures_whose_keypoints_lie_elsewhere_are_no_candidates() -> None:
    picture = scattered(3, 8, width=192, height=192)
    order = np.roll(np.arange(8), 1)
    moved_around = Keypoints(192, 192, picture.x, picture.y, picture.scale, picture.turn, picture.coefficients[order])
    assert placement_of(picture, moved_around) is None


def test_pictures_without_keypoints_are_no_candidates() -> None:
    none, some = scattered(4, 0, width=192, height=192), scattered(4, 10, width=192, height=192)
    assert placement_of(none, some) is placement_of(some, none) is placement_of(none, none) is None
