"""What is asked of clusters, which of their files are there, and how far these are from the kept one.

In: candidates, which `library` finds from numbers alone. Out: the files of each cluster, of which `groups` makes groups
about which all is decided; and, at the end, the values that are measured for those that somebody reads.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import NamedTuple

from dupwatchd.db.answers import Copy, Look
from dupwatchd.model import Verdict
from dupwatchd.serve.ignored import NONE_IGNORED, IgnoredPairs
from dupwatchd.serve.plan_policy import Policy
from dupwatchd.serve.results import Cluster, ClusterFile, FoundFile
from dupwatchd.serve.spare import OtherName

Pair = tuple[int, int]  # pictures


class Measured(NamedTuple):
    """How far two pictures are apart."""

    mse: float
    structure: float
    turn: int  # degrees by which the second must be turned to show the first
    mirrored: bool
    custom: float = 0.0  # by the user's own measure, if that is asked for


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
    details: bool = False  # whether clusters tell more of each file
    holding: frozenset[bytes] | None = None  # only clusters that hold one of these files; None: all
    ignored: IgnoredPairs = NONE_IGNORED  # pairs of contents that do not belong together, whatever a look says

    @property
    def joining(self) -> frozenset[Verdict] | None:
        """The verdicts that join two pictures; None for a measure of the user's own, which joins by its value alone."""
        return None if self.measure == "custom" else self.verdicts

    def joins(self, look: Look) -> bool:
        """Do two pictures belong together by what a look at them has found?"""
        value = look.mse if self.measure == "mse" else look.structure
        return look.verdict in self.verdicts and value <= self.threshold and look.mirrored <= self.mirrored


@dataclass(frozen=True, slots=True)
class LiveChecks:
    """What the index does not know: how thumbnails compare, and how the files are at this moment."""

    measure_pairs: Callable[[list[Pair], str, bool], list[Measured]]  # pairs, measure, mirrored allowed
    is_there: Callable[[Copy], bool]
    other_names: Callable[[Sequence[Copy]], list[OtherName | None]]  # for each the earlier one that is the same file


@dataclass(frozen=True, slots=True)
class ClusterCandidate:
    """Pictures that belong together by a question, or one picture of one content; and their files."""

    pictures: set[int]
    copies: list[Copy]  # their files, as the index knows them
    looks: list[Look]  # at pairs of them
    without_proof: set[int]  # those of the pictures of which only equal bytes are copies
    matches: Callable[[], list[Pair]]  # all that join them; only asked if a file is missing


@dataclass(slots=True)
class LookedAt:
    """A cluster in which nobody has measured yet how far the files are from the kept one; see `measured`."""

    cluster: Cluster
    pictures: list[int]  # of each file; empty once it was measured

    @property
    def order_key(self) -> tuple[int, str, bytes]:
        """Clusters of an answer are in this order."""
        return -self.cluster["reclaimable_bytes"], self.cluster["id"], self.cluster["files"][0]["path"]


def measured(found: Sequence[LookedAt], question: Question, live_checks: LiveChecks) -> list[Cluster]:
    """The clusters as in the JSON of `scan`, paths as bytes, each measured once: many are looked at to show a few."""
    new = [one for one in found if one.pictures]
    pairs = sorted({(one.pictures[0], other) for one in new for other in one.pictures[1:]})
    values = dict(zip(pairs, _measured(pairs, question, live_checks), strict=True))
    for one in new:
        for row, picture in zip(one.cluster["files"][1:], one.pictures[1:], strict=True):
            _set_values(row, values[one.pictures[0], picture], question)
        one.pictures = []
    return [one.cluster for one in found]


def _set_values(row: ClusterFile, value: Measured, question: Question) -> None:
    row["mse"], row["structure"], row["turn"], row["mirrored"] = value[:4]
    if question.measure == "custom":
        row["custom"] = value.custom if isfinite(value.custom) else None


def parts_as_indexed(copies: list[Copy], question: Question) -> list[list[Copy]]:
    """The groups as which the files of a candidate are to be shown, if all of them are there."""
    return [files for files in question.ignored.parts(copies) if is_asked_for(files, question)]


def is_asked_for(files: list[Copy], question: Question) -> bool:
    """Are these files a cluster that is asked for?"""
    if len(files) < 2:
        return False
    if question.holding is not None and not any(copy.path in question.holding for copy in files):
        return False
    if question.touching is None:
        return True
    prefixes = tuple(folder.rstrip(b"/") + b"/" for folder in question.touching)
    return any(copy.path.startswith(prefixes) for copy in files)


def _measured(pairs: list[Pair], question: Question, live_checks: LiveChecks) -> list[Measured]:
    """How far the pictures of each pair are apart; one picture is not far from itself, whatever it shows."""
    apart = [(a, b) for a, b in pairs if a != b]
    values = iter(live_checks.measure_pairs(apart, question.measure, question.mirrored) if apart else ())
    return [next(values) if a != b else ITSELF for a, b in pairs]


def parts_of(candidate: ClusterCandidate, question: Question, live_checks: LiveChecks) -> list[list[Copy]]:
    """The files that are there, in one part for each set of pictures that is still joined, and is not to be apart.

    A file that is not there is left out, and joins nothing: there may be several parts, or none. The files joined do
    not depend on the order in which they were indexed.
    """
    present = [copy for copy in candidate.copies if live_checks.is_there(copy)]
    alive = {copy.picture_id for copy in present}
    if len(alive) == len(candidate.pictures):
        return question.ignored.parts(present)
    if question.joining is None:
        joined = _rejoined(alive, candidate.matches(), question, live_checks)
    else:
        # Two pictures belong together only if somebody has looked at them, so nothing is found by measuring.
        joined = iter(_connected(alive, ((look.a, look.b) for look in candidate.looks if question.joins(look))))
    parts = [[copy for copy in present if copy.picture_id in part] for part in joined]
    return [files for part in parts for files in question.ignored.parts(part)]


def _rejoined(alive: set[int], matches: list[Pair], question: Question, live_checks: LiveChecks) -> Iterator[set[int]]:
    """The pictures by what joins them by the user's own measure, when the others of the cluster are gone.

    Two of them may match without a stored match, if those that are gone joined them as well. So what falls apart is
    measured: each picture of a part with those of all other parts, until nothing more is within reach.
    """
    apart = _connected(alive, matches)
    while apart:
        part, *apart = apart
        reached = sorted(part)
        while reached and apart:
            picture = reached.pop()
            pairs = [(picture, other) for others in apart for other in sorted(others)]
            values = _measured(pairs, question, live_checks)
            near = {
                other
                for (_, other), measured in zip(pairs, values, strict=True)
                if measured.custom <= question.threshold
            }
            joining = set().union(*(others for others in apart if others & near))
            apart = [others for others in apart if not others & near]
            reached += sorted(joining)
            part |= joining
        yield part


def _connected(pictures: set[int], matches: Iterable[Pair]) -> list[set[int]]:
    """Pictures by the part they are joined to, by those of the matches that join two of them."""
    part_of = {picture: {picture} for picture in pictures}
    for a, b in matches:
        if a not in part_of or b not in part_of:
            continue
        small, large = sorted((part_of[a], part_of[b]), key=len)
        if small is not large:
            large |= small
            part_of.update(dict.fromkeys(small, large))
    return list({id(part): part for part in part_of.values()}.values())


def found_file(copy: Copy, measured: Measured, verdict: Verdict | None) -> FoundFile:
    """A file, how far it is from another one, and what it is to it, as in answers."""
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
    }
