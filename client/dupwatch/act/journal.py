"""The journal of a run: what is about to be done, and what was done, on disk before and after each step.

In: steps. Out: one file of JSON lines in the caller's state directory and one in each quarantine of the run, so that
either is enough to undo. A line is written and synced before its step begins; the line that it is done is written at
once and synced with what follows. Killed at any moment, steps may have happened or not: whoever undoes looks.
"""

import errno
import fcntl
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

from dupwatch.act.errors import ActError, HaltError
from dupwatch.act.quarantine import JOURNAL, Quarantine
from dupwatch.act.runs import Boot, Run, Step, head_record, journal_path, known_runs, new_name, run_records, step_record
from dupwatch.act.state_folder import journal_folder
from dupwatch.json_text import json_line
from dupwatch.terminal import printable


class Journal:
    """A journal that is open for writing; it holds the lock of the caller's state directory."""

    def __init__(self, run: Run, lock: int) -> None:
        self.run = run
        self._lock = lock
        self._state_file = _opened_for_appending(journal_path(run.id))
        self._files: dict[bytes, int] = {}  # by path of the quarantine
        self._next = max(run.steps, default=0) + 1

    @classmethod
    def begun(cls, action: str, plan: str) -> Self:
        """Begin the journal of a new run; raises ActError."""
        lock = _locked()
        try:
            name = new_name()
        except ActError:
            os.close(lock)
            raise
        try:
            journal = cls(Run(name, action, plan, time.time(), Boot.now()), lock)
            _write([journal._state_file], [head_record(journal.run)], sync=True)
            _sync_folder(journal_folder())
        except OSError as error:
            os.close(lock)
            raise ActError(f"cannot write the journal in {printable(journal_folder())}: {error.strerror}") from None
        return journal

    @classmethod
    def continued(cls, run: Run) -> Self:
        """Go on with the journal of a run, to undo or purge it; raises ActError."""
        lock = _locked()
        try:
            is_new = not os.path.exists(journal_path(run.id))
            journal = cls(run, lock)
            if is_new:  # it was read from a quarantine
                _write([journal._state_file], list(run_records(run)), sync=False)
            run.has_ended = False
            _write([journal._state_file], [{"ended": False}], sync=True)
        except OSError as error:
            os.close(lock)
            raise ActError(f"cannot write the journal in {printable(journal_folder())}: {error.strerror}") from None
        return journal

    def use(self, quarantine: bytes) -> None:
        """Note the path of a quarantine before it is opened or made; raises HaltError if that fails."""
        if quarantine not in self.run.quarantines:
            self.run.quarantines.append(quarantine)
            self._write({"quarantine": quarantine}, None, sync=True)

    def leave_quarantines(self) -> None:
        """Close what is open in quarantines: some file systems cannot remove a folder with a file that is open."""
        for descriptor in self._files.values():
            _close_synced(descriptor)
        self._files.clear()

    def end(self) -> None:
        """Note that the run was not cut off."""
        self.run.has_ended = True
        with suppress(HaltError):
            self._write({"ended": True}, None, sync=False)

    def next_number(self) -> int:
        """Return a number for a new step."""
        number, self._next = self._next, self._next + 1
        return number

    def intend(self, steps: Sequence[Step], quarantines: Mapping[bytes, Quarantine]) -> None:
        """Note steps before they are done; they are on disk when this returns. Raises HaltError if that fails.

        ``quarantines`` has those of the steps by path.
        """
        for step in steps:
            self.run.steps[step.number] = step
            self.run.states[step.number] = "begun"
        lines = list(map(step_record, steps))
        try:
            for path, quarantine in quarantines.items():
                own = [line for line, step in zip(lines, steps, strict=True) if step.quarantine == path]
                _write([self._file_in(quarantine)], own, sync=True)
            _write([self._state_file], lines, sync=True)
        except OSError as error:
            raise HaltError(f"cannot write the journal: {error.strerror}") from None

    def note(
        self, step: Step, state: str, quarantine: Quarantine | None = None, sync: bool = False, **more: Any
    ) -> None:
        """Note what became of a step; raises HaltError if that fails."""
        self.run.states[step.number] = state
        self.run.notes.setdefault(step.number, {}).update(more)
        self._write({"step": step.number, "state": state, **more}, quarantine, sync)

    def _write(self, line: dict[str, Any], quarantine: Quarantine | None, sync: bool) -> None:
        files = [self._state_file]
        try:
            if quarantine is not None:
                files.append(self._file_in(quarantine))
            _write(files, [line], sync)
        except OSError as error:
            raise HaltError(f"cannot write the journal: {error.strerror}") from None

    def _file_in(self, quarantine: Quarantine) -> int:
        known = self._files.get(quarantine.path)
        if known is not None:
            return known
        folder = quarantine.run_folder(self.run.id)
        try:
            descriptor = _opened_for_appending(JOURNAL, folder)
            self._files[quarantine.path] = descriptor
            if os.fstat(descriptor).st_size == 0:
                _write([descriptor], [head_record(self.run)], sync=True)
                os.fsync(folder)
        finally:
            os.close(folder)
        return descriptor

    def close(self) -> None:
        """Sync and close the files, and give up the lock."""
        self.leave_quarantines()
        _close_synced(self._state_file)
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def forget_closed(age_seconds: float) -> None:
    """Remove the journals of at least this age of which nothing can be undone; raises ActError if a run is at work."""
    lock = _locked()
    try:
        for run in known_runs():
            if not run.is_open and run.age_seconds >= age_seconds:
                with suppress(OSError):
                    os.unlink(journal_path(run.id))
    finally:
        os.close(lock)


def _close_synced(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # what was to be certain was synced when it was written
    os.close(descriptor)


def _opened_for_appending(path: bytes, folder: int | None = None) -> int:
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600, dir_fd=folder)
    size = os.fstat(descriptor).st_size
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        os.write(descriptor, b"\n")  # a line was cut off; it must not swallow the next one
    return descriptor


def _write(descriptors: Iterable[int], lines: Sequence[dict[str, Any]], sync: bool) -> None:
    """Append lines to files, all of them or none; raises OSError."""
    data = b"".join(json_line(line).encode("ascii") + b"\n" for line in lines)
    for descriptor in descriptors:
        before = os.fstat(descriptor).st_size
        if os.write(descriptor, data) != len(data):
            os.ftruncate(descriptor, before)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if sync:
            os.fdatasync(descriptor)


def _locked() -> int:
    """Return a descriptor that holds the lock of this user's journals; raises ActError."""
    folder = journal_folder()
    try:
        os.makedirs(folder, 0o700, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ActError(f"cannot make the folder of journals {printable(folder)}: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise ActError("another apply, undo or purge of yours is at work; try again when it is over") from None
    return descriptor


def _sync_folder(path: bytes) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
