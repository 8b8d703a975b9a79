"""difPy's Python interface: as documented, also where difPy itself is not."""

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import dupwatchd.compat.difpy as difPy  # noqa: N812 - as its users write it
from tests.compat.pictures import ONE, THREE, TWO, as_png, flat, smaller
from tests.conftest import encoded


def write(folder: Path, **files: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name.replace("_", ".")).write_bytes(data)
    return folder


def names(result: dict[str, Any]) -> dict[str, list[str]]:
    return {
        os.path.basename(first): [os.path.basename(name) for name, _ in matches] for first, matches in result.items()
    }


def searched(*folders: Path, similarity: str | float = "duplicates", **more: Any) -> dict[str, list[str]]:
    dif = difPy.build(*map(str, folders), show_progress=False)
    return names(difPy.search(dif, similarity, show_progress=False, **more).result)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    one, two = as_png(ONE), as_png(TWO)
    write(folder / "a", one_png=one, two_png=two, two_again_png=two, broken_jpg=b"no picture", note_txt=b"text")
    write(folder / "b", one_png=one, small_png=as_png(smaller(TWO)))
    write(folder / "b" / "deeper", one_png=one, other_png=one)
    return folder


def test_one_folder_is_searched(photos: Path) -> None:
    dif = difPy.build(str(photos / "a") + "/", show_progress=False)
    search = difPy.search(dif, show_progress=False)
    a = str(photos / "a")
    assert search.result == {f"{a}/two.again.png": [[f"{a}/two.png", 0.0]]}
    assert search.lower_quality == [f"{a}/two.png"]


@pytest.mark.parametrize("as_list", [True, False])
def test_several_folders_are_searched_as_one(photos: Path, as_list: bool) -> None:
    folders = [str(photos / "b"), str(photos / "a")]
    dif = difPy.build(folders, show_progress=False) if as_list else difPy.build(*folders, show_progress=False)
    found = difPy.search(dif, show_progress=False)
    assert names(found.result) == {"one.png": ["one.png", "one.png", "other.png"], "two.again.png": ["two.png"]}
    assert dif.stats["directory"] == sorted(folders)


def test_several_searches_of_one_build(photos: Path) -> None:
    dif = difPy.build(str(photos), show_progress=False)
    duplicates = difPy.search(dif, similarity="duplicates", show_progress=False)
    similar = difPy.search(dif, similarity="similar", same_dim=False, show_progress=False)
    assert len(names(duplicates.result)["two.again.png"]) == 1
    assert sorted(names(similar.result)["two.again.png"]) == ["small.png", "two.png"]
    small = [name for name in similar.lower_quality if name.endswith("small.png")]
    assert len(small) == 1
    assert similar.stats["process"]["search"]["matches_found"] == {"duplicates": 4, "similar": 1}


def test_statistics_have_the_documented_shape(photos: Path) -> None:
    dif = difPy.build(str(photos / "a"), px_size=50, processes=1, show_progress=False)
    stats = json.loads(json.dumps(difPy.search(dif, show_progress=False, processes=1).stats))
    for step in stats["process"].values():
        assert set(step["duration"]) == {"start", "end", "seconds_elapsed"}
        assert step["duration"]["start"] <= step["duration"]["end"]
        del step["duration"]
    assert stats == {
        "directory": [str(photos / "a")],
        "total_files": 5,
        "invalid_files": {
            "count": 2,
            "logs": {
                str(photos / "a" / "note.txt"): "Unsupported file type",
                str(photos / "a" / "broken.jpg"): "not an image (text)",
            },
        },
        "process": {
            "build": {
                "parameters": {
                    "recursive": True, "in_folder": False, "limit_extensions": True, "px_size": 50, "processes": 1,
                },
            },
            "search": {
                "parameters": {
                    "similarity_mse": 0, "rotate": True, "same_dim": True, "processes": 1, "chunksize": None,
                },
                "files_searched": 3,
                "matches_found": {"duplicates": 1, "similar": 0},
            },
        },
    }  # fmt: skip


def test_in_folder_each_argument_is_searched_for_itself(photos: Path) -> None:
    a, b = str(photos / "a"), str(photos / "b")
    dif = difPy.build(a, b + "/", in_folder=True, show_progress=False)
    assert difPy.search(dif, show_progress=False).result == {
        a: {f"{a}/two.again.png": [[f"{a}/two.png", 0.0]]},
        b: {f"{b}/one.png": [[f"{b}/deeper/one.png", 0.0], [f"{b}/deeper/other.png", 0.0]]},
    }


def test_in_folder_each_single_folder_is_searched_for_itself(photos: Path) -> None:
    a, deeper = str(photos / "a"), str(photos / "b" / "deeper")
    dif = difPy.build(str(photos), in_folder="each", show_progress=False)
    assert difPy.search(dif, show_progress=False).result == {
        a: {f"{a}/two.again.png": [[f"{a}/two.png", 0.0]]},
        deeper: {f"{deeper}/one.png": [[f"{deeper}/other.png", 0.0]]},
    }


