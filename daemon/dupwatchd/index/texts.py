"""Texts that people have written into metadata: bytes of some coding go in, short lines come out.

Whatever is broken counts as absent; nothing here raises.
"""

import unicodedata
from collections.abc import Iterable
from itertools import islice

from blake3 import blake3

MAX_LINES_CHARS = 1000  # of all texts of one kind together; stock photos have up to fifty keywords
LOOKED_AT_CHARS = 4096  # of one text: to normalise a long run of accents takes the square of its length
_MAX_TEXTS = 10_000  # that are looked at


def decoded(value: bytes, *, is_utf8: bool = False) -> str:
    """A text whose coding is not told: many programs write UTF-8 without saying so, others Latin-1.

    A value cut inside a character is still UTF-8.
    """
    if is_utf8:
        return value.decode("utf-8", "ignore")
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        is_cut = error.reason == "unexpected end of data" and error.start > 0
        return value.decode("utf-8", "ignore") if is_cut else value.decode("latin-1")


def decoded_utf16(value: bytes) -> str:
    """A text of Windows, up to the zero at its end."""
    return value.decode("utf-16-le", "replace").partition("\0")[0]


def comment(value: bytes) -> str:
    """What stands where a text may stand, or numbers of a camera's own; "" for these."""
    return readable(decoded(value))


def readable(text: str) -> str:
    """A text up to the first zero; "" if a tenth of it are no characters."""
    told = text.strip("\0 ").partition("\0")[0]
    odd = sum(not c.isprintable() and not c.isspace() for c in told) + told.count("\ufffd")
    return "" if 10 * odd > len(told) else told


def plain(text: str) -> str:
    """One line of printable characters with single blanks between words, of at most LOOKED_AT_CHARS."""
    composed = unicodedata.normalize("NFC", text.strip()[:LOOKED_AT_CHARS])
    printable = "".join(c if c.isprintable() else " " for c in composed)
    return " ".join(printable.split())


def lines(texts: Iterable[str], max_chars: int) -> str:
    """The distinct texts in alphabetical order, one a line; upper and lower case are the same.

    Each is `plain` and has at most ``max_chars``. What is more than MAX_LINES_CHARS in all is replaced by a last line
    that differs if what was left out does.
    """
    distinct = {text.casefold(): text for text in islice(texts, _MAX_TEXTS) if text}
    return "\n".join(_bounded([distinct[name] for name in sorted(distinct)], max_chars))


def _bounded(ordered: list[str], max_chars: int) -> list[str]:
    if len("\n".join(ordered)) <= MAX_LINES_CHARS:
        return ordered
    room, kept = MAX_LINES_CHARS - 2 * max_chars, 0
    while (room := room - len(ordered[kept]) - 1) >= 0:
        kept += 1
    rest = ordered[kept:]
    return [*ordered[:kept], f"and {len(rest):,} more ({short_digest(chr(10).join(rest))})"]


def short_digest(text: str) -> str:
    """What tells texts apart that are cut to one length."""
    return blake3(text.encode()).hexdigest(length=4)
