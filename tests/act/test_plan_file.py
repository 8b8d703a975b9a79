"""Plans that are read: our own come back as they were, and nothing else is believed."""

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dupwatch.act.errors import PlanError
from dupwatch.act.plan_file import Plan, plan_digest, plan_text, write_plan
from dupwatch.act.plan_reading import parsed_plan, read_plan
from tests.act.trees import plan_for, seen, write


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    root = os.fsencode(tmp_path / "root")
    stays = write(root + b"/best/caf\xe9.jpg", b"picture")
    goes = write(root + b"/spare/caf\xe9.jpg", b"picture")
    smaller = write(root + b"/spare/small.jpg", b"smaller")
    write(root + b"/spare/small.xmp", b"rating 5")
    other = write(root + b"/best/other.jpg", b"other")
    again = write(root + b"/spare/other.jpg", b"other")
    return plan_for(root, [(goes, stays), (smaller, stays), (again, other)])


def refused(document: object) -> str:
    with pytest.raises(PlanError) as error:
        parsed_plan(json.dumps(document).encode("ascii"), "copies.plan")
    assert "\n" not in str(error.value)
    assert error.value.exit_status == 2
    return str(error.value)


def test_a_plan_comes_back_as_it_was(plan: Plan, tmp_path: Path) -> None:
    path = os.fsencode(tmp_path / "copies.plan")
    write_plan(plan, path)
    assert read_plan(path) == plan
    assert plan_digest(read_plan(path)) == plan_digest(plan)
    assert os.lstat(path).st_mode & 0o777 == 0o600
    relaid = json.dumps(json.loads(plan_text(plan)), indent=3).encode("ascii")
    assert plan_digest(parsed_plan(relaid, "")) == plan_digest(plan)


Edit = Callable[[dict[str, Any]], object]


def first(document: dict[str, Any]) -> dict[str, Any]:
    going: dict[str, Any] = document["groups"][0]["goes"][0]
    return going


def sidecar(document: dict[str, Any]) -> dict[str, Any]:
    return next(going for group in document["groups"] for going in group["goes"] if "goes_with" in going)


def small(document: dict[str, Any]) -> dict[str, Any]:
    return next(going for going in document["groups"][0]["goes"] if going["verdict"] == "same")


