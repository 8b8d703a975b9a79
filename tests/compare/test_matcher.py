"""Every match and nothing else: the matcher against all pairs in the plainest way."""

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dupwatchd.arrays import Matches, Thumbnails
from dupwatchd.compare.measures import descriptors, exact
from dupwatchd.compare.tree.matcher import Matcher
from dupwatchd.model import Limits, PictureId
from tests.compare import plain
from tests.compare.plain import as_set, brute
from tests.compare.test_measures import EXTREMES, extreme, thumbnail


def variant(base: plain.Picture, seed: int) -> plain.Picture:
    """Turned, mirrored, brightened, with noise or with one pixel changed: near and not so near copies."""
    random = np.random.default_rng(seed)
    picture = np.rot90(base, int(random.integers(4))).astype(np.int64)
    if random.random() < 0.3:
        picture = picture[:, ::-1]
    how = random.integers(4)
    if how == 0:
        picture = picture + random.integers(-9, 10)
    elif how == 1:
        picture = picture + np.rint(random.normal(0, random.uniform(0, 9), picture.shape)).astype(np.int64)
    elif how == 2:
        picture = picture.copy()
        picture[random.integers(32), random.integers(32)] = random.integers(0, 256, 3)
    return np.asarray(np.clip(picture, 0, 255), np.uint8)


def library(seed: int, bases: int, variants: int) -> Thumbnails:
    pictures = [thumbnail(seed * 100 + i, 32) for i in range(bases)]
    pictures += [variant(pictures[i % bases], seed * 1000 + i) for i in range(variants)]
    pictures += [extreme(name, seed) for name in EXTREMES]
    return np.stack(pictures)


def ids_of(rows: Iterable[int]) -> list[PictureId]:
    return [PictureId(int(row)) for row in rows]


def run(thumbnails: Thumbnails, limits: Limits, order: list[int], batch: int) -> list[Matches]:
    """Pictures come in batches, each compared with all before it."""
    matcher = Matcher(limits, lambda ids: thumbnails[ids])
    matches: list[Matches] = []
    for start in range(0, len(order), batch):
        ids = ids_of(order[start : start + batch])
        described = descriptors.describe(thumbnails[ids])
        matches += matcher.match(ids, thumbnails[ids], described)
        matcher.add(ids, described)
    return matches


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    tail=st.sampled_from([2, 1000]),
    dense=st.sampled_from([0, 8]),
    seed=st.integers(0, 999),
    keep_mse=st.one_of(st.sampled_from([0.0, 1.0, 25.0, 60.0, 500.0, 65025.0]), st.floats(0, 65025)),
    keep_structure=st.one_of(st.sampled_from([0.0, 0.02, 0.04, 0.3, 4.0]), st.floats(0, 4)),
    mirrored=st.booleans(),
    batch=st.integers(1, 30),
)
def test_matches_equal_brute_force_in_any_order_and_batch_size(
    monkeypatch: pytest.MonkeyPatch,
    tail: int,
    dense: int,
    seed: int,
    keep_mse: float,
    keep_structure: float,
    mirrored: bool,
    batch: int,
) -> None:
    monkeypatch.setattr("dupwatchd.compare.tree.descriptor_candidates._TAIL", tail)
    monkeypatch.setattr("dupwatchd.compare.measures.exact._GRID_PAIRS", dense)
    thumbnails = library(seed, 4, 12)
    limits = Limits(keep_mse, keep_structure, mirrored)
    order = list(np.random.default_rng(seed).permutation(len(thumbnails)))
    assert as_set(run(thumbnails, limits, [int(i) for i in order], batch)) == brute(thumbnails, limits)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), step=st.sampled_from([-1, 0, 1]))
