"""The order in which files are kept: total, the same for any order of input, each with its reason."""

import random
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dupwatchd.db.answers import Copy
from dupwatchd.serve.keep import BEHIND_ANOTHER, FURTHER, NEAREST, Direction, KeepOrder, Kept

PLAIN = Copy(b"/photos/b.jpg", 1000, 2_000, 7, 1, 1, b"1" * 32, 1, 4000, 3000, "JPEG")
CAMERA: dict[str, object] = {"camera": "Lumen L1", "captured": "2024-05-01T10:11:12"}
PNG: dict[str, object] = {"format": "PNG", "lossless": True}

copies = st.builds(
    Copy,
    path=st.just(b""),  # each gets its own, as its picture
    device=st.just(7),
    inode=st.just(1),
    content_id=st.just(1),
    content_digest=st.just(b"1" * 32),
    picture_id=st.just(0),
    lossless=st.booleans(),
    quality=st.sampled_from([0, 40, 84, 90, 95]),
    scan_digest=st.just(b""),
    size_bytes=st.integers(0, 3),
    mtime_ns=st.integers(0, 2),
    width=st.sampled_from([0, 10, 100, 101]),
    height=st.sampled_from([10, 100]),
    format=st.sampled_from(["RAW", "HEIF", "JPEG", "PNG", "WEBP", "BMP", "GIF", "XYZ"]),
    damage=st.none() | st.just("cut short"),
    frames=st.integers(1, 2),
    has_colour=st.booleans(),
    camera=st.sampled_from(["", "Lumen L1"]),
    captured=st.sampled_from(["", "2024-05-01T10:11:12"]),
    edited=st.booleans(),
    jpeg_grid=st.booleans(),
    bits=st.sampled_from([8, 8, 16]),
    transparent=st.booleans(),
    captions=st.sampled_from(["", "By the sea"]),
)
groups = st.lists(copies, min_size=1, max_size=8).map(
    lambda group: [replace(copy, path=b"/%d" % i, picture_id=i // 2) for i, copy in enumerate(group)]
)


def keep_order(group: list[Copy], nearer: Iterable[tuple[int, int]] = ()) -> list[Kept]:
    return KeepOrder(group, [Direction(*pair) for pair in nearer]).kept


def paths(order: list[Kept]) -> list[bytes]:
    return [kept.copy.path for kept in order]


@given(groups, st.data())
def test_any_directions_give_each_file_one_place_whatever_their_order(group: list[Copy], data: st.DataObject) -> None:
    places = st.integers(0, len(group) - 1)
    pairs = data.draw(st.lists(st.tuples(places, places), max_size=30))  # cycles and self-loops, too
    order = keep_order(group, pairs)
    assert sorted(paths(order)) == sorted(copy.path for copy in group)
    shuffled = data.draw(st.permutations(range(len(group))))
    assert keep_order([group[i] for i in shuffled], data.draw(st.permutations(pairs))) == order


@given(groups, st.data())
def test_directions_never_lift_a_file_over_one_that_is_sound_whole_and_in_colour(
    group: list[Copy], data: st.DataObject
) -> None:
    places = st.integers(0, len(group) - 1)
    pairs = data.draw(st.lists(st.tuples(places, places), max_size=30))
    kept = keep_order(group, pairs)[0].copy
    best = min((copy.damaged, -copy.frames, not copy.has_colour) for copy in group)
    assert (kept.damaged, -kept.frames, not kept.has_colour) == best


@given(groups)
def test_without_directions_the_order_is_that_of_a_comparison_of_two(group: list[Copy]) -> None:
    """Any two files of equal size stand in one order, whichever others are there."""
    group = [replace(copy, width=100, height=100) for copy in group]
    order = paths(keep_order(group))
    for _ in range(5):
        a, b = random.Random(len(group)).choices(group, k=2)
        if a.path != b.path:
            assert paths(keep_order([a, b])) == sorted((a.path, b.path), key=order.index)


@pytest.mark.parametrize(
    ("better", "worse", "won", "lost"),
    [
        ({}, {"damage": "cut short", "size_bytes": 9000}, "not damaged", "damaged"),
        ({"frames": 3}, {"width": 9000}, "most frames or pages", "fewer frames or pages"),
        ({}, {"has_colour": False, "width": 9000}, "in colour", "without colour"),
        (
            {"camera": "Lumen L1", "captured": "2024-05-01T10:11:12", "mtime_ns": 9_000},
            {"width": 4200},
            "the camera's data in it",
            "without the camera's data",
        ),
        (
            {"mtime_ns": 9_000},
            {"jpeg_grid": True, "format": "PNG"},
            "not saved with loss before",
            "saved with loss before",
        ),
        ({"format": "RAW", "width": 3000}, {}, "RAW", "not the RAW file"),
        ({"width": 4200}, {"mtime_ns": 1_000}, "most pixels", "fewer pixels"),
        ({"format": "WEBP"}, {"width": 2000}, "most pixels", "far fewer pixels"),
        (CAMERA, CAMERA | PNG | {"width": 4200}, "better format", "lesser format"),
        (CAMERA, CAMERA | PNG | {"size_bytes": 9000}, "better format", "lesser format"),
        (PNG, {"width": 4200, "size_bytes": 9000}, "saved without loss", "saved with loss"),
        (PNG, {"format": "HEIF", "size_bytes": 9000}, "saved without loss", "saved with loss"),
        (PNG, {"format": "WEBP", "size_bytes": 9000}, "saved without loss", "saved with loss"),
        ({}, PNG | {"jpeg_grid": True}, "not saved with loss before", "saved with loss before"),
        (CAMERA, PNG | {"width": 4200}, "the camera's data in it", "without the camera's data"),
        ({"format": "HEIF"}, {"size_bytes": 9000}, "better format", "lesser format"),
        ({}, {"format": "JXL", "size_bytes": 9000}, "better format", "lesser format"),
        ({"format": "WEBP"}, {"format": "BMP", "size_bytes": 9000}, "better format", "lesser format"),
        ({"captured": "2023-01-01T00:00:00"}, {"captured": "2024-01-01T00:00:00"}, "taken earliest", "taken later"),
        ({"captured": "2023-01-01T00:00:00"}, {}, "taken earliest", "taken later"),
        (
            {"has_place": True, "mtime_ns": 9_000},
            {"mtime_ns": 1_000},
            "a place, stars, keywords, a caption or people with it",
            "without its place, stars, keywords, caption or people",
        ),
        (
            {"captions": "By the sea", "people": "Anna", "mtime_ns": 9_000},
            {"keywords": "sea", "mtime_ns": 1_000},
            "a place, stars, keywords, a caption or people with it",
            "without its place, stars, keywords, caption or people",
        ),
        (PNG | {"bits": 16}, PNG | {"captured": "2024"}, "more bits a colour", "fewer bits a colour"),
        (PNG, {"bits": 10, "format": "AVIF"}, "saved without loss", "saved with loss"),
        ({"width": 4200}, {"bits": 16}, "most pixels", "fewer pixels"),
        (
            PNG | {"transparent": True},
            PNG | {"size_bytes": 9000},
            "transparent where the other is not",
            "without its transparency",
        ),
        (
            {"holds": "film (1a2b3c4d)", "mtime_ns": 9_000},
            {"size_bytes": 9000, "mtime_ns": 1_000},
            "a film, a map or other data beside it",
            "without what the other holds beside it",
        ),
        ({"quality": 60, "mtime_ns": 1_000}, {"quality": 99}, "modified earliest", "modified later"),
        (CAMERA | {"quality": 40}, {"quality": 95}, "the camera's data in it", "without the camera's data"),
        ({"mtime_ns": 1_999}, {"size_bytes": 9000}, "modified earliest", "modified later"),
        (
            {"mtime_ns": 1_600_000_000 * 10**9},
            {"mtime_ns": 315_532_800 * 10**9, "size_bytes": 9000},
            "a time of its last change",
            "no time of its last change that can be true",
        ),
        ({"size_bytes": 1001}, {}, "most bytes", "fewer bytes"),
        ({"path": b"/z.jpg"}, {}, "shortest path", "longer path"),
        ({}, {"path": b"/photos/c.jpg"}, "first by name", "later by name"),
    ],
)
def test_the_first_difference_decides_and_is_the_reason(
    better: dict[str, object], worse: dict[str, object], won: str, lost: str
) -> None:
    first = replace(PLAIN, **better)  # type: ignore[arg-type]
    second = replace(PLAIN, **{"path": b"/photos/z.jpg"} | worse)  # type: ignore[arg-type]
    assert keep_order([second, first]) == [Kept(first, won), Kept(second, lost)]


def test_of_files_that_only_their_paths_tell_apart_the_one_with_a_sidecar_is_kept() -> None:
    """Others nobody looks for."""
    asked: list[bytes] = []

    def has_sidecar(copy: Copy) -> bool:
        asked.append(copy.path)
        return copy.path == b"/photos/long name.jpg"

    noted = replace(PLAIN, path=b"/photos/long name.jpg")
    other = replace(PLAIN, path=b"/photos/other.jpg", size_bytes=10)
    order = KeepOrder([PLAIN, noted, other], has_sidecar=has_sidecar)
    assert order.kept[:2] == [Kept(noted, "a sidecar beside it"), Kept(PLAIN, "no sidecar beside it")]
    assert sorted(asked) == sorted([PLAIN.path, noted.path])


def test_a_small_copy_that_kept_the_cameras_data_is_not_kept_for_them() -> None:
    small = replace(PLAIN, path=b"/s.jpg", width=1600, height=1200, camera="Lumen L1", captured="2024-05-01T10:11:12")
    assert keep_order([small, PLAIN])[0].copy is PLAIN


def test_an_edited_copy_with_the_cameras_data_comes_after_the_unedited_one() -> None:
    camera = replace(PLAIN, camera="Lumen L1", captured="2024-05-01T10:11:12")
    edited = replace(camera, path=b"/e.jpg", edited=True, mtime_ns=0, size_bytes=9000)
    assert keep_order([edited, camera]) == [Kept(camera, "not edited"), Kept(edited, "edited")]


def test_a_file_shown_to_be_nearer_takes_the_place_of_a_larger_one() -> None:
    enlarged = replace(PLAIN, path=b"/e.png", picture_id=2, width=8000, height=6000, format="PNG")
    assert keep_order([enlarged, PLAIN], [(1, 2)]) == [Kept(PLAIN, NEAREST), Kept(enlarged, FURTHER)]


def test_beside_an_enlargement_the_cameras_data_still_count() -> None:
    camera = replace(PLAIN, path=b"/photos/camera.jpg", picture_id=2, camera="Lumen L1", captured="2024-05-01T10:11:12")
    converted = replace(PLAIN, path=b"/photos/a.heic", picture_id=3, format="HEIF")
    enlarged = replace(PLAIN, path=b"/photos/enlarged.jpg", picture_id=4, width=8000, height=6000)
    order = keep_order([converted, enlarged, camera], [(2, 4), (3, 4)])
    assert paths(order)[0] == camera.path


def test_what_only_stands_behind_a_replaced_file_says_so() -> None:
    enlarged = replace(PLAIN, path=b"/e.png", picture_id=2, width=8000, height=6000, format="PNG")
    other = replace(PLAIN, path=b"/o.png", picture_id=3, width=7000, height=5000, format="PNG")
    order = keep_order([other, enlarged, PLAIN], [(1, 2)])
    assert order == [Kept(PLAIN, NEAREST), Kept(enlarged, FURTHER), Kept(other, BEHIND_ANOTHER)]


def test_of_files_in_a_circle_the_first_by_rule_is_kept() -> None:
    """Each shown to be nearer than the next: one of these is wrong, and it is not known which."""
    large = replace(PLAIN, path=b"/l.jpg", picture_id=2, width=8000)
    newer = replace(PLAIN, path=b"/n.jpg", picture_id=3, mtime_ns=3_000)
    newest = replace(PLAIN, path=b"/o.jpg", picture_id=4, mtime_ns=4_000)
    assert keep_order([large, newest, newer, PLAIN], [(4, 2), (3, 4), (1, 3), (4, 1)])[0].copy is PLAIN


def test_a_group_of_one() -> None:
    assert keep_order([PLAIN]) == [Kept(PLAIN, "the only one")]
