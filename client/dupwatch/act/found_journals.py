"""Journals that lie in quarantines: with them a plan is undone whose journal in the caller's state folder is lost.

In: a plan of the caller's. Out: the runs of it, and why journals were not read. A quarantine lies on a disk that others
may share, and a journal says what is to be moved where with the caller's rights. So one is read only where nobody but
the caller can have written it, and only those of its steps count that are about a file of the plan and its own place in
that quarantine.
"""

import os

from dupwatch.act.folders import open_folder
from dupwatch.act.plan_file import Plan, PlannedFile, plan_digest
from dupwatch.act.quarantine import JOURNAL, quarantined_path
from dupwatch.act.quarantine_place import quarantine_paths
from dupwatch.act.runs import Run, Step, read_run
from dupwatch.terminal import printable


def runs_found(plan: Plan) -> tuple[list[Run], list[str]]:
    """Return the runs of a plan whose journals lie in quarantines, and for each that was not read the reason."""
    found: list[Run] = []
    refusals: list[str] = []
    files = {going.file.path: going.file for going in plan.going}
    for quarantine in dict.fromkeys(path for root in plan.roots for path in quarantine_paths(root, files)):
        try:
            folder = open_folder(quarantine)
        except OSError as error:
            refusals.append(f"{printable(quarantine)} cannot be opened: {error.strerror}")
            continue
        try:
            why_not = _why_not_believed(folder)
            if why_not is None:
                found += _runs_in(folder, quarantine, plan, files)
            else:
                refusals.append(f"the journals in {printable(quarantine)} were not read, for it {why_not}")
        finally:
            os.close(folder)
    return found, refusals


def _why_not_believed(folder: int) -> str | None:
    status = os.fstat(folder)
    if status.st_uid != os.geteuid():
        return f"belongs to another user (uid {status.st_uid})"
    return "can be written by others" if status.st_mode & 0o022 else None


def _runs_in(folder: int, quarantine: bytes, plan: Plan, files: dict[bytes, PlannedFile]) -> list[Run]:
    """Read the journals in an open quarantine that are of a plan, and leave out of them what is about anything else."""
    found = []
    digest = plan_digest(plan)
    for name in sorted(os.listdir(folder)):
        run = read_run(os.path.join(os.fsencode(name), JOURNAL), folder)
        if run is None or run.plan != digest or run.id != name:
            continue
        run.quarantines[:] = [quarantine]
        for number, step in list(run.steps.items()):
            if not _is_of_plan(step, run, quarantine, plan, files):
                del run.steps[number]
        if run.steps:
            found.append(run)
    return found


def _is_of_plan(step: Step, run: Run, quarantine: bytes, plan: Plan, files: dict[bytes, PlannedFile]) -> bool:
    file = files.get(step.path)
    return (
        file is not None
        and (step.size_bytes, step.digest) == (file.size_bytes, file.blake3)
        and step.root == plan.root_of(step.path)
        and step.quarantine == quarantine
        and step.held == quarantined_path(quarantine, run.id, step.path)
    )
