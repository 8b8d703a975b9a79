"""One file that shows everything without a server, and whose decisions `apply` takes."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import BrowserContext

from tests.conftest import photo_like
from tests.review.conftest import HOSTILE_NAME, NEEDS_BROWSER, names, wait_for, wait_until
from tests.system.service import Service

DUPWATCH = [sys.executable, "-m", "dupwatch"]


@pytest.fixture
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def report_of(service: Service, path: Path) -> str:
    done = subprocess.run(
        [*DUPWATCH, "report", "--html", path, "--endpoint", service.endpoint],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ""
    assert re.fullmatch(rf"dupwatch: \d+ groups are in {re.escape(str(path))}\n", done.stderr)
    return path.read_text()


def test_a_report_loads_nothing_and_is_its_users_alone(shared: Service, tmp_path: Path, own_folders: None) -> None:
    path = tmp_path / "copies.html"
    text = report_of(shared, path)
    assert path.stat().st_mode & 0o077 == 0
    assert not re.findall(r"""(?:src|href)=["'](?!#)""", text.split("<body>")[0])
    assert 'http-equiv="Content-Security-Policy" content="default-src &#x27;none&#x27;' in text
    assert HOSTILE_NAME not in text  # within JSON its first character is written otherwise
    assert os.listdir(tmp_path / "cache/dupwatch/previews")


