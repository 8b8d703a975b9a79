"""Starts the page's server on loopback, opens the browser, and ends after an hour without use.

In: the endpoint of a service. Out: nothing but the page; the address goes to stdout, remarks to whoever asks.
"""

import asyncio
import os
import socket
import time
import webbrowser
from collections.abc import Callable

import uvicorn

from dupwatch.client import Client
from dupwatch.errors import ClientError, WrongUsageError
from dupwatch.review.app import Review, make_app
from dupwatch.review.folders import cache_folder, journal_path
from dupwatch.review.guard import Guard

IDLE_SECONDS = 3600.0
CHECK_SECONDS = 5.0  # between two looks at the clock
STOP_SECONDS = 2  # for answers that are under way


def serve(
    make_client: Callable[[], Client],
    port: int,
    tell_address: Callable[[str], None],
    *,
    opens_browser: bool,
    idle_seconds: float = IDLE_SECONDS,
    name: str | None = None,
) -> None:
    """Serve the page until it is ended, or has not been used for so long; ``port`` 0 takes any that is free.

    ``name``: of whose groups they are, by which decisions are kept; else it is the endpoint.

    Raises WrongUsageError if the port is taken or the photos are elsewhere, and ClientError if there is no service or
    decisions cannot be kept.
    """
    with make_client() as client:
        if not client.shares_paths:
            raise WrongUsageError(
                f"the photos of {client.endpoint} lie on another machine: start `dupwatch review --no-browser` there, "
                "and reach its page through `ssh -L`"
            )
        client.request("version")  # else the first thing that anybody sees is a page without groups
        name = name or client.endpoint
    listening = _bound(port)
    bound_port = listening.getsockname()[1]
    try:
        review = Review(make_client, cache_folder(os.environ), journal_path(os.environ, name))
    except OSError as error:
        raise ClientError(f"decisions cannot be kept in {error.filename}: {error.strerror}") from None
    app = make_app(review, lambda: guard.change_token, name)
    guard = Guard(app, bound_port)
    config = uvicorn.Config(
        guard,
        access_log=False,
        log_level="error",
        server_header=False,
        ws="none",
        http="h11",
        loop="asyncio",
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    server = _Server(config, guard, review, idle_seconds)
    address = f"http://127.0.0.1:{bound_port}/?token={guard.entry_token}"
    tell_address(address)
    if opens_browser:
        webbrowser.open(address)
    try:
        server.run(sockets=[listening])
    except KeyboardInterrupt:
        pass  # that is how a page is ended


class _Server(uvicorn.Server):
    """uvicorn's server, which also ends when nobody has used the page for long."""

    def __init__(self, config: uvicorn.Config, guard: Guard, review: Review, idle_seconds: float) -> None:
        super().__init__(config)
        self._guard = guard
        self._review = review
        self._idle_seconds = idle_seconds

    async def main_loop(self) -> None:
        """Serve until told to stop, or idle."""
        watching = asyncio.create_task(self._end_when_idle())
        await super().main_loop()
        watching.cancel()
        self._review.news.end()  # else pages that listen would hold up the end

    async def _end_when_idle(self) -> None:
        while time.monotonic() - self._guard.last_used < self._idle_seconds:
            if self._review.acting.is_busy:  # terabytes take hours to read
                self._guard.last_used = time.monotonic()
            await asyncio.sleep(min(CHECK_SECONDS, self._idle_seconds / 4))
        self.should_exit = True


def _bound(port: int) -> socket.socket:
    # asyncio sends small pieces at once only on sockets that say they are TCP; else each answer waits for an ACK, 40 ms
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port))
        listening.listen()  # so that whoever reads the address can connect at once
    except OSError as error:
        listening.close()
        raise WrongUsageError(f"port {port} cannot be used: {error.strerror}") from None
    return listening
