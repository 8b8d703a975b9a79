"""What a look at two pictures cannot tell of their files: what one has that the other lacks, whether they are a burst.

In: a file that would go, and the one that stays for it, both read as today. Out: words for a person.
"""

import datetime as dt
import json
import math
import os
import sys
from collections.abc import Callable, Collection
from operator import attrgetter

from dupwatchd.db.answers import Copy
from dupwatchd.model import Verdict
from dupwatchd.serve.lacks import loss_class
from dupwatchd.serve.plan_families import RAW
from dupwatchd.serve.plan_policy import Doubt

_NEARBY_METRES = 100  # two devices, or one after a minute, are no farther apart about one place
_METRES_A_DEGREE = 111_200
_ROUNDED_TO_DEGREES = (0.001, 0.01, 1 / 60)  # by programs that do not tell everybody where somebody lives
_LAST_DECIMAL = 1e-5  # of a place as it is stored
_LEAST_CUT_CHARS = 30  # of a caption that may be the beginning of a longer one: IPTC has room for 64 bytes and more
_SAME_EXPOSURE = 0.04  # programs round what they write again; a third of a step is 0.26
BURST_SECONDS = 10  # one camera takes the photos of a burst, and those of a series by hand, at shorter intervals


# What a file may tell, or hold, that another one does not.
LACKED = (
    "place", "rating", "keywords", "caption", "people", "camera", "captured", "depth", "transparency", "colour"
)  # fmt: skip


def lacking(copy: Copy, holder: Copy) -> list[str]:
    """What a file has that the other one lacks, of `LACKED` and in that order.

    How finely a RAW photo holds its colours is nothing that a picture made from it lacks: it is asked for by name.
    """
    lacks = (
        copy.has_place and not holder.has_place,
        copy.rating and not holder.rating,
        lines_lacking(copy.keywords, holder.keywords),
        lines_lacking(copy.captions, holder.captions, least_cut_chars=_LEAST_CUT_CHARS),
        lines_lacking(copy.people, holder.people),
        copy.camera and not holder.camera,
        copy.captured and not holder.captured,
        copy.bits > holder.bits and copy.format != RAW,
        copy.transparent and not holder.transparent,
        copy.has_colour and not holder.has_colour,
    )
    return [name for name, is_so in zip(LACKED, lacks, strict=True) if is_so]


def lines_lacking(mine: str | None, theirs: str | None, *, least_cut_chars: int = sys.maxsize) -> list[str]:
    """The keywords, captions or people of a file that the other one has not; upper and lower case are the same.

    None: not read yet, of which nothing is told. One of at least so many characters is not lacking where a longer one
    begins with it: IPTC cuts titles off.
    """
    if not mine or theirs is None:
        return []
    known = theirs.casefold().split("\n")

    def is_known(line: str) -> bool:
        return line in known or (len(line) >= least_cut_chars and any(one.startswith(line) for one in known))

    return [line for line in mine.split("\n") if not is_known(line.casefold())]


def is_read(copy: Copy) -> bool:
    """Is all known of a file that today's version tells? If an earlier one indexed it, it is read again."""
    return None not in (copy.captions, copy.keywords, copy.place)


def places_apart(one: Copy, other: Copy) -> bool:
    """Are the places of both known, and others? One that a program has rounded is the same."""
    if not (one.place and other.place) or one.place == other.place:
        return False
    (north, east), (its_north, its_east) = _degrees(one.place), _degrees(other.place)
    by_north, by_east = abs(north - its_north), abs(east - its_east)
    by_east = min(by_east, 360 - by_east)
    metres = _METRES_A_DEGREE * math.hypot(by_north, by_east * math.cos(math.radians((north + its_north) / 2)))
    if metres <= _NEARBY_METRES:
        return False
    return not any(
        max(by_north, by_east) <= step and (_is_on_grid(step, north, east) or _is_on_grid(step, its_north, its_east))
        for step in _ROUNDED_TO_DEGREES
    )


def _degrees(place: str) -> tuple[float, float]:
    north, _, east = place.partition(", ")
    return float(north), float(east)


def _is_on_grid(step: float, *degrees: float) -> bool:
    return all(abs(one - round(one / step) * step) <= _LAST_DECIMAL for one in degrees)


def taken_apart(one: Copy, other: Copy) -> bool:
    """Are the capture times of both known, and different?

    Fractions of a second count only if both have them: many programs drop them.
    """
    if not (one.captured and other.captured):
        return False
    whole = not ("." in one.captured and "." in other.captured)
    first, second = (copy.captured.partition(".")[0] if whole else copy.captured for copy in (one, other))
    return first != second


def exposed_apart(one: Copy, other: Copy) -> bool:
    """Did one camera take both, but with other exposures, or count them as two shots?"""
    if one.exposure == other.exposure or not (one.exposure and other.exposure) or one.camera != other.camera:
        return False
    mine, its = (dict(part.partition("=")[::2] for part in copy.exposure.split(" ")) for copy in (one, other))
    return any(_are_apart(name, mine[name], its[name]) for name in mine.keys() & its.keys())


