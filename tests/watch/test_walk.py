import contextlib
import os
import socket
import stat
from pathlib import Path

import pytest

from dupwatch.suffixes import IMAGE_SUFFIXES
from dupwatchd.watch.ignore import DEFAULT_IGNORE
from dupwatchd.watch.walk import Listing, WalkRules, stamped_files, walk


def rules(*ignore: str, left_out: frozenset[bytes] = frozenset()) -> WalkRules:
    return WalkRules(IMAGE_SUFFIXES | {b""}, ignore + DEFAULT_IGNORE, left_out)


def touch(path: Path, data: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def found(root: Path, chosen: WalkRules | None = None) -> set[str]:
    listings = list(walk(os.fsencode(root), chosen or rules()))
    return {os.fsdecode(listing.path + b"/" + entry[0]) for listing in listings for entry in listing.entries()}


def listing_of(root: Path) -> Listing:
    return next(iter(walk(os.fsencode(root), rules())))


def test_pictures_are_found_at_any_depth_and_other_files_are_not(tmp_path: Path) -> None:
    wanted = {touch(tmp_path / name) for name in ("a.jpg", "b/c/d.PNG", "b/no_suffix", "b/.hidden.jpg")}
    touch(tmp_path / "notes.txt")
    touch(tmp_path / "b" / "film.mp4")
    assert found(tmp_path) == {str(path) for path in wanted}


def test_a_number_behind_the_suffix_does_not_hide_a_picture(tmp_path: Path) -> None:
    wanted = {touch(tmp_path / name) for name in ("a.jpg.1", "A.JPG.12", "b/a.jpg", "b/2024")}
    for other in ("notes.txt.1", "system.log.2", "1.2", "a.jpg.1.bak", "v1.2.3"):
        touch(tmp_path / other)
    assert found(tmp_path) == {str(path) for path in wanted}
    handed_on = stamped_files(os.fsencode(tmp_path), [b"a.jpg.1", b"notes.txt.1"], os.fsencode(tmp_path), rules())
    assert handed_on is not None
    assert [entry[0] for entry in handed_on[2]] == [b"a.jpg.1"]


def test_stops_within_a_name_do_not_hide_a_picture(tmp_path: Path) -> None:
    wanted = {touch(tmp_path / name) for name in ("St. Ives", "Nr. 5", "dot.", "a.jpg.", "a.jpg ", "3. May.png")}
    for other in ("notes.txt.", "St. Ives.txt"):
        touch(tmp_path / other)
    assert found(tmp_path) == {str(path) for path in wanted}


@pytest.mark.parametrize(
    "junk",
    [
        "@eaDir/a.jpg", "#recycle/a.jpg", ".Trash-1000/a.jpg", "lost+found/a.jpg", ".stfolder/a.jpg",
        ".stversions/a.jpg", ".a.jpg.Xy12Zq", "b/.syncthing.a.jpg.tmp", "b/~syncthing~a.jpg.tmp", "._a.jpg",
    ],
)  # fmt: skip
def test_junk_of_nas_and_sync_tools_is_left_alone(tmp_path: Path, junk: str) -> None:
    touch(tmp_path / junk)
    touch(tmp_path / "a.jpg")
    assert found(tmp_path) == {str(tmp_path / "a.jpg")}


def test_a_quarantine_is_left_out_by_name_and_marker(tmp_path: Path) -> None:
    own = touch(tmp_path / "mine" / ".dupwatch-quarantine" / "a.jpg")
    touch(tmp_path / ".dupwatch-quarantine" / "run" / "files" / "b.jpg")
    touch(tmp_path / ".dupwatch-quarantine" / "dupwatch-marker")
    assert found(tmp_path) == {str(own)}
    inside = os.fsencode(tmp_path / ".dupwatch-quarantine" / "run" / "files")
    assert rules().leaves_out(inside, os.fsencode(tmp_path))
    assert not rules().leaves_out(os.fsencode(own.parent), os.fsencode(tmp_path))


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_a_folder_whose_marker_is_no_file_is_walked(tmp_path: Path, kind: str) -> None:
    wanted = touch(tmp_path / ".dupwatch-quarantine" / "a.jpg")
    marker = wanted.with_name("dupwatch-marker")
    marker.mkdir() if kind == "folder" else marker.symlink_to(wanted)
    assert found(tmp_path) == {str(wanted)}


def test_globs_hold_against_names_and_with_a_slash_against_the_path(tmp_path: Path) -> None:
    for name in ("a.jpg", "export-1/a.jpg", "b/export-2/a.jpg", "b/c/a.jpg", "c/a.jpg"):
        touch(tmp_path / name)
    assert found(tmp_path, rules("export-*", "b/c")) == {str(tmp_path / "a.jpg"), str(tmp_path / "c/a.jpg")}


def test_a_question_mark_stands_for_one_letter_of_any_alphabet_and_for_a_stray_byte(tmp_path: Path) -> None:
    for name in ("é.jpg".encode(), "写.jpg".encode(), b"\xe9.jpg", b"ab.jpg"):
        touch(Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)))
    assert found(tmp_path, rules("?.jpg")) == {str(tmp_path / "ab.jpg")}


