"""The matches that are to be looked at again, and what came of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dupwatchd.db.connection import Database
from dupwatchd.db.parts import bindings_of
from dupwatchd.model import CloserLook, PartTold, PictureId, Verdict

MatchKey = tuple[int, int, int]  # a, b, mirrored

_TO_LOOK_AT = (
    "SELECT a, b, mirrored, first.proof_digest, second.proof_digest FROM match "
    "JOIN picture AS first ON first.id = a JOIN picture AS second ON second.id = b "
    "WHERE near = 1 AND verdict IS NULL AND first.proof_digest IS NOT NULL AND second.proof_digest IS NOT NULL "
)


@dataclass(frozen=True, slots=True)
class PairToLookAt:
    """A match without a verdict, whose two pictures have proofs."""

    key: MatchKey
    proof_digests: tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class FileOfPicture:
    """A file that shows a picture, to be looked at closely, and what is known of its content; see `model.Facts`."""

    path: bytes
    content_digest: bytes
    format: str
    lossless: bool
    has_colour: bool
    jpeg_grid: bool
    scan_digest: bytes
    from_camera: bool  # camera and capture time are known, and no editor has put its name there


def to_look_at(database: Database, after: MatchKey, limit: int) -> list[PairToLookAt]:
    """Pairs in the order of their keys, from the first one behind ``after``."""
    rows = database.rows(
        f"{_TO_LOOK_AT} AND (a, b, mirrored) > (?, ?, ?) ORDER BY a, b, mirrored LIMIT ?", (*after, limit)
    )
    return [PairToLookAt(row[:3], row[3:]) for row in rows]


def to_look_at_among(database: Database, keys: Iterable[MatchKey]) -> list[PairToLookAt]:
    """Those of these matches that are to be looked at and can be."""
    found = [row for key in keys for row in database.rows(f"{_TO_LOOK_AT} AND a = ? AND b = ? AND mirrored = ?", key)]
    return [PairToLookAt(row[:3], row[3:]) for row in found]


def any_to_look_at(database: Database) -> bool:
    """Whether any match can be looked at now, by proofs, or closely because these cannot tell."""
    wanted = f"SELECT 1 FROM match WHERE closely = {CloserLook.AT_ONCE.value} LIMIT 1"
    return bool(database.rows(f"{_TO_LOOK_AT} LIMIT 1") or database.rows(wanted))


def count_not_looked_at(database: Database) -> int:
    """How many matches are near and have no verdict yet, whether or not their pictures have proofs."""
    return int(database.value("SELECT count(*) FROM match WHERE near = 1 AND verdict IS NULL"))


def give(
    database: Database, verdicts: Iterable[tuple[MatchKey, Verdict, CloserLook]], parts: Mapping[MatchKey, PartTold]
) -> None:
    """Store verdicts by proofs, and of what is cropped which shows more. Within the caller's transaction."""
    database.many(
        "UPDATE match SET verdict = ?, closely = ?, shows_more = ?, framed = ?, outline = ? "
        "WHERE a = ? AND b = ? AND mirrored = ? AND verdict IS NULL",
        [(verdict.code, closer.value, *bindings_of(parts.get(key)), *key) for key, verdict, closer in verdicts],
    )


def give_closer(
    database: Database, key: MatchKey, verdict: Verdict, confirmed: bool | None, nearer: int | None
) -> None:
    """Store what a pair is after a closer look.

    ``nearer`` the original is: -1 the first, 1 the second, 0: nothing is shown, None: not looked for.
    """
    database.rows(
        "UPDATE match SET verdict = ?, confirmed = ?, closely = ?, nearer = ? WHERE a = ? AND b = ? AND mirrored = ?",
        (verdict.code, None if confirmed is None else int(confirmed), CloserLook.DONE.value, nearer, *key),
    )


def wanting_a_closer_look(database: Database) -> list[MatchKey]:
    """The pairs that are to be looked at closely at once: their proofs cannot tell."""
    return database.rows(
        f"SELECT a, b, mirrored FROM match WHERE closely = {CloserLook.AT_ONCE.value} ORDER BY a, b, mirrored"
    )


def to_confirm(database: Database) -> list[MatchKey]:
    """The pairs that are the same by their proofs alone, those first whose smaller picture takes the most bytes."""
    size = (
        "(SELECT max(size_bytes) FROM content JOIN file ON file.content_id = content.id WHERE content.picture_id = {})"
    )
    return database.rows(
        f"SELECT a, b, mirrored FROM match WHERE verdict = {Verdict.SAME.code} AND closely = {CloserLook.LATER.value} "
        f"ORDER BY min({size.format('a')}, {size.format('b')}) DESC, a, b, mirrored"
    )


def to_be_looked_at_closely(database: Database, key: MatchKey) -> Verdict | None:
    """The verdict by proofs of a pair that has not been looked at closely; None: it has been, or has no verdict."""
    row = database.row(
        "SELECT verdict FROM match WHERE a = ? AND b = ? AND mirrored = ? "
        f"AND closely != {CloserLook.DONE.value} AND verdict IS NOT NULL",
        key,
    )
    return None if row is None else list(Verdict)[row[0] - 1]


def of_match(database: Database, picture_id: int, other: int, *, mirrored: bool) -> Verdict | None:
    """The verdict of a stored match of two pictures, in any order; None: not looked at yet."""
    row = database.row(
        "SELECT verdict FROM match WHERE a = ? AND b = ? AND mirrored = ?",
        (min(picture_id, other), max(picture_id, other), int(mirrored)),
    )
    return None if row is None or row[0] is None else list(Verdict)[row[0] - 1]


def files_showing(database: Database, picture_id: PictureId, limit: int) -> list[FileOfPicture]:
    """Files that show a picture and lie under a root in force, sound and large ones first."""
    rows = database.rows(
        "SELECT folder.path, name, content.digest, format, lossless, has_colour, jpeg_grid, scan_digest, "
        "camera != '' AND captured != '' AND NOT edited FROM content JOIN file ON file.content_id = content.id "
        "JOIN folder ON folder.id = file.folder_id WHERE content.picture_id = ? AND folder.root_id > 0 "
        "ORDER BY content.damage IS NOT NULL, content.width * content.height DESC, content.digest, file.id LIMIT ?",
        (picture_id, limit),
    )
    return [
        FileOfPicture(
            path=folder.rstrip(b"/") + b"/" + name,
            content_digest=digest,
            format=kind,
            lossless=bool(lossless),
            has_colour=bool(has_colour),
            jpeg_grid=bool(jpeg_grid),
            scan_digest=scan_digest,
            from_camera=bool(from_camera),
        )
        for folder, name, digest, kind, lossless, has_colour, jpeg_grid, scan_digest, from_camera in rows
    ]
