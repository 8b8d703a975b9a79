"""Situations from reports of people whose photos were taken for copies, or whose copies were not: what a scan says."""

import os
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.bench.drawn import KINDS, drawn
from tests.compare import altered
from tests.compare.altered import photo
from tests.conftest import encoded
from tests.index.files import PNG_SIGNATURE, luma, png_chunk
from tests.index.test_odd_files import tiff
from tests.system import field_files as make
from tests.system.field_files import Files
from tests.system.in_process import scan

pytestmark = pytest.mark.timeout(180)  # the first test makes the files of all cases and scans them

Document = dict[str, Any]

# ---- different pictures: no two of a case are copies

APART: dict[str, Callable[[], Files]] = {
    "invoices": lambda: make.invoices(1240, ("239.00", "212.27", "1 307.09")),
    "invoices that differ in one digit": lambda: make.invoices(1240, ("418.00", "418.50", "448.00")),
    **{kind: lambda kind=kind: make.documents(kind, 0) for kind in KINDS},  # type: ignore[misc]
    "memes": lambda: make.memes(101),
    "tickets": lambda: make.tickets((150, 20, 60)),
    "arrows": lambda: make.arrows(64, (20, 60, 160)),
    "small arrows": lambda: make.arrows(32, (200, 40, 40)),
    "flags that are turns of each other": lambda: {
        name: encoded(np.ascontiguousarray(np.rot90(altered.stripes(600, colours), turns)), "PNG")
        for name, colours, turns in (
            ("white-red.png", ("white", "crimson"), 0),
            ("red-white.png", ("white", "crimson"), 2),
            ("upright.png", ("red", "white", "blue"), 1),
            ("level.png", ("red", "white", "blue"), 0),
        )
    },
    "product colours": lambda: make.shirts(("red", "blue", "green", "black")),
    "signals": lambda: make.signals(("red", "green"), "srv"),
    "horizons": lambda: make.horizons(1),
    "portraits": lambda: make.portraits((90, 120, 165)),
    "objects on white": lambda: make.objects_on_white(600, ("white", "red", "black", "orange", "grey")),
    "animations with one first frame": lambda: {
        "a.gif": make.gif([(first := make.titled(photo(111, 320, 240), "clips")), *make.shots(112, 4)]),
        "b.gif": make.gif([first, *make.shots(116, 4)]),
        "still.png": encoded(first, "PNG"),
    },
    "WebP animations with one first frame": lambda: {
        f"{number}.webp": make.several([photo(120, 320, 240), *make.shots(seed, 3)], "WEBP")
        for number, seed in enumerate((121, 125))
    },
    "letters with one cover": lambda: make.pages(1, (620, 877)),
    "a poster and an animation that begins with it": lambda: {
        "poster.jpg": encoded(photo(130, 960, 720)),
        "anim.gif": make.gif(
            [np.asarray(Image.fromarray(photo(130, 960, 720)).resize((480, 360))), *make.shots(131, 2, 480, 360)]
        ),
    },
}  # fmt: skip

# The same in other sizes, colours and layouts, for tests/long.
APART_TOO: dict[str, Callable[[], Files]] = {
    **{f"{kind} of another layout": lambda kind=kind: make.documents(kind, 1) for kind in KINDS},  # type: ignore[misc]
    "small invoices": lambda: make.invoices(827, ("77.10", "52.24", "77.70")),
    "memes of another template": lambda: make.memes(102),
    "tickets of another band": lambda: make.tickets((20, 60, 120)),
    "more product colours": lambda: make.shirts(("navy", "grey", "orange", "white")),
    "signals of other colours": lambda: make.signals(("orange", "blue"), "box"),
    "horizons of another sea": lambda: make.horizons(2),
    "portraits before another wall": lambda: make.portraits((200, 190, 175)),
    "small objects on white": lambda: make.objects_on_white(280, ("orange", "navy", "green", "red", "blue")),
    "large letters with one cover": lambda: make.pages(2, (1240, 1754)),
}

# ---- one picture: all files of a case are one group, of which this file is kept (None: any)

