"""What a file holds beside the picture that is decoded: its bytes go in, a few names come out, one a line.

A film, a map of depth or brightness, sound, another picture or layers: whoever lets such a file go for a copy without
them loses them. What differs between two files of one kind is told apart by a digest behind the name: of what is held,
or where that cannot be found, of the whole file. Previews, and the few bytes that phones and editors note, are nothing.
A file that cannot be looked through for certain holds "other data".
"""

import io
import re
import struct
from collections.abc import Callable, Iterator
from typing import Any

from blake3 import blake3
from PIL import Image as PillowImage
from PIL.Image import Image

from dupwatchd.index.heif_items import held_by_items
from dupwatchd.index.jpeg_segments import EOI, SOS, Head, first_end_marker, held_behind
from dupwatchd.index.metadata_blocks import METADATA_UUIDS, PSD_HEAD_BYTES, boxes, gif_blocks
from dupwatchd.index.picture_ends import end_of_bmp, end_of_gif, end_of_jpeg2000, end_of_tiff, private_of_tiff
from dupwatchd.index.png_chunks import SIGNATURE
from dupwatchd.index.texts import lines

_FILM, _MAP, _DEPTH, _SOUND = "film", "map of brightness", "map of depth", "sound"
_OTHER_PICTURE, _MATTE, _LAYERS, _DATA = "other picture", "matte", "layers", "other data"
_DIGEST_BYTES = 8  # by which a file goes: nobody finds two of one digest by trying a few billion
_MAX_NAME_CHARS = 40
_MOST_NOTES_BYTES = 16 << 10  # what is shorter is no more than notes
_JPEG_BEGIN = b"\xff\xd8\xff"
_FILM_BEGIN = re.compile(rb"[\x10-\x40]ftyp")  # a short box that says of which kind it is
# With as much of a JPEG's first segment that no codes look like it.
_BEGIN = re.compile(_FILM_BEGIN.pattern + rb"|\xff\xd8\xff(?:\xe0..JFIF|\xe1..Exif|\xdb\0[\x43\x84])", re.DOTALL)
_VIEWS, _PREVIEW, _LIST = 0xB002, "Large Thumbnail", b"MPF\0"
# Pictures, sound and depth that Android put into XMP, in base 64.
_IN_XMP = re.compile(rb"""\b(GDepth|GImage|GAudio):Data\s*(?:=\s*["']|>)([^"'<]+)""")
_OF_XMP = {b"GDepth": _DEPTH, b"GImage": _OTHER_PICTURE, b"GAudio": _SOUND}
_XMP, _MORE_XMP = b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"
_MORE_XMP_OF = slice(0, 32)  # behind that: whose it is, how long all of it is, and where in it this part stands
_MORE_XMP_PLACE, _MORE_XMP_HEAD_BYTES = slice(36, 40), 40
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
_LISTED = (
    (b"hdrgainmap", _MAP), (b"tmap", _MAP), (b"auxid:2", _DEPTH), (b"aux:depth", _DEPTH), (b"auxiliary:depth", _DEPTH),
    (b"matte", _MATTE),
)  # fmt: skip
_WITH_FILM = frozenset({b"mpvd", b"sefd"})  # boxes of Google's and of Samsung's own
# Boxes of a picture and its metadata, by format.
_OF_ALL = frozenset({b"ftyp", b"free", b"skip", b"wide", b"uuid", b"xml ", b"jumb"})
_KNOWN = {
    "HEIF": _OF_ALL | _WITH_FILM | {b"meta", b"mdat", b"moov"},
    "AVIF": _OF_ALL | _WITH_FILM | {b"meta", b"mdat", b"moov"},
    "JPEG2000": _OF_ALL | {b"jP  ", b"jP2 ", b"rreq", b"jp2h", b"jp2c", b"jp2i", b"uinf", b"res ", b"asoc", b"lbl "},
    "JXL": _OF_ALL | {b"JXL ", b"jxll", b"jxli", b"jxlc", b"jxlp", b"jbrd", b"Exif", b"brob", b"jhgm"},
}
_ONLY_FIRST = frozenset({b"jp2c"})  # boxes of which one is the picture, and more of them are other pictures
_BARE_JPEG2000 = b"\xff\x4f"  # codes that stand in no box
_UUID_BYTES = 16
_LAYERS_TAG = 37724  # of a TIFF of Photoshop's
# Chunks of a PNG and of a WebP, extensions of a GIF and private tags of a TIFF for its picture and metadata.
_PNG_CHUNKS = frozenset(
    b"tRNS iCCP tEXt zTXt iTXt eXIf acTL fcTL fdAT caBX gAMA cHRM sRGB sBIT bKGD hIST pHYs sPLT tIME cICP mDCv cLLi "
    b"oFFs pCAL sCAL sTER vpAg iDOT".split()
)
_WEBP_CHUNKS = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP", b"EXIF", b"XMP "})
_GIF_LABELS = frozenset({0x2C, 0xFE, 0xF9, 0x01})  # pictures, comments, how a picture is shown, texts
_GIF_APPLICATIONS = frozenset({b"NETSCAPE2.0", b"ANIMEXTS1.0", b"XMP DataXMP", b"ICCRGBG1012"})
_TIFF_TAGS = frozenset({
    33432, 33723, 34377, 34665, 34675, 34853, _LAYERS_TAG, 50341, 59932,  # rights, IPTC, Photoshop, EXIF, ICC, ...
    33550, 33922, 34264, 34735, 34736, 34737, 42112, 42113,  # where on earth it lies
    33434, 33437, 34850, 34852, *range(34855, 34870), *range(36864, 37521), *range(40091, 40096), *range(40960, 42241),
    *range(50706, 52553),  # of DNG; the row above is of EXIF and of Windows
})  # fmt: skip


