"""What people say of contents, through the real service: it holds for bytes, not for paths, and outlives everything."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from dupwatch.errors import RequestFailedError, WrongUsageError
from tests.conftest import encoded, photo_like
from tests.system.in_process import scan
from tests.system.service import Listener, Service, until

Dupwatch = Callable[..., "subprocess.CompletedProcess[bytes]"]


def one_picture(quality: int) -> bytes:
    """A picture in another content for each quality."""
    return encoded(photo_like(1, 160, 120), quality=quality)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three files of one picture, and two of another."""
    root = tmp_path / "photos"
    root.mkdir()
    for name, quality in (("a.jpg", 95), ("b.jpg", 85), ("c.jpg", 75)):
        (root / name).write_bytes(one_picture(quality))
    for name, quality in (("x.jpg", 95), ("y.jpg", 85)):
        (root / name).write_bytes(encoded(photo_like(2, 160, 120), quality=quality))
    return root


@pytest.fixture
def service(tmp_path: Path, root: Path) -> Iterator[Service]:
    with Service(tmp_path / "s", root) as running:
        running.settled()
        yield running


@pytest.fixture
def dupwatch(service: Service) -> Dupwatch:
    def call(*words: object) -> "subprocess.CompletedProcess[bytes]":
        arguments = [word if isinstance(word, bytes) else str(word) for word in words]
        environment = {**os.environ, "DUPWATCH_ENDPOINT": service.endpoint, "PYTHONUTF8": "1"}
        return subprocess.run(
            [sys.executable, "-m", "dupwatch", *arguments], capture_output=True, env=environment, check=False
        )

    return call


def groups(service: Service, **question: Any) -> set[frozenset[str]]:
    """The names of the files of each group."""
    return {
        frozenset(os.path.basename(os.fsdecode(file["path"])) for file in one["files"])
        for one in service.clusters(**question)
    }


def ignore(service: Service, *files: Path) -> dict[str, Any]:
    return service.ask("ignore", paths=[os.fsencode(file) for file in files])


def rows(service: Service) -> dict[str, dict[str, Any]]:
    """The files of all groups, by name."""
    return {os.path.basename(os.fsdecode(file["path"])): file for one in service.clusters() for file in one["files"]}


def digest(file: Path) -> bytes:
    return blake3(file.read_bytes()).digest()


ABC, XY = frozenset({"a.jpg", "b.jpg", "c.jpg"}), frozenset({"x.jpg", "y.jpg"})


def test_a_pair_that_is_ignored_stays_hidden_wherever_its_files_go(service: Service, root: Path) -> None:
    assert groups(service) == {ABC, XY}
    assert ignore(service, root / "x.jpg", root / "y.jpg") == {"contents": 2, "pairs": 1, "new": 1}
    answer = service.ask("clusters")
    assert (groups(service), answer["total_clusters"], answer["ignored_groups"]) == ({ABC}, 1, 1)

    (root / "deep").mkdir()
    (root / "x.jpg").rename(root / "deep" / "one.jpg")
    (root / "y.jpg").rename(root / "other.jpg")
    service.settled()
    assert groups(service) == {ABC}

    service.stop()
    service.start()
    until(service.answers)
    service.settled()
    assert groups(service) == {ABC}

    shutil.copyfile(root / "other.jpg", root / "copy of other.jpg")
    service.settled()  # the copy is shown with its equal, for these are duplicates; never with the one it is not
    assert groups(service) == {ABC, frozenset({"other.jpg", "copy of other.jpg"})}
    (root / "other.jpg").unlink()
    service.settled()
    assert groups(service) == {ABC}

    (root / "third.jpg").write_bytes(encoded(photo_like(2, 160, 120), quality=60))
    service.settled()
    assert groups(service) == {ABC, frozenset({"one.jpg", "copy of other.jpg", "third.jpg"})}


def test_a_pair_is_still_ignored_after_all_its_files_were_away_and_forgotten(service: Service, root: Path) -> None:
    ignore(service, root / "x.jpg", root / "y.jpg")
    outside = root.with_name("outside")
    outside.mkdir()
    for name in XY:
        (root / name).rename(outside / name)
    service.settled()
    assert service.ask("ignored")["ignored"][0]["paths"] == [[], []]
    for name in XY:
        (outside / name).rename(root / f"again {name}")
    service.settled()
    assert groups(service) == {ABC}
    [pair] = service.ask("ignored")["ignored"]
    assert {os.path.basename(path) for [path] in pair["paths"]} == {b"again x.jpg", b"again y.jpg"}


