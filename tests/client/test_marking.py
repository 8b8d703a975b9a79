"""What answers mark is what a plan does: real folders with sidecars and movies, looked at in both ways."""

import os
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dupwatch.act.planning import make_plan
from dupwatch.marking import mark_clusters
from tests.act.trees import cluster_of, file_of_group, group_of, page_of, write

PICTURES = ("IMG.jpg", "IMG.CR2", "IMG.heic", "a(1).jpg")
BESIDE = ("IMG.xmp", "IMG.jpg.xmp", "IMG.CR2.xmp", "img.AAE", "IMG.mov", "IMG.wav", "a.jpg(1).json", "IMG.jpg.json")
TAKEOUT = [
    b'{"title": "%s", "photoTakenTime": {"timestamp": "%d"}, "imageViews": "%d"}' % one
    for one in ((b"a", 5, 1), (b"a", 5, 22), (b"b", 5, 1))
]
CONTENTS = [b"1", b"2", b"22", *TAKEOUT]

trees = st.dictionaries(
    st.tuples(st.sampled_from("ab"), st.sampled_from(PICTURES)), st.none(), min_size=2, max_size=8
).map(list)
lying_beside = st.dictionaries(
    st.tuples(st.sampled_from("ab"), st.sampled_from(BESIDE)), st.sampled_from(CONTENTS), max_size=10
)


def made(
    root: Path, pictures: Collection[tuple[str, str]], along: dict[tuple[str, str], bytes]
) -> list[dict[str, Any]]:
    """Write all of it; return the groups, in which what lies in `a` goes for what lies in `b`."""
    for folder, name in pictures:
        write(root / folder / name, name.encode())
    for (folder, name), content in along.items():
        write(root / folder / name, content)
    groups = []
    for name in PICTURES:
        paths = [os.fsencode(root / folder / name) for folder in "ba" if (folder, name) in pictures]
        if len(paths) == 2:
            groups.append(group_of(file_of_group(paths[0]), file_of_group(paths[1], paths[0]), name=name))
    return groups


@settings(max_examples=60, deadline=None)
@given(trees, lying_beside, st.sampled_from([[], ["lacks metadata"]]), st.integers(0, 4))
def test_what_answers_mark_is_what_a_plan_does(
    pictures: list[tuple[str, str]], along: dict[tuple[str, str], bytes], ask_when: list[str], shown: int
) -> None:
    """Also if only the first of the groups are shown."""
    with tempfile.TemporaryDirectory() as folder:
        groups = made(Path(folder), pictures, along)
        clusters = [cluster_of(group) for group in groups[:shown]]
        at_most = mark_clusters(clusters, ask_when, knows_all=len(clusters) == len(groups))
        plan = make_plan([{**page_of(Path(folder), *groups), "ask_when": ask_when}])
    goes = {one.file.path for one in plan.going if one.goes_with is None}
    because = {one.path for one in plan.held_back}
    files = [file for cluster in clusters for file in cluster["files"]]
    for file in files:
        if file["undecided"]:
            assert file["may_go"]
        elif file["held_by"] is not None:
            assert file["may_go"] == (file["path"] in goes)
            assert (file["held_back"] is not None) == (file["path"] in because)
            assert set(file["along"]) >= {one.file.path for one in plan.going if one.goes_with == file["path"]}
    assert at_most == any(file["undecided"] for file in files)
    assert sum(cluster["reclaimable_bytes"] for cluster in clusters) == sum(
        file["bytes"] for file in files if file["may_go"]
    )


def test_a_file_of_which_one_name_is_held_back_frees_nothing(tmp_path: Path) -> None:
    stays, goes = write(tmp_path / "b/1.jpg", b"picture"), write(tmp_path / "a/1.jpg", b"picture")
    (tmp_path / "c").mkdir()
    os.link(goes, link := os.fsencode(tmp_path / "c/1.jpg"))
    write(tmp_path / "c/1.mov", b"movie")
    files = [file_of_group(stays), file_of_group(goes, stays), file_of_group(link, stays, same_file_as=goes)]
    cluster = cluster_of(group_of(*files))
    assert cluster["reclaimable_bytes"] == 7
    assert not mark_clusters([cluster], [])
    assert cluster["reclaimable_bytes"] == 0
    assert [file["may_go"] for file in cluster["files"]] == [False, True, False]


@pytest.mark.parametrize("knows_all", [True, False])
def test_what_a_picture_that_is_not_shown_may_need_is_left_to_a_plan(tmp_path: Path, knows_all: bool) -> None:
    stays, goes = write(tmp_path / "b/1.jpg", b"picture"), write(tmp_path / "a/1.jpg", b"picture")
    write(tmp_path / "a/1.CR2", b"it may go or stay")
    write(tmp_path / "a/1.xmp", b"rating 5")
    cluster = cluster_of(group_of(file_of_group(stays), file_of_group(goes, stays)))
    assert mark_clusters([cluster], ["lacks metadata"], knows_all=knows_all) is not knows_all
    [_, spare] = cluster["files"]
    told = None if knows_all else "sidecar 1.xmp: decided when a plan is made"
    assert (spare["may_go"], spare["held_back"], spare["undecided"]) == (True, None, told)


def test_a_folder_that_is_not_there_holds_back_what_should_be_in_it(tmp_path: Path) -> None:
    """It is there for the service, which sees other mounts: here nobody can tell what lies beside."""
    stays, goes = write(tmp_path / "b/1.jpg", b"picture"), write(tmp_path / "a/1.jpg", b"picture")
    cluster = cluster_of(group_of(file_of_group(stays), file_of_group(goes, stays)))
    os.rename(tmp_path / "a", tmp_path / "c")
    mark_clusters([cluster], [])
    assert "cannot be listed (No such file or directory)" in cluster["files"][1]["held_back"]
    assert (cluster["files"][1]["may_go"], cluster["reclaimable_bytes"]) == (False, 0)
