"""Marks in answers what a plan would hold back for what lies beside it, of which the service does not know.

In: clusters as the service or a scan gives them. Out: the same rows with what `beside` says of the files that may go.
It goes by the names and sizes in their folders and reads nothing, so that an answer still comes at once.
"""

import os
import stat
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from dupwatch.beside import SAME_IN_OTHER_WORDS, Beside, Objection, common_suffix
from dupwatch.families import Folders, asks_for_sidecars

Cluster = dict[str, Any]
File = dict[str, Any]


class Found(NamedTuple):
    """What lies beside pictures that would go, by their paths."""

    objections: dict[bytes, Objection]
    along: dict[bytes, list[bytes]]  # paths of what goes along with those that may go


def look_beside(
    going: Mapping[bytes, bytes],
    pictures: Collection[bytes],
    ask_when: Iterable[str],
    folders: Folders,
    *,
    knows_all: bool = True,
) -> Found:
    """Look at what lies beside pictures that would go, each for the file that it is mapped to.

    ``pictures`` are those of all groups of the answer, ``ask_when`` is as in a plan, ``knows_all``: see `Beside`.
    """
    look, asks = _BySize(), asks_for_sidecars(ask_when)
    first = Beside(going, pictures, look, folders, asks_for_sidecars=asks, knows_all=knows_all)
    objections = {path: found for path, held_by in going.items() if (found := first.objection(path, held_by))}
    left = {path for path in going if path not in objections or not objections[path].is_certain}
    then = Beside(left, pictures, look, folders, asks_for_sidecars=asks, knows_all=knows_all)
    along = {path: [os.path.join(os.path.dirname(path), one.name) for one in then.along(path)] for path in left}
    return Found(objections, along)


def mark_clusters(
    clusters: Sequence[Cluster], ask_when: Iterable[str], folders: Folders | None = None, *, knows_all: bool = True
) -> bool:
    """Mark the files of clusters; return whether a plan may hold back more: then their sums are upper bounds.

    A file that a plan would hold back has ``held_back``, the reason, and may not go; one that it may hold back has
    ``undecided``; ``along`` are the paths of what goes along with a file. What a cluster frees follows.
    """
    files = [file for cluster in clusters for file in cluster["files"]]
    going = {file["path"]: file["held_by"] for file in files if file["may_go"]}
    found = look_beside(going, {file["path"] for file in files}, ask_when, folders or Folders(), knows_all=knows_all)
    for cluster in clusters:
        for file in cluster["files"]:
            _mark(file, found.objections.get(file["path"]), found.along.get(file["path"], []))
        cluster["reclaimable_bytes"] -= _bytes_held_back(cluster["files"])
    return any(not one.is_certain for one in found.objections.values())


def _mark(file: File, objection: Objection | None, along: list[bytes]) -> None:
    is_held = objection is not None and objection.is_certain
    file["held_back"] = objection.because if objection is not None and is_held else None
    file["undecided"] = objection.because if objection is not None and not is_held else None
    file["along"] = along
    file["may_go"] = file["may_go"] and not is_held


def _bytes_held_back(files: Sequence[File]) -> int:
    """Return the size of the files of a cluster that stay because one of their names is held back."""
    sizes: dict[bytes, int] = {}
    first_names: dict[bytes, bytes] = {}
    for file in files:
        path: bytes = file["path"]
        earlier: bytes | None = file["same_file_as"]
        sizes[path] = file["bytes"]
        first_names[path] = path if earlier is None else first_names.get(earlier, path)
    return sum(sizes[path] for path in {first_names[file["path"]] for file in files if file["held_back"]})


class _BySize:
    """Goes by what a folder tells of a file: its kind, size, number and rights."""

    def can_go(self, path: bytes) -> bool:
        return self._status(path) is not None and os.access(path, os.R_OK)

    def holds(self, other: bytes, path: bytes) -> bool | None:
        own, theirs = self._status(path), self._status(other)
        if own is None or theirs is None or os.path.samestat(own, theirs):
            return False
        may_hold = own.st_size == theirs.st_size or common_suffix(path, other) in SAME_IN_OTHER_WORDS
        return None if may_hold else False

    def _status(self, path: bytes) -> os.stat_result | None:
        """Return what is known of a regular file; None if it is none."""
        try:
            status = os.lstat(path)
        except OSError:
            return None
        return status if stat.S_ISREG(status.st_mode) else None