EDITS: dict[str, tuple[Edit, str]] = {
    "another version": (lambda d: d.update(dupwatch_plan=2), "version 2"),
    "a version that is no number": (lambda d: d.update(dupwatch_plan=True), "version True"),
    "no version": (lambda d: d.pop("dupwatch_plan"), "no plan"),
    "outside the roots": (lambda d: first(d).update(path="/etc/passwd"), "under none of the plan's roots"),
    "a root as file": (lambda d: first(d).update(path=d["roots"][0]), "under none of the plan's roots"),
    "a sibling of the root": (lambda d: first(d).update(path=d["roots"][0] + "2/a.jpg"), "under none"),
    "dots": (lambda d: first(d).update(path=d["roots"][0] + "/../a.jpg"), "`..`"),
    "a dot": (lambda d: first(d).update(path=d["roots"][0] + "/./a.jpg"), "`..`"),
    "two slashes": (lambda d: first(d).update(path=d["roots"][0] + "//a.jpg"), "empty name"),
    "a slash at the end": (lambda d: first(d).update(path=d["roots"][0] + "/a/"), "empty name"),
    "relative": (lambda d: first(d).update(path="a.jpg"), "no absolute path"),
    "NUL": (lambda d: first(d).update(path=d["roots"][0] + "/a\0b"), "NUL"),
    "half a character": (lambda d: first(d).update(path=d["roots"][0] + "/\ud800"), "half a character"),
    "no file that stays": (lambda d: d["groups"][0].update(stays=[]), "no file stays"),
    "no file that goes": (lambda d: d["groups"][0].update(goes=[]), "no file goes"),
    "holder is nobody": (lambda d: first(d).update(held_by=None), "`held_by`"),
    "holder of another group": (lambda d: first(d).update(held_by=d["groups"][1]["stays"][0]["path"]), "`held_by`"),
    "holder goes": (lambda d: first(d).update(held_by=small(d)["path"]), "`held_by`"),
    "goes and stays": (lambda d: first(d).update(path=d["groups"][0]["stays"][0]["path"]), "goes and stays"),
    "goes here, stays there": (lambda d: first(d).update(path=d["groups"][1]["stays"][0]["path"]), "goes and stays"),
    "goes twice": (lambda d: first(d).update(path=d["groups"][1]["goes"][0]["path"]), "goes twice"),
    "one file by its numbers": (
        lambda d: first(d).update({key: d["groups"][1]["stays"][0][key] for key in ("device", "inode")}),
        "the same file",
    ),
    "two contents": (
        lambda d: d["groups"][1]["stays"].append({**d["groups"][0]["stays"][0], "blake3": "0" * 64}),
        "two contents",
    ),
    "same, not confirmed": (lambda d: small(d).update(confirmed=None), "confirmed"),
    "same, refuted": (lambda d: small(d).update(confirmed=False), "confirmed"),
    "identical, other content": (lambda d: small(d).update(verdict="identical"), "another content"),
    "verdict not named": (lambda d: small(d).update(verdict="cropped"), "not among"),
    "verdict similar": (lambda d: small(d).update(verdict="similar"), "no verdict"),
    "verdicts similar": (lambda d: d.update(verdicts=["similar"]), "no verdict"),
    "verdict missing": (lambda d: small(d).update(verdict=None), "not among"),
    "digest too short": (lambda d: first(d).update(blake3="ab"), "64 hexadecimal"),
    "digest in capitals": (lambda d: first(d).update(blake3="A" * 64), "64 hexadecimal"),
    "bytes negative": (lambda d: first(d).update(bytes=-1), "whole number"),
    "bytes no integer": (lambda d: first(d).update(bytes=1.0), "whole number"),
    "bytes huge": (lambda d: first(d).update(bytes=1 << 70), "whole number"),
    "unknown entry": (lambda d: first(d).update(force=True), "unknown entry"),
    "entry missing": (lambda d: first(d).pop("blake3"), "lacks `blake3`"),
    "groups no list": (lambda d: d.update(groups={}), "must be a list"),
    "group no object": (lambda d: d.update(groups=[1]), "must be an object"),
    "root relative": (lambda d: d.update(roots=["photos"]), "no absolute path"),
    "no roots": (lambda d: d.update(roots=[]), "under none"),
    "a picture called a sidecar": (lambda d: first(d).update(goes_with=small(d)["path"]), "no sidecar"),
    "a sidecar of nobody": (lambda d: sidecar(d).update(goes_with=first(d)["held_by"]), "no picture that goes"),
    "a sidecar of itself": (lambda d: sidecar(d).update(goes_with=sidecar(d)["path"]), "no picture that goes"),
    "a movie without equal": (
        lambda d: sidecar(d).update(path=sidecar(d)["path"].replace(".xmp", ".mov")),
        "only if an equal one stays",
    ),
    "a sidecar that is same": (lambda d: sidecar(d).update(verdict="same", confirmed=True), "identical to what"),
    "time that is none": (lambda d: d.update(made="today"), "no time"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_plan_is_refused_with_what_and_where(plan: Plan, edit: str) -> None:
    document = json.loads(plan_text(plan))
    change, words = EDITS[edit]
    change(document)
    assert words in refused(document)


def test_a_plan_may_be_shortened_and_made_by_hand(plan: Plan) -> None:
    document = json.loads(plan_text(plan))
    del document["groups"][1], document["summary"], document["asked"], document["held_back"], document["complete"]
    small(document)["lacks"] = ["place"]
    del first(document)["reason"], first(document)["lacks"]
    assert len(parsed_plan(json.dumps(document).encode("ascii"), "").groups) == 1


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"dupwatch_plan": NaN}', b'{"dupwatch_plan": 1, "dupwatch_plan": 1}',
     b"[" * 100_000, b'{"a":' * 100_000, b"1" * 10_000, b'"\\ud800"', b"\x00" * 40],
)  # fmt: skip
def test_what_is_no_json_or_no_object_is_no_plan(data: bytes) -> None:
    with pytest.raises(PlanError, match="no plan") as error:
        parsed_plan(data, "copies.plan")
    assert "\n" not in str(error.value)


