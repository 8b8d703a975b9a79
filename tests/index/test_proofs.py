"""Proofs and facts as the decode worker makes them."""

import io
import struct
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from dupwatchd.index.decode import decode
from dupwatchd.index.limits import DecodeLimits
from dupwatchd.index.metadata import Metadata, metadata_of
from dupwatchd.model import Decoded
from dupwatchd.pixels.keypoints import Keypoints, keypoints_of
from dupwatchd.pixels.proof import MAX_PROOF_BYTES, Proof, make_proof, proof_size
from tests.conftest import encoded, photo_like
from tests.index.files import dng, luma, png_of_16_bits
from tests.index.test_keywords import data_set

_WHOLE = make_proof(photo_like(7, 40, 30)).to_bytes()


def decoded(data: bytes, suffix: bytes = b"") -> Decoded:
    return decode(data, 32, DecodeLimits(), suffix)


def proof_of(data: bytes, suffix: bytes = b"") -> Proof:
    return Proof.from_bytes(decoded(data, suffix).proof)


@pytest.mark.parametrize("size", [(500, 375), (1203, 801), (90, 64), (31, 700)])
def test_equal_pixels_give_equal_proofs_in_every_lossless_container(size: tuple[int, int]) -> None:
    picture = photo_like(1, *size)
    expected = proof_of(encoded(picture, "PNG"))
    quickly: dict[str, object] = {"lossless": True, "method": 0}
    for kind, options in (("BMP", {}), ("TIFF", {}), ("WEBP", quickly), ("PPM", {}), ("QOI", {})):
        assert proof_of(encoded(picture, kind, **options)) == expected, kind


def test_grey_is_the_same_in_one_channel_three_and_sixteen_bits() -> None:
    grey = photo_like(2, 400, 300)[..., 0]
    three = proof_of(encoded(np.repeat(grey[..., None], 3, axis=2), "PNG"))
    assert proof_of(encoded(grey, "PNG")) == three
    deep = io.BytesIO()
    Image.fromarray(grey.astype(np.uint16) * 257).save(deep, "PNG")
    assert proof_of(deep.getvalue()) == three


def test_opaque_alpha_does_not_change_the_proof() -> None:
    picture = photo_like(3, 600, 400)
    with_alpha = np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)])
    assert proof_of(encoded(with_alpha, "PNG")) == proof_of(encoded(picture, "PNG"))


def test_transparency_lies_over_white_and_white_logos_over_grey() -> None:
    logo = np.zeros((120, 160, 4), np.uint8)
    logo[30:90, 40:120] = (200, 30, 30, 255)
    assert proof_of(encoded(logo, "PNG")).luma[5, 5] >= 252
    logo[30:90, 40:120] = 255
    proof = proof_of(encoded(logo, "PNG"))
    assert 124 <= proof.luma[5, 5] <= 130
    assert proof.luma[60, 80] >= 252


