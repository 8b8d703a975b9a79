"""What is asked of clusters, which of their files are there, and how far these are from the kept one.

In: candidates, which `library` finds from numbers alone. Out: the files of each cluster, of which `groups` makes groups
about which all is decided; and, at the end, the values that are measured for those that somebody reads.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from math import isfinite
from typing import NamedTuple

from dupwatchd.db.answers import Copy, Look
from dupwatchd.db.contents import ContentLook
from dupwatchd.model import PartTold, Verdict
from dupwatchd.serve.filters import NO_FILTERS, Filters
from dupwatchd.serve.ignored import NONE_IGNORED, IgnoredPairs
from dupwatchd.serve.plan_policy import Policy
from dupwatchd.serve.results import Cluster, ClusterFile, FoundFile
from dupwatchd.serve.spare import OtherName
from dupwatchd.serve.usage import User

Pair = tuple[int, int]  # pictures


class Measured(NamedTuple):
    """How far two pictures are apart."""

    mse: float
    structure: float
    turn: int  # degrees by which the second must be turned to show the first
    mirrored: bool
    custom: float = 0.0  # by the user's own measure, if that is asked for


class Order(Enum):
    """Which clusters come first; those that are equal in this come in the order of their ids, then of paths."""

    BYTES = "bytes"  # those that free most
    FILES = "files"  # those of most files
    FOLDER = "folder"  # by the folder of the file to keep, as its bytes are ordered
    DATE = "date"  # those whose file to keep was taken last; what does not tell that: was modified last


ITSELF = Measured(0.0, 0.0, 0, False)
ONE_PICTURE = frozenset({Verdict.IDENTICAL, Verdict.SAME})  # what is acted on if nobody asks for more


@dataclass(frozen=True, slots=True)
class Question:
    """Which copies are asked for."""

    measure: str  # "mse", "structure" or "custom"
    threshold: float
    mirrored: bool
    touching: tuple[bytes, ...] | None = None  # only clusters with a file under one of these folders; None: all
    verdicts: frozenset[Verdict] = ONE_PICTURE  # of pairs that belong together; these two are always among them
    policy: Policy = field(default=Policy())  # which file to keep, and what goes
    policies: int = 0  # how many the service has had before the one that now holds if a question does not say
    details: bool = False  # whether clusters tell more of each file
    holding: frozenset[bytes] | None = None  # only clusters that hold one of these files; None: all
    ignored: IgnoredPairs = NONE_IGNORED  # pairs of contents that do not belong together, whatever a look says
    filters: Filters = NO_FILTERS  # which files may be held against each other
    min_files: int = 2  # only clusters of so many files or more; at least 2
    order: Order = Order.BYTES  # which clusters come first
    pairs: bool = False  # asked for are the pairs of linked files, not the clusters
    asked_by: User = ""  # who has a page of his own

    @property
    def joining(self) -> frozenset[Verdict] | None:
        """The verdicts that join two pictures; None for a measure of the user's own, which joins by its value alone."""
        return None if self.measure == "custom" else self.verdicts

    @property
    def named_verdicts(self) -> frozenset[Verdict]:
        """What the files of an answer may be to each other, as it tells."""
        return frozenset({Verdict.IDENTICAL}) if self.filters.exact else self.verdicts

    def value_of(self, measured: Measured) -> float:
        """How far two pictures are apart by the measure that is asked for."""
        return {"mse": measured.mse, "structure": measured.structure, "custom": measured.custom}[self.measure]

    def joins(self, look: Look) -> bool:
        """Do two pictures belong together by what a look at them has found?"""
        value = look.mse if self.measure == "mse" else look.structure
        is_near = look.at_any_distance or value <= self.threshold
        return look.verdict in self.verdicts and is_near and look.mirrored <= self.mirrored


MeasurePairs = Callable[[list[Pair], str, bool, bool], list[Measured]]  # pairs, measure; allowed: mirrored, turned


@dataclass(frozen=True, slots=True)
class LiveChecks:
    """What the index does not know: how thumbnails compare, and how the files are at this moment."""

    measure_pairs: MeasurePairs
    is_there: Callable[[Copy], bool]
    other_names: Callable[[Sequence[Copy]], list[OtherName | None]]  # for each the earlier one that is the same file
    has_sidecar: Callable[[Copy], bool]  # a file with what somebody, or a program, has noted about this one


