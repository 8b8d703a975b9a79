"""Keeps the index current, in one thread: looks where something may have changed, takes it in, tells what came of it.

In go hints, and what other threads ask for (`Updater.rescan`, `pause`, `change` …); out come commits, events through
`publish`, and attributes that any thread may read. Once it runs, this thread alone writes to the database. Whatever
interrupts it (stop, pause, new settings) does so between two files; what has come in by then is committed.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from dupwatch.terminal import counted
from dupwatchd.db import pictures, roots
from dupwatchd.db.connection import Database
from dupwatchd.db.roots import FileCounts
from dupwatchd.errors import DamagedBlocksError, DupwatchError, Interrupted
from dupwatchd.model import Limits
from dupwatchd.paths import at_or_below
from dupwatchd.problems import Fault, Problems
from dupwatchd.update.announce import Publish, announce
from dupwatchd.update.changes import Survey
from dupwatchd.update.intake import CommittedBatch
from dupwatchd.update.look import look
from dupwatchd.update.pipeline import IntakeOnDemand, catch_up
from dupwatchd.update.survey import survey
from dupwatchd.watch.hints import Due, Hints
from dupwatchd.watch.walk import WalkRules

_log = logging.getLogger("dupwatchd")
_STATES = {"idle": "idle", "starting": "starting", "looking for photos": "scanning", "looking at changes": "scanning"}
_LONG_SECONDS = 2.0  # work that takes longer is for many photos, not for the one that somebody has just saved
_IMPROVE_SECONDS = 0.5  # at a time, when there is nothing else to do: a new photo waits no longer
_ASKED_MAX = 256  # folders to be looked through; beyond that their whole roots are, which takes less memory
_FIRST_RETRY_SECONDS = 5.0  # until what failed is tried again; each time twice as long
_LAST_RETRY_SECONDS = 60.0


@dataclass(frozen=True)
class Work:
    """What is to be kept current, and how."""

    roots: Sequence[bytes]
    rules: WalkRules
    limits: Limits
    hold_back_share: float
    rescan_seconds: float


@dataclass
class Progress:
    """How far the work is; any thread may read it. Its methods raise Interrupted when the work is to stop."""

    attend: Callable[[], None]
    stage_name: str = "starting"
    done: int = 0
    total: int | None = None
    unit: str = "files"  # what a step is
    began: float = field(default_factory=time.monotonic)

    def stage(self, description: str, total: int | None, unit: str = "files") -> None:
        """A new stage begins."""
        self.stage_name, self.done, self.total, self.began = description, 0, total, time.monotonic()
        self.unit = unit
        self.attend()

    def advance(self, steps: int) -> None:
        """So many further steps are done."""
        self.done += steps
        self.attend()


class Updater:
    """The thread that keeps the index current; made, run and stopped by `service`."""

    def __init__(
        self,
        database: Database,
        work: Work,
        hints: Hints,
        publish: Publish,
        may_work: Callable[[], bool],
        problems: Problems | None = None,
    ) -> None:
        self.progress = Progress(self.attend)
        self.last_sign = time.monotonic()  # of life, for the watchdog
        self.started = threading.Event()  # the scan at the start is over
        self.survey = Survey()  # what could not be looked at
        self.rested: Callable[[], None] = lambda: None  # called whenever there is nothing to do, or in a pause
        self.counts: dict[str, int] = {}  # see `_count`
        self.changes = 0  # another number whenever something was committed or looked at anew
        self.commits = 0  # another number whenever something that is stored has changed
        self.change_log = database.note_changes()
        # What is told to be left while the last of it was looked at, and answers do not know yet that it was.
        self._left_before: int | None = 0
        self.look_seconds = 0.0  # what the last look at folders took that somebody had asked for
        self._database = database
        self._work = work
        self._hints = hints
        self._publish = publish
        self._may_work = may_work
        self._intake: IntakeOnDemand | None = None
        self._stopping = False
        self._paused = False
        self._rows_changed = 0  # over this connection, when `commits` was last counted
        self._asked: set[bytes] = set()  # roots, or folders below them, to be looked through
        self._asking = threading.Lock()  # around `_asked`
        self._are_roots_in_force = False  # does the database know the roots of `_work`?
        self._problems = problems or Problems()
        self._retry_seconds = _FIRST_RETRY_SECONDS
        self._mended_in_vain = False  # nothing was found to be wrong with them, but something is
        self._are_blocks_in_doubt = False  # thumbnails were not what they should be
        self._unfinished = True  # something pending may be in the database
        self._busy = True
        self._busy_since = time.monotonic()
        self._next: tuple[Work, Hints] | None = None

    # what other threads may call

    def stop(self) -> None:
        """End soon; what is done is kept."""
        self._stopping = True
        self._wake()

    def pause(self) -> None:
        """Read no more files until `resume`; changes are still noted."""
        self._paused = True
        self._wake()

    def resume(self) -> None:
        """Go on."""
        self._paused = False
        self._wake()

    def change(self, work: Work, hints: Hints) -> None:
        """Go on with other roots, rules and hints; everything is looked through again."""
        self._next = (work, hints)
        self._wake()

    def rescan(self, folders: Sequence[bytes]) -> None:
        """Look through these folders with all below them, soon."""
        with self._asking:
            self._asked.update(folders)
            if len(self._asked) > _ASKED_MAX:  # whoever asks may name folders without end, even in a pause
                self._asked = {_top_of(folder, self._work.roots) for folder in self._asked}
        self._wake()

    def doubt_blocks(self) -> None:
        """A thumbnail is not what it should be: check all of them soon, and read the photos of those lost again."""
        self._are_blocks_in_doubt = True
        self._problems.note(
            Fault.THUMBNAILS, "thumbnails in the state directory are damaged; they are made again from the photos"
        )
        self._wake()

    @property
    def state(self) -> str:
        """In one word."""
        if self._stopping:
            return "stopping"
        if not self._may_go_on():
            return "paused"
        if self._problems.has(Fault.INDEXING):
            return "failing"
        if not self._busy:
            return "idle"
        return _STATES.get(self.progress.stage_name, "indexing")

    @property
    def pending(self) -> int:
        """Changes or files seen and not yet committed; without what waits for a root that is offline."""
        return self._hints.pending() + len(self._asked) + self.counts.get("unread", 0)

    @property
    def is_quiet(self) -> bool:
        """Nothing is in work and nothing is pending, not even for a pause."""
        # `_next` is looked at first: the thread puts the new roots into `_asked` before it lets go of it
        waiting = (
            self._next is not None
            or self._unfinished
            or self._are_blocks_in_doubt
            or self._asked
            or self._hints.pending()
        )
        return self.started.is_set() and not self._busy and not waiting

    @property
    def is_busy_for_long(self) -> bool:
        """The work has gone on for a while, with one commit after the other."""
        return self._busy and time.monotonic() - self._busy_since > _LONG_SECONDS

    @property
    def left_to_confirm(self) -> int | None:
        """How many pairs that seem the same are still to be looked at closely; None while that is not counted."""
        opened = self._intake.opened if self._intake else None
        if opened is None:  # without a picture there is no pair
            return None if self.counts.get("pictures", 1) else 0
        left = opened.looking.left_to_confirm
        return self._left_before if left == 0 else left

    def find(self, thumbnail: Any) -> Any:
        """See `Comparing.find`; None while it knows no pictures yet."""
        opened = self._intake.opened if self._intake else None
        return opened.comparing.find(thumbnail) if opened is not None and opened.comparing.can_find else None

    def find_parts(self, keypoints: Any) -> Any:
        """See `Parting.find`; nothing while no pictures are known yet."""
        opened = self._intake.opened if self._intake else None
        return [] if opened is None else opened.parting.find(keypoints)

    # the thread

    def run(self, intake: IntakeOnDemand) -> None:
        """Work until `stop`."""
        self._intake = intake
        next_rescan = 0.0
        while not self._stopping:
            self.last_sign = time.monotonic()
            if self._next is not None:
                self.rescan(self._next[0].roots)  # it is not quiet for a moment in between
                (self._work, self._hints), self._next = self._next, None
                self.survey = Survey()
                self._are_roots_in_force = False
                next_rescan = 0.0
            try:
                if not self._are_roots_in_force:
                    self._put_roots_in_force()
                if self._are_blocks_in_doubt and self._may_go_on():
                    self._mend_thumbnails()
                if intake.opened is None and pictures.exist(self._database):
                    # whoever asks `find` shall not wait for photos to be read
                    intake().comparing.compare_anew_if_needed()
                if time.monotonic() >= next_rescan:
                    self.rescan(self._work.roots)
                    next_rescan = time.monotonic() + self._work.rescan_seconds
                self._turn()
            except Interrupted:
                self._unfinished = True
            except DamagedBlocksError as error:
                self._unfinished = True
                self.doubt_blocks()
                if self._mended_in_vain:
                    self._fail(error)
            except DupwatchError as error:
                self._unfinished = True
                self._fail(error)

    def _put_roots_in_force(self) -> None:
        roots.put_in_force(self._database, self._work.roots)
        self._are_roots_in_force = True
        self._changed()

    def _fail(self, error: DupwatchError) -> None:
        """Say that changes cannot be taken in, and wait before that is tried again."""
        self._problems.note(Fault.INDEXING, f"changes are not taken in: {error}")
        self._sleep(self._retry_seconds)
        self._retry_seconds = min(_LAST_RETRY_SECONDS, 2 * self._retry_seconds)

    def _mend_thumbnails(self) -> None:
        assert self._intake is not None
        self._unfinished = True
        lost_count = self._intake().mend_thumbnails()
        self._are_blocks_in_doubt = False
        self._mended_in_vain = not lost_count
        self.commits += 1  # thumbnails are stored beside the database
        if lost_count:
            _log.warning("%s lost: reading the photos again", counted(lost_count, "thumbnail"))
        self._changed()

    def attend(self) -> None:
        """Called from within the work, often."""
        self.last_sign = time.monotonic()
        if self._stopping or self._next is not None or not self._may_go_on():
            raise Interrupted("interrupted")

    def announce(self, batch: CommittedBatch) -> None:
        """A batch is durable: tell whoever listens."""
        self._changed()
        assert self._intake is not None
        announce(self._database, self._publish, self._intake().comparing.measure, batch)

    def _turn(self) -> None:
        """Do what is to be done, or wait for it."""
        if not self._may_go_on():
            self._rest()
            return
        if not self._busy:
            self._busy_since = time.monotonic()
        self._busy = True
        due = self._hints.due()
        with self._asking:
            asked, self._asked = self._asked, set()
        to_survey = {root for root in self._work.roots if root in asked} | {*due.roots}
        began = time.monotonic()
        try:
            if to_survey or asked or due.files or due.folders or due.trees:
                self._look(due, to_survey, asked - to_survey)
            if self._unfinished:
                self._catch_up()
            if asked:
                self.look_seconds = time.monotonic() - began
            self._problems.clear(Fault.INDEXING)
            self._retry_seconds = _FIRST_RETRY_SECONDS
            self._mended_in_vain = False
            if not self._are_blocks_in_doubt:
                self._problems.clear(Fault.THUMBNAILS)
        except BaseException:
            # Nothing seen is forgotten: what was looked at already is looked at again.
            self.rescan([*(asked | to_survey)])
            self._hints.put_back(Due(due.files, due.folders, due.trees, []))
            raise
        if not self._asked and self._hints.seconds_until_due() != 0:
            self._rest()

    def _look(self, due: Due, to_survey: set[bytes], folders: set[bytes]) -> None:
        work = self._work
        self._unfinished = True
        if to_survey and self._intake is not None and self._intake.opened is not None:
            self._intake.opened.try_again()
        for root in sorted(to_survey):  # one by one, so that little is left untold after an interruption
            found = survey(self._database, [root], work.rules, self.progress, tell=True)
            for path, reason in found.unreadable:
                is_missing = path == root and not os.path.lexists(root)  # whoever watches it has said so
                if not is_missing and (path, reason) not in self.survey.unreadable:
                    _log.warning("cannot list %s: %s", path, reason)
            self._tell(found)
        rest = Due(due.files, due.folders, [*due.trees, *folders], [])
        if rest:
            self.progress.stage("looking at changes", None)
            found = look(self._database, work.roots, work.rules, rest, work.hold_back_share)
            for root in found.held_back:
                _log.warning("much of %s is gone at once: looking again before it is forgotten", root)
                self._hints.everything(root)
            for root in {*found.listed}.intersection(self.survey.offline):
                self._hints.everything(root)  # while it was away, nothing that was said of it counted
            self._tell(found)

    def _tell(self, found: Survey) -> None:
        self.survey = self.survey.not_looked_at_after(found)
        self._changed()
        for path in found.removed:
            self._publish("removed", {"path": path})
        for path, to in found.moved:
            self._publish("moved", {"path": to, "from": path})

    def _catch_up(self) -> None:
        assert self._intake is not None
        changing = catch_up(self._database, self.survey.online_of(self._work.roots), self._work.limits, self._intake)
        if not self.started.is_set():
            # the first new photo, or whoever asks `find` first, shall not wait for it
            self._intake().comparing.be_ready()
            self._intake().parting.be_ready()
        self._changed()
        self._unfinished = changing > 0
        self.started.set()

    def _may_go_on(self) -> bool:
        return not self._paused and self._may_work()

    def _rest(self) -> None:
        """Wait until there is something to do."""
        self.progress.stage_name = "idle"
        if self._are_roots_in_force:
            self._count()  # what was committed before an interruption is not counted yet
        self._busy = False
        self.rested()
        if self._may_go_on() and not self._unfinished and self._improve():
            return
        wait = self._hints.seconds_until_due() if self._may_go_on() else None  # in a pause what is due stays so
        limit = 1.0 if self._unfinished or not self._may_go_on() else 5.0
        self._hints.wait(limit if wait is None else min(wait, limit))

    def _improve(self) -> bool:
        """Do a little of what nobody waits for; returns whether there is more of it.

        Pictures of an older index get proofs, then what shares a part with them is found, then pairs that seem the same
        are looked at closely.
        """
        intake = self._intake.opened if self._intake is not None else None
        if intake is None or not self.started.is_set():
            return False
        changes = self._database.value("SELECT total_changes()")
        self._left_before = self.left_to_confirm
        more = intake.improve(self.survey.online_of(self._work.roots), _IMPROVE_SECONDS)
        self.progress.stage_name = "idle"
        if self._database.value("SELECT total_changes()") != changes:
            self._changed()
        self._left_before = 0
        return more

    def _changed(self) -> None:
        """Something was committed, or looked at anew: files may be there again of which the database knows all."""
        rows_changed = int(self._database.value("SELECT total_changes()"))
        if rows_changed != self._rows_changed:
            self.commits += 1
            self._rows_changed = rows_changed
        self.changes += 1  # after `commits`: whoever sees this one sees the other
        self._count()

    def _count(self) -> None:
        """What the index holds, read at the same cost for any size.

        files, failed       under the roots in force
        unread              of the files, those to be read now: their roots are online
        unread_offline      of the files, those that are read once their root is online again
        files_outside       files that are known, but lie under no root in force; not part of the above
        pictures, matches   all that are stored
        """
        by_root = roots.counts_by_root(self._database)
        online = self.survey.online_of(self._work.roots)
        everywhere = sum(by_root.values(), FileCounts())
        unread = sum(by_root[root].pending for root in online)
        self.counts = {
            "files": everywhere.files,
            "failed": everywhere.failed,
            "unread": unread,
            "unread_offline": everywhere.pending - unread,
            "files_outside": roots.counts_outside(self._database).files,
            "pictures": roots.count_pictures(self._database),
            "matches": roots.count_matches(self._database),
        }

    def _sleep(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self._stopping and time.monotonic() < deadline:
            self.last_sign = time.monotonic()
            time.sleep(0.2)

    def _wake(self) -> None:
        self._hints.wake()


def _top_of(folder: bytes, work_roots: Sequence[bytes]) -> bytes:
    """The root that a folder lies in; the folder itself if it lies in none, as a root does that is still to come."""
    return next((root for root in work_roots if at_or_below(folder, root)), folder)
