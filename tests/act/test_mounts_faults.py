"""Disks that share blocks, fill up, go read-only, die or are taken away in the middle: mounted for real."""

import array
import fcntl
import json
import os
import pickle
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from dupwatch.act.apply import Action, Summary, apply_plan
from dupwatch.act.content import look_again
from dupwatch.act.errors import ActError, PlanError
from dupwatch.act.plan_file import Plan, plan_text
from dupwatch.act.plan_reading import parsed_plan
from dupwatch.act.planning import make_plan
from dupwatch.act.steps import Going, Steps
from dupwatch.act.undo import runs_to_undo, undo
from dupwatch.errors import WrongUsageError
from tests.act.mounts import Mounts
from tests.act.trees import file_of_group, group_of, page_of, plan_for, seen, write

_FS_IOC_FIEMAP = 0xC020660B
_EXTENT_SHARED = 0x2000
_SHUT_DOWN = 0x8004587D  # of ext4 and XFS: everything fails from then on, as on a disk that is pulled out


@pytest.fixture
def mounts(tmp_path: Path) -> Iterator[Mounts]:
    with Mounts(tmp_path) as made:
        yield made


@pytest.fixture(autouse=True)
def trash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("send2trash.plat_other.HOMETRASH_B", os.fsencode(tmp_path / "Trash"))


def copies(root: Path, number: int = 3, data: bytes = b"picture %d ") -> list[tuple[bytes, bytes]]:
    """Pairs of equal files, the first of which goes."""
    return [
        (
            write(root / f"spare/{one}/IMG_{one}.jpg", data % one * 5000, mode=0o604),
            write(root / f"best/IMG_{one}.jpg", data % one * 5000),
        )
        for one in range(number)
    ]


def undo_all() -> None:
    undone = undo(runs_to_undo(every=True))
    assert undone.is_complete, undone


def plan_over(roots: list[Path], pairs: list[tuple[bytes, bytes]]) -> Plan:
    groups = [
        group_of(file_of_group(stays), file_of_group(goes, stays), name=str(number))
        for number, (goes, stays) in enumerate(pairs)
    ]
    return make_plan([page_of(roots[0], *groups, roots=list(map(os.fsencode, roots)))])


def at_call(number: int, act: Callable[[], object]) -> Callable[[], bool]:
    """A `stop` that does something when it is asked for that time, and never stops."""
    calls = iter(range(1, 10**9))

    def stop() -> bool:
        if next(calls) == number:
            act()
        return False

    return stop


