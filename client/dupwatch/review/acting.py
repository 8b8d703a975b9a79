"""Makes plans of what was decided, carries them out and puts back, one thing at a time, in a thread of its own.

In: decisions, and what a person asks for. Out: summaries, and progress for open pages. What it does is `dupwatch plan`,
`apply` and `undo`: the same functions, with the same checks and journals.
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from dupwatch.act.apply import Action, apply_plan
from dupwatch.act.plan_file import Plan, plan_digest, plan_text
from dupwatch.act.planning import make_plan
from dupwatch.act.runs import known_runs
from dupwatch.act.telling import tell
from dupwatch.act.undo import undo
from dupwatch.client import Client
from dupwatch.errors import ClientError
from dupwatch.progress import Bars
from dupwatch.review.decisions import Decision
from dupwatch.review.library import Group, text_of
from dupwatch.review.news import News
from dupwatch.review.planned import plan_page

ACTIONS = ("quarantine", "trash")  # what can be put back from the page
TOLD_SECONDS = 0.1  # between two messages of progress
SHOWN_MAX = 500  # files that could not be acted on and are told one by one


class Acting:
    """The plan in hand, and the run that is under way or was the last; made for several threads."""

    def __init__(self, make_client: Callable[[], Client], news: News) -> None:
        self._make_client = make_client
        self._news = news
        self._lock = threading.Lock()
        self._plan: Plan | None = None
        self._runs: list[str] = []  # from this page, that have moved something and were not put back
        self._not_done: list[dict[str, str]] = []  # of what was carried out last
        self._stopping = threading.Event()

    @property
    def is_busy(self) -> bool:
        """Whether a plan is being carried out, or files are being put back."""
        return self._lock.locked()

    @property
    def run(self) -> str | None:
        """The last run that can be put back."""
        return self._runs[-1] if self._runs else None

    def prepare(
        self, client: Client, decided: Sequence[tuple[Group, Decision]], ask_when: Sequence[str]
    ) -> dict[str, Any]:
        """Make a plan and return what it says in short; raises ClientError."""
        plan = make_plan([plan_page(client, decided, ask_when)])
        self._plan = plan
        return {
            "plan": plan_digest(plan),
            "groups": len(plan.groups),
            "files": len(plan.going),
            "bytes": plan.bytes_going,
            "lacks": [{"path": text_of(one.file.path), "why": ", ".join(one.lacks)} for one in plan.going if one.lacks][
                :SHOWN_MAX
            ],
            "held_back": _told([(one.path, one.because) for one in plan.held_back]),
            # whoever closed or loaded the page again while it was carried out has not seen it
            "not_done": self._not_done,
            "run": self.run,
        }

    def text(self, digest: str) -> str | None:
        """Return the plan in hand as its file, if it is the one that was looked at."""
        plan = self._plan
        return plan_text(plan) if plan is not None and plan_digest(plan) == digest else None

    def apply(self, digest: str, action: str) -> dict[str, Any]:
        """Carry out the plan that was looked at, and return what was done; raises ClientError."""
        plan = self._plan
        if plan is None or plan_digest(plan) != digest or action not in ACTIONS:
            raise ClientError("this is not the plan that was made last: look at it again")
        with self._alone():
            summary = apply_plan(plan, Action(action), _Told(self._news), self._stopping.is_set)
        if summary.digests:
            tell(self._make_client, "removed", summary.digests)
        if summary.done and summary.run is not None and summary.run not in self._runs:
            self._runs.append(summary.run)
        self._not_done = _told(summary.skipped)
        return {
            "run": self.run,
            "files": len(summary.done),
            "bytes": summary.bytes_done,
            "skipped": self._not_done,
            "halted": summary.halted,
            "stopped": summary.is_stopped,
        }

    def undo(self, run_id: str) -> dict[str, Any]:
        """Put back what a run has moved, and return what was done; raises ClientError."""
        runs = [run for run in known_runs() if run.id == run_id]
        if not runs:
            raise ClientError("there is no journal of this run any more")
        with self._alone():
            undone = undo(runs, _Told(self._news), self._stopping.is_set)
        if undone.digests:
            tell(self._make_client, "restored", undone.digests)
        self._not_done = _told(undone.skipped)
        if undone.is_complete and run_id in self._runs:
            self._runs.remove(run_id)
        return {
            "run": self.run,
            "files": len(undone.done),
            "skipped": self._not_done,
            "halted": undone.halted,
            "stopped": undone.is_stopped,
        }

    def stop(self) -> None:
        """End what is under way between two files."""
        self._stopping.set()

    def _alone(self) -> "_Alone":
        return _Alone(self._lock, self._stopping)


class _Alone:
    """Lets one run at a time go on."""

    def __init__(self, lock: threading.Lock, stopping: threading.Event) -> None:
        self._lock, self._stopping = lock, stopping

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            raise ClientError("another run is under way")
        self._stopping.clear()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class _Told(Bars):
    """Progress, told to open pages."""

    def __init__(self, news: News) -> None:
        self._news = news
        self._stage, self._total, self._done = "", 0, 0
        self._told_at = 0.0

    def stage(self, description: str, total: int | None = None, unit: str = "files") -> None:  # noqa: ARG002
        self._stage, self._total, self._done = description, total or 0, 0
        self._tell()

    def advance(self, count: int = 1) -> None:
        self._done += count
        if time.monotonic() - self._told_at >= TOLD_SECONDS or self._done >= self._total:
            self._tell()

    def _tell(self) -> None:
        self._told_at = time.monotonic()
        self._news.tell({"kind": "acting", "stage": self._stage, "done": self._done, "total": self._total})


def _told(skipped: Sequence[tuple[bytes, str]]) -> list[dict[str, str]]:
    return [{"path": text_of(path), "why": why} for path, why in skipped[:SHOWN_MAX]]