@pytest.mark.parametrize("size", [(500, 375), (640, 640), (1283, 967), (1500, 2100), (4000, 700)])
def test_the_proof_of_a_jpeg_is_nearly_that_of_the_whole_picture(size: tuple[int, int]) -> None:
    picture = photo_like(4, *size)
    proof, whole = proof_of(encoded(picture, "JPEG", quality=95)), make_proof(picture)
    assert proof.luma.shape == whole.luma.shape == proof_size(*size)[::-1]
    assert np.abs(proof.luma.astype(int) - whole.luma).mean() < 1.5
    assert np.abs(proof.chroma.astype(int) - whole.chroma).mean() < 1.5


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_proofs_are_upright(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    found = decoded(encoded(photo_like(5, 320, 240), kind, exif=exif.tobytes(), **options))
    proof = Proof.from_bytes(found.proof)
    assert (proof.luma.shape[1] > proof.luma.shape[0]) == (found.width > found.height)
    assert proof.chroma.shape[1:] == tuple(-(-side // 3) for side in proof.luma.shape)
    rows, columns = (np.linspace(0, side - 1, 32).astype(int) for side in proof.luma.shape)
    sampled = proof.luma[rows[:, None], columns].ravel()
    assert np.corrcoef(sampled, luma(found.thumbnail).ravel())[0, 1] > 0.97


def test_the_proof_of_a_raw_photo_is_that_of_its_preview() -> None:
    preview = encoded(photo_like(6, 320, 240))
    raw = decoded(dng(preview, (320, 240), (400, 300), 6), b".dng")
    turned = Proof.from_bytes(raw.proof)
    assert np.array_equal(np.rot90(turned.luma), proof_of(preview).luma)
    assert (raw.width, raw.height) == (300, 400)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_keypoints_that_come_along_are_those_of_the_stored_proof(kind: str) -> None:
    data = encoded(photo_like(12, 700, 500), kind)
    limits = DecodeLimits(with_keypoints=True)

    found = decode(data, 32, limits, b"")

    assert found.keypoints == keypoints_of(Proof.from_bytes(found.proof)).to_bytes()
    assert len(Keypoints.from_bytes(found.keypoints)) > 10
    assert decoded(data).keypoints == b"", "unless they are asked for"


def test_no_keypoints_are_made_of_a_file_of_several_pages() -> None:
    pages = [Image.fromarray(photo_like(number, 300, 200)) for number in (13, 14)]
    file = io.BytesIO()
    pages[0].save(file, "TIFF", save_all=True, append_images=pages[1:])

    found = decode(file.getvalue(), 32, DecodeLimits(with_keypoints=True), b".tif")

    assert len(Keypoints.from_bytes(found.keypoints)) == 0


def test_a_proof_of_pure_noise_fits() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (192, 192, 3)).astype(np.uint8)
    assert len(make_proof(noise).to_bytes()) < MAX_PROOF_BYTES
    strip = np.random.default_rng(1).integers(0, 256, (9, 9000, 3)).astype(np.uint8)
    assert len(make_proof(strip).to_bytes()) < MAX_PROOF_BYTES


# ---- facts


def camera_exif() -> bytes:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x4746] = "Canon", "EOS 5D", 4
    exif.get_ifd(0x8769).update({0x9003: "2024:05:01 10:11:12"})
    exif.get_ifd(0x8825).update({1: "N", 2: (1.0, 2.0, 3.0), 3: "E", 4: (4.0, 5.0, 6.0)})
    return exif.tobytes()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_facts_of_a_photo_from_a_camera(kind: str) -> None:
    facts = decoded(encoded(photo_like(1, 320, 240), kind, exif=camera_exif())).facts
    assert (facts.camera, facts.captured) == ("Canon EOS 5D", "2024-05-01T10:11:12")
    assert (facts.has_place, facts.rating, facts.edited, facts.has_colour) == (True, 4, False, True)


def told(taken: str = "", xmp: str = "", iptc: bytes = b"", tags: dict[int, int] | None = None) -> Metadata:
    exif = Image.Exif()
    exif.update(tags or {})
    if taken:
        exif.get_ifd(0x8769)[0x9003] = taken
    return metadata_of(exif.tobytes().removeprefix(b"Exif\0\0"), f"<rdf:Description {xmp}/>".encode(), iptc)


@pytest.mark.parametrize(
    ("taken", "captured"),
    [
        ("2024:05:01 10:11:12", "2024-05-01T10:11:12"),
        ("2024:5:1 9:8:7", "2024-05-01T09:08:07"),
        ("2024.05.01 10:11", "2024-05-01T10:11:00"),
        (" 2024-05-01T10:11:12.5+02:00", "2024-05-01T10:11:12.5"),
        ("2019:01:01 24:04:20", "2019-01-01T24:04:20"),  # as a phone writes it
        *((odd, "") for odd in (
            "0000:00:00 00:00:00", "    :  :     :  :  ", "2024:13:01 10:11:12", "2024:05:00 10:11:12",
            "2024:05:01 10:61:12", "9999:99:99 99:99:99", "0001:01:01 00:00:00", "1970:01:01 00:00:00",
            "1904:01:01 00:00:00", "1980:01:01 00:00:00", "2024:05:01",
        )),
    ],
)  # fmt: skip
def test_a_capture_time_is_read_however_it_is_written_and_only_if_it_can_be_true(taken: str, captured: str) -> None:
    assert told(taken).captured == captured


def test_a_capture_time_and_a_camera_that_only_xmp_or_iptc_tells_are_known() -> None:
    xmp = 'tiff:Make="Lumen" tiff:Model="L1" photoshop:DateCreated="2024-05-01T10:11:12+02:00"'
    assert (told(xmp=xmp).camera, told(xmp=xmp).captured) == ("Lumen L1", "2024-05-01T10:11:12")
    assert told("2023:04:03 02:01:00", xmp).captured == "2023-04-03T02:01:00"
    records = data_set(2, 55, b"20240501") + data_set(2, 60, b"101112+0200")
    assert told(iptc=records).captured == "2024-05-01T10:11:12"
    assert told(iptc=data_set(2, 55, b"20240501")).captured == ""


@pytest.mark.parametrize(
    ("xmp", "tags", "stars"),
    [
        ('xap:Rating="4"', {}, 4), ('MicrosoftPhoto:Rating="75"', {}, 4), ('acdsee:rating="2"', {}, 2),
        ('xmp:Rating="-1"', {}, 0), ('xmp:Rating="0" MicrosoftPhoto:Rating="99"', {}, 5),
        ("", {0x4749: 25}, 2), ("", {0x4749: 1}, 1), ("", {0x4749: 0}, 0),
        ('xmp:Rating="3"', {0x4746: 5, 0x4749: 1}, 5),
    ],
)  # fmt: skip
def test_stars_are_read_as_every_program_writes_them(xmp: str, tags: dict[int, int], stars: int) -> None:
    assert told(xmp=xmp, tags=tags).rating == stars


def test_how_a_photo_was_exposed_is_known() -> None:
    exif = Image.Exif()
    number = "0123456789abcdef" * 2
    exif.get_ifd(0x8769).update({
        0x829A: IFDRational(1, 100), 0x829D: IFDRational(28, 10), 0x8827: 100, 0x9204: IFDRational(-1, 3),
        0xA420: number,
    })  # fmt: skip
    tiff = exif.tobytes().removeprefix(b"Exif\0\0")
    assert metadata_of(tiff).exposure == f"t=0.01 f=2.8 iso=100 ev=-0.3333 id={number}"
    assert told("2024:05:01 10:11:12").exposure == ""
    exif.get_ifd(0x8769).update({0x829A: IFDRational(0, 1), 0xA420: "E12LLKK00AM"})
    assert metadata_of(exif.tobytes().removeprefix(b"Exif\0\0")).exposure == "f=2.8 iso=100 ev=-0.3333"


def test_of_two_blocks_of_exif_the_one_that_tells_of_the_photo_is_read() -> None:
    short = Image.Exif()
    short[0x0112] = 1
    plain = encoded(photo_like(1, 80, 60), exif=camera_exif())
    body = short.tobytes()
    both = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + plain[2:]
    assert decoded(both).facts.camera == decoded(plain).facts.camera == "Canon EOS 5D"


def test_a_place_in_fractions_with_a_sign_is_read_and_zeros_are_none() -> None:
    def gps(kind: int, *numbers: int) -> bytes:
        return (
            b"MM\0*\0\0\0\x08\0\1"
            + struct.pack(">HHIIIH", 0x8825, 4, 1, 26, 0, 4)
            + b"".join(
                struct.pack(">HHI4s", 1 + 2 * n, 2, 2, (b"N\0", b"E\0")[n])
                + struct.pack(">HHII", 2 + 2 * n, kind, 3, 80)
                for n in range(2)
            )
            + bytes(4)
            + struct.pack(">6I", *numbers)
        )

    for kind in (5, 10):
        known, zeros = metadata_of(gps(kind, 48, 1, 8, 1, 13, 1)), metadata_of(gps(kind, 0, 1, 0, 1, 0, 1))
        assert (known.has_place, known.place) == (True, "48.13694, 48.13694")
        assert (zeros.has_place, zeros.place) == (False, "")


def test_facts_of_a_jpeg_and_of_the_png_made_from_it() -> None:
    jpeg = encoded(photo_like(1, 480, 360), "JPEG", quality=80)
    facts = decoded(jpeg).facts
    assert (facts.lossless, facts.jpeg_grid, abs(facts.quality - 80) <= 1) == (False, False, True)
    assert facts.scan_digest == decoded(jpeg + b"what a phone adds").facts.scan_digest != b""
    pixels = np.asarray(Image.open(io.BytesIO(jpeg)))
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True})):
        made = decoded(encoded(pixels, kind, **options)).facts
        assert (made.lossless, made.jpeg_grid, made.quality) == (True, True, 0), kind
    drawn = decoded(encoded(photo_like(1, 480, 360), "PNG")).facts
    assert (drawn.lossless, drawn.jpeg_grid) == (True, False)


