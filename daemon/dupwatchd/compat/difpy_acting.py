"""Moves and deletes what difPy calls files of lower quality, as far as that loses nothing.

In: an index, and the files that are to go. Out: a plan, carried out by `dupwatch.act`, and for each file that stays the
reason. A file goes only if it is equal byte by byte to a file that stays, or confirmed to be the same picture as one by
a close look; and the file that stays is one of its group, with no fewer pixels. All files that are not to go are
pinned, so that nothing else can go.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from dupwatch.act.apply import Action, Summary, apply_plan
from dupwatch.act.plan_file import Plan
from dupwatch.act.planning import make_plan
from dupwatch.progress import Bars
from dupwatch.terminal import printable
from dupwatchd.compat.difpy_matching import Group, Searched
from dupwatchd.compat.difpy_rereading import NEAR_MSE
from dupwatchd.compat.file_index import OpenIndex
from dupwatchd.db import answers, contents, pictures, remembered
from dupwatchd.db.answers import Copy
from dupwatchd.live_checks import has_sidecar, measurer, presence
from dupwatchd.model import Verdict
from dupwatchd.other_names import OtherNames
from dupwatchd.serve.clusters import LiveChecks, Question
from dupwatchd.serve.ignored import IgnoredPairs
from dupwatchd.serve.library import Library
from dupwatchd.serve.plan_policy import Policy, policy_of
from dupwatchd.serve.results import PlannedFile, PlannedGroup
from dupwatchd.serve.spare import Looks

_VERDICTS = (Verdict.IDENTICAL.value, Verdict.SAME.value)


@dataclass
class Done:
    """What became of the files that were to go."""

    summary: Summary
    stays: dict[bytes, str] = field(default_factory=dict)  # path → why


@dataclass
class Prepared:
    """A plan, and why the other files are not in it."""

    plan: Plan
    stays: dict[bytes, str]


def prepare(index: OpenIndex, groups: Sequence[Group], going: Sequence[Searched], threshold: float) -> Prepared:
    """Plan what may go of these files; looks closely at all pairs that seem to be the same. Raises DupwatchError."""
    wanted = {file.path for file in going}
    copies = index.copies()
    _look_closely(index, {copies[path].picture_id for path in wanted if path in copies})
    ignored = IgnoredPairs.of(remembered.ignored_pairs(index.database))
    folders: dict[str, list[Group]] = {}
    for group in groups:
        folders.setdefault(group.first.folder, []).append(group)
    library = Library.load(index.database, index.roots)
    # a pair of the same pixels may lie a little apart in its thumbnails, see `difpy_rereading`
    near = min(max(threshold, NEAR_MSE), index.settings.compare.keep_mse)
    planned = [one for some in folders.values() for one in _planned(index, library, some, wanted, near, ignored)]
    goes = {file["path"] for group in planned for file in group["files"] if file["goes"]}
    planned = [_without(group, lambda file: file["held_by"] in goes) for group in planned]
    plan = make_plan([{"groups": planned, "roots": index.roots, "verdicts": _VERDICTS}])
    stays = _reasons(index, groups, wanted, copies, ignored)
    stays |= {file.path: asked.because for asked in plan.asked for file in asked.files if file.path in wanted}
    stays |= {one.path: one.because for one in plan.held_back if one.path in wanted}
    for one in plan.going:
        stays.pop(one.file.path, None)
    return Prepared(plan, stays)


def _planned(
    index: OpenIndex, library: Library, groups: Sequence[Group], wanted: set[bytes], near: float, ignored: IgnoredPairs
) -> list[PlannedGroup]:
    """What may go of the groups of one folder: only for a file of the same group that has no fewer pixels."""
    members = {file.path for group in groups for file in group.files}
    own = policy_of(index.settings.plan)
    policy = Policy(keep_files=frozenset(members - wanted), ask_when=own.ask_when, bursts=own.bursts, pairs=own.pairs)
    is_there = presence(index.survey.offline, inside=index.roots)
    checks = LiveChecks(
        measurer(index.settings, index.state, index.thumbnail_px, partial(pictures.thumbnail_digests, index.database)),
        lambda copy: copy.path in members and is_there(copy),
        OtherNames(),
        has_sidecar,
    )
    question = Question("mse", near, False, policy=policy, ignored=ignored)
    _, found = library.plan_page(index.database, question, checks, limit=None)
    holders: dict[bytes, set[bytes]] = {}
    for group in groups:
        for file in group.files:
            better = {one.path for one in group.files if one.resolution >= file.resolution}
            holders.setdefault(file.path, set()).update(better)
    return [_without(group, lambda file: file["held_by"] not in holders[file["path"]]) for group in found]


def _without(group: PlannedGroup, stays: Callable[[PlannedFile], bool]) -> PlannedGroup:
    """Return a group of which some files that would go stay."""
    files: list[PlannedFile] = [
        {**file, "goes": False} if file["goes"] and stays(file) else file for file in group["files"]
    ]
    return {**group, "files": files}


def carry_out(prepared: Prepared, action: Action, progress: Bars) -> Done:
    """Move or delete what is planned; raises ClientError, and then nothing was touched."""
    summary = apply_plan(prepared.plan, action, progress)
    stays = prepared.stays | dict(summary.skipped)
    if summary.halted is not None:
        gone = {path for path, _ in summary.done}
        stays |= {one.file.path: summary.halted for one in prepared.plan.going if one.file.path not in gone}
    return Done(summary, stays)


def _look_closely(index: OpenIndex, wanted: set[int]) -> None:
    pairs = [pair for pair in answers.pairs_to_confirm(index.database, index.roots) if wanted & {*pair[:2]}]
    several = [one for one in contents.to_tell(index.database, index.roots) if one in wanted]
    if pairs or several:
        index.intake().looking.confirm(pairs, several)


def _reasons(
    index: OpenIndex, groups: Sequence[Group], wanted: set[bytes], copies: dict[bytes, Copy], ignored: IgnoredPairs
) -> dict[bytes, str]:
    """Why a file would stay that is in no plan: what it is to the files of its groups that stay."""
    ids = {copies[file.path].picture_id for group in groups for file in group.files if file.path in copies}
    looks = Looks(
        answers.looks_between(index.database, ids),
        mirrored=False,
        without_proof=set(answers.pictures_without_proof(index.database)),
        ignored=ignored,
        of_contents=contents.looks_at_contents(index.database, ids),
    )
    found = dict.fromkeys(wanted, "it is not there any more, or has changed to something that cannot be read")
    for group in groups:
        staying = [file for file in group.files if file.path not in wanted and file.path in copies]
        for file in group.files:
            if file.path in wanted and file.path in copies:
                found[file.path] = _why_not(copies[file.path], [copies[one.path] for one in staying], looks)
    return found


def _why_not(copy: Copy, staying: Sequence[Copy], looks: Looks) -> str:
    """Say what a file lacks to go for one of those that stay."""
    if not staying:
        return "no file of its group stays"
    kept = staying[0]
    told, name = looks.told(kept, copy), printable(os.path.basename(kept.path))
    if told.verdict is None:
        return f"it lies within the threshold of {name}, but was not found to be the same picture"
    if told.verdict is Verdict.SAME and told.confirmed is not True:
        return f"it seems to be the same picture as {name}, but a close look could not confirm that"
    if told.verdict in (Verdict.SAME, Verdict.IDENTICAL):
        return f"it is {told.verdict.value} with {name}, but holds what that one has not, or is another name of it"
    return f"it is {told.verdict.value}, not the same picture as {name}"
