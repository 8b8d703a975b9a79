"""Folders that are to be dropped from the index, and known folders that no root covers any more.

Paths are absolute bytes without links. Photos are not touched: only rows of ``folder`` and ``file`` go. Contents and
pictures that no file shows any more are removed afterwards, by `update.tidy`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from dupwatchd.db import facts
from dupwatchd.db.connection import Database
from dupwatchd.db.files import under
from dupwatchd.paths import at_or_below


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How many files and folders were dropped from the index."""

    files: int
    folders: int


def forget(database: Database, folder: bytes, kept_roots: Sequence[bytes] = ()) -> Forgotten:
    """Drop a folder and all below it from the index, except what is at or below one of the ``kept_roots``.

    One transaction. Nothing known there is not an error; the result then counts nothing.
    """
    where, bindings = under(folder)
    for root in kept_roots:
        of_root, more = under(root)
        where, bindings = f"{where} AND NOT {of_root}", (*bindings, *more)
    with database.transaction():
        dropped = f"SELECT id FROM folder WHERE {where}"
        files = len(database.rows(f"DELETE FROM file WHERE folder_id IN ({dropped}) RETURNING 1", bindings))
        folders = len(database.rows(f"DELETE FROM folder WHERE {where} RETURNING 1", bindings))
        if files:
            facts.write(database, {"untidy": 1})
    return Forgotten(files, folders)


def folders_outside(database: Database, roots: Sequence[bytes]) -> list[bytes]:
    """The known folders that lie at or below no root, sorted; of those inside each other only the topmost.

    A folder that is named here may have a root below it, which is not meant. The search jumps over whole trees in the
    index on ``folder.path``: it costs a few look-ups for each root and each folder in the result, however many folders
    are known.
    """
    outside: list[bytes] = []
    path = _next_path(database, b"", included=True)
    while path is not None:
        tree = next((top for top in (*roots, *outside) if at_or_below(path, top)), None)
        if tree is None:
            outside.append(path)
            tree = path
        # What is below a folder does not follow it at once: "/a-b" lies between "/a" and "/a/x".
        if path == tree and path != b"/":
            path = _next_path(database, path, included=False)
        else:
            path = _next_path(database, _behind(tree), included=True)
    return outside


def topmost_folders(database: Database) -> list[bytes]:
    """All known folders that lie below no other known one, sorted."""
    return folders_outside(database, ())


def _behind(tree: bytes) -> bytes:
    """The first path after everything below a folder in the order of bytes: "0" follows "/"."""
    return tree.rstrip(b"/") + b"0"


def _next_path(database: Database, start: bytes, *, included: bool) -> bytes | None:
    comparison = ">=" if included else ">"
    row = database.row(f"SELECT path FROM folder WHERE path {comparison} ? ORDER BY path LIMIT 1", (start,))
    return None if row is None else bytes(row[0])
