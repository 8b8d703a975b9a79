import itertools
import json
import socket
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dupwatchd.index import messages
from dupwatchd.index.captions import MAX_CAPTION_CHARS
from dupwatchd.index.chunks import CHUNK_FILES, Chunk, File
from dupwatchd.index.messages import MAX_HEADER_BYTES, BadReply, NotDecoded, NotRead, ReadFile
from dupwatchd.index.reasons import MAX_REASON_CHARS
from dupwatchd.index.texts import MAX_LINES_CHARS
from dupwatchd.index.worker_connection import RECEIVE_BYTES, WorkerConnection, WorkerGone
from dupwatchd.model import Decoded, Facts, FileId, Job, ReadStatus, Stamp
from dupwatchd.pixels.keypoints import MAX_KEYPOINTS_BYTES
from dupwatchd.pixels.proof import MAX_PROOF_BYTES

STAMP = Stamp(1, 2, 3, 4)
THUMBNAIL = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)

FACTS = Facts("Canon", "2024-05-01T10:11:12", True, 4, True, False, True, True, 90, bytes(16))

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
# Entries that are nearly right find more than pure noise does.
entry = st.dictionaries(
    st.sampled_from(
        [
            "index",
            "width",
            "height",
            "format",
            "error",
            "picture",
            "stamp",
            "digest",
            "status",
            "damage",
            "proof",
            "keypoints",
            "frames",
            "facts",
        ]
    ),
    anything,
)


def split(frame: bytes) -> tuple[dict[str, Any], bytes]:
    header_bytes, raw_bytes = messages.frame_lengths(frame)
    assert len(frame) == messages.LENGTHS_BYTES + header_bytes + raw_bytes
    end = messages.LENGTHS_BYTES + header_bytes
    return messages.header_of(frame[messages.LENGTHS_BYTES : end]), frame[end:]


@given(st.lists(st.binary(min_size=1, max_size=20).filter(lambda name: b"\0" not in name), max_size=5))
def test_paths_need_not_be_text(paths: list[bytes]) -> None:
    header, _ = split(messages.read_request(paths))
    assert [path.encode("utf-8", "surrogateescape") for path in header["read"]] == paths


def test_read_reply_arrives_as_sent() -> None:
    results: list[ReadFile | NotRead] = [
        ReadFile(STAMP, bytes(32)), NotRead(ReadStatus.VANISHED, None),
        NotRead(ReadStatus.UNREADABLE, "permission denied"), NotRead(ReadStatus.NOT_A_PICTURE, None, STAMP),
    ]  # fmt: skip
    header, _ = split(messages.read_reply(results))
    assert messages.parse_read_reply(header, 4) == results


def test_decode_reply_arrives_as_sent() -> None:
    sent: list[tuple[int, Decoded | NotDecoded]] = [
        (2, Decoded(THUMBNAIL, 40, 30, "JPEG", "stray bytes", b"a proof", 3, bytes(range(16)), FACTS, b"keypoints")),
        (0, NotDecoded("truncated JPEG", picture=True)),
    ]
    header, raw = split(messages.decode_reply(sent))
    (first, picture), second = messages.parse_decode_reply(header, raw, {0, 2}, 4)
    assert isinstance(picture, Decoded)
    assert np.array_equal(picture.thumbnail, THUMBNAIL)
    assert (first, picture.width, picture.height, picture.format) == (2, 40, 30, "JPEG")
    assert picture.damage == "stray bytes"
    assert (picture.proof, picture.frames, picture.frames_digest) == (b"a proof", 3, bytes(range(16)))
    assert (picture.facts, picture.keypoints) == (FACTS, b"keypoints")
    assert second == sent[1]


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["read", "decoded", "x"]), anything | st.lists(entry, max_size=3)), st.binary())
def test_nothing_that_a_worker_sends_raises_anything_but_bad_reply(header: dict[str, Any], raw: bytes) -> None:
    for parse in (
        lambda: messages.parse_read_reply(header, 1),
        lambda: messages.parse_decode_reply(header, raw, {0, 1}, 4),
    ):
        try:
            parse()
        except BadReply:
            pass


