"""`dupwatchd forget` on a real index: what it drops, what it leaves alone, and when it refuses."""

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.conftest import encoded, photo_like
from tests.system.in_process import run, scan
from tests.system.service import Service
from tests.system.test_scan import names


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two folders; of each of three pictures there is one file in either, and a fourth is in ``old`` alone."""
    root = tmp_path / "photos"
    for folder in ("old/deep", "old-not", "new"):
        (root / folder).mkdir(parents=True)
    for seed in range(3):
        (root / "old" / f"{seed}.jpg").write_bytes(encoded(photo_like(seed)))
        (root / "new" / f"{seed} again.jpg").write_bytes(encoded(photo_like(seed), quality=80))
    (root / "old" / "deep" / "3.jpg").write_bytes(encoded(photo_like(3)))
    (root / "old-not" / "0 third.jpg").write_bytes(encoded(photo_like(0), quality=70))
    return root


@pytest.fixture
def state(tmp_path: Path, photos: Path) -> Path:
    scan(photos, state=tmp_path / "state")
    return tmp_path / "state"


def forget(folder: Path, state: Path) -> dict[str, object]:
    done = run("forget", "--json", folder, state=state)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_a_folder_is_forgotten_with_all_below_it_and_its_photos_stay(photos: Path, state: Path) -> None:
    before = {path: path.read_bytes() for path in photos.rglob("*.jpg")}
    done = forget(photos / "old", state)
    assert done == {
        "state": str(state), "folder": str(photos / "old"), "files": 4, "folders": 2, "pictures": 4, "kept_roots": [],
        "in_root": None,
    }  # fmt: skip
    assert {path: path.read_bytes() for path in photos.rglob("*.jpg")} == before
    assert b"all is sound" in run("check", state=state).stdout
    assert names(scan(photos / "new", state=state)) == [{"0 again.jpg", "0 third.jpg"}]
    assert len(names(scan(photos, state=state))) == 3  # they are read again as if they were new


def test_a_folder_that_is_gone_can_be_forgotten(photos: Path, state: Path) -> None:
    shutil.rmtree(photos / "old")
    assert forget(photos / "old", state)["files"] == 4


def test_what_was_scanned_through_a_link_is_forgotten_through_it(photos: Path, state: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(photos)
    assert forget(tmp_path / "link" / "old", state)["files"] == 4


def test_only_what_old_held_together_is_compared_again(photos: Path, tmp_path: Path) -> None:
    """The index afterwards answers as one that has never seen the folder."""
    state = tmp_path / "state"
    scan(photos, state=state)
    forget(photos / "old", state)
    fresh = scan(photos / "new", photos / "old-not", state=tmp_path / "fresh")
    assert names(scan(photos / "new", photos / "old-not", state=state)) == names(fresh)


def test_roots_of_the_settings_below_the_folder_stay(photos: Path, state: Path, tmp_path: Path) -> None:
    config = tmp_path / "dupwatch.toml"
    config.write_text(f'roots = ["{photos}/new"]')
    done = run("forget", "--config", config, photos, state=state)
    assert (done.returncode, done.stderr) == (
        0, f"dupwatchd: {photos}/new stays: it is one of the roots in the settings\n".encode()
    )  # fmt: skip
    assert b"5 files in 4 folders" in done.stdout
    assert forget(photos, state)["files"] == 3


def test_a_folder_inside_a_root_will_be_read_again_and_that_is_said(photos: Path, state: Path, tmp_path: Path) -> None:
    config = tmp_path / "dupwatch.toml"
    config.write_text(f'roots = ["{photos}"]')
    done = run("forget", "--config", config, photos / "old", state=state)
    assert done.returncode == 0
    assert b"the service will read it again" in done.stderr


def test_an_empty_name_is_not_the_working_directory(photos: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos)
    done = run("forget", "", state=state)
    assert (done.returncode, done.stderr) == (2, b"dupwatchd: no folder is named: the name is empty\n")
    assert run("config", "--root", "", state=state).returncode == 2
    assert forget(photos, state)["files"] == 8


def test_a_folder_that_is_not_known_is_told_from_those_that_are(photos: Path, state: Path, tmp_path: Path) -> None:
    done = run("forget", tmp_path / "typo", state=state)
    assert (done.returncode, done.stdout) == (2, b"")
    assert f"known are {photos}".encode() in done.stderr
    done = run("forget", photos, state=tmp_path / "no index")
    assert (done.returncode, done.stdout) == (2, b"")
    assert not (tmp_path / "no index").exists()


def test_a_folder_s_name_need_not_be_utf_8(photos: Path, tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(photos) + b"/\xff"))
    odd.mkdir()
    (odd / "1.jpg").write_bytes(encoded(photo_like(1)))
    scan(photos, state=tmp_path / "state")
    assert forget(odd, tmp_path / "state")["folder"] == str(odd)


def test_while_the_service_holds_the_index_it_says_what_to_do(photos: Path, tmp_path: Path) -> None:
    with Service(tmp_path / "service", photos) as service:
        done = run("forget", photos / "old", state=service.state)
        assert (done.returncode, done.stdout) == (1, b"")
        assert b"If that is the service, ask it (dupwatch clusters) or stop it first" in done.stderr
        assert done.stderr.count(b"\n") == 1
