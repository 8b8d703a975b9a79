"""Puts back what an apply has moved, by its journal: after a kill in the middle, on another day, without a service.

In: runs. Out: what was put back, what could not be and why. The journal says what was meant; what has happened is seen
on the disk, so that it does not matter where an apply, or an undo, was cut off. A place that is taken stays as it is,
and the file stays in the quarantine.
"""

import errno
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from dupwatch.act.content import digest_of, opened
from dupwatch.act.errors import ActError, HaltError, SkipError
from dupwatch.act.folders import Place, forget_mounts, status_at
from dupwatch.act.found_journals import runs_found
from dupwatch.act.journal import Journal
from dupwatch.act.moving import put, remove_copy, remove_empty_folders
from dupwatch.act.plan_file import Plan, plan_digest
from dupwatch.act.quarantine import Quarantines, tidy_all
from dupwatch.act.runs import Run, Step, known_runs, unread_journals
from dupwatch.act.trash import find_in_trash, restore_from_trash, trashed_file_is
from dupwatch.act.undo_links import part_again
from dupwatch.act.undo_places import (
    check_run_is_here,
    has_content,
    held_place,
    original_place,
    place_at,
    traits_of_step,
    why_out_of_reach,
)
from dupwatch.progress import Bars
from dupwatch.terminal import printable


@dataclass
class Undone:
    """What an undo did."""

    done: list[bytes] = field(default_factory=list)
    changed: list[bytes] = field(default_factory=list)  # those of them that are not what they were when they went
    digests: list[bytes] = field(default_factory=list)  # of pictures that are back at their places
    skipped: list[tuple[bytes, str]] = field(default_factory=list)  # path, why
    halted: str | None = None
    is_stopped: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether everything was put back."""
        return not (self.skipped or self.halted or self.is_stopped)


def runs_to_undo(plan: Plan | None = None, every: bool = False) -> list[Run]:
    """Return the runs of a plan, of all plans, or the last one, the newest first.

    Only those with something to put back count; raises ActError if there is none.
    """
    runs = {run.id: run for run in known_runs()}
    refusals = unread_journals()
    if plan is not None:
        in_quarantines, not_believed = runs_found(plan)  # the caller's state directory may be lost
        refusals += not_believed
        for run in in_quarantines:
            _complete(runs.setdefault(run.id, run), run)
        digest = plan_digest(plan)
        runs = {name: run for name, run in runs.items() if run.plan == digest}
    found = [runs[name] for name in sorted(runs, reverse=True) if runs[name].is_open]
    if not found:
        of_plan = "of this plan, as it is now, " if plan is not None else ""
        told = "".join(f"; {why}" for why in refusals)
        raise ActError(f"there is nothing to undo: no journal {of_plan}names a file that could be put back{told}")
    return found if plan is not None or every else found[:1]


def files_to_put_back(runs: Sequence[Run]) -> int:
    """Return how many files an undo of these runs will find away from their places, as far as that can be seen.

    After a kill a journal also names files that were about to be moved and were not.
    """
    return sum(_is_away(step, run.states[step.number]) for run in runs for step in run.open_steps)


def _is_away(step: Step, state: str) -> bool:
    if state == "deleted":
        return False
    if os.path.lexists(step.held):
        return True
    if step.action == "hardlink":
        with suppress(OSError):
            return os.lstat(step.path).st_ino != step.inode
    if os.path.lexists(step.path) or step.action == "reflink":  # a clone is a file of its own: it stays as it is
        return False
    return step.action == "trash" or (step.to is not None and os.path.lexists(step.to))


def _complete(run: Run, found: Run) -> None:
    """Take over what the journal of a run has lost and the one in the quarantine still has."""
    run.plan = run.plan or found.plan
    for number in found.steps.keys() - run.steps.keys():
        run.steps[number], run.states[number] = found.steps[number], found.states[number]


def undo(runs: Sequence[Run], progress: Bars | None = None, stop: Callable[[], bool] = lambda: False) -> Undone:
    """Put back everything that these runs have moved; raises ActError if another run is at work."""
    undone = Undone()
    forget_mounts()
    bars = progress or Bars()
    bars.stage("putting back", total=sum(len(run.open_steps) for run in runs), unit="files")
    for run in runs:
        with Journal.continued(run) as journal:
            try:
                if not _undo_run(run, journal, bars, stop, undone):
                    undone.is_stopped = True
                    return undone
            except HaltError as error:
                undone.halted = str(error)
                return undone
    return undone


def _undo_run(run: Run, journal: Journal, bars: Bars, stop: Callable[[], bool], undone: Undone) -> bool:
    """Put back what one run has moved; returns False if the caller ended it. Raises HaltError."""
    quarantines = Quarantines()
    try:
        for step in run.open_steps:
            if stop():
                return False
            _undo_step(step, run, journal, quarantines, undone)
            bars.advance()
    finally:
        quarantines.close()
        journal.leave_quarantines()
        tidy_all(run.quarantines, run.id)
    journal.end()
    return True


def _undo_step(step: Step, run: Run, journal: Journal, quarantines: Quarantines, undone: Undone) -> None:
    if run.states[step.number] == "deleted":
        undone.skipped.append((step.path, "it was deleted for good"))
        journal.note(step, "lost")  # told once
        return
    try:
        with suppress(FileNotFoundError):
            if os.path.lexists(step.quarantine):
                quarantines.opened(step.quarantine)
        was_put_back = _put_back(step, run, journal, quarantines, undone)
        if step.to is not None:
            _remove_what_was_copied(step, run)
    except SkipError as error:
        undone.skipped.append((step.path, str(error)))
        return
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise HaltError(f"the disk refuses: {error.strerror}") from None
        undone.skipped.append((step.path, f"cannot be put back: {error.strerror or error}"))
        return
    if was_put_back:
        undone.done.append(step.path)
        if step.goes_with is None:
            undone.digests.append(step.digest)
    journal.note(step, "undone")


def put_back_from_quarantine(step: Step, run: Run) -> None:
    """Bring back a file that lies in quarantine, for an apply that finds it should not have gone.

    Raises SkipError and OSError.
    """
    with held_place(step) as held:
        if held is None:
            raise SkipError(f"it is not in {printable(step.held)}")
        _put_back_from(held, step, run)


def _put_back(step: Step, run: Run, journal: Journal, quarantines: Quarantines, undone: Undone) -> bool:
    """Bring one file back to where it was; returns whether it was away. Raises SkipError and OSError."""
    with held_place(step) as held:
        if step.action in ("hardlink", "reflink"):
            return part_again(step, run, held, quarantines)
        if held is not None:  # whatever it is, it was taken from there
            is_changed = run.states[step.number] == "done" and not _is_as_it_went(held, step)
            _put_back_from(held, step, run)
            undone.changed += [step.path] if is_changed else []
            return True
    if step.action == "trash":
        return _put_back_from_trash(step, run)
    if step.to is not None and os.path.lexists(step.to):
        with place_at(step.to) as moved:
            if os.path.lexists(step.path):
                if run.states[step.number] != "done" and _is_back(step):
                    return False  # and what was moved is only not removed yet
                raise SkipError(f"its place is taken; the file stays in {printable(step.to)}")
            if not _is_as_it_went(moved, step):
                raise SkipError(f"{printable(moved.path)} has changed since it was put there; it was left where it is")
            _put_back_noting(moved, step, run, journal)
        return True
    if os.path.lexists(step.path):
        if step.action == "quarantine":
            check_run_is_here(step, run)
        return False  # it never went, or is back already
    if step.action == "delete" or run.states[step.number] == "purging":  # the last note was cut off
        raise SkipError("it was deleted for good")
    neither = f"it is neither there nor in {printable(step.to or step.held)}"
    raise SkipError(why_out_of_reach(step) or neither)


def _put_back_noting(moved: Place, step: Step, run: Run, journal: Journal) -> None:
    """Put back what may have to be copied, and is then at both places for a moment, which the journal says."""
    journal.note(step, "begun", sync=True)
    try:
        _put_back_from(moved, step, run)
    except (SkipError, OSError):
        journal.note(step, "done")
        raise


def _put_back_from(source: Place, step: Step, run: Run) -> None:
    """Move a file from where it was put to where it was; raises SkipError if that place is taken."""
    with original_place(step) as place:
        try:
            put(source, place, traits_of_step(step), step.partial_name(run.id))
        except FileExistsError:
            raise SkipError(f"its place is taken; the file stays in {printable(source.path)}") from None


def _is_back(step: Step) -> bool:
    """Return whether at a file's place is what was there."""
    try:
        with opened(step.path, step.root) as (_, descriptor):
            return digest_of(descriptor) == step.digest
    except SkipError:
        return False


