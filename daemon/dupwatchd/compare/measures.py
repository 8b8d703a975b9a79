"""The two measures and the eight orientations, exact: sums are taken in integers, so no order of evaluation matters.

`mse` is the mean over pixels and channels of the squared difference of two thumbnails, 0 ... 65025.

`structure` is taken on the luma x of the 16 × 16 cells of a thumbnail. With the mean removed and divided by the
standard deviation (not below 4 grey levels) it is the mean squared difference, 0 ... 4. Written with
V = n·Σx² − (Σx)², C = n·Σxy − Σx·Σy and S = max(V, floor), all integers for n = 256:

    structure(x, y) = Vx / Sx + Vy / Sy − 2·C / sqrt(Sx·Sy)

Both take the smallest value over the allowed orientations. An orientation only permutes the cells, so Σx, Σx² and V
are the same for all of them, and the smallest value belongs to the largest Σxy.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dupwatchd.arrays import Thumbnails

LUMA_WEIGHTS = (77, 150, 29)  # ITU-R BT.601 luma in 256ths
CELLS_PX = 16
CELLS = CELLS_PX * CELLS_PX
FLOOR_GREY_LEVELS = 4  # a flat picture stays flat: noise is not blown up into structure
TURNS = (0, 90, 180, 270)  # degrees clockwise
_READ_AT_ONCE = 2048
_PAIRS_AT_ONCE = 256  # 25 MB of float64 at 32 px

# A picture is flat when what remains of its luma after the best quadratic surface is taken away (sky, wall, black
# frame, blank scan: shading without detail) is below either bound. Two pictures of the same shading and unrelated
# detail of share r lie 2·r² apart in structure: 0.045 at 0.15, so that nothing not flat is joined by shading alone
# at the default threshold. Of 4,347 pictures made from real photos 0.05 % are flat, all of them zooms into nothing.
FLAT_GREY_LEVELS = 2.0
FLAT_SHARE_OF_DEVIATION = 0.15


@dataclass(frozen=True, slots=True)
class Values:
    """Both measures of M pairs of pictures, and the orientation that gives each."""

    mse: NDArray[np.float64]  # (M,)
    mse_turn: NDArray[np.int64]  # (M,) degrees by which the second must be turned clockwise to show the first
    structure: NDArray[np.float64]  # (M,)
    structure_turn: NDArray[np.int64]  # (M,)


def measure_pairs(first: Thumbnails, second: Thumbnails, *, mirrored: bool) -> Values:
    """Both measures of the pairs (first[i], second[i]), each (M, S, S, 3) uint8, over the four turns.

    With ``mirrored`` the second one is first mirrored left to right. Exact: equal to the plain definition in
    integer arithmetic, whatever the order or number of pairs. Of equally good turns the smallest is given.
    """
    parts = [
        _measure_some(first[start : start + _PAIRS_AT_ONCE], second[start : start + _PAIRS_AT_ONCE], mirrored)
        for start in range(0, len(first), _PAIRS_AT_ONCE)
    ] or [Values(np.empty(0), np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64))]
    return Values(
        np.concatenate([part.mse for part in parts]),
        np.concatenate([part.mse_turn for part in parts]),
        np.concatenate([part.structure for part in parts]),
        np.concatenate([part.structure_turn for part in parts]),
    )


def measure_grid(first: Thumbnails, second: Thumbnails, *, mirrored: bool) -> Values:
    """As `measure_pairs`, of every one of F pictures with every one of K: the arrays of the result are (F, K).

    Gives the same values; where most pairs of a few pictures are asked for it is fifty times faster.
    """
    x, y = cell_luma(first), cell_luma(second)
    return _values(
        _grid_dots(first.astype(np.float64), second.astype(np.float64), mirrored),
        _grid_dots(x[..., None], y[..., None], mirrored),
        (_squares(first)[:, None], _squares(second)),
        tuple(part[:, None] for part in _variance(x)),
        _variance(y),
        first.shape[1],
    )


def _measure_some(first: Thumbnails, second: Thumbnails, mirrored: bool) -> Values:
    x, y = cell_luma(first), cell_luma(second)  # (M, 16, 16)
    return _values(
        _dots(first.astype(np.float64), second.astype(np.float64), mirrored),
        _dots(x[..., None], y[..., None], mirrored),
        (_squares(first), _squares(second)),
        _variance(x),
        _variance(y),
        first.shape[1],
    )


_Whole = tuple[NDArray[np.int64], ...]


def _values(
    dots: NDArray[np.float64],
    luma_dots: NDArray[np.float64],
    squares: tuple[NDArray[np.float64], NDArray[np.float64]],
    of_first: _Whole,
    of_second: _Whole,
    side_px: int,
) -> Values:
    """The measures from sums over pixels and cells: dots (..., 4) for the four turns, the others broadcast to (...).

    float64 holds every one of these sums exactly: they are whole numbers below 2**53.
    """
    turns = np.array(TURNS)
    mse = (squares[0] + squares[1] - 2 * dots.max(axis=-1)) / (side_px * side_px * 3)
    (vx, sum_x), (vy, sum_y) = of_first, of_second
    covariance = CELLS * luma_dots.max(axis=-1).astype(np.int64) - sum_x * sum_y  # int64
    floor = _variance_floor(side_px)
    sx, sy = np.maximum(vx, floor).astype(np.float64), np.maximum(vy, floor).astype(np.float64)
    structure = vx / sx + vy / sy - 2 * covariance / np.sqrt(sx * sy)
    return Values(
        np.asarray(mse), turns[dots.argmax(axis=-1)], np.maximum(structure, 0.0), turns[luma_dots.argmax(axis=-1)]
    )


def measure_best(
    read_thumbnails: Callable[[list[int]], Thumbnails], pairs: list[tuple[int, int]], measure: str, *, mirrored: bool
) -> list[tuple[float, float, int, bool]]:
    """For pairs of pictures: mse, structure, and the turn and mirroring of the second that make ``measure`` smallest.

    Each value is the smallest over the allowed orientations; ``mirrored`` allows all eight. Thumbnails are read a few
    at a time.
    """
    found: list[tuple[float, float, int, bool]] = []
    for start in range(0, len(pairs), _READ_AT_ONCE):
        some = pairs[start : start + _READ_AT_ONCE]
        first, second = read_thumbnails([a for a, _ in some]), read_thumbnails([b for _, b in some])
        upright = measure_pairs(first, second, mirrored=False)
        flipped = measure_pairs(first, second, mirrored=True) if mirrored else upright
        better = getattr(flipped, measure) < getattr(upright, measure)  # (M,) bool
        turn = np.where(better, getattr(flipped, f"{measure}_turn"), getattr(upright, f"{measure}_turn"))
        mse = np.minimum(upright.mse, flipped.mse)
        structure = np.minimum(upright.structure, flipped.structure)
        found += zip(mse.tolist(), structure.tolist(), turn.tolist(), better.tolist(), strict=True)
    return found


def cell_luma(thumbnails: Thumbnails) -> NDArray[np.float64]:
    """Luma of the 16 × 16 cells (N, 16, 16) float64: whole numbers, 256 · pixels per cell · grey level."""
    count, side = thumbnails.shape[:2]
    rows = thumbnails.reshape(count, side, side * 3).astype(np.float32) @ _luma_of_row(side)  # (N, S, 16)
    # exact: whole numbers below 2**24 in float32, below 2**53 in float64
    return np.asarray(rows.reshape(count, CELLS_PX, -1, CELLS_PX).sum(axis=2, dtype=np.float64))


@lru_cache
def _luma_of_row(side_px: int) -> NDArray[np.float32]:
    """(S·3, 16): sums the weighted channels of a row of pixels into 16 cells."""
    span = side_px // CELLS_PX
    return np.kron(np.eye(CELLS_PX), np.tile(LUMA_WEIGHTS, span)[:, None]).astype(np.float32)


def normalised_luma(thumbnails: Thumbnails) -> NDArray[np.float64]:
    """The vectors whose mean squared difference is `structure`: (N, 16, 16) float64, rounded as floats are."""
    luma = cell_luma(thumbnails)
    variance, total = _variance(luma)
    scale = np.sqrt(np.maximum(variance, _variance_floor(thumbnails.shape[1])).astype(np.float64))
    return np.asarray((CELLS * luma - total[:, None, None]) / scale[:, None, None])


def flat(thumbnails: Thumbnails) -> NDArray[np.bool_]:
    """Which of the thumbnails (N, S, S, 3) show too little detail to tell copies from look-alikes: (N,) bool."""
    grey = cell_luma(thumbnails).reshape(-1, CELLS) / (256 * (thumbnails.shape[1] // CELLS_PX) ** 2)  # (N, 256)
    surface = _quadratic_surfaces()  # (256, 6)
    rest = grey - (grey @ surface) @ surface.T
    detail = np.sqrt((rest * rest).mean(axis=1))
    return np.asarray(detail < np.maximum(FLAT_GREY_LEVELS, FLAT_SHARE_OF_DEVIATION * grey.std(axis=1)))


@lru_cache
def orientation(side_px: int, turn: int, mirrored: bool) -> NDArray[np.intp]:
    """Where each cell of a side_px × side_px picture comes from when it is mirrored, then turned clockwise."""
    cells = np.arange(side_px * side_px).reshape(side_px, side_px)
    return np.rot90(cells[:, ::-1] if mirrored else cells, -turn // 90).ravel()


def _dots(first: NDArray[np.float64], second: NDArray[np.float64], mirrored: bool) -> NDArray[np.float64]:
    """Scalar products of (M, s, s, c) with the four turns of another: (M, 4) float64."""
    count, side = first.shape[:2]
    turned = np.stack(
        [second.reshape(count, side * side, -1)[:, orientation(side, turn, mirrored)] for turn in TURNS], axis=1
    )  # (M, 4, s·s, c)
    return np.asarray((turned.reshape(count, len(TURNS), -1) @ first.reshape(count, -1, 1))[..., 0])


def _grid_dots(first: NDArray[np.float64], second: NDArray[np.float64], mirrored: bool) -> NDArray[np.float64]:
    """Scalar products of each of (F, s, s, c) with the four turns of each of (K, s, s, c): (F, K, 4) float64."""
    side = first.shape[1]
    cells = first.reshape(len(first), side * side, -1)
    flat = second.reshape(len(second), -1).T
    # the product with a turned picture is that of the other one turned back
    back = [np.argsort(orientation(side, turn, mirrored)) for turn in TURNS]
    return np.stack([cells[:, places].reshape(len(first), -1) @ flat for places in back], axis=-1)


def _squares(thumbnails: Thumbnails) -> NDArray[np.float64]:
    values = thumbnails.reshape(len(thumbnails), -1).astype(np.int64)
    return np.asarray((values * values).sum(axis=1).astype(np.float64))


def _variance(luma: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(V, Σx) of (N, 16, 16) whole numbers, each (N,) int64; V < 2**61 up to 128 px."""
    values = luma.reshape(len(luma), CELLS).astype(np.int64)
    total = values.sum(axis=1)
    return CELLS * (values * values).sum(axis=1) - total * total, total


def _variance_floor(side_px: int) -> int:
    deviation = FLOOR_GREY_LEVELS * 256 * (side_px // CELLS_PX) ** 2
    return (CELLS * deviation) ** 2


@lru_cache
def _quadratic_surfaces() -> NDArray[np.float64]:
    y, x = np.mgrid[0:CELLS_PX, 0:CELLS_PX] / ((CELLS_PX - 1) / 2) - 1
    surfaces = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y]).reshape(6, CELLS).T
    return np.linalg.qr(surfaces)[0]
