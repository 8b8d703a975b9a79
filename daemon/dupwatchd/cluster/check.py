"""`dupwatchd cluster check`: asks every machine of the cluster what it is like, and says which may take part.

In: the settings. Out: a document with one entry per worker. Nothing is read but the names of some photos.
"""

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any, TypedDict

from dupwatchd.cluster import library, reading
from dupwatchd.cluster.connection import ABOUT_SECONDS, why_not, why_silent
from dupwatchd.cluster.reading import About, Sample
from dupwatchd.errors import DupwatchError, UsageError
from dupwatchd.settings import Settings
from dupwatchd.settings.model import ClusterSettings
from dupwatchd.state import decoder_versions

CLOCK_SECONDS_MAX = 2.0  # what the clock of a machine may differ from ours before it is said
_SAMPLES_PER_ROOT = 3
_FOLDERS_MAX = 200  # looked at to find samples, in each root


class WorkerFound(TypedDict):
    """A worker of the cluster."""

    machine: str
    address: str
    processors: int
    takes_part: bool
    because: str  # why not; empty if it does
    same_decoders: bool
    decoders: str
    unseen: list[str]  # photos that this machine sees and that one does not
    clock_seconds: float  # how far its clock is ahead of ours


class Report(TypedDict):
    """What `cluster check` finds."""

    scheduler: str
    tls: bool
    roots: int
    samples: int  # photos by which it was tried whether the machines see them
    workers: list[WorkerFound]


def check(settings: Settings) -> Report:
    """Ask all workers; raises UsageError, and DupwatchError if the scheduler cannot be reached."""
    library.require()
    cluster = settings.cluster
    if cluster.scheduler is None:
        raise UsageError("no cluster is named: set cluster.scheduler, or give --address tls://host:port")
    if reason := library.why_unreachable(cluster):
        raise DupwatchError(f"no scheduler at {cluster.scheduler}: {reason}")
    library.configure(cluster)
    library.keep_quiet()
    roots = [os.path.realpath(os.fsencode(root)) for root in settings.roots]  # photos are told of by their real names
    samples = [sample for root in roots for sample in _samples(root)]
    try:
        workers = asyncio.run(_ask(cluster, samples))
    except (OSError, TimeoutError) as error:
        reason = str(error) or "no word"
        raise DupwatchError(f"the scheduler at {cluster.scheduler} does not answer: {reason}") from error
    return {
        "scheduler": cluster.scheduler,
        "tls": cluster.has_tls,
        "roots": len(roots),
        "samples": len(samples),
        "workers": sorted(workers, key=lambda one: (one["machine"], one["address"])),
    }


def lines(report: Report) -> Iterator[str]:
    """The report for a person."""
    how = "TLS, own authority" if report["tls"] else "no TLS, this machine only"
    yield f"{report['scheduler']}: {how}"
    for one in report["workers"]:
        what = "takes part" if one["takes_part"] else f"does not take part: {one['because']}"
        yield f"{one['machine']} ({one['address']}, {one['processors']} processors): {what}"
        if abs(one["clock_seconds"]) > CLOCK_SECONDS_MAX:
            yield f"{one['machine']}: its clock is {one['clock_seconds']:+.0f} s off; let NTP set both"
    if not report["workers"]:
        yield "no worker is connected: run `dupwatchd cluster worker` on each machine"
    elif not report["samples"]:
        where = "no photo is below the roots" if report["roots"] else "name the roots in the settings, or with --root"
        yield f"whether they see the photos was not tried: {where}"


async def _ask(cluster: ClusterSettings, samples: Sequence[Sample]) -> list[WorkerFound]:
    from distributed import Client

    async with Client(
        cluster.scheduler,
        asynchronous=True,
        security=library.security_of(cluster),
        timeout=library.CONNECT_SECONDS,
        set_as_default=False,
        name="dupwatch-check",
    ) as client:
        threads = await asyncio.wait_for(client.nthreads(), ABOUT_SECONDS)
        return await asyncio.gather(*(_ask_one(client, worker, samples) for worker in threads))


async def _ask_one(client: Any, worker: str, samples: Sequence[Sample]) -> WorkerFound:
    began = time.time()
    words = [tuple(sample) for sample in samples]
    try:
        answers = await asyncio.wait_for(
            client.run(reading.about, words, workers=[worker], on_error="return"), ABOUT_SECONDS
        )
        answer: About | Exception = answers[worker]
    except (OSError, TimeoutError, KeyError) as error:
        answer = error
    if isinstance(answer, Exception):
        return {
            "machine": worker, "address": worker, "processors": 0, "takes_part": False, "because": why_silent(answer),
            "same_decoders": False, "decoders": "", "unseen": [], "clock_seconds": 0.0,
        }  # fmt: skip
    ours = decoder_versions()
    because = why_not(answer, ours)
    return {
        "machine": answer["name"],
        "address": worker,
        "processors": answer["processors"],
        "takes_part": not because,
        "because": because,
        "same_decoders": answer["decoders"] == ours,
        "decoders": answer["decoders"],
        "unseen": answer["unseen"],
        "clock_seconds": round(answer["clock"] - (began + time.time()) / 2, 3),
    }


def _samples(root: bytes) -> list[Sample]:
    """Some files below a root."""
    found: list[Sample] = []
    for folders, (path, _, names) in enumerate(os.walk(root)):
        for name in sorted(names):
            full = os.path.join(path, name)
            if os.path.isfile(full) and not os.path.islink(full):
                found.append(Sample(os.fsdecode(full), os.path.getsize(full)))
            if len(found) == _SAMPLES_PER_ROOT:
                return found
        if folders >= _FOLDERS_MAX:
            break
    return found
