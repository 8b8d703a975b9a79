"""Contents, pictures and their matches: what was decoded, what it looks like, what it resembles."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from dupwatchd.db.connection import Database, Row
from dupwatchd.model import FileId, PictureId

T = TypeVar("T")

_CHUNK = 500  # bindings per statement; SQLite takes 32766, short statements stay in its cache

MatchRow = tuple[int, int, int, float, float, float | None]  # a, b, mirrored, mse, structure, custom

ContentKey = tuple[bytes, int]  # digest of the bytes, way of reading


@dataclass(frozen=True, slots=True)
class NewPicture:
    """A picture to be added: its slot in the blocks, the digest of its thumbnail, whether it is flat."""

    picture_id: PictureId
    digest: bytes
    flat: bool


@dataclass(frozen=True, slots=True)
class NewContent:
    """A content to be added: either its picture and upright size in px, or why it could not be decoded."""

    key: ContentKey
    picture_id: PictureId | None
    width: int | None
    height: int | None
    format: str | None
    error: str | None
    is_image: bool = True


def content_ids(database: Database, keys: Iterable[ContentKey]) -> dict[ContentKey, int]:
    """Which of these contents are known: key → content id."""
    wanted = set(keys)
    return {
        (digest, way): content_id
        for digest, way, content_id in _by_digest(database, "digest, way, id FROM content", {d for d, _ in wanted})
        if (digest, way) in wanted
    }


def picture_ids(database: Database, digests: Iterable[bytes]) -> dict[bytes, PictureId]:
    """Which of these thumbnails are known: digest → picture id."""
    return {digest: PictureId(found) for digest, found in _by_digest(database, "digest, id FROM picture", digests)}


def _by_digest(database: Database, what: str, digests: Iterable[bytes]) -> list[Row]:
    found: list[Row] = []
    for chunk in _chunks(list(digests)):
        found += database.rows(f"SELECT {what} WHERE digest IN ({','.join('?' * len(chunk))})", chunk)
    return found


def _chunks(items: list[T]) -> Iterator[list[T]]:
    for start in range(0, len(items), _CHUNK):
        yield items[start : start + _CHUNK]


def of_files(database: Database, file_ids: Iterable[int]) -> dict[FileId, PictureId]:
    """The picture that each of these files shows, if it shows one."""
    found: dict[FileId, PictureId] = {}
    for chunk in _chunks(list(file_ids)):
        found |= {
            FileId(file_id): PictureId(picture_id)
            for file_id, picture_id in database.rows(
                "SELECT file.id, content.picture_id FROM file JOIN content ON content.id = file.content_id "
                f"WHERE content.picture_id IS NOT NULL AND file.id IN ({','.join('?' * len(chunk))})",
                chunk,
            )
        }
    return found


def next_slots(database: Database, wanted: int) -> list[PictureId]:
    """Slots for new pictures: freed ones first, then new ones at the end. Nothing is reserved."""
    freed = [row[0] for row in database.rows("SELECT id FROM free_slot ORDER BY id LIMIT ?", (wanted,))]
    end = count_slots(database)
    return [PictureId(slot) for slot in (*freed, *range(end, end + wanted - len(freed)))]


def count_slots(database: Database) -> int:
    """How many slots of the blocks have ever been used."""
    used = database.value(
        "SELECT max(coalesce((SELECT max(id) FROM picture), -1), coalesce((SELECT max(id) FROM free_slot), -1))"
    )
    return int(used) + 1


def add_pictures(database: Database, pictures: Sequence[NewPicture]) -> None:
    """Add pictures whose thumbnails are in the blocks already, synced."""
    database.many("INSERT INTO picture VALUES (?, ?, ?)", [(p.picture_id, p.digest, int(p.flat)) for p in pictures])
    database.many("DELETE FROM free_slot WHERE id = ?", [(p.picture_id,) for p in pictures])


def add_content(database: Database, content: NewContent) -> int:
    """Add a content; returns its id."""
    return int(
        database.value(
            "INSERT INTO content (digest, way, picture_id, width, height, format, error, foreign_kind) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
            (
                *content.key,
                content.picture_id,
                content.width,
                content.height,
                content.format,
                content.error,
                int(not content.is_image),
            ),
        )
    )


def add_matches(database: Database, matches: Iterable[MatchRow]) -> None:
    """Add matches between pictures that are there already; one that is there too is replaced."""
    database.many(  # not REPLACE, which removes rows without a word to the triggers that count
        "INSERT INTO match VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (a, b, mirrored) DO UPDATE SET "
        "mse = excluded.mse, structure = excluded.structure, custom = excluded.custom",
        matches,
    )


def remove_matches(database: Database, keys: Iterable[tuple[int, int, int]]) -> None:
    """Remove the matches with these (a, b, mirrored)."""
    database.many("DELETE FROM match WHERE a = ? AND b = ? AND mirrored = ?", keys)


def remove_all_matches(database: Database) -> None:
    """Forget all matches, before everything is compared anew."""
    database.rows("DELETE FROM match")
    database.rows("DELETE FROM rejoin")


def matches_around(database: Database, picture_ids: Iterable[int]) -> list[MatchRow]:
    """All matches of everything that is joined with these pictures, directly or through others."""
    return database.rows(
        "WITH RECURSIVE reached(id) AS (SELECT value FROM json_each(?) "
        "UNION SELECT match.b FROM reached JOIN match ON match.a = reached.id "
        "UNION SELECT match.a FROM reached JOIN match ON match.b = reached.id) "
        "SELECT a, b, mirrored, mse, structure, custom FROM reached JOIN match ON match.a = reached.id",
        (json.dumps(list(picture_ids)),),
    )


def any_loose_content(database: Database) -> bool:
    """Is there a content that has lost a file since `remove_unused_contents`?"""
    return bool(database.rows("SELECT 1 FROM loose_content LIMIT 1"))


def remove_unused_contents(database: Database) -> list[PictureId]:
    """Remove contents that no file has any more; returns the pictures that no content has then, in order.

    Within the caller's transaction. Only contents that have lost a file are looked at.
    """
    gone = database.rows(
        "DELETE FROM content WHERE id IN (SELECT id FROM loose_content) "
        "AND NOT EXISTS (SELECT 1 FROM file WHERE content_id = content.id) RETURNING picture_id"
    )
    database.rows("DELETE FROM loose_content")
    shown = "SELECT 1 FROM content WHERE picture_id = ? LIMIT 1"
    candidates = {picture_id for (picture_id,) in gone if picture_id is not None}
    return [PictureId(one) for one in sorted(candidates) if database.row(shown, (one,)) is None]


def remove(database: Database, picture_ids: Iterable[PictureId]) -> None:
    """Remove pictures and their matches; their slots become free."""
    gone = [(picture_id,) for picture_id in picture_ids]
    for sql in (
        "DELETE FROM match WHERE a = ?",
        "DELETE FROM match WHERE b = ?",
        "DELETE FROM rejoin WHERE picture_id = ?",
        "DELETE FROM picture WHERE id = ?",
        "INSERT INTO free_slot VALUES (?)",
    ):
        database.many(sql, gone)


def add_to_rejoin(database: Database, picture_ids: Iterable[int]) -> None:
    """Note that all matches of these pictures must be found again: what held them to others is gone."""
    database.many("INSERT OR IGNORE INTO rejoin VALUES (?)", [(picture_id,) for picture_id in picture_ids])


def to_rejoin(database: Database) -> list[PictureId]:
    """The pictures noted by `add_to_rejoin`."""
    return [PictureId(row[0]) for row in database.rows("SELECT picture_id FROM rejoin ORDER BY 1")]


def rejoined(database: Database, picture_ids: Iterable[PictureId]) -> None:
    """The matches of these pictures have been found again."""
    database.many("DELETE FROM rejoin WHERE picture_id = ?", [(picture_id,) for picture_id in picture_ids])


def searchable(database: Database) -> list[PictureId]:
    """The pictures that take part in comparisons, in ascending order: all but the flat ones."""
    return [PictureId(row[0]) for row in database.rows("SELECT id FROM picture WHERE flat = 0 ORDER BY id")]


def exist(database: Database) -> bool:
    """Is any picture known?"""
    return bool(database.rows("SELECT 1 FROM picture LIMIT 1"))
