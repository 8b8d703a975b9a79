"""Animations and files of several pages: what is counted, what tells them apart, which picture stands for all."""

import io
import struct

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import AppendingTiffWriter

from dupwatchd.index import frames as frames_module
from dupwatchd.index.all_pixels import digest_of_all
from dupwatchd.index.decode import decode
from dupwatchd.index.limits import DecodeLimits
from dupwatchd.index.messages import Preview, PreviewWish
from dupwatchd.index.preview import make_preview
from dupwatchd.model import Decoded
from dupwatchd.pixels.frames import Frames, agreement
from dupwatchd.pixels.proof import Proof
from tests.conftest import encoded, photo_like
from tests.index.files import png_chunk, views

Picture = NDArray[np.uint8]
ANIMATIONS: dict[str, dict[str, object]] = {
    "PNG": {}, "WEBP": {"lossless": True}, "GIF": {}, "AVIF": {"quality": 90},
}  # fmt: skip
PAGES: dict[str, dict[str, object]] = {"TIFF": {}, "HEIF": {"quality": 90}}


def several(pictures: list[Picture], kind: str, **options: object) -> bytes:
    first, *rest = [Image.fromarray(picture) for picture in pictures]
    buffer = io.BytesIO()
    timing = {"duration": 80} if kind in ANIMATIONS else {}
    first.save(buffer, kind, save_all=True, append_images=rest, **(timing | ANIMATIONS.get(kind, {}) | options))
    return buffer.getvalue()


def decoded(data: bytes, suffix: bytes = b"") -> Decoded:
    return decode(data, 32, DecodeLimits(), suffix)


def frames_of(data: bytes) -> Frames | None:
    return Proof.from_bytes(decoded(data).proof).frames


def shots(*seeds: int) -> list[Picture]:
    return [photo_like(seed, 96, 64) for seed in seeds]


@pytest.mark.parametrize("kind", [*ANIMATIONS, *PAGES])
def test_frames_and_pages_are_counted_and_told_apart_behind_equal_first_ones(kind: str) -> None:
    options = PAGES.get(kind, {})
    seeds = (1, 2, 3), (1, 2, 3), (1, 2, 4)
    first, again, other = (decoded(several(shots(*three), kind, **options)) for three in seeds)
    assert first.frames == again.frames == other.frames == 3
    assert len(first.frames_digest) == 16
    assert first.frames_digest == again.frames_digest != other.frames_digest
    assert np.array_equal(first.thumbnail, decoded(encoded(shots(1)[0], "PNG")).thumbnail) or kind != "PNG"
    one, same, another = (Proof.from_bytes(found.proof).frames for found in (first, again, other))
    assert agreement(one, same) is True
    assert agreement(one, another) is False


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "AVIF", "TIFF", "HEIF", "BMP"])
def test_a_single_picture_has_one_frame_and_no_digest(kind: str) -> None:
    found = decoded(encoded(shots(1)[0], kind))
    assert (found.frames, found.frames_digest) == (1, b"")
    assert Proof.from_bytes(found.proof).frames is None


def test_the_views_of_a_stereo_camera_are_pages() -> None:
    left, right, other = shots(1, 2, 3)
    found, again, another = (decoded(views([left, one])) for one in (right, right, other))
    assert found.frames == again.frames == another.frames == 2
    assert found.frames_digest == again.frames_digest != another.frames_digest
    single = decoded(encoded(left, quality=90))
    assert np.array_equal(found.thumbnail, single.thumbnail)
    assert single.facts.scan_digest
    assert not found.facts.scan_digest
    assert agreement(frames_of(views([left, right])), frames_of(views([left, other]))) is False
    assert agreement(frames_of(views([left, right])), None) is not True


@pytest.mark.parametrize("kind", [0, 0x010001, 0x010002, 0x030000])
def test_gain_maps_and_previews_in_a_jpeg_are_no_views(kind: int) -> None:
    found = decoded(views(shots(1, 2), kind))
    assert (found.frames, found.frames_digest) == (1, b"")


def test_a_list_of_views_that_is_broken_leaves_the_first_one() -> None:
    whole = views(shots(1, 2))
    for at in range(whole.index(b"MPF\0") + 4, whole.index(b"MPF\0") + 90):
        for value in (0, 255):
            broken = bytearray(whole)
            broken[at] = value
            assert decoded(bytes(broken)).frames in (1, 2)
    assert decoded(whole[: whole.index(b"\xff\xd8", 100)]).frames in (1, 2)


