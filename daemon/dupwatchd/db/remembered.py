"""What people have said of contents, and which contents were removed as duplicates; all by the digest of their bytes.

Three tables: pairs that are not duplicates, decisions to keep a content or to let it go, and contents of which files
were removed. None of them refers to a file or a picture, so that everything holds for each file with these bytes,
wherever it lies, now or later. Digests are BLAKE3, 32 bytes; times are seconds since 1970.

Whoever writes calls these functions within a transaction of its own connection; see `connection.open_second_writer`.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from dupwatchd.db.connection import Database, Row

_CHUNK = 500
_ROWS_AT_ONCE = 50_000

Pair = tuple[bytes, bytes]  # digests, the smaller one first


class IgnoredPair(NamedTuple):
    """Two contents that are not duplicates, and when somebody said so."""

    a: bytes
    b: bytes
    made_at: int


class KnownPath(NamedTuple):
    """A file that the index knows, and its content."""

    path: bytes
    digest: bytes


# ---- files and their contents


def contents_at(database: Database, paths: Iterable[bytes]) -> list[KnownPath]:
    """Those of the paths that are files under the roots in force whose content is known, each once, in their order."""
    found = []
    for path in dict.fromkeys(paths):
        folder, _, name = path.rpartition(b"/")
        row = database.row(
            "SELECT digest FROM folder JOIN file ON file.folder_id = folder.id "
            "JOIN content ON content.id = file.content_id WHERE path = ? AND name = ? AND root_id != 0",
            (folder or b"/", name),
        )
        if row is not None:
            found.append(KnownPath(path, row[0]))
    return found


def paths_of(database: Database, digest: bytes, limit: int = -1) -> list[bytes]:
    """The files under the roots in force that have these bytes, in the order in which they came; at most ``limit``."""
    rows = database.rows(f"SELECT folder.path, name {_OF_DIGEST} ORDER BY file.id LIMIT ?", (digest, limit))
    return [folder.rstrip(b"/") + b"/" + name for folder, name in rows]


def count_files_of(database: Database, digest: bytes) -> int:
    """How many files under the roots in force have these bytes."""
    return int(database.value(f"SELECT count(*) {_OF_DIGEST}", (digest,)))


_OF_DIGEST = (
    "FROM content JOIN file ON file.content_id = content.id JOIN folder ON folder.id = file.folder_id "
    "WHERE content.digest = ? AND root_id != 0"
)


def contents_of(database: Database, digests: Collection[bytes]) -> Iterator[tuple[bytes, int, int]]:
    """The digest, picture and id of each content with one of these digests that shows a picture."""
    for chunk in _chunks(digests):
        yield from database.rows(
            "SELECT digest, picture_id, id FROM content "
            f"WHERE picture_id IS NOT NULL AND digest IN ({','.join('?' * len(chunk))})",
            chunk,
        )


# ---- pairs that are not duplicates


def ignored_pairs(database: Database) -> Iterator[Pair]:
    """All pairs that are not duplicates."""
    last: Row = (b"", b"")
    while rows := database.rows(
        "SELECT a, b FROM ignored_pair WHERE (a, b) > (?, ?) ORDER BY a, b LIMIT ?", (*last, _ROWS_AT_ONCE)
    ):
        yield from rows
        last = rows[-1]


def ignored_page(database: Database, limit: int, offset: int) -> list[IgnoredPair]:
    """Some of the pairs, those that were named last first."""
    rows = database.rows(
        "SELECT a, b, made_at FROM ignored_pair ORDER BY made_at DESC, a, b LIMIT ? OFFSET ?", (limit, offset)
    )
    return [IgnoredPair(*row) for row in rows]


def count_ignored(database: Database) -> int:
    """How many pairs are not duplicates."""
    return int(database.value("SELECT count(*) FROM ignored_pair"))


def is_ignored(database: Database, one: bytes, other: bytes) -> bool:
    """Are these two contents no duplicates?"""
    return database.row("SELECT 1 FROM ignored_pair WHERE a = ? AND b = ?", sorted((one, other))) is not None


def add_ignored(database: Database, pairs: Iterable[Pair], now: int) -> None:
    """Remember that these are not duplicates; pairs that are known keep their time."""
    database.many("INSERT OR IGNORE INTO ignored_pair VALUES (?, ?, ?)", [(*pair, now) for pair in pairs])


def drop_ignored(database: Database, pairs: Iterable[Pair]) -> None:
    """These may be duplicates again."""
    database.many("DELETE FROM ignored_pair WHERE a = ? AND b = ?", pairs)


def drop_all_ignored(database: Database) -> None:
    """Any pair may be duplicates again."""
    database.rows("DELETE FROM ignored_pair")


# ---- decisions


def decide(database: Database, file: KnownPath, choice: str, now: int) -> None:
    """Remember what is to become of a file: "keep" or "go".

    It holds for all files with its bytes, and takes the place of all that was said of them; if there are several at
    this moment, it holds for this one alone.
    """
    path = file.path
    if count_files_of(database, file.digest) <= 1:
        database.rows("DELETE FROM decision WHERE digest = ?", (file.digest,))
        path = b""
    database.rows(
        "INSERT INTO decision VALUES (?, ?, ?, ?) "
        "ON CONFLICT (digest, path) DO UPDATE SET choice = excluded.choice, made_at = excluded.made_at",
        (file.digest, path, choice, now),
    )


def forget_decision(database: Database, file: KnownPath) -> None:
    """Nothing is decided on a file any more, nor on its bytes as a whole."""
    database.rows("DELETE FROM decision WHERE digest = ? AND path IN (?, x'')", (file.digest, file.path))


def count_decisions(database: Database) -> int:
    """How many decisions are remembered."""
    return int(database.value("SELECT count(*) FROM decision"))


def choices(database: Database, files: Sequence[KnownPath]) -> dict[bytes, str]:
    """What was decided on files, by path; only those on which something was."""
    rows = [
        row
        for chunk in _chunks({file.digest for file in files})
        for row in database.rows(
            f"SELECT digest, path, choice FROM decision WHERE digest IN ({','.join('?' * len(chunk))})", chunk
        )
    ]
    decided = {(digest, path): choice for digest, path, choice in rows}
    found = ((file.path, decided.get((file.digest, file.path), decided.get((file.digest, b"")))) for file in files)
    return {path: choice for path, choice in found if choice is not None}


# ---- contents of which files were removed


def add_removed(database: Database, stayed: Iterable[tuple[bytes, int]], now: int) -> None:
    """Remember contents of which files were removed, with the number of files with these bytes that are still there."""
    database.many(
        "INSERT INTO removed_content VALUES (?, ?, ?) "
        "ON CONFLICT (digest) DO UPDATE SET stayed = excluded.stayed, made_at = excluded.made_at",
        [(digest, files, now) for digest, files in stayed],
    )


def drop_removed(database: Database, digests: Iterable[bytes]) -> None:
    """These contents were put back."""
    database.many("DELETE FROM removed_content WHERE digest = ?", [(digest,) for digest in digests])


def count_removed(database: Database) -> int:
    """How many contents of which files were removed are remembered."""
    return int(database.value("SELECT count(*) FROM removed_content"))


def any_marks(database: Database) -> bool:
    """Is any decision or any removed content remembered?"""
    marks = "SELECT 1 FROM (SELECT 1 FROM decision UNION ALL SELECT 1 FROM removed_content) LIMIT 1"
    return database.row(marks) is not None


def returned_paths(database: Database, digests: Collection[bytes]) -> set[bytes]:
    """The files that have turned up again: those with the bytes of a removed one, but for as many as stayed.

    The files that came first count as those that stayed.
    """
    stayed = [
        row
        for chunk in _chunks(digests)
        for row in database.rows(
            f"SELECT digest, stayed FROM removed_content WHERE digest IN ({','.join('?' * len(chunk))})", chunk
        )
    ]
    return {path for digest, files in stayed for path in paths_of(database, digest)[files:]}


def has_returned(database: Database, digest: bytes, file_id: int) -> bool:
    """Is a file with these bytes one of `returned_paths`?"""
    row = database.row("SELECT stayed FROM removed_content WHERE digest = ?", (digest,))
    if row is None:
        return False
    before = f"SELECT count(*) FROM (SELECT 1 {_OF_DIGEST} AND file.id < ? LIMIT ?)"
    return bool(database.value(before, (digest, file_id, row[0])) >= row[0])


# ---- all of it


def everything(database: Database) -> dict[str, list[Row]]:
    """All rows by table, of a database that may be damaged or older than these tables. Raises StateError."""
    known = {row[0] for row in database.rows("SELECT name FROM sqlite_master WHERE type = 'table'")}
    return {table: database.rows(f"SELECT * FROM {table}") for table in _WIDTHS if table in known}


def take_over(database: Database, tables: Mapping[str, list[Row]]) -> None:
    """Store what `everything` has read from another database, in one transaction."""
    with database.transaction():
        for table, rows in tables.items():
            database.many(f"INSERT INTO {table} VALUES ({','.join('?' * _WIDTHS[table])})", rows)


_WIDTHS = {"ignored_pair": 3, "decision": 4, "removed_content": 3}  # columns of each table


def _chunks(digests: Iterable[bytes]) -> Iterator[list[bytes]]:
    wanted = list(digests)
    for start in range(0, len(wanted), _CHUNK):
        yield wanted[start : start + _CHUNK]
