"""Previews: what a person sees of one file, at the size that is asked for."""

import io
import os
import signal
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from dupwatchd.index import messages
from dupwatchd.index.decode import decode
from dupwatchd.index.messages import BadReply
from dupwatchd.index.pool import (
    DecodeLimits,
    NoSuchFrame,
    NotDecoded,
    NotRead,
    Preview,
    PreviewKind,
    PreviewWish,
    WorkerPool,
)
from dupwatchd.index.preview import make_preview
from dupwatchd.model import ReadStatus
from tests.conftest import Rgb, encoded, photo_like
from tests.index import profiles
from tests.index.files import as_stored, dng, png_of_zeros, views
from tests.index.test_decode import FORMAT_IDS, FORMATS, mse, saved
from tests.index.test_look import split, written
from tests.index.test_odd_files import KIND_OF_SUFFIX, file_of_kind

RGB = PreviewKind.RGB
PHOTO = photo_like(7, 300, 200)


def preview(
    data: bytes, px: int = 1024, frame: int | None = None, kind: PreviewKind = RGB, suffix: str = ""
) -> Preview:
    made = make_preview(data, PreviewWish(px, frame, kind), DecodeLimits(), suffix.encode())
    assert isinstance(made, Preview)
    return made


def shown(data: bytes, px: int = 1024, frame: int | None = None, suffix: str = "") -> Rgb:
    """The pixels of a preview."""
    return pixels_in(preview(data, px, frame, suffix=suffix))


def pixels_in(made: Preview) -> Rgb:
    return np.frombuffer(made.data, np.uint8).reshape(made.height, made.width, 3)


def pixels_of(data: bytes) -> Rgb:
    return np.asarray(Image.open(io.BytesIO(data)))


# ---- what it shows


@pytest.mark.parametrize(("kind", "options", "tolerance"), FORMATS, ids=FORMAT_IDS)
def test_every_format_gives_the_picture_that_the_index_compares(
    kind: str, options: dict[str, object], tolerance: float
) -> None:
    data = encoded(PHOTO, kind, **options)
    found = preview(data)
    assert (found.width, found.height, found.full_width, found.full_height) == (300, 200, 300, 200)
    assert (found.frame, found.frames) == (0, 1)
    assert mse(shown(data), PHOTO) < max(4 * tolerance, 2)
    again = decode(encoded(shown(data), "PNG"), 32, DecodeLimits(), b"")
    assert mse(again.thumbnail, decode(data, 32, DecodeLimits(), b"").thumbnail) < 0.3


