import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dupwatchd.blocks.store import picture_digest
from dupwatchd.model import Decoded
from dupwatchd.pixels.frames import Frames
from dupwatchd.pixels.proof import (
    HEAD_BYTES,
    MAX_SIDE_PX,
    PROOF_AREA_PX,
    Proof,
    content_digest,
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


@pytest.mark.parametrize(("width", "height"), [(640, 480), (333, 500), (1999, 61), (250, 1333), (2000, 1333)])
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


def test_how_a_proof_is_packed_does_not_matter() -> None:
    proof = make_proof(altered.photo(3, 320, 240))
    stored = proof.to_bytes()
    planes = zlib.decompress(stored[HEAD_BYTES:], -zlib.MAX_WBITS)
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    other = stored[:HEAD_BYTES] + packer.compress(planes) + packer.flush()
    assert other != stored
    assert Proof.from_bytes(other) == proof
    assert content_digest(other) == content_digest(stored)
    thumbnail = np.zeros((32, 32, 3), np.uint8)
    pictures = [Decoded(thumbnail, 320, 240, "PNG", proof=data) for data in (stored, other)]
    assert picture_digest(pictures[0]) == picture_digest(pictures[1])


def test_all_that_a_proof_holds_is_in_its_digest() -> None:
    proof = make_proof(altered.photo(3, 320, 240))
    luma, chroma = proof.luma.copy(), proof.chroma.copy()
    luma[100, 50] ^= 2
    chroma[1, 3, 7] ^= 2
    greys = np.zeros((2, 8, 8), np.uint8)
    frames = Frames(2, True, False, 100, bytes(16), greys)
    others = [
        replace(proof, luma=luma),
        replace(proof, chroma=chroma),
        replace(proof, fineness=proof.fineness + 1),
        replace(proof, frames=frames),
        replace(proof, frames=replace(frames, greys=greys + np.uint8(1))),
    ]
    assert len({content_digest(one.to_bytes()) for one in (proof, *others)}) == 6


def test_damaged_bytes_are_refused() -> None:
    data = make_proof(altered.photo(5)).to_bytes()
    for broken in (b"", data[:5], data[:200], b"\x07" + data[1:], data[:11], data[:1] + b"\xff\xff" + data[3:]):
        with pytest.raises(ValueError, match=r"proof|packed"):
            Proof.from_bytes(broken)


def test_pages_ask_for_a_closer_look_and_calm_pictures_do_not() -> None:
    assert wants_a_closer_look(make_proof(altered.page("4711")))
    assert not wants_a_closer_look(make_proof(altered.photo(6)))
