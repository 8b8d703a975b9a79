"""The messages, without sockets: what is valid comes through unchanged, anything else ends as one clear refusal."""

import math
import re
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dupwatch import output, wire
from dupwatch.missed_events import MissedEventFinder, Notice
from dupwatch.wire import Event, WireError

PROTOCOL = (Path(__file__).parents[2] / "client" / "PROTOCOL.md").read_text()

words = st.text("aé\n\0\udcff", max_size=5)
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | words | st.binary(max_size=9)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(words | st.binary(max_size=5), inner), max_leaves=9
)


def request(**fields: Any) -> bytes:
    return bytes(msgpack.packb({"v": 1, "id": 7, "do": "status", **fields}))


def refusal(*frames: bytes) -> WireError:
    with pytest.raises(WireError) as caught:
        wire.decode_request(frames)
    return caught.value


@pytest.mark.parametrize(
    ("do", "args"),
    [
        ("version", {}),
        ("wait", {"timeout": 1.5}),
        ("wait", {"timeout": 1}),
        ("clusters", {}),
        (
            "clusters",
            {"measure": "mse", "threshold": 25, "mirrored": True, "under": b"/caf\xe9", "limit": 1, "offset": 0},
        ),
        ("send", {"data": b"x", "offset": 0, "size": 2**40}),
        ("find", {"data": b"", "threshold": 0.01}),
        ("find", {"data": b"x", "offset": 2**40, "suffix": ".TGA", "timeout": 3600}),
        ("rescan", {"dir": b"/"}),
        ("ignore", {"paths": [b"/a", b"/caf\xe9"]}),
        ("ignore", {"paths": [b"/%d" % number for number in range(1000)]}),
        ("unignore", {"all": True}),
        (
            "plan",
            {"policy": {"keep": ["folder '/my photos'"], "protect": [b"/caf\xe9"], "pairs": True}, "files": [b"/a"]},
        ),
        ("plan", {"policy": {}}),
        ("explain", {"path": b"/a", "policy": {"also": "cropped,retouched", "ask_when": ["enlarged"]}}),
        ("decide", {"keep": [], "go": [b"/a"]}),
        ("removed", {"digests": [b"\0" * 32]}),
    ],
)
def test_a_valid_request_arrives_as_it_was(do: str, args: dict[str, Any]) -> None:
    assert wire.decode_request(wire.encode_request(7, do, args)) == (7, do, args)


