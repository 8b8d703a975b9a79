"""What runs on a machine of the cluster: it reads one batch of files, and says what the machine is like.

In: the bytes of a request. Out: the bytes of a reply. Each thread in which Dask runs batches has a pool of one decode
process of its own, with all its limits: Dask itself limits nothing that a task does. `set_up` is called once, before
the machine's worker starts.
"""

import asyncio
import os
import socket
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple, TypedDict

from dupwatchd.cluster import messages
from dupwatchd.errors import DupwatchError
from dupwatchd.index.limits import DecodeLimits
from dupwatchd.index.pool import WorkerPool
from dupwatchd.model import Job
from dupwatchd.state import decoder_versions
from dupwatchd.suffixes import way_of_reading


class Sample(NamedTuple):
    """A file that the writer sees, by which a machine shows that it sees the same."""

    path: str  # with surrogate escapes, as the writer calls it
    size_bytes: int


class About(TypedDict):
    """What a machine says of itself."""

    name: str
    decoders: str  # versions of all that decides what a picture is decoded to
    unseen: list[str]  # of the samples, those that it does not find, or finds otherwise
    clock: float  # seconds since 1970
    processors: int


_names: tuple[str, Sequence[tuple[bytes, bytes]]] = (socket.gethostname(), ())
_of_thread = threading.local()


def set_up(name: str, paths: Sequence[str]) -> None:
    """Say how this machine is called, and where it finds the photos (the setting ``cluster.paths``)."""
    global _names  # Dask calls the functions below by name, in this process
    pairs = [
        (there.rstrip(b"/"), here.rstrip(b"/"))
        for there, _, here in (os.fsencode(both).partition(b"=") for both in paths)
    ]
    _names = name, sorted(pairs, key=lambda pair: -len(pair[0]))  # a folder within another may have its own place


async def about(samples: Sequence[tuple[str, int]]) -> About:
    """What this machine is like; ``samples`` are `Sample`. A disk that hangs does not hold up the worker."""
    return await asyncio.to_thread(_about, [Sample(*one) for one in samples])


def read_batch(request: bytes) -> bytes:
    """Read a batch, as a task of Dask: the bytes of a request in, those of its reply out."""
    from distributed import get_worker

    worker = get_worker().address
    batch = messages.parse_request(request)
    jobs = [Job(job.file_id, _here(job.path), job.stamp) for job in batch.jobs]
    claimed: set[tuple[bytes, int]] = set()

    def known(job: Job, digest: bytes) -> bool:
        key = (digest, way_of_reading(job.path))
        if key in claimed or digest[: messages.PREFIX_BYTES].hex() in batch.known[job.file_id]:
            return True
        claimed.add(key)
        return False

    try:
        return messages.reply(worker, list(_pool(batch.thumbnail_px, batch.limits).index(jobs, known)))
    except DupwatchError as error:  # no decode process can be started, or too many hang
        return messages.refusal(worker, str(error))


def _about(samples: Sequence[Sample]) -> About:
    return {
        "name": _names[0],
        "decoders": decoder_versions(),
        "unseen": [one.path for one in samples if not is_seen(os.fsdecode(_here(os.fsencode(one.path))), one)],
        "clock": time.time(),
        "processors": len(os.sched_getaffinity(0)),
    }


def is_seen(path: str, sample: Sample) -> bool:
    """Whether a file of the size of that sample is at this path, here."""
    try:
        return os.stat(path).st_size == sample.size_bytes
    except OSError:
        return False


def _here(path: bytes) -> bytes:
    """Where this machine finds what the writer calls so."""
    for there, here in _names[1]:
        if path.startswith(there + b"/"):
            return here + path[len(there) :]
    return path


def _pool(thumbnail_px: int, limits: DecodeLimits) -> WorkerPool:
    """The pool of this thread, as the writer wants it."""
    wanted = (thumbnail_px, limits)
    if getattr(_of_thread, "made_for", None) != wanted:
        if (before := getattr(_of_thread, "pool", None)) is not None:
            before.close()
        _of_thread.pool, _of_thread.made_for = WorkerPool(1, thumbnail_px, limits), wanted
    pool: WorkerPool = _of_thread.pool
    return pool
