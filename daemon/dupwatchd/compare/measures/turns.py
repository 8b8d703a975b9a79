"""Scalar products of pictures with all four turns of others, at the price of one and a half products.

Quarter j of a picture is its upper left quarter after j quarter turns counterclockwise. Turned clockwise by k quarter
turns, a picture has the same quarters, k places further on, so that its scalar product with another one is

    d_k = x · turned_k(y) = Σ_j  x_j · y_(j−k)

For pairs that is sixteen small products each (`pair_products`). For every one of F with every one of K pictures the
sums and differences of quarters are multiplied instead: d_0 + d_2 and d_1 + d_3 follow from the x_0 ± x_1 + x_2 ± x_3,
d_0 − d_2 and d_1 − d_3 from x_0 − x_2 and x_1 − x_3, which makes six products of quarters instead of sixteen
(`grid_products`). Whole numbers stay whole.

Arrays are numpy's or, where ``xp`` says so, cupy's.
"""

from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

TURNS = 4

Number = TypeVar("Number", np.uint8, np.float32)

Array = Any  # numpy.ndarray or cupy.ndarray; cupy, which may be missing, cannot be named
ArrayModule = Any  # numpy or cupy


class Spectrum(NamedTuple):
    """Sums and differences of the quarters q_0 … q_3, of Q numbers each, of N pictures."""

    level: Array  # q_0 + q_1 + q_2 + q_3: (N, Q)
    alternating: Array  # q_0 − q_1 + q_2 − q_3: (N, Q)
    opposite: Array  # q_0 − q_2, then q_1 − q_3: (N, 2·Q)


class Products(NamedTuple):
    """The products d_k of F with K pictures, each (F, K); 4·d_0 and 4·d_2 are the first two's sum and difference."""

    even: Array  # 2·(d_0 + d_2)
    even_apart: Array  # 2·(d_0 − d_2)
    odd: Array  # 2·(d_1 + d_3)
    odd_apart: Array  # 2·(d_1 − d_3)


def quarters(pictures: Array, xp: ArrayModule = np) -> Array:
    """The quarters of (N, S, S, C) pictures of any type, S even: (N, 4, S·S·C / 4)."""
    count, side, _, channels = pictures.shape
    flat = pictures.reshape(count, side * side * channels)
    # `take` is twice as fast as copying turned views
    return flat.take(xp.asarray(_places(side, channels)), axis=1).reshape(count, 4, -1)


def turned(pictures: NDArray[Number], quarters: int, mirrored: bool) -> NDArray[Number]:
    """Pictures (N, S, S, C), mirrored left to right if asked, then turned clockwise by so many quarter turns."""
    if not quarters and not mirrored:
        return pictures
    count, side, _, channels = pictures.shape
    flat = pictures.reshape(count, side * side * channels)
    return flat.take(_turned_places(side, channels, quarters, mirrored), axis=1).reshape(pictures.shape)


def pair_products(first: Array, second: Array, pieces: int = 1) -> Array:
    """The d_k of pairs of pictures, from quarters (M, 4, Q) of each: (M, 4) float64.

    Each quarter is multiplied in so many pieces in the type it comes in, and added up in float64.
    """
    count, _, size = first.shape
    shape = count, 4, pieces, size // pieces
    products = first.reshape(shape).swapaxes(1, 2) @ second.reshape(shape).transpose(0, 2, 3, 1)  # (M, pieces, 4, 4)
    summed = products.sum(axis=1, dtype=np.float64)
    return sum(summed[:, j, [(j - k) % 4 for k in range(4)]] for j in range(4))


def spectrum(parts: Array, xp: ArrayModule = np) -> Spectrum:
    """The spectrum of quarters (N, 4, Q) of floats."""
    straight, across = parts[:, 0] + parts[:, 2], parts[:, 1] + parts[:, 3]
    opposite = xp.concatenate([parts[:, 0] - parts[:, 2], parts[:, 1] - parts[:, 3]], axis=1)
    return Spectrum(straight + across, straight - across, opposite)


def grid_products(first: Spectrum, second: Spectrum, xp: ArrayModule = np) -> Products:
    """The d_k of every one of F pictures with every one of K."""
    level = first.level @ second.level.T  # Σ d_k
    alternating = first.alternating @ second.alternating.T  # d_0 − d_1 + d_2 − d_3
    size = first.level.shape[1]
    doubled = 2 * first.opposite
    crossed = xp.concatenate([doubled[:, size:], -doubled[:, :size]], axis=1)
    return Products(level + alternating, doubled @ second.opposite.T, level - alternating, crossed @ second.opposite.T)


def larger(products: Products, xp: ArrayModule = np) -> tuple[Array, Array]:
    """4 · max(d_0, d_2) and 4 · max(d_1, d_3), each (F, K); overwrites the products."""
    even = xp.abs(products.even_apart, out=products.even_apart)
    odd = xp.abs(products.odd_apart, out=products.odd_apart)
    even += products.even
    odd += products.odd
    return even, odd


@lru_cache
def _places(side: int, channels: int) -> NDArray[np.intp]:
    """The places in a picture of the numbers of its four quarters, one quarter after the other."""
    cells = np.arange(side * side * channels).reshape(side, side, channels)
    return np.concatenate([np.rot90(cells, j)[: side // 2, : side // 2].ravel() for j in range(4)])


@lru_cache
def _turned_places(side: int, channels: int, quarters: int, mirrored: bool) -> NDArray[np.intp]:
    """Where the numbers of a mirrored and turned picture stand in the picture."""
    cells = np.arange(side * side * channels).reshape(side, side, channels)
    return np.rot90(cells[:, ::-1] if mirrored else cells, -quarters).ravel()