def test_previews_and_sizes_of_one_picture_are_no_pages() -> None:
    photo = Image.fromarray(shots(1)[0])
    with_preview, icon = io.BytesIO(), io.BytesIO()
    photo.save(with_preview, "MPO", save_all=True, append_images=[photo.resize((48, 32))])
    photo.save(icon, "ICO", sizes=[(16, 16), (32, 32)])
    assert decoded(with_preview.getvalue()).frames == decoded(icon.getvalue()).frames == 1


def test_a_single_picture_never_agrees_with_one_of_several() -> None:
    animation = frames_of(several(shots(1, 2), "GIF"))
    assert agreement(animation, None) is agreement(None, animation) is False
    assert agreement(None, None) is True


def test_other_durations_are_another_animation() -> None:
    slow, fast = (frames_of(several(shots(1, 2, 3), "GIF", duration=duration)) for duration in (200, 80))
    assert agreement(slow, fast) is False


def test_a_lossless_conversion_agrees_pixel_by_pixel() -> None:
    apng, webp = (frames_of(several(shots(1, 2, 3), kind)) for kind in ("PNG", "WEBP"))
    assert agreement(apng, webp) is True


def test_a_lossy_conversion_of_an_animation_agrees_as_far_as_one_can_tell() -> None:
    gif, webp = frames_of(several(shots(1, 2, 3), "GIF")), frames_of(several(shots(1, 2, 3), "WEBP", lossless=False))
    assert agreement(gif, webp) is None
    assert agreement(gif, frames_of(several(shots(1, 2, 4), "WEBP", lossless=False))) is False


def test_a_small_thing_in_late_frames_is_another_animation() -> None:
    pictures = [np.roll(photo_like(1, 160, 120), 2 * frame, axis=1) for frame in range(6)]
    before, webp = frames_of(several(pictures, "GIF")), frames_of(several(pictures, "WEBP", lossless=False))
    for picture in pictures[4:]:
        picture[48:56, 24:32] = np.minimum(picture[48:56, 24:32], 215) + 40
    assert agreement(before, webp) is None
    assert agreement(before, frames_of(several(pictures, "GIF"))) is False


def test_pages_that_differ_in_one_small_place_do_not_agree() -> None:
    pages = [np.full((200, 150, 3), 255, np.uint8) for _ in range(3)]
    before = frames_of(several(pages, "TIFF"))
    pages[2][50:53, 60:62] = 0
    assert agreement(before, frames_of(several(pages, "TIFF"))) is False


def test_recompressed_pages_agree() -> None:
    plain, packed = (frames_of(several(shots(1, 2), "TIFF", compression=how)) for how in (None, "tiff_lzw"))
    assert agreement(plain, packed) is True


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_a_fade_in_is_not_a_black_picture(kind: str) -> None:
    photo = shots(5)[0].astype(float)
    fade_in = [np.rint(photo * share).astype(np.uint8) for share in (0, 0.2, 0.4, 0.6, 0.8, 1)]
    found = decoded(several(fade_in, kind))
    shown = found.thumbnail.astype(float)
    assert np.corrcoef(shown.ravel(), decoded(encoded(shots(5)[0], "PNG")).thumbnail.ravel())[0, 1] > 0.98
    assert Proof.from_bytes(found.proof).luma.std() > 0.4 * photo.mean(axis=2).std()


def test_an_animation_that_begins_with_a_picture_shows_that() -> None:
    found = decoded(several(shots(1, 2, 3), "PNG"))
    still = decoded(encoded(shots(1)[0], "PNG"))
    assert np.array_equal(found.thumbnail, still.thumbnail)
    assert Proof.from_bytes(found.proof) == Proof.from_bytes(still.proof)


def tiff(*pages: tuple[Picture, dict[int, int]]) -> bytes:
    """Pages, and tags of each."""
    buffer = io.BytesIO()
    with AppendingTiffWriter(buffer, new=True) as writer:
        for picture, tags in pages:
            Image.fromarray(np.ascontiguousarray(picture)).save(writer, "TIFF", tiffinfo=tags)
            writer.newFrame()
    return buffer.getvalue()


@pytest.mark.parametrize("tag", [{254: 1}, {255: 2}, {254: 4}])
def test_thumbnails_and_masks_in_a_tiff_are_no_pages(tag: dict[int, int]) -> None:
    photo = shots(1)[0]
    assert decoded(tiff((photo, {}), (photo[::4, ::4], tag))).frames == 1
    assert decoded(tiff((photo, {}), (photo[:63:2, :94:2], tag), (photo[::4, ::4], tag))).frames == 1
    assert decoded(tiff((photo, {}), (photo, {254: 4}))).frames == 1


