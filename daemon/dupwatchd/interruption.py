"""Stops a one-shot command at a signal, between any two steps of its work."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from dupwatchd.errors import Interrupted


@contextmanager
def stoppable() -> Iterator[None]:
    """SIGINT and SIGTERM raise Interrupted in the main thread; everything is safe against being cut off anywhere."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise Interrupted("interrupted: what is done is kept; run the same command again to go on")

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
