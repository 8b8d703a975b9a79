"""Pictures that were indexed before proofs were kept, or have lost theirs: which they are, and how they are renewed."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from dupwatchd.db.connection import Database
from dupwatchd.db.pictures import FACTS_IN_ORDER, NewContent
from dupwatchd.model import Facts, FileId, Job, PictureId, Stamp

_MATCHED = "(EXISTS (SELECT 1 FROM match WHERE a = picture.id) OR EXISTS (SELECT 1 FROM match WHERE b = picture.id))"

_TO_READ_AGAIN = "content.captions IS NULL"  # what was read before lacks them as well


_METADATA = attrgetter("has_place", "keywords", "place", "captions", "people", "bits", "transparent")


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
        "SELECT content.id, content.digest, content.picture_id, min(file.id), folder.path, name, size_bytes, mtime_ns, "
        "file.device, inode FROM json_each(?) JOIN content ON content.picture_id = value "
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
            Job(FileId(file_id), folder.rstrip(b"/") + b"/" + name, Stamp(size_bytes, mtime_ns, device, inode)),
        )
        for content_id, digest, picture_id, file_id, folder, name, size_bytes, mtime_ns, device, inode in rows
    ]


def contents_to_read_again(database: Database, after: int, limit: int, *, matched: bool) -> list[tuple[int, PictureId]]:
    """Contents decoded before all metadata were read, with their pictures, in order, the first behind ``after``.

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
    """How many contents were decoded before all metadata were read."""
    return int(database.value(f"SELECT count(*) FROM content WHERE {_TO_READ_AGAIN}"))


def give_metadata(database: Database, read: Mapping[int, Facts]) -> None:
    """Store what contents that were read again tell beside what they show. Within the caller's transaction."""
    database.many(
        "UPDATE content SET (has_place, keywords, place, captions, people, bits, transparent) = (?, ?, ?, ?, ?, ?, ?) "
        "WHERE id = ?",
        [(*_METADATA(facts), one) for one, facts in read.items()],
    )


def renew_picture(database: Database, picture_id: PictureId, digest: bytes, proof_digest: bytes) -> None:
    """Give a picture its proof, and the digest that it has with it. Within the caller's transaction."""
    database.rows(
        "UPDATE picture SET digest = ?, proof_digest = ?, parted = 0 WHERE id = ?", (digest, proof_digest, picture_id)
    )


def renew_content(database: Database, content_id: int, content: NewContent) -> None:
    """Store what was found when a content was decoded again. Within the caller's transaction."""
    database.rows(
        "UPDATE content SET (picture_id, width, height, format, damage, frames, camera, captured, has_place, rating, "
        "edited, has_colour, lossless, jpeg_grid, quality, scan_digest, keywords, place, captions, people, bits, "
        "transparent, pixels) = "
        "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL) WHERE id = ?",
        (
            content.picture_id,
            content.width,
            content.height,
            content.format,
            content.damage,
            content.frames,
            *FACTS_IN_ORDER(content.facts),
            content_id,
        ),
    )


def unused(database: Database, picture_ids: Iterable[PictureId]) -> list[PictureId]:
    """Which of these pictures no content shows any more."""
    return [
        one for one in picture_ids if database.row("SELECT 1 FROM content WHERE picture_id = ? LIMIT 1", (one,)) is None
    ]