def test_what_is_held_behind_a_jpeg_belongs_to_its_scan_and_notes_do_not() -> None:
    jpeg, gain_map = (encoded(photo_like(seed, *size), "JPEG") for seed, size in ((1, (480, 360)), (2, (60, 40))))
    digests = [
        decoded(jpeg + behind).facts.scan_digest
        for behind in (b"", b"SEFT" * 999, b"\0" * 99_999, b"film" * 9999, b"\0\0" + b"film" * 9999, gain_map)
    ]
    assert digests[0] == digests[1] == digests[2]
    assert digests[3] == digests[4]
    assert len(set(digests)) == 3


def test_files_of_equal_pixels_share_a_digest_whatever_their_metadata() -> None:
    pixels = photo_like(2, 320, 240)
    png = encoded(pixels, "PNG")
    digest = decoded(png).facts.scan_digest
    assert len(digest) == 16
    alike = [
        encoded(pixels, "PNG", exif=camera_exif()), encoded(pixels, "PNG", compress_level=9),
        encoded(pixels, "BMP"), encoded(pixels, "TIFF"), encoded(pixels, "TIFF", compression="tiff_lzw"),
    ]  # fmt: skip
    assert {decoded(one).facts.scan_digest for one in alike} == {digest}
    other = pixels.copy()
    other[200, 100, 1] ^= 1
    differing = [
        encoded(other, "PNG"), encoded(pixels[:, :-1], "PNG"), encoded(pixels, "PNG", icc_profile=b"another profile"),
        encoded(np.dstack([pixels, pixels[..., 0]]), "PNG"), encoded(pixels, "JPEG"),
    ]  # fmt: skip
    assert digest not in {decoded(one).facts.scan_digest for one in differing}


