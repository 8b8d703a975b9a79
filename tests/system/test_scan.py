"""The command on real files: what a user sees, and what comes of a scan."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from dupwatch.terminal import human_bytes
from tests.conftest import WITH_PLAIN_RIGHTS, encoded, photo_like
from tests.system import in_process

COMMAND = [sys.executable, "-m", "dupwatchd"]


def run(*arguments: object, state: Path, **options: Any) -> "subprocess.CompletedProcess[bytes]":
    environment = {**os.environ, "DUPWATCH_STATE": str(state), "COLUMNS": "200"}
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, env=environment, check=False, **options
    )


def scan(*arguments: object, state: Path, status: int = 0) -> dict[str, Any]:
    done = run("scan", "--json", *arguments, state=state)
    assert done.returncode == status, done.stderr.decode()
    return dict(json.loads(done.stdout))


def names(document: dict[str, Any]) -> list[set[str]]:
    """The clusters as sets of file names, in no order."""
    clusters = [{os.path.basename(file["path"]) for file in cluster["files"]} for cluster in document["clusters"]]
    return sorted(clusters, key=sorted)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def made_photos(root: Path) -> Path:
    """Three photos with copies of several kinds, and one alone."""
    (root / "phone").mkdir(parents=True)
    one, two, three, alone = (photo_like(seed, 480, 360) for seed in (1, 2, 3, 4))
    (root / "one.jpg").write_bytes(encoded(one))
    (root / "phone" / "one again.jpg").write_bytes(encoded(one))
    (root / "one small.jpg").write_bytes(encoded(np.asarray(Image.fromarray(one).resize((240, 180)))))
    (root / "two.png").write_bytes(encoded(two, "PNG"))
    (root / "two turned.jpg").write_bytes(encoded(np.rot90(two, -1).copy()))
    (root / "three.jpg").write_bytes(encoded(three))
    (root / "three mirrored.jpg").write_bytes(encoded(three[:, ::-1].copy()))
    (root / "alone.jpg").write_bytes(encoded(alone))
    return root


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Photos to be done anything to."""
    return made_photos(tmp_path / "photos")


class Scanned(NamedTuple):
    """Photos that nobody changes, their index, and what the scan that made it said."""

    photos: Path
    state: Path
    document: dict[str, Any]


@pytest.fixture(scope="module")
def scanned_once(tmp_path_factory: pytest.TempPathFactory) -> Scanned:
    place = tmp_path_factory.mktemp("once")
    photos = made_photos(place / "photos")
    return Scanned(photos, place / "state", scan("--confirm", photos, state=place / "state"))


@pytest.fixture
def scanned(scanned_once: Scanned, tmp_path: Path) -> Scanned:
    """The same with an index to be done anything to."""
    shutil.copytree(scanned_once.state, tmp_path / "scanned")
    return scanned_once._replace(state=tmp_path / "scanned")


COPIES = [{"one.jpg", "one again.jpg", "one small.jpg"}, {"two.png", "two turned.jpg"}]


def test_copies_are_found_and_the_document_is_as_promised(scanned_once: Scanned) -> None:
    document = scanned_once.document
    assert names(document) == sorted(COPIES, key=sorted)
    assert (document["measure"], document["threshold"], document["total_clusters"]) == ("structure", 0.02, 2)
    assert document["verdicts"] == ["identical", "same"]
    assert document["also"] == dict.fromkeys(["cropped", "retouched", "recoloured", "similar"], 0)
    assert document["failed"] == []
    assert (document["complete"], document["pending"], document["incomplete_because"]) == (True, 0, [])
    for cluster in document["clusters"]:
        assert set(cluster) == {"id", "reclaimable_bytes", "files"}
        kept = [file for file in cluster["files"] if file["keep"]]
        assert len(kept) == 1
        assert kept[0] == cluster["files"][0]
        assert cluster["reclaimable_bytes"] == sum(file["bytes"] for file in cluster["files"][1:])
        for file in cluster["files"]:
            assert set(file) == {
                "path", "bytes", "width", "height", "mse", "structure", "turn", "mirrored", "verdict", "confirmed",
                "shows_more", "outline", "same_file_as", "damaged", "may_go", "keep", "reason", "choice", "returned",
                "held_by", "held_back", "undecided", "along",
            }  # fmt: skip
            assert (file["may_go"], file["confirmed"], file["damaged"]) == (not file["keep"], True, False)
            assert file["bytes"] == os.path.getsize(file["path"])
            assert file["structure"] <= 0.02
    files = {os.path.basename(file["path"]): file for cluster in document["clusters"] for file in cluster["files"]}
    assert (files["one.jpg"]["width"], files["one.jpg"]["height"]) == (480, 360)
    verdicts = {name: files[name]["verdict"] for name in ("one.jpg", "one again.jpg", "one small.jpg")}
    assert verdicts == {"one.jpg": "identical", "one again.jpg": "identical", "one small.jpg": "same"}
    assert {file["same_file_as"] for file in files.values()} == {None}
    assert files["one small.jpg"]["reason"] == "far fewer pixels"
    assert not files["one small.jpg"]["keep"]
    assert (files["two turned.jpg"]["turn"], files["two turned.jpg"]["width"]) == (270, 360)
    assert files["two.png"]["keep"]