def test_relative_paths_stay_relative(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos)
    dif = difPy.build("./a", "b/one.png", show_progress=False)
    assert difPy.search(dif, show_progress=False).result == {
        "a/one.png": [["b/one.png", 0.0]],
        "a/two.again.png": [["a/two.png", 0.0]],
    }


def test_single_files_are_searched_and_nothing_beside_them(photos: Path) -> None:
    dif = difPy.build(str(photos / "a" / "one.png"), str(photos / "b" / "one.png"), show_progress=False)
    assert list(names(difPy.search(dif, show_progress=False).result).items()) == [("one.png", ["one.png"])]
    assert dif.stats["total_files"] == 2


def test_without_recursion_folders_below_are_not_searched(photos: Path) -> None:
    dif = difPy.build(str(photos / "b"), recursive=False, show_progress=False)
    assert (difPy.search(dif, show_progress=False).result, dif.stats["total_files"]) == ({}, 2)
    both = difPy.build(str(photos / "b"), str(photos / "b" / "deeper"), recursive=False, show_progress=False)
    assert both.stats["total_files"] == 4


def test_any_suffix_is_tried_without_the_limit(tmp_path: Path) -> None:
    one = as_png(ONE)
    write(tmp_path, a_png=one, b_picture=one, c_txt=b"text", d=one)
    with_limit = difPy.build(str(tmp_path), show_progress=False)
    without = difPy.build(str(tmp_path), limit_extensions=False, show_progress=False)
    assert (with_limit.stats["invalid_files"]["count"], with_limit.stats["total_files"]) == (3, 4)
    assert names(difPy.search(without, show_progress=False).result) == {"a.png": ["b.picture", "d"]}
    reason = "UnidentifiedImageError: file could not be identified as image."
    assert without.stats["invalid_files"] == {"count": 1, "logs": {str(tmp_path / "c.txt"): reason}}


def test_xbm_and_xpm_are_pictures(tmp_path: Path) -> None:
    bitmap = io.BytesIO()
    Image.fromarray(ONE).convert("1").save(bitmap, "XBM")
    xbm = bitmap.getvalue()
    rows = ",\n".join(f'"{"ab" * 8}"' for _ in range(16))
    xpm = f'/* XPM */\nstatic char *a[] = {{\n"16 16 2 1",\n"a c #102030",\n"b c #f0e0d0",\n{rows}\n}};\n'.encode()
    write(tmp_path, a_xbm=xbm, b_xbm=xbm, a_xpm=xpm, b_xpm=xpm)
    assert searched(tmp_path) == {"a.xbm": ["b.xbm"], "a.xpm": ["b.xpm"]}


def test_values_do_not_wrap_around(tmp_path: Path) -> None:
    write(tmp_path, black_png=as_png(flat(0)), grey_png=as_png(flat(16)), white_png=as_png(flat(255)))
    assert searched(tmp_path, similarity="similar") == {}
    dif = difPy.build(str(tmp_path), show_progress=False)
    result = difPy.search(dif, 256, show_progress=False).result
    assert [[value for _, value in matches] for matches in result.values()] == [[256.0]]


def test_a_picture_turned_by_270_degrees_is_found(tmp_path: Path) -> None:
    for quarters in range(4):
        write(tmp_path, **{f"t{quarters}_png": as_png(np.rot90(ONE, quarters).copy())})
    assert searched(tmp_path) == {"t0.png": ["t1.png", "t2.png", "t3.png"]}
    assert searched(tmp_path, rotate=False) == {}


def test_equal_sums_of_pixels_are_not_equal_pictures(tmp_path: Path) -> None:
    shuffled = np.random.default_rng(0).permutation(ONE.reshape(-1, 3)).reshape(ONE.shape)
    assert shuffled.sum() == ONE.sum()
    write(tmp_path, a_png=as_png(ONE), b_png=as_png(shuffled))
    assert searched(tmp_path) == {}


def test_a_jpeg_and_its_lossless_copies_are_duplicates(tmp_path: Path) -> None:
    jpeg = encoded(np.kron(ONE, np.ones((4, 4, 1), np.uint8)))  # large enough to be decoded at a fraction of its size
    write(tmp_path, a_jpg=jpeg)
    pixels = np.asarray(Image.open(tmp_path / "a.jpg"))
    other = pixels.copy()
    other[:200, :200] ^= 4
    write(tmp_path, b_png=as_png(pixels), c_tiff=encoded(pixels, "TIFF"), d_png=as_png(np.rot90(pixels).copy()))
    write(tmp_path, e_png=as_png(other))
    assert searched(tmp_path) == {"a.jpg": ["b.png", "c.tiff", "d.png"]}
    assert searched(tmp_path, rotate=False) == {"a.jpg": ["b.png", "c.tiff"]}


