"""Files of one picture with other bytes: what goes is what is equal in all pixels, by a service and by a scan."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.compare.altered import page
from tests.conftest import encoded, photo_like
from tests.index.files import deep_png
from tests.index.profiles import display_p3
from tests.system.in_process import scan
from tests.system.service import Service


def pages(compression: str) -> bytes:
    buffer = io.BytesIO()
    some = [Image.fromarray(photo_like(seed, 200, 280)) for seed in (30, 31, 32)]
    some[0].save(buffer, "TIFF", save_all=True, append_images=some[1:], compression=compression)
    return buffer.getvalue()


def animation(kind: str, milliseconds: int = 80, **options: Any) -> bytes:
    buffer = io.BytesIO()
    some = [Image.fromarray(photo_like(seed, 120, 90) // 64 * 64) for seed in (40, 41, 42)]
    some[0].save(buffer, kind, save_all=True, append_images=some[1:], duration=milliseconds, loop=0, **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("one picture") / "photos"
    root.mkdir()
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Lumen", "L1"
    exif.get_ifd(0x8769)[0x9003] = "2024:05:01 10:11:12"
    taken, grey = photo_like(1, 800, 600), photo_like(2, 800, 600)[..., :1].repeat(3, axis=2)
    small = encoded(photo_like(3, 150, 110))
    wide = photo_like(4, 800, 600)
    lossy = encoded(photo_like(7, 640, 480), "WEBP", quality=80)
    files = {
        "taken.jpg": encoded(taken, exif=exif),
        "taken optimised.jpg": encoded(taken, progressive=True, optimize=True),
        "grey.jpg": encoded(grey),
        "grey again.jpg": encoded(grey[..., 0], quality=92),
        "small.jpg": small,
        "small.png": encoded(np.asarray(Image.open(io.BytesIO(small))), "PNG"),
        "pages.tif": pages("raw"),
        "pages packed.tif": pages("tiff_adobe_deflate"),
        "film.gif": animation("GIF"),
        "film.webp": animation("WEBP", lossless=True),
        "slower film.webp": animation("WEBP", 90, lossless=True),
        "wide.jpg": encoded(wide, icc_profile=display_p3()),
        "wide without profile.jpg": encoded(wide, progressive=True),
        "wide stripped.jpg": encoded(wide),
        "still of a motion photo.jpg": encoded(photo_like(5, 640, 480)),
        "motion photo.jpg": encoded(photo_like(5, 640, 480)) + b"film" * 9999,
        "still.jpg": encoded(photo_like(8, 640, 480)),  # older than the same with a film
        "moving.jpg": encoded(photo_like(8, 640, 480)) + FILM,
        "moving otherwise.jpg": encoded(photo_like(8, 640, 480)) + FILM.replace(b"film", b"fihm"),
        "fine.png": deep_png(photo_like(6, 640, 480)),
        "fine in 8 bits.png": encoded(photo_like(6, 640, 480), "PNG"),
        "as fine, but not equal.png": deep_png(photo_like(6, 640, 480), finer=True),
        "page.jpg": encoded(page("4711")),
        "of a webp.png": encoded(np.asarray(Image.open(io.BytesIO(lossy)).convert("RGB")), "PNG"),
        "lossy.webp": lossy,
    }
    for number, (name, data) in enumerate(files.items()):
        (root / name).write_bytes(data)
        os.utime(root / name, (1_700_000_000 + number, 1_700_000_000 + number))
    return root


FILM = b"\0\0\0\x18ftypmp42" + b"film" * 9999
GOING = {
    "taken optimised.jpg": "taken.jpg",
    "grey again.jpg": "grey.jpg",
    "small.png": "small.jpg",
    "pages packed.tif": "pages.tif",
    "film.gif": "film.webp",
    "still.jpg": "moving.jpg",
    "wide stripped.jpg": "wide without profile.jpg",
    "fine in 8 bits.png": "fine.png",
    "of a webp.png": "lossy.webp",
}


def going(plan: dict[str, Any]) -> dict[str, str]:
    return {
        os.path.basename(file["path"]): os.path.basename(file["held_by"])
        for one in plan["groups"]
        for file in one["goes"]
    }


def test_what_is_equal_in_all_pixels_goes_and_comes_back(photos: Path, tmp_path: Path) -> None:
    with Service(tmp_path / "service", photos) as running:
        running.settled()
        for sent, is_as_good in ((encoded(page("4711"), progressive=True), True), (encoded(page("4718")), False)):
            file = tmp_path / "sent.jpg"
            file.write_bytes(sent)
            found = {os.path.basename(row["path"]): row["as_good"] for row in running.find(file)}
            assert found.get(b"page.jpg", False) is is_as_good  # a page is not certain by its proof
        film = {os.path.basename(row["path"]): row["as_good"] for row in running.find(photos / "motion photo.jpg")}
        assert film == {b"motion photo.jpg": True, b"still of a motion photo.jpg": False}
        asked = {name: running.find(photos / name) for name in ("still.jpg", "moving.jpg")}
        good = {name: {os.path.basename(row["path"]) for row in rows if row["as_good"]} for name, rows in asked.items()}
        assert good == {
            "still.jpg": {b"still.jpg", b"moving.jpg", b"moving otherwise.jpg"},
            "moving.jpg": {b"moving.jpg"},
        }
        taken = np.asarray(Image.open(photos / "taken.jpg"))
        for pixels, is_as_good in ((taken, True), (photo_like(1, 800, 600), False)):
            file = tmp_path / "sent.png"
            file.write_bytes(encoded(pixels, "PNG"))
            [best, *_] = running.find(file)
            told = best["as_good"], best["verdict"], best["lacks"]
            assert told == (is_as_good, "same", None if is_as_good else "lower quality")
        command = [sys.executable, "-m", "dupwatch", "--endpoint", running.endpoint]
        plan = tmp_path / "copies.plan"
        subprocess.run([*command, "plan", "--out", plan], check=True, capture_output=True)
        by_service = json.loads(plan.read_text())
        assert running.ask("status")["to_confirm"] == 0
        names = {path.name: path.read_bytes() for path in photos.iterdir()}
        subprocess.run([*command, "apply", "--yes", plan], check=True, capture_output=True)
        assert {path.name for path in photos.iterdir() if path.is_file()} == names.keys() - GOING.keys()
        subprocess.run([*command, "undo", "--yes", plan], check=True, capture_output=True)
        assert {path.name: path.read_bytes() for path in photos.iterdir() if path.is_file()} == names
    assert going(by_service) == GOING
    assert by_service["complete"]
    scan("--plan", tmp_path / "scanned.plan", photos, state=tmp_path / "state")
    by_scan = json.loads((tmp_path / "scanned.plan").read_text())
    assert by_scan["groups"] == by_service["groups"]
