"""What a question about copies reads from the database; nothing here writes."""

from collections.abc import Iterable
from dataclasses import dataclass

from dupwatchd.db.connection import Database

_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Copy:
    """One file of a cluster, as the index knows it."""

    path: bytes
    size_bytes: int
    mtime_ns: int
    device: int
    inode: int
    content_id: int
    content_digest: bytes
    picture_id: int
    width: int
    height: int


def matched_pairs(database: Database, measure: str, threshold: float, *, mirrored: bool) -> list[tuple[int, int]]:
    """Pairs of pictures within the threshold of a measure ("mse" or "structure")."""
    if measure not in ("mse", "structure"):
        raise ValueError(measure)
    return database.rows(
        f"SELECT a, b FROM match WHERE {measure} <= ? AND mirrored <= ?",
        (threshold, int(mirrored)),
    )


def shared_pictures(database: Database) -> list[int]:
    """Pictures that more than one file shows, flat ones included."""
    return [
        row[0]
        for row in database.rows(
            # two contents of one picture, or two files of one content; each part reads one index only
            "SELECT picture_id FROM content WHERE picture_id IS NOT NULL GROUP BY picture_id HAVING count(*) > 1 "
            "UNION SELECT picture_id FROM content WHERE id IN "
            "(SELECT content_id FROM file WHERE content_id IS NOT NULL GROUP BY content_id HAVING count(*) > 1) "
            "AND picture_id IS NOT NULL"
        )
    ]


def flat_pictures(database: Database) -> set[int]:
    """Pictures with too little detail: only byte-equal files of them are copies."""
    return {row[0] for row in database.rows("SELECT id FROM picture WHERE flat = 1")}


def copies_of(database: Database, picture_ids: Iterable[int]) -> list[Copy]:
    """All files that show one of these pictures."""
    wanted = list(picture_ids)
    copies: list[Copy] = []
    for start in range(0, len(wanted), _CHUNK):
        chunk = wanted[start : start + _CHUNK]
        copies += [
            Copy(folder.rstrip(b"/") + b"/" + name, *rest)
            for folder, name, *rest in database.rows(
                "SELECT folder.path, file.name, file.size_bytes, file.mtime_ns, file.device, file.inode, content.id, "
                "content.digest, content.picture_id, content.width, content.height "
                "FROM content JOIN file ON file.content_id = content.id JOIN folder ON folder.id = file.folder_id "
                f"WHERE content.picture_id IN ({','.join('?' * len(chunk))})",
                chunk,
            )
        ]
    return copies