@pytest.mark.parametrize("text", [b"", b"[]", b"7", b"{", b"\xff", b"[" * 100_000, b'{"a":' * 100_000])
def test_a_header_that_is_no_object_is_a_bad_reply(text: bytes) -> None:
    with pytest.raises(BadReply):
        messages.header_of(text)


@pytest.mark.parametrize(
    "change",
    [
        {"index": 7}, {"index": True}, {"index": "0"}, {"width": 1 << 70}, {"width": None}, {"format": 3},
        {"damage": 3}, {"error": 3}, {"error": None}, {"proof": -1}, {"proof": MAX_PROOF_BYTES + 1}, {"proof": None},
        {"keypoints": -1}, {"keypoints": MAX_KEYPOINTS_BYTES + 1}, {"keypoints": None}, {"keypoints": 9},
        {"frames": [0, ""]}, {"frames": [1 << 20, ""]}, {"frames": [2, "00"]}, {"frames": [2]}, {"frames": None},
        {"facts": {}}, {"facts": None}, {"facts": []},
    ],
)  # fmt: skip
def test_an_entry_that_is_not_quite_right_is_a_bad_reply(change: dict[str, Any]) -> None:
    header, raw = split(messages.decode_reply([(0, Decoded(THUMBNAIL, 40, 30, "JPEG"))]))
    header["decoded"][0] |= change
    with pytest.raises(BadReply):
        messages.parse_decode_reply(header, raw, {0}, 4)


@pytest.mark.parametrize(
    "change",
    [
        {"camera": 3}, {"captured": None}, {"rating": 6}, {"rating": -1}, {"rating": True}, {"quality": 101},
        {"edited": 1}, {"has_colour": None}, {"scan_digest": "00"}, {"scan_digest": 7}, {"keywords": 7},
        {"keywords": "x" * 1001}, {"place": None}, {"place": "here"}, {"place": "48.13715, 11.5754"},
        {"captions": None}, {"captions": "x" * 1001}, {"people": "x" * 1001}, {"bits": 7}, {"bits": 65}, {"bits": True},
        {"transparent": 1},
    ],
)  # fmt: skip
def test_facts_that_are_not_quite_right_are_a_bad_reply(change: dict[str, Any]) -> None:
    header, raw = split(messages.decode_reply([(0, Decoded(THUMBNAIL, 40, 30, "JPEG", facts=FACTS))]))
    header["decoded"][0]["facts"] |= change
    with pytest.raises(BadReply):
        messages.parse_decode_reply(header, raw, {0}, 4)


