"""What the journals say: runs, their steps, and what became of each; and how that is written.

In: journals, as lines of JSON. Out: runs as values. Nothing is written here; see `journal`.

A line that was cut off is passed over: it is one that nobody relied on, for a step begins once its line is on disk.
"""

import calendar
import errno
import json
import math
import os
import re
import secrets
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NamedTuple, Self

from dupwatch.act.errors import ActError
from dupwatch.act.plan_file import is_below
from dupwatch.act.state_folder import journal_folder
from dupwatch.terminal import printable

JOURNAL_VERSION = 1

_SUFFIX = b".jsonl"

_RUN_ID = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ-[0-9a-f]{8}", re.ASCII)  # as `new_name` makes it

_LAST_SECOND = calendar.timegm((9999, 12, 31, 23, 59, 59))  # that such a name can tell

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
    mounted_at: bytes  # where the file system is mounted that it lies on
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


class Boot(NamedTuple):
    """A moment by the clock that nobody can set: which start of the machine, and how long ago that was."""

    id: str
    seconds: float

    @classmethod
    def now(cls) -> Self | None:
        """Return this moment; None where the system does not tell."""
        try:
            with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
                return cls(stream.read().strip(), time.clock_gettime(time.CLOCK_BOOTTIME))
        except OSError:
            return None


@dataclass
class Run:
    """What the journal says of one run."""

    id: str
    action: str
    plan: str  # digest of the plan, see `plan_file.plan_digest`
    began: float  # seconds since 1970
    began_at: Boot | None = None  # not known of what an older version did
    steps: dict[int, Step] = field(default_factory=dict)
    states: dict[int, str] = field(default_factory=dict)  # see STATES
    notes: dict[int, dict[str, Any]] = field(default_factory=dict)  # what else was written of a step
    quarantines: list[bytes] = field(default_factory=list)  # paths of those that it uses
    has_ended: bool = False  # else it was cut off, and may have left empty folders

    @property
    def age_seconds(self) -> float:
        """How long ago it began, or less.

        Until the machine is started anew, a time of day that jumps makes nothing old.
        """
        age, now = time.time() - self.began, Boot.now()
        if now is not None and self.began_at is not None and now.id == self.began_at.id:
            age = min(age, now.seconds - self.began_at.seconds)
        return max(age, 0.0)

    @property
    def is_open(self) -> bool:
        """Whether an undo has something to do."""
        return bool(self.open_steps) or not self.has_ended

    @property
    def open_steps(self) -> list[Step]:
        """The steps that may be put back, the last one first."""
        return [self.steps[number] for number in sorted(self.steps, reverse=True) if self.states[number] in STATES[:4]]


def known_runs(plan: str | None = None) -> list[Run]:
    """Return the runs of this user's journals, or of those of a plan, the oldest first.

    ``plan``: its digest; then no more than the first line is read of other journals. Raises ActError if they cannot be
    read.
    """
    paths = _journal_paths()
    if plan is not None:
        paths = [path for path in paths if _plan_of(path) in (plan, None)]
    found = [run for path in paths if (run := read_run(path, name=_name_of(path))) is not None]
    return found if plan is None else [run for run in found if run.plan == plan]


def unread_journals() -> list[str]:
    """Return for each of this user's journals that `known_runs` leaves out what is wrong with it; raises ActError."""
    return [
        f"the journal {printable(path)} {why}" for path in _journal_paths() if (why := _why_unread(path)) is not None
    ]


def _why_unread(path: bytes) -> str | None:
    """Return why `read_run` finds no run in a journal; None if it does, or if nothing was written yet."""
    try:
        with _opened(path) as stream:
            lines = stream.readlines()  # all of them: what cannot be read may come late
    except OSError as error:
        return "is a symbolic link" if error.errno == errno.ELOOP else f"cannot be read: {error.strerror}"
    nameless = _nameless(_name_of(path))
    if not lines or (_parsed_run(lines[:1], nameless) or _parsed_run(lines, nameless)) is not None:
        return None
    head = next(_records(lines), {})
    if head.get("dupwatch_journal", JOURNAL_VERSION) != JOURNAL_VERSION:
        return "is of another version of dupwatch"
    return "is damaged: it names no run"


def new_name() -> str:
    """Return a name for a run that comes after those of all others, also if the clock was put back; raises ActError."""
    last, path = max(((_began(_name_of(path)) or 0, path) for path in _journal_paths()), default=(0, b""))
    if last >= _LAST_SECOND:
        raise ActError(f"the journal {printable(path)} is of a wrong date, and no run can come after it: move it away")
    began = time.gmtime(max(int(time.time()), last + 1))
    return time.strftime("%Y-%m-%dT%H-%M-%SZ", began) + "-" + secrets.token_hex(4)


def _journal_paths() -> list[bytes]:
    """Return the paths of this user's journals, the oldest first; raises ActError if they cannot be listed."""
    try:
        names = sorted(os.listdir(journal_folder()))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ActError(f"cannot read the journals in {printable(journal_folder())}: {error.strerror}") from None
    return [os.path.join(journal_folder(), name) for name in names if name.endswith(_SUFFIX)]


