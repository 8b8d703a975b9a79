"""What people say of contents, and an apply of what it removed: the commands that change it, and its marks in answers.

In: requests that name files or digests. Out: rows of `db.remembered`, on disk before the reply; the pairs that are not
duplicates, for every question; and the marks of files in an answer.

All that writes runs on one thread, the lane "remembering", over a connection of its own: the thread that keeps the
index current may be at work for minutes. Both write in short transactions and wait for each other.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import combinations
from os import fsdecode

from dupwatchd.db import remembered
from dupwatchd.db.connection import Database
from dupwatchd.db.remembered import KnownPath
from dupwatchd.errors import StateError, StateLockedError
from dupwatchd.serve.ignored import IgnoredPairs
from dupwatchd.serve.readers import Readers
from dupwatchd.serve.request_queue import Handler, OpenRequest, RequestError
from dupwatchd.serve.results import Cluster, IgnoredResult, MarkedCluster, MarkedFile

IGNORED_MAX = 500_000  # pairs: about 40 MB on disk, and up to 190 MiB in memory if no two have a content in common
DECISIONS_MAX = 1_000_000  # about 70 MB on disk, as is the next
REMOVED_MAX = 1_000_000
PATHS_SHOWN = 10  # of each content in `ignored`
_PAGE = 100


class Remembered:
    """Answers the commands that change what is remembered; any thread may call.

    Closed by `close`, once no request is worked on any more.
    """

    def __init__(
        self, readers: Readers, open_writer: Callable[[], Database], is_gone: Callable[[bytes], bool] = lambda _: False
    ) -> None:
        """``is_gone`` tells of the path of a known file whether nothing is there any more. Raises StateError."""
        self._readers = readers
        self._open_writer = open_writer
        self._is_gone = is_gone
        self._writer: Database | None = None
        self._writing = threading.Lock()
        with readers.snapshot() as reader:
            self._ignored = IgnoredPairs.of(remembered.ignored_pairs(reader))

    @property
    def ignored(self) -> IgnoredPairs:
        """The pairs that are not duplicates, as they are now."""
        return self._ignored

    def marked(self, clusters: Sequence[Cluster]) -> list[MarkedCluster]:
        """The clusters with what is remembered of their files; those given are left as they are. Raises StateError."""
        with self._readers.snapshot() as reader:
            return marked(reader, clusters)

    def close(self) -> None:
        """Close the connection that writes."""
        with self._writing:
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    def handlers(self) -> dict[str, Handler]:
        """By command."""
        return {
            "ignore": self.ignore,
            "unignore": self.unignore,
            "ignored": self.list_ignored,
            "decide": self.decide,
            "removed": self.removed,
            "restored": self.restored,
        }

    def ignore(self, request: OpenRequest) -> Mapping[str, int]:
        """All pairs of the contents of these files are no duplicates from now on. Raises RequestError."""
        with self._transaction() as database:
            known = _known(database, request.args["paths"])
            digests = sorted({file.digest for file in known})
            if len(digests) < 2:
                raise RequestError("bad_request", _equal_bytes(known))
            before = {*self._ignored.among(digests)}
            new = [pair for pair in combinations(digests, 2) if pair not in before]
            _check_room(self._ignored.count + len(new), IGNORED_MAX, "pairs that are not duplicates")
            remembered.add_ignored(database, new, _now())
        if new:
            self._ignored = self._ignored.with_pairs(new)
        return {"contents": len(digests), "pairs": len(before) + len(new), "new": len(new)}

    def unignore(self, request: OpenRequest) -> Mapping[str, int]:
        """The pairs among these files, or all pairs, may be duplicates again. Raises RequestError."""
        paths, is_all = request.args.get("paths"), request.args.get("all", False)
        if is_all == (paths is not None):
            raise RequestError("bad_request", "unignore takes either paths or all")
        with self._transaction() as database:
            if paths is None:
                count = self._ignored.count
                left = self._ignored.without_all()
                remembered.drop_all_ignored(database)
            else:
                pairs = self._ignored.among(file.digest for file in _known(database, paths))
                count = len(pairs)
                left = self._ignored.without_pairs(pairs)
                remembered.drop_ignored(database, pairs)
        if count:
            self._ignored = left
        return {"pairs": count}

    def list_ignored(self, request: OpenRequest) -> IgnoredResult:
        """A page of the pairs that are not duplicates, those named last first. Raises StateError."""
        limit, offset = request.args.get("limit", _PAGE), request.args.get("offset", 0)
        with self._readers.snapshot() as reader:
            page = remembered.ignored_page(reader, limit, offset)
            digests = {digest for pair in page for digest in (pair.a, pair.b)}
            paths = {digest: remembered.paths_of(reader, digest, PATHS_SHOWN) for digest in digests}
            return {
                "total": remembered.count_ignored(reader),
                "ignored": [
                    {"digests": [one.a, one.b], "paths": [paths[one.a], paths[one.b]], "made_at": one.made_at}
                    for one in page
                ],
            }

    def decide(self, request: OpenRequest) -> Mapping[str, int]:
        """Files are to be kept or to go, or nothing is decided on them any more. Raises RequestError."""
        lists = {name: request.args.get(name, []) for name in ("keep", "go", "forget")}
        named = [path for paths in lists.values() for path in paths]
        if not named:
            raise RequestError("bad_request", "decide names no file")
        for path in (one for place, one in enumerate(named) if one in named[:place]):
            raise RequestError("bad_request", f"{fsdecode(path)} is named twice")
        with self._transaction() as database:
            files = {file.path: file for file in _known(database, named)}
            for path in lists["forget"]:
                remembered.forget_decision(database, files[path])
            for choice in ("keep", "go"):
                for path in lists[choice]:
                    remembered.decide(database, files[path], choice, _now())
            _check_room(remembered.count_decisions(database), DECISIONS_MAX, "decisions")
        return {"decided": len(named) - len(lists["forget"]), "forgotten": len(lists["forget"])}

    def removed(self, request: OpenRequest) -> Mapping[str, int]:
        """Files with these bytes were removed as duplicates: whoever adds one again is told. Raises RequestError."""
        digests = set(request.args["digests"])
        with self._transaction() as database:
            stayed = [
                (digest, sum(not self._is_gone(path) for path in remembered.paths_of(database, digest)))
                for digest in digests
            ]
            remembered.add_removed(database, stayed, _now())
            _check_room(remembered.count_removed(database), REMOVED_MAX, "removed contents")
        return {"contents": len(digests)}

    def restored(self, request: OpenRequest) -> Mapping[str, int]:
        """Files with these bytes are put back: it is no news that they are there. Raises RequestError."""
        digests = set(request.args["digests"])
        with self._transaction() as database:
            remembered.drop_removed(database, digests)
        return {"contents": len(digests)}

    @contextmanager
    def _transaction(self) -> Iterator[Database]:
        """What is done inside is on disk when the block is left; raises RequestError if it cannot be written."""
        try:
            with self._writing:
                if self._writer is None:
                    self._writer = self._open_writer()
                with self._writer.transaction():
                    yield self._writer
        except StateLockedError as error:
            raise RequestError("busy", "the index is being written to for long; try again in a minute") from error
        except StateError as error:
            raise RequestError("not_saved", str(error)) from error


def marked(database: Database, clusters: Sequence[Cluster]) -> list[MarkedCluster]:
    """The clusters with what is remembered of their files; those given are left as they are. Raises StateError."""
    if not remembered.any_marks(database):
        return [_with_marks(cluster, {}, set()) for cluster in clusters]
    files = remembered.contents_at(database, [file["path"] for cluster in clusters for file in cluster["files"]])
    choices = remembered.choices(database, files)
    returned = remembered.returned_paths(database, {file.digest for file in files})
    return [_with_marks(cluster, choices, returned) for cluster in clusters]


def _with_marks(cluster: Cluster, choices: Mapping[bytes, str], returned: set[bytes]) -> MarkedCluster:
    files: list[MarkedFile] = [
        {**file, "choice": choices.get(file["path"]), "returned": file["path"] in returned} for file in cluster["files"]
    ]
    return {"id": cluster["id"], "reclaimable_bytes": cluster["reclaimable_bytes"], "files": files}


def _known(database: Database, paths: Sequence[bytes]) -> list[KnownPath]:
    """The contents of these files; raises RequestError, which names a file that is not known."""
    known = remembered.contents_at(database, paths)
    unknown = sorted({*paths} - {file.path for file in known})
    if unknown:
        others = f" (nor are {len(unknown) - 1:,} others)" if len(unknown) > 1 else ""
        raise RequestError(
            "unknown_file",
            f"{fsdecode(unknown[0])} is not known{others}: it is no file under a root, or was not read yet",
        )
    return known


def _equal_bytes(known: Iterable[KnownPath]) -> str:
    names = [fsdecode(file.path) for file in known]
    if len(names) < 2:
        return f"only one file is named: {names[0]}"
    return f"{names[0]} and {names[1]} have equal bytes: copies of that kind are never taken apart"


def _check_room(count: int, most: int, what: str) -> None:
    if count > most:
        raise RequestError("limit_reached", f"no more than {most:,} {what} are remembered; revoke some")


def _now() -> int:
    return int(time.time())
