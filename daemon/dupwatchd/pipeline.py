"""The way of a change, on one page: watch → index → blocks → compare → db.

    survey   watch → db: walk the roots; new and changed files become pending, gone ones are removed
    intake   index → blocks → compare → db: what is pending is read; each batch is made durable with its matches
    tidy     contents and pictures that no file shows any more are forgotten: a moved file has kept its picture
    rejoin   what was joined only through a picture that is gone is searched again

Killed at any point, the next run finds the files of unfinished batches pending and ends in the same state as an
undisturbed run. Everything here runs in one thread; the worker processes are behind the intake's pool.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from dupwatchd.db import facts, files, pictures
from dupwatchd.db.connection import Database
from dupwatchd.model import Limits, PictureId, Progress
from dupwatchd.survey import Survey, survey
from dupwatchd.watch.walk import WalkRules

if TYPE_CHECKING:
    from dupwatchd.intake import Intake


def bring_up_to_date(
    database: Database,
    roots: Sequence[bytes],
    rules: WalkRules,
    limits: Limits,
    open_intake: Callable[[], "Intake"],
    progress: Progress,
) -> tuple[Survey, int]:
    """Make the index agree with what is under the roots; returns the survey and how many files are still changing.

    ``open_intake`` is called only if there is something to read or to compare: a run that finds nothing new starts no
    process and loads no array library.
    """
    found = survey(database, roots, rules, progress)
    changing = 0
    intake: Intake | None = None
    if any(files.count_pending(database, root) for root in roots):
        intake = open_intake()
        changing = intake.take_in(roots)
    gone = _tidy(database, limits)
    if intake is not None:
        intake.forget(gone)
    compared = facts.compared_within(database)
    if (compared is None or compared != limits.widened(compared)) and pictures.exist(database):
        intake = intake or open_intake()
        intake.compare_anew_if_needed()
    if pictures.to_rejoin(database):
        intake = intake or open_intake()
        intake.rejoin()
    return found, changing


def _tidy(database: Database, limits: Limits) -> list[PictureId]:
    """Forget what no file shows any more; returns the pictures that are gone."""
    if not facts.read(database).get("untidy"):
        return []
    with database.transaction():
        gone = pictures.unused(database)
        held = pictures.matches_around(database, gone)
        if held:
            import numpy as np

            from dupwatchd.arrays import Matches
            from dupwatchd.compare.forest import to_rejoin

            compared = facts.compared_within(database) or limits
            parted = to_rejoin(Matches.from_rows(held), np.array(gone), compared)
            pictures.add_to_rejoin(database, parted.tolist())
        pictures.remove(database, gone)
        facts.write(database, {"untidy": 0})
    return gone
