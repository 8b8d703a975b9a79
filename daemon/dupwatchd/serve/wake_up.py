"""Wakes the one thread that polls it, from any other; harmless before it is open and after it is closed."""

import contextlib
import os
import threading


class WakeUp:
    """An eventfd that a poller waits for, while it is open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # or the number could be another file's by now
        self._descriptor = -1

    def open(self) -> None:
        """Begin."""
        self._descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def fileno(self) -> int:
        """The descriptor to be polled."""
        return self._descriptor

    def wake(self) -> None:
        """Let the poll return; any thread may call."""
        with self._lock:
            if self._descriptor >= 0:
                os.eventfd_write(self._descriptor, 1)

    def take(self) -> None:
        """Note that it has woken, so that the next poll waits again."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._descriptor)

    def close(self) -> None:
        """End; may be called twice."""
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1
