"""Pictures without a proof, and contents that are to be read again: which they are, and how they are renewed.

Pictures have none if they were indexed before proofs were kept, have lost theirs, or are to be decoded anew.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dupwatchd.db.connection import Database
from dupwatchd.db.pictures import FACTS_IN_ORDER, NewContent
from dupwatchd.model import FileId, Job, PictureId, Stamp
from dupwatchd.suffixes import claims_to_be_a_picture

_MATCHED = "(EXISTS (SELECT 1 FROM match WHERE a = picture.id) OR EXISTS (SELECT 1 FROM match WHERE b = picture.id))"

_TO_READ_AGAIN = "content.captions IS NULL"  # what was read before lacks them as well


@dataclass(frozen=True, slots=True)
class OldPicture:
    """A picture without a proof."""

    picture_id: PictureId
    thumbnail_digest: bytes
    flat: bool
    content_ids: frozenset[int]


@dataclass(frozen=True, slots=True)
class ToRead:
    """A content to be decoded again, from one of its files."""

    content_id: int
    content_digest: bytes
    picture_id: PictureId
    picture_digest: bytes
    job: Job


def without_proof(database: Database, after: PictureId, limit: int, *, matched: bool) -> list[PictureId]:
    """Pictures without a proof, in order, from the first one behind ``after``: those that match others, or the rest."""
    return [
        PictureId(row[0])
        for row in database.rows(
            f"SELECT id FROM picture WHERE proof_digest IS NULL AND id > ? AND {_MATCHED} = ? ORDER BY id LIMIT ?",
            (after, int(matched), limit),
        )
    ]


def count_without_proof(database: Database) -> int:
    """How many pictures have no proof."""
    return int(database.value("SELECT count(*) FROM picture WHERE proof_digest IS NULL"))


def details(database: Database, picture_ids: Iterable[PictureId]) -> list[OldPicture]:
    """What must be known of pictures to renew them."""
    rows = database.rows(
        "SELECT picture.id, thumbnail_digest, flat, json_group_array(content.id) FROM json_each(?) "
        "JOIN picture ON picture.id = value JOIN content ON content.picture_id = picture.id GROUP BY picture.id",
        (json.dumps(list(picture_ids)),),
    )
    return [
        OldPicture(PictureId(one), digest, bool(flat), frozenset(json.loads(ids))) for one, digest, flat, ids in rows
    ]


def to_read(database: Database, picture_ids: Iterable[PictureId], roots: Sequence[bytes]) -> list[ToRead]:
    """One file of each content of these pictures, as far as there is one under these roots, which are in force."""
    rows = database.rows(
        "SELECT content.id, content.digest, picture.id, picture.digest, min(file.id), folder.path, name, size_bytes, "
        "mtime_ns, file.device, inode FROM json_each(?) JOIN picture ON picture.id = value "
        "JOIN content ON content.picture_id = picture.id "
        "JOIN file ON file.content_id = content.id JOIN folder ON folder.id = file.folder_id "
        "JOIN root ON root.id = folder.root_id "
        f"WHERE file.pending = 0 AND root.path IN ({','.join('?' * len(roots))}) GROUP BY content.id",
        (json.dumps(list(picture_ids)), *roots),
    )
    return [
        ToRead(
            content_id,
            digest,
            PictureId(picture_id),
            picture_digest,
            Job(FileId(file_id), folder.rstrip(b"/") + b"/" + name, Stamp(size_bytes, mtime_ns, device, inode)),
        )
        for (
            content_id,
            digest,
            picture_id,
            picture_digest,
            file_id,
            folder,
            name,
            size_bytes,
            mtime_ns,
            device,
            inode,
        ) in rows
    ]


def contents_to_read_again(database: Database, after: int, limit: int, *, matched: bool) -> list[tuple[int, PictureId]]:
    """Contents to be read again, with their pictures, in order, the first behind ``after``.

    Those of pictures that match others or that another content shows, too, or the rest.
    """
    shared = "EXISTS (SELECT 1 FROM content AS other WHERE other.picture_id = picture.id AND other.id != content.id)"
    return database.rows(
        "SELECT content.id, picture.id FROM content JOIN picture ON picture.id = content.picture_id "
        f"WHERE {_TO_READ_AGAIN} AND content.id > ? AND ({_MATCHED} OR {shared}) = ? "
        "ORDER BY content.id LIMIT ?",
        (after, int(matched), limit),
    )


def count_to_read_again(database: Database) -> int:
    """How many contents are to be read again."""
    return int(database.value(f"SELECT count(*) FROM content WHERE {_TO_READ_AGAIN}"))


def decode_anew(database: Database, picture_ids: Iterable[PictureId]) -> None:
    """These pictures are not what their proofs show: they have none until they are renewed, and no looks.

    Within the caller's transaction.
    """
    doubtful = [(one,) for one in picture_ids]
    database.many("UPDATE picture SET proof_digest = NULL WHERE id = ?", doubtful)
    for end in ("a", "b"):
        database.many(
            "UPDATE match SET verdict = NULL, confirmed = NULL, closely = 0, nearer = NULL, shows_more = 0, "
            f"framed = 0, outline = NULL WHERE {end} = ?",
            doubtful,
        )


def renew_picture(database: Database, picture_id: PictureId, digest: bytes, proof_digest: bytes) -> None:
    """Give a picture its proof, and the digest that it has with it. Within the caller's transaction."""
    database.rows(
        "UPDATE picture SET digest = ?, proof_digest = ?, parted = 0 WHERE id = ?", (digest, proof_digest, picture_id)
    )


def renew_content(database: Database, content_id: int, content: NewContent) -> None:
    """Store what was found when a content was decoded again. Within the caller's transaction.

    What tells it from other contents of its picture stays only if it is coded as it was, and no film was found in it
    that was not known: that would be part of what was told before.
    """
    facts = content.facts
    told_by = content.picture_id, content.damage, content.frames, facts.scan_digest, facts.holds, facts.holds
    database.rows(
        "UPDATE content SET pixels = CASE WHEN (picture_id, damage, frames, scan_digest) IS (?, ?, ?, ?) "
        "AND (holds = ? OR instr(?, 'film (') = 0) THEN pixels END, (picture_id, width, height, format, error, "
        "foreign_kind, damage, frames, camera, captured, has_place, rating, edited, has_colour, lossless, jpeg_grid, "
        "quality, scan_digest, keywords, place, captions, people, bits, transparent, exposure, holds) = "
        "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) WHERE id = ?",
        (
            *told_by,
            content.picture_id,
            content.width,
            content.height,
            content.format,
            content.error,
            int(not content.is_image),
            content.damage,
            content.frames,
            *FACTS_IN_ORDER(content.facts),
            content_id,
        ),
    )
    database.rows(
        "INSERT OR IGNORE INTO picture_to_tell SELECT picture_id FROM content WHERE id = ? AND pixels IS NULL "
        "AND (SELECT count(*) FROM content AS other WHERE other.picture_id = content.picture_id) > 1",
        (content_id,),
    )
    if content.error is not None:
        failed = [
            (file_id,)
            for file_id, name in database.rows("SELECT id, name FROM file WHERE content_id = ?", (content_id,))
            if content.is_image or claims_to_be_a_picture(name)
        ]
        database.many("UPDATE file SET failed = 1 WHERE id = ?", failed)


def unused(database: Database, picture_ids: Iterable[PictureId]) -> list[PictureId]:
    """Which of these pictures no content shows any more."""
    return [
        one for one in picture_ids if database.row("SELECT 1 FROM content WHERE picture_id = ? LIMIT 1", (one,)) is None
    ]
