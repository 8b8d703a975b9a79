"""Connections to the database for questions: each sees what was committed when its question began."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dupwatchd.db.connection import Database


class Readers:
    """Connections that are used again and again, each by one thread at a time; any thread may ask for one."""

    def __init__(self, open_reader: Callable[[], Database]) -> None:
        self._open_reader = open_reader
        self._lock = threading.Lock()
        self._unused: list[Database] = []
        self._closed = False

    @contextmanager
    def snapshot(self) -> Iterator[Database]:
        """A connection for one question; all that is read from it was true at one time. Raises StateError."""
        with self._lock:
            reader = self._unused.pop() if self._unused else None
        reader = reader or self._open_reader()
        try:
            with reader.snapshot():
                yield reader
        finally:
            with self._lock:
                is_kept = not self._closed
                if is_kept:
                    self._unused.append(reader)
            if not is_kept:
                reader.close()

    def close(self) -> None:
        """Close the connections; those in use are closed by their users."""
        with self._lock:
            self._closed = True
            unused, self._unused = self._unused, []
        for reader in unused:
            reader.close()
