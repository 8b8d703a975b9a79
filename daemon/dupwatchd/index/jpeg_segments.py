"""How a JPEG file is built: its bytes go in, the segments that matter and the places of its markers come out.

Nothing is decoded here. Cameras write files that break the rules: bytes between segments, a thumbnail's own headers in
front of the picture's because the length of the EXIF segment is wrong, no end marker. What belongs to the picture is
found in spite of that.
"""

from dataclasses import dataclass

import numpy as np

SOI, EOI, SOS = b"\xff\xd8", b"\xff\xd9", 0xDA
_SOI, _EOI = 0xD8, 0xD9
_RESTARTS = range(0xD0, 0xD8)
_DHT, _DAC, _DQT, _DNL, _DRI, _DHP = 0xC4, 0xCC, 0xDB, 0xDC, 0xDD, 0xDE
_JPEG_EXTENSION = 0xC8
_FIRST_KNOWN = 0xC0  # the standard reserves the numbers below
_HIERARCHICAL = frozenset({0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF, _DHP})
_LOSSLESS = frozenset({0xC3, 0xCB})
_ARITHMETIC = frozenset({0xC9, 0xCA})
_JPEG_LS = 0xF7
# A header of a hierarchy is built like that of a frame, and stands in front of them all.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {_DHT, _DAC, _JPEG_EXTENSION} | {_JPEG_LS, _DHP}
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_SEQUENTIAL = frozenset({0xC0, 0xC1, 0xC9})
_COMPONENTS = frozenset({1, 3, 4})  # grey, colours, inks
_BETWEEN_SCANS = frozenset({_DHT, _DAC, _DQT, _DNL, _DRI, SOS})
# Frame headers, tables, and the markers of JFIF, EXIF and Adobe: these tell the orientation and the colour space.
_NEEDED = _FRAMES | {_DHT, _DAC, _DQT, _DRI, 0xE0, 0xE1, 0xEE}
# A thumbnail inside EXIF has 160 by 120 pixels by the standard, and seldom more than this.
_MAX_THUMBNAIL_PX = 640
_RESOURCES = 0xED  # where Photoshop, and others since, put IPTC
_COMMENT, _MAX_COMMENTS = 0xFE, 20
_HEIGHT = b"\xff\xdc\0\4"  # begins the segment that tells the height where the frame header does not

_MOST_NOTES_BYTES = 16 << 10
_PIECE_BYTES = 1 << 18  # that are looked through at once

