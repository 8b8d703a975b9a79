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
                                                or {"index", "width", "height", "format", "damage", "proof",
                                                "keypoints", "frames", "facts"} with a thumbnail, and a proof and
                                                keypoints of so many bytes, in the raw bytes
    pool:   {"look": path, "px"}                while nothing else is asked for
    worker: {"looked": entry}                   {"error", "status"}, {"error", "picture"}, or {"digest", "rgb", "luma",
                                                "steps"}: sizes (H, W) of what the raw bytes hold, one after the other
    pool:   {"all_pixels": path}                likewise
    worker: {"told_apart": entry}               {"error", "status"}, {"error", "picture"}, or {"digest", "pixels"}
    pool:   {"preview": path, "px", "frame", "kind"}  likewise
    worker: {"previewed": entry}                {"error", "status"}, {"error", "picture"}, {"no_frame": frames}, or
                                                {"size", "full_size", "frame", "frames"}: sizes are (width, height), the
                                                first one of the preview in the raw bytes
    worker: {"busy": true}                      at any time: still alive, has read a part of a big file
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dupwatchd.index.places import is_place
from dupwatchd.index.reasons import one_line
from dupwatchd.index.texts import MAX_LINES_CHARS
from dupwatchd.model import PIXELS_BYTES, Decoded, Facts, ReadStatus, Stamp
from dupwatchd.pixels.keypoints import MAX_KEYPOINTS_BYTES
from dupwatchd.pixels.proof import MAX_PROOF_BYTES

LENGTHS_BYTES = 8
# A header holds one entry per file of a chunk: for each of sixteen three texts of up to 1,000 characters, of which JSON
# may take 12 bytes each, and little else. A longer one would be an attack on the pool's memory.
MAX_HEADER_BYTES = 1 << 20

MAX_LUMA_PX = 64_000_000  # of the luma that is handed out at full size; larger pictures are looked at without
MAX_FRAMES = 1 << 16
_JPEG_SIGNATURE = b"\xff\xd8\xff"
_HEAD_BYTES = 64 * 1024
_DIGEST_BYTES = 16
_FLAGS = ("has_place", "edited", "has_colour", "lossless", "jpeg_grid", "transparent")
_FACTS = tuple(field.name for field in fields(Facts))

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


@dataclass(frozen=True, slots=True, eq=False)
class Detail:
    """The pixels of one file, for a look that a thumbnail and a proof are not enough for."""

    rgb: NDArray[np.uint8]  # (h, w, 3), upright, at most as large as it was asked for
    luma: NDArray[np.uint8] | None = None  # (H, W) at full size, as stored: not upright; None: too large, no luma
    steps: NDArray[np.float32] | None = None  # (8, 8) quantisation of a JPEG's luma, rows of rising vertical frequency
    digest: bytes = b""  # BLAKE3 of the file


Looked = Detail | NotRead | NotDecoded  # what came of a look at one file


@dataclass(frozen=True, slots=True)
class AllPixels:
    """What tells a file from others that show the same picture."""

    pixels: bytes  # see `model.KIND_BYTES`; empty if nobody can tell
    digest: bytes  # BLAKE3 of the file


PixelsRead = AllPixels | NotRead | NotDecoded


class PreviewKind(StrEnum):
    """The form of a preview."""

    JPEG = "jpeg"
    WEBP = "webp"
    RGB = "rgb"  # three bytes a pixel, row by row


@dataclass(frozen=True, slots=True)
class PreviewWish:
    """What a preview shall be."""

    most_px: int  # of its longer side
    frame: int | None = None  # or page, from 0; None: the one that stands for the file in the index
    kind: PreviewKind = PreviewKind.JPEG


@dataclass(frozen=True, slots=True)
class Preview:
    """A picture as a person sees it: upright, in sRGB, without metadata, at most as large as it was asked for."""

    data: bytes
    width: int  # px, of the preview
    height: int
    full_width: int  # px, of the picture in the file, upright
    full_height: int
    frame: int  # which one of them it shows, from 0
    frames: int