@pytest.mark.parametrize(
    ("do", "args"),
    [
        ("clusters", {"limit": 0}),
        ("clusters", {"limit": 10_001}),
        ("clusters", {"limit": True}),
        ("clusters", {"limit": 1.0}),
        ("clusters", {"offset": -1}),
        ("clusters", {"threshold": math.nan}),
        ("clusters", {"threshold": math.inf}),
        ("clusters", {"threshold": -0.1}),
        ("clusters", {"threshold": "0.1"}),
        ("clusters", {"mirrored": 1}),
        ("clusters", {"measure": b"mse"}),
        ("clusters", {"measure": ""}),
        ("clusters", {"measure": "x" * 65}),
        ("clusters", {"measure": "a\nb"}),
        ("clusters", {"under": "/text"}),
        ("clusters", {"under": b"relative"}),
        ("clusters", {"under": b"/with\0nul"}),
        ("clusters", {"under": b"/" * 40_000}),
        ("clusters", {"under": None}),
        ("clusters", {"under": {"a": b"/a"}}),
        ("clusters", {"data": b"x"}),
        ("ignore", {}),
        ("ignore", {"paths": b"/a"}),
        ("ignore", {"paths": {"/a": b"/a"}}),
        ("ignore", {"paths": []}),
        ("ignore", {"paths": [b"/a"]}),
        ("ignore", {"paths": [b"/a", "/b"]}),
        ("ignore", {"paths": [b"/a", b"b"]}),
        ("ignore", {"paths": [b"/a", [b"/b"]]}),
        ("ignore", {"paths": [b"/%d" % number for number in range(1001)]}),
        ("decide", {"keep": None}),
        ("plan", {"policy": []}),
        ("plan", {"policy": {"keep": "bytes most"}}),
        ("plan", {"policy": {"keep": [b"bytes most"]}}),
        ("plan", {"policy": {"protect": [b"relative"]}}),
        ("plan", {"policy": {"colour": True}}),
        ("plan", {"policy": {"also": "everything"}}),
        ("plan", {"files": [b"/%d" % number for number in range(1001)]}),
        ("explain", {"policy": {}}),
        ("removed", {"digests": []}),
        ("removed", {"digests": [b"\0" * 31]}),
        ("removed", {"digests": ["0" * 32]}),
        ("clusters", {"colour": "red"}),
        ("find", {}),
        ("find", {"path": b"/a", "data": b"x"}),
        ("find", {"data": b"x", "suffix": "tga"}),
        ("find", {"data": b"x", "suffix": "./../tga"}),
        ("find", {"data": b"x", "suffix": "." + "x" * 16}),
        ("find", {"data": b"x", "timeout": 3601}),
        ("send", {"offset": 0, "size": 1}),
        ("send", {"data": b"x", "size": 1}),
        ("send", {"data": b"x", "offset": 0}),
        ("send", {"data": b"x", "offset": 0, "size": -1}),
        ("wait", {"timeout": 61}),
        ("status", {"verbose": True}),
    ],
)
def test_a_wrong_argument_is_refused_on_both_sides(do: str, args: dict[str, Any]) -> None:
    with pytest.raises(WireError) as caught:
        wire.encode_request(7, do, args)
    assert caught.value.code == "bad_request"
    plain = {name: value for name, value in args.items() if name != "data"}
    frames = [request(do=do, **plain), *([args["data"]] if "data" in args else [])]
    assert (refusal(*frames).code, refusal(*frames).request_id) == ("bad_request", 7)


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"", "bad_request"),
        (b"GET / HTTP/1.1\r\n\r\n", "bad_request"),
        (b"\x80", "bad_request"),
        (b"\x90", "bad_request"),
        (b"\xc0", "bad_request"),
        (b"\xdf\xff\xff\xff\xff", "bad_request"),
        (b"\xdd\xff\xff\xff\xff", "bad_request"),
        (b"\xc6\xff\xff\xff\xff", "bad_request"),
        (b"\x81" * 60_000, "bad_request"),
        (b"\x91" * 60_000, "bad_request"),
        (request(do="clusters", under=[b"/a"]), "bad_request"),
        (request(v=2), "version"),
        (request(v=2, do=[["something"], {"new": b""}]), "version"),
        (request(v=True), "version"),
        (request(v="1"), "version"),
        (request(id=-1), "bad_request"),
        (request(id=2**63), "bad_request"),
        (request(id=None), "bad_request"),
        (request(do="format"), "unknown_command"),
        (request(do=["status"]), "unknown_command"),
        (request(do=None), "unknown_command"),
        (request() + b"x", "bad_request"),
        (request(x=msgpack.ExtType(5, b"x")), "bad_request"),
        (request(x=msgpack.Timestamp(1)), "bad_request"),
        (b"\0" * (wire.REQUEST_BYTES_MAX + 1), "too_large"),
    ],
)
def test_what_is_no_request_is_refused_with_a_code(frame: bytes, code: str) -> None:
    assert refusal(frame).code == code


def test_the_number_of_frames_is_limited() -> None:
    assert refusal().code == "bad_request"
    assert refusal(request(do="find"), b"x", b"x").code == "bad_request"
    assert refusal(request(), b"x").code == "bad_request"


def test_a_piece_of_a_file_has_a_limit() -> None:
    assert refusal(request(do="find"), b"\0" * (wire.PIECE_BYTES_MAX + 1)).code == "too_large"


@given(st.lists(st.binary(max_size=200), max_size=4))
def test_random_frames_are_refused_or_understood(frames: list[bytes]) -> None:
    for decode in (wire.decode_request, wire.decode_reply, wire.decode_event):
        try:
            decode(frames)
        except WireError:
            pass


@given(st.dictionaries(st.sampled_from(["v", "id", "do", "path", "limit", "threshold", "measure"]), anything))
def test_any_value_in_any_field_of_a_request_is_refused_or_understood(fields: dict[str, Any]) -> None:
    try:
        frame = request(**fields)
    except ValueError:  # msgpack has no surrogates
        return
    try:
        decoded = wire.decode_request([frame])
    except WireError:
        return
    assert decoded.do in wire.COMMANDS


@given(st.dictionaries(st.sampled_from(["v", "id", "ok", "result", "error", "run", "seq", "time", "event"]), anything))
def test_any_value_in_any_field_of_a_reply_is_refused_or_understood(fields: dict[str, Any]) -> None:
    frame = msgpack.packb(fields, unicode_errors="backslashreplace")
    for decode, frames in ((wire.decode_reply, [frame]), (wire.decode_event, [b"indexed", frame])):
        try:
            decode(frames)
        except WireError:
            pass


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), st.integers(0, 9) | st.binary() | st.none()))
def test_a_result_arrives_as_it_was(result: dict[str, Any]) -> None:
    assert wire.decode_reply([wire.encode_result(7, result)]) == (7, 1, result, "", "")


