"""Thumbnails that are lost or damaged are made again from the photos.

In goes an index whose blocks do not hold what its database says; out comes one in which every thumbnail is what it
should be. The pictures whose thumbnails are lost are forgotten, so that their files are pending and are read like new
ones; what people said of pictures is kept by content and stays.
"""

from collections.abc import Iterator

from dupwatchd.arrays import Thumbnail
from dupwatchd.blocks.store import BlockStore, thumbnail_digest
from dupwatchd.db import pictures, upkeep
from dupwatchd.db.connection import Database
from dupwatchd.errors import DamagedBlocksError
from dupwatchd.model import Limits, PictureId, Progress
from dupwatchd.update.tidy import remove_pictures

_AT_ONCE = 1024


def forget_lost_thumbnails(
    database: Database, thumbnails: BlockStore, limits: Limits, progress: Progress
) -> list[PictureId]:
    """Compare all thumbnails with their digests, and forget the pictures of those that are lost; returns them.

    Their slots are free and hold zeros, and pictures that were joined through them are noted to be compared again.
    Raises StateError if the blocks cannot be read or written.
    """
    progress.stage("checking thumbnails", None, "pictures")
    lost: list[PictureId] = []
    for rows in upkeep.pictures_in_parts(database, _AT_ONCE):
        lost += wrong_thumbnails(thumbnails, rows)
        progress.advance(len(rows))
    forget_pictures(database, lost, limits)
    thumbnails.extend(pictures.count_slots(database))
    thumbnails.sync()
    return lost


def wrong_thumbnails(thumbnails: BlockStore, expected: list[tuple[PictureId, bytes]]) -> Iterator[PictureId]:
    """Of these pictures and the digests of their thumbnails, those whose thumbnails are missing or others."""
    sound = {picture_id for picture_id, _ in sound_thumbnails(thumbnails, expected)}
    yield from (picture_id for picture_id, _ in expected if picture_id not in sound)


def sound_thumbnails(
    thumbnails: BlockStore, expected: list[tuple[PictureId, bytes]]
) -> Iterator[tuple[PictureId, Thumbnail]]:
    """Of these pictures and the digests of their thumbnails, those that have the thumbnail they should, in order."""
    try:
        found = thumbnails.read([picture_id for picture_id, _ in expected])
    except DamagedBlocksError:
        if len(expected) > 1:
            middle = len(expected) // 2
            for half in (expected[:middle], expected[middle:]):
                yield from sound_thumbnails(thumbnails, half)
        return
    for (picture_id, digest), thumbnail in zip(expected, found, strict=True):
        if thumbnail_digest(thumbnail) == digest:
            yield picture_id, thumbnail


def forget_pictures(database: Database, lost: list[PictureId], limits: Limits) -> None:
    """Forget pictures whose thumbnails are lost: their files are pending, and their slots are free.

    Pictures that were joined through them are noted to be compared again.
    """
    with database.transaction():
        upkeep.forget_contents(database, lost)
        remove_pictures(database, lost, limits)
