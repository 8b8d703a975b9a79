"""The SQLite file of fast-diff-py 1.0: its three tables, its questions, and views for those who ask in SQL.

It is another program's file, not a part of our index, so it is opened with the module of the standard library and not
by `dupwatchd.db`. Tables and columns are those that fast-diff-py documents; docs/fastdiff.md documents the views.
Paths that are not UTF-8 are kept byte for byte, and come with surrogate escapes.
"""

import base64
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from dupwatchd.compat.fastdiff_files import Listed

_TABLES = """
CREATE TABLE IF NOT EXISTS directory (
    key INTEGER PRIMARY KEY AUTOINCREMENT, path TEXT, filename TEXT, error TEXT,
    success INTEGER DEFAULT -1 CHECK (directory.success IN (-2, -1, 0, 1)),
    px INTEGER DEFAULT -1 CHECK (directory.px >= -1), py INTEGER DEFAULT -1 CHECK (directory.py >= -1),
    allowed INTEGER DEFAULT 0 CHECK (directory.allowed IN (0, 1)),
    file_size INTEGER DEFAULT -1 CHECK (directory.file_size >= -1),
    created REAL DEFAULT -1 CHECK (directory.created >= -1),
    dir_index INTEGER DEFAULT -1 CHECK (directory.dir_index >= -1),
    part_b INTEGER DEFAULT 0 CHECK (directory.part_b IN (0, 1)),
    hash_0 INTEGER, hash_90 INTEGER, hash_180 INTEGER, hash_270 INTEGER,
    deleted INTEGER DEFAULT 0 CHECK (directory.deleted IN (0, 1)), UNIQUE (path, part_b));
CREATE TABLE IF NOT EXISTS hash_table (
    key INTEGER PRIMARY KEY AUTOINCREMENT, hash TEXT UNIQUE, count INTEGER CHECK (hash_table.count >= 0));
CREATE TABLE IF NOT EXISTS dif_table (
    key INTEGER PRIMARY KEY AUTOINCREMENT, key_a INTEGER NOT NULL, key_b INTEGER NOT NULL,
    dif REAL CHECK (dif_table.dif >= -1) DEFAULT -1,
    success INT CHECK (dif_table.success IN (0, 1, 2, 3)) DEFAULT -1,
    error TEXT, UNIQUE (key_a, key_b));
CREATE INDEX IF NOT EXISTS dif_table_key_b ON dif_table (key_b);
"""
VIEWS = {
    "pairs": """SELECT a.path AS path_a, b.path AS path_b, dif, dif_table.success = 2 AS by_hash, key_a, key_b
        FROM dif_table JOIN directory AS a ON a.key = key_a JOIN directory AS b ON b.key = key_b
        WHERE dif_table.success IN (1, 2) ORDER BY key_a, key_b""",
    "clusters_a": """SELECT key_a AS cluster, a.path AS head, b.path AS path, dif, dif_table.success = 2 AS by_hash
        FROM dif_table JOIN directory AS a ON a.key = key_a JOIN directory AS b ON b.key = key_b
        WHERE dif_table.success IN (1, 2) ORDER BY key_a, b.file_size DESC, b.created, key_b""",
    "clusters_b": """SELECT key_b AS cluster, b.path AS head, a.path AS path, dif, dif_table.success = 2 AS by_hash
        FROM dif_table JOIN directory AS a ON a.key = key_a JOIN directory AS b ON b.key = key_b
        WHERE dif_table.success IN (1, 2) ORDER BY key_b, a.file_size DESC, a.created, key_a""",
    "hash_clusters": """WITH member (hash, file) AS (
            SELECT hash_0, key FROM directory WHERE hash_0 IS NOT NULL
            UNION SELECT hash_90, key FROM directory WHERE hash_90 IS NOT NULL
            UNION SELECT hash_180, key FROM directory WHERE hash_180 IS NOT NULL
            UNION SELECT hash_270, key FROM directory WHERE hash_270 IS NOT NULL
        ), of_hash (hash, files) AS (
            SELECT hash, group_concat(file) FROM (SELECT hash, file FROM member ORDER BY hash, file)
            GROUP BY hash HAVING count(*) > 1
        ), first (cluster) AS (SELECT min(hash) FROM of_hash GROUP BY files)
        SELECT cluster, hash_table.hash AS hash, path, file, deleted
        FROM first JOIN member ON member.hash = cluster JOIN hash_table ON hash_table.key = cluster
        JOIN directory ON directory.key = file ORDER BY cluster, file_size DESC, created, file""",
    "unreadable_files": "SELECT path FROM directory WHERE allowed = 1 AND success = 0 ORDER BY key",
    "disallowed_files": "SELECT path FROM directory WHERE allowed = 0 ORDER BY key",
}
_ALL_SUCCESSES, _COMPARED = "(1, 2)", "(1)"
DifRow = tuple[int, int, float, int]  # key_a, key_b, dif, success: 1 compared, 2 equal hashes, 3 unlike sides


