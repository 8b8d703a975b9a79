"""The messages of PROTOCOL.md as bytes and back; no sockets here, and the only place that knows msgpack.

In: values, or frames as a peer sent them. Out: frames, or values that are known to be valid. Whatever a peer
sends, decoding returns or raises `WireError`, and takes no more memory than a few times the limits below.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgpack

from dupwatch.errors import ProtocolError

VERSION = 1

REQUEST_BYTES_MAX = 256 * 1024  # a list of paths; the piece of a file is a frame of its own and never unpacked
PIECE_BYTES_MAX = 1024 * 1024  # of a file: larger ones are sent in several requests
FILE_BYTES_MAX = 2**53
REPLY_BYTES_MAX = 64 * 1024 * 1024  # a cluster of 200,000 files
EVENT_BYTES_MAX = 64 * 1024
VALUES_MAX = 5_000_000  # in one reply: a byte on the wire may be an object of 64 bytes here
ENTRIES_MAX = 1_000_000  # of one list
DEPTH_MAX = 8
PATH_BYTES_MAX = 32 * 1024  # PATH_MAX bounds what one system call takes, not how deep folders go
ID_MAX = 2**63 - 1
WAIT_SECONDS_MAX = 60.0  # who waits longer asks again
FIND_SECONDS_MAX = 3600.0
PREVIEW_PX_MIN, PREVIEW_PX_MAX = 16, 2048  # the longer side of a preview
PAGE_MAX = 10_000
LIST_MAX = 1_000  # paths or digests in one request
DIGEST_BYTES = 32  # BLAKE3 of all bytes of a file
SORTS = ("bytes", "files", "folder", "date")  # what clusters may be put in order by
LINKAGES = ("transitive", "star", "complete")  # what may hold a cluster together
WITHIN = ("root", "each")  # what "within one folder" may mean: a root with all below it, or every single folder

_UNPACK_ERRORS = (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException)


class WireError(ProtocolError):
    """A message that the protocol does not allow; ``code`` is what the peer is told."""

    def __init__(self, code: str, message: str, request_id: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.request_id = request_id


class Argument(NamedTuple):
    """What an argument of a request may be."""

    kind: type
    required: bool = False
    lowest: float = 0
    highest: float = 0  # of a number; the length of text, paths and lists
    pattern: re.Pattern[str] | None = None  # of text
    items: "Argument | None" = None  # of a list
    keys: "Mapping[str, Argument] | None" = None  # of a map


class Digest(bytes):
    """The kind of an argument that is a digest: as many bytes as its ``highest``."""


_MEASURE = Argument(str, highest=64)
_THRESHOLD = Argument(float, highest=65025)
_FLAG = Argument(bool)
_VERDICT = "(?:cropped|retouched|recoloured|similar)"
_ALSO = Argument(str, highest=64, pattern=re.compile(f"{_VERDICT}(?:,{_VERDICT})*"))
_FOLDER = Argument(bytes, lowest=1, highest=PATH_BYTES_MAX)
_PATHS = Argument(list, highest=LIST_MAX, items=_FOLDER)
_TWO_PATHS = _PATHS._replace(required=True, lowest=2)
_DIGESTS = Argument(list, required=True, lowest=1, highest=LIST_MAX, items=Argument(Digest, highest=DIGEST_BYTES))
_SOME_FOLDERS = _PATHS._replace(lowest=1)
_LIMIT = Argument(int, lowest=1, highest=PAGE_MAX)
_OFFSET = Argument(int, highest=2**53)
_SIZE = Argument(int, required=True, highest=FILE_BYTES_MAX)
_SUFFIX = Argument(str, highest=16, pattern=re.compile(r"\.[A-Za-z0-9]{1,15}"))

_RULES = Argument(list, highest=LIST_MAX, items=Argument(str, highest=4096))
_POLICY = Argument(
    dict,
    keys={
        "keep": _RULES,
        "protect": _PATHS,
        "reference": _PATHS,
        "keep_files": _PATHS,
        "also": _ALSO,
        "ask_when": Argument(list, highest=16, items=Argument(str, highest=64)),
        "bursts": _FLAG,
        "pairs": _FLAG,
    },
)
_CLUSTERS = {
    "measure": _MEASURE,
    "threshold": _THRESHOLD,
    "mirrored": _FLAG,
    "also": _ALSO,
    "under": _FOLDER,
    "min_files": Argument(int, lowest=2, highest=2**53),
    "sort": Argument(str, highest=8, pattern=re.compile("|".join(SORTS))),
    "exact": _FLAG,
    "same_size": _FLAG,
    "aspect": Argument(float, lowest=1, highest=1_000_000),
    "across": _SOME_FOLDERS,
    "against": _SOME_FOLDERS,
    "upright": _FLAG,
    "linkage": Argument(str, highest=16, pattern=re.compile("|".join(LINKAGES))),
    "within_folder": Argument(str, highest=8, pattern=re.compile("|".join(WITHIN))),
    "limit": _LIMIT,
    "offset": _OFFSET,
}
WITH_DATA = frozenset({"send", "find", "preview"})  # whose requests have a second frame

COMMANDS: Mapping[str, Mapping[str, Argument]] = {
    "version": {},
    "status": {},
    "wait": {"timeout": Argument(float, highest=WAIT_SECONDS_MAX)},
    "clusters": {**_CLUSTERS, "details": _FLAG},
    "pairs": _CLUSTERS,
    "plan": {
        "policy": _POLICY,
        "under": _FOLDER,
        "files": _PATHS,
        "limit": _LIMIT,
        "offset": _OFFSET,
    },
    "explain": {"path": _FOLDER._replace(required=True), "policy": _POLICY},
    "send": {"offset": Argument(int, required=True, highest=FILE_BYTES_MAX), "size": _SIZE},
    "find": {
        "offset": Argument(int, highest=FILE_BYTES_MAX),
        "suffix": _SUFFIX,
        "timeout": Argument(float, highest=FIND_SECONDS_MAX),
        "measure": _MEASURE,
        "threshold": _THRESHOLD,
        "mirrored": _FLAG,
        "enough": _FLAG,
    },
    "preview": {
        "offset": Argument(int, highest=FILE_BYTES_MAX),
        "suffix": _SUFFIX,
        "timeout": Argument(float, highest=FIND_SECONDS_MAX),
        "px": Argument(int, required=True, lowest=PREVIEW_PX_MIN, highest=PREVIEW_PX_MAX),
        "frame": Argument(int, highest=65_535),
        "kind": Argument(str, highest=8, pattern=re.compile("jpeg|webp|rgb")),
    },
    "failed": {"limit": _LIMIT, "offset": _OFFSET},
    "ignore": {"paths": _TWO_PATHS},
    "unignore": {"paths": _PATHS._replace(lowest=2), "all": _FLAG},
    "ignored": {"limit": _LIMIT, "offset": _OFFSET},
    "decide": {"keep": _PATHS, "go": _PATHS, "forget": _PATHS},
    "removed": {"digests": _DIGESTS},
    "restored": {"digests": _DIGESTS},
    "rescan": {"dir": _FOLDER},
    "pause": {},
    "resume": {},
}

TOPICS = ("indexed", "removed", "moved", "matched", "returned", "failed")
TICK = "tick"  # tells the number of the last event of each topic, so that a listener notices if it missed that one


class Request(NamedTuple):
    """A valid request; of `send`, `find` and `preview` the bytes of the second frame are the argument ``data``."""

    id: int
    do: str
    args: dict[str, Any]


class Event(NamedTuple):
    """One thing that happened; ``seq`` counts the events of its topic in this run of the service, from 1."""

    topic: str
    run: str
    seq: int
    time: float  # seconds since 1970
    fields: dict[str, Any]


def encode_request(request_id: int, do: str, args: Mapping[str, Any]) -> list[bytes]:
    """One frame, or two if ``args`` has ``data``; raises WireError for what the service would refuse."""
    plain = {name: value for name, value in args.items() if name != "data"}
    payload = _packed({"v": VERSION, "id": request_id, "do": do, **plain})
    frames = [payload, args["data"]] if "data" in args else [payload]
    decode_request(frames)
    return frames


def words(listed: str) -> list[str]:
    """The words of an argument that lists some, with commas between them."""
    return listed.split(",") if listed else []


def decode_request(frames: Sequence[bytes]) -> Request:
    """The request that a client sent, without its envelope; raises WireError."""
    if len(frames) not in (1, 2):
        raise WireError("bad_request", "a request is one frame, and one more with data for send, find and preview")
    if len(frames[0]) > REQUEST_BYTES_MAX:
        raise WireError("too_large", f"a request has at most {REQUEST_BYTES_MAX} bytes")
    try:
        message = msgpack.unpackb(frames[0], max_map_len=1024, max_array_len=1024)
    except _UNPACK_ERRORS:
        raise WireError("bad_request", "the request is not one map in msgpack") from None
    if not isinstance(message, dict):
        raise WireError("bad_request", "the request is not a map")
    request_id = message.pop("id", None)
    if type(request_id) is not int or not 0 <= request_id <= ID_MAX:
        raise WireError("bad_request", "id must be a whole number from 0")
    version = message.pop("v", None)
    if type(version) is not int or version != VERSION:
        raise WireError("version", f"this service speaks version {VERSION} of the protocol", request_id)
    do = message.pop("do", None)
    if not isinstance(do, str) or do not in COMMANDS:
        raise WireError("unknown_command", f"do must be one of: {', '.join(COMMANDS)}", request_id)
    try:
        _check_arguments(COMMANDS[do], message)
        _add_data(do, message, frames[1:])
    except WireError as error:
        error.request_id = request_id
        raise
    return Request(request_id, do, message)


def encode_result(request_id: int, result: Mapping[str, Any]) -> bytes:
    """The reply to a request that succeeded; raises WireError if it is too large, ValueError or TypeError for a bug."""
    payload = _packed({"v": VERSION, "id": request_id, "ok": True, "result": result})
    if len(payload) > REPLY_BYTES_MAX:
        raise WireError("too_large", "the answer is too large; ask for less with limit", request_id)
    return payload


def encode_error(request_id: int | None, code: str, message: str) -> bytes:
    """The reply to a request that failed; ``request_id`` is None where it could not be read."""
    line = " ".join(message.split())[:2000]
    error = {"code": code, "message": line}
    return _packed({"v": VERSION, "id": request_id, "ok": False, "error": error})


class Reply(NamedTuple):
    """A valid reply: a result, or an error's code and message."""

    id: int | None
    version: int
    result: dict[str, Any] | None
    code: str = ""
    message: str = ""


