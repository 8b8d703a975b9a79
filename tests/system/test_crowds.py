"""Many pictures that resemble each other: few matches are stored, and clusters stay what all matches would give."""

import os
from pathlib import Path

import apsw
import numpy as np
import pytest

from tests.conftest import Rgb, encoded, photo_like
from tests.system.in_process import run, scan
from tests.system.test_scan import names

LOOKS = 12  # setting compare.looks_per_picture

ONE, OTHER = (photo_like(seed, 96, 96).astype(np.float64) for seed in (1, 2))


def between(share: float) -> Rgb:
    """On the way from one photo to another; two of them match if they are not too far apart."""
    angle = share * np.pi / 2
    mixed = np.cos(angle) * (ONE - 128) + np.sin(angle) * (OTHER - 128) + 128
    return np.asarray(np.clip(np.rint(mixed), 0, 255), np.uint8)


def stored_matches(state: Path) -> tuple[int, int]:
    """How many matches of forests are stored, and how many near ones that are in none."""
    database = apsw.Connection(str(state / "dupwatch.sqlite"), flags=apsw.SQLITE_OPEN_READONLY)
    joins = [bool(row[0]) for row in database.execute("SELECT joins FROM match")]
    database.close()
    return sum(joins), len(joins) - sum(joins)


def assert_few_are_stored(state: Path, pictures: int) -> None:
    forest, near = stored_matches(state)
    assert forest <= 2 * (pictures - 1)  # one forest for each measure
    assert near <= LOOKS * pictures


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder


def test_a_chain_falls_apart_and_closes_again_as_a_fresh_scan_says(root: Path, tmp_path: Path) -> None:
    remove_and_bring_back(root, tmp_path, seed=0, steps=2)  # tests/long goes further, with other seeds


def remove_and_bring_back(root: Path, tmp_path: Path, seed: int, steps: int) -> None:
    """Pictures of a chain go and come back; after each step the index must answer what a fresh scan answers."""
    random = np.random.default_rng(seed)
    state = tmp_path / "state"
    # each matches several of its neighbours, so that only some removals break the chain
    files = {root / f"{number:02d}.png": between(number / 30) for number in range(30)}
    for path, picture in files.items():
        path.write_bytes(encoded(picture, "PNG"))
    scan(root, state=state)
    for step in range(steps):
        for path, picture in files.items():
            if random.random() < 0.4:
                if path.exists():
                    path.unlink()
                else:
                    path.write_bytes(encoded(picture, "PNG"))
        threshold = random.choice([0.005, 0.01, 0.02, 0.04])
        asked = ("--threshold", threshold, root)
        fresh = tmp_path / f"fresh {step}"
        assert names(scan(*asked, state=state)) == names(scan(*asked, state=fresh))
        assert run("check", state=state).returncode == 0


def test_frames_of_a_film_are_one_cluster_and_store_few_matches(root: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    for number in range(48):
        frame = np.clip(ONE + random.normal(0, 4, ONE.shape), 0, 255).astype(np.uint8)
        (root / f"{number:03d}.png").write_bytes(encoded(frame, "PNG"))
    state = tmp_path / "state"
    [cluster] = names(scan(root, state=state))
    assert len(cluster) == 48
    assert_few_are_stored(state, 48)
    for name in sorted(os.listdir(root))[::2]:
        (root / name).unlink()
    [cluster] = names(scan(root, state=state))
    assert len(cluster) == 24
    assert_few_are_stored(state, 24)


def test_identical_files_store_no_matches(root: Path, tmp_path: Path) -> None:
    data = encoded(between(0.5))
    for number in range(300):
        (root / f"{number}.jpg").write_bytes(data)
    [cluster] = names(scan(root, state=tmp_path / "state"))
    assert len(cluster) == 300
    assert stored_matches(tmp_path / "state") == (0, 0)


def test_what_a_gone_picture_held_together_is_searched_after_a_kill_too(root: Path, tmp_path: Path) -> None:
    """The work that a removal leaves is in the database, with the removal."""
    state = tmp_path / "state"
    for number in range(12):
        (root / f"{number:02d}.png").write_bytes(encoded(between(number / 60), "PNG"))
    scan(root, state=state)
    database = apsw.Connection(str(state / "dupwatch.sqlite"))
    # as if killed between noting which pictures to search again and searching them
    database.execute("DELETE FROM match; INSERT INTO rejoin SELECT id FROM picture")
    database.close()
    [cluster] = names(scan(root, state=state))
    assert len(cluster) == 12
