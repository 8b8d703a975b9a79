"""Noise for the socket and the decoders, the same for the same seed: what must hold is checked while it is made.

`test_fuzzing.py` tries a few hundred cases with every change; `python -m tests.long.fuzzing` goes on for as long as it
is told to.
"""

import contextlib
import io
import os
import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgpack
import numpy as np
import pillow_heif
import zmq
from PIL import Image

from dupwatch import wire
from dupwatch.client import Client
from dupwatch.endpoints import events_endpoint
from dupwatchd.index.pool import WorkerPool
from dupwatchd.model import ReadStatus
from tests.conftest import photo_like
from tests.index.files import dng, index
from tests.system.service import Service

_GREETING = b"\xff" + b"\0" * 8 + b"\x7f\x03\0NULL" + b"\0" * 48
_READY = b"\x04\x1c\x05READY\x0bSocket-Type\0\0\0\x06DEALER"
_XSUB = b"\x04\x1a\x05READY\x0bSocket-Type\0\0\0\x04XSUB"
_EDGES = (0, 1, 0x7F, 0x80, 0xFF)
_NUMBERS = (0, 1, 0xFFFF, 0x10000, 1 << 28, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_FILES_AT_ONCE = 100
_MESSAGES_AT_ONCE = 50
_MAY_BECOME = {ReadStatus.DECODED, ReadStatus.KNOWN, ReadStatus.FAILED, ReadStatus.NOT_A_PICTURE}

Samples = Sequence[tuple[str, bytes]]  # names and contents


# ---- files


def sample_files() -> Samples:
    """A small sound file of each format that can be written here, some in several ways."""
    pillow_heif.register_heif_opener()
    picture, other = (Image.fromarray(photo_like(seed, 96, 72)) for seed in (1, 2))
    ways: list[tuple[str, str, dict[str, object]]] = [
        ("baseline.jpg", "JPEG", {"quality": 85}), ("progressive.jpg", "JPEG", {"progressive": True}),
        ("a.png", "PNG", {}), ("lzw.tif", "TIFF", {"compression": "tiff_lzw"}),
        ("jpeg.tif", "TIFF", {"compression": "jpeg"}), ("deflate.tif", "TIFF", {"compression": "tiff_deflate"}),
        ("lossy.webp", "WEBP", {"quality": 70}), ("lossless.webp", "WEBP", {"lossless": True}),
        ("moving.webp", "WEBP", {"save_all": True, "append_images": [other]}),
        ("moving.gif", "GIF", {"save_all": True, "append_images": [other]}),
        ("moving.png", "PNG", {"save_all": True, "append_images": [other]}),
        ("pages.tif", "TIFF", {"save_all": True, "append_images": [other]}),
        ("a.avif", "AVIF", {}), ("a.heic", "HEIF", {}), ("a.bmp", "BMP", {}), ("a.jp2", "JPEG2000", {}),
        ("a.ico", "ICO", {}), ("a.tga", "TGA", {}), ("a.ppm", "PPM", {}),
    ]  # fmt: skip
    made = [("a.dng", dng(_saved(picture, "JPEG"), (96, 72), (96, 72), 1))]
    return [*made, *((name, _saved(picture, kind, **options)) for name, kind, options in ways)]


def _saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def mutated(content: bytes, samples: Samples, noise: random.Random) -> bytes:
    """The file with one thing in it changed, as a bad disk, a cut transfer or an enemy would."""
    found = bytearray(content)
    place = noise.randrange(len(found)) if found else 0
    length = noise.randrange(1, 2048)
    match noise.randrange(9):
        case 0:
            for _ in range(noise.randrange(1, 5)):
                found[place : place + 1] = noise.randbytes(1)
                place = noise.randrange(len(found))
        case 1:  # lengths and offsets are at the beginning of most formats
            for _ in range(noise.randrange(1, 6)):
                found[noise.randrange(min(len(found), 600) or 1)] = noise.choice(_EDGES)
        case 2:
            del found[place:]
        case 3:
            found[place : place + length] = bytes(len(found[place : place + length]))
        case 4:
            found[place:place] = found[place : place + length]
        case 5:
            del found[place : place + length]
        case 6:
            place = noise.randrange(min(len(found), 400) or 1)
            found[place : place + 4] = struct.pack(noise.choice("<>") + "I", noise.choice(_NUMBERS))
        case 7:
            source = noise.randrange(len(found)) if found else 0
            found[place : place + length] = found[source : source + length]
        case _:
            _, other = noise.choice(samples)
            found[place:] = other[noise.randrange(len(other)) :]
    return bytes(found) or b"\0"


def fuzz_decoders(folder: Path, noise: random.Random, is_over: Callable[[int], bool], pool: WorkerPool) -> Counter[str]:
    """Read mutated files until it is over (by their number); returns what came of how many.

    Each is read, or refused with a line for a person; and what is sound is read as before, after all of it.
    """
    samples = sample_files()
    folder.mkdir()
    for name, content in samples:
        (folder / name).write_bytes(content)
    sound = [folder / name for name, _ in samples]
    before = {name: one.decoded for name, one in index(pool, sound).items()}
    assert all(before.values()), [name for name, decoded in before.items() if decoded is None]
    counted: Counter[str] = Counter()
    while not is_over(counted.total()):
        mutants = []
        for number in range(_FILES_AT_ONCE):
            name, content = noise.choice(samples)
            for _ in range(noise.choice((1, 1, 1, 2, 3))):
                content = mutated(content, samples, noise)
            mutants.append(folder / f"{number}-{name}")
            mutants[-1].write_bytes(content)
        outcomes = index(pool, mutants)
        assert len(outcomes) == len(mutants)
        for outcome in outcomes.values():
            assert outcome.status in _MAY_BECOME, (outcome.status, outcome.error)
            if outcome.status is ReadStatus.FAILED:
                assert outcome.error
                assert "\n" not in outcome.error
                assert "Traceback" not in outcome.error
            counted[outcome.status.value] += 1
    after = index(pool, sound)
    for file_name, decoded in before.items():
        again = after[file_name].decoded
        assert decoded is not None
        assert again is not None
        assert np.array_equal(decoded.thumbnail, again.thumbnail), file_name
    return counted


# ---- messages


def random_value(noise: random.Random, depth: int = 0) -> object:
    """Any value that msgpack can carry, often one at the edge of what is allowed."""
    kinds: list[Callable[[], object]] = [
        lambda: None,
        lambda: noise.random() < 0.5,
        lambda: noise.randrange(-5, 20),
        lambda: noise.choice((2**63 - 1, 2**64 - 1, -(2**63), 2**53)),
        lambda: noise.choice((float("nan"), float("inf"), -1.0, 0.02, 1e308, -0.0)),
        lambda: noise.randbytes(noise.randrange(50)),
        lambda: b"/" + b"a" * noise.choice((10, 4096, 40_000)),
        lambda: "x" * noise.randrange(100),
        lambda: noise.choice(("structure", "mse", "cropped,similar", ".jpg", "bytes", "rgb", "same")),
        lambda: msgpack.ExtType(noise.randrange(127), noise.randbytes(4)),
        lambda: [random_value(noise, depth + 1) for _ in range(noise.randrange(4))] if depth < 4 else 1,
        lambda: {noise.choice("abc"): random_value(noise, depth + 1) for _ in range(noise.randrange(4))},
    ]
    return noise.choice(kinds[: -1 if depth >= 4 else None])()


def random_request(noise: random.Random, root: bytes) -> bytes:
    """Something like a request, now and then one that is allowed."""
    match noise.randrange(12):
        case 0:
            return noise.randbytes(noise.randrange(200))
        case 1:
            return b"\x91" * noise.choice((10, 500, 60_000)) + b"\x01"
        case 2:
            return noise.choice((b"\xdd", b"\xdf")) + struct.pack(">I", noise.choice(_NUMBERS)) + noise.randbytes(50)
    do = noise.choice(list(wire.COMMANDS))
    message: dict[str, object] = {"v": 1, "id": noise.randrange(1000), "do": do}
    for name, argument in wire.COMMANDS[do].items():
        if argument.required or noise.random() < 0.3:
            message[name] = random_value(noise) if noise.random() < 0.5 else _allowed(argument, noise, root)
    if noise.random() < 0.1:
        message[noise.choice(("v", "id", "do", "data", "x"))] = random_value(noise)
    packed = bytearray(msgpack.packb(message))
    if noise.random() < 0.2:
        packed[noise.randrange(len(packed))] = noise.randrange(256)
    return bytes(packed)


def _allowed(argument: wire.Argument, noise: random.Random, root: bytes) -> object:
    """A value that an argument may have, but for texts, which may have to be certain words."""
    if argument.kind in (int, float):
        low, high = argument.lowest, min(argument.highest, argument.lowest + 100)
        return noise.randint(int(low), int(high)) if argument.kind is int else noise.uniform(low, min(high, 0.5))
    if argument.items is not None:
        return [_allowed(argument.items, noise, root) for _ in range(noise.randrange(int(argument.lowest), 4))]
    if argument.keys is not None:
        return {name: _allowed(one, noise, root) for name, one in argument.keys.items() if noise.random() < 0.3}
    return {
        bool: noise.random() < 0.5,
        str: noise.choice(("structure", "mse", "similar", ".jpg", "files", "complete", "same", "webp")),
        wire.Digest: noise.randbytes(32),
    }.get(argument.kind, root + noise.choice((b"", b"/0.jpg", b"/nothing", b"/../x")))


def _send_messages(endpoint: str, noise: random.Random, root: bytes, count: int) -> int:
    """Messages over one proper connection, which is left without waiting for all replies; returns how many came."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger, dealer.sndtimeo = 0, 1000
        dealer.connect(endpoint)
        replies = 0
        for _ in range(count):
            frames = [b"", random_request(noise, root)]
            frames += [noise.randbytes(noise.choice((0, 10, 3000)))] * noise.choice((0, 0, 1, 1, 2, 20))
            with contextlib.suppress(zmq.Again):
                dealer.send_multipart(frames[noise.choice((0, 0, 0, 0, 1)) :])
        while dealer.poll(20):
            reply = wire.decode_reply(dealer.recv_multipart()[-1:])
            assert reply.result is not None or reply.code != "internal", reply
            replies += 1
        return replies


def _send_stream(endpoint: str, noise: random.Random, root: bytes) -> None:
    """Bytes that are not quite what a client of ZeroMQ says."""
    is_listener = noise.random() < 0.3
    path = (events_endpoint(endpoint) if is_listener else endpoint).removeprefix("ipc://")
    frames = [b"\x01tick"] if is_listener else [b"", random_request(noise, root)[:250]]
    said = [bytes([number < len(frames), len(frame)]) + frame for number, frame in enumerate(frames, 1)]
    stream = bytearray(_GREETING + (_XSUB if is_listener else _READY) + b"".join(said) * noise.randrange(1, 4))
    for _ in range(noise.randrange(4)):
        place = noise.randrange(len(stream))
        match noise.randrange(4):
            case 0:
                stream[place] = noise.choice((*_EDGES, noise.randrange(256)))
            case 1:
                del stream[place:]
                stream += b"\0"
            case 2:
                stream[place:place] = noise.randbytes(noise.randrange(1, 300))
            case _:
                stream[place : place + 8] = struct.pack(">Q", noise.choice((*_NUMBERS, 1 << 40, (1 << 64) - 1)))
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(1)
        peer.connect(path)
        peer.sendall(stream)


@contextlib.contextmanager
def _connecting_as(user: int | None) -> Iterator[None]:
    if user is None:
        yield
        return
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(0)


def fuzz_socket(
    service: Service, noise: random.Random, is_over: Callable[[int], bool], users: Sequence[int] = ()
) -> Counter[str]:
    """Say what no client would say until it is over (by the number of messages); returns how much of what was said.

    The service answers others all the time, and nothing it says in its log is a bug. Who says so much is turned away in
    time, with all that he does. So whoever goes on for long needs ``users`` to say it in turn, the first of them often
    enough to be turned away; only root can become them, and they must be able to reach the socket.
    """
    [root] = [bytes(one["path"]) for one in service.ask("status")["roots"]]
    counted: Counter[str] = Counter()
    while not is_over(counted["messages"] + counted["streams"]):
        count = noise.randrange(1, 12)
        with _connecting_as(noise.choice((users[0], *noise.choices(users, k=19))) if users else None):
            counted["replies"] += _send_messages(service.endpoint, noise, root, count)
            counted["messages"] += count
            for _ in range(noise.randrange(1, 6)):
                _send_stream(service.endpoint, noise, root)
                counted["streams"] += 1
        if counted.total() % _MESSAGES_AT_ONCE < count:
            began = time.monotonic()
            with Client(service.endpoint, timeout_seconds=20) as other:
                assert other.request("status")
            counted["slowest_ms"] = max(counted["slowest_ms"], int(1000 * (time.monotonic() - began)))
    assert service.process.poll() is None, service.lines()
    service.ask("resume")
    service.settled()
    for sign in ("Traceback", "failed in one turn", "request "):
        assert sign not in service.lines(), service.lines()
    return counted
