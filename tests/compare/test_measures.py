import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dupwatchd.arrays import Thumbnails
from dupwatchd.compare.measures import exact
from tests.compare import plain
from tests.conftest import photo_like

SIDES = (16, 32, 64)


def thumbnail(seed: int, side: int) -> plain.Picture:
    picture = photo_like(seed, side * 4, side * 4)
    return np.asarray(picture.reshape(side, 4, side, 4, 3).mean(axis=(1, 3)), np.uint8)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("mirrored", [False, True])
def test_both_measures_equal_the_plain_definition(side: int, mirrored: bool) -> None:
    first = np.stack([thumbnail(seed, side) for seed in range(12)])
    second = np.stack([thumbnail(seed + 6, side) for seed in range(12)])
    values = exact.measure_pairs(first, second, mirrored=mirrored)
    for i in range(len(first)):
        assert values.mse[i] == plain.mse(first[i], second[i], mirrored)
        assert values.structure[i] == pytest.approx(plain.structure(first[i], second[i], mirrored), abs=1e-14)


EXTREMES = ["black", "white", "checkers", "dot", "noise", "stripes"]


def extreme(name: str, seed: int) -> plain.Picture:
    random = np.random.default_rng(seed)
    picture = np.zeros((32, 32, 3), np.uint8)
    if name == "white":
        picture[:] = 255
    elif name == "checkers":
        picture[::2, ::2] = picture[1::2, 1::2] = 255
    elif name == "dot":
        picture[random.integers(32), random.integers(32)] = random.integers(0, 256, 3)
    elif name == "noise":
        picture[:] = random.integers(0, 256, picture.shape)
    elif name == "stripes":
        picture[:: random.integers(1, 8)] = 255
    return picture


