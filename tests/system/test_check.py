"""`check` against real damage: what it finds, what `--repair` mends, and that the answer is the old one again."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import numpy as np
import pytest

from dupwatchd.check import Findings, mend_proofs, verify
from dupwatchd.db import remembered
from dupwatchd.db.connection import Row, open_database
from dupwatchd.db.proofs import FILE_NAME as PROOFS_NAME
from dupwatchd.db.proofs import Proofs
from dupwatchd.model import PictureId
from tests.conftest import WITH_PLAIN_RIGHTS, encoded, photo_like
from tests.system.in_process import run, scan
from tests.system.test_scan import COMMAND, names
from tests.update.small_index import write
from tests.update.test_looking import Index

DATABASE = "dupwatch.sqlite"
BLOCK = "blocks/000000.thumbnails"
DESCRIPTORS = "blocks/000000.descriptors"


def make_photos(root: Path) -> None:
    root.mkdir()
    for seed in range(6):
        picture = photo_like(seed, 200, 150)
        (root / f"{seed}.jpg").write_bytes(encoded(picture))
        (root / f"{seed} turned.jpg").write_bytes(encoded(np.rot90(picture).copy(), quality=80))
    (root / "broken.jpg").write_bytes(b"\xff\xd8")


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Any]]:
    """Photos, an index of them, and the answer it gives."""
    place = tmp_path_factory.mktemp("indexed")
    make_photos(place / "photos")
    return place / "photos", place / "state", scan(place / "photos", state=place / "state")


@pytest.fixture
def photos(indexed: tuple[Path, Path, dict[str, Any]]) -> Path:
    """To be left as they are: all tests of this file share them."""
    return indexed[0]


@pytest.fixture
def before(indexed: tuple[Path, Path, dict[str, Any]]) -> dict[str, Any]:
    """The answer while all was sound."""
    return indexed[2]


@pytest.fixture
def state(tmp_path: Path, indexed: tuple[Path, Path, dict[str, Any]]) -> Path:
    """An index of the photos, to be damaged."""
    return Path(shutil.copytree(indexed[1], tmp_path / "state"))


def flip_a_byte(state: Path) -> None:
    data = bytearray((state / BLOCK).read_bytes())
    data[3 * 3072 + 100] ^= 1
    (state / BLOCK).write_bytes(data)


def cut_the_block(state: Path) -> None:
    os.truncate(state / BLOCK, 5 * 3072 + 7)


def lose_the_block(state: Path) -> None:
    (state / BLOCK).unlink()


def flip_a_bit_of_a_descriptor(state: Path) -> None:
    data = bytearray((state / DESCRIPTORS).read_bytes())
    data[3 * 128 + 2] ^= 64
    (state / DESCRIPTORS).write_bytes(data)


def lose_the_descriptors(state: Path) -> None:
    (state / DESCRIPTORS).unlink()


def lie_about_a_match(state: Path) -> None:
    database = apsw.Connection(str(state / DATABASE))
    database.execute("UPDATE match SET mse = mse + 1")
    database.close()


def leave_a_row_dangling(state: Path) -> None:
    database = apsw.Connection(str(state / DATABASE))
    database.execute(
        "PRAGMA foreign_keys = OFF; INSERT INTO match (a, b, mirrored, mse, structure) VALUES (0, 99999, 0, 1, 1)"
    )
    database.close()


def forget_a_fact(state: Path) -> None:
    database = apsw.Connection(str(state / DATABASE))
    database.execute("UPDATE fact SET value = 'garbage' WHERE name = 'compared'")
    database.close()


def lose_a_table(state: Path) -> None:
    database = apsw.Connection(str(state / DATABASE))
    database.execute("DROP TABLE match")
    database.close()


def lose_a_picture(state: Path) -> None:
    database = apsw.Connection(str(state / DATABASE))
    database.execute("PRAGMA foreign_keys = OFF; DELETE FROM picture WHERE id = 2")
    database.close()


DAMAGE = [
    flip_a_byte,
    cut_the_block,
    lose_the_block,
    flip_a_bit_of_a_descriptor,
    lose_the_descriptors,
    lie_about_a_match,
    lose_a_picture,
    leave_a_row_dangling,
    forget_a_fact,
    lose_a_table,
]


def test_an_index_that_may_not_be_looked_into_is_not_said_to_be_missing(state: Path) -> None:
    state.chmod(0)
    command = [*WITH_PLAIN_RIGHTS, *COMMAND, "check", "--state", str(state)]
    done = subprocess.run(command, capture_output=True, check=False)
    state.chmod(0o700)
    assert (done.returncode, done.stdout) == (2, b"")
    assert f"cannot look into {state}: permission denied" in done.stderr.decode()


def test_a_sound_index_is_said_to_be_sound(state: Path) -> None:
    done = run("check", state=state)
    assert done.returncode == 0
    assert f"all is sound in {state}: 12 pictures".encode() in done.stdout
    assert json.loads(run("check", "--json", state=state).stdout)["faults"] == []


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_found_mended_and_the_old_answer_comes_back(
    photos: Path, state: Path, before: dict[str, Any], damage: Callable[[Path], None]
) -> None:
    damage(state)
    found = run("check", state=state)
    assert found.returncode == 1
    assert b"wrong:" in found.stdout
    assert b"check --repair" in found.stdout
    mended = run("check", "--repair", state=state)
    assert mended.returncode == 0
    assert b"mended:" in mended.stdout
    assert b"Traceback" not in mended.stderr
    assert scan(photos, state=state) == before
    assert run("check", state=state).returncode == 0


@pytest.mark.parametrize("damage", [cut_the_block, lose_the_block])
def test_a_scan_over_damaged_blocks_says_what_to_do(photos: Path, state: Path, damage: Callable[[Path], None]) -> None:
    damage(state)
    done = run("scan", photos, state=state)
    assert done.returncode == 1
    assert b"run `dupwatchd check --repair`" in done.stderr
    assert b"Traceback" not in done.stderr


def test_lost_descriptors_are_made_anew_by_the_next_scan(tmp_path: Path) -> None:
    photos, state = tmp_path / "photos", tmp_path / "state"
    make_photos(photos)
    scan(photos, state=state)
    lose_the_descriptors(state)
    shutil.copy(photos / "1.jpg", photos / "copy.jpg")
    (photos / "1 smaller.jpg").write_bytes(encoded(photo_like(1, 200, 150), quality=60))
    after = scan(photos, state=state)
    assert sorted(len(cluster["files"]) for cluster in after["clusters"]) == [2, 2, 2, 2, 2, 4]
    assert run("check", state=state).returncode == 0


def test_thumbnails_are_made_again_from_the_photos_while_they_are_there(photos: Path, state: Path) -> None:
    flip_a_byte(state)
    assert b"1 thumbnails were made again from their photos" in run("check", "--repair", state=state).stdout
    flip_a_byte(state)
    shutil.move(photos, photos.with_name("away"))
    assert b"1 pictures will be read again" in run("check", "--repair", state=state).stdout
    shutil.move(photos.with_name("away"), photos)
    assert len(scan(photos, state=state)["clusters"]) == 6


@pytest.mark.parametrize("damage", ["garbage", "truncated", "empty", "other"])
def test_a_database_beyond_help_is_set_aside_and_rebuilt(
    photos: Path, state: Path, before: dict[str, Any], damage: str
) -> None:
    path = state / DATABASE
    data = path.read_bytes()
    if damage == "garbage":
        path.write_bytes(os.urandom(len(data)))
    elif damage == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        path.write_bytes(data[:28] + os.urandom(4) + data[32:100] + os.urandom(4000) + data[4100:])
    spoilt = path.read_bytes()
    done = run("scan", photos, state=state)
    assert done.returncode == 1
    assert b"check --repair" in done.stderr
    assert run("check", state=state).returncode == 1
    mended = run("check", "--repair", state=state)
    assert mended.returncode == 0, mended.stdout
    assert names(scan(photos, state=state)) == names(before)
    aside = list(state.glob("damaged-*/dupwatch.sqlite"))
    assert [one.read_bytes() for one in aside] == [spoilt]
    assert run("check", state=state).returncode == 0


def test_a_folder_in_the_place_of_the_database_is_set_aside(photos: Path, state: Path, before: dict[str, Any]) -> None:
    (state / DATABASE).unlink()
    (state / DATABASE / "kept").mkdir(parents=True)
    done = run("scan", str(photos), state=state)
    assert done.returncode == 1
    assert b"is no file" in done.stderr
    assert b"check --repair" in done.stderr
    assert run("check", "--repair", state=state).returncode == 0
    assert names(scan(photos, state=state)) == names(before)
    assert len(list(state.glob("damaged-*/dupwatch.sqlite/kept"))) == 1


def test_what_people_said_of_pictures_outlives_a_database_beyond_help(photos: Path, state: Path) -> None:
    said: dict[str, list[Row]] = {
        "ignored_pair": [(b"a" * 32, b"b" * 32, 1)],
        "decision": [(b"a" * 32, b"", "keep", 2), (b"b" * 32, b"/b", "go", 3)],
        "removed_content": [(b"c" * 32, 1, 4)],
    }
    database = open_database(str(state))
    remembered.take_over(database, said)
    damaged_page = database.value("SELECT rootpage FROM sqlite_master WHERE name = 'picture'") - 1
    page_bytes = database.value("PRAGMA page_size")
    database.close()
    with (state / DATABASE).open("r+b") as file:
        file.seek(damaged_page * page_bytes)
        file.write(os.urandom(page_bytes))
    mended = run("check", "--repair", state=state)
    assert mended.returncode == 0
    assert b"was taken over" in mended.stdout
    assert len(scan(photos, state=state)["clusters"]) == 6
    database = open_database(str(state))
    assert remembered.everything(database) == said
    database.close()


@pytest.mark.parametrize("damage", ["a flipped bit", "a row is lost", "the file is lost", "garbage"])
def test_lost_proofs_are_found_and_made_again_by_the_next_scan(tmp_path: Path, damage: str) -> None:
    for seed in range(3):
        write(tmp_path / "photos" / f"{seed}.jpg", encoded(photo_like(seed, 200, 150), "PNG"))
    index = Index(tmp_path / "photos", tmp_path / "state")
    index.update()
    path = tmp_path / "state" / PROOFS_NAME
    proofs = index.intake().stores.proofs
    assert isinstance(proofs, Proofs)
    if damage == "a flipped bit":
        proofs.write({PictureId(1): b"flipped"})
    elif damage == "a row is lost":
        proofs.remove([PictureId(1)])
    proofs.close()
    if damage == "garbage":
        path.write_bytes(os.urandom(path.stat().st_size))
    elif damage == "the file is lost":
        path.unlink()
    before = Findings()
    verify(index.database, index.intake().stores, proofs, before)
    lost = 1 if damage in ("a flipped bit", "a row is lost") else 3
    assert f"{lost} proofs are missing or damaged" in before.faults
    mend_proofs(index.database, proofs, before)
    assert before.mended == [f"{lost} proofs will be made again from their photos"]
    index.update()
    after = Findings()
    verify(index.database, index.intake().stores, Proofs(str(tmp_path / "state")), after)
    assert after.faults == []
    assert index.database.value("SELECT count(*) FROM picture WHERE proof_digest IS NULL") == 0
