"""An index made before there were proofs becomes what a new one would be, however often it is interrupted."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterable
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from blake3 import blake3
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from dupwatchd.db import files, renewing, schema, upkeep
from dupwatchd.db.proofs import proof_digest
from dupwatchd.model import Job, Outcome, ReadStatus
from tests.conftest import encoded, photo_like
from tests.update.small_index import PhotoPool, write
from tests.update.test_looking import Index


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    photos = tmp_path / "photos"
    for seed in (1, 2, 3):
        photo = photo_like(seed, 320, 240)
        write(photos / f"{seed}.jpg", encoded(photo, "PNG"))
        write(photos / f"{seed} q80.jpg", encoded(photo, "JPEG", quality=80))
        write(photos / f"{seed} again.jpg", encoded(photo, "PNG", compress_level=1))
    # one thumbnail of two pictures: what differs is finer than its cells
    for name, shift in (("fine a.jpg", 0), ("fine b.jpg", 1)):
        stripes = np.where((np.arange(320) + shift) % 2, 40, -40)[None, :, None]
        write(
            photos / name, encoded(np.clip(photo_like(4, 320, 320) // 2 + 64 + stripes, 0, 255).astype(np.uint8), "PNG")
        )
    return photos


def old_index(folder: Path, state: Path) -> Index:
    """As it was left by a program that made no proofs."""
    pool = PhotoPool()
    pool.with_proofs = False
    index = Index(folder, state, pool)
    index.update()
    pool.with_proofs = True
    assert renewing.count_without_proof(index.database) == index.database.value("SELECT count(*) FROM picture")
    return index


def shown(index: Index) -> set[frozenset[str]]:
    """Which files show one picture."""
    together: dict[int, set[str]] = {}
    for picture_id, name in index.database.rows(
        "SELECT picture_id, CAST(name AS TEXT) FROM content JOIN file ON content_id = content.id WHERE picture_id >= 0"
    ):
        together.setdefault(picture_id, set()).add(name)
    return {frozenset(names) for names in together.values()}


def state_of(index: Index) -> tuple[object, ...]:
    digests = index.database.rows("SELECT digest, thumbnail_digest, proof_digest, flat FROM picture ORDER BY 1")
    return index.told(), shown(index), digests, upkeep.faults(index.database)


def test_an_old_index_becomes_what_a_new_one_would_be(folder: Path, tmp_path: Path) -> None:
    new = Index(folder, tmp_path / "new")
    new.update()
    old = old_index(folder, tmp_path / "old")
    assert {verdict for verdict, _ in old.told().values()} == {None}
    old.update()
    assert state_of(old) == state_of(new)
    proofs = old.intake().stores.proofs
    expected = next(upkeep.proofs_in_parts(old.database, 1000))
    assert dict(proofs.read(expected)).keys() == expected.keys()
    old.pool.read.clear()
    old.update()
    assert old.pool.read == []


def test_proofs_of_another_format_are_made_again_when_a_copy_comes(folder: Path, tmp_path: Path) -> None:
    index = Index(folder, tmp_path / "state")
    index.update()
    proofs = index.intake().stores.proofs
    for picture_id, data in proofs.read(next(upkeep.proofs_in_parts(index.database, 1000))):
        other = b"\2" + data[1:]
        proofs.write({picture_id: other})
        index.database.rows(
            "UPDATE picture SET digest = ?, proof_digest = ? WHERE id = ?",
            (proof_digest(bytes(other)), proof_digest(other), picture_id),
        )
    write(folder / "1 later.jpg", encoded(photo_like(1, 320, 240), "PNG", compress_level=9))
    index.update()
    assert {"1.jpg", "1 again.jpg", "1 later.jpg"} in shown(index)
    assert index.told()["1 again.jpg", "1 q80.jpg"][0] == "same"
    assert upkeep.faults(index.database) == []


def test_interrupted_at_any_step_it_goes_on(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dupwatchd.update.renew._PICTURES_AT_ONCE", 2)
    new = Index(folder, tmp_path / "new")
    new.update()
    expected = state_of(new)
    made = old_index(folder, tmp_path / "old")
    made.database.close()
    for step in count(1):
        shutil.copytree(tmp_path / "old", tmp_path / str(step))
        index = Index(folder, tmp_path / str(step))
        if not index.update_in_two(step):
            break
        assert state_of(index) == expected
        index.database.close()
    assert step > 5


_UPDATE_AND_BE_KILLED = """
import os, sys
from pathlib import Path
from dupwatchd.db.connection import Database
from tests.update.test_looking import Index