@dataclass(frozen=True, slots=True)
class NoSuchFrame:
    """The file has fewer frames or pages than were asked for."""

    frames: int


Previewed = Preview | NoSuchFrame | NotRead | NotDecoded  # what came of the wish for a preview


def frame(header: dict[str, Any], raw: bytes = b"") -> bytes:
    """Pack a header and raw bytes for the wire."""
    return _begin(header, len(raw)) + raw


def _begin(header: dict[str, Any], raw_bytes: int) -> bytes:
    """What comes in front of so many raw bytes."""
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    return len(text).to_bytes(4, "big") + raw_bytes.to_bytes(4, "big") + text


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
    raw: list[bytes] = []
    for index, result in results:
        if isinstance(result, Decoded):
            raw += (result.thumbnail.tobytes(), result.proof, result.keypoints)
            entries.append({"index": index, **_decoded_fields(result)})
        else:
            entries.append({"index": index, "error": result.error, "picture": result.picture})
    return frame({"decoded": entries}, b"".join(raw))


def look_request(path: bytes, most_px: int) -> bytes:
    """Ask for the pixels of one file."""
    return frame({"look": path.decode("utf-8", "surrogateescape"), "px": most_px})


def look_reply(result: Looked) -> list[bytes | memoryview]:
    """Answer a `look_request`: what is to be sent, one after the other. To join 18 MB takes as long as to send them."""
    if not isinstance(result, Detail):
        return [frame({"looked": _failure_fields(result)})]
    entry = {
        "digest": result.digest.hex(),
        "rgb": result.rgb.shape[:2],
        "luma": None if result.luma is None else result.luma.shape,
        "steps": None if result.steps is None else result.steps.ravel().astype(int).tolist(),
    }
    planes = [np.ascontiguousarray(plane) for plane in (result.rgb, result.luma) if plane is not None]
    return [_begin({"looked": entry}, sum(plane.nbytes for plane in planes)), *(plane.data for plane in planes)]


def max_look_bytes(most_px: int) -> int:
    """How many raw bytes the answer to a `look_request` may have."""
    return 3 * most_px**2 + MAX_LUMA_PX


def parse_look_reply(header: dict[str, Any], raw: bytes | memoryview, most_px: int) -> Looked:
    """What came of a `look_request`; its planes share the memory of the raw bytes. Raises BadReply."""
    try:
        entry = header["looked"]
        return _failure(entry) or _detail(entry, raw, most_px)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise BadReply("a malformed entry") from error


def _detail(entry: dict[str, Any], raw: bytes | memoryview, most_px: int) -> Detail:
    """Raises TypeError, KeyError, ValueError."""
    height, width = (_number(side, most_px + 1, least=1) for side in entry["rgb"])
    rgb_bytes = 3 * height * width
    rgb = np.frombuffer(raw, np.uint8, rgb_bytes).reshape(height, width, 3)
    luma = steps = None
    luma_bytes = 0
    if entry["luma"] is not None:
        rows, columns = (_number(side, MAX_LUMA_PX + 1, least=1) for side in entry["luma"])
        luma_bytes = rows * columns
        luma = np.frombuffer(raw, np.uint8, luma_bytes, rgb_bytes).reshape(rows, columns)
    if entry["steps"] is not None:
        values = [_number(step, 1 << 16, least=1) for step in entry["steps"]]
        steps = np.array(values, np.float32).reshape(8, 8)
    digest = bytes.fromhex(entry["digest"])
    if len(digest) != 32 or len(raw) != rgb_bytes + luma_bytes:
        raise ValueError
    return Detail(rgb, luma, steps, digest)


def pixels_request(path: bytes) -> bytes:
    """Ask for what tells one file from others that show the same picture."""
    return frame({"all_pixels": path.decode("utf-8", "surrogateescape")})


def pixels_reply(result: PixelsRead) -> bytes:
    """Answer a `pixels_request`."""
    if not isinstance(result, AllPixels):
        return frame({"told_apart": _failure_fields(result)})
    return frame({"told_apart": {"digest": result.digest.hex(), "pixels": result.pixels.hex()}})


