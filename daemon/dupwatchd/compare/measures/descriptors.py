"""A few numbers per picture that bound both measures from below: what they rule out is ruled out for certain.

A descriptor holds a sketch of 16 numbers for each measure. For `structure` it is made from the normalised luma, for
`mse` from the thumbnail after an orthonormal rotation of its colours. An orthonormal 2-D DCT leaves distances what they
were. A sketch holds the 15 coefficients that vary most and the length of the vector of all others. Two lengths differ
by no more than the vectors do, so the squared distance of two sketches is at most the measure of the two pictures in
this orientation.

Turning or mirroring a picture only swaps the coefficients (u, v) and (v, u) and changes signs. The 15 are closed
under that, so `turned` gives the sketch of a turned picture without looking at the picture again. `canonical` turns
each sketch until X(0, 1) ≥ |X(1, 0)|; two pictures are then compared in the one or two turns that can match instead
of four. `lengths` are the same for all eight orientations: one rough comparison instead of eight.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from dupwatchd.arrays import Thumbnails
from dupwatchd.compare.measures import exact

Descriptors = NDArray[np.float32]  # (N, 32): 16 numbers for `structure`, then 16 for `mse`

VERSION = 2  # of what the numbers mean and how they are stored: stored descriptors of another version are made anew
_NUMBERS = 16  # in a sketch; the last one is the length of the vector of all other coefficients
NUMBERS = 2 * _NUMBERS
_COLOURS = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])  # orthonormal rows
_MIDDLE = 127.5  # subtracted from every value: shorter vectors have smaller rounding errors
_PICTURES_AT_ONCE = 1024  # 25 MB of float64 at 32 px

# Rounding: see ARCHITECTURE.md. With u = 2**-24 no comparison errs by more than 40·u·(|p| + |q|)²; twice that is
# allowed for. |p| ≤ 1 for `structure` and ≤ 127.5 for `mse`.
_SLACK = 2 * 40 * 2.0**-24


@dataclass(frozen=True)
class SketchLayout:
    """What the sixteen numbers of one measure within a descriptor (its sketch) mean."""

    columns: slice
    coefficients: tuple[
        tuple[int, int, int], ...
    ]  # (colour, u, v), the one that varies most first; closed under (u, v) → (v, u)
    slack: float  # to be added to a threshold

    @cached_property
    def quarter_turn(self) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Which number goes where when a picture is turned by 90 degrees, and with which sign."""
        places = [self.coefficients.index((c, v, u)) for c, u, v in self.coefficients]
        signs = [(-1.0) ** v for _, _, v in self.coefficients]
        return np.array([*places, _NUMBERS - 1]), np.array([*signs, 1], np.float32)

    @cached_property
    def mirroring(self) -> NDArray[np.float32]:
        """The signs that mirroring changes."""
        return np.array([*((-1.0) ** v for _, _, v in self.coefficients), 1], np.float32)

    @cached_property
    def slopes(self) -> tuple[int, int]:
        """The places of X(0, 1) and X(1, 0) of the first colour: the slope to the right, and the slope downwards."""
        return self.coefficients.index((0, 0, 1)), self.coefficients.index((0, 1, 0))


# In descending order of variance over 200,000 thumbnails made from real photos, as far as closedness allows.
STRUCTURE = SketchLayout(
    slice(0, _NUMBERS),
    tuple(
        (0, u, v)
        for u, v in (
            (1, 1), (0, 2), (2, 0), (1, 2), (2, 1), (0, 1), (1, 0), (0, 3), (3, 0), (2, 2),
            (1, 3), (3, 1), (0, 4), (4, 0), (3, 3),
        )
    ),
    _SLACK * 4,
)  # fmt: skip
MSE = SketchLayout(
    slice(_NUMBERS, 2 * _NUMBERS),
    (
        (0, 0, 0), (1, 0, 0), (0, 1, 1), (0, 0, 2), (0, 2, 0), (0, 0, 1), (0, 1, 0), (0, 1, 2), (0, 2, 1), (2, 0, 0),
        (0, 0, 3), (0, 3, 0), (0, 2, 2), (1, 0, 1), (1, 1, 0),
    ),
    _SLACK * 4 * _MIDDLE**2,
)  # fmt: skip


def describe(thumbnails: Thumbnails) -> Descriptors:
    """Descriptors (N, 32) float32 of thumbnails (N, S, S, 3) uint8, in the orientation they have."""
    chunks = (thumbnails[start : start + _PICTURES_AT_ONCE] for start in range(0, len(thumbnails), _PICTURES_AT_ONCE))
    parts = [np.concatenate([_describe_structure(chunk), _describe_mse(chunk)], axis=1) for chunk in chunks]
    return np.concatenate(parts).astype(np.float32) if parts else np.empty((0, NUMBERS), np.float32)


