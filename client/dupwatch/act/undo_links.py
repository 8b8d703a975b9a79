"""Makes files of their own again of what an apply made hard links or clones.

In: the step of such a file. Out: whether it was one; the file at its place has its own bytes, mode, owner and times. A
clone has that already: there is nothing to put back, unless the apply was cut off.
"""

import os

from dupwatch.act.content import digest_of, opened
from dupwatch.act.errors import SkipError
from dupwatch.act.folders import Place, status_at
from dupwatch.act.kernel import exchange
from dupwatch.act.moving import copy
from dupwatch.act.quarantine import Quarantines
from dupwatch.act.runs import Run, Step
from dupwatch.act.undo_places import check_run_is_here, has_content, original_place, traits_of_step
from dupwatch.terminal import printable


def part_again(step: Step, run: Run, held: Place | None, quarantines: Quarantines) -> bool:
    """Make a file of its own of a hard link, or finish an exchange that was cut off; returns whether it was one."""
    with original_place(step) as place:
        now = status_at(place)
        if now is None:
            raise SkipError("it is gone")
        if held is not None and _is_settled(step, held, place, now):
            return True
        if step.action == "reflink":
            return False  # a clone has bytes and traits of its own: nothing is to be put back
        if now.st_nlink == 1:
            check_run_is_here(step, run)
        if now.st_ino == step.inode:
            return False
        _make_file_of_its_own(step, run, place, quarantines)
    return True


def _is_settled(step: Step, held: Place, place: Place, now: os.stat_result) -> bool:
    """Remove what an apply or an undo left in the quarantine; returns whether the file is its own again."""
    status = status_at(held)
    assert status is not None
    if status.st_ino == step.inode:  # the old file, which the link or clone has replaced
        _exchange_and_remove(place, held, step)
        return True
    link = os.lstat(step.kept) if step.kept is not None else None
    is_copy = now.st_ino != step.inode and link is not None and os.path.samestat(now, link)  # an undo was cut off
    _remove_made(held, step)
    return not is_copy


def _exchange_and_remove(place: Place, held: Place, step: Step) -> None:
    """Put a file in its place, and remove the link or clone that was there; raises SkipError if it was another."""
    exchange(place.folder, place.name, held.folder, held.name)
    try:
        _remove_made(held, step)
    except (OSError, SkipError):
        exchange(place.folder, place.name, held.folder, held.name)
        raise SkipError(f"another file is in its place; it stays in {printable(held.path)}") from None


def _remove_made(held: Place, step: Step) -> None:
    """Remove a link, clone or copy from the quarantine; raises SkipError if it is anything else, and OSError."""
    status = status_at(held)
    is_unfinished_clone = step.action == "reflink" and status is not None and status.st_size == 0
    if not is_unfinished_clone and not has_content(held, step.digest):
        raise SkipError(f"another file lies in {printable(held.path)}; it was left there")
    os.unlink(held.name, dir_fd=held.folder)


def _make_file_of_its_own(step: Step, run: Run, place: Place, quarantines: Quarantines) -> None:
    """Replace a hard link by a copy with the traits that the file had; raises SkipError and OSError."""
    with opened(step.path, step.root) as (_, descriptor):
        if digest_of(descriptor) != step.digest:
            raise SkipError("its content has changed since it became a link; it was left as it is")
        private = quarantines.made(step.quarantine).place(run.id, step.path)
        try:
            copy(descriptor, private, traits_of_step(step), step.partial_name(run.id))
            _exchange_and_remove(place, private, step)
        finally:
            os.close(private.folder)
