"""Questions about a real index: pages of clusters as the index is, and who else goes on while one is being answered."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dupwatchd.db.answers import Copy
from dupwatchd.db.change_log import ChangeLog
from dupwatchd.db.connection import Database, open_for_reading, open_second_writer
from dupwatchd.serve import library_cache
from dupwatchd.serve.clusters import LiveChecks
from dupwatchd.serve.library_cache import LibraryCache
from dupwatchd.serve.plan_policy import Policy
from dupwatchd.serve.questions import QuestionDefaults, Questions
from dupwatchd.serve.readers import Readers
from dupwatchd.serve.remembered import Remembered
from dupwatchd.serve.request_queue import OpenRequest, Peer, RequestError
from dupwatchd.serve.results import Completeness, StatusResult
from dupwatchd.serve.rows import Rows, read_rows
from dupwatchd.serve.uploads import Uploads
from dupwatchd.serve.waiting import Waiting
from tests.serve.made import Content, File, Made, Picture, written


@dataclass
class Working:
    """The part that keeps the index current, in the state a test wants."""

    change_log: ChangeLog
    changes: int = 1
    looks: int = 0  # of the changes, those that changed nothing that is stored
    is_busy_for_long: bool = False
    look_seconds: float = 0.0
    roots: Sequence[bytes] = (b"/photos", b"/more")
    incomplete_because: list[str] = field(default_factory=list)
    to_confirm: int | None = 0
    rescanned: list[Sequence[bytes]] = field(default_factory=list)

    @property
    def commits(self) -> int:
        return self.changes - self.looks

    def status(self) -> StatusResult:
        return {
            "state": "idle", "files": 0, "failed": 0, "pending": 0, "pictures": 0, "matches": 0,
            "to_confirm": self.to_confirm, "roots": [], "problems": [],
        }  # fmt: skip

    def completeness(self) -> Completeness:
        because = self.incomplete_because
        return {"complete": not because, "pending": len(because), "incomplete_because": because}

    def left_to_confirm(self) -> int | None:
        return self.to_confirm

    def rescan(self, folders: Sequence[bytes]) -> None:
        self.rescanned.append(folders)

    def pause(self) -> None: ...

    def resume(self) -> None: ...


class Asked:
    """Questions about an index of three pairs of files in two roots."""

    def __init__(self, folder: Path) -> None:
        made = Made(
            [Picture(flat=True)] * 3,
            [Content(bytes([n]) * 32, n) for n in range(3)],
            [File(b"/photos" if n < 2 else b"/more", b"%d %d" % (n, copy), n) for n in range(3) for copy in range(2)],
        )
        self._database = written(made, folder)
        self.working = Working(self._database.note_changes())
        self.open_readers: list[Database] = []
        self.libraries = LibraryCache(lambda: self._opened(folder), self.working, lambda: self.working.roots)
        self._readers = Readers(lambda: open_for_reading(str(folder)))
        self.look: Callable[[Copy], bool] = lambda _copy: True
        self.questions = Questions(
            self.working,
            self._readers,
            self.libraries,
            Remembered(self._readers, lambda: open_second_writer(str(folder))),
            Waiting(lambda: True, lambda: 0),
            Uploads(str(folder), 1000),
            QuestionDefaults("structure", 0.02, False, {"structure": 0.04, "mse": 50}, {"mse": 25.0}, ""),
            lambda: LiveChecks(
                lambda *_: [], lambda copy: self.look(copy), lambda copies: [None] * len(copies), lambda _: False
            ),
            lambda *_: [],
            "1",
        )

    def _opened(self, folder: Path) -> Database:
        self.open_readers.append(open_for_reading(str(folder)))
        return self.open_readers[-1]

    def clusters(self, uid: int = 0, **args: Any) -> dict[str, Any]:
        return dict(self.questions.clusters(OpenRequest([], 1, "clusters", args, Peer(b"", uid=uid))))

    def remove_file(self, name: bytes) -> None:
        with self._database.transaction():
            self._database.rows("DELETE FROM file WHERE name = ?", (name,))

    def close(self) -> None:
        self.libraries.close()
        self._readers.close()
        self._database.close()


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asked]:
    monkeypatch.setattr("dupwatchd.serve.questions._are_there", lambda _clusters: True)  # the files were never made
    made = Asked(tmp_path)
    yield made
    made.close()


def is_closed(reader: Database) -> bool:
    try:
        reader.rows("SELECT 1")
    except Exception:  # noqa: BLE001 - a closed connection fails in a way of its own
        return True
    return False


def test_a_page_is_of_the_index_as_it_is(asked: Asked) -> None:
    assert asked.clusters()["revision"] == 1
    asked.working.changes = 2
    assert asked.clusters()["revision"] == 2
    assert len(asked.open_readers) == 2
    assert is_closed(asked.open_readers[0])


@pytest.mark.parametrize("command", ["clusters", "plan"])
def test_pages_by_two_policies_never_have_one_revision(asked: Asked, command: str) -> None:
    def ask() -> dict[str, Any]:
        return dict(getattr(asked.questions, command)(OpenRequest([], 1, command, {}, Peer(b""))))

    def take_up() -> Completeness:  # while a page is being made, whose question is made already
        asked.working.completeness = completeness  # type: ignore[method-assign]
        asked.questions.take_up_policy(Policy(bursts=True))
        return completeness()

    completeness, asked.working.completeness = asked.working.completeness, take_up  # type: ignore[method-assign]
    revisions = [ask()["revision"] for _ in range(3)]
    assert revisions == [1, 2, 2]


def test_a_page_of_a_moment_ago_says_so(asked: Asked) -> None:
    assert asked.clusters()["complete"]
    asked.working.is_busy_for_long, asked.working.changes = True, 2
    answer = asked.clusters()
    assert (answer["revision"], answer["complete"]) == (1, False)
    assert answer["incomplete_because"] == ["the groups are those of a moment ago"]


def test_pages_of_one_index_are_made_from_one_library(asked: Asked) -> None:
    for threshold in (0.01, 0.02, 0.01):
        assert asked.clusters(threshold=threshold, limit=1)["total_clusters"] == 3
    assert len(asked.open_readers) == 1


def test_if_photos_were_only_looked_at_anew_the_library_stays_and_its_answers_are_made_anew(asked: Asked) -> None:
    missing: set[bytes] = {b"0 0"}
    asked.look = lambda copy: copy.path.rsplit(b"/", 1)[-1] not in missing
    assert asked.clusters()["total_clusters"] == 2
    missing.clear()
    asked.working.changes, asked.working.looks = 2, 1
    asked.libraries.drop_stale()
    answer = asked.clusters()
    assert (answer["total_clusters"], answer["revision"], answer["complete"]) == (3, 2, True)
    assert len(asked.open_readers) == 1
    asked.working.changes = 3  # now something was committed
    assert asked.clusters()["revision"] == 3
    assert len(asked.open_readers) == 2


def test_ever_other_questions_of_one_user_do_not_make_anothers_be_answered_anew(asked: Asked) -> None:
    looked: list[Copy] = []

    def look(copy: Copy) -> bool:
        looked.append(copy)
        return True

    asked.look = look
    asked.clusters(uid=1)
    asked.clusters(uid=2)  # the same one
    for number in range(40):
        asked.clusters(uid=2, threshold=number / 1000)
    looked.clear()
    assert asked.clusters(uid=1)["total_clusters"] == 3
    assert not looked
    asked.clusters(uid=2, threshold=0.001)
    assert looked  # long forgotten


def look_slowly(asked: Asked) -> tuple[threading.Event, threading.Event]:
    """Let threads named "slow" wait where they look for a file; returns that one is there, and that they may go on."""
    looking, go_on = threading.Event(), threading.Event()

    def look(_copy: Copy) -> bool:
        if threading.current_thread().name.startswith("slow"):
            looking.set()
            assert go_on.wait(20)
        return True

    asked.look = look
    return looking, go_on


def test_a_long_page_of_one_user_does_not_make_another_wait_for_a_short_one_of_the_same_question(asked: Asked) -> None:
    looking, go_on = look_slowly(asked)
    with ThreadPoolExecutor(1, "slow") as slow, ThreadPoolExecutor(1, "quick") as quick:
        page = slow.submit(asked.clusters, uid=2, limit=1000)
        assert looking.wait(20)
        try:
            assert quick.submit(lambda: asked.clusters(uid=1, limit=1)).result(20)["total_clusters"] == 3
        finally:
            go_on.set()
        assert len(page.result(20)["clusters"]) == 3


def test_what_is_remembered_of_answers_is_bounded_in_bytes(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dupwatchd.serve.library._REMEMBERED_BYTES", 20_000)  # about two answers
    for number in range(12):
        assert asked.clusters(uid=number, threshold=number / 1000)["total_clusters"] == 3
    with asked.libraries.moment() as moment:
        remembered = moment.library._clusters
        assert 1 <= len(remembered._found) <= 4


def test_who_asks_for_folders_to_be_looked_through_without_end_is_refused_and_others_are_not(asked: Asked) -> None:
    def rescan(uid: int) -> str | None:
        try:
            asked.questions.rescan(OpenRequest([], 1, "rescan", {}, Peer(b"", uid=uid)))
        except RequestError as error:
            return error.code
        return None

    assert [rescan(1) for _ in range(99)].count("busy") > 80
    assert rescan(2) is None
    assert 2 <= len(asked.working.rescanned) < 20


def test_while_the_index_changes_for_long_the_last_page_serves_until_the_next_is_loaded(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library_cache, "_RENEW_SECONDS", 0.0)
    monkeypatch.setattr(library_cache, "_RENEW_SHARE", 0.0)
    assert asked.clusters()["revision"] == 1
    asked.working.changes, asked.working.is_busy_for_long = 2, True
    end = time.monotonic() + 20
    while asked.clusters()["revision"] != 2:
        assert time.monotonic() < end
        time.sleep(0.01)
    asked.working.changes, asked.working.is_busy_for_long = 3, False
    assert asked.clusters()["revision"] == 3


def test_after_a_commit_only_what_it_has_changed_is_read_but_all_if_the_roots_are_others(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Sequence[bytes] | None] = []

    def read_all(database: Database, roots: Sequence[bytes] | None) -> Rows:
        read.append(roots)
        return read_rows(database, roots)

    monkeypatch.setattr(library_cache, "read_rows", read_all)
    assert asked.clusters()["total_clusters"] == 3
    asked.remove_file(b"0 1")
    asked.working.changes = 2
    asked.libraries.drop_stale()
    assert asked.clusters()["total_clusters"] == 2
    assert read == [(b"/photos", b"/more")]
    asked.working.roots = (b"/photos",)
    assert asked.clusters()["total_clusters"] == 1
    assert read == [(b"/photos", b"/more"), (b"/photos",)]


def test_a_page_of_the_past_is_let_go_if_nobody_asks(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library_cache, "_RENEW_SECONDS", 0.0)
    monkeypatch.setattr(library_cache, "_RENEW_SHARE", 0.0)
    monkeypatch.setattr(library_cache, "_KEPT_SECONDS", 0.0)
    assert asked.clusters()["revision"] == 1
    asked.working.changes, asked.working.is_busy_for_long = 2, True
    asked.libraries.drop_stale()
    assert is_closed(asked.open_readers[0])
    assert asked.clusters()["revision"] == 2


@pytest.mark.parametrize("other", [{}, {"threshold": 0.01}, {"measure": "mse"}])
def test_a_question_that_takes_long_holds_up_neither_the_main_thread_nor_other_questions(
    asked: Asked, other: dict[str, Any]
) -> None:
    looking, go_on = look_slowly(asked)
    with ThreadPoolExecutor(1, "slow") as slow, ThreadPoolExecutor(1, "quick") as quick:
        page = slow.submit(asked.clusters, under=b"/photos")
        assert looking.wait(20)
        try:
            assert quick.submit(lambda: asked.clusters(**other)).result(20)["total_clusters"] == 3
            asked.working.changes = 2
            quick.submit(asked.libraries.drop_stale).result(20)  # as the main thread does, between two signs of life
            assert not is_closed(asked.open_readers[0])
            assert quick.submit(lambda: asked.clusters(**other)).result(20)["revision"] == 2
        finally:
            go_on.set()
        assert page.result(20)["revision"] == 1
    assert is_closed(asked.open_readers[0])
    assert not is_closed(asked.open_readers[1])


def test_questions_that_come_together_load_the_library_once(asked: Asked) -> None:
    with ThreadPoolExecutor(8) as clients:
        pages = list(clients.map(lambda n: asked.clusters(threshold=n / 1000), range(16)))
    assert {page["total_clusters"] for page in pages} == {3}
    assert len(asked.open_readers) == 1


def test_what_lies_under_no_root_any_more_is_in_no_answer(asked: Asked) -> None:
    assert asked.clusters()["total_clusters"] == 3
    asked.working.roots = (b"/photos",)
    page = asked.clusters()
    assert (page["total_clusters"], len(page["clusters"])) == (2, 2)
    assert all(file["path"].startswith(b"/photos/") for one in page["clusters"] for file in one["files"])


def test_an_answer_says_whether_it_is_complete(asked: Asked) -> None:
    page = asked.clusters()
    assert (page["complete"], page["pending"], page["incomplete_because"]) == (True, 0, [])
    asked.working.incomplete_because = ["the scan at the start is not finished"]
    failed = asked.questions.failed(OpenRequest([], 1, "failed", {}, Peer(b"")))
    for answer in (asked.clusters(), failed):
        assert (answer["complete"], answer["pending"]) == (False, 1)
        assert answer["incomplete_because"] == ["the scan at the start is not finished"]


@pytest.mark.parametrize(("pairs", "words"), [(None, "pairs"), (1, "1 pair"), (1200, "1,200 pairs")])
def test_a_plan_says_that_pairs_are_still_to_be_looked_at_closely(asked: Asked, pairs: int | None, words: str) -> None:
    asked.working.to_confirm = pairs
    answer = asked.questions.plan(OpenRequest([], 1, "plan", {}, Peer(b"")))
    assert not answer["complete"]
    assert answer["incomplete_because"][-1].startswith(f"{words} of pictures that seem the same are still to be")
    asked.working.to_confirm = 0
    assert asked.questions.plan(OpenRequest([], 1, "plan", {}, Peer(b"")))["complete"]
