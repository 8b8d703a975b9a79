import numpy as np
import pytest
from PIL import Image

from dupwatchd.compare.verdict.fine import look_closely
from dupwatchd.model import Verdict
from tests.compare import altered
from tests.compare.test_verdict import CHANGED, COPIES


@pytest.mark.parametrize("kind", [kind for kind in COPIES if kind != "quarter"])
def test_a_plain_copy_is_confirmed(kind: str) -> None:
    picture = altered.photo(11, 800, 600)
    closer = look_closely(picture, COPIES[kind](picture), 0, mirrored=False)
    assert closer.confirmed is True
    assert closer.verdict is Verdict.SAME


@pytest.mark.parametrize("kind", CHANGED)
def test_a_changed_copy_is_refused_and_called_what_it_is(kind: str) -> None:
    picture = altered.photo(12, 800, 600)
    change, verdict = CHANGED[kind]
    closer = look_closely(picture, change(picture), 0, mirrored=False)
    assert closer.confirmed is False
    assert closer.verdict is verdict


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("quality", [35, 50])
@pytest.mark.parametrize("noise", [2.0, 5.0])
def test_a_night_sky_whose_noise_a_copy_has_lost_is_confirmed(seed: int, quality: int, noise: float) -> None:
    """Where noise says how sharp pictures are, stars would be blurred away."""
    night = altered.grainy_night(seed, 10, noise=noise)
    closer = look_closely(night, altered.jpeg(night, quality), 0, mirrored=False)
    assert closer.confirmed is True
    assert closer.verdict is Verdict.SAME


@pytest.mark.parametrize("quality", [50, 90])
def test_another_shot_of_a_night_sky_is_not_confirmed(quality: int) -> None:
    night = altered.grainy_night(1, 10)
    moved, other = altered.grainy_night(1, 11, moved_px=4), altered.grainy_night(2, 11)
    assert look_closely(night, altered.jpeg(moved, quality), 0, mirrored=False).confirmed is not True
    assert look_closely(night, altered.jpeg(other, quality), 0, mirrored=False).confirmed is False


@pytest.mark.parametrize("quality", [95, 50])
def test_one_digit_of_a_page_is_seen(quality: int) -> None:
    page = altered.page("483 206")
    assert look_closely(page, altered.jpeg(page, quality), 0, mirrored=False).confirmed is True
    other = altered.jpeg(altered.page("488 206"), quality)
    assert look_closely(page, other, 0, mirrored=False).confirmed is False
    assert look_closely(other, altered.jpeg(page, 80), 0, mirrored=False).confirmed is False


@pytest.mark.parametrize(("share", "quality"), [(0.75, 60), (0.6, 85), (0.5, 60)])
@pytest.mark.parametrize("other", ["283 206", "482 206", "483 286"])
def test_a_darkened_page_with_another_small_digit_is_not_confirmed(share: float, quality: int, other: str) -> None:
    page, changed = altered.page("483 206", px=13), altered.page(other, px=13)
    copy = altered.jpeg(altered.resized(altered.brighter(changed, 0.87), share), quality)
    assert look_closely(page, copy, 0, mirrored=False).confirmed is not True


def test_a_turned_copy_is_confirmed_in_both_orders() -> None:
    picture = altered.photo(13, 500, 400)
    turned = altered.jpeg(np.ascontiguousarray(np.rot90(picture)), 92)
    there = look_closely(picture, turned, 90, mirrored=False)
    back = look_closely(turned, picture, 270, mirrored=False)
    assert there.confirmed is back.confirmed is True


