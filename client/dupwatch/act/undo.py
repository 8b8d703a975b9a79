"""Puts back what an apply has moved, by its journal: after a kill in the middle, on another day, without a service.

In: runs. Out: what was put back, what could not be and why. The journal says what was meant; what has happened is seen
on the disk, so that it does not matter where an apply, or an undo, was cut off. A place that is taken stays as it is,
and the file stays in the quarantine.
"""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from dupwatch.act.content import digest_of, opened
from dupwatch.act.errors import ActError, HaltError, SkipError
from dupwatch.act.folders import Place, open_below, open_file, open_folder, parts_below, place_of, status_at
from dupwatch.act.journal import Journal, Run, Step, known_runs, runs_in
from dupwatch.act.kernel import exchange
from dupwatch.act.moving import copy, put, remove_copy, remove_empty_folders
from dupwatch.act.plan_file import Plan, plan_digest
from dupwatch.act.quarantine import Quarantines, quarantine_paths, tidy_all
from dupwatch.act.traits import Traits
from dupwatch.act.trash import find_in_trash, restore_from_trash, trashed_file_is
from dupwatch.progress import Bars
from dupwatch.terminal import printable


@dataclass
class Undone:
    """What an undo did."""

    done: list[bytes] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)  # of what is back at its place
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
    if plan is not None:
        for root in plan.roots:  # the caller's state directory may be lost, or it was another machine
            for quarantine in quarantine_paths(root, [going.file.path for going in plan.going]):
                for run in runs_in(quarantine):
                    runs.setdefault(run.id, run)
        digest = plan_digest(plan)
        runs = {name: run for name, run in runs.items() if run.plan == digest}
    found = [runs[name] for name in sorted(runs, reverse=True) if runs[name].is_open]
    if not found:
        of_plan = "of this plan, as it is now, " if plan is not None else ""
        raise ActError(f"there is nothing to undo: no journal {of_plan}names a file that could be put back")
    return found if plan is not None or every else found[:1]


def undo(runs: Sequence[Run], progress: Bars | None = None, stop: Callable[[], bool] = lambda: False) -> Undone:
    """Put back everything that these runs have moved; raises ActError if another run is at work."""
    undone = Undone()
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
        was_put_back = _put_back(step, run, quarantines)
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
        undone.digests.append(step.digest)
    journal.note(step, "undone")


def _put_back(step: Step, run: Run, quarantines: Quarantines) -> bool:
    """Bring one file back to where it was; returns whether it was away. Raises SkipError and OSError."""
    if step.action == "trash":
        return _put_back_from_trash(step, run)
    with _held(step) as held:
        if step.action in ("hardlink", "reflink"):
            return _part_again(step, run, held, quarantines)
        if held is not None:  # whatever it is, it was taken from there
            _put_back_from(held, step, run)
            return True
    if step.to is not None and os.path.lexists(step.to):
        with _at(step.to) as moved:
            if os.path.lexists(step.path):
                if _is_back(step):
                    return False  # and what was moved is only not removed yet
                raise SkipError(f"its place is taken; the file stays in {printable(step.to)}")
            _check_content(moved, step)
            _put_back_from(moved, step, run)
        return True
    if os.path.lexists(step.path):
        return False  # it never went, or is back already
    if step.action == "delete" or run.states[step.number] == "purging":  # the last note was cut off
        raise SkipError("it was deleted for good")
    raise SkipError(f"it is neither there nor in {printable(step.to or step.held)}")


def _put_back_from(source: Place, step: Step, run: Run) -> None:
    """Move a file from where it was put to where it was; raises SkipError if that place is taken."""
    with _original_place(step) as place:
        try:
            put(source, place, _traits(step), step.partial_name(run.id))
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
    with suppress(FileNotFoundError), _at(step.to) as place:
        partial_name = step.partial_name(run.id)
        with suppress(FileNotFoundError):
            os.unlink(partial_name, dir_fd=place.folder)
        if status_at(place) is not None and _is_back(step):
            remove_copy(place, step.digest, partial_name)
    remove_empty_folders(os.path.dirname(step.to), step.to[: -len(step.path)])


