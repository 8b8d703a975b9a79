"""What `check` reads and mends: the agreement of the tables with each other and with the blocks."""

from collections.abc import Iterable, Iterator

from dupwatchd.db import pictures, roots
from dupwatchd.db.connection import Database
from dupwatchd.db.pictures import MatchRow
from dupwatchd.model import PictureId

_MOST_LINES = 20


def faults(database: Database) -> list[str]:
    """What is wrong inside the database, one line each, at most 20; empty if it is sound."""
    found = [str(row[0]) for row in database.rows(f"PRAGMA integrity_check({_MOST_LINES})") if row[0] != "ok"]
    found += [
        f"table {table}: row {row_id} points to a row of {parent} that is not there"
        for table, row_id, parent, _ in database.rows("PRAGMA foreign_key_check")[:_MOST_LINES]
    ]
    doubled = database.value("SELECT count(*) FROM picture JOIN free_slot USING (id)")
    if doubled:
        found.append(f"{doubled} slots are marked free and used at once")
    if roots.are_miscounted(database):
        found.append("the counts of files, pictures and matches are wrong")
    return found


def rebuild_indexes(database: Database) -> None:
    """Make all indexes anew from their tables."""
    database.rows("REINDEX")


def all_pictures(database: Database) -> set[int]:
    """The ids of all pictures."""
    return {row[0] for row in database.rows("SELECT id FROM picture")}


def pictures_in_parts(database: Database, size: int) -> Iterator[list[tuple[PictureId, bytes]]]:
    """All pictures with the digests of their thumbnails, ``size`` at a time."""
    last = -1
    while rows := database.rows(
        "SELECT id, thumbnail_digest FROM picture WHERE id > ? ORDER BY id LIMIT ?", (last, size)
    ):
        yield [(PictureId(picture_id), digest) for picture_id, digest in rows]
        last = rows[-1][0]


def proofs_in_parts(database: Database, size: int) -> Iterator[dict[PictureId, bytes]]:
    """All pictures that have a proof, with its digest, ``size`` at a time."""
    last = -1
    while rows := database.rows(
        "SELECT id, proof_digest FROM picture WHERE id > ? AND proof_digest IS NOT NULL ORDER BY id LIMIT ?",
        (last, size),
    ):
        yield {PictureId(picture_id): digest for picture_id, digest in rows}
        last = rows[-1][0]


def matches_in_parts(database: Database, size: int) -> Iterator[list[MatchRow]]:
    """All matches, ``size`` at a time."""
    last = (-1, -1, -1)
    while rows := database.rows(
        "SELECT a, b, mirrored, mse, structure, custom, near, joins FROM match WHERE (a, b, mirrored) > (?, ?, ?) "
        "ORDER BY a, b, mirrored LIMIT ?",
        (*last, size),
    ):
        yield rows
        last = rows[-1][:3]


def picture_digest(database: Database, picture_id: PictureId) -> bytes:
    """The digest of the thumbnail a picture must have."""
    row = database.row("SELECT thumbnail_digest FROM picture WHERE id = ?", (picture_id,))
    if row is None:
        raise database.damaged(f"picture {picture_id} is only in an index")
    return bytes(row[0])


def paths_of_picture(database: Database, picture_id: PictureId) -> list[bytes]:
    """The files that show a picture."""
    return [
        folder.rstrip(b"/") + b"/" + name
        for folder, name in database.rows(
            "SELECT folder.path, file.name FROM content JOIN file ON file.content_id = content.id "
            "JOIN folder ON folder.id = file.folder_id WHERE content.picture_id = ?",
            (picture_id,),
        )
    ]


def forget_contents(database: Database, picture_ids: Iterable[PictureId]) -> None:
    """Forget the contents that show these pictures; their files become pending. Within the caller's transaction."""
    lost = list(picture_ids)
    showing = "SELECT id FROM content WHERE picture_id = ?"
    for sql in (
        f"UPDATE file SET pending = 1, failed = 0, content_id = NULL WHERE content_id IN ({showing})",
        "DELETE FROM content WHERE picture_id = ?",
    ):
        database.many(sql, [(picture_id,) for picture_id in lost])


def drop_dangling(database: Database) -> int:
    """Remove rows that point to nothing; files among them become pending. Returns how many rows.

    Pictures that no content shows go, too, without being counted; contents that no file has are left to `tidy`. Within
    the caller's transaction.
    """
    changed = 0
    lost = "SELECT id FROM content WHERE picture_id IS NOT NULL AND picture_id NOT IN (SELECT id FROM picture)"
    again = "UPDATE file SET pending = 1, failed = 0, content_id = NULL WHERE content_id IS NOT NULL AND content_id"
    for sql in (
        "DELETE FROM match WHERE a NOT IN (SELECT id FROM picture) OR b NOT IN (SELECT id FROM picture)",
        "DELETE FROM part_match WHERE a NOT IN (SELECT id FROM picture) OR b NOT IN (SELECT id FROM picture)",
        "DELETE FROM content_look WHERE picture_id NOT IN (SELECT id FROM picture)",
        "DELETE FROM picture_to_tell WHERE picture_id NOT IN (SELECT id FROM picture)",
        "DELETE FROM rejoin WHERE picture_id NOT IN (SELECT id FROM picture)",
        f"{again} IN ({lost})",
        f"DELETE FROM content WHERE id IN ({lost})",
        f"{again} NOT IN (SELECT id FROM content)",
        "DELETE FROM file WHERE folder_id NOT IN (SELECT id FROM folder)",
        "DELETE FROM free_slot WHERE id IN (SELECT id FROM picture)",
    ):
        database.rows(sql)
        changed += int(database.value("SELECT changes()"))  # without what the triggers changed
    database.rows(
        "INSERT OR IGNORE INTO loose_content "
        "SELECT id FROM content WHERE NOT EXISTS (SELECT 1 FROM file WHERE content_id = content.id)"
    )
    without_content = database.rows(
        "SELECT id FROM picture WHERE NOT EXISTS (SELECT 1 FROM content WHERE picture_id = picture.id)"
    )
    pictures.remove(database, [PictureId(row[0]) for row in without_content])
    roots.count_anew(database)
    return changed