def is_shared(path: bytes) -> bool:
    """Whether all extents of a file are shared with another one."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        request = array.array("B", struct.pack("=QQIIII", 0, 1 << 62, 1, 0, 8, 0) + bytes(56 * 8))
        fcntl.ioctl(descriptor, _FS_IOC_FIEMAP, request)
    finally:
        os.close(descriptor)
    count = struct.unpack_from("=I", request, 20)[0]
    flags = [struct.unpack_from("=I", request, 32 + 56 * number + 40)[0] for number in range(count)]
    return count > 0 and all(flag & _EXTENT_SHARED for flag in flags)


@pytest.mark.parametrize("kind", ["btrfs", "xfs"])
def test_clones_share_their_blocks_and_nothing_else(tmp_path: Path, mounts: Mounts, kind: str) -> None:
    root = mounts.loop(tmp_path / "disk", kind) / "root"
    pairs = copies(root)
    os.setxattr(pairs[0][0], "user.note", b"mine")
    before = seen(root)
    kept = [os.lstat(stays) for _, stays in pairs]
    os.sync()
    assert not any(is_shared(goes) for goes, _ in pairs)
    summary = apply_plan(plan_for(root, pairs), Action("reflink"))
    assert len(summary.done) == 3, summary
    assert seen(root) == before
    assert os.getxattr(pairs[0][0], "user.note") == b"mine"
    assert all(is_shared(goes) and is_shared(stays) for goes, stays in pairs)
    assert [(one.st_ino, one.st_mtime_ns) for one in kept] == [
        (now.st_ino, now.st_mtime_ns) for now in (os.lstat(stays) for _, stays in pairs)
    ]
    Path(os.fsdecode(pairs[1][0])).write_bytes(b"edited")
    assert Path(os.fsdecode(pairs[1][1])).read_bytes() == b"picture 1 " * 5000
    write(pairs[1][0], b"picture 1 " * 5000, mode=0o604)
    undo_all()
    assert seen(root) == before


@pytest.mark.parametrize("action", ["quarantine", "move", "trash", "hardlink", "reflink", "delete"])
def test_subvolumes_below_a_root_are_file_systems_of_their_own(tmp_path: Path, mounts: Mounts, action: str) -> None:
    root = mounts.loop(tmp_path / "disk", "btrfs")
    if shutil.which("btrfs") is None:
        pytest.skip("btrfs is missing")
    subprocess.run(["btrfs", "-q", "subvolume", "create", root / "spare"], check=True, capture_output=True)
    pairs = copies(root)
    subprocess.run(
        ["btrfs", "-q", "subvolume", "snapshot", "-r", root / "spare", root / "old"], check=True, capture_output=True
    )
    frozen = os.fsencode(root / "old/0/IMG_0.jpg")
    (tmp_path / "to").mkdir()
    before = seen(root)
    plan = plan_for(root, pairs)
    other = replace(plan.groups[0].goes[0].file, path=frozen)
    groups = (replace(plan.groups[0], goes=(replace(plan.groups[0].goes[0], file=other), *plan.groups[0].goes)),)
    plan = replace(plan, groups=groups + plan.groups[1:])
    summary = apply_plan(plan, Action(action, os.fsencode(tmp_path / "to") if action == "move" else None))
    assert os.path.lexists(frozen)
    assert [path for path, _ in summary.skipped if b"old" in path] == [frozen], summary
    assert len(summary.done) == (0 if action == "hardlink" else 3), summary  # nothing links across
    if action not in ("delete", "hardlink"):
        undo_all()
    now = {name: what for name, what in seen(root).items() if b".Trash-" not in name}
    assert action == "delete" or now == before


@pytest.mark.parametrize("action", ["quarantine", "move", "hardlink", "reflink", "delete"])
@pytest.mark.parametrize("call", [1, 3])
def test_a_disk_that_is_taken_away_in_the_middle(tmp_path: Path, mounts: Mounts, action: str, call: int) -> None:
    image, root, best = mounts.image("xfs"), tmp_path / "root", tmp_path / "best"
    mounts.mount(root, "-o", "loop", image)
    (tmp_path / "to").mkdir()
    pairs = copies(root, 5)
    before = seen(root)
    plan = plan_for(root, pairs)
    to = os.fsencode(tmp_path / "to") if action == "move" else None
    summary = apply_plan(plan, Action(action, to), stop=at_call(call, lambda: mounts.detach(root)))
    assert summary.halted or summary.skipped
    assert len(summary.done) == call - 1
    assert not os.listdir(root)  # nothing was written below the place where the disk was
    assert not best.exists()
    with suppress(ActError):
        assert not undo(runs_to_undo(every=True)).done
    assert not os.listdir(root)
    mounts.mount(root, "-o", "loop", image)
    if call == 1:
        with suppress(ActError):  # there may be nothing to undo
            undo_all()
        assert seen(root) == before
        return
    if action == "delete":
        assert all(os.path.lexists(stays) for _, stays in pairs)
        assert sum(os.path.lexists(goes) for goes, _ in pairs) == 6 - call
        return
    undo_all()
    assert seen(root) == before


def test_a_disk_to_move_to_that_is_taken_away_in_the_middle(tmp_path: Path, mounts: Mounts) -> None:
    image, to = mounts.image("ext4"), tmp_path / "to"
    mounts.mount(to, "-o", "loop", image)
    pairs = copies(tmp_path / "root", 5)
    before = seen(tmp_path / "root")
    plan = plan_for(tmp_path / "root", pairs)
    summary = apply_plan(plan, Action("move", os.fsencode(to)), stop=at_call(3, lambda: mounts.detach(to)))
    assert summary.halted is not None
    assert str(to) in summary.halted
    assert len(summary.done) == 2
    assert not os.listdir(to)
    mounts.mount(to, "-o", "loop", image)
    undo_all()
    assert seen(tmp_path / "root") == before
    assert os.listdir(to) == ["lost+found"]


@pytest.mark.parametrize("below", ["", "inner/"])
def test_nothing_is_put_back_to_where_a_disk_was(tmp_path: Path, mounts: Mounts, below: str) -> None:
    root, to, image = tmp_path / "root", tmp_path / "to", mounts.image("ext4")
    to.mkdir()
    disk = root / below if below else root
    mounts.mount(disk, "-o", "loop", image)
    pairs = copies(disk)
    pairs.append((write(disk / "top.jpg", b"top"), write(disk / "top2.jpg", b"top")))
    before = seen(disk)
    apply_plan(plan_for(root, pairs), Action("move", os.fsencode(to)))
    mounts.detach(disk)
    undone = undo(runs_to_undo())
    assert len(undone.skipped) == 4, undone
    assert all("its disk" in why or "offline" in why for _, why in undone.skipped), undone
    assert not os.listdir(disk)
    mounts.mount(disk, "-o", "loop", image)
    undo_all()
    assert seen(disk) == before
    assert not seen(to)


def test_what_lies_in_quarantine_on_a_disk_that_is_away_is_told(tmp_path: Path, mounts: Mounts) -> None:
    root, image = tmp_path / "root", mounts.image("ext4")
    mounts.mount(root, "-o", "loop", image)
    apply_plan(plan_for(root, copies(root)), Action())
    mounts.detach(root)
    why = f"its disk is offline: nothing is mounted at {root}"
    for command in (["quarantine", "list"], ["purge", "--older-than", "0", "--yes"]):
        told = subprocess.run([sys.executable, "-m", "dupwatch", *command], capture_output=True, text=True, check=True)
        assert f"3 more files in quarantine cannot be seen: {why}" in told.stderr
    assert [one for _, one in undo(runs_to_undo()).skipped] == [why] * 3
    mounts.mount(root, "-o", "loop", image)
    undo_all()


@pytest.mark.parametrize("way", ["bind", "link"])
def test_a_folder_to_move_to_that_is_in_a_root_by_another_path(tmp_path: Path, mounts: Mounts, way: str) -> None:
    root = tmp_path / "root"
    plan, before = plan_for(root, copies(root)), seen(root)
    if way == "bind":
        to = mounts.bind(root, tmp_path / "seen") / "best"
    else:
        to = tmp_path / "link"
        to.symlink_to(root / "best")
    with pytest.raises(WrongUsageError, match="lies under"):
        apply_plan(plan, Action("move", os.fsencode(to)))
    assert seen(root) == before


def test_a_disk_without_room_to_part_hard_links(tmp_path: Path, mounts: Mounts) -> None:
    root = mounts.tmpfs(tmp_path / "root", "2m")
    pairs = copies(root)
    before = seen(root)
    assert len(apply_plan(plan_for(root, pairs), Action("hardlink")).done) == 3
    with open(root / "fill", "wb", buffering=0) as stream, suppress(OSError):
        while True:
            stream.write(bytes(4096))
    undone = undo(runs_to_undo())
    assert "No space left" in str(undone.halted), undone
    (root / "fill").unlink()
    undo_all()
    assert seen(root) == before


def test_a_disk_to_move_to_that_is_full(tmp_path: Path, mounts: Mounts) -> None:
    to = mounts.tmpfs(tmp_path / "to", "160k")
    pairs = copies(tmp_path / "root", 5)
    before = seen(tmp_path / "root")
    summary = apply_plan(plan_for(tmp_path / "root", pairs), Action("move", os.fsencode(to)))
    assert "No space left" in str(summary.halted)
    assert 0 < len(summary.done) < 5
    undo_all()
    assert seen(tmp_path / "root") == before
    assert not os.listdir(to)


@pytest.mark.parametrize("action", ["quarantine", "delete", "hardlink", "move"])
@pytest.mark.parametrize("free_inodes", [0, 1, 2, 3, 6, 9])
def test_a_disk_without_room_for_a_quarantine(tmp_path: Path, mounts: Mounts, action: str, free_inodes: int) -> None:
    root = mounts.tmpfs(tmp_path / "root", "8m", "nr_inodes=64")
    pairs = copies(root, 4)
    before, plan = seen(root), plan_for(root, pairs)
    filling: list[bytes] = []
    while os.statvfs(root).f_ffree > free_inodes:
        filling.append(write(root / f"fill{len(filling)}", b""))
    (tmp_path / "to").mkdir()
    summary = apply_plan(plan, Action(action, os.fsencode(tmp_path / "to") if action == "move" else None))
    assert summary.halted or summary.skipped or len(summary.done) == 4
    after = seen(root)
    assert all(what == after.get(name) for name, what in before.items() if name.startswith(b"best"))
    for path in filling:
        os.unlink(path)
    if action == "delete":
        assert sum(os.path.lexists(goes) for goes, _ in pairs) == 4 - len(summary.done)
        return
    try:
        undo_all()
    except ActError:
        assert not summary.done
    assert seen(root) == before


def test_a_journal_that_finds_no_room(tmp_path: Path, mounts: Mounts, monkeypatch: pytest.MonkeyPatch) -> None:
    small = mounts.tmpfs(tmp_path / "small", "64k")
    monkeypatch.setenv("XDG_STATE_HOME", str(small))
    pairs = copies(tmp_path / "root", 5)
    before = seen(tmp_path / "root")
    plan = plan_for(tmp_path / "root", pairs)

    def fill() -> None:
        with open(small / "fill", "wb", buffering=0) as stream:
            try:
                while True:
                    stream.write(bytes(4096))
            except OSError:
                pass

    summary = apply_plan(plan, Action(), stop=at_call(2, fill))
    assert summary.halted is None or "cannot write the journal" in summary.halted
    (small / "fill").unlink()
    undo_all()
    assert seen(tmp_path / "root") == before
    fill()
    with pytest.raises(ActError, match="cannot write the journal"):
        apply_plan(plan, Action())
    assert seen(tmp_path / "root") == before


@pytest.mark.parametrize("action", ["quarantine", "move", "hardlink", "delete"])
def test_a_disk_that_dies_in_the_middle(tmp_path: Path, mounts: Mounts, action: str) -> None:
    image, root = mounts.image("ext4"), tmp_path / "root"
    mounts.mount(root, "-o", "loop", image)
    (tmp_path / "to").mkdir()
    pairs = copies(root, 5)
    before, plan = seen(root), plan_for(root, pairs)
    os.sync()

    def die() -> None:
        descriptor = os.open(root, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _SHUT_DOWN, array.array("I", [1]))  # what is in the journal is still written
        finally:
            os.close(descriptor)

    to = os.fsencode(tmp_path / "to") if action == "move" else None
    summary = apply_plan(plan, Action(action, to), stop=at_call(3, die))
    assert summary.halted is not None or summary.skipped
    assert len(summary.done) <= 3
    mounts.detach(root)
    mounts.mount(root, "-o", "loop", image)
    if action == "delete":
        assert all(os.path.lexists(stays) for _, stays in pairs)
        return
    undo_all()
    assert seen(root) == before


def test_a_file_that_could_not_be_put_back_is_not_forgotten(
    tmp_path: Path, mounts: Mounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, root = mounts.image("ext4"), tmp_path / "root"
    mounts.mount(root, "-o", "loop", image)
    goes, stays = write(root / "a.jpg", b"picture"), write(tmp_path / "best/a.jpg", b"picture")
    plan, before = plan_over([root, tmp_path / "best"], [(goes, stays)]), seen(root)

    def pull_the_plug(*arguments: object) -> object:
        os.rename(stays, stays + b".away")
        descriptor = os.open(root, os.O_RDONLY)
        fcntl.ioctl(descriptor, _SHUT_DOWN, array.array("I", [0]))  # what was done is on the disk
        os.close(descriptor)
        mounts.detach(root)
        return look_again(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("dupwatch.act.steps.look_again", pull_the_plug)  # the moment after the file was taken
    summary = apply_plan(plan, Action())
    assert "could not be put back" in str(summary.halted)
    mounts.mount(root, "-o", "loop", image)
    assert not os.path.lexists(goes)
    undo_all()
    assert seen(root) == before


def test_a_disk_that_has_become_read_only_does_not_hold_up_the_others(tmp_path: Path, mounts: Mounts) -> None:
    one, two = mounts.loop(tmp_path / "one", "ext4"), mounts.tmpfs(tmp_path / "two", "4m")
    pairs = copies(one) + copies(two)
    plan = plan_over([one, two], pairs)
    before = seen(one), seen(two)
    subprocess.run(["mount", "-o", "remount,ro", one], check=True)
    summary = apply_plan(plan, Action())
    assert [path for path, _ in summary.done] == [goes for goes, _ in pairs[3:]], summary
    assert [path for path, _ in summary.skipped] == [goes for goes, _ in pairs[:3]]
    undo_all()
    assert (seen(one), seen(two)) == before


def test_read_only_in_the_middle(tmp_path: Path, mounts: Mounts) -> None:
    disk = mounts.loop(tmp_path / "disk", "ext4")
    pairs = copies(disk, 70)
    plan, before = plan_for(disk, pairs), seen(disk)
    device = next(line.split()[0] for line in Path("/proc/mounts").read_text().splitlines() if str(disk) in line)

    def turn_read_only() -> None:
        os.sync()
        subprocess.run(["blockdev", "--setro", device], check=True)

    summary = apply_plan(plan, Action(), stop=at_call(4, turn_read_only))
    subprocess.run(["blockdev", "--setrw", device], check=True)
    assert summary.halted or len(summary.done) == 70, summary
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    undo_all()
    assert seen(disk) == before


APPLY = """
import os, sys
from dupwatch.act.apply import Action, apply_plan
from dupwatch.act.plan_reading import read_plan
plan = read_plan(os.fsencode(sys.argv[1]))
sys.stdin.readline()
summary = apply_plan(plan, Action(sys.argv[2]))
print(len(summary.done), summary.halted)
"""


@pytest.mark.parametrize("action", ["quarantine", "delete", "hardlink"])
def test_two_applies_with_opposite_plans_through_two_mounts(tmp_path: Path, mounts: Mounts, action: str) -> None:
    root = tmp_path / "root/all"
    pairs = copies(root, 40)
    seen_as = mounts.bind(root, tmp_path / "seen")
    contents = {Path(os.fsdecode(stays)).read_bytes() for _, stays in pairs}
    turned = [tuple(os.fsencode(seen_as) + path[len(os.fsencode(root)) :] for path in pair[::-1]) for pair in pairs]
    plans = [plan_for(root.parent, pairs), plan_for(seen_as, turned)]  # type: ignore[arg-type]
    programs = []
    for number, plan in enumerate(plans):
        path = tmp_path / f"{number}.plan"
        path.write_text(plan_text(plan))
        path.chmod(0o600)
        environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / f"state{number}")}
        programs.append(
            subprocess.Popen(
                [sys.executable, "-c", APPLY, path, action],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
    for program in programs:
        assert program.stdin is not None
        program.stdin.write("\n")
        program.stdin.flush()
    printed = [program.communicate(timeout=50)[0] for program in programs]
    assert all(program.returncode == 0 for program in programs)
    left = {path.read_bytes() for path in root.rglob("*.jpg") if b".dupwatch-quarantine" not in os.fsencode(path)}
    assert left == contents, printed


SWAP = """
import os, sys
from dupwatch.act.kernel import exchange
folder = os.open(sys.argv[1], os.O_RDONLY)
while not os.path.exists(sys.argv[1] + "/stop"):
    exchange(folder, b"spare", folder, b"link")
    os.write(1, b".")
