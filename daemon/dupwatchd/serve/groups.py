"""Decides about groups of files: which one to keep, and which ones go for the sake of which.

In: candidates, which `library` finds from numbers alone. Out: groups about which all is decided, and the rows of
`clusters` made of them; those of a plan are made in `plan_groups`.

Files of one shot are in one group, or in several. None of them goes without the others, so groups that share a shot are
decided together: what would go without its family is pinned, and all is decided again until nothing would.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from dupwatchd.db.answers import Copy
from dupwatchd.serve.clusters import (
    ITSELF,
    ClusterCandidate,
    LiveChecks,
    LookedAt,
    Question,
    found_file,
    is_asked_for,
)
from dupwatchd.serve.filters_parts import parts_of
from dupwatchd.serve.keep import KeepOrder
from dupwatchd.serve.lacks import names_held
from dupwatchd.serve.plan_families import NO_FAMILIES, Families
from dupwatchd.serve.plan_policy import Pin, Policy
from dupwatchd.serve.results import Cluster, ClusterFile
from dupwatchd.serve.spare import Decided, Looks, OtherName, decide


@dataclass(slots=True)
class Group:
    """The files of one cluster that are there, and what was decided of them."""

    copies: list[Copy]  # in the order in which they would be kept
    reasons: list[str]
    other_names: list[OtherName | None]
    decided: Decided
    looks: Looks
    order: KeepOrder
    paired: list[bool]  # whether it is a RAW photo with a picture beside it, or such a picture

    @property
    def id(self) -> str:
        """The first bytes of the smallest digest of a content."""
        return min(copy.content_digest for copy in self.copies).hex()[:16]

    @property
    def going(self) -> list[Copy]:
        """The files that go."""
        return [copy for copy, one in zip(self.copies, self.decided.files, strict=True) if one.goes]

    def freed_bytes(self, *, with_asked: bool = False) -> int:
        """What is won, each file counted once; ``with_asked``: as if nobody had to look at it first."""
        if self.decided.asked and not with_asked:
            return 0
        decided = zip(self.copies, self.decided.files, self.other_names, strict=True)
        return sum(copy.size_bytes for copy, one, other in decided if one.held_by is not None and other is None)


@dataclass(slots=True)
class _Draft:
    """A group that may have to be decided again."""

    candidate: int
    files: list[Copy]
    looks: Looks
    group: Group
    of_family: dict[bytes, Pin] = field(default_factory=dict)  # files that stay because one of their shot does


def groups_of(
    candidates: Sequence[ClusterCandidate],
    question: Question,
    live_checks: LiveChecks,
    families: Families = NO_FAMILIES,
) -> list[list[Group]]:
    """For each candidate the groups that it is and that are asked for; there may be several, or none.

    With ``families``, all candidates that share a shot with one of these must be among them. The order of files and
    candidates does not matter.
    """
    drafts = [
        _Draft(place, files, looks, _group(files, looks, question.policy, live_checks, families))
        for place, candidate in enumerate(candidates)
        for looks in [_looks_of(candidate, question)]
        for files in parts_of(candidate, question, live_checks)
        if len(files) > 1 and (families or is_asked_for(files, question))
    ]
    if families:
        _settle(drafts, question.policy, live_checks, families)
    found: list[list[Group]] = [[] for _ in candidates]
    for draft in drafts:
        if is_asked_for(draft.files, question):
            found[draft.candidate].append(draft.group)
    return found


def _looks_of(candidate: ClusterCandidate, question: Question) -> Looks:
    return Looks(
        candidate.looks,
        mirrored=question.mirrored,
        without_proof=candidate.without_proof,
        ignored=question.ignored,
        joining=question.verdicts,
        of_contents=candidate.of_contents,
    )


def _settle(drafts: Sequence[_Draft], policy: Policy, live_checks: LiveChecks, families: Families) -> None:
    """Decide again until no file goes without its family; each turn pins some more, so it ends.

    First those are pinned of whose shot a file stays for certain. If there are none, the other file may as well have
    been the one to go: then one is pinned, the first by its path, of all groups that are joined by shots.
    """
    joined = _joined_by_shots(drafts, families)
    while split := _split_shots(drafts, live_checks, families):
        certain = {joined[number] for number, _, is_certain in split if is_certain}
        seen: set[int] = set()
        changed: set[int] = set()
        for number, path, is_certain in sorted(split, key=lambda one: one[1]):
            if is_certain or not (joined[number] in certain or joined[number] in seen):
                drafts[number].of_family[path] = Pin.FAMILY
                changed.add(number)
                seen.add(joined[number])
        for number in changed:
            draft = drafts[number]
            draft.group = _group(draft.files, draft.looks, policy, live_checks, families, draft.of_family)


def _joined_by_shots(drafts: Sequence[_Draft], families: Families) -> list[int]:
    """For each group a number that is equal for those that share shots, directly or through others."""
    home = {copy.path: number for number, draft in enumerate(drafts) for copy in draft.files}
    joined = list(range(len(drafts)))

    def first(number: int) -> int:
        while joined[number] != number:
            number = joined[number]
        return number

    for path, number in home.items():
        for other in families.beside(path):
            if other.path in home:
                low, high = sorted((first(number), first(home[other.path])))
                joined[high] = low
    return [first(number) for number in range(len(drafts))]


def _split_shots(
    drafts: Sequence[_Draft], live_checks: LiveChecks, families: Families
) -> list[tuple[int, bytes, bool]]:
    """The files that go although one of their shot stays, with the number of their group, and whether that is certain.

    But for those that go for one of the shot itself.
    """
    going = {copy.path for draft in drafts for copy in draft.group.going}
    open_still = {
        copy.path
        for draft in drafts
        for copy, one in zip(draft.group.copies, draft.group.decided.files, strict=True)
        if one.pin is None
    }
    found = []
    for number, draft in enumerate(drafts):
        for copy, one in zip(draft.group.copies, draft.group.decided.files, strict=True):
            if not one.goes or one.held_by is None:
                continue
            if families.is_one_shot(copy.path, draft.group.copies[one.held_by].path):
                continue
            beside = families.beside(copy.path)
            staying = [other for other in beside if other.path not in going and live_checks.is_there(other)]
            if staying:
                found.append((number, copy.path, any(other.path not in open_still for other in staying)))
    return found


def _group(
    files: list[Copy],
    looks: Looks,
    policy: Policy,
    live_checks: LiveChecks,
    families: Families,
    of_family: Mapping[bytes, Pin] | None = None,
) -> Group:
    nearer = list(looks.nearer(files))
    pins = {**(of_family or {}), **_pins(files, policy)}
    while True:
        order = KeepOrder(files, nearer, policy.rules, _ahead(pins, policy), live_checks.has_sidecar)
        copies = [kept.copy for kept in order.kept]
        other_names = live_checks.other_names(copies)
        with_all_names = _of_all_names(copies, other_names, pins)
        if with_all_names == pins:
            break
        pins = with_all_names  # which puts other files first
    paired = _paired(copies, other_names, families)
    by_rules = list(range(len(copies)))
    if pins:
        unpinned = KeepOrder(files, nearer, policy.rules, has_sidecar=live_checks.has_sidecar).kept
        places = {kept.copy.path: place for place, kept in enumerate(unpinned)}
        by_rules = [places[copy.path] for copy in copies]
    pinned = [pins.get(copy.path) for copy in copies]
    decided = decide(copies, other_names, looks, policy, pinned, paired, by_rules)
    return Group(copies, [kept.reason for kept in order.kept], other_names, decided, looks, order, paired)


def _pins(files: list[Copy], policy: Policy) -> dict[bytes, Pin]:
    """Why files stay whatever else there is, by path."""
    if not policy.pins:
        return {}
    return {copy.path: pin for copy in files if (pin := policy.pin(copy.path)) is not None}


def _of_all_names(
    copies: Sequence[Copy], other_names: Sequence[OtherName | None], pins: Mapping[bytes, Pin]
) -> dict[bytes, Pin]:
    """The pins, also for the other names of the files that have one: all names of a file have the strongest of them."""
    if not pins:
        return {}
    first = _first_names(other_names)
    of_file: dict[int, Pin] = {}
    for place, copy in enumerate(copies):
        if copy.path in pins:
            known = of_file.get(first[place], pins[copy.path])
            of_file[first[place]] = min(known, pins[copy.path], key=lambda pin: pin.rank)
    return {copy.path: of_file[first[place]] for place, copy in enumerate(copies) if first[place] in of_file}


def _ahead(pins: Mapping[bytes, Pin], policy: Policy) -> dict[bytes, int]:
    """In which order the files that stay in any case come; what somebody chose comes first of all."""
    return {path: -1 if path in policy.keep_files else pin.rank for path, pin in pins.items()}


def _paired(copies: Sequence[Copy], other_names: Sequence[OtherName | None], families: Families) -> list[bool]:
    """Whether a RAW photo and a picture beside it are one shot, for each file; so it is for all names of a file."""
    if not families:
        return [False] * len(copies)
    first = _first_names(other_names)
    paired = {first[place] for place, copy in enumerate(copies) if families.beside(copy.path)}
    return [first[place] in paired for place in range(len(copies))]


def _first_names(other_names: Sequence[OtherName | None]) -> list[int]:
    """For each file the place of the first of its names."""
    first: list[int] = []
    for place, other in enumerate(other_names):
        first.append(place if other is None else first[other.place])
    return first


def as_clusters(groups: Sequence[Group], question: Question, value: Callable[[Group], int]) -> list[LookedAt]:
    """Groups as rows of the answer, not measured yet; ``value``: by which they are put in order, larger ones first."""
    return [
        LookedAt(
            _cluster(group, question),
            [copy.picture_id for copy in group.copies],
            [group.looks.turn(copy, group.copies[0]) for copy in group.copies],
            value(group),
        )
        for group in groups
    ]


def _cluster(group: Group, question: Question) -> Cluster:
    kept = group.copies[0]
    rows: list[ClusterFile] = []
    for place, (copy, other) in enumerate(zip(group.copies, group.other_names, strict=True)):
        told = group.looks.told(kept, copy)
        shows_more, part = group.looks.part(copy, kept)
        decision = group.decided.files[place]
        row: ClusterFile = {
            # it holds no details:
            **found_file(copy, ITSELF, told.verdict, part, shows_more=shows_more),  # type: ignore[typeddict-item]
            "confirmed": told.confirmed,
            "same_file_as": None if other is None else group.copies[other.place].path,
            "damaged": copy.damaged,
            "may_go": decision.goes,
            "held_by": None if decision.held_by is None else group.copies[decision.held_by].path,
            "keep": copy is kept,
            "reason": group.reasons[place] if other is None else named_reason(other),
        }
        if question.measure == "custom":
            row["custom"] = ITSELF.custom
        if question.details:
            _add_details(row, copy)
        rows.append(row)
    return {"id": group.id, "reclaimable_bytes": group.freed_bytes(), "files": rows}


def _add_details(row: ClusterFile, copy: Copy) -> None:
    row["digest"], row["mtime_ns"], row["format"] = copy.content_digest, copy.mtime_ns, copy.format
    row["camera"], row["captured"], row["has_place"] = copy.camera, copy.captured, bool(copy.has_place)
    row["rating"], row["frames"], row["quality"] = copy.rating, copy.frames, copy.quality
    row["keywords"], row["captions"], row["people"] = map(_lines, (copy.keywords, copy.captions, copy.people))
    row["bits"], row["transparent"], row["holds"] = copy.bits, bool(copy.transparent), names_held(copy)


def _lines(text: str | None) -> list[str]:
    return text.split("\n") if text else []


def named_reason(other: OtherName) -> str:
    """Why a file that has another name above is there."""
    what = "the kept file" if other.place == 0 else "a file above"
    return f"{other.how.value} {what}"
