"""An apply, or an undo, killed or refused at each system call that changes something; then undo: all is as before.

The act runs in a process of its own. strace counts its calls and ends the process at the entry of one of them, so that
everything before it has happened and it has not, or lets that call fail.
"""

import ctypes
import os
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dupwatch.act.apply import Action, apply_plan
from dupwatch.act.errors import ActError
from dupwatch.act.undo import runs_to_undo, undo
from tests.act.trees import Seen, plan_for, seen, write

CHANGING = (
    "rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "write",
    "pwrite64", "fsync", "fdatasync", "ftruncate", "fchmod", "fchown", "fsetxattr", "utimensat", "ioctl",
)  # fmt: skip
_PR_SET_PTRACER = 0x59616D61
_ANY = ctypes.c_ulong(-1)

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="strace ends the processes")

Act = Callable[[], object]


def traced(act: Act, log: Path, *inject: str) -> "Counter[str]":
    """Do something in a process of its own; returns how often it made each call. ``inject``: what befalls it."""
    child = os.fork()
    if child == 0:
        try:
            ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _ANY, 0, 0, 0)
            os.kill(os.getpid(), signal.SIGSTOP)
            act()
        finally:
            os._exit(0)
    os.waitpid(child, os.WUNTRACED)
    options = [option for fault in inject for option in ("-e", f"inject={fault}")]
    command = ["strace", "-qq", "-o", str(log), "-e", f"trace={','.join(CHANGING)}", *options, "-p", str(child)]
    with subprocess.Popen(command) as tracer:
        while not re.search(r"TracerPid:\t[1-9]", Path(f"/proc/{child}/status").read_text()):
            assert tracer.poll() is None, "strace may not trace here"
            time.sleep(0.001)
        os.kill(child, signal.SIGCONT)
        os.waitpid(child, 0)
    return Counter(re.findall(r"^(\w+)\(", log.read_text(errors="replace"), re.MULTILINE))


class Case:
    """A tree, a plan for it, and what is done with it."""

    def __init__(self, place: Path, action: str) -> None:
        self.root, self.to, self.log = place / "root", place / "to", place / "trace"
        self.root.mkdir()
        if action == "move elsewhere":
            self.to = Path(tempfile.mkdtemp(prefix="dw", dir="/dev/shm"))
            weakref.finalize(self, shutil.rmtree, self.to, ignore_errors=True)
        else:
            self.to.mkdir()
        stays = write(self.root / "best/a.jpg", b"picture")
        goes = write(self.root / "spare/a.jpg", b"picture", mode=0o604)
        other = write(self.root / "spare/deep/b.jpg", b"picture", mtime_ns=10**18 + 7)
        write(self.root / "spare/a.xmp", b"rating 5")
        os.setxattr(goes, "user.note", b"mine")
        self.plan = plan_for(self.root, [(goes, stays), (other, stays)])
        kind = action.split()[0]
        self.action = Action(kind, os.fsencode(self.to) if kind == "move" else None)
        self.before = seen(self.root)

    def apply(self) -> None:
        apply_plan(self.plan, self.action)

    def undo(self) -> None:
        try:
            undone = undo(runs_to_undo(every=True))
        except ActError:
            return  # it was ended before its first step
        assert undone.is_complete, undone

    def assert_as_before(self, when: str) -> None:
        found = seen(self.root)
        assert found == self.before, (when, differences(found, self.before))
        assert os.getxattr(self.root / "spare/a.jpg", "user.note") == b"mine"
        assert not seen(self.to), when


def differences(one: Seen, other: Seen) -> list[bytes]:
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def tried(calls: "Counter[str]") -> Iterator[tuple[str, int]]:
    """The calls of which something befalls one, by their numbers: every sixth, others each time; or all of them."""
    step = 1 if "EVERY_CALL" in os.environ else 6
    for call, count in calls.items():
        yield from ((call, number) for number in range(random.randint(1, min(step, count)), count + 1, step))


@pytest.mark.parametrize("action", ["quarantine", "move", "move elsewhere", "hardlink", "trash"])
@pytest.mark.parametrize("fault", ["signal=SIGKILL", "error=ENOSPC", "error=EIO"])
def test_an_apply_ended_at_any_call_is_undone(
    tmp_path: Path, action: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("send2trash.plat_other.HOMETRASH_B", os.fsencode(tmp_path / "Trash"))
    case = Case(tmp_path, action)
    calls = traced(case.apply, case.log)
    assert seen(case.root) != case.before
    case.undo()
    case.assert_as_before("undisturbed")
    assert calls.total() > 30
    for call, number in tried(calls):
        traced(case.apply, case.log, f"{call}:{fault}:when={number}")
        case.undo()
        case.assert_as_before(f"{call} number {number}")


@pytest.mark.parametrize("action", ["quarantine", "move", "move elsewhere", "hardlink"])
def test_an_undo_killed_at_any_call_is_finished_by_the_next(tmp_path: Path, action: str) -> None:
    case = Case(tmp_path, action)
    case.apply()
    calls = traced(case.undo, case.log)
    case.assert_as_before("undisturbed")
    assert calls.total() > 10
    for call, number in tried(calls):
        case.apply()
        traced(case.undo, case.log, f"{call}:signal=SIGKILL:when={number}")
        case.undo()
        case.assert_as_before(f"{call} number {number}")


@pytest.mark.parametrize("action", ["quarantine", "move", "move elsewhere"])
@pytest.mark.parametrize("error", ["EINVAL", "ENOSYS"])
def test_a_file_system_that_cannot_rename_without_replacing(tmp_path: Path, action: str, error: str) -> None:
    case = Case(tmp_path, action)
    traced(case.apply, case.log, f"renameat2:error={error}")
    assert not os.path.lexists(case.root / "spare/a.jpg")
    traced(case.undo, case.log, f"renameat2:error={error}")
    case.undo()  # what could not be tidied away
    case.assert_as_before(error)


def test_a_file_system_that_can_neither_do_that_nor_link(tmp_path: Path) -> None:
    case = Case(tmp_path, "quarantine")
    faults = ["renameat2:error=EINVAL", "linkat:error=EPERM", "link:error=EPERM"]
    traced(case.apply, case.log, *faults)
    assert not os.path.lexists(case.root / "spare/a.jpg")
    traced(case.undo, case.log, *faults)
    case.undo()
    case.assert_as_before("copied back")