def test_a_report_that_cannot_be_written_is_told_in_one_line(shared: Service, own_folders: None) -> None:
    done = subprocess.run(
        [*DUPWATCH, "report", "--html", "/nowhere/copies.html", "--endpoint", shared.endpoint],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "dupwatch: cannot write /nowhere/copies.html: No such file or directory\n"


def test_without_a_service_the_exit_status_of_a_report_says_so(tmp_path: Path, own_folders: None) -> None:
    done = subprocess.run(
        [*DUPWATCH, "report", "--html", tmp_path / "copies.html", "--endpoint", f"ipc://{tmp_path}/none.sock"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr.startswith("dupwatch: no service: ")) == (3, True)
    assert not (tmp_path / "copies.html").exists()


def test_a_report_replaces_nothing_but_a_report(shared: Service, tmp_path: Path, own_folders: None) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"a photo")
    done = subprocess.run(
        [*DUPWATCH, "report", "--html", photo, "--endpoint", shared.endpoint],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, photo.read_bytes()) == (1, b"a photo")
    assert "another file is there" in done.stderr
    path = tmp_path / "copies.html"
    assert report_of(shared, path)
    assert report_of(shared, path)


@NEEDS_BROWSER
def test_decisions_of_a_report_are_applied_by_the_client(
    service: Service, photos: Path, tmp_path: Path, context: BrowserContext, own_folders: None
) -> None:
    shutil.copy2(photos / "albums/2023/crop-10.jpg", photos / "backup/phone/crop-10 copy.jpg")
    os.link(photos / "albums/2021/identical-0.jpg", photos / "albums/2021/identical-0 link.jpg")
    wait_until(lambda: {"crop-10 copy.jpg", "identical-0 link.jpg"} <= set(service.shown()))
    text = report_of(service, tmp_path / "copies.html")
    assert f'"inode":"{os.stat(photos / "albums/2021/identical-0.jpg").st_ino}"' in text  # may be beyond a double
    context.set_offline(True)
    page = context.new_page()
    failed: list[str] = []
    page.on("pageerror", lambda error: failed.append(str(error)))
    page.on("console", lambda message: failed.append(message.text) if message.type == "error" else None)
    page.goto(f"file://{tmp_path}/copies.html")
    page.locator(".pane img").nth(1).wait_for()
    assert len(names(page)) >= 10
    wait_for(page, "[...document.querySelectorAll('.row:not([hidden]) img')].every((image) => image.naturalWidth > 0)")
    page.keyboard.press("r")  # rules need a service
    page.keyboard.press("?")
    keys = page.locator("dialog[open]").inner_text()
    assert "save the plan" in keys
    assert "rules" not in keys
    assert page.locator("dialog[open]").count() == 1
    page.keyboard.press("Escape")
    page.locator("dialog").wait_for(state="detached")
    page.keyboard.press("Enter")
    wait_until(lambda: page.locator("#progress-text").inner_text().startswith("1 of"))
    page.reload()
    page.locator(".pane img").nth(1).wait_for()
    wait_until(lambda: page.locator("#progress-text").inner_text().startswith("1 of"))
    page.locator("#kinds .chip", has_text="Same").click()
    page.locator("#row-0").click()
    page.keyboard.press("Enter")
    page.locator("#kinds .chip", has_text="Recoloured").click()
    page.locator("#row-0").click()
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    wait_until(lambda: page.locator("#progress-text").inner_text().startswith("3 of"))
    for kind, name in (("Identical", "crop-10"), ("Cropped", "crop-10"), ("Identical", "identical-0")):
        page.locator("#kinds .chip", has_text=kind).click()
        page.fill("#search", name)
        page.locator("#row-0").click()
        page.keyboard.press("1")  # what goes with a crop goes with the photo's copy as well; a link never goes
        page.keyboard.press("Enter")
    wait_until(lambda: page.locator("#progress-text").inner_text().startswith("6 of"))
    assert " · 7 files" in page.locator("#progress-text").inner_text()
    with page.expect_download() as download:
        page.keyboard.press("p")
    plan = tmp_path / "copies.plan"
    download.value.save_as(plan)
    assert failed == []

    planned = json.loads(plan.read_text())
    going = {file["path"]: file for group in planned["groups"] for file in group["goes"]}
    assert len(going) == sum(len(group["goes"]) for group in planned["groups"]) == 7
    assert all(os.stat(path).st_mtime_ns == file["mtime_ns"] for path, file in going.items())
    plan.chmod(0o600)
    done = subprocess.run(
        [*DUPWATCH, "apply", plan, "--yes", "--json", "--endpoint", service.endpoint],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not any(os.path.lexists(path) for path in going)
    assert (photos / "albums/2023/grey-8.jpg").exists()
    assert not (photos / "prints/grey-8 bw.jpg").exists()


def takeout(description: str, views: int) -> bytes:
    told = {"title": "a.jpg", "photoTakenTime": {"timestamp": "1690000000"}, "imageViews": str(views)}
    return json.dumps({**told, "description": description}).encode()


@pytest.fixture
def families(tmp_path: Path) -> Iterator[Service]:
    """Pairs of equal photos with something beside them; nothing lies beside those of `kept` but what is named."""
    root = tmp_path / "families"
    for seed, name in enumerate(("live", "film", "words", "other", "raw"), 20):
        for folder in ("kept", "spare"):
            path = root / folder / f"{name}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(photo_like(seed, 640, 480)).save(path, quality=90)
    beside = {
        "kept/live.mov": b"a film", "spare/live.mov": b"a film", "spare/film.mov": b"the only film",
        "kept/words.jpg.json": takeout("at sea", 5), "spare/words.jpg.json": takeout("at sea", 7),
        "kept/other.xmp": b"of stars: 2", "spare/other.xmp": b"of stars: 5",
        "spare/raw.xmp": b"of both", "spare/raw.cr2": b"no photo, but of that name",
    }  # fmt: skip
    for name, data in beside.items():
        (root / name).write_bytes(data)
    with Service(tmp_path / "service", root, DUPWATCH_PLAN__KEEP=json.dumps([f"folder {root}/kept"])) as running:
        running.settled()
        yield running


@NEEDS_BROWSER
def test_a_plan_of_a_report_takes_along_what_a_plan_of_the_service_does(
    families: Service, tmp_path: Path, context: BrowserContext, own_folders: None
) -> None:
    plan = tmp_path / "service.plan"
    subprocess.run([*DUPWATCH, "plan", "--out", plan, "--endpoint", families.endpoint], check=True, capture_output=True)
    report_of(families, tmp_path / "copies.html")
    page = context.new_page()
    page.goto(f"file://{tmp_path}/copies.html")
    page.locator(".pane img").nth(1).wait_for()
    for _ in range(5):
        page.keyboard.press("Enter")
    wait_until(lambda: page.locator("#progress-text").inner_text().startswith("5 of 5"))
    with page.expect_download() as download:
        page.keyboard.press("p")
    download.value.save_as(tmp_path / "report.plan")

    def told(path: Path) -> dict[str, tuple[Any, ...]]:
        names = (
            "blake3",
            "bytes",
            "mtime_ns",
            "inode",
            "device",
            "held_by",
            "verdict",
            "confirmed",
            "goes_with",
            "lacks",
        )
        goes = [file for group in json.loads(path.read_text())["groups"] for file in group["goes"]]
        return {os.path.relpath(file["path"], tmp_path): tuple(file.get(name) for name in names) for file in goes}

    assert told(tmp_path / "report.plan") == told(plan)
    assert {os.path.basename(path) for path in told(plan)} == {
        "live.jpg", "live.mov", "words.jpg", "words.jpg.json", "raw.jpg",
    }  # fmt: skip
    # What would be held back is told before anybody decides that it goes, and stands in the plan.
    for name, why in (("film", "movie film.mov"), ("live", ""), ("other", "sidecar other.xmp")):
        page.fill("#search", name)
        page.locator("#row-0").click()
        held = page.locator("#why", has_text="A plan holds it back")
        assert (f"it belongs to the {why}, of which no equal" in held.inner_text()) if why else held.count() == 0
        page.keyboard.press("1")
        page.keyboard.press("Enter")
    with page.expect_download() as download:
        page.keyboard.press("p")
    assert page.locator("#toast").inner_text().startswith("2 files stay although decided to go")
    download.value.save_as(tmp_path / "report.plan")
    held_back = {
        os.path.basename(one["path"]): one["because"]
        for one in json.loads((tmp_path / "report.plan").read_text())["held_back"]
    }
    assert set(held_back) == {"film.jpg", "other.jpg"}
    (tmp_path / "report.plan").chmod(0o600)
    done = subprocess.run(
        [*DUPWATCH, "apply", tmp_path / "report.plan", "--yes", "--endpoint", families.endpoint],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    spare = tmp_path / "families/spare"
    assert sorted(os.listdir(spare)) == ["film.jpg", "film.mov", "other.jpg", "other.xmp", "raw.cr2", "raw.xmp"]
