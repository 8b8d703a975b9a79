"""Contents and pictures that no file shows any more are removed, and what only they joined is noted.

In goes the database as a look left it; out come the pictures that are gone, for whoever keeps pictures in memory.
"""

from dupwatchd.db import facts, pictures
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
        held = pictures.matches_around(database, gone)
        if held:
            import numpy as np  # here, because a scan that finds nothing new does without

            from dupwatchd.arrays import Matches
            from dupwatchd.compare.forest.spanning import to_rejoin

            compared = facts.compared_within(database) or limits
            parted = to_rejoin(Matches.from_rows(held), np.array(gone), compared)
            pictures.add_to_rejoin(database, parted.tolist())
        pictures.remove(database, gone)
    return gone
