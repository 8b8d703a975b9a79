"""A few numbers per picture that bound both measures from below, in all eight orientations at once.

Take the orthonormal 2-D DCT of a thumbnail (for `mse` after an orthonormal rotation of the colours, for `structure`
of the normalised luma): distances stay what they were. Turning or mirroring the picture swaps the coefficients
(u, v) and (v, u) and changes signs, nothing else. So r(u, v) = sqrt(X(u, v)² + X(v, u)²) is the same for all eight
orientations, and so is the length of all that is left. A length differs by no more than the vectors do,
| |p| − |q| | ≤ |p − q|, hence for every orientation g

    Σ (r_i(x) − r_i(y))²  ≤  |x − g·y|²

and whatever these few lengths rule out is ruled out for certain. One search with them replaces four (or eight).

Sixteen lengths leave 2.7 candidates a picture where 2.5 are possible (`structure` ≤ 0.02) and 2.2 where 2.1 are
(`mse` ≤ 25), on 6,747 pictures of which many are copies.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dupwatchd.arrays import Thumbnails
from dupwatchd.compare import measures

LENGTHS = 16  # per measure, the last one being what is left; 128 bytes a picture for both

# In descending order of variance over 6,747 pictures of real photos: what tells pictures apart comes first.
_STRUCTURE = (
    (0, 1), (0, 2), (1, 1), (1, 2), (0, 3), (0, 4), (2, 2), (1, 3),
    (2, 3), (0, 5), (0, 6), (1, 4), (2, 4), (1, 5), (3, 3),
)  # fmt: skip
_MSE = (  # (channel after the rotation of colours, u, v)
    (0, 0, 0), (0, 0, 1), (1, 0, 0), (0, 0, 2), (0, 1, 1), (2, 0, 0), (0, 1, 2), (0, 0, 3),
    (0, 0, 4), (1, 0, 1), (0, 2, 2), (0, 1, 3), (1, 0, 2), (0, 2, 3), (0, 0, 5),
)  # fmt: skip
_COLOURS = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])  # orthonormal rows
_MIDDLE = 127.5  # taken from every value: shorter vectors, smaller rounding errors
_PICTURES_AT_ONCE = 1024  # 25 MB of float64 at 32 px

# Descriptors are computed in float64, stored as float32 (a relative error of 2**-24) and compared by
# |p|² + |q|² − 2·p·q in float32: for 16 terms the error stays below 40 · 2**-24 · (|p| + |q|)², see ARCHITECTURE.md.
# |p| ≤ 1 for `structure`, ≤ 127.5 for `mse`. These slacks are twice the bound.
STRUCTURE_SLACK = 2 * 40 * 2.0**-24 * 4
MSE_SLACK = 2 * 40 * 2.0**-24 * 4 * 127.5**2


def describe(thumbnails: Thumbnails) -> NDArray[np.float32]:
    """Descriptors of (N, S, S, 3) thumbnails: (N, 32) float32, 16 lengths for `structure`, then 16 for `mse`.

    The squared distance of two halves is at most the measure of the two pictures (plus the slack, for rounding).
    """
    parts = [
        np.concatenate([_structure_lengths(some), _mse_lengths(some)], axis=1)
        for some in (
            thumbnails[start : start + _PICTURES_AT_ONCE] for start in range(0, len(thumbnails), _PICTURES_AT_ONCE)
        )
    ]
    return np.concatenate(parts).astype(np.float32) if parts else np.empty((0, 2 * LENGTHS), np.float32)


def _structure_lengths(thumbnails: Thumbnails) -> NDArray[np.float64]:
    vectors = measures.normalised_luma(thumbnails).reshape(len(thumbnails), -1) / np.sqrt(measures.CELLS)  # (N, 256)
    basis, first, second = _structure_basis()
    return _lengths(vectors @ basis, (vectors * vectors).sum(axis=1), first, second)


def _mse_lengths(thumbnails: Thumbnails) -> NDArray[np.float64]:
    values = thumbnails.reshape(len(thumbnails), -1).astype(np.float64)  # (N, S·S·3)
    size = values.shape[1]
    basis, first, second = _mse_basis(thumbnails.shape[1])
    # of (value − 127.5) / sqrt(size), without making that array; the sums of whole numbers are exact
    coefficients = (values @ basis - _MIDDLE * basis.sum(axis=0)) / np.sqrt(size)
    squares = np.einsum("nd,nd->n", values, values) - 2 * _MIDDLE * values.sum(axis=1) + size * _MIDDLE**2
    return _lengths(coefficients, squares / size, first, second)


def _lengths(
    coefficients: NDArray[np.float64],
    squares: NDArray[np.float64],
    first: NDArray[np.intp],
    second: NDArray[np.intp],
) -> NDArray[np.float64]:
    """Lengths (N, 16): of the parts made of columns first[i] and second[i] of (N, K), and of what is left of (N,)."""
    powers = coefficients * coefficients
    parts = powers[:, first] + np.where(first == second, 0.0, powers[:, second])  # (N, 15)
    rest = squares - parts.sum(axis=1)
    return np.asarray(np.sqrt(np.concatenate([parts, np.maximum(rest, 0.0)[:, None]], axis=1)))


_Basis = tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.intp]]


@lru_cache
def _structure_basis() -> _Basis:
    waves = _waves(measures.CELLS_PX)
    return _basis([(0, u, v) for u, v in _STRUCTURE], lambda _, u, v: np.outer(waves[u], waves[v]))


@lru_cache
def _mse_basis(side_px: int) -> _Basis:
    waves = _waves(side_px)
    return _basis(_MSE, lambda c, u, v: waves[u][:, None, None] * waves[v][:, None] * _COLOURS[c])


def _basis(parts: Sequence[tuple[int, int, int]], pattern: Callable[[int, int, int], NDArray[np.float64]]) -> _Basis:
    """Columns (D, K), and for each part (c, u, v) the column of (u, v) and that of (v, u)."""
    keys = list(dict.fromkeys(key for c, u, v in parts for key in ((c, u, v), (c, v, u))))
    columns = np.stack([pattern(*key).ravel() for key in keys], axis=1)
    first = np.array([keys.index((c, u, v)) for c, u, v in parts])
    second = np.array([keys.index((c, v, u)) for c, u, v in parts])
    return columns, first, second


def _waves(side: int) -> NDArray[np.float64]:
    """The orthonormal DCT-II of this length: row u is the wave of frequency u."""
    place = (np.arange(side) + 0.5) / side
    waves = np.cos(np.pi * np.arange(side)[:, None] * place) * np.sqrt(2 / side)
    waves[0] /= np.sqrt(2)
    return np.asarray(waves)
