"""What an index holds, without the numbers of its rows, which depend on the order in which files came."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

_CONTENT_COLUMNS = (
    "way", "width", "height", "format", "error", "foreign_kind", "damage", "frames", "camera", "captured",
    "has_place", "rating", "edited", "has_colour", "lossless", "jpeg_grid", "quality", "scan_digest", "keywords",
    "place", "captions", "people", "bits", "transparent", "exposure", "holds",
)  # fmt: skip


def _columns(table: str, names: tuple[str, ...]) -> str:
    return ", ".join(f"{table}.{name}" for name in names)


def rows(state: Path) -> dict[str, set[tuple[Any, ...]]]:
    """Files with their contents and pictures, matches with their verdicts, and keypoints by picture, each as a set.

    The digest of a picture tells what its proof holds; how that is packed differs now and then, and does not count.
    """
    with closing(sqlite3.connect(f"file:{state}/dupwatch.sqlite?mode=ro", uri=True)) as database:
        files = database.execute(
            "SELECT folder.path, name, size_bytes, mtime_ns, pending, file.error, file.failed, content.digest, "
            f"{_columns('content', _CONTENT_COLUMNS)}, picture.digest, picture.flat "
            "FROM file JOIN folder ON folder.id = folder_id LEFT JOIN content ON content.id = content_id "
            "LEFT JOIN picture ON picture.id = picture_id"
        ).fetchall()
        matches = [(*sorted((a, b)), *values) for a, b, values in _matches(database)]
        pictures = dict(database.execute("SELECT id, digest FROM picture"))
    with closing(sqlite3.connect(f"file:{state}/proofs.sqlite?mode=ro", uri=True)) as proofs:
        keypoints = {
            (pictures.get(picture), data) for picture, data in proofs.execute("SELECT id, data FROM keypoints")
        }
    return {"files": set(files), "matches": set(matches), "keypoints": keypoints}


def _matches(database: sqlite3.Connection) -> Iterator[tuple[bytes, bytes, list[Any]]]:
    """Both digests, and all that is known of the two as they are sorted."""
    for a, b, nearer, shows_more, *rest in database.execute(
        "SELECT one.digest, other.digest, nearer, shows_more, mirrored, mse, structure, joins, near, verdict, "
        "confirmed, closely, framed, outline "
        "FROM match JOIN picture one ON one.id = a JOIN picture other ON other.id = b"
    ):
        turned = -1 if a > b else 1
        yield a, b, [*rest, turned * shows_more, nearer and turned * nearer]


def count_pending(state: Path) -> tuple[int, int]:
    """How many files are pending, and how many are known; none while there is no database."""
    try:
        with closing(sqlite3.connect(f"file:{state}/dupwatch.sqlite?mode=ro", uri=True)) as database:
            pending, known = database.execute("SELECT coalesce(sum(pending > 0), 0), count(*) FROM file").fetchone()
            return int(pending), int(known)
    except sqlite3.Error:
        return 0, 0
