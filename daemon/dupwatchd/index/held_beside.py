"""What a file holds beside the picture that is decoded: its bytes go in, a few names come out, one a line.

A film, a map of depth or brightness, sound, another picture or layers: whoever lets such a file go for a copy without
them loses them. What differs between two files of one kind is told apart by a digest behind the name. Previews, and
the few bytes that phones and editors note, are nothing. Whatever is broken counts as absent.
"""

import io
import re
from collections.abc import Callable, Iterator
from typing import Any

from blake3 import blake3
from PIL import Image as PillowImage
from PIL.Image import Image

from dupwatchd.index.jpeg_segments import EOI, SOS, Head, first_end_marker, held_behind
from dupwatchd.index.metadata_blocks import PSD_HEAD_BYTES, boxes
from dupwatchd.index.png_chunks import SIGNATURE
from dupwatchd.index.texts import lines

_FILM, _MAP, _DEPTH, _SOUND = "film", "map of brightness", "map of depth", "sound"
_OTHER_PICTURE, _MATTE, _LAYERS, _DATA = "other picture", "matte", "layers", "other data"
_MAX_NAME_CHARS = 40
_MOST_NOTES_BYTES = 16 << 10  # what is shorter is no more than notes
_JPEG_BEGIN = b"\xff\xd8\xff"
_FILM_BEGIN = re.compile(rb"[\x10-\x40]ftyp")  # a short box that says of which kind it is
_VIEWS, _PREVIEW, _LIST = 0xB002, "Large Thumbnail", b"MPF\0"
# Pictures, sound and depth that Android put into XMP, in base 64.
_IN_XMP = re.compile(rb"""\b(GDepth|GImage|GAudio):Data\s*=\s*["'].""")
_OF_XMP = {b"GDepth": _DEPTH, b"GImage": _OTHER_PICTURE, b"GAudio": _SOUND}
_MORE_XMP = b"http://ns.adobe.com/xmp/extension/\0"
# Segments of a JPEG for what is known to be no more than metadata: by marker, how they may begin.
_METADATA = {
    0xE0: (b"",),
    0xE1: (b"Exif\0", b"http://ns.adobe.com/"),
    0xE2: (b"ICC_PROFILE\0", _LIST),
    0xED: (b"",),
    0xEE: (b"",),
}
_MAX_SEGMENTS = 2000
# How the part of HEIF and AVIF that lists what there is calls it.
_LISTED = ((b"hdrgainmap", _MAP), (b"tmap", _MAP), (b"auxid:2", _DEPTH), (b"aux:depth", _DEPTH), (b"matte", _MATTE))
_WITH_FILM = frozenset({b"mpvd", b"sefd"})  # boxes of Google's and of Samsung's own
_LAYERS_TAG = 37724  # of a TIFF of Photoshop's


def held_beside(image: Image | None, head: Head | None, data: bytes) -> str:
    """What a file holds beside its picture, one a line: "film (1a2b3c4d)"; "" if that is nothing.

    ``head``: of a JPEG; ``image``: what Pillow opened, of other formats. Raises what broken files make decoders raise.
    """
    if head is not None:
        found = [*_in_segments(data, head), *_behind_jpeg(data, head)]
    elif image is None:
        found = []
    else:
        look = _OF_FORMAT.get(str(image.format))
        found = [] if look is None else list(look(image, data))
    return lines(found, _MAX_NAME_CHARS)


def is_film_told(behind: bytes, head: Head, data: bytes) -> bool:
    """Whether what stands behind a JPEG is a film, and `held_beside` names all of it, so that nobody can overlook it.

    Not where the file lists other pictures as well: one of them may change how this one is shown.
    """
    is_film = not behind.startswith(_JPEG_BEGIN) and _FILM_BEGIN.search(behind) is not None
    is_alone = data.find(_LIST, 0, head.scan_at) < 0
    return is_film and is_alone and _told(_FILM, behind) in held_beside(None, head, data).split("\n")


def _told(name: str, held: bytes) -> str:
    return f"{name} ({blake3(held).hexdigest(length=4)})"


def _of_bytes(held: bytes) -> Iterator[str]:
    """What bytes are that stand behind a picture."""
    if held.startswith(_JPEG_BEGIN):
        yield _told(_FILM if _FILM_BEGIN.search(held) else _OTHER_PICTURE, held)
    elif len(held) > _MOST_NOTES_BYTES:
        yield _told(_FILM if _FILM_BEGIN.search(held) else _DATA, held)


