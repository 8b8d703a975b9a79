"""The way of a change, on one page: watch → index → blocks → compare → db.

    survey   watch → db: walk the roots; new and changed files become pending, gone ones are removed
    intake   index → blocks → compare → db: what is pending is read; each batch is made durable with its matches
    tidy     contents and pictures that no file shows any more are forgotten: a moved file has kept its picture

Killed at any point, the next run finds the files of unfinished batches pending and ends in the same state as an
undisturbed run. Everything here runs in one thread; the worker processes are behind the intake's pool.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from dupwatchd.db import facts, files, pictures
from dupwatchd.db.connection import Database
from dupwatchd.model import Limits, Progress
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
    if any(files.count_pending(database, root) for root in roots):
        changing = open_intake().take_in(roots)
    _tidy(database)
    compared = facts.compared_within(database)
    if (compared is None or compared != limits.widened(compared)) and pictures.exist(database):
        open_intake().compare_anew_if_needed()
    return found, changing


def _tidy(database: Database) -> None:
    if facts.read(database).get("untidy"):
        with database.transaction():
            pictures.remove_unused(database)
            facts.write(database, {"untidy": 0})
