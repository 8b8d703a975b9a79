"""What a look at two pictures cannot tell of their files: what one has that the other lacks, whether they are a burst.

In: a file that would go, and the one that stays for it. Out: words for a person.
"""

import datetime as dt
import os
from collections.abc import Callable, Collection

from dupwatchd.db.answers import Copy
from dupwatchd.model import Verdict
from dupwatchd.serve.plan_policy import Doubt

BURST_SECONDS = 10  # one camera takes the photos of a burst, and those of a series by hand, at shorter intervals


def lacking(copy: Copy, holder: Copy) -> list[str]:
    """What a file has that the other one lacks: "place", "rating", "keywords", "camera", "captured", "colour"."""
    compared = {
        "place": (copy.has_place, holder.has_place),
        "rating": (copy.rating, holder.rating),
        "keywords": (keywords_lacking(copy, holder), []),
        "camera": (copy.camera, holder.camera),
        "captured": (copy.captured, holder.captured),
        "colour": (copy.has_colour, holder.has_colour),
    }
    return [name for name, (mine, theirs) in compared.items() if mine and not theirs]


def keywords_lacking(copy: Copy, holder: Copy) -> list[str]:
    """The keywords of a file that the other one has not; upper and lower case are the same."""
    if not copy.keywords or holder.keywords is None:
        return []
    known = set(holder.keywords.casefold().split("\n"))
    return [keyword for keyword in copy.keywords.split("\n") if keyword.casefold() not in known]


def _unread(*copies: Copy) -> bool:
    """Does nobody know yet whether one of these files has keywords?"""
    return any(copy.keywords is None for copy in copies)


def taken_apart(one: Copy, other: Copy) -> bool:
    """Are the capture times of both known, and different?

    Fractions of a second count only if both have them: many programs drop them.
    """
    if not (one.captured and other.captured):
        return False
    whole = not ("." in one.captured and "." in other.captured)
    first, second = (copy.captured.partition(".")[0] if whole else copy.captured for copy in (one, other))
    return first != second


def of_one_burst(one: Copy, other: Copy) -> bool:
    """Did one camera take both, seconds apart?"""
    if not one.camera or one.camera != other.camera or not taken_apart(one, other):
        return False
    try:
        apart = dt.datetime.fromisoformat(one.captured) - dt.datetime.fromisoformat(other.captured)
    except (ValueError, TypeError):  # no date, as in files whose camera did not know it; or only one has a zone
        return False
    return abs(apart.total_seconds()) <= BURST_SECONDS


def doubt(copy: Copy, holder: Copy, verdict: Verdict | None, ask_when: Collection[Doubt]) -> str | None:
    """What a person wants to look at before a file goes and the other one stays, in words; None: nothing."""
    is_told_alike = _told_of(copy) == _told_of(holder) and not _unread(copy)
    if verdict is Verdict.SAME and is_told_alike and Doubt.ENLARGED not in ask_when:
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
        case Doubt.CAPTURE_TIMES:
            return f"{name} was taken {copy.captured}, {other} {holder.captured}"
        case Doubt.CONFLICT:
            what = "camera" if _differ(copy.camera, holder.camera) else "rating"
            return f"{name} has the {what} {getattr(copy, what)}, {other} {getattr(holder, what)}"
        case Doubt.LACKS:
            lacks = _lacking_metadata(copy, holder)
            if not lacks:
                return (
                    f"{name} or {other} was indexed before keywords were; once it has been read again, this is decided"
                )
            return f"{other}, which stays, lacks what {name} has: {', '.join(lacks)}"


def _told_of(copy: Copy) -> tuple[str, str, bool, int, str | None]:
    return copy.camera, copy.captured, copy.has_place, copy.rating, copy.keywords


def _lacking_metadata(copy: Copy, holder: Copy) -> list[str]:
    return [what for what in lacking(copy, holder) if what != "colour"]


def _differ(mine: object, theirs: object) -> bool:
    return bool(mine and theirs and mine != theirs)


_HOLDS: dict[Doubt, Callable[[Copy, Copy, Verdict | None], bool]] = {
    Doubt.BELOW_SAME: lambda _copy, _holder, verdict: verdict not in (Verdict.IDENTICAL, Verdict.SAME),
    Doubt.ENLARGED: lambda copy, holder, _: copy.width * copy.height > holder.width * holder.height,
    Doubt.CAPTURE_TIMES: lambda copy, holder, _: taken_apart(copy, holder),
    Doubt.CONFLICT: lambda copy, holder, _: _differ(copy.camera, holder.camera) or _differ(copy.rating, holder.rating),
    Doubt.LACKS: lambda copy, holder, _: bool(_lacking_metadata(copy, holder)) or _unread(copy, holder),
}