def held_beside(image: Image | None, head: Head | None, data: bytes) -> str:
    """What a file holds beside its picture, one a line: "film (1a2b3c4d5e6f7081)"; "" if that is nothing.

    ``head``: of a JPEG; ``image``: what Pillow opened, of other formats. Raises MemoryError.
    """
    found: list[str] = []
    try:
        for line in _looked_through(image, head, data):
            found.append(line)  # noqa: PERF402 - what was found before it breaks is kept
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - broken files raise anything, and nobody knows what else they hold
        found.append(_told(_DATA, data))
    return lines(found, _MAX_NAME_CHARS)


def _looked_through(image: Image | None, head: Head | None, data: bytes) -> Iterator[str]:
    if head is not None:
        yield from _in_segments(data, head)
        yield from _behind_jpeg(data, head)
    elif image is not None and (look := _OF_FORMAT.get(str(image.format))):
        yield from look(image, data)


def is_film_told(behind: bytes, head: Head, data: bytes) -> bool:
    """Whether what stands behind a JPEG is a film, and `held_beside` names all of it, so that nobody can overlook it.

    Not where the file lists other pictures as well: one of them may change how this one is shown.
    """
    is_film = not behind.startswith(_JPEG_BEGIN) and _FILM_BEGIN.search(behind) is not None
    is_alone = data.find(_LIST, 0, head.scan_at) < 0
    return is_film and is_alone and _told(_FILM, behind) in held_beside(None, head, data).split("\n")


def _told(name: str, held: bytes) -> str:
    return f"{name} ({blake3(held).hexdigest(length=_DIGEST_BYTES)})"


def _of_bytes(held: bytes) -> Iterator[str]:
    """What bytes are that stand behind a picture; zeros in front of them fill up."""
    held = held.lstrip(b"\0")
    if held.startswith(_JPEG_BEGIN):
        yield _told(_FILM if _FILM_BEGIN.search(held) else _OTHER_PICTURE, held)
    elif len(held) > _MOST_NOTES_BYTES:
        yield _told(_FILM if _FILM_BEGIN.search(held) else _DATA, held)


