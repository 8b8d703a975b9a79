"""Pages of clusters: as the index is, or of a moment ago while it changes all the time."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from dupwatchd.db.connection import open_database, open_for_reading
from dupwatchd.serve import questions
from dupwatchd.serve.clusters import LiveChecks
from dupwatchd.serve.questions import QuestionDefaults, Questions
from dupwatchd.serve.request_queue import Peer

_PEER = Peer(b"")


class Working:
    """The part that keeps the index current, in the state a test wants."""

    changes = 1
    is_quiet = True
    is_busy_for_long = False

    def status(self) -> dict[str, Any]:
        return {"pending": 0, "state": "idle"}

    def rescan(self, folders: Sequence[bytes]) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...


@pytest.fixture
def working() -> Working:
    return Working()


@pytest.fixture
def asked(tmp_path: Path, working: Working) -> Iterator[Questions]:
    (tmp_path / "blocks").mkdir()
    database = open_database(str(tmp_path))
    live_checks = LiveChecks(lambda *_: [], lambda _: True, lambda *_: False)
    kept = {"structure": 0.04}
    made = Questions(
        lambda: open_for_reading(str(tmp_path)),
        working,
        lambda: [b"/photos"],
        QuestionDefaults("structure", 0.02, False, kept, kept, ""),
        lambda _: live_checks,
        lambda *_: [],
        "1",
    )
    yield made
    made.close()
    database.close()


def revision(asked: Questions) -> int:
    return int(asked.clusters({}, _PEER)["revision"])


def test_a_page_is_of_the_index_as_it_is(asked: Questions, working: Working) -> None:
    assert revision(asked) == 1
    working.changes = 2
    assert revision(asked) == 2


def test_while_the_index_changes_for_long_the_last_page_serves_until_the_next_is_loaded(
    asked: Questions, working: Working, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "_RENEW_SECONDS", 0.0)
    assert revision(asked) == 1
    working.changes, working.is_busy_for_long = 2, True
    end = time.monotonic() + 10
    while revision(asked) != 2:
        assert time.monotonic() < end
        time.sleep(0.01)
    working.changes, working.is_busy_for_long = 3, False
    assert revision(asked) == 3


def test_a_page_of_the_past_is_let_go_if_nobody_asks(
    asked: Questions, working: Working, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "_RENEW_SECONDS", 0.0)
    monkeypatch.setattr(questions, "_RENEW_SHARE", 0.0)
    monkeypatch.setattr(questions, "_KEPT_SECONDS", 0.0)
    assert revision(asked) == 1
    working.changes, working.is_busy_for_long = 2, True
    asked.drop_stale_library()
    assert revision(asked) == 2
