"""Makes a library of a labelled set for `acting`: what owners have beside photos and their copies is added to it.

In: a labelled set. Out: a copy of it, with families (RAW photos with their JPEG, Live Photos, sidecars; whole and
partial copies of them in another folder), bursts, and drawn documents with copies, all of them labelled.
"""

import io
import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from PIL import Image
from tests.bench.drawn import KINDS, LAYOUTS, drawn
from tests.bench.truth import Label, LabelledSet
from tests.index.files import dng

_FAMILIES = 60
_BURSTS = 10
_SHOTS = 3  # of a burst
_DOCUMENTS = 5  # of each kind and layout
_MOST_PIXELS = 2_000_000  # of a photo that gets a RAW file
_SHAKE_PX = 6  # how far the camera moves between two shots


@dataclass(slots=True)
class Library:
    """A folder with all that is known of its files."""

    folder: str
    labels: dict[str, Label] = field(default_factory=dict)  # of pictures, by path
    families: list[list[str]] = field(default_factory=list)  # paths of files that go together or not at all

    def add(self, place: str, data: bytes, group: str, role: str, kind: str) -> str:
        """Write a picture and label it."""
        path = self.write(place, data)
        self.labels[path] = Label(path, group, role, kind, "")
        return path

    def write(self, place: str, data: bytes) -> str:
        """Write a file that has no label."""
        path = os.path.join(self.folder, place)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "xb") as file:
            file.write(data)
        return path


def is_generated(labelled: LabelledSet) -> bool:
    """Was it made by altering photos? Else it was found in the wild."""
    return any(label.kind == "exact" for label in labelled.labels.values())


def made_library(labelled: LabelledSet, folder: str) -> Library:
    """A copy of a set, with families and bursts made of its originals, and documents."""
    library = Library(folder)
    for label in labelled.labels.values():
        path = os.path.join(folder, os.path.relpath(label.path, labelled.folder))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        shutil.copy2(label.path, path)
        library.labels[path] = Label(path, label.group, label.role, label.kind, label.near_group)
    if not is_generated(labelled):
        return library  # it is what it is
    rng = random.Random(labelled.name)
    sources = [label for label in library.labels.values() if label.role == "original" and _is_plain_jpeg(label.path)]
    rng.shuffle(sources)
    _add_bursts(library, sources[:_BURSTS], rng)
    for number, source in enumerate(sources[_BURSTS : _BURSTS + _FAMILIES]):
        _FAMILY_MAKERS[number % len(_FAMILY_MAKERS)](library, _Source.of(library, source, number, rng))
    _add_documents(library)
    _vary_modes(library, rng)
    return library


def _is_plain_jpeg(path: str) -> bool:
    if not path.endswith(".jpg"):
        return False
    with Image.open(path) as picture:
        upright = picture.getexif().get(0x0112, 1) == 1
        return upright and picture.mode == "RGB" and 300 * 300 <= picture.width * picture.height <= _MOST_PIXELS


def _vary_modes(library: Library, rng: random.Random) -> None:
    for path in library.labels:
        os.chmod(path, rng.choice((0o644, 0o640, 0o600, 0o444)))


# ---- families


@dataclass(frozen=True, slots=True)
class _Source:
    """A photo of the set that becomes one of a family."""

    group: str
    stem: str
    jpeg: bytes
    size: tuple[int, int]
    times: tuple[int, int]  # of access and change, of the original, ns
    rng: random.Random

    @classmethod
    def of(cls, library: Library, label: Label, number: int, rng: random.Random) -> "_Source":
        """Take an original away from where it is."""
        with open(label.path, "rb") as file:
            data = file.read()
        with Image.open(io.BytesIO(data)) as picture:
            size = picture.size
        status = os.stat(label.path)
        os.unlink(label.path)
        del library.labels[label.path]
        return cls(label.group, f"IMG_{number:04d}", data, size, (status.st_atime_ns, status.st_mtime_ns), rng)

    def raw(self) -> bytes:
        """A RAW photo that shows it."""
        return dng(self.jpeg, self.size, self.size, 1)

    def again(self) -> bytes:
        """Another encoding of it."""
        encoded = io.BytesIO()
        with Image.open(io.BytesIO(self.jpeg)) as picture:
            picture.save(encoded, "JPEG", quality=88)
        return encoded.getvalue()

    def movie(self) -> bytes:
        """What passes for a movie: nobody looks into it."""
        return b"\0\0\0\x14ftypqt  " + self.rng.randbytes(20_000)

    def sidecar(self) -> bytes:
        """What passes for settings of a program."""
        return f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><!-- {self.rng.random()} --></x:xmpmeta>'.encode()


def _put(library: Library, source: _Source, folder: str, files: dict[str, bytes]) -> None:
    """Write the files of one family, by suffix; the ones in `camera` are as old as the original was."""
    paths = []
    for suffix, data in files.items():
        place = os.path.join("families", folder, source.stem + suffix)
        if suffix in (".JPG", ".DNG"):
            is_original = folder == "camera" and suffix == ".JPG"
            kind = "raw" if suffix == ".DNG" else "q90" if data != source.jpeg else "exact"
            role = "original" if is_original else "duplicate"
            paths.append(library.add(place, data, source.group, role, "original" if is_original else kind))
        else:
            paths.append(library.write(place, data))
        if folder == "camera":
            os.utime(paths[-1], ns=source.times)
    library.families.append(paths)


