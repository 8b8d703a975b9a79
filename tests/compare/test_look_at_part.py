"""One picture lies within another: what is said of the two."""

import itertools
import random
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from dupwatchd.compare.parts.agreement import Placement, placement_of
from dupwatchd.compare.parts.beyond import Extent
from dupwatchd.compare.parts.look import look_at_part
from dupwatchd.compare.parts.placed import Outline, PartSeen
from dupwatchd.compare.parts.surround import goes_on, is_frame, is_frame_all_round
from dupwatchd.model import Verdict
from dupwatchd.pixels.keypoints import keypoints_of
from dupwatchd.pixels.proof import Proof, make_proof, wants_a_closer_look
from tests.bench import part_copies
from tests.bench.drawn import drawn
from tests.compare.altered import Rgb, captioned, framed, jpeg, photo, resized, stars, straightened

Changed = Callable[[Rgb], Rgb]


def cut(picture: Rgb, top: float, bottom: float, left: float, right: float) -> Rgb:
    """What lies between these fractions of its height and width."""
    height, width = picture.shape[:2]
    return picture[round(top * height) : round(bottom * height), round(left * width) : round(right * width)]


def made(maker: part_copies.Maker, seed: int = 1) -> Changed:
    return lambda picture: np.asarray(maker(Image.fromarray(picture), random.Random(seed)))


def proof_of(picture: Rgb) -> Proof:
    return make_proof(jpeg(picture, 88))


def looked(first: Rgb | Proof, second: Rgb | Proof) -> PartSeen:
    proofs = [one if isinstance(one, Proof) else proof_of(one) for one in (first, second)]
    placement = placement_of(*map(keypoints_of, proofs))
    assert placement is not None
    return look_at_part(proofs[0], proofs[1], placement)


def box(outline: Outline | None) -> tuple[float, float, float, float]:
    """Top, bottom, left and right."""
    assert outline is not None
    return min(outline[1::2]), max(outline[1::2]), min(outline[::2]), max(outline[::2])


PART = (0.1, 0.85, 0.2, 0.95)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_cut_picture_is_cropped_and_the_whole_shows_more_whichever_comes_first(seed: int) -> None:
    whole = photo(seed, 800, 600)
    part = cut(whole, *PART)
    for first, second, more in ((whole, part, -1), (part, whole, 1)):
        seen = looked(first, second)
        assert seen.verdict is Verdict.CROPPED
        assert seen.shows_more == more
        assert not seen.is_framed
        assert np.abs(np.subtract(box(seen.outline), PART)).max() < 0.01


@pytest.mark.parametrize("quarters", [1, 2, 3])
@pytest.mark.parametrize("share", [0.3, 1.0])
def test_outline_of_a_turned_part_begins_at_its_own_upper_left_corner(quarters: int, share: float) -> None:
    whole = photo(4, 800, 600)
    part = np.ascontiguousarray(np.rot90(resized(cut(whole, *PART), share), -quarters))
    top, bottom, left, right = PART
    upright = [(left, top), (right, top), (right, bottom), (left, bottom)]
    wanted = [upright[(corner - quarters) % 4] for corner in range(4)]
    for first, second in ((whole, part), (part, whole)):
        seen = looked(first, second)
        assert seen.verdict is Verdict.CROPPED
        assert seen.outline is not None
        assert np.abs(np.subtract(np.reshape(seen.outline, (4, 2)), wanted)).max() < 0.015


@pytest.mark.parametrize("degrees", [-2, 5, -12, 30])
@pytest.mark.parametrize("share", [0.3, 1.0])
def test_picture_that_was_straightened_is_cropped_and_lies_aslant(degrees: float, share: float) -> None:
    whole = photo(4, 800, 600)
    part, wanted = straightened(whole, degrees)
    for first, second, more in ((whole, resized(part, share), -1), (resized(part, share), whole, 1)):
        seen = looked(first, second)
        assert (seen.verdict, seen.shows_more, seen.is_framed) == (Verdict.CROPPED, more, False)
        assert seen.outline is not None
        assert np.abs(np.subtract(np.reshape(seen.outline, (4, 2)), wanted)).max() < 0.02


def test_copy_of_the_whole_is_the_same_and_neither_shows_more() -> None:
    seen = looked(photo(6), resized(photo(6), 0.6))
    assert seen.verdict is Verdict.SAME
    assert seen.shows_more == 0
    assert np.abs(np.subtract(box(seen.outline), (0, 1, 0, 1))).max() < 0.01


