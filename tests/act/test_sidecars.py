"""What two sidecars say of a photo: those of Google Takeout, those in XMP, and what strangers may have written."""

import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dupwatch.act.sidecars import TEXT_BYTES_MAX, says_all_of
from dupwatch.act_output import plan_lines
from dupwatch.terminal import page_on
from tests.act.test_planning import copies, going, why_held
from tests.act.trees import plan_for, write

TOLD: dict[str, Any] = {
    "title": "IMG_1.jpg",
    "description": "By the sea",
    "imageViews": "12",
    "creationTime": {"timestamp": "1700000000", "formatted": "Nov 14, 2023, 10:13:20 PM UTC"},
    "photoTakenTime": {"timestamp": "1546340400", "formatted": "Jan 1, 2019, 11:00:00 AM UTC"},
    "geoData": {
        "latitude": 48.1, "longitude": 11.5, "altitude": 520.0, "latitudeSpan": 0.0, "longitudeSpan": 0.0,
    },
    "geoDataExif": {"latitude": 0.0, "longitude": 0.0, "altitude": 0.0, "latitudeSpan": 0.0, "longitudeSpan": 0.0},
    "people": [{"name": "Anna"}, {"name": "Ben"}],
    "favorited": True,
    "url": "https://photos.google.com/photo/AF1",
    "googlePhotosOrigin": {"mobileUpload": {"deviceFolder": {"localFolderName": "Camera"}, "deviceType": "IOS_PHONE"}},
}  # fmt: skip
GEO = TOLD["geoData"]
NO_PLACE = TOLD["geoDataExif"]


def takeout(**changed: Any) -> bytes:
    """What Google says of a photo; an entry that is changed to ... is left out."""
    told = {name: value for name, value in {**TOLD, **changed}.items() if value is not ...}
    return json.dumps(told, indent=2).encode()


def holds(spare: Mapping[str, Any], kept: Mapping[str, Any]) -> bool:
    return says_all_of(takeout(**kept), takeout(**spare), b".json")


@pytest.mark.parametrize(
    "spare",
    [
        {"imageViews": "3"}, {"url": "https://lh3.googleusercontent.com/x"}, {"url": ..., "imageViews": ...},
        {"creationTime": {"timestamp": "5"}}, {"photoLastModifiedTime": {"timestamp": "7"}},
        {"googlePhotosOrigin": {"webUpload": {"computerUpload": {}}}}, {"googlePhotosOrigin": ...},
        {"photoTakenTime": {"timestamp": "1546340400", "formatted": "01.01.2019, 11:00:00 UTC"}},
        {"description": ""}, {"description": ...}, {"favorited": False}, {"favorited": ...}, {"archived": False},
        {"people": [{"name": "Ben"}]}, {"people": []}, {"people": ...}, {"geoData": ...}, {"geoData": NO_PLACE},
        {"geoData": {**GEO, "altitude": 0.0}}, {"geoData": {"latitude": 48.1, "longitude": 11.5}},
        {"geoDataExif": {"latitude": -0.0, "longitude": 0}}, {"enrichments": {}},
    ],
)  # fmt: skip
def test_what_counts_views_or_says_less_is_held(spare: dict[str, Any]) -> None:
    assert holds(spare, {})


@pytest.mark.parametrize(
    "spare",
    [
        {"description": "By the lake"}, {"title": "IMG_2.jpg"}, {"archived": True}, {"trashed": True},
        {"photoTakenTime": {"timestamp": "1546340401"}}, {"people": [{"name": "Anna"}, {"name": "Cleo"}]},
        {"geoData": {**GEO, "latitude": 48.2}}, {"geoData": {**GEO, "latitude": 0.0}},
        {"geoData": {**GEO, "altitude": 5}}, {"geoData": {"latitude": 48.1}},
        {"geoData": {**GEO, "latitude": 11.5, "longitude": 48.1}}, {"geoData": {**GEO, "latitude": 11.5}},
        {"geoData": {**GEO, "latitude, longitude": "by the sea"}},
        {"geoDataExif": {"latitude": 0.0, "longitude": 11.5}}, {"geoDataExif": {**NO_PLACE, "altitude": 520.0}},
        {"appSource": {"androidPackageName": "com.whatsapp"}}, {"sharedAlbumComments": [{"text": "Nice"}]},
        {"googlePhotosOrigin": {"composition": {"type": "AUTO"}}}, {"favorited": "yes"}, {"somethingNew": 0},
    ],
)  # fmt: skip
def test_what_says_anything_else_is_not(spare: dict[str, Any]) -> None:
    assert not holds(spare, {})


