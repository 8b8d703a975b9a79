"""fast-diff-py's interface beyond its options: whole jobs, held against brute force, broken off, and on odd files."""

import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from functools import partial
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dupwatchd.compat import fastdiff_cli
from dupwatchd.compat.fastdiff import (
    Config,
    FastDifPy,
    FirstLoopConfig,
    Progress,
    SecondLoopConfig,
    SecondLoopRuntimeConfig,
    SQLiteDB,
)
from dupwatchd.compat.fastdiff_db import VIEWS
from dupwatchd.errors import StateInUseError
from dupwatchd.state import locked_state
from tests.compat.pictures import ONE, THREE, TWO, as_png, flat, smaller
from tests.conftest import encoded, photo_like
from tests.system.in_process import called, scan
from tests.system.service import until

DOCUMENT = (Path(__file__).parent.parent.parent / "docs" / "fastdiff.md").read_text()
COMMAND = [sys.executable, "-c", "from dupwatchd.compat.fastdiff_cli import main; main()"]


def write(folder: Path, **files: bytes) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / f"{name}.png").write_bytes(data)
    return str(folder)


def done(work: Path, **settings: Any) -> FastDifPy:
    work.mkdir(exist_ok=True)
    job = FastDifPy(config=Config(**settings), purge=True, workdir=str(work))
    job.full_index()
    job.first_loop()
    job.second_loop()
    return job


def names(job: FastDifPy) -> list[tuple[str, str]]:
    return [(os.path.basename(a), os.path.basename(b)) for a, b, _ in job.get_diff_pairs(matching_hash=True)]


def fastdiff(*words: object, **options: Any) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [*COMMAND, *map(str, words)], capture_output=True, text=True, env=environment, check=False,
        **{"stdin": subprocess.DEVNULL, **options},
    )  # fmt: skip


def refused(said: str, *words: object) -> None:
    """A command line is refused in one line that says so, in this process."""
    run = called(fastdiff_cli.main, *words)
    assert (run.returncode, run.stdout, run.stderr.count(b"\n")) == (2, b"", 1), run.stderr
    assert said in run.stderr.decode()


def test_calls_of_the_readme_in_their_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = write(tmp_path / "dir_a", one=as_png(ONE), two=as_png(TWO), three=as_png(THREE))
    b = write(tmp_path / "dir_c", one=as_png(ONE), turned=as_png(np.rot90(ONE)), small=as_png(smaller(TWO)))
    first = FirstLoopConfig(compute_hash=True)
    second = SecondLoopConfig(skip_matching_hash=True, match_aspect_by=0)
    config = Config(part_a=[a], part_b=b, second_loop=second, first_loop=first)

    job = FastDifPy(config=config, purge=True)
    job.full_index()
    job.first_loop()
    job.second_loop()
    job.commit()
    a, b = b, a  # of partitions of one size the second becomes a
    by_a = list(job.get_diff_clusters(matching_hash=True))
    by_b = list(job.get_diff_clusters(matching_hash=True, dir_a=False))
    job.config.delete_thumb = False
    job.config.retain_progress = False
    job.commit()
    job.cleanup()

    assert by_a == [(f"{a}/one.png", [(f"{b}/one.png", 0.0)]), (f"{a}/turned.png", [(f"{b}/one.png", 0.0)])]
    assert [head for head, _ in by_b] == [f"{b}/one.png"]
    assert sorted(by_b[0][1]) == [(f"{a}/one.png", 0.0), (f"{a}/turned.png", 0.0)]
    assert capsys.readouterr().out == ""


def test_example_of_the_document(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "photos", one=as_png(ONE), two=as_png(TWO))
    write(tmp_path / "phone", one=as_png(ONE), three=as_png(THREE))
    write(tmp_path / "camera", small=as_png(smaller(TWO)))
    monkeypatch.chdir(tmp_path)
    exec(compile(DOCUMENT.split("```python\n")[1].partition("```")[0], "docs/fastdiff.md", "exec"), {})
    heads = [line.split(" ")[0] for line in capsys.readouterr().out.splitlines()]
    assert heads == [f"{tmp_path}/photos/one.png", f"{tmp_path}/photos/two.png"]


