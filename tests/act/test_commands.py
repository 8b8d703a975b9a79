"""The commands as people and scripts use them: what they print, what they ask, and their exit status."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dupwatch.act.plan_file import write_plan
from dupwatch.act.telling import tell
from dupwatch.client import Client
from tests.act.trees import plan_for, seen, write

COMMAND = [sys.executable, "-m", "dupwatch"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def plan(root: Path, tmp_path: Path) -> str:
    pairs = [
        (write(root / f"spare/{number}.jpg", b"%d" % number), write(root / f"best/{number}.jpg", b"%d" % number))
        for number in range(5)
    ]
    path = tmp_path / "copies.plan"
    write_plan(plan_for(root, pairs), os.fsencode(path))
    return str(path)


@pytest.fixture(autouse=True)
def _no_service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DUPWATCH_ENDPOINT", f"ipc://{tmp_path}/none")


def run(*arguments: str, status: int = 0) -> str:
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == status, done
    return done.stdout if status == 0 else done.stdout + done.stderr


def typed(text: str, *arguments: str) -> tuple[int, str]:
    """Run a command on a terminal and type something; returns the exit status and what was shown."""
    child, terminal = pty.fork()
    if child == 0:
        os.execv(COMMAND[0], [*COMMAND, *arguments])
    os.write(terminal, text.encode())
    shown = b""
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), shown.decode(errors="replace")


def test_from_plan_to_apply_to_undo(root: Path, plan: str) -> None:
    before = seen(root)
    assert run("apply", plan, "--dry-run") == ""
    assert json.loads(run("apply", plan, "--dry-run", "--json"))["files"] == 5
    assert seen(root) == before
    done = json.loads(run("apply", plan, "--yes", "--json"))
    assert (len(done["done"]), done["bytes"], done["skipped"], done["halted"]) == (5, 5, [], None)
    listed = json.loads(run("quarantine", "list", "--json"))
    assert [os.path.basename(file["path"]) for file in listed["files"]] == [f"{number}.jpg" for number in range(5)]
    assert "5 files in quarantine" in run("quarantine", "list")
    assert json.loads(run("undo", plan, "--yes", "--json"))["skipped"] == []
    assert seen(root) == before
    assert "nothing to undo" in run("undo", "--last", "--yes", status=1)


def test_a_plan_that_was_applied_says_so_in_one_line(root: Path, plan: str) -> None:
    before = seen(root)
    run("apply", plan, "--yes")
    for arguments in (["apply", plan, "--yes"], ["apply", plan], ["apply", plan, "--dry-run"]):
        done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=True)
        [line] = done.stderr.splitlines()
        assert re.search(r"this plan has been applied already \(20.* UTC, journal /.*\.jsonl\)", line)
        assert f"`dupwatch undo {plan}` puts back what went" in line
        assert done.stdout == ""
    assert json.loads(run("apply", plan, "--yes", "--json"))["done_before"] == 5
    run("undo", plan, "--yes")
    assert seen(root) == before
    assert json.loads(run("apply", plan, "--yes", "--json"))["done_before"] == 0


def test_what_is_left_of_a_plan_is_done_and_undone_with_the_rest(root: Path, plan: str) -> None:
    before = seen(root)
    away = (root / "best/3.jpg").rename(root.parent / "away")
    run("apply", plan, "--yes", status=1)
    away.rename(root / "best/3.jpg")
    done = subprocess.run([*COMMAND, "apply", plan, "--yes", "--json"], capture_output=True, text=True, check=True)
    assert "4 of 5 files went before, by an earlier apply of this plan" in done.stderr
    assert "1 file of 1 group" in done.stderr
    said = json.loads(done.stdout)
    assert (said["done_before"], len(said["done"]), said["skipped"]) == (4, 1, [])
    run("undo", plan, "--yes")
    assert seen(root) == before


def test_what_goes_by_a_persons_choice_alone_is_said_before(root: Path, plan: str) -> None:
    text = (
        Path(plan)
        .read_text()
        .replace('"verdict": "identical", "confirmed": true', '"verdict": "chosen", "confirmed": null', 2)
    )
    Path(plan).write_text(text.replace('"verdicts": [\n"identical",', '"verdicts": [\n"identical",\n"chosen",'))
    done = subprocess.run([*COMMAND, "apply", plan, "--dry-run"], capture_output=True, text=True, check=True)
    assert "2 of them by a person's choice, without proof that they are copies" in done.stderr


def test_done_in_part_is_status_1(root: Path, plan: str) -> None:
    (root / "best/3.jpg").unlink()
    shown = run("apply", plan, "--yes", status=1)
    assert "may be the last copy" in shown
    assert "4 files moved into quarantine" in shown


def test_nobody_is_asked_where_nobody_is(root: Path, plan: str) -> None:
    before = seen(root)
    for command in (["apply", plan], ["undo", "--last"], ["apply", plan, "--action", "delete"]):
        shown = run(*command, status=1 if command[0] == "undo" else 2)
        assert "--yes" in shown or "nothing to undo" in shown
    assert seen(root) == before


def test_a_person_is_asked(root: Path, plan: str) -> None:
    before = seen(root)
    status, shown = typed("n\n", "apply", plan)
    assert (status, "Go on?" in shown) == (1, True), shown  # 130 is for Ctrl-C
    assert "nothing was touched" in shown
    assert seen(root) == before
    status, shown = typed("y\n", "apply", plan)
    assert status == 0, shown
    assert len(list(root.glob("spare/*"))) == 0


def test_deleting_asks_for_the_number_of_files(root: Path, plan: str) -> None:
    before = seen(root)
    for wrong in ("y", "yes", "4", "", "55"):
        status, shown = typed(f"{wrong}\n", "apply", plan, "--action", "delete")
        assert status != 0
        assert "Type 5" in shown
        assert seen(root) == before
    assert typed("5\n", "apply", plan, "--action", "delete")[0] == 0
    assert not list(root.glob("spare/*"))
    assert not (root / ".dupwatch-quarantine").exists()


def test_purge_asks_and_leaves_what_is_young(root: Path, plan: str) -> None:
    run("apply", plan, "--yes")
    assert json.loads(run("purge", "--older-than", "1h", "--yes", "--json"))["done"] == []
    assert "nobody is there to ask" in run("purge", "--older-than", "0", status=2)
    assert "is no age" in run("purge", "--older-than", "soon", "--yes", status=2)
    assert "5 files deleted" in run("purge", "--older-than", "0", "--yes")
    assert not (root / ".dupwatch-quarantine").exists()


def test_wrong_usage_is_told_in_one_line(root: Path, plan: str, tmp_path: Path) -> None:
    for arguments in (
        ["apply", plan, "--action", "move", "--yes"],
        ["apply", plan, "--action", "move", "--to", "", "--yes"],
        ["apply", plan, "--to", str(tmp_path), "--yes"],
        ["apply", plan, "--action", "move", "--to", str(root), "--yes"],
        ["apply", str(tmp_path / "missing"), "--yes"],
        ["apply", str(root), "--yes"],
        ["undo", "--yes"],
        ["undo", "--last", "--all", "--yes"],
        ["plan", "--protect", str(tmp_path / "missing")],
    ):
        shown = run(*arguments, status=2)
        assert "Traceback" not in shown


def test_without_a_service_a_plan_cannot_be_made(root: Path) -> None:
    assert "no service" in run("plan", status=3)


def test_ctrl_c_ends_between_two_files_and_says_how_to_go_on(root: Path, tmp_path: Path) -> None:
    pairs = [
        (write(root / f"spare/{number}.jpg", b"%d" % number), write(root / f"best/{number}.jpg", b"%d" % number))
        for number in range(400)
    ]
    before = seen(root)
    path = tmp_path / "copies.plan"
    write_plan(plan_for(root, pairs), os.fsencode(path))
    apply = subprocess.Popen(
        [*COMMAND, "apply", str(path), "--yes"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while len(os.listdir(root / "spare")) == 400 and apply.poll() is None:
        time.sleep(0.001)
    apply.send_signal(signal.SIGINT)
    _, shown = apply.communicate()
    assert apply.returncode == 130, shown
    assert "goes on" in shown
    assert len(list(root.glob("spare/*"))) > 0
    again = json.loads(run("apply", str(path), "--yes", "--json"))
    assert (len(again["done"]) + again["done_before"], again["skipped"]) == (400, [])
    assert not list(root.glob("spare/*"))
    run("undo", "--all", "--yes")
    assert seen(root) == before


def test_after_a_kill_undo_announces_what_it_moves(root: Path, tmp_path: Path) -> None:
    pairs = [
        (write(root / f"spare/{number}.jpg", b"%d" % number), write(root / f"best/{number}.jpg", b"%d" % number))
        for number in range(400)
    ]
    before = seen(root)
    path = tmp_path / "copies.plan"
    write_plan(plan_for(root, pairs), os.fsencode(path))
    apply = subprocess.Popen([*COMMAND, "apply", str(path), "--yes"], stderr=subprocess.DEVNULL)
    while len(os.listdir(root / "spare")) > 390 and apply.poll() is None:
        time.sleep(0.0005)
    apply.kill()
    apply.wait()
    gone = 400 - len(os.listdir(root / "spare"))
    assert 10 <= gone < 400
    assert f"{gone} files of 1 apply to be put back" in run("undo", "--last", status=2)
    assert len(json.loads(run("undo", "--last", "--yes", "--json"))["done"]) == gone
    assert seen(root) == before


@pytest.mark.parametrize("action", ["hardlink", "delete", "trash", "move"])
def test_undo_announces_what_other_actions_have_done(root: Path, plan: str, tmp_path: Path, action: str) -> None:
    (tmp_path / "to").mkdir()
    run("apply", plan, "--yes", "--action", action, *(("--to", str(tmp_path / "to")) if action == "move" else ()))
    if action == "delete":
        assert "0 files of 1 apply to be put back" in run("undo", "--last", status=1)
    else:
        assert "5 files of 1 apply to be put back" in run("undo", "--last", status=2)
        run("undo", "--last", "--yes")


def test_hard_links_that_change_owner_or_mode_are_told_before_anybody_is_asked(root: Path, plan: str) -> None:
    (root / "spare/1.jpg").chmod(0o600)
    (root / "best/3.jpg").chmod(0o644)
    before = seen(root)
    shown = run("apply", plan, "--action", "hardlink", status=2)
    assert "2 of them get the owner and the permissions of the file that stays" in shown
    assert seen(root) == before
    said = json.loads(run("apply", plan, "--action", "hardlink", "--dry-run", "--json"))
    assert (said["files"], said["with_other_rights"]) == (5, 2)
    assert "permissions" not in run("apply", plan, "--action", "reflink", status=2)
    run("apply", plan, "--action", "hardlink", "--yes")
    assert (root / "spare/1.jpg").stat().st_mode & 0o777 == 0o640
    run("undo", plan, "--yes")
    assert seen(root) == before


def test_what_no_service_was_told_is_told_by_the_next_command(state: Path, tmp_path: Path) -> None:
    from dupwatchd.serve.request_queue import OpenRequest, Result
    from dupwatchd.serve.server import Server

    def make_client() -> Client:
        return Client(f"ipc://{tmp_path}/s", timeout_seconds=5)

    note = state / "dupwatch/untold.jsonl"
    note.parent.mkdir()
    assert not tell(make_client, "removed", [b"a" * 32])
    assert not tell(make_client, "restored", [b"b" * 32])
    assert note.exists()
    heard: list[tuple[str, list[bytes]]] = []
    lock = threading.Lock()

    def answer(request: OpenRequest) -> Result:
        with lock:
            heard.append((request.do, request.args["digests"]))
        return {}

    server = Server(f"{tmp_path}/s", {"removed": answer, "restored": answer})
    server.start()
    try:
        told = tell(make_client, "removed", [b"c" * 32])
    finally:
        server.stop()
    assert told
    assert heard == [("removed", [b"a" * 32]), ("restored", [b"b" * 32]), ("removed", [b"c" * 32])]
    assert not note.exists()


@pytest.mark.parametrize("what", ["a folder in its place", "a link in its place", "a version to come", "another name"])
def test_a_journal_that_is_not_read_is_told(plan: str, state: Path, what: str) -> None:
    run("apply", plan, "--yes")
    (journal,) = (state / "dupwatch/journal").iterdir()
    if what == "a version to come":
        journal.write_text(journal.read_text().replace('"dupwatch_journal": 1', '"dupwatch_journal": 2'))
        why = f"the journal {journal} is of another version of dupwatch"
    elif what == "another name":
        journal.write_text(journal.read_text().replace(journal.stem, "1"))
        journal = journal.rename(journal.with_name("1.jsonl"))
        why = f"the journal {journal} is damaged: it names no run"
    else:
        journal.rename(state / "elsewhere")
        if what == "a link in its place":
            journal.symlink_to(state / "elsewhere")
            why = f"the journal {journal} is a symbolic link"
        else:
            journal.mkdir()
            why = f"the journal {journal} cannot be read: Is a directory"
    assert why in run("undo", "--last", "--yes", status=1)
    for command in (["quarantine", "list"], ["purge", "--older-than", "0", "--yes"]):
        done = subprocess.run([*COMMAND, *command], capture_output=True, text=True, check=False)
        assert f"{why}; what it names is left out" in done.stderr


def test_a_journal_of_which_nothing_is_written_is_not_told(plan: str, state: Path) -> None:
    run("apply", plan, "--yes")
    (state / "dupwatch/journal/2026-01-01T00-00-00Z-00000000.jsonl").touch()
    os.mkfifo(state / "dupwatch/journal/2026-01-01T00-00-00Z-00000001.jsonl")
    done = subprocess.run([*COMMAND, "quarantine", "list"], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    run("undo", "--last", "--yes")
