"""Every candidate and nothing else: the search against `placement_of` for all pairs."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dupwatchd.compare.parts import few, search, trees
from dupwatchd.compare.parts.agreement import placement_of
from dupwatchd.compare.parts.keypoint_tree import FARTHEST, KeypointTree
from dupwatchd.compare.parts.meeting import MOST_ALIKE, Points, Sought, around, meetings, meets, table_of
from dupwatchd.compare.parts.packed import Packed
from dupwatchd.compare.parts.search import PartSearch
from dupwatchd.model import PictureId
from dupwatchd.pixels.keypoints import Keypoints
from tests.compare.keypoints_made import KINDS, cropped, hostile, leaning, scattered

# How few keypoints, and pairs of pictures, are searched without trees: none, some of what a test has, all.
FEW_KEYPOINTS = st.sampled_from([-1, 100, 1 << 15])
FEW_PAIRS = st.sampled_from([-1, 6, 4096])
WITHIN_A_TEST = [HealthCheck.function_scoped_fixture]

Found = dict[tuple[int, int], int]  # votes of candidates


def brute(pictures: dict[int, Keypoints]) -> Found:
    """All candidates."""
    pairs = itertools.combinations(sorted(pictures), 2)
    placed = {(a, b): placement_of(pictures[a], pictures[b]) for a, b in pairs}
    return {pair: placement.votes for pair, placement in placed.items() if placement is not None}


def as_found(candidates: Iterable[tuple[PictureId, PictureId, int]]) -> Found:
    rows = list(candidates)
    found: Found = {(a, b): votes for a, b, votes in rows}
    assert len(found) == len(rows), "a pair was given twice"
    assert all(a < b for a, b in found)
    return found


def library(seed: int, kind: str, count: int) -> list[Keypoints]:
    """Pictures of one kind, and crops of some: turned, enlarged."""
    random = np.random.default_rng(seed)
    pictures = [hostile(seed * 100 + number, kind) for number in range(count)]
    whole = scattered(seed, 40, 192, 192)
    for _ in range(count // 3):
        left, top = random.integers(0, 60, 2).tolist()
        part = cropped(whole, left=left, top=top, width=120, height=130, scale=float(random.uniform(0.7, 1.5)))
        pictures.append(leaning(part, float(random.uniform(-180, 180))))
    return [pictures[place] for place in random.permutation(len(pictures))]


def ids_of(numbers: Iterable[int]) -> list[PictureId]:
    return [PictureId(int(number)) for number in numbers]


def run(pictures: Sequence[Keypoints], order: Sequence[int], batch: int) -> Found:
    """Pictures come in batches, each compared with all before it."""
    known = PartSearch()
    found: list[tuple[PictureId, PictureId, int]] = []
    for start in range(0, len(order), batch):
        ids = ids_of(order[start : start + batch])
        keypoints = [pictures[one] for one in ids]
        found += known.match(ids, keypoints)
        known.add(ids, keypoints)
    assert len(known) == len(order)
    return as_found(found)


def test_where_many_pictures_are_expected_none_are_compared_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(few, "candidates")
    pictures = library(3, KINDS[0], 15)
    found = PartSearch().match(ids_of(range(len(pictures))), pictures, expected=2000)
    assert as_found(found) == brute(dict(enumerate(pictures)))
    with pytest.raises(AttributeError):
        list(PartSearch().match(ids_of(range(len(pictures))), pictures, expected=200))


def be_few(monkeypatch: pytest.MonkeyPatch, keypoints: int, pairs: int) -> None:
    """Let so few be searched without trees."""
    monkeypatch.setattr(search, "_FEW_KEYPOINTS", keypoints)
    monkeypatch.setattr(search, "_FEW_PAIRS", pairs)


@settings(max_examples=30, deadline=None, suppress_health_check=WITHIN_A_TEST)
@given(
    seed=st.integers(0, 10**5),
    kind=st.sampled_from(KINDS),
    batch=st.integers(1, 30),
    few_keypoints=FEW_KEYPOINTS,
    few_pairs=FEW_PAIRS,
    at_once=st.sampled_from([1, 3, 1024]),
    meetings=st.sampled_from([1, 100, 1 << 22]),
    small=st.sampled_from([0, 4, 64]),
    many=st.sampled_from([0, 40, 1024]),
)
def test_candidates_equal_brute_force_in_any_order_and_batch_size(
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
    kind: str,
    batch: int,
    few_keypoints: int,
    few_pairs: int,
    at_once: int,
    meetings: int,
    small: int,
    many: int,
) -> None:
    be_few(monkeypatch, few_keypoints, few_pairs)
    monkeypatch.setattr(trees, "_AT_ONCE", at_once)
    monkeypatch.setattr(trees, "_MOST_MEETINGS", meetings)
    monkeypatch.setattr(trees, "_SMALL", small)
    monkeypatch.setattr(trees, "_MANY", many)
    pictures = library(seed, kind, 15)
    order = np.random.default_rng(seed).permutation(len(pictures)).tolist()
    assert run(pictures, order, batch) == brute(dict(enumerate(pictures)))


def best_of(found: Found, one: int, count: int) -> Found:
    """Those candidates of a picture that fewer than so many others have more votes than."""
    own = {pair: votes for pair, votes in found.items() if one in pair}
    least = (*sorted(own.values(), reverse=True), *[0] * count)[count - 1]
    return {pair: votes for pair, votes in own.items() if votes >= least}


@settings(max_examples=25, deadline=None, suppress_health_check=WITHIN_A_TEST)
@given(
    seed=st.integers(0, 10**5),
    kind=st.sampled_from(KINDS),
    batch=st.integers(1, 12),
    best=st.integers(1, 4),
    few_keypoints=FEW_KEYPOINTS,
    few_pairs=FEW_PAIRS,
)
def test_the_best_of_every_picture_come_in_any_order_and_batch_size(
    monkeypatch: pytest.MonkeyPatch, seed: int, kind: str, batch: int, best: int, few_keypoints: int, few_pairs: int
) -> None:
    be_few(monkeypatch, few_keypoints, few_pairs)
    pictures = [*library(seed, kind, 12), *frames_of_a_film(seed, 8)]
    order = np.random.default_rng(seed).permutation(len(pictures)).tolist()
    known = PartSearch()
    found: Found = {}
    for start in range(0, len(order), batch):
        ids = ids_of(order[start : start + batch])
        keypoints = [pictures[one] for one in ids]
        found |= as_found(known.match(ids, keypoints, best))
        votes = [sorted((found[pair] for pair in found if one in pair), reverse=True) for one in ids]
        known.add(ids, keypoints, [(*each, *[0] * best)[best - 1] for each in votes])
    everything = brute(dict(enumerate(pictures)))
    assert found.items() <= everything.items()
    for one in range(len(pictures)):
        assert best_of(everything, one, best).items() <= found.items()


def test_few_come_of_a_crowd_but_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    be_few(monkeypatch, -1, -1)
    known = PartSearch()
    frames = frames_of_a_film(7, 640)
    known.add(ids_of(range(600)), frames[:600], [32] * 600)
    asked = [(PictureId(number), frames[number]) for number in range(600, 640)]
    best = sum(len(as_found(known.match([one], [keypoints], best=12))) for one, keypoints in asked)
    every = sum(len(as_found(known.match([one], [keypoints]))) for one, keypoints in asked)
    assert every == 40 * 600
    assert 40 * 12 <= best < every / 2


def frames_of_a_film(seed: int, count: int) -> list[Keypoints]:
    """The same keypoints, but for a few that come and go, and some noise."""
    whole = scattered(seed, 40, 192, 192)
    made = []
    for number in range(count):
        random = np.random.default_rng([seed, number])
        kept = np.flatnonzero(random.random(40) < 0.8)
        coefficients = whole.coefficients[kept] + random.integers(-2, 3, (len(kept), 16))
        x, y = (places[kept] + random.integers(0, 4, len(kept)) for places in (whole.x, whole.y))
        made.append(
            Keypoints(
                192,
                200,
                x.astype(np.int16),
                y.astype(np.int16),
                whole.scale[kept],
                whole.turn[kept],
                np.clip(coefficients, -127, 127).astype(np.int8),
            )
        )
    return made


@settings(max_examples=25, deadline=None, suppress_health_check=WITHIN_A_TEST)
@given(
    seed=st.integers(0, 10**5),
    kind=st.sampled_from(KINDS),
    steps=st.integers(1, 12),
    few_keypoints=FEW_KEYPOINTS,
    few_pairs=FEW_PAIRS,
)
def test_removed_pictures_are_no_candidates_until_they_are_added_again(
    monkeypatch: pytest.MonkeyPatch, seed: int, kind: str, steps: int, few_keypoints: int, few_pairs: int
) -> None:
    be_few(monkeypatch, few_keypoints, few_pairs)
    random = np.random.default_rng(seed)
    pictures = library(seed, kind, 15)
    everything = brute(dict(enumerate(pictures)))
    known, inside = PartSearch(), set[int]()
    for _ in range(steps):
        outside = [one for one in range(len(pictures)) if one not in inside]
        some = random.permutation(outside)[: random.integers(0, 15)]
        known.add(ids_of(some), [pictures[one] for one in some])
        inside |= set(some.tolist())
        gone = random.permutation(len(pictures))[: random.integers(0, 15)]
        known.remove(ids_of(gone))
        inside -= set(gone.tolist())
        assert len(known) == len(inside)
        asked = random.permutation([one for one in range(len(pictures)) if one not in inside])[:5].tolist()
        found = as_found(known.match(ids_of(asked), [pictures[one] for one in asked]))
        there = inside.union(asked)
        assert found == {
            pair: votes for pair, votes in everything.items() if there.issuperset(pair) and not inside.issuperset(pair)
        }


def test_a_picture_that_need_not_be_known_is_searched() -> None:
    whole = scattered(5, 40, 192, 192)
    known = PartSearch()
    known.add([PictureId(0)], [whole])
    part = cropped(whole, left=20, top=20, width=120, height=130, scale=1.0)
    assert as_found(known.match([PictureId(-1)], [part])) == brute({-1: part, 0: whole}) != {}
    assert as_found(known.match([PictureId(7)], [part])) == brute({0: whole, 7: part}) != {}


def test_once_ready_a_picture_waits_for_no_tree_of_those_that_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    be_few(monkeypatch, keypoints=100, pairs=-1)
    pictures = library(7, "crowded", 12)
    known = PartSearch()
    known.add(ids_of(range(len(pictures))), pictures)
    known.be_ready()
    built: list[int] = []

    def build(points: Points) -> KeypointTree:
        built.append(len(points))
        return KeypointTree(points)

    monkeypatch.setattr(trees, "KeypointTree", build)
    new = pictures[3]
    found = as_found(known.match(ids_of([99]), [new]))
    assert found == {pair: votes for pair, votes in brute({**dict(enumerate(pictures)), 99: new}).items() if 99 in pair}
    assert found
    assert built == [len(Packed.of([99], [new]).coefficients)]


def test_nothing_is_known_or_asked() -> None:
    known = PartSearch()
    some, none = scattered(6, 10, 192, 192), scattered(6, 0, 192, 192)
    assert list(known.match([], [])) == list(known.match([PictureId(3)], [some])) == []
    known.add([], [])
    known.remove(ids_of([-1, 4]))
    known.add(ids_of([1, 2]), [none, some])
    assert list(known.match([PictureId(3)], [none])) == []
    known.remove(ids_of([1, 2]))
    assert len(known) == 0
    assert list(known.match([PictureId(3)], [some])) == []


def test_stripes_and_text_take_no_part() -> None:
    pictures = [hostile(seed, "constant") for seed in range(30)]
    assert max(map(len, pictures)) > 8
    assert run([one for one in pictures if len(one) > 4], range(sum(len(one) > 4 for one in pictures)), 10) == {}


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000), kind=st.sampled_from(KINDS), count=st.integers(0, 12), alike=st.sampled_from([2, 30])
)
def test_pictures_that_were_stored_are_those_that_were_known(seed: int, kind: str, count: int, alike: int) -> None:
    random = np.random.default_rng(seed)
    pictures = library(seed, kind, count)
    # those of some resemble each other, so that a few, some or all of them take no part
    pictures = [
        replace(one, coefficients=one.coefficients[random.integers(0, alike, len(one)) % max(1, len(one))])
        for one in pictures
    ]
    ids, data = range(len(pictures)), [one.to_bytes() for one in pictures]
    known, stored = Packed.of(ids, [Keypoints.from_bytes(one) for one in data]), Packed.stored(ids, data)
    for one, other in zip((known.ids, *known.arrays()), (stored.ids, *stored.arrays()), strict=True):
        assert np.array_equal(one, other)
    for number, picture in enumerate(pictures):
        taking_part = picture.coefficients[[meets_few(picture, one) for one in range(len(picture))]]
        for packed in (known, stored):
            assert np.array_equal(packed.picture(number).coefficients, taking_part)


def meets_few(picture: Keypoints, one: int) -> bool:
    """Whether a keypoint takes part, told one by one."""
    points = picture.coefficients.astype(int)
    squares = np.square(points).sum(axis=1)
    apart = np.square(points - points[one]).sum(axis=1)
    return sum(bool(meets(*told, squares[one])) for told in zip(apart, squares, strict=True)) - 1 <= MOST_ALIKE


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), length=st.floats(0, 160))
def test_all_that_meets_a_point_lies_in_the_ball_that_is_searched(seed: int, length: float) -> None:
    random = np.random.default_rng(seed)
    ways = random.normal(size=(300, 16))
    some = np.rint(length * ways / np.linalg.norm(ways, axis=1, keepdims=True)).clip(-127, 127).astype(np.int8)
    longer = random.uniform(0.8, 1.2, (len(some), 1))
    moved = longer * some + random.normal(size=some.shape) * random.uniform(0, 5)
    others = np.clip(np.rint(moved), -127, 127).astype(np.int8)
    distances = np.square(some.astype(np.int64) - others).sum(axis=1)
    squares = [np.square(one.astype(np.int64)).sum(axis=1) for one in (some, others)]
    middles, bounds = around(some)
    is_within = np.square(middles.astype(np.int64) - others).sum(axis=1) <= bounds
    assert is_within[meets(distances, *squares)].all()


def points(seed: int, count: int) -> Points:
    """Some points are there many times, many differ little."""
    random = np.random.default_rng(seed)
    spread = random.permutation(np.geomspace(60, 0.5, 16))
    made: Points = np.clip(np.rint(random.normal(size=(count, 16)) * spread), -127, 127).astype(np.int8)
    made[:: random.integers(1, 50)] = made[0]
    return made


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    count=st.one_of(st.sampled_from([1, 15, 16, 17, 31, 33, 255, 257, 4097]), st.integers(1, 700)),
    share=st.floats(0, 1),
)
def test_all_points_within_a_distance_are_found_once(seed: int, count: int, share: float) -> None:
    known = points(seed, count)
    queries = np.concatenate([known[:40], points(seed + 1, 20), np.full((1, 16), -127, np.int8)])
    distances = np.square(queries[:, None].astype(np.int64) - known).sum(axis=2)
    for most in (min(FARTHEST, int(np.quantile(distances, share, method="lower"))), 161, 0):
        some = [np.stack(one) for one in KeypointTree(known).within(queries, np.full(len(queries), most, np.int32))]
        of_query, rows = np.concatenate([np.zeros((2, 0), np.int64), *some], axis=1)
        assert (np.diff(of_query) >= 0).all()
        found = np.stack([of_query, rows])[:, np.lexsort((rows, of_query))]
        assert np.array_equal(found, np.nonzero(distances <= most))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), asked=st.integers(0, 200), count=st.sampled_from([0, 1, 500, 1700]))
def test_points_that_meet_are_found_in_pieces_as_in_one(seed: int, asked: int, count: int) -> None:
    known = points(seed, count) if count else np.empty((0, 16), np.int8)
    near = known[: asked // 2] // 8 * 8
    queries = np.concatenate([near, points(seed + 1, asked + 1)])
    expected = sorted(zip(*(rows.tolist() for rows in meetings(queries, table_of(known))), strict=True))
    for ordered in (False, True):
        sought = Sought(known, ordered=ordered)
        found = sought.meetings(queries, len(expected))
        assert found is not None
        assert sorted(zip(*(rows.tolist() for rows in found), strict=True)) == expected
        assert not expected or sought.meetings(queries, len(expected) - 1) is None