def test_a_group_falls_apart_only_where_every_way_is_ignored(service: Service, root: Path) -> None:
    a, b, c = (root / name for name in sorted(ABC))
    ignore(service, a, b)
    assert groups(service) == {ABC, XY}  # both are copies of c, for all that was said
    ignore(service, a, c)
    assert groups(service) == {frozenset({"b.jpg", "c.jpg"}), XY}
    assert ignore(service, a, b, c) == {"contents": 3, "pairs": 3, "new": 1}
    assert groups(service) == {XY}
    assert service.ask("unignore", paths=[bytes(a), bytes(b), bytes(root / "x.jpg")]) == {"pairs": 1}
    assert groups(service) == {frozenset({"a.jpg", "b.jpg"}), XY}
    assert service.ask("unignore", all=True) == {"pairs": 2}
    assert groups(service) == {ABC, XY}
    assert service.ask("ignored") == {"total": 0, "ignored": []}


def test_no_file_goes_because_of_one_that_it_is_no_duplicate_of(service: Service, root: Path) -> None:
    def going() -> set[str]:
        return {name for name, row in rows(service).items() if row["may_go"]}

    until(lambda: going() == {"b.jpg", "c.jpg", "y.jpg"})  # once the closer looks are done
    ignore(service, root / "a.jpg", root / "b.jpg")
    ignore(service, root / "b.jpg", root / "c.jpg")
    assert groups(service) == {frozenset({"a.jpg", "c.jpg"}), XY}
    service.ask("unignore", paths=[bytes(root / "b.jpg"), bytes(root / "c.jpg")])
    row = rows(service)["b.jpg"]
    assert (row["verdict"], row["confirmed"], row["keep"], row["may_go"]) == (None, None, False, False)
    assert rows(service)["c.jpg"]["may_go"]
    said = "said to be no duplicate (`dupwatch ignored` lists and revokes)"
    told = service.ask("explain", path=bytes(root / "b.jpg"))["steps"]
    assert f"to {root}/a.jpg, which stays, it is {said}" in told
    ignore(service, root / "x.jpg", root / "y.jpg")
    told = service.ask("explain", path=bytes(root / "y.jpg"))["steps"]
    assert told == [f"{root}/y.jpg stays: no copy of it is there, but for what was {said}"]
    planned = {file["path"]: file for group in service.ask("plan")["groups"] for file in group["files"]}
    assert planned[bytes(root / "c.jpg")]["held_by"] == bytes(root / "a.jpg")
    assert (planned[bytes(root / "b.jpg")]["goes"], planned[bytes(root / "b.jpg")]["verdict"]) == (False, None)


def test_what_is_no_duplicate_is_neither_found_nor_told_as_a_match(service: Service, root: Path) -> None:
    ignore(service, root / "x.jpg", root / "y.jpg")
    assert [copy["path"] for copy in service.find(root / "x.jpg")] == [bytes(root / "x.jpg")]
    listener = Listener(service.endpoint)
    (root / "x.jpg").rename(root / "z.jpg")
    until(lambda: listener.has("indexed", path=bytes(root / "z.jpg")))
    (root / "end.jpg").write_bytes(encoded(photo_like(3)))
    until(lambda: listener.has("indexed", path=bytes(root / "end.jpg")))
    assert listener.count("matched") == 0


def test_a_scan_of_the_state_directory_leaves_out_what_is_ignored(service: Service, root: Path) -> None:
    ignore(service, root / "x.jpg", root / "y.jpg")
    service.ask("decide", keep=[bytes(root / "a.jpg")])
    service.stop()
    document = scan(root, state=service.state)
    assert (document["total_clusters"], document["ignored_groups"]) == (1, 1)
    assert {row["path"]: row["choice"] for row in document["clusters"][0]["files"]} == {
        str(root / "a.jpg"): "keep", str(root / "b.jpg"): None, str(root / "c.jpg"): None,
    }  # fmt: skip