@pytest.mark.parametrize(
    "kind", [*part_copies.FRAMED, "cut 10 %", "cut to a square", "straightened", "cut 5 %, turned"]
)
def test_copies_as_people_make_them_are_cropped_and_frames_told_from_pictures(kind: str) -> None:
    whole = photo(7, 800, 600)
    seen = looked(whole, made(part_copies.KINDS[kind])(whole))
    assert seen.verdict is Verdict.CROPPED
    assert seen.is_framed == (kind in part_copies.FRAMED)
    assert seen.shows_more == (1 if kind in part_copies.FRAMED else -1)


def test_cut_picture_with_a_caption_is_retouched_and_one_in_grey_recoloured() -> None:
    whole = photo(8, 800, 600)
    part = cut(whole, *PART)
    assert looked(whole, captioned(part, "see you at noon", 44)).verdict is Verdict.RETOUCHED
    grey = np.asarray(Image.fromarray(part).convert("L").convert("RGB"))
    assert looked(whole, grey).verdict is Verdict.RECOLOURED


@pytest.mark.parametrize("maker", [part_copies.written_over, part_copies.sticker])
@pytest.mark.parametrize("seed", [3, 6])
def test_photo_with_fine_lines_that_is_written_over_is_retouched(maker: part_copies.Maker, seed: int) -> None:
    calm = Image.fromarray(photo(seed, 800, 600)).filter(ImageFilter.GaussianBlur(6))
    draw, rng = ImageDraw.Draw(calm), random.Random(seed)
    for _ in range(20):
        left, top = rng.randint(0, 700), rng.randint(0, 500)
        draw.ellipse((left, top, left + rng.randint(20, 150), top + rng.randint(20, 150)), outline="black", width=2)
    whole = np.asarray(calm)
    assert wants_a_closer_look(proof_of(whole))
    assert looked(whole, made(maker)(whole)).verdict is Verdict.RETOUCHED


@pytest.mark.parametrize(("kind", "layout"), [("invoice", 0), ("code", 1), ("chart", 0), ("map", 0)])
def test_pages_of_one_layout_are_not_joined_by_what_they_share(kind: str, layout: int) -> None:
    pages = [np.asarray(drawn(kind, layout, number)) for number in (1, 2)]
    assert looked(*pages).verdict is None


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_frame_around_a_cut_picture_is_passed_over(quarters: int) -> None:
    whole = photo(8, 800, 600)
    in_frame = np.pad(cut(whole, *PART), ((90, 40), (30, 60), (0, 0)), constant_values=255)
    turned = np.ascontiguousarray(np.rot90(in_frame, -quarters))
    for first, second, more in ((whole, turned, -1), (turned, whole, 1)):
        seen = looked(first, second)
        assert seen.verdict is Verdict.CROPPED
        assert seen.shows_more == more
        assert np.abs(np.subtract(box(seen.outline), PART)).max() < 0.02


@pytest.mark.parametrize(("seed", "pixels"), [(0, 40), (1, 60), (2, 80)])
def test_frame_shows_more_even_where_only_what_lies_within_is_the_same(seed: int, pixels: int) -> None:
    """Beside a white frame the stars of a dark sky are laid onto each other not quite as well."""
    sky = stars(seed)
    white = framed(sky, pixels)
    height, width = white.shape[:2]
    wanted = pixels / height, 1 - pixels / height, pixels / width, 1 - pixels / width
    for first, second, more in ((sky, white, 1), (white, sky, -1)):
        seen = looked(first, second)
        assert (seen.verdict, seen.shows_more, seen.is_framed) == (Verdict.CROPPED, more, True)
        assert np.abs(np.subtract(box(seen.outline), wanted)).max() < 0.03


def test_picture_in_two_different_frames_is_found_in_both() -> None:
    picture = photo(9, 800, 600)
    wide = np.pad(picture, ((150, 150), (0, 0), (0, 0)))
    tall = np.pad(picture, ((0, 0), (90, 310), (0, 0)), constant_values=255)
    seen = looked(wide, tall)
    assert seen.verdict is Verdict.CROPPED
    assert seen.shows_more == 0
    assert np.abs(np.subtract(box(seen.outline), (1 / 6, 5 / 6, 0, 1))).max() < 0.02


