"""Clients that wait for an index that is up to date: many of them, in one thread, as long as they are there."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from dupwatchd.serve import waiting as waiting_module
from dupwatchd.serve.request_queue import Peer
from dupwatchd.serve.waiting import Waiting


class Index:
    """Whether it is up to date, as a test wants."""

    quiet = False

    def __init__(self) -> None:
        self.waiting = Waiting(lambda: self.quiet, lambda: 0 if self.quiet else 2)
        self._thread = threading.Thread(target=self.waiting.run)
        self._thread.start()

    def rest(self) -> None:
        self.quiet = True
        self.waiting.notify()

    def close(self) -> None:
        self.waiting.close()
        self._thread.join(20)
        assert not self._thread.is_alive()


@pytest.fixture
def index() -> Iterator[Index]:
    made = Index()
    yield made
    made.close()


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_all_who_wait_are_told_when_the_index_is_up_to_date_and_no_thread_is_made_for_them(index: Index) -> None:
    threads = threading.active_count()
    answers = [index.waiting.wait(Peer(b"%d" % (n // 16)), 60) for n in range(800)]
    assert threading.active_count() == threads
    assert not any(answer.done() for answer in answers)
    index.rest()
    for answer in answers:
        assert answer.result(20) == {"idle": True, "pending": 0}


def test_whoever_comes_to_an_index_that_is_up_to_date_is_told_soon_but_not_at_once(index: Index) -> None:
    index.rest()
    for _ in range(20):
        came = time.monotonic()
        assert index.waiting.wait(Peer(b""), 60).result(20)["idle"]
        assert time.monotonic() - came >= waiting_module.QUIET_SECONDS  # it may have changed something just before


def test_time_that_is_up_is_told_as_not_idle(index: Index) -> None:
    assert index.waiting.wait(Peer(b""), 0.05).result(20) == {"idle": False, "pending": 2}


@pytest.mark.parametrize("seconds", [0.0, 0.2])
def test_who_has_no_time_for_a_quiet_while_is_told_how_it_is_at_the_end(index: Index, seconds: float) -> None:
    assert index.waiting.wait(Peer(b""), seconds).result(20) == {"idle": False, "pending": 2}
    index.rest()
    assert index.waiting.wait(Peer(b""), seconds).result(20) == {"idle": True, "pending": 0}


def test_a_moment_of_rest_between_two_changes_is_not_the_end(index: Index) -> None:
    answer = index.waiting.wait(Peer(b""), 60)
    for _ in range(20):
        rested = time.monotonic()
        index.rest()
        time.sleep(waiting_module.QUIET_SECONDS / 4)
        if answer.done():  # this machine was asleep for a while
            break
        index.quiet = False
    else:
        rested = time.monotonic()
        index.rest()
    assert answer.result(20)["idle"]
    assert time.monotonic() - rested >= waiting_module.QUIET_SECONDS


def test_who_is_gone_is_forgotten(index: Index) -> None:
    answers = [index.waiting.wait(Peer(b""), 60) for _ in range(16)]
    for answer in answers:
        assert answer.cancel()
    index.waiting.notify()
    until(lambda: not index.waiting._waiters)


def test_one_connection_with_many_waiters_gives_way_to_another(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_module, "WAITERS_MAX", 20)
    greedy, modest = Peer(b"greedy"), Peer(b"modest")
    many = [index.waiting.wait(greedy, 60) for _ in range(20)]
    one = index.waiting.wait(modest, 60)
    assert many[0].result(20) == {"idle": False, "pending": 2}
    assert not any(answer.done() for answer in (one, *many[1:]))
    index.rest()
    assert one.result(20)["idle"]
