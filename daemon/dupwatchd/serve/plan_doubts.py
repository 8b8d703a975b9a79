"""What a look at two pictures cannot tell of their files: what one has that the other lacks, whether they are a burst.

In: a file that would go, and the one that stays for it. Out: words for a person.
"""

import datetime as dt
import os
from collections.abc import Iterator

from dupwatchd.db.answers import Copy
from dupwatchd.model import Verdict
from dupwatchd.serve.plan_policy import Doubt

BURST_SECONDS = 10  # one camera takes the photos of a burst, and those of a series by hand, at shorter intervals


def lacking(copy: Copy, holder: Copy) -> list[str]:
    """What a file has that the other one lacks: "place", "rating", "camera", "captured", "colour"."""
    compared = {
        "place": (copy.has_place, holder.has_place),
        "rating": (copy.rating, holder.rating),
        "camera": (copy.camera, holder.camera),
        "captured": (copy.captured, holder.captured),
        "colour": (copy.has_colour, holder.has_colour),
    }
    return [name for name, (mine, theirs) in compared.items() if mine and not theirs]


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


def doubts(copy: Copy, holder: Copy, verdict: Verdict | None) -> Iterator[tuple[Doubt, str]]:
    """What a person may want to look at before a file goes and the other one stays, each with a line that says so."""
    name, other = (os.fsdecode(os.path.basename(one.path)) for one in (copy, holder))
    if verdict not in (Verdict.IDENTICAL, Verdict.SAME):
        yield (
            Doubt.BELOW_SAME,
            f"{name} is {'another version of' if verdict is None else verdict.value + ' beside'} {other}",
        )
    if copy.width * copy.height > holder.width * holder.height:
        sizes = f"{copy.width} × {copy.height}, {other} {holder.width} × {holder.height}"
        yield Doubt.ENLARGED, f"{name} has {sizes}: it seems to be enlarged"
    if taken_apart(copy, holder):
        yield Doubt.CAPTURE_TIMES, f"{name} was taken {copy.captured}, {other} {holder.captured}"
    for what, mine, theirs in (("camera", copy.camera, holder.camera), ("rating", copy.rating, holder.rating)):
        if mine and theirs and mine != theirs:
            yield Doubt.CONFLICT, f"{name} has the {what} {mine}, {other} {theirs}"
    lacks = [what for what in lacking(copy, holder) if what != "colour"]
    if lacks:
        yield Doubt.LACKS, f"{other}, which stays, lacks what {name} has: {', '.join(lacks)}"