def _behind_jpeg(data: bytes, head: Head) -> Iterator[str]:
    end = first_end_marker(data, head.scan_at)
    if end < 0:
        film = _FILM_BEGIN.search(data, head.scan_at)
        behind = data[film.start() :] if film else b""
    else:
        behind = held_behind(data, end)
        if behind and (at := data.find(_LIST, 0, head.scan_at)) >= 0:
            behind = _without_previews(data, end, at + len(_LIST))
    yield from _of_bytes(behind)


def _without_previews(data: bytes, end: int, begin: int) -> bytes:
    """What stands behind a JPEG without the smaller versions of it that its list names; ``begin``: of that list."""
    try:
        image: Any = PillowImage.open(io.BytesIO(data), formats=["JPEG"])
        listed = image.mpinfo[_VIEWS]
    except Exception:  # noqa: BLE001 - broken lists make Pillow raise anything
        return held_behind(data, end)
    kept, at = [], end + len(EOI)
    for one in sorted(listed[1:], key=lambda one: one["DataOffset"]):
        first = begin + one["DataOffset"]
        if one["Attribute"]["MPType"].startswith(_PREVIEW) and at <= first <= len(data):
            kept.append(data[at:first])
            at = first + one["Size"]
    return b"".join([*kept, data[at:]]).lstrip(b"\0")


def _in_segments(data: bytes, head: Head) -> Iterator[str]:
    """What segments in front of the picture hold: sound and heat of cameras, depth in XMP."""
    others: list[bytes] = []
    in_xmp: dict[str, bytes] = {}
    at = 2
    for _ in range(_MAX_SEGMENTS):
        if at + 4 > head.scan_at or data[at] != 0xFF or data[at + 1] == SOS:
            break
        marker, end = data[at + 1], at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xE1 and data.startswith(_MORE_XMP, at + 4) and (found := _IN_XMP.search(data, at, end)):
            in_xmp[_OF_XMP[found[1]]] = data[at:end]
        elif 0xE0 <= marker <= 0xEF and not data.startswith(_METADATA.get(marker, ()), at + 4):
            others.append(data[at:end])
        at = end if marker != 0xFF else at + 1
    if sum(map(len, others)) > _MOST_NOTES_BYTES:
        yield _told(_DATA, b"".join(others))
    yield from (_told(name, held) for name, held in in_xmp.items())


def _of_heif(_: Image, data: bytes) -> Iterator[str]:
    for kind, held in boxes(data):
        if kind == b"meta":
            listed = held.tobytes()
            yield from (name for word, name in _LISTED if word in listed)
        elif kind in _WITH_FILM and len(held) > _MOST_NOTES_BYTES:
            yield _told(_FILM, held.tobytes())


def _of_png(_: Image, data: bytes) -> Iterator[str]:
    at = len(SIGNATURE)
    while at + 8 <= len(data):
        kind, at = data[at + 4 : at + 8], at + 12 + int.from_bytes(data[at : at + 4], "big")
        if kind == b"IEND":
            break
    yield from _of_bytes(data[at:])


def _of_webp(_: Image, data: bytes) -> Iterator[str]:
    yield from _of_bytes(data[8 + int.from_bytes(data[4:8], "little") :])


def _of_psd(_: Image, data: bytes) -> Iterator[str]:
    at = PSD_HEAD_BYTES
    for _section in ("colours", "resources"):
        at += 4 + int.from_bytes(data[at : at + 4], "big")
    if int.from_bytes(data[at + 4 : at + 8], "big") > 0 < int.from_bytes(data[at : at + 4], "big"):
        yield _LAYERS


def _of_tiff(image: Image, _: bytes) -> Iterator[str]:
    if _LAYERS_TAG in getattr(image, "tag_v2", {}):
        yield _LAYERS


_OF_FORMAT: dict[str, Callable[[Image, bytes], Iterator[str]]] = {
    "HEIF": _of_heif,
    "AVIF": _of_heif,
    "PNG": _of_png,
    "WEBP": _of_webp,
    "PSD": _of_psd,
    "TIFF": _of_tiff,
}
