"""A closer look at two copies stores which of them is nearer the original."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageFilter

from dupwatchd.db import verdicts
from dupwatchd.db.connection import Database
from dupwatchd.index.messages import Looked
from dupwatchd.index.pool import DecodeLimits, WorkerPool
from dupwatchd.model import Verdict
from dupwatchd.update.intake import Pool
from dupwatchd.update.looking import Looking
from dupwatchd.update.pipeline import bring_up_to_date
from tests.compare.test_origin_direction import BICUBIC, LANCZOS, Picture, opened, saved, scene
from tests.update.small_index import LIMITS, RULES, PhotoPool, Silent, intake_on_demand, new_database, write
from tests.update.test_looking import names_of

Nearer = dict[tuple[str, str], str | None]


class CountingPool(WorkerPool):
    """Worker processes as the program has them; counts the files whose pixels were asked for."""

    looks = 0

    def detail(self, path: bytes, most_px: int, digest: bytes | None = None) -> Looked:
        self.looks += 1
        return super().detail(path, most_px, digest)


@pytest.fixture(scope="module")
def workers() -> Iterator[CountingPool]:
    with CountingPool(1, 32, DecodeLimits()) as workers:
        yield workers


@pytest.fixture
def pool(workers: CountingPool) -> CountingPool:
    workers.looks = 0
    return workers


def updated(folder: Path, state: Path, pool: Pool) -> tuple[Database, Looking]:
    """The index of a folder, and what looks at its pairs, as a new process opens them."""
    database = new_database(state)
    intake = intake_on_demand(database, state, pool)
    bring_up_to_date(database, [os.fsencode(folder)], RULES, LIMITS, intake, Silent())
    return database, intake().looking


def nearer(database: Database) -> Nearer:
    """Of each pair that is the same: the name of the file nearer the original, "neither", or None: not looked for."""
    names = names_of(database)
    return {
        (min(names[a], names[b]), max(names[a], names[b])): {
            None: None,
            0: "neither",
            -1: names[a],
            1: names[b],
        }[shown]
        for a, b, shown in database.rows("SELECT a, b, nearer FROM match WHERE near = 1 AND verdict = 2")
    }


def confirm_all(looking: Looking) -> None:
    while looking.confirm_for(0.01):
        pass


COPIES: dict[str, Callable[[Picture], bytes]] = {
    "jpeg of less quality": lambda p: saved(p, quality=60),
    "png": lambda p: saved(p, "PNG"),
    "smaller png": lambda p: saved(p.resize((p.width // 2, p.height // 2), LANCZOS), "PNG"),
    "enlarged png": lambda p: saved(p.resize((p.width * 3 // 2, p.height * 3 // 2), BICUBIC), "PNG"),
    "enlarged jpeg": lambda p: saved(p.resize((p.width * 2, p.height * 2), LANCZOS), quality=95),
    "turned jpeg": lambda p: saved(p.transpose(Image.Transpose.ROTATE_90), quality=85),
}


@pytest.mark.parametrize("first", ["original", "copy"])
@pytest.mark.parametrize("kind", COPIES)
def test_the_direction_stored_points_to_the_original(tmp_path: Path, pool: CountingPool, kind: str, first: str) -> None:
    original = saved(scene(3), quality=92)
    data = {"original": original, "copy": COPIES[kind](opened(original))}
    photos = tmp_path / "photos"
    write(photos / f"{first}.jpg", data.pop(first))
    updated(photos, tmp_path / "state", pool)[0].close()
    [(last, rest)] = data.items()
    write(photos / f"{last}.jpg", rest)
    database, looking = updated(photos, tmp_path / "state", pool)
    assert nearer(database) == {("copy.jpg", "original.jpg"): None}
    confirm_all(looking)
    assert nearer(database) == {("copy.jpg", "original.jpg"): "original.jpg"}
    assert database.value("SELECT nearer FROM match") == (-1 if first == "original" else 1)


def test_of_a_photo_and_a_retouched_one_neither_is_looked_for(tmp_path: Path, pool: CountingPool) -> None:
    """A spot of 6 px is seen closely only."""
    photos = tmp_path / "photos"
    picture = scene(3, 800, 600)
    write(photos / "a.jpg", saved(picture, "PNG"))
    spot = picture.crop((400, 300, 406, 306)).point([255 - level // 2 for level in range(256)] * 3)
    picture.paste(spot, (400, 300))
    write(photos / "b.jpg", saved(picture, quality=92))
    database, looking = updated(photos, tmp_path / "state", pool)
    confirm_all(looking)
    assert pool.looks == 2
    assert database.rows("SELECT confirmed, nearer FROM match") == [(0, None)]


def test_a_photo_and_what_may_be_made_from_it_by_enlarging_and_sharpening_are_not_confirmed(
    tmp_path: Path, pool: CountingPool
) -> None:
    photos = tmp_path / "photos"
    small = saved(scene(8))
    write(photos / "small.jpg", small)
    write(
        photos / "large.jpg", saved(opened(small).resize((962, 726), LANCZOS).filter(ImageFilter.UnsharpMask(2, 130)))
    )
    database, looking = updated(photos, tmp_path / "state", pool)
    confirm_all(looking)
    assert database.rows("SELECT verdict, confirmed FROM match") == [(Verdict.SAME.code, None)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An original and three copies of it."""
    photos = tmp_path / "photos"
    original = saved(scene(3, 320, 240), quality=92)
    write(photos / "original.jpg", original)
    for quality in (50, 60, 75):
        write(photos / f"q{quality}.jpg", saved(opened(original), quality=quality))
    return photos