def test_what_was_answered_is_there_after_the_service_was_killed(service: Service, root: Path) -> None:
    ignore(service, root / "x.jpg", root / "y.jpg")
    service.ask("decide", go=[bytes(root / "b.jpg")])
    service.ask("removed", digests=[digest(root / "c.jpg")])
    service.kill()
    service.start()
    until(service.answers)
    service.settled()
    assert groups(service) == {ABC}
    assert [rows(service)[name]["choice"] for name in sorted(ABC)] == [None, "go", None]
    (root / "c again.jpg").write_bytes(one_picture(75))
    service.settled()
    assert rows(service)["c again.jpg"]["returned"]


def test_pages_from_before_and_after_something_was_ignored_do_not_belong_together(service: Service, root: Path) -> None:
    def revision(offset: int) -> int:
        return int(service.ask("clusters", limit=1, offset=offset)["revision"])

    until(lambda: revision(0) == revision(1))  # nor do those from before and after a close look
    before = revision(0)
    ignore(service, root / "x.jpg", root / "y.jpg")
    assert revision(1) != before


@pytest.mark.parametrize("do", ["ignore", "unignore"])
def test_hostile_requests_are_refused_and_change_nothing(service: Service, root: Path, do: str) -> None:
    a, copy = root / "a.jpg", root / "copy of a.jpg"
    shutil.copyfile(a, copy)
    service.settled()
    before = groups(service)
    for paths in ([bytes(a)], [], [b"/%d" % number for number in range(10_001)], [b"x" * 400_000, bytes(a)]):
        with pytest.raises(WrongUsageError):
            service.ask(do, paths=paths)
    for unknown in (b"/etc/passwd", bytes(root), bytes(root / "no.jpg"), bytes(root) + b"/\xff", b"/"):
        with pytest.raises(RequestFailedError) as caught:
            service.ask(do, paths=[bytes(a), unknown])
        assert (caught.value.code, caught.value.exit_status) == ("unknown_file", 2)
        assert os.fsdecode(unknown).encode("ascii", "backslashreplace").decode() in str(caught.value)
    if do == "ignore":
        for equal in ([bytes(a), bytes(copy)], [bytes(a), bytes(a)]):
            with pytest.raises(RequestFailedError, match=r"equal bytes|only one file"):
                service.ask(do, paths=equal)
    else:
        for args in ({}, {"paths": [bytes(a), bytes(root / "b.jpg")], "all": True}):
            with pytest.raises(RequestFailedError) as caught:
                service.ask(do, **args)
            assert caught.value.code == "bad_request"
    assert groups(service) == before
    assert service.ask("ignored")["total"] == 0


def test_a_choice_holds_for_a_content_and_is_revoked(service: Service, root: Path) -> None:
    def choices() -> dict[str, str]:
        return {name: row["choice"] for name, row in rows(service).items() if row["choice"]}

    a, b, x = (bytes(root / f"{name}.jpg") for name in "abx")
    assert service.ask("decide", keep=[a], go=[b, x]) == {"decided": 3, "forgotten": 0}
    assert choices() == {"a.jpg": "keep", "b.jpg": "go", "x.jpg": "go"}
    (root / "b.jpg").rename(root / "bb.jpg")
    service.settled()
    assert choices() == {"a.jpg": "keep", "bb.jpg": "go", "x.jpg": "go"}
    service.ask("decide", forget=[x], go=[a])
    assert choices() == {"a.jpg": "go", "bb.jpg": "go"}
    for lists in ({}, {"keep": [a, a]}, {"keep": [a], "go": [a]}, {"keep": [a], "go": [b]}):
        with pytest.raises(RequestFailedError):
            service.ask("decide", **lists)  # the last one names a file that is gone
    assert choices() == {"a.jpg": "go", "bb.jpg": "go"}


def test_of_files_with_equal_bytes_each_has_a_choice_of_its_own(service: Service, root: Path) -> None:
    shutil.copyfile(root / "a.jpg", root / "a copy.jpg")
    service.settled()
    service.ask("decide", keep=[bytes(root / "a.jpg")], go=[bytes(root / "a copy.jpg")])
    assert [rows(service)[name]["choice"] for name in ("a.jpg", "a copy.jpg")] == ["keep", "go"]
    service.ask("decide", forget=[bytes(root / "a.jpg")])
    assert [rows(service)[name]["choice"] for name in ("a.jpg", "a copy.jpg")] == [None, "go"]


