"""Real files of drawn pictures: which of two is shown to be nearer the original."""

import functools
import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter

from dupwatchd.compare.origin.candidate import Candidate
from dupwatchd.compare.origin.direction import (
    Direction,
    has_more_than_its_source,
    lost_detail,
    may_be_enlarged,
    may_be_softened,
    nearer,
)
from dupwatchd.compare.origin.fit import Fit
from dupwatchd.compare.origin.laying import laid_upon
from dupwatchd.index import pillow_formats  # noqa: F401 - registers HEIF with Pillow
from dupwatchd.index.facts import is_lossless, jpeg_steps, scan_digest, stored_luma
from dupwatchd.pixels.signs import has_colour, has_jpeg_grid
from tests.bench.drawn import KINDS, drawn
from tests.conftest import photo_like

Picture = Image.Image
BICUBIC, LANCZOS = Image.Resampling.BICUBIC, Image.Resampling.LANCZOS


@functools.lru_cache(maxsize=8)
def scene(seed: int, width: int = 481, height: int = 363) -> Picture:
    """Broad shapes, hard edges, fine texture and a little noise; sides that are no multiples of 8."""
    random = np.random.default_rng(seed)
    picture = Image.fromarray(photo_like(seed, width, height))
    draw = ImageDraw.Draw(picture)
    for _ in range(60):
        x, y, w, h = random.integers((0, 0, 4, 4), (width, height, 90, 90))
        colour = tuple(int(v) for v in random.integers(20, 235, 3))
        draw.ellipse((x, y, x + w, y + h), outline=colour, width=int(random.integers(1, 4)))
    grain = random.normal(0, 14, (height, width, 1)) * random.uniform(0.3, 1, (1, 1, 3))
    grainy = np.clip(np.asarray(picture.filter(ImageFilter.GaussianBlur(0.6))) + grain, 0, 255).astype(np.uint8)
    return Image.fromarray(grainy).filter(ImageFilter.GaussianBlur(0.5))


def saved(picture: Picture, kind: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **({"quality": 90} | options if kind in ("JPEG", "WEBP", "AVIF") else options))
    return buffer.getvalue()


def opened(data: bytes) -> Picture:
    return Image.open(io.BytesIO(data)).convert("RGB")


def candidate(data: bytes, from_camera: bool = False) -> Candidate:
    image = Image.open(io.BytesIO(data))
    luma, lossless = stored_luma(image, data), is_lossless(image, data)
    thumbnail = np.asarray(opened(data).resize((32, 32), Image.Resampling.BOX))
    return Candidate(
        luma, str(image.format), lossless, has_colour(thumbnail), lossless and has_jpeg_grid(luma),
        jpeg_steps(data), scan_digest(data), from_camera,
    )  # fmt: skip


