"""The page's server sends what it has at once."""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor

from dupwatch.review.server import _bound


def test_small_answers_do_not_wait_for_an_acknowledgement() -> None:
    listening = _bound(0)
    told: list[int] = []

    async def serve_one() -> None:
        served = asyncio.Event()

        async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            sock: socket.socket = writer.get_extra_info("socket")
            told.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()
            served.set()

        async with await asyncio.start_server(serve, sock=listening):
            _, writer = await asyncio.open_connection(*listening.getsockname())
            await served.wait()
            writer.close()

    with ThreadPoolExecutor(1) as thread:  # this one may have the loop of a browser
        thread.submit(asyncio.run, serve_one()).result()

    assert told == [1]
