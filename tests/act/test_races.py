"""Another process exchanges files all the time, also between the look at a file and its move: nothing gets lost."""

import os
import signal
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from dupwatch.act.apply import Action, apply_plan
from dupwatch.act.errors import ActError
from dupwatch.act.undo import runs_to_undo, undo
from tests.act.trees import plan_for, write

SWAPS = 10_000
FILES = 60

# Exchanges what goes, and what stays, with files of which there is no second one, until a file called `stop` is there.
SWAPPER = """
import os, sys
from dupwatch.act.kernel import exchange
root, count, swaps, number = os.open(sys.argv[1], os.O_RDONLY), int(sys.argv[2]), 0, 0
while swaps < int(sys.argv[3]) or not os.path.exists(sys.argv[1] + "/../stop"):
    number = (number * 1103515245 + 12345) % 2**31
    side = ("spare", "best")[number // 65536 % 2]
    name = b"%d.jpg" % (number // 131072 % count)
    try:
        exchange(root, os.fsencode(side) + b"/" + name, root, b"only-" + os.fsencode(side) + b"/" + name)
        swaps += 1
    except OSError:
        pass
print(swaps)
"""


def contents(root: Path) -> "Counter[bytes]":
    """The content of every picture below a folder, and how often it is there."""
    return Counter(path.read_bytes() for path in root.rglob("*.jpg"))


@pytest.mark.parametrize("action", ["quarantine", "delete", "hardlink", "move"])
def test_files_exchanged_while_they_are_acted_on_are_never_lost(tmp_path: Path, action: str) -> None:
    root, to = tmp_path / "root", tmp_path / "to"
    to.mkdir()
    pairs = []
    for number in range(FILES):
        name, data = f"{number}.jpg", b"picture %d" % number
        pairs.append((write(root / "spare" / name, data), write(root / "best" / name, data)))
        write(root / "only-spare" / name, b"other %d." % number)
        write(root / "only-best" / name, b"third %d." % number)
    plan = plan_for(root, pairs)
    only = {one for one in contents(root) if not one.startswith(b"picture")}
    before, done, skipped = contents(root), 0, 0
    swapper = subprocess.Popen(
        [sys.executable, "-c", SWAPPER, str(root), str(FILES), str(SWAPS)], stdout=subprocess.PIPE, text=True
    )
    try:
        for _ in range(12):
            os.kill(swapper.pid, signal.SIGCONT)
            summary = apply_plan(plan, Action(action, os.fsencode(to) if action == "move" else None))
            os.kill(swapper.pid, signal.SIGSTOP)  # while we look
            os.waitid(os.P_PID, swapper.pid, os.WSTOPPED)  # a signal is on its way for a moment
            done, skipped = done + len(summary.done), skipped + len(summary.skipped)
            found = contents(tmp_path)
            assert only <= set(found)
            assert all(found[b"picture %d" % number] for number in range(FILES))
            assert action in ("delete", "hardlink") or found == before
            if action == "delete":
                for goes, _ in pairs:
                    if not os.path.lexists(goes):
                        write(goes, b"picture %d" % int(os.path.basename(goes)[:-4]))
                continue
            os.kill(swapper.pid, signal.SIGCONT)
            with suppress(ActError):  # there may be nothing to undo
                undone = undo(runs_to_undo(every=True))
                assert undone.halted is None
                assert action == "hardlink" or undone.is_complete, undone
    finally:
        (tmp_path / "stop").touch()
        os.kill(swapper.pid, signal.SIGCONT)
        swaps = int(swapper.communicate(timeout=50)[0])
    assert swaps >= SWAPS
    assert skipped
    assert done
    assert only <= set(contents(tmp_path))
