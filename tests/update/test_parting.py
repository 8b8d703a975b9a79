"""Pictures that share a part are found, whoever comes first, is interrupted, or goes."""

import itertools
import os
import random
import shutil
from dataclasses import replace
from itertools import count
from pathlib import Path

import apsw
import numpy as np
import pytest
from PIL import Image

from dupwatchd.compare.parts.agreement import placement_of
from dupwatchd.db import parts, upkeep
from dupwatchd.db.proofs import FILE_NAME
from dupwatchd.model import Decoded, Verdict
from dupwatchd.pixels import keypoints
from dupwatchd.pixels.keypoints import Keypoints
from dupwatchd.pixels.proof import Proof
from dupwatchd.update import parting
from tests.conftest import Rgb, encoded, photo_like
from tests.update import small_index, test_looking
from tests.update.small_index import LIMITS, PhotoPool, write
from tests.update.test_looking import Index, names_of

Stored = dict[tuple[str, str], tuple[object, ...]]


def cropped(photo: Rgb, share: float) -> Rgb:
    """So much less of it, half on either side."""
    down, across = (round(share * side / 2) for side in photo.shape[:2])
    return photo[down:-down, across:-across].copy()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photos with parts of them, one turned and one smaller, and others that share nothing."""
    photos = tmp_path_factory.mktemp("made")
    for seed in (1, 2):
        photo = photo_like(seed, 640, 480)
        write(photos / f"{seed}.jpg", encoded(photo, "PNG"))
        write(photos / f"{seed} part.jpg", encoded(cropped(photo, 0.2), quality=88))
    turned = np.rot90(cropped(photo_like(1, 640, 480), 0.16)).copy()
    write(photos / "1 turned.jpg", encoded(turned, "PNG"))
    small = Image.fromarray(cropped(photo_like(2, 640, 480), 0.12)).resize((280, 210), Image.Resampling.LANCZOS)
    write(photos / "2 small.jpg", encoded(np.asarray(small), "PNG"))
    for seed in (3, 4, 5):
        write(photos / f"{seed}.jpg", encoded(photo_like(seed, 640, 480), "PNG"))
    return photos


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "photos"))


@pytest.fixture(scope="module")
def undisturbed(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """What is stored of the photos if all come at once and nothing happens."""
    index = Index(made, tmp_path_factory.mktemp("undisturbed"))
    index.update()
    found = stored(index)
    index.database.close()
    return found


def stored(index: Index) -> Stored:
    """What is stored of pairs that share a part, by the names of their files, the one that comes first by name."""
    names = names_of(index.database)
    found: Stored = {}
    for a, b, *rest, turn, shows_more in index.database.rows(
        "SELECT a, b, votes, mse, structure, within, verdict, framed, outline, turn, shows_more FROM part_match"
    ):
        pair = (names[a], names[b])
        if pair[0] > pair[1]:
            pair, turn, shows_more = (pair[1], pair[0]), -turn % 360, -shows_more
        found[pair] = (*rest, turn, shows_more)
    return found


def candidates(index: Index) -> list[tuple[int, int]]:
    """All pairs that may share a part, stored or not."""
    expected = parts.searched(index.database, -1, 1000)
    data = dict(index.intake().stores.proofs.read_keypoints(expected))
    found = {one: Keypoints.from_bytes(stored) for one, stored in data.items()}
    pairs = itertools.combinations(sorted(found), 2)
    return [(a, b) for a, b in pairs if placement_of(found[a], found[b]) is not None]


def sound(index: Index) -> bool:
    return not parts.any_to_search(index.database) and not upkeep.faults(index.database)


def test_parts_of_a_photo_are_found_turned_and_smaller_too(folder: Path, tmp_path: Path) -> None:
    index = Index(folder, tmp_path / "state")
    index.update()
    names = names_of(index.database)
    rows = index.database.rows(f"SELECT a, b, shows_more FROM part_match WHERE verdict = {Verdict.CROPPED.code}")
    more = {(names[a], names[b]) if side < 0 else (names[b], names[a]) for a, b, side in rows if side}
    assert {
        ("1.jpg", "1 part.jpg"),
        ("1.jpg", "1 turned.jpg"),
        ("2.jpg", "2 part.jpg"),
        ("2.jpg", "2 small.jpg"),
    } <= more
    assert all(one[0] == other[0] for one, other in stored(index))
    assert sound(index)


@pytest.mark.parametrize("seed", range(4))
def test_what_is_found_does_not_depend_on_who_comes_first_nor_on_how_many_at_once(
    folder: Path, undisturbed: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    one_of = random.Random(seed)
    monkeypatch.setattr(parting, "_AT_ONCE", one_of.randrange(1, 4))
    names = sorted(os.listdir(folder))
    one_of.shuffle(names)
    growing = tmp_path / "growing"
    growing.mkdir()
    index = Index(growing, tmp_path / "state")
    while names:
        for name in names[: one_of.randrange(1, 4)]:
            shutil.copy(folder / name, growing / name)
            names.remove(name)
        index.update()
    assert stored(index) == undisturbed
    assert sound(index)


def test_interrupted_at_any_step_the_same_is_found_in_the_end(
    folder: Path, undisturbed: Stored, tmp_path: Path
) -> None:
    for step in count(1):
        index = Index(folder, tmp_path / f"state {step}")
        if not index.update_in_two(step):
            break
        assert stored(index) == undisturbed
        index.database.close()
    assert step > 5


def test_an_older_index_gets_keypoints_from_its_proofs_and_reads_no_photo(
    folder: Path, undisturbed: Stored, tmp_path: Path
) -> None:
    index = Index(folder, tmp_path / "state")
    index.update()
    make_older(index)
    index.pool.read.clear()
    index.update()
    assert index.pool.read == index.pool.looked_at == []
    assert stored(index) == undisturbed
    assert sound(index)


def make_older(index: Index) -> None:
    """As it was left by a program that knew nothing of keypoints."""
    index.database.rows("DELETE FROM part_match")
    index.database.rows("UPDATE picture SET parted = 0")
    proofs = apsw.Connection(str(index.state / FILE_NAME))
    proofs.execute("DROP TABLE keypoints")
    proofs.close()
    index.pool.looked_at.clear()


def test_interrupted_while_an_older_index_is_searched_the_same_is_found(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parting, "_AT_ONCE", 2)
    older = Index(folder, tmp_path / "older")
    older.update()
    expected = stored(older)
    make_older(older)
    older.database.close()
    for step in count(1):
        index = Index(folder, Path(shutil.copytree(older.state, tmp_path / f"state {step}")))
        if not index.update_in_two(step):
            break
        assert stored(index) == expected
        index.database.close()
    assert step > 4


def test_what_a_picture_that_goes_had_kept_out_is_found(tmp_path: Path) -> None:
    """Of each picture only the best few are stored: those that follow take the places of those that go."""
    photos, photo = tmp_path / "photos", photo_like(7, 640, 480)
    names = []
    for number in range(9):  # parts that overlap, and are no copies of each other
        left, top = 20 * number, 15 * number
        names.append(f"{number}.jpg")
        write(photos / names[-1], encoded(photo[top : top + 340, left : left + 460].copy(), "PNG"))
    index = Index(photos, tmp_path / "state")
    index.update()
    assert len(stored(index)) < len(candidates(index))
    one_of = random.Random(5)
    while len(names) > 3:
        for name in one_of.sample(names, 2):
            names.remove(name)
            (photos / name).unlink()
        index.update()
        fresh = Index(photos, tmp_path / f"fresh {len(names)}")
        fresh.update()
        assert stored(index) == stored(fresh)
        assert sound(index)


class _WithKeypoints(PhotoPool):
    """Hands keypoints on with each photo, as decode processes do; ``wrong`` instead of them for every other one."""

    def __init__(self, wrong: bytes | None) -> None:
        super().__init__()
        self._wrong = wrong
        self._next = count()

    def decoded(self, data: bytes) -> Decoded:
        found = super().decoded(data)
        if self._wrong is not None and next(self._next) % 2:
            return replace(found, keypoints=self._wrong)
        return replace(found, keypoints=keypoints.keypoints_of(Proof.from_bytes(found.proof)).to_bytes())


@pytest.mark.parametrize("wrong", [None, b"", b"nonsense", bytes(999)])
def test_keypoints_that_come_along_are_used_where_they_can_be_read(
    folder: Path, undisturbed: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: bytes | None
) -> None:
    made: list[bytes] = []
    make = parting._keypoints_of

    def note(proof: bytes) -> Keypoints | None:
        made.append(proof)
        return make(proof)

    monkeypatch.setattr(parting, "_keypoints_of", note)
    index = Index(folder, tmp_path / "state", _WithKeypoints(wrong))
    index.update()
    assert stored(index) == undisturbed
    assert sound(index)
    assert len(made) == (0 if wrong is None else 4), "of nine, those that were wrong are made from their proofs"


def test_keypoints_that_are_damaged_or_lost_are_made_again(folder: Path, tmp_path: Path) -> None:
    index = Index(folder, tmp_path / "state")
    index.update()
    before = stored(index)
    proofs = apsw.Connection(str(index.state / FILE_NAME))
    proofs.execute("UPDATE keypoints SET data = zeroblob(length(data)) WHERE id % 3 = 0")
    proofs.execute("DELETE FROM keypoints WHERE id % 3 = 1")
    proofs.close()
    photo = photo_like(1, 640, 480)
    write(folder / "1 other part.jpg", encoded(cropped(photo, 0.24), "PNG"))
    index.update()
    found = stored(index)
    assert {pair: told for pair, told in found.items() if "1 other part.jpg" not in pair} == before
    assert ("1 other part.jpg", "1.jpg") in found
    assert sound(index)


def test_keypoints_of_another_version_are_made_anew_when_a_photo_comes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = Index(folder, tmp_path / "state")
    index.update()
    before = stored(index)
    index.database.rows("UPDATE part_match SET votes = 99")
    monkeypatch.setattr(keypoints, "VERSION", keypoints.VERSION + 1)
    write(folder / "9.jpg", encoded(photo_like(9, 640, 480), "PNG"))
    index.update()
    assert stored(index) == before
    assert sound(index)


def test_nothing_is_searched_if_it_is_not_asked_for(folder: Path, tmp_path: Path) -> None:
    index = Index(folder, tmp_path / "state", frames=False)
    index.update()
    assert stored(index) == {}
    assert parts.any_to_search(index.database)
    index.frames = True
    index.pool.read.clear()
    index.update()
    assert len(stored(index)) > 3
    assert index.pool.read == []


def test_wider_limits_make_a_match_of_what_shared_a_part(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then it is looked at as a match, and only so."""
    index = Index(folder, tmp_path / "state")
    index.update()
    assert {told[3] for told in stored(index).values()} == {0}
    nearest = min(float(str(told[2])) for told in stored(index).values())  # structure
    wide = replace(LIMITS, keep_structure=nearest, looks_per_picture=5)
    for module in (small_index, test_looking):
        monkeypatch.setattr(module, "LIMITS", wide)
    index.update()
    fresh = Index(folder, tmp_path / "fresh")
    fresh.update()
    assert {told[3] for told in stored(index).values()} == {0, 1}
    assert [(pair, told[:4]) for pair, told in sorted(stored(index).items())] == [
        (pair, told[:4]) for pair, told in sorted(stored(fresh).items())
    ]
    assert sound(index)
    twice = "SELECT 1 FROM match JOIN part_match USING (a, b) WHERE mirrored = 0 AND within = 0"
    assert not index.database.rows(twice)
