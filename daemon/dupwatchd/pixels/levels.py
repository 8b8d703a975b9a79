"""What OpenCV does for the rest of the package, in our types and words. Nothing else here knows it.

It runs in one thread: results must not depend on how work is split, and whoever calls runs one process a core.
"""

import functools
from collections.abc import Sequence
from typing import TypeVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray

Levels = NDArray[np.uint8]  # grey levels 0 … 255
Floats = NDArray[np.float32]
Map = NDArray[np.float64]  # (2, 3), takes the centre of a pixel of a target, (x, y), to a place of a source
Size = tuple[int, int]  # (width, height)

Plane = TypeVar("Plane", Levels, Floats)  # (H, W) or (H, W, C)

_STROKE_LEVELS, _LOST_LEVELS = 80, 60  # the range of luma at a stroke, and what makes it another
_BLOCK_PX = 16  # that detail is told for

OUTSIDE = -1e4  # stands for what lies beyond a source

_AROUND = np.ones((3, 3), np.uint8)
_TURNS = cv2.ROTATE_90_CLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_COUNTERCLOCKWISE

cv2.setNumThreads(1)


def averaged(plane: Plane, size: Size) -> Plane:
    """Shrunk; each pixel is the mean of what it covers."""
    return cast("Plane", cv2.resize(plane, size, interpolation=cv2.INTER_AREA))


def averaged_over(plane: Plane, extent: tuple[float, float], size: Size, *, linear_up_to: float = 1.0) -> Plane:
    """Shrunk to ``size`` by averaging, where the picture covers only ``extent`` (columns, rows) of the plane.

    The extent is as large as the plane, or less than a pixel smaller on each side. Shrunk by no more than
    ``linear_up_to``, pixels are interpolated in straight lines, which takes a third of the time: up to 2, each of them
    counts then, too.
    """
    scale = size[0] / extent[0], size[1] / extent[1]
    how = cv2.INTER_LINEAR if 1 < max(1 / scale[0], 1 / scale[1]) <= linear_up_to else cv2.INTER_AREA
    shrunk = cv2.resize(plane, None, fx=scale[0], fy=scale[1], interpolation=how)
    return cast("Plane", shrunk[: size[1], : size[0]])


def halved_in_boxes(rgb: Levels) -> Levels:
    """The means of two by two pixels; an odd last row or column is left out."""
    height, width = rgb.shape[0] // 2, rgb.shape[1] // 2
    return averaged(rgb[: 2 * height, : 2 * width], (width, height))


def stretched(plane: Plane, size: Size) -> Plane:
    """Between the pixels in straight lines."""
    return cast("Plane", cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR))


def resized(plane: Plane, size: Size) -> Plane:
    """Averaged where it shrinks, interpolated where it grows."""
    if size == plane.shape[1::-1]:
        return plane
    if size[0] <= plane.shape[1] and size[1] <= plane.shape[0]:
        return averaged(plane, size)
    return cast("Plane", cv2.resize(plane, size, interpolation=cv2.INTER_CUBIC))


def resized_together(planes: Sequence[Levels], size: Size) -> list[Levels]:
    """Each of some planes (H, W), `resized`.

    OpenCV adds up the pixels of a row one by one, and those of several planes of one shape at once. (Not so where whole
    pixels are averaged: there, several planes may be rounded otherwise than one.)
    """
    first = planes[0].shape[1::-1]
    shrinks = size[0] < first[0] and size[1] < first[1]
    whole = first[0] % size[0] == first[1] % size[1] == 0
    if not shrinks or whole or any(plane.shape[1::-1] != first for plane in planes):
        return [resized(plane, size) for plane in planes]
    merged = cast("Levels", cv2.merge(planes))
    return cast("list[Levels]", [*cv2.split(averaged(merged, size))])


def halved(plane: Floats) -> Floats:
    """Blurred and every second row and column of it."""
    return cast("Floats", cv2.pyrDown(plane))


