"""Every match and nothing else, on every device, against the plainest program there is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dupwatchd.arrays import Matches, Thumbnails
from dupwatchd.compare.dense import all_pairs
from dupwatchd.compare.dense.device import Device
from dupwatchd.compare.dense.matcher import DenseMatcher
from dupwatchd.compare.measures import turns
from dupwatchd.model import Limits, PictureId
from tests.compare import plain
from tests.compare.plain import as_set, brute
from tests.compare.test_device import KINDS, ApartModule, make_device
from tests.compare.test_measures import EXTREMES, extreme, thumbnail


def variant(base: plain.Picture, seed: int) -> plain.Picture:
    random = np.random.default_rng(seed)
    picture = np.rot90(base, seed % 4).astype(np.int64)
    if seed % 3 == 0:
        picture = picture[:, ::-1]
    return np.asarray(np.clip(picture + random.integers(-seed % 7, 8, picture.shape), 0, 255), np.uint8)


def library(seed: int, side: int = 32) -> Thumbnails:
    """Photos, near copies of them in all orientations, noise, constant and extreme pictures."""
    photos = [thumbnail(seed * 10 + i, side) for i in range(3)]
    pictures = photos + [variant(photos[i % 3], seed + i) for i in range(10)]
    if side == 32:
        pictures += [extreme(name, seed) for name in EXTREMES]
    return np.stack([*pictures, np.full((side, side, 3), 200, np.uint8)])


def matches(thumbnails: Thumbnails, limits: Limits, device: Device, batch: int = 1000) -> list[Matches]:
    matcher = DenseMatcher(limits, lambda ids: thumbnails[ids], device)
    parts: list[Matches] = []
    for start in range(0, len(thumbnails), batch):
        ids = [PictureId(i) for i in range(start, min(start + batch, len(thumbnails)))]
        parts += matcher.match(ids, thumbnails[ids])
        matcher.add(ids)
    return parts


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(("keep_mse", "keep_structure"), [(0, 0), (25, 0.02), (65025, 0), (0, 4), (700, 0.3)])
def test_matches_equal_brute_force(kind: str, mirrored: bool, keep_mse: float, keep_structure: float) -> None:
    thumbnails = library(1)
    limits = Limits(keep_mse, keep_structure, mirrored)
    expected = brute(thumbnails, limits)
    for batch in (3, 1000):
        assert as_set(matches(thumbnails, limits, make_device(kind), batch)) == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("side", [16, 48, 64, 128])
def test_matches_equal_brute_force_at_other_sizes(kind: str, side: int) -> None:
    thumbnails = library(2, side)
    limits = Limits(60.0, 0.04, True)
    found = brute(thumbnails, limits)
    assert found
    assert as_set(matches(thumbnails, limits, make_device(kind))) == found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["mse", "structure"])
def test_a_limit_that_is_a_distance_is_within_and_a_step_below_it_is_not(kind: str, name: str) -> None:
    thumbnails, device = library(3), make_device(kind)
    everything = Matches.joined(matches(thumbnails, Limits(65025, 4, False), make_device("cpu")))
    assert len(everything) == len(thumbnails) * (len(thumbnails) - 1) // 2
    values = np.unique(getattr(everything, name))
    for value in values[:: len(values) // 12]:
        for limit in (value, np.nextafter(value, -1)):
            limits = Limits(limit, -1, False) if name == "mse" else Limits(-1, limit, False)
            expected = everything[getattr(everything, name) <= limit]
            assert as_set(matches(thumbnails, limits, device)) == as_set([expected])


@pytest.mark.parametrize("kind", ["apart", "cuda"])
def test_values_are_those_of_the_cpu_to_the_last_bit(kind: str) -> None:
    thumbnails, limits = library(4), Limits(3000.0, 1.0, True)
    there, here = (Matches.joined(matches(thumbnails, limits, make_device(which), 7)).rows() for which in (kind, "cpu"))
    assert sorted(there) == sorted(here)
    assert there


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    step=st.sampled_from([-1, 0, 1]),
    hard=st.booleans(),
    kind=st.sampled_from(["cpu", "apart"]),
)
def test_thumbnails_at_the_threshold_are_decided_exactly(seed: int, step: int, hard: bool, kind: str) -> None:
    random = np.random.default_rng(seed)
    base = random.integers(30, 220, (32, 32, 3)).astype(np.uint8)
    if hard:  # black and white: the largest products, which float32 does not hold exactly
        base = np.asarray((base > 125) * 255, np.uint8)
    flat = base.astype(np.int64).ravel()
    left = 25 * base.size + step  # what the sum of squares is to be
    for place in random.permutation(base.size):
        change = min(int(np.sqrt(left)), int(random.integers(1, 30)))
        flat[place] += change if flat[place] + change <= 255 else -change
        left -= change * change
    assert left == 0
    turned = np.rot90(flat.reshape(base.shape), int(random.integers(4))).astype(np.uint8)
    found = matches(np.stack([base, turned]), Limits(25.0, -1.0, False), make_device(kind), 1)
    assert len(Matches.joined(found)) == (step <= 0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("memory_bytes", [1, 300_000, 2_000_000])
def test_little_memory_makes_many_small_pieces_that_lose_nothing(
    monkeypatch: pytest.MonkeyPatch, kind: str, memory_bytes: int
) -> None:
    monkeypatch.setattr(all_pairs, "_READ_BYTES", 5 * 3072)
    monkeypatch.setattr(all_pairs, "_NEW_AT_ONCE", 4)
    monkeypatch.setattr(all_pairs, "_TILE_PICTURES", (2, 3))
    thumbnails, limits = library(5), Limits(500.0, 0.2, True)
    expected = brute(thumbnails, limits)
    for batch in (1, 7, 1000):
        device = make_device(kind)
        device.memory_bytes = memory_bytes
        parts = matches(thumbnails, limits, device, batch)
        assert as_set(parts) == expected
        assert max(map(len, parts)) <= 6


def test_a_picture_that_is_removed_matches_nothing_until_it_is_added_again() -> None:
    thumbnails = library(6)
    matcher = DenseMatcher(Limits(65025, 4, False), lambda ids: thumbnails[ids], make_device("cpu"))
    ids = [PictureId(i) for i in range(len(thumbnails))]
    matcher.add(ids)
    matcher.remove([ids[3], ids[4], PictureId(999)])
    left = set(ids) - {3, 4}
    partners = Matches.joined(matcher.match([ids[3]], thumbnails[3:4]))
    assert sorted(partners.a.tolist() + partners.b.tolist()) == sorted([*left, *[3] * len(left)])
    matcher.add([ids[4]])
    assert len(Matches.joined(matcher.match([ids[3]], thumbnails[3:4]))) == len(left) + 1


def test_pictures_that_are_known_already_are_matched_once_with_each_and_never_with_themselves() -> None:
    thumbnails = library(7)
    matcher = DenseMatcher(Limits(65025, 4, True), lambda ids: thumbnails[ids], make_device("cpu"))
    matcher.add([PictureId(i) for i in range(len(thumbnails))])
    again = [PictureId(2), PictureId(5)]
    rows = as_set(list(matcher.match(again, thumbnails[again])))
    assert len(rows) == 2 * (2 * (len(thumbnails) - 2) + 1)


def test_nothing_new_matches_nothing() -> None:
    thumbnails = library(8)
    matcher = DenseMatcher(Limits(65025, 4, True), lambda ids: thumbnails[ids], make_device("cpu"))
    assert list(matcher.match([], thumbnails[:0])) == []
    assert sum(map(len, matcher.match([PictureId(0)], thumbnails[:1]))) == 0
    matcher.add([PictureId(1)])
    assert list(matcher.match([], thumbnails[:0])) == []


def test_a_gpu_that_runs_out_of_memory_half_way_changes_nothing() -> None:
    class Small(ApartModule):
        left = 7

        def flatnonzero(self, array: object) -> object:
            self.left -= 1
            if not self.left:
                raise MemoryError("no more memory")
            return self.__getattr__("flatnonzero")(array)

    said: list[str] = []
    device = Device("cuda: small", Small(), 2_000_000, said.append)
    thumbnails, limits = library(9), Limits(500.0, 0.2, True)
    assert as_set(matches(thumbnails, limits, device, 5)) == brute(thumbnails, limits)
    assert said == ["cuda: small failed (no more memory); the CPU goes on with comparing"]
    assert device.name == "cpu"


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10_000), side=st.sampled_from([2, 16, 32]), channels=st.sampled_from([1, 3]))
def test_products_with_all_turns_are_those_of_the_turned_pictures(seed: int, side: int, channels: int) -> None:
    random = np.random.default_rng(seed)
    first, second = random.integers(-128, 128, (2, 5, side, side, channels)).astype(np.float64)
    expected = np.stack(
        [np.einsum("fyxc,kyxc->fk", first, np.rot90(second, -k, axes=(1, 2))) for k in range(4)], axis=2
    )  # (F, K, 4)
    of_first, of_second = turns.quarters(first), turns.quarters(second)
    grid = turns.grid_products(turns.spectrum(of_first), turns.spectrum(of_second))
    assert (grid.even + grid.even_apart == 4 * expected[..., 0]).all()
    assert (grid.odd + grid.odd_apart == 4 * expected[..., 1]).all()
    assert (grid.even - grid.even_apart == 4 * expected[..., 2]).all()
    assert (grid.odd - grid.odd_apart == 4 * expected[..., 3]).all()
    assert (turns.pair_products(of_first, of_second) == expected[range(5), range(5)]).all()
    assert (np.stack(turns.larger(grid)).max(axis=0) == 4 * expected.max(axis=2)).all()
