"""`check` of keypoints and of pairs that share a part: what it finds, and that all is as before once it is mended."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dupwatchd.check import Findings, mend, mend_proofs, verify
from dupwatchd.check_parts import mend_parts
from dupwatchd.db import parts
from dupwatchd.db.proofs import Proofs
from dupwatchd.model import PictureId
from tests.update.test_looking import Index
from tests.update.test_parting import folder, made, stored

__all__ = ["folder", "made"]  # fixtures


def change_votes(index: Index, proofs: Proofs) -> None:
    index.database.rows("UPDATE part_match SET votes = votes + 1")


def change_values(index: Index, proofs: Proofs) -> None:
    index.database.rows("UPDATE part_match SET mse = mse + 1 WHERE a = (SELECT min(a) FROM part_match)")


def name_no_picture(index: Index, proofs: Proofs) -> None:
    index.database.rows("PRAGMA foreign_keys = OFF")
    index.database.rows("INSERT INTO part_match (a, b, votes, mse, structure, within) VALUES (0, 99999, 5, 1, 1, 0)")


def flip_a_bit(index: Index, proofs: Proofs) -> None:
    [(one, digest)] = list(parts.searched(index.database, -1, 1).items())
    [(_, data)] = proofs.read_some_keypoints({one: digest})
    flipped = bytes([data[0] ^ 1]) + data[1:]
    proofs._database.many("UPDATE keypoints SET data = ? WHERE id = ?", [(flipped, one)])


def lose_a_row(index: Index, proofs: Proofs) -> None:
    proofs._database.rows("DELETE FROM keypoints WHERE id = (SELECT min(id) FROM keypoints)")


def store_other_bytes(index: Index, proofs: Proofs) -> None:
    [(one, digest)] = list(parts.searched(index.database, -1, 1).items())
    proofs.write_keypoints({PictureId(one): (digest, b"no keypoints")})


LOST = "keypoints of 1 pictures are missing or damaged"
DIFFER = "stored pairs that share a part differ from what their pictures say"


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (change_votes, DIFFER),
        (change_values, DIFFER),
        (name_no_picture, "table part_match"),
        (flip_a_bit, LOST),
        (lose_a_row, LOST),
        (store_other_bytes, LOST),
    ],
)
def test_damage_to_shared_parts_is_found_and_mended(
    folder: Path, tmp_path: Path, damage: Callable[[Index, Proofs], None], told: str
) -> None:
    index = Index(folder, tmp_path / "state")
    index.update()
    before = stored(index)
    stores, proofs = index.intake().stores, Proofs(str(tmp_path / "state"))
    sound = Findings()
    verify(index.database, stores, proofs, sound)
    assert sound.faults == []
    damage(index, proofs)
    found = Findings()
    bad = verify(index.database, stores, proofs, found)
    assert [told in fault for fault in found.faults] == [True]
    mend(index.database, stores.thumbnails, bad, lambda _: None, found)
    mend_proofs(index.database, proofs, found)
    mended = mend_parts(index.database, stores.thumbnails, proofs)
    assert (mended is None) == (damage is name_no_picture)  # which goes with the rows that point nowhere
    after = Findings()
    verify(index.database, stores, proofs, after)
    assert after.faults == []
    proofs.close()
    index.update()
    assert stored(index) == before
    assert parts.count_to_search(index.database) == 0
    last = Findings()
    verify(index.database, stores, Proofs(str(tmp_path / "state")), last)
    assert last.faults == []
