"""The journal of a run: what is about to be done, and what was done, on disk before and after each step.

In: steps. Out: one file of JSON lines in the caller's state directory and one in each quarantine of the run, so that
either is enough to undo. A line is written and synced before its step begins; the line that it is done is written at
once and synced with what follows. Killed at any moment, steps may have happened or not: whoever undoes looks.

A line that is cut off is one that nobody relied on: it is passed over.
"""

import errno
import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

from dupwatch.act.errors import ActError, HaltError
from dupwatch.act.quarantine import JOURNAL, Quarantine
from dupwatch.render import json_line
from dupwatch.terminal import printable

JOURNAL_VERSION = 1
_SUFFIX = b".jsonl"

# What a step may have come to. After the last four there is nothing to put back.
STATES = ("begun", "done", "deleted", "purging", "skipped", "undone", "purged", "lost")


@dataclass(frozen=True)
class Step:
    """What is to be done with one file: where it is, where it is put, and what it was."""

    number: int
    action: str
    path: bytes
    root: bytes
    quarantine: bytes  # path of the quarantine
    held: bytes  # path of the file in it
    to: bytes | None  # where `move` puts it
    size_bytes: int
    mtime_ns: int
    atime_ns: int
    device: int
    inode: int
    mode: int
    uid: int
    gid: int
    digest: bytes  # BLAKE3 of its content
    kept: bytes | None  # the file that stays for it; None for a sidecar that nothing else holds
    kept_digest: bytes | None
    goes_with: bytes | None
    xattrs: dict[str, str] = field(default_factory=dict)  # hexadecimal values

    def partial_name(self, run: str) -> bytes:
        """Return what a copy is called until it is complete; no other file has this name."""
        return f".dupwatch-{run}-{self.number}.part".encode("ascii")


@dataclass
class Run:
    """What the journal says of one run."""

    id: str
    action: str
    plan: str  # digest of the plan, see `plan_file.plan_digest`
    began: float  # seconds since 1970
    steps: dict[int, Step] = field(default_factory=dict)
    states: dict[int, str] = field(default_factory=dict)  # see STATES
    notes: dict[int, dict[str, Any]] = field(default_factory=dict)  # what else was written of a step
    quarantines: list[bytes] = field(default_factory=list)  # paths of those that it uses
    has_ended: bool = False  # else it was cut off, and may have left empty folders

    @property
    def is_open(self) -> bool:
        """Whether an undo has something to do."""
        return bool(self.open_steps) or not self.has_ended

    @property
    def open_steps(self) -> list[Step]:
        """The steps that may be put back, the last one first."""
        return [self.steps[number] for number in sorted(self.steps, reverse=True) if self.states[number] in STATES[:4]]


class Journal:
    """A journal that is open for writing; it holds the lock of the caller's state directory."""

    def __init__(self, run: Run, lock: int) -> None:
        self.run = run
        self._lock = lock
        self._state_file = _opened_for_appending(_path(run.id))
        self._files: dict[bytes, int] = {}  # by path of the quarantine
        self._next = max(run.steps, default=0) + 1

    @classmethod
    def begun(cls, action: str, plan: str) -> Self:
        """Begin the journal of a new run; raises ActError."""
        lock = _locked()
        name = time.strftime("%Y-%m-%dT%H-%M-%SZ", time.gmtime()) + "-" + secrets.token_hex(4)
        try:
            journal = cls(Run(name, action, plan, time.time()), lock)
            _write([journal._state_file], [_head(journal.run)], sync=True)
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
            is_new = not os.path.exists(_path(run.id))
            journal = cls(run, lock)
            if is_new:  # it was read from a quarantine
                _write([journal._state_file], list(_lines_of(run)), sync=False)
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
        lines = list(map(_line, steps))
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
                _write([descriptor], [_head(self.run)], sync=True)
                os.fsync(folder)
        finally:
            os.close(folder)
        return descriptor

    def close(self) -> None:
        """Sync and close the files, and give up the lock."""
        for descriptor in (self._state_file, *self._files.values()):
            try:
                os.fsync(descriptor)
            except OSError:
                pass  # what was to be certain was synced when it was written
            os.close(descriptor)
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def state_folder() -> bytes:
    """Return the folder in which this user's state is kept."""
    base = os.environb.get(b"XDG_STATE_HOME", b"")
    if not base.startswith(b"/"):
        base = os.path.expanduser(b"~/.local/state")
    return os.path.join(base, b"dupwatch")


