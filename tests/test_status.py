"""The document of `dupwatch status`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dupwatch import wire
from dupwatchd.db.connection import Database, open_database
from dupwatchd.model import Limits
from dupwatchd.status import status_document
from dupwatchd.update.changes import Survey
from dupwatchd.update.updater import Updater, Work
from dupwatchd.watch.hints import Hints
from dupwatchd.watch.walk import WalkRules
from dupwatchd.watch.watcher import RootState

ROOTS = [b"/caf\xe9", b"/photos"]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    (tmp_path / "blocks").mkdir()
    opened = open_database(str(tmp_path))
    yield opened
    opened.close()


def test_each_problem_names_its_root_and_can_be_sent(database: Database) -> None:
    rules = WalkRules(suffixes=frozenset([b".jpg"]), ignore=(), left_out=frozenset())
    work = Work(ROOTS, rules, Limits(25, 0.04, False), 0.5, 3600)
    updater = Updater(database, work, Hints(0.1, 1, 10), lambda *_: None, lambda: True)
    updater.survey = Survey(unreadable=[(b"/photos/bad", "Permission denied")])
    line = "looked through every 60 s: fuse does not tell what others change"
    document = status_document(updater, {root: RootState(True, "polled", line, 1) for root in ROOTS}, ROOTS)
    sent = wire.decode_reply([wire.encode_result(1, document)])
    assert sent.result is not None
    of_odd, of_photos, of_folder = sent.result["problems"]
    assert of_odd.startswith("/caf")
    assert of_photos == f"/photos: {line}"
    assert of_folder == "/photos/bad: Permission denied"