def decode_reply(frames: Sequence[bytes]) -> Reply:
    """The reply that a service sent, without its envelope; raises WireError."""
    message = _unpacked(frames, 1, REPLY_BYTES_MAX)
    version, request_id, ok = message.get("v"), message.get("id"), message.get("ok")
    if type(version) is not int or not (request_id is None or type(request_id) is int) or not isinstance(ok, bool):
        raise WireError("bad_reply", "the reply lacks v, id or ok")
    if ok:
        result = message.get("result")
        if not isinstance(result, dict) or request_id is None:
            raise WireError("bad_reply", "the reply has no result")
        return Reply(request_id, version, result)
    error = message.get("error")
    if not isinstance(error, dict):
        raise WireError("bad_reply", "the reply has no error")
    code, text = error.get("code"), error.get("message")
    if not isinstance(code, str) or not isinstance(text, str):
        raise WireError("bad_reply", "the error lacks code or message")
    return Reply(request_id, version, None, code, text)


def encode_event(event: Event) -> list[bytes]:
    """The two frames of an event; raises WireError if it is too large."""
    head = {"v": VERSION, "run": event.run, "seq": event.seq, "time": event.time}
    payload = _packed({**head, "event": event.fields})
    if len(payload) > EVENT_BYTES_MAX:
        raise WireError("too_large", f"an event has at most {EVENT_BYTES_MAX} bytes")
    return [event.topic.encode("ascii"), payload]


