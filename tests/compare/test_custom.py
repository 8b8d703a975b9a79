"""The user's own measure: found and tried, searched exactly, and never believed."""

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dupwatchd.arrays import Matches, Thumbnails
from dupwatchd.compare.custom import features, measure
from dupwatchd.compare.custom.features import FeatureSearch
from dupwatchd.compare.custom.hashes import HashSearch
from dupwatchd.compare.custom.kinds import FeatureMeasure
from dupwatchd.compare.dense import all_pairs
from dupwatchd.compare.dense.all_pairs import AllPairs
from dupwatchd.compare.dense.device import Device
from dupwatchd.compare.forest.spanning import spanning, to_rejoin
from dupwatchd.compare.search import CustomMeasure, custom_search, load_custom
from dupwatchd.errors import UsageError
from dupwatchd.model import Limits, PictureId
from tests.compare import plain
from tests.compare.test_dense import library
from tests.compare.test_device import KINDS, Apart, ApartModule, make_device

Found = dict[tuple[int, int, bool], float]
CustomSearch = FeatureSearch | HashSearch | AllPairs


# functions as users write them


def corner_pixels(thumbnails: Thumbnails) -> Any:
    return thumbnails[:, :10, :10].reshape(len(thumbnails), 300)


def colour(thumbnails: Thumbnails) -> Any:
    return thumbnails[:, :16].mean(axis=(1, 2))


def brightness(thumbnails: Thumbnails) -> Any:
    return [[int(one[:9].sum())] for one in thumbnails]


def far_from_the_origin(thumbnails: Thumbnails) -> Any:
    return thumbnails[:, ::5, ::7, 0].reshape(len(thumbnails), -1) * 0.25 + 1e6


def huge(thumbnails: Thumbnails) -> Any:
    return corner_pixels(thumbnails) * 1e60


def tiny(thumbnails: Thumbnails) -> Any:
    return corner_pixels(thumbnails) * 1e-60


def all_equal(thumbnails: Thumbnails) -> Any:
    return np.full((len(thumbnails), 20), 7.5)


def bits(thumbnails: Thumbnails) -> Any:
    return thumbnails[:, ::4, ::4, 1].reshape(len(thumbnails), 64) > 128


def projected(thumbnails: Thumbnails) -> Any:
    """Sums of float32 in an order that depends on how many there are."""
    weights = np.random.default_rng(1).normal(size=(thumbnails[:1].size, 40)).astype(np.float32)
    return thumbnails.reshape(len(thumbnails), -1).astype(np.float32) @ weights


def other_alone(thumbnails: Thumbnails) -> Any:
    return thumbnails[:, 0, 0].astype(np.float32) * (1 + 2.0**-17 * (len(thumbnails) == 1))


FEATURES = [corner_pixels, colour, brightness, far_from_the_origin, huge, tiny, all_equal, bits]


def absolute(first: Any, second: Any) -> Any:
    return abs(first.astype(np.int64) - second).sum(axis=(1, 2, 3))


def upper_half(first: Any, second: Any) -> Any:
    """Not the same for all turns, and it writes to what it is given."""
    first[:, 16:] = second[:, 16:]
    return abs(first.astype(np.int64) - second).mean(axis=(1, 2, 3))


seen: list[type] = []


def on_gpu(first: Any, second: Any) -> Any:
    seen.append(type(first))
    return absolute(first, second)


on_gpu.gpu = True  # type: ignore[attr-defined]


