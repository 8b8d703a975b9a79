from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from dupwatchd.compare.parts.meeting import meets
from dupwatchd.pixels.keypoints import (
    MOST_KEYPOINTS,
    PLACES_A_PX,
    QUOTAS,
    SCALES_A_PX,
    Keypoints,
    keypoints_of,
    read_many,
)
from dupwatchd.pixels.proof import Proof, make_proof
from tests.compare.altered import Rgb, cut, framed, jpeg, photo, resized, sky

FIELDS = ("x", "y", "scale", "turn", "coefficients")


def equal(a: Keypoints, b: Keypoints) -> bool:
    size = (a.width, a.height) == (b.width, b.height)
    return size and all(np.array_equal(getattr(a, field), getattr(b, field)) for field in FIELDS)


def distances(a: Keypoints, b: Keypoints) -> NDArray[np.int64]:
    """Of all with all: (N, M)."""
    apart = a.coefficients[:, None].astype(np.int64) - b.coefficients[None]
    distances: NDArray[np.int64] = np.square(apart).sum(axis=2)
    return distances


def share_met(a: Keypoints, b: Keypoints) -> float:
    """How many keypoints of the second have one of the first that they meet."""
    return float(met(a, b).any(axis=0).mean())


def met(a: Keypoints, b: Keypoints) -> NDArray[np.bool_]:
    """Of all with all: (N, M)."""
    ours, theirs = (np.square(one.coefficients.astype(np.int64)).sum(axis=1) for one in (a, b))
    found: NDArray[np.bool_] = meets(distances(a, b), ours[:, None], theirs)
    return found


def of(picture: Rgb) -> Keypoints:
    return keypoints_of(make_proof(picture))


def turned(proof: Proof, quarters: int) -> Proof:
    chroma = np.stack([np.rot90(plane, -quarters) for plane in proof.chroma])
    return Proof(np.ascontiguousarray(np.rot90(proof.luma, -quarters)), np.ascontiguousarray(chroma), proof.fineness)


def test_equal_proofs_have_equal_keypoints_and_the_stored_proof_gives_them_again() -> None:
    proof = make_proof(photo(3))
    found = keypoints_of(proof)
    assert len(found) > 10
    assert equal(found, keypoints_of(Proof.from_bytes(proof.to_bytes())))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_patch_of_each_keypoint_lies_within_the_picture(seed: int) -> None:
    proof = make_proof(photo(seed, 700, 400))
    found = keypoints_of(proof)
    height, width = proof.luma.shape
    assert (found.width, found.height) == (width, height)
    assert len(found) <= MOST_KEYPOINTS == sum(QUOTAS)
    reach = 5.4 * found.scale / SCALES_A_PX / 1.012 - 1.5  # scales are stored in steps of 2.2 %
    x, y = found.x / PLACES_A_PX, found.y / PLACES_A_PX
    assert (x - reach >= -0.5).all()
    assert (y - reach >= -0.5).all()
    assert (x + reach <= width - 0.5).all()
    assert (y + reach <= height - 0.5).all()


@pytest.mark.parametrize("change", [lambda p: jpeg(p, 60), lambda p: resized(p, 0.5), lambda p: resized(p, 0.25)])
def test_most_keypoints_of_a_copy_meet_those_of_the_original(change: Callable[[Rgb], Rgb]) -> None:
    shares = [share_met(of(photo(seed)), of(change(photo(seed)))) for seed in range(4)]
    assert np.mean(shares) > 0.7


def test_keypoints_of_a_crop_and_of_a_framed_picture_meet_those_of_the_whole_at_their_places() -> None:
    picture = photo(5)
    whole = of(picture)
    for altered in (of(cut(picture, 0.15)), of(framed(picture, 60))):
        found = np.argwhere(met(whole, altered))
        assert len(found) >= 5
        first, second = found.T
        ratio = np.median(altered.scale[second] / whole.scale[first])
        moved = altered.x[second] / PLACES_A_PX - ratio * whole.x[first] / PLACES_A_PX
        assert np.count_nonzero(np.abs(moved - np.median(moved)) < 3) >= 0.8 * len(found)


