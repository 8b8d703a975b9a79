"""Where a step of the journal put a file, and where it came from: opened so that it can be put back.

In: a step. Out: places in open folders, closed at the end; folders that are gone are made again.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from dupwatch.act.content import digest_of
from dupwatch.act.errors import SkipError
from dupwatch.act.folders import (
    Place,
    mounted_at,
    open_below,
    open_file,
    open_folder,
    parts_below,
    place_of,
    status_at,
)
from dupwatch.act.runs import Run, Step
from dupwatch.act.traits import Traits
from dupwatch.terminal import printable


@contextmanager
def held_place(step: Step) -> Iterator[Place | None]:
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
def place_at(path: bytes) -> Iterator[Place]:
    """Open the folder of a path that lies under no root."""
    folder, name = os.path.split(path)
    descriptor = open_folder(folder)
    try:
        yield Place(descriptor, name, path)
    finally:
        os.close(descriptor)


@contextmanager
def original_place(step: Step) -> Iterator[Place]:
    """Open the folder from which a file came, and make again what is missing of it below its root."""
    *parts, name = parts_below(step.path, step.root)
    try:
        folder = _made_like_parent(step, parts)
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        why = f"a file or a link is in the way to its folder {printable(os.path.dirname(step.path))}"
        # Nothing is in either place of a link, a clone and what is in the trash.
        found = [path for path in (step.held, step.to) if path is not None and os.path.lexists(path)]
        raise SkipError(f"{why}; it stays in {printable(found[0])}" if found else why) from None
    try:
        _check_disk(folder, step)
        yield Place(folder, name, step.path)
    finally:
        os.close(folder)


def why_out_of_reach(step: Step) -> str | None:
    """Return why nothing can be seen of a file, here or in quarantine: its root or its disk is away; None: neither."""
    try:
        os.close(open_folder(step.root))
    except OSError:
        return f"its root {printable(step.root)} is offline"
    if not step.mounted_at:  # nobody could tell
        return None
    try:
        folder = open_folder(step.mounted_at)
    except OSError:
        return _no_disk(step)
    try:
        return None if mounted_at(folder) == step.mounted_at else _no_disk(step)
    finally:
        os.close(folder)


def _no_disk(step: Step) -> str:
    return f"its disk is offline: nothing is mounted at {printable(step.mounted_at)}"


def _check_disk(folder: int, step: Step) -> None:
    """Raise SkipError if an open folder is one in which the disk of a file was mounted, and no longer is."""
    if mounted_at(folder) != step.mounted_at and not os.listdir(folder):
        raise SkipError(_no_disk(step))


def _made_like_parent(step: Step, parts: list[bytes]) -> int:
    """Open a folder below a root; those that are missing get mode and owner of the one above them."""
    try:
        return open_below(step.root, parts)
    except FileNotFoundError:
        if not parts:
            raise SkipError(f"its root {printable(step.root)} is offline") from None
    above = _made_like_parent(step, parts[:-1])
    try:
        _check_disk(above, step)
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


def check_run_is_here(step: Step, run: Run) -> None:
    """Raise SkipError if a step that was done has left no trace in its quarantine: another disk may be mounted there.

    Where an undo was cut off, the folder of the run is still there.
    """
    run_folder = os.path.join(step.quarantine, run.id.encode("ascii"))
    if run.states[step.number] == "done" and not os.path.lexists(run_folder):
        raise SkipError(f"there is no trace of it in {printable(step.quarantine)}; is another disk mounted?")


def traits_of_step(step: Step) -> Traits:
    """Return what the file had beside its content."""
    xattrs = {name: bytes.fromhex(value) for name, value in step.xattrs.items()}
    return Traits(step.mode, step.uid, step.gid, step.atime_ns, step.mtime_ns, xattrs)


def has_content(place: Place, digest: bytes) -> bool:
    """Return whether the file at a place has this content; raises OSError."""
    descriptor = open_file(place)
    try:
        return digest_of(descriptor) == digest
    finally:
        os.close(descriptor)
