"""The contents of one picture that are to be told apart, and what came of it.

Contents of one picture have equal thumbnails, proofs and frames. What they are to each other beyond that is told by
their pixels (see `model.KIND_BYTES`) or, where these differ, by a look at both; both is stored here. Triggers note
which pictures wait for that (`picture_to_tell`), and forget a look with the last content that it was at.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dupwatchd.db import schema
from dupwatchd.db.answers import folders_under
from dupwatchd.db.connection import Database
from dupwatchd.model import Verdict

PixelsPair = tuple[bytes, bytes]  # the smaller one first

# Of flat pictures, and of those without a proof, only equal bytes are copies. CROSS: few pictures are to be told.
_TO_TELL = (
    "FROM picture_to_tell CROSS JOIN picture ON picture.id = picture_to_tell.picture_id "
    "WHERE flat = 0 AND proof_digest IS NOT NULL"
)


@dataclass(frozen=True, slots=True)
class SoundContent:
    """A content that is not damaged."""

    content_id: int
    digest: bytes
    scan_digest: bytes
    frames: int
    pixels: bytes | None  # None: not read yet
    bits: int = 8  # a colour of a pixel has
    is_to_read_again: bool = False  # what it holds beside its picture may not be known


class ContentLook(NamedTuple):
    """What a look at two contents of one picture with other pixels has found; a < b."""

    picture_id: int
    a: bytes
    b: bytes
    verdict: Verdict
    confirmed: bool | None  # None: it could not tell


def any_to_tell(database: Database, but: Iterable[int] = ()) -> bool:
    """Is there a picture, but for these, with contents that are to be told apart?"""
    wanted = f"SELECT 1 {_TO_TELL} AND picture_id NOT IN (SELECT value FROM json_each(?)) LIMIT 1"
    return database.row(wanted, (json.dumps(list(but)),)) is not None


def to_tell(database: Database, roots: Sequence[bytes] | None = None) -> list[int]:
    """These pictures, those first whose contents but for the largest take the most bytes.

    Given some folders, those that a file below them shows.
    """
    size = "(SELECT max(size_bytes) FROM file WHERE content_id = content.id)"
    below, bindings = "", tuple[str, ...]()
    if roots is not None:
        below = (
            "AND EXISTS (SELECT 1 FROM content JOIN file ON file.content_id = content.id "
            "WHERE content.picture_id = picture.id AND file.folder_id IN (SELECT value FROM json_each(?)))"
        )
        bindings = (json.dumps(folders_under(database, roots)),)
    rows = database.rows(
        f"SELECT picture.id, (SELECT coalesce(sum({size}) - max({size}), 0) FROM content "
        f"WHERE content.picture_id = picture.id) {_TO_TELL} {below} ORDER BY 2 DESC, 1",
        bindings,
    )
    return [row[0] for row in rows]


def is_to_tell(database: Database, picture_id: int) -> bool:
    """Are the contents of a picture still to be told apart?"""
    return database.row(f"SELECT 1 {_TO_TELL} AND picture_id = ?", (picture_id,)) is not None


def sound_contents(database: Database, picture_id: int) -> list[SoundContent]:
    """The contents of a picture without damage; those first that are most likely to be kept, see `serve.keep`."""
    return [
        SoundContent(*row)
        for row in database.rows(
            "SELECT id, digest, scan_digest, frames, pixels, bits, captions IS NULL FROM content "
            "WHERE picture_id = ? AND damage IS NULL ORDER BY camera = '' OR captured = '', edited, jpeg_grid, "
            "-width * height, captured = '', captured, digest, way",
            (picture_id,),
        )
    ]


def files_of(database: Database, content_id: int, limit: int) -> list[bytes]:
    """The paths of files under the roots in force that have a content."""
    rows = database.rows(
        "SELECT folder.path, name FROM file JOIN folder ON folder.id = file.folder_id "
        "WHERE content_id = ? AND folder.root_id > 0 ORDER BY file.id LIMIT ?",
        (content_id, limit),
    )
    return [folder.rstrip(b"/") + b"/" + name for folder, name in rows]


def give_pixels(database: Database, content_id: int, pixels: bytes) -> None:
    """Store what tells a content from others; empty if nobody can."""
    database.rows("UPDATE content SET pixels = ? WHERE id = ?", (pixels, content_id))


def pairs_looked_at(database: Database, picture_id: int) -> set[PixelsPair]:
    """The contents of a picture, by their pixels, that were looked at."""
    return set(database.rows("SELECT a, b FROM content_look WHERE picture_id = ?", (picture_id,)))


def give_look(database: Database, look: ContentLook) -> None:
    """Store what a look has found."""
    database.rows(
        "INSERT OR REPLACE INTO content_look VALUES (?, ?, ?, ?, ?)",
        (*look[:3], look.verdict.code, None if look.confirmed is None else int(look.confirmed)),
    )


def looks_at_contents(database: Database, picture_ids: Iterable[int]) -> list[ContentLook]:
    """What was found of the contents of these pictures."""
    verdicts = list(Verdict)
    return [
        ContentLook(picture, a, b, verdicts[code - 1], None if confirmed is None else bool(confirmed))
        for picture, a, b, code, confirmed in database.rows(
            "SELECT picture_id, a, b, verdict, confirmed FROM json_each(?) JOIN content_look ON picture_id = value",
            (json.dumps(list(picture_ids)),),
        )
    ]


def told_apart(database: Database, picture_id: int, wanted: Iterable[PixelsPair]) -> None:
    """All contents of a picture are told apart; looks at others than these pairs are left of contents that are gone."""
    kept = set(wanted)
    surplus = [pair for pair in pairs_looked_at(database, picture_id) if pair not in kept]
    with database.transaction():
        database.many(
            "DELETE FROM content_look WHERE picture_id = ? AND a = ? AND b = ?",
            [(picture_id, *pair) for pair in surplus],
        )
        database.rows("DELETE FROM picture_to_tell WHERE picture_id = ?", (picture_id,))


def forget_all(database: Database) -> None:
    """Tell all contents apart anew. Within the caller's transaction."""
    for sql in (
        "DELETE FROM content_look",
        "UPDATE content SET pixels = NULL WHERE pixels IS NOT NULL",
        "DELETE FROM picture_to_tell",
        f"INSERT INTO picture_to_tell {schema.OF_SEVERAL_CONTENTS}",
    ):
        database.rows(sql)
