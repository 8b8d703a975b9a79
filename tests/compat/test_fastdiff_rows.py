"""Each row of the tables in docs/fastdiff.md: what it says of a flag, a setting or a function is so."""

import json
import logging
import os
import re
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dupwatchd.compat import fastdiff_cli as cli
from dupwatchd.compat.difpy_files import EXTENSIONS
from dupwatchd.compat.fastdiff import (
    Config,
    FastDifPy,
    FirstLoopConfig,
    FirstLoopRuntimeConfig,
    Progress,
    SecondLoopConfig,
    SecondLoopRuntimeConfig,
    SQLiteDB,
)
from dupwatchd.errors import UsageError
from tests.compat.pictures import ONE, THREE, TWO, as_png, flat, smaller
from tests.conftest import encoded

DOCUMENT = (Path(__file__).parent.parent.parent / "docs" / "fastdiff.md").read_text().partition("## Where ")[0]
RowTest = Callable[["Place"], None]
ROWS: dict[tuple[str, str], RowTest] = {}


def documented_rows() -> list[tuple[str, str]]:
    """Section and first name of each row."""
    found, section = [], ""
    for line in DOCUMENT.splitlines():
        if line.startswith("## "):
            section = line[3:].split("`")[1] if "`" in line else line[3:]
        if row := re.match(r"\| `([^`]+)`", line):
            found.append((section, row[1]))
    return found


def row(section: str, *names: str) -> Callable[[RowTest], RowTest]:
    def register(test: RowTest) -> RowTest:
        for name in names:
            assert (section, name) not in ROWS
            ROWS[section, name] = test
        return test

    return register