@pytest.mark.parametrize("kind", KIND_OF_SUFFIX)
def test_whatever_is_indexed_can_be_shown(kind: str) -> None:
    data, suffix = file_of_kind(kind), KIND_OF_SUFFIX[kind].split()[0]
    known = decode(data, 32, DecodeLimits(), suffix.encode())
    made = preview(data, suffix=suffix)
    assert (made.full_width, made.full_height) == (known.width, known.height)
    again = decode(encoded(shown(data, suffix=suffix), "PNG"), 32, DecodeLimits(), b"")
    assert mse(again.thumbnail, known.thumbnail) < 0.3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_a_preview_is_upright(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    tall = photo_like(3, 120, 200)
    stored = as_stored(tall, orientation)
    stored.info["exif"] = exif.tobytes()  # pillow_heif makes a box of it, as cameras do
    options: dict[str, object] = {} if kind == "HEIF" else {"exif": exif}
    data = saved(stored, kind, quality=90, **options)
    assert mse(shown(data), tall) < 40
    made = preview(data, 100)
    assert (made.width, made.height, made.full_width, made.full_height) == (60, 100, 120, 200)


@pytest.mark.parametrize(("orientation", "size"), [(1, (320, 240)), (6, (240, 320))])
def test_a_raw_photo_shows_the_preview_in_it_upright(orientation: int, size: tuple[int, int]) -> None:
    inside = encoded(photo_like(5, 320, 240), "JPEG")
    made = preview(dng(inside, (320, 240), (640, 480), orientation), 2048, suffix=".dng")
    assert (made.width, made.height) == size
    assert (made.full_width, made.full_height) == (2 * size[0], 2 * size[1])


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_transparency_lies_over_white_as_in_the_index_or_over_grey_if_nothing_could_be_seen(kind: str) -> None:
    options: dict[str, object] = {"lossless": True} if kind == "WEBP" else {}
    pixels = np.zeros((40, 40, 4), np.uint8)
    pixels[10:30, 10:30] = (200, 30, 60, 255)
    found = shown(saved(Image.fromarray(pixels), kind, **options))
    assert found[0, 0].tolist() == [255, 255, 255]
    assert found[20, 20].tolist() == [200, 30, 60]
    pixels[10:30, 10:30] = 255  # a white logo
    found = shown(saved(Image.fromarray(pixels), kind, **options))
    assert np.abs(found[0, 0].astype(int) - 128).max() <= 1
    assert found[20, 20].tolist() == [255, 255, 255]


# ---- colours


TILES = np.random.default_rng(1).integers(10, 246, (4, 4, 4), dtype=np.uint8)
LOSSLESS: dict[str, dict[str, object]] = {
    "JPEG": {"quality": 98, "subsampling": 0}, "PNG": {}, "TIFF": {}, "WEBP": {"lossless": True},
    "HEIF": {"quality": 100, "chroma": 444},
}  # fmt: skip


def tiled(tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Each number, or colour, as a tile of 40 × 40 pixels."""
    return tiles.repeat(40, axis=0).repeat(40, axis=1)


def tiles_of(data: bytes) -> NDArray[np.float64]:
    """The colours in the middle of the tiles."""
    return shown(data)[20::40, 20::40].astype(float)


@pytest.mark.parametrize("kind", LOSSLESS)
def test_colours_of_a_wide_space_become_srgb(kind: str) -> None:
    stored = TILES[..., :3]
    data = saved(Image.fromarray(tiled(stored)), kind, icc_profile=profiles.display_p3(), **LOSSLESS[kind])
    expected = profiles.in_srgb_from_p3(stored)
    assert np.abs(expected - stored).max() > 20
    assert np.abs(tiles_of(data) - expected).max() <= 3


def test_the_profile_of_a_jpeg_2000_file_counts_as_well() -> None:
    stored = TILES[..., :3]
    plain = saved(Image.fromarray(tiled(stored)), "JPEG2000")
    assert np.array_equal(tiles_of(plain), stored)
    old = struct.pack(">I4sBBBI", 15, b"colr", 1, 0, 0, 16)  # sRGB
    profile = profiles.display_p3()
    new = struct.pack(">I4sBBB", 11 + len(profile), b"colr", 2, 0, 0) + profile
    assert plain.count(old) == 1
    at = plain.index(b"jp2h") - 4
    length = int.from_bytes(plain[at : at + 4], "big") + len(new) - len(old)
    data = plain[:at] + struct.pack(">I", length) + plain[at + 4 :].replace(old, new)
    assert np.abs(tiles_of(data) - profiles.in_srgb_from_p3(stored)).max() <= 3


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_grey_levels_of_another_gamma_become_those_of_srgb(kind: str) -> None:
    stored = TILES[..., 0]
    data = saved(Image.fromarray(tiled(stored)), kind, quality=98, icc_profile=profiles.grey(1.4))
    expected = profiles.in_srgb_from_grey(stored, 1.4)[..., None]
    assert np.abs(expected[..., 0] - stored).max() > 20
    assert np.abs(tiles_of(data) - expected).max() <= 3


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_inks_become_the_colours_that_they_print(kind: str) -> None:
    stored = TILES // 2
    inks = Image.fromarray(tiled(stored), "CMYK")
    data = saved(inks, kind, quality=98, icc_profile=profiles.four_inks())
    assert np.abs(tiles_of(data) - profiles.in_srgb_from_inks(stored)).max() <= 3
    turned = Image.Exif()
    turned[0x0112] = 6
    data = saved(inks, kind, quality=98, icc_profile=profiles.four_inks(), exif=turned)
    assert np.abs(tiles_of(data) - np.rot90(profiles.in_srgb_from_inks(stored), -1)).max() <= 3


@pytest.mark.parametrize(
    "profile",
    [b"nothing", profiles.display_p3()[:200], profiles.display_p3()[:128] + bytes(500), profiles.four_inks()],
    ids=["no profile", "cut", "zeros", "of inks"],
)
def test_a_profile_that_is_broken_or_for_other_colours_is_ignored(profile: bytes) -> None:
    data = saved(Image.fromarray(tiled(TILES[..., :3])), "PNG", icc_profile=profile)
    assert np.array_equal(tiles_of(data), TILES[..., :3])


# ---- frames and pages


def many(kind: str, pictures: list[Rgb], **options: object) -> bytes:
    first, *others = map(Image.fromarray, pictures)
    return saved(first, kind, save_all=True, append_images=others, **options)


PAGES = [photo_like(seed, 160, 120) for seed in (1, 2, 3)]


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "HEIF", "AVIF", "stereo"])
def test_each_frame_can_be_chosen(kind: str) -> None:
    data = views(PAGES) if kind == "stereo" else many(kind, PAGES)
    for number, page in enumerate(PAGES):
        made = preview(data, 1024, number)
        assert (made.frame, made.frames) == (number, 3)
        distances = [mse(shown(data, 1024, number), other) for other in PAGES]
        assert distances.index(min(distances)) == number
        assert mse(shown(data, 1024, number), page) < 400
    beyond = make_preview(data, PreviewWish(100, 3), DecodeLimits(), b"")
    assert beyond == NoSuchFrame(3)


def test_a_file_of_one_picture_has_no_second_one() -> None:
    for kind in ("JPEG", "GIF", "TIFF", "QOI"):
        data = encoded(PHOTO, kind)
        assert preview(data, 100, 0).frames == 1
        assert make_preview(data, PreviewWish(100, 1), DecodeLimits(), b"") == NoSuchFrame(1)


def test_without_a_number_the_frame_is_shown_that_the_index_compares() -> None:
    black = np.zeros_like(PAGES[0])
    assert preview(many("GIF", PAGES)).frame == 0
    for data in (many("GIF", [black, *PAGES]), many("PNG", [black, *PAGES])):  # a fade-in
        made = preview(data)
        assert (made.frame, made.frames) == (1, 4)
        again = decode(encoded(shown(data), "PNG"), 32, DecodeLimits(), b"")
        assert mse(again.thumbnail, decode(data, 32, DecodeLimits(), b"").thumbnail) < 1
        assert not shown(data, 1024, 0).any()


def test_pages_may_differ_in_size() -> None:
    data = many("TIFF", [photo_like(1, 160, 120), photo_like(2, 90, 200)])
    made = preview(data, 100, 1)
    assert (made.width, made.height, made.full_width, made.full_height) == (45, 100, 90, 200)


# ---- size and form


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize(
    ("size", "px", "expected"),
    [((1501, 1000), 320, (320, 213)), ((850, 2000), 1024, (435, 1024)), ((300, 200), 2048, (300, 200)),
     ((3000, 5), 16, (16, 1))],
)  # fmt: skip
def test_a_large_picture_is_averaged_and_a_small_one_not_enlarged(
    kind: str, size: tuple[int, int], px: int, expected: tuple[int, int]
) -> None:
    picture = photo_like(2, *size)
    data = encoded(picture, kind)
    made = preview(data, px)
    assert (made.width, made.height) == expected
    assert (made.full_width, made.full_height) == size
    whole = np.asarray(Image.fromarray(picture).resize(expected, Image.Resampling.BOX)).astype(int)
    assert np.abs(pixels_in(made).astype(int) - whole).mean() < 2.5


def test_a_jpeg_and_a_webp_show_the_same_without_metadata() -> None:
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    data = saved(Image.fromarray(PHOTO), "PNG", exif=exif, icc_profile=profiles.display_p3())
    plain = shown(data)
    for kind, name, tolerance in ((PreviewKind.JPEG, "JPEG", 30), (PreviewKind.WEBP, "WEBP", 60)):
        made = preview(data, 1024, kind=kind)
        image = Image.open(io.BytesIO(made.data))
        assert (image.format, image.size) == (name, (made.width, made.height))
        assert mse(pixels_of(made.data), plain) < tolerance
        assert not {"icc_profile", "exif", "xmp", "comment"} & set(image.info)
        assert not image.getexif()


# ---- the process that makes them


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    with WorkerPool(1, 32, DecodeLimits(memory_mb=300)) as workers:
        yield workers


def test_the_largest_previews_come_whole(pool: WorkerPool, tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (2048, 2048, 3), dtype=np.uint8)
    path = written(tmp_path, "noise.png", encoded(noise, "PNG"))
    for kind in PreviewKind:
        made = pool.preview(path, PreviewWish(2048, None, kind))
        assert isinstance(made, Preview)
        assert (made.width, made.height) == (2048, 2048)
        assert len(made.data) <= 3 * 2048 * 2048


def test_what_gives_no_preview_says_why(pool: WorkerPool, tmp_path: Path) -> None:
    wish = PreviewWish(100)
    assert pool.preview(os.fsencode(tmp_path / "gone.jpg"), wish) == NotRead(ReadStatus.VANISHED, None)
    cut = pool.preview(written(tmp_path, "cut.jpg", encoded(PHOTO)[:3000]), wish)
    assert cut == NotDecoded("truncated JPEG", picture=True)
    text = pool.preview(written(tmp_path, "a.txt", b"nothing to see"), wish)
    assert text == NotDecoded("not an image (text)", picture=False)
    assert pool.preview(written(tmp_path, "a.jpg", encoded(PHOTO)), PreviewWish(100, 5)) == NoSuchFrame(1)


def test_a_bomb_fails_alone(pool: WorkerPool, tmp_path: Path) -> None:
    bomb = pool.preview(written(tmp_path, "a.png", png_of_zeros(14_000, 14_000)), PreviewWish(100))
    assert bomb == NotDecoded("decoding needs more than 300 MB", picture=True)
    assert isinstance(pool.preview(written(tmp_path, "b.jpg", encoded(PHOTO)), PreviewWish(100)), Preview)


def test_a_process_that_was_killed_is_replaced(pool: WorkerPool, tmp_path: Path) -> None:
    path = written(tmp_path, "a.jpg", encoded(PHOTO))
    assert isinstance(pool.preview(path, PreviewWish(100)), Preview)
    os.kill(pool._workers[0].pid, signal.SIGKILL)
    assert isinstance(pool.preview(path, PreviewWish(100)), Preview)


def test_a_file_over_which_two_processes_hang_is_given_up(tmp_path: Path) -> None:
    path = written(tmp_path, "a.png", png_of_zeros(6000, 6000))
    stopped: list[int] = []

    def stop_whoever_decodes() -> None:
        for worker in workers._workers:
            if worker.owed and worker.owed[0].look and worker.pid not in stopped:
                os.kill(worker.pid, signal.SIGSTOP)
                stopped.append(worker.pid)

    with WorkerPool(1, 32, DecodeLimits(decode_seconds=1.0), stop_whoever_decodes) as workers:
        found = workers.preview(path, PreviewWish(100))
    assert found == NotDecoded("decoding took longer than 1 s", picture=True)
    assert len(stopped) == 2


# ---- messages

WISH = PreviewWish(8, None, RGB)
MADE = Preview(bytes(60), 5, 4, 500, 400, 1, 3)


def test_an_answer_arrives_as_sent() -> None:
    jpeg = Preview(encoded(PHOTO), 300, 200, 600, 400, 0, 1)
    for sent, wish in ((MADE, WISH), (jpeg, PreviewWish(300)), (NoSuchFrame(7), WISH), (NotDecoded("no", True), WISH)):
        assert messages.parse_preview_reply(*split(messages.preview_reply(sent)), wish) == sent


@pytest.mark.parametrize(
    "change",
    [
        {"size": [4, 4]}, {"size": [9, 4]}, {"size": [20, 1]}, {"size": [5]}, {"size": [True, 4]}, {"size": None},
        {"full_size": [0, 4]}, {"full_size": [1 << 40, 4]}, {"frames": 0}, {"frames": 1}, {"frame": -1},
        {"frames": 1 << 20}, {"no_frame": 0}, {"no_frame": "3"}, {"error": 3, "picture": True},
        {"status": "decoded", "error": None},
    ],
)  # fmt: skip
def test_an_answer_that_is_not_quite_right_is_a_bad_reply(change: dict[str, Any]) -> None:
    header, raw = split(messages.preview_reply(MADE))
    header["previewed"] |= change
    with pytest.raises(BadReply):
        messages.parse_preview_reply(header, raw, WISH)


def test_an_answer_of_another_form_or_frame_is_a_bad_reply() -> None:
    for wish in (PreviewWish(8), PreviewWish(8, None, PreviewKind.WEBP), PreviewWish(8, 0, RGB)):
        with pytest.raises(BadReply):
            messages.parse_preview_reply(*split(messages.preview_reply(MADE)), wish)


anything = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.lists(st.integers(-1, 9))
entry = st.dictionaries(
    st.sampled_from(["size", "full_size", "frame", "frames", "no_frame", "error", "picture", "status"]), anything
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["previewed", "x"]), anything | entry), st.binary(max_size=300))
def test_nothing_that_a_worker_answers_raises_anything_but_bad_reply(header: dict[str, Any], raw: bytes) -> None:
    try:
        messages.parse_preview_reply(header, raw, WISH)
    except BadReply:
        pass
