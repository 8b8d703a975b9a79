"""`dupwatch-difpy`: each row of the table of options in docs/difpy.md, and the files it writes."""

import argparse
import json
import os
import pty
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from dupwatchd.compat import difpy_options
from dupwatchd.compat.difpy_cli import main, parser
from dupwatchd.compat.difpy_files import EXTENSIONS
from tests.compat.pictures import ONE, TWO, as_png, smaller
from tests.conftest import encoded, photo_like
from tests.system.service import until

ROOT = Path(__file__).parent.parent.parent
DOCUMENT = (ROOT / "docs" / "difpy.md").read_text()
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
MODULE, FUNCTION = SCRIPTS["dupwatch-difpy"].split(":")
COMMAND = [sys.executable, "-c", f"from {MODULE} import {FUNCTION}; {FUNCTION}()"]
NAMES = ["results.json", "lower_quality.txt", "stats.json"]


class Run(NamedTuple):
    """What a run left behind."""

    status: int
    stdout: str
    stderr: str
    result: dict[str, Any]
    lower_quality: list[str]
    stats: dict[str, Any]

    @property
    def parameters(self) -> dict[str, Any]:
        steps = self.stats["process"]
        return {**steps["build"]["parameters"], **steps["search"]["parameters"]}

    @property
    def pairs(self) -> set[tuple[str, str]]:
        return {
            (os.path.basename(first), os.path.basename(name)) for first in self.result for name, _ in self.result[first]
        }


Difpy = Callable[..., Run]


