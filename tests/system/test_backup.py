"""`dupwatchd backup` and `restore` on a real index: what survives, what is refused, and what a kill leaves behind."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import threading
import time
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dupwatch.progress import Bars
from dupwatchd.db import remembered
from dupwatchd.db.connection import Row, open_database, open_for_reading
from dupwatchd.errors import StateError
from dupwatchd.restore import restore as put_back
from dupwatchd.settings import Settings
from tests.conftest import encoded, photo_like
from tests.system import test_scan
from tests.system.in_process import run, scan
from tests.system.service import Service, as_scanned
from tests.system.test_scan import COMMAND, names

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files of each of five pictures."""
    root = tmp_path_factory.mktemp("photos")
    for seed in range(5):
        (root / f"{seed}.jpg").write_bytes(encoded(photo_like(seed, 160, 120)))
        (root / f"{seed} again.jpg").write_bytes(encoded(photo_like(seed, 160, 120), quality=80))
    return root


@pytest.fixture(scope="module")
def scanned_state(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Path:
    state = tmp_path_factory.mktemp("scanned") / "state"
    scan(photos, state=state)
    say_something(state, b"a")
    return state


@pytest.fixture
def state(tmp_path: Path, scanned_state: Path) -> Path:
    """An index of the photos, of which something was said."""
    shutil.copytree(scanned_state, tmp_path / "state")
    return tmp_path / "state"


@pytest.fixture(scope="module")
def backed_up(tmp_path_factory: pytest.TempPathFactory, scanned_state: Path) -> Path:
    file = tmp_path_factory.mktemp("backed up") / "b.zip"
    backup(file, scanned_state)
    return file


@pytest.fixture
def saved(tmp_path: Path, backed_up: Path) -> Path:
    """A backup of the index as `state` is, to be done anything to."""
    return Path(shutil.copy2(backed_up, tmp_path / "b.zip"))


def say_something(state: Path, what: bytes) -> None:
    digest, other = what * 32, b"z" * 32
    with closing(open_database(str(state))) as database, database.transaction():
        remembered.add_ignored(database, [(digest, other)], 1_700_000_000)
        remembered.decide(database, remembered.KnownPath(b"/p/1.jpg", digest), "keep", 1_700_000_001)
        remembered.add_removed(database, [(digest, 1)], 1_700_000_002)


def said(state: Path) -> dict[str, list[Row]]:
    with closing(open_for_reading(str(state))) as database:
        return remembered.everything(database)


def backup(file: Path, state: Path) -> dict[str, Any]:
    done = run("backup", "--json", file, state=state)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def restore(file: Path, state: Path) -> dict[str, Any]:
    done = run("restore", "--json", file, state=state)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def open_to_others(folder: Path) -> None:
    folder.chmod(0o755)
    for path in folder.parents:
        if not path.stat().st_mode & 0o001:
            path.chmod(path.stat().st_mode | 0o011)


def everything_below(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "lock"}


# ---- what survives


def test_an_index_comes_back_whole_with_all_that_was_said(tmp_path: Path, photos: Path, state: Path) -> None:
    saved = backup(tmp_path / "b.zip", state)
    assert (saved["files"], saved["pictures"], saved["changed"], saved["damaged"]) == (10, 10, 0, 0)
    assert (saved["ignored_pairs"], saved["decisions"], saved["removed_contents"]) == (1, 1, 1)
    assert saved["bytes"] == (tmp_path / "b.zip").stat().st_size
    before = scan(photos, state=state)
    restored = restore(tmp_path / "b.zip", tmp_path / "new")
    assert (restored["files"], restored["pictures"], restored["ignored_pairs"]) == (10, 10, 1)
    assert (restored["made_at"], restored["replaced"]) == (saved["made_at"], None)
    assert said(tmp_path / "new") == said(state)
    assert b"all is sound" in run("check", state=tmp_path / "new").stdout
    assert scan(photos, state=tmp_path / "new") == before


def test_pictures_need_not_be_read_again_after_a_restore(
    tmp_path: Path, photos: Path, state: Path, saved: Path
) -> None:
    before = names(scan(photos, state=state))
    restore(saved, tmp_path / "new")
    with closing(open_for_reading(str(tmp_path / "new"))) as database:
        assert database.value("SELECT count(*) FROM file WHERE pending = 1") == 0
        made = database.value("SELECT max(id) FROM content")
    (photos / "more.jpg").write_bytes(encoded(photo_like(1, 160, 120), quality=60))
    after = names(scan(photos, state=tmp_path / "new"))
    (photos / "more.jpg").unlink()
    assert sorted(map(len, after)) == [2, 2, 2, 2, 3]
    assert [group - {"more.jpg"} for group in after] == before
    with closing(open_for_reading(str(tmp_path / "new"))) as database:
        assert database.value("SELECT max(id) FROM content") == made + 1


def test_a_backup_is_a_zip_archive_that_others_can_verify(tmp_path: Path, state: Path) -> None:
    backup(tmp_path / "b.zip", state)
    with zipfile.ZipFile(tmp_path / "b.zip") as archive:
        assert archive.namelist() == ["dupwatch-backup.json", "thumbnails", "proofs", "dupwatch.sqlite"]
        assert archive.testzip() is None
    assert (tmp_path / "b.zip").stat().st_mode & 0o777 == 0o600


def test_backups_of_a_service_at_work_are_sound_and_miss_nothing_said(tmp_path: Path, photos: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(photos, root)
    stop = threading.Event()

    def come_and_go() -> None:
        number = 100
        while not stop.wait(0.05):
            number += 1
            (root / f"{number}.jpg").write_bytes(encoded(photo_like(number, 80, 60)))
            (root / f"{number - 4}.jpg").unlink(missing_ok=True)

    with Service(tmp_path / "s", root) as service:
        service.settled()
        churning = threading.Thread(target=come_and_go)
        churning.start()
        try:
            for turn in range(2):
                pair = [os.fsencode(root / f"{turn}.jpg"), os.fsencode(root / f"{turn} again.jpg")]
                service.ask("ignore", paths=pair)
                saved = backup(tmp_path / "b.zip", service.state)
                assert saved["ignored_pairs"] == turn + 1
                assert saved["damaged"] == 0
                restore(tmp_path / "b.zip", tmp_path / f"new {turn}")
                assert b"all is sound" in run("check", state=tmp_path / f"new {turn}").stdout
        finally:
            stop.set()
            churning.join()
        service.settled()
        assert "Traceback" not in service.lines()
    with closing(open_for_reading(str(service.state))) as database:
        kept = remembered.everything(database)
    assert said(tmp_path / "new 1") == kept
    assert as_scanned(scan(root, state=tmp_path / "new 1")["clusters"]) == as_scanned(
        scan(root, state=service.state)["clusters"]
    )


def test_a_picture_that_was_replaced_meanwhile_is_read_again(tmp_path: Path, photos: Path, state: Path) -> None:
    """As if the service had put another picture into a slot between the copy of the database and the thumbnail's."""
    before = scan(photos, state=state)
    with closing(open_database(str(state))) as database:
        database.rows("UPDATE picture SET thumbnail_digest = x'00' WHERE id = 3")
        copy_digest = database.row("SELECT digest FROM picture WHERE id = 3")
    assert copy_digest is not None
    done = run("backup", "--json", tmp_path / "b.zip", state=state)
    assert done.returncode == 1  # to the index itself it is damage, which is told, and is not in the copy
    assert json.loads(done.stdout)["damaged"] == 1
    assert b"check --repair" in done.stderr
    assert restore(tmp_path / "b.zip", tmp_path / "new")["pictures"] == 9
    assert said(tmp_path / "new") == said(state)
    assert scan(photos, state=tmp_path / "new") == before


# ---- what is refused


def test_a_state_that_is_in_use_is_not_touched(tmp_path: Path, photos: Path, saved: Path) -> None:
    with Service(tmp_path / "s", photos) as service:
        service.settled()
        before = service.shown()
        done = run("restore", saved, state=service.state)
        assert done.returncode == 1
        assert b"is in use by process" in done.stderr
        assert service.shown() == before
    assert not list(service.state.glob("re*-*"))


def test_an_index_that_is_there_is_moved_aside(state: Path, saved: Path) -> None:
    say_something(state, b"b")
    newer = said(state)
    replaced = restore(saved, state)["replaced"]
    assert len(said(state)["ignored_pair"]) == 1
    assert said(Path(replaced)) == newer
    assert b"all is sound" in run("check", state=state).stdout


@pytest.mark.parametrize("member", ["dupwatch-backup.json", "thumbnails", "proofs", "dupwatch.sqlite", "the end"])
def test_a_damaged_backup_is_refused_and_changes_nothing(state: Path, saved: Path, member: str) -> None:
    data = bytearray(saved.read_bytes())
    if member == "the end":
        del data[-100:]
    else:
        with zipfile.ZipFile(saved) as archive:
            info = archive.getinfo(member)
        data[info.header_offset + 30 + len(member) + 20 + info.compress_size // 2] ^= 1
    saved.write_bytes(data)
    before = everything_below(state)
    done = run("restore", saved, state=state)
    assert done.returncode == 1
    assert b"is damaged, or no backup of dupwatch" in done.stderr
    assert b"Traceback" not in done.stderr
    assert everything_below(state) == before


def test_an_archive_that_was_put_together_wrongly_is_refused(tmp_path: Path, saved: Path) -> None:
    """Each member has its right checksum, but they do not belong together."""
    with zipfile.ZipFile(saved) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for name, other in (
        ("thumbnails", members["thumbnails"][3072:] + members["thumbnails"][:3072]),
        ("thumbnails", members["thumbnails"][:-1]),
        ("thumbnails", members["thumbnails"] + b"x"),
        ("proofs", members["proofs"][:-1]),
        ("proofs", b""),
        ("dupwatch.sqlite", members["dupwatch.sqlite"][:8192]),
        ("dupwatch.sqlite", b"no database"),
        ("dupwatch-backup.json", b'{"format": 1}'),
        ("dupwatch-backup.json", b"[]"),
        ("dupwatch-backup.json", b"[" * 100_000),
        ("dupwatch-backup.json", b'{"format": "1", "schema": 1, "program": "", "made_at": ""}'),
        ("dupwatch-backup.json", b'{"format": 1, "schema": null, "program": "", "made_at": ""}'),
    ):
        with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
            for member, data in {**members, name: other}.items():
                archive.writestr(member, data)
        with pytest.raises(StateError, match="nothing was changed"):
            put_back(Settings(state=str(tmp_path / "new")), str(tmp_path / "bad.zip"), Bars())
        assert not (tmp_path / "new" / "dupwatch.sqlite").exists()


def test_an_encrypted_archive_is_refused(tmp_path: Path, saved: Path) -> None:
    data = bytearray(saved.read_bytes())
    for head, flags in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        data[data.index(head) + flags] |= 1
    saved.write_bytes(data)
    with pytest.raises(StateError, match="nothing was changed"):
        put_back(Settings(state=str(tmp_path / "new")), str(saved), Bars())


@pytest.mark.parametrize("program", ["backup", "restore"])
def test_what_cannot_be_written_is_told_of_the_right_file(
    tmp_path: Path, state: Path, saved: Path, program: str
) -> None:
    file = saved if program == "restore" else tmp_path / "new.zip"
    target = state if program == "backup" else tmp_path / "target"
    before = everything_below(state)
    bounded = f"ulimit -f 40; exec {shlex.join([*COMMAND, program, str(file), '--state', str(target)])}"
    done = subprocess.run(["bash", "-c", bounded], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert "cannot read" not in line if program == "restore" else "b.zip" not in line
    assert str(target) in line
    assert everything_below(state) == before


@pytest.mark.parametrize("room", ["0k", "16k"])
def test_a_disk_that_is_full_is_told_in_one_line(tmp_path: Path, state: Path, room: str) -> None:
    """Also by what is still to be written while the file is closed."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=False).returncode:
        pytest.skip("mounting a tmpfs is not allowed here")
    try:
        (disk / "full").write_bytes(bytes(65_536 - 1024 * int(room.removesuffix("k"))))
        done = subprocess.run(
            [*COMMAND, "backup", disk / "b.zip", "--state", state], capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert done.stderr.splitlines() == [
            f"dupwatchd: cannot write {disk}/b.zip: No space left on device; what was there stays as it was"
        ]
        assert os.listdir(disk) == ["full"]
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_a_backup_is_for_its_owner_only(tmp_path: Path, state: Path) -> None:
    file, partial = tmp_path / "b.zip", tmp_path / "b.zip.partial"
    partial.touch(0o644)  # a killed backup may have left one that was made readable since
    partial.chmod(0o644)
    backup(file, state)
    assert file.stat().st_mode & 0o777 == 0o600
    if os.geteuid() == 0:
        partial.touch()
        os.chown(partial, 4321, 4321)
        done = test_scan.run("backup", file, state=state)
        assert (done.returncode, b"belongs to another user" in done.stderr) == (2, True)
        assert partial.stat().st_size == 0


def test_a_backup_of_a_newer_program_is_refused(tmp_path: Path, state: Path, saved: Path) -> None:
    with zipfile.ZipFile(saved) as archive:
        header = json.loads(archive.read("dupwatch-backup.json"))
    for newer in ({"format": 99}, {"schema": 99}):
        with zipfile.ZipFile(tmp_path / "newer.zip", "w") as archive:
            archive.writestr("dupwatch-backup.json", json.dumps({**header, **newer}))
        done = run("restore", tmp_path / "newer.zip", state=state)
        assert (done.returncode, b"made by a newer dupwatch" in done.stderr) == (1, True)


def test_no_other_file_is_replaced_by_a_backup(tmp_path: Path, photos: Path, state: Path) -> None:
    before = everything_below(photos)
    for name in ("0.jpg", "", "not there/b.zip"):
        done = run("backup", photos / name, state=state)
        assert done.returncode == 2, name
        assert b"Traceback" not in done.stderr
    assert everything_below(photos) == before


def test_a_damaged_index_replaces_no_older_backup(tmp_path: Path, state: Path, saved: Path) -> None:
    before = saved.read_bytes()
    os.truncate(state / "blocks" / "000000.thumbnails", 5 * 3072)
    done = run("backup", saved, state=state)
    assert (done.returncode, b"check --repair" in done.stderr) == (1, True)
    assert everything_below(tmp_path).keys() & {str(saved), f"{saved}.partial"} == {str(saved)}
    assert saved.read_bytes() == before
    with (state / "dupwatch.sqlite").open("r+b") as database:
        database.seek(4096)
        database.write(os.urandom(8192))
    done = run("backup", saved, state=state)
    assert (done.returncode, b"check --repair" in done.stderr) == (1, True)
    assert saved.read_bytes() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for another user")
def test_root_leaves_no_file_of_its_own_in_the_index_of_another_user(tmp_path: Path, state: Path) -> None:
    open_to_others(tmp_path)
    for path in (state, *state.rglob("*")):
        os.chown(path, 4321, 4321)
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    for program in ("backup", "restore"):  # which give up the rights of root for good
        done = test_scan.run(program, private / "b.zip", state=state)
        assert done.returncode == 0, done.stderr
        assert (private / "b.zip").stat().st_uid == 0
    assert {path.stat().st_uid for path in (state, *state.rglob("*"))} == {4321}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for another user")
def test_root_makes_a_state_directory_for_the_owner_of_the_folder_it_lies_in_or_says_that_it_is_roots(
    tmp_path: Path, saved: Path
) -> None:
    open_to_others(tmp_path)
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 4321, 4321)
    theirs, roots = (
        test_scan.run("restore", "--json", saved, state=place / "of" / "dupwatch") for place in (home, tmp_path)
    )
    assert (theirs.returncode, theirs.stderr, json.loads(theirs.stdout)["is_roots"]) == (0, b"", False)
    assert {path.stat().st_uid for path in home.rglob("*")} == {4321}
    assert (roots.returncode, json.loads(roots.stdout)["is_roots"]) == (0, True)
    assert b"belongs to root" in roots.stderr
    assert b"chown -R" in roots.stderr


# ---- kills


def test_what_a_killed_backup_left_is_removed_by_whoever_comes_next_but_one_at_work_is_left_alone(
    tmp_path: Path, state: Path
) -> None:
    work = state / "backing-up"

    def at_work() -> "subprocess.Popen[bytes]":
        while True:
            process = subprocess.Popen(
                [*COMMAND, "backup", str(tmp_path / "b.zip"), "--state", str(state)], stdout=subprocess.DEVNULL
            )
            while process.poll() is None:
                if work.exists():
                    process.send_signal(signal.SIGSTOP)
                    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
                    if work.exists():
                        return process
            assert process.returncode == 0  # it was quicker than we

    process = at_work()
    while (checked := run("check", state=state)).returncode:  # it was stopped in a moment in which SQLite holds a lock
        assert b"is locked by another program" in checked.stderr
        process.send_signal(signal.SIGCONT)
        assert process.wait() == 0
        process = at_work()
    assert work.exists()
    process.send_signal(signal.SIGCONT)
    assert process.wait() == 0
    assert not work.exists()
    process = at_work()
    process.kill()
    process.wait()
    assert work.exists()
    assert run("check", state=state).returncode == 0
    assert not work.exists()


def test_a_backup_that_is_killed_leaves_the_old_one(tmp_path: Path, state: Path, saved: Path) -> None:
    file = saved
    before = file.read_bytes()
    began = time.monotonic()
    test_scan.run("backup", "--help", state=state)
    moment, ended = time.monotonic() - began, 0
    while not ended:
        process = subprocess.Popen([*COMMAND, "backup", str(file), "--state", str(state)], stdout=subprocess.DEVNULL)
        time.sleep(moment)  # what is tried here is the moment itself
        process.kill()
        ended = process.wait() == 0
        moment *= 1.15  # on a busy machine, where all takes longer, too, there are no more tries
        with zipfile.ZipFile(file) as archive:
            assert archive.testzip() is None
        assert ended or file.read_bytes() == before or restore(file, tmp_path / f"at {moment}")
    backup(file, state)
    assert not list(tmp_path.glob("*.partial"))
    assert not (state / "backing-up").exists()


@needs_strace
@pytest.mark.parametrize("program", ["backup", "restore"])
def test_killed_at_any_change_of_a_name_there_is_the_old_one_or_the_new_one(
    tmp_path: Path, state: Path, saved: Path, program: str
) -> None:
    say_something(state, b"b")
    older, newer = 1, 2  # pairs that were said
    found = []
    for number in range(1, 100):
        work = tmp_path / str(number)
        shutil.copytree(state, work / "state")
        shutil.copy(saved, work / "b.zip")
        command = [*COMMAND, program, str(work / "b.zip"), "--state", str(work / "state")]
        inject = f"inject=rename,rmdir:signal=SIGKILL:when={number}"
        traced = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", inject, *command]
        ended = subprocess.run(traced, capture_output=True, check=False).returncode == 0
        checked = run("check", state=work / "state")  # whoever comes next finishes what was begun
        assert checked.returncode == 0, checked.stderr
        if program == "backup":
            restore(work / "b.zip", work / "state")
        found.append(len(said(work / "state")["ignored_pair"]))
        shutil.rmtree(work)
        if ended:
            break
    assert ended
    assert len(found) > (1 if program == "backup" else 6)
    assert found == sorted(found, reverse=program == "restore")  # once the other one counts, it stays
    assert {found[0], found[-1]} == {older, newer}


def test_an_interrupted_restore_leaves_nothing_behind(state: Path, saved: Path) -> None:
    before = sorted(os.listdir(state))
    process = subprocess.Popen([*COMMAND, "restore", str(saved), "--state", str(state)], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 20
    while not (state / "restoring").exists() and process.poll() is None and time.monotonic() < deadline:
        pass
    process.send_signal(signal.SIGINT)
    _, told = process.communicate()
    assert (process.returncode, b"the index is as it was" in told) in [(0, False), (130, True)]  # 0: it had ended
    assert not (state / "restoring").exists()
    assert process.returncode == 0 or sorted(os.listdir(state)) == before