def test_an_error_arrives_in_one_line_whatever_it_holds() -> None:
    reply = wire.decode_reply([wire.encode_error(None, "internal", "two\nlines \udcff")])
    assert reply == (None, 1, None, "internal", "two lines \\udcff")


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def test_replies_are_bounded_in_depth_size_and_values() -> None:
    wire.decode_reply([wire.encode_result(1, {"a": nested(5)})])
    with pytest.raises(WireError, match="nested"):
        wire.decode_reply([wire.encode_result(1, {"a": nested(7)})])
    with pytest.raises(WireError):
        wire.decode_reply([msgpack.packb({"v": 1, "id": 1, "ok": True, "result": {"a": nested(500)}})])
    with pytest.raises(WireError) as caught:
        wire.encode_result(1, {"a": b"\0" * wire.REPLY_BYTES_MAX})
    assert caught.value.code == "too_large"
    million_lists = b"\xdd\x00\x0f\x42\x40" + b"\xdc\xff\xff" + b"\xc0" * 65535  # announces more than it holds
    with pytest.raises(WireError):
        wire.decode_reply([million_lists])
    many = [[None] * 100_000] * 60
    with pytest.raises(WireError):
        wire.decode_reply([wire.encode_result(1, {"a": many})])


def test_a_bug_in_a_result_is_told_from_a_refusal() -> None:
    for result in ({"a": object()}, {"a": 2**70}):
        with pytest.raises((TypeError, OverflowError, ValueError)) as caught:
            wire.encode_result(1, result)
        assert not isinstance(caught.value, WireError)


def event(topic: str, seq: int, run: str = "a", **fields: Any) -> Event:
    return Event(topic, run, seq, 1.0, fields)


def test_an_event_arrives_as_it_was() -> None:
    sent = event("moved", 3, path=b"/caf\xe9")
    assert wire.decode_event(wire.encode_event(sent)) == sent
    with pytest.raises(WireError):
        wire.encode_event(event("moved", 3, path=b"x" * wire.EVENT_BYTES_MAX))


def told(*events: Event, topics: tuple[str, ...] = ("indexed", "removed")) -> list[str]:
    """The topics handed on and the notices, in their order."""
    finder = MissedEventFinder(topics)
    heard = [one for event in events for one in finder.take(event)]
    return [one.kind if isinstance(one, Notice) else f"{one.topic} {one.seq}" for one in heard]


def test_events_without_a_gap_are_handed_on() -> None:
    assert told(event("indexed", 5), event("removed", 9), event("indexed", 6)) == [
        "indexed 5",
        "removed 9",
        "indexed 6",
    ]


def test_a_missing_number_is_told_before_the_event_after_it() -> None:
    assert told(event("indexed", 5), event("indexed", 8)) == ["indexed 5", "resync", "indexed 8"]


def test_a_tick_tells_of_the_last_event_when_it_was_missed() -> None:
    tick = event("tick", 0, indexed=6, removed=1, moved=100)
    assert told(event("indexed", 5), tick, event("indexed", 7)) == ["indexed 5", "resync", "indexed 7"]
    assert told(event("tick", 0, indexed=6), event("indexed", 7)) == ["indexed 7"]
    assert told(event("tick", 0, indexed=6), event("indexed", 8)) == ["resync", "indexed 8"]
    assert told(event("tick", 0), event("indexed", 1)) == ["indexed 1"]


def test_an_event_missed_before_any_other_of_its_topic_is_told_by_its_tick() -> None:
    assert told(event("tick", 0), event("tick", 0, indexed=1)) == ["resync"]


def test_another_run_of_the_service_means_that_events_were_missed() -> None:
    assert told(event("indexed", 5), event("indexed", 1, run="b")) == ["indexed 5", "resync", "indexed 1"]


def test_a_silent_service_is_told_once() -> None:
    finder = MissedEventFinder(["indexed"])
    list(finder.take(event("tick", 0)))
    assert [len(list(finder.lost("gone"))) for _ in range(3)] == [1, 0, 0]
    assert list(finder.take(event("tick", 0))) == []
    assert len(list(finder.lost("gone"))) == 1


def test_every_command_topic_and_limit_is_in_the_protocol() -> None:
    for do, args in wire.COMMANDS.items():
        row = next(line for line in PROTOCOL.splitlines() if line.startswith("|") and f"`{do}`" in line.split("|")[1])
        assert all(f"`{name}`" in row.split("|")[2] for name in args), do
    documented = set(re.findall(r"^\| `([a-z]+)` \| `path`", PROTOCOL.partition("## Events")[2], re.MULTILINE))
    assert documented == set(wire.TOPICS)
    for number in (wire.REQUEST_BYTES_MAX >> 10, wire.PIECE_BYTES_MAX >> 20, wire.ENTRIES_MAX, wire.VALUES_MAX):
        assert f"{number:,}" in PROTOCOL
    assert f"version {wire.VERSION}" in PROTOCOL.splitlines()[0]


def test_flags_offer_the_words_that_the_protocol_takes() -> None:
    assert (output.SORTS, output.LINKAGES, output.WITHIN) == (wire.SORTS, wire.LINKAGES, wire.WITHIN)