@settings(max_examples=150, deadline=None)
@given(
    names=st.tuples(st.sampled_from(EXTREMES), st.sampled_from(EXTREMES)),
    seeds=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    mirrored=st.booleans(),
)
def test_hostile_thumbnails_give_the_plain_values_both_ways_round(
    names: tuple[str, str], seeds: tuple[int, int], mirrored: bool
) -> None:
    a, b = extreme(names[0], seeds[0]), extreme(names[1], seeds[1])
    there = exact.measure_pairs(a[None], b[None], mirrored=mirrored)
    back = exact.measure_pairs(b[None], a[None], mirrored=mirrored)
    assert there.mse[0] == back.mse[0] == plain.mse(a, b, mirrored)
    assert there.structure[0] == back.structure[0]
    assert there.structure[0] == pytest.approx(plain.structure(a, b, mirrored), abs=1e-14)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_the_turn_says_how_the_second_must_be_turned_to_show_the_first(turn: int, mirrored: bool) -> None:
    first = thumbnail(1, 32)
    second = np.rot90(first, turn // 90)  # turned back
    if mirrored:
        second = second[:, ::-1]  # mirroring is undone before turning
    values = exact.measure_pairs(first[None], np.ascontiguousarray(second)[None], mirrored=mirrored)
    assert (values.mse[0], values.structure[0]) == (0, 0)
    assert (values.mse_turn[0], values.structure_turn[0]) == (turn, turn)


def test_no_pairs_give_no_values() -> None:
    nothing = np.empty((0, 32, 32, 3), np.uint8)
    assert len(exact.measure_pairs(nothing, nothing, mirrored=False).mse) == 0


def test_extremes_of_mse() -> None:
    black, white = extreme("black", 0)[None], extreme("white", 0)[None]
    assert exact.measure_pairs(black, white, mirrored=False).mse[0] == 65025
    assert exact.measure_pairs(black, black, mirrored=False).mse[0] == 0


def test_brightness_and_contrast_are_forgiven_by_structure() -> None:
    first = thumbnail(3, 32).astype(float)
    second = np.clip((first - 128) * 0.8 + 140, 0, 255)
    pair = (first.astype(np.uint8)[None], second.astype(np.uint8)[None])
    values = exact.measure_pairs(*pair, mirrored=False)
    assert values.structure[0] < 0.002
    assert values.mse[0] > 50


def shaded(seed: int, detail: float) -> plain.Picture:
    y, x = np.mgrid[0:32, 0:32] / 31
    noise = np.random.default_rng(seed).normal(0, detail, (16, 16)).repeat(2, 0).repeat(2, 1)
    grey = np.clip(120 + 60 * y + 20 * x * x + noise, 0, 255)
    return np.asarray(grey[..., None].repeat(3, axis=2), np.uint8)


def test_shading_without_detail_is_flat_and_a_photo_is_not() -> None:
    flat = [extreme("black", 0), extreme("white", 0), shaded(1, 0), shaded(2, 1.0)]
    detailed = [thumbnail(seed, 32) for seed in range(5)] + [shaded(1, 8), extreme("noise", 1)]
    assert exact.flat(np.stack(flat)).all()
    assert not exact.flat(np.stack(detailed)).any()


def test_unrelated_detail_on_the_same_shading_is_flat_or_far_apart() -> None:
    for detail in (0.5, 1, 2, 3, 4, 6):
        a, b = shaded(1, detail)[None], shaded(2, detail)[None]
        apart = exact.measure_pairs(a, b, mirrored=False).structure[0]
        assert exact.flat(a)[0] or exact.flat(b)[0] or apart > 0.02


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_grid_gives_the_values_of_its_pairs_to_the_last_bit(mirrored: bool) -> None:
    pictures = [thumbnail(seed, 32) for seed in range(6)] + [extreme(name, 1) for name in EXTREMES]
    first = np.stack(pictures[:9])
    second = np.stack([np.rot90(picture, seed) for seed, picture in enumerate(pictures[4:])])
    grid = exact.measure_grid(first, second, mirrored=mirrored)
    for i in range(len(first)):
        pairs = exact.measure_pairs(np.broadcast_to(first[i], second.shape), second, mirrored=mirrored)
        assert (grid.mse[i] == pairs.mse).all()
        assert (grid.structure[i] == pairs.structure).all()
        assert (grid.mse_turn[i] == pairs.mse_turn).all()
        assert (grid.structure_turn[i] == pairs.structure_turn).all()


def hostile(side: int) -> Thumbnails:
    """The largest sums there are: black, white, half and half, chequered, and photos."""
    white = np.full((side, side, 3), 255, np.uint8)
    half, chequered = white.copy(), white.copy()
    half[: side // 2] = 0
    chequered[::2, ::2] = chequered[1::2, 1::2] = 0
    return np.stack([white * 0, white, half, np.rot90(half), chequered, *(thumbnail(seed, side) for seed in range(3))])


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("side", [16, 32, 48, 64, 80, 96, 112, 128])
def test_all_ways_of_measuring_are_exact_at_every_size(side: int, mirrored: bool) -> None:
    pictures = hostile(side)
    rows, columns = (axis.ravel() for axis in np.indices((len(pictures), len(pictures))))
    pairs = exact.measure_pairs(pictures[rows], pictures[columns], mirrored=mirrored)
    grid = exact.measure_grid(pictures, pictures, mirrored=mirrored)
    few = np.array([5, 17, 40])
    chosen = exact.measure_chosen(pictures, pictures, rows[few], columns[few], mirrored=mirrored)
    for name in ("mse", "mse_turn", "structure", "structure_turn"):
        assert (getattr(pairs, name) == getattr(grid, name).ravel()).all()
        assert (getattr(pairs, name)[few] == getattr(chosen, name)).all()
    for i in range(0, len(rows), 7):
        assert pairs.mse[i] == plain.mse(pictures[rows[i]], pictures[columns[i]], mirrored)
        expected = plain.structure(pictures[rows[i]], pictures[columns[i]], mirrored)
        assert pairs.structure[i] == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("count", [1, 30, 400])
def test_chosen_pairs_have_the_values_of_pairs_be_they_few_or_many(count: int) -> None:
    pictures = np.stack([thumbnail(seed, 32) for seed in range(40)])
    rows, columns = np.random.default_rng(count).integers(0, 40, (2, count))
    chosen = exact.measure_chosen(pictures, pictures, rows, columns, mirrored=True)
    pairs = exact.measure_pairs(pictures[rows], pictures[columns], mirrored=True)
    assert (chosen.mse == pairs.mse).all()
    assert (chosen.structure == pairs.structure).all()


@pytest.mark.parametrize("mirrored", [False, True])
def test_without_turns_only_the_picture_as_it_stands_and_its_mirror_image_count(mirrored: bool) -> None:
    pictures = np.stack(
        [thumbnail(seed, 32) for seed in (1, 2)] + [np.rot90(thumbnail(1, 32)), thumbnail(1, 32)[:, ::-1]]
    )
    pairs = [(0, 1), (0, 2), (0, 3), (1, 2)]
    for measure, plainly in (("mse", plain.unturned_mse), ("structure", plain.unturned_structure)):
        found = exact.measure_best(lambda places: pictures[places], pairs, measure, mirrored=mirrored, turned=False)
        for (a, b), values in zip(pairs, found, strict=True):
            ways = [pictures[b], pictures[b][:, ::-1]][: 1 + mirrored]
            assert values[measure == "structure"] == pytest.approx(
                min(plainly(pictures[a], way) for way in ways), abs=1e-12
            )
            assert values[2] == 0