def journal_folder() -> bytes:
    """Return the folder of this user's journals."""
    return os.path.join(state_folder(), b"journal")


def known_runs() -> list[Run]:
    """Return the runs of this user's journals, the oldest first; raises ActError if they cannot be read."""
    try:
        names = sorted(os.listdir(journal_folder()))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ActError(f"cannot read the journals in {printable(journal_folder())}: {error.strerror}") from None
    paths = [os.path.join(journal_folder(), name) for name in names if name.endswith(_SUFFIX)]
    return [run for run in map(read_run, paths) if run is not None]


def forget_closed(age_seconds: float) -> None:
    """Remove the journals of at least this age of which nothing can be undone; raises ActError if a run is at work."""
    lock = _locked()
    try:
        for run in known_runs():
            if not run.is_open and time.time() - run.began >= age_seconds:
                with suppress(OSError):
                    os.unlink(_path(run.id))
    finally:
        os.close(lock)


def runs_in(quarantine: bytes) -> list[Run]:
    """Return the runs whose journals lie in a quarantine, the oldest first."""
    try:
        names = sorted(os.listdir(quarantine))
    except OSError:
        return []
    found = [run for run in (read_run(os.path.join(quarantine, name, JOURNAL)) for name in names) if run is not None]
    for run in found:
        run.quarantines.append(quarantine)
    return found


def read_run(path: bytes) -> Run | None:
    """Read a journal; None if it is none, or cannot be read."""
    try:
        with open(path, "rb") as stream:
            return _parsed_run(stream)
    except OSError:
        return None


def _parsed_run(lines: Iterable[bytes]) -> Run | None:
    run: Run | None = None
    for record in _records(lines):
        try:
            if run is None:
                if record.get("dupwatch_journal") != JOURNAL_VERSION:
                    return None
                run = Run(record["run"], record["action"], record["plan"], record["began"])
            elif "ended" in record:
                run.has_ended = bool(record["ended"])
            elif "step" not in record:
                run.quarantines.append(record["quarantine"].encode("utf-8", "surrogateescape"))
            elif "path" in record:
                step = _step(record)
                run.steps[step.number] = step
                run.states[step.number] = "begun"
            elif record["step"] in run.steps:
                number, state = record.pop("step"), record.pop("state")
                run.states[number] = state
                run.notes.setdefault(number, {}).update(record)
        except (KeyError, TypeError, ValueError, AttributeError):
            continue  # cut off, and then written over by nobody: it was never relied on
    return run


def _records(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            yield record


def _head(run: Run) -> dict[str, Any]:
    return {
        "dupwatch_journal": JOURNAL_VERSION,
        "run": run.id,
        "action": run.action,
        "plan": run.plan,
        "began": run.began,
    }


def _lines_of(run: Run) -> Iterator[dict[str, Any]]:
    """Yield what a journal says of a run."""
    yield _head(run)
    for quarantine in run.quarantines:
        yield {"quarantine": quarantine}
    for number, step in run.steps.items():
        yield _line(step)
        yield {"step": number, "state": run.states[number], **run.notes.get(number, {})}


_PATHS = ("path", "root", "quarantine", "held", "to", "kept", "goes_with")
_DIGESTS = ("digest", "kept_digest")


def _line(step: Step) -> dict[str, Any]:
    record = {name: getattr(step, name) for name in Step.__dataclass_fields__ if name != "number"}
    for name in _DIGESTS:
        record[name] = None if record[name] is None else record[name].hex()
    return {"step": step.number, **record}


def _step(record: dict[str, Any]) -> Step:
    values = {name: record[name] for name in Step.__dataclass_fields__ if name != "number"}
    for name in _PATHS:
        values[name] = None if values[name] is None else values[name].encode("utf-8", "surrogateescape")
    for name in _DIGESTS:
        values[name] = None if values[name] is None else bytes.fromhex(values[name])
    return Step(number=record["step"], **values)


def _path(run: str) -> bytes:
    return os.path.join(journal_folder(), run.encode("ascii") + _SUFFIX)


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
