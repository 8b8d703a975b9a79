"""Contents of one picture are told apart, by all their pixels and where these differ by a look, whatever happens."""

import itertools
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dupwatchd.db import contents, upkeep
from dupwatchd.db.contents import SoundContent
from dupwatchd.errors import Interrupted
from dupwatchd.index.messages import NotDecoded, PixelsRead
from dupwatchd.model import KIND_BYTES, PIXELS_BYTES
from dupwatchd.update.pipeline import bring_up_to_date
from dupwatchd.update.telling_apart import LOOKED_BESIDE, pairs_to_look_at
from tests.conftest import Rgb, encoded, photo_like
from tests.index.files import deep_png
from tests.update.small_index import LIMITS, RULES, PhotoPool, Silent, write
from tests.update.test_looking import BreakingOff, Index

Found = dict[tuple[str, str], str | tuple[int, int | None]]


def names(index: Index) -> dict[int, str]:
    rows = index.database.rows("SELECT content_id, CAST(name AS TEXT) FROM file WHERE content_id IS NOT NULL")
    return dict(sorted(rows, reverse=True))


def found(index: Index) -> Found:
    """Of the files of one picture, by their names: "equal" pixels, or what a look says: verdict and confirmed."""
    of_content = names(index)
    rows = index.database.rows("SELECT id, picture_id, pixels FROM content WHERE picture_id IS NOT NULL")
    looks = {
        (picture, a, b): told
        for picture, a, b, *told in index.database.rows("SELECT picture_id, a, b, verdict, confirmed FROM content_look")
    }
    result: Found = {}
    for (one, picture, pixels), (other, another, its) in itertools.combinations(rows, 2):
        if picture == another and pixels is not None and its is not None:
            pair = sorted((of_content[one], of_content[other]))
            told = looks.get((picture, *sorted((pixels, its))))
            if pixels == its != b"":
                result[pair[0], pair[1]] = "equal"
            elif told is not None:
                result[pair[0], pair[1]] = (told[0], told[1])
    return result


def confirm(index: Index) -> None:
    while index.intake().looking.confirm_for(0.0):
        pass


def with_bars(photo: Rgb, left: bool) -> Rgb:
    """Black bars in white squares, as large as what a pixel of the proof shows, on this side of it or the other."""
    photo = photo.copy()
    for x in range(200, 248, 8):
        photo[200:204, x : x + 4] = 255
        photo[200:204, x + 2 * left : x + 2 + 2 * left] = 0
    return photo