class SQLiteDB:
    """One SQLite file of fast-diff-py, by whichever program it was made."""

    def __init__(self, db_path: str, debug: bool = False) -> None:  # noqa: ARG002 - as scripts call it
        """Open a file, or make one without tables. Raises ValueError for what is no SQLite file."""
        self.path = db_path
        try:
            self.connection = sqlite3.connect(db_path)
            self.connection.text_factory = os.fsdecode
            self.connection.execute("SELECT count(*) FROM sqlite_master")
        except sqlite3.Error as error:
            raise ValueError(f"cannot open {db_path} as a database: {error}") from None

    def commit(self) -> None:
        """Make what was written durable."""
        self.connection.commit()

    def close(self) -> None:
        """Close the file; what was not committed is lost."""
        self.connection.close()

    def vacuum(self) -> None:
        """Give back room that deleted rows took."""
        self.connection.commit()
        self.connection.execute("VACUUM")

    def dir_table_exists(self) -> bool:
        """Whether there is a table of files."""
        return bool(self._one("SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'directory'"))

    def create_tables(self) -> None:
        """Make empty tables and the views; what is there already goes."""
        self.connection.commit()
        views = "".join(f"CREATE VIEW {name} AS {text};\n" for name, text in VIEWS.items())
        drops = "".join(f"DROP VIEW IF EXISTS {name};\n" for name in VIEWS)
        tables = "".join(f"DROP TABLE IF EXISTS {name};\n" for name in ("directory", "hash_table", "dif_table"))
        self.connection.executescript(f"BEGIN;\n{drops}{tables}{_TABLES}{views}COMMIT;")

    # files

    def insert_files(self, files: Iterable[Listed], *, part_b: bool) -> int:
        """Add files of a partition, each path once; returns how many were named."""
        rows = [
            (_bytes(file.path), _bytes(os.path.basename(file.path)), file.allowed, file.size_bytes, file.created,
             file.dir_index, part_b)
            for file in files
        ]  # fmt: skip
        self.connection.executemany(
            "INSERT OR IGNORE INTO directory (path, filename, allowed, file_size, created, dir_index, part_b) "
            "VALUES (CAST(? AS TEXT), CAST(? AS TEXT), ?, ?, ?, ?, ?)",
            rows,
        )
        return len(rows)

    def repopulate_directory_table(self) -> bool:
        """Number the files from 0: allowed ones first, the smaller partition first; whether the partitions swapped."""
        in_a, in_b = (self.get_partition_entry_count(part_b) for part_b in (False, True))
        swap = in_b > 0 and in_a >= in_b
        self.connection.execute("CREATE TEMP TABLE found AS SELECT * FROM directory")
        self.connection.execute("DELETE FROM directory")
        self.connection.execute(
            "INSERT INTO directory (key, path, filename, allowed, file_size, created, dir_index, part_b) "
            "SELECT row_number() OVER (ORDER BY allowed DESC, part_b != ?, key) - 1, "
            "path, filename, allowed, file_size, created, dir_index, part_b != ? FROM found",
            (swap, swap),
        )
        self.connection.execute("DROP TABLE found")
        return swap

    def allowed_files(self) -> list[tuple[int, str, bool]]:
        """Key, path and whether it is in partition b, of all files that are read; in order of keys."""
        rows = self._rows("SELECT key, path, part_b FROM directory WHERE allowed = 1 ORDER BY key")
        return [(key, path, bool(part_b)) for key, path, part_b in rows]

    def write_first_loop(
        self,
        read: Iterable[tuple[int, int, int]],
        failed: Iterable[tuple[int, str]],
        hashes: Mapping[int, Sequence[str]],
    ) -> None:
        """Note what became of files: key, height, width; key, reason; the hashes of a key, by quarter turns."""
        self.connection.execute("DELETE FROM hash_table")
        self.connection.executemany(
            "UPDATE directory SET px = ?, py = ?, success = 1, error = NULL WHERE key = ?",
            ((height, width, key) for key, height, width in read),
        )
        self.connection.executemany(
            "UPDATE directory SET success = 0, error = ? WHERE key = ?",
            ((to_b64(reason), key) for key, reason in failed),
        )
        counts: dict[str, int] = {}
        for some in hashes.values():
            for one in set(some):
                counts[one] = counts.get(one, 0) + 1
        numbers = {one: number for number, one in enumerate(counts, 1)}
        self.connection.executemany(
            "INSERT INTO hash_table (key, hash, count) VALUES (?, ?, ?)",
            ((numbers[one], one, count) for one, count in counts.items()),
        )
        for place, column in enumerate(("hash_0", "hash_90", "hash_180", "hash_270")):
            self.connection.execute(f"UPDATE directory SET {column} = NULL")
            self.connection.executemany(
                f"UPDATE directory SET {column} = ? WHERE key = ?",
                ((numbers[some[place]], key) for key, some in hashes.items() if place < len(some)),
            )

    def hash_keys(self) -> dict[int, tuple[int | None, ...]]:
        """The keys of the hashes of each file that has any, by quarter turns."""
        rows = self._rows(
            "SELECT key, hash_0, hash_90, hash_180, hash_270 FROM directory WHERE hash_0 IS NOT NULL ORDER BY key"
        )
        return {key: tuple(some) for key, *some in rows}

    def get_partition_entry_count(self, part_b: bool, only_allowed: bool = True) -> int:
        """How many files a partition has."""
        return int(self._one("SELECT count(*) FROM directory WHERE part_b = ? AND allowed >= ?", part_b, only_allowed))

    def get_directory_stats(self, index: int, allowed: bool = True) -> int:
        """How many files were found under the directory of this place in `dir_index_lookup`."""
        return int(self._one("SELECT count(*) FROM directory WHERE dir_index = ? AND allowed = ?", index, allowed))

    def get_directory_errors(self) -> Iterator[tuple[str, str]]:
        """Yield path and reason of each file that could not be read."""
        for path, error in self._rows("SELECT path, error FROM directory WHERE success = 0 ORDER BY key"):
            yield path, from_b64(error)

    def get_directory_disallowed(self) -> Iterator[str]:
        """Yield the paths of files that were passed over."""
        for (path,) in self._rows("SELECT path FROM directory WHERE allowed = 0 ORDER BY key"):
            yield path

    def set_deleted(self, key: int, deleted: bool = True) -> None:
        """Mark a file as deleted, or not; it is left out where ``include_deleted`` is False."""
        self.connection.execute("UPDATE directory SET deleted = ? WHERE key = ?", (deleted, key))

    # hashes

    def get_hash_cluster_count(self) -> int:
        """How many groups of files there are that have a hash in common, each set of files once."""
        return int(self._one("SELECT count(DISTINCT cluster) FROM hash_clusters"))

    def get_all_hash_clusters(self, include_deleted: bool = True) -> Iterator[tuple[str, list[str]]]:
        """Yield hash and files of each group, largest files first."""
        head, text, files = None, "", list[str]()
        for cluster, hash_text, path, deleted in self._rows("SELECT cluster, hash, path, deleted FROM hash_clusters"):
            if cluster != head and head is not None:
                yield text, files
            if cluster != head:
                head, text, files = cluster, hash_text, []
            if include_deleted or not deleted:
                files.append(path)
        if head is not None:
            yield text, files

    def get_ith_hash_cluster(self, i: int, include_deleted: bool = True) -> tuple[str, list[str]]:
        """Return the group of this place in `get_all_hash_clusters`; raises IndexError."""
        for place, cluster in enumerate(self.get_all_hash_clusters(include_deleted)):
            if place == i:
                return cluster
        raise IndexError(f"there is no hash cluster {i}")

    # differences

    def insert_differences(self, rows: Iterable[DifRow]) -> None:
        """Add pairs; those that are there already stay as they are."""
        self.connection.executemany(
            "INSERT OR IGNORE INTO dif_table (key_a, key_b, dif, success) VALUES (?, ?, ?, ?)", rows
        )

    def insert_errors(self, rows: Iterable[tuple[int, int, str]]) -> None:
        """Add pairs that could not be compared, with the reason."""
        self.connection.executemany(
            "INSERT OR IGNORE INTO dif_table (key_a, key_b, success, error) VALUES (?, ?, 0, ?)",
            ((a, b, to_b64(error)) for a, b, error in rows),
        )

    def clear_differences(self) -> None:
        """Forget all pairs."""
        self.connection.execute("DELETE FROM dif_table")

    def get_pair_count_diff(self) -> int:
        """How many rows the table of differences has."""
        return int(self._one("SELECT count(*) FROM dif_table"))

    def get_duplicate_pairs(self, delta: float, include_hash_match: bool = False) -> Iterator[tuple[str, str, float]]:
        """Yield both paths and the difference of each pair up to ``delta``."""
        yield from self._rows(
            "SELECT a.path, b.path, dif FROM dif_table "
            "JOIN directory AS a ON a.key = key_a JOIN directory AS b ON b.key = key_b "
            f"WHERE dif <= ? AND dif_table.success IN {_successes(include_hash_match)} ORDER BY key_a, key_b",
            delta,
        )

    def get_all_cluster(
        self, delta: float, group_a: bool = True, include_hash_match: bool = True
    ) -> Iterator[tuple[str, list[tuple[str, float]]]]:
        """Yield each file of a partition that has matches up to ``delta``, with these, the largest files first.

        Of a single partition, ``group_a`` puts a pair under its first file, else under its second.
        """
        own, other = ("a", "b") if group_a else ("b", "a")
        rows = self._rows(
            "SELECT own.key, own.path, other.path, dif FROM dif_table "
            f"JOIN directory AS own ON own.key = key_{own} JOIN directory AS other ON other.key = key_{other} "
            f"WHERE dif <= ? AND dif_table.success IN {_successes(include_hash_match)} "
            "ORDER BY own.key, other.file_size DESC, other.created, other.key",
            delta,
        )
        key, head, matches = None, "", list[tuple[str, float]]()
        for own_key, own_path, path, dif in rows:
            if own_key != key and key is not None:
                yield head, matches
            if own_key != key:
                key, head, matches = own_key, own_path, []
            matches.append((path, dif))
        if key is not None:
            yield head, matches

    def get_cluster_count(self, delta: float, part_a: bool = True, include_hash_match: bool = True) -> int:
        """How many clusters `get_all_cluster` gives."""
        return int(
            self._one(
                f"SELECT count(DISTINCT key_{'a' if part_a else 'b'}) FROM dif_table "
                f"WHERE dif <= ? AND success IN {_successes(include_hash_match)}",
                delta,
            )
        )

    def get_ith_diff_cluster(
        self,
        index: int,
        delta: float,
        part_a: bool = True,
        include_hash_match: bool = True,
        include_deleted: bool = True,
    ) -> tuple[str, list[tuple[str, float]]]:
        """Return the cluster of this place in `get_all_cluster`; raises IndexError."""
        own, other = ("a", "b") if part_a else ("b", "a")
        successes = _successes(include_hash_match)
        found = self._rows(
            f"SELECT DISTINCT key_{own}, path FROM dif_table JOIN directory ON directory.key = key_{own} "
            f"WHERE dif <= ? AND dif_table.success IN {successes} ORDER BY key_{own} LIMIT 1 OFFSET ?",
            delta, max(index, 0),
        ).fetchone()  # fmt: skip
        if found is None or index < 0:
            raise IndexError(f"there is no cluster {index}")
        rows = self._rows(
            f"SELECT path, dif FROM dif_table JOIN directory ON directory.key = key_{other} "
            f"WHERE key_{own} = ? AND dif <= ? AND dif_table.success IN {successes} AND deleted <= ? "
            "ORDER BY file_size DESC, created, directory.key",
            found[0], delta, include_deleted,
        )  # fmt: skip
        return found[1], list(rows)

    def get_max_cluster_size(self) -> int:
        """How many matches the largest cluster has."""
        sizes = (f"SELECT count(*) AS size FROM dif_table GROUP BY key_{one}" for one in "ab")
        return int(self._one(f"SELECT coalesce(max(size), 0) FROM ({' UNION ALL '.join(sizes)})"))

    def drop_diff(self, threshold: float) -> None:
        """Forget the pairs that differ by more."""
        self.connection.execute("DELETE FROM dif_table WHERE dif > ?", (threshold,))

    def get_dif_errors(self) -> Iterator[tuple[str, str | None, str]]:
        """Yield both paths and the reason of each pair that could not be compared."""
        rows = self._rows(
            "SELECT a.path, b.path, dif_table.error FROM dif_table "
            "JOIN directory AS a ON a.key = key_a LEFT JOIN directory AS b ON b.key = key_b "
            "WHERE dif_table.success = 0 ORDER BY key_a, key_b"
        )
        for path_a, path_b, error in rows:
            yield path_a, path_b, from_b64(error)

    def _rows(self, text: str, *values: object) -> sqlite3.Cursor:
        return self.connection.execute(text, values)

    def _one(self, text: str, *values: object) -> Any:
        return self.connection.execute(text, values).fetchone()[0]


def is_fastdiff_db(path: str) -> bool:
    """Whether a file is a database of fast-diff-py, or one that was never filled."""
    if os.path.getsize(path) == 0:
        return True
    try:
        with open(path, "rb") as stream:
            if stream.read(16) != b"SQLite format 3\0":
                return False
        database = SQLiteDB(path)
    except (OSError, ValueError):
        return False
    try:
        is_empty = not database.connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        columns = {name for _, name, *_ in database.connection.execute("PRAGMA table_info(directory)")}
        return is_empty or {"path", "allowed", "dir_index", "part_b", "hash_270"} <= columns
    finally:
        database.close()


def to_b64(value: object) -> str:
    """Return a value as base64 of its JSON, as fast-diff-py keeps errors."""
    return base64.b64encode(json.dumps(value).encode()).decode()


def from_b64(text: str) -> str:
    """Return what `to_b64` was given."""
    return str(json.loads(base64.b64decode(text)))


def _successes(include_hash_match: bool) -> str:
    return _ALL_SUCCESSES if include_hash_match else _COMPARED


def _bytes(path: str) -> bytes:
    return os.fsencode(path)
