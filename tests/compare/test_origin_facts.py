"""What single files say: metadata, quantisation, coded pictures, colour and a JPEG's grid in lossless pixels."""

import io
import tracemalloc
import warnings
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin

from dupwatchd.index import pillow_formats  # noqa: F401 - registers HEIF with Pillow
from dupwatchd.index.facts import is_lossless, jpeg_quality, jpeg_steps, scan_digest, stored_luma
from dupwatchd.index.metadata import MAX_NAME_CHARS, Metadata, read_metadata
from dupwatchd.pixels.signs import has_colour, has_jpeg_grid
from tests.compare.test_origin_direction import saved, scene
from tests.conftest import encoded, photo_like
from tests.index.profiles import display_p3

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
PICTURE = photo_like(1, 80, 60)
FULL = Metadata(
    "Canon EOS 5D", "2024-05-01T10:11:12.345", has_place=True, rating=4, edited=True, place="1.03417, 4.08500"
)
XMP = b'<x:xmpmeta><rdf:Description xmp:Rating="3" xmp:CreatorTool="Adobe Photoshop 25.1"/></x:xmpmeta>'


def full_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0131], exif[0x4746] = "Canon", "EOS 5D", "GIMP 2.10", 4
    exif.get_ifd(0x8769).update({0x9003: "2024:05:01 10:11:12", 0x9291: "345"})
    exif.get_ifd(0x8825).update({1: "N", 2: (1.0, 2.0, 3.0), 3: "E", 4: (4.0, 5.0, 6.0)})
    return exif


def metadata(data: bytes) -> Metadata:
    return read_metadata(Image.open(io.BytesIO(data)), data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_camera_time_place_rating_and_editor_are_read_in_every_format(kind: str) -> None:
    assert metadata(encoded(PICTURE, kind, exif=full_exif().tobytes())) == FULL


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"])
def test_a_file_without_metadata_says_nothing(kind: str) -> None:
    assert metadata(encoded(PICTURE, kind)) == Metadata()


def test_xmp_tells_rating_and_editor() -> None:
    told = Metadata(rating=3, edited=True)
    assert metadata(encoded(PICTURE, "JPEG", xmp=XMP)) == told
    assert metadata(encoded(PICTURE, "WEBP", xmp=XMP)) == told
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", XMP.decode())
    assert metadata(encoded(PICTURE, "PNG", pnginfo=text)) == told
    assert metadata(encoded(PICTURE, "TIFF", tiffinfo={700: XMP})) == told


def test_a_capture_time_in_the_main_directory_counts() -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x9003] = "Canon", "2019:05:01 10:00:00"
    assert metadata(encoded(PICTURE, exif=exif.tobytes())) == Metadata("Canon", "2019-05-01T10:00:00")


@pytest.mark.parametrize("software", ["Ver.1.02", "17.4.1", "HDR+ 1.0.6", "S918BXXU3CWK3", "Version1.00", "Google 1"])
def test_a_cameras_own_software_is_no_editor(software: str) -> None:
    exif = Image.Exif()
    exif[0x0131] = software
    assert not metadata(encoded(PICTURE, exif=exif.tobytes())).edited


@pytest.mark.parametrize(
    "software",
    [
        "Microsoft Windows Photo Viewer 6.1.7600.16385", "Windows Photo Editor 10.0.10011.16384", "iPhoto 9.6",
        "Photos 1.5", "Google", "Digital Photo Professional", "NX Studio 1.2 W",
    ],
)  # fmt: skip
def test_programs_that_write_a_photo_anew_are_known_by_name(software: str) -> None:
    exif = Image.Exif()
    exif[0x0131] = software
    assert metadata(encoded(PICTURE, exif=exif.tobytes())).edited


def test_the_model_is_not_named_with_its_make_twice() -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "NIKON", "NIKON D90"
    assert metadata(encoded(PICTURE, exif=exif.tobytes())).camera == "NIKON D90"


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
def test_damaged_metadata_never_raise_and_stay_short(seed: int, changes: int) -> None:
    random = np.random.default_rng(seed)
    block = bytearray(full_exif().tobytes()[6:])
    for at in random.integers(0, len(block), changes):
        block[at] = random.integers(0, 256)
    image = Image.new("RGB", (8, 8))
    image.info["exif"] = b"Exif\0\0" + bytes(block)
    image.info["xmp"] = bytes(random.permutation(list(XMP)).astype(np.uint8))
    found = read_metadata(image, b"")
    assert len(found.camera) <= 2 * MAX_NAME_CHARS + 1
    assert len(found.captured) <= len("2024-05-01T10:11:12.345678")
    assert 0 <= found.rating <= 5


WHOLE = [encoded(PICTURE, kind, exif=full_exif().tobytes()) for kind in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF")]


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(WHOLE), st.integers(0, 2**32 - 1), st.integers(1, 30), st.booleans())
def test_whatever_opens_gives_facts(data: bytes, seed: int, changes: int, cut: bool) -> None:
    random = np.random.default_rng(seed)
    damaged = np.frombuffer(data, np.uint8).copy()
    damaged[random.integers(0, min(len(data), 1500), changes)] = random.integers(0, 256, changes)
    damaged_bytes = damaged[: random.integers(30, len(data)) if cut else None].tobytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = Image.open(io.BytesIO(damaged_bytes))
        except Exception:  # noqa: BLE001 - decoders raise anything; what they refuse nobody asks about
            return
        read_metadata(image, damaged_bytes)
        is_lossless(image, damaged_bytes)
        steps = jpeg_steps(damaged_bytes)
        assert 0 <= jpeg_quality(steps) <= 100
        assert len(scan_digest(damaged_bytes)) in (0, 16)
        if image.width * image.height < 1 << 20:
            with suppress(ValueError):
                assert stored_luma(image, damaged_bytes).ndim == 2


