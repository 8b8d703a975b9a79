"""The second loop of fast-diff-py: pairs of files are compared, and those within the threshold go into its table.

In: an open index, the settings of a job, its files. Out: rows of the table of differences, and plots.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from dupwatch.progress import Bars
from dupwatchd.assembly import processors
from dupwatchd.compat import fastdiff_plots as plots
from dupwatchd.compat.fastdiff_config import SecondLoopRuntimeConfig
from dupwatchd.compat.fastdiff_db import SQLiteDB
from dupwatchd.compat.fastdiff_pairs import (
    CHANNELS,
    UNLIKE_SIDES,
    Difference,
    Error,
    Files,
    Found,
    Rules,
    near_pairs,
    pairs_of_unlike_sides,
    pairs_one_by_one,
    pairs_with_equal_hashes,
)
from dupwatchd.compat.file_index import OpenIndex
from dupwatchd.compat.pairs import pairs_within
from dupwatchd.model import PictureId

_ROUNDING = 1 + 1e-9  # a third of a threshold is not exact; what is above the threshold is left out afterwards


@dataclass
class Comparing:
    """All pairs of a job; used once."""

    index: OpenIndex
    db: SQLiteDB
    keys: Sequence[int]  # of the files, by row
    files: Files
    config: SecondLoopRuntimeConfig
    rotate: bool
    own_difference: Difference | None  # a user's function in place of our measure
    warn: Callable[[str], None]
    commit: Callable[[], None]  # called now and then

    def run(self, bars: Bars) -> None:
        """Compare, and write what is within the threshold."""
        config = self.config
        rules = Rules(config.match_aspect_by, config.skip_matching_hash)
        config.total = self.files.pair_count
        parts: list[Iterator[Found | Error]] = []
        if rules.skip_matching_hash:
            parts.append(pairs_with_equal_hashes(self.files))
        parts.append(self._by_own_function(rules, bars) if self.own_difference else self._near(rules, bars))
        if config.keep_non_matching_aspects and rules.match_aspect_by is not None:
            parts.append(pairs_of_unlike_sides(self.files, rules))
        for some in chain.from_iterable(parts):
            self._take(some)
        config.done = config.total

    @property
    def _threads(self) -> int:
        config = self.config
        return min(config.cpu_proc, processors()) or 1 if config.parallel else 1

    def _near(self, rules: Rules, bars: Bars) -> Iterator[Found]:
        pictures = [PictureId(one) for one in np.unique(self.files.picture).tolist()]
        near = pairs_within(
            self.index, pictures, self._largest / CHANNELS * _ROUNDING, bars,
            rotate=self.rotate, warn=self.warn, threads=self._threads,
        )  # fmt: skip
        yield from near_pairs(self.files, rules, near, self.index.thumbnail_px)

    def _by_own_function(self, rules: Rules, bars: Bars) -> Iterator[Found | Error]:
        assert self.own_difference is not None
        config = self.config
        bars.stage("comparing", len(self.keys), "files")
        bars.advance(config.cache_index)
        for found, errors in pairs_one_by_one(
            self.files, rules, self.index.read_thumbnails, self.own_difference,
            rotate=self.rotate, threads=self._threads, first_row=config.cache_index,
        ):  # fmt: skip
            yield found
            yield from errors
            config.cache_index += 1
            self.commit()
            bars.advance()

    @property
    def _plot_threshold(self) -> float:
        config = self.config
        if not config.make_diff_plots:
            return -1.0
        return config.diff_threshold if config.plot_threshold is None else config.plot_threshold

    @property
    def _largest(self) -> float:
        """The largest difference that is of use."""
        return max(self.config.diff_threshold, self._plot_threshold)

    def _take(self, some: Found | Error) -> None:
        if isinstance(some, Error):
            self.db.insert_errors([(self.keys[some.a], self.keys[some.b], some.trace)])
            return
        rows = [
            (self.keys[a], self.keys[b], dif, some.success)
            for a, b, dif in zip(some.a.tolist(), some.b.tolist(), some.dif.tolist(), strict=True)
        ]
        self.db.insert_differences([row for row in rows if row[2] <= self.config.diff_threshold])
        if some.success != UNLIKE_SIDES and self._plot_threshold >= 0:
            for a, b, dif in zip(some.a.tolist(), some.b.tolist(), some.dif.tolist(), strict=True):
                if dif <= self._plot_threshold:
                    self._plot(a, b, dif)

    def _plot(self, a: int, b: int, dif: float) -> None:
        assert self.config.plot_output_dir is not None  # or it would have been refused
        file = os.path.join(self.config.plot_output_dir, f"{self.keys[a]}_{self.keys[b]}.png")
        plots.draw(self.index.pool, [self.files.paths[a], self.files.paths[b]], dif, file)
