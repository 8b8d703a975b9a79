"""Keeps the library that pages of clusters are made from, and makes another one when the index has changed.

In: how often the index has changed and in what, and the roots in force. Out: a `Moment`: a library and the connection
that still sees the database as it was when the library was loaded. Several questions use one moment at the same time.
If nothing that is stored has changed since, photos were only looked at anew, and the library stays; it forgets its
answers. What was read for the last library is kept, so that for the next one only what has changed is read.

A moment that is replaced closes its connection when its last user has finished. The lock of the cache is held for a
few instructions only, so that whoever calls `drop_stale`, such as the main thread of the service, never waits for a
question. Loading has a lock of its own: of several questions that need a new library one loads it, the others wait.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol

from dupwatchd.db.change_log import ChangeLog
from dupwatchd.db.connection import Database
from dupwatchd.errors import DupwatchError
from dupwatchd.serve.columns import arranged
from dupwatchd.serve.library import Library
from dupwatchd.serve.rows import Rows, fed, read_rows

_log = logging.getLogger(__name__)
_RENEW_SECONDS = 1.0  # while the index changes all the time, pages of clusters are of a moment not much longer ago
_RENEW_SHARE = 10  # and so many times what loading takes
_KEPT_SECONDS = 5.0  # longer ago only if nobody asks


class Index(Protocol):
    """What the cache has to know of the index."""

    @property
    def changes(self) -> int:
        """Another number whenever the index has changed, or photos were looked at anew."""

    @property
    def commits(self) -> int:
        """Another number whenever something that is stored has changed; it changes before `changes` does."""

    @property
    def is_busy_for_long(self) -> bool:
        """The index changes all the time: answers may be of a moment ago."""

    @property
    def change_log(self) -> ChangeLog:
        """What the commits have changed."""


@dataclass(frozen=True, slots=True)
class _Read:
    """What was read of the index, below which roots, and the number of the last commit that is in it."""

    rows: Rows
    roots: tuple[bytes, ...]
    commit: int


class Moment:
    """A library, and the connection that sees the database as it was when the library was loaded."""

    def __init__(
        self, index: Index, roots: Sequence[bytes], open_reader: Callable[[], Database], before: _Read | None
    ) -> None:
        """Load the library, a few seconds for a million files, or what has changed ``before``; raises StateError."""
        began = time.monotonic()
        self.revision = index.changes  # before the commits, and both before the database is read
        self.commits = index.commits
        with ExitStack() as stack:
            reader = open_reader()
            stack.callback(reader.close)
            stack.enter_context(reader.snapshot())
            self.read = _read(reader, index.change_log, tuple(roots), before)
            self.library = Library(arranged(self.read.rows), roots)
            self.reader = reader
            self._connection = stack.pop_all()
        self.roots = tuple(roots)
        now = time.monotonic()
        self.renew_at = now + max(_RENEW_SECONDS, _RENEW_SHARE * (now - began))
        self.users = 0  # guarded by the lock of the cache, as is the next
        self.is_retired = False

    def close(self) -> None:
        """Close the connection; nobody may use the library any more."""
        self._connection.close()


def _read(reader: Database, log: ChangeLog, roots: tuple[bytes, ...], before: _Read | None) -> _Read:
    since = before.commit if before is not None and before.roots == roots else None
    commit, changed = log.snapshot(reader.begin_reading, since)
    if before is None or changed is None:
        rows = read_rows(reader, roots)
    else:
        rows = fed(before.rows, reader, roots, changed) if changed.size else before.rows
    return _Read(rows, roots, commit)


class LibraryCache:
    """Holds at most one moment that new questions get; any thread may call."""

    def __init__(self, open_reader: Callable[[], Database], index: Index, roots: Callable[[], Sequence[bytes]]) -> None:
        self._open_reader = open_reader
        self._index = index
        self._roots = roots
        self._lock = threading.Lock()
        self._loading = threading.Lock()
        self._current: Moment | None = None
        self._last_read: _Read | None = None
        self._renewing = False
        self._closed = False

    @contextmanager
    def moment(self) -> Iterator[Moment]:
        """The library as the index is; while that changes all the time, as it was a moment ago. Raises StateError."""
        moment = self._taken() or self._loaded()
        try:
            yield moment
        finally:
            with self._lock:
                moment.users -= 1
                is_last = moment.is_retired and not moment.users
            if is_last:
                moment.close()

    def is_current(self, moment: Moment) -> bool:
        """Whether neither the index nor its roots have changed since the moment was loaded."""
        return moment.revision == self._index.changes and moment.roots == tuple(self._roots())

    def drop(self, moment: Moment) -> None:
        """Let the next question load the library anew."""
        with self._lock:
            unused = self._replace(None) if self._current is moment else None
        if unused is not None:
            unused.close()

    def drop_stale(self) -> None:
        """Call now and then: no connection is left in the past, or the log of the database could only grow."""
        with self._lock:
            moment = self._current
            if moment is None or self._is_of_what_is_stored(moment):
                return
            is_served = moment.roots == tuple(self._roots()) and self._index.is_busy_for_long
            if is_served and time.monotonic() < moment.renew_at + _KEPT_SECONDS:
                return
            unused = self._replace(None)
        if unused is not None:
            unused.close()

    def close(self) -> None:
        """Nobody asks any more."""
        with self._lock:
            self._closed = True
            unused = self._replace(None)
        if unused is not None:
            unused.close()

    def _taken(self) -> Moment | None:
        """The moment that serves, with one user more; None if one has to be loaded first."""
        with self._lock:
            moment = self._current
            if moment is None or moment.roots != tuple(self._roots()):
                return None
            changes = self._index.changes
            if moment.revision != changes and self._is_of_what_is_stored(moment):
                moment.library.forget_answers()  # they tell which files were there
                moment.revision = changes
            if moment.revision != changes:
                if not self._index.is_busy_for_long:
                    return None
                if time.monotonic() >= moment.renew_at and not self._renewing:
                    self._renewing = True
                    threading.Thread(target=self._renew, name="renew library", daemon=True).start()
            moment.users += 1
            return moment

    def _loaded(self) -> Moment:
        """A new moment, with one user; or the one that somebody else has loaded meanwhile."""
        with self._loading:
            moment = self._taken()
            if moment is not None:
                return moment
            moment = self._new_moment()
            moment.users = 1
            self._take_over(moment)
            return moment

    def _renew(self) -> None:
        """Load the library anew; the last one serves meanwhile."""
        try:
            self._take_over(self._new_moment())
        except DupwatchError as error:
            _log.error("the clusters cannot be loaded anew: %s", error)
        finally:
            with self._lock:
                self._renewing = False

    def _new_moment(self) -> Moment:
        return Moment(self._index, self._roots(), self._open_reader, self._last_read)

    def _take_over(self, moment: Moment) -> None:
        """From now on questions get this moment; after `close` nobody does, but its users may finish."""
        with self._lock:
            self._last_read = moment.read
            unused = self._replace(None if self._closed else moment)
            if self._closed:
                moment.is_retired = True
                unused = None if moment.users else moment
        if unused is not None:
            unused.close()

    def _is_of_what_is_stored(self, moment: Moment) -> bool:
        return moment.commits == self._index.commits and moment.roots == tuple(self._roots())

    def _replace(self, moment: Moment | None) -> Moment | None:
        """Holding the lock: put a moment in place of the current one; returns that if it is for us to close."""
        before, self._current = self._current, moment
        if before is None:
            return None
        before.is_retired = True
        return None if before.users else before
