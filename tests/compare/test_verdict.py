import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dupwatchd.compare.verdict.fine import look_closely
from dupwatchd.compare.verdict.verdict import Seen, doubtful, look, verdict_of
from dupwatchd.model import Verdict
from dupwatchd.pixels.proof import Proof, make_proof, wants_a_closer_look
from tests.bench.drawn import KINDS, drawn
from tests.bench.part_copies import written_over
from tests.compare import altered
from tests.compare.altered import Rgb

COPIES: dict[str, Callable[[Rgb], Rgb]] = {
    "unchanged": lambda picture: picture,
    "q90": lambda picture: altered.jpeg(picture, 90),
    "q50": lambda picture: altered.jpeg(picture, 50),
    "half": lambda picture: altered.jpeg(altered.resized(picture, 0.5), 90),
    "quarter": lambda picture: altered.jpeg(altered.resized(picture, 0.25), 90),
    "squeezed": lambda picture: altered.resized(picture[:, ::2], 1),
    "brighter": lambda picture: altered.jpeg(altered.brighter(picture, 1.14), 92),
    "darker": lambda picture: altered.jpeg(altered.brighter(picture, 0.87), 92),
}
CHANGED: dict[str, tuple[Callable[[Rgb], Rgb], Verdict]] = {
    "cut": (lambda picture: altered.jpeg(altered.cut(picture, 0.04), 92), Verdict.CROPPED),
    "framed": (lambda picture: altered.jpeg(altered.framed(picture, 14), 92), Verdict.CROPPED),
    "captioned": (lambda picture: altered.jpeg(altered.captioned(picture, "gone fishing"), 92), Verdict.RETOUCHED),
    "grey": (lambda picture: altered.jpeg(altered.grey(picture), 92), Verdict.RECOLOURED),
    "other colours": (lambda picture: altered.jpeg(altered.other_colours(picture), 92), Verdict.RECOLOURED),
}


def seen(first: Rgb, second: Rgb, turn: int = 0, *, mirrored: bool = False) -> Seen:
    return look(make_proof(first), make_proof(second), turn, mirrored=mirrored)


@pytest.mark.parametrize("kind", COPIES)
@pytest.mark.parametrize("seed", range(4))
def test_a_plain_copy_is_the_same(kind: str, seed: int) -> None:
    picture = altered.photo(seed)
    assert verdict_of(seen(picture, COPIES[kind](picture))) is Verdict.SAME


@pytest.mark.parametrize("kind", CHANGED)
@pytest.mark.parametrize("seed", range(4))
def test_a_changed_copy_is_called_what_it_is(kind: str, seed: int) -> None:
    picture = altered.photo(seed)
    change, verdict = CHANGED[kind]
    assert verdict_of(seen(picture, change(picture))) is verdict


@pytest.mark.parametrize("colour", [(190, 60, 60), (60, 110, 190)])
def test_a_grey_photo_of_which_a_small_part_is_in_colour_is_recoloured(colour: tuple[int, int, int]) -> None:
    grey = altered.grey(altered.photo(5))
    splash = grey.copy()
    tint = np.asarray(colour) / np.dot(colour, (0.299, 0.587, 0.114))
    splash[150:230, 250:340] = np.clip(splash[150:230, 250:340] * tint, 0, 255)
    assert verdict_of(seen(grey, splash)) is Verdict.RECOLOURED
    assert verdict_of(seen(splash, altered.jpeg(altered.resized(splash, 0.5), 50))) is Verdict.SAME


@pytest.mark.parametrize(
    ("seed", "corners", "bottom"), [(0, 0.5, 1.0), (0, 0.3, 1.0), (2, 0.3, 1.0), (0, 1.0, 0.4), (1, 1.0, 0.4)]
)
def test_a_photo_in_which_only_the_light_was_changed_is_a_version_of_it(
    seed: int, corners: float, bottom: float
) -> None:
    picture = altered.photo(seed)
    darker = altered.lit(picture, corners, bottom)
    verdict = verdict_of(seen(picture, darker))
    assert verdict_of(seen(darker, picture)) is verdict
    assert verdict is Verdict.RETOUCHED


def test_a_photo_in_which_only_the_light_was_changed_stays_a_version_when_looked_at_closely() -> None:
    picture = altered.photo(0)
    closer = look_closely(picture, altered.lit(picture, 0.5), 0, mirrored=False, suspect=True)
    assert (closer.verdict, closer.confirmed) == (Verdict.RETOUCHED, False)


