"""The shapes of what `scan` and the service answer; paths are bytes. PROTOCOL.md says what they mean."""

from typing import NotRequired, TypedDict

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


class ClusterFile(FoundFile):
    """A file of a cluster."""

    verdict: str | None  # "identical": its bytes are those of the kept file; None: not told
    same_file_as: Path | None  # an earlier file of the cluster of which this is another name (a hard link)
    keep: bool
    reason: str


class Cluster(TypedDict):
    """Files that show one picture, the one to keep first."""

    id: str
    reclaimable_bytes: int
    files: list[ClusterFile]


class Completeness(TypedDict):
    """Whether an answer holds all that there is, and if not, why."""

    complete: bool
    pending: int
    incomplete_because: list[str]  # lines for a person; empty if it is complete


class ClustersResult(Completeness):
    """The result of `clusters`."""

    measure: str
    threshold: float
    total_clusters: int
    clusters: list[Cluster]
    revision: int


class FindResult(Completeness):
    """The result of `find`."""

    measure: str
    threshold: float
    copies: list[FoundFile]


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


class StatusResult(TypedDict):
    """The result of `status`."""

    state: str
    files: int
    failed: int
    pending: int
    pictures: int
    matches: int
    roots: list[RootResult]
    problems: list[str]
    progress: NotRequired[ProgressResult]