def test_a_thumbnail_in_front_of_a_page_is_not_taken_for_it() -> None:
    pages = shots(1, 2)
    for count in (1, 2):
        both = [one for page in pages[:count] for one in ((page[::4, ::4], {254: 1}), (page, {}))]
        data, plain = tiff(*both), several(pages[:count], "TIFF")
        found, expected = decoded(data), decoded(plain)
        assert (found.width, found.height, found.frames) == (96, 64, count)
        assert np.array_equal(found.thumbnail, expected.thumbnail)
        assert found.frames_digest == expected.frames_digest
        preview = make_preview(data, PreviewWish(500), DecodeLimits(), b".tif")
        assert isinstance(preview, Preview)
        assert (preview.width, preview.frame, preview.frames) == (96, 0, count)
        again = make_preview(data, PreviewWish(500, count - 1), DecodeLimits(), b".tif")
        assert isinstance(again, Preview)
        assert (again.width, again.frame) == (96, count - 1)
        assert count == 2 or digest_of_all(data, DecodeLimits(), b"") == digest_of_all(plain, DecodeLimits(), b"")


@pytest.mark.parametrize("tag", [{254: 1}, {255: 2}, {254: 4}])
def test_a_page_that_is_no_smaller_version_counts_whatever_it_is_said_to_be(tag: dict[int, int]) -> None:
    photo, other, page = shots(1, 2, 3)
    for first, second in ((photo, other), (photo[::3, ::4], other[::3, ::4])):
        # larger than the page, as large, of another shape
        for behind in (page[::2, ::2], page):
            one, another, alone = (tiff(*pages, (behind, {})) for pages in ([(first, tag)], [(second, tag)], []))
            found, compared = decoded(one), decoded(another)
            assert (found.width, found.height, found.frames) == (first.shape[1], first.shape[0], 2)
            assert found.frames_digest != compared.frames_digest
            assert agreement(frames_of(one), frames_of(another)) is False
            assert not found.facts.scan_digest
            assert len({digest_of_all(data, DecodeLimits(), b"") for data in (one, another, alone)}) == 3
        one, another = (tiff((page, {}), (behind, tag)) for behind in (first[:, :50], second[:, :50]))
        assert decoded(one).frames_digest != decoded(another).frames_digest


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("kind", [0, 0x010001, 0x010002])
def test_the_first_picture_of_a_jpeg_counts_whatever_it_is_said_to_be(kind: int, count: int) -> None:
    first, second, *rest = shots(1, 2, 3, 4)
    one, another = (views([shot, *rest[:count]], first_kind=kind) for shot in (first, second))
    found, compared = decoded(one), decoded(another)
    assert found.frames == compared.frames == 1 + count
    assert np.array_equal(found.thumbnail, decoded(encoded(first, quality=90)).thumbnail)
    assert found.frames_digest != compared.frames_digest
    assert digest_of_all(one, DecodeLimits(), b"") != digest_of_all(another, DecodeLimits(), b"")


def test_a_view_that_is_listed_but_not_there_does_not_count() -> None:
    whole = views(shots(1, 2))
    found = decoded(whole[: whole.index(b"\xff\xd9") + 2])
    assert (found.frames, found.frames_digest) == (1, b"")


def test_a_damaged_later_frame_leaves_the_first_one() -> None:
    data = several(shots(1, 2, 3), "GIF")
    found = decoded(data[: len(data) - 1500])
    assert np.array_equal(found.thumbnail, decoded(data).thumbnail)
    assert found.frames_digest != decoded(data).frames_digest
    assert (found.damage, decoded(data).damage) == ("one of its frames or pages is broken or missing", None)


def test_pages_that_are_cut_short_and_frames_that_are_only_announced_are_damage() -> None:
    pages = several(shots(1, 2), "TIFF")
    assert decoded(pages[:-9000]).damage == "one of its frames or pages is broken or missing"
    animation = several(shots(1, 2), "PNG")
    at = animation.index(b"acTL")
    announced = animation[: at - 4] + png_chunk(b"acTL", struct.pack(">II", 9, 0)) + animation[at + 16 :]
    assert decoded(announced).damage == "one of its frames or pages is broken or missing"


def test_of_a_long_animation_a_part_is_looked_at_and_nothing_is_claimed_of_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(frames_module, "MAX_PIXELS", 4 * 96 * 64)
    first = frames_of(several(shots(1, 2, 3, 4, 5, 6), "PNG"))
    other = frames_of(several(shots(1, 2, 3, 4, 5, 7), "PNG"))
    assert first is not None
    assert (first.count, first.whole, len(first.greys)) == (6, False, 4)
    assert agreement(first, other) is None


@pytest.mark.parametrize("data", [b"", b"\1" * 10, b"\0" * 27, b"\0" * 26 + b"\1\1" + b"\0" * 16])
def test_bytes_that_are_no_record_of_frames_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="frames"):
        Frames.from_bytes(data)
