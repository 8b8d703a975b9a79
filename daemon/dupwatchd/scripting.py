"""dupwatch for those who script: a service that runs, or an index of one's own, asked in Python.

    from dupwatchd.scripting import open_service, open_state

    with open_state("index", ["photos", "phone"]) as photos:
        for cluster in photos.clusters(): ...
        for pair in photos.pairs(measure="mse", threshold=10): ...
        copies = photos.find("new.jpg")

In: folders, questions. Out: dictionaries whose shapes are in `dupwatchd.serve.results`; paths are bytes. An index of
one's own is kept by a service that runs as long as it is open: so both give the same answers. Raises
`dupwatch.errors.ClientError`. docs/scripting.md has examples.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypedDict, Unpack, cast

from dupwatch.client import Client
from dupwatch.errors import WrongUsageError
from dupwatch.pages import all_clusters, all_failures, all_pairs
from dupwatch.private_service import private_service
from dupwatch.sending import find_stream, opened, suffix_of
from dupwatch.waiting import wait_until_idle
from dupwatchd.serve.results import Cluster, FoundCopy, FoundPair

Path = str | bytes


class Question(TypedDict, total=False):
    """What counts as a copy, and which groups and pairs are meant; each as the flag of `dupwatch clusters`."""

    measure: str
    threshold: float
    mirrored: bool
    also: Sequence[str]  # verdicts beside identical and same
    under: Path
    min_files: int
    sort: Literal["bytes", "files", "folder", "date"]
    exact: bool
    same_size: bool
    aspect: float
    across: Sequence[Path]
    against: Sequence[Path]
    upright: bool  # `--no-rotate`
    linkage: Literal["transitive", "star", "complete"]
    within_folder: Literal["root", "each"]


_ALL_VERDICTS = ("cropped", "retouched", "recoloured", "similar")


class Photos:
    """What a service knows of its photos. Belongs to one thread."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def status(self) -> dict[str, Any]:
        """How many files, pictures and matches there are, and how far the service is."""
        return self._client.request("status")

    def scan(self, folder: Path | None = None) -> None:
        """Look again through a folder that is watched, or through all, and return once nothing is pending."""
        self._client.request("rescan", dir=None if folder is None else _bytes(folder))
        self.wait()

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Wait until nothing is pending; False if the time was not enough."""
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        answer = wait_until_idle(lambda: Client(self._client.endpoint), deadline, lambda _: None)
        return bool(answer["idle"])

    def clusters(self, **question: Unpack[Question]) -> Iterator[Cluster]:
        """Yield the groups of copies, the one that frees most bytes first."""
        document = all_clusters(self._client, _arguments(question), None, 0)
        yield from cast("list[Cluster]", document["clusters"])

    def pairs(self, **question: Unpack[Question]) -> Iterator[FoundPair]:
        """Yield the pairs of copies, with both distances and the verdict."""
        _, pairs = all_pairs(self._client, _arguments(question), None, 0)
        yield from cast("Iterator[FoundPair]", pairs)

    def matches(self, **question: Unpack[Question]) -> Iterator[FoundPair]:
        """Yield all pairs that are near enough, whatever their verdict."""
        question["also"] = _ALL_VERDICTS
        yield from self.pairs(**question)

    def find(self, path: Path) -> list[FoundCopy]:
        """Return the files that show what this one does, which need not be among them; the best one first.

        Raises OSError if the file cannot be read, RequestFailedError if it is no picture.
        """
        name = _bytes(path)
        with opened(name) as stream:
            answer = find_stream(self._client, stream, suffix_of(name), {})
        return cast("list[FoundCopy]", answer["copies"])

    def failed(self) -> dict[bytes, str]:
        """Which files could not be read, and why."""
        return {one["path"]: one["error"] for one in all_failures(self._client)["failed"]}


@contextmanager
def open_service(endpoint: str | None = None) -> Iterator[Photos]:
    """Give the photos of a service that runs: at this endpoint, else where `dupwatch` looks for it."""
    with Client(endpoint) as client:
        client.request("version")
        yield Photos(client)


@contextmanager
def open_state(state: Path, folders: Sequence[Path]) -> Iterator[Photos]:
    """Give the photos below some folders, read and compared; the index is kept in a state directory for the next time.

    While it is open it is kept current. Raises WrongUsageError for what is no folder, ClientError if the state
    directory is in use or cannot be used.
    """
    for folder in folders:
        if not os.path.isdir(folder):
            raise WrongUsageError(f"no such folder: {os.fsdecode(folder)}")
    roots = [word for folder in folders for word in ("--root", os.fsencode(folder))]
    with private_service(os.fsencode(state), *roots) as endpoint, Client(endpoint) as client:
        photos = Photos(client)
        photos.wait()
        yield photos


def _arguments(question: Question) -> dict[str, Any]:
    """A question as the protocol has it."""
    asked: dict[str, Any] = dict(question)
    if "also" in asked:
        asked["also"] = ",".join(asked["also"])
    if "under" in asked:
        asked["under"] = _bytes(asked["under"])
    for name in ("across", "against"):
        if name in asked:
            asked[name] = [_bytes(folder) for folder in asked[name]]
    return asked


def _bytes(path: Path) -> bytes:
    return os.path.realpath(os.fsencode(path))
