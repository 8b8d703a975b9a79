"""What a plan does with RAW photos and the JPEGs beside them, with bursts, and with metadata that would be lost."""

import io
import json
import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import numpy as np
import pytest
from PIL import Image

from dupwatch.client import Client
from dupwatch.review.library import Library
from dupwatch.review.rules import Rule, propose
from tests.conftest import encoded, photo_like
from tests.index.files import dng
from tests.system.service import Service, until
from tests.system.test_scan import run

Settings = dict[str, Any]


def shot(seed: int) -> tuple[bytes, bytes]:
    """A RAW photo, and the JPEG that a camera writes beside it."""
    picture = photo_like(seed, 640, 480)
    return dng(encoded(picture), (640, 480), (640, 480), 1, seed), encoded(picture, quality=95)


def tagged(
    seed: int,
    taken: str = "",
    stars: int = 0,
    camera: str = "Lumen",
    quality: int = 92,
    keywords: str = "",
    caption: str = "",
    xmp: bytes = b"",
) -> bytes:
    """A JPEG with these metadata."""
    exif = Image.Exif()
    if camera:
        exif[0x010F], exif[0x0110] = camera, "L1"
    if taken:
        exif.get_ifd(0x8769)[0x9003] = taken
    if stars:
        exif[0x4746] = stars
    if keywords:
        exif[0x9C9E] = keywords.encode("utf-16-le")
    if caption:
        exif[0x010E] = caption
    return encoded(photo_like(seed, 800, 600), quality=quality, exif=exif, xmp=xmp)


