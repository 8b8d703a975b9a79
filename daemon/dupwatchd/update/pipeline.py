"""The way of a change, on one page: watch → index → blocks → compare → db.

    survey   watch → db: walk the roots; new and changed files become pending, gone ones are removed
    intake   index → blocks → compare → db: what is pending is read; each batch is made durable with its matches
    tidy     contents and pictures that no file shows any more are forgotten: a moved file has kept its picture
    rejoin   what was joined only through a picture that is gone is searched again
    looking  matches that have no verdict are looked at again
    parting  pictures that share a part are found: new ones at once, those of an older index when there is time
    mend     if thumbnails turn out to be lost, all are checked, and their photos are read again
    renew    pictures without a proof, and contents that were decoded by an older program, are decoded again; the
             service does that when there is nothing else to do

If the program is killed at any point, the next run finds the files of unfinished batches pending and ends in
the same state as a run that was not disturbed. All this runs in one thread; worker processes are hidden behind the
intake's pool.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from dupwatchd.db import facts, parts, pictures, renewing, verdicts
from dupwatchd.db.connection import Database
from dupwatchd.db.roots import counts_by_root, put_in_force
from dupwatchd.errors import DamagedBlocksError
from dupwatchd.model import Limits, Progress
from dupwatchd.update.changes import Survey
from dupwatchd.update.listed import Listed, survey_listed
from dupwatchd.update.survey import survey
from dupwatchd.update.tidy import tidy
from dupwatchd.watch.walk import WalkRules

if TYPE_CHECKING:
    from dupwatchd.update.intake import Intake


class IntakeOnDemand:
    """Opened when there is something to read or to compare.

    A run that finds nothing new starts no process and loads no array library.
    """

    def __init__(self, open_intake: Callable[[], "Intake"]) -> None:
        self._open_intake = open_intake
        self.opened: Intake | None = None

    def __call__(self) -> "Intake":
        """The one intake there is."""
        if self.opened is None:
            self.opened = self._open_intake()
        return self.opened


def bring_up_to_date(
    database: Database,
    roots: Sequence[bytes],
    rules: WalkRules,
    limits: Limits,
    intake: IntakeOnDemand,
    progress: Progress,
    listed: Listed | None = None,
    *,
    frames: bool = True,
) -> tuple[Survey, int]:
    """Make the index agree with what is under the roots; returns the survey and how many files are still changing.

    With ``listed``, which lies below the roots, only with that. ``frames``: whether what shares a part is found.
    """
    put_in_force(database, roots)
    if listed is None:
        found = survey(database, roots, rules, progress)
    else:
        found = survey_listed(database, roots, listed, rules, progress)
    try:
        changing = catch_up(database, found.online_of(roots), limits, intake)
    except DamagedBlocksError:
        intake().mend_thumbnails()
        changing = catch_up(database, found.online_of(roots), limits, intake)
    if renewing.count_without_proof(database) or renewing.count_to_read_again(database):
        intake().renewal.renew_all(found.online_of(roots))
    if frames and parts.any_to_search(database):
        intake().parting.find_all()
        intake().looking.look_at_all()
    return found, changing


def catch_up(database: Database, roots: Sequence[bytes], limits: Limits, intake: IntakeOnDemand) -> int:
    """Do all that a look has left to do under these roots, which are in force; returns how many files still change."""
    changing = 0
    counts = counts_by_root(database)
    if any(counts[root].pending for root in roots):
        changing = intake().take_in(roots)
    gone = tidy(database, limits)
    if gone:
        intake().forget(gone)
    compared = facts.compared_within(database)
    if (compared is None or compared != limits.widened(compared)) and pictures.exist(database):
        intake().comparing.compare_anew_if_needed()
    if pictures.to_rejoin(database):
        intake().comparing.rejoin()
    if intake.opened is not None or verdicts.any_to_look_at(database) or parts.any_to_look_at(database):
        intake().looking.look_at_all()
    return changing
