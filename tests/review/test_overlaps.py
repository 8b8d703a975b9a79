"""Groups share files: crops of a photo that has copies. Each file is asked about, counted and moved once."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from PIL import Image

from tests.conftest import photo_like
from tests.review.conftest import Reviewing, wait_until
from tests.system.service import Service

Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A crowd of copies, of which some are only near others; a photo with a copy and a crop; and two photos twice."""
    folder = tmp_path_factory.mktemp("photos")
    for name in ("albums", "backup", "prints"):
        (folder / name).mkdir()
    crowd = Image.fromarray(photo_like(1, 480, 360))
    for number in range(40):
        size = (480 - 8 * number, 360 - 6 * number)
        crowd.resize(size).save(folder / f"backup/crowd {number:02}.jpg", quality=60 + number * 7 % 35)
    whole = Image.fromarray(photo_like(2, 900, 675))
    whole.save(folder / "albums/whole.jpg", quality=95)
    shutil.copy2(folder / "albums/whole.jpg", folder / "backup/whole copy.jpg")
    whole.crop((18, 14, 882, 662)).save(folder / "prints/cut.jpg", quality=95)
    Image.fromarray(photo_like(3, 480, 360)).save(folder / "prints/once.jpg", quality=95)
    shutil.copy2(folder / "prints/once.jpg", folder / "prints/twice.jpg")
    for place in ("albums", "backup"):
        Image.fromarray(photo_like(4, 480, 360)).save(folder / place / "rated.jpg", quality=95)
        (folder / place / "rated.xmp").write_text(f"rated in {place}")
        Image.fromarray(photo_like(5, 480, 360)).save(
            folder / place / "mind.jpg", quality=95 if place == "albums" else 70
        )
    for quality in (95, 80, 65, 50):
        Image.fromarray(photo_like(6, 480, 360)).save(folder / f"prints/rest {quality}.jpg", quality=quality)
    return folder


@pytest.fixture(scope="module")
def running(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("place") / "service", photos) as service:
        service.settled()
        yield service