_TIFF16 = (luma(photo(150, 120, 90)) * 257).astype("<u2")
ONE_GROUP: dict[str, tuple[Callable[[], Files], str | None]] = {
    "white on transparency": (lambda: make.white_logo("FERN"), "a.png"),
    "white on transparency, another": (lambda: make.white_logo("Kettle"), "a.png"),
    "no end": (lambda: make.beside_a_sound_one(160, "x.jpg", "no end"), "good.jpg"),
    "no end, zeros": (lambda: make.beside_a_sound_one(161, "x.jpg", "zeros at the end"), None),
    "no end, progressive": (lambda: make.beside_a_sound_one(162, "x.jpg", "progressive without end"), "good.jpg"),
    "a panorama's trailer": (lambda: make.beside_a_sound_one(163, "x.jpg", "Samsung", (1200, 300)), None),
    "a film as trailer": (lambda: make.beside_a_sound_one(164, "x.jpg", "film"), None),
    "a marker nobody knows": (lambda: make.beside_a_sound_one(165, "x.jpg", "unknown marker"), None),
    "stray bytes": (lambda: make.beside_a_sound_one(166, "x.jpg", "stray bytes"), "good.jpg"),
    "bytes before the end": (lambda: make.beside_a_sound_one(167, "x.jpg", "bytes before the end"), "good.jpg"),
    "lost scans": (lambda: make.lost_scans(168, 1280), "intact.jpg"),
    "lost scans, smaller": (lambda: make.lost_scans(169, 900), "intact.jpg"),
    "unusual suffixes": (
        lambda: {
            name: encoded(photo(170, 480, 360))
            for name in ("r.jpg", "a.pjpeg", "a.jif", "a.jfi", "a.pjp", "a.jpg_large", "a.jpg.1")
        },
        None,
    ),
    "16 bits, zero is white": (
        lambda: {
            "ref.png": encoded(np.rint(luma(photo(150, 120, 90))).astype(np.uint8)[..., None].repeat(3, axis=2), "PNG"),
            "white.tif": tiff((65535 - _TIFF16).astype("<u2").tobytes(), {262: (3, [0])}),
        },
        None,
    ),
    "an animation that begins black": (
        lambda: {
            "a.gif": make.several(make.fade_in(180), "GIF"),
            "a.webp": make.several(make.fade_in(180), "WEBP", lossless=True),
        },
        None,
    ),
    "a conversion of a camera's JPEG": (
        lambda: {"i.jpg": (data := _from_camera(181)), "i.png": make.resized(data, 576, 576)},
        "i.jpg",
    ),
    "a smaller conversion of a camera's JPEG": (
        lambda: {"i.jpg": (data := _from_camera(182)), "i.bmp": make.resized(data, 500, 500, "BMP")},
        "i.jpg",
    ),
}


def _from_camera(seed: int) -> bytes:
    return encoded(photo(seed, 576, 576), exif=_exif())


def _exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0132] = "Fern", "Fern One", "2024:05:01 10:00:00"
    exif.get_ifd(0x8769)[0x9003] = "2024:05:01 10:00:00"
    return exif


# ---- one picture, and only a close look tells which file is nearest to the original

CLOSELY: dict[str, tuple[Callable[[], Files], str]] = {
    "an enlargement": (
        lambda: {"z.jpg": (data := encoded(photo(183, 576, 576))), "a.jpg": make.resized(data, 1152, 1152, "JPEG")},
        "z.jpg",
    ),
    "an enlargement of a camera's JPEG": (
        lambda: {"z.jpg": (data := _from_camera(184)), "a.png": make.resized(data, 1440, 1440)},
        "z.jpg",
    ),
    "a PNG without its metadata, packed better": (
        lambda: {
            "z.png": encoded(photo(186, 320, 240), "PNG", exif=_exif()),
            "a.png": encoded(photo(186, 320, 240), "PNG", optimize=True),
        },
        "z.png",
    ),
    "an HEIC without its metadata": (
        lambda: {
            "z.heic": encoded(photo(187, 320, 240), "HEIF", exif=_exif().tobytes()),
            "a.heic": encoded(photo(187, 320, 240), "HEIF"),
        },
        "z.heic",
    ),
    "inks": (lambda: {"z.jpg": (data := encoded(photo(185, 640, 480))), "a.jpg": make.in_inks(data)}, "z.jpg"),
    "a screen": (
        lambda: {
            "z.png": make.saved(drawn("chat", 1, 9)),
            "a.jpg": make.saved(drawn("chat", 1, 9), "JPEG", quality=80),
        },
        "z.png",
    ),
    "a drawn chart": (
        lambda: {"z.png": make.saved(drawn("chart", 1, 9)), "a.jpg": make.saved(drawn("chart", 1, 9), "JPEG")},
        "z.png",
    ),
}