_Scan = tuple[int, ...]  # component ids, first and last coefficient, bits known before and after


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame header: what kind of JPEG this is, and how large."""

    marker: int
    bits: int  # per sample
    width: int  # px
    height: int
    components: list[tuple[int, int, int]]  # id, and samples in a unit: (horizontal, vertical); ids may be doubled

    @property
    def progressive(self) -> bool:
        """Whether its coefficients come in several scans, coarse ones first."""
        return self.marker in _PROGRESSIVE

    @property
    def arithmetic(self) -> bool:
        """Whether its coefficients are coded arithmetically: decoders take what is missing for zeros, in silence."""
        return self.marker in _ARITHMETIC

    @property
    def unsupported(self) -> str | None:
        """What kind of JPEG this is, if no decoder here reads that kind."""
        if self.marker in _HIERARCHICAL:
            return "hierarchical JPEG"
        if self.marker in _LOSSLESS:
            return "lossless JPEG"
        if self.marker == _JPEG_LS:
            return "JPEG-LS"
        if self.bits != 8:
            return f"{self.bits}-bit JPEG"
        return None if len(self.components) in _COMPONENTS else f"JPEG with {len(self.components)} components"


@dataclass(frozen=True, slots=True)
class Head:
    """Everything in front of the first scan."""

    frame: Frame
    segments: list[bytes]  # those that decoding needs, in order
    scan_at: int  # where in the file the marker of the first scan is
    restart_interval: int  # units between two restart markers; 0: there are none
    holds_other_picture: bool  # the headers of a thumbnail lie in front of the picture's own
    resources: list[bytes]  # segments with resources of Photoshop, which decoding does without
    comments: list[bytes]  # likewise, the first ones


@dataclass(frozen=True, slots=True)
class Scans:
    """The compressed picture."""

    end: int  # where in the file it ends, at a marker or at the end of the file
    has_end_marker: bool
    restarts: list[int]  # numbers 0 … 7 of the restart markers, in order
    headers: list[_Scan]


def read_head(data: bytes) -> Head | None:
    """The head of the picture in a JPEG file; None if there is none."""
    found = None
    segments: list[bytes] = []
    resources: list[bytes] = []
    comments: list[bytes] = []
    frame = None
    interval = 0
    at = 2
    while data[at : at + 2] == SOI:  # some files say twice that they begin
        at += 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 4 <= len(data):
        marker = data[at + 1]
        if marker == _SOI:  # of a thumbnail: the length of the segment that holds it is wrong
            at = _end_of_inner_picture(data, at + 2)
            found, frame, segments, resources, comments, interval = None, None, [], [], [], 0
            continue
        if marker < _FIRST_KNOWN or marker in (0xFF, _EOI) or marker in _RESTARTS:  # stray, or without a length
            at += 1
            continue
        if marker == SOS:
            if frame is None:
                return found
            found = Head(frame, segments, at, interval, found is not None, resources, comments)
            behind = _headers_behind_thumbnail(data, found)
            if behind is None:
                return found
            at, frame, segments, resources, comments, interval = behind, None, [], [], [], 0
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in _FRAMES and (frame is None or frame.marker != _DHP):
            frame = _frame(marker, data[at + 4 : end]) or frame
        elif marker == _DRI:
            interval = int.from_bytes(data[at + 4 : at + 6], "big")
        if marker in _NEEDED:
            segments.append(data[at:end])
        elif marker == _RESOURCES:
            resources.append(data[at:end])
        elif marker == _COMMENT and len(comments) < _MAX_COMMENTS:
            comments.append(data[at:end])
        at = end
    return found


def with_height(data: bytes, head: Head) -> bytes | None:
    """A file whose height stands behind its first scan, as scanners write them, with the height where it belongs.

    None if it is nowhere.
    """
    behind = data.find(_HEIGHT, head.scan_at)  # no coded data look like this
    height = data[behind + 4 : behind + 6]
    headers = [segment for segment in head.segments if segment[1] == head.frame.marker and segment[5:7] == b"\0\0"]
    if behind < 0 or len(height) < 2 or height == b"\0\0" or not headers:
        return None
    at = data.rindex(headers[-1], 0, head.scan_at) + 5
    return data[:at] + height + data[at + 2 :]


def bare_jpeg(data: bytes, head: Head, end: int | None = None) -> bytes:
    """The same picture without comments, profiles and stray bytes; up to ``end``, if that is given."""
    first = data[head.scan_at : head.scan_at + 2 + _length(data, head.scan_at)]
    if head.frame.marker in _SEQUENTIAL and len(first) > 7 and first[-3:] == b"\0\0\0":
        first = first[:-3] + b"\0\x3f\0"  # some cameras say that a scan has one coefficient of 64, and write them all
    rest = data[head.scan_at + len(first) : end]
    return b"".join([SOI, *head.segments, first, rest])


def first_end_marker(data: bytes, start: int) -> int:
    """Where the first end marker at or behind ``start`` is, or -1; `bytes.find` takes six times as long."""
    for piece in range(start, len(data), _PIECE_BYTES):
        values = np.frombuffer(data, np.uint8, min(_PIECE_BYTES + 1, len(data) - piece), piece)
        is_end = values[:-1] == 0xFF
        is_end &= values[1:] == _EOI
        if is_end.any():
            return piece + int(is_end.argmax())
    return -1


def held_behind(data: bytes, end: int) -> bytes:
    """What a file holds behind its JPEG, whose end marker is at ``end``: a film, a gain map, a depth map, another view.

    Nothing if it is no more than what phones and editors note there.
    """
    behind = data[end:].removeprefix(b"\xff\xd9").lstrip(b"\0")
    return behind if len(behind) > _MOST_NOTES_BYTES or behind.startswith(b"\xff\xd8\xff") else b""


def read_scans(data: bytes, head: Head) -> Scans:
    """Where the compressed picture ends, and what its markers say."""
    values = np.frombuffer(data, np.uint8, offset=head.scan_at)
    places = np.flatnonzero(values[:-1] == 0xFF)
    markers = values[places + 1]
    real = (markers != 0x00) & (markers != 0xFF)
    restarts: list[int] = []
    headers: list[_Scan] = []
    behind = head.scan_at
    for place, marker in zip((places[real] + head.scan_at).tolist(), markers[real].tolist(), strict=True):
        if place < behind:  # inside a segment
            continue
        if marker in _RESTARTS:
            restarts.append(marker - _RESTARTS.start)
        elif marker in _BETWEEN_SCANS:
            behind = place + 2 + _length(data, place)
            if marker == SOS:
                headers.append(_scan(data[place + 4 : behind]))
        else:
            return Scans(place, marker == _EOI, restarts, headers)
    return Scans(len(data), False, restarts, headers)


def lacks_scans(frame: Frame, scans: list[_Scan]) -> bool:
    """Whether some bits of some coefficients of a progressive JPEG are in none of its scans."""
    missing = {(component, number) for component, _, _ in frame.components for number in range(64)}
    for *components, first, last, bits in scans:
        if bits & 0x0F == 0:  # nothing is left for later scans
            missing.difference_update((one, number) for one in components for number in range(first, last + 1))
    return bool(missing)


def has_all_restarts(head: Head, restarts: list[int]) -> bool:
    """Whether the restart markers of a JPEG with a single scan are those it should have."""
    frame = head.frame
    wide = 8 * max(horizontal for _, horizontal, _ in frame.components)
    high = 8 * max(vertical for _, _, vertical in frame.components)
    if len(frame.components) == 1:  # sampling factors mean nothing then
        wide = high = 8
    units = -(-frame.width // wide) * -(-frame.height // high)
    count = -(-units // head.restart_interval) - 1 if head.restart_interval else 0
    return restarts == [number % 8 for number in range(count)]


def _frame(marker: int, body: bytes) -> Frame | None:
    if len(body) < 6 or len(body) < 6 + 3 * body[5] or not body[5]:
        return None
    components = [
        (body[at], max(1, body[at + 1] >> 4), max(1, body[at + 1] & 15)) for at in range(6, 6 + 3 * body[5], 3)
    ]
    width, height = int.from_bytes(body[3:5], "big"), int.from_bytes(body[1:3], "big")
    return Frame(marker, body[0], width, height, components)


def _scan(body: bytes) -> _Scan:
    if len(body) < 4 or len(body) < 4 + 2 * body[0]:
        return (0, 0, 0xFF)  # says nothing about any component
    return (*body[1 : 1 + 2 * body[0] : 2], *body[1 + 2 * body[0] : 4 + 2 * body[0]])


def _length(data: bytes, at: int) -> int:
    return int.from_bytes(data[at + 2 : at + 4], "big")


def _end_of_inner_picture(data: bytes, at: int) -> int:
    """Where a picture inside the file ends, of which the headers begin at ``at``."""
    while (at := data.find(b"\xff", at)) >= 0 and at + 4 <= len(data):
        marker = data[at + 1]
        if marker == _EOI:
            return at + 2
        if marker == SOS:
            end = data.find(EOI, at)
            return len(data) if end < 0 else end + 2
        without_length = marker < _FIRST_KNOWN or marker in (0xFF, _SOI) or marker in _RESTARTS
        at += 1 if without_length else 2 + _length(data, at)
    return len(data)


def _headers_behind_thumbnail(data: bytes, head: Head) -> int | None:
    """Where the picture's own headers begin, if this is the head of a thumbnail that EXIF holds."""
    if max(head.frame.width, head.frame.height) > _MAX_THUMBNAIL_PX:
        return None
    end = first_end_marker(data, head.scan_at)
    # A picture ends a file, or another one with its own beginning follows. Only inside EXIF headers may follow.
    if end < 0 or data[end + 2 : end + 3] != b"\xff" or data[end + 3 : end + 4] not in _HEADERS:
        return None
    return end + 2


_HEADERS = frozenset(bytes([marker]) for marker in _NEEDED)