BOARD = photo_like(5, 768, 768)
PHOTO = photo_like(1, 640, 480)
ONE_LEVEL = PHOTO.copy()
ONE_LEVEL[200, 300] ^= 1
SHADED = np.dstack([PHOTO, np.full(PHOTO.shape[:2], 255, np.uint8)])
SHADED[:20, :20, 3] = 254
FILES = {
    "a.jpg": encoded(PHOTO),
    "a coded otherwise.jpg": encoded(PHOTO, progressive=True, optimize=True),
    "b.jpg": encoded(PHOTO, "PNG"),
    "b one level.jpg": encoded(ONE_LEVEL, "PNG"),
    "b shaded.jpg": encoded(SHADED, "PNG"),
    "left.jpg": encoded(with_bars(BOARD, left=True), "PNG"),
    "right.jpg": encoded(with_bars(BOARD, left=False), "PNG"),
}
EXPECTED: Found = {
    ("a coded otherwise.jpg", "a.jpg"): "equal",
    ("b one level.jpg", "b.jpg"): (2, 1),  # the same, and confirmed
    ("left.jpg", "right.jpg"): (4, 0),  # retouched: no proof shows that
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in FILES.items():
        write(tmp_path / "photos" / name, data)
    return tmp_path / "photos"


def test_contents_are_equal_or_looked_at_or_left_alone(folder: Path, tmp_path: Path) -> None:
    """And after a repair all are told apart anew."""
    index = Index(folder, tmp_path / "state")
    index.update()
    assert index.database.value("SELECT count(*) FROM picture") == 3
    assert found(index) == {}  # not on the way of a new photo
    confirm(index)
    assert found(index) == EXPECTED
    assert contents.to_tell(index.database) == []
    assert upkeep.faults(index.database) == []
    index.pool.looked_at.clear()
    index.update()
    confirm(index)
    assert index.pool.looked_at == []  # that was enough
    with index.database.transaction():
        contents.forget_all(index.database)
    assert found(index) == {}
    index.intake().looking.expect_contents()
    confirm(index)
    assert found(index) == EXPECTED


def test_the_order_in_which_files_come_and_what_went_before_does_not_matter(folder: Path, tmp_path: Path) -> None:
    index = Index(folder, tmp_path / "state")
    away = tmp_path / "away"
    away.mkdir()
    for name in FILES:
        (folder / name).rename(away / name)
    for name in reversed(FILES):
        (away / name).rename(folder / name)
        index.update()
        confirm(index)
    assert found(index) == EXPECTED
    looking = index.intake().looking
    assert looking.left_to_confirm == 0
    (folder / "b one level.jpg").unlink()
    (folder / "right.jpg").unlink()
    bring_up_to_date(index.database, [index.root], RULES, LIMITS, index.intake, Silent())
    assert looking.left_to_confirm is None  # of three that were, two are left: others may be among the first few now
    assert index.database.rows("SELECT 1 FROM content_look") == []  # gone with their contents
    confirm(index)
    assert found(index) == {("a coded otherwise.jpg", "a.jpg"): "equal"}


def test_interrupted_at_any_step_it_is_gone_on_with(folder: Path, tmp_path: Path) -> None:
    for name in ("b.jpg", "b one level.jpg", "b shaded.jpg"):
        (folder / name).unlink()
    expected = {pair: told for pair, told in EXPECTED.items() if "b.jpg" not in pair}
    for step in count(1):
        index = Index(folder, tmp_path / f"state {step}")
        index.update()
        looking = index.intake().looking
        looking._progress = BreakingOff(step)
        try:
            looking.confirm([], contents.to_tell(index.database, [index.root]))
        except Interrupted:
            index.update()
            confirm(index)
        else:
            break
        assert found(index) == expected
        index.database.close()
    assert step > 2


def test_a_file_that_is_away_is_told_apart_when_it_is_back(folder: Path, tmp_path: Path) -> None:
    index = Index(folder, tmp_path / "state")
    index.update()
    away = (folder / "a.jpg").rename(tmp_path / "a.jpg")
    confirm(index)
    looking = index.intake().looking
    assert looking.left_to_confirm == 0
    assert found(index) == {pair: told for pair, told in EXPECTED.items() if told != "equal"}
    away.rename(folder / "a.jpg")
    assert not looking.confirm_for(0.0)
    looking.expect_any()
    confirm(index)
    assert found(index) == EXPECTED


def test_those_left_are_counted_with_the_pairs_and_never_told_to_be_none(folder: Path, tmp_path: Path) -> None:
    index = Index(folder, tmp_path / "state")
    index.update()
    looking = index.intake().looking
    assert looking.left_to_confirm is None
    assert looking.confirm_for(0.0)
    assert len(contents.to_tell(index.database)) == 3
    assert looking.left_to_confirm == 4  # a JPEG and a PNG of one photo are two pictures
    confirm(index)
    assert looking.left_to_confirm == 0
    write(folder / "left again.jpg", FILES["left.jpg"] + b"\0")
    index.update()
    assert index.intake().looking.left_to_confirm is None
    confirm(index)
    assert found(index)["left again.jpg", "left.jpg"] == "equal"
    assert found(index)["left again.jpg", "right.jpg"] == (4, 0)  # what holds for a content holds for its equals


def test_a_damaged_file_is_never_told_to_be_equal(tmp_path: Path) -> None:
    damaged = FILES["a.jpg"][:-2] + b"\x12" * 9 + FILES["a.jpg"][-2:]
    for name, data in (("a.jpg", FILES["a.jpg"]), ("damaged.jpg", damaged)):
        write(tmp_path / "photos" / name, data)
    index = Index(tmp_path / "photos", tmp_path / "state")
    index.update()
    assert index.database.value("SELECT count(*) FROM picture") == 1
    confirm(index)
    assert index.database.rows("SELECT count(*) FROM content WHERE length(pixels) > 0 AND damage IS NOT NULL") == [(0,)]
    assert contents.to_tell(index.database) == []


def test_a_file_of_16_bits_is_looked_at_beside_those_of_8_only(tmp_path: Path) -> None:
    files = {"8.jpg": encoded(PHOTO, "PNG"), "16.jpg": deep_png(PHOTO), "16 finer.jpg": deep_png(PHOTO, finer=True)}
    files |= {"left 16.jpg": deep_png(with_bars(BOARD, left=True)), "right.jpg": FILES["right.jpg"]}
    for name, data in files.items():
        write(tmp_path / "photos" / name, data)
    index = Index(tmp_path / "photos", tmp_path / "state")
    index.update()
    assert index.database.value("SELECT count(*) FROM picture") == 2
    confirm(index)
    assert found(index) == {
        ("16.jpg", "8.jpg"): (2, 1),
        ("16 finer.jpg", "8.jpg"): (2, 1),
        ("left 16.jpg", "right.jpg"): (4, 0),
    }


class Refusing(PhotoPool):
    """Cannot decode all of any file."""

    def pixels(self, path: bytes, digest: bytes | None = None) -> PixelsRead:
        return NotDecoded("it takes too long", picture=True)


def test_what_takes_too_much_is_untold_and_what_has_changed_is_tried_again(folder: Path, tmp_path: Path) -> None:
    index = Index(folder, tmp_path / "state", Refusing())
    index.update()
    (folder / "a.jpg").write_bytes(b"no picture")
    confirm(index)
    of_content = names(index)
    rows = index.database.rows("SELECT id FROM content WHERE pixels IS NULL")
    assert [of_content[one] for (one,) in rows] == ["a.jpg"]
    assert index.database.rows("SELECT count(*) FROM content WHERE length(pixels) > 0") == [(0,)]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12), st.booleans()), max_size=30))