@pytest.fixture
def difpy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Difpy:
    """Runs the program beside the folder `photos`, its files written to `out`.

    In this process, since half of what one of its own takes goes into its start; in one of its own with ``options``.
    """
    environment = {
        "XDG_STATE_HOME": str(tmp_path / "state-home"),
        "PYTHONPATH": os.pathsep.join(sys.path),
        "OPENBLAS_NUM_THREADS": "1",  # the program sets these two, here for this test alone
        "PYDANTIC_DISABLE_PLUGINS": "__all__",
    }

    def here(arguments: list[str], cwd: Path) -> tuple[int, str, str]:
        capfd.readouterr()
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            patch.chdir(cwd)
            patch.setattr(sys, "argv", ["dupwatch-difpy", *arguments])
            before = signal.getsignal(signal.SIGINT)
            try:
                with pytest.raises(SystemExit) as ended:
                    main()
            finally:
                signal.signal(signal.SIGINT, before)
        assert isinstance(ended.value.code, int)
        return ended.value.code, *capfd.readouterr()

    def elsewhere(arguments: list[str], cwd: Path, **options: Any) -> tuple[int, str, str]:
        done = subprocess.run(
            [*COMMAND, *arguments], cwd=cwd, env=os.environ | environment, check=False, text=True,
            **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr or ""

    def run(*words: object, cwd: Path = tmp_path, out: bool = True, **options: Any) -> Run:
        arguments = [*map(str, words), *(["-Z", str(tmp_path / "out")] if out else [])]
        said = elsewhere(arguments, cwd, **options) if options else here(arguments, cwd)
        folder = tmp_path / "out" if out else cwd
        documents: list[Any] = [{}, [], {}]
        written = sorted(folder.glob("difPy_*"))[-3:]  # lower quality, results, statistics
        if written and said[0] != 2:
            documents = [json.loads(written[place].read_text()) for place in (1, 0, 2)]
        return Run(*said, *documents)

    return run


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for name, data in {
        "a.png": as_png(ONE), "sub/b.png": as_png(ONE), "sub/c.png": as_png(ONE), "a270.png": as_png(np.rot90(ONE, 3)),
        "small.png": as_png(smaller(ONE)), "two.png": as_png(TWO), "sub/two.heic": as_png(TWO),
    }.items():  # fmt: skip
        (folder / name).write_bytes(data)
    return folder


def flags_in_the_document() -> list[tuple[str, ...]]:
    return [
        tuple(re.findall(r"`(--?\w+)`", row)) for row in re.findall(r"^\| (`--?\w+`[^|]*)\|", DOCUMENT, re.MULTILINE)
    ]


def actions() -> list[argparse.Action]:
    return [action for action in parser()._actions if action.dest != "help"]


def both_spellings(difpy: Difpy, short: str, *words: object, others: tuple[object, ...] = ()) -> Run:
    """Run it with the long spelling, of which the short one is another name."""
    [(same, long)] = [names for names in flags_in_the_document() if names[0] == short and len(names) == 2]
    first, second = (parser().parse_args([str(word) for word in (*others, name, *words)]) for name in (same, long))
    assert first == second
    run = difpy(*others, long, *words)
    assert run.status == 0, run.stderr
    return run


def directory(difpy: Difpy, photos: Path) -> None:
    run = both_spellings(difpy, "-D", "photos/sub", "photos/a.png")
    assert run.result == {"photos/a.png": [["photos/sub/b.png", 0.0], ["photos/sub/c.png", 0.0]]}
    assert run.stats["directory"] == ["photos/a.png", "photos/sub"]
    assert difpy(cwd=photos).stats["directory"] == [str(photos)]


def output_directory(difpy: Difpy, photos: Path) -> None:
    run = difpy("-D", "photos", "--output_directory", "new/er", out=False)
    assert run.status == 0
    assert len(list((photos.parent / "new" / "er").iterdir())) == 3
    assert difpy("-D", "photos", "-Z", "photos/a.png/x", out=False).status == 2
    assert difpy(cwd=photos, out=False).lower_quality  # by default the working directory


def recursive(difpy: Difpy, photos: Path) -> None:
    run = both_spellings(difpy, "-r", "no", others=("-D", "photos"))
    assert run.pairs == {("a.png", "a270.png")}
    assert run.parameters["recursive"] is False


def in_folder(difpy: Difpy, photos: Path) -> None:
    run = both_spellings(difpy, "-i", "T", others=("-D", "photos", "photos/sub"))
    assert set(run.result) == {"photos", "photos/sub"}
    assert run.result["photos/sub"] == {"photos/sub/b.png": [["photos/sub/c.png", 0.0]]}
    each = difpy("-D", "photos", "-i", "each").result
    assert set(each) == {"photos", "photos/sub"}
    assert each["photos"] == {"photos/a.png": [["photos/a270.png", 0.0]]}


def limit_extensions(difpy: Difpy, photos: Path) -> None:
    run = both_spellings(difpy, "-le", "False", others=("-D", "photos"))
    assert ("two.png", "two.heic") in run.pairs
    limited = difpy("-D", "photos")
    assert limited.stats["invalid_files"]["logs"] == {"photos/sub/two.heic": "Unsupported file type"}
    assert len(EXTENSIONS) == 63
    assert "bmp" not in EXTENSIONS


def px_size(difpy: Difpy, photos: Path) -> None:
    run = both_spellings(difpy, "-px", 100, others=("-D", "photos"))
    assert run.parameters["px_size"] == 100
    assert "compared at 96 px" in run.stderr
    assert difpy("-D", "photos", "-px", 50).stderr == ""
    assert difpy("-D", "photos", "-px", 9).status == difpy("-D", "photos", "-px", "x").status == 2
    assert [difpy_options.thumbnail_px(px) for px in (10, 24, 50, 56, 90, 5000)] == [16, 32, 48, 64, 96, 128]


def similarity(difpy: Difpy, photos: Path) -> None:
    run = both_spellings(difpy, "-s", "similar", others=("-D", "photos", "-dim", "no"))
    assert run.parameters["similarity_mse"] == 5
    assert ("a.png", "small.png") in run.pairs
    assert difpy("-D", "photos", "-s", "0.5").parameters["similarity_mse"] == 0.5
    assert difpy("-D", "photos").parameters["similarity_mse"] == 0
    wrong = difpy("-D", "photos", "-s", "high")
    assert (wrong.status, wrong.stderr.count("\n")) == (2, 1)


def rotate(difpy: Difpy, photos: Path) -> None:
    run = both_spellings(difpy, "-ro", "0", others=("-D", "photos"))
    assert run.pairs == {("a.png", "b.png"), ("a.png", "c.png")}
    assert ("a.png", "a270.png") in difpy("-D", "photos").pairs


def same_dim(difpy: Difpy, photos: Path) -> None:
    run = both_spellings(difpy, "-dim", "n", others=("-D", "photos", "-s", "5"))
    assert ("a.png", "small.png") in run.pairs
    assert ("a.png", "small.png") not in difpy("-D", "photos", "-s", "5").pairs


def lazy(difpy: Difpy, photos: Path) -> None:
    run = both_spellings(difpy, "-la", "n", others=("-D", "photos", "-s", "5"))
    assert run.parameters["same_dim"] is False
    assert "lazy is called same_dim" in run.stderr
    both = difpy("-D", "photos", "-la", "yes", "-dim", "no")
    assert (both.status, both.stderr.count("\n")) == (2, 1)


def move_to(difpy: Difpy, photos: Path) -> None:
    moved = difpy("-D", "photos", "-mv", "to")
    assert moved.status == 0
    assert f'Moved {len(moved.lower_quality)} file(s) to "to"' in moved.stdout
    for name in moved.lower_quality:
        path = photos.parent / name
        assert not path.exists()
        assert (photos.parent / "to" / str(path)[1:]).is_file()
    inside = difpy("-D", "photos", "--move_to", "photos/to")
    assert (inside.status, inside.stderr.count("\n"), (photos / "to").exists()) == (2, 1, False)
    assert difpy("-D", "photos", "-mv", "to", "-d", "yes").status == 2


def delete(difpy: Difpy, photos: Path) -> None:
    before = sorted(photos.rglob("*"))
    refused = difpy("-D", "photos", "-d", "yes", stdin=subprocess.DEVNULL)
    assert (refused.status, "Deletion canceled." in refused.stdout) == (0, True)
    assert sorted(photos.rglob("*")) == before
    done = difpy("-D", "photos", "--delete", "True", stdin=None, input="y\n")
    assert f"Deleted {len(done.lower_quality)} file(s)" in done.stdout
    assert {str(photos.parent / name) for name in done.lower_quality} == {
        str(path) for path in before if not path.exists()
    }


def silent_del(difpy: Difpy, photos: Path) -> None:
    done = difpy("-D", "photos", "-d", "1", "--silent_del", "t")
    assert f"Deleted {len(done.lower_quality)} file(s)" in done.stdout
    assert "?" not in done.stderr
    assert "no meaning without --delete" in both_spellings(difpy, "-sd", "yes", others=("-D", "photos")).stderr


def show_progress(difpy: Difpy, photos: Path) -> None:
    shown = {}
    for word in ("True", "False"):
        ours, theirs = pty.openpty()
        run = difpy("-D", "photos", "-p", word, stderr=theirs)
        os.close(theirs)
        try:
            shown[word] = os.read(ours, 1 << 16)
        except OSError:  # nothing was written
            shown[word] = b""
        os.close(ours)
        assert run.status == 0
    assert b"indexing" in shown["True"]
    assert shown["False"] == b""
    assert both_spellings(difpy, "-p", "yes", others=("-D", "photos")).stderr == ""  # which is no terminal


def processes(difpy: Difpy, photos: Path) -> None:
    run = both_spellings(difpy, "-proc", 1, others=("-D", "photos"))
    assert run.parameters["processes"] == 1
    assert difpy("-D", "photos").parameters["processes"] == os.cpu_count()
    assert difpy("-D", "photos", "-proc", 0).status == 2


def chunksize(difpy: Difpy, photos: Path) -> None:
    run = both_spellings(difpy, "-ch", 7, others=("-D", "photos"))
    assert run.parameters["chunksize"] == 7
    assert "chunksize has no meaning here" in run.stderr
    assert difpy("-D", "photos", "-ch", 0).status == 2


def logs(difpy: Difpy, photos: Path) -> None:
    assert "logs has no meaning" in both_spellings(difpy, "-l", "True", others=("-D", "photos")).stderr


def state(difpy: Difpy, photos: Path) -> None:
    run = difpy("-D", "photos", "--state", "kept")
    assert (photos.parent / "kept" / "dupwatch.sqlite").is_file()
    (photos / "a.png").write_bytes(as_png(TWO))
    assert difpy("-D", "photos", "--state", "kept").result != run.result


CHECKS: dict[str, Callable[[Difpy, Path], None]] = {
    "-D": directory, "-Z": output_directory, "-r": recursive, "-i": in_folder, "-le": limit_extensions, "-px": px_size,
    "-s": similarity, "-ro": rotate, "-dim": same_dim, "-la": lazy, "-mv": move_to, "-d": delete, "-sd": silent_del,
    "-p": show_progress, "-proc": processes, "-ch": chunksize, "-l": logs, "--state": state,
}  # fmt: skip


def test_the_table_has_every_flag_and_every_flag_a_check() -> None:
    rows = flags_in_the_document()
    assert [tuple(action.option_strings) for action in actions()] != []
    assert sorted(rows) == sorted(tuple(action.option_strings) for action in actions())
    assert {row[0] for row in rows} == set(CHECKS)


@pytest.mark.parametrize("flag", CHECKS)
def test_a_flag_does_what_the_table_says(flag: str, difpy: Difpy, photos: Path) -> None:
    CHECKS[flag](difpy, photos)


def test_the_three_files_are_named_on_stdout_and_never_replaced(difpy: Difpy, photos: Path, tmp_path: Path) -> None:
    runs = [difpy("-D", "photos", stdin=subprocess.DEVNULL) for _ in range(2)]
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert len(written) == 6
    printed = [line for run in runs for line in run.stdout.split("\n") if line.startswith("difPy_")]
    assert sorted(printed) == written
    for line, name in zip(printed[:3], NAMES, strict=True):
        assert re.fullmatch(rf"difPy_\d{{14}}_{re.escape(name)}", line)
    assert runs[0].stdout.endswith(f"\nsaved in '{tmp_path / 'out'}'.\n")
    assert runs[0].stderr == ""


@pytest.mark.parametrize(("state", "left"), [([], "nothing is kept"), (["--state", "kept"], "what was read is kept")])
def test_ctrl_c_tells_what_is_left(state: list[str], left: str, photos: Path, tmp_path: Path) -> None:
    photo = encoded(photo_like(1, 900, 700), "JPEG")
    for number in range(300):  # contents of their own, so that each has to be decoded
        (photos / f"{number}.jpg").write_bytes(photo + number.to_bytes(2, "little"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        [*COMMAND, "-D", "photos", "-proc", "1", *state],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: any(tmp_path.glob("*/dupwatch.sqlite")))
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said.count("\n")) == (130, 1), said
    assert said.startswith(f"dupwatch-difpy: interrupted: {left}")
    assert [one.name for one in tmp_path.glob("*/dupwatch.sqlite")] == ["dupwatch.sqlite"] * bool(state)


def test_a_script_without_a_guard_runs_once(tmp_path: Path, photos: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import dupwatchd.compat.difpy as difPy\n"
        f"dif = difPy.build({str(photos)!r})\nsearch = difPy.search(dif)\nprint(len(search.lower_quality))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment, check=True)
    assert (done.stdout, done.stderr) == ("3\n", "")


def test_the_example_of_the_document_runs(photos: Path) -> None:
    [code] = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True, cwd=photos.parent
    )
    assert done.stdout.startswith("{'photos/a.png': [['photos/a270.png', 0.0], ")
    [line] = re.findall(r"```sh\n(.*?)\n```", DOCUMENT)
    parser().parse_args(line.split()[1:])
