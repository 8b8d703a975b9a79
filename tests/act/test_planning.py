"""What becomes of the groups that the service names: families, files that changed, files that cannot be moved."""

import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dupwatch.act.apply import Action
from dupwatch.act.plan_file import CHOSEN, Plan
from dupwatch.act.plan_reading import parsed_plan
from dupwatch.act.planning import make_plan
from dupwatch.act_output import action_lines, folder_lines, plan_lines
from dupwatch.families import FolderNames, Kind, companion_kind, likely_companions
from dupwatch.terminal import page_on
from tests.act.trees import file_of_group, group_of, page_of, plan_for, write

FORTY = "IMG_" + 36 * "x"


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
        ("a.jpg", "a.jpg.dop", Kind.SIDECAR),
        ("a.jpg", "a.dop", None),
        ("a.NEF", "a.NEF.pp3", Kind.SIDECAR),
        ("a.jpg", "a.pp3", None),
        ("a.jpg", "a.on1", Kind.SIDECAR),
        ("a.jpg", "a.jpg.ON1", Kind.SIDECAR),
        ("a.CRW", "a.THM", Kind.SIDECAR),
        ("a.jpg", "a.wav", Kind.MEMO),
        ("a.png", "a.MP3", Kind.MEMO),
        ("a.jpg", "a.jpg.wav", None),
        ("PXL_1.MP.jpg", "PXL_1.MP", Kind.MOVIE),
        ("PXL_1.jpg", "PXL_1.MP", None),
        ("PXL_1.MP.png", "PXL_1.MP", None),
        ("a.jpg", "a.cop", None),
        ("a.jpg", "a.json", None),
        ("a.jpg", "a.jpg.json", Kind.SIDECAR),
        ("A.JPG", "a.jpg.JSON", Kind.SIDECAR),
        ("a.jpg", "a.png.json", None),
        ("a.jpg", "b.jpg.json", None),
        ("a.jpg", "metadata.json", None),
        ("a.jpg", "a.jpg.supplemental-metadata.json", Kind.SIDECAR),
        ("a.jpg", "a.jpg.suppl.json", Kind.SIDECAR),
        ("a.jpg", "a.jpg..json", Kind.SIDECAR),
        ("a.jpg", "a.jpg.other.json", None),
        ("a(1).jpg", "a.jpg(1).json", Kind.SIDECAR),
        ("a(1).jpg", "a.jpg.supplemental-metadata(1).json", Kind.SIDECAR),
        ("a(1).jpg", "a.jpg.json", None),
        ("a(1).jpg", "a.jpg(2).json", None),
        ("a.jpg", "a.jpg(1).json", None),
        ("a (1).jpg", "a (1).jpg.json", Kind.SIDECAR),
        ("a-edited.jpg", "a.jpg.json", Kind.SIDECAR),
        ("a-edited(1).jpg", "a.jpg(1).json", Kind.SIDECAR),
        ("a-bearbeitet.jpg", "a.jpg.json", Kind.SIDECAR),
        ("a-modifi\u00e9.jpg", "a.jpg.json", Kind.SIDECAR),
        ("a-modifie\u0301(2).jpg", "a.jpg(2).json", Kind.SIDECAR),
        ("a-編集済み.jpg", "a.jpg.supplemental-metadata.json", Kind.SIDECAR),
        ("a-holiday.jpg", "a.jpg.json", None),
        ("IMG_1234.HEIC", "IMG_O1234.AAE", Kind.SIDECAR),
        ("IMG_1235.HEIC", "IMG_O1234.AAE", None),
        ("a.CR2", "a_01.CR2.xmp", Kind.SIDECAR),
        ("a_01.CR2", "a_01.CR2.xmp", Kind.SIDECAR),
        ("a.jpg", "a_01.CR2.xmp", None),
        ("a.CR3", "a.vrd", Kind.SIDECAR),
        ("a.CR3", "a.DR4", Kind.SIDECAR),
        ("a.dng", "a.acr", Kind.SIDECAR),
        ("a.dng", "a.dng.arp", Kind.SIDECAR),
        ("a.dng", "a.arp", None),
        ("PXL_20230101_123456789.PORTRAIT.jpg", "PXL_20230101_123456789.PORTRAIT.jpg.supplement.json", Kind.SIDECAR),
        (f"{FORTY}12345678.jpg", f"{FORTY}123456.json", Kind.SIDECAR),
        (f"{FORTY}12345678.jpg", f"{FORTY}12345.json", None),
        (f"{FORTY}12345678(1).jpg", f"{FORTY}123456(1).json", Kind.SIDECAR),
        (f"{FORTY}1.jpg", f"{FORTY}1.jpg.json", Kind.SIDECAR),
        (f"{FORTY}1.jpeg", f"{FORTY}1.jpeg.json", Kind.SIDECAR),
        ("ä" * 44 + ".jpg", "ä" * 44 + ".j.json", Kind.SIDECAR),
        ("\N{GRINNING FACE}" * 22 + ".jpg", "\N{GRINNING FACE}" * 22 + ".j.json", Kind.SIDECAR),
    ],
)
def test_what_belongs_to_a_picture(picture: str, name: str, kind: Kind | None) -> None:
    assert companion_kind(os.fsencode(picture), os.fsencode(name)) is kind
    found = FolderNames([os.fsencode(name), os.fsencode(picture), b"other.xmp"]).companions(os.fsencode(picture))
    assert [one.kind for one in found] == ([] if kind is None else [kind])