def _are_apart(name: str, mine: str, its: str) -> bool:
    if name == "id":
        return mine != its
    around_zero = _SAME_EXPOSURE if name == "ev" else 0.0
    try:
        return not math.isclose(float(mine), float(its), rel_tol=_SAME_EXPOSURE, abs_tol=around_zero)
    except ValueError:
        return False


def of_one_burst(one: Copy, other: Copy) -> bool:
    """Did one camera take both, seconds apart?"""
    if not one.camera or one.camera != other.camera or not taken_apart(one, other):
        return False
    try:
        apart = dt.datetime.fromisoformat(one.captured) - dt.datetime.fromisoformat(other.captured)
    except (ValueError, TypeError):  # no date, as in files whose camera did not know it; or only one has a zone
        return False
    return abs(apart.total_seconds()) <= BURST_SECONDS


def doubt(
    copy: Copy, holder: Copy, verdict: Verdict | None, ask_when: Collection[Doubt], *, is_nearer: bool = False
) -> str | None:
    """What a person wants to look at before a file goes and the other one stays, in words; None: nothing.

    ``is_nearer``: the one that stays is shown to be nearer the original.
    """
    if is_nearer:
        ask_when = set(ask_when) - {Doubt.LOSS}
    is_told_alike = _told_of(copy) == _told_of(holder)
    is_as_good = loss_class(copy) >= loss_class(holder) and Doubt.ENLARGED not in ask_when
    if verdict is Verdict.SAME and is_told_alike and is_as_good:
        return None  # most pairs, in a tenth of the time
    found = next((one for one in Doubt if one in ask_when and _HOLDS[one](copy, holder, verdict)), None)
    if found is None:
        return None
    name, other = (os.fsdecode(os.path.basename(one.path)) for one in (copy, holder))
    match found:
        case Doubt.BELOW_SAME:
            return f"{name} is {'another version of' if verdict is None else verdict.value + ' beside'} {other}"
        case Doubt.ENLARGED:
            sizes = f"{copy.width} × {copy.height}, {other} {holder.width} × {holder.height}"
            return f"{name} has {sizes}: it seems to be enlarged"
        case Doubt.LOSS:
            return f"{name} is a JPEG of quality {copy.quality}, {other}, which stays, of {holder.quality}"
        case Doubt.CAPTURE_TIMES:
            return f"{name} was taken {copy.captured}, {other} {holder.captured}"
        case Doubt.CONFLICT:
            what = _conflict(copy, holder)
            if what == "place":
                return f"{name} was taken at {copy.place}, {other} at {holder.place}"
            if what == "caption":
                return f"{name} has the caption {_first_line(copy)}, {other} {_first_line(holder)}"
            return f"{name} has the {what} {getattr(copy, what)}, {other} {getattr(holder, what)}"
        case Doubt.LACKS:
            return f"{other}, which stays, lacks what {name} has: {', '.join(_lacking_metadata(copy, holder))}"


_told_of = attrgetter(
    "camera", "captured", "has_place", "rating", "keywords", "place", "captions", "people", "bits", "transparent"
)


def _conflict(copy: Copy, holder: Copy) -> str:
    """What both files have, but not the same: "camera", "rating", "place" or "caption"; "": nothing."""
    for what in ("camera", "rating"):
        if _differ(getattr(copy, what), getattr(holder, what)):
            return what
    if places_apart(copy, holder):
        return "place"
    are_apart = all(
        lines_lacking(one.captions, other.captions, least_cut_chars=_LEAST_CUT_CHARS)
        for one, other in ((copy, holder), (holder, copy))
    )
    return "caption" if are_apart else ""


def _first_line(copy: Copy) -> str:
    return json.dumps((copy.captions or "").partition("\n")[0], ensure_ascii=False)


def _lacking_metadata(copy: Copy, holder: Copy) -> list[str]:
    return [what for what in lacking(copy, holder) if what != "colour"]


def _differ(mine: object, theirs: object) -> bool:
    return bool(mine and theirs and mine != theirs)


_HOLDS: dict[Doubt, Callable[[Copy, Copy, Verdict | None], bool]] = {
    Doubt.BELOW_SAME: lambda _copy, _holder, verdict: verdict not in (Verdict.IDENTICAL, Verdict.SAME),
    Doubt.ENLARGED: lambda copy, holder, _: copy.width * copy.height > holder.width * holder.height,
    Doubt.LOSS: lambda copy, holder, _: bool(copy.quality) and loss_class(copy) < loss_class(holder),
    Doubt.CAPTURE_TIMES: lambda copy, holder, _: taken_apart(copy, holder),
    Doubt.CONFLICT: lambda copy, holder, _: bool(_conflict(copy, holder)),
    Doubt.LACKS: lambda copy, holder, _: bool(_lacking_metadata(copy, holder)),
}
