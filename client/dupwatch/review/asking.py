"""Asks the service from threads, so that the page's server never waits for it.

In: functions that take a client. Out: what they return, awaited. A client belongs to one thread: each thread here has
its own.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from dupwatch.client import Client

Result = TypeVar("Result")


class Asking:
    """A few threads with a client each; ``threads`` bounds how many questions are open at once."""

    def __init__(self, make_client: Callable[[], Client], threads: int, name: str) -> None:
        self._make_client = make_client
        self._of_thread = threading.local()
        self._clients: list[Client] = []
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def ask(self, question: Callable[[Client], Result]) -> Result:
        """Return what ``question`` returns, or raise what it raises; it runs in a thread of its own."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._asked, question)

    def close(self) -> None:
        """Give up what has not begun, and wait for what has."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        for client in self._clients:
            client.close()

    def _asked(self, question: Callable[[Client], Result]) -> Result:
        client: Client | None = getattr(self._of_thread, "client", None)
        if client is None:
            client = self._of_thread.client = self._make_client()
            self._clients.append(client)
        return question(client)