@dataclass(frozen=True, slots=True)
class ClusterCandidate:
    """Pictures that belong together by a question, or one picture of one content; and their files."""

    pictures: set[int]
    copies: list[Copy]  # their files, as the index knows them
    looks: list[Look]  # at pairs of them
    without_proof: set[int]  # those of the pictures of which only equal bytes are copies
    of_contents: list[ContentLook]  # looks at contents of one of the pictures
    matches: Callable[[], list[Pair]]  # all stored ones within the threshold; asked for only where they matter


@dataclass(slots=True)
class LookedAt:
    """A cluster in which nobody has measured yet how far the files are from the kept one; see `measured`."""

    cluster: Cluster
    pictures: list[int]  # of each file; empty once it was measured
    turns: list[int | None]  # of each file, if it is known without measuring
    value: int  # what it has of that by which clusters are put in order

    @property
    def order_key(self) -> tuple[int, str, bytes]:
        """Clusters of an answer are in this order."""
        return -self.value, self.cluster["id"], self.cluster["files"][0]["path"]

    @property
    def files(self) -> int:
        """How many it has."""
        return len(self.cluster["files"])


def measured(found: Sequence[LookedAt], question: Question, live_checks: LiveChecks) -> list[Cluster]:
    """The clusters as in the JSON of `scan`, paths as bytes, each measured once: many are looked at to show a few."""
    new = [one for one in found if one.pictures]
    pairs = sorted({(one.pictures[0], other) for one in new for other in one.pictures[1:]})
    values = dict(zip(pairs, measured_pairs(pairs, question, live_checks), strict=True))
    for one in new:
        for row, picture, turn in zip(one.cluster["files"][1:], one.pictures[1:], one.turns[1:], strict=True):
            _set_values(row, as_turned(values[one.pictures[0], picture], turn), question)
        one.pictures = []
    return [one.cluster for one in found]


def as_turned(measured: Measured, turn: int | None) -> Measured:
    """What was measured, but turned as is known (None: it is not)."""
    return measured if turn is None else measured._replace(turn=turn, mirrored=False)


def _set_values(row: ClusterFile, value: Measured, question: Question) -> None:
    row["mse"], row["structure"], row["turn"], row["mirrored"] = value[:4]
    if question.measure == "custom":
        row["custom"] = value.custom if isfinite(value.custom) else None


def is_asked_for(files: Sequence[Copy], question: Question) -> bool:
    """Are these files a cluster that is asked for?"""
    if len(files) < question.min_files or not question.filters.ask_for(files):
        return False
    if question.holding is not None and not any(copy.path in question.holding for copy in files):
        return False
    if question.touching is None:
        return True
    prefixes = tuple(folder.rstrip(b"/") + b"/" for folder in question.touching)
    return any(copy.path.startswith(prefixes) for copy in files)


def measured_pairs(pairs: list[Pair], question: Question, live_checks: LiveChecks) -> list[Measured]:
    """How far the pictures of each pair are apart; one picture is not far from itself, whatever it shows."""
    apart = [(a, b) for a, b in pairs if a != b]
    measure, mirrored, turned = question.measure, question.mirrored, not question.filters.upright
    values = iter(live_checks.measure_pairs(apart, measure, mirrored, turned) if apart else ())
    return [next(values) if a != b else ITSELF for a, b in pairs]


def found_file(
    copy: Copy, measured: Measured, verdict: Verdict | None, part: PartTold, *, shows_more: bool
) -> FoundFile:
    """A file, how far it is from another one, and what it is to it, as in answers.

    ``part`` tells whether one of both shows more, and ``shows_more`` whether that is this file.
    """
    return {
        "path": copy.path,
        "bytes": copy.size_bytes,
        "width": copy.width,
        "height": copy.height,
        "mse": measured.mse,
        "structure": measured.structure,
        "turn": measured.turn,
        "mirrored": measured.mirrored,
        "verdict": None if verdict is None else verdict.value,
        "shows_more": shows_more if part.shows_more else None,
        "outline": part.corners,
    }
