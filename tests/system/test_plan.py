"""Plans of a real service on real files: what goes, what stays, for whose sake, and why."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blake3 import blake3
from PIL import Image

from dupwatch.errors import RequestFailedError
from tests.conftest import encoded, photo_like
from tests.system.in_process import run, scan
from tests.system.service import Service, until

Group = dict[str, Any]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photo with a byte-equal copy, a hard link and a small one; another one with a copy; and one alone."""
    root = tmp_path_factory.mktemp("plan") / "photos"
    for folder in ("album", "inbox", "phone"):
        (root / folder).mkdir(parents=True)
    one, two, alone = (photo_like(seed, 960, 720) for seed in (1, 2, 3))
    (root / "inbox" / "one.jpg").write_bytes(encoded(one))
    (root / "phone" / "one again.jpg").write_bytes(encoded(one))
    os.link(root / "phone" / "one again.jpg", root / "phone" / "one linked.jpg")
    (root / "phone" / "one small.jpg").write_bytes(encoded(np.asarray(Image.fromarray(one).resize((640, 480)))))
    (root / "album" / "two.jpg").write_bytes(encoded(two))
    (root / "inbox" / "2.jpg").write_bytes(encoded(two))
    (root / "inbox" / "alone.jpg").write_bytes(encoded(alone))
    return root


@pytest.fixture(scope="module")
def service(photos: Path) -> Iterator[Service]:
    with Service(photos.parent / "service", photos) as running:
        running.settled()
        until(lambda: sum(group["reclaimable_bytes"] > 0 for group in running.clusters()) == 2)
        until(
            lambda: any(
                file["confirmed"] for one in running.clusters() for file in one["files"] if file["verdict"] == "same"
            )
        )
        yield running


def plan(service: Service, **args: Any) -> list[Group]:
    return list(service.ask("plan", **args)["groups"])


def going(groups: list[Group]) -> dict[str, str | None]:
    """The names of the files that go, with those of the files that they go for."""
    return {
        os.path.basename(file["path"]).decode(): file["held_by"] and os.path.basename(file["held_by"]).decode()
        for group in groups
        for file in group["files"]
        if file["goes"]
    }


def test_a_plan_tells_what_goes_for_which_file_that_stays(service: Service, photos: Path) -> None:
    answer = service.ask("plan")
    assert (answer["total_groups"], answer["complete"], answer["verdicts"]) == (2, True, ["identical", "same"])
    assert answer["roots"] == [os.fsencode(photos)]
    assert going(answer["groups"]) == {
        "one again.jpg": "one.jpg",
        "one linked.jpg": "one.jpg",
        "one small.jpg": "one.jpg",
        "2.jpg": "two.jpg",
    }
    for group in answer["groups"]:
        for file in group["files"]:
            path = Path(os.fsdecode(file["path"]))
            status = path.stat()
            assert file["digest"] == blake3(path.read_bytes()).digest()
            assert (file["bytes"], file["mtime_ns"]) == (status.st_size, status.st_mtime_ns)
            assert (file["device"], file["inode"]) == (status.st_dev, status.st_ino)
            assert (file["held_by"] is None) != file["goes"]


def test_a_default_plan_is_what_clusters_mark(service: Service) -> None:
    marked = {file["path"] for one in service.clusters() for file in one["files"] if file["may_go"]}
    assert marked == {file["path"] for group in plan(service) for file in group["files"] if file["goes"]}


def test_rules_and_protected_folders_of_a_request_decide(service: Service, photos: Path) -> None:
    inbox, phone = (os.fsencode(photos / name) for name in ("inbox", "phone"))
    first = plan(service, policy={"keep": [f"folder {photos}/phone {photos}/inbox"]})
    assert going(first) == {"one.jpg": "one again.jpg", "one small.jpg": "one again.jpg", "two.jpg": "2.jpg"}
    protected = service.ask("plan", policy={"protect": [phone, inbox]})
    assert going(protected["groups"]) == {"two.jpg": "2.jpg"}
    assert protected["protected"] == [{"path": phone, "files": 3}, {"path": inbox, "files": 3}]
    assert going(plan(service, policy={"reference": [phone]})) == {"one.jpg": "one again.jpg"}
    chosen = os.fsencode(photos / "inbox" / "2.jpg")
    assert going(plan(service, policy={"keep_files": [chosen]}, files=[chosen])) == {"two.jpg": "2.jpg"}


def test_pages_of_a_plan_are_of_one_order(service: Service) -> None:
    both = plan(service)
    assert [plan(service, limit=1, offset=n) for n in range(3)] == [[both[0]], [both[1]], []]
    assert plan(service, under=both[1]["files"][0]["path"].rpartition(b"/")[0], limit=1)


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"keep": ["beauty most"]}, "bad_request", "keep rule 'beauty most': allowed are folder"),
    ({"keep": ["bytes some"]}, "bad_request", "keep rule 'bytes some': write bytes most, or bytes least"),
    ({"keep": ["folder a"]}, "bad_request", "absolute paths"),
    ({"keep": ["name not 'a"]}, "bad_request", "allowed are folder"),
    ({"protect": [b"/no/such/folder"]}, "unknown_folder", "/no/such/folder"),
    ({"reference": [b"/no/such/folder"]}, "unknown_folder", "/no/such/folder"),
    ({"also": "similar"}, "bad_request", "never copies"),
    ({"ask_when": ["it rains"]}, "bad_request", "allowed are enlarged"),
]


