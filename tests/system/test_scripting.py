"""`dupwatchd.scripting`, with a real service: each example of docs/scripting.md, and what goes wrong."""

import os
import re
import textwrap
from pathlib import Path

import pytest

from dupwatch.errors import ClientError, WrongUsageError
from dupwatchd.scripting import open_service, open_state
from tests.compat.pictures import ONE, THREE, TWO, as_png, smaller
from tests.system.service import Service

DOCUMENT = (Path(__file__).parent.parent.parent / "docs" / "scripting.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    files = {
        "photos/one.png": as_png(ONE), "photos/two.png": as_png(TWO), "photos/broken.jpg": b"no picture",
        "phone/one.png": as_png(ONE), "phone/two-small.png": as_png(smaller(TWO)), "new.png": as_png(ONE),
    }  # fmt: skip
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(example: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    exec(compile(textwrap.dedent(example), "docs/scripting.md", "exec"), {})
    return capsys.readouterr().out.splitlines()


def test_examples_do_what_is_said_of_them(
    folders: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    groups, pairs, find, service = EXAMPLES
    told = run(groups, capsys)
    assert len(told) == 2
    assert any(" identical " in line and line.endswith("True") for line in told)
    assert len(run(pairs, capsys)) == 2
    known, failed = run(find, capsys)
    assert re.fullmatch(r"known as b'.*/(photos|phone)/one\.png'", known)
    assert re.match(r"b'.*/photos/broken\.jpg' .", failed)
    with Service(folders / "service", folders / "photos") as running:
        monkeypatch.setenv("DUPWATCH_ENDPOINT", running.endpoint)
        (folders / "photos" / "two-again.png").write_bytes(as_png(TWO))
        assert run(service, capsys) == ["4 1"]


def test_state_is_kept_for_the_next_time_and_follows_changes(folders: Path) -> None:
    with open_state("index", ["photos"]) as photos:
        assert list(photos.clusters()) == []
        (folders / "photos" / "again.png").write_bytes(as_png(ONE))
        photos.scan("photos")
        [cluster] = photos.clusters()
        assert {os.path.basename(file["path"]) for file in cluster["files"]} == {b"one.png", b"again.png"}
        assert list(photos.failed()) == [os.fsencode(folders / "photos" / "broken.jpg")]
    with open_state("index", ["photos", "phone"]) as photos:
        assert photos.status()["files"] == 6
        assert len(list(photos.clusters(linkage="star", across=["phone"], against=["photos"]))) == 2
        assert photos.wait(5)


def test_find_tells_copies_of_a_file_that_is_not_in_the_index(folders: Path) -> None:
    (folders / "unknown.png").write_bytes(as_png(THREE))
    with open_state(b"index", [b"photos"]) as photos:
        [copy] = photos.find("new.png")
        assert (os.path.basename(copy["path"]), copy["verdict"], copy["as_good"]) == (b"one.png", "identical", True)
        assert photos.find(folders.joinpath("unknown.png").as_posix()) == []
        with pytest.raises(OSError, match="No such file"):
            photos.find("none.png")


def test_wrong_question_and_missing_service_are_errors_in_words(folders: Path) -> None:
    with open_state("index", ["photos"]) as photos:
        with pytest.raises(WrongUsageError):
            list(photos.clusters(linkage="stars"))  # type: ignore[arg-type]
        with pytest.raises(ClientError, match="in use"), open_state("index", ["photos"]):
            pass
    with pytest.raises(ClientError), open_service(f"ipc://{folders}/none.sock"):
        pass
    with pytest.raises(WrongUsageError, match="no such folder: none"), open_state("index", ["none"]):
        pass
