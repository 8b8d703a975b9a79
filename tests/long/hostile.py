"""Somebody in the socket's group who means no good: ways to keep a service from its other clients.

Each way is a function of the endpoint that goes on until its process is ended. `hostile` runs all of them at once, as a
user of its own where that is possible, for what a service bounds it bounds by user.
"""

import contextlib
import itertools
import multiprocessing
import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from typing import NoReturn

import msgpack
import zmq

from dupwatch.client import Client
from dupwatch.endpoints import events_endpoint
from dupwatch.errors import ClientError
from tests.conftest import encoded, photo_like

_USER = 12345
_GREETING = b"\xff" + b"\0" * 8 + b"\x7f\x03\0NULL" + b"\0" * 48
_MANY_CONNECTIONS = 400
_PICTURE = encoded(photo_like(1, 4000, 3000), quality=60)[: 1 << 20]  # made while libraries can still be loaded

Way = Callable[[str], NoReturn]


def subscribe(endpoint: str) -> NoReturn:
    """Long subscriptions, some hundred over each of many connections."""
    noise = random.Random(1)
    while True:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(5)
            peer.connect(events_endpoint(endpoint).removeprefix("ipc://"))
            peer.sendall(_GREETING + b"\x04\x1a\x05READY\x0bSocket-Type\0\0\0\x04XSUB")
            peer.sendall(b"".join(b"\x00\x65\x01" + noise.randbytes(100) for _ in range(300)))


def rescan(endpoint: str) -> NoReturn:
    """Folders to be looked through, each another one, as fast as they are taken."""
    root = None
    while root is None:  # the connections of the other ways, which are the same user's, may leave none for this one
        with contextlib.suppress(ClientError), Client(endpoint) as client:
            root = client.request("status")["roots"][0]["path"]
    _ask_for_ever(endpoint, ({"do": "rescan", "dir": b"%s/%d" % (root, number)} for number in itertools.count()))


def cluster(endpoint: str) -> NoReturn:
    """Questions of which each is another one, so that no answer can be kept."""
    _ask_for_ever(
        endpoint,
        ({"do": "clusters", "limit": 1000, "threshold": 0.02 - number % 10_000 / 1e6} for number in itertools.count()),
    )


def wait(endpoint: str) -> NoReturn:
    """Waits without end."""
    _ask_for_ever(endpoint, ({"do": "wait", "timeout": 3600.0} for _ in itertools.count()))


def find_and_leave(endpoint: str) -> NoReturn:
    """Large pictures to be found, by a client that does not stay for the answer."""
    while True:
        with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
            dealer.linger = 0
            dealer.connect(endpoint)
            for number in range(16):
                dealer.send_multipart([b"", _packed(number, {"do": "find", "suffix": ".jpg"}), _PICTURE])
            dealer.poll(200)


def send_without_end(endpoint: str) -> NoReturn:
    """The first pieces of files that are never asked about."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger, dealer.sndtimeo = 0, 1000
        dealer.connect(endpoint)
        while True:
            for offset in range(0, 64 << 20, 1 << 20):
                with contextlib.suppress(zmq.Again):
                    request = {"do": "send", "offset": offset, "size": 64 << 20}
                    dealer.send_multipart([b"", _packed(offset, request), bytes(1 << 20)])
                while dealer.poll(0):
                    dealer.recv_multipart()


def read_nothing(endpoint: str) -> NoReturn:
    """Questions with large answers that are not read."""
    while True:
        with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
            dealer.linger, dealer.sndtimeo, dealer.rcvhwm = 0, 100, 1
            dealer.connect(endpoint)
            with contextlib.suppress(zmq.Again):
                for number in range(200):
                    dealer.send_multipart([b"", _packed(number, {"do": "clusters", "limit": 1000})])
            time.sleep(1)


def hold_connections(endpoint: str) -> NoReturn:
    """Connections on which nothing is ever said."""
    held: list[socket.socket] = []
    while True:
        with contextlib.suppress(OSError):
            held.append(socket.socket(socket.AF_UNIX))
            held[-1].settimeout(1)
            held[-1].connect(endpoint.removeprefix("ipc://"))
            held[-1].sendall(_GREETING)
        if len(held) > _MANY_CONNECTIONS:
            time.sleep(1)
            while held:
                held.pop().close()


def say_garbage(endpoint: str) -> NoReturn:
    """Bytes that mean nothing, messages of many frames, frames that are too long."""
    noise = random.Random(2)
    while True:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(1)
            peer.connect(endpoint.removeprefix("ipc://"))
            begin = noise.choice([b"", _GREETING + b"\x04\x1c\x05READY\x0bSocket-Type\0\0\0\x06DEALER"])
            more = noise.choice(
                [noise.randbytes(2000), b"\x01\x01x" * 5000, b"\x02" + (1 << 30).to_bytes(8) + bytes(1000)]
            )
            peer.sendall(begin + more)
        time.sleep(0.01)


WAYS: tuple[Way, ...] = (
    subscribe, rescan, cluster, wait, find_and_leave, send_without_end, read_nothing, hold_connections, say_garbage,
)  # fmt: skip


@contextlib.contextmanager
def hostile(endpoint: str) -> Iterator[bool]:
    """All ways at once, while the block runs; gives whether it is another user than the one who runs the service."""
    is_other = os.geteuid() == 0
    processes = [
        multiprocessing.get_context("fork").Process(target=_as_stranger, args=(way, endpoint), daemon=True)
        for way in WAYS
    ]
    for process in processes:
        process.start()
    try:
        yield is_other
        ended = [way.__name__ for way, process in zip(WAYS, processes, strict=True) if not process.is_alive()]
        assert not ended, f"these ended by themselves: {ended}"
    finally:
        for process in processes:
            process.kill()
            process.join()


def _as_stranger(way: Way, endpoint: str) -> None:
    os.nice(19)  # what counts is what the service does for it, not the processor that it takes from all by itself
    if os.geteuid() == 0:
        group = os.stat(endpoint.removeprefix("ipc://")).st_gid
        os.setgroups([group])
        os.setresgid(group, group, group)
        os.setresuid(_USER, _USER, _USER)
    way(endpoint)


def _ask_for_ever(endpoint: str, requests: Iterator[dict[str, object]]) -> NoReturn:
    with zmq.Context() as context:
        dealers = [context.socket(zmq.DEALER) for _ in range(8)]
        for dealer in dealers:
            dealer.linger, dealer.sndtimeo = 0, 100
            dealer.connect(endpoint)
        for number, request in enumerate(requests):
            dealer = dealers[number % len(dealers)]
            with contextlib.suppress(zmq.Again):
                dealer.send_multipart([b"", _packed(number, request)])
            while dealer.poll(0):
                dealer.recv_multipart()
    raise AssertionError("requests without end have ended")


def _packed(number: int, request: dict[str, object]) -> bytes:
    return bytes(msgpack.packb({"v": 1, "id": number % (1 << 31), **request}))