def decode_event(frames: Sequence[bytes]) -> Event:
    """The event that a service published; raises WireError."""
    message = _unpacked(frames, 2, EVENT_BYTES_MAX)
    try:
        topic = frames[0].decode("ascii")
    except UnicodeDecodeError:
        raise WireError("bad_event", "the topic is not ASCII") from None
    if message.get("v") != VERSION:
        raise WireError("version", f"the service speaks version {message.get('v')!r} of the protocol")
    run, seq, time, fields = (message.get(name) for name in ("run", "seq", "time", "event"))
    if not isinstance(run, str) or type(seq) is not int or not isinstance(fields, dict):
        raise WireError("bad_event", "the event lacks run, seq or event")
    if not isinstance(time, int | float) or not math.isfinite(time):
        raise WireError("bad_event", "the event has no time")
    return Event(topic, run, seq, float(time), fields)


def _packed(message: Mapping[str, Any]) -> bytes:
    # a message of a decoder may hold a stray surrogate, which is no reason to withhold it
    return bytes(msgpack.packb(message, unicode_errors="backslashreplace"))


def _check_arguments(known: Mapping[str, Argument], given: Mapping[str, Any]) -> None:
    for name in given:
        if name not in known:
            wanted = ", ".join(known) or "none"
            raise WireError("bad_request", f"unknown argument {name[:64]!r}; known: {wanted}")
    for name, argument in known.items():
        if name in given:
            problem = _problem(argument, given[name])
            if problem:
                raise WireError("bad_request", f"{name} {problem}")
        elif argument.required:
            raise WireError("bad_request", f"{name} is missing")