class Place:
    """Photos, a folder for what jobs leave, and what they say."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys
        self.a, self.b, self.work = folder / "a", folder / "b", folder / "work"
        self.work.mkdir()
        a = {
            "one.png": as_png(ONE), "two.png": as_png(TWO), "deeper/three.png": as_png(THREE), "note.txt": b"text",
            "deeper/broken.jpg": b"no picture",
        }  # fmt: skip
        b = {
            "one-again.png": as_png(ONE), "one-turned.png": as_png(np.rot90(ONE)),
            "two-small.png": as_png(smaller(TWO)), "two.bmp": encoded(TWO, "BMP"),
            "black.png": as_png(flat(0)), "white.png": as_png(flat(255)),
        }  # fmt: skip
        for part, files in ((self.a, a), (self.b, b)):
            for name, data in files.items():
                (part / name).parent.mkdir(parents=True, exist_ok=True)
                (part / name).write_bytes(data)

    def config(self, **settings: Any) -> Config:
        return Config(**{"part_a": str(self.a), "part_b": [str(self.b)], **settings})

    def job(self, config: Config | None = None, until: int = 3, **more: Any) -> FastDifPy:
        made = FastDifPy(config=config or self.config(), workdir=str(self.work), **{"purge": True, **more})
        for step in (made.full_index, made.first_loop, made.second_loop)[:until]:
            step()
        return made

    def command(self, *words: object) -> SQLiteDB:
        """Run the command line, whose result goes to `out.db`."""
        cli._run(cli.parser().parse_args([*map(str, words), "-o", str(self.folder / "out.db")]))
        return SQLiteDB(str(self.folder / "out.db"))

    @property
    def ab(self) -> list[object]:
        return ["-a", self.a, "-b", self.b, "-t", self.work]

    def said(self) -> str:
        return self._capsys.readouterr().err

    def out(self) -> str:
        return self._capsys.readouterr().out


def names(pairs: Any) -> set[tuple[str, ...]]:
    """Of each pair the names of both files, in order."""
    return {tuple(sorted(os.path.basename(path) for path in pair[:2])) for pair in pairs}


ONES = {("one-again.png", "one.png"), ("one-turned.png", "one.png")}
ALL = ONES | {("two-small.png", "two.png")}
EVERY = 1e6  # more than two thumbnails can differ


def allowed(db: SQLiteDB) -> set[str]:
    return {os.path.basename(path) for _, path, _ in db.allowed_files()}


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Place:
    return Place(tmp_path, capsys)


def test_every_row_has_a_test_and_every_test_a_row() -> None:
    assert sorted(ROWS) == sorted(documented_rows())


def distinct_tests() -> list[Any]:
    """Each test once, under the names of all of its rows."""
    rows: dict[RowTest, list[str]] = {}
    for (section, name), test in ROWS.items():
        rows.setdefault(test, [section]).append(name)
    return [pytest.param(test, id=" ".join(names)) for test, names in rows.items()]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "row_test" in metafunc.fixturenames:  # not by a mark: the rows stand below
        metafunc.parametrize("row_test", distinct_tests())


def test_row(row_test: RowTest, place: Place) -> None:
    row_test(place)


def test_each_flag_has_a_row_in_both_spellings() -> None:
    flags = {tuple(action.option_strings) for action in cli.parser()._actions if action.option_strings}
    told = {
        tuple(re.findall(r"`(--?\w+)`", line.split(" | ")[0]))
        for line in DOCUMENT.splitlines()
        if line.startswith("| `-")
    }
    assert flags - {("-h", "--help")} == told


def test_each_field_has_a_row() -> None:
    of_config = {name for section, name in documented_rows() if section == "Config"}
    of_first = {name for section, name in documented_rows() if section == "FirstLoopConfig"}
    of_second = {name for section, name in documented_rows() if section == "SecondLoopConfig"}
    assert of_config == set(Config.model_fields)
    assert of_first == set(FirstLoopRuntimeConfig.model_fields)
    assert of_second == set(SecondLoopRuntimeConfig.model_fields)


# the command line


@row("Command line", "-R")
def _(place: Place) -> None:
    job = place.job(place.config(cli_args={"output_dir": str(place.folder / "out.db")}), until=2)
    job.db.close()
    assert names(place.command("-R", place.work).get_duplicate_pairs(200)) == ALL
    assert os.listdir(place.work) == []
    with pytest.raises(UsageError, match="nothing to go on with"):
        place.command("-R", place.work)
    job = place.job(place.config(cli_args={"output_dir": str(place.folder / "out.db")}), until=1)
    job.db.close()
    assert names(place.command("-R", place.work / ".task.json").get_duplicate_pairs(200)) == ALL


@row("Command line", "-a", "-b")
def _(place: Place) -> None:
    assert names(place.command(*place.ab).get_duplicate_pairs(200)) == ALL
    in_b = place.command("-a", place.b, "-t", place.work)
    assert names(in_b.get_duplicate_pairs(200)) == {("one-again.png", "one-turned.png")}
    both = place.command("-a", place.a, place.b, "-t", place.work)
    assert names(both.get_duplicate_pairs(200)) == ALL | {("one-again.png", "one-turned.png")}
    with pytest.raises(UsageError, match="partition a"):
        place.command("-b", place.b)


@row("Command line", "-r")
def _(place: Place) -> None:
    assert "three.png" not in allowed(place.command(*place.ab, "-r"))
    assert "three.png" in allowed(place.command(*place.ab))


@row("Command line", "-c")
def _(place: Place) -> None:
    place.command(*place.ab, "-c", 100)
    assert "compared at 96 px" in place.said()
    for wrong in (15, 4097):
        with pytest.raises(UsageError, match="from 16 to 4096"):
            place.command(*place.ab, "-c", wrong)


@row("Command line", "-p")
def _(place: Place) -> None:
    place.job(until=1).db.close()
    assert names(place.command(*place.ab, "-p", "-T", 0).get_duplicate_pairs(200)) == ONES  # and not the job of 200


@row("Command line", "-C")
def _(place: Place) -> None:
    settings = cli._settings(cli.parser().parse_args(["-a", "a", "-C", "3"]))
    assert settings["first_loop"]["cpu_proc"] == settings["second_loop"]["cpu_proc"] == 3
    with pytest.raises(UsageError, match="1 at least"):
        place.command(*place.ab, "-C", 0)


@row("Command line", "-v")
def _(place: Place) -> None:
    assert cli._settings(cli.parser().parse_args(["-a", "a", "-v"]))["log_level"] == logging.DEBUG


@row("Command line", "-H", "-S")
def _(place: Place) -> None:
    assert place.command(*place.ab).get_hash_cluster_count() == 0
    clusters = dict(place.command(*place.ab, "-H", "-S", 0).get_all_hash_clusters())
    assert [{os.path.basename(path) for path in paths} for paths in clusters.values()] == [
        {"one.png", "one-again.png", "one-turned.png"}
    ]
    shifted = dict(place.command(*place.ab, "-H", "-S", 7).get_all_hash_clusters())
    assert not set(shifted) & set(clusters)
    with pytest.raises(UsageError, match="shift_amount"):
        place.command(*place.ab, "-H", "-S", 8)


@row("Command line", "-f", "-d")
def _(place: Place) -> None:
    db = place.command(*place.ab, "-H", "-f", "-d")
    assert (db.get_hash_cluster_count(), db.get_pair_count_diff()) == (1, 0)
    with pytest.raises(UsageError, match="comparing needs thumbnails"):
        place.command(*place.ab, "-f")


@row("Command line", "-m")
def _(place: Place) -> None:
    db = place.command(*place.ab, "-H", "-m")
    assert names(db.get_duplicate_pairs(200, include_hash_match=True)) == ALL
    assert ("one-turned.png", "one.png") not in names(db.get_duplicate_pairs(200))
    with pytest.raises(UsageError, match="needs --hash"):
        place.command(*place.ab, "-m")


@row("Command line", "-M")
def _(place: Place) -> None:
    assert names(place.command(*place.ab, "-M", 0).get_duplicate_pairs(200)) == ONES
    assert names(place.command(*place.ab, "-M", 1.01).get_duplicate_pairs(200)) == ALL
    with pytest.raises(UsageError, match=r"--match_aspect must be 0, or a factor from 1 on, not 0\.5"):
        place.command(*place.ab, "-M", 0.5)


@row("Command line", "-T")
def _(place: Place) -> None:
    assert names(place.command(*place.ab, "-T", 0).get_duplicate_pairs(200)) == ONES
    assert place.command(*place.ab, "-T", EVERY).get_pair_count_diff() == 3 * 5
    with pytest.raises(UsageError, match="diff_threshold"):
        place.command(*place.ab, "-T", -1)


@row("Command line", "-l")
def _(place: Place) -> None:
    place.command(*place.ab, "-l", 5)
    assert "preload_count has no meaning" in place.said()


@row("Command line", "-t")
def _(place: Place) -> None:
    new = place.folder / "new" / "one"
    place.command("-a", place.a, "-b", place.b, "-t", new)
    assert os.listdir(new) == []
    assert sorted(os.listdir(place.a)) == ["deeper", "note.txt", "one.png", "two.png"]


@row("Command line", "-o")
def _(place: Place) -> None:
    cli._run(cli.parser().parse_args([*map(str, place.ab), "-o", str(place.folder)]))
    assert place.out() == f"{place.folder}/fast_diff_py.db\n"
    cli._run(cli.parser().parse_args([*map(str, place.ab), "-o", str(place.folder)]))  # its own file is replaced
    (place.folder / "photo.jpg").write_bytes(as_png(ONE))
    with pytest.raises(UsageError, match="not replaced"):
        cli._run(cli.parser().parse_args([*map(str, place.ab), "-o", str(place.folder / "photo.jpg")]))


@row("Command line", "--export", "--format")
def _(place: Place) -> None:
    path = place.command(*place.ab, "-H").path
    place.out()
    cli._run(cli.parser().parse_args(["--export", "pairs", "--format", "ndjson", path]))
    rows = [json.loads(line) for line in place.out().splitlines()]
    assert names((one["path_a"], one["path_b"]) for one in rows) == ALL
    for what in cli.EXPORTS:
        cli._run(cli.parser().parse_args(["--export", what, path]))
        header, *lines = place.out().splitlines()
        assert "path" in header
        assert lines
    empty = place.command("-a", place.a / "deeper", "-t", place.work).path
    for what, header in (("clusters_a", "cluster,head,path,dif,by_hash"), ("disallowed_files", "path")):
        cli._run(cli.parser().parse_args(["--export", what, empty]))
        assert place.out().splitlines()[-1] == header
    with pytest.raises(UsageError, match="name a database"):
        cli._run(cli.parser().parse_args(["--export", "pairs"]))


@row("Command line", "--import")
def _(place: Place) -> None:
    path = place.command(*place.ab, "-T", EVERY).path
    (place.b / "two-small.png").unlink()
    place.out()
    cli._run(cli.parser().parse_args(["--import", "--format", "ndjson", path]))
    rows = {
        next(iter(names([(one["path_a"], one["path_b"])]))): one for one in map(json.loads, place.out().splitlines())
    }
    assert len(rows) == 3 * 5
    assert rows["one-again.png", "one.png"]["verdict"] == "identical"
    turned = rows["one-turned.png", "one.png"]
    assert (turned["verdict"], turned["confirmed"], turned["dif_now"]) == ("same", True, turned["dif"])
    assert rows["black.png", "one.png"]["verdict"] is None
    gone = rows["two-small.png", "two.png"]
    assert (gone["dif_now"], gone["verdict"]) == (None, None)


# Config


@row("Config", "part_a", "part_b")
def _(place: Place) -> None:
    for part_b in (str(place.b), [str(place.b)]):
        assert names(place.job(place.config(part_b=part_b)).get_diff_pairs()) == ALL
    with pytest.raises(ValueError, match="inside"):
        place.job(place.config(part_b=str(place.a / "deeper")))
    with pytest.raises(ValueError, match="named twice"):
        place.job(place.config(part_b=f"{place.a}/"))
    with pytest.raises(FileNotFoundError):
        place.job(place.config(part_b=str(place.folder / "none")))


@row("Config", "recurse")
def _(place: Place) -> None:
    for settings in ({"recurse": False}, {"recursive": False}):
        config = place.config(**settings)
        assert config.recursive is config.recurse is False
        assert "three.png" not in allowed(place.job(config, until=1).db)
    config.recursive = True
    assert "three.png" in allowed(place.job(config, until=1).db)


@row("Config", "rotate")
def _(place: Place) -> None:
    assert names(place.job(place.config(rotate=False)).get_diff_pairs()) == ALL - {("one-turned.png", "one.png")}
    for quarters in range(4):
        (place.b / f"{quarters}.png").write_bytes(as_png(np.rot90(TWO, quarters)))
    found = names(place.job().get_diff_pairs())
    assert {(f"{quarters}.png", "two.png") for quarters in range(4)} <= found


@row("Config", "ignore_names", "ignore_paths")
def _(place: Place) -> None:
    for settings in (
        {"ignore_names": ["two.png", "deeper"]},
        {"ignore_paths": [str(place.a / "two.png"), str(place.a / "deeper")]},
    ):
        db = place.job(place.config(**settings), until=1).db
        assert allowed(db) & {"one.png", "two.png", "three.png"} == {"one.png"}
        assert str(place.a / "two.png") in set(db.get_directory_disallowed())


@row("Config", "allowed_file_extensions")
def _(place: Place) -> None:
    assert {one[1:] for one in place.config().allowed_file_extensions} == EXTENSIONS
    assert "two.bmp" not in allowed(place.job(until=1).db)
    config = place.config(allowed_file_extensions=[".PNG", ".bmp"])
    assert names(place.job(config).get_diff_pairs(0)) == ONES | {("two.bmp", "two.png")}


@row("Config", "db_path", "config_path")
def _(place: Place) -> None:
    db, config = place.folder / "my.db", place.folder / "my.json"
    place.job(place.config(db_path=str(db), config_path=str(config)))
    assert names(SQLiteDB(str(db)).get_duplicate_pairs(200)) == ALL
    assert Config.model_validate_json(config.read_text()).state is Progress.SECOND_LOOP_DONE


@row("Config", "thumb_dir")
def _(place: Place) -> None:
    thumbs = place.folder / "thumbs"
    job = place.job(place.config(thumb_dir=str(thumbs)), until=2)
    assert {"blocks", "dupwatch.sqlite"} <= set(os.listdir(thumbs))
    assert job.read_thumbnails([str(place.a / "one.png")]).shape == (1, 64, 64, 3)


@row("Config", "first_loop", "second_loop")
def _(place: Place) -> None:
    first, second = FirstLoopConfig(compute_hash=True), SecondLoopConfig(diff_threshold=0)
    job = place.job(place.config(first_loop=first, second_loop=second))
    assert job.db.get_hash_cluster_count() == 1
    assert names(job.get_diff_pairs()) == ONES
    assert (type(job.config.first_loop), type(job.config.second_loop)) == (FirstLoopConfig, SecondLoopConfig)


@row("Config", "do_second_loop")
def _(place: Place) -> None:
    job = place.job(place.config(do_second_loop=False))
    assert (job.config.state, job.db.get_pair_count_diff()) == (Progress.FIRST_LOOP_DONE, 0)


@row("Config", "retain_progress", "delete_db", "delete_thumb")
def _(place: Place) -> None:
    files = {"retain_progress": ".task.json", "delete_db": ".fast_diff.db", "delete_thumb": ".temp_thumb"}
    for setting, name in files.items():
        job = place.job(place.config(**{"retain_progress": False, setting: setting == "retain_progress"}))
        job.cleanup()
        assert os.listdir(place.work) == [name], setting
    (place.folder / "letters.db").write_text("my letters")
    with sqlite3.connect(place.folder / "people.db") as database:
        database.execute("CREATE TABLE directory (name)")
    database.close()
    for file in ("letters.db", "people.db"):
        for purge in (True, False):
            with pytest.raises(ValueError, match="neither filled nor removed"):
                place.job(place.config(db_path=str(place.folder / file)), until=0, purge=purge)
    with pytest.raises(ValueError, match="not removed"):
        place.job(place.config(thumb_dir=str(place.a)), until=0)
    assert (place.a / "one.png").exists()
    assert (place.folder / "letters.db").read_text() == "my letters"
    with pytest.raises(ValueError, match="neither replaced nor removed"):
        place.job(place.config(config_path=str(place.a / "note.txt")), until=0)


@row("Config", "compression_target")
def _(place: Place) -> None:
    for asked, side in ((64, 64), (48, 48), (70, 64), (1000, 128)):
        job = place.job(place.config(compression_target=asked), until=2)
        assert job.read_thumbnails([str(place.a / "one.png")]).shape == (1, side, side, 3)
        assert ("nearest side" in place.said()) == (asked != side)


@row("Config", "dir_index_lookup")
def _(place: Place) -> None:
    job = place.job(until=1)
    lookup = job.config.dir_index_lookup
    assert lookup is not None
    for path, index in job.db.connection.execute("SELECT path, dir_index FROM directory"):
        assert path.startswith(lookup[index] + "/")


@row("Config", "partition_swapped")
def _(place: Place) -> None:
    assert not place.job(until=1).config.partition_swapped
    job = place.job(place.config(part_a=str(place.b), part_b=str(place.a)))
    assert job.config.partition_swapped
    assert (job.config.part_a, job.config.part_b) == ([str(place.a)], [str(place.b)])
    keys = [(key, part_b) for key, _, part_b in job.db.allowed_files()]
    assert keys == [(key, key >= 4) for key in range(9)]
    assert names(job.get_diff_pairs()) == ALL


@row("Config", "dir_index_elapsed")
def _(place: Place) -> None:
    assert place.job(until=1).config.dir_index_elapsed > 0


@row("Config", "batch_size_dir", "batch_size_max_fl", "batch_size_max_sl", "child_proc_timeout", "log_level_children")
def _(place: Place) -> None:
    names_of = ("batch_size_dir", "batch_size_max_fl", "batch_size_max_sl", "child_proc_timeout", "log_level_children")
    place.job(until=0)
    assert "no meaning" not in place.said()
    for name in names_of:
        place.job(place.config(**{name: 5}), until=0)
        assert f"{name} has no meaning here" in place.said()


@row("Config", "log_level")
def _(place: Place) -> None:
    place.job(place.config(log_level=logging.INFO), until=2)
    assert "files read" in place.said()
    place.job(place.config(log_level=logging.ERROR), until=2)
    assert place.said() == ""


@row("Config", "state")
def _(place: Place) -> None:
    reached = [place.job(until=steps).config.state for steps in range(4)]
    assert reached == [
        Progress.INIT, Progress.INDEXED_DIRS, Progress.FIRST_LOOP_DONE, Progress.SECOND_LOOP_DONE
    ]  # fmt: skip
    assert reached[-1] == "second_loop_done"


@row("Config", "cli_args")
def _(place: Place) -> None:
    job = place.job(place.config(cli_args={"output_dir": "x"}), until=1)
    job.db.close()
    assert FastDifPy(default_cfg_path=str(place.work / ".task.json")).config.cli_args == {"output_dir": "x"}


# the loops


@row("FirstLoopConfig", "compress")
def _(place: Place) -> None:
    with pytest.raises(ValueError, match="compress must be on"):
        place.job(place.config(first_loop=FirstLoopConfig(compress=False, compute_hash=True)))
    with pytest.raises(ValueError, match="nothing to do"):
        place.job(place.config(first_loop=FirstLoopConfig(compress=False)))


@row("FirstLoopConfig", "compute_hash")
def _(place: Place) -> None:
    for wanted in (False, True):
        job = place.job(place.config(first_loop=FirstLoopConfig(compute_hash=wanted)), until=2)
        assert bool(job.db.hash_keys()) == wanted


@row("FirstLoopConfig", "shift_amount")
def _(place: Place) -> None:
    seen: list[Any] = []

    def keep(array: Any) -> str:
        seen.append(array)
        return str(len(seen))

    def first(shift: int) -> Any:
        seen.clear()
        first_loop = FirstLoopConfig(compute_hash=True, shift_amount=shift)
        config = place.config(part_b=[], rotate=False, first_loop=first_loop)
        job = place.job(config, until=1)
        job.hash_fn = keep
        job.first_loop()
        return seen[0]

    plain = first(0)
    assert np.array_equal(first(3), plain >> 3)
    assert np.array_equal(first(-3), plain << 3)
    for wrong in (8, -8):
        with pytest.raises(ValueError, match="shift_amount"):
            FirstLoopConfig(shift_amount=wrong)


@row("FirstLoopConfig", "parallel", "cpu_proc")
def _(place: Place) -> None:
    from dupwatchd.compat.fastdiff_reading import index_of

    for parallel, workers in ((True, 3), (False, 1)):
        config = place.config(first_loop=FirstLoopConfig(cpu_proc=3, parallel=parallel), thumb_dir=str(place.work))
        assert index_of(config, []).settings.index.workers == workers
    with pytest.raises(ValueError, match="cpu_proc"):
        FirstLoopConfig(cpu_proc=0)


@row("FirstLoopConfig", "elapsed_seconds")
def _(place: Place) -> None:
    assert place.job(until=2).config.first_loop.elapsed_seconds > 0


@row("FirstLoopConfig", "batch_size", "start_dt", "total", "done")
def _(place: Place) -> None:
    job = place.job(until=1)
    seen: list[FirstLoopRuntimeConfig] = []

    def look(_: Any) -> str:
        assert isinstance(job.config.first_loop, FirstLoopRuntimeConfig)
        seen.append(job.config.first_loop)
        return ""

    job.hash_fn = look
    given = FirstLoopRuntimeConfig(compute_hash=True, batch_size=7)
    job.first_loop(given)
    assert "batch_size has no meaning here" in place.said()
    assert (seen[0].total, seen[0].done) == (9, 0)
    assert seen[0].start_dt > given.start_dt


@row("SecondLoopConfig", "skip_matching_hash")
def _(place: Place) -> None:
    (place.b / "tall.png").write_bytes(as_png(np.asarray(ONE)[:, ::2]))  # other sides
    config = place.config(
        first_loop=FirstLoopConfig(compute_hash=True, shift_amount=7),
        second_loop=SecondLoopConfig(skip_matching_hash=True, match_aspect_by=0, diff_threshold=0),
    )
    job = place.job(config)
    kinds = {
        pair: success
        for *keys, success in job.db.connection.execute(
            "SELECT a.path, b.path, d.success FROM dif_table AS d "
            "JOIN directory AS a ON a.key = key_a JOIN directory AS b ON b.key = key_b"
        )
        for pair in names([keys])
    }
    assert kinds["one-again.png", "one.png"] == 1  # equal thumbnails count as compared
    assert kinds["one-turned.png", "one.png"] == 2
    with pytest.raises(ValueError, match="it needs first_loop"):
        place.job(place.config(second_loop=SecondLoopConfig(skip_matching_hash=True)))


@row("SecondLoopConfig", "match_aspect_by")
def _(place: Place) -> None:
    for by, found in ((0, ONES), (1, ALL), (None, ALL)):
        assert (
            names(place.job(place.config(second_loop=SecondLoopConfig(match_aspect_by=by))).get_diff_pairs()) == found
        )
    with pytest.raises(ValueError, match="match_aspect_by"):
        SecondLoopConfig(match_aspect_by=0.9)


@row("SecondLoopConfig", "make_diff_plots", "plot_output_dir", "plot_threshold")
def _(place: Place) -> None:
    from PIL import Image

    red, blue = np.zeros((40, 60, 3), np.uint8), np.zeros((40, 60, 3), np.uint8)
    red[..., 0], blue[..., 2] = 255, 255
    (place.a / "red.png").write_bytes(as_png(red))
    (place.b / "blue.png").write_bytes(as_png(blue))
    plots = place.folder / "plots"
    settings: dict[str, Any] = {"make_diff_plots": True, "plot_output_dir": str(plots)}
    job = place.job(place.config(second_loop=SecondLoopConfig(**settings, diff_threshold=0, plot_threshold=EVERY)))
    keys = {os.path.basename(path): key for key, path, _ in job.db.allowed_files()}
    assert len(os.listdir(plots)) == 4 * 6
    assert job.db.get_pair_count_diff() == len(ONES)
    with Image.open(plots / f"{keys['red.png']}_{keys['blue.png']}.png") as plot:
        colours = {colour for _, colour in plot.getcolors(1 << 20) or []}
        assert {(255, 0, 0), (0, 0, 255)} <= colours
        assert plot.getpixel((40, plot.height - 40)) == (255, 0, 0)  # partition a on the left
    default = place.folder / "default"
    place.job(place.config(second_loop=SecondLoopConfig(make_diff_plots=True, plot_output_dir=str(default))))
    assert len(os.listdir(default)) == len(ALL)
    with pytest.raises(ValueError, match="plot_output_dir"):
        place.job(place.config(second_loop=SecondLoopConfig(make_diff_plots=True)))


@row("SecondLoopConfig", "parallel", "cpu_proc")
def _(place: Place) -> None:
    for second in (SecondLoopConfig(parallel=False), SecondLoopConfig(cpu_proc=2)):
        assert names(place.job(place.config(second_loop=second)).get_diff_pairs()) == ALL
    with pytest.raises(ValueError, match="1 at least"):
        place.job(place.config(second_loop=SecondLoopConfig(cpu_proc=0)))


@row("SecondLoopConfig", "diff_threshold")
def _(place: Place) -> None:
    job = place.job(place.config(second_loop=SecondLoopConfig(diff_threshold=EVERY)))
    black, white = (str(place.b / name) for name in ("black.png", "white.png"))
    values = {(path_a, path_b): dif for path_a, path_b, dif in job.get_diff_pairs()}
    one = str(place.a / "one.png")
    assert len(values) == 3 * 5
    thumbnail = job.read_thumbnails([one])[0].astype(np.float64)
    assert values[one, black] == (thumbnail**2).sum() / 64**2  # summed over the channels
    assert values[one, white] == ((255 - thumbnail) ** 2).sum() / 64**2


@row("SecondLoopConfig", "gpu_proc")
def _(place: Place) -> None:
    from dupwatchd.compat.fastdiff_reading import index_of

    job = place.job(place.config(second_loop=SecondLoopConfig(gpu_proc=1)))
    assert names(job.get_diff_pairs()) == ALL
    assert index_of(job.config, []).settings.compare.device == "cuda"


@row("SecondLoopConfig", "keep_non_matching_aspects")
def _(place: Place) -> None:
    second = SecondLoopConfig(match_aspect_by=0, keep_non_matching_aspects=True)
    job = place.job(place.config(second_loop=second))
    kept = job.db.connection.execute("SELECT dif, success, count(*) FROM dif_table GROUP BY 1, 2 ORDER BY 2").fetchall()
    assert kept == [(0.0, 1, 2), (-1.0, 3, 3 * 3)]
    assert names(job.get_diff_pairs()) == ONES


@row("SecondLoopConfig", "elapsed_seconds")
def _(place: Place) -> None:
    assert place.job().config.second_loop.elapsed_seconds > 0


@row("SecondLoopConfig", "batch_size", "preload_count", "finished_cache_index")
def _(place: Place) -> None:
    job = place.job(until=2)
    job.second_loop(SecondLoopRuntimeConfig(batch_size=1, preload_count=9, finished_cache_index=1))
    said = place.said()
    assert all(
        f"{name} has no meaning here" in said for name in ("batch_size", "preload_count", "finished_cache_index")
    )
    with pytest.raises(ValueError, match="preload_count"):
        SecondLoopConfig(preload_count=1)


@row("SecondLoopConfig", "cache_index", "start_dt", "total", "done")
def _(place: Place) -> None:
    job = place.job(until=2)
    seen: list[tuple[int, int]] = []

    def look(*_: Any) -> float:
        loop = job.config.second_loop
        assert isinstance(loop, SecondLoopRuntimeConfig)
        seen.append((loop.total, loop.done))
        return 1.0

    job.cpu_diff = look
    given = SecondLoopRuntimeConfig(parallel=False)
    job.second_loop(given)
    assert seen == [(15, 0)] * 15
    loop = SecondLoopRuntimeConfig(cache_index=2)
    job.config.state, job.config.second_loop = Progress.SECOND_LOOP_IN_PROGRESS, loop
    job.db.clear_differences()
    job.second_loop()
    assert {key for key, *_ in job.db.connection.execute("SELECT key_a FROM dif_table")} == {
        3
    }  # row 2 of 0, 1, 2 and 4: key 2 cannot be read


# FastDifPy


@row("FastDifPy", "config", "part_a", "part_b", "workdir")
def _(place: Place) -> None:
    job = FastDifPy(part_a=str(place.a), part_b=str(place.b), workdir=str(place.work), rotate=False)
    assert (job.config.part_b, job.config.rotate) == (str(place.b), False)
    assert job.config.db_path == str(place.work / ".fast_diff.db")
    job.cleanup()
    alone = FastDifPy(part_a=[str(place.a)])
    assert alone.config.db_path == str(place.a / ".fast_diff.db")
    alone.test_cleanup()
    with pytest.raises(ValueError, match="part_a"):
        FastDifPy()
    with pytest.raises(FileNotFoundError, match="no such directory"):
        FastDifPy(part_a=str(place.folder / "none"))
    with pytest.raises(ValueError, match="rotat"):
        FastDifPy(part_a=str(place.a), rotat=False)


@row("FastDifPy", "default_cfg_path")
def _(place: Place) -> None:
    place.job(until=2).db.close()
    job = FastDifPy(default_cfg_path=str(place.work / ".task.json"))
    job.second_loop()
    assert names(job.get_diff_pairs()) == ALL
    job.db.close()
    assert FastDifPy(part_a=str(place.a), workdir=str(place.work)).config.state is Progress.SECOND_LOOP_DONE


@row("FastDifPy", "purge")
def _(place: Place) -> None:
    place.job().db.close()
    assert place.job(until=0).db.dir_table_exists() is False
    again = place.job(place.config(), until=0, purge=False)
    again.full_index()
    again.full_index()
    assert len(again.db.allowed_files()) == 9


@row("FastDifPy", "db_inst", "test_mode", "gpu_worker_class")
def _(place: Place) -> None:
    for wrong in ({"db_inst": SQLiteDB}, {"test_mode": True}):
        with pytest.raises(ValueError, match="not taken over"):
            FastDifPy(part_a=str(place.a), **wrong)
    job = place.job(until=2)
    job.gpu_worker_class = object  # type: ignore[assignment]
    with pytest.raises(ValueError, match="not taken over"):
        job.second_loop()


@row("FastDifPy", "hash_fn")
def _(place: Place) -> None:
    job = place.job(place.config(first_loop=FirstLoopConfig(compute_hash=True, shift_amount=0)), until=1)
    job.hash_fn = lambda bgr: f"{bgr.mean():.0f}"
    job.first_loop()
    hashes = dict(job.db.get_all_hash_clusters())
    assert str(place.a / "one.png") in hashes[f"{job.read_thumbnails([str(place.a / 'one.png')]).mean():.0f}"]
    seen: list[Any] = []

    def keep(bgr: Any) -> str:
        seen.append(bgr)
        return ""

    job.hash_fn = keep
    job.first_loop()
    rgb = job.read_thumbnails([str(place.a / "one.png")])[0]
    assert any(np.array_equal(array, rgb[..., ::-1]) for array in seen)


@row("FastDifPy", "cpu_diff", "gpu_diff")
def _(place: Place) -> None:
    def brightness(one: Any, other: Any, rotate: bool) -> float:
        assert rotate
        return abs(float(one.mean()) - float(other.mean()))

    def fails(one: Any, other: Any, rotate: bool) -> float:
        if other.mean() == 0:
            raise ValueError("too dark")
        return brightness(one, other, rotate)

    job = place.job(until=2)
    job.cpu_diff = fails
    job.second_loop(SecondLoopConfig(diff_threshold=EVERY))
    assert job.db.get_cluster_count(EVERY) == 3
    assert [(os.path.basename(b or ""), "too dark" in error) for _, b, error in job.db.get_dif_errors()] == [
        ("black.png", True)
    ] * 3
    assert len(list(job.get_diff_pairs())) == 3 * 4
    job.gpu_diff = lambda *_: 7.0
    job.second_loop(SecondLoopConfig(gpu_proc=1))
    assert {dif for *_, dif in job.get_diff_pairs()} == {7.0}


@row("FastDifPy", "full_index")
def _(place: Place) -> None:
    job = place.job(until=1)
    assert allowed(job.db) == {
        "one.png", "two.png", "three.png", "broken.jpg", "one-again.png", "one-turned.png", "two-small.png",
        "black.png", "white.png",
    }  # fmt: skip
    assert {os.path.basename(one) for one in job.db.get_directory_disallowed()} == {"note.txt", "two.bmp"}


@row("FastDifPy", "index_preamble", "populate_partition", "index_epilogue")
def _(place: Place) -> None:
    job = place.job(until=0)
    job.index_preamble()
    assert job.populate_partition([str(place.a / "one.png"), str(place.a / "none.png")]) == 2
    assert job.populate_partition([str(place.b / "two.bmp"), str(place.b / "one-turned.png")], part_a=False) == 2
    job.populate_partition([str(place.a / "note.txt")], check_ext=True)
    job.populate_partition([str(place.a / "one.png")], part_a=False)  # in both: it makes no pair with itself
    job.index_epilogue()
    assert set(job.db.get_directory_disallowed()) == {str(place.a / "none.png"), str(place.a / "note.txt")}
    job.first_loop()
    job.second_loop()
    assert names(job.get_diff_pairs()) == {("one-turned.png", "one.png")}


@row("FastDifPy", "first_loop", "second_loop")
def _(place: Place) -> None:
    job = place.job(until=0)
    with pytest.raises(ValueError, match="list the files first"):
        job.first_loop()
    job.full_index()
    with pytest.raises(ValueError, match=r"first_loop\(\) before"):
        job.second_loop()
    job.first_loop(FirstLoopConfig(compute_hash=True))
    sizes = dict(job.db.connection.execute("SELECT filename, px || '×' || py FROM directory"))
    assert sizes["one.png"] == "180×240"  # height first
    assert sizes["one-turned.png"] == "240×180"
    job.second_loop(SecondLoopConfig(diff_threshold=0))
    assert names(job.get_diff_pairs()) == ONES
    job.second_loop(SecondLoopConfig())
    assert names(job.get_diff_pairs()) == ALL


@row("FastDifPy", "get_diff_pairs")
def _(place: Place) -> None:
    job = place.job()
    assert names(job.get_diff_pairs(0)) == ONES
    assert names(job.get_diff_pairs()) == ALL
    list(job.get_diff_pairs(300))
    assert "not kept" in place.said()


@row("FastDifPy", "get_diff_clusters")
def _(place: Place) -> None:
    job = place.job()

    def clusters(**more: Any) -> dict[str, set[str]]:
        found = job.get_diff_clusters(**more)
        return {os.path.basename(head): {os.path.basename(path) for path, _ in some} for head, some in found}

    assert clusters() == {"one.png": {"one-again.png", "one-turned.png"}, "two.png": {"two-small.png"}}
    assert clusters(delta=0, dir_a=False) == {"one-again.png": {"one.png"}, "one-turned.png": {"one.png"}}


@row("FastDifPy", "reduce_diff")
def _(place: Place) -> None:
    job = place.job()
    job.reduce_diff(0)
    assert names(job.get_diff_pairs()) == ONES


@row("FastDifPy", "commit", "cleanup", "test_cleanup")
def _(place: Place) -> None:
    job = place.job()
    job.commit()
    assert json.loads((place.work / ".task.json").read_text())["state"] == "second_loop_done"
    job.cleanup()
    assert os.listdir(place.work) == [".task.json"]
    job = place.job()
    job.test_cleanup()
    assert os.listdir(place.work) == []


@row("FastDifPy", "print_fs_usage")
def _(place: Place) -> None:
    job = place.job(until=1)
    place.said()
    assert job.print_fs_usage(verbose=True) == 9 * 64 * 64 * 3
    assert [line.split(": ", 1)[1] for line in place.said().splitlines()] == [
        f"{place.a}: 49.2 kB", f"{place.b}: 61.4 kB", "thumbnails: 111 kB",
    ]  # fmt: skip


@row("FastDifPy", "logger", "ql", "com")
def _(place: Place) -> None:
    job = place.job(until=0)
    records: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    job.logger.addHandler(Keep())
    job.full_index()
    job.first_loop()
    assert [record.name for record in records] == ["FastDiffPy_Main"]
    assert not hasattr(job, "ql")
    assert not hasattr(job, "com")


@row("FastDifPy", "read_thumbnails")
def _(place: Place) -> None:
    job = place.job(until=2)
    paths = [str(place.b / "black.png"), str(place.b / "white.png"), str(place.a / "one.png")]
    black, white, one = job.read_thumbnails(paths)
    assert (black.max(), white.min()) == (0, 255)
    assert abs(one.astype(int).mean() - ONE.mean()) < 1
    with pytest.raises(KeyError):
        job.read_thumbnails([str(place.a / "deeper" / "broken.jpg")])


# SQLiteDB


@row("SQLiteDB", "get_all_cluster", "get_ith_diff_cluster", "get_cluster_count", "get_max_cluster_size")
def _(place: Place) -> None:
    db = place.job().db
    clusters = list(db.get_all_cluster(200))
    assert clusters == [db.get_ith_diff_cluster(place_, 200) for place_ in range(db.get_cluster_count(200))]
    assert [len(matches) for _, matches in clusters] == [2, 1]
    sizes = [os.path.getsize(path) for path, _ in clusters[0][1]]
    assert sizes == sorted(sizes, reverse=True)
    assert db.get_max_cluster_size() == 2
    assert db.get_cluster_count(200, part_a=False) == 3
    for wrong in (2, -1):
        with pytest.raises(IndexError):
            db.get_ith_diff_cluster(wrong, 200)


@row("SQLiteDB", "get_all_hash_clusters", "get_ith_hash_cluster", "get_hash_cluster_count")
def _(place: Place) -> None:
    (place.b / "two-again.png").write_bytes(as_png(TWO))
    db = place.job(place.config(first_loop=FirstLoopConfig(compute_hash=True)), until=2).db
    clusters = list(db.get_all_hash_clusters())
    assert sorted({os.path.basename(path) for path in paths} for _, paths in clusters) == sorted(
        [{"one.png", "one-again.png", "one-turned.png"}, {"two.png", "two-again.png"}]
    )
    assert [db.get_ith_hash_cluster(index) for index in range(db.get_hash_cluster_count())] == clusters
    with pytest.raises(IndexError):
        db.get_ith_hash_cluster(2)


@row("SQLiteDB", "get_duplicate_pairs", "get_pair_count_diff", "drop_diff")
def _(place: Place) -> None:
    db = place.job().db
    assert names(db.get_duplicate_pairs(0)) == ONES
    assert names(db.get_duplicate_pairs(200)) == ALL
    assert db.get_pair_count_diff() == 3
    db.drop_diff(0)
    assert db.get_pair_count_diff() == 2


@row("SQLiteDB", "get_directory_errors", "get_directory_disallowed", "get_dif_errors")
def _(place: Place) -> None:
    db = place.job().db
    [(path, why)] = db.get_directory_errors()
    assert path == str(place.a / "deeper" / "broken.jpg")
    assert why
    assert "no picture" not in str(list(db.get_duplicate_pairs(200)))  # it matches nothing
    assert sorted(map(os.path.basename, db.get_directory_disallowed())) == ["note.txt", "two.bmp"]
    assert list(db.get_dif_errors()) == []


@row("SQLiteDB", "set_deleted")
def _(place: Place) -> None:
    db = place.job(place.config(first_loop=FirstLoopConfig(compute_hash=True))).db
    keys = {os.path.basename(path): key for key, path, _ in db.allowed_files()}
    db.set_deleted(keys["one-turned.png"])
    assert len(db.get_ith_diff_cluster(0, 200)[1]) == 2
    assert len(db.get_ith_diff_cluster(0, 200, include_deleted=False)[1]) == 1
    assert len(db.get_ith_hash_cluster(0, include_deleted=False)[1]) == 2
    db.set_deleted(keys["one-turned.png"], False)
    assert len(db.get_ith_diff_cluster(0, 200, include_deleted=False)[1]) == 2


@row("SQLiteDB", "get_partition_entry_count", "get_directory_stats")
def _(place: Place) -> None:
    db = place.job(until=1).db
    assert [db.get_partition_entry_count(part_b) for part_b in (False, True)] == [4, 5]
    assert [db.get_partition_entry_count(part_b, False) for part_b in (False, True)] == [5, 6]
    assert [db.get_directory_stats(index, allowed) for index in (0, 1) for allowed in (True, False)] == [4, 1, 5, 1]


# 0.2.x: what stands for a name is there, or the reason is given


SUCCESSORS = {
    "config_path": Config, "retain_progress": Config, "compression_target": Config, "part_a": Config, "part_b": Config,
    "thumb_dir": Config, "diff_threshold": SecondLoopConfig, "ignore_names": Config, "ignore_paths": Config,
    "allowed_file_extensions": Config, "log_level": Config, "state": Config, "compress": FirstLoopConfig,
    "compute_hash": FirstLoopConfig, "shift_amount": FirstLoopConfig, "cpu_proc": FirstLoopConfig,
    "total": FirstLoopRuntimeConfig, "db_path": Config, "delete_db": Config, "match_aspect_by=0": SecondLoopConfig,
    "make_diff_plots": SecondLoopConfig, "plot_output_dir": SecondLoopConfig, "gpu_proc": SecondLoopConfig,
    "partition_swapped": Config, "full_index": FastDifPy, "estimate_disk_usage": FastDifPy, "first_loop": FastDifPy,
    "second_loop": FastDifPy, "get_directory_errors": SQLiteDB, "get_dif_errors": SQLiteDB, "cleanup": FastDifPy,
}  # fmt: skip


def successor(place: Place, name: str) -> None:
    [line] = [one for one in DOCUMENT.partition("## 0.2.x")[2].splitlines() if one.startswith(f"| `{name}` ")]
    here = line.split(" | ")[1].strip(" |")
    named = re.match(r"`([^`]+)`", here)
    if named is None or named[1] == "only_matching_hash":
        assert len(here) > 20, "a reason"
        assert name not in {*Config.model_fields, *SecondLoopRuntimeConfig.model_fields, *dir(FastDifPy)}
        return
    owner, field = SUCCESSORS[named[1]], named[1].partition("=")[0]
    assert field in getattr(owner, "model_fields", ()) or callable(getattr(owner, field))
    if name == "estimate_disk_usage":
        assert place.job(until=1).estimate_disk_usage() == (4 * 64 * 64 * 3, 5 * 64 * 64 * 3)


def _register_0_2() -> None:
    for section, name in documented_rows():
        if section == "0.2.x":
            row(section, name)(partial(successor, name=name))


_register_0_2()
