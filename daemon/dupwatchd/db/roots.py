"""The roots in force, and how many files lie under each; reading the counts costs the same for any size.

Triggers keep the counts of `root` and `tally` (see `schema`), in the transaction of each change. The row of `root` with
id 0 stands for all folders that lie under no root in force; files there are kept, but neither read nor waited for.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from dupwatchd.db.connection import Database, Row
from dupwatchd.db.files import under

_OUTSIDE = 0
_IS_OUTSIDE = "EXISTS (SELECT 1 FROM folder WHERE folder.id = file.folder_id AND folder.root_id = 0)"
_TALLIED = ("picture", "match")


@dataclass(frozen=True, slots=True)
class FileCounts:
    """How many files there are, are still to be read, and could not be read or decoded."""

    files: int = 0
    pending: int = 0
    failed: int = 0

    def __add__(self, other: "FileCounts") -> "FileCounts":
        return FileCounts(self.files + other.files, self.pending + other.pending, self.failed + other.failed)


def put_in_force(database: Database, roots: Iterable[bytes]) -> None:
    """Let these roots (absolute, none inside another) and no others be in force.

    Goes through all folders and files once, unless they are already: then only through the files that are pending.
    """
    wanted = set(roots)
    if wanted == {path for (path,) in database.rows("SELECT path FROM root WHERE id != ?", (_OUTSIDE,))}:
        if database.row(f"SELECT 1 FROM file WHERE pending = 1 AND {_IS_OUTSIDE} LIMIT 1"):
            database.rows(f"UPDATE file SET pending = 2 WHERE pending = 1 AND {_IS_OUTSIDE}")
        return
    with database.transaction():
        database.rows("UPDATE folder SET root_id = ? WHERE root_id != ?", (_OUTSIDE, _OUTSIDE))
        database.rows("DELETE FROM root WHERE id != ?", (_OUTSIDE,))
        for path in sorted(wanted):
            root_id = database.value(
                "INSERT INTO root (path, prefix) VALUES (?, ?) RETURNING id", (path, path.rstrip(b"/") + b"/")
            )
            where, bindings = under(path)
            database.rows(f"UPDATE folder SET root_id = ? WHERE {where}", (root_id, *bindings))
        # 2 for files outside, so that whoever looks for files to be read does not pass over them each time
        database.rows(f"UPDATE file SET pending = 2 WHERE pending = 1 AND {_IS_OUTSIDE}")
        database.rows(f"UPDATE file SET pending = 1 WHERE pending = 2 AND NOT {_IS_OUTSIDE}")
        count_anew(database)


def in_force(database: Database) -> list[bytes]:
    """The roots that `put_in_force` was last called with, in order."""
    return [path for (path,) in database.rows("SELECT path FROM root WHERE id != ? ORDER BY path", (_OUTSIDE,))]


def count_anew(database: Database) -> None:
    """Count all that the triggers count; within the caller's transaction."""
    database.rows("UPDATE root SET files = 0, pending = 0, failed = 0")
    database.many(
        "UPDATE root SET files = ?, pending = ?, failed = ? WHERE id = ?",
        [(files, pending, failed, root_id) for root_id, files, pending, failed in _counted(database)],
    )
    for table in _TALLIED:
        database.rows(f"UPDATE tally SET number = (SELECT count(*) FROM {table}) WHERE name = '{table}'")


def are_miscounted(database: Database) -> bool:
    """Does any count differ from what counting all rows gives?"""
    counted = dict.fromkeys([row[0] for row in database.rows("SELECT id FROM root")], (0, 0, 0))
    counted |= {root_id: tuple(counts) for root_id, *counts in _counted(database)}
    noted = {
        root_id: tuple(counts) for root_id, *counts in database.rows("SELECT id, files, pending, failed FROM root")
    }
    tallies: dict[str, int] = dict(database.rows("SELECT name, number FROM tally"))
    return noted != counted or any(
        tallies.get(table) != database.value(f"SELECT count(*) FROM {table}") for table in _TALLIED
    )


def _counted(database: Database) -> list[Row]:
    """Of each root that has files: id, files, pending, failed."""
    return database.rows(
        "SELECT root_id, count(*), sum(file.pending > 0), sum(file.failed) "
        "FROM file JOIN folder ON folder.id = file.folder_id GROUP BY root_id"
    )


def counts_by_root(database: Database) -> dict[bytes, FileCounts]:
    """The counts of each root in force."""
    return {
        path: FileCounts(*counts)
        for path, *counts in database.rows("SELECT path, files, pending, failed FROM root WHERE id != ?", (_OUTSIDE,))
    }


def counts_outside(database: Database) -> FileCounts:
    """The counts of all files that lie under no root in force."""
    row = database.row("SELECT files, pending, failed FROM root WHERE id = ?", (_OUTSIDE,))
    return FileCounts(*row) if row is not None else FileCounts()


def count_files(database: Database) -> int:
    """How many files are known, under the roots in force and elsewhere."""
    return int(database.value("SELECT sum(files) FROM root"))


def count_pictures(database: Database) -> int:
    """How many distinct pictures there are, under whatever root."""
    return int(database.value("SELECT number FROM tally WHERE name = 'picture'"))


def count_matches(database: Database) -> int:
    """How many matches are stored, under whatever root."""
    return int(database.value("SELECT number FROM tally WHERE name = 'match'"))