@pytest.mark.parametrize("seed", range(4))
def test_another_picture_in_another_light_is_similar_at_most(seed: int) -> None:
    picture, other = altered.photo(seed), altered.photo(seed + 40)
    assert verdict_of(seen(picture, altered.lit(other, 0.3))) is Verdict.SIMILAR
    other[:, 200:440] = picture[:, 200:440]
    assert verdict_of(seen(picture, altered.lit(other, 0.5))) is Verdict.SIMILAR


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("colour", [altered.grey, lambda picture: picture])
def test_a_flat_photo_whose_contrast_was_stretched_is_the_same(seed: int, colour: Callable[[Rgb], Rgb]) -> None:
    picture = colour(altered.photo(seed))
    flat = altered.flatter(picture, 90, 165)
    assert verdict_of(seen(flat, picture)) is verdict_of(seen(picture, flat)) is Verdict.SAME
    closer = look_closely(picture, flat, 0, mirrored=False)
    assert (closer.verdict, closer.confirmed) == (Verdict.SAME, None)  # nobody is certain of so much


def goods(colour: tuple[int, int, int]) -> Rgb:
    """A thing of this colour, with soft folds, on a white ground."""
    picture = np.full((500, 500, 3), 246.0)
    picture[100:420, 120:380] = colour
    y, x = np.mgrid[0:500, 0:500]
    picture *= (1 + 0.06 * np.sin(x / 20) * np.cos(y / 30))[..., None]
    rendered: Rgb = np.clip(picture, 0, 255).astype(np.uint8)
    return rendered


@pytest.mark.parametrize(
    ("colour", "other"),
    [((150, 150, 150), (90, 90, 90)), ((190, 30, 40), (120, 20, 40)), ((30, 60, 150), (20, 35, 95))],
)
def test_goods_on_white_in_a_darker_shade_are_recoloured(
    colour: tuple[int, int, int], other: tuple[int, int, int]
) -> None:
    assert verdict_of(seen(goods(colour), altered.jpeg(goods(other), 92))) is Verdict.RECOLOURED
    for copy in (altered.brighter(goods(colour), 0.87), goods(colour)[::2, ::2]):
        assert verdict_of(seen(goods(colour), altered.jpeg(copy, 85))) is Verdict.SAME


def test_paper_made_white_and_letters_made_black_make_no_other_page() -> None:
    faded = altered.flatter(altered.page("4711"), 90, 200)
    for darkest, brightest in ((90, 255), (0, 200), (0, 255)):
        assert verdict_of(seen(faded, altered.flatter(altered.page("4711"), darkest, brightest))) is Verdict.SAME


@pytest.mark.parametrize("shade", [0.3, 0.45])
@pytest.mark.parametrize("noise", [0, 6, 15])
def test_a_product_in_a_darker_colour_is_no_matter_of_contrast(shade: float, noise: int) -> None:
    """Any two tones lie on a straight line: that of the ground and that of the cloth."""
    random = np.random.default_rng(noise)
    cloth = np.full((400, 400), 170.0) + 12 * np.sin(np.arange(400) / 25)
    on_white = [np.full((400, 400), 240.0) + random.normal(size=(400, 400)) for _ in range(2)]
    for ground, one in zip(on_white, (1, shade), strict=True):
        ground[90:310, 90:310] = ((cloth + random.normal(size=(400, 400)) * noise) * one)[90:310, 90:310]
    light, dark = (np.repeat(np.clip(one, 0, 255).astype(np.uint8)[..., None], 3, 2) for one in on_white)
    assert verdict_of(seen(light, dark)) is not Verdict.SAME


@pytest.mark.parametrize("seed", range(4))
def test_another_picture_is_similar_at_most(seed: int) -> None:
    assert verdict_of(seen(altered.photo(seed), altered.photo(seed + 40))) is Verdict.SIMILAR


@pytest.mark.parametrize("level", [120, 150])
@pytest.mark.parametrize("seed", range(4))
def test_another_sky_is_similar_at_most(seed: int, level: int) -> None:
    sky = altered.sky(seed)
    assert verdict_of(seen(sky, altered.jpeg(sky, 75))) is Verdict.SAME
    assert verdict_of(seen(sky, altered.sky(seed + 50, level))) is Verdict.SIMILAR