def _of_unknown(held: bytes) -> Iterator[str]:
    """What the parts within a file are that are neither of a picture nor of known metadata."""
    if len(held) > _MOST_NOTES_BYTES:
        yield _told(_DATA, held)


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
        behind = first + one["Size"]
        is_preview = one["Attribute"]["MPType"].startswith(_PREVIEW) and data.startswith(_JPEG_BEGIN, first)
        if is_preview and at <= first and not _FILM_BEGIN.search(data, first, behind):
            kept.append(data[at:first])
            at = behind
    return b"".join([*kept, data[at:]]).lstrip(b"\0")


def _in_segments(data: bytes, head: Head) -> Iterator[str]:
    """What segments in front of the picture hold: sound and heat of cameras, depth in XMP."""
    others: list[bytes] = []
    xmp: list[bytes] = []
    more_xmp: list[bytes] = []
    at, left = 2, _MAX_SEGMENTS
    while at + 4 <= head.scan_at and data[at : at + 2] != bytes((0xFF, SOS)):
        marker, end = data[at + 1], at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        left -= 1
        if not left:
            raise ValueError("too many segments")
        if data[at] != 0xFF or marker == 0xFF:  # stray, or what fills up
            at += 1
            continue
        if marker == 0xE1 and data.startswith(_XMP, at + 4):
            xmp.append(data[at:end])
        elif marker == 0xE1 and data.startswith(_MORE_XMP, at + 4):
            more_xmp.append(data[at + 4 + len(_MORE_XMP) : end])
        elif 0xE0 <= marker <= 0xEF and not data.startswith(_METADATA.get(marker, ()), at + 4):
            others.append(data[at:end])
        at = end
    yield from _of_unknown(b"".join(others))
    for one in (*xmp, _joined(more_xmp)):
        yield from (_told(_OF_XMP[found[1]], found[2]) for found in _IN_XMP.finditer(one))


def _joined(more_xmp: list[bytes]) -> bytes:
    """What did not fit into one segment of XMP, in its order: a value may go on in the next one."""
    more_xmp.sort(key=lambda one: (one[_MORE_XMP_OF], one[_MORE_XMP_PLACE]))
    return b"".join(one[_MORE_XMP_HEAD_BYTES:] for one in more_xmp)


def _of_heif(image: Image, data: bytes) -> Iterator[str]:
    for kind, held in boxes(data):
        if kind == b"meta":
            listed = held.tobytes()
            names = dict.fromkeys(name for word, name in _LISTED if word in listed)
            items = _items(data) if names else b""
            yield from (_told(name, items) for name in names)
        elif kind in _WITH_FILM and len(held) > _MOST_NOTES_BYTES:
            yield _told(_FILM, held.tobytes().lstrip(b"\0"))
        elif kind == b"moov" and image.format == "HEIF":  # whose samples lie anywhere; of AVIF they are decoded
            yield _told(_FILM, data)
    yield from _of_bytes(_other_boxes(data, _KNOWN["HEIF"]))


def _items(data: bytes) -> bytes:
    try:
        return held_by_items(data)
    except (ValueError, LookupError, StopIteration, struct.error):
        return data  # then only the same file holds the same


def _other_boxes(data: bytes, known: frozenset[bytes]) -> bytes:
    """The boxes that belong to no picture, and all from where a second file begins."""
    others: list[bytes] = []
    seen: set[bytes] = set()
    is_begun = is_other_file = False
    for kind, held in boxes(data):
        is_other_file |= is_begun and kind == b"ftyp"
        is_begun |= kind == b"ftyp"
        is_known = kind in known - (_ONLY_FIRST & seen) and (
            kind != b"uuid" or held[:_UUID_BYTES].tobytes() in METADATA_UUIDS
        )
        seen.add(kind)
        if is_other_file or not is_known:
            begin = struct.pack(">I4s", (8 + len(held)) & 0xFFFFFFFF, kind) if kind else b""
            others.append(begin + held.tobytes())
    return b"".join(others)