@pytest.mark.parametrize("rotate", [True, False])
@pytest.mark.parametrize("two_partitions", [True, False])
def test_pairs_are_those_of_brute_force(tmp_path: Path, rotate: bool, two_partitions: bool) -> None:
    random = np.random.default_rng(7)
    base = [photo_like(seed, 96, 64) for seed in range(4)]
    noisy = [  # of a shade, so that pairs lie on both sides of each threshold
        np.clip(np.rot90(base[one], one) + random.normal(0, sigma, (1, 1, 3)), 0, 255).astype(np.uint8)
        for one in range(4)
        for sigma in (0, 4, 9, 16)
    ]  # fmt: skip
    files = {f"{number:02}": as_png(picture) for number, picture in enumerate([*noisy, noisy[0], noisy[5]])}
    a = write(tmp_path / "a", **dict(list(files.items())[::2]))
    b = write(tmp_path / "b", **dict(list(files.items())[1::2]))
    parts: dict[str, Any] = {"part_a": a, "part_b": b} if two_partitions else {"part_a": [a, b]}
    for threshold, by in ((0, None), (200.0, None), (200.0, 1.2), (3000.0, 0), (1e6, None)):
        second = SecondLoopConfig(diff_threshold=threshold, match_aspect_by=by)
        job = done(tmp_path / "work", **parts, rotate=rotate, second_loop=second)
        rows = job.db.connection.execute("SELECT key_a, key_b, dif FROM dif_table")
        found = {(key_a, key_b): dif for key_a, key_b, dif in rows}
        assert found == by_brute_force(job, threshold, by, rotate=rotate)


def by_brute_force(job: FastDifPy, threshold: float, by: float | None, *, rotate: bool) -> dict[tuple[int, int], float]:
    rows = job.db.allowed_files()
    sizes = {key: (px, py) for key, px, py in job.db.connection.execute("SELECT key, px, py FROM directory")}
    thumbnails = dict(zip([key for key, *_ in rows], job.read_thumbnails([path for _, path, _ in rows]), strict=True))
    parts = [[key for key, _, part_b in rows if part_b == wanted] for wanted in (False, True)]
    expected = {}
    for one, other in product(*parts) if parts[1] else combinations(parts[0], 2):
        ratios = [max(sizes[key]) / min(sizes[key]) for key in (one, other)]
        if by == 0 and sorted(sizes[one]) != sorted(sizes[other]):
            continue
        if by and max(ratios) > min(ratios) * by:
            continue
        first, second = thumbnails[one].astype(int), thumbnails[other].astype(int)
        turned = [np.rot90(first, quarters) for quarters in range(4 if rotate else 1)]
        dif = min(((some - second) ** 2).sum() / 64**2 for some in turned)
        if dif <= threshold:
            expected[one, other] = dif
    return expected


def test_equal_hashes_are_pairs_like_any_other_file_of_the_group(tmp_path: Path) -> None:
    pictures = {
        f"{one}-{quarters}": as_png(np.rot90(ONE if one == "one" else TWO, quarters))
        for one in ("one", "two")
        for quarters in range(4)
    }
    folder = write(tmp_path / "a", **pictures, black=as_png(flat(0)), black_too=as_png(flat(0, 80, 80)))
    second = SecondLoopConfig(skip_matching_hash=True, diff_threshold=0)
    job = done(tmp_path / "work", part_a=folder, first_loop=FirstLoopConfig(compute_hash=True), second_loop=second)
    found = {tuple(sorted(pair)) for pair in names(job)}
    for one, other in combinations([f"{name}.png" for name in (*pictures, "black", "black_too")], 2):
        assert ((one, other) in found) == (one[:3] == other[:3])
    assert job.db.get_hash_cluster_count() == 3


def test_odd_names_are_kept_byte_for_byte(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path / "[2019] t?ip")
    os.mkdir(folder)
    odd = [b"caf\xe9.png", b"line\nbreak.png", "früh.png".encode()]
    for name in odd:
        with open(os.path.join(folder, name), "wb") as stream:
            stream.write(as_png(ONE))
    job = done(tmp_path / "work", part_a=os.fsdecode(folder))
    assert {os.fsencode(path) for pair in job.get_diff_pairs() for path in pair[:2]} == {
        os.path.join(folder, name) for name in odd
    }
    job.db.close()
    done_file = str(tmp_path / "work" / ".fast_diff.db")
    with sqlite3.connect(done_file) as database:
        database.text_factory = bytes
        assert {name for (name,) in database.execute("SELECT filename FROM directory")} == set(odd)
    database.close()
    exported = fastdiff_bytes("--export", "pairs", done_file)
    assert b"caf\xe9.png" in exported


def fastdiff_bytes(*words: str) -> bytes:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "LC_ALL": "C"}
    return subprocess.run([*COMMAND, *words], stdout=subprocess.PIPE, env=environment, check=True).stdout