def test_keypoints_of_unrelated_pictures_do_not_meet() -> None:
    every = [of(photo(seed)) for seed in range(8)]
    met = [share_met(a, b) for number, a in enumerate(every) for b in every[:number]]
    assert np.mean(met) < 0.02


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_turned_picture_has_the_same_coefficients_and_its_turns_say_so(quarters: int) -> None:
    proof = make_proof(photo(7))
    upright, other = keypoints_of(proof), keypoints_of(turned(proof, quarters))
    first, second = np.argwhere(distances(upright, other) <= 9).T
    assert len(first) >= 0.8 * len(upright)
    more = upright.turn[first] - other.turn[second] - np.uint8(64 * quarters)
    assert (more + np.uint8(1) <= 2).all()  # rounded


@pytest.mark.parametrize("degrees", [4, -11, 25, 45])
def test_leaning_pictures_have_nearly_the_same_coefficients_and_their_turns_say_so(degrees: int) -> None:
    off: list[float] = []
    for seed in range(4, 9):
        picture = Image.fromarray(photo(seed))
        leaning = picture.rotate(-degrees, Image.Resampling.BICUBIC)
        sides = np.multiply((*picture.size, *picture.size), (0.15, 0.15, 0.85, 0.85)).tolist()
        upright, other = of(np.asarray(picture)), of(np.asarray(leaning.crop(tuple(sides))))
        first, second = np.argwhere(met(upright, other)).T
        more = (upright.turn[first] - other.turn[second]).astype(int) * 360 / 256 - degrees
        off += np.abs((more + 180) % 360 - 180).tolist()
    assert sum(each < 7 for each in off) >= max(8, 0.8 * len(off))


@pytest.mark.parametrize(
    "picture", [np.full((300, 400, 3), 255, np.uint8), np.zeros((1, 1, 3), np.uint8), sky(3, strength=0.0)]
)
def test_flat_or_tiny_picture_has_no_keypoints(picture: Rgb) -> None:
    found = of(picture)
    assert len(found) == 0
    assert equal(Keypoints.from_bytes(found.to_bytes()), found)


@pytest.mark.parametrize("size", [(5000, 9), (9, 5000), (60, 3000), (40, 40)])
def test_strips_and_small_pictures_are_taken(size: tuple[int, int]) -> None:
    found = of(photo(11, *size))
    assert equal(Keypoints.from_bytes(found.to_bytes()), found)


def test_bytes_are_short_and_give_back_what_was_kept() -> None:
    found = of(photo(13))
    stored = found.to_bytes()
    assert len(stored) <= 24 * len(found) + 8
    assert equal(Keypoints.from_bytes(stored), found)


SOUND = of(photo(13)).to_bytes()


@settings(deadline=None)
@given(st.data())
def test_bytes_that_are_no_keypoints_are_refused_or_read_as_some(data: st.DataObject) -> None:
    stored = bytearray(SOUND)
    for at in data.draw(st.lists(st.integers(0, len(stored) - 1), min_size=1, max_size=3)):
        stored[at] = data.draw(st.integers(0, 255))
    damaged = bytes(stored[: data.draw(st.integers(0, len(stored)))] + data.draw(st.binary(max_size=4)))
    try:
        found = Keypoints.from_bytes(damaged)
    except ValueError:
        return
    assert found.to_bytes() == damaged
    assert len(found) <= MOST_KEYPOINTS
    assert ((found.x >= 0) & (found.x < PLACES_A_PX * found.width)).all()
    assert (found.scale > 0).all()
    assert (found.coefficients >= -127).all()


@pytest.mark.parametrize("cut_bytes", [1, 5, 22])
def test_bytes_cut_short_are_refused(cut_bytes: int) -> None:
    with pytest.raises(ValueError, match="keypoints"):
        Keypoints.from_bytes(of(photo(13)).to_bytes()[:-cut_bytes])


def test_of_many_pictures_none_is_read_if_one_is_cut_short() -> None:
    with pytest.raises(ValueError, match="keypoints"):
        read_many([SOUND, SOUND[:-1], SOUND])


def test_margins_have_no_say_in_where_keypoints_of_a_framed_picture_are() -> None:
    picture = photo(8)
    bars = np.pad(picture, ((250, 250), (0, 0), (0, 0)))
    assert share_met(of(picture), of(bars)) > 0.8
