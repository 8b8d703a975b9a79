"""What another user of a shared disk can prepare: quarantines and journals made by hand, which nobody may believe."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dupwatch.act.apply import Action, apply_plan
from dupwatch.act.errors import ActError
from dupwatch.act.plan_file import Plan, plan_digest
from dupwatch.act.runs import known_runs
from dupwatch.act.undo import runs_to_undo, undo
from dupwatch.quarantine_name import MARKER_NAME, QUARANTINE_NAME
from tests.act.trees import digest, plan_for, seen, write

RUN = "2026-11-28T05-30-00Z-0123abcd"
OTHER_USER = 12345


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


def pair(root: Path) -> tuple[bytes, bytes]:
    return write(root / "shared/copy.jpg", b"picture"), write(root / "best/picture.jpg", b"picture")


def forged(folder: Path, plan: Plan, data: bytes, owner: int, run: str = RUN, **edits: Any) -> Path:
    """Put a quarantine into a folder that says of one file of the plan that it lies there."""
    going = plan.groups[0].goes[0].file
    quarantine = folder / os.fsdecode(QUARANTINE_NAME)
    held = quarantine / RUN / "files/held.jpg"
    write(held, data)
    write(quarantine / os.fsdecode(MARKER_NAME), b"")
    step = {
        "step": 1, "action": "quarantine", "path": os.fsdecode(going.path), "root": os.fsdecode(plan.roots[0]),
        "quarantine": str(quarantine), "held": str(held), "to": None, "size_bytes": len(data),
        "mtime_ns": os.stat(held).st_mtime_ns, "atime_ns": 0, "device": os.stat(held).st_dev,
        "inode": os.stat(held).st_ino, "mounted_at": "/", "mode": 0o4755, "uid": 0, "gid": 0,
        "digest": digest(os.fsencode(held)).hex(), "kept": None, "kept_digest": None, "goes_with": None, "xattrs": {},
        **edits,
    }  # fmt: skip
    head = {"dupwatch_journal": 1, "run": run, "action": step["action"], "plan": plan_digest(plan), "began": 1.8e9}
    journal = quarantine / RUN / "journal"
    journal.write_text("".join(json.dumps(line) + "\n" for line in (head, step)))
    for path in (quarantine, *quarantine.rglob("*")):
        os.chown(path, owner, owner)
        if path.is_dir():
            path.chmod(0o700)
    return held


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_journal_in_the_quarantine_of_another_user_is_not_believed(root: Path, tmp_path: Path) -> None:
    goes, stays = pair(root)
    plan = plan_for(root, [(goes, stays)])
    os.chown(root / "shared", OTHER_USER, OTHER_USER)
    forged(
        root / "shared", plan, b"* * * * * root evil", OTHER_USER,
        path=str(tmp_path / "cron.d/evil"), root=str(tmp_path), mounted_at="/",
    )  # fmt: skip
    before = seen(tmp_path)
    with pytest.raises(ActError, match=r"shared.*another user"):
        runs_to_undo(plan)
    assert seen(tmp_path) == before


@pytest.mark.parametrize(
    "edits",
    [
        lambda tmp_path: {"path": str(tmp_path / "elsewhere/evil"), "root": str(tmp_path)},
        lambda tmp_path: {"path": str(tmp_path / "root/elsewhere.jpg")},
        lambda tmp_path: {"held": str(tmp_path / "root/best/picture.jpg")},
        lambda tmp_path: {"held": str(tmp_path / "root/shared/.dupwatch-quarantine/../../best/picture.jpg")},
        lambda tmp_path: {"quarantine": str(tmp_path), "held": str(tmp_path / "secret")},
        lambda tmp_path: {"action": "move", "to": str(tmp_path / "secret")},
        lambda _: {"run": "../../../escaped"},
        lambda _: {"mode": "0644"},
    ],
)
def test_a_journal_in_a_quarantine_speaks_of_files_of_the_plan_alone(
    root: Path, tmp_path: Path, edits: Callable[[Path], dict[str, Any]]
) -> None:
    goes, stays = pair(root)
    plan = plan_for(root, [(goes, stays)])
    write(tmp_path / "secret", b"secret")
    forged(root / "shared", plan, b"forged", os.geteuid(), **edits(tmp_path))
    os.unlink(goes)
    before = seen(tmp_path)
    with pytest.raises(ActError, match="nothing to undo"):
        undo(runs_to_undo(plan))
    assert seen(tmp_path) == before
    assert known_runs() == []


def test_another_content_in_the_name_of_a_file_of_the_plan_is_not_put_back(root: Path) -> None:
    goes, stays = pair(root)
    plan = plan_for(root, [(goes, stays)])
    apply_plan(plan, Action())
    forged(root / "shared", plan, b"another picture", os.geteuid(), digest=digest(stays).hex(), size_bytes=7)
    assert undo(runs_to_undo(plan)).is_complete
    assert Path(os.fsdecode(goes)).read_bytes() == b"picture"


def test_a_journal_of_another_plan_is_not_read(root: Path) -> None:
    goes, stays = pair(root)
    plan = plan_for(root, [(goes, stays)])
    apply_plan(plan, Action())
    with pytest.raises(ActError, match="nothing to undo"):
        runs_to_undo(replace(plan, made="2020-01-01T00:00:00Z"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize(("owner", "mode"), [(OTHER_USER, 0o700), (OTHER_USER, 0o777), (0, 0o777)])
def test_a_quarantine_that_another_user_can_write_to_takes_no_file(root: Path, owner: int, mode: int) -> None:
    goes, stays = pair(root)
    plan = plan_for(root, [(goes, stays)])
    quarantine = root / os.fsdecode(QUARANTINE_NAME)
    write(quarantine / os.fsdecode(MARKER_NAME), b"")
    for path in (root, quarantine):
        path.chmod(mode)
        os.chown(path, owner, owner)
    assert apply_plan(plan, Action()).is_complete
    assert os.listdir(quarantine) == [os.fsdecode(MARKER_NAME)]
    own = root / "shared" / os.fsdecode(QUARANTINE_NAME)  # the next folder in which one can be
    assert (own.stat().st_uid, own.stat().st_mode & 0o777) == (os.geteuid(), 0o700)
    assert undo(runs_to_undo(plan)).is_complete
    assert Path(os.fsdecode(goes)).read_bytes() == b"picture"
