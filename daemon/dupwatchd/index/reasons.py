"""Why a file gives no thumbnail, in one line for the person whose file it is.

Errors of decoders, first bytes and wait statuses go in; the errors and reasons that are recorded come out.
"""

import importlib.util
import os
import re
import signal

EXIT_OUT_OF_MEMORY = 71  # exit status of a worker; Python itself does not use it
MAX_REASON_CHARS = 200


class DecodeError(Exception):
    """These bytes give no thumbnail; the message is the reason, without the path."""


class NotAPicture(DecodeError):  # noqa: N818 - it says what was found; most folders hold other files, too
    """These bytes are no image."""


# What the first bytes of a file mean. Used only for files that no decoder recognised.
_PICTURES: tuple[tuple[bytes, str], ...] = (
    (rb"\xff\xd8\xff", "JPEG"),
    (rb"\x89PNG\r\n\x1a\n", "PNG"),
    (rb"GIF8[79]a", "GIF"),
    (rb"RIFF....WEBP", "WEBP"),
    (rb"II[*+]\0|MM\0[*+]", "TIFF"),
    (rb"....ftypavi[fs]", "AVIF"),
    (rb"....ftyp(?:hei|hev|mif1|msf1)", "HEIF"),
    (rb"....ftypcrx ", "raw photo"),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "JPEG XL"),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "JPEG2000"),
    (rb"8BPS", "PSD"),
    (rb"qoif", "QOI"),
    (rb"DDS ", "DDS"),
    (rb"BPG\xfb", "BPG"),
    (rb"II\xbc[\0\1]", "JPEG XR"),
    (rb"v/1\x01", "OpenEXR"),
    (rb"#\?RADIANCE|#\?RGBE", "Radiance HDR"),
    (rb"gimp xcf ", "GIMP drawing"),
)
_OTHERS: tuple[tuple[bytes, str], ...] = (
    (rb"\s*(?i:<!doctype html|<html)", "HTML text"),
    (rb"....ftyp(?:qt  )", "QuickTime video"),
    (rb"....ftyp", "MP4 video"),
    (rb"....(?:moov|mdat|wide)", "QuickTime video"),
    (rb"\x1a\x45\xdf\xa3", "Matroska video"),
    (rb"RIFF....AVI ", "AVI video"),
    (rb"%PDF", "PDF"),
    (rb"%!PS", "PostScript"),
    (rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)?(?:<!DOCTYPE svg[^>]*>\s*)?<svg\b", "SVG drawing"),
    (rb"\0\x05\x16[\0\x07]", "what macOS notes of a file"),
    (rb"PK\x03\x04", "ZIP archive"),
    (rb"\0+\Z", "nothing but zeros"),
    (rb"[\t\n\r\x20-\x7e]+\Z", "text"),
)


def why_not_opened(data: bytes, error: Exception | None = None) -> DecodeError:
    """What to say of bytes whose header no decoder would read; ``error`` if one has tried."""
    head = data[:512]
    if name := _first_match(_PICTURES, head):
        if name == "JPEG XL" and importlib.util.find_spec("pillow_jxl") is None:
            return DecodeError("JPEG XL needs the extra dupwatch[jxl]")
        return why_not_decoded(error, name) if error else DecodeError(f"damaged or unsupported {name}")
    if name := _first_match(_OTHERS, head):
        return NotAPicture(f"not an image ({name})")
    return NotAPicture("not an image")


def why_not_decoded(error: Exception, format_name: str) -> DecodeError:
    """What a decoder's own exception means to a person."""
    message = one_line(str(error)) or type(error).__name__
    if re.search(
        r"truncated|premature end of|unexpected end|end of file|eof|not enough|too short", message, re.IGNORECASE
    ):
        return DecodeError(f"truncated {format_name}")
    if message.startswith("cannot identify image file"):  # Pillow adds where the object lies in memory
        return DecodeError(f"damaged or unsupported {format_name}")
    message = message.removesuffix(" when reading image file")
    return DecodeError(one_line(f"damaged {format_name} ({message})"))


def why_died(wait_status: int, decoding: bool, memory_mb: int) -> str:
    """What the end of a worker process says about the file that it was reading or decoding."""
    if os.WIFEXITED(wait_status):
        if os.WEXITSTATUS(wait_status) == EXIT_OUT_OF_MEMORY:
            return f"{'decoding' if decoding else 'reading'} needs more than {memory_mb} MB"
        return f"the {'decoder' if decoding else 'reader'} gave up (status {os.WEXITSTATUS(wait_status)})"
    number = os.WTERMSIG(wait_status)
    verb = "was killed" if number == signal.SIGKILL else "crashed"
    return f"the {'decoder' if decoding else 'reader'} {verb} ({_signal_name(number)})"


def _signal_name(number: int) -> str:
    """A name for any signal: those for real-time use, SIGRTMIN to SIGRTMAX, have none of their own in Python."""
    if signal.SIGRTMIN < number < signal.SIGRTMAX:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def why_too_slow(decoding: bool, seconds: float) -> str:
    """What to say of a file that took too long."""
    return f"{'decoding' if decoding else 'reading'} took longer than {seconds:g} s"


def too_many_pixels(width: int, height: int, max_pixels: int) -> DecodeError:
    """The error for a picture that is too large to be decoded."""
    size = f"{width} × {height} pixels"
    return DecodeError(f"{size} exceed max_pixels = {max_pixels / 1e6:g} million")


def one_line(text: str) -> str:
    """Printable, without line breaks, of bounded length: decoders quote the bytes they stumble over."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= MAX_REASON_CHARS else line[: MAX_REASON_CHARS - 1] + "…"


def _first_match(table: tuple[tuple[bytes, str], ...], head: bytes) -> str | None:
    return next((name for pattern, name in table if re.match(pattern, head, re.DOTALL)), None)
