"""Stops a one-shot command when SIGINT (Ctrl-C) or SIGTERM arrives.

In: signals. Out: `Interrupted`, which ends the command with status 130 after Ctrl-C, and with 1, done in part, after
SIGTERM.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from dupwatch.output import CTRL_C_STATUS
from dupwatchd.errors import Interrupted


@contextmanager
def stoppable(
    told: str = "interrupted: what is done is kept; run the same command again to go on",
) -> Iterator[None]:
    """Let SIGINT and SIGTERM raise Interrupted in the main thread, wherever it is: what is committed stays.

    ``told`` is the line that the user gets.
    """

    def stop(number: int, _frame: FrameType | None) -> None:
        interrupted = Interrupted(told)
        if number == signal.SIGINT:
            interrupted.exit_status = CTRL_C_STATUS
        raise interrupted

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
