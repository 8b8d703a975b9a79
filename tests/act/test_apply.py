"""Applies on real files: what they move, what they leave, and that undo brings all of it back."""

import errno
import io
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dupwatch.act.apply import Action, Summary, apply_plan
from dupwatch.act.errors import ActError, PlanError
from dupwatch.act.journal import Journal
from dupwatch.act.plan_file import Plan
from dupwatch.act.purge import entries, purge
from dupwatch.act.runs import known_runs
from dupwatch.act.undo import runs_to_undo, undo
from dupwatch.act_output import undone_lines
from dupwatch.errors import WrongUsageError
from dupwatch.terminal import page_on
from tests.act.trees import plan_for, seen, write

ODD_NAMES = [b"caf\xe9.jpg", b"\xff\xfe\n.jpg", b"-rf *.jpg", b"x" * 251 + b".jpg"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


def copies(root: Path, number: int = 3) -> list[tuple[bytes, bytes]]:
    """Pairs of equal files, the first of which goes."""
    return [
        (
            write(root / f"spare/{one}/IMG_{one}.jpg", b"picture %d" % one, mode=0o604),
            write(root / f"best/IMG_{one}.jpg", b"picture %d" % one),
        )
        for one in range(number)
    ]


def undo_all() -> None:
    undone = undo(runs_to_undo(every=True))
    assert undone.is_complete, undone


def skipped_for(summary: Summary) -> str:
    assert len(summary.skipped) == 1
    return summary.skipped[0][1]


@pytest.mark.parametrize("action", ["quarantine", "move", "trash", "hardlink"])
def test_everything_is_as_before_after_an_undo(
    root: Path, tmp_path: Path, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("send2trash.plat_other.HOMETRASH_B", os.fsencode(tmp_path / "Trash"))
    pairs = copies(root)
    os.setxattr(pairs[0][0], "user.note", b"mine")
    before = seen(root)
    to = tmp_path / "to"
    to.mkdir()
    summary = apply_plan(plan_for(root, pairs), Action(action, os.fsencode(to) if action == "move" else None))
    assert summary.is_complete, summary
    assert len(summary.done) == 3
    after = seen(root, with_numbers=True)
    for goes, stays in pairs:
        assert os.path.lexists(stays)
        assert os.path.lexists(goes) == (action == "hardlink")
        assert action != "hardlink" or os.path.samefile(goes, stays)
    assert (b".dupwatch-quarantine" in after) == (action == "quarantine")
    undo_all()
    assert seen(root) == before
    assert os.getxattr(pairs[0][0], "user.note") == b"mine"
    assert not seen(to)
    with pytest.raises(ActError, match="nothing to undo"):
        runs_to_undo()


def test_a_quarantine_keeps_tree_bytes_modes_and_times(root: Path) -> None:
    (goes, stays), *_ = copies(root, 1)
    status = os.lstat(goes)
    apply_plan(plan_for(root, [(goes, stays)]), Action())
    (held,) = root.glob(".dupwatch-quarantine/*/files/spare/0/IMG_0.jpg")
    assert os.path.samestat(os.lstat(held), status)
    assert (os.lstat(held).st_mode, os.lstat(held).st_mtime_ns) == (status.st_mode, status.st_mtime_ns)
    assert os.lstat(root / ".dupwatch-quarantine").st_mode & 0o7777 == 0o700


def test_what_was_deleted_is_told_to_be_gone_for_good(root: Path) -> None:
    (goes, stays), *_ = copies(root, 1)
    assert apply_plan(plan_for(root, [(goes, stays)]), Action("delete")).is_complete
    assert set(seen(root)) == {b"spare", b"best", b"spare/0", b"best/IMG_0.jpg"}
    undone = undo(runs_to_undo())
    assert undone.skipped == [(goes, "it was deleted for good")]
    with pytest.raises(ActError):
        runs_to_undo()


@pytest.mark.parametrize("action", ["delete", "hardlink", "purge"])
def test_what_stays_is_on_the_disk_before_the_other_is_removed(
    root: Path, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power cut, that is: a copy made a moment ago may be in memory only."""
    (goes, stays), *_ = copies(root, 1)
    plan, gone = plan_for(root, [(goes, stays)]), os.lstat(goes).st_ino
    if action == "purge":
        apply_plan(plan, Action())
    done: list[tuple[str, int]] = []
    fsync, unlink = os.fsync, os.unlink

    def noting_fsync(descriptor: int) -> None:
        done.append(("synced", os.fstat(descriptor).st_ino))
        fsync(descriptor)

    def noting_unlink(path: bytes, *, dir_fd: int | None = None) -> None:
        done.append(("removed", os.lstat(path).st_ino if dir_fd is None else os.stat(path, dir_fd=dir_fd).st_ino))
        unlink(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "fsync", noting_fsync)
    monkeypatch.setattr(os, "unlink", noting_unlink)
    if action == "purge":
        assert purge(list(entries(known_runs()))).is_complete
    else:
        assert apply_plan(plan, Action(action)).is_complete
    before = done[: done.index(("removed", gone))]
    kept = {os.lstat(stays).st_ino, os.lstat(os.path.dirname(stays)).st_ino}
    assert kept <= {number for what, number in before if what == "synced"}


@pytest.mark.parametrize("action", ["delete", "hardlink"])
@pytest.mark.parametrize("refused", ["EIO", "EACCES", "EINVAL", "ENOSYS", "EOPNOTSUPP"])
def test_an_apply_ends_where_what_stays_cannot_be_put_on_the_disk(
    root: Path, action: str, refused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But not on a file system that has nothing to put there, or knows no such call."""
    (goes, stays), *_ = copies(root, 1)
    plan, fsync, kept, number = plan_for(root, [(goes, stays)]), os.fsync, os.lstat(stays), getattr(errno, refused)

    def refusing(descriptor: int) -> None:
        if os.path.samestat(os.fstat(descriptor), kept):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refusing)
    summary = apply_plan(plan, Action(action))
    if refused in ("EIO", "EACCES"):
        why = f"{os.fsdecode(stays)}, which stays, cannot be put on the disk: {os.strerror(number)}"
        assert (summary.halted, summary.done, os.lstat(goes).st_nlink) == (why, [], 1)
    else:
        assert summary.is_complete


@pytest.mark.parametrize("action", ["quarantine", "move", "delete", "hardlink"])
def test_names_of_any_bytes_and_any_length(root: Path, tmp_path: Path, action: str) -> None:
    (tmp_path / "to").mkdir()
    top = os.fsencode(root)
    pairs = [(write(top + b"/a/" + name, name), write(top + b"/b/" + name, name)) for name in ODD_NAMES]
    before = seen(root)
    to = os.fsencode(tmp_path / "to") if action == "move" else None
    summary = apply_plan(plan_for(root, pairs), Action(action, to))
    assert len(summary.done) == len(ODD_NAMES), summary
    if action != "delete":
        undo_all()
        assert seen(root) == before


@pytest.mark.parametrize("change", ["bytes", "size", "gone", "kept bytes", "kept gone", "kept moved here"])
def test_a_file_stays_if_it_or_its_copy_has_changed_or_is_gone(root: Path, change: str) -> None:
    pairs = copies(root)
    goes, stays = pairs[1]
    plan = plan_for(root, pairs)
    changes: dict[str, Callable[[], object]] = {
        "bytes": lambda: write(goes, b"picturE 1"),
        "size": lambda: write(goes, b"picture 1 and more"),
        "gone": lambda: os.unlink(goes),
        "kept bytes": lambda: write(stays, b"picturE 1"),
        "kept gone": lambda: os.unlink(stays),
        "kept moved here": lambda: os.replace(stays, goes),
    }
    changes[change]()
    before = {name: what for name, what in seen(root).items() if b"1" in name}
    summary = apply_plan(plan, Action())
    why = skipped_for(summary)
    assert ("last copy" in why) == ("kept" in change)
    assert "gone" in why if change.endswith(("gone", "here")) else "changed" in why
    assert {name: what for name, what in seen(root).items() if b"1" in name and b".dupwatch" not in name} == before
    assert len(summary.done) == 2


def test_a_kept_file_changed_between_two_uses_ends_its_use(root: Path) -> None:
    stays = write(root / "best.jpg", b"picture")
    spares = [write(root / f"{number}.jpg", b"picture") for number in range(4)]
    plan = plan_for(root, [(spare, stays) for spare in spares])
    calls = 0

    def change_after_two() -> bool:
        nonlocal calls
        calls += 1
        if calls == 3:
            write(stays, b"PICTURE")  # the same size and time
        return False

    summary = apply_plan(plan, Action("delete"), stop=change_after_two)
    assert [path for path, _ in summary.done] == spares[:2]
    assert [path for path, _ in summary.skipped] == spares[2:]
    assert all("last copy" in why for _, why in summary.skipped)


def test_two_names_of_one_file_are_no_copies(root: Path) -> None:
    pairs = copies(root, 1)
    plan = plan_for(root, pairs)
    goes, stays = pairs[0]
    os.unlink(goes)
    os.link(stays, goes)
    summary = apply_plan(plan, Action("delete"))
    assert "the same file" in skipped_for(summary)
    assert os.path.lexists(goes)


def test_a_plan_that_leads_through_a_link_is_refused_whole(root: Path) -> None:
    pairs = copies(root)
    plan = plan_for(root, pairs)
    os.rename(root / "best", root / "really")
    os.symlink("really", root / "best")
    before = seen(root)
    with pytest.raises(PlanError, match="symbolic link"):
        apply_plan(plan, Action())
    assert seen(root) == before


def test_a_plan_of_what_lies_in_quarantine_is_refused(root: Path) -> None:
    pairs = copies(root, 1)
    apply_plan(plan_for(root, pairs), Action())
    (held,) = root.glob(".dupwatch-quarantine/*/files/spare/0/IMG_0.jpg")
    again = write(pairs[0][0], b"picture 0")
    with pytest.raises(PlanError, match="quarantine"):
        apply_plan(plan_for(root, [(again, os.fsencode(held))]), Action())


def test_a_link_that_appears_later_is_not_followed(root: Path, tmp_path: Path) -> None:
    pairs = copies(root, 2)
    plan = plan_for(root, pairs)
    shutil.copytree(root / "spare", tmp_path / "elsewhere")

    def swap() -> bool:
        if not os.path.islink(root / "spare"):
            os.rename(root / "spare", root / "was")
            os.symlink(tmp_path / "elsewhere", root / "spare")
        return False

    summary = apply_plan(plan, Action("delete"), stop=swap)
    assert not summary.done
    assert len(seen(tmp_path / "elsewhere")) == 4


def test_a_root_that_is_offline_is_told_as_such(root: Path) -> None:
    plan = plan_for(root, copies(root, 1))
    os.rename(root, root.with_name("away"))
    root.mkdir()
    assert "offline" in skipped_for(apply_plan(plan, Action()))


def test_nothing_is_overwritten_by_a_move(root: Path, tmp_path: Path) -> None:
    pairs = copies(root, 1)
    (tmp_path / "to").mkdir()
    taken = write(os.fsencode(tmp_path / "to") + pairs[0][0], b"something else")
    before = seen(root)
    summary = apply_plan(plan_for(root, pairs), Action("move", os.fsencode(tmp_path / "to")))
    assert "cannot be moved" in skipped_for(summary)
    assert seen(root) == before
    assert Path(os.fsdecode(taken)).read_bytes() == b"something else"


def test_a_place_that_is_taken_keeps_its_file_and_the_other_stays_in_quarantine(root: Path) -> None:
    pairs = copies(root)
    before = seen(root)
    apply_plan(plan_for(root, pairs), Action())
    write(pairs[1][0], b"a new picture of this name")
    undone = undo(runs_to_undo())
    assert len(undone.done) == 2
    assert [path for path, _ in undone.skipped] == [pairs[1][0]]
    assert "taken" in undone.skipped[0][1]
    os.unlink(pairs[1][0])
    undo_all()
    assert seen(root) == before


@pytest.mark.parametrize("what", ["file", "link"])
@pytest.mark.parametrize("action", ["quarantine", "move", "trash", "hardlink"])
def test_a_folder_that_is_none_any_more_is_told_with_where_its_file_is(
    root: Path, tmp_path: Path, action: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("send2trash.plat_other.HOMETRASH_B", os.fsencode(tmp_path / "Trash"))
    [(goes, stays)] = copies(root, 1)
    to = tmp_path / "to"
    to.mkdir()
    apply_plan(plan_for(root, [(goes, stays)]), Action(action, os.fsencode(to) if action == "move" else None))
    folder = Path(os.fsdecode(os.path.dirname(goes)))
    folder.rename(tmp_path / "folder")
    if what == "file":
        folder.write_bytes(b"mine")
    else:
        folder.symlink_to(tmp_path)
    held = next(iter([*root.glob(".dupwatch-quarantine/*/files/spare/0/IMG_0.jpg"), *to.rglob("IMG_0.jpg")]), None)
    assert (held is not None) == (action in ("quarantine", "move"))
    where = f"; it stays in {held}" if held is not None else ""
    assert undo(runs_to_undo()).skipped == [(goes, f"a file or a link is in the way to its folder {folder}{where}")]
    folder.unlink()
    (tmp_path / "folder").rename(folder)
    undo_all()


def test_what_was_changed_in_quarantine_is_put_back_and_told(root: Path) -> None:
    pairs = copies(root)
    apply_plan(plan_for(root, pairs), Action())
    (held,) = root.glob(".dupwatch-quarantine/*/files/spare/1/IMG_1.jpg")
    held.write_bytes(b"edited")
    undone = undo(runs_to_undo())
    assert (undone.is_complete, len(undone.done), undone.changed) == (True, 3, [pairs[1][0]])
    assert "Put back, but changed in quarantine: 1" in "\n".join(undone_lines(undone, page_on(io.StringIO())))


def test_folders_that_are_gone_are_made_again(root: Path) -> None:
    pairs = copies(root)
    os.chmod(root / "spare", 0o750)
    before = seen(root)
    apply_plan(plan_for(root, pairs), Action())
    for number in range(3):
        os.rmdir(root / f"spare/{number}")
        os.chmod(root / "spare", 0o750)
    undo_all()
    assert set(seen(root)) == set(before)
    assert os.lstat(root / "spare/1").st_mode & 0o7777 == 0o750


def test_a_journal_that_is_lost_is_found_in_the_quarantine(root: Path, state: Path) -> None:
    pairs = copies(root)
    before = seen(root)
    plan = plan_for(root, pairs)
    apply_plan(plan, Action())
    shutil.rmtree(state / "dupwatch")
    with pytest.raises(ActError):
        runs_to_undo()
    assert undo(runs_to_undo(plan)).is_complete
    assert seen(root) == before


def test_a_line_of_the_journal_that_was_cut_off_does_no_harm(root: Path, state: Path) -> None:
    pairs = copies(root)
    before = seen(root)
    apply_plan(plan_for(root, pairs), Action())
    (journal,) = (state / "dupwatch/journal").glob("*.jsonl")
    journal.write_bytes(journal.read_bytes()[:-20])
    undo_all()
    assert seen(root) == before
    assert {state for run in known_runs() for state in run.states.values()} == {"undone"}


@pytest.mark.parametrize("damaged", [0, 2])
@pytest.mark.parametrize("by_plan", [True, False])
def test_a_damaged_line_of_the_journal_hides_no_run(root: Path, state: Path, damaged: int, by_plan: bool) -> None:
    pairs = copies(root)
    before = seen(root)
    plan = plan_for(root, pairs)
    apply_plan(plan, Action())
    (journal,) = (state / "dupwatch/journal").glob("*.jsonl")
    lines = journal.read_bytes().splitlines(keepends=True)
    assert b'"path"' in lines[2]
    lines[damaged] = b"\0" * (len(lines[damaged]) - 1) + b"\n"
    journal.write_bytes(b"".join(lines))
    assert abs(known_runs()[0].began - os.stat(journal).st_mtime) < 60
    if by_plan or damaged == 0:  # the step is in the journal of the quarantine alone, which only a plan leads to
        assert undo(runs_to_undo(plan if by_plan else None)).is_complete
        assert seen(root) == before


def test_two_applies_at_once(root: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = copies(root)
    plan = plan_for(root, pairs)
    with Journal.begun("quarantine", ""), pytest.raises(ActError, match="at work"):
        apply_plan(plan, Action())
    inside = threading.Event()

    def in_the_middle() -> bool:
        if not inside.is_set():
            inside.set()
            return False
        monkeypatch.setenv("XDG_STATE_HOME", str(state / "of another user"))
        try:
            other = apply_plan(plan, Action())
        finally:
            monkeypatch.setenv("XDG_STATE_HOME", str(state))
        assert not other.done
        assert any("another run is at work" in why for _, why in other.skipped)
        return False

    summary = apply_plan(plan, Action(), stop=in_the_middle)
    assert len(summary.done) == 3


def test_a_folder_of_that_name_without_marker_is_not_used(root: Path) -> None:
    pairs = copies(root, 1)
    plan = plan_for(root, pairs)
    own = write(root / ".dupwatch-quarantine/mine.jpg", b"mine")
    summary = apply_plan(plan, Action())
    assert summary.is_complete
    assert list(root.glob("spare/.dupwatch-quarantine/*/files/0/IMG_0.jpg"))
    assert os.listdir(os.path.dirname(own)) == [b"mine.jpg"]


@pytest.mark.parametrize("to", [None, "relative", "/nonexistent/dupwatch", "root", "root/below"])
def test_a_move_needs_a_folder_outside_the_roots(root: Path, to: str | None) -> None:
    plan = plan_for(root, copies(root, 1))
    (root / "below").mkdir()
    folder = None if to is None else os.fsencode(root.parent / to if to != "relative" else to)
    with pytest.raises(WrongUsageError):
        apply_plan(plan, Action("move", folder))


def test_only_equal_bytes_become_links(root: Path) -> None:
    goes, stays = write(root / "a.jpg", b"one"), write(root / "b.jpg", b"other")
    before = seen(root, with_numbers=True)
    for action in ("hardlink", "reflink"):
        assert "byte by byte" in skipped_for(apply_plan(plan_for(root, [(goes, stays)]), Action(action)))
    assert seen(root, with_numbers=True) == before


def test_a_link_whose_content_changed_since_is_left_as_it_is(root: Path) -> None:
    goes, stays = copies(root, 1)[0]
    apply_plan(plan_for(root, [(goes, stays)]), Action("hardlink"))
    Path(os.fsdecode(stays)).write_bytes(b"edited")
    undone = undo(runs_to_undo())
    assert "changed" in undone.skipped[0][1]
    assert Path(os.fsdecode(goes)).read_bytes() == b"edited"


def test_time_of_what_stays_is_untouched_by_links(root: Path) -> None:
    goes, stays = copies(root, 1)[0]
    before = os.lstat(stays).st_mtime_ns
    apply_plan(plan_for(root, [(goes, stays)]), Action("hardlink"))
    assert os.lstat(stays).st_mtime_ns == before


@pytest.mark.parametrize("action", ["quarantine", "delete"])
def test_sidecars_go_with_their_picture_and_with_it_only(root: Path, action: str) -> None:
    pairs = copies(root, 2)
    for goes, stays in pairs:
        write(goes[:-4] + b".xmp", b"rating 5")
        write(stays[:-4] + b".xmp", b"rating 5")
    plan = plan_for(root, pairs)
    write(pairs[0][0], b"changed")
    summary = apply_plan(plan, Action(action))
    assert {path for path, _ in summary.done} == {pairs[1][0], pairs[1][0][:-4] + b".xmp"}
    assert os.path.lexists(pairs[0][0][:-4] + b".xmp")


def test_a_shared_sidecar_stays_with_the_picture_that_stays(root: Path) -> None:
    pairs = copies(root, 1)
    goes, stays = pairs[0]
    raw, best_raw = write(goes[:-4] + b".CR2", b"raw"), write(stays[:-4] + b".CR2", b"raw")
    sidecar = write(goes[:-4] + b".xmp", b"rating 5")
    plan = plan_for(root, [*pairs, (raw, best_raw)])
    write(goes, b"changed")
    summary = apply_plan(plan, Action())
    assert [path for path, _ in summary.done] == [raw]
    assert [path for path, _ in summary.skipped] == [goes, sidecar]
    assert os.path.lexists(sidecar)


def test_a_sidecar_left_behind_goes_later_or_the_apply_says_why_it_stays(root: Path) -> None:
    pairs = copies(root, 1)
    goes = pairs[0][0]
    sidecar = write(goes[:-4] + b".xmp", b"rating 5")
    plan = plan_for(root, pairs)
    other = write(goes[:-4] + b".png", b"another picture")  # has come since
    assert [path for path, _ in apply_plan(plan, Action()).skipped] == [sidecar]
    again = apply_plan(plan, Action())
    assert (again.done, [path for path, _ in again.skipped]) == ([], [sidecar])
    os.unlink(other)
    assert "would be lost" in skipped_for(apply_plan(plan, Action("delete")))
    last = apply_plan(plan, Action())
    assert ([path for path, _ in last.done], last.is_complete) == ([sidecar], True)
    undo_all()
    assert os.path.lexists(goes)
    assert os.path.lexists(sidecar)


@pytest.mark.parametrize("name", [b"IMG_0.xmp", b"IMG_0.jpg.json", b"IMG_0.mov", b"IMG_0.WAV"])
@pytest.mark.parametrize("action", ["quarantine", "delete"])
def test_what_the_plan_does_not_name_is_not_parted_from_its_picture(root: Path, action: str, name: bytes) -> None:
    """It came since the plan was made, or somebody has taken it out of the plan."""
    pairs = copies(root, 2)
    plan = plan_for(root, pairs)
    write(os.path.join(os.path.dirname(pairs[0][0]), name), b"an edit")
    before = seen(root / "spare/0")
    summary = apply_plan(plan, Action(action))
    assert f"{os.fsdecode(name)} is not in the plan" in skipped_for(summary)
    assert ([path for path, _ in summary.done], seen(root / "spare/0")) == ([pairs[1][0]], before)
    write(pairs[0][0][:-4] + b".png", b"another picture, to which all but the JSON belongs as well")
    assert apply_plan(plan, Action(action)).is_complete == (b"json" not in name)


def test_a_link_takes_nothing_from_what_lies_beside_a_picture(root: Path) -> None:
    pairs = copies(root, 1)
    plan = plan_for(root, pairs)
    write(pairs[0][0] + b".xmp", b"an edit")
    assert apply_plan(plan, Action("hardlink")).is_complete


def test_a_sidecar_without_equal_is_never_deleted(root: Path) -> None:
    goes, stays = copies(root, 1)[0]
    sidecar = write(goes + b".xmp", b"rating 5")
    plan = plan_for(root, [(goes, stays)])
    assert "would be lost" in skipped_for(apply_plan(plan, Action("delete")))
    assert apply_plan(plan, Action()).is_complete
    assert not os.path.lexists(sidecar)


def test_stopped_between_two_files_it_goes_on_when_called_again(root: Path) -> None:
    pairs = copies(root, 4)
    plan = plan_for(root, pairs)
    asked: list[int] = []

    def after_two() -> bool:
        asked.append(0)
        return len(asked) > 2

    first = apply_plan(plan, Action(), stop=after_two)
    assert (first.is_stopped, len(first.done)) == (True, 2)
    second = apply_plan(plan, Action())
    assert (len(second.done), second.done_before, second.skipped) == (2, 2, [])
    undo_all()
    assert all(os.path.lexists(goes) for goes, _ in pairs)


def test_a_quarantine_that_goes_away_ends_the_apply(root: Path) -> None:
    pairs = copies(root, 4)
    before = seen(root)
    calls: list[int] = []

    def take_away() -> bool:
        calls.append(0)
        if len(calls) == 3:
            os.rename(root / ".dupwatch-quarantine", root.parent / "away")
        return False

    summary = apply_plan(plan_for(root, pairs), Action(), stop=take_away)
    assert "is gone" in str(summary.halted)
    assert len(summary.done) == 2
    assert len(undo(runs_to_undo()).skipped) == 2
    os.rename(root.parent / "away", root / ".dupwatch-quarantine")
    undo_all()
    assert seen(root) == before


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="another file system is needed")
def test_a_move_to_another_file_system_keeps_everything(root: Path) -> None:
    pairs = copies(root)
    os.setxattr(pairs[0][0], "user.note", b"mine")
    before, was = seen(root), os.lstat(pairs[0][0])
    to = Path(tempfile.mkdtemp(prefix="dw", dir="/dev/shm"))
    try:
        assert os.lstat(to).st_dev != was.st_dev
        assert apply_plan(plan_for(root, pairs), Action("move", os.fsencode(to))).is_complete
        moved = os.lstat(os.fsencode(to) + pairs[0][0])
        assert (moved.st_mode, moved.st_mtime_ns, moved.st_uid) == (was.st_mode, was.st_mtime_ns, was.st_uid)
        assert b".dupwatch-quarantine" not in seen(root)
        undo_all()
        assert seen(root) == before
        assert os.getxattr(pairs[0][0], "user.note") == b"mine"
        assert not seen(to)
    finally:
        shutil.rmtree(to)


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="a file system in memory is needed")
def test_a_trash_that_would_not_persist_is_refused(tmp_path: Path) -> None:
    root = Path(tempfile.mkdtemp(prefix="dw", dir="/dev/shm"))
    try:
        pairs = copies(root, 1)
        before = seen(root)
        assert "not persist" in skipped_for(apply_plan(plan_for(root, pairs), Action("trash")))
        assert seen(root) == before
    finally:
        shutil.rmtree(root)


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="another file system is needed")
def test_a_trash_on_another_file_system_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("send2trash.plat_other.HOMETRASH_B", b"/dev/shm/dupwatch-no/Trash")
    monkeypatch.setenv("HOME", str(root))  # on the file system of the pictures
    pairs = copies(root, 1)
    before = seen(root)
    assert "another file system" in skipped_for(apply_plan(plan_for(root, pairs), Action("trash")))
    assert seen(root) == before


def test_a_plan_of_nothing_does_nothing(root: Path, state: Path) -> None:
    plan = replace(plan_for(root, copies(root, 1)), groups=())
    assert apply_plan(plan, Action()).is_complete
    assert not list(state.iterdir())


def test_the_service_is_told_by_digest(root: Path) -> None:
    plan: Plan = plan_for(root, copies(root))
    summary = apply_plan(plan, Action())
    assert summary.digests == [going.file.blake3 for going in plan.going]
    assert undo(runs_to_undo()).digests == summary.digests[::-1]


def test_an_undo_never_removes_a_file_that_the_folder_moved_to_now_leads_to(root: Path, tmp_path: Path) -> None:
    to = tmp_path / "to"
    to.mkdir()
    goes, stays = copies(root, 1)[0]
    assert apply_plan(plan_for(root, [(goes, stays)]), Action("move", os.fsencode(to))).is_complete
    moved = Path(os.fsdecode(os.fsencode(to) + goes))
    os.rename(moved, goes)  # somebody has put it back by hand, and made the old place lead to where it is
    moved.parent.rmdir()
    moved.parent.parent.rmdir()
    moved.parent.parent.symlink_to(root / "spare")
    before = seen(root)
    undo(runs_to_undo())
    assert seen(root) == before


def test_the_last_apply_is_the_last_whatever_the_clock_says(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several within a second, and one after the clock was put back."""
    pairs, now = copies(root, 7), time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    for number, pair in enumerate(pairs):
        now -= 3600 * (number == 6)
        assert apply_plan(plan_for(root, [pair]), Action()).is_complete
    for goes, _ in reversed(pairs):
        assert undo(runs_to_undo()).done == [goes]


def test_a_journal_named_after_no_moment_is_none(root: Path, state: Path) -> None:
    assert apply_plan(plan_for(root, copies(root, 1)), Action()).is_complete
    (state / "dupwatch/journal/2026-99-99T99-99-99Z-00000000.jsonl").write_text("{}\n")
    undo_all()


def test_a_journal_of_the_last_moment_that_a_name_can_tell_is_to_be_moved_away(root: Path, state: Path) -> None:
    plan = plan_for(root, copies(root, 1))
    journal = state / "dupwatch/journal/9999-12-31T23-59-59Z-00000000.jsonl"
    write(journal, b"{}\n")
    before = seen(root)
    with pytest.raises(ActError, match=f"the journal {journal} is of a wrong date, .*: move it away"):
        apply_plan(plan, Action())
    assert seen(root) == before
    journal.unlink()
    assert apply_plan(plan, Action()).is_complete
    undo_all()
