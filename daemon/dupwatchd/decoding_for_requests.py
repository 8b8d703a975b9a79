"""Decodes pictures that clients send, with one process of its own, one picture at a time.

In: a request, and what the pool of that process shall do for it. Out: what comes of it. The process starts with the
first picture. A picture that nobody waits for any more is given up in the middle of it.
"""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from dupwatchd.assembly import worker_pool
from dupwatchd.errors import Interrupted
from dupwatchd.serve.request_queue import OpenRequest, RequestError
from dupwatchd.settings import Settings

if TYPE_CHECKING:
    from dupwatchd.index.pool import WorkerPool

Outcome = TypeVar("Outcome")


class DecodingForRequests:
    """A pool of one process; any thread may call, and they take turns."""

    def __init__(self, settings: Settings, thumbnail_px: int) -> None:
        self._request: OpenRequest | None = None
        self._decoding = threading.Lock()
        self._pool = worker_pool(settings, thumbnail_px, self._give_up_if_abandoned, workers=1)

    def run(self, request: OpenRequest, decode: Callable[["WorkerPool"], Outcome]) -> Outcome:
        """What ``decode`` returns; raises RequestError with `busy` if nobody waits for the answer any more."""
        with self._decoding:
            self._request = request
            try:
                return decode(self._pool)
            except Interrupted:
                raise RequestError("busy", "it could not be decoded in the time given; try again") from None
            finally:
                self._request = None

    def close(self) -> None:
        """End the process, once a picture that is being decoded was given up."""
        with self._decoding:
            self._pool.close()

    def _give_up_if_abandoned(self) -> None:
        """Called often while a picture is decoded; what it raises ends the decoding."""
        if self._request is not None and self._request.is_abandoned:
            raise Interrupted("nobody waits for it")
