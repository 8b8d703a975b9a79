"""What keeps the answers of the service from being true or up to date, in one place.

Whoever meets such a fault notes it here, and whoever sees that it is over clears it. `status`, the line for the service
manager, the log and the completeness of every answer draw on it.
"""

import logging
import threading
from enum import Enum

_log = logging.getLogger("dupwatchd")


class Fault(Enum):
    """What is at fault; of each kind there is one problem at a time."""

    INDEXING = "indexing"  # changes cannot be taken in: full disk, damaged database, no worker process
    THUMBNAILS = "thumbnails"  # some are lost, and their photos are not read again yet
    DATABASE = "database"  # a question, or the check at the start, met damage
    STATE_FOLDER = "state folder"  # removed or replaced while the service runs
    SOCKETS = "sockets"  # new clients cannot reach the service
    EVENTS = "events"  # likewise for those that listen to events
    LISTENERS = "listeners"  # they are told nothing at the moment


class Problems:
    """The problems that there are at the moment; any thread may call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: dict[Fault, str] = {}

    def note(self, fault: Fault, line: str) -> None:
        """There is this problem; it is logged once for as long as it stays the same."""
        with self._lock:
            is_new = self._lines.get(fault) != line
            self._lines[fault] = line
        if is_new:
            _log.error("%s", line)

    def clear(self, fault: Fault) -> None:
        """There is no such problem any more, if there was one."""
        with self._lock:
            line = self._lines.pop(fault, None)
        if line is not None:
            _log.info("no longer so: %s", line)

    def has(self, fault: Fault) -> bool:
        """Is there such a problem?"""
        return fault in self._lines

    def lines(self) -> list[str]:
        """All problems, one line each for a person."""
        with self._lock:
            return list(self._lines.values())
