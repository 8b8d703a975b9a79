"""A reply is what was sent, or refused: nothing that comes over the network is believed as it is."""

import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dupwatchd.cluster import messages
from dupwatchd.index.limits import DecodeLimits
from dupwatchd.index.messages import BadReply
from dupwatchd.model import Decoded, FileId, Job, Outcome, ReadStatus, Stamp

STAMP = Stamp(1000, 2, 3, 4)
JOBS = [Job(FileId(number), f"/photos/{number}.jpg".encode(), STAMP) for number in range(6)]
DECODED = Decoded(np.arange(768, dtype=np.uint8).reshape(16, 16, 3), 40, 30, "JPEG", proof=b"proof")
OUTCOMES = [
    Outcome(JOBS[0], ReadStatus.KNOWN, STAMP, b"0" * 32),
    Outcome(JOBS[1], ReadStatus.DECODED, STAMP, b"1" * 32, DECODED),
    Outcome(JOBS[2], ReadStatus.FAILED, STAMP, b"2" * 32, error="truncated JPEG"),
    Outcome(JOBS[3], ReadStatus.NOT_A_PICTURE, STAMP, b"3" * 32, error="not an image (text)"),
    Outcome(JOBS[4], ReadStatus.UNREADABLE, None, error="permission denied"),
    Outcome(JOBS[5], ReadStatus.VANISHED),
]
REPLY = messages.reply("tcp://127.0.0.1:1", OUTCOMES)


def without_pixels(outcome: Outcome) -> Outcome:
    return replace(outcome, decoded=None)


def test_a_reply_holds_what_was_told_and_new_contents_come_first() -> None:
    told = messages.parse_reply(REPLY, JOBS, 16)
    assert (told.worker, told.error) == ("tcp://127.0.0.1:1", None)
    by_id = sorted(told.outcomes, key=lambda one: one.job.file_id)
    assert list(map(without_pixels, by_id)) == list(map(without_pixels, OUTCOMES))
    decoded = by_id[1].decoded
    assert decoded is not None
    assert np.array_equal(decoded.thumbnail, DECODED.thumbnail)
    assert (decoded.width, decoded.height, decoded.format, decoded.proof) == (40, 30, "JPEG", b"proof")
    # whoever decoded a content claims it before its copies in the same batch are asked about
    assert [one.status for one in told.outcomes][-3:] == [
        ReadStatus.KNOWN, ReadStatus.UNREADABLE, ReadStatus.VANISHED,
    ]  # fmt: skip


def test_a_request_holds_paths_that_are_no_text_and_the_digests_that_are_known() -> None:
    job = Job(FileId(7), b"/photos/\xff.jpg", STAMP)
    digest = os.urandom(32)
    data = messages.request([job], {1000: [digest]}, 16, DecodeLimits(memory_mb=77))
    asked = messages.parse_request(data)
    assert [one.path for one in asked.jobs] == [job.path]
    assert asked.known == [frozenset([digest[: messages.PREFIX_BYTES].hex()])]
    assert (asked.thumbnail_px, asked.limits.memory_mb) == (16, 77)


def test_a_machine_that_can_read_nothing_says_why() -> None:
    told = messages.parse_reply(messages.refusal("w", "8 processes hang"), JOBS, 16)
    assert (told.worker, told.error, told.outcomes) == ("w", "8 processes hang", [])


@pytest.mark.parametrize("end", [0, 1, 7, 8, 20, len(REPLY) // 2, len(REPLY) - 1])
def test_a_reply_that_is_cut_is_refused(end: int) -> None:
    with pytest.raises(BadReply):
        messages.parse_reply(REPLY[:end], JOBS, 16)


@given(st.integers(0, len(REPLY) - 1), st.integers(1, 255))
@settings(max_examples=300, deadline=None)
def test_whatever_byte_of_a_reply_is_wrong_it_is_refused_or_read_as_another(at: int, change: int) -> None:
    data = bytearray(REPLY)
    data[at] ^= change
    try:
        told = messages.parse_reply(bytes(data), JOBS, 16)
    except BadReply:
        return
    assert {one.job.file_id for one in told.outcomes} in ({job.file_id for job in JOBS}, set())


def test_a_reply_for_other_files_is_refused() -> None:
    with pytest.raises(BadReply):
        messages.parse_reply(REPLY, JOBS[:-1], 16)