VALUES = st.recursive(
    st.sampled_from([None, True, False, "", "a", "b", 0, 1, 0.0, -0.0, 1e300, "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
ENTRIES = st.dictionaries(
    st.sampled_from(["description", "people", "archived", "geoData", "x", "url"]), VALUES, max_size=4
)


@given(ENTRIES, ENTRIES, ENTRIES)
def test_what_holds_what_holds_it_holds_it(spare: dict[str, Any], kept: dict[str, Any], more: dict[str, Any]) -> None:
    """And of what one says, all is said by itself, and by one that says more."""
    assert holds(spare, spare)
    assert holds({}, {"x": more, **TOLD})
    if holds(spare, kept) and holds(kept, more):
        assert holds(spare, more)


@pytest.mark.parametrize("name", ["description", "people", "geoData", "favorited"])
def test_an_entry_that_says_something_is_missed_where_it_is_not(name: str) -> None:
    assert not holds({}, {name: ...})
    assert holds({name: ...}, {})


ODD = [
    b"", b"{}", b"[]", b"null", b'"a"', b"\xff\xfe", b"{", takeout()[:-2], b"[" * 100_000, b'{"a":' * 50_000,
    takeout(title=...), takeout(title=""), takeout(title=7), takeout(photoTakenTime=...),
    takeout(photoTakenTime="2019"), takeout(photoTakenTime={}), takeout().replace(b'"By the sea"', b"NaN"),
    takeout().replace(b'"By the sea"', b"-Infinity"),
    takeout().replace(b'"description"', b'"title"'), takeout().replace(b'"name": "Ben"', b'"name": "Ben", "name": "C"'),
    takeout().replace(b'"By the sea"', b"9" * 10_000 + b"e9" * 2), takeout(x="y" * TEXT_BYTES_MAX),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(ODD)))
def test_what_cannot_be_read_for_certain_holds_nothing(number: int) -> None:
    for suffix in (b".json", b".xmp", b".aae", b""):
        assert not says_all_of(takeout(), ODD[number], suffix)
        assert not says_all_of(ODD[number], takeout(), suffix)


def test_numbers_are_compared_as_they_stand() -> None:
    far, farther = (takeout().replace(b"520.0", number) for number in (b"1e400", b"1e500"))
    assert says_all_of(far, far, b".json")
    assert not says_all_of(far, farther, b".json")


XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="{tool}">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:{mm}="http://ns.adobe.com/xap/1.0/mm/"
    xmlns:dc="http://purl.org/dc/elements/1.1/" xmp:Rating="{rating}" xmp:MetadataDate="{when}"
    {mm}:InstanceID="{when}">
   <{mm}:DocumentID>{when}</{mm}:DocumentID>
   <{mm}:History><rdf:Seq><rdf:li>{when}</rdf:li></rdf:Seq></{mm}:History>
   <dc:subject><rdf:Bag><rdf:li>{word}</rdf:li><rdf:li xml:lang="en">sea</rdf:li></rdf:Bag></dc:subject>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""


def xmp(rating: int = 5, when: str = "2024", word: str = "sun", tool: str = "A", mm: str = "xmpMM") -> bytes:
    return XMP.format(rating=rating, when=when, word=word, tool=tool, mm=mm).encode()


def test_xmp_that_differs_in_when_it_was_written_says_the_same() -> None:
    spare = xmp(when="2025", tool="Other 1.2", mm="m").replace(b"  <dc", b"\n\t<dc")
    assert says_all_of(xmp(), spare, b".xmp")
    assert not says_all_of(xmp(), spare, b".json")
    assert not says_all_of(xmp(), xmp(rating=4), b".xmp")
    assert not says_all_of(xmp(), xmp(word="sun "), b".xmp")
    assert not says_all_of(xmp(), xmp().replace(b'xml:lang="en"', b""), b".xmp")
    assert not says_all_of(xmp(), xmp().replace(b"<rdf:Bag>", "\u3000<rdf:Bag>".encode()), b".xmp")
    assert not says_all_of(xmp(), xmp().replace(b"<rdf:li>sun</rdf:li>", b""), b".xmp")


BOMB = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>'
ODD_XMP = [
    b"", b"<", b"<a/>", b"\xff\xfe", BOMB + xmp(), xmp().replace(b"sun", b"&b;"), xmp()[:-40],
    b'<?xml version="1.0" encoding="rot13"?><a/>', b"<a>" * 50_000,
    xmp().replace(b"sun", b"<a>" * 2_000 + b"</a>" * 2_000), xmp(word="x" * TEXT_BYTES_MAX),
    xmp().replace(b'xmp:Rating="5"', b'xmp:Rating="5" xmp:Rating="5"'), xmp().replace(b"sun", b"\xed\xa0\x80"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(ODD_XMP)))
def test_xmp_that_cannot_be_read_for_certain_holds_nothing(number: int) -> None:
    assert not says_all_of(ODD_XMP[number], ODD_XMP[number], b".xmp")


@given(st.binary(max_size=80), st.integers(0, 600), st.integers(0, 40))
def test_damaged_sidecars_end_in_an_answer(data: bytes, first: int, count: int) -> None:
    for whole, suffix in ((takeout(), b".json"), (xmp(), b".xmp")):
        damaged = whole[:first] + data + whole[first + count :]
        says_all_of(whole, damaged, suffix)
        says_all_of(damaged, whole, suffix)


def test_a_photo_goes_with_the_json_that_says_nothing_more(tmp_path: Path) -> None:
    goes, stays = copies(tmp_path, "IMG_1.jpg")
    own = write(goes + b".json", takeout(imageViews="3", people=[{"name": "Anna"}]))
    kept = write(stays + b".supplemental-metadata.json", takeout())
    plan = plan_for(tmp_path, [(goes, stays)], ask_when=["lacks metadata"])
    picture, sidecar = plan.groups[0].goes
    assert (picture.file.path, picture.lacks, sidecar.file.path) == (goes, (), own)
    assert (sidecar.held_by, sidecar.verdict) == (None, None)
    assert sidecar.file.reason == f"what it says of the photo stands in {os.fsdecode(kept)} as well"
    assert f"goes along, {sidecar.file.reason}" in "\n".join(plan_lines(plan, page_on(io.StringIO())))
    write(own, takeout(description="Another day"))
    assert "of which no equal lies beside" in why_held(plan_for(tmp_path, [(goes, stays)], ask_when=["lacks metadata"]))
    assert going(plan_for(tmp_path, [(goes, stays)])) == {"IMG_1.jpg", "IMG_1.jpg.json"}
