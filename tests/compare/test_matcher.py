"""Every match and nothing else: the matcher against all pairs in the plainest way."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dupwatchd.arrays import Thumbnails
from dupwatchd.compare import descriptors, measures
from dupwatchd.compare.matcher import Matcher
from dupwatchd.model import Limits, Match, PictureId
from tests.compare import plain
from tests.compare.test_measures import EXTREMES, extreme, thumbnail

Found = set[tuple[int, int, bool, float, float]]


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


def brute(thumbnails: Thumbnails, limits: Limits) -> Found:
    found: Found = set()
    for a in range(len(thumbnails)):
        for b in range(a + 1, len(thumbnails)):
            for mirrored in (False, True) if limits.mirrored else (False,):
                mse = plain.mse(thumbnails[a], thumbnails[b], mirrored)
                structure = plain.structure(thumbnails[a], thumbnails[b], mirrored)
                if mse <= limits.keep_mse or structure <= limits.keep_structure:
                    found.add((a, b, mirrored, mse, round(structure, 12)))
    return found


def as_set(matches: list[Match]) -> Found:
    found: Found = {(m.a, m.b, m.mirrored, m.mse, round(m.structure, 12)) for m in matches}
    assert len(found) == len(matches), "a match was given twice"
    return found


def run(thumbnails: Thumbnails, limits: Limits, order: list[int], batch: int) -> list[Match]:
    matcher = Matcher(limits, lambda ids: thumbnails[ids])
    matches: list[Match] = []
    for start in range(0, len(order), batch):
        ids = [PictureId(i) for i in order[start : start + batch]]
        described = descriptors.describe(thumbnails[ids])
        matches += matcher.match(ids, thumbnails[ids], described)
        matcher.add(ids, described)
    return matches


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 999),
    keep_mse=st.sampled_from([0.0, 1.0, 25.0, 60.0, 500.0, 65025.0]),
    keep_structure=st.sampled_from([0.0, 0.02, 0.04, 0.3, 4.0]),
    mirrored=st.booleans(),
    batch=st.integers(1, 30),
)
def test_matches_equal_brute_force_in_any_order_and_batch_size(
    seed: int, keep_mse: float, keep_structure: float, mirrored: bool, batch: int
) -> None:
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
    found = run(np.stack([base, turned]), Limits(25.0, 0.0, False), [0, 1], 1)
    assert bool([m for m in found if m.mse <= 25.0]) == (step <= 0)


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
    half = descriptors.LENGTHS
    for a in range(len(thumbnails)):
        for b in range(len(thumbnails)):
            for mirrored in (False, True):
                values = measures.measure_pairs(thumbnails[a][None], thumbnails[b][None], mirrored=mirrored)
                p, q = described[a], described[b]
                assert ((p[:half] - q[:half]) ** 2).sum() <= values.structure[0] + descriptors.STRUCTURE_SLACK
                assert ((p[half:] - q[half:]) ** 2).sum() <= values.mse[0] + descriptors.MSE_SLACK


def test_more_pictures_than_one_tile_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dupwatchd.compare.matcher._KNOWN_AT_ONCE", 7)
    monkeypatch.setattr("dupwatchd.compare.matcher._NEW_AT_ONCE", 3)
    monkeypatch.setattr("dupwatchd.compare.matcher._PAIRS_AT_ONCE", 5)
    monkeypatch.setattr("dupwatchd.compare.matcher._FIRST_CAPACITY", 2)
    thumbnails = library(1, 5, 30)
    limits = Limits(60.0, 0.04, True)
    assert as_set(run(thumbnails, limits, list(range(len(thumbnails))), 11)) == brute(thumbnails, limits)
