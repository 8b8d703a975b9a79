"""One file seen at several paths, with real mounts: it is shown, counts nothing, and is never offered for deletion."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dupwatchd.db.answers import Copy
from dupwatchd.other_names import OtherNames
from dupwatchd.serve.spare import OtherName, SameFile
from dupwatchd.watch.mounts import Mount
from tests.conftest import encoded, photo_like
from tests.index.fuse import ShortReadingFiles, can_mount_fuse

SCAN = shlex.join([sys.executable, "-m", "dupwatchd", "scan"])
PHOTO = encoded(photo_like(1, 320, 240))


def _can_mount() -> bool:
    tried = subprocess.run(["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True)
    return tried.returncode == 0


needs_mounts = pytest.mark.skipif(not _can_mount(), reason="mounting is not allowed here")


def with_mounts(place: Path, mounts: str, command: str) -> bytes:
    """What a command prints that sees these mounts, which nobody else does."""
    environment = {**os.environ, "DUPWATCH_STATE": str(place / "state")}
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-ec", f"cd {shlex.quote(str(place))}\n{mounts}\n{command}"],
        capture_output=True, timeout=50, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def files_of(document: bytes) -> list[dict[str, Any]]:
    [cluster] = json.loads(document)["clusters"]
    assert cluster["reclaimable_bytes"] == sum(
        file["bytes"] for file in cluster["files"] if file["may_go"] and file["same_file_as"] is None
    )
    return list(cluster["files"])


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in ("photos", "seen", "upper", "work", "more"):
        (tmp_path / name).mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(PHOTO)
    return tmp_path


MOUNTS = {
    "bind": "mount --bind photos seen",
    "overlay": "mount -t overlay none -o lowerdir=$PWD/photos,upperdir=$PWD/upper,workdir=$PWD/work seen",
    "lower layers only": "mount -t overlay none -o lowerdir=$PWD/upper:$PWD/photos seen",
    "one layer below another": "mount -t overlay none -o lowerdir=$PWD/photos:$PWD/upper more\n"
    "mount -t overlay none -o lowerdir=$PWD/more:$PWD/work seen",
    "one file": "touch seen/b.jpg; mount --bind photos/a.jpg seen/b.jpg",
    "twice": "truncate -s 20M image; mkfs.ext4 -q image; cp photos/a.jpg more/; mount -o loop image photos\n"
    "mount $(losetup -n -O NAME -j image) seen; cp more/a.jpg photos/; rm more/a.jpg",
}


@needs_mounts
@pytest.mark.parametrize("mounts", MOUNTS.values(), ids=MOUNTS)
def test_a_second_way_to_a_file_is_shown_and_never_offered(place: Path, mounts: str) -> None:
    kept, other = files_of(with_mounts(place, mounts, f"{SCAN} --json photos seen"))
    assert (kept["keep"], kept["same_file_as"], kept["may_go"]) == (True, None, False)
    assert (other["same_file_as"], other["may_go"]) == (kept["path"], False)
    assert other["reason"] == "another path to the kept file"
    assert {os.path.dirname(file["path"]) for file in (kept, other)} == {str(place / "photos"), str(place / "seen")}
    assert with_mounts(place, mounts, f"{SCAN} --print0 --spare photos seen") == b""


@needs_mounts
@pytest.mark.parametrize("mounts", MOUNTS.values(), ids=MOUNTS)
def test_deleting_all_that_may_go_leaves_the_photo(place: Path, mounts: str) -> None:
    (place / "another-with-a-longer-name.jpg").write_bytes(PHOTO)
    deleted = f"{SCAN} --print0 --spare . | xargs -0r rm -v; cat $(find . -name '*.jpg' -size +0 | head -n 1)"
    printed = with_mounts(place, mounts, deleted)
    assert printed.count(b"removed") == 1
    assert printed.endswith(PHOTO)


@needs_mounts
def test_a_file_that_was_changed_above_its_layer_is_another_one(place: Path) -> None:
    changed = f"{MOUNTS['overlay']}\nprintf x >>seen/a.jpg; cp photos/a.jpg seen/a.jpg"
    for file in files_of(with_mounts(place, changed, f"{SCAN} --json photos seen")):
        assert (file["same_file_as"], file["may_go"]) == (None, not file["keep"])


@needs_mounts
def test_a_file_changed_above_layers_that_cannot_be_found_may_be_the_one_in_the_upper_folder(place: Path) -> None:
    mounted = "mount -t overlay none -o lowerdir=photos,upperdir=upper,workdir=work seen\nprintf x >>seen/a.jpg"
    kept, other = files_of(with_mounts(place, mounted, f"{SCAN} --json upper seen"))
    assert (other["same_file_as"], kept["may_go"], other["may_go"]) == (kept["path"], False, False)
    assert with_mounts(place, mounted, f"{SCAN} --print0 --spare upper seen") == b""


@needs_mounts
def test_a_hard_link_stays_a_hard_link_beside_other_ways_to_it(place: Path) -> None:
    (place / "photos" / "a.hard link.jpg").hardlink_to(place / "photos" / "a.jpg")
    files = files_of(with_mounts(place, MOUNTS["bind"], f"{SCAN} --json photos seen"))
    assert sum(file["same_file_as"] is not None for file in files) == 3
    assert not any(file["may_go"] for file in files)
    reasons = {os.path.relpath(file["path"], place): file["reason"] for file in files[1:]}
    kept = os.path.relpath(files[0]["path"], place)
    other_folder = "seen" if kept.startswith("photos") else "photos"
    assert reasons[f"{other_folder}/a.jpg"] == "another path to the kept file"
    assert reasons[f"{os.path.dirname(kept)}/a.hard link.jpg"] == "hard link of the kept file"


def known(path: Path) -> Copy:
    status = path.stat()
    return Copy(
        bytes(path), status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino, 1, b"1" * 32, 1, 9, 9, "JPEG"
    )


@pytest.mark.skipif(not can_mount_fuse(), reason="needs the right to mount a FUSE file system")
def test_what_a_program_shows_as_a_file_system_may_be_a_file_that_is_known(place: Path) -> None:
    with ShortReadingFiles(place / "seen", {b"a.jpg": PHOTO}, most_bytes=1 << 20):
        shown = known(place / "seen" / "a.jpg")
        for later_ns, expected in ((0, OtherName(0, SameFile.MAYBE)), (10**10, None)):
            os.utime(place / "photos" / "a.jpg", ns=(shown.mtime_ns, shown.mtime_ns + later_ns))
            assert OtherNames()([known(place / "photos" / "a.jpg"), shown]) == [None, expected]


def share(number: int, place: Path, source: bytes, kind: str = "nfs4") -> Mount:
    return Mount(number, bytes(place), kind, b"/", source)


@pytest.mark.parametrize(
    ("first", "second", "how"),
    [
        (b"nas:/photos", b"nas:/photos", SameFile.ALIAS),
        (b"nas:/", b"nas:/other", None),  # of one server, but another path there
        (b"nas:/photos", b"192.168.1.5:/photos", SameFile.MAYBE),  # the server may have two names
    ],
)
def test_of_two_shares_the_path_on_the_server_decides(
    tmp_path: Path, first: bytes, second: bytes, how: SameFile | None
) -> None:
    """The mount table is made up, for there is no server here; the files are two in truth."""
    folders = [tmp_path / "one", tmp_path / "two"]
    for number, folder in enumerate(folders):
        folder.mkdir()
        (folder / "a.jpg").write_bytes(PHOTO)
        os.utime(folder / "a.jpg", ns=(0, 0 if how else number * 10**10))
    mounts = [share(1, folders[0], first), share(2, folders[1], second)]
    copies = [known(folder / "a.jpg") for folder in folders]
    assert OtherNames(lambda: mounts)(copies) == [None, None if how is None else OtherName(0, how)]


@pytest.mark.parametrize(("source", "may_be"), [(b"nas:/photos", False), (b"localhost:/photos", True)])
def test_a_share_of_another_machine_holds_no_file_of_this_one(tmp_path: Path, source: bytes, may_be: bool) -> None:
    for folder in ("here", "share"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.jpg").write_bytes(PHOTO)
        os.utime(tmp_path / folder / "a.jpg", ns=(0, 0))
    mounts = [Mount(1, b"/", "ext4"), share(2, tmp_path / "share", source)]
    copies = [known(tmp_path / "here" / "a.jpg"), known(tmp_path / "share" / "a.jpg")]
    assert OtherNames(lambda: mounts)(copies) == [None, OtherName(0, SameFile.MAYBE) if may_be else None]