def paths_in(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return found + [place for key, one in inner for place in paths_in(one, (*path, key))]


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
    | st.sampled_from(["/", "/etc", "identical", "same", "..", "\udce9", "\ud800", "0" * 64]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_plan_with_anything_in_any_place_is_read_or_refused(plan: Plan, data: st.DataObject) -> None:
    document = json.loads(plan_text(plan))
    for _ in range(data.draw(st.integers(1, 3))):
        *way, key = data.draw(st.sampled_from(paths_in(document)))
        target = document
        for step in way:
            target = target[step]
        kind = data.draw(st.sampled_from(["replace", "drop", "double"]))
        if kind == "replace":
            target[key] = data.draw(ANY_JSON)
        elif kind == "drop":
            del target[key]
        elif isinstance(target, list):
            target.append(copy.deepcopy(target[key]))
    try:
        read = parsed_plan(json.dumps(document).encode("ascii"), "copies.plan")
    except PlanError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either is right
    else:
        assert_is_safe(read)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
@example(b"\xed\xa0\x80")
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with pytest.raises(PlanError):
        parsed_plan(data, "copies.plan")


def assert_is_safe(plan: Plan) -> None:
    """What must hold of every plan that is read, worked out once more."""
    staying = {file.path for group in plan.groups for file in group.stays}
    going = [one.file.path for one in plan.going]
    assert len(going) == len(set(going))
    assert not staying & set(going)
    for group in plan.groups:
        assert group.stays
        for one in group.goes:
            if one.goes_with is None:
                assert one.held_by in {file.path for file in group.stays}
                assert one.verdict in plan.verdicts
            assert any(one.file.path.startswith(root.rstrip(b"/") + b"/") for root in plan.roots)
            assert b".." not in one.file.path.split(b"/")


@pytest.mark.parametrize(
    ("mode", "words"), [(0o666, "written by others"), (0o602, "written by others"), (0o644, None), (0o400, None)]
)
def test_a_plan_that_others_can_write_is_refused(plan: Plan, tmp_path: Path, mode: int, words: str | None) -> None:
    path = os.fsencode(tmp_path / "copies.plan")
    write_plan(plan, path)
    os.chmod(path, mode)
    if words is None:
        assert read_plan(path) == plan
    else:
        with pytest.raises(PlanError, match=words):
            read_plan(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_plan_of_another_user_is_refused(plan: Plan, tmp_path: Path) -> None:
    path = os.fsencode(tmp_path / "copies.plan")
    write_plan(plan, path)
    os.chown(path, 12345, 12345)
    with pytest.raises(PlanError, match="another user"):
        read_plan(path)


def test_what_is_no_file_is_no_plan(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in (b"pipe", b"", b"missing", b"a\0b"):
        with pytest.raises(PlanError):
            read_plan(os.fsencode(tmp_path) + b"/" + name)


def test_the_command_refuses_in_one_line_and_touches_nothing(plan: Plan, tmp_path: Path) -> None:
    document = json.loads(plan_text(plan))
    first(document)["path"] = "/etc/passwd"
    path = tmp_path / "copies.plan"
    path.write_text(json.dumps(document))
    before = seen(tmp_path)
    run = subprocess.run(
        [sys.executable, "-m", "dupwatch", "apply", str(path), "--yes"], capture_output=True, text=True, check=False
    )  # fmt: skip
    assert (run.returncode, run.stdout, run.stderr.count("\n")) == (2, "", 1), run.stderr
    assert "/etc/passwd" in run.stderr
    assert seen(tmp_path) == before


@pytest.mark.parametrize("what", ["photo.jpg", "pipe"])
def test_a_plan_replaces_nothing_but_a_plan(plan: Plan, tmp_path: Path, what: str) -> None:
    path = tmp_path / what
    if what == "pipe":
        os.mkfifo(path)
    else:
        write(path, b"a photo")
    before = os.lstat(path)
    with pytest.raises(FileExistsError, match="not replaced"):
        write_plan(plan, os.fsencode(path))
    assert os.path.samestat(os.lstat(path), before)
    write_plan(plan, os.fsencode(tmp_path / "copies.plan"))
    write_plan(replace(plan, rules=()), os.fsencode(tmp_path / "copies.plan"))
    assert read_plan(os.fsencode(tmp_path / "copies.plan")).rules == ()
    assert not list(tmp_path.glob(".dupwatch-*"))
