"""What earlier applies of a plan have done of it already.

In: a plan, and the journals of this user. Out: which of its files went before, and in which run. A file counts only
while it is still away: one that came back, by an undo or otherwise, is a file like any other.
"""

import os
import time
from collections.abc import Collection
from dataclasses import dataclass, replace

from dupwatch.act.plan_file import Plan, PlannedGroup, plan_digest
from dupwatch.act.runs import Run, Step, journal_path, known_runs
from dupwatch.terminal import counted, printable

_WENT = frozenset(["done", "deleted", "purging", "purged", "lost"])


@dataclass(frozen=True)
class Earlier:
    """The files of a plan that earlier applies have taken away, and the latest of these runs."""

    plan: str  # its digest
    paths: frozenset[bytes] = frozenset()
    run: Run | None = None

    def in_words(self, plan: Plan) -> str:
        """Return in one line what was done before, when, and where that is noted."""
        assert self.run is not None
        when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(self.run.began))
        noted = f"{when}, journal {printable(journal_path(self.run.id))}"
        if len(self.paths) == len(plan.going):
            return f"this plan has been applied already ({noted})"
        of_all = f"{len(self.paths):,} of {counted(len(plan.going), 'file')}"
        return f"{of_all} went before, by an earlier apply of this plan ({noted})"


def earlier(plan: Plan) -> Earlier:
    """Return what was done of a plan; raises ActError if the journals cannot be read."""
    digest = plan_digest(plan)
    by_path: dict[bytes, Run] = {}
    for run in known_runs(digest):  # the oldest first
        for number, step in run.steps.items():
            if _has_gone(step, run.states[number]):
                by_path[step.path] = run
    gone = {one.file.path for one in plan.going if one.file.path in by_path and not os.path.lexists(one.file.path)}
    latest = max((by_path[path] for path in gone), key=lambda run: run.began, default=None)
    return Earlier(digest, frozenset(gone), latest)


def _has_gone(step: Step, state: str) -> bool:
    return state in _WENT or (state == "begun" and os.path.lexists(step.held))  # cut off before it was noted


def left_of(plan: Plan, gone: Collection[bytes]) -> Plan:
    """Return a plan without these files."""
    if not gone:
        return plan
    groups = [_group_left(group, gone) for group in plan.groups]
    return replace(plan, groups=tuple(group for group in groups if group.goes))


def _group_left(group: PlannedGroup, gone: Collection[bytes]) -> PlannedGroup:
    return replace(group, goes=tuple(one for one in group.goes if one.file.path not in gone))