# ---- the others


def _odd_pngs() -> Files:
    sound = encoded(photo(190, 300, 200), "PNG")
    text = bytearray(png_chunk(b"tEXt", b"Comment\0hello"))
    text[-1] ^= 1
    return {
        "ref.png": sound, "text-crc.png": sound[:33] + text + sound[33:], "iend-missing.png": sound[:-12],
        "iend-crc.png": sound[:-1] + b"x",
        "cgbi.png": PNG_SIGNATURE + png_chunk(b"CgBI", b"\x50\0\x20\2") + sound[8:],
    }  # fmt: skip


def _unread_tiffs() -> Files:
    samples = b"\0" * (120 * 90 * 8)
    return {
        "half.tif": tiff(samples, {258: (3, [16] * 3), 277: (3, [3]), 339: (3, [3] * 3), 262: (3, [2])}),
        "double.tif": tiff(samples, {258: (3, [64]), 339: (3, [3])}),
        "alpha16.tif": tiff(samples, {258: (3, [16] * 2), 277: (3, [2])}),
        "j2k.tif": tiff(samples, {258: (3, [8]), 259: (3, [34712])}),
        "webp.tif": tiff(samples, {258: (3, [8]), 259: (3, [50001])}),
    }


def _not_claimed() -> Files:
    picture = photo(191, 120, 90)
    body = picture.tobytes()
    return {
        "ref.png": encoded(picture, "PNG"),
        "a.pam": b"P7\nWIDTH 120\nHEIGHT 90\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n" + body,
        "a.pfm": b"PF\n120 90\n-1.0\n" + picture.astype("<f4").tobytes(),
        "a.xbm": make.saved(Image.fromarray(picture).convert("1"), "XBM"),
    }


def _twelve_bits() -> Files:
    data = bytearray(encoded(photo(192, 320, 240)))
    sound, at = bytes(data), data.index(b"\xff\xc0")
    data[at + 1], data[at + 4] = 0xC1, 12
    return {"good.jpg": sound, "12bit.jpg": bytes(data)}


def _grey() -> Files:
    colour = photo(193, 800, 600)
    return {
        "colour.jpg": encoded(colour),
        "bw.jpg": make.saved(Image.fromarray(colour).convert("L"), "JPEG", quality=99),
    }


OTHERS: dict[str, Callable[[], Files]] = {
    "odd PNGs": _odd_pngs,
    "unread TIFFs": _unread_tiffs,
    "suffixes not claimed": _not_claimed,
    "12 bits": _twelve_bits,
    "colour and grey": _grey,
    "thumbnails inside": lambda: make.thumbnails_inside(195),
    "an almost empty page": lambda: make.page_with_one_line("This page is left without text."),
    "another almost empty page": lambda: make.page_with_one_line("Notes"),
}


class Cases:
    """What one scan says of the files of all cases, each in a folder of its own."""

    def __init__(self, folder: Path, makers: dict[str, Callable[[], Files]], *options: str) -> None:
        self._root, self._state = folder / "cases", folder / "state"
        for case, files in makers.items():
            (self._root / case).mkdir(parents=True)
            for name, data in files().items():
                (self._root / case / name).write_bytes(data)
        self.all = scan(*options, self._root, state=self._state)

    @cached_property
    def with_versions(self) -> Document:
        """What a scan says that also joins parts and other colours."""
        return scan("--also", "cropped,recoloured", self._root, state=self._state)

    def groups(self, case: str, document: Document | None = None) -> list[list[dict[str, Any]]]:
        """The files of each group in which a file of the case is, the kept one first."""
        groups = [cluster["files"] for cluster in (document or self.all)["clusters"]]
        return [files for files in groups if any(self._case_of(file) == case for file in files)]

    def failed(self, case: str) -> dict[str, str]:
        """What is said of files that are not read, by their names."""
        return {_name(file): file["error"] for file in self.all["failed"] if self._case_of(file) == case}

    def files(self, case: str) -> set[str]:
        """The names of all files of the case."""
        return set(os.listdir(self._root / case))

    def _case_of(self, file: dict[str, Any]) -> str:
        return str(file["path"]).split("/")[-2]


