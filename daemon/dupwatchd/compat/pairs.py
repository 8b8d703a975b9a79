"""All pairs of pictures of an index within an mse: pictures go in, pairs with their mse come out, some at a time."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dupwatch.progress import Bars
from dupwatchd.arrays import Thumbnails
from dupwatchd.assembly import processors
from dupwatchd.compare.measures import exact
from dupwatchd.compare.measures.descriptors import describe
from dupwatchd.compare.search import open_search
from dupwatchd.compat.file_index import OpenIndex
from dupwatchd.model import Limits, PictureId

LARGEST_MSE = 65025.0
_PICTURES_AT_ONCE = 4096
_PAIRS_AT_ONCE = 256  # whose thumbnails are subtracted at once: 75 MB at 128 px

ReadThumbnails = Callable[[Sequence[int]], Thumbnails]
Ints = NDArray[np.int64]


class Pairs(NamedTuple):
    """M pairs of pictures within the threshold."""

    a: Ints
    b: Ints
    mse: NDArray[np.float64]

    def within(self, threshold: float) -> "Pairs":
        """Those of the pairs within an mse."""
        rows = np.flatnonzero(self.mse <= threshold)
        return Pairs(self.a[rows], self.b[rows], self.mse[rows])


def pairs_within(
    index: OpenIndex,
    pictures: Sequence[PictureId],
    threshold: float,
    progress: Bars,
    *,
    rotate: bool,
    warn: Callable[[str], None],
    threads: int | None = None,
) -> Iterator[Pairs]:
    """Yield all pairs of these pictures within an mse, some at a time, each once.

    With ``rotate`` the smallest mse over the four quarter turns counts, else that of the pictures as they are.
    ``warn`` is called with one line if a GPU that is asked for cannot be used; ``threads`` None: one per processor.
    """
    read = index.read_thumbnails
    limits = Limits(min(threshold, LARGEST_MSE), 0.0, mirrored=False)
    compare = index.settings.compare
    search = open_search(limits, read, index.thumbnail_px, compare.device, compare.device_memory_mb, warn)
    parts = [pictures[start : start + _PICTURES_AT_ONCE] for start in range(0, len(pictures), _PICTURES_AT_ONCE)]
    threads = threads or processors()
    progress.stage("describing", len(pictures), "pictures")
    with ThreadPoolExecutor(threads) as pool:
        for part, described in zip(parts, pool.map(lambda part: describe(read(part)), parts), strict=True):
            search.add(part, described)
            progress.advance(len(part))
    progress.stage("comparing", len(pictures), "pictures")
    for count, some in search.match_all(pictures, threads):
        for found in some:
            pairs = Pairs(found.a, found.b, found.mse)  # those of equal structure come as well
            yield pairs.within(threshold) if rotate else _as_they_are(pairs, read).within(threshold)
        progress.advance(count)


class Groups:
    """The members of each picture, such as its files; pictures and members are numbers from 0 on."""

    def __init__(self, picture: Ints) -> None:
        """``picture`` (N,): that of each member."""
        self.order: Ints = np.argsort(picture, kind="stable")  # members, those of one picture together
        self.count: Ints = np.bincount(picture)  # (P,) members of each picture
        self.start: Ints = np.cumsum(self.count) - self.count  # (P,) where they begin

    def times(self, a: Ints, b: Ints) -> Ints:
        """How many pairs of members each of some pairs of pictures has."""
        return np.asarray(self.count[a] * self.count[b], np.int64)

    def between(self, a: Ints, b: Ints) -> tuple[Ints, Ints, Ints]:
        """Of all pairs of members of some pairs of pictures: the pair of pictures, by its place, and both members."""
        times = self.times(a, b)
        row = np.repeat(np.arange(len(times)), times)
        within = np.arange(len(row)) - np.repeat(np.cumsum(times) - times, times)
        of_b = self.count[b[row]]
        return row, self.order[self.start[a[row]] + within // of_b], self.order[self.start[b[row]] + within % of_b]


def _as_they_are(pairs: Pairs, read: ReadThumbnails) -> Pairs:
    """Return pairs with their mse without any turn, which is no smaller than that in the best turn."""
    mse = np.empty(len(pairs.mse))
    for start in range(0, len(mse), _PAIRS_AT_ONCE):
        part = slice(start, start + _PAIRS_AT_ONCE)
        mse[part] = mse_of(read(pairs.a[part].tolist()), read(pairs.b[part].tolist()), rotate=False)
    return Pairs(pairs.a, pairs.b, mse)


def mse_of(first: Thumbnails, second: Thumbnails, *, rotate: bool) -> NDArray[np.float64]:
    """Return the mse of pairs of thumbnails, each (M, S, S, 3): the smallest over the quarter turns, or as they are."""
    if rotate:
        return exact.measure_pairs(first, second, mirrored=False).mse
    difference = first.astype(np.int32) - second
    return np.asarray((difference * difference).mean(axis=(1, 2, 3), dtype=np.float64))
