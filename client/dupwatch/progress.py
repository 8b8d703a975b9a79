"""Shows on a terminal how far a long job is; on any other stream it shows nothing.

In: the stages of a job and how many steps of each are done, from one thread at a time. Out: bars, drawn at most ten
times a second, while nothing else writes to the stream. A terminal that goes away is no error.

Showing progress must not slow the job down: a step costs an addition and a look at the clock, the bars are drawn on the
caller's own thread (the refresh thread of rich is not used), and rich, which takes 40 ms to import, is imported when
the first bar is drawn.
"""

import os
import time
from types import TracebackType
from typing import IO, TYPE_CHECKING, Self, TextIO, cast

if TYPE_CHECKING:
    from rich.console import JustifyMethod
    from rich.progress import Progress, TaskID

DRAW_SECONDS = 0.1  # between two drawings; one takes 0.6 ms
WIDTH_FOR_UNIT = 64  # in a narrower terminal the time left is worth more than the word "files"


def progress(stream: TextIO, quiet: bool = False) -> "Bars":
    """Return a context manager that shows stages as bars if ``stream`` is a terminal, else nothing."""
    try:
        shown = not quiet and stream.isatty() and os.environ.get("TERM") != "dumb"
    except ValueError:  # closed
        shown = False
    return _TerminalBars(stream) if shown else Bars()


class Bars:
    """The stages of a job, one after the other. This class shows nothing: it is for streams that are no terminal."""

    def stage(self, description: str, total: int | None = None, unit: str = "files") -> None:
        """Begin a stage, ending the one before; ``total`` is None while nobody knows it."""

    def advance(self, count: int = 1) -> None:
        """Say that ``count`` more steps are done; 0 is allowed, and lets a bar without a total move."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class _TerminalBars(Bars):
    def __init__(self, stream: TextIO) -> None:
        self._bars = _rich_progress(stream)
        self._task: TaskID | None = None
        self._unit = ""
        self._done = 0
        self._total: int | None = None
        self._drawn_at = 0.0

    def stage(self, description: str, total: int | None = None, unit: str = "files") -> None:
        self._end_stage()
        self._unit, self._done, self._total = unit, 0, total
        self._task = self._bars.add_task(description, total=total, count="", rate="")
        self._draw()

    def advance(self, count: int = 1) -> None:
        self._done += count
        if time.monotonic() - self._drawn_at >= DRAW_SECONDS:
            self._draw()

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_stage(finished=kind is None)
        self._bars.stop()

    def _end_stage(self, finished: bool = True) -> None:
        if self._task is None:
            return
        if finished and self._total is None:
            self._total = self._done  # a full bar instead of a moving one
        self._draw()
        self._bars.stop_task(self._task)

    def _draw(self) -> None:
        self._drawn_at = time.monotonic()
        if self._task is None:
            return
        of_total = "" if self._total is None else f"/{self._total:,}"
        self._bars.update(
            self._task,
            completed=self._done,
            total=self._total,
            count=f"{self._done:,}{of_total}",
            rate=self._rate(),
        )
        self._bars.refresh()

    def _rate(self) -> str:
        """Return the speed since the stage began; one of the last seconds would jump with each batch."""
        assert self._task is not None
        elapsed = self._bars.tasks[-1].elapsed
        if not elapsed or not self._done:
            return ""
        rate = self._done / elapsed
        unit = f" {self._unit}" if self._bars.console.width >= WIDTH_FOR_UNIT else ""
        return f"{rate:,.0f}{unit}/s" if rate >= 10 else f"{rate:.1f}{unit}/s"


def _rich_progress(stream: TextIO) -> "Progress":
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Column

    def text(template: str, justify: "JustifyMethod" = "left") -> TextColumn:
        column = Column(no_wrap=True, overflow="ellipsis", justify=justify)
        return TextColumn(template, markup=False, justify=justify, table_column=column)

    return Progress(
        text("{task.description}"),
        BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=4, max_width=40)),
        text("{task.fields[count]}", "right"),
        text("{task.fields[rate]}", "right"),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        console=Console(file=cast("IO[str]", _Unbreakable(stream)), force_terminal=True),
        auto_refresh=False,
        redirect_stdout=False,
        redirect_stderr=False,
    )


class _Unbreakable:
    """Wraps a stream whose reader may go away: rich would end the process on a broken pipe."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.encoding = stream.encoding

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except (OSError, ValueError):  # ValueError: closed
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            pass

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream.fileno()
