"""Files that are sound but unusual: they are read, or called by their kind."""

import io
import struct
import time
import tracemalloc
import zlib
from collections.abc import Iterable

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from dupwatch.suffixes import IMAGE_SUFFIXES
from dupwatchd.index.decode import decode
from dupwatchd.index.jpeg2000 import load_deep_jpeg2000
from dupwatchd.index.limits import DecodeLimits
from dupwatchd.index.png_chunks import lacks_rows
from dupwatchd.index.reasons import DecodeError
from dupwatchd.model import Decoded
from dupwatchd.suffixes import claims_to_be_a_picture
from tests.conftest import Rgb, encoded, photo_like
from tests.index.files import Entries, luma, png_chunk, tiff_directory

PHOTO = photo_like(7, 120, 90)
GREY16 = (luma(PHOTO) * 257).astype("<u2")


def decoded(data: bytes, suffix: bytes = b"") -> Decoded:
    return decode(data, 32, DecodeLimits(), suffix)


def reason_for(data: bytes) -> str:
    with pytest.raises(DecodeError) as caught:
        decoded(data)
    return str(caught.value)


def shown(grey: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Rgb:
    return decoded(encoded(np.repeat(np.rint(grey).astype(np.uint8)[..., None], 3, axis=2), "PNG")).thumbnail


def difference(one: Rgb, other: Rgb) -> float:
    return float(np.abs(one.astype(float) - other).max())


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


# ---- every suffix


def psd(picture: Rgb, bits: int = 8, mode: int = 3) -> bytes:
    height, width, _ = picture.shape
    samples = picture.transpose(2, 0, 1).astype(">u2" if bits == 16 else "u1").tobytes()
    head = struct.pack(">4sH6xHIIHH", b"8BPS", 1, 3, height, width, bits, mode)
    return head + b"\0" * 12 + b"\0\0" + samples


def xpm() -> bytes:
    rows = "".join('"' + "ab" * 8 + '",\n' for _ in range(16))
    return f'/* XPM */\nstatic char *x[] = {{\n"16 16 2 1",\n"a c #ff0000",\n"b c #0000ff",\n{rows}}};\n'.encode()


KIND_OF_SUFFIX = {
    "PNG": ".apng .png .png-large .png_large", "AVIF": ".avif .avifs", "BMP": ".bmp .dib", "DDS": ".dds", "GIF": ".gif",
    "HEIF": ".heic .heics .heif .heifs .hif", "ICNS": ".icns", "ICO": ".ico",
    "JPEG2000": ".j2c .j2k .jp2 .jpc .jpf .jpm .jpx",
    "JPEG": ".jfi .jfif .jif .jpe .jpeg .jpg .jpg-large .jpg_large .jps .mpo .pjp .pjpeg", "PPM": ".pbm .pgm .pnm .ppm",
    "PCX": ".pcx", "QOI": ".qoi", "SGI": ".rgb .sgi", "TGA": ".tga", "TIFF": ".tif .tiff", "WEBP": ".webp",
    "XBM": ".xbm", "PSD": ".psd", "XPM": ".xpm",
}  # fmt: skip


def file_of_kind(kind: str) -> bytes:
    if kind == "PSD":
        return psd(PHOTO)
    if kind == "XPM":
        return xpm()
    image = Image.fromarray(PHOTO)
    return saved(image.convert("1") if kind == "XBM" else image, kind)


@pytest.mark.parametrize("kind", KIND_OF_SUFFIX)
def test_a_suffix_that_is_claimed_is_read(kind: str) -> None:
    data = file_of_kind(kind)
    for suffix in KIND_OF_SUFFIX[kind].encode().split():
        assert suffix in IMAGE_SUFFIXES
        assert claims_to_be_a_picture(b"x" + suffix)
        assert decoded(data, suffix).format == kind


def test_no_suffix_is_claimed_that_was_not_tried() -> None:
    tried = {suffix for suffixes in KIND_OF_SUFFIX.values() for suffix in suffixes.encode().split()}
    assert IMAGE_SUFFIXES - tried == {b".jxl"}  # read by the extra dupwatch[jxl]


@pytest.mark.parametrize("brand", [b"mif1", b"avif"])
def test_an_avif_is_read_whichever_of_its_brands_comes_first(brand: bytes) -> None:
    data = encoded(PHOTO, "AVIF", quality=90)
    odd = decoded(data.replace(b"ftypavif", b"ftyp" + brand, 1))
    assert (odd.format, odd.damage) == ("AVIF", None)
    assert np.array_equal(odd.thumbnail, decoded(data).thumbnail)


# ---- PNG


def png_of_small_chunks(picture: Rgb) -> bytes:
    data = encoded(picture, "PNG")
    rows = b"".join(b"\0" + row.tobytes() for row in picture)
    packed = zlib.compress(rows)
    parts = [png_chunk(b"IDAT", packed[at : at + 500]) for at in range(0, len(packed), 500)]
    return data[:33] + b"".join(parts) + png_chunk(b"IEND", b"")


def test_a_png_whose_text_or_end_is_damaged_is_read() -> None:
    data = png_of_small_chunks(PHOTO)
    text = bytearray(png_chunk(b"tEXt", b"Comment\0hello"))
    text[-1] ^= 1
    end = len(data) - 12
    for odd in (
        data[:33] + text + data[33:], data[:end] + text + data[end:], data[:-1] + b"x", data[:-4], data[:-9],
        data[:end], data[:end] + b"\0" * 4096, data[:end] + b"\0\0\0\0IEND" + b"\0" * 99,
    ):  # fmt: skip
        result = decoded(odd)
        assert np.array_equal(result.thumbnail, decoded(data).thumbnail)
        assert (result.width, result.height, result.damage) == (120, 90, None)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (b"iCCP", b"name\0\1" + zlib.compress(b"a")), (b"iCCP", b"no end of its name"), (b"iCCP", b""),
        (b"zTXt", b"Comment\0\7"), (b"gAMA", b"\0\1"), (b"cHRM", bytes(7)), (b"pHYs", bytes(3)), (b"sRGB", b""),
        (b"tRNS", b"\0\1"), (b"acTL", b"\0\0"), (b"acTL", bytes(7) + b"\1"), (b"acTL", b"\0\0\0\1\0\0\0\0"),
    ],
)  # fmt: skip
def test_a_png_with_a_chunk_that_every_program_passes_over_is_read(kind: bytes, body: bytes) -> None:
    data = png_of_small_chunks(PHOTO)
    end = len(data) - 12
    odd = png_chunk(kind, body)
    for at in (33, end) if kind != b"acTL" else (33,):
        result = decoded(data[:at] + odd + data[at:])
        assert np.array_equal(result.thumbnail, decoded(data).thumbnail)
        assert (result.frames, result.damage, result.facts) == (1, None, decoded(data).facts)


