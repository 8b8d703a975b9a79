"""Keep-rules: what each of them prefers, in words, and what is said of one that is none."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dupwatchd.db.answers import Copy
from dupwatchd.errors import UsageError
from dupwatchd.model import Verdict
from dupwatchd.serve.keep import Direction, KeepOrder, Kept
from dupwatchd.serve.lacks import shows_less
from dupwatchd.serve.plan_doubts import (
    doubt,
    exposed_apart,
    lacking,
    lines_lacking,
    of_one_burst,
    places_apart,
    taken_apart,
)
from dupwatchd.serve.plan_policy import ASKED_BY_DEFAULT, Doubt, Policy
from dupwatchd.serve.plan_rules import keep_rule, keep_rules
from dupwatchd.serve.spare import objection

PLAIN = Copy(b"/photos/b.jpg", 1000, 2_000, 7, 1, 1, b"1" * 32, 1, 4000, 3000, "JPEG")
TIME = "2024-05-01T10:11:12"


def kept(rules: list[str], *copies: Copy, nearer: tuple[tuple[int, int], ...] = ()) -> Kept:
    return KeepOrder(copies, [Direction(*pair) for pair in nearer], keep_rules(rules)).kept[0]


@pytest.mark.parametrize(
    ("rule", "better", "won"),
    [
        ("folder /z /photos", {"path": b"/z/q.jpg"}, "in the folder to keep"),
        ("folder '/my photos'", {"path": b"/my photos/q.jpg"}, "in the folder to keep"),
        ("name not '*copy*' b.*", {"path": b"/photos/long name.jpg"}, "no name to avoid"),
        ("name not B.JPG", {"path": b"/photos/long name.jpg"}, "no name to avoid"),
        ("format raw webp jpeg", {"format": "WEBP"}, "format to keep"),
        ("metadata most", {"rating": 3, "captured": TIME}, "most metadata"),
        ("metadata most", {"keywords": "sea"}, "most metadata"),
        ("metadata most", {"captions": "By the sea"}, "most metadata"),
        ("metadata most", {"people": "Anna"}, "most metadata"),
        ("pixels most", {"width": 4001, "mtime_ns": 9_000}, "most pixels"),
        ("taken earliest", {"captured": TIME, "mtime_ns": 9_000}, "taken earliest"),
        ("modified earliest", {"mtime_ns": 1, "width": 3900}, "modified earliest"),
        ("bytes most", {"size_bytes": 2000, "mtime_ns": 9_000}, "most bytes"),
        ("bytes least", {"size_bytes": 20, "mtime_ns": 9_000}, "fewest bytes"),
        ("path shortest", {"path": b"/q.jpg", "mtime_ns": 9_000}, "shortest path"),
    ],
)
def test_a_rule_comes_before_the_default_order(rule: str, better: dict[str, Any], won: str) -> None:
    other = replace(PLAIN, **{"path": b"/photos/other.jpg", "picture_id": 2, **better})
    assert kept([rule], PLAIN, other) == kept([rule], other, PLAIN) == Kept(other, won)


def test_the_first_rule_that_separates_two_files_decides() -> None:
    small = replace(PLAIN, path=b"/a.jpg", size_bytes=10)
    assert kept(["format raw", "bytes least", "path shortest"], PLAIN, small) == Kept(small, "fewest bytes")
    assert kept(["bytes most", "path shortest"], PLAIN, small) == Kept(PLAIN, "most bytes")


def test_what_rules_leave_undecided_the_default_order_decides() -> None:
    later = replace(PLAIN, path=b"/photos/a.jpg", mtime_ns=9_000)
    assert kept(["format jpeg", "pixels most"], later, PLAIN) == Kept(PLAIN, "modified earliest")


def test_times_of_change_within_one_second_are_told_apart() -> None:
    earlier, later = replace(PLAIN, mtime_ns=5 * 10**9), replace(PLAIN, path=b"/photos/c.jpg", mtime_ns=5 * 10**9 + 7)
    said = KeepOrder([earlier, later], []).told_apart(later, earlier)
    assert said == "modified later (1970-01-01T00:00:05.000000007Z; the other: 1970-01-01T00:00:05Z)"


def test_an_original_is_one_that_nothing_is_shown_to_be_nearer_than() -> None:
    enlarged = replace(PLAIN, path=b"/e.jpg", picture_id=2, width=8000, height=6000)
    rules = ["original", "pixels most"]
    assert kept(rules, enlarged, PLAIN, nearer=((1, 2),)) == Kept(PLAIN, "original")
    assert kept(["pixels most", "original"], enlarged, PLAIN, nearer=((1, 2),)).copy == enlarged
    damaged = replace(PLAIN, damage="cut short")
    assert kept(rules, enlarged, damaged, nearer=((1, 2),)).copy == enlarged


def test_colour_may_be_asked_for_by_name() -> None:
    grey = replace(PLAIN, path=b"/g.jpg", has_colour=False)
    assert kept(["colour", "path shortest"], grey, PLAIN) == Kept(PLAIN, "in colour")
    assert kept(["path shortest", "colour"], grey, PLAIN).copy == grey


@given(st.permutations(["bytes least", "path shortest", "format webp", "pixels most", "name not *.jpg"]), st.booleans())
def test_no_rule_puts_a_damaged_file_or_one_with_fewer_frames_first(rules: list[str], frames: bool) -> None:
    sound = replace(PLAIN, frames=5 if frames else 1)
    spoilt = replace(PLAIN, path=b"/x.webp", format="WEBP", size_bytes=1, width=9000, damage=None if frames else "cut")
    assert kept(rules, spoilt, sound).copy == sound


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("beauty most", "allowed are folder DIR..., name not GLOB..., format FORMAT..., colour, original, "),
        ("", "allowed are folder"),
        ("folder", "write folder DIR..., with absolute paths"),
        ("folder photos", "write folder DIR..., with absolute paths"),
        ("name *.jpg", "write name not GLOB..."),
        ("format raw gpeg", "write format FORMAT..., the best one first, of raw heic heif jpeg"),
        ("metadata least", "write metadata most"),
        ("bytes", "write bytes most, or bytes least"),
        ("colour most", "write colour, and nothing behind it"),
        ("name not 'x", "allowed are folder"),
    ],
)
def test_a_text_that_is_no_rule_is_refused_in_one_line(text: str, allowed: str) -> None:
    with pytest.raises(UsageError) as refused:
        keep_rule(text)
    said = str(refused.value)
    assert said.startswith(f"keep rule {text!r}: ")
    assert allowed in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("one", "other", "apart", "is_burst"),
    [
        (TIME, TIME, False, False),
        (TIME, "", False, False),
        (TIME, "2024-05-01T10:11:13", True, True),
        (TIME, "2024-05-01T10:11:12.250", False, False),
        ("2024-05-01T10:11:12.100", "2024-05-01T10:11:12.250", True, True),
        (TIME, "2024-05-01T10:12:12", True, False),
        (TIME, "at noon", True, False),
    ],
)
def test_capture_times_tell_photos_of_a_burst(one: str, other: str, apart: bool, is_burst: bool) -> None:
    first, second = (replace(PLAIN, camera="Lumen", captured=time) for time in (one, other))
    assert taken_apart(first, second) == taken_apart(second, first) == apart
    assert of_one_burst(first, second) == of_one_burst(second, first) == is_burst
    assert not of_one_burst(replace(first, camera="Other"), second)


def test_keywords_that_only_one_file_has_are_lacking_in_the_other() -> None:
    few, many = replace(PLAIN, keywords="Sea"), replace(PLAIN, keywords="sea\nsun")
    assert (lacking(many, few), lacking(few, many), lines_lacking(many.keywords, few.keywords)) == (
        ["keywords"],
        [],
        ["sun"],
    )
    assert doubt(few, many, Verdict.SAME, ASKED_BY_DEFAULT) is None


CUT = "A title that is just so long that IPTC has no room for all of it"


@pytest.mark.parametrize(
    ("mine", "theirs", "said"),
    [
        ("By the sea", "BY THE SEA\nLate", None),
        ("By the sea\nLate", "by the sea", "b.jpg, which stays, lacks what b.jpg has: caption"),
        ("By the sea", "Late", 'b.jpg has the caption "By the sea", b.jpg "Late"'),
        ("Late\nSea", "Early\nlate", 'b.jpg has the caption "Late", b.jpg "Early"'),
        (CUT, f"{CUT}, but here is", None),
        (f"{CUT}, but here is", CUT, "b.jpg, which stays, lacks what b.jpg has: caption"),
        ("Sea", "Seaside", 'b.jpg has the caption "Sea", b.jpg "Seaside"'),
    ],
)
def test_captions_that_would_be_lost_or_contradict_are_asked_about(mine: str, theirs: str, said: str | None) -> None:
    one, other = replace(PLAIN, captions=mine), replace(PLAIN, captions=theirs)
    assert doubt(one, other, Verdict.SAME, ASKED_BY_DEFAULT) == said
    assert doubt(one, other, Verdict.SAME, frozenset({Doubt.ENLARGED})) is None


@pytest.mark.parametrize(
    ("mine", "theirs", "asked"),
    [(95, 60, True), (86, 84, True), (71, 69, True), (95, 85, False), (60, 95, False), (95, 0, False), (0, 60, False)],
)
def test_a_jpeg_with_clearly_less_loss_does_not_go_unasked(mine: int, theirs: int, asked: bool) -> None:
    one, other = replace(PLAIN, quality=mine), replace(PLAIN, quality=theirs)
    words = f"b.jpg is a JPEG of quality {mine}, b.jpg, which stays, of {theirs}" if asked else None
    assert doubt(one, other, Verdict.SAME, ASKED_BY_DEFAULT) == words
    assert doubt(one, other, Verdict.SAME, ASKED_BY_DEFAULT, is_nearer=True) is None
    assert doubt(one, other, Verdict.SAME, ASKED_BY_DEFAULT - {Doubt.LOSS}) is None


HOME = "48.13715, 11.57540"


@pytest.mark.parametrize(
    ("other", "apart"),
    [
        (HOME, False),
        ("", False),
        ("48.13795, 11.57540", False),  # 90 m
        ("48.13815, 11.57540", True),  # 110 m
        ("48.13715, 11.57660", False),  # 90 m: degrees of longitude are shorter there
        ("48.13715, 11.57700", True),
        ("48.14000, 11.58000", False),  # rounded to two decimals
        ("48.13000, 11.57000", False),  # cut off there
        ("48.13333, 11.56667", False),  # without its seconds
        ("48.14000, 11.58123", True),
        ("48.15000, 11.58000", True),
        ("-48.13715, 11.57540", True),
    ],
)
def test_places_that_are_not_one_are_held_back(other: str, apart: bool) -> None:
    one, another = (replace(PLAIN, has_place=True, place=place) for place in (HOME, other))
    assert places_apart(one, another) == places_apart(another, one) == apart
    words = f"b.jpg was taken at {HOME}, b.jpg at {other}" if apart else None
    assert doubt(one, another, Verdict.SAME, ASKED_BY_DEFAULT) == words
    assert doubt(one, another, Verdict.SAME, frozenset({Doubt.LACKS})) is None


def test_places_beside_the_date_line_are_near_each_other() -> None:
    assert not places_apart(*(replace(PLAIN, place=place) for place in ("1.00012, 179.99980", "1.00012, -179.99980")))


def test_a_raw_photo_lacks_the_film_that_lies_behind_a_jpeg() -> None:
    motion = replace(PLAIN, holds="film (1a2b3c4d)")
    for still in (PLAIN, replace(PLAIN, format="RAW")):
        assert shows_less(still, motion) == "without what it holds beside the picture"
        assert objection(motion, still, Policy(), paired=False) is not None


@pytest.mark.parametrize(
    "unread", [replace(PLAIN, captions=None), replace(PLAIN, keywords=None, captions=None), replace(PLAIN, place=None)]
)
def test_what_is_to_be_read_again_neither_goes_nor_lets_go_whatever_is_asked_about(unread: Copy) -> None:
    """What it holds is not known before: a film, layers, a map."""
    for pair in ((unread, PLAIN), (PLAIN, unread)):
        assert "being read again" in str(objection(*pair, Policy(ask_when=frozenset()), paired=False))
    assert objection(PLAIN, PLAIN, Policy(ask_when=frozenset()), paired=False) is None


@pytest.mark.parametrize(
    ("mine", "its", "apart"),
    [
        ("t=0.01 f=2.8", "t=0.02 f=2.8", True),
        ("t=0.01 f=2.8 ev=0", "t=0.01 f=2.8 ev=-0.33", True),
        ("t=0.01", "t=0.0126", True),
        ("iso=100", "iso=200", True),
        ("t=0.01 id=ab", "t=0.01 id=cd", True),
        ("t=0.01 f=2.8", "t=0.01", False),
        ("t=0.01", "t=0.01003 ev=0", False),
        ("t=0.01", "f=2.8", False),
        ("t=0.01", "", False),
        ("t=0.01", "t=x", False),
    ],
)
def test_shots_of_one_camera_with_other_exposures_do_not_go_for_each_other(mine: str, its: str, apart: bool) -> None:
    one, other = (replace(PLAIN, camera="Lumen L1", exposure=told) for told in (mine, its))
    assert exposed_apart(one, other) == exposed_apart(other, one) == apart
    assert not exposed_apart(one, replace(other, camera="Another"))
    words = "one camera took both, with other exposures or as two shots" if apart else None
    assert objection(one, other, Policy(), paired=False) == words
    assert objection(one, other, Policy(bursts=True), paired=False) is None


@pytest.mark.parametrize(
    ("change", "lacks"),
    [
        ({"has_place": True}, ["place"]),
        ({"rating": 2, "camera": "Lumen"}, ["rating", "camera"]),
        ({"captured": TIME}, ["captured"]),
        ({"keywords": "sea\nsun"}, ["keywords"]),
        ({"people": "Anna\nBert", "captions": "By the sea"}, ["caption", "people"]),
        ({"bits": 16}, ["depth"]),
        ({"bits": 16, "format": "RAW"}, []),
        ({"transparent": True}, ["transparency"]),
        ({"size_bytes": 9000}, []),
    ],
)
def test_what_the_file_that_stays_lacks_is_named(change: dict[str, Any], lacks: list[str]) -> None:
    assert lacking(replace(PLAIN, **change), PLAIN) == lacks
    assert lacking(PLAIN, replace(PLAIN, **change)) == []