def test_a_photo_is_compared_as_it_is_displayed(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(np.rot90(ONE).copy(), "PNG", exif=exif)
    write(tmp_path, a_png=as_png(ONE), b_png=turned)
    assert searched(tmp_path, rotate=False) == {"a.png": ["b.png"]}


def test_brackets_in_the_name_of_a_folder(tmp_path: Path) -> None:
    one = as_png(ONE)
    assert searched(write(tmp_path / "[2019] trip*", a_png=one, b_png=one)) == {"a.png": ["b.png"]}


def test_names_with_a_dot_and_links_are_left_out(tmp_path: Path) -> None:
    one = as_png(ONE)
    write(tmp_path / "in", a_png=one)
    write(tmp_path / "in" / ".hidden", b_png=one)
    (tmp_path / "in" / ".c.png").write_bytes(one)
    write(tmp_path / "elsewhere", d_png=one)
    (tmp_path / "in" / "link.png").symlink_to(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "elsewhere")
    dif = difPy.build(str(tmp_path / "in"), show_progress=False)
    assert difPy.search(dif, show_progress=False).result == {}
    link = "symbolic link: not followed"
    assert dif.stats["invalid_files"]["logs"] == {str(tmp_path / "in" / name): link for name in ("link.png", "linked")}


def test_a_name_that_is_no_text_is_found_and_written(tmp_path: Path) -> None:
    one = as_png(ONE)
    for name in (b"a\xff.png", b"b.png"):
        with open(os.path.join(os.fsencode(tmp_path), name), "wb") as stream:
            stream.write(one)
    dif = difPy.build(str(tmp_path), show_progress=False)
    result = json.loads(json.dumps(difPy.search(dif, show_progress=False).result))
    assert [os.fsencode(name).rpartition(b"/")[2] for name in result] == [b"a\xff.png"]


def test_a_file_below_two_arguments_does_not_match_itself(photos: Path) -> None:
    dif = difPy.build(str(photos / "b"), str(photos / "b" / "one.png"), show_progress=False)
    assert dif.stats["total_files"] == 4
    assert names(difPy.search(dif, show_progress=False).result) == {"one.png": ["one.png", "other.png"]}


def test_a_kept_state_directory_reads_only_what_is_new(tmp_path: Path) -> None:
    one = as_png(ONE)
    folder, state = write(tmp_path / "in", a_png=one, b_png=one), str(tmp_path / "state")
    difPy.build(str(folder), state=state, show_progress=False)
    (folder / "a.png").chmod(0)  # what is known is not read again
    write(folder, c_png=as_png(THREE))
    dif = difPy.build(str(folder), state=state, show_progress=False)
    assert names(difPy.search(dif, show_progress=False).result) == {"a.png": ["b.png"]}
    assert dif.stats["total_files"] == 3


def test_a_temporary_index_goes_with_its_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = write(tmp_path / "in", a_png=as_png(ONE))
    dif = difPy.build(str(folder), show_progress=False)
    assert len(list(tmp_path.glob("dupwatch-difpy-*"))) == 1
    del dif
    assert list(tmp_path.glob("dupwatch-difpy-*")) == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"px_size": 9}, "px_size"), ({"px_size": 5001}, "px_size"), ({"px_size": 50.0}, "px_size"),
        ({"recursive": 1}, "recursive"), ({"in_folder": "yes"}, "in_folder"), ({"processes": 0}, "processes"),
        ({"limit_extensions": None}, "limit_extensions"), ({"show_progress": 0}, "show_progress"),
    ],
)  # fmt: skip
def test_a_wrong_parameter_of_build_is_named(tmp_path: Path, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=f"^{said}: "):
        difPy.build(str(tmp_path), **wrong)


def test_wrong_directories_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        difPy.build(str(tmp_path / "nowhere"))
    for wrong in ((), (str(tmp_path), str(tmp_path)), (str(tmp_path), [str(tmp_path)]), (3,)):
        with pytest.raises(ValueError, match=r"^directory: "):
            difPy.build(*wrong)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"similarity": "high"}, "similarity"), ({"similarity": -1}, "similarity"),
        ({"similarity": "nan"}, "similarity"),
        ({"rotate": "yes"}, "rotate"), ({"same_dim": 1}, "same_dim"), ({"chunksize": 0}, "chunksize"),
        ({"in_folder": True}, "in_folder"), ({"processes": 10_000}, "processes"),
    ],
)  # fmt: skip
def test_a_wrong_parameter_of_search_is_named(photos: Path, wrong: dict[str, Any], said: str) -> None:
    dif = difPy.build(str(photos / "a" / "one.png"), show_progress=False)
    with pytest.raises(ValueError, match=f"^{said}: "):
        difPy.search(dif, **wrong)


def test_a_search_of_something_else_than_a_build_is_refused(photos: Path) -> None:
    with pytest.raises(ValueError, match=r"^difpy_obj: must be what build\(\) has made"):
        difPy.search(str(photos))  # type: ignore[arg-type] # as somebody may call it


def test_what_has_another_name_or_no_meaning_is_accepted_with_a_note(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dif = difPy.build(str(photos / "b"), px_size=200, logs=True, show_progress=False)
    found = difPy.search(dif, "similar", lazy=False, chunksize=5, logs=True, show_progress=False)
    assert found.stats["process"]["search"]["parameters"]["same_dim"] is False
    noted = capsys.readouterr().err
    for words in ("compared at 128 px", "called same_dim", "chunksize has no meaning", "logs has no meaning"):
        assert words in noted