def test_a_second_header_of_a_png_does_not_matter() -> None:
    data = png_of_small_chunks(PHOTO)
    end = len(data) - 12
    odd = decoded(data[:end] + png_chunk(b"IHDR", b"") + data[end:])
    assert np.array_equal(odd.thumbnail, decoded(data).thumbnail)


def test_a_png_that_is_cut_anywhere_in_its_picture_is_refused() -> None:
    data = png_of_small_chunks(PHOTO)
    for length in {*range(8, len(data) - 12, 37), *(33 + 512 * number for number in range((len(data) - 45) // 512))}:
        assert "PNG" in reason_for(data[:length])
        assert "PNG" in reason_for(data[:length] + b"\0" * (len(data) - length))


@pytest.mark.parametrize("kind", [b"tRNS", b"acTL"])
def test_a_png_whose_transparency_or_animation_is_damaged_is_refused(kind: bytes) -> None:
    data = encoded(PHOTO, "PNG")
    chunk = png_chunk(kind, b"\0" * 8)[:-4] + b"oops"
    assert reason_for(data[:33] + chunk + data[33:]) == f"damaged PNG (wrong checksum of {kind.decode()})"


def test_apples_own_png_is_called_so() -> None:
    data = encoded(PHOTO, "PNG")
    assert reason_for(data[:8] + png_chunk(b"CgBI", b"\x50\0\x20\2") + data[8:]) == (
        "CgBI PNG (Apple's own kind) is not supported"
    )


def png_of_rows(rows: Iterable[NDArray[np.uint8]], header: tuple[int, ...], *parts: bytes) -> bytes:
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    chunks = (b"IHDR", struct.pack(">IIBBBBB", *header)), (b"IDAT", packed), (b"IEND", b"")
    head, body, end = (png_chunk(kind, content) for kind, content in chunks)
    return b"".join([b"\x89PNG\r\n\x1a\n", head, *parts, body, end])


@pytest.mark.parametrize("rows", [89, 60, 1])
def test_a_png_whose_data_end_early_in_good_order_is_refused(rows: int) -> None:
    header = (120, 90, 8, 2, 0, 0, 0)
    assert reason_for(png_of_rows(PHOTO[:rows], header)) == "damaged PNG (the last rows are missing)"
    assert np.array_equal(decoded(png_of_rows(PHOTO, header)).thumbnail, decoded(encoded(PHOTO, "PNG")).thumbnail)


@pytest.mark.parametrize("side", [1, 2, 3, 5, 8, 33])
def test_a_sound_png_that_ends_in_black_is_read(side: int) -> None:
    picture = np.zeros((side, side, 3), np.uint8)
    picture[: side // 2] = 200
    assert decoded(png_of_rows(picture, (side, side, 8, 2, 0, 0, 0))).damage is None
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    rows = [row for left, top, across, down in passes for row in picture[top::down, left::across] if row.size]
    assert decoded(png_of_rows(rows, (side, side, 8, 2, 0, 0, 1))).damage is None
    assert "PNG" in reason_for(png_of_rows(rows[:-1], (side, side, 8, 2, 0, 0, 1)))


def test_whether_rows_are_missing_takes_no_longer_than_unpacking() -> None:
    side = 6000
    packed = zlib.compress(bytes(side * (side + 1)), 0)  # as photos do, these data take as much room as the rows
    chunks = (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)), (b"IDAT", packed), (b"IEND", b"")
    data = b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(kind, content) for kind, content in chunks)
    began = time.process_time()
    zlib.decompress(packed)
    unpacking_seconds = time.process_time() - began
    began = time.process_time()
    assert not lacks_rows(data, side, side)
    took_seconds = time.process_time() - began
    assert lacks_rows(data, side, side + 1)
    assert took_seconds < 4 * unpacking_seconds + 0.02  # a copy of the rest for each piece took 8 times


def test_where_chunks_stand_in_another_order_or_behind_the_end_rows_are_counted_alike() -> None:
    header = (120, 90, 8, 2, 0, 0, 0)
    whole, short = png_of_rows(PHOTO, header), png_of_rows(PHOTO[:60], header)
    text, rest = png_chunk(b"tEXt", b"Comment\0first of all"), png_chunk(b"IDAT", zlib.compress(PHOTO.tobytes()))
    for data in (whole, whole[:8] + text + whole[8:]):
        assert not lacks_rows(data, 120, 90)
    for data in (short, short[:8] + text + short[8:], short + rest, short[:-12] + rest + short[-12:]):
        assert lacks_rows(data, 120, 90)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_of_any_bytes_it_can_be_asked_whether_rows_are_missing(drawn: st.DataObject) -> None:
    kinds = st.sampled_from([b"IHDR", b"IDAT", b"IEND", b"tRNS"])
    contents = st.one_of(st.binary(max_size=30), st.just(zlib.compress(bytes(5000))))
    chunks = drawn.draw(st.lists(st.builds(png_chunk, kinds, contents), max_size=5))
    data = b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
    assert lacks_rows(data[: drawn.draw(st.integers(0, len(data)))], 30, 20) in (False, True)


@pytest.mark.parametrize("bits", [2, 4])
def test_a_transparent_one_of_few_grey_levels_lies_over_white(bits: int) -> None:
    levels = luma(PHOTO).astype(np.uint8) >> (8 - bits)
    levels[:, 60:] = 1
    each = levels.reshape(90, -1, 8 // bits).astype(np.uint8)
    rows = np.bitwise_or.reduce(each << np.arange(8 - bits, -1, -bits).astype(np.uint8), axis=2).astype(np.uint8)
    key = png_chunk(b"tRNS", struct.pack(">H", 1))
    seen = np.where(levels == 1, 255, levels.astype(float) * (255 // (2**bits - 1)))
    assert difference(decoded(png_of_rows(rows, (120, 90, bits, 0, 0, 0, 0), key)).thumbnail, shown(seen)) <= 2


# ---- JPEG 2000


def test_white_in_a_jpeg_2000_of_16_bits_is_no_black() -> None:
    picture = PHOTO.copy()
    picture[20:50, 30:80] = 255
    packed, data = cv2.imencode(".jp2", picture[..., ::-1].astype(np.uint16) * 257)
    assert packed
    assert difference(decoded(data.tobytes()).thumbnail, decoded(encoded(picture, "PNG")).thumbnail) <= 2
    assert "JPEG2000" in reason_for(data.tobytes()[:4000])


@pytest.mark.parametrize(
    ("samples", "told"),
    [
        ((11, 15, 15), "JPEG 2000 of 12 and 16 bits"),
        ((7, 15, 15), "JPEG 2000 of 8 and 16 bits"),
        ((19, 19, 19), "JPEG 2000 of 20 bits"),
        ((0x8F, 0x8F, 0x8F), "JPEG 2000 of signed samples of 16 bits"),
    ],
)
def test_a_jpeg_2000_whose_levels_nobody_can_tell_is_called_so(samples: tuple[int, ...], told: str) -> None:
    packed, encoded_picture = cv2.imencode(".jp2", PHOTO.astype(np.uint16) * 257)
    assert packed
    data = bytearray(encoded_picture.tobytes())
    first = data.index(b"\xff\x51") + 40
    for number, kind in enumerate(samples):
        data[first + 3 * number] = kind
    assert reason_for(bytes(data)) == f"{told} is not supported"


def test_levels_of_a_jpeg_2000_are_brought_to_8_bits_some_rows_at_a_time() -> None:
    picture = photo_like(3, 700, 500).astype(np.uint16) * 257
    packed, data = cv2.imencode(".jp2", picture[..., ::-1], [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000])
    assert packed
    encoded_picture = data.tobytes()
    image = Image.open(io.BytesIO(encoded_picture))
    tracemalloc.start()
    still = load_deep_jpeg2000(encoded_picture, image)
    peak_bytes = tracemalloc.get_traced_memory()[1] - len(encoded_picture)
    tracemalloc.stop()
    assert still is not None
    assert np.array_equal(still.reduced((700, 500)).rgb, picture // 257)
    assert peak_bytes < 13 * 700 * 500  # with all rows at once it was 31


# ---- 16 bits


def tiff(samples: bytes, entries: dict[int, tuple[int, list[int]]]) -> bytes:
    def directory(at: int) -> bytes:
        given: Entries = {
            256: (4, [120]), 257: (4, [90]), 258: (3, [16]), 259: (3, [1]), 262: (3, [1]), 273: (4, [at]),
            277: (3, [1]), 278: (4, [90]), 279: (4, [len(samples)]), **entries,
        }  # fmt: skip
        return tiff_directory(given, 8)

    return b"II*\0\x08\0\0\0" + directory(8 + len(directory(0))) + samples


def test_a_16_bit_tiff_in_which_zero_is_white_is_not_read_as_its_negative() -> None:
    result = decoded(tiff((65535 - GREY16).astype("<u2").tobytes(), {262: (3, [0])}))
    assert difference(result.thumbnail, shown(luma(PHOTO))) <= 2
    assert difference(decoded(tiff(GREY16.tobytes(), {})).thumbnail, shown(luma(PHOTO))) <= 2


def test_a_tiff_that_lists_fewer_strips_than_it_has_rows_is_refused() -> None:
    """All that is not listed would be black."""
    assert reason_for(tiff(GREY16[:45].tobytes(), {278: (4, [45])})) == (
        "damaged TIFF (it lists fewer pieces than its rows need)"
    )


def test_a_transparent_grey_level_of_16_bits_lies_over_white() -> None:
    samples = GREY16.copy()
    samples[:, 60:] = 77
    data = saved(Image.fromarray(samples), "PNG")
    keyed = data[:33] + png_chunk(b"tRNS", struct.pack(">H", 77)) + data[33:]
    seen = luma(PHOTO)
    seen[:, 60:] = 255
    assert difference(decoded(keyed).thumbnail, shown(seen)) <= 2


@pytest.mark.parametrize("order", ["<", ">"])
def test_planes_of_16_bits_are_read_as_such(order: str) -> None:
    planes = [(PHOTO[..., band].astype(order + "u2") * 257).astype(order + "u2").tobytes() for band in range(3)]
    each = len(planes[0])

    def directory(at: int) -> bytes:
        given: Entries = {
            256: (4, [120]), 257: (4, [90]), 258: (3, [16] * 3), 259: (3, [1]), 262: (3, [2]),
            273: (4, [at, at + each, at + 2 * each]), 277: (3, [3]), 278: (4, [90]), 279: (4, [each] * 3),
            284: (3, [2]),
        }  # fmt: skip
        return tiff_directory(given, 8, order)

    start = b"II*\0\x08\0\0\0" if order == "<" else b"MM\0*\0\0\0\x08"
    data = start + directory(8 + len(directory(0))) + b"".join(planes)
    assert difference(decoded(data).thumbnail, decoded(encoded(PHOTO, "PNG")).thumbnail) <= 1


def big_endian(samples: bytes, entries: dict[int, tuple[int, list[int]]]) -> bytes:
    given = {256: (4, [120]), 257: (4, [90]), 259: (3, [1]), 273: (4, [200]), 277: (3, [1]), 279: (4, [len(samples)])}
    return (b"MM\0*\0\0\0\x08" + tiff_directory({**given, **entries}, 8, ">")).ljust(200, b"\0") + samples


def test_grey_of_many_bits_is_read_in_either_order_of_bytes() -> None:
    grey = shown(luma(PHOTO))
    inverted = big_endian((65535 - GREY16).astype(">u2").tobytes(), {258: (3, [16]), 262: (3, [0])})
    assert difference(decoded(inverted).thumbnail, grey) <= 2
    deep = big_endian((GREY16.astype(">u4") * 65537).astype(">u4").tobytes(), {258: (3, [32]), 262: (3, [1])})
    assert np.corrcoef(decoded(deep).thumbnail.ravel(), grey.ravel())[0, 1] > 0.999
    twelve = (GREY16 >> 4).astype(np.uint16).reshape(-1, 2)
    packed = np.stack([twelve[:, 0] >> 4, (twelve[:, 0] & 15) << 4 | twelve[:, 1] >> 8, twelve[:, 1] & 255], axis=1)
    data = big_endian(packed.astype(np.uint8).tobytes(), {258: (3, [12]), 262: (3, [1])})
    assert difference(decoded(data).thumbnail, grey) <= 2


def test_the_only_plane_of_16_bits_is_read_and_planes_of_inks_are_named() -> None:
    assert difference(decoded(tiff(GREY16.tobytes(), {284: (3, [2])})).thumbnail, shown(luma(PHOTO))) <= 2
    inks: dict[int, tuple[int, list[int]]] = {258: (3, [16] * 4), 262: (3, [5]), 277: (3, [4]), 284: (3, [2])}
    data = tiff(GREY16.tobytes() * 4, inks)
    assert reason_for(data) == "TIFF with planes of 16 bits, 4 of them, is not supported"


def test_a_palette_of_bytes_is_not_taken_for_black() -> None:
    image = Image.fromarray(PHOTO).quantize(256)
    colours = np.array(image.getpalette(), np.uint8).reshape(-1, 3).T.ravel()
    colours = np.concatenate([colours, np.zeros(768 - len(colours), np.uint8)]) if len(colours) < 768 else colours
    entries = {258: (3, [8]), 262: (3, [3]), 320: (3, colours.tolist())}
    data = tiff(np.asarray(image).tobytes(), entries)
    assert difference(decoded(data).thumbnail, decoded(encoded(np.asarray(image.convert("RGB")), "PNG")).thumbnail) <= 1


def test_32_bits_without_sign_are_no_negative_numbers() -> None:
    samples = (luma(PHOTO).astype("<u4") * 16843009).astype("<u4").tobytes()
    assert (
        difference(
            decoded(tiff(samples, {258: (3, [32])})).thumbnail,
            decoded(tiff((luma(PHOTO) * 8000000).astype("<i4").tobytes(), {258: (3, [32]), 339: (3, [2])})).thumbnail,
        )
        <= 2
    )


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ({258: (3, [8]), 339: (3, [2])}, "TIFF with 1 signed sample of 8 bits is not supported"),
        ({258: (3, [8]), 259: (3, [34661])}, "TIFF with 34661 compression is not supported"),
        ({258: (3, [64]), 339: (3, [3])}, "TIFF with 1 floating-point sample of 64 bits is not supported"),
        ({258: (3, [16] * 3), 277: (3, [3]), 339: (3, [3] * 3), 262: (3, [2])},
         "TIFF with 3 floating-point samples of 16 bits is not supported"),
        ({258: (3, [16] * 2), 277: (3, [2])}, "TIFF with 2 samples of 16 bits is not supported"),
        ({258: (3, [8]), 259: (3, [34712])}, "TIFF with JPEG 2000 compression is not supported"),
        ({258: (3, [8]), 259: (3, [50001])}, "TIFF with WebP compression is not supported"),
    ],
)  # fmt: skip
def test_a_kind_of_tiff_that_nothing_reads_is_called_by_its_name(
    entries: dict[int, tuple[int, list[int]]], reason: str
) -> None:
    assert reason_for(tiff(b"\0" * (120 * 90 * 8), entries)) == reason


def test_a_big_endian_bigtiff_is_called_so() -> None:
    assert reason_for(b"MM\0+\0\x08\0\0\0\0\0\0\0\0\0\x10" + b"\0" * 99) == "big-endian BigTIFF is not supported"


def test_a_kind_of_psd_that_nothing_reads_is_called_by_its_name() -> None:
    assert reason_for(psd(PHOTO, bits=16)) == "16-bit PSD is not supported"
    assert "PSD" in reason_for(psd(PHOTO)[:5000])
    assert "not supported" not in reason_for(psd(PHOTO)[:5000])


# ---- white on transparency


def logo(side: int, colour: int, hidden: int = 0) -> Image.Image:
    y, x = np.mgrid[0:side, 0:side] / side
    alpha = ((x - 0.5) ** 2 + (y - 0.4) ** 2 < 0.08) * np.uint8(255)
    pixels = np.where(alpha[..., None] > 0, colour, hidden).astype(np.uint8).repeat(3, axis=2)
    return Image.fromarray(np.dstack([pixels, alpha.astype(np.uint8)]))


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_a_white_logo_on_transparency_can_be_seen(kind: str) -> None:
    options: dict[str, object] = {"lossless": True} if kind == "WEBP" else {}
    thumbnail = decoded(saved(logo(400, 255), kind, **options)).thumbnail
    assert (thumbnail[12, 15:17] == 255).all()
    assert (np.abs(thumbnail[0].astype(int) - 128) <= 1).all()
    assert difference(thumbnail, decoded(saved(logo(200, 255), "PNG")).thumbnail) < 30
    assert np.array_equal(thumbnail, decoded(saved(logo(400, 255, hidden=99), kind, **options)).thumbnail)


def test_a_dark_logo_and_nothing_at_all_lie_over_white() -> None:
    assert (decoded(saved(logo(400, 90), "PNG")).thumbnail[0] == 255).all()
    assert (decoded(saved(Image.new("RGBA", (50, 50), (255, 255, 255, 0)), "PNG")).thumbnail == 255).all()
    assert (decoded(saved(Image.new("RGBA", (50, 50), (255, 255, 255, 255)), "PNG")).thumbnail == 255).all()
