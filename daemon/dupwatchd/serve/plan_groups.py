"""The groups of a plan as they are in answers.

In: groups of files about which all is decided. Out: those in which something goes, or would if a person had looked.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from dupwatchd.serve.groups import Group, named_reason
from dupwatchd.serve.plan_doubts import lacking
from dupwatchd.serve.results import PlannedFile, PlannedGroup


@dataclass(slots=True)
class Planned:
    """A group of a plan; groups in which a person has to look first stand where they would, had somebody looked."""

    group: PlannedGroup
    freed_bytes: int

    @property
    def order_key(self) -> tuple[int, str, bytes]:
        """Groups of an answer are in this order."""
        return -self.freed_bytes, self.group["id"], self.group["files"][0]["path"]

    @property
    def files(self) -> int:
        """How many it has."""
        return len(self.group["files"])


def as_planned(groups: Sequence[Group]) -> list[Planned]:
    """Those of the groups that belong into a plan."""
    return [Planned(_planned(group), group.freed_bytes(with_asked=True)) for group in groups if group.decided.any_goes]


def _planned(group: Group) -> PlannedGroup:
    files = [_file(group, place) for place in range(len(group.copies))]
    return {"id": group.id, "asked": group.decided.asked, "files": files}


def _file(group: Group, place: int) -> PlannedFile:
    copy, other, decision = group.copies[place], group.other_names[place], group.decided.files[place]
    holder = None if decision.held_by is None else group.copies[decision.held_by]
    told = group.looks.told(group.copies[0], copy) if holder is None else decision.told
    return {
        "path": copy.path,
        "bytes": copy.size_bytes,
        "mtime_ns": copy.mtime_ns,
        "device": copy.device,
        "inode": copy.inode,
        "digest": copy.content_digest,
        "format": copy.format,
        "width": copy.width,
        "height": copy.height,
        "goes": decision.goes,
        "held_by": None if holder is None else holder.path,
        "verdict": None if told.verdict is None else told.verdict.value,
        "confirmed": told.confirmed,
        "reason": group.reasons[place] if other is None else named_reason(other),
        "lacks": [] if holder is None else lacking(copy, holder),
        "same_file_as": None if other is None else group.copies[other.place].path,
        "pinned": None if decision.pin is None else decision.pin.value,
    }