@pytest.mark.parametrize("seed", range(3))
def test_a_picture_shifted_by_a_step_is_not_the_same(seed: int) -> None:
    whole = altered.photo(seed, 720, 480)
    verdict = verdict_of(seen(whole[:, :600], whole[:, 120:]))
    assert verdict in (Verdict.SIMILAR, Verdict.CROPPED)


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_turned_copy_is_the_same_in_that_turn_only(turn: int, mirrored: bool) -> None:
    picture = altered.photo(8)
    placed = np.rot90(picture, turn // 90)  # counterclockwise, so that turning it clockwise brings it back
    placed = np.ascontiguousarray(placed[:, ::-1] if mirrored else placed)
    assert verdict_of(seen(picture, placed, turn, mirrored=mirrored)) is Verdict.SAME
    assert verdict_of(seen(picture, placed, (turn + 90) % 360, mirrored=mirrored)) is Verdict.SIMILAR


@pytest.mark.parametrize("side", [32, 64, 100, 128, 180])
@pytest.mark.parametrize("turn", [90, 180])
def test_a_turned_icon_is_another(side: int, turn: int) -> None:
    icon = altered.arrow(side)
    other = np.ascontiguousarray(np.rot90(icon, turn // 90))
    assert verdict_of(seen(icon, altered.jpeg(icon, 90))) is Verdict.SAME
    assert verdict_of(seen(icon, other, turn)) is Verdict.SIMILAR
    assert verdict_of(seen(icon, altered.jpeg(other, 85), turn)) is Verdict.SIMILAR


@pytest.mark.parametrize("side", [300, 900])
@pytest.mark.parametrize("colours", [("white", "crimson"), ("navy", "white", "orange"), ("white", "navy") * 12])
def test_a_turned_flag_is_another_at_any_size(side: int, colours: tuple[str, ...]) -> None:
    flag = altered.stripes(side, colours)
    other = np.ascontiguousarray(np.rot90(flag, 2 if len(colours) < 4 else 1))
    turn = 180 if len(colours) < 4 else 90
    assert verdict_of(seen(flag, altered.jpeg(flag, 90))) is Verdict.SAME
    assert verdict_of(seen(flag, altered.jpeg(other, 90), turn)) is Verdict.SIMILAR


def test_a_lamp_in_the_night_is_the_same_when_turned() -> None:
    """Nearly all of it is of a few grey levels, and it is no drawing."""
    night = altered.lamps(3)
    turned = altered.jpeg(np.ascontiguousarray(np.rot90(night)), 85)
    assert verdict_of(seen(night, turned, 90)) is Verdict.SAME


@pytest.mark.parametrize("width", [48, 64, 80, 140])
def test_a_small_photo_that_was_turned_is_the_same(width: int) -> None:
    small = altered.resized(altered.photo(6), width / 640)
    turned = altered.jpeg(np.ascontiguousarray(np.rot90(small)), 90)
    assert verdict_of(seen(small, turned, 90)) is Verdict.SAME


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("share", [0.055, 0.07, 0.09])
def test_a_faint_and_tiny_copy_is_no_crop(seed: int, share: float) -> None:
    """Its sides may be found a pixel off."""
    faint = np.clip((altered.photo(seed).astype(np.float32) - 128) * 0.1 + 150, 0, 255).astype(np.uint8)
    assert verdict_of(seen(faint, altered.jpeg(altered.resized(faint, share), 40))) is Verdict.SAME


@pytest.mark.parametrize("share", [0.25, 0.4])
@pytest.mark.parametrize("text_px", [20, 30, 40])
def test_a_smaller_copy_of_a_page_with_one_line_is_no_crop(share: float, text_px: int) -> None:
    page = altered.captioned(np.full((1754, 1240, 3), 255, np.uint8), "this page is left blank", text_px)
    assert verdict_of(seen(page, altered.resized(page, share))) is Verdict.SAME


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("share", [0.09, 0.12, 0.5])
def test_a_small_crop_is_one(seed: int, share: float) -> None:
    picture = altered.photo(seed)
    assert verdict_of(seen(picture, altered.resized(altered.cut(picture, 0.04), share))) is Verdict.CROPPED


@pytest.mark.parametrize("kind", KINDS)
def test_documents_of_one_layout_are_not_the_same_and_their_copies_are(kind: str) -> None:
    first, second = (np.asarray(drawn(kind, 0, number)) for number in (0, 1))
    copy = altered.jpeg(altered.resized(first, 0.5), 80)
    assert verdict_of(seen(first, second)) in (Verdict.RETOUCHED, Verdict.SIMILAR)
    assert verdict_of(seen(copy, second)) in (Verdict.RETOUCHED, Verdict.SIMILAR)
    assert verdict_of(seen(first, copy)) is Verdict.SAME


def test_a_page_with_hardly_anything_on_it_is_the_same_at_half_its_size() -> None:
    page = np.full((1400, 1000, 3), 254, np.uint8)
    page[120:190, 100:340] = (30, 70, 160)
    page = altered.captioned(page, "best regards", 30)
    half = altered.resized(page, 0.5)
    assert verdict_of(seen(page, half)) is Verdict.SAME
    assert verdict_of(seen(half, altered.jpeg(page, 80))) is Verdict.SAME
    assert verdict_of(seen(page, altered.captioned(half, "yours", 24))) is Verdict.RETOUCHED


def test_a_number_too_small_for_the_proof_is_looked_for_more_closely() -> None:
    first, second = (make_proof(altered.page(number)) for number in ("4711", "4171"))
    found = look(first, second, 0, mirrored=False)
    assert verdict_of(found) is not Verdict.SAME or doubtful(found) or wants_a_closer_look(first)


def test_blank_pictures_are_in_doubt() -> None:
    white, cream = np.full((300, 400, 3), 255, np.uint8), np.full((300, 400, 3), (255, 253, 250), np.uint8)
    assert doubtful(seen(white, cream))


OTHERS = st.sampled_from([*COPIES.values(), *(change for change, _ in CHANGED.values()), lambda _: altered.photo(99)])


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 5),
    width=st.integers(24, 700),
    height=st.integers(24, 700),
    change=OTHERS,
    turn=st.sampled_from([0, 90, 180, 270]),
    mirrored=st.booleans(),
)
def test_what_is_seen_depends_neither_on_the_order_nor_on_the_time(
    seed: int, width: int, height: int, change: Callable[[Rgb], Rgb], turn: int, mirrored: bool
) -> None:
    first = altered.photo(seed, width, height)
    second = np.rot90(change(first), turn // 90)
    a, b = make_proof(first), make_proof(np.ascontiguousarray(second[:, ::-1] if mirrored else second))
    there = look(a, b, turn, mirrored=mirrored)
    # Mirrored and then turned, the way back is the same; only turned, it is the other way round.
    back = look(b, a, turn if mirrored else -turn % 360, mirrored=mirrored)
    assert there == back
    assert verdict_of(there) is verdict_of(back)
    restored = Proof.from_bytes(a.to_bytes()), Proof.from_bytes(b.to_bytes())
    assert look(*restored, turn, mirrored=mirrored) == there


@settings(max_examples=40, deadline=None)
@given(width=st.integers(1, 300), height=st.integers(1, 300), other=st.integers(1, 300), kind=st.integers(0, 3))
def test_hostile_pictures_are_looked_at_without_complaint(width: int, height: int, other: int, kind: int) -> None:
    random = np.random.default_rng(kind)
    shape = height, width, 3
    made = (np.zeros(shape), np.ones(shape) * 255, random.integers(0, 2, shape) * 255, random.random(shape) * 3)
    first = made[kind].astype(np.uint8)
    second = random.integers(0, 256, (other, width, 3)).astype(np.uint8)
    for pair in ((first, second), (second, first), (first, first)):
        assert verdict_of(seen(*pair)) in Verdict


@pytest.mark.parametrize("seed", [12, 13])
def test_large_letters_do_not_change_the_tones_of_what_they_are_written_over(seed: int) -> None:
    pale = (0.5 * altered.photo(seed, 800, 600) + 120).astype(np.uint8)
    image = Image.fromarray(pale)
    for text in range(3):
        image = written_over(image, random.Random(10 * seed + text))
    seen = look(make_proof(altered.jpeg(pale, 90)), make_proof(altered.jpeg(np.asarray(image), 85)), 0, mirrored=False)
    assert verdict_of(seen) is Verdict.RETOUCHED
