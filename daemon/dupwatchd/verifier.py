"""Looks at the whole database now and then, while the service runs, and notes it if it is damaged.

SQLite notices a damaged page only when it needs it, and a flipped bit often not even then: answers would go on, and
leave out what they cannot find. The look reads one snapshot of the database, on a thread and a connection of its own.
"""

import logging
import threading

from dupwatchd.db import upkeep
from dupwatchd.db.connection import Database, open_for_reading
from dupwatchd.errors import DamagedStateError, DupwatchError
from dupwatchd.priority import stand_back
from dupwatchd.problems import Fault, Problems

_log = logging.getLogger("dupwatchd")
_NICE = 19


class Verifier:
    """Verifies the database of a state directory, from the end of the scan at the start on."""

    def __init__(self, state: str, begin: threading.Event, problems: Problems, every_seconds: float) -> None:
        """Waits for ``begin``, then looks each ``every_seconds``."""
        self._state = state
        self._begin = begin
        self._problems = problems
        self._every_seconds = every_seconds
        self._stopped = threading.Event()
        self._reader: Database | None = None

    def run(self) -> None:
        """Look until `stop`; the thread's only work."""
        stand_back(_NICE, "idle")
        while not self._begin.wait(1.0) and not self._stopped.is_set():
            pass
        while not self._stopped.is_set():
            try:
                self._verify()
            except DupwatchError as error:  # interrupted by `stop`, or the disk fails, which the updater tells
                _log.debug("the database was not verified: %s", error)
            self._stopped.wait(self._every_seconds)

    def stop(self) -> None:
        """End soon; any thread may call."""
        self._stopped.set()
        reader = self._reader
        if reader is not None:
            reader.interrupt()

    def _verify(self) -> None:
        self._reader = reader = open_for_reading(self._state)
        try:
            with reader.snapshot():
                faults = upkeep.faults(reader)
        except DamagedStateError as error:
            self._problems.note(Fault.DATABASE, str(error))
        else:
            if faults:
                self._problems.note(Fault.DATABASE, str(reader.damaged(faults[0])))
            else:
                self._problems.clear(Fault.DATABASE)
        finally:
            self._reader = None
            reader.close()
