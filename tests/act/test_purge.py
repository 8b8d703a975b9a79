"""What lies in quarantine is listed, and deleted only while the file that stayed for it is there."""

import errno
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dupwatch.act.apply import Action, apply_plan
from dupwatch.act.errors import ActError
from dupwatch.act.journal import forget_closed
from dupwatch.act.planning import make_plan
from dupwatch.act.purge import Purged, entries, out_of_reach, purge, size_in_quarantine
from dupwatch.act.runs import Boot, journal_path, known_runs
from dupwatch.act.undo import runs_to_undo, undo
from tests.act.trees import file_of_group, group_of, page_of, plan_for, seen, write
from tests.jumping_clock import JumpingClock


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree of which three files lie in quarantine; for the last a sidecar, too, that nothing else holds."""
    folder = tmp_path / "root"
    pairs = [
        (write(folder / f"spare/{number}.jpg", b"%d" % number), write(folder / f"best/{number}.jpg", b"%d" % number))
        for number in range(3)
    ]
    write(folder / "spare/2.xmp", b"rating 5")
    assert apply_plan(plan_for(folder, pairs), Action()).is_complete
    return folder


def purge_all() -> Purged:
    return purge(list(entries(known_runs())))


def test_entries_are_what_lies_there(root: Path) -> None:
    found = list(entries(known_runs()))
    assert [os.path.basename(entry.step.path) for entry in found] == [b"0.jpg", b"1.jpg", b"2.jpg", b"2.xmp"]
    assert [entry.size_bytes for entry in found] == [1, 1, 1, 8]
    assert all(entry.run.age_seconds < 60 for entry in found)


def test_a_purge_deletes_what_others_hold_and_keeps_the_rest(root: Path) -> None:
    purged = purge_all()
    assert [os.path.basename(path) for path, _ in purged.done] == [b"0.jpg", b"1.jpg", b"2.jpg"]
    assert [os.path.basename(path) for path, _ in purged.skipped] == [b"2.xmp"]
    assert "delete it there yourself" in purged.skipped[0][1]
    undone = undo(runs_to_undo())
    assert [os.path.basename(path) for path in undone.done] == [b"2.xmp"]
    assert b".dupwatch-quarantine" not in seen(root)
    with pytest.raises(ActError, match="nothing to undo"):
        runs_to_undo()


@pytest.mark.parametrize("change", ["gone", "other bytes", "link to it"])
def test_the_last_copy_is_not_purged(root: Path, change: str) -> None:
    kept = root / "best/1.jpg"
    (held,) = root.glob(".dupwatch-quarantine/*/files/spare/1.jpg")
    if change == "other bytes":
        kept.write_bytes(b"X")
    else:
        kept.unlink()
    if change == "link to it":
        os.link(held, kept)
    purged = purge_all()
    assert len(purged.done) == 2
    assert "last copy" in dict(purged.skipped)[os.fsencode(held)]
    assert held.exists()


def test_a_folder_that_has_become_empty_is_no_disk_that_is_away(root: Path) -> None:
    for kept in root.glob("best/*"):
        kept.unlink()
    assert f"it may be the last copy: {root}/best/1.jpg is gone" in dict(purge_all().skipped).values()


def test_what_stays_in_another_root_is_found_by_way_of_links_and_missed_if_its_disk_is_away(tmp_path: Path) -> None:
    roots = [os.fsencode(tmp_path / "old"), os.fsencode(tmp_path / "new/photos")]
    stays = write(roots[1] + b"/best/1.jpg", b"1")
    group = group_of(file_of_group(stays), file_of_group(write(roots[0] + b"/1.jpg", b"1"), stays))
    assert apply_plan(make_plan([page_of(roots[0], group, roots=roots)]), Action()).is_complete
    (tmp_path / "new").rename(tmp_path / "moved")
    ((_, why),) = purge_all().skipped
    folder = tmp_path / "new/photos/best"
    assert why == f"it may be the last copy: {folder}/1.jpg is out of reach: its root {folder} is offline"
    (tmp_path / "new").symlink_to(tmp_path / "moved")
    assert purge_all().is_complete


def test_a_purge_ends_where_what_stays_cannot_be_put_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system tells it once: of the next file that goes for the same one, it would say that all is well."""
    kept = write(tmp_path / "root/best.jpg", b"1")
    pairs = [(write(tmp_path / f"root/spare {number}.jpg", b"1"), kept) for number in range(2)]
    assert apply_plan(plan_for(tmp_path / "root", pairs), Action()).is_complete
    fsync, refused, number = os.fsync, [errno.EIO], os.lstat(kept).st_ino

    def refusing_once(descriptor: int) -> None:
        if refused and os.fstat(descriptor).st_ino == number:
            why = refused.pop()
            raise OSError(why, os.strerror(why))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refusing_once)
    purged = purge_all()
    assert purged.halted == f"{tmp_path}/root/best.jpg, which stays, cannot be put on the disk: Input/output error"
    assert not refused
    assert len(list(entries(known_runs()))) == 2


