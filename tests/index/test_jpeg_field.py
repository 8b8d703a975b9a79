"""JPEGs as cameras and phones write them, and what must not be taken for one."""

import base64
import io
import re
import struct

import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dupwatchd.index.all_pixels import digest_of_all
from dupwatchd.index.decode import decode, decode_detail
from dupwatchd.index.jpeg_segments import first_end_marker, has_all_restarts, lacks_scans, read_head, read_scans
from dupwatchd.index.limits import DecodeLimits
from dupwatchd.index.reasons import DecodeError
from dupwatchd.model import Decoded
from tests.conftest import encoded, photo_like

PHOTO = photo_like(11, 640, 480)
SMALL = photo_like(11, 320, 240)  # to be cut and read hundreds of times
EOI = b"\xff\xd9"
KINDS: list[dict[str, object]] = [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_rows": 2}]
KIND_IDS = ["baseline", "progressive", "444", "restarts"]


def decoded(data: bytes) -> Decoded:
    return decode(data, 32, DecodeLimits(), b".jpg")


def reason_for(data: bytes) -> str:
    with pytest.raises(DecodeError) as caught:
        decoded(data)
    return str(caught.value)


def assert_same_picture(data: bytes, intact: bytes, damage: str | None = None) -> None:
    result, expected = decoded(data), decoded(intact)
    assert np.array_equal(result.thumbnail, expected.thumbnail)
    assert (result.width, result.height, result.format) == (expected.width, expected.height, "JPEG")
    assert result.damage == damage
    assert expected.damage is None


# ---- without an end


@pytest.mark.parametrize("options", KINDS, ids=KIND_IDS)
@pytest.mark.parametrize("tail", [b"", b"\0" * 5000, b"\0\xff\0" * 70], ids=["nothing", "zeros", "DJI"])
@pytest.mark.parametrize("seed", range(4))
def test_a_whole_jpeg_without_end_marker_is_read(options: dict[str, object], tail: bytes, seed: int) -> None:
    intact = encoded(photo_like(seed, 320, 240), "JPEG", **options)
    assert_same_picture(intact[:-2] + tail, intact)
    assert_same_picture(intact[:-2] + tail + EOI, intact)
    assert_same_picture(intact + tail, intact)


@pytest.mark.parametrize("options", KINDS, ids=KIND_IDS)
def test_no_random_cut_is_taken_for_a_whole_jpeg(options: dict[str, object]) -> None:
    intact = encoded(SMALL, "JPEG", **options)
    random = np.random.default_rng(0)
    for length in random.integers(2, len(intact) - 3, 300):
        # The last bytes may hold nothing but bits that fill up the last byte.
        assert length > len(intact) - 6 or "JPEG" in reason_for(intact[:length])


@pytest.mark.parametrize("options", KINDS, ids=KIND_IDS)
@pytest.mark.parametrize("filler", [b"\0", b"\xff", b"\0\xff"], ids=["00", "ff", "00 ff"])
def test_no_cut_that_is_filled_up_is_taken_for_a_whole_jpeg(options: dict[str, object], filler: bytes) -> None:
    intact = encoded(SMALL, "JPEG", **options)
    start = intact.index(b"\xff\xda") + 20
    for length in np.random.default_rng(1).integers(start, len(intact) - 8, 30):
        for size in (len(intact), 4 * len(intact)):
            filled = intact[:length] + filler * ((size - length) // len(filler))
            assert "JPEG" in reason_for(filled)
            try:
                assert decoded(filled + EOI).damage is not None
            except DecodeError:
                pass


# ---- what follows the picture


SAMSUNG = b"\0\0\x30\x0a\x14\0\0\0Motion_Panorama_Info" + bytes(range(64)) * 40 + b"SEFH\x6a\0\0\0\1\0\0\0SEFT"
MOTION = b"\0\0\x30\x0a\x10\0\0\0MotionPhoto_Data\0\0\0\x18ftypmp42" + b"\xff\xa6film" * 500


@pytest.mark.parametrize("end", [EOI, b""], ids=["end", "no end"])
@pytest.mark.parametrize(
    "trailer", [SAMSUNG, MOTION, b"\0\0\0\x18ftypmp42" + b"film" * 99], ids=["Samsung", "motion", "film"]
)
def test_what_a_phone_appends_to_a_jpeg_does_not_matter(trailer: bytes, end: bytes) -> None:
    intact = encoded(PHOTO)
    assert_same_picture(intact[:-2] + end + trailer, intact)


@pytest.mark.parametrize("trailer", [SAMSUNG, MOTION], ids=["Samsung", "motion"])
@pytest.mark.parametrize("options", KINDS, ids=KIND_IDS)
def test_the_data_of_a_phone_do_not_stand_in_for_those_of_a_picture_cut_short(
    options: dict[str, object], trailer: bytes
) -> None:
    intact = encoded(photo_like(1, 90, 70), "JPEG", **options)
    for missing in range(6, 200):
        assert "JPEG" in reason_for(intact[:-missing] + trailer)


@pytest.mark.parametrize("marker", [b"\xff\x9a", b"\xff\xa6", b"\xff\x02", b"\xff\xe5"])
def test_unknown_markers_behind_the_data_do_not_matter(marker: bytes) -> None:
    intact = encoded(PHOTO)
    assert_same_picture(intact[:-2] + marker + b"\x12\x34\x56" + EOI, intact)


# ---- bytes that do not belong to the picture


@pytest.mark.parametrize("stray", [b"1" * 399, b"\xff\x00abc"])
def test_stray_bytes_before_the_end_are_damage_that_can_be_read(stray: bytes) -> None:
    intact = encoded(PHOTO)
    result = decoded(intact[:-2] + stray + EOI)
    assert np.array_equal(result.thumbnail, decoded(intact).thumbnail)
    assert result.damage is not None
    assert re.fullmatch(r"about \d+ bytes before the end of the JPEG are not part of its picture", result.damage)


def with_stray_bytes_before_restarts(data: bytes, stray: bytes) -> bytes:
    head = data.index(b"\xff\xda") + 14
    return data[:head] + re.sub(rb"(\xff[\xd0-\xd7])", rb"%b\1" % stray, data[head:])


def test_stray_bytes_before_restart_markers_are_damage_that_can_be_read() -> None:
    intact = encoded(PHOTO, restart_marker_rows=1)
    result = decoded(with_stray_bytes_before_restarts(intact, b"kidcamera"))
    assert np.array_equal(result.thumbnail, decoded(intact).thumbnail)
    assert result.damage == "about 9 bytes inside the JPEG are not part of its picture"


def test_with_stray_bytes_a_cut_is_refused_and_so_are_lost_parts() -> None:
    data = with_stray_bytes_before_restarts(encoded(PHOTO, restart_marker_rows=1), b"kidcamera")
    for length in range(2000, len(data) - 20, len(data) // 40):
        assert "JPEG" in reason_for(data[:length])
        try:
            assert decoded(data[:length] + EOI).damage is not None
        except DecodeError:
            pass
    places = [match.start() for match in re.finditer(rb"kidcamera\xff[\xd0-\xd7]", data)]
    assert "JPEG" in reason_for(data[: places[3]] + data[places[4] :])


def test_a_jpeg_without_its_restart_markers_is_refused() -> None:
    intact = encoded(PHOTO, restart_marker_rows=1)
    head = intact.index(b"\xff\xda") + 14
    assert "JPEG" in reason_for(intact[:head] + re.sub(rb"\xff[\xd0-\xd7]", b"", intact[head:]))


def test_bytes_between_segments_do_not_matter() -> None:
    intact = encoded(PHOTO)
    for stray in (b"\0\0\0\x17", b"camera 7", b"\xff\x00\x11", b"\xff\x03"):
        data = intact
        for segment in (b"\xff\xdb", b"\xff\xc4", b"\xff\xc0", b"\xff\xda"):
            at = data.index(segment)
            data = data[:at] + stray + data[at:]
        assert_same_picture(data, intact)


def test_a_sequential_scan_that_claims_one_coefficient_is_read_whole() -> None:
    intact = encoded(PHOTO)
    at = intact.index(b"\xff\xda")
    assert intact[at + 11 : at + 14] == b"\0\x3f\0"
    assert_same_picture(intact[: at + 12] + b"\0" + intact[at + 13 :], intact)


# ---- a thumbnail inside


def thumbnail_first(intact: bytes, thumbnail: bytes, length: int) -> bytes:
    """EXIF with a thumbnail whose segment says that it has this length."""
    exif = b"Exif\0\0II*\0\x08\0\0\0" + b"\0" * 28
    return b"\xff\xd8\xff\xe1" + struct.pack(">H", length) + exif + thumbnail + intact[2:]


OTHER = encoded(photo_like(3, 160, 120))


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("length", [14, 44, 46, 60, 200, 44 + len(OTHER)])
def test_an_exif_thumbnail_is_never_taken_for_the_picture(length: int, progressive: bool) -> None:
    intact = encoded(PHOTO, progressive=progressive)
    assert_same_picture(thumbnail_first(intact, OTHER, length), intact)


@pytest.mark.parametrize("length", [14, 44])
def test_an_exif_thumbnail_of_a_file_cut_short_is_not_its_picture(length: int) -> None:
    whole = thumbnail_first(encoded(PHOTO), OTHER, length)
    for end in (100, 40 + len(OTHER) // 2, 44 + len(OTHER), 300 + len(OTHER), len(whole) - 500):
        assert "JPEG" in reason_for(whole[:end])


def test_a_small_jpeg_followed_by_another_is_the_first() -> None:
    small = encoded(photo_like(5, 160, 120))
    assert_same_picture(small + encoded(PHOTO), small)


# ---- kinds


@given(st.lists(st.sampled_from([0x00, 0xD9, 0xFF]), max_size=60).map(bytes), st.integers(0, 61))
def test_the_first_end_marker_is_found_across_pieces(data: bytes, start: int) -> None:
    for piece_bytes in (1, 4, 1 << 18):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("dupwatchd.index.jpeg_segments._PIECE_BYTES", piece_bytes)
            assert first_end_marker(data, start) == data.find(b"\xff\xd9", start)


def test_progressive_jpegs_that_lack_scans_are_damaged() -> None:
    intact = encoded(PHOTO, progressive=True)
    head = read_head(intact)
    assert head is not None
    assert not lacks_scans(head.frame, read_scans(intact, head).headers)
    ends = [match.start() for match in re.finditer(rb"\xff\xda", intact)][1:]
    assert len(ends) > 5
    for end in ends:
        start_of_tables = max((m.start() for m in re.finditer(rb"\xff\xc4", intact[:end])), default=end)
        for cut in {end, start_of_tables if start_of_tables > ends[0] - 200 else end}:
            try:
                assert decoded(intact[:cut] + EOI).damage == "scans of the progressive JPEG are missing"
            except DecodeError:
                pass
            assert "JPEG" in reason_for(intact[:cut])
    only_first = intact[: intact.index(b"\xff\xc4", intact.index(b"\xff\xda"))] + EOI
    assert decoded(only_first).damage == "scans of the progressive JPEG are missing"


@pytest.mark.parametrize(
    ("marker", "bits", "reason"),
    [
        (0xC1, 12, "12-bit JPEG is not supported"),
        (0xC3, 8, "lossless JPEG is not supported"),
        (0xC5, 8, "hierarchical JPEG is not supported"),
        (0xF7, 8, "JPEG-LS is not supported"),
    ],
)
def test_a_kind_of_jpeg_that_nothing_reads_is_called_by_its_name(marker: int, bits: int, reason: str) -> None:
    data = bytearray(encoded(PHOTO))
    at = data.index(b"\xff\xc0")
    data[at + 1], data[at + 4] = marker, bits
    assert reason_for(bytes(data)) == reason


def test_the_smallest_picture_of_a_hierarchy_is_not_taken_for_the_whole() -> None:
    data = encoded(PHOTO)
    at = data.index(b"\xff\xc0")
    hierarchy = b"\xff\xde" + data[at + 2 : at + 19]
    assert reason_for(data[:2] + hierarchy + data[2:]) == "hierarchical JPEG is not supported"


def test_a_jpeg_of_two_components_is_called_so() -> None:
    data = bytearray(encoded(PHOTO))
    data[data.index(b"\xff\xc0") + 9] = 2
    assert reason_for(bytes(data)) == "JPEG with 2 components is not supported"


@pytest.mark.parametrize("ids", [(1, 2, 2), (7, 7, 7)])
def test_a_jpeg_whose_components_share_an_id_is_read(ids: tuple[int, ...]) -> None:
    intact = encoded(PHOTO, restart_marker_rows=2)
    data, frame, scan = bytearray(intact), intact.index(b"\xff\xc0"), intact.index(b"\xff\xda")
    for number, one in enumerate(ids):
        data[frame + 10 + 3 * number] = data[scan + 5 + 2 * number] = one
    assert_same_picture(bytes(data), intact)
    told = bytes(data)
    head = read_head(told)
    assert head is not None
    assert has_all_restarts(head, read_scans(told, head).restarts)
    assert digest_of_all(told, DecodeLimits(), b".jpg") == digest_of_all(intact, DecodeLimits(), b".jpg")


# 48 × 32 grey pixels that libjpeg-turbo's cjpeg has coded with -arithmetic.
ARITHMETIC = base64.b85decode(
    "|JeWF01!$>Nk#wx0RR9200961|JwjV01XKW3knDg3knMk4h;_zAQcl55)&sJ9v2`kDKRiEDJ?8BI!Zn>HbyrrEkIX6ModmpQ&KWMT47pHU`kO^"
    "PyfjP3kU!p05Aao5di<p00saM5C#9*00;pA002J#{{UY1A71Gp^`Czh+e<`byPe!FtnZwlT7C8_WG=uD&PuS0k>Nz*TMfFv?BngUd{JsvF+~sY"
    "EmCCF-1gc?&fFyVEgM0{c8c;ML1>^)?F*0p04Mqj#Hr?yQ{IYyN0|H(wBI_O1#n*|Tk1kF$uND-u45WnyOCH7(TCv$daZY_-"
    "L=5J%isG5>R~?RfR3Gz`~0SW<Gqi;g85;nX~;EHI9e*pOL2Ir2(ECqq~h0q%GlZqz?&fFFo)*SF>$c}*#"
)


def test_arithmetic_coding_is_read_and_never_without_its_end() -> None:
    assert (decoded(ARITHMETIC).width, decoded(ARITHMETIC).damage) == (48, None)
    start = ARITHMETIC.index(b"\xff\xda") + 10
    for length in range(start, len(ARITHMETIC) - 2):
        assert reason_for(ARITHMETIC[:length]) == "truncated JPEG"
        assert "JPEG" in reason_for(ARITHMETIC[:length] + bytes(len(ARITHMETIC) - length))


@pytest.mark.parametrize("options", KINDS, ids=KIND_IDS)
def test_a_jpeg_whose_height_stands_behind_its_data_is_read(options: dict[str, object]) -> None:
    intact = encoded(PHOTO, "JPEG", **options)
    data = bytearray(intact)
    at = min(found for marker in (b"\xff\xc0", b"\xff\xc2") if (found := data.find(marker)) >= 0)
    data[at + 5 : at + 7] = b"\0\0"
    told = bytes(data[:-2]) + b"\xff\xdc\x00\x04\x01\xe0" + EOI
    assert_same_picture(told, intact)
    assert np.array_equal(decode_detail(told, 1600, DecodeLimits(), b".jpg").rgb, simplejpeg.decode_jpeg(intact))
    assert digest_of_all(told, DecodeLimits(), b".jpg") == digest_of_all(intact, DecodeLimits(), b".jpg")
    assert reason_for(bytes(data)) == "damaged JPEG (it does not tell its height)"
    assert reason_for(told[:-4] + b"\0\0" + EOI) == "damaged JPEG (it does not tell its height)"


@pytest.mark.parametrize(("width", "height"), [(1, 1), (16, 17), (333, 241), (640, 480)])
@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"subsampling": 1}])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_restart_markers_are_counted_right(width: int, height: int, options: dict[str, object], mode: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(photo_like(1, width, height)).convert(mode).save(buffer, "JPEG", restart_marker_blocks=3, **options)
    data = buffer.getvalue()
    head = read_head(data)
    assert head is not None
    assert head.restart_interval == 3
    scans = read_scans(data, head)
    assert has_all_restarts(head, scans.restarts)
    assert not has_all_restarts(head, [*scans.restarts, len(scans.restarts) % 8])
    assert scans.has_end_marker
    assert scans.end == len(data) - 2


def test_orientation_is_found_in_exif_and_xmp() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    xmp = b'http://ns.adobe.com/xap/1.0/\0<rdf:Description tiff:Orientation="6"/>'
    intact = encoded(PHOTO)
    for data in (
        encoded(PHOTO, exif=exif),
        intact[:2] + b"\xff\xe1" + struct.pack(">H", len(xmp) + 2) + xmp + intact[2:],
    ):
        assert (decoded(data).width, decoded(data).height) == (480, 640)
    assert simplejpeg.decode_jpeg_header(intact)[:2] == (480, 640)