def test_pictures_of_one_stem_share_a_sidecar() -> None:
    names = FolderNames(
        b"a.jpg A.CR2 a.RAW-01.COVER.jpg a.xmp a.mov a.jpg.xmp b.jpg b.xmp b-edited.jpg b.jpg.json c.xmp".split()
    )
    assert names.sharing(b"a.jpg", b"a.xmp") == names.sharing(b"a.jpg", b"a.mov") == [b"A.CR2", b"a.RAW-01.COVER.jpg"]
    assert names.sharing(b"a.jpg", b"a.jpg.xmp") == names.sharing(b"b.jpg", b"b.xmp") == []
    assert names.sharing(b"b-edited.jpg", b"b.jpg.json") == [b"b.jpg"]


def test_names_that_are_cut_alike_share_what_is_told_of_them() -> None:
    one, other, told = (os.fsencode(f"{FORTY}123456{end}") for end in ("78.jpg", "99.jpg", ".json"))
    names = FolderNames([one, other, told])
    assert [[found.name for found in names.companions(picture)] for picture in (one, other)] == [[told], [told]]
    assert names.sharing(one, told) == [other]


PARTS = (b"a", b"_01", b"img_o1", b"img_1", b".mp", b"A.CR2", b"(1)",
         b" (1)", b"-edited", b".raw-01.cover", b".supplemental-metadata", b".sup", b".xmp",
         b".json", b".jpg", b"ae" * 12, b"\xff", "ä".encode(), "\N{GRINNING FACE}".encode())  # fmt: skip
names_of_parts = st.builds(
    lambda parts, end: b"".join(parts) + end,
    st.lists(st.sampled_from(PARTS), max_size=4),
    st.sampled_from([b".jpg", b".jpg", b".json", b".xmp", b".aae", b".cr2", b""]),
)


def kind_among(names: set[bytes], picture: bytes, name: bytes) -> Kind | None:
    """What a name is to a picture; where a picture `a_01.jpg` lies, `a_01.jpg.xmp` is no version of `a.jpg`."""
    own, lower = name.lower().removesuffix(b".xmp"), picture.lower()
    version = re.fullmatch(rb"(.+)_\d\d(\.[^.]+)", own)
    is_other = name.lower() != own and own in {one.lower() for one in names}
    return None if version and is_other and lower == version[1] + version[2] else companion_kind(picture, name)


def test_a_numbered_picture_of_its_own_shares_its_sidecar_with_none() -> None:
    sidecar = b"photo_01.jpg.xmp"
    both = FolderNames([b"photo.jpg", b"photo_01.JPG", sidecar])
    assert [[one.name for one in both.companions(name)] for name in (b"photo.jpg", b"photo_01.JPG")] == [[], [sidecar]]
    assert both.sharing(b"photo_01.JPG", sidecar) == []
    assert [one.name for one in FolderNames([b"photo.jpg", sidecar]).companions(b"photo.jpg")] == [sidecar]


@given(st.sets(names_of_parts, max_size=8))
def test_any_name_finds_what_looking_at_each_pair_finds(names: set[bytes]) -> None:
    """And those who share something are those to whom it belongs."""
    folder = FolderNames(names)
    pictures = {name for name in names if name.lower().endswith((b".jpg", b".cr2")) and name.lower() != b".jpg"}
    for picture in names:
        found = {one.name: one.kind for one in folder.companions(picture)}
        assert found == {name: kind for name in names if (kind := kind_among(names, picture, name)) is not None}
        for one in found:
            others = {other for other in pictures if kind_among(names, other, one) is not None}
            assert set(folder.sharing(picture, one)) == others - {picture}


def test_the_likely_names_of_companions_belong_to_the_picture() -> None:
    for picture in (b"a.jpg", b"a(1).CR2", b"IMG_1-edited(2).jpg", os.fsencode(f"{FORTY}12345678(1).jpg"), b"noname"):
        names = set(likely_companions(picture))
        assert {companion_kind(picture, name) for name in names} == {Kind.SIDECAR, Kind.MEMO}
    assert {b"a.jpg.json", b"a.AAE", b"a.jpg.XMP", b"a.jpg.supplemental-metadata.json"} <= set(
        likely_companions(b"a.jpg")
    )