@pytest.fixture(scope="module")
def ask(running: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    with asking(running, tmp_path_factory.mktemp("home")) as asked:
        yield asked


@contextmanager
def asking(running: Service, home: Path) -> Iterator[Ask]:
    """Asks the page's server as its page does."""
    with Reviewing(running.endpoint, home) as review:
        headers = {"Cookie": review.enter(), "Sec_Fetch_Site": "same-origin"}

        def asked(path: str, body: Any = None) -> Any:
            method = "GET" if body is None else "POST"
            text = None if body is None else json.dumps(body)
            return json.loads(review.ask(f"/api/{path}", method, text, **headers)[2])

        headers["X_Dupwatch_Token"] = asked("start")["token"]
        wait_until(lambda: asked("groups")["whole"])
        yield asked


def paths(row: dict[str, Any]) -> list[str]:
    return sorted(file["path"] for file in row["files"])


def test_no_two_groups_ask_about_the_same_files(ask: Ask) -> None:
    rows = ask("groups")["rows"]
    assert any(file.get("verdict") is None for row in rows for file in row["files"][1:])  # near others only
    groups = [paths(row) for row in rows]
    assert all(groups.count(one) == 1 for one in groups)
    assert {"identical", "cropped"} <= {row["kind"] for row in rows}


def test_what_goes_by_two_decisions_goes_once(ask: Ask, photos: Path, tmp_path: Path) -> None:
    rows = [row for row in ask("groups")["rows"] if f"{photos}/albums/whole.jpg" in paths(row)]
    assert [row["kind"] for row in rows] == ["identical", "cropped"]
    decisions = [
        {"key": row["key"], "stays": paths(row)[:1], "goes": paths(row)[1:], "out": []}  # albums come first
        for row in rows
    ]
    assert ask("decide", {"decisions": decisions})["not_told"] is None  # though they name a file twice
    told = ask("plan", {})
    assert told["files"] == 2
    plan = tmp_path / "copies.plan"
    plan.write_text(json.dumps(ask(f"plan/{told['plan']}")))
    plan.chmod(0o600)
    done = subprocess.run(
        [sys.executable, "-m", "dupwatch", "apply", plan, "--dry-run"],
        capture_output=True, text=True, check=False, env={**os.environ, "XDG_STATE_HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    verdicts = {
        file["path"]: file["verdict"] for group in json.loads(plan.read_text())["groups"] for file in group["goes"]
    }
    assert verdicts == {f"{photos}/backup/whole copy.jpg": "identical", f"{photos}/prints/cut.jpg": "cropped"}


def test_a_pair_of_folders_asks_to_look_only_at_what_is_in_both(ask: Ask, photos: Path) -> None:
    pair = {"kinds": ["identical", "same"], "inside": f"{photos}/prints", "reference": f"{photos}/albums"}
    told = ask("rules", pair)
    assert {told[name] for name in ("groups", "files", "bytes", "unsure", "decided")} == {0}


def test_a_rule_changes_no_decision(ask: Ask) -> None:
    row = next(row for row in ask("groups")["rows"] if row["kind"] == "identical" and row["key"] not in decided(ask))
    before = ask("rules", {"kinds": ["identical"]})
    ask("decide", {"decisions": [{"key": row["key"], "stays": paths(row), "goes": []}]})
    after = ask("rules", {"kinds": ["identical"]})
    assert (before["groups"] - after["groups"], after["decided"] - before["decided"]) == (1, 1)
    ask("take-back", {})


def test_a_rule_decides_what_this_page_was_shown_and_nothing_since(ask: Ask) -> None:
    first = ask("rules", {"kinds": ["identical"]})
    ask("rules", {"kinds": ["cropped"]})  # in another window
    assert "look at" in ask("rules/accept", first)["error"]
    looked = ask("rules", {"kinds": ["identical"]})
    row = next(row for row in ask("groups")["rows"] if row["kind"] == "identical" and row["key"] not in decided(ask))
    ask("decide", {"decisions": [{"key": row["key"], "stays": paths(row), "goes": []}]})
    told = ask("rules/accept", looked)["decided"]
    assert told
    assert row["key"] not in told
    ask("take-back", {})
    ask("take-back", {})


def test_a_plan_of_what_was_decided_otherwise_since_is_not_carried_out(ask: Ask) -> None:
    row = next(row for row in ask("groups")["rows"] if row["kind"] == "identical" and row["key"] not in decided(ask))
    ask("decide", {"decisions": [{"key": row["key"], "stays": paths(row)[:1], "goes": paths(row)[1:]}]})
    plan = ask("plan", {})["plan"]
    ask("take-back", {})  # in another window
    assert "look at the plan again" in ask("apply", {"plan": plan, "action": "quarantine"})["error"]


def test_decisions_that_cannot_be_kept_are_told_in_words(running: Service, tmp_path: Path) -> None:
    with asking(running, tmp_path) as ask:
        row = ask("groups")["rows"][0]
        folder = tmp_path / "state/dupwatch/review"
        shutil.rmtree(folder)
        folder.write_text("in its place")
        for path, body in (("decide", {"decisions": [{"key": row["key"], "stays": paths(row)}]}), ("take-back", {})):
            assert ask(path, body) == {"error": "decisions cannot be kept: Not a directory"}


def decided(ask: Ask) -> Any:
    return ask("decided")["decided"]


def test_a_photo_of_which_a_plan_decides_for_its_sidecar_is_held_back(ask: Ask, photos: Path) -> None:
    """As the page has told of it; whatever rule or person has accepted it among others."""
    albums, backup = (f"{photos}/{place}/rated.jpg" for place in ("albums", "backup"))
    [row] = [row for row in ask("groups")["rows"] if paths(row) == [albums, backup]]
    assert [file["path"] for file in row["files"] if "plan is made" in file.get("undecided", "")] == [backup]
    assert ask("rules/accept", ask("rules", {"kinds": ["identical"]}))["decided"][row["key"]]["goes"] == [backup]
    held_back = {one["path"]: one["why"] for one in ask("plan", {})["held_back"]}
    ask("take-back", {})
    assert held_back == {
        backup: "it belongs to the sidecar rated.xmp, of which no equal lies beside the file that would stay"
    }


def test_a_folder_that_no_rule_can_name_is_told(ask: Ask, photos: Path) -> None:
    told = ask("rules", {"kinds": ["identical"], "folder": f"{photos}/caf\udce9"})
    assert "not UTF-8" in told["error"]


def test_a_mind_that_is_changed_is_changed_for_the_service_as_well(ask: Ask, running: Service, photos: Path) -> None:
    """On one page or another: no copies after all, then copies, then taken back step by step."""
    pair = [f"{photos}/{place}/mind.jpg" for place in ("albums", "backup")]
    [row] = [row for row in ask("groups")["rows"] if paths(row) == pair]

    def decide(stays: list[str], goes: list[str], out: list[str]) -> None:
        told = ask("decide", {"decisions": [{"key": row["key"], "stays": stays, "goes": goes, "out": out}]})
        assert told["not_told"] is None

    def remembered() -> tuple[int, list[str | None]]:
        groups = running.ask("clusters")["clusters"]
        choices = {os.fsdecode(file["path"]): file["choice"] for group in groups for file in group["files"]}
        return running.ask("ignored")["total"], [choices.get(path) for path in pair]

    decide(pair, [], pair)
    assert remembered() == (1, [None, None])
    decide(pair[:1], pair[1:], [])
    assert remembered() == (0, ["keep", "go"])
    decide(pair[1:], pair[:1], [])
    assert remembered() == (0, ["go", "keep"])
    ask("take-back", {})
    assert remembered() == (0, ["keep", "go"])
    ask("take-back", {})
    assert remembered()[0] == 1
    ask("take-back", {})
    assert remembered() == (0, [None, None])


def test_who_decides_on_the_rest_of_a_group_still_says_that_one_is_no_copy(
    running: Service, photos: Path, tmp_path: Path
) -> None:
    every = sorted(f"{photos}/prints/rest {quality}.jpg" for quality in (95, 80, 65, 50))
    # the group is named after the smallest digest of its contents: so is what is left of it
    first, out, *others = sorted(every, key=lambda path: blake3(Path(path).read_bytes()).digest())
    rest = sorted([first, *others])
    keys = []
    for members, decision in (
        (every, {"stays": every, "goes": [], "out": [out]}),
        (rest, {"stays": rest[:1], "goes": rest[1:], "out": []}),
    ):
        with asking(running, tmp_path) as ask:
            [key] = [row["key"] for row in ask("groups")["rows"] if paths(row) == members]
            assert ask("decide", {"decisions": [{"key": key, **decision}]})["not_told"] is None
        keys.append(key)
        assert running.ask("ignored")["total"] == 3
    assert keys[0] == keys[1]
    groups = [[os.fsdecode(file["path"]) for file in group["files"]] for group in running.ask("clusters")["clusters"]]
    assert not any(out in group for group in groups)