def _raw_pair(library: Library, source: _Source) -> None:
    files = {".DNG": source.raw(), ".JPG": source.jpeg, ".xmp": source.sidecar()}
    _put(library, source, "camera", files)
    _put(library, source, "backup", files)


def _raw_pair_and_its_jpeg(library: Library, source: _Source) -> None:
    _put(library, source, "camera", {".DNG": source.raw(), ".JPG": source.jpeg})
    _put(library, source, "exports", {".JPG": source.jpeg})


def _raw_pair_and_its_raw(library: Library, source: _Source) -> None:
    raw = source.raw()
    _put(library, source, "camera", {".DNG": raw, ".JPG": source.jpeg, ".JPG.xmp": source.sidecar()})
    _put(library, source, "backup", {".DNG": raw})


def _raw_pair_with_another_jpeg(library: Library, source: _Source) -> None:
    raw = source.raw()
    _put(library, source, "camera", {".DNG": raw, ".JPG": source.jpeg})
    _put(library, source, "backup", {".DNG": raw, ".JPG": source.again()})


def _live(library: Library, source: _Source) -> None:
    files = {".JPG": source.jpeg, ".MOV": source.movie(), ".AAE": source.sidecar()}
    _put(library, source, "camera", files)
    _put(library, source, "backup", files)


def _live_and_its_still(library: Library, source: _Source) -> None:
    _put(library, source, "camera", {".JPG": source.jpeg, ".MOV": source.movie()})
    _put(library, source, "exports", {".JPG": source.jpeg})


def _live_with_another_movie(library: Library, source: _Source) -> None:
    _put(library, source, "camera", {".JPG": source.jpeg, ".MOV": source.movie()})
    _put(library, source, "backup", {".JPG": source.jpeg, ".MOV": source.movie()})


def _still_and_its_live(library: Library, source: _Source) -> None:
    _put(library, source, "camera", {".JPG": source.jpeg})
    _put(library, source, "backup", {".JPG": source.jpeg, ".MOV": source.movie(), ".AAE": source.sidecar()})


def _with_sidecar(library: Library, source: _Source) -> None:
    files = {".JPG": source.jpeg, ".JPG.xmp": source.sidecar()}
    _put(library, source, "camera", files)
    _put(library, source, "backup", files)


def _with_another_sidecar(library: Library, source: _Source) -> None:
    _put(library, source, "camera", {".JPG": source.jpeg, ".xmp": source.sidecar()})
    _put(library, source, "backup", {".JPG": source.jpeg, ".xmp": source.sidecar()})


_FAMILY_MAKERS: list[Callable[[Library, _Source], None]] = [
    _raw_pair, _raw_pair_and_its_jpeg, _raw_pair_and_its_raw, _raw_pair_with_another_jpeg, _live, _live_and_its_still,
    _live_with_another_movie, _still_and_its_live, _with_sidecar, _with_another_sidecar,
]  # fmt: skip


# ---- bursts and documents


def _add_bursts(library: Library, sources: list[Label], rng: random.Random) -> None:
    """Shots of one scene, seconds apart, each with a copy in another folder; the photo that they are made of goes."""
    for number, source in enumerate(sources):
        with open(source.path, "rb") as file:
            data = file.read()
        for path in [path for path, label in library.labels.items() if label.group == source.group]:
            os.unlink(path)
            del library.labels[path]
        for shot, jpeg in enumerate(_shots(data, number, rng)):
            name, group = f"DSC_{number:02d}{shot}.jpg", f"burst {number} shot {shot}"
            library.add(os.path.join("bursts", name), jpeg, group, "original", "original")
            library.add(os.path.join("bursts", "backup", name), jpeg, group, "duplicate", "exact")


def _shots(data: bytes, number: int, rng: random.Random) -> Iterator[bytes]:
    with Image.open(io.BytesIO(data)) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(np.int16)
    for shot in range(_SHOTS):
        left, top = rng.randrange(2 * _SHAKE_PX), rng.randrange(2 * _SHAKE_PX)
        cut = pixels[top : top - 2 * _SHAKE_PX, left : left - 2 * _SHAKE_PX]
        noisy = cut + np.random.default_rng(10 * number + shot).integers(-3, 4, cut.shape)
        exif = Image.Exif()
        exif[0x010F], exif[0x0110] = "Lumen", "L1"
        exif.get_ifd(0x8769)[0x9003] = f"2019:07:14 10:{number:02d}:{10 + shot:02d}"
        encoded = io.BytesIO()
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(encoded, "JPEG", quality=92, exif=exif)
        yield encoded.getvalue()


def _add_documents(library: Library) -> None:
    """Pages that look alike, one out of three with a copy of equal bytes and one that is a JPEG."""
    for kind in KINDS:
        for number in range(_DOCUMENTS * LAYOUTS):
            page, group = drawn(kind, number % LAYOUTS, number), f"{kind} {number}"
            png = _encoded(page, "PNG", compress_level=1)
            library.add(f"documents/{kind}/{number:04d}.png", png, group, "original", "original")
            if number % 3 == 0:
                library.add(f"documents/{kind}/sent/{number:04d}.png", png, group, "duplicate", "exact")
                jpeg = _encoded(page, "JPEG", quality=85)
                library.add(f"documents/{kind}/sent/{number:04d}.jpg", jpeg, group, "duplicate", "q90")


def _encoded(page: Image.Image, form: str, **options: int) -> bytes:
    encoded = io.BytesIO()
    page.save(encoded, form, **options)
    return encoded.getvalue()