def test_mirror_images_are_copies_once_asked_for_even_on_an_old_index(scanned: Scanned) -> None:
    photos, state, _ = scanned
    document = in_process.scan("--mirrored", photos, state=state)
    assert {"three.jpg", "three mirrored.jpg"} in names(document)
    [mirrored] = [f for c in document["clusters"] for f in c["files"] if f["mirrored"]]
    assert mirrored["turn"] == 0
    assert names(in_process.scan(photos, state=state)) == sorted(COPIES, key=sorted)


def test_measure_and_threshold_are_asked_of_one_index(scanned: Scanned) -> None:
    photos, state, _ = scanned
    document = in_process.scan("--measure", "mse", "--threshold", "0.5", photos, state=state)
    assert (document["measure"], document["threshold"]) == ("mse", 0.5)
    assert {"one.jpg", "one again.jpg"} <= names(document)[0]
    assert names(in_process.scan("--measure", "mse", photos, state=state)) == sorted(COPIES, key=sorted)


def test_a_second_scan_reads_nothing_that_did_not_change(photos: Path, state: Path) -> None:
    first = in_process.scan(photos, state=state)
    for path in photos.rglob("*.jpg"):
        stamp = path.stat()
        path.write_bytes(b"x" * stamp.st_size)  # whoever reads it again will see
        os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert in_process.scan(photos, state=state) == first


def test_a_scan_without_news_and_copies_loads_no_array_library(photos: Path, state: Path) -> None:
    scan(photos / "phone", state=state)
    environment = {**os.environ, "DUPWATCH_STATE": str(state), "PYTHONPROFILEIMPORTTIME": "1"}
    arguments = ["scan", "--json", str(photos / "phone")]
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, env=environment, check=True)
    assert b"apsw" in done.stderr
    assert b"numpy" not in done.stderr


def test_a_folder_that_may_not_be_listed_is_told_and_is_no_wrong_usage(tmp_path: Path, state: Path) -> None:
    (tmp_path / "locked").mkdir(0)
    command = [*WITH_PLAIN_RIGHTS, *COMMAND, "scan", "--state", str(state), str(tmp_path / "locked")]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 1
    assert f"cannot list {tmp_path}/locked: Permission denied".encode() in done.stderr


def test_changes_between_scans_are_taken_over(photos: Path, state: Path) -> None:
    in_process.scan(photos, state=state)
    (photos / "two turned.jpg").unlink()  # gone
    (photos / "one.jpg").rename(photos / "phone" / "moved.jpg")  # moved
    shutil.copy(photos / "alone.jpg", photos / "phone" / "alone copy.jpg")  # new
    (photos / "three.jpg").write_bytes((photos / "two.png").read_bytes())  # other content under an old name
    document = in_process.scan(photos, state=state)
    expected = [
        {"moved.jpg", "one again.jpg", "one small.jpg"},
        {"alone.jpg", "alone copy.jpg"},
        {"two.png", "three.jpg"},
    ]
    assert names(document) == sorted(expected, key=sorted)
    assert names(in_process.scan(photos, state=state.parent / "fresh")) == names(document)