def test_links_are_passed_over_and_loops_end(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", one=as_png(ONE), two=as_png(TWO))
    (tmp_path / "a" / "loop").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "link.png").symlink_to("one.png")
    (tmp_path / "pointer").symlink_to("a")
    for name in (folder, str(tmp_path / "pointer")):  # a folder may be named by a link
        job = done(tmp_path / "work", part_a=name)
        assert names(job) == []
        assert len(job.db.allowed_files()) == 2
        assert {os.path.basename(path) for path in job.db.get_directory_disallowed()} == {"link.png", "loop"}


def test_folders_of_like_names_are_not_inside_each_other(tmp_path: Path) -> None:
    a, b = write(tmp_path / "p", one=as_png(ONE)), write(tmp_path / "pp", one=as_png(ONE))
    assert len(names(done(tmp_path / "work", part_a=a, part_b=b))) == 1


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_files_and_none(tmp_path: Path, count: int) -> None:
    folder = write(tmp_path / "a", **{str(number): as_png(ONE) for number in range(count)})
    hashes = FirstLoopConfig(compute_hash=True)
    assert len(names(done(tmp_path / "work", part_a=folder, first_loop=hashes))) == (count == 2)
    other = write(tmp_path / "b", one=as_png(ONE))
    assert len(names(done(tmp_path / "work", part_a=folder, part_b=other))) == count
    second = SecondLoopConfig(skip_matching_hash=True, match_aspect_by=0, keep_non_matching_aspects=True)
    assert (
        len(names(done(tmp_path / "work", part_a=folder, part_b=other, first_loop=hashes, second_loop=second))) == count
    )