def test_thumbnails_at_the_threshold_are_decided_exactly(seed: int, step: int) -> None:
    random = np.random.default_rng(seed)
    base = random.integers(30, 220, (32, 32, 3)).astype(np.uint8)
    other = base.astype(np.int64)
    # 3072 values of which some differ: the sum of squares is then moved to 25 · 3072 + step
    left = 25 * base.size + step
    places = random.permutation(base.size)
    flat = other.ravel()
    for place in places:
        change = min(int(np.sqrt(left)), int(random.integers(1, 30)))
        if change == 0:
            break
        flat[place] += change if flat[place] + change <= 255 else -change
        left -= change * change
    assert left == 0
    turned = np.rot90(flat.reshape(base.shape), int(random.integers(4))).astype(np.uint8)
    found = Matches.joined(run(np.stack([base, turned]), Limits(25.0, 0.0, False), [0, 1], 1))
    assert bool((found.mse <= 25.0).any()) == (step <= 0)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    tail=st.sampled_from([1, 1000]),
    seed=st.integers(0, 999),
    measure=st.sampled_from(["mse", "structure"]),
    mirrored=st.booleans(),
    data=st.data(),
)
def test_a_limit_at_the_very_value_of_a_pair_takes_it_in_and_one_step_below_leaves_it_out(
    monkeypatch: pytest.MonkeyPatch, tail: int, seed: int, measure: str, mirrored: bool, data: st.DataObject
) -> None:
    monkeypatch.setattr("dupwatchd.compare.tree.descriptor_candidates._TAIL", tail)
    thumbnails = library(seed, 3, 9)
    first, second = data.draw(st.permutations(range(len(thumbnails))))[:2]
    of_pair = exact.measure_pairs(thumbnails[[first]], thumbnails[[second]], mirrored=mirrored)
    value = float(getattr(of_pair, measure)[0])
    for limit in (value, float(np.nextafter(value, -1))):
        if limit < 0:
            continue
        limits = Limits(limit, 0.0, mirrored) if measure == "mse" else Limits(0.0, limit, mirrored)
        found = Matches.joined(run(thumbnails, limits, list(range(len(thumbnails))), 5))
        low, high = sorted((first, second))
        this = (found.a == low) & (found.b == high) & (found.mirrored == mirrored)
        assert (getattr(found, measure)[this] <= limit).any() == (value <= limit)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), side=st.sampled_from([16, 32, 64]))
def test_descriptors_never_exceed_the_measures(seed: int, side: int) -> None:
    random = np.random.default_rng(seed)
    noise = random.integers(0, 256, (side, side, 3)).astype(np.uint8)
    photo = thumbnail(seed, side)
    grey = np.full((side, side, 3), random.integers(256), np.uint8)
    hard = np.where(noise > 127, 255, 0).astype(np.uint8)
    thumbnails = np.stack([noise, photo, grey, hard, np.rot90(photo), photo[:, ::-1]])
    described = descriptors.describe(thumbnails)
    for layout, measure in ((descriptors.STRUCTURE, "structure"), (descriptors.MSE, "mse")):
        sketches = described[:, layout.columns]
        same_for_all = descriptors.lengths(sketches, layout)
        for mirrored in (False, True):
            turns = [descriptors.turned(sketches, layout, quarters, mirrored=mirrored) for quarters in range(4)]
            for a in range(len(thumbnails)):
                for b in range(len(thumbnails)):
                    values = exact.measure_pairs(thumbnails[a][None], thumbnails[b][None], mirrored=mirrored)
                    bound = getattr(values, measure)[0] + layout.slack
                    assert min(((sketches[a] - turn[b]) ** 2).sum() for turn in turns) <= bound
                    assert ((same_for_all[a] - same_for_all[b]) ** 2).sum() <= bound


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_turned_descriptor_is_that_of_the_turned_picture(mirrored: bool) -> None:
    photo = thumbnail(5, 32)
    sketches = descriptors.describe(photo[None])
    pictures = plain.orientations(photo, mirrored)
    of_turned = descriptors.describe(np.stack(pictures))
    for layout in (descriptors.STRUCTURE, descriptors.MSE):
        for quarters in range(4):
            expected = descriptors.turned(sketches[:, layout.columns], layout, quarters, mirrored=mirrored)
            apart = np.abs(of_turned[:, layout.columns] - expected).max(axis=1)
            assert (
                apart.min() < 1e-4 * layout.slack / descriptors.STRUCTURE.slack
            )  # one of the four, the other way round
            assert np.argsort(apart)[0] in (quarters, -quarters % 4)


def test_canonical_descriptors_are_one_for_all_turns_and_the_distance_from_them_is_a_lower_bound() -> None:
    thumbnails = np.stack([np.rot90(thumbnail(seed, 32), turn) for seed in range(20) for turn in range(4)])
    described = descriptors.describe(thumbnails)
    for layout in (descriptors.STRUCTURE, descriptors.MSE):
        sketches = described[:, layout.columns]
        canonical = descriptors.canonical(sketches, layout)
        across, down = layout.slopes
        assert (canonical[:, across] >= np.abs(canonical[:, down])).all()
        assert np.allclose(canonical[0::4], canonical[2::4], atol=1e-3)
        lower = descriptors.distance_from_canonical(sketches, layout)
        apart = np.sqrt(((sketches[:, None] - canonical[None]) ** 2).sum(axis=2))
        assert (lower <= apart.min(axis=1) + 1e-3).all()


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("tail", [1, 10, 40])
def test_trees_and_products_give_the_same_matches(monkeypatch: pytest.MonkeyPatch, tail: int, mirrored: bool) -> None:
    monkeypatch.setattr("dupwatchd.compare.tree.descriptor_candidates._TAIL", tail)
    thumbnails = library(7, 8, 40)
    for limits in (Limits(60.0, 0.04, mirrored), Limits(900.0, 0.3, mirrored)):
        order = list(range(len(thumbnails)))
        expected = brute(thumbnails, limits)
        for batch in (3, 17):
            assert as_set(run(thumbnails, limits, order, batch)) == expected