def alike(first: Descriptors, second: Descriptors) -> NDArray[np.bool_]:
    """Which rows of (N, 32) are equal apart from the rounding of another machine: (N,) bool."""
    room = np.repeat(np.float32(1e-4) * np.array([1, _MIDDLE], np.float32), _NUMBERS)
    return np.asarray((np.abs(first - second) <= room).all(axis=1))


def turned(
    sketches: NDArray[np.float32], layout: SketchLayout, quarters: int, *, mirrored: bool = False
) -> NDArray[np.float32]:
    """Sketches (N, 16) of pictures after mirroring, if asked, and so many quarter turns clockwise; exact."""
    places, signs = layout.quarter_turn
    if mirrored:
        sketches = sketches * layout.mirroring
    for _ in range(quarters):
        sketches = sketches[:, places] * signs
    return sketches


def canonical(sketches: NDArray[np.float32], layout: SketchLayout) -> NDArray[np.float32]:
    """Each row of (N, 16) turned until X(0, 1) ≥ |X(1, 0)|, which one of the four turns does."""
    across, down = layout.slopes
    sketches = sketches.copy()
    for _ in range(3):
        other = np.flatnonzero(sketches[:, across] < np.abs(sketches[:, down]))
        sketches[other] = turned(sketches[other], layout, 1)
    return sketches


def distance_from_canonical(sketches: NDArray[np.float32], layout: SketchLayout) -> NDArray[np.float32]:
    """How far sketches (N, 16) are at least from any canonical one: (N,); negative for canonical ones."""
    across, down = layout.slopes
    # The canonical ones lie between the lines X(0, 1) = ±X(1, 0). This is the distance from the nearer line; where the
    # lines' crossing is the nearest point, the true distance is larger.
    return np.asarray((np.abs(sketches[:, down]) - sketches[:, across]) * np.float32(1 / np.sqrt(2)))


def lengths(sketches: NDArray[np.float32], layout: SketchLayout) -> NDArray[np.float32]:
    """The lengths of each pair (u, v), (v, u): (N, K), the same for all eight orientations."""
    pairs = [
        (place, layout.coefficients.index((c, v, u)))
        for place, (c, u, v) in enumerate(layout.coefficients)
        if u < v or (u == v != 0)
    ]
    first, second = np.array(pairs).T
    both = np.hypot(sketches[:, first], np.where(first == second, np.float32(0), sketches[:, second]))
    mean = [place for place, (_, u, v) in enumerate(layout.coefficients) if u == v == 0]
    return np.concatenate([both, sketches[:, mean], sketches[:, -1:]], axis=1)


def _describe_structure(thumbnails: Thumbnails) -> NDArray[np.float64]:
    vectors = exact.normalised_luma(thumbnails).reshape(len(thumbnails), -1) / np.sqrt(exact.CELLS)  # (N, 256)
    return _with_rest(vectors @ _structure_basis(), (vectors * vectors).sum(axis=1))


def _describe_mse(thumbnails: Thumbnails) -> NDArray[np.float64]:
    values = thumbnails.reshape(len(thumbnails), -1).astype(np.float64)  # (N, S·S·3)
    size = values.shape[1]
    basis = _mse_basis(thumbnails.shape[1])
    # those of (value − 127.5) / sqrt(size), without making that array; sums of whole numbers are exact
    coefficients = (values @ basis - _MIDDLE * basis.sum(axis=0)) / np.sqrt(size)
    squares = np.einsum("nd,nd->n", values, values) - 2 * _MIDDLE * values.sum(axis=1) + size * _MIDDLE**2
    return _with_rest(coefficients, squares / size)


def _with_rest(coefficients: NDArray[np.float64], squares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sketches (N, 16) from coefficients (N, 15) and the squared lengths (N,) of the whole vectors."""
    rest = np.maximum(squares - (coefficients * coefficients).sum(axis=1), 0.0)
    return np.concatenate([coefficients, np.sqrt(rest)[:, None]], axis=1)


@lru_cache
def _structure_basis() -> NDArray[np.float64]:
    """(256, 15)."""
    waves = _waves(exact.CELLS_PX)
    return _basis(STRUCTURE, lambda _, u, v: np.outer(waves[u], waves[v]))


@lru_cache
def _mse_basis(side_px: int) -> NDArray[np.float64]:
    """(S·S·3, 15)."""
    waves = _waves(side_px)
    return _basis(MSE, lambda c, u, v: waves[u][:, None, None] * waves[v][:, None] * _COLOURS[c])


def _basis(layout: SketchLayout, pattern: Callable[[int, int, int], NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.stack([pattern(*key).ravel() for key in layout.coefficients], axis=1)


def _waves(side: int) -> NDArray[np.float64]:
    """The orthonormal DCT-II of this length: row u is the wave of frequency u."""
    place = (np.arange(side) + 0.5) / side
    waves = np.cos(np.pi * np.arange(side)[:, None] * place) * np.sqrt(2 / side)
    waves[0] /= np.sqrt(2)
    return np.asarray(waves)