def test_a_chunk_of_files_that_tell_all_they_may_fits_into_a_header() -> None:
    long = "\n".join(["\N{GRINNING FACE}" * (MAX_CAPTION_CHARS - 1)] * (MAX_LINES_CHARS // MAX_CAPTION_CHARS))
    text = "\N{GRINNING FACE}" * MAX_REASON_CHARS
    full = replace(FACTS, camera=text, keywords=long, captions=long, people=long)
    every = [(n, Decoded(THUMBNAIL, 40, 30, "JPEG", text, facts=full)) for n in range(CHUNK_FILES)]
    header, raw = split(frame := messages.decode_reply(every))
    assert messages.frame_lengths(frame)[0] < MAX_HEADER_BYTES
    for _, picture in messages.parse_decode_reply(header, raw, set(range(CHUNK_FILES)), 4):
        assert isinstance(picture, Decoded)
        assert picture.facts == full


def test_thumbnails_must_fill_the_raw_bytes_exactly() -> None:
    header, raw = split(messages.decode_reply([(0, Decoded(THUMBNAIL, 40, 30, "JPEG"))]))
    for wrong in (b"", raw[:-1], raw + b"x"):
        with pytest.raises(BadReply):
            messages.parse_decode_reply(header, wrong, {0}, 4)


def test_a_file_answered_twice_is_a_bad_reply() -> None:
    header, raw = split(messages.decode_reply([(0, NotDecoded("x", picture=True))] * 2))
    with pytest.raises(BadReply):
        messages.parse_decode_reply(header, raw, {0, 1}, 4)


def test_what_a_worker_says_of_a_file_is_one_printable_line() -> None:
    header, raw = split(messages.decode_reply([(0, NotDecoded("a\n\x1b[31mb\u202e" + "c" * 999, picture=True))]))
    ((_, result),) = messages.parse_decode_reply(header, raw, {0}, 4)
    assert isinstance(result, NotDecoded)
    assert result.error.startswith("a [31mb c")
    assert len(result.error) <= 200


# ---- the link


def linked() -> tuple[WorkerConnection, socket.socket]:
    ours, theirs = socket.socketpair()
    return WorkerConnection(0, ours, 48, patience_seconds=9), theirs


def received(link: WorkerConnection) -> list[tuple[dict[str, Any], bytes]]:
    return [(header, bytes(raw)) for header, raw in link.receive()]


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.integers(0, 3 * RECEIVE_BYTES), min_size=1, max_size=3),
    st.lists(st.sampled_from([1, 9, 30, 50_000]), max_size=4),
    st.integers(1, 3),
)
def test_messages_of_any_length_arrive_as_sent_in_any_pieces(sizes: list[int], pieces: list[int], often: int) -> None:
    ours, theirs = socket.socketpair()
    link = WorkerConnection(0, ours, 4 * RECEIVE_BYTES, patience_seconds=9)
    sent = [({"n": number}, bytes([number]) * size) for number, size in enumerate(sizes)]
    rest = memoryview(b"".join(messages.frame(*one) for one in sent))
    found = []
    with ours, theirs:
        for number, piece in enumerate(itertools.cycle([*pieces, 100_000])):
            theirs.sendall(rest[:piece])
            rest = rest[piece:]
            if number % often == 0 or piece == 100_000:
                found += received(link)
            if not rest:
                break
        found += received(link)
    assert found == sent


def test_a_frame_is_seen_only_when_it_is_whole() -> None:
    link, worker = linked()
    with link.socket, worker:
        frame = messages.decode_reply([(0, Decoded(THUMBNAIL, 40, 30, "JPEG"))])
        for byte in frame[:-1]:
            worker.send(bytes([byte]))
            assert link.receive() == []
        worker.send(frame[-1:] + frame)
        assert len(link.receive()) == 2


@pytest.mark.parametrize(
    "garbage",
    [
        b"\xff" * 8,  # lengths of 4 GB
        b"\0\0\0\2\0\0\0\x31{}",  # more raw bytes than its thumbnails have
        b"\0\0\0\2\0\0\0\0[]",
        b"\0\0\0\4\0\0\0\0\x80\x04N.",  # a pickle
    ],
)
def test_garbage_is_noticed(garbage: bytes) -> None:
    link, worker = linked()
    with link.socket, worker:
        worker.send(garbage)
        with pytest.raises(BadReply):
            link.receive()


def test_last_words_are_heard_before_the_end() -> None:
    link, worker = linked()
    with link.socket:
        with worker:
            worker.send(messages.frame({"busy": True}) + b"\0\0")
        assert received(link) == [({"busy": True}, b"")]
        with pytest.raises(WorkerGone):
            link.receive()


def test_a_worker_that_does_not_listen_never_blocks_the_pool() -> None:
    link, worker = linked()
    chunk = Chunk([File(Job(FileId(0), b"x" * 4000, STAMP)) for _ in range(16)], 0)
    with link.socket, worker:
        for _ in range(2):
            link.read(chunk)
        with pytest.raises(WorkerGone):
            write_for_ever(link, chunk)


def write_for_ever(link: WorkerConnection, chunk: Chunk) -> None:
    while True:
        link.read(chunk)


def test_requests_are_plain_json() -> None:
    frame = messages.decode_request([1, 2])
    assert json.loads(frame[messages.LENGTHS_BYTES :]) == {"decode": [1, 2]}
