"""A lock that goes to whoever has waited for it longest.

A lock of Python's goes to whoever is quickest, which is the thread that has just given it up: one that takes the same
lock again and again leaves others little chance of it.
"""

import threading
from collections import deque
from types import TracebackType


class FairLock:
    """To be held in a ``with`` block, by one thread at a time, and not twice by the same one."""

    def __init__(self) -> None:
        self._state = threading.Lock()  # around the other two; held for a few instructions only
        self._is_held = False
        self._waiting: deque[threading.Event] = deque()

    def __enter__(self) -> None:
        with self._state:
            if not self._is_held:
                self._is_held = True
                return
            turn = threading.Event()
            self._waiting.append(turn)
        turn.wait()  # it is held for us by then

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        with self._state:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._is_held = False
