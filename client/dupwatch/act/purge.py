"""Lists what lies in quarantine, and deletes for good what has lain there long enough.

In: runs of the caller's journals. Out: entries, and what was deleted. An entry is deleted only while the file that
stayed for it is there and unchanged, read whole at that moment: else the one in quarantine may be the last copy.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from dupwatch.act.content import KeptFiles, opened, put_on_disk, unchanged
from dupwatch.act.errors import HaltError, SkipError
from dupwatch.act.journal import Journal
from dupwatch.act.plan_file import is_below
from dupwatch.act.quarantine import Quarantines, tidy_all
from dupwatch.act.runs import Run, Step
from dupwatch.act.undo_places import why_out_of_reach
from dupwatch.progress import Bars
from dupwatch.terminal import printable


@dataclass(frozen=True)
class Entry:
    """A file in quarantine."""

    run: Run
    step: Step
    size_bytes: int


@dataclass
class Purged:
    """What a purge did."""

    done: list[tuple[bytes, int]] = field(default_factory=list)  # path in quarantine, bytes
    skipped: list[tuple[bytes, str]] = field(default_factory=list)  # path in quarantine, why
    halted: str | None = None
    is_stopped: bool = False

    @property
    def bytes_done(self) -> int:
        """How many bytes are free now."""
        return sum(size for _, size in self.done)

    @property
    def is_complete(self) -> bool:
        """Whether everything was deleted."""
        return not (self.skipped or self.halted or self.is_stopped)


def entries(runs: Sequence[Run]) -> Iterator[Entry]:
    """Yield what is in quarantine now, the oldest run first."""
    for run in runs:
        for step in reversed(run.open_steps):
            if step.action in ("hardlink", "reflink", "trash"):
                continue  # what lies there for a moment is no file that was moved away
            try:
                with opened(step.held, step.quarantine) as (_, descriptor):
                    yield Entry(run, step, os.fstat(descriptor).st_size)
            except SkipError:
                continue


def out_of_reach(runs: Sequence[Run]) -> Iterator[tuple[Step, str]]:
    """Yield what was moved into quarantine and cannot be seen now, for its disk is away; with the reason."""
    for run in runs:
        for step in run.open_steps:
            was_moved = step.action == "quarantine" and run.states[step.number] == "done"
            if was_moved and not os.path.lexists(step.held) and (why := why_out_of_reach(step)) is not None:
                yield step, why


def size_in_quarantine(runs: Sequence[Run]) -> tuple[int, int]:
    """Return how many files are in quarantine and how many bytes they take, without opening them."""
    sizes = []
    for run in runs:
        for step in run.open_steps:
            with suppress(OSError):
                sizes.append(os.lstat(step.held).st_size)
    return len(sizes), sum(sizes)


def purge(found: Sequence[Entry], progress: Bars | None = None, stop: Callable[[], bool] = lambda: False) -> Purged:
    """Delete these entries; raises ActError if another run is at work."""
    purged, bars, kept_files = Purged(), progress or Bars(), KeptFiles()
    bars.stage("deleting", total=len(found), unit="files")
    for run in {entry.run.id: entry.run for entry in found}.values():
        quarantines = Quarantines()
        with Journal.continued(run) as journal:
            try:
                for entry in (one for one in found if one.run is run):
                    if stop():
                        purged.is_stopped = True
                        return purged
                    _purge_entry(entry, journal, quarantines, kept_files, purged)
                    bars.advance()
            except HaltError as error:
                purged.halted = str(error)
                return purged
            finally:
                quarantines.close()
                journal.leave_quarantines()
                tidy_all(run.quarantines, run.id)
                journal.end()
    return purged


def _purge_entry(
    entry: Entry, journal: Journal, quarantines: Quarantines, kept_files: KeptFiles, purged: Purged
) -> None:
    step = entry.step
    try:
        quarantine = quarantines.opened(step.quarantine)
        with unchanged(step.held, step.quarantine, step.size_bytes, step.digest) as held:
            _check_kept(step, kept_files, held.status)
            journal.note(step, "purging", quarantine, sync=True)
            os.unlink(held.place.name, dir_fd=held.place.folder)
        journal.note(step, "purged", quarantine)
    except SkipError as error:
        purged.skipped.append((step.held, str(error)))
    except OSError as error:
        purged.skipped.append((step.held, error.strerror or str(error)))
    else:
        purged.done.append((step.held, entry.size_bytes))


def _check_kept(step: Step, kept_files: KeptFiles, held: os.stat_result) -> None:
    """Raise SkipError unless the file that stayed is there, unchanged, and another file."""
    if step.kept is None or step.kept_digest is None:
        raise SkipError(
            "it is a sidecar, and no file that stays is equal to it byte by byte: "
            "delete it there yourself if you need it no more"
        )
    # Which other root it lies in is not noted, and above that one folders may be links, or closed to the caller.
    root = step.root if is_below(step.kept, step.root) else os.path.dirname(step.kept)
    try:
        with opened(step.kept, root) as (_, descriptor):
            size_bytes = os.fstat(descriptor).st_size
        with kept_files.unchanged(step.kept, root, size_bytes, step.kept_digest) as kept:
            is_same = os.path.samestat(kept.status, held)
            put_on_disk(kept)
    except SkipError as error:
        raise SkipError(f"it may be the last copy: {error}") from None
    if is_same:
        raise SkipError(f"it may be the last copy: {printable(step.kept)} is the same file")
