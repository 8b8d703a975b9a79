"""Proofs come back as they were stored, or not at all."""

import os
from pathlib import Path

import apsw
import pytest

from dupwatchd.db.proofs import FILE_NAME, Proofs, proof_digest
from dupwatchd.errors import DamagedStateError
from dupwatchd.model import PictureId

DATA = {PictureId(number): os.urandom(20_000) for number in range(450)}
DIGESTS = {number: proof_digest(data) for number, data in DATA.items()}


@pytest.fixture
def proofs(tmp_path: Path) -> Proofs:
    proofs = Proofs(str(tmp_path))
    proofs.write(DATA)
    return proofs


def test_what_was_written_is_read_by_another_connection_too(tmp_path: Path, proofs: Proofs) -> None:
    assert dict(proofs.read(DIGESTS)) == DATA
    assert dict(Proofs(str(tmp_path)).read(DIGESTS)) == DATA
    some = {PictureId(7): DIGESTS[PictureId(7)], PictureId(9999): b"0" * 16}
    assert dict(proofs.read(some)) == {7: DATA[PictureId(7)]}


def test_a_picture_that_takes_the_slot_of_another_replaces_its_proof(proofs: Proofs) -> None:
    proofs.write({PictureId(3): b"new"})
    assert dict(proofs.read({PictureId(3): proof_digest(b"new")})) == {3: b"new"}
    assert dict(proofs.read({PictureId(3): DIGESTS[PictureId(3)]})) == {}


def test_a_flipped_bit_makes_it_no_proof_at_all(tmp_path: Path, proofs: Proofs) -> None:
    other = apsw.Connection(str(tmp_path / FILE_NAME))
    spoilt = bytearray(DATA[PictureId(5)])
    spoilt[9_000] ^= 1
    other.execute("UPDATE proof SET data = ? WHERE id = 5", (bytes(spoilt),))
    other.close()
    assert set(proofs.read(DIGESTS)) == {item for item in DATA.items() if item[0] != 5}


def test_removed_proofs_are_gone_and_the_others_stay(proofs: Proofs) -> None:
    proofs.remove([PictureId(1), PictureId(2), PictureId(12345)])
    assert proofs.ids() == [number for number in DATA if number not in (1, 2)]


def test_nothing_is_made_for_nothing(tmp_path: Path) -> None:
    proofs = Proofs(str(tmp_path))
    proofs.write({})
    proofs.remove([PictureId(1)])
    assert proofs.ids() == []
    assert proofs.faults() == []
    assert os.listdir(tmp_path) == []


def test_a_file_that_is_no_database_of_proofs_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"something else" * 1000)
    with pytest.raises(DamagedStateError, match="check --repair"):
        Proofs(str(tmp_path)).write({PictureId(1): b"data"})


def test_only_the_owner_may_read_them(tmp_path: Path, proofs: Proofs) -> None:
    assert dict(proofs.read(DIGESTS))
    for path in tmp_path.glob(FILE_NAME + "*"):
        assert path.stat().st_mode & 0o077 == 0
