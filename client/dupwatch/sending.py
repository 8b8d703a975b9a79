"""Asks `find` and `preview` about files: opens them with the rights of whoever asks, and sends their bytes in pieces.

In: paths, or open files. Out: for each one an entry of `dupwatch find --json`, or a preview. The service opens no path
for us: it might read what we may not.
"""

import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import FileIO
from typing import Any, Literal, Protocol, TypedDict

from dupwatch.client import Client
from dupwatch.errors import RequestFailedError
from dupwatch.suffixes import suffix_of_name
from dupwatch.wire import COMMANDS, PIECE_BYTES_MAX

ANSWER_SECONDS = 120.0  # for the other pictures of a busy service, and for decoding this one
BUSY_SECONDS = 0.2  # until a busy service is asked again
_ONE_PICTURE = frozenset({"identical", "same", None})  # None: nobody could look at them together
OF_THE_FILE = frozenset({"not_a_picture", "unreadable", "too_large"})  # errors that the next file need not have


class SeekableFile(Protocol):
    """An open file of bytes that can be read from its beginning."""

    def seek(self, offset: int, whence: int = ..., /) -> int:
        """Go there; returns the place from the beginning."""

    def read(self, size: int = ..., /) -> bytes | None:
        """Up to ``size`` bytes; nothing at the end."""


Kind = Literal["jpeg", "webp", "rgb"]  # of a preview


class Question(TypedDict, total=False):
    """What counts as a copy; what is left out, or None, is as the service has it."""

    measure: str | None
    threshold: float | None
    mirrored: bool | None
    enough: bool | None  # of other photos nothing is read once a copy is known that is as good


def find_file(client: Client, path: bytes, question: Question) -> dict[str, Any]:
    """What the service knows of one file: ``path``, ``known``, ``copies``, or an ``error`` of that file alone.

    Raises ClientError for whatever concerns all files.
    """
    try:
        with opened(path) as stream:
            result = find_stream(client, stream, suffix_of(path), question)
    except OSError as error:
        return _unknown(path, error.strerror or str(error))
    except RequestFailedError as error:
        if error.code not in OF_THE_FILE:
            raise
        return _unknown(path, str(error))
    return {"path": path, **result, "known": any(copy.get("verdict") in _ONE_PICTURE for copy in result["copies"])}


def find_stream(client: Client, stream: SeekableFile, suffix: str | None, question: Question) -> dict[str, Any]:
    """The result of `find` for an open file, which is read from its beginning to its end.

    Sent, and raises, as `preview_stream`.
    """
    return _answer(client, stream, "find", suffix=suffix, **question)


def preview_stream(
    client: Client, stream: SeekableFile, suffix: str | None, px: int, frame: int | None = None, kind: Kind = "jpeg"
) -> dict[str, Any]:
    """The result of `preview` for an open file, which is read from its beginning to its end.

    ``px`` is the most that the longer side may have; ``frame`` chooses one of several, from 0; by default it is the one
    that stands for the file in the index. While the service is busy with other files it is sent again. Raises OSError
    if it cannot be read, or changes meanwhile; RequestFailedError if it gives no preview; ClientError.
    """
    return _answer(client, stream, "preview", suffix=suffix, px=px, frame=frame, kind=kind)


@contextmanager
def opened(path: bytes) -> Iterator[FileIO]:
    """A file, open for reading, and closed when the block is left; raises OSError, also if it is no regular file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe must not hold us
    with FileIO(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("not a file")
        yield stream


def _answer(client: Client, stream: SeekableFile, do: str, **args: Any) -> dict[str, Any]:
    deadline = time.monotonic() + ANSWER_SECONDS
    while True:
        try:
            return _sent(client, stream, do, args)
        except RequestFailedError as error:
            if error.code != "busy" or time.monotonic() >= deadline:
                raise
            time.sleep(BUSY_SECONDS)


def _sent(client: Client, stream: SeekableFile, do: str, args: Mapping[str, Any]) -> dict[str, Any]:
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    offset = 0
    piece = _piece(stream)
    while offset + len(piece) < size:
        if not piece:
            raise OSError("it became shorter while it was read")
        client.request("send", offset=offset, size=size, data=piece)
        offset += len(piece)
        piece = _piece(stream)
    if offset + len(piece) > size or stream.read(1):
        raise OSError("it became longer while it was read")
    # The service gives up first, and says so.
    return client.request(do, ANSWER_SECONDS + 5, timeout=ANSWER_SECONDS, offset=offset, data=piece, **args)


def suffix_of(path: bytes) -> str | None:
    """The suffix of a file's name, by which some formats are known; None if it can be none of a picture."""
    suffix = suffix_of_name(os.fsdecode(os.path.basename(path)))
    pattern = COMMANDS["find"]["suffix"].pattern
    return suffix if pattern is not None and pattern.fullmatch(suffix) else None


def _unknown(path: bytes, error: str) -> dict[str, Any]:
    return {"path": path, "known": False, "copies": [], "error": error}


def _piece(stream: SeekableFile) -> bytes:
    """The next bytes, as many as one request takes; fewer only at the end of the file."""
    piece = b""
    while len(piece) < PIECE_BYTES_MAX and (more := stream.read(PIECE_BYTES_MAX - len(piece))):
        piece += more
    return piece
