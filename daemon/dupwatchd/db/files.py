"""Folders and files: what the walk saw, what is still to be read, what became of it.

A file is ``pending`` until it has been read: 1, or 2 while it lies under no root in force (`roots`), and then is not to
be read. It has ``failed`` if people are to be told that it could not be read or decoded.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from dupwatchd.db.connection import Database
from dupwatchd.model import FileId, Job, Stamp
from dupwatchd.suffixes import claims_to_be_a_picture

Listed = tuple[bytes, int, int, int, int]  # name, size_bytes, mtime_ns, device, inode


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A row of ``file``, as far as the walk needs it."""

    file_id: int
    size_bytes: int
    mtime_ns: int
    inode: int


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that could not be read or decoded."""

    path: bytes
    error: str


def under(folder: bytes) -> tuple[str, tuple[bytes, ...]]:
    """SQL (on ``folder.path``) and bindings that select a folder and all below it."""
    prefix = folder.rstrip(b"/") + b"/"
    return "(folder.path = ? OR (folder.path >= ? AND folder.path < ?))", (folder, prefix, prefix[:-1] + b"0")


@dataclass(frozen=True, slots=True)
class KnownFolder:
    """A row of ``folder``, as far as the walk needs it."""

    folder_id: int
    device: int
    listing: bytes | None


def known_folders(database: Database, root: bytes) -> dict[bytes, KnownFolder]:
    """All known folders at and below the root, by path."""
    where, bindings = under(root)
    return {
        path: KnownFolder(*rest)
        for path, *rest in database.rows(f"SELECT path, id, device, listing FROM folder WHERE {where}", bindings)
    }


def known_folder(database: Database, path: bytes) -> KnownFolder | None:
    """One known folder."""
    row = database.row("SELECT id, device, listing FROM folder WHERE path = ?", (path,))
    return None if row is None else KnownFolder(*row)


def files_of_folder(database: Database, folder_id: int, names: Iterable[bytes] | None = None) -> dict[bytes, KnownFile]:
    """The files of one folder (not of those below it), or those of them that have one of these names, by name."""
    columns = "SELECT name, id, size_bytes, mtime_ns, inode FROM file WHERE folder_id = ?"
    if names is None:
        rows = database.rows(columns, (folder_id,))
    else:
        rows = [row for name in names for row in database.rows(columns + " AND name = ?", (folder_id, name))]
    return {
        name: KnownFile(file_id, size_bytes, mtime_ns, inode) for name, file_id, size_bytes, mtime_ns, inode in rows
    }


def folders_directly_in(database: Database, folder: bytes) -> set[bytes]:
    """The paths of the known folders that lie in a folder, not of those below them.

    Costs two look-ups for each of them, however many folders and files lie below.
    """
    prefix = folder.rstrip(b"/") + b"/"
    end = prefix[:-1] + b"0"  # the first path beyond all that begin with the prefix
    found: set[bytes] = set()
    start = prefix + b"\0"
    while (
        row := database.row("SELECT path FROM folder WHERE path >= ? AND path < ? LIMIT 1", (start, end))
    ) is not None:
        name, slash, _ = row[0][len(prefix) :].partition(b"/")
        if slash:  # it lies in a folder that was found before: pass over all that lies there
            start = prefix + name + b"0"
        else:
            found.add(row[0])
            start = row[0] + b"\0"
    return found


def any_under(database: Database, folder: bytes) -> bool:
    """Is any file known at or below a folder?"""
    return not has_at_most(database, folder, 0)


def has_at_most(database: Database, root: bytes, most: int) -> bool:
    """Are no more than so many files known under the root?"""
    where, bindings = under(root)
    found = database.value(
        f"SELECT count(*) FROM (SELECT 1 FROM file JOIN folder ON folder.id = file.folder_id WHERE {where} LIMIT ?)",
        (*bindings, most + 1),
    )
    return int(found) <= most


def record_folder(
    database: Database,
    path: bytes,
    device: int,
    listing: bytes | None,
    new_or_changed: Iterable[Listed],
    gone: Iterable[int],
) -> None:
    """Take over what the walk saw in one folder: new and changed files become pending, gone ones are removed."""
    folder_id = database.value(
        "INSERT INTO folder (path, device, listing) VALUES (?, ?, ?) "
        "ON CONFLICT (path) DO UPDATE SET device = excluded.device, listing = excluded.listing RETURNING id",
        (path, device, listing),
    )
    database.many(
        "INSERT INTO file (folder_id, name, size_bytes, mtime_ns, device, inode, pending) VALUES (?, ?, ?, ?, ?, ?, 1) "
        "ON CONFLICT (folder_id, name) DO UPDATE SET size_bytes = excluded.size_bytes, mtime_ns = excluded.mtime_ns, "
        "device = excluded.device, inode = excluded.inode, pending = 1, failed = 0, content_id = NULL, "
        "error = NULL",
        [(folder_id, *listed) for listed in new_or_changed],
    )
    database.many("DELETE FROM file WHERE id = ?", [(file_id,) for file_id in gone])


def forget_folders(database: Database, folder_ids: Iterable[int]) -> None:
    """Remove folders that are gone, with their files."""
    bindings = [(folder_id,) for folder_id in folder_ids]
    database.many("DELETE FROM file WHERE folder_id = ?", bindings)
    database.many("DELETE FROM folder WHERE id = ?", bindings)


def retry_unreadable(database: Database, root: bytes) -> None:
    """Make files pending that could not even be read last time: rights and mounts change without a new stamp."""
    where, bindings = under(root)
    database.rows(
        "UPDATE file SET pending = 1, failed = 0, error = NULL WHERE error IS NOT NULL AND folder_id IN "
        f"(SELECT id FROM folder WHERE {where})",
        bindings,
    )


def retry_unreadable_ones(database: Database, folder_id: int, names: Iterable[bytes] | None = None) -> None:
    """Likewise for the files that lie directly in one folder, or for those of them that have one of these names."""
    retry = "UPDATE file SET pending = 1, failed = 0, error = NULL WHERE error IS NOT NULL AND folder_id = ?"
    if names is None:
        database.rows(retry, (folder_id,))
    else:
        database.many(f"{retry} AND name = ?", [(folder_id, name) for name in names])


def any_undecodable(database: Database) -> bool:
    """Is there a content that could not be decoded?"""
    return bool(database.rows("SELECT 1 FROM content WHERE error IS NOT NULL LIMIT 1"))


def retry_undecodable(database: Database) -> None:
    """Make all files pending whose content could not be decoded, and forget those contents."""
    database.rows(
        "UPDATE file SET pending = 1, failed = 0, content_id = NULL "
        "WHERE content_id IN (SELECT id FROM content WHERE error IS NOT NULL)"
    )
    database.rows("DELETE FROM content WHERE error IS NOT NULL")


def count_pending(database: Database, root: bytes) -> int:
    """How many files under the root are still to be read."""
    where, bindings = under(root)
    return int(
        database.value(
            # CROSS JOIN: the few pending files first, then their folders
            f"SELECT count(*) FROM file CROSS JOIN folder ON folder.id = file.folder_id WHERE pending = 1 AND {where}",
            bindings,
        )
    )


def pending_jobs(database: Database, root: bytes, after: FileId, limit: int) -> list[Job]:
    """The next files under the root to be read, in the order of their ids."""
    where, bindings = under(root)
    return [
        Job(FileId(file_id), folder.rstrip(b"/") + b"/" + name, Stamp(size_bytes, mtime_ns, device, inode))
        for file_id, folder, name, size_bytes, mtime_ns, device, inode in database.rows(
            "SELECT file.id, folder.path, name, size_bytes, mtime_ns, file.device, inode "
            "FROM file CROSS JOIN folder ON folder.id = file.folder_id "
            f"WHERE file.pending = 1 AND file.id > ? AND {where} ORDER BY file.id LIMIT ?",
            (after, *bindings, limit),
        )
    ]


def digests_by_size(database: Database, sizes_bytes: Iterable[int], most: int) -> dict[int, list[bytes]]:
    """The digests of known contents, by the size of their files; none for a size that more than ``most`` have.

    The first call makes an index on the sizes, which stays: only who reads on a cluster needs it.
    """
    database.rows("CREATE INDEX IF NOT EXISTS file_of_size ON file(size_bytes) WHERE content_id IS NOT NULL")
    found = {}
    for size_bytes in sizes_bytes:
        rows = database.rows(
            "SELECT DISTINCT digest FROM file JOIN content ON content.id = content_id "
            "WHERE size_bytes = ? AND content_id IS NOT NULL LIMIT ?",
            (size_bytes, most + 1),
        )
        if 0 < len(rows) <= most:
            found[size_bytes] = [digest for (digest,) in rows]
    return found


def settle(database: Database, file_id: FileId, stamp: Stamp, content_id: int | None, error: str | None) -> None:
    """A file has been read: its content, or why there is none, and the size and time of the bytes read."""
    failed = error is not None or (content_id is not None and _counts_as_failed(database, file_id, content_id))
    database.rows(
        "UPDATE file SET pending = 0, failed = ?, content_id = ?, error = ?, size_bytes = ?, mtime_ns = ? WHERE id = ?",
        (int(failed), content_id, error, stamp.size_bytes, stamp.mtime_ns, file_id),
    )


def _counts_as_failed(database: Database, file_id: FileId, content_id: int) -> bool:
    """Could the content not be decoded, though it is an image or the file's name promises one?"""
    row = database.row("SELECT foreign_kind FROM content WHERE id = ? AND error IS NOT NULL", (content_id,))
    if row is None:
        return False
    return not row[0] or claims_to_be_a_picture(database.value("SELECT name FROM file WHERE id = ?", (file_id,)))


