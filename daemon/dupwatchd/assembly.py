"""Each step of the way of a change, put together as the settings say; what needs numpy is imported late."""

import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from dupwatch.suffixes import IMAGE_SUFFIXES, RAW_SUFFIXES
from dupwatchd.model import Limits
from dupwatchd.settings import Settings
from dupwatchd.watch.ignore import DEFAULT_IGNORE
from dupwatchd.watch.walk import WalkRules

if TYPE_CHECKING:
    from dupwatchd.compare.measures.exact import ReadThumbnails
    from dupwatchd.compare.search import Search
    from dupwatchd.index.pool import WorkerPool
    from dupwatchd.update.comparing import OpenSearch


def walk_rules(settings: Settings, state: str) -> WalkRules:
    """Which files are taken up."""
    watch = settings.watch
    wanted = frozenset(os.fsencode(suffix) for suffix in watch.suffixes)
    return WalkRules(
        suffixes=wanted or IMAGE_SUFFIXES | RAW_SUFFIXES | {b""},
        ignore=(*watch.ignore, *(DEFAULT_IGNORE if watch.ignore_junk else ())),
        left_out=frozenset([os.fsencode(state)]),
    )


def limits_of(settings: Settings) -> Limits:
    """What counts as a match."""
    compare = settings.compare
    custom = (compare.measure, compare.kept or 0.0) if compare.is_custom else ("", 0.0)
    return Limits(compare.keep_mse, compare.keep_structure, compare.mirrored, *custom, compare.looks_per_picture)


def worker_pool(
    settings: Settings, thumbnail_px: int, attend: Callable[[], None] = lambda: None, workers: int | None = None
) -> "WorkerPool":
    """The processes that read and decode, not started yet; ``attend`` is called while they work."""
    from dupwatchd.index.pool import DecodeLimits, WorkerPool

    index = settings.index
    limits = DecodeLimits(
        decode_seconds=index.decode_seconds,
        memory_mb=index.memory_mb,
        max_pixels=index.max_pixels,
        max_file_mb=index.max_file_mb,
    )
    return WorkerPool(workers or index.workers or processors(), thumbnail_px, limits, attend)


def processors() -> int:
    """How many processors this program may use."""
    return len(os.sched_getaffinity(0))


def search_opener(settings: Settings, side: int) -> "OpenSearch":
    """Makes what compares, as the settings say."""
    compare = settings.compare

    def open_search(limits: Limits, read_thumbnails: "ReadThumbnails") -> "Search":
        from dupwatchd.compare import search

        return search.open_search(limits, read_thumbnails, side, compare.device, compare.device_memory_mb, _warn)

    return open_search


def _warn(line: str) -> None:
    logging.getLogger("dupwatchd").warning("%s", line)