def test_each_content_is_looked_at_beside_the_first_few_of_its_kind_and_no_more(
    drawn: list[tuple[int, int, bool]],
) -> None:
    sound = [
        SoundContent(
            n,
            b"",
            b"",
            1 + is_animated,
            bytes([kind]) * KIND_BYTES + bytes([pixels]) * (PIXELS_BYTES - 8),
            16 if pixels % 4 == 3 else 8,
        )
        for n, (kind, pixels, is_animated) in enumerate(drawn)
    ]
    pairs = pairs_to_look_at(sound)
    assert len(pairs) == len({frozenset(pair) for pair in pairs})
    for kind in range(3):
        stills = [one.pixels for one in sound if one.frames == 1 and one.pixels and one.pixels[0] == kind]
        some = list(dict.fromkeys(stills))
        expected = {
            frozenset((first, second))
            for first in some[:LOOKED_BESIDE]
            for second in some
            if first != second and not first[-1] % 4 == second[-1] % 4 == 3
        }
        assert {frozenset(pair) for pair in pairs if pair[0] and pair[0][0] == kind} == expected


def test_a_film_that_is_not_known_yet_lets_no_motion_photo_go(folder: Path, tmp_path: Path) -> None:
    """Of an index that was made before it told what files hold, nothing is told apart that is to be read again."""
    write(folder / "a moving.jpg", FILES["a.jpg"] + b"\0\0\0\x18ftypmp42" + b"film" * 9999)
    index = Index(folder, tmp_path / "state")
    index.update()
    confirm(index)
    told = found(index)
    assert told["a moving.jpg", "a.jpg"] == "equal"
    with index.database.transaction():
        contents.forget_all(index.database)
        index.database.rows("UPDATE content SET captions = NULL, holds = ''")
    confirm(index)
    assert found(index) == {}
    with index.database.transaction():  # before a film told no pixels apart, it was part of what was told
        index.database.rows("UPDATE content SET pixels = CAST(id AS BLOB) WHERE picture_id IS NOT NULL")
    index.update()
    confirm(index)
    assert index.database.rows("SELECT count(*) FROM content WHERE holds != ''") == [(1,)]
    moving = {one for one, name in names(index).items() if name == "a moving.jpg"}
    kept = {one for (one,) in index.database.rows("SELECT id FROM content WHERE length(pixels) < 3")}
    assert moving.isdisjoint(kept)
    assert kept