def test_more_pictures_than_one_tile_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dupwatchd.compare.tree.descriptor_candidates._KNOWN_AT_ONCE", 7)
    monkeypatch.setattr("dupwatchd.compare.tree.descriptor_candidates._NEW_AT_ONCE", 3)
    monkeypatch.setattr("dupwatchd.compare.tree.matcher._PAIRS_AT_ONCE", 5)
    monkeypatch.setattr("dupwatchd.compare.tree.matcher._GRID", (2, 3))
    monkeypatch.setattr("dupwatchd.compare.tree.matcher._CROWD_CANDIDATES", 3)
    monkeypatch.setattr("dupwatchd.compare.tree.candidates._FIRST_CAPACITY", 2)
    monkeypatch.setattr("dupwatchd.compare.tree.candidates._BLOCK", 4)
    monkeypatch.setattr("dupwatchd.compare.tree.candidates._MOST_PAIRS", 9)
    thumbnails = library(1, 5, 30)
    limits = Limits(60.0, 0.04, True)
    assert as_set(run(thumbnails, limits, list(range(len(thumbnails))), 11)) == brute(thumbnails, limits)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    tail=st.sampled_from([1, 5, 1000]),
    crowd=st.sampled_from([1, 3, 1000]),
    seed=st.integers(0, 999),
    keep_mse=st.sampled_from([0.0, 25.0, 500.0, 65025.0]),
    keep_structure=st.sampled_from([0.0, 0.04, 4.0]),
    mirrored=st.booleans(),
    data=st.data(),
)
def test_additions_and_removals_in_any_order_leave_what_is_known(
    monkeypatch: pytest.MonkeyPatch,
    tail: int,
    crowd: int,
    seed: int,
    keep_mse: float,
    keep_structure: float,
    mirrored: bool,
    data: st.DataObject,
) -> None:
    monkeypatch.setattr("dupwatchd.compare.tree.descriptor_candidates._TAIL", tail)
    monkeypatch.setattr("dupwatchd.compare.tree.matcher._CROWD_CANDIDATES", crowd)
    thumbnails = library(seed, 3, 9)
    limits = Limits(keep_mse, keep_structure, mirrored)
    everything = brute(thumbnails, limits)
    matcher = Matcher(limits, lambda ids: thumbnails[ids])
    known: list[int] = []  # in order of arrival
    some = st.lists(st.integers(0, len(thumbnails) - 1), max_size=8, unique=True)
    for _ in range(5):
        gone = data.draw(some, "removed")
        matcher.remove(ids_of(gone))
        known = [one for one in known if one not in gone]
        new = [one for one in data.draw(some, "added") if one not in known]
        described = descriptors.describe(thumbnails[new])
        found = as_set(matcher.match(ids_of(new), thumbnails[new], described))
        living = {*known, *new}
        assert found == {m for m in everything if {m[0], m[1]} <= living and {m[0], m[1]} & {*new}}
        matcher.add(ids_of(new), described)
        known += new
    asked = data.draw(some, "asked again")
    found = as_set(matcher.match_known(ids_of(asked)))
    assert found == {m for m in everything if {m[0], m[1]} <= {*known} and {m[0], m[1]} & {*asked}}
    in_order = matcher.known().tolist()
    assert sorted(in_order) == sorted(known)
    earlier = [
        m for asked in (in_order[:7], in_order[7:]) for m in matcher.match_known(ids_of(asked), only_earlier=True)
    ]
    assert as_set(earlier) == {m for m in everything if {m[0], m[1]} <= {*known}}


def test_threads_find_what_one_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dupwatchd.compare.tree.descriptor_candidates._TAIL", 20)
    monkeypatch.setattr("dupwatchd.compare.tree.boxtree._QUERIES_PER_TASK", 10)
    thumbnails = library(3, 10, 30)
    limits = Limits(60.0, 0.04, True)
    matcher = Matcher(limits, lambda ids: thumbnails[ids])
    ids = ids_of(range(len(thumbnails)))
    matcher.add(ids, descriptors.describe(thumbnails))
    assert as_set(matcher.match_known(ids, threads=3)) == as_set(matcher.match_known(ids)) == brute(thumbnails, limits)


def test_frames_of_a_film_are_measured_as_grids() -> None:
    random = np.random.default_rng(5)
    film = thumbnail(1, 32).astype(np.int64) + np.rint(random.normal(0, 2, (120, 32, 32, 3))).astype(np.int64)
    thumbnails = np.concatenate([np.clip(film, 0, 255).astype(np.uint8), library(2, 3, 6)])
    limits = Limits(50.0, 0.04, False)
    found = as_set(run(thumbnails, limits, list(range(len(thumbnails))), 50))
    assert found == brute(thumbnails, limits)
    assert len(found) > 7000