def halved_exactly(plane: Floats) -> Floats:
    """The means of two by two pixels; an odd last row or column is left out."""
    height, width = plane.shape[0] // 2, plane.shape[1] // 2
    return averaged(plane[: 2 * height, : 2 * width], (width, height))


def edged(rgb: Levels, columns: int, rows: int) -> Levels:
    """With so many more columns and rows, which repeat the last ones."""
    return cast("Levels", cv2.copyMakeBorder(rgb, 0, rows, 0, columns, cv2.BORDER_REPLICATE))


def blurred(plane: Plane, deviation_px: float) -> Plane:
    """By a Gaussian of that deviation."""
    return cast("Plane", cv2.GaussianBlur(plane, (0, 0), deviation_px))


def blur_into(target: Floats, plane: Floats, deviation_px: float, reach: float) -> None:
    """Likewise, into another plane of its shape, by a Gaussian that is cut off at so many deviations."""
    weights = _gaussian(deviation_px, reach)
    cv2.sepFilter2D(plane, -1, weights, weights, dst=target)


@functools.cache
def _gaussian(deviation_px: float, reach: float) -> Floats:
    side = 2 * max(1, round(reach * deviation_px)) + 1
    return cast("Floats", cv2.getGaussianKernel(side, deviation_px, cv2.CV_32F))


def box_mean(plane: Plane, side_px: int) -> Plane:
    """The mean of the box around each pixel."""
    return cast("Plane", cv2.boxFilter(plane, -1, (side_px, side_px)))


def box_mean_and_deviation(plane: Floats, side_px: int) -> tuple[Floats, Floats]:
    """The mean of the box around each pixel, and the deviation within it."""
    mean, squares = box_mean_and_square(plane, side_px)
    squares -= mean * mean
    return mean, root(squares)


def box_mean_and_square(plane: Floats, side_px: int) -> tuple[Floats, Floats]:
    """The mean of the box around each pixel, and the mean of its squares."""
    return box_mean(plane, side_px), cast("Floats", cv2.sqrBoxFilter(plane, cv2.CV_32F, (side_px, side_px)))


def deviation(plane: Plane) -> float:
    """The deviation of the whole plane (H, W)."""
    return float(cv2.meanStdDev(plane)[1][0, 0])


def difference(plane: Plane, other: Plane) -> Plane:
    """How far each pixel is from that of the other plane."""
    return cast("Plane", cv2.absdiff(plane, other))


def root(plane: Floats) -> Floats:
    """The square root, and zero of what rounding made less than nothing; overwrites the plane."""
    return cast("Floats", cv2.sqrt(np.maximum(plane, np.float32(0), out=plane), dst=plane))


def range_around(plane: Plane) -> Plane:
    """The largest less the smallest of the nine pixels around each."""
    return cast("Plane", cv2.morphologyEx(plane, cv2.MORPH_GRADIENT, _AROUND))


def spread(plane: Floats, reach_px: int) -> Floats:
    """The largest value within so many pixels."""
    side = 2 * reach_px + 1
    return cast("Floats", cv2.dilate(plane, np.ones((side, side), np.uint8)))


def slopes(plane: Floats) -> tuple[Floats, Floats]:
    """How much each pixel rises to the right and downwards, in levels a pixel."""
    across, down = (cv2.Sobel(plane, cv2.CV_32F, x, 1 - x, scale=1 / 8) for x in (1, 0))
    return cast("Floats", across), cast("Floats", down)


def looked_up(plane: Levels, table: Plane) -> Plane:
    """The entry of a table (256,) for each pixel."""
    return cast("Plane", cv2.LUT(plane, table))


