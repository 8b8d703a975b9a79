"""What the service answers: each method takes the arguments of one command of PROTOCOL.md and returns its result.

Everything is read from what was committed, over connections of its own, so that no question waits for the indexing.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from dupwatchd.db import files
from dupwatchd.db.connection import Database
from dupwatchd.errors import DupwatchError
from dupwatchd.paths import at_or_below
from dupwatchd.serve.clusters import LiveChecks, Question
from dupwatchd.serve.library import Library
from dupwatchd.serve.ranking import Cluster
from dupwatchd.serve.server import Handler, Peer, RequestError

_log = logging.getLogger(__name__)
_LIMIT = 100
_POLL_SECONDS = 0.05
_RENEW_SECONDS = 1.0  # while the index changes all the time, pages of clusters are of a moment not much longer ago
_RENEW_SHARE = 10  # and so many times what loading takes
_KEPT_SECONDS = 5.0  # longer ago only if nobody asks

Args = dict[str, Any]
Result = dict[str, Any]


class Working(Protocol):
    """The part of the service that keeps the index current."""

    @property
    def changes(self) -> int:
        """Another number whenever the index has changed."""

    @property
    def is_quiet(self) -> bool:
        """Nothing is pending."""

    @property
    def is_busy_for_long(self) -> bool:
        """The index changes all the time: answers may be of a moment ago."""

    def status(self) -> Result:
        """The result of `status`."""

    def rescan(self, folders: Sequence[bytes]) -> None:
        """Look through these folders soon."""

    def pause(self) -> None:
        """Read no more files."""

    def resume(self) -> None:
        """Go on."""


@dataclass(frozen=True)
class QuestionDefaults:
    """What holds if a question does not say."""

    measure: str
    threshold: float
    mirrored: bool
    kept: dict[str, float]  # the largest threshold of each measure
    default_thresholds: dict[str, float]
    custom: str  # what the user calls the measure that is "custom" here


@dataclass
class _Held:
    """A library, and the connection that still sees what it was loaded from."""

    revision: int
    library: Library
    moment: ExitStack  # closes that connection
    reader: Database
    renew_at: float


class Questions:
    """Answers on any thread."""

    def __init__(
        self,
        open_reader: Callable[[], Database],
        working: Working,
        roots: Callable[[], Sequence[bytes]],
        asked: QuestionDefaults,
        live_checks: Callable[[Database], LiveChecks],
        find: Callable[[Database, bytes | None, bytes | None, Question, Peer], list[dict[str, Any]]],
        version: str,
    ) -> None:
        self._open_reader = open_reader
        self._working = working
        self._roots = roots
        self._asked = asked
        self._live_checks = live_checks
        self._find = find
        self._version = version
        self._readers: list[Database] = []  # those that nobody uses now
        self._lock = threading.Lock()
        self._held: _Held | None = None
        self._library_lock = threading.Lock()  # around `_held`: a library is for one thread at a time
        self._renewing = False
        self._closed = threading.Event()

    def handlers(self) -> dict[str, Handler]:
        """By command."""
        return {
            "status": self.status,
            "version": lambda _args, _peer: {"version": self._version, "protocol": 1},
            "wait": self.wait,
            "clusters": self.clusters,
            "find": self.find,
            "failed": self.failed,
            "rescan": self.rescan,
            "pause": self.pause,
            "resume": self.resume,
        }

    def close(self) -> None:
        """Nobody asks any more."""
        self._closed.set()
        with self._library_lock:
            self._replace(None)
        for reader in self._readers:
            reader.close()

    def status(self, _args: Args, _peer: Peer) -> Result:
        """How things stand."""
        return self._working.status()

    def wait(self, args: Args, _peer: Peer) -> "Result | Future[Result]":
        """A result once nothing is pending, or time is up."""
        future: Future[Result] = Future()
        timeout = args.get("timeout")
        deadline = None if timeout is None else time.monotonic() + timeout

        def watch() -> None:
            quiet_since: float | None = None
            idle = False
            while not self._closed.is_set() and not future.cancelled():
                now = time.monotonic()
                if not self._working.is_quiet:
                    quiet_since = None
                elif quiet_since is None:
                    quiet_since = now  # what has just changed on disk may not have been heard of yet
                elif now - quiet_since >= 6 * _POLL_SECONDS:
                    idle = True
                    break
                if deadline is not None and now >= deadline:
                    break
                time.sleep(_POLL_SECONDS)
            if future.set_running_or_notify_cancel():
                future.set_result({"idle": idle, "pending": self._working.status()["pending"]})

        threading.Thread(target=watch, name="wait", daemon=True).start()
        return future

    def clusters(self, args: Args, _peer: Peer) -> Result:
        """A page of clusters."""
        under = args.get("under")
        question = self._question(args, None if under is None else (under,))
        limit, offset = args.get("limit", _LIMIT), args.get("offset", 0)
        with self._library_lock:
            for _ in range(2):
                held = self._up_to_date()
                revision = held.revision
                total, found = held.library.page(held.reader, question, self._live_checks(held.reader), limit, offset)
                if _are_there(found):
                    break
                self._replace(None)  # it remembers files that have gone since
        return {
            "measure": self._named(question.measure),
            "threshold": question.threshold,
            "total_clusters": total,
            "clusters": found,
            "revision": revision,
        }

    def find(self, args: Args, peer: Peer) -> Result:
        """The copies of a picture."""
        question = self._question(args, None)
        with self._reader() as reader:
            copies = self._find(reader, args.get("path"), args.get("data"), question, peer)
        return {"measure": self._named(question.measure), "threshold": question.threshold, "copies": copies}

    def failed(self, args: Args, _peer: Peer) -> Result:
        """Files that could not be read."""
        with self._reader() as reader:
            every = [failure for root in self._roots() for failure in files.failures(reader, root)]
        every.sort(key=lambda failure: failure.path)
        start = args.get("offset", 0)
        page = every[start : start + args.get("limit", _LIMIT)]
        return {"total": len(every), "failed": [{"path": one.path, "error": one.error} for one in page]}

    def rescan(self, args: Args, _peer: Peer) -> Result:
        """Look through a folder, or all roots, soon."""
        folder = None if args.get("dir") is None else os.path.realpath(args["dir"])
        roots = self._roots()
        if folder is not None and not any(at_or_below(folder, root) for root in roots):
            raise RequestError("unknown_folder", "the folder lies under no root")
        self._working.rescan(list(roots) if folder is None else [folder])
        return {}

    def pause(self, _args: Args, _peer: Peer) -> Result:
        """Read no more files."""
        self._working.pause()
        return {"state": self._working.status()["state"]}

    def resume(self, _args: Args, _peer: Peer) -> Result:
        """Go on."""
        self._working.resume()
        return {"state": self._working.status()["state"]}

    def _question(self, args: Args, touching: tuple[bytes, ...] | None) -> Question:
        asked = self._asked
        measure = args.get("measure", asked.measure)
        measure = "custom" if measure == asked.custom else measure
        if measure not in asked.kept:
            raise RequestError(
                "out_of_range", f"nothing is kept of a measure {measure}; there is {', '.join(asked.kept)}"
            )
        default = asked.threshold if measure == asked.measure else asked.default_thresholds[measure]
        threshold = args.get("threshold", default)
        if threshold > asked.kept[measure]:
            raise RequestError(
                "out_of_range", f"the threshold {threshold:g} is above {asked.kept[measure]:g}, the largest one kept"
            )
        mirrored = bool(args.get("mirrored", asked.mirrored))
        if mirrored and not asked.mirrored:
            raise RequestError("out_of_range", "mirror images are not compared: set compare.mirrored")
        return Question(measure, float(threshold), mirrored, touching)

    def _named(self, measure: str) -> str:
        return self._asked.custom if measure == "custom" else measure

    def drop_stale_library(self) -> None:
        """Call now and then: no connection is left in the past, or the log of the database could only grow."""
        with self._library_lock:
            held = self._held
            if held is None or held.revision == self._working.changes:
                return
            if not self._working.is_busy_for_long or time.monotonic() >= held.renew_at + _KEPT_SECONDS:
                self._replace(None)

    def _up_to_date(self) -> _Held:
        """The library as it is; while the index changes all the time, as it was a moment ago. Holding the lock."""
        held = self._held
        if held is None or (held.revision != self._working.changes and not self._working.is_busy_for_long):
            held = self._load()
            self._replace(held)
        elif held.revision != self._working.changes and time.monotonic() >= held.renew_at and not self._renewing:
            self._renewing = True
            threading.Thread(target=self._renew, name="renew", daemon=True).start()
        return held

    def _renew(self) -> None:
        """Load the library anew; the last one serves meanwhile."""
        loaded = None
        try:
            loaded = self._load()
        except DupwatchError as error:
            _log.error("the clusters cannot be loaded anew: %s", error)
        finally:
            with self._library_lock:
                self._renewing = False
                if loaded is not None and self._closed.is_set():
                    loaded.moment.close()
                elif loaded is not None:
                    self._replace(loaded)

    def _load(self) -> _Held:
        began = time.monotonic()
        with ExitStack() as stack:
            reader = self._open_reader()
            stack.callback(reader.close)
            revision = self._working.changes
            stack.enter_context(reader.snapshot())
            library = Library.load(reader)
            now = time.monotonic()
            renew_at = now + max(_RENEW_SECONDS, _RENEW_SHARE * (now - began))
            return _Held(revision, library, stack.pop_all(), reader, renew_at)

    def _replace(self, held: _Held | None) -> None:
        if self._held is not None:
            self._held.moment.close()
        self._held = held

    @contextmanager
    def _reader(self) -> Any:
        with self._lock:
            reader = self._readers.pop() if self._readers else None
        reader = reader or self._open_reader()
        try:
            with reader.snapshot():
                yield reader
        finally:
            with self._lock:
                self._readers.append(reader)


def _are_there(clusters: Sequence[Cluster]) -> bool:
    """Are the files of these clusters still what they were when somebody last looked?"""
    try:
        return all(os.lstat(file["path"]).st_size == file["bytes"] for one in clusters for file in one["files"])
    except OSError:
        return False
