"""Why a file stays or goes, step by step.

In: the group of the file, about which all is decided. Out: lines for a person, and what they come to.
"""

import os
from collections.abc import Iterator
from typing import TypedDict

from dupwatchd.model import Verdict
from dupwatchd.serve.groups import Group
from dupwatchd.serve.plan_doubts import lacking
from dupwatchd.serve.plan_policy import Pin, Policy
from dupwatchd.serve.spare import SameFile, objection

_COMPARED_MOST = 50  # other files of a group, beyond which only those that matter are named

_PINNED = {
    Pin.REFERENCE: "it lies in a reference folder, or is another name of a file there",
    Pin.CHOSEN: "it was chosen, or is another name of a file that was",
    Pin.PROTECTED: "it lies in a protected folder, or is another name of a file there",
    Pin.FAMILY: "another file of the same shot stays, and both go together or not at all",
}

_IGNORED = "said to be no duplicate (`dupwatch ignored` lists and revokes)"

_IS = {
    SameFile.LINK: "is a hard link of",
    SameFile.ALIAS: "is another path to",
    SameFile.MAYBE: "may be the same file as",
}


class Explained(TypedDict):
    """What is said of one file."""

    steps: list[str]  # for a person
    goes: bool  # as far as the index knows: what lies beside it may hold it back
    held_by: bytes | None  # the file that stays and holds all that this one shows


def explained(group: Group | None, path: bytes, policy: Policy, *, is_ignored: bool = False) -> Explained:
    """What decides about the file ``path``, which is in the group; None: it has no copies.

    ``is_ignored``: whether somebody said of its content that it is no duplicate of another one.
    """
    if group is None:
        but = f", but for what was {_IGNORED}" if is_ignored else ""
        return {"steps": [f"{os.fsdecode(path)} stays: no copy of it is there{but}"], "goes": False, "held_by": None}
    place = next(place for place, copy in enumerate(group.copies) if copy.path == path)
    files, first = f"the group {group.id} of {len(group.copies)} files", os.fsdecode(group.copies[0].path)
    steps = [
        f"{os.fsdecode(path)} is in {files}, of which {first} comes first",
        "rules in force: " + "; ".join(policy.in_words),
        *_compared(group, place),
        *_held(group, place, policy),
        _outcome(group, place),
    ]
    decision = group.decided.files[place]
    held_by = None if decision.held_by is None else group.copies[decision.held_by].path
    return {"steps": steps, "goes": decision.goes, "held_by": held_by}


def _compared(group: Group, place: int) -> Iterator[str]:
    """By which rule each other file comes before it, or behind it, and what both have of that."""
    others = [other for other in range(len(group.copies)) if other != place]
    for other in others[:_COMPARED_MOST]:
        first = group.order.told_apart(group.copies[place], group.copies[other])
        before = "before" if place < other else "behind"
        yield f"it comes {before} {os.fsdecode(group.copies[other].path)}: {first}"
    if len(others) > _COMPARED_MOST:
        yield f"and {len(others) - _COMPARED_MOST:,} other files"


def _held(group: Group, place: int, policy: Policy) -> Iterator[str]:
    """What each file that stays is to it, and whether it holds all that it shows."""
    copy, decision = group.copies[place], group.decided.files[place]
    if decision.pin is not None:
        yield f"it is {decision.pin.value}: {_PINNED[decision.pin]}"
        return
    name = group.other_names[place]
    if name is not None:
        yield f"it {_IS[name.how]} {os.fsdecode(group.copies[name.place].path)}"
        return
    if policy.reference:
        yield "it goes only for the sake of a file in a reference folder"
    staying = [other for other, one in enumerate(group.decided.files) if one.held_by is None and other != place]
    for other in staying[:_COMPARED_MOST]:
        if group.other_names[other] is None:
            holder = group.copies[other]
            verdict, confirmed = group.looks.told(holder, copy)
            may_hold = place and verdict not in (None, Verdict.IDENTICAL)
            why_not = objection(copy, holder, policy, paired=group.paired[place]) if may_hold else None
            but = "" if why_not is None else f", but {why_not}"
            is_ignored = group.looks.is_ignored(holder, copy)
            told = _IGNORED if is_ignored else _in_words(verdict, confirmed)
            yield f"to {os.fsdecode(holder.path)}, which stays, it is {told}{but}"


def _in_words(verdict: Verdict | None, confirmed: bool | None) -> str:
    if verdict is None:
        return "joined through others only, or nobody has looked at the two yet"
    if verdict is not Verdict.SAME:
        return str(verdict.value)
    if confirmed is None:
        return "same, but no look at the photos themselves has made it certain"
    return "same, confirmed" if confirmed else "same, but a closer look does not confirm it"


def _outcome(group: Group, place: int) -> str:
    decision = group.decided.files[place]
    if decision.held_by is None:
        if not place:
            return "it stays: it comes first"
        if group.other_names[place] is not None:
            return "it stays: it is no other file, so that nothing would be won"
        return "it stays" if decision.pin else "it stays: it would go for none of the files that stay"
    holder = group.copies[decision.held_by]
    lacks = ", ".join(lacking(group.copies[place], holder))
    holds = os.fsdecode(holder.path) + (f", which lacks {lacks}," if lacks else "")
    if group.decided.asked:
        return f"it would go because {holds} stays, but a person has to look first: {group.decided.asked}"
    return f"it goes because {holds} stays"
