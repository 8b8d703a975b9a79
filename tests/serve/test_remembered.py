"""What is remembered of contents, on a real database: limits, a full disk, and files of equal bytes."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dupwatchd.db import roots
from dupwatchd.db.connection import Database, open_for_reading, open_second_writer
from dupwatchd.serve import remembered
from dupwatchd.serve.readers import Readers
from dupwatchd.serve.remembered import Remembered
from dupwatchd.serve.request_queue import OpenRequest, Peer, RequestError
from tests.serve.made import Content, File, Made, Picture, written

FILES = 40
PATHS = [b"/photos/%d" % number for number in range(FILES)]
Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = Made(
        [Picture(flat=True)] * FILES,
        [Content(bytes([number]) * 32, number) for number in range(FILES)],
        [File(b"/photos", b"%d" % number, number) for number in range(FILES)],
    )
    database = written(made, tmp_path)
    roots.put_in_force(database, [b"/photos"])
    database.close()
    return tmp_path


@pytest.fixture
def writer(folder: Path) -> Database:
    return open_second_writer(str(folder))


@pytest.fixture
def memory(folder: Path, writer: Database) -> Iterator[Remembered]:
    readers = Readers(lambda: open_for_reading(str(folder)))
    memory = Remembered(readers, lambda: writer)
    yield memory
    memory.close()
    readers.close()


@pytest.fixture
def ask(memory: Remembered) -> Ask:
    def asked(do: str, **args: Any) -> dict[str, Any]:
        result = memory.handlers()[do](OpenRequest([], 1, do, args, Peer(b"")))
        assert isinstance(result, dict)
        return result

    return asked


def refused(ask: Ask, do: str, **args: Any) -> str:
    with pytest.raises(RequestError) as caught:
        ask(do, **args)
    return caught.value.code


def test_beyond_its_limit_nothing_of_a_request_is_remembered(
    ask: Ask, memory: Remembered, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("IGNORED_MAX", "DECISIONS_MAX", "REMOVED_MAX"):
        monkeypatch.setattr(remembered, limit, 3)
    assert ask("ignore", paths=PATHS[:3])["pairs"] == 3
    assert ask("ignore", paths=PATHS[:2])["new"] == 0  # which is no more than before
    assert refused(ask, "ignore", paths=PATHS[:4]) == "limit_reached"
    assert (memory.ignored.count, ask("ignored")["total"]) == (3, 3)
    ask("decide", keep=PATHS[:3])
    assert refused(ask, "decide", go=PATHS[3:5]) == "limit_reached"
    assert ask("decide", keep=PATHS[4:5], forget=PATHS[:1]) == {"decided": 1, "forgotten": 1}
    ask("removed", digests=[bytes([number]) * 32 for number in range(3)])
    assert refused(ask, "removed", digests=[b"\xff" * 32]) == "limit_reached"
    ask("restored", digests=[b"\1" * 32])
    ask("removed", digests=[b"\xff" * 32])


def test_on_a_full_disk_nothing_is_answered_as_remembered(ask: Ask, memory: Remembered, writer: Database) -> None:
    pages = writer.value("PRAGMA page_count")
    writer.rows(f"PRAGMA max_page_count = {pages}")
    ask("ignored")
    assert refused(ask, "ignore", paths=PATHS) == "not_saved"  # 780 pairs
    assert (memory.ignored.count, ask("ignored")["total"]) == (0, 0)
    writer.rows(f"PRAGMA max_page_count = {pages + 1000}")
    assert ask("ignore", paths=PATHS)["new"] == 780
    assert (memory.ignored.count, ask("ignored")["total"]) == (780, 780)


def test_what_is_in_memory_is_what_is_on_disk(ask: Ask, memory: Remembered, folder: Path) -> None:
    for chosen in (PATHS[:5], PATHS[3:9], PATHS[8:10]):
        ask("ignore", paths=chosen)
    ask("unignore", paths=PATHS[2:5])
    digests = [bytes([number]) * 32 for number in range(FILES)]
    on_disk = Remembered(Readers(lambda: open_for_reading(str(folder))), lambda: open_second_writer(str(folder)))
    for one, other in itertools.combinations(digests, 2):
        assert memory.ignored.holds(one, other) == on_disk.ignored.holds(one, other)
    assert memory.ignored.count == on_disk.ignored.count == 10 + 15 + 1 - 1 - 3


def test_pairs_are_listed_page_by_page_those_named_last_first(ask: Ask) -> None:
    ask("ignore", paths=PATHS[:10])
    listed = [pair for offset in range(0, 45, 7) for pair in ask("ignored", limit=7, offset=offset)["ignored"]]
    assert len(listed) == 45
    assert {frozenset(path for [path] in pair["paths"]) for pair in listed} == {
        frozenset(pair) for pair in itertools.combinations(PATHS[:10], 2)
    }