def test_an_exif_block_of_nothing_but_large_tags_costs_no_memory() -> None:
    """5,000 tags, each as long as the block: 300 MB to whoever keeps them all."""
    entries = b"".join(tag.to_bytes(2, "little") + b"\x07\0\xe0\xff\0\0\x08\0\0\0" for tag in range(0x100, 0x1488))
    image = Image.new("RGB", (8, 8))
    image.info["exif"] = b"Exif\0\0II*\0\x08\0\0\0" + (5000).to_bytes(2, "little") + entries
    tracemalloc.start()
    read_metadata(image, b"")
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 1 << 20


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8", b"\xff\xd8\xff\xda", b"\xff\xd8\xff\xe0\0\0", b"GIF89a", b"\xff" * 5000]
)
def test_scan_digest_of_odd_bytes(data: bytes) -> None:
    assert len(scan_digest(data)) in (0, 16)


def test_metadata_do_not_change_the_scan_digest_but_pixels_do() -> None:
    plain = saved(scene(1, 96, 64))
    tagged = saved(scene(1, 96, 64), exif=full_exif().tobytes(), comment="a comment") + b"what a phone adds"
    assert scan_digest(plain) == scan_digest(tagged) != b""
    assert scan_digest(saved(scene(1, 96, 64), icc_profile=SRGB)) == scan_digest(plain)
    assert scan_digest(saved(scene(1, 96, 64), icc_profile=display_p3())) != scan_digest(plain)
    assert scan_digest(saved(scene(2, 96, 64))) != scan_digest(plain)
    assert scan_digest(saved(scene(1, 96, 64), quality=91)) != scan_digest(plain)


@pytest.mark.parametrize("quality", [5, 30, 50, 75, 92, 100])
def test_quality_is_that_of_the_encoder(quality: int) -> None:
    data = encoded(PICTURE, quality=quality)
    assert abs(jpeg_quality(jpeg_steps(data)) - quality) <= 1


def test_files_that_are_no_jpeg_have_no_quality() -> None:
    data = encoded(PICTURE, "PNG")
    assert jpeg_quality(jpeg_steps(data)) == 0


@pytest.mark.parametrize(
    ("kind", "options", "lossless"),
    [
        ("PNG", {}, True), ("BMP", {}, True), ("TIFF", {"compression": "tiff_lzw"}, True), ("TIFF", {}, True),
        ("WEBP", {"lossless": True}, True), ("WEBP", {"lossless": True, "exif": b"Exif\0\0II*\0"}, True),
        ("WEBP", {"quality": 90}, False), ("TIFF", {"compression": "jpeg"}, False), ("JPEG", {"quality": 100}, False),
        ("GIF", {}, False), ("AVIF", {}, False),
    ],
)  # fmt: skip
def test_lossless_containers_are_told(kind: str, options: dict[str, object], lossless: bool) -> None:
    data = encoded(PICTURE, kind, **options)
    assert is_lossless(Image.open(io.BytesIO(data)), data) == lossless


@pytest.mark.parametrize("quality", [40, 75, 90])
def test_lossless_pixels_that_were_a_jpeg_carry_its_grid(quality: int) -> None:
    pixels = np.asarray(Image.open(io.BytesIO(saved(scene(3), quality=quality))).convert("L"))
    assert has_jpeg_grid(pixels)
    assert not has_jpeg_grid(pixels[3:, 5:])  # its blocks lie elsewhere


@pytest.mark.parametrize("seed", range(8))
def test_pixels_that_were_no_jpeg_carry_no_grid(seed: int) -> None:
    assert not has_jpeg_grid(np.asarray(scene(seed).convert("L")))
    assert not has_jpeg_grid(np.asarray(scene(seed).resize((300, 200)).convert("L")))


@pytest.mark.parametrize("shape", [(0, 0), (1, 1), (7, 900), (8, 8), (500, 3)])
def test_small_pictures_carry_no_grid(shape: tuple[int, int]) -> None:
    assert not has_jpeg_grid(np.zeros(shape, np.uint8))


def test_colour_is_seen_even_where_there_is_little() -> None:
    grey = np.repeat(photo_like(1, 32, 32)[..., :1], 3, axis=2)
    stamped = grey.copy()
    stamped[4:6, 4:8] = (200, 30, 30)
    assert not has_colour(grey)
    assert has_colour(stamped)
    assert has_colour(photo_like(1, 32, 32))


def test_luma_of_a_jpeg_is_what_is_coded() -> None:
    data = saved(scene(4), quality=97)
    image = Image.open(io.BytesIO(data))
    seen = np.asarray(Image.open(io.BytesIO(data)).convert("L")).astype(int)
    assert np.abs(stored_luma(image, data).astype(int) - seen).mean() < 1


@pytest.mark.parametrize("data", [encoded(PICTURE, "PNG")[:-400], encoded(PICTURE, "TIFF")[:-900]])
def test_what_cannot_be_decoded_raises_value_error(data: bytes) -> None:
    image = Image.open(io.BytesIO(data))
    with pytest.raises(ValueError, match="cannot be decoded"):
        stored_luma(image, data)