def _shown_in_a_feed(picture: Rgb) -> Rgb:
    """On a phone, with a bar above, a name and buttons below."""
    height, width = picture.shape[:2]
    screen = Image.new("RGB", (width, round(2.1 * width)), (250, 250, 250))
    draw, top = ImageDraw.Draw(screen), round(0.3 * width)
    draw.text((0.05 * width, 0.02 * width), "10:42", fill="black", font_size=30)
    draw.text((0.15 * width, 0.2 * width), "willow harbour", fill="black", font_size=36)
    screen.paste(Image.fromarray(picture), (0, top))
    for number in range(3):
        left = (0.05 + 0.1 * number) * width
        draw.ellipse((left, top + height + 20, left + 40, top + height + 60), outline="black", width=5)
    draw.text((0.05 * width, top + height + 90), "candle orchard, ribbon of gravel", fill="black", font_size=32)
    return np.asarray(screen)


@pytest.mark.parametrize("seed", [7, 8, 9])
def test_piece_of_a_picture_in_a_screenshot_is_cropped(seed: int) -> None:
    whole = photo(seed, 900, 600)
    shown = _shown_in_a_feed(cut(whole, 0, 1, 0.2, 0.8))
    for first, second, more in ((whole, shown, -1), (shown, whole, 1)):
        seen = looked(first, second)
        assert (seen.verdict, seen.shows_more, seen.is_framed) == (Verdict.CROPPED, more, False)
        assert np.abs(np.subtract(box(seen.outline), (0, 1, 0.2, 0.8))).max() < 0.03


@pytest.mark.parametrize("seed", [7, 8, 9])
@pytest.mark.parametrize("shown_in", [_shown_in_a_feed, lambda piece: made(part_copies.in_a_story)(piece)])
def test_piece_in_a_frame_that_hides_some_of_the_outline_of_the_whole_is_cropped(seed: int, shown_in: Changed) -> None:
    """The whole would reach over the screen, so that where the piece ends is told by what both show."""
    whole = photo(seed, 600, 600)
    shown = shown_in(cut(whole, 0.15, 0.9, 0, 1))
    for first, second, more in ((whole, shown, -1), (shown, whole, 1)):
        seen = looked(first, second)
        assert (seen.verdict, seen.shows_more, seen.is_framed) == (Verdict.CROPPED, more, False)
        assert np.abs(np.subtract(box(seen.outline), (0.15, 0.9, 0, 1))).max() < 0.03


@pytest.mark.parametrize("seed", [7, 8, 9])
def test_piece_in_a_story_is_no_copy_of_one_that_lacks_some_of_it(seed: int) -> None:
    whole = photo(seed, 600, 800)
    story = made(part_copies.in_a_story)(cut(whole, 0, 0.8, 0, 1))
    assert looked(story, cut(whole, 0.2, 1, 0, 1)).verdict is None


def test_picture_does_not_go_on_where_nothing_changes_along_it() -> None:
    """Grey beside a picture of middling tones is as near to them as they are to each other."""
    luma = np.random.default_rng(2).integers(60, 140, (200, 200), np.uint8)
    part = Extent(20, 180, 0, 200)
    assert goes_on(luma, part)
    luma[:20] = luma[180:] = 100
    assert not goes_on(luma, part)


@pytest.mark.parametrize("seed", [7, 8, 9])
def test_narrow_strip_full_of_letters_is_a_frame(seed: int) -> None:
    whole = photo(seed, 800, 600)
    seen = looked(whole, made(part_copies.dated_below, seed)(whole))
    assert (seen.verdict, seen.shows_more, seen.is_framed) == (Verdict.CROPPED, 1, True)


@pytest.mark.parametrize("seed", [7, 8, 9])
def test_screenshot_of_one_piece_is_no_copy_of_another_piece(seed: int) -> None:
    whole = photo(seed, 1100, 600)
    assert looked(_shown_in_a_feed(cut(whole, 0, 1, 0.1, 0.65)), cut(whole, 0, 1, 0.3, 0.95)).verdict is None


def test_frame_all_round_has_opposite_sides() -> None:
    """A blank wall beside one of two pieces of a picture is none."""
    luma = np.full((200, 200), 250, np.uint8)
    luma[:, 30:] = np.random.default_rng(1).integers(0, 200, (200, 170), np.uint8)
    assert is_frame(luma, Extent(0, 200, 30, 200))
    assert not is_frame_all_round(luma, Extent(0, 200, 30, 200))
    luma[:, 170:] = 250
    assert is_frame_all_round(luma, Extent(0, 200, 30, 170))


