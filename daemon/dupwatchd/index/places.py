"""What metadata say of where a photo was taken goes in, EXIF or XMP; the place comes out, as a short text."""

import re
import struct

_PLACE = re.compile(r"-?\d{1,2}\.\d{5}, -?\d{1,3}\.\d{5}")
_FRACTION_BYTES = 8
_DECIMAL = re.compile(r"([-+]?\d{1,3}\.\d{1,12}) ?([NSEW]?)")
_XMP_DEGREES = re.compile(r"(\d{1,3}),(\d{1,2}(?:\.\d{1,12})?)(?:,(\d{1,2}(?:\.\d{1,12})?))?([NSEW])")


def place(order: str, latitude: object, north: object, longitude: object, east: object) -> str:
    """Latitude and longitude in degrees, with five decimals each (a metre): "48.13715, 11.57540"; "" if not known.

    ``order`` of the bytes: "<" or ">". The others: fractions of degrees, minutes and seconds, and the letters of the
    hemispheres, as EXIF holds them. Zero north, zero east is what devices write that do not know where they are.
    """
    return _told(_degrees(order, latitude, north, b"NS", 90), _degrees(order, longitude, east, b"EW", 180))


def place_in_words(latitude: str, longitude: str, north: str = "", east: str = "") -> str:
    """Likewise of what XMP says: "48,8.229N" (degrees and minutes) or "48,8,13.74N" (and seconds).

    Some programs write degrees only, "48.13715", with a sign, or with the hemisphere apart: ``north``, ``east``.
    """
    return _told(_degrees_in_words(latitude, "NS", 90, north), _degrees_in_words(longitude, "EW", 180, east))


def is_zero(value: object) -> bool:
    """Is a number of EXIF's absent, or are all its fractions zero? So devices write that do not know where they are."""
    if not isinstance(value, bytes):
        return True
    return not any(any(value[at : at + _FRACTION_BYTES // 2]) for at in range(0, len(value), _FRACTION_BYTES))


def _told(north: float | None, east: float | None) -> str:
    if north is None or east is None or (north, east) == (0.0, 0.0):
        return ""
    return f"{north:.5f}, {east:.5f}"


def is_place(text: object) -> bool:
    """Is it what `place` gives?"""
    return isinstance(text, str) and (not text or _PLACE.fullmatch(text) is not None)


def _degrees(order: str, value: object, side: object, sides: bytes, most: int) -> float | None:
    if not isinstance(value, bytes) or not isinstance(side, bytes) or len(value) < _FRACTION_BYTES or not side:
        return None
    numbers = struct.iter_unpack(f"{order}II", value[: len(value) // _FRACTION_BYTES * _FRACTION_BYTES][:24])
    degrees = 0.0
    for part, (above, below) in enumerate(numbers):
        if below == 0 and (above or not part):
            return None
        degrees += above / max(1, below) / 60**part
    letter = side[:1].upper()
    if letter not in (sides[:1], sides[1:]) or degrees > most:
        return None
    return -degrees if letter == sides[1:] else degrees


def _degrees_in_words(text: str, sides: str, most: int, side: str) -> float | None:
    if decimal := _DECIMAL.fullmatch(text.strip()):
        degrees, letter = float(decimal[1]), decimal[2] or side.strip().upper()[:1]
        if (letter and letter not in sides) or abs(degrees) > most:
            return None
        return -degrees if letter == sides[1] and degrees > 0 else degrees
    found = _XMP_DEGREES.fullmatch(text.strip())
    if found is None or found[4] not in sides:
        return None
    degrees = int(found[1]) + float(found[2]) / 60 + float(found[3] or 0) / 3600
    if degrees > most:
        return None
    return -degrees if found[4] == sides[1] else degrees
