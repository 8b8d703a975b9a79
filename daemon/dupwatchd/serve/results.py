"""The shapes of what `scan` and the service answer; paths are bytes. PROTOCOL.md says what they mean."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, NotRequired, TypedDict

from dupwatchd.model import Verdict

Path = bytes  # a name of its own, for `bytes` is also a key below


class FoundFile(TypedDict):
    """A file beside the one that it is compared with: the kept one of its cluster, or the one asked for."""

    path: Path
    bytes: int
    width: int  # px, upright
    height: int
    mse: float
    structure: float
    custom: NotRequired[float | None]  # only if the user's own measure was asked for; None: out of its range
    turn: int  # degrees
    mirrored: bool
    verdict: str | None  # what it is to that one, see `model.Verdict`; None: they were not looked at
    shows_more: bool | None  # than that one, or the same within a frame; None: neither does, or it is not known
    outline: list[tuple[float, float]] | None  # corners of the one that shows less in the other, as fractions of it


class ClusterFile(FoundFile):
    """A file of a cluster."""

    confirmed: bool | None  # the verdict, by a closer look; None: there was none, or it could not tell
    same_file_as: Path | None  # an earlier file of the cluster of which this is another name, or may be
    damaged: bool  # it could be read only in part
    may_go: bool  # a file that stays holds all that it shows, for certain
    held_by: Path | None  # that file; also if nothing goes, for a person has to look first
    keep: bool
    reason: str
    # only if details are asked for:
    digest: NotRequired[Path]  # BLAKE3 of the whole file, 32 bytes
    mtime_ns: NotRequired[int]
    format: NotRequired[str]
    camera: NotRequired[str]  # empty: not known
    captured: NotRequired[str]  # as ISO 8601; empty: not known
    has_place: NotRequired[bool]
    rating: NotRequired[int]  # stars; 0: none
    keywords: NotRequired[list[str]]
    captions: NotRequired[list[str]]  # titles, descriptions and comments
    people: NotRequired[list[str]]
    bits: NotRequired[int]  # a colour of a pixel has in the file
    transparent: NotRequired[bool]  # something behind the picture could be seen
    holds: NotRequired[list[str]]  # what the file holds beside the picture: film, map of depth
    frames: NotRequired[int]  # or pages
    quality: NotRequired[int]  # of a JPEG, 1 … 100; 0: not known


class FoundCopy(FoundFile):
    """A file that shows the picture asked for, or something like it."""

    lacks: str | None  # what it shows less of, in words: "smaller"; None: nothing
    as_good: bool  # the file asked for can be done without


class Cluster(TypedDict):
    """Files that show one picture, the one to keep first."""

    id: str
    reclaimable_bytes: int
    files: list[ClusterFile]


class FoundPair(TypedDict):
    """Two files of a cluster that are linked directly."""

    cluster: str  # its id
    first: Path
    second: Path
    mse: float
    structure: float
    custom: NotRequired[float | None]  # as in `FoundFile`
    turn: int  # degrees by which the second must be turned to show the first
    mirrored: bool
    verdict: str | None
    confirmed: bool | None


class PlannedFile(TypedDict):
    """A file of a group of a plan."""

    path: Path
    bytes: int
    mtime_ns: int
    device: int
    inode: int
    digest: Path  # BLAKE3 of the whole file, 32 bytes
    format: str
    width: int
    height: int
    goes: bool
    held_by: Path | None  # the file that stays and holds all that this one shows; of one that stays: None
    verdict: str | None  # what it is to that one, or to the kept file
    confirmed: bool | None
    reason: str
    lacks: list[str]  # what held_by lacks that this one has
    same_file_as: Path | None
    pinned: str | None  # why it stays in any case


class PlannedGroup(TypedDict):
    """Files of which some go, or would if a person had looked at them."""

    id: str
    asked: str | None  # why a person has to look at it first
    files: list[PlannedFile]


class FolderCount(TypedDict):
    """A folder that a policy names, and how many files of the index lie below it."""

    path: Path
    files: int


class MarkedFile(ClusterFile):
    """A file of a cluster, with what is remembered of it."""

    choice: str | None  # what somebody wants to become of it: "keep" or "go"
    returned: bool  # its content was removed as a duplicate, and has turned up again


class MarkedCluster(TypedDict):
    """A cluster, with what is remembered of its files."""

    id: str
    reclaimable_bytes: int
    files: list[MarkedFile]


class Completeness(TypedDict):
    """Whether an answer holds all that there is, and if not, why."""

    complete: bool
    pending: int
    incomplete_because: list[str]  # lines for a person; empty if it is complete


class ClustersResult(Completeness):
    """The result of `clusters`."""

    measure: str
    threshold: float
    verdicts: list[str]
    also: dict[str, int]  # further groups, by the verdict that would have to be asked for as well
    ignored_groups: int  # groups that are not shown because somebody said that they are no duplicates
    ask_when: list[str]  # what makes a group one that a person has to look at, as in `PlanResult`
    total_clusters: int
    clusters: list[MarkedCluster]
    revision: int


class PairsResult(Completeness):
    """The result of `pairs`."""

    measure: str
    threshold: float
    verdicts: list[str]
    total_pairs: int
    pairs: list[FoundPair]
    revision: int


class PlanResult(Completeness):
    """The result of `plan`."""

    groups: list[PlannedGroup]
    total_groups: int
    rules: list[str]
    protected: list[FolderCount]
    reference: list[FolderCount]
    roots: list[Path]
    verdicts: list[str]
    ask_when: list[str]
    revision: int


class FindResult(Completeness):
    """The result of `find`."""

    measure: str
    threshold: float
    copies: list[FoundCopy]


class IgnoredPair(TypedDict):
    """Two contents that are not duplicates."""

    digests: list[bytes]
    paths: list[list[Path]]  # some of the files that have these bytes now
    made_at: int  # seconds since 1970


class IgnoredResult(TypedDict):
    """The result of `ignored`."""

    total: int
    ignored: list[IgnoredPair]


class PreviewResult(TypedDict):
    """The result of `preview`."""

    data: bytes
    type: str
    preview_width: int  # px
    preview_height: int
    width: int  # px, of the picture in the file, upright
    height: int
    frame: int
    frames: int


class FailedFile(TypedDict):
    """A file that could not be read."""

    path: Path
    error: str


class FailedResult(Completeness):
    """The result of `failed`."""

    total: int
    failed: list[FailedFile]


class WaitResult(TypedDict):
    """The result of `wait`."""

    idle: bool
    pending: int


class RootResult(TypedDict):
    """A root in the result of `status`."""

    path: Path
    state: str
    watched: str


class ProgressResult(TypedDict):
    """How far the work is, in the result of `status`."""

    stage: str
    done: int
    total: int | None
    unit: str
    rate: float | None  # per second
    seconds_left: float | None


class MachineResult(TypedDict):
    """A machine of the cluster, in the result of `status`."""

    name: str
    state: str
    since: float  # seconds since 1970
    files: int
    because: NotRequired[str]


class ClusterResult(TypedDict):
    """How it is with the cluster, in the result of `status`."""

    scheduler: str
    connected: bool
    line: str
    files_here: int
    total_machines: int
    machines: list[MachineResult]


class StatusResult(TypedDict):
    """The result of `status`."""

    state: str
    files: int
    failed: int
    pending: int
    pictures: int
    matches: int
    to_confirm: int | None  # pairs; None: not counted yet
    roots: list[RootResult]
    problems: list[str]
    progress: NotRequired[ProgressResult]
    cluster: NotRequired[ClusterResult]


def in_words(verdicts: Iterable[Verdict]) -> list[str]:
    """Verdicts as answers name them, in their order."""
    return [verdict.value for verdict in sorted(verdicts, key=lambda one: one.code)]


def also_in_words(further: Mapping[Verdict, int]) -> dict[str, int]:
    """The key ``also`` of an answer."""
    return {verdict.value: number for verdict, number in further.items()}


class NotLookedAt(NamedTuple):
    """Pairs of pictures that lie near each other, and of which nobody knows whether they belong together."""

    yet: int  # it will be known
    left_out: int  # each of the two has so many that are nearer that only those are looked at
    too_large: int = 0  # groups in which these are not counted


def with_not_looked_at(known: Completeness, pairs: NotLookedAt) -> Completeness:
    """How complete an answer is of which so many pairs were not looked at."""
    because = [*known["incomplete_because"]]
    if pairs.yet:
        because.append(f"{_of_pictures(pairs.yet)} not looked at yet")
    if pairs.left_out:
        because.append(f"{_of_pictures(pairs.left_out)} left out: only the nearest ones of each picture are looked at")
    if pairs.too_large:
        which = "1 group is" if pairs.too_large == 1 else f"{pairs.too_large:,} groups are"
        because.append(f"{which} too large to count the pairs in it that were not looked at")
    return {**known, "complete": not because, "incomplete_because": because}


def with_not_searched(known: Completeness, pictures: int) -> Completeness:
    """How complete an answer about cropped pictures is if so many pictures were not searched for parts of others."""
    if not pictures:
        return known
    what = "1 picture was" if pictures == 1 else f"{pictures:,} pictures were"
    line = f"{what} not searched for parts of others yet"
    return {**known, "complete": False, "incomplete_because": [*known["incomplete_because"], line]}


def with_left_to_confirm(known: Completeness, pairs: int | None) -> Completeness:
    """How complete a plan is while so many pairs are still to be looked at closely; None: not counted yet."""
    if pairs == 0:
        return known
    which = "pairs" if pairs is None else f"{pairs:,} {'pair' if pairs == 1 else 'pairs'}"
    line = f"{which} of pictures that seem the same are still to be looked at closely: until then their files stay"
    return {**known, "complete": False, "incomplete_because": [*known["incomplete_because"], line]}


def _of_pictures(pairs: int) -> str:
    return f"{pairs:,} {'pair of pictures was' if pairs == 1 else 'pairs of pictures were'}"
