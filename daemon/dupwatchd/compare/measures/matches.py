"""Which of given pairs of pictures match by our own measures: candidates in, matches out."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from dupwatchd.arrays import Matches, Thumbnails
from dupwatchd.compare.measures import exact
from dupwatchd.model import Limits

Places = NDArray[np.intp]


class Pictures(NamedTuple):
    """N pictures at hand."""

    ids: NDArray[np.int64]  # (N,)
    thumbnails: Thumbnails

    def chosen(self, rows: Places) -> "Pictures":
        """The pictures in these rows."""
        return Pictures(self.ids[rows], self.thumbnails[rows])


class MatchesOf(Protocol):
    """Says which of the pairs (first[rows[i]], second[columns[i]]) match."""

    def __call__(  # noqa: D102 - see the class
        self, first: Pictures, second: Pictures, rows: Places, columns: Places, *, mirrored: bool
    ) -> Matches: ...


def matches_within(
    limits: Limits, first: Pictures, second: Pictures, rows: Places, columns: Places, *, mirrored: bool
) -> Matches:
    """The matches among the pairs (first[rows[i]], second[columns[i]]): those within either limit; exact values."""
    values = exact.measure_chosen(first.thumbnails, second.thumbnails, rows, columns, mirrored=mirrored)
    within = np.flatnonzero((values.mse <= limits.keep_mse) | (values.structure <= limits.keep_structure))
    return Matches.between(
        first.ids[rows[within]],
        second.ids[columns[within]],
        values.mse[within],
        values.structure[within],
        mirrored=mirrored,
    )


def tiles(rows: Places, columns: Places, height: int, width: int) -> Iterator[Places]:
    """Places of pairs, grouped by tiles of the matrix of all pairs: so many rows times so many columns each."""
    tile = (rows // height) * (columns.max(initial=0) // width + 1) + columns // width
    by_tile = np.argsort(tile, kind="stable")
    if len(by_tile):
        yield from np.split(by_tile, np.flatnonzero(np.diff(tile[by_tile])) + 1)
