"""Looks at clusters: which of their files are there, which one to keep, what goes, and how far the others are from it.

In: candidates, which `library` finds from numbers alone. Out: groups of files about which all is decided, and the rows
of `clusters` made of them; those of `plan` are made in `plan_groups`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import NamedTuple

from dupwatchd.db.answers import Copy, Look
from dupwatchd.model import Verdict
from dupwatchd.serve.ignored import NONE_IGNORED, IgnoredPairs
from dupwatchd.serve.keep import KeepOrder
from dupwatchd.serve.plan_policy import Pin, Policy
from dupwatchd.serve.results import Cluster, ClusterFile, FoundFile
from dupwatchd.serve.spare import Decided, Looks, OtherName, decide

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


@dataclass(frozen=True, slots=True)
class Group:
    """The files of one cluster that are there, and what was decided of them."""

    copies: list[Copy]  # the one to keep first; the next ones as well
    reasons: list[str]
    other_names: list[OtherName | None]
    decided: Decided
    looks: Looks
    order: KeepOrder

    @property
    def id(self) -> str:
        """The first bytes of the smallest digest of a content."""
        return min(copy.content_digest for copy in self.copies).hex()[:16]

    def freed_bytes(self, *, with_asked: bool = False) -> int:
        """What is won, each file counted once; ``with_asked``: as if nobody had to look at it first."""
        if self.decided.asked and not with_asked:
            return 0
        decided = zip(self.copies, self.decided.files, self.other_names, strict=True)
        return sum(copy.size_bytes for copy, one, other in decided if one.held_by is not None and other is None)


def groups_of(candidates: Sequence[ClusterCandidate], question: Question, live_checks: LiveChecks) -> list[list[Group]]:
    """For each candidate the groups that it is.

    A file that is not there is left out, and joins nothing: there may be several groups, or none. The files joined
    do not depend on the order in which they were indexed, and neither does anything else here.
    """
    return [
        [
            _group(files, candidate, question, live_checks)
            for joined in _parts(candidate, question, live_checks)
            for files in question.ignored.parts(joined)
            if _counts(files, question)
        ]
        for candidate in candidates
    ]


def as_clusters(groups: Sequence[Group], question: Question) -> list[LookedAt]:
    """Groups as rows of the answer, not measured yet."""
    return [LookedAt(_cluster(group, question), [copy.picture_id for copy in group.copies]) for group in groups]


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


def _group(files: list[Copy], candidate: ClusterCandidate, question: Question, live_checks: LiveChecks) -> Group:
    policy = question.policy
    looks = Looks(
        candidate.looks,
        mirrored=question.mirrored,
        without_proof=candidate.without_proof,
        ignored=question.ignored,
    )
    nearer = list(looks.nearer())
    pins = _pins(files, policy)
    while True:
        order = KeepOrder(files, nearer, policy.rules, pins)
        copies = [kept.copy for kept in order.kept]
        other_names = live_checks.other_names(copies)
        with_all_names = _of_all_names(copies, other_names, pins)
        if len(with_all_names) == len(pins):
            break
        pins = with_all_names  # which puts other files first
    decided = decide(copies, other_names, looks, policy, [pins.get(copy.path) for copy in copies])
    return Group(copies, [kept.reason for kept in order.kept], other_names, decided, looks, order)


def _pins(files: list[Copy], policy: Policy) -> dict[bytes, Pin]:
    """Why files stay whatever else there is, by path."""
    if not policy.pins:
        return {}
    return {copy.path: pin for copy in files if (pin := policy.pin(copy.path)) is not None}


def _of_all_names(
    copies: Sequence[Copy], other_names: Sequence[OtherName | None], pins: Mapping[bytes, Pin]
) -> dict[bytes, Pin]:
    """The pins, also for the other names of the files that have one: all names of one file stay together."""
    if not pins:
        return {}
    first = list(range(len(copies)))  # of the names of each file
    for place, other in enumerate(other_names):
        if other is not None:
            first[place] = first[other.place]
    of_file: dict[int, Pin] = {}
    for place, copy in enumerate(copies):
        if copy.path in pins:
            of_file.setdefault(first[place], pins[copy.path])
    return {
        copy.path: pins.get(copy.path, of_file[first[place]])
        for place, copy in enumerate(copies)
        if first[place] in of_file
    }


def parts_as_indexed(copies: list[Copy], question: Question) -> list[list[Copy]]:
    """The groups as which the files of a candidate are to be shown, if all of them are there."""
    return [files for files in question.ignored.parts(copies) if _counts(files, question)]


def _counts(files: list[Copy], question: Question) -> bool:
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


def _parts(candidate: ClusterCandidate, question: Question, live_checks: LiveChecks) -> list[list[Copy]]:
    """The files that are there, in one part for each set of pictures that is still joined."""
    present = [copy for copy in candidate.copies if live_checks.is_there(copy)]
    alive = {copy.picture_id for copy in present}
    if len(alive) == len(candidate.pictures):
        return [present]
    if question.joining is None:
        joined = _rejoined(alive, candidate.matches(), question, live_checks)
    else:
        # Two pictures belong together only if somebody has looked at them, so nothing is found by measuring.
        joined = iter(_connected(alive, ((look.a, look.b) for look in candidate.looks if question.joins(look))))
    return [[copy for copy in present if copy.picture_id in part] for part in joined]


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


def _cluster(group: Group, question: Question) -> Cluster:
    kept = group.copies[0]
    rows: list[ClusterFile] = []
    for place, (copy, other) in enumerate(zip(group.copies, group.other_names, strict=True)):
        told = group.looks.told(kept, copy)
        row: ClusterFile = {
            **found_file(copy, ITSELF, told.verdict),
            "confirmed": told.confirmed,
            "same_file_as": None if other is None else group.copies[other.place].path,
            "damaged": copy.damaged,
            "may_go": group.decided.files[place].goes,
            "keep": copy is kept,
            "reason": group.reasons[place] if other is None else named_reason(other),
        }
        if question.measure == "custom":
            row["custom"] = ITSELF.custom
        rows.append(row)
    return {"id": group.id, "reclaimable_bytes": group.freed_bytes(), "files": rows}


def named_reason(other: OtherName) -> str:
    """Why a file that has another name above is there."""
    what = "the kept file" if other.place == 0 else "a file above"
    return f"{other.how.value} {what}"


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
