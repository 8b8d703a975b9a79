"""What a plan says, and how it is written as JSON.

A plan names files that go, each with the file that stays for it, and what both were when it was made: size, time,
device, inode and BLAKE3 of the whole content. It can be read, edited and made by scripts; `plan_reading` reads it.

Paths are bytes here; in JSON they are text with surrogate escapes for bytes that are not UTF-8.
"""

import io
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from blake3 import blake3

from dupwatch.replacing import check_replaceable

PLAN_VERSION = 1
PLAN_MARK = b'"dupwatch_plan"'  # in the first line of each

# What may be the reason that a file goes. `similar` pictures are never copies. `chosen`: no look has shown what the two
# are to each other, but a person has looked at both and decided; an apply says before it begins how many these are.
CHOSEN = "chosen"
VERDICTS = ("identical", "same", "cropped", "retouched", "recoloured", CHOSEN)


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A file as it was when the plan was made."""

    path: bytes
    size_bytes: int
    mtime_ns: int
    device: int
    inode: int
    blake3: bytes  # 32 bytes, of the whole content
    reason: str = ""


@dataclass(frozen=True, slots=True)
class GoingFile:
    """A file that goes, and what stays for it.

    A sidecar or movie that goes along with its picture names that picture in ``goes_with``; ``held_by`` is then its
    equal beside the file that stays, or None for a sidecar that nothing else holds.
    """

    file: PlannedFile
    held_by: bytes | None
    verdict: str | None = None
    confirmed: bool | None = None
    lacks: tuple[str, ...] = ()  # what the file that stays lacks
    goes_with: bytes | None = None


@dataclass(frozen=True, slots=True)
class PlannedGroup:
    """Copies of one picture: at least one stays, at least one goes."""

    id: str
    stays: tuple[PlannedFile, ...]
    goes: tuple[GoingFile, ...]


@dataclass(frozen=True, slots=True)
class AskedGroup:
    """Copies that a person has to look at; nothing of them goes."""

    id: str
    because: str
    files: tuple[PlannedFile, ...]


@dataclass(frozen=True, slots=True)
class HeldBack:
    """A file that would go, but stays, and why."""

    path: bytes
    because: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What goes, what stays and why."""

    made: str  # UTC, as 2026-11-28T05:30:00Z
    roots: tuple[bytes, ...]
    rules: tuple[str, ...]  # in words
    verdicts: tuple[str, ...]
    groups: tuple[PlannedGroup, ...]
    asked: tuple[AskedGroup, ...] = ()
    held_back: tuple[HeldBack, ...] = ()
    incomplete_because: tuple[str, ...] = ()

    @property
    def going(self) -> list[GoingFile]:
        """All files that go."""
        return [going for group in self.groups for going in group.goes]

    @property
    def bytes_going(self) -> int:
        """The size of all files that go."""
        return sum(going.file.size_bytes for going in self.going)

    def root_of(self, path: bytes) -> bytes:
        """Return the deepest root above a path of the plan."""
        return deepest_root(path, self.roots)


def is_below(path: bytes, folder: bytes) -> bool:
    """Return whether a path lies below a folder; both are absolute and in their shortest form."""
    return path.startswith(folder.rstrip(b"/") + b"/") and path != folder


def deepest_root(path: bytes, roots: Sequence[bytes]) -> bytes:
    """Return the deepest root above a path; raises ValueError if there is none."""
    return max((root for root in roots if is_below(path, root)), key=len)


def plan_document(plan: Plan) -> dict[str, Any]:
    """Return the plan as the values that its JSON has, paths as bytes (see `dupwatch.json_text.write_json`)."""
    return {
        "dupwatch_plan": PLAN_VERSION,
        "made": plan.made,
        "roots": list(plan.roots),
        "rules": list(plan.rules),
        "verdicts": list(plan.verdicts),
        "complete": not plan.incomplete_because,
        "incomplete_because": list(plan.incomplete_because),
        "summary": {
            "groups": len(plan.groups),
            "files": len(plan.going),
            "bytes": plan.bytes_going,
            "asked_groups": len(plan.asked),
        },
        "groups": [
            {
                "id": group.id,
                "stays": [_file(file) for file in group.stays],
                "goes": [_going(one) for one in group.goes],
            }
            for group in plan.groups
        ],
        "asked": [
            {"id": group.id, "because": group.because, "files": [_file(file) for file in group.files]}
            for group in plan.asked
        ],
        "held_back": [{"path": one.path, "because": one.because} for one in plan.held_back],
    }


def plan_text(plan: Plan) -> str:
    """Return the plan as JSON in ASCII, a line per group."""
    from dupwatch.json_text import write_json

    text = io.StringIO()
    write_json(plan_document(plan), text)
    return text.getvalue()


def plan_digest(plan: Plan) -> str:
    """Return what tells this plan from others, whatever its layout, as 64 hexadecimal digits."""
    return blake3(plan_text(plan).encode("ascii")).hexdigest()


def write_plan(plan: Plan, path: bytes) -> None:
    """Write a plan that only its owner may read or write, replacing an older plan; raises OSError, FileExistsError."""
    check_replaceable(path, PLAN_MARK)
    descriptor, partial = tempfile.mkstemp(dir=os.path.dirname(os.path.abspath(path)), prefix=b".dupwatch-")
    try:
        with open(descriptor, "w", encoding="ascii") as stream:
            stream.write(plan_text(plan))
            stream.flush()
            os.fsync(descriptor)
        os.replace(partial, path)
    except BaseException:
        os.unlink(partial)
        raise


def _file(file: PlannedFile) -> dict[str, Any]:
    return {
        "path": file.path,
        "bytes": file.size_bytes,
        "mtime_ns": file.mtime_ns,
        "device": file.device,
        "inode": file.inode,
        "blake3": file.blake3.hex(),
        "reason": file.reason,
    }


def _going(going: GoingFile) -> dict[str, Any]:
    document = {
        **_file(going.file),
        "held_by": going.held_by,
        "verdict": going.verdict,
        "confirmed": going.confirmed,
        "lacks": list(going.lacks),
    }
    return document if going.goes_with is None else {**document, "goes_with": going.goes_with}
