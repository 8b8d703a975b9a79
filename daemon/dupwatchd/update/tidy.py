"""Contents and pictures that no file shows any more are forgotten, and what only they joined is noted."""

from dupwatchd.db import facts, pictures
from dupwatchd.db.connection import Database
from dupwatchd.model import Limits, PictureId


def tidy(database: Database, limits: Limits) -> list[PictureId]:
    """Forget what no file shows any more; returns the pictures that are gone."""
    if not facts.read(database).get("untidy"):
        return []
    with database.transaction():
        gone = pictures.unused(database)
        held = pictures.matches_around(database, gone)
        if held:
            import numpy as np

            from dupwatchd.arrays import Matches
            from dupwatchd.compare.forest.spanning import to_rejoin

            compared = facts.compared_within(database) or limits
            parted = to_rejoin(Matches.from_rows(held), np.array(gone), compared)
            pictures.add_to_rejoin(database, parted.tolist())
        pictures.remove(database, gone)
        facts.write(database, {"untidy": 0})
    return gone