def test_links_are_not_followed_so_loops_are_harmless(tmp_path: Path) -> None:
    touch(tmp_path / "real" / "a.jpg")
    (tmp_path / "real" / "loop").symlink_to(tmp_path)
    (tmp_path / "real" / "link.jpg").symlink_to(tmp_path / "real" / "a.jpg")
    (tmp_path / "dangling.jpg").symlink_to("nowhere")
    assert found(tmp_path) == {str(tmp_path / "real" / "a.jpg")}


def test_fifos_sockets_and_devices_are_passed_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    touch(tmp_path / "a.jpg")
    with contextlib.suppress(PermissionError):  # not everybody may make one
        os.mknod(tmp_path / "terminal.jpg", stat.S_IFCHR | 0o600, os.makedev(5, 0))
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket.jpg"))
        assert found(tmp_path) == {str(tmp_path / "a.jpg")}


def test_names_that_are_no_text_come_through_byte_for_byte(tmp_path: Path) -> None:
    names = {b"caf\xe9.jpg", b"new\nline.jpg", b"\xff\xfe.jpg", b"x" * 251 + b".jpg", "写真.jpg".encode()}
    for name in names:
        touch(Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)))
    assert {entry[0] for entry in listing_of(tmp_path).entries()} == names


def test_the_stamp_is_what_stat_says(tmp_path: Path) -> None:
    status = touch(tmp_path / "a.jpg", b"12345").stat()
    assert listing_of(tmp_path).entries() == [(b"a.jpg", 5, status.st_mtime_ns, status.st_dev, status.st_ino)]


def test_the_digest_changes_with_every_stamp_and_with_the_rules(tmp_path: Path) -> None:
    path = touch(tmp_path / "a.jpg")
    digests = [listing_of(tmp_path).digest, listing_of(tmp_path).digest]
    assert digests[0] == digests[1]
    os.utime(path, ns=(1, 1))
    digests.append(listing_of(tmp_path).digest)
    path.write_bytes(b"longer")
    os.utime(path, ns=(1, 1))
    digests.append(listing_of(tmp_path).digest)
    touch(tmp_path / "new", b"longer")
    os.utime(tmp_path / "new", ns=(1, 1))
    (tmp_path / "new").rename(path)  # same size and time, another file
    digests.append(listing_of(tmp_path).digest)
    path.rename(tmp_path / "b.jpg")
    digests.append(listing_of(tmp_path).digest)
    digests.append(next(iter(walk(os.fsencode(tmp_path), rules("x*")))).digest)
    assert len(set(digests)) == len(digests) - 1


def test_what_cannot_be_listed_is_reported_and_passed_over(tmp_path: Path) -> None:
    touch(tmp_path / "b" / "a.jpg")
    gone = os.fsencode(tmp_path / "gone")
    assert [listing.error for listing in walk(gone, rules())] == ["No such file or directory"]
    below = [gone, os.fsencode(tmp_path / "b")]
    assert [listing.path for listing in walk(os.fsencode(tmp_path), rules(), below)] == below[1:]


def test_a_path_beyond_what_the_kernel_takes_is_reported(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=here)
        there = os.open("d" * 250, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = there
    os.close(here)
    errors = [listing.error for listing in walk(os.fsencode(tmp_path), rules()) if listing.error]
    assert errors == ["File name too long"]


def test_own_state_below_a_root_is_left_out(tmp_path: Path) -> None:
    touch(tmp_path / "state" / "blocks" / "a.jpg")
    assert found(tmp_path, rules(left_out=frozenset([os.fsencode(tmp_path / "state")]))) == set()