def _check_content(source: Place, step: Step) -> None:
    """Raise SkipError if what lies at a place is not what was put there."""
    status = status_at(source)
    if status is not None and (status.st_ino, status.st_size, status.st_mtime_ns) == (
        step.inode, step.size_bytes, step.mtime_ns
    ):  # fmt: skip
        return
    if not _has_content(source, step.digest):
        raise SkipError(f"{printable(source.path)} has changed since it was put there; it was left where it is")


def _part_again(step: Step, run: Run, held: Place | None, quarantines: Quarantines) -> bool:
    """Make a file of its own of a hard link, or finish an exchange that was cut off; returns whether it was one."""
    with _original_place(step) as place:
        now = status_at(place)
        if now is None:
            raise SkipError("it is gone")
        if held is not None and _is_settled(step, held, place, now):
            return True
        if step.action == "reflink" or now.st_ino == step.inode:
            return False  # a clone has bytes and traits of its own: nothing is to be put back
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
    if not is_unfinished_clone and not _has_content(held, step.digest):
        raise SkipError(f"another file lies in {printable(held.path)}; it was left there")
    os.unlink(held.name, dir_fd=held.folder)


def _has_content(place: Place, digest: bytes) -> bool:
    descriptor = open_file(place)
    try:
        return digest_of(descriptor) == digest
    finally:
        os.close(descriptor)


def _make_file_of_its_own(step: Step, run: Run, place: Place, quarantines: Quarantines) -> None:
    """Replace a hard link by a copy with the traits that the file had; raises SkipError and OSError."""
    with opened(step.path, step.root) as (_, descriptor):
        if digest_of(descriptor) != step.digest:
            raise SkipError("its content has changed since it became a link; it was left as it is")
        private = quarantines.made(step.quarantine).place(run.id, step.path)
        try:
            copy(descriptor, private, _traits(step), step.partial_name(run.id))
            _exchange_and_remove(place, private, step)
        finally:
            os.close(private.folder)


def _put_back_from_trash(step: Step, run: Run) -> bool:
    noted = run.notes.get(step.number, {}).get("trashed")
    if os.path.lexists(step.path):
        if noted is None:
            return False
        raise SkipError("its place is taken; the file stays in the trash")
    trashed = noted.encode("utf-8", "surrogateescape") if isinstance(noted, str) else find_in_trash(step.path)
    if trashed is None or not trashed_file_is(trashed, step.digest):
        raise SkipError("it is no longer in the trash")
    restore_from_trash(trashed, step.path)
    return True


@contextmanager
def _held(step: Step) -> Iterator[Place | None]:
    """Open the file's place in the quarantine; None if nothing is there."""
    try:
        folder = place_of(step.held, step.quarantine)
        place = folder.__enter__()
    except FileNotFoundError:
        yield None
        return
    try:
        yield place if status_at(place) is not None else None
    finally:
        folder.__exit__(None, None, None)


@contextmanager
def _at(path: bytes) -> Iterator[Place]:
    folder, name = os.path.split(path)
    descriptor = open_folder(folder)
    try:
        yield Place(descriptor, name, path)
    finally:
        os.close(descriptor)


@contextmanager
def _original_place(step: Step) -> Iterator[Place]:
    """Open the folder from which a file came, and make again what is missing of it below its root."""
    *parts, name = parts_below(step.path, step.root)
    folder = _made_like_parent(step.root, parts)
    try:
        yield Place(folder, name, step.path)
    finally:
        os.close(folder)


def _made_like_parent(root: bytes, parts: list[bytes]) -> int:
    """Open a folder below a root; those that are missing get mode and owner of the one above them."""
    try:
        return open_below(root, parts)
    except FileNotFoundError:
        if not parts:
            raise SkipError(f"its root {printable(root)} is offline") from None
    above = _made_like_parent(root, parts[:-1])
    try:
        status = os.fstat(above)
        with suppress(FileExistsError):
            os.mkdir(parts[-1], 0o700, dir_fd=above)
        made = os.open(parts[-1], os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
        with suppress(PermissionError):
            os.fchown(made, status.st_uid, status.st_gid)
        os.fchmod(made, status.st_mode & 0o7777)
        return made
    finally:
        os.close(above)


def _traits(step: Step) -> Traits:
    xattrs = {name: bytes.fromhex(value) for name, value in step.xattrs.items()}
    return Traits(step.mode, step.uid, step.gid, step.atime_ns, step.mtime_ns, xattrs)