def test_what_was_put_back_is_not_purged(root: Path) -> None:
    assert size_in_quarantine(known_runs()) == (4, 11)
    undo(runs_to_undo())
    assert not list(entries(known_runs()))
    assert size_in_quarantine(known_runs()) == (0, 0)


def test_journals_are_forgotten_once_nothing_of_them_can_be_undone(root: Path) -> None:
    forget_closed(0)
    assert len(known_runs()) == 1
    undo(runs_to_undo())
    forget_closed(3600)
    assert len(known_runs()) == 1
    forget_closed(0)
    assert not known_runs()


def test_a_quarantine_whose_disk_is_gone_is_left_alone(root: Path) -> None:
    os.rename(root, root.with_name("away"))
    assert not list(entries(known_runs()))
    why = f"its root {root} is offline"
    assert [one for _, one in out_of_reach(known_runs())] == [why] * 4
    undone = undo(runs_to_undo())
    assert [one for _, one in undone.skipped] == [why] * 4
    os.rename(root.with_name("away"), root)
    assert not list(out_of_reach(known_runs()))
    assert undo(runs_to_undo()).is_complete
    assert (root / "spare/1.jpg").exists()


def test_an_age_counts_from_the_apply(root: Path) -> None:
    (entry, *_) = entries(known_runs())
    entry.run.began -= 3600
    assert entry.run.age_seconds < 60  # by the clock that nobody can set
    entry.run.began_at = Boot("before it was started anew", 1e9)
    assert time.time() - entry.run.began == pytest.approx(entry.run.age_seconds, abs=5)
    assert 3600 <= entry.run.age_seconds < 3700


def test_a_clock_that_jumps_makes_nothing_old(tmp_path: Path, root: Path) -> None:
    clock = JumpingClock(tmp_path / "clock")

    def purged(older_than: str) -> int:
        command = [sys.executable, "-m", "dupwatch", "purge", "--older-than", older_than, "--yes"]
        subprocess.run(command, env=os.environ | clock.environment, capture_output=True, check=False)
        return 3 - len(list(root.glob(".dupwatch-quarantine/*/files/spare/*.jpg")))

    for years in (1, -1):
        clock.jump(years * 365 * 24 * 3600)
        assert purged("30d") == 0
    clock.jump(0)
    assert purged("0") == 3


@pytest.mark.parametrize("began", ["NaN", "-Infinity", "1" + "0" * 400])
def test_a_moment_that_is_none_is_read_from_the_name_of_the_run(root: Path, began: str) -> None:
    (run,) = known_runs()
    journal = Path(os.fsdecode(journal_path(run.id)))
    journal.write_text(re.sub(r'"began": [\d.]+', f'"began": {began}', journal.read_text(), count=1))
    (run,) = known_runs()
    assert 0 <= run.age_seconds < 3600
    assert len(list(entries([run]))) == 4
