import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dupwatchd.pixels.proof import (
    MAX_SIDE_PX,
    PROOF_AREA_PX,
    Proof,
    make_proof,
    proof_size,
    wants_a_closer_look,
)
from tests.compare import altered


@settings(max_examples=60, deadline=None)
@given(width=st.integers(1, 700), height=st.integers(1, 700), seed=st.integers(0, 9))
def test_proofs_survive_storage_and_equal_pixels_give_equal_proofs(width: int, height: int, seed: int) -> None:
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    proof = make_proof(picture)
    restored = Proof.from_bytes(proof.to_bytes())
    assert restored == proof
    assert restored.fineness == proof.fineness
    assert np.array_equal(restored.luma, proof.luma)
    assert np.array_equal(restored.chroma, proof.chroma)
    again = make_proof(np.asfortranarray(picture))
    assert again.to_bytes() == proof.to_bytes()


@settings(max_examples=200, deadline=None)
@given(width=st.integers(1, 60_000), height=st.integers(1, 60_000))
def test_proofs_have_their_area_and_keep_the_shape(width: int, height: int) -> None:
    columns, rows = proof_size(width, height)
    assert 1 <= columns <= min(width, MAX_SIDE_PX)
    assert 1 <= rows <= min(height, MAX_SIDE_PX)
    assert columns * rows <= PROOF_AREA_PX + columns + rows or min(columns, rows) == 1
    if width * height <= PROOF_AREA_PX and max(width, height) <= MAX_SIDE_PX:
        assert (columns, rows) == (width, height)
    elif min(columns, rows) > 20:
        assert columns / rows == pytest.approx(width / height, rel=0.05)


@pytest.mark.parametrize(("width", "height"), [(640, 480), (333, 500), (1999, 61), (250, 1333), (3000, 2000)])
def test_luma_is_the_mean_of_what_each_cell_covers(width: int, height: int) -> None:
    picture = altered.photo(3, width, height)
    proof = make_proof(picture)
    rows, columns = proof.luma.shape
    luma = picture.astype(np.float64) @ (0.299, 0.587, 0.114)
    down = overlaps(height, rows)
    expected = down @ luma @ overlaps(width, columns).T
    assert np.abs(proof.luma - expected).max() < 4  # even levels, weights of 1/256, and boxes rounded before
    assert np.abs(proof.luma - expected).mean() < 0.8


def overlaps(pixels: int, cells: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """The share of each cell that each pixel covers: (cells, pixels)."""
    edges = np.linspace(0, pixels, cells + 1)
    pixel = np.arange(pixels)
    covered = np.clip(np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel), 0, None)
    return np.asarray(covered / covered.sum(axis=1, keepdims=True))


def test_a_picture_decoded_smaller_gives_nearly_the_proof_of_the_whole() -> None:
    picture = altered.photo(4, 1500, 1001)
    padded = np.pad(picture, ((0, 1), (0, 0), (0, 0)), mode="edge")
    half = padded.reshape(501, 2, 750, 2, 3).mean(axis=(1, 3)).astype(np.uint8)
    proof, reduced = make_proof(picture), make_proof(half, 750, 500.5)
    assert reduced.luma.shape == proof.luma.shape
    assert np.abs(reduced.luma.astype(int) - proof.luma).mean() < 1
    stretched = make_proof(half)
    assert (
        np.abs(stretched.luma.astype(int) - proof.luma).mean() >= np.abs(reduced.luma.astype(int) - proof.luma).mean()
    )


def test_chroma_of_pure_colours_is_that_of_jpeg() -> None:
    for colour, blue, red in (((255, 0, 0), 84, 254), ((0, 0, 255), 254, 106), ((77, 77, 77), 128, 128)):
        proof = make_proof(np.full((50, 70, 3), colour, np.uint8))
        assert np.abs(proof.chroma[0].astype(int) - blue).max() <= 2
        assert np.abs(proof.chroma[1].astype(int) - red).max() <= 2


def test_damaged_bytes_are_refused() -> None:
    data = make_proof(altered.photo(5)).to_bytes()
    for broken in (b"", data[:5], data[:200], b"\x07" + data[1:], data[:11], data[:1] + b"\xff\xff" + data[3:]):
        with pytest.raises(ValueError, match=r"proof|packed"):
            Proof.from_bytes(broken)


def test_pages_ask_for_a_closer_look_and_calm_pictures_do_not() -> None:
    assert wants_a_closer_look(make_proof(altered.page("4711")))
    assert not wants_a_closer_look(make_proof(altered.photo(6)))