@pytest.mark.parametrize("kind", ["HEIF", "AVIF", "WEBP"])
def test_a_photo_whose_metadata_were_removed_shares_its_digest(kind: str) -> None:
    shown = photo_like(3, 320, 240)
    tagged, bare = (decoded(encoded(shown, kind, **more)) for more in ({"exif": camera_exif()}, {}))
    assert (tagged.facts.camera != "", bare.facts.camera) == (True, "")
    assert tagged.facts.scan_digest == bare.facts.scan_digest != b""
    assert decoded(encoded(photo_like(4, 320, 240), kind)).facts.scan_digest != bare.facts.scan_digest


def test_what_holds_more_than_is_decoded_has_no_digest() -> None:
    """More bits than 8 a channel, and more pictures than one."""
    deep = photo_like(5, 64, 48)
    [image, more] = [Image.fromarray(photo_like(seed, 64, 48)) for seed in (5, 6)]
    pages = io.BytesIO()
    image.save(pages, "TIFF", save_all=True, append_images=[more])
    sixteen = png_of_16_bits(deep)
    assert np.array_equal(decoded(sixteen).thumbnail, decoded(encoded(deep, "PNG")).thumbnail)
    for data in (sixteen, pages.getvalue()):
        assert decoded(data).facts.scan_digest == b""


def test_a_grey_picture_has_no_colour() -> None:
    grey = photo_like(1, 200, 150)[..., 0]
    assert not decoded(encoded(grey, "JPEG")).facts.has_colour
    assert not decoded(encoded(grey, "PNG")).facts.has_colour


def test_facts_of_a_raw_photo_are_its_own() -> None:
    facts = decoded(dng(encoded(photo_like(6, 320, 240)), (320, 240), (400, 300), 1), b".dng").facts
    assert facts.camera == "Test Camera"
    assert (facts.quality, facts.scan_digest, facts.lossless) == (0, b"", False)


@settings(deadline=None)
@given(st.binary(max_size=200) | st.builds(lambda cut, x: _WHOLE[:cut] + x, st.integers(0, 400), st.binary(max_size=9)))
def test_bytes_that_are_no_proof_raise_value_error_only(data: bytes) -> None:
    with suppress(ValueError):
        assert Proof.from_bytes(data).luma.size