def _plan_of(path: bytes) -> str | None:
    """Return the digest of the plan that a journal is of, by its first line; None if that does not tell."""
    try:
        with _opened(path) as stream:
            head = next(_records([stream.readline()]), {})
    except OSError:
        return None
    return head.get("plan") if isinstance(head.get("plan"), str) else None


def _name_of(path: bytes) -> str:
    return os.fsdecode(os.path.basename(path).removesuffix(_SUFFIX))


def read_run(path: bytes, folder: int | None = None, name: str = "") -> Run | None:
    """Read a journal, of an open folder if one is given; None if it is none, or cannot be read.

    ``name``: that of the run, if it is known; then the first line of the journal may be damaged.
    """
    try:
        with _opened(path, folder) as stream:
            return _parsed_run(stream, _nameless(name))
    except OSError:
        return None


def _opened(path: bytes, folder: int | None = None) -> BinaryIO:
    """Open a journal for reading; raises OSError, also if it is a link. A pipe has nothing in it."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    return open(path, "rb", opener=lambda name, _: os.open(name, flags, dir_fd=folder))


def _nameless(name: str) -> Run | None:
    """Return a run of which only the name is known, and with it when it began."""
    began = _began(name)
    return None if began is None else Run(name, "", "", float(began))


def _began(name: str) -> int | None:
    """Return when a run of this name began, in seconds since 1970; None if no run is called so."""
    if not _RUN_ID.fullmatch(name):
        return None
    try:
        return calendar.timegm(time.strptime(name[:20], "%Y-%m-%dT%H-%M-%SZ"))
    except ValueError:
        return None


def _parsed_run(lines: Iterable[bytes], nameless: Run | None) -> Run | None:
    run: Run | None = None
    for record in _records(lines):
        try:
            if run is None and "dupwatch_journal" not in record:
                run = nameless
            if run is None:
                if record.get("dupwatch_journal") != JOURNAL_VERSION:
                    return None
                run = _run(record)
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
        except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError):
            continue  # cut off, and then written over by nobody: it was never relied on
    return run


def _run(record: dict[str, Any]) -> Run:
    """Return the run that a head is of; raises ValueError if a value cannot be one of ours."""
    name, action, plan, began = (record[key] for key in ("run", "action", "plan", "began"))
    if not isinstance(name, str) or not _RUN_ID.fullmatch(name):  # it becomes the name of a file
        raise ValueError("no name of a run")
    boot = record.get("began_at")
    began_at = None if boot is None else Boot(str(boot[0]), float(boot[1]))
    if not all(map(math.isfinite, (began, 0 if began_at is None else began_at.seconds))):
        raise ValueError("no moment")
    return Run(name, str(action), str(plan), float(began), began_at)


def _records(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            yield record


def head_record(run: Run) -> dict[str, Any]:
    """Return the first line of a journal."""
    return {
        "dupwatch_journal": JOURNAL_VERSION,
        "run": run.id,
        "action": run.action,
        "plan": run.plan,
        "began": run.began,
        "began_at": run.began_at,
    }


def run_records(run: Run) -> Iterator[dict[str, Any]]:
    """Yield what a journal says of a run."""
    yield head_record(run)
    for quarantine in run.quarantines:
        yield {"quarantine": quarantine}
    for number, step in run.steps.items():
        yield step_record(step)
        yield {"step": number, "state": run.states[number], **run.notes.get(number, {})}


_PATHS = ("path", "root", "quarantine", "held", "to", "mounted_at", "kept", "goes_with")

_DIGESTS = ("digest", "kept_digest")

_NUMBERS = ("size_bytes", "mtime_ns", "atime_ns", "device", "inode", "mode", "uid", "gid")


def step_record(step: Step) -> dict[str, Any]:
    """Return the line that says that a step is about to be done."""
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
    step = Step(number=record["step"], **values)
    _check(step)
    return step


def _check(step: Step) -> None:
    """Raise ValueError if a step cannot be one of ours: what it says is done with the caller's rights."""
    numbers = (step.number, *(getattr(step, name) for name in _NUMBERS))
    paths = [path for path in (step.path, step.root, step.quarantine, step.held, step.to) if path is not None]
    if (
        any(type(number) is not int for number in numbers)
        or not 0 <= step.mode <= 0o7777
        or not all(path == b"/" or _is_plain(path) for path in paths)
        or not is_below(step.path, step.root)
        or not is_below(step.held, step.quarantine)
        or not (step.to is None or step.to.endswith(step.path))
        or not all(bytes.fromhex(value) is not None for value in step.xattrs.values())
    ):
        raise ValueError("no step of ours")


def _is_plain(path: bytes) -> bool:
    return path.startswith(b"/") and all(part not in (b"", b".", b"..") for part in path[1:].split(b"/"))


def journal_path(run: str) -> bytes:
    """Return the path of a run's journal in the state directory."""
    return os.path.join(journal_folder(), run.encode("ascii") + _SUFFIX)
