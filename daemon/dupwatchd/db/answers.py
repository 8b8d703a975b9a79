"""What a question about copies reads from the database; nothing here writes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dupwatchd.db.connection import Database, Row
from dupwatchd.db.files import under

_CHUNK = 500
_ROWS_AT_ONCE = 50_000  # 15 MB of rows as Python objects

# Pictures of two contents, and of two files of one content; each reads one index only.
_OF_SOME_CONTENTS = (
    "SELECT picture_id FROM content WHERE picture_id IS NOT NULL GROUP BY picture_id HAVING count(*) > 1"
)
_OF_SOME_FILES = (
    "SELECT picture_id FROM content WHERE picture_id IS NOT NULL AND id IN "
    "(SELECT content_id FROM file WHERE content_id IS NOT NULL GROUP BY content_id HAVING count(*) > 1)"
)

_COPY = (
    "SELECT folder.path, file.name, file.size_bytes, file.mtime_ns, file.device, file.inode, content.id, "
    "content.digest, content.picture_id, content.width, content.height "
    "FROM content JOIN file ON file.content_id = content.id JOIN folder ON folder.id = file.folder_id"
)

_IN_FORCE = "folder.root_id != 0"  # the file lies under a root in force, see `roots`


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


def any_copies(database: Database, measure: str, threshold: float, *, mirrored: bool) -> bool:
    """Can there be any cluster: two pictures within the threshold of a measure, or two files of one picture?"""
    if measure not in ("mse", "structure", "custom"):
        raise ValueError(measure)
    matched = f"SELECT 1 FROM match WHERE {measure} <= ? AND mirrored <= ? LIMIT 1"
    return bool(
        database.row(matched, (threshold, int(mirrored)))
        or database.row(f"{_OF_SOME_CONTENTS} LIMIT 1")
        or database.row(f"{_OF_SOME_FILES} LIMIT 1")
    )


def matches_in_parts(database: Database) -> Iterator[list[Row]]:
    """All matches, some at a time: the two pictures, whether mirrored, mse, structure, custom."""
    last = (-1, -1, -1)
    while rows := database.rows(
        "SELECT a, b, mirrored, mse, structure, custom FROM match WHERE (a, b, mirrored) > (?, ?, ?) "
        "ORDER BY a, b, mirrored LIMIT ?",
        (*last, _ROWS_AT_ONCE),
    ):
        yield rows
        last = rows[-1][:3]


def shared_pictures(database: Database) -> list[int]:
    """Pictures that more than one file shows, flat ones included."""
    return [row[0] for row in database.rows(f"{_OF_SOME_CONTENTS} UNION {_OF_SOME_FILES}")]


def flat_pictures(database: Database) -> list[int]:
    """Pictures with too little detail: only byte-equal files of them are copies."""
    return [row[0] for row in database.rows("SELECT id FROM picture WHERE flat = 1")]


def numbers_of_files(database: Database, picture_ids: Iterable[int]) -> Iterator[list[Row]]:
    """The files that show one of these pictures, some at a time.

    Of each: picture, content, pixels, bytes, folder, device, inode, first 8 bytes of the content's digest.
    """
    for chunk in _chunks(picture_ids):
        yield database.rows(
            "SELECT content.picture_id, content.id, content.width * content.height, file.size_bytes, file.folder_id, "
            "file.device, file.inode, substr(content.digest, 1, 8) "
            "FROM content JOIN file ON file.content_id = content.id "
            f"WHERE content.picture_id IN ({','.join('?' * len(chunk))})",
            chunk,
        )


def copies_of(database: Database, picture_ids: Iterable[int]) -> list[Copy]:
    """All files that show one of these pictures."""
    return [
        _copy(row)
        for chunk in _chunks(picture_ids)
        for row in database.rows(f"{_COPY} WHERE content.picture_id IN ({','.join('?' * len(chunk))})", chunk)
    ]


def any_copy_of(database: Database, picture_id: int) -> Copy | None:
    """Some file that shows a picture."""
    row = database.row(f"{_COPY} WHERE content.picture_id = ? AND {_IN_FORCE} LIMIT 1", (picture_id,))
    return None if row is None else _copy(row)


def copy_of_file(database: Database, file_id: int) -> Copy | None:
    """A file that shows a picture; None if it shows none."""
    row = database.row(f"{_COPY} WHERE file.id = ? AND content.picture_id IS NOT NULL", (file_id,))
    return None if row is None else _copy(row)


def another_copy(database: Database, copy: Copy, file_id: int) -> Copy | None:
    """Some other file under a root in force that shows the same picture; if that is flat, one of the same content."""
    row = database.row(
        f"{_COPY} JOIN picture ON picture.id = content.picture_id "
        f"WHERE content.picture_id = ? AND file.id != ? AND (NOT picture.flat OR content.id = ?) AND {_IN_FORCE} "
        "LIMIT 1",
        (copy.picture_id, file_id, copy.content_id),
    )
    return None if row is None else _copy(row)


def _copy(row: Row) -> Copy:
    folder, name, *rest = row
    return Copy(folder.rstrip(b"/") + b"/" + name, *rest)


def folders_under(database: Database, paths: Iterable[bytes]) -> list[int]:
    """The ids of these folders and of all below them."""
    found: set[int] = set()
    for path in paths:
        where, bindings = under(path.rstrip(b"/") or b"/")
        found.update(row[0] for row in database.rows(f"SELECT id FROM folder WHERE {where}", bindings))
    return sorted(found)


def _chunks(picture_ids: Iterable[int]) -> Iterator[list[int]]:
    wanted = list(picture_ids)
    for start in range(0, len(wanted), _CHUNK):
        yield wanted[start : start + _CHUNK]


def matches_from_nearest(database: Database, picture_id: int) -> list[tuple[int, bool]]:
    """The stored matches of a picture, the nearest in structure first: the other one, and whether it is mirrored."""
    rows = database.rows(
        "SELECT b, structure, mirrored FROM match WHERE a = ? "
        "UNION ALL SELECT a, structure, mirrored FROM match WHERE b = ? ORDER BY 2",
        (picture_id, picture_id),
    )
    return [(other, bool(mirrored)) for other, _, mirrored in rows]


def copies_of_digest(database: Database, digest: bytes) -> list[Copy]:
    """All files with these very bytes that show a picture."""
    found = database.rows("SELECT DISTINCT picture_id FROM content WHERE digest = ? AND picture_id NOT NULL", (digest,))
    return [copy for copy in copies_of(database, [row[0] for row in found]) if copy.content_digest == digest]
