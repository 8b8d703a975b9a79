"""`move_to` and `delete` of difPy's interface: nothing is lost, and what stays is named with the reason."""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dupwatchd.compat.difpy as difPy  # noqa: N812 - as its users write it
from tests.compat.pictures import ONE, THREE, TWO, as_png, flat, smaller
from tests.conftest import encoded, photo_like

LARGE = photo_like(7, 640, 480)


@pytest.fixture(autouse=True)
def state_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test has journals of its own."""
    folder = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    return folder


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def found(folder: Path, similarity: str | float = "duplicates", same_dim: bool = True) -> difPy.search:
    return difPy.search(
        difPy.build(str(folder), show_progress=False), similarity, same_dim=same_dim, show_progress=False
    )


def test_files_of_one_name_do_not_overwrite_each_other_and_come_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = write(
        tmp_path / "photos",
        {"1/IMG.png": as_png(ONE), "2/IMG.png": as_png(ONE), "3/IMG.png": as_png(TWO), "4/IMG.png": as_png(TWO)},
    )
    before, to = contents(photos), tmp_path / "to"
    search = found(photos)
    assert search.lower_quality == [str(photos / "2" / "IMG.png"), str(photos / "4" / "IMG.png")]
    search.move_to(destination_path=str(to))
    assert capsys.readouterr().out == f'Moved 2 file(s) to "{to}"\n'
    assert sorted(contents(photos)) == ["1/IMG.png", "3/IMG.png"]
    assert sorted(contents(to).values()) == sorted([as_png(ONE), as_png(TWO)])
    assert [Path(name).read_bytes() for name in search.lower_quality] == [as_png(ONE), as_png(TWO)]
    undo = [sys.executable, "-m", "dupwatch", "undo", "--last", "--yes"]
    subprocess.run(undo, check=True, capture_output=True)
    assert contents(photos) == before
    assert contents(to) == {}


def test_what_is_only_near_stays_and_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    retouched = LARGE.copy()
    retouched[40:80, 60:90] = 255 - retouched[40:80, 60:90]
    photos = write(
        tmp_path / "photos",
        {
            "a.png": encoded(LARGE, "PNG", compress_level=0),
            "b retouched.png": as_png(retouched), "c small.jpg": encoded(smaller(LARGE)),
            "d.png": as_png(THREE), "black.tif": encoded(flat(0), "TIFF"), "nearly black.tif": encoded(flat(1), "TIFF"),
        },
    )  # fmt: skip
    before = contents(photos)
    search = found(photos, 2000, same_dim=False)
    assert {os.path.basename(name) for name in search.lower_quality} >= {
        "b retouched.png", "c small.jpg", "nearly black.tif",
    }  # fmt: skip
    search.delete(silent_del=True)
    said = capsys.readouterr()
    assert said.out == "Deleted 1 file(s)\n"
    assert contents(photos) == {name: data for name, data in before.items() if name != "c small.jpg"}
    for name in search.lower_quality:
        assert (f"{name} stays: " in said.err) == (not name.endswith("c small.jpg")), said.err
    assert "it is retouched, not the same picture as a.png" in said.err


@pytest.mark.parametrize(("answer", "goes"), [("y\n", True), ("Y\n", True), ("n\n", False), ("\n", False), ("", False)])
def test_delete_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: str, goes: bool
) -> None:
    photos = write(tmp_path, {"a.png": as_png(ONE), "b.png": as_png(ONE)})
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    found(photos).delete()
    said = capsys.readouterr()
    assert "Delete 1 file? This cannot be undone. (y/n)" in said.err
    assert said.out == ("Deleted 1 file(s)\n" if goes else "Deletion canceled.\n")
    assert sorted(contents(photos)) == (["a.png"] if goes else ["a.png", "b.png"])


def test_nothing_to_delete_is_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found(write(tmp_path, {"a.png": as_png(ONE)})).delete()
    assert capsys.readouterr().out == "Deleted 0 file(s)\n"


def test_the_file_with_most_pixels_stays_then_that_with_most_bytes(tmp_path: Path) -> None:
    wide, high = np.full((30, 100, 3), 90, np.uint8), np.full((60, 60, 3), 90, np.uint8)  # more pixels, smaller sum
    photos = write(tmp_path, {"a.png": as_png(wide), "b.png": as_png(high)})
    assert found(photos, same_dim=False).lower_quality == [str(photos / "a.png")]
    photos = write(tmp_path / "bytes", {"a.png": as_png(ONE), "b.tif": encoded(ONE, "TIFF"), "c.png": as_png(ONE)})
    assert found(photos).lower_quality == [str(photos / "a.png"), str(photos / "c.png")]


def test_another_name_of_a_file_that_stays_is_not_deleted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = write(tmp_path, {"a.png": as_png(ONE)})
    (photos / "b.png").hardlink_to(photos / "a.png")
    found(photos).delete(silent_del=True)
    assert sorted(contents(photos)) == ["a.png", "b.png"]
    said = capsys.readouterr()
    assert said.out == "Deleted 0 file(s)\n"
    assert "b.png stays: " in said.err


def test_what_changes_between_search_and_move_stays(tmp_path: Path) -> None:
    photos = write(tmp_path / "photos", {f"{name}.png": as_png(ONE) for name in "abcd"})
    search = found(photos)
    assert len(search.lower_quality) == 3
    (photos / "b.png").write_bytes(as_png(TWO))  # goes for nothing that stays any more
    (photos / "c.png").unlink()
    search.move_to(str(tmp_path / "to"))
    assert sorted(contents(photos)) == ["a.png", "b.png"]
    assert list(contents(tmp_path / "to").values()) == [as_png(ONE)]


def test_if_the_file_that_stays_is_gone_one_of_the_others_stays(tmp_path: Path) -> None:
    photos = write(tmp_path, {f"{name}.png": as_png(ONE) for name in "abc"})
    search = found(photos)
    (photos / "a.png").unlink()
    search.delete(silent_del=True)
    assert len(contents(photos)) == 1


def test_metadata_that_would_be_lost_keep_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Maker", "Model"
    exif.get_ifd(0x8769)[0x9003] = "2020:01:02 03:04:05"
    small = encoded(smaller(LARGE), exif=exif)
    photos = write(tmp_path, {"large.png": as_png(LARGE), "small.jpg": small})
    search = found(photos, "similar", same_dim=False)
    assert search.lower_quality == [str(photos / "small.jpg")]
    search.delete(silent_del=True)
    assert len(contents(photos)) == 2
    assert "small.jpg stays: " in capsys.readouterr().err


def test_a_destination_among_what_is_searched_is_refused(tmp_path: Path) -> None:
    photos = write(tmp_path / "photos", {"a.png": as_png(ONE), "b.png": as_png(ONE)})
    with pytest.raises(ValueError, match=r"^move_to: .* lies under "):
        found(photos).move_to(str(photos / "new"))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ValueError, match=r"^move_to: "):
        found(photos).move_to(str(tmp_path / "file"))
    with pytest.raises(ValueError, match=r"^move_to: no folder is named"):
        found(photos).move_to("")
    assert sorted(path.name for path in photos.iterdir()) == ["a.png", "b.png"]


def test_move_then_delete_leaves_what_was_moved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = write(tmp_path / "photos", {"a.png": as_png(ONE), "b.png": as_png(ONE)})
    search = found(photos)
    search.move_to(str(tmp_path / "to"))
    search.delete(silent_del=True)
    assert len(contents(tmp_path / "to")) == 1
    assert capsys.readouterr().out.endswith("Deleted 0 file(s)\n")


def test_a_lossless_copy_of_a_jpeg_goes_and_the_jpeg_stays(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 12, LARGE.shape)  # without detail its blocks cannot be seen
    grainy = np.clip(96 + LARGE // 4 + noise, 0, 255).astype(np.uint8)
    photos = write(tmp_path, {"a.jpg": encoded(grainy, quality=75)})
    (photos / "b.png").write_bytes(as_png(np.asarray(Image.open(photos / "a.jpg"))))
    search = found(photos)
    assert search.lower_quality == [str(photos / "b.png")]
    search.delete(silent_del=True)
    assert sorted(contents(photos)) == ["a.jpg"]


def test_in_folder_a_file_goes_for_one_of_its_own_folder_only(tmp_path: Path) -> None:
    one = as_png(ONE)
    photos = write(
        tmp_path / "photos", {"1/a.png": one, "1/b.png": one, "2/a.png": one, "2/b.png": one, "3/c.png": one}
    )
    dif = difPy.build(*(str(photos / name) for name in "123"), in_folder=True, show_progress=False)
    search = difPy.search(dif, show_progress=False)
    search.move_to(str(tmp_path / "to"))
    assert sorted(contents(photos)) == ["1/a.png", "2/a.png", "3/c.png"]


def test_in_folder_one_file_of_two_searched_folders_is_never_lost(tmp_path: Path) -> None:
    one = as_png(ONE)
    photos = write(tmp_path / "photos", {"a.png": one, "sub/b.png": one, "sub/c.png": one})
    dif = difPy.build(str(photos), str(photos / "sub"), in_folder=True, show_progress=False)
    search = difPy.search(dif, show_progress=False)
    assert len(search.lower_quality) == 2
    search.delete(silent_del=True)
    assert "a.png" in contents(photos)


def test_a_file_does_not_go_for_one_outside_its_group(tmp_path: Path) -> None:
    retouched = LARGE.copy()
    retouched[40:70, 60:80] = 255 - retouched[40:70, 60:80]  # near a.png, but not the same; small.png is the same
    files = {
        "a.png": encoded(retouched, "PNG", compress_level=0),
        "b.png": as_png(LARGE),
        "small.png": as_png(smaller(LARGE)),
    }
    photos = write(tmp_path, files)
    search = found(photos, 50)
    assert search.result == {str(photos / "a.png"): [[str(photos / "b.png"), pytest.approx(25, abs=25)]]}
    search.delete(silent_del=True)
    assert contents(photos) == files