def complete(shown: Nearer) -> bool:
    """Whether all pairs of the folder above have been looked at, and the original is nearer than its copies."""
    of_original = [winner for pair, winner in shown.items() if "original.jpg" in pair]
    return None not in shown.values() and len(shown) == 6 and of_original == 3 * ["original.jpg"]


@pytest.mark.parametrize(("kept_bytes", "least_looks"), [(1 << 30, 4), (0, 12)])
def test_each_photo_of_a_group_is_read_once_as_far_as_memory_allows(
    folder: Path, tmp_path: Path, pool: CountingPool, monkeypatch: pytest.MonkeyPatch, kept_bytes: int, least_looks: int
) -> None:
    monkeypatch.setattr("dupwatchd.update.looking._KEPT_BYTES", kept_bytes)
    database, looking = updated(folder, tmp_path / "state", pool)
    looking.confirm(verdicts.to_confirm(database))
    assert complete(nearer(database))
    assert pool.looks == least_looks
    assert not looking._recent  # nobody needs them any more
    confirm_all(looking)
    assert pool.looks == least_looks


def test_without_luma_nothing_is_shown(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dupwatchd.index.decode.MAX_LUMA_PX", 1000)  # of a picture that is too large
    database, looking = updated(folder, tmp_path / "state", PhotoPool())
    confirm_all(looking)
    assert set(nearer(database).values()) == {"neither"}


def test_a_pair_whose_photo_is_away_is_tried_again_at_the_next_rescan(
    folder: Path, tmp_path: Path, pool: CountingPool
) -> None:
    database, looking = updated(folder, tmp_path / "state", pool)
    away = (folder / "q60.jpg").rename(tmp_path / "q60.jpg")
    confirm_all(looking)
    shown = nearer(database)
    assert {pair for pair, winner in shown.items() if winner is None} == {pair for pair in shown if "q60.jpg" in pair}
    away.rename(folder / "q60.jpg")
    confirm_all(looking)
    assert nearer(database) == shown
    looking.expect_any()  # a rescan begins with that
    confirm_all(looking)
    assert complete(nearer(database))


_CONFIRM_AND_BE_KILLED = """
import os, sys
from pathlib import Path
from tests.update.small_index import PhotoPool
from tests.update.test_nearer import confirm_all, updated

class Killed(PhotoPool):
    def detail(self, *arguments):
        if len(self.looked_at) == int(sys.argv[3]):
            os.kill(os.getpid(), 9)
        return super().detail(*arguments)

confirm_all(updated(Path(sys.argv[1]), Path(sys.argv[2]), Killed())[1])
"""


@pytest.mark.parametrize("reads", range(4))
def test_killed_while_a_photo_is_read_it_goes_on_behind_the_last_pair(folder: Path, tmp_path: Path, reads: int) -> None:
    command = [sys.executable, "-c", _CONFIRM_AND_BE_KILLED, str(folder), str(tmp_path / "state"), str(reads)]
    assert subprocess.run(command, cwd=Path(__file__).parents[2], check=False).returncode == -signal.SIGKILL
    pool = PhotoPool()
    database, looking = updated(folder, tmp_path / "state", pool)
    done = [winner for winner in nearer(database).values() if winner]
    assert len(done) == {0: 0, 1: 0, 2: 1}.get(reads, len(done) if 1 < len(done) < 6 else -1)
    confirm_all(looking)
    assert complete(nearer(database))
