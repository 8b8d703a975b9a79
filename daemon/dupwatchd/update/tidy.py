"""Contents and pictures that no file shows any more are removed, and what only they joined is noted.

In goes the database as a look left it; out come the pictures that are gone, for whoever keeps pictures in memory.
"""

from dupwatchd.db import facts, parts, pictures
from dupwatchd.db.connection import Database
from dupwatchd.model import Limits, PictureId


def tidy(database: Database, limits: Limits) -> list[PictureId]:
    """Remove what no file shows any more; returns the pictures that are gone.

    ``limits`` stand for what was compared if nothing is noted about that. Pictures that were joined only through one
    that is gone are noted in the same transaction, to be compared again by `Intake.rejoin`.
    """
    if not pictures.any_loose_content(database):
        return []
    with database.transaction():
        gone = pictures.remove_unused_contents(database)
        remove_pictures(database, gone, limits)
    return gone


def remove_pictures(database: Database, gone: list[PictureId], limits: Limits) -> None:
    """Remove pictures, and note which others must be searched again. Within the caller's transaction."""
    compared = facts.compared_within(database) or limits
    parts.search_again(database, parts.crowded_beside(database, gone, compared.looks_per_picture))
    held = pictures.matches_around(database, gone)
    if held:
        import numpy as np  # here, because a scan that finds nothing new does without

        from dupwatchd.arrays import Matches
        from dupwatchd.compare.forest.spanning import to_rejoin

        parted = to_rejoin(Matches.from_rows([row[:6] for row in held]), np.array(gone), compared)
        pictures.add_to_rejoin(database, parted.tolist())
        # Another match may now be among the nearest of those that had a match with one that goes.
        pictures.add_to_rejoin(database, pictures.crowded_beside(database, gone, compared.looks_per_picture))
    pictures.remove(database, gone)
