"""Contents, pictures and their matches: what was decoded, what it looks like, what it resembles."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import TypeVar

from dupwatchd.db.connection import Database, Row
from dupwatchd.model import Decoded, Facts, FileId, PictureId

T = TypeVar("T")

_CHUNK = 500  # bindings per statement; SQLite takes 32766, short statements stay in its cache

# a, b, mirrored, mse, structure, custom, 1 if near (looked at again), 1 if it belongs to a spanning forest
MatchRow = tuple[int, int, int, float, float, float | None, int, int]
_MATCH = "a, b, mirrored, mse, structure, custom, near, joins"
# What looks at both pictures have found, and what stands for nothing. Only a match that is near has any: what were left
# of a time when it was near would depend on the order in which pictures came.
_LOOKED: dict[str, str] = {
    "verdict": "NULL", "confirmed": "NULL", "closely": "0", "nearer": "NULL", "shows_more": "0", "framed": "0",
    "outline": "NULL",
}  # fmt: skip

FACTS_IN_ORDER = attrgetter(*(one.name for one in fields(Facts)))  # a tuple; `astuple` takes thirty times as long

ContentKey = tuple[bytes, int]  # digest of the bytes, way of reading


@dataclass(frozen=True, slots=True)
class NewPicture:
    """A picture to be added: its slot in the blocks, its digests, and whether it is flat."""

    picture_id: PictureId
    digest: bytes  # of thumbnail, proof and frames: equal digests are one picture
    flat: bool
    thumbnail_digest: bytes
    proof_digest: bytes | None


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
    damage: str | None = None
    frames: int = 1
    facts: Facts = field(default_factory=Facts)

    @classmethod
    def of(cls, key: ContentKey, picture_id: PictureId, decoded: Decoded) -> "NewContent":
        """One that was decoded."""
        return cls(
            key, picture_id, decoded.width, decoded.height, decoded.format, None,
            damage=decoded.damage, frames=decoded.frames, facts=decoded.facts,
        )  # fmt: skip


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
    database.many(
        "INSERT INTO picture (id, digest, flat, thumbnail_digest, proof_digest) VALUES (?, ?, ?, ?, ?)",
        [(p.picture_id, p.digest, int(p.flat), p.thumbnail_digest, p.proof_digest) for p in pictures],
    )
    database.many("DELETE FROM free_slot WHERE id = ?", [(p.picture_id,) for p in pictures])


def give_proofs(database: Database, digests: Mapping[PictureId, bytes]) -> None:
    """Name the proofs of pictures that had none; they are stored already. Their keypoints are to be searched."""
    database.many(
        "UPDATE picture SET proof_digest = ?, parted = 0 WHERE id = ?",
        [(digest, one) for one, digest in digests.items()],
    )


def forget_proofs(database: Database, picture_ids: Iterable[PictureId]) -> None:
    """These pictures have no proof any more."""
    database.many("UPDATE picture SET proof_digest = NULL WHERE id = ?", [(one,) for one in picture_ids])


def without_proof(database: Database, picture_ids: Iterable[PictureId]) -> set[PictureId]:
    """Which of these pictures have no proof."""
    return {
        PictureId(row[0])
        for chunk in _chunks(list(picture_ids))
        for row in database.rows(
            f"SELECT id FROM picture WHERE proof_digest IS NULL AND id IN ({','.join('?' * len(chunk))})", chunk
        )
    }


def add_content(database: Database, content: NewContent) -> int:
    """Add a content; returns its id."""
    return int(
        database.value(
            "INSERT INTO content (digest, way, picture_id, width, height, format, error, foreign_kind, damage, frames, "
            "camera, captured, has_place, rating, edited, has_colour, lossless, jpeg_grid, quality, scan_digest, "
            "keywords, place, captions, people, bits, transparent, exposure, holds) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
            (
                *content.key,
                content.picture_id,
                content.width,
                content.height,
                content.format,
                content.error,
                int(not content.is_image),
                content.damage,
                content.frames,
                *FACTS_IN_ORDER(content.facts),
            ),
        )
    )


def add_matches(database: Database, matches: Iterable[MatchRow]) -> None:
    """Add matches between pictures that are there already; one that is there too is replaced, but for its verdict.

    One that is near no more loses that as well.
    """
    looked = ", ".join(f"{one} = CASE excluded.near WHEN 1 THEN {one} ELSE {none} END" for one, none in _LOOKED.items())
    database.many(  # not REPLACE, which removes rows without a word to the triggers that count
        f"INSERT INTO match ({_MATCH}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (a, b, mirrored) DO UPDATE SET mse = excluded.mse, structure = excluded.structure, "
        f"custom = excluded.custom, near = excluded.near, joins = excluded.joins, {looked}",
        matches,
    )


def remove_matches(database: Database, keys: Iterable[tuple[int, int, int]]) -> None:
    """Remove the matches with these (a, b, mirrored)."""
    database.many("DELETE FROM match WHERE a = ? AND b = ? AND mirrored = ?", keys)


def set_verdicts_aside(database: Database) -> None:
    """Keep the verdicts until `bring_verdicts_back`, in the same transaction, while all matches are made anew."""
    database.rows(
        f"CREATE TEMP TABLE aside AS SELECT a, b, mirrored, mse, structure, {', '.join(_LOOKED)} FROM match "
        "WHERE verdict IS NOT NULL"
    )


def bring_verdicts_back(database: Database) -> None:
    """Give the matches that are there again, and near, their verdicts."""
    database.rows(
        f"UPDATE match SET ({', '.join(_LOOKED)}) = ({', '.join(f'aside.{name}' for name in _LOOKED)}) FROM aside "
        "WHERE match.a = aside.a AND match.b = aside.b AND match.mirrored = aside.mirrored "
        "AND match.mse = aside.mse AND match.structure = aside.structure AND match.near = 1"
    )
    database.rows("DROP TABLE aside")


def remove_all_matches(database: Database) -> None:
    """Forget all matches, before everything is compared anew."""
    database.rows("DELETE FROM match")
    database.rows("DELETE FROM rejoin")


def matches_around(database: Database, picture_ids: Iterable[int]) -> list[MatchRow]:
    """The matches in forests of everything that is joined with these pictures, directly or through others."""
    return database.rows(
        "WITH RECURSIVE reached(id) AS (SELECT value FROM json_each(?) "
        "UNION SELECT match.b FROM reached JOIN match ON match.a = reached.id WHERE match.joins = 1 "
        "UNION SELECT match.a FROM reached JOIN match ON match.b = reached.id WHERE match.joins = 1) "
        f"SELECT {_MATCH} FROM reached JOIN match ON match.a = reached.id WHERE match.joins = 1",
        (json.dumps(list(picture_ids)),),
    )


def matches_beside(database: Database, picture_ids: Iterable[int]) -> list[MatchRow]:
    """All stored matches of these pictures; a match between two of them comes twice."""
    ids = json.dumps(list(picture_ids))
    return database.rows(
        f"SELECT {_MATCH} FROM json_each(?) JOIN match ON a = value "
        f"UNION ALL SELECT {_MATCH} FROM json_each(?) JOIN match ON b = value",
        (ids, ids),
    )


def crowded_beside(database: Database, picture_ids: Iterable[int], looks: int) -> list[int]:
    """The pictures with a near match of one of these, and with ``looks`` near matches or more; not these themselves.

    Of whoever has fewer, all matches are stored.
    """
    ids = json.dumps(list(picture_ids))
    return [
        row[0]
        for row in database.rows(
            "WITH given(id) AS (SELECT value FROM json_each(?)), "
            "beside(id) AS (SELECT b FROM given JOIN match ON a = id WHERE near = 1 "
            "UNION SELECT a FROM given JOIN match ON b = id WHERE near = 1) "
            "SELECT id FROM beside WHERE id NOT IN (SELECT id FROM given) "
            "AND (SELECT count(*) FROM match WHERE a = beside.id AND near = 1) "
            "+ (SELECT count(*) FROM match WHERE b = beside.id AND near = 1) >= ?",
            (ids, looks),
        )
    ]


def thumbnail_digests(database: Database, picture_ids: Sequence[int]) -> list[bytes]:
    """The digests of the thumbnails of pictures, in the order asked for; zeros for a picture that is not there."""
    rows = database.rows(
        "SELECT picture.id, thumbnail_digest FROM json_each(?) JOIN picture ON picture.id = value",
        (json.dumps(list(picture_ids)),),
    )
    found: dict[int, bytes] = dict(rows)
    return [found.get(one, bytes(16)) for one in picture_ids]


def digest_prefixes(database: Database, picture_ids: Iterable[int]) -> dict[int, int]:
    """The first 8 bytes of the digests of pictures, as numbers."""
    rows = database.rows(
        "SELECT picture.id, digest FROM json_each(?) JOIN picture ON picture.id = value",
        (json.dumps(list(picture_ids)),),
    )
    return {picture_id: digest_prefix(digest) for picture_id, digest in rows}


def digest_prefix(digest: bytes) -> int:
    """The first 8 bytes of a digest as a number."""
    return int.from_bytes(digest[:8].ljust(8, b"\0"))


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
        "DELETE FROM part_match WHERE a = ?",
        "DELETE FROM part_match WHERE b = ?",
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
