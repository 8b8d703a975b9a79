"""Says what is about to be done with files, as steps of the journal, many at a time.

In: files of a plan. Out: a step for each, with what the file is now, or SkipError. A file is looked at and not read
yet: it is read directly before it is acted on, and must then still be what its step says.

Steps are noted some dozens at a time, so that the journal is synced once for all of them.
"""

import os

from dupwatch.act.content import opened, stamp_of
from dupwatch.act.errors import SkipError
from dupwatch.act.folders import mounted_at
from dupwatch.act.journal import Journal
from dupwatch.act.plan_file import PlannedFile
from dupwatch.act.quarantine import Quarantines, quarantined_path
from dupwatch.act.runs import Step
from dupwatch.act.traits import traits_of
from dupwatch.terminal import printable

_PATH_BYTES_MAX = 4096  # of Linux, with the byte that ends it


class Intents:
    """Makes the steps of one run."""

    def __init__(self, action: str, to: bytes | None, journal: Journal, quarantines: Quarantines) -> None:
        self._action, self._to = action, to
        self._journal, self._quarantines = journal, quarantines

    def step(self, file: PlannedFile, root: bytes, kept: tuple[bytes, bytes] | None, goes_with: bytes | None) -> Step:
        """Return the step for a file; ``kept`` is path and digest of what stays for it.

        The quarantine that it needs is made. Raises SkipError, HaltError and OSError.
        """
        with opened(file.path, root) as (place, descriptor):
            status, disk = os.fstat(descriptor), mounted_at(place.folder)
            traits = traits_of(descriptor, status)
        if status.st_size != file.size_bytes:
            raise SkipError(f"{printable(file.path)} has changed: it has another size")
        path = self._quarantines.path_for(file.path, root)
        to = None if self._to is None else self._to.rstrip(b"/") + file.path
        held = quarantined_path(path, self._journal.run.id, file.path)
        if max(len(held), len(to or b"")) >= _PATH_BYTES_MAX:
            raise SkipError(f"{printable(file.path)} cannot be moved: its new path would be too long")
        self._journal.use(path)
        self._quarantines.made(path)
        return Step(
            number=self._journal.next_number(),
            action=self._action,
            path=file.path,
            root=root,
            quarantine=path,
            held=held,
            to=to,
            size_bytes=status.st_size,
            mtime_ns=status.st_mtime_ns,
            atime_ns=traits.atime_ns,
            device=status.st_dev,
            inode=status.st_ino,
            mounted_at=disk,
            mode=traits.mode,
            uid=traits.uid,
            gid=traits.gid,
            digest=file.blake3,
            kept=None if kept is None else kept[0],
            kept_digest=None if kept is None else kept[1],
            goes_with=goes_with,
            xattrs={name: value.hex() for name, value in traits.xattrs.items()},
        )


def is_as_intended(step: Step, status: os.stat_result) -> bool:
    """Return whether a file is still what its step says."""
    stamp = stamp_of(status)
    now = (*stamp[:4], status.st_mode & 0o7777, status.st_uid, status.st_gid)
    return now == (step.device, step.inode, step.size_bytes, step.mtime_ns, step.mode, step.uid, step.gid)