@pytest.mark.parametrize("name", ["IMG.xmp", "IMG.jpg.xmp", "IMG.AAE", "IMG.jpg.dop", "IMG.jpg.suppl.json"])
def test_a_sidecar_goes_along_and_what_is_lost_is_said(root: Path, name: str) -> None:
    goes, stays = copies(root)
    write(root / "spare" / name, b"rating 5")
    plan = plan_for(root, [(goes, stays)])
    assert going(plan) == {"IMG.jpg", name}
    picture, sidecar = plan.groups[0].goes
    assert picture.lacks == (f"sidecar {name}",)
    assert (sidecar.held_by, sidecar.goes_with, sidecar.verdict) == (None, goes, None)


@pytest.mark.parametrize("name", ["IMG.xmp", "IMG.jpg.xmp", "IMG.AAE", "IMG.jpg.dop", "IMG.jpg.suppl.json"])
def test_a_file_whose_sidecar_would_be_lacking_is_held_back_if_that_is_asked_about(root: Path, name: str) -> None:
    goes, stays = copies(root)
    write(root / "spare" / name, b"rating 5")
    plan = plan_for(root, [(goes, stays)], ask_when=["capture times differ", "lacks metadata"])
    assert going(plan) == set()
    assert [one.path for one in plan.held_back] == [goes]
    assert f"sidecar {name}, of which no equal" in plan.held_back[0].because
    assert any("1 of them only because of a sidecar" in line for line in plan_lines(plan, page_on(io.StringIO())))
    narrow = list(plan_lines(plan, page_on(io.StringIO(), 40)))
    reason = narrow[narrow.index("Held back: 1") + 2 : narrow.index("")]
    # In front of it stands the rest of the path, if that is long.
    assert " ".join(line.removeprefix("    ") for line in reason).endswith(plan.held_back[0].because)
    assert max(map(len, reason)) <= 40
    write(root / "best" / name, b"rating 5")
    assert going(plan_for(root, [(goes, stays)], ask_when=["lacks metadata"])) == {"IMG.jpg", name}


def test_a_plan_fits_a_narrow_terminal(root: Path) -> None:
    plan, page = plan_for(root, [copies(root)]), page_on(io.StringIO(), 40)
    lines = [*plan_lines(plan, page), *folder_lines(plan, page), *action_lines(plan, Action(), page)]
    assert max(map(len, lines)) <= 40
    assert "1 file of 1 group would go, 7 B" in lines


def test_what_a_person_has_chosen_goes_with_its_own_sidecar(root: Path) -> None:
    goes, stays = copies(root)
    write(root / "spare" / "IMG.xmp", b"rating 5")
    chosen = {**file_of_group(goes, stays), "verdict": CHOSEN, "confirmed": None}
    plan = make_plan([{**page_of(root, group_of(file_of_group(stays), chosen)), "ask_when": ["lacks metadata"]}])
    assert going(plan) == {"IMG.jpg", "IMG.xmp"}


def test_what_cannot_go_along_holds_its_picture_back(root: Path) -> None:
    """Though nobody wants to be asked about sidecars: here it is a folder."""
    goes, stays = copies(root)
    os.mkdir(goes + b".json")
    why = why_held(plan_for(root, [(goes, stays)]))
    assert why == "it belongs to the sidecar IMG.jpg.json, which cannot be moved"


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


@pytest.mark.parametrize("name", ["IMG.WAV", "IMG.mp3"])
def test_a_voice_memo_goes_only_if_an_equal_one_stays(root: Path, name: str) -> None:
    """Whatever is asked about: it may be a song beside its cover as well."""
    goes, stays = copies(root)
    write(root / "spare" / name, b"spoken")
    assert f"voice memo {name}" in why_held(plan_for(root, [(goes, stays)]))
    write(root / "best" / name, b"spoken")
    assert going(plan_for(root, [(goes, stays)])) == {"IMG.jpg", name}


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


def test_what_the_groups_name_as_a_picture_goes_along_with_none(root: Path) -> None:
    """Somebody may have the small pictures of a camera indexed as well."""
    goes, stays = copies(root)
    small = write(root / "spare/IMG.THM", b"small picture")
    plan = plan_for(root, [(goes, stays), (small, write(root / "best/IMG.THM", b"small picture"))])
    assert going(plan) == {"IMG.jpg", "IMG.THM"}
    assert [one.goes_with for one in plan.going] == [None, None]


@pytest.mark.parametrize("shared", ["IMG.xmp", "IMG.mov", "IMG.aae", "IMG.wav", "IMG.on1"])
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
        (0o733, 0o644, "cannot open it: Permission denied"),  # it cannot be listed
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
