"""Whether a sidecar says of a photo all that another one says, though their bytes differ.

In: the bytes of both, as strangers wrote them. Out: yes, if it is certain.

- Google Takeout writes how often a photo was looked at, where it is to be had and how it came there into the same JSON
  as its title, description, time, place and people. Each export, and each copy in it, has other ones of the former.
- XMP says when it was written, by which program, and after which steps.

What is known to say nothing of the photo stands in two short lists; everything else counts.
"""

import json
import re
from collections.abc import Iterable
from typing import Any, NoReturn
from xml.parsers import expat

# Of one that is looked into; those of Takeout have some 1,000, XMP with local edits up to 100,000.
TEXT_BYTES_MAX = 1 << 18

_SAYS_NOTHING = frozenset([
    "imageViews", "url", "creationTime", "modificationTime", "photoLastModifiedTime",
])  # fmt: skip
_ORIGIN, _CAME_BY = "googlePhotosOrigin", frozenset(["mobileUpload", "webUpload", "driveSync"])
_PLACES = ("geoData", "geoDataExif")
_ZERO = re.compile(r"-?0(\.0*)?")

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns# "  # names of expat: the space is between both parts of each
_XMP, _MM = "http://ns.adobe.com/xap/1.0/ ", "http://ns.adobe.com/xap/1.0/mm/ "
_DESCRIPTION, _DESCRIPTIONS = f"{_RDF}Description", f"{_RDF}RDF"
_META, _TOOLKIT = "adobe:ns:meta/ xmpmeta", "adobe:ns:meta/ xmptk"
_OF_THE_SIDECAR = frozenset([f"{_XMP}MetadataDate", f"{_MM}InstanceID", f"{_MM}DocumentID", f"{_MM}History"])
_DEPTH_MAX = 100


def says_all_of(kept: bytes, spare: bytes, suffix: bytes) -> bool:
    """Return whether the sidecar that stays says all that the other one says; ``suffix`` is that of both."""
    if max(len(kept), len(spare)) > TEXT_BYTES_MAX:
        return False
    try:
        if suffix == b".json":
            return _holds(_takeout(kept), _takeout(spare))
        return suffix == b".xmp" and _xmp(kept) == _xmp(spare)
    except (ValueError, LookupError, RecursionError, expat.ExpatError):
        return False  # what it says is not known


def _takeout(data: bytes) -> dict[str, Any]:
    """Return what Google says of a photo; numbers as text. Raises ValueError or RecursionError for anything else."""
    told = json.loads(
        data, parse_int=str, parse_float=str, parse_constant=_refuse_constant, object_pairs_hook=_without_doubles
    )
    if not (isinstance(told, dict) and told.get("title") and isinstance(told.get("photoTakenTime"), dict)):
        raise ValueError("not of Google Takeout")
    if not told["photoTakenTime"].get("timestamp"):
        raise ValueError("it does not say when the photo was taken")
    told = {name: value for name, value in told.items() if name not in _SAYS_NOTHING}
    told["photoTakenTime"].pop("formatted", None)  # the same for people, as exports of several years write it
    if isinstance(told.get(_ORIGIN), dict):
        told[_ORIGIN] = {name: value for name, value in told[_ORIGIN].items() if name not in _CAME_BY}
    return told | {name: _place(told[name]) for name in _PLACES if isinstance(told.get(name), dict)}


def _place(told: dict[str, Any]) -> dict[str, Any]:
    """Return a place whose latitude and longitude are one entry, or none if both are zero."""
    numbers = [told.get("latitude"), told.get("longitude")]
    others = {name: value for name, value in told.items() if name not in ("latitude", "longitude")}
    known = {name: value for name, value in others.items() if not _is_zero(value)}
    # As one text: of a list it would not count which of the two stands where.
    return known if all(map(_is_zero, numbers)) else {**known, "latitude": json.dumps(numbers)}


def _is_zero(value: object) -> bool:
    return value is None or (isinstance(value, str) and _ZERO.fullmatch(value) is not None)


def _holds(kept: Any, spare: Any) -> bool:
    """Return whether a value of JSON says all that another one says."""
    if _says_nothing(spare):
        return True
    if isinstance(spare, dict):
        return isinstance(kept, dict) and all(_holds(kept.get(name), value) for name, value in spare.items())
    if isinstance(spare, list):
        return isinstance(kept, list) and _texts(spare) <= _texts(kept)
    return type(kept) is type(spare) and bool(kept == spare)


def _says_nothing(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_says_nothing, value.values()))
    return value is None or value is False or value in ("", [])


def _texts(values: Iterable[Any]) -> set[str]:
    return {json.dumps(value, sort_keys=True) for value in values}


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an entry is there twice")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


class _Element:
    """An element of XML: what is in it is text, and other elements."""

    def __init__(self, name: str, attributes: dict[str, str]) -> None:
        self.name, self.attributes = name, attributes
        self.content: list[Any] = []  # str, or what `told` returns

    def told(self) -> tuple[Any, ...]:
        """Return it as values that can be compared; space between elements is none."""
        texts = "".join(one for one in self.content if isinstance(one, str))
        elements = [one for one in self.content if isinstance(one, tuple)]
        content = self.content if texts.strip(" \t\r\n") or not elements else elements
        return self.name, frozenset(self.attributes.items()), tuple(content)


def _xmp(data: bytes) -> tuple[Any, ...]:
    """Return what XMP says beside what it says of itself; raises ExpatError, LookupError or ValueError."""
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    top = _Element("", {})
    above = [top]

    def start(name: str, attributes: dict[str, str]) -> None:
        if len(above) > _DEPTH_MAX:
            raise ValueError("it is nested too deeply")
        if len(above) == 1 and name not in (_META, _DESCRIPTIONS):
            raise ValueError("it is no XMP")
        if name == _META:
            attributes.pop(_TOOLKIT, None)
        elif name == _DESCRIPTION and above[-1].name == _DESCRIPTIONS:
            attributes = {known: value for known, value in attributes.items() if known not in _OF_THE_SIDECAR}
        above.append(_Element(name, attributes))

    def end(name: str) -> None:
        element = above.pop()
        is_property = above[-1].name == _DESCRIPTION and above[-2].name == _DESCRIPTIONS
        if not (is_property and name in _OF_THE_SIDECAR):
            above[-1].content.append(element.told())

    def refuse(*_: object) -> NoReturn:
        raise ValueError("it has a document type")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = lambda text: above[-1].content.append(text)
    parser.StartDoctypeDeclHandler = refuse
    parser.Parse(data, True)
    return top.told()