def _name(file: dict[str, Any]) -> str:
    return str(file["path"]).split("/")[-1]


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Cases:
    made = APART | {case: files for case, (files, _) in ONE_GROUP.items()} | OTHERS
    return Cases(tmp_path_factory.mktemp("field"), made)


@pytest.mark.parametrize("case", APART)
def test_different_pictures_are_apart(cases: Cases, case: str) -> None:
    assert [[_name(file) for file in files] for files in cases.groups(case)] == []
    assert cases.failed(case) == {}


@pytest.mark.parametrize("case", ONE_GROUP)
def test_copies_are_one_group_and_the_right_one_is_kept(cases: Cases, case: str) -> None:
    assert cases.failed(case) == {}
    [files] = cases.groups(case)
    assert {_name(file) for file in files} == cases.files(case)
    assert ONE_GROUP[case][1] in (None, _name(files[0]))
    assert [file["keep"] for file in files] == [True] + [False] * (len(files) - 1)


@pytest.fixture(scope="module")
def looked_at_closely(tmp_path_factory: pytest.TempPathFactory) -> Cases:
    made = {case: files for case, (files, _) in CLOSELY.items()}
    return Cases(tmp_path_factory.mktemp("closely"), made, "--confirm")


@pytest.mark.parametrize("case", CLOSELY)
def test_a_close_look_keeps_the_file_that_is_nearest_to_the_original(looked_at_closely: Cases, case: str) -> None:
    [[kept, other]] = looked_at_closely.groups(case)
    assert (_name(kept), kept["keep"], other["may_go"]) == (CLOSELY[case][1], True, True)


@pytest.mark.parametrize("case", ["stray bytes", "bytes before the end", "lost scans", "lost scans, smaller"])
def test_what_is_readable_with_damage_is_called_so_and_never_kept(cases: Cases, case: str) -> None:
    [[sound, damaged]] = cases.groups(case)
    assert (sound["damaged"], damaged["damaged"], damaged["reason"]) == (False, True, "damaged")


def test_pngs_with_all_their_pixels_are_read_and_apples_own_is_called_so(cases: Cases) -> None:
    [files] = cases.groups("odd PNGs")
    assert {_name(file) for file in files} == cases.files("odd PNGs") - {"cgbi.png"}
    assert cases.failed("odd PNGs") == {"cgbi.png": "CgBI PNG (Apple's own kind) is not supported"}


def test_tiffs_that_nothing_reads_are_not_called_damaged(cases: Cases) -> None:
    failed = cases.failed("unread TIFFs")
    assert failed.keys() == cases.files("unread TIFFs")
    assert all(error.startswith("TIFF with ") and error.endswith(" is not supported") for error in failed.values())


def test_a_suffix_that_is_not_read_is_not_claimed(cases: Cases) -> None:
    assert cases.failed("suffixes not claimed") == {}
    assert cases.groups("suffixes not claimed") == []


def test_a_jpeg_of_12_bits_is_called_so(cases: Cases) -> None:
    assert cases.failed("12 bits") == {"12bit.jpg": "12-bit JPEG is not supported"}


def test_of_a_colour_photo_and_its_grey_copy_the_one_in_colour_is_kept(cases: Cases) -> None:
    assert cases.groups("colour and grey") == []
    [files] = cases.groups("colour and grey", cases.with_versions)
    assert [_name(file) for file in files] == ["colour.jpg", "bw.jpg"]
    assert files[1]["reason"] == "without colour"


def test_a_thumbnail_inside_a_jpeg_is_never_taken_for_it(cases: Cases) -> None:
    [files] = cases.groups("thumbnails inside")
    assert {_name(file) for file in files} == {"own-thumb.jpg", "other-thumb.jpg", "small.jpg"}
    sizes = {_name(file): file["width"] for file in files}
    assert sizes == {"own-thumb.jpg": 1280, "other-thumb.jpg": 1280, "small.jpg": 320}


@pytest.mark.parametrize("case", ["an almost empty page", "another almost empty page"])
def test_copies_of_an_almost_empty_page_are_found(cases: Cases, case: str) -> None:
    joined = cases.groups(case) + cases.groups(case, cases.with_versions)
    assert {_name(file) for files in joined for file in files} == cases.files(case)