def look_again(database: Database, file_id: FileId) -> None:
    """A file was read with another stamp than it was listed with: its folder counts as changed for the next walk."""
    database.rows("UPDATE folder SET listing = NULL WHERE id = (SELECT folder_id FROM file WHERE id = ?)", (file_id,))


def remove(database: Database, file_id: FileId) -> None:
    """A file is gone."""
    database.rows("DELETE FROM file WHERE id = ?", (file_id,))


def failures(database: Database, root: bytes) -> list[Failure]:
    """The files under the root that could not be read or decoded, in no order."""
    where, bindings = under(root)
    rows = database.rows(  # CROSS JOIN: the few failures first, then their places
        "SELECT folder.path, name, coalesce(file.error, content.error) FROM file "
        "CROSS JOIN folder ON folder.id = file.folder_id LEFT JOIN content ON content.id = file.content_id "
        f"WHERE file.failed = 1 AND {where}",
        bindings,
    )
    return [Failure(folder.rstrip(b"/") + b"/" + name, error) for folder, name, error in rows]


def why_failed(database: Database, file_id: FileId) -> str | None:
    """Why a file could not be read or decoded; None if it could, or never claimed to be a picture."""
    row = database.row(
        "SELECT coalesce(file.error, content.error) FROM file LEFT JOIN content ON content.id = file.content_id "
        "WHERE file.id = ? AND file.failed = 1",
        (file_id,),
    )
    return None if row is None else str(row[0])


def count(database: Database, root: bytes) -> int:
    """How many files under the root are in the index, read or not."""
    where, bindings = under(root)
    return int(
        database.value(
            f"SELECT count(*) FROM file JOIN folder ON folder.id = file.folder_id WHERE {where}",
            bindings,
        )
    )
