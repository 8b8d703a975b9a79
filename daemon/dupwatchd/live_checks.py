"""What the index cannot tell of a file or a pair at the moment of an answer, asked of disk and thumbnails."""

import os
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING

from dupwatch.families import likely_companions
from dupwatchd.db.answers import Copy
from dupwatchd.serve.clusters import Measured, MeasurePairs, Pair
from dupwatchd.settings import Settings
from dupwatchd.state import thumbnails_of

if TYPE_CHECKING:
    from dupwatchd.blocks.store import CheckedThumbnails
    from dupwatchd.compare.search import CustomMeasure


def presence(
    offline: Sequence[bytes], just_walked: Sequence[bytes] = (), inside: Sequence[bytes] = (b"/",)
) -> Callable[[Copy], bool]:
    """Tells whether a file is on disk as the index knows it.

    Nothing below an ``offline`` folder is, and nothing outside the folders ``inside`` counts. Files below a folder
    that was ``just_walked`` are there without another look.
    """
    walked, away, within = _prefixes(just_walked), _prefixes(offline), _prefixes(inside)

    def is_there(copy: Copy) -> bool:
        if copy.path.startswith(away) or not copy.path.startswith(within):
            return False
        if copy.path.startswith(walked):
            return True
        try:
            status = os.lstat(copy.path)
        except OSError:
            return False
        return (status.st_size, status.st_mtime_ns) == (copy.size_bytes, copy.mtime_ns)

    return is_there


def has_sidecar(copy: Copy) -> bool:
    """Does a sidecar lie beside a file, as far as its name is a likely one? A folder may hold too much to be listed."""
    folder, name = os.path.split(copy.path)
    return any(os.path.lexists(os.path.join(folder, one)) for one in likely_companions(name))


def _prefixes(folders: Sequence[bytes]) -> tuple[bytes, ...]:
    """What the paths of all files below the folders start with."""
    return tuple(folder.rstrip(b"/") + b"/" for folder in folders)


def measurer(
    settings: Settings, state: str, side: int, digests_of: Callable[[Sequence[int]], list[bytes]]
) -> MeasurePairs:
    """A function that measures pairs of pictures on their thumbnails; for one thread at a time.

    ``digests_of`` gives the digests of thumbnails that the database has; one that differs raises DamagedBlocksError.
    By a measure of the user's own pictures may always be turned.
    """

    @cache
    def blocks() -> "CheckedThumbnails":
        from dupwatchd.blocks.store import CheckedThumbnails, as_digests

        return CheckedThumbnails(thumbnails_of(state, side), lambda ids: as_digests(digests_of(ids)))

    @cache
    def custom() -> "CustomMeasure":
        from dupwatchd.compare.search import load_custom

        return load_custom(settings.compare.measure, side)

    def measure_pairs(pairs: list[Pair], measure: str, mirrored: bool, turned: bool) -> list[Measured]:
        from dupwatchd.compare.measures.exact import measure_best
        from dupwatchd.compare.search import best_values

        if measure == "custom":
            return [Measured(*one) for one in best_values(custom(), blocks().read, pairs, mirrored=mirrored)]
        values = measure_best(blocks().read, pairs, measure, mirrored=mirrored, turned=turned)
        return [Measured(*one) for one in values]

    return measure_pairs