def fine_detail(*planes: Levels) -> Floats:
    """How much each block of some planes of one shape differs from itself a little blurred, in grey levels: (P, N)."""
    differences = cv2.merge([cv2.absdiff(plane, blurred(plane, 0.8)) for plane in planes]).astype(np.float32)
    blocks = max(1, planes[0].shape[1] // _BLOCK_PX), max(1, planes[0].shape[0] // _BLOCK_PX)
    # OpenCV adds up the pixels of a row one by one; those of several planes, at once.
    return averaged(differences, blocks).reshape(-1, len(planes)).T


def turned(plane: Levels, turn_degrees: int, *, mirrored: bool) -> Levels:
    """A plane (H, W) or pixels (H, W, C), mirrored, if asked, and then turned clockwise by quarters.

    numpy takes three times as long to put pixels of three colours into that order.
    """
    if mirrored:
        plane = cast("Levels", cv2.flip(plane, 1))
    quarters = turn_degrees // 90 % 4
    return cast("Levels", cv2.rotate(plane, _TURNS[quarters - 1])) if quarters else plane


def histogram(plane: Levels) -> NDArray[np.int64]:
    """How often each grey level occurs in a plane of at most 16 million pixels: (256,)."""
    return cast("Floats", cv2.calcHist([plane], [0], None, [256], [0, 256])).ravel().astype(np.int64)


def strokes(ranges: Levels, stroke_levels: int) -> Levels:
    """1 where a pixel lies on a stroke, by the range of luma in the nine pixels around, 0 elsewhere."""
    return (ranges >= stroke_levels).view(np.uint8)


def calm_beside(strokes: Levels, ranges: Levels, calm_levels: int, reach_px: int) -> int:
    """How many of a thousand pixels within that reach of strokes have no more than so many levels of range."""
    near = cast("Levels", cv2.dilate(strokes, np.ones((2 * reach_px + 1, 2 * reach_px + 1), np.uint8)))
    calm = cv2.countNonZero(near & (ranges <= calm_levels).view(np.uint8))
    return 1000 * calm // max(1, cv2.countNonZero(near))


def per_mille(mask: Levels) -> int:
    """How many of a thousand pixels are not 0."""
    return 1000 * cv2.countNonZero(mask) // mask.size


def lost_strokes(luma: Levels, size: Size, blur_px: float) -> int:
    """How many strokes of a thousand a picture of that size and so blurred cannot show."""
    shrinks = size[0] < luma.shape[1] and size[1] < luma.shape[0]
    if not shrinks and not blur_px:
        return 0
    shown = averaged(luma, size) if shrinks else luma
    shown = stretched(blurred(shown, blur_px) if blur_px else shown, luma.shape[1::-1])
    lost = int(np.count_nonzero(cv2.absdiff(luma, shown) > _LOST_LEVELS))
    strokes = int(np.count_nonzero(range_around(luma) >= _STROKE_LEVELS))
    return 1000 * lost // max(1, strokes) if 1000 * strokes > luma.size else 0


def grey(rgb: Levels) -> Levels:
    """Luma (H, W) of (H, W, 3)."""
    return cast("Levels", cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))


def blue_and_red(rgb: Levels) -> Levels:
    """Cb and Cr (2, H, W) of (H, W, 3)."""
    planes = np.empty((2, *rgb.shape[:2]), np.uint8)
    both = cv2.cvtColor(rgb, cv2.COLOR_RGB2YCrCb)
    for plane, channel in zip(planes, (2, 1), strict=True):
        cv2.extractChannel(both, channel, dst=plane)
    return planes


def warped(source: Floats, map_: Map, size: Size) -> Floats:
    """The source as a target of that size sees it, `OUTSIDE` beyond its edges."""
    return cast(
        "Floats",
        cv2.warpAffine(
            source, map_, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT, borderValue=OUTSIDE,
        ),
    )  # fmt: skip


def warped_sharply(source: Levels, map_: Map, size: Size) -> Levels:
    """Likewise, by cubic curves, and with its edges repeated."""
    return cast(
        "Levels",
        cv2.warpAffine(
            source, map_, size, flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
        ),
    )


def sampled(source: Floats, x: Floats, y: Floats) -> Floats:
    """The source at places (N, M), in straight lines between its pixels."""
    return cast("Floats", cv2.remap(source, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def shared_area(outline: Floats, other: Floats) -> tuple[float, float]:
    """Of two four-cornered outlines (4, 2): the area that both cover, and that of the first."""
    shared, _ = cv2.intersectConvexConvex(outline, other)
    return float(shared), float(cv2.contourArea(outline))
