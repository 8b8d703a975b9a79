import numpy as np
import pytest

from dupwatchd.index.decode import decode
from dupwatchd.index.limits import DecodeLimits
from dupwatchd.index.raw import RawPhoto, preview_orientation
from dupwatchd.index.reasons import DecodeError
from dupwatchd.index.thumbnail import upright
from tests.conftest import encoded, photo_like
from tests.index.files import dng

LIMITS = DecodeLimits()
PREVIEW = photo_like(4, 320, 240)


def thumbnail_of_preview(orientation: int = 1) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return upright(decode(encoded(PREVIEW), 32, LIMITS, b"").thumbnail, orientation)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_raw_photo_looks_like_its_preview_turned_once(orientation: int) -> None:
    result = decode(dng(encoded(PREVIEW), (320, 240), (400, 300), orientation), 32, LIMITS, b".dng")
    assert np.array_equal(result.thumbnail, thumbnail_of_preview(orientation))
    assert (result.width, result.height) == ((300, 400) if orientation > 4 else (400, 300))
    assert result.format == "RAW"


@pytest.mark.parametrize("orientation", [6, 8])
def test_a_preview_that_is_upright_already_is_not_turned_again(orientation: int) -> None:
    tall = np.rot90(PREVIEW)
    result = decode(dng(encoded(tall), (240, 320), (400, 300), orientation), 32, LIMITS, b".dng")
    assert np.array_equal(result.thumbnail, decode(encoded(tall), 32, LIMITS, b"").thumbnail)


def test_a_raw_photo_without_preview_is_developed() -> None:
    result = decode(dng(b"", (0, 0), (400, 300), 6), 32, LIMITS, b".dng")
    assert (result.width, result.height) == (300, 400)
    assert result.thumbnail.std() > 0


@pytest.mark.parametrize("missing", [1000, 50_000, 230_000])
def test_a_raw_photo_cut_short_fails_though_its_preview_is_whole(missing: int) -> None:
    data = dng(encoded(PREVIEW), (320, 240), (400, 300), 1)
    with pytest.raises(DecodeError, match="truncated RAW"):
        decode(data[:-missing], 32, LIMITS, b".dng")


def test_a_raw_photo_with_too_many_pixels_is_refused() -> None:
    data = dng(encoded(PREVIEW), (320, 240), (400, 300), 1)
    with pytest.raises(DecodeError, match="exceed max_pixels"):
        decode(data, 32, DecodeLimits(max_pixels=100_000), b".dng")


@pytest.mark.parametrize("data", [b"", b"II*\0", b"II*\0\x08\0\0\0", b"MM\0*\xff\xff\xff\xff", b"\0\0\0\x18ftypcrx "])
def test_what_only_looks_like_raw_fails(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode(data, 32, LIMITS, b".dng")


@pytest.mark.parametrize(
    ("own", "flip", "preview", "raw", "answer"),
    [
        (6, 6, (640, 480), (600, 800), 6),  # the usual: said twice, done never
        (None, 6, (640, 480), (600, 800), 6),  # only the RAW says it
        (1, 6, (640, 480), (600, 800), 6),  # the preview's own word is wrong
        (6, 6, (480, 640), (600, 800), 1),  # done already, and still said
        (None, 8, (480, 640), (600, 800), 1),
        (1, 3, (640, 480), (800, 600), 1),  # upside down, and the preview says it is upright: it was turned
        (None, 3, (640, 480), (800, 600), 3),
        (1, 1, (640, 480), (800, 600), 1),
    ],
)
def test_the_preview_is_turned_as_its_shape_tells(
    own: int | None, flip: int, preview: tuple[int, int], raw: tuple[int, int], answer: int
) -> None:
    photo = RawPhoto(b"", *raw, flip)
    assert preview_orientation(photo, own, *preview) == answer
