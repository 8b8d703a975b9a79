"""The groups of copies as the service told them, in the shape in which the page takes them.

In: pages of `clusters` and of `plan`. Out: a row of JSON text for each group, and for each content the files that
hold it. Rows are kept as bytes and paths once: 25,000 files are some 20 MB. One thread reads; what it has read does
not change any more, and a new reading takes the place of the old one as a whole.

A group is of the class of its least sure copy:

- `identical`: all files are equal byte by byte; `same`: all show one picture, for certain.
- `ask`: one picture, but of some file nobody can be certain; nothing goes unless a person says so.
- `cropped`, `retouched`, `recoloured`, `similar`: groups that are there only if that verdict is asked for as well. One
  that holds the same files as a certain group asks nothing new, and is left out: its files are near each other only.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from dupwatch.client import Client
from dupwatch.errors import ClientError
from dupwatch.families import Folders
from dupwatch.marking import mark_clusters

FIRST_GROUPS = 200  # what a person sees at once must not wait for the rest
PAGE_GROUPS = 2_000  # the service looks at those before a page again: few large pages cost less
PAGE_MAX = 10_000
ANSWER_SECONDS = 120.0
REQUEST_PATH_BYTES = 128 * 1024  # of the paths in one request; the protocol takes 256 KiB in all
REQUEST_PATHS = 1_000
LOOSE_CLASSES = ("cropped", "retouched", "recoloured", "similar")
CLASSES = ("identical", "same", *LOOSE_CLASSES, "ask")
_ONE_PICTURE = ("identical", "same")

File = Mapping[str, Any]
Planned = dict[bytes, File]  # what the plan says of a file, by its path


class HeldFile(NamedTuple):
    """A file of a group: where it lies, and how it was when it was indexed."""

    path: bytes
    digest: bytes
    bytes: int
    mtime_ns: int


class Group(NamedTuple):
    """A group of copies, the file that is kept first."""

    key: str
    kind: str  # its class
    files: tuple[HeldFile, ...]
    row: bytes  # what the page is told of it, JSON


class Library:
    """All groups of one reading of the index."""

    def __init__(self, revision: int) -> None:
        """``revision`` numbers the readings."""
        self.revision = revision
        self.groups: dict[str, Group] = {}
        self.rows: list[bytes] = []
        self.files: dict[bytes, list[HeldFile]] = {}  # by digest
        self.is_whole = False
        self.error: str | None = None  # why the reading ended early
        self._folders = Folders()
        self._certain: set[frozenset[bytes]] = set()  # the files of each certain group
        self.incomplete_because: list[str] = []
        self.ask_when: list[str] = []  # what the service leaves to a person by its settings, as in a plan

    def add(self, group: Group) -> None:
        """Take in a group; one of the same files that is there already stays."""
        if group.key in self.groups:
            return
        self.groups[group.key] = group
        self.rows.append(group.row)
        for file in group.files:
            known = self.files.setdefault(file.digest, [])
            if all(one.path != file.path for one in known):
                known.append(file)

    def read(self, client: Client) -> None:
        """Read all groups, the certain ones first; an error of the service ends it and is kept in ``error``."""
        try:
            further: dict[str, int] = {}
            for page in _pages(client, self._folders):
                further = page.get("also") or {}
                self.incomplete_because = list(page.get("incomplete_because", ()))
                self.ask_when = page["ask_when"]
                planned, asked = _planned(client, [cluster["files"][0]["path"] for cluster in page["clusters"]])
                for cluster in page["clusters"]:
                    self.add(_group(cluster, _certain_class(cluster, asked), planned, asked, self._folders))
                    self._certain.add(_paths(cluster))
            for kind in LOOSE_CLASSES:
                if further.get(kind):
                    self._read_loose(client, kind)
        except ClientError as error:
            self.error = str(error)
        self._folders = Folders()  # the names of large folders are needed no more
        self._certain = set()
        self.is_whole = True

    def _read_loose(self, client: Client, kind: str) -> None:
        for page in _pages(client, self._folders, also=kind):
            loose = [
                cluster
                for cluster in page["clusters"]
                if any(file["verdict"] not in _ONE_PICTURE for file in cluster["files"][1:])
                and _paths(cluster) not in self._certain
            ]
            planned, asked = _planned(client, [file["path"] for cluster in loose for file in cluster["files"]])
            for cluster in loose:
                self.add(_group(cluster, kind, planned, asked, self._folders))


def _pages(client: Client, folders: Folders, **question: Any) -> Iterator[dict[str, Any]]:
    """Yield the pages of the groups, in which it is marked what a plan would hold back for what lies beside it.

    What changes while they are read is read again after the event that says so.
    """
    offset = 0
    while True:
        limit = PAGE_GROUPS if offset else FIRST_GROUPS
        page = client.request("clusters", ANSWER_SECONDS, limit=limit, offset=offset, details=True, **question)
        is_all = len(page["clusters"]) == page["total_clusters"]
        mark_clusters(page["clusters"], page["ask_when"], folders, knows_all=is_all)
        yield page
        offset += len(page["clusters"])
        if not page["clusters"] or offset >= page["total_clusters"]:
            return


def _planned(client: Client, paths: Sequence[bytes]) -> tuple[Planned, dict[str, str]]:
    """Return what the default plan says of the groups that hold these files: by file, and why a person has to look."""
    planned: Planned = {}
    asked: dict[str, str] = {}
    for some in requests_of(paths):
        for group in client.request("plan", ANSWER_SECONDS, files=some, limit=PAGE_MAX)["groups"]:
            if group["asked"] is not None:
                asked[group["id"]] = group["asked"]
            planned |= {
                file["path"]: {name: file[name] for name in ("goes", "held_by", "reason", "lacks", "pinned")}
                for file in group["files"]
            }
    return planned, asked


def requests_of(paths: Sequence[bytes]) -> list[list[bytes]]:
    """Return paths in parts that fit into one request."""
    parts: list[list[bytes]] = []
    size = REQUEST_PATH_BYTES  # so that the first path begins a part
    for path in paths:
        size += len(path)
        if size > REQUEST_PATH_BYTES or len(parts[-1]) == REQUEST_PATHS:
            parts.append([])
            size = len(path)
        parts[-1].append(path)
    return parts


def _paths(cluster: Mapping[str, Any]) -> frozenset[bytes]:
    return frozenset(file["path"] for file in cluster["files"])


def _certain_class(cluster: Mapping[str, Any], asked: Mapping[str, str]) -> str:
    others = cluster["files"][1:]
    if all(file["verdict"] == "identical" for file in others):
        return "identical"
    if cluster["id"] in asked or not any(file["may_go"] or file["held_back"] for file in others):
        return "ask"
    return "same"


def _group(
    cluster: Mapping[str, Any], kind: str, planned: Planned, asked: Mapping[str, str], folders: Folders
) -> Group:
    files = cluster["files"]
    held = tuple(HeldFile(file["path"], file["digest"], file["bytes"], file["mtime_ns"]) for file in files)
    key = cluster["id"] if kind not in LOOSE_CLASSES else f"{cluster['id']}-{kind}"
    row = {
        "key": key,
        "kind": kind,
        "asked": asked.get(cluster["id"]),
        "frees": cluster["reclaimable_bytes"],
        "files": [_file_row(file, planned.get(file["path"], {}), folders) for file in files],
    }
    return Group(key, kind, held, json.dumps(row, separators=(",", ":")).encode("ascii"))


_TOLD = (
    "bytes", "width", "height", "turn", "mirrored", "verdict", "confirmed", "shows_more", "outline", "damaged",
    "format", "camera", "captured", "has_place", "rating", "keywords", "captions", "people", "bits", "transparent",
    "holds", "frames", "quality", "choice", "returned", "held_back", "undecided",
)  # fmt: skip


def _file_row(file: File, plan: File, folders: Folders) -> dict[str, Any]:
    """Return what the page is told of a file; what is nothing, false or zero is left out."""
    row = {name: file.get(name) for name in _TOLD}
    row |= {
        "path": text_of(file["path"]),
        "digest": file["digest"].hex(),
        "modified": file["mtime_ns"] // 1_000_000_000,
        "beside": [text_of(name) for name in folders.companions(file["path"])],
        # of a group that a person has to look at it is proposed as well: it is a person who accepts it here
        "goes": not file.get("held_back") and (plan["held_by"] is not None if plan else file["may_go"]),
        "reason": plan.get("reason") or file["reason"],
        "lacks": plan.get("lacks"),
        "pinned": plan.get("pinned"),
        "held_by": None if plan.get("held_by") is None else text_of(plan["held_by"]),
        "same_file_as": None if file["same_file_as"] is None else text_of(file["same_file_as"]),
    }
    return {name: value for name, value in row.items() if value or (name == "confirmed" and value is False)}


def text_of(path: bytes) -> str:
    """Return a path as text; stray bytes become surrogates, and come back by `path_of`."""
    return path.decode("utf-8", "surrogateescape")


def path_of(text: str) -> bytes:
    """Return the path that `text_of` made a text of; raises ValueError for what it never made."""
    return text.encode("utf-8", "surrogateescape")