def test_files_that_cannot_be_read_match_nothing(tmp_path: Path) -> None:
    cut = encoded(ONE, "JPEG")
    folder = write(
        tmp_path / "a", one=b"", two=b"", three=b"no picture", four=cut[: len(cut) // 2], black=as_png(flat(0))
    )
    job = done(tmp_path / "work", part_a=folder, second_loop=SecondLoopConfig(diff_threshold=1e6))
    assert names(job) == []
    told = {os.path.basename(path): why for path, why in job.db.get_directory_errors()}
    assert set(told) == {"one.png", "two.png", "three.png", "four.png"}
    assert all(told.values())


def test_a_first_loop_that_was_broken_off_goes_on(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", **{str(number): as_png(photo_like(number, 60, 40)) for number in range(6)})
    job = FastDifPy(part_a=folder, first_loop=FirstLoopConfig(compute_hash=True))
    job.full_index()

    def breaks(_: Any) -> str:
        raise KeyboardInterrupt

    job.hash_fn = breaks
    with pytest.raises(KeyboardInterrupt):
        job.first_loop()
    job.db.close()
    again = FastDifPy(part_a=folder)
    assert again.config.state is Progress.FIRST_LOOP_IN_PROGRESS
    again.first_loop()
    again.second_loop()
    assert len(again.db.hash_keys()) == 6
    again.test_cleanup()


def test_a_second_loop_by_an_own_function_goes_on_where_it_was(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", **{str(number): as_png(photo_like(number, 60, 40)) for number in range(6)})
    single = SecondLoopConfig(parallel=False, diff_threshold=1e6)
    job = FastDifPy(part_a=folder, second_loop=single)
    job.full_index()
    job.first_loop()
    calls: list[int] = []
    is_first = True

    def count(one: Any, other: Any, rotate: bool) -> float:
        calls.append(1)
        if len(calls) == 9 and is_first:  # in the second row, of 5 + 4 + 3 + 2 + 1
            raise KeyboardInterrupt
        return float(one.mean() - other.mean()) ** 2

    job.cpu_diff = count
    job._tick = job.commit  # type: ignore[method-assign] # else every five seconds
    with pytest.raises(KeyboardInterrupt):
        job.second_loop()
    job.db.close()
    again = FastDifPy(part_a=folder)
    assert isinstance(again.config.second_loop, SecondLoopRuntimeConfig)
    assert again.config.second_loop.cache_index == 1
    calls.clear()
    is_first = False
    again.cpu_diff = count
    again.second_loop()
    assert len(names(again)) == 15
    assert len(calls) == 4 + 3 + 2 + 1


def test_views_of_the_file_answer_in_sql(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", one=as_png(ONE), again=as_png(ONE), two=as_png(TWO), broken=b"no picture")
    (tmp_path / "a" / "note.txt").write_text("text")
    job = done(tmp_path / "work", part_a=folder, first_loop=FirstLoopConfig(compute_hash=True))
    path = job.db.path
    job.db.close()
    with sqlite3.connect(path) as database:
        found = {view: database.execute(f"SELECT * FROM {view}").fetchall() for view in VIEWS}
        columns = [column for column, *_ in database.execute("SELECT * FROM pairs").description]
    database.close()
    assert {view: len(rows) for view, rows in found.items()} == {
        "pairs": 1, "clusters_a": 1, "clusters_b": 1, "hash_clusters": 2, "unreadable_files": 1, "disallowed_files": 1,
    }  # fmt: skip
    assert f"`pairs` ({', '.join(columns)})" in DOCUMENT
    assert all(f"`{view}`" in DOCUMENT for view in VIEWS)


def test_command_line_as_a_program(tmp_path: Path) -> None:
    a = write(tmp_path / "a", one=as_png(ONE), two=as_png(TWO))
    b = write(tmp_path / "b", one=as_png(ONE))
    run = fastdiff("-a", a, "-b", b, "-o", tmp_path / "out.db")
    assert (run.returncode, run.stdout) == (0, f"{tmp_path}/out.db\n")
    assert len(list(SQLiteDB(str(tmp_path / "out.db")).get_duplicate_pairs(200))) == 1
    assert sorted(os.listdir(a)) == ["one.png", "two.png"]  # nothing is left behind
    for name, data in (("cut off", b'{"part_a": ["'), ("list", b"[]"), ("other", b'{"a": 1}')):
        (tmp_path / name).write_bytes(data)
    for words, said in (
        (["-R", tmp_path / "cut off"], "cut off holds no settings of a job"),
        (["-R", tmp_path / "list"], "list holds no settings of a job"),
        (["-R", tmp_path / "other"], "other holds no settings of a job: part_a: Field required"),
        (["-R", tmp_path / "a" / "one.png"], "one.png holds no settings of a job"),
        (["-a", a, "-m"], "needs --hash"),
        (["-a", tmp_path / "none"], "no such directory"),
        (["-a", a, "-S", "9"], "shift_amount"),
        (["-R", tmp_path], "nothing to go on with"),
        (["--export", "pairs", tmp_path / "a" / "one.png"], "cannot open"),
        (["--import", tmp_path / "out.db", "-t", tmp_path / "out.db"], "--temp_dir: cannot make"),
    ):
        refused(said, *words)
    assert fastdiff("-a", a, "-m").returncode == 2
    assert sorted(os.listdir(a)) == ["one.png", "two.png"]


def test_an_unfinished_job_is_gone_on_with_unless_somebody_says_otherwise(tmp_path: Path) -> None:
    a = write(tmp_path / "a", one=as_png(ONE), again=as_png(ONE), small=as_png(smaller(ONE)))
    job = FastDifPy(part_a=a, second_loop=SecondLoopConfig(diff_threshold=0), cli_args={"output_dir": str(tmp_path)})
    job.full_index()
    job.db.close()
    for answer, pairs in (("y\n", 3), ("n\n", 1)):
        if answer == "n\n":
            job = FastDifPy(
                part_a=a, second_loop=SecondLoopConfig(diff_threshold=0), cli_args={"output_dir": str(tmp_path)}
            )
            job.full_index()
            job.db.close()
        run = fastdiff("-a", a, "-o", tmp_path, stdin=None, input=answer)
        assert run.returncode == 0, run.stderr
        assert "Begin anew?" in run.stderr
        assert SQLiteDB(str(tmp_path / "fast_diff_py.db")).get_pair_count_diff() == pairs


def test_an_unfinished_job_is_not_gone_on_with_in_place_of_another_one_if_nobody_answers(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", one=as_png(ONE), again=as_png(ONE))
    job = FastDifPy(part_a=folder)
    job.full_index()
    job.db.close()
    run = fastdiff("-a", folder, "-T", "5", stdin=subprocess.DEVNULL)
    assert run.returncode == 2, run.stderr
    assert f"`-R {folder}` goes on with it, `-p` begins anew" in run.stderr
    assert not (tmp_path / "a" / "fast_diff_py.db").exists()
    assert fastdiff("-R", folder).returncode == 0


def test_a_database_that_cannot_be_used_is_an_error_in_words(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE directory (name)")
    folder = write(tmp_path / "a", one=as_png(ONE))
    small = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (8192, 8192))  # as on a disk that is nearly full
    for words, options in (
        (["--export", "disallowed_files", tmp_path / "other.db"], {}),
        (["-a", folder], {"preexec_fn": small}),
    ):
        run = fastdiff(*words, **options)
        assert (run.returncode, run.stdout, run.stderr.count("\n")) == (1, "", 1), run.stderr
        assert "cannot be used: " in run.stderr
    assert fastdiff("-R", folder).returncode == 0


def test_a_wrong_command_line_leaves_no_unfinished_job(tmp_path: Path) -> None:
    a, work = write(tmp_path / "a", one=as_png(ONE)), tmp_path / "work"
    for words, said in (
        (["-b", a], "is named twice"),
        (["-b", tmp_path], "lies inside"),
        (["-o", tmp_path / "a" / "one.png"], "is no database of fast-diff-py"),
        (["-o", tmp_path / "none" / "out.db"], f"no such directory: {tmp_path}/none"),
        (["-f", "-d"], "--no_compress goes with --hash"),
        (["-t", tmp_path / "a" / "one.png"], "--temp_dir: cannot make"),
    ):
        refused(said, "-a", a, "-t", work, *words)
        assert not work.exists() or os.listdir(work) == []


def test_ctrl_c_when_the_state_of_a_job_has_just_been_written_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "a", one=as_png(ONE))
    replace = os.replace

    def replace_and_be_interrupted(source: str, target: str) -> None:
        replace(source, target)
        raise KeyboardInterrupt

    job = FastDifPy(part_a=folder)
    monkeypatch.setattr(os, "replace", replace_and_be_interrupted)
    with pytest.raises(KeyboardInterrupt):
        job.commit()
    assert not [name for name in os.listdir(folder) if name.startswith(".task") and name != ".task.json"]


def test_ctrl_c_keeps_what_is_done(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", two=as_png(TWO))
    photo = encoded(photo_like(1, 900, 700), "JPEG")
    for number in range(300):  # contents of their own, so that each has to be decoded
        (tmp_path / "a" / f"{number}.jpg").write_bytes(photo + number.to_bytes(2, "little"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([*COMMAND, "-a", folder, "-C", "1"], stderr=subprocess.PIPE, env=environment, text=True)
    config = tmp_path / "a" / ".task.json"
    until(lambda: config.exists() and json.loads(config.read_text())["state"] == "first_loop_in_progress")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert said == f"dupwatch-fastdiff: interrupted: what is done is kept; `dupwatch-fastdiff -R {config}` goes on\n"
    run = fastdiff("-R", folder)
    assert run.returncode == 0, run.stderr
    db = SQLiteDB(run.stdout.strip())
    assert db.get_partition_entry_count(False) == 301
    assert db.get_pair_count_diff() == 300 * 299 // 2


def test_an_index_in_use_is_an_error_in_words(tmp_path: Path) -> None:
    job = FastDifPy(part_a=write(tmp_path / "a", one=as_png(ONE)), workdir=str(tmp_path))
    job.full_index()
    job.first_loop()
    with locked_state(str(tmp_path / ".temp_thumb")):
        with pytest.raises(StateInUseError):
            job.first_loop()
        with pytest.raises(StateInUseError):
            job.cleanup()
        assert (tmp_path / ".temp_thumb" / "dupwatch.sqlite").exists()


def test_an_index_of_dupwatch_is_neither_changed_nor_removed(tmp_path: Path) -> None:
    folder, state = write(tmp_path / "a", one=as_png(ONE)), tmp_path / "state"
    scan(Path(folder), state=state)
    before = sorted(os.listdir(state))
    job = FastDifPy(config=Config(part_a=folder, thumb_dir=str(state)), workdir=str(tmp_path))
    job.full_index()
    with pytest.raises(ValueError, match="name a directory that is new or empty"):
        job.first_loop()
    with pytest.raises(ValueError, match="not removed"):
        job.cleanup()
    with pytest.raises(ValueError, match="not removed"):
        FastDifPy(config=job.config, purge=True)
    assert sorted(os.listdir(state)) == before


@pytest.mark.parametrize("value", [float("nan"), -0.5, -5.0])
def test_what_is_no_difference_is_told_as_an_error(tmp_path: Path, value: float) -> None:
    folder = write(tmp_path / "a", one=as_png(ONE), two=as_png(TWO))
    job = FastDifPy(config=Config(part_a=folder), purge=True, workdir=str(tmp_path))
    job.cpu_diff = lambda *_: value
    job.full_index()
    job.first_loop()
    job.second_loop()
    [(_, _, said)] = job.db.get_dif_errors()
    assert f"not {value!r}" in said
    assert list(job.get_diff_pairs()) == []
    job.cleanup()


def test_a_result_in_place_of_the_database_of_the_job_is_refused_at_once(tmp_path: Path) -> None:
    folder, work = write(tmp_path / "a", one=as_png(ONE)), tmp_path / "work"
    run = fastdiff("-a", folder, "-t", work, "-o", work / ".fast_diff.db")
    assert (run.returncode, len(run.stderr.splitlines())) == (2, 1)
    assert "is the database of the job" in run.stderr
