"""A closer look decides where proofs say that a copy was changed, but only by a little."""

from pathlib import Path

import numpy as np

from dupwatchd.index.messages import Looked
from dupwatchd.index.pool import DecodeLimits
from dupwatchd.model import Verdict
from tests.compare import altered
from tests.conftest import encoded
from tests.update.small_index import write
from tests.update.test_nearer import CountingPool, pool, updated, workers

__all__ = ["pool", "workers"]


class BlindPool(CountingPool):
    """Workers that make proofs, and cannot read a file again."""

    def detail(self, path: bytes, most_px: int, digest: bytes | None = None) -> Looked:
        return super().detail(path + b" which is away", most_px, digest)


def folder_with(photos: Path, **pictures: altered.Rgb) -> Path:
    for name, picture in pictures.items():
        write(photos / f"{name}.jpg", encoded(picture))
    return photos


def turned_copy(picture: altered.Rgb) -> altered.Rgb:
    """Of what its file shows."""
    return np.ascontiguousarray(np.rot90(altered.jpeg(picture, 92), 2))


def test_a_turned_copy_of_fine_cloth_is_the_same_at_once(tmp_path: Path, pool: CountingPool) -> None:
    cloth = altered.textured(1)
    photos = folder_with(tmp_path / "photos", cloth=cloth, turned=turned_copy(cloth))
    with BlindPool(1, 32, DecodeLimits()) as blind:
        database, _ = updated(photos, tmp_path / "by proofs", blind)
        assert database.rows("SELECT verdict, confirmed FROM match") == [(Verdict.RETOUCHED.code, None)]
    database, _ = updated(photos, tmp_path / "state", pool)
    assert database.rows("SELECT verdict, confirmed FROM match") == [(Verdict.SAME.code, 1)]
    assert database.value("SELECT nearer FROM match") is not None


def test_a_closer_look_that_was_left_undone_is_done_though_nothing_has_changed(
    tmp_path: Path, pool: CountingPool
) -> None:
    """As after a kill while it was looked closely."""
    cloth = altered.textured(1)
    photos = folder_with(tmp_path / "photos", cloth=cloth, turned=turned_copy(cloth))
    with BlindPool(1, 32, DecodeLimits()) as blind:
        database, _ = updated(photos, tmp_path / "state", blind)
    database.close()
    database, _ = updated(photos, tmp_path / "state", pool)
    assert database.rows("SELECT verdict, confirmed FROM match") == [(Verdict.SAME.code, 1)]


def test_a_retouched_photo_stays_what_it_was_called_by_its_proof(tmp_path: Path, pool: CountingPool) -> None:
    picture = altered.photo(3)
    spotted = picture.copy()
    spotted[300:310, 400:410] = np.clip(spotted[300:310, 400:410].astype(int) + 15, 0, 255)
    photos = folder_with(tmp_path / "photos", photo=picture, spotted=spotted)
    database, _ = updated(photos, tmp_path / "state", pool)
    assert pool.looks == 2
    assert database.rows("SELECT verdict, confirmed, nearer FROM match") == [(Verdict.RETOUCHED.code, None, None)]
    updated(photos, tmp_path / "state", pool)
    assert pool.looks == 2  # that was enough