"""
_SWAPS = 100  # that come to pass while an apply runs; an idle machine makes thousands


@pytest.mark.parametrize("action", ["quarantine", "move", "trash", "hardlink", "reflink", "delete"])
def test_a_folder_swapped_for_a_link_all_the_time(tmp_path: Path, mounts: Mounts, action: str) -> None:
    root = mounts.loop(tmp_path / "disk", "btrfs") / "root"
    (tmp_path / "to").mkdir()
    number = 40
    pairs = [
        (write(root / f"spare/{n}.jpg", b"picture %d" % n), write(root / f"best/{n}.jpg", b"picture %d" % n))
        for n in range(number)
    ]
    only = {write(root / f"elsewhere/{n}.jpg", b"only %d." % n): b"only %d." % n for n in range(number)}
    os.symlink("elsewhere", root / "link")
    plan = plan_for(root, pairs)
    swaps, summaries, rounds = tmp_path / "swaps", list[object](), 0
    with swaps.open("wb") as one_byte_each:
        swapper = subprocess.Popen([sys.executable, "-c", SWAP, root], stdout=one_byte_each)
    try:
        while rounds < 15 or swaps.stat().st_size <= _SWAPS:
            assert swapper.poll() is None
            rounds += 1
            try:
                summaries.append(
                    apply_plan(plan, Action(action, os.fsencode(tmp_path / "to") if action == "move" else None))
                )
            except PlanError:
                continue
            if action == "delete":
                continue
            os.kill(swapper.pid, signal.SIGSTOP)
            try:
                undo(runs_to_undo(every=True))
            except ActError:
                pass
            os.kill(swapper.pid, signal.SIGCONT)
    finally:
        (root / "stop").touch()
        swapper.wait(50)
    if os.path.islink(root / "spare"):
        (root / "spare").rename(root / "x")
        (root / "link").rename(root / "spare")
        (root / "x").rename(root / "link")
    if action != "delete":
        try:
            undone = undo(runs_to_undo(every=True))
            assert undone.is_complete, undone
        except ActError:
            pass
        assert sorted(os.listdir(root / "spare"), key=lambda n: int(n[:-4])) == [f"{n}.jpg" for n in range(number)], (
            summaries
        )
    assert {path: Path(os.fsdecode(path)).read_bytes() for path in only if os.path.lexists(path)} == only, summaries
    assert all(os.path.lexists(stays) for _, stays in pairs)


ODD_NAMES = [b"caf\xe9.jpg", b"\xff\xfe\n.jpg", b"-rf *.jpg", b"x" * 251 + b".jpg", b"%41 .jpg"]


@pytest.mark.parametrize("kind", ["ext4", "btrfs", "xfs", "FUSE", "overlay"])
def test_names_of_any_bytes_on_any_file_system(tmp_path: Path, mounts: Mounts, kind: str) -> None:
    below, root = tmp_path / "below", Path(os.fsdecode(os.fsencode(tmp_path) + b"/odd \n\\040 \xff disk"))
    if kind == "FUSE":
        below.mkdir()
        mounts.passthrough(below, root)
    elif kind == "overlay":
        below.mkdir()
        mounts.overlay(root, below, upper=tmp_path / "upper")
    else:
        mounts.loop(root, kind)
    top = os.fsencode(root)
    pairs = [(write(top + b"/a/" + name, name), write(top + b"/b/" + name, name)) for name in ODD_NAMES]
    (tmp_path / "to").mkdir()
    before, plan = seen(root), plan_for(root, pairs)
    assert parsed_plan(plan_text(plan).encode(), "again") == plan
    for action in ("quarantine", "move", "trash", "hardlink", "reflink"):
        summary = apply_plan(plan, Action(action, os.fsencode(tmp_path / "to") if action == "move" else None))
        if action in ("quarantine", "move"):
            assert len(summary.done) == len(ODD_NAMES), summary
        try:
            undo_all()
        except ActError:
            assert not summary.done
        now = {name: what for name, what in seen(root).items() if not name.startswith(b".Trash")}
        assert now == before, action
    assert len(apply_plan(plan, Action("delete")).done) == len(ODD_NAMES)


def test_a_path_that_would_be_too_long_where_it_goes(tmp_path: Path) -> None:
    root, to = tmp_path / "root", tmp_path / "to"
    to.mkdir()
    deep = os.fsencode(root)
    while len(deep) < 3800:
        deep += b"/" + b"d" * min(250, 3850 - len(deep))
    os.makedirs(root)
    folder = os.open(root, os.O_RDONLY)
    for part in deep[len(os.fsencode(root)) + 1 :].split(b"/"):
        os.mkdir(part, dir_fd=folder)
        below = os.open(part, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(folder)
    name = deep + b"/" + b"n" * (4000 - len(deep)) + b".jpg"
    pairs = [(write(name, b"deep"), write(root / "a.jpg", b"deep"))]
    before = seen(root)
    for action in ("quarantine", "move"):
        for _ in range(2):
            summary = apply_plan(plan_for(root, pairs), Action(action, os.fsencode(to) if action == "move" else None))
            try:
                undo_all()
            except ActError:
                assert not summary.done
                assert "too long" in summary.skipped[0][1]
            assert seen(root) == before


@pytest.mark.parametrize("action", ["quarantine", "move", "hardlink"])
def test_killed_in_the_middle_over_two_file_systems(tmp_path: Path, mounts: Mounts, action: str) -> None:
    one, two = mounts.loop(tmp_path / "one", "xfs"), mounts.tmpfs(tmp_path / "two", "4m")
    (tmp_path / "to").mkdir()
    pairs = [pair for both in zip(copies(one, 6), copies(two, 6), strict=True) for pair in both]
    plan, before = plan_over([one, two], pairs), (seen(one), seen(two))
    to = os.fsencode(tmp_path / "to") if action == "move" else None
    for call in (1, 2, 3, 6, 7, 12):
        child = os.fork()
        if child == 0:
            try:
                apply_plan(plan, Action(action, to), stop=at_call(call, lambda: os.kill(os.getpid(), signal.SIGKILL)))
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        undo_all()
        assert (seen(one), seen(two)) == before
    for microseconds in range(0, 20_000, 1000):
        child = os.fork()
        if child == 0:
            try:
                apply_plan(plan, Action(action, to))
            finally:
                os._exit(0)
        time.sleep(microseconds / 1e6)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        try:
            undo_all()
        except ActError:
            pass
        assert (seen(one), seen(two)) == before
    assert not seen(tmp_path / "to")


def test_what_lies_in_quarantine_does_not_stay_under_another_spelling(tmp_path: Path, mounts: Mounts) -> None:
    root = mounts.ntfs_ignoring_case(tmp_path / "disk") / "photos"
    pairs = [(write(root / "spare/a.jpg", b"picture"), write(root / "best/a.jpg", b"picture"))]
    third = write(root / "third.jpg", b"picture")
    apply_plan(plan_for(root, pairs), Action())
    [held] = root.glob(".dupwatch-quarantine/*/files/spare/a.jpg")
    other = os.fsencode(str(held).replace(".dupwatch-quarantine", ".Dupwatch-Quarantine"))
    with pytest.raises(PlanError, match="quarantine"):
        apply_plan(plan_for(root, [(third, other)]), Action())


@pytest.mark.parametrize("action", ["quarantine", "delete", "hardlink", "move", "trash"])
@pytest.mark.parametrize("kind", ["bind", "overlay", "FUSE"])
@pytest.mark.parametrize("by_other_path", ["goes", "stays"])
def test_what_stays_in_one_group_does_not_go_by_another_path_in_the_next(
    tmp_path: Path, mounts: Mounts, action: str, kind: str, by_other_path: str
) -> None:
    root = tmp_path / "root"
    (tmp_path / "to").mkdir()
    goes, stays = write(root / "a.jpg", b"picture"), write(root / "b.jpg", b"picture")
    other = write(root / "c.jpg", b"the same at another size")
    if kind == "bind":
        alias = mounts.bind(root, tmp_path / "seen")
    elif kind == "overlay":
        alias = mounts.overlay(tmp_path / "seen", root, upper=tmp_path / "upper")
    else:
        alias = mounts.passthrough(root, tmp_path / "seen")
    by_alias = os.fsencode(alias / "b.jpg")
    kept, other_path = (stays, by_alias) if by_other_path == "goes" else (by_alias, stays)
    both = [os.fsencode(root), os.fsencode(alias)]
    plans = [
        make_plan([page_of(root, group_of(file_of_group(one_kept), file_of_group(going, one_kept)), roots=both)])
        for going, one_kept in ((goes, kept), (other_path, other))
    ]
    data = json.loads(plan_text(replace(plans[0], groups=plans[0].groups + plans[1].groups)))
    for number, file in enumerate(file for group in data["groups"] for file in group["stays"] + group["goes"]):
        file["device"], file["inode"] = 1, number
    plan = parsed_plan(json.dumps(data).encode(), "edited")
    assert len(plan.going) == 2
    before = seen(root)
    summary = apply_plan(plan, Action(action, os.fsencode(tmp_path / "to") if action == "move" else None))
    assert os.path.lexists(stays), summary
    assert Path(os.fsdecode(stays)).read_bytes() == b"picture"
    assert [path for path, _ in summary.done][1:] in ([], [other_path])
    if action == "delete":
        write(goes, b"picture")
    else:
        with suppress(ActError):  # there may be nothing to undo
            undo_all()
    shutil.rmtree(root / ".Trash-0", ignore_errors=True)
    assert seen(root) == before, summary


@pytest.mark.parametrize("below", ["", "files"])
def test_a_trash_that_another_user_has_made_beforehand_takes_no_file(
    tmp_path: Path, mounts: Mounts, below: str
) -> None:
    disk = mounts.loop(tmp_path / "disk", "ext4")
    pairs = copies(disk)
    made = disk / ".Trash-0" / below
    made.mkdir(parents=True)
    made.chmod(0o777)
    os.chown(made, 12345, 12345)
    before = seen(disk)
    summary: Summary = apply_plan(plan_for(disk, pairs), Action("trash"))
    assert not summary.done
    assert all("is not yours" in why for _, why in summary.skipped)
    assert seen(disk) == before


def test_the_trash_never_copies_between_two_mounts_of_one_disk(tmp_path: Path, mounts: Mounts) -> None:
    disk = mounts.loop(tmp_path / "disk", "ext4")
    pairs = copies(disk / "photos")
    root = mounts.bind(disk / "photos", disk / "seen")
    pairs = [tuple(path.replace(b"/disk/photos", b"/disk/seen") for path in pair) for pair in pairs]  # type: ignore[misc]
    before = seen(root)
    summary: Summary = apply_plan(plan_for(root, pairs), Action("trash"))
    assert not summary.done
    assert all("another file system" in why for _, why in summary.skipped)
    assert seen(root) == before


@pytest.mark.parametrize("action", ["quarantine", "delete", "trash", "move"])
@pytest.mark.parametrize("kind", ["overlay", "FUSE"])
def test_a_file_system_that_answers_from_memory(tmp_path: Path, mounts: Mounts, action: str, kind: str) -> None:
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    (tmp_path / "to").mkdir()
    goes = write(lower / "x/a.jpg", b"picture")
    write(upper / "x/other.jpg", b"another")
    if kind == "overlay":
        top = mounts.overlay(tmp_path / "seen", lower, upper=upper)
    else:
        top = mounts.passthrough(lower, tmp_path / "seen", "handles")
    stays = os.fsencode(top / "x/a.jpg")
    group = group_of(file_of_group(stays), file_of_group(goes, stays))
    plan = make_plan([page_of(lower, group, roots=[os.fsencode(lower), os.fsencode(top)])])
    assert plan.groups
    before = seen(lower)
    assert "a.jpg" in os.listdir(top / "x")
    with os.scandir(top / "x") as listing:
        next(listing)  # while somebody lists an overlay, everybody else is told the same
        summary = apply_plan(plan, Action(action, os.fsencode(tmp_path / "to") if action == "move" else None))
    assert not summary.done, summary
    shutil.rmtree(lower / ".Trash-0", ignore_errors=True)
    assert seen(lower) == before


def many_copies_by_fuse(tmp_path: Path, mounts: Mounts, count: int) -> tuple[Path, list[tuple[bytes, bytes]]]:
    below, top = tmp_path / "below", tmp_path / "seen"
    for number in range(count):
        for folder in ("spare", "best"):
            write(below / folder / f"{number}.jpg", b"picture %d" % number)
    mounts.passthrough(below, top)
    return top, [tuple(os.fsencode(top / folder / f"{n}.jpg") for folder in ("spare", "best")) for n in range(count)]  # type: ignore[misc]


def test_folders_are_not_listed_for_each_file(tmp_path: Path, mounts: Mounts) -> None:
    """Where a listing has to tell whether a file is there still, one tells it for many files."""
    top, pairs = many_copies_by_fuse(tmp_path, mounts, 40)
    plan, before = plan_for(top, pairs), seen(top)
    program = (
        "import os, pickle, sys\n"
        "from dupwatch.act.apply import Action, apply_plan\n"
        "plan, listings = pickle.load(sys.stdin.buffer), []\n"
        "sys.addaudithook(lambda event, _: listings.append(event) if event == 'os.listdir' else None)\n"
        "print(len(apply_plan(plan, Action()).done), len(listings))\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, input=pickle.dumps(plan), stdout=subprocess.PIPE, check=True)
    files, listings = map(int, done.stdout.split())
    assert files == 40
    assert listings < 10
    undo_all()
    assert seen(top) == before


def test_a_file_that_is_not_listed_after_many_steps_brings_back_what_went_for_it(
    tmp_path: Path, mounts: Mounts
) -> None:
    top, pairs = many_copies_by_fuse(tmp_path, mounts, 5)
    with_sidecar = write(top / "spare/1.xmp", b"rating 5")
    plan, before = plan_for(top, pairs), seen(top / "spare")
    summary = apply_plan(plan, Action(), stop=at_call(4, (tmp_path / "below/best/1.jpg").unlink))
    assert summary.halted is not None
    assert "best/1.jpg is gone" in summary.halted
    assert [path for path, _ in summary.skipped] == [with_sidecar, pairs[1][0]]
    assert len(summary.digests) == len(summary.done) == 4
    assert {path: what for path, what in seen(top / "spare").items() if path.startswith(b"1")} == {
        path: what for path, what in before.items() if path.startswith(b"1")
    }
    undo_all()
    assert seen(top / "spare") == before


def test_one_that_cannot_be_put_back_keeps_none_of_the_others_away(tmp_path: Path, mounts: Mounts) -> None:
    top, pairs = many_copies_by_fuse(tmp_path, mounts, 5)
    plan, before = plan_for(top, pairs), seen(top / "spare")

    def lose_two_and_take_the_place_of_one() -> None:
        for number in (1, 2):
            (tmp_path / f"below/best/{number}.jpg").unlink()
        write(top / "spare/1.jpg", b"in the way")

    summary = apply_plan(plan, Action(), stop=at_call(4, lose_two_and_take_the_place_of_one))
    assert "could not be put back" in str(summary.halted)
    assert (top / "spare/1.jpg").read_bytes() == b"in the way"
    assert (top / "spare/2.jpg").read_bytes() == b"picture 2"
    (top / "spare/1.jpg").unlink()
    undo_all()
    assert seen(top / "spare") == before


@pytest.mark.parametrize("changed", ["what goes", "what stays", "what stays, in the middle"])
def test_a_change_behind_a_file_system_that_answers_from_memory_is_seen(
    tmp_path: Path, mounts: Mounts, changed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dupwatch.act.content._SETTLED_SECONDS", 0.0)  # the files of a test have just been made
    names = ("best.jpg", "0.jpg", "1.jpg", "2.jpg")
    below, top = tmp_path / "below", tmp_path / "seen"
    for name in names:
        write(below / name, b"picture")
    mounts.passthrough(below, top)
    stays, *spares = (os.fsencode(top / name) for name in names)
    plan = plan_for(top, [(spare, stays) for spare in spares])
    victim = below / ("1.jpg" if changed == "what goes" else "best.jpg")
    call = 2 if "middle" in changed else 1
    summary = apply_plan(plan, Action("delete"), stop=at_call(call, lambda: write(victim, b"PICTURE")))
    assert victim.read_bytes() == b"PICTURE"
    left = {"what goes": [b"1.jpg"], "what stays": [b"0.jpg", b"1.jpg", b"2.jpg"]}.get(changed, [b"1.jpg", b"2.jpg"])
    assert [os.path.basename(path) for path, _ in summary.skipped] == left, summary
    assert sorted(os.listdir(os.fsencode(below))) == sorted([*left, b"best.jpg"])


@pytest.mark.parametrize("kind", ["FUSE", "plain"])
def test_a_change_after_a_file_was_read_is_seen(
    tmp_path: Path, mounts: Mounts, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    below, top = tmp_path / "below", tmp_path / "seen" if kind == "FUSE" else tmp_path / "below"
    goes, stays = (write(below / name, b"picture") for name in ("a.jpg", "b.jpg"))
    if kind == "FUSE":
        mounts.passthrough(below, top)
        goes, stays = (os.fsencode(top / os.fsdecode(os.path.basename(path))) for path in (goes, stays))
    plan = plan_for(top, [(goes, stays)])
    act_on = Steps.act_on

    def change_first(steps: Steps, going: Going) -> None:
        write(below / "a.jpg", b"PICTURE")  # with the same size and time
        act_on(steps, going)

    monkeypatch.setattr(Steps, "act_on", change_first)  # after it was read
    summary = apply_plan(plan, Action("delete"))
    assert (below / "a.jpg").exists(), summary
    assert (below / "a.jpg").read_bytes() == b"PICTURE"
    assert "has just changed" in summary.skipped[0][1]


@pytest.mark.parametrize("action", ["quarantine", "move", "hardlink"])
def test_another_disk_with_the_same_files_is_not_mistaken_for_the_first(
    tmp_path: Path, mounts: Mounts, action: str
) -> None:
    images, root, to = [mounts.image("ext4"), tmp_path / "second.ext4"], tmp_path / "root", tmp_path / "to"
    to.mkdir()
    shutil.copy(images[0], images[1])
    mounts.mount(root, "-o", "loop", images[1])
    copies(root)
    mounts.detach(root)
    mounts.mount(root, "-o", "loop", images[0])
    write(root / "one more", b"so that files have other numbers")
    pairs = copies(root)
    before = seen(root)
    plan = plan_for(root, pairs)
    assert apply_plan(plan, Action(action, os.fsencode(to) if action == "move" else None)).is_complete
    mounts.detach(root)
    mounts.mount(root, "-o", "loop", images[1])
    there = seen(root)
    undone = undo(runs_to_undo())
    assert seen(root) == there
    if action != "hardlink":
        assert not undone.done
        assert len(undone.skipped) == 3
    mounts.detach(root)
    mounts.mount(root, "-o", "loop", images[0])
    with suppress(ActError):
        undo_all()
    assert seen(root) == before
    assert not seen(to)