def test_a_moved_file_costs_no_decoding(photos: Path, state: Path) -> None:
    in_process.scan(photos, state=state)
    shutil.move(photos, photos.with_name("elsewhere"))
    # with room for no decoder at all, everything that is not known would fail
    environment = {"DUPWATCH_INDEX__MAX_PIXELS": "1"}
    os.environ.update(environment)
    try:
        document = in_process.scan(photos.with_name("elsewhere"), state=state)
    finally:
        for name in environment:
            del os.environ[name]
    assert names(document) == sorted(COPIES, key=sorted)
    assert document["failed"] == []


def test_two_folders_of_one_index_are_compared_with_each_other(scanned: Scanned, tmp_path: Path) -> None:
    photos, state, _ = scanned
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(photos / "alone.jpg", other / "from camera.jpg")
    document = in_process.scan(other, state=state)
    assert names(document) == [{"alone.jpg", "from camera.jpg"}]  # only clusters that touch the folder asked for


def test_roots_inside_roots_and_given_twice_count_once(scanned_once: Scanned, state: Path) -> None:
    photos = scanned_once.photos
    document = in_process.scan(photos, photos / "phone", photos, f"{photos}/../photos", state=state)
    assert (names(document), document["files"]) == (sorted(COPIES, key=sorted), 8)


def test_hard_links_are_one_content_free_nothing_and_are_counted_once(photos: Path, state: Path) -> None:
    os.link(photos / "alone.jpg", photos / "alone link.jpg")
    os.link(photos / "one small.jpg", photos / "one small link.jpg")
    document = in_process.scan("--confirm", photos, state=state)
    [cluster] = [c for c in document["clusters"] if "alone" in c["files"][0]["path"]]
    assert cluster["reclaimable_bytes"] == 0
    kept, link = cluster["files"]
    assert link["reason"] == "hard link of the kept file"
    assert (kept["same_file_as"], link["same_file_as"]) == (None, kept["path"])
    assert b"hard link of the kept file" in in_process.run("scan", photos, state=state).stdout
    assert b"alone" not in in_process.run("scan", "--print0", "--spare", photos, state=state).stdout
    [cluster] = [c for c in document["clusters"] if c["files"][0]["path"].endswith("/one.jpg")]
    small, link = (file for file in cluster["files"] if "small" in file["path"])
    assert (small["same_file_as"], link["same_file_as"]) == (None, small["path"])
    assert cluster["reclaimable_bytes"] == os.path.getsize(photos / "one.jpg") + small["bytes"]


def test_after_the_groups_one_line_sums_up_and_names_the_next_command(photos: Path, state: Path) -> None:
    (photos / "cut.jpg").write_bytes((photos / "one.jpg").read_bytes()[:2000])
    done = run("scan", photos, state=state)
    asked = run("scan", "--json", photos, state=state)
    reclaimable_bytes = json.loads(asked.stdout)["reclaimable_bytes"]
    assert asked.stderr == b""
    assert done.stderr.decode() == (
        f"dupwatchd: 9 photos, 2 groups of copies, {human_bytes(reclaimable_bytes)} to win, 1 unreadable; "
        f"`dupwatchd scan {photos} --print0 --spare | xargs -0r ls -l` lists the files that can go\n"
    )
    [command] = re.findall(r"`dupwatchd (.*?) \|", done.stderr.decode())
    assert b"one small.jpg" in run(*command.split(), state=state).stdout


def test_a_limit_shows_some_groups_and_sums_up_all(scanned: Scanned) -> None:
    photos, state, every = scanned
    one, none = (in_process.scan("--limit", n, photos, state=state) for n in (1, 0))
    assert one == {**every, "clusters": every["clusters"][:1]}
    assert none == {**every, "clusters": []}
    assert (every["total_clusters"], len(every["clusters"])) == (2, 2)