def test_a_policy_that_is_none_is_refused_with_what_is_allowed(service: Service) -> None:
    for policy, code, words in REFUSED:
        with pytest.raises(RequestFailedError) as refused:
            plan(service, policy=policy)
        assert refused.value.code == code
        assert words in str(refused.value)


def test_a_scan_writes_the_plan_that_a_service_would_give(service: Service, photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "copies.plan"
    scan("--plan", file, photos, state=tmp_path / "state")
    written = json.loads(file.read_text())
    pages = plan(service)
    assert {file["path"] for group in written["groups"] for file in group["goes"]} == {
        os.fsdecode(file["path"]) for group in pages for file in group["files"] if file["goes"]
    }
    assert written["summary"]["groups"] == 2
    assert written["complete"]


def test_what_a_scan_is_asked_for_as_well_may_go_by_its_plan(tmp_path: Path) -> None:
    photos, file = tmp_path / "photos", tmp_path / "copies.plan"
    photos.mkdir()
    photo = photo_like(6, 960, 720)
    (photos / "whole.jpg").write_bytes(encoded(photo, quality=95))
    (photos / "cut.jpg").write_bytes(encoded(photo[30:-30, 40:-40].copy()))
    planned = []
    for also in ((), ("--also", "cropped")):
        scan("--plan", file, *also, photos, state=tmp_path / "state")
        written = json.loads(file.read_text())
        planned.append([one["path"] for group in written["groups"] for one in group["goes"]])
    assert planned == [[], [str(photos / "cut.jpg")]]
    assert written["verdicts"] == ["identical", "same", "cropped"]


def test_a_scan_that_wrote_a_plan_proposes_to_apply_it(photos: Path, tmp_path: Path) -> None:
    """Not itself with other flags, which would write over the plan."""
    file = tmp_path / "my copies.plan"
    *before, last = run("scan", "--plan", file, photos, state=tmp_path / "state").stderr.decode().splitlines()
    assert last.endswith(f"; `dupwatch apply '{file}'` carries it out")
    assert not any("dupwatchd scan" in line for line in before)
    empty = run("scan", "--plan", file, photos / "phone", state=tmp_path / "state").stderr.decode()
    assert "0 files of 0 groups would go" in empty
    assert "dupwatch apply" not in empty


def test_a_plan_of_a_scan_names_what_is_wrong_before_it_reads_anything(photos: Path, tmp_path: Path) -> None:
    refused = run("scan", "--plan", tmp_path / "plan", "--also", "similar", photos, state=tmp_path / "state")
    assert refused.returncode == 2
    assert b"similar pictures are never copies" in refused.stderr
    config = tmp_path / "dupwatch.toml"
    config.write_text('[plan]\nprotect = ["/no/such/folder"]\n')
    missing = run("scan", "--plan", tmp_path / "plan", "--config", config, photos, state=tmp_path / "state")
    assert missing.returncode == 2
    assert b"/no/such/folder" in missing.stderr
    config.write_text('[plan]\nkeep = ["best first"]\n')
    wrong = run("scan", "--config", config, photos, state=tmp_path / "state")
    assert wrong.returncode == 2
    assert b"setting plan.keep: keep rule 'best first': allowed are folder" in wrong.stderr
    assert not (tmp_path / "plan").exists()


def test_how_many_files_a_protected_folder_holds_is_said(service: Service, photos: Path) -> None:
    flags = ["--protect", str(photos / "phone"), "--reference", str(photos / "inbox")]
    command = [sys.executable, "-m", "dupwatch", "--endpoint", service.endpoint, "plan", "--json", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"3 files under {photos}/phone: protected, none of them goes" in done.stderr
    assert f"3 files under {photos}/inbox: reference, none of them goes" in done.stderr


def test_a_plan_waits_until_all_that_seems_the_same_was_looked_at_closely(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    root.mkdir()
    for seed in range(12):
        picture = photo_like(seed, 960, 720)
        (root / f"{seed}.jpg").write_bytes(encoded(picture))
        (root / f"{seed} small.jpg").write_bytes(encoded(np.asarray(Image.fromarray(picture).resize((640, 480)))))
    with Service(tmp_path / "service", root) as running:
        running.settled()
        command = [sys.executable, "-m", "dupwatch", "--endpoint", running.endpoint, "plan", "--json"]
        done = subprocess.run(command, capture_output=True, check=True)
        made = json.loads(done.stdout)
        assert running.ask("status")["to_confirm"] == 0
    assert (made["summary"]["files"], made["complete"], made["incomplete_because"]) == (12, True, [])