left = int(sys.argv[3])

def counting(method):
    def counted(*arguments):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), 9)
        return method(*arguments)
    return counted

Database.rows, Database.many = counting(Database.rows), counting(Database.many)
Index(Path(sys.argv[1]), Path(sys.argv[2])).update()
print(left)
"""


def killed_at(statement: int, folder: Path, state: Path) -> "subprocess.CompletedProcess[str]":
    """Bring an index up to date in a process that is killed at one of its statements to the databases."""
    command = [sys.executable, "-c", _UPDATE_AND_BE_KILLED, str(folder), str(state), str(statement)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent.parent.parent)


def test_killed_at_any_statement_it_goes_on(folder: Path, tmp_path: Path) -> None:
    new = Index(folder, tmp_path / "new")
    new.update()
    expected = state_of(new)
    old_index(folder, tmp_path / "old").database.close()
    shutil.copytree(tmp_path / "old", tmp_path / "whole")
    statements = 1_000_000 - int(killed_at(1_000_000, folder, tmp_path / "whole").stdout)
    for statement in (np.random.default_rng().choice(statements, 5, replace=False) + 1).tolist():
        state = tmp_path / str(statement)
        shutil.copytree(tmp_path / "old", state)
        assert killed_at(statement, folder, state).returncode == -signal.SIGKILL
        index = Index(folder, state)
        index.update()
        assert state_of(index) == expected
        index.database.close()


def test_a_file_that_is_away_keeps_its_old_picture_until_it_is_back(folder: Path, tmp_path: Path) -> None:
    old = old_index(folder, tmp_path / "old")
    matched = old.told().keys()
    away = (folder / "1.jpg").rename(tmp_path / "1.jpg")
    intake = old.intake()
    intake.renewal.renew_all([old.root])
    assert renewing.count_without_proof(old.database) == 1
    told = old.told()
    assert told.keys() >= {pair for pair in matched if "1.jpg" in pair}
    away.rename(folder / "1.jpg")
    intake.renewal.renew_all([old.root])
    assert renewing.count_without_proof(old.database) == 0
    assert all(verdict for verdict, _ in old.told().values())


def test_pictures_that_match_others_come_first_and_only_some_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dupwatchd.update.renew._PICTURES_AT_A_TIME", 1)
    photos = tmp_path / "photos"
    for seed in range(4):
        write(photos / f"{seed}.jpg", encoded(photo_like(seed, 200, 150), "PNG"))
    smaller = Image.fromarray(photo_like(3, 200, 150)).resize((100, 75))
    write(photos / "z.jpg", encoded(np.asarray(smaller), "PNG"))
    old = old_index(photos, tmp_path / "old")
    renewal = old.intake().renewal
    renewal.begin_round()
    old.pool.read.clear()
    steps = 0
    while renewal.renew_some([old.root]):
        steps += 1
    assert steps == 5
    assert {path.rpartition(b"/")[2] for path in old.pool.read[:2]} == {b"3.jpg", b"z.jpg"}
    assert not renewal.renew_some([old.root])


def test_metadata_are_read_again_for_an_index_made_before_them(folder: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x9C9E] = "sea;sun".encode("utf-16-le")
    exif[0x010E] = "By the sea"
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 8.0, 13.74), 3: "E", 4: (11.0, 34.0, 31.44)})
    exif.get_ifd(0x8769)[0x829A] = IFDRational(1, 100)
    regions = b'<rdf:Description mwg-rs:Name="Anna"/>'
    tagged = encoded(photo_like(1, 320, 240), "JPEG", quality=90, exif=exif.tobytes(), xmp=regions) + FILM
    write(folder / "tagged.jpg", tagged)
    write(folder / "glass.jpg", encoded(np.dstack([photo_like(9, 64, 64), np.full((64, 64), 99, np.uint8)]), "PNG"))
    index = Index(folder, tmp_path / "state")
    index.update()
    before = index.told()
    names = "keywords, place, captions, people, transparent, has_place, bits, exposure, holds"
    told = f"SELECT {names} FROM content ORDER BY id"
    read = index.database.rows(told)
    assert max(read) == ("sea\nsun", "48.13715, 11.57540", "By the sea", "Anna", 0, 1, 8, "t=0.01", HELD)
    assert ("", "", "", "", 1, 0, 8, "", "") in read
    index.database.rows(f"UPDATE content SET ({names}) = (NULL, NULL, NULL, '', 0, 0, 7, '', '')")
    index.pool.read.clear()
    index.update()
    assert index.database.rows(told) == read
    assert len(index.pool.read) == len(set(index.pool.read)) == len(read)
    index.database.rows("UPDATE content SET captions = NULL WHERE keywords != ''")
    index.pool.read.clear()
    index.update()
    assert index.database.rows(told) == read
    assert [path.rpartition(b"/")[2] for path in index.pool.read] == [b"tagged.jpg"]
    assert index.told() == before
    index.pool.read.clear()
    index.update()
    assert index.pool.read == []


FILM = b"\0\0\0\x18ftypmp42" + b"film" * 9999
HELD = f"film ({blake3(FILM.lstrip(bytes(1))).hexdigest(length=8)})"


class PoolOfToday(PhotoPool):
    """Decodes as `PhotoPool`; before ``today`` it took one file for another picture, and damaged ones for whole."""

    def __init__(self) -> None:
        super().__init__()
        self.today = True

    def index(self, jobs: Iterable[Job], known: Callable[[Job, bytes], bool]) -> Generator[Outcome, None, None]:
        for outcome in super().index(jobs, known):
            name, decoded = outcome.job.path.rpartition(b"/")[2], outcome.decoded
            if decoded is None:
                yield outcome
            elif self.today and name in (b"1 again.jpg", b"3 q80.jpg"):
                yield replace(outcome, status=ReadStatus.FAILED, decoded=None, error="cut")
            elif self.today and name == b"3 again.jpg":
                yield replace(outcome, decoded=replace(decoded, damage="lacks rows"))
            elif not self.today and name == b"2.jpg":
                yield replace(outcome, decoded=self.decoded(encoded(photo_like(7, 320, 240), "PNG")))
            else:
                yield outcome


def told_today(index: Index) -> tuple[object, ...]:
    known = index.database.rows("SELECT digest, picture_id IS NULL, error, damage, captions FROM content ORDER BY 1")
    failed = {(failure.path, failure.error) for failure in files.failures(index.database, index.root)}
    return state_of(index), known, failed


def test_what_is_decoded_otherwise_today_becomes_what_a_new_index_would_tell(folder: Path, tmp_path: Path) -> None:
    new = Index(folder, tmp_path / "new", PoolOfToday())
    new.update()
    expected = told_today(new)
    assert {frozenset(["2.jpg", "2 again.jpg"]), frozenset(["1.jpg"])} < shown(new)
    pool = PoolOfToday()
    pool.today = False
    old = Index(folder, tmp_path / "old", pool)
    old.update()
    assert {frozenset(["2.jpg"]), frozenset(["1.jpg", "1 again.jpg"])} < shown(old)
    with old.database.transaction():
        schema._tell_all_anew(old.database)
    assert {verdict for verdict, _ in old.told().values()} == {None}
    old.database.close()
    for step in count(1):
        shutil.copytree(tmp_path / "old", tmp_path / str(step))
        index = Index(folder, tmp_path / str(step), PoolOfToday())
        if not index.update_in_two(step):
            break
        assert told_today(index) == expected
        index.database.close()
    assert step > 5
    assert told_today(index) == expected
    index.pool.read.clear()
    index.update()
    assert index.pool.read == []