COPIES: dict[str, Callable[[Picture], bytes]] = {
    "jpeg 95": lambda p: saved(p, quality=95),
    "jpeg 60": lambda p: saved(p, quality=60),
    "progressive": lambda p: saved(p, quality=80, progressive=True),
    "png": lambda p: saved(p, "PNG"),
    "bmp": lambda p: saved(p, "BMP"),
    "webp": lambda p: saved(p, "WEBP", quality=80),
    "turned": lambda p: saved(p.transpose(Image.Transpose.ROTATE_90), quality=93),
    "upside down": lambda p: saved(p.transpose(Image.Transpose.ROTATE_180), "PNG"),
    "mirrored": lambda p: saved(p.transpose(Image.Transpose.FLIP_LEFT_RIGHT), quality=93),
    "grey": lambda p: saved(p.convert("L"), quality=95),
    "cut": lambda p: saved(p.crop((5, 3, p.width - 6, p.height - 9)), quality=93),
    "enlarged": lambda p: saved(p.resize((p.width * 3 // 2, p.height * 3 // 2), BICUBIC), quality=92),
    "enlarged png": lambda p: saved(p.resize((p.width * 2, p.height * 2), LANCZOS), "PNG"),
    "half size": lambda p: saved(p.resize((p.width // 2, p.height // 2), LANCZOS)),
}


@pytest.mark.parametrize("kind", COPIES)
@pytest.mark.parametrize("quality", [75, 88])
def test_a_jpeg_is_nearer_than_each_kind_of_copy(kind: str, quality: int) -> None:
    data = saved(scene(quality), quality=quality)
    original, copy = candidate(data), candidate(COPIES[kind](opened(data)))
    assert nearer(original, copy) is Direction.FIRST
    assert nearer(copy, original) is Direction.SECOND


@pytest.mark.parametrize("quality", [75, 88, 93])
def test_a_jpeg_coded_in_inks_or_in_rgb_is_never_taken_for_the_original(quality: int) -> None:
    original = saved(scene(quality), quality=quality)
    for copy in (saved(opened(original).convert("CMYK")), saved(opened(original), keep_rgb=True)):
        assert jpeg_steps(copy) is None
        assert nearer(candidate(original, from_camera=True), candidate(copy)) is not Direction.SECOND
        assert nearer(candidate(original), candidate(copy)) is not Direction.SECOND


@pytest.mark.parametrize("quality", [75, 80, 85, 88, 92])
def test_a_brightened_copy_is_never_taken_for_the_original(quality: int) -> None:
    original = saved(scene(quality), quality=quality)
    brighter = opened(original).point([min(255, round(v * 1.1)) for v in range(256)] * 3)
    assert nearer(candidate(original), candidate(saved(brighter, quality=92))) is not Direction.SECOND


@pytest.mark.parametrize(
    ("seed", "quality", "gain", "again"), [(0, 92, 1.5, 90), (1, 75, 1.3, 75), (1, 92, 1.5, 90), (2, 92, 1.5, 90)]
)
def test_a_copy_of_more_contrast_is_not_taken_for_the_original(
    seed: int, quality: int, gain: float, again: int
) -> None:
    original = saved(scene(seed), quality=quality)
    harder = opened(original).point([max(0, min(255, round(128 + (v - 128) * gain))) for v in range(256)] * 3)
    assert nearer(candidate(original), candidate(saved(harder, quality=again))) is not Direction.SECOND


@pytest.mark.parametrize("kind", ["jpeg 60", "webp", "grey", "enlarged png"])
def test_a_lossless_original_is_nearer_than_its_copies(kind: str) -> None:
    picture = scene(3)
    assert nearer(candidate(saved(picture, "PNG")), candidate(COPIES[kind](picture))) is Direction.FIRST


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("quality", [60, 80, 95])
def test_a_drawn_original_is_nearer_than_a_jpeg_of_it(kind: str, quality: int) -> None:
    """Documents and screens are flat: a JPEG of them has too few coefficients for its lattice."""
    page = drawn(kind, 0, 1)
    jpeg = saved(page, quality=quality)
    original, copy, copy_of_it = map(candidate, (saved(page, "PNG"), jpeg, saved(opened(jpeg), "PNG")))
    assert nearer(original, copy) is Direction.FIRST
    assert nearer(copy, original) is Direction.SECOND
    assert nearer(copy_of_it, copy) is not Direction.FIRST


def test_a_lossless_file_with_a_jpegs_grid_comes_after_one_without() -> None:
    picture = scene(4)
    was_jpeg = saved(opened(saved(picture, quality=80)), "BMP")
    assert candidate(was_jpeg).jpeg_grid
    assert nearer(candidate(saved(picture, "PNG")), candidate(was_jpeg)) is Direction.FIRST


def test_at_quality_100_equal_pixels_tell_what_was_a_jpeg_before() -> None:
    """Its lattice cannot be seen: every pixel lies on it."""
    picture = scene(5)
    best = saved(picture, quality=100)
    assert nearer(candidate(best), candidate(saved(opened(best), "BMP"))) is Direction.FIRST
    assert nearer(candidate(best), candidate(saved(picture, "PNG"))) is Direction.SECOND


def test_a_cameras_jpeg_of_quality_100_is_not_put_behind_a_png_by_another_decoder() -> None:
    best = saved(scene(5), quality=100)
    other = np.asarray(opened(best)).astype(int) + np.random.default_rng(1).integers(0, 2, (363, 481, 3))
    png = saved(Image.fromarray(np.clip(other, 0, 255).astype(np.uint8)), "PNG")
    assert nearer(candidate(best, from_camera=True), candidate(png)) is not Direction.SECOND


def test_of_equal_coded_pictures_the_one_with_the_cameras_data_comes_first() -> None:
    data = saved(scene(5))
    with_comment = data[:2] + b"\xff\xfe\x00\x07hello" + data[2:]
    assert nearer(candidate(with_comment), candidate(data, from_camera=True)) is Direction.SECOND
    assert nearer(candidate(with_comment), candidate(data)) is Direction.NEITHER


def test_a_thumbnail_enlarged_beyond_the_original_comes_after_it() -> None:
    """It is no enlargement of the original, and fits it badly: but it lacks what the smaller file shows."""
    picture = scene(6)
    tiny = picture.resize((picture.width // 4, picture.height // 4), LANCZOS)
    blown_up = saved(tiny.resize((picture.width * 3, picture.height * 3), BICUBIC), quality=93)
    assert nearer(candidate(blown_up), candidate(saved(picture, quality=93))) is Direction.SECOND


SHARPENED: dict[str, Callable[[Picture], Picture]] = {
    "at its size": lambda p: p.filter(ImageFilter.UnsharpMask(1.5, 80, 0)),
    "enlarged": lambda p: p.resize((p.width * 2, p.height * 2), LANCZOS).filter(ImageFilter.UnsharpMask(1.5, 80, 0)),
    "enlarged twice": lambda p: (
        p.resize((p.width * 3 // 2, p.height * 3 // 2), BICUBIC)
        .resize((p.width * 2, p.height * 2), LANCZOS)
        .filter(ImageFilter.UnsharpMask(1, 30, 0))
    ),
}


@pytest.mark.parametrize("how", SHARPENED)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_jpeg_is_nearer_than_what_was_sharpened(how: str, kind: str) -> None:
    original = saved(scene(11), quality=85)
    copy = saved(SHARPENED[how](opened(original)), kind, **({"quality": 95} if kind == "JPEG" else {}))
    assert nearer(candidate(original), candidate(copy)) is Direction.FIRST
    assert nearer(candidate(copy), candidate(original)) is Direction.SECOND


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_what_may_be_enlarged_and_sharpened_is_told(kind: str) -> None:
    original = saved(scene(8))
    large = saved(opened(original).resize((962, 726), LANCZOS).filter(ImageFilter.UnsharpMask(2, 130)), kind)
    assert may_be_enlarged(candidate(original), candidate(large))
    assert may_be_enlarged(candidate(large), candidate(original))
    assert not may_be_enlarged(candidate(original), candidate(large, from_camera=True))
    assert may_be_enlarged(candidate(original, from_camera=True), candidate(large, from_camera=True))


@pytest.mark.parametrize("amount", [0, 100])
def test_a_copy_made_smaller_is_no_original_that_was_enlarged(amount: int) -> None:
    original = saved(scene(9, 1000, 750), quality=92)
    small = opened(original).resize((500, 375), LANCZOS).filter(ImageFilter.UnsharpMask(1, amount))
    assert not may_be_enlarged(candidate(original), candidate(saved(small)))


SOFTENED: dict[str, Callable[[Picture], Picture]] = {
    "blurred": lambda p: p.filter(ImageFilter.GaussianBlur(1)),
    "small and large again": lambda p: p.resize((p.width // 2, p.height // 2), LANCZOS).resize(p.size, LANCZOS),
}


@pytest.mark.parametrize("how", SOFTENED)
def test_what_may_be_softened_at_its_size_is_told(how: str) -> None:
    original = saved(scene(8))
    soft, saved_again = saved(SOFTENED[how](opened(original)), quality=95), saved(opened(original), quality=85)
    assert nearer(candidate(original), candidate(soft)) is not Direction.SECOND
    assert may_be_softened(candidate(original), candidate(soft))
    assert may_be_softened(candidate(soft), candidate(original))
    assert not may_be_softened(candidate(original, from_camera=True), candidate(soft))
    assert not may_be_softened(candidate(soft), candidate(original, from_camera=True))
    # Programs that make a photo softer may keep the camera's data, and others strip them from the sharp one.
    assert may_be_softened(candidate(original), candidate(soft, from_camera=True))
    assert may_be_softened(candidate(soft, from_camera=True), candidate(original))
    assert not may_be_softened(candidate(original), candidate(saved_again))


@pytest.mark.parametrize("how", SOFTENED)
def test_what_was_softened_at_its_size_comes_after_what_it_was_made_from(how: str) -> None:
    original = saved(scene(8))
    soft = saved(SOFTENED[how](opened(original)), quality=95)
    assert nearer(candidate(original), candidate(soft)) is Direction.FIRST
    assert nearer(candidate(original), candidate(soft, from_camera=True)) is Direction.NEITHER
    sharpened = saved(opened(soft).filter(ImageFilter.UnsharpMask(2, 120, 0)), quality=95)
    assert nearer(candidate(soft), candidate(sharpened)) is not Direction.SECOND


def test_a_copy_that_was_softened_has_lost_detail_and_one_that_was_saved_anew_has_not() -> None:
    original = saved(scene(8))
    for how in SOFTENED.values():
        soft = saved(how(opened(original)), quality=95)
        assert lost_detail(candidate(original), candidate(soft))
        assert not lost_detail(candidate(soft), candidate(original))
    for quality in (88, 95):
        assert not lost_detail(candidate(original), candidate(saved(opened(original), quality=quality)))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("growth", [1.0, 2.0])
def test_what_got_grain_lets_nothing_go(kind: str, growth: float) -> None:
    """Nothing shows which of the two was made from the other; freed of noise it would look the same."""
    clean = Image.fromarray(photo_like(8, 481, 363))
    draw = ImageDraw.Draw(clean)
    for line in range(20, 460, 12):
        draw.line((line, 20, 480 - line, 340), fill=(line // 2, 90, 200), width=2)
    original = saved(clean, quality=85)
    size = round(481 * growth), round(363 * growth)
    noise = np.random.default_rng(1).normal(0, 4, (size[1], size[0], 1))
    grainy = np.asarray(opened(original).resize(size, BICUBIC)) + noise
    other = candidate(saved(Image.fromarray(np.clip(grainy, 0, 255).astype(np.uint8)), kind, quality=97))
    if nearer(candidate(original), other) is Direction.NEITHER:
        assert may_be_softened(candidate(original), other)
        assert may_be_softened(other, candidate(original))
    else:
        assert growth > 1
    brighter = saved(opened(original).point(lambda level: level * 1.1), quality=90)
    assert not may_be_softened(candidate(original), candidate(brighter))


@pytest.mark.parametrize("scale", [0.5, 0.75])
def test_a_small_copy_of_a_soft_photo_leaves_no_doubt(scale: float) -> None:
    """Enlarged, it explains the photo nearly as well as that explains it."""
    photo = saved(Image.fromarray(photo_like(1, 640, 480)), quality=90)
    small = saved(opened(photo).resize((round(640 * scale), round(480 * scale)), LANCZOS), quality=75)
    assert not may_be_softened(candidate(photo), candidate(small))


ENLARGED: dict[str, Callable[[Picture], bytes]] = {
    "by whole pixels": lambda p: saved(p.resize((p.width * 2, p.height * 2), Image.Resampling.NEAREST), quality=95),
    "avif": lambda p: saved(p.resize((p.width * 2, p.height * 2), LANCZOS), "AVIF", quality=90),
    "gif": lambda p: saved(p.resize((p.width * 2, p.height * 2), BICUBIC).quantize(256), "GIF"),
    "webp": lambda p: saved(p.resize((p.width * 3 // 2, p.height * 3 // 2), BICUBIC), "WEBP", quality=90),
}


@pytest.mark.parametrize("how", ENLARGED)
@pytest.mark.parametrize("what", ["photo", "drawing"])
def test_what_an_enlargement_explains_comes_after_what_was_enlarged(how: str, what: str) -> None:
    picture = scene(8) if what == "photo" else drawn("slide", 1, 1).resize((600, 450), LANCZOS)
    original = saved(picture, quality=88) if what == "photo" else saved(picture, "PNG")
    enlarged = candidate(ENLARGED[how](opened(original)))
    if what == "photo" and how == "gif":  # dots that stand for shades explain nothing
        assert nearer(candidate(original), enlarged) is Direction.NEITHER
    elif what == "photo" and how == "webp":  # coded so coarsely that it may as well be the original
        assert nearer(candidate(original), enlarged) is Direction.NEITHER
        assert may_be_softened(candidate(original), enlarged)
        assert may_be_softened(enlarged, candidate(original))
    else:
        assert nearer(candidate(original), enlarged) is Direction.FIRST
        assert nearer(enlarged, candidate(original)) is Direction.SECOND


def test_what_has_far_more_detail_was_not_rounded_from_the_other() -> None:
    """Of a soft photo a JPEG keeps broad shapes, which look as if they were rounded from those of a softer copy."""
    original = saved(scene(8), quality=80)
    soft = saved(SOFTENED["blurred"](opened(original)), quality=95)
    rounded, not_explained = Fit(off=0.25, beyond=0.03, values=2000), Fit()
    pair, again = (laid_upon(candidate(original), candidate(other)) for other in (soft, saved(scene(8), quality=70)))
    assert rounded.rounded
    assert has_more_than_its_source(Direction.SECOND, pair, rounded, not_explained)
    assert not has_more_than_its_source(Direction.FIRST, pair, not_explained, rounded)
    assert not has_more_than_its_source(Direction.FIRST, again, not_explained, rounded)


def test_a_small_sharpened_copy_is_not_taken_for_the_original() -> None:
    original = saved(scene(7, 1000, 750), quality=92)
    small = opened(original).resize((500, 375), LANCZOS).filter(ImageFilter.UnsharpMask(1, 100, 1))
    assert nearer(candidate(original), candidate(saved(small))) is not Direction.SECOND


def test_a_small_copy_of_a_smooth_picture_is_not_taken_for_the_original() -> None:
    """Any size explains any other where there is no detail; pixels must not be lost for that."""
    smooth = Image.fromarray(photo_like(3, 640, 480)).filter(ImageFilter.GaussianBlur(12))
    small = saved(smooth.resize((320, 240), LANCZOS), quality=95)
    assert nearer(candidate(small), candidate(saved(smooth, "PNG"))) is not Direction.FIRST


def test_without_luma_only_facts_show_anything() -> None:
    original = candidate(saved(scene(1)))
    copy = candidate(saved(opened(saved(scene(1))), quality=60))
    assert nearer(original, copy) is Direction.FIRST
    blind = replace(copy, luma=np.zeros((0, 0), np.uint8))
    assert nearer(original, blind) is nearer(blind, original) is nearer(blind, blind) is Direction.NEITHER
    assert nearer(original, replace(blind, format="RAW")) is Direction.SECOND
    assert nearer(original, replace(blind, has_colour=False)) is Direction.FIRST


def test_a_raw_photo_is_nearer_than_anything_made_from_it() -> None:
    raw = Candidate(np.zeros((1, 1), np.uint8), "RAW", lossless=False, has_colour=False)
    assert nearer(candidate(saved(scene(1))), raw) is Direction.SECOND


def test_a_cameras_heif_is_not_put_behind_what_was_exported_from_it() -> None:
    """An export has other tones and rounding, so that it is no plain JPEG or PNG of the photo: nothing is shown."""
    photo = scene(2)
    exported = photo.point([min(255, round(v * 1.07 + 3)) for v in range(256)] * 3).filter(
        ImageFilter.GaussianBlur(0.3)
    )
    heif = candidate(saved(photo, "HEIF", quality=85), from_camera=True)
    for export in (saved(exported, quality=90), saved(exported, "PNG")):
        assert nearer(candidate(export, from_camera=True), heif) is not Direction.FIRST


def test_two_shots_of_one_scene_show_nothing() -> None:
    """Same scene, other grain: neither carries the other's rounding."""
    first, second = (scene(8).filter(ImageFilter.GaussianBlur(1)) for _ in range(2))
    noise = np.random.default_rng(1).normal(0, 9, (*second.size[::-1], 3))
    second = Image.fromarray(np.clip(np.asarray(second) + noise, 0, 255).astype(np.uint8))
    assert nearer(candidate(saved(first)), candidate(saved(second))) is Direction.NEITHER


def any_file() -> "st.SearchStrategy[Candidate]":
    copies = [make(scene(1, 200, 150)) for make in COPIES.values()]
    others = saved(scene(9, 64, 8)), saved(Image.new("RGB", (8, 300)))
    return st.sampled_from([candidate(data) for data in (*copies, *others)])


FILES = st.deferred(any_file)  # made when they are needed: every process collects all tests


@settings(deadline=None)
@given(FILES, FILES)
def test_the_direction_turns_round_with_the_pair(a: Candidate, b: Candidate) -> None:
    assert nearer(a, b) == -nearer(b, a)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (7, 9), (64, 64)])
@pytest.mark.parametrize("level", [0, 255])
def test_tiny_and_flat_pictures_are_compared(shape: tuple[int, int], level: int) -> None:
    flat = Candidate(np.full(shape, level, np.uint8), "PNG", lossless=True, has_colour=False)
    other = Candidate(stored_luma_of(scene(1)), "JPEG", False, False, steps=np.full((8, 8), 5, np.float32))
    assert nearer(flat, other) == -nearer(other, flat)


@pytest.mark.parametrize("shape", [(1, 40_000_000), (40_000_000, 1), (8, 5_000_000)])
def test_a_strip_of_millions_of_pixels_costs_neither_time_nor_memory(shape: tuple[int, int]) -> None:
    """Resizing it to a photo would take gigabytes."""
    strip = Candidate(np.resize(stored_luma_of(scene(1)).ravel(), shape), "PNG", lossless=True, has_colour=True)
    assert nearer(strip, candidate(saved(scene(1)))) is Direction.NEITHER
    assert nearer(strip, replace(strip, luma=strip.luma[::-1, ::-1])) is Direction.NEITHER


def stored_luma_of(picture: Picture) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    return np.asarray(picture.convert("L"))