def _problem(argument: Argument, value: object) -> str:
    """What is wrong with a value; nothing if it is right."""
    kind, lowest, highest = argument.kind, argument.lowest, argument.highest
    if kind is list:
        return _problem_of_list(argument, value)
    if kind is dict:
        return _problem_of_map(argument, value)
    if kind is Digest:
        if not isinstance(value, bytes) or len(value) != highest:
            return f"must be {highest:.0f} bytes"
    elif kind is bytes:
        if not isinstance(value, bytes):
            return "must be bytes"
        if not value.startswith(b"/") or b"\0" in value or len(value) > highest:
            return "must be an absolute path"
    elif kind is str:
        if not isinstance(value, str) or not value.isprintable() or not 1 <= len(value) <= highest:
            return "must be a word"
        if argument.pattern is not None and not argument.pattern.fullmatch(value):
            return f"must look like {argument.pattern.pattern}"
    elif kind is bool:
        if not isinstance(value, bool):
            return "must be true or false"
    elif kind is int:
        if type(value) is not int or not lowest <= value <= highest:
            return f"must be a whole number from {lowest:.0f} to {highest:.0f}"
    elif type(value) not in (int, float) or not lowest <= value <= highest:  # type: ignore[operator]  # it is a number
        return f"must be a number from {lowest:g} to {highest:g}"
    return ""


def _problem_of_list(argument: Argument, value: object) -> str:
    assert argument.items is not None
    if not isinstance(value, list) or not argument.lowest <= len(value) <= argument.highest:
        return f"must be a list of {argument.lowest:.0f} to {argument.highest:,.0f} entries"
    problems = (_problem(argument.items, entry) for entry in value)
    return next((f"has an entry that {problem}" for problem in problems if problem), "")


def _problem_of_map(argument: Argument, value: object) -> str:
    assert argument.keys is not None
    if not isinstance(value, dict):
        return "must be a map"
    for name, inner in value.items():
        if name not in argument.keys:
            return f"has an unknown key {str(name)[:64]!r}; known: {', '.join(argument.keys)}"
        problem = _problem(argument.keys[name], inner)
        if problem:
            return f"has a key {name} that {problem}"
    return ""


def _add_data(do: str, args: dict[str, Any], frames: Sequence[bytes]) -> None:
    if bool(frames) != (do in WITH_DATA):
        raise WireError("bad_request", f"{do} takes no data" if frames else f"{do} needs the bytes of a file")
    for data in frames:
        if len(data) > PIECE_BYTES_MAX:
            raise WireError("too_large", f"a piece of a file has at most {PIECE_BYTES_MAX} bytes")
        args["data"] = data


class _Counter:
    """Counts what is unpacked, so that a small message cannot become a large object."""

    def __init__(self) -> None:
        self.values = 0

    def took(self, container: Any) -> Any:
        self.values += len(container)
        if self.values > VALUES_MAX:
            raise ValueError("too many values")
        return container


def _unpacked(frames: Sequence[bytes], count: int, bytes_max: int) -> dict[str, Any]:
    """The map in the last of ``count`` frames."""
    if len(frames) != count:
        raise WireError("bad_reply", f"the message has {len(frames)} frames instead of {count}")
    if len(frames[-1]) > bytes_max:
        raise WireError("bad_reply", "the message is too large")
    took = _Counter().took
    try:
        message = msgpack.unpackb(
            frames[-1], max_array_len=ENTRIES_MAX, max_map_len=ENTRIES_MAX, object_hook=took, list_hook=took
        )
    except _UNPACK_ERRORS:
        raise WireError("bad_reply", "the message is not one map in msgpack") from None
    if not isinstance(message, dict):
        raise WireError("bad_reply", "the message is not a map")
    _check_shape(message)
    return message


_SCALARS = frozenset({type(None), bool, int, float, str, bytes})


def _check_shape(message: dict[str, Any]) -> None:
    """Raise WireError for what is nested too deeply, has other keys than text, or values of other types."""
    level: list[Any] = [message]
    for _ in range(DEPTH_MAX):
        inner: list[Any] = []
        for container in level:
            if type(container) is dict:
                if not all(type(key) is str for key in container):
                    raise WireError("bad_reply", "a key is not text")
                values: Any = container.values()
            else:
                values = container
            inner += [value for value in values if type(value) not in _SCALARS]
        if not inner:
            return
        if not all(type(value) in (dict, list) for value in inner):
            raise WireError("bad_reply", "a value is of a type that the protocol does not have")
        level = inner
    raise WireError("bad_reply", "the message is nested too deeply")