@pytest.mark.parametrize("kind", [*COPIES, *CHANGED])
@pytest.mark.parametrize(("turn", "mirrored"), [(0, False), (90, False), (180, True), (270, True)])
def test_the_order_of_a_pair_does_not_matter(kind: str, turn: int, mirrored: bool) -> None:
    picture = altered.photo(14, 500, 400)
    change = COPIES.get(kind) or CHANGED[kind][0]
    other = np.rot90(change(picture), turn // 90)
    other = np.ascontiguousarray(other[:, ::-1] if mirrored else other)
    there = look_closely(picture, other, turn, mirrored=mirrored)
    assert there == look_closely(other, picture, turn if mirrored else -turn % 360, mirrored=mirrored)


@pytest.mark.parametrize("degrees", [-1.2, 0.4, 0.7])
@pytest.mark.parametrize("enlarged", [1.0, 1.5])
def test_a_copy_that_leans_lets_nothing_go(degrees: float, enlarged: float) -> None:
    """It has lost its corners, which are black now: enlarged, it would be kept for its pixels."""
    picture = altered.photo(15, 600, 450)
    image = Image.fromarray(altered.resized(picture, enlarged)).rotate(degrees, Image.Resampling.BICUBIC)
    for one, other in ((picture, np.asarray(image)), (np.asarray(image), picture)):
        assert look_closely(one, other, 0, mirrored=False).confirmed is None


def test_a_copy_that_lost_a_percent_at_one_side_lets_nothing_go() -> None:
    picture = altered.photo(16, 800, 600)
    cut = altered.jpeg(np.ascontiguousarray(picture[:, 11:]), 90)
    closer = look_closely(picture, altered.resized(cut, 1.5), 0, mirrored=False)
    assert (closer.verdict, closer.confirmed) == (Verdict.SAME, None)
    trimmed = altered.jpeg(np.ascontiguousarray(picture[:, 3:]), 90)  # as programs do that turn a JPEG without loss
    assert look_closely(picture, trimmed, 0, mirrored=False).confirmed is True


def test_a_page_too_small_to_be_read_stays_untold() -> None:
    page = altered.page("4711")
    assert look_closely(page, altered.resized(page, 0.25), 0, mirrored=False).confirmed is None


def test_what_is_too_small_or_blank_stays_untold() -> None:
    page = altered.page("4711", width=600, height=440)
    assert look_closely(page, altered.resized(page, 0.15), 0, mirrored=False).confirmed is None
    white = np.full((300, 400, 3), 255, np.uint8)
    assert look_closely(white, white, 0, mirrored=False).confirmed is None


@pytest.mark.parametrize("share", [0.1, 0.2])
def test_a_copy_too_blurred_to_read_is_not_confirmed(share: float) -> None:
    page = altered.page("4711", width=600, height=440)
    blurred = altered.resized(altered.resized(page, share), 1 / share)
    assert look_closely(page, blurred, 0, mirrored=False).confirmed is not True


@pytest.mark.parametrize("side", [128, 256, 700])
def test_a_turned_drawing_is_another(side: int) -> None:
    icon = altered.arrow(side)
    other = np.ascontiguousarray(np.rot90(icon, 2))
    assert look_closely(icon, altered.jpeg(icon, 90), 0, mirrored=False).confirmed is True
    closer = look_closely(icon, altered.jpeg(other, 90), 180, mirrored=False)
    assert (closer.confirmed, closer.verdict) == (False, Verdict.SIMILAR)


def test_a_copy_that_seems_to_be_changed_is_confirmed_all_the_same() -> None:
    picture = altered.textured(1)
    turned = altered.jpeg(np.ascontiguousarray(np.rot90(picture, 2)), 92)
    assert look_closely(picture, turned, 180, mirrored=False, suspect=True).confirmed is True


@pytest.mark.parametrize("kind", CHANGED)
@pytest.mark.parametrize("seed", range(3))
def test_what_seems_to_be_changed_and_is_does_not_become_the_same(kind: str, seed: int) -> None:
    picture = altered.photo(seed, 800, 600)
    assert look_closely(picture, CHANGED[kind][0](picture), 0, mirrored=False, suspect=True).verdict is not Verdict.SAME


def test_of_a_suspect_pair_more_is_asked_for() -> None:
    """A small spot, hardly brighter than what is around it."""
    picture = altered.photo(11, 800, 600)
    spotted = picture.copy()
    spotted[300:312, 400:412] = np.clip(spotted[300:312, 400:412].astype(int) + 10, 0, 255)
    trusted, suspect = (look_closely(picture, spotted, 0, mirrored=False, suspect=one) for one in (False, True))
    assert trusted.seen == suspect.seen
    assert (trusted.confirmed, trusted.verdict) == (None, Verdict.SAME)
    assert suspect.verdict is Verdict.RETOUCHED


def test_near_shades_of_a_thing_on_white_may_be_others_and_are_not_confirmed() -> None:
    """One red and a bluer, darker one: as copies of one photo would be that somebody has toned."""
    red, darker = (altered.jpeg(altered.lipstick(shade), 90) for shade in ((170, 20, 50), (150, 15, 60)))
    assert look_closely(red, darker, 0, mirrored=False).confirmed is not True
    assert look_closely(red, altered.jpeg(altered.resized(red, 0.7), 60), 0, mirrored=False).confirmed is True


def test_a_near_shade_of_a_part_of_goods_on_white_is_not_confirmed() -> None:
    navy, darker = (altered.jpeg(altered.watch(dial), 90) for dial in ((40, 60, 110), (30, 45, 90)))
    assert look_closely(navy, darker, 0, mirrored=False).confirmed is not True
    assert look_closely(navy, altered.jpeg(altered.resized(navy, 0.7), 60), 0, mirrored=False).confirmed is True


@pytest.mark.parametrize("shades", [((120, 20, 40), (90, 30, 50)), ((190, 40, 60), (165, 36, 98))])
def test_a_thing_in_another_shade_before_a_coloured_ground_is_recoloured(
    shades: tuple[tuple[int, int, int], ...],
) -> None:
    """Its luma is about the same, and a fit of all colours turns those of the one thing as it likes."""
    one, other = (altered.jpeg(altered.lips(shade), 90) for shade in shades)
    assert look_closely(one, other, 0, mirrored=False).verdict is Verdict.RECOLOURED
    assert look_closely(one, altered.jpeg(altered.resized(one, 0.7), 60), 0, mirrored=False).confirmed is True
    warmer = np.clip(one * np.array([1.06, 1, 0.94]), 0, 255).astype(np.uint8)
    assert look_closely(one, warmer, 0, mirrored=False).verdict is Verdict.SAME


def test_flags_of_near_colours_are_not_confirmed() -> None:
    romania, chad = (
        altered.stripes(300, colours)
        for colours in (("#002b7f", "#fcd116", "#ce1126"), ("#002664", "#fecb00", "#c60c30"))
    )
    assert look_closely(romania, chad, 0, mirrored=False).confirmed is not True
    assert look_closely(romania, altered.jpeg(romania, 60), 0, mirrored=False).confirmed is True


def test_one_lamp_of_another_colour_is_seen() -> None:
    """All others are green: a fit of colours may turn that of the one as it likes."""
    green, red = (40, 170, 70), (220, 40, 40)
    good, bad = (altered.states([*[green] * 11, one, *[green] * 7]) for one in (green, red))
    assert look_closely(good, bad, 0, mirrored=False).verdict is Verdict.RECOLOURED
    assert look_closely(good, altered.jpeg(good, 60), 0, mirrored=False).confirmed is True


def test_what_is_equal_but_for_a_faint_place_is_not_confirmed() -> None:
    """A thing hardly darker than what is around it, in a picture that is else the same to the pixel."""
    picture = altered.photo(11, 800, 600) // 2
    changed = picture.copy()
    changed[300:312, 400:408] += 4
    closer = look_closely(picture, changed, 0, mirrored=False)
    assert (closer.confirmed, closer.verdict) == (None, Verdict.SAME)


@pytest.mark.parametrize("suspect", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_another_sky_is_not_confirmed(seed: int, suspect: bool) -> None:
    sky, other = altered.sky(seed), altered.sky(seed + 50, 120)
    closer = look_closely(sky, other, 0, mirrored=False, suspect=suspect)
    assert (closer.confirmed, closer.verdict) == (False, Verdict.SIMILAR)


def test_a_small_place_of_another_colour_is_seen_however_bright_it_is() -> None:
    """A date stamp of another day, on sand as bright as the stamp."""
    one, other = (altered.stamped(altered.sand(3), text) for text in ("'04 7 12", "'04 7 17"))
    assert look_closely(one, altered.jpeg(one, 60), 0, mirrored=False).confirmed is True
    for quality in (85, 60):
        closer = look_closely(one, altered.jpeg(other, quality), 0, mirrored=False)
        assert closer.confirmed is False
        assert closer.verdict is not Verdict.SAME


@pytest.mark.parametrize("share", [1, 0.6])
def test_what_differs_at_the_edge_only_is_seen(share: float) -> None:
    picture = altered.photo(11, 1000, 750)
    changed = picture.copy()
    changed[740:, 300:420] = 255 - changed[740:, 300:420]
    copy, other = (altered.jpeg(altered.resized(one, share), 85) for one in (picture, changed))
    assert look_closely(picture, copy, 0, mirrored=False).confirmed is True
    assert look_closely(picture, other, 0, mirrored=False).verdict is Verdict.RETOUCHED


def test_what_a_filter_leaves_at_the_edge_is_not_certain_and_no_other_picture() -> None:
    picture = altered.photo(11, 1000, 750)
    edged = picture.copy()
    edged[:5] = np.clip(edged[:5].astype(int) + 16, 0, 255)
    closer = look_closely(picture, edged, 0, mirrored=False)
    assert (closer.confirmed, closer.verdict) == (None, Verdict.SAME)