def test_a_removed_picture_that_turns_up_again_is_told(service: Service, root: Path) -> None:
    listener = Listener(service.endpoint)
    gone = root / "b.jpg"
    gone.unlink()
    service.ask("removed", digests=[digest(root / "c.jpg"), blake3(one_picture(85)).digest()])
    service.settled()
    assert not any(row["returned"] for row in rows(service).values())  # c.jpg has stayed
    (root / "b is back.jpg").write_bytes(one_picture(85))
    until(lambda: listener.has("returned", path=bytes(root / "b is back.jpg")))
    assert listener.has("indexed", path=bytes(root / "b is back.jpg"))
    assert {name for name, row in rows(service).items() if row["returned"]} == {"b is back.jpg"}
    (root / "c.jpg").rename(root / "cc.jpg")  # which is no return
    service.settled()
    assert listener.count("returned") == 1
    service.ask("restored", digests=[blake3(one_picture(85)).digest()])
    assert not any(row["returned"] for row in rows(service).values())


def test_files_of_a_first_scan_are_told_as_returned(service: Service, root: Path, tmp_path: Path) -> None:
    service.ask("removed", digests=[blake3(one_picture(60)).digest()])
    service.stop()
    (root / "d.jpg").write_bytes(one_picture(60))
    with sqlite3.connect(service.state / "dupwatch.sqlite") as database:
        database.execute("DELETE FROM file")  # as if nothing had ever been read
        database.execute("DELETE FROM folder")
    database.close()
    service.start()
    until(service.answers)
    service.settled()
    assert {name for name, row in rows(service).items() if row["returned"]} == {"d.jpg"}


def test_the_service_answers_busy_while_another_program_writes_for_long(service: Service, root: Path) -> None:
    with sqlite3.connect(service.state / "dupwatch.sqlite", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(RequestFailedError) as caught:
            ignore(service, root / "x.jpg", root / "y.jpg")
        assert (caught.value.code, caught.value.is_passing) == ("busy", True)
        assert groups(service) == {ABC, XY}  # reading goes on
        other.execute("ROLLBACK")
    other.close()
    ignore(service, root / "x.jpg", root / "y.jpg")
    assert groups(service) == {ABC}


def test_the_command_line_ignores_lists_and_revokes(service: Service, root: Path, dupwatch: Dupwatch) -> None:
    (root.parent / "link").symlink_to(root)
    done = dupwatch("ignore", root.parent / "link" / "x.jpg", root / "y.jpg")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"1 pair not duplicates\n", b"")
    assert (
        dupwatch("ignore", root / "x.jpg", root / "y.jpg").stdout == b"1 pair not duplicates; 1 of them known before\n"
    )
    assert b"1 group not shown: not duplicates (dupwatch ignored)" in dupwatch("clusters").stdout
    listed = dupwatch("ignored").stdout.decode().splitlines()
    assert sorted(line.strip() for line in listed[:2]) == [str(root / "x.jpg"), str(root / "y.jpg")]
    assert listed[2:] == ["1 pair"]
    assert b'"total": 1' in dupwatch("ignored", "--json").stdout
    revoked = dupwatch("ignored", "--revoke", root / "x.jpg", root / "y.jpg")
    assert (revoked.returncode, revoked.stdout) == (0, b"1 pair revoked\n")
    assert dupwatch("ignored", "--revoke", root / "x.jpg", root / "y.jpg").returncode == 1
    assert dupwatch("ignored").stdout == b"No pair is ignored.\n"


def test_the_command_line_says_what_is_wrong(service: Service, root: Path, dupwatch: Dupwatch) -> None:
    for words, said in (
        (("ignore", root / "a.jpg"), b"at least two"),
        (("ignore", *[root / "a.jpg"] * 1001), b"at most 1,000 files at a time; these are 1,001"),
        (("ignore", root / "a.jpg", root), b"is a folder"),
        (("ignore", root / "a.jpg", root / "no.jpg"), b"no.jpg is not known"),
        (("ignored", root / "a.jpg"), b"--revoke"),
        (("ignored", "--revoke", "--revoke-all"), b"choose one"),
        (("ignored", "--yes"), b"--revoke-all"),
    ):
        done = dupwatch(*words)
        assert (done.returncode, done.stdout) == (2, b""), words
        assert said in done.stderr
    ignore(service, root / "a.jpg", root / "b.jpg")
    asked = dupwatch("ignored", "--revoke-all")  # nobody is there to be asked
    assert (asked.returncode, service.ask("ignored")["total"]) == (2, 1)
    assert dupwatch("ignored", "--revoke-all", "--yes").stdout == b"1 pair revoked\n"