def parse_pixels_reply(header: dict[str, Any]) -> PixelsRead:
    """What came of a `pixels_request`; raises BadReply."""
    try:
        entry = header["told_apart"]
        if failure := _failure(entry):
            return failure
        pixels, digest = bytes.fromhex(entry["pixels"]), bytes.fromhex(entry["digest"])
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise BadReply("a malformed entry") from error
    if len(digest) != 32 or len(pixels) not in (0, PIXELS_BYTES):
        raise BadReply("a malformed entry")
    return AllPixels(pixels, digest)


def preview_request(path: bytes, wish: PreviewWish) -> bytes:
    """Ask for a preview of one file."""
    name = path.decode("utf-8", "surrogateescape")
    return frame({"preview": name, "px": wish.most_px, "frame": wish.frame, "kind": wish.kind.value})


def wish_of(header: dict[str, Any]) -> PreviewWish:
    """What a `preview_request` asks for besides its path."""
    return PreviewWish(header["px"], header["frame"], PreviewKind(header["kind"]))


def preview_reply(result: Previewed) -> bytes:
    """Answer a `preview_request`."""
    if isinstance(result, NoSuchFrame):
        return frame({"previewed": {"no_frame": result.frames}})
    if not isinstance(result, Preview):
        return frame({"previewed": _failure_fields(result)})
    entry = {
        "size": [result.width, result.height],
        "full_size": [result.full_width, result.full_height],
        "frame": result.frame,
        "frames": result.frames,
    }
    return frame({"previewed": entry}, result.data)


def max_preview_bytes(wish: PreviewWish) -> int:
    """How many raw bytes may answer a `preview_request`: no picture is larger than its pixels and a head."""
    return 3 * wish.most_px**2 + _HEAD_BYTES


def parse_preview_reply(header: dict[str, Any], raw: bytes, wish: PreviewWish) -> Previewed:
    """What came of a `preview_request`; raises BadReply."""
    try:
        entry = header["previewed"]
        if "no_frame" in entry:
            return NoSuchFrame(_number(entry["no_frame"], MAX_FRAMES + 1, least=1))
        return _failure(entry) or _preview(entry, raw, wish)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise BadReply("a malformed entry") from error


def _preview(entry: dict[str, Any], raw: bytes, wish: PreviewWish) -> Preview:
    """Raises TypeError, KeyError, ValueError."""
    width, height = (_number(side, wish.most_px + 1, least=1) for side in entry["size"])
    full_width, full_height = map(_side, entry["full_size"])
    frames = _number(entry["frames"], MAX_FRAMES + 1, least=1)
    shown = _number(entry["frame"], frames, least=0)
    if not _is_of_kind(raw, wish.kind, width, height) or (wish.frame is not None and wish.frame != shown):
        raise ValueError
    return Preview(raw, width, height, full_width, full_height, shown, frames)


def _is_of_kind(raw: bytes, kind: PreviewKind, width: int, height: int) -> bool:
    if kind is PreviewKind.RGB:
        return len(raw) == 3 * width * height
    return raw.startswith(_JPEG_SIGNATURE) if kind is PreviewKind.JPEG else raw[:4] + raw[8:12] == b"RIFFWEBP"


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
            proof_bytes = _number(entry["proof"], MAX_PROOF_BYTES + 1, least=0)
            proof = raw[at : at + proof_bytes]
            at += proof_bytes
            keypoints_bytes = _number(entry["keypoints"], MAX_KEYPOINTS_BYTES + 1, least=0)
            keypoints = raw[at : at + keypoints_bytes]
            at += keypoints_bytes
            results.append((index, _decoded(entry, pixels, proof, keypoints)))
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise BadReply("a malformed entry") from error
    if at != len(raw):
        raise BadReply("bytes left over")
    return results


