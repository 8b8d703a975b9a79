"""The document of `dupwatch status`."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dupwatch import wire
from dupwatch.terminal import printable
from dupwatchd.db.connection import Database, open_database
from dupwatchd.db.files import record_folder
from dupwatchd.model import Limits
from dupwatchd.problems import Fault, Problems
from dupwatchd.status import left_out_lines, status_document
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
    problems = Problems()
    problems.note(Fault.INDEXING, "no space left")
    line = "looked through every 60 s: fuse does not tell what others change"
    document = status_document(updater, {root: RootState(True, "polled", line, 1) for root in ROOTS}, ROOTS, problems)
    sent = wire.decode_reply([wire.encode_result(1, document)])
    assert sent.result is not None
    of_disk, of_odd, of_photos, of_folder = sent.result["problems"]
    assert of_disk == "no space left"
    assert of_odd.startswith("/caf")
    assert of_photos == f"/photos: {line}"
    assert of_folder == "/photos/bad: Permission denied"


@pytest.mark.parametrize("name", [b"plain", b"two words", b"it's", b"caf\xe9 'n\\x\x1b"])
def test_what_is_offered_to_forget_a_folder_can_be_pasted(database: Database, name: bytes) -> None:
    record_folder(database, b"/gone/" + name, 1, None, [(b"a.jpg", 1, 1, 1, 1)], [])
    [line] = left_out_lines(database, [b"/photos"])
    assert "what is known of its 1 file is in no answer" in line
    shown = printable(line)
    assert shown.startswith(f"{printable(b'/gone/' + name)} is not among the roots")
    word = shown.partition("`dupwatchd forget ")[2].partition("` drops it")[0]
    said = subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True, check=True)
    assert said.stdout == b"/gone/" + name