def test_names_that_are_no_text_work_everywhere(photos: Path, state: Path) -> None:
    raw = os.fsencode(photos) + b"/caf\xe9\n\x1b[31m.jpg"
    shutil.copy(os.fsencode(photos / "alone.jpg"), raw)
    document = scan(photos, state=state)
    paths = {os.fsencode(f["path"]) for c in document["clusters"] for f in c["files"]}
    assert raw in paths
    listed = run("scan", "--print0", photos, state=state).stdout.split(b"\0")
    assert raw in listed
    assert listed[-1] == b""
    assert b"\x1b" not in run("scan", photos, state=state).stdout
    assert raw in run("scan", "--csv", photos, state=state).stdout


def test_spare_files_never_name_the_kept_one(scanned: Scanned) -> None:
    photos, state, document = scanned
    kept = {os.fsencode(f["path"]) for c in document["clusters"] for f in c["files"] if f["keep"]}
    spare = set(run("scan", "--print0", "--spare", photos, state=state).stdout.split(b"\0")) - {b""}
    assert spare == {os.fsencode(f["path"]) for c in document["clusters"] for f in c["files"]} - kept


def test_bad_files_are_listed_match_nothing_and_are_tried_again_when_they_change(photos: Path, state: Path) -> None:
    good = (photos / "one.jpg").read_bytes()
    (photos / "cut.jpg").write_bytes(good[: len(good) // 2])
    (photos / "cut again.jpg").write_bytes(good[: len(good) // 2])
    (photos / "empty.jpg").write_bytes(b"")
    (photos / "empty too.png").write_bytes(b"")
    (photos / "page.jpg").write_bytes(b"<html></html>")
    (photos / "no_suffix_no_picture").write_bytes(b"hello")
    document = in_process.scan(photos, state=state)
    failed = {os.path.basename(failure["path"]): failure["error"] for failure in document["failed"]}
    assert set(failed) == {"cut.jpg", "cut again.jpg", "empty.jpg", "empty too.png", "page.jpg"}
    assert all(failed.values())
    assert names(document) == sorted(COPIES, key=sorted)
    (photos / "cut.jpg").write_bytes(good)
    after = in_process.scan(photos, state=state)
    assert len(after["failed"]) == 4
    assert {"one.jpg", "one again.jpg", "one small.jpg", "cut.jpg"} in names(after)


def test_flat_pictures_are_copies_only_byte_for_byte(tmp_path: Path, state: Path) -> None:
    root = tmp_path / "flat"
    root.mkdir()
    for name, grey, quality in (("a.jpg", 0, 90), ("b.jpg", 0, 80), ("c.jpg", 128, 90), ("d.jpg", 0, 90)):
        (root / name).write_bytes(encoded(np.full((300, 400, 3), grey, np.uint8), quality=quality))
    assert names(in_process.scan(root, state=state)) == [{"a.jpg", "d.jpg"}]


# ---- what goes wrong


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        (["scan", "/no/such/folder"], 2, "no such folder: /no/such/folder"),
        (["scan"], 2, "Missing argument 'DIR...'"),
        (["scan", "--threshold", "0.5", "."], 2, "above compare.keep_structure = 0.04"),
        (["scan", "--threshold", "-1", "."], 2, "compare.threshold"),
        (["scan", "--measure", "ssim", "."], 2, "ssim"),
        (["scan", "--spare", "."], 2, "--spare goes with --print0"),
        (["scan", "--json", "--csv", "."], 2, "choose one form: --json or --csv"),
        (["check"], 2, "no index in"),
        (["clusters"], 2, "dupwatchd has no command 'clusters': that is `dupwatch clusters`"),
        (["scna"], 2, "Did you mean `dupwatchd scan`"),
        (["run", "-v", "-q"], 2, "choose one: --verbose or --quiet"),
    ],
)
def test_wrong_usage_is_one_clear_line_and_status_2(state: Path, arguments: list[str], status: int, line: str) -> None:
    done = run(*arguments, state=state)
    assert done.returncode == status
    assert line in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()
    assert done.stdout == b""


def test_a_file_instead_of_a_folder(photos: Path, state: Path) -> None:
    done = run("scan", photos / "one.jpg", state=state)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"is a file; name the folder it lies in" in done.stderr


def test_an_unknown_setting_in_the_environment_is_refused_with_a_suggestion(photos: Path, state: Path) -> None:
    environment = {**os.environ, "DUPWATCH_INDEX__WORKER": "2"}
    done = subprocess.run([*COMMAND, "scan", str(photos)], capture_output=True, env=environment, check=False)
    assert done.returncode == 2
    assert b"is DUPWATCH_INDEX__WORKERS meant?" in done.stderr


def test_a_folder_without_photos_says_so(tmp_path: Path, state: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = run("scan", tmp_path / "empty", state=state)
    assert done.returncode == 0
    assert done.stderr == b"dupwatchd: no photos found\n"


def test_a_state_directory_in_use_names_the_process(scanned: Scanned) -> None:
    photos, state, _ = scanned
    import fcntl

    with open(state / "lock", "r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = run("scan", photos, state=state)
    assert done.returncode == 1
    assert b"is in use by process" in done.stderr


def test_a_state_directory_that_the_service_holds_says_whom_to_ask(scanned: Scanned, tmp_path: Path) -> None:
    photos, state, _ = scanned
    environment = {**os.environ, "DUPWATCH_STATE": str(state)}
    service = subprocess.Popen(
        [*COMMAND, "run", "--root", str(photos), "--endpoint", f"ipc://{tmp_path}/s"],
        stderr=subprocess.PIPE,
        env=environment,
    )
    with service:
        assert service.stderr is not None
        service.stderr.readline()  # that it serves
        done = run("scan", photos, state=state)
        service.terminate()
        service.stderr.read()
    assert done.returncode == 1
    assert f"the service (process {service.pid}) holds the state directory {state}".encode() in done.stderr
    assert b"ask it: dupwatch clusters --under DIR" in done.stderr


def test_a_state_directory_that_is_a_file(photos: Path, state: Path) -> None:
    state.write_bytes(b"")
    done = run("scan", photos, state=state)
    assert done.returncode == 2
    assert b"cannot use the state directory" in done.stderr


def test_an_empty_root_where_photos_are_known_is_taken_for_unmounted(photos: Path, state: Path) -> None:
    before = in_process.scan(photos, state=state)
    shutil.move(photos, photos.with_name("away"))
    photos.mkdir()
    done = in_process.run("scan", "--json", photos, state=state)
    assert done.returncode == 1
    assert b"nothing was forgotten" in done.stderr
    document = json.loads(done.stdout)
    assert document["clusters"] == []
    assert (document["complete"], document["incomplete_because"]) == (False, [f"the disk of {photos} is not there"])
    assert b"No copies found so far" in in_process.run("scan", photos, state=state).stdout
    photos.rmdir()
    shutil.move(photos.with_name("away"), photos)
    assert in_process.scan(photos, state=state) == before


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """A file system of so many kB, where mounting is allowed."""
    mounted: list[Path] = []

    def make(size_kb: int) -> Path:
        path = tmp_path / "disk"
        path.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_kb}k", "tmpfs", path], check=False)
        if done.returncode:
            pytest.skip("mounting a tmpfs is not allowed here")
        mounted.append(path)
        return path

    yield make
    for path in mounted:
        subprocess.run(["umount", "-l", path], check=True)


def test_a_mount_point_without_its_disk_keeps_what_is_known_and_hides_it(
    photos: Path, small_disk: Callable[[int], Path], state: Path
) -> None:
    disk = small_disk(4000)
    shutil.copytree(photos, disk / "inside")
    before = in_process.scan(disk.parent / "disk", photos, state=state)
    subprocess.run(["umount", disk], check=True)
    (disk / "NOT_MOUNTED").touch()
    done = in_process.run("scan", "--json", disk, photos, state=state)
    assert done.returncode == 1
    assert b"is not there" in done.stderr
    assert names(json.loads(done.stdout)) == sorted(COPIES, key=sorted)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4000k", "tmpfs", disk], check=True)
    shutil.copytree(photos, disk / "inside")
    assert names(in_process.scan(disk, photos, state=state)) == names(before)


def test_photos_really_deleted_are_forgotten(photos: Path, state: Path) -> None:
    in_process.scan(photos, state=state)
    (photos / "readme.txt").write_text("all gone")
    shutil.rmtree(photos / "phone")
    for path in photos.glob("*.[jp]*g"):
        path.unlink()
    document = in_process.scan(photos, state=state)
    assert (document["files"], document["clusters"]) == (0, [])


def test_leaving_out_a_folder_is_not_a_lost_disk(photos: Path, state: Path) -> None:
    root = photos.parent / "outer"
    root.mkdir()
    shutil.move(photos, root / "sub")
    in_process.scan(root, state=state)
    assert in_process.scan("--ignore", "sub", root, state=state)["clusters"] == []
    assert names(in_process.scan(root, state=state)) == sorted(COPIES, key=sorted)


def test_globs_with_a_slash_count_from_the_root_of_each_scan(photos: Path, state: Path) -> None:
    glob = ["--ignore", "phone/one*"]
    assert {"one.jpg", "one small.jpg"} in names(in_process.scan(*glob, photos, state=state))
    outer = photos.parent / "outer"
    outer.mkdir()
    shutil.move(photos, outer / "photos")
    assert names(in_process.scan(*glob, outer, state=state)) == sorted(COPIES, key=sorted)
    assert names(in_process.scan(*glob, outer / "photos", state=state)) == names(
        in_process.scan(*glob, outer / "photos", state=state.parent / "fresh")
    )


def test_the_order_of_arrival_decides_nothing_about_what_is_no_picture(tmp_path: Path, state: Path) -> None:
    root = tmp_path / "texts"
    root.mkdir()
    for name in ("a", "b.jpg", "c"):
        (root / name).write_bytes(b"hello world")
        document = in_process.scan(root, state=state)
    assert [os.path.basename(failure["path"]) for failure in document["failed"]] == ["b.jpg"]


def test_failures_are_tried_again_when_the_limits_are_raised(photos: Path, state: Path) -> None:
    os.environ["DUPWATCH_INDEX__MAX_PIXELS"] = "1000"
    try:
        assert len(in_process.scan(photos, state=state)["failed"]) == 8
    finally:
        del os.environ["DUPWATCH_INDEX__MAX_PIXELS"]
    assert names(in_process.scan(photos, state=state)) == sorted(COPIES, key=sorted)


def test_stamps_beyond_64_bits_do_no_harm(photos: Path, state: Path) -> None:
    for year, name in ((2300, "one.jpg"), (2200, "alone.jpg"), (1901, "three.jpg")):
        subprocess.run(["touch", "-d", f"{year}-01-01", photos / name], check=True)
    first = in_process.scan(photos, state=state)
    assert names(first) == sorted(COPIES, key=sorted)
    assert in_process.scan(photos, state=state) == first


def test_a_thousand_folders_on_the_command_line(photos: Path, tmp_path: Path, state: Path) -> None:
    roots = [tmp_path / "roots" / str(place) for place in range(1000)]
    for root in roots:
        root.mkdir(parents=True)
    for place, path in enumerate(sorted(photos.glob("*.*"))):
        shutil.copy(path, roots[place * 100])
    assert names(scan(*roots, state=state)) == [{"one.jpg", "one small.jpg"}, {"two.png", "two turned.jpg"}]


def test_what_was_not_looked_at_closely_may_not_go_until_it_is_asked_for(tmp_path: Path, state: Path) -> None:
    root = tmp_path / "photos"
    root.mkdir()
    for number in range(12):  # 66 pairs: more than are looked at unasked; the kept one has the least loss of all
        (root / f"{number:02d}.jpg").write_bytes(encoded(photo_like(1, 160, 120), quality=91 - number))

    def told() -> set[tuple[bool | None, bool]]:
        [cluster] = in_process.scan(root, state=state)["clusters"]
        return {(file["confirmed"], file["may_go"]) for file in cluster["files"] if not file["keep"]}

    assert told() == {(None, False)}
    assert len(in_process.run("scan", "--print0", "--spare", root, state=state).stdout.split(b"\0")) == 11 + 1
    assert told() == {(True, True)}


def test_few_copies_are_looked_at_closely_unasked(photos: Path, tmp_path: Path, state: Path) -> None:
    scene = photo_like(9, 1280, 720)
    for clock in ("02:10:11", "02:40:12"):  # as a fixed camera writes it, too small for the proofs of both
        image = Image.fromarray(scene)
        ImageDraw.Draw(image).text((24, 24), f"2024-03-01 {clock}", fill="white", font=ImageFont.load_default(20))
        (photos / f"{clock}.jpg").write_bytes(encoded(np.asarray(image)))
    document = in_process.scan(photos, state=state)
    assert names(document) == [{"one.jpg", "one again.jpg", "one small.jpg"}, {"two.png", "two turned.jpg"}]
    assert {file["confirmed"] for cluster in document["clusters"] for file in cluster["files"]} == {True}


def test_of_a_chain_each_file_that_may_go_is_the_same_as_one_that_stays(tmp_path: Path, state: Path) -> None:
    root = tmp_path / "chain"
    root.mkdir()
    wide = photo_like(1, 1200, 300)
    for place in range(16):
        (root / f"{place:02d}.png").write_bytes(encoded(wide[:, place * 4 : place * 4 + 400].copy(), "PNG"))
    [cluster] = in_process.scan("--confirm", root, state=state)["clusters"]
    places = {file["path"]: int(Path(file["path"]).stem) for file in cluster["files"]}
    going = {file["path"] for file in cluster["files"] if file["may_go"]}
    staying = [places[path] for path in places.keys() - going]
    assert 3 <= len(staying) < 15
    for path in going:  # more than 2 steps apart, less than 0.98 of one picture is in the other
        assert min(abs(places[path] - place) for place in staying) <= 2
    spare = in_process.run("scan", "--print0", "--spare", root, state=state).stdout.split(b"\0")
    assert {os.fsdecode(path) for path in spare} - {""} == going
    assert cluster["reclaimable_bytes"] == sum(os.path.getsize(path) for path in going)


def test_a_part_and_a_version_are_groups_of_their_own_that_are_asked_for(tmp_path: Path, state: Path) -> None:
    root = tmp_path / "photos"
    root.mkdir()
    whole, marked = photo_like(5, 480, 360), photo_like(8, 480, 360)
    (root / "whole.jpg").write_bytes(encoded(whole))
    (root / "part.jpg").write_bytes(encoded(whole[6:-6, 8:-8].copy()))
    (root / "plain.jpg").write_bytes(encoded(marked))
    marked[100:112, 200:290] = 255
    (root / "marked.jpg").write_bytes(encoded(marked))
    told = in_process.run("scan", root, state=state).stdout
    assert b"further groups: 1 cropped, 1 retouched" in told
    none = in_process.scan(root, state=state)
    assert (none["total_clusters"], none["also"]["cropped"], none["also"]["retouched"]) == (0, 1, 1)
    for also, expected in (("cropped", [{"whole.jpg", "part.jpg"}]), ("retouched", [{"plain.jpg", "marked.jpg"}])):
        found = in_process.scan("--also", also, root, state=state)
        assert names(found) == expected
        assert also not in found["also"]
        assert [file["verdict"] for file in found["clusters"][0]["files"]] == ["identical", also]
    both = ("--also", "cropped,retouched", root)
    assert len(names(in_process.scan(*both, state=state))) == 2
    assert in_process.run("scan", "--print0", "--spare", *both, state=state).stdout == b""


def test_the_index_is_for_its_owner_only(scanned_once: Scanned) -> None:
    state = scanned_once.state
    for path in (state, *state.iterdir()):
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_lock_that_is_a_link_is_not_followed(photos: Path, state: Path, tmp_path: Path) -> None:
    state.mkdir()
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (state / "lock").symlink_to(victim)
    assert run("scan", photos, state=state).returncode == 2
    assert victim.read_bytes() == b"precious"


def test_output_that_cannot_be_written_is_one_line(scanned: Scanned) -> None:
    photos, state, _ = scanned
    environment = {**os.environ, "DUPWATCH_STATE": str(state)}
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*COMMAND, "scan", "--json", str(photos)], stdout=full, stderr=subprocess.PIPE, env=environment, check=False
        )
    assert (done.returncode, done.stderr) == (1, b"dupwatchd: cannot write the output: No space left on device\n")
    line = " ".join([*COMMAND, "scan", f"'{photos}'", ">&-"])
    done = subprocess.run(["sh", "-c", line], stderr=subprocess.PIPE, env=environment, check=False)
    assert done.returncode == 2
    assert b"standard output is closed" in done.stderr


def test_a_name_cannot_steer_the_terminal_through_an_error(state: Path) -> None:
    done = run("scan", "/no/\x1b]0;pwned\x07", state=state)
    assert done.returncode == 2
    assert b"\x1b" not in done.stderr


def test_an_empty_state_directory_is_refused_not_put_among_the_photos(photos: Path) -> None:
    environment = {**os.environ, "DUPWATCH_STATE": ""}
    done = subprocess.run(
        [*COMMAND, "scan", str(photos)], capture_output=True, cwd=photos, env=environment, check=False
    )
    assert done.returncode == 2
    assert not (photos / "blocks").exists()


def test_a_full_disk_is_one_line_and_loses_nothing(
    photos: Path, tmp_path: Path, small_disk: Callable[[int], Path]
) -> None:
    disk = small_disk(860)
    state = disk / "state"
    more = tmp_path / "more"
    more.mkdir()
    for seed in range(150):
        (more / f"{seed}.jpg").write_bytes(encoded(photo_like(seed + 100, 64, 64)))
    before = scan(photos, state=state)
    (disk / "filler").write_bytes(b"x" * 4096)
    done = run("scan", more, state=state)
    assert done.returncode == 1
    assert b"no space left" in done.stderr
    assert b"Traceback" not in done.stderr
    (disk / "filler").unlink()
    subprocess.run(["mount", "-o", "remount,size=8m", disk], check=True)
    assert scan(photos, state=state) == before
    assert scan(more, state=state)["files"] == 150
    assert run("check", state=state).returncode == 0


# ---- interrupted


def many(root: Path, count: int) -> Path:
    root.mkdir()
    for seed in range(count):
        data = encoded(photo_like(seed % (count * 2 // 3), 160, 120), quality=90 - seed % 3)
        (root / f"{seed:04d}.jpg").write_bytes(data)
    (root / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    return root


def start(root: Path, state: Path, **settings: str) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "DUPWATCH_STATE": str(state), **settings}
    return subprocess.Popen(
        [*COMMAND, "scan", "--json", str(root)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment
    )


def test_kills_at_random_moments_end_in_the_same_clusters(tmp_path: Path) -> None:
    root = many(tmp_path / "many", 60)
    began = time.monotonic()
    expected = scan(root, state=tmp_path / "undisturbed")
    whole = time.monotonic() - began
    random = np.random.default_rng()
    for attempt in range(2):  # tests/long tries a hundred
        state = tmp_path / f"killed{attempt}"
        process = start(root, state)
        time.sleep(random.uniform(0.1, whole))
        process.kill()
        process.communicate()
        assert in_process.scan(root, state=state) == expected
        assert in_process.run("check", state=state).returncode == 0
        shutil.rmtree(state)


def read_so_far(state: Path) -> int:
    """How many files the index of a scan, which may be running, holds as read."""
    try:
        with closing(apsw.Connection(str(state / "dupwatch.sqlite"), flags=apsw.SQLITE_OPEN_READONLY)) as database:
            return int(next(database.execute("SELECT count(*) FROM file WHERE NOT pending"))[0])
    except (apsw.CantOpenError, apsw.SQLError, apsw.BusyError):
        return 0  # it is only being made


@pytest.mark.timeout(120)  # two scans of seconds each, which take a minute on a very busy machine
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_keeps_what_is_done_and_says_how_to_go_on(tmp_path: Path, state: Path, number: int) -> None:
    root = tmp_path / "slow"
    root.mkdir()
    data = encoded(photo_like(1, 1600, 1200), "PNG")  # seconds of work, without as many different pictures
    for place in range(40):
        (root / f"{place:02d}.png").write_bytes(data + bytes([place]))
    process = start(root, state, DUPWATCH_INDEX__WORKERS="1")
    while not read_so_far(state):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == (130 if number == signal.SIGINT else 1)
    assert b"what is done is kept" in errors
    assert b"Traceback" not in errors
    assert 0 < read_so_far(state) < 40
    document = scan(root, state=state)
    assert names(document) == [set(os.listdir(root))]
    assert (document["files"], document["pending"], document["failed"]) == (40, 0, [])
