"""Each step of the way of a change, put together as the settings say; what needs numpy is imported late."""

import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from dupwatch.suffixes import IMAGE_SUFFIXES, RAW_SUFFIXES
from dupwatchd.db.connection import Database
from dupwatchd.db.files import digests_by_size
from dupwatchd.model import Limits
from dupwatchd.settings import Settings
from dupwatchd.watch.ignore import DEFAULT_IGNORE
from dupwatchd.watch.walk import WalkRules

if TYPE_CHECKING:
    from dupwatchd.cluster.machines import Machines
    from dupwatchd.cluster.pool import ClusterPool
    from dupwatchd.compare.measures.exact import ReadThumbnails
    from dupwatchd.compare.search import Search
    from dupwatchd.index.limits import DecodeLimits
    from dupwatchd.index.pool import WorkerPool
    from dupwatchd.update.comparing import OpenSearch

_DIGESTS_PER_SIZE = 64  # sent with a file to a machine of the cluster, so that it decodes none of them again


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
    settings: Settings,
    thumbnail_px: int,
    attend: Callable[[], None] = lambda: None,
    workers: int | None = None,
    *,
    frames: bool = True,
) -> "WorkerPool":
    """The processes that read and decode, not started yet; ``attend`` is called while they work.

    Keypoints are made if the settings want them, and ``frames``.
    """
    from dupwatchd.index.pool import WorkerPool

    count = workers or settings.index.workers or processors()
    return WorkerPool(count, thumbnail_px, _decode_limits(settings, frames=frames), attend)


def reading_pool(
    settings: Settings,
    thumbnail_px: int,
    database: Database,
    machines: "Machines | None",
    attend: Callable[[], None] = lambda: None,
) -> "WorkerPool | ClusterPool":
    """As `worker_pool`; much is read on the cluster, if the settings name one. Raises UsageError."""
    here = worker_pool(settings, thumbnail_px, attend)
    if machines is None:
        return here
    from dupwatchd.cluster.pool import ClusterPool

    return ClusterPool(
        here,
        settings.cluster,
        thumbnail_px,
        _decode_limits(settings),
        lambda sizes_bytes: digests_by_size(database, sizes_bytes, _DIGESTS_PER_SIZE),
        machines,
        attend,
    )


def machines_of(settings: Settings) -> "Machines | None":
    """What is told of the machines of the cluster; None: the settings name none."""
    if settings.cluster.scheduler is None:
        return None
    from dupwatchd.cluster.machines import Machines

    return Machines(settings.cluster.scheduler, stops=settings.cluster.when_lost == "stop")


def _decode_limits(settings: Settings, *, frames: bool = True) -> "DecodeLimits":
    from dupwatchd.index.limits import DecodeLimits

    index = settings.index
    return DecodeLimits(
        decode_seconds=index.decode_seconds,
        memory_mb=index.memory_mb,
        max_pixels=index.max_pixels,
        max_file_mb=index.max_file_mb,
        with_keypoints=frames and index.frames,
    )


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
