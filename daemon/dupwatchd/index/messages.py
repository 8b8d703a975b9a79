"""The messages between the pool and a worker: results go in, bytes come out, and the reverse; no sockets.

A picture may have taken over the worker that decoded it, so that nothing a worker sends is unpickled or trusted: a
reply that is not exactly as described here raises ``BadReply``.

A message, called frame, is two 4-byte big-endian lengths, a JSON header of the first length, and raw bytes of the
second. In their order:

    worker: {"ready": true}
    pool:   {"read": [path, …]}                 paths as text with surrogate escapes
    worker: {"read": [entry, …]}                one per path: {"error", "status"} or {"stamp", "digest"}
    pool:   {"decode": [index, …]}              into the files of the oldest chunk not yet decoded; [] drops it
    worker: {"decoded": [entry, …]}             as many frames as it likes; an entry is {"index", "error", "picture"},
                                                or {"index", "width", "height", "format", "damage"} with a thumbnail
                                                in the raw bytes
    worker: {"busy": true}                      at any time: still alive, has read a part of a big file
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dupwatchd.index.reasons import one_line
from dupwatchd.model import Decoded, ReadStatus, Stamp

LENGTHS_BYTES = 8
# A header holds one short entry per file of a chunk. A longer one would be an attack on the pool's memory.
MAX_HEADER_BYTES = 256 * 1024

_NOT_READ = {
    v.value: v for v in (ReadStatus.UNREADABLE, ReadStatus.VANISHED, ReadStatus.CHANGED, ReadStatus.NOT_A_PICTURE)
}


class BadReply(Exception):  # noqa: N818 - it says what happened
    """A worker sent something that is no valid message."""


@dataclass(frozen=True, slots=True)
class ReadFile:
    """A file was read: these bytes."""

    stamp: Stamp
    digest: bytes


@dataclass(frozen=True, slots=True)
class NotRead:
    """A file could not be read."""

    status: ReadStatus
    error: str | None
    stamp: Stamp | None = None


@dataclass(frozen=True, slots=True)
class NotDecoded:
    """A content could not be decoded."""

    error: str
    picture: bool  # it is one, or its name claims so


def frame(header: dict[str, Any], raw: bytes = b"") -> bytes:
    """Pack a header and raw bytes for the wire."""
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    return len(text).to_bytes(4, "big") + len(raw).to_bytes(4, "big") + text + raw


def frame_lengths(prefix: bytes | bytearray) -> tuple[int, int]:
    """The lengths of header and raw bytes, from the first 8 bytes of a frame."""
    return int.from_bytes(prefix[:4], "big"), int.from_bytes(prefix[4:8], "big")


def header_of(text: bytes | bytearray) -> dict[str, Any]:
    """Parse a frame's header; raises BadReply."""
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadReply("no JSON") from error
    if not isinstance(header, dict):
        raise BadReply("no JSON object")
    return header


def read_request(paths: Sequence[bytes]) -> bytes:
    """Ask a worker to read and hash these files."""
    return frame({"read": [path.decode("utf-8", "surrogateescape") for path in paths]})


def read_reply(results: Sequence[ReadFile | NotRead]) -> bytes:
    """Answer a `read_request`, in its order."""
    entries = []
    for result in results:
        stamp = result.stamp and _stamp_fields(result.stamp)
        if isinstance(result, ReadFile):
            entries.append({"stamp": stamp, "digest": result.digest.hex()})
        else:
            entries.append({"status": result.status.value, "error": result.error, "stamp": stamp})
    return frame({"read": entries})


def decode_request(indexes: Sequence[int]) -> bytes:
    """Ask for the thumbnails of some files of the oldest chunk read."""
    return frame({"decode": list(indexes)})


def decode_reply(results: Sequence[tuple[int, Decoded | NotDecoded]]) -> bytes:
    """Answer a `decode_request`, or a part of it."""
    entries: list[dict[str, Any]] = []
    raw = []
    for index, result in results:
        if isinstance(result, Decoded):
            raw.append(result.thumbnail.tobytes())
            size = {"width": result.width, "height": result.height}
            entries.append({"index": index, **size, "format": result.format, "damage": result.damage})
        else:
            entries.append({"index": index, "error": result.error, "picture": result.picture})
    return frame({"decoded": entries}, b"".join(raw))


def parse_read_reply(header: dict[str, Any], files: int) -> list[ReadFile | NotRead]:
    """One result per file asked for; raises BadReply."""
    entries = header.get("read")
    if not isinstance(entries, list) or len(entries) != files:
        raise BadReply("not one entry per file")
    try:
        return [_read_entry(entry) for entry in entries]
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise BadReply("a malformed entry") from error


def parse_decode_reply(
    header: dict[str, Any], raw: bytes, wanted: set[int], thumbnail_px: int
) -> list[tuple[int, Decoded | NotDecoded]]:
    """Results for some of the wanted indexes, none twice; raises BadReply."""
    entries = header.get("decoded")
    if not isinstance(entries, list):
        raise BadReply("no entries")
    thumbnail_bytes = thumbnail_px * thumbnail_px * 3
    results: list[tuple[int, Decoded | NotDecoded]] = []
    seen: set[int] = set()
    at = 0
    try:
        for entry in entries:
            index = _number(entry["index"])
            if index not in wanted or index in seen:
                raise BadReply("a file nobody asked for")
            seen.add(index)
            if "error" in entry:
                results.append((index, NotDecoded(_text(entry["error"]), entry["picture"] is True)))
                continue
            pixels = np.frombuffer(raw, np.uint8, thumbnail_bytes, at).reshape(thumbnail_px, thumbnail_px, 3)
            at += thumbnail_bytes
            width, height = _side(entry["width"]), _side(entry["height"])
            damage = None if entry["damage"] is None else _text(entry["damage"])
            results.append((index, Decoded(pixels, width, height, _text(entry["format"])[:16], damage)))
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise BadReply("a malformed entry") from error
    if at != len(raw):
        raise BadReply("bytes left over")
    return results


def _read_entry(entry: dict[str, Any]) -> ReadFile | NotRead:
    stamp = entry["stamp"] and Stamp(*map(_number, entry["stamp"]))
    if "digest" in entry:
        digest = bytes.fromhex(entry["digest"])
        if len(digest) != 32 or stamp is None:
            raise ValueError
        return ReadFile(stamp, digest)
    error = entry["error"]
    return NotRead(_NOT_READ[entry["status"]], error and _text(error), stamp)


def _stamp_fields(stamp: Stamp) -> list[int]:
    return [stamp.size_bytes, stamp.mtime_ns, stamp.device, stamp.inode]


def _number(value: object, below: int = 1 << 63) -> int:
    if type(value) is not int or not -(1 << 63) <= value < below:  # a bool is an int, too
        raise ValueError
    return value


def _side(value: object) -> int:
    if _number(value, 1 << 31) <= 0:
        raise ValueError
    return _number(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return one_line(value)
