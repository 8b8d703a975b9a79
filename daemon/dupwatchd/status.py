"""How things stand with the service: the document of `dupwatch status`, and why answers are not complete yet."""

import os
import shlex
import time
from collections.abc import Mapping, Sequence

from dupwatch.terminal import counted, printable
from dupwatchd.db import files
from dupwatchd.db.connection import Database
from dupwatchd.paths import at_or_below, outermost
from dupwatchd.problems import Problems
from dupwatchd.serve.results import Completeness, ProgressResult, StatusResult
from dupwatchd.update.updater import Updater
from dupwatchd.watch.watcher import RootState

_LINES_MAX = 20  # of one kind
_NOT_AT_WORK = ("idle", "paused", "failing", "stopping")


def status_document(
    updater: Updater,
    states: Mapping[bytes, RootState],
    roots: Sequence[bytes],
    problems: Problems,
    left_out: Sequence[str] = (),
) -> StatusResult:
    """The result of `status`, paths as bytes; any thread may call. ``left_out``: see `left_out_lines`."""
    counts = updater.counts
    offline = {*updater.survey.offline}
    polled = [
        f"{os.fsdecode(root)}: {states[root].line}"
        for root in roots
        if root in states and states[root].mode == "polled"
    ]
    unlisted = [f"{os.fsdecode(path)}: {error}" for path, error in updater.survey.unreadable[:_LINES_MAX]]
    result: StatusResult = {
        "state": updater.state,
        "files": counts.get("files", 0),
        "failed": counts.get("failed", 0),
        "pictures": counts.get("pictures", 0),
        "matches": counts.get("matches", 0),
        "pending": updater.pending,
        "to_confirm": updater.left_to_confirm,
        "roots": [
            {
                "path": root,
                "state": "online" if root not in offline and states[root].online else "offline",
                "watched": states[root].mode,
            }
            for root in roots
            if root in states
        ],
        "problems": [*problems.lines(), *polled, *unlisted, *left_out],
    }
    if updater.state not in _NOT_AT_WORK:
        result["progress"] = _progress(updater)
    return result


def completeness(
    updater: Updater, states: Mapping[bytes, RootState], roots: Sequence[bytes], problems: Problems
) -> Completeness:
    """Whether an answer given now holds all that lies under the roots, and if not, why; any thread may call."""
    pending = updater.pending
    away = {root for root in roots if root in states and not states[root].online} | {*updater.survey.offline}
    because = problems.lines()
    because += [f"{os.fsdecode(folder)} is offline" for folder in sorted(away)[:_LINES_MAX]]
    unlisted = [(path, error) for path, error in updater.survey.unreadable if path not in away]
    because += [f"{os.fsdecode(path)} cannot be listed: {error}" for path, error in unlisted[:_LINES_MAX]]
    if not updater.started.is_set():
        because.append("the scan at the start is not finished")
    if pending:
        because.append(f"{pending:,} {'change or file is' if pending == 1 else 'changes or files are'} not read yet")
    if updater.state == "indexing" and updater.progress.stage_name == "comparing":
        because.append("pictures are still being compared with each other")
    if not because and updater.state not in _NOT_AT_WORK and not updater.is_quiet:
        because.append("changes are being taken in")
    return {"complete": not because, "pending": pending, "incomplete_because": because}


def left_out_lines(reader: Database, roots: Sequence[bytes]) -> list[str]:
    """What is still known of folders that are no roots any more, for a person; it is in no answer. Raises StateError.

    Lists all known folders: call it when the roots change, not for each question.
    """
    known = files.known_folders(reader, b"/")
    folders = outermost(path for path in known if not any(at_or_below(path, root) for root in roots))
    return [
        f"{os.fsdecode(folder)} is not among the roots any more: what is known of its "
        f"{counted(files.count(reader, folder), 'file')} is in no answer; "
        f"`dupwatchd forget {_shell_word(os.fsdecode(folder))}` drops it"
        for folder in folders[:_LINES_MAX]
    ]


def _shell_word(path: str) -> str:
    """A path so that it can be copied from a terminal to a shell; what cannot be shown is shown there escaped."""
    if printable(path) == path:
        return shlex.quote(path)
    quoted = path.replace("'", "'\"'\"$'")  # without backslashes, which would be escaped once more
    return f"$'{quoted}'"


def _progress(updater: Updater) -> ProgressResult:
    progress = updater.progress
    elapsed = time.monotonic() - progress.began
    rate = progress.done / elapsed if progress.done and elapsed > 0 else None
    return {
        "stage": progress.stage_name,
        "done": progress.done,
        "total": progress.total,
        "unit": progress.unit,
        "rate": rate,
        "seconds_left": None if progress.total is None or not rate else max(0.0, progress.total - progress.done) / rate,
    }
