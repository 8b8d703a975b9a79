"""The writer's end of Dask: batches go in, their replies come out, in any order.

A thread of its own runs Dask's client and one coroutine per batch; it ends with the connection. The thread that indexes
calls the methods of `Connection`, and alone hears that the scheduler is lost. What Dask leaves to the caller is settled
here: a machine gets batches only once it has shown that it reads as the writer does and sees the same photos; a result
that a frozen machine holds is waited for only so long, and then the batch is read anew; a batch that only lost machines
might have read is handed to others. A batch may be read twice, but it comes out once.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import CancelledError as FutureCancelledError
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from dupwatchd.cluster import library, reading
from dupwatchd.cluster.machines import Machines
from dupwatchd.cluster.reading import About, Sample
from dupwatchd.model import Job
from dupwatchd.settings.model import ClusterSettings

if TYPE_CHECKING:
    from distributed import Future

_TURN_SECONDS = 1.0  # between two looks at the machines
_GLANCE_SECONDS = 0.25  # between two looks at the state of the connection
_ANSWER_SECONDS = 3.5  # a scheduler that is silent for so long is lost; with a turn, within the five that are promised
ABOUT_SECONDS = 10.0  # for a machine to show that it may take part; its disk may have to wake up
_CLOSE_SECONDS = 10.0  # for Dask to end its connections; it is left alone then, in a thread that holds nothing up
_ATTEMPTS = 3  # to read a batch on the cluster, before it is read on this machine
_RESULTS_AT_ONCE = 4  # fetched, and held in memory until they are taken: about 5 MB each for small photos
_SAMPLES_MAX = 8
_EXAMINE_AGAIN_SECONDS = 60.0  # machines that were refused: their disk may be there meanwhile


class ClusterLost(Exception):  # noqa: N818 - it says what happened
    """The cluster cannot be used now; the message says why."""


class Done(NamedTuple):
    """A batch, and what came of it."""

    jobs: list[Job]
    reply: bytes | None
    because: str  # why there is no reply: then it is to be read on this machine


class _Batch:
    """Files on their way."""

    def __init__(self, jobs: list[Job], request: bytes) -> None:
        self.jobs = jobs
        self.request = request
        self.candidates: set[str] = set()  # addresses of the workers that may read it in this attempt
        self.attempt: asyncio.Task[bytes] | None = None
        self.is_orphaned = False  # none of the candidates is left


class Connection:
    """A connection to the scheduler, with all that is under way; open until `close`, or until it is lost.

    `close` may be called twice. All methods are for one thread.
    """

    def __init__(self, cluster: ClusterSettings, machines: Machines, decoders: str, samples: Sequence[Sample]) -> None:
        """``samples``: files by which a machine shows that it sees the photos. Raises ClusterLost, UsageError."""
        self._cluster = cluster
        self._machines = machines
        self._decoders = decoders
        self._samples = list(samples)
        self._processors: dict[str, int] = {}  # of the workers that take part, by address
        self._in_flight: dict[_Batch, None] = {}  # in the order in which they were handed over
        self._events: queue.SimpleQueue[tuple[_Batch, bytes | None, str] | None] = queue.SimpleQueue()
        self._because = ""  # why the connection is lost
        self._is_open = threading.Event()  # or lost
        self._is_over = False
        self._stop = asyncio.Event()
        if reason := library.why_unreachable(cluster):
            raise ClusterLost(f"{cluster.scheduler}: {reason}")
        library.configure(cluster)
        library.keep_quiet()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="cluster", daemon=True)
        self._thread.start()
        self._is_open.wait()
        if self._because:
            self.close()
            raise ClusterLost(f"{cluster.scheduler}: {self._because}")
        machines.connected()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give up what is under way, and end the thread."""
        if not self._is_over:
            self._is_over = True
            self._call(self._stop.set)
        self._thread.join(_CLOSE_SECONDS)
        self._machines.left(self._because)

    @property
    def takes_more(self) -> bool:
        """Whether a batch that is submitted now would soon be read: two for each processor are under way."""
        return len(self._in_flight) < 2 * sum(self._processors.values()) + 1

    @property
    def has_machines(self) -> bool:
        """Whether any machine takes part."""
        return bool(self._processors)

    @property
    def under_way(self) -> list[list[Job]]:
        """The batches that have not come back."""
        return [batch.jobs for batch in self._in_flight]

    def submit(self, jobs: list[Job], request: bytes) -> None:
        """Have a batch read."""
        batch = _Batch(jobs, request)
        self._in_flight[batch] = None
        self._call(lambda: self._begin(self._read(batch)))

    def next_done(self, seconds: float) -> Done | None:
        """The next batch that comes back within so many seconds. Raises ClusterLost."""
        try:
            event = self._events.get(timeout=seconds)
        except queue.Empty:
            event = None
        if self._because:
            raise ClusterLost(self._because)
        if event is None:
            return None
        batch, reply, because = event
        self._in_flight.pop(batch)
        if reply is not None:
            self._call(self._room.release)
        return Done(batch.jobs, reply, because)

    def refuse(self, worker: str, because: str) -> None:
        """Hand this worker no more batches for a while."""
        self._call(lambda: self._refuse(worker, self._machines.name_of(worker), because))

    def doubt(self, worker: str, samples: Sequence[Sample]) -> None:
        """Let this worker show that it sees these files, too; else it gets no more batches."""

        def examine() -> None:
            self._samples = [*self._samples, *samples][-_SAMPLES_MAX:]
            self._begin(self._examine(worker))

        self._call(examine)

    def _call(self, function: Callable[[], object]) -> None:
        """Have the thread of the connection call it, unless that is over."""
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:
            pass  # `next_done` says why it is over

    # the thread of the connection

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._main())
        except Exception as error:  # noqa: BLE001 - whatever Dask raises, the connection is lost
            self._because = self._because or _words(error)
        self._is_open.set()
        self._events.put(None)

    async def _main(self) -> None:
        from distributed import Client

        self._room = asyncio.Semaphore(_RESULTS_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._seen: set[str] = set()  # workers that were, or are being, examined
        self._refused: dict[str, float] = {}  # until when; time.monotonic()
        async with Client(
            self._cluster.scheduler,
            asynchronous=True,
            security=library.security_of(self._cluster),
            timeout=library.CONNECT_SECONDS,
            set_as_default=False,
            direct_to_workers=True,  # through the scheduler, each photo would cost that 0.1 ms
            name="dupwatch",
        ) as client:
            self._client = client
            try:
                await self._look_after()
            finally:
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _look_after(self) -> None:
        """Until the end: which workers are there, and is the scheduler?"""
        while not self._stop.is_set():
            try:
                there = await asyncio.wait_for(self._client.nthreads(), _ANSWER_SECONDS)
            except Exception as error:  # noqa: BLE001 - it has ended, or hangs, or the network is gone
                self._because = f"the scheduler at {self._cluster.scheduler} is lost ({_words(error)})"
                return
            self._note(there)
            self._is_open.set()
            turn_ends = time.monotonic() + _TURN_SECONDS
            while time.monotonic() < turn_ends and not self._stop.is_set():
                if self._client.status != "running":
                    self._because = f"the scheduler at {self._cluster.scheduler} is lost"
                    return
                try:
                    await asyncio.wait_for(self._stop.wait(), _GLANCE_SECONDS)
                except TimeoutError:
                    pass

    def _note(self, there: dict[str, int]) -> None:
        """These workers are there, with so many threads each."""
        for worker in self._seen - there.keys():
            self._seen.discard(worker)
            self._refused.pop(worker, None)
            self._processors = {other: number for other, number in self._processors.items() if other != worker}
            self._machines.loses(worker)
        now = time.monotonic()
        for worker, threads in there.items():
            if worker not in self._seen or self._refused.get(worker, now + 1) <= now:
                self._seen.add(worker)
                self._refused.pop(worker, None)
                self._begin(self._examine(worker, threads))
        for batch in self._in_flight.copy():
            if batch.attempt is not None and not batch.candidates & self._seen:
                batch.is_orphaned = True
                batch.attempt.cancel()

    async def _examine(self, worker: str, threads: int | None = None) -> None:
        """Let a worker take part, with so many threads, if it may; None: those that it has already."""
        samples = [tuple(sample) for sample in self._samples if reading.is_seen(sample.path, sample)]
        try:
            answers = await asyncio.wait_for(
                self._client.run(reading.about, samples, workers=[worker], on_error="return"), ABOUT_SECONDS
            )
            answer = answers.get(worker, TimeoutError())
        except Exception as error:  # noqa: BLE001 - it has gone meanwhile, hangs, or is none of ours
            answer = error
        if worker not in self._seen:
            return
        if isinstance(answer, Exception):
            self._refuse(worker, worker, why_silent(answer))
        elif because := why_not(answer, self._decoders):
            self._refuse(worker, answer["name"], because)
        else:
            self._machines.joins(worker, answer["name"])
            if threads is not None:  # in a new dictionary, for the other thread may be looking at the old one
                self._processors = {**self._processors, worker: threads}

    def _refuse(self, worker: str, name: str, because: str) -> None:
        self._processors = {other: number for other, number in self._processors.items() if other != worker}
        if worker in self._seen:
            self._refused[worker] = time.monotonic() + _EXAMINE_AGAIN_SECONDS
            self._machines.joins(worker, name, because)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        if self._stop.is_set():
            work.close()
            return
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read(self, batch: _Batch) -> None:
        """Have a batch read, wherever that can be done; puts exactly one event, unless the connection ends."""
        attempts_left = _ATTEMPTS
        because = ""
        while attempts_left:
            while not self._processors:
                await asyncio.sleep(0.05)
            batch.candidates = set(self._processors)
            batch.is_orphaned = False
            batch.attempt = self._loop.create_task(self._attempt(batch))
            try:
                reply = await batch.attempt
            except asyncio.CancelledError:
                if not batch.is_orphaned:
                    batch.attempt.cancel()
                    raise
            except Exception as error:  # noqa: BLE001 - what a task raised, or Dask in its name
                because = _words(error)
                attempts_left -= 1 if isinstance(error, _TRY_AGAIN) else attempts_left
            else:
                self._events.put((batch, reply, ""))
                return
        self._events.put((batch, None, because))

    async def _attempt(self, batch: _Batch) -> bytes:
        """The reply to a batch. Raises what its task raised, TimeoutError, or what Dask raises of lost results."""
        from distributed import wait

        future: Future[bytes] = self._client.submit(
            reading.read_batch, batch.request, workers=sorted(batch.candidates), pure=False
        )
        with self._client.as_current():
            await wait([future])
        if future.status == "error":
            error = await future.exception()
            assert error is not None
            raise error
        await self._room.acquire()
        # In a task that is not cancelled: Dask fetches several results together, and cancelling one would cancel all.
        fetching = self._loop.create_task(_fetched(future))
        fetching.add_done_callback(_forget)
        try:
            return await asyncio.wait_for(asyncio.shield(fetching), self._cluster.worker_lost_seconds)
        except BaseException:
            self._room.release()
            raise


_TRY_AGAIN = (TimeoutError, OSError, FutureCancelledError, asyncio.CancelledError)


async def _fetched(future: "Future[bytes]") -> bytes:
    reply: bytes = await future.result()
    return reply


def _forget(task: "asyncio.Task[bytes]") -> None:
    """Nobody waits for it any more; whatever it raises is not to be told."""
    if not task.cancelled():
        task.exception()


def why_not(about: About, decoders: str) -> str:
    """Why a machine that says this of itself may not take part, in one line; empty if it may."""
    if about["decoders"] != decoders:
        ours, theirs = set(decoders.split()), set(about["decoders"].split())
        return f"it has {_listed(theirs - ours)} where we have {_listed(ours - theirs)}"
    if about["unseen"]:
        return f"it does not see {about['unseen'][0]} as it is here; set cluster.paths there"
    return ""


def _listed(versions: set[str]) -> str:
    return ", ".join(sorted(versions)) or "nothing"


def why_silent(error: BaseException) -> str:
    """Why a machine did not say what it is like, in one line."""
    if isinstance(error, TimeoutError):
        return f"it does not answer within {ABOUT_SECONDS:.0f} s"
    return f"it does not say what it is ({_words(error)})"


def _words(error: BaseException) -> str:
    """An error of Dask's in one short line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:199] + "…"
