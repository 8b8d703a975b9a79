"""Filters of `scan` and `clusters`, on real files and through the real programs."""

import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import encoded, photo_like
from tests.system.in_process import run, scan
from tests.system.service import Service


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders with three motifs: copies beside each other, across both folders, smaller and equal ones."""
    root = tmp_path_factory.mktemp("filters") / "photos"
    for name in ("a/sub", "b"):
        (root / name).mkdir(parents=True)
    for motif in (1, 2, 3):
        (root / f"a/{motif}.png").write_bytes(encoded(photo_like(motif, 320, 240), "PNG"))
    shutil.copy(root / "a/1.png", root / "b/1.png")  # equal bytes in both
    shutil.copy(root / "a/1.png", root / "a/1 again.png")
    turned = np.ascontiguousarray(np.rot90(photo_like(4, 320, 240)))
    (root / "b/4.png").write_bytes(encoded(photo_like(4, 320, 240), "PNG"))
    (root / "b/4 turned.png").write_bytes(encoded(turned, "PNG"))
    (root / "b/2.jpg").write_bytes(encoded(photo_like(2, 320, 240)))  # another format of one size
    (root / "a/sub/3.jpg").write_bytes(encoded(photo_like(3, 320, 240)))
    for minute, path in enumerate(sorted(root.rglob("*.*g"))):
        os.utime(path, (0, 1_700_000_000 + 60 * minute))
    return root


@pytest.fixture(scope="module")
def service(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("filters-state"), photos / "a", photos / "b") as running:
        running.settled()
        yield running


def asked(service: Service, *args: object) -> bytes:
    """What `dupwatch clusters` prints."""
    command = [os.path.join(os.path.dirname(sys.executable), "dupwatch"), "clusters", "--endpoint", service.endpoint]
    done = subprocess.run([*command, *map(str, args)], capture_output=True, timeout=50)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def groups(document: dict[str, Any], root: Path) -> list[set[str]]:
    return [{os.path.relpath(file["path"], root) for file in cluster["files"]} for cluster in document["clusters"]]


ONES = {"a/1.png", "a/1 again.png", "b/1.png"}
TWOS = {"a/2.png", "b/2.jpg"}
THREES = {"a/3.png", "a/sub/3.jpg"}
FOURS = {"b/4.png", "b/4 turned.png"}
CASES: list[tuple[list[str], list[set[str]]]] = [
    ([], [ONES, TWOS, THREES, FOURS]),
    (["--no-rotate"], [ONES, TWOS, THREES]),
    (["--exact"], [ONES]),
    (["--min-files", "3"], [ONES]),
    (["--same-size"], [ONES, TWOS, THREES, FOURS]),
    (["--aspect", "1"], [ONES, TWOS, THREES, FOURS]),
    (["--across", "{a}", "--against", "{b}"], [ONES, TWOS]),
    (["--across", "{a}/sub", "{b}", "--against", "{a}"], [ONES, TWOS, THREES]),
    (["--within-folder"], [{"a/1.png", "a/1 again.png"}, THREES, FOURS]),
    (["--within-folder=each"], [{"a/1.png", "a/1 again.png"}, FOURS]),
    (["--linkage", "star"], [ONES, TWOS, THREES, FOURS]),
    (["--linkage", "complete", "--within-folder=each"], [{"a/1.png", "a/1 again.png"}, FOURS]),
    (["--within-folder", "--exact"], [{"a/1.png", "a/1 again.png"}]),
]


@pytest.mark.parametrize(("flags", "expected"), CASES, ids=[" ".join(flags) for flags, _ in CASES])
def test_service_and_scan_show_what_a_filter_leaves(
    flags: list[str], expected: list[set[str]], photos: Path, service: Service, tmp_path_factory: pytest.TempPathFactory
) -> None:
    flags = [flag.format(a=photos / "a", b=photos / "b") for flag in flags]
    document = json.loads(asked(service, "--json", *flags))
    found = groups(document, photos)
    assert sorted(found, key=sorted) == sorted(expected, key=sorted)
    assert document["total_clusters"] == len(expected)
    state = tmp_path_factory.getbasetemp() / "filters-scan"
    by_scan = scan(photos / "a", photos / "b", *flags, state=state)
    # what frees more may come first only in one of both: the service has looked closely meanwhile
    assert sorted(groups(by_scan, photos), key=sorted) == sorted(found, key=sorted)


@pytest.mark.parametrize("sort", ["files", "folder", "date"])
def test_groups_come_in_the_order_that_is_asked_for(
    sort: str, photos: Path, service: Service, tmp_path_factory: pytest.TempPathFactory
) -> None:
    state = tmp_path_factory.getbasetemp() / "filters-scan"
    by_service = json.loads(asked(service, "--json", "--sort", sort))
    by_scan = scan(photos / "a", photos / "b", "--sort", sort, state=state)
    for clusters in (by_service["clusters"], by_scan["clusters"]):
        values = {
            "files": [-len(cluster["files"]) for cluster in clusters],
            "folder": [os.path.dirname(cluster["files"][0]["path"]) for cluster in clusters],
            "date": [-os.stat(cluster["files"][0]["path"]).st_mtime for cluster in clusters],  # none has EXIF
        }[sort]
        assert values == sorted(values)
        assert len(set(values)) > 1


@pytest.mark.parametrize(("unit", "threshold"), [("mean", 30.0), ("fast-diff", 10.0)])
def test_a_threshold_may_count_the_sum_over_channels(unit: str, threshold: float, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    question = ["--measure", "mse", "--threshold", "30", "--unit", unit]
    assert scan(tmp_path / "photos", *question, state=tmp_path / "state")["threshold"] == threshold


def test_scan_that_does_not_descend_shows_only_what_lies_directly_in_the_folder(photos: Path, tmp_path: Path) -> None:
    document = scan("--no-recursive", photos / "a", state=tmp_path)
    assert (groups(document, photos), document["files"]) == ([{"a/1.png", "a/1 again.png"}], 4)
    whole = scan(photos, state=tmp_path)
    assert sorted(groups(whole, photos), key=sorted) == sorted([ONES, TWOS, THREES, FOURS], key=sorted)
    again = scan("--no-recursive", photos / "a", state=tmp_path)
    assert groups(again, photos) == [{"a/1.png", "a/1 again.png"}]
    assert scan(photos, state=tmp_path)["files"] == 9  # nothing was forgotten meanwhile


@pytest.mark.parametrize("ending", [b"\n", b"\0"])
def test_scan_of_a_list_reads_and_shows_only_the_files_of_the_list(ending: bytes, photos: Path, tmp_path: Path) -> None:
    wanted = [photos / "a/1.png", photos / "b/1.png", photos / "a/3.png"]
    (tmp_path / "list").write_bytes(b"".join(os.fsencode(path) + ending for path in wanted))
    document = scan("--files-from", tmp_path / "list", state=tmp_path / "state")
    assert (groups(document, photos), document["files"]) == ([{"a/1.png", "b/1.png"}], 3)
    assert document["failed"] == []
    whole = scan(photos, state=tmp_path / "state")
    assert sorted(groups(whole, photos), key=sorted) == sorted([ONES, TWOS, THREES, FOURS], key=sorted)


def test_scan_of_a_list_tells_what_it_could_not_take_up_and_forgets_what_is_gone(tmp_path: Path) -> None:
    here = tmp_path / "photos"
    here.mkdir()
    for name in ("one.png", "other.png"):
        (here / name).write_bytes(encoded(photo_like(1, 320, 240), "PNG"))
    (here / "link.png").symlink_to("one.png")
    (here / "folder").mkdir()
    names = ("one.png", "other.png", "link.png", "folder", "gone.png", "notes.txt")
    (here / "notes.txt").write_text("no picture")
    listed = b"\0".join(os.fsencode(here / name) for name in names)
    (tmp_path / "list").write_bytes(listed)
    document = scan("--files-from", tmp_path / "list", state=tmp_path / "state", status=1)
    assert groups(document, here) == [{"one.png", "other.png"}]
    assert {os.path.basename(one["path"]) for one in document["failed"]} == set(names) - {"one.png", "other.png"}
    assert not document["complete"]
    (here / "other.png").unlink()
    document = scan("--files-from", tmp_path / "list", state=tmp_path / "state", status=1)
    assert groups(document, here) == []


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--across", "x"], "go together"),
        (["--exact", "--also", "cropped", "x"], "goes without --also"),
        (["--across", "--against", "x"], "requires an argument"),
        (["x", "--plan", "y", "--min-files", "3"], "--plan is made of all groups"),
        (["x", "--files-from", "-"], "name one of both"),
        (["--files-from", "-", "--no-recursive"], "goes with folders"),
        (["--files-from", "-", "--within-folder"], "=each"),
        (["x", "--within-folder=all"], "root"),
        (["x", "--aspect", "nan"], "no finite number"),
        (["x", "--threshold", "200", "--unit", "fast-diff"], "--measure mse"),
        (["x", "--measure", "mse", "--unit", "fast-diff"], "--threshold"),
        ([], "Missing argument"),
    ],
)
def test_flags_that_mean_nothing_together_are_wrong_usage(args: list[str], told: str, tmp_path: Path) -> None:
    done = run("scan", *args, state=tmp_path)
    assert (done.returncode, done.stdout) == (2, b"")
    assert told in done.stderr.decode()


def test_pairs_come_in_all_forms_from_service_and_scan_alike(photos: Path, service: Service, tmp_path: Path) -> None:
    document = json.loads(asked(service, "--pairs", "--json"))
    found = {frozenset((pair["first"], pair["second"])) for pair in document["pairs"]}
    expected = {
        frozenset(os.fspath(photos / name) for name in pair)
        for group in (ONES, TWOS, THREES, FOURS)
        for pair in itertools.combinations(group, 2)
    }
    assert (found, document["total_pairs"], document["complete"]) == (expected, 6, True)
    assert {pair["verdict"] for pair in document["pairs"]} == {"identical", "same"}
    assert all(pair["structure"] <= 0.02 for pair in document["pairs"])
    assert [pair["turn"] for pair in document["pairs"] if "4 turned" in pair["first"] + pair["second"]] != [0]
    first_two = json.loads(asked(service, "--pairs", "--json", "--limit", 2, "--offset", 1))
    assert first_two["pairs"] == document["pairs"][1:3]
    lines = asked(service, "--pairs", "--csv").decode().splitlines()
    assert (lines[0].split(",")[:2], len(lines)) == (["first", "second"], 7)
    paths = asked(service, "--pairs", "--print0").split(b"\0")[:-1]
    assert {frozenset(map(os.fsdecode, paths[n : n + 2])) for n in range(0, 12, 2)} == expected
    assert b"6 pairs" in asked(service, "--pairs")
    by_scan = scan(photos / "a", photos / "b", "--pairs", state=tmp_path)
    assert {frozenset((pair["first"], pair["second"])) for pair in by_scan["pairs"]} == expected
    assert by_scan["total_pairs"] == 6