def put(root: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def going(service: Service, **args: Any) -> set[str]:
    root = os.fsencode(service.roots[0])
    groups = service.ask("plan", **args)["groups"]
    return {os.fsdecode(os.path.relpath(file["path"], root)) for one in groups for file in one["files"] if file["goes"]}


def confirmed(service: Service) -> bool:
    """Has everything that is the same been looked at closely?"""
    files = [file for one in service.clusters() for file in one["files"]]
    return bool(files) and all(file["confirmed"] is not None for file in files if file["verdict"] == "same")


def test_a_raw_photo_and_the_jpeg_beside_it_are_not_copies_of_each_other(tmp_path: Path) -> None:
    raw, jpeg = shot(1)
    put(tmp_path / "photos", {"a/IMG_1.DNG": raw, "a/img_1.jpg": jpeg})
    with Service(tmp_path / "service", tmp_path / "photos") as service:
        service.settled()
        until(lambda: confirmed(service))
        assert len(service.clusters()) == 1
        assert going(service) == set()
        assert going(service, policy={"pairs": True}) == {"a/img_1.jpg"}


def test_a_raw_photo_that_is_read_like_a_tiff_is_one_all_the_same(tmp_path: Path) -> None:
    picture = photo_like(9, 640, 480)
    put(tmp_path / "photos", {"a/1.dng": encoded(picture, "TIFF"), "a/1.jpg": encoded(picture, quality=95)})
    with Service(tmp_path / "service", tmp_path / "photos") as service:
        service.settled()
        until(lambda: confirmed(service))
        assert len(service.clusters()) == 1
        assert going(service) == set()
        assert going(service, policy={"pairs": True}) == {"a/1.jpg"}


def test_a_shot_goes_whole_or_not_at_all(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    raw, jpeg = shot(2)
    alone, beside = shot(3)
    put(root, {
        "card/1.dng": raw, "card/1.jpg": jpeg, "backup/old/1.dng": raw, "backup/old/1.jpg": jpeg,
        "card/2.dng": alone, "card/2.jpg": beside, "sent/2 again.jpg": beside,
    })  # fmt: skip
    with Service(tmp_path / "service", root) as service:
        service.settled()
        until(lambda: confirmed(service))
        whole = {"backup/old/1.dng", "backup/old/1.jpg"}
        assert going(service) == {*whole, "sent/2 again.jpg"}
        # the JPEG elsewhere is to be kept: then the one beside the RAW photo, which stays, does not go for it
        assert going(service, policy={"keep": [f"folder {root}/sent"]}) == {*whole, "sent/2 again.jpg"}
        # one of a shot is protected: the other one stays as well
        protected = going(service, policy={"keep_files": [os.fsencode(root / "backup/old/1.jpg")]})
        assert protected == {"card/1.dng", "card/1.jpg", "sent/2 again.jpg"}
        steps = service.ask("explain", path=os.fsencode(root / "card/2.jpg"))["steps"]
        assert any("family" in step for step in steps) or "stays" in steps[-1]
        marked = {file["path"] for one in service.clusters() for file in one["files"] if file["may_go"]}
        assert {os.fsdecode(os.path.relpath(path, os.fsencode(root))) for path in marked} == going(service)


@pytest.mark.parametrize("seconds", [1, 9])
def test_photos_of_a_burst_are_held_back(tmp_path: Path, seconds: int) -> None:
    """Nothing moves between two of them, so that only their times tell them apart."""
    files = {f"{n}.jpg": tagged(4, f"2024:05:01 10:11:{10 + n * seconds}", quality=92 - n) for n in range(2)}
    put(tmp_path / "photos", files)
    with Service(tmp_path / "service", tmp_path / "photos") as service:
        service.settled()
        until(lambda: confirmed(service) or not service.clusters())
        assert going(service) == set()
        assert going(service, policy={"ask_when": []}) == set()
        if service.clusters():
            assert len(going(service, policy={"ask_when": [], "bursts": True})) == 1
            explained = [service.ask("explain", path=os.fsencode(tmp_path / "photos" / name)) for name in files]
            assert sum("but both are shots of one burst" in " ".join(one["steps"]) for one in explained) == 1


def test_what_would_lose_its_rating_is_asked_about(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    taken = "2024:05:01 10:11:12"
    put(root, {"best.jpg": tagged(5, taken, quality=95), "rated.jpg": tagged(5, taken, stars=5, quality=88)})
    best, rated = (root / name for name in ("best.jpg", "rated.jpg"))
    os.utime(best, (1, 1))
    with Service(tmp_path / "service", root) as service:
        service.settled()
        until(lambda: confirmed(service))
        [group] = service.ask("plan")["groups"]
        assert group["asked"] == "best.jpg, which stays, lacks what rated.jpg has: rating"
        assert [(file["goes"], file["lacks"]) for file in group["files"]] == [(False, []), (False, ["rating"])]
        assert going(service, policy={"ask_when": []}) == {"rated.jpg"}
        assert going(service, policy={"keep": ["metadata most"]}) == {"best.jpg"}
        steps = service.ask("explain", path=os.fsencode(rated))["steps"]
        assert steps[-1] == (
            f"it would go because {best}, which lacks rating, stays, but a person has to look first: {group['asked']}"
        )
        steps = service.ask("explain", path=os.fsencode(rated), policy={"keep": ["metadata most"]})["steps"]
        assert steps[-1] == "it stays: it comes first"
        assert f"it comes before {best}: most metadata (camera Lumen L1" in steps[2]
        assert "rating 5 stars; the other: camera" in steps[2]


def test_what_would_lose_what_it_tells_is_asked_about(tmp_path: Path) -> None:
    """In an index made before that was read it is read again, and until then nothing goes."""
    root, taken = tmp_path / "photos", "2024:05:01 10:11:12"
    anna = b'<rdf:Description mwg-rs:Name="Anna"/>'
    put(root, {
        "1/best.jpg": tagged(5, taken, quality=95),
        "1/named.jpg": tagged(5, taken, quality=80, keywords="sea"),
        "2/best.jpg": tagged(7, taken, quality=95, caption="SONY DSC"),
        "2/told.jpg": tagged(7, taken, quality=80, caption="By the sea", xmp=anna),
        "3/best.jpg": tagged(8, taken, quality=95, caption="Late"),
        "3/other.jpg": tagged(8, taken, quality=80, caption="By the sea"),
        "4/a.jpg": tagged(6, taken, quality=95, caption="By the sea", xmp=anna),
        "4/b.jpg": tagged(6, taken, quality=80, caption="by the sea"),
    })  # fmt: skip
    with Service(tmp_path / "service", root) as service:
        service.settled()
        until(lambda: confirmed(service))
        groups = service.ask("plan")["groups"]
        asked = {group["asked"] for group in groups}
        assert asked == {
            None,
            "best.jpg, which stays, lacks what named.jpg has: keywords",
            "best.jpg, which stays, lacks what told.jpg has: caption, people",
            'other.jpg has the caption "By the sea", best.jpg "Late"',
        }
        assert [] in (file["lacks"] for group in groups for file in group["files"])
        assert ["caption", "people"] in (file["lacks"] for group in groups for file in group["files"])
        rule = {"keep": ["metadata most"], "ask_when": ["lacks metadata"]}
        assert going(service, policy=rule) == {"1/best.jpg", "2/best.jpg", "4/b.jpg"}
        steps = service.ask("explain", path=os.fsencode(root / "2/told.jpg"))["steps"]
        assert steps[-1].endswith("which stays, lacks what told.jpg has: caption, people")
        [told] = [one for group in service.clusters(details=True) for one in group["files"] if b"told" in one["path"]]
        assert (told["captions"], told["people"]) == (["By the sea"], ["Anna"])
    with closing(apsw.Connection(str(service.state / "dupwatch.sqlite"))) as database:
        database.execute("UPDATE content SET keywords = NULL, captions = NULL, people = ''")
    with service:
        until(lambda: going(service) == {"4/b.jpg"})
        assert {group["asked"] for group in service.ask("plan")["groups"]} == asked


FILM = b"\0\0\0\x18ftypmp42" + b"film" * 9999


def test_what_holds_more_bits_a_film_or_is_transparent_is_kept_or_asked_about(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    deep: Any = np.kron(photo_like(3, 320, 240)[..., 0].astype(np.uint16), np.ones((2, 2), np.uint16)) * 257 + 3
    grain = np.random.default_rng(1).integers(
        -1, 2, deep.shape
    )  # else they are one picture, of which nothing is certain
    flat = ((deep >> 8) + grain).clip(0, 255).astype(np.uint8)
    photo = photo_like(4, 640, 480)
    glass = np.dstack([photo, np.full(photo.shape[:2], 255, np.uint8)])
    glass[:40, :40, 3] = 250
    over_white = photo * (glass[..., 3:] / 255) + (255 - glass[..., 3:]) + grain[..., None]
    over_white = over_white.clip(0, 255).round().astype(np.uint8)
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Lumen", "L1"
    exif.get_ifd(0x8769)[0x9003] = "2024:05:01 10:11:12"
    put(root, {
        "1/deep.png": encoded(deep, "PNG"), "1/flat.png": encoded(flat, "PNG", compress_level=1),
        "2/deep.tif": encoded(deep[::-1].copy(), "TIFF"), "2/camera.jpg": encoded(flat[::-1].copy(), exif=exif),
        "3/glass.png": encoded(glass, "PNG"), "3/white.png": encoded(over_white, "PNG", compress_level=1),
        "4/moving.jpg": encoded(photo_like(5, 640, 480), quality=88) + FILM,
        "4/finer.jpg": encoded(photo_like(5, 640, 480), quality=97),
    })  # fmt: skip
    for path in root.rglob("*.*"):
        late = path.stem in ("deep", "glass", "moving")  # times speak against them
        os.utime(path, (2 * 10**9, 2 * 10**9) if late else (10**9, 10**9))
    with Service(tmp_path / "service", root) as service:
        service.settled()
        until(lambda: confirmed(service))
        assert going(service) == {"1/flat.png", "3/white.png"}
        reasons = {one["reason"] for group in service.clusters() for one in group["files"]}
        assert {"more bits a colour", "fewer bits a colour", "without its transparency"} <= reasons
        asked = [group["asked"] for group in service.ask("plan")["groups"] if group["asked"]]
        assert asked == ["camera.jpg, which stays, lacks what deep.tif has: depth"]
        held = {one["path"]: one["holds"] for group in service.clusters(details=True) for one in group["files"]}
        assert [os.path.basename(path) for path, names in held.items() if names == ["film"]] == [b"moving.jpg"]
        steps = service.ask("explain", path=os.fsencode(root / "4/moving.jpg"))["steps"]
        assert any("lacks what this one holds beside the picture: film" in step for step in steps)


@pytest.mark.parametrize(
    "sidecar", ["its name.xmp", "its name.jpg.XMP", "its name.AAE", "its name.jpg.supplemental-metadata.json"]
)
def test_of_two_equal_files_the_one_with_a_sidecar_stays(tmp_path: Path, sidecar: str) -> None:
    root, data = tmp_path / "photos", tagged(6)
    put(root, {"a.jpg": data, "spare/its name.jpg": data, f"spare/{sidecar}": b"rating 5"})
    for path in root.rglob("*.jpg"):
        os.utime(path, (1, 1))
    with Service(tmp_path / "service", root) as service:
        service.settled()
        assert going(service) == {"a.jpg"}
        kept, other = service.clusters()[0]["files"]
        assert (kept["reason"], other["reason"]) == ("a sidecar beside it", "no sidecar beside it")
        steps = service.ask("explain", path=os.fsencode(root / "a.jpg"))["steps"]
        assert any("no sidecar beside it (none; the other: there is one)" in step for step in steps)


def test_explain_says_what_the_plan_does(tmp_path: Path) -> None:
    """Of a file that is held back for what lies beside it, and of one with which something goes along."""
    root, told = tmp_path / "photos", b'{"title": "IMG.jpg"}'
    pictures = {name: tagged(seed) for seed, name in enumerate(("held", "shared", "whole"), 1)}
    put(root, {f"{name}.jpg": data for name, data in pictures.items()})
    put(root, {f"takeout/{name}.jpg": data for name, data in pictures.items()})
    put(root, {
        "takeout/held.jpg.supplemental-metadata.json": told, "takeout/whole.jpg.json": told, "whole.jpg.json": told,
        "takeout/shared.jpg.json": told, "takeout/shared-edited.jpg": tagged(9),
    })  # fmt: skip
    with Service(tmp_path / "service", root) as service:
        service.settled()

        def asked(*arguments: str) -> Any:
            command = [sys.executable, "-m", "dupwatch", "--endpoint", service.endpoint, "plan", *arguments, "--json"]
            done = subprocess.run(command, capture_output=True, check=False, text=True)
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout)

        flags = "--keep", "path shortest", "--now"
        plan = asked(*flags)
        gone = {os.path.basename(one["path"]) for group in plan["groups"] for one in group["goes"]}
        assert gone == {"shared.jpg", "whole.jpg", "whole.jpg.json"}
        [held] = plan["held_back"]
        for name, is_gone in (("held", False), ("shared", True), ("whole", True)):
            explained = asked(*flags, "--explain", str(root / f"takeout/{name}.jpg"))
            assert explained["goes"] is is_gone
            stays = f"because {root}/{name}.jpg stays"
            assert (
                explained["steps"][-1]
                == {
                    "held": f"it would go {stays}, but it is held back: {held['because']}",
                    "shared": f"it goes {stays}",
                    "whole": f"{root}/takeout/whole.jpg.json goes along",
                }[name]
            )
        assert asked(*flags, "--explain", str(root / "held.jpg"))["goes"] is False


def test_answers_mark_what_a_plan_holds_back(tmp_path: Path) -> None:
    """The table, JSON and bare paths of both programs, their sums, and the page."""
    root, state = tmp_path / "photos", tmp_path / "state"
    pictures = {name: tagged(seed) for seed, name in enumerate(("held", "movie", "shared", "alone"), 1)}
    put(root, {f"kept/{name}.jpg": data for name, data in pictures.items()})
    put(root, {f"spare/{name}.jpg": data for name, data in pictures.items()})
    put(root, {
        "spare/held.jpg.dop": b"sharper", "spare/movie.mov": b"film", "kept/movie.mov": b"film",
        "spare/shared.xmp": b"rating 5", "spare/shared.png": tagged(9),
    })  # fmt: skip
    config = tmp_path / "dupwatch.toml"
    config.write_text(f'[plan]\nkeep = ["folder {root}/kept"]\n')
    scanned = run("scan", root, "--config", config, "--json", "--limit", "1", state=state)
    document = json.loads(scanned.stdout)
    assert len(document["clusters"]) == 1
    assert document["reclaimable_bytes"] == sum(len(pictures[name]) for name in ("movie", "shared", "alone"))
    assert document["reclaimable_at_most"]
    assert b"4 groups of copies, at most " in run("scan", root, "--config", config, state=state).stderr
    with Service(tmp_path / "service", root, config=config) as service:
        service.settled()

        def asked(*arguments: str) -> Any:
            command = [sys.executable, "-m", "dupwatch", "--endpoint", service.endpoint, *arguments, "--json"]
            return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)

        files = {
            os.path.basename(file["path"]).removesuffix(".jpg"): file  # the spare ones, which come later
            for cluster in asked("clusters")["clusters"]
            for file in cluster["files"]
        }
        plan = asked("plan", "--now")
        going = {one["path"] for group in plan["groups"] for one in group["goes"]}
        assert {file["path"] for file in files.values() if file["may_go"]} == going - {f"{root}/spare/movie.mov"}
        assert [(files["held"]["path"], files["held"]["held_back"])] == [
            (one["path"], one["because"]) for one in plan["held_back"]
        ]
        assert files["movie"]["undecided"] == "movie movie.mov: decided when a plan is made"
        assert files["movie"]["along"] == [f"{root}/spare/movie.mov"]
        undecided = {  # another picture has a share in that, and may be in a group that a filter leaves out
            file["undecided"]
            for cluster in asked("clusters", "--exact")["clusters"]
            for file in cluster["files"]
            if file["path"] == files["shared"]["path"]
        }
        assert undecided == {"sidecar shared.xmp: decided when a plan is made"}
        command = [sys.executable, "-m", "dupwatch", "--endpoint", service.endpoint, "clusters", "--print0", "--spare"]
        bare = subprocess.run(command, capture_output=True, check=True).stdout
        assert sorted(bare.split(b"\0")[:-1]) == sorted(
            os.fsencode(files[name]["path"]) for name in ("shared", "alone")
        )
        library = Library(1)
        with Client(service.endpoint) as client:
            library.read(client)
            proposal = propose(client, library, Rule(("identical", "same"), {}, None, None), None, {})
        rows = [file for row in library.rows for file in json.loads(row)["files"]]
        assert {file["path"] for file in rows if file.get("goes")} == going - {f"{root}/spare/movie.mov"}
        assert [file["held_back"] for file in rows if "held_back" in file] == [files["held"]["held_back"]]
        assert {os.fsdecode(path) for one in proposal.decisions for path in one.goes} == {
            file["path"] for file in files.values() if file["may_go"]
        }


def test_clusters_tell_details_if_asked(tmp_path: Path) -> None:
    data = tagged(6, "2024:05:01 10:11:12", stars=3)
    put(tmp_path / "photos", {"a.jpg": data, "b.jpg": data})
    with Service(tmp_path / "service", tmp_path / "photos") as service:
        service.settled()
        [cluster] = service.clusters(details=True)
        told = {"format": "JPEG", "camera": "Lumen L1", "captured": "2024-05-01T10:11:12", "has_place": False}
        for file in cluster["files"]:
            assert {**file, **told, "rating": 3, "frames": 1, "quality": 92} == file
            assert len(file["digest"]) == 32
        assert "digest" not in service.clusters()[0]["files"][0]


def test_a_file_that_is_gone_justifies_nothing(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    put(root, {"a/1.jpg": encoded(photo_like(7)), "b/1.jpg": encoded(photo_like(7))})
    with Service(tmp_path / "service", root) as service:
        service.settled()
        assert len(going(service)) == 1
        service.ask("pause")  # so that the index goes on to know the file
        shutil.rmtree(root / "a")
        assert service.ask("plan")["groups"] == []


def test_a_picture_without_camera_data_is_kept_before_a_jpeg_made_from_it(tmp_path: Path) -> None:
    """And a PNG that was made from a JPEG goes for that."""
    root = tmp_path / "photos"
    drawn, photo = photo_like(8, 640, 480), encoded(photo_like(9, 640, 480), quality=85)
    decoded = np.asarray(Image.open(io.BytesIO(photo)).convert("RGB"))
    put(root, {
        "drawn.png": encoded(drawn, "PNG"),
        "a drawn.jpg": encoded(drawn, quality=98), "b drawn.jpg": encoded(drawn, quality=80),
        "photo.jpg": photo, "a photo.png": encoded(decoded, "PNG"), "b photo.tif": encoded(decoded, "TIFF"),
    })  # fmt: skip
    for name in ("drawn.png", "photo.jpg"):
        os.utime(root / name, (2_000_000_000, 2_000_000_000))  # times speak against both
    with Service(tmp_path / "service", root) as service:
        service.settled()
        until(lambda: confirmed(service))
        kept = {os.path.basename(one["files"][0]["path"]) for one in service.clusters()}
        assert kept == {b"drawn.png", b"photo.jpg"}
