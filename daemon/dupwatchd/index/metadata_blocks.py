"""The bytes of a file go in, the blocks of metadata in it come out, for formats of which Pillow gives none.

GIF, PSD, and what is made of boxes: JPEG 2000 and JPEG XL. (JPEG: `jpeg_segments`; PNG: `png_metadata`.) Pixels are
skipped without being read. Whatever is broken counts as absent; nothing here raises.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from dupwatchd.index.iptc import IPTC_RESOURCE, resource
from dupwatchd.index.texts import comment

MAX_BLOCK_BYTES = 1 << 20  # of EXIF, XMP and IPTC
MAX_TEXTS, MAX_TEXT_BYTES = 20, 1 << 16
_MAX_BOXES = 1000
_MAX_SUB_BLOCKS = 500_000  # of at most 255 bytes, of a GIF
_GIF_HEAD_BYTES = 13
GIF_PICTURE = 0x2C
_GIF_XMP = b"XMP DataXMP"
_GIF_XMP_TRAILER_BYTES = 257  # they lead a reader that takes XMP for sub-blocks to their end
_EXIF_OF_JP2 = b"JpgTiffExif->JP2"
_XMP_OF_JP2 = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_IPTC_OF_JP2 = bytes.fromhex("33c7a4d2b81d4723a0baf1a3e097ad38")
METADATA_UUIDS = frozenset({_EXIF_OF_JP2, _XMP_OF_JP2, _IPTC_OF_JP2})
PSD_HEAD_BYTES = 26
_PSD_EXIF, _PSD_XMP = 0x0422, 0x0424


class Blocks(NamedTuple):
    """What a file holds; empty where there is nothing."""

    exif: bytes = b""  # a TIFF structure
    xmp: bytes = b""
    iptc: bytes = b""  # records, or the resources of Photoshop that hold them
    texts: tuple[str, ...] = ()  # what stands where people write titles and comments


def read_gif(data: bytes) -> Blocks:
    """The comments, and the first XMP."""
    xmp, texts = b"", list[str]()
    for label, name, begin, end in gif_blocks(data):
        if label == 0xFE and len(texts) < MAX_TEXTS:
            texts.append(comment(_without_lengths(data[begin : min(end, begin + MAX_TEXT_BYTES)])))
        elif label == 0xFF and name == _GIF_XMP:
            xmp = xmp or data[begin : max(begin, min(end - _GIF_XMP_TRAILER_BYTES, begin + MAX_BLOCK_BYTES))]
    return Blocks(xmp=xmp, texts=tuple(texts))


def read_boxes(data: bytes) -> Blocks:
    """The first one of each block in the boxes of a JPEG 2000 or JPEG XL file; those packed by Brotli are not read."""
    exif = xmp = iptc = xml = b""
    for kind, body in boxes(data):
        if kind == b"uuid":
            number, held = body[:16].tobytes(), body[16 : 16 + MAX_BLOCK_BYTES].tobytes()
            if number == _EXIF_OF_JP2:
                exif = exif or held
            elif number == _XMP_OF_JP2:
                xmp = xmp or held
            elif number == _IPTC_OF_JP2:
                iptc = iptc or held
        elif kind == b"Exif":  # behind how far behind these four bytes it begins
            exif = exif or body[4 + int.from_bytes(body[:4], "big") :][:MAX_BLOCK_BYTES].tobytes()
        elif kind == b"xml ":  # XMP in JPEG XL, in JPEG 2000 anything, such as where on earth it lies
            xml = xml or body[:MAX_BLOCK_BYTES].tobytes()
    return Blocks(exif.removeprefix(b"Exif\0\0"), xmp or xml, iptc)


def read_psd(data: bytes) -> Blocks:
    """What is among the resources of Photoshop's own format."""
    at = PSD_HEAD_BYTES
    at += 4 + int.from_bytes(data[at : at + 4], "big")  # the table of colours
    length = int.from_bytes(data[at : at + 4], "big")
    resources = memoryview(data)[at + 4 : at + 4 + length]
    exif, xmp, iptc = (resource(resources, one, MAX_BLOCK_BYTES) for one in (_PSD_EXIF, _PSD_XMP, IPTC_RESOURCE))
    return Blocks(exif, xmp, iptc)


def gif_blocks(data: bytes) -> Iterator[tuple[int, bytes, int, int]]:
    """Of each picture and each extension of a GIF: its label, its name if it is an application's, where the rest lies.

    The label of a picture is `GIF_PICTURE`. The rest ends at the zero behind its last sub-block.
    """
    if len(data) < _GIF_HEAD_BYTES:
        return
    at, left = _GIF_HEAD_BYTES + _colours_bytes(data[10]), _MAX_SUB_BLOCKS
    while at + 2 <= len(data) and left:
        if data[at] == GIF_PICTURE and at + 10 <= len(data):  # its place, its colours, how its codes begin
            begin = at + 10 + _colours_bytes(data[at + 9]) + 1
            at, left = _behind_sub_blocks(data, begin, left)
            yield GIF_PICTURE, b"", begin, at - 1
        elif data[at] == 0x21:
            label, begin, name = data[at + 1], at + 2, b""
            if label == 0xFF and at + 2 < len(data):
                begin = at + 3 + data[at + 2]
                name = data[at + 3 : begin]
            at, left = _behind_sub_blocks(data, begin, left)
            yield label, name, begin, at - 1
        else:  # the end, or what is none
            return


def _colours_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _behind_sub_blocks(data: bytes, at: int, left: int) -> tuple[int, int]:
    """Where sub-blocks end that begin at ``at``, and how many more may be looked at."""
    while left and at < len(data):
        length = data[at]
        at, left = at + 1 + length, left - 1
        if not length:
            break
    return at, left


def _without_lengths(sub_blocks: bytes) -> bytes:
    found, at = [], 0
    while at < len(sub_blocks):
        found.append(sub_blocks[at + 1 : at + 1 + sub_blocks[at]])
        at += 1 + sub_blocks[at]
    return b"".join(found)


def boxes(data: bytes | memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """The boxes at the top of a file or of another box: the kind of each, and what it holds.

    What stands behind the first 1,000, or is no box, comes last: of the kind b"", with all its bytes.
    """
    view, at = memoryview(data), 0
    for _ in range(_MAX_BOXES):
        if at + 8 > len(data):
            return
        length, kind = struct.unpack_from(">I4s", data, at)
        begin = at + 8
        if length == 1 and at + 16 <= len(data):  # the real length follows
            length, begin = int.from_bytes(data[at + 8 : at + 16], "big"), at + 16
        end = at + length if length else len(data)
        if end < begin:
            break
        yield kind, view[begin:end]
        at = end
    if at < len(data):
        yield b"", view[at:]