def grey_hash(thumbnails: Thumbnails) -> Any:
    return (thumbnails[:, :16, :16].mean(axis=(1, 2, 3)) // 24).astype(np.uint64)


def text_hash(thumbnails: Thumbnails) -> Any:
    """Other values for mirror images."""
    return [f"{value:.0f}" for value in thumbnails[:, :8, :16].mean(axis=(1, 2, 3)) // 60]


def byte_hash(thumbnails: Thumbnails) -> Any:
    return tuple(bytes([value, 0]) for value in grey_hash(thumbnails))


def pixel_hash(thumbnails: Thumbnails) -> Any:
    """Another pixel in each of the eight orientations."""
    return thumbnails[:, 0, 1, 0]


def same_hash(thumbnails: Thumbnails) -> Any:
    return np.zeros(len(thumbnails), np.int8)


def custom(function: Callable[..., Any] | str, side: int = 32) -> CustomMeasure:
    name = function if isinstance(function, str) else function.__name__
    return load_custom(f"{__name__}:{name}", side)


# what they are held against


def in_order(a: plain.Picture, b: plain.Picture) -> tuple[plain.Picture, plain.Picture]:
    return (a, b) if a.tobytes() <= b.tobytes() else (b, a)


def value_of(function: Callable[..., Any], a: plain.Picture, b: plain.Picture, mirrored: bool) -> float:
    """One pair, one turn at a time."""
    a, b = in_order(a, b)
    values = []
    for turned in plain.orientations(b, mirrored):
        if function in FEATURES:
            f, g = (np.asarray(function(one[None].copy()), np.float64)[0] for one in (a, turned))
            values.append(((f - g) ** 2).sum())
        else:
            values.append(function(a[None].copy(), turned[None].copy())[0])
    return float(min(values))


def brute(function: Callable[..., Any], thumbnails: Thumbnails, mirrored: bool) -> Found:
    return {
        (a, b, flip): value_of(function, thumbnails[a], thumbnails[b], flip)
        for a, b in itertools.combinations(range(len(thumbnails)), 2)
        for flip in ((False, True) if mirrored else (False,))
    }


def within(values: Found, keep: float) -> Found:
    return {pair: value for pair, value in values.items() if value <= keep}


def as_found(parts: list[Matches]) -> Found:
    rows = Matches.joined(parts).rows()
    found = {(a, b, bool(flip)): value for a, b, flip, _, _, value in rows if value is not None}
    assert len(found) == len(rows), "a match was given twice"
    assert all(a < b for a, b, _ in found)
    return found


def searched(search: CustomSearch, thumbnails: Thumbnails, order: list[int], batch: int) -> list[Matches]:
    parts: list[Matches] = []
    for start in range(0, len(order), batch):
        ids = ids_of(order[start : start + batch])
        parts += search.match(ids, thumbnails[ids])
        search.add(ids, thumbnails[ids])
    return parts


def ids_of(numbers: Iterable[int]) -> list[PictureId]:
    return [PictureId(one) for one in numbers]


def search_by(
    measure: CustomMeasure, thumbnails: Thumbnails, keep: float, mirrored: bool, device: Device | None = None
) -> CustomSearch:
    limits = Limits(0.0, 0.0, mirrored, "the user's", keep)
    search = custom_search(measure, limits, lambda ids: thumbnails[ids], device or make_device("cpu"))
    assert isinstance(search, FeatureSearch | HashSearch | AllPairs)
    return search


def new_search(
    function: Callable[..., Any], thumbnails: Thumbnails, keep: float, mirrored: bool, device: Device | None = None
) -> CustomSearch:
    return search_by(custom(function), thumbnails, keep, mirrored, device)


def values_between(
    measure: CustomMeasure, first: Thumbnails, second: Thumbnails, mirrored: bool
) -> NDArray[np.float64]:
    return best(measure, first, second, mirrored)[0]


def best(
    measure: CustomMeasure, first: Thumbnails, second: Thumbnails, mirrored: bool
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    return measure.best(first, second, np.arange(len(first)), np.arange(len(first)), mirrored=mirrored)


# features


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("function", FEATURES)
def test_near_features_are_found_as_by_brute_force_at_every_threshold(
    function: Callable[..., Any], mirrored: bool
) -> None:
    thumbnails = library(1)
    everything = brute(function, thumbnails, mirrored)
    values = np.unique(list(everything.values()))
    order = np.random.default_rng(0).permutation(len(thumbnails)).tolist()
    for number, value in enumerate(values[:: max(1, len(values) // 3)]):
        for keep, batch in ((float(value), (1, 6)[number % 2]), (float(np.nextafter(value, 0)), (6, 1)[number % 2])):
            found = as_found(searched(new_search(function, thumbnails, keep, mirrored), thumbnails, order, batch))
            assert found == within(everything, keep)
    everywhere = new_search(function, thumbnails, 1e300, mirrored)
    assert as_found(searched(everywhere, thumbnails, order, 7)) == everything


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    width=st.integers(1, 20),
    offset=st.sampled_from([0, 1e3, 1e6, 1e9]),
    scale=st.sampled_from([1e-9, 1.0, 1e6]),
    spread=st.sampled_from([1e-6, 1e-3, 1.0]),
    share=st.sampled_from([0.0, 0.001, 0.01, 0.05, 0.3, 1.0]),
    batch=st.sampled_from([2, 7, 64]),
)
def test_random_features_of_any_offset_and_scale_are_found(
    seed: int, width: int, offset: float, scale: float, spread: float, share: float, batch: int
) -> None:
    random = np.random.default_rng(seed)
    table = random.normal(size=(256, width)) * np.geomspace(1, 1e-3, width)  # some lie close together
    table[8:] = table[random.integers(0, 8, 248)] + spread * table[8:]
    table = offset + scale * table
    thumbnails = np.unique(random.integers(0, 256, (20, 4)), axis=0).astype(np.uint8)[:, :, None, None]
    thumbnails = np.ascontiguousarray(np.broadcast_to(thumbnails.repeat(4, axis=1), (len(thumbnails), 16, 16, 3)))

    def features(some: Thumbnails) -> NDArray[np.float64]:
        return np.asarray(table[some[:, 0, 0, 0]])  # of the upper left corner, which turns change

    measure = custom(all_equal)
    assert isinstance(measure, FeatureMeasure)
    measure._function._function = features
    measure.numbers, measure.rounding = width, 0.0
    values = {
        (a, b, False): float(values_between(measure, thumbnails[[a]], thumbnails[[b]], False)[0])
        for a, b in itertools.combinations(range(len(thumbnails)), 2)
    }
    keep = float(np.quantile(list(values.values()), share, method="lower"))
    search = search_by(measure, thumbnails, keep, False)
    order = random.permutation(len(thumbnails)).tolist()
    assert as_found(searched(search, thumbnails, order, batch)) == within(values, keep)


def test_features_that_differ_by_rounding_from_call_to_call_are_found_all_the_same() -> None:
    thumbnails = library(2)
    pairs = list(itertools.combinations(range(len(thumbnails)), 2))
    first, second = np.array(pairs).T
    values = values_between(custom(projected), thumbnails[first], thumbnails[second], False)
    ordered = np.sort(values)
    for place in range(0, len(ordered) - 1, 20):
        if ordered[place + 1] < 1.01 * ordered[place]:
            continue
        keep = float((ordered[place] + ordered[place + 1]) / 2)  # where rounding decides nothing
        for batch in (1, 4, 100):
            search = new_search(projected, thumbnails, keep, False)
            found = as_found(searched(search, thumbnails, list(range(len(thumbnails))), batch))
            assert {pair[:2] for pair in found} == {pairs[i] for i in np.flatnonzero(values <= keep)}


def test_features_that_are_others_for_one_thumbnail_than_for_many_by_as_much_as_is_allowed() -> None:
    thumbnails = np.arange(1, 255, 4, dtype=np.uint8)[:, None, None, None].repeat(32, 1).repeat(32, 2).repeat(3, 3)
    for place in range(10, 40):
        keep = float(values_between(custom(other_alone), thumbnails[[place]], thumbnails[[place + 1]], False)[0])
        for new in (place, place + 1):
            search = new_search(other_alone, thumbnails, keep, False)
            known = ids_of(i for i in range(len(thumbnails)) if i not in (place - 1, new, place + 2))
            search.add(known, thumbnails[known])
            assert as_found(list(search.match(ids_of([new]), thumbnails[[new]]))) == {(place, place + 1, False): keep}


@pytest.mark.parametrize("mirrored", [False, True])
def test_many_small_pieces_lose_nothing(monkeypatch: pytest.MonkeyPatch, mirrored: bool) -> None:
    monkeypatch.setattr(features, "_FEATURE_BYTES", 8 * 4 * 300 * 5)
    monkeypatch.setattr("dupwatchd.compare.tree.candidates._MOST_PAIRS", 3)
    monkeypatch.setattr("dupwatchd.compare.tree.matcher._PAIRS_AT_ONCE", 7)
    monkeypatch.setattr("dupwatchd.compare.tree.matcher._CROWD_CANDIDATES", 5)
    monkeypatch.setattr(features, "_FITTED_TO", 3)
    monkeypatch.setattr(measure, "_BYTES_AT_ONCE", 2 * 3072)
    monkeypatch.setattr(measure, "_TILE_PICTURES", 3)
    thumbnails = library(3)
    everything = brute(corner_pixels, thumbnails, mirrored)
    keep = float(np.median(list(everything.values())))
    for batch in (3, 100):
        search = new_search(corner_pixels, thumbnails, keep, mirrored)
        assert as_found(searched(search, thumbnails, list(range(len(thumbnails))), batch)) == within(everything, keep)


def test_features_are_made_once_for_a_picture_that_is_asked_for_and_then_added() -> None:
    thumbnails = library(4)
    measure = custom(corner_pixels)
    calls: list[int] = []

    def counted(some: Thumbnails) -> Any:
        calls.append(len(some))
        return corner_pixels(some)

    measure._function._function = counted
    search = search_by(measure, thumbnails, 0.0, False)
    known, new = ids_of([1, 2, 3]), ids_of([4, 5])
    search.add(known, thumbnails[known])
    calls.clear()
    list(search.match(new, thumbnails[new]))
    search.add(new, thumbnails[new])
    assert calls == [2, 2, 2, 2]


# distances


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("function", [absolute, upper_half, on_gpu])
def test_distances_are_taken_of_every_pair(function: Callable[..., Any], mirrored: bool, kind: str) -> None:
    device, thumbnails = make_device(kind), library(5)
    everything = brute(function, thumbnails, mirrored)
    values = sorted(everything.values())
    seen.clear()
    for keep in (values[len(values) // 3], float(np.nextafter(values[len(values) // 3], 0)), 1e9):
        search = new_search(function, thumbnails, keep, mirrored, device)
        seen.clear()
        found = as_found(searched(search, thumbnails, list(range(len(thumbnails))), 7))
        if kind == "cpu":
            assert found == within(everything, keep)
        assert found.keys() == within(everything, keep).keys()
    if function is on_gpu:
        assert set(seen) == {{"cpu": np.ndarray, "apart": Apart}.get(kind, device.xp.ndarray)}


def test_many_small_stacks_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(all_pairs, "_READ_BYTES", 5 * 3072)
    monkeypatch.setattr(all_pairs, "_NEW_AT_ONCE", 4)
    monkeypatch.setattr(all_pairs, "_ROWS_AT_ONCE", 3)
    monkeypatch.setattr(all_pairs, "_TILE_PICTURES", (2, 3))
    monkeypatch.setattr(measure, "_TILE_PICTURES", 2)
    monkeypatch.setattr(measure, "_BYTES_AT_ONCE", 4 * 3072)
    thumbnails = library(6)
    everything = brute(absolute, thumbnails, True)
    keep = float(np.median(list(everything.values())))
    for batch in (3, 100):
        search = new_search(absolute, thumbnails, keep, True)
        assert as_found(searched(search, thumbnails, list(range(len(thumbnails))), batch)) == within(everything, keep)


def test_a_function_that_fails_on_the_gpu_is_called_with_arrays_of_numpy() -> None:
    class Broken(ApartModule):
        def asnumpy(self, array: Any) -> Any:
            raise RuntimeError("cudaErrorIllegalAddress")

    said: list[str] = []
    device = Device("cuda: old", Broken(), 1 << 30, said.append)
    thumbnails = library(7)
    found = searched(new_search(on_gpu, thumbnails, 1e9, False, device), thumbnails, list(range(len(thumbnails))), 5)
    assert as_found(found) == brute(on_gpu, thumbnails, False)
    assert said == ["cuda: old failed (cudaErrorIllegalAddress); the CPU goes on with comparing"]


# features and distances alike


@pytest.mark.parametrize("function", [corner_pixels, absolute])
def test_removed_pictures_match_nothing_and_known_ones_can_be_asked_for_again(function: Callable[..., Any]) -> None:
    thumbnails = library(8)
    everything = brute(function, thumbnails, True)
    keep = float(np.median(list(everything.values())))
    search = new_search(function, thumbnails, keep, True)
    alive = set(range(len(thumbnails)))
    searched(search, thumbnails, sorted(alive), 4)
    for gone, asked in (([3, 4, 999], [3]), ([0, 1, 2, 5, 6, 7, 8], [3, 9, 10]), ([], [12, 9])):
        search.remove(ids_of([*gone, *asked]))
        alive -= set(gone)
        expected = {
            pair: value
            for pair, value in within(everything, keep).items()
            if not {*asked}.isdisjoint(pair[:2]) and {*pair[:2]} <= alive | {*asked}
        }
        assert as_found(list(search.match(ids_of(asked), thumbnails[asked]))) == expected
        search.add(ids_of(asked), thumbnails[asked])
        alive |= {*asked}


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("function", [corner_pixels, upper_half])
def test_values_are_those_of_the_search_whichever_is_named_first(function: Callable[..., Any], mirrored: bool) -> None:
    thumbnails = library(9)
    measure, everything = custom(function), brute(function, thumbnails, mirrored)
    some = [pair for pair in everything if pair[2] == mirrored]
    first, second = (thumbnails[[pair[place] for pair in some]] for place in (0, 1))
    expected = [everything[pair] for pair in some]
    there, back = (best(measure, *both, mirrored) for both in ((first, second), (second, first)))
    assert there[0].tolist() == back[0].tolist() == expected
    assert ((there[1] - back[1] if mirrored else there[1] + back[1]) % 360 == 0).all()


@pytest.mark.parametrize("function", [corner_pixels, absolute, grey_hash])
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("quarters", range(4))
def test_the_turn_says_how_the_second_must_be_turned(
    function: Callable[..., Any], mirrored: bool, quarters: int
) -> None:
    first = library(10)[:3]
    second = np.ascontiguousarray(np.rot90(first, quarters, axes=(1, 2)))
    second = second[:, :, ::-1].copy() if mirrored else second
    for one, other, turn in ((first, second, quarters), (second, first, quarters if mirrored else -quarters)):
        values, turns = best(custom(function), one, other, mirrored)
        assert values.tolist() == [0, 0, 0]
        shown = [plain.orientations(b, mirrored)[degrees // 90] for b, degrees in zip(other, turns, strict=True)]
        if function is not grey_hash:  # which has the same for many a picture
            assert turns.tolist() == [turn % 4 * 90] * 3
            assert (np.stack(shown) == one).all()


@pytest.mark.parametrize("function", [corner_pixels, absolute, text_hash])
def test_nothing_is_no_trouble(function: Callable[..., Any]) -> None:
    thumbnails = library(1)
    search = new_search(function, thumbnails, 1e9, True)
    for ids in (ids_of([]), ids_of([3])):
        assert as_found(list(search.match(ids, thumbnails[ids]))) == {}
        search.add(ids, thumbnails[ids])
    assert as_found(list(search.match([], thumbnails[:0]))) == {}
    search.remove([])
    assert values_between(custom(function), thumbnails[:0], thumbnails[:0], True).shape == (0,)


# hashes


def equal_pairs(measure: CustomMeasure, thumbnails: Thumbnails, mirrored: bool) -> set[tuple[int, int, bool]]:
    first, second = np.triu_indices(len(thumbnails), 1)
    found: set[Link] = set()
    for flip in (False, True) if mirrored else (False,):
        values = values_between(measure, thumbnails[first], thumbnails[second], flip)
        assert set(values.tolist()) <= {0.0, np.inf}
        found |= {(int(first[i]), int(second[i]), flip) for i in np.flatnonzero(values == 0)}
    return found


def test_hashes_are_equal_in_any_turn_of_either() -> None:
    thumbnails = library(11)
    measure = custom(grey_hash)
    for flip in (False, True):
        for a, b in itertools.combinations(range(len(thumbnails)), 2):
            pictures = [plain.orientations(thumbnails[a], False), plain.orientations(thumbnails[b], flip)]
            if flip:
                pictures += [plain.orientations(thumbnails[a], True), plain.orientations(thumbnails[b], False)]
            hashes = [set(grey_hash(np.stack(some)).tolist()) for some in pictures]
            equal = any(not one.isdisjoint(other) for one, other in zip(hashes[::2], hashes[1::2], strict=True))
            value = values_between(measure, thumbnails[[a]], thumbnails[[b]], flip)[0]
            assert value == (0.0 if equal else np.inf)


Link = tuple[int, int, bool]
LIMITS = Limits(0.0, 0.0, True, "the user's", 0.0)


def as_matches(links: Iterable[Link]) -> Matches:
    return Matches.from_rows([(*link, 9.0, 9.0, 0.0) for link in links])


def forest(links: Iterable[Link]) -> set[Link]:
    """What is stored of matches of value 0: their minimum spanning forests."""
    found = as_matches(links)
    return {(a, b, bool(flip)) for a, b, flip, *_ in found[spanning(found, LIMITS)].rows()}


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    name=st.sampled_from(["grey_hash", "text_hash", "byte_hash", "same_hash", *["pixel_hash"] * 4]),
    mirrored=st.booleans(),
    restart=st.booleans(),
)
def test_equal_hashes_give_the_forest_of_all_pairs_whatever_comes_and_goes(
    seed: int, name: str, mirrored: bool, restart: bool
) -> None:
    random = np.random.default_rng(seed)
    thumbnails = np.concatenate([library(seed % 20), np.rot90(library(seed % 20 + 1), axes=(1, 2))])
    if name == "pixel_hash":
        thumbnails = random.integers(0, random.integers(20, 256), (40, 16, 16, 3)).astype(np.uint8)
    measure = custom(name)
    pairs = equal_pairs(measure, thumbnails, mirrored)
    search = search_by(measure, thumbnails, 0.0, mirrored)
    alive: set[int] = set()
    stored: set[Link] = set()
    for _ in range(12):
        coming = ids_of(i for i in random.permutation(len(thumbnails))[: random.integers(8)] if i not in alive)
        going = ids_of(i for i in alive if random.random() < 0.2)
        search.remove([*going, PictureId(999)])
        alive -= {*going}
        again = ids_of(to_rejoin(as_matches(stored), np.array(going, np.int64), LIMITS).tolist())
        again += ids_of(i for i in alive if i not in again and random.random() < 0.1)
        stored = {link for link in stored if {*link[:2]} <= alive}
        for asked in (again, coming):
            search.remove(asked)
            found = as_found(list(search.match(asked, thumbnails[asked]))).keys()
            search.add(asked, thumbnails[asked])
            alive |= {*asked}
            assert found <= {pair for pair in pairs if {*pair[:2]} <= alive and not {*asked}.isdisjoint(pair[:2])}
            stored = forest({*stored, *found})
        assert stored == forest(pair for pair in pairs if {*pair[:2]} <= alive)
        if restart:  # a new process knows who is there, in any order
            search = search_by(measure, thumbnails, 0.0, mirrored)
            known = ids_of(random.permutation(sorted(alive)))
            search.add(known, thumbnails[known])


@pytest.mark.parametrize("mirrored", [False, True])
def test_equal_hashes_give_few_links(mirrored: bool) -> None:
    thumbnails = np.random.default_rng(0).integers(0, 256, (500, 32, 32, 3)).astype(np.uint8)
    found = as_found(searched(new_search(same_hash, thumbnails, 0.0, mirrored), thumbnails, list(range(500)), 17))
    assert len(found) < 1000


# what is wrong with functions

counter = itertools.count()
no_function = 5


def raises(thumbnails: Any) -> Any:
    raise KeyError("weights\nnot there")


def takes_three(first: Any, second: Any, third: Any) -> Any:
    return first


def takes_none() -> Any:
    return None


def gives_none(thumbnails: Any) -> Any:
    return None


def gives_one_number_each(thumbnails: Any) -> Any:
    return thumbnails.mean(axis=(1, 2, 3))


def gives_pictures(thumbnails: Any) -> Any:
    return thumbnails


def gives_too_few(thumbnails: Any) -> Any:
    return thumbnails[1:, 0, 0]


def gives_nothing(thumbnails: Any) -> Any:
    return np.empty((len(thumbnails), 0))


def gives_ragged(thumbnails: Any) -> Any:
    return [[0] * (i % 3) for i in range(len(thumbnails))]


def gives_complex(thumbnails: Any) -> Any:
    return thumbnails[:, 0, 0] * 1j


def gives_words(thumbnails: Any) -> Any:
    return np.full((len(thumbnails), 2), "word")


def divides_by_contrast(thumbnails: Any) -> Any:
    with np.errstate(invalid="ignore", divide="ignore"):
        flat = thumbnails.reshape(len(thumbnails), -1) - thumbnails.mean(axis=(1, 2, 3))[:, None]
        return flat / flat.std(axis=1)[:, None]


def gives_more_each_time(thumbnails: Any) -> Any:
    return corner_pixels(thumbnails) + next(counter)


def normalises_the_batch(thumbnails: Any) -> Any:
    return corner_pixels(thumbnails) - corner_pixels(thumbnails).mean(axis=0)


def gives_mixed_hashes(thumbnails: Any) -> Any:
    return [3.5 if i == 4 else 3 for i in range(len(thumbnails))]


def gives_few_hashes(thumbnails: Any) -> Any:
    return ["a", "b"]


def gives_truths(thumbnails: Any) -> Any:
    return thumbnails[:, 0, 0, 0] > 3


def counts_hashes(thumbnails: Any) -> Any:
    return [next(counter) for _ in thumbnails]


def hashes_the_place(thumbnails: Any) -> Any:
    return np.arange(len(thumbnails))


def gives_a_matrix(first: Any, second: Any) -> Any:
    return np.zeros((len(first), len(second)))


def gives_a_number(first: Any, second: Any) -> Any:
    return 0.5


def gives_negative(first: Any, second: Any) -> Any:
    return -absolute(first, second)


def gives_infinite(first: Any, second: Any) -> Any:
    return absolute(first, second) * np.inf


def one_sided(first: Any, second: Any) -> Any:
    return np.maximum(first.astype(int) - second, 0).sum(axis=(1, 2, 3))


def never_zero(first: Any, second: Any) -> Any:
    return absolute(first, second) + 1000.5


def later_and_more(first: Any, second: Any) -> Any:
    return absolute(first, second) * (1 + next(counter))


def by_the_largest(first: Any, second: Any) -> Any:
    return absolute(first, second) / max(1, absolute(first, second).max())


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("absolute", "'absolute' is none of our own and not package.module:name"),
        (":absolute", "':absolute' is none of our own and not package.module:name"),
        (
            "no.such.module:name",
            "no.such.module cannot be imported (ModuleNotFoundError: No module named 'no')",
        ),
        (f"{__name__}:absolut", f"there is no absolut in {__name__}; is absolute meant?"),
        (f"{__name__}:xyzzyxyzzy", f"there is no xyzzyxyzzy in {__name__}"),
        (f"{__name__}:no_function", f"{__name__}:no_function is no function but int 5"),
        ("raises", "raised KeyError: 'weights\\nnot there' (called with 18 thumbnails)"),
        ("takes_three", "takes neither one stack of thumbnails nor two"),
        ("takes_none", "takes neither one stack of thumbnails nor two"),
        ("gives_none", "gives NoneType None, not (18, D) numbers, nor 18 whole numbers, str or bytes"),
        (
            "gives_one_number_each",
            "gives float64 of shape (18,), not (18, D) numbers, nor 18 whole numbers, str or bytes",
        ),
        (
            "gives_pictures",
            "gives uint8 of shape (18, 32, 32, 3), not (18, D) numbers, nor 18 whole numbers, str or bytes",
        ),
        ("gives_too_few", "gives uint8 of shape (17, 3), not (18, D) numbers"),
        ("gives_nothing", "gives float64 of shape (18, 0), not (18, D) numbers"),
        ("gives_ragged", "gives a list of 18 list, not (18, D) numbers, nor 18 whole numbers, str or bytes"),
        ("gives_complex", "gives complex128 of shape (18, 3), not (18, D) numbers"),
        ("gives_words", "gives <U4 of shape (18, 2), not (18, D) numbers"),
        ("divides_by_contrast", "gives nan, not finite numbers below 1e100"),
        ("gives_more_each_time", "gives other features when called again: "),
        ("normalises_the_batch", "gives other features when called with one thumbnail, not many: "),
        (
            "gives_mixed_hashes",
            "gives a list of 18 float and int, not (18, D) numbers, nor 18 whole numbers, str or bytes",
        ),
        ("gives_few_hashes", "gives a list of 2 str, not (18, D) numbers, nor 18 whole numbers, str or bytes"),
        ("gives_truths", "gives bool of shape (18,), not (18, D) numbers, nor 18 whole numbers, str or bytes"),
        ("counts_hashes", "gives another hash when called again: "),
        ("hashes_the_place", "gives another hash when called with one thumbnail, not many: 1 and 0"),
        ("gives_a_matrix", "gives float64 of shape (54, 54), not (54,) numbers"),
        ("gives_a_number", "gives float 0.5, not (54,) numbers"),
        ("gives_negative", "gives -"),
        ("gives_infinite", "gives inf, not finite numbers below 1e100"),
        ("one_sided", " the other way round"),
        ("never_zero", "gives 1000.5 for a thumbnail and itself, not 0"),
        ("later_and_more", " when called again"),
        ("by_the_largest", " alone"),
    ],
)
def test_a_function_that_cannot_be_a_measure_is_refused_in_one_line(spec: str, line: str) -> None:
    own_name = f"{__name__}:{spec}" if spec in globals() and spec != "absolute" else spec
    with np.errstate(invalid="ignore"), pytest.raises(UsageError) as raised:
        load_custom(own_name, 32)
    message = str(raised.value)
    assert message.startswith("compare.measure: ")
    assert line in message
    assert spec.partition(":")[0] in message
    assert "\n" not in message
    assert len(message) < 250


def test_a_module_that_fails_when_imported_is_named(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "failing_measures.py").write_text("raise OSError('no\\nweights')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match=r"failing_measures cannot be imported \(OSError: no weights\)"):
        load_custom("failing_measures:mine", 32)


@pytest.mark.parametrize("function", [corner_pixels, absolute, text_hash])
@pytest.mark.parametrize(("result", "line"), [(None, "gives NoneType None, not "), (1 / 3, "gives float 0.333")])
def test_a_function_that_goes_wrong_later_is_named(
    monkeypatch: pytest.MonkeyPatch, function: Callable[..., Any], result: Any, line: str
) -> None:
    thumbnails = library(13)
    measure = custom(function)
    inner = measure._function
    search = search_by(measure, thumbnails, 1e9, True)
    search.add(ids_of([0]), thumbnails[:1])
    inner._function = lambda *stacks: result
    with pytest.raises(UsageError, match=f"^compare.measure: {__name__}:{function.__name__} {line}"):
        list(search.match(ids_of([1, 2]), thumbnails[1:3]))
    inner._function = raises if function is not absolute else gives_negative
    with pytest.raises(UsageError, match=r"raised KeyError|gives -\d+, not numbers from 0"):
        list(search.match(ids_of([1, 2]), thumbnails[1:3]))


@pytest.mark.parametrize("side", [16, 48, 128])
@pytest.mark.parametrize("function", [bits, absolute, byte_hash])
def test_functions_are_tried_with_thumbnails_of_the_size_in_use(function: Callable[..., Any], side: int) -> None:
    if function is bits:
        with pytest.raises(UsageError, match="cannot reshape"):
            custom(function, side)
    else:
        thumbnails = library(1, side)[:2]
        assert values_between(custom(function, side), thumbnails, thumbnails, False).tolist() == [0, 0]