def _failure_fields(result: NotRead | NotDecoded) -> dict[str, Any]:
    if isinstance(result, NotRead):
        return {"status": result.status.value, "error": result.error, "stamp": None}
    return {"error": result.error, "picture": result.picture}


def _failure(entry: dict[str, Any]) -> NotRead | NotDecoded | None:
    """Why there is nothing to show; None if there is. Raises TypeError, KeyError, ValueError."""
    if "status" in entry:
        error = entry["error"]
        return NotRead(_NOT_READ[entry["status"]], error and _text(error))
    if "error" in entry:
        return NotDecoded(_text(entry["error"]), entry["picture"] is True)
    return None


def _read_entry(entry: dict[str, Any]) -> ReadFile | NotRead:
    stamp = entry["stamp"] and Stamp(*map(_number, entry["stamp"]))
    if "digest" in entry:
        digest = bytes.fromhex(entry["digest"])
        if len(digest) != 32 or stamp is None:
            raise ValueError
        return ReadFile(stamp, digest)
    error = entry["error"]
    return NotRead(_NOT_READ[entry["status"]], error and _text(error), stamp)


def _decoded_fields(decoded: Decoded) -> dict[str, Any]:
    facts = {name: getattr(decoded.facts, name) for name in _FACTS}  # `asdict` takes ten times as long
    facts["scan_digest"] = decoded.facts.scan_digest.hex()
    return {
        "width": decoded.width,
        "height": decoded.height,
        "format": decoded.format,
        "damage": decoded.damage,
        "proof": len(decoded.proof),
        "keypoints": len(decoded.keypoints),
        "frames": [decoded.frames, decoded.frames_digest.hex()],
        "facts": facts,
    }


def _decoded(entry: dict[str, Any], thumbnail: NDArray[np.uint8], proof: bytes, keypoints: bytes) -> Decoded:
    """Raises TypeError, KeyError, ValueError, AttributeError."""
    frames, frames_digest = entry["frames"]
    return Decoded(
        thumbnail,
        _side(entry["width"]),
        _side(entry["height"]),
        _text(entry["format"])[:16],
        None if entry["damage"] is None else _text(entry["damage"]),
        proof,
        _number(frames, MAX_FRAMES + 1, least=1),
        _short_digest(frames_digest),
        _facts(entry["facts"]),
        keypoints,
    )


def _facts(entry: dict[str, Any]) -> Facts:
    flags = {name: _flag(entry[name]) for name in _FLAGS}
    return Facts(
        camera=_text(entry["camera"]),
        captured=_text(entry["captured"]),
        rating=_number(entry["rating"], 6, least=0),
        quality=_number(entry["quality"], 101, least=0),
        scan_digest=_short_digest(entry["scan_digest"]),
        keywords=_lines(entry["keywords"]),
        place=_place(entry["place"]),
        captions=_lines(entry["captions"]),
        people=_lines(entry["people"]),
        bits=_number(entry["bits"], 65, least=8),
        exposure=_text(entry["exposure"]),
        holds=_lines(entry["holds"]),
        **flags,
    )


def _lines(value: str) -> str:
    if not isinstance(value, str) or len(value) > MAX_LINES_CHARS:
        raise TypeError
    return "\n".join(map(one_line, value.split("\n")))


def _place(value: str) -> str:
    if not is_place(value):
        raise TypeError
    return value


def _short_digest(value: str) -> bytes:
    digest = bytes.fromhex(value)
    if len(digest) not in (0, _DIGEST_BYTES):
        raise ValueError
    return digest


def _flag(value: object) -> bool:
    if type(value) is not bool:
        raise TypeError
    return value


def _stamp_fields(stamp: Stamp) -> list[int]:
    return [stamp.size_bytes, stamp.mtime_ns, stamp.device, stamp.inode]


def _number(value: object, below: int = 1 << 63, *, least: int = -(1 << 63)) -> int:
    if type(value) is not int or not least <= value < below:  # a bool is an int, too
        raise ValueError
    return value


def _side(value: object) -> int:
    return _number(value, 1 << 31, least=1)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return one_line(value)
