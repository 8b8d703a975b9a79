"""Looking up a picture in a real index, with a real decode process."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dupwatchd.arrays import Matches
from dupwatchd.db.connection import Database, open_database
from dupwatchd.find import Finder
from dupwatchd.serve.clusters import LiveChecks, Question
from dupwatchd.serve.request_queue import OpenRequest, Peer, RequestError
from dupwatchd.settings import Settings
from tests.conftest import encoded, photo_like

QUESTION = Question("structure", 0.02, mirrored=False)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    (tmp_path / "blocks").mkdir()
    opened = open_database(str(tmp_path))
    yield opened
    opened.close()


@pytest.fixture
def finder(tmp_path: Path) -> Iterator[Finder]:
    live_checks = LiveChecks(lambda *_: [], lambda _copy: True, lambda copies: [None] * len(copies), lambda _: False)
    made = Finder(
        Settings(), str(tmp_path), 32, lambda _thumbnail: Matches.none(), lambda _keypoints: [], lambda: live_checks
    )
    yield made
    made.close()


def test_what_nobody_waits_for_any_more_is_not_decoded_to_its_end(
    finder: Finder, database: Database, tmp_path: Path
) -> None:
    large, small = tmp_path / "large.png", tmp_path / "small.jpg"
    large.write_bytes(encoded(np.zeros((14_000, 14_000, 3), np.uint8), "PNG"))
    small.write_bytes(encoded(photo_like(1, 160, 120)))
    wanted = OpenRequest([], 1, "find", {}, Peer(b""))
    assert finder.find(database, bytes(small), QUESTION, wanted) == []
    began = time.monotonic()
    assert finder.find(database, bytes(large), QUESTION, wanted) == []
    whole_seconds = time.monotonic() - began
    gone = Peer(b"")
    gone.closed.set()
    for abandoned in (
        OpenRequest([], 2, "find", {}, gone),
        OpenRequest([], 3, "find", {}, Peer(b""), deadline=time.monotonic()),
    ):
        began = time.monotonic()
        with pytest.raises(RequestError) as given_up:
            finder.find(database, bytes(large), QUESTION, abandoned)
        assert given_up.value.code == "busy"
        assert time.monotonic() - began < whole_seconds
    assert finder.find(database, bytes(small), QUESTION, wanted) == []
