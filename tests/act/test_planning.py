"""What becomes of the groups that the service names: families, files that changed, files that cannot be moved."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dupwatch.act.plan_file import Plan
from dupwatch.act.plan_reading import parsed_plan
from dupwatch.act.planning import make_plan
from dupwatch.families import FolderNames, Kind, companion_kind
from tests.act.trees import file_of_group, group_of, page_of, plan_for, write


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


def copies(root: Path, name: str = "IMG.jpg") -> tuple[bytes, bytes]:
    return write(root / "spare" / name, b"picture"), write(root / "best" / name, b"picture")


def going(plan: Plan) -> set[str]:
    return {os.fsdecode(os.path.basename(one.file.path)) for one in plan.going}


def why_held(plan: Plan) -> str:
    assert not plan.groups
    assert len(plan.held_back) == 1
    return plan.held_back[0].because


@pytest.mark.parametrize(
    ("picture", "name", "kind"),
    [
        ("a.jpg", "a.jpg.xmp", Kind.SIDECAR),
        ("a.jpg", "A.XMP", Kind.SIDECAR),
        ("A.CR2", "a.cr2.xmp", Kind.SIDECAR),
        ("a.jpg", "a.aae", Kind.SIDECAR),
        ("IMG.HEIC", "img.mov", Kind.MOVIE),
        ("IMG.jpg", "IMG.MP4", Kind.MOVIE),
        ("IMG.png", "IMG.MOV", None),
        ("a.jpg", "a.png.xmp", None),
        ("a.jpg", "ab.xmp", None),
        ("a.jpg", "a.txt", None),
        ("a.jpg", "a.jpg", None),
        ("a.jpg", "A.JPG", None),
        ("PXL_1.RAW-01.COVER.jpg", "PXL_1.xmp", Kind.SIDECAR),
        ("PXL_1.RAW-02.ORIGINAL.dng", "PXL_1.RAW-02.ORIGINAL.dng.xmp", Kind.SIDECAR),
        ("PXL_1.RAW-01.COVER.jpg", "PXL_1.RAW-02.ORIGINAL.dng.xmp", None),
        (".xmp", ".xmp", None),
    ],
)
def test_what_belongs_to_a_picture(picture: str, name: str, kind: Kind | None) -> None:
    assert companion_kind(os.fsencode(picture), os.fsencode(name)) is kind
    found = FolderNames([os.fsencode(name), os.fsencode(picture), b"other.xmp"]).companions(os.fsencode(picture))
    assert [one.kind for one in found] == ([] if kind is None else [kind])


def test_pictures_of_one_stem_share_a_sidecar() -> None:
    names = FolderNames([b"a.jpg", b"A.CR2", b"a.xmp", b"b.jpg", b"a.RAW-01.COVER.jpg", b"a.mov"])
    assert names.sharing(b"a.jpg") == [b"A.CR2", b"a.RAW-01.COVER.jpg"]
    assert names.sharing(b"b.jpg") == []


@pytest.mark.parametrize("name", ["IMG.xmp", "IMG.jpg.xmp", "IMG.AAE"])
def test_a_sidecar_goes_along_and_what_is_lost_is_said(root: Path, name: str) -> None:
    goes, stays = copies(root)
    write(root / "spare" / name, b"rating 5")
    plan = plan_for(root, [(goes, stays)])
    assert going(plan) == {"IMG.jpg", name}
    picture, sidecar = plan.groups[0].goes
    assert picture.lacks == (f"sidecar {name}",)
    assert (sidecar.held_by, sidecar.goes_with, sidecar.verdict) == (None, goes, None)


@pytest.mark.parametrize("name", ["IMG.xmp", "IMG.jpg.xmp", "IMG.AAE"])
def test_a_file_whose_sidecar_would_be_lacking_is_held_back_if_that_is_asked_about(root: Path, name: str) -> None:
    goes, stays = copies(root)
    write(root / "spare" / name, b"rating 5")
    plan = plan_for(root, [(goes, stays)], ask_when=["capture times differ", "lacks metadata"])
    assert going(plan) == set()
    assert [one.path for one in plan.held_back] == [goes]
    assert f"sidecar {name}, of which no equal" in plan.held_back[0].because
    write(root / "best" / name, b"rating 5")
    assert going(plan_for(root, [(goes, stays)], ask_when=["lacks metadata"])) == {"IMG.jpg", name}


def test_a_sidecar_whose_equal_stays_lacks_nothing(root: Path) -> None:
    goes, stays = copies(root)
    write(root / "spare/IMG.xmp", b"rating 5")
    equal = write(root / "best/img.jpg.XMP", b"rating 5")
    plan = plan_for(root, [(goes, stays)])
    picture, sidecar = plan.groups[0].goes
    assert picture.lacks == ()
    assert (sidecar.held_by, sidecar.verdict) == (equal, "identical")
    assert parsed_plan_of(plan) == plan


def parsed_plan_of(plan: Plan) -> Plan:
    from dupwatch.act.plan_file import plan_text

    return parsed_plan(plan_text(plan).encode("ascii"), "plan")


def test_a_sidecar_linked_to_that_of_the_other_is_no_equal(root: Path) -> None:
    goes, stays = copies(root)
    os.link(write(root / "spare/IMG.xmp", b"rating 5"), root / "best/IMG.xmp")
    plan = plan_for(root, [(goes, stays)])
    assert plan.groups[0].goes[1].held_by is None


def test_a_movie_goes_only_if_an_equal_one_stays(root: Path) -> None:
    goes, stays = copies(root, "IMG.HEIC")
    write(root / "spare/IMG.MOV", b"movie")
    assert "movie IMG.MOV" in why_held(plan_for(root, [(goes, stays)]))
    write(root / "best/IMG.mov", b"movia")
    assert "movie IMG.MOV" in why_held(plan_for(root, [(goes, stays)]))
    equal = write(root / "best/img.MOV", b"movie")
    plan = plan_for(root, [(goes, stays)])
    assert going(plan) == {"IMG.HEIC", "IMG.MOV"}
    assert plan.groups[0].goes[1].held_by == equal
    assert parsed_plan_of(plan) == plan


@pytest.mark.parametrize("shared", ["IMG.xmp", "IMG.mov", "IMG.aae"])
def test_what_a_picture_that_stays_has_a_share_in_is_not_moved(root: Path, shared: str) -> None:
    goes, stays = copies(root)
    write(root / "spare/IMG.CR2", b"the raw file of the same shot, which stays")
    write(root / "spare" / shared, b"rating 5")
    plan = plan_for(root, [(goes, stays)])
    assert going(plan) == {"IMG.jpg"}
    assert plan.groups[0].goes[0].lacks == ()


def test_a_shared_sidecar_goes_once_when_all_of_its_pictures_go(root: Path) -> None:
    pairs = [copies(root), copies(root, "IMG.CR2")]
    write(root / "spare/IMG.xmp", b"rating 5")
    plan = plan_for(root, pairs)
    assert [os.path.basename(one.file.path) for one in plan.going].count(b"IMG.xmp") == 1
    assert len(plan.going) == 3
    assert plan.groups[1].goes[1].goes_with == pairs[1][0]  # the last of them: then none is left to need it
    assert parsed_plan_of(plan) == plan


def test_a_sidecar_stays_with_a_picture_that_is_held_back(root: Path) -> None:
    pairs = [copies(root), copies(root, "IMG.CR2")]
    write(root / "spare/IMG.xmp", b"rating 5")
    pages = [page_of(root, *(group_of(file_of_group(b), file_of_group(a, b)) for a, b in pairs))]
    write(pairs[1][0], b"changed since")
    plan = make_plan(pages)
    assert going(plan) == {"IMG.jpg"}
    assert "changed" in plan.held_back[0].because


@pytest.mark.parametrize("change", ["size", "time", "gone", "link", "folder"])
@pytest.mark.parametrize("which", ["goes", "stays"])
def test_what_is_not_as_indexed_is_held_back(root: Path, change: str, which: str) -> None:
    goes, stays = copies(root)
    page = page_of(root, group_of(file_of_group(stays), file_of_group(goes, stays)))
    path = goes if which == "goes" else stays
    if change == "size":
        write(path, b"longer than before")
    elif change == "time":
        os.utime(path)
    else:
        os.rename(path, path + b".was")
    if change == "link":
        os.symlink(os.path.basename(path) + b".was", path)
    elif change == "folder":
        os.mkdir(path)
    why = why_held(make_plan([page]))
    assert ("the file that would stay" in why) == (which == "stays")


def test_another_name_of_the_same_file_is_held_back(root: Path) -> None:
    goes, stays = copies(root)
    os.unlink(goes)
    os.link(stays, goes)
    assert "another name" in why_held(plan_for(root, [(goes, stays)]))


def test_groups_to_be_asked_about_move_nothing(root: Path) -> None:
    goes, stays = copies(root)
    group = group_of(file_of_group(stays), file_of_group(goes, stays), asked="taken at different times")
    plan = make_plan([page_of(root, group)])
    assert (len(plan.asked), plan.groups) == (1, ())
    assert parsed_plan_of(plan) == plan


@contextmanager
def read_only_mount(folder: Path) -> Iterator[None]:
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_read_only_mount_is_said_at_planning(root: Path) -> None:
    goes, stays = copies(root)
    with read_only_mount(root / "spare"):
        assert "read-only" in why_held(plan_for(root, [(goes, stays)]))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file immutable")
def test_an_immutable_file_is_said_at_planning(root: Path) -> None:
    goes, stays = copies(root)
    if subprocess.run(["chattr", "+i", goes], check=False, capture_output=True).returncode != 0:
        pytest.skip("this file system has no such flag")
    try:
        assert "immutable" in why_held(plan_for(root, [(goes, stays)]))
    finally:
        subprocess.run(["chattr", "-i", goes], check=True)


AS_NOBODY = """
import os, sys
from dupwatch.act.planning import make_plan
from tests.act.trees import file_of_group, group_of, page_of
root, goes, stays = map(os.fsencode, sys.argv[1:])
page = page_of(root, group_of(file_of_group(stays), file_of_group(goes, stays)))
os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
print(*(one.because for one in make_plan([page]).held_back), sep="\\n")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize(
    ("folder_mode", "file_mode", "words"),
    [
        (0o755, 0o644, "may not write"),
        (0o1777, 0o644, "belongs to another user"),
        (0o777, 0o644, ""),
        (0o777, 0o600, "cannot open it: Permission denied"),
        (0o700, 0o644, "it is not there: Permission denied"),
    ],
)
def test_rights_are_said_at_planning(tmp_path: Path, folder_mode: int, file_mode: int, words: str) -> None:
    root = Path(tempfile.mkdtemp(prefix="dw", dir="/tmp"))
    try:
        goes, stays = copies(root)
        os.chmod(goes, file_mode)
        os.chmod(stays, 0o644)
        os.chmod(root, 0o755)
        os.chmod(root / "spare", folder_mode)
        run = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, root, goes, stays], capture_output=True, text=True, check=False
        )
    finally:
        shutil.rmtree(root)
    assert (run.returncode, run.stderr) == (0, "")
    assert words in run.stdout if words else run.stdout == "\n"