def _remove_what_was_copied(step: Step, run: Run) -> None:
    """Remove what a move to another file system, or back from it, has left where it was cut off: the second copy."""
    assert step.to is not None
    with suppress(FileNotFoundError), place_at(step.to) as place:
        partial_name = step.partial_name(run.id)
        with suppress(FileNotFoundError):
            os.unlink(partial_name, dir_fd=place.folder)
        if status_at(place) is not None and _is_back(step):
            remove_copy(place, step.digest, partial_name, is_elsewhere=lambda: _is_back(step))
    remove_empty_folders(os.path.dirname(step.to), step.to[: -len(step.path)])


def _is_as_it_went(source: Place, step: Step) -> bool:
    """Return whether what lies at a place is what was put there."""
    status = status_at(source)
    if status is not None and (status.st_ino, status.st_size, status.st_mtime_ns) == (
        step.inode, step.size_bytes, step.mtime_ns
    ):  # fmt: skip
        return True
    return has_content(source, step.digest)


def _put_back_from_trash(step: Step, run: Run) -> bool:
    noted = run.notes.get(step.number, {}).get("trashed")
    if os.path.lexists(step.path):
        if noted is None:
            return False
        raise SkipError("its place is taken; the file stays in the trash")
    if isinstance(noted, str):
        trashed: bytes | None = noted.encode("utf-8", "surrogateescape")
    else:
        trashed = find_in_trash(step.path) or find_in_trash(step.held)  # cut off before the trash noted its place
    if trashed is None or not trashed_file_is(trashed, step.digest):
        raise SkipError("it is no longer in the trash")
    try:
        with original_place(step):
            restore_from_trash(trashed, step.path)
    except FileExistsError:
        raise SkipError("its place is taken; the file stays in the trash") from None
    return True