def _of_jpeg2000(_: Image, data: bytes) -> Iterator[str]:
    if data.startswith(_BARE_JPEG2000):
        yield from _of_bytes(data[end_of_jpeg2000(data) :])
        return
    codes = next((held for kind, held in boxes(data) if kind == b"jp2c"), memoryview(b""))
    yield from _of_bytes(codes[end_of_jpeg2000(codes) :].tobytes())
    yield from _of_bytes(_other_boxes(data, _KNOWN["JPEG2000"]))


def _of_jxl(_: Image, data: bytes) -> Iterator[str]:
    if data.startswith(b"\xff"):  # codes that stand in no box, and say nowhere where they end
        begun = _BEGIN.search(data)
        yield from _of_bytes(data[begun.start() :] if begun else b"")
        return
    yield from (_told(_MAP, held.tobytes()) for kind, held in boxes(data) if kind == b"jhgm")
    yield from _of_bytes(_other_boxes(data, _KNOWN["JXL"]))


def _of_gif(_: Image, data: bytes) -> Iterator[str]:
    blocks = [one for one in gif_blocks(data) if one[0] not in _GIF_LABELS and one[1] not in _GIF_APPLICATIONS]
    yield from _of_unknown(b"".join(name + data[begin:end] for _, name, begin, end in blocks))
    yield from _of_bytes(data[end_of_gif(data) :])


def _of_bmp(_: Image, data: bytes) -> Iterator[str]:
    yield from _of_bytes(data[end_of_bmp(data) :])


def _of_png(_: Image, data: bytes) -> Iterator[str]:
    others, at = bytearray(), len(SIGNATURE)
    while at + 8 <= len(data):
        kind, end = data[at + 4 : at + 8], at + 12 + int.from_bytes(data[at : at + 4], "big")
        if kind[:1].islower() and kind not in _PNG_CHUNKS:
            others += data[at:end]
        at = end
        if kind == b"IEND":
            break
    yield from _of_unknown(bytes(others))
    yield from _of_bytes(data[at:])


def _of_webp(_: Image, data: bytes) -> Iterator[str]:
    others, at, behind = bytearray(), 12, 8 + int.from_bytes(data[4:8], "little")
    while at + 8 <= min(behind, len(data)):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        end = at + 8 + size + size % 2
        if data[at : at + 4] not in _WEBP_CHUNKS:
            others += data[at : min(end, behind)]
        at = end
    yield from _of_unknown(bytes(others))
    yield from _of_bytes(data[behind:])


def _of_psd(_: Image, data: bytes) -> Iterator[str]:
    at = _behind_section(data, _behind_section(data, PSD_HEAD_BYTES))  # colours, and resources
    all_bytes, layers_bytes = (int.from_bytes(data[begin : begin + 4], "big") for begin in (at, at + 4))
    if all_bytes and layers_bytes:
        yield _told(_LAYERS, data[at : at + 4 + all_bytes])


def _behind_section(data: bytes, at: int) -> int:
    return at + 4 + int.from_bytes(data[at : at + 4], "big")


def _of_tiff(image: Image, data: bytes) -> Iterator[str]:
    tags = getattr(image, "tag_v2", {})
    if _LAYERS_TAG in tags:
        layers = tags[_LAYERS_TAG]
        yield _told(_LAYERS, layers if isinstance(layers, bytes) else data)
    yield from _of_unknown(private_of_tiff(data, _TIFF_TAGS))
    yield from _of_bytes(data[end_of_tiff(data) :])


_OF_FORMAT: dict[str, Callable[[Image, bytes], Iterator[str]]] = {
    "HEIF": _of_heif,
    "AVIF": _of_heif,
    "PNG": _of_png,
    "WEBP": _of_webp,
    "PSD": _of_psd,
    "TIFF": _of_tiff,
    "JPEG2000": _of_jpeg2000,
    "JXL": _of_jxl,
    "GIF": _of_gif,
    "BMP": _of_bmp,
}
