"""What people have written about a picture, and who is in it: blocks of metadata go in, short lines come out.

Captions are titles, headlines, descriptions and comments; which of them a text was written as does not count, for
programs differ in that. They are taken from EXIF (``ImageDescription``, ``UserComment``, and what Windows writes), from
IPTC, XMP and the texts of a PNG. What cameras and programs write into these places of their own is none. People are the
names of face regions and those that XMP tells apart from keywords. Whatever is broken counts as absent; nothing raises.
"""

import re
from collections.abc import Iterable, Iterator

from dupwatchd.index import iptc as iptc_records
from dupwatchd.index import xmp as xmp_packet
from dupwatchd.index.texts import LOOKED_AT_CHARS, decoded, lines, plain, short_digest

MAX_CAPTION_CHARS = 200  # of one that is told; a longer one ends in a digest
MAX_NAME_CHARS = 64
_DIGEST_CHARS = len("… (01234567)")
_TITLE, _HEADLINE, _CAPTION = 5, 105, 120  # data sets of IPTC
_XMP_CAPTIONS = (b"dc:title", b"dc:description", b"photoshop:Headline", b"exif:UserComment", b"tiff:ImageDescription")
_XMP_PEOPLE = (
    b"Iptc4xmpExt:PersonInImage",
    b"Iptc4xmpExt:PersonName",
    b"mwg-rs:Name",
    b"MPReg:PersonDisplayName",
)
_XMP_TREES = (b"digiKam:TagsList", b"lr:hierarchicalSubject")  # of keywords, "People/Anna" or "People|Anna"

_COMMENT_CODING_BYTES = 8
_MAX_COMMENT_BYTES = 1 << 14
_UTF16, _JIS = b"UNICODE\0", b"JIS\0\0\0\0\0"
_PLAIN_CODINGS = (b"ASCII\0\0\0", b"\0" * _COMMENT_CODING_BYTES)

# What cameras, phones and programs write where a person's words belong. Each must be all of the text.
_NOBODYS_WORDS = re.compile(
    r"[ -/:-@\[-`{-~]*"  # signs only; an emoji tells something
    r"|(?:(?:acer|aiptek|benq|casio|fuji(?:film)?|ge|general electric|hp|jenoptik|kodak|konica|maginon|medion|minolta"
    r"|nikon|olympus|panasonic|pentax|polaroid|praktica|ricoh|rollei|samsung|sanyo|sony|toshiba|traveler|vivitar) ?)*"
    r"(?:digitale? ?)(?:still ?)?(?:camera|kamera)"
    r"|sony dsc|minolta dsc|samsung|my beautiful picture|dcf ?1\.0|exif[ _]jpeg[ _]\w+|jpeg|charset=\w+"
    r"|default|untitled|picture|image|photo|screenshot|\(?null\)?|none|undefined|image ?description|user ?comments?"
    r"|<(?:digimax|kenox|samsung)[^<>]*>|binary data.*"
    r"|dcim[/\\].*"  # where the file lay on the card
    r"|(?:_?dsc[fn]?|_?img|_?mg|cimg|dji|gh|gopro?|gp|gx|hpim|imgp|mvimg|p|pict|pxl|sam_|scan|wp)[-_]?\d{3,}+[\w~]*+"
    r"(?:\.\w{3,4})?"  # the name of the file
    r"|(?:processed with vsco|created with (?:the )?gimp|file written by adobe photoshop|creator: gd-jpeg).*"
    r"|[fr]?hdr(?:pl)?|cof|dav|qrf|rpt|ptr|mon|vid|fill|burst|bfbe|tbt|_?cuva|frem|sdr(?:_hdrb)?|frontb\w{0,4}"
    r"|(?:oz)?(?:edf|mde|nor)(?:_soft|w[bo])?|(?:ptf?|r|f)?bt\w{0,5}"  # the ways in which a phone takes pictures
    r"|oplus_\d+|filter: ?\d+;.*|\{.*\"sensor_type\".*|\{\"shape\":.*|imagej=.*",
    re.IGNORECASE | re.DOTALL,
)


def captions(
    described: bytes = b"",
    comment: str = "",
    windows: Iterable[str] = (),
    iptc: bytes = b"",
    xmp: bytes = b"",
    png: Iterable[str] = (),
) -> str:
    """The distinct captions in alphabetical order, one a line, at most `texts.MAX_LINES_CHARS`; "" if there are none.

    ``described``: the value of ImageDescription. ``comment``: see `user_comment`. ``windows`` and ``png``: texts.
    ``iptc``: records, or the resources of Photoshop that hold them.
    """
    found = (
        decoded(described.partition(b"\0")[0]),
        comment,
        *windows,
        *iptc_records.data_sets(iptc, _TITLE, _HEADLINE, _CAPTION),
        *(text for name in _XMP_CAPTIONS for text in xmp_packet.values(xmp, name)),
        *png,
    )
    return lines(map(_caption, found), MAX_CAPTION_CHARS)


def people(xmp: bytes) -> str:
    """The distinct names of people in alphabetical order, one a line, bounded likewise."""
    return lines((plain(name)[:MAX_NAME_CHARS].rstrip() for name in _names(xmp)), MAX_NAME_CHARS)


def user_comment(value: bytes, order: str) -> str:
    """The text of EXIF's UserComment, which begins with the name of its coding.

    ``order`` of the bytes: "<" or ">". Some cameras keep numbers of their own there: that is no text.
    """
    coding, text = value[:_COMMENT_CODING_BYTES], value[_COMMENT_CODING_BYTES:_MAX_COMMENT_BYTES]
    if coding == _UTF16:
        told = _utf16(text, order)
    elif coding == _JIS:
        told = text.decode("iso2022_jp", "ignore")
    else:
        told = decoded(text if coding in _PLAIN_CODINGS else coding + text)
    told = told.strip("\0 ").partition("\0")[0]
    odd = sum(not c.isprintable() and not c.isspace() for c in told) + told.count("\ufffd")
    return "" if 10 * odd > len(told) else told


def _utf16(text: bytes, order: str) -> str:
    """Programs write the order of bytes of the file, or always their own: most letters tell by their zero byte."""
    if text[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return text.decode("utf-16", "replace")
    first, second = text[::2].count(0), text[1::2].count(0)
    is_little = order == "<" if first == second else second > first
    return text.decode("utf-16-le" if is_little else "utf-16-be", "replace")


def _caption(text: str) -> str:
    """As it is told; "" if no person has written it."""
    told = plain(text)
    if _NOBODYS_WORDS.fullmatch(told):
        return ""
    if len(told) <= MAX_CAPTION_CHARS:
        return told
    return f"{told[: MAX_CAPTION_CHARS - _DIGEST_CHARS]}… ({short_digest(told + text.strip()[LOOKED_AT_CHARS:])})"


def _names(xmp: bytes) -> Iterator[str]:
    for name in _XMP_PEOPLE:
        yield from xmp_packet.values(xmp, name)
    for tree in _XMP_TREES:
        for path in xmp_packet.values(xmp, tree):
            above, *below = re.split(r"[/|]", path)
            if below and above.strip().casefold() == "people":
                yield below[-1]
