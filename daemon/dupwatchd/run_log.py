"""What `dupwatchd run` shows: log lines, and on a terminal, below them, one line that says how far the work is.

In: log records from any thread, and the document of `status` once a second from the main thread. Out: stderr, or the
journal of systemd. Both kinds of lines share the lock of one handler, so that neither is written into the other.
"""

import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dupwatch.show import progress_parts
from dupwatch.terminal import page_on
from dupwatchd import systemd

ShowStatus = Callable[[Mapping[str, Any]], None]

_CLEAR_LINE = "\r\x1b[K"


@contextmanager
def logging_of_run(level: int) -> Iterator[ShowStatus | None]:
    """Send log lines of this level and above to where they belong; give what shows the progress of the service.

    That is None where no progress can be shown or is wanted: stderr is no terminal, or only warnings are asked for.
    """
    # Below INFO only our own lines are of interest: libraries write thousands.
    systemd.set_up_logging(max(level, logging.INFO))
    logging.getLogger("dupwatchd").setLevel(level)
    if level > logging.INFO or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield None
        return
    root = logging.getLogger()
    terminal = _TerminalHandler(sys.stderr)
    terminal.setFormatter(root.handlers[0].formatter)
    root.handlers[:] = [terminal]
    try:
        yield terminal.show_progress
    finally:
        terminal.clear()


class _TerminalHandler(logging.StreamHandler[Any]):
    """Writes log lines above a line that is drawn again and again."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a log line in the place of the progress, which is drawn again within a second."""
        self.stream.write(_CLEAR_LINE)
        super().emit(record)

    def show_progress(self, status: Mapping[str, Any]) -> None:
        """Draw how far the work is, or nothing if there is none. A terminal that has gone away is no error."""
        page = page_on(self.stream)
        parts = page.join(progress_parts(status["progress"], page)) if "progress" in status else [""]
        self._draw(page.paint(page.cut(parts[0], (page.width or 0) - 1), "quiet"))

    def clear(self) -> None:
        """Take the line of the progress away."""
        self._draw("")

    def _draw(self, line: str) -> None:
        assert self.lock is not None  # every handler is made with one
        with self.lock:
            try:
                self.stream.write(_CLEAR_LINE + line)
                self.stream.flush()
            except (OSError, ValueError):  # ValueError: closed
                pass