def _beside(left: Rgb, right: Rgb) -> Rgb:
    gap = np.full((left.shape[0], 10, 3), 255, np.uint8)
    return np.concatenate([left, gap, right], axis=1)


@pytest.mark.parametrize("seed", [1, 2])
def test_another_photo_beside_it_is_no_frame(seed: int) -> None:
    picture, another = photo(seed, 640, 600), photo(seed + 20, 640, 600)
    both = _beside(picture, another)
    seen = looked(picture, both)
    assert (seen.verdict, seen.shows_more, seen.is_framed) == (Verdict.CROPPED, 1, False)


def _with_a_plane(height: int, width: int) -> Rgb:
    y, _ = np.mgrid[:height, :width]
    sky = np.stack([90 + 0.15 * y, 130 + 0.15 * y, 190 + 0.08 * y], axis=2)
    sky[280:300, width // 3 : width // 2], sky[240:340, 2 * width // 5 : 2 * width // 5 + 20] = 60, 70
    return sky.astype(np.uint8)


def _lights_at_night(height: int, width: int) -> Rgb:
    y, x = np.mgrid[:height, :width]
    night, generator = np.full((height, width, 3), 12, np.uint8), np.random.default_rng(width)
    for _ in range(width // 16):
        down, across = generator.integers(20, height - 20), generator.integers(20, width - 20)
        night[np.hypot(y - down, x - across) < 7] = generator.integers(150, 255, 3)
    return night


def _face_in_fog(height: int, width: int) -> Rgb:
    y, x = np.mgrid[:height, :width]
    middle = width // 2
    fog = 200 - 75 * np.exp(-(((y - 300) / 180) ** 2) - ((x - middle) / 140) ** 2)
    for across in (middle - 50, middle + 50):
        fog[np.hypot(y - 260, x - across) < 14] = 40
    fog[400:412, middle - 50 : middle + 50] = 90
    return np.repeat(fog.astype(np.uint8)[..., None], 3, axis=2)


@pytest.mark.parametrize("made_quiet", [_with_a_plane, _lights_at_night, _face_in_fog])
@pytest.mark.parametrize("seed", [1, 2])
def test_quiet_photo_beside_it_may_be_no_frame_so_that_neither_goes(
    made_quiet: Callable[[int, int], Rgb], seed: int
) -> None:
    picture = photo(seed, 640, 600)
    large, small = (made_quiet(600, width) for width in (640, 400))
    collages = [_beside(picture, large), _beside(small, picture), _beside(_beside(small, picture), small)]
    collages.append(np.pad(_beside(picture, large), ((12, 12), (12, 12), (0, 0)), constant_values=255))
    for first, second in [(picture, one) for one in collages] + [(one, picture) for one in collages]:
        seen = looked(first, second)
        assert (seen.verdict, seen.shows_more, seen.is_framed) == (Verdict.CROPPED, 0, False)
    assert np.abs(np.subtract(box(looked(collages[0], picture).outline), (0, 1, 0, 640 / 1290))).max() < 0.01


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_night_with_three_lights_beside_a_piece_of_a_picture_is_no_margin(seed: int) -> None:
    """A margin may have so many specks, but the collage shows them, and the whole does not."""
    whole, night = photo(seed, 1100, 600), np.full((600, 400, 3), 12, np.uint8)
    y, x = np.mgrid[:600, :400]
    for down, across in np.random.default_rng(seed).integers(20, 380, (3, 2)):
        night[np.hypot(y - down, x - across) < 5] = 220
    assert looked(whole, _beside(cut(whole, 0, 1, 0.2, 0.8), night)).verdict is None


@pytest.mark.parametrize("seed", [1, 2])
def test_two_collages_with_one_photo_share_a_part_at_most(seed: int) -> None:
    picture, one, other = photo(seed, 640, 600), photo(seed + 20, 640, 600), photo(seed + 40, 640, 600)
    assert looked(_beside(one, picture), _beside(picture, other)).verdict is None


def _cut_round(square: Rgb, ground: int) -> Rgb:
    half = len(square) / 2
    y, x = (np.mgrid[: len(square), : len(square)] + 0.5 - half) / half
    return np.where(np.hypot(y, x)[..., None] > 1, np.uint8(ground), square)


@pytest.mark.parametrize("ground", [0, 255])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_portrait_that_was_cut_round_is_cropped_and_lies_where_all_of_it_was(seed: int, ground: int) -> None:
    whole = photo(seed, 800, 600)
    portrait = _cut_round(cut(whole, 0, 1, 0.1, 0.85), ground)
    for first, second, more in ((whole, portrait, -1), (portrait, whole, 1)):
        seen = looked(first, second)
        assert (seen.verdict, seen.shows_more) == (Verdict.CROPPED, more)
        assert np.abs(np.subtract(box(seen.outline), (0, 1, 0.1, 0.85))).max() < 0.02


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_piece_that_does_not_reach_as_far_as_the_circle_of_a_portrait_shows_no_more(seed: int) -> None:
    """It reaches beyond the box in the circle, and lacks what the circle shows above, below and beside."""
    square = photo(seed, 600, 600)
    piece = Image.fromarray(square[70:530, 70:530])
    ImageDraw.Draw(piece).rectangle((0, 0, 460, 16), fill="white")
    ImageDraw.Draw(piece).text((20, 1), "SUMMER 2019 BY THE LAKE", fill="black", font_size=13)
    ImageDraw.Draw(piece).rectangle((0, 444, 460, 460), fill="red")
    larger, portrait = np.asarray(piece.resize((1380, 1380), Image.Resampling.BICUBIC)), _cut_round(square, 255)
    for first, second, wanted in (
        (larger, portrait, (-70 / 460, 530 / 460, -70 / 460, 530 / 460)),
        (portrait, larger, (70 / 600, 530 / 600, 70 / 600, 530 / 600)),
    ):
        seen = looked(first, second)
        assert (seen.verdict, seen.shows_more, seen.is_framed) == (Verdict.CROPPED, 0, False)
        assert np.abs(np.subtract(box(seen.outline), wanted)).max() < 0.02


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_picture_that_is_written_on_where_a_portrait_is_not_shows_no_more(seed: int) -> None:
    whole = photo(seed, 800, 600)
    written = Image.fromarray(whole)
    ImageDraw.Draw(written).rectangle((0, 0, 800, 70), fill="white")
    ImageDraw.Draw(written).text((100, 5), "SUMMER 2019 BY THE LAKE", fill="black", font_size=48)
    seen = looked(_cut_round(cut(whole, 0, 1, 0.1, 0.85), 255), np.asarray(written))
    assert (seen.verdict, seen.shows_more) == (Verdict.CROPPED, 0)


def leaves(seed: int) -> Rgb:
    """Structure at all places, of several sizes."""
    random = np.random.default_rng(seed)
    grey = np.full((600, 800), 128, np.float32)
    for cells in (9, 25, 60):
        some = random.normal(size=(3 * cells // 4, cells)).astype(np.float32)
        grey += 34 * np.asarray(Image.fromarray(some).resize((800, 600), Image.Resampling.BICUBIC))
    colours: Rgb = np.clip(np.stack([grey, 0.9 * grey + 10, 0.6 * grey + 40], axis=2), 0, 255).astype(np.uint8)
    return colours


def _share_of(seeds: range, is_so: Callable[[int], bool]) -> float:
    return sum(map(is_so, seeds)) / len(seeds)


def _looked_if_placed(first: Rgb, second: Rgb) -> PartSeen | None:
    """None: their keypoints do not show that they share a part."""
    proofs = proof_of(first), proof_of(second)
    placement = placement_of(*map(keypoints_of, proofs))
    return look_at_part(*proofs, placement) if placement else None


def test_cut_pictures_with_a_filter_and_a_vignette_are_mostly_retouched() -> None:
    def is_retouched(seed: int) -> bool:
        whole = leaves(seed)
        part = cut(whole, *PART).astype(np.float64)
        y, x = (2 * np.mgrid[: part.shape[0], : part.shape[1]].T / part.shape[1::-1] - 1).T
        part = (20 + 0.9 * part + (12, 4, -10)) * (1 - 0.12 * (x * x + y * y))[..., None]
        seen = _looked_if_placed(whole, np.clip(part, 0, 255).astype(np.uint8))
        return seen is not None and (seen.verdict, seen.shows_more) == (Verdict.RETOUCHED, -1)

    assert _share_of(range(1, 13), is_retouched) >= 0.7


def _with_letters(picture: Rgb) -> Rgb:
    """Large ones with outlines, above and below."""
    made = Image.fromarray(picture)
    draw = ImageDraw.Draw(made)
    for text, place in (("WHEN THE KETTLE", 0.02), ("MEETS THE WALNUT", 0.84)):
        at = 0.04 * made.width, place * made.height
        draw.text(at, text, fill="white", stroke_width=7, stroke_fill="black", font_size=0.13 * made.height)
    return np.asarray(made)


def test_large_letters_above_and_below_mostly_make_it_retouched_and_half_of_another_picture_never_does() -> None:
    def is_retouched(seed: int) -> bool:
        whole = leaves(seed + 20)
        half = whole.copy()
        half[:, 400:] = leaves(seed)[:, 400:]
        seen = _looked_if_placed(whole, half)
        assert seen is None or seen.verdict is None
        seen = _looked_if_placed(whole, _with_letters(whole))
        return seen is not None and seen.verdict is Verdict.RETOUCHED

    assert _share_of(range(1, 9), is_retouched) >= 0.85


@pytest.mark.parametrize("degrees", [-9, -2, 1.5, 5])
def test_ground_around_a_picture_that_lies_aslant_is_a_frame(degrees: float) -> None:
    whole = photo(3, 800, 600)
    turned = Image.fromarray(whole).rotate(degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=(0, 0, 0))
    for first, second, more in ((whole, np.asarray(turned), 1), (np.asarray(turned), whole, -1)):
        seen = looked(first, second)
        assert (seen.verdict, seen.shows_more, seen.is_framed) == (Verdict.CROPPED, more, True)


def test_two_pieces_that_each_show_what_the_other_does_not_share_a_part_at_most() -> None:
    whole = photo(9, 800, 600)
    seen = looked(cut(whole, 0, 1, 0, 0.8), cut(whole, 0, 1, 0.2, 1))
    assert seen.verdict is None
    assert seen.shows_more == 0
    assert seen.seen is not None
    assert seen.seen.luma is None  # what differs in it could not have changed that


def test_object_that_two_pictures_share_joins_nothing() -> None:
    scenes = [photo(seed, 800, 600).copy() for seed in (10, 11)]
    thing = photo(12, 400, 300)
    for scene, (top, left) in zip(scenes, ((40, 60), (220, 330)), strict=True):
        scene[top : top + 300, left : left + 400] = thing
    assert looked(*scenes).verdict is None


def test_wrong_placement_joins_nothing() -> None:
    first, second = proof_of(photo(13)), proof_of(photo(14))
    for scale in (0.01, 0.4, 1.0, 2.5, 90.0):
        for place, lean in itertools.product((-2.0, -0.2, 0.0, 0.3), (0.0, 20.0)):
            seen = look_at_part(first, second, Placement(90, lean, scale, place, -place, votes=2, distance=0))
            assert seen.verdict is None


def test_tiny_and_flat_proofs_are_taken() -> None:
    some = [np.full((1, 1, 3), 9, np.uint8), np.full((300, 9, 3), 200, np.uint8), np.full((200, 200, 3), 77, np.uint8)]
    proofs = [make_proof(one) for one in some]
    for first, second, lean in itertools.product(proofs, proofs, (0.0, -30.0)):
        seen = look_at_part(first, second, Placement(0, lean, 1.0, 0.0, 0.0, votes=2, distance=0))
        assert seen.verdict in (None, Verdict.SAME, Verdict.CROPPED)


@pytest.mark.parametrize("seed", [1, 2, 5])
def test_copy_with_a_strip_of_text_is_retouched_although_few_keypoints_place_it_badly(seed: int) -> None:
    picture = photo(seed, 800, 600)
    with_strip = Image.fromarray(picture)
    draw = ImageDraw.Draw(with_strip, "RGBA")
    draw.rectangle((0, 450, 800, 500), fill=(0, 0, 0, 140))
    draw.text((250, 460), "greetings from the pier", fill="white", font_size=30)
    proofs = [proof_of(picture), proof_of(np.asarray(with_strip))]
    placement = Placement(0, 0.5, 0.989, 0.0002, 0.0027, votes=3, distance=80)
    seen = look_at_part(proofs[0], proofs[1], placement)
    assert (seen.verdict, seen.shows_more) == (Verdict.RETOUCHED, 0)
